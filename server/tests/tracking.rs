//! Client-side caching: who is told of what, when, and in which words. Over real sockets, and tried against Redis itself
//! (`SESSILE_BIN=redis-server`).
#![expect(clippy::disallowed_methods, reason = "invalidations take real time")]

mod support;

use std::time::Duration;
use support::{Client, Server, ServerOptions, Value, encode};

fn start() -> Server {
    Server::start(ServerOptions::new("everysec"))
}

/// A client that speaks RESP3.
fn modern(server: &Server) -> Client {
    let mut client = server.client();
    client.command("HELLO 3");
    client
}

fn id(client: &mut Client) -> i64 {
    match client.command("CLIENT ID") {
        Value::Integer(id) => id,
        other => panic!("{other:?}"),
    }
}

fn bulks(words: &[&str]) -> Value {
    Value::Array(words.iter().map(Value::bulk).collect())
}

fn invalidated(keys: &[&str]) -> Value {
    Value::Push(vec![Value::bulk("invalidate"), bulks(keys)])
}

fn forget_all() -> Value {
    Value::Push(vec![Value::bulk("invalidate"), Value::Null])
}

/// Sends commands, one a line, and gives what comes until there is nothing more for a while.
fn all(client: &mut Client, lines: &[&str]) -> Vec<Value> {
    let mut bytes = Vec::new();
    lines.iter().for_each(|line| encode(&mut bytes, &line.split(' ').collect::<Vec<_>>()));
    client.send(&bytes).expect("send");
    let mut got = Vec::new();
    // What was asked for, and then what comes by itself.
    client.stream().set_read_timeout(Some(Duration::from_millis(80))).expect("a timeout");
    while let Ok(value) = client.receive() {
        got.push(value);
    }
    client.stream().set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    got
}

fn ok() -> Value {
    Value::ok()
}

fn one(text: &str) -> Value {
    Value::bulk(text)
}

#[test]
fn who_has_read_a_key_is_told_once_when_it_changes() {
    let server = start();
    let (mut tracks, mut other) = (modern(&server), server.client());
    assert_eq!(all(&mut tracks, &["CLIENT TRACKING on", "GET k"]), [ok(), Value::Null]);
    other.command("SET k 1");
    other.command("SET k 2");
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["k"])]);
    // Each of several, what was not there, and whatever changes it.
    all(&mut tracks, &["MGET a b c", "EXISTS d", "TTL e", "TYPE f", "STRLEN g"]);
    all(&mut other, &["MSET a 1 c 1", "SET d 1", "SET x 1", "RENAME x e", "COPY e f", "APPEND g 1"]);
    let told = ["a", "c", "d", "e", "f", "g"].map(|key| invalidated(&[key]));
    assert_eq!(all(&mut tracks, &[]), told);
    all(&mut tracks, &["GET a"]);
    other.command("DEL a");
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["a"])]);
    all(&mut tracks, &["GET c"]);
    other.command("EXPIRE c 100");
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["c"])]);
    // What changes nothing tells nothing; what fails to read still reads.
    all(&mut tracks, &["GET c", "HGET d f"]);
    other.command("SETNX c 1");
    other.command("DEL nothing");
    assert_eq!(all(&mut tracks, &[]), []);
    other.command("SET d 2");
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["d"])]);
    // It is the name that counts, in whatever database.
    all(&mut tracks, &["GET c"]);
    all(&mut other, &["SELECT 5", "SET c 1", "SELECT 0"]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["c"])]);
    all(&mut tracks, &["GET c", "CLIENT TRACKING off"]);
    other.command("SET c 1");
    assert_eq!(all(&mut tracks, &[]), []);
}

#[test]
fn what_one_changes_oneself_comes_behind_the_reply() {
    let server = start();
    let (mut tracks, mut other) = (modern(&server), server.client());
    assert_eq!(
        all(&mut tracks, &["CLIENT TRACKING on", "SET k 1", "GET k", "SET k 2", "GET k", "DEL k", "PING"]),
        [
            ok(),
            ok(),
            one("1"),
            ok(),
            invalidated(&["k"]),
            one("2"),
            Value::Integer(1),
            invalidated(&["k"]),
            Value::Simple("PONG".into())
        ]
    );
    assert_eq!(
        all(&mut tracks, &["MGET x y", "MSET x 1 y 2"]),
        [Value::Array(vec![Value::Null, Value::Null]), ok(), invalidated(&["x"]), invalidated(&["y"])]
    );
    assert_eq!(
        all(&mut tracks, &["CLIENT TRACKING on noloop", "GET k", "SET k 1", "GET k"]),
        [ok(), Value::Null, ok(), one("1")]
    );
    other.command("SET k 2");
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["k"])]);
    // Also to who gets no replies.
    all(&mut tracks, &["CLIENT REPLY off", "GET k"]);
    other.command("SET k 3");
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["k"])]);
}

