//! Events of keys that go without a command: `expired` on time, `evicted`, also of keys that are on disk only.

use super::super::{confirmed, field};
use crate::support::{Client, Server, ServerOptions, Value, encode};
use std::collections::BTreeSet;

/// Sets `keys` by `SET key value PX ms`, many at once.
fn set_all(client: &mut Client, keys: &[(String, u64)]) {
    for chunk in keys.chunks(500) {
        let mut batch = Vec::new();
        for (key, milliseconds) in chunk {
            encode(&mut batch, &["SET", key, "some value of a session", "PX", &milliseconds.to_string()]);
        }
        client.send(&batch).expect("send");
        for _ in chunk {
            assert_eq!(client.receive().expect("a reply"), Value::ok());
        }
    }
}

fn heard(client: &mut Client, count: usize) -> BTreeSet<String> {
    (0..count).map(|_| client.receive().expect("an event").items()[2].text()).collect()
}

#[test]
fn every_key_that_dies_is_told_of_once() {
    const KEYS: usize = 20_000;
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "2"));
    let (mut listener, mut client) = (server.client(), server.client());
    assert_eq!(client.command("CONFIG SET notify-keyspace-events Ex"), Value::ok());
    listener.command("SUBSCRIBE __keyevent@0__:expired");
    let keys: Vec<(String, u64)> =
        (0..KEYS).map(|number| (format!("key:{number}"), 1 + number as u64 % 700)).collect();
    set_all(&mut client, &keys);
    let told = heard(&mut listener, KEYS);
    assert!(told == keys.into_iter().map(|(key, _)| key).collect());
    assert_eq!(client.command("DBSIZE"), Value::Integer(0));
    assert_eq!(field(&mut client, "expired_keys"), KEYS.to_string());
    // Nothing more.
    client.command("PUBLISH __keyevent@0__:expired end");
    assert_eq!(listener.receive().expect("a message").items()[2], Value::bulk("end"));
}

#[test]
fn a_command_that_finds_a_key_dead_tells_of_its_end_first() {
    let server = Server::start(ServerOptions::new("everysec"));
    let (mut listener, mut client) = (server.client(), server.client());
    assert_eq!(client.command("CONFIG SET notify-keyspace-events KA"), Value::ok());
    assert_eq!(client.command("DEBUG SET-ACTIVE-EXPIRE 0"), Value::ok());
    listener.command("SUBSCRIBE __keyspace@0__:k");
    let events: &[(&str, &[&str])] = &[
        ("SET k 1", &["expired", "set"]),
        ("GET k", &["expired"]),
        ("DEL k", &["expired"]),
        ("HSET k f v", &["expired", "hset"]),
        ("RENAME other k", &["expired", "rename_to"]),
    ];
    for (command, events) in events {
        client.command("DEL k");
        client.command("SET other 1");
        client.command("SET k 1");
        assert_eq!(client.command("PEXPIRE k 1"), Value::Integer(1));
        client.command("PUBLISH __keyspace@0__:k begin");
        while listener.receive().expect("an event").items()[2].text() != "begin" {}
        assert_eq!(client.command("DEBUG SLEEP 0.01"), Value::ok());
        client.command(command);
        client.command("PUBLISH __keyspace@0__:k end");
        let told: Vec<String> = std::iter::from_fn(|| {
            let event = listener.receive().expect("an event").items()[2].text();
            (event != "end").then_some(event)
        })
        .collect();
        assert_eq!(told, *events, "by {command}");
    }
}

#[test]
fn keys_on_disk_only_are_told_of_by_name() {
    const KEYS: usize = 3_000;
    let options = ServerOptions::new("everysec").with("maxmemory", "1").with("io-threads", "2");
    let server = Server::start(options);
    let (mut listener, mut client) = (server.client(), server.client());
    assert_eq!(client.command("CONFIG SET notify-keyspace-events Ex"), Value::ok());
    listener.command("SUBSCRIBE __keyevent@0__:expired");
    let keys: Vec<(String, u64)> =
        (0..KEYS).map(|number| (format!("key:{number}"), 3_000 + number as u64 % 500)).collect();
    set_all(&mut client, &keys);
    assert_eq!(client.command("SAVE"), Value::ok());
    super::super::wait_until("they leave memory", || {
        field(&mut client, "values_cold").parse::<usize>().is_ok_and(|cold| cold > KEYS / 2)
    });
    let told = heard(&mut listener, KEYS);
    assert!(told == keys.into_iter().map(|(key, _)| key).collect());
    super::super::wait_until("they are gone", || client.command("DBSIZE") == Value::Integer(0));
}

