//! The log against a model, on the simulated disk: random operations, kills, power cuts (in the middle of calls and of
//! recovery, several in a row), full disks and failing calls.
//!
//! What must hold: what is read back is a prefix of what was appended since `from`, byte for byte and at the same
//! positions; it holds everything the log said was durable (after a power cut) or written (after a kill). So nothing
//! acknowledged is lost, nothing is replayed twice, and nothing stale comes back from a recycled file.

use std::sync::Arc;

use sessile_wal::{
    Admit, Clock, Durability, Fs, Lsn, Recovery, Wal, WalError, WalOptions,
    sim::{Fault, Rng, SimClock, SimFs},
};

use crate::support::{Records, dir, for_each_seed, open, options};

struct Model {
    rng: Rng,
    sim: SimFs,
    fs: Arc<dyn Fs>,
    clock: SimClock,
    wal: Option<Wal>,
    /// Everything appended and not known to be lost, from `from` on.
    records: Records,
    from: Lsn,
    /// What must survive a kill, and what a power cut.
    written: Lsn,
    durable: Lsn,
    high_water_ms: u64,
    next: u64,
    durability: Durability,
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut rng = Rng::new(seed);
        let sim = SimFs::new(rng.next_u64());
        let durability = [Durability::Always, Durability::EverySecond, Durability::No][rng.below(3) as usize];
        Model {
            rng,
            fs: Arc::new(sim.clone()),
            sim,
            clock: SimClock::default(),
            wal: None,
            records: Vec::new(),
            from: Lsn::ZERO,
            written: Lsn::ZERO,
            durable: Lsn::ZERO,
            high_water_ms: 0,
            next: 0,
            durability,
        }
    }

    /// Opens, however often it takes, and compares.
    fn open(&mut self) -> Wal {
        let known = options().known_durable(self.durable);
        let there = self.fs.exists(dir()).expect("no fault is ordered");
        let verified = (there && self.rng.chance(20)).then(|| self.verify(known));
        for attempt in 0.. {
            assert!(attempt < 100, "the log cannot be opened");
            if attempt < 6 && self.rng.chance(15) {
                let calls = 1 + self.rng.below(60);
                self.sim.crash_after(calls);
            } else if attempt < 6 && self.rng.chance(10) {
                let fault = self.fault();
                self.sim.fail_after(1 + self.rng.below(60), fault);
            }
            let mut options = known.durability(self.durability);
            if self.rng.chance(20) {
                options =
                    options.segment_bytes_max([8 << 10, 12 << 10, 64 << 10][self.rng.below(3) as usize]);
            }
            match open(&self.fs, &self.clock, options, self.from) {
                Ok((wal, recovery, records)) => {
                    self.sim.clear_faults();
                    self.compare(&records);
                    assert_eq!(recovery.records, records.len() as u64);
                    if let Some((verified, would)) = verified.as_ref().filter(|_| attempt == 0) {
                        assert_eq!((verified, would), (&records, &recovery), "verified and opened differ");
                    }
                    assert!(recovery.clock_high_water_ms >= self.high_water_ms);
                    self.records = records;
                    assert!(wal.durable() >= recovery.end);
                    (self.written, self.durable) = (recovery.end, recovery.end);
                    return wal;
                }
                Err(WalError::Io { .. } | WalError::Poisoned(_)) => {}
                Err(WalError::DiskFull { .. }) => self.sim.set_space_bytes(None),
                Err(error) => panic!("open: {error} ({error:?})"),
            }
            self.sim.clear_faults();
            if self.sim.is_down() || self.rng.chance(50) {
                self.die();
            }
        }
        unreachable!()
    }

    /// What opening will find, by reading alone.
    fn verify(&self, options: WalOptions) -> (Records, Recovery) {
        let mut records = Vec::new();
        let mut files = 0;
        let outcome = sessile_wal::verify(
            self.fs.clone(),
            dir(),
            &options,
            self.from,
            &mut |_| files += 1,
            &mut |end, record| {
                records.push((end, record.to_vec()));
                Ok(())
            },
        );
        let recovery = outcome.unwrap_or_else(|error| panic!("verify: {error} ({error:?})"));
        assert_eq!(files, recovery.files);
        (records, recovery)
    }

    fn compare(&self, records: &Records) {
        let expected: Vec<_> = self.records.iter().filter(|(end, _)| *end > self.from).collect();
        for (index, record) in records.iter().enumerate() {
            let want = expected.get(index).unwrap_or_else(|| panic!("an unknown record at {}", record.0));
            assert_eq!(record.0, want.0, "record {index} ends elsewhere");
            assert!(record.1 == want.1, "record {index} at {} has other bytes", record.0);
        }
        let must = expected.iter().filter(|(end, _)| *end <= self.written).count();
        assert!(records.len() >= must, "{} records came back, {must} had been promised", records.len());
    }

    /// Ends the process, with or without the power.
    fn die(&mut self) {
        self.wal = None;
        if self.rng.chance(50) {
            self.sim.kill();
        } else {
            self.sim.crash();
            self.written = self.durable;
        }
    }

    fn note(&mut self, wal: &Wal) {
        let (written, durable) = (wal.written(), wal.durable());
        assert!(written >= self.written && durable >= self.durable, "what was promised is taken back");
        assert!(durable <= written && written <= wal.appended().max(written));
        (self.written, self.durable) = (written, durable);
    }

    fn fault(&mut self) -> Fault {
        [Fault::Io, Fault::Full, Fault::Short][self.rng.below(3) as usize]
    }

    fn record(&mut self) -> Vec<u8> {
        let length = match self.rng.below(20) {
            0 => 0,
            1 => self.rng.below(20_000),
            2 | 3 => self.rng.below(5_000),
            _ => self.rng.below(300),
        };
        self.next += 1;
        let mut bytes = Rng::new(self.next);
        (0..length).map(|_| bytes.next_u64() as u8).collect()
    }

    fn append(&mut self, wal: &Wal) {
        let record = self.record();
        let kind = if self.rng.chance(80) { Admit::Write } else { Admit::Delete };
        let admitted = match self.rng.below(4) {
            0 => true,
            1 => wal.admit_now(record.len(), kind).unwrap_or(false),
            _ => wal.admit(record.len(), kind).is_ok(),
        };
        if admitted {
            let end = wal.append(&record);
            if end < Lsn::MAX {
                assert!(self.records.last().is_none_or(|(last, _)| *last < end));
                self.records.push((end, record));
            }
        }
    }

    /// One operation; errors are what faults and full disks make of it.
    fn operate(&mut self, wal: &Wal) {
        let some = self.records.get(self.rng.below(self.records.len() as u64) as usize).map(|(end, _)| *end);
        let some = some.unwrap_or_default();
        let outcome = match self.rng.below(30) {
            0..=11 => {
                for _ in 0..=self.rng.below(8) {
                    self.append(wal);
                }
                Ok(())
            }
            12..=15 => wal.write(wal.appended()),
            16 => wal.write(some),
            17..=18 => wal.sync(wal.appended()),
            19 => wal.sync(some),
            20 => wal.commit(wal.appended()),
            21..=25 => {
                let ms = [0, 1, 20, 60, 400, 1100][self.rng.below(6) as usize];
                self.clock.advance_ms(ms);
                let mut outcome = Ok(());
                for _ in 0..=self.rng.below(4) {
                    outcome = outcome.and(wal.step().map(drop));
                }
                outcome
            }
            26 => {
                let upto = some.min(wal.durable());
                self.from = self.from.max(upto);
                self.records.retain(|(end, _)| *end > self.from);
                wal.release(upto).map(drop)
            }
            27 => {
                wal.note_time();
                let jump = self.rng.below(10_000);
                self.clock.set_wall_ms(1_700_000_000_000 - 5000 + jump);
                Ok(())
            }
            28 => {
                self.durability =
                    [Durability::Always, Durability::EverySecond, Durability::No][self.rng.below(3) as usize];
                wal.set_durability(self.durability);
                Ok(())
            }
            _ => {
                let limit = self.sim.used_bytes() + self.rng.below(40_000);
                let limited = self.rng.chance(50);
                self.sim.set_space_bytes(limited.then_some(limit));
                Ok(())
            }
        };
        match outcome {
            Ok(()) | Err(WalError::DiskFull { .. } | WalError::Poisoned(_) | WalError::Io { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn live(&mut self) {
        let wal = self.open();
        self.note(&wal);
        match self.rng.below(10) {
            0..=4 => self.sim.crash_after(1 + self.rng.below(200)),
            5..=6 => {
                let fault = self.fault();
                self.sim.fail_after(1 + self.rng.below(100), fault);
            }
            _ => {}
        }
        for _ in 0..self.rng.below(60) {
            self.operate(&wal);
            self.note(&wal);
            if self.sim.is_down() {
                break;
            }
        }
        if self.rng.chance(30) && !self.sim.is_down() {
            let noted_ms = self.clock.wall_ms();
            if wal.close().is_ok() {
                self.high_water_ms = self.high_water_ms.max(noted_ms);
            }
            self.note(&wal);
        }
        drop(wal);
        self.die();
        if self.rng.chance(10) {
            self.die();
        }
        if self.rng.chance(50) {
            self.sim.set_space_bytes(None);
        }
    }
}

#[test]
fn what_comes_back_is_what_was_promised() {
    for_each_seed(3000, |seed| {
        let mut model = Model::new(seed);
        for _ in 0..6 {
            model.live();
        }
    });
}
