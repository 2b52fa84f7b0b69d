//! Tells of keys that go without a command: what the engine's observer hears becomes `expired`, `evicted` and `hexpired` events, and
//! invalidations for those who hold copies.
//!
//! The engine calls while it holds the lock of the key's shard, from whichever thread found the key dead; what is published then comes in
//! order with what commands publish of the same key. One lock guards what is kept from event to event. It is taken under a shard's lock, and
//! only those of publishing are taken under it.
//!
//! The engine keeps the observer, and the server keeps the engine: so the observer knows parts of the server, never the server itself.

use crate::config::Live;
use crate::net::Loops;
use crate::notify;
use crate::pubsub::PubSub;
use crate::push::Signals;
use crate::tracking::{Broadcasts, Outlet, Tracking};
use sessile::{Lsn, Observer, Occurrence};
use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::Arc;

/// Classes of events that come from here.
const CLASSES: u32 = notify::EXPIRED | notify::EVICTED | notify::HASH | notify::GENERIC;

#[derive(Default)]
struct State {
    signals: Signals,
    broadcasts: Broadcasts,
    channel: Vec<u8>,
}

/// See the module's page.
pub struct KeyObserver {
    pubsub: Arc<PubSub>,
    tracking: Arc<Tracking>,
    loops: Arc<Loops>,
    /// `notify-keyspace-events`.
    classes: AtomicU32,
    /// How many bytes a client may have been told and not taken.
    bytes_max: AtomicUsize,
    state: Mutex<State>,
}

impl KeyObserver {
    /// Publishes to those who listen, on these loops.
    pub fn new(pubsub: Arc<PubSub>, tracking: Arc<Tracking>, loops: Arc<Loops>) -> KeyObserver {
        KeyObserver {
            pubsub,
            tracking,
            loops,
            classes: AtomicU32::new(0),
            bytes_max: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// Takes over what the configuration says; whether it wants to be told of anything.
    pub fn follow(&self, live: &Live) -> bool {
        self.classes.store(live.settings.notify_events, Ordering::Relaxed);
        self.bytes_max.store(live.pushed_bytes_max(), Ordering::Relaxed);
        live.settings.notify_events & CLASSES != 0 || self.tracking.is_on()
    }
}

impl Observer for KeyObserver {
    fn happened(&self, what: Occurrence, database: u8, key: &[u8]) {
        let (class, event) = match what {
            Occurrence::Expired => (notify::EXPIRED, "expired"),
            Occurrence::Evicted => (notify::EVICTED, "evicted"),
            Occurrence::FieldsExpired => (notify::HASH, "hexpired"),
            Occurrence::Emptied => (notify::GENERIC, "del"),
            _ => return,
        };
        if self.tracking.is_on() {
            let State { signals, broadcasts, .. } = &mut *self.state.lock();
            let bytes_max = self.bytes_max.load(Ordering::Relaxed);
            self.tracking.invalidate_key(key, None, &mut Outlet { signals, broadcasts, bytes_max });
        }
        let classes = self.classes.load(Ordering::Relaxed);
        if classes & class == 0 || self.pubsub.is_silent() {
            return;
        }
        let mut state = self.state.lock();
        let State { signals, channel, .. } = &mut *state;
        // What takes a key away is in the log already, as its deadline, or may happen once more after a crash.
        let telling = (signals, self.bytes_max.load(Ordering::Relaxed));
        notify::publish(&self.pubsub, classes, event, (database, key), Lsn::ZERO, telling, channel);
    }

    fn done(&self) {
        let State { signals, broadcasts, .. } = &mut *self.state.lock();
        if !broadcasts.is_empty() {
            self.tracking.broadcast(broadcasts, signals, self.bytes_max.load(Ordering::Relaxed));
        }
        signals.send(&self.loops);
    }
}
