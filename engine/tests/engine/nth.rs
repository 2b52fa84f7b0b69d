//! Fail the n-th, in the way of SQLite's tests: a short life that meets everything that touches the disk (open, writes of every kind, transactions,
//! a side file, checkpoints, compaction, log recycling, values read back from disk, close, reopen) is lived over and over, and each time the next
//! call to the disk fails: reads, writes, syncs and names alike; once, or all later ones of its kind, or all later ones; as an I/O error, as a
//! full disk, as a short transfer, and reads as if the file had ended early.
//!
//! What must hold, each time:
//!
//! - Nothing panics, and nothing waits for ever.
//! - An answer is right. What needs no failing call is served: an error is only ever given to who met a failing call, or to a write while the log
//!   is known to have failed or the disk to be full.
//! - Once the disk is sound again, the directory opens, and holds all that was acknowledged: after the process has died, and after the power has
//!   gone (what was acknowledged with `Always`, what was flushed, what a checkpoint said is safe).
//! - After a full disk that passes, writes are taken again without opening anew; and after any failure that the log does not suffer from.
//! - No file and no lock stays open.
//!
//! Every n is tried with one way of failing, which changes from n to n; `SESSILE_SEEDS` (any number) tries every n with every one.
//! `SESSILE_NTH=n` tries that n alone. A failure names the case.

