//! What happens to keys without a command: they expire, or are evicted. An [`Observer`] hears of it, key by key.
//!
//! It is told while the key's shard is locked, so that what it hears of a key and what a transaction tells of the same key
//! ([`commit_then`](crate::Txn::commit_then)) come in the order in which they happened. Nothing is looked at, and nothing costs anything but
//! a load now and then, while nobody observes.
//!
//! The key of an entry that is on disk only has to be read first, which never happens under a lock: while somebody observes, such an entry
//! stays in the index, dead, until a background step has read its key; it is taken away, and told of, in one. One that is evicted goes at
//! once, because memory is wanted, and is told of later.

use crate::databases::Databases;
use crate::db::Inner;
use crate::key::is_internal;
use crate::limits::COLD_KEYS_PER_STEP;
use crate::location::Location;
use crate::object::{Deaths, Form, View, layout};
use crate::segment::Scratch;
use crate::segments::{Segment, Segments};
use crate::shard::{Entry, Shard};
use crate::table::Place;
use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occurrence {
    /// Its deadline came.
    Expired,
    /// It was deleted because memory was full.
    Evicted,
    /// The deadlines of some of its fields came. The key is still there, unless [`Emptied`](Self::Emptied) comes next.
    FieldsExpired,
    /// It went with the last of its fields.
    Emptied,
}

/// Who hears of what happens to keys without a command.
pub trait Observer: Send + Sync {
    /// Something happened to a key of a numbered database. Called while the key is locked: it must be quick, and must not use the database.
    fn happened(&self, what: Occurrence, database: u8, key: &[u8]);

    /// Called after some of that, on the same thread, with nothing locked.
    fn done(&self);
}

/// The observer, and what it has not been told yet.
#[derive(Default)]
pub(crate) struct Observed {
    on: AtomicBool,
    observer: OnceLock<Arc<dyn Observer>>,
    cold: Mutex<Vec<Cold>>,
}

/// Something happened to a key that is on disk only.
pub(crate) enum Cold {
    /// It is dead, and its entry is still there.
    Dead { hash: u64, location: Location },
    /// It was evicted: what is left of it is its record, in a segment that stays open for it.
    Evicted { location: Location, segment: Arc<Segment> },
}

impl Cold {
    fn location(&self) -> Location {
        match self {
            Cold::Dead { location, .. } | Cold::Evicted { location, .. } => *location,
        }
    }
}

/// Tells the observer, if there is one, of what happens to entries while their shards are locked.
#[derive(Default)]
pub(crate) struct Witness<'a> {
    observer: Option<&'a dyn Observer>,
    segments: Option<&'a Segments>,
    /// Entries hold numbers of the index, and nobody else knows those.
    databases: Option<&'a Databases>,
    told: bool,
    /// What is to be told when its key was read.
    pub(crate) cold: Vec<Cold>,
}

impl<'a> Witness<'a> {
    /// Whether anybody wants to know.
    pub(crate) fn is_wanted(&self) -> bool {
        self.observer.is_some()
    }

    /// Tells of an entry; whether its key is known.
    pub(crate) fn tell(&mut self, what: Occurrence, entry: &Entry) -> bool {
        match (entry.handle().view(), entry.handle().idle()) {
            (Some(view), _) => self.tell_key(what, view.database(), view.key()),
            (None, Some(flat)) => self.tell_key(what, layout::database(flat), layout::parts(flat).key),
            (None, None) => return false,
        }
        true
    }

    /// Tells of an entry that has died by `now_ms`; whether its key is known. (Of one that is compressed in memory it is not known whether it was
    /// the last of its fields that died; it is told of as expired.)
    pub(crate) fn tell_dead(&mut self, entry: &Entry, now_ms: u64) -> bool {
        if entry.deaths().is_some_and(|deaths| deaths.last_ms <= now_ms && entry.key_deadline_ms() > now_ms) {
            self.tell(Occurrence::FieldsExpired, entry) && self.tell(Occurrence::Emptied, entry)
        } else {
            self.tell(Occurrence::Expired, entry)
        }
    }

    /// Tells of an entry that is about to be deleted, or will, when its key was read.
    pub(crate) fn tell_evicted(&mut self, entry: &Entry) {
        if !self.tell(Occurrence::Evicted, entry)
            && let Some(location) = entry.handle().location()
            && let Some(segment) = self.segments.and_then(|segments| segments.at(location))
        {
            self.cold.push(Cold::Evicted { location, segment });
        }
    }

    /// Tells of a key in a database of the index.
    pub(crate) fn tell_key(&mut self, what: Occurrence, database: u8, key: &[u8]) {
        if let Some(observer) = self.observer.filter(|_| !is_internal(database)) {
            self.told = true;
            // Under a lock of a shard, so that it can't change meanwhile.
            let logical = self.databases.map_or(database, |databases| databases.map().logical(database));
            observer.happened(what, logical, key);
        }
    }

