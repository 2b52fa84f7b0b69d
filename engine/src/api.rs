//! The typed operations of a [`Db`]: each is one transaction, acknowledged when it returns.

use crate::Error;
use crate::db::Db;
use crate::expiry::{Expiry, Touch};
use crate::key::Key;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::segment::Scratch;
use crate::txn::{Access, Txn};
use crate::value::Value;
use sessile_wal::Lsn;
use std::time::Duration;

/// Bytes of a record beside key and value, generously.
const RECORD_OVERHEAD: usize = 64;

fn within(what: &'static str, bytes: usize, limit_bytes: usize) -> Result<(), Error> {
    if bytes > limit_bytes { Err(Error::TooLarge { what, bytes, limit_bytes }) } else { Ok(()) }
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

    /// Removes a field of a hash, and the key with the last one; whether it was there.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; as [`delete`](Self::delete).
    pub fn hash_remove(&self, key: &[u8], field: &[u8]) -> Result<bool, Error> {
        Ok(self.write(key, field.len(), Access::Delete, |txn, key| txn.hash_remove(key, field))??)
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
