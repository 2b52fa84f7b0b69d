//! Tracking by prefix: who is told of which keys, whoever read them.
//!
//! What is changed in one turn of a loop is told at its end, once per prefix and client, each key once, in order.

use crate::client::ClientCard;
use crate::resp::{Protocol, Reply};
use sessile_wal::sync::RwLock;
use sessile_wal::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Changed keys, each with the number of the client that was the first to change it.
type Changes = BTreeMap<Box<[u8]>, Option<u64>>;

/// Who is told of the keys with one prefix, by number.
type Told = BTreeMap<u64, Arc<ClientCard>>;

/// Keys that were changed in this turn and are to be broadcast.
#[derive(Debug, Default)]
pub struct Broadcasts(Changes);

impl Broadcasts {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, key: &[u8], changer: Option<u64>) {
        if !self.0.contains_key(key) {
            self.0.insert(key.into(), changer);
        }
    }

    pub(super) fn take(&mut self) -> Changes {
        std::mem::take(&mut self.0)
    }
}

/// Who is told of the keys with each prefix.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    clients: RwLock<BTreeMap<Box<[u8]>, Told>>,
    count: AtomicUsize,
}

impl Prefixes {
    /// How many prefixes there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, prefix: &[u8], card: &Arc<ClientCard>) {
        let mut clients = self.clients.write();
        clients.entry(prefix.into()).or_default().insert(card.id, Arc::clone(card));
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    pub(super) fn remove(&self, prefix: &[u8], client: u64) {
        let mut clients = self.clients.write();
        if let Some(told) = clients.get_mut(prefix) {
            told.remove(&client);
            if told.is_empty() {
                clients.remove(prefix);
            }
        }
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    /// Calls `tell` with each client and the array of keys that it is told of.
    pub(super) fn each_told(&self, changes: &Changes, mut tell: impl FnMut(&Arc<ClientCard>, &[u8])) {
        if changes.is_empty() {
            return;
        }
        for (prefix, clients) in &*self.clients.read() {
            let with_prefix = || {
                let from = (Bound::Included(&**prefix), Bound::Unbounded);
                changes.range::<[u8], _>(from).take_while(|(key, _)| key.starts_with(prefix))
            };
            let all = encode(with_prefix().map(|(key, _)| &**key));
            let Some(all) = all else { continue };
            for (&id, card) in clients {
                if card.tracked.has(super::modes::NO_LOOP) {
                    let others = with_prefix().filter(|&(_, &changer)| changer != Some(id));
                    if let Some(others) = encode(others.map(|(key, _)| &**key)) {
                        tell(card, &others);
                    }
                } else {
                    tell(card, &all);
                }
            }
        }
    }
}

/// An array of keys; nothing if there are none.
fn encode<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Option<Vec<u8>> {
    let mut elements = Reply::new(Protocol::Resp2);
    let mut count = 0;
    for key in keys {
        elements.bulk(key);
        count += 1;
    }
    let mut array = Reply::new(Protocol::Resp2);
    array.array(count);
    array.bytes_mut().extend_from_slice(elements.bytes());
    (count > 0).then(|| std::mem::take(array.bytes_mut()))
}
