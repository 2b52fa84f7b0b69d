//! Whether sessions, tokens, users and counts agree: a walk through all of them, for tests and for whoever doubts a directory.
//!
//! Nothing may change meanwhile, or what is found may be that.

use super::class::{self, CLASSES};
use super::counts;
use super::events::STATE;
use super::plan::Plan;
use super::record::Record;
use super::resolve::CURRENT;
use super::token::Id;
use super::users::Member;
use super::{SessionError, SessionKey};
use crate::db::{Db, Inner};
use crate::key::{SESSIONS, TOKENS, USERS};
use crate::object::Kind;
use crate::scan::scan_internal;
use crate::txn::{Access, Txn};
use std::collections::{BTreeMap, BTreeSet};

/// A session: its user, its class and generation, the first token's id if it was rotated.
type FoundSession = (Option<Vec<u8>>, (u32, u32), Option<Id>);

/// Everything there is, as one walk found it.
#[derive(Default)]
struct Found {
    /// By id.
    sessions: BTreeMap<Id, FoundSession>,
    /// By the first token's id: current id, old ids.
    families: BTreeMap<Id, (Option<Id>, BTreeSet<Id>)>,
    /// Old ids and the first one that they lead to.
    pointers: BTreeMap<Id, Option<Id>>,
    users: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

fn keys_of(inner: &Inner, database: u8) -> Result<Vec<Vec<u8>>, SessionError> {
    let (mut keys, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = scan_internal(inner, database, cursor, 1000, &mut |key| keys.push(key.to_vec()))?;
        if cursor == 0 {
            keys.sort_unstable();
            keys.dedup();
            return Ok(keys);
        }
    }
}

/// Looks at one key, dead or alive.
fn look<R>(
    inner: &Inner,
    key: &SessionKey,
    look: impl Fn(&Txn<'_>, &crate::Key<'_>) -> Option<R>,
) -> Result<R, SessionError> {
    let damaged = || SessionError::Damaged { what: "a key of sessions" };
    let (found, _) = inner.with_sessions(vec![key.clone()], (Access::Read, 0), 0, |txn| {
        Ok(look(txn, &key.hashed_by(txn.hasher())))
    })?;
    found.ok_or_else(damaged)
}

fn find(inner: &Inner) -> Result<Found, SessionError> {
    let mut found = Found::default();
    let id = |key: &[u8]| Id::try_from(key).map_err(|_| SessionError::Damaged { what: "an id" });
    for key in keys_of(inner, SESSIONS)? {
        let id = id(&key)?;
        let session = look(inner, &SessionKey::session(&id), |txn, key| {
            let header = Record::of(txn.living(key)?.0, txn.hasher())?.header;
            Some((header.user.map(<[u8]>::to_vec), (header.class, header.generation), header.handle))
        })?;
        found.sessions.insert(id, session);
    }
    for key in keys_of(inner, TOKENS)? {
        let id = id(&key)?;
        let token = SessionKey::token(&id);
        if look(inner, &token, |txn, key| txn.kind(key))? == Kind::Hash {
            let family = look(inner, &token, |txn, key| {
                let (mut current, mut old) = (None, BTreeSet::new());
                txn.hash_for_each(key, &mut |field, value| match field {
                    CURRENT => current = Id::try_from(value).ok(),
                    field => old.extend(Id::try_from(field).ok()),
                })
                .ok()?;
                Some((current, old))
            })?;
            found.families.insert(id, family);
        } else {
            let first = look(inner, &token, |txn, key| Some(Id::try_from(txn.string(key).ok()??).ok()))?;
            found.pointers.insert(id, first);
        }
    }
    for user in keys_of(inner, USERS)? {
        let members = look(inner, &SessionKey::user(&user), |txn, key| {
            Some(txn.set_members(key).ok()??.iter().map(|member| member.to_vec()).collect())
        })?;
        found.users.insert(user, members);
    }
    Ok(found)
}

impl Db {
    /// What of sessions, tokens, users and counts does not agree; nothing if all is well.
    ///
    /// # Errors
    /// [`SessionError::Damaged`], [`SessionError::Db`].
    pub fn audit_sessions(&self) -> Result<Vec<String>, SessionError> {
        let inner = &*self.inner;
        let Found { sessions, families, pointers, mut users } = find(inner)?;
        let mut wrong = Vec::new();
        let keys = vec![SessionKey::system(CLASSES), SessionKey::system(STATE)];
        let ((classes, counted), _) = inner.with_sessions(keys, (Access::Read, 0), 0, |txn| {
            let classes = class::table_to_change(txn, &mut Plan::default())?;
            let counted: Result<BTreeMap<u32, u64>, SessionError> =
                classes.all().map(|class| Ok((class.number, counts::get(txn, class.number)?))).collect();
            Ok((classes, counted?))
        })?;
        let (mut count, mut families_due): (BTreeMap<u32, u64>, BTreeSet<Id>) =
            (BTreeMap::new(), families.keys().copied().collect());
        for (id, (user, (class, generation), first)) in &sessions {
            if classes.live(*class, *generation).is_some() {
                *count.entry(*class).or_default() += 1;
            }
            let member = Member { id: *id, class: *class, generation: *generation }.encode();
            if let Some(user) = user
                && !users.get_mut(user).is_some_and(|members| members.remove(&member[..]))
            {
                wrong.push(format!("session {id:x?} is not among those of its user"));
            }
            let Some(first) = first else { continue };
            families_due.remove(first);
            match families.get(first) {
                Some((Some(current), old)) if current == id => {
                    if !old.contains(first) || old.contains(id) {
                        wrong.push(format!("the tokens of session {id:x?} are not those it had"));
                    }
                    for old in old.iter().filter(|old| *old != first) {
                        if pointers.get(old) != Some(&Some(*first)) {
                            wrong.push(format!("token {old:x?} does not lead to session {id:x?}"));
                        }
                    }
                }
                _ => wrong.push(format!("session {id:x?} was rotated, and its tokens are not there")),
            }
        }
        wrong.extend(families_due.iter().map(|id| format!("the tokens of {id:x?} have no session")));
        for (id, first) in &pointers {
            let known = first.and_then(|first| families.get(&first)).is_some_and(|(_, old)| old.contains(id));
            if !known {
                wrong.push(format!("token {id:x?} leads nowhere"));
            }
        }
        for (user, members) in users.iter().filter(|(_, members)| !members.is_empty()) {
            wrong.push(format!("user {user:x?} has {} sessions that are not there", members.len()));
        }
        for class in classes.all() {
            let (is, says) = (count.get(&class.number).copied().unwrap_or_default(), counted[&class.number]);
            if is != says {
                wrong.push(format!("class {} has {is} sessions, and its count says {says}", class.name));
            }
        }
        Ok(wrong)
    }
}
