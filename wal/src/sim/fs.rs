//! The simulated disk behind the [`Fs`] seam.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::disk::{Call, Disk, Fault, FaultPlan, Verdict};
use crate::{
    fs::{DirLock, File, Fs, LockHeld, OpenMode},
    sync::Mutex,
};

/// A simulated disk; clones are the same disk. See the [module](crate::sim) for what it may do.
#[derive(Clone, Debug)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
}

impl SimFs {
    /// An empty disk whose every decision follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> SimFs {
        SimFs { disk: Arc::new(Mutex::new(Disk::new(seed))) }
    }

    /// Cuts the power and starts the machine again: any legal subset of what was not synced is lost.
    pub fn crash(&self) {
        let mut disk = self.disk.lock();
        disk.restart();
        disk.cut_power();
    }

    /// Ends the process and lets another start: nothing is lost, and nothing is synced.
    pub fn kill(&self) {
        self.disk.lock().restart();
    }

    /// The `calls`-th call from now (1 is the next) takes effect in part; it and all later ones fail, until
    /// [`SimFs::crash`] or [`SimFs::kill`].
    pub fn crash_after(&self, calls: u64) {
        self.disk.lock().die_after(calls);
    }

    /// The `calls`-th call from now (1 is the next) takes effect in part and fails; later ones do not.
    pub fn fail_after(&self, calls: u64, fault: Fault) {
        self.disk.lock().fail_after(calls, fault);
    }

    /// From some call on, calls fail as the plan says, having taken effect in part. It takes the place of an earlier plan.
    pub fn fail(&self, plan: FaultPlan) {
        self.disk.lock().plan(plan);
    }

    /// The kind of the call that was the first to fail by the plan, if it has come.
    #[must_use]
    pub fn failed_kind(&self) -> Option<Call> {
        self.disk.lock().failed_kind()
    }

    /// How many calls have failed because that was ordered.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.disk.lock().failures
    }

    /// How many files are open, and how many locks are held.
    #[must_use]
    pub fn handles(&self) -> (u64, usize) {
        let disk = self.disk.lock();
        (disk.open_files, disk.locks.len())
    }

    /// Forgets ordered faults that have not come yet, and those that would go on.
    pub fn clear_faults(&self) {
        self.disk.lock().clear_faults();
    }

    /// Whether an ordered crash has come, so that every call fails.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.disk.lock().is_down()
    }

    /// How many calls were made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk.lock().calls
    }

    /// Limits how much all files together may hold, in bytes.
    pub fn set_space_bytes(&self, bytes: Option<u64>) {
        self.disk.lock().space_bytes = bytes;
    }

    /// How much all files together hold, in bytes.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.disk.lock().used_bytes()
    }

    /// Changes one bit of a file, as it is stored and as it is read. False if there is no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        self.disk.lock().flip_bit(path, offset, bit)
    }

    /// An independent copy of the whole disk as it is now, with its own handles, for trying one thing many times.
    #[must_use]
    pub fn fork(&self, seed: u64) -> SimFs {
        let disk = self.disk.lock().fork(seed);
        SimFs { disk: Arc::new(Mutex::new(disk)) }
    }

    fn file(&self, disk: &mut Disk, inode: usize) -> Arc<dyn File> {
        disk.open_files += 1;
        Arc::new(SimFile { disk: self.disk.clone(), inode, life: disk.life })
    }
}

impl Fs for SimFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = disk.enter(Call::Name)? {
            return Err(error);
        }
        disk.dirs.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        let verdict = disk.enter(Call::Name)?;
        let found = disk.names.get(path).copied();
        let has_dir = path.parent().is_none_or(|dir| dir.as_os_str().is_empty() || disk.dirs.contains(dir));
        let inode = match (found, mode) {
            (Some(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists),
            (Some(inode), _) => Ok(inode),
            (None, OpenMode::Read | OpenMode::ReadWrite) => Err(io::ErrorKind::NotFound),
            (None, _) if !has_dir => Err(io::ErrorKind::NotFound),
            (None, _) => {
                let inode = match verdict {
                    Verdict::Fail(error) => {
                        if disk.rng.chance(50) {
                            disk.link(path);
                        }
                        return Err(error);
                    }
                    Verdict::Go | Verdict::Less => disk.link(path),
                };
                return Ok(self.file(&mut disk, inode));
            }
        };
        match verdict {
            Verdict::Go | Verdict::Less => Ok(self.file(&mut disk, inode?)),
            Verdict::Fail(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = disk.enter(Call::Name)? {
            if disk.rng.chance(50) {
                disk.rename(from, to)?;
            }
            return Err(error);
        }
        disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = disk.enter(Call::Name)? {
            if disk.rng.chance(50) {
                disk.unlink(path)?;
            }
            return Err(error);
        }
        disk.unlink(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = disk.enter(Call::Name)? {
            return Err(error);
        }
        if !disk.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = disk.enter(Call::Sync)? {
            disk.sync_dir_in_part(dir);
            return Err(error);
        }
        disk.sync_dir(dir);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = disk.enter(Call::Name)? {
            return Err(error);
        }
        Ok(disk.names.contains_key(path) || disk.dirs.contains(path))
    }

    fn available_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = disk.enter(Call::Name)? {
            return Err(error);
        }
        Ok(disk.space_bytes.map_or(u64::MAX / 2, |limit| limit.saturating_sub(disk.used_bytes())))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = disk.enter(Call::Name)? {
            return Err(error);
        }
        if !disk.locks.insert(path.to_owned()) {
            return Err(LockHeld { pid: None }.into_error());
        }
        if !disk.names.contains_key(path) {
            disk.link(path);
        }
        Ok(Box::new(SimLock { disk: self.disk.clone(), path: path.to_owned(), life: disk.life }))
    }
}

struct SimLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    life: u64,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.life == self.life {
            disk.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    inode: usize,
    life: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.life == self.life {
            disk.open_files -= 1;
        }
    }
}

