//! A session begins, and gets other tokens.

use super::class::{self, Class, OnLimit};
use super::counts::Deltas;
use super::doom::{self, Ending};
use super::events::{self, Event, EventKind};
use super::plan::Plan;
use super::record::{HEADER, Header, VARYING, Varying, stored_name};
use super::resolve::{self, CURRENT, OldToken};
use super::token::{Handle, Id, TokenDigest};
use super::users::{self, Member};
use super::{SessionError, SessionKey};
use crate::change::hash::made_of;
use crate::expiry::{NEVER, grid_for};
use crate::object::Policy as Limits;
use crate::object::packed_hash::{Field, Head};
use crate::txn::Txn;
use smallvec::SmallVec;

/// A session to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// The name of its class.
    pub class: &'a str,
    /// Whose it is.
    pub user: Option<&'a [u8]>,
    /// A shorter idle limit than the class's, in seconds.
    pub idle_s: Option<u64>,
    /// A shorter absolute limit than the class's, in seconds.
    pub max_s: Option<u64>,
    /// What is to be said of it in lists.
    pub meta: &'a [u8],
    /// Its fields and values.
    pub fields: &'a [[&'a [u8]; 2]],
}

/// A session that was made, or has got another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its public name.
    pub handle: Handle,
    /// See [`Session::version`](super::Session::version).
    pub version: u64,
    /// When it dies unless it is touched, in ms since the epoch; `None`: never.
    pub deadline_ms: Option<u64>,
    /// When it dies at the latest, in ms since the epoch; `None`: there is no such limit.
    pub absolute_ms: Option<u64>,
}

fn some(deadline_ms: u64) -> Option<u64> {
    Some(deadline_ms).filter(|&deadline_ms| deadline_ms != NEVER)
}

/// The shorter of two limits in seconds of which 0 is none, in ms.
fn shorter_ms(policy_s: u64, asked_s: Option<u64>) -> u64 {
    let limit = [policy_s, asked_s.unwrap_or(0)].into_iter().filter(|&limit_s| limit_s != 0).min();
    // Far beyond any clock, but so that sums don't overflow.
    limit.unwrap_or(0).min(u64::MAX >> 20).saturating_mul(1000)
}

