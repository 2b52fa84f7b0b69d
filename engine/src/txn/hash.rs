//! Hashes: flat up to a size, then a table of fields.

use super::{Txn, WrongKind};
use crate::change::{Change, hash::set_flat};
use crate::expiry::NEVER;
use crate::key::Key;
use crate::limits::SCAN_IGNORED_BITS;
use crate::object::{Body, Kind, Structured, View, layout, packed_hash};

/// How many fields a hash has.
pub(crate) fn len(view: View<'_>) -> usize {
    match view {
        View::Packed(flat) => packed_hash::len(layout::parts(flat).payload),
        View::Structured(Structured { body: Body::Hash(fields), .. }) => fields.len(),
        View::Structured(_) => 0,
    }
}

impl Txn<'_> {
    fn hash_view(&self, key: &Key<'_>) -> Result<Option<View<'_>>, WrongKind> {
        Ok(self.entry_of(key, Kind::Hash)?.map(|entry| entry.view()))
    }

    /// The value of one field; `None` if there is no such field or key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_get(&self, key: &Key<'_>, field: &[u8]) -> Result<Option<&[u8]>, WrongKind> {
        Ok(match self.hash_view(key)? {
            Some(View::Packed(flat)) => {
                packed_hash::find(layout::parts(flat).payload, field).map(|found| found.value)
            }
            Some(View::Structured(Structured { body: Body::Hash(fields), .. })) => {
                fields.get(self.inner.hasher.field(field), field)
            }
            _ => None,
        })
    }

    /// How many fields a hash has; 0 if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_len(&self, key: &Key<'_>) -> Result<usize, WrongKind> {
        Ok(self.hash_view(key)?.map_or(0, len))
    }

    /// Calls `each` with every field and value: in the order of insertion while the hash is flat, in none afterwards.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_for_each(&self, key: &Key<'_>, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), WrongKind> {
        match self.hash_view(key)? {
            Some(View::Packed(flat)) => {
                packed_hash::iter(layout::parts(flat).payload).for_each(|(field, value)| each(field, value));
            }
            Some(View::Structured(Structured { body: Body::Hash(fields), .. })) => fields.for_each(each),
            _ => {}
        }
        Ok(())
    }

    /// The field and value at a position below [`hash_len`](Self::hash_len), in an order that holds until the next change (for
    /// random choices).
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_nth(&self, key: &Key<'_>, index: usize) -> Result<Option<(&[u8], &[u8])>, WrongKind> {
        Ok(match self.hash_view(key)? {
            Some(View::Packed(flat)) => packed_hash::iter(layout::parts(flat).payload).nth(index),
            Some(View::Structured(Structured { body: Body::Hash(fields), .. })) => fields.nth(index),
            _ => None,
        })
    }

    /// A step of a scan: calls `each` for at least `count` fields from `cursor` on (all of a flat hash), if there are as many. The
    /// next cursor, 0 at the end. A field that is there throughout is seen at least once.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_scan(
        &self,
        key: &Key<'_>,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, WrongKind> {
        match self.hash_view(key)? {
            Some(View::Structured(Structured { body: Body::Hash(fields), .. })) => {
                let from = cursor << SCAN_IGNORED_BITS;
                Ok(fields
                    .scan(from, count, SCAN_IGNORED_BITS, each)
                    .map_or(0, |next| next >> SCAN_IGNORED_BITS))
            }
            _ => self.hash_for_each(key, each).map(|()| 0),
        }
    }

    /// Sets a field, creating the hash; whether the field is new. Keeps the key's deadline.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_set(&mut self, key: &Key<'_>, field: &[u8], value: &[u8]) -> Result<bool, WrongKind> {
        if self.hash_view(key)?.is_none() {
            let mut empty = Vec::with_capacity(key.bytes.len() + 8);
            layout::put_head(&mut empty, Kind::Hash, key.database, key.bytes, None);
            let (object, _) = set_flat(&empty, &self.inner.hasher, field, value);
            self.put(key, object, NEVER, 0);
            return Ok(true);
        }
        Ok(self.change(key, &Change::SetField { field, value }))
    }

    /// Removes a field, and the key with its last one; whether it was there.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_remove(&mut self, key: &Key<'_>, field: &[u8]) -> Result<bool, WrongKind> {
        if self.hash_get(key, field)?.is_none() {
            return Ok(false);
        }
        if self.hash_len(key)? == 1 {
            return Ok(self.delete(key));
        }
        self.change(key, &Change::RemoveField { field });
        Ok(true)
    }
}
