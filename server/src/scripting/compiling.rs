//! A large script to be compiled for the first time, where that stops nobody.

use super::run;
use super::store::Script;
use crate::server::Server;
use std::sync::Arc;

/// A longer script is not compiled on an event loop: that takes some 300 µs for each 1,000 bytes.
pub const COMPILED_AT_ONCE_BYTES_MAX: usize = 16 << 10;

/// A script to be checked, and then what came of it.
pub struct Compiling {
    server: Arc<Server>,
    script: Arc<Script>,
    result: Option<Result<(), Vec<u8>>>,
}

impl std::fmt::Debug for Compiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiling").field("script", &self.script.name).finish_non_exhaustive()
    }
}

impl Compiling {
    /// One that is still to be done.
    pub fn new(server: &Arc<Server>, script: Script) -> Compiling {
        Compiling { server: Arc::clone(server), script: Arc::new(script), result: None }
    }

    /// Does it.
    pub fn run(&mut self) {
        self.result = Some(run::check(&self.server, &self.script));
    }

    /// The script.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as it is replied, without its code.
    pub fn result(self) -> Result<Arc<Script>, Vec<u8>> {
        match self.result {
            Some(result) => result.map(|()| self.script),
            None => Err(b"the server is shutting down".to_vec()),
        }
    }
}