    /// The locks are gone: hands on what has to be read first. Whether there is any of that.
    pub(crate) fn end(mut self, inner: &Inner) -> bool {
        if self.told
            && let Some(observer) = self.observer
        {
            observer.done();
        }
        if self.cold.is_empty() {
            return false;
        }
        inner.observed.cold.lock().append(&mut self.cold);
        inner.pauses.tiering.wake();
        true
    }
}

impl Observed {
    /// Says who observes. Only the first to be named does.
    pub(crate) fn set(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    pub(crate) fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Calls the observer's [`done`](Observer::done).
    pub(crate) fn done(&self) {
        if let Some(observer) = self.observer.get() {
            observer.done();
        }
    }

    /// Who tells the observer of what is about to happen.
    pub(crate) fn witness<'a>(&'a self, segments: &'a Segments, databases: &'a Databases) -> Witness<'a> {
        let observer = if self.is_on() { self.observer.get().map(|observer| &**observer) } else { None };
        Witness { observer, segments: Some(segments), databases: Some(databases), ..Witness::default() }
    }
}

/// A bounded step: reads keys that are on disk only, and tells what happened to them; how long until the next.
pub(crate) fn step(inner: &Inner) -> Duration {
    let (mut batch, more) = {
        let mut cold = inner.observed.cold.lock();
        if cold.is_empty() {
            return Duration::MAX;
        }
        let kept = cold.len().saturating_sub(COLD_KEYS_PER_STEP);
        (cold.split_off(kept), kept > 0)
    };
    // In the order in which they are in the files.
    batch.sort_unstable_by_key(|cold| (cold.location().slot(), cold.location().offset()));
    let mut witness = inner.witness();
    for cold in batch {
        match cold {
            Cold::Dead { hash, location } => bury(inner, hash, location, &mut witness),
            Cold::Evicted { location, segment } => {
                read_key(&segment, location, |database, key, _| {
                    witness.tell_key(Occurrence::Evicted, database, key);
                });
            }
        }
    }
    let again = witness.end(inner);
    if more || again { Duration::ZERO } else { Duration::MAX }
}

/// Takes a dead entry away whose key is read for that, if it still is as it was.
fn bury(inner: &Inner, hash: u64, location: Location, witness: &mut Witness<'_>) {
    let now_ms = inner.clock.now_ms();
    let shard = &inner.shards[inner.shard_number(hash)];
    let mut key = None;
    if witness.is_wanted() {
        // A slot may mean another segment by now, but not while an entry refers to it.
        let guard = shard.lock();
        let found = find_dead(&guard, hash, now_ms);
        let segment = found.and_then(|(_, at)| if at == location { inner.segments.at(at) } else { None });
        drop(guard);
        match (found, segment) {
            (None, _) => return,
            (Some(_), Some(segment)) => {
                read_key(&segment, location, |database, bytes, deaths| {
                    key = Some((database, bytes.to_vec(), deaths));
                });
            }
            (Some((_, now)), None) => {
                witness.cold.push(Cold::Dead { hash, location: now });
                return;
            }
        }
    }
    let mut record = Vec::new();
    let mut shard = shard.lock();
    let Some((place, now)) = find_dead(&shard, hash, now_ms) else { return };
    if witness.is_wanted() && now != location {
        witness.cold.push(Cold::Dead { hash, location: now });
        return;
    }
    let deadline_ms = shard.entry(place).deadline_ms();
    let object = shard.bury(place, now_ms, &mut record);
    if !record.is_empty() {
        // As in the step that found it dead.
        inner.wal.append(&record);
    }
    // One that can't be read is gone all the same.
    if let Some((database, key, deaths)) = key {
        // Its entry has died of the earlier of two: if its fields are all dead, and its own deadline was not before them, of that.
        let emptied = deaths
            .is_some_and(|deaths| deaths.last_ms <= deadline_ms && deaths.key_deadline_ms > deadline_ms);
        if emptied {
            witness.tell_key(Occurrence::FieldsExpired, database, &key);
            witness.tell_key(Occurrence::Emptied, database, &key);
        } else {
            witness.tell_key(Occurrence::Expired, database, &key);
        }
    }
    drop(shard);
    inner.free([object]);
    inner.expired_keys.fetch_add(1, Ordering::Relaxed);
    inner.wal.note_time();
}

/// A dead entry that is on disk only, and where.
fn find_dead(shard: &Shard, hash: u64, now_ms: u64) -> Option<(Place, Location)> {
    let place = shard
        .find_hash(hash, |entry| entry.handle().form() == Form::Cold && entry.deadline_ms() <= now_ms)?;
    Some((place, shard.entry(place).handle().location()?))
}

/// Reads the key of a record, and passes it on with its database, and with when its fields die.
fn read_key(segment: &Segment, location: Location, each: impl FnOnce(u8, &[u8], Option<Deaths>)) {
    Scratch::of_thread(|scratch| match segment.file.read(location.offset(), scratch) {
        Ok(record) => {
            let deaths = View::Packed(record.object).deaths();
            each(layout::database(record.object), layout::parts(record.object).key, deaths);
        }
        Err(error) => tracing::error!(%error, "a key that is gone can't be read, and is not told of"),
    });
}
