//! Walking the keys: `scan` step by step, a random one. Keys of values that are on disk are read there, outside every lock.

use crate::Error;
use crate::db::{Db, Inner};
use crate::fetch::{Fetch, Source};
use crate::limits::SCAN_IGNORED_BITS;
use crate::location::Location;
use crate::object::{Kind, layout};
use crate::segment::Scratch;
use crate::segments::Segment;
use crate::shard::{Entry, Shard};
use crate::txn::Txn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A key whose object is on disk only.
struct ColdKey {
    location: Location,
    segment: Arc<Segment>,
}

impl ColdKey {
    /// Where it is read.
    fn source(self) -> Source {
        Source::Cold { location: self.location, segment: self.segment }
    }

    fn of(inner: &Inner, entry: &Entry) -> Option<ColdKey> {
        let location = entry.handle().location()?;
        Some(ColdKey { location, segment: inner.segments.at(location)? })
    }

    /// Reads key and kind. A damaged record, which has no key to speak of, is counted.
    fn read<R>(&self, inner: &Inner, then: impl FnOnce(&[u8], Kind) -> R) -> Result<R, Error> {
        let reads = &inner.reads;
        reads.reads.fetch_add(1, Ordering::Relaxed);
        let read = Scratch::of_thread(|scratch| {
            self.segment
                .file
                .read(self.location.offset(), scratch)
                .map(|record| then(layout::parts(record.object).key, layout::kind(record.object)))
        });
        if let Err(error @ Error::DamagedValue { .. }) = &read {
            reads.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "a key can't be listed");
        }
        read
    }
}

/// Key and kind, if they can be had without reading.
fn in_memory(entry: &Entry) -> Option<(&[u8], Kind)> {
    match (entry.handle().view(), entry.handle().idle()) {
        (Some(view), _) => Some((view.key(), view.kind())),
        (None, Some(flat)) => Some((layout::parts(flat).key, layout::kind(flat))),
        (None, None) => None,
    }
}

impl Db {
    /// A step of a scan over a numbered database: calls `each` with the key and kind of at least `count` live keys from `cursor` on, if there
    /// are as many. The next cursor, below 2^53; 0 at the end. A key that is there throughout is seen at least once. `each` may run under a
    /// shard's lock.
    ///
    /// Keys of values that are on disk only ([`has_cold`](Self::has_cold)) are read there, which may wait for it.
    ///
    /// # Errors
    /// [`Error::Io`]. Keys whose records are damaged are left out, and counted.
    pub fn scan(
        &self,
        database: u8,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<u64, Error> {
        let mut cold = Vec::new();
        let next = self.scan_index(database, cursor, count, each, &mut cold);
        for key in cold {
            match key.read(&self.inner, &mut *each) {
                Err(Error::DamagedValue { .. }) => {}
                read => read?,
            }
        }
        Ok(next)
    }

    fn scan_index(
        &self,
        database: u8,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], Kind),
        cold: &mut Vec<ColdKey>,
    ) -> u64 {
        let inner = &*self.inner;
        let mut walk = Walk::new(inner, database, cursor, count, self.now_ms());
        for number in walk.first_shard()..inner.shards.len() {
            if let Some(next) = walk.shard(number, &inner.shards[number].lock(), each, cold) {
                return next;
            }
        }
        0
    }

    /// A live key of a numbered database, drawn by `random`, nearly uniformly; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::DamagedValue`] if most keys are damaged.
    pub fn random_key(&self, database: u8, mut random: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut tries = 0;
        loop {
            match self.random_in_index(database, random) {
                None => return Ok(None),
                Some(Ok(key)) => return Ok(Some(key)),
                Some(Err(cold)) => match cold.read(&self.inner, |key, _| key.to_vec()) {
                    Err(Error::DamagedValue { .. }) if tries < RANDOM_TRIES => tries += 1,
                    read => return read.map(Some),
                },
            }
            random = another(random);
        }
    }

    fn random_in_index(&self, database: u8, random: u64) -> Option<Result<Vec<u8>, ColdKey>> {
        let inner = &*self.inner;
        let database = inner.databases.map().inner(database);
        draw_key(inner, database, self.now_ms(), random, &mut |number, look| {
            look(&inner.shards[number].lock());
        })
    }
}

