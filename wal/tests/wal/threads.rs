//! Many threads at once: group commit, writes beside syncs, and death in the middle.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use sessile_wal::{
    Admit, DirLock, Durability, File, Fs, Lsn, OpenMode, Wal,
    sim::{SimClock, SimFs},
};

use crate::support::{open, open_sim, options};

fn run(wal: &Wal, threads: u8, records: u32) -> HashMap<u8, Vec<(Lsn, u32)>> {
    let stop = Arc::new(AtomicBool::new(false));
    let background = thread::spawn({
        let (wal, stop) = (wal.clone(), stop.clone());
        move || {
            while !stop.load(Relaxed) && wal.step().is_ok() {
                thread::yield_now();
            }
        }
    });
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let wal = wal.clone();
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for count in 0..records {
                    let mut record = vec![number; 5 + (count as usize * 7) % 900];
                    record[1..5].copy_from_slice(&count.to_le_bytes());
                    if wal.admit(record.len(), Admit::Write).is_err() {
                        break;
                    }
                    let end = wal.append(&record);
                    if count % 10 == 9 {
                        let _ = wal.sync(end);
                    }
                    if wal.commit(end).is_err() {
                        break;
                    }
                    assert!(wal.acknowledged() >= end);
                    acknowledged.push((end, count));
                }
                (number, acknowledged)
            })
        })
        .collect();
    let done = workers.into_iter().map(|worker| worker.join().expect("does not panic")).collect();
    stop.store(true, Relaxed);
    background.join().expect("does not panic");
    done
}

#[test]
fn every_thread_finds_its_records_in_its_order() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::No] {
        let fs = SimFs::new(1);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let clock = SimClock::default();
        let (wal, _, _) = open(&shared, &clock, options().durability(durability), Lsn::ZERO).expect("opens");
        let done = run(&wal, 8, 400);
        drop(wal);
        fs.kill();
        let (_, recovery, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
        assert_eq!(recovery.records, 8 * 400);
        let mut found: HashMap<u8, Vec<(Lsn, u32)>> = HashMap::new();
        for (end, record) in seen {
            let count = u32::from_le_bytes(record[1..5].try_into().expect("has four bytes"));
            found.entry(record[0]).or_default().push((end, count));
        }
        assert_eq!(found, done);
    }
}

#[test]
fn death_among_threads_loses_nothing_acknowledged() {
    for seed in 0..40 {
        let fs = SimFs::new(seed);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let options = options().durability(Durability::Always);
        let (wal, _, _) = open(&shared, &SimClock::default(), options, Lsn::ZERO).expect("opens");
        fs.crash_after(20 + seed * 13);
        let done = run(&wal, 4, 200);
        drop(wal);
        fs.crash();
        let (_, _, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
        let ends: std::collections::HashSet<Lsn> = seen.iter().map(|(end, _)| *end).collect();
        for (end, _) in done.values().flatten() {
            assert!(ends.contains(end), "seed {seed} lost {end}");
        }
    }
}

/// A disk whose syncs last until they are let go.
struct SlowSync {
    inner: SimFs,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicBool,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().expect("is not poisoned") = closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.closed.lock().expect("is not poisoned");
        while *closed {
            self.waiting.store(true, Relaxed);
            closed = self.changed.wait(closed).expect("is not poisoned");
        }
    }
}

struct SlowFile {
    inner: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl Fs for SlowSync {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile { inner: self.inner.open(path, mode)?, gate: self.gate.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.inner.available_bytes(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.inner.lock(path)
    }
}

impl File for SlowFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(buf, offset)
    }
    fn write_at_durable(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at_durable(buf, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.inner.sync_data()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_len(bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

#[test]
fn a_write_does_not_wait_for_a_sync() {
    let gate = Arc::new(Gate::default());
    let fs: Arc<dyn Fs> = Arc::new(SlowSync { inner: SimFs::new(1), gate: gate.clone() });
    let (wal, _, _) = open(&fs, &SimClock::default(), options(), Lsn::ZERO).expect("opens");
    let first = wal.append(b"first");
    gate.set(true);
    let syncing = thread::spawn({
        let wal = wal.clone();
        move || wal.sync(first)
    });
    while !gate.waiting.load(Relaxed) {
        thread::yield_now();
    }
    for _ in 0..20 {
        let end = wal.append(b"another");
        wal.commit(end).expect("writes");
        assert!(wal.acknowledged() >= end && wal.durable() < first);
    }
    gate.set(false);
    syncing.join().expect("does not panic").expect("syncs");
    assert!(
        wal.durable() >= first && wal.durable() < wal.appended(),
        "the sync covers what was written before it"
    );
    wal.flush().expect("syncs");
}

/// A disk that took three seconds for the sync of a log file in the making held up whoever asked for figures, which each event loop of a
/// server does once a second, and with it every reader; and it could hold up a writer on its way to a file that was ready.
#[test]
fn a_file_in_the_making_holds_up_neither_writers_nor_figures() {
    let gate = Arc::new(Gate::default());
    let fs: Arc<dyn Fs> = Arc::new(SlowSync { inner: SimFs::new(1), gate: gate.clone() });
    let (wal, _, _) = open(&fs, &SimClock::default(), options(), Lsn::ZERO).expect("opens");
    while wal.step().expect("steps").pause.is_zero() {}
    // Into the file that is ready, so that the one after it is wanted.
    let files = wal.stats().files;
    while !wal.wants_step() {
        wal.commit(wal.append(&[7; 1000])).expect("writes");
    }
    gate.set(true);
    let making = thread::spawn({
        let wal = wal.clone();
        move || wal.step()
    });
    while !gate.waiting.load(Relaxed) {
        thread::yield_now();
    }
    let (done, ended) = std::sync::mpsc::channel();
    thread::spawn({
        let wal = wal.clone();
        move || {
            let end = wal.append(b"record");
            let _ = done.send((wal.write(end).is_ok(), wal.stats().files));
        }
    });
    let seen = ended.recv_timeout(std::time::Duration::from_secs(20));
    gate.set(false);
    making.join().expect("does not panic").expect("steps");
    assert_eq!(seen, Ok((true, files)), "somebody waited for the sync of a file in the making");
}

#[test]
fn syncs_are_shared() {
    let root = tempfile::tempdir().expect("has a directory");
    let options = options().durability(Durability::Always).segment_bytes_max(8 << 20);
    let real = Arc::new(sessile_wal::RealFs);
    let clock = Arc::new(sessile_wal::SystemClock);
    let (wal, _) =
        Wal::open(real, clock, root.path(), options, Lsn::ZERO, &mut |_, _| Ok(())).expect("opens");
    run(&wal, 16, 200);
    let stats = wal.stats();
    assert_eq!(stats.records, 16 * 200);
    assert!(stats.syncs < stats.records, "{} syncs", stats.syncs);
}
