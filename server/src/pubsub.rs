//! Publish and subscribe: who listens to which channel, and handing a message to all of them.
//!
//! There are channels, patterns of channels, and shard channels, which without a cluster are channels of a world of their own. A message
//! is encoded once per name under which it is heard, and posted into the inbox of each listener ([`push`](crate::push)): publishing costs
//! what the listeners number (and one match per pattern), and never waits for one.
//!
//! Locks, in this order: `names` (shared by publishers, exclusive for who comes and goes), then `order`, which publishers that found
//! listeners hold while they post, so that all listeners hear all messages in one order, then an inbox. No lock of the engine is ever
//! taken under these; they may be taken under the engine's (a script that publishes).

use crate::client::ClientCard;
use crate::command::matches_name;
use crate::push::{Push, Signals};
use sessile::Lsn;
use sessile_wal::sync::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Names that a client that leaves is taken off in one hold of the lock.
const NAMES_PER_HOLD_MAX: usize = 256;

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Channels (`SUBSCRIBE`).
    Channel,
    /// Patterns of channels (`PSUBSCRIBE`).
    Pattern,
    /// Shard channels (`SSUBSCRIBE`).
    Shard,
}

/// The names of one kind, each with its listeners by their numbers. No name is without listeners.
type Names = HashMap<Arc<[u8]>, BTreeMap<u64, Arc<ClientCard>>>;

/// A value for each kind.
#[derive(Debug, Default)]
struct ByKind<T> {
    channels: T,
    patterns: T,
    shard: T,
}

impl<T> ByKind<T> {
    fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shard,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shard,
        }
    }
}

/// What one client listens to.
#[derive(Debug, Default)]
pub struct Subscriptions(ByKind<BTreeSet<Arc<[u8]>>>);

impl Subscriptions {
    /// How many of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.0.of(kind).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        [Kind::Channel, Kind::Pattern, Kind::Shard].iter().all(|kind| self.count(*kind) == 0)
    }

    /// Those of a kind.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &Arc<[u8]>> {
        self.0.of(kind).iter()
    }
}

/// Who listens to what; see the module's page.
#[derive(Debug, Default)]
pub struct PubSub {
    names: RwLock<ByKind<Names>>,
    order: Mutex<()>,
    /// How many names there are of any kind: nothing is looked up while there are none.
    count: AtomicUsize,
}

impl PubSub {
    /// Has a client listen to a name; whether it did not before.
    pub fn subscribe(
        &self,
        own: &mut Subscriptions,
        card: &Arc<ClientCard>,
        kind: Kind,
        name: &[u8],
    ) -> bool {
        if own.0.of(kind).contains(name) {
            return false;
        }
        let mut names = self.names.write();
        let names = names.of_mut(kind);
        let shared = match names.get_key_value(name) {
            Some((shared, _)) => Arc::clone(shared),
            None => {
                self.count.fetch_add(1, Ordering::SeqCst);
                Arc::from(name)
            }
        };
        names.entry(Arc::clone(&shared)).or_default().insert(card.id, Arc::clone(card));
        own.0.of_mut(kind).insert(shared);
        note(own, card, kind);
        true
    }

    /// Has a client listen no more to a name; whether it did.
    pub fn unsubscribe(&self, own: &mut Subscriptions, card: &ClientCard, kind: Kind, name: &[u8]) -> bool {
        if !own.0.of_mut(kind).remove(name) {
            return false;
        }
        self.forget(&mut self.names.write(), card.id, kind, name);
        note(own, card, kind);
        true
    }

