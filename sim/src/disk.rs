//! The simulated disk as the database sees it: [`SimFs`], with syncs that take their time, and, for the tests of the simulator, lies.
//!
//! A real sync runs on a thread of its own, and clients go on meanwhile. Here there is one thread: so a sync of a file in use, once begun, calls
//! whoever wants to do something [`meanwhile`], and takes effect after that. What is written during the sync is therefore durable with it, as
//! it may be on a real disk; that a *failing* sync makes only a part durable is the simulated disk's own business.
//!
//! Files that are being made ready for the log are synced without that: whoever prepares one holds the lock of the list of files, which no
//! client of a real server waits for either.

use parking_lot::Mutex;
use sessile_wal::sim::SimFs;
use sessile_wal::{DirLock, File, Fs, OpenMode};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

thread_local! {
    static MEANWHILE: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Says what goes on in this thread while a sync takes its time.
pub fn meanwhile(what: Option<Rc<dyn Fn()>>) {
    MEANWHILE.set(what);
}

/// How a disk breaks its word, so that one can see the simulator notice it. No legal disk does that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Lie {
    /// It doesn't.
    #[default]
    None,
    /// A sync of a file says that it is done, and has done nothing.
    Sync,
    /// A sync of a directory says that it is done, and has done nothing.
    SyncDirectory,
    /// A durable write is an ordinary one.
    DurableWrite,
}

const LIES: [Lie; 4] = [Lie::None, Lie::Sync, Lie::SyncDirectory, Lie::DurableWrite];

type Name = Arc<Mutex<PathBuf>>;

/// See the module's page. Clones are the same disk.
#[derive(Clone)]
pub struct SlowFs {
    sim: SimFs,
    /// The present names of open files.
    names: Arc<Mutex<BTreeMap<PathBuf, Name>>>,
    lie: Arc<AtomicU8>,
}

impl SlowFs {
    /// Over a simulated disk.
    pub fn new(sim: SimFs) -> SlowFs {
        SlowFs { sim, names: Arc::default(), lie: Arc::default() }
    }

    /// Has it lie from now on.
    pub fn tell(&self, lie: Lie) {
        self.lie.store(lie as u8, Ordering::Relaxed);
    }
}

struct SlowFile {
    file: Arc<dyn File>,
    name: Name,
    lie: Arc<AtomicU8>,
}

fn lie_of(lie: &AtomicU8) -> Lie {
    LIES.get(usize::from(lie.load(Ordering::Relaxed))).copied().unwrap_or_default()
}

impl SlowFile {
    fn take_time(&self) {
        let is_in_use = {
            let name = self.name.lock();
            let name = name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            ["wal-", "seg-", "index-"].iter().any(|kind| name.starts_with(kind))
        };
        if is_in_use && let Some(what) = MEANWHILE.with_borrow(Clone::clone) {
            what();
        }
    }
}

impl Fs for SlowFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.sim.create_dir_all(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.sim.open(path, mode)?;
        let mut names = self.names.lock();
        let name = names.entry(path.to_owned()).or_insert_with(|| Arc::new(Mutex::new(path.to_owned())));
        Ok(Arc::new(SlowFile { file, name: Arc::clone(name), lie: Arc::clone(&self.lie) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.rename(from, to)?;
        let mut names = self.names.lock();
        if let Some(name) = names.remove(from) {
            to.clone_into(&mut name.lock());
            names.insert(to.to_owned(), name);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.sim.remove(path)?;
        self.names.lock().remove(path);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.sim.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match lie_of(&self.lie) {
            Lie::SyncDirectory => Ok(()),
            _ => self.sim.sync_dir(dir),
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.sim.exists(path)
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.sim.available_bytes(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.sim.lock(path)
    }
}

impl File for SlowFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn read_at_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.file.read_at_nowait(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(buf, offset)
    }

    fn write_at_durable(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.take_time();
        match lie_of(&self.lie) {
            Lie::DurableWrite => self.file.write_at(buf, offset),
            _ => self.file.write_at_durable(buf, offset),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.take_time();
        match lie_of(&self.lie) {
            Lie::Sync => Ok(()),
            _ => self.file.sync_data(),
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
