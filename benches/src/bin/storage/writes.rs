//! What the disk writes per byte that the user stores: a load, then an hour of sessions that are touched, die and are replaced, in fast time.
//!
//! Time moves only between the operations, twenty times a second, and all background work is done in between: an hour's worth of syncs,
//! checkpoints and compactions happens as it would in an hour, only sooner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sessile::{Clock, Db, Options};
use sessile_benches::counting_fs::{CountingFs, Synced};
use sessile_benches::disk::Disk;
use sessile_benches::population::{self, Dying, USER_BYTES};
use sessile_benches::report::{Aim, Report};
use sessile_benches::server::{Program, data_directory};
use sessile_benches::sessions;

use crate::files::Occupied;
use crate::{Failure, Setting};

const IDLE: Duration = Duration::from_secs(1800);
const TICK_MS: u64 = 50;
const TICKS_PER_SECOND: u64 = 1000 / TICK_MS;
const HOUR_SECONDS: u64 = 3600;
/// New sessions per second while loading.
const LOAD_RATE: u64 = 20_000;

/// Time that moves when it is told to.
#[derive(Default)]
struct FastClock {
    ns: AtomicU64,
}

/// When it begins, in ms since the epoch.
const BEGINNING_MS: u64 = 1_750_000_000_000;

impl Clock for FastClock {
    fn wall_ms(&self) -> u64 {
        BEGINNING_MS + self.monotonic_ns() / 1_000_000
    }

    fn monotonic_ns(&self) -> u64 {
        self.ns.load(Ordering::Relaxed)
    }
}

/// What was written until now, counted in three ways.
#[derive(Clone, Copy)]
struct Written {
    /// By the disk, whoever caused it.
    disk: Option<u64>,
    /// By this process, as the kernel counts it.
    process: u64,
    /// Pages that the engine has synced.
    synced: Synced,
}

struct Counter {
    disk: Option<Disk>,
    fs: CountingFs,
}

impl Counter {
    fn now(&self) -> Result<Written, Failure> {
        rustix::fs::sync();
        let io = std::fs::read_to_string("/proc/self/io")?;
        let process = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        Ok(Written {
            disk: self.disk.and_then(|disk| disk.bytes_written()),
            process: process.and_then(|figure| figure.trim().parse().ok()).unwrap_or(0),
            synced: self.fs.synced(),
        })
    }
}

impl Written {
    /// Per user byte, since another count: pages synced, by the disk, by the process.
    fn per(self, since: Written, user_bytes: u64) -> [f64; 3] {
        let disk = self.disk.zip(since.disk).map_or(f64::NAN, |(now, before)| (now - before) as f64);
        let synced = self.synced.since(&since.synced).total() as f64;
        [synced, disk, (self.process - since.process) as f64].map(|bytes| bytes / user_bytes as f64)
    }
}

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let sessions = setting.sessions(300_000, 1_000_000);
    let redis = setting.redis.as_ref().map(|program| redis_load(setting, program, sessions)).transpose()?;
    let directory = data_directory(&setting.directory)?;
    let counter = Counter { disk: Disk::of(directory.path()), fs: CountingFs::default() };
    let clock = Arc::new(FastClock::default());
    let db = Options::new()
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .file_system(Arc::new(counter.fs.clone()))
        .manual_background()
        .open(directory.path())?;
    let mut hour = Hour { db: &db, clock: &clock, sessions, made: 0, touched: 0, touch_log_bytes: 0 };

    let before = counter.now()?;
    hour.load()?;
    db.checkpoint()?;
    let loaded = counter.now()?;
    let load_bytes = hour.made * USER_BYTES;
    hour.live()?;
    hour.check()?;
    let stats = db.stats();
    let lived = counter.now()?;
    let all_bytes = hour.made * USER_BYTES;
    let (made, touched, touch_log_bytes) = (hour.made, hour.touched, hour.touch_log_bytes);
    let occupied = Occupied::of(directory.path())?;
    db.close()?;

    let mut report = Report::new(format!(
        "bytes written per user byte: {sessions} sessions of {USER_BYTES} B loaded, then an hour in fast time"
    ));
    let names = ["pages synced", "by the disk, whoever caused it", "by the process, as the kernel says"];
    let (load, all) = (loaded.per(before, load_bytes), lived.per(before, all_bytes));
    for (place, name) in names.into_iter().enumerate() {
        let aim = if place == 0 { Aim::AtMost(1.8) } else { Aim::None };
        let redis = redis.map(|redis| redis[place]).filter(|figure| figure.is_finite());
        report.row(format!("load, {name}"), "", load[place], redis, Aim::None);
        report.row(format!("load and hour, {name}"), "", all[place], None, aim);
    }
    let synced = lived.synced.since(&before.synced);
    for (name, bytes) in [
        ("log", synced.log),
        ("log files filled with zeros ahead", synced.log_zeros),
        ("segments", synced.segments),
        ("index", synced.index),
        ("manifests, dictionaries", synced.other),
    ] {
        report.row(format!("  of the pages: {name}"), "", bytes as f64 / all_bytes as f64, None, Aim::None);
    }
    report.row("log bytes per touch", "B", touch_log_bytes as f64 / touched.max(1) as f64, None, Aim::None);
    let storage = &stats.storage;
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    report.note(format!(
        "Made in all: {made} sessions, of which {} died; {touched} reads that touched; {} checkpoints, {} segments compacted ({:.0} MiB copied), {} unlinked whole, {} syncs of the log.",
        stats.expired_keys,
        storage.checkpoints,
        storage.segments_compacted,
        mebibytes(storage.compacted_bytes),
        storage.segments_dropped,
        stats.log.syncs
    ));
    report.note(format!(
        "Engine: {:.0} MiB of log records (without what frames them: each write of this one caller is a batch of its own), {:.0} MiB of segments, index and manifests. At the end the directory holds {:.0} MiB and {:.0} MiB of log.",
        mebibytes(stats.log.appended_bytes),
        mebibytes(storage.bytes_written),
        mebibytes(occupied.without_log()),
        mebibytes(occupied.log)
    ));
    report.note(format!(
        "Pages synced ({} syncs) are what a disk can't be spared; the file system's own journal comes on top. The disk's figure is right only if nobody else writes (--directory on a disk of its own); the kernel's per process misses overwritten blocks.",
        synced.syncs
    ));
    Ok(report)
}

