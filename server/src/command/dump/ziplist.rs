//! Ziplists, Redis's form of small collections before 7.0.

use super::listpack::{Element, take_array, text};

const END: u8 = 0xFF;
/// In place of the number of elements: too many to be said.
const UNKNOWN_COUNT: u16 = u16::MAX;

/// Calls `each` with the elements of a whole ziplist, until it answers `None`; `None` then, and if it is no ziplist.
pub(super) fn for_each<'a>(bytes: &'a [u8], each: &mut dyn FnMut(Element<'a>) -> Option<()>) -> Option<()> {
    let mut rest = bytes;
    let total = u32::from_le_bytes(take_array(&mut rest)?);
    let tail = u32::from_le_bytes(take_array(&mut rest)?);
    let count = u16::from_le_bytes(take_array(&mut rest)?);
    let (&end, mut rest) = rest.split_last()?;
    if total as usize != bytes.len() || end != END {
        return None;
    }
    let (mut found, mut last_bytes, mut last_at) = (0, 0, bytes.len() - rest.len() - 1);
    while !rest.is_empty() {
        last_at = bytes.len() - 1 - rest.len();
        let before = rest.len();
        if take_previous(&mut rest)? != last_bytes {
            return None;
        }
        each(take(&mut rest)?)?;
        found += 1;
        last_bytes = before - rest.len();
    }
    let counted = count == UNKNOWN_COUNT || usize::from(count) == found;
    (counted && tail as usize == last_at).then_some(())
}

/// The length of the element before.
fn take_previous(rest: &mut &[u8]) -> Option<usize> {
    match take_array(rest)? {
        [0xFE] => Some(u32::from_le_bytes(take_array(rest)?) as usize),
        [0xFF] => None,
        [short] => Some(usize::from(short)),
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<Element<'a>> {
    let integer = Element::Integer;
    let [first] = take_array(rest)?;
    match first {
        0x00..=0x3F => text(rest, usize::from(first)),
        0x40..=0x7F => {
            let [low] = take_array(rest)?;
            text(rest, usize::from(first & 0x3F) << 8 | usize::from(low))
        }
        0x80 => {
            let length = u32::from_be_bytes(take_array(rest)?);
            text(rest, length as usize)
        }
        0xC0 => Some(integer(i64::from(i16::from_le_bytes(take_array(rest)?)))),
        0xD0 => Some(integer(i64::from(i32::from_le_bytes(take_array(rest)?)))),
        0xE0 => Some(integer(i64::from_le_bytes(take_array(rest)?))),
        0xF0 => {
            let [a, b, c] = take_array(rest)?;
            Some(integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)))
        }
        0xFE => {
            let [byte] = take_array(rest)?;
            Some(integer(i64::from(byte as i8)))
        }
        0xF1..=0xFD => Some(integer(i64::from(first & 0x0F) - 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn elements(bytes: &[u8]) -> Option<Vec<Element<'_>>> {
        let mut all = Vec::new();
        for_each(bytes, &mut |element| {
            all.push(element);
            Some(())
        })
        .map(|()| all)
    }

    #[test]
    fn every_encoding_is_read() {
        let encoded: [&[u8]; 8] = [
            &[1, b'a'],
            &[0x40, 1, b'b'],
            &[0x80, 0, 0, 0, 1, b'c'],
            &[0xC0, 0, 0x80],
            &[0xF0, 0xFF, 0xFF, 0xFF],
            &[0xFE, 0x80],
            &[0xF1],
            &[0xFD],
        ];
        let (mut body, mut previous, mut tail) = (Vec::new(), 0u8, 0);
        for entry in encoded {
            tail = body.len();
            body.push(previous);
            body.extend_from_slice(entry);
            previous = entry.len() as u8 + 1;
        }
        let mut list = Vec::from((body.len() as u32 + 11).to_le_bytes());
        list.extend_from_slice(&(tail as u32 + 10).to_le_bytes());
        list.extend_from_slice(&[8, 0]);
        list.extend_from_slice(&body);
        list.push(END);
        let expected = [
            Element::Text(b"a"),
            Element::Text(b"b"),
            Element::Text(b"c"),
            Element::Integer(-32768),
            Element::Integer(-1),
            Element::Integer(-128),
            Element::Integer(0),
            Element::Integer(12),
        ];
        assert_eq!(elements(&list).as_deref(), Some(&expected[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes: Vec<u8>) {
            let _ = elements(&bytes);
            if bytes.len() >= 11 {
                let total = bytes.len() as u32;
                bytes[..4].copy_from_slice(&total.to_le_bytes());
                bytes[8..10].fill(0xFF);
                bytes[total as usize - 1] = END;
                let _ = elements(&bytes);
            }
        }
    }
}
