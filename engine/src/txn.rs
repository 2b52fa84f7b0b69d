//! One atomic step over one or several keys.
//!
//! A transaction holds the locks of the shards that its keys live in, from [`Db::begin`](crate::Db::begin) until it is committed or
//! dropped. What it changes takes effect at once and is one record in the log: after a crash all of it is there, or none. It does no
//! I/O, never waits for the disk, and can't fail halfway: whether the log takes a record is asked before.
//!
//! Values are changed by a file for each kind ([`string`](crate::txn::string), [`hash`](crate::txn::hash), [`list`](crate::txn::list),
//! [`set`](crate::txn::set), [`sorted_set`](crate::txn::sorted_set)); this file holds the locks, the record and what concerns a key as a whole.

mod begin;
mod bring;
pub(crate) mod chat;
mod extend;
mod extent;
pub(crate) mod hash;
mod install;
pub(crate) mod list;
mod observe;
mod revoke;
mod session;
pub(crate) mod set;
pub(crate) mod sorted_set;
pub(crate) mod stream;
pub(crate) mod string;
pub(crate) mod throttle;
mod whole;

use crate::change::{self, Change, TimedChange};
use crate::db::Inner;
use crate::expiry::{NEVER, Touch, grid_for, grid_within, logged_deadline, ms};
use crate::key::{Key, is_internal};
use crate::object::{self, Kind, Object, Policy, View};
use crate::overlay::Private;
use crate::record::{self, Operation, put_object};
use crate::shard::{Entry, Shard};
use crate::table::Place;
use bring::Visitor;
pub use extend::Extended;
pub use extent::Extent;
pub(crate) use install::Taken;
pub use list::ListEnd;
use revoke::Journal;
use sessile_wal::limits::RECORD_BYTES_MAX;
use sessile_wal::sync::MutexGuard;
use sessile_wal::{Admit, Lsn};
use smallvec::SmallVec;
use std::cell::Cell;
use whole::Rare;

/// What a transaction may do; says how the log is asked beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only: never refused, whatever state the log is in.
    Read,
    /// May write: refused when the log can't take a record (failed, disk full).
    Write,
    /// Only takes data away: a full disk still admits it, from a small reserve.
    Delete,
}

impl Access {
    /// What to ask the log; nothing for a reader.
    pub(crate) fn admit(self) -> Option<Admit> {
        match self {
            Access::Read => None,
            Access::Write => Some(Admit::Write),
            Access::Delete => Some(Admit::Delete),
        }
    }
}

/// The key holds another kind of value than the operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation against a key holding the wrong kind of value")]
pub struct WrongKind;

thread_local! {
    /// The buffer that the next transaction of this thread writes its record into.
    static RECORD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Values up to this length come into being whatever the limit of memory is.
const UNSENT_BYTES_FREE: usize = 1 << 20;

/// A buffer that has grown beyond this is not kept.
const RECORD_BYTES_KEPT: usize = 64 << 10;

/// A key that a transaction has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangedKey {
    /// The number of its database.
    pub database: u8,
    /// The key.
    pub key: Box<[u8]>,
}

/// Stands for the number of the shard that a transaction on copies works on, which is the only one it has.
const PRIVATE: usize = usize::MAX;

/// An atomic step; see the module's page.
pub struct Txn<'db> {
    inner: &'db Inner,
    /// The locked shards by number, ascending.
    shards: SmallVec<[(usize, MutexGuard<'db, Shard>); 2]>,
    now_ms: u64,
    access: Access,
    record: Vec<u8>,
    /// Freed when the locks are.
    garbage: SmallVec<[Object; 2]>,
    /// Objects that are in memory for this transaction only.
    visitors: Vec<Visitor>,
    /// Which keys were changed, if that is asked for.
    changed: Option<Vec<ChangedKey>>,
    rare: Option<Box<Rare>>,
    /// The observer was told of keys that the transaction found dead.
    told: bool,
    /// Which keys came into being, if that is asked for.
    created: Option<Vec<ChangedKey>>,
    /// How to take back what was done, if that is asked for.
    journal: Option<Box<Journal>>,
    /// Of a transaction on copies: where its record goes instead of the log, and what was copied.
    private: Option<Private<'db>>,
    /// What it has done to what concerns all sessions.
    concerns: session::Concerns,
}

impl std::fmt::Debug for Txn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Txn")
            .field("access", &self.access)
            .field("now_ms", &self.now_ms)
            .finish_non_exhaustive()
    }
}

