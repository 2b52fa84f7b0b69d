//! Chats and throttles: what commands answer, byte for byte, in both protocols, and what they refuse.

#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod support;

use sessile_server::notify;
use sessile_server::resp::Protocol;
use support::in_process::InProcess;
use support::resp::Reply;
use support::{Client, Server, ServerOptions, Value};

/// `CHAT.APPEND`'s reply, in RESP2.
fn appended(index: u64, turns: u64, tokens: u64, epoch: u64) -> String {
    format!("*8|$5|index|:{index}|$5|turns|:{turns}|$6|tokens|:{tokens}|$5|epoch|:{epoch}")
}

fn totals(turns: u64, tokens: u64, epoch: u64) -> String {
    format!("*6|$5|turns|:{turns}|$6|tokens|:{tokens}|$5|epoch|:{epoch}")
}

/// Runs words, and shows the reply with its line ends as `|`.
fn say(server: &mut InProcess, command: &str) -> String {
    let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    let reply = String::from_utf8_lossy(&server.run(&args)).replace("\r\n", "|");
    reply.trim_end_matches('|').to_owned()
}

/// The indexes that a window shows.
fn window(server: &mut InProcess, command: &str) -> Vec<i64> {
    let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    let bytes = server.run(&args);
    let (reply, _) = Reply::parse(&bytes).expect("a whole reply");
    assert_ne!(reply.kind, b'-', "{command}: {}", String::from_utf8_lossy(&bytes));
    assert_eq!(reply.elements[0].text, b"turns");
    reply.elements[1].elements.iter().map(|turn| turn.elements[1].integer().expect("an index")).collect()
}

#[test]
fn a_turn_has_an_index_and_tokens_and_comes_once() {
    let mut server = InProcess::new();
    for (command, reply) in [
        ("CHAT.LEN c", totals(0, 0, 0)),
        ("EXISTS c", ":0".into()),
        ("CHAT.APPEND c user 12345", appended(0, 1, 2, 0)),
        ("chat.append c assistant 1234 tokens 40 id a", appended(1, 2, 42, 0)),
        ("CHAT.APPEND c assistant other ID a TOKENS 7", appended(1, 2, 42, 0)),
        ("CHAT.APPEND c user x ID b", appended(2, 3, 43, 0)),
        ("CHAT.LEN c", totals(3, 43, 0)),
        ("TYPE c", "+chat".into()),
        ("OBJECT ENCODING c", "$6|packed".into()),
        ("EXPIRE c 100", ":1".into()),
        ("CHAT.APPEND c user x", appended(3, 4, 44, 0)),
        ("TTL c", ":100".into()),
        ("SCAN 0 TYPE chat", "*2|$1|0|*1|$1|c".into()),
        ("COPY c d", ":1".into()),
        ("RENAME d e", "+OK".into()),
        ("MOVE e 1", ":1".into()),
        ("CHAT.LEN c", totals(4, 44, 0)),
        ("DEL c", ":1".into()),
        ("CHAT.LEN c", totals(0, 0, 0)),
    ] {
        assert_eq!(say(&mut server, command), reply, "{command}");
    }
    // No content at all is one, too.
    let reply = server.run(&[b"CHAT.APPEND", b"c", b"user", b""]);
    assert_eq!(String::from_utf8_lossy(&reply).replace("\r\n", "|"), format!("{}|", appended(0, 1, 0, 0)));
}

#[test]
fn maps_are_maps_in_resp3_and_flat_in_resp2() {
    let mut server = InProcess::new();
    server.set_protocol(Protocol::Resp3);
    let window = "%3|$5|turns|*1|%4|$5|index|:0|$4|role|$4|user|$7|content|$2|hi|$6|tokens|:1|$5|epoch|:0|$6|tokens|:1";
    for (command, reply) in [
        ("CHAT.APPEND c user hi", "%4|$5|index|:0|$5|turns|:1|$6|tokens|:1|$5|epoch|:0"),
        ("CHAT.WINDOW c", window),
        ("CHAT.WINDOW none", "%3|$5|turns|*0|$5|epoch|:0|$6|tokens|:0"),
        ("CHAT.TRIM c MAXTURNS 5", "%3|$5|turns|:1|$6|tokens|:1|$5|epoch|:0"),
        ("CHAT.COMPACT c UPTO 0 s", "%4|$5|index|:1|$5|turns|:1|$6|tokens|:1|$5|epoch|:1"),
        ("CHAT.LEN c", "%3|$5|turns|:1|$6|tokens|:1|$5|epoch|:1"),
        ("CL.THROTTLE t 1 1 60", "*5|:0|:2|:1|:-1|:60"),
    ] {
        assert_eq!(say(&mut server, command), reply, "{command}");
    }
    server.set_protocol(Protocol::Resp2);
    let window = "*6|$5|turns|*1|*8|$5|index|:1|$4|role|$7|summary|$7|content|$1|s|$6|tokens|:1|$5|epoch|:1|$6|tokens|:1";
    assert_eq!(say(&mut server, "CHAT.WINDOW c"), window);
    assert_eq!(say(&mut server, "CL.THROTTLE t 1 1 60"), "*5|:0|:2|:0|:-1|:120");
}

