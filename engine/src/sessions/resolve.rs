//! From a token to its session.
//!
//! ```text
//! token's id ─▶ sessions: the record of its session, if the token is the current one
//!            └▶ tokens: it was the first one ─▶ a hash: "" ─▶ current id, old id ─▶ what is known of an old token
//!                       it was another      ─▶ a string: the id of the first one
//! ```
//!
//! A session's record is under the id of its current token, so that whoever brings that needs one key and nothing else. The hash of old tokens is
//! there once a token has been rotated away, and goes with the session.

use super::class::{self, Class};
use super::events::{self, Event, EventKind};
use super::plan::Plan;
use super::record::{Numbers, Record};
use super::token::{Handle, ID_BYTES, Id, TokenDigest};
use super::{SessionError, SessionKey};
use crate::object::Kind;
use crate::txn::Txn;

/// In the hash of old tokens: the current id.
pub(super) const CURRENT: &[u8] = b"";
/// No second event of the reuse of a token comes sooner, in ms.
const REUSE_PAUSE_MS: u64 = 60_000;

/// What is known of a token that was rotated away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OldToken {
    pub(super) verifier: [u8; ID_BYTES],
    /// It may be used for reading until then, in ms since the epoch.
    pub(super) grace_until_ms: u64,
    /// When it was last told of that it was used later; 0 for never.
    pub(super) told_ms: u64,
}

impl OldToken {
    pub(super) fn encode(&self) -> [u8; ID_BYTES + 16] {
        let mut bytes = [0; ID_BYTES + 16];
        bytes[..ID_BYTES].copy_from_slice(&self.verifier);
        bytes[ID_BYTES..ID_BYTES + 8].copy_from_slice(&self.grace_until_ms.to_le_bytes());
        bytes[ID_BYTES + 8..].copy_from_slice(&self.told_ms.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<OldToken> {
        let mut numbers = Numbers(bytes);
        let token = OldToken {
            verifier: numbers.array()?,
            grace_until_ms: numbers.long()?,
            told_ms: numbers.long()?,
        };
        numbers.0.is_empty().then_some(token)
    }
}

/// What a token stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resolved {
    /// The current token of the session under this id.
    Current(Id),
    /// One that was rotated away, in its grace.
    Grace(Id),
    /// One whose grace is over, of a session that lives.
    Reused(Reuse),
    /// None of a living session.
    Unknown,
}

/// The use of an old token after its grace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reuse {
    session: Id,
    first: Id,
    id: Id,
    token: OldToken,
}

impl Resolved {
    /// The session, for what an old token in its grace may do.
    pub(super) fn in_grace(self) -> Option<Id> {
        match self {
            Resolved::Current(id) | Resolved::Grace(id) => Some(id),
            Resolved::Reused(_) | Resolved::Unknown => None,
        }
    }

    /// The session, for what only its current token may do.
    ///
    /// # Errors
    /// [`SessionError::StaleToken`].
    pub(super) fn current(self) -> Result<Option<Id>, SessionError> {
        match self {
            Resolved::Current(id) => Ok(Some(id)),
            Resolved::Grace(_) => Err(SessionError::StaleToken),
            Resolved::Reused(_) | Resolved::Unknown => Ok(None),
        }
    }
}

/// The record under an id, if the session lives, with its class and its deadline. The key must be held.
pub(super) fn live<'t>(
    txn: &'t Txn<'_>,
    classes: &class::ClassTable,
    id: &Id,
) -> Result<Option<(Record<'t>, Class, u64)>, SessionError> {
    let key = SessionKey::session(id);
    let Some((view, deadline_ms)) = txn.living(&key.hashed_by(txn.hasher())) else { return Ok(None) };
    let record = Record::of(view, txn.hasher()).ok_or(SessionError::Damaged { what: "a session" })?;
    let class = classes.live(record.header.class, record.header.generation);
    Ok(class.map(|class| (record, class.clone(), deadline_ms)))
}

/// Finds the session of a token. Asks `plan` for keys that are missing; the answer means nothing then.
pub(super) fn resolve(
    txn: &Txn<'_>,
    classes: &class::ClassTable,
    digest: &TokenDigest,
    plan: &mut Plan,
) -> Result<Resolved, SessionError> {
    if plan.wants(txn, digest.key()) {
        return Ok(Resolved::Unknown);
    }
    if let Some((record, ..)) = live(txn, classes, &digest.id)?
        && digest.verifies(&record.header.verifier)
    {
        return Ok(Resolved::Current(digest.id));
    }
    let Some(first) = first_of(txn, &digest.id, plan)? else { return Ok(Resolved::Unknown) };
    let key = SessionKey::token(&first);
    if plan.wants(txn, key.clone()) {
        return Ok(Resolved::Unknown);
    }
    let damaged = SessionError::Damaged { what: "the tokens of a session" };
    let key = key.hashed_by(txn.hasher());
    let (Ok(current), Ok(token)) = (txn.hash_get(&key, CURRENT), txn.hash_get(&key, &digest.id)) else {
        return Err(damaged);
    };
    let (Some(current), Some(token)) = (current, token) else { return Ok(Resolved::Unknown) };
    let (Ok(session), Some(token)) = (Id::try_from(current), OldToken::decode(token)) else {
        return Err(damaged);
    };
    if !digest.verifies(&token.verifier) || plan.wants(txn, SessionKey::session(&session)) {
        return Ok(Resolved::Unknown);
    }
    if live(txn, classes, &session)?.is_none() {
        return Ok(Resolved::Unknown);
    }
    if txn.now_ms() < token.grace_until_ms {
        return Ok(Resolved::Grace(session));
    }
    Ok(Resolved::Reused(Reuse { session, first, id: digest.id, token }))
}

