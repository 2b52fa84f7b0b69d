//! Requests and replies as bytes, for tests: the plainest reading of the protocol, apart from the server's own.

/// One reply, taken apart. Ordered, so that replies in no particular order can be sorted before they are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reply {
    /// The first byte: `+ - : $ * % ~ _ # , = (`; `_` for RESP2's nulls, too.
    pub kind: u8,
    /// What a simple or bulk reply says; empty in an aggregate.
    pub text: Vec<u8>,
    /// An aggregate's elements (a map's keys and values in turn).
    pub elements: Vec<Reply>,
}

impl Reply {
    /// Takes the first reply off `bytes`; its length, too. `None`: there is not all of it yet.
    pub fn parse(bytes: &[u8]) -> Option<(Reply, usize)> {
        let line_end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let (kind, line) = (bytes[0], &bytes[1..line_end]);
        let number = || number(line);
        let mut reply = Reply { kind, text: line.to_vec(), elements: Vec::new() };
        let mut length = line_end + 2;
        match kind {
            b'$' | b'=' if number() >= 0 => {
                let end = length + number() as usize;
                reply.text = bytes.get(length..end)?.to_vec();
                assert_eq!(bytes.get(end..end + 2)?, b"\r\n");
                length = end + 2;
            }
            b'*' | b'~' | b'%' | b'>' if number() >= 0 => {
                reply.text.clear();
                for _ in 0..number() * if kind == b'%' { 2 } else { 1 } {
                    let (element, taken) = Reply::parse(&bytes[length..])?;
                    reply.elements.push(element);
                    length += taken;
                }
            }
            // RESP2's nulls.
            b'$' | b'*' => reply.kind = b'_',
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
            _ => panic!("no reply starts with {:?}", char::from(kind)),
        }
        Some((reply, length))
    }

    pub fn is_null(&self) -> bool {
        self.kind == b'_'
    }

    pub fn integer(&self) -> Option<i64> {
        (self.kind == b':').then(|| number(&self.text))
    }
}

/// Decimal digits with their sign.
pub fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no number: {}", show(text)))
}

/// A request in the form that clients send.
pub fn request(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Bytes for people: printable as they are, the rest escaped, cut when long.
pub fn show(bytes: &[u8]) -> String {
    const BYTES_MAX: usize = 200;
    let shown = bytes[..bytes.len().min(BYTES_MAX)].escape_ascii();
    if bytes.len() > BYTES_MAX {
        format!("\"{shown}\"… ({} bytes)", bytes.len())
    } else {
        format!("\"{shown}\"")
    }
}

/// A command for people.
pub fn show_command(args: &[Vec<u8>]) -> String {
    args.iter().map(|arg| show(arg)).collect::<Vec<_>>().join(" ")
}
