//! Where replies may differ, and how far. Everything not named here must be equal byte for byte.

use crate::support::resp::Reply;

/// Whether two texts are the same up to the first thing that the second does not repeat, of 43 characters or so many as fit.
fn is_redacted(redis: &[u8], sessile: &[u8]) -> bool {
    let what = b"'(redacted)'";
    let place = sessile.windows(what.len()).position(|window| window == what);
    place.is_some_and(|at| {
        redis.get(..=at) == sessile.get(..=at)
            && redis[at + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
                .count()
                <= 43
    })
}

/// Why two replies that are not the same bytes are the same answer; `None` if they are not.
pub fn excuse(command: &[Vec<u8>], redis: &[u8], sessile: &[u8]) -> Option<&'static str> {
    let word = |index: usize| {
        command.get(index).map_or(String::new(), |word| String::from_utf8_lossy(word).to_lowercase())
    };
    let parsed = |bytes: &[u8]| Reply::parse(bytes).filter(|(_, length)| *length == bytes.len());
    let ((redis, _), (sessile, _)) = (parsed(redis)?, parsed(sessile)?);
    if word(0) == "command" && word(1) == "getkeys" && command.len() == 3 {
        return Some("since Redis 7.2 a command may be without arguments here");
    }
    if word(0) == "command" && word(1) == "getkeys" && word(2) == "sync" {
        return Some("Redis has other commands, too");
    }
    if word(0).starts_with('x') && redis.kind != b'-' {
        let (redis, sessile) = (without_circumstances(&redis), without_circumstances(&sessile));
        // Maps that a script has had in its hands are in any order.
        if redis == sessile || word(0) == "xinfo" && leaves(&redis) == leaves(&sessile) {
            return Some("two clocks, and two forms in memory");
        }
    }
    if word(0) == "memory" && word(1) == "usage" && redis.kind == b':' && sessile.is_null() {
        return Some("Redis also weighs what is dead and not reclaimed yet");
    }
    if word(0).starts_with('z') && without_signs(&redis) == without_signs(&sessile) {
        return Some("minus zero is zero here, and in Redis while a sorted set is small");
    }
    if word(0).ends_with("rank") && command.len() > 3 && redis.kind == b'-' {
        return Some("since Redis 7.2 a rank can be asked for with the score");
    }
    if STORING.contains(&&word(0)[..]) && deletes_the_dead(command, &redis, &sessile) {
        return Some("Redis deletes what is dead and not reclaimed yet");
    }
    if word(0).starts_with("sort") && redis.kind == sessile.kind && redis.text.starts_with(b"keymiss") {
        // Events: Redis looks at the elements of sets in an order of its own.
        let events = |reply: &Reply| {
            let text = String::from_utf8_lossy(&reply.text).into_owned();
            let mut events: Vec<String> = text.split(", ").map(str::to_owned).collect();
            events.sort();
            events
        };
        let limited = command.iter().any(|word| word.eq_ignore_ascii_case(b"limit"));
        return (limited || events(&redis) == events(&sessile)).then_some("any order");
    }
    if redis.text.starts_with(b"ERR unknown ") && is_redacted(&redis.text, &sessile.text) {
        return Some("what has the form of a session's token is not repeated");
    }
    if redis.kind != sessile.kind || redis.kind == b'-' || redis.is_null() || sessile.is_null() {
        return None;
    }
    let holds = |condition: bool, why: &'static str| condition.then_some(why);
    match &word(0)[..] {
        "keys" | "hkeys" | "hvals" | "smembers" | "sinter" | "sunion" | "sdiff" => {
            holds(sorted(&redis) == sorted(&sessile), "any order")
        }
        "hgetall" => holds(sorted_pairs(&redis) == sorted_pairs(&sessile), "any order"),
        "scan" if redis.kind == b'+' => {
            let typed = command.iter().any(|word| word.eq_ignore_ascii_case(b"type"));
            holds(typed && redis.text.starts_with(b"keymiss"), "Redis misses the type of what is dead")
        }
        "scan" => scan(&word(1), sorted, &redis, &sessile),
        "hscan" => scan(&word(2), sorted_pairs, &redis, &sessile),
        "zscan" => scan(&word(2), |reply| sorted_pairs(&rounded(&without_signs(reply))), &redis, &sessile),
        "sort" | "sort_ro" if redis.kind == b'*' && redis.elements.len() == sessile.elements.len() => {
            let places = |word: &str| {
                let is = |other: &Vec<u8>| other.eq_ignore_ascii_case(word.as_bytes());
                (2..command.len()).filter(move |&index| is(&command[index])).collect::<Vec<_>>()
            };
            // As far as Redis sees it, as a string of C.
            let visible = |text: &[u8]| text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
            let constant =
                |at: &usize| command.get(at + 1).is_some_and(|text| !text[..visible(text)].contains(&b'*'));
            // Weights are alike, or there are none: a set has no order then.
            let zeros = redis.elements.iter().any(|element| element.text.contains(&0));
            let ties = !places("alpha").is_empty() && (zeros || !places("by").is_empty());
            if !ties && !places("by").iter().any(constant) {
                return None;
            }
            let rows = |reply: &Reply| {
                let mut rows: Vec<Vec<Reply>> =
                    reply.elements.chunks(places("get").len().max(1)).map(<[Reply]>::to_vec).collect();
                rows.sort();
                rows
            };
            holds(!places("limit").is_empty() || rows(&redis) == rows(&sessile), "any order")
        }
        "sscan" => scan(&word(2), sorted, &redis, &sessile),
        "srandmember" | "spop" => {
            // As many as there are, or more: all of them, each once.
            let all = word(2).parse::<i64>().unwrap_or(1) > redis.elements.len() as i64;
            let alike =
                if all { sorted(&redis) == sorted(&sessile) } else { shape(&redis) == shape(&sessile) };
            holds(alike, "a random choice")
        }
        "randomkey" => Some("a random choice"),
        "hrandfield" | "zrandmember" => {
            // More fields asked for than there are: all of them, each once.
            let asked = word(2).parse::<i64>().unwrap_or(1);
            let pairs_flat = command.len() > 3 && redis.elements.iter().all(|part| part.kind == b'$');
            let given = redis.elements.len() / if pairs_flat { 2 } else { 1 };
            let all = asked > given as i64;
            let order = if pairs_flat { sorted_pairs } else { sorted };
            let alike = if all { order(&redis) == order(&sessile) } else { shape(&redis) == shape(&sessile) };
            holds(alike, "a random choice")
        }
        "ttl" | "expiretime" => near(&redis, &sessile, 2),
        "pttl" | "pexpiretime" => near(&redis, &sessile, 2000),
        "object" => match &word(1)[..] {
            "encoding" => Some("encodings are history in Redis, and a guess here"),
            "refcount" | "idletime" => Some("values are not shared, times of access not kept"),
            _ => None,
        },
        "command" if command.len() == 1 || word(1) == "count" => Some("Redis has other commands, too"),
        "dump" => Some("Redis has smaller forms; a test of its own reads what either writes"),
        "memory" => match &word(1)[..] {
            "usage" => Some("the engines are different"),
            "doctor" => Some("so are the doctors"),
            _ => None,
        },
        _ => None,
    }
}

