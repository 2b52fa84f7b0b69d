//! Chats, each operation one transaction. [`crate::txn::chat`] says what they do.

use super::within;
use crate::Error;
use crate::db::Db;
use crate::limits::VALUE_BYTES_MAX;
use crate::txn::Access;
use crate::txn::chat::{ChatAppended, ChatError, ChatLimits, ChatSummary, ChatTotals, ChatWindow, NewTurn};

/// Bytes of the numbers and lengths of a turn in a record, and of the roles that are kept (each is in it once, and there are so many at most).
fn overhead(keep: &[&[u8]]) -> usize {
    64 + keep.iter().map(|role| role.len() + 2).sum::<usize>()
}

impl Db {
    /// Adds a turn behind the last of a chat, to a new one if there is none. One whose id is known already is not added again.
    ///
    /// # Errors
    /// [`Error::Chat`] for what exceeds a limit; [`Error::WrongKind`]; those of [`set`](Self::set).
    pub fn chat_append(&self, key: &[u8], turn: &NewTurn<'_>) -> Result<ChatAppended, Error> {
        within("turn", turn.content.len(), VALUE_BYTES_MAX)?;
        let bytes =
            turn.content.len() + turn.role.len() + turn.id.map_or(0, <[u8]>::len).min(VALUE_BYTES_MAX);
        let bytes = (bytes + overhead(&[])).min(VALUE_BYTES_MAX);
        self.write(key, bytes, Access::Write, |txn, key| txn.chat_append(key, turn))?.map_err(refused)
    }

    /// The part of a chat that fits its limits, handed to `read` while the chat is held: it should be quick, and must not use the database.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; those of [`get`](Self::get).
    pub fn chat_window<R>(
        &self,
        key: &[u8],
        limits: &ChatLimits<'_>,
        read: impl FnOnce(ChatWindow<'_>) -> R,
    ) -> Result<R, Error> {
        self.read(key, |txn, key| {
            let window = txn.chat_window(key, limits)?;
            Ok(read(window.unwrap_or_default()))
        })?
    }

    /// Replaces all turns of a chat up to one, but those of kept roles, by a summary.
    ///
    /// # Errors
    /// [`Error::Chat`]: with [`ChatError::Epoch`] or [`ChatError::Gone`] if the chat has changed; [`Error::WrongKind`]; those of [`set`](Self::set).
    pub fn chat_compact(&self, key: &[u8], summary: &ChatSummary<'_>) -> Result<ChatAppended, Error> {
        within("summary", summary.content.len(), VALUE_BYTES_MAX)?;
        let bytes = (summary.content.len() + overhead(summary.keep)).min(VALUE_BYTES_MAX);
        self.write(key, bytes, Access::Write, |txn, key| txn.chat_compact(key, summary))?.map_err(refused)
    }

    /// Removes the turns of a chat that would not be in a window with these limits; how many that were, and what is left.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; those of [`delete`](Self::delete).
    pub fn chat_trim(&self, key: &[u8], limits: &ChatLimits<'_>) -> Result<(u64, ChatTotals), Error> {
        Ok(self.write(key, overhead(limits.keep).min(VALUE_BYTES_MAX), Access::Write, |txn, key| {
            txn.chat_trim(key, limits)
        })??)
    }

    /// How large a chat is; nothing at all if there is none.
    ///
    /// # Errors
    /// [`Error::WrongKind`]; those of [`get`](Self::get).
    pub fn chat_totals(&self, key: &[u8]) -> Result<ChatTotals, Error> {
        Ok(self.read(key, |txn, key| txn.chat_totals(key))??)
    }
}

/// Why a chat was not changed, in the terms of the whole database.
fn refused(error: ChatError) -> Error {
    match error {
        ChatError::WrongKind(error) => Error::WrongKind(error),
        error => Error::Chat(error),
    }
}
