//! Requests: RESP arrays of bulk strings, and inline commands.
//!
//! A [`RequestParser`] looks at a buffer that begins with the request it is in and remembers how far it has come, so that a request which
//! arrives in a thousand pieces is scanned once. Arguments are ranges of that buffer; only an inline command with quotes is copied.
//! It never panics on what it is given, never allocates by a length that a client claims, and says what is wrong in Redis's words.

use smallvec::SmallVec;
use std::ops::Range;

/// Longest inline command, and longest header line (`*3`, `$5`), in bytes.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Most arguments in one request. Redis 7 allows 2^31, whose bookkeeping alone would be gigabytes; this is what Redis 6 allowed.
pub const ARGUMENTS_MAX: usize = 1024 * 1024;
/// Most arguments in a request of a client that has not authenticated.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
/// Longest argument of a client that has not authenticated, in bytes.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;
/// How many argument places a parser keeps between requests.
const PLACES_KEPT: usize = 32;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// `proto-max-bulk-len`: longest argument, in bytes.
    pub bulk_bytes_max: usize,
    /// Whether the client still has to authenticate; then far less is allowed.
    pub unauthenticated: bool,
}

/// What is wrong with a request. After one of these nothing that follows can be understood: the connection answers and closes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The count after `*` is not a number, or too large.
    #[error("ERR Protocol error: invalid multibulk length")]
    ArgumentCount,
    /// The count after `*` is too large for a client that has not authenticated.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedArgumentCount,
    /// No line end within reach of `*`.
    #[error("ERR Protocol error: too big mbulk count string")]
    CountTooLong,
    /// No line end within reach of `$`.
    #[error("ERR Protocol error: too big bulk count string")]
    LengthTooLong,
    /// Something else where `$` must stand.
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// The length after `$` is not a number, negative, or too large.
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    /// The length after `$` is too large for a client that has not authenticated.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// No line end within [`INLINE_BYTES_MAX`].
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    /// Quotes that don't close, or close in the middle of a word.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text for the wire. [`Display`](std::fmt::Display) is for people: it can't show a byte that is no ASCII.
    pub fn text(&self) -> Vec<u8> {
        match self {
            ProtocolError::ExpectedBulk(byte) => {
                [b"ERR Protocol error: expected '$', got '", &[*byte][..], b"'"].concat()
            }
            others => others.to_string().into_bytes(),
        }
    }
}

/// The arguments of one request, the command's name first.
pub type Arguments<'a> = SmallVec<[&'a [u8]; 8]>;

/// Where the parser is in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before its first byte.
    #[default]
    Start,
    /// In an inline command.
    Inline,
    /// In the line after `*`.
    Count,
    /// Before or in the line after `$`; so many arguments are missing.
    Length { missing: usize },
    /// In an argument of this length; so many are missing, this one included.
    Bulk { missing: usize, length: usize },
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct RequestParser {
    state: State,
    /// Everything before it has been understood.
    position: usize,
    /// No line end between `position` and here.
    searched: usize,
    places: Vec<Range<usize>>,
    /// The unquoted words of an inline command; then the places refer to it.
    words: Option<Vec<u8>>,
}

