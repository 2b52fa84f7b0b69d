//! `SLOWLOG`, and counts in `INFO`.

use super::super::{ask, integer, server, words};
use crate::support::{Client, Server, ServerOptions, Value, oracles};

/// The arguments of every entry, oldest first.
fn entries(client: &mut Client) -> Vec<Vec<String>> {
    let slow = client.command("SLOWLOG GET -1");
    slow.items().iter().rev().map(|entry| words(&entry.items()[3])).collect()
}

#[test]
fn with_a_threshold_of_zero_every_command_is_an_entry() {
    let server = server();
    let mut client = server.client();
    client.command("CLIENT SETNAME me");
    client.command("CONFIG SET slowlog-log-slower-than 0");
    client.command("SLOWLOG RESET");
    client.command("GET a");
    client.command("PING");
    assert_eq!(client.command("SLOWLOG LEN"), Value::Integer(3));
    let latest = client.command("SLOWLOG GET 3");
    let ids: Vec<i64> = latest.items().iter().map(|entry| integer(&entry.items()[0])).collect();
    assert_eq!((ids[0] - ids[1], ids[1] - ids[2]), (1, 1), "{latest:?}");
    let ping = latest.items()[1].items();
    assert_eq!(ping.len(), 6);
    assert_eq!(words(&ping[3]), ["PING"]);
    assert_eq!(ping[5], Value::bulk("me"));
    assert!(ping[4].text().starts_with("127.0.0.1:"));

    client.command("CONFIG SET slowlog-max-len 2");
    client.command("PING");
    assert_eq!(client.command("SLOWLOG LEN"), Value::Integer(2));
    client.command("CONFIG SET slowlog-log-slower-than -1");
    client.command("SLOWLOG RESET");
    client.command("PING");
    assert_eq!(client.command("SLOWLOG LEN"), Value::Integer(0));
}

#[test]
fn a_command_that_takes_long_is_an_entry_by_default() {
    let server = server();
    let mut client = server.client();
    client.command("CONFIG SET slowlog-log-slower-than 30000");
    client.command("DEBUG SLEEP 0.05");
    let latest = client.command("SLOWLOG GET");
    assert_eq!(words(&latest.items()[0].items()[3]), ["DEBUG", "SLEEP", "0.05"]);
    assert!(integer(&latest.items()[0].items()[2]) >= 50_000, "{latest:?}");
}

/// What becomes an entry, and how much of it is shown, is the same in Redis.
#[test]
fn entries_are_those_of_redis() {
    let Some(redis) = oracles::program("entries_are_those_of_redis", "redis-server") else { return };
    let long = "x".repeat(200);
    let many: Vec<String> = (0..50).map(|number| format!("key{number}")).collect();
    let many: Vec<&str> = std::iter::once("DEL").chain(many.iter().map(String::as_str)).collect();
    let commands: [&[&str]; 16] = [
        &["SET", "a", &long],
        &many,
        &["nosuch", "command"],
        &["GET"],
        &["LPUSH", "a", "1"],
        &["AUTH", "nobody", "secret"],
        &["AUTH", "secret"],
        &["HELLO", "2", "AUTH", "nobody", "secret"],
        &["ACL", "SETUSER", "bob", "on", ">secret"],
        &["ACL", "DELUSER", "bob"],
        &["CONFIG", "SET", "requirepass", "", "maxclients", "1000"],
        &["MULTI"],
        &["SET", "b", "1"],
        &["INCR", "a"],
        &["EXEC"],
        &["SLOWLOG", "GET", "x"],
    ];
    let seen = [ServerOptions::new("everysec").of(&redis.to_string_lossy()), ServerOptions::new("everysec")]
        .map(|options| {
            let server = Server::start(options);
            let mut client = server.client();
            client.command("CONFIG SET slowlog-log-slower-than 0");
            client.command("SLOWLOG RESET");
            for command in commands {
                ask(&mut client, command);
            }
            entries(&mut client)
        });
    assert_eq!(seen[0], seen[1]);
}

/// What dashboards read of who watches keys.
#[test]
fn who_watches_keys_is_counted() {
    let server = server();
    let (mut one, mut other) = (server.client(), server.client());
    one.command("WATCH a b");
    let info = other.command("INFO clients").text();
    assert!(info.contains("watching_clients:1\r\n") && info.contains("total_watched_keys:2\r\n"), "{info}");
    one.command("UNWATCH");
    let info = other.command("INFO clients").text();
    assert!(info.contains("watching_clients:0\r\n") && info.contains("total_watched_keys:0\r\n"), "{info}");
}
