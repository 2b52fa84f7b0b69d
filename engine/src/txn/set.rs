//! Sets: flat up to a size, then a table of members.

use super::{Txn, WrongKind};
use crate::change::Change;
use crate::expiry::NEVER;
use crate::key::{Key, KeyHasher};
use crate::limits::{PACKED_BYTES_MAX, PACKED_FIELDS_MAX, SCAN_IGNORED_BITS};
use crate::object::{
    Body, Kind, MemberTable, MemberTableIter, Object, Packed, Structured, View, layout, packed_set,
};
use smallvec::SmallVec;
use std::collections::HashSet;
use std::sync::Arc;

/// The members of a set, to be looked at: one lookup of the key for as many questions as there are.
#[derive(Clone, Copy)]
pub struct Members<'a> {
    form: Form<'a>,
    hasher: &'a KeyHasher,
}

#[derive(Clone, Copy)]
enum Form<'a> {
    /// The payload.
    Flat(&'a [u8]),
    Table(&'a MemberTable),
}

impl std::fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<'a> Members<'a> {
    /// How many there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty set")]
    pub fn len(&self) -> usize {
        match self.form {
            Form::Flat(payload) => packed_set::len(payload),
            Form::Table(table) => table.len(),
        }
    }

    /// Whether `member` is one of them.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.form {
            Form::Flat(payload) => packed_set::contains(payload, member),
            Form::Table(table) => table.contains(self.hasher.field(member), member),
        }
    }

    /// All of them: integers in ascending order if there is nothing else and the set is flat, in no particular order otherwise.
    pub fn iter(&self) -> MembersIter<'a> {
        MembersIter(match self.form {
            Form::Flat(payload) => IterForm::Flat(packed_set::iter(payload)),
            Form::Table(table) => IterForm::Table(table.iter()),
        })
    }

    /// One drawn at random by numbers of `random`, each as likely as the others.
    pub fn draw(&self, random: &mut dyn FnMut() -> u64) -> Option<&'a [u8]> {
        match self.form {
            Form::Flat(payload) => {
                let index = (u128::from(random()) * packed_set::len(payload) as u128) >> 64;
                packed_set::iter(payload).nth(index as usize)
            }
            Form::Table(table) => table.draw(random),
        }
    }

    /// A step of a scan: calls `each` for at least `count` members from `cursor` on (all of a flat set), if there are as many. The next
    /// cursor, 0 at the end. A member that is there throughout is seen at least once.
    pub fn scan(&self, cursor: u64, count: usize, each: &mut dyn FnMut(&[u8])) -> u64 {
        match self.form {
            Form::Flat(payload) => {
                packed_set::iter(payload).for_each(each);
                0
            }
            Form::Table(table) => table
                .scan(cursor << SCAN_IGNORED_BITS, count, SCAN_IGNORED_BITS, each)
                .map_or(0, |next| next >> SCAN_IGNORED_BITS),
        }
    }
}

/// Members, one after the other; see [`Members::iter`].
#[derive(Clone)]
pub struct MembersIter<'a>(IterForm<'a>);

#[derive(Clone)]
enum IterForm<'a> {
    Flat(packed_set::Iter<'a>),
    Table(MemberTableIter<'a>),
}

impl std::fmt::Debug for MembersIter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MembersIter").finish_non_exhaustive()
    }
}

impl<'a> Iterator for MembersIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            IterForm::Flat(members) => members.next(),
            IterForm::Table(members) => members.next(),
        }
    }
}

/// A set in the making, for [`Txn::put_set`].
pub struct NewSet<'db> {
    hasher: &'db KeyHasher,
    /// The payload, until it is too large for a flat one.
    flat: Vec<u8>,
    flat_len: usize,
    table: Option<MemberTable>,
}

impl std::fmt::Debug for NewSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSet").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl NewSet<'_> {
    /// How many members it has so far.
    pub fn len(&self) -> usize {
        self.table.as_ref().map_or(self.flat_len, MemberTable::len)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of its members: what is longer than [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX) can't be put.
    pub fn bytes(&self) -> usize {
        self.table.as_ref().map_or(self.flat.len(), MemberTable::flat_bytes)
    }

    /// Adds a member; whether it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if let Some(table) = &mut self.table {
            return table.insert(self.hasher.field(member), member);
        }
        let Some(at) = packed_set::place(&self.flat, member) else { return false };
        // A varint of a length has at most 10 bytes.
        if self.flat_len == PACKED_FIELDS_MAX || self.flat.len() + member.len() + 10 > PACKED_BYTES_MAX {
            let mut table = MemberTable::of(&self.flat, self.hasher);
            table.insert(self.hasher.field(member), member);
            self.table = Some(table);
            return true;
        }
        self.flat_len += 1;
        if at == self.flat.len() {
            packed_set::put(&mut self.flat, member);
        } else {
            let mut element: SmallVec<[u8; 32]> = SmallVec::new();
            packed_set::put(&mut element, member);
            self.flat.splice(at..at, element);
        }
        true
    }
}

