//! What `MONITOR` shows and to whom, what `CLIENT` and `INFO` say of listeners, and the order of a key's events.

use super::super::{confirmed, field, message, wait_until};
use crate::support::{Client, Server, ServerOptions, Value, encode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The part of a monitor's line after the time and the client.
fn shown(monitor: &mut Client) -> String {
    let line = monitor.receive().expect("a line").text();
    let (head, command) = line.split_once("] ").unwrap_or_else(|| panic!("{line}"));
    let (time, client) = head.split_once(" [").unwrap_or_else(|| panic!("{line}"));
    let (seconds, micros) = time.split_once('.').unwrap_or_else(|| panic!("{line}"));
    assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000), "{line}");
    assert!(micros.len() == 6 && micros.parse::<u64>().is_ok(), "{line}");
    let (database, address) = client.split_once(' ').unwrap_or_else(|| panic!("{line}"));
    assert!(address.starts_with("127.0.0.1:"), "{line}");
    format!("{database} {command}")
}

#[test]
fn monitor_shows_what_is_executed_but_nothing_for_administrators_and_no_password() {
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "2"));
    let (mut monitor, mut client) = (server.client(), server.client());
    assert_eq!(monitor.command("MONITOR"), Value::ok());
    for (command, line) in [
        ("SET a b", Some("0 \"SET\" \"a\" \"b\"")),
        ("select 3", Some("3 \"select\" \"3\"")),
        ("CONFIG GET port", None),
        ("CLIENT LIST", None),
        ("nosuch", None),
        ("GET", None),
        ("LPUSH", None),
        ("HGET a", None),
        ("AUTH secret", Some("3 \"AUTH\" \"(redacted)\"")),
        ("HELLO 2 AUTH default secret", Some("3 \"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\"")),
        ("CLIENT GETNAME", Some("3 \"CLIENT\" \"GETNAME\"")),
        ("PUBLISH a x", Some("3 \"PUBLISH\" \"a\" \"x\"")),
    ] {
        client.command(command);
        if let Some(line) = line {
            assert_eq!(shown(&mut monitor), line, "of {command}");
        }
    }
    // One that looks may not touch keys, as in Redis, where it is taken for a replica.
    for command in ["GET a", "SET a b", "DBSIZE", "PUBLISH a x", "SCAN 0"] {
        assert_eq!(
            monitor.command(command),
            Value::Error("ERR Replica can't interact with the keyspace".into())
        );
    }
    // Its own commands: the answer first.
    assert_eq!(monitor.command("PING"), Value::Simple("PONG".into()));
    assert_eq!(shown(&mut monitor), "0 \"PING\"");
    assert!(client.command("CLIENT LIST").text().contains(" flags=O "));
    assert_eq!(monitor.command("RESET"), Value::Simple("RESET".into()));
    assert_eq!(monitor.command("GET nothing"), Value::Null);
    assert!(!client.command("CLIENT LIST").text().contains(" flags=O "));
}

#[test]
fn listeners_are_listed_counted_and_killed_as_such() {
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "2"));
    let (mut subscriber, mut client) = (server.client(), server.client());
    subscriber.command("SUBSCRIBE a");
    subscriber.command("PSUBSCRIBE b*");
    subscriber.command("SSUBSCRIBE c");
    subscriber.command("SUBSCRIBE d");
    for (name, count) in [
        ("pubsub_channels", "2"),
        ("pubsub_patterns", "1"),
        ("pubsubshard_channels", "1"),
        ("pubsub_clients", "1"),
    ] {
        assert_eq!(field(&mut client, name), count, "{name}");
    }
    let list = client.command("CLIENT LIST TYPE pubsub").text();
    assert_eq!(list.lines().count(), 1);
    assert!(list.contains(" flags=P ") && list.contains(" sub=2 psub=1 ssub=1 "), "{list}");
    assert_eq!(client.command("CLIENT LIST TYPE normal").text().lines().count(), 1);
    assert_eq!(client.command("CLIENT KILL TYPE pubsub"), Value::Integer(1));
    assert!(subscriber.receive().is_err());
    wait_until("it is forgotten", || field(&mut client, "pubsub_channels") == "0");
    // A subscriber in RESP2 reads on when it has left everything.
    let mut subscriber = server.client();
    subscriber.command("SUBSCRIBE a");
    assert!(subscriber.command("GET x").is_error("ERR Can't execute 'get': only (P|S)SUBSCRIBE"));
    assert_eq!(subscriber.command("PING"), message(&["pong", ""]));
    subscriber.command("UNSUBSCRIBE a");
    assert_eq!(subscriber.command("GET x"), Value::Null);
}

