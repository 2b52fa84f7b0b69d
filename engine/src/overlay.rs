//! A transaction that takes long, on copies, with nothing locked: for scripts that nobody must wait for.
//!
//! What it needs is copied in when it is first asked for, under short locks (objects are shared; whoever changes one that is shared changes a copy), and each key that
//! was copied is [watched](crate::watch). Its steps are ordinary transactions over one private shard. In the end all shards concerned are locked:
//! if no key has changed since it was copied, what was changed takes the place of the originals, and is one record in the log; if one has, nothing
//! happens, and the caller does it all again. So whoever sees its effects sees all of them, and it has seen every key as it was at one moment, that
//! of its commit.
//!
//! ```text
//! begin(keys) ─▶ copy in ─▶ Txn over copies ─▶ … ─▶ commit ─▶ lock, compare, put in place, log
//!                                                          └▶ Conflict: again
//! ```
//!
//! What it must never do: hold a lock between its steps, or touch a shard before it commits.

use crate::Error;
use crate::databases::DatabaseMap;
use crate::db::{Db, Inner};
use crate::key::{DATABASES, Key, is_internal};
use crate::object::{Kind, Object};
use crate::record::{self, Name, Operation};
use crate::shard::Shard;
use crate::txn::{Access, ChangedKey, Txn};
use crate::watch::Watch;
use sessile_wal::Lsn;
use sessile_wal::limits::RECORD_BYTES_MAX;
use sessile_wal::sync::Mutex;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::atomic::Ordering;

/// What the steps so far have done.
pub(crate) struct Outcome {
    record: Vec<u8>,
    /// Which database is which by now.
    map: DatabaseMap,
    /// Whether anything was changed: a deadline may be, and the log need not know.
    is_changed: bool,
    changed: Vec<ChangedKey>,
}

impl Outcome {
    pub(crate) fn map(&self) -> DatabaseMap {
        self.map
    }

    /// Takes a step's record, and the keys that it has changed.
    pub(crate) fn take(&mut self, record: &[u8], changed: Option<&mut Vec<ChangedKey>>) {
        self.record.extend_from_slice(record);
        self.is_changed |= !record.is_empty();
        if let Some(changed) = changed {
            self.is_changed |= !changed.is_empty();
            self.changed.extend(changed.drain(..).filter(|changed| !is_internal(changed.database)));
        }
    }
}

/// What a step knows of the whole that it is part of.
#[derive(Clone, Copy)]
pub(crate) struct Private<'o> {
    copied: &'o BTreeMap<Id, Copied>,
    pub(crate) outcome: &'o Mutex<Outcome>,
}

impl Private<'_> {
    /// Whether a key was copied in, or is known not to be there.
    pub(crate) fn has(&self, key: &Key<'_>) -> bool {
        self.copied.contains_key(&id(key))
    }
}

/// A key that was copied in.
struct Copied {
    /// `None` if its database had been emptied before: what the original is does not matter.
    watch: Option<Watch>,
    /// Deadline and grid of the original; `None` if there was none.
    before: Option<(u64, u16)>,
}

/// Database of the index and bytes of a key.
type Id = (u8, Box<[u8]>);

/// See the module's page.
pub struct Overlay {
    db: Db,
    /// As it was when this began: a swap meanwhile by others is a conflict.
    map_before: DatabaseMap,
    now_ms: u64,
    copies: Mutex<Shard>,
    outcome: Mutex<Outcome>,
    copied: BTreeMap<Id, Copied>,
    /// Bits of the databases of the index that were emptied.
    cleared: u16,
    _open: Open,
}

/// Counts an overlay as long as it is open.
struct Open(Db);

