//! `DUMP` and `RESTORE` beside a real redis-server: what one writes the other reads, of every type and in every encoding. And without one: bytes
//! that were tampered with.
#![allow(unreachable_pub, dead_code, reason = "nothing can be reached from outside of a test binary")]

#[path = "differential/process.rs"]
mod process;
mod support;

use process::Process;
use sessile_server::command::dump::crc64::crc64;
use sessile_server::command::dump::reader::{self, Value};
use support::draw::Draw;
use support::in_process::InProcess;
use support::resp::{Reply, show};

type Args = Vec<Vec<u8>>;

/// Something with keys.
trait Keys {
    fn ask(&mut self, args: &[&[u8]]) -> Vec<u8>;

    fn bulk(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let reply = self.ask(args);
        let (reply, _) = Reply::parse(&reply).expect("a whole reply");
        assert_eq!(reply.kind, b'$', "{}", show(&reply.text));
        reply.text
    }

    /// All that can be seen of a key, in an order of its own.
    fn look(&mut self, key: &[u8]) -> Vec<Vec<u8>> {
        let kind = self.ask(&[b"TYPE", key]);
        let all = match &kind[..] {
            b"+string\r\n" => self.ask(&[b"GET", key]),
            b"+list\r\n" => self.ask(&[b"LRANGE", key, b"0", b"-1"]),
            b"+set\r\n" => self.ask(&[b"SMEMBERS", key]),
            b"+zset\r\n" => self.ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
            b"+hash\r\n" => self.ask(&[b"HGETALL", key]),
            other => return vec![other.to_vec()],
        };
        let (all, _) = Reply::parse(&all).expect("a whole reply");
        let texts: Vec<Vec<u8>> = all.elements.iter().map(|element| element.text.clone()).collect();
        let mut seen = match &kind[..] {
            b"+string\r\n" => vec![all.text],
            b"+hash\r\n" => texts.chunks(2).map(|pair| pair.join(&b"\0=\0"[..])).collect(),
            _ => texts,
        };
        if matches!(&kind[..], b"+hash\r\n" | b"+set\r\n") {
            seen.sort();
        }
        seen.insert(0, kind);
        seen
    }
}

impl Keys for Process {
    fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let args: Args = args.iter().map(|arg| arg.to_vec()).collect();
        self.exchange(&[args]).remove(0)
    }
}

impl Keys for InProcess {
    fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.run(args)
    }
}

fn redis(test: &str) -> Option<Process> {
    support::oracles::program(test, "redis-server")?;
    Process::redis()
}