impl RequestParser {
    /// Looks for the end of the request at the start of `buffer`: its length, or `None` if more bytes are needed. The buffer must begin
    /// with the same bytes in every call until a length was returned; the call after that is about the next request.
    ///
    /// A request may be empty (`*0`, an empty line): then there are no arguments, and nothing to do.
    ///
    /// # Errors
    ///
    /// When this is no request, or one beyond the limits. Nothing further can be read from that client.
    pub fn parse(&mut self, buffer: &[u8], limits: RequestLimits) -> Result<Option<usize>, ProtocolError> {
        if self.state == State::Start {
            let Some(&first) = buffer.first() else { return Ok(None) };
            self.position = 0;
            self.searched = 0;
            self.places.clear();
            self.words = None;
            self.state = if first == b'*' { State::Count } else { State::Inline };
        }
        loop {
            match self.state {
                State::Start => return Ok(Some(self.position)),
                State::Inline => {
                    let Some(end) = memchr::memchr(b'\n', buffer.get(self.searched..).unwrap_or_default())
                    else {
                        self.searched = buffer.len();
                        return if buffer.len() > INLINE_BYTES_MAX {
                            Err(ProtocolError::InlineTooLong)
                        } else {
                            Ok(None)
                        };
                    };
                    let end = self.searched + end;
                    if end > INLINE_BYTES_MAX {
                        return Err(ProtocolError::InlineTooLong);
                    }
                    let line = &buffer[..end];
                    let mut words = Vec::new();
                    split_words(line.strip_suffix(b"\r").unwrap_or(line), &mut words, &mut self.places)
                        .map_err(|UnbalancedQuotes| ProtocolError::UnbalancedQuotes)?;
                    self.words = Some(words);
                    self.position = end + 1;
                    self.state = State::Start;
                }
                State::Count => {
                    let Some(count) = self.number(buffer, ProtocolError::CountTooLong)? else {
                        return Ok(None);
                    };
                    let count = count.map_err(|NotANumber| ProtocolError::ArgumentCount)?;
                    if count > ARGUMENTS_MAX as i64 {
                        return Err(ProtocolError::ArgumentCount);
                    }
                    if count > UNAUTHENTICATED_ARGUMENTS_MAX as i64 && limits.unauthenticated {
                        return Err(ProtocolError::UnauthenticatedArgumentCount);
                    }
                    // A count below one is an empty request, as in Redis.
                    self.state = match usize::try_from(count) {
                        Ok(missing) if missing > 0 => State::Length { missing },
                        _ => State::Start,
                    };
                }
                State::Length { missing } => {
                    match buffer.get(self.position) {
                        None => return Ok(None),
                        Some(b'$') => {}
                        Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
                    }
                    let Some(length) = self.number(buffer, ProtocolError::LengthTooLong)? else {
                        return Ok(None);
                    };
                    let length = length
                        .ok()
                        .and_then(|length| usize::try_from(length).ok())
                        .filter(|&length| length <= limits.bulk_bytes_max)
                        .ok_or(ProtocolError::BulkLength)?;
                    if length > UNAUTHENTICATED_BULK_BYTES_MAX && limits.unauthenticated {
                        return Err(ProtocolError::UnauthenticatedBulkLength);
                    }
                    self.state = State::Bulk { missing, length };
                }
                State::Bulk { missing, length } => {
                    let end = self.position + length;
                    // As Redis does, the line end after an argument is skipped and not looked at.
                    if buffer.len() < end + 2 {
                        return Ok(None);
                    }
                    self.places.push(self.position..end);
                    self.position = end + 2;
                    self.searched = self.position;
                    self.state =
                        if missing > 1 { State::Length { missing: missing - 1 } } else { State::Start };
                }
            }
        }
    }

    /// The arguments of the request that [`parse`](Self::parse) just measured in the same buffer.
    pub fn arguments<'a>(&'a self, buffer: &'a [u8]) -> Arguments<'a> {
        let source = self.words.as_deref().unwrap_or(buffer);
        self.places.iter().map(|place| source.get(place.clone()).unwrap_or_default()).collect()
    }

    /// Forgets the request just measured or begun: the next call starts again from the first byte of its buffer.
    pub fn restart(&mut self) {
        self.state = State::Start;
    }

    /// Whether it is between requests.
    pub fn is_between_requests(&self) -> bool {
        self.state == State::Start
    }

    /// How many more bytes the argument that it is in needs beyond those in a buffer of `have` bytes.
    pub fn bytes_missing(&self, have: usize) -> usize {
        match self.state {
            State::Bulk { length, .. } => (self.position + length + 2).saturating_sub(have),
            _ => 0,
        }
    }

    /// Gives back memory that a large request needed.
    pub fn shrink(&mut self) {
        if self.state == State::Start {
            self.words = None;
            self.places.clear();
            self.places.shrink_to(PLACES_KEPT);
        }
    }

