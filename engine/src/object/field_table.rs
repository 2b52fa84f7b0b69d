//! A large hash: a table of fields, and those that die in the order in which they do.
//!
//! Nothing here asks what time it is, but for [`prune`](FieldTable::prune): who reads leaves out what is dead.

use super::Deaths;
use super::packed_hash;
use crate::expiry::NEVER;
use crate::key::KeyHasher;
use crate::table::{Hashed, Table};
use std::collections::BTreeSet;

/// Bytes of a deadline behind name and value.
const DEADLINE_BYTES: usize = 8;

/// One field of a large hash.
struct Field {
    hash: u64,
    name_bytes: u32,
    timed: bool,
    /// Name, then value, then the deadline, if it has one.
    bytes: Box<[u8]>,
}

impl Field {
    fn new(hash: u64, name: &[u8], value: &[u8], deadline_ms: u64) -> Field {
        let timed = deadline_ms != NEVER;
        let deadline = deadline_ms.to_le_bytes();
        let deadline = if timed { &deadline[..] } else { &[] };
        // Names are bounded by `VALUE_BYTES_MAX`, far below 4 GiB.
        let name_bytes = name.len() as u32;
        Field { hash, name_bytes, timed, bytes: [name, value, deadline].concat().into_boxed_slice() }
    }

    fn name(&self) -> &[u8] {
        &self.bytes[..self.name_bytes as usize]
    }

    fn value(&self) -> &[u8] {
        let end = self.bytes.len() - if self.timed { DEADLINE_BYTES } else { 0 };
        &self.bytes[self.name_bytes as usize..end]
    }

    fn deadline_ms(&self) -> u64 {
        match self.bytes.last_chunk::<DEADLINE_BYTES>() {
            Some(deadline) if self.timed => u64::from_le_bytes(*deadline),
            _ => NEVER,
        }
    }

    fn show(&self) -> packed_hash::Field<'_> {
        packed_hash::Field { name: self.name(), value: self.value(), deadline_ms: self.deadline_ms() }
    }
}

impl Hashed for Field {
    fn hash(&self) -> u64 {
        self.hash
    }
}

/// The fields that die.
struct Timed {
    /// Deadline and hash of each, and a number that tells those apart which share both.
    order: BTreeSet<(u64, u64, u32)>,
    /// See [`Deaths::key_deadline_ms`].
    key_deadline_ms: u64,
}

impl Timed {
    fn insert(&mut self, deadline_ms: u64, hash: u64) {
        let number = self.last_of(deadline_ms, hash).map_or(0, |(_, _, number)| number + 1);
        self.order.insert((deadline_ms, hash, number));
    }

    fn remove(&mut self, deadline_ms: u64, hash: u64) {
        if let Some(last) = self.last_of(deadline_ms, hash) {
            self.order.remove(&last);
        }
    }

    fn last_of(&self, deadline_ms: u64, hash: u64) -> Option<(u64, u64, u32)> {
        self.order.range((deadline_ms, hash, 0)..=(deadline_ms, hash, u32::MAX)).next_back().copied()
    }
}

/// See the module's page.
pub(crate) struct FieldTable {
    table: Table<Field>,
    /// Bytes of names, values and deadlines.
    bytes: usize,
    /// If any field has a deadline.
    timed: Option<Box<Timed>>,
}

impl FieldTable {
    /// An empty one.
    pub(crate) fn new() -> FieldTable {
        FieldTable { table: Table::new(0), bytes: 0, timed: None }
    }

