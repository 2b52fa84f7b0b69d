//! The store.
//!
//! tower-sessions has ids of 16 bytes, Sessile tokens of 32: an id's token is the id and a fixed half of ours. What must never happen here: a save revives
//! a session; one of another class is taken for one of ours; a session gets into a user's hands without being in his index.

use crate::data::{self, DATA, EXPIRES, IDLE, Stored};
use async_trait::async_trait;
use sessile::sessions::{Conditions, Handle, Listed, NewSession, SessionError, Token};
use sessile::typed::{ClassPolicy, Sessions};
use sessile::{Db, Durability};
use std::collections::HashMap;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, Result};
use zeroize::Zeroizing;

/// The half of a token that is not the id: so no token that Sessile draws itself stands for an id, and none of an id for a session that was made otherwise.
const OTHER_HALF: [u8; 16] = *b"sessile-tower: 1";
/// What an application asks for may differ by this much from the session's idle limit without being written down, in ms: it is counted from a moment
/// before this.
const SLACK_MS: u64 = 1_000;
/// Ids that are drawn before it gives up: not one has ever been taken.
const DRAWS_MAX: usize = 8;

/// Why something beside the trait was not done.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(#[from] SessionError);

#[derive(Debug)]
struct Shared {
    db: Db,
    class: String,
    user_key: Option<String>,
    meta_key: Option<String>,
}

/// A [`SessionStore`] on a [`Db`]. Cheap to clone; see [the crate's page](crate).
#[derive(Clone, Debug)]
pub struct SessileStore {
    shared: Arc<Shared>,
}

impl SessileStore {
    /// A store of sessions of a class, which is made, or given these limits.
    ///
    /// # Errors
    /// Those of [`Db::sessions`].
    pub fn new(db: Db, class: &ClassPolicy) -> std::result::Result<SessileStore, StoreError> {
        let sessions: Sessions<()> = db.sessions(class)?;
        let class = sessions.class().to_owned();
        Ok(SessileStore { shared: Arc::new(Shared { db, class, user_key: None, meta_key: None }) })
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> SessileStore {
        let Shared { db, class, user_key, meta_key } = &*self.shared;
        let mut shared = Shared {
            db: db.clone(),
            class: class.clone(),
            user_key: user_key.clone(),
            meta_key: meta_key.clone(),
        };
        change(&mut shared);
        SessileStore { shared: Arc::new(shared) }
    }

    /// The key under which the application keeps the user's id in a session, a string or a number: sessions that are made with it are that user's.
    /// Setting it in a session that is there needs `Session::cycle_id`; without, saving is refused.
    #[must_use]
    pub fn with_user_key(self, key: impl Into<String>) -> SessileStore {
        self.with(|shared| shared.user_key = Some(key.into()))
    }

    /// The key under which the application keeps what a list of sessions should say of each: the device, say. It is taken when the session is made.
    #[must_use]
    pub fn with_meta_key(self, key: impl Into<String>) -> SessileStore {
        self.with(|shared| shared.meta_key = Some(key.into()))
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.shared.db
    }

    /// The public name of an id's session, as in a list; `None` if none lives.
    ///
    /// # Errors
    /// Those of the database.
    pub fn handle(&self, id: &Id) -> std::result::Result<Option<Handle>, StoreError> {
        let shared = &self.shared;
        let found = shared.db.with_session(token_of(id).as_str().as_bytes(), false, |session| {
            (**session.class() == *shared.class).then(|| session.handle())
        })?;
        Ok(found.flatten())
    }

    /// The live sessions of a user, most recently seen first: "where am I logged in?"
    ///
    /// # Errors
    /// Those of the database.
    pub fn list(&self, user: &str) -> std::result::Result<Vec<Listed>, StoreError> {
        let (mut all, mut cursor) = (Vec::new(), 0);
        loop {
            let page = self.shared.db.list_sessions(user.as_bytes(), cursor, 128)?;
            all.extend(page.sessions);
            cursor = page.cursor;
            if cursor == 0 {
                return Ok(all);
            }
        }
    }

    /// Ends all sessions of a user, durably, but that of `except`; how many: "log out everywhere (else)". Whatever their class.
    ///
    /// # Errors
    /// [`SessionError::NotOfUser`], and nothing was done; those of the database.
    pub async fn revoke_user(&self, user: &str, except: Option<Id>) -> std::result::Result<u64, StoreError> {
        let user = user.to_owned();
        let revoked = self.blocking(move |shared| {
            let except = except.map(|id| token_of(&id));
            let except = except.as_ref().map(|token| token.as_str().as_bytes());
            shared.db.revoke_user_sessions(user.as_bytes(), except)
        });
        Ok(revoked.await?)
    }

    /// Ends one session of a user by its handle, durably; false if it is none of the user's live ones.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoke(&self, user: &str, handle: Handle) -> std::result::Result<bool, StoreError> {
        let (store, user) = (self.clone(), user.to_owned());
        let revoked = self.blocking(move |shared| {
            let is_his =
                store.list(&user).map_err(|StoreError(error)| error)?.iter().any(|one| one.handle == handle);
            Ok::<_, SessionError>(is_his && shared.db.revoke_session(handle)?)
        });
        Ok(revoked.await?)
    }