fn seed() -> u64 {
    let seed = std::env::var("SESSILE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    });
    eprintln!("SESSILE_SEED={seed}");
    seed
}

/// Texts of all sorts: integers of all widths, what compresses, what does not, of lengths around the boundaries.
fn text(draw: &mut Draw) -> Vec<u8> {
    let length = match draw.below(12) {
        0 => *draw.of(&[62, 63, 64, 65, 126, 127, 128, 255, 256, 4094, 4095, 4096]),
        1 => draw.below(20_000),
        _ => draw.below(30),
    };
    match draw.below(4) {
        0 => {
            let shift = draw.below(64);
            (draw.number() as i64 >> shift).to_string().into_bytes()
        }
        1 => draw
            .of(&[
                "0",
                "-0",
                "01",
                "127",
                "128",
                "-129",
                "32767",
                "32768",
                "-2147483648",
                "2147483648",
                "4095",
                "4096",
                "-4096",
                "-4097",
                "12",
                "13",
            ])
            .as_bytes()
            .to_vec(),
        2 => b"abcabd".iter().copied().cycle().take(length).collect(),
        _ => (0..length).map(|_| draw.number() as u8).collect(),
    }
}

/// A command that makes a key of any type, large or small.
fn creation(draw: &mut Draw, key: &[u8]) -> Args {
    let count = if draw.once_in(4) { 1 + draw.below(700) } else { 1 + draw.below(20) };
    let small = draw.once_in(2);
    let element = |draw: &mut Draw| {
        if small { draw.between(-70_000, 70_000).to_string().into_bytes() } else { text(draw) }
    };
    let (name, arity) = *draw.of(&[("SET", 0), ("RPUSH", 1), ("SADD", 1), ("ZADD", 2), ("HSET", 2)]);
    let mut args = vec![name.as_bytes().to_vec(), key.to_vec()];
    if arity == 0 {
        args.push(text(draw));
    }
    for _ in 0..count * arity.min(1) {
        match name {
            "ZADD" => {
                let scores =
                    ["0", "-1.5", "1e300", "inf", "-inf", "0.1", "3", "1e-5", "12345678901234567890"];
                args.push(draw.of(&scores).as_bytes().to_vec());
            }
            "HSET" => args.push(element(draw)),
            _ => {}
        }
        args.push(element(draw));
    }
    args
}

#[test]
fn values_go_to_redis_and_come_from_there() {
    const VALUES: usize = 1500;
    let Some(mut redis) = redis("dump") else { return };
    let mut sessile = InProcess::new();
    let mut draw = Draw::new(seed());
    for _ in 0..VALUES {
        let command = creation(&mut draw, b"k");
        let command: Vec<&[u8]> = command.iter().map(|arg| &arg[..]).collect();
        for server in [&mut redis as &mut dyn Keys, &mut sessile] {
            server.ask(&[b"DEL", b"k", b"copy"]);
            assert_ne!(server.ask(&command)[0], b'-');
        }
        let expected = redis.look(b"k");
        assert_eq!(sessile.look(b"k"), expected);
        let (theirs, ours) = (redis.bulk(&[b"DUMP", b"k"]), sessile.bulk(&[b"DUMP", b"k"]));
        for payload in [&theirs, &ours] {
            for server in [&mut redis as &mut dyn Keys, &mut sessile] {
                let restored = server.ask(&[b"RESTORE", b"copy", b"0", payload, b"REPLACE"]);
                assert_eq!(restored, b"+OK\r\n", "{}", show(payload));
                assert_eq!(server.look(b"copy"), expected, "{}", show(payload));
            }
        }
    }
}

/// What can be seen of a stream, but for times.
fn look_at_stream(server: &mut dyn Keys, key: &[u8]) -> Vec<String> {
    let mut seen = vec![show(&server.ask(&[b"XRANGE", key, b"-", b"+"]))];
    let state = server.ask(&[b"XINFO", b"STREAM", key]);
    let (state, _) = Reply::parse(&state).expect("a whole reply");
    let told = |name: &[u8]| {
        let at = state.elements.iter().position(|element| element.text == name).expect("it is told");
        show(&state.elements[at + 1].text)
    };
    seen.extend([&b"length"[..], b"last-generated-id", b"max-deleted-entry-id", b"entries-added"].map(told));
    let groups = server.ask(&[b"XINFO", b"GROUPS", key]);
    let (groups, _) = Reply::parse(&groups).expect("a whole reply");
    for group in groups.elements {
        let texts: Vec<String> = group.elements.iter().map(|element| show(&element.text)).collect();
        seen.push(texts.join(" "));
    }
    for group in [b"g0", b"g1"] {
        let pending = server.ask(&[b"XPENDING", key, group, b"-", b"+", b"10000"]);
        let (pending, _) = Reply::parse(&pending).expect("a whole reply");
        for entry in pending.elements {
            let texts: Vec<String> = [0, 1, 3]
                .iter()
                .filter_map(|&at| entry.elements.get(at))
                .map(|element| show(&element.text))
                .collect();
            seen.push(texts.join(" "));
        }
        let consumers = server.ask(&[b"XINFO", b"CONSUMERS", key, group]);
        let (consumers, _) = Reply::parse(&consumers).expect("a whole reply");
        seen.extend(consumers.elements.iter().map(|consumer| {
            let texts: Vec<String> =
                consumer.elements.iter().take(4).map(|element| show(&element.text)).collect();
            texts.join(" ")
        }));
    }
    seen
}

/// The first difference is enough to read.
fn alike(seen: &[String], expected: &[String]) {
    for (one, other) in seen.iter().zip(expected) {
        assert_eq!(one, other);
    }
    assert_eq!(seen.len(), expected.len());
}

#[test]
fn streams_go_to_redis_and_come_from_there() {
    const STREAMS: usize = 150;
    let Some(mut redis) = redis("dump") else { return };
    let mut sessile = InProcess::new();
    let mut draw = Draw::new(seed());
    let words = |words: &str| -> Args { words.split(' ').map(|word| word.as_bytes().to_vec()).collect() };
    for _ in 0..STREAMS {
        let mut commands = vec![words("DEL k copy"), words("XGROUP CREATE k g0 0 MKSTREAM")];
        let most = if draw.once_in(3) { 500 } else { 20 };
        let (count, mut ms) = (draw.below(most), draw.below(1000));
        for _ in 0..count {
            ms += draw.below(3);
            let mut add = words(&format!("XADD k {ms}-*"));
            let names: &[&str] = if draw.once_in(5) { &["a", "17", ""] } else { &["user", "n"] };
            for name in names {
                add.extend([name.as_bytes().to_vec(), text(&mut draw)]);
            }
            commands.push(add);
            let (id, consumer) = (format!("{}-0", draw.below(ms + 1)), draw.below(3));
            match draw.below(30) {
                0 => commands.push(words(&format!("XDEL k {id}"))),
                1 => commands.push(words(&format!("XTRIM k MAXLEN {}", draw.below(600)))),
                2 => commands.push(words(&format!("XGROUP CREATE k g1 {id}"))),
                3..6 => {
                    commands.push(words(&format!("XREADGROUP GROUP g0 c{consumer} COUNT 7 STREAMS k >")));
                }
                6 => commands.push(words(&format!("XREADGROUP GROUP g1 c{consumer} COUNT 3 STREAMS k >"))),
                7 => commands.push(words(&format!("XACK k g0 {id}"))),
                8 => commands.push(words(&format!("XCLAIM k g0 c{consumer} 0 {id}"))),
                9 => commands.push(words(&format!("XGROUP CREATECONSUMER k g0 c{consumer}"))),
                _ => {}
            }
        }
        for command in &commands {
            let command: Vec<&[u8]> = command.iter().map(|arg| &arg[..]).collect();
            redis.ask(&command);
            sessile.ask(&command);
        }
        let expected = look_at_stream(&mut redis, b"k");
        alike(&look_at_stream(&mut sessile, b"k"), &expected);
        let (theirs, ours) = (redis.bulk(&[b"DUMP", b"k"]), sessile.bulk(&[b"DUMP", b"k"]));
        for payload in [&theirs, &ours] {
            for server in [&mut redis as &mut dyn Keys, &mut sessile] {
                let restored = server.ask(&[b"RESTORE", b"copy", b"0", payload, b"REPLACE"]);
                assert_eq!(show(&restored), show(b"+OK\r\n"), "{}", show(payload));
                alike(&look_at_stream(server, b"copy"), &expected);
            }
        }
    }
}

/// A payload of any type with Redis's version and checksum.
fn payload(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut payload = vec![kind];
    payload.extend_from_slice(body);
    payload.extend_from_slice(&9u16.to_le_bytes());
    let crc = crc64(&payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    payload
}

/// A string of up to 16,383 bytes as Redis's files have it.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = ((bytes.len() as u16) | 0x4000).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// A ziplist, integers as such where they are.
fn ziplist(texts: &[Vec<u8>]) -> Vec<u8> {
    let (mut body, mut previous, mut tail) = (Vec::new(), 0usize, 0);
    for text in texts {
        tail = body.len();
        if previous < 254 {
            body.push(previous as u8);
        } else {
            body.push(0xFE);
            body.extend_from_slice(&(previous as u32).to_le_bytes());
        }
        let shown = String::from_utf8_lossy(text).into_owned();
        match shown.parse::<i64>() {
            Ok(number) if number.to_string() == shown => match number {
                0..=12 => body.push(0xF1 + number as u8),
                -128..=127 => body.extend_from_slice(&[0xFE, number as u8]),
                -32768..=32767 => {
                    body.push(0xC0);
                    body.extend_from_slice(&(number as i16).to_le_bytes());
                }
                -8_388_608..=8_388_607 => {
                    body.push(0xF0);
                    body.extend_from_slice(&(number as i32).to_le_bytes()[..3]);
                }
                -2_147_483_648..=2_147_483_647 => {
                    body.push(0xD0);
                    body.extend_from_slice(&(number as i32).to_le_bytes());
                }
                _ => {
                    body.push(0xE0);
                    body.extend_from_slice(&number.to_le_bytes());
                }
            },
            _ => {
                match text.len() {
                    0..=63 => body.push(text.len() as u8),
                    _ => body.extend_from_slice(&(text.len() as u16 | 0x4000).to_be_bytes()),
                }
                body.extend_from_slice(text);
            }
        }
        previous = body.len() - tail;
    }
    let mut list = (body.len() as u32 + 11).to_le_bytes().to_vec();
    list.extend_from_slice(&(tail as u32 + 10).to_le_bytes());
    list.extend_from_slice(&(texts.len() as u16).to_le_bytes());
    list.extend_from_slice(&body);
    list.push(0xFF);
    list
}

#[test]
fn what_old_redises_wrote_is_read() {
    const VALUES: usize = 500;
    let Some(mut redis) = redis("dump") else { return };
    let mut sessile = InProcess::new();
    let mut draw = Draw::new(seed());
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..VALUES {
        let count = 2 * (1 + draw.below(40));
        let mut texts: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let mut text = text(&mut draw);
                text.truncate(300);
                text
            })
            .collect();
        let kind = *draw.of(&[10, 13, 14, 12, 3]);
        if matches!(kind, 12 | 3) {
            // Scores in order, as they would be.
            for (number, pair) in texts.chunks_mut(2).enumerate() {
                pair[1] = if kind == 12 { number.to_string() } else { format!("{number}.5") }.into_bytes();
            }
        }
        if !matches!(kind, 10 | 14) && !draw.once_in(10) {
            let mut seen = std::collections::HashSet::new();
            texts = texts
                .chunks(2)
                .filter(|pair| seen.insert(pair[0].clone()))
                .flat_map(<[Vec<u8>]>::to_vec)
                .collect();
        }
        let body = match kind {
            14 => [&[1][..], &string(&ziplist(&texts))].concat(),
            3 => {
                let mut body = vec![(texts.len() / 2) as u8];
                for pair in texts.chunks(2) {
                    body.extend(string(&pair[0]));
                    body.push(pair[1].len() as u8);
                    body.extend_from_slice(&pair[1]);
                }
                body
            }
            _ => string(&ziplist(&texts)),
        };
        let payload = payload(kind, &body);
        let theirs = redis.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
        let ours = sessile.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
        assert_eq!(show(&ours), show(&theirs), "type {kind}: {texts:?}");
        if theirs == b"+OK\r\n" {
            taken += 1;
            assert_eq!(sessile.look(b"k"), redis.look(b"k"), "type {kind}");
        } else {
            refused += 1;
        }
    }
    assert!(taken > 100 && refused > 5, "{taken} taken, {refused} refused");
}

