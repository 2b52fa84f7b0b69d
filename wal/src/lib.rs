//! The write-ahead log (skeleton, replaced by branch `wal`).

/// A position in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before everything.
    pub const ZERO: Lsn = Lsn(0);
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Power loss.
    Always,
    /// Any crash of the process; a power cut loses at most a second.
    #[default]
    EverySecond,
    /// Any crash of the process.
    No,
}