    /// A table of such fields.
    pub(crate) fn of<'f>(
        fields: impl Iterator<Item = packed_hash::Field<'f>>,
        key_deadline_ms: u64,
        hasher: &KeyHasher,
    ) -> FieldTable {
        let mut table = FieldTable::new();
        for field in fields {
            table.set(hasher.field(field.name), field.name, field.value, field.deadline_ms);
        }
        table.set_key_deadline(key_deadline_ms);
        table
    }

    /// How many there are, dead or alive.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many live at `now_ms`.
    pub(crate) fn live_len(&self, now_ms: u64) -> usize {
        let dead = self.timed.as_ref().map_or(0, |timed| timed.order.range(..(now_ms + 1, 0, 0)).count());
        self.len() - dead
    }

    /// When fields die, if any does.
    pub(crate) fn deaths(&self) -> Option<Deaths> {
        let timed = self.timed.as_ref()?;
        let (first, last) = (timed.order.first()?, timed.order.last()?);
        let last_ms = if timed.order.len() == self.len() { last.0 } else { NEVER };
        Some(Deaths { first_ms: first.0, last_ms, key_deadline_ms: timed.key_deadline_ms })
    }

    /// Keeps the key's own deadline, if any field has one.
    pub(crate) fn set_key_deadline(&mut self, deadline_ms: u64) {
        if let Some(timed) = &mut self.timed {
            timed.key_deadline_ms = deadline_ms;
        }
    }

    /// A field, dead or alive.
    pub(crate) fn get(&self, hash: u64, name: &[u8]) -> Option<packed_hash::Field<'_>> {
        let place = self.table.find(hash, |field| field.name() == name)?;
        Some(self.table.get(place).show())
    }

    /// Sets a field; whether it is new.
    pub(crate) fn set(&mut self, hash: u64, name: &[u8], value: &[u8], deadline_ms: u64) -> bool {
        let new = Field::new(hash, name, value, deadline_ms);
        self.bytes += new.bytes.len();
        let before = match self.table.find(hash, |field| field.name() == name) {
            Some(place) => {
                let old = std::mem::replace(self.table.get_mut(place), new);
                self.bytes -= old.bytes.len();
                Some(old.deadline_ms())
            }
            None => {
                self.table.insert(new);
                None
            }
        };
        self.retime(hash, before.unwrap_or(NEVER), deadline_ms);
        before.is_none()
    }

    /// Moves a field's deadline; whether the field was there.
    pub(crate) fn set_deadline(&mut self, hash: u64, name: &[u8], deadline_ms: u64) -> bool {
        let Some(place) = self.table.find(hash, |field| field.name() == name) else { return false };
        let field = self.table.get_mut(place);
        let new = Field::new(hash, field.name(), field.value(), deadline_ms);
        self.bytes += new.bytes.len();
        let old = std::mem::replace(field, new);
        self.bytes -= old.bytes.len();
        self.retime(hash, old.deadline_ms(), deadline_ms);
        true
    }

    /// Removes a field; whether it was there.
    pub(crate) fn remove(&mut self, hash: u64, name: &[u8]) -> bool {
        let Some(place) = self.table.find(hash, |field| field.name() == name) else { return false };
        let old = self.table.remove(place);
        self.bytes -= old.bytes.len();
        self.retime(hash, old.deadline_ms(), NEVER);
        true
    }

    fn retime(&mut self, hash: u64, before_ms: u64, after_ms: u64) {
        if before_ms == after_ms {
            return;
        }
        let timed = self
            .timed
            .get_or_insert_with(|| Box::new(Timed { order: BTreeSet::new(), key_deadline_ms: NEVER }));
        if before_ms != NEVER {
            timed.remove(before_ms, hash);
        }
        if after_ms != NEVER {
            timed.insert(after_ms, hash);
        }
        if timed.order.is_empty() {
            self.timed = None;
        }
    }

    /// Removes what is dead at `now_ms`, at most so many fields; how many that were.
    pub(crate) fn prune(&mut self, now_ms: u64, limit: usize) -> usize {
        let mut pruned = 0;
        while pruned < limit
            && let Some(&(deadline_ms, hash, _)) = self.timed.as_ref().and_then(|timed| timed.order.first())
            && deadline_ms <= now_ms
        {
            if let Some(place) = self.table.find(hash, |field| field.deadline_ms() == deadline_ms) {
                self.bytes -= self.table.remove(place).bytes.len();
            }
            self.retime(hash, deadline_ms, NEVER);
            pruned += 1;
        }
        pruned
    }

    /// Calls `each` with all fields, the dead ones too.
    pub(crate) fn for_each(&self, each: &mut dyn FnMut(packed_hash::Field<'_>)) {
        self.table.for_each(&mut |field| each(field.show()));
    }

    /// The field at a position among those that live at `now_ms`.
    pub(crate) fn nth_live(&self, index: usize, now_ms: u64) -> Option<packed_hash::Field<'_>> {
        if self.deaths().is_none_or(|deaths| deaths.first_ms > now_ms) {
            return self.table.nth(index).map(Field::show);
        }
        // Until the dead ones are taken out; whoever asks for many positions has that done first.
        let mut at = 0;
        let positions = (0..self.len()).filter_map(|at| self.table.nth(at).map(Field::show));
        positions.filter(|field| field.deadline_ms > now_ms).find(|_| {
            at += 1;
            at > index
        })
    }

    /// See [`Table::scan`].
    pub(crate) fn scan(
        &self,
        from: u64,
        count: usize,
        ignored: u32,
        each: &mut dyn FnMut(packed_hash::Field<'_>),
    ) -> Option<u64> {
        self.table.scan(from, count, ignored, &mut |field| each(field.show()))
    }

    /// Appends the payload of the flat form, whose head begins at `tag` in `out`.
    pub(crate) fn encode(&self, tag: usize, out: &mut Vec<u8>) {
        let deaths = self.deaths();
        if let Some(Deaths { key_deadline_ms, .. }) = deaths {
            packed_hash::mark_timed(out, tag, key_deadline_ms);
        }
        self.for_each(&mut |field| packed_hash::put_field(out, field, deaths.is_some()));
    }

    /// Bytes of memory it asks for.
    pub(crate) fn memory_bytes(&self) -> usize {
        // Walking the segments would make every change of a large hash cost its size; their share is close to 40 bytes.
        const FIELD_BYTES: usize = 40;
        /// Of a field in the order of death, about.
        const ORDER_BYTES: usize = 32;
        self.bytes
            + self.len() * FIELD_BYTES
            + self.timed.as_ref().map_or(0, |timed| size_of::<Timed>() + timed.order.len() * ORDER_BYTES)
    }
}