#[test]
fn a_window_charges_kept_turns_first() {
    let mut server = InProcess::new();
    // Indexes 0 to 5, with 10 tokens each.
    for role in ["system", "user", "assistant", "tool", "user", "assistant"] {
        say(&mut server, &format!("CHAT.APPEND c {role} text TOKENS 10"));
    }
    for (options, indexes) in [
        ("", vec![0, 1, 2, 3, 4, 5]),
        ("MAXTURNS 2", vec![4, 5]),
        ("MAXTURNS 0", vec![]),
        ("MAXTURNS 0 KEEP tool system", vec![0, 3]),
        ("MAXTURNS 2 KEEP system", vec![0, 4, 5]),
        // A kept turn among the newest does not count as one of them.
        ("MAXTURNS 2 KEEP assistant", vec![2, 3, 4, 5]),
        ("MAXTOKENS 30", vec![3, 4, 5]),
        ("MAXTOKENS 39", vec![3, 4, 5]),
        ("MAXTOKENS 30 KEEP system", vec![0, 4, 5]),
        ("MAXTOKENS 5 KEEP system tool", vec![0, 3]),
        ("MAXTOKENS 0", vec![]),
        ("MAXTOKENS 40 MAXTURNS 2 KEEP system", vec![0, 4, 5]),
        ("KEEP system MAXTOKENS 30", vec![0, 4, 5]),
        ("keep SYSTEM maxturns 1", vec![5]),
    ] {
        let command = format!("CHAT.WINDOW c {options}");
        assert_eq!(window(&mut server, command.trim_end()), indexes, "{options}");
    }
    // The first that does not fit ends it, whatever comes before.
    say(&mut server, "CHAT.APPEND c user text TOKENS 1");
    say(&mut server, "CHAT.APPEND c user text TOKENS 100");
    say(&mut server, "CHAT.APPEND c user text TOKENS 1");
    assert_eq!(window(&mut server, "CHAT.WINDOW c MAXTOKENS 50"), [8]);
    assert_eq!(say(&mut server, "CHAT.TRIM c MAXTOKENS 50 KEEP system"), totals(2, 11, 1));
    assert_eq!(window(&mut server, "CHAT.WINDOW c"), [0, 8]);
}

#[test]
fn a_summary_takes_the_place_of_what_it_stands_for() {
    let mut server = InProcess::new();
    for role in ["system", "user", "assistant", "user", "assistant"] {
        say(&mut server, &format!("CHAT.APPEND c {role} text TOKENS 10"));
    }
    for (command, reply) in [
        ("CHAT.COMPACT c UPTO 2 sum KEEP system", appended(5, 4, 31, 1)),
        (
            "CHAT.COMPACT c UPTO 2 sum",
            "-CONFLICT 1 is the epoch of the chat, and turn 2 is no longer there".into(),
        ),
        (
            "CHAT.COMPACT c UPTO 3 sum IFEPOCH 0",
            "-CONFLICT 1 is the epoch of the chat: turns were removed or replaced meanwhile".into(),
        ),
        ("CHAT.COMPACT c UPTO 2 sum IFEPOCH 1", "-ERR UPTO: there is no turn 2".into()),
        (
            "CHAT.COMPACT c UPTO 0 sum KEEP system",
            "-ERR KEEP: all turns up to 0 are of kept roles, there is nothing to replace".into(),
        ),
        (
            "CHAT.COMPACT none UPTO 0 sum",
            "-CONFLICT 0 is the epoch of the chat, and turn 0 is no longer there".into(),
        ),
        ("CHAT.LEN c", totals(4, 31, 1)),
        ("EXISTS none", ":0".into()),
    ] {
        assert_eq!(say(&mut server, command), reply, "{command}");
    }
    assert_eq!(window(&mut server, "CHAT.WINDOW c"), [0, 5, 3, 4]);
    assert_eq!(window(&mut server, "CHAT.WINDOW c MAXTURNS 0"), [5], "a summary is always there");
    // The next one takes the last one in, unless that is to be kept.
    assert_eq!(say(&mut server, "CHAT.COMPACT c UPTO 3 all IFEPOCH 1 KEEP system"), appended(6, 3, 21, 2));
    assert_eq!(window(&mut server, "CHAT.WINDOW c"), [0, 6, 4]);
    // Indexes are not used twice, not even when all turns are gone.
    assert_eq!(say(&mut server, "CHAT.COMPACT c UPTO 4 all ROLE note"), appended(7, 1, 1, 3));
    assert_eq!(say(&mut server, "CHAT.TRIM c MAXTURNS 0"), totals(0, 0, 4));
    assert_eq!(say(&mut server, "EXISTS c"), ":1");
    assert_eq!(say(&mut server, "CHAT.TRIM c MAXTURNS 0"), totals(0, 0, 4));
    assert_eq!(say(&mut server, "CHAT.APPEND c user text"), appended(8, 1, 1, 4));
}

