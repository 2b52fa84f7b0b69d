//! [tower-sessions](https://docs.rs/tower-sessions) on [Sessile](sessile), in the process: no server, no network, the same data files as the `sessile` server.
//!
//! ```
//! use sessile::Db;
//! use sessile::typed::ClassPolicy;
//! use sessile_tower::SessileStore;
//! use std::time::Duration;
//! use tower_sessions::{Expiry, SessionManagerLayer, cookie::SameSite};
//!
//! # let dir = tempfile::tempdir()?;
//! let db = Db::open(dir.path().join("data"))?;
//! // What no session of the application may exceed: half an hour without a request, twelve hours in all; five sessions a user.
//! let web = ClassPolicy::new("web", Duration::from_secs(1800), Duration::from_secs(12 * 3600)).per_user(5);
//! let store = SessileStore::new(db, &web)?.with_user_key("user").with_meta_key("device");
//! let layer = SessionManagerLayer::new(store.clone())
//!     .with_name("__Host-session")
//!     .with_same_site(SameSite::Lax)
//!     .with_expiry(Expiry::OnInactivity(time::Duration::minutes(30)))
//!     .with_always_save(true); // each request moves the deadline: a touch, which costs next to nothing
//! # let _ = layer;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it adds to tower-sessions
//!
//! - **A save that moves only the deadline is a touch**: a few bytes of log at most, whatever the size of the session.
//! - **Two limits on one record**: the class's idle and absolute limits hold whatever the application asks for; what it asks for can be shorter.
//! - **No save revives a session**: a request that was under way when its session ended changes nothing.
//! - **Users**: with [`with_user_key`](SessileStore::with_user_key) sessions are known by their user, so that they can be [listed](SessileStore::list) and
//!   [revoked](SessileStore::revoke_user). A session gets a user when it is made: a login must call `Session::cycle_id`, which it must do anyway
//!   (against session fixation), and is refused if it does not.
//! - **Ids are drawn from the operating system**, 128 bits, and kept as a keyed digest only: a stolen disk holds no live one.
//! - Events of the class ([`sessile::typed::Sessions::events`]), commands of the `sessile` server on the same directory, when it is the server's turn to have
//!   it open.
//!
//! # What the trait leaves open
//!
//! `SessionStore` hands over whole records, without a version: of two requests of one session at once that both change it, the later save wins, as with
//! every tower-sessions store. [`sessile::typed::Sessions::update`] loses none.
//! `Session::cycle_id` is an end and a new beginning for a store: the absolute limit begins anew with it. Limits are counted in whole seconds, upwards,
//! and a session can't be given a longer idle limit than it was made with, but by `cycle_id`.
//!
//! # Blocking
//!
//! `load`, `create` and `save` work in memory, and on the page cache at worst: microseconds, on the calling thread. With
//! [`Durability::Always`](sessile::Durability::Always) writes wait for the disk, as `delete` and the revocations always do (what has ended must stay ended): these
//! run where the runtime lets threads block. A value that was not used for so long that it is on disk only is read on the calling thread.

#![forbid(unsafe_code)]

mod data;
mod store;

pub use store::{SessileStore, StoreError};
