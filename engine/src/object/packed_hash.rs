//! The payload of a flat hash: field and value, each with its length before it, in the order of insertion.
//!
//! Where fields have deadlines, the tag says so, and the payload is another: first what the key's own deadline is, then each field with its
//! value and deadline. A hash without any costs nothing for it. Searches are linear; a hash past
//! [`PACKED_FIELDS_MAX`](crate::limits) or [`PACKED_BYTES_MAX`](crate::limits) does not stay flat.
//!
//! Nothing here asks what time it is: who reads leaves out what is dead.

use super::{Deaths, Kind, Policy, layout};
use crate::expiry::NEVER;
use crate::varint;

/// Bytes before the fields where these have deadlines: the key's own deadline.
const KEY_DEADLINE_BYTES: usize = 8;

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// When it dies, in ms since the epoch; [`NEVER`].
    pub(crate) deadline_ms: u64,
}

/// The fields of a flat hash.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    /// Where they begin in the object.
    start: usize,
    /// The key's own deadline, if fields have deadlines.
    key_deadline_ms: Option<u64>,
}

/// Where a field is in the object: from its length to where the next one begins.
pub(crate) struct Found<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) value: &'a [u8],
    pub(crate) deadline_ms: u64,
}

/// Whether bytes from outside are a payload (of distinct fields or not: the last one would win nothing, the first one answers). There is no hash
/// without fields.
pub(crate) fn check_payload(mut payload: &[u8], timed: bool) -> bool {
    if timed {
        let Some((_, fields)) = payload.split_first_chunk::<KEY_DEADLINE_BYTES>() else { return false };
        payload = fields;
    }
    if payload.is_empty() {
        return false;
    }
    while !payload.is_empty() {
        if take(&mut payload, timed).is_none() {
            return false;
        }
    }
    true
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], timed: bool) -> Option<Field<'a>> {
    let name = varint::take_slice(rest)?;
    let value = varint::take_slice(rest)?;
    let deadline_ms = if timed { take_deadline(rest)? } else { NEVER };
    Some(Field { name, value, deadline_ms })
}

/// Takes a deadline off the front of bytes from outside: 0 stands for none.
pub(crate) fn take_deadline(rest: &mut &[u8]) -> Option<u64> {
    Some(match varint::take(rest)? {
        0 => NEVER,
        deadline_ms => deadline_ms,
    })
}

/// Appends a deadline.
pub(crate) fn put_deadline(out: &mut Vec<u8>, deadline_ms: u64) {
    varint::put(out, if deadline_ms == NEVER { 0 } else { deadline_ms });
}

impl<'a> Fields<'a> {
    /// Those of a flat hash that was checked.
    #[inline]
    pub(crate) fn of(flat: &'a [u8]) -> Fields<'a> {
        let payload = layout::parts(flat).payload;
        let (key_deadline_ms, bytes) = match payload.split_first_chunk::<KEY_DEADLINE_BYTES>() {
            Some((deadline, fields)) if layout::has_field_deadlines(flat) => {
                (Some(u64::from_le_bytes(*deadline)), fields)
            }
            _ => (None, payload),
        };
        Fields { bytes, start: flat.len() - bytes.len(), key_deadline_ms }
    }

    /// Whether any may have a deadline.
    pub(crate) fn are_timed(&self) -> bool {
        self.key_deadline_ms.is_some()
    }

    /// All of them, the dead ones too.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let (mut rest, timed) = (self.bytes, self.are_timed());
        std::iter::from_fn(move || take(&mut rest, timed))
    }

    /// Those that live at `now_ms`.
    #[inline]
    pub(crate) fn live(&self, now_ms: u64) -> impl Iterator<Item = Field<'a>> + use<'a> {
        self.iter().filter(move |field| field.deadline_ms > now_ms)
    }

    /// Looks for a field, dead or alive.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<Found<'a>> {
        let (mut rest, timed) = (self.bytes, self.are_timed());
        while !rest.is_empty() {
            let before = rest.len();
            let field = take(&mut rest, timed)?;
            if field.name == name {
                let end = self.start + self.bytes.len();
                return Some(Found {
                    start: end - before,
                    end: end - rest.len(),
                    value: field.value,
                    deadline_ms: field.deadline_ms,
                });
            }
        }
        None
    }

    /// How many there are, dead or alive.
    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    /// When fields die, if any may.
    pub(crate) fn deaths(&self) -> Option<Deaths> {
        let key_deadline_ms = self.key_deadline_ms?;
        let mut deaths = Deaths { first_ms: NEVER, last_ms: 0, key_deadline_ms };
        for field in self.iter() {
            deaths.first_ms = deaths.first_ms.min(field.deadline_ms);
            deaths.last_ms = deaths.last_ms.max(field.deadline_ms);
        }
        Some(deaths)
    }
}