#[test]
fn an_id_is_remembered_for_1024_turns_whether_its_turn_is_there_or_not() {
    let mut server = InProcess::new();
    say(&mut server, "CHAT.APPEND c user text ID first");
    say(&mut server, "CHAT.APPEND c user text");
    assert_eq!(say(&mut server, "CHAT.TRIM c MAXTURNS 1"), totals(1, 1, 1));
    assert_eq!(say(&mut server, "CHAT.APPEND c user text ID first"), appended(0, 1, 1, 1));
    for _ in 2..1024 {
        say(&mut server, "CHAT.APPEND c user text");
    }
    assert_eq!(say(&mut server, "CHAT.APPEND c user text ID first"), appended(0, 1023, 1023, 1));
    say(&mut server, "CHAT.APPEND c user text");
    assert_eq!(say(&mut server, "CHAT.APPEND c user text ID first"), appended(1025, 1025, 1025, 1));
    assert_eq!(say(&mut server, "OBJECT ENCODING c"), "$6|chunks");
    assert_eq!(say(&mut server, "CHAT.APPEND c user text ID first"), appended(1025, 1025, 1025, 1));
}

#[test]
fn malformed_calls_name_the_argument_and_change_nothing() {
    let mut server = InProcess::new();
    say(&mut server, "CHAT.APPEND c user text");
    say(&mut server, "SET s text");
    say(&mut server, "SET n 123");
    let (long_role, long_id) = ("r".repeat(65), "i".repeat(257));
    for (command, error) in [
        ("CHAT.APPEND c user", "ERR wrong number of arguments for 'chat.append' command"),
        ("CHAT.APPEND c user x TOKENS", "ERR TOKENS needs a value"),
        ("CHAT.APPEND c user x TOKENS -1", "ERR TOKENS must be an integer between 0 and 4294967295"),
        ("CHAT.APPEND c user x TOKENS 4294967296", "ERR TOKENS must be an integer between 0 and 4294967295"),
        ("CHAT.APPEND c user x TOKENS many", "ERR TOKENS must be an integer between 0 and 4294967295"),
        ("CHAT.APPEND c user x TOKENS 1 TOKENS 2", "ERR TOKENS is given twice"),
        ("CHAT.APPEND c user x MAXTOKENS 1", "ERR unknown option 'MAXTOKENS'"),
        ("CHAT.APPEND c user two words", "ERR unknown option 'words'"),
        (&format!("CHAT.APPEND c {long_role} x"), "ERR role: a role must have 1 to 64 bytes"),
        ("CHAT.APPEND c  x", "ERR role: a role must have 1 to 64 bytes"),
        (&format!("CHAT.APPEND c user x ID {long_id}"), "ERR ID must have 1 to 256 bytes"),
        ("CHAT.APPEND c user x ID ", "ERR ID must have 1 to 256 bytes"),
        ("CHAT.WINDOW c MAXTOKENS -1", "ERR MAXTOKENS must be an integer between 0 and 9223372036854775807"),
        ("CHAT.WINDOW c MAXTURNS 1.5", "ERR MAXTURNS must be an integer between 0 and 9223372036854775807"),
        ("CHAT.WINDOW c KEEP", "ERR KEEP needs a role"),
        ("CHAT.WINDOW c KEEP MAXTURNS 1", "ERR KEEP needs a role"),
        ("CHAT.WINDOW c KEEP a KEEP b", "ERR KEEP is given twice"),
        (&format!("CHAT.WINDOW c KEEP a {long_role}"), "ERR KEEP: a role must have 1 to 64 bytes"),
        ("CHAT.WINDOW c 10", "ERR unknown option '10'"),
        ("CHAT.COMPACT c 0 sum x", "ERR UPTO and the index of a turn must come first"),
        ("CHAT.COMPACT c UPTO x sum", "ERR UPTO must be an integer between 0 and 9223372036854775807"),
        ("CHAT.COMPACT c UPTO 0", "ERR wrong number of arguments for 'chat.compact' command"),
        ("CHAT.COMPACT c UPTO 0 sum ROLE ", "ERR ROLE: a role must have 1 to 64 bytes"),
        (
            "CHAT.COMPACT c UPTO 0 sum IFEPOCH x",
            "ERR IFEPOCH must be an integer between 0 and 9223372036854775807",
        ),
        ("CHAT.COMPACT c UPTO 0 sum ID x", "ERR unknown option 'ID'"),
        ("CHAT.TRIM c KEEP user", "ERR MAXTOKENS or MAXTURNS must be given, and not both"),
        ("CHAT.TRIM c MAXTURNS 1 MAXTOKENS 1", "ERR MAXTOKENS or MAXTURNS must be given, and not both"),
        ("CHAT.TRIM c MAXTURNS", "ERR wrong number of arguments for 'chat.trim' command"),
        ("CHAT.LEN", "ERR wrong number of arguments for 'chat.len' command"),
        ("DUMP c", "ERR Bad data format"),
        ("CL.THROTTLE t 1 1", "ERR wrong number of arguments for 'cl.throttle' command"),
        ("CL.THROTTLE t 1 1 1 1 1", "ERR syntax error"),
        ("CL.THROTTLE t -1 1 1", "ERR max-burst must be an integer between 0 and 1000000000"),
        ("CL.THROTTLE t 1 0 1", "ERR count must be an integer between 1 and 1000000000"),
        ("CL.THROTTLE t 1 1 0", "ERR period must be an integer between 1 and 1000000000"),
        ("CL.THROTTLE t 1 1 1000000001", "ERR period must be an integer between 1 and 1000000000"),
        ("CL.THROTTLE t 1 1 1 -1", "ERR quantity must be an integer between 0 and 1000000000"),
        ("CL.THROTTLE s 1 1 1", "ERR the key holds a string that is not a throttle's"),
    ] {
        assert_eq!(say(&mut server, command), format!("-{error}"), "{command}");
    }
    assert_eq!(say(&mut server, "CHAT.LEN c"), totals(1, 1, 0));
    assert_eq!(say(&mut server, "EXISTS t"), ":0");
    assert_eq!(say(&mut server, "GET s"), "$4|text");
}

