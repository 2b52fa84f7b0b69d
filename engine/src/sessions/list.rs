//! Whose sessions there are, and how many.

use super::class;
use super::counts;
use super::events::STATE;
use super::plan::Plan;
use super::resolve;
use super::token::Handle;
use super::{SessionError, SessionKey, users};
use crate::expiry::NEVER;
use crate::txn::Txn;

/// What a list says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its public name.
    pub handle: Handle,
    /// The name of its class.
    pub class: String,
    /// When it was made, in ms since the epoch.
    pub created_ms: u64,
    /// When it was last touched, in ms since the epoch.
    pub seen_ms: u64,
    /// When it dies unless it is touched, in ms since the epoch; `None`: never.
    pub deadline_ms: Option<u64>,
    /// When it dies at the latest, in ms since the epoch; `None`: there is no such limit.
    pub absolute_ms: Option<u64>,
    /// What was said of it when it was made.
    pub meta: Vec<u8>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// To go on with; 0 at the end.
    pub cursor: u64,
    /// Most recently seen first.
    pub sessions: Vec<Listed>,
}

/// Bits of a cursor that say how many sessions seen at its moment were listed.
const TIES_BITS: u32 = 11;
const TIES_MAX: u64 = (1 << TIES_BITS) - 1;

/// The living sessions of a user. See [`super::list`].
pub(super) fn list(txn: &Txn<'_>, user: &[u8], cursor: u64, count: usize) -> Result<ListPage, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    plan.wants(txn, SessionKey::user(user));
    plan.check()?;
    let members = users::sessions(txn, &classes, user)?;
    for member in &members {
        plan.wants(txn, SessionKey::session(&member.id));
    }
    plan.check()?;
    let mut all = Vec::with_capacity(members.len());
    for member in &members {
        let Some((record, class, deadline_ms)) = resolve::live(txn, &classes, &member.id)? else { continue };
        let some = |at_ms: u64| Some(at_ms).filter(|&at_ms| at_ms != NEVER);
        all.push(Listed {
            handle: record.header.handle_of(&member.id),
            class: class.name.to_string(),
            created_ms: record.header.created_ms,
            seen_ms: record.seen_ms(deadline_ms, txn.now_ms()),
            deadline_ms: some(deadline_ms),
            absolute_ms: some(record.absolute_ms),
            meta: record.header.meta.to_vec(),
        });
    }
    all.sort_unstable_by_key(|one| (std::cmp::Reverse(one.seen_ms), one.handle));
    // Whoever was touched since the last part came has moved to the front, and was listed or is not missed.
    let (seen_ms, mut ties) = (cursor >> TIES_BITS, cursor & TIES_MAX);
    let begin = if cursor == 0 {
        0
    } else {
        all.iter()
            .position(|one| {
                if one.seen_ms == seen_ms && ties > 0 {
                    ties -= 1;
                    return false;
                }
                one.seen_ms <= seen_ms
            })
            .unwrap_or(all.len())
    };
    let mut end = begin.saturating_add(count.max(1)).min(all.len());
    let last_ms = |end: usize| all[end - 1].seen_ms;
    let ties_at = |end: usize| {
        let of_moment = all[..end].iter().rev().take_while(|one| one.seen_ms == last_ms(end));
        of_moment.count() as u64
    };
    // A cursor says no more of so many that were seen at one moment.
    while end < all.len() && end > begin && ties_at(end) > TIES_MAX {
        end += 1;
    }
    let next = if end < all.len() { last_ms(end) << TIES_BITS | ties_at(end) } else { 0 };
    all.truncate(end);
    all.drain(..begin);
    Ok(ListPage { cursor: next, sessions: all })
}

/// How many sessions live, of a class or all, of a user or all. See [`super::count`].
pub(super) fn count(txn: &Txn<'_>, class: Option<&str>, user: Option<&[u8]>) -> Result<u64, SessionError> {
    let mut plan = Plan::default();
    let classes = class::table(txn, &mut plan)?;
    let number = match class {
        None => None,
        Some(name) => match classes.named_at_all(name) {
            Some(class) => Some(class.number),
            None => return Ok(0),
        },
    };
    let Some(user) = user else {
        plan.wants(txn, SessionKey::system(STATE));
        plan.check()?;
        return match number {
            Some(number) => counts::get(txn, number),
            None => counts::all(txn, &classes),
        };
    };
    plan.wants(txn, SessionKey::user(user));
    plan.check()?;
    let mut members = users::sessions(txn, &classes, user)?;
    members.retain(|member| number.is_none_or(|number| number == member.class));
    for member in &members {
        plan.wants(txn, SessionKey::session(&member.id));
    }
    plan.check()?;
    let mut alive = 0;
    for member in &members {
        alive += u64::from(resolve::live(txn, &classes, &member.id)?.is_some());
    }
    Ok(alive)
}
