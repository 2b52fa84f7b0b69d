//! Changes of lists.

#[cfg(test)]
mod tests;

use super::{Applied, Change, Inverse};
use crate::limits::{FREE_LATER_BYTES, PACKED_BYTES_MAX, PACKED_FIELDS_MAX};
use crate::object::{Body, List, Object, Packed, Structured, View, layout, packed_list};
use crate::shard::Shard;
use crate::table::Place;
use crate::varint;
use std::sync::Arc;

/// A change of a list's elements. Runs are elements as [`packed_list`] lays them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListChange<'a> {
    /// A run of `count` elements before the first, in the order in which the list has them then.
    PushFront { run: &'a [u8], count: usize },
    /// The same behind the last.
    PushBack { run: &'a [u8], count: usize },
    /// So many elements are gone from the front and the back, not all.
    Trim { front: u64, back: u64 },
    /// Another element in the place of this one.
    Set { index: u64, element: &'a [u8] },
    /// An element before the one with this index, or behind all.
    Insert { index: u64, element: &'a [u8] },
    /// An element is gone; it was not the last.
    Remove { index: u64 },
    /// The first or last `count` elements that are equal to this one are gone, not all of the list.
    RemoveEqual { element: &'a [u8], count: u64, last: bool },
}

const PUSH_FRONT: u8 = 0;
const PUSH_BACK: u8 = 1;
const TRIM: u8 = 2;
const SET: u8 = 3;
const INSERT: u8 = 4;
const REMOVE: u8 = 5;
const REMOVE_FIRST: u8 = 6;
const REMOVE_LAST: u8 = 7;

impl<'a> ListChange<'a> {
    /// Appends the code of its own and what follows.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            ListChange::PushFront { run, .. } => {
                out.push(PUSH_FRONT);
                varint::put_slice(out, run);
            }
            ListChange::PushBack { run, .. } => {
                out.push(PUSH_BACK);
                varint::put_slice(out, run);
            }
            ListChange::Trim { front, back } => {
                out.push(TRIM);
                varint::put(out, front);
                varint::put(out, back);
            }
            ListChange::Set { index, element } => {
                out.push(SET);
                varint::put(out, index);
                varint::put_slice(out, element);
            }
            ListChange::Insert { index, element } => {
                out.push(INSERT);
                varint::put(out, index);
                varint::put_slice(out, element);
            }
            ListChange::Remove { index } => {
                out.push(REMOVE);
                varint::put(out, index);
            }
            ListChange::RemoveEqual { element, count, last } => {
                out.push(if last { REMOVE_LAST } else { REMOVE_FIRST });
                varint::put(out, count);
                varint::put_slice(out, element);
            }
        }
    }

    /// Takes one off the front of bytes from outside.
    pub(super) fn take(rest: &mut &'a [u8]) -> Option<ListChange<'a>> {
        let (&code, after) = rest.split_first()?;
        *rest = after;
        Some(match code {
            PUSH_FRONT | PUSH_BACK => {
                let run = varint::take_slice(rest)?;
                let count = packed_list::check(run)?;
                if code == PUSH_FRONT {
                    ListChange::PushFront { run, count }
                } else {
                    ListChange::PushBack { run, count }
                }
            }
            TRIM => ListChange::Trim { front: varint::take(rest)?, back: varint::take(rest)? },
            SET => ListChange::Set { index: varint::take(rest)?, element: varint::take_slice(rest)? },
            INSERT => ListChange::Insert { index: varint::take(rest)?, element: varint::take_slice(rest)? },
            REMOVE => ListChange::Remove { index: varint::take(rest)? },
            REMOVE_FIRST | REMOVE_LAST => {
                let count = varint::take(rest)?;
                ListChange::RemoveEqual {
                    element: varint::take_slice(rest)?,
                    count,
                    last: code == REMOVE_LAST,
                }
            }
            _ => return None,
        })
    }

    /// Whether it can be applied to a list of so many elements, and leaves some.
    fn fits(&self, len: usize) -> bool {
        let len = len as u64;
        match *self {
            ListChange::PushFront { .. } | ListChange::PushBack { .. } => true,
            ListChange::Trim { front, back } => front.saturating_add(back) < len,
            ListChange::Set { index, .. } => index < len,
            ListChange::Insert { index, .. } => index <= len,
            ListChange::Remove { index } => index < len && len > 1,
            ListChange::RemoveEqual { count, .. } => count < len,
        }
    }
}

/// Applies a change to a list.
pub(super) fn apply(shard: &mut Shard, place: Place, change: ListChange<'_>) -> Applied {
    let garbage = match shard.entry(place).view() {
        View::Packed(flat) => {
            let head = layout::head_bytes(flat);
            let (len, run) = packed_list::parts(&flat[head..]);
            if !change.fits(len) {
                None
            } else {
                let object = change_flat(flat, head, len, run, change);
                Some(shard.replace(place, object))
            }
        }
        View::Structured(Structured { body: Body::List(list), .. }) if change.fits(list.len()) => shard
            .change(place, |handle| match handle.structured_mut() {
                Some(Structured { body: Body::List(list), .. }) => change_list(list, change),
                _ => None,
            }),
        View::Structured(_) => None,
    };
    Applied { new: false, garbage }
}

/// The object that a flat list becomes; `change` fits it.
fn change_flat(flat: &[u8], head: usize, len: usize, run: &[u8], change: ListChange<'_>) -> Object {
    let offset = |index: u64| packed_list::offset(run, len, index as usize);
    let with = |len: usize, parts: [&[u8]; 3]| flat_list(&flat[..head], len, parts);
    match change {
        ListChange::PushFront { run: new, count } => with(len + count, [new, run, &[]]),
        ListChange::PushBack { run: new, count } => with(len + count, [run, new, &[]]),
        ListChange::Trim { front, back } => {
            let (start, end) = (offset(front), offset(len as u64 - back));
            with(len - (front + back) as usize, [&run[start..end], &[], &[]])
        }
        ListChange::Set { index, element } => {
            let (start, end) = (offset(index), offset(index + 1));
            let mut encoded = Vec::with_capacity(element.len() + 20);
            packed_list::put(&mut encoded, element);
            with(len, [&run[..start], &encoded, &run[end..]])
        }
        ListChange::Insert { index, element } => {
            let start = offset(index);
            let mut encoded = Vec::with_capacity(element.len() + 20);
            packed_list::put(&mut encoded, element);
            with(len + 1, [&run[..start], &encoded, &run[start..]])
        }
        ListChange::Remove { index } => {
            let (start, end) = (offset(index), offset(index + 1));
            with(len - 1, [&run[..start], &run[end..], &[]])
        }
        ListChange::RemoveEqual { element, count, last } => {
            let mut list = List::default();
            list.append(run);
            list.remove_equal(element, count as usize, last);
            let mut payload = Vec::new();
            list.encode(&mut payload);
            Object::Packed(Packed::concat(&[&flat[..head], &payload]))
        }
    }
}

/// The object of a list in parts: flat if it is small enough.
pub(crate) fn flat_list(head: &[u8], len: usize, [a, b, c]: [&[u8]; 3]) -> Object {
    let count = varint::Bytes::of(len);
    let bytes = head.len() + count.len() + a.len() + b.len() + c.len();
    if len <= PACKED_FIELDS_MAX && bytes <= PACKED_BYTES_MAX {
        return Object::Packed(Packed::concat(&[head, &count, a, b, c]));
    }
    let mut list = List::default();
    [a, b, c].into_iter().for_each(|run| list.append(run));
    let parts = layout::parts(head);
    let grown = Structured::new(layout::database(head), parts.key, parts.policy, Body::List(list));
    Object::Structured(Arc::new(grown))
}

/// Changes a large list; what is gone of it, if that is worth freeing later.
fn change_list(list: &mut List, change: ListChange<'_>) -> Option<Object> {
    match change {
        ListChange::PushFront { run, .. } => {
            packed_list::Elements(run).rev().for_each(|element| list.push_front(element));
        }
        ListChange::PushBack { run, .. } => {
            packed_list::Elements(run).for_each(|element| list.push_back(element));
        }
        ListChange::Trim { front, back } => {
            let gone = [list.drop_front(front as usize), list.drop_back(back as usize)];
            let bytes: usize = gone.iter().map(List::memory_bytes).sum();
            if bytes > FREE_LATER_BYTES {
                let [mut gone, behind] = gone;
                gone.extend(behind);
                return Some(Object::Structured(Arc::new(Structured::new(0, b"", None, Body::List(gone)))));
            }
        }
        ListChange::Set { index, element } => list.set(index as usize, element),
        ListChange::Insert { index, element } => list.insert(index as usize, element),
        ListChange::Remove { index } => list.remove(index as usize),
        ListChange::RemoveEqual { element, count, last } => list.remove_equal(element, count as usize, last),
    }
    None
}

/// What undoes a change.
pub(super) fn invert(object: &Structured, change: ListChange<'_>, inverse: &mut Inverse) {
    let Body::List(list) = &object.body else { return };
    let len = list.len();
    if !change.fits(len) {
        return;
    }
    let mut push = |change: ListChange<'_>| inverse.push(&Change::List(change));
    match change {
        ListChange::PushFront { count, .. } => push(ListChange::Trim { front: count as u64, back: 0 }),
        ListChange::PushBack { count, .. } => push(ListChange::Trim { front: 0, back: count as u64 }),
        ListChange::Trim { front, back } => {
            let (front, back) = (front as usize, back as usize);
            let run = |from: usize, count: usize| {
                let mut run = Vec::new();
                list.from(from).take(count).for_each(|element| packed_list::put(&mut run, element));
                run
            };
            if front > 0 {
                push(ListChange::PushFront { run: &run(0, front), count: front });
            }
            if back > 0 {
                push(ListChange::PushBack { run: &run(len - back, back), count: back });
            }
        }
        ListChange::Set { index, .. } => {
            if let Some(element) = list.get(index as usize) {
                push(ListChange::Set { index, element });
            }
        }
        ListChange::Insert { index, .. } => push(ListChange::Remove { index }),
        ListChange::Remove { index } => {
            if let Some(element) = list.get(index as usize) {
                push(ListChange::Insert { index, element });
            }
        }
        ListChange::RemoveEqual { element, count, last } => {
            let count = count as usize;
            let mut gone: Vec<u64> = if last {
                let equal = list.back_from(len).enumerate().filter(|(_, other)| *other == element);
                equal.map(|(back, _)| (len - 1 - back) as u64).take(count).collect()
            } else {
                let equal = list.from(0).enumerate().filter(|(_, other)| *other == element);
                equal.map(|(index, _)| index as u64).take(count).collect()
            };
            // Applied last first: the foremost element must come back before those behind it.
            gone.sort_unstable_by(|a, b| b.cmp(a));
            gone.into_iter().for_each(|index| push(ListChange::Insert { index, element }));
        }
    }
}