fn view_of<'a>(view: View<'a>, hasher: &'a KeyHasher) -> Option<Members<'a>> {
    let form = match view {
        View::Packed(flat) => Form::Flat(layout::parts(flat).payload),
        View::Structured(Structured { body: Body::Set(table), .. }) => Form::Table(table),
        View::Structured(_) => return None,
    };
    Some(Members { form, hasher })
}

impl<'db> Txn<'db> {
    /// The members of a set; `None` if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    #[inline]
    pub fn set_members(&self, key: &Key<'_>) -> Result<Option<Members<'_>>, WrongKind> {
        Ok(self.entry_of(key, Kind::Set)?.and_then(|entry| view_of(entry.view(), &self.inner.hasher)))
    }

    /// How many members a set has; 0 if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn set_len(&self, key: &Key<'_>) -> Result<usize, WrongKind> {
        Ok(self.set_members(key)?.map_or(0, |members| members.len()))
    }

    /// Whether a set has a member; false if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn set_contains(&self, key: &Key<'_>, member: &[u8]) -> Result<bool, WrongKind> {
        Ok(self.set_members(key)?.is_some_and(|members| members.contains(member)))
    }

    /// Adds members, creating the set; how many are new. Keeps the key's deadline.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn set_add(&mut self, key: &Key<'_>, members: &[&[u8]]) -> Result<usize, WrongKind> {
        let Some(old) = self.set_members(key)? else {
            let mut set = self.new_set();
            for member in members {
                set.insert(member);
            }
            let new = set.len();
            self.put_set(key, set, None);
            return Ok(new);
        };
        let mut new: SmallVec<[u8; 256]> = SmallVec::new();
        for member in members.iter().filter(|member| !old.contains(member)) {
            packed_set::put(&mut new, member);
        }
        if new.is_empty() {
            return Ok(0);
        }
        let before = if members.len() == 1 { None } else { Some(old.len()) };
        self.change(key, &Change::AddMembers { members: &new });
        // A member may have been named twice.
        Ok(match before {
            None => 1,
            Some(before) => self.set_len(key)? - before,
        })
    }

    /// Removes members, and the key with the last one; how many were there.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn set_remove(&mut self, key: &Key<'_>, members: &[&[u8]]) -> Result<usize, WrongKind> {
        let Some(old) = self.set_members(key)? else { return Ok(0) };
        let mut there: SmallVec<[&[u8]; 8]> = SmallVec::new();
        there.extend(members.iter().copied().filter(|member| old.contains(member)));
        if there.is_empty() {
            return Ok(0);
        }
        let before = old.len();
        // Each may have been named twice.
        if there.len() >= before && there.iter().collect::<HashSet<_>>().len() == before {
            self.delete(key);
            return Ok(before);
        }
        let mut gone: SmallVec<[u8; 256]> = SmallVec::new();
        there.iter().for_each(|member| packed_set::put(&mut gone, member));
        self.change(key, &Change::RemoveMembers { members: &gone });
        Ok(if members.len() == 1 { 1 } else { before - self.set_len(key)? })
    }

    /// A set in the making, empty.
    pub fn new_set(&self) -> NewSet<'db> {
        NewSet { hasher: &self.inner.hasher, flat: Vec::new(), flat_len: 0, table: None }
    }

    /// Replaces whatever the key held by a set, with a deadline in ms since the epoch (`None`: never). An empty set, or a deadline that has
    /// come, deletes the key.
    ///
    /// # Panics
    /// If the transaction is then longer than the log takes; see [`NewSet::bytes`].
    pub fn put_set(&mut self, key: &Key<'_>, set: NewSet<'db>, deadline_ms: Option<u64>) {
        let deadline_ms = deadline_ms.unwrap_or(NEVER);
        if set.is_empty() || deadline_ms <= self.now_ms {
            self.delete(key);
            return;
        }
        let object = match set.table {
            Some(table) => {
                let body = Body::Set(table);
                Object::Structured(Arc::new(Structured::new(key.database, key.bytes, None, body)))
            }
            None => {
                let mut head: SmallVec<[u8; 96]> = SmallVec::new();
                layout::put_head(&mut head, Kind::Set, key.database, key.bytes, None);
                // A long key leaves no room for a flat set.
                if head.len() + set.flat.len() <= PACKED_BYTES_MAX {
                    Object::Packed(Packed::concat(&[&head, &set.flat]))
                } else {
                    let body = Body::Set(MemberTable::of(&set.flat, set.hasher));
                    Object::Structured(Arc::new(Structured::new(key.database, key.bytes, None, body)))
                }
            }
        };
        self.put(key, object, deadline_ms, 0);
    }
}
