//! How many sessions of each class live: exact, in the same transactions that make and end them.
//!
//! Beside the chunks of [events](super::events), in the system's "state": field `n` and the class's number ─▶ count u64. A session whose deadline has come counts
//! until it is taken away; who wants to know exactly has that done first ([`Db::reap_sessions`](crate::Db::reap_sessions)).

use super::class::ClassTable;
use super::events::STATE;
use super::record::Numbers;
use super::{SessionError, SessionKey};
use crate::txn::Txn;
use smallvec::SmallVec;

const COUNT: u8 = b'n';

fn field_of(class: u32) -> [u8; 5] {
    let mut field = [COUNT; 5];
    field[1..].copy_from_slice(&class.to_be_bytes());
    field
}

/// How many sessions of a class there are, in a transaction that holds the state.
pub(super) fn get(txn: &Txn<'_>, class: u32) -> Result<u64, SessionError> {
    let state = SessionKey::system(STATE);
    let damaged = SessionError::Damaged { what: "the counts of sessions" };
    match txn.hash_get(&state.hashed_by(txn.hasher()), &field_of(class)) {
        Ok(None) => Ok(0),
        Ok(Some(bytes)) => Numbers(bytes).long().ok_or(damaged),
        Err(_) => Err(damaged),
    }
}

/// How many there are of all classes.
pub(super) fn all(txn: &Txn<'_>, classes: &ClassTable) -> Result<u64, SessionError> {
    classes.all().map(|class| get(txn, class.number)).sum()
}

/// Changes of counts, of each class once.
#[derive(Debug, Default)]
pub(super) struct Deltas(SmallVec<[(u32, i64); 2]>);

impl Deltas {
    pub(super) fn add(&mut self, class: u32, delta: i64) {
        match self.0.iter_mut().find(|one| one.0 == class) {
            Some(one) => one.1 += delta,
            None => self.0.push((class, delta)),
        }
    }

    /// Makes the changes, in a transaction that holds the state.
    pub(super) fn apply(self, txn: &mut Txn<'_>) -> Result<(), SessionError> {
        for (class, delta) in self.0 {
            let count = get(txn, class)?;
            set(txn, class, count.saturating_add_signed(delta));
        }
        Ok(())
    }
}

/// Sets a count.
pub(super) fn set(txn: &mut Txn<'_>, class: u32, count: u64) {
    let state = SessionKey::system(STATE);
    let state = state.hashed_by(txn.hasher());
    // Its kind was looked at before.
    let _ = if count == 0 {
        txn.hash_remove(&state, &field_of(class)).map(drop)
    } else {
        txn.hash_set(&state, &field_of(class), &count.to_le_bytes()).map(drop)
    };
}
