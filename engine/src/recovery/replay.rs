//! The log's tail onto the index.
//!
//! Operations are dealt to threads by shard, in the order of the log. One whose range an index file has collected later is skipped: its
//! effect is in there. Everything an operation needs of a value that is on disk is read then, which is rare: puts and touches need nothing.

use super::{Shards, shard_number};
use crate::change;
use crate::databases::Databases;
use crate::expiry::logged_deadline;
use crate::index_file::Cuts;
use crate::key::{INDEX_DATABASES, Key, KeyHasher, is_cleared_by};
use crate::location::{Location, RECORD_ALIGNMENT};
use crate::object::{self, Kind, Object, layout};
use crate::record::{self, Name, Operation};
use crate::segment::Scratch;
use crate::segments::Segments;
use crate::shard::{Entry, Shard};
use crate::table::Place;
use sessile_wal::Lsn;
use sessile_wal::sync::{Condvar, Mutex, MutexGuard};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// A record of the log that its checksum vouches for and that is none all the same: it was written by another version, or by a mistake.
#[derive(Clone, Debug, thiserror::Error)]
#[error("operation {operation} of the record is not one: {reason}")]
pub(crate) struct BadRecord {
    operation: usize,
    reason: String,
}

/// Why an object could not be read, and whether it is damaged.
struct Unread(String, bool);

impl From<Unread> for String {
    fn from(unread: Unread) -> String {
        unread.0
    }
}

/// Bytes of operations that a thread gets at a time.
const BATCH_BYTES: usize = 128 << 10;
/// Operations whose entries are fetched from memory together.
const PREFETCHED: usize = 16;
/// Batches that wait for a thread at most.
const BATCHES_WAITING: usize = 16;

/// See the module's page.
pub(crate) struct Replay<'a> {
    pub(crate) shards: &'a Shards,
    pub(crate) shard_bits: u32,
    pub(crate) hasher: &'a KeyHasher,
    /// As of the checkpoint, and then as the log says.
    pub(crate) databases: &'a Databases,
    pub(crate) segments: &'a Segments,
    pub(crate) cuts: &'a Cuts,
    pub(crate) now_ms: u64,
    /// The greatest of the cuts.
    pub(crate) reached: u64,
    /// Where entries refer to whose values could not be read, and were to be changed. A leaf; taken then only.
    pub(crate) given_up: Mutex<HashSet<Location>>,
}

/// Operations for one thread.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    operations: Vec<Dealt>,
}

/// An operation of a batch: the hash of its key, its record's position, its number in the record, and its length in bytes.
#[derive(Clone, Copy)]
struct Dealt {
    hash: u64,
    lsn: Lsn,
    number: u32,
    length: u32,
}

/// What the dealer and the threads share.
#[derive(Default)]
struct Shared {
    failed: AtomicBool,
    failure: Mutex<Option<BadRecord>>,
    /// Batches dealt and not done.
    open: Mutex<usize>,
    done: Condvar,
}

/// Deals operations to threads; or applies them at once, if there are none.
pub(crate) struct Dealer<'a, 's> {
    replay: &'a Replay<'a>,
    shared: &'s Shared,
    lanes: Vec<(SyncSender<Batch>, Batch)>,
}

impl<'a> Replay<'a> {
    /// Calls `run` with a dealer over so many threads (none: the caller's own), and waits until all is applied.
    ///
    /// # Errors
    /// The first operation that does not fit, if `run` succeeded otherwise.
    pub(crate) fn with_threads<R>(
        &self,
        threads: usize,
        run: impl FnOnce(&mut Dealer<'_, '_>) -> R,
    ) -> (R, Result<(), BadRecord>) {
        let shared = Shared::default();
        let result = std::thread::scope(|scope| {
            let lanes = if threads < 2 { 0 } else { threads };
            let lanes = (0..lanes).map(|_| (self.spawn(scope, &shared), Batch::default())).collect();
            let mut dealer = Dealer { replay: self, shared: &shared, lanes };
            let result = run(&mut dealer);
            dealer.deal_all();
            result
        });
        let failure = shared.failure.into_inner();
        (result, failure.map_or(Ok(()), Err))
    }

    fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        shared: &'scope Shared,
    ) -> SyncSender<Batch> {
        let (sender, receiver): (_, Receiver<Batch>) = sync_channel(BATCHES_WAITING);
        scope.spawn(move || {
            for batch in receiver {
                let mut bytes = &batch.bytes[..];
                for group in batch.operations.chunks(PREFETCHED) {
                    if shared.failed.load(Ordering::Relaxed) {
                        break;
                    }
                    self.prefetch(group);
                    for &Dealt { lsn, number, length, .. } in group {
                        let (mut own, rest) = bytes.split_at(length as usize);
                        bytes = rest;
                        // The dealer has taken it off a record before.
                        if let Some(next) = record::take(&mut own)
                            && let Err(reason) = self.apply(lsn.get(), next)
                        {
                            shared.failed.store(true, Ordering::Relaxed);
                            let operation = number as usize;
                            shared.failure.lock().get_or_insert(BadRecord { operation, reason });
                        }
                    }
                }
                let mut open = shared.open.lock();
                *open -= 1;
                if *open == 0 {
                    shared.done.notify_all();
                }
            }
        });
        sender
    }

    /// Has what the lookups of these operations read fetched from memory together: most of replay is waiting for that.
    fn prefetch(&self, group: &[Dealt]) {
        for dealt in group {
            self.shard(dealt.hash).table().prefetch_slot(dealt.hash);
        }
        for dealt in group {
            self.shard(dealt.hash).table().prefetch_entry(dealt.hash);
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        self.shards[shard_number(hash, self.shard_bits)].lock()
    }

    fn key<'k>(&self, database: u8, key: &'k [u8]) -> Result<Key<'k>, String> {
        if database >= INDEX_DATABASES {
            return Err("its database isn't there".into());
        }
        Ok(self.hasher.key(database, key))
    }

    fn hash_of(&self, name: Name<'_>) -> Result<u64, String> {
        match name {
            Name::Hash(hash) => Ok(hash),
            Name::Key { database, key } => self.key(database, key).map(|key| key.hash),
        }
    }

    /// Whether an index file has the effect of an operation at `lsn` on this hash.
    fn is_collected(&self, hash: u64, lsn: u64) -> bool {
        lsn <= self.reached && self.cuts.cut_of(hash).is_some_and(|cut| lsn <= cut)
    }

    /// The entry that an operation names.
    fn find(&self, shard: &mut Shard, name: Name<'_>) -> Result<Option<Place>, String> {
        match name {
            Name::Hash(hash) => Ok(shard.by_hash(hash)),
            Name::Key { database, key } => {
                let key = self.key(database, key)?;
                self.read_all(shard, key.hash)?;
                Ok(shard.find(&key))
            }
        }
    }

    /// As [`find`](Self::find), in memory, and the key holds that kind. `None` if the value is damaged on disk: nothing can be changed in it, and
    /// whoever asks for it will be told.
    fn find_of(&self, shard: &mut Shard, name: Name<'_>, kind: Kind) -> Result<Option<Place>, String> {
        let missing = || "its key isn't there".to_string();
        let place = self.find(shard, name)?.ok_or_else(missing)?;
        if !shard.entry(place).handle().is_readable() {
            let hash = self.hash_of(name)?;
            match self.read_all(shard, hash) {
                Err(Unread(reason, true)) => {
                    tracing::error!(reason, "the log changes a value that can't be read");
                    self.give_up(shard, hash);
                    return Ok(None);
                }
                read => read?,
            }
        }
        let place = self.find(shard, name)?.ok_or_else(missing)?;
        if shard.entry(place).view().kind() == kind {
            Ok(Some(place))
        } else {
            Err("its key holds another kind".into())
        }
    }

    /// What the log changes in a value that can't be read is lost with it: should its record be readable again one day (the disk was only
    /// poorly, a copy of the segment was put back), it must not be served as it was before the change. So the entry refers to the midst of the
    /// record from here on, which is none, and answers as it does now until it is replaced.
    fn give_up(&self, shard: &mut Shard, hash: u64) {
        let unread = |entry: &Entry| !entry.handle().is_readable();
        let Some(place) = shard.find_hash(hash, unread) else { return };
        let Some(from) = shard.entry(place).handle().location() else { return };
        let to = Location::new(from.slot(), from.offset() + RECORD_ALIGNMENT);
        let mut given_up = self.given_up.lock();
        if !given_up.contains(&from) {
            given_up.insert(to);
            shard.relocate(hash, from, to);
        }
    }

    /// Reads the objects of all entries with a hash.
    fn read_all(&self, shard: &mut Shard, hash: u64) -> Result<(), Unread> {
        while let Some(place) = shard.find_hash(hash, |entry| !entry.handle().is_readable()) {
            let location = shard.entry(place).handle().location();
            let segment = location.and_then(|location| self.segments.at(location));
            let (Some(location), Some(segment)) = (location, segment) else {
                return Err(Unread("its object is in no segment".into(), false));
            };
            let object = Scratch::of_thread(|scratch| {
                segment
                    .file
                    .read(location.offset(), scratch)
                    .map(|record| object::from_flat(layout::kind(record.object), record.object, self.hasher))
            });
            let object = object.map_err(|error| {
                Unread(error.to_string(), matches!(error, crate::Error::DamagedValue { .. }))
            })?;
            drop(shard.reshape(place, object));
        }
        Ok(())
    }

    /// Reads the objects of entries that share their hash: their keys must be told apart in memory.
    pub(crate) fn read_twins(&self) -> Result<(), String> {
        for shard in self.shards {
            let mut shard = shard.lock();
            for hash in shard.twin_hashes() {
                self.read_all(&mut shard, hash)?;
            }
        }
        Ok(())
    }

    fn apply(&self, lsn: u64, operation: Operation<'_>) -> Result<(), String> {
        let hasher = self.hasher;
        match operation {
            Operation::Put { deadline_ms, grid, twin, object } => {
                let (kind, database, parts) = layout::check(object).ok_or("its object is none")?;
                let key = self.key(database, parts.key)?;
                if self.is_collected(key.hash, lsn) {
                    return Ok(());
                }
                let object = object::from_flat(kind, object, hasher);
                let grid = sound_grid(deadline_ms, grid);
                let mut shard = self.shard(key.hash);
                self.put(&mut shard, &key, twin, object, deadline_ms, grid)?;
            }
            Operation::Delete { name } => {
                let hash = self.hash_of(name)?;
                if !self.is_collected(hash, lsn) {
                    let mut shard = self.shard(hash);
                    // It may have been dead when its range was collected, and left out.
                    if let Some(place) = self.find(&mut shard, name)? {
                        shard.remove(place);
                    }
                }
            }
            Operation::Deadline { name, deadline_ms, grid } => {
                let hash = self.hash_of(name)?;
                if !self.is_collected(hash, lsn) {
                    let mut shard = self.shard(hash);
                    let place = self.find(&mut shard, name)?.ok_or("its key isn't there")?;
                    shard.set_deadline(place, deadline_ms, sound_grid(deadline_ms, grid));
                }
            }
            Operation::Change { name, change } => {
                let hash = self.hash_of(name)?;
                if !self.is_collected(hash, lsn) {
                    if let Some(reason) = change.refusal() {
                        return Err(reason.into());
                    }
                    let mut shard = self.shard(hash);
                    let Some(place) = self.find_of(&mut shard, name, change.kind())? else { return Ok(()) };
                    change::apply(&mut shard, place, hasher, &change);
                }
            }
            Operation::Copy { name, database, key } => self.copy(name, database, key)?,
            // Each says everything, and the checkpoint's is no later than the last.
            Operation::Databases { map } => self.databases.set(map),
            Operation::Clear { database } => {
                for shard in self.shards {
                    self.clear(&mut shard.lock(), lsn, database);
                }
            }
        }
        Ok(())
    }

    fn put(
        &self,
        shard: &mut Shard,
        key: &Key<'_>,
        twin: bool,
        object: Object,
        deadline_ms: u64,
        grid: u16,
    ) -> Result<(), String> {
        if twin {
            self.read_all(shard, key.hash)?;
            shard.put(key, object, deadline_ms, grid);
            return Ok(());
        }
        // The index held no other key with this hash: whatever has it is this key, or had died.
        let mut others = 0;
        let _ = shard.find_hash(key.hash, |_| {
            others += 1;
            false
        });
        let same = shard.find_hash(key.hash, |entry| entry.handle().database() == key.database);
        match (others, same) {
            (1, Some(place)) => drop(shard.put_at(place, object, deadline_ms, grid)),
            _ => {
                while let Some(place) = shard.find_hash(key.hash, |_| true) {
                    shard.remove(place);
                }
                shard.put(key, object, deadline_ms, grid);
            }
        }
        Ok(())
    }

    /// Logs from before there were checkpoints have copies; no index file has collected any of them.
    fn copy(&self, name: Name<'_>, database: u8, key: &[u8]) -> Result<(), String> {
        let to = self.key(database, key)?;
        let hash = self.hash_of(name)?;
        let (copy, deadline_ms, grid) = {
            let mut shard = self.shard(hash);
            let place = self.find(&mut shard, name)?.ok_or("its key isn't there")?;
            let entry = shard.entry(place);
            let view = entry.handle().view().ok_or("its key is not in memory")?;
            (object::copy_as(view, database, key), entry.deadline_ms(), entry.handle().grid())
        };
        self.shard(to.hash).put(&to, copy, deadline_ms, grid);
        Ok(())
    }

    /// Removes the keys of a database, or all: of the ranges that were collected before.
    fn clear(&self, shard: &mut Shard, lsn: u64, database: Option<u8>) {
        if lsn > self.reached {
            drop(shard.clear(database, self.shard_bits, self.now_ms));
            return;
        }
        let mut hashes = Vec::new();
        shard.table().for_each(&mut |entry| {
            if is_cleared_by(database, entry.handle().database()) {
                hashes.push(crate::table::Hashed::hash(entry));
            }
        });
        for hash in hashes.into_iter().filter(|&hash| !self.is_collected(hash, lsn)) {
            let of_it = |entry: &crate::shard::Entry| is_cleared_by(database, entry.handle().database());
            while let Some(place) = shard.find_hash(hash, of_it) {
                shard.remove(place);
            }
        }
    }
}

