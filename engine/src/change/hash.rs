//! Changes of hashes.
//!
//! Where fields have deadlines, an entry's deadline is the earlier of the key's own and of the moment at which the last field dies: each change
//! of such a hash sets it anew. What is dead is left where it is: a replay does not know what time it was.

#[cfg(test)]
mod tests;

use super::{Applied, Change, Inverse};
use crate::expiry::NEVER;
use crate::key::KeyHasher;
use crate::limits::{PACKED_BYTES_MAX, PACKED_FIELDS_MAX};
use crate::object::packed_hash::{self, Field, Fields, Head};
use crate::object::{Body, FieldTable, Object, Packed, Structured, View};
use crate::shard::Shard;
use crate::table::Place;
use crate::varint;
use smallvec::SmallVec;
use std::sync::Arc;

/// Sub-codes of changes that have to do with deadlines of fields.
const SET_UNTIL: u8 = 1;
const FIELD_DEADLINE: u8 = 2;
const KEY_DEADLINE: u8 = 3;

/// A change that has to do with deadlines of fields. Deadlines are in ms since the epoch; [`NEVER`] for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimedChange<'a> {
    /// A field gets a value and a deadline.
    SetUntil { field: &'a [u8], value: &'a [u8], deadline_ms: u64 },
    /// A field that exists gets another deadline, or none.
    FieldDeadline { field: &'a [u8], deadline_ms: u64 },
    /// The key's own deadline, where that is not before the last field's.
    KeyDeadline { deadline_ms: u64 },
}

impl<'a> TimedChange<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            TimedChange::SetUntil { field, value, deadline_ms } => {
                out.push(SET_UNTIL);
                varint::put_slice(out, field);
                varint::put_slice(out, value);
                packed_hash::put_deadline(out, deadline_ms);
            }
            TimedChange::FieldDeadline { field, deadline_ms } => {
                out.push(FIELD_DEADLINE);
                varint::put_slice(out, field);
                packed_hash::put_deadline(out, deadline_ms);
            }
            TimedChange::KeyDeadline { deadline_ms } => {
                out.push(KEY_DEADLINE);
                packed_hash::put_deadline(out, deadline_ms);
            }
        }
    }

    pub(super) fn take(rest: &mut &'a [u8]) -> Option<TimedChange<'a>> {
        let (&code, after) = rest.split_first()?;
        *rest = after;
        Some(match code {
            SET_UNTIL => TimedChange::SetUntil {
                field: varint::take_slice(rest)?,
                value: varint::take_slice(rest)?,
                deadline_ms: packed_hash::take_deadline(rest)?,
            },
            FIELD_DEADLINE => TimedChange::FieldDeadline {
                field: varint::take_slice(rest)?,
                deadline_ms: packed_hash::take_deadline(rest)?,
            },
            KEY_DEADLINE => TimedChange::KeyDeadline { deadline_ms: packed_hash::take_deadline(rest)? },
            _ => return None,
        })
    }
}

/// Sets a field, which then has no deadline.
pub(super) fn apply_set(
    shard: &mut Shard,
    place: Place,
    hasher: &KeyHasher,
    field: &[u8],
    value: &[u8],
) -> Applied {
    with_deaths(shard, place, false, |shard, key_deadline_ms| {
        set(shard, place, hasher, Field { name: field, value, deadline_ms: NEVER }, key_deadline_ms)
    })
}

/// Removes a field, which is not the last one.
pub(super) fn apply_remove(shard: &mut Shard, place: Place, hasher: &KeyHasher, field: &[u8]) -> Applied {
    with_deaths(shard, place, false, |shard, key_deadline_ms| {
        let View::Packed(flat) = shard.entry(place).view() else {
            change_fields(shard, place, |fields| fields.remove(hasher.field(field), field));
            return Applied { new: false, garbage: None };
        };
        let fields = Fields::of(flat);
        let Some(found) = fields.find(field) else {
            return Applied { new: false, garbage: None };
        };
        let object = if fields.are_timed() {
            let rest = fields.iter().filter(|other| other.name != field).collect();
            made_of(Head::of(flat, key_deadline_ms), rest, hasher)
        } else {
            Object::Packed(Packed::concat(&[&flat[..found.start], &flat[found.end..]]))
        };
        Applied { new: false, garbage: Some(shard.replace(place, object)) }
    })
}

