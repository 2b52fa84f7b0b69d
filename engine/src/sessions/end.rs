//! Sessions end: by their holder, by whoever revokes them, by class or altogether.

use super::class::{self, Class};
use super::counts::{self, Deltas};
use super::doom::{self, Ending};
use super::events::{self, Event, EventKind, STATE};
use super::plan::Plan;
use super::resolve::{self, Resolved};
use super::token::{Handle, Id, TokenDigest};
use super::{SessionError, SessionKey, users};
use crate::txn::Txn;

/// Ends the sessions of these tokens; how many lived. See [`super::end`].
pub(super) fn end(txn: &mut Txn<'_>, digests: &[TokenDigest]) -> Result<u64, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    let mut resolved = Vec::with_capacity(digests.len());
    for digest in digests {
        resolved.push(resolve::resolve(txn, &classes, digest, &mut plan)?);
    }
    plan.check()?;
    let mut ids: Vec<Id> = resolved.iter().filter_map(|one| one.in_grace()).collect();
    // A token may be named twice, and an old one beside the current one.
    ids.sort_unstable();
    ids.dedup();
    end_all(txn, &classes, &ids, EventKind::Ended, &resolved)
}

/// Ends living sessions, and tells of those old tokens that were used.
fn end_all(
    txn: &mut Txn<'_>,
    classes: &class::ClassTable,
    ids: &[Id],
    kind: EventKind,
    resolved: &[Resolved],
) -> Result<u64, SessionError> {
    let now_ms = txn.now_ms();
    let (mut plan, mut ending) = (Plan::default(), Ending::default());
    for id in ids {
        if let Some(doomed) = doom::plan(txn, classes, id, &mut plan)? {
            ending.add(doomed, kind, now_ms);
        }
    }
    let reuse = resolve::plan_reuse(txn, classes, resolved)?;
    ending.plan(txn, &mut plan, reuse.bytes())?;
    plan.check()?;
    let ended = ending.len();
    let reused = reuse.carry_out(txn);
    ending.carry_out(txn, reused, Deltas::default(), now_ms)?;
    Ok(ended)
}

/// Revokes all sessions of a user, but perhaps one. See [`super::revoke_user`].
pub(super) fn revoke_user(
    txn: &mut Txn<'_>,
    user: &[u8],
    except: Option<&TokenDigest>,
) -> Result<u64, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    let missing = plan.wants(txn, SessionKey::user(user));
    let kept = match except {
        Some(digest) => Some(resolve::resolve(txn, &classes, digest, &mut plan)?),
        None => None,
    };
    if missing {
        plan.check()?;
    }
    let members = users::sessions(txn, &classes, user)?;
    for member in &members {
        plan.wants(txn, SessionKey::session(&member.id));
    }
    plan.check()?;
    let mut ids: Vec<Id> = members.iter().map(|member| member.id).collect();
    if let Some(kept) = kept {
        let kept = match kept {
            Resolved::Current(id) | Resolved::Grace(id) if ids.contains(&id) => id,
            _ => return Err(SessionError::NotOfUser),
        };
        ids.retain(|id| *id != kept);
    }
    end_all(txn, &classes, &ids, EventKind::Revoked, &[])
}

/// Revokes one session. See [`super::revoke_handle`].
pub(super) fn revoke_handle(txn: &mut Txn<'_>, handle: Handle) -> Result<bool, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    let id = resolve::session_of(txn, handle, &mut plan)?;
    plan.check()?;
    let Some(id) = id else { return Ok(false) };
    if resolve::live(txn, &classes, &id)?.is_none() {
        return Ok(false);
    }
    Ok(end_all(txn, &classes, &[id], EventKind::Revoked, &[])? > 0)
}

/// Revokes all sessions of a class at once. See [`super::revoke_class`].
pub(super) fn revoke_class(txn: &mut Txn<'_>, name: &str) -> Result<Option<u64>, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table_to_change(txn, &mut plan)?;
    let Some(class) = classes.named_at_all(name) else { return Ok(None) };
    end_classes(txn, std::slice::from_ref(class), EventKind::Revoked, Some(name)).map(Some)
}

/// Ends all sessions of all classes at once. See [`super::flush`].
pub(super) fn flush(txn: &mut Txn<'_>) -> Result<u64, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table_to_change(txn, &mut plan)?;
    let all: Vec<Class> = classes.all().cloned().collect();
    end_classes(txn, &all, EventKind::Flushed, None)
}

fn end_classes(
    txn: &mut Txn<'_>,
    classes: &[Class],
    kind: EventKind,
    name: Option<&str>,
) -> Result<u64, SessionError> {
    let (now_ms, mut plan) = (txn.now_ms(), Plan::default());
    plan.wants(txn, SessionKey::system(STATE));
    plan.check()?;
    let mut ended = Vec::new();
    let mut count = 0;
    for class in classes {
        let own = counts::get(txn, class.number)?;
        if own > 0 {
            ended.push(Class { generation: class.generation.wrapping_add(1), ..class.clone() });
            count += own;
        }
    }
    if count == 0 {
        return Ok(0);
    }
    let mut event = Event::of(kind, now_ms);
    event.class = name.map(str::to_owned);
    event.count = Some(count);
    let tail = events::plan(txn, &mut plan, events::bytes_of(std::slice::from_ref(&event)))?;
    plan.check()?;
    for class in &ended {
        class::put(txn, class);
        counts::set(txn, class.number, 0);
    }
    class::ask_for_sweep(txn, &class::table_to_change(txn, &mut plan)?);
    if let Some(tail) = tail {
        events::append(txn, &tail, &[event], now_ms);
    }
    Ok(count)
}
