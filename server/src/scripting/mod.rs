//! Scripts (`EVAL`) and functions (`FCALL`), on Luau.
//!
//! [`vm`] runs them and knows nothing of the engine; [`store`] keeps the texts of scripts and [`libraries`] those of functions; [`run`] gives
//! them the engine to work on, and `host` is what `redis.call` does there.

mod bit;
pub mod block;
pub mod changing;
pub mod compiling;
pub mod dump;
mod effects;
mod host;
mod json;
pub mod libraries;
pub mod library;
mod library_functions;
mod msgpack;
mod number;
mod pack;
mod random;
mod reply;
pub mod run;
pub mod script;
pub mod sha1;
pub mod store;
mod syntax;
pub mod vm;

use sessile_wal::sync::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The version of Redis that scripts are told.
pub const REDIS_VERSION: &str = "7.0.15";
/// The same as a number.
pub const REDIS_VERSION_NUMBER: u32 = 7 << 16 | 15;
/// What a script may change in one go, in bytes of the log: it is in memory several times until it is written.
pub const WRITTEN_BYTES_MAX: usize = 24 << 20;

/// What the server knows of scripts.
pub struct Scripting {
    /// Which server this is, among those of the process: a thread's VM belongs to one.
    pub number: u64,
    /// The texts of scripts.
    pub store: store::Store,
    /// Libraries of functions.
    pub libraries: libraries::Libraries,
    /// Scripts that run on threads of their own, or wait for one.
    pub running: Mutex<Vec<Arc<run::Running>>>,
}

impl Default for Scripting {
    fn default() -> Scripting {
        static SERVERS: AtomicU64 = AtomicU64::new(0);
        Scripting {
            number: SERVERS.fetch_add(1, Ordering::Relaxed),
            store: store::Store::default(),
            libraries: libraries::Libraries::default(),
            running: Mutex::default(),
        }
    }
}

impl Scripting {
    /// Ends every script that runs on a thread of its own: for the end of the server.
    pub fn end(&self) {
        for running in self.running.lock().iter() {
            running.killed.store(true, Ordering::Relaxed);
        }
    }
}
