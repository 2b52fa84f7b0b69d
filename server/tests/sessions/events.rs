//! Events: each once, in order, whatever crashes; and what is summed up in them.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

fn kinds(page: &Value) -> Vec<String> {
    get(page, "events").items().iter().map(|event| text(event, "type")).collect()
}

#[test]
fn readers_go_on_after_a_cursor_and_wait() {
    let server = start();
    let client = &mut server.client();
    client.command("HELLO 3");
    let empty = client.command("SESSION.EVENTS");
    assert_eq!((kinds(&empty), get(&empty, "lost")), (vec![], Value::Boolean(false)));
    let token = create(client, "aal2 USER alice");
    create(client, "aal2 USER bob");
    client.command(&format!("SESSION.END {token}"));
    let mut cursor = number(&empty, "cursor");
    for (count, expected) in [(1, &["created"][..]), (1, &["created"]), (5, &["ended"]), (5, &[])] {
        let page = client.command(&format!("SESSION.EVENTS AFTER {cursor} COUNT {count}"));
        assert_eq!(kinds(&page), expected);
        let last = get(&page, "events").items().last().map(|event| number(event, "cursor"));
        assert_eq!(number(&page, "cursor"), last.unwrap_or(cursor));
        cursor = number(&page, "cursor");
    }
    // Its time runs out: nothing, and the same cursor.
    let began = Instant::now();
    let page = client.command(&format!("SESSION.EVENTS AFTER {cursor} BLOCK 300"));
    assert!(began.elapsed() >= Duration::from_millis(280), "{:?}", began.elapsed());
    assert_eq!((kinds(&page), number(&page, "cursor")), (vec![], cursor));
    // Many wait, for ever or for long, and all hear of it.
    let mut waiters: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for (place, waiter) in waiters.iter_mut().enumerate() {
        send(
            waiter,
            &format!("SESSION.EVENTS AFTER {cursor} BLOCK {}", if place % 2 == 0 { 0 } else { 60_000 }),
        );
    }
    until("they wait", || info(client, "clients", "blocked_clients") == 8);
    create(client, "aal2 USER carol");
    for waiter in &mut waiters {
        let page = waiter.receive().expect("a reply");
        assert_eq!(kinds(&page), ["created"]);
        assert!(number(&page, "cursor") > cursor);
    }
    cursor = number(&client.command("SESSION.EVENTS COUNT 10000"), "cursor");
    // A death that nobody has asked for wakes, too.
    client.command("SESSION.POLICY SET short MAX 1");
    let page = {
        let mut waiter = server.client();
        create(client, "short");
        let cursor = number(&client.command(&format!("SESSION.EVENTS AFTER {cursor}")), "cursor");
        waiter.command(&format!("SESSION.EVENTS AFTER {cursor} BLOCK 30000"))
    };
    assert_eq!(kinds(&page), ["expired"]);
    // CLIENT UNBLOCK.
    let mut waiter = server.client();
    let id = integer(&waiter.command("CLIENT ID"));
    let cursor = number(&page, "cursor");
    for (how, is_error) in [("TIMEOUT", false), ("ERROR", true)] {
        send(&mut waiter, &format!("SESSION.EVENTS AFTER {cursor} BLOCK 0"));
        until("it waits", || client.command(&format!("CLIENT UNBLOCK {id} {how}")) == Value::Integer(1));
        let reply = waiter.receive().expect("a reply");
        assert_eq!(reply.is_error("UNBLOCKED"), is_error, "{reply:?}");
        assert!(is_error || number(&reply, "cursor") == cursor);
    }
}

