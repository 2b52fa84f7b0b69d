//! Every row of the contract.

use super::*;

const MADE: [&str; 5] = ["token", "handle", "version", "deadline-ms", "absolute-ms"];
const LOOKED_AT: [&str; 10] = [
    "handle",
    "class",
    "user",
    "meta",
    "version",
    "created-ms",
    "seen-ms",
    "deadline-ms",
    "absolute-ms",
    "fields",
];
const LISTED: [&str; 7] = ["handle", "class", "created-ms", "seen-ms", "deadline-ms", "absolute-ms", "meta"];

fn is_map(value: &Value, protocol: u8) {
    match (value, protocol) {
        (Value::Map(_), 3) | (Value::Array(_), 2) => {}
        _ => panic!("not a map of RESP{protocol}: {value:?}"),
    }
}

fn every_row_in(protocol: u8) {
    let server = start();
    let client = &mut server.client();
    client.command(&format!("HELLO {protocol}"));
    assert_eq!(
        client.command("SESSION.POLICY SET web IDLE 100 MAX 1000 PERUSER 7 ONLIMIT reject GRACE 9"),
        Value::ok()
    );
    let policy = client.command("session.policy get web");
    is_map(&policy, protocol);
    assert_eq!(names(&policy), ["idle", "max", "peruser", "onlimit", "grace"]);
    assert_eq!(["idle", "max", "peruser", "grace"].map(|name| number(&policy, name)), [100, 1000, 7, 9]);
    assert_eq!(text(&policy, "onlimit"), "reject");
    assert_eq!(
        client.command("SESSION.POLICY SET web IDLE 100 MAX 1000 GRACE 9"),
        Value::ok(),
        "it replaces"
    );
    assert_eq!(number(&client.command("SESSION.POLICY GET web"), "peruser"), 0);
    assert_eq!(text(&client.command("SESSION.POLICY GET web"), "onlimit"), "evict");
    let limits = |policy: &Value| ["idle", "max"].map(|name| number(policy, name));
    assert_eq!(limits(&client.command("SESSION.POLICY GET aal1")), [0, 30 * 86_400]);
    assert_eq!(limits(&client.command("SESSION.POLICY GET aal2")), [3600, 86_400]);
    assert_eq!(limits(&client.command("SESSION.POLICY GET aal3")), [900, 43_200]);
    assert_eq!(client.command("SESSION.POLICY GET none"), Value::Null);
    assert_eq!(
        client.command("SESSION.POLICY LIST"),
        Value::Array(["aal1", "aal2", "aal3", "web"].map(Value::bulk).to_vec())
    );
    let made = client.command("SESSION.CREATE web USER alice META phone FIELDS 2 a 1 b 2");
    is_map(&made, protocol);
    assert_eq!(names(&made), MADE);
    let (token, handle) = (text(&made, "token"), text(&made, "handle"));
    assert_eq!((token.len(), handle.len()), (43, 22));
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    assert!(is_plain(&token) && is_plain(&handle), "{token} {handle}");
    assert_eq!(number(&made, "version"), 1);
    let unlimited = {
        client.command("SESSION.POLICY SET open");
        client.command("SESSION.CREATE open")
    };
    assert_eq!([get(&unlimited, "deadline-ms"), get(&unlimited, "absolute-ms")], [Value::Null, Value::Null]);

    let looked = client.command(&format!("SESSION.GET {token}"));
    is_map(&looked, protocol);
    assert_eq!(names(&looked), LOOKED_AT);
    is_map(&get(&looked, "fields"), protocol);
    assert_eq!(
        pairs(&get(&looked, "fields")),
        [("a".into(), Value::bulk("1")), ("b".into(), Value::bulk("2"))]
    );
    assert_eq!(
        [text(&looked, "class"), text(&looked, "user"), text(&looked, "meta")],
        ["web", "alice", "phone"]
    );
    let (created, seen) = (number(&looked, "created-ms"), number(&looked, "seen-ms"));
    assert!(seen >= created && created <= now_ms());
    assert_eq!(number(&looked, "deadline-ms"), seen + 100_000, "it is the one after this touch");
    assert_eq!(number(&looked, "absolute-ms"), created + 1_000_000);
    sleep_past(seen + 3);
    let untouched = client.command(&format!("SESSION.GET {token} NOTOUCH FIELDS 3 b zz a"));
    assert_eq!(number(&untouched, "seen-ms"), seen);
    assert_eq!(names(&get(&untouched, "fields")), ["b", "a"]);
    let nobody = client.command(&format!("SESSION.GET {}", text(&unlimited, "token")));
    assert_eq!(
        [get(&nobody, "user"), get(&nobody, "deadline-ms"), get(&nobody, "absolute-ms")],
        [Value::Null, Value::Null, Value::Null]
    );
    assert_eq!(client.command(&format!("SESSION.SET {token} FIELDS 2 b 3 c 4")), Value::Integer(2));
    assert_eq!(
        client.command(&format!("SESSION.UNSET {token} IFVERSION 2 FIELDS 2 a zz")),
        Value::Integer(3)
    );
    assert_eq!(names(&get(&client.command(&format!("SESSION.GET {token}")), "fields")), ["b", "c"]);
    assert_eq!(client.command(&format!("SESSION.TOUCH {token} {NOBODYS} short")), Value::Integer(1));
    let rotated = client.command(&format!("SESSION.ROTATE {token}"));
    is_map(&rotated, protocol);
    assert_eq!(names(&rotated), MADE);
    assert_eq!((text(&rotated, "handle"), number(&rotated, "version")), (handle.clone(), 3));
    assert_ne!(text(&rotated, "token"), token);
    assert_eq!(number(&rotated, "absolute-ms"), created + 1_000_000);
    let token = text(&rotated, "token");
    let listed = client.command("SESSION.LIST USER alice");
    is_map(&listed, protocol);
    assert_eq!((names(&listed), number(&listed, "cursor")), (vec!["cursor".into(), "sessions".into()], 0));
    let sessions = get(&listed, "sessions").items().to_vec();
    assert_eq!(sessions.len(), 1);
    is_map(&sessions[0], protocol);
    assert_eq!(names(&sessions[0]), LISTED);
    assert_eq!([text(&sessions[0], "handle"), text(&sessions[0], "meta")], [&*handle, "phone"]);
    assert_eq!(client.command("SESSION.LIST USER bob"), {
        let empty =
            [(Value::bulk("cursor"), Value::Integer(0)), (Value::bulk("sessions"), Value::Array(vec![]))];
        match protocol {
            3 => Value::Map(empty.to_vec()),
            _ => Value::Array(empty.into_iter().flat_map(|(name, value)| [name, value]).collect()),
        }
    });
    for (words, count) in [("", 2), (" CLASS web", 1), (" USER alice", 1), (" CLASS open USER alice", 0)] {
        assert_eq!(client.command(&format!("SESSION.COUNT{words}")), Value::Integer(count), "{words}");
    }
    let fence = integer(&client.command(&format!("SESSION.LOCK {token} 60000")));
    assert_eq!(client.command(&format!("SESSION.LOCK {token} 60000")), Value::Null);
    assert_eq!(client.command(&format!("SESSION.UNLOCK {token} {}", fence + 1)), Value::Integer(0));
    assert_eq!(client.command(&format!("SESSION.UNLOCK {token} {fence}")), Value::Integer(1));
    let events = client.command("SESSION.EVENTS COUNT 2");
    is_map(&events, protocol);
    assert_eq!(names(&events), ["cursor", "events", "lost"]);
    let first = &get(&events, "events").items()[0].clone();
    is_map(first, protocol);
    assert_eq!(names(first), ["cursor", "type", "handle", "user", "class", "at-ms"]);
    assert_eq!([text(first, "type"), text(first, "handle")], ["created", &*handle]);
    let no = if protocol == 3 { Value::Boolean(false) } else { Value::Integer(0) };
    assert_eq!(get(&events, "lost"), no);
    let session = client.command(&format!("SESSION.END {token} {} {NOBODYS}", text(&unlimited, "token")));
    assert_eq!(session, Value::Integer(2));
    // Nil, whatever else is asked.
    for (words, reply) in [
        ("SESSION.GET", Value::Null),
        ("SESSION.ROTATE", Value::Null),
        ("SESSION.TOUCH", Value::Integer(0)),
        ("SESSION.END", Value::Integer(0)),
    ] {
        for dead in [&*token, NOBODYS, "x", ""] {
            assert_eq!(client.command(&format!("{words} {dead}")), reply, "{words} {dead}");
        }
    }
    for dead in [&*token, NOBODYS, "x"] {
        assert_eq!(
            client.command(&format!("SESSION.SET {dead} IFVERSION 77 FENCE 9 FIELDS 1 a b")),
            Value::Null
        );
        assert_eq!(
            client.command(&format!("SESSION.UNSET {dead} IFVERSION 77 FENCE 9 FIELDS 1 a")),
            Value::Null
        );
        assert_eq!(client.command(&format!("SESSION.LOCK {dead} 1000 WAIT 60000")), Value::Null);
        assert_eq!(client.command(&format!("SESSION.UNLOCK {dead} {fence}")), Value::Integer(0));
    }
    assert_eq!(client.command(&format!("SESSION.REVOKE HANDLE {handle}")), Value::Integer(0));
    assert_eq!(client.command("SESSION.POLICY DEL web"), Value::Integer(1));
    assert_eq!(client.command("SESSION.POLICY DEL web"), Value::Integer(0));
    assert!(client.command("SESSION.CREATE web").is_error("ERR "));
    assert!(client.command("SESSION.POLICY HELP").items().len() > 5);
}