/// Commands that delete a key if there is nothing to store in it.
const STORING: &[&str] = &[
    "bitop",
    "sdiffstore",
    "sinterstore",
    "sort",
    "sunionstore",
    "zdiffstore",
    "zinterstore",
    "zrangestore",
    "zunionstore",
];

/// Of events: whether Redis tells in the end that a key is deleted, which is all that is more.
fn deletes_the_dead(command: &[Vec<u8>], redis: &Reply, sessile: &Reply) -> bool {
    let more = redis.text.strip_prefix(&sessile.text[..]).unwrap_or_default();
    let more = String::from_utf8_lossy(more).into_owned();
    redis.kind == b'+'
        && sessile.kind == b'+'
        && more
            .trim_start_matches(", ")
            .strip_prefix("del ")
            .and_then(|key| key.split_once(':'))
            .is_some_and(|(_, key)| command.iter().any(|word| word.escape_ascii().to_string() == key))
}

fn sorted(reply: &Reply) -> Vec<Reply> {
    let mut elements = reply.elements.clone();
    elements.sort();
    elements
}

/// The same, with zeros for minus zeros.
fn without_signs(reply: &Reply) -> Reply {
    let mut reply = reply.clone();
    if reply.text == b"-0" {
        reply.text = b"0".to_vec();
    }
    reply.elements = reply.elements.iter().map(without_signs).collect();
    reply
}