/// Applies what has to do with deadlines of fields.
pub(super) fn apply_timed(
    shard: &mut Shard,
    place: Place,
    hasher: &KeyHasher,
    change: TimedChange<'_>,
) -> Applied {
    match change {
        TimedChange::SetUntil { field, value, deadline_ms } => {
            with_deaths(shard, place, true, |shard, key_deadline_ms| {
                set(shard, place, hasher, Field { name: field, value, deadline_ms }, key_deadline_ms)
            })
        }
        TimedChange::FieldDeadline { field, deadline_ms } => {
            with_deaths(shard, place, true, |shard, key_deadline_ms| {
                let View::Packed(flat) = shard.entry(place).view() else {
                    change_fields(shard, place, |fields| {
                        fields.set_deadline(hasher.field(field), field, deadline_ms)
                    });
                    return Applied { new: false, garbage: None };
                };
                let mut fields: SmallVec<[Field<'_>; 16]> = Fields::of(flat).iter().collect();
                let Some(found) = fields.iter_mut().find(|other| other.name == field) else {
                    return Applied { new: false, garbage: None };
                };
                found.deadline_ms = deadline_ms;
                let object = made_of(Head::of(flat, key_deadline_ms), fields, hasher);
                Applied { new: false, garbage: Some(shard.replace(place, object)) }
            })
        }
        TimedChange::KeyDeadline { deadline_ms } => {
            let garbage = if let View::Packed(flat) = shard.entry(place).view() {
                let fields = Fields::of(flat).iter().collect();
                let object = made_of(Head::of(flat, deadline_ms), fields, hasher);
                Some(shard.replace(place, object))
            } else {
                change_fields(shard, place, |_| false);
                None
            };
            shard.follow_deaths(place, deadline_ms);
            Applied { new: false, garbage }
        }
    }
}

/// Makes a change that may move the death of the last field, and so the entry's deadline; `apply` gets the key's own deadline.
fn with_deaths(
    shard: &mut Shard,
    place: Place,
    times: bool,
    apply: impl FnOnce(&mut Shard, u64) -> Applied,
) -> Applied {
    let entry = shard.entry(place);
    if !times && entry.view().deaths().is_none() {
        return apply(shard, NEVER);
    }
    let key_deadline_ms = entry.key_deadline_ms();
    let applied = apply(shard, key_deadline_ms);
    shard.follow_deaths(place, key_deadline_ms);
    applied
}

fn set(
    shard: &mut Shard,
    place: Place,
    hasher: &KeyHasher,
    field: Field<'_>,
    key_deadline_ms: u64,
) -> Applied {
    let View::Packed(flat) = shard.entry(place).view() else {
        let new = change_fields(shard, place, |fields| {
            fields.set(hasher.field(field.name), field.name, field.value, field.deadline_ms)
        });
        return Applied { new, garbage: None };
    };
    let (object, new) = set_flat(flat, hasher, field, key_deadline_ms);
    Applied { new, garbage: Some(shard.replace(place, object)) }
}

fn change_fields(shard: &mut Shard, place: Place, change: impl FnOnce(&mut FieldTable) -> bool) -> bool {
    shard.change(place, |handle| match handle.structured_mut() {
        Some(Structured { body: Body::Hash(fields), .. }) => change(fields),
        _ => false,
    })
}

/// The object that a flat hash becomes when a field is set, and whether the field is new. `key_deadline_ms` is kept if fields have deadlines.
pub(crate) fn set_flat(
    flat: &[u8],
    hasher: &KeyHasher,
    field: Field<'_>,
    key_deadline_ms: u64,
) -> (Object, bool) {
    let fields = Fields::of(flat);
    let found = fields.find(field.name);
    let new = found.is_none();
    if fields.are_timed() || field.deadline_ms != NEVER {
        let mut all: SmallVec<[Field<'_>; 16]> = fields.iter().collect();
        match all.iter_mut().find(|other| other.name == field.name) {
            Some(other) => *other = field,
            None => all.push(field),
        }
        return (made_of(Head::of(flat, key_deadline_ms), all, hasher), new);
    }
    let Field { name, value, .. } = field;
    let (start, end) = found.as_ref().map_or((flat.len(), flat.len()), |found| (found.start, found.end));
    if flat.len() - (end - start) + name.len() + value.len() + 10 <= PACKED_BYTES_MAX
        && (!new || fields.len() < PACKED_FIELDS_MAX)
    {
        let (name_bytes, value_bytes) = (varint::Bytes::of(name.len()), varint::Bytes::of(value.len()));
        let parts = [&flat[..start], &name_bytes, name, &value_bytes, value, &flat[end..]];
        return (Object::Packed(Packed::concat(&parts)), new);
    }
    let mut table = FieldTable::of(fields.iter(), NEVER, hasher);
    table.set(hasher.field(name), name, value, NEVER);
    (structured(Head::of(flat, NEVER), table), new)
}

/// Of the pairs with this name, of which there is one, the last.
fn last_of<'a>(pairs: &[[&'a [u8]; 2]], name: &[u8]) -> [&'a [u8]; 2] {
    match pairs.iter().rfind(|[other, _]| *other == name) {
        Some(pair) => *pair,
        None => unreachable!("the name is that of a pair"),
    }
}