impl Clone for FieldTable {
    fn clone(&self) -> FieldTable {
        let mut copy = FieldTable::new();
        self.table.for_each(&mut |field| {
            copy.set(field.hash, field.name(), field.value(), field.deadline_ms());
        });
        copy.set_key_deadline(self.deaths().map_or(NEVER, |deaths| deaths.key_deadline_ms));
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_die_in_order_and_hashes_may_collide() {
        let mut fields = FieldTable::new();
        assert!(fields.set(1, b"a", b"A", 10));
        assert!(fields.set(1, b"b", b"B", 10));
        assert!(fields.set(2, b"c", b"C", NEVER));
        assert!(fields.set(3, b"d", b"D", 20));
        let deaths = |fields: &FieldTable| fields.deaths().map(|deaths| (deaths.first_ms, deaths.last_ms));
        assert_eq!(deaths(&fields), Some((10, NEVER)));
        assert_eq!((fields.live_len(9), fields.live_len(10), fields.live_len(20)), (4, 2, 1));
        assert!(fields.remove(1, b"a"));
        assert_eq!((fields.live_len(9), fields.live_len(10)), (3, 2));
        assert!(fields.set_deadline(2, b"c", 5));
        assert_eq!(deaths(&fields), Some((5, 20)));
        assert_eq!(fields.prune(10, 1), 1);
        assert_eq!(fields.prune(10, 9), 1);
        assert_eq!(fields.len(), 1);
        assert!(!fields.set(3, b"d", b"E", NEVER));
        assert_eq!(fields.deaths(), None);
        assert_eq!(fields.get(3, b"d").map(|field| field.value), Some(&b"E"[..]));
    }
}
