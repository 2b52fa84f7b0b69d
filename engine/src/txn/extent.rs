//! How much there is of a value: for whoever decides where to work on it before it begins.

use super::Txn;
use crate::key::Key;
use crate::object::{Body, View};

/// How much there is of a value; see [`Txn::extent`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Elements, fields, members or entries of a large collection; 0 of a string, and of a collection that is small.
    pub elements: usize,
    /// Bytes of a string; 0 of anything else.
    pub bytes: usize,
    /// Whether an [overlay](crate::Overlay) is looking at it, so that a change has to copy it first.
    pub is_shared: bool,
}

impl Txn<'_> {
    /// How much there is of the key's value, known without looking at all of it; nothing if there is no such key.
    pub fn extent(&self, key: &Key<'_>) -> Extent {
        let Some(entry) = self.entry(key) else { return Extent::default() };
        let is_shared = entry.handle().is_shared();
        let (elements, bytes) = match entry.view() {
            View::Packed(flat) => (0, flat.len()),
            View::Structured(structured) => match &structured.body {
                Body::String(value) => (0, value.len()),
                Body::Hash(fields) => (fields.len(), 0),
                Body::Set(members) => (members.len(), 0),
                Body::List(list) => (list.len(), 0),
                Body::SortedSet(set) => (set.len(), 0),
                Body::Stream(stream) => (stream.len(), 0),
                Body::Chat(chat) => (chat.figures().turns as usize, 0),
            },
        };
        Extent { elements, bytes, is_shared }
    }
}