/// A tenth of the sessions is active: read and touched once a minute, and stays. The others die half an hour after they were made, and as many
/// new ones come.
struct Hour<'a> {
    db: &'a Db,
    clock: &'a FastClock,
    sessions: u64,
    made: u64,
    touched: u64,
    /// Bytes of log that they took, with what frames them.
    touch_log_bytes: u64,
}

impl Hour<'_> {
    fn active(&self) -> u64 {
        self.sessions / 10
    }

    fn set(&mut self, lifetime: Duration) -> Result<(), Failure> {
        self.db.set(&sessions::key(self.made), sessions::document(self.made), lifetime)?;
        self.made += 1;
        Ok(())
    }

    /// Moves the time on, and lets the background do what is due.
    fn tick(&self) -> Result<(), Failure> {
        self.clock.ns.fetch_add(TICK_MS * 1_000_000, Ordering::Relaxed);
        // What rests for less than a tick is not at rest. It is bounded all the same: something may be due all the time.
        for _ in 0..200 {
            if self.db.step()? >= Duration::from_millis(TICK_MS) / 2 {
                break;
            }
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(), Failure> {
        while self.made < self.sessions {
            for _ in 0..(LOAD_RATE / TICKS_PER_SECOND).min(self.sessions - self.made) {
                // As if they had been made in the half hour before.
                let spread = sessions::mix(self.made) % IDLE.as_secs();
                let lifetime = if self.made < self.active() { IDLE } else { Duration::from_secs(1 + spread) };
                self.set(lifetime)?;
            }
            self.tick()?;
        }
        Ok(())
    }

    fn live(&mut self) -> Result<(), Failure> {
        let (mut next_touched, mut touches_due, mut new_due) = (0, 0.0, 0.0);
        let touches_per_tick = self.active() as f64 / (60 * TICKS_PER_SECOND) as f64;
        let new_per_tick =
            (self.sessions - self.active()) as f64 / (IDLE.as_secs() * TICKS_PER_SECOND) as f64;
        for tick in 0..HOUR_SECONDS * TICKS_PER_SECOND {
            touches_due += touches_per_tick;
            let log_bytes = self.db.acknowledged().get();
            while touches_due >= 1.0 {
                touches_due -= 1.0;
                let value = self.db.get_and_touch(&sessions::key(next_touched), IDLE)?;
                if value.as_deref() != Some(&sessions::document(next_touched)[..]) {
                    return Err(format!("WRONG DATA: session {next_touched} reads as {value:?}").into());
                }
                next_touched = (next_touched + 1) % self.active();
                self.touched += 1;
            }
            self.touch_log_bytes += self.db.acknowledged().get() - log_bytes;
            new_due += new_per_tick;
            while new_due >= 1.0 {
                new_due -= 1.0;
                self.set(IDLE)?;
            }
            self.tick()?;
            if tick % (600 * TICKS_PER_SECOND) == 0 {
                eprintln!("minute {} …", tick / (60 * TICKS_PER_SECOND));
            }
        }
        Ok(())
    }

    /// Who should be there is, and nobody else.
    fn check(&self) -> Result<(), Failure> {
        let young = (self.sessions - self.active()) as i64;
        let others = self.db.len() as i64 - self.active() as i64;
        // A tick's worth may be on either side.
        if (others - young).abs() > young / 1000 + 10 {
            return Err(
                format!("WRONG DATA: {others} sessions that are not active, instead of {young}").into()
            );
        }
        let newest = self.made.saturating_sub(young.unsigned_abs() * 9 / 10)..self.made;
        for number in (0..self.active()).chain(newest) {
            if self.db.get(&sessions::key(number))?.as_deref() != Some(&sessions::document(number)[..]) {
                return Err(format!("WRONG DATA: session {number} is not what it was").into());
            }
        }
        Ok(())
    }
}

/// Bytes per user byte that Redis writes for the load alone, with its own settings for when the append-only file is rewritten.
fn redis_load(setting: &Setting, program: &Program, sessions: u64) -> Result<[f64; 3], Failure> {
    let program = program.with(&[("auto-aof-rewrite-percentage", "100")]);
    let (server, mut client) = setting.start(&program)?;
    let counter = Counter { disk: Disk::of(server.directory()), fs: CountingFs::default() };
    let written =
        || -> Result<Written, Failure> { Ok(Written { process: server.written_bytes()?, ..counter.now()? }) };
    let before = written()?;
    population::fill(server.port(), 0..sessions, Dying::After(7200))?;
    std::thread::sleep(Duration::from_secs(2));
    crate::wait_until(Duration::from_secs(120), || {
        Ok(client.figure("persistence", "aof_rewrite_in_progress")? == 0)
    })?;
    let mut per = written()?.per(before, sessions * USER_BYTES);
    per[0] = f64::NAN;
    Ok(per)
}