/// As [`Db::scan`], over a database of the index, dead keys that are held included.
pub(crate) fn scan_internal(
    inner: &Inner,
    database: u8,
    cursor: u64,
    count: usize,
    each: &mut dyn FnMut(&[u8]),
) -> Result<u64, Error> {
    let mut cold = Vec::new();
    // At the beginning of time everything lives.
    let mut walk = Walk { database, ..Walk::new(inner, 0, cursor, count, 0) };
    let mut next = 0;
    for number in walk.first_shard()..inner.shards.len() {
        let shard = inner.shards[number].lock();
        if let Some(cursor) = walk.shard(number, &shard, &mut |key, _| each(key), &mut cold) {
            next = cursor;
            break;
        }
    }
    for key in cold {
        match key.read(inner, |key, _| each(key)) {
            Err(Error::DamagedValue { .. }) => {}
            read => read?,
        }
    }
    Ok(next)
}

/// A step of a walk, shard by shard.
struct Walk<'a> {
    inner: &'a Inner,
    /// Of the index.
    database: u8,
    from: u64,
    count: usize,
    now_ms: u64,
    /// At least one key that is not of this database or is dead is skipped for each that is; the work is bounded all the same.
    looked_at: usize,
    seen: usize,
}

impl<'a> Walk<'a> {
    fn new(inner: &'a Inner, database: u8, cursor: u64, count: usize, now_ms: u64) -> Walk<'a> {
        let database = inner.databases.map().inner(database);
        Walk { inner, database, from: cursor << SCAN_IGNORED_BITS, count, now_ms, looked_at: 0, seen: 0 }
    }

    fn first_shard(&self) -> usize {
        self.inner.shard_number(self.from)
    }

    /// Walks through what is left of a shard; the cursor if that is enough.
    fn shard(
        &mut self,
        number: usize,
        shard: &Shard,
        each: &mut dyn FnMut(&[u8], Kind),
        cold: &mut Vec<ColdKey>,
    ) -> Option<u64> {
        let Walk { inner, database, count, now_ms, .. } = *self;
        loop {
            let wanted = count - self.seen;
            let next = shard.table().scan(self.from, wanted.max(1), SCAN_IGNORED_BITS, &mut |entry| {
                self.looked_at += 1;
                if entry.handle().database() == database && entry.deadline_ms() > now_ms {
                    self.seen += 1;
                    match in_memory(entry) {
                        Some((key, kind)) => each(key, kind),
                        None => cold.extend(ColdKey::of(inner, entry)),
                    }
                }
            });
            let enough = self.seen >= count || self.looked_at >= count.saturating_mul(10);
            match next {
                Some(next) if enough => return Some(next >> SCAN_IGNORED_BITS),
                Some(next) => self.from = next,
                None => break,
            }
        }
        let Some(first) = (number as u64 + 1).checked_shl(64 - inner.shard_bits) else { return Some(0) };
        self.from = first;
        let more = number + 1 < inner.shards.len();
        if more && self.seen >= count { Some(self.from >> SCAN_IGNORED_BITS) } else { None }
    }
}

impl Txn<'_> {
    /// As [`Db::scan`], in a transaction over [every key](Db::begin_all).
    ///
    /// # Errors
    /// [`Error::KeysOnDisk`]: nothing was done, [`take_wanted`](Self::take_wanted) says what must be read first.
    pub fn scan(
        &mut self,
        database: u8,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<u64, Error> {
        let inner = self.inner();
        let mut walk = Walk::new(inner, database, cursor, count, self.now_ms());
        let (mut cold, mut next) = (Vec::new(), 0);
        let mut seen: Vec<(Vec<u8>, Kind)> = Vec::new();
        for number in walk.first_shard()..inner.shards.len() {
            let keep = &mut |key: &[u8], kind| seen.push((key.to_vec(), kind));
            if let Some(cursor) = walk.shard(number, self.shard_numbered(number), keep, &mut cold) {
                next = cursor;
                break;
            }
        }
        let mut wanted = Fetch::new(inner);
        for source in cold.into_iter().map(ColdKey::source) {
            match self.head(&source) {
                Some(Ok(head)) => seen.push((layout::parts(head).key.to_vec(), layout::kind(head))),
                // Left out, as by a walk through the database itself.
                Some(Err(())) => {}
                None => wanted.want_head(source),
            }
        }
        if !wanted.is_empty() {
            self.want(wanted);
            return Err(Error::KeysOnDisk);
        }
        seen.iter().for_each(|(key, kind)| each(key, *kind));
        Ok(next)
    }

    /// As [`Db::random_key`], in a transaction over [every key](Db::begin_all).
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn random_key(&mut self, database: u8, mut random: u64) -> Result<Option<Vec<u8>>, Error> {
        let inner = self.inner();
        let database = inner.databases.map().inner(database);
        for _ in 0..RANDOM_TRIES {
            let drawn = draw_key(inner, database, self.now_ms(), random, &mut |number, look| {
                look(self.shard_numbered(number));
            });
            let source = match drawn {
                None => return Ok(None),
                Some(Ok(key)) => return Ok(Some(key)),
                Some(Err(cold)) => cold.source(),
            };
            match self.head(&source) {
                Some(Ok(head)) => return Ok(Some(layout::parts(head).key.to_vec())),
                Some(Err(())) => random = another(random),
                None => {
                    let mut wanted = Fetch::new(inner);
                    wanted.want_head(source);
                    self.want(wanted);
                    return Err(Error::KeysOnDisk);
                }
            }
        }
        Ok(None)
    }

    /// As [`Db::len_of`], in a transaction over [every key](Db::begin_all).
    pub fn len_of(&self, database: u8) -> usize {
        let inner = self.inner();
        let database = inner.databases.map().inner(database);
        (0..inner.shards.len()).map(|number| self.shard_numbered(number).counts(database).keys as usize).sum()
    }
}

/// Lends the shard of a number to a function.
type WithShard<'a> = dyn FnMut(usize, &mut dyn FnMut(&Shard)) + 'a;

/// Draws a live key of a database of the index. `with` lends the shard of a number.
fn draw_key(
    inner: &Inner,
    database: u8,
    now_ms: u64,
    mut random: u64,
    with: &mut WithShard<'_>,
) -> Option<Result<Vec<u8>, ColdKey>> {
    let alive = |entry: &Entry| {
        if entry.handle().database() != database || entry.deadline_ms() <= now_ms {
            return None;
        }
        match in_memory(entry) {
            Some((key, _)) => Some(Ok(key.to_vec())),
            None => ColdKey::of(inner, entry).map(Err),
        }
    };
    // Keys of all databases and of this one, by shard.
    let mut held: Vec<(usize, usize)> = Vec::with_capacity(inner.shards.len());
    for number in 0..inner.shards.len() {
        with(number, &mut |shard| {
            held.push((shard.table().len(), shard.counts(database).keys as usize));
        });
    }
    if held.iter().all(|&(_, own)| own == 0) {
        return None;
    }
    // A shard in proportion to all its keys, and one of them; if that is another database's, again. So all have the same chance.
    for _ in 0..RANDOM_TRIES {
        let (number, _) = draw(held.iter().map(|&(all, _)| all), random);
        let mut key = None;
        with(number, &mut |shard| key = shard.table().near(random).and_then(alive));
        if key.is_some() {
            return key;
        }
        random = another(random);
    }
    // Few keys among many of other databases, or many dead ones: from the drawn one on, whichever lives.
    let (first, skip) = draw(held.iter().map(|&(_, own)| own), random);
    let shards = held.len();
    (0..=shards).find_map(|step| {
        let (mut skip, mut found) = (if step == 0 { skip } else { 0 }, None);
        with((first + step) % shards, &mut |shard| {
            shard.table().for_each(&mut |entry| {
                if found.is_none() && entry.handle().database() == database {
                    found = if skip == 0 { alive(entry) } else { None };
                    skip = skip.saturating_sub(1);
                }
            });
        });
        found
    })
}

/// How many numbers `random_key` tries before it counts keys instead.
const RANDOM_TRIES: usize = 100;

/// Another number that has nothing to do with this one (a step of SplitMix64).
fn another(random: u64) -> u64 {
    let mut random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    random = (random ^ random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    random = (random ^ random >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    random ^ random >> 31
}

/// Which of the weights a random number falls into, and how far; they are not all zero.
fn draw(weights: impl Iterator<Item = usize> + Clone, random: u64) -> (usize, usize) {
    let total: usize = weights.clone().sum();
    // The product's upper half is below `total`.
    let mut at = ((u128::from(random) * total as u128) >> 64) as usize;
    for (number, weight) in weights.enumerate() {
        if at < weight {
            return (number, at);
        }
        at -= weight;
    }
    (0, 0)
}
