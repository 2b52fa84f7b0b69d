//! The embedded engine in a process that dies: this binary runs itself as a child, whose threads write through the typed API and say
//! on a pipe what was acknowledged; the child aborts, exits in the midst of it, or is killed by its parent, also while it recovers.
//! The parent opens the directory and compares: what was acknowledged is there, and of what was under way (one operation of each
//! thread) all or nothing.
//!
//! `SESSILE_CRASH_ROUNDS` deaths for each durability (default 8), `SESSILE_SEED` replays the same choices (not the same instants):
//! `SESSILE_SEED=7 SESSILE_CRASH_ROUNDS=100 cargo test -p sessile --test crash_process -- --nocapture`.
#![expect(clippy::disallowed_methods, reason = "real processes die on a real disk at real moments")]

#[path = "crash_process/work.rs"]
mod work;

use sessile::{Db, Durability, Error, Options, StorageTuning};
use sessile_wal::sim::Rng;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use work::{Contents, THREADS};

/// Where the child finds its orders: directory, durability, seed, how to die, and each thread's first operation.
const ORDERS: &str = "SESSILE_CRASH_CHILD";
/// Opening a directory that a dead process has just left.
const OPEN_TRIES: u32 = 2000;
/// The exit code of a child that exits in the midst of its work.
const EXIT_CODE: i32 = 7;

/// How a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Killed by its parent so many microseconds after its start: perhaps while it recovers.
    KilledAfterUs(u64),
    /// Killed by its parent once it has acknowledged so many operations.
    KilledAt(u64),
    /// By itself, with so many operations acknowledged: `abort`.
    Aborts(u64),
    /// `exit`, while the other threads go on.
    Exits(u64),
    /// The threads stop, and the database is closed.
    Closes(u64),
}

impl Death {
    fn draw(rng: &mut Rng) -> Death {
        let operations = 1 + rng.below(1500);
        match rng.below(10) {
            0..2 => Death::KilledAfterUs(rng.below(60_000)),
            2..5 => Death::KilledAt(operations),
            5..7 => Death::Aborts(operations),
            7..9 => Death::Exits(operations),
            _ => Death::Closes(operations),
        }
    }

    /// As the child is told: a word and a number.
    fn order(self) -> (&'static str, u64) {
        match self {
            Death::KilledAfterUs(_) | Death::KilledAt(_) => ("work", u64::MAX),
            Death::Aborts(after) => ("abort", after),
            Death::Exits(after) => ("exit", after),
            Death::Closes(after) => ("close", after),
        }
    }
}

fn durability(name: &str) -> Durability {
    match name {
        "always" => Durability::Always,
        "everysec" => Durability::EverySecond,
        _ => Durability::No,
    }
}

/// Small files and many checkpoints, so that a death finds all of them under way.
fn options(rng: &mut Rng, durability: Durability) -> Options {
    let mut pick = |choices: &[u64]| choices[rng.below(choices.len() as u64) as usize];
    let tuning = StorageTuning {
        shards: Some(8),
        segment_target_bytes: pick(&[20_000, 200_000]),
        small_segment_bytes: pick(&[0, 20_000]),
        small_segments: 3,
        dead_bytes_prompt: 50_000,
        compaction_soon_ms: 0,
        compaction_look_ms: 5,
        checkpoint_retry_ms: 1,
        reserve_bytes: 0,
        ..StorageTuning::default()
    };
    Options::new()
        .durability(durability)
        .log_file_bytes_max(pick(&[64 << 10, 1 << 20]))
        .memory_bytes_max(pick(&[1, 1 << 20, u64::MAX]))
        .checkpoint_log_bytes(pick(&[10_000, 200_000, 1 << 30]))
        .storage_tuning(tuning)
}

