//! What a key holds.
//!
//! An object carries its own key. Small ones are flat ([`Packed`], laid out by [`layout`]): one allocation that is also the form
//! on disk and in the log. What outgrows that, or is changed in place at length, becomes [`Structured`] and is flattened again
//! when written out.

pub(crate) mod chat;
mod field_table;
mod handle;
pub(crate) mod layout;
mod list;
mod member_table;
mod packed;
pub(crate) mod packed_chat;
pub(crate) mod packed_hash;
pub(crate) mod packed_list;
pub(crate) mod packed_set;
pub(crate) mod packed_sorted_set;
mod rank_tree;
mod slab;
pub(crate) mod sorted_run;
mod sorted_set;
pub(crate) mod stream;
mod structured;

use crate::expiry::NEVER;
use crate::key::KeyHasher;
use crate::limits::{PACKED_BYTES_MAX, PACKED_FIELDS_MAX};
use crate::location::Location;
pub(crate) use chat::{Chat, Figures as ChatFigures};
pub(crate) use field_table::FieldTable;
pub(crate) use handle::{Form, Handle, View};
pub(crate) use layout::Policy;
pub(crate) use list::List;
pub(crate) use member_table::{Iter as MemberTableIter, MemberTable};
pub(crate) use packed::Packed;
pub(crate) use slab::slab_bytes;
pub(crate) use sorted_set::SortedSet;
use std::sync::Arc;
pub(crate) use stream::{Stream, StreamId};
pub(crate) use structured::{Body, Structured};

/// What kind of value a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash: fields and values.
    Hash,
    /// A stream: entries in the order of their ids, and consumer groups.
    Stream,
    /// A chat: turns in their order, each with a role and tokens.
    Chat,
}

/// When fields of a hash die, of which at least one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deaths {
    /// When the first one does, in ms since the epoch.
    pub(crate) first_ms: u64,
    /// When the last one does, and the key with it; [`NEVER`](crate::expiry::NEVER) if some have no deadline.
    pub(crate) last_ms: u64,
    /// The key's own deadline, if it is not before `last_ms`: an entry's deadline is the earlier of the two, so that it says of itself when
    /// it is dead. If the entry's is earlier than `last_ms`, or the fields don't all die, the
    /// entry's is the key's own, and this is out of date.
    pub(crate) key_deadline_ms: u64,
}

/// An object in either form, owned.
pub(crate) enum Object {
    Packed(Packed),
    Structured(Arc<Structured>),
    /// Flat, with its payload compressed: an idle value. See [`crate::dictionary`].
    Idle(Packed),
    /// On disk only.
    Cold {
        location: Location,
        database: u8,
    },
}

impl Object {
    /// No record on disk is its own any more. For one that is in no entry, and not on disk only.
    pub(crate) fn forget_location(&self) {
        match self {
            Object::Packed(packed) | Object::Idle(packed) => packed.set_location(None),
            Object::Structured(structured) => structured.set_location(None),
            Object::Cold { .. } => debug_assert!(false, "it would be lost"),
        }
    }

    /// Bytes of memory it asks for.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Object::Packed(packed) | Object::Idle(packed) => packed.memory_bytes(),
            Object::Structured(structured) => structured.memory_bytes(),
            Object::Cold { .. } => 0,
        }
    }
}

/// The object that a checked flat form from the log stands for: structured if it is too large to stay flat.
pub(crate) fn from_flat(kind: Kind, flat: &[u8], hasher: &KeyHasher) -> Object {
    grown(kind, flat, hasher).unwrap_or_else(|| Object::Packed(Packed::concat(&[flat])))
}

/// As [`from_flat`], without a copy if it stays flat.
pub(crate) fn from_packed(flat: Packed, hasher: &KeyHasher) -> Object {
    grown(layout::kind(flat.bytes()), flat.bytes(), hasher).unwrap_or(Object::Packed(flat))
}

