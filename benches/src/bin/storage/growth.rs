//! The longest operation while the index grows to its millions of keys. The log is written and synced between the operations, where it is not measured.
//!
//! A machine takes the core away now and then, for longer than any operation takes. So the time that counts is the thread's CPU time, with what
//! the kernel does for it (page faults); and the same operations are measured once more on keys that exist, where nothing grows.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use sessile::{Access, Db, Durability, Options};
use sessile_benches::open_loop::microseconds;
use sessile_benches::report::{Aim, Report};
use sessile_benches::server::data_directory;
use sessile_benches::sessions;

use crate::{Failure, Setting};

/// Operations between two turns of the log.
const TURN: u64 = 500;

struct Pass {
    cpu: Histogram<u64>,
    wall: Histogram<u64>,
    /// The keys there were at the longest.
    longest_at: u64,
}

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let keys = setting.sessions(10_000_000, 10_000_000);
    let directory = data_directory(&setting.directory)?;
    let db = Options::new()
        .durability(Durability::No)
        .manual_background()
        .checkpoint_log_bytes(u64::MAX)
        .checkpoint_interval(Duration::MAX)
        .open(directory.path())?;
    let growing = pass(&db, keys)?;
    if db.len() as u64 != keys {
        return Err(format!("WRONG DATA: {} keys instead of {keys}", db.len()).into());
    }
    let control = pass(&db, keys)?;

    let mut report = Report::new(format!("writes of {keys} new keys in-process, one after the other"));
    let millisecond = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    report.row("longest, CPU time", "ms", millisecond(growing.cpu.max()), None, Aim::AtMost(1.0));
    report.row("  on keys that exist", "ms", millisecond(control.cpu.max()), None, Aim::None);
    report.row("longest, by the clock on the wall", "ms", millisecond(growing.wall.max()), None, Aim::None);
    report.row("  on keys that exist", "ms", millisecond(control.wall.max()), None, Aim::None);
    for (limit_us, text) in [(1000, "1 ms"), (100, "100 µs")] {
        let longer =
            |times: &Histogram<u64>| times.len() as f64 - times.count_between(0, limit_us * 1000) as f64;
        report.row(format!("longer than {text}, CPU time"), "", longer(&growing.cpu), None, Aim::None);
        report.row("  on keys that exist", "", longer(&control.cpu), None, Aim::None);
    }
    for (quantile, name) in [(0.5, "p50"), (0.999, "p99.9"), (0.99999, "p99.999")] {
        let name = format!("{name} by the clock on the wall");
        report.row(name, "µs", microseconds(&growing.wall, quantile), None, Aim::None);
    }
    report.note(format!("The longest came at {} keys.", growing.longest_at));
    Ok(report)
}

fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn pass(db: &Db, keys: u64) -> Result<Pass, Failure> {
    let mut cpu = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut wall = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut longest = (0, 0);
    for number in 0..keys {
        let bytes = sessions::key(number);
        let (begun_cpu_ns, begun) = (thread_cpu_ns(), Instant::now());
        let key = db.key(0, &bytes);
        let mut txn = db.begin(std::slice::from_ref(&key), Access::Write, 1)?;
        txn.put_string(&key, b"x", None);
        txn.commit();
        let took_ns = begun.elapsed().as_nanos() as u64;
        let took_cpu_ns = thread_cpu_ns() - begun_cpu_ns;
        cpu.saturating_record(took_cpu_ns);
        wall.saturating_record(took_ns);
        longest = longest.max((took_cpu_ns, number));
        if number % TURN == 0 {
            db.push_log()?;
            db.step()?;
        }
    }
    db.flush()?;
    Ok(Pass { cpu, wall, longest_at: longest.1 })
}
