//! What an operator sees and says: `SLOWLOG`, `LATENCY`, users. Over real connections, beside a real redis-server where that can be compared.

mod operations {
    pub(crate) mod acl;
    pub(crate) mod command_info;
    pub(crate) mod latency;
    pub(crate) mod slow_log;
    pub(crate) mod throttle;
}
mod support;

use support::{Client, Server, ServerOptions, Value};

fn server() -> Server {
    Server::start(ServerOptions::new("everysec"))
}

fn words(value: &Value) -> Vec<String> {
    value.items().iter().map(Value::text).collect()
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        other => panic!("not an integer: {other:?}"),
    }
}

/// Sends the words of a command, of which some may hold spaces.
fn ask(client: &mut Client, words: &[&str]) -> Value {
    client.call(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}
