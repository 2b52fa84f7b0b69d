//! A change of the libraries of functions, carried to where waiting for the disk stops nobody.

use super::libraries::Change;
use crate::server::Server;
use std::sync::Arc;

/// A change to be made, and then what came of it.
pub struct Changing {
    server: Arc<Server>,
    change: Option<Change>,
    result: Option<Result<Option<String>, String>>,
}

impl std::fmt::Debug for Changing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changing").field("result", &self.result).finish_non_exhaustive()
    }
}

impl Changing {
    /// One that is still to be made.
    pub fn new(server: &Arc<Server>, change: Change) -> Changing {
        Changing { server: Arc::clone(server), change: Some(change), result: None }
    }

    /// Makes it.
    pub fn run(&mut self) {
        if let Some(change) = self.change.take() {
            self.result = Some(self.server.scripting.libraries.change(&self.server, change));
        }
    }

    /// What came of it: the name of a library that was loaded, or the error as it is replied.
    ///
    /// # Errors
    ///
    /// As it is replied.
    pub fn result(self) -> Result<Option<String>, String> {
        self.result.unwrap_or_else(|| Err("ERR the server is shutting down".to_owned()))
    }
}