impl Open {
    fn of(db: &Db) -> Open {
        db.inner.overlays.fetch_add(1, Ordering::Relaxed);
        Open(db.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.inner.overlays.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What became of an [`Overlay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It has happened; the position to be acknowledged, [`Lsn::ZERO`] if it has changed nothing.
    At(Lsn),
    /// Somebody has changed a key meanwhile that it was based on. Nothing has happened: do it again, from the start.
    Conflict,
}

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay")
            .field("now_ms", &self.now_ms)
            .field("keys", &self.copied.len())
            .finish_non_exhaustive()
    }
}

impl Db {
    /// Begins a transaction on copies, at time `now_ms`. It locks nothing, and has no effect before it is [committed](Overlay::commit).
    pub fn overlay(&self, now_ms: u64) -> Overlay {
        let map = self.inner.databases.map();
        let outcome = Outcome { record: Vec::new(), is_changed: false, changed: Vec::new(), map };
        Overlay {
            db: self.clone(),
            map_before: map,
            now_ms,
            copies: Mutex::new(Shard::of_copies(now_ms)),
            outcome: Mutex::new(outcome),
            copied: BTreeMap::new(),
            cleared: 0,
            _open: Open::of(self),
        }
    }

    /// Whether any transaction on copies is open. Only a hint: objects that one shares may be copied by whoever changes them (see
    /// [`Txn::extent`]).
    pub fn has_overlays(&self) -> bool {
        self.inner.overlays.load(Ordering::Relaxed) > 0
    }
}

impl Overlay {
    /// The time at which all of it happens, in ms since the epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Hashes a key of a numbered database.
    ///
    /// # Panics
    /// If `database` is not below [`DATABASES`].
    pub fn key<'a>(&self, database: u8, bytes: &'a [u8]) -> Key<'a> {
        Key { logical: database, ..self.db.inner.hasher.key(self.map().inner(database), bytes) }
    }

    fn map(&self) -> DatabaseMap {
        self.outcome.lock().map
    }

    /// Bytes that its changes take in the log so far, about.
    pub fn record_bytes(&self) -> usize {
        self.outcome.lock().record.len()
    }

    /// Begins a step over these keys. Values that are not in memory are read first, which may wait for a disk. The step ends with
    /// [`Txn::commit`], whose position means nothing, or is [rolled back](Txn::roll_back). It can be [extended](Txn::extend) only by keys that
    /// were [copied in](Self::copy_in) before.
    ///
    /// # Errors
    /// [`Error::DamagedValue`], [`Error::Io`]; [`Error::DatabasesSwapped`]: the whole has to be done again.
    pub fn begin(&mut self, keys: &[Key<'_>], access: Access) -> Result<Txn<'_>, Error> {
        self.copy_in(keys)?;
        let private = Private { copied: &self.copied, outcome: &self.outcome };
        let mut txn = Txn::begin_private(&self.db.inner, &self.copies, private, access, self.now_ms);
        txn.note_changes();
        Ok(txn)
    }

    /// Copies those keys in that were not yet.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn copy_in(&mut self, keys: &[Key<'_>]) -> Result<(), Error> {
        let map = self.map();
        if keys.iter().any(|key| !is_internal(key.database) && map.inner(key.logical) != key.database) {
            return Err(Error::DatabasesSwapped);
        }
        let is_new = |key: &&Key<'_>| !self.copied.contains_key(&id(key));
        // By their numbers outside.
        let map = self.map_before;
        let missing =
            keys.iter().filter(is_new).map(|key| Key { logical: map.logical(key.database), ..*key });
        let missing: Vec<Key<'_>> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        let inner = &self.db.inner;
        let mut txn = self.db.begin(&missing, Access::Read, self.now_ms)?;
        let copies = self.copies.get_mut();
        for key in &missing {
            let Slot::Vacant(slot) = self.copied.entry(id(key)) else { continue };
            let mut copied = Copied { watch: None, before: None };
            if !is_cleared(self.cleared, key.database) {
                let shard = txn.shard_of(key);
                if let Some(place) = shard.live(key, self.now_ms) {
                    let entry = shard.entry(place);
                    let object = entry.handle().share().map(Object::Packed);
                    let shared = || entry.handle().share_structured().map(Object::Structured);
                    let object = object.or_else(shared).expect("a transaction brings in what it looks at");
                    let before = (entry.deadline_ms(), entry.handle().grid());
                    copies.adopt(key, object, before.0, before.1);
                    copied.before = Some(before);
                }
                copied.watch = Some(Watch::begin(inner, shard, key, self.now_ms));
            }
            slot.insert(copied);
        }
        Ok(())
    }

    /// Removes all keys of a numbered database (`Some`) or of all (`None`).
    pub fn clear(&mut self, database: Option<u8>) {
        let database = database.map(|logical| self.map().inner(logical));
        for number in (0..DATABASES).filter(|&one| database.is_none_or(|database| one == database)) {
            self.cleared |= 1 << number;
            for (_, bytes) in self.copied.keys().filter(|id| id.0 == number) {
                let key = self.db.inner.hasher.key(number, bytes);
                drop(self.copies.lock().give_away(&key));
            }
        }
        let outcome = self.outcome.get_mut();
        outcome.is_changed = true;
        Operation::Clear { database }.encode(&mut outcome.record);
    }

    /// Swaps two numbered databases.
    ///
    /// # Panics
    /// If a number is not below [`DATABASES`].
    pub fn swap_databases(&mut self, one: u8, other: u8) {
        let outcome = self.outcome.get_mut();
        outcome.map = outcome.map.swapped(one, other);
        if one != other {
            outcome.is_changed = true;
            Operation::Databases { map: outcome.map }.encode(&mut outcome.record);
        }
    }

    /// Whether a database of the index was emptied.
    fn is_cleared(&self, database: u8) -> bool {
        is_cleared(self.cleared, database)
    }

    /// The kind of a key that was copied in: `Some(None)` if it is not there, `None` if it was not copied in. `database` is the index's.
    fn kind_of(&self, database: u8, bytes: &[u8]) -> Option<Option<Kind>> {
        if !self.copied.contains_key(&(database, Box::from(bytes))) {
            return self.is_cleared(database).then_some(None);
        }
        let copies = self.copies.lock();
        let place = copies.live(&self.db.inner.hasher.key(database, bytes), self.now_ms);
        Some(place.map(|place| copies.entry(place).view().kind()))
    }

    /// Calls `each` with the keys that are here but not in the database of the index itself.
    fn for_each_created(&self, database: u8, each: &mut dyn FnMut(&[u8], Kind)) {
        for ((own, bytes), copied) in &self.copied {
            if *own == database
                && (copied.before.is_none() || self.is_cleared(database))
                && let Some(Some(kind)) = self.kind_of(database, bytes)
            {
                each(bytes, kind);
            }
        }
    }

    /// As [`Db::scan`], with what was changed here: keys that were created come with the first step. Other keys are as they happen to be: that none
    /// came or went meanwhile is not compared when this is committed.
    ///
    /// # Errors
    /// As [`Db::scan`].
    pub fn scan(
        &self,
        database: u8,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<u64, Error> {
        let database = self.map().inner(database);
        if cursor == 0 {
            self.for_each_created(database, each);
        }
        if self.is_cleared(database) {
            return Ok(0);
        }
        let outside = self.map_before.logical(database);
        self.db.scan(
            outside,
            cursor,
            count,
            &mut |key, kind| match self.copied.get(&(database, key.into())) {
                None => each(key, kind),
                Some(Copied { before: None, .. }) => {}
                Some(_) => {
                    if let Some(Some(kind)) = self.kind_of(database, key) {
                        each(key, kind);
                    }
                }
            },
        )
    }

    /// As [`Db::random_key`], with what was changed here.
    ///
    /// # Errors
    /// As [`Db::random_key`].
    pub fn random_key(&self, database: u8, random: u64) -> Result<Option<Vec<u8>>, Error> {
        /// Keys that are drawn before it is taken for likely that most of them were removed here.
        const TRIES: u64 = 32;
        let logical = database;
        let database = self.map().inner(database);
        let mut created = Vec::new();
        self.for_each_created(database, &mut |key, _| created.push(key.to_vec()));
        let outside = self.map_before.logical(database);
        let others = if self.is_cleared(database) { 0 } else { self.db.len_of(outside) };
        // In proportion, about.
        let at = ((u128::from(random) * (created.len() + others) as u128) >> 64) as usize;
        if at < created.len() {
            return Ok(Some(created.swap_remove(at)));
        }
        if others > 0 {
            for number in 0..TRIES {
                let drawn = self.db.random_key(outside, random.wrapping_add(number << 32))?;
                let Some(key) = drawn else { break };
                if !matches!(self.kind_of(database, &key), Some(None)) {
                    return Ok(Some(key));
                }
            }
            let (mut cursor, mut found) = (0, None);
            loop {
                cursor = self.scan(logical, cursor, 128, &mut |key, _| {
                    found.get_or_insert_with(|| key.to_vec());
                })?;
                if found.is_some() || cursor == 0 {
                    return Ok(found);
                }
            }
        }
        Ok(created.pop())
    }

    /// As [`Db::len_of`], with what was changed here.
    pub fn len_of(&self, database: u8) -> usize {
        let database = self.map().inner(database);
        let mut created = 0;
        self.for_each_created(database, &mut |_, _| created += 1);
        if self.is_cleared(database) {
            return created;
        }
        let removed = self.copied.iter().filter(|((own, bytes), copied)| {
            *own == database && copied.before.is_some() && self.kind_of(database, bytes) == Some(None)
        });
        (self.db.len_of(self.map_before.logical(database)) + created).saturating_sub(removed.count())
    }

    /// The keys that were changed so far, each perhaps several times, in order.
    pub fn take_changes(&mut self) -> Vec<ChangedKey> {
        std::mem::take(&mut self.outcome.get_mut().changed)
    }

    /// Makes all of it happen, if nobody has changed a key that was copied in. Waits for locks, for values on disk that have to be compared, and
    /// while the log's buffer is over its limit.
    ///
    /// # Errors
    /// As [`Db::admit_now`]; [`Error::TooLarge`] if it has changed more than a record of the log can hold; [`Error::DamagedValue`],
    /// [`Error::Io`]. Nothing has happened then.
    pub fn commit(self) -> Result<Committed, Error> {
        self.commit_then(|_| {})
    }

    /// As [`commit`](Self::commit), and calls `tell` with the position while the keys are still locked, as [`Txn::commit_then`] does: if it
    /// commits.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_then(self, tell: impl FnOnce(Lsn)) -> Result<Committed, Error> {
        let Overlay { db, map_before, copies, outcome, copied, cleared, .. } = self;
        let inner = &*db.inner;
        let Outcome { record, is_changed, map, .. } = outcome.into_inner();
        if record.len() > RECORD_BYTES_MAX {
            let (bytes, limit_bytes) = (record.len(), RECORD_BYTES_MAX);
            return Err(Error::TooLarge { what: "transaction", bytes, limit_bytes });
        }
        let access = if is_changed { Access::Write } else { Access::Read };
        inner.admit(record.len(), access)?;
        let keys: Vec<Key<'_>> = copied
            .keys()
            .map(|(database, bytes)| Key {
                logical: map_before.logical(*database),
                ..inner.hasher.key(*database, bytes)
            })
            .collect();
        let mut fetched = None;
        let mut txn = loop {
            let mut txn = match cleared {
                0 if map == map_before => Txn::begin(inner, &keys, access, 0),
                _ => Txn::begin_all(inner, access, 0),
            };
            // Only now: what has died before was seen to be alive.
            txn.set_now(db.now_ms());
            let holds = |copied: &Copied| copied.watch.as_ref().is_none_or(|watch| txn.is_unchanged(watch));
            if inner.databases.map() != map_before || !copied.values().all(holds) {
                return Ok(Committed::Conflict);
            }
            if !is_changed {
                return Ok(Committed::At(txn.commit_then(tell)));
            }
            if inner.observed.is_on() {
                txn.bury_dead(&keys);
            }
            match txn.bring(&keys, fetched.take())? {
                None => break txn,
                Some(mut fetch) => {
                    drop(txn);
                    fetch.wait();
                    fetched = Some(fetch);
                }
            }
        };
        if keys_are_apart(&txn, &keys) {
            record_by_hashes(&record, inner, txn.record());
        } else {
            txn.record().extend_from_slice(&record);
        }
        let mut old = Vec::new();
        match cleared {
            u16::MAX => old.extend(txn.take_all(None)),
            some => {
                for database in (0..DATABASES).filter(|database| some & 1 << database != 0) {
                    old.extend(txn.take_all(Some(database)));
                }
            }
        }
        let mut copies = copies.into_inner();
        for (key, copied) in keys.iter().zip(copied.values()) {
            txn.put_in_place(key, copies.give_away(key), copied.before);
        }
        if map != map_before {
            txn.set_databases(map);
        }
        txn.note_copies(keys.iter());
        let lsn = txn.commit_then(tell);
        inner.free_cleared(old);
        Ok(Committed::At(lsn))
    }
}

/// Whether a database of the index is among those that were emptied; an internal one never is.
fn is_cleared(cleared: u16, database: u8) -> bool {
    !is_internal(database) && cleared & 1 << database != 0
}

fn id(key: &Key<'_>) -> Id {
    (key.database, Box::from(key.bytes))
}

/// Whether none of the keys shares its hash with another, of these or of the index.
fn keys_are_apart(txn: &Txn<'_>, keys: &[Key<'_>]) -> bool {
    let mut hashes: Vec<u64> = keys.iter().map(|key| key.hash).collect();
    hashes.sort_unstable();
    hashes.windows(2).all(|pair| pair[0] != pair[1]) && keys.iter().all(|key| !txn.has_twin(key))
}

/// Appends the operations of a record that names its keys by their bytes to another, by their hashes.
fn record_by_hashes(mut record: &[u8], inner: &Inner, out: &mut Vec<u8>) {
    let by_hash = |name: Name<'_>| -> Name<'static> {
        match name {
            Name::Key { database, key } => Name::Hash(inner.hasher.key(database, key).hash),
            Name::Hash(hash) => Name::Hash(hash),
        }
    };
    while let Some(operation) = record::take(&mut record) {
        let renamed = match operation {
            Operation::Put { deadline_ms, grid, object, .. } => {
                Operation::Put { deadline_ms, grid, twin: false, object }
            }
            Operation::Delete { name } => Operation::Delete { name: by_hash(name) },
            Operation::Deadline { name, deadline_ms, grid } => {
                Operation::Deadline { name: by_hash(name), deadline_ms, grid }
            }
            Operation::Change { name, change } => Operation::Change { name: by_hash(name), change },
            same @ (Operation::Copy { .. } | Operation::Clear { .. } | Operation::Databases { .. }) => same,
        };
        renamed.encode(out);
    }
    debug_assert!(record.is_empty(), "what was written here can be read");
}
