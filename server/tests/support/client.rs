//! A tiny blocking client for RESP2 and RESP3, independent of the server's own parser so that the two cannot agree
//! on a mistake. It panics on bytes that are not RESP: to a test that is a failure of the server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// How long a reply may take before the test calls the server hung.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// One reply, of either protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Double(String),
    Boolean(bool),
    BigNumber(String),
    Verbatim(Vec<u8>),
    Push(Vec<Value>),
}

impl Value {
    pub(crate) fn ok() -> Value {
        Value::Simple("OK".to_owned())
    }

    pub(crate) fn bulk(bytes: impl AsRef<[u8]>) -> Value {
        Value::Bulk(bytes.as_ref().to_vec())
    }

    pub(crate) fn is_error(&self, prefix: &str) -> bool {
        matches!(self, Value::Error(text) if text.starts_with(prefix))
    }

    /// The text of a bulk, simple or verbatim reply; a test that asks for it of another kind has failed.
    pub(crate) fn text(&self) -> String {
        match self {
            Value::Bulk(bytes) | Value::Verbatim(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Simple(text) => text.clone(),
            other => panic!("not a text: {other:?}"),
        }
    }

    pub(crate) fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            other => panic!("not an array: {other:?}"),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client { stream, input: Vec::new(), at: 0 })
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends one command and waits for its reply.
    pub(crate) fn call<Argument: AsRef<[u8]>>(&mut self, arguments: &[Argument]) -> io::Result<Value> {
        let mut bytes = Vec::new();
        encode(&mut bytes, arguments);
        self.send(&bytes)?;
        self.receive()
    }

    /// Like [`call`](Self::call), of words separated by spaces; a broken connection fails the test.
    pub(crate) fn command(&mut self, words: &str) -> Value {
        let arguments: Vec<&str> = words.split(' ').collect();
        self.call(&arguments).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply, waiting for it.
    pub(crate) fn receive(&mut self) -> io::Result<Value> {
        let kind = self.byte()?;
        let line = self.line()?;
        let text = || String::from_utf8_lossy(&line).into_owned();
        Ok(match kind {
            b'+' => Value::Simple(text()),
            b'-' => Value::Error(text()),
            b':' => Value::Integer(number(&line)),
            b'_' => Value::Null,
            b',' => Value::Double(text()),
            b'#' => Value::Boolean(line == b"t"),
            b'(' => Value::BigNumber(text()),
            b'$' | b'=' | b'!' => match number(&line) {
                -1 => Value::Null,
                length => {
                    let body = self.exactly(length as usize)?;
                    assert_eq!(self.exactly(2)?, b"\r\n", "a bulk reply must end in CRLF");
                    match kind {
                        b'$' => Value::Bulk(body),
                        // "txt:" or "mkd:" comes before the text.
                        b'=' => Value::Verbatim(body[4..].to_vec()),
                        _ => Value::Error(String::from_utf8_lossy(&body).into_owned()),
                    }
                }
            },
            b'*' | b'~' | b'>' => match number(&line) {
                -1 => Value::Null,
                length => {
                    let items = (0..length).map(|_| self.receive()).collect::<io::Result<_>>()?;
                    match kind {
                        b'*' => Value::Array(items),
                        b'~' => Value::Set(items),
                        _ => Value::Push(items),
                    }
                }
            },
            b'%' => Value::Map(
                (0..number(&line))
                    .map(|_| Ok((self.receive()?, self.receive()?)))
                    .collect::<io::Result<_>>()?,
            ),
            other => panic!("a reply cannot start with {:?} (then {:?})", other as char, text()),
        })
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        }
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(&chunk[..count]);
        Ok(())
    }

    fn byte(&mut self) -> io::Result<u8> {
        while self.at == self.input.len() {
            self.fill()?;
        }
        self.at += 1;
        Ok(self.input[self.at - 1])
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\r' => {
                    assert_eq!(self.byte()?, b'\n', "a carriage return inside a reply line");
                    return Ok(line);
                }
                byte => line.push(byte),
            }
        }
    }

    fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.input.len() - self.at < count {
            self.fill()?;
        }
        let bytes = self.input[self.at..self.at + count].to_vec();
        self.at += count;
        Ok(bytes)
    }
}

/// Appends one command in RESP's array form.
pub(crate) fn encode<Argument: AsRef<[u8]>>(bytes: &mut Vec<u8>, arguments: &[Argument]) {
    bytes.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
}

fn number(line: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(line);
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not an integer"))
}
