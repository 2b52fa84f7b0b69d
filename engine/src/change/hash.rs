//! Changes of hashes.

use super::{Applied, Change, Inverse};
use crate::key::KeyHasher;
use crate::limits::{PACKED_BYTES_MAX, PACKED_FIELDS_MAX};
use crate::object::{Body, FieldTable, Object, Packed, Structured, View, layout, packed_hash};
use crate::shard::Shard;
use crate::table::Place;
use crate::varint;

/// Sets a field.
pub(super) fn apply_set(
    shard: &mut Shard,
    place: Place,
    hasher: &KeyHasher,
    field: &[u8],
    value: &[u8],
) -> Applied {
    let View::Packed(flat) = shard.entry(place).view() else {
        let new = change_fields(shard, place, |fields| fields.set(hasher.field(field), field, value));
        return Applied { new, garbage: None };
    };
    let (object, new) = set_flat(flat, hasher, field, value);
    Applied { new, garbage: Some(shard.replace(place, object)) }
}

/// Removes a field, which is not the last one.
pub(super) fn apply_remove(shard: &mut Shard, place: Place, hasher: &KeyHasher, field: &[u8]) -> Applied {
    let View::Packed(flat) = shard.entry(place).view() else {
        change_fields(shard, place, |fields| fields.remove(hasher.field(field), field));
        return Applied { new: false, garbage: None };
    };
    let head = layout::head_bytes(flat);
    let Some(found) = packed_hash::find(&flat[head..], field) else {
        return Applied { new: false, garbage: None };
    };
    let object = Object::Packed(Packed::concat(&[&flat[..head + found.start], &flat[head + found.end..]]));
    Applied { new: false, garbage: Some(shard.replace(place, object)) }
}

fn change_fields(shard: &mut Shard, place: Place, change: impl FnOnce(&mut FieldTable) -> bool) -> bool {
    shard.change(place, |handle| match handle.structured_mut() {
        Some(Structured { body: Body::Hash(fields), .. }) => change(fields),
        _ => false,
    })
}

/// The object that a flat hash becomes when a field is set, and whether the field is new.
pub(crate) fn set_flat(flat: &[u8], hasher: &KeyHasher, field: &[u8], value: &[u8]) -> (Object, bool) {
    let head = layout::head_bytes(flat);
    let payload = &flat[head..];
    let found = packed_hash::find(payload, field);
    let (start, end) =
        found.as_ref().map_or((payload.len(), payload.len()), |found| (found.start, found.end));
    let new = found.is_none();
    if flat.len() - (end - start) + field.len() + value.len() + 10 <= PACKED_BYTES_MAX
        && (!new || packed_hash::len(payload) < PACKED_FIELDS_MAX)
    {
        let (field_bytes, value_bytes) = (varint::Bytes::of(field.len()), varint::Bytes::of(value.len()));
        let element = [&field_bytes[..], field, &value_bytes[..], value];
        let [a, b, c, d] = element;
        let parts = [&flat[..head + start], a, b, c, d, &payload[end..]];
        return (Object::Packed(Packed::concat(&parts)), new);
    }
    let mut fields = FieldTable::of(payload, hasher);
    fields.set(hasher.field(field), field, value);
    let parts = layout::parts(flat);
    let grown = Structured::new(layout::database(flat), parts.key, parts.policy, Body::Hash(fields));
    (Object::Structured(Box::new(grown)), new)
}

/// What undoes setting or removing a field: what it held, or that it was not there.
pub(super) fn invert(object: &Structured, hasher: &KeyHasher, field: &[u8], inverse: &mut Inverse) {
    let Body::Hash(fields) = &object.body else { return };
    match fields.get(hasher.field(field), field) {
        Some(value) => inverse.push(&Change::SetField { field, value }),
        None => inverse.push(&Change::RemoveField { field }),
    }
}
