//! Measures the log on the disk of a directory and prints a table.
//!
//! `cargo run --release -p sessile-wal --example throughput -- [DIRECTORY] [SECONDS] [ROW]`

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use sessile_wal::{Admit, Clock, Durability, Fs, Lsn, RealFs, SystemClock, Wal, WalError, WalOptions};

const RECORD_BYTES: usize = 500;

struct Case {
    name: &'static str,
    durability: Durability,
    threads: usize,
    /// Records between two commits of a thread.
    pipeline: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let dir = arguments.next().map_or_else(|| env::temp_dir().join("sessile-throughput"), PathBuf::from);
    let seconds: u64 = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let case = |name, durability, threads, pipeline| Case { name, durability, threads, pipeline };
    let cases = [
        case("append only (committed every 100)", Durability::EverySecond, 1, 100),
        case("everysec", Durability::EverySecond, 1, 1),
        case("everysec", Durability::EverySecond, 4, 1),
        case("always", Durability::Always, 1, 1),
        case("always", Durability::Always, 4, 1),
        case("always", Durability::Always, 16, 1),
        case("always", Durability::Always, 64, 1),
    ];
    println!("records of {RECORD_BYTES} bytes in {}, {seconds} s each", dir.display());
    println!("| case | threads | records/s | syncs/s | records per write | written MB/s |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let only = arguments.next().and_then(|text| text.parse::<usize>().ok());
    for case in cases
        .iter()
        .enumerate()
        .filter(|(index, _)| only.is_none_or(|only| only == *index))
        .map(|(_, case)| case)
    {
        measure(&dir, case, seconds)?;
    }
    for bytes in [32, RECORD_BYTES] {
        println!("one append of {bytes} bytes: {:.0} ns", append_ns(&dir, bytes)?);
    }
    Ok(())
}

/// How long one append takes, I/O left out.
fn append_ns(dir: &Path, record_bytes: usize) -> Result<f64, Box<dyn Error>> {
    let fs = RealFs;
    for name in fs.list(dir)? {
        fs.remove(&dir.join(name))?;
    }
    let options = WalOptions::default().durability(Durability::No);
    let (wal, _) =
        Wal::open(Arc::new(fs), Arc::new(SystemClock), dir, options, Lsn::ZERO, &mut |_, _| Ok(()))?;
    let record = vec![b'x'; record_bytes];
    let mut best = f64::MAX;
    for _ in 0..200 {
        wal.admit(1000 * record_bytes, Admit::Write)?;
        let begun_ns = SystemClock.monotonic_ns();
        for _ in 0..1000 {
            wal.append(&record);
        }
        best = best.min((SystemClock.monotonic_ns() - begun_ns) as f64 / 1000.0);
        wal.flush()?;
        wal.release(wal.durable())?;
    }
    Ok(best)
}

fn measure(dir: &Path, case: &Case, seconds: u64) -> Result<(), Box<dyn Error>> {
    let fs = RealFs;
    fs.create_dir_all(dir)?;
    for name in fs.list(dir)? {
        fs.remove(&dir.join(name))?;
    }
    // Room for what a second of writing fills, so that files come round instead of being made.
    let options =
        WalOptions::default().durability(case.durability).database_id([7; 16]).spare_bytes_max(2 << 30);
    let (wal, _) =
        Wal::open(Arc::new(fs), Arc::new(SystemClock), dir, options, Lsn::ZERO, &mut |_, _| Ok(()))?;
    let stop = Arc::new(AtomicBool::new(false));
    let background = {
        let (wal, stop) = (wal.clone(), stop.clone());
        thread::spawn(move || -> Result<(), WalError> {
            while !stop.load(Relaxed) {
                let step = wal.step()?;
                // A checkpoint follows at some distance, so that files come back.
                wal.release(Lsn::new(wal.durable().get().saturating_sub(32 << 20)))?;
                thread::park_timeout(step.pause.min(Duration::from_millis(20)));
            }
            Ok(())
        })
    };
    // Warm up: let the files grow to their full size.
    run(&wal, case, Duration::from_millis(3500))?;
    let before = wal.stats();
    let begun_ns = SystemClock.monotonic_ns();
    let records = run(&wal, case, Duration::from_secs(seconds))?;
    let elapsed = (SystemClock.monotonic_ns() - begun_ns) as f64 / 1e9;
    let after = wal.stats();
    stop.store(true, Relaxed);
    background.thread().unpark();
    background.join().map_err(|_| "the background thread panicked")??;
    let writes = (after.writes - before.writes).max(1);
    println!(
        "| {} | {} | {:.0} | {:.0} | {:.1} | {:.0} |",
        case.name,
        case.threads,
        records as f64 / elapsed,
        (after.syncs - before.syncs) as f64 / elapsed,
        records as f64 / writes as f64,
        (after.written_bytes - before.written_bytes) as f64 / elapsed / 1e6,
    );
    Ok(())
}

fn run(wal: &Wal, case: &Case, time: Duration) -> Result<u64, Box<dyn Error>> {
    let total = AtomicU64::new(0);
    let deadline_ns = SystemClock.monotonic_ns() + time.as_nanos() as u64;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..case.threads)
            .map(|_| {
                scope.spawn(|| -> Result<(), WalError> {
                    let record = [b'x'; RECORD_BYTES];
                    let mut done = 0;
                    while done % 16 != 0 || SystemClock.monotonic_ns() < deadline_ns {
                        wal.admit(RECORD_BYTES, Admit::Write)?;
                        let lsn = wal.append(&record);
                        done += 1;
                        if done % case.pipeline == 0 {
                            wal.commit(lsn)?;
                        }
                    }
                    total.fetch_add(done, Relaxed);
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    Ok(total.into_inner())
}
