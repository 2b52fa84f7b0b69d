//! Client-side caching on many threads at once: whoever reads an old value is told behind it, whatever comes in between.
//!
//! The connections are driven without sockets, each thread with a worker of its own, as event loops do.

use sessile::Options;
use sessile_server::client::{Client, Origin};
use sessile_server::config::Config;
use sessile_server::connection::Connection;
use sessile_server::log::LogControl;
use sessile_server::server::Server;
use sessile_server::worker::Worker;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const WRITERS: usize = 2;
const READERS: usize = 2;
const WRITES_EACH: usize = 40_000;
const KEYS: usize = 3;

fn connect(worker: &Worker) -> Connection {
    let card = worker.server.clients.join(Origin::none(), worker.now_ms);
    Connection::new(Client::new(card, true))
}

/// What comes out, invalidations and all, in order.
fn take(worker: &mut Worker, connection: &mut Connection) -> String {
    worker.server.db.push_log().expect("the log takes writes");
    connection.take_pushes(worker);
    connection.settle(worker.server.db.acknowledged());
    let output = String::from_utf8_lossy(connection.output()).into_owned();
    connection.sent(worker, output.len());
    output
}

fn step(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

/// A cache as a client library keeps it.
#[derive(Default)]
struct Cache {
    values: [Option<String>; KEYS],
    invalidations: usize,
}

impl Cache {
    /// Follows what came, which holds at most one reply: to a `GET` of `asked`.
    fn follow(&mut self, mut output: &str, asked: Option<usize>) {
        while !output.is_empty() {
            if let Some(rest) = output.strip_prefix(">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\nk") {
                let key: usize = rest[..1].parse().expect("a key");
                self.values[key] = None;
                self.invalidations += 1;
                output = &rest[3..];
            } else {
                let asked = asked.expect("nothing was asked for");
                let head = output.split("\r\n").next().expect("a line");
                let value = match head {
                    "_" => String::new(),
                    _ => output[head.len() + 2..].split("\r\n").next().expect("a value").to_owned(),
                };
                let length = head.len() + 2 + if head == "_" { 0 } else { value.len() + 2 };
                output = &output[length..];
                self.values[asked] = Some(value);
            }
        }
    }
}

#[test]
fn nobody_keeps_an_old_value() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Options::new().open(dir.path()).expect("a database");
    let server = Server::new(db, Config::default(), None, LogControl::default());
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (server, done) = (Arc::clone(&server), &done);
            scope.spawn(move || {
                let mut worker = Worker::new(server);
                let mut connection = connect(&worker);
                let mut state = writer as u64 + 1;
                for number in 0..WRITES_EACH {
                    let key = step(&mut state) % KEYS;
                    let request = match number % 5 {
                        0 => format!("DEL k{key}\r\n"),
                        _ => format!("SET k{key} {writer}:{number}\r\n"),
                    };
                    connection.receive(&mut worker, request.as_bytes());
                    take(&mut worker, &mut connection);
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        for reader in 0..READERS {
            let (server, done) = (Arc::clone(&server), &done);
            scope.spawn(move || {
                let mut worker = Worker::new(server);
                let (mut connection, mut plain) = (connect(&worker), connect(&worker));
                connection.receive(&mut worker, b"HELLO 3\r\nCLIENT TRACKING on\r\n");
                take(&mut worker, &mut connection);
                let (mut cache, mut state) = (Cache::default(), reader as u64 + 100);
                let mut over = false;
                while !over {
                    over = done.load(Ordering::SeqCst) == WRITERS;
                    let key = step(&mut state) % KEYS;
                    let asked = cache.values[key].is_none().then_some(key);
                    if asked.is_some() {
                        connection.receive(&mut worker, format!("GET k{key}\r\n").as_bytes());
                    }
                    let output = take(&mut worker, &mut connection);
                    cache.follow(&output, asked);
                }
                cache.follow(&take(&mut worker, &mut connection), None);
                assert!(cache.invalidations > 10, "{}", cache.invalidations);
                for (key, value) in cache.values.iter().enumerate() {
                    let Some(value) = value else { continue };
                    plain.receive(&mut worker, format!("GET k{key}\r\n").as_bytes());
                    let now = take(&mut worker, &mut plain);
                    let now =
                        if now.starts_with("$-1") { "" } else { now.split("\r\n").nth(1).expect("a value") };
                    assert_eq!(value, now, "k{key} is stale");
                }
            });
        }
    });
}
