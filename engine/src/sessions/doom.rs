//! The end of sessions, whatever its reason: record, tokens, the user's index, count and event go in one transaction.

use super::counts::Deltas;
use super::events::{self, Event, EventKind, STATE};
use super::plan::Plan;
use super::record::Record;
use super::resolve::CURRENT;
use super::token::{Handle, Id};
use super::users::{self, Member};
use super::{SessionError, SessionKey, class};
use crate::txn::Txn;
use std::sync::Arc;

/// A session that is about to go, with all that goes with it.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) id: Id,
    pub(super) handle: Handle,
    pub(super) user: Option<Vec<u8>>,
    pub(super) class: u32,
    generation: u32,
    /// The class's name, if the session has not ended with it: then nobody is told again.
    name: Option<Arc<str>>,
    /// Keys of its old tokens.
    tokens: Vec<Id>,
    pub(super) deadline_ms: u64,
}

/// Looks at the session under an id, whether its class lives or not, and asks for the keys of all that goes with it. `None` if there is none that
/// lives at the transaction's time, or a key is missing.
pub(super) fn plan(
    txn: &Txn<'_>,
    classes: &class::ClassTable,
    id: &Id,
    plan: &mut Plan,
) -> Result<Option<Doomed>, SessionError> {
    let key = SessionKey::session(id);
    if plan.wants(txn, key.clone()) {
        return Ok(None);
    }
    let Some((view, deadline_ms)) = txn.living(&key.hashed_by(txn.hasher())) else { return Ok(None) };
    let record = Record::of(view, txn.hasher()).ok_or(SessionError::Damaged { what: "a session" })?;
    let header = record.header;
    let mut missing = false;
    if let Some(user) = header.user {
        missing |= plan.wants(txn, SessionKey::user(user));
    }
    let mut tokens = Vec::new();
    if let Some(first) = header.handle {
        let key = SessionKey::token(&first);
        if plan.wants(txn, key.clone()) {
            return Ok(None);
        }
        tokens.push(first);
        let mut sound = true;
        let read = txn.hash_for_each(&key.hashed_by(txn.hasher()), &mut |field, _| match field {
            CURRENT => {}
            field => match Id::try_from(field) {
                Ok(old) if old == first => {}
                Ok(old) => tokens.push(old),
                Err(_) => sound = false,
            },
        });
        if read.is_err() || !sound {
            return Err(SessionError::Damaged { what: "the tokens of a session" });
        }
        for token in &tokens {
            missing |= plan.wants(txn, SessionKey::token(token));
        }
    }
    if missing {
        return Ok(None);
    }
    let name = classes.live(header.class, header.generation).map(|class| Arc::clone(&class.name));
    Ok(Some(Doomed {
        id: *id,
        handle: header.handle_of(id),
        user: header.user.map(<[u8]>::to_vec),
        class: header.class,
        generation: header.generation,
        name,
        tokens,
        deadline_ms,
    }))
}

impl Doomed {
    /// Whether it has ended with all of its class before.
    pub(super) fn has_ended_with_class(&self) -> bool {
        self.name.is_none()
    }
}

/// Sessions that go together, and where the events of that are appended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    doomed: Vec<(Doomed, Event)>,
    /// Those that have ended with their class: they leave without a word.
    swept: Vec<Doomed>,
    tail: Option<events::Tail>,
}

impl Ending {
    /// Adds a session; whether it has not ended with its class before.
    pub(super) fn add(&mut self, doomed: Doomed, kind: EventKind, at_ms: u64) -> bool {
        let Some(name) = &doomed.name else {
            self.swept.push(doomed);
            return false;
        };
        let mut event = Event::of(kind, at_ms);
        event.handle = Some(doomed.handle);
        event.user.clone_from(&doomed.user);
        event.class = Some(name.to_string());
        self.doomed.push((doomed, event));
        true
    }

    /// How many end now.
    pub(super) fn len(&self) -> u64 {
        self.doomed.len() as u64
    }

    /// Asks for what is needed beside the sessions' own keys, if anything ends; `more`: bytes of further events.
    pub(super) fn plan(&mut self, txn: &Txn<'_>, plan: &mut Plan, more: usize) -> Result<(), SessionError> {
        if self.doomed.is_empty() && more == 0 {
            return Ok(());
        }
        let bytes: usize =
            self.doomed.iter().map(|(_, event)| events::bytes_of(std::slice::from_ref(event))).sum();
        plan.wants(txn, SessionKey::system(STATE));
        self.tail = events::plan(txn, plan, bytes + more)?;
        Ok(())
    }

    /// Ends them; further events come behind theirs, and further changes of counts with theirs.
    pub(super) fn carry_out(
        self,
        txn: &mut Txn<'_>,
        mut more: Vec<Event>,
        mut deltas: Deltas,
        now_ms: u64,
    ) -> Result<(), SessionError> {
        let mut told = Vec::with_capacity(self.doomed.len() + more.len());
        for (doomed, event) in self.doomed {
            take_away(txn, &doomed);
            deltas.add(doomed.class, -1);
            told.push(event);
        }
        for doomed in &self.swept {
            take_away(txn, doomed);
        }
        deltas.apply(txn)?;
        told.append(&mut more);
        if let Some(tail) = self.tail {
            events::append(txn, &tail, &told, now_ms);
        }
        Ok(())
    }
}

fn take_away(txn: &mut Txn<'_>, doomed: &Doomed) {
    let hasher = txn.hasher();
    txn.delete(&SessionKey::session(&doomed.id).hashed_by(hasher));
    for token in &doomed.tokens {
        txn.delete(&SessionKey::token(token).hashed_by(hasher));
    }
    if let Some(user) = &doomed.user {
        let member = Member { id: doomed.id, class: doomed.class, generation: doomed.generation };
        users::remove(txn, user, &member);
    }
}