    /// Runs what waits for the disk where that stops nobody else; outside of a runtime, here.
    async fn blocking<R: Send + 'static>(
        &self,
        run: impl FnOnce(&Shared) -> std::result::Result<R, SessionError> + Send + 'static,
    ) -> std::result::Result<R, SessionError> {
        let shared = self.shared.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return run(&shared) };
        match runtime.spawn_blocking(move || run(&shared)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime shuts down before it has begun: nothing was done.
            Err(_) => Err(SessionError::Db(sessile::Error::Closed)),
        }
    }

    /// Runs a write: here, or elsewhere if it waits for the disk.
    async fn writing<R: Send + 'static>(
        &self,
        run: impl FnOnce(&Shared) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        match self.shared.db.durability() {
            Durability::Always => self.blocking(move |shared| Ok(run(shared))).await.map_err(failed)?,
            _ => run(&self.shared),
        }
    }
}

/// The token that stands for an id.
fn token_of(id: &Id) -> Token {
    let mut secret = Zeroizing::new([0; 32]);
    secret[..16].copy_from_slice(&id.0.to_le_bytes());
    secret[16..].copy_from_slice(&OTHER_HALF);
    Token::from_secret(&secret)
}

fn draw() -> Result<Id> {
    let mut bytes = Zeroizing::new([0; 16]);
    getrandom::fill(&mut *bytes).map_err(|error| Error::Backend(error.to_string()))?;
    Ok(Id(i128::from_le_bytes(*bytes)))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: SessionError) -> Error {
    Error::Backend(error.to_string())
}

/// What is left until a moment, in ms; 0 if it has passed.
fn left_ms(expiry: OffsetDateTime) -> u64 {
    let left = expiry - OffsetDateTime::now_utc();
    u64::try_from(left.whole_milliseconds().max(0)).unwrap_or(u64::MAX)
}

impl Shared {
    /// The session of an id, if it lives, is of our class, and the application has not wanted it to end before.
    fn find(&self, token: &Token) -> Result<Option<Stored>> {
        let found = self.db.with_session(token.as_str().as_bytes(), false, Stored::of).map_err(failed)?;
        Ok(found.filter(|stored| stored.class == self.class && stored.ends_ms() > self.db.now_ms()))
    }

    fn user(&self, data: &HashMap<String, serde_json::Value>) -> Option<String> {
        data::text(data, self.user_key.as_deref())
    }

