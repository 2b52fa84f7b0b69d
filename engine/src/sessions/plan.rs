//! What an operation on sessions needs before it changes anything.
//!
//! A transaction holds the keys that it was begun with, and a session's other keys (its user, the tokens it had, the events) are known only once
//! the session has been looked at. So an operation plans first: it asks for every key that it is going to touch, and if one is missing it ends with
//! [`SessionError::Needs`], having changed nothing.

use super::{SessionError, SessionKey};
use crate::txn::Txn;

/// Keys that are missing so far.
#[derive(Debug, Default)]
pub(super) struct Plan {
    missing: Vec<SessionKey>,
}

impl Plan {
    /// Asks for a key; whether it is missing.
    pub(super) fn wants(&mut self, txn: &Txn<'_>, key: SessionKey) -> bool {
        if txn.holds(&key.hashed_by(txn.hasher())) {
            return false;
        }
        if !self.missing.contains(&key) {
            self.missing.push(key);
        }
        true
    }

    /// # Errors
    /// [`SessionError::Needs`] if a key is missing.
    pub(super) fn check(&mut self) -> Result<(), SessionError> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(SessionError::Needs(std::mem::take(&mut self.missing)))
    }
}
