//! What the simulated machine holds: files, names, what of them is durable, and the faults that were ordered.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use super::Rng;

const SECTOR_BYTES: u64 = 512;

/// How an ordered failure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An I/O error (EIO).
    Io,
    /// No space left (ENOSPC).
    Full,
    /// The call did less than it was asked and gave up.
    Short,
    /// A read finds less than was asked for, as at the end of a file, and says no more than that. Other calls as [`Fault::Short`].
    Early,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Fault::Io => io::Error::other("simulated I/O error"),
            Fault::Full => io::Error::new(io::ErrorKind::StorageFull, "simulated full disk"),
            Fault::Short | Fault::Early => {
                io::Error::new(io::ErrorKind::WriteZero, "simulated short transfer")
            }
        }
    }
}

/// What kind of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reading from a file.
    Read,
    /// Writing to a file, setting its length.
    Write,
    /// Syncing a file or a directory.
    Sync,
    /// Opening, making, renaming, removing, listing; locking; asking for lengths and space.
    Name,
}

/// For how long a [`FaultPlan`] goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// One call fails.
    Once,
    /// It fails, and so do all later calls of its kind.
    SameKind,
    /// It fails, and so do all later calls.
    All,
}

/// Which calls are to fail, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// The first of them: 1 is the next call.
    pub call: u64,
    /// How they fail.
    pub fault: Fault,
    /// Which later ones fail too.
    pub lasts: Lasts,
}

/// A plan under way.
#[derive(Clone, Copy, Debug)]
struct Planned {
    at: u64,
    plan: FaultPlan,
    /// The kind of the call that failed first.
    kind: Option<Call>,
}

/// Something a file has undergone since its last sync.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    /// A durable write among pending ones: always kept, and over those before it.
    Durable(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What the program sees.
    pub(super) cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// Something a directory has undergone since its last sync.
#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Unlink(PathBuf),
}

impl NameChange {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) => path.parent() == Some(dir),
            NameChange::Rename(from, to, _) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Rename(from, to, inode) => {
                // The source may by now be another file's name.
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                names.remove(path);
            }
        }
    }
}

