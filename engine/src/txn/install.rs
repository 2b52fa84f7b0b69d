//! What an [overlay](crate::overlay) does with the shards: looks at the originals, and in the end puts copies in their place.

use super::Txn;
use crate::key::{Key, is_held};
use crate::object::Object;
use crate::shard::{Cleared, Shard};

/// What was taken out of a shard that was emptied.
pub(crate) type Taken = (Option<Cleared>, Vec<Object>);

impl Txn<'_> {
    /// The shard of a key, which is among those locked.
    pub(crate) fn shard_of(&mut self, key: &Key<'_>) -> &mut Shard {
        let position = self.position(key);
        &mut self.shards[position].1
    }

    /// Lets it happen at another time, before anything has.
    pub(crate) fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// The record, to be appended to by who knows what it puts in place.
    pub(crate) fn record(&mut self) -> &mut Vec<u8> {
        &mut self.record
    }

    /// Whether the index holds another key with the hash of this one.
    pub(crate) fn has_twin(&self, key: &Key<'_>) -> bool {
        self.shard(key).find_hash(key.hash, |entry| !entry.is_of(key)).is_some()
    }

    /// Makes a key what its copy has become: object, deadline, grid, and whether the object is another; `None` if it is not there any more.
    /// `before`: deadline and grid as they were, if it was there.
    pub(crate) fn put_in_place(
        &mut self,
        key: &Key<'_>,
        copy: Option<(Object, u64, u16, bool)>,
        before: Option<(u64, u16)>,
    ) {
        let (position, now_ms) = (self.position(key), self.now_ms);
        let shard: &mut Shard = &mut self.shards[position].1;
        let old = match (copy, shard.find(key)) {
            (None, None) => None,
            (None, Some(place)) if before.is_some() => Some(shard.remove(place)),
            // It was dead already; a held one waits for whoever tells of its death.
            (None, Some(_)) if is_held(key.database) => None,
            (None, Some(place)) => Some(shard.bury(place, now_ms, &mut self.record)),
            (Some((object, deadline_ms, grid, changed)), place) => match place {
                Some(place) if !changed || shard.entry(place).handle().is_same(&object) => {
                    if before != Some((deadline_ms, grid)) {
                        shard.set_deadline(place, deadline_ms, grid);
                    }
                    Some(object)
                }
                _ => {
                    // One that was changed and changed back: the place that the original had on disk is not its own.
                    object.forget_location();
                    shard.put(key, object, deadline_ms, grid)
                }
            },
        };
        self.garbage.extend(old);
    }

    /// Takes all keys of a database of the index out, or of all, with every shard locked; they are to be freed after the locks.
    pub(crate) fn take_all(&mut self, database: Option<u8>) -> Vec<Taken> {
        assert_eq!(self.shards.len(), self.inner.shards.len(), "clearing takes every shard");
        assert!(self.journal.is_none(), "clearing can't be taken back");
        let (skip, now_ms) = (self.inner.shard_bits, self.now_ms);
        self.shards.iter_mut().map(|(_, shard)| shard.clear(database, skip, now_ms)).collect()
    }
}
