//! The latency of those who are served while a checkpoint or a compaction runs, against quiet, at an equal rate.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sessile_benches::client::Client;
use sessile_benches::open_loop::{self, PHASES, Plan, Running, microseconds};
use sessile_benches::population::{self, Changes, Dying, USER_BYTES};
use sessile_benches::report::{Aim, Report};
use sessile_benches::server::Program;

use crate::{Failure, Setting};

const RATE: u64 = 20_000;

const QUIET: usize = 0;
/// In Redis: an RDB file is written.
const CHECKPOINT: usize = 1;
/// In Redis: the append-only file is rewritten.
const COMPACTION: usize = 2;
const UNMEASURED: usize = 3;

const QUIET_FOR: Duration = Duration::from_secs(4);
/// How often it is looked whether something runs.
const LOOK: Duration = Duration::from_millis(10);
/// How long a compaction may be still before it counts as over.
const STILL: Duration = Duration::from_millis(300);

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let sessions = setting.sessions(400_000, 1_000_000);
    let mut sessile = Measured::new()?;
    let mut redis = setting.redis.is_some().then(Measured::new).transpose()?;
    for round in 0..setting.rounds {
        eprintln!("round {round} …");
        if let (Some(program), Some(measured)) = (&setting.redis, &mut redis) {
            measured.add(round_of(setting, program, sessions)?)?;
        }
        // No checkpoint comes of itself.
        let program = setting
            .sessile
            .with(&[("checkpoint-log-size", "1099511627776"), ("checkpoint-interval", "1000000")]);
        sessile.add(round_of(setting, &program, sessions)?)?;
    }
    let mut report = Report::new(format!(
        "latency at {RATE} requests a second, {sessions} sessions of {USER_BYTES} B, {} rounds in turns",
        setting.rounds
    ));
    let of = |measured: &Measured, phase: usize, quantile: f64| {
        let latencies = &measured.latencies[phase];
        if latencies.is_empty() { f64::NAN } else { microseconds(latencies, quantile) }
    };
    let names = ["quiet", "during checkpoints", "during compaction"];
    for (quantile, percentile) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
        for (phase, name) in names.into_iter().enumerate() {
            let theirs = redis.as_ref().map(|redis| of(redis, phase, quantile));
            report.row(
                format!("{percentile} {name}"),
                "µs",
                of(&sessile, phase, quantile),
                theirs,
                Aim::None,
            );
        }
    }
    for (phase, name) in [(CHECKPOINT, "checkpoint"), (COMPACTION, "compaction")] {
        let times = |measured: &Measured| of(measured, phase, 0.999) / of(measured, QUIET, 0.999);
        report.row(
            format!("p99.9 during {name} to quiet"),
            "×",
            times(&sessile),
            redis.as_ref().map(times),
            Aim::AtMost(2.0),
        );
    }
    let seconds = |measured: &Measured| {
        [QUIET, CHECKPOINT, COMPACTION]
            .map(|phase| format!("{:.1}", measured.latencies[phase].len() as f64 / RATE as f64))
            .join(", ")
    };
    report.note(format!(
        "45 % GET, 45 % EXPIRE, 10 % SET, on 16 connections, from when each was due. Seconds measured of each kind: {}{}.",
        seconds(&sessile),
        redis.as_ref().map(|redis| format!("; Redis {}", seconds(redis))).unwrap_or_default()
    ));
    report.note("Redis: BGSAVE for checkpoint, BGREWRITEAOF for compaction.");
    Ok(report)
}

struct Measured {
    latencies: Vec<Histogram<u64>>,
}

impl Measured {
    fn new() -> Result<Measured, Failure> {
        let new = || Histogram::new_with_bounds(1_000, 120_000_000_000, 3);
        Ok(Measured { latencies: (0..PHASES).map(|_| new()).collect::<Result<_, _>>()? })
    }

    fn add(&mut self, more: Vec<Histogram<u64>>) -> Result<(), Failure> {
        for (sum, more) in self.latencies.iter_mut().zip(more) {
            sum.add(more)?;
        }
        Ok(())
    }
}

fn round_of(setting: &Setting, program: &Program, sessions: u64) -> Result<Vec<Histogram<u64>>, Failure> {
    let (server, mut client) = setting.start(program)?;
    let port = server.port();
    population::fill(port, 0..sessions, Dying::After(7200))?;
    let plan =
        Plan { rate: RATE, connections: 16, sessions: 0..sessions, touches_percent: 45, writes_percent: 10 };
    let load = open_loop::start(port, plan)?;
    let change = |percent: u64, seed: u64| {
        load.enter(UNMEASURED);
        let changes = Changes { commands: sessions * percent / 100, writes_percent: 100 };
        population::change(port, 0..sessions, changes, seed)
    };
    load.enter(UNMEASURED);
    std::thread::sleep(Duration::from_secs(1));
    quiet(&load);
    // The first writes everything, the second a part.
    let sessile = matches!(program, Program::Sessile(..));
    for seed in 0..2 {
        checkpoint(&load, &mut client, sessile)?;
        change(40, seed)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    checkpoint(&load, &mut client, sessile)?;
    quiet(&load);
    // Most of what the segments hold is dead now.
    if sessile {
        change(80, 7)?;
        client.save()?;
        compaction(&load, &mut client)?;
    } else {
        load.enter(COMPACTION);
        client.command("BGREWRITEAOF")?;
        wait_while(&load, &mut client, "aof_rewrite_in_progress")?;
    }
    quiet(&load);
    let latencies = load.finish()?;
    population::read_back(port, 0..sessions, 50_000, 4)?.all_right()?;
    Ok(latencies)
}

fn quiet(load: &Running) {
    // What was stirred up may settle.
    load.enter(UNMEASURED);
    std::thread::sleep(Duration::from_millis(700));
    load.enter(QUIET);
    std::thread::sleep(QUIET_FOR);
    load.enter(UNMEASURED);
}

fn checkpoint(load: &Running, client: &mut Client, sessile: bool) -> Result<(), Failure> {
    // The one that a compaction asks for may be under way.
    wait_while(load, client, "rdb_bgsave_in_progress")?;
    load.enter(CHECKPOINT);
    client.command("BGSAVE")?;
    if sessile {
        // It begins in a moment.
        std::thread::sleep(LOOK);
    }
    wait_while(load, client, "rdb_bgsave_in_progress")
}

fn wait_while(load: &Running, client: &mut Client, field: &str) -> Result<(), Failure> {
    let begun = Instant::now();
    while client.figure("persistence", field)? != 0 && load.is_running() {
        if begun.elapsed() > Duration::from_secs(300) {
            return Err(format!("{field} stays 1").into());
        }
        std::thread::sleep(LOOK);
    }
    load.enter(UNMEASURED);
    Ok(())
}

/// Measures while live bytes are being copied; it begins by itself.
fn compaction(load: &Running, client: &mut Client) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut copied = client.figure("storage", "compacted_bytes")?;
    let mut moved: Option<Instant> = None;
    while begun.elapsed() < Duration::from_secs(15) && load.is_running() {
        let storage = client.info("storage")?;
        let now = storage.get("compacted_bytes").copied().unwrap_or(0);
        if now > copied {
            load.enter(COMPACTION);
            (copied, moved) = (now, Some(Instant::now()));
        } else if moved.is_some_and(|moved| moved.elapsed() > STILL) {
            load.enter(UNMEASURED);
        }
        std::thread::sleep(LOOK);
    }
    load.enter(UNMEASURED);
    if moved.is_none() {
        eprintln!("no compaction within 15 s");
    }
    Ok(())
}
