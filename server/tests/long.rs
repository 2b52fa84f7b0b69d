//! Commands that take long run elsewhere, on copies: they answer, write, tell and survive as those do that run at once.

#![expect(clippy::disallowed_methods, reason = "a real process")]

#[path = "abuse/skim.rs"]
mod skim;
mod support;

use skim::Skim;
use std::io::Write;
use std::time::Duration;
use support::{Client, Server, ServerOptions, Value, encode};

/// Elements that make commands over all of them long.
const MANY: u64 = 150_000;

fn fill(client: &mut Client, command: &str, key: &str, each: impl Fn(u64, &mut Vec<String>)) {
    let mut skim = Skim::new(client.stream().try_clone().expect("a second handle"));
    for from in (0..MANY).step_by(500) {
        let mut arguments = vec![command.to_owned(), key.to_owned()];
        (from..from + 500).for_each(|number| each(number, &mut arguments));
        let mut request = Vec::new();
        encode(&mut request, &arguments);
        skim.stream().write_all(&request).expect("send");
        let reply = skim.reply().expect("a reply");
        assert!(reply.starts_with(b":"), "{:?}", reply.escape_ascii().to_string());
    }
}

fn start() -> (Server, Client) {
    let server = Server::start(ServerOptions::new("everysec"));
    let client = server.client();
    (server, client)
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(integer) => *integer,
        other => panic!("no integer: {other:?}"),
    }
}

#[test]
fn they_answer_and_write_as_those_that_are_short() {
    let (mut server, mut client) = start();
    fill(&mut client, "SADD", "even", |number, to| to.push((number * 2).to_string()));
    fill(&mut client, "SADD", "all", |number, to| to.push(number.to_string()));
    fill(&mut client, "RPUSH", "list", |number, to| to.push((number % 1000).to_string()));
    fill(&mut client, "ZADD", "sorted", |number, to| to.extend([number.to_string(), format!("m{number}")]));
    fill(&mut client, "HSET", "hash", |number, to| to.extend([format!("f{number}"), number.to_string()]));
    let many = MANY as i64;
    let expected = [
        ("SINTERCARD 2 even all", many / 2),
        ("SUNIONSTORE union even all", many + many / 2),
        ("SDIFFSTORE difference even all", many / 2),
        ("ZUNIONSTORE sum 2 sorted sorted", many),
        ("ZRANGESTORE part sorted 0 99999", 100_000),
        ("ZREMRANGEBYSCORE part -inf 49999", 50_000),
        ("LREM list 0 7", many / 1000),
        ("LLEN list", many - many / 1000),
        ("COPY hash other", 1),
        ("HLEN other", many),
        ("SORT list STORE in-order", many - many / 1000),
        ("SETRANGE far 100000000 x", 100_000_001),
    ];
    for (command, answer) in expected {
        assert_eq!(client.command(command), Value::Integer(answer), "{command}");
    }
    assert_eq!(client.command("RENAME other moved"), Value::ok());
    assert_eq!(client.command("LTRIM in-order 5 100000"), Value::ok());
    let after = |client: &mut Client| {
        assert_eq!(client.command("ZSCORE sum m1234"), Value::bulk("2468"));
        assert_eq!(client.command("HGET moved f77777"), Value::bulk("77777"));
        assert_eq!(client.command("EXISTS other"), Value::Integer(0));
        assert_eq!(client.command("LRANGE in-order 0 0"), Value::Array(vec![Value::bulk("0")]));
        assert_eq!(client.command("ZCARD part"), Value::Integer(50_000));
        assert_eq!(client.command("SCARD union"), Value::Integer(many + many / 2));
        assert_eq!(client.command("STRLEN far"), Value::Integer(100_000_001));
        assert_eq!(client.command("LLEN in-order"), Value::Integer(99_996));
    };
    after(&mut client);
    assert_eq!(client.command("SMEMBERS even").items().len(), MANY as usize);
    assert_eq!(client.command("HGETALL hash").items().len(), 2 * MANY as usize);
    assert!(client.command("SORT sorted").is_error("ERR One or more scores can't be converted into double"));
    assert!(client.command("SUNIONSTORE union even list").is_error("WRONGTYPE"));
    // What was answered is in the log.
    server.kill();
    server.restart();
    after(&mut server.client());
}