/// Makes a session. See [`super::create`].
pub(super) fn create(
    txn: &mut Txn<'_>,
    new: &NewSession<'_>,
    digest: &TokenDigest,
) -> Result<Made, SessionError> {
    let now_ms = txn.now_ms();
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    let class = classes.named(new.class).ok_or(SessionError::UnknownClass)?;
    plan.wants(txn, digest.key());
    let mut ending = Ending::default();
    if let Some(user) = new.user
        && !plan.wants(txn, SessionKey::user(user))
    {
        make_room(txn, &classes, class, user, &mut plan, &mut ending)?;
    }
    let mut event = Event::of(EventKind::Created, now_ms);
    event.handle = Some(Handle(digest.id));
    event.user = new.user.map(<[u8]>::to_vec);
    event.class = Some(class.name.to_string());
    ending.plan(txn, &mut plan, events::bytes_of(std::slice::from_ref(&event)))?;
    plan.check()?;
    let key = digest.key();
    let key = key.hashed_by(txn.hasher());
    if txn.has_entry(&key) {
        return Err(SessionError::TokenTaken);
    }

    let idle_ms = shorter_ms(class.policy.idle_s, new.idle_s);
    let max_ms = shorter_ms(class.policy.max_s, new.max_s);
    let absolute_ms = if max_ms == 0 { NEVER } else { now_ms.saturating_add(max_ms).min(NEVER - 1) };
    let header = Header {
        verifier: digest.verifier,
        class: class.number,
        generation: class.generation,
        created_ms: now_ms,
        grace_s: class.policy.grace_s,
        handle: None,
        user: new.user,
        meta: new.meta,
    };
    let (header, varying) = (header.encode(), Varying { version: 1, fence: 0, seen_ms: now_ms });
    let encoded = varying.encode();
    let names: Vec<SmallVec<[u8; 32]>> = new.fields.iter().map(|[name, _]| stored_name(name)).collect();
    let mut fields: SmallVec<[Field<'_>; 16]> = SmallVec::new();
    for (name, value) in [(HEADER, &header[..]), (VARYING, &encoded)] {
        fields.push(Field { name, value, deadline_ms: NEVER });
    }
    for (number, (name, [_, value])) in names.iter().zip(new.fields).enumerate() {
        // Of two values for one field the last.
        if !names[number + 1..].contains(name) {
            fields.push(Field { name, value, deadline_ms: NEVER });
        }
    }
    let made =
        Made { handle: Handle(digest.id), version: 1, deadline_ms: None, absolute_ms: some(absolute_ms) };
    let deadline_ms = put(txn, digest, (idle_ms, absolute_ms), fields);
    let mut deltas = Deltas::default();
    deltas.add(class.number, 1);
    ending.carry_out(txn, vec![event], deltas, now_ms)?;
    if let Some(user) = new.user {
        let member = Member { id: digest.id, class: class.number, generation: class.generation };
        users::add(txn, user, &member);
    }
    Ok(Made { deadline_ms: some(deadline_ms), ..made })
}

/// Puts a session's hash under the id of a token, touched now; its deadline.
fn put(
    txn: &mut Txn<'_>,
    digest: &TokenDigest,
    (idle_ms, absolute_ms): (u64, u64),
    fields: SmallVec<[Field<'_>; 16]>,
) -> u64 {
    let limited = idle_ms != 0 || absolute_ms != NEVER;
    let policy = limited.then_some(Limits { idle_ms, absolute_ms });
    let key = digest.key();
    let key = key.hashed_by(txn.hasher());
    let head = Head { database: key.database, key: key.bytes, policy, key_deadline_ms: NEVER };
    let object = made_of(head, fields, txn.hasher());
    let idle_at_ms = if idle_ms == 0 { NEVER } else { txn.now_ms().saturating_add(idle_ms).min(NEVER - 1) };
    let deadline_ms = idle_at_ms.min(absolute_ms);
    let grid = if idle_ms == 0 { 0 } else { grid_for(idle_ms) };
    txn.put(&key, object, deadline_ms, grid);
    deadline_ms
}

/// Sees to it that a user may have one more session of a class.
fn make_room(
    txn: &Txn<'_>,
    classes: &class::ClassTable,
    class: &Class,
    user: &[u8],
    plan: &mut Plan,
    ending: &mut Ending,
) -> Result<(), SessionError> {
    let limit = class.policy.per_user as usize;
    if limit == 0 {
        return Ok(());
    }
    let mut members = users::sessions(txn, classes, user)?;
    members.retain(|member| member.class == class.number);
    // Some of them may have died.
    if members.len() < limit {
        return Ok(());
    }
    let mut missing = false;
    for member in &members {
        missing |= plan.wants(txn, SessionKey::session(&member.id));
    }
    if missing {
        return Ok(());
    }
    let mut alive = Vec::with_capacity(members.len());
    for member in &members {
        if let Some((record, _, deadline_ms)) = resolve::live(txn, classes, &member.id)? {
            alive.push((record.seen_ms(deadline_ms, txn.now_ms()), record.header.created_ms, member.id));
        }
    }
    if alive.len() < limit {
        return Ok(());
    }
    if class.policy.on_limit == OnLimit::Reject {
        return Err(SessionError::Limit { limit: class.policy.per_user });
    }
    alive.sort_unstable();
    for (_, _, id) in &alive[..alive.len() + 1 - limit] {
        if let Some(doomed) = doom::plan(txn, classes, id, plan)? {
            ending.add(doomed, EventKind::Evicted, txn.now_ms());
        }
    }
    Ok(())
}

/// Gives a session another token. See [`super::rotate`].
pub(super) fn rotate(
    txn: &mut Txn<'_>,
    digest: &TokenDigest,
    grace_s: Option<u64>,
    new: &TokenDigest,
) -> Result<Option<Made>, SessionError> {
    let now_ms = txn.now_ms();
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    let resolved = resolve::resolve(txn, &classes, digest, &mut plan)?;
    plan.wants(txn, new.key());
    plan.check()?;
    resolve::tell_reuse(txn, &classes, &[resolved])?;
    let Some(id) = resolved.current()? else { return Ok(None) };
    let Some((record, class, _)) = resolve::live(txn, &classes, &id)? else { return Ok(None) };
    let header = record.header;
    let handle = header.handle_of(&id);
    let mut event = Event::of(EventKind::Rotated, now_ms);
    event.handle = Some(handle);
    event.user = header.user.map(<[u8]>::to_vec);
    event.class = Some(class.name.to_string());
    if let Some(user) = header.user {
        plan.wants(txn, SessionKey::user(user));
    }
    plan.wants(txn, SessionKey::token(&handle.0));
    plan.wants(txn, SessionKey::token(&id));
    let tail = events::plan(txn, &mut plan, events::bytes_of(std::slice::from_ref(&event)))?;
    plan.check()?;
    let new_key = new.key();
    if txn.has_entry(&new_key.hashed_by(txn.hasher())) {
        return Err(SessionError::TokenTaken);
    }

    let renewed = Header { verifier: new.verifier, handle: Some(handle.0), ..header }.encode();
    let varying = Varying { seen_ms: now_ms, ..record.varying };
    let encoded = varying.encode();
    let mut owned: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    record.for_each_field(&mut |name, value| owned.push((stored_name(name).to_vec(), value.to_vec())));
    let (limits, user) = ((record.idle_ms, record.absolute_ms), header.user.map(<[u8]>::to_vec));
    let before = Member { id, class: header.class, generation: header.generation };
    // At most what the policy allowed when the session was made.
    let grace_s = grace_s.unwrap_or(u64::MAX).min(u64::from(header.grace_s));
    let old = OldToken { verifier: header.verifier, grace_until_ms: now_ms + grace_s * 1000, told_ms: 0 };

    let mut fields: SmallVec<[Field<'_>; 16]> = SmallVec::new();
    fields.push(Field { name: HEADER, value: &renewed, deadline_ms: NEVER });
    fields.push(Field { name: VARYING, value: &encoded, deadline_ms: NEVER });
    fields.extend(owned.iter().map(|(name, value)| Field { name, value, deadline_ms: NEVER }));
    let deadline_ms = put(txn, new, limits, fields);
    txn.delete(&SessionKey::session(&id).hashed_by(txn.hasher()));
    note_old_token(txn, handle, &id, &old, &new.id);
    if let Some(user) = user {
        users::remove(txn, &user, &before);
        users::add(txn, &user, &Member { id: new.id, ..before });
    }
    if let Some(tail) = tail {
        events::append(txn, &tail, &[event], now_ms);
    }
    Ok(Some(Made {
        handle,
        version: varying.version,
        deadline_ms: some(deadline_ms),
        absolute_ms: some(limits.1),
    }))
}

/// Writes down what is left of a token, and where its session is now.
fn note_old_token(txn: &mut Txn<'_>, Handle(first): Handle, old: &Id, token: &OldToken, current: &Id) {
    let family = SessionKey::token(&first);
    let family = family.hashed_by(txn.hasher());
    // Its kind was looked at when its session was found; of a first rotation there is nothing.
    let _ = txn.hash_set_all(&family, &[[CURRENT, current], [old, &token.encode()]]);
    if *old != first {
        let pointer = SessionKey::token(old);
        txn.put_string(&pointer.hashed_by(txn.hasher()), &first, None);
    }
}