fn grown(kind: Kind, flat: &[u8], hasher: &KeyHasher) -> Option<Object> {
    let parts = layout::parts(flat);
    let elements = match kind {
        Kind::List => packed_list::len(parts.payload),
        Kind::Set => packed_set::len(parts.payload),
        Kind::SortedSet => packed_sorted_set::len(parts.payload),
        // Its flat form is not for reading.
        Kind::Stream => usize::MAX,
        Kind::Chat => packed_chat::len(parts.payload),
        Kind::String => return None,
        Kind::Hash => packed_hash::Fields::of(flat).len(),
    };
    if flat.len() <= PACKED_BYTES_MAX && elements <= PACKED_FIELDS_MAX {
        return None;
    }
    let body = match kind {
        Kind::List => Body::List(List::of(parts.payload)),
        // Checked when it came in, by the same code.
        Kind::Stream => Body::Stream(Stream::decode(parts.payload).unwrap_or_default()),
        Kind::Chat => Body::Chat(Box::new(Chat::of(parts.payload))),
        Kind::Set => Body::Set(MemberTable::of(parts.payload, hasher)),
        Kind::SortedSet => Body::SortedSet(SortedSet::of(packed_sorted_set::run(parts.payload), hasher)),
        _ => {
            let fields = packed_hash::Fields::of(flat);
            let key_deadline_ms = fields.deaths().map_or(NEVER, |deaths| deaths.key_deadline_ms);
            Body::Hash(FieldTable::of(fields.iter(), key_deadline_ms, hasher))
        }
    };
    let grown = Structured::new(layout::database(flat), parts.key, parts.policy, body);
    Some(Object::Structured(Arc::new(grown)))
}

/// A copy of an object under another key.
pub(crate) fn copy_as(view: View<'_>, database: u8, key: &[u8]) -> Object {
    match view {
        View::Packed(flat) => Object::Packed(with_key(flat, database, key)),
        View::Structured(structured) => Object::Structured(Arc::new(structured.with_key(database, key))),
    }
}

fn with_key(flat: &[u8], database: u8, key: &[u8]) -> Packed {
    let parts = layout::parts(flat);
    let mut head = Vec::with_capacity(key.len() + 24);
    layout::put_head(&mut head, layout::kind(flat), database, key, parts.policy);
    head[0] |= flat[0] & layout::FIELD_DEADLINES;
    Packed::concat(&[&head, parts.payload])
}

impl<'a> View<'a> {
    pub(crate) fn key(&self) -> &'a [u8] {
        match self {
            View::Packed(bytes) => layout::parts(bytes).key,
            View::Structured(structured) => structured.key(),
        }
    }

    pub(crate) fn database(&self) -> u8 {
        match self {
            View::Packed(bytes) => layout::database(bytes),
            View::Structured(structured) => structured.database(),
        }
    }

    /// Whether this is the object of that key.
    #[inline]
    pub(crate) fn is_of(&self, database: u8, key: &[u8]) -> bool {
        match self {
            View::Packed(bytes) => layout::is_of(bytes, database, key),
            View::Structured(structured) => structured.database() == database && structured.key() == key,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            View::Packed(bytes) => layout::kind(bytes),
            View::Structured(structured) => structured.kind(),
        }
    }

    /// When fields of a hash die, if any may.
    #[inline]
    pub(crate) fn deaths(&self) -> Option<Deaths> {
        match self {
            View::Packed(bytes) if layout::has_field_deadlines(bytes) => {
                packed_hash::Fields::of(bytes).deaths()
            }
            View::Packed(_) => None,
            View::Structured(structured) => structured.deaths(),
        }
    }

    pub(crate) fn policy(&self) -> Option<Policy> {
        match self {
            View::Packed(bytes) => layout::parts(bytes).policy,
            View::Structured(structured) => structured.policy(),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            View::Packed(bytes) => bytes.len() + packed::HEADER_BYTES,
            View::Structured(structured) => structured.memory_bytes(),
        }
    }
}