/// The first token's id of the session that an old token was of.
fn first_of(txn: &Txn<'_>, id: &Id, plan: &mut Plan) -> Result<Option<Id>, SessionError> {
    let key = SessionKey::token(id);
    if plan.wants(txn, key.clone()) {
        return Ok(None);
    }
    let key = key.hashed_by(txn.hasher());
    match txn.kind(&key) {
        None => Ok(None),
        Some(Kind::Hash) => Ok(Some(*id)),
        Some(Kind::String) => {
            let first = txn.string(&key).ok().flatten().and_then(|bytes| Id::try_from(bytes).ok());
            first.map(Some).ok_or(SessionError::Damaged { what: "a token" })
        }
        Some(_) => Err(SessionError::Damaged { what: "a token" }),
    }
}

/// The id that a handle's session is under by now; `None` if there is none. Asks for keys as [`resolve`] does.
pub(super) fn session_of(txn: &Txn<'_>, handle: Handle, plan: &mut Plan) -> Result<Option<Id>, SessionError> {
    let Handle(first) = handle;
    let (own, old) = (SessionKey::session(&first), SessionKey::token(&first));
    if plan.wants(txn, own.clone()) | plan.wants(txn, old.clone()) {
        return Ok(None);
    }
    if txn.has_entry(&own.hashed_by(txn.hasher())) {
        return Ok(Some(first));
    }
    let old = old.hashed_by(txn.hasher());
    if txn.kind(&old) != Some(Kind::Hash) {
        return Ok(None);
    }
    let current = txn.hash_get(&old, CURRENT).ok().flatten();
    let Some(session) = current.and_then(|bytes| Id::try_from(bytes).ok()) else {
        return Err(SessionError::Damaged { what: "the tokens of a session" });
    };
    if plan.wants(txn, SessionKey::session(&session)) {
        return Ok(None);
    }
    Ok(Some(session))
}

/// What telling of the reuse of tokens takes.
#[derive(Debug, Default)]
pub(super) struct ReusePlan {
    due: Vec<(Reuse, Event)>,
}

impl ReusePlan {
    /// Bytes that its events take at most.
    pub(super) fn bytes(&self) -> usize {
        self.due.iter().map(|(_, event)| events::bytes_of(std::slice::from_ref(event))).sum()
    }

    /// Notes that it is told of; the events to be appended.
    pub(super) fn carry_out(self, txn: &mut Txn<'_>) -> Vec<Event> {
        let now_ms = txn.now_ms();
        let mut events = Vec::with_capacity(self.due.len());
        for (reuse, event) in self.due {
            let key = SessionKey::token(&reuse.first);
            let key = key.hashed_by(txn.hasher());
            let told = OldToken { told_ms: now_ms, ..reuse.token };
            // Its kind was looked at when it was planned.
            let _ = txn.hash_set(&key, &reuse.id, &told.encode());
            events.push(event);
        }
        events
    }
}

/// Plans telling of those among `resolved` that are a reuse, where it is time to.
pub(super) fn plan_reuse(
    txn: &Txn<'_>,
    classes: &class::ClassTable,
    resolved: &[Resolved],
) -> Result<ReusePlan, SessionError> {
    let mut planned = ReusePlan::default();
    if !txn.may_write() {
        return Ok(planned);
    }
    let now_ms = txn.now_ms();
    for one in resolved {
        let Resolved::Reused(reuse) = one else { continue };
        let told_ms = reuse.token.told_ms;
        let again = planned.due.iter().any(|(other, _)| other.id == reuse.id);
        if again || told_ms != 0 && now_ms < told_ms.saturating_add(REUSE_PAUSE_MS) {
            continue;
        }
        if let Some((record, class, _)) = live(txn, classes, &reuse.session)? {
            let mut event = Event::of(EventKind::Reuse, now_ms);
            event.handle = Some(Handle(reuse.first));
            event.user = record.header.user.map(<[u8]>::to_vec);
            event.class = Some(class.name.to_string());
            planned.due.push((*reuse, event));
        }
    }
    Ok(planned)
}

/// Tells of the tokens among `resolved` whose use is to be told of.
pub(super) fn tell_reuse(
    txn: &mut Txn<'_>,
    classes: &class::ClassTable,
    resolved: &[Resolved],
) -> Result<(), SessionError> {
    if !resolved.iter().any(|one| matches!(one, Resolved::Reused(_))) {
        return Ok(());
    }
    let reuse = plan_reuse(txn, classes, resolved)?;
    if reuse.due.is_empty() {
        return Ok(());
    }
    let mut plan = Plan::default();
    let tail = events::plan(txn, &mut plan, reuse.bytes())?;
    plan.check()?;
    if let Some(tail) = tail {
        let events = reuse.carry_out(txn);
        events::append(txn, &tail, &events, txn.now_ms());
    }
    Ok(())
}
