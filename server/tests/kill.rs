//! `kill -9` at random moments, also during recovery, under a load of several connections: whatever a reply
//! acknowledged is there after a restart, exactly; what was deleted or has expired is not; what was in flight
//! happened as a prefix, in order. And SIGTERM and SIGINT, which may lose nothing either.
//!
//! `SESSILE_KILL_ROUNDS` kills per durability level (default 6), `SESSILE_SEED` replays the same choices (not the
//! same instants: those are the machine's), `SESSILE_BIN` tries another server.
#![expect(clippy::disallowed_methods, reason = "real processes die at real moments")]

#[path = "kill/load.rs"]
mod load;
#[path = "kill/model.rs"]
mod model;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use load::Session;
use model::{Content, Deadline, Entry, Model, Operation, Span};
use rustix::process::Signal;
use support::{Client, Random, Server, ServerOptions, Value, random};

const CONNECTIONS: u64 = 6;

/// How a round ends the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    Term,
    Interrupt,
    Shutdown,
}

/// Tells the connections to stop, also when the round fails.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A server and the connections that hold it to its word.
struct Campaign {
    server: Server,
    /// Whether one more connection has checkpoints made all the time.
    checkpoints: bool,
    sessions: Vec<Session>,
    random: Random,
}

impl Campaign {
    fn start(options: ServerOptions, seed: u64) -> Campaign {
        Campaign {
            server: Server::start(options),
            checkpoints: false,
            sessions: (0..CONNECTIONS).map(|number| Session::new(number, seed)).collect(),
            random: Random::new(seed),
        }
    }

    /// Runs the connections, ends the server at some moment between, and leaves it down.
    fn load_until_end(&mut self, end: End) {
        let stop = AtomicBool::new(false);
        let port = self.server.port();
        std::thread::scope(|scope| {
            for session in &mut self.sessions {
                let stop = &stop;
                scope.spawn(move || session.work(port, stop));
            }
            if self.checkpoints {
                let (mut random, stop) = (Random::new(self.random.next()), &stop);
                scope.spawn(move || make_checkpoints(port, &mut random, stop));
            }
            // Also when a check below fails: the connections must not work on.
            let guard = StopWhenDropped(&stop);
            std::thread::sleep(Duration::from_micros(self.random.within(5_000..400_000)));
            match end {
                End::Kill => self.server.kill(),
                End::Term | End::Interrupt => {
                    let signal = if end == End::Term { Signal::TERM } else { Signal::INT };
                    let status = self.server.stop(signal);
                    assert!(status.success(), "the server ended with {status} after {signal:?}");
                }
                End::Shutdown => {
                    let mut client = self.server.client();
                    let answer = client.call(&["SHUTDOWN"]);
                    assert!(answer.is_err(), "SHUTDOWN answered {answer:?}");
                    let status = self.server.wait();
                    assert!(status.success(), "the server ended with {status} after SHUTDOWN");
                }
            }
            drop(guard);
        });
    }

    /// Starts the server, now and then killing it while it recovers.
    fn recover(&mut self) {
        while self.random.chance(35) {
            self.server.spawn();
            std::thread::sleep(Duration::from_micros(self.random.within(0..30_000)));
            self.server.kill();
        }
        self.server.restart();
    }

