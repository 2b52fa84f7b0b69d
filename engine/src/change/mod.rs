//! Changes of a value that exists, other than replacing it as a whole: what the log holds of them, and how they are made.
//!
//! A transaction, the replay of the log and the rollback of a transaction all change values through [`apply`], so that what is in memory is
//! what a replay would make. Each kind of value has a file with its changes: their bytes, what applying them does to the flat and to the
//! structured form, and what undoes them. A change is deterministic: it holds chosen members, absolute positions and times, results where
//! the input could be read differently later. It never removes the last element: that is a deletion of the key.

pub(crate) mod chat;
pub(crate) mod hash;
pub(crate) mod list;
pub(crate) mod set;
pub(crate) mod sorted_set;
pub(crate) mod stream;
pub(crate) mod string;

use crate::key::KeyHasher;
use crate::object::{Kind, Object, Structured, packed_set};
use crate::shard::Shard;
use crate::table::Place;
use crate::varint;
pub(crate) use chat::ChatChange;
pub(crate) use hash::TimedChange;
pub(crate) use list::ListChange;
pub(crate) use sorted_set::SortedSetChange;
pub(crate) use stream::StreamChange;

/// A change of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// One field of a hash.
    SetField { field: &'a [u8], value: &'a [u8] },
    /// A field is gone; it was not the last.
    RemoveField { field: &'a [u8] },
    /// What has to do with deadlines of a hash's fields.
    Timed(TimedChange<'a>),
    /// Members of a set, as the payload of a flat one; some may be there.
    AddMembers { members: &'a [u8] },
    /// Members are gone, some of which may not have been there; it were not all.
    RemoveMembers { members: &'a [u8] },
    /// Bytes inside or behind a string.
    WriteAt { offset: u64, bytes: &'a [u8] },
    /// A string loses what is behind this length.
    Truncate { length: u64 },
    /// Elements of a list.
    List(ListChange<'a>),
    /// Members of a sorted set.
    SortedSet(SortedSetChange<'a>),
    /// Entries or groups of a stream.
    Stream(StreamChange<'a>),
    /// Turns of a chat.
    Chat(ChatChange<'a>),
}

/// Codes of operations of the log, their low four bits. (1, 2, 3, 7 and 8 are operations on keys as a whole, 15 is the map of databases: see
/// [`record`](crate::record).)
const SET_FIELD: u8 = 4;
const REMOVE_FIELD: u8 = 5;
const WRITE_AT: u8 = 6;
const LIST: u8 = 9;
const SORTED_SET: u8 = 11;
const TIMED: u8 = 12;
const STREAM: u8 = 13;
const TRUNCATE: u8 = 14;
/// The last code there was: the byte behind the name says what it is. 1 to 5 are changes of chats; 0 is nothing, as zeros are no operation.
const FURTHER: u8 = 0;
/// Followed by which of the changes of sets it is.
const SET: u8 = 10;
/// See [`SET`].
const SET_ADD: u8 = 0;
/// See [`SET`].
const SET_REMOVE: u8 = 1;

/// What applying a change did.
pub(crate) struct Applied {
    /// Whether it added an element rather than replacing one.
    pub(crate) new: bool,
    /// What was in its place, to be freed after the lock.
    pub(crate) garbage: Option<Object>,
}

impl<'a> Change<'a> {
    /// The kind of value that it is for.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Change::SetField { .. } | Change::RemoveField { .. } | Change::Timed(_) => Kind::Hash,
            Change::AddMembers { .. } | Change::RemoveMembers { .. } => Kind::Set,
            Change::WriteAt { .. } | Change::Truncate { .. } => Kind::String,
            Change::List(_) => Kind::List,
            Change::SortedSet(_) => Kind::SortedSet,
            Change::Stream(_) => Kind::Stream,
            Change::Chat(_) => Kind::Chat,
        }
    }

    /// The code of its operation.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Change::SetField { .. } => SET_FIELD,
            Change::RemoveField { .. } => REMOVE_FIELD,
            Change::Timed(_) => TIMED,
            Change::AddMembers { .. } | Change::RemoveMembers { .. } => SET,
            Change::WriteAt { .. } => WRITE_AT,
            Change::Truncate { .. } => TRUNCATE,
            Change::List(_) => LIST,
            Change::SortedSet(_) => SORTED_SET,
            Change::Stream(_) => STREAM,
            Change::Chat(_) => FURTHER,
        }
    }

    /// Appends what follows code and name.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Change::SetField { field, value } => {
                varint::put_slice(out, field);
                varint::put_slice(out, value);
            }
            Change::RemoveField { field } => varint::put_slice(out, field),
            Change::Timed(change) => change.encode(out),
            Change::AddMembers { members } => {
                out.push(SET_ADD);
                varint::put_slice(out, members);
            }
            Change::RemoveMembers { members } => {
                out.push(SET_REMOVE);
                varint::put_slice(out, members);
            }
            Change::WriteAt { offset, bytes } => {
                varint::put(out, offset);
                varint::put_slice(out, bytes);
            }
            Change::Truncate { length } => varint::put(out, length),
            Change::List(change) => change.encode(out),
            Change::SortedSet(change) => change.encode(out),
            Change::Stream(change) => change.encode(out),
            Change::Chat(change) => change.encode(out),
        }
    }

    /// Takes what follows code and name off the front of `rest`, bytes from outside; `None` if they are none, or make no sense for any value.
    pub(crate) fn take(code: u8, rest: &mut &'a [u8]) -> Option<Change<'a>> {
        Some(match code {
            SET_FIELD => {
                Change::SetField { field: varint::take_slice(rest)?, value: varint::take_slice(rest)? }
            }
            REMOVE_FIELD => Change::RemoveField { field: varint::take_slice(rest)? },
            TIMED => Change::Timed(TimedChange::take(rest)?),
            SET => {
                let (&which, after) = rest.split_first()?;
                *rest = after;
                let members = varint::take_slice(rest).filter(|members| packed_set::check(members))?;
                match which {
                    SET_ADD => Change::AddMembers { members },
                    SET_REMOVE => Change::RemoveMembers { members },
                    _ => return None,
                }
            }
            WRITE_AT => Change::WriteAt { offset: varint::take(rest)?, bytes: varint::take_slice(rest)? },
            TRUNCATE => Change::Truncate { length: varint::take(rest)? },
            LIST => Change::List(ListChange::take(rest)?),
            SORTED_SET => Change::SortedSet(SortedSetChange::take(rest)?),
            STREAM => Change::Stream(StreamChange::take(rest)?),
            FURTHER => Change::Chat(ChatChange::take(rest)?),
            _ => return None,
        })
    }

    /// Why it can't be applied to any value, if it can't: for changes from outside.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match *self {
            Change::WriteAt { offset, bytes } => string::refusal(offset, bytes),
            _ => None,
        }
    }
}

