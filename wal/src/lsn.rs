//! Log sequence numbers: byte positions in the log.

use std::fmt;

/// A position in the log, in bytes from its beginning, file headers included. A record's LSN is the position just
/// after its last byte; it grows with each append, so `acknowledged() >= lsn` says that the record, and all before
/// it, have reached the configured durability.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// Before every record.
    pub const ZERO: Lsn = Lsn(0);
    /// After every record: what appending to a poisoned log returns, and no acknowledgement ever reaches.
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// The position `bytes` from the beginning of the log.
    #[must_use]
    pub const fn new(bytes: u64) -> Lsn {
        Lsn(bytes)
    }

    /// The position as bytes from the beginning of the log.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for Lsn {
    fn from(bytes: u64) -> Lsn {
        Lsn(bytes)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> u64 {
        lsn.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({})", self.0)
    }
}