/// Logs of before there were checkpoints have deadlines that were cut to the absolute limit instead of rounded to their grid.
fn sound_grid(deadline_ms: u64, grid: u16) -> u16 {
    if logged_deadline(deadline_ms, grid) == deadline_ms { grid } else { 0 }
}

impl Dealer<'_, '_> {
    /// Applies one record, or deals its operations.
    pub(crate) fn record(&mut self, lsn: Lsn, mut bytes: &[u8]) -> Result<(), BadRecord> {
        if self.shared.failed.load(Ordering::Relaxed)
            && let Some(failure) = self.shared.failure.lock().clone()
        {
            return Err(failure);
        }
        let mut operation = 0;
        while !bytes.is_empty() {
            let before = bytes;
            let bad = |reason: String| BadRecord { operation, reason };
            let next = record::take(&mut bytes).ok_or_else(|| bad("it can't be read".into()))?;
            let own = &before[..before.len() - bytes.len()];
            self.operation(lsn, operation, own, next).map_err(bad)?;
            operation += 1;
        }
        Ok(())
    }

    fn operation(
        &mut self,
        lsn: Lsn,
        number: usize,
        bytes: &[u8],
        operation: Operation<'_>,
    ) -> Result<(), String> {
        if self.lanes.is_empty() {
            return self.replay.apply(lsn.get(), operation);
        }
        let hash = match operation {
            Operation::Put { object, .. } => {
                let (_, database, parts) = layout::check(object).ok_or("its object is none")?;
                self.replay.key(database, parts.key)?.hash
            }
            Operation::Delete { name }
            | Operation::Deadline { name, .. }
            | Operation::Change { name, .. } => self.replay.hash_of(name)?,
            // No other operation looks at the map: keys are named as the index has them.
            Operation::Databases { .. } => return self.replay.apply(lsn.get(), operation),
            Operation::Copy { .. } | Operation::Clear { .. } => {
                // They concern several threads: all of them wait.
                self.wait_for_all();
                return self.replay.apply(lsn.get(), operation);
            }
        };
        let lane = shard_number(hash, self.replay.shard_bits) * self.lanes.len() / self.replay.shards.len();
        let (_, batch) = &mut self.lanes[lane];
        batch.bytes.extend_from_slice(bytes);
        // A record is below 4 GiB.
        batch.operations.push(Dealt { hash, lsn, number: number as u32, length: bytes.len() as u32 });
        if batch.bytes.len() >= BATCH_BYTES {
            self.deal(lane);
        }
        Ok(())
    }

    fn deal(&mut self, lane: usize) {
        let (sender, batch) = &mut self.lanes[lane];
        if !batch.operations.is_empty() {
            *self.shared.open.lock() += 1;
            // A thread ends only when its sender is dropped.
            let _ = sender.send(std::mem::take(batch));
        }
    }

    fn deal_all(&mut self) {
        (0..self.lanes.len()).for_each(|lane| self.deal(lane));
    }

    fn wait_for_all(&mut self) {
        self.deal_all();
        let mut open = self.shared.open.lock();
        while *open > 0 {
            self.shared.done.wait(&mut open);
        }
    }
}