use super::model::{Answer, Model, Operation, World};
use super::run::run;
use super::support::{
    Content, DIR, Id, Seen, fixed_manifest, is_thorough, look, manifest_path, trace, try_look_at_all,
};
use sessile::{Access, Db, Durability, Error, Expiry, Fs, ListEnd, Options, StorageTuning, StreamId, Touch};
use sessile_wal::sim::{Call, Fault, FaultPlan, Lasts, SimClock, SimFs};
use sessile_wal::{OpenMode, WalError};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A turn of the life.
#[derive(Clone, Debug)]
enum Act {
    Do(Operation),
    /// Adds an entry to a stream.
    Append(Id, u64),
    /// Reads all keys.
    Look,
    Checkpoint,
    /// Lets time pass in the background.
    Wait(u64),
    Flush,
    SideFile(&'static [u8]),
    /// So little memory that all values leave it; or as much as there is.
    Squeeze(bool),
    Reopen,
}

fn id(name: &str) -> Id {
    (u8::from(name.ends_with('1')), name.as_bytes().to_vec())
}

fn session(number: u64, version: u64) -> Vec<u8> {
    let (user, cart) = (number * 7_919 % 1_000, number * 104_729 % 10_007);
    format!("{{\"user\":{user},\"version\":{version},\"roles\":[\"reader\",\"writer\"],\"theme\":\"dark\",\"cart\":[{cart}]}}")
        .into_bytes()
}

/// The life. Each kind of write is there before, between and behind checkpoints.
fn acts() -> Vec<Act> {
    use Operation::*;
    let bytes = |text: &str| text.as_bytes().to_vec();
    let set = |number: u64, version: u64| {
        Act::Do(Set(id(&format!("session {number}")), session(number, version), Expiry::Never))
    };
    let of_every_kind = |round: u64| {
        let member = |name: &str| bytes(&format!("{name} {round}"));
        vec![
            Act::Do(HashSet(id("hash"), member("field"), bytes("value"))),
            Act::Do(HashSetUntil(id("hash"), bytes("dying"), bytes("value"), 1_900_000_000_000 + round)),
            Act::Do(SetAdd(id("set"), vec![bytes(&round.to_string()), member("member")])),
            Act::Do(SortedSetAdd(
                id("sorted"),
                vec![(round as f64, member("member")), (0.5, bytes("always"))],
            )),
            Act::Do(ListPush(id("list"), ListEnd::Back, vec![member("element"), bytes("last")])),
            Act::Append(id("stream"), round + 1),
            Act::Do(WriteAt(id("session 1"), 3, bytes("USER"))),
            Act::Do(Touch(id("idle"), self::Touch::Policy)),
            Act::Do(ExpireAt(id("session 2"), Some(1_900_000_000_000 + round))),
            Act::Do(Transaction(vec![
                Set(id("pair a"), session(round, 1), Expiry::Never),
                ListPop(id("list"), ListEnd::Front, 1),
                Set(id("pair b1"), session(round, 1), Expiry::Never),
            ])),
            Act::Do(Overlay(vec![
                HashSet(id("hash"), bytes("overlay"), session(round, 2)),
                Delete(id("session 3")),
            ])),
        ]
    };
    let mut acts: Vec<Act> = (0..12).map(|number| set(number, 1)).collect();
    let idle = Expiry::Idle { idle: Duration::from_secs(3_600), absolute: Some(Duration::from_secs(90_000)) };
    acts.push(Act::Do(Set(id("idle"), session(99, 1), idle)));
    acts.extend(of_every_kind(0));
    acts.push(Act::SideFile(b"one library"));
    acts.extend([Act::Checkpoint, Act::Squeeze(true), Act::Wait(60), Act::Look]);
    // A delta; what is on disk only is changed in the log; most of the first segments dies.
    acts.extend((0..8).map(|number| set(number, 2)));
    acts.extend(of_every_kind(1));
    acts.extend([Act::Flush, Act::Checkpoint, Act::Wait(200), Act::Look]);
    acts.push(Act::Do(Rename(id("session 4"), id("moved"))));
    acts.push(Act::Do(Copy(id("session 5"), id("copied 1"))));
    acts.push(Act::Do(Set(id("short"), bytes("lived"), Expiry::After(Duration::from_secs(2)))));
    acts.extend([Act::Reopen, Act::Look]);
    // Log files fill, and are used again.
    acts.extend(
        (20..32).map(|number| Act::Do(Set(id("large"), session(number, 3).repeat(8), Expiry::Never))),
    );
    acts.extend([
        Act::Checkpoint,
        Act::Wait(2_500),
        Act::SideFile(b"another library, longer than the one before"),
    ]);
    acts.extend(of_every_kind(2));
    acts.push(Act::Do(Clear(Some(1))));
    acts.push(Act::Do(Swap(0, 2)));
    acts.push(Act::Do(Swap(0, 2)));
    acts.extend([Act::Squeeze(false), Act::Checkpoint, Act::Wait(400), Act::Look]);
    acts.extend(of_every_kind(3));
    acts
}

fn options(fs: &SimFs, clock: &SimClock, durability: Durability) -> Options {
    let tuning = StorageTuning {
        shards: Some(2),
        segment_target_bytes: 1_500,
        small_segment_bytes: 1_000,
        small_segments: 2,
        objects_bytes_min: 0,
        compaction_look_ms: 1,
        compaction_soon_ms: 0,
        checkpoint_retry_ms: 50,
        dictionary_samples_min: 8,
        dictionary_bytes_max: 400,
        reserve_bytes: 0,
        ..StorageTuning::default()
    };
    Options::new()
        .durability(durability)
        .file_system(Arc::new(fs.clone()))
        .clock(Arc::new(clock.clone()))
        .manual_background()
        .log_file_bytes_max(8 << 10)
        .checkpoint_log_bytes(u64::MAX)
        .storage_tuning(tuning)
}

/// A machine on which the life is lived, and what it should hold.
struct Life {
    fs: SimFs,
    clock: SimClock,
    durability: Durability,
    plan: Option<FaultPlan>,
    model: Model,
    /// What the side file may hold: what was acknowledged last, then what was tried since.
    side_file: Vec<Option<&'static [u8]>>,
    squeezed: bool,
}

/// What a life came to.
#[derive(Debug, Default)]
struct Came {
    /// Whether the plan's call came at all.
    reached: bool,
    acts: usize,
    reopened: u32,
}

impl Life {
    fn new(durability: Durability, plan: Option<FaultPlan>) -> Life {
        let fs = SimFs::new(11);
        fs.create_dir_all(DIR.as_ref()).expect("no fault yet");
        let file = fs.open(&manifest_path(), OpenMode::CreateNew).expect("no fault yet");
        file.write_at_durable(&fixed_manifest(), 0).expect("no fault yet");
        fs.sync_dir(DIR.as_ref()).expect("no fault yet");
        drop(file);
        if let Some(plan) = plan {
            fs.fail(plan);
        }
        let (clock, model) = (SimClock::default(), Model::default());
        Life { fs, clock, durability, plan, model, side_file: vec![None], squeezed: false }
    }

    fn may_fail(&self) -> bool {
        self.fs.failures() > 0
    }

    /// Opens; `None` if that fails for good.
    fn open(&mut self) -> Option<Db> {
        for _ in 0..3 {
            let memory = if self.squeezed { 1 } else { u64::MAX };
            let failures = self.fs.failures();
            match options(&self.fs, &self.clock, self.durability).memory_bytes_max(memory).open(DIR) {
                Ok(db) => {
                    assert_eq!(db.verify(), Ok(()));
                    return Some(db);
                }
                Err(error) => {
                    assert!(self.fs.failures() > failures, "refused, and nothing had failed: {error}");
                    assert!(names_its_cause(&error), "{error}");
                    assert_eq!(self.fs.handles(), (0, 0), "a refused start leaves something open: {error}");
                }
            }
        }
        None
    }

