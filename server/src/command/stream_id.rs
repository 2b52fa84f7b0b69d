//! Ids of streams' entries as arguments and in replies.

use super::CommandError;
use super::args::c_string;
use crate::resp::Reply;
use sessile::StreamId;
use std::ops::RangeInclusive;

const INVALID: &str = "ERR Invalid stream ID specified as stream command argument";
/// Redis copies ids into a buffer of this size, with a zero byte.
const ID_BYTES_MAX: usize = 127;

/// An id whose number may be left to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenId {
    /// All of it.
    Whole(StreamId),
    /// Its time alone (`5-*`).
    Time(u64),
}

/// A number as `strtoull` reads it.
fn number(text: &[u8]) -> Option<u64> {
    let start = text.iter().position(|&byte| !matches!(byte, b' ' | b'\t'..=b'\r'))?;
    let (negative, digits) = match &text[start..] {
        [b'+', digits @ ..] => (false, digits),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, &digit| {
        let digit = char::from(digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    // A negative number in its usual spelling is none; in any other it wraps around.
    match negative {
        false => Some(number),
        true if start > 0 || digits[0] == b'0' || number > 1 << 63 => Some(number.wrapping_neg()),
        true => None,
    }
}

fn parse(argument: &[u8], missing_seq: u64) -> Option<GivenId> {
    if argument.len() > ID_BYTES_MAX {
        return None;
    }
    let text = c_string(argument);
    let Some(dash) = memchr::memchr(b'-', text) else {
        return Some(GivenId::Whole(StreamId { ms: number(text)?, seq: missing_seq }));
    };
    let ms = number(&text[..dash])?;
    Some(match &text[dash + 1..] {
        b"*" => GivenId::Time(ms),
        seq => GivenId::Whole(StreamId { ms, seq: number(seq)? }),
    })
}

fn whole(argument: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match parse(argument, missing_seq) {
        Some(GivenId::Whole(id)) => Ok(id),
        _ => Err(INVALID.into()),
    }
}

/// An id.
pub(super) fn id(argument: &[u8]) -> Result<StreamId, CommandError> {
    whole(argument, 0)
}

/// An id for a new entry.
pub(super) fn given_id(argument: &[u8]) -> Result<GivenId, CommandError> {
    parse(argument, 0).ok_or(INVALID.into())
}

/// An end of a range: `-`, `+`, an id, or a time alone.
fn end(argument: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match c_string(argument) {
        b"-" if argument.len() <= ID_BYTES_MAX => Ok(StreamId::MIN),
        b"+" if argument.len() <= ID_BYTES_MAX => Ok(StreamId::MAX),
        _ => whole(argument, missing_seq),
    }
}

/// A range of ids from two arguments, each of which is left out if `(` comes before it.
pub(super) fn range(first: &[u8], last: &[u8]) -> Result<RangeInclusive<StreamId>, CommandError> {
    let start = match first {
        [b'(', _, ..] => {
            let start = whole(&first[1..], 0)?;
            start.next().ok_or(CommandError::from("ERR invalid start ID for the interval"))?
        }
        _ => end(first, 0)?,
    };
    let end = match last {
        [b'(', _, ..] => {
            let end = whole(&last[1..], u64::MAX)?;
            end.previous().ok_or(CommandError::from("ERR invalid end ID for the interval"))?
        }
        _ => end(last, u64::MAX)?,
    };
    Ok(start..=end)
}

/// Writes an id.
pub(super) fn write(reply: &mut Reply, id: StreamId) {
    let mut digits = itoa::Buffer::new();
    let mut text: smallvec::SmallVec<[u8; 44]> = smallvec::SmallVec::new();
    text.extend_from_slice(digits.format(id.ms).as_bytes());
    text.push(b'-');
    text.extend_from_slice(digits.format(id.seq).as_bytes());
    reply.bulk(&text);
}

/// The text of an id.
pub(super) fn text(id: StreamId) -> Vec<u8> {
    format!("{}-{}", id.ms, id.seq).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_redis_reads_them() {
        for (text, read) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+5", Some(5)),
            (" 5", Some(5)),
            ("5 ", None),
            ("-3", None),
            ("", None),
            ("+", None),
            ("007", Some(7)),
        ] {
            assert_eq!(number(text.as_bytes()), read, "{text:?}");
        }
    }

    #[test]
    fn ranges_may_leave_out_their_ends() {
        let at = |ms, seq| StreamId { ms, seq };
        assert_eq!(range(b"-", b"+"), Ok(StreamId::MIN..=StreamId::MAX));
        assert_eq!(range(b"5", b"6"), Ok(at(5, 0)..=at(6, u64::MAX)));
        assert_eq!(range(b"(5-1", b"(6"), Ok(at(5, 2)..=at(6, u64::MAX - 1)));
        assert!(range(b"(-", b"+").is_err());
        assert_eq!(range(b"-", b"(0-0"), Err("ERR invalid end ID for the interval".into()));
    }
}