/// The same, with large numbers in one form: a scan of a sorted set shows them as they are kept, which differs with its encoding.
fn rounded(reply: &Reply) -> Reply {
    let mut reply = reply.clone();
    for element in &mut reply.elements {
        let number = std::str::from_utf8(&element.text).ok().and_then(|text| text.parse::<f64>().ok());
        if let Some(number) = number.filter(|number| number.abs() > 1e15) {
            element.text = format!("{number:e}").into_bytes();
        }
    }
    reply
}

/// The same, with each field beside its value.
fn sorted_pairs(reply: &Reply) -> Vec<Reply> {
    let mut pairs: Vec<&[Reply]> = reply.elements.chunks(2).collect();
    pairs.sort();
    pairs.concat()
}

/// A whole scan gives the same in any order; of a part only the form can be compared.
fn scan(
    start: &str,
    order: fn(&Reply) -> Vec<Reply>,
    redis: &Reply,
    sessile: &Reply,
) -> Option<&'static str> {
    let ([their_cursor, theirs], [our_cursor, ours]) = (&redis.elements[..], &sessile.elements[..]) else {
        return None;
    };
    if theirs.kind != b'*' || ours.kind != b'*' || their_cursor.kind != our_cursor.kind {
        return None;
    }
    let whole = start == "0" && their_cursor.text == b"0" && our_cursor.text == b"0";
    (!whole || order(theirs) == order(ours)).then_some("any order")
}

/// Kinds and numbers of elements, without what they are.
fn shape(reply: &Reply) -> (u8, Vec<(u8, usize)>) {
    (reply.kind, reply.elements.iter().map(|element| (element.kind, element.elements.len())).collect())
}

/// Two clocks: times may differ by what passes between two servers' turns.
fn near(redis: &Reply, sessile: &Reply, tolerance: i64) -> Option<&'static str> {
    let (redis, sessile) = (redis.integer()?, sessile.integer()?);
    (redis >= 0 && sessile >= 0 && redis.abs_diff(sessile) <= tolerance as u64).then_some("two clocks")
}

/// A reply with 0 for what depends on a clock or on the form that a stream has in memory: how long ago something happened, if that is no longer than
/// the test takes for a few commands, and the nodes of a tree.
fn without_circumstances(reply: &Reply) -> Reply {
    const MS_MAX: i64 = 2000;
    let elements = reply.elements.iter().map(without_circumstances).collect();
    let mut reply = Reply { elements, ..reply.clone() };
    for at in 1..reply.elements.len() {
        let name = &reply.elements[at - 1].text[..];
        // An entry of `XPENDING`: id, consumer, time, count.
        let placed = at == 2 && reply.elements.len() == 4 && reply.elements[3].kind == b':';
        let is_age = placed || [&b"idle"[..], b"inactive"].contains(&name);
        let is_form = [&b"radix-tree-keys"[..], b"radix-tree-nodes"].contains(&name);
        let integer = reply.elements[at].integer();
        if is_form && integer.is_some() || is_age && integer.is_some_and(|age| (0..=MS_MAX).contains(&age)) {
            reply.elements[at].text = b"0".to_vec();
        }
    }
    reply
}

/// What is in a reply, in no order.
fn leaves(reply: &Reply) -> Vec<Vec<u8>> {
    let mut all = vec![[&[reply.kind][..], &reply.text].concat()];
    reply.elements.iter().for_each(|element| all.extend(leaves(element)));
    all.sort();
    all
}
