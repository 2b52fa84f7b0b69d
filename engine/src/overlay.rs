//! A transaction that takes long, on copies, with nothing locked: for scripts that nobody must wait for.
//!
//! What it needs is copied in when it is first asked for, under short locks (flat objects are shared, structured ones cloned), and each key that
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
use crate::key::{DATABASES, Key};
use crate::object::{self, Kind, Object};
use crate::record::{self, Name, Operation};
use crate::shard::Shard;
use crate::txn::{Access, ChangedKey, Txn};
use crate::watch::Watch;
use parking_lot::Mutex;
use sessile_wal::Lsn;
use sessile_wal::limits::RECORD_BYTES_MAX;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

/// What the steps so far have done.
#[derive(Default)]
pub(crate) struct Outcome {
    record: Vec<u8>,
    changed: Vec<ChangedKey>,
    /// Keys that were copied in.
    known: BTreeSet<Id>,
}

impl Outcome {
    /// Whether a key was copied in.
    pub(crate) fn knows(&self, key: &Key<'_>) -> bool {
        self.known.contains(&id(key))
    }

    /// Takes a step's record, and the keys that it has changed.
    pub(crate) fn take(&mut self, record: &[u8], changed: Option<&mut Vec<ChangedKey>>) {
        self.record.extend_from_slice(record);
        if let Some(changed) = changed {
            self.changed.append(changed);
        }
    }
}

/// A key that was copied in.
struct Copied {
    /// `None` if its database had been emptied before: what the original is does not matter.
    watch: Option<Watch>,
    /// Deadline and grid of the original; `None` if there was none.
    before: Option<(u64, u16)>,
}

/// Logical database and bytes of a key.
type Id = (u8, Box<[u8]>);

