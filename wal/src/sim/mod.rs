//! A simulated machine: a disk in memory that can crash, fail and rot, and a clock that moves only when told.
//! Everything follows from one seed, so a failure replays.
//!
//! # The fault model
//!
//! What a program sees is the *page cache*; what a power cut leaves is decided here, and it is as unkind as a disk may
//! legally be:
//!
//! - **Data.** A file has durable bytes and writes since its last sync. [`SimFs::crash`] keeps any subset of those
//!   writes at the granularity of 512-byte sectors: none, all, a prefix torn at a sector, or single sectors in any
//!   combination, later ones without earlier ones too. A sector is never mixed.
//! - **Length.** A file is as long as the last sector of it that was kept; holes read as zeros.
//! - **Names.** Creations, renames and removals since the directory's last sync are kept or lost one by one. A rename is
//!   atomic. Syncing a file does not make its name durable. Directories themselves are durable at once.
//! - **Durable writes** ([`File::write_at_durable`](crate::File::write_at_durable)) are durable on return; other writes
//!   to the same file are not made durable by them.
//! - **Kill** ([`SimFs::kill`]): the process ends; the page cache stays, but stays unsynced, so a later power cut may
//!   still lose it.
//! - **Dying in a call** ([`SimFs::crash_after`]): the chosen call takes effect in part, and it and all later ones fail.
//! - **Failing calls** ([`SimFs::fail_after`]): one call fails, having taken effect in part. After a failed sync, any part
//!   of what was to be synced is durable and the rest is *clean*: a later sync succeeds without writing it, as on Linux.
//!   After a failed sync of a directory, what was not made durable is still to be synced.
//! - **Plans** ([`SimFs::fail`]): from the n-th call on, once, or every call of that kind, or every call fails; also as a read that
//!   finds less than there is. What was open and locked is counted ([`SimFs::handles`]).
//! - **Full disk** ([`SimFs::set_space_bytes`]): files together cannot outgrow the limit. Overwriting needs no space.
//! - **Rot** ([`SimFs::flip_bit`]): a bit of what is stored changes, unnoticed.
//!
//! After a crash or kill all handles and locks of before are dead: every call on them fails.
//!
//! It never sleeps, and reads no clock and no randomness of the system.

mod clock;
mod disk;
mod fs;
mod rng;

pub use clock::SimClock;
pub use disk::{Call, Fault, FaultPlan, Lasts};
pub use fs::SimFs;
pub use rng::Rng;
