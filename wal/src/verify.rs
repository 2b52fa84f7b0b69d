//! Reading a log by the rules of opening it, without changing a byte: for a tool that says what is on disk, and whether it is sound.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Fs, Lsn, OpenMode, Recovery, Replay, WalError, WalOptions, reader::LogFile, recovery::Opening};

/// A log file that was read to where the log leaves it or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Where it begins in the log.
    pub base: Lsn,
    /// Its length, in bytes.
    pub bytes: u64,
    /// Intact batches in it.
    pub batches: u64,
    /// Their records, those below the wanted position included.
    pub records: u64,
    /// The bytes of those, without framing.
    pub record_bytes: u64,
    /// Behind the last of its batches.
    pub end: Lsn,
    /// Whether the log goes on in the next file.
    pub sealed: bool,
}

impl FileReport {
    pub(crate) fn of(file: &LogFile) -> FileReport {
        FileReport {
            path: file.path.clone(),
            base: Lsn::new(file.base),
            bytes: file.size,
            batches: 0,
            records: 0,
            record_bytes: 0,
            end: Lsn::new(file.base),
            sealed: false,
        }
    }

    pub(crate) fn ends_at(&self, position: u64, sealed: bool) -> FileReport {
        FileReport { end: Lsn::new(position), sealed, ..self.clone() }
    }
}

/// Reads the log in `dir` as [`Wal::open`](crate::Wal::open) does, and changes nothing. Of `options`, the database and how far the log is
/// known to have been durable matter. `each_file` is told of each file once it was read to its end, `replay` gets the records that end
/// after `from`. What it returns says where the log ends, and whether opening it would cut off a torn tail.
///
/// The caller sees to it that no one has the log open.
///
/// # Errors
/// Those of [`Wal::open`](crate::Wal::open), but for those of writing. What was told until then is right.
pub fn verify(
    fs: Arc<dyn Fs>,
    dir: &Path,
    options: &WalOptions,
    from: Lsn,
    each_file: &mut dyn FnMut(&FileReport),
    replay: &mut Replay<'_>,
) -> Result<Recovery, WalError> {
    let mut opening = Opening::new(fs, dir, *options, OpenMode::Read);
    opening.find_end(from, each_file, replay)?;
    Ok(opening.recovery)
}