#[test]
fn messages_come_in_the_order_of_replies_also_to_who_wants_no_replies() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    client.command("HELLO 3");
    let mut batch = Vec::new();
    for words in [
        "SUBSCRIBE a",
        "PUBLISH a 1",
        "ECHO x",
        "CLIENT REPLY SKIP",
        "PUBLISH a 2",
        "CLIENT REPLY OFF",
        "PUBLISH a 3",
        "SUBSCRIBE b",
        "ECHO hidden",
        "PUBLISH b 4",
        "CLIENT REPLY ON",
    ] {
        encode(&mut batch, &words.split(' ').collect::<Vec<_>>());
    }
    client.send(&batch).expect("send");
    let push = |parts: &[&str]| Value::Push(parts.iter().map(Value::bulk).collect());
    let subscribed = |name: &str, count| {
        Value::Push(vec![Value::bulk("subscribe"), Value::bulk(name), Value::Integer(count)])
    };
    for expected in [
        subscribed("a", 1),
        push(&["message", "a", "1"]),
        Value::Integer(1),
        Value::bulk("x"),
        push(&["message", "a", "2"]),
        push(&["message", "a", "3"]),
        subscribed("b", 2),
        push(&["message", "b", "4"]),
        Value::ok(),
    ] {
        assert_eq!(client.receive().expect("something"), expected);
    }
}

/// Each writer's `SET` and `DEL` of one key alternate, because only who has set it deletes it; so must their events.
#[test]
fn events_of_a_key_come_in_the_order_in_which_it_changed() {
    // Enough for several event loops to join in.
    const CHANGES: usize = 400_000;
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "4"));
    let mut listener = server.client();
    assert_eq!(listener.command("CONFIG SET notify-keyspace-events K$gx"), Value::ok());
    assert_eq!(listener.command("SUBSCRIBE __keyspace@0__:k"), confirmed("subscribe", "__keyspace@0__:k", 1));
    let over = AtomicBool::new(false);
    let heard: Vec<String> = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                let mut batch = Vec::new();
                for words in
                    [&["SET", "k", "1", "NX"][..], &["DEL", "k"], &["SET", "k", "1", "NX", "PX", "1"]]
                {
                    encode(&mut batch, words);
                }
                let batch = batch.repeat(10);
                while !over.load(Ordering::Relaxed) {
                    client.send(&batch).expect("send");
                    (0..30).for_each(|_| drop(client.receive().expect("a reply")));
                }
            });
        }
        let heard = (0..CHANGES)
            .map(|_| listener.receive().expect("an event").items()[2].text())
            .filter(|event| event != "expire")
            .collect();
        over.store(true, Ordering::Relaxed);
        heard
    });
    for pair in heard.windows(2) {
        let alternates = (pair[0] == "set") != (pair[1] == "set");
        assert!(alternates, "{} then {}", pair[0], pair[1]);
    }
    for event in ["set", "del", "expired"] {
        assert!(heard.iter().any(|heard| heard == event), "no {event} was heard");
    }
}

#[test]
fn what_a_transaction_or_a_script_tells_is_heard_in_the_order_of_its_commands() {
    let server = Server::start(ServerOptions::new("everysec"));
    let (mut listener, mut client) = (server.client(), server.client());
    assert_eq!(client.command("CONFIG SET notify-keyspace-events E$g"), Value::ok());
    listener.command("PSUBSCRIBE *");
    client.command("MULTI");
    for command in ["PUBLISH a 1", "SET k v", "PUBLISH a 2", "DEL k", "PUBLISH a 3"] {
        assert_eq!(client.command(command), Value::Simple("QUEUED".into()));
    }
    let counts = [1, 0, 1, 1, 1].map(Value::Integer);
    let replies = client.command("EXEC");
    assert_eq!(replies.items()[0], counts[0]);
    assert_eq!(replies.items()[2..], counts[2..]);
    let script = "redis.call('publish','a','1') redis.call('set','k','v') redis.call('publish','a','2') redis.call('del','k') return redis.call('publish','a','3')";
    assert_eq!(client.call(&["EVAL", script, "1", "k"]).expect("a reply"), Value::Integer(1));
    for _ in 0..2 {
        for (channel, text) in
            [("a", "1"), ("__keyevent@0__:set", "k"), ("a", "2"), ("__keyevent@0__:del", "k"), ("a", "3")]
        {
            assert_eq!(listener.receive().expect("a message"), message(&["pmessage", "*", channel, text]));
        }
    }
    // One that comes to listen on the way hears what it publishes after that.
    client.command("MULTI");
    client.command("SUBSCRIBE b");
    client.command("PUBLISH b x");
    client.command("MONITOR");
    let heard = [client.command("EXEC"), client.receive().expect("the replies")];
    assert_eq!(heard[0], message(&["message", "b", "x"]));
    assert_eq!(
        heard[1],
        Value::Array(vec![
            confirmed("subscribe", "b", 1),
            Value::Integer(2),
            Value::Error("ERR MONITOR isn't allowed for DENY BLOCKING client".into()),
        ])
    );
}

#[test]
fn monitor_shows_what_transactions_run() {
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "2"));
    let (mut monitor, mut client) = (server.client(), server.client());
    assert_eq!(monitor.command("MONITOR"), Value::ok());
    for command in ["MULTI", "SET k v", "GET k", "EXEC"] {
        client.command(command);
    }
    for line in ["\"MULTI\"", "\"SET\" \"k\" \"v\"", "\"GET\" \"k\"", "\"EXEC\""] {
        assert_eq!(shown(&mut monitor), format!("0 {line}"));
    }
}
