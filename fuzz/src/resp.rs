//! Replies, read back: strictly, as a client would that trusts nothing.

/// A reply of either version of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`
    Simple(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`, `=`; also `_`, and the null bulk and array.
    Bulk(Vec<u8>),
    /// `$-1`, `*-1`, `_`
    Null,
    /// `,`, `(`, `#`
    Scalar(Vec<u8>),
    /// `*`, `~`, `>`, `%` (names and values in turn)
    Array(Vec<Value>),
}

/// The first value and how many bytes it takes; `None` if the bytes end within it.
///
/// # Panics
/// If they are no RESP.
pub fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, line) = (bytes[0], &bytes[1..end]);
    let mut at = end + 2;
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "{:?}", String::from_utf8_lossy(line));
    let number = || std::str::from_utf8(line).expect("digits").parse::<i64>().expect("a number");
    let value = match kind {
        b'+' => Value::Simple(line.to_vec()),
        b'-' => Value::Error(line.to_vec()),
        b':' => Value::Integer(number()),
        b'_' => {
            assert!(line.is_empty());
            Value::Null
        }
        b',' | b'(' | b'#' => Value::Scalar(line.to_vec()),
        b'$' | b'=' | b'!' => match number() {
            -1 => Value::Null,
            length => {
                let length = usize::try_from(length).expect("a length");
                if bytes.len() < at + length + 2 {
                    return None;
                }
                let content = bytes[at..at + length].to_vec();
                assert_eq!(&bytes[at + length..at + length + 2], b"\r\n");
                at += length + 2;
                Value::Bulk(content)
            }
        },
        b'*' | b'~' | b'>' | b'%' | b'|' => match number() {
            -1 => Value::Null,
            length => {
                let length = usize::try_from(length).expect("a length")
                    * if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                let mut items = Vec::new();
                for _ in 0..length {
                    let (item, used) = parse(&bytes[at..])?;
                    at += used;
                    items.push(item);
                }
                Value::Array(items)
            }
        },
        other => panic!("no reply begins with {other:#x}"),
    };
    Some((value, at))
}

/// All values, which there must be nothing behind.
pub fn parse_all(mut bytes: &[u8]) -> Vec<Value> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (value, used) = parse(bytes).expect("a reply is sent as a whole");
        all.push(value);
        bytes = &bytes[used..];
    }
    all
}

/// A request.
pub fn request(args: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}
