//! Check and repair on what a database leaves when it is killed or loses its power, at any call of its work, checkpoints and compactions
//! included: whatever a crash leaves is sound, and a repair of it is the same database.

use super::support::{DIR, fixed_manifest, for_each_seed, look_at_all, manifest_path};
use sessile::check::{FileKind, check, inventory, repair};
use sessile::{Clock, Db, Durability, Error, Expiry, Fs, Options, Touch};
use sessile_wal::OpenMode;
use sessile_wal::sim::{Rng, SimClock, SimFs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

struct Life {
    rng: Rng,
    sim: SimFs,
    clock: SimClock,
    repairs: u64,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut rng = Rng::new(seed);
        let sim = SimFs::new(rng.next_u64());
        sim.create_dir_all(DIR.as_ref()).expect("creates");
        let file = sim.open(&manifest_path(), OpenMode::CreateNew).expect("creates");
        file.write_at_durable(&fixed_manifest(), 0).expect("writes");
        sim.sync_dir(DIR.as_ref()).expect("syncs");
        Life { rng, sim, clock: SimClock::default(), repairs: 0 }
    }

    fn open(&self, dir: &Path) -> Result<Db, Error> {
        Options::new()
            .durability(Durability::EverySecond)
            .file_system(Arc::new(self.sim.clone()))
            .clock(Arc::new(self.clock.clone()))
            .manual_background()
            .log_file_bytes_max(16 << 10)
            .open(dir)
    }

    /// One operation; errors are those of a disk that has died.
    fn operate(&mut self, db: &Db) -> Result<(), Error> {
        let key = format!("key:{}", self.rng.below(60)).into_bytes();
        let number = self.rng.below(3) as u8 * 7;
        let database = db.database(number);
        let seconds = Duration::from_secs(self.rng.below(4000) + 1);
        match self.rng.below(40) {
            0..=13 => {
                let value = vec![b'v'; self.rng.below(400) as usize];
                let expiry = match self.rng.below(3) {
                    0 => Expiry::Never,
                    1 => Expiry::After(seconds),
                    _ => Expiry::Idle { idle: seconds, absolute: Some(seconds * 3) },
                };
                database.set(&key, value, expiry)
            }
            14..=19 => database.touch(&key, Touch::For(seconds)).map(drop),
            20..=23 => database.touch(&key, Touch::Policy).map(drop),
            24..=27 => database.delete(&key).map(drop),
            28..=31 => {
                let field = [self.rng.below(6) as u8];
                match database.hash_set(&key, &field, b"value") {
                    Err(Error::WrongKind(_)) => Ok(()),
                    other => other.map(drop),
                }
            }
            32 if self.rng.chance(20) => database.clear(Some(number)).map(drop),
            32..=34 => {
                self.clock.advance_ms(self.rng.below(200_000));
                Ok(())
            }
            35..=36 => db.checkpoint(),
            37 => db.flush(),
            _ => (0..=self.rng.below(20)).try_for_each(|_| db.step().map(drop)),
        }
    }

    fn live(&mut self) {
        let db = self.open(DIR.as_ref()).expect("opens");
        if self.rng.chance(80) {
            self.sim.crash_after(1 + self.rng.below(400));
        }
        for _ in 0..self.rng.below(150) {
            if self.operate(&db).is_err() || self.sim.is_down() {
                break;
            }
        }
        if !self.sim.is_down() && self.rng.chance(30) {
            // It may fail as any other.
            let _ = db.close();
        }
        drop(db);
        self.sim.clear_faults();
        if self.rng.chance(50) { self.sim.kill() } else { self.sim.crash() }
    }

    /// What a check says of what is left, and what a repair makes of it.
    fn inspect(&mut self) {
        let fs: Arc<dyn Fs> = Arc::new(self.sim.clone());
        let mut wrong = Vec::new();
        let report = check(Arc::clone(&fs), DIR.as_ref(), &mut |finding| {
            if !finding.is_sound() {
                wrong.push(finding.clone());
            }
        });
        let report = report.expect("checks");
        assert!(report.is_sound(), "a crash left damage: {report:?} {wrong:#?}");

        let found = inventory(Arc::clone(&fs), DIR.as_ref(), self.clock.wall_ms()).expect("is sound");
        assert!(found.live_keys <= report.keys);

        self.repairs += 1;
        let into = PathBuf::from(format!("/repaired-{}", self.repairs));
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let saved = repair(fs, clock, DIR.as_ref(), &into, &mut |loss| panic!("{loss:?}")).expect("repairs");
        assert!(saved.is_complete(), "{saved:?}");
        if self.rng.chance(60) {
            self.damage();
        }
        let saved = look_at_all(&self.open(&into).expect("opens"));
        let original = look_at_all(&self.open(DIR.as_ref()).expect("opens"));
        assert_eq!(saved, original, "a repair of a sound directory is the same database");
    }

    /// Flips a bit of a file that the manifest vouches for, in a copy of the disk: a check finds it, and a repair saves the rest.
    fn damage(&mut self) {
        let names = self.sim.list(DIR.as_ref()).expect("lists");
        // A leftover that is damaged is none the worse for it.
        let mut listed = Vec::new();
        let every = &mut |finding: &sessile::check::FileFinding| {
            if matches!(
                finding.kind,
                FileKind::Manifest | FileKind::Segment | FileKind::Index | FileKind::Dictionary
            ) {
                listed.push((finding.path.clone(), finding.kind, finding.bytes));
            }
        };
        check(Arc::new(self.sim.clone()), DIR.as_ref(), every).expect("checks");
        let (path, kind, bytes) = listed[self.rng.below(listed.len() as u64) as usize].clone();
        let fork = self.sim.fork(self.rng.next_u64());
        let (offset, bit) = (self.rng.below(bytes), self.rng.below(8) as u8);
        assert!(fork.flip_bit(&path, offset, bit), "{} of {names:?}", path.display());
        let original = look_at_all(&self.open(DIR.as_ref()).expect("opens"));

        let sim = std::mem::replace(&mut self.sim, fork);
        let fs: Arc<dyn Fs> = Arc::new(self.sim.clone());
        let mut named = Vec::new();
        let report = check(Arc::clone(&fs), DIR.as_ref(), &mut |finding| {
            if !finding.is_sound() {
                named.push(finding.path.clone());
            }
        });
        let place = format!("bit {bit} at {offset} of {}", path.display());
        assert!(!report.expect("checks").is_sound() && named.contains(&path), "{place}: {named:?}");
        let into = Path::new("/from-damage");
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let mut losses = Vec::new();
        let report =
            repair(fs, clock, DIR.as_ref(), into, &mut |loss| losses.push(loss.clone())).expect("repairs");
        let saved =
            look_at_all(&self.open(into).unwrap_or_else(|error| panic!("{place}: {error} {losses:?}")));
        match kind {
            // What is damaged is missing, and all else is as it was; what the log did to what is missing is counted.
            FileKind::Segment | FileKind::Dictionary if report.operations_lost == 0 => {
                for (id, seen) in &saved {
                    assert_eq!(Some(seen), original.get(id), "{place}: {losses:?}");
                }
                let missing = original.len() - saved.len();
                assert!(missing as u64 <= report.keys_lost, "{place}: {missing} are missing, {report:?}");
            }
            FileKind::Index => {
                assert!(!report.is_complete(), "{place}");
                for id in original.keys() {
                    let died = report.keys_expired > 0 || report.operations_lost > 0;
                    assert!(
                        saved.contains_key(id) || died,
                        "{place}: {id:?} is missing, {report:?} {losses:?}"
                    );
                }
            }
            _ => {}
        }
        self.sim = sim;
    }
}

#[test]
fn what_a_crash_leaves_is_sound_and_a_repair_of_it_is_the_same() {
    for_each_seed(60, |seed| {
        let mut life = Life::new(seed);
        for _ in 0..5 {
            life.live();
            life.inspect();
        }
    });
}