#[test]
fn keys_that_are_evicted_are_told_of() {
    let server = Server::start(ServerOptions::new("everysec"));
    let (mut listener, mut client) = (server.client(), server.client());
    assert_eq!(
        client.command("CONFIG SET notify-keyspace-events Ee maxmemory-policy allkeys-lru"),
        Value::ok()
    );
    assert_eq!(
        listener.command("SUBSCRIBE __keyevent@0__:evicted"),
        confirmed("subscribe", "__keyevent@0__:evicted", 1)
    );
    for number in 0..2_000 {
        client.call(&["SET", &format!("key:{number}"), &"v".repeat(1000)]).expect("a reply");
    }
    assert_eq!(client.command("CONFIG SET maxmemory 1"), Value::ok());
    let told = heard(&mut listener, 1_000);
    assert!(told.iter().all(|key| key.starts_with("key:")) && told.len() == 1_000);
}

/// How late `expired` comes, at a million keys that die over ten seconds. `SESSILE_BIN=redis-server` shows Redis's figures.
#[test]
#[ignore = "takes a quarter of a minute and wants a quiet machine and a release build"]
fn expired_comes_on_time_at_a_million_keys() {
    use std::time::{SystemTime, UNIX_EPOCH};
    #[expect(clippy::disallowed_methods, reason = "the lateness of real events in real time")]
    fn now_ms() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
    let keys = crate::support::random::count("SESSILE_EXPIRED_KEYS", 1_000_000);
    let over_ms = crate::support::random::count("SESSILE_EXPIRED_OVER_MS", 10_000);
    let wait_ms = crate::support::random::count("SESSILE_EXPIRED_WAIT_MS", 30_000);
    let server = Server::start(ServerOptions::new("everysec"));
    let (mut listener, mut client) = (server.client(), server.client());
    client.command("CONFIG SET notify-keyspace-events Ex");
    let set = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"];
    client.call(&set).expect("a reply");
    listener.command("SUBSCRIBE __keyevent@0__:expired");
    let begin_ms = now_ms() + 6_000 + keys / 200;
    let numbers: Vec<u64> = (0..keys).collect();
    for chunk in numbers.chunks(2_000) {
        let mut batch = Vec::new();
        for number in chunk {
            let deadline_ms = begin_ms + number * over_ms / keys;
            encode(
                &mut batch,
                &[
                    "SET",
                    &format!("{deadline_ms}:session:{number:032}"),
                    "value",
                    "PXAT",
                    &deadline_ms.to_string(),
                ],
            );
        }
        client.send(&batch).expect("send");
        for _ in chunk {
            assert_eq!(client.receive().expect("a reply"), Value::ok());
        }
    }
    let loaded_ms = begin_ms.checked_sub(now_ms()).expect("all keys were set before the first dies");
    println!("{keys} keys, the first dies in {loaded_ms} ms, the last {over_ms} ms after it");
    let mut late_ms: Vec<u64> = Vec::new();
    while (late_ms.len() as u64) < keys && now_ms() < begin_ms + over_ms + wait_ms {
        let key = listener.receive().expect("an event").items()[2].text();
        let deadline_ms: u64 = key.split(':').next().and_then(|part| part.parse().ok()).expect("a deadline");
        late_ms.push(now_ms().saturating_sub(deadline_ms));
    }
    late_ms.sort_unstable();
    let of = |share: f64| late_ms[((late_ms.len() - 1) as f64 * share) as usize];
    println!(
        "expired: {} of {keys} events; late by p50 {} ms, p99 {} ms, max {} ms",
        late_ms.len(),
        of(0.5),
        of(0.99),
        of(1.0)
    );
    if !server.options().is_redis() {
        assert_eq!(late_ms.len() as u64, keys);
        assert!(of(0.99) <= 150, "p99 is {} ms", of(0.99));
    }
}