#[test]
fn what_is_no_longer_kept_is_said_to_be_lost() {
    let server = Server::start(ServerOptions::new("no").with("session-events-max-bytes", "100000"));
    let client = &mut server.client();
    client.command("HELLO 3");
    let first = number(&client.command("SESSION.EVENTS"), "cursor");
    create(client, "aal2");
    let early = number(&client.command("SESSION.EVENTS COUNT 1"), "cursor");
    let user = "u".repeat(200);
    for _ in 0..2000 {
        create(client, &format!("aal2 USER {user}"));
    }
    until("the oldest are gone", || {
        get(&client.command(&format!("SESSION.EVENTS AFTER {early} COUNT 1")), "lost") == Value::Boolean(true)
    });
    let page = client.command(&format!("SESSION.EVENTS AFTER {first} COUNT 1"));
    let oldest = client.command("SESSION.EVENTS COUNT 1");
    assert_eq!(get(&oldest, "lost"), Value::Boolean(false), "nobody has said that there was one before");
    assert_eq!(get(&oldest, "events"), get(&page, "events"));
    let elsewhere = client.command("SESSION.EVENTS AFTER 9000000000000000000");
    assert_eq!(get(&elsewhere, "lost"), Value::Boolean(true));
    assert_eq!(client.command("CONFIG SET session-events-max-age 1"), Value::ok());
    until("all are too old", || {
        create(client, "aal2");
        std::thread::sleep(Duration::from_millis(300));
        all_events(client).len() < 300
    });
    assert_eq!(client.command("CONFIG GET session-events-max-age"), {
        Value::Map(vec![(Value::bulk("session-events-max-age"), Value::bulk("1"))])
    });
}

/// Creates and ends sessions until it is told to stop or the server is gone; the handles that it was told of, and of those that it has ended.
fn produce(port: u16, name: &str, stop: &AtomicBool) -> (Vec<String>, Vec<String>) {
    let (mut made, mut ended) = (Vec::new(), Vec::new());
    let Ok(mut client) = Client::connect(port) else { return (made, ended) };
    let user = format!("u-{name}");
    while !stop.load(Ordering::Relaxed) {
        let Ok(reply) = client.call(&["SESSION.CREATE", "busy", "USER", &user]) else { break };
        let handle = text(&reply, "handle");
        made.push(handle.clone());
        if made.len() % 3 == 0 {
            let Ok(reply) = client.call(&["SESSION.END", &text(&reply, "token")]) else { break };
            // It may have been evicted by now: no, there is room for three.
            assert_eq!(reply, Value::Integer(1));
            ended.push(handle);
        }
    }
    (made, ended)
}

