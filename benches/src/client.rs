//! A blocking client that reads whole replies: for what has to be right, not fast.
#![expect(clippy::disallowed_methods, reason = "measures real time")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and the like.
    Simple(String),
    /// An error, with its code.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string.
    Bulk(Vec<u8>),
    /// Nothing there.
    Nil,
    /// Several; a map as names and values in turn.
    Array(Vec<Reply>),
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    requests: Vec<u8>,
    pushed: usize,
}

impl Client {
    /// Connects to a server on this machine.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::with_capacity(64 << 10, stream), requests: Vec::new(), pushed: 0 })
    }

    /// Adds a command to those that [`exchange`](Self::exchange) sends.
    pub fn push(&mut self, command: &[&[u8]]) {
        push_command(&mut self.requests, command);
        self.pushed += 1;
    }

    /// Sends what was pushed, and hands each reply, in order, to `take`.
    ///
    /// # Errors
    ///
    /// When the connection breaks, a reply has an unknown form, or `take` fails.
    pub fn exchange(&mut self, mut take: impl FnMut(usize, Reply) -> io::Result<()>) -> io::Result<()> {
        self.stream.get_mut().write_all(&self.requests)?;
        self.requests.clear();
        for number in 0..std::mem::take(&mut self.pushed) {
            let reply = self.reply()?;
            take(number, reply)?;
        }
        Ok(())
    }

    /// Sends one command and returns its reply.
    ///
    /// # Errors
    ///
    /// As [`exchange`](Self::exchange).
    pub fn call(&mut self, command: &[&[u8]]) -> io::Result<Reply> {
        self.push(command);
        let mut only = Reply::Nil;
        self.exchange(|_, reply| {
            only = reply;
            Ok(())
        })?;
        Ok(only)
    }

    /// Sends one command whose words are given as a text, and fails if the reply is an error.
    ///
    /// # Errors
    ///
    /// As [`exchange`](Self::exchange), or what the server says.
    pub fn command(&mut self, words: &str) -> io::Result<Reply> {
        let command: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        match self.call(&command)? {
            Reply::Error(error) => Err(io::Error::other(format!("{words}: {error}"))),
            reply => Ok(reply),
        }
    }

    /// A number that a command answers.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command), or if the reply is no number.
    pub fn number(&mut self, words: &str) -> io::Result<u64> {
        match self.command(words)? {
            Reply::Integer(number) => Ok(number as u64),
            other => Err(io::Error::other(format!("{words} answered {other:?}"))),
        }
    }

    /// The numbers in a section of `INFO`, by name.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn info(&mut self, section: &str) -> io::Result<BTreeMap<String, u64>> {
        let Reply::Bulk(text) = self.command(&format!("INFO {section}"))? else {
            return Err(io::Error::other("INFO answers no text"));
        };
        let text = String::from_utf8_lossy(&text);
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect())
    }

    /// One number of a section of `INFO`; 0 if it is not there.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn figure(&mut self, section: &str, name: &str) -> io::Result<u64> {
        Ok(self.info(section)?.get(name).copied().unwrap_or(0))
    }

    /// Makes a checkpoint (in Redis, an RDB file) and waits for it, also for one that is under way.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn save(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match self.call(&[b"SAVE"])? {
                Reply::Error(error)
                    if error.contains("in progress") && begun.elapsed() < Duration::from_secs(300) =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Reply::Error(error) => return Err(io::Error::other(error)),
                _ => return Ok(()),
            }
        }
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the server closed the connection"));
        }
        let text = line.trim_end();
        let strange = || io::Error::other(format!("the server answered {text:?}"));
        let (kind, rest) = text.split_at_checked(1).ok_or_else(strange)?;
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(rest.parse().map_err(|_| strange())?),
            "_" => Reply::Nil,
            "$" if rest == "-1" => Reply::Nil,
            "$" => {
                let length: usize = rest.parse().map_err(|_| strange())?;
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Bulk(bytes)
            }
            "*" if rest == "-1" => Reply::Nil,
            "*" => {
                let length: usize = rest.parse().map_err(|_| strange())?;
                Reply::Array((0..length).map(|_| self.reply()).collect::<io::Result<_>>()?)
            }
            _ => return Err(strange()),
        })
    }
}

/// Appends a command in its form on the wire.
pub fn push_command(requests: &mut Vec<u8>, command: &[&[u8]]) {
    write!(requests, "*{}\r\n", command.len()).expect("a vector takes everything");
    for word in command {
        write!(requests, "${}\r\n", word.len()).expect("a vector takes everything");
        requests.extend_from_slice(word);
        requests.extend_from_slice(b"\r\n");
    }
}
