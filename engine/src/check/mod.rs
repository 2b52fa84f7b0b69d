//! Is a data directory sound? [`check`] reads every byte that the manifest vouches for and every byte of the log behind it, and says what it
//! found, file by file. [`inventory`] says what is there without reading the data. [`repair`] saves what can be
//! saved into a new directory.
//!
//! They change nothing in the directory (but for the lock file, which they hold), and no bytes in it can make them panic.
//!
//! ```no_run
//! use sessile::check::check;
//! use std::{path::Path, sync::Arc};
//!
//! let fs = Arc::new(sessile_wal::RealFs);
//! let report = check(fs, Path::new("/var/lib/sessile"), &mut |finding| println!("{finding:?}"))?;
//! assert!(report.is_sound());
//! # Ok::<(), sessile::Error>(())
//! ```

mod directory;
#[cfg(test)]
mod fixture;
mod index;
mod inventory;
mod log;
mod repair;
mod report;
mod segments;

#[cfg(test)]
mod tests;

pub use inventory::{DictionaryUse, IndexUse, Inventory, SegmentUse, inventory};
pub use repair::{Loss, RepairReport, repair};
pub use report::{CheckReport, Damage, FileFinding, FileKind};

use crate::Error;
use crate::dictionary::Dictionary;
use crate::key::KeyHasher;
use directory::Directory;
use report::Tally;
use sessile_wal::Fs;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Verifies every checksum and cross-reference of the data directory `dir`, which no process may have open: manifest, dictionaries, every record
/// of every segment, every block and entry of the index, every batch of the log. `each` is told of each file once it was read.
///
/// Damage is no error, but found: see [`CheckReport::is_sound`]. If the manifest can't be read, the other files are checked as far as they speak
/// for themselves.
///
/// # Errors
/// [`Error::InUse`]; [`Error::Io`] if there is no directory, or nothing of ours in it.
pub fn check(fs: Arc<dyn Fs>, dir: &Path, each: &mut dyn FnMut(&FileFinding)) -> Result<CheckReport, Error> {
    let directory = Directory::open(fs, dir)?;
    let mut tally = Tally::new(directory.bytes(), each);
    tally.finding(directory.manifest_finding());
    let dictionaries = check_dictionaries(&directory, &mut tally);
    let hasher = directory.hash_key().map(KeyHasher::new);
    let records = segments::check(&directory, &dictionaries, hasher.as_ref(), &mut tally)?;
    index::check(&directory, &records, &mut tally);
    log::check(&directory, &mut tally)?;
    for finding in directory.side_findings() {
        tally.finding(finding);
    }
    for leftover in directory.leftovers() {
        tally.finding(leftover);
    }
    Ok(tally.report)
}

/// The dictionaries that are sound.
fn check_dictionaries(directory: &Directory, tally: &mut Tally<'_>) -> BTreeMap<u32, Arc<Dictionary>> {
    let mut sound = BTreeMap::new();
    for info in &directory.checkpoint().dictionaries {
        let mut finding = directory.finding(FileKind::Dictionary, &crate::dictionary::file_name(info.id));
        match directory.dictionary(info) {
            Ok(dictionary) => {
                finding.items = 1;
                sound.insert(info.id, Arc::new(dictionary));
            }
            Err(error) => finding.damaged_by(&error),
        }
        tally.finding(finding);
    }
    sound
}
