//! The workloads of an embedded session store, the same for Sessile and for the peers (`benches/peers`): reads, reads
//! that extend the deadline, new sessions, a 95/5 mix, and durable writes.
#![expect(clippy::disallowed_methods, reason = "measures real time on a real disk")]

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::disk::Disk;
use crate::sessions::{self, Random};
use crate::table::{Table, figure};

/// What any store may fail with.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How long a session lives; nothing dies while it is measured.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// A store of sessions.
pub trait Store: Sync {
    /// The bytes of the live value of `key`, counted so that reading can't be optimised away.
    ///
    /// # Errors
    ///
    /// Whatever the store fails with.
    fn get(&self, key: &[u8]) -> Result<Option<usize>, Failure>;

    /// Reads as [`get`](Self::get) does, and moves the deadline to [`LIFETIME`] from now.
    ///
    /// # Errors
    ///
    /// Whatever the store fails with.
    fn get_and_touch(&self, key: &[u8]) -> Result<Option<usize>, Failure>;

    /// Stores a session that lives for [`LIFETIME`].
    ///
    /// # Errors
    ///
    /// Whatever the store fails with.
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure>;

    /// Returns when all that was stored is on the disk.
    ///
    /// # Errors
    ///
    /// Whatever the store fails with.
    fn flush(&self) -> Result<(), Failure>;
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// When the store has it; synced once a second.
    EverySecond,
    /// When the disk has it.
    Always,
}

/// How much to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sessions that exist.
    pub sessions: u64,
    /// Bytes of each.
    pub value_bytes: usize,
    /// How long each cell is measured.
    pub duration: Duration,
    /// Cells whose name starts with one of these; all if empty.
    pub only: Vec<String>,
}

/// What a thread does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Get,
    GetAndTouch,
    Create,
    Mixed,
    Put,
}

/// One row: its name, what its threads do, how many, and how many operations per second it should reach.
struct Cell {
    name: &'static str,
    work: Work,
    threads: u64,
    aim: Option<f64>,
}

const fn cell(name: &'static str, work: Work, threads: u64, aim: Option<f64>) -> Cell {
    Cell { name, work, threads, aim }
}

const SYNCED_EACH_SECOND: [Cell; 8] = [
    cell("get", Work::Get, 1, None),
    cell("get", Work::Get, 4, None),
    cell("get+touch", Work::GetAndTouch, 1, Some(0.8e6)),
    cell("get+touch", Work::GetAndTouch, 4, Some(2.5e6)),
    cell("95/5 get/put", Work::Mixed, 1, Some(1e6)),
    cell("95/5 get/put", Work::Mixed, 4, Some(3.5e6)),
    cell("create", Work::Create, 1, Some(0.4e6)),
    cell("create", Work::Create, 4, Some(1e6)),
];

const DURABLE: [Cell; 3] = [
    cell("durable put", Work::Put, 1, Some(7_500.0)),
    cell("durable put", Work::Put, 16, Some(60_000.0)),
    cell("durable put", Work::Put, 64, Some(150_000.0)),
];

/// Device bytes per touch that the issue asks for.
const TOUCH_DEVICE_BYTES_AIM: f64 = 64.0;

/// The latency of one operation in this many is recorded, so that reading the clock does not become the workload.
const LATENCY_SAMPLE: u64 = 16;

