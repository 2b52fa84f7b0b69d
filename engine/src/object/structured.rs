//! Objects that have outgrown the flat form: growable strings; hashes, sets and sorted sets with an index of their own; lists in chunks.

use super::{Kind, List, MemberTable, Policy, SortedSet, layout, packed_hash, packed_set};
use crate::key::KeyHasher;
use crate::location::Location;
use crate::table::{Hashed, Table};

/// An object with its key, in growable form.
pub(crate) struct Structured {
    database: u8,
    policy: Option<Policy>,
    key: Box<[u8]>,
    pub(crate) body: Body,
    /// The record that holds the same value; none since it was changed.
    pub(crate) location: Option<Location>,
}

/// The value of a structured object.
pub(crate) enum Body {
    String(Vec<u8>),
    Hash(FieldTable),
    Set(MemberTable),
    List(List),
    SortedSet(SortedSet),
}

/// One field of a large hash.
pub(crate) struct Field {
    hash: u64,
    name_bytes: u32,
    /// Name, then value.
    bytes: Box<[u8]>,
}

/// A large hash.
pub(crate) struct FieldTable {
    table: Table<Field>,
    /// Bytes of names and values.
    bytes: usize,
}

impl Field {
    fn new(hash: u64, name: &[u8], value: &[u8]) -> Field {
        // Names are bounded by `VALUE_BYTES_MAX`, far below 4 GiB.
        Field { hash, name_bytes: name.len() as u32, bytes: [name, value].concat().into_boxed_slice() }
    }

    fn name(&self) -> &[u8] {
        &self.bytes[..self.name_bytes as usize]
    }

    fn value(&self) -> &[u8] {
        &self.bytes[self.name_bytes as usize..]
    }
}

impl Hashed for Field {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl FieldTable {
    /// An empty one.
    pub(crate) fn new() -> FieldTable {
        FieldTable { table: Table::new(0), bytes: 0 }
    }

    /// The fields of a flat hash's payload.
    pub(crate) fn of(payload: &[u8], hasher: &KeyHasher) -> FieldTable {
        let mut fields = FieldTable::new();
        for (name, value) in packed_hash::iter(payload) {
            fields.set(hasher.field(name), name, value);
        }
        fields
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn get(&self, hash: u64, name: &[u8]) -> Option<&[u8]> {
        let place = self.table.find(hash, |field| field.name() == name)?;
        Some(self.table.get(place).value())
    }

    /// Sets a field; whether it is new.
    pub(crate) fn set(&mut self, hash: u64, name: &[u8], value: &[u8]) -> bool {
        self.bytes += name.len() + value.len();
        match self.table.find(hash, |field| field.name() == name) {
            Some(place) => {
                let field = self.table.get_mut(place);
                self.bytes -= field.bytes.len();
                *field = Field::new(hash, name, value);
                false
            }
            None => {
                self.table.insert(Field::new(hash, name, value));
                true
            }
        }
    }

    /// Removes a field; whether it was there.
    pub(crate) fn remove(&mut self, hash: u64, name: &[u8]) -> bool {
        let Some(place) = self.table.find(hash, |field| field.name() == name) else { return false };
        self.bytes -= self.table.remove(place).bytes.len();
        true
    }

    pub(crate) fn for_each(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.table.for_each(&mut |field| each(field.name(), field.value()));
    }

    pub(crate) fn nth(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.table.nth(index).map(|field| (field.name(), field.value()))
    }

    /// See [`Table::scan`].
    pub(crate) fn scan(
        &self,
        from: u64,
        count: usize,
        ignored: u32,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<u64> {
        self.table.scan(from, count, ignored, &mut |field| each(field.name(), field.value()))
    }
}

impl Structured {
    /// An object that no segment holds yet.
    pub(crate) fn new(database: u8, key: &[u8], policy: Option<Policy>, body: Body) -> Structured {
        Structured { database, policy, key: key.into(), body, location: None }
    }

    /// A copy under another key.
    pub(crate) fn with_key(&self, database: u8, key: &[u8]) -> Structured {
        let body = match &self.body {
            Body::String(value) => Body::String(value.clone()),
            Body::Hash(fields) => {
                let mut copy = FieldTable::new();
                fields.table.for_each(&mut |field| {
                    copy.set(field.hash, field.name(), field.value());
                });
                Body::Hash(copy)
            }
            Body::Set(members) => Body::Set(members.clone()),
            Body::List(list) => Body::List(list.copy()),
            Body::SortedSet(set) => Body::SortedSet(set.copy()),
        };
        Structured::new(database, key, self.policy, body)
    }

    pub(crate) fn database(&self) -> u8 {
        self.database
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn policy(&self) -> Option<Policy> {
        self.policy
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.body {
            Body::String(_) => Kind::String,
            Body::Hash(_) => Kind::Hash,
            Body::Set(_) => Kind::Set,
            Body::List(_) => Kind::List,
            Body::SortedSet(_) => Kind::SortedSet,
        }
    }

    /// Appends the flat form.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        layout::put_head(out, self.kind(), self.database, &self.key, self.policy);
        match &self.body {
            Body::String(value) => out.extend_from_slice(value),
            Body::Hash(fields) => fields.for_each(&mut |name, value| packed_hash::put(out, name, value)),
            Body::Set(members) => members.iter().for_each(|member| packed_set::put(out, member)),
            Body::List(list) => list.encode(out),
            Body::SortedSet(set) => set.encode(out),
        }
    }

    /// Bytes of memory it asks for.
    pub(crate) fn memory_bytes(&self) -> usize {
        let body = match &self.body {
            Body::String(value) => value.capacity(),
            // Walking the segments would make every change of a large hash cost its size; their share is close to 40 bytes.
            Body::Hash(fields) => fields.bytes + fields.len() * 40,
            Body::Set(members) => members.memory_bytes(),
            Body::List(list) => list.memory_bytes(),
            Body::SortedSet(set) => set.memory_bytes(),
        };
        size_of::<Structured>() + self.key.len() + body
    }
}
