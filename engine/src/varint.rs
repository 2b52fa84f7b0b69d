//! Unsigned LEB128: seven bits a byte, low bits first. At most ten bytes.

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The bytes of one number, on the stack.
pub(crate) struct Bytes {
    bytes: [u8; 10],
    len: usize,
}

impl Bytes {
    /// Those of a length.
    pub(crate) fn of(length: usize) -> Bytes {
        Bytes::of_number(length as u64)
    }

    /// Those of any number.
    pub(crate) fn of_number(mut number: u64) -> Bytes {
        let mut this = Bytes { bytes: [0; 10], len: 0 };
        loop {
            this.bytes[this.len] = number as u8 | if number >= 0x80 { 0x80 } else { 0 };
            this.len += 1;
            number >>= 7;
            if number == 0 {
                return this;
            }
        }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Takes a number off the front of bytes from outside.
#[inline]
pub(crate) fn take(rest: &mut &[u8]) -> Option<u64> {
    let (number, used) = get(rest)?;
    *rest = &rest[used..];
    Some(number)
}

/// A number and how many bytes it took; `None` if the bytes end within it, or it has more than 64 bits.
#[inline]
pub(crate) fn get(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let second = *bytes.get(1)?;
    if second < 0x80 {
        return Some((u64::from(first & 0x7F) | u64::from(second) << 7, 2));
    }
    get_long(bytes)
}

/// As [`get`], of any length.
fn get_long(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0u64;
    for (at, &byte) in bytes.iter().take(10).enumerate() {
        let part = u64::from(byte & 0x7F);
        if at == 9 && part > 1 {
            return None;
        }
        number |= part << (7 * at);
        if byte < 0x80 {
            return Some((number, at + 1));
        }
    }
    None
}

/// Takes a length and that many bytes off the front of `bytes`.
#[inline]
pub(crate) fn take_slice<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, used) = get(bytes)?;
    let rest = &bytes[used..];
    let (slice, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(slice)
}

/// Appends a length and the bytes.
pub(crate) fn put_slice(out: &mut Vec<u8>, slice: &[u8]) {
    put(out, slice.len() as u64);
    out.extend_from_slice(slice);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_comes_back(number: u64) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            prop_assert_eq!(get(&bytes), Some((number, bytes.len())));
            prop_assert_eq!(&Bytes::of(number as usize)[..], &bytes[..]);
            bytes.pop();
            prop_assert_eq!(get(&bytes), None);
        }

        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while take_slice(&mut rest).is_some() {}
            let _ = get(&bytes);
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        assert_eq!(get(&[0xFF; 9]), None);
        assert_eq!(get(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), Some((u64::MAX, 10)));
        assert_eq!(get(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]), None);
        assert_eq!(get(&[0x80; 11]), None);
    }
}
