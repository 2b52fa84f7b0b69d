//! Transactions over real connections: what others see of them, their limits, what goes with them. Tried against Redis itself too
//! (`SESSILE_BIN=redis-server`); what only Sessile has is left out then.
#![expect(clippy::disallowed_methods, reason = "some of it takes real time")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Client, Server, ServerOptions, Value, encode};

fn options() -> ServerOptions {
    ServerOptions::new("no")
}

fn start() -> Server {
    Server::start(options())
}

/// Sends commands in one write, words apart by spaces; their replies.
fn all(client: &mut Client, commands: &[&str]) -> Vec<Value> {
    let mut bytes = Vec::new();
    for words in commands {
        encode(&mut bytes, &words.split(' ').collect::<Vec<_>>());
    }
    client.send(&bytes).expect("send");
    commands.iter().map(|words| client.receive().unwrap_or_else(|error| panic!("{words}: {error}"))).collect()
}

/// The reply of the last of these commands.
fn last(client: &mut Client, commands: &[&str]) -> Value {
    all(client, commands).pop().expect("some commands")
}

fn number(value: &Value) -> i64 {
    value.text().parse().unwrap_or_else(|_| panic!("{value:?} is no number"))
}

fn error(value: &Value) -> &str {
    match value {
        Value::Error(text) => text,
        other => panic!("{other:?} is no error"),
    }
}

/// Two keys that only ever change together are never seen apart, and every transaction counts once.
#[test]
fn nobody_sees_half_a_transaction() {
    const ROUNDS: i64 = 400;
    let server = start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let mut client = server.client();
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        all(&mut client, &["MULTI", "INCR one", "RPUSH list x", "INCR other", "EXEC"]);
                    }
                })
            })
            .collect();
        let mut reader = server.client();
        let over = &over;
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let reply = last(&mut reader, &["MULTI", "GET other", "LLEN list", "GET one", "EXEC"]);
                let Value::Array(replies) = &reply else { panic!("{reply:?}") };
                if replies[0] != Value::Null {
                    let seen = [number(&replies[0]), number(&replies[2])];
                    assert_eq!(seen, [seen[0]; 2]);
                    assert_eq!(replies[1], Value::Integer(seen[0]));
                }
            }
        });
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(number(&server.client().command("GET one")), 3 * ROUNDS);
}

/// `WATCH`, look, `MULTI`, change, `EXEC`, and again if somebody was faster: no increment is lost.
#[test]
fn whoever_watches_loses_no_update() {
    const ROUNDS: i64 = 150;
    let server = start();
    server.client().command("SET counter 0");
    let conflicts: i64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let mut client = server.client();
                scope.spawn(move || {
                    let (mut done, mut conflicts) = (0, 0);
                    while done < ROUNDS {
                        client.command("WATCH counter");
                        let seen = number(&client.command("GET counter"));
                        let set = format!("SET counter {}", seen + 1);
                        match last(&mut client, &["MULTI", &set, "EXEC"]) {
                            Value::Null => conflicts += 1,
                            Value::Array(_) => done += 1,
                            other => panic!("{other:?}"),
                        }
                    }
                    conflicts
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).sum()
    });
    assert_eq!(number(&server.client().command("GET counter")), 4 * ROUNDS);
    assert!(conflicts > 0, "they never met");
}

/// A queue may be as long as anything that a client may send without finishing it, and so may what it watches.
/// Found by the comparison with Redis (seed 10906913472847911276).
#[test]
fn a_trim_that_removes_nothing_counts_as_a_change() {
    let server = start();
    let (mut client, mut other) = (server.client(), server.client());
    assert_eq!(
        last(&mut client, &["RPUSH list a b", "WATCH list", "MULTI", "PING"]),
        Value::Simple("QUEUED".into())
    );
    assert_eq!(other.command("LTRIM list 0 -1"), Value::ok());
    assert_eq!(last(&mut client, &["EXEC"]), Value::Null);
}

#[test]
fn what_is_queued_is_bounded() {
    if options().is_redis() {
        return;
    }
    let server = Server::start(options().with("client-query-buffer-limit", "1mb"));
    let mut observer = server.client();
    let mut client = server.client();
    client.command("MULTI");
    let value = "v".repeat(10_000);
    let mut queued = 0;
    while client.call(&["SET", "key", &value]).is_ok_and(|reply| reply == Value::Simple("QUEUED".into())) {
        queued += 1;
        assert!(queued < 200, "a queue of {queued} times {} bytes", value.len());
    }
    assert!(queued > 50, "closed after {queued} commands");
    assert_eq!(observer.command("EXISTS key"), Value::Integer(0));
    let mut client = server.client();
    let mut watched = 0;
    while client.call(&["WATCH", &format!("key {watched}")]).is_ok_and(|reply| reply == Value::ok()) {
        watched += 1;
        assert!(watched < 20_000, "{watched} keys are watched");
    }
    assert!(watched > 1_000, "closed after {watched} keys");
    // The same key again and again is one.
    let mut client = server.client();
    for _ in 0..20_000 {
        assert_eq!(client.command("WATCH key"), Value::ok());
    }
    let info = client.command("CLIENT INFO").text();
    assert!(info.contains(" watch=1 "), "{info}");
}

