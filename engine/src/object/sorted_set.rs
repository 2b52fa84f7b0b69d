//! A sorted set that has outgrown the flat form: a [table](Table) from members to the leaves of a [tree](RankTree) that has them in order.
//!
//! Members are stored once, in the leaves. An entry of the table has a member's hash, the leaf that holds it, and a sketch of it: enough to find a
//! score with one look at a leaf, and to walk through the set in the order of hashes, in which a step of a scan is not disturbed by scores that change.

use super::rank_tree::RankTree;
use super::sorted_run::{self, Scored};
use crate::key::KeyHasher;
use crate::table::{Hashed, Place, Table};
use crate::varint;
use std::cmp::Ordering;
use std::ops::Range;

/// See the module's page.
pub(crate) struct SortedSet {
    members: Table<Member>,
    order: RankTree,
}

struct Member {
    hash: u64,
    leaf: u32,
    sketch: u32,
}

const _: () = assert!(size_of::<Member>() == 16);

/// The leaf of a member on its way from one place to another.
const NOWHERE: u32 = u32::MAX;

impl Hashed for Member {
    fn hash(&self) -> u64 {
        self.hash
    }
}

/// What tells most members of a leaf apart at less cost than their hashes.
fn sketch(member: &[u8]) -> u32 {
    let last = match (member.last_chunk::<8>(), member.last_chunk::<4>()) {
        (Some(last), _) => u64::from_le_bytes(*last),
        (None, Some(last)) => u64::from(u32::from_le_bytes(*last)),
        (None, None) => member.iter().fold(0, |bytes, &byte| bytes << 8 | u64::from(byte)),
    };
    ((last ^ member.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

/// Tells the table that a member which it has moves to another leaf.
fn move_member(members: &mut Table<Member>, hasher: &KeyHasher, name: &[u8], from: u32, to: u32) {
    let (hash, sketch) = (hasher.field(name), sketch(name));
    // Of several members that are alike in all three it does not matter which entry is whose.
    if let Some(place) = members.find(hash, |member| member.leaf == from && member.sketch == sketch) {
        members.get_mut(place).leaf = to;
    }
}

impl SortedSet {
    pub(crate) fn new() -> SortedSet {
        SortedSet { members: Table::new(0), order: RankTree::new() }
    }

    /// The members of a run, sorted or not; the last score of a member counts.
    pub(crate) fn of(run: &[u8], hasher: &KeyHasher) -> SortedSet {
        let mut set = SortedSet::new();
        sorted_run::iter(run).for_each(|(score, member)| {
            set.set(hasher, member, score);
        });
        set
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Bytes of memory it asks for, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        // Adding it up would make every change cost the size of the set: leaves are about three quarters full, and entries of the table
        // cost 22 bytes with their slots.
        self.order.bytes() / 3 * 4 + self.len() * 22
    }

    fn find(&self, hash: u64, name: &[u8]) -> Option<(Place, f64)> {
        let (mut score, sketch) = (None, sketch(name));
        let place = self.members.find(hash, |member| {
            if member.sketch == sketch {
                score = self.order.find(member.leaf, name);
            }
            score.is_some()
        })?;
        Some((place, score?))
    }

    pub(crate) fn score(&self, hasher: &KeyHasher, name: &[u8]) -> Option<f64> {
        Some(self.find(hasher.field(name), name)?.1)
    }

    /// How many members `before` holds for, which are the first ones.
    pub(crate) fn rank(&self, before: &mut dyn FnMut(Scored<'_>) -> bool) -> usize {
        self.order.rank(before)
    }

    /// The rank of a member that has this score.
    pub(crate) fn rank_of(&self, score: f64, name: &[u8]) -> usize {
        self.rank(&mut |other| sorted_run::compare(other, (score, name)) == Ordering::Less)
    }

    /// Sets a member's score; the one that it had.
    pub(crate) fn set(&mut self, hasher: &KeyHasher, name: &[u8], score: f64) -> Option<f64> {
        let hash = hasher.field(name);
        let found = self.find(hash, name);
        if let Some((place, old)) = found {
            if old == score {
                return Some(old);
            }
            self.members.get_mut(place).leaf = NOWHERE;
            let members = &mut self.members;
            self.order.remove(old, name, &mut |name, from, to| {
                if let Some(from) = from {
                    move_member(members, hasher, name, from, to);
                }
            });
        }
        let members = &mut self.members;
        self.order.insert(score, name, &mut |name, from, to| match (from, found) {
            (Some(from), _) => move_member(members, hasher, name, from, to),
            // No entry has come or gone since it was found.
            (None, Some((place, _))) => members.get_mut(place).leaf = to,
            (None, None) => {
                members.insert(Member { hash, leaf: to, sketch: sketch(name) });
            }
        });
        found.map(|(_, old)| old)
    }

    /// Removes a member; the score that it had.
    pub(crate) fn remove(&mut self, hasher: &KeyHasher, name: &[u8]) -> Option<f64> {
        let (place, score) = self.find(hasher.field(name), name)?;
        self.members.remove(place);
        let members = &mut self.members;
        self.order.remove(score, name, &mut |name, from, to| {
            if let Some(from) = from {
                move_member(members, hasher, name, from, to);
            }
        });
        Some(score)
    }

    /// Removes the members with these ranks.
    pub(crate) fn remove_ranks(&mut self, hasher: &KeyHasher, ranks: Range<usize>) {
        let members = std::cell::RefCell::new(&mut self.members);
        self.order.remove_ranks(
            ranks,
            &mut |name, leaf| {
                let (hash, sketch) = (hasher.field(name), sketch(name));
                let members = &mut *members.borrow_mut();
                // As where one moves.
                let place = members.find(hash, |member| member.leaf == leaf && member.sketch == sketch);
                if let Some(place) = place {
                    members.remove(place);
                }
            },
            &mut |name, from, to| {
                if let Some(from) = from {
                    move_member(&mut members.borrow_mut(), hasher, name, from, to);
                }
            },
        );
    }

    /// Calls `each` for the members with these ranks, in order, or in reverse.
    pub(crate) fn for_each(&self, ranks: Range<usize>, reverse: bool, each: &mut dyn FnMut(&[u8], f64)) {
        self.order.for_each(ranks, reverse, each);
    }

    /// See [`Table::scan`].
    pub(crate) fn scan(
        &self,
        hasher: &KeyHasher,
        (from, count, ignored): (u64, usize, u32),
        each: &mut dyn FnMut(&[u8], f64),
    ) -> Option<u64> {
        self.members.scan(from, count, ignored, &mut |member| {
            for (score, name) in self.order.leaf(member.leaf) {
                if sketch(name) == member.sketch && hasher.field(name) == member.hash {
                    each(name, score);
                }
            }
        })
    }

    /// A copy.
    pub(crate) fn copy(&self) -> SortedSet {
        let mut members = Table::new(0);
        self.members.for_each(&mut |&Member { hash, leaf, sketch }| {
            members.insert(Member { hash, leaf, sketch });
        });
        SortedSet { members, order: self.order.clone() }
    }

    /// Appends the flat form's payload.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.len() as u64);
        out.reserve(self.order.bytes());
        self.for_each(0..self.len(), false, &mut |member, score| sorted_run::put(out, score, member));
    }
}

#[cfg(test)]
mod tests;
