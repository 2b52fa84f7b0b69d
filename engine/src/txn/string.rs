//! Strings.

use super::{Txn, WrongKind};
use crate::change::Change;
use crate::expiry::{Expiry, NEVER, grid_for, ms};
use crate::key::Key;
use crate::limits::VALUE_BYTES_MAX;
use crate::object::{Body, Kind, Object, Packed, Policy, Structured, View, layout};
use crate::value::Value;
use smallvec::SmallVec;

/// A flat string.
fn flat(key: &Key<'_>, policy: Option<Policy>, value: &[u8]) -> Object {
    let mut head: SmallVec<[u8; 96]> = SmallVec::new();
    layout::put_head(&mut head, Kind::String, key.database, key.bytes, policy);
    Object::Packed(Packed::concat(&[&head, value]))
}

impl Txn<'_> {
    /// A string's bytes; `None` if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    #[inline]
    pub fn string(&self, key: &Key<'_>) -> Result<Option<&[u8]>, WrongKind> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        match entry.view() {
            View::Packed(bytes) if layout::kind(bytes) == Kind::String => {
                Ok(Some(layout::parts(bytes).payload))
            }
            View::Structured(Structured { body: Body::String(value), .. }) => Ok(Some(value)),
            _ => Err(WrongKind),
        }
    }

    /// A string's bytes to keep, without copying them (unless the string is a large one that was changed in place).
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn value(&self, key: &Key<'_>) -> Result<Option<Value>, WrongKind> {
        let Some(value) = self.string(key)? else { return Ok(None) };
        let shared = self.entry(key).and_then(|entry| entry.handle().share());
        Ok(Some(match shared {
            Some(object) => {
                let start = layout::head_bytes(object.bytes());
                Value::new(object, start)
            }
            None => Value::new(Packed::concat(&[value]), 0),
        }))
    }

    /// Replaces whatever the key held by a string, with a deadline in ms since the epoch (`None`: never). A deadline that has come
    /// deletes the key.
    pub fn put_string(&mut self, key: &Key<'_>, value: &[u8], deadline_ms: Option<u64>) {
        let deadline_ms = deadline_ms.unwrap_or(NEVER);
        if deadline_ms <= self.now_ms {
            self.delete(key);
            return;
        }
        self.put(key, flat(key, None, value), deadline_ms, 0);
    }

    /// As [`put_string`](Self::put_string), with all that an [`Expiry`] can say.
    pub fn set(&mut self, key: &Key<'_>, value: &[u8], expiry: Expiry) {
        let at = |after| self.now_ms.saturating_add(ms(after)).min(NEVER - 1);
        let (deadline_ms, policy) = match expiry {
            Expiry::Never => (NEVER, None),
            Expiry::After(after) => (at(after), None),
            Expiry::AtMs(at_ms) => (at_ms.min(NEVER - 1), None),
            Expiry::Keep => {
                (self.deadline(key).flatten().unwrap_or(NEVER), self.view(key).and_then(|v| v.policy()))
            }
            Expiry::Idle { idle, absolute } => {
                let policy = Policy { idle_ms: ms(idle), absolute_ms: absolute.map_or(NEVER, at) };
                (at(idle).min(policy.absolute_ms), Some(policy))
            }
        };
        let grid = match expiry {
            Expiry::Idle { idle, .. } => grid_for(ms(idle)),
            Expiry::Keep => self.entry(key).map_or(0, |entry| entry.handle().grid()),
            _ => 0,
        };
        if deadline_ms <= self.now_ms {
            self.delete(key);
            return;
        }
        self.put(key, flat(key, policy, value), deadline_ms, grid);
    }

    /// Writes `bytes` into a string at `offset`, padding with zeros; creates the key; keeps its deadline. The new length.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    ///
    /// # Panics
    /// If the string would be longer than [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX): callers bound offsets. (No log could be read back
    /// that holds such a write.)
    pub fn write_string_at(
        &mut self,
        key: &Key<'_>,
        offset: usize,
        bytes: &[u8],
    ) -> Result<usize, WrongKind> {
        let end = offset.saturating_add(bytes.len());
        assert!(end <= VALUE_BYTES_MAX, "a write of {} bytes at {offset} is too far out", bytes.len());
        let Some(old) = self.string(key)? else {
            let mut value = vec![0; offset];
            value.extend_from_slice(bytes);
            self.put(key, flat(key, None, &value), NEVER, 0);
            return Ok(end);
        };
        let length = old.len().max(end);
        self.change(key, &Change::WriteAt { offset: offset as u64, bytes });
        Ok(length)
    }
}
