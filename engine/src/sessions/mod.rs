//! Sessions: a token in a client's hand, fields behind it, idle and absolute limits, an index from users, and a record of what happened.
//!
//! Everything is ordinary keys in internal databases: so the log, checkpoints, tiering and recovery are those of all keys, and one
//! transaction, one record of the log, changes a session with its user's index, the counts and the events.
//!
//! ```text
//! sessions  id of the current token ─▶ hash: header, what varies, the caller's fields        record.rs
//! tokens    ids of old tokens       ─▶ which session it was, until when it may be used      resolve.rs
//! users     user                    ─▶ set of the ids of his sessions                        users.rs
//! system    "classes"               ─▶ policies and generations                             class.rs
//!           "state", "e…"           ─▶ counts; events in chunks                             counts.rs, events.rs
//! ```
//!
//! The functions here work in a transaction of the caller's, at its time, and draw nothing at random. They change nothing if they fail. What they
//! need beside the keys that the transaction was begun with they ask for: [`SessionError::Needs`] is not an answer, but says to begin again with
//! these keys, too. [`Db`](crate::Db) has the same in a convenient form, which blocks.
//!
//! What must never happen here: a token is kept or shown; a session is used that is dead, or another's; one ends twice, or without an event; the
//! index, the counts and the sessions disagree.

mod access;
mod adopt;
mod audit;
mod class;
mod counts;
mod create;
mod doom;
mod end;
mod events;
mod list;
pub(crate) mod listeners;
mod plan;
pub(crate) mod reaper;
mod record;
mod resolve;
mod run;
mod state;
mod token;
mod users;

pub use access::{Conditions, Session};
pub use class::{CLASS_NAME_BYTES_MAX, CLASSES_MAX, OnLimit, Policy};
pub use create::{Made, NewSession};
pub use events::{Event, EventKind, EventPage, NumberedEvent};
pub use list::{ListPage, Listed};
#[cfg(feature = "typed")]
pub(crate) use run::Until;
pub(crate) use state::Sessions;
pub(crate) use token::DIGEST_KEY_BYTES;
pub use token::{HANDLE_CHARACTERS, Handle, NewToken, SessionKey, TOKEN_CHARACTERS, Token, TokenDigest};

use crate::{Error, Txn};
use plan::Plan;
use std::sync::Arc;

/// The name of the file with the digest key.
pub(crate) const DIGEST_KEY_FILE: &str = "session-key";

/// Why an operation on sessions has done nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Not an answer: these keys are needed, too. Begin again with them and those that were given before.
    #[error("further keys are needed")]
    Needs(Vec<SessionKey>),
    /// There is no such class, or its policy was deleted.
    #[error("there is no such session class")]
    UnknownClass,
    /// The user has as many sessions as the class allows.
    #[error("the user has {limit} sessions, as many as the class allows")]
    Limit {
        /// So many are allowed.
        limit: u32,
    },
    /// The session's version is another.
    #[error("the session's version is {version}")]
    Conflict {
        /// The one that it is.
        version: u64,
    },
    /// The session's last lease is another.
    #[error("the session's last lease is {fence}")]
    Fenced {
        /// The one that it is.
        fence: u64,
    },
    /// The token was rotated away: in its grace it may read, touch and end its session, nothing else.
    #[error("the token was rotated away")]
    StaleToken,
    /// The token that was to be kept is none of the user's.
    #[error("the token is not that of a live session of the user")]
    NotOfUser,
    /// A preset can't be changed.
    #[error("a preset can't be changed")]
    Preset,
    /// The name of a class is empty, or longer than [`CLASS_NAME_BYTES_MAX`].
    #[error("the name of a session class has 1 to {CLASS_NAME_BYTES_MAX} bytes")]
    ClassName,
    /// There are [`CLASSES_MAX`] classes.
    #[error("there are {CLASSES_MAX} session classes, as many as there can be")]
    TooManyClasses,
    /// More sessions would end at once than one record of events can hold.
    #[error("too many sessions would end at once")]
    TooManyEvents,
    /// The new token is another session's: draw another. It happens to nobody who draws them at random.
    #[error("the token is another session's")]
    TokenTaken,
    /// Something of the sessions is not what was put there.
    #[error("{what} can't be read: the directory was changed by another version, or is damaged")]
    Damaged {
        /// What it is.
        what: &'static str,
    },
    /// The database has failed, or refuses.
    #[error(transparent)]
    Db(#[from] Error),
}

