//! Why the engine refused, by what a caller can do about it.

use sessile_wal::WalError;
use std::io;
use std::path::PathBuf;

/// An error of the database. Each names the file it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key holds another kind of value. Use the operations of that kind, or delete the key.
    #[error(transparent)]
    WrongKind(#[from] crate::WrongKind),
    /// A score that is not a number: it would have no place in a sorted set.
    #[error("a score is not a number")]
    NotANumber,
    /// A chat was not changed.
    #[error(transparent)]
    Chat(crate::ChatError),
    /// A throttle says nothing.
    #[error(transparent)]
    Throttle(crate::ThrottleError),
    /// The disk is full: writes are refused until space returns; reads and deletes go on. It recovers by itself.
    #[error("writes are refused: {0}")]
    DiskFull(#[source] WalError),
    /// A write or sync of the log failed: writes are refused until the database is opened again; reads go on.
    #[error("writes are refused: {0}")]
    LogFailed(#[source] WalError),
    /// A key or value is longer than [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX).
    #[error("a {what} of {bytes} bytes is over the limit of {limit_bytes} bytes")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its length, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// Another process, or another handle of this one, has the directory open.
    #[error("{} is in use: {}", path.display(), match pid { Some(pid) => format!("process {pid} holds the lock"), None => "another process holds the lock".into() })]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if it could be read.
        pid: Option<u32>,
    },
    /// The manifest is not one, or is damaged. Nothing on disk was changed.
    #[error("{} is damaged at offset {offset}: {reason}", path.display())]
    DamagedManifest {
        /// The manifest.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// There are log files but no manifest, so the directory is not whole. Nothing on disk was changed.
    #[error("{} is missing, but the directory holds a log: restore it", path.display())]
    MissingManifest {
        /// Where the manifest should be.
        path: PathBuf,
    },
    /// The file was written by a version that this one can't read.
    #[error("{} has format version {found}; this build reads version {supported}", path.display())]
    UnsupportedVersion {
        /// The manifest.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that this build reads.
        supported: u32,
    },
    /// The log can't be opened: it is damaged, incomplete, or not ours. Nothing on disk was changed.
    #[error(transparent)]
    Log(WalError),
    /// The log and the index files don't fit together. The log was cut where it was torn, nothing else was changed on disk.
    #[error("the log in {} can't be replayed: {reason}", path.display())]
    BadLog {
        /// The directory.
        path: PathBuf,
        /// What doesn't fit.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The directory has reached [`Options::disk_bytes_max`](crate::Options::disk_bytes_max): writes are refused until something was deleted or has expired.
    #[error("the directory holds {used_bytes} bytes, its limit is {limit_bytes}")]
    DiskLimit {
        /// What it holds, in bytes.
        used_bytes: u64,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Memory is full, and the policy allows no key to be deleted ([`Eviction`](crate::Eviction)): writes are refused.
    #[error("memory has reached its limit of {limit_bytes} bytes, and no key may be deleted")]
    MemoryLimit {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The key's value on disk is damaged: its checksum doesn't match. The key can be deleted.
    #[error("the value of this key is damaged in {} at offset {offset}: {reason}", path.display())]
    DamagedValue {
        /// The segment.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A value that is held compressed in memory can't be read: memory is damaged.
    #[error("a value that is held compressed in memory can't be read: {reason}")]
    DamagedMemory {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file that the manifest knows (index, segment or dictionary) is damaged, shorter than it should be, or missing. Nothing on disk was changed.
    #[error("{} is damaged at offset {offset}: {reason}", path.display())]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A file that the manifest knows isn't there. Nothing on disk was changed.
    #[error("{} is missing, but the manifest knows it: restore it", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint failed; the log still has everything, and goes on growing.
    #[error("the checkpoint has failed: {reason}")]
    CheckpointFailed {
        /// What went wrong.
        reason: String,
    },
    /// All keys were removed while a checkpoint was being made: it begins anew.
    #[error("all keys were removed meanwhile")]
    Cleared,
    /// What concerns all sessions (their classes, counts or events) is not what was put there. Nothing on disk was changed.
    #[error("{} holds sessions whose {what} can't be read", path.display())]
    DamagedSessions {
        /// The directory.
        path: PathBuf,
        /// What can't be read.
        what: &'static str,
    },
    /// There are as many segments as the index can tell apart. Compaction makes room.
    #[error("{} holds as many segments as it can", path.display())]
    TooManySegments {
        /// The directory.
        path: PathBuf,
    },
    /// The system has no random bytes to give.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
    /// A walk in a transaction has come to keys that are on disk: they must be read first
    /// ([`Txn::take_wanted`](crate::Txn::take_wanted)).
    #[error("keys have to be read from disk first")]
    KeysOnDisk,
    /// Two numbered databases were swapped after the keys were hashed: hash them again.
    #[error("the databases were swapped meanwhile")]
    DatabasesSwapped,
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
}

impl Error {
    /// Of an error of the log while it serves.
    pub(crate) fn of_log(error: WalError) -> Error {
        match error {
            full if full.is_disk_full() => Error::DiskFull(full),
            WalError::RecordTooLarge { bytes, limit_bytes } => {
                Error::TooLarge { what: "write", bytes, limit_bytes }
            }
            failed => Error::LogFailed(failed),
        }
    }

    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { operation, path, source }
    }
}
