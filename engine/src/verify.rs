//! What must hold of the index whenever nobody holds a lock, looked at entry by entry. For tests: it takes as long as the index is large.

use crate::db::{Db, Inner};
use crate::expiry::NEVER;
use crate::object::Form;
use crate::shard::Weight;
use crate::table::Hashed;
use std::collections::BTreeMap;

impl Db {
    /// Compares everything that is counted with what it counts; what is wrong, if anything. Nothing may go on meanwhile.
    #[doc(hidden)]
    pub fn verify(&self) -> Result<(), String> {
        let inner = &*self.inner;
        // What was cleared is given back when it is freed.
        while crate::background::free_garbage(inner) {}
        let mut live: BTreeMap<u32, u32> = BTreeMap::new();
        for (number, shard) in inner.shards.iter().enumerate() {
            let shard = shard.lock();
            let (mut weight, mut twins, mut bad) = (Weight::default(), Vec::new(), None);
            shard.table().for_each(&mut |entry| {
                let handle = entry.handle();
                weight.add(Weight::of(handle));
                twins.push((entry.hash(), handle.form()));
                if inner.shard_number(entry.hash()) != number {
                    bad = Some(format!("hash {:016x} is in shard {number}", entry.hash()));
                }
                if entry.deadline_ms() != NEVER && handle.timer() == 0 {
                    bad = Some(format!("{:016x} has a deadline and no timer", entry.hash()));
                }
                match handle.location() {
                    Some(location) => {
                        *live.entry(location.slot()).or_default() += 1;
                        if handle.is_dirty() {
                            bad = Some(format!("{:016x} is dirty and has a location", entry.hash()));
                        }
                        if inner.segments.at(location).is_none() {
                            bad = Some(format!("{:016x} is in a segment that is not open", entry.hash()));
                        }
                    }
                    None if !handle.is_dirty() && !inner.storage.is_at_work() => {
                        bad = Some(format!("{:016x} is neither dirty nor anywhere on disk", entry.hash()));
                    }
                    None => {}
                }
            });
            if let Some(bad) = bad {
                return Err(bad);
            }
            if weight != shard.weight() {
                return Err(format!("shard {number} weighs {weight:?}, not {:?}", shard.weight()));
            }
            twins.sort_unstable_by_key(|twin| twin.0);
            let pairs = twins.windows(2).filter(|pair| pair[0].0 == pair[1].0);
            if pairs.clone().count() != shard.twins() as usize {
                return Err(format!("shard {number} has not {} twins", shard.twins()));
            }
            for pair in pairs {
                if pair.iter().any(|twin| twin.1 == Form::Cold) {
                    return Err(format!("{:016x} is cold and has a twin", pair[0].0));
                }
            }
        }
        live_counts(inner, &live)
    }
}

fn live_counts(inner: &Inner, live: &BTreeMap<u32, u32>) -> Result<(), String> {
    for segment in inner.segments.all() {
        let held = live.get(&segment.slot).copied().unwrap_or(0);
        let counted = inner.segments.live_records(&segment);
        if held != counted {
            return Err(format!("{segment:?} has {held} live records, not {counted}"));
        }
        if held > segment.records {
            return Err(format!("{segment:?} has {held} live records of {}", segment.records));
        }
    }
    Ok(())
}
