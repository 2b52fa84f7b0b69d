//! Sessions of one class, each with a payload of one type.

use super::codec::{Codec, PayloadError};
use super::{ClassPolicy, Events, Opening, StoreError};
use crate::db::Db;
use crate::sessions::{
    self, Conditions, Handle, Listed, Made, NewSession, Session, SessionError, Token, Until,
};
use crate::txn::{Access, Txn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// The field of a session that holds its payload. Other fields are other clients' ([`Db::set_session_fields`], `SESSION.SET`).
pub const PAYLOAD_FIELD: &[u8] = b"payload";
/// How often an update is tried before it gives up. In each round somebody's succeeds, so it takes as many others as that, all at once.
pub const UPDATE_ATTEMPTS_MAX: usize = 1000;
/// Sessions of a user that are looked at together.
const LISTED_TOGETHER: usize = 128;

/// Sessions of a class, with payloads of type `T`. Cheap to clone; see [the module's page](super).
///
/// A token of another class's session stands for none here.
pub struct Sessions<T> {
    db: Db,
    class: Arc<str>,
    codec: Codec<T>,
}

impl<T> Clone for Sessions<T> {
    fn clone(&self) -> Sessions<T> {
        Sessions { db: self.db.clone(), class: self.class.clone(), codec: self.codec.clone() }
    }
}

impl<T> std::fmt::Debug for Sessions<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let schema = self.codec.version;
        f.debug_struct("Sessions")
            .field("class", &self.class)
            .field("schema", &schema)
            .finish_non_exhaustive()
    }
}

/// A session, with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The application's.
    pub payload: T,
    /// Its public name.
    pub handle: Handle,
    /// Whose it is.
    pub user: Option<Vec<u8>>,
    /// What was said of it when it was made.
    pub meta: Vec<u8>,
    /// Rises by one with each change.
    pub version: u64,
    /// When it was made, in ms since the epoch.
    pub created_ms: u64,
    /// When it was last touched, in ms since the epoch.
    pub seen_ms: u64,
    /// When it dies unless it is touched, in ms since the epoch; `None`: never.
    pub deadline_ms: Option<u64>,
    /// When it dies at the latest, in ms since the epoch; `None`: there is no such limit.
    pub absolute_ms: Option<u64>,
}

/// What is copied of a session under its lock; the payload is read when that is free again.
fn copied(session: &Session<'_>) -> Loaded<Option<Vec<u8>>> {
    Loaded {
        payload: session.field(PAYLOAD_FIELD).map(<[u8]>::to_vec),
        handle: session.handle(),
        user: session.user().map(<[u8]>::to_vec),
        meta: session.meta().to_vec(),
        version: session.version(),
        created_ms: session.created_ms(),
        seen_ms: session.seen_ms(),
        deadline_ms: session.deadline_ms(),
        absolute_ms: session.absolute_ms(),
    }
}

impl<S> Loaded<S> {
    fn with<T>(self, payload: T) -> Loaded<T> {
        let Loaded { payload: _, handle, user, meta, version, created_ms, seen_ms, deadline_ms, absolute_ms } =
            self;
        Loaded { payload, handle, user, meta, version, created_ms, seen_ms, deadline_ms, absolute_ms }
    }
}

impl Db {
    /// Sessions of a class with payloads of type `T`. The class is made, or given these limits, durably, if it has others; sessions that are
    /// there keep theirs.
    ///
    /// # Errors
    /// [`SessionError::UnknownClass`] for a [class that should exist](ClassPolicy::existing); those of
    /// [`set_session_policy`](Self::set_session_policy).
    pub fn sessions<T: Serialize + DeserializeOwned>(
        &self,
        class: &ClassPolicy,
    ) -> Result<Sessions<T>, SessionError> {
        let present = self.session_policy(&class.name);
        match class.policy {
            None if present.is_none() => return Err(SessionError::UnknownClass),
            Some(policy) if present != Some(policy) => self.set_session_policy(&class.name, policy)?,
            _ => {}
        }
        Ok(Sessions { db: self.clone(), class: class.name.as_str().into(), codec: Codec::new() })
    }
}

impl<T: Serialize + DeserializeOwned> Sessions<T> {
    /// The version of `T`'s schema, 0 unless set: it is written in front of each payload. Raise it whenever fields are added, removed, reordered
    /// or change their type, and say how to [read the ones before](Self::upgrading).
    #[must_use]
    pub fn schema(mut self, version: u32) -> Sessions<T> {
        self.codec.version = version;
        self
    }

