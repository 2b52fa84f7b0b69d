//! More data than memory, on the real disk, with the database's own threads: checkpoints, compaction and eviction all the time, while many
//! threads read and write. Every value says what it is.

use super::support::{look_at_all, open_free};
use sessile::{Db, Durability, Error, Expiry, Options, StorageTuning, Touch};
use sessile_wal::sim::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const WRITERS: u64 = 4;
const KEYS_EACH: u64 = 3_000;

/// Limits that make everything happen within seconds.
fn options() -> Options {
    let tuning = StorageTuning {
        segment_target_bytes: 256 << 10,
        small_segment_bytes: 64 << 10,
        dead_bytes_prompt: 1 << 20,
        objects_bytes_min: 0,
        compaction_look_ms: 20,
        compaction_soon_ms: 0,
        idle_pass_ms: 50,
        ..StorageTuning::default()
    };
    Options::new()
        .durability(Durability::No)
        .memory_bytes_max(3 << 20)
        .idle_compression(true)
        .checkpoint_log_bytes(2 << 20)
        .checkpoint_interval(Duration::from_millis(100))
        .storage_tuning(tuning)
}

fn key(writer: u64, number: u64) -> Vec<u8> {
    format!("session:{writer}:{number:08}").into_bytes()
}

/// The value of a key's `version`-th life: says whose it is, and is as long as the version wants it.
fn value(key: &[u8], version: u64) -> Vec<u8> {
    let mut rng = Rng::new(version);
    let mut value = format!("{}#{version}#", String::from_utf8_lossy(key)).into_bytes();
    for _ in 0..rng.below(24) {
        value.extend_from_slice(format!("{{\"item\":{},\"amount\":1}},", rng.below(1_000)).as_bytes());
    }
    value
}

fn version_of(key: &[u8], found: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(found);
    let version = text.split('#').nth(1).and_then(|version| version.parse().ok());
    let version = version.unwrap_or_else(|| panic!("{}: {text:.80}", key.escape_ascii()));
    assert!(found == value(key, version), "{}: {text:.80}", key.escape_ascii());
    version
}

/// What a writer knows of its keys: the version of each, 0 for none.
struct Writer {
    number: u64,
    versions: Vec<u64>,
    rng: Rng,
    next: u64,
}

impl Writer {
    fn new(number: u64) -> Writer {
        Writer { number, versions: vec![0; KEYS_EACH as usize], rng: Rng::new(number), next: 1 }
    }

    fn operate(&mut self, db: &Db) {
        let at = self.rng.below(KEYS_EACH);
        let key = key(self.number, at);
        let version = &mut self.versions[at as usize];
        let half_an_hour = Duration::from_secs(1800);
        match self.rng.below(10) {
            0..=3 => {
                *version = self.next;
                self.next += 1;
                let idle = Expiry::Idle { idle: half_an_hour, absolute: None };
                let expiry = if self.rng.chance(50) { idle } else { Expiry::Never };
                db.set(&key, value(&key, *version), expiry).expect("set");
            }
            4 => {
                let there = db.delete(&key).expect("deleted");
                assert_eq!(there, *version != 0);
                *version = 0;
            }
            5 => {
                let touched = db.touch(&key, Touch::Policy).expect("touched");
                assert_eq!(touched, *version != 0);
            }
            6 => {
                let to = self.rng.below(KEYS_EACH);
                let other = self::key(self.number, to);
                let moved = db.transaction(&[&key, &other], |txn, keys| {
                    let found = txn.string(&keys[0]).expect("a string").map(<[u8]>::to_vec);
                    if found.is_some() {
                        txn.delete(&keys[0]);
                        txn.set(&keys[1], &value(&other, self.next), Expiry::Never);
                    }
                    found.is_some()
                });
                let moved = moved.expect("committed");
                assert_eq!(moved, self.versions[at as usize] != 0);
                if moved {
                    self.versions[at as usize] = 0;
                    self.versions[to as usize] = self.next;
                    self.next += 1;
                }
            }
            _ => {
                let found = db.get(&key).expect("readable").map(|found| version_of(&key, &found));
                assert_eq!(found.unwrap_or(0), *version, "{}", key.escape_ascii());
            }
        }
    }

    fn check(&self, db: &Db) {
        for (number, &version) in self.versions.iter().enumerate() {
            let key = key(self.number, number as u64);
            let found = db.get(&key).expect("readable").map(|found| version_of(&key, &found));
            assert_eq!(found.unwrap_or(0), version, "{}", key.escape_ascii());
        }
    }
}

fn read_anything(db: &Db, stop: &AtomicBool, seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let mut reads = 0;
    while !stop.load(Relaxed) {
        let key = key(rng.below(WRITERS), rng.below(KEYS_EACH));
        if let Some(found) = db.get(&key).expect("readable") {
            version_of(&key, &found);
        }
        if reads % 500 == 0 {
            let found = db.keys().take(300).inspect(|key| assert!(key.is_ok(), "{key:?}")).count();
            assert!(found <= 300);
            drop(db.random_key(0, rng.next_u64()).expect("readable"));
        }
        reads += 1;
    }
    reads
}

