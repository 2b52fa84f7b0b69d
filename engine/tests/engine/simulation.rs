//! The database against a model on the simulated disk: random operations; the process closed, dropped, killed; the power cut, also in the
//! middle of calls and of recovery, several times in a row; calls that fail, disks that fill up; time that passes, and a wall clock that
//! is set. One thread, one seed.
//!
//! What must hold:
//!
//! - After a kill nothing acknowledged is lost, whatever the durability. After a power cut nothing that was acknowledged with `Always`, or
//!   flushed, or synced by the background, is lost. What is there is a prefix of the commits, in their order; a transaction is there whole
//!   or not at all.
//! - Contents are exact. So are deadlines, except that one moved by a touch may be late by up to 5 % of the idle period, never beyond the
//!   absolute limit.
//! - What has been reclaimed stays dead: time does not go back behind what the log has seen, and a sparsely logged touch does not bring a
//!   key back that had died of its exact deadline.

use super::model::{Model, Operation};
use super::run::run;
use super::storage::{Met, Profile, memory_limit, pick, policy};
use super::support::{
    CHAT_IDS, Content, DIR, Id, NEVER, Seen, cases, fixed_manifest, for_each_seed, look_at_all,
    manifest_path, trace, try_look_at_all,
};
use proptest::prelude::*;
use sessile::check::{check, repair};
use sessile::{Access, Clock, Db, Durability, Error, Expiry, Fs, ListEnd, Touch};
use sessile_wal::sim::{Fault, Rng, SimClock, SimFs};
use sessile_wal::{OpenMode, WalError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Kinds of turns.
const KINDS: u64 = 48;

/// A turn: its kind, and the seed of what is drawn in it.
type Act = (u64, u64);

struct Simulation {
    rng: Rng,
    sim: SimFs,
    clock: SimClock,
    model: Model,
    durability: Durability,
    profile: Profile,
    met: Met,
    /// Whether a call was ordered to fail in this life.
    faulty: bool,
    /// This life is over: what is in memory is not known.
    is_over: bool,
    /// As last seen.
    keys_evicted: u64,
    /// A death and the step that saw it, when the log may not know the time yet. (An earlier step may have reclaimed the key: the one in the
    /// tick of its deadline.)
    reclaimed_ms: Option<(u64, u64)>,
}

/// A tick of the wheel, in ms: a key is reclaimed by the first step that long after its deadline.
const TICK_MS: u64 = 16;

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut rng = Rng::new(seed);
        let sim = SimFs::new(rng.next_u64());
        if rng.chance(85) {
            // The rest makes its own, with random parts: there a seed is not quite the same on each run.
            sim.create_dir_all(DIR.as_ref()).expect("no fault yet");
            let file = sim.open(&manifest_path(), OpenMode::CreateNew).expect("no fault yet");
            file.write_at_durable(&fixed_manifest(), 0).expect("no fault yet");
            sim.sync_dir(DIR.as_ref()).expect("no fault yet");
        }
        let durability = pick(&mut rng, &[Durability::Always, Durability::EverySecond, Durability::No]);
        let (model, clock) = (Model::default(), SimClock::default());
        let profile = Profile::new(&mut rng);
        trace(|| format!("{profile:?}"));
        Simulation {
            rng,
            sim,
            clock,
            model,
            durability,
            profile,
            met: Met::default(),
            faulty: false,
            is_over: false,
            keys_evicted: 0,
            reclaimed_ms: None,
        }
    }

    fn fault(&mut self) -> Fault {
        pick(&mut self.rng, &[Fault::Io, Fault::Full, Fault::Short])
    }

    /// Opens, however often it takes, and compares.
    fn open(&mut self) -> Db {
        for attempt in 0.. {
            assert!(attempt < 100, "the database cannot be opened");
            if attempt < 6 && self.rng.chance(12) {
                self.sim.crash_after(1 + self.rng.below(60));
            } else if attempt < 6 && self.rng.chance(8) {
                let fault = self.fault();
                self.sim.fail_after(1 + self.rng.below(60), fault);
            }
            match self.profile.open(&mut self.rng, self.durability, &self.sim, &self.clock) {
                // The crash came when an orphan was being removed, which may fail.
                Ok(db) if self.sim.is_down() => drop(db),
                Ok(db) => {
                    self.sim.clear_faults();
                    (self.faulty, self.is_over) = (false, false);
                    self.keys_evicted = 0;
                    assert_eq!(db.verify(), Ok(()));
                    let seen = look_at_all(&db);
                    trace(|| format!("opened at {}: {:?}", db.now_ms(), db.recovery()));
                    let now_ms = db.now_ms();
                    assert_eq!(db.recovery().keys, seen.len() as u64, "the report counts the living");
                    self.model.read_back(&seen, now_ms);
                    self.reclaimed_ms = None;
                    return db;
                }
                Err(Error::Io { .. } | Error::Log(WalError::Io { .. } | WalError::Poisoned(_))) => {}
                // Replaying an operation may take a look at a value on disk.
                Err(error @ (Error::Log(WalError::Replay { .. }) | Error::BadLog { .. })) => {
                    assert!(error.to_string().contains(": simulated "), "open: {error}");
                }
                Err(Error::Log(WalError::DiskFull { .. })) => self.sim.set_space_bytes(None),
                Err(error) => panic!("open: {error} ({error:?})"),
            }
            self.sim.clear_faults();
            if self.sim.is_down() || self.rng.chance(50) {
                self.die();
            }
            self.set_wall_clock();
        }
        unreachable!()
    }

    /// Ends the process, with or without the power.
    fn die(&mut self) {
        trace(|| "die".into());
        if self.rng.chance(50) {
            self.sim.kill();
        } else {
            self.sim.crash();
            self.model.power_was_cut();
        }
    }

    /// What is on the disk is sound, whatever has happened, and a repair of it is the same database.
    fn inspect(&mut self) {
        let sim = self.sim.fork(2);
        sim.set_space_bytes(None);
        if !sim.exists(&manifest_path()).expect("nothing fails") {
            return;
        }
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let mut wrong = Vec::new();
        let report = check(Arc::clone(&fs), DIR.as_ref(), &mut |finding| {
            if !finding.is_sound() {
                wrong.push(finding.clone());
            }
        });
        assert!(report.expect("checks").is_sound(), "{wrong:#?}");
        let into = Path::new("/repaired");
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let saved = repair(fs, clock, DIR.as_ref(), into, &mut |loss| panic!("{loss:?}")).expect("repairs");
        assert!(saved.is_complete(), "{saved:?}");
        let mut look = |dir: &Path| {
            let options = self.profile.options(&mut self.rng, Durability::No, &sim, &self.clock);
            look_at_all(&options.open(dir).expect("nothing fails"))
        };
        let (original, saved) = (look(DIR.as_ref()), look(into));
        assert_eq!(original, saved, "a repair of what is sound is the same database");
    }

    /// What a copy of the disk holds does not depend on how many threads read it back, nor into how many shards.
    fn open_with_threads(&mut self) {
        let open = |sim: SimFs, rng: &mut Rng, threads: bool, profile: &Profile| {
            let options = profile.options(rng, Durability::No, &sim, &self.clock);
            let options = if threads { options.threads() } else { options };
            let db = options.open(DIR).expect("nothing fails");
            let seen = look_at_all(&db);
            // Dropping it waits for the threads, which write to the copy.
            (seen, db.recovery().keys)
        };
        // One after the other: the first may not be changed by it.
        let copy = |seed| {
            let sim = self.sim.fork(seed);
            sim.set_space_bytes(None);
            sim
        };
        let alone = open(copy(1), &mut self.rng, false, &self.profile);
        let together = open(copy(1), &mut self.rng, true, &self.profile);
        assert_eq!(alone, together, "read back by one thread, and by many");
    }

    fn set_wall_clock(&mut self) {
        if self.rng.chance(25) {
            let now_ms = self.clock.wall_ms();
            let by = pick(&mut self.rng, &[1, 100, 5_000, 3_600_000]);
            let by = self.rng.below(by) + 1;
            self.clock.set_wall_ms(if self.rng.chance(70) { now_ms - by } else { now_ms + by });
        }
    }

    fn id(&mut self) -> Id {
        let database = pick(&mut self.rng, &[0, 0, 1, 15]);
        (database, format!("key:{}", self.rng.below(self.profile.keys)).into_bytes())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = match self.rng.below(20) {
            0 => 0,
            1 => self.rng.below(10_000),
            2 | 3 => self.rng.below(2_000),
            _ => self.rng.below(120),
        };
        let mut bytes = Rng::new(self.rng.next_u64());
        if self.rng.chance(50) {
            let session = |number: u64| {
                format!(
                    "{{\"user\":{},\"roles\":[\"reader\",\"writer\"],\"theme\":\"dark\"}}",
                    number % 1_000
                )
            };
            return (0..length.div_ceil(60))
                .map(|_| session(bytes.next_u64()))
                .collect::<String>()
                .into_bytes();
        }
        (0..length).map(|_| bytes.next_u64() as u8).collect()
    }

    fn duration(&mut self) -> Duration {
        let most_ms = pick(&mut self.rng, &[1, 40, 400, 3_000, 60_000, 1_800_000, 1 << 37]);
        Duration::from_millis(self.rng.below(most_ms) + u64::from(!self.rng.chance(3)))
    }

    fn expiry(&mut self, now_ms: u64) -> Expiry {
        match self.rng.below(6) {
            0 => Expiry::Never,
            1 => Expiry::After(self.duration()),
            2 => Expiry::AtMs(now_ms - 5 + self.rng.below(5_000)),
            3 => Expiry::Keep,
            4 => Expiry::Idle { idle: self.duration(), absolute: None },
            _ => Expiry::Idle { idle: self.duration(), absolute: Some(self.duration()) },
        }
    }

    fn touch(&mut self) -> Touch {
        if self.rng.chance(40) { Touch::Policy } else { Touch::For(self.duration()) }
    }

    /// Mostly to come, and mostly soon.
    fn moment(&mut self, now_ms: u64) -> u64 {
        now_ms - 2 + self.duration().as_millis() as u64
    }

    fn field(&mut self) -> Vec<u8> {
        let fields = pick(&mut self.rng, &[2, 2, 200]);
        format!("field {}", self.rng.below(fields)).into_bytes()
    }

    /// Integers, mostly: some, or more than a flat set has.
    fn members(&mut self) -> Vec<Vec<u8>> {
        let count = if self.rng.chance(15) { self.rng.below(300) } else { self.rng.below(6) };
        let member = |rng: &mut Rng| match rng.below(4) {
            0 => format!("member {}", rng.below(200)).into_bytes(),
            _ => (rng.below(400) as i64 - 200).to_string().into_bytes(),
        };
        (0..=count).map(|_| member(&mut self.rng)).collect()
    }

    /// Scored members: some, or more than a flat sorted set has.
    fn scored(&mut self) -> Vec<(f64, Vec<u8>)> {
        let count = if self.rng.chance(15) { self.rng.below(300) } else { self.rng.below(6) };
        let scored = |rng: &mut Rng| {
            let length = if rng.chance(5) { rng.below(3000) } else { rng.below(3) } as usize;
            let member = format!("member {}{}", rng.below(300), "x".repeat(length));
            (rng.below(100) as f64 / 2.0 - 10.0, member.into_bytes())
        };
        (0..=count).map(|_| scored(&mut self.rng)).collect()
    }

    fn sorted_set_operation(&mut self, id: Id) -> Operation {
        match self.rng.below(5) {
            0..=1 => Operation::SortedSetAdd(id, self.scored()),
            2 => {
                Operation::SortedSetRemove(id, self.scored().into_iter().map(|(_, member)| member).collect())
            }
            _ => {
                let start = self.rng.below(20) as usize;
                let end = start + self.rng.below(if start < 10 { 20 } else { 300 }) as usize;
                Operation::SortedSetRemoveRanks(id, start, end)
            }
        }
    }

    /// An operation that a transaction may contain.
    fn operation(&mut self, now_ms: u64) -> Operation {
        let id = self.id();
        match self.rng.below(52) {
            0..=4 => Operation::Set(id, self.bytes(), self.expiry(now_ms)),
            5 => Operation::SetNew(id, self.bytes(), self.expiry(now_ms)),
            6..=7 => Operation::GetAndTouch(id, self.touch()),
            8..=10 => Operation::Touch(id, self.touch()),
            11 => Operation::Delete(id),
            12 => Operation::ExpireAt(id, Some(now_ms - 5 + self.rng.below(3_000))),
            13 => Operation::ExpireAt(id, None),
            14..=15 => Operation::HashSet(id, self.field(), self.bytes()),
            16 => Operation::HashRemove(id, self.field()),
            17..=18 => {
                let offset = pick(&mut self.rng, &[10, 300, 7_000, 9_000]);
                Operation::WriteAt(id, self.rng.below(offset) as usize, self.bytes())
            }
            19 => Operation::Rename(id, self.id()),
            20 => Operation::Copy(id, self.id()),
            21..=22 => Operation::HashSetUntil(id, self.field(), self.bytes(), self.moment(now_ms)),
            23 => Operation::HashUpdate(id, self.field(), self.bytes()),
            24 => Operation::FieldDeadline(id, self.field(), Some(self.moment(now_ms))),
            25 => Operation::FieldDeadline(id, self.field(), None),
            26..=27 => Operation::SetAdd(id, self.members()),
            28 => Operation::SetRemove(id, self.members()),
            29..=38 => self.list_operation(id),
            39..=43 => self.sorted_set_operation(id),
            44..=50 => self.chat_operation(id),
            _ => Operation::Delete(id),
        }
    }

    fn chat_operation(&mut self, id: Id) -> Operation {
        let keep = (0..self.rng.below(3)).map(|_| self.rng.below(5) as usize).collect();
        let some = |rng: &mut Rng, bound: u64| rng.chance(50).then(|| rng.below(bound));
        match self.rng.below(10) {
            0..=6 => {
                let role = self.rng.below(5) as usize;
                let content = self.bytes();
                let (tokens, name) = (some(&mut self.rng, 300), some(&mut self.rng, CHAT_IDS));
                Operation::ChatAppend(id, role, content, tokens, name)
            }
            7..=8 => {
                let upto = pick(&mut self.rng, &[3, 20, 100]);
                Operation::ChatCompact(id, self.rng.below(upto), self.bytes(), keep)
            }
            _ => {
                let (tokens, turns) = (some(&mut self.rng, 3000), some(&mut self.rng, 30));
                Operation::ChatTrim(id, tokens, turns, keep)
            }
        }
    }

    fn list_end(&mut self) -> ListEnd {
        pick(&mut self.rng, &[ListEnd::Front, ListEnd::Back])
    }

    /// Few different ones, and now and then one that is none of them.
    fn element(&mut self) -> Vec<u8> {
        if self.rng.chance(30) { self.bytes() } else { vec![b'a' + self.rng.below(4) as u8] }
    }

    fn list_operation(&mut self, id: Id) -> Operation {
        let end = self.list_end();
        let index = pick(&mut self.rng, &[1, 8, 150]);
        let index = self.rng.below(index) as usize;
        match self.rng.below(12) {
            0..=3 => {
                let count = pick(&mut self.rng, &[1, 1, 1, 8, 150]);
                let count = 1 + self.rng.below(count);
                let elements = (0..count).map(|_| self.element()).collect();
                Operation::ListPush(id, end, elements)
            }
            4..=5 => Operation::ListPop(id, end, index),
            6 => Operation::ListSet(id, index, self.element()),
            7 => Operation::ListInsert(id, index, self.element()),
            8 => Operation::ListRemove(id, self.element(), index, end),
            9 => Operation::ListTrim(id, index / 4, 1 + self.rng.below(100) as usize),
            _ => Operation::ListMove(id, end, self.id(), self.list_end()),
        }
    }

    fn any_operation(&mut self, now_ms: u64) -> Operation {
        match self.rng.below(40) {
            0 => Operation::Clear(Some(self.id().0)),
            1 if self.rng.chance(60) => Operation::Clear(None),
            1 => Operation::Swap(self.id().0, self.id().0),
            // A hash grows past what stays flat.
            2..=3 => {
                let id = self.id();
                let fields = self.rng.below(150);
                let timed = self.rng.chance(50);
                let mut set = |n: u64| {
                    let (id, field, value) = (id.clone(), format!("{n}").into(), b"v".to_vec());
                    if timed {
                        Operation::HashSetUntil(id, field, value, self.moment(now_ms))
                    } else {
                        Operation::HashSet(id, field, value)
                    }
                };
                Operation::Transaction((0..fields).map(&mut set).collect())
            }
            4..=9 => {
                let length = 1 + self.rng.below(5);
                let all = (0..length).map(|_| self.operation(now_ms)).collect();
                match self.rng.below(5) {
                    0 => Operation::Extended(all),
                    1 => Operation::Overlay(all),
                    2 => Operation::Revoked(all),
                    _ => Operation::Transaction(all),
                }
            }
            _ => self.operation(now_ms),
        }
    }

    /// One operation on both sides.
    fn operate(&mut self, db: &Db) {
        let now_ms = db.now_ms();
        let operation = self.any_operation(now_ms);
        // Here, and not while it waits to be admitted: a step may delete keys.
        let mut waits = 0;
        while matches!(db.admit_now(64, Access::Write), Ok(false)) && !self.sim.is_down() {
            waits += 1;
            assert!(
                waits < 1_000,
                "a write is never admitted: {:?} {:?}",
                db.stats().storage,
                db.stats().log
            );
            self.step(db);
        }
        if self.is_over {
            return;
        }
        let mut after = self.model.world.clone();
        let expected = operation.apply(&mut after, now_ms);
        let log = db.stats().log;
        let (before_lsn, before_records) = (log.appended, log.records);
        let outcome = run(db, &operation);
        let at = db.stats().log.appended.get();
        trace(|| {
            format!("{now_ms} {at}: {:.300} -> {:.200}", format!("{operation:?}"), format!("{outcome:?}"))
        });
        let log = db.stats().log;
        let logged_at_ms = if log.appended > before_lsn { now_ms } else { 0 };
        match outcome {
            Ok(answer) => {
                assert_eq!(answer, expected, "{operation:?}");
                // What wrote no record (a touch within a step of the grid) is as safe as what was logged before it.
                let logged = log.appended > before_lsn;
                self.model.commit(after, log.appended.get(), logged_at_ms, logged);
                if self.durability == Durability::Always && logged {
                    self.model.all_durable();
                }
            }
            Err(Error::DiskFull(_) | Error::LogFailed(_)) => {
                // Refused before it happened, or not acknowledged after it did: memory says which.
                let Some(seen) = self.look(db) else {
                    // Memory can't be looked at. The log's own marks are no records.
                    if log.records > before_records {
                        self.model.commit(after, log.appended.get(), logged_at_ms, false);
                    }
                    return;
                };
                let is = |world| super::model::matches(&exact(world), &seen, now_ms).is_ok();
                if is(&after) && (logged_at_ms > 0 || !is(&self.model.world)) {
                    self.model.commit(after, log.appended.get(), logged_at_ms, false);
                }
            }
            // Refused before it happened: a value can't be read, or the directory is full.
            Err(Error::Io { .. }) if self.may_fail() => {}
            Err(Error::DiskLimit { .. } | Error::MemoryLimit { .. }) => {}
            Err(error) => panic!("{operation:?}: {error}"),
        }
    }

    fn may_fail(&self) -> bool {
        self.faulty || self.sim.is_down()
    }

    /// All keys, unless the disk refuses.
    fn look(&self, db: &Db) -> Option<BTreeMap<Id, Seen>> {
        match try_look_at_all(db) {
            _ if self.is_over => None,
            Ok(seen) => Some(seen),
            Err(Error::Io { .. }) if self.may_fail() => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn compare(&self, db: &Db) {
        if let Some(seen) = self.look(db) {
            self.model.compare(&seen, db.now_ms());
        }
    }

    fn step(&mut self, db: &Db) {
        let now_ms = db.now_ms();
        let outcome = db.step();
        let storage = db.stats().storage;
        trace(|| {
            format!(
                "{now_ms} {}: step {outcome:?} {} {}",
                db.stats().log.appended.get(),
                storage.checkpoint_running,
                storage.checkpoints
            )
        });
        self.note_evictions(db);
        let log = db.stats().log;
        if self.is_over {
            return;
        }
        // Expiry comes first and cannot fail.
        let mut after = self.model.world.clone();
        let mut reclaimed = None;
        for item in after.values_mut().filter(|item| item.reclaimed_ms == 0) {
            if item.dies_ms().saturating_add(TICK_MS) <= now_ms {
                item.reclaimed_ms = now_ms;
                reclaimed = reclaimed.max(Some(item.dies_ms()));
            }
        }
        let written = outcome.is_ok() && log.written >= log.appended;
        if let Some(deadline_ms) = reclaimed {
            // A log that has failed takes no note of a death.
            let lsn = if log.poisoned { u64::MAX } else { log.appended.get() };
            self.model.commit(after, lsn, 0, written);
            self.reclaimed_ms = Some((deadline_ms, now_ms));
        }
        // What was dead in the log when it was opened goes with the first tick.
        let ticked = now_ms >= self.model.opened_ms + TICK_MS;
        for number in (0..sessile::DATABASES).filter(|_| ticked) {
            let here = self.model.world.iter().filter(|(id, item)| id.0 == number && item.reclaimed_ms == 0);
            let here = here.map(|(_, item)| item);
            let (alive, dying): (Vec<_>, Vec<_>) = here.partition(|item| item.dies_ms() > now_ms);
            let with = |items: &[&super::model::Item]| items.iter().filter(|i| i.dies_ms() != NEVER).count();
            let (len, len_with) = (db.len_of(number), db.len_with_deadline(number));
            assert!(
                (alive.len()..=alive.len() + dying.len()).contains(&len),
                "{len} keys in database {number} at {now_ms}: {alive:?} {dying:?}"
            );
            assert!((with(&alive)..=with(&alive) + dying.len()).contains(&len_with));
        }
        if outcome.is_err() || log.poisoned {
            return;
        }
        // While the disk is full a second failure, in making the next file, holds the sync up without being reported.
        if self.durability != Durability::No && !log.disk_full {
            let due = self.model.written_lsn_at(now_ms.saturating_sub(1_000));
            assert!(
                log.durable.get() >= due,
                "the log is behind {due} at {now_ms}: {:?} {log:?}",
                self.durability
            );
        }
        if let Some((deadline_ms, seen_ms)) = self.reclaimed_ms
            && now_ms >= seen_ms + 1_000
            && written
        {
            // A mark with the time is in the log by now.
            let same = self.model.world.clone();
            self.model.commit(same, log.appended.get(), deadline_ms, true);
            self.reclaimed_ms = None;
        }
    }

    /// Lets time pass to just behind a touched key's deadline, which the log holds rounded up.
    fn wait_for_a_death(&mut self, db: &Db) {
        let now_ms = db.now_ms();
        let touched = |item: &&super::model::Item| {
            item.slack_ms > 0 && item.deadline_ms > now_ms && item.deadline_ms < now_ms + 3_600_000
        };
        let deadlines: Vec<u64> =
            self.model.world.values().filter(touched).map(|item| item.deadline_ms).collect();
        if !deadlines.is_empty() {
            let deadline_ms = pick(&mut self.rng, &deadlines);
            self.clock.advance_ms(deadline_ms + self.rng.below(2 * TICK_MS) - now_ms);
            self.step(db);
        }
    }

    /// Finds out which keys were deleted because memory is full.
    fn note_evictions(&mut self, db: &Db) {
        let stats = db.stats();
        if std::mem::replace(&mut self.keys_evicted, stats.storage.keys_evicted) == self.keys_evicted {
            return;
        }
        let now_ms = db.now_ms();
        // A call that was ordered to fail does so once. If the disk is down, none of it ever reaches it.
        let Some(seen) = self.look(db).or_else(|| self.look(db)) else {
            self.is_over = true;
            return;
        };
        let alive = self.model.world.iter().filter(|(_, item)| item.deadline_ms > now_ms);
        let gone: Vec<Id> = alive.map(|(id, _)| id.clone()).filter(|id| !seen.contains_key(id)).collect();
        self.model.evict(&gone, stats.log.appended.get(), now_ms);
    }

    fn checkpoint(&mut self, db: &Db) {
        // It takes many steps, each of which may delete keys.
        if self.profile.evicts_keys {
            db.request_checkpoint();
            return;
        }
        trace(|| "checkpoint".into());
        match db.checkpoint() {
            Ok(()) => self.model.all_durable(),
            Err(Error::CheckpointFailed { .. }) => {}
            Err(error) => panic!("checkpoint: {error}"),
        }
    }

    fn settings(&mut self, db: &Db) {
        match self.rng.below(5) {
            0 if !self.profile.evicts_keys => db.set_memory_bytes_max(memory_limit(&mut self.rng)),
            4 if self.profile.evicts_keys => db.set_eviction(policy(&mut self.rng)),
            1 => db.set_idle_compression(self.rng.chance(50)),
            2 => db.set_disk_bytes_max(pick(&mut self.rng, &[1, 50_000, NEVER, NEVER])),
            _ => db.set_checkpoint_trigger(
                pick(&mut self.rng, &[1, 1_000, NEVER]),
                Duration::from_millis(pick(&mut self.rng, &[1, 1_000_000])),
            ),
        }
    }

    fn turn(&mut self, db: &Db, kind: u64) {
        match kind {
            40..=41 => self.wait_for_a_death(db),
            0..=25 => self.operate(db),
            26..=33 => {
                let ms = pick(&mut self.rng, &[0, 1, 15, 20, 60, 400, 1_100, 70_000]);
                self.clock.advance_ms(ms);
                for _ in 0..=self.rng.below(3) {
                    self.step(db);
                }
            }
            34 => {
                let durability =
                    pick(&mut self.rng, &[Durability::Always, Durability::EverySecond, Durability::No]);
                self.durability = durability;
                db.set_durability(durability);
            }
            35..=36 => {
                if db.flush().is_ok() {
                    self.model.all_durable();
                }
            }
            37 => self.set_wall_clock(),
            38 => {
                let limit = self.sim.used_bytes() + self.rng.below(60_000);
                let limited = self.rng.chance(50);
                self.sim.set_space_bytes(limited.then_some(limit));
            }
            39 => self.compare(db),
            42..=43 => self.checkpoint(db),
            44 => self.settings(db),
            // Background work between operations, without time passing.
            _ => {
                db.request_checkpoint();
                for _ in 0..self.rng.below(40) {
                    self.step(db);
                    if self.rng.chance(40) {
                        self.operate(db);
                    }
                }
            }
        }
        assert_eq!(db.verify(), Ok(()));
        self.met.look(db);
        let log = db.stats().log;
        self.model.note(log.written.get(), log.durable.get(), db.now_ms());
    }

    /// One life of the process, or what the disk leaves of it. `acts`: what to do, and a seed for how; else that is drawn too.
    fn live(&mut self, acts: Option<&[Act]>) {
        let db = self.open();
        match self.rng.below(10) {
            0..=3 => self.sim.crash_after(1 + self.rng.below(400)),
            4..=5 => {
                let fault = self.fault();
                self.sim.fail_after(1 + self.rng.below(300), fault);
                self.faulty = true;
            }
            _ => {}
        }
        let count = acts.map_or_else(|| self.rng.below(80), |acts| acts.len() as u64);
        for number in 0..count {
            let kind = match acts.and_then(|acts| acts.get(number as usize)) {
                Some(&(kind, seed)) => {
                    self.rng = Rng::new(seed);
                    kind
                }
                None => self.rng.below(KINDS),
            };
            self.turn(&db, kind);
            if self.sim.is_down() {
                break;
            }
        }
        if self.rng.chance(25) && !self.sim.is_down() {
            self.wait_for_a_death(&db);
            let log = db.stats().log;
            self.model.note(log.written.get(), log.durable.get(), db.now_ms());
        }
        self.compare(&db);
        self.met.add(&db);
        let now_ms = db.now_ms();
        match self.rng.below(6) {
            0 if !self.sim.is_down() => {
                if db.close().is_ok() {
                    let same = self.model.world.clone();
                    self.model.commit(same, 0, now_ms, true);
                    self.model.all_durable();
                }
                assert!(matches!(db.set(b"key", b"", Expiry::Never), Err(Error::Closed)));
                self.compare(&db);
                drop(db);
            }
            1 if !self.sim.is_down() => {
                let sound = !db.stats().log.poisoned;
                self.sim.clear_faults();
                self.sim.set_space_bytes(None);
                drop(db);
                if sound {
                    let same = self.model.world.clone();
                    self.model.commit(same, 0, now_ms, true);
                    self.model.all_durable();
                }
            }
            _ => {
                // The handles die first, so that dropping writes nothing.
                self.die();
                drop(db);
            }
        }
        if self.rng.chance(40) {
            self.die();
        }
        if self.rng.chance(60) {
            self.sim.set_space_bytes(None);
        }
        self.sim.clear_faults();
        self.clock.advance_ms(pick(&mut self.rng, &[0, 0, 10, 2_000, 100_000]));
        self.set_wall_clock();
        // Threads that delete keys do so at once.
        if self.rng.chance(3) && !self.profile.evicts_keys {
            self.open_with_threads();
        }
        if self.rng.chance(4) && self.profile.has_whole_hashes() {
            self.inspect();
        }
    }
}

fn exact(world: &super::model::World) -> super::model::World {
    let exact = |item: &super::model::Item| super::model::Item { slack_ms: 0, ..item.clone() };
    world.iter().map(|(id, item)| (id.clone(), exact(item))).collect()
}

#[test]
fn what_comes_back_is_what_was_promised() {
    let (met, seeds) = (Mutex::new(Met::default()), AtomicU64::new(0));
    for_each_seed(250, |seed| {
        let mut simulation = Simulation::new(seed);
        for _ in 0..5 {
            simulation.live(None);
        }
        met.lock().expect("nobody panics with it").join(simulation.met);
        seeds.fetch_add(1, Relaxed);
    });
    let met = met.into_inner().expect("nobody panics with it");
    println!("{met:?}");
    assert!(met.everything() || seeds.into_inner() < 100, "something was never met: {met:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), failure_persistence: None, ..ProptestConfig::default() })]

    /// The same by proptest, which looks for the fewest turns that fail.
    #[test]
    fn any_interleaving_of_operations_and_background_work_and_crashes_equals_the_model(
        seed in any::<u64>(),
        lives in prop::collection::vec(prop::collection::vec((0..KINDS, any::<u64>()), 0..60), 1..5),
    ) {
        trace(|| format!("case {seed} {lives:?}"));
        let mut simulation = Simulation::new(seed);
        for acts in &lives {
            simulation.live(Some(acts));
        }
        // And what is left.
        simulation.live(Some(&[]));
    }
}

/// The model itself, where it must say no.
#[test]
fn the_model_notices_a_lost_write_and_a_risen_key() {
    let id: Id = (0, b"key".to_vec());
    let lost = std::panic::catch_unwind(|| {
        let mut model = Model::default();
        let mut world = model.world.clone();
        Operation::Set((0, b"key".to_vec()), b"value".to_vec(), Expiry::Never).apply(&mut world, 1_000);
        model.commit(world, 10, 1_000, true);
        model.read_back(&Default::default(), 2_000);
    });
    assert!(lost.is_err());
    let risen = std::panic::catch_unwind(|| {
        let mut model = Model::default();
        let item = super::support::Seen {
            content: Content::String(Vec::new()),
            deadline_ms: NEVER,
            absolute_ms: NEVER,
        };
        model.read_back(&[(id, item)].into_iter().collect(), 2_000);
    });
    assert!(risen.is_err());
}
