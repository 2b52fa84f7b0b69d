//! Sessions whose token somebody else has drawn.

use super::run::Until;
use super::{Made, NewSession, SessionError, Token, TokenDigest};
use crate::db::Db;
use crate::txn::Access;

impl Db {
    /// Makes a session for a [token of the caller's](Token::from_secret). See [`sessions::create`](super::create).
    ///
    /// # Errors
    /// As there; [`SessionError::TokenTaken`] if there is, or was, a session with this token that is still remembered; [`SessionError::Db`].
    pub fn create_session_with(&self, token: &Token, new: &NewSession<'_>) -> Result<Made, SessionError> {
        let digest = self.digest_of_own(token)?;
        let bytes = new.fields.iter().flatten().map(|part| part.len() + 10).sum::<usize>() + new.meta.len();
        self.run_on_sessions(Self::usual(Some(&digest)), (Access::Write, bytes), Until::Acknowledged, |txn| {
            super::create(txn, new, &digest)
        })
    }

    fn digest_of_own(&self, token: &Token) -> Result<TokenDigest, SessionError> {
        if let Some(digest) = self.session_digest(token.as_str().as_bytes()) {
            return Ok(digest);
        }
        // The first of a directory: there is no digest key yet, and this makes it.
        drop(self.new_session_token()?);
        self.session_digest(token.as_str().as_bytes()).ok_or(SessionError::Damaged { what: "the digest key" })
    }
}