    fn live(&mut self) -> Came {
        let mut came = Came::default();
        let Some(mut db) = self.open() else {
            came.reached = true;
            return came;
        };
        for act in acts() {
            trace(|| format!("{} calls, {} failures: {act:?}", self.fs.calls(), self.fs.failures()));
            came.acts += 1;
            if matches!(act, Act::Reopen) {
                self.close(db);
                came.reopened += 1;
                let Some(opened) = self.open() else {
                    came.reached = true;
                    return came;
                };
                db = opened;
                match self.try_look(&db) {
                    Some(seen) => self.model.read_back(&seen, db.now_ms()),
                    None => break,
                }
                continue;
            }
            self.act(&db, &act);
        }
        self.goes_on(&db);
        self.close(db);
        came.reached = self.fs.failures() > 0;
        came
    }

    fn act(&mut self, db: &Db, act: &Act) {
        match act {
            Act::Do(operation) => {
                let now_ms = db.now_ms();
                let mut after = self.model.world.clone();
                let expected = operation.apply(&mut after, now_ms);
                self.write(db, after, Some(expected), &|db| run(db, operation));
            }
            Act::Append(id, number) => {
                let mut after = self.model.world.clone();
                let (at, fields) = (StreamId { ms: *number, seq: 0 }, [&b"field"[..], b"value"]);
                append(&mut after, id, at, &fields);
                self.write(db, after, None, &|db| {
                    while !db.admit_now(64, Access::Write)? {
                        db.step()?;
                    }
                    let key = db.key(id.0, &id.1);
                    let mut txn = db.begin(&[key], Access::Write, db.now_ms())?;
                    txn.stream_append(&key, at, &fields).map_err(Error::WrongKind)?;
                    txn.commit();
                    if db.durability() == Durability::Always { db.flush() } else { db.push_log() }?;
                    Ok(Answer::Done)
                });
            }
            Act::Look => {
                self.look_at_each(db);
            }
            Act::Checkpoint => match db.checkpoint() {
                Ok(()) => self.model.all_durable(),
                Err(Error::CheckpointFailed { .. }) if self.may_fail() => {}
                Err(error) => panic!("checkpoint: {error}"),
            },
            Act::Flush => match db.flush() {
                Ok(()) => self.model.all_durable(),
                Err(Error::LogFailed(_) | Error::DiskFull(_)) if self.may_fail() => {}
                Err(error) => panic!("flush: {error}"),
            },
            Act::Wait(ms) => self.wait(db, *ms),
            Act::SideFile(content) => {
                self.side_file.push(Some(content));
                match db.replace_side_file("functions", content) {
                    Ok(()) => self.side_file = vec![Some(content)],
                    Err(Error::Io { .. }) if self.may_fail() => {}
                    Err(error) => panic!("side file: {error}"),
                }
            }
            Act::Squeeze(squeezed) => {
                self.squeezed = *squeezed;
                db.set_memory_bytes_max(if *squeezed { 1 } else { u64::MAX });
            }
            Act::Reopen => unreachable!("it ends the database"),
        }
    }

    /// A write on both sides.
    fn write(
        &mut self,
        db: &Db,
        after: World,
        expected: Option<Answer>,
        operation: &dyn Fn(&Db) -> Result<Answer, Error>,
    ) {
        let now_ms = db.now_ms();
        let mut waits = 0;
        while matches!(db.admit_now(64, Access::Write), Ok(false)) {
            waits += 1;
            assert!(waits < 1_000, "a write is never admitted: {:?}", db.stats().log);
            let _ = db.step();
        }
        let before = db.stats().log;
        let failures = self.fs.failures();
        let outcome = operation(db);
        let log = db.stats().log;
        let logged_at_ms = if log.appended > before.appended { now_ms } else { 0 };
        match outcome {
            Ok(answer) => {
                if let Some(expected) = expected {
                    assert_eq!(answer, expected);
                }
                let logged = log.appended > before.appended;
                self.model.commit(after, log.appended.get(), logged_at_ms, logged);
                if self.durability == Durability::Always && logged {
                    self.model.all_durable();
                }
            }
            Err(error @ (Error::DiskFull(_) | Error::LogFailed(_))) => {
                assert!(self.may_fail(), "{error}");
                if let Error::LogFailed(_) = error {
                    // Or the next file can't be made; which is tried again.
                    let why = log.poisoned || error.to_string().contains(": simulated ");
                    assert!(why, "a write is refused though the log is sound: {error}");
                }
                // Refused before it happened, or not acknowledged after it did.
                let happened = match self.try_look(db) {
                    Some(seen) => {
                        let is = |world: &World| matches(world, &seen, now_ms);
                        assert!(
                            is(&after) || is(&self.model.world),
                            "after {error}: neither before ({:?}) nor after ({:?})",
                            super::model::matches(&self.model.world, &seen, now_ms),
                            super::model::matches(&after, &seen, now_ms)
                        );
                        is(&after) && (logged_at_ms > 0 || !is(&self.model.world))
                    }
                    None => log.records > before.records,
                };
                if happened {
                    self.model.commit(after, log.appended.get(), logged_at_ms, false);
                }
            }
            Err(error) => {
                assert!(self.fs.failures() > failures, "refused, and nothing has failed: {error}");
                assert!(is_of_reading(&error), "{error}");
            }
        }
    }

