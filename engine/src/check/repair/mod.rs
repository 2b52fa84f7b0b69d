//! Saving what can be saved of a damaged directory into a new one.
//!
//! ```text
//! survivors   which record of which segment is each key's: from the index, or, where that is damaged, from the records themselves
//! output      copies those records into new segments, and writes a snapshot of where they are
//! tail        copies the operations of the log that still make sense into a new log
//! ```
//!
//! The new directory gets its manifest last: until then no server opens it. Nothing of the old one is changed. What a repair must never do is to
//! keep silent about a loss: whatever is damaged and was needed is told of, and what may be older than it was is counted.
//!
//! Where an index file is damaged, nobody knows which of a key's records is the newest but the records: the one that the log had written last is
//! taken. A key that was deleted since its record was written can come back that way, and a deadline can be earlier than it was.

mod output;
mod survivors;
mod tail;

#[cfg(test)]
mod tests;

use super::directory::Directory;
use crate::Error;
use crate::key::KeyHasher;
use crate::manifest::Manifest;
use output::Output;
use sessile_wal::{Clock, Fs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tail::Tail;

/// Something that could not be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The file that is damaged or missing.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was there, and what is wrong with it.
    pub what: String,
}

/// What a repair came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Keys copied from segments.
    pub keys_saved: u64,
    /// Those of them of which nobody knows whether they were changed or deleted since, because an index file is damaged.
    pub keys_uncertain: u64,
    /// Keys whose record could not be read.
    pub keys_lost: u64,
    /// Keys that were past their deadline, and left out.
    pub keys_expired: u64,
    /// Operations of the log that were copied.
    pub operations_saved: u64,
    /// Operations of the log that could not be: their key is lost, or can't be told without the manifest.
    pub operations_lost: u64,
    /// Damaged places of the log and the index, files that can't be read at all, and records that may have been anybody's.
    pub gaps: u64,
}

impl RepairReport {
    /// Whether everything was saved.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.keys_lost == 0 && self.keys_uncertain == 0 && self.operations_lost == 0 && self.gaps == 0
    }
}

/// Passes losses on and counts them.
pub(super) struct Losses<'e> {
    pub(super) report: RepairReport,
    each: &'e mut dyn FnMut(&Loss),
}

impl Losses<'_> {
    fn tell(&mut self, path: &Path, offset: u64, what: String) {
        (self.each)(&Loss { path: path.into(), offset, what });
    }

    /// A key's record that can't be read.
    pub(super) fn key(&mut self, path: &Path, offset: u64, what: String) {
        self.report.keys_lost += 1;
        self.tell(path, offset, what);
    }

    /// A place of a file of which nobody knows whose it was.
    pub(super) fn place(&mut self, path: &Path, offset: u64, what: String) {
        self.report.gaps += 1;
        self.tell(path, offset, what);
    }

    /// A file, or a place of the log, of which nobody knows what was in it.
    pub(super) fn gap(&mut self, error: &Error, otherwise: &Path) {
        self.report.gaps += 1;
        let mut finding = super::FileFinding::new(otherwise.into(), super::FileKind::Foreign, 0);
        finding.damaged_by(error);
        let (offset, what) = match finding.damage.pop() {
            Some(damage) => (damage.offset, damage.reason),
            None => (0, error.to_string()),
        };
        let path = super::log::path_of_error(error).unwrap_or_else(|| otherwise.into());
        self.tell(&path, offset, what);
    }
}

/// Saves what can be read of the data directory `dir`, which no process may have open, into the directory `into`, which must not exist or be
/// empty: a sound database with a key of its own. `each` is told of everything that could not be saved. It needs about 60 bytes of memory per key.
///
/// # Errors
/// [`Error::InUse`]; [`Error::Io`] if `dir` is no data directory, `into` has files in it, or can't be written. Then `into` is no database:
/// remove it.
pub fn repair(
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    dir: &Path,
    into: &Path,
    each: &mut dyn FnMut(&Loss),
) -> Result<RepairReport, Error> {
    let directory = Directory::open(Arc::clone(&fs), dir)?;
    let mut losses = Losses { report: RepairReport::default(), each };
    let mut manifest = Manifest::generate(clock.wall_ms())?;
    if let Some(old) = directory.manifest() {
        // The log names keys by it.
        manifest.hash_key = old.hash_key;
        manifest.created_ms = old.created_ms;
        manifest.checkpoint.databases = old.checkpoint.databases;
    }
    if let Some(error) = directory.manifest_error() {
        losses.gap(error, &dir.join(crate::manifest::NAME));
    }
    let hasher = KeyHasher::new(manifest.hash_key);

    let mut tail = Tail::mentions(&directory, &hasher, &mut losses)?;
    let now_ms = clock.wall_ms().max(directory.checkpoint().time_ms).max(tail.clock_high_water_ms);
    let survivors = survivors::find(&directory, &hasher, &mut tail, now_ms, &mut losses);
    let mut output = Output::create(fs, into, manifest, now_ms)?;
    output.segments(&directory, &hasher, survivors, &mut tail, &mut losses)?;
    output.log(&directory, &hasher, &mut tail, clock, &mut losses)?;
    output.side_files(&directory, &mut losses)?;
    output.finish()?;
    Ok(losses.report)
}
