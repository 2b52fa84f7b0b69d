//! The payload of a flat list: how many elements there are, then the elements, first to last.
//!
//! ```text
//! count varint │ element … element        element: length varint │ bytes │ the same varint, its bytes in reverse
//! ```
//!
//! An element can be read from either end, so that the last ones of a list are as near as the first ones. Elements without the count before
//! them are a *run*: what the log holds of pushed elements, and what the [chunks](super::list) of a large list are made of.

use crate::varint;

/// A length behind an element, its bytes in the order in which they are written.
fn length_behind(length: usize) -> ([u8; 10], usize) {
    let bytes = varint::Bytes::of(length);
    let mut reversed = [0; 10];
    for (to, from) in reversed.iter_mut().zip(bytes.iter().rev()) {
        *to = *from;
    }
    (reversed, bytes.len())
}

/// The bytes of one element in a run.
pub(crate) fn encoded_bytes(length: usize) -> usize {
    length + 2 * varint::Bytes::of(length).len()
}

/// Appends an element to a run.
#[inline]
pub(crate) fn put(run: &mut Vec<u8>, element: &[u8]) {
    if element.len() < 0x80 {
        let length = element.len() as u8;
        run.reserve(element.len() + 2);
        run.push(length);
        run.extend_from_slice(element);
        run.push(length);
        return;
    }
    let (behind, used) = length_behind(element.len());
    run.extend_from_slice(&varint::Bytes::of(element.len()));
    run.extend_from_slice(element);
    run.extend_from_slice(&behind[..used]);
}

/// Takes the first element off a run that was made here or checked.
#[inline]
pub(crate) fn take_first<'a>(run: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, used) = varint::get(run)?;
    let (element, rest) = run.get(used..)?.split_at_checked(length as usize)?;
    *run = rest.get(used..)?;
    Some(element)
}

/// Takes the last element off such a run.
#[inline]
pub(crate) fn take_last<'a>(run: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (mut length, mut used) = (0, 0);
    loop {
        let byte = *run.get(run.len().checked_sub(used + 1)?)?;
        // At most ten bytes: a run was checked.
        length |= u64::from(byte & 0x7F) << (7 * used);
        used += 1;
        if byte < 0x80 {
            break;
        }
    }
    let end = run.len() - used;
    let start = end.checked_sub(length as usize)?;
    let element = &run[start..end];
    *run = &run[..start.checked_sub(used)?];
    Some(element)
}

/// How many elements these bytes from outside are; `None` if they are no run.
pub(crate) fn check(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (length, used) = varint::get(bytes)?;
        let length = usize::try_from(length).ok()?;
        let (behind, shortest) = length_behind(length);
        let rest = bytes[used..].get(length..)?;
        // A length has one form only, so that it is found from either end.
        if used != shortest || rest.get(..used)? != &behind[..used] {
            return None;
        }
        bytes = &rest[used..];
        count += 1;
    }
    Some(count)
}

/// Whether bytes from outside are a payload.
pub(crate) fn check_payload(payload: &[u8]) -> bool {
    varint::get(payload).is_some_and(|(count, used)| {
        count > 0 && check(&payload[used..]).map(|found| found as u64) == Some(count)
    })
}

/// How many elements there are.
pub(crate) fn len(payload: &[u8]) -> usize {
    parts(payload).0
}

/// The number of elements of a checked payload, and their run.
#[inline]
pub(crate) fn parts(payload: &[u8]) -> (usize, &[u8]) {
    match varint::get(payload) {
        Some((count, used)) => (count as usize, &payload[used..]),
        None => unreachable!("objects are checked when they come in"),
    }
}

/// Where the element with this index begins in a run of `count`; the end of the run if there is none. Found from the nearer end.
pub(crate) fn offset(run: &[u8], count: usize, index: usize) -> usize {
    let mut rest = run;
    if index <= count / 2 {
        for _ in 0..index {
            let _ = take_first(&mut rest);
        }
        run.len() - rest.len()
    } else {
        for _ in index..count {
            let _ = take_last(&mut rest);
        }
        rest.len()
    }
}

/// The elements of a run, from either end.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        take_first(&mut self.0)
    }
}

impl DoubleEndedIterator for Elements<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        take_last(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run_of(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut run = Vec::new();
        for element in elements {
            let before = run.len();
            put(&mut run, element);
            assert_eq!(run.len() - before, encoded_bytes(element.len()));
        }
        run
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..20),
            2 => proptest::collection::vec(any::<u8>(), 120..140),
            1 => proptest::collection::vec(any::<u8>(), 16_380..16_390),
        ]
    }

    proptest! {
        #[test]
        fn a_run_is_read_from_either_end(elements in proptest::collection::vec(element(), 0..12), index in 0usize..13) {
            let run = run_of(&elements);
            prop_assert_eq!(check(&run), Some(elements.len()));
            prop_assert_eq!(Elements(&run).map(<[u8]>::to_vec).collect::<Vec<_>>(), elements.clone());
            let mut reversed: Vec<_> = Elements(&run).rev().map(<[u8]>::to_vec).collect();
            reversed.reverse();
            prop_assert_eq!(&reversed, &elements);
            let index = index.min(elements.len());
            prop_assert_eq!(offset(&run, elements.len(), index), run_of(&elements[..index]).len());
        }

        #[test]
        fn any_bytes_are_checked_without_a_panic(bytes: Vec<u8>) {
            if check(&bytes).is_some() {
                prop_assert_eq!(Elements(&bytes).count(), Elements(&bytes).rev().count());
            }
            let _ = check_payload(&bytes);
        }

        #[test]
        fn a_flipped_length_is_noticed(elements in proptest::collection::vec(element(), 1..5), bit in 0u8..8) {
            let mut run = run_of(&elements);
            run[0] ^= 1 << bit;
            prop_assert_eq!(check(&run), None);
        }
    }

    #[test]
    fn a_length_has_one_form() {
        assert_eq!(check(&[0x81, 0x00, 7, 0x00, 0x81]), None);
        assert_eq!(check(&[1, 7, 1]), Some(1));
        assert!(!check_payload(&[0]), "there is no empty list");
        assert!(check_payload(&[1, 1, 7, 1]) && !check_payload(&[2, 1, 7, 1]) && !check_payload(&[]));
    }
}
