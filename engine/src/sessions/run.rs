//! Whole operations on sessions, which find out themselves what they need, and wait for it.

use super::{
    Conditions, EventPage, Handle, ListPage, Made, NewSession, Policy, Session, SessionError, SessionKey,
    Token, TokenDigest, reaper,
};
use crate::db::{Db, Inner};
use crate::fetch::Begun;
use crate::key::Key;
use crate::txn::{Access, Txn};
use crate::{Error, background};
use sessile_wal::Lsn;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes that the log is asked for beside what the caller brings.
const CHANGE_BYTES: usize = 1 << 10;

impl Inner {
    /// Runs an operation in a transaction at `now_ms`, again and again until it holds all keys that it needs; what it answers, and the position
    /// to be acknowledged. Waits for values on disk.
    pub(super) fn with_sessions<R>(
        &self,
        mut keys: Vec<SessionKey>,
        (access, bytes): (Access, usize),
        now_ms: u64,
        mut run: impl FnMut(&mut Txn<'_>) -> Result<R, SessionError>,
    ) -> Result<(R, Lsn), SessionError> {
        self.admit(bytes, access)?;
        let mut fetched = None;
        loop {
            let hashed: Vec<Key<'_>> = keys.iter().map(|key| key.hashed_by(&self.hasher)).collect();
            let txn = Txn::begin(self, &hashed, access, now_ms);
            let mut txn = match self.bring(txn, &hashed, fetched.take())? {
                Begun::Ready(txn) => txn,
                Begun::Cold(mut fetch) => {
                    fetch.wait();
                    fetched = Some(fetch);
                    continue;
                }
            };
            match run(&mut txn) {
                Ok(answer) => return Ok((answer, txn.commit())),
                Err(SessionError::Needs(more)) => keys.extend(more),
                Err(error) => return Err(error),
            }
        }
    }
}

/// When an operation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// As soon as the database's durability says.
    Acknowledged,
    /// Once it survives a power cut.
    Durable,
}

