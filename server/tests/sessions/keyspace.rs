//! Sessions are no keys: what is done to keys does nothing to them; and what may be done to them is for whoever may call the commands.

use super::*;

#[test]
fn generic_commands_never_see_a_session() {
    let server = start();
    let client = &mut server.client();
    let made = client.command("SESSION.CREATE aal2 USER alice FIELDS 1 a 1");
    let (token, handle) = (text(&made, "token"), text(&made, "handle"));
    let looked = client.command(&format!("SESSION.GET {token}"));
    let events = all_events(client);
    let scanned = |client: &mut Client, words: &str| client.command(words).items()[1].items().len();
    for database in 0..16 {
        client.command(&format!("SELECT {database}"));
        assert_eq!(client.command("DBSIZE"), Value::Integer(0));
        assert_eq!(client.command("KEYS *"), Value::Array(vec![]));
        assert_eq!(client.command("RANDOMKEY"), Value::Null);
        assert_eq!(scanned(client, "SCAN 0 COUNT 1000"), 0);
    }
    for database in [16, 17, 18, 19] {
        assert!(client.command(&format!("SELECT {database}")).is_error("ERR "));
        assert!(client.command(&format!("SWAPDB 0 {database}")).is_error("ERR "));
    }
    client.command("SELECT 0");
    assert_eq!(client.command("INFO keyspace").text().trim(), "# Keyspace");
    for name in [&*token, &*handle, "alice", "classes"] {
        for (words, reply) in [
            ("EXISTS", Value::Integer(0)),
            ("DEL", Value::Integer(0)),
            ("UNLINK", Value::Integer(0)),
            ("TOUCH", Value::Integer(0)),
            ("TTL", Value::Integer(-2)),
            ("PERSIST", Value::Integer(0)),
            ("TYPE", Value::Simple("none".into())),
            ("DUMP", Value::Null),
            ("HGETALL", Value::Array(vec![])),
            ("OBJECT ENCODING", Value::Null),
        ] {
            assert_eq!(client.command(&format!("{words} {name}")), reply, "{words}");
        }
        assert_eq!(client.command(&format!("EXPIRE {name} 100")), Value::Integer(0));
        assert_eq!(client.command(&format!("COPY {name} other")), Value::Integer(0));
        assert_eq!(client.command(&format!("MOVE {name} 1")), Value::Integer(0));
        assert!(client.command(&format!("RENAME {name} other")).is_error("ERR no such key"));
        // No name collides.
        assert_eq!(client.command(&format!("SET {name} value")), Value::ok());
        assert_eq!(client.command(&format!("EXPIRE {name} 0")), Value::Integer(1));
    }
    assert_eq!(client.command("SWAPDB 0 1"), Value::ok());
    assert_eq!(client.command("FLUSHDB"), Value::ok());
    assert_eq!(client.command("FLUSHDB SYNC"), Value::ok());
    let after = client.command(&format!("SESSION.GET {token} NOTOUCH"));
    assert_eq!(after, client.command(&format!("SESSION.GET {token} NOTOUCH")));
    assert_eq!(get(&after, "fields"), get(&looked, "fields"));
    assert_eq!(number(&after, "seen-ms"), number(&looked, "seen-ms"), "nothing has touched it");
    assert_eq!(all_events(client), events);
}

#[test]
fn flushall_ends_all_sessions_with_one_event() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 1000");
    let flushes: [&dyn Fn(&mut Client); 4] = [
        &|client| assert_eq!(client.command("FLUSHALL"), Value::ok()),
        &|client| assert_eq!(client.command("FLUSHALL ASYNC"), Value::ok()),
        &|client| {
            client.command("MULTI");
            client.command("SET key value");
            client.command("FLUSHALL");
            assert_eq!(client.command("EXEC").items().len(), 2);
        },
        &|client| {
            assert_eq!(
                client.call(&["EVAL", "return redis.call('flushall')", "0"]).expect("a reply"),
                Value::ok()
            );
        },
    ];
    for (round, flush) in flushes.iter().enumerate() {
        let tokens: Vec<String> = (0..20).map(|_| create(client, "web USER alice")).collect();
        client.command("SET key value");
        flush(client);
        assert_eq!(
            client.command(&format!("SESSION.TOUCH {}", tokens.join(" "))),
            Value::Integer(0),
            "{round}"
        );
        assert_eq!(client.command("SESSION.COUNT"), Value::Integer(0), "{round}");
        assert_eq!(client.command("DBSIZE"), Value::Integer(0), "{round}");
        let events = all_events(client);
        let flushed: Vec<&Value> = events.iter().filter(|event| text(event, "type") == "flushed").collect();
        assert_eq!(flushed.len(), round + 1, "{round}");
        assert_eq!(number(flushed[round], "count"), 20);
    }
    assert_ne!(client.command("SESSION.POLICY GET web"), Value::Null);
    until("what is dead is swept away", || info(client, "sessions", "sessions") == 0);
    assert_eq!(count_of(client, "ended") + count_of(client, "expired") + count_of(client, "revoked"), 0);
}