#[test]
fn fields_keep_their_deadlines() {
    let mut server = InProcess::new();
    server.ask(&[b"HSETEX", b"h", b"PXAT", b"4102444800123", b"FIELDS", b"2", b"a", b"1", b"b", b"x"]);
    server.ask(&[b"HSETEX", b"h", b"EX", b"50", b"FIELDS", b"1", b"c", b"3"]);
    server.ask(&[b"HSET", b"h", b"d", b"4"]);
    let at = server.ask(&[b"HPEXPIRETIME", b"h", b"FIELDS", b"4", b"a", b"b", b"c", b"d"]);
    let payload = server.bulk(&[b"DUMP", b"h"]);
    assert_eq!(server.ask(&[b"RESTORE", b"copy", b"100000", &payload]), b"+OK\r\n");
    assert_eq!(server.ask(&[b"HPEXPIRETIME", b"copy", b"FIELDS", b"4", b"a", b"b", b"c", b"d"]), at);
    assert_eq!(server.ask(&[b"TTL", b"copy"]), b":100\r\n");
    assert_eq!(server.look(b"copy"), server.look(b"h"));
    // A listpack of Redis 7.4: field, value, deadline.
    let deadline = [&[0xF4][..], &4_102_444_800_123u64.to_le_bytes(), &[9]].concat();
    let elements: [&[u8]; 6] = [b"\x81f\x02", b"\x01\x01", &deadline, b"\x81g\x02", b"\x02\x01", b"\x00\x01"];
    let mut pack = (elements.concat().len() as u32 + 7).to_le_bytes().to_vec();
    pack.extend_from_slice(&[6, 0]);
    pack.extend(elements.concat());
    pack.push(0xFF);
    let mut body = 4_102_444_800_123u64.to_le_bytes().to_vec();
    body.extend(string(&pack));
    assert_eq!(server.ask(&[b"RESTORE", b"e", b"0", &self::payload(25, &body)]), b"+OK\r\n");
    let at = server.ask(&[b"HPEXPIRETIME", b"e", b"FIELDS", b"2", b"f", b"g"]);
    assert_eq!(show(&at), show(b"*2\r\n:4102444800123\r\n:-1\r\n"));
}

