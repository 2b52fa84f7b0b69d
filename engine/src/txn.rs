//! One atomic step over one or several keys.
//!
//! A transaction holds the locks of the shards that its keys live in, from [`Db::begin`](crate::Db::begin) until it is committed or
//! dropped. What it changes is one record in the log: after a crash all of it is there, or none.

use crate::{Key, Kind, WrongKind};
use parking_lot::MutexGuard;
use sessile_wal::Lsn;
use std::collections::HashMap;

#[derive(Clone)]
pub(crate) enum Naive {
    S(Vec<u8>),
    H(Vec<(Vec<u8>, Vec<u8>)>),
}
pub(crate) type Map = HashMap<(u8, Vec<u8>), (Naive, Option<u64>)>;

/// Whether a transaction may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only: never refused, whatever state the log is in.
    Read,
    /// May write: refused when the log can't take a record (poisoned, disk full).
    Write,
    /// Only takes data away: a full disk still admits it from a small reserve.
    Delete,
}

/// An atomic step; see the module's page.
pub struct Txn<'db> {
    pub(crate) map: MutexGuard<'db, Map>,
    pub(crate) now_ms: u64,
    pub(crate) dirty: bool,
}

fn k(key: &Key<'_>) -> (u8, Vec<u8>) {
    (key.database, key.bytes.to_vec())
}