    /// Compares every connection's promise with what the server holds.
    fn compare(&mut self) -> Result<(), String> {
        let mut client = self.server.client();
        // Keys that die while they are being compared would count as unknown; those are the ones with a deadline.
        let scanned: BTreeSet<Vec<u8>> = load::scan_all(&mut client).into_iter().collect();
        let mut failures: Vec<String> =
            self.sessions.iter_mut().filter_map(|session| session.compare(&mut client).err()).collect();
        let known = |key: &Vec<u8>| {
            String::from_utf8_lossy(key).split_once(':').is_some_and(|(owner, name)| {
                name.starts_with('s')
                    || self.sessions.iter().any(|session| {
                        owner == format!("c{}", session.number) && session.model.entries.contains_key(key)
                    })
            })
        };
        if failures.is_empty() {
            failures.extend(
                scanned
                    .iter()
                    .filter(|key| !known(key))
                    .map(|key| format!("SCAN returned {}, which nobody owns", String::from_utf8_lossy(key))),
            );
            let live = self.sessions.iter().flat_map(|session| session.model.entries.iter());
            failures.extend(
                live.filter(|(key, _)| !scanned.contains(*key))
                    .map(|(key, _)| format!("SCAN did not return {}", String::from_utf8_lossy(key))),
            );
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
    }

    fn acknowledged(&self) -> u64 {
        self.sessions.iter().map(|session| session.acknowledged).sum()
    }
}

/// Asks for one checkpoint after the other until the server is gone.
fn make_checkpoints(port: u16, random: &mut Random, stop: &AtomicBool) {
    let Ok(mut client) = Client::connect(port) else { return };
    while !stop.load(Ordering::Relaxed) {
        let command = *random.pick(&["SAVE", "SAVE", "BGSAVE", "BGREWRITEAOF"]);
        match client.call(&[command]) {
            Ok(answer) => assert!(
                !matches!(&answer, Value::Error(text) if !text.contains("already in progress")),
                "{command}: {answer:?}"
            ),
            Err(_) => return,
        }
        std::thread::sleep(Duration::from_micros(random.within(0..20_000)));
    }
}

fn campaign(name: &str, appendfsync: &str, end: impl Fn(&mut Random) -> End, rounds: u64) {
    campaign_with(name, ServerOptions::new(appendfsync), false, end, rounds);
}

fn campaign_with(
    name: &str,
    options: ServerOptions,
    checkpoints: bool,
    end: impl Fn(&mut Random) -> End,
    rounds: u64,
) {
    let seed = random::seed(name);
    let mut campaign = Campaign::start(options, seed);
    campaign.checkpoints = checkpoints;
    for round in 0..rounds {
        let end = end(&mut campaign.random);
        campaign.load_until_end(end);
        campaign.recover();
        if let Err(failure) = campaign.compare() {
            panic!("{name}, SESSILE_SEED={seed}, round {round}, {end:?}:\n{failure}");
        }
    }
    // A campaign in which nothing was promised proves nothing.
    assert!(
        campaign.acknowledged() > 50 * rounds,
        "only {} commands were acknowledged",
        campaign.acknowledged()
    );
    println!("{name}: {rounds} rounds, {} acknowledged commands", campaign.acknowledged());
}

fn rounds() -> u64 {
    random::count("SESSILE_KILL_ROUNDS", 6)
}

#[test]
fn killed_in_always_keeps_its_word() {
    campaign("killed_in_always_keeps_its_word", "always", |_| End::Kill, rounds());
}

#[test]
fn killed_in_everysec_keeps_its_word() {
    campaign("killed_in_everysec_keeps_its_word", "everysec", |_| End::Kill, rounds());
}

#[test]
fn killed_in_no_keeps_its_word() {
    campaign("killed_in_no_keeps_its_word", "no", |_| End::Kill, rounds());
}

/// Checkpoints one after the other, and no memory for values: what is compared after each kill has been read from segments for the most part.
#[test]
fn killed_in_the_midst_of_checkpoints_keeps_its_word() {
    for appendfsync in ["always", "everysec"] {
        let options = ServerOptions::new(appendfsync).with("maxmemory", "1mb");
        let name = "killed_in_the_midst_of_checkpoints_keeps_its_word";
        campaign_with(name, options, true, |_| End::Kill, rounds());
    }
}

#[test]
fn terminated_in_the_midst_of_checkpoints_loses_nothing() {
    let options = ServerOptions::new("everysec").with("maxmemory", "1mb");
    let end = |random: &mut Random| *random.pick(&[End::Term, End::Shutdown, End::Kill]);
    campaign_with("terminated_in_the_midst_of_checkpoints_loses_nothing", options, true, end, rounds());
}

#[test]
fn terminated_in_any_mode_loses_nothing() {
    for appendfsync in ["always", "everysec", "no"] {
        let end = |random: &mut Random| *random.pick(&[End::Term, End::Interrupt, End::Shutdown]);
        campaign("terminated_in_any_mode_loses_nothing", appendfsync, end, rounds().div_ceil(2));
    }
}

#[test]
fn everything_expired_while_the_server_was_down_stays_dead() {
    let mut server = Server::start(ServerOptions::new("always"));
    let mut client = server.client();
    for number in 0..200 {
        assert_eq!(client.command(&format!("SET short:{number} value PX {}", 20 + number)), Value::ok());
        assert_eq!(client.command(&format!("SET long:{number} value EX 10000")), Value::ok());
    }
    server.kill();
    std::thread::sleep(Duration::from_millis(300));
    server.restart();
    let mut client = server.client();
    for number in 0..200 {
        assert_eq!(
            client.command(&format!("GET short:{number}")),
            Value::Null,
            "key {number} rose from the dead"
        );
        assert_eq!(client.command(&format!("GET long:{number}")), Value::bulk("value"));
    }
}

#[test]
fn what_was_flushed_stays_flushed() {
    let mut server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    for round in 0..10 {
        for database in [0, 3] {
            assert_eq!(client.command(&format!("SELECT {database}")), Value::ok());
            for number in 0..200 {
                assert_eq!(client.command(&format!("SET key:{number} {round}")), Value::ok());
            }
        }
        // The last one selected is 3.
        let (flush, kept) = if round % 2 == 0 { ("FLUSHDB", 200) } else { ("FLUSHALL", 0) };
        assert_eq!(client.command(flush), Value::ok());
        assert_eq!(client.command("SET after the-flush"), Value::ok());
        server.kill();
        server.restart();
        client = server.client();
        assert_eq!(client.command("DBSIZE"), Value::Integer(kept), "after {flush} in database 3");
        assert_eq!(client.command("SELECT 3"), Value::ok());
        assert_eq!(client.command("DBSIZE"), Value::Integer(1));
        assert_eq!(client.command("GET after"), Value::bulk("the-flush"));
    }
}

/// The harness itself must notice a server that forgets everything.
#[test]
fn a_wiped_directory_is_noticed() {
    let seed = random::seed("a_wiped_directory_is_noticed");
    let mut campaign = Campaign::start(ServerOptions::new("everysec"), seed);
    campaign.load_until_end(End::Kill);
    let directory = campaign.server.directory();
    fs::remove_dir_all(&directory).expect("wipe the directory");
    fs::create_dir(&directory).expect("an empty directory");
    campaign.server.restart();
    let failure = campaign.compare().expect_err("the harness must notice that everything is gone");
    assert!(failure.contains("is lost"), "{failure}");
}

/// The harness itself must notice a server that falls back to an older state, as one would that forgot its tail.
#[test]
fn an_older_copy_of_the_directory_is_noticed() {
    let seed = random::seed("an_older_copy_of_the_directory_is_noticed");
    let mut campaign = Campaign::start(ServerOptions::new("everysec"), seed);
    campaign.load_until_end(End::Kill);
    let (directory, copy) = (campaign.server.directory(), campaign.server.scratch("older"));
    copy_all(&directory, &copy);
    campaign.recover();
    campaign.compare().expect("nothing was tampered with yet");
    campaign.load_until_end(End::Kill);
    fs::remove_dir_all(&directory).expect("remove the directory");
    fs::rename(&copy, &directory).expect("put the older copy back");
    campaign.server.restart();
    campaign.compare().expect_err("the harness must notice that the last commands are gone");
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).expect("create the copy");
    for entry in fs::read_dir(from).expect("list the directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy a file");
        }
    }
}

