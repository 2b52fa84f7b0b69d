//! `sessile serve` as a process of a real system, and what such a system does to it: signals, limits of memory and descriptors,
//! full, failing, slow and read-only disks, a wall clock that jumps, a second process on its directory. In each case: what was
//! acknowledged is there after a restart, readers are served throughout, and what is refused is refused in the documented words.
//! (`kill.rs` has `kill -9` under a far richer load.)
//!
//! `SESSILE_CRASH_ROUNDS` rounds of each case (default 1), `SESSILE_SEED` replays the same choices (not the same instants), and
//! the name of a test runs one case: `SESSILE_SEED=7 cargo test -p sessile-server --test crash failing_disk -- --nocapture`.
//! `SESSILE_CRASH_REDIS=1` prints what `redis-server` does under the same disks.
//! The table at the end has one row for each case. What a machine can't do (mounting without root, tracing where that is
//! forbidden) is skipped, and the row says so.
#![expect(clippy::disallowed_methods, reason = "real processes on real disks at real moments")]

#[path = "crash/beside_redis.rs"]
mod beside_redis;
#[path = "crash/clock.rs"]
mod clock;
#[path = "crash/descriptors.rs"]
mod descriptors;
#[path = "crash/failing_disk.rs"]
mod failing_disk;
#[path = "crash/full_disk.rs"]
mod full_disk;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "crash/memory.rs"]
mod memory;
#[path = "crash/mount.rs"]
mod mount;
#[path = "crash/read_only.rs"]
mod read_only;
#[path = "crash/report.rs"]
mod report;
#[path = "crash/second_process.rs"]
mod second_process;
#[path = "crash/signals.rs"]
mod signals;
#[path = "crash/strace.rs"]
mod strace;
mod support;

use std::time::Duration;

/// The rows of the table.
const CASE_NAMES: &[&str] = &[
    "SIGTERM under load",
    "SIGTERM twice under load",
    "a second process",
    "descriptors taken by clients",
    "no descriptors left",
    "no memory left under load",
    "too little memory to start",
    "the wall clock jumps by 1 h",
    "read-only at the start",
    "read-only under way, ext4, always",
    "full file system, tmpfs, everysec",
    "full file system, ext4, always",
    "sessions on a full file system, everysec",
    "sessions on a full file system, always",
    "EIO from fsync, always",
    "EIO from fsync, everysec",
    "EIO from write, no",
    "EIO from reads of values on disk",
    "a turn under way as the log fails",
    "ENOSPC from write, always",
    "ENOSPC from write, everysec",
    "a sync of 3 s, everysec",
    "a sync of 3 s, always",
    "a logout during syncs of 3 s, everysec",
];

/// How long something that must happen soon may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest that a reader may wait in any case: a machine that runs eight other things at once delays as much as it likes, but
/// a third of the shortest stall that a case makes (3 s).
const READER_WAIT_MAX: Duration = Duration::from_millis(1000);

fn rounds() -> u64 {
    support::random::count("SESSILE_CRASH_ROUNDS", 1)
}