#[test]
fn keys_that_die_and_databases_that_are_emptied_are_told_of() {
    let server = start();
    let (mut tracks, mut other) = (modern(&server), server.client());
    all(&mut tracks, &["CLIENT TRACKING on"]);
    assert_eq!(all(&mut tracks, &["SET k 1 PX 120", "GET k"]), [ok(), one("1")]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["k"])]);
    all(&mut tracks, &["SET k 1", "GET k"]);
    assert_eq!(all(&mut other, &["PEXPIRE k 30"]), [Value::Integer(1)]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["k"])]);
    all(&mut tracks, &["GET k", "GET j"]);
    other.command("FLUSHDB");
    assert_eq!(all(&mut tracks, &[]), [forget_all()]);
    other.command("SET j 1");
    assert_eq!(all(&mut tracks, &[]), [], "everything is forgotten");
    assert_eq!(
        all(&mut tracks, &["GET j", "FLUSHALL", "GET j"]),
        [one("1"), ok(), forget_all(), Value::Null]
    );
    all(&mut other, &["SELECT 7", "FLUSHDB"]);
    assert_eq!(all(&mut tracks, &[]), [forget_all()]);
}

#[test]
fn databases_that_change_places_leave_no_copies() {
    let server = start();
    if server.options().is_redis() {
        // It tells nobody.
        return;
    }
    let (mut tracks, mut other) = (modern(&server), server.client());
    all(&mut other, &["SELECT 1", "SET k 1"]);
    assert_eq!(all(&mut tracks, &["CLIENT TRACKING on", "GET k"]), [ok(), Value::Null]);
    other.command("SWAPDB 0 1");
    assert_eq!(all(&mut tracks, &["GET k"]), [forget_all(), one("1")]);
}

#[test]
fn one_may_choose_what_is_tracked() {
    let server = start();
    let (mut tracks, mut other) = (modern(&server), server.client());
    all(&mut tracks, &["CLIENT TRACKING on optin", "GET a", "CLIENT CACHING yes", "GET b", "GET c"]);
    all(&mut other, &["MSET a 1 b 1 c 1"]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["b"])]);
    // It holds for one command, but for those about the client.
    all(&mut tracks, &["CLIENT CACHING yes", "CLIENT ID", "GET a", "CLIENT CACHING yes", "PING", "GET b"]);
    all(&mut other, &["MSET a 1 b 1"]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["a"])]);
    all(&mut tracks, &["CLIENT TRACKING off", "CLIENT TRACKING on optout"]);
    all(&mut tracks, &["GET a", "CLIENT CACHING no", "GET b", "GET c"]);
    all(&mut other, &["MSET a 1 b 1 c 1"]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["a"]), invalidated(&["c"])]);
}

#[test]
fn transactions_and_scripts_read_and_change_as_their_commands_do() {
    let server = start();
    let (mut tracks, mut other) = (modern(&server), server.client());
    let queued = || Value::Simple("QUEUED".into());
    assert_eq!(
        all(&mut tracks, &["CLIENT TRACKING on", "MULTI", "GET k", "SET k 1", "EXEC"]),
        [ok(), ok(), queued(), queued(), Value::Array(vec![Value::Null, ok()]), invalidated(&["k"])]
    );
    all(&mut tracks, &["MULTI", "GET a", "GET b", "EXEC"]);
    all(&mut other, &["MULTI", "SET b 1", "SET a 1", "EXEC"]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["b"]), invalidated(&["a"])]);
    all(&mut tracks, &["GET a"]);
    all(&mut other, &["MULTI", "FLUSHDB", "EXEC"]);
    assert_eq!(all(&mut tracks, &[]), [forget_all()]);
    let script = |client: &mut Client, body: &str| client.call(&["EVAL", body, "1", "k"]).expect("a reply");
    assert_eq!(script(&mut tracks, "return redis.call('get', KEYS[1])"), Value::Null);
    script(&mut other, "return redis.call('set', KEYS[1], 1)");
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["k"])]);
    // One that is asked for holds for all of a transaction.
    all(&mut tracks, &["CLIENT TRACKING off", "CLIENT TRACKING on optin"]);
    all(&mut tracks, &["CLIENT CACHING yes", "MULTI", "GET a", "GET b", "EXEC", "GET c"]);
    all(&mut other, &["MSET a 1 b 1 c 1"]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["a"]), invalidated(&["b"])]);
}

