//! Where and how scripts run: nobody waits for a long one, each happens as a whole or not at all, and what they do is told to whoever waits.

#![expect(clippy::disallowed_methods, reason = "tests of a real process use the real clock")]

use super::support::{Client, Server, ServerOptions, Value, encode};
use std::time::{Duration, Instant};

fn start() -> Server {
    Server::start(ServerOptions::new("no"))
}

fn eval(client: &mut Client, script: &str, keys: &[&str], args: &[&str]) -> Value {
    let count = keys.len().to_string();
    let words: Vec<&str> = ["EVAL", script, &count]
        .into_iter()
        .chain(keys.iter().copied())
        .chain(args.iter().copied())
        .collect();
    client.call(&words).unwrap_or_else(|error| panic!("{script}: {error}"))
}

fn send_eval(client: &mut Client, script: &str) {
    let mut bytes = Vec::new();
    encode(&mut bytes, &["EVAL", script, "0"]);
    client.send(&bytes).expect("it is sent");
}

/// Makes a script go the long way from its beginning.
const SLOWLY: &str = "redis.call('SCAN', 0) ";

#[test]
fn the_noscript_dance_ends_well() {
    let server = start();
    let mut client = server.client();
    let digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let evalsha = format!("EVALSHA {digest} 0");
    assert!(client.command(&evalsha).is_error("NOSCRIPT No matching script. Please use EVAL."));
    assert_eq!(eval(&mut client, "return 1", &[], &[]), Value::Integer(1));
    assert_eq!(client.command(&evalsha), Value::Integer(1));
    assert_eq!(client.command("SCRIPT FLUSH"), Value::ok());
    assert!(client.command(&evalsha).is_error("NOSCRIPT"));
    assert_eq!(client.call(&["SCRIPT", "LOAD", "return 1"]).unwrap(), Value::bulk(digest));
    assert_eq!(client.command(&evalsha), Value::Integer(1));
    // Scripts that were loaded stay, those of EVAL make room for one another.
    for number in 0..600 {
        assert_eq!(eval(&mut client, &format!("return {number}"), &[], &[]), Value::Integer(number));
    }
    assert_eq!(client.command(&evalsha), Value::Integer(1));
    let exists = client.command(
        "SCRIPT EXISTS 95bb3d39e6ffe8d5dd49e9b0bdbe1c5fa1f5d3e9 e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
    );
    assert_eq!(exists.items()[1], Value::Integer(1));
}