    /// Has a client listen to nothing more.
    pub fn unsubscribe_all(&self, own: &mut Subscriptions, card: &ClientCard) {
        if own.is_empty() {
            return;
        }
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            while self.forget_some(own.0.of_mut(kind), card.id, kind) {}
            note(own, card, kind);
        }
    }

    /// Takes a client off some of the names that it listens to, so few that publishers need not wait for long; whether there may be more.
    fn forget_some(&self, own: &mut BTreeSet<Arc<[u8]>>, id: u64, kind: Kind) -> bool {
        let mut names = self.names.write();
        for _ in 0..NAMES_PER_HOLD_MAX {
            let Some(name) = own.pop_first() else { return false };
            self.forget(&mut names, id, kind, &name);
        }
        true
    }

    fn forget(&self, names: &mut ByKind<Names>, id: u64, kind: Kind, name: &[u8]) {
        let names = names.of_mut(kind);
        let Some(listeners) = names.get_mut(name) else { return };
        listeners.remove(&id);
        if listeners.is_empty() {
            names.remove(name);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether nobody listens to anything.
    pub fn is_silent(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Hands a message to whoever listens to a channel, by its name or by a pattern, once `lsn` is acknowledged; how many times. An inbox
    /// holds `bytes_max` at most.
    pub fn publish(
        &self,
        channel: &[u8],
        message: &[u8],
        lsn: Lsn,
        signals: &mut Signals,
        bytes_max: usize,
    ) -> usize {
        if self.is_silent() {
            return 0;
        }
        let names = self.names.read();
        let direct = names.channels.get(channel);
        let mut heard: Vec<(Push, &BTreeMap<u64, Arc<ClientCard>>)> = Vec::new();
        if let Some(listeners) = direct {
            heard.push((Push::array(&[b"message", channel, message]), listeners));
        }
        for (pattern, listeners) in &names.patterns {
            if matches_name(pattern, channel) {
                heard.push((Push::array(&[b"pmessage", pattern, channel, message]), listeners));
            }
        }
        self.post(&heard, lsn, signals, bytes_max)
    }

    /// How many times [`publish`](Self::publish) would hand over a message for this channel now.
    pub fn receivers(&self, channel: &[u8]) -> usize {
        if self.is_silent() {
            return 0;
        }
        let names = self.names.read();
        let direct = names.channels.get(channel).map_or(0, BTreeMap::len);
        let matching = names.patterns.iter().filter(|(pattern, _)| matches_name(pattern, channel));
        direct + matching.map(|(_, listeners)| listeners.len()).sum::<usize>()
    }

    /// As [`publish`](Self::publish), for a shard channel.
    pub fn publish_shard(
        &self,
        channel: &[u8],
        message: &[u8],
        lsn: Lsn,
        signals: &mut Signals,
        bytes_max: usize,
    ) -> usize {
        if self.is_silent() {
            return 0;
        }
        let names = self.names.read();
        let Some(listeners) = names.shard.get(channel) else { return 0 };
        let heard = [(Push::array(&[b"smessage", channel, message]), listeners)];
        self.post(&heard, lsn, signals, bytes_max)
    }

    fn post(
        &self,
        heard: &[(Push, &BTreeMap<u64, Arc<ClientCard>>)],
        lsn: Lsn,
        signals: &mut Signals,
        bytes_max: usize,
    ) -> usize {
        if heard.is_empty() {
            return 0;
        }
        let _order = self.order.lock();
        let mut count = 0;
        for (push, listeners) in heard {
            count += listeners.len();
            for card in listeners.values() {
                signals.post(card, push, lsn, bytes_max);
            }
        }
        count
    }

    /// How many names of a kind anybody listens to.
    pub fn names_count(&self, kind: Kind) -> usize {
        self.names.read().of(kind).len()
    }

    /// How many listen to a name.
    pub fn listeners(&self, kind: Kind, name: &[u8]) -> usize {
        self.names.read().of(kind).get(name).map_or(0, BTreeMap::len)
    }

    /// The names of a kind that anybody listens to, those that match a pattern if there is one.
    pub fn list(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let wanted = |name: &Arc<[u8]>| pattern.is_none_or(|pattern| matches_name(pattern, name));
        self.names.read().of(kind).keys().filter(|name| wanted(name)).cloned().collect()
    }
}

/// Brings the card up to date.
fn note(own: &Subscriptions, card: &ClientCard, kind: Kind) {
    let count = match kind {
        Kind::Channel => &card.channels,
        Kind::Pattern => &card.patterns,
        Kind::Shard => &card.shard_channels,
    };
    count.store(own.count(kind), Ordering::Relaxed);
}
