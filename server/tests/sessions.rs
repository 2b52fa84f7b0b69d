//! Native sessions: every row of the contract, over real sockets, in both protocols; leases with many clients; events across `kill -9`; and that no
//! token is to be found anywhere.
#![expect(clippy::disallowed_methods, reason = "sessions die in real time, and on a real disk")]
#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod support;

#[path = "sessions/durability.rs"]
mod durability;
#[path = "sessions/events.rs"]
mod events;
#[path = "sessions/keyspace.rs"]
mod keyspace;
#[path = "sessions/locks.rs"]
mod locks;
#[path = "sessions/malformed.rs"]
mod malformed;
#[path = "sessions/rows.rs"]
mod rows;
#[path = "sessions/secrecy.rs"]
mod secrecy;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::{Client, Server, ServerOptions, Value, encode};

/// A token that no session has.
const NOBODYS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const PATIENCE: Duration = Duration::from_secs(30);

fn start() -> Server {
    Server::start(ServerOptions::new("everysec"))
}

/// The names and values of a map, in either protocol.
fn pairs(map: &Value) -> Vec<(String, Value)> {
    match map {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name.text(), value.clone())).collect(),
        Value::Array(items) => items.chunks(2).map(|pair| (pair[0].text(), pair[1].clone())).collect(),
        other => panic!("not a map: {other:?}"),
    }
}

fn names(map: &Value) -> Vec<String> {
    pairs(map).into_iter().map(|(name, _)| name).collect()
}

fn get(map: &Value, name: &str) -> Value {
    let found = pairs(map).into_iter().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("no {name} in {map:?}")).1
}

fn text(map: &Value, name: &str) -> String {
    get(map, name).text()
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        other => panic!("not an integer: {other:?}"),
    }
}

fn number(map: &Value, name: &str) -> i64 {
    integer(&get(map, name))
}

/// Makes a session; its token.
fn create(client: &mut Client, words: &str) -> String {
    text(&client.command(&format!("SESSION.CREATE {words}")), "token")
}

/// All events there are.
fn all_events(client: &mut Client) -> Vec<Value> {
    get(&client.command("SESSION.EVENTS COUNT 10000"), "events").items().to_vec()
}

/// How many events of a type there are.
fn count_of(client: &mut Client, kind: &str) -> usize {
    all_events(client).iter().filter(|event| text(event, "type") == kind).count()
}

fn send(client: &mut Client, words: &str) {
    let mut bytes = Vec::new();
    encode(&mut bytes, &words.split(' ').collect::<Vec<_>>());
    client.send(&bytes).expect("send");
}

fn info(client: &mut Client, section: &str, name: &str) -> u64 {
    let info = client.command(&format!("INFO {section}")).text();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// Waits until the clock is past this.
fn sleep_past(at_ms: i64) {
    while now_ms() <= at_ms {
        std::thread::sleep(Duration::from_millis(1));
    }
}
