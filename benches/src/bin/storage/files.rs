//! What is in a data directory, and what of it is in the page cache.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Failure;

/// Bytes that a directory's files occupy, as `du` counts them, by what they are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Occupied {
    /// Segments.
    pub(crate) segments: u64,
    /// Index snapshots and deltas.
    pub(crate) index: u64,
    /// The log, and its files that are kept to be used again.
    pub(crate) log: u64,
    /// Anything else.
    pub(crate) other: u64,
}

impl Occupied {
    /// Of a directory, and those in it. A file that is removed meanwhile counts nothing.
    pub(crate) fn of(directory: &Path) -> Result<Occupied, Failure> {
        let mut occupied = Occupied::default();
        for file in std::fs::read_dir(directory)? {
            let file = file?;
            let Ok(metadata) = file.metadata() else { continue };
            if metadata.is_dir() {
                occupied.other += Occupied::of(&file.path())?.total();
                continue;
            }
            let name = file.file_name().to_string_lossy().into_owned();
            let bytes = metadata.blocks() * 512;
            *match name.rsplit_once('.').map(|(_, ending)| ending) {
                Some("seg") => &mut occupied.segments,
                Some("idx") => &mut occupied.index,
                Some("log" | "wal") => &mut occupied.log,
                _ => &mut occupied.other,
            } += bytes;
        }
        Ok(occupied)
    }

    /// All of it.
    pub(crate) fn total(&self) -> u64 {
        self.without_log() + self.log
    }

    /// What is left without the log.
    pub(crate) fn without_log(&self) -> u64 {
        self.segments + self.index + self.other
    }
}

/// Takes a directory's files out of the page cache, after they were synced: what is read next comes from the disk.
pub(crate) fn forget_pages(directory: &Path) -> Result<(), Failure> {
    for file in std::fs::read_dir(directory)? {
        let path = file?.path();
        if path.is_dir() {
            forget_pages(&path)?;
            continue;
        }
        let file = std::fs::File::open(&path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}
