//! What commands over the keyspace as a whole work on: the database itself, a transaction over all of it, or copies.

use sessile::{Db, Error, Kind, Lsn, Overlay, Txn};

/// See the module's page. Databases are numbered as clients know them.
pub trait Keyspace {
    /// A step of a walk over the keys of a database: see [`Db::scan`].
    ///
    /// # Errors
    /// As [`Db::scan`].
    fn scan(
        &mut self,
        database: u8,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<u64, Error>;

    /// A key of a database, drawn by `random`: see [`Db::random_key`].
    ///
    /// # Errors
    /// As [`Db::random_key`].
    fn random_key(&mut self, database: u8, random: u64) -> Result<Option<Vec<u8>>, Error>;

    /// How many keys a database has.
    fn len_of(&mut self, database: u8) -> usize;

    /// Removes all keys of a database, or of all; what must be acknowledged, unless that comes with something larger.
    ///
    /// # Errors
    /// As [`Db::clear`].
    fn clear(&mut self, database: Option<u8>) -> Result<Lsn, Error>;

    /// Swaps two databases, as [`clear`](Self::clear).
    ///
    /// # Errors
    /// As [`Db::swap_databases`].
    fn swap(&mut self, one: u8, other: u8) -> Result<Lsn, Error>;
}

impl Keyspace for &Db {
    fn scan(
        &mut self,
        database: u8,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<u64, Error> {
        Db::scan(self, database, cursor, count, each)
    }

    fn random_key(&mut self, database: u8, random: u64) -> Result<Option<Vec<u8>>, Error> {
        Db::random_key(self, database, random)
    }

    fn len_of(&mut self, database: u8) -> usize {
        Db::len_of(self, database)
    }

    fn clear(&mut self, database: Option<u8>) -> Result<Lsn, Error> {
        Db::clear(self, database)
    }

    fn swap(&mut self, one: u8, other: u8) -> Result<Lsn, Error> {
        self.swap_databases(one, other)
    }
}

impl Keyspace for Txn<'_> {
    fn scan(
        &mut self,
        database: u8,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<u64, Error> {
        Txn::scan(self, database, cursor, count, each)
    }

    fn random_key(&mut self, database: u8, random: u64) -> Result<Option<Vec<u8>>, Error> {
        Txn::random_key(self, database, random)
    }

    fn len_of(&mut self, database: u8) -> usize {
        Txn::len_of(self, database)
    }

    fn clear(&mut self, database: Option<u8>) -> Result<Lsn, Error> {
        Txn::clear(self, database);
        Ok(Lsn::ZERO)
    }

    fn swap(&mut self, one: u8, other: u8) -> Result<Lsn, Error> {
        self.swap_databases(one, other);
        Ok(Lsn::ZERO)
    }
}

impl Keyspace for Overlay {
    fn scan(
        &mut self,
        database: u8,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> Result<u64, Error> {
        Overlay::scan(self, database, cursor, count, each)
    }

    fn random_key(&mut self, database: u8, random: u64) -> Result<Option<Vec<u8>>, Error> {
        Overlay::random_key(self, database, random)
    }

    fn len_of(&mut self, database: u8) -> usize {
        Overlay::len_of(self, database)
    }

    fn clear(&mut self, database: Option<u8>) -> Result<Lsn, Error> {
        Overlay::clear(self, database);
        Ok(Lsn::ZERO)
    }

    fn swap(&mut self, one: u8, other: u8) -> Result<Lsn, Error> {
        Overlay::swap_databases(self, one, other);
        Ok(Lsn::ZERO)
    }
}