#[test]
fn a_consumer_with_a_cursor_sees_each_event_once_across_kills() {
    let mut server = start();
    server.client().command("SESSION.POLICY SET busy IDLE 2 PERUSER 3");
    let port = server.port();
    let (mut seen, mut cursor) = (Vec::<Value>::new(), None::<i64>);
    let (mut made, mut ended) = (Vec::new(), Vec::new());
    for round in 0..4 {
        let stop = AtomicBool::new(false);
        let mut consume = |client: &mut Client, rest: &str| -> bool {
            let after = cursor.map_or(String::new(), |cursor| format!(" AFTER {cursor}"));
            let words = format!("SESSION.EVENTS{after} {rest}");
            let Ok(page) = client.call(&words.split(' ').collect::<Vec<_>>()) else { return false };
            assert_eq!(get(&page, "lost"), Value::Integer(0));
            let events = get(&page, "events").items().to_vec();
            seen.extend(events);
            cursor = Some(number(&page, "cursor"));
            true
        };
        std::thread::scope(|scope| {
            let producers: Vec<_> = (0..3)
                .map(|number| {
                    let stop = &stop;
                    scope.spawn(move || produce(port, &format!("{round}-{number}"), stop))
                })
                .collect();
            let killer = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(700));
                server.kill();
                stop.store(true, Ordering::Relaxed);
            });
            let mut client = Client::connect(port).expect("connect");
            while consume(&mut client, "COUNT 50 BLOCK 100") {}
            for producer in producers {
                let (some_made, some_ended) = producer.join().expect("a producer");
                made.extend(some_made);
                ended.extend(some_ended);
            }
            killer.join().expect("the killer");
        });
        server.restart();
    }
    let client = &mut server.client();
    // The last of them die by themselves.
    until("all are dead", || client.command("SESSION.COUNT") == Value::Integer(0));
    std::thread::sleep(Duration::from_millis(100));
    loop {
        let after = cursor.map_or(String::new(), |cursor| format!(" AFTER {cursor}"));
        let page = client.command(&format!("SESSION.EVENTS{after} COUNT 1000 BLOCK 200"));
        assert_eq!(get(&page, "lost"), Value::Integer(0));
        let events = get(&page, "events").items().to_vec();
        cursor = Some(number(&page, "cursor"));
        if events.is_empty() {
            break;
        }
        seen.extend(events);
    }
    assert!(made.len() > 100, "only {} sessions were made", made.len());
    // In order, and what is there for all is what one consumer has seen piece by piece.
    assert!(seen.windows(2).all(|two| number(&two[0], "cursor") < number(&two[1], "cursor")));
    let mut everything = Vec::new();
    let mut after = String::new();
    loop {
        let page = client.command(&format!("SESSION.EVENTS{after} COUNT 10000"));
        let events = get(&page, "events").items().to_vec();
        if events.is_empty() {
            break;
        }
        everything.extend(events);
        after = format!(" AFTER {}", number(&page, "cursor"));
    }
    assert_eq!(everything.len(), seen.len());
    assert_eq!(everything, seen);
    let (mut born, mut dead) = (BTreeSet::new(), BTreeSet::new());
    for event in &seen {
        let handle = text(event, "handle");
        match &*text(event, "type") {
            "created" => assert!(born.insert(handle), "made twice: {event:?}"),
            "ended" | "expired" | "evicted" => {
                assert!(born.contains(&handle), "dead before it was made: {event:?}");
                assert!(dead.insert(handle), "died twice: {event:?}");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(born, dead, "each has an end");
    assert!(made.iter().all(|handle| born.contains(handle)), "one that was acknowledged was never heard of");
    let ends = seen.iter().filter(|event| text(event, "type") != "created");
    let ends: BTreeMap<String, String> =
        ends.map(|event| (text(event, "handle"), text(event, "type"))).collect();
    for handle in &ended {
        assert_eq!(ends.get(handle).map(String::as_str), Some("ended"));
    }
    println!("{} events of {} sessions, {} of them acknowledged", seen.len(), born.len(), made.len());
}

#[test]
fn bursts_of_unknown_tokens_are_told_of_once() {
    let server = start();
    let client = &mut server.client();
    let token = create(client, "aal2");
    for _ in 0..98 {
        assert_eq!(client.command(&format!("SESSION.GET {NOBODYS}")), Value::Null);
    }
    client.command(&format!("SESSION.GET {token}"));
    assert_eq!(count_of(client, "unknown"), 0);
    // From all connections of that host together.
    let other = &mut server.client();
    other.command(&format!("SESSION.TOUCH {token} {NOBODYS}"));
    assert_eq!(count_of(client, "unknown"), 0);
    other.command("MULTI");
    other.command(&format!("SESSION.SET {NOBODYS} FIELDS 1 a 1"));
    other.command("SESSION.CREATE aal2");
    other.command("EXEC");
    assert_eq!(count_of(client, "unknown"), 1);
    for _ in 0..300 {
        other.command(&format!("SESSION.END {NOBODYS}"));
    }
    let events = all_events(client);
    let unknown: Vec<&Value> = events.iter().filter(|event| text(event, "type") == "unknown").collect();
    assert_eq!(unknown.len(), 1);
    assert_eq!((number(unknown[0], "count"), text(unknown[0], "reason")), (100, "127.0.0.1".into()));
    assert_eq!(get(unknown[0], "handle"), Value::Null);
    assert!(!format!("{events:?}").contains(NOBODYS));
}
