//! Sessions with a payload of the application's own type, events as an iterator, and chats as text: what a Rust application uses.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use sessile::Db;
//! use sessile::typed::{ClassPolicy, Opening};
//! use std::time::Duration;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Login {
//!     name: String,
//!     cart: Vec<u32>,
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! let db = Db::open(dir.path().join("data"))?;
//! // Half an hour without a request, twelve hours at most, five sessions a user: beyond that the least recently seen ends.
//! let web = ClassPolicy::new("web", Duration::from_secs(1800), Duration::from_secs(12 * 3600)).per_user(5);
//! let sessions = db.sessions::<Login>(&web)?;
//!
//! let login = Login { name: "Ann".into(), cart: vec![] };
//! let (token, _) = sessions.create(Opening::of("ann").meta("Firefox on Linux"), &login)?;
//! let cookie = token.as_str().to_owned(); // to the browser, and nowhere else
//!
//! // Each request: the payload, and the deadline moves.
//! let session = sessions.load(&cookie)?.expect("it lives");
//! assert_eq!(session.payload.name, "Ann");
//! // Changes are versioned: of two requests at once both are kept.
//! sessions.update(&cookie, |login| login.cart.push(7))?;
//!
//! // "Where am I logged in?", and "log out everywhere else".
//! assert_eq!(sessions.list("ann")?.len(), 1);
//! sessions.revoke_user("ann", Some(&cookie))?;
//! sessions.end(&cookie)?;
//! assert!(sessions.load(&cookie)?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A token is shown once, to the caller who made the session ([`Token`](crate::sessions::Token) overwrites itself and does not print itself); the database keeps a keyed
//! digest. Everything here blocks, mostly for a microsecond; what is durable before it returns (`rotate`, `end`, `revoke…`, a changed
//! policy) waits for the disk, milliseconds: in async code use `spawn_blocking` for these.
//!
//! What it must never do: read the payload of another class's session as one of its own; hold a lock of the database while it runs code of the
//! application.

mod chat;
mod codec;
mod events;
mod policy;
mod sessions;
#[cfg(feature = "async")]
mod stream;

pub use chat::{Chats, Message, Messages};
pub use codec::{PAYLOAD_BYTES_MAX, PayloadError};
pub use events::Events;
pub use policy::{ClassPolicy, Opening};
pub use sessions::{Loaded, PAYLOAD_FIELD, Sessions, UPDATE_ATTEMPTS_MAX};
#[cfg(feature = "async")]
pub use stream::EventStream;

use crate::sessions::SessionError;

/// Why an operation on typed sessions has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine refused.
    #[error(transparent)]
    Sessions(#[from] SessionError),
    /// The payload can't be written, or read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Events after the consumer's cursor are no longer kept: it has been away for longer than they are. The next event is the oldest kept.
    #[error("events after cursor {cursor} are no longer kept")]
    EventsLost {
        /// The consumer's.
        cursor: u64,
    },
    /// The operating system gave no thread to an async stream.
    #[error("no thread for a stream of events: {0}")]
    Thread(#[source] std::io::Error),
}

impl From<crate::Error> for StoreError {
    fn from(error: crate::Error) -> StoreError {
        StoreError::Sessions(SessionError::Db(error))
    }
}
