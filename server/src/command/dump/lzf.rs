//! Strings compressed by LZF, as LibLZF lays them out.
//!
//! A control byte below 32 is followed by one more literal bytes than it says. Any other refers back: its high three bits are the length less two
//! (if all are set, the next byte adds to it), its low five and the next byte the distance less one.

/// The decompressed bytes, exactly `length` of them; `None` if that is not what they are.
pub(super) fn decompress(compressed: &[u8], length: usize) -> Option<Vec<u8>> {
    /// Three bytes stand for at most this many.
    const EXPANSION_MAX: usize = 264;
    if length > compressed.len().saturating_mul(EXPANSION_MAX) {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let mut rest = compressed;
    while let Some((&control, after)) = rest.split_first() {
        rest = after;
        let control = usize::from(control);
        if control < 32 {
            let (literal, after) = rest.split_at_checked(control + 1)?;
            out.extend_from_slice(literal);
            rest = after;
        } else {
            let mut count = (control >> 5) + 2;
            if count == 9 {
                let (&more, after) = rest.split_first()?;
                count += usize::from(more);
                rest = after;
            }
            let (&low, after) = rest.split_first()?;
            rest = after;
            let distance = (control & 0x1F) << 8 | usize::from(low);
            let from = out.len().checked_sub(distance + 1)?;
            // What is copied may be what is being written.
            for at in from..from + count {
                out.push(out[at]);
            }
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_and_references() {
        assert_eq!(decompress(&[2, b'a', b'b', b'c', 0x20, 2], 6).as_deref(), Some(&b"abcabc"[..]));
        assert_eq!(decompress(&[0, b'a', 0xE0, 1, 0], 11).as_deref(), Some(&[b'a'; 11][..]));
        assert_eq!(decompress(&[0, b'a', 0x20, 1], 4), None, "before the beginning");
        assert_eq!(decompress(&[3, b'a'], 4), None);
        assert_eq!(decompress(&[0, b'a'], 2), None);
        assert_eq!(decompress(&[], usize::MAX), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, length in 0usize..5000) {
            if let Some(out) = decompress(&bytes, length) {
                prop_assert_eq!(out.len(), length);
            }
        }
    }
}