#[test]
fn every_row_in_resp2() {
    every_row_in(2);
}

#[test]
fn every_row_in_resp3() {
    every_row_in(3);
}

#[test]
fn idle_and_max_can_only_shorten() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 100 MAX 1000");
    for (words, idle_s, max_s) in [
        ("", 100, 1000),
        (" IDLE 50", 50, 1000),
        (" MAX 70", 70, 70),
        (" IDLE 500 MAX 5000", 100, 1000),
        (" IDLE 0 MAX 0", 100, 1000),
    ] {
        let made = client.command(&format!("SESSION.CREATE web{words}"));
        let looked = client.command(&format!("SESSION.GET {} NOTOUCH", text(&made, "token")));
        let created = number(&looked, "created-ms");
        assert_eq!(number(&made, "deadline-ms"), created + idle_s * 1000, "{words}");
        assert_eq!(number(&made, "absolute-ms"), created + max_s * 1000, "{words}");
    }
    let token = create(client, "web IDLE 50");
    client.command("SESSION.POLICY SET web IDLE 3");
    let looked = client.command(&format!("SESSION.GET {token}"));
    assert_eq!(
        number(&looked, "deadline-ms"),
        number(&looked, "seen-ms") + 50_000,
        "it keeps the limits it was made with"
    );
}

