//! Random schedules of threads that execute commands, as event loops do, without sockets: clients that wait beside others who push, caches of
//! clients beside those who write. `just shuttle`; nothing here without `--cfg shuttle`.
#![cfg(shuttle)]

use sessile::{Options, StorageTuning};
use sessile_server::client::{Client, Origin};
use sessile_server::config::Config;
use sessile_server::connection::Connection;
use sessile_server::log::LogControl;
use sessile_server::server::Server;
use sessile_server::worker::Worker;
use sessile_wal::Fs;
use sessile_wal::sim::{SimClock, SimFs};
use sessile_wal::sync::rand::{Rng, thread_rng};
use sessile_wal::sync::{explore, thread};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const DIR: &str = "/data/db";

/// A number that belongs to the schedule: a replay draws the same one.
fn number(below: usize) -> usize {
    thread_rng().gen_range(0..below)
}

fn server() -> Arc<Server> {
    server_at(&SimClock::new(1_700_000_000_000))
}

fn server_at(clock: &SimClock) -> Arc<Server> {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new(DIR)).expect("made");
    let tuning = StorageTuning { shards: Some(2), ..StorageTuning::default() };
    let db = Options::new()
        .file_system(Arc::new(fs))
        .clock(Arc::new(clock.clone()))
        .manual_background()
        .log_file_bytes_max(64 << 10)
        .storage_tuning(tuning)
        .open(DIR)
        .expect("opens");
    Server::new(db, Config::default(), None, LogControl::default())
}

fn connect(worker: &Worker) -> Connection {
    let card = worker.server.clients.join(Origin::none(), worker.now_ms);
    Connection::new(Client::new(card, &worker.server.acl))
}

fn ask(worker: &mut Worker, connection: &mut Connection, request: &str) {
    connection.receive(worker, format!("{request}\r\n").as_bytes());
}

/// What comes out, what was not asked for and all, in order.
fn take(worker: &mut Worker, connection: &mut Connection) -> String {
    worker.server.db.push_log().expect("the log takes writes");
    connection.take_pushes(worker);
    connection.settle(worker.server.db.acknowledged());
    let output = String::from_utf8_lossy(connection.output()).into_owned();
    connection.sent(worker, output.len());
    output
}

/// How often a waiter is looked at before it counts as forgotten, once nothing else goes on.
const LOOKS_MAX: usize = 1000;

/// The moment between a vain attempt and the wait: whoever waits for an element that comes gets it, and nobody else.
#[test]
fn schedules_of_waiters_beside_pushers() {
    const PUSHERS: usize = 2;
    const EACH: usize = 3;
    explore("waiters beside pushers", 300, || {
        let server = server();
        let taken = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for pusher in 0..PUSHERS {
            let server = Arc::clone(&server);
            threads.push(thread::spawn(move || {
                let mut worker = Worker::new(server);
                let mut connection = connect(&worker);
                for element in 0..EACH {
                    let (key, value) = (number(2), 1 + pusher * EACH + element);
                    match number(3) {
                        0 => ask(&mut worker, &mut connection, &format!("RPUSH k{key} {value}")),
                        1 => ask(&mut worker, &mut connection, &format!("LPUSH k{key} {value}")),
                        _ => {
                            ask(&mut worker, &mut connection, &format!("RPUSH own{pusher} {value}"));
                            ask(
                                &mut worker,
                                &mut connection,
                                &format!("LMOVE own{pusher} k{key} LEFT RIGHT"),
                            );
                        }
                    }
                    let reply = take(&mut worker, &mut connection);
                    assert!(!reply.contains('-'), "{reply}");
                }
                Vec::new()
            }));
        }
        for _ in 0..2 {
            let (server, taken) = (Arc::clone(&server), Arc::clone(&taken));
            threads.push(thread::spawn(move || {
                let mut worker = Worker::new(server);
                let mut connections = [connect(&worker), connect(&worker)];
                let mut got = Vec::new();
                let mut looks = 0;
                while taken.load(SeqCst) < PUSHERS * EACH {
                    for connection in &mut connections {
                        if connection.can_resume(&worker) {
                            connection.resume(&mut worker);
                        } else if !connection.is_waiting() && taken.load(SeqCst) < PUSHERS * EACH {
                            let request =
                                ["BLPOP k0 k1 0", "BRPOP k1 k0 0", "BLMPOP 0 2 k0 k1 LEFT"][number(3)];
                            ask(&mut worker, connection, request);
                        }
                        let reply = take(&mut worker, connection);
                        if let Some(last) =
                            reply.trim_end().rsplit("\r\n").next().filter(|last| !last.is_empty())
                        {
                            got.push(last.parse::<usize>().unwrap_or_else(|_| panic!("{reply:?}")));
                            taken.fetch_add(1, SeqCst);
                            looks = 0;
                        }
                    }
                    looks += 1;
                    assert!(looks < LOOKS_MAX, "an element is there and who waits for it does not get it");
                    thread::yield_now();
                }
                got
            }));
        }
        let mut got: Vec<usize> =
            threads.into_iter().flat_map(|thread| thread.join().expect("does not panic")).collect();
        got.sort_unstable();
        assert!(got.iter().copied().eq(1..=PUSHERS * EACH), "each element goes to one: {got:?}");
    });
}