#[test]
fn nobody_waits_for_a_script_that_takes_long() {
    let server = Server::start(ServerOptions::new("no").with("io-threads", "1"));
    let mut other = server.client();
    other.command("SET k v");
    let mut loops: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut loops {
        send_eval(client, "redis.call('SET', 'k', 'changed') while true do redis.call('INCR', 'n') end");
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_millis(500) {
        let asked = Instant::now();
        assert_eq!(other.command("GET k"), Value::bulk("v"));
        assert_eq!(other.command("SET other w"), Value::ok());
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_millis(200), "{slowest:?}");
    while other.command("SCRIPT KILL") == Value::ok() {
        std::thread::sleep(Duration::from_millis(20));
    }
    for client in &mut loops {
        assert!(client.receive().expect("a reply").is_error("ERR Script killed"));
    }
    assert_eq!(other.command("GET n"), Value::Null);
}

#[test]
fn a_limit_of_time_ends_a_script() {
    let server = start();
    let mut client = server.client();
    assert_eq!(client.command("CONFIG SET script-time-limit 200"), Value::ok());
    let began = Instant::now();
    let answer = eval(&mut client, "redis.call('SET', 'k', 'v') while true do end", &["k"], &[]);
    assert!(answer.is_error("ERR Script took longer than script-time-limit allows"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(client.command("EXISTS k"), Value::Integer(0));
}

#[test]
fn what_was_written_before_an_error_stays() {
    let server = start();
    let mut client = server.client();
    for slowly in ["", SLOWLY] {
        client.command("FLUSHALL");
        let script = format!("{slowly}redis.call('SET', 'a', '1') redis.call('SET', 'b', '2') error('now')");
        assert!(eval(&mut client, &script, &["a", "b"], &[]).is_error("ERR user_script:1: now"));
        assert_eq!(client.command("MGET a b"), Value::Array(vec![Value::bulk("1"), Value::bulk("2")]));
    }
}

#[test]
fn keys_need_not_be_declared() {
    let server = start();
    let mut client = server.client();
    for slowly in ["", SLOWLY] {
        client.command("FLUSHALL");
        let script = format!(
            "{slowly}for i = 1, 300 do redis.call('RPUSH', 'list:' .. i % 7, i) redis.call('HSET', 'h' .. i, 'f', i) end
            local sum = 0 for i = 1, 300 do sum = sum + redis.call('HGET', 'h' .. i, 'f') end return {{sum, redis.call('LLEN', 'list:3')}}"
        );
        let expected = Value::Array(vec![Value::Integer(45150), Value::Integer(43)]);
        assert_eq!(eval(&mut client, &script, &[], &[]), expected);
        assert_eq!(client.command("DBSIZE"), Value::Integer(307));
    }
}

#[test]
fn walks_over_the_keyspace_see_what_the_script_did() {
    let server = start();
    let mut client = server.client();
    for number in 0..500 {
        client.command(&format!("SET key:{number} v"));
    }
    let script = "redis.call('SET', 'key:new', 'v') redis.call('DEL', 'key:7')
        local cursor, seen = '0', {}
        repeat local page = redis.call('SCAN', cursor, 'MATCH', 'key:*', 'COUNT', 50) cursor = page[1]
            for _, key in ipairs(page[2]) do seen[key] = true end
        until cursor == '0'
        local count = 0 for _ in pairs(seen) do count = count + 1 end
        return {count, redis.call('DBSIZE'), #redis.call('KEYS', 'key:1?'), seen['key:7'] and 1 or 0, seen['key:new'] and 1 or 0}";
    let expected = [500, 500, 10, 0, 1].map(Value::Integer).to_vec();
    assert_eq!(eval(&mut client, script, &[], &[]), Value::Array(expected));
    // The usual way to empty a cache.
    let script = "local keys = redis.call('KEYS', ARGV[1]) for i = 1, #keys, 100 do redis.call('DEL', unpack(keys, i, math.min(i + 99, #keys))) end return #keys";
    assert_eq!(eval(&mut client, script, &[], &["key:*"]), Value::Integer(500));
    assert_eq!(client.command("DBSIZE"), Value::Integer(0));
    client.command("SET a 1");
    let script = "redis.call('FLUSHALL') redis.call('SET', 'b', '2') return redis.call('EXISTS', 'a')";
    assert_eq!(eval(&mut client, script, &[], &[]), Value::Integer(0));
    assert_eq!(client.command("KEYS *"), Value::Array(vec![Value::bulk("b")]));
}

/// Scripts that move amounts between accounts, short and long ones at once, with others that change the accounts by single commands: no amount
/// is lost or made, and every reader sees a moment.
#[test]
fn scripts_happen_one_after_the_other() {
    const ACCOUNTS: usize = 6;
    const MOVES: usize = 300;
    let server = start();
    let mut client = server.client();
    for account in 0..ACCOUNTS {
        client.command(&format!("SET account:{account} 1000"));
    }
    let transfer = "local from, to = 'account:' .. ARGV[1], 'account:' .. ARGV[2]
        if ARGV[3] == 'slow' then redis.call('SCAN', 0) end
        local left = redis.call('GET', from) - 1
        redis.call('SET', to, redis.call('GET', to) + 1)
        redis.call('SET', from, left) return 1";
    let audit = "local sum = 0 for i = 0, 5 do sum = sum + redis.call('GET', 'account:' .. i) end return sum";
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                for step in 0..MOVES {
                    let from = (thread + step) % ACCOUNTS;
                    let to = (from + 1 + step % (ACCOUNTS - 1)) % ACCOUNTS;
                    let pace = if thread == 0 { "slow" } else { "fast" };
                    let arguments = [from.to_string(), to.to_string(), pace.to_owned()];
                    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                    assert_eq!(eval(&mut client, transfer, &[], &arguments), Value::Integer(1));
                }
            });
        }
        let mut auditor = server.client();
        scope.spawn(move || {
            for round in 0..MOVES {
                let script = if round % 3 == 0 { format!("{SLOWLY}{audit}") } else { audit.to_owned() };
                assert_eq!(eval(&mut auditor, &script, &[], &[]), Value::Integer(6000));
            }
        });
    });
}

