//! Hashes: flat up to a size, then a table of fields. What is dead is nowhere to be seen here, whether it was taken out already or not.

use super::{Txn, WrongKind};
use crate::change::hash::{made_of, set_all_flat};
use crate::change::{Change, TimedChange};
use crate::expiry::NEVER;
use crate::key::Key;
use crate::limits::SCAN_IGNORED_BITS;
use crate::object::packed_hash::{Field, Fields, Head};
use crate::object::{Body, Kind, Structured, View, layout};
use smallvec::SmallVec;

/// A field of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashField<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// When it dies, in ms since the epoch; `None`: with the key.
    pub deadline_ms: Option<u64>,
}

impl Txn<'_> {
    fn hash_view(&self, key: &Key<'_>) -> Result<Option<View<'_>>, WrongKind> {
        Ok(self.entry_of(key, Kind::Hash)?.map(|entry| entry.view()))
    }

    /// A field that lives.
    fn hash_field(&self, key: &Key<'_>, name: &[u8]) -> Result<Option<Field<'_>>, WrongKind> {
        Ok(self.hash_view(key)?.and_then(|view| self.field_of(view, name)))
    }

    fn field_of<'a>(&self, view: View<'a>, name: &[u8]) -> Option<Field<'a>> {
        let field = match view {
            View::Packed(flat) => Fields::of(flat).find(name).map(|found| Field {
                name: &[],
                value: found.value,
                deadline_ms: found.deadline_ms,
            }),
            View::Structured(Structured { body: Body::Hash(fields), .. }) => {
                fields.get(self.inner.hasher.field(name), name)
            }
            View::Structured(_) => None,
        };
        field.filter(|field| field.deadline_ms > self.now_ms)
    }

    /// The value of one field; `None` if there is no such field or key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_get(&self, key: &Key<'_>, field: &[u8]) -> Result<Option<&[u8]>, WrongKind> {
        Ok(self.hash_field(key, field)?.map(|field| field.value))
    }

    /// Calls `each` with the value of each of these fields, or `None`, in their order; whether there is such a key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_get_each(
        &self,
        key: &Key<'_>,
        names: &[&[u8]],
        each: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<bool, WrongKind> {
        let Some(view) = self.hash_view(key)? else {
            names.iter().for_each(|_| each(None));
            return Ok(false);
        };
        for name in names {
            each(self.field_of(view, name).map(|field| field.value));
        }
        Ok(true)
    }

    /// When a field dies, in ms since the epoch: `None` if there is no such field or key, `Some(None)` if it lives as long as the key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_field_deadline(&self, key: &Key<'_>, field: &[u8]) -> Result<Option<Option<u64>>, WrongKind> {
        let field = self.hash_field(key, field)?;
        Ok(field.map(|field| Some(field.deadline_ms).filter(|&deadline| deadline != NEVER)))
    }

    /// How many fields a hash has; 0 if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_len(&self, key: &Key<'_>) -> Result<usize, WrongKind> {
        Ok(match self.hash_view(key)? {
            Some(View::Packed(flat)) => Fields::of(flat).live(self.now_ms).count(),
            Some(View::Structured(Structured { body: Body::Hash(fields), .. })) => {
                fields.live_len(self.now_ms)
            }
            _ => 0,
        })
    }

    /// Calls `each` with every field and value: in the order of insertion while the hash is flat, in none afterwards.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_for_each(&self, key: &Key<'_>, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), WrongKind> {
        self.hash_for_each_field(key, &mut |field| each(field.name, field.value))
    }

    /// As [`hash_for_each`](Self::hash_for_each), with the deadlines of those fields that have one.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_for_each_field(
        &self,
        key: &Key<'_>,
        each: &mut dyn FnMut(HashField<'_>),
    ) -> Result<(), WrongKind> {
        let now_ms = self.now_ms;
        let mut show = |field: Field<'_>| {
            if field.deadline_ms > now_ms {
                let deadline_ms = Some(field.deadline_ms).filter(|&deadline| deadline != NEVER);
                each(HashField { name: field.name, value: field.value, deadline_ms });
            }
        };
        match self.hash_view(key)? {
            Some(View::Packed(flat)) => Fields::of(flat).iter().for_each(show),
            Some(View::Structured(Structured { body: Body::Hash(fields), .. })) => fields.for_each(&mut show),
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
        let field = match self.hash_view(key)? {
            Some(View::Packed(flat)) => Fields::of(flat).live(self.now_ms).nth(index),
            Some(View::Structured(Structured { body: Body::Hash(fields), .. })) => {
                fields.nth_live(index, self.now_ms)
            }
            _ => None,
        };
        Ok(field.map(|field| (field.name, field.value)))
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
                let (from, now_ms) = (cursor << SCAN_IGNORED_BITS, self.now_ms);
                let next = fields.scan(from, count, SCAN_IGNORED_BITS, &mut |field| {
                    if field.deadline_ms > now_ms {
                        each(field.name, field.value);
                    }
                });
                Ok(next.map_or(0, |next| next >> SCAN_IGNORED_BITS))
            }
            _ => self.hash_for_each(key, each).map(|()| 0),
        }
    }

    /// Sets a field, creating the hash; whether the field is new. Keeps the key's deadline, but not the field's.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_set(&mut self, key: &Key<'_>, field: &[u8], value: &[u8]) -> Result<bool, WrongKind> {
        self.hash_set_until(key, field, value, None)
    }

    /// Sets several fields, of two values for one the last; how many are new. As [`hash_set`](Self::hash_set) of each, but faster.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_set_all(&mut self, key: &Key<'_>, fields: &[[&[u8]; 2]]) -> Result<usize, WrongKind> {
        /// More make a hash that is not flat for long, and searching them for each other would be quadratic.
        const TOGETHER_MAX: usize = 32;
        let place = self.place_of(key, Kind::Hash)?;
        if fields.len() > 1 && fields.len() <= TOGETHER_MAX {
            let hasher = &self.inner.hasher;
            let Some(place) = place else {
                let mut head: SmallVec<[u8; 96]> = SmallVec::new();
                layout::put_head(&mut head, Kind::Hash, key.database, key.bytes, None);
                let (object, new) = set_all_flat(&head, hasher, fields);
                self.put(key, object, NEVER, 0);
                return Ok(new);
            };
            if let View::Packed(flat) = self.shard(key).entry(place).view()
                && !Fields::of(flat).are_timed()
            {
                let (object, new) = set_all_flat(flat, hasher, fields);
                for [field, value] in fields {
                    self.before_change(key, place, &Change::SetField { field, value });
                }
                let old = self.shard_mut(key).replace(place, object);
                self.discard(old);
                return Ok(new);
            }
        }
        let mut new = 0;
        for [field, value] in fields {
            new += usize::from(self.hash_set(key, field, value)?);
        }
        Ok(new)
    }

    /// As [`hash_set`](Self::hash_set), with a deadline of the field's own in ms since the epoch (`None`: it lives as long as the key). A
    /// deadline that has come removes the field; then nothing is new.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_set_until(
        &mut self,
        key: &Key<'_>,
        field: &[u8],
        value: &[u8],
        deadline_ms: Option<u64>,
    ) -> Result<bool, WrongKind> {
        let deadline_ms = deadline_ms.unwrap_or(NEVER);
        if deadline_ms <= self.now_ms {
            self.hash_remove(key, field)?;
            return Ok(false);
        }
        let Some(view) = self.hash_view(key)? else {
            let name = Field { name: field, value, deadline_ms };
            let head = Head { database: key.database, key: key.bytes, policy: None, key_deadline_ms: NEVER };
            let object = made_of(head, SmallVec::from_iter([name]), &self.inner.hasher);
            // With its only field it dies, too.
            self.put(key, object, deadline_ms, 0);
            return Ok(true);
        };
        // Where something dead is in the way, replacing it is not what the caller takes it for.
        let was_dead = view.deaths().is_some() && self.hash_field(key, field)?.is_none();
        let change = if deadline_ms == NEVER {
            Change::SetField { field, value }
        } else {
            Change::Timed(TimedChange::SetUntil { field, value, deadline_ms })
        };
        Ok(self.change(key, &change) || was_dead)
    }

    /// Replaces the value of a field that is there, which keeps its deadline; else creates it as [`hash_set`](Self::hash_set) does. Whether it
    /// is new.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_update(&mut self, key: &Key<'_>, field: &[u8], value: &[u8]) -> Result<bool, WrongKind> {
        let deadline_ms = self.hash_field_deadline(key, field)?.flatten();
        self.hash_set_until(key, field, value, deadline_ms)
    }

    /// Sets when a field dies, in ms since the epoch (`None`: with the key); whether it is there. A deadline that has come removes it.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_set_field_deadline(
        &mut self,
        key: &Key<'_>,
        field: &[u8],
        deadline_ms: Option<u64>,
    ) -> Result<bool, WrongKind> {
        let deadline_ms = deadline_ms.unwrap_or(NEVER);
        if deadline_ms <= self.now_ms {
            return self.hash_remove(key, field);
        }
        let there = self.hash_field(key, field)?.map(|field| field.deadline_ms);
        if there.is_some_and(|before_ms| before_ms != deadline_ms) {
            self.change(key, &Change::Timed(TimedChange::FieldDeadline { field, deadline_ms }));
        }
        Ok(there.is_some())
    }

    /// Replaces whatever the key held by a hash of these fields, each of them once, without a deadline of the key's own. What is dead is left out;
    /// without any that lives the key is deleted.
    pub fn hash_put(&mut self, key: &Key<'_>, fields: &[HashField<'_>]) {
        let all = fields.iter().map(|&HashField { name, value, deadline_ms }| Field {
            name,
            value,
            deadline_ms: deadline_ms.unwrap_or(NEVER),
        });
        let alive: SmallVec<[Field<'_>; 16]> = all.filter(|field| field.deadline_ms > self.now_ms).collect();
        let Some(last_ms) = alive.iter().map(|field| field.deadline_ms).max() else {
            self.delete(key);
            return;
        };
        let head = Head { database: key.database, key: key.bytes, policy: None, key_deadline_ms: NEVER };
        let object = made_of(head, alive, &self.inner.hasher);
        self.put(key, object, last_ms, 0);
    }

    /// Takes out what is dead of a hash, which changes nothing for anyone, but makes [`hash_nth`](Self::hash_nth) fast again; how many fields that
    /// were. (The database does so by itself, a little later.)
    pub fn hash_prune(&mut self, key: &Key<'_>) -> usize {
        let (position, now_ms) = (self.position(key), self.now_ms);
        let shard = &mut self.shards[position].1;
        let Some(place) = shard.live(key, now_ms) else { return 0 };
        let (pruned, old) = shard.prune(place, now_ms, usize::MAX);
        self.garbage.extend(old);
        pruned
    }

    /// Removes a field, and the key with its last one; whether it was there.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn hash_remove(&mut self, key: &Key<'_>, field: &[u8]) -> Result<bool, WrongKind> {
        if self.hash_field(key, field)?.is_none() {
            return Ok(false);
        }
        if self.hash_len(key)? == 1 {
            return Ok(self.delete(key));
        }
        self.change(key, &Change::RemoveField { field });
        Ok(true)
    }
}
