//! The typed operations of a [`Db`]: each is one transaction, acknowledged when it returns.

mod chat;
mod throttle;

use crate::Error;
use crate::db::Db;
use crate::expiry::{Expiry, Touch};
use crate::key::Key;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::segment::Scratch;
use crate::txn::sorted_set::{RankRange, ScoreError, ScoreRule};
use crate::txn::{Access, ListEnd, Txn};
use crate::value::Value;
use sessile_wal::Lsn;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

/// Bytes of a record beside key and value, generously.
const RECORD_OVERHEAD: usize = 64;
/// Bytes of a score with the length of its member, at most.
const SCORE_OVERHEAD: usize = 18;
/// Bytes that an element of a list takes in a record beside its own, at most.
const ELEMENT_OVERHEAD: usize = 10;

/// The first of `len` positions in a range, where negative ones count from the end, and how many there are.
fn positions(range: &impl RangeBounds<i64>, len: usize) -> (usize, usize) {
    // No list has as many elements as an `i64` can count.
    let len = len as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let start = match range.start_bound() {
        Bound::Included(&at) => from_start(at),
        Bound::Excluded(&at) => from_start(at).saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&at) => from_start(at).saturating_add(1),
        Bound::Excluded(&at) => from_start(at),
        Bound::Unbounded => len,
    };
    let (start, end) = (start.clamp(0, len), end.clamp(0, len));
    (start as usize, (end - start).max(0) as usize)
}

fn within(what: &'static str, bytes: usize, limit_bytes: usize) -> Result<(), Error> {
    if bytes > limit_bytes { Err(Error::TooLarge { what, bytes, limit_bytes }) } else { Ok(()) }
}

/// The bytes that members of a set take in a record.
fn within_members(members: &[&[u8]]) -> Result<usize, Error> {
    for member in members {
        within("member", member.len(), VALUE_BYTES_MAX)?;
    }
    // Each with its length.
    Ok(members.iter().map(|member| member.len() + 5).sum())
}

