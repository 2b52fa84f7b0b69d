//! The log's files: making the next one ahead of use, in bounded steps; taking it into use; releasing old ones.
//!
//! A file is written through with zeros (or is one that already was: a spare), then gets its header, is synced, renamed
//! to its final name, and the directory is synced. Only then may a seal in the file before it point to it, so a file
//! that recovery needs always exists. Nothing here touches batches, and a failure here leaves the log as it was: the
//! half-made file is given up and the next attempt begins anew.
//!
//! [`Files`] works, and whoever holds it may be waiting for a disk. What is done stands on the [`Shelf`], whose lock is never held across I/O:
//! a writer that goes on to its next file, and whoever asks for figures, take that lock only and wait for no disk.
//!
//! Lock order: `Files` before `Buffer` before `Shelf`.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use crate::{
    Fs, OpenMode, WalError,
    error::{io_error, is_full},
    format::{FileHeader, VERSION, log_name, new_name, spare_name},
    fs::File,
    limits::{FILE_HEADER_BYTES, PREPARE_CHUNK_BYTES, PREPARE_WRITE_BYTES},
    sync::{Mutex, MutexGuard},
};

static ZEROS: [u8; PREPARE_WRITE_BYTES] = [0; PREPARE_WRITE_BYTES];

/// A file that waits to be used again.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

/// A file in the making.
struct Making {
    base: u64,
    size: u64,
    name: String,
    file: Arc<dyn File>,
    zeroed: u64,
}

/// A file under its final name, not yet in use.
struct Ready {
    size: u64,
    file: Arc<dyn File>,
}

/// The files that nobody works on.
#[derive(Default)]
struct Shelved {
    /// Files with log in them, by base; value: size.
    live: BTreeMap<u64, u64>,
    ready: BTreeMap<u64, Ready>,
    spares: Vec<Spare>,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Shelved>);

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Shelved> {
        self.0.lock()
    }

    /// Whether the file is ready to be taken.
    pub(crate) fn has(&self, base: u64, size: u64) -> bool {
        self.lock().ready.get(&base).is_some_and(|ready| ready.size == size)
    }

    /// Takes the file into use, if it is ready.
    pub(crate) fn take(&self, base: u64, size: u64) -> Option<Arc<dyn File>> {
        let mut shelved = self.lock();
        let ready = shelved.ready.remove(&base)?;
        if ready.size != size {
            shelved.ready.insert(base, ready);
            return None;
        }
        shelved.live.insert(base, size);
        Some(ready.file)
    }

    /// Log files, spare files, and their total size in bytes.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let Shelved { live, ready, spares } = &*self.lock();
        let sizes = live.values().copied().chain(ready.values().map(|ready| ready.size));
        let bytes = sizes.chain(spares.iter().map(|spare| spare.bytes)).sum();
        ((live.len() + ready.len()) as u64, spares.len() as u64, bytes)
    }
}

/// The work on files: one thread at a time.
pub(crate) struct Files {
    fs: Arc<dyn Fs>,
    dir: std::path::PathBuf,
    database_id: [u8; 16],
    spare_bytes_max: u64,
    shelf: Arc<Shelf>,
    making: Option<Making>,
    next_spare: u64,
    /// Whether names were changed that are not known to be durable. A spare may be overwritten only once its old name
    /// is gone for good: else a power cut could bring that name back with another file's bytes behind it.
    names_unsynced: bool,
}

