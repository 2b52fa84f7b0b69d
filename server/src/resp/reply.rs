//! Writes replies in the protocol version that the connection has negotiated.
//!
//! A [`Reply`] appends to one output buffer per connection, in order, and never allocates per reply. What differs between the versions
//! (maps, sets, doubles, booleans, nulls, pushes) differs here and nowhere else: commands say what they mean.

/// The protocol version of a connection; `HELLO` changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, what a connection starts with.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// An output buffer with the writers of each reply type.
#[derive(Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    protocol: Protocol,
}

impl Reply {
    /// An empty buffer that writes `protocol`.
    pub fn new(protocol: Protocol) -> Reply {
        Reply { bytes: Vec::new(), protocol }
    }

    /// The version that replies are written in.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Switches the version, for the replies that follow.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// What has been written and not taken.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer itself, for whoever sends it.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends another reply; without a copy if there is nothing before it.
    pub fn append(&mut self, other: Reply) {
        if self.bytes.is_empty() {
            self.bytes = other.bytes;
        } else {
            self.bytes.extend_from_slice(&other.bytes);
        }
    }

    /// Cuts off all that was written since the buffer was `length` bytes long (a command that failed midway).
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    #[inline]
    fn header(&mut self, kind: u8, number: i64) {
        // Only used below a thousand.
        let small = number as u32;
        let digit = |ten: u32| b'0' + (small / ten % 10) as u8;
        // Of a length that the compiler knows, as nearly all numbers are small: a list of fifty elements has fifty of these lines.
        match number {
            0..=9 => self.bytes.extend_from_slice(&[kind, digit(1), b'\r', b'\n']),
            10..=99 => self.bytes.extend_from_slice(&[kind, digit(10), digit(1), b'\r', b'\n']),
            100..=999 => {
                self.bytes.extend_from_slice(&[kind, digit(100), digit(10), digit(1), b'\r', b'\n']);
            }
            _ => self.long_header(kind, number),
        }
    }

    fn long_header(&mut self, kind: u8, number: i64) {
        let mut digits = itoa::Buffer::new();
        self.bytes.push(kind);
        self.bytes.extend_from_slice(digits.format(number).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; `text` must hold no line break.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.bytes.push(b'+');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// An error: code, space, message (`ERR syntax error`). Line breaks (an argument may carry them) become spaces, those at
    /// the end nothing, as in Redis.
    pub fn error(&mut self, text: &[u8]) {
        let length = text.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |last| last + 1);
        let text = &text[..length];
        self.bytes.push(b'-');
        self.bytes.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.bytes.reserve(bytes.len() + 32);
        // Lengths of anything in memory fit an i64.
        self.header(b'$', bytes.len() as i64);
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The null of the protocol where a bulk string was to be expected.
    pub fn null(&mut self) {
        self.bytes.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The null of the protocol where an array was to be expected.
    pub fn null_array(&mut self) {
        self.bytes.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// A bulk string or null.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// The head of an array; `length` elements follow.
    pub fn array(&mut self, length: usize) {
        self.header(b'*', length as i64);
    }

    /// The head of a map; `pairs` keys and values follow (a flat array in RESP2).
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', pairs as i64 * 2),
            Protocol::Resp3 => self.header(b'%', pairs as i64),
        }
    }

    /// The head of a set; `length` members follow (an array in RESP2).
    pub fn set(&mut self, length: usize) {
        let kind = if self.protocol == Protocol::Resp3 { b'~' } else { b'*' };
        self.header(kind, length as i64);
    }

    /// The head of an out-of-band push; `length` elements follow (an array in RESP2).
    pub fn push(&mut self, length: usize) {
        let kind = if self.protocol == Protocol::Resp3 { b'>' } else { b'*' };
        self.header(kind, length as i64);
    }

    /// A boolean (an integer in RESP2).
    pub fn boolean(&mut self, value: bool) {
        match self.protocol {
            Protocol::Resp2 => self.integer(i64::from(value)),
            Protocol::Resp3 => self.bytes.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// Text for people, of a `format` of three letters (a bulk string in RESP2).
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.bytes.extend_from_slice(format.as_bytes());
                self.bytes.push(b':');
                self.bytes.extend_from_slice(text);
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A whole number of any size, in decimal digits (a bulk string in RESP2).
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => {
                self.bytes.push(b'(');
                self.bytes.extend_from_slice(digits.as_bytes());
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A double, given as its text (a bulk string in RESP2).
    pub fn double_text(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.bytes.push(b',');
                self.bytes.extend_from_slice(text.as_bytes());
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A double (a bulk string in RESP2), with 17 significant digits.
    pub fn double(&mut self, number: f64) {
        let start = self.bytes.len();
        match self.protocol {
            Protocol::Resp2 => {
                // No text is as long as to need a third digit for its length; room for two of them, and the length again if it has one.
                self.bytes.extend_from_slice(b"$00\r\n");
                let text = self.bytes.len();
                super::double::write(&mut self.bytes, number);
                let length = self.bytes.len() - text;
                self.bytes[start + 1] += (length / 10) as u8;
                self.bytes[start + 2] += (length % 10) as u8;
                if length < 10 {
                    self.bytes.remove(start + 1);
                }
            }
            Protocol::Resp3 => {
                self.bytes.push(b',');
                super::double::write(&mut self.bytes, number);
            }
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The head of an attribute; `pairs` keys and values follow, and then the reply that they are about. RESP3 only.
    pub fn attribute(&mut self, pairs: usize) {
        self.header(b'|', pairs as i64);
    }
}
