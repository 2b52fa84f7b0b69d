//! Changes of strings.

use super::{Applied, Change, Inverse};
use crate::limits::{PACKED_BYTES_MAX, VALUE_BYTES_MAX};
use crate::object::{Body, Object, Packed, Structured, View, layout};
use crate::shard::Shard;
use crate::table::Place;
use std::sync::Arc;

/// Why bytes can't be written there in any string, if they can't.
pub(super) fn refusal(offset: u64, bytes: &[u8]) -> Option<&'static str> {
    let end = offset.saturating_add(bytes.len() as u64);
    (end > VALUE_BYTES_MAX as u64).then_some("its offset is too large")
}

/// Writes into a string that exists.
pub(super) fn apply_write_at(shard: &mut Shard, place: Place, offset: usize, bytes: &[u8]) -> Applied {
    let View::Packed(flat) = shard.entry(place).view() else {
        shard.change(place, |handle| {
            if let Some(Structured { body: Body::String(value), .. }) = handle.structured_mut() {
                overwrite(value, offset, bytes);
            }
        });
        return Applied { new: false, garbage: None };
    };
    let object = write_flat_at(flat, offset, bytes);
    Applied { new: false, garbage: Some(shard.replace(place, object)) }
}

fn overwrite(value: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if value.len() < end {
        value.resize(end, 0);
    }
    value[offset..end].copy_from_slice(bytes);
}

/// The object that a flat string becomes when `bytes` are written at `offset`.
fn write_flat_at(flat: &[u8], offset: usize, bytes: &[u8]) -> Object {
    let head = layout::head_bytes(flat);
    let old = &flat[head..];
    let end = offset + bytes.len();
    if flat.len().max(head + end) <= PACKED_BYTES_MAX {
        let kept = &old[..offset.min(old.len())];
        let gap = [0; PACKED_BYTES_MAX];
        let rest = old.get(end..).unwrap_or_default();
        let parts = [&flat[..head], kept, &gap[..offset - kept.len()], bytes, rest];
        return Object::Packed(Packed::concat(&parts));
    }
    let parts = layout::parts(flat);
    let mut value = Vec::with_capacity(old.len().max(end));
    value.extend_from_slice(old);
    overwrite(&mut value, offset, bytes);
    Object::Structured(Arc::new(Structured::new(
        layout::database(flat),
        parts.key,
        parts.policy,
        Body::String(value),
    )))
}

/// Cuts a string that exists.
pub(super) fn apply_truncate(shard: &mut Shard, place: Place, length: usize) -> Applied {
    let View::Packed(flat) = shard.entry(place).view() else {
        shard.change(place, |handle| {
            if let Some(Structured { body: Body::String(value), .. }) = handle.structured_mut() {
                value.truncate(length);
            }
        });
        return Applied { new: false, garbage: None };
    };
    let end = layout::head_bytes(flat).saturating_add(length).min(flat.len());
    let object = Object::Packed(Packed::concat(&[&flat[..end]]));
    Applied { new: false, garbage: Some(shard.replace(place, object)) }
}

/// What undoes a write: what was there comes back, and what it has appended goes.
pub(super) fn invert_write_at(object: &Structured, offset: usize, bytes: &[u8], inverse: &mut Inverse) {
    let Body::String(value) = &object.body else { return };
    let end = offset.saturating_add(bytes.len());
    if end > value.len() {
        inverse.push(&Change::Truncate { length: value.len() as u64 });
    }
    if let Some(old) = value.get(offset..end.min(value.len())).filter(|old| !old.is_empty()) {
        inverse.push(&Change::WriteAt { offset: offset as u64, bytes: old });
    }
}

/// What undoes a cut.
pub(super) fn invert_truncate(object: &Structured, length: usize, inverse: &mut Inverse) {
    let Body::String(value) = &object.body else { return };
    if let Some(cut) = value.get(length..).filter(|cut| !cut.is_empty()) {
        inverse.push(&Change::WriteAt { offset: length as u64, bytes: cut });
    }
}