#[test]
fn waiters_subscribers_and_trackers_hear_of_what_scripts_do() {
    let server = start();
    for slowly in ["", SLOWLY] {
        let (mut client, mut waiter, mut subscriber, mut tracker) =
            (server.client(), server.client(), server.client(), server.client());
        client.command("CONFIG SET notify-keyspace-events KEA");
        client.command("DEL queue");
        subscriber.command("SUBSCRIBE news");
        subscriber.command("PSUBSCRIBE __keyspace@0__:watched");
        tracker.command("HELLO 3");
        tracker.command("CLIENT TRACKING ON");
        tracker.command("GET watched");
        waiter.send(b"BLPOP queue 10\r\n").expect("it is sent");
        while !client.command("INFO clients").text().contains("blocked_clients:1") {
            std::thread::sleep(Duration::from_millis(5));
        }
        let script = format!(
            "{slowly}redis.call('RPUSH', 'queue', 'job', 'more') redis.call('SET', 'watched', 'v') return redis.call('PUBLISH', 'news', 'hello')"
        );
        assert_eq!(eval(&mut client, &script, &[], &[]), Value::Integer(1));
        let served = waiter.receive().expect("it is served");
        assert_eq!(served, Value::Array(vec![Value::bulk("queue"), Value::bulk("job")]), "{slowly}");
        let mut heard = [subscriber.receive().expect("one"), subscriber.receive().expect("two")];
        heard.sort_by_key(|message| message.items().len());
        assert_eq!(heard[0].items()[2], Value::bulk("hello"));
        assert_eq!(heard[1].items()[3], Value::bulk("set"));
        let invalidated = tracker.receive().expect("an invalidation");
        assert_eq!(invalidated.items()[1], Value::Array(vec![Value::bulk("watched")]));
    }
}

#[test]
fn a_script_that_is_run_again_publishes_once() {
    let server = start();
    let (mut client, mut subscriber) = (server.client(), server.client());
    subscriber.command("SUBSCRIBE news");
    // It publishes, and then does what it can't do where it was begun.
    let script = "redis.call('PUBLISH', 'news', 'once') redis.call('KEYS', '*') redis.call('PUBLISH', 'news', 'twice') return 1";
    assert_eq!(eval(&mut client, script, &[], &[]), Value::Integer(1));
    assert_eq!(client.command("PUBLISH news end"), Value::Integer(1));
    for expected in ["once", "twice", "end"] {
        assert_eq!(subscriber.receive().expect("a message").items()[2], Value::bulk(expected));
    }
}

#[test]
fn a_script_has_no_more_rights_than_its_user() {
    let server = start();
    let mut admin = server.client();
    admin.command("ACL SETUSER limited on nopass ~mine:* &* +@all -@dangerous -del");
    for slowly in ["", SLOWLY] {
        let mut client = server.client();
        client.command("AUTH limited x");
        let run = |client: &mut Client, script: &str| eval(client, &format!("{slowly}{script}"), &[], &[]);
        assert_eq!(run(&mut client, "redis.call('SET', 'mine:a', '1') return 1"), Value::Integer(1));
        for script in [
            "return redis.call('SET', 'others', '1')",
            "return redis.call('GET', 'others')",
            "return redis.call('DEL', 'mine:a')",
            "return redis.call('FLUSHALL')",
            "return redis.call('CONFIG', 'GET', '*')",
            "return redis.call('SORT', 'mine:a', 'BY', 'others*')",
        ] {
            assert!(matches!(run(&mut client, script), Value::Error(_)), "{script}");
        }
        assert_eq!(run(&mut client, "return redis.acl_check_cmd('SET', 'others', 'x')"), Value::Null);
        assert_eq!(run(&mut client, "return redis.acl_check_cmd('SET', 'mine:x', 'x')"), Value::Integer(1));
    }
}

#[test]
fn functions_outlive_a_kill() {
    let mut server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    let code = "#!lua name=shop\nlocal function price(keys, args) return tonumber(args[1]) * 2 end\nredis.register_function('price', price)\nredis.register_function{function_name='count', callback=function(keys) return redis.call('INCR', keys[1]) end, description='counts'}";
    assert_eq!(client.call(&["FUNCTION", "LOAD", code]).unwrap(), Value::bulk("shop"));
    assert_eq!(client.command("FCALL price 0 21"), Value::Integer(42));
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(client.command("FCALL price 0 21"), Value::Integer(42));
    assert_eq!(client.command("FCALL count 1 n"), Value::Integer(1));
    assert_eq!(client.command("FUNCTION DELETE shop"), Value::ok());
    server.kill();
    server.restart();
    assert!(server.client().command("FCALL price 0 21").is_error("ERR Function not found"));
}