impl Files {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        database_id: [u8; 16],
        spare_bytes_max: u64,
        spares: Vec<Spare>,
    ) -> Files {
        let next_spare = spares.iter().map(|spare| spare.number + 1).max().unwrap_or(0);
        let shelf = Shelf(Mutex::new(Shelved { spares, ..Shelved::default() }));
        Files {
            fs,
            dir: dir.to_owned(),
            database_id,
            spare_bytes_max,
            shelf: Arc::new(shelf),
            making: None,
            next_spare,
            names_unsynced: true,
        }
    }

    /// What is done.
    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// Says which files have log in them, as recovery found them.
    pub(crate) fn set_live(&mut self, live: BTreeMap<u64, u64>) {
        self.shelf.lock().live = live;
    }

    /// Works on the file of `size` at `base` for one bounded step. True when it is ready.
    pub(crate) fn prepare_step(&mut self, base: u64, size: u64) -> Result<bool, WalError> {
        if self.shelf.has(base, size) {
            return Ok(true);
        }
        let mut making = match self.making.take() {
            Some(making) if making.base == base && making.size == size => making,
            Some(other) => {
                self.give_up(other);
                self.begin(base, size)?
            }
            None => self.begin(base, size)?,
        };
        match self.advance(&mut making) {
            Ok(false) => {
                self.making = Some(making);
                Ok(false)
            }
            Ok(true) => {
                self.shelf.lock().ready.insert(base, Ready { size, file: making.file });
                Ok(true)
            }
            Err(source) => {
                let path = self.dir.join(&making.name);
                self.give_up(making);
                Err(self.failed("prepare", &path, size, source))
            }
        }
    }

    /// Makes the file now, in as many steps as it takes.
    pub(crate) fn prepare(&mut self, base: u64, size: u64) -> Result<(), WalError> {
        while !self.prepare_step(base, size)? {}
        Ok(())
    }

    /// Takes the file into use, making it first if need be.
    pub(crate) fn take(&mut self, base: u64, size: u64) -> Result<Arc<dyn File>, WalError> {
        self.prepare(base, size)?;
        let Some(file) = self.shelf.take(base, size) else { unreachable!("prepare_step said it is ready") };
        Ok(file)
    }

    /// The size of a spare that could serve as a file of at least `bytes`, without being wastefully large.
    pub(crate) fn spare_for(&self, bytes: u64, bytes_max: u64) -> Option<u64> {
        let shelved = self.shelf.lock();
        shelved.spares.iter().map(|spare| spare.bytes).filter(|size| (bytes..=bytes_max).contains(size)).min()
    }

    /// Whether preparing a file of `size` needs space the disk has.
    pub(crate) fn has_space(&self, size: u64) -> Result<bool, WalError> {
        if self.shelf.lock().spares.iter().any(|spare| spare.bytes == size)
            || self.making.as_ref().is_some_and(|making| making.size == size)
        {
            return Ok(true);
        }
        let free = self
            .fs
            .available_bytes(&self.dir)
            .map_err(|e| io_error("ask for the free space of", &self.dir, e))?;
        Ok(free >= size)
    }

    /// Turns the files wholly below `upto`, except the newest, into spares. Returns how many.
    ///
    /// A file stays until the next one has a batch that is durable: reading begins there then, and only that batch tells which epoch the
    /// ones behind it must have. Without it, leftovers of an earlier use of the same positions would pass for the log.
    pub(crate) fn release(&mut self, upto: u64) -> Result<usize, WalError> {
        let below: Vec<(u64, u64)> = {
            let shelved = self.shelf.lock();
            let newest = shelved.live.last_key_value().map_or(0, |(base, _)| *base);
            let sizes = shelved.live.iter().map(|(base, size)| (*base, *size));
            sizes
                .take_while(|(base, size)| base + size + (FILE_HEADER_BYTES as u64) < upto && *base != newest)
                .collect()
        };
        for (base, size) in &below {
            self.retire(&log_name(*base), *size)?;
            self.shelf.lock().live.remove(base);
        }
        self.sync_names()?;
        Ok(below.len())
    }

    /// Makes the names durable, if any changed.
    pub(crate) fn sync_names(&mut self) -> Result<(), WalError> {
        if self.names_unsynced {
            self.fs.sync_dir(&self.dir).map_err(|e| io_error("sync", &self.dir, e))?;
            self.names_unsynced = false;
        }
        Ok(())
    }

    /// Turns a written-through file into a spare, or removes it when there are enough. The names are synced before a
    /// spare is used.
    pub(crate) fn retire(&mut self, name: &str, bytes: u64) -> Result<(), WalError> {
        let path = self.dir.join(name);
        self.names_unsynced = true;
        let kept: u64 = self.shelf.lock().spares.iter().map(|spare| spare.bytes).sum();
        if kept + bytes > self.spare_bytes_max {
            return self.fs.remove(&path).map_err(|e| io_error("remove", &path, e));
        }
        let number = self.next_spare;
        self.fs
            .rename(&path, &self.dir.join(spare_name(number)))
            .map_err(|e| io_error("rename", &path, e))?;
        self.next_spare += 1;
        self.shelf.lock().spares.push(Spare { number, bytes });
        Ok(())
    }

    fn begin(&mut self, base: u64, size: u64) -> Result<Making, WalError> {
        // A ready file of another size has its name: a record turned out to need a larger one.
        let other = self.shelf.lock().ready.remove(&base);
        if let Some(ready) = other {
            self.retire(&log_name(base), ready.size)?;
        }
        self.sync_names()?;
        let spare = {
            let spares = &mut self.shelf.lock().spares;
            spares.iter().position(|spare| spare.bytes == size).map(|at| spares.swap_remove(at))
        };
        if let Some(spare) = spare {
            let name = spare_name(spare.number);
            let path = self.dir.join(&name);
            let file = self.fs.open(&path, OpenMode::ReadWrite).map_err(|e| io_error("open", &path, e))?;
            return Ok(Making { base, size, name, file, zeroed: size });
        }
        let name = new_name(base);
        let path = self.dir.join(&name);
        if self.fs.exists(&path).map_err(|e| io_error("look for", &path, e))? {
            self.fs.remove(&path).map_err(|e| io_error("remove", &path, e))?;
        }
        let file = self
            .fs
            .open(&path, OpenMode::CreateNew)
            .map_err(|source| self.failed("create", &path, size, source))?;
        Ok(Making { base, size, name, file, zeroed: 0 })
    }

    fn advance(&mut self, making: &mut Making) -> io::Result<bool> {
        if making.zeroed < making.size {
            let end = making.size.min(making.zeroed + PREPARE_CHUNK_BYTES as u64);
            while making.zeroed < end {
                let bytes = (end - making.zeroed).min(PREPARE_WRITE_BYTES as u64);
                making.file.write_at(&ZEROS[..bytes as usize], making.zeroed)?;
                making.zeroed += bytes;
            }
            making.file.sync_data()?;
            if making.zeroed < making.size {
                return Ok(false);
            }
        }
        let header = FileHeader {
            version: VERSION,
            database_id: self.database_id,
            key_id: 0,
            base: making.base,
            size: making.size,
        };
        const { assert!(FILE_HEADER_BYTES == 4096) };
        making.file.write_at(header.encode().as_slice(), 0)?;
        making.file.sync_data()?;
        self.fs.rename(&self.dir.join(&making.name), &self.dir.join(log_name(making.base)))?;
        self.fs.sync_dir(&self.dir)?;
        Ok(true)
    }

    /// Forgets a file in the making. What cannot be removed now is removed at the next open.
    fn give_up(&mut self, making: Making) {
        let _ = self.fs.remove(&self.dir.join(making.name));
    }

    fn failed(&self, operation: &'static str, path: &Path, needed_bytes: u64, source: io::Error) -> WalError {
        if is_full(&source) {
            WalError::DiskFull { path: self.dir.clone(), needed_bytes }
        } else {
            io_error(operation, path, source)
        }
    }
}
