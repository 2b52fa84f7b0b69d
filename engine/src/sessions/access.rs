//! What a request does with its session: read it, change it, touch it.

use super::class::{self, Class};
use super::plan::Plan;
use super::record::{Record, VARYING, VARYING_BYTES, Varying, stored_name};
use super::resolve::{self, Resolved};
use super::token::{Handle, Id, TokenDigest};
use super::{SessionError, SessionKey};
use crate::expiry::{NEVER, Touch};
use crate::object::View;
use crate::object::packed_hash::Fields;
use crate::txn::Txn;
use smallvec::SmallVec;
use std::sync::Arc;

/// Where in the varying field the moment is at which the session was seen.
const SEEN_AT: usize = 16;
/// A touch that does not move the deadline is logged at most once in so many ms.
const SEEN_LOGGED_MS: u64 = 60_000;

/// A session, as a transaction shows it.
pub struct Session<'t> {
    id: Id,
    record: Record<'t>,
    class: Arc<str>,
    deadline_ms: u64,
    now_ms: u64,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("handle", &self.handle()).finish_non_exhaustive()
    }
}

impl<'t> Session<'t> {
    /// Its public name.
    pub fn handle(&self) -> Handle {
        self.record.header.handle_of(&self.id)
    }

    /// The name of its class.
    pub fn class(&self) -> &Arc<str> {
        &self.class
    }

    /// Whose it is.
    pub fn user(&self) -> Option<&'t [u8]> {
        self.record.header.user
    }

    /// What was said of it when it was made.
    pub fn meta(&self) -> &'t [u8] {
        self.record.header.meta
    }

    /// Rises by one with each change of its fields.
    pub fn version(&self) -> u64 {
        self.record.varying.version
    }

    /// The number of its last lease.
    pub fn fence(&self) -> u64 {
        self.record.varying.fence
    }

    /// When it was made, in ms since the epoch.
    pub fn created_ms(&self) -> u64 {
        self.record.header.created_ms
    }

    /// When it was last touched, in ms since the epoch.
    pub fn seen_ms(&self) -> u64 {
        self.record.seen_ms(self.deadline_ms, self.now_ms)
    }

    /// When it dies unless it is touched, in ms since the epoch; `None`: never.
    pub fn deadline_ms(&self) -> Option<u64> {
        Some(self.deadline_ms).filter(|&deadline_ms| deadline_ms != NEVER)
    }

    /// When it dies at the latest, in ms since the epoch; `None`: there is no such limit.
    pub fn absolute_ms(&self) -> Option<u64> {
        Some(self.record.absolute_ms).filter(|&absolute_ms| absolute_ms != NEVER)
    }

    /// The value of one field.
    pub fn field(&self, name: &[u8]) -> Option<&'t [u8]> {
        self.record.field(name)
    }

    /// Calls `each` with every field and value, in no particular order.
    pub fn for_each_field(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.record.for_each_field(each);
    }
}

/// What is asked of a session before it is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Its version is this.
    pub version: Option<u64>,
    /// Its last lease is this one.
    pub fence: Option<u64>,
}

impl Conditions {
    fn check(&self, varying: &Varying) -> Result<(), SessionError> {
        if let Some(fence) = self.fence
            && fence != varying.fence
        {
            return Err(SessionError::Fenced { fence: varying.fence });
        }
        if let Some(version) = self.version
            && version != varying.version
        {
            return Err(SessionError::Conflict { version: varying.version });
        }
        Ok(())
    }
}

/// Resolves a token, and tells of the use of one that was rotated away.
fn resolve_one(txn: &mut Txn<'_>, digest: &TokenDigest) -> Result<Resolved, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    let resolved = resolve::resolve(txn, &classes, digest, &mut plan)?;
    plan.check()?;
    resolve::tell_reuse(txn, &classes, &[resolved])?;
    Ok(resolved)
}

/// A session that was found to live.
fn look<'t>(txn: &'t Txn<'_>, id: &Id) -> Result<(Record<'t>, Class, u64), SessionError> {
    let classes = class::table(txn, &mut Plan::default())?;
    resolve::live(txn, &classes, id)?.ok_or(SessionError::Damaged { what: "a session" })
}

/// The session of a token, touched if `touch`; `None` if there is none that lives. See [`super::get`].
pub(super) fn get<'t>(
    txn: &'t mut Txn<'_>,
    digest: &TokenDigest,
    touch: bool,
) -> Result<Option<Session<'t>>, SessionError> {
    let Some(id) = resolve_one(txn, digest)?.in_grace() else { return Ok(None) };
    if touch {
        touch_found(txn, &id)?;
    }
    let now_ms = txn.now_ms();
    let (record, class, deadline_ms) = look(txn, &id)?;
    Ok(Some(Session { id, record, class: class.name, deadline_ms, now_ms }))
}