/// Tens of thousands of keys are watched, and let go, in no time.
#[test]
fn watching_is_cheap() {
    let server = start();
    let mut client = server.client();
    let keys: Vec<String> = (0..60_000).map(|number| format!("key {number}")).collect();
    let words: Vec<&str> = std::iter::once("WATCH").chain(keys.iter().map(String::as_str)).collect();
    let begun = Instant::now();
    assert_eq!(client.call(&words).expect("a reply"), Value::ok());
    assert_eq!(
        last(&mut client, &["MULTI", "PING", "EXEC"]),
        Value::Array(vec![Value::Simple("PONG".into())])
    );
    assert_eq!(client.call(&words).expect("a reply"), Value::ok());
    server.client().call(&["SET", &keys[30_000], ""]).expect("a reply");
    assert_eq!(last(&mut client, &["MULTI", "PING", "EXEC"]), Value::Null);
    // Redis looks at all that is watched for each: it takes half a minute.
    assert!(options().is_redis() || begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// Who waits for an element gets it when the transaction is over, and not what came and went in it.
#[test]
fn who_waits_is_served_after_the_whole() {
    let server = start();
    let mut waiting = server.client();
    let mut bytes = Vec::new();
    encode(&mut bytes, &["BLPOP", "list", "0"]);
    waiting.send(&bytes).expect("send");
    let mut client = server.client();
    let until = Instant::now() + Duration::from_secs(20);
    while !client.command("INFO clients").text().contains("blocked_clients:1") {
        assert!(Instant::now() < until, "nobody waits");
    }
    let reply = last(
        &mut client,
        &["MULTI", "RPUSH list gone", "DEL list", "RPUSH list a b", "LPUSH list c", "EXEC"],
    );
    assert_eq!(reply, Value::Array([1, 1, 2, 3].map(Value::Integer).to_vec()));
    assert_eq!(
        waiting.receive().expect("a reply"),
        Value::Array(vec![Value::bulk("list"), Value::bulk("c")])
    );
    assert_eq!(client.command("LLEN list"), Value::Integer(2));
}

/// What happens in a transaction is told when it has happened, in order.
#[test]
fn events_are_told_in_order() {
    let server = start();
    let mut client = server.client();
    client.command("CONFIG SET notify-keyspace-events KEA");
    let mut listener = server.client();
    listener.command("PSUBSCRIBE __keyevent@0__:*");
    all(&mut client, &["MULTI", "SET a 1", "INCR a", "EXPIRE a 100", "DEL a", "EXEC"]);
    for expected in ["set", "incrby", "expire", "del"] {
        let message = listener.receive().expect("a message");
        let text = format!("{message:?}");
        assert!(text.contains(&format!("{:?}", Value::bulk(format!("__keyevent@0__:{expected}")))), "{text}");
    }
}

/// A queue is shown, and gone with `DISCARD`, `RESET` and the client.
#[test]
fn a_queue_is_shown_and_freed() {
    let server = start();
    let mut client = server.client();
    assert!(client.command("CLIENT INFO").text().contains(" multi=-1 "));
    let mut observer = server.client();
    let mut lines = |what: &str| {
        let text = observer.command("CLIENT LIST").text();
        text.lines().filter(|line| line.contains(what)).count()
    };
    all(&mut client, &["WATCH a b", "MULTI", "SET a 1", "GET b"]);
    assert_eq!((lines(" multi=2 "), lines(" flags=x ")), (1, 1));
    assert_eq!(client.command("DISCARD"), Value::ok());
    assert_eq!((lines(" multi=2 "), lines(" flags=x ")), (0, 0));
    all(&mut client, &["WATCH a", "MULTI", "SET a 1"]);
    assert_eq!(client.command("RESET"), Value::Simple("RESET".into()));
    assert!(error(&client.command("EXEC")).contains("EXEC without MULTI"));
    all(&mut client, &["WATCH a", "MULTI", "SET a 2"]);
    drop(client);
    let mut client = server.client();
    assert_eq!(client.command("GET a"), Value::Null);
}

/// Rights are looked at when a command is queued, and again when it is run.
#[test]
fn rights_that_are_gone_by_then_are_gone() {
    let server = start();
    let mut admin = server.client();
    admin.command("ACL SETUSER limited on nopass ~* +@all");
    let mut client = server.client();
    client.command("AUTH limited x");
    all(&mut client, &["MULTI", "SET a 1", "GET a"]);
    admin.command("ACL SETUSER limited -set");
    let Value::Array(replies) = client.command("EXEC") else { panic!("it is run") };
    assert!(error(&replies[0]).starts_with("NOPERM"), "{replies:?}");
    assert_eq!(replies[1], Value::Null);
    assert!(error(&all(&mut client, &["MULTI", "SET a 1"])[1]).starts_with("NOPERM"));
    assert!(error(&client.command("EXEC")).starts_with("EXECABORT"));
}

/// A script is part of the transaction that it is in; one that takes long stops nobody for long, and nothing of the whole happens.
#[test]
fn scripts_are_part_of_the_whole() {
    let server = start();
    let mut client = server.client();
    let mut eval = |script: &str, keys: &[&str]| {
        all(&mut client, &["MULTI", "SET before 1"]);
        let count = keys.len().to_string();
        let words: Vec<&str> = ["EVAL", script, &count].into_iter().chain(keys.iter().copied()).collect();
        client.call(&words).expect("queued");
        last(&mut client, &["GET after", "EXEC"])
    };
    let script =
        "redis.call('SET', 'after', redis.call('GET', 'before') + 1); return redis.call('INCR', KEYS[1])";
    let reply = eval(script, &["counter"]);
    assert_eq!(reply, Value::Array(vec![Value::ok(), Value::Integer(1), Value::bulk("2")]));
    if options().is_redis() {
        return;
    }
    let begun = Instant::now();
    let reply = eval("redis.call('SET', 'after', 'no') while true do end", &["counter"]);
    assert!(error(&reply).starts_with("EXECABORT"), "{reply:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let mut other = server.client();
    assert_eq!(other.command("GET after"), Value::bulk("2"));
    assert_eq!(other.command("SET counter 5"), Value::ok());
}

/// Scripts and transactions that learn of their keys as they go, on many connections.
#[test]
fn scripts_in_transactions_meet_others() {
    const ROUNDS: i64 = 150;
    let server = start();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let (from, to) = ((number + round) % 7, (number * 3 + round * 5) % 7);
                    let script =
                        format!("redis.call('INCR', 'k{from}') redis.call('DECR', 'k{to}') return 1");
                    all(&mut client, &["MULTI", "INCR total"]);
                    client.call(&["EVAL", &script, "0"]).expect("queued");
                    let reply = client.command("EXEC");
                    assert!(matches!(&reply, Value::Array(all) if all[1] == Value::Integer(1)), "{reply:?}");
                }
            });
        }
    });
    let mut client = server.client();
    let sum: i64 = (0..7).map(|key| number(&client.command(&format!("GET k{key}")))).sum();
    assert_eq!((sum, number(&client.command("GET total"))), (0, 4 * ROUNDS));
}

