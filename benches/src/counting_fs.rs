//! The real file system, counting what a disk has to write: the pages that are dirty when a file is synced. Unlike the disk's own counter it
//! knows which files they belong to, and nobody else's writes are in it; what the file system writes for itself (journal, inodes) is not.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sessile_wal::{DirLock, File, Fs, OpenMode, RealFs};

const PAGE_BYTES: u64 = 4096;

/// Bytes written, by what was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Synced {
    /// Log files: records, in whole pages.
    pub log: u64,
    /// Log files: the zeros that they are filled with before they are used for the first time.
    pub log_zeros: u64,
    /// Segments.
    pub segments: u64,
    /// Index snapshots and deltas.
    pub index: u64,
    /// Manifests, dictionaries, the lock.
    pub other: u64,
    /// How often a file or a directory was synced.
    pub syncs: u64,
}

impl Synced {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.log + self.log_zeros + self.segments + self.index + self.other
    }

    /// What was written since another count.
    #[must_use]
    pub fn since(&self, before: &Synced) -> Synced {
        Synced {
            log: self.log - before.log,
            log_zeros: self.log_zeros - before.log_zeros,
            segments: self.segments - before.segments,
            index: self.index - before.index,
            other: self.other - before.other,
            syncs: self.syncs - before.syncs,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Log,
    LogZeros,
    Segment,
    Index,
    Other,
}

/// See the module's page.
#[derive(Clone, Default)]
pub struct CountingFs {
    synced: Arc<Mutex<Synced>>,
}

impl CountingFs {
    /// What was synced so far.
    pub fn synced(&self) -> Synced {
        *self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Synced)) {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        synced.syncs += 1;
        change(&mut synced);
    }
}

impl Fs for CountingFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir_all(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("log" | "wal") => Kind::Log,
            Some("seg") => Kind::Segment,
            Some("idx") => Kind::Index,
            _ => Kind::Other,
        };
        let file = RealFs.open(path, mode)?;
        Ok(Arc::new(CountingFile { file, kind, fs: self.clone(), dirty: Mutex::default() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.count(|_| ());
        RealFs.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFs.exists(path)
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealFs.available_bytes(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        RealFs.lock(path)
    }
}

struct CountingFile {
    file: Arc<dyn File>,
    kind: Kind,
    fs: CountingFs,
    dirty: Mutex<BTreeMap<Kind, BTreeSet<u64>>>,
}

fn pages(offset: u64, bytes: usize) -> std::ops::Range<u64> {
    offset / PAGE_BYTES..(offset + bytes as u64).div_ceil(PAGE_BYTES)
}

impl CountingFile {
    fn kind_of(&self, bytes: &[u8]) -> Kind {
        let zeros = self.kind == Kind::Log && bytes.len() >= 4096 && bytes.iter().all(|byte| *byte == 0);
        if zeros { Kind::LogZeros } else { self.kind }
    }

    fn add(synced: &mut Synced, kind: Kind, bytes: u64) {
        *match kind {
            Kind::Log => &mut synced.log,
            Kind::LogZeros => &mut synced.log_zeros,
            Kind::Segment => &mut synced.segments,
            Kind::Index => &mut synced.index,
            Kind::Other => &mut synced.other,
        } += bytes;
    }
}

impl File for CountingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn read_at_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.file.read_at_nowait(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(buf, offset)?;
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.entry(self.kind_of(buf)).or_default().extend(pages(offset, buf.len()));
        Ok(())
    }

    fn write_at_durable(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at_durable(buf, offset)?;
        let pages = pages(offset, buf.len());
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        for dirty in dirty.values_mut() {
            dirty.retain(|page| !pages.contains(page));
        }
        drop(dirty);
        let kind = self.kind_of(buf);
        self.fs.count(|synced| Self::add(synced, kind, (pages.end - pages.start) * PAGE_BYTES));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        let dirty = std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        self.fs.count(|synced| {
            for (kind, pages) in dirty {
                Self::add(synced, kind, pages.len() as u64 * PAGE_BYTES);
            }
        });
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_once_per_sync() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let fs = CountingFs::default();
        let file = fs.open(&directory.path().join("wal-0.log"), OpenMode::Create)?;
        file.write_at(&[0; 8192], 0)?;
        file.sync_data()?;
        file.write_at(b"a record", 4000)?;
        file.write_at(b"another, over the end of the page; and more than that, until it is surely over it, which is here at last", 4008)?;
        assert_eq!(fs.synced().log, 0, "nothing was synced");
        file.sync_data()?;
        file.sync_data()?;
        file.write_at_durable(b"at once", 0)?;
        let synced = fs.synced();
        assert_eq!((synced.log_zeros, synced.log, synced.total()), (8192, 12_288, 20_480));
        Ok(())
    }
}