#[test]
fn prefixes_are_told_of_in_one_message_a_turn() {
    let server = start();
    let (mut tracks, mut other) = (modern(&server), server.client());
    all(&mut tracks, &["CLIENT TRACKING on bcast prefix a prefix b"]);
    all(&mut other, &["SET k 1", "SET b1 1", "SET a2 1", "SET a1 1", "SET a2 2"]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["a1", "a2"]), invalidated(&["b1"])]);
    assert_eq!(
        all(&mut tracks, &["SET a1 1", "SET a0 1", "PING"]),
        [ok(), ok(), Value::Simple("PONG".into()), invalidated(&["a0", "a1"])]
    );
    other.command("SET aaa 1 PX 50");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["aaa"]), invalidated(&["aaa"])]);
    all(&mut tracks, &["CLIENT TRACKING off", "CLIENT TRACKING on bcast noloop"]);
    assert_eq!(all(&mut tracks, &["SET x 1", "SET y 1"]), [ok(), ok()]);
    all(&mut other, &["SET x 1", "SET y 1"]);
    assert_eq!(all(&mut tracks, &[]), [invalidated(&["x", "y"])]);
}

#[test]
fn invalidations_may_go_to_another_connection() {
    let server = start();
    let (mut tracks, mut other, mut modern_one, mut old) =
        (modern(&server), server.client(), modern(&server), server.client());
    let message = |value| Value::Array(vec![one("message"), one("__redis__:invalidate"), value]);
    let (modern_id, old_id) = (id(&mut modern_one), id(&mut old));
    assert_eq!(
        all(&mut tracks, &[&format!("CLIENT TRACKING on redirect {modern_id}"), "CLIENT GETREDIR", "GET k"]),
        [ok(), Value::Integer(modern_id), Value::Null]
    );
    other.command("SET k 1");
    assert_eq!(all(&mut modern_one, &[]), [invalidated(&["k"])]);
    other.command("FLUSHALL");
    assert_eq!(all(&mut modern_one, &[]), [forget_all()]);
    // One that speaks RESP2 hears of it only while it listens to channels.
    all(&mut tracks, &[&format!("CLIENT TRACKING on redirect {old_id}"), "GET k"]);
    other.command("SET k 1");
    assert_eq!(all(&mut old, &[]), []);
    all(&mut old, &["SUBSCRIBE __redis__:invalidate"]);
    all(&mut tracks, &["GET k"]);
    other.command("SET k 2");
    assert_eq!(all(&mut old, &[]), [message(bulks(&["k"]))]);
    other.command("FLUSHALL");
    assert_eq!(all(&mut old, &[]), [message(Value::Null)]);
    // As may those of one that speaks RESP2 itself.
    let mut second = server.client();
    all(&mut second, &[&format!("CLIENT TRACKING on redirect {old_id}"), "GET j"]);
    other.command("SET j 2");
    assert_eq!(all(&mut old, &[]), [message(bulks(&["j"]))]);
    assert_eq!(all(&mut tracks, &[]), []);

    all(&mut tracks, &["GET k"]);
    drop(old);
    std::thread::sleep(Duration::from_millis(100));
    other.command("SET k 3");
    let broken = Value::Push(vec![one("tracking-redir-broken"), Value::Integer(old_id)]);
    assert_eq!(all(&mut tracks, &[]), [broken]);
    assert!(tracks.command("CLIENT INFO").text().contains(" flags=tR db=0 "));
    let info = all(&mut tracks, &["CLIENT TRACKINGINFO"]);
    let [Value::Map(fields)] = &info[..] else { panic!("{info:?}") };
    assert_eq!(fields[0].1, Value::Set(vec![one("on"), one("broken_redirect")]));
    assert_eq!(fields[1].1, Value::Integer(old_id));
}