/// Makes `each` sessions of one user from each of `connections`; how many were refused.
fn create_beside_each_other(server: &Server, connections: usize, each: usize) -> usize {
    let refused = |mut client: Client| {
        (0..each)
            .filter(|_| {
                let reply = client.command("SESSION.CREATE few USER alice");
                assert!(!matches!(reply, Value::Error(_)) || reply.is_error("LIMIT "), "{reply:?}");
                matches!(reply, Value::Error(_))
            })
            .count()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..connections).map(|_| scope.spawn(|| refused(server.client()))).collect();
        all.into_iter().map(|one| one.join().expect("a connection")).sum()
    })
}

#[test]
fn the_limit_of_a_user_evicts_who_was_seen_least_recently() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET few IDLE 1000 PERUSER 2");
    let [first, second] = ["one", "two"].map(|meta| {
        let token = create(client, &format!("few USER alice META {meta}"));
        std::thread::sleep(Duration::from_millis(3));
        token
    });
    create(client, "few USER bob");
    assert_eq!(client.command(&format!("SESSION.TOUCH {first}")), Value::Integer(1));
    create(client, "few USER alice");
    assert_eq!(client.command(&format!("SESSION.GET {second}")), Value::Null);
    assert_eq!(client.command(&format!("SESSION.TOUCH {first}")), Value::Integer(1));
    assert_eq!(count_of(client, "evicted"), 1);
    assert_eq!(create_beside_each_other(&server, 8, 25), 0);
    assert_eq!(client.command("SESSION.COUNT CLASS few USER alice"), Value::Integer(2));
    assert_eq!(client.command("SESSION.COUNT CLASS few"), Value::Integer(3));
    assert_eq!(count_of(client, "evicted"), 1 + 200);
}

