//! A consumer group of a stream: what was delivered to whom and not acknowledged.

use super::{StreamId, put_id, take_id};
use crate::varint;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// About what an entry that is not acknowledged costs in the two trees that have it, and what a consumer does.
const PENDING_BYTES: usize = 96;
const CONSUMER_BYTES: usize = 192;

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) consumer: Arc<[u8]>,
    /// When it was delivered last, ms since the epoch.
    pub(crate) delivered_ms: u64,
    /// How often it was.
    pub(crate) count: u64,
}

/// One who reads as part of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consumer {
    /// When it was heard of last, ms since the epoch.
    pub(crate) seen_ms: u64,
    pub(crate) pending: BTreeSet<StreamId>,
}

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// The last entry that was delivered to anyone.
    pub(crate) last_id: StreamId,
    /// How many entries of the stream were delivered; `None` if that can't be known.
    pub(crate) entries_read: Option<u64>,
    pub(crate) pending: BTreeMap<StreamId, Pending>,
    pub(crate) consumers: BTreeMap<Arc<[u8]>, Consumer>,
}

impl Group {
    /// Appends it with its name.
    pub(crate) fn put(&self, out: &mut Vec<u8>, name: &[u8]) {
        varint::put_slice(out, name);
        put_id(out, self.last_id);
        put_read(out, self.entries_read);
        varint::put(out, self.consumers.len() as u64);
        for (name, consumer) in &self.consumers {
            varint::put_slice(out, name);
            varint::put(out, consumer.seen_ms);
            varint::put(out, consumer.pending.len() as u64);
            for id in &consumer.pending {
                let (delivered_ms, count) =
                    self.pending.get(id).map_or((0, 0), |pending| (pending.delivered_ms, pending.count));
                put_id(out, *id);
                varint::put(out, delivered_ms);
                varint::put(out, count);
            }
        }
    }

    /// Bytes of memory it asks for, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Group>() + self.pending.len() * PENDING_BYTES + self.consumers.len() * CONSUMER_BYTES
    }

    /// Makes the consumer's, whether it was there or not, and whoever's the entry was; false if there is no such consumer.
    pub(crate) fn assign(&mut self, consumer: &[u8], id: StreamId, delivered_ms: u64, count: u64) -> bool {
        let Some((name, _)) = self.consumers.get_key_value(consumer) else { return false };
        let name = Arc::clone(name);
        self.release(id);
        if let Some(owner) = self.consumers.get_mut(consumer) {
            owner.pending.insert(id);
        }
        self.pending.insert(id, Pending { consumer: name, delivered_ms, count });
        true
    }

    /// The entry is nobody's any more; whether it was somebody's.
    pub(crate) fn release(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(owner) = self.consumers.get_mut(&pending.consumer) {
            owner.pending.remove(&id);
        }
        true
    }

    /// Notes that a consumer was heard of, and makes it one.
    pub(crate) fn see(&mut self, consumer: &[u8], seen_ms: u64) {
        match self.consumers.get_mut(consumer) {
            Some(consumer) => consumer.seen_ms = seen_ms,
            None => {
                self.consumers.insert(consumer.into(), Consumer { seen_ms, pending: BTreeSet::new() });
            }
        }
    }

    /// Removes a consumer, and what it has not acknowledged.
    pub(crate) fn forget(&mut self, consumer: &[u8]) {
        if let Some(consumer) = self.consumers.remove(consumer) {
            consumer.pending.iter().for_each(|id| {
                self.pending.remove(id);
            });
        }
    }
}

/// Appends a number of entries read that may not be known.
pub(crate) fn put_read(out: &mut Vec<u8>, entries_read: Option<u64>) {
    out.push(u8::from(entries_read.is_some()));
    varint::put(out, entries_read.unwrap_or(0));
}

/// Takes one off the front of bytes from outside.
pub(crate) fn take_read(rest: &mut &[u8]) -> Option<Option<u64>> {
    let (&known, after) = rest.split_first()?;
    *rest = after;
    let number = varint::take(rest)?;
    match known {
        0 => Some(None),
        1 => Some(Some(number)),
        _ => None,
    }
}

/// Takes a group with its name off the front of bytes from outside.
pub(crate) fn take_group<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Group)> {
    let name = varint::take_slice(rest)?;
    let mut group = Group { last_id: take_id(rest)?, entries_read: take_read(rest)?, ..Group::default() };
    for _ in 0..varint::take(rest)? {
        let consumer = varint::take_slice(rest)?;
        if group.consumers.contains_key(consumer) {
            return None;
        }
        group.see(consumer, varint::take(rest)?);
        for _ in 0..varint::take(rest)? {
            let id = take_id(rest)?;
            let (delivered_ms, count) = (varint::take(rest)?, varint::take(rest)?);
            if group.pending.contains_key(&id) {
                return None;
            }
            group.assign(consumer, id, delivered_ms, count);
        }
    }
    Some((name, group))
}
