//! Reads replies without keeping them: a reply of a hundred megabytes costs the drill no more than its time.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::io::{self, Read};
use std::net::TcpStream;

/// What is kept of a connection's last words.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A connection whose replies are counted rather than read.
pub(crate) struct Skim {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
}

impl Skim {
    pub(crate) fn new(stream: TcpStream) -> Skim {
        Skim { stream, buffer: vec![0; 64 * 1024], at: 0, end: 0 }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Skips the next reply; its first line. Bytes that are no reply fail the test.
    pub(crate) fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut first = None;
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            let line = self.line()?;
            let kind = line.first().copied().unwrap_or_default();
            let count = || -> i64 {
                let digits = String::from_utf8_lossy(line.get(1..).unwrap_or_default()).into_owned();
                digits.parse().unwrap_or_else(|_| panic!("no count: {:?}", line.escape_ascii().to_string()))
            };
            match kind {
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
                b'$' | b'=' | b'!' => {
                    if let Ok(length) = u64::try_from(count()) {
                        self.skip(length + 2)?;
                    }
                }
                b'*' | b'~' | b'>' => left += count().max(0) as u64,
                b'%' | b'|' => left += 2 * count().max(0) as u64,
                _ => panic!("a reply cannot start with {:?}", line.escape_ascii().to_string()),
            }
            first.get_or_insert(line);
        }
        Ok(first.unwrap_or_default())
    }

    /// All that comes until the connection is closed, the beginning of it; a reset counts as closed.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut kept = Vec::new();
        loop {
            let ready = self.buffer.get(self.at..self.end).unwrap_or_default();
            let room = KEPT_BYTES_MAX - kept.len().min(KEPT_BYTES_MAX);
            kept.extend_from_slice(&ready[..ready.len().min(room)]);
            self.at = self.end;
            match self.refill() {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::BrokenPipe
                    ) =>
                {
                    return Ok(kept);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        let count = self.stream.read(&mut self.buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.at, self.end) = (0, count);
        Ok(())
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            if self.at == self.end {
                self.refill()?;
            }
            let ready = &self.buffer[self.at..self.end];
            if let Some(found) = ready.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(&ready[..found]);
                self.at += found + 1;
                assert_eq!(line.pop(), Some(b'\r'), "a line of a reply ends in CRLF");
                return Ok(line);
            }
            line.extend_from_slice(ready);
            self.at = self.end;
        }
    }

    fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            if self.at == self.end {
                self.refill()?;
            }
            let taken = count.min((self.end - self.at) as u64);
            self.at += taken as usize;
            count -= taken;
        }
        Ok(())
    }
}
