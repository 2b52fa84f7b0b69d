//! Taking back what a transaction has done: for a script that finds midway that it can't go on.
//!
//! A revocable transaction notes, before each change, what undoes it, and undoes in the reverse order. A flat object is kept as it was, which
//! costs a reference; of a structured one that is changed in place, the changes that lead back; one that is replaced or removed is not freed but
//! kept. Nothing of it has reached the log, since a record is appended when a transaction ends, and nobody has seen it, since the locks were held.
//!
//! What comes back counts as changed since the last checkpoint even if it was not: the place in a segment that an object has once left may
//! be given up at any moment, so it never goes back there.

use super::Txn;
use crate::change::{self, Change, Inverse};
use crate::key::Key;
use crate::object::{Object, Packed, View};
use crate::shard::{Entry, Shard};

/// What undoes what a transaction has done; see the module's page.
#[derive(Default)]
pub(super) struct Journal {
    steps: Vec<Step>,
    /// The bytes of the steps' keys, one after the other.
    keys: Vec<u8>,
    inverse: Inverse,
    /// Of shards with watched keys, by number, how often each had changed.
    watched: Vec<(usize, Vec<(u64, u64)>)>,
    /// How long the record was before anything that can be undone: what it holds up to there has happened.
    pub(super) record_kept: usize,
    /// How many changes had been noted then.
    changed_kept: usize,
}

struct Step {
    hash: u64,
    database: u8,
    /// Where its key ends among the bytes of keys; it begins where that of the step before ends.
    key_end: usize,
    undo: Undo,
}

/// How one step is undone.
enum Undo {
    /// The key was not there.
    Remove,
    /// It held this.
    Put { object: Object, deadline_ms: u64, grid: u16 },
    /// Its value was this. (A deadline of a field may move the entry's.)
    Replace { flat: Packed, deadline_ms: u64, grid: u16 },
    /// Only its deadline was another.
    Deadline { deadline_ms: u64, grid: u16 },
    /// The changes from this number on among the inverse ones lead back.
    Change { first: usize, deadline_ms: u64, grid: u16 },
}

impl Journal {
    /// A shard was locked in which anything may change.
    pub(super) fn before_all(&mut self, number: usize, shard: &mut Shard) {
        if !shard.watched().is_empty() {
            self.watched.push((number, shard.watched().snapshot()));
        }
    }

    fn push(&mut self, key: &Key<'_>, undo: Undo) {
        self.keys.extend_from_slice(key.bytes);
        self.steps.push(Step { hash: key.hash, database: key.database, key_end: self.keys.len(), undo });
    }

    /// The objects that it keeps, when nothing is to come back.
    pub(super) fn into_garbage(self) -> impl Iterator<Item = Object> {
        self.steps.into_iter().filter_map(|step| match step.undo {
            Undo::Put { object, .. } => Some(object),
            Undo::Replace { flat, .. } => Some(Object::Packed(flat)),
            Undo::Remove | Undo::Deadline { .. } | Undo::Change { .. } => None,
        })
    }

    /// `key` is about to hold another object; what it holds has been taken out, if it held anything.
    pub(super) fn before_put(&mut self, key: &Key<'_>, old: Option<(Object, u64, u16)>) {
        let undo = match old {
            Some((object, deadline_ms, grid)) => Undo::Put { object, deadline_ms, grid },
            None => Undo::Remove,
        };
        self.push(key, undo);
    }

    /// The deadline of `key` is about to move.
    pub(super) fn before_deadline(&mut self, key: &Key<'_>, deadline_ms: u64, grid: u16) {
        self.push(key, Undo::Deadline { deadline_ms, grid });
    }

    /// The value of `key`, whose entry this is, is about to change.
    pub(super) fn before_change(
        &mut self,
        key: &Key<'_>,
        hasher: &crate::key::KeyHasher,
        entry: &Entry,
        change: &Change<'_>,
    ) {
        let (deadline_ms, grid) = (entry.deadline_ms(), entry.handle().grid());
        let undo = match (entry.view(), entry.handle().share()) {
            (_, Some(flat)) => Undo::Replace { flat, deadline_ms, grid },
            (View::Structured(structured), None) => {
                let first = self.inverse.len();
                change::invert(structured, hasher, change, &mut self.inverse);
                Undo::Change { first, deadline_ms, grid }
            }
            (View::Packed(_), None) => unreachable!("flat objects are shared"),
        };
        self.push(key, undo);
    }
}

impl Txn<'_> {
    /// From here on everything can be taken back by [`roll_back`](Self::roll_back), and is taken back if the transaction is dropped without
    /// being [committed](Self::commit). Each change then costs a little more.
    pub fn make_revocable(&mut self) {
        if self.journal.is_none() {
            let changed_kept = self.changed.as_ref().map_or(0, Vec::len);
            let record_kept = self.record.len();
            let mut journal = Journal { record_kept, changed_kept, ..Journal::default() };
            self.shards.iter_mut().for_each(|(number, shard)| journal.before_all(*number, shard));
            self.journal = Some(Box::new(journal));
        }
    }

    /// Ends the transaction and takes back what it has done since it was [made revocable](Self::make_revocable): every key is as it was, and
    /// the log never hears of it.
    ///
    /// # Panics
    /// If it was not made revocable.
    pub fn roll_back(mut self) {
        assert!(self.journal.is_some(), "only a revocable transaction is rolled back");
        self.undo();
        self.finish(|_| {});
    }

    /// Undoes everything that the journal has.
    pub(super) fn undo(&mut self) {
        let Some(journal) = self.journal.take() else { return };
        let Journal { steps, keys, mut inverse, watched, record_kept, changed_kept } = *journal;
        let hasher = &self.inner.hasher;
        let mut end = keys.len();
        let begins: Vec<usize> = std::iter::once(0).chain(steps.iter().map(|step| step.key_end)).collect();
        for (step, &begin) in steps.into_iter().zip(&begins).rev() {
            let (database, hash) = (step.database, step.hash);
            let key = Key { database, logical: database, hash, bytes: &keys[begin..end] };
            end = begin;
            let position = self.position(&key);
            let shard: &mut Shard = &mut self.shards[position].1;
            // Its key may have died meanwhile: whatever is there is meant.
            let place = shard.find(&key);
            let old = match (step.undo, place) {
                (Undo::Put { object, deadline_ms, grid }, _) => shard.put(&key, object, deadline_ms, grid),
                (Undo::Remove, Some(place)) => Some(shard.remove(place)),
                (Undo::Replace { flat, deadline_ms, grid }, Some(place)) => {
                    Some(shard.put_at(place, Object::Packed(flat), deadline_ms, grid))
                }
                (Undo::Deadline { deadline_ms, grid }, Some(place)) => {
                    shard.set_deadline(place, deadline_ms, grid);
                    None
                }
                (Undo::Change { first, deadline_ms, grid }, Some(place)) => {
                    for change in inverse.since(first) {
                        let applied = change::apply(shard, place, hasher, &change);
                        self.garbage.extend(applied.garbage);
                    }
                    inverse.truncate(first);
                    shard.set_deadline(place, deadline_ms, grid);
                    None
                }
                (_, None) => unreachable!("what is undone was done to a key that is there"),
            };
            self.garbage.extend(old);
        }
        // Who watches a key need not know that it was changed and changed back.
        for (number, snapshot) in watched {
            if let Ok(position) = self.shards.binary_search_by_key(&number, |shard| shard.0) {
                self.shards[position].1.watched().restore(&snapshot);
            }
        }
        self.record.truncate(record_kept);
        if let Some(changed) = &mut self.changed {
            changed.truncate(changed_kept);
        }
    }
}
