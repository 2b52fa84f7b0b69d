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
use std::sync::{Arc, Barrier};

const WRITERS: usize = 2;
const READERS: usize = 2;
const ROUNDS: usize = 10_000;
const WRITES_A_ROUND: usize = 10;
const READS_A_ROUND: usize = 20;
const KEYS: usize = 3;

fn connect(worker: &Worker) -> Connection {
    let card = worker.server.clients.join(Origin::none(), worker.now_ms);
    Connection::new(Client::new(card, &worker.server.acl))
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

/// In rounds, so that what is kept can be compared with what is there, over and over.
#[test]
fn nobody_keeps_an_old_value() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Options::new().open(dir.path()).expect("a database");
    let server = Server::new(db, Config::default(), None, LogControl::default());
    let barrier = Barrier::new(WRITERS + READERS);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (server, barrier) = (Arc::clone(&server), &barrier);
            scope.spawn(move || {
                let mut worker = Worker::new(server);
                let mut connection = connect(&worker);
                let mut state = writer as u64 + 1;
                for round in 0..ROUNDS {
                    barrier.wait();
                    for number in 0..WRITES_A_ROUND {
                        let key = step(&mut state) % KEYS;
                        let request = match number % 5 {
                            0 => format!("DEL k{key}\r\n"),
                            _ => format!("SET k{key} {writer}:{round}:{number}\r\n"),
                        };
                        connection.receive(&mut worker, request.as_bytes());
                        take(&mut worker, &mut connection);
                    }
                    barrier.wait();
                    barrier.wait();
                }
            });
        }
        for reader in 0..READERS {
            let (server, barrier) = (Arc::clone(&server), &barrier);
            scope.spawn(move || {
                let mut worker = Worker::new(server);
                let (mut connection, mut plain) = (connect(&worker), connect(&worker));
                connection.receive(&mut worker, b"HELLO 3\r\nCLIENT TRACKING on\r\n");
                take(&mut worker, &mut connection);
                let (mut cache, mut state) = (Cache::default(), reader as u64 + 100);
                let mut stale = None;
                for round in 0..ROUNDS {
                    barrier.wait();
                    for _ in 0..READS_A_ROUND {
                        let key = step(&mut state) % KEYS;
                        let asked = cache.values[key].is_none().then_some(key);
                        if asked.is_some() {
                            connection.receive(&mut worker, format!("GET k{key}\r\n").as_bytes());
                        }
                        let output = take(&mut worker, &mut connection);
                        cache.follow(&output, asked);
                    }
                    barrier.wait();
                    cache.follow(&take(&mut worker, &mut connection), None);
                    for (key, value) in cache.values.iter().enumerate() {
                        let Some(value) = value else { continue };
                        plain.receive(&mut worker, format!("GET k{key}\r\n").as_bytes());
                        let now = take(&mut worker, &mut plain);
                        let now = if now.starts_with("$-1") {
                            ""
                        } else {
                            now.split("\r\n").nth(1).expect("a value")
                        };
                        if value != now && stale.is_none() {
                            // The others wait for this thread: it fails at the end.
                            stale = Some(format!("round {round}: k{key} is {now:?} and {value:?} is kept"));
                        }
                    }
                    barrier.wait();
                }
                assert_eq!(stale, None);
                assert!(cache.invalidations > ROUNDS / 10, "{}", cache.invalidations);
            });
        }
    });
}