/// Found by `fuzz/fuzz_targets/connection.rs`: the reply of `EXEC` was cut in its midst, by as much as the confirmations within it are long.
#[test]
fn who_wants_no_replies_is_told_of_subscriptions_in_a_transaction_as_a_whole() {
    let server = start();
    let mut client = server.client();
    let commands = ["MULTI", "PING", "CLIENT REPLY OFF", "HELLO", "SUBSCRIBE one two", "PING"];
    all(&mut client, &commands);
    let mut bytes = Vec::new();
    encode(&mut bytes, &["EXEC"]);
    client.send(&bytes).expect("send");
    for (count, channel) in ["one", "two"].into_iter().enumerate() {
        let told = client.receive().expect("a confirmation");
        let expected = [Value::bulk("subscribe"), Value::bulk(channel), Value::Integer(count as i64 + 1)];
        assert_eq!(told.items(), expected);
    }
    // And of nothing else.
    assert_eq!(last(&mut server.client(), &["PUBLISH one news"]), Value::Integer(1));
    let expected = [Value::bulk("message"), Value::bulk("one"), Value::bulk("news")];
    assert_eq!(client.receive().expect("a message").items(), expected);
}

/// Found by `fuzz/fuzz_targets/connection.rs`: the array of `EXEC` had fewer elements than it said. Redis's has, too.
#[test]
fn each_command_of_a_transaction_has_its_place_in_the_reply() {
    if options().is_redis() {
        return;
    }
    let server = start();
    let mut client = server.client();
    let reply = last(&mut client, &["MULTI", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "PING", "EXEC"]);
    assert_eq!(reply.items(), [Value::Null, Value::Simple("OK".into()), Value::Simple("PONG".into())]);
}
