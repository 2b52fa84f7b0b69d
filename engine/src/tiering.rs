//! What stays in memory: the limit, how near it is, and the clock hand that decides which values leave.
//!
//! The hand goes round the index. A value that was read since it last came by gets another round; one that was not leaves memory: it must be
//! clean, that is, a segment must hold it. Nothing is ever lost by it. When too much of what is in memory is dirty, the hand asks for a
//! checkpoint instead. (Second chance: Corbató, 1968.) It works in bounded steps under the shard locks, and never does I/O.

use crate::db::Inner;
use crate::limits::{HAND_RANGES_PER_HOLD, OVERFULL_BYTES, RELIEF_WAIT};
use crate::object::Object;
use sessile_wal::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sessile_wal::sync::{Condvar, Mutex};
use std::time::Duration;

/// How near memory is to its limit; read on every path, written by a background step.
pub(crate) struct Tiering {
    /// In bytes; `u64::MAX` for none.
    limit_bytes: AtomicU64,
    /// What the process holds beyond what was asked of the allocator, in thousandths of the latter.
    overhead_promille: AtomicU64,
    /// Whether values that were read once have to leave again.
    tight: AtomicBool,
    /// Whether reads are to be noted for the clock hand.
    counting: AtomicBool,
    /// Whether memory is over its limit and it is dirty values that keep it there.
    pressed: AtomicBool,
    /// Whether some value may be on disk only, or compressed.
    away: AtomicBool,
    dirty_bytes: AtomicU64,
    /// Whether writes have to wait for values to leave.
    overfull: AtomicBool,
    /// Where they wait.
    waiting: Mutex<()>,
    relieved: Condvar,
    hand: Mutex<Hand>,
    pub(crate) evicted: AtomicU64,
}

/// Where the hand is.
#[derive(Default)]
struct Hand {
    shard: usize,
    /// The next hash, `None` at the shard's beginning.
    next: Option<u64>,
}

/// What the index's objects add up to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Held {
    /// Index, timers, tombstones.
    pub(crate) index_bytes: u64,
    pub(crate) object_bytes: u64,
    pub(crate) dirty_bytes: u64,
}

impl Tiering {
    pub(crate) fn new(limit_bytes: u64) -> Tiering {
        Tiering {
            limit_bytes: AtomicU64::new(limit_bytes),
            overhead_promille: AtomicU64::new(0),
            tight: AtomicBool::new(limit_bytes != u64::MAX),
            counting: AtomicBool::new(false),
            pressed: AtomicBool::new(false),
            away: AtomicBool::new(false),
            dirty_bytes: AtomicU64::new(0),
            overfull: AtomicBool::new(false),
            waiting: Mutex::new(()),
            relieved: Condvar::new(),
            hand: Mutex::default(),
            evicted: AtomicU64::new(0),
        }
    }

    /// The limit of what is resident, in bytes; `u64::MAX` for none.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
        if bytes == u64::MAX {
            self.tight.store(false, Ordering::Relaxed);
            self.pressed.store(false, Ordering::Relaxed);
            self.set_overfull(false);
        }
    }

    /// Notes reads from here on if there is a limit, or `anyway`.
    pub(crate) fn count_accesses(&self, anyway: bool) {
        self.counting.store(anyway || self.limit_bytes() != u64::MAX, Ordering::Relaxed);
    }

    /// Whether reads are noted.
    #[inline]
    pub(crate) fn counts_accesses(&self) -> bool {
        self.counting.load(Ordering::Relaxed)
    }

    /// Whether memory is so near its limit that what was read once doesn't stay.
    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    /// Whether some value may be on disk only, or compressed, about: a moment ago it was so.
    pub(crate) fn has_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Bytes of objects that no segment holds, about: as they were a moment ago.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.dirty_bytes.load(Ordering::Relaxed)
    }

    /// Notes what all objects add up to.
    pub(crate) fn note_held(&self, held: Held, away: bool) {
        self.dirty_bytes.store(held.dirty_bytes, Ordering::Relaxed);
        self.note_away(away);
    }

    /// Sets [`has_away`](Self::has_away).
    pub(crate) fn note_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// Whether so much was written lately that writes have to wait for values to leave memory.
    #[inline]
    pub(crate) fn is_overfull(&self) -> bool {
        self.overfull.load(Ordering::Relaxed)
    }

    /// Waits a moment for that to change.
    pub(crate) fn wait_for_relief(&self) {
        let mut waiting = self.waiting.lock();
        if self.is_overfull() {
            self.relieved.wait_for(&mut waiting, RELIEF_WAIT);
        }
    }

    fn set_overfull(&self, overfull: bool) {
        if self.overfull.swap(overfull, Ordering::Relaxed) && !overfull {
            let _waiting = self.waiting.lock();
            self.relieved.notify_all();
        }
    }

    /// Whether memory is over its limit, and a checkpoint is what helps.
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Whether a checkpoint is wanted to make values clean.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.is_pressed()
    }

    /// Notes what the process holds, beside what the engine asked for.
    pub(crate) fn note_resident(&self, resident_bytes: u64, asked_bytes: u64) {
        let over = resident_bytes.saturating_sub(asked_bytes);
        // What a process holds anyway is nothing that eviction could change; a quarter is as much as an allocator wastes.
        let promille = (over * 1000 / asked_bytes.max(64 << 20)).min(300);
        self.overhead_promille.store(promille, Ordering::Relaxed);
    }

    /// How many bytes of objects may be in memory.
    fn object_bytes_max(&self, held: Held, bytes_min: u64) -> u64 {
        // An index that is larger than the limit leaves room for what is being worked on.
        self.asked_bytes_max().saturating_sub(held.index_bytes).max(bytes_min.min(self.limit_bytes() / 8))
    }

    /// How many bytes may be asked of the allocator for the process to stay within the limit.
    pub(crate) fn asked_bytes_max(&self) -> u64 {
        self.limit_bytes() / (1000 + self.overhead_promille.load(Ordering::Relaxed)) * 1000
    }
}

