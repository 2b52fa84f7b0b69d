//! Sectors that a disk really wrote, from `/proc/diskstats`. The kernel's per-process `write_bytes` is wrong for small
//! overwrites on ext4, so it can't be used; this counts everybody's writes to the disk, which is right only on an
//! otherwise quiet machine.
#![expect(clippy::disallowed_methods, reason = "reads /proc, not data")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The block device that holds a directory.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    major: u32,
    minor: u32,
}

impl Disk {
    /// The device of `directory`; `None` where the file system has none of its own (tmpfs, overlay).
    pub fn of(directory: &Path) -> Option<Disk> {
        let device = std::fs::metadata(directory).ok()?.dev();
        let disk = Disk { major: rustix::fs::major(device), minor: rustix::fs::minor(device) };
        disk.bytes_written().map(|_| disk)
    }

    /// Bytes written since the machine started.
    pub fn bytes_written(&self) -> Option<u64> {
        let text = std::fs::read_to_string("/proc/diskstats").ok()?;
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let mine = words.next()?.parse() == Ok(self.major) && words.next()?.parse() == Ok(self.minor);
            // Then: name, reads, merged, sectors read, milliseconds, writes, merged, sectors written.
            let sectors: u64 = mine.then(|| words.nth(7))??.parse().ok()?;
            Some(sectors * 512)
        })
    }
}
