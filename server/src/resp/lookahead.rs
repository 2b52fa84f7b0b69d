//! A glance at the requests that follow in a pipeline: which keys they are likely about.
//!
//! A hint, for prefetching. It takes the first argument for the key, gives up at anything unusual, and decides nothing: the parser
//! reads everything again.

use super::request::small_number;

/// Calls `each` with the first argument of up to `most` complete requests at the start of `bytes`; how many bytes they span.
pub fn first_arguments<'a>(bytes: &'a [u8], most: usize, mut each: impl FnMut(&'a [u8])) -> usize {
    let mut at = 0;
    for _ in 0..most {
        let Some((argument, end)) = first_argument(&bytes[at..]) else { break };
        if let Some(argument) = argument {
            each(argument);
        }
        at += end;
    }
    at
}

/// The first argument of the request at the start of `bytes`, if it has one, and where the request ends.
fn first_argument(bytes: &[u8]) -> Option<(Option<&[u8]>, usize)> {
    let (count, mut at) = number(bytes, 0, b'*')?;
    let mut found = None;
    for index in 0..count {
        let (length, start) = number(bytes, at, b'$')?;
        let end = start.checked_add(length)?;
        let argument = bytes.get(start..end)?;
        if index == 1 {
            found = Some(argument);
        }
        at = end + 2;
    }
    (at <= bytes.len()).then_some((found, at))
}

/// The number in the line at `at` that begins with `kind`, and where the next line begins.
fn number(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?.strip_prefix(&[kind])?;
    // Counts and lengths worth prefetching for have few digits.
    let (number, digits) = small_number(line)?;
    Some((usize::try_from(number).ok()?, at + 1 + digits + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glance(bytes: &[u8], most: usize) -> (Vec<&[u8]>, usize) {
        let mut found = Vec::new();
        let end = first_arguments(bytes, most, |argument| found.push(argument));
        (found, end)
    }

    #[test]
    fn sees_the_keys_of_complete_requests() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$2\r\nbb\r\n$0\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\n";
        assert_eq!(glance(bytes, 16), (vec![&b"a"[..], b"bb"], 61));
        assert_eq!(glance(bytes, 1), (vec![&b"a"[..]], 20));
        assert_eq!(glance(b"PING\r\n", 16), (vec![], 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_glanced_at_without_a_panic(bytes: Vec<u8>, text in "[*$0-9\r\n-]{0,60}") {
            prop_assert!(glance(&bytes, 16).1 <= bytes.len());
            prop_assert!(glance(text.as_bytes(), 16).1 <= text.len());
        }
    }
}