#[test]
fn the_limit_of_a_user_rejects_beside_each_other_too() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET few IDLE 1000 PERUSER 3 ONLIMIT REJECT");
    assert_eq!(create_beside_each_other(&server, 8, 10), 80 - 3);
    assert_eq!(client.command("SESSION.COUNT USER alice"), Value::Integer(3));
    assert_eq!(count_of(client, "created"), 3);
    create(client, "few USER bob");
    create(client, "few");
}

#[test]
fn a_rotated_token_has_a_grace_and_then_is_reuse() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 1000 GRACE 1");
    let old = create(client, "web USER alice FIELDS 1 a 1");
    let asked_ms = now_ms();
    let new = text(&client.command(&format!("SESSION.ROTATE {old} GRACE 600")), "token");
    assert_eq!(text(&get(&client.command(&format!("SESSION.GET {old}")), "fields"), "a"), "1");
    assert_eq!(client.command(&format!("SESSION.TOUCH {old}")), Value::Integer(1));
    for words in ["SET T FIELDS 1 a 2", "UNSET T FIELDS 1 a", "ROTATE T", "LOCK T 1000"] {
        let reply = client.command(&format!("SESSION.{}", words.replace(" T", &format!(" {old}"))));
        assert!(reply.is_error("STALETOKEN "), "{words}: {reply:?}");
    }
    assert_eq!(client.command(&format!("SESSION.SET {new} FIELDS 1 a 2")), Value::Integer(2));
    sleep_past(asked_ms + 1100);
    for _ in 0..5 {
        assert_eq!(client.command(&format!("SESSION.GET {old}")), Value::Null, "at most the policy's grace");
        assert_eq!(client.command(&format!("SESSION.TOUCH {old}")), Value::Integer(0));
        assert_eq!(client.command(&format!("SESSION.END {old}")), Value::Integer(0));
    }
    assert_eq!(count_of(client, "reuse"), 1);
    assert_eq!(count_of(client, "rotated"), 1);
    // Without grace it is over at once.
    let newest = text(&client.command(&format!("SESSION.ROTATE {new} GRACE 0")), "token");
    assert_eq!(client.command(&format!("SESSION.GET {new}")), Value::Null);
    assert_eq!(count_of(client, "reuse"), 2);
    // An old one in its grace may end it.
    let last = text(&client.command(&format!("SESSION.ROTATE {newest}")), "token");
    assert_eq!(client.command(&format!("SESSION.END {newest}")), Value::Integer(1));
    assert_eq!(client.command(&format!("SESSION.GET {last}")), Value::Null);
}