impl Db {
    pub(crate) fn run_on_sessions<R>(
        &self,
        keys: Vec<SessionKey>,
        (access, bytes): (Access, usize),
        until: Until,
        run: impl FnMut(&mut Txn<'_>) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        let (answer, lsn) =
            self.inner.with_sessions(keys, (access, bytes + CHANGE_BYTES), self.now_ms(), run)?;
        if until == Until::Durable && lsn != Lsn::ZERO {
            self.inner.wal.sync(lsn).map_err(Error::of_log)?;
        } else {
            self.inner.acknowledge(lsn)?;
        }
        Ok(answer)
    }

    pub(super) fn usual(digest: Option<&TokenDigest>) -> Vec<SessionKey> {
        super::usual_keys().into_iter().chain(digest.map(TokenDigest::key)).collect()
    }

    /// Makes a session, and its token. See [`sessions::create`](super::create).
    ///
    /// # Errors
    /// As there; [`SessionError::Db`].
    pub fn create_session(&self, new: &NewSession<'_>) -> Result<(Token, Made), SessionError> {
        let token = self.new_session_token()?;
        let bytes = new.fields.iter().flatten().map(|part| part.len() + 10).sum::<usize>() + new.meta.len();
        let made = self.run_on_sessions(
            Self::usual(Some(&token.digest)),
            (Access::Write, bytes),
            Until::Acknowledged,
            |txn| super::create(txn, new, &token.digest),
        )?;
        Ok((token.token, made))
    }

    /// Looks at the session of a token, and touches it if `touch`. See [`sessions::get`](super::get).
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn with_session<R>(
        &self,
        token: &[u8],
        touch: bool,
        mut look: impl FnMut(&Session<'_>) -> R,
    ) -> Result<Option<R>, SessionError> {
        let Some(digest) = self.session_digest(token) else { return Ok(None) };
        let mut run = |access| {
            self.run_on_sessions(vec![digest.key()], (access, 0), Until::Acknowledged, |txn| {
                Ok(super::get(txn, &digest, touch)?.map(|session| look(&session)))
            })
        };
        // What a touch takes is small: a full disk logs nobody out.
        match run(Access::Delete) {
            // A look alone changes nothing, but that the use of an old token is told of.
            Err(SessionError::Db(Error::DiskFull(_) | Error::LogFailed(_))) if !touch => run(Access::Read),
            done => done,
        }
    }

    /// Sets fields of a session. See [`sessions::set`](super::set).
    ///
    /// # Errors
    /// As there; [`SessionError::Db`].
    pub fn set_session_fields(
        &self,
        token: &[u8],
        conditions: &Conditions,
        fields: &[[&[u8]; 2]],
    ) -> Result<Option<u64>, SessionError> {
        let Some(digest) = self.session_digest(token) else { return Ok(None) };
        let bytes = fields.iter().flatten().map(|part| part.len() + 10).sum::<usize>();
        self.run_on_sessions(vec![digest.key()], (Access::Write, bytes), Until::Acknowledged, |txn| {
            super::set(txn, &digest, conditions, fields)
        })
    }

    /// Removes fields of a session. See [`sessions::unset`](super::unset).
    ///
    /// # Errors
    /// As there; [`SessionError::Db`].
    pub fn unset_session_fields(
        &self,
        token: &[u8],
        conditions: &Conditions,
        fields: &[&[u8]],
    ) -> Result<Option<u64>, SessionError> {
        let Some(digest) = self.session_digest(token) else { return Ok(None) };
        let bytes = fields.iter().map(|name| name.len() + 10).sum::<usize>();
        self.run_on_sessions(vec![digest.key()], (Access::Write, bytes), Until::Acknowledged, |txn| {
            super::unset(txn, &digest, conditions, fields)
        })
    }

    fn digests(&self, tokens: &[&[u8]]) -> Vec<TokenDigest> {
        tokens.iter().filter_map(|token| self.session_digest(token)).collect()
    }

    /// Touches sessions; how many live. See [`sessions::touch`](super::touch).
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn touch_sessions(&self, tokens: &[&[u8]]) -> Result<u64, SessionError> {
        let digests = self.digests(tokens);
        let keys = digests.iter().map(TokenDigest::key).collect();
        self.run_on_sessions(keys, (Access::Delete, 0), Until::Acknowledged, |txn| {
            super::touch(txn, &digests)
        })
    }

    /// Gives a session another token, durably. See [`sessions::rotate`](super::rotate).
    ///
    /// # Errors
    /// As there; [`SessionError::Db`].
    pub fn rotate_session(
        &self,
        token: &[u8],
        grace: Option<Duration>,
    ) -> Result<Option<(Token, Made)>, SessionError> {
        let Some(digest) = self.session_digest(token) else { return Ok(None) };
        let new = self.new_session_token()?;
        let grace_s = grace.map(|grace| grace.as_secs());
        let mut keys = Self::usual(Some(&digest));
        keys.push(new.digest.key());
        let made = self.run_on_sessions(keys, (Access::Write, 0), Until::Durable, |txn| {
            super::rotate(txn, &digest, grace_s, &new.digest)
        })?;
        Ok(made.map(|made| (new.token, made)))
    }

    /// Ends sessions, durably; how many lived. See [`sessions::end`](super::end).
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn end_sessions(&self, tokens: &[&[u8]]) -> Result<u64, SessionError> {
        let digests = self.digests(tokens);
        let keys = Self::usual(None).into_iter().chain(digests.iter().map(TokenDigest::key)).collect();
        self.run_on_sessions(keys, (Access::Delete, 0), Until::Durable, |txn| super::end(txn, &digests))
    }

    /// Ends all sessions of a user, but that of `except`, durably; how many. See [`sessions::revoke_user`](super::revoke_user).
    ///
    /// # Errors
    /// As there; [`SessionError::Db`].
    pub fn revoke_user_sessions(&self, user: &[u8], except: Option<&[u8]>) -> Result<u64, SessionError> {
        let except = match except.map(|token| self.session_digest(token)) {
            Some(None) => return Err(SessionError::NotOfUser),
            Some(digest) => digest,
            None => None,
        };
        let mut keys = Self::usual(except.as_ref());
        keys.push(SessionKey::user(user));
        self.run_on_sessions(keys, (Access::Delete, 0), Until::Durable, |txn| {
            super::revoke_user(txn, user, except.as_ref())
        })
    }

    /// Ends the session of a handle, durably; whether it lived. See [`sessions::revoke_handle`](super::revoke_handle).
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn revoke_session(&self, handle: Handle) -> Result<bool, SessionError> {
        self.run_on_sessions(Self::usual(None), (Access::Delete, 0), Until::Durable, |txn| {
            super::revoke_handle(txn, handle)
        })
    }

    /// Ends all sessions of a class, durably; how many, or `None` if there is no such class. See [`sessions::revoke_class`](super::revoke_class).
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn revoke_session_class(&self, class: &str) -> Result<Option<u64>, SessionError> {
        self.reap_sessions()?;
        self.run_on_sessions(Self::usual(None), (Access::Delete, 0), Until::Durable, |txn| {
            super::revoke_class(txn, class)
        })
    }

    /// Ends all sessions; how many. See [`sessions::flush`](super::flush).
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn flush_sessions(&self) -> Result<u64, SessionError> {
        self.reap_sessions()?;
        self.run_on_sessions(Self::usual(None), (Access::Delete, 0), Until::Acknowledged, super::flush)
    }

    /// Counts a lease of a session. See [`sessions::fence`](super::fence).
    ///
    /// # Errors
    /// As there; [`SessionError::Db`].
    pub fn fence_session(&self, token: &[u8]) -> Result<Option<(Handle, u64)>, SessionError> {
        let Some(digest) = self.session_digest(token) else { return Ok(None) };
        self.run_on_sessions(vec![digest.key()], (Access::Write, 0), Until::Acknowledged, |txn| {
            super::fence(txn, &digest)
        })
    }

    /// The living sessions of a user. See [`sessions::list`](super::list).
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn list_sessions(&self, user: &[u8], cursor: u64, count: usize) -> Result<ListPage, SessionError> {
        self.run_on_sessions(vec![SessionKey::user(user)], (Access::Read, 0), Until::Acknowledged, |txn| {
            super::list(txn, user, cursor, count)
        })
    }

    /// How many sessions live, exactly, of a class or all, of a user or all.
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn count_sessions(&self, class: Option<&str>, user: Option<&[u8]>) -> Result<u64, SessionError> {
        if user.is_none() {
            self.reap_sessions()?;
        }
        self.run_on_sessions(Self::usual(None), (Access::Read, 0), Until::Acknowledged, |txn| {
            super::count(txn, class, user)
        })
    }

    /// Sets a class's policy, durably. See [`sessions::set_policy`](super::set_policy).
    ///
    /// # Errors
    /// As there; [`SessionError::Db`].
    pub fn set_session_policy(&self, class: &str, policy: Policy) -> Result<(), SessionError> {
        self.run_on_sessions(Self::usual(None), (Access::Write, 0), Until::Durable, |txn| {
            super::set_policy(txn, class, policy)
        })
    }

    /// Deletes a class's policy, durably. See [`sessions::delete_policy`](super::delete_policy).
    ///
    /// # Errors
    /// As there; [`SessionError::Db`].
    pub fn delete_session_policy(&self, class: &str) -> Result<bool, SessionError> {
        self.run_on_sessions(Self::usual(None), (Access::Delete, 0), Until::Durable, |txn| {
            super::delete_policy(txn, class)
        })
    }

    /// A class's policy; `None` if there is none.
    pub fn session_policy(&self, class: &str) -> Option<Policy> {
        self.inner.sessions.classes.get().named(class).map(|class| class.policy)
    }

    /// The names of classes that have a policy, in order.
    pub fn session_policies(&self) -> Vec<String> {
        self.inner.sessions.classes.get().names().map(|name| name.to_string()).collect()
    }

    /// At most `count` events after a cursor, all of them durable; from the oldest kept without one. See [`sessions::events`](super::events).
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn session_events(&self, after: Option<u64>, count: usize) -> Result<EventPage, SessionError> {
        let page =
            self.run_on_sessions(Self::usual(None), (Access::Read, 0), Until::Acknowledged, |txn| {
                super::events(txn, after, count)
            })?;
        if !page.events.is_empty() {
            self.inner.wal.sync(page.durable_at).map_err(Error::of_log)?;
        }
        Ok(page)
    }

    /// Takes all sessions away whose deadline has come, which is told of: then counts without a user are exact. Waits for values on disk.
    ///
    /// # Errors
    /// [`SessionError::Db`].
    pub fn reap_sessions(&self) -> Result<(), SessionError> {
        background::expire_due(&self.inner);
        reaper::reap_all(&self.inner)
    }

    /// As [`reap_sessions`](Self::reap_sessions), for event loops: false if it would have to wait, or to take any away; then call that, where waiting stops
    /// nobody.
    pub fn sessions_are_reaped(&self) -> bool {
        background::expire_due(&self.inner);
        self.inner.sessions.due.is_settled()
    }

    /// How long events are kept, and how many bytes of them; the defaults are 7 days and 64 MiB.
    pub fn set_session_events_kept(&self, max_age: Duration, max_bytes: u64) {
        let sessions = &self.inner.sessions;
        let max_age_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        sessions.events_max_age_ms.store(max_age_ms, Ordering::Relaxed);
        sessions.events_max_bytes.store(max_bytes, Ordering::Relaxed);
        sessions.trim_due_ms.store(0, Ordering::Relaxed);
        self.inner.pauses.sessions.wake();
    }

    /// Sets what is called, with nothing locked, when there may be new events: by whichever thread has made them. It must be quick. Only the first
    /// call counts.
    pub fn set_session_event_notifier(&self, notify: Box<dyn Fn() + Send + Sync>) {
        let _ = self.inner.sessions.notify.set(notify);
    }

    /// Sessions that are kept, also those whose deadline has just come, or that were revoked with their class and are being taken away: for figures.
    pub fn sessions_kept(&self) -> usize {
        self.inner.shards.iter().map(|shard| shard.lock().counts(crate::key::SESSIONS).keys as usize).sum()
    }

    /// Sessions that were taken away because their deadline had come, since the database was opened.
    pub fn sessions_expired(&self) -> u64 {
        self.inner.sessions.expired.load(Ordering::Relaxed)
    }
}