/// The comparison itself, on each kind of damage it exists to find.
#[test]
fn the_comparison_finds_each_kind_of_damage() {
    let text = |value: &str, deadline: Option<u64>| Entry {
        content: Content::Text(value.as_bytes().to_vec()),
        deadline: deadline.map(Deadline::exactly),
    };
    let model = |entries: &[(&str, Entry)]| Model {
        entries: entries.iter().map(|(key, entry)| (key.as_bytes().to_vec(), entry.clone())).collect(),
    };
    let now = Span { sent_ms: 1_000_000, received_ms: 1_000_010 };
    let promised = model(&[("a", text("one", None)), ("b", text("two", Some(2_000_000)))]);
    let found = |observed: &Model| promised.differences(observed, now).join("; ");
    assert_eq!(found(&promised), "");
    assert!(found(&model(&[("b", text("two", Some(2_000_000)))])).contains("a is lost"));
    assert!(found(&model(&[("a", text("on", None)), ("b", text("two", Some(2_000_000)))])).contains("where"));
    assert!(found(&model(&[("a", text("one", None)), ("b", text("two", None))])).contains("dies at"));
    assert!(
        found(&model(&[("a", text("one", None)), ("b", text("two", Some(2_000_001)))])).contains("dies at")
    );
    let mut risen = promised.clone();
    risen.entries.insert(b"c".to_vec(), text("three", None));
    assert!(found(&risen).contains("c has risen"));
    let late = Span { sent_ms: 3_000_000, received_ms: 3_000_010 };
    assert!(promised.differences(&promised, late).join("; ").contains("served after its deadline"));
    let expired = model(&[("a", text("one", None))]);
    assert_eq!(promised.differences(&expired, late), Vec::<String>::new());
}

/// A reply that contradicts what was acknowledged before is a violation at once, not only after a crash.
#[test]
fn a_contradicting_reply_is_a_violation() {
    let span = Span { sent_ms: 1_000_000, received_ms: 1_000_001 };
    let mut model = Model::default();
    let set = Operation::Set { key: b"k".to_vec(), value: b"v".to_vec(), seconds: Some(1000) };
    model.acknowledge(&set, span, &Value::ok()).expect("an OK is right");
    let get = Operation::Get { key: b"k".to_vec() };
    model.acknowledge(&get, span, &Value::Null).expect_err("the key is not due for 1000 s");
    model.acknowledge(&get, span, &Value::bulk("w")).expect_err("another value");
    model.acknowledge(&get, span, &Value::bulk("v")).expect("its value");
    let late = Span { sent_ms: 3_000_000, received_ms: 3_000_001 };
    model.acknowledge(&get, late, &Value::bulk("v")).expect_err("long after its deadline");
}