/// Opens what a dead process has left; its lock is gone once the system has buried it.
fn open(options: &Options, directory: &Path) -> Result<Db, Error> {
    for _ in 0..OPEN_TRIES {
        match options.clone().open(directory) {
            Err(Error::InUse { .. }) => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
    options.clone().open(directory)
}

/// Not a test by itself: the process that dies. It says on its standard output, a line each, which operation of which thread was
/// acknowledged.
#[test]
fn the_child_works_until_it_dies() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let words: Vec<&str> = orders.split('|').collect();
    let &[directory, level, seed, round, how, after, from] = words.as_slice() else {
        panic!("orders: {orders}")
    };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let (seed, after) = (number(seed), number(after));
    let mut rng = Rng::new(seed ^ number(round) << 32);
    let db = open(&options(&mut rng, durability(level)), Path::new(directory)).expect("opens");
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (thread, first) in from.split(',').map(number).enumerate() {
            let (db, acknowledged, thread) = (db.clone(), &acknowledged, thread as u64);
            scope.spawn(move || {
                for next in first.. {
                    work::apply(&db, seed, thread, next).expect("a sound disk");
                    // One write: the parent never sees half a line but the last.
                    let line = format!("\nacknowledged {thread} {}\n", next + 1);
                    std::io::stdout().write_all(line.as_bytes()).expect("the parent listens");
                    std::io::stdout().flush().expect("the parent listens");
                    if acknowledged.fetch_add(1, Ordering::SeqCst) + 1 >= after {
                        match how {
                            "abort" => std::process::abort(),
                            "exit" => std::process::exit(EXIT_CODE),
                            _ => return,
                        }
                    }
                }
            });
        }
    });
    db.close().expect("a sound disk");
}

/// What the parent knows of one thread: how many operations are done, and what they have made.
#[derive(Default)]
struct Known {
    done: u64,
    contents: Contents,
}

struct Drill {
    level: &'static str,
    seed: u64,
    rng: Rng,
    directory: tempfile::TempDir,
    known: Vec<Known>,
    acknowledged: u64,
}

impl Drill {
    fn new(level: &'static str, seed: u64) -> Drill {
        Drill {
            level,
            seed,
            rng: Rng::new(seed),
            directory: tempfile::tempdir().expect("a temporary directory"),
            known: (0..THREADS).map(|_| Known::default()).collect(),
            acknowledged: 0,
        }
    }

