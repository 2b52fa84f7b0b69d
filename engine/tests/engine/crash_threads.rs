//! Many threads and the database's own ones on the simulated disk, whose power is cut, or whose process is killed, in the midst of it: of what
//! was acknowledged nothing is lost, and of what was not each transaction is there whole or not at all. Not replayable from its seed, as
//! threads run as they like.

use super::storage::pick;
use super::support::{DIR, for_each_seed, open_free, pause};
use sessile::{Db, Durability, Expiry, Fs, Options, StorageTuning, Touch};
use sessile_wal::sim::{Rng, SimFs};
use sessile_wal::{DirLock, File, OpenMode};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::Duration;

const WRITERS: u64 = 4;
const KEYS_EACH: u64 = 40;

/// The disk as one process sees it: once that is dead its threads, which live on here, do nothing any more. (A file that was open then is dead by
/// itself.)
struct Process {
    fs: SimFs,
    alive: RwLock<bool>,
}

impl Process {
    fn start(fs: &SimFs) -> Arc<Process> {
        Arc::new(Process { fs: fs.clone(), alive: RwLock::new(true) })
    }

    fn end(&self, how: impl FnOnce(&SimFs)) {
        let mut alive = self.alive.write().expect("nobody panics with it");
        *alive = false;
        how(&self.fs);
    }

    fn call<R>(&self, call: impl FnOnce(&SimFs) -> io::Result<R>) -> io::Result<R> {
        let alive = self.alive.read().expect("nobody panics with it");
        if *alive { call(&self.fs) } else { Err(io::Error::other("this process is dead")) }
    }
}

