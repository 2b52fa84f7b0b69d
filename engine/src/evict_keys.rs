//! Redis's other policies: when memory is full, keys are deleted.
//!
//! For those who ask for it; by default values leave memory and no key is lost. Which key is deleted follows Redis's meaning of each policy,
//! approximately, as in Redis: *least recently used* is what the clock hand finds unread since its last round, *soonest to die* is the first of
//! a few samples. Deletions are logged, and in bounded steps under the shard locks.

use crate::db::Inner;
use crate::limits::{EVICTION_SAMPLES, EVICTIONS_PER_HOLD};
use crate::object::Object;
use crate::options::Eviction;
use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// See the module's page.
#[derive(Default)]
pub(crate) struct KeyEviction {
    policy: AtomicU8,
    /// Nothing more can be deleted, and memory is full.
    exhausted: AtomicBool,
    pub(crate) evicted: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    random: u64,
    shard: usize,
    next: Option<u64>,
    /// Shards that the hand has passed without a victim.
    idle_shards: usize,
}

const POLICIES: [Eviction; 6] = [
    Eviction::None,
    Eviction::AllKeysLru,
    Eviction::AllKeysRandom,
    Eviction::VolatileLru,
    Eviction::VolatileRandom,
    Eviction::VolatileTtl,
];

impl KeyEviction {
    pub(crate) fn new(policy: Eviction) -> KeyEviction {
        let eviction = KeyEviction::default();
        eviction.set(policy);
        eviction
    }

    pub(crate) fn set(&self, policy: Eviction) {
        let number = POLICIES.iter().position(|&one| one == policy).unwrap_or(0);
        // There are six.
        self.policy.store(number as u8, Ordering::Relaxed);
        self.exhausted.store(false, Ordering::Relaxed);
    }

    pub(crate) fn policy(&self) -> Eviction {
        POLICIES[usize::from(self.policy.load(Ordering::Relaxed))]
    }

    /// Whether memory is full and no key can be deleted to make room.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }
}

/// A bounded step: deletes keys while memory is over the limit; how long until the next.
pub(crate) fn step(inner: &Inner) -> Duration {
    let (eviction, limit) = (&inner.key_eviction, inner.tiering.limit_bytes());
    if eviction.policy() == Eviction::None || limit == u64::MAX {
        return Duration::MAX;
    }
    let held = inner.held();
    let bytes = held.index_bytes + held.object_bytes;
    let limit = inner.tiering.asked_bytes_max();
    if bytes <= limit {
        eviction.exhausted.store(false, Ordering::Relaxed);
        return Duration::from_millis(5);
    }
    let mut state = eviction.state.lock();
    let mut victims = Vec::new();
    let freed = match eviction.policy() {
        Eviction::None => 0,
        Eviction::AllKeysLru => hand(inner, &mut state, false, bytes - limit, &mut victims),
        Eviction::VolatileLru => hand(inner, &mut state, true, bytes - limit, &mut victims),
        Eviction::AllKeysRandom => sampled(inner, &mut state, false, 1, bytes - limit, &mut victims),
        Eviction::VolatileRandom => sampled(inner, &mut state, true, 1, bytes - limit, &mut victims),
        Eviction::VolatileTtl => {
            sampled(inner, &mut state, true, EVICTION_SAMPLES, bytes - limit, &mut victims)
        }
    };
    eviction.evicted.fetch_add(victims.len() as u64, Ordering::Relaxed);
    inner.free(victims);
    // Two rounds of the hand: the first takes the marks of what was read away.
    let exhausted = freed == 0 && state.idle_shards > 2 * inner.shards.len();
    eviction.exhausted.store(exhausted, Ordering::Relaxed);
    if exhausted { Duration::from_millis(20) } else { Duration::ZERO }
}

/// Deletes what the clock hand finds unread, a share of one shard at a time.
fn hand(inner: &Inner, state: &mut State, volatile: bool, excess: u64, victims: &mut Vec<Object>) -> u64 {
    let mut freed = 0;
    for _ in 0..inner.shards.len() {
        let number = state.shard % inner.shards.len();
        let first = (number as u64) << (64 - inner.shard_bits);
        let last = first | u64::MAX >> inner.shard_bits;
        let before = victims.len();
        let mut record = Vec::new();
        let mut witness = inner.witness();
        let mut shard = inner.shards[number].lock();
        let from = state.next.unwrap_or(first);
        let to = shard.evict_keys(from, volatile, EVICTIONS_PER_HOLD, &mut record, &mut witness, victims);
        append(inner, &record);
        drop(shard);
        witness.end(inner);
        freed += cost(&victims[before..]);
        if victims.len() > before {
            state.idle_shards = 0;
        }
        if to >= last {
            (state.shard, state.next) = (number + 1, None);
            state.idle_shards += 1;
        } else {
            state.next = Some(to + 1);
        }
        if freed >= excess {
            break;
        }
    }
    freed
}

/// Deletes the first to die of a few entries drawn at random, again and again.
fn sampled(
    inner: &Inner,
    state: &mut State,
    volatile: bool,
    samples: usize,
    excess: u64,
    victims: &mut Vec<Object>,
) -> u64 {
    let mut freed = 0;
    for _ in 0..EVICTIONS_PER_HOLD {
        // A step of SplitMix64's sequence, which is enough for drawing.
        state.random = state.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let random = (state.random ^ state.random >> 31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let before = victims.len();
        let mut record = Vec::new();
        let mut witness = inner.witness();
        let mut shard = inner.shards[inner.shard_number(random)].lock();
        shard.evict_sampled(random, volatile, samples, &mut record, &mut witness, victims);
        append(inner, &record);
        drop(shard);
        witness.end(inner);
        if victims.len() > before {
            state.idle_shards = 0;
        } else {
            state.idle_shards += 1;
        }
        freed += cost(&victims[before..]);
        if freed >= excess {
            break;
        }
    }
    freed
}

fn append(inner: &Inner, record: &[u8]) {
    if !record.is_empty() {
        // Under the lock, as every record. Each deletion frees more than it adds to the log's buffer.
        inner.wal.append(record);
    }
}

fn cost(victims: &[Object]) -> u64 {
    // An entry with its share of the table, and a timer.
    victims.iter().map(|object| object.memory_bytes() as u64 + 40).sum()
}
