//! A seed's story: some lives of one database, each opened with other options, used, and ended somehow.
//!
//! The machine may die in any call of the disk, calls may fail, space may end, also while opening, and several times in a row. What is read back
//! is compared with what [the oracle](crate::oracle) knows; then clients come.

use crate::disk::{self, Lie, SlowFs};
use crate::floor::{Carried, Floor};
use crate::oracle::Oracle;
use crate::profile::{Profile, Settings, pick};
use crate::seen;
use crate::tally::Tally;
use crate::work::Work;
use sessile::{Clock, Db, Durability, Error, Fs};
use sessile_server::config::Config;
use sessile_server::log::LogControl;
use sessile_server::server::Server;
use sessile_wal::sim::{Fault, Rng, SimClock, SimFs};
use sessile_wal::{OpenMode, WalError};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Where the database is on the simulated disk.
pub(crate) const DIR: &str = "/data";

/// How much of a story is told.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Lives.
    pub lives: u64,
    /// Turns in each, at most.
    pub turns: u64,
}

impl Default for Length {
    /// Some dozens of turns in a few lives.
    fn default() -> Length {
        Length { lives: 4, turns: 60 }
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// However it comes.
    Any,
    /// The power is cut.
    PowerCut,
    /// The process is killed.
    Kill,
}

/// What is asked of a simulation beside its seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How much of it there is.
    pub length: Length,
    /// How its lives end.
    pub end: End,
    /// What acknowledgements mean throughout; `None`: drawn, and changed on the way.
    pub durability: Option<Durability>,
    /// Whether calls of the disk may fail otherwise than by the end of the machine.
    pub faults: bool,
    /// How the disk breaks its word.
    pub lie: Lie,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { length: Length::default(), end: End::Any, durability: None, faults: true, lie: Lie::None }
    }
}

/// See the module's page.
pub struct Simulation {
    pub(crate) rng: Rng,
    pub(crate) sim: SimFs,
    fs: SlowFs,
    pub(crate) clock: SimClock,
    pub(crate) oracle: Oracle,
    work: Work,
    /// What it has met.
    pub tally: Tally,
    pub(crate) profile: Profile,
    plan: Plan,
    durability: Durability,
    /// The disk has less room than it may be asked for.
    is_small: bool,
    /// A call of the disk was ordered to fail in this life.
    faulty: bool,
}