impl Fs for Process {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call(|fs| fs.create_dir_all(path))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.call(|fs| fs.open(path, mode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|fs| fs.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|fs| fs.remove(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call(|fs| fs.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(|fs| fs.sync_dir(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call(|fs| fs.exists(path))
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.call(|fs| fs.available_bytes(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.call(|fs| fs.lock(path))
    }
}

fn options(rng: &mut Rng, fs: &Arc<Process>, durability: Durability) -> Options {
    let tuning = StorageTuning {
        shards: Some(pick(rng, &[2, 8, 64])),
        segment_target_bytes: pick(rng, &[1_000, 10_000]),
        segments_open_max: pick(rng, &[1, 4]),
        segment_io_bytes: 500,
        small_segment_bytes: pick(rng, &[0, 4_000]),
        small_segments: 3,
        dead_bytes_prompt: 5_000,
        objects_bytes_min: 0,
        compaction_soon_ms: 0,
        compaction_look_ms: 1,
        compacted_bytes_per_step: 500,
        collected_ranges_per_step: pick(rng, &[1, 64]),
        checkpoint_retry_ms: 1,
        idle_pass_ms: 1,
        idle_bytes_min: 1,
        dictionary_samples_min: 16,
        dictionary_bytes_max: 500,
        dictionary_judged_bytes: 10_000,
        dictionary_worse_promille: 900,
        reserve_bytes: 0,
        ..StorageTuning::default()
    };
    Options::new()
        .durability(durability)
        .file_system(Arc::clone(fs) as _)
        .log_file_bytes_max(64 << 10)
        .memory_bytes_max(pick(rng, &[1, 20_000, u64::MAX]))
        .idle_compression(rng.chance(50))
        .checkpoint_log_bytes(pick(rng, &[1, 2_000, 30_000]))
        .storage_tuning(tuning)
}

fn key(writer: u64, number: u64) -> Vec<u8> {
    format!("{writer}:{number}").into_bytes()
}

fn value(version: u64) -> Vec<u8> {
    let mut rng = Rng::new(version);
    let rest = "{\"role\":\"reader\"}".repeat(rng.below(20) as usize);
    format!("{version}#{rest}").into_bytes()
}

fn version(found: Option<sessile::Value>) -> u64 {
    let Some(found) = found else { return 0 };
    let text = std::str::from_utf8(&found).expect("text");
    let version = text.split('#').next().and_then(|version| version.parse().ok()).expect("a version");
    assert!(*found == *value(version), "{text:.60}");
    version
}

/// What one thread knows of its keys: the version of each that was acknowledged, 0 for none.
struct Writer {
    number: u64,
    rng: Rng,
    next: u64,
    versions: Vec<u64>,
    /// The versions of two keys, in case the last operation happened.
    pending: Option<[(u64, u64); 2]>,
}

impl Writer {
    fn new(number: u64, seed: u64) -> Writer {
        let versions = vec![0; KEYS_EACH as usize];
        Writer { number, rng: Rng::new(seed ^ number << 32), next: 1, versions, pending: None }
    }

    /// One operation; an error if the disk is gone.
    fn operate(&mut self, db: &Db) -> Result<(), sessile::Error> {
        let (one, other) = (self.rng.below(KEYS_EACH), self.rng.below(KEYS_EACH));
        let keys = [key(self.number, one), key(self.number, other)];
        let before = (self.versions[one as usize], self.versions[other as usize]);
        let new = self.next;
        self.next += 1;
        let hour = Duration::from_secs(3_600);
        let same = (other, if one == other { new } else { before.1 });
        match self.rng.below(8) {
            0..=2 => {
                self.pending = Some([(one, new), same]);
                let expiry =
                    pick(&mut self.rng, &[Expiry::Never, Expiry::Idle { idle: hour, absolute: None }]);
                db.set(&keys[0], value(new), expiry)?;
            }
            3 => {
                self.pending = Some([(one, 0), (other, if one == other { 0 } else { before.1 })]);
                assert_eq!(db.delete(&keys[0])?, before.0 != 0);
            }
            4 => {
                assert_eq!(
                    db.touch(&keys[0], Touch::For(Duration::from_secs(3_000 + self.rng.below(900))))?,
                    before.0 != 0
                );
            }
            5 => {
                // Both, or none.
                self.pending = Some([(one, new), (other, new)]);
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                db.transaction(&keys, |txn, keys| {
                    keys.iter().for_each(|key| txn.set(key, &value(new), Expiry::Never));
                })?;
            }
            _ => {
                assert_eq!(version(db.get(&keys[0])?), before.0, "{}:{one}", self.number);
            }
        }
        self.settle(true);
        Ok(())
    }

    /// The last operation has happened, or not.
    fn settle(&mut self, happened: bool) {
        for (number, version) in self.pending.take().into_iter().flatten().filter(|_| happened) {
            self.versions[number as usize] = version;
        }
    }

    /// Compares with what came back, and goes on from there.
    fn read_back(&mut self, db: &Db) {
        let found: Vec<u64> = (0..KEYS_EACH)
            .map(|number| version(db.get(&key(self.number, number)).expect("readable")))
            .collect();
        let pending = self.pending;
        if found != self.versions {
            self.settle(true);
            let differ = |number: &u64| found[*number as usize] != self.versions[*number as usize];
            let different: Vec<u64> = (0..KEYS_EACH).filter(differ).collect();
            let said = |of: &[u64]| different.iter().map(|&n| of[n as usize]).collect::<Vec<_>>();
            assert!(
                different.is_empty(),
                "writer {}: keys {different:?} have versions {:?} instead of {:?}, pending was {pending:?}",
                self.number,
                said(&found),
                said(&self.versions)
            );
        }
        self.pending = None;
    }
}

#[test]
fn threads_that_are_cut_off_lose_nothing_that_was_acknowledged() {
    let (checkpoints, compacted, evicted, operations) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    for_each_seed(12, |seed| {
        let mut rng = Rng::new(seed);
        let fs = SimFs::new(rng.next_u64());
        fs.create_dir_all(Path::new(DIR)).expect("made");
        let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, seed)).collect();
        for _ in 0..4 {
            let power = rng.chance(50);
            let durability = if power { Durability::Always } else { Durability::EverySecond };
            let process = Process::start(&fs);
            let options = options(&mut rng, &process, durability);
            let db = open_free(&options, Path::new(DIR));
            writers.iter_mut().for_each(|writer| writer.read_back(&db));
            let running: Vec<_> = writers
                .drain(..)
                .map(|mut writer| {
                    let db = db.clone();
                    std::thread::spawn(move || {
                        let mut done = 0;
                        while writer.operate(&db).is_ok() {
                            done += 1;
                        }
                        (writer, done)
                    })
                })
                .collect();
            pause(Duration::from_micros(200 + rng.below(60_000)));
            process.end(|fs| if power { fs.crash() } else { fs.kill() });
            for thread in running {
                let (writer, done) = thread.join().expect("no panic");
                writers.push(writer);
                operations.fetch_add(done, Relaxed);
            }
            let storage = db.stats().storage;
            checkpoints.fetch_add(storage.checkpoints, Relaxed);
            compacted.fetch_add(storage.segments_compacted, Relaxed);
            evicted.fetch_add(storage.values_evicted, Relaxed);
        }
        let db = open_free(
            &options(&mut rng, &Process::start(&fs), Durability::No).manual_background(),
            Path::new(DIR),
        );
        assert_eq!(db.verify(), Ok(()));
        writers.iter_mut().for_each(|writer| writer.read_back(&db));
    });
    let count = |of: AtomicU64| of.into_inner();
    println!(
        "{} operations, {} checkpoints, {} segments compacted, {} values evicted",
        count(operations),
        count(checkpoints),
        count(compacted),
        count(evicted)
    );
}
