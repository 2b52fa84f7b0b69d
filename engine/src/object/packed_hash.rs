//! The payload of a flat hash: field and value, each with its length before it, in the order of insertion.
//!
//! Searches are linear; a hash past [`PACKED_FIELDS_MAX`](crate::limits) or [`PACKED_BYTES_MAX`](crate::limits) does not stay flat.

use crate::varint;

/// Whether bytes from outside are a payload (of distinct fields or not: the last one would win nothing, the first one answers).
pub(crate) fn check(mut payload: &[u8]) -> bool {
    while !payload.is_empty() {
        if varint::take_slice(&mut payload).and_then(|_| varint::take_slice(&mut payload)).is_none() {
            return false;
        }
    }
    true
}

/// The fields and values of a checked payload.
pub(crate) fn iter(payload: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = payload;
    std::iter::from_fn(move || Some((varint::take_slice(&mut rest)?, varint::take_slice(&mut rest)?)))
}

/// Where a field is in the payload: from its length to the end of its value.
pub(crate) struct Found<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) value: &'a [u8],
}

/// Looks for a field.
pub(crate) fn find<'a>(payload: &'a [u8], field: &[u8]) -> Option<Found<'a>> {
    let mut rest = payload;
    while !rest.is_empty() {
        let start = payload.len() - rest.len();
        let name = varint::take_slice(&mut rest)?;
        let value = varint::take_slice(&mut rest)?;
        if name == field {
            return Some(Found { start, end: payload.len() - rest.len(), value });
        }
    }
    None
}

/// How many fields there are.
pub(crate) fn len(payload: &[u8]) -> usize {
    iter(payload).count()
}

/// Appends one field and value.
pub(crate) fn put(out: &mut Vec<u8>, field: &[u8], value: &[u8]) {
    varint::put_slice(out, field);
    varint::put_slice(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_in_order_of_insertion() {
        let mut payload = Vec::new();
        put(&mut payload, b"a", b"1");
        put(&mut payload, b"", b"");
        put(&mut payload, b"long", &[7; 300]);
        assert!(check(&payload));
        assert_eq!(iter(&payload).map(|(f, _)| f).collect::<Vec<_>>(), [&b"a"[..], b"", b"long"]);
        let found = find(&payload, b"").expect("there");
        assert_eq!((found.start, found.end, found.value), (4, 6, &b""[..]));
        assert_eq!(find(&payload, b"long").expect("there").end, payload.len());
        assert!(find(&payload, b"b").is_none());
        assert!(!check(&payload[..payload.len() - 1]));
    }
}