    fn start(&self, round: u64, death: Death) -> Child {
        let (how, after) = death.order();
        let from: Vec<String> = self.known.iter().map(|known| known.done.to_string()).collect();
        let directory = self.directory.path().join("data");
        let directory = directory.to_str().expect("a temporary path is text");
        let orders =
            format!("{directory}|{}|{}|{round}|{how}|{after}|{}", self.level, self.seed, from.join(","));
        Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "the_child_works_until_it_dies", "--nocapture", "--test-threads", "1"])
            .env(ORDERS, orders)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the child")
    }

    /// Lets a child live and die; how many operations of each thread it acknowledged.
    fn live_and_die(&self, round: u64, death: Death) -> Result<Vec<u64>, String> {
        let mut child = self.start(round, death);
        let mut acknowledged: Vec<u64> = self.known.iter().map(|known| known.done).collect();
        let mut errors = child.stderr.take().expect("is piped");
        let mut output = BufReader::new(child.stdout.take().expect("is piped"));
        if let Death::KilledAfterUs(after) = death {
            std::thread::sleep(Duration::from_micros(after));
            child.kill().expect("kill");
        }
        let mut count = 0;
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            // The last line may have been cut short.
            let whole = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
            let words: Vec<&str> = whole.unwrap_or_default().split(' ').collect();
            if let &["acknowledged", thread, number] = words.as_slice()
                && let (Ok(thread), Ok(number)) = (thread.parse::<usize>(), number.parse())
                && let Some(acknowledged) = acknowledged.get_mut(thread)
            {
                *acknowledged = number;
                count += 1;
                if death == Death::KilledAt(count) {
                    child.kill().expect("kill");
                }
            }
            line.clear();
        }
        let status = child.wait().expect("wait");
        let mut said = String::new();
        // Not text if it was cut short: it is for people.
        let _ = errors.read_to_string(&mut said);
        let as_ordered = match death {
            Death::KilledAfterUs(_) | Death::KilledAt(_) | Death::Aborts(_) => status.code().is_none(),
            Death::Exits(_) => status.code() == Some(EXIT_CODE),
            Death::Closes(_) => status.success(),
        };
        if as_ordered { Ok(acknowledged) } else { Err(format!("the child ended with {status}: {said}")) }
    }

    /// Compares what is there with what was acknowledged, and takes it over.
    fn compare(&mut self, acknowledged: &[u64]) -> Result<(), String> {
        let options = options(&mut self.rng, durability(self.level)).manual_background();
        let db = open(&options, &self.directory.path().join("data")).map_err(|error| error.to_string())?;
        let mut failures = Vec::new();
        for ((thread, known), &acknowledged) in (0..).zip(&mut self.known).zip(acknowledged) {
            self.acknowledged += acknowledged - known.done;
            let found = Contents::of(&db, thread).map_err(|error| error.to_string())?;
            for number in known.done..acknowledged {
                known.contents.apply(self.seed, thread, number);
            }
            known.done = acknowledged;
            if known.contents == found {
                continue;
            }
            let mut one_more = known.contents.clone();
            one_more.apply(self.seed, thread, acknowledged);
            if one_more == found {
                *known = Known { done: acknowledged + 1, contents: one_more };
                continue;
            }
            let differences = known.contents.differences(&found);
            failures
                .push(format!("thread {thread} after {acknowledged} operations: {}", differences.join(", ")));
        }
        // What lived for some milliseconds must not have come back; the child took longer to bury.
        std::thread::sleep(Duration::from_millis(25));
        for thread in 0..THREADS {
            if db.contains(format!("{thread}:brief").as_bytes()).map_err(|error| error.to_string())? {
                failures.push(format!("{thread}:brief is there after its deadline"));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
    }

    fn round(&mut self, round: u64) -> Result<(), String> {
        let death = Death::draw(&mut self.rng);
        let acknowledged = self.live_and_die(round, death);
        acknowledged.and_then(|acknowledged| self.compare(&acknowledged)).map_err(|failure| {
            format!("SESSILE_SEED={}, {}, round {round}, {death:?}: {failure}", self.seed, self.level)
        })
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be an unsigned integer, not {text:?}")))
}

fn seed() -> u64 {
    number("SESSILE_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64)
            % 1_000_000_007
    })
}

fn drill(level: &'static str) {
    let seed = seed();
    println!("{level}: SESSILE_SEED={seed}");
    let rounds = number("SESSILE_CRASH_ROUNDS").unwrap_or(8);
    let mut drill = Drill::new(level, seed);
    for round in 0..rounds {
        drill.round(round).unwrap_or_else(|failure| panic!("{failure}"));
    }
    println!(
        "| engine in a process that dies, {level} | {rounds} deaths | {} acknowledged | 0 violations |",
        drill.acknowledged
    );
    assert!(drill.acknowledged > 50 * rounds, "only {} operations were acknowledged", drill.acknowledged);
}

#[test]
fn a_process_that_dies_keeps_its_word_in_always() {
    drill("always");
}

#[test]
fn a_process_that_dies_keeps_its_word_in_everysec() {
    drill("everysec");
}

#[test]
fn a_process_that_dies_keeps_its_word_in_no() {
    drill("no");
}

/// The drill itself must notice a directory that has fallen back to an older state.
#[test]
fn an_older_copy_of_the_directory_is_noticed() {
    let mut drill = Drill::new("always", seed());
    let data = drill.directory.path().join("data");
    let older = drill.directory.path().join("older");
    let acknowledged = drill.live_and_die(0, Death::Aborts(300)).expect("a death");
    drill.compare(&acknowledged).expect("nothing was tampered with yet");
    std::fs::create_dir(&older).expect("a directory");
    for entry in std::fs::read_dir(&data).expect("the directory") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), older.join(entry.file_name())).expect("copy a file");
    }
    let acknowledged = drill.live_and_die(1, Death::Exits(300)).expect("a death");
    std::fs::remove_dir_all(&data).expect("remove the directory");
    std::fs::rename(&older, &data).expect("put the older copy in its place");
    let failure = drill.compare(&acknowledged).expect_err("the last operations are gone");
    assert!(failure.contains("after"), "{failure}");
}
