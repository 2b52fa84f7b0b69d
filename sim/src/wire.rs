//! The Redis protocol as a client sees it: requests encoded, replies read. Written for this crate alone, so that a mistake of the server's
//! own encoder does not excuse itself.

use std::fmt;

/// What a server answers, in version 2 of the protocol.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `+OK`
    Simple(Vec<u8>),
    /// `-ERR …`, without the dash.
    Error(Vec<u8>),
    /// `:1`
    Integer(i64),
    /// `$3 abc`
    Bulk(Vec<u8>),
    /// A null, of either kind.
    Nil,
    /// `*2 …`
    Array(Vec<Value>),
}

impl Value {
    /// `+OK`.
    pub fn ok() -> Value {
        Value::Simple(b"OK".to_vec())
    }

    /// An integer of whatever size.
    pub fn count(count: usize) -> Value {
        Value::Integer(count as i64)
    }

    /// An error; only its first word counts when replies are compared.
    pub fn error(text: &str) -> Value {
        Value::Error(text.as_bytes().to_vec())
    }

    /// The first word of an error.
    pub fn error_code(&self) -> Option<&[u8]> {
        match self {
            Value::Error(text) => text.split(|&byte| byte == b' ').next(),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn elements(&self) -> &[Value] {
        match self {
            Value::Array(elements) => elements,
            _ => &[],
        }
    }

    /// Whether this is what was expected: exactly, but for the texts of errors behind their code.
    pub fn is_as(&self, expected: &Value) -> bool {
        match (self, expected) {
            (Value::Error(_), Value::Error(_)) => self.error_code() == expected.error_code(),
            (Value::Array(here), Value::Array(there)) => {
                here.len() == there.len() && here.iter().zip(there).all(|(here, there)| here.is_as(there))
            }
            _ => self == expected,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(f, "+{}", shown(text)),
            Value::Error(text) => write!(f, "-{}", shown(text)),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Bulk(bytes) => write!(f, "\"{}\"", shown(bytes)),
            Value::Nil => f.write_str("nil"),
            Value::Array(elements) => f.debug_list().entries(elements).finish(),
        }
    }
}

/// Bytes for a person: long ones by their beginning and length.
pub fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = bytes.get(..LONGEST).unwrap_or(bytes).escape_ascii().to_string();
    if bytes.len() > LONGEST { format!("{text}…({})", bytes.len()) } else { text }
}

/// Appends a request.
pub fn encode(args: &[Vec<u8>], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads one reply at the start of `bytes`; it and its length. `None` if it is not all there.
///
/// # Errors
/// What is no reply.
pub fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, String> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let Some((&kind, line)) = bytes.get(..end).and_then(<[u8]>::split_first) else {
        return Err("an empty line where a reply begins".to_owned());
    };
    let mut at = end + 2;
    let number = || {
        std::str::from_utf8(line)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or_else(|| format!("no number: {}", shown(line)))
    };
    let value = match kind {
        b'+' => Value::Simple(line.to_vec()),
        b'-' => Value::Error(line.to_vec()),
        b':' => Value::Integer(number()?),
        b'$' => match number()? {
            -1 => Value::Nil,
            length => {
                let length = usize::try_from(length).map_err(|_| "a negative length".to_owned())?;
                let Some(body) = bytes.get(at..at + length + 2) else { return Ok(None) };
                at += length + 2;
                let Some(content) = body.strip_suffix(b"\r\n") else {
                    return Err(format!("a string that does not end: {}", shown(body)));
                };
                Value::Bulk(content.to_vec())
            }
        },
        b'*' => match number()? {
            -1 => Value::Nil,
            count => {
                let mut elements = Vec::new();
                for _ in 0..count {
                    let Some((element, length)) = parse(bytes.get(at..).unwrap_or_default())? else {
                        return Ok(None);
                    };
                    elements.push(element);
                    at += length;
                }
                Value::Array(elements)
            }
        },
        _ => return Err(format!("no reply: {}", shown(bytes))),
    };
    Ok(Some((value, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_once_it_is_all_there() {
        let bytes = b"*3\r\n$2\r\na\n\r\n:-5\r\n*-1\r\n+next\r\n";
        let (value, length) = parse(bytes).expect("a reply").expect("all there");
        assert_eq!(value, Value::Array(vec![Value::Bulk(b"a\n".to_vec()), Value::Integer(-5), Value::Nil]));
        assert_eq!(&bytes[length..], b"+next\r\n");
        for cut in 0..length {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
        }
        assert!(parse(b"?\r\n").is_err());
    }
}