/// Whether a call goes on, and how it ends if not.
pub(super) enum Verdict {
    Go,
    /// It takes effect in part and fails so.
    Fail(io::Error),
    /// A read that finds less.
    Less,
}

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) rng: Rng,
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Handles of earlier lives are dead.
    pub(super) life: u64,
    pub(super) calls: u64,
    die_at: Option<u64>,
    fail_at: Option<(u64, Fault)>,
    planned: Option<Planned>,
    /// Calls that failed as ordered.
    pub(super) failures: u64,
    /// Files of this life that are open.
    pub(super) open_files: u64,
    down: bool,
    pub(super) space_bytes: Option<u64>,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Disk {
        Disk {
            rng: Rng::new(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            dirs: BTreeSet::new(),
            locks: BTreeSet::new(),
            life: 0,
            calls: 0,
            die_at: None,
            fail_at: None,
            planned: None,
            failures: 0,
            open_files: 0,
            down: false,
            space_bytes: None,
        }
    }

    pub(super) fn fork(&self, seed: u64) -> Disk {
        let mut copy = self.clone();
        copy.rng = Rng::new(seed);
        copy.restart();
        copy
    }

    pub(super) fn down_error() -> io::Error {
        io::Error::other("simulated crash: this handle belongs to a process that is gone")
    }

    /// Counts a call and decides its fate.
    pub(super) fn enter(&mut self, call: Call) -> io::Result<Verdict> {
        if self.down {
            return Err(Self::down_error());
        }
        self.calls += 1;
        if self.die_at.is_some_and(|at| self.calls >= at) {
            self.down = true;
            return Ok(Verdict::Fail(Self::down_error()));
        }
        match self.fail_at {
            Some((at, fault)) if self.calls >= at => {
                self.fail_at = None;
                self.failures += 1;
                Ok(Verdict::Fail(fault.error()))
            }
            _ => Ok(self.follow_plan(call)),
        }
    }

    fn follow_plan(&mut self, call: Call) -> Verdict {
        let Some(planned) = self.planned.as_mut().filter(|planned| self.calls >= planned.at) else {
            return Verdict::Go;
        };
        let fails = match (planned.kind, planned.plan.lasts) {
            (None, _) | (Some(_), Lasts::All) => true,
            (Some(_), Lasts::Once) => false,
            (Some(kind), Lasts::SameKind) => kind == call,
        };
        planned.kind.get_or_insert(call);
        if !fails {
            return Verdict::Go;
        }
        self.failures += 1;
        match planned.plan.fault {
            Fault::Early if call == Call::Read => Verdict::Less,
            fault => Verdict::Fail(fault.error()),
        }
    }

    pub(super) fn plan(&mut self, plan: FaultPlan) {
        self.planned = Some(Planned { at: self.calls + plan.call.max(1), plan, kind: None });
    }

    pub(super) fn failed_kind(&self) -> Option<Call> {
        self.planned.and_then(|planned| planned.kind)
    }

    pub(super) fn die_after(&mut self, calls: u64) {
        self.die_at = Some(self.calls + calls.max(1));
    }

    pub(super) fn fail_after(&mut self, calls: u64, fault: Fault) {
        self.fail_at = Some((self.calls + calls.max(1), fault));
    }

    pub(super) fn clear_faults(&mut self) {
        (self.die_at, self.fail_at, self.planned) = (None, None, None);
    }

    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    /// Starts the next life of the machine's processes.
    pub(super) fn restart(&mut self) {
        self.life += 1;
        self.down = false;
        self.open_files = 0;
        self.locks.clear();
        self.clear_faults();
    }

    /// Loses any legal subset of what is not durable.
    pub(super) fn cut_power(&mut self) {
        let rng = &mut self.rng;
        let names_kept = keep_percent(rng);
        for change in std::mem::take(&mut self.pending_names) {
            if rng.chance(names_kept) {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        for inode in &mut self.inodes {
            if !inode.pending.is_empty() {
                let pending = std::mem::take(&mut inode.pending);
                keep_some(rng, &mut inode.durable, &pending);
            }
            inode.cached.clone_from(&inode.durable);
        }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let live: BTreeSet<usize> = self.names.values().copied().collect();
        live.iter().map(|inode| self.inodes[*inode].cached.len() as u64).sum()
    }

    /// Whether a file may grow to that length.
    pub(super) fn has_space(&self, inode: usize, bytes: u64) -> bool {
        let Some(limit) = self.space_bytes else { return true };
        let more = bytes.saturating_sub(self.inodes[inode].cached.len() as u64);
        more == 0 || self.used_bytes() + more <= limit
    }

    pub(super) fn write(&mut self, inode: usize, offset: u64, bytes: &[u8]) {
        let inode = &mut self.inodes[inode];
        write_into(&mut inode.cached, offset, bytes);
        inode.pending.push(Change::Write(offset, bytes.to_vec()));
    }

    /// A durable write: durable itself, and over whatever was pending in its range.
    pub(super) fn write_durable(&mut self, inode: usize, offset: u64, bytes: &[u8]) {
        let inode = &mut self.inodes[inode];
        write_into(&mut inode.cached, offset, bytes);
        write_into(&mut inode.durable, offset, bytes);
        // Earlier pending writes must not come up again over it.
        if !inode.pending.is_empty() {
            inode.pending.push(Change::Durable(offset, bytes.to_vec()));
        }
    }

    pub(super) fn set_len(&mut self, inode: usize, bytes: u64) {
        let inode = &mut self.inodes[inode];
        inode.cached.resize(bytes as usize, 0);
        inode.pending.push(Change::Length(bytes));
    }

    pub(super) fn sync(&mut self, inode: usize) {
        let inode = &mut self.inodes[inode];
        for change in std::mem::take(&mut inode.pending) {
            match change {
                Change::Write(offset, bytes) | Change::Durable(offset, bytes) => {
                    write_into(&mut inode.durable, offset, &bytes);
                }
                Change::Length(bytes) => inode.durable.resize(bytes as usize, 0),
            }
        }
    }

    /// A sync that failed: some is durable, and nothing is pending any more. If the machine died in it, the rest is
    /// still pending.
    pub(super) fn sync_in_part(&mut self, inode: usize) {
        let inode = &mut self.inodes[inode];
        keep_some(&mut self.rng, &mut inode.durable, &inode.pending);
        if !self.down {
            inode.pending.clear();
        }
    }

    pub(super) fn link(&mut self, path: &Path) -> usize {
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.change_names(NameChange::Link(path.to_owned(), inode));
        inode
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change_names(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        if !self.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change_names(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        for change in std::mem::take(&mut self.pending_names) {
            if change.touches(dir) {
                change.apply(&mut self.durable_names);
            } else {
                self.pending_names.push(change);
            }
        }
    }

    /// A directory sync that failed or died: some of it is durable, the rest is still to be synced.
    pub(super) fn sync_dir_in_part(&mut self, dir: &Path) {
        for change in std::mem::take(&mut self.pending_names) {
            if change.touches(dir) && self.rng.chance(50) {
                change.apply(&mut self.durable_names);
            } else {
                self.pending_names.push(change);
            }
        }
    }

    pub(super) fn flip_bit(&mut self, path: &Path, offset: u64, bit: u8) -> bool {
        let Some(inode) = self.names.get(path).copied() else { return false };
        let inode = &mut self.inodes[inode];
        let mask = 1 << (bit % 8);
        for bytes in [&mut inode.cached, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= mask;
            }
        }
        offset < inode.cached.len() as u64
    }
}

/// How much of something a power cut keeps: often nothing or everything.
fn keep_percent(rng: &mut Rng) -> u64 {
    [0, 10, 50, 90, 100][rng.below(5) as usize]
}

/// Applies any legal subset of `pending` to `durable`.
fn keep_some(rng: &mut Rng, durable: &mut Vec<u8>, pending: &[Change]) {
    // A prefix, or single sectors.
    let prefix = rng.chance(40);
    let percent = keep_percent(rng);
    let total: u64 = pending.iter().map(sectors).sum();
    let mut left = if prefix { rng.below(total + 1) } else { 0 };
    let mut kept = |rng: &mut Rng| {
        if prefix {
            let keep = left > 0;
            left = left.saturating_sub(1);
            keep
        } else {
            rng.chance(percent)
        }
    };
    for change in pending {
        match change {
            Change::Length(bytes) => {
                if kept(rng) {
                    durable.resize(*bytes as usize, 0);
                }
            }
            Change::Durable(offset, bytes) => write_into(durable, *offset, bytes),
            Change::Write(offset, bytes) => {
                let end = offset + bytes.len() as u64;
                let mut at = *offset;
                while at < end {
                    let to = (at - at % SECTOR_BYTES + SECTOR_BYTES).min(end);
                    if kept(rng) {
                        write_into(durable, at, &bytes[(at - offset) as usize..(to - offset) as usize]);
                    }
                    at = to;
                }
            }
        }
    }
}

fn sectors(change: &Change) -> u64 {
    match change {
        Change::Length(_) => 1,
        Change::Durable(..) => 0,
        Change::Write(offset, bytes) => {
            (offset + bytes.len() as u64).div_ceil(SECTOR_BYTES) - offset / SECTOR_BYTES
        }
    }
}

fn write_into(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset as usize..end].copy_from_slice(bytes);
}