    /// How a payload of an older schema becomes one of this. It is written anew by the next [`update`](Self::update).
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use sessile::{Db, typed::{ClassPolicy, Opening}};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// #[derive(Serialize, Deserialize)]
    /// struct LoginV0 { name: String }
    /// #[derive(Serialize, Deserialize)]
    /// struct Login { name: String, cart: Vec<u32> }
    ///
    /// # let old = db.sessions::<LoginV0>(&ClassPolicy::aal2())?;
    /// # let (token, _) = old.create(Opening::anonymous(), &LoginV0 { name: "Ann".into() })?;
    /// let sessions = db
    ///     .sessions::<Login>(&ClassPolicy::aal2())?
    ///     .schema(1)
    ///     .upgrading(0, |old: LoginV0| Login { name: old.name, cart: vec![] });
    /// # assert_eq!(sessions.load(token.as_str())?.unwrap().payload.name, "Ann");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn upgrading<Old: DeserializeOwned>(
        mut self,
        version: u32,
        upgrade: impl Fn(Old) -> T + Send + Sync + 'static,
    ) -> Sessions<T> {
        self.codec.upgrade(version, upgrade);
        self
    }

    /// The name of the class.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Begins a session; its token, which nobody can ask for again.
    ///
    /// # Errors
    /// [`SessionError::Limit`] with [`reject_beyond`](ClassPolicy::reject_beyond); [`StoreError::Payload`]; those of the database.
    pub fn create(&self, opening: Opening<'_>, payload: &T) -> Result<(Token, Made), StoreError> {
        let payload = self.codec.encode(payload)?;
        let Opening { user, meta, idle_s, max_s } = opening;
        let fields = [[PAYLOAD_FIELD, &payload]];
        let new = NewSession { class: &self.class, user, idle_s, max_s, meta, fields: &fields };
        Ok(self.db.create_session(&new)?)
    }

    /// An operation on the session of a token, if it lives and is of this class.
    fn on<R>(
        &self,
        token: &str,
        (access, bytes): (Access, usize),
        until: Until,
        mut run: impl FnMut(&mut Txn<'_>, &sessions::TokenDigest) -> Result<Option<R>, SessionError>,
    ) -> Result<Option<R>, SessionError> {
        let Some(digest) = self.db.session_digest(token.as_bytes()) else { return Ok(None) };
        self.db.run_on_sessions(vec![digest.key()], (access, bytes), until, |txn| {
            match sessions::get(txn, &digest, false)? {
                Some(session) if **session.class() == *self.class => run(txn, &digest),
                _ => Ok(None),
            }
        })
    }

    fn look(&self, token: &str, touch: bool) -> Result<Option<Loaded<Option<Vec<u8>>>>, SessionError> {
        self.on(token, (Access::Write, 0), Until::Acknowledged, |txn, digest| {
            Ok(sessions::get(txn, digest, touch)?.map(|session| copied(&session)))
        })
    }

    fn read(&self, session: Loaded<Option<Vec<u8>>>) -> Result<Loaded<T>, PayloadError> {
        let bytes = session.payload.as_deref().ok_or(PayloadError::Missing)?;
        let payload = self.codec.decode(bytes)?;
        Ok(session.with(payload))
    }

    /// The session of a token, whose deadline moves: what each request does. `None` if none lives. A token that was rotated away will do while its grace
    /// lasts.
    ///
    /// # Errors
    /// [`StoreError::Payload`]; those of the database.
    pub fn load(&self, token: &str) -> Result<Option<Loaded<T>>, StoreError> {
        Ok(self.look(token, true)?.map(|session| self.read(session)).transpose()?)
    }

    /// As [`load`](Self::load), but nothing moves: for requests that no person made, such as polling.
    ///
    /// # Errors
    /// As there.
    pub fn peek(&self, token: &str) -> Result<Option<Loaded<T>>, StoreError> {
        Ok(self.look(token, false)?.map(|session| self.read(session)).transpose()?)
    }

    /// Changes the payload: what `change` returns, or `None` if no session lives. If somebody else changed it at the same time, all is
    /// done again with theirs, so nobody's change is lost, and `change` may run several times. If the payload is left as it was, nothing is written but the touch.
    /// No lock is held meanwhile. A session that has ended stays ended.
    ///
    /// # Errors
    /// [`SessionError::StaleToken`] for a token that was rotated away; [`SessionError::Conflict`] after [`UPDATE_ATTEMPTS_MAX`] vain attempts;
    /// [`StoreError::Payload`]; those of the database.
    pub fn update<R>(
        &self,
        token: &str,
        mut change: impl FnMut(&mut T) -> R,
    ) -> Result<Option<R>, StoreError> {
        let mut attempts = 1;
        loop {
            let Some(session) = self.look(token, true)? else { return Ok(None) };
            let before = session.payload.ok_or(PayloadError::Missing)?;
            let mut payload = self.codec.decode(&before)?;
            let answer = change(&mut payload);
            let after = self.codec.encode(&payload)?;
            if before == after {
                return Ok(Some(answer));
            }
            match self.put(token, session.version, &after) {
                Ok(written) => return Ok(written.map(|_| answer)),
                Err(SessionError::Conflict { .. }) if attempts < UPDATE_ATTEMPTS_MAX => attempts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn put(&self, token: &str, version: u64, payload: &[u8]) -> Result<Option<u64>, SessionError> {
        let conditions = Conditions { version: Some(version), fence: None };
        let bytes = payload.len() + PAYLOAD_FIELD.len();
        self.on(token, (Access::Write, bytes), Until::Acknowledged, |txn, digest| {
            sessions::set(txn, digest, &conditions, &[[PAYLOAD_FIELD, payload]])
        })
    }

    /// Replaces the payload if the session's version is still the one that was [loaded](Loaded::version); the new version, or `None` if no session lives.
    ///
    /// # Errors
    /// [`SessionError::Conflict`], and nothing was written; [`SessionError::StaleToken`]; [`StoreError::Payload`]; those of the database.
    pub fn replace(&self, token: &str, version: u64, payload: &T) -> Result<Option<u64>, StoreError> {
        Ok(self.put(token, version, &self.codec.encode(payload)?)?)
    }

    /// Moves the deadline, and nothing else; whether the session lives.
    ///
    /// # Errors
    /// Those of the database.
    pub fn touch(&self, token: &str) -> Result<bool, StoreError> {
        let alive = self.on(token, (Access::Write, 0), Until::Acknowledged, |txn, digest| {
            Ok((sessions::touch(txn, &[*digest])? > 0).then_some(()))
        })?;
        Ok(alive.is_some())
    }

    /// Gives the session another token, durably: at each change of privilege. `None` if none lives. The old one may read, touch and end it for
    /// the class's [grace](ClassPolicy::grace), or a shorter one; its use after that is an event.
    ///
    /// # Errors
    /// [`SessionError::StaleToken`] if the token was rotated away before; those of the database.
    pub fn rotate(&self, token: &str, grace: Option<Duration>) -> Result<Option<(Token, Made)>, StoreError> {
        let new = self.db.new_session_token()?;
        let grace_s = grace.map(|grace| grace.as_secs());
        let made = self.on(token, (Access::Write, 0), Until::Durable, |txn, digest| {
            sessions::rotate(txn, digest, grace_s, &new.digest)
        })?;
        Ok(made.map(|made| (new.token, made)))
    }

    /// Ends the session, durably; whether it lived.
    ///
    /// # Errors
    /// Those of the database.
    pub fn end(&self, token: &str) -> Result<bool, StoreError> {
        let ended = self.on(token, (Access::Delete, 0), Until::Durable, |txn, digest| {
            Ok((sessions::end(txn, &[*digest])? > 0).then_some(()))
        })?;
        Ok(ended.is_some())
    }

    /// Ends all sessions of a user, of whatever class, durably, but that of the token `except`; how many.
    ///
    /// # Errors
    /// [`SessionError::NotOfUser`]: `except` is none of the user's live ones, and nothing was done; those of the database.
    pub fn revoke_user(&self, user: impl AsRef<[u8]>, except: Option<&str>) -> Result<u64, StoreError> {
        Ok(self.db.revoke_user_sessions(user.as_ref(), except.map(str::as_bytes))?)
    }

    /// Ends the session of a handle, durably, as from a list; whether it lived. It must be the caller's to end: look for the handle in
    /// [the user's list](Self::list) first.
    ///
    /// # Errors
    /// Those of the database.
    pub fn revoke(&self, handle: Handle) -> Result<bool, StoreError> {
        Ok(self.db.revoke_session(handle)?)
    }

    /// Ends all sessions of the class, durably; how many. It costs the same for ten and for ten million.
    ///
    /// # Errors
    /// Those of the database.
    pub fn revoke_class(&self) -> Result<u64, StoreError> {
        Ok(self.db.revoke_session_class(&self.class)?.unwrap_or(0))
    }

    /// The live sessions of a user, of whatever class, most recently seen first.
    ///
    /// # Errors
    /// Those of the database.
    pub fn list(&self, user: impl AsRef<[u8]>) -> Result<Vec<Listed>, StoreError> {
        let (mut all, mut cursor) = (Vec::<Listed>::new(), 0);
        loop {
            let page = self.db.list_sessions(user.as_ref(), cursor, LISTED_TOGETHER)?;
            all.extend(page.sessions);
            cursor = page.cursor;
            if cursor == 0 {
                return Ok(all);
            }
        }
    }

    /// How many sessions of the class live, exactly; those of a user, or all.
    ///
    /// # Errors
    /// Those of the database.
    pub fn count(&self, user: Option<&[u8]>) -> Result<u64, StoreError> {
        Ok(self.db.count_sessions(Some(&self.class), user)?)
    }

    /// What happens to sessions of this class, and what concerns all classes, from the oldest that is kept on. See [`Events`].
    pub fn events(&self) -> Events {
        self.events_after(None)
    }

    /// As [`events`](Self::events), but from a saved [cursor](Events::cursor) on.
    pub fn events_after(&self, cursor: Option<u64>) -> Events {
        Events::new(self.db.clone(), cursor, Some(self.class.clone()))
    }
}
