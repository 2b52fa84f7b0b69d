//! What a check says: of each file, and of all.

use crate::Error;
use crate::limits::DAMAGE_LISTED_MAX;
use sessile_wal::WalError;
use std::fmt;
use std::path::PathBuf;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FileKind {
    /// The manifest, which says what the others mean.
    Manifest,
    /// A compression dictionary.
    Dictionary,
    /// A segment: the sessions themselves.
    Segment,
    /// An index file: where they are.
    Index,
    /// A file of the log.
    Log,
    /// A side file: what belongs to the database and is in no key.
    Side,
    /// A file that the next start removes or uses again. It is no damage.
    Leftover,
    /// A file that is not Sessile's. It is no damage.
    Foreign,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FileKind::Manifest => "manifest",
            FileKind::Dictionary => "dictionary",
            FileKind::Segment => "segment",
            FileKind::Index => "index",
            FileKind::Log => "log",
            FileKind::Side => "side file",
            FileKind::Leftover => "leftover",
            FileKind::Foreign => "not ours",
        })
    }
}

/// A place where a file is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// What was found of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFinding {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// Its length, in bytes; 0 if it is missing.
    pub bytes: u64,
    /// Sound records of a segment or of the log, sound entries of an index file.
    pub items: u64,
    /// The first places where it is damaged.
    pub damage: Vec<Damage>,
    /// How many such places there are.
    pub damage_count: u64,
    /// Bytes of all files that have been checked by now, this one included …
    pub bytes_done: u64,
    /// … of so many.
    pub bytes_total: u64,
}

impl FileFinding {
    pub(super) fn new(path: PathBuf, kind: FileKind, bytes: u64) -> FileFinding {
        let (items, damage, damage_count) = (0, Vec::new(), 0);
        FileFinding { path, kind, bytes, items, damage, damage_count, bytes_done: 0, bytes_total: 0 }
    }

    /// Whether nothing is wrong with it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage_count == 0
    }

    pub(super) fn damaged(&mut self, offset: u64, reason: impl Into<String>) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_LISTED_MAX {
            self.damage.push(Damage { offset, reason: reason.into() });
        }
    }

    /// By an error about this file, or about what was expected of it.
    pub(super) fn damaged_by(&mut self, error: &Error) {
        match error {
            Error::DamagedManifest { offset, reason, .. }
            | Error::DamagedFile { offset, reason, .. }
            | Error::DamagedValue { offset, reason, .. }
            | Error::Log(WalError::Corrupt { offset, reason, .. }) => self.damaged(*offset, *reason),
            Error::Log(WalError::OtherCopy { offset, .. }) => {
                self.damaged(
                    *offset,
                    "another batch was written here: the log is of another copy of the database",
                );
            }
            Error::MissingFile { .. } | Error::Log(WalError::MissingFile { .. }) => {
                self.damaged(0, "it is missing");
            }
            Error::Log(WalError::Truncated { expected_bytes, actual_bytes, .. }) => {
                self.damaged(
                    *actual_bytes,
                    format!("it is truncated: it should have {expected_bytes} bytes"),
                );
            }
            other => self.damaged(0, other.to_string()),
        }
    }
}

/// What a check found in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Files that were read, leftovers not included.
    pub files: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// How many of them are damaged or missing.
    pub damaged_files: u64,
    /// In how many places.
    pub damage_count: u64,
    /// Sound records in segments, dead ones included.
    pub segment_records: u64,
    /// Keys that the index knows, as of the last checkpoint; those past their deadline not included.
    pub keys: u64,
    /// Those of them whose record is damaged or missing.
    pub keys_lost: u64,
    /// Records of the log behind the checkpoint.
    pub log_records: u64,
    /// Bytes of an unfinished write at the end of the log, which the next start cuts off. It is no damage.
    pub torn_bytes: u64,
}

impl CheckReport {
    /// Whether nothing is damaged, missing or contradictory.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage_count == 0 && self.keys_lost == 0
    }
}

/// Adds findings up and passes them on.
pub(super) struct Tally<'e> {
    pub(super) report: CheckReport,
    bytes_done: u64,
    bytes_total: u64,
    each: &'e mut dyn FnMut(&FileFinding),
}

impl<'e> Tally<'e> {
    pub(super) fn new(bytes_total: u64, each: &'e mut dyn FnMut(&FileFinding)) -> Tally<'e> {
        Tally { report: CheckReport::default(), bytes_done: 0, bytes_total, each }
    }

    /// All that there is to read was read.
    pub(super) fn all_read(&mut self) {
        self.bytes_done = self.bytes_total;
    }

    pub(super) fn finding(&mut self, mut finding: FileFinding) {
        let report = &mut self.report;
        if !matches!(finding.kind, FileKind::Leftover | FileKind::Foreign) {
            report.files += 1;
            report.bytes += finding.bytes;
            self.bytes_done += finding.bytes;
        }
        report.damaged_files += u64::from(!finding.is_sound());
        report.damage_count += finding.damage_count;
        finding.bytes_done = self.bytes_done.min(self.bytes_total);
        finding.bytes_total = self.bytes_total;
        (self.each)(&finding);
    }
}