/// The bytes of a manifest with fixed random parts, so that a seed is the same on each run. Format version 1.
fn fixed_manifest() -> Vec<u8> {
    let mut bytes = b"SESSMANI".to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(b"sixteen bytes idsixteen byte key");
    bytes.extend_from_slice(&1_700_000_000_000u64.to_le_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

const LEVELS: [Durability; 3] = [Durability::Always, Durability::EverySecond, Durability::No];

impl Simulation {
    /// The story of a seed.
    ///
    /// # Panics
    /// Never: no fault is ordered yet.
    pub fn new(seed: u64, plan: Plan) -> Simulation {
        const SOUND: &str = "no fault was ordered yet";
        let mut rng = Rng::new(seed ^ 0x5E55_11E0_0000_0000);
        let sim = SimFs::new(rng.next_u64());
        sim.create_dir_all(DIR.as_ref()).expect(SOUND);
        let file = sim.open(&Path::new(DIR).join("MANIFEST"), OpenMode::CreateNew).expect(SOUND);
        file.write_at_durable(&fixed_manifest(), 0).expect(SOUND);
        sim.sync_dir(DIR.as_ref()).expect(SOUND);
        let fs = SlowFs::new(sim.clone());
        fs.tell(plan.lie);
        let profile = Profile::new(&mut rng);
        crate::trace::line(&format!("seed {seed}: {profile:?}"));
        let mut oracle = Oracle::new();
        if profile.rots {
            oracle.remember();
        }
        Simulation {
            durability: plan.durability.unwrap_or_else(|| pick(&mut rng, &LEVELS)),
            rng,
            sim,
            fs,
            clock: SimClock::default(),
            oracle,
            work: Work::default(),
            tally: Tally::default(),
            profile,
            plan,
            is_small: false,
            faulty: false,
        }
    }

    /// Tells it to its end.
    pub fn run(&mut self) {
        for _ in 0..self.plan.length.lives {
            self.live();
            if self.profile.rots {
                self.rot();
            }
        }
        // What is left.
        let (db, _) = self.open(false);
        drop(db);
    }

    pub(crate) fn trace(what: impl FnOnce() -> String) {
        if crate::trace::is_on() {
            crate::trace::line(&what());
        }
    }

    fn fault(&mut self) -> Fault {
        pick(&mut self.rng, &[Fault::Io, Fault::Full, Fault::Short])
    }

    /// Opens, however often it takes, and compares.
    fn open(&mut self, may_fail: bool) -> (Db, Settings) {
        for attempt in 0.. {
            assert!(attempt < 100, "the database cannot be opened");
            let may_fail = may_fail && attempt < 6;
            let calls = pick(&mut self.rng, &[10, 60]);
            if may_fail && self.rng.chance(15) {
                self.sim.crash_after(1 + self.rng.below(calls));
            } else if may_fail && self.plan.faults && self.rng.chance(6) {
                let fault = self.fault();
                self.sim.fail_after(1 + self.rng.below(calls), fault);
            }
            let (options, settings) = self.profile.options(&mut self.rng, self.durability);
            let opened =
                options.file_system(Arc::new(self.fs.clone())).clock(Arc::new(self.clock.clone())).open(DIR);
            match opened {
                // The crash came when an orphan was being removed, which may fail.
                Ok(db) if self.sim.is_down() => drop(db),
                Ok(db) => {
                    self.sim.clear_faults();
                    self.opened(&db);
                    return (db, settings);
                }
                Err(error) => {
                    Self::trace(|| format!("open: {error}"));
                    match error {
                        Error::Io { .. } | Error::Log(WalError::Io { .. } | WalError::Poisoned(_)) => {}
                        // Replaying an operation may take a look at a value on disk.
                        Error::Log(WalError::Replay { .. }) | Error::BadLog { .. }
                            if error.to_string().contains(": simulated ") => {}
                        Error::Log(WalError::DiskFull { .. }) => self.set_space(None),
                        error => panic!("a start is refused: {error} ({error:?})"),
                    }
                    self.tally.failed_opening += 1;
                }
            }
            self.sim.clear_faults();
            if self.sim.is_down() || self.rng.chance(50) {
                self.tally.died_opening += u64::from(self.sim.is_down());
                self.die();
            }
            self.set_wall_clock();
        }
        unreachable!("it has been opened, or given up")
    }

    fn opened(&mut self, db: &Db) {
        if let Err(why) = db.verify() {
            panic!("the engine contradicts itself: {why}");
        }
        let world = seen::read(db).unwrap_or_else(|error| panic!("what was opened can't be read: {error}"));
        let now_ms = db.now_ms();
        let recovery = db.recovery();
        Self::trace(|| format!("opened at {now_ms}: {recovery:?}"));
        assert_eq!(recovery.keys, world.keys.len() as u64, "the report counts the living");
        self.tally.torn += u64::from(recovery.torn.is_some());
        let lost = self.oracle.reopened(world, now_ms).unwrap_or_else(|why| panic!("{why}"));
        self.tally.lost_allowed += lost as u64;
    }

    /// Ends the process, with or without the power.
    fn die(&mut self) {
        let cut = match self.plan.end {
            End::Any => self.rng.chance(50),
            End::PowerCut => true,
            End::Kill => false,
        };
        Self::trace(|| if cut { "POWER CUT".into() } else { "KILL".into() });
        if cut {
            self.sim.crash();
            self.oracle.power_was_cut();
            self.tally.power_cuts += 1;
        } else {
            self.sim.kill();
            self.tally.kills += 1;
        }
    }

    fn set_wall_clock(&mut self) {
        if self.rng.chance(20) {
            let by = pick(&mut self.rng, &[1, 100, 5_000, 3_600_000]);
            let by = self.rng.below(by) + 1;
            let now_ms = self.clock.wall_ms();
            let to_ms = if self.rng.chance(70) { now_ms - by } else { now_ms + by };
            Self::trace(|| format!("the wall clock is set to {to_ms}"));
            self.clock.set_wall_ms(to_ms);
        }
    }

    fn set_space(&mut self, bytes: Option<u64>) {
        self.is_small = bytes.is_some();
        self.sim.set_space_bytes(bytes);
    }

    /// One life of the process.
    fn live(&mut self) {
        let (db, settings) = self.open(true);
        let mut config = Config::default();
        let level = match self.durability {
            Durability::Always => "always",
            Durability::EverySecond => "everysec",
            Durability::No => "no",
        };
        config.set("appendfsync", &[level]).expect("a value of the directive");
        config.set("enable-debug-command", &["yes"]).expect("a value of the directive");
        if self.profile.listener {
            config.set("notify-keyspace-events", &["AKE"]).expect("a value of the directive");
        }
        let server = Server::new(db.clone(), config, None, LogControl::default());
        settings.apply(&db);
        let carried = Carried {
            rng: Rng::new(self.rng.next_u64()),
            oracle: std::mem::take(&mut self.oracle),
            tally: std::mem::take(&mut self.tally),
            work: std::mem::take(&mut self.work),
        };
        let machine = (self.sim.clone(), self.clock.clone());
        let traces = crate::trace::is_on();
        let mut floor = Floor::new(server, carried, self.profile.clone(), self.durability, machine, traces);
        floor.tally.lives += 1;
        floor.troubled = self.is_small;
        floor.arrive();
        floor.arrive();
        self.order_faults(&mut floor);
        let floor = Rc::new(RefCell::new(floor));
        let weak = Rc::downgrade(&floor);
        disk::meanwhile(Some(Rc::new(move || {
            if let Some(floor) = weak.upgrade()
                && let Ok(mut floor) = floor.try_borrow_mut()
            {
                floor.meanwhile();
            }
        })));
        let turns = self.rng.below(self.plan.length.turns) + 1;
        for _ in 0..turns {
            self.act(&floor, &db);
            if self.sim.is_down() {
                floor.borrow_mut().tally.died_in_call += 1;
                break;
            }
        }
        disk::meanwhile(None);
        let Ok(floor) = Rc::try_unwrap(floor) else { unreachable!("nobody else holds it") };
        let mut floor = floor.into_inner();
        if !self.sim.is_down() {
            floor.deliver_all();
        }
        self.count(&mut floor, &db);
        self.durability = floor.durability;
        let Carried { oracle, tally, work, rng: _ } = floor.leave();
        (self.oracle, self.tally, self.work) = (oracle, tally, work);
        self.end(db);
    }

    fn order_faults(&mut self, floor: &mut Floor) {
        self.faulty = false;
        let calls = pick(&mut self.rng, &[40, 400]);
        match self.rng.below(10) {
            0..=3 => self.sim.crash_after(1 + self.rng.below(calls)),
            4..=5 if self.plan.faults => {
                let fault = self.fault();
                self.sim.fail_after(1 + self.rng.below(calls), fault);
                floor.troubled = true;
                floor.tally.faults += 1;
                self.faulty = true;
            }
            _ => {}
        }
    }

    /// What a life has met.
    fn count(&mut self, floor: &mut Floor, db: &Db) {
        let storage = db.stats().storage;
        let tally = &mut floor.tally;
        tally.checkpoints += storage.checkpoints;
        tally.checkpoints_failed += storage.checkpoints_failed;
        tally.compacted += storage.segments_compacted;
        tally.dropped += storage.segments_dropped;
        tally.evicted += storage.values_evicted;
        tally.cold_reads += storage.cold_reads;
        tally.dictionaries += storage.dictionaries;
    }

    /// The process ends.
    fn end(&mut self, db: Db) {
        let now_ms = db.now_ms();
        self.oracle.time_is(now_ms);
        let clean = self.plan.end == End::Any && !self.sim.is_down() && self.rng.chance(25);
        if clean {
            if db.close().is_ok() {
                self.oracle.durable(self.oracle.last());
                self.tally.closes += 1;
            }
            drop(db);
        }
        if !clean || self.rng.chance(50) || self.sim.is_down() {
            self.die();
        } else {
            self.sim.kill();
        }
        if self.rng.chance(30) {
            self.die();
        }
        if self.rng.chance(60) {
            self.set_space(None);
        }
        self.sim.clear_faults();
        self.clock.advance_ms(pick(&mut self.rng, &[0, 0, 10, 2_000, 100_000]));
        self.set_wall_clock();
    }

    /// One thing that happens.
    fn act(&mut self, floor: &Rc<RefCell<Floor>>, db: &Db) {
        match self.rng.below(100) {
            0..=57 => floor.borrow_mut().turn(),
            58..=66 => {
                let ms = pick(&mut self.rng, &[0, 1, 15, 20, 60, 400, 1_100, 70_000]);
                self.clock.advance_ms(ms);
                floor.borrow_mut().look_at_time();
                for _ in 0..=self.rng.below(3) {
                    self.step(floor, db);
                }
            }
            67..=74 => {
                if self.durability_of(floor) == Durability::Always || self.rng.chance(10) {
                    self.sync(floor, db);
                }
                floor.borrow_mut().deliver_all();
            }
            75..=77 => floor.borrow_mut().deliver_all(),
            78..=80 => floor.borrow_mut().arrive(),
            81 => floor.borrow_mut().depart(),
            82..=85 => {
                db.request_checkpoint();
                for _ in 0..self.rng.below(25) {
                    self.step(floor, db);
                    if self.rng.chance(40) {
                        floor.borrow_mut().turn();
                    }
                }
            }
            86..=88 => self.run_errands(floor),
            89 if self.plan.faults => {
                let limit = self.sim.used_bytes() + self.rng.below(60_000);
                let limited = self.rng.chance(50);
                self.set_space(limited.then_some(limit));
                {
                    let mut floor = floor.borrow_mut();
                    floor.troubled |= limited;
                    floor.tally.full += u64::from(limited);
                    floor.trace(|| format!("space: {limited}"));
                }
                if !limited {
                    self.recover(floor, db);
                }
            }
            90 => self.compare(floor, db),
            91 if self.plan.durability.is_none() => {
                let durability = pick(&mut self.rng, &LEVELS);
                let mut floor = floor.borrow_mut();
                floor.trace(|| format!("appendfsync is {durability:?} now"));
                floor.oracle.promise_changed();
                floor.durability = durability;
                db.set_durability(durability);
            }
            _ => self.step(floor, db),
        }
        if !self.sim.is_down() {
            floor.borrow_mut().try_again();
        }
    }

    /// There is space again, and nothing else was wrong with the disk: after a while nothing is refused any more.
    fn recover(&mut self, floor: &Rc<RefCell<Floor>>, db: &Db) {
        if !floor.borrow().troubled || self.faulty {
            return;
        }
        for _ in 0..12 {
            self.clock.advance_ms(500);
            for _ in 0..6 {
                self.step(floor, db);
            }
        }
        let mut floor = floor.borrow_mut();
        if !floor.is_down() {
            floor.trace(|| "writes go on".into());
            floor.troubled = false;
            floor.tally.recovered += 1;
        }
    }

    fn durability_of(&self, floor: &Rc<RefCell<Floor>>) -> Durability {
        floor.borrow().durability
    }

    /// What the sync thread does.
    fn sync(&mut self, floor: &Rc<RefCell<Floor>>, db: &Db) {
        let last = floor.borrow().oracle.last();
        let synced = db.flush();
        let mut floor = floor.borrow_mut();
        floor.trace(|| format!("synced: {synced:?}"));
        match synced {
            Ok(()) => floor.oracle.durable(last),
            Err(error) => assert!(floor.troubled || floor.is_down(), "a sync of a sound disk fails: {error}"),
        }
        floor.after_execution();
    }

    /// One step of the background.
    fn step(&mut self, floor: &Rc<RefCell<Floor>>, db: &Db) {
        let now_ms = db.now_ms();
        let outcome = db.step();
        let mut floor = floor.borrow_mut();
        floor.trace(|| format!("step: {outcome:?}"));
        if floor.is_down() {
            return;
        }
        floor.after_execution();
        let log = db.stats().log;
        if let Err(error) = outcome {
            assert!(floor.troubled, "the background fails on a sound disk: {error}");
        } else if floor.durability == Durability::EverySecond && !floor.was_troubled {
            // (What a full disk has kept in memory is synced a second after it was written.)
            assert!(
                floor.oracle.is_durable_before(now_ms.saturating_sub(1_000)),
                "more than a second's work is not synced at {now_ms}: {log:?}"
            );
        }
    }

    /// Checkpoints that clients have asked for.
    fn run_errands(&mut self, floor: &Rc<RefCell<Floor>>) {
        loop {
            let (taken, last) = {
                let mut floor = floor.borrow_mut();
                (floor.take_errand(), floor.oracle.last())
            };
            let Some((place, mut errand)) = taken else { return };
            errand.run();
            let mut floor = floor.borrow_mut();
            if floor.is_down() {
                return;
            }
            // All that was committed before it is durable, if it says that it was made.
            floor.saved = Some(last);
            floor.give_errand(place, errand);
        }
    }

    /// What is in memory is what the model says.
    fn compare(&mut self, floor: &Rc<RefCell<Floor>>, db: &Db) {
        let floor = floor.borrow();
        match seen::read(db) {
            _ if floor.is_down() => {}
            Ok(world) => {
                if let Err(why) = floor.oracle.compare(&world, db.now_ms()) {
                    panic!("in memory: {why}");
                }
            }
            Err(error) => assert!(floor.troubled, "a read of a sound disk fails: {error}"),
        }
    }
}
