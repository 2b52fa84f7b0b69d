//! Bits that flip at rest, on a copy of the disk between two lives.
//!
//! Whatever has flipped: the start is refused and names the file; or it goes on, and each key is as it was, or says that it is damaged. Only
//! what the log had not synced when its end was flipped may be cut off with it, as after a power cut. Then `check` finds the damage, and what
//! `repair` saves was there once; if it says that it saved everything, it is the same database.

use crate::model::{Id, Item};
use crate::profile::pick;
use crate::seen;
use crate::simulation::{DIR, Simulation};
use sessile::check::{check, repair};
use sessile::{Clock, Db, Durability, Error, Fs};
use sessile_wal::OpenMode;
use sessile_wal::sim::SimFs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const REPAIRED: &str = "/repaired";
const SOUND: &str = "nothing fails on a copy of the disk";

/// What is there of each key: `Err` if it is damaged.
type Found = BTreeMap<Id, Result<Option<Item>, String>>;

impl Simulation {
    /// Flips a bit in a copy of the disk, some times.
    pub(crate) fn rot(&mut self) {
        let sound = self.copy();
        let Ok(db) = self.open_copy(&sound, DIR) else {
            // Without a directory, or without the manifest's first bytes: its first start comes later.
            return;
        };
        let mut ids = self.oracle.ids();
        let before = seen::read(&db).expect(SOUND);
        ids.extend(before.keys.keys().cloned());
        let (now_ms, before) = (db.now_ms(), find(&db, &ids));
        drop(db);
        for _ in 0..3 {
            self.flip(&ids, &before, now_ms);
        }
    }

    /// The disk as it is, with all the room there is.
    fn copy(&mut self) -> SimFs {
        let copy = self.sim.fork(self.rng.next_u64());
        copy.set_space_bytes(None);
        copy
    }

    fn open_copy(&mut self, sim: &SimFs, dir: &str) -> Result<Db, Error> {
        let (options, _) = self.profile.options(&mut self.rng, Durability::No);
        options.file_system(Arc::new(sim.clone())).clock(Arc::new(self.clock.clone())).open(dir)
    }

    fn flip(&mut self, ids: &BTreeSet<Id>, before: &Found, now_ms: u64) {
        let sim = self.copy();
        let mut files = sim.list(DIR.as_ref()).expect(SOUND);
        files.retain(|name| name != "LOCK");
        files.sort();
        let name: String = files[self.rng.below(files.len() as u64) as usize].clone();
        let path = Path::new(DIR).join(&name);
        let bytes = sim.open(&path, OpenMode::Read).and_then(|file| file.len()).expect(SOUND);
        // The log is mostly room for more.
        let within = pick(&mut self.rng, &[40, 4_300, 6_000, u64::MAX]).min(bytes);
        let offset = self.rng.below(within);
        if !sim.flip_bit(&path, offset, self.rng.below(8) as u8) {
            return;
        }
        self.tally.flips += 1;
        Self::trace(|| format!("a bit flips in {name} at {offset}"));
        match self.open_copy(&sim, DIR) {
            Ok(db) => {
                let found = find(&db, ids);
                drop(db);
                self.compare_flipped(&name, before, &found, now_ms);
            }
            Err(error) => {
                let text = error.to_string();
                Self::trace(|| format!("refused: {text}"));
                if ["MANIFEST.new", "new-", "spare-"].iter().any(|leftover| name.starts_with(leftover)) {
                    // The simulated disk may have a file under two names, when a sync of the directory has failed half-way.
                    assert!(text.contains(DIR), "{text}");
                    return;
                }
                assert!(
                    text.contains(&name),
                    "a bit in {name} at {offset} is flipped, and the start says: {text}"
                );
                self.tally.flips_refused += 1;
                if self.profile.has_whole_hashes() {
                    self.repair(&sim, &path, offset, before);
                }
            }
        }
    }

    fn compare_flipped(&mut self, name: &str, before: &Found, found: &Found, now_ms: u64) {
        let damaged = found.values().filter(|found| found.is_err()).count();
        for text in found.values().filter_map(|found| found.as_ref().err()) {
            assert!(
                text.contains(name) && text.contains("offset"),
                "a bit in {name} is flipped, and a key says: {text}"
            );
        }
        if damaged > 0 {
            self.tally.flips_damaged += 1;
        } else if found == before {
            self.tally.flips_harmless += 1;
        }
        let same = found.iter().all(|(id, found)| found.is_err() || before.get(id) == Some(found));
        if !same {
            assert!(name.starts_with("wal-"), "a bit in {name} is flipped, and keys are other than before");
            let sound =
                found.iter().filter_map(|(id, found)| Some((id.clone(), found.clone().ok()?))).collect();
            if let Err(why) = self.oracle.was(&sound, now_ms) {
                panic!(
                    "a bit in {name} is flipped, and the database was never in the state that it is in: {why}"
                );
            }
            self.tally.flips_cut += 1;
        }
    }

    /// Damage that refuses a start is found, and what can be saved was there.
    fn repair(&mut self, sim: &SimFs, path: &Path, offset: u64, before: &Found) {
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let mut damaged: Vec<PathBuf> = Vec::new();
        let report = check(Arc::clone(&fs), DIR.as_ref(), &mut |finding| {
            if !finding.is_sound() {
                damaged.push(finding.path.clone());
            }
        });
        let report = report.unwrap_or_else(|error| panic!("check: {error}"));
        assert!(!report.is_sound(), "a start is refused, and check finds nothing in {}", path.display());
        assert!(
            damaged.iter().any(|damaged| damaged == path),
            "a bit of {} at {offset} is flipped, and check finds only {damaged:?}",
            path.display()
        );
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let mut losses = Vec::new();
        let saved = repair(fs, clock, DIR.as_ref(), REPAIRED.as_ref(), &mut |loss| losses.push(loss.clone()))
            .unwrap_or_else(|error| {
                panic!("repair with a bit of {} at {offset} flipped: {error}", path.display())
            });
        self.tally.repairs += 1;
        Self::trace(|| format!("repaired: {saved:?} {losses:?}"));
        let db = self.open_copy(sim, REPAIRED).unwrap_or_else(|error| panic!("what was repaired: {error}"));
        let world = seen::read(&db).unwrap_or_else(|error| panic!("what was repaired: {error}"));
        // Without the manifest, or a part of the index, nobody knows what a key was last, nor which key some changes in the log are of: it says so.
        let knows_all = saved.operations_lost == 0 && saved.keys_uncertain == 0;
        for (id, item) in world.keys.iter().filter(|_| knows_all) {
            assert!(self.oracle.has_held(id, item), "repair has saved {id:?}, which never was {item:?}");
        }
        if saved.is_complete() {
            for (id, before) in before {
                let (before, now) =
                    (before.as_ref().ok().and_then(Option::as_ref), world.keys.get(id).map(|item| &**item));
                assert!(
                    before == now,
                    "repair says that it has lost nothing: {id:?} was {before:?} and is {now:?}"
                );
            }
        }
    }
}

fn find(db: &Db, ids: &BTreeSet<Id>) -> Found {
    let found = |id: &Id| match seen::look(db, id) {
        Ok(item) => Ok(item),
        Err(error @ Error::DamagedValue { .. }) => Err(error.to_string()),
        Err(error) => panic!("{id:?}: {error}"),
    };
    ids.iter().map(|id| (id.clone(), found(id))).collect()
}
