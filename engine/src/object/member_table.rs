//! A large set.

use super::packed_set;
use crate::key::KeyHasher;
use crate::table::{Elements, Hashed, Table};

/// One member.
pub(crate) struct Member {
    hash: u64,
    bytes: Box<[u8]>,
}

impl Hashed for Member {
    fn hash(&self) -> u64 {
        self.hash
    }
}

/// The members, in an index of their own. Whoever asks brings their hash ([`KeyHasher::field`]).
pub(crate) struct MemberTable {
    table: Table<Member>,
    /// Bytes of the members.
    bytes: usize,
}

impl MemberTable {
    /// An empty one.
    pub(crate) fn new() -> MemberTable {
        MemberTable { table: Table::new(0), bytes: 0 }
    }

    /// The members of a flat set's payload.
    pub(crate) fn of(payload: &[u8], hasher: &KeyHasher) -> MemberTable {
        let mut members = MemberTable::new();
        for member in packed_set::iter(payload) {
            members.insert(hasher.field(member), member);
        }
        members
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn contains(&self, hash: u64, member: &[u8]) -> bool {
        self.table.find(hash, |other| *other.bytes == *member).is_some()
    }

    /// Adds a member; whether it is new.
    pub(crate) fn insert(&mut self, hash: u64, member: &[u8]) -> bool {
        let new = !self.contains(hash, member);
        if new {
            self.bytes += member.len();
            self.table.insert(Member { hash, bytes: member.into() });
        }
        new
    }

    /// Removes a member; whether it was there.
    pub(crate) fn remove(&mut self, hash: u64, member: &[u8]) -> bool {
        let Some(place) = self.table.find(hash, |other| *other.bytes == *member) else { return false };
        self.bytes -= self.table.remove(place).bytes.len();
        true
    }

    /// The members, in no particular order.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter(self.table.iter())
    }

    /// A member drawn at random, each as likely as the others; `None` if there is none.
    pub(crate) fn draw(&self, random: &mut dyn FnMut() -> u64) -> Option<&[u8]> {
        self.table.draw(random).map(|member| &*member.bytes)
    }

    /// See [`Table::scan`].
    pub(crate) fn scan(
        &self,
        from: u64,
        count: usize,
        ignored: u32,
        each: &mut dyn FnMut(&[u8]),
    ) -> Option<u64> {
        self.table.scan(from, count, ignored, &mut |member| each(&member.bytes))
    }

    /// Bytes of its flat payload, at most.
    pub(crate) fn flat_bytes(&self) -> usize {
        // A member is shorter than 4 GiB: its length takes five bytes at most.
        self.bytes + self.len() * 5
    }

    /// About the bytes of memory that it asks for, without walking it.
    pub(crate) fn memory_bytes(&self) -> usize {
        // A member in the table, and its share of the slots.
        self.bytes + self.len() * (size_of::<Member>() + 8)
    }
}

impl Clone for MemberTable {
    fn clone(&self) -> MemberTable {
        let mut copy = MemberTable { table: Table::new(0), bytes: self.bytes };
        self.table.for_each(&mut |member| {
            copy.table.insert(Member { hash: member.hash, bytes: member.bytes.clone() });
        });
        copy
    }
}

/// See [`MemberTable::iter`].
#[derive(Clone)]
pub(crate) struct Iter<'a>(Elements<'a, Member>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next().map(|member| &*member.bytes)
    }
}