impl SessionError {
    /// Whether it is because of something that is not what was put there: it will be so the next time, too.
    fn is_damage(&self) -> bool {
        matches!(
            self,
            SessionError::Damaged { .. }
                | SessionError::Db(Error::DamagedValue { .. } | Error::DamagedMemory { .. })
        )
    }
}

/// Makes a session of a class that exists, for a [new token](crate::Db::new_session_token). If its user has as many of the class as the policy
/// allows, the least recently seen ends, or this one is refused.
///
/// # Errors
/// [`SessionError::UnknownClass`], [`SessionError::Limit`], [`SessionError::TokenTaken`]; [`SessionError::Needs`].
pub fn create(txn: &mut Txn<'_>, new: &NewSession<'_>, digest: &TokenDigest) -> Result<Made, SessionError> {
    create::create(txn, new, digest)
}

/// The session of a token, and, if `touch`, its deadline moved; `None` if there is none that lives. An old token in its grace will do.
/// In a transaction that was begun to read, `touch` must be false, and the reuse of an old token is not told of.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn get<'t>(
    txn: &'t mut Txn<'_>,
    digest: &TokenDigest,
    touch: bool,
) -> Result<Option<Session<'t>>, SessionError> {
    access::get(txn, digest, touch)
}

/// Sets fields, of two values for one the last, and touches the session; its new version, or `None` if it does not live.
///
/// # Errors
/// [`SessionError::StaleToken`], [`SessionError::Fenced`], [`SessionError::Conflict`]; [`SessionError::Needs`].
pub fn set(
    txn: &mut Txn<'_>,
    digest: &TokenDigest,
    conditions: &Conditions,
    fields: &[[&[u8]; 2]],
) -> Result<Option<u64>, SessionError> {
    access::set(txn, digest, conditions, fields)
}

/// Removes fields, and touches the session; its version, which is a new one if any of them was there, or `None` if it does not live.
///
/// # Errors
/// As [`set`].
pub fn unset(
    txn: &mut Txn<'_>,
    digest: &TokenDigest,
    conditions: &Conditions,
    fields: &[&[u8]],
) -> Result<Option<u64>, SessionError> {
    access::unset(txn, digest, conditions, fields)
}

/// Moves the deadlines of sessions; how many of the tokens stand for one that lives.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn touch(txn: &mut Txn<'_>, digests: &[TokenDigest]) -> Result<u64, SessionError> {
    access::touch(txn, digests)
}

/// Gives a session another token; `None` if it does not live. The old one may read, touch and end it for `grace_s` seconds, at most (and by default)
/// those of its class's policy when it was made. Its commit must be durable before anybody is told.
///
/// # Errors
/// [`SessionError::StaleToken`], [`SessionError::TokenTaken`]; [`SessionError::Needs`].
pub fn rotate(
    txn: &mut Txn<'_>,
    digest: &TokenDigest,
    grace_s: Option<u64>,
    new: &TokenDigest,
) -> Result<Option<Made>, SessionError> {
    create::rotate(txn, digest, grace_s, new)
}

/// Ends sessions; how many lived. Its commit must be durable before anybody is told.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn end(txn: &mut Txn<'_>, digests: &[TokenDigest]) -> Result<u64, SessionError> {
    end::end(txn, digests)
}

/// Ends all sessions of a user, but that of the token `except`; how many. Its commit must be durable before anybody is told.
///
/// # Errors
/// [`SessionError::NotOfUser`]: `except` is none of the user's, and nothing was done; [`SessionError::TooManyEvents`]; [`SessionError::Needs`].
pub fn revoke_user(
    txn: &mut Txn<'_>,
    user: &[u8],
    except: Option<&TokenDigest>,
) -> Result<u64, SessionError> {
    end::revoke_user(txn, user, except)
}

/// Ends the session of a handle; whether it lived. Its commit must be durable before anybody is told.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn revoke_handle(txn: &mut Txn<'_>, handle: Handle) -> Result<bool, SessionError> {
    end::revoke_handle(txn, handle)
}