    /// Reads key after key: who meets no failing call gets an answer, and the right one.
    fn look_at_each(&mut self, db: &Db) -> bool {
        let now_ms = db.now_ms();
        let mut seen = BTreeMap::new();
        let ids: Vec<Id> = self.model.world.keys().cloned().collect();
        let mut errors = 0;
        for id in ids {
            let failures = self.fs.failures();
            match look(db, &id) {
                Ok(Some(found)) => drop(seen.insert(id, found)),
                Ok(None) => {
                    let item = &self.model.world[&id];
                    assert!(item.dies_ms() <= now_ms, "{}:{} is gone", id.0, id.1.escape_ascii());
                }
                Err(error) => {
                    assert!(self.fs.failures() > failures, "not served, and nothing has failed: {error}");
                    assert!(is_of_reading(&error), "{error}");
                    errors += 1;
                }
            }
        }
        let known = self.model.world.iter().filter(|(id, _)| seen.contains_key(*id));
        let known: World = known.map(|(id, item)| (id.clone(), item.clone())).collect();
        super::model::matches(&known, &seen, now_ms).unwrap_or_else(|why| panic!("{why}"));
        errors == 0
    }

    /// All keys, as scans find them.
    fn try_look(&self, db: &Db) -> Option<BTreeMap<Id, Seen>> {
        let failures = self.fs.failures();
        match try_look_at_all(db) {
            // What seems to be damaged is left out.
            Ok(_) if self.fs.failures() > failures => None,
            Ok(seen) => Some(seen),
            Err(error) => {
                assert!(self.fs.failures() > failures, "not served, and nothing has failed: {error}");
                assert!(is_of_reading(&error), "{error}");
                None
            }
        }
    }

    fn wait(&mut self, db: &Db, ms: u64) {
        for _ in 0..ms.div_ceil(20) {
            self.clock.advance_ms(20);
            for _ in 0..4 {
                if let Err(error) = db.step() {
                    assert!(self.may_fail(), "{error}");
                }
            }
        }
        let log = db.stats().log;
        self.model.note(log.written.get(), log.durable.get(), db.now_ms());
    }

    /// After a fault that has passed: writes are taken again, unless the log has failed.
    fn goes_on(&mut self, db: &Db) {
        let Some(plan) = self.plan.filter(|_| self.fs.failures() > 0) else { return };
        if plan.lasts != Lasts::Once {
            // The disk is mended while the database is open.
            self.fs.clear_faults();
        }
        let poisoned = db.stats().log.poisoned;
        if plan.fault == Fault::Full && plan.lasts == Lasts::Once && self.fs.failed_kind() != Some(Call::Sync)
        {
            assert!(!poisoned, "a full disk that has passed has closed the log");
        }
        self.wait(db, 3_000);
        if poisoned {
            // Reads go on.
            assert!(self.look_at_each(db), "the disk is sound, and a read fails");
            return;
        }
        let resumed = (0..100).any(|_| {
            self.wait(db, 100);
            let id = id("resumed");
            let operation = Operation::Set(id.clone(), b"again".to_vec(), Expiry::Never);
            self.act(db, &Act::Do(operation));
            self.model.world.contains_key(&id)
        });
        assert!(resumed, "writes are never taken again: {:?} {:?}", db.stats().log, db.stats().storage);
        db.flush().expect("the disk is sound");
        self.model.all_durable();
        db.checkpoint().expect("the disk is sound");
        assert!(self.look_at_each(db), "the disk is sound, and a read fails");
        assert_eq!(db.verify(), Ok(()));
    }

