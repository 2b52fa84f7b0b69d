//! What can go wrong, by what a caller can do about it. Every error names the file, and the offset where there is one.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use crate::Lsn;

/// An error of the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// The operating system refused an operation outside the write path (opening, reading, renaming). Trying again
    /// may help.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Something that had been synced is damaged. Nothing on disk was changed; the answer is the same each time.
    #[error("log file {} is damaged at offset {offset} (LSN {lsn}): {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in that file the damage begins, in bytes.
        offset: u64,
        /// The same position as an LSN.
        lsn: Lsn,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The log is sound, and another one: where it is known which batch there was, it has another. A copy of the database has gone on to write it,
    /// or what is known is of such a copy. Nothing on disk was changed.
    #[error("log file {} has another batch at offset {offset} (LSN {lsn}) than was written there: it is of another copy of the database", path.display())]
    OtherCopy {
        /// The file.
        path: PathBuf,
        /// Where the batch begins in that file, in bytes.
        offset: u64,
        /// The same position as an LSN.
        lsn: Lsn,
        /// Where the batch should end that was there.
        known: Lsn,
    },
    /// A log file is shorter than its header says.
    #[error("log file {} is truncated: {actual_bytes} bytes instead of {expected_bytes}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The length its header states, in bytes.
        expected_bytes: u64,
        /// The length it has, in bytes.
        actual_bytes: u64,
    },
    /// A log file that recovery needs is not in the directory.
    #[error("log file {} is missing; the log is needed from LSN {lsn}", path.display())]
    MissingFile {
        /// The file that should be there.
        path: PathBuf,
        /// The position from which the log is needed.
        lsn: Lsn,
    },
    /// The file belongs to another database.
    #[error("log file {} belongs to database {}, not {}", path.display(), hex(found), hex(expected))]
    WrongDatabase {
        /// The file.
        path: PathBuf,
        /// The id given in the options.
        expected: [u8; 16],
        /// The id in the file.
        found: [u8; 16],
    },
    /// The file has a format this version cannot read.
    #[error("log file {} has format version {found}; this build reads version {supported}", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version this build reads.
        supported: u32,
    },
    /// The file is encrypted, with a key this log was not given.
    #[error("log file {} is encrypted with key {key_id}, which was not given", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The id of the key.
        key_id: u32,
    },
    /// No room for more log. Nothing is lost: what was appended stays in the buffer and is written when space
    /// returns; until then it is not acknowledged.
    #[error("the disk of {} is full: no room for {needed_bytes} more bytes of log", path.display())]
    DiskFull {
        /// The log's directory.
        path: PathBuf,
        /// What was needed, in bytes.
        needed_bytes: u64,
    },
    /// A write or sync failed earlier, so it is unknown what is on the disk: the log accepts nothing more until it is
    /// opened again.
    #[error("the log is closed to writes: {0}")]
    Poisoned(Arc<Poison>),
    /// The record is longer than [`limits::RECORD_BYTES_MAX`](crate::limits::RECORD_BYTES_MAX).
    #[error("a record of {bytes} bytes is over the limit of {limit_bytes} bytes")]
    RecordTooLarge {
        /// The record's length, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// The caller's replay function refused a record.
    #[error("cannot replay the record that ends at LSN {lsn}: {source}")]
    Replay {
        /// The end of the record.
        lsn: Lsn,
        /// What the function said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An option is out of its range.
    #[error("option {name} is {value}: it must be {range}")]
    Option {
        /// Its name.
        name: &'static str,
        /// The value given.
        value: u64,
        /// What is allowed.
        range: &'static str,
    },
}

/// The failure that closed a log to writes.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of {} at offset {offset} failed: {source}", path.display())]
pub struct Poison {
    /// `write` or `sync`.
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The system's answer.
    pub source: io::Error,
}

impl WalError {
    /// Whether the disk is full, which passes by itself.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, WalError::DiskFull { .. })
    }

    /// Whether the log accepts no writes until it is opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        matches!(self, WalError::Poisoned(_))
    }
}

/// Whether the system says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Adds operation and path to an I/O error.
pub(crate) fn io_error(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> WalError {
    WalError::Io { operation, path: path.into(), source }
}

fn hex(id: &[u8; 16]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
