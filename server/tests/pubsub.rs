//! Publish and subscribe, keyspace events and `MONITOR`, over real connections: what several clients of one server see of each other.

mod pubsub {
    pub(crate) mod alike;
    pub(crate) mod expiry;
    pub(crate) mod limits;
    pub(crate) mod loops;
    pub(crate) mod watch;
}
mod support;

use std::time::{Duration, Instant};
use support::{Client, Value};

/// A message as a subscriber gets it, in RESP2.
fn message(parts: &[&str]) -> Value {
    Value::Array(parts.iter().map(Value::bulk).collect())
}

/// A subscriber's confirmation, in RESP2.
fn confirmed(event: &str, name: &str, count: i64) -> Value {
    Value::Array(vec![Value::bulk(event), Value::bulk(name), Value::Integer(count)])
}

/// Waits until `condition` holds; a test that waits for long has failed.
#[expect(clippy::disallowed_methods, reason = "a real process in real time")]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn field(client: &mut Client, name: &str) -> String {
    let info = client.command("INFO everything").text();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {info}")).to_owned()
}