#[test]
fn no_script_calls_them() {
    let server = start();
    let client = &mut server.client();
    let token = create(client, "aal2");
    for words in [
        "'session.get',ARGV[1]",
        "'session.set',ARGV[1],'FIELDS','1','a','b'",
        "'session.unset',ARGV[1],'FIELDS','1','a'",
        "'session.touch',ARGV[1]",
        "'session.create','aal2'",
        "'session.rotate',ARGV[1]",
        "'session.end',ARGV[1]",
        "'session.revoke','USER','alice'",
        "'session.list','USER','alice'",
        "'session.count'",
        "'session.lock',ARGV[1],'1000'",
        "'session.unlock',ARGV[1],'1'",
        "'session.events'",
        "'session.policy','set','web'",
        "'session.policy','get','web'",
    ] {
        let script = format!("return redis.call({words})");
        let reply = client.call(&["EVAL", &script, "0", &token]).expect("a reply");
        let Value::Error(error) = reply else { panic!("{words}: {reply:?}") };
        assert!(error.contains("not allowed from script"), "{words}: {error}");
        assert!(!error.contains(&token));
    }
    assert_eq!(client.command("SESSION.COUNT"), Value::Integer(1));
    assert_eq!(all_events(client).len(), 1);
}

#[test]
fn transactions_make_change_and_end_them() {
    let server = start();
    let client = &mut server.client();
    let token = create(client, "aal2 USER alice");
    client.command("MULTI");
    for words in [
        "SESSION.CREATE aal2 USER alice",
        "SET key value",
        "SESSION.CREATE aal2 USER bob",
        &format!("SESSION.SET {token} FIELDS 1 a 1"),
        &format!("SESSION.SET {token} IFVERSION 1 FIELDS 1 a 2"),
        &format!("SESSION.ROTATE {token}"),
        "SESSION.COUNT",
        "SESSION.LIST USER alice",
        "SESSION.EVENTS BLOCK 60000",
        "SESSION.EVENTS AFTER 9000000000000 BLOCK 60000",
        "SESSION.POLICY SET web IDLE 5",
        "SESSION.CREATE web",
    ] {
        assert_eq!(client.command(words), Value::Simple("QUEUED".into()), "{words}");
    }
    let replies = client.command("EXEC").items().to_vec();
    let tokens = [0, 2, 5, 11].map(|at: usize| text(&replies[at], "token"));
    for (at, one) in tokens.iter().enumerate() {
        assert!(!tokens[..at].contains(one), "drawn twice");
        assert_eq!(client.command(&format!("SESSION.TOUCH {one}")), Value::Integer(1), "{at}");
    }
    assert_eq!(replies[3], Value::Integer(2));
    assert!(replies[4].is_error("CONFLICT 2"));
    assert_eq!(replies[6], Value::Integer(3));
    assert_eq!(get(&replies[7], "sessions").items().len(), 2);
    let kinds: Vec<String> =
        get(&replies[8], "events").items().iter().map(|event| text(event, "type")).collect();
    assert_eq!(kinds, ["created", "created", "created", "rotated"]);
    assert_eq!(client.command(&format!("SESSION.GET {token}")), Value::Null, "aal2 has no grace");
    // What is watched was changed: nothing of it happens.
    client.command("WATCH key");
    client.command("SET key other");
    client.command("MULTI");
    client.command(&format!("SESSION.END {}", tokens[0]));
    client.command("SESSION.CREATE aal2 USER alice");
    assert_eq!(client.command("EXEC"), Value::Null);
    assert_eq!(client.command("SESSION.COUNT USER alice"), Value::Integer(2));
    client.command("MULTI");
    client.command(&format!("SESSION.END {}", tokens[0]));
    client.command(&format!("SESSION.GET {}", tokens[0]));
    assert_eq!(client.command("EXEC"), Value::Array(vec![Value::Integer(1), Value::Null]));
    // From where the whole keyspace is locked.
    client.command("MULTI");
    client.command("FLUSHDB");
    client.command("SESSION.CREATE aal2 USER alice");
    client.command("SWAPDB 0 1");
    client.command("SESSION.REVOKE USER alice");
    let replies = client.command("EXEC").items().to_vec();
    assert_eq!((names(&replies[1]).len(), &replies[3]), (5, &Value::Integer(2)));
}

