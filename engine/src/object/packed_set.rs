//! The payload of a flat set: its members, each with its length before it.
//!
//! As long as all members are integers they are in ascending order, which is how Redis lists such a set; otherwise in the order of
//! insertion. Searches are linear; a set past [`PACKED_FIELDS_MAX`](crate::limits) or [`PACKED_BYTES_MAX`](crate::limits) does not stay
//! flat. The same bytes say in the log which members come or go.

use super::layout::Sink;
use crate::varint;

/// Whether bytes from outside are a payload (of distinct members or not: one that is there twice is found once).
pub(crate) fn check(mut payload: &[u8]) -> bool {
    while !payload.is_empty() {
        if varint::take_slice(&mut payload).is_none() {
            return false;
        }
    }
    true
}

/// The members of a checked payload.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        varint::take_slice(&mut self.0)
    }
}

/// The members of a checked payload.
pub(crate) fn iter(payload: &[u8]) -> Iter<'_> {
    Iter(payload)
}

/// Whether a member is there.
pub(crate) fn contains(payload: &[u8], member: &[u8]) -> bool {
    iter(payload).any(|other| other == member)
}

/// How many members there are.
pub(crate) fn len(payload: &[u8]) -> usize {
    iter(payload).count()
}

/// Appends a member, wherever it belongs.
pub(crate) fn put(out: &mut impl Sink, member: &[u8]) {
    out.put(&varint::Bytes::of(member.len()));
    out.put(member);
}

/// Where a member belongs that is not there yet; `None` if it is there.
pub(crate) fn place(payload: &[u8], member: &[u8]) -> Option<usize> {
    let number = integer(member);
    let mut before = None;
    let mut ascending = number.is_some();
    let mut rest = iter(payload);
    loop {
        let start = payload.len() - rest.0.len();
        let Some(other) = rest.next() else { break };
        if other == member {
            return None;
        }
        if ascending {
            let other = integer(other);
            ascending = other.is_some() && other < number;
            if other > number {
                before = Some(start);
            }
        }
    }
    Some(before.unwrap_or(payload.len()))
}

/// Where a member is: from its length to its end.
pub(crate) fn find(payload: &[u8], member: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut rest = iter(payload);
    loop {
        let start = payload.len() - rest.0.len();
        if rest.next()? == member {
            return Some(start..payload.len() - rest.0.len());
        }
    }
}

/// The number that a member is, if formatting it gives the same bytes again.
fn integer(member: &[u8]) -> Option<i64> {
    // The longest is i64::MIN with its sign.
    const DIGITS_AND_SIGN_MAX: usize = 20;
    let (negative, digits) = match member {
        b"0" => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if member.len() > DIGITS_AND_SIGN_MAX || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let magnitude = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        number.checked_mul(10)?.checked_add(u64::from(digit)).filter(|_| digit <= 9)
    })?;
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn add(payload: &mut Vec<u8>, member: &[u8]) -> bool {
        let Some(at) = place(payload, member) else { return false };
        let mut element = Vec::new();
        put(&mut element, member);
        payload.splice(at..at, element);
        true
    }

    fn members(payload: &[u8]) -> Vec<&[u8]> {
        iter(payload).collect()
    }

    #[test]
    fn integers_are_in_ascending_order_and_the_rest_as_inserted() {
        let mut payload = Vec::new();
        for number in ["5", "-1", "9223372036854775807", "10", "-9223372036854775808", "0"] {
            assert!(add(&mut payload, number.as_bytes()));
            assert!(!add(&mut payload, number.as_bytes()));
        }
        let sorted = ["-9223372036854775808", "-1", "0", "5", "10", "9223372036854775807"];
        assert_eq!(members(&payload), sorted.map(str::as_bytes));
        for text in ["b", "a", "", "+1", "01", "-0", "9223372036854775808", "7"] {
            assert!(add(&mut payload, text.as_bytes()));
        }
        // A set that was not of integers only when it came has no order.
        assert_eq!(
            members(&payload)[7..],
            ["b", "a", "", "+1", "01", "-0", "9223372036854775808"].map(str::as_bytes)
        );
        assert_eq!(members(&payload)[4], b"7");
        assert_eq!(find(&payload, b"-1"), Some(21..24));
        assert_eq!(find(&payload, b"c"), None);
        assert!(check(&payload) && !check(&payload[..payload.len() - 1]));
    }

    proptest! {
        #[test]
        fn holds_each_member_once(
            all in prop::collection::vec(prop_oneof![
                (-30i64..30).prop_map(|number| number.to_string().into_bytes()),
                any::<i64>().prop_map(|number| number.to_string().into_bytes()),
                prop::collection::vec(any::<u8>(), 0..4),
            ], 0..60),
            numbers_only: bool,
        ) {
            let (mut payload, mut model) = (Vec::new(), BTreeSet::new());
            for member in all {
                if numbers_only && integer(&member).is_none() {
                    continue;
                }
                prop_assert_eq!(add(&mut payload, &member), model.insert(member.clone()));
                prop_assert!(contains(&payload, &member));
            }
            prop_assert!(check(&payload));
            prop_assert_eq!(len(&payload), model.len());
            prop_assert_eq!(members(&payload).into_iter().map(<[u8]>::to_vec).collect::<BTreeSet<_>>(), model.clone());
            if numbers_only {
                prop_assert!(iter(&payload).map(integer).is_sorted());
            }
            for member in &model {
                let found = find(&payload, member).expect("it was added");
                prop_assert_eq!(members(&payload[found.clone()]), [&member[..]]);
                payload.drain(found);
            }
            prop_assert!(payload.is_empty());
        }
    }
}