/// Fills one store, measures every cell on it, then the durable ones on another, and prints a table.
///
/// # Errors
///
/// When a store fails or a session that must exist does not.
pub fn measure<S: Store>(
    name: &str,
    plan: &Plan,
    parent: &Path,
    open: impl Fn(&Path, Durable) -> Result<S, Failure>,
) -> Result<(), Failure> {
    println!("{name}: {} sessions of {} bytes, {:?} each", plan.sessions, plan.value_bytes, plan.duration);
    let mut table =
        Table::new(&["workload", "threads", "operations/s", "aim", "p50 µs", "p99 µs", "device B", "aim"]);
    for (cells, durable) in [(&SYNCED_EACH_SECOND[..], Durable::EverySecond), (&DURABLE[..], Durable::Always)]
    {
        let wanted: Vec<&Cell> = cells
            .iter()
            .filter(|cell| plan.only.is_empty() || plan.only.iter().any(|only| cell.name.starts_with(only)))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let directory = tempfile::Builder::new().prefix("sessile-bench-").tempdir_in(parent)?;
        let store = open(directory.path(), durable)?;
        // Durable writes need keys, not data.
        if durable == Durable::EverySecond {
            fill(&store, plan)?;
        }
        for (run, cell) in wanted.into_iter().enumerate() {
            eprintln!("{} × {} …", cell.name, cell.threads);
            let measured = run_cell(&store, cell, plan, directory.path(), run as u64)?;
            let device_aim = (cell.work == Work::GetAndTouch).then_some(TOUCH_DEVICE_BYTES_AIM);
            table.row(vec![
                cell.name.to_owned(),
                cell.threads.to_string(),
                figure(measured.throughput),
                verdict(cell.aim, |aim| measured.throughput >= aim, "≥"),
                figure(measured.p50_microseconds),
                figure(measured.p99_microseconds),
                measured.device_bytes.map_or_else(|| "–".to_owned(), figure),
                verdict(
                    device_aim.filter(|_| measured.device_bytes.is_some()),
                    |aim| measured.device_bytes.is_some_and(|bytes| bytes <= aim),
                    "≤",
                ),
            ]);
        }
    }
    println!("{}", table.text());
    Ok(())
}

fn verdict(aim: Option<f64>, met: impl Fn(f64) -> bool, relation: &str) -> String {
    aim.map_or_else(String::new, |aim| {
        format!("{relation}{} {}", figure(aim), if met(aim) { "✓" } else { "✗" })
    })
}

fn fill<S: Store>(store: &S, plan: &Plan) -> Result<(), Failure> {
    let started = Instant::now();
    for number in 0..plan.sessions {
        store.set(&sessions::key(number), &sessions::value(number, plan.value_bytes))?;
    }
    store.flush()?;
    eprintln!("filled in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

struct Measured {
    throughput: f64,
    p50_microseconds: f64,
    p99_microseconds: f64,
    device_bytes: Option<f64>,
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPING: u8 = 2;

fn run_cell<S: Store>(
    store: &S,
    cell: &Cell,
    plan: &Plan,
    directory: &Path,
    run: u64,
) -> Result<Measured, Failure> {
    let phase = AtomicU8::new(WARMING);
    let counters: Vec<Counter> = (0..cell.threads).map(|_| Counter(AtomicU64::new(0))).collect();
    let disk = Disk::of(directory);
    let written = || disk.and_then(|disk| disk.bytes_written());
    store.flush()?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cell.threads)
            .zip(&counters)
            .map(|(thread, counter)| {
                let phase = &phase;
                scope.spawn(move || {
                    let worker = Worker { store, plan, work: cell.work, thread, run };
                    let outcome = worker.work(phase, &counter.0);
                    if outcome.is_err() {
                        phase.store(STOPPING, Ordering::Relaxed);
                    }
                    outcome
                })
            })
            .collect();
        let total = || counters.iter().map(|counter| counter.0.load(Ordering::Relaxed)).sum::<u64>();
        std::thread::sleep(plan.duration / 5);
        let before = (Instant::now(), total(), written());
        let _ = phase.compare_exchange(WARMING, MEASURING, Ordering::Relaxed, Ordering::Relaxed);
        std::thread::sleep(plan.duration);
        let after = (Instant::now(), total());
        phase.store(STOPPING, Ordering::Relaxed);
        let mut latencies = new_histogram();
        for worker in workers {
            latencies.add(worker.join().map_err(|_| "a worker panicked")??)?;
        }
        // What is still buffered belongs to this cell.
        store.flush()?;
        let written_after = written();
        let operations = (after.1 - before.1) as f64;
        Ok(Measured {
            throughput: operations / (after.0 - before.0).as_secs_f64(),
            p50_microseconds: latencies.value_at_quantile(0.5) as f64 / 1e3,
            p99_microseconds: latencies.value_at_quantile(0.99) as f64 / 1e3,
            device_bytes: before
                .2
                .zip(written_after)
                .map(|(before, after)| (after - before) as f64 / operations),
        })
    })
}

