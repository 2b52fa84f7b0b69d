//! Streams, with groups of consumers.

use super::{Answer, Content, Turn, WrongKind, number};
use crate::wire::Value;
use std::collections::{BTreeMap, BTreeSet};

/// An entry's id: milliseconds and a number.
pub type StreamKey = (u64, u64);

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Fields and values by turns.
    pub entries: BTreeMap<StreamKey, Vec<Vec<u8>>>,
    /// No later entry has an id that is not greater.
    pub last_id: StreamKey,
    /// How many were ever added.
    pub added: u64,
    /// The greatest id that was deleted one by one.
    pub deleted_id: StreamKey,
    /// By name.
    pub groups: BTreeMap<Vec<u8>, Group>,
}

/// A group of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The last entry that was delivered to anyone.
    pub last_id: StreamKey,
    /// By name.
    pub consumers: BTreeSet<Vec<u8>>,
    /// Delivered, and not acknowledged.
    pub pending: BTreeMap<StreamKey, Pending>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// To whom.
    pub consumer: Vec<u8>,
    /// When, ms since the epoch.
    pub delivered_ms: u64,
    /// How often.
    pub count: u64,
}

fn id_of(text: &[u8]) -> StreamKey {
    let mut parts = text.splitn(2, |&byte| byte == b'-').map(|part| number(part) as u64);
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn id_text(id: StreamKey) -> Value {
    Value::Bulk(format!("{}-{}", id.0, id.1).into_bytes())
}

fn entry(id: StreamKey, fields: &[Vec<u8>]) -> Value {
    Value::Array(vec![id_text(id), Value::Array(fields.iter().cloned().map(Value::Bulk).collect())])
}

impl Turn<'_> {
    fn stream_at(&self, key: &[u8]) -> Result<Option<&Stream>, WrongKind> {
        match self.item(key).map(|item| &item.content) {
            None => Ok(None),
            Some(Content::Stream(stream)) => Ok(Some(stream)),
            Some(_) => Err(WrongKind),
        }
    }

    fn stream_mut(&mut self, key: &[u8]) -> Result<&mut Stream, WrongKind> {
        match &mut self.item_mut(key, Content::Stream(Stream::default())).content {
            Content::Stream(stream) => Ok(stream),
            _ => Err(WrongKind),
        }
    }

    pub(super) fn stream(&mut self, name: &str, args: &[Vec<u8>]) -> Option<Answer> {
        Some(match (name, args) {
            ("XADD", [_, key, id, fields @ ..]) => self.xadd(key, id, fields),
            ("XDEL", [_, key, ids @ ..]) => self.xdel(key, ids),
            ("XTRIM", [_, key, _maxlen, most]) => self.xtrim(key, number(most) as usize),
            ("XLEN", [_, key]) => self
                .stream_at(key)
                .map(|stream| Value::count(stream.map_or(0, |stream| stream.entries.len()))),
            ("XRANGE", [_, key, _from, _to]) => self.stream_at(key).map(|stream| {
                let entries = stream.into_iter().flat_map(|stream| &stream.entries);
                Value::Array(entries.map(|(id, fields)| entry(*id, fields)).collect())
            }),
            // XGROUP CREATE key group id MKSTREAM
            ("XGROUP", [_, what, key, group, id, _mkstream]) if what == b"CREATE" => {
                self.xgroup_create(key, group, id)
            }
            ("XGROUP", [_, what, key, group]) if what == b"DESTROY" => self.xgroup_destroy(key, group),
            // XREADGROUP GROUP group consumer COUNT n STREAMS key >
            ("XREADGROUP", [_, _, group, consumer, _, count, _, key, _]) => {
                self.xreadgroup(key, group, consumer, number(count) as usize)
            }
            ("XACK", [_, key, group, ids @ ..]) => self.xack(key, group, ids),
            _ => return None,
        })
    }

    fn xadd(&mut self, key: &[u8], id: &[u8], fields: &[Vec<u8>]) -> Answer {
        let last_id = self.stream_at(key)?.map_or((0, 0), |stream| stream.last_id);
        let id = match (id, self.hint) {
            (b"*", Value::Bulk(given)) => {
                let given = id_of(given);
                // The time in ms, or the next number of the last one's.
                if given != (self.now_ms, 0) && given != (last_id.0, last_id.1 + 1) {
                    return Ok(Value::error("(an id of this moment)"));
                }
                given
            }
            (id, _) => id_of(id),
        };
        if id <= last_id {
            return Ok(Value::error("ERR The ID specified in XADD is equal or smaller"));
        }
        let stream = self.stream_mut(key)?;
        stream.entries.insert(id, fields.to_vec());
        stream.last_id = id;
        stream.added += 1;
        Ok(id_text(id))
    }

    fn xdel(&mut self, key: &[u8], ids: &[Vec<u8>]) -> Answer {
        if self.stream_at(key)?.is_none() {
            return Ok(Value::Integer(0));
        }
        let stream = self.stream_mut(key)?;
        let mut gone = 0;
        for id in ids.iter().map(|id| id_of(id)) {
            if stream.entries.remove(&id).is_some() {
                stream.deleted_id = stream.deleted_id.max(id);
                gone += 1;
            }
        }
        Ok(Value::count(gone))
    }

    fn xtrim(&mut self, key: &[u8], most: usize) -> Answer {
        if self.stream_at(key)?.is_none() {
            return Ok(Value::Integer(0));
        }
        let stream = self.stream_mut(key)?;
        let gone = stream.entries.len().saturating_sub(most);
        for _ in 0..gone {
            stream.entries.pop_first();
        }
        Ok(Value::count(gone))
    }

    fn xgroup_create(&mut self, key: &[u8], group: &[u8], id: &[u8]) -> Answer {
        let stream = self.stream_mut(key)?;
        if stream.groups.contains_key(group) {
            return Ok(Value::error("BUSYGROUP"));
        }
        let last_id = if id == b"$" { stream.last_id } else { id_of(id) };
        stream.groups.insert(group.to_vec(), Group { last_id, ..Group::default() });
        Ok(Value::ok())
    }

    fn xgroup_destroy(&mut self, key: &[u8], group: &[u8]) -> Answer {
        if self.stream_at(key)?.is_none() {
            return Ok(Value::error("ERR The XGROUP subcommand requires the key to exist"));
        }
        let gone = self.stream_mut(key)?.groups.remove(group).is_some();
        Ok(Value::Integer(i64::from(gone)))
    }

    fn xreadgroup(&mut self, key: &[u8], group: &[u8], consumer: &[u8], count: usize) -> Answer {
        let now_ms = self.now_ms;
        if !self.stream_at(key)?.is_some_and(|stream| stream.groups.contains_key(group)) {
            return Ok(Value::error("NOGROUP"));
        }
        let Stream { entries, groups, .. } = self.stream_mut(key)?;
        let group = groups.get_mut(group).expect("looked up just now");
        let next = (group.last_id.0, group.last_id.1 + 1);
        let mut read = Vec::new();
        for (&id, fields) in entries.range(next..).take(count) {
            read.push(entry(id, fields));
            group.last_id = id;
            let consumer = consumer.to_vec();
            group.pending.insert(id, Pending { consumer, delivered_ms: now_ms, count: 1 });
        }
        if read.is_empty() {
            return Ok(Value::Nil);
        }
        group.consumers.insert(consumer.to_vec());
        Ok(Value::Array(vec![Value::Array(vec![Value::Bulk(key.to_vec()), Value::Array(read)])]))
    }

    fn xack(&mut self, key: &[u8], group: &[u8], ids: &[Vec<u8>]) -> Answer {
        if !self.stream_at(key)?.is_some_and(|stream| stream.groups.contains_key(group)) {
            return Ok(Value::Integer(0));
        }
        let stream = self.stream_mut(key)?;
        let group = stream.groups.get_mut(group).expect("looked up just now");
        let gone = ids.iter().filter(|id| group.pending.remove(&id_of(id)).is_some()).count();
        Ok(Value::count(gone))
    }
}