/// Values in a database that somebody empties all the time: there or not, never wrong, and gone once it has been emptied.
fn empty_a_database(db: &Db, stop: &AtomicBool) -> u64 {
    let db = db.database(2);
    let mut rounds = 0;
    while !stop.load(Relaxed) {
        for number in 0..200 {
            let key = key(9, number);
            db.set(&key, value(&key, rounds + 1), Expiry::Never).expect("set");
        }
        for number in 0..200 {
            let key = key(9, number);
            let found = db.get(&key).expect("readable").expect("there");
            assert_eq!(version_of(&key, &found), rounds + 1);
        }
        db.clear(Some(2)).expect("cleared");
        assert!(db.is_empty());
        assert!(db.get(&key(9, 7)).expect("readable").is_none());
        rounds += 1;
    }
    rounds
}

#[test]
fn values_are_right_whatever_happens_to_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = options().open(dir.path()).expect("opens");
    let (stop, operations) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (db, stop, operations) = (db.clone(), Arc::clone(&stop), Arc::clone(&operations));
            std::thread::spawn(move || {
                let mut writer = Writer::new(number);
                while !stop.load(Relaxed) {
                    writer.operate(&db);
                    operations.fetch_add(1, Relaxed);
                }
                writer
            })
        })
        .collect();
    let others: Vec<_> = (0..3)
        .map(|number| {
            let (db, stop) = (db.clone(), Arc::clone(&stop));
            std::thread::spawn(move || match number {
                0 => empty_a_database(&db, &stop),
                seed => read_anything(&db, &stop, seed),
            })
        })
        .collect();
    let seconds = std::env::var("SESSILE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let alive = |thread: &std::thread::JoinHandle<_>| !thread.is_finished();
    for _ in 0..seconds * 10 {
        super::support::pause(Duration::from_millis(100));
        if !writers.iter().all(|w| !w.is_finished()) || !others.iter().all(alive) {
            break;
        }
    }
    stop.store(true, Relaxed);
    let writers: Vec<Writer> = writers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let counts: Vec<u64> = others.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let stats = db.stats();
    println!("{} operations, {counts:?} others, {:?}", operations.load(Relaxed), stats.storage);
    let storage = &stats.storage;
    assert!(storage.checkpoints > 3 && storage.checkpoints_failed == 0, "{storage:?}");
    assert!(storage.segments_compacted > 0 && storage.segments_dropped > 0, "{storage:?}");
    assert!(storage.values_evicted > 0 && storage.cold_reads > 0, "{storage:?}");
    writers.iter().for_each(|writer| writer.check(&db));
    drop(db);
    let db = open_free(&options().manual_background(), dir.path());
    assert_eq!(db.verify(), Ok(()));
    writers.iter().for_each(|writer| writer.check(&db));
    let expected: u64 = writers
        .iter()
        .map(|writer| writer.versions.iter().filter(|&&version| version != 0).count() as u64)
        .sum();
    assert_eq!(db.database(0).len() as u64, expected);
    assert_eq!(look_at_all(&db).iter().filter(|(id, _)| id.0 == 0).count() as u64, expected);
}

/// Everything is cleared while checkpoints are made, again and again: no checkpoint fails of it, and nothing comes back.
#[test]
fn clearing_everything_during_checkpoints_fails_neither() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut db = options().open(dir.path()).expect("opens");
    for round in 1..=12u64 {
        for number in 0..2_000 {
            let key = key(0, number);
            db.set(&key, value(&key, round), Expiry::Never).expect("set");
        }
        db.request_checkpoint();
        // At different moments of it.
        super::support::pause(Duration::from_micros(300 * round));
        db.clear(None).expect("cleared");
        for number in 0..50 {
            let key = key(0, number);
            db.set(&key, value(&key, round + 100), Expiry::Never).expect("set");
        }
        match db.checkpoint() {
            Ok(()) => {}
            Err(Error::CheckpointFailed { reason }) => panic!("round {round}: {reason}"),
            Err(error) => panic!("{error}"),
        }
        if round % 3 == 0 {
            drop(db);
            db = open_free(&options(), dir.path());
        }
        assert_eq!(db.len(), 50);
        for number in 0..50 {
            let key = key(0, number);
            let found = db.get(&key).expect("readable").expect("there");
            assert_eq!(version_of(&key, &found), round + 100);
        }
    }
    assert_eq!(db.stats().storage.checkpoints_failed, 0);
}