/// A counter on cache lines of its own.
#[repr(align(128))]
struct Counter(AtomicU64);

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("the bounds are in order")
}

struct Worker<'a, S> {
    store: &'a S,
    plan: &'a Plan,
    work: Work,
    thread: u64,
    run: u64,
}

impl<S: Store> Worker<'_, S> {
    fn work(&self, phase: &AtomicU8, counter: &AtomicU64) -> Result<Histogram<u64>, Failure> {
        let mut latencies = new_histogram();
        let mut random = Random::new((self.run << 32) | self.thread);
        let value = sessions::value(self.thread, self.plan.value_bytes);
        let sample = if self.work == Work::Put { 1 } else { LATENCY_SAMPLE };
        // New sessions of a run and thread: a range that no other one touches.
        let mut fresh = (1 << 60) | (self.run << 44) | (self.thread << 36);
        let mut operations = 0;
        loop {
            let phase = phase.load(Ordering::Relaxed);
            if phase == STOPPING {
                return Ok(latencies);
            }
            if operations % sample == 0 {
                let started = Instant::now();
                self.operation(&mut random, &mut fresh, &value)?;
                if phase == MEASURING {
                    latencies.saturating_record(started.elapsed().as_nanos() as u64);
                }
            } else {
                self.operation(&mut random, &mut fresh, &value)?;
            }
            operations += 1;
            counter.store(operations, Ordering::Relaxed);
        }
    }

    fn operation(&self, random: &mut Random, fresh: &mut u64, value: &[u8]) -> Result<(), Failure> {
        let key = sessions::key(random.below(self.plan.sessions));
        let found = match self.work {
            Work::Get => self.store.get(&key)?,
            Work::GetAndTouch => self.store.get_and_touch(&key)?,
            Work::Mixed if random.below(100) < 95 => self.store.get(&key)?,
            Work::Mixed | Work::Put => {
                self.store.set(&key, value)?;
                return Ok(());
            }
            Work::Create => {
                *fresh += 1;
                self.store.set(&sessions::key(*fresh), value)?;
                return Ok(());
            }
        };
        match found {
            Some(length) if length == self.plan.value_bytes => Ok(()),
            other => Err(format!("a session of {} bytes reads as {other:?}", self.plan.value_bytes).into()),
        }
    }
}

/// Reads `[--quick] [--sessions N] [--seconds S] [--only PREFIX] [--directory DIR]`; other long options go to `other`,
/// which says whether it knows them.
///
/// # Errors
///
/// When an option is unknown or its value malformed.
pub fn arguments(mut other: impl FnMut(&str) -> bool) -> Result<(Plan, std::path::PathBuf), lexopt::Error> {
    use lexopt::prelude::*;
    let mut plan =
        Plan { sessions: 1_000_000, value_bytes: 450, duration: Duration::from_secs(3), only: Vec::new() };
    let mut directory = std::env::temp_dir();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => (plan.sessions, plan.duration) = (100_000, Duration::from_millis(700)),
            Long("sessions") => plan.sessions = parser.value()?.parse()?,
            Long("seconds") => plan.duration = Duration::from_secs_f64(parser.value()?.parse()?),
            Long("only") => plan.only.push(parser.value()?.string()?),
            Long("directory") => directory = parser.value()?.into(),
            Long(name) if other(name) => {}
            _ => return Err(argument.unexpected()),
        }
    }
    Ok((plan, directory))
}
