//! The flat form of an object, in memory, in the log and on disk. `docs/formats.md` specifies it.
//!
//! ```text
//! tag u8 │ database u8 │ key length varint │ key │ [idle ms u64 │ absolute ms u64] │ payload
//!   tag: kind in the low four bits, 0x10 if there is a policy, 0x40 if fields of a hash have deadlines
//! ```
//!
//! [`check`] is for bytes from outside and never panics; everything else is for bytes that were checked once or made here.

use super::{Kind, Stream, packed_chat, packed_hash, packed_list, packed_set, packed_sorted_set};
use crate::key::INDEX_DATABASES;
use crate::varint;

const POLICY: u8 = 0x10;
/// In the tag of a hash: its payload has deadlines of fields. (0x20 is [`idle`](crate::idle)'s, in memory only.)
pub(crate) const FIELD_DEADLINES: u8 = 0x40;
const KIND_MASK: u8 = 0x0F;

/// How a key's deadline moves: the limits that came with it when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// A touch moves the deadline this far from now, in ms; 0 for no idle limit.
    pub(crate) idle_ms: u64,
    /// No deadline is ever later than this, in ms since the epoch; `u64::MAX` for no absolute limit.
    pub(crate) absolute_ms: u64,
}

/// A flat object, taken apart.
pub(crate) struct Parts<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) policy: Option<Policy>,
    pub(crate) payload: &'a [u8],
}

fn kind_of(tag: u8) -> Option<Kind> {
    Some(match tag & KIND_MASK {
        0 => Kind::String,
        1 => Kind::List,
        2 => Kind::Set,
        3 => Kind::SortedSet,
        4 => Kind::Hash,
        5 => Kind::Stream,
        6 => Kind::Chat,
        _ => return None,
    })
}

fn number_of(kind: Kind) -> u8 {
    match kind {
        Kind::String => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::SortedSet => 3,
        Kind::Hash => 4,
        Kind::Stream => 5,
        Kind::Chat => 6,
    }
}

/// What bytes are appended to.
pub(crate) trait Sink {
    /// Appends.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<const N: usize> Sink for smallvec::SmallVec<[u8; N]> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Appends everything that comes before the payload.
pub(crate) fn put_head(out: &mut impl Sink, kind: Kind, database: u8, key: &[u8], policy: Option<Policy>) {
    out.put(&[number_of(kind) | if policy.is_some() { POLICY } else { 0 }, database]);
    out.put(&varint::Bytes::of(key.len()));
    out.put(key);
    if let Some(policy) = policy {
        out.put(&policy.idle_ms.to_le_bytes());
        out.put(&policy.absolute_ms.to_le_bytes());
    }
}

/// Takes apart bytes from outside, down to the elements of the payload; `None` if they are not an object.
pub(crate) fn check(bytes: &[u8]) -> Option<(Kind, u8, Parts<'_>)> {
    let (&[tag, database], rest) = bytes.split_first_chunk::<2>()?;
    if !may_begin_with(bytes) {
        return None;
    }
    let kind = kind_of(tag)?;
    let parts = split(tag, rest)?;
    let sound = match kind {
        Kind::String => true,
        Kind::Hash => packed_hash::check_payload(parts.payload, tag & FIELD_DEADLINES != 0),
        Kind::Set => !parts.payload.is_empty() && packed_set::check(parts.payload),
        Kind::List => packed_list::check_payload(parts.payload),
        Kind::SortedSet => packed_sorted_set::check(parts.payload),
        Kind::Stream => Stream::decode(parts.payload).is_some(),
        Kind::Chat => packed_chat::check(parts.payload),
    };
    sound.then_some((kind, database, parts))
}

/// Whether an object may begin with these bytes: a cheap look at no more than they are. It promises nothing.
pub(crate) fn may_begin_with(bytes: &[u8]) -> bool {
    bytes.first_chunk::<2>().is_some_and(|&[tag, database]| {
        let kind = kind_of(tag);
        let flags = if kind == Some(Kind::Hash) { POLICY | FIELD_DEADLINES } else { POLICY };
        tag & !(KIND_MASK | flags) == 0 && kind.is_some() && database < INDEX_DATABASES
    })
}

#[inline]
fn split(tag: u8, mut rest: &[u8]) -> Option<Parts<'_>> {
    let key = varint::take_slice(&mut rest)?;
    let policy = if tag & POLICY != 0 {
        let (idle, after) = rest.split_first_chunk::<8>()?;
        let (absolute, after) = after.split_first_chunk::<8>()?;
        rest = after;
        Some(Policy { idle_ms: u64::from_le_bytes(*idle), absolute_ms: u64::from_le_bytes(*absolute) })
    } else {
        None
    };
    Some(Parts { key, policy, payload: rest })
}