impl Db {
    #[inline]
    fn own_key<'a>(&self, key: &'a [u8]) -> Key<'a> {
        self.inner.key(self.database, key)
    }

    /// One write transaction over one key, acknowledged.
    #[inline]
    fn write<R>(
        &self,
        key: &[u8],
        value_bytes: usize,
        access: Access,
        run: impl FnOnce(&mut Txn<'_>, &Key<'_>) -> R,
    ) -> Result<R, Error> {
        within("key", key.len(), KEY_BYTES_MAX)?;
        within("value", value_bytes, VALUE_BYTES_MAX)?;
        self.inner.admit(key.len() + value_bytes + RECORD_OVERHEAD, access)?;
        let bytes = key;
        let (key, mut txn) = loop {
            let key = self.own_key(bytes);
            match self.begin(std::slice::from_ref(&key), access, self.now_ms()) {
                Err(Error::DatabasesSwapped) => {}
                begun => break (key, begun?),
            }
        };
        let result = run(&mut txn, &key);
        self.inner.acknowledge(txn.commit())?;
        Ok(result)
    }

    #[inline]
    fn read<R>(&self, key: &[u8], run: impl FnOnce(&Txn<'_>, &Key<'_>) -> R) -> Result<R, Error> {
        loop {
            let key = self.own_key(key);
            match self.begin(std::slice::from_ref(&key), Access::Read, self.now_ms()) {
                Err(Error::DatabasesSwapped) => {}
                begun => return Ok(run(&begun?, &key)),
            }
        }
    }

    /// The value of a key, or `None` if there is none (or no longer).
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no string.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        Ok(self.read(key, |txn, key| txn.value(key))??)
    }

    /// The value of a key, whose deadline moves at the same moment: what a web application does for each request.
    ///
    /// `touch` is a [`Duration`] from now, or [`Touch::Policy`]. After a crash the deadline may be late by at most 5 % of the idle period, and is
    /// never early.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; those of a write ([`touch`](Self::touch)).
    pub fn get_and_touch(&self, key: &[u8], touch: impl Into<Touch>) -> Result<Option<Value>, Error> {
        let touch = touch.into();
        let value = self.write(key, 0, Access::Write, |txn, key| {
            let value = txn.value(key)?;
            if value.is_some() {
                txn.touch(key, touch);
            }
            Ok::<_, Error>(value)
        });
        value?
    }

    /// Sets a key, whatever it held.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::LogFailed`], [`Error::TooLarge`], [`Error::Closed`].
    pub fn set(&self, key: &[u8], value: impl AsRef<[u8]>, expiry: impl Into<Expiry>) -> Result<(), Error> {
        let (value, expiry) = (value.as_ref(), expiry.into());
        let set = || self.write(key, value.len(), Access::Write, |txn, key| txn.set(key, value, expiry));
        match set() {
            // What it held does not matter.
            Err(Error::DamagedValue { .. }) if expiry != Expiry::Keep => {
                self.delete_damaged(&self.own_key(key))?;
                set()
            }
            done => done,
        }
    }

    /// Sets a key that does not exist; whether it did so.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_new(
        &self,
        key: &[u8],
        value: impl AsRef<[u8]>,
        expiry: impl Into<Expiry>,
    ) -> Result<bool, Error> {
        let (value, expiry) = (value.as_ref(), expiry.into());
        self.write(key, value.len(), Access::Write, |txn, key| {
            let new = !txn.exists(key);
            if new {
                txn.set(key, value, expiry);
            }
            new
        })
    }

    /// Moves a key's deadline; whether the key is there.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn touch(&self, key: &[u8], touch: impl Into<Touch>) -> Result<bool, Error> {
        let touch = touch.into();
        self.write(key, 0, Access::Write, |txn, key| txn.touch(key, touch).is_some())
    }

    /// Deletes a key; whether it was there.
    ///
    /// # Errors
    /// As [`set`](Self::set), but a full disk doesn't refuse it at once.
    pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        match self.write(key, 0, Access::Delete, |txn, key| txn.delete(key)) {
            Err(Error::DamagedValue { .. }) => match self.delete_damaged(&self.own_key(key))? {
                Some(lsn) => self.inner.acknowledge(lsn).map(|()| true),
                None => Ok(false),
            },
            done => done,
        }
    }

    /// Deletes a key whose value is damaged on disk, which no transaction can look at: the position to be acknowledged, or `None` if the key
    /// is not there, or not damaged. ([`set`](Self::set) and [`delete`](Self::delete) do so by themselves.)
    ///
    /// # Errors
    /// As [`admit_now`](Self::admit_now); [`Error::Io`].
    pub fn delete_damaged(&self, key: &Key<'_>) -> Result<Option<Lsn>, Error> {
        self.inner.admit(RECORD_OVERHEAD, Access::Delete)?;
        let Some((location, segment)) = self.inner.cold_place(key) else { return Ok(None) };
        let read = Scratch::of_thread(|scratch| segment.file.read(location.offset(), scratch).map(drop));
        match read {
            Ok(()) => return Ok(None),
            Err(Error::DamagedValue { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut txn = Txn::begin(&self.inner, std::slice::from_ref(key), Access::Delete, self.now_ms());
        if !self.inner.is_current(key) {
            return Err(Error::DatabasesSwapped);
        }
        let removed = txn.remove_damaged(key, location, &segment);
        let lsn = txn.commit();
        Ok(removed.then_some(lsn))
    }

    /// Whether the key exists.
    ///
    /// # Errors
    /// [`Error::DamagedValue`], [`Error::Io`].
    pub fn contains(&self, key: &[u8]) -> Result<bool, Error> {
        self.read(key, |txn, key| txn.exists(key))
    }

    /// How long the key has to live, to the millisecond: `None` if there is no such key, `Some(None)` if it never dies.
    ///
    /// # Errors
    /// [`Error::DamagedValue`], [`Error::Io`].
    pub fn time_to_live(&self, key: &[u8]) -> Result<Option<Option<Duration>>, Error> {
        self.read(key, |txn, key| {
            let left = |at: u64| Duration::from_millis(at.saturating_sub(txn.now_ms()));
            txn.deadline(key).map(|deadline| deadline.map(left))
        })
    }

    /// Sets or clears a key's deadline to an exact moment, in ms since the epoch; whether the key is there. It is logged as it is.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn expire_at_ms(&self, key: &[u8], deadline_ms: Option<u64>) -> Result<bool, Error> {
        self.write(key, 0, Access::Write, |txn, key| txn.set_deadline(key, deadline_ms))
    }

    /// One field of a hash.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no hash.
    pub fn hash_get(&self, key: &[u8], field: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.read(key, |txn, key| txn.hash_get(key, field).map(|value| value.map(<[u8]>::to_vec)))??)
    }

    /// All fields and values of a hash; empty if there is no such key.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no hash.
    pub fn hash_get_all(&self, key: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.read(key, |txn, key| {
            let mut all = Vec::new();
            txn.hash_for_each(key, &mut |field, value| all.push((field.to_vec(), value.to_vec())))?;
            Ok::<_, crate::WrongKind>(all)
        })??)
    }

    /// Sets a field of a hash, creating it; whether the field is new. Keeps the key's deadline.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; as [`set`](Self::set).
    pub fn hash_set(&self, key: &[u8], field: &[u8], value: impl AsRef<[u8]>) -> Result<bool, Error> {
        let value = value.as_ref();
        within("field", field.len(), VALUE_BYTES_MAX)?;
        let new = self
            .write(key, field.len() + value.len(), Access::Write, |txn, key| txn.hash_set(key, field, value));
        Ok(new??)
    }

    /// As [`hash_set`](Self::hash_set), with a deadline of the field's own in ms since the epoch (`None`: it lives as long as the key). A
    /// deadline that has come removes the field. The key dies with its last field.
    ///
    /// # Errors
    /// As [`hash_set`](Self::hash_set).
    pub fn hash_set_until(
        &self,
        key: &[u8],
        field: &[u8],
        value: impl AsRef<[u8]>,
        deadline_ms: Option<u64>,
    ) -> Result<bool, Error> {
        let value = value.as_ref();
        within("field", field.len(), VALUE_BYTES_MAX)?;
        let new = self.write(key, field.len() + value.len(), Access::Write, |txn, key| {
            txn.hash_set_until(key, field, value, deadline_ms)
        });
        Ok(new??)
    }

    /// Sets when a field of a hash dies, in ms since the epoch (`None`: with the key); whether the field is there. A deadline that has come
    /// removes it.
    ///
    /// # Errors
    /// As [`hash_set`](Self::hash_set).
    pub fn hash_expire_at_ms(
        &self,
        key: &[u8],
        field: &[u8],
        deadline_ms: Option<u64>,
    ) -> Result<bool, Error> {
        within("field", field.len(), VALUE_BYTES_MAX)?;
        let there = self.write(key, field.len(), Access::Write, |txn, key| {
            txn.hash_set_field_deadline(key, field, deadline_ms)
        });
        Ok(there??)
    }

    /// Removes a field of a hash, and the key with the last one; whether it was there.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; as [`delete`](Self::delete).
    pub fn hash_remove(&self, key: &[u8], field: &[u8]) -> Result<bool, Error> {
        Ok(self.write(key, field.len(), Access::Delete, |txn, key| txn.hash_remove(key, field))??)
    }

    /// Adds members to a set, creating it; how many are new. Keeps the key's deadline.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; as [`set`](Self::set).
    pub fn set_add(&self, key: &[u8], members: &[&[u8]]) -> Result<usize, Error> {
        let bytes = within_members(members)?;
        Ok(self.write(key, bytes, Access::Write, |txn, key| txn.set_add(key, members))??)
    }

    /// Removes members of a set, and the key with the last one; how many were there.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; as [`delete`](Self::delete).
    pub fn set_remove(&self, key: &[u8], members: &[&[u8]]) -> Result<usize, Error> {
        let bytes = within_members(members)?;
        Ok(self.write(key, bytes, Access::Delete, |txn, key| txn.set_remove(key, members))??)
    }

    /// Whether a set has a member; false if there is no such key.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no set.
    pub fn set_contains(&self, key: &[u8], member: &[u8]) -> Result<bool, Error> {
        Ok(self.read(key, |txn, key| txn.set_contains(key, member))??)
    }

    /// All members of a set; empty if there is no such key.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no set.
    pub fn set_members(&self, key: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.read(key, |txn, key| {
            let members = txn.set_members(key)?;
            Ok::<_, crate::WrongKind>(
                members.map_or_else(Vec::new, |members| members.iter().map(<[u8]>::to_vec).collect()),
            )
        })??)
    }

    /// How many members a set has; 0 if there is no such key.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no set.
    pub fn set_len(&self, key: &[u8]) -> Result<usize, Error> {
        Ok(self.read(key, |txn, key| txn.set_len(key))??)
    }

    /// Pushes elements to an end of a list one after the other, creating it; how many it has then. Keeps the key's deadline.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no list; as [`set`](Self::set).
    pub fn list_push<E: AsRef<[u8]>>(
        &self,
        key: &[u8],
        end: ListEnd,
        elements: &[E],
    ) -> Result<usize, Error> {
        let elements: Vec<&[u8]> = elements.iter().map(AsRef::as_ref).collect();
        let bytes = elements.iter().map(|element| element.len() + ELEMENT_OVERHEAD).sum();
        Ok(self.write(key, bytes, Access::Write, |txn, key| txn.list_push(key, end, &elements))??)
    }

    /// Takes an element off an end of a list, and the key with the last one; `None` if there is no such key.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no list; as [`delete`](Self::delete).
    pub fn list_pop(&self, key: &[u8], end: ListEnd) -> Result<Option<Vec<u8>>, Error> {
        let mut popped = None;
        self.write(key, 0, Access::Delete, |txn, key| {
            txn.list_pop(key, end, 1, &mut |element| popped = Some(element.to_vec()))
        })??;
        Ok(popped)
    }

    /// How many elements a list has; 0 if there is no such key.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no list.
    pub fn list_len(&self, key: &[u8]) -> Result<usize, Error> {
        Ok(self.read(key, |txn, key| txn.list_len(key))??)
    }

    /// The elements of a list in a range of positions, first to last; empty if there is no such key. Positions count from 0, negative ones from
    /// the end, and those that are not there are left out.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = sessile::Db::open(dir.path())?;
    /// use sessile::ListEnd;
    /// db.list_push(b"chat:7", ListEnd::Back, &["hello", "how are you?", "fine"])?;
    /// assert_eq!(db.list_range(b"chat:7", -2..)?, [&b"how are you?"[..], b"fine"]);
    /// db.list_trim(b"chat:7", -1..)?;
    /// assert_eq!(db.list_range(b"chat:7", ..)?, [b"fine"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no list.
    pub fn list_range(&self, key: &[u8], range: impl RangeBounds<i64>) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.read(key, |txn, key| {
            let (start, count) = positions(&range, txn.list_len(key)?);
            let mut all = Vec::with_capacity(count);
            txn.list_range(key, start, count, &mut |element| all.push(element.to_vec()))?;
            Ok::<_, crate::WrongKind>(all)
        })??)
    }

    /// Removes all elements of a list but those in a range of positions, as [`list_range`](Self::list_range) counts them; how many are
    /// left. If none are, the key is gone.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no list; as [`delete`](Self::delete).
    pub fn list_trim(&self, key: &[u8], range: impl RangeBounds<i64>) -> Result<usize, Error> {
        Ok(self.write(key, 0, Access::Delete, |txn, key| {
            let (start, count) = positions(&range, txn.list_len(key)?);
            txn.list_trim(key, start, count)
        })??)
    }

    /// Sets scores of members of a sorted set, creating it; how many members are new. Keeps the key's deadline.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; [`Error::NotANumber`]; as [`set`](Self::set).
    pub fn sorted_set_add(&self, key: &[u8], entries: &[(f64, &[u8])]) -> Result<usize, Error> {
        let bytes = entries.iter().map(|(_, member)| member.len() + SCORE_OVERHEAD).sum();
        if entries.iter().any(|(score, _)| score.is_nan()) {
            return Err(Error::NotANumber);
        }
        let set = self.write(key, bytes, Access::Write, |txn, key| {
            txn.sorted_set_add(key, entries, ScoreRule::default())
        })?;
        match set {
            Ok(set) => Ok(set.added),
            Err(ScoreError::WrongKind(error)) => Err(error.into()),
            Err(ScoreError::NotANumber) => Err(Error::NotANumber),
        }
    }

    /// The score of a member of a sorted set; `None` if there is no such member or key.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no sorted set.
    pub fn sorted_set_score(&self, key: &[u8], member: &[u8]) -> Result<Option<f64>, Error> {
        Ok(self.read(key, |txn, key| txn.sorted_set_score(key, member))??)
    }

    /// How many members a sorted set has; 0 if there is no such key.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no sorted set.
    pub fn sorted_set_len(&self, key: &[u8]) -> Result<usize, Error> {
        Ok(self.read(key, |txn, key| txn.sorted_set_len(key))??)
    }

    /// The members of a sorted set with scores in a range, with their scores, in order; none if there is no such key.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = sessile::Db::open(dir.path())?;
    /// db.sorted_set_add(b"jobs", &[(30.0, b"later"), (10.0, b"now"), (20.0, b"soon")])?;
    /// assert_eq!(db.sorted_set_range_by_score(b"jobs", ..25.0)?, [(10.0, b"now".to_vec()), (20.0, b"soon".to_vec())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongKind`] if the key holds no sorted set.
    pub fn sorted_set_range_by_score(
        &self,
        key: &[u8],
        scores: impl RangeBounds<f64>,
    ) -> Result<Vec<(f64, Vec<u8>)>, Error> {
        let range = RankRange::Scores(scores.start_bound().cloned(), scores.end_bound().cloned());
        Ok(self.read(key, |txn, key| {
            let mut members = Vec::new();
            if let Some(all) = txn.sorted_set(key)? {
                all.for_each(all.ranks(&range), false, &mut |member, score| {
                    members.push((score, member.to_vec()));
                });
            }
            Ok::<_, crate::WrongKind>(members)
        })??)
    }

    /// Removes members of a sorted set, and the key with the last one; how many were there.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; as [`delete`](Self::delete).
    pub fn sorted_set_remove(&self, key: &[u8], members: &[&[u8]]) -> Result<usize, Error> {
        let bytes = members.iter().map(|member| member.len()).sum();
        Ok(self.write(key, bytes, Access::Delete, |txn, key| txn.sorted_set_remove(key, members))??)
    }

    /// An atomic step over several keys of this database: `run` gets the transaction and the hashed keys, in the order given. What it changed
    /// is acknowledged as one when this returns, also if `run` returned an error value of its own.
    ///
    /// `run` holds the locks of the keys' shards: it must not use the [`Db`], and should be brief.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = sessile::Db::open(dir.path())?;
    /// # db.set(b"cart:anonymous", b"3 apples", sessile::Expiry::Never)?;
    /// // A login takes the anonymous cart over: both keys change, or neither.
    /// db.transaction(&[b"cart:anonymous", b"cart:7"], |txn, keys| txn.rename(&keys[0], &keys[1]))?;
    /// assert_eq!(db.get(b"cart:7")?.as_deref(), Some(&b"3 apples"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn transaction<R>(
        &self,
        keys: &[&[u8]],
        run: impl FnOnce(&mut Txn<'_>, &[Key<'_>]) -> R,
    ) -> Result<R, Error> {
        for key in keys {
            within("key", key.len(), KEY_BYTES_MAX)?;
        }
        self.inner.admit(RECORD_OVERHEAD * keys.len(), Access::Write)?;
        let (keys, mut txn) = loop {
            let keys: Vec<Key<'_>> = keys.iter().map(|key| self.own_key(key)).collect();
            match self.begin(&keys, Access::Write, self.now_ms()) {
                Err(Error::DatabasesSwapped) => {}
                begun => break (keys, begun?),
            }
        };
        let result = run(&mut txn, &keys);
        self.inner.acknowledge(txn.commit())?;
        Ok(result)
    }

    /// The keys of this database, in no particular order. Keys that are there throughout are seen exactly once or, rarely, more often; others
    /// may or may not be. It locks one shard at a time, briefly. An error of [`scan`](Self::scan) is the last item.
    pub fn keys(&self) -> impl Iterator<Item = Result<Vec<u8>, Error>> + '_ {
        let mut cursor = Some(0);
        let mut batch = Vec::new();
        std::iter::from_fn(move || {
            while batch.is_empty() {
                match self.scan(self.database, cursor?, 128, &mut |key, _| batch.push(key.to_vec())) {
                    Ok(next) => cursor = (next != 0).then_some(next),
                    Err(error) => {
                        cursor = None;
                        return Some(Err(error));
                    }
                }
            }
            batch.pop().map(Ok)
        })
    }

    /// Number of keys in this database.
    pub fn len(&self) -> usize {
        self.len_of(self.database)
    }

    /// Whether this database has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