#[test]
fn conditions_are_judged_before_anything_changes() {
    let server = start();
    let client = &mut server.client();
    let token = create(client, "aal2 FIELDS 1 a 1");
    assert_eq!(client.command(&format!("SESSION.SET {token} IFVERSION 1 FIELDS 1 a 2")), Value::Integer(2));
    for words in ["SET T IFVERSION 1 FIELDS 1 a 3", "UNSET T IFVERSION 1 FIELDS 1 a"] {
        let reply = client.command(&format!("SESSION.{}", words.replace(" T ", &format!(" {token} "))));
        assert!(reply.is_error("CONFLICT 2 "), "{reply:?}");
    }
    let fence = integer(&client.command(&format!("SESSION.LOCK {token} 1")));
    let after = integer(&{
        sleep_past(now_ms() + 5);
        client.command(&format!("SESSION.LOCK {token} 60000"))
    });
    assert!(after > fence);
    for words in ["SET T FENCE F FIELDS 1 a 3", "UNSET T FENCE F FIELDS 1 a"] {
        let words = words.replace(" T ", &format!(" {token} ")).replace(" F ", &format!(" {fence} "));
        let reply = client.command(&format!("SESSION.{words}"));
        assert!(reply.is_error(&format!("FENCED {after} ")), "{reply:?}");
    }
    let looked = client.command(&format!("SESSION.GET {token}"));
    assert_eq!((number(&looked, "version"), text(&get(&looked, "fields"), "a")), (2, "2".into()));
    let words = format!("SESSION.SET {token} FENCE {after} IFVERSION 2 FIELDS 1 a 3");
    assert_eq!(client.command(&words), Value::Integer(3));
}

#[test]
fn revoking() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 1000");
    let alices: Vec<String> = (0..4).map(|_| create(client, "web USER alice")).collect();
    let bobs = client.command("SESSION.CREATE web USER bob");
    let reply = client.command(&format!("SESSION.REVOKE USER alice EXCEPT {}", text(&bobs, "token")));
    assert!(reply.is_error("ERR EXCEPT"), "{reply:?}");
    assert!(client.command(&format!("SESSION.REVOKE USER alice EXCEPT {NOBODYS}")).is_error("ERR EXCEPT"));
    assert!(client.command("SESSION.REVOKE USER alice EXCEPT nothing").is_error("ERR EXCEPT"));
    assert_eq!(client.command("SESSION.COUNT USER alice"), Value::Integer(4));
    let words = format!("SESSION.REVOKE USER alice EXCEPT {} LAZY", alices[1]);
    assert_eq!(client.command(&words), Value::Integer(3));
    assert_eq!(client.command(&format!("SESSION.TOUCH {}", alices.join(" "))), Value::Integer(1));
    assert_eq!(client.command("SESSION.REVOKE USER carol"), Value::Integer(0));
    let handle = text(&bobs, "handle");
    assert_eq!(client.command(&format!("SESSION.REVOKE HANDLE {handle}")), Value::Integer(1));
    assert_eq!(client.command(&format!("SESSION.REVOKE HANDLE {handle}")), Value::Integer(0));
    assert_eq!(count_of(client, "revoked"), 4);
    for _ in 0..50 {
        create(client, "web USER dave");
    }
    assert_eq!(client.command("SESSION.REVOKE CLASS web"), Value::Integer(51));
    assert_eq!(client.command("SESSION.COUNT"), Value::Integer(0));
    assert_eq!(client.command("SESSION.LIST USER dave").items()[3], Value::Array(vec![]));
    assert_eq!(client.command(&format!("SESSION.GET {}", alices[1])), Value::Null);
    assert_eq!(client.command("SESSION.POLICY GET web").items().len(), 10, "the policy stays");
    let events = all_events(client);
    let last = events.last().expect("events");
    assert_eq!((text(last, "type"), number(last, "count")), ("revoked".into(), 51));
    assert_eq!(events.iter().filter(|event| text(event, "type") == "revoked").count(), 5);
    assert!(client.command("SESSION.REVOKE CLASS none").is_error("ERR "));
    until("what is dead is swept away", || info(client, "sessions", "sessions") == 0);
    assert_eq!(count_of(client, "expired"), 0);
}

