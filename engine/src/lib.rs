//! Sessile: an embeddable session database, a log-structured key-value engine for data that expires.
//!
//! ```
//! use sessile::{Db, Expiry};
//! use std::time::Duration;
//!
//! # let dir = tempfile::tempdir()?;
//! let db = Db::open(dir.path().join("data"))?;
//! let half_an_hour = Duration::from_secs(1800);
//!
//! db.set(b"sess:1", br#"{"user":7}"#, Expiry::After(half_an_hour))?;
//! let session = db.get_and_touch(b"sess:1", half_an_hour)?.expect("just set");
//! assert_eq!(&session[..], br#"{"user":7}"#);
//!
//! db.delete(b"sess:1")?;
//! assert!(db.get(b"sess:1")?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - A [`Db`] is a cheap handle; clone it into every thread. No async runtime is needed or started.
//! - A write that has returned survives what its [`Durability`] says: power loss with [`Always`](Durability::Always), any crash of the process
//!   with [`EverySecond`](Durability::EverySecond) (the default) and [`No`](Durability::No). [`Db::flush`] makes all of them durable.
//! - A key past its deadline is never read, and its memory is back within 100 ms.
//! - A touch ([`Db::touch`]) costs a few bytes of log at most, whatever the size of the value.
//! - [Sessions](sessions) with tokens, limits, an index of users and a record of events are native. With the feature `typed`, which is on by default, their
//!   payload is a type of yours: module `typed`.
//! - Several keys change together, or not at all, in a [`Db::transaction`].
//! - The `sessile` server opens the same directories.

#![deny(unsafe_code)]

mod api;
mod background;
mod change;
pub mod check;
mod checkpoint;
mod clock;
mod compaction;
mod compression;
mod databases;
mod db;
mod dictionary;
mod error;
mod evict_keys;
mod expiry;
mod fetch;
mod file_header;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod idle;
mod idle_pass;
mod index_file;
mod key;
mod limits;
mod live;
mod location;
mod manifest;
mod object;
mod observer;
mod options;
mod overlay;
mod prefetch;
mod record;
mod recovery;
mod scan;
mod segment;
mod segment_set;
mod segments;
pub mod sessions;
mod shard;
mod side_file;
mod stats;
mod storage;
mod table;
mod tiering;
mod trim;
mod tuning;
mod txn;
#[cfg(feature = "typed")]
pub mod typed;
mod value;
mod varint;
mod verify;
mod watch;
mod wheel;

pub use db::Db;
pub use error::Error;
pub use expiry::{Expiry, Touch};
pub use fetch::{Begun, Fetch};
pub use key::{DATABASES, Key};
pub use limits::{
    CHAT_ID_BYTES_MAX, CHAT_ROLE_BYTES_MAX, CHAT_ROLES_MAX, CHAT_TOKENS_MAX, KEY_BYTES_MAX,
    THROTTLE_NUMBER_MAX, VALUE_BYTES_MAX,
};
pub use object::Kind;
pub use object::stream::{StreamBound, StreamId, StreamState};
pub use observer::{Observer, Occurrence};
pub use options::{Eviction, Options};
pub use overlay::{Committed, Overlay};
pub use sessile_wal::{Durability, Lsn};
pub use side_file::SIDE_FILE_BYTES_MAX;
pub use stats::{RecoveryReport, Stats, StorageStats};
#[doc(hidden)]
pub use tuning::StorageTuning;
pub use txn::chat::{
    CHAT_SUMMARY_ROLE, ChatAppended, ChatError, ChatLimits, ChatSummary, ChatTotals, ChatTurn, ChatWindow,
    NewTurn,
};
pub use txn::hash::HashField;
pub use txn::set::{Members, MembersIter, NewSet};
pub use txn::sorted_set::{RankRange, ScoreError, ScoreRule, ScoresSet, SortedMembers};
pub use txn::stream::{StreamConsumer, StreamEntry, StreamGroup, StreamPending, StreamView};
pub use txn::throttle::{Throttle, ThrottleError, Throttled};
pub use txn::{Access, ChangedKey, Extended, Extent, ListEnd, Txn, WrongKind};
pub use value::Value;
pub use watch::Watch;

/// The seams for simulations: file system and clock.
pub use sessile_wal::{Clock, Fs};
