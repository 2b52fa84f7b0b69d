//! Clients that wait: who is served, with what, in which order, and how a wait ends. Over real sockets, and tried against Redis itself
//! (`SESSILE_BIN=redis-server`); what only Sessile has is left out then.
#![expect(clippy::disallowed_methods, reason = "waiting takes real time")]

mod support;

use std::time::{Duration, Instant};
use support::{Client, Server, ServerOptions, Value, encode};

/// How much later than its time a wait may end on a loaded machine.
const LATE: Duration = Duration::from_millis(150);

fn start() -> Server {
    Server::start(ServerOptions::new("everysec"))
}

fn bulks(words: &[&str]) -> Value {
    Value::Array(words.iter().map(Value::bulk).collect())
}

fn id(client: &mut Client) -> i64 {
    match client.command("CLIENT ID") {
        Value::Integer(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Sends without waiting for the reply.
fn send(client: &mut Client, words: &str) {
    let mut bytes = Vec::new();
    encode(&mut bytes, &words.split(' ').collect::<Vec<_>>());
    client.send(&bytes).expect("send");
}

fn field(info: &Value, name: &str) -> String {
    let info = info.text();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {info}")).to_owned()
}

/// Waits until so many clients wait.
fn until_blocked(client: &mut Client, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while field(&client.command("INFO clients"), "blocked_clients") != count.to_string() {
        assert!(Instant::now() < deadline, "not {count} clients wait");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A client that waits by this command.
fn waiter(server: &Server, observer: &mut Client, words: &str, count: usize) -> Client {
    let mut client = server.client();
    send(&mut client, words);
    until_blocked(observer, count);
    client
}

fn next(client: &mut Client) -> Value {
    client.receive().expect("a reply")
}

/// Whether nothing comes for a while.
fn is_silent(client: &mut Client) -> bool {
    client.stream().set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let silent = client.receive().is_err();
    client.stream().set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    silent
}

#[test]
fn those_who_wait_longest_are_served_first_and_each_once() {
    let server = start();
    let mut pusher = server.client();
    let mut waiters: Vec<Client> =
        (1..=3).map(|count| waiter(&server, &mut pusher, "BLPOP list 0", count)).collect();
    assert_eq!(pusher.command("RPUSH list a b"), Value::Integer(2));
    assert_eq!(next(&mut waiters[0]), bulks(&["list", "a"]));
    assert_eq!(next(&mut waiters[1]), bulks(&["list", "b"]));
    assert!(is_silent(&mut waiters[2]));
    assert_eq!(pusher.command("EXISTS list"), Value::Integer(0));
    assert_eq!(pusher.command("RPUSH list c d"), Value::Integer(2));
    assert_eq!(next(&mut waiters[2]), bulks(&["list", "c"]));
    assert_eq!(pusher.command("LRANGE list 0 -1"), bulks(&["d"]));
    until_blocked(&mut pusher, 0);
}

#[test]
fn a_waiter_is_served_before_the_next_command_of_who_pushed() {
    let server = start();
    let mut pusher = server.client();
    for round in 0..20 {
        let mut waiting = waiter(&server, &mut pusher, "BRPOP list 0", 1);
        let mut bytes = Vec::new();
        for words in [&["LPUSH", "list", "x"][..], &["LPOP", "list"], &["LLEN", "list"]] {
            encode(&mut bytes, words);
        }
        pusher.send(&bytes).expect("send");
        assert_eq!(next(&mut pusher), Value::Integer(1), "round {round}");
        assert_eq!(next(&mut pusher), Value::Null);
        assert_eq!(next(&mut pusher), Value::Integer(0));
        assert_eq!(next(&mut waiting), bulks(&["list", "x"]));
    }
}

#[test]
fn what_one_is_served_may_serve_others() {
    let server = start();
    let mut pusher = server.client();
    let mut last = waiter(&server, &mut pusher, "BLPOP c 0", 1);
    let mut second = waiter(&server, &mut pusher, "BLMOVE b c RIGHT LEFT 0", 2);
    let mut first = waiter(&server, &mut pusher, "BRPOPLPUSH a b 0", 3);
    let mut bytes = Vec::new();
    for words in [&["LPUSH", "a", "x"][..], &["EXISTS", "a", "b", "c"]] {
        encode(&mut bytes, words);
    }
    pusher.send(&bytes).expect("send");
    assert_eq!(next(&mut pusher), Value::Integer(1));
    assert_eq!(next(&mut pusher), Value::Integer(0), "all served before the next command");
    assert_eq!(next(&mut first), Value::bulk("x"));
    assert_eq!(next(&mut second), Value::bulk("x"));
    assert_eq!(next(&mut last), bulks(&["c", "x"]));
    // Onto itself: it turns the list.
    let mut turns = waiter(&server, &mut pusher, "BLMOVE r r LEFT RIGHT 0", 1);
    assert_eq!(pusher.command("RPUSH r 1 2"), Value::Integer(2));
    assert_eq!(next(&mut turns), Value::bulk("1"));
    assert_eq!(pusher.command("LRANGE r 0 -1"), bulks(&["2", "1"]));
}

#[test]
fn one_may_wait_for_several_keys_and_for_one_of_them_twice() {
    let server = start();
    let mut pusher = server.client();
    let mut waiting = waiter(&server, &mut pusher, "BLPOP a b b c 0", 1);
    assert_eq!(pusher.command("RPUSH b 1 2"), Value::Integer(2));
    assert_eq!(next(&mut waiting), bulks(&["b", "1"]));
    assert_eq!(pusher.command("LRANGE b 0 -1"), bulks(&["2"]));
    // It waits for none of them any more.
    assert_eq!(pusher.command("RPUSH a 3"), Value::Integer(1));
    assert_eq!(pusher.command("RPUSH c 3"), Value::Integer(1));
    assert!(is_silent(&mut waiting));
    assert_eq!(pusher.command("EXISTS a c"), Value::Integer(2));
    // Another's two keys, among them the one it is in line for behind the first.
    let mut first = waiter(&server, &mut pusher, "BLPOP d e 0", 1);
    let mut second = waiter(&server, &mut pusher, "BLMPOP 0 2 e d LEFT COUNT 10", 2);
    assert_eq!(pusher.command("RPUSH d 1 2 3"), Value::Integer(3));
    assert_eq!(next(&mut first), bulks(&["d", "1"]));
    assert_eq!(next(&mut second), Value::Array(vec![Value::bulk("d"), bulks(&["2", "3"])]));
}

#[test]
fn a_time_that_is_up_is_answered_on_time() {
    let server = start();
    let mut client = server.client();
    for (words, millis, expected) in [
        ("BLPOP k 0.05", 50, Value::Null),
        ("BRPOP k j 0.12", 120, Value::Null),
        ("BLMOVE k j LEFT LEFT 0.03", 30, Value::Null),
        ("BLMPOP 0.031 1 k LEFT", 31, Value::Null),
        ("WAIT 1 70", 70, Value::Integer(0)),
    ] {
        let begun = Instant::now();
        assert_eq!(client.command(words), expected, "{words}");
        let (took, time) = (begun.elapsed(), Duration::from_millis(millis));
        assert!(took + Duration::from_millis(2) >= time && took < time + LATE, "{words} took {took:?}");
    }
    assert_eq!(field(&client.command("INFO clients"), "blocked_clients"), "0");
    // Nobody is in line any more.
    assert_eq!(client.command("RPUSH k x"), Value::Integer(1));
    assert_eq!(client.command("LLEN k"), Value::Integer(1));
}

#[test]
fn a_wait_ends_by_client_unblock() {
    let server = start();
    let mut other = server.client();
    for (words, unblock, expected) in [
        ("BLPOP k 0", "", Value::Null),
        ("BLPOP k 0", " TIMEOUT", Value::Null),
        ("BLPOP k 0", " ERROR", Value::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into())),
        ("WAIT 1 0", "", Value::Integer(0)),
    ] {
        let mut client = server.client();
        let number = id(&mut client);
        send(&mut client, words);
        send(&mut client, "PING");
        until_blocked(&mut other, 1);
        assert_eq!(other.command(&format!("CLIENT UNBLOCK {number}{unblock}")), Value::Integer(1));
        assert_eq!(next(&mut client), expected, "{words}{unblock}");
        assert_eq!(next(&mut client), Value::Simple("PONG".into()), "what came behind it is executed");
        assert_eq!(other.command(&format!("CLIENT UNBLOCK {number}")), Value::Integer(0));
    }
    assert_eq!(other.command("CLIENT UNBLOCK 123456789"), Value::Integer(0));
    assert_eq!(other.command("RPUSH k x"), Value::Integer(1));
    assert_eq!(other.command("LLEN k"), Value::Integer(1));
}

#[test]
fn who_leaves_or_is_killed_is_not_served() {
    let server = start();
    let mut other = server.client();
    let leaves = waiter(&server, &mut other, "BLPOP k 0", 1);
    drop(leaves);
    until_blocked(&mut other, 0);
    let mut killed = waiter(&server, &mut other, "BLPOP k 0", 1);
    let list = other.command("CLIENT LIST").text();
    let line = list.lines().find(|line| line.contains("cmd=blpop")).expect("the waiter's line");
    assert!(line.contains(" flags=b "), "{line}");
    let number = line.split(' ').next().and_then(|id| id.strip_prefix("id=")).expect("an id");
    assert_eq!(other.command(&format!("CLIENT KILL ID {number}")), Value::Integer(1));
    assert!(killed.receive().is_err());
    until_blocked(&mut other, 0);
    // One that closes its sending side only has left, too.
    let half = waiter(&server, &mut other, "BLPOP k 0", 1);
    let mut half = half;
    half.stream().shutdown(std::net::Shutdown::Write).expect("shutdown");
    until_blocked(&mut other, 0);
    // And so has one with much behind its command.
    let mut long = server.client();
    send(&mut long, "BLPOP k 0");
    let mut pings = Vec::new();
    (0..20_000).for_each(|_| encode(&mut pings, &["PING"]));
    long.send(&pings).expect("send");
    until_blocked(&mut other, 1);
    drop(long);
    until_blocked(&mut other, 0);
    assert_eq!(other.command("RPUSH k x"), Value::Integer(1));
    assert_eq!(other.command("LPOP k"), Value::bulk("x"));
}

#[test]
fn what_comes_behind_a_command_that_waits_is_executed_after_it() {
    let server = start();
    let mut other = server.client();
    let mut client = server.client();
    let mut bytes = Vec::new();
    encode(&mut bytes, &["BLPOP", "k", "0"]);
    for number in 0..10_000 {
        encode(&mut bytes, &["ECHO", &number.to_string()]);
    }
    encode(&mut bytes, &["BLPOP", "k", "0"]);
    let mut sender = client.stream().try_clone().expect("clone");
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &bytes).expect("send"));
    until_blocked(&mut other, 1);
    assert!(is_silent(&mut client));
    assert_eq!(other.command("RPUSH k 1"), Value::Integer(1));
    assert_eq!(next(&mut client), bulks(&["k", "1"]));
    for number in 0..10_000 {
        assert_eq!(next(&mut client), Value::bulk(number.to_string()));
    }
    sending.join().expect("sent");
    until_blocked(&mut other, 1);
    assert_eq!(other.command("RPUSH k 2"), Value::Integer(1));
    assert_eq!(next(&mut client), bulks(&["k", "2"]));
}

#[test]
fn a_key_of_another_type_serves_nobody_and_any_command_that_makes_a_list_does() {
    let server = start();
    let mut other = server.client();
    let mut waiting = waiter(&server, &mut other, "BLPOP k 0", 1);
    assert_eq!(other.command("SET k string"), Value::ok());
    assert!(is_silent(&mut waiting));
    assert!(other.command("RPUSH k x").is_error("WRONGTYPE"));
    assert_eq!(other.command("DEL k"), Value::Integer(1));
    assert_eq!(other.command("RPUSH source x y"), Value::Integer(2));
    assert_eq!(other.command("RENAME source k"), Value::ok());
    assert_eq!(next(&mut waiting), bulks(&["k", "x"]));
    assert_eq!(other.command("LRANGE k 0 -1"), bulks(&["y"]));
    assert_eq!(other.command("RENAME k source"), Value::ok());

    let mut waiting = waiter(&server, &mut other, "BLPOP k 0", 1);
    assert_eq!(other.command("COPY source k"), Value::Integer(1));
    assert_eq!(next(&mut waiting), bulks(&["k", "y"]));
    assert_eq!(other.command("LLEN source"), Value::Integer(1));

    let mut waiting = server.client();
    assert_eq!(waiting.command("SELECT 3"), Value::ok());
    send(&mut waiting, "BLPOP source 0");
    until_blocked(&mut other, 1);
    assert_eq!(other.command("MOVE source 3"), Value::Integer(1));
    assert_eq!(next(&mut waiting), bulks(&["source", "y"]));

    // The one it moves to may turn out to hold something else.
    let mut moving = waiter(&server, &mut other, "BLMOVE from to LEFT LEFT 0", 1);
    assert_eq!(other.command("SET to string"), Value::ok());
    assert!(is_silent(&mut moving));
    assert_eq!(other.command("RPUSH from x"), Value::Integer(1));
    assert!(next(&mut moving).is_error("WRONGTYPE"));
    assert_eq!(other.command("LRANGE from 0 -1"), bulks(&["x"]));
}

#[test]
fn sorted_sets_serve_those_who_wait_for_them() {
    let server = start();
    let mut other = server.client();
    let mut least = waiter(&server, &mut other, "BZPOPMIN z 0", 1);
    let mut list = waiter(&server, &mut other, "BLPOP z 0", 2);
    let mut most = waiter(&server, &mut other, "BZPOPMAX y z 0", 3);
    let mut several = waiter(&server, &mut other, "BZMPOP 0 2 y z MIN COUNT 2", 4);
    assert_eq!(other.command("ZADD z 1 a 2 b 3 c 4 d 5 e"), Value::Integer(5));
    assert_eq!(next(&mut least), bulks(&["z", "a", "1"]));
    assert_eq!(next(&mut most), bulks(&["z", "e", "5"]));
    let pairs = Value::Array(vec![bulks(&["b", "2"]), bulks(&["c", "3"])]);
    assert_eq!(next(&mut several), Value::Array(vec![Value::bulk("z"), pairs]));
    assert_eq!(other.command("ZRANGE z 0 -1"), bulks(&["d"]));
    assert!(is_silent(&mut list), "it waits for another type");
    assert_eq!(other.command("ZUNIONSTORE w 1 z"), Value::Integer(1));
    assert_eq!(other.command("DEL z"), Value::Integer(1));
    assert_eq!(other.command("RPUSH z x"), Value::Integer(1));
    assert_eq!(next(&mut list), bulks(&["z", "x"]));
    let mut stored = waiter(&server, &mut other, "BZPOPMIN z 0", 1);
    assert_eq!(other.command("ZRANGESTORE z w 0 -1"), Value::Integer(1));
    assert_eq!(next(&mut stored), bulks(&["z", "d", "4"]));
}

#[test]
fn sort_serves_too() {
    let server = start();
    let mut other = server.client();
    assert_eq!(other.command("RPUSH source 2 1"), Value::Integer(2));
    let mut waiting = waiter(&server, &mut other, "BLPOP k 0", 1);
    assert_eq!(other.command("SORT source STORE k"), Value::Integer(2));
    assert_eq!(next(&mut waiting), bulks(&["k", "1"]));
}

/// The replies to several commands sent at once.
fn several(client: &mut Client, lines: &[&str]) -> Vec<Value> {
    lines.iter().for_each(|line| send(client, line));
    lines.iter().map(|_| next(client)).collect()
}

#[test]
fn a_transaction_serves_when_it_is_over() {
    let server = start();
    let mut other = server.client();
    let mut waiting = waiter(&server, &mut other, "BLPOP k 0", 1);
    let replies =
        several(&mut other, &["MULTI", "RPUSH k a b", "LPOP k", "DEL k", "SET k x", "EXEC", "GET k"]);
    assert_eq!(replies[6], Value::bulk("x"));
    assert!(is_silent(&mut waiting), "there is nothing left for it");
    several(&mut other, &["MULTI", "DEL k", "LPUSH k a", "LPUSH k b", "EXEC"]);
    assert_eq!(next(&mut waiting), bulks(&["k", "b"]), "the list as it is in the end");
    assert_eq!(other.command("LRANGE k 0 -1"), bulks(&["a"]));
    // In a transaction nobody waits.
    let replies =
        several(&mut other, &["DEL k", "MULTI", "BLPOP k 0", "BLMOVE k j LEFT LEFT 0", "WAIT 1 0", "EXEC"]);
    assert_eq!(replies[5], Value::Array(vec![Value::Null, Value::Null, Value::Integer(0)]));
    // Several keys, several who wait.
    let mut first = waiter(&server, &mut other, "BLMOVE a b LEFT LEFT 0", 1);
    let mut second = waiter(&server, &mut other, "BRPOP b c 0", 2);
    let replies = several(&mut other, &["MULTI", "RPUSH a x", "RPUSH c y", "EXEC", "EXISTS a b c"]);
    // Which of the two it gets depends on Redis's version.
    assert_eq!(replies[4], Value::Integer(1));
    assert_eq!(next(&mut first), Value::bulk("x"));
    let served = next(&mut second);
    assert!(served == bulks(&["b", "x"]) || served == bulks(&["c", "y"]), "{served:?}");
}

#[test]
fn scripts_serve_when_they_are_over_and_never_wait() {
    let server = start();
    let mut other = server.client();
    let mut waiting = waiter(&server, &mut other, "BLPOP k 0", 1);
    let script =
        |client: &mut Client, body: &str, key: &str| client.call(&["EVAL", body, "1", key]).expect("a reply");
    let body = "redis.call('lpush', KEYS[1], 'x') return redis.call('lpop', KEYS[1])";
    assert_eq!(script(&mut other, body, "k"), Value::bulk("x"));
    assert!(is_silent(&mut waiting));
    let body = "redis.call('rpush', KEYS[1], 'x', 'y') return redis.call('llen', KEYS[1])";
    assert_eq!(script(&mut other, body, "k"), Value::Integer(2));
    assert_eq!(next(&mut waiting), bulks(&["k", "x"]));
    let body = "return redis.call('blpop', KEYS[1], 0)";
    assert!(
        script(&mut other, body, "nothing").is_error("ERR This Redis command is not allowed from script")
    );
    // A key that it did not name.
    let mut waiting = waiter(&server, &mut other, "BLPOP elsewhere 0", 1);
    let body = "redis.call('rpush', 'else' .. KEYS[1], 'x') return redis.call('llen', 'elsewhere')";
    assert_eq!(script(&mut other, body, "where"), Value::Integer(1));
    assert_eq!(next(&mut waiting), bulks(&["elsewhere", "x"]));
}

#[test]
fn databases_that_change_places_serve() {
    let server = start();
    let mut other = server.client();
    several(&mut other, &["SELECT 5", "RPUSH k x", "SELECT 0"]);
    let mut waiting = waiter(&server, &mut other, "BLPOP k 0", 1);
    assert_eq!(other.command("SWAPDB 0 5"), Value::ok());
    assert_eq!(next(&mut waiting), bulks(&["k", "x"]));
    // It is the number that one waits in.
    let mut waiting = waiter(&server, &mut other, "BLPOP k 0", 1);
    assert_eq!(other.command("SWAPDB 0 5"), Value::ok());
    assert_eq!(other.command("RPUSH k y"), Value::Integer(1));
    assert_eq!(next(&mut waiting), bulks(&["k", "y"]));
}

#[test]
fn a_pause_of_writes_stops_transactions_that_write() {
    let server = start();
    let (mut other, mut client) = (server.client(), server.client());
    several(&mut client, &["MULTI", "GET k"]);
    assert_eq!(other.command("CLIENT PAUSE 100000 WRITE"), Value::ok());
    assert_eq!(client.command("EXEC"), Value::Array(vec![Value::Null]));
    assert_eq!(other.command("CLIENT UNPAUSE"), Value::ok());
    several(&mut client, &["MULTI", "SET k 1"]);
    assert_eq!(other.command("CLIENT PAUSE 100000 WRITE"), Value::ok());
    send(&mut client, "EXEC");
    assert!(is_silent(&mut client));
    assert_eq!(other.command("GET k"), Value::Null);
    assert_eq!(other.command("CLIENT UNPAUSE"), Value::ok());
    assert_eq!(next(&mut client), Value::Array(vec![Value::ok()]));
}

#[test]
fn a_pause_stops_what_it_says_until_its_end() {
    let server = start();
    let (mut other, mut client) = (server.client(), server.client());
    assert_eq!(other.command("CLIENT PAUSE 120 WRITE"), Value::ok());
    let begun = Instant::now();
    assert_eq!(client.command("GET k"), Value::Null);
    assert!(begun.elapsed() < Duration::from_millis(100));
    assert_eq!(client.command("SET k 1"), Value::ok());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(110) && took < Duration::from_millis(120) + 2 * LATE, "{took:?}");

    assert_eq!(other.command("CLIENT PAUSE 100000 WRITE"), Value::ok());
    send(&mut client, "SET k 2");
    send(&mut client, "GET k");
    assert!(is_silent(&mut client));
    assert_eq!(other.command("GET k"), Value::bulk("1"));
    assert_eq!(field(&other.command("INFO clients"), "blocked_clients"), "1");
    assert_eq!(other.command("CLIENT UNPAUSE"), Value::ok());
    assert_eq!(next(&mut client), Value::ok());
    assert_eq!(next(&mut client), Value::bulk("2"));

    assert_eq!(other.command("CLIENT PAUSE 80"), Value::ok());
    let begun = Instant::now();
    assert_eq!(client.command("PING"), Value::Simple("PONG".into()));
    assert!(begun.elapsed() >= Duration::from_millis(70));
    // A client that leaves while it is stopped is gone, and its command never executed.
    assert_eq!(other.command("CLIENT PAUSE 100000 WRITE"), Value::ok());
    let mut leaves = waiter(&server, &mut other, "SET k 3", 1);
    leaves.stream().shutdown(std::net::Shutdown::Both).expect("shutdown");
    until_blocked(&mut other, 0);
    assert_eq!(other.command("CLIENT UNPAUSE"), Value::ok());
    assert_eq!(client.command("GET k"), Value::bulk("2"));
}

#[test]
fn waitaof_waits_for_the_disk() {
    let server = start();
    if server.options().is_redis() {
        return;
    }
    let mut client = server.client();
    let answer = |synced| Value::Array(vec![Value::Integer(synced), Value::Integer(0)]);
    for number in 0..20 {
        assert_eq!(client.command(&format!("SET k {number}")), Value::ok());
        assert_eq!(client.command("WAITAOF 1 0 0"), answer(1));
        assert_eq!(client.command("WAITAOF 0 0 0"), answer(1));
    }
    let begun = Instant::now();
    assert_eq!(client.command("WAITAOF 1 1 60"), answer(1), "no replica ever says so");
    assert!(begun.elapsed() >= Duration::from_millis(58));
    assert_eq!(
        client.command("WAITAOF 2 0 0"),
        Value::Error("ERR value is out of range, value must between 0 and 1".into())
    );
}

#[test]
fn an_orderly_end_waits_for_nobody_who_waits() {
    let mut server = start();
    let mut other = server.client();
    let mut blocked = waiter(&server, &mut other, "BLPOP k 0", 1);
    assert_eq!(other.command("CLIENT PAUSE 100000 WRITE"), Value::ok());
    let mut paused = waiter(&server, &mut other, "SET k 1", 2);
    let begun = Instant::now();
    assert!(server.stop(rustix::process::Signal::TERM).success());
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    assert!(blocked.receive().is_err() && paused.receive().is_err());
}

#[test]
fn a_reply_to_one_who_waits_is_as_durable_as_any() {
    // What was popped on behalf of one who waits is not there again after a crash, nor is it lost before the reply.
    let mut server = Server::start(ServerOptions::new("always"));
    let mut other = server.client();
    let mut blocked = waiter(&server, &mut other, "BLMOVE from to LEFT LEFT 0", 1);
    assert_eq!(other.command("RPUSH from x y"), Value::Integer(2));
    assert_eq!(next(&mut blocked), Value::bulk("x"));
    server.kill();
    server.restart();
    let mut other = server.client();
    assert_eq!(other.command("LRANGE from 0 -1"), bulks(&["y"]));
    assert_eq!(other.command("LRANGE to 0 -1"), bulks(&["x"]));
}

#[test]
fn thousands_may_wait() {
    let server = start();
    let mut other = server.client();
    let mut waiters: Vec<Client> = (0..1000)
        .map(|number| {
            let mut client = server.client();
            send(&mut client, &format!("BLPOP all own:{number} 100"));
            client
        })
        .collect();
    until_blocked(&mut other, 1000);
    let elements: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let mut push = vec!["RPUSH".to_owned(), "all".to_owned()];
    push.extend(elements.iter().cloned());
    assert_eq!(other.call(&push).expect("a reply"), Value::Integer(500));
    assert_eq!(other.command("EXISTS all"), Value::Integer(0));
    for (number, client) in waiters.iter_mut().take(500).enumerate() {
        let Value::Array(reply) = next(client) else { panic!("no element for {number}") };
        assert_eq!(reply[0], Value::bulk("all"));
    }
    for number in 500..1000 {
        assert_eq!(other.command(&format!("RPUSH own:{number} x")), Value::Integer(1));
    }
    for (number, client) in waiters.iter_mut().enumerate().skip(500) {
        assert_eq!(next(client), bulks(&[&format!("own:{number}"), "x"]));
    }
    until_blocked(&mut other, 0);
}