#[test]
fn the_order_of_errors_is_redis_s() {
    let mut server = InProcess::new();
    let good = payload(0, &string(b"value"));
    let mut bad = good.clone();
    bad[3] ^= 1;
    let mut newer = good.clone();
    let end = newer.len();
    newer[end - 10] = 99;
    let crc = crc64(&newer[..end - 8]).to_le_bytes();
    newer[end - 8..].copy_from_slice(&crc);
    server.ask(&[b"SET", b"there", b"v"]);
    let mut expect = |args: &[&[u8]], reply: &str| {
        assert_eq!(String::from_utf8_lossy(&server.ask(args)), format!("{reply}\r\n"));
    };
    let checksum = "-ERR DUMP payload version or checksum are wrong";
    expect(&[b"RESTORE", b"k", b"x", &bad, b"WORD"], "-ERR syntax error");
    expect(&[b"RESTORE", b"k", b"x", &bad, b"FREQ", b"1", b"IDLETIME", b"1"], "-ERR syntax error");
    expect(
        &[b"RESTORE", b"k", b"x", &bad, b"FREQ", b"256"],
        "-ERR Invalid FREQ value, must be >= 0 and <= 255",
    );
    expect(&[b"RESTORE", b"k", b"x", &bad, b"IDLETIME", b"-1"], "-ERR Invalid IDLETIME value, must be >= 0");
    expect(&[b"RESTORE", b"there", b"x", &bad], "-BUSYKEY Target key name already exists.");
    expect(&[b"RESTORE", b"k", b"x", &bad], "-ERR value is not an integer or out of range");
    expect(&[b"RESTORE", b"k", b"-1", &bad], "-ERR Invalid TTL value, must be >= 0");
    expect(&[b"RESTORE", b"k", b"0", &bad], checksum);
    expect(&[b"RESTORE", b"k", b"0", &newer], checksum);
    expect(&[b"RESTORE", b"k", b"0", b"short"], checksum);
    expect(&[b"RESTORE", b"k", b"0", &payload(1, &[0])], "-ERR Bad data format");
    expect(&[b"RESTORE", b"k", b"0", &payload(2, b"\x02\x01a\x01a")], "-ERR Bad data format");
    expect(&[b"RESTORE", b"k", b"0", &payload(99, b"")], "-ERR Bad data format");
    expect(&[b"RESTORE", b"there", b"1", &good, b"REPLACE", b"ABSTTL"], "+OK");
    expect(&[b"EXISTS", b"there"], ":0");
    expect(&[b"RESTORE", b"k", b"4102444800000", &good, b"ABSTTL", b"IDLETIME", b"5"], "+OK");
    expect(&[b"PEXPIRETIME", b"k"], ":4102444800000");
    expect(&[b"GET", b"k"], "$5\r\nvalue");
    expect(&[b"DUMP", b"missing"], "$-1");
}