    /// Makes the session of a record; its id.
    fn create(&self, record: &Record) -> Result<Id> {
        let encoded = data::encode(&record.data)?;
        let user = self.user(&record.data);
        let meta = data::text(&record.data, self.meta_key.as_deref()).unwrap_or_default();
        let left_ms = left_ms(record.expiry_date);
        let idle_s = left_ms.div_ceil(1000);
        let policy = self.db.session_policy(&self.class).ok_or_else(|| failed(SessionError::UnknownClass))?;
        let idle_ms = match policy.idle_s {
            0 => idle_s,
            policy_s => policy_s.min(idle_s),
        };
        let idle_ms = idle_ms.saturating_mul(1000).to_string();
        let fields = [[DATA, &encoded], [IDLE, idle_ms.as_bytes()]];
        let new = NewSession {
            class: &self.class,
            user: user.as_deref().map(str::as_bytes),
            idle_s: Some(idle_s),
            max_s: None,
            meta: meta.as_bytes(),
            fields: &fields,
        };
        for _ in 0..DRAWS_MAX {
            let id = draw()?;
            if left_ms == 0 {
                // It is to have ended already: an id that nobody has will do.
                return Ok(id);
            }
            match self.db.create_session_with(&token_of(&id), &new) {
                Ok(_) => return Ok(id),
                Err(SessionError::TokenTaken) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(SessionError::TokenTaken))
    }

    fn save(&self, record: &Record) -> Result<()> {
        let token = token_of(&record.id);
        let text = token.as_str().as_bytes();
        let Some(stored) = self.find(&token)? else {
            tracing::debug!("a session that has ended meanwhile was not saved");
            return Ok(());
        };
        let left_ms = left_ms(record.expiry_date);
        if self.user_key.is_some()
            && self.user(&record.data).as_deref().map(str::as_bytes) != stored.user.as_deref()
        {
            return Err(Error::Backend(
                "the session's user has changed: Session::cycle_id must be called at login and logout".into(),
            ));
        }
        // Both from now, whatever the clocks say.
        let expires_ms = self.db.now_ms().saturating_add(left_ms);
        let by_idle = left_ms <= stored.idle_ms.saturating_add(SLACK_MS)
            && left_ms.saturating_add(SLACK_MS) >= stored.idle_ms;
        let asked_before =
            stored.expires_ms.is_some_and(|before_ms| before_ms.abs_diff(expires_ms) <= SLACK_MS);
        let encoded = data::encode(&record.data)?;
        let deadline_only = if by_idle { stored.expires_ms.is_none() } else { asked_before };
        if encoded == stored.data && deadline_only {
            self.db.touch_sessions(&[text]).map_err(failed)?;
            return Ok(());
        }
        let expires = if by_idle { String::new() } else { expires_ms.to_string() };
        let fields: [[&[u8]; 2]; 2] = [[DATA, &encoded], [EXPIRES, expires.as_bytes()]];
        let changed = if deadline_only { &fields[..1] } else { &fields };
        self.db.set_session_fields(text, &Conditions::default(), changed).map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl SessionStore for SessileStore {
    /// Makes the session, and gives the record an id of the operating system's randomness.
    async fn create(&self, record: &mut Record) -> Result<()> {
        let own = record.clone();
        record.id = self.writing(move |shared| shared.create(&own)).await?;
        Ok(())
    }

    /// Changes a session that lives, and does nothing for one that has ended: that is no error, since a request can always be overtaken by a logout.
    async fn save(&self, record: &Record) -> Result<()> {
        if left_ms(record.expiry_date) == 0 {
            return self.delete(&record.id).await;
        }
        let own = record.clone();
        self.writing(move |shared| shared.save(&own)).await
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let Some(stored) = self.shared.find(&token_of(id))? else { return Ok(None) };
        let left_ms = stored.ends_ms().saturating_sub(self.shared.db.now_ms());
        let left = Duration::milliseconds(i64::try_from(left_ms).unwrap_or(i64::MAX));
        let expiry_date = OffsetDateTime::now_utc().saturating_add(left);
        Ok(Some(Record { id: *id, data: data::decode(&stored.data)?, expiry_date }))
    }

    /// Ends the session, durably.
    async fn delete(&self, id: &Id) -> Result<()> {
        let token = token_of(id);
        let ended = self.blocking(move |shared| {
            let text = token.as_str().as_bytes();
            let of_class =
                shared.db.with_session(text, false, |session| **session.class() == *shared.class)?;
            if of_class == Some(true) {
                shared.db.end_sessions(&[text])?;
            }
            Ok(())
        });
        ended.await.map_err(failed)
    }
}