/// The object that a flat hash without deadlines becomes when fields are set one after the other, and how many are new.
pub(crate) fn set_all_flat(flat: &[u8], hasher: &KeyHasher, pairs: &[[&[u8]; 2]]) -> (Object, usize) {
    let fields = Fields::of(flat);
    // Where each is written: over what it replaces, or at the end.
    let mut places: SmallVec<[(usize, usize, usize); 8]> = SmallVec::new();
    let (mut bytes, mut new) = (flat.len(), 0);
    for (number, [name, _]) in pairs.iter().enumerate() {
        if pairs[..number].iter().any(|[earlier, _]| earlier == name) {
            continue;
        }
        let [_, value] = last_of(pairs, name);
        let (start, end) = match fields.find(name) {
            Some(found) => (found.start, found.end),
            None => {
                new += 1;
                (flat.len(), flat.len())
            }
        };
        bytes = bytes + name.len() + value.len() + 10 - (end - start);
        places.push((start, end, number));
    }
    if bytes > PACKED_BYTES_MAX || fields.len() + new > PACKED_FIELDS_MAX {
        let mut table = FieldTable::of(fields.iter(), NEVER, hasher);
        for [name, value] in pairs {
            table.set(hasher.field(name), name, value, NEVER);
        }
        return (structured(Head::of(flat, NEVER), table), new);
    }
    // In the order of their places; those at the end in the order in which they came.
    places.sort_unstable();
    let written: SmallVec<[_; 8]> = places
        .iter()
        .map(|&(start, end, number)| {
            let pair = last_of(pairs, pairs[number][0]);
            (start, end, pair, pair.map(|part| varint::Bytes::of(part.len())))
        })
        .collect();
    let mut parts: SmallVec<[&[u8]; 48]> = SmallVec::new();
    let mut from = 0;
    for (start, end, [name, value], [name_bytes, value_bytes]) in &written {
        parts.extend_from_slice(&[&flat[from..*start], name_bytes, name, value_bytes, value]);
        from = *end;
    }
    parts.push(&flat[from..]);
    (Object::Packed(Packed::concat(&parts)), new)
}

/// A hash of these fields, in the form that their size asks for.
pub(crate) fn made_of(head: Head<'_>, fields: SmallVec<[Field<'_>; 16]>, hasher: &KeyHasher) -> Object {
    // Lengths and a deadline.
    const FIELD_BYTES: usize = 20;
    let bytes = fields.iter().map(|field| field.name.len() + field.value.len() + FIELD_BYTES).sum::<usize>();
    if fields.len() > PACKED_FIELDS_MAX || bytes + head.key.len() > PACKED_BYTES_MAX {
        return structured(head, FieldTable::of(fields.into_iter(), head.key_deadline_ms, hasher));
    }
    let timed = fields.iter().any(|field| field.deadline_ms != NEVER);
    let mut flat = Vec::with_capacity(bytes + head.key.len() + 32);
    packed_hash::put_all(&mut flat, head, timed, fields.into_iter());
    Object::Packed(Packed::concat(&[&flat]))
}

fn structured(head: Head<'_>, fields: FieldTable) -> Object {
    Object::Structured(Arc::new(Structured::new(head.database, head.key, head.policy, Body::Hash(fields))))
}

/// What undoes a change of a field: what it held, or that it was not there.
pub(super) fn invert(object: &Structured, hasher: &KeyHasher, field: &[u8], inverse: &mut Inverse) {
    let Body::Hash(fields) = &object.body else { return };
    match fields.get(hasher.field(field), field) {
        Some(Field { value, deadline_ms: NEVER, .. }) => inverse.push(&Change::SetField { field, value }),
        Some(Field { value, deadline_ms, .. }) => {
            inverse.push(&Change::Timed(TimedChange::SetUntil { field, value, deadline_ms }));
        }
        None => inverse.push(&Change::RemoveField { field }),
    }
}

/// As [`invert`], of what has to do with deadlines of fields.
pub(super) fn invert_timed(
    object: &Structured,
    hasher: &KeyHasher,
    change: TimedChange<'_>,
    inverse: &mut Inverse,
) {
    match change {
        TimedChange::SetUntil { field, .. } | TimedChange::FieldDeadline { field, .. } => {
            invert(object, hasher, field, inverse);
        }
        // Where the fields' deadlines come back, so does what the key's own was.
        TimedChange::KeyDeadline { .. } => {
            if let Some(deaths) = object.deaths() {
                let deadline_ms = deaths.key_deadline_ms;
                inverse.push(&Change::Timed(TimedChange::KeyDeadline { deadline_ms }));
            }
        }
    }
}
