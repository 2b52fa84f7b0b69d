//! A write-ahead log: append a record, wait until it is as safe as was asked for, read everything back after a crash.
//!
//! ```
//! use std::sync::Arc;
//! use sessile_wal::{Lsn, RealFs, SystemClock, Wal, WalOptions};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let open = |replay: &mut sessile_wal::Replay<'_>| {
//!     Wal::open(Arc::new(RealFs), Arc::new(SystemClock), dir, WalOptions::default(), Lsn::ZERO, replay)
//! };
//! let (wal, _) = open(&mut |_, _| Ok(()))?;
//! let lsn = wal.append(b"a record");
//! wal.sync(lsn)?;
//! drop(wal);
//!
//! let mut seen = Vec::new();
//! let (_wal, recovery) = open(&mut |_, record| Ok(seen.push(record.to_vec())))?;
//! assert_eq!(seen, [b"a record"]);
//! assert_eq!(recovery.records, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Wal`]: the log. [`WalOptions`], [`Durability`] and [`Admit`] tell it what to do, [`Recovery`], [`WalStats`] and
//!   [`Step`] what it did, [`WalError`] what went wrong.
//! - [`verify`] reads a log as opening it does, and changes nothing.
//! - [`Fs`] and [`Clock`]: the seams to files and time, for the log and for what is built on it. [`RealFs`] and
//!   [`SystemClock`] are the operating system's; with the feature `sim`, `sim` has a simulated disk.
//!
//! - [`Interest`]: for event loops, which may not wait for the log.
//! - [`sync`]: the seam to locks and atomics, for model checkers.
//!
//! The bytes on disk are specified in `docs/formats.md`. The log knows nothing of what is in a record.

#![forbid(unsafe_code)]

mod admit;
mod background;
mod buffer;
mod clock;
mod demand;
mod error;
mod files;
mod format;
mod fs;
mod interest;
pub mod limits;
mod log;
mod lsn;
mod options;
mod reader;
mod real_fs;
mod recovery;
mod role;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod stats;
pub mod sync;
mod synced;
mod verify;
mod wal;
mod writer;

pub use admit::Admit;
pub use background::Step;
pub use clock::{Clock, SystemClock};
pub use error::{Poison, WalError};
pub use fs::{DirLock, File, Fs, LockHeld, OpenMode};
pub use interest::Interest;
pub use log::DurableEnd;
pub use lsn::Lsn;
pub use options::{Durability, WalOptions};
pub use real_fs::RealFs;
pub use recovery::{Recovery, Replay, Torn};
pub use stats::WalStats;
pub use synced::NAME as SYNCED_NOTE_NAME;
pub use verify::{FileReport, verify};
pub use wal::Wal;