#[test]
fn nothing_is_lost_to_those_who_write_meanwhile() {
    let (server, mut client) = start();
    fill(&mut client, "SADD", "set", |number, to| to.push(format!("first-{number}")));
    let rounds = 10;
    let (added, popped) = std::thread::scope(|scope| {
        let adders: Vec<_> = (0..3)
            .map(|adder| {
                let mut client = server.client();
                scope.spawn(move || {
                    (0..400i64)
                        .map(|number| {
                            std::thread::yield_now();
                            integer(&client.command(&format!("SADD set {adder}-{number}")))
                        })
                        .sum::<i64>()
                })
            })
            .collect();
        // Each of them is long.
        let popped: i64 = (0..rounds).map(|_| client.command("SPOP set 12000").items().len() as i64).sum();
        (adders.into_iter().map(|adder| adder.join().expect("adds")).sum::<i64>(), popped)
    });
    assert_eq!((added, popped), (1200, rounds * 12_000));
    assert_eq!(client.command("SCARD set"), Value::Integer(MANY as i64 + added - popped));
    assert_eq!(client.command("SMEMBERS set").items().len() as i64, MANY as i64 + added - popped);
}

#[test]
fn those_who_wait_or_listen_are_told() {
    let (server, mut client) = start();
    fill(&mut client, "RPUSH", "list", |number, to| to.push(number.to_string()));
    client.command("CONFIG SET notify-keyspace-events KEA");
    let mut listener = server.client();
    listener.command("SUBSCRIBE __keyspace@0__:sorted");
    let mut waiting = server.client();
    waiting.send(b"BLPOP sorted 0\r\n").expect("send");
    let mut tracking = server.client();
    tracking.command("HELLO 3");
    assert_eq!(tracking.command("CLIENT TRACKING on"), Value::ok());
    tracking.command("GET sorted");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(client.command("SORT list STORE sorted"), Value::Integer(MANY as i64));
    let told = listener.receive().expect("a message");
    assert_eq!(told.items()[2], Value::bulk("sortstore"));
    let served = waiting.receive().expect("an element");
    assert_eq!(served, Value::Array(vec![Value::bulk("sorted"), Value::bulk("0")]));
    let dropped = tracking.receive().expect("a push");
    assert_eq!(dropped.items()[0], Value::bulk("invalidate"));
    // One that tracks what a long command reads is told of later changes.
    assert_eq!(tracking.command("LRANGE list 0 -1").items().len(), MANY as usize);
    assert_eq!(client.command("RPUSH list x"), Value::Integer(MANY as i64 + 1));
    loop {
        let dropped = tracking.receive().expect("a push");
        if format!("{dropped:?}").contains("108, 105, 115, 116") {
            break;
        }
    }
}

#[test]
fn a_pipeline_keeps_its_order() {
    let (server, mut client) = start();
    fill(&mut client, "SADD", "set", |number, to| to.push(number.to_string()));
    let mut pipeline = server.client();
    let mut skim = Skim::new(pipeline.stream().try_clone().expect("a second handle"));
    skim.stream().set_read_timeout(Some(Duration::from_secs(60))).expect("set a timeout");
    let request =
        b"SADD set a\r\nSMEMBERS set\r\nSADD set b c\r\nSCARD set\r\nSUNIONSTORE d set\r\nECHO end\r\n";
    skim.stream().write_all(request).expect("send");
    let many = MANY;
    for expected in [
        ":1".to_owned(),
        format!("*{}", many + 1),
        ":2".to_owned(),
        format!(":{}", many + 3),
        format!(":{}", many + 3),
        "$3".to_owned(),
    ] {
        let line = skim.reply().expect("a reply");
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }
}