/// Takes apart an object that was made here or checked.
#[inline]
pub(crate) fn parts(bytes: &[u8]) -> Parts<'_> {
    match bytes.split_first_chunk::<2>().and_then(|(&[tag, _], rest)| split(tag, rest)) {
        Some(parts) => parts,
        None => unreachable!("objects are checked when they come in"),
    }
}

/// The number of bytes before the payload.
pub(crate) fn head_bytes(bytes: &[u8]) -> usize {
    bytes.len() - parts(bytes).payload.len()
}

pub(crate) fn kind(bytes: &[u8]) -> Kind {
    match kind_of(bytes[0]) {
        Some(kind) => kind,
        None => unreachable!("objects are checked when they come in"),
    }
}

/// Whether this is a hash whose payload has deadlines of fields.
#[inline]
pub(crate) fn has_field_deadlines(bytes: &[u8]) -> bool {
    bytes[0] & FIELD_DEADLINES != 0
}

pub(crate) fn database(bytes: &[u8]) -> u8 {
    bytes[1]
}

/// Whether this is the object of that key.
#[inline]
pub(crate) fn is_of(bytes: &[u8], database: u8, key: &[u8]) -> bool {
    bytes[1] == database && parts(bytes).key == key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_comes_back(
            database in 0..INDEX_DATABASES, key: Vec<u8>, policy: Option<(u64, u64)>, payload: Vec<u8>,
        ) {
            let policy = policy.map(|(idle_ms, absolute_ms)| Policy { idle_ms, absolute_ms });
            let mut bytes = Vec::new();
            put_head(&mut bytes, Kind::String, database, &key, policy);
            prop_assert_eq!(bytes.len(), head_bytes(&bytes));
            bytes.extend_from_slice(&payload);
            let (kind, in_database, parts) = check(&bytes).expect("made here");
            prop_assert_eq!((kind, in_database), (Kind::String, database));
            prop_assert_eq!((parts.key, parts.policy, parts.payload), (&key[..], policy, &payload[..]));
            prop_assert!(is_of(&bytes, database, &key));
        }

        #[test]
        fn any_bytes_are_checked_without_a_panic(mut bytes: Vec<u8>, tag in 0u8..128) {
            let _ = check(&bytes);
            if let Some(first) = bytes.first_mut() { *first = tag; }
            let _ = check(&bytes);
        }
    }

    /// Found by `fuzz/fuzz_targets/log.rs`: a key without elements is none, but a forged record could make one of a set or a hash.
    #[test]
    fn a_key_without_elements_is_none() {
        for (kind, payload) in
            [(Kind::Set, &b""[..]), (Kind::Hash, b""), (Kind::List, b"\0"), (Kind::SortedSet, b"\0")]
        {
            let mut bytes = Vec::new();
            put_head(&mut bytes, kind, 0, b"key", None);
            bytes.extend_from_slice(payload);
            assert!(check(&bytes).is_none(), "{kind:?}");
        }
        let mut timed = Vec::new();
        put_head(&mut timed, Kind::Hash, 0, b"key", None);
        packed_hash::mark_timed(&mut timed, 0, u64::MAX);
        assert!(check(&timed).is_none());
    }
}
