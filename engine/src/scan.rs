//! Walking the keys: `scan` step by step, a random one. Keys of values that are on disk are read there, outside every lock.

use crate::Error;
use crate::db::{Db, Inner};
use crate::limits::SCAN_IGNORED_BITS;
use crate::location::Location;
use crate::object::{Kind, layout};
use crate::segment::Scratch;
use crate::segments::Segment;
use crate::shard::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A key whose object is on disk only.
struct ColdKey {
    location: Location,
    segment: Arc<Segment>,
}

impl ColdKey {
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
        let now_ms = self.now_ms();
        let database = inner.databases.map().inner(database);
        let mut from = cursor << SCAN_IGNORED_BITS;
        // At least one key that is not of this database or is dead is skipped for each that is; bound the work all the same.
        let mut looked_at = 0;
        let mut seen = 0;
        for number in inner.shard_number(from)..inner.shards.len() {
            let shard = inner.shards[number].lock();
            loop {
                let wanted = count - seen;
                let next = shard.table().scan(from, wanted.max(1), SCAN_IGNORED_BITS, &mut |entry| {
                    looked_at += 1;
                    if entry.handle().database() == database && entry.deadline_ms() > now_ms {
                        seen += 1;
                        match in_memory(entry) {
                            Some((key, kind)) => each(key, kind),
                            None => cold.extend(ColdKey::of(inner, entry)),
                        }
                    }
                });
                let enough = seen >= count || looked_at >= count.saturating_mul(10);
                match next {
                    Some(next) if enough => return next >> SCAN_IGNORED_BITS,
                    Some(next) => from = next,
                    None => break,
                }
            }
            let Some(first) = (number as u64 + 1).checked_shl(64 - inner.shard_bits) else { break };
            from = first;
            if seen >= count && number + 1 < inner.shards.len() {
                return from >> SCAN_IGNORED_BITS;
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

    fn random_in_index(&self, database: u8, mut random: u64) -> Option<Result<Vec<u8>, ColdKey>> {
        let inner = &*self.inner;
        let now_ms = self.now_ms();
        let database = inner.databases.map().inner(database);
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
        let held: Vec<(usize, usize)> = inner
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.lock();
                (shard.table().len(), shard.counts(database).keys as usize)
            })
            .collect();
        if held.iter().all(|&(_, own)| own == 0) {
            return None;
        }
        // A shard in proportion to all its keys, and one of them; if that is another database's, again. So all have the same chance.
        for _ in 0..RANDOM_TRIES {
            let (number, _) = draw(held.iter().map(|&(all, _)| all), random);
            let shard = inner.shards[number].lock();
            if let Some(key) = shard.table().near(random).and_then(alive) {
                return Some(key);
            }
            random = another(random);
        }
        // Few keys among many of other databases, or many dead ones: from the drawn one on, whichever lives.
        let (first, skip) = draw(held.iter().map(|&(_, own)| own), random);
        let shards = held.len();
        (0..=shards).find_map(|step| {
            let (mut skip, mut found) = (if step == 0 { skip } else { 0 }, None);
            inner.shards[(first + step) % shards].lock().table().for_each(&mut |entry| {
                if found.is_none() && entry.handle().database() == database {
                    found = if skip == 0 { alive(entry) } else { None };
                    skip = skip.saturating_sub(1);
                }
            });
            found
        })
    }
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
