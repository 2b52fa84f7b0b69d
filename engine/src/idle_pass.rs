//! Values that nobody has read for a while are held compressed: the middle tier between readable in memory and on disk only.
//!
//! A pass goes round the index no more often than every few seconds. A value that was not read since the last pass is compressed, outside every
//! lock, and put back in that form if nobody has changed it meanwhile. Reading one makes it readable again.

use crate::compression::Compressor;
use crate::db::Inner;
use crate::dictionary::Dictionary;
use crate::idle;
use crate::limits::IDLE_RANGES_PER_STEP;
use crate::object::{Object, Packed};
use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// See the module's page.
#[derive(Default)]
pub(crate) struct IdlePass {
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shard: usize,
    /// The next hash, `None` at the shard's beginning.
    next: Option<u64>,
    begun_ms: u64,
    compressor: Compressor,
}

impl IdlePass {
    pub(crate) fn new(on: bool) -> IdlePass {
        IdlePass { on: AtomicBool::new(on), state: Mutex::default() }
    }

    /// Whether idle values are compressed.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }
}

/// A bounded step; how long until the next.
pub(crate) fn step(inner: &Inner) -> Duration {
    let pass = &inner.idle_pass;
    if !pass.is_on() {
        return Duration::MAX;
    }
    let Some(dictionary) = inner.storage.dictionary() else {
        return Duration::from_millis(inner.storage.tuning.idle_pass_ms);
    };
    let mut state = pass.state.lock();
    let now_ms = inner.clock.now_ms();
    if state.shard == 0 && state.next.is_none() {
        let wait_ms = (state.begun_ms + inner.storage.tuning.idle_pass_ms).saturating_sub(now_ms);
        if wait_ms > 0 {
            return Duration::from_millis(wait_ms);
        }
        state.begun_ms = now_ms;
    }
    let begun_ns = inner.clock.monotonic_ns();
    let mut looked_at = 0;
    while looked_at < IDLE_RANGES_PER_STEP {
        let Some(shard) = inner.shards.get(state.shard) else {
            (state.shard, state.next) = (0, None);
            return Duration::from_millis(1);
        };
        let first = (state.shard as u64) << (64 - inner.shard_bits);
        let last = first | u64::MAX >> inner.shard_bits;
        let mut found = Vec::new();
        let to = shard.lock().find_idle(
            state.next.unwrap_or(first),
            inner.storage.tuning.idle_bytes_min,
            &mut found,
        );
        looked_at += 1;
        let compressed: Vec<_> = found
            .into_iter()
            .filter_map(|(hash, packed)| {
                Some((hash, compress(&dictionary, &packed, &mut state.compressor)?, packed))
            })
            .collect();
        put_back(inner, state.shard, compressed);
        if to >= last {
            (state.shard, state.next) = (state.shard + 1, None);
        } else {
            state.next = Some(to + 1);
        }
    }
    inner.tiering.note_away(true);
    // As long again as it took: half a core at most, and less while there is little to compress.
    Duration::from_nanos(inner.clock.monotonic_ns() - begun_ns)
}

fn compress(dictionary: &Dictionary, packed: &Packed, compressor: &mut Compressor) -> Option<Packed> {
    idle::pack(dictionary, packed.bytes(), compressor)
}

fn put_back(inner: &Inner, number: usize, compressed: Vec<(u64, Packed, Packed)>) {
    if compressed.is_empty() {
        return;
    }
    let mut old = Vec::with_capacity(compressed.len());
    let mut shard = inner.shards[number].lock();
    for (hash, idle, packed) in compressed {
        let place = shard.find_hash(hash, |entry| {
            !entry.handle().is_accessed() && entry.handle().share().is_some_and(|now| now.is_same(&packed))
        });
        if let Some(place) = place {
            old.push(shard.reshape(place, Object::Idle(idle)));
        }
    }
    drop(shard);
    inner.free(old);
}