/// Applies a change to an object that is in memory and of its [`kind`](Change::kind).
///
/// Bytes from outside were checked for what they are, not for whether they fit this value: a change that does not (a field to be removed that is
/// not there, a position behind the end) does nothing.
pub(crate) fn apply(shard: &mut Shard, place: Place, hasher: &KeyHasher, change: &Change<'_>) -> Applied {
    match *change {
        Change::SetField { field, value } => hash::apply_set(shard, place, hasher, field, value),
        Change::RemoveField { field } => hash::apply_remove(shard, place, hasher, field),
        Change::Timed(change) => hash::apply_timed(shard, place, hasher, change),
        Change::AddMembers { members } => set::apply_add(shard, place, hasher, members),
        Change::RemoveMembers { members } => set::apply_remove(shard, place, hasher, members),
        Change::WriteAt { offset, bytes } => string::apply_write_at(shard, place, offset as usize, bytes),
        Change::Truncate { length } => string::apply_truncate(shard, place, length as usize),
        Change::List(change) => list::apply(shard, place, change),
        Change::SortedSet(change) => sorted_set::apply(shard, place, hasher, change),
        Change::Stream(change) => stream::apply(shard, place, change),
        Change::Chat(change) => chat::apply(shard, place, change),
    }
}

/// Appends the changes that undo `change`, which is about to be applied to `object`. They are applied in the reverse of the order in which they
/// were appended. (A flat object needs none: the whole of it is kept.)
pub(crate) fn invert(object: &Structured, hasher: &KeyHasher, change: &Change<'_>, inverse: &mut Inverse) {
    match *change {
        Change::SetField { field, .. } | Change::RemoveField { field } => {
            hash::invert(object, hasher, field, inverse);
        }
        Change::Timed(change) => hash::invert_timed(object, hasher, change, inverse),
        Change::AddMembers { members } => set::invert_add(object, hasher, members, inverse),
        Change::RemoveMembers { members } => set::invert_remove(object, hasher, members, inverse),
        Change::WriteAt { offset, bytes } => string::invert_write_at(object, offset as usize, bytes, inverse),
        Change::Truncate { length } => string::invert_truncate(object, length as usize, inverse),
        Change::List(change) => list::invert(object, change, inverse),
        Change::SortedSet(change) => sorted_set::invert(object, hasher, change, inverse),
        Change::Stream(change) => stream::invert(object, change, inverse),
        Change::Chat(change) => chat::invert(object, change, inverse),
    }
}

/// Changes that undo others, as bytes.
#[derive(Default)]
pub(crate) struct Inverse {
    bytes: Vec<u8>,
    /// Where each change begins.
    begins: Vec<usize>,
}

impl Inverse {
    /// Appends one.
    pub(crate) fn push(&mut self, change: &Change<'_>) {
        self.begins.push(self.bytes.len());
        self.bytes.push(change.code());
        change.encode(&mut self.bytes);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.begins.len()
    }

    /// Forgets all but the first so many.
    pub(crate) fn truncate(&mut self, length: usize) {
        if let Some(&end) = self.begins.get(length) {
            self.bytes.truncate(end);
            self.begins.truncate(length);
        }
    }

    /// The changes from this number on, last first.
    pub(crate) fn since(&self, first: usize) -> impl Iterator<Item = Change<'_>> {
        self.begins.iter().skip(first).rev().filter_map(|&begin| {
            let (&code, mut rest) = self.bytes.get(begin..)?.split_first()?;
            Change::take(code, &mut rest)
        })
    }
}
