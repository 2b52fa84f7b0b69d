//! Listpacks, Redis's form of small collections since 7.0: lengths forward and backward, integers as such.

use crate::command::number::parse_integer;

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element<'a> {
    Text(&'a [u8]),
    Integer(i64),
}

const HEADER_BYTES: usize = 6;
const END: u8 = 0xFF;
/// In place of the number of elements: too many to be said.
const UNKNOWN_COUNT: u16 = u16::MAX;

/// Calls `each` with the elements of a whole listpack, until it answers `None`; `None` then, and if it is no listpack.
pub(super) fn for_each<'a>(bytes: &'a [u8], each: &mut dyn FnMut(Element<'a>) -> Option<()>) -> Option<()> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let total = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let count = u16::from_le_bytes([header[4], header[5]]);
    let (&end, mut rest) = rest.split_last()?;
    if total as usize != bytes.len() || end != END {
        return None;
    }
    let mut found = 0;
    while !rest.is_empty() {
        each(take(&mut rest)?)?;
        found += 1;
    }
    (count == UNKNOWN_COUNT || usize::from(count) == found).then_some(())
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<Element<'a>> {
    let whole = *rest;
    let element = take_forward(rest)?;
    let length = whole.len() - rest.len();
    // The length again, to be read from behind: seven bits a byte, the low ones last.
    let (back, after) = rest.split_at_checked(back_bytes(length))?;
    let said = back.iter().fold(0u64, |said, &byte| said << 7 | u64::from(byte & 0x7F));
    let marks = back.iter().skip(1).all(|byte| byte & 0x80 != 0) && back[0] & 0x80 == 0;
    *rest = after;
    (said == length as u64 && marks).then_some(element)
}

/// How long the length of an element is that is to be read from behind.
fn back_bytes(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..16383 => 2,
        16383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn take_forward<'a>(rest: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    let integer = Element::Integer;
    match first {
        0x00..=0x7F => Some(integer(i64::from(first))),
        0x80..=0xBF => text(rest, usize::from(first & 0x3F)),
        0xC0..=0xDF => {
            let [low] = take_array(rest)?;
            let unsigned = i64::from(first & 0x1F) << 8 | i64::from(low);
            Some(integer(if unsigned >= 1 << 12 { unsigned - (1 << 13) } else { unsigned }))
        }
        0xE0..=0xEF => {
            let [low] = take_array(rest)?;
            text(rest, usize::from(first & 0x0F) << 8 | usize::from(low))
        }
        0xF0 => {
            let length = u32::from_le_bytes(take_array(rest)?);
            text(rest, length as usize)
        }
        0xF1 => Some(integer(i64::from(i16::from_le_bytes(take_array(rest)?)))),
        0xF2 => {
            let [a, b, c] = take_array(rest)?;
            Some(integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)))
        }
        0xF3 => Some(integer(i64::from(i32::from_le_bytes(take_array(rest)?)))),
        0xF4 => Some(integer(i64::from_le_bytes(take_array(rest)?))),
        0xF5..=0xFF => None,
    }
}

/// Takes so many bytes off the front.
pub(super) fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*array)
}

/// Takes a text of so many bytes off the front.
pub(super) fn text<'a>(rest: &mut &'a [u8], length: usize) -> Option<Element<'a>> {
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Element::Text(text))
}

/// A listpack that is being written.
#[derive(Default)]
pub(super) struct Builder {
    elements: Vec<u8>,
    count: usize,
}

impl Builder {
    /// Bytes of its elements.
    pub(super) fn bytes(&self) -> usize {
        self.elements.len()
    }

    /// Adds an integer.
    pub(super) fn integer(&mut self, integer: i64) {
        let start = self.elements.len();
        if let 0..=0x7F = integer {
            self.elements.push(integer as u8);
        } else if let Ok(short) = i16::try_from(integer) {
            self.elements.push(0xF1);
            self.elements.extend_from_slice(&short.to_le_bytes());
        } else if let Ok(long) = i32::try_from(integer) {
            self.elements.push(0xF3);
            self.elements.extend_from_slice(&long.to_le_bytes());
        } else {
            self.elements.push(0xF4);
            self.elements.extend_from_slice(&integer.to_le_bytes());
        }
        self.end(start);
    }