#[test]
fn counts_are_exact_right_after_a_deadline() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET short MAX 1");
    create(client, "aal2 USER alice");
    let mut last_ms = 0;
    let mut tokens = Vec::new();
    for _ in 0..300 {
        let made = client.command("SESSION.CREATE short USER alice");
        last_ms = number(&made, "deadline-ms");
        tokens.push(text(&made, "token"));
    }
    sleep_past(last_ms);
    assert_eq!(client.command("SESSION.COUNT CLASS short"), Value::Integer(0));
    assert_eq!(client.command("SESSION.COUNT USER alice"), Value::Integer(1));
    assert_eq!(client.command("SESSION.COUNT"), Value::Integer(1));
    assert_eq!(client.command(&format!("SESSION.TOUCH {}", tokens.join(" "))), Value::Integer(0));
    until("each is told of", || count_of(client, "expired") == 300);
    let events = all_events(client);
    let expired = events.iter().filter(|event| text(event, "type") == "expired");
    assert!(expired.map(|event| number(event, "at-ms")).all(|at_ms| at_ms <= last_ms));
}

#[test]
fn lists_go_on_where_they_were() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 1000");
    let mut handles = Vec::new();
    let mut first = String::new();
    for _ in 0..25 {
        let made = client.command("SESSION.CREATE web USER alice");
        handles.push(text(&made, "handle"));
        if first.is_empty() {
            first = text(&made, "token");
        }
        sleep_past(now_ms());
    }
    client.command(&format!("SESSION.TOUCH {first}"));
    handles[1..].reverse();
    let (mut cursor, mut pages, mut found) = (0, Vec::new(), Vec::new());
    loop {
        let page = client.command(&format!("SESSION.LIST USER alice CURSOR {cursor} COUNT 10"));
        let sessions = get(&page, "sessions").items().to_vec();
        pages.push(sessions.len());
        found.extend(sessions.iter().map(|session| text(session, "handle")));
        cursor = number(&page, "cursor");
        if cursor == 0 {
            break;
        }
    }
    assert_eq!((pages, found), (vec![10, 10, 5], handles));
}

#[test]
fn nulls_are_those_of_the_protocol() {
    let server = start();
    let mut client = server.client();
    for (hello, expected) in [("HELLO 3", &b"_\r\n"[..]), ("HELLO 2", b"$-1\r\n")] {
        client.command(hello);
        send(&mut client, &format!("SESSION.GET {NOBODYS}"));
        let mut bytes = vec![0; expected.len()];
        std::io::Read::read_exact(client.stream(), &mut bytes).expect("a reply");
        assert_eq!(bytes, expected);
    }
}

#[test]
fn no_token_is_ever_given_twice() {
    let server = start();
    let client = &mut server.client();
    let mut tokens = std::collections::BTreeSet::new();
    for round in 0..60 {
        let token = create(client, "aal2 USER alice");
        assert!(tokens.insert(token.clone()), "{round}: one that was given before");
        // Commands that know nothing of sessions, such as refuse to run, and such as make none after all.
        client.command("SET key value");
        client.command("LPUSH key value");
        client.command("SESSION.CREATE none");
        client.command("SESSION.CREATE aal2 FIELDS 1");
        client.command("EVAL return(1) 0");
        if round % 2 == 0 {
            client.command(&format!("SESSION.END {token}"));
            client.command("GET key");
        }
        client.command("MULTI");
        client.command("SESSION.CREATE aal2 USER bob");
        client.command("SESSION.CREATE none");
        client.command("SESSION.CREATE aal2 USER bob");
        let replies = client.command("EXEC").items().to_vec();
        for at in [0, 2] {
            assert!(tokens.insert(text(&replies[at], "token")), "{round}: one of a transaction");
        }
        client.command("INCR counter");
    }
}