#[test]
fn damage_to_the_functions_refuses_the_start() {
    let mut server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    let code = "#!lua name=a\nredis.register_function('f', function() return 1 end)";
    client.call(&["FUNCTION", "LOAD", code]).unwrap();
    server.kill();
    let path = server.directory().join("functions");
    let mut bytes = std::fs::read(&path).expect("the file is there");
    let middle = bytes.len() - 10;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("it can be written");
    let said = server.refused_start();
    assert!(said.contains("functions"), "{said}");
}

/// All of what a script wrote is there after a kill, or none of it.
#[test]
fn a_script_survives_a_kill_as_a_whole() {
    let mut server = Server::start(ServerOptions::new("everysec"));
    for round in 0..3 {
        let acknowledged = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let mut client = server.client();
                    let pace = if writer == 0 { SLOWLY } else { "" };
                    let script = format!(
                        "{pace}for i = 1, 5 do redis.call('SET', 'w{writer}:' .. i, ARGV[1]) redis.call('RPUSH', 'l{writer}:' .. i, ARGV[1]) end return 1"
                    );
                    scope.spawn(move || {
                        let mut last = 0;
                        for number in 1_u32.. {
                            let value = format!("{:09}", round * 1_000_000 + number);
                            let words = ["EVAL", &script, "0", &value];
                            match client.call(&words) {
                                Ok(Value::Integer(1)) => last = round * 1_000_000 + number,
                                _ => break,
                            }
                        }
                        last
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(400));
            server.kill();
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect::<Vec<_>>()
        });
        server.restart();
        let mut client = server.client();
        for (writer, last) in acknowledged.into_iter().enumerate() {
            let first = client.command(&format!("GET w{writer}:1"));
            for key in 1..=5 {
                assert_eq!(client.command(&format!("GET w{writer}:{key}")), first, "round {round}");
                let end = client.command(&format!("LINDEX l{writer}:{key} -1"));
                assert_eq!(end, first, "round {round}: the list of the same script");
            }
            if last > 0 {
                let found: u32 = first.text().parse().expect("a number");
                assert!(found >= last, "round {round}: {found} is there, {last} was acknowledged");
            }
        }
    }
}

#[test]
fn a_function_keeps_to_its_flags() {
    let server = start();
    let mut client = server.client();
    let code = "#!lua name=lib\nredis.register_function{function_name='peek', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}\nredis.register_function{function_name='poke', callback=function(keys) return redis.call('SET', keys[1], 'x') end, flags={'no-writes'}}\nredis.register_function('set', function(keys, args) return redis.call('SET', keys[1], args[1]) end)";
    client.call(&["FUNCTION", "LOAD", code]).unwrap();
    assert_eq!(client.command("FCALL set 1 k v"), Value::ok());
    assert_eq!(client.command("FCALL_RO peek 1 k"), Value::bulk("v"));
    assert!(client.command("FCALL_RO set 1 k v").is_error("ERR Can not execute a script with write flag"));
    assert!(
        client
            .command("FCALL poke 1 k")
            .is_error("ERR Write commands are not allowed from read-only scripts.")
    );
    // One that takes long is ended by its own command, and leaves nothing.
    let code = "#!lua name=loops\nredis.register_function('forever', function() redis.call('SET', 'k', 'changed') while true do end end)";
    client.call(&["FUNCTION", "LOAD", code]).unwrap();
    let mut other = server.client();
    other.send(b"FCALL forever 0\r\n").expect("it is sent");
    loop {
        let stats = client.command("FUNCTION STATS");
        if stats.items()[1] != Value::Null {
            assert_eq!(stats.items()[1].items()[1], Value::bulk("forever"));
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(client.command("SCRIPT KILL").is_error("NOTBUSY"), "it is no script");
    assert_eq!(client.command("FUNCTION KILL"), Value::ok());
    assert!(other.receive().expect("a reply").is_error("ERR Script killed by user with FUNCTION KILL."));
    assert_eq!(client.command("GET k"), Value::bulk("v"));
}