#[test]
fn modes_that_exclude_each_other_are_refused() {
    let server = start();
    let mut client = modern(&server);
    for (words, error) in [
        ("on foo", "ERR syntax error"),
        ("maybe", "ERR syntax error"),
        ("on redirect", "ERR syntax error"),
        ("on redirect x", "ERR value is not an integer or out of range"),
        ("on redirect 99999", "ERR The client ID you want redirect to does not exist"),
        ("on prefix a", "ERR PREFIX option requires BCAST mode to be enabled"),
        ("on bcast optin", "ERR OPTIN and OPTOUT are not compatible with BCAST"),
        ("on optin optout", "ERR You can't specify both OPTIN mode and OPTOUT mode"),
        (
            "on bcast prefix a prefix ab",
            "ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.",
        ),
    ] {
        assert_eq!(client.command(&format!("CLIENT TRACKING {words}")), Value::Error(error.into()));
    }
    assert!(client.command("CLIENT CACHING yes").is_error("ERR CLIENT CACHING can be called only"));
    assert_eq!(client.command("CLIENT GETREDIR"), Value::Integer(-1));
    assert_eq!(client.command("CLIENT TRACKING on bcast prefix a prefix b"), ok());
    assert_eq!(
        client.command("CLIENT TRACKING on bcast prefix ac"),
        Value::Error(
            "ERR Prefix 'ac' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap."
                .into()
        )
    );
    assert!(client.command("CLIENT TRACKING on").is_error("ERR You can't switch BCAST mode on/off"));
    assert_eq!(client.command("CLIENT TRACKING on bcast prefix c noloop"), ok());
    let info = client.command("CLIENT TRACKINGINFO");
    let flags = Value::Set(["on", "bcast", "noloop"].map(one).to_vec());
    let fields = [("flags", flags), ("redirect", Value::Integer(0)), ("prefixes", bulks(&["a", "b", "c"]))];
    assert_eq!(info, Value::Map(fields.map(|(name, value)| (one(name), value)).to_vec()));
    assert_eq!(client.command("RESET"), Value::Simple("RESET".into()));
    assert_eq!(client.command("CLIENT GETREDIR"), Value::Integer(-1));
    assert_eq!(client.command("CLIENT TRACKING on optin"), ok());
    assert!(client.command("CLIENT CACHING no").is_error("ERR CLIENT CACHING NO is only valid"));
    assert!(client.command("CLIENT TRACKING on optout").is_error("ERR You can't switch OPTIN/OPTOUT mode"));
}

#[test]
fn what_is_remembered_is_bounded() {
    let server = start();
    let (mut tracks, mut other) = (modern(&server), server.client());
    assert_eq!(other.command("CONFIG SET tracking-table-max-keys 10"), ok());
    all(&mut tracks, &["CLIENT TRACKING on"]);
    let reads: Vec<String> = (0..50).map(|number| format!("GET k{number}")).collect();
    let mut got = all(&mut tracks, &reads.iter().map(String::as_str).collect::<Vec<_>>());
    got.extend(all(&mut tracks, &["PING"]));
    let told = got.iter().filter(|value| matches!(value, Value::Push(_))).count();
    assert_eq!(told, 40, "those that are forgotten are told of");
    let info = other.command("INFO all").text();
    assert!(info.contains("tracking_clients:1\r\n") && info.contains("tracking_total_keys:10\r\n"));
    assert_eq!(other.command("FLUSHALL"), ok());
    assert!(other.command("INFO stats").text().contains("tracking_total_keys:0\r\n"));
}

/// Nobody keeps an old value: readers on several connections read and remember as a real cache does, while others write; in the end what
/// each has is what the server has.
#[test]
fn a_cache_that_follows_what_it_is_told_is_never_stale() {
    const KEYS: usize = 8;
    let server = start();
    let done = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..2_u64 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = server.client();
                let mut state = writer + 1;
                for number in 0..4000 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let key = (state >> 33) as usize % KEYS;
                    client.command(&format!("SET k{key} {writer}:{number}"));
                }
                done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        for reader in 0..3_u64 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = modern(server);
                assert_eq!(client.command("CLIENT TRACKING on"), ok());
                let mut cache: [Option<Value>; KEYS] = Default::default();
                let mut state = reader + 100;
                let note = |cache: &mut [Option<Value>; KEYS], value: Value| match value {
                    Value::Push(parts) => {
                        let key = parts[1].items()[0].text();
                        cache[key[1..].parse::<usize>().expect("a key")] = None;
                        None
                    }
                    other => Some(other),
                };
                while done.load(std::sync::atomic::Ordering::SeqCst) < 2 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let key = (state >> 33) as usize % KEYS;
                    if cache[key].is_some() {
                        // Something to take, without a read that would remember.
                        client.send(b"PING\r\n").expect("send");
                        while note(&mut cache, client.receive().expect("a reply")).is_none() {}
                        continue;
                    }
                    client.send(format!("GET k{key}\r\n").as_bytes()).expect("send");
                    loop {
                        if let Some(value) = note(&mut cache, client.receive().expect("a reply")) {
                            cache[key] = Some(value);
                            break;
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(200));
                for value in all(&mut client, &["PING"]) {
                    note(&mut cache, value);
                }
                let mut plain = server.client();
                for (key, value) in cache.into_iter().enumerate() {
                    if let Some(value) = value {
                        assert_eq!(value, plain.command(&format!("GET k{key}")), "k{key} is stale");
                    }
                }
            });
        }
    });
}