/// See the module's page.
pub struct Overlay {
    db: Db,
    /// As it was when this began: a swap meanwhile is a conflict.
    map: DatabaseMap,
    now_ms: u64,
    copies: Mutex<Shard>,
    outcome: Mutex<Outcome>,
    copied: BTreeMap<Id, Copied>,
    /// Bits of the logical databases that were emptied.
    cleared: u16,
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
        Overlay {
            db: self.clone(),
            map: self.inner.databases.map(),
            now_ms,
            copies: Mutex::new(Shard::of_copies(now_ms)),
            outcome: Mutex::default(),
            copied: BTreeMap::new(),
            cleared: 0,
        }
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
        Key { logical: database, ..self.db.inner.hasher.key(self.map.inner(database), bytes) }
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
        let mut txn = Txn::begin_private(&self.db.inner, &self.copies, &self.outcome, access, self.now_ms);
        txn.note_changes();
        Ok(txn)
    }

    /// Copies those keys in that were not yet.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn copy_in(&mut self, keys: &[Key<'_>]) -> Result<(), Error> {
        if keys.iter().any(|key| self.map.inner(key.logical) != key.database) {
            return Err(Error::DatabasesSwapped);
        }
        let is_new = |key: &&Key<'_>| !self.copied.contains_key(&id(key));
        let missing: Vec<Key<'_>> = keys.iter().filter(is_new).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let inner = &self.db.inner;
        let mut txn = self.db.begin(&missing, Access::Read, self.now_ms)?;
        let copies = self.copies.get_mut();
        for key in &missing {
            let Slot::Vacant(slot) = self.copied.entry(id(key)) else { continue };
            let mut copied = Copied { watch: None, before: None };
            if self.cleared & 1 << key.logical == 0 {
                let shard = txn.shard_of(key);
                if let Some(place) = shard.live(key, self.now_ms) {
                    let entry = shard.entry(place);
                    let object = match entry.handle().share() {
                        Some(flat) => Object::Packed(flat),
                        None => object::copy_as(entry.view(), key.database, key.bytes),
                    };
                    let before = (entry.deadline_ms(), entry.handle().grid());
                    copies.adopt(key, object, before.0, before.1);
                    copied.before = Some(before);
                }
                copied.watch = Some(Watch::begin(inner, shard, key, self.now_ms));
            }
            self.outcome.get_mut().known.insert(slot.key().clone());
            slot.insert(copied);
        }
        Ok(())
    }

    /// Removes all keys of a numbered database (`Some`) or of all (`None`).
    pub fn clear(&mut self, database: Option<u8>) {
        for logical in (0..DATABASES).filter(|&one| database.is_none_or(|database| one == database)) {
            self.cleared |= 1 << logical;
            let own: Vec<Id> = self.copied.keys().filter(|id| id.0 == logical).cloned().collect();
            for (_, bytes) in &own {
                let key = self.key(logical, bytes);
                drop(self.copies.lock().give_away(&key));
            }
        }
        let database = database.map(|logical| self.map.inner(logical));
        Operation::Clear { database }.encode(&mut self.outcome.get_mut().record);
    }

    fn is_cleared(&self, database: u8) -> bool {
        self.cleared & 1 << database != 0
    }

    /// The kind of a key that was copied in: `Some(None)` if it is not there, `None` if it was not copied in.
    fn kind_of(&self, database: u8, bytes: &[u8]) -> Option<Option<Kind>> {
        if !self.copied.contains_key(&(database, Box::from(bytes))) {
            return self.is_cleared(database).then_some(None);
        }
        let copies = self.copies.lock();
        let place = copies.live(&self.key(database, bytes), self.now_ms);
        Some(place.map(|place| copies.entry(place).view().kind()))
    }

    /// Calls `each` with the keys that are here but not in the database itself.
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
        if cursor == 0 {
            self.for_each_created(database, each);
        }
        if self.is_cleared(database) {
            return Ok(0);
        }
        self.db.scan(database, cursor, count, &mut |key, kind| match self.copied.get(&(database, key.into()))
        {
            None => each(key, kind),
            Some(Copied { before: None, .. }) => {}
            Some(_) => {
                if let Some(Some(kind)) = self.kind_of(database, key) {
                    each(key, kind);
                }
            }
        })
    }

    /// As [`Db::random_key`], with what was changed here.
    ///
    /// # Errors
    /// As [`Db::random_key`].
    pub fn random_key(&self, database: u8, random: u64) -> Result<Option<Vec<u8>>, Error> {
        /// Keys that are drawn before it is taken for likely that most of them were removed here.
        const TRIES: u64 = 32;
        let mut created = Vec::new();
        self.for_each_created(database, &mut |key, _| created.push(key.to_vec()));
        let others = if self.is_cleared(database) { 0 } else { self.db.len_of(database) };
        // In proportion, about.
        let at = (u128::from(random) * (created.len() + others) as u128 >> 64) as usize;
        if at < created.len() {
            return Ok(Some(created.swap_remove(at)));
        }
        if others > 0 {
            for number in 0..TRIES {
                let Some(key) = self.db.random_key(database, random.wrapping_add(number << 32))? else {
                    break;
                };
                if !matches!(self.kind_of(database, &key), Some(None)) {
                    return Ok(Some(key));
                }
            }
            let (mut cursor, mut found) = (0, None);
            loop {
                cursor = self.scan(database, cursor, 128, &mut |key, _| {
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
        let mut created = 0;
        self.for_each_created(database, &mut |_, _| created += 1);
        if self.is_cleared(database) {
            return created;
        }
        let removed = self.copied.iter().filter(|((own, bytes), copied)| {
            *own == database && copied.before.is_some() && self.kind_of(database, bytes) == Some(None)
        });
        (self.db.len_of(database) + created).saturating_sub(removed.count())
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
        let Overlay { db, map, copies, outcome, copied, cleared, .. } = self;
        let inner = &*db.inner;
        let record = outcome.into_inner().record;
        if record.len() > RECORD_BYTES_MAX {
            let (bytes, limit_bytes) = (record.len(), RECORD_BYTES_MAX);
            return Err(Error::TooLarge { what: "transaction", bytes, limit_bytes });
        }
        let access = if record.is_empty() { Access::Read } else { Access::Write };
        inner.admit(record.len(), access)?;
        let keys: Vec<Key<'_>> = copied
            .keys()
            .map(|(logical, bytes)| Key { logical: *logical, ..inner.hasher.key(map.inner(*logical), bytes) })
            .collect();
        let mut fetched = None;
        let mut txn = loop {
            let mut txn = match cleared {
                0 => Txn::begin(inner, &keys, access, 0),
                _ => Txn::begin_all(inner, access, 0),
            };
            // Only now: what has died before was seen to be alive.
            txn.set_now(db.now_ms());
            let holds = |copied: &Copied| copied.watch.as_ref().is_none_or(|watch| txn.is_unchanged(watch));
            if inner.databases.map() != map || !copied.values().all(holds) {
                return Ok(Committed::Conflict);
            }
            if record.is_empty() {
                return Ok(Committed::At(Lsn::ZERO));
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
                for logical in (0..DATABASES).filter(|logical| some & 1 << logical != 0) {
                    old.extend(txn.take_all(Some(map.inner(logical))));
                }
            }
        }
        let mut copies = copies.into_inner();
        for (key, copied) in keys.iter().zip(copied.values()) {
            txn.put_in_place(key, copies.give_away(key), copied.before);
        }
        let lsn = txn.commit();
        inner.free_cleared(old);
        Ok(Committed::At(lsn))
    }
}

fn id(key: &Key<'_>) -> Id {
    (key.logical, Box::from(key.bytes))
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
