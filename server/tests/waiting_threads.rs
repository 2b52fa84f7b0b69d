//! Clients that wait, on many threads at once: every element goes to exactly one of them, and nobody waits while there is one for him.
//!
//! The connections are driven without sockets, each thread with a worker of its own, as event loops do.
#![expect(clippy::disallowed_methods, reason = "threads that really wait")]

use sessile::Options;
use sessile_server::client::{Client, Origin};
use sessile_server::config::Config;
use sessile_server::connection::Connection;
use sessile_server::log::LogControl;
use sessile_server::server::Server;
use sessile_server::worker::Worker;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PRODUCERS: usize = 3;
const CONSUMERS: usize = 3;
const CONNECTIONS_EACH: usize = 8;
const ELEMENTS_EACH: usize = 6_000;
const KEYS: usize = 4;

fn server() -> (Arc<Server>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Options::new().open(dir.path()).expect("a database");
    (Server::new(db, Config::default(), None, LogControl::default()), dir)
}

fn connect(worker: &Worker) -> Connection {
    let card = worker.server.clients.join(Origin::none(), worker.now_ms);
    Connection::new(Client::new(card, &worker.server.acl))
}

fn take(worker: &mut Worker, connection: &mut Connection) -> String {
    worker.server.db.push_log().expect("the log takes writes");
    connection.settle(worker.server.db.acknowledged());
    let output = String::from_utf8_lossy(connection.output()).into_owned();
    connection.sent(worker, output.len());
    output
}