/// A payload that claims much and unfolds to more is refused before it costs anything.
#[test]
fn what_unfolds_too_far_is_refused() {
    // A gigabyte of the same byte, claimed.
    let mut huge = vec![0xC3, 0x40, 5, 0x80, 0x40, 0, 0, 0];
    huge.extend_from_slice(&[0, b'a', 0xE0, 255, 0]);
    assert_eq!(reader::read(&[&[0][..], &huge].concat(), 512 << 20), None);
    // Four thousand million elements, claimed.
    assert_eq!(reader::read(&[1, 0x80, 0xFF, 0xFF, 0xFF, 0xFF, 1, b'a'], 512 << 20), None);
    // Within its bounds.
    let mut plain = vec![1, 2];
    plain.extend([string(b"first"), string(b"second")].concat());
    assert!(matches!(reader::read(&plain, 200), Some(Value::List(elements)) if elements.len() == 2));
    assert_eq!(reader::read(&plain, 60), None);
}

/// Bytes changed anywhere, with the checksum put right: refused, or some other value, and never a panic.
#[test]
fn damaged_payloads_are_refused_or_are_others() {
    let mut draw = Draw::new(seed());
    let mut server = InProcess::new();
    let texts: Vec<Vec<u8>> = (0..8).map(|number| format!("text {number}").into_bytes()).collect();
    let mut payloads = vec![
        payload(13, &string(&ziplist(&texts))),
        payload(11, &string(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0])),
    ];
    for _ in 0..40 {
        server.ask(&[b"DEL", b"k"]);
        let command = creation(&mut draw, b"k");
        server.ask(&command.iter().map(|arg| &arg[..]).collect::<Vec<_>>());
        payloads.push(server.bulk(&[b"DUMP", b"k"]));
    }
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut changed = draw.of(&payloads).clone();
        changed.truncate(changed.len() - 10);
        for _ in 0..=draw.below(3) {
            let at = draw.below(changed.len());
            changed[at] = draw.number() as u8;
        }
        if draw.once_in(5) {
            changed.truncate(draw.below(changed.len()) + 1);
        }
        let payload = payload(changed[0], &changed[1..]);
        let reply = server.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
        if reply == b"+OK\r\n" {
            taken += 1;
            // It can be read, and it can be written again.
            server.look(b"k");
            let again = server.bulk(&[b"DUMP", b"k"]);
            assert_eq!(server.ask(&[b"RESTORE", b"again", b"0", &again, b"REPLACE"]), b"+OK\r\n");
            assert_eq!(server.look(b"again"), server.look(b"k"));
        } else {
            assert_eq!(show(&reply), show(b"-ERR Bad data format\r\n"));
        }
    }
    assert!(taken > 100, "{taken}");
}