/// A bounded step of the clock hand; how long until the next.
pub(crate) fn step(inner: &Inner) -> Duration {
    let tiering = &inner.tiering;
    if tiering.limit_bytes() == u64::MAX || inner.evicts_keys() {
        tiering.set_overfull(false);
        return Duration::MAX;
    }
    let held = inner.held();
    let max = tiering.object_bytes_max(held, inner.storage.tuning.objects_bytes_min);
    tiering.tight.store(held.object_bytes >= max / 100 * 85, Ordering::Relaxed);
    // Dirty values can't leave. Before they fill half of what there is, they are written.
    let pressed = held.object_bytes >= max / 100 * 75 && held.dirty_bytes > max / 4;
    let was_pressed = tiering.pressed.swap(pressed, Ordering::Relaxed);
    if pressed && !was_pressed {
        inner.pauses.storage.wake();
    }
    // Waiting helps only as long as checkpoints make values clean.
    let beyond = held.object_bytes > max / 100 * 97 + OVERFULL_BYTES;
    let helps = !inner.storage.has_failed() && !inner.wal.is_poisoned();
    tiering.set_overfull(pressed && beyond && helps);
    if held.object_bytes <= max / 100 * 90 {
        return Duration::from_millis(5);
    }
    tiering.note_away(true);
    let excess = held.object_bytes - max / 100 * 87;
    let freed = turn(inner, excess);
    if freed == 0 { Duration::from_millis(2) } else { Duration::ZERO }
}

/// Lets the hand go on until so many bytes have left, or a step's worth of entries was looked at. Bytes that left.
fn turn(inner: &Inner, excess: u64) -> u64 {
    let mut hand = inner.tiering.hand.lock();
    let (mut freed, mut evicted) = (0, 0);
    for _ in 0..inner.storage.tuning.hand_step {
        let Some(shard) = inner.shards.get(hand.shard) else {
            *hand = Hand::default();
            continue;
        };
        let first = (hand.shard as u64) << (64 - inner.shard_bits);
        let last = first | u64::MAX >> inner.shard_bits;
        let mut left: Vec<Object> = Vec::new();
        let mut guard = shard.lock();
        let mut from = hand.next.unwrap_or(first);
        let mut ended = false;
        for _ in 0..HAND_RANGES_PER_HOLD {
            let to = guard.evict(from, &mut left);
            if to >= last {
                ended = true;
                break;
            }
            from = to + 1;
        }
        drop(guard);
        freed += left.iter().map(|object| object.memory_bytes() as u64).sum::<u64>();
        evicted += left.len() as u64;
        inner.free(left);
        if ended {
            *hand = Hand { shard: hand.shard + 1, next: None };
        } else {
            hand.next = Some(from);
        }
        if freed >= excess {
            break;
        }
    }
    inner.tiering.evicted.fetch_add(evicted, Ordering::Relaxed);
    freed
}