/// Moves the deadline of a living session, and notes that it was seen.
pub(super) fn touch_found(txn: &mut Txn<'_>, id: &Id) -> Result<(), SessionError> {
    let key = SessionKey::session(id);
    let key = key.hashed_by(txn.hasher());
    let deadline_ms = txn.touch(&key, Touch::Policy).flatten().unwrap_or(NEVER);
    let Some((view, _)) = txn.living(&key) else { return Ok(()) };
    let record = Record::of(view, txn.hasher()).ok_or(SessionError::Damaged { what: "a session" })?;
    if record.idle_decides(deadline_ms) {
        return Ok(());
    }
    // The deadline does not say when it was seen.
    let (now_ms, before_ms) = (txn.now_ms(), record.varying.seen_ms);
    if now_ms <= before_ms {
        return Ok(());
    }
    let seen = Varying { seen_ms: now_ms, ..record.varying };
    if now_ms / SEEN_LOGGED_MS == before_ms / SEEN_LOGGED_MS
        && let View::Packed(flat) = view
        && let Some(found) = Fields::of(flat).find(VARYING)
    {
        let at = found.end - VARYING_BYTES + SEEN_AT;
        txn.rewrite_unlogged(&key, at, &now_ms.to_le_bytes());
    } else {
        // Its kind is known.
        let _ = txn.hash_set(&key, VARYING, &seen.encode());
    }
    Ok(())
}

/// Touches the sessions of these tokens; how many live.
pub(super) fn touch(txn: &mut Txn<'_>, digests: &[TokenDigest]) -> Result<u64, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    let mut resolved = Vec::with_capacity(digests.len());
    for digest in digests {
        resolved.push(resolve::resolve(txn, &classes, digest, &mut plan)?);
    }
    plan.check()?;
    resolve::tell_reuse(txn, &classes, &resolved)?;
    let mut alive = 0;
    for id in resolved.into_iter().filter_map(Resolved::in_grace) {
        touch_found(txn, &id)?;
        alive += 1;
    }
    Ok(alive)
}

/// Finds a session that is to be changed, checks what is asked of it, and touches it; what varies of it.
fn begin_change(
    txn: &mut Txn<'_>,
    digest: &TokenDigest,
    conditions: &Conditions,
) -> Result<Option<(Id, Varying)>, SessionError> {
    let Some(id) = resolve_one(txn, digest)?.current()? else { return Ok(None) };
    let varying = look(txn, &id)?.0.varying;
    conditions.check(&varying)?;
    touch_found(txn, &id)?;
    Ok(Some((id, look(txn, &id)?.0.varying)))
}

/// Sets fields; the new version, or `None` if no session lives. See [`super::set`].
pub(super) fn set(
    txn: &mut Txn<'_>,
    digest: &TokenDigest,
    conditions: &Conditions,
    fields: &[[&[u8]; 2]],
) -> Result<Option<u64>, SessionError> {
    let Some((id, varying)) = begin_change(txn, digest, conditions)? else { return Ok(None) };
    let varying = Varying { version: varying.version + 1, seen_ms: txn.now_ms(), ..varying };
    let encoded = varying.encode();
    let names: SmallVec<[SmallVec<[u8; 32]>; 8]> = fields.iter().map(|[name, _]| stored_name(name)).collect();
    let mut pairs: SmallVec<[[&[u8]; 2]; 8]> = SmallVec::new();
    pairs.push([VARYING, &encoded]);
    pairs.extend(names.iter().zip(fields).map(|(name, [_, value])| [&name[..], *value]));
    let key = SessionKey::session(&id);
    let _ = txn.hash_set_all(&key.hashed_by(txn.hasher()), &pairs);
    Ok(Some(varying.version))
}

/// Removes fields; the new version, or `None` if no session lives. See [`super::unset`].
pub(super) fn unset(
    txn: &mut Txn<'_>,
    digest: &TokenDigest,
    conditions: &Conditions,
    fields: &[&[u8]],
) -> Result<Option<u64>, SessionError> {
    let Some((id, varying)) = begin_change(txn, digest, conditions)? else { return Ok(None) };
    let key = SessionKey::session(&id);
    let key = key.hashed_by(txn.hasher());
    let mut removed = false;
    for name in fields {
        removed |= txn.hash_remove(&key, &stored_name(name)).unwrap_or_default();
    }
    if !removed {
        return Ok(Some(varying.version));
    }
    let varying = Varying { version: varying.version + 1, seen_ms: txn.now_ms(), ..varying };
    let _ = txn.hash_set(&key, VARYING, &varying.encode());
    Ok(Some(varying.version))
}

/// The number of a new lease, which is the session's last one from now on; `None` if no session lives. See [`super::fence`].
pub(super) fn fence(txn: &mut Txn<'_>, digest: &TokenDigest) -> Result<Option<(Handle, u64)>, SessionError> {
    let Some(id) = resolve_one(txn, digest)?.current()? else { return Ok(None) };
    let record = look(txn, &id)?.0;
    let handle = record.header.handle_of(&id);
    let varying = Varying { fence: record.varying.fence + 1, ..record.varying };
    let key = SessionKey::session(&id);
    let _ = txn.hash_set(&key.hashed_by(txn.hasher()), VARYING, &varying.encode());
    Ok(Some((handle, varying.fence)))
}
