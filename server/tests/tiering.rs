//! More sessions than memory: a server with a small `maxmemory` serves values from disk, and nobody can tell but by `INFO`.
//!
//! Cold values go through every command path here, from several connections at a time, and the answers are checked against what was written.
#![expect(clippy::disallowed_methods, reason = "a real process on a real disk")]

mod support;

use rustix::process::Signal;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use support::{Client, Random, Server, ServerOptions, Value, encode};

/// Sessions, and bytes of each value: some 50 MB with keys and index.
const SESSIONS: usize = 100_000;
const VALUE_BYTES: usize = 400;
/// What may be resident.
const MEMORY: &str = "20mb";
const TTL_SECONDS: i64 = 3600;
/// Commands sent before the first of their replies is read.
const DEPTH: usize = 200;

fn key(number: usize) -> String {
    format!("session:{number:08}:of-a-user-of-ours")
}

/// A value like a session's, in which its number is, so that no two are the same.
fn value(number: usize) -> Vec<u8> {
    let mut text = format!(
        r#"{{"user":{number},"name":"user-{number}","roles":["reader"],"csrf":"{:016x}","#,
        number * 7919
    );
    let mut random = Random::new(number as u64 + 1);
    text.push_str(r#""cart":""#);
    while text.len() < VALUE_BYTES - 2 {
        text.push(char::from(b'a' + random.within(0..26) as u8));
    }
    text.push_str(r#""}"#);
    text.into_bytes()
}

fn field(client: &mut Client, section: &str, name: &str) -> u64 {
    let info = client.command(&format!("INFO {section}")).text();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number {name} in {info}"))
}

/// Sends commands of numbered sessions in pipelines and looks at each reply.
fn for_each(
    client: &mut Client,
    numbers: impl IntoIterator<Item = usize>,
    command: impl Fn(usize) -> Vec<Vec<u8>>,
    mut look: impl FnMut(usize, Value),
) {
    let numbers: Vec<usize> = numbers.into_iter().collect();
    for batch in numbers.chunks(DEPTH) {
        let mut bytes = Vec::new();
        for &number in batch {
            encode(&mut bytes, &command(number));
        }
        client.send(&bytes).expect("sent");
        for &number in batch {
            look(number, client.receive().expect("a reply"));
        }
    }
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn draw(random: &mut Random, count: usize) -> usize {
    random.within(0..count as u64) as usize
}

fn load(client: &mut Client) {
    for_each(
        client,
        0..SESSIONS,
        |n| vec![b"SET".to_vec(), key(n).into(), value(n), b"EX".to_vec(), TTL_SECONDS.to_string().into()],
        |n, reply| assert_eq!(reply, Value::ok(), "{n}"),
    );
}

/// A server that holds all sessions, most of their values on disk only.
fn loaded(options: ServerOptions) -> Server {
    let server = Server::start(options);
    let mut client = server.client();
    load(&mut client);
    assert_eq!(client.command("SAVE"), Value::ok());
    let deadline = Instant::now() + Duration::from_secs(60);
    while field(&mut client, "storage", "values_cold") < SESSIONS as u64 / 3 {
        assert!(
            Instant::now() < deadline,
            "values should leave memory: {}",
            client.command("INFO storage").text()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

fn options() -> ServerOptions {
    ServerOptions::new("everysec").with("maxmemory", MEMORY)
}

#[test]
fn everything_is_served_when_memory_holds_a_part_of_it() {
    let mut server = loaded(options());
    let mut client = server.client();
    for_each(
        &mut client,
        0..SESSIONS,
        |n| words(&["GET", &key(n)]),
        |n, reply| {
            assert_eq!(reply, Value::Bulk(value(n)), "{n}");
        },
    );
    assert!(field(&mut client, "storage", "cold_reads") > 0);
    assert_eq!(field(&mut client, "storage", "damaged_reads"), 0);
    assert_eq!(field(&mut client, "stats", "evicted_keys"), 0);
    // In an order that no page cache expects, several at a time.
    let mut random = Random::new(5);
    let drawn: Vec<usize> = (0..20_000).map(|_| draw(&mut random, SESSIONS)).collect();
    for_each(
        &mut client,
        drawn,
        |n| words(&["MGET", &key(n), "nothing", &key((n + 1) % SESSIONS), &key((n * 31) % SESSIONS)]),
        |n, reply| {
            let expected = [n, (n + 1) % SESSIONS, (n * 31) % SESSIONS].map(|n| Value::Bulk(value(n)));
            let [first, second, third] = expected;
            assert_eq!(reply, Value::Array(vec![first, Value::Null, second, third]), "{n}");
        },
    );
    for_each(
        &mut client,
        (0..SESSIONS).step_by(7),
        |n| words(&["PTTL", &key(n)]),
        |n, reply| {
            let Value::Integer(left) = reply else { panic!("{n}: {reply:?}") };
            assert!((1..=TTL_SECONDS * 1000).contains(&left), "{n}: {left}");
        },
    );
    let resident = server.resident_kib();
    assert!(resident < 120 << 10, "{resident} KiB are resident");
    // And after both ends that a process can have.
    assert!(server.stop(Signal::TERM).success());
    server.restart();
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(client.command("DBSIZE"), Value::Integer(SESSIONS as i64));
    for_each(
        &mut client,
        (0..SESSIONS).step_by(3),
        |n| words(&["GET", &key(n)]),
        |n, reply| {
            assert_eq!(reply, Value::Bulk(value(n)), "{n}");
        },
    );
}

#[test]
fn every_kind_of_command_works_on_cold_values() {
    let server = loaded(options());
    let mut client = server.client();
    let mut call = |args: &[&str]| client.call(args).expect("a reply");
    let mut next = 0;
    // A session that nothing has read yet; those loaded first are the coldest.
    let mut cold = || {
        next += 97;
        (key(next), value(next))
    };
    for _ in 0..20 {
        let (key, value) = cold();
        assert_eq!(call(&["APPEND", &key, "tail"]), Value::Integer(VALUE_BYTES as i64 + 4));
        assert_eq!(call(&["GET", &key]), Value::Bulk([&value[..], b"tail"].concat()));
        let (key, value) = cold();
        assert_eq!(call(&["GETRANGE", &key, "0", "7"]), Value::bulk(&value[..8]));
        let (key, value) = cold();
        assert_eq!(call(&["SETRANGE", &key, "0", "[["]), Value::Integer(VALUE_BYTES as i64));
        assert_eq!(call(&["GET", &key]), Value::Bulk([b"[[", &value[2..]].concat()));
        let (key, value) = cold();
        assert_eq!(call(&["GETSET", &key, "new"]), Value::Bulk(value));
        let (key, value) = cold();
        assert_eq!(call(&["GETDEL", &key]), Value::Bulk(value));
        assert_eq!(call(&["EXISTS", &key]), Value::Integer(0));
        let (key, value) = cold();
        assert_eq!(call(&["GETEX", &key, "PERSIST"]), Value::Bulk(value));
        assert_eq!(call(&["TTL", &key]), Value::Integer(-1));
        let (key, value) = cold();
        assert_eq!(call(&["RENAME", &key, "renamed"]), Value::ok());
        assert_eq!(call(&["GET", "renamed"]), Value::Bulk(value));
        assert!(matches!(call(&["TTL", "renamed"]), Value::Integer(1..)));
        let (key, value) = cold();
        assert_eq!(call(&["COPY", &key, "copied", "REPLACE"]), Value::Integer(1));
        assert_eq!(call(&["GET", "copied"]), Value::Bulk(value.clone()));
        assert_eq!(call(&["GET", &key]), Value::Bulk(value));
        let (key, value) = cold();
        assert_eq!(call(&["MOVE", &key, "3"]), Value::Integer(1));
        assert_eq!(call(&["SELECT", "3"]), Value::ok());
        assert_eq!(call(&["GET", &key]), Value::Bulk(value));
        assert_eq!(call(&["SELECT", "0"]), Value::ok());
        assert_eq!(call(&["GET", &key]), Value::Null);
        let (key, _) = cold();
        assert_eq!(call(&["STRLEN", &key]), Value::Integer(VALUE_BYTES as i64));
        let (key, _) = cold();
        assert_eq!(call(&["TYPE", &key]), Value::Simple("string".into()));
        let (key, _) = cold();
        assert_eq!(call(&["OBJECT", "ENCODING", &key]), Value::bulk("raw"));
        let (key, _) = cold();
        assert!(matches!(call(&["MEMORY", "USAGE", &key]), Value::Integer(1..)));
        let (key, value) = cold();
        assert_eq!(call(&["EXPIRE", &key, "100"]), Value::Integer(1));
        assert!(matches!(call(&["TTL", &key]), Value::Integer(1..=100)));
        assert_eq!(call(&["GET", &key]), Value::Bulk(value));
        let (key, value) = cold();
        assert_eq!(call(&["PERSIST", &key]), Value::Integer(1));
        assert_eq!(call(&["TTL", &key]), Value::Integer(-1));
        assert_eq!(call(&["GET", &key]), Value::Bulk(value));
        let (key, value) = cold();
        assert_eq!(call(&["TOUCH", &key]), Value::Integer(1));
        assert_eq!(call(&["SETNX", &key, "x"]), Value::Integer(0));
        assert_eq!(call(&["GET", &key]), Value::Bulk(value));
        let (key, _) = cold();
        assert!(call(&["INCR", &key]).is_error("ERR value is not an integer"));
        let (key, _) = cold();
        assert!(call(&["HGET", &key, "f"]).is_error("WRONGTYPE"));
        let (key, value) = cold();
        assert_eq!(call(&["SET", &key, "new", "XX", "GET", "KEEPTTL"]), Value::Bulk(value));
        assert!(matches!(call(&["TTL", &key]), Value::Integer(1..)));
        let (key, _) = cold();
        assert_eq!(call(&["UNLINK", &key]), Value::Integer(1));
        assert_eq!(call(&["GET", &key]), Value::Null);
        let ((one, value), (two, _), (three, _)) = (cold(), cold(), cold());
        assert_eq!(call(&["DEL", &two, &three, "nothing"]), Value::Integer(2));
        assert_eq!(call(&["EXISTS", &one, &two, &one]), Value::Integer(2));
        assert_eq!(call(&["GET", &one]), Value::Bulk(value));
        let (key, _) = cold();
        assert_eq!(call(&["EXPIRE", &key, "0"]), Value::Integer(1));
        assert_eq!(call(&["GET", &key]), Value::Null);
    }
    assert_eq!(field(&mut client, "storage", "damaged_reads"), 0);
}

#[test]
fn walks_over_cold_keys_see_all_of_them_while_others_are_served() {
    let server = loaded(options());
    let mut client = server.client();
    let mut seen = HashSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.call(&["SCAN", &cursor, "MATCH", "session:*", "COUNT", "1000"]).expect("a reply");
        let [next, keys] = reply.items() else { panic!("{reply:?}") };
        seen.extend(keys.items().iter().map(Value::text));
        cursor = next.text();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), SESSIONS);
    assert!((0..SESSIONS).all(|n| seen.contains(&key(n))));
    // Replies of one connection keep their order, whatever waits where.
    let mut bytes = Vec::new();
    encode(&mut bytes, &["KEYS", "session:0000*"]);
    encode(&mut bytes, &["GET", &key(17)]);
    encode(&mut bytes, &["RANDOMKEY"]);
    encode(&mut bytes, &["SAVE"]);
    encode(&mut bytes, &["PING"]);
    client.send(&bytes).expect("sent");
    let mut other = server.client();
    let begun = Instant::now();
    assert_eq!(other.command("PING"), Value::Simple("PONG".into()));
    assert_eq!(other.call(&["GET", &key(18)]).expect("a reply"), Value::Bulk(value(18)));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(client.receive().expect("a reply").items().len(), 10_000);
    assert_eq!(client.receive().expect("a reply"), Value::Bulk(value(17)));
    let drawn = client.receive().expect("a reply").text();
    assert!(seen.contains(&drawn), "{drawn}");
    assert_eq!(client.receive().expect("a reply"), Value::ok());
    assert_eq!(client.receive().expect("a reply"), Value::Simple("PONG".into()));
}

#[test]
fn clients_that_write_and_read_the_same_cold_sessions_see_each_write_once() {
    const CLIENTS: usize = 8;
    const COUNTERS: usize = 500;
    const ROUNDS: usize = 40;
    let server = loaded(options());
    // Counters inside cold hashes: written first, then pushed out of memory by reads of everything else.
    let mut client = server.client();
    let counter = |n: usize| format!("counter:{n:05}");
    for_each(
        &mut client,
        0..COUNTERS,
        |n| words(&["HSET", &counter(n), "n", "0", "padding", &"p".repeat(300)]),
        |_, reply| assert_eq!(reply, Value::Integer(2)),
    );
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let mut client = server.client();
            scope.spawn(move || {
                let mut random = Random::new(number as u64 + 100);
                for _ in 0..ROUNDS {
                    let order: Vec<usize> = (0..COUNTERS / 4).map(|_| draw(&mut random, COUNTERS)).collect();
                    let mut bytes = Vec::new();
                    for &n in &order {
                        encode(&mut bytes, &["HINCRBY", &counter(n), "n", "1"]);
                        encode(&mut bytes, &["HINCRBY", "total", "n", "1"]);
                    }
                    client.send(&bytes).expect("sent");
                    for _ in 0..order.len() * 2 {
                        assert!(matches!(client.receive(), Ok(Value::Integer(1..))));
                    }
                    let drawn: Vec<usize> = (0..300).map(|_| draw(&mut random, SESSIONS)).collect();
                    for_each(
                        &mut client,
                        drawn,
                        |n| words(&["GET", &key(n)]),
                        |n, reply| {
                            assert_eq!(reply, Value::Bulk(value(n)), "{n}");
                        },
                    );
                }
            });
        }
    });
    let mut sum = 0;
    for_each(
        &mut client,
        0..COUNTERS,
        |n| words(&["HGET", &counter(n), "n"]),
        |_, reply| {
            sum += reply.text().parse::<usize>().expect("a number");
        },
    );
    assert_eq!(sum, CLIENTS * ROUNDS * (COUNTERS / 4));
    assert_eq!(client.command("HGET total n").text(), sum.to_string());
}

#[test]
fn clients_that_leave_while_they_wait_harm_nobody() {
    let server = loaded(options());
    let mut random = Random::new(9);
    for round in 0..50 {
        let mut client = server.client();
        let mut bytes = Vec::new();
        for _ in 0..100 {
            encode(&mut bytes, &["GET", &key(draw(&mut random, SESSIONS))]);
        }
        if round % 5 == 0 {
            encode(&mut bytes, &["KEYS", "*"]);
        }
        client.send(&bytes).expect("sent");
        if round % 2 == 0 {
            let _ = client.receive();
        }
    }
    let mut client = server.client();
    for_each(
        &mut client,
        (0..SESSIONS).step_by(50),
        |n| words(&["GET", &key(n)]),
        |n, reply| {
            assert_eq!(reply, Value::Bulk(value(n)), "{n}");
        },
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    while field(&mut client, "clients", "connected_clients") > 1 {
        assert!(Instant::now() < deadline, "those who have left are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn checkpoints_are_told_truly() {
    let server = loaded(options());
    let mut client = server.client();
    assert!(field(&mut client, "persistence", "rdb_saves") >= 1);
    let Value::Integer(before) = client.command("LASTSAVE") else { panic!("no number") };
    for_each(
        &mut client,
        0..1000,
        |n| words(&["SET", &key(n), "changed"]),
        |n, reply| assert_eq!(reply, Value::ok(), "{n}"),
    );
    assert!(field(&mut client, "persistence", "rdb_changes_since_last_save") >= 1000);
    std::thread::sleep(Duration::from_millis(1100));
    let saves = field(&mut client, "persistence", "rdb_saves");
    let started = client.command("BGSAVE");
    assert!(
        started == Value::Simple("Background saving started".into())
            || started.is_error("ERR Background save")
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    while field(&mut client, "persistence", "rdb_saves") == saves
        || field(&mut client, "persistence", "rdb_bgsave_in_progress") == 1
    {
        assert!(
            Instant::now() < deadline,
            "the checkpoint should be made: {}",
            client.command("INFO storage").text()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(field(&mut client, "persistence", "rdb_changes_since_last_save"), 0);
    assert!(matches!(client.command("LASTSAVE"), Value::Integer(after) if after > before));
    assert!(field(&mut client, "storage", "segment_bytes") > 0);
    assert!(field(&mut client, "persistence", "aof_base_size") > 0);
}

#[test]
fn a_full_directory_refuses_writes_and_serves_the_rest() {
    let server = Server::start(options().with("maxdisk", "100mb"));
    let mut client = server.client();
    let refused = Value::Error("OOM command not allowed when used disk > 'maxdisk'.".into());
    let noise: Vec<u8> = {
        let mut random = Random::new(3);
        (0..100_000).map(|_| random.next() as u8).collect()
    };
    let mut written = 0;
    loop {
        let key = format!("big:{written}");
        match client.call(&[b"SET", key.as_bytes(), &noise]).expect("a reply") {
            reply if reply == Value::ok() => written += 1,
            reply if reply == refused => break,
            reply => panic!("{reply:?}"),
        }
        assert!(written < 4000, "400 MB were taken: {}", client.command("INFO storage").text());
    }
    assert!(written > 100, "{written} writes of 100 kB");
    assert_eq!(client.command("GET big:0"), Value::Bulk(noise.clone()));
    assert_eq!(client.command(&format!("STRLEN big:{}", written - 1)), Value::Integer(100_000));
    assert!(client.command("INFO errorstats").text().contains("errorstat_OOM:count=1"));
    for number in 0..written {
        assert_eq!(client.command(&format!("DEL big:{number}")), Value::Integer(1), "{number}");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.call(&[b"SET".as_slice(), b"again", &noise]).expect("a reply") != Value::ok() {
        assert!(Instant::now() < deadline, "space should be back: {}", client.command("INFO storage").text());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.command("CONFIG SET maxdisk 0"), Value::ok());
    assert_eq!(client.call(&[b"SET".as_slice(), b"more", &noise]).expect("a reply"), Value::ok());
}

#[test]
fn a_few_bytes_do_not_make_more_zeros_than_memory_may_hold() {
    let server = Server::start(options());
    let mut client = server.client();
    let refused = Value::Error("OOM command not allowed when used memory > 'maxmemory'.".into());
    for command in [
        "SETRANGE far 536870911 x",
        "SETBIT far 4294967295 1",
        "SETBIT far 4294967295 0",
        "BITFIELD far SET u8 4294967280 1",
        "EVAL return{redis.pcall('SETRANGE','far',536870911,'x')} 0",
    ] {
        let reply = match client.command(command) {
            Value::Array(mut replies) => replies.remove(0),
            reply => reply,
        };
        assert_eq!(reply, refused, "{command}");
        assert_eq!(client.command("EXISTS far"), Value::Integer(0), "{command}");
    }
    // What a limit of memory could hold may be made, and a million zeros whatever the limit is.
    assert_eq!(client.command("SETRANGE near 15000000 x"), Value::Integer(15_000_001));
    assert_eq!(client.command("CONFIG SET maxmemory 1000"), Value::ok());
    assert_eq!(client.command("SETRANGE small 1048575 x"), Value::Integer(1 << 20));
    assert_eq!(client.command("SETRANGE small 1048576 x"), refused);
    assert_eq!(client.command("STRLEN small"), Value::Integer(1 << 20));
}

#[test]
fn redis_s_policies_delete_what_they_say() {
    let server = Server::start(options().with("maxmemory-policy", "volatile-lru"));
    let mut client = server.client();
    for_each(
        &mut client,
        0..2000,
        |n| words(&["SET", &format!("kept:{n}"), &"k".repeat(100)]),
        |n, reply| assert_eq!(reply, Value::ok(), "{n}"),
    );
    load(&mut client);
    let deadline = Instant::now() + Duration::from_secs(60);
    while field(&mut client, "stats", "evicted_keys") == 0 {
        assert!(Instant::now() < deadline, "keys should be evicted: {}", client.command("INFO").text());
        std::thread::sleep(Duration::from_millis(50));
    }
    for_each(
        &mut client,
        0..2000,
        |n| words(&["EXISTS", &format!("kept:{n}")]),
        |n, reply| {
            assert_eq!(reply, Value::Integer(1), "{n} has no deadline");
        },
    );
    let Value::Integer(left) = client.command("DBSIZE") else { panic!("no number") };
    assert!(left < (SESSIONS + 2000) as i64, "{left}");
}