impl<'db> Txn<'db> {
    /// Whether it works on copies.
    fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Asks the processor for what lookups of `keys` will read, a stage for all of them at a time.
    pub(crate) fn prefetch(&self, keys: &[Key<'_>]) {
        for key in keys {
            self.shard(key).table().prefetch_slot(key.hash);
        }
        for key in keys {
            self.shard(key).table().prefetch_entry(key.hash);
        }
        for key in keys {
            if let Some(entry) = self.shard(key).table().likely(key.hash) {
                entry.handle().prefetch();
            }
        }
    }

    /// The time at which this transaction happens, in milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether it was begun to write: what only pays later is left out otherwise.
    pub fn may_write(&self) -> bool {
        self.access != Access::Read
    }

    /// Hashes a key, for use with this transaction; its shard must be among those locked.
    ///
    /// # Panics
    /// If `database` is not below [`DATABASES`](crate::DATABASES).
    pub fn key<'a>(&self, database: u8, bytes: &'a [u8]) -> Key<'a> {
        match self.private {
            None => self.inner.key(database, bytes),
            Some(private) => {
                let own = private.outcome.lock().map().inner(database);
                Key { logical: database, ..self.inner.hasher.key(own, bytes) }
            }
        }
    }

    /// Where the key's shard is among those locked.
    ///
    /// # Panics
    /// If it is not: the transaction was begun without this key, which is a mistake of the program.
    #[inline]
    fn position(&self, key: &Key<'_>) -> usize {
        self.position_of(key.hash)
    }

    #[inline]
    fn position_of(&self, hash: u64) -> usize {
        let number = self.inner.shard_number(hash);
        let found = match &self.shards[..] {
            [only] if only.0 == number || only.0 == PRIVATE => Some(0),
            all if all.len() == self.inner.shards.len() => Some(number),
            some => some.binary_search_by_key(&number, |shard| shard.0).ok(),
        };
        found.expect("the transaction was begun with all its keys")
    }

    #[inline]
    fn shard(&self, key: &Key<'_>) -> &Shard {
        &self.shards[self.position(key)].1
    }

    #[inline]
    fn shard_mut(&mut self, key: &Key<'_>) -> &mut Shard {
        assert!(self.access != Access::Read, "a transaction that was begun to read does not write");
        let position = self.position(key);
        &mut self.shards[position].1
    }

    /// The key's entry, if it lives.
    #[inline]
    fn entry(&self, key: &Key<'_>) -> Option<&Entry> {
        let shard = self.shard(key);
        shard.live(key, self.now_ms).map(|place| shard.entry(place))
    }

    #[inline]
    fn view(&self, key: &Key<'_>) -> Option<View<'_>> {
        self.entry(key).map(Entry::view)
    }

    /// The key's entry if it lives and is of that kind.
    #[inline]
    fn entry_of(&self, key: &Key<'_>, kind: Kind) -> Result<Option<&Entry>, WrongKind> {
        match self.entry(key) {
            Some(entry) if entry.view().kind() != kind => Err(WrongKind),
            entry => Ok(entry),
        }
    }

    /// Where the key's entry is, if it lives and is of that kind; until something is added or removed.
    #[inline]
    fn place_of(&self, key: &Key<'_>, kind: Kind) -> Result<Option<Place>, WrongKind> {
        let shard = self.shard(key);
        let place = shard.live(key, self.now_ms);
        match place {
            Some(place) if shard.entry(place).view().kind() != kind => Err(WrongKind),
            place => Ok(place),
        }
    }

    /// Has the keys noted that are changed from here on: for those who wait for elements, or hold copies.
    pub fn note_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The keys that were changed since they are noted, each perhaps several times, in order.
    pub fn take_changes(&mut self) -> Vec<ChangedKey> {
        let mut changes = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        changes.retain(|changed| !is_internal(changed.database));
        changes
    }

    /// Has the keys noted that come into being from here on.
    pub fn note_creations(&mut self) {
        self.created.get_or_insert_default();
    }

    /// The keys that have come into being since the last call, in order; none unless they are [noted](Self::note_creations).
    pub fn take_creations(&mut self) -> Vec<ChangedKey> {
        self.created.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The one place that every change of a key passes, whether of its value or its deadline.
    #[inline]
    fn note_changed(&mut self, key: &Key<'_>) {
        // Of internal keys nobody is told, but a transaction on copies has to know that it has changed one.
        if is_internal(key.database) && self.private.is_none() {
            return;
        }
        if let Some(changed) = &mut self.changed {
            changed.push(ChangedKey { database: key.logical, key: key.bytes.into() });
        }
    }

    /// Has a key that exists count as changed for those who watch it or have copies, although nothing of it changes.
    pub fn count_as_changed(&mut self, key: &Key<'_>) {
        let now_ms = self.now_ms;
        let shard = self.shard_mut(key);
        if let Some(place) = shard.live(key, now_ms) {
            shard.note_changed(place);
            self.note_changed(key);
        }
    }

    /// Adds an operation to the record; before it is applied, so that one too many changes nothing.
    ///
    /// # Panics
    /// If it alone is longer than the log takes ([`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX) and a little).
    fn log(&mut self, operation: Operation<'_>) {
        let before = self.record.len();
        operation.encode(&mut self.record);
        self.check_operation(before);
    }

    fn check_operation(&mut self, before: usize) {
        let bytes = self.record.len() - before;
        if bytes > RECORD_BYTES_MAX {
            self.record.truncate(before);
            panic!("an operation of {bytes} bytes is over the limit of {RECORD_BYTES_MAX}");
        }
    }

    /// Appends the record to the log. Admission bounds what comes in with a transaction, but what is in the database already may be put under
    /// other keys again and again: a record longer than the log takes is several, and so a crash may keep the first of them alone.
    fn append(&self) -> Lsn {
        let wal = &self.inner.wal;
        if self.record.len() <= RECORD_BYTES_MAX {
            return wal.append(&self.record);
        }
        let (mut rest, mut begin, mut end) = (&self.record[..], 0, 0);
        while record::take(&mut rest).is_some() {
            let next = self.record.len() - rest.len();
            if next - begin > RECORD_BYTES_MAX {
                wal.append(&self.record[begin..end]);
                begin = end;
            }
            end = next;
        }
        wal.append(&self.record[begin..end])
    }

    /// Logs and applies a change of a key that lives and holds the change's kind; whether it added an element.
    fn change(&mut self, key: &Key<'_>, change: &Change<'_>) -> bool {
        let Some(place) = self.shard(key).live(key, self.now_ms) else { return false };
        self.change_at(key, place, change)
    }

    /// As [`change`](Self::change), of a key whose place was just looked up.
    fn change_at(&mut self, key: &Key<'_>, place: Place, change: &Change<'_>) -> bool {
        self.before_change(key, place, change);
        let inner = self.inner;
        let applied = change::apply(self.shard_mut(key), place, &inner.hasher, change);
        self.garbage.extend(applied.garbage);
        applied.new
    }

    /// All that a change takes beside applying it.
    fn before_change(&mut self, key: &Key<'_>, place: Place, change: &Change<'_>) {
        let inner = self.inner;
        debug_assert!(self.shard(key).entry(place).view().kind() == change.kind());
        let name = self.shard(key).name(place, key.database, key.bytes);
        self.log(Operation::Change { name, change: *change });
        self.note_changed(key);
        if let Some(mut journal) = self.journal.take() {
            let entry = self.shard(key).entry(place);
            journal.before_change(key, &inner.hasher, entry, change);
            self.journal = Some(journal);
        }
    }

    fn discard(&mut self, object: Object) {
        self.garbage.push(object);
    }

    /// Makes the key hold `object`, and logs it whole.
    pub(crate) fn put(&mut self, key: &Key<'_>, object: Object, deadline_ms: u64, grid: u16) {
        let limit = match &object {
            Object::Packed(packed) => View::Packed(packed.bytes()).policy(),
            Object::Structured(structured) => structured.policy(),
            Object::Idle(_) | Object::Cold { .. } => unreachable!("what is put is readable"),
        };
        let limit = limit.map_or(NEVER, |policy| policy.absolute_ms);
        let deadline_ms = deadline_ms.min(limit);
        let grid = grid_within(deadline_ms, grid, limit);
        let logged = logged_deadline(deadline_ms, grid);
        // Whoever reads the log back knows entries by their hash alone as long as their objects are on disk.
        let twin =
            self.is_private() || self.shard(key).find_hash(key.hash, |entry| !entry.is_of(key)).is_some();
        let before = self.record.len();
        match &object {
            Object::Packed(packed) => {
                let bytes = packed.bytes();
                put_object(&mut self.record, (logged, grid, twin), bytes.len(), |out| {
                    out.extend_from_slice(bytes);
                });
            }
            Object::Structured(structured) => {
                let mut flat = Vec::new();
                structured.encode(&mut flat);
                put_object(&mut self.record, (logged, grid, twin), flat.len(), |out| {
                    out.extend_from_slice(&flat);
                });
            }
            Object::Idle(_) | Object::Cold { .. } => unreachable!("what is put is readable"),
        }
        self.check_operation(before);
        self.note_changed(key);
        if self.created.is_some() && !is_internal(key.database) && !self.exists(key) {
            let created = ChangedKey { database: key.logical, key: key.bytes.into() };
            self.created.get_or_insert_default().push(created);
        }
        let shard = self.shard_mut(key);
        let Some(place) = shard.find(key) else {
            shard.insert(key.hash, key.database, object, deadline_ms, grid);
            if let Some(journal) = &mut self.journal {
                journal.before_put(key, None);
            }
            return;
        };
        let before = (shard.entry(place).deadline_ms(), shard.entry(place).handle().grid());
        let old = shard.put_at(place, object, deadline_ms, grid);
        self.discard_revocably(key, old, before);
    }

    /// Does away with what a key has held, or keeps it in case that it is to come back.
    fn discard_revocably(&mut self, key: &Key<'_>, old: Object, (deadline_ms, grid): (u64, u16)) {
        let private = self.is_private();
        match &mut self.journal {
            Some(journal) => {
                // A copy shares its object with the original, whose place it is.
                if !private {
                    old.forget_location();
                }
                journal.before_put(key, Some((old, deadline_ms, grid)));
            }
            None => self.discard(old),
        }
    }

    /// Whether the key exists.
    pub fn exists(&self, key: &Key<'_>) -> bool {
        self.entry(key).is_some()
    }

    /// What kind of value the key holds; `None` if there is no such key.
    pub fn kind(&self, key: &Key<'_>) -> Option<Kind> {
        self.view(key).map(|view| view.kind())
    }

    /// Whether the value is in its flat form (what Redis calls a listpack, for a hash).
    pub fn is_packed(&self, key: &Key<'_>) -> bool {
        matches!(self.view(key), Some(View::Packed(_)))
    }

    /// The key's deadline, in ms since the epoch: `None` if there is no such key, `Some(None)` if it never dies.
    pub fn deadline(&self, key: &Key<'_>) -> Option<Option<u64>> {
        self.entry(key).map(|entry| Some(entry.key_deadline_ms()).filter(|&deadline| deadline != NEVER))
    }

    /// The absolute limit that came with the key ([`Expiry::Idle`](crate::Expiry::Idle)), in ms since the epoch.
    pub fn absolute_limit(&self, key: &Key<'_>) -> Option<u64> {
        let policy: Policy = self.view(key)?.policy()?;
        Some(policy.absolute_ms).filter(|&limit| limit != NEVER)
    }

    /// Sets the deadline, or clears it; false if there is no such key. Never beyond the key's absolute limit, if it has one. A
    /// deadline that has come deletes the key.
    pub fn set_deadline(&mut self, key: &Key<'_>, deadline_ms: Option<u64>) -> bool {
        self.move_deadline(key, deadline_ms.unwrap_or(NEVER), 0).is_some()
    }

    /// Moves the deadline as `touch` says; the new one (`Some(None)`: never), or `None` if there is no such key.
    ///
    /// What the log holds may be later by at most 5 % of the idle period, never earlier: a touch writes only when it passes a step of
    /// that grid.
    pub fn touch(&mut self, key: &Key<'_>, touch: Touch) -> Option<Option<u64>> {
        let entry = self.entry(key)?;
        let idle_ms = match touch {
            Touch::For(idle) => ms(idle),
            Touch::Policy => match entry.view().policy() {
                Some(policy) if policy.idle_ms != 0 => policy.idle_ms,
                _ => return self.deadline(key),
            },
        };
        let deadline_ms = self.now_ms.saturating_add(idle_ms).min(NEVER - 1);
        self.move_deadline(key, deadline_ms, grid_for(idle_ms))
            .map(|deadline| Some(deadline).filter(|&d| d != NEVER))
    }

    fn move_deadline(&mut self, key: &Key<'_>, deadline_ms: u64, grid: u16) -> Option<u64> {
        let now_ms = self.now_ms;
        let shard = self.shard_mut(key);
        let place = shard.live(key, now_ms)?;
        let entry = shard.entry(place);
        let limit = entry.view().policy().map_or(NEVER, |policy| policy.absolute_ms);
        let deadline_ms = deadline_ms.min(limit);
        if deadline_ms <= now_ms {
            self.delete(key);
            return Some(deadline_ms);
        }
        let last_ms = entry.deaths().map_or(NEVER, |deaths| deaths.last_ms);
        if last_ms <= deadline_ms && last_ms != NEVER {
            // Its fields die first: the entry can't say so, and the object has to.
            if entry.key_deadline_ms() != deadline_ms {
                self.change(key, &Change::Timed(TimedChange::KeyDeadline { deadline_ms }));
            }
            return Some(deadline_ms);
        }
        let before = (entry.handle().grid(), logged_deadline(entry.deadline_ms(), entry.handle().grid()));
        let grid = grid_within(deadline_ms, grid, limit.min(last_ms));
        let after = (grid, logged_deadline(deadline_ms, grid));
        if before != after {
            let name = shard.name(place, key.database, key.bytes);
            self.log(Operation::Deadline { name, deadline_ms: after.1, grid });
        }
        self.note_changed(key);
        if let Some(mut journal) = self.journal.take() {
            let entry = self.shard(key).entry(place);
            journal.before_deadline(key, entry.deadline_ms(), entry.handle().grid());
            self.journal = Some(journal);
        }
        self.shard_mut(key).set_deadline(place, deadline_ms, grid);
        Some(deadline_ms)
    }

    /// Removes the key; whether it was there.
    pub fn delete(&mut self, key: &Key<'_>) -> bool {
        let now_ms = self.now_ms;
        let shard = self.shard_mut(key);
        let Some(place) = shard.live(key, now_ms) else { return false };
        let name = shard.name(place, key.database, key.bytes);
        self.log(Operation::Delete { name });
        self.note_changed(key);
        let shard = self.shard_mut(key);
        let before = (shard.entry(place).deadline_ms(), shard.entry(place).handle().grid());
        let object = shard.remove(place);
        self.discard_revocably(key, object, before);
        true
    }

    /// Moves value and deadline of `from` over `to`; false if `from` doesn't exist.
    pub fn rename(&mut self, from: &Key<'_>, to: &Key<'_>) -> bool {
        if !self.copy(from, to) {
            return false;
        }
        if (from.database, from.bytes) != (to.database, to.bytes) {
            self.delete(from);
        }
        true
    }

    /// Copies value and deadline of `from` over `to`, in any databases; false if `from` doesn't exist.
    pub fn copy(&mut self, from: &Key<'_>, to: &Key<'_>) -> bool {
        if !self.exists(from) || (from.database, from.bytes) == (to.database, to.bytes) {
            return self.exists(from);
        }
        self.hash_prune(from);
        let Some(entry) = self.entry(from) else { return false };
        let (deadline_ms, grid) = (entry.deadline_ms(), entry.handle().grid());
        let copy = object::copy_as(entry.view(), to.database, to.bytes);
        // Logged whole, as the source may have changed in a checkpoint that this operation has to be replayed onto.
        self.put(to, copy, deadline_ms, grid);
        true
    }

    /// Whether the key's value fits one record of the log, as it must to be copied or renamed: collections can grow beyond that, change by
    /// change. True also if there is no such key.
    pub fn fits_a_record(&self, key: &Key<'_>) -> bool {
        let Some(View::Structured(structured)) = self.view(key) else { return true };
        // Never less than the flat form, which is worth making only to be sure.
        if structured.memory_bytes() <= crate::VALUE_BYTES_MAX / 2 {
            return true;
        }
        let mut flat = Vec::new();
        structured.encode(&mut flat);
        flat.len() <= crate::VALUE_BYTES_MAX
    }

    /// Whether a value of so many bytes may come into being that nobody has sent: the zeros before what a far write leaves. One that could never be
    /// resident within [`Options::memory_bytes_max`](crate::Options::memory_bytes_max) may not, if it is long.
    pub fn has_room_for(&self, length: usize) -> bool {
        length <= UNSENT_BYTES_FREE || length as u64 <= self.inner.tiering.limit_bytes()
    }

    /// About what the key costs in memory, in bytes, all in; `None` if there is no such key.
    pub fn memory_usage(&self, key: &Key<'_>) -> Option<usize> {
        // The entry with its share of the table, and a timer.
        const INDEX_BYTES: usize = 32 + 9;
        self.view(key).map(|view| view.memory_bytes() + INDEX_BYTES)
    }

    /// Counts an access without changing anything (`TOUCH`); whether the key exists.
    pub fn note_access(&mut self, key: &Key<'_>) -> bool {
        self.exists(key)
    }

    /// Whether anything was changed so far.
    pub fn changed(&self) -> bool {
        !self.record.is_empty()
    }

    /// Ends the transaction: the log position that must be [acknowledged](crate::Db::acknowledged) before anyone is told;
    /// [`Lsn::ZERO`] if nothing was changed. (Dropping a transaction ends it too: what it changed is changed, unless it was made
    /// [revocable](Self::make_revocable).)
    pub fn commit(self) -> Lsn {
        self.commit_then(|_| {})
    }

    /// As [`commit`](Self::commit), and calls `tell` with the position while the keys are still locked: what it tells of this transaction
    /// comes before what is told of the next one over any of the keys. It must be quick, and must not use the database.
    pub fn commit_then(mut self, tell: impl FnOnce(Lsn)) -> Lsn {
        self.finish(tell)
    }

    fn finish(&mut self, tell: impl FnOnce(Lsn)) -> Lsn {
        // What was done stays.
        if let Some(journal) = self.journal.take() {
            self.garbage.extend(journal.into_garbage());
        }
        let lsn = if self.record.is_empty() || self.is_private() {
            Lsn::ZERO
        } else {
            // Under the locks, so that the log has the changes of each key in the order in which they happened.
            self.append()
        };
        if let Some(private) = self.private {
            private.outcome.lock().take(&self.record, self.changed.as_mut());
        }
        let news = self.settle_sessions();
        if !self.visitors.is_empty() {
            self.see_off();
        }
        tell(lsn);
        self.shards.clear();
        let mut record = std::mem::take(&mut self.record);
        if record.capacity() <= RECORD_BYTES_KEPT {
            record.clear();
            RECORD.set(record);
        }
        if !self.garbage.is_empty() {
            let garbage = std::mem::take(&mut self.garbage);
            self.inner.free(garbage);
        }
        if let Some(rare) = self.rare.take()
            && !rare.cleared.is_empty()
        {
            self.inner.free_cleared(rare.cleared);
        }
        if news {
            self.inner.sessions.tell_of_events();
        }
        if self.told {
            self.inner.observed.done();
        }
        lsn
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        if !self.shards.is_empty() {
            self.undo();
            self.finish(|_| {});
        }
    }
}
