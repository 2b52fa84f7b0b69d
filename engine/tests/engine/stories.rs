//! Bugs of the storage that the simulation has found, each as the few steps that it takes.

use super::support::{DIR, fixed_manifest, manifest_path};
use sessile::{Access, Clock, Db, Durability, Expiry, Fs, Options, StorageTuning, Touch};
use sessile_wal::OpenMode;
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::Arc;
use std::time::Duration;

struct Machine {
    fs: SimFs,
    clock: SimClock,
    tuning: StorageTuning,
    memory_bytes_max: u64,
}

impl Machine {
    fn new() -> Machine {
        let fs = SimFs::new(1);
        fs.create_dir_all(DIR.as_ref()).expect("made");
        let manifest = fs.open(&manifest_path(), OpenMode::CreateNew).expect("new");
        manifest.write_at_durable(&fixed_manifest(), 0).expect("written");
        fs.sync_dir(DIR.as_ref()).expect("synced");
        let tuning =
            StorageTuning { shards: Some(4), collected_ranges_per_step: 1, ..StorageTuning::default() };
        Machine { fs, clock: SimClock::default(), tuning, memory_bytes_max: u64::MAX }
    }

    /// One whose keys all share their hash.
    fn with_one_hash() -> Machine {
        let mut machine = Machine::new();
        machine.tuning.hash_mask = 0;
        machine
    }

    /// One that keeps no value in memory which is on disk.
    fn without_memory(self) -> Machine {
        let tuning = StorageTuning { objects_bytes_min: 0, ..self.tuning };
        Machine { tuning, memory_bytes_max: 1, ..self }
    }

    fn open(&self) -> Db {
        Options::new()
            .durability(Durability::No)
            .file_system(Arc::new(self.fs.clone()))
            .clock(Arc::new(self.clock.clone()))
            .manual_background()
            .memory_bytes_max(self.memory_bytes_max)
            .storage_tuning(self.tuning.clone())
            .open(DIR)
            .expect("opens")
    }

    /// Ends the process and starts another.
    fn kill(&self, db: Db) -> Db {
        self.fs.kill();
        drop(db);
        self.open()
    }

    /// Cuts the power.
    fn crash(&self, db: Db) -> Db {
        self.fs.crash();
        drop(db);
        self.open()
    }
}

fn steps(db: &Db, count: usize) {
    (0..count).for_each(|_| {
        db.step().expect("steps");
    });
}

/// A key was new when a checkpoint began, was changed and deleted before its range was collected, and nothing else was in the range. The log
/// then had the change but not the key, and the index file nothing about the range: the database refused to start.
#[test]
fn a_key_that_came_before_a_checkpoint_and_went_during_it() {
    for held in 0..12 {
        let machine = Machine::new();
        let db = machine.open();
        db.set(b"other", b"", Expiry::Never).expect("set");
        db.checkpoint().expect("made");
        db.hash_set(b"key", b"field", b"1").expect("set");
        db.request_checkpoint();
        // At some of these steps the checkpoint has begun, and the key's range is not collected yet.
        steps(&db, held);
        db.hash_set(b"key", b"field", b"2").expect("set");
        db.touch(b"key", Duration::from_secs(9)).expect("touched");
        db.delete(b"key").expect("deleted");
        while db.stats().storage.checkpoints < 2 {
            steps(&db, 1);
        }
        let db = machine.kill(db);
        assert_eq!(db.keys().map(|key| key.expect("readable")).collect::<Vec<_>>(), [b"other"]);
    }
}

/// A transaction had begun when a key lived, and changed it when a checkpoint had left it out as dead: the database refused to start.
#[test]
fn a_key_that_is_touched_at_the_very_end_of_its_life_during_a_checkpoint() {
    let machine = Machine::new();
    let db = machine.open();
    db.set_active_expiry(false);
    db.set(b"key", b"value", Expiry::After(Duration::from_millis(10))).expect("set");
    let before_ms = db.now_ms();
    machine.clock.advance_ms(20);
    db.request_checkpoint();
    // Everything is collected, and the checkpoint is not over.
    while db.stats().storage.segment_bytes == 0 {
        steps(&db, 1);
        assert_eq!(db.stats().storage.checkpoints, 0);
    }
    let key = db.key(0, b"key");
    let mut txn = db.begin(&[key], Access::Write, before_ms).expect("readable");
    assert!(txn.touch(&key, Touch::For(Duration::from_secs(1))).is_some(), "it lived then");
    txn.commit();
    while db.stats().storage.checkpoints == 0 {
        steps(&db, 1);
    }
    db.push_log().expect("written");
    let db = machine.kill(db);
    assert_eq!(db.get(b"key").expect("readable").expect("there"), *b"value");
}

/// The index files had the deadline of a value on disk rounded up beyond the session's absolute limit, which only the value knows.
#[test]
fn a_cold_session_does_not_outlive_its_absolute_limit() {
    let machine = Machine::new().without_memory();
    let db = machine.open();
    let (idle, absolute) = (Duration::from_secs(1800), Some(Duration::from_secs(2001)));
    db.set(b"key", b"value", Expiry::Idle { idle, absolute }).expect("set");
    let limit_ms = db.now_ms() + 2_001_000;
    db.checkpoint().expect("made");
    machine.clock.advance_ms(300_000);
    steps(&db, 100);
    assert_eq!(db.stats().storage.values_cold, 1);
    db.touch(b"key", Touch::Policy).expect("touched");
    db.checkpoint().expect("made");
    let db = machine.kill(db);
    machine.clock.advance_ms(limit_ms - db.now_ms());
    assert!(!db.contains(b"key").expect("readable"), "it has outlived its limit");
}