#[test]
fn many_transactions_beside_each_other_come_to_an_end() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 1000 PERUSER 3");
    // One who may name no key at all.
    client.command("ACL SETUSER app on nopass -@all +@session +@transaction +auth ~none:*");
    std::thread::scope(|scope| {
        for number in 0..6 {
            let mut client = server.client();
            scope.spawn(move || {
                client.command("AUTH app x");
                for round in 0..40 {
                    client.command("MULTI");
                    for user in 0..3 {
                        client.command(&format!("SESSION.CREATE web USER u{}", (number + user + round) % 4));
                    }
                    client.command(&format!("SESSION.REVOKE USER u{}", round % 4));
                    let replies = client.command("EXEC");
                    assert!(
                        replies.items().iter().all(|reply| !matches!(reply, Value::Error(_))),
                        "{replies:?}"
                    );
                }
            });
        }
    });
    for user in 0..4 {
        let counted = integer(&client.command(&format!("SESSION.COUNT USER u{user}")));
        let listed = get(&client.command(&format!("SESSION.LIST USER u{user}")), "sessions").items().len();
        assert_eq!(counted, listed as i64);
        assert!(counted <= 3);
    }
    assert_eq!(count_of(client, "created"), 6 * 40 * 3);
}

#[test]
fn who_may_call_what_is_said_by_acls() {
    let server = start();
    let client = &mut server.client();
    let token = create(client, "aal2");
    for (rules, allowed) in [
        ("+@all -@session", [false, false, false, false]),
        ("-@all +session.get", [true, false, false, false]),
        ("-@all +@session", [true, true, true, true]),
        ("+@all -session.policy", [true, true, false, false]),
        ("-@all +session.policy|get", [false, false, true, false]),
        ("+@all -@write", [false, false, true, false]),
    ] {
        client.command(&format!("ACL SETUSER app reset on nopass {rules}"));
        let mut other = server.client();
        other.command("AUTH app x");
        let words = [
            format!("SESSION.GET {token}"),
            "SESSION.CREATE aal2".into(),
            "SESSION.POLICY GET aal2".into(),
            "SESSION.POLICY SET web".into(),
        ];
        let answers = words.map(|words| !other.command(&words).is_error("NOPERM"));
        assert_eq!(answers, allowed, "{rules}");
    }
    let listed = client.command("ACL CAT session");
    assert!(listed.items().len() >= 13, "{listed:?}");
    let log = client.command("ACL LOG");
    assert!(!format!("{log:?}").contains(&token));
}

#[test]
fn waiting_and_tracking_clients_are_no_matter() {
    let server = start();
    let client = &mut server.client();
    let mut waiter = server.client();
    send(&mut waiter, "BLPOP list 0");
    let mut tracker = server.client();
    tracker.command("HELLO 3");
    tracker.command("CLIENT TRACKING ON BCAST");
    client.command("CONFIG SET notify-keyspace-events KEA");
    let mut listener = server.client();
    listener.command("PSUBSCRIBE *");
    until("it waits", || info(client, "clients", "blocked_clients") == 1);
    let tokens: Vec<String> =
        (0..50).map(|n| create(client, &format!("aal2 USER u{n} FIELDS 1 a 1"))).collect();
    for token in &tokens {
        assert_eq!(client.command(&format!("SESSION.SET {token} FIELDS 1 a 2")), Value::Integer(2));
        client.command(&format!("SESSION.ROTATE {token}"));
    }
    client.command("MULTI");
    client.command("SESSION.CREATE aal2 USER u1");
    client.command("SESSION.REVOKE USER u1");
    assert_eq!(client.command("EXEC").items()[1], Value::Integer(2));
    client.command("RPUSH list x");
    assert_eq!(waiter.receive().expect("a reply").items().len(), 2);
    // The first that anybody hears of is the list.
    let told = listener.receive().expect("a message");
    assert!(told.items()[2].text().contains("list"), "{told:?}");
    assert_eq!(
        tracker.command("PING"),
        Value::Push(vec![Value::bulk("invalidate"), Value::Array(vec![Value::bulk("list")])])
    );
}

#[test]
fn eviction_never_takes_a_session() {
    let server = Server::start(ServerOptions::new("no").with("maxmemory-policy", "allkeys-lru"));
    let client = &mut server.client();
    let tokens: Vec<String> =
        (0..2000).map(|_| create(client, "aal2 USER alice FIELDS 1 a 0123456789")).collect();
    let limit = (server.resident_kib() << 10) + (16 << 20);
    assert_eq!(client.command(&format!("CONFIG SET maxmemory {limit}")), Value::ok());
    let value = "x".repeat(2000);
    let mut key = 0;
    until("keys are evicted", || {
        for _ in 0..2000 {
            key += 1;
            client.command(&format!("SET key:{key} {value}"));
        }
        info(client, "stats", "evicted_keys") > 5000
    });
    assert_eq!(client.command("SESSION.COUNT"), Value::Integer(2000));
    let alive: i64 = tokens
        .chunks(100)
        .map(|some| integer(&client.command(&format!("SESSION.TOUCH {}", some.join(" ")))))
        .sum();
    assert_eq!(alive, 2000);
    assert_eq!(count_of(client, "evicted"), 0);
}