impl SimFile {
    fn enter(&self, disk: &mut Disk, call: Call) -> io::Result<Verdict> {
        if disk.life != self.life { Err(Disk::down_error()) } else { disk.enter(call) }
    }

    fn write(&self, buf: &[u8], offset: u64, durably: bool) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let verdict = self.enter(&mut disk, Call::Write)?;
        if let Verdict::Fail(error) = verdict {
            let part = disk.rng.below(buf.len() as u64 + 1);
            if disk.has_space(self.inode, offset + part) {
                disk.write(self.inode, offset, &buf[..part as usize]);
                if durably {
                    disk.sync_in_part(self.inode);
                }
            }
            return Err(error);
        }
        if !disk.has_space(self.inode, offset + buf.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "simulated full disk"));
        }
        if durably {
            disk.write_durable(self.inode, offset, buf);
        } else {
            disk.write(self.inode, offset, buf);
        }
        Ok(())
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let asked = match self.enter(&mut disk, Call::Read)? {
            Verdict::Go => buf.len(),
            Verdict::Less => disk.rng.below(buf.len().max(1) as u64) as usize,
            Verdict::Fail(error) => return Err(error),
        };
        let content = &disk.inodes[self.inode].cached;
        let from = (offset as usize).min(content.len());
        let to = (from + asked).min(content.len());
        buf[..to - from].copy_from_slice(&content[from..to]);
        Ok(to - from)
    }

    /// Now and then it would wait, or has only a part, as a page cache does.
    fn read_at_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let part = {
            let mut disk = self.disk.lock();
            if disk.rng.chance(25) {
                return Ok(None);
            }
            match disk.rng.chance(10) {
                true if buf.len() > 1 => 1 + disk.rng.below(buf.len() as u64 - 1) as usize,
                _ => buf.len(),
            }
        };
        self.read_at(buf.get_mut(..part).unwrap_or_default(), offset).map(Some)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write(buf, offset, false)
    }

    fn write_at_durable(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write(buf, offset, true)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = self.enter(&mut disk, Call::Sync)? {
            disk.sync_in_part(self.inode);
            return Err(error);
        }
        disk.sync(self.inode);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = self.enter(&mut disk, Call::Write)? {
            return Err(error);
        }
        if !disk.has_space(self.inode, bytes) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "simulated full disk"));
        }
        disk.set_len(self.inode, bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        if let Verdict::Fail(error) = self.enter(&mut disk, Call::Name)? {
            return Err(error);
        }
        Ok(disk.inodes[self.inode].cached.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(fs: &SimFs) -> Arc<dyn File> {
        fs.create_dir_all(Path::new("/d")).expect("creates");
        let file = fs.open(Path::new("/d/f"), OpenMode::Create).expect("opens");
        fs.sync_dir(Path::new("/d")).expect("syncs");
        file
    }

    fn content(fs: &SimFs) -> Vec<u8> {
        let file = fs.open(Path::new("/d/f"), OpenMode::Read).expect("opens");
        let mut bytes = vec![0; 4096];
        let read = file.read_at(&mut bytes, 0).expect("reads");
        bytes.truncate(read);
        bytes
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_whole_sectors_of_the_rest() {
        let (mut kept, mut lost, mut torn, mut reordered) = (0, 0, 0, 0);
        for seed in 0..300 {
            let fs = SimFs::new(seed);
            let handle = file(&fs);
            handle.write_at(&[1; 2048], 0).expect("writes");
            handle.sync_data().expect("syncs");
            handle.write_at(&[2; 2048], 0).expect("writes");
            fs.crash();
            let sectors: Vec<u8> = content(&fs)
                .chunks(512)
                .map(|sector| {
                    assert!(sector.iter().all(|byte| *byte == sector[0]), "a mixed sector");
                    sector[0]
                })
                .collect();
            match sectors.as_slice() {
                [2, 2, 2, 2] => kept += 1,
                [1, 1, 1, 1] => lost += 1,
                [2, .., 1] => torn += 1,
                _ => reordered += 1,
            }
            assert!(handle.read_at(&mut [0], 0).is_err(), "a handle of before works");
        }
        assert!(kept > 10 && lost > 10 && torn > 10 && reordered > 10, "{kept} {lost} {torn} {reordered}");
    }

    #[test]
    fn a_kill_loses_nothing_and_syncs_nothing() {
        let mut lost = 0;
        for seed in 0..50 {
            let fs = SimFs::new(seed);
            file(&fs).write_at(&[1; 512], 0).expect("writes");
            fs.kill();
            assert_eq!(content(&fs), [1; 512]);
            fs.crash();
            lost += u32::from(content(&fs).is_empty());
        }
        assert!(lost > 5);
    }

    #[test]
    fn names_are_durable_once_their_directory_is_synced() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..100 {
            let fs = SimFs::new(seed);
            file(&fs).write_at_durable(&[1; 512], 0).expect("writes");
            let other = fs.open(Path::new("/d/g"), OpenMode::CreateNew).expect("creates");
            other.write_at_durable(&[2; 512], 0).expect("writes");
            fs.rename(Path::new("/d/g"), Path::new("/d/f")).expect("renames");
            fs.crash();
            // The target is one of the two, whole.
            match content(&fs).as_slice() {
                bytes if bytes == [1; 512] => old += 1,
                bytes if bytes == [2; 512] => new += 1,
                bytes => panic!("{bytes:?}"),
            }
        }
        assert!(old > 5 && new > 5);
    }

    #[test]
    fn a_durable_write_is_not_undone_by_earlier_ones() {
        for seed in 0..100 {
            let fs = SimFs::new(seed);
            let handle = file(&fs);
            handle.write_at(&[1; 1024], 0).expect("writes");
            handle.write_at_durable(&[2; 512], 0).expect("writes");
            fs.crash();
            assert_eq!(content(&fs)[..512], [2; 512]);
        }
    }

    #[test]
    fn after_a_failed_sync_another_proves_nothing() {
        let mut lost = 0;
        for seed in 0..50 {
            let fs = SimFs::new(seed);
            let handle = file(&fs);
            handle.write_at(&[1; 512], 0).expect("writes");
            fs.fail_after(1, Fault::Io);
            assert!(handle.sync_data().is_err());
            handle.sync_data().expect("succeeds, and has nothing to write");
            fs.crash();
            lost += u32::from(content(&fs).is_empty());
        }
        assert!(lost > 5);
    }

    #[test]
    fn a_read_that_must_not_wait_would_have_to_now_and_then() {
        let fs = SimFs::new(1);
        let handle = file(&fs);
        let bytes: Vec<u8> = (0..=255).collect();
        handle.write_at(&bytes, 0).expect("writes");
        let (mut waits, mut parts, mut wholes) = (0, 0, 0);
        for _ in 0..300 {
            let mut buf = [0; 200];
            match handle.read_at_nowait(&mut buf, 10).expect("reads") {
                None => waits += 1,
                Some(read) => {
                    assert_eq!(buf[..read], bytes[10..10 + read]);
                    assert!(read > 0, "only the end of the file is read as nothing");
                    *(if read < 200 { &mut parts } else { &mut wholes }) += 1;
                }
            }
            assert!(matches!(handle.read_at_nowait(&mut buf, 256).expect("reads"), None | Some(0)));
        }
        assert!(waits > 30 && parts > 10 && wholes > 100, "{waits} {parts} {wholes}");
        fs.crash();
        assert!((0..20).any(|_| handle.read_at_nowait(&mut [0], 0).is_err()), "a handle of before works");
    }

    #[test]
    fn space_is_limited_and_locks_end_with_the_process() {
        let fs = SimFs::new(0);
        let handle = file(&fs);
        fs.set_space_bytes(Some(1000));
        let full = handle.write_at(&[1; 1001], 0).expect_err("is full");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        handle.write_at(&[1; 1000], 0).expect("fits");
        handle.write_at(&[2; 1000], 0).expect("needs no more");
        let lock = fs.lock(Path::new("/d/LOCK")).expect("locks");
        assert!(fs.lock(Path::new("/d/LOCK")).is_err());
        fs.kill();
        let held = fs.lock(Path::new("/d/LOCK")).expect("is free");
        drop(lock);
        assert!(fs.lock(Path::new("/d/LOCK")).is_err(), "a dead lock's end freed a live one");
        drop(held);
        fs.lock(Path::new("/d/LOCK")).expect("is free");
    }
}