#[test]
fn another_type_is_another_type_both_ways() {
    let mut server = InProcess::new();
    say(&mut server, "CHAT.APPEND c user text");
    say(&mut server, "SET s 1");
    say(&mut server, "RPUSH l 1");
    for command in [
        "CHAT.APPEND s user text",
        "CHAT.WINDOW s",
        "CHAT.WINDOW l MAXTURNS 1",
        "CHAT.COMPACT s UPTO 0 x",
        "CHAT.TRIM l MAXTURNS 1",
        "CHAT.LEN s",
        "CL.THROTTLE c 1 1 1",
        "CL.THROTTLE l 1 1 1 0",
        "GET c",
        "APPEND c x",
        "HGET c f",
        "HSET c f v",
        "LPUSH c x",
        "LRANGE c 0 -1",
        "SADD c x",
        "SMEMBERS c",
        "ZADD c 1 x",
        "ZRANGE c 0 -1",
        "XADD c * a b",
        "XLEN c",
        "SORT c",
        "INCR c",
        "PFADD c x",
        "SETBIT c 1 1",
    ] {
        let reply = say(&mut server, command);
        assert!(reply.starts_with("-WRONGTYPE"), "{command}: {reply}");
    }
    assert_eq!(say(&mut server, "CHAT.LEN c"), totals(1, 1, 0));
    // What replaces a key does not ask what it holds.
    assert_eq!(say(&mut server, "SET c now"), "+OK");
    assert_eq!(say(&mut server, "TYPE c"), "+string");
}

#[test]
fn a_chat_has_at_most_256_roles_at_a_time() {
    let mut server = InProcess::new();
    for number in 0..256u64 {
        let reply = say(&mut server, &format!("CHAT.APPEND c role{number} text"));
        assert_eq!(reply, appended(number, number + 1, number + 1, 0));
    }
    let refused = "-ERR role: the turns of a chat have at most 256 different ones";
    assert_eq!(say(&mut server, "CHAT.APPEND c one-more text"), refused);
    assert_eq!(say(&mut server, "CHAT.COMPACT c UPTO 5 x"), refused, "the summary's is one, too");
    assert_eq!(say(&mut server, "CHAT.APPEND c role7 text"), appended(256, 257, 257, 0));
    assert_eq!(say(&mut server, "CHAT.TRIM c MAXTURNS 10"), totals(10, 10, 1));
    assert_eq!(say(&mut server, "CHAT.APPEND c one-more text"), appended(257, 11, 11, 1));
}