    fn close(&mut self, db: Db) {
        match db.close() {
            Ok(()) => self.model.all_durable(),
            Err(error) => assert!(self.may_fail(), "close: {error}"),
        }
        let log = db.stats().log;
        self.model.note(log.written.get(), log.durable.get(), db.now_ms());
        drop(db);
        assert_eq!(self.fs.handles(), (0, 0), "files or locks stay open");
    }

    /// The disk is sound again, and another process opens the directory: after this one has died, or the power had gone.
    fn judge(&self) {
        for power_cut in [false, true] {
            let fs = self.fs.fork(17);
            let mut model = self.model.clone();
            if power_cut {
                fs.crash();
                model.power_was_cut();
            }
            let what = if power_cut { "after a power cut" } else { "after a kill" };
            let db = options(&fs, &self.clock, self.durability)
                .open(DIR)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let seen = try_look_at_all(&db).unwrap_or_else(|error| panic!("{what}: {error}"));
            model.read_back(&seen, db.now_ms());
            assert_eq!(db.verify(), Ok(()));
            let side_file = db.read_side_file("functions").unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(
                self.side_file.contains(&side_file.as_deref()),
                "{what}: the side file holds {side_file:?}, not one of {:?}",
                self.side_file
            );
            db.set(b"new", b"write", Expiry::Never).expect("usable");
            db.checkpoint().expect("usable");
        }
    }
}

fn append(world: &mut World, id: &Id, at: StreamId, fields: &[&[u8]]) {
    let entry = (at, fields.iter().map(|field| field.to_vec()).collect());
    match world.get_mut(id) {
        Some(item) => match Rc::make_mut(&mut item.content) {
            Content::Stream(entries) => entries.push(entry),
            other => unreachable!("{other:?}"),
        },
        None => {
            let mut made = World::new();
            Operation::Set(id.clone(), Vec::new(), Expiry::Never).apply(&mut made, 0);
            let mut item = made.remove(id).expect("just made");
            item.content = Rc::new(Content::Stream(vec![entry]));
            world.insert(id.clone(), item);
        }
    }
}

fn matches(world: &World, seen: &BTreeMap<Id, Seen>, now_ms: u64) -> bool {
    super::model::matches(world, seen, now_ms).is_ok()
}

/// An error that says which file it is about, or what failed.
fn names_its_cause(error: &Error) -> bool {
    let text = error.to_string();
    text.contains(DIR) || text.contains("/data")
}

/// An error of reading a value.
fn is_of_reading(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.to_string().contains("simulated"),
        // A read that finds less than there is can't be told from damage.
        Error::DamagedValue { .. } => true,
        Error::Log(WalError::Io { .. }) => true,
        _ => false,
    }
}

const FAULTS: [Fault; 4] = [Fault::Io, Fault::Full, Fault::Short, Fault::Early];
const LASTS: [Lasts; 3] = [Lasts::Once, Lasts::SameKind, Lasts::All];

/// Tries one case; whether its call came.
fn case(durability: Durability, plan: FaultPlan) -> bool {
    let attempt = std::panic::catch_unwind(|| {
        let mut life = Life::new(durability, Some(plan));
        let came = life.live();
        life.judge();
        came.reached
    });
    attempt.unwrap_or_else(|panic| {
        eprintln!("failed with {durability:?}, {plan:?}: replay it with SESSILE_NTH={}", plan.call);
        std::panic::resume_unwind(panic)
    })
}

fn every_n(durability: Durability) {
    let mut sound = Life::new(durability, None);
    let came = sound.live();
    assert_eq!((came.acts, came.reopened), (acts().len(), 1));
    let calls = sound.fs.calls();
    sound.judge();
    let only: Option<u64> = std::env::var("SESSILE_NTH").ok().and_then(|n| n.parse().ok());
    let (mut cases, mut unreached) = (0u64, 0);
    for call in (1..=calls + 1).filter(|call| only.is_none_or(|only| only == *call)) {
        for (number, (fault, lasts)) in
            FAULTS.iter().flat_map(|fault| LASTS.map(|lasts| (*fault, lasts))).enumerate()
        {
            // Over twelve neighbours all ways are tried.
            if !is_thorough() && only.is_none() && number as u64 != call % 12 {
                continue;
            }
            let reached = case(durability, FaultPlan { call, fault, lasts });
            // Not every life makes quite as many calls.
            assert!(reached || call + 32 > calls, "call {call} of {calls} never came");
            cases += 1;
            unreached += u64::from(!reached);
        }
    }
    println!("{durability:?}: a life of {calls} calls, {cases} cases, {unreached} of them beyond its end");
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost_with_always() {
    every_n(Durability::Always);
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost_with_every_second() {
    every_n(Durability::EverySecond);
}