/// Appends a field; `timed` if any field of the hash has a deadline.
pub(crate) fn put_field(out: &mut Vec<u8>, field: Field<'_>, timed: bool) {
    varint::put_slice(out, field.name);
    varint::put_slice(out, field.value);
    if timed {
        put_deadline(out, field.deadline_ms);
    }
}

/// What comes before the fields of a flat hash.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) database: u8,
    pub(crate) key: &'a [u8],
    pub(crate) policy: Option<Policy>,
    /// Kept with the fields, if any of them has a deadline.
    pub(crate) key_deadline_ms: u64,
}

impl<'a> Head<'a> {
    /// That of a flat hash, but for the key's deadline.
    pub(crate) fn of(flat: &'a [u8], key_deadline_ms: u64) -> Head<'a> {
        let parts = layout::parts(flat);
        Head { database: layout::database(flat), key: parts.key, policy: parts.policy, key_deadline_ms }
    }
}

/// Says in a flat hash, which has no fields yet, that some have deadlines.
pub(crate) fn mark_timed(out: &mut Vec<u8>, tag: usize, key_deadline_ms: u64) {
    out[tag] |= layout::FIELD_DEADLINES;
    out.extend_from_slice(&key_deadline_ms.to_le_bytes());
}

/// Appends a flat hash; `timed` if any of its fields has a deadline.
pub(crate) fn put_all<'f>(
    out: &mut Vec<u8>,
    head: Head<'_>,
    timed: bool,
    fields: impl Iterator<Item = Field<'f>>,
) {
    let tag = out.len();
    layout::put_head(out, Kind::Hash, head.database, head.key, head.policy);
    if timed {
        mark_timed(out, tag, head.key_deadline_ms);
    }
    for field in fields {
        put_field(out, field, timed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: Head<'static> = Head { database: 3, key: b"key", policy: None, key_deadline_ms: 77 };

    fn field(name: &'static [u8], value: &'static [u8], deadline_ms: u64) -> Field<'static> {
        Field { name, value, deadline_ms }
    }

    #[test]
    fn finds_fields_in_order_of_insertion() {
        let long = [7; 300];
        let given =
            [field(b"a", b"1", NEVER), field(b"", b"", 50), Field { value: &long, ..field(b"long", b"", 9) }];
        for timed in [false, true] {
            let mut flat = Vec::new();
            put_all(&mut flat, HEAD, timed, given.into_iter());
            assert!(layout::check(&flat).is_some());
            assert!(layout::check(&flat[..flat.len() - 1]).is_none());
            let fields = Fields::of(&flat);
            assert_eq!(fields.iter().map(|field| field.name).collect::<Vec<_>>(), [&b"a"[..], b"", b"long"]);
            let found = fields.find(b"long").expect("there");
            assert_eq!((found.end, found.deadline_ms), (flat.len(), if timed { 9 } else { NEVER }));
            let found = fields.find(b"").expect("there");
            assert_eq!(&flat[found.start..found.end], if timed { &[0, 0, 50][..] } else { &[0, 0] });
            assert!(fields.find(b"b").is_none());
            let deaths = Deaths { first_ms: 9, last_ms: NEVER, key_deadline_ms: 77 };
            assert_eq!(fields.deaths(), timed.then_some(deaths));
            assert_eq!(fields.live(9).count(), if timed { 2 } else { 3 });
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_checked_without_a_panic(bytes: Vec<u8>, timed: bool) {
            let mut flat = Vec::new();
            put_all(&mut flat, HEAD, timed, std::iter::empty());
            flat.extend_from_slice(&bytes);
            if layout::check(&flat).is_some() {
                let fields = Fields::of(&flat);
                prop_assert_eq!(fields.iter().count(), fields.len());
                let _ = (fields.find(b"x"), fields.deaths());
            }
        }
    }
}