/// A value may be longer than a segment: it has one of its own.
#[test]
fn a_value_longer_than_a_segment_goes_to_disk_and_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options::new().durability(Durability::No).memory_bytes_max(1 << 20).manual_background();
    let db = options.clone().open(dir.path()).expect("opens");
    let mut noise = Rng::new(1);
    let long: Vec<u8> = (0..(66 << 20) / 8).flat_map(|_| noise.next_u64().to_le_bytes()).collect();
    db.set(b"long", &long, Expiry::Never).expect("set");
    for field in 0..30u8 {
        db.hash_set(b"hash", &[field], &long[..1 << 20]).expect("set");
    }
    db.set(b"short", b"value", Expiry::Never).expect("set");
    let check = |db: &Db| {
        assert!(*db.get(b"long").expect("readable").expect("there") == *long);
        let fields = db.hash_get_all(b"hash").expect("readable");
        assert_eq!(fields.len(), 30);
        assert!(fields.iter().all(|(_, value)| *value == long[..1 << 20]));
        assert_eq!(db.get(b"short").expect("readable").expect("there"), *b"value");
    };
    db.checkpoint().expect("made");
    for _ in 0..500 {
        db.step().expect("steps");
    }
    assert_eq!(db.stats().storage.values_cold, 3, "{:?}", db.stats().storage);
    check(&db);
    drop(db);
    let db = open_free(&options, dir.path());
    assert_eq!(db.recovery().log_records, 0);
    check(&db);
    // Changed in part, and once more.
    let key = db.key(0, b"long");
    let mut txn = db.begin(&[key], sessile::Access::Write, db.now_ms()).expect("readable");
    txn.write_string_at(&key, 5, &long[5..9]).expect("a string");
    txn.commit();
    db.delete(b"hash").expect("deleted");
    db.checkpoint().expect("made");
    db.checkpoint().expect("made");
    assert!(db.stats().storage.segment_bytes < 68 << 20, "{:?}", db.stats().storage);
    drop(db);
    let db = open_free(&options, dir.path());
    assert!(*db.get(b"long").expect("readable").expect("there") == *long);
    assert!(!db.contains(b"hash").expect("readable"));
    assert_eq!(db.verify(), Ok(()));
}

/// Fewer in a build without optimisation, unless `SESSILE_KEYS` says otherwise.
fn many() -> u64 {
    let asked = std::env::var("SESSILE_KEYS").ok().and_then(|value| value.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 40_000 } else { 300_000 })
}

/// What the keys of [`the_index_grows_while_checkpoints_are_made`] hold at the end.
fn last_version(number: u64) -> Option<u64> {
    match number % 6 {
        0 => None,
        1 | 2 => Some(2),
        _ => Some(1),
    }
}

/// Keys are added as fast as they can be, so that the index splits under the checkpoints; then many are changed, touched and deleted.
#[test]
fn the_index_grows_while_checkpoints_are_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = options().memory_bytes_max(many() * 80).checkpoint_log_bytes(many() * 4);
    let db = options.clone().open(dir.path()).expect("opens");
    let half_an_hour = Duration::from_secs(1800);
    let loaders: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let db = db.clone();
            std::thread::spawn(move || {
                let own = || (writer..many()).step_by(WRITERS as usize);
                for number in own() {
                    let key = key(0, number);
                    let idle = Expiry::Idle { idle: half_an_hour, absolute: None };
                    db.set(&key, value(&key, 1), idle).expect("set");
                }
                for number in own() {
                    let key = key(0, number);
                    match (number % 6, last_version(number)) {
                        (_, None) => assert!(db.delete(&key).expect("deleted")),
                        (_, Some(2)) => db.set(&key, value(&key, 2), half_an_hour).expect("set"),
                        (3, _) => assert!(db.touch(&key, half_an_hour * 2).expect("touched")),
                        _ => {
                            let found = db.get(&key).expect("readable").expect("there");
                            assert_eq!(version_of(&key, &found), 1);
                        }
                    }
                }
            })
        })
        .collect();
    loaders.into_iter().for_each(|loader| loader.join().expect("no panic"));
    db.checkpoint().expect("made");
    let storage = db.stats().storage;
    assert!(storage.checkpoints_failed == 0 && storage.values_evicted > 0, "{storage:?}");
    let check = |db: &Db| {
        let mut living = 0;
        for number in 0..many() {
            let key = key(0, number);
            let found = db.get(&key).expect("readable").map(|found| version_of(&key, &found));
            assert_eq!(found, last_version(number), "{}", key.escape_ascii());
            living += usize::from(found.is_some());
        }
        assert_eq!(db.len(), living);
        let mut listed: Vec<Vec<u8>> = db.keys().map(|key| key.expect("readable")).collect();
        listed.sort_unstable();
        listed.dedup();
        assert_eq!(listed.len(), living);
    };
    check(&db);
    drop(db);
    let db = open_free(&options.clone().manual_background(), dir.path());
    assert_eq!(db.verify(), Ok(()));
    check(&db);
    db.checkpoint().expect("made");
    drop(db);
    let db = open_free(&options, dir.path());
    assert_eq!(db.recovery().log_records, 0);
    check(&db);
}