#[test]
fn changes_are_told_and_only_changes() {
    let mut server = InProcess::new();
    server.settings.notify_events = notify::ALL | notify::NEW;
    let mut told = |command: &str| {
        server.events.clear();
        say(&mut server, command);
        server.events.iter().map(|event| (event.class, event.name)).collect::<Vec<_>>()
    };
    let one = |name| vec![(notify::MODULE, name)];
    assert_eq!(told("CHAT.APPEND c user a ID x"), [(notify::NEW, "new"), (notify::MODULE, "chat.append")]);
    assert_eq!(told("CHAT.APPEND c user a ID x"), []);
    assert_eq!(told("CHAT.APPEND c user b"), one("chat.append"));
    assert_eq!(told("CHAT.TRIM c MAXTURNS 2"), []);
    assert_eq!(told("CHAT.COMPACT c UPTO 1 s"), one("chat.compact"));
    assert_eq!(told("CHAT.COMPACT c UPTO 1 s"), []);
    assert_eq!(told("CHAT.APPEND c user b"), one("chat.append"));
    assert_eq!(told("CHAT.TRIM c MAXTURNS 0"), one("chat.trim"));
    let allowed = [(notify::NEW, "new"), (notify::STRING, "set"), (notify::GENERIC, "expire")];
    assert_eq!(told("CL.THROTTLE t 0 1 60"), allowed);
    assert_eq!(told("CL.THROTTLE t 0 1 60"), [], "what is refused changes nothing");
    assert_eq!(told("CL.THROTTLE t 5 1 60 0"), [], "nor does a question");
}

#[test]
fn chats_are_watched_tracked_scripted_and_kept() {
    let mut server = Server::start(ServerOptions::new("everysec"));
    let (mut one, mut other) = (server.client(), server.client());
    one.command("CHAT.APPEND c user text ID a");
    let queued = |one: &mut Client| {
        one.command("MULTI");
        one.command("CHAT.TRIM c MAXTURNS 0");
        one.command("EXEC")
    };
    // An id that is known changes nothing; a turn does.
    one.command("WATCH c");
    other.command("CHAT.APPEND c user text ID a");
    assert_ne!(queued(&mut one), Value::Null);
    one.command("WATCH c");
    other.command("CHAT.APPEND c user text");
    assert_eq!(queued(&mut one), Value::Null);
    // A script sees replies as in RESP2.
    let script = "local r = redis.call('CHAT.APPEND', KEYS[1], 'user', 'x') return {r[1], r[2], redis.call('CHAT.LEN', KEYS[1])[6]}";
    let reply = one.call(&["EVAL", script, "1", "c"]).expect("a reply");
    assert_eq!(reply, Value::Array(vec![Value::bulk("index"), Value::Integer(2), Value::Integer(1)]));
    one.command("HELLO 3");
    one.command("CLIENT TRACKING ON");
    let before = one.command("CHAT.WINDOW c");
    other.command("CHAT.COMPACT c UPTO 2 sum");
    let told = one.receive().expect("an invalidation");
    assert_eq!(told, Value::Push(vec![Value::bulk("invalidate"), Value::Array(vec![Value::bulk("c")])]));
    let after = one.command("CHAT.WINDOW c");
    assert_ne!(after, before);
    assert!(matches!(one.command("MEMORY USAGE c"), Value::Integer(1..)));
    one.command("CL.THROTTLE t 1 1 60");
    let throttle = one.command("GET t");
    // Kept across a kill.
    server.kill();
    server.restart();
    let mut one = server.client();
    one.command("HELLO 3");
    assert_eq!(one.command("CHAT.WINDOW c"), after);
    assert_eq!(one.command("GET t"), throttle);
    assert_eq!(
        one.command("CHAT.APPEND c user text ID a"),
        figures([("index", 0), ("turns", 1), ("tokens", 1), ("epoch", 2)]),
        "ids are kept, too"
    );
}

/// A map of figures.
fn figures(figures: [(&str, i64); 4]) -> Value {
    Value::Map(figures.map(|(name, number)| (Value::bulk(name), Value::Integer(number))).to_vec())
}
