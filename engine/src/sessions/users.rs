//! The index from a user to the sessions that are his.
//!
//! Under the user's name a set of `id 16 │ class u32 │ generation u32`, one for each session, changed in the transactions that make, rotate and
//! end them. Sessions that have ended with all of their class are in it until they are swept away; whoever reads leaves them out.

use super::class::ClassTable;
use super::token::{ID_BYTES, Id};
use super::{SessionError, SessionKey};
use crate::txn::Txn;

const MEMBER_BYTES: usize = ID_BYTES + 8;

/// A session in a user's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: Id,
    pub(super) class: u32,
    pub(super) generation: u32,
}

impl Member {
    pub(super) fn encode(&self) -> [u8; MEMBER_BYTES] {
        let mut bytes = [0; MEMBER_BYTES];
        bytes[..ID_BYTES].copy_from_slice(&self.id);
        bytes[ID_BYTES..ID_BYTES + 4].copy_from_slice(&self.class.to_le_bytes());
        bytes[ID_BYTES + 4..].copy_from_slice(&self.generation.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Member> {
        let mut numbers = super::record::Numbers(bytes);
        let member = Member { id: numbers.array()?, class: numbers.short()?, generation: numbers.short()? };
        numbers.0.is_empty().then_some(member)
    }
}

/// The sessions of a user that have not ended with their class, in a transaction that holds the user's key.
pub(super) fn sessions(
    txn: &Txn<'_>,
    classes: &ClassTable,
    user: &[u8],
) -> Result<Vec<Member>, SessionError> {
    let damaged = SessionError::Damaged { what: "the sessions of a user" };
    let key = SessionKey::user(user);
    let Ok(members) = txn.set_members(&key.hashed_by(txn.hasher())) else { return Err(damaged) };
    let mut all = Vec::new();
    for member in members.iter().flat_map(|members| members.iter()) {
        let Some(member) = Member::decode(member) else { return Err(damaged) };
        if classes.live(member.class, member.generation).is_some() {
            all.push(member);
        }
    }
    Ok(all)
}

/// Adds a session to its user's.
pub(super) fn add(txn: &mut Txn<'_>, user: &[u8], member: &Member) {
    let key = SessionKey::user(user);
    // Nothing else is under such a key.
    let _ = txn.set_add(&key.hashed_by(txn.hasher()), &[&member.encode()]);
}

/// Takes a session from its user's.
pub(super) fn remove(txn: &mut Txn<'_>, user: &[u8], member: &Member) {
    let key = SessionKey::user(user);
    let _ = txn.set_remove(&key.hashed_by(txn.hasher()), &[&member.encode()]);
}