    /// Adds a text: as an integer, if it is how one is written.
    pub(super) fn text(&mut self, text: &[u8]) {
        if let Some(integer) = parse_integer(text) {
            return self.integer(integer);
        }
        let start = self.elements.len();
        match text.len() {
            length @ 0..=0x3F => self.elements.push(0x80 | length as u8),
            length @ 0x40..=0xFFF => {
                self.elements.extend_from_slice(&[0xE0 | (length >> 8) as u8, length as u8]);
            }
            // A text is shorter than 512 MiB.
            length => {
                self.elements.push(0xF0);
                self.elements.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        self.elements.extend_from_slice(text);
        self.end(start);
    }

    /// The length of the element that begins at `start` once more, to be read from behind.
    fn end(&mut self, start: usize) {
        let length = self.elements.len() - start;
        let bytes = back_bytes(length);
        for byte in (0..bytes).rev() {
            let mark = if byte + 1 == bytes { 0 } else { 0x80 };
            self.elements.push((length >> (7 * byte)) as u8 & 0x7F | mark);
        }
        self.count += 1;
    }

    /// Adds all elements of another.
    pub(super) fn append(&mut self, other: Builder) {
        self.elements.extend(other.elements);
        self.count += other.count;
    }

    /// The whole listpack.
    pub(super) fn finish(self) -> Vec<u8> {
        let total = HEADER_BYTES + self.elements.len() + 1;
        let mut out = Vec::with_capacity(total);
        out.extend_from_slice(&(total as u32).to_le_bytes());
        out.extend_from_slice(&u16::try_from(self.count).unwrap_or(UNKNOWN_COUNT).to_le_bytes());
        out.extend(self.elements);
        out.push(END);
        out
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
        let entries: [&[u8]; 9] = [
            &[0x7F, 1],
            &[0x83, b'a', b'b', b'c', 4],
            &[0xDF, 0xFF, 2],
            &[0xC0, 0x80, 2],
            &[0xE0, 1, b'x', 3],
            &[0xF0, 1, 0, 0, 0, b'y', 6],
            &[0xF1, 0, 0x80, 3],
            &[0xF2, 0xFE, 0xFF, 0xFF, 4],
            &[0xF4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9],
        ];
        let body = entries.concat();
        let mut pack = Vec::from((body.len() as u32 + 7).to_le_bytes());
        pack.extend_from_slice(&[9, 0]);
        pack.extend_from_slice(&body);
        pack.push(END);
        let expected = [
            Element::Integer(127),
            Element::Text(b"abc"),
            Element::Integer(-1),
            Element::Integer(128),
            Element::Text(b"x"),
            Element::Text(b"y"),
            Element::Integer(-32768),
            Element::Integer(-2),
            Element::Integer(i64::MIN),
        ];
        assert_eq!(elements(&pack).as_deref(), Some(&expected[..]));
        for at in 0..pack.len() {
            assert_eq!(elements(&pack[..at]), None);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = vec![b'x'; 70_000];
        let texts: [&[u8]; 12] = [
            b"",
            b"0",
            b"127",
            b"128",
            b"-1",
            b"-32769",
            b"9223372036854775807",
            b"-9223372036854775808",
            b"007",
            &long[..63],
            &long[..5000],
            &long,
        ];
        let mut builder = Builder::default();
        texts.iter().for_each(|text| builder.text(text));
        let bytes = builder.finish();
        let read: Vec<Vec<u8>> = elements(&bytes)
            .expect("a listpack")
            .iter()
            .map(|element| match element {
                Element::Text(text) => text.to_vec(),
                Element::Integer(integer) => integer.to_string().into_bytes(),
            })
            .collect();
        assert_eq!(read, texts);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes: Vec<u8>) {
            let _ = elements(&bytes);
            if bytes.len() >= 7 {
                let total = bytes.len() as u32;
                bytes[..4].copy_from_slice(&total.to_le_bytes());
                bytes[4..6].fill(0xFF);
                bytes[total as usize - 1] = END;
                let _ = elements(&bytes);
            }
        }
    }
}
