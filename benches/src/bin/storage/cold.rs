//! Reading what is not resident but in the page cache, against reading what is: over the network from one connection, and in-process.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sessile::Options;
use sessile_benches::client::{Client, Reply};
use sessile_benches::open_loop::microseconds;
use sessile_benches::population::{self, Dying, USER_BYTES};
use sessile_benches::report::{Aim, Report};
use sessile_benches::server::data_directory;
use sessile_benches::sessions::{self, Random};

use crate::{Failure, Setting, wait_for_quiet};

/// Sessions that are read all the time.
const HOT: u64 = 1_000;
const READS: u64 = 20_000;

struct Outcome {
    hot: Histogram<u64>,
    cold: Histogram<u64>,
    /// Of the cold reads, those that found the value on disk.
    from_disk_percent: f64,
}

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let sessions = setting.sessions(500_000, 2_000_000);
    let limit = sessions * USER_BYTES / 10;
    let mut report = Report::new(format!(
        "GET of values not resident, in the page cache, {sessions} sessions of {USER_BYTES} B, a tenth resident"
    ));
    let server = over_network(setting, sessions, limit)?;
    let inside = in_process(setting, sessions, limit)?;
    for (name, outcome, aim) in
        [("server", &server, Aim::AtMost(10.0)), ("in-process", &inside, Aim::AtMost(10.0))]
    {
        for (quantile, percentile) in [(0.5, "p50"), (0.99, "p99")] {
            let (hot, cold) = (microseconds(&outcome.hot, quantile), microseconds(&outcome.cold, quantile));
            report.row(format!("{name}, hot {percentile}"), "µs", hot, None, Aim::None);
            report.row(format!("{name}, cold {percentile}"), "µs", cold, None, Aim::None);
            let aim = if quantile < 0.9 { aim } else { Aim::None };
            report.row(format!("{name}, cold more than hot, {percentile}"), "µs", cold - hot, None, aim);
        }
        report.row(
            format!("{name}, cold reads that went to disk"),
            "%",
            outcome.from_disk_percent,
            None,
            Aim::None,
        );
    }
    report.note(
        "One reader, one request at a time, hot and cold in turns of a thousand; every value was compared.",
    );
    Ok(report)
}

fn new_histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Reads in turns of a thousand: hot sessions, then cold ones drawn from the others. `read` returns the time that a read took.
fn in_turns(
    sessions: u64,
    mut read: impl FnMut(u64) -> Result<Duration, Failure>,
) -> Result<(Histogram<u64>, Histogram<u64>), Failure> {
    let (mut hot, mut cold) = (new_histogram()?, new_histogram()?);
    let mut random = Random::new(8);
    // Read often enough to become resident and to stay.
    for _ in 0..5 {
        for session in 0..HOT {
            read(session)?;
        }
    }
    for _ in 0..READS / 1000 {
        for session in 0..HOT {
            hot.saturating_record(read(session)?.as_nanos() as u64);
        }
        for _ in 0..1000 {
            let session = HOT + random.below(sessions - HOT);
            cold.saturating_record(read(session)?.as_nanos() as u64);
        }
    }
    Ok((hot, cold))
}

fn over_network(setting: &Setting, sessions: u64, limit: u64) -> Result<Outcome, Failure> {
    let program = setting.sessile.with(&[("maxmemory", &limit.to_string())]);
    let (server, mut control) = setting.start(&program)?;
    population::fill(server.port(), 0..sessions, Dying::After(7200))?;
    control.save()?;
    wait_for_quiet(&mut control, Duration::from_secs(120))?;
    let before = control.figure("storage", "cold_reads")?;
    let mut client = Client::connect(server.port())?;
    let (hot, cold) = in_turns(sessions, |session| {
        let key = sessions::key(session);
        let begun = Instant::now();
        let reply = client.call(&[b"GET", &key])?;
        let took = begun.elapsed();
        match reply {
            Reply::Bulk(value) if value == sessions::document(session) => Ok(took),
            other => Err(format!("WRONG DATA: session {session} reads as {other:?}").into()),
        }
    })?;
    let from_disk = control.figure("storage", "cold_reads")? - before;
    Ok(Outcome { from_disk_percent: from_disk as f64 * 100.0 / cold.len() as f64, hot, cold })
}

fn in_process(setting: &Setting, sessions: u64, limit: u64) -> Result<Outcome, Failure> {
    let directory = data_directory(&setting.directory)?;
    let db = Options::new().memory_bytes_max(limit).open(directory.path())?;
    for session in 0..sessions {
        db.set(&sessions::key(session), sessions::document(session), Duration::from_secs(7200))?;
    }
    db.checkpoint()?;
    // The clock hand goes round, compaction ends.
    let mut last = (u64::MAX, Instant::now());
    crate::wait_until(Duration::from_secs(120), || {
        let storage = db.stats().storage;
        let figure = storage.bytes_written + storage.values_evicted + storage.compacted_bytes;
        if figure != last.0 || storage.checkpoint_running {
            last = (figure, Instant::now());
        }
        Ok(last.1.elapsed() > Duration::from_secs(3))
    })?;
    let before = db.stats().storage.cold_reads;
    let (hot, cold) = in_turns(sessions, |session| {
        let key = sessions::key(session);
        let begun = Instant::now();
        let value = db.get(&key)?;
        let took = begun.elapsed();
        if value.as_deref() == Some(&sessions::document(session)[..]) {
            return Ok(took);
        }
        Err(format!("WRONG DATA: session {session} reads as {value:?}").into())
    })?;
    let from_disk = db.stats().storage.cold_reads - before;
    db.close()?;
    Ok(Outcome { from_disk_percent: from_disk as f64 * 100.0 / cold.len() as f64, hot, cold })
}
