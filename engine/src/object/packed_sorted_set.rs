//! The payload of a flat sorted set: how many members it has (varint), then the members as a sorted [run](super::sorted_run).
//!
//! A sorted set past [`PACKED_FIELDS_MAX`] or [`PACKED_BYTES_MAX`] does not stay flat.

use super::sorted_run;
use crate::limits::{PACKED_BYTES_MAX, PACKED_FIELDS_MAX};
use crate::varint;

/// Whether bytes from outside are a payload. (A member that is there twice, with different scores, would go unnoticed: the first one answers.)
pub(crate) fn check(mut payload: &[u8]) -> bool {
    let Some(count) = varint::take(&mut payload) else { return false };
    count > 0
        && sorted_run::check(payload).is_some_and(|members| members as u64 == count)
        && sorted_run::is_sorted(payload)
}

/// How many members a checked payload has, and the run of them.
#[inline]
pub(crate) fn split(payload: &[u8]) -> (usize, &[u8]) {
    match varint::get(payload) {
        // A count in memory is that of members in memory.
        Some((count, used)) => (count as usize, &payload[used..]),
        None => (0, &[]),
    }
}

/// Whether a sorted set of so many members, and so many bytes with everything, is flat.
pub(crate) fn is_small(members: usize, flat_bytes: usize) -> bool {
    members <= PACKED_FIELDS_MAX && flat_bytes <= PACKED_BYTES_MAX
}

/// How many members a checked payload has.
pub(crate) fn len(payload: &[u8]) -> usize {
    split(payload).0
}

/// The run of a checked payload.
pub(crate) fn run(payload: &[u8]) -> &[u8] {
    split(payload).1
}
