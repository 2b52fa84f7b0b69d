//! Objects that have outgrown the flat form: growable strings; hashes, sets and sorted sets with an index of their own; lists and chats in chunks. And streams of any size.

use super::{
    Chat, Deaths, FieldTable, Kind, List, MemberTable, Policy, SortedSet, Stream, layout, packed_set,
};
use crate::location::Location;
use std::sync::atomic::{AtomicU64, Ordering};

/// An object with its key, in growable form.
pub(crate) struct Structured {
    database: u8,
    policy: Option<Policy>,
    key: Box<[u8]>,
    pub(crate) body: Body,
    /// The record that holds the same value, as bits; 0 since it was changed. Only the index entry's owner looks at it and sets it, whoever else
    /// has the object.
    location: AtomicU64,
}

/// The value of a structured object.
pub(crate) enum Body {
    String(Vec<u8>),
    Hash(FieldTable),
    Set(MemberTable),
    List(List),
    SortedSet(SortedSet),
    Stream(Stream),
    Chat(Box<Chat>),
}

impl Structured {
    /// An object that no segment holds yet.
    pub(crate) fn new(database: u8, key: &[u8], policy: Option<Policy>, body: Body) -> Structured {
        Structured { database, policy, key: key.into(), body, location: AtomicU64::new(0) }
    }

    /// A copy under another key.
    pub(crate) fn with_key(&self, database: u8, key: &[u8]) -> Structured {
        let body = match &self.body {
            Body::String(value) => Body::String(value.clone()),
            Body::Hash(fields) => Body::Hash(fields.clone()),
            Body::Set(members) => Body::Set(members.clone()),
            Body::List(list) => Body::List(list.copy()),
            Body::SortedSet(set) => Body::SortedSet(set.copy()),
            Body::Stream(stream) => Body::Stream(stream.clone()),
            Body::Chat(chat) => Body::Chat(chat.clone()),
        };
        Structured::new(database, key, self.policy, body)
    }

    /// A copy to be changed in place of this object, which somebody else is looking at.
    pub(crate) fn copy(&self) -> Structured {
        let copy = self.with_key(self.database, &self.key);
        copy.set_location(self.location());
        copy
    }

    /// The record that holds the same value; none since it was changed.
    pub(crate) fn location(&self) -> Option<Location> {
        Location::from_bits(self.location.load(Ordering::Relaxed))
    }

    /// Sets [`location`](Self::location). For the index entry's owner.
    pub(crate) fn set_location(&self, location: Option<Location>) {
        self.location.store(location.map_or(0, Location::bits), Ordering::Relaxed);
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
            Body::Stream(_) => Kind::Stream,
            Body::Chat(_) => Kind::Chat,
        }
    }

    /// Appends the flat form.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let tag = out.len();
        layout::put_head(out, self.kind(), self.database, &self.key, self.policy);
        match &self.body {
            Body::String(value) => out.extend_from_slice(value),
            Body::Hash(fields) => fields.encode(tag, out),
            Body::Set(members) => members.iter().for_each(|member| packed_set::put(out, member)),
            Body::List(list) => list.encode(out),
            Body::SortedSet(set) => set.encode(out),
            Body::Stream(stream) => stream.encode(out),
            Body::Chat(chat) => chat.encode(out),
        }
    }

    /// When fields of a hash die, if any does.
    pub(crate) fn deaths(&self) -> Option<Deaths> {
        match &self.body {
            Body::Hash(fields) => fields.deaths(),
            _ => None,
        }
    }

    /// Bytes of memory it asks for.
    pub(crate) fn memory_bytes(&self) -> usize {
        let body = match &self.body {
            Body::String(value) => value.capacity(),
            Body::Hash(fields) => fields.memory_bytes(),
            Body::Set(members) => members.memory_bytes(),
            Body::List(list) => list.memory_bytes(),
            Body::SortedSet(set) => set.memory_bytes(),
            Body::Stream(stream) => stream.memory_bytes(),
            Body::Chat(chat) => size_of::<Chat>() + chat.memory_bytes(),
        };
        size_of::<Structured>() + self.key.len() + body
    }
}