/// Ends all sessions of a class, whatever their number, at the same cost; how many, or `None` if there is no such class. Its policy stays. Its
/// commit must be durable before anybody is told. (For an exact number [reap](crate::Db::reap_sessions) first.)
///
/// # Errors
/// [`SessionError::Needs`].
pub fn revoke_class(txn: &mut Txn<'_>, class: &str) -> Result<Option<u64>, SessionError> {
    end::revoke_class(txn, class)
}

/// Ends all sessions, whatever their number, at the same cost; how many. Policies and events stay. (For an exact number
/// [reap](crate::Db::reap_sessions) first.)
///
/// # Errors
/// [`SessionError::Needs`].
pub fn flush(txn: &mut Txn<'_>) -> Result<u64, SessionError> {
    end::flush(txn)
}

/// Counts a lease: its number is the session's [fence](Session::fence) from now on. `None` if it does not live. No touch.
///
/// # Errors
/// [`SessionError::StaleToken`]; [`SessionError::Needs`].
pub fn fence(txn: &mut Txn<'_>, digest: &TokenDigest) -> Result<Option<(Handle, u64)>, SessionError> {
    access::fence(txn, digest)
}

/// The living sessions of a user, most recently seen first: at least `count` from `cursor` on (0: from the first), if there are as many. One that is
/// touched between two parts may be missing from the second.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn list(txn: &Txn<'_>, user: &[u8], cursor: u64, count: usize) -> Result<ListPage, SessionError> {
    list::list(txn, user, cursor, count)
}

/// How many sessions live, of a class or all, of a user or all. Without a user those count whose deadline has come and that have not been
/// [reaped](crate::Db::reap_sessions).
///
/// # Errors
/// [`SessionError::Needs`].
pub fn count(txn: &Txn<'_>, class: Option<&str>, user: Option<&[u8]>) -> Result<u64, SessionError> {
    list::count(txn, class, user)
}

/// Sets a class's policy, making the class; sessions that are there keep the limits that they were made with. Its commit must be durable before
/// anybody is told.
///
/// # Errors
/// [`SessionError::Preset`], [`SessionError::ClassName`], [`SessionError::TooManyClasses`]; [`SessionError::Needs`].
pub fn set_policy(txn: &mut Txn<'_>, class: &str, policy: Policy) -> Result<(), SessionError> {
    class::set_policy(txn, class, policy)
}

/// Deletes a class's policy; whether there was one. Sessions of it live on. Its commit must be durable before anybody is told.
///
/// # Errors
/// [`SessionError::Preset`]; [`SessionError::Needs`].
pub fn delete_policy(txn: &mut Txn<'_>, class: &str) -> Result<bool, SessionError> {
    class::delete_policy(txn, class)
}

/// A class's policy; `None` if there is none.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn policy(txn: &Txn<'_>, class: &str) -> Result<Option<Policy>, SessionError> {
    Ok(class::table(txn, &mut Plan::default())?.named(class).map(|class| class.policy))
}

/// The names of classes that have a policy, in order.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn policies(txn: &Txn<'_>) -> Result<Vec<Arc<str>>, SessionError> {
    Ok(class::table(txn, &mut Plan::default())?.names().cloned().collect())
}

/// At most `count` events after a cursor; from the oldest kept without one. They must not be passed on before
/// [`durable_at`](EventPage::durable_at) is durable.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn events(txn: &Txn<'_>, after: Option<u64>, count: usize) -> Result<EventPage, SessionError> {
    events::read(txn, after, count)
}

/// Tells that so many tokens were used that no session has; `reason`: by whom. The caller bounds how often.
///
/// # Errors
/// [`SessionError::Needs`].
pub fn tell_of_unknown(txn: &mut Txn<'_>, count: u64, reason: &[u8]) -> Result<(), SessionError> {
    let now_ms = txn.now_ms();
    let mut event = Event::of(EventKind::Unknown, now_ms);
    (event.count, event.reason) = (Some(count), Some(reason.to_vec()));
    let mut plan = Plan::default();
    let tail = events::plan(txn, &mut plan, events::bytes_of(std::slice::from_ref(&event)))?;
    plan.check()?;
    if let Some(tail) = tail {
        events::append(txn, &tail, &[event], now_ms);
    }
    Ok(())
}

/// The keys that most operations beside those on one token need: begin with them (and with [`TokenDigest::key`]) to be asked less often.
pub fn usual_keys() -> [SessionKey; 2] {
    [SessionKey::system(class::CLASSES), SessionKey::system(events::STATE)]
}