/// Numbers that look random enough; the same ones each time.
fn step(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

/// The element in a reply: its last bulk string.
fn element(reply: &str) -> Option<usize> {
    reply.trim_end().rsplit("\r\n").next()?.parse().ok()
}

#[test]
fn every_element_goes_to_one_who_waits() {
    let (server, _dir) = server();
    let total = PRODUCERS * ELEMENTS_EACH;
    let taken = AtomicUsize::new(0);
    let received: Vec<usize> = std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let server = Arc::clone(&server);
            let taken = &taken;
            scope.spawn(move || {
                let mut worker = Worker::new(server);
                let mut connection = connect(&worker);
                let mut state = producer as u64 + 1;
                for number in 0..ELEMENTS_EACH {
                    let (value, key) = (producer * ELEMENTS_EACH + number, step(&mut state) % KEYS);
                    let request = match number % 3 {
                        0 => format!("RPUSH k{key} {value}\r\n"),
                        1 => format!("LPUSH k{key} {value}\r\n"),
                        // The element comes by another way.
                        _ => format!(
                            "RPUSH own{producer} {value}\r\nLMOVE own{producer} k{key} LEFT RIGHT\r\n"
                        ),
                    };
                    connection.receive(&mut worker, request.as_bytes());
                    let reply = take(&mut worker, &mut connection);
                    assert!(!reply.contains('-'), "{reply}");
                    // Mostly there is somebody who waits, sometimes a heap of elements.
                    while number > taken.load(Ordering::Relaxed) / PRODUCERS + 50 {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let consumers: Vec<_> = (0..CONSUMERS)
            .map(|consumer| {
                let server = Arc::clone(&server);
                let taken = &taken;
                scope.spawn(move || consume(server, consumer, taken, total))
            })
            .collect();
        consumers.into_iter().flat_map(|thread| thread.join().expect("a consumer")).collect()
    });
    assert_eq!(received.len(), total);
    assert_eq!(received.iter().collect::<HashSet<_>>().len(), total, "each once");
    assert_eq!(server.blocked.count(), 0);
    assert!(!server.blocked.any_for_elements());
    let mut worker = Worker::new(server);
    let mut connection = connect(&worker);
    connection.receive(&mut worker, b"DBSIZE\r\n");
    assert_eq!(take(&mut worker, &mut connection), ":0\r\n");
}

/// Has several connections wait, in all ways there are; what they got, until all was taken by somebody.
fn consume(server: Arc<Server>, consumer: usize, taken: &AtomicUsize, total: usize) -> Vec<usize> {
    let mut worker = Worker::new(server);
    let mut connections: Vec<Connection> = (0..CONNECTIONS_EACH).map(|_| connect(&worker)).collect();
    let mut state = 1000 + consumer as u64;
    let mut got = Vec::new();
    let mut last_progress = (Instant::now(), 0);
    // Elements that were moved on and are still to be taken.
    while taken.load(Ordering::SeqCst) < total {
        for (number, connection) in connections.iter_mut().enumerate() {
            if connection.is_waiting() {
                connection.look_at_time(worker.server.db.now_ms());
            } else if connection.can_resume(&worker) {
                connection.resume(&mut worker);
            } else if !connection.has_output() {
                let (key, other) = (step(&mut state) % KEYS, step(&mut state) % KEYS);
                let request = match (number, step(&mut state) % 4) {
                    // One of them only passes on.
                    (0, _) => format!("BLMOVE k{key} k{other} LEFT RIGHT 0.02\r\n"),
                    (_, 0) => format!("BLPOP k{key} 0.01\r\n"),
                    (_, 1) => format!("BRPOP k{key} k{other} 0.05\r\n"),
                    (_, 2) => format!("BLMPOP 0.1 2 k{key} k{other} LEFT\r\n"),
                    _ => format!(
                        "BLPOP k0 k1 k2 k3 {}\r\n",
                        f64::from(step(&mut state) as u32 % 30 + 1) / 1000.0
                    ),
                };
                connection.receive(&mut worker, request.as_bytes());
            }
            let reply = take(&mut worker, connection);
            assert!(!reply.starts_with('-'), "{reply}");
            if number > 0
                && let Some(element) = element(&reply)
                && !reply.starts_with("*-1")
            {
                got.push(element);
                taken.fetch_add(1, Ordering::SeqCst);
            }
        }
        let now_taken = taken.load(Ordering::SeqCst);
        if now_taken != last_progress.1 {
            last_progress = (Instant::now(), now_taken);
        }
        assert!(
            last_progress.0.elapsed() < Duration::from_secs(30),
            "elements are left and nobody gets them"
        );
    }
    got
}

#[test]
fn nobody_waits_for_an_element_that_is_there() {
    // The moment between a vain attempt and the wait, over and over: a consumer without a time limit, and one push.
    let (server, _dir) = server();
    let rounds = 10_000;
    let (pushed, popped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (producer, consumer) = (Arc::clone(&server), Arc::clone(&server));
        let (pushed, popped) = (&pushed, &popped);
        scope.spawn(move || {
            let mut worker = Worker::new(producer);
            let mut connection = connect(&worker);
            for round in 1..=rounds {
                pushed.store(round, Ordering::SeqCst);
                connection.receive(&mut worker, b"RPUSH k x\r\n");
                assert_eq!(take(&mut worker, &mut connection), ":1\r\n", "round {round}");
                while popped.load(Ordering::SeqCst) < round {
                    std::thread::yield_now();
                }
            }
        });
        scope.spawn(move || {
            let mut worker = Worker::new(consumer);
            let mut connection = connect(&worker);
            for round in 1..=rounds {
                while pushed.load(Ordering::SeqCst) < round {
                    std::thread::yield_now();
                }
                connection.receive(&mut worker, b"BLPOP k 0\r\n");
                let begun = Instant::now();
                loop {
                    if connection.can_resume(&worker) {
                        connection.resume(&mut worker);
                    }
                    let reply = take(&mut worker, &mut connection);
                    if !reply.is_empty() {
                        assert_eq!(reply, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
                        break;
                    }
                    assert!(begun.elapsed() < Duration::from_secs(30), "round {round}: a lost wakeup");
                    std::thread::yield_now();
                }
                popped.store(round, Ordering::SeqCst);
            }
        });
    });
    assert_eq!(server.blocked.count(), 0);
}

#[test]
fn nobody_takes_what_another_waits_for() {
    // One waits for two keys, and another one moves on; a thief looks at the keys all the time and never finds anything.
    let (server, _dir) = server();
    let rounds = 3_000;
    let (round_is, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for key in ["a", "b", "c"] {
            let (server, over) = (Arc::clone(&server), &over);
            scope.spawn(move || {
                let mut worker = Worker::new(server);
                let mut connection = connect(&worker);
                while over.load(Ordering::SeqCst) == 0 {
                    connection.receive(&mut worker, format!("LPOP {key}\r\n").as_bytes());
                    assert_eq!(take(&mut worker, &mut connection), "$-1\r\n", "stolen from {key}");
                    std::hint::spin_loop();
                }
            });
        }
        let (server, round_is, over) = (Arc::clone(&server), &round_is, &over);
        scope.spawn(move || {
            let mut worker = Worker::new(server);
            let mut pusher = connect(&worker);
            for round in 0..rounds {
                round_is.store(round, Ordering::SeqCst);
                let (mut last, mut first) = (connect(&worker), connect(&worker));
                last.receive(&mut worker, b"BLPOP other b c 0\r\n");
                first.receive(&mut worker, b"BLMOVE a b LEFT RIGHT 0\r\n");
                assert!(first.is_blocked() && last.is_blocked());
                pusher.receive(&mut worker, b"RPUSH a x\r\n");
                assert_eq!(take(&mut worker, &mut pusher), ":1\r\n");
                first.resume(&mut worker);
                last.resume(&mut worker);
                let replies = (take(&mut worker, &mut first), take(&mut worker, &mut last));
                if replies != ("$1\r\nx\r\n".into(), "*2\r\n$1\r\nb\r\n$1\r\nx\r\n".into()) {
                    over.store(1, Ordering::SeqCst);
                    panic!("round {round}: {replies:?}");
                }
            }
            over.store(1, Ordering::SeqCst);
        });
    });
    assert_eq!(round_is.load(Ordering::SeqCst), rounds - 1);
}