/// Who reads an old value is told behind it, whatever comes in between: at the end nobody keeps one.
#[test]
fn schedules_of_caches_beside_writers() {
    const KEYS: usize = 2;
    explore("caches beside writers", 300, || {
        let server = server();
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let server = Arc::clone(&server);
                thread::spawn(move || {
                    let mut worker = Worker::new(server);
                    let mut connection = connect(&worker);
                    for version in 0..3 {
                        let key = number(KEYS);
                        let request = match number(3) {
                            0 => format!("DEL k{key}"),
                            _ => format!("SET k{key} {writer}.{version}"),
                        };
                        ask(&mut worker, &mut connection, &request);
                        take(&mut worker, &mut connection);
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let server = Arc::clone(&server);
                thread::spawn(move || {
                    let mut worker = Worker::new(server);
                    let mut connection = connect(&worker);
                    ask(&mut worker, &mut connection, "HELLO 3");
                    ask(&mut worker, &mut connection, "CLIENT TRACKING on");
                    take(&mut worker, &mut connection);
                    let mut cache: [Option<String>; KEYS] = Default::default();
                    for _ in 0..4 {
                        let key = number(KEYS);
                        let asked = cache[key].is_none().then_some(key);
                        if asked.is_some() {
                            ask(&mut worker, &mut connection, &format!("GET k{key}"));
                        }
                        follow(&mut cache, &take(&mut worker, &mut connection), asked);
                    }
                    (worker, connection, cache)
                })
            })
            .collect();
        writers.into_iter().for_each(|thread| thread.join().expect("does not panic"));
        for reader in readers {
            let (mut worker, mut connection, mut cache) = reader.join().expect("does not panic");
            follow(&mut cache, &take(&mut worker, &mut connection), None);
            let mut plain = connect(&worker);
            ask(&mut worker, &mut plain, "HELLO 3");
            take(&mut worker, &mut plain);
            for (key, kept) in cache.iter().enumerate() {
                let Some(kept) = kept else { continue };
                ask(&mut worker, &mut plain, &format!("GET k{key}"));
                let now = take(&mut worker, &mut plain);
                assert_eq!(*kept, now, "k{key} is kept by who was not told that it has changed");
            }
        }
    });
}

/// Follows what came, which holds at most one reply: to a `GET` of `asked`.
fn follow(cache: &mut [Option<String>], mut output: &str, asked: Option<usize>) {
    const TOLD: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\nk";
    while !output.is_empty() {
        if let Some(rest) = output.strip_prefix(TOLD) {
            cache[rest[..1].parse::<usize>().expect("a key")] = None;
            output = &rest[3..];
            continue;
        }
        // To the next line that begins what was not asked for, or the end.
        let end = output[1..].find(TOLD).map_or(output.len(), |at| at + 1);
        cache[asked.expect("nothing was asked for")] = Some(output[..end].to_owned());
        output = &output[end..];
    }
}

/// Transactions of clients: what was watched and has changed is not executed; what is executed is counted once.
#[test]
fn schedules_of_watched_transactions() {
    const CLIENTS: usize = 3;
    const EACH: usize = 2;
    explore("watched transactions", 300, || {
        let server = server();
        let threads: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let server = Arc::clone(&server);
                thread::spawn(move || {
                    let mut worker = Worker::new(server);
                    let mut connection = connect(&worker);
                    let mut done = 0;
                    while done < EACH {
                        ask(&mut worker, &mut connection, "WATCH count");
                        ask(&mut worker, &mut connection, "GET count");
                        let reply = take(&mut worker, &mut connection);
                        let count = reply
                            .trim_end()
                            .rsplit("\r\n")
                            .next()
                            .and_then(|text| text.parse::<usize>().ok());
                        let next = count.unwrap_or(0) + 1;
                        ask(&mut worker, &mut connection, "MULTI");
                        ask(&mut worker, &mut connection, &format!("SET count {next}"));
                        ask(&mut worker, &mut connection, "EXEC");
                        done += usize::from(take(&mut worker, &mut connection).ends_with("*1\r\n+OK\r\n"));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("does not panic"));
        let mut worker = Worker::new(server);
        let mut connection = connect(&worker);
        ask(&mut worker, &mut connection, "GET count");
        assert_eq!(take(&mut worker, &mut connection), format!("$1\r\n{}\r\n", CLIENTS * EACH));
    });
}

/// Clients begin and end to track, all at the same time: who still does in the end is told of a key that dies. (One that ended looked
/// whether anybody tracks, another began, and the first switched the telling off.)
#[test]
fn schedules_of_tracking_switched_on_and_off() {
    explore("tracking switched on and off", 2000, || {
        let clock = SimClock::new(1_700_000_000_000);
        let server = server_at(&clock);
        let switchers: Vec<_> = (0..1)
            .map(|_| {
                let server = Arc::clone(&server);
                thread::spawn(move || {
                    let mut worker = Worker::new(server);
                    let mut connection = connect(&worker);
                    ask(&mut worker, &mut connection, "HELLO 3");
                    ask(&mut worker, &mut connection, "CLIENT TRACKING on");
                    ask(&mut worker, &mut connection, "CLIENT TRACKING off");
                    connection.leave(&worker.server);
                })
            })
            .collect();
        let mut worker = Worker::new(Arc::clone(&server));
        let mut connection = connect(&worker);
        ask(&mut worker, &mut connection, "HELLO 3");
        ask(&mut worker, &mut connection, "CLIENT TRACKING on");
        ask(&mut worker, &mut connection, "SET k0 v PX 100");
        ask(&mut worker, &mut connection, "GET k0");
        take(&mut worker, &mut connection);
        switchers.into_iter().for_each(|thread| thread.join().expect("does not panic"));
        for _ in 0..20 {
            clock.advance_ms(20);
            server.db.step().expect("steps");
        }
        let told = take(&mut worker, &mut connection);
        assert!(told.contains("invalidate"), "a key that was read has died, and its reader hears {told:?}");
    });
}