/// Of two keys with the same hash one was on disk. Its death was logged by the hash alone, which took the other with it.
#[test]
fn the_death_of_a_cold_key_does_not_take_one_with_the_same_hash_along() {
    let machine = Machine::with_one_hash().without_memory();
    let db = machine.open();
    let idle = Duration::from_secs(1800);
    db.set(b"cold", [1; 300], Expiry::Idle { idle, absolute: None }).expect("set");
    db.checkpoint().expect("made");
    steps(&db, 100);
    assert_eq!(db.stats().storage.values_cold, 1);
    db.set(b"twin", [2; 300], Expiry::Never).expect("set");
    assert_eq!(db.verify(), Ok(()));
    // It dies within the minute that its logged deadline is late by.
    machine.clock.advance_ms(1_800_020);
    steps(&db, 100);
    assert_eq!(db.len(), 1);
    let db = machine.kill(db);
    assert_eq!(db.get(b"twin").expect("readable").expect("there"), [2; 300]);
}

/// A checkpoint wrote down the time when it began, and left out what had died when it came by. With a wall clock that was set back the
/// database was opened at a time at which those keys lived.
#[test]
fn time_does_not_go_back_behind_a_checkpoint() {
    let machine = Machine::new();
    let db = machine.open();
    db.set_active_expiry(false);
    db.set(b"key", b"value", Expiry::After(Duration::from_millis(10))).expect("set");
    let began_ms = machine.clock.wall_ms();
    db.request_checkpoint();
    steps(&db, 2);
    machine.clock.advance_ms(20);
    let now_ms = db.now_ms();
    while db.stats().storage.checkpoints == 0 {
        steps(&db, 1);
    }
    machine.clock.set_wall_ms(began_ms);
    let db = machine.crash(db);
    assert!(db.now_ms() >= now_ms, "{} after {now_ms}", db.now_ms());
    assert!(!db.contains(b"key").expect("readable"));
}

/// Two keys with the same hash had their timers in one slot. The first was armed anew, in a slot of the same number, and was then taken for the
/// second, which was left without a timer.
#[test]
fn of_two_keys_with_the_same_hash_neither_loses_its_timer() {
    let machine = Machine::with_one_hash();
    let db = machine.open();
    // A level of the wheel has 128 slots of 16 ms.
    for (long, brief) in [(b"a", b"b"), (b"b", b"a")] {
        let at_ms = db.now_ms() + 1_000;
        db.set(long, b"", Expiry::AtMs(at_ms)).expect("set");
        db.set(brief, b"", Expiry::AtMs(at_ms)).expect("set");
        db.expire_at_ms(long, Some(at_ms + 128 * 16)).expect("set");
        db.expire_at_ms(brief, Some(at_ms + 48)).expect("set");
        for _ in 0..9 {
            machine.clock.advance_ms(1_000 / 8);
            steps(&db, 2);
        }
        assert_eq!(db.len(), 1);
    }
}

/// All keys were removed while a checkpoint was collecting what had changed, which it can't say of all keys: it failed, and whoever had asked for
/// it was told so. Now it begins anew.
#[test]
fn removing_all_keys_does_not_fail_a_checkpoint() {
    for held in 0..20 {
        let machine = Machine::new();
        let db = machine.open();
        for number in 0..20u8 {
            db.set(&[number], [1; 100], Expiry::Never).expect("set");
        }
        db.checkpoint().expect("made");
        db.set(b"dirty", b"", Expiry::Never).expect("set");
        db.request_checkpoint();
        steps(&db, held);
        db.clear(None).expect("cleared");
        db.push_log().expect("written");
        db.set(b"after", b"", Expiry::Never).expect("set");
        while db.stats().storage.checkpoint_running || db.stats().storage.checkpoint_requested {
            steps(&db, 1);
        }
        assert_eq!(db.stats().storage.checkpoints_failed, 0);
        assert_eq!(db.verify(), Ok(()));
        let db = machine.kill(db);
        assert_eq!(db.keys().map(|key| key.expect("readable")).collect::<Vec<_>>(), [b"after"]);
    }
}

/// More is dirty than memory has room for: writes wait for a checkpoint.
fn overfull(machine: &Machine) -> Db {
    let db = machine.open();
    for number in 0..4_000u32 {
        db.set(&number.to_le_bytes(), [7; 1_000], Expiry::Never).expect("set");
    }
    for _ in 0..3 {
        drop(db.step());
        if matches!(db.admit_now(100, Access::Write), Ok(false)) {
            return db;
        }
    }
    panic!("it is not overfull: {:?}", db.stats().storage);
}

/// Writes waited for values to leave memory, which they do no more when keys are deleted instead: for ever.
#[test]
fn writes_go_on_when_keys_may_be_deleted_instead() {
    let db = overfull(&Machine::new().without_memory());
    db.set_eviction(sessile::Eviction::AllKeysLru);
    steps(&db, 3);
    assert!(db.admit_now(100, Access::Write).expect("no error"));
}

/// Writes waited for a checkpoint, which is not made any more when the log has failed: for ever, instead of answering that it has.
#[test]
fn writes_that_wait_for_memory_are_refused_when_the_log_fails() {
    let machine = Machine::new().without_memory();
    let db = overfull(&machine);
    machine.fs.fail_after(1, sessile_wal::sim::Fault::Io);
    db.flush().expect_err("the log fails");
    assert!(db.log_failed());
    for _ in 0..100 {
        drop(db.step());
    }
    assert!(matches!(db.admit_now(100, Access::Write), Err(sessile::Error::LogFailed(_))));
}