impl<'db> Txn<'db> {
    /// The engine's time at which this transaction happens, in milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }
    fn live(&self, key: &Key<'_>) -> Option<&(Naive, Option<u64>)> {
        self.map.get(&k(key)).filter(|o| o.1.is_none_or(|d| d > self.now_ms))
    }
    fn live_mut(&mut self, key: &Key<'_>) -> Option<&mut (Naive, Option<u64>)> {
        let now = self.now_ms;
        self.map.get_mut(&k(key)).filter(|o| o.1.is_none_or(|d| d > now))
    }
    /// What the key holds; `None` if there is no such key.
    pub fn kind(&self, key: &Key<'_>) -> Option<Kind> {
        self.live(key).map(|o| match o.0 {
            Naive::S(_) => Kind::String,
            Naive::H(_) => Kind::Hash,
        })
    }
    /// Whether the key exists.
    pub fn exists(&self, key: &Key<'_>) -> bool {
        self.live(key).is_some()
    }
    /// The key's deadline in ms since the epoch: `None` no such key, `Some(None)` never dies.
    pub fn deadline(&self, key: &Key<'_>) -> Option<Option<u64>> {
        self.live(key).map(|o| o.1)
    }
    /// Sets or clears the deadline; false if there is no such key. A deadline in the past deletes the key.
    pub fn set_deadline(&mut self, key: &Key<'_>, deadline_ms: Option<u64>) -> bool {
        let now = self.now_ms;
        let Some(o) = self.live_mut(key) else { return false };
        o.1 = deadline_ms;
        if deadline_ms.is_some_and(|d| d <= now) {
            self.map.remove(&k(key));
        }
        self.dirty = true;
        true
    }
    /// Removes the key; whether it was there.
    pub fn delete(&mut self, key: &Key<'_>) -> bool {
        let there = self.exists(key);
        self.map.remove(&k(key));
        self.dirty |= there;
        there
    }
    /// A string's bytes.
    pub fn string(&self, key: &Key<'_>) -> Result<Option<&[u8]>, WrongKind> {
        match self.live(key) {
            None => Ok(None),
            Some((Naive::S(v), _)) => Ok(Some(v)),
            Some(_) => Err(WrongKind),
        }
    }
    /// Replaces whatever the key held by a string.
    pub fn put_string(&mut self, key: &Key<'_>, value: &[u8], deadline_ms: Option<u64>) {
        self.map.insert(k(key), (Naive::S(value.to_vec()), deadline_ms));
        self.dirty = true;
    }
    /// Writes `bytes` at `offset` of a string, padding with zeros; creates it; keeps its deadline. The new length.
    pub fn write_string_at(
        &mut self,
        key: &Key<'_>,
        offset: usize,
        bytes: &[u8],
    ) -> Result<usize, WrongKind> {
        let (mut v, deadline) = match self.live(key) {
            None => (Vec::new(), None),
            Some((Naive::S(v), d)) => (v.clone(), *d),
            Some(_) => return Err(WrongKind),
        };
        if v.len() < offset + bytes.len() {
            v.resize(offset + bytes.len(), 0);
        }
        v[offset..offset + bytes.len()].copy_from_slice(bytes);
        let n = v.len();
        self.put_string(key, &v, deadline);
        Ok(n)
    }
    fn hash(&self, key: &Key<'_>) -> Result<Option<&Vec<(Vec<u8>, Vec<u8>)>>, WrongKind> {
        match self.live(key) {
            None => Ok(None),
            Some((Naive::H(v), _)) => Ok(Some(v)),
            Some(_) => Err(WrongKind),
        }
    }
    /// One field of a hash.
    pub fn hash_get(&self, key: &Key<'_>, field: &[u8]) -> Result<Option<&[u8]>, WrongKind> {
        Ok(self.hash(key)?.and_then(|h| h.iter().find(|f| f.0 == field).map(|f| &f.1[..])))
    }
    /// How many fields a hash has; 0 if there is no such key.
    pub fn hash_len(&self, key: &Key<'_>) -> Result<usize, WrongKind> {
        Ok(self.hash(key)?.map_or(0, Vec::len))
    }
    /// Calls `each` with every field and value, in the hash's own order (insertion order while it is packed).
    pub fn hash_for_each(&self, key: &Key<'_>, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), WrongKind> {
        if let Some(h) = self.hash(key)? {
            h.iter().for_each(|(f, v)| each(f, v));
        }
        Ok(())
    }
    /// The field and value at position `index` below `hash_len` (for random choices).
    pub fn hash_nth(&self, key: &Key<'_>, index: usize) -> Result<Option<(&[u8], &[u8])>, WrongKind> {
        Ok(self.hash(key)?.and_then(|h| h.get(index)).map(|(f, v)| (&f[..], &v[..])))
    }
    /// Like SCAN inside a hash: at least `count` fields from `cursor` on (all of a packed one); the next cursor, 0 at the end.
    pub fn hash_scan(
        &self,
        key: &Key<'_>,
        _cursor: u64,
        _count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, WrongKind> {
        self.hash_for_each(key, each)?;
        Ok(0)
    }
    /// Whether the hash is in its flat form (what Redis calls a listpack).
    pub fn is_packed(&self, _key: &Key<'_>) -> bool {
        true
    }
    /// Sets a field, creating the hash; whether the field is new. Keeps the deadline.
    pub fn hash_set(&mut self, key: &Key<'_>, field: &[u8], value: &[u8]) -> Result<bool, WrongKind> {
        self.hash(key)?;
        if !self.exists(key) {
            self.map.insert(k(key), (Naive::H(Vec::new()), None));
        }
        self.dirty = true;
        let Some((Naive::H(h), _)) = self.live_mut(key) else { return Err(WrongKind) };
        if let Some(f) = h.iter_mut().find(|f| f.0 == field) {
            f.1 = value.to_vec();
            return Ok(false);
        }
        h.push((field.to_vec(), value.to_vec()));
        Ok(true)
    }
    /// Removes a field (and the key with its last field); whether it was there.
    pub fn hash_remove(&mut self, key: &Key<'_>, field: &[u8]) -> Result<bool, WrongKind> {
        self.hash(key)?;
        let Some((Naive::H(h), _)) = self.live_mut(key) else { return Ok(false) };
        let before = h.len();
        h.retain(|f| f.0 != field);
        let (removed, empty) = (h.len() < before, h.is_empty());
        if empty {
            self.map.remove(&k(key));
        }
        self.dirty |= removed;
        Ok(removed)
    }
    /// Moves value and deadline of `from` over `to` (both locked); false if `from` doesn't exist.
    pub fn rename(&mut self, from: &Key<'_>, to: &Key<'_>) -> bool {
        let Some(o) = self.live(from).cloned() else { return false };
        self.map.remove(&k(from));
        self.map.insert(k(to), o);
        self.dirty = true;
        true
    }
    /// Copies value and deadline of `from` over `to` (both locked; databases may differ); false if `from` doesn't exist.
    pub fn copy(&mut self, from: &Key<'_>, to: &Key<'_>) -> bool {
        let Some(o) = self.live(from).cloned() else { return false };
        self.map.insert(k(to), o);
        self.dirty = true;
        true
    }
    /// An estimate of what the key costs in memory, in bytes, all in; `None` if there is no such key.
    pub fn memory_usage(&self, key: &Key<'_>) -> Option<usize> {
        self.live(key).map(|o| match &o.0 {
            Naive::S(v) => v.len() + key.bytes.len() + 48,
            Naive::H(v) => v.iter().map(|f| f.0.len() + f.1.len() + 4).sum::<usize>() + key.bytes.len() + 48,
        })
    }
    /// Counts an access without changing anything (`TOUCH`); whether the key exists.
    pub fn note_access(&mut self, key: &Key<'_>) -> bool {
        self.exists(key)
    }
    /// Ends the transaction: the log position that must be acknowledged (see [`Db::acknowledged`](crate::Db::acknowledged)) before a
    /// reply may be sent; [`Lsn::ZERO`] if nothing was changed.
    pub fn commit(self) -> Lsn {
        Lsn::ZERO
    }
    /// Whether anything was changed so far.
    pub fn changed(&self) -> bool {
        self.dirty
    }
}