    /// The number in the line at `position`, whose first byte is its type, and moves behind the line; `None` if the line has no end yet.
    fn number(
        &mut self,
        buffer: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<Result<i64, NotANumber>>, ProtocolError> {
        if self.searched <= self.position
            && let Some((number, digits)) = small_number(buffer.get(self.position + 1..).unwrap_or_default())
        {
            let end = self.position + 1 + digits;
            if buffer.len() < end + 2 {
                return Ok(None);
            }
            self.position = end + 2;
            self.searched = self.position;
            return Ok(Some(Ok(number)));
        }
        // Redis looks for the carriage return and takes the byte after it for granted.
        let start = self.searched.max(self.position + 1);
        let Some(end) = memchr::memchr(b'\r', buffer.get(start..).unwrap_or_default()).map(|end| start + end)
        else {
            self.searched = buffer.len();
            return if buffer.len() - self.position > INLINE_BYTES_MAX { Err(too_long) } else { Ok(None) };
        };
        if buffer.len() < end + 2 {
            return Ok(None);
        }
        let number = parse_integer(&buffer[self.position + 1..end]);
        self.position = end + 2;
        self.searched = self.position;
        Ok(Some(number.ok_or(NotANumber)))
    }
}

struct NotANumber;

/// The number that a line begins with, if it is of few digits and the line ends behind it, and how many digits they are: what nearly all
/// counts and lengths are. Others are not necessarily wrong.
#[inline]
pub(super) fn small_number(line: &[u8]) -> Option<(i64, usize)> {
    const DIGITS_MAX: usize = 7;
    let mut number = 0;
    for (at, &byte) in line.iter().take(DIGITS_MAX + 1).enumerate() {
        match byte {
            b'\r' if at > 0 => return Some((number, at)),
            // A zero is followed by nothing.
            b'0'..=b'9' if at < DIGITS_MAX && (number > 0 || at == 0) => {
                number = number * 10 + i64::from(byte - b'0');
            }
            _ => return None,
        }
    }
    None
}

/// A 64-bit integer as Redis's protocol writes it: no plus sign, no leading zeros, no spaces.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Downwards, because the least number has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Quotes that don't close, or a closing quote in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits a line into words by Redis's rules, which inline commands and configuration files share: words are separated by white space;
/// `"…"` knows `\n \r \t \b \a \xHH` and `\` before anything else, `'…'` only `\'`; a closing quote ends the word.
///
/// # Errors
///
/// When quotes don't balance.
pub fn split_words(
    line: &[u8],
    words: &mut Vec<u8>,
    places: &mut Vec<Range<usize>>,
) -> Result<(), UnbalancedQuotes> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = words.len();
        let mut quote = None;
        loop {
            match (quote, rest) {
                (None, []) => break,
                (None, [0, ..]) => {
                    // The end of the line for Redis, whose strings end with it.
                    rest = &[];
                    break;
                }
                (None, [byte, ..]) if is_space(*byte) => break,
                (None, [byte @ (b'"' | b'\''), tail @ ..]) => {
                    quote = Some(*byte);
                    rest = tail;
                }
                (Some(_), []) => return Err(UnbalancedQuotes),
                (Some(b'"'), [b'\\', b'x', high, low, tail @ ..])
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    words.push(hex(*high) << 4 | hex(*low));
                    rest = tail;
                }
                (Some(b'"'), [b'\\', escaped, tail @ ..]) => {
                    words.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => *other,
                    });
                    rest = tail;
                }
                (Some(b'\''), [b'\\', b'\'', tail @ ..]) => {
                    words.push(b'\'');
                    rest = tail;
                }
                (Some(open), [byte, tail @ ..]) if *byte == open => {
                    if tail.first().is_some_and(|&next| !is_space(next)) {
                        return Err(UnbalancedQuotes);
                    }
                    rest = tail;
                    break;
                }
                (_, [byte, tail @ ..]) => {
                    words.push(*byte);
                    rest = tail;
                }
            }
        }
        places.push(start..words.len());
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A') + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: RequestLimits = RequestLimits { bulk_bytes_max: 1 << 20, unauthenticated: false };

    /// Feeds the bytes in pieces that end at `cuts`, as a connection does: what has been measured is cut off, what has not stays.
    fn parse_in_pieces(
        bytes: &[u8],
        cuts: &[usize],
        limits: RequestLimits,
    ) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let mut parser = RequestParser::default();
        let (mut requests, mut buffer) = (Vec::new(), Vec::new());
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut fed = 0;
        for end in ends {
            buffer.extend_from_slice(&bytes[fed..end]);
            fed = end;
            loop {
                match parser.parse(&buffer, limits) {
                    Ok(None) => break,
                    Ok(Some(length)) => {
                        requests.push(parser.arguments(&buffer).iter().map(|arg| arg.to_vec()).collect());
                        buffer.drain(..length);
                        parser.shrink();
                    }
                    Err(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    }

    fn parse(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        parse_in_pieces(bytes, &[], LIMITS)
    }

    fn words(requests: &[Vec<Vec<u8>>]) -> Vec<Vec<String>> {
        requests
            .iter()
            .map(|args| args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect())
            .collect()
    }

    #[test]
    fn arrays_inline_commands_and_empty_requests_follow_each_other() {
        let (requests, error) =
            parse(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nping  x\r\n\r\n*0\r\n*-1\r\nPING\n*1\r\n$0\r\n\r\n");
        assert_eq!(error, None);
        let expected: [&[&str]; 7] = [&["GET", "a"], &["ping", "x"], &[], &[], &[], &["PING"], &[""]];
        assert_eq!(words(&requests), expected);
    }

    #[test]
    fn quotes_in_inline_commands_follow_redis() {
        let (requests, error) = parse(b"set \"a\\x41\\n\\\"\" 'it\\'s \\n' \"\" ''\r\n");
        assert_eq!(error, None);
        assert_eq!(words(&requests), [["set", "aA\n\"", "it's \\n", "", ""]]);
        for line in ["a \"b", "a 'b", "a \"b\"c", "a 'b'c", "\"\\"] {
            let (_, error) = parse(format!("{line}\r\n").as_bytes());
            assert_eq!(error, Some(ProtocolError::UnbalancedQuotes), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_named_in_redis_words() {
        let long = "1".repeat(INLINE_BYTES_MAX + 1);
        for (bytes, text) in [
            ("*x\r\n", "ERR Protocol error: invalid multibulk length"),
            ("*1048577\r\n", "ERR Protocol error: invalid multibulk length"),
            ("*1\r\nx", "ERR Protocol error: expected '$', got 'x'"),
            ("*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
            ("*1\r\n$+1\r\n", "ERR Protocol error: invalid bulk length"),
            ("*1\r\n$01\r\n", "ERR Protocol error: invalid bulk length"),
            ("*1\r\n$1048577\r\n", "ERR Protocol error: invalid bulk length"),
            (&format!("*{long}"), "ERR Protocol error: too big mbulk count string"),
            (&format!("*1\r\n${long}"), "ERR Protocol error: too big bulk count string"),
            (&long, "ERR Protocol error: too big inline request"),
        ] {
            let (_, error) = parse(bytes.as_bytes());
            assert_eq!(
                error.map(|error| error.to_string()).as_deref(),
                Some(text),
                "{:?}",
                &bytes[..bytes.len().min(20)]
            );
        }
    }

    #[test]
    fn whoever_has_not_authenticated_may_send_little() {
        let limits = RequestLimits { unauthenticated: true, ..LIMITS };
        let error = |bytes: &[u8]| parse_in_pieces(bytes, &[], limits).1;
        assert_eq!(error(b"*10\r\n"), None);
        assert_eq!(error(b"*11\r\n"), Some(ProtocolError::UnauthenticatedArgumentCount));
        assert_eq!(error(b"*1\r\n$16384\r\n"), None);
        assert_eq!(error(b"*1\r\n$16385\r\n"), Some(ProtocolError::UnauthenticatedBulkLength));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut parser = RequestParser::default();
        assert_eq!(parser.parse(b"*1048576\r\n$1048576\r\nx", LIMITS), Ok(None));
        assert!(parser.places.capacity() <= PLACES_KEPT);
        assert_eq!(parser.bytes_missing(21), 1_048_577);
    }

    #[test]
    fn integers_are_strict() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), value, "{text:?}");
        }
    }

    fn request() -> impl Strategy<Value = Vec<u8>> {
        let array = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6).prop_map(|args| {
            let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                bytes.extend_from_slice(&arg);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes
        });
        let inline = "[a-z\"' \\\\x0-9]{0,30}\r?\n".prop_map(String::into_bytes);
        let noise = prop::collection::vec(any::<u8>(), 0..20);
        prop_oneof![8 => array, 4 => inline, 1 => noise]
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same(
            pieces in prop::collection::vec(request(), 0..8),
            cuts in prop::collection::vec(any::<usize>(), 0..40),
        ) {
            let bytes = pieces.concat();
            prop_assert_eq!(parse(&bytes), parse_in_pieces(&bytes, &cuts, LIMITS));
        }

        #[test]
        fn arguments_come_out_as_they_went_in(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..20)) {
            let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
            for arg in &args {
                bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                bytes.extend_from_slice(arg);
                bytes.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(parse(&bytes), (vec![args], None));
        }
    }
}
