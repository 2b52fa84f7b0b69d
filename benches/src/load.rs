//! A closed-loop load generator: each connection sends a batch of commands, waits for all their replies, and sends
//! the next. One epoll per thread, no allocation per command, one clock reading per batch, so that the generator
//! costs less than what it measures. Any error reply, or a missing session, ends the run: a figure of a server that
//! answers wrongly is no figure.
#![expect(clippy::disallowed_methods, reason = "measures real time")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client::push_command;
use crate::disk::Disk;
use crate::server::Server;
use crate::sessions::{self, Random};

/// Messages that a conversation keeps.
pub const CHAT_MESSAGES: usize = 50;

/// What each connection sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A request of a web application: `GET` of a session, then `EXPIRE` of it, over `sessions` existing ones.
    Web {
        /// How many sessions exist.
        sessions: u64,
    },
    /// `SET key value EX` of sessions that did not exist.
    Create {
        /// Bytes of a value.
        value_bytes: usize,
    },
    /// A session kept in a hash: `HSET` of two fields, `HGETALL`, `EXPIRE`, over `sessions` of them.
    Hash {
        /// How many sessions there are.
        sessions: u64,
        /// Bytes of each field's value.
        value_bytes: usize,
    },
    /// A turn of a conversation: `RPUSH` of a message, `LTRIM` and `LRANGE` of the last [`CHAT_MESSAGES`], `EXPIRE`, over `chats` existing
    /// ones.
    Chat {
        /// How many conversations exist.
        chats: u64,
        /// Bytes of a message.
        message_bytes: usize,
    },
    /// `SET key value` over a limited range of keys.
    Set {
        /// How many keys there are.
        keys: u64,
        /// Bytes of a value.
        value_bytes: usize,
    },
}

/// How to load a server.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What to send.
    pub workload: Workload,
    /// Concurrent connections.
    pub connections: usize,
    /// Commands sent before waiting for replies.
    pub depth: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Not measured, at the start.
    pub warm_up: Duration,
    /// Measured.
    pub duration: Duration,
    /// Keeps the new keys of one run apart from those of the others.
    pub run: u64,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Commands per second.
    pub throughput: f64,
    /// Microseconds of the server's CPU per command.
    pub cpu_microseconds: f64,
    /// Median time from sending a batch to its last reply, in microseconds.
    pub p50_microseconds: f64,
    /// The 99th percentile of it.
    pub p99_microseconds: f64,
    /// Bytes that the disk wrote per command, where the disk can tell.
    pub device_bytes: Option<f64>,
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPING: u8 = 2;

/// Loads `server` and measures it.
///
/// # Errors
///
/// When a connection breaks, a reply is an error, or a session that must exist does not.
pub fn run(load: &Load, server: &Server) -> io::Result<Measurement> {
    let phase = AtomicU8::new(WARMING);
    let completed = AtomicU64::new(0);
    let disk = Disk::of(server.directory());
    let sample = || -> io::Result<(Instant, u64, u64, Option<u64>)> {
        let cpu = server.cpu_microseconds()?;
        Ok((
            Instant::now(),
            completed.load(Ordering::Relaxed),
            cpu,
            disk.and_then(|disk| disk.bytes_written()),
        ))
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..load.threads)
            .map(|thread| {
                let (phase, completed) = (&phase, &completed);
                scope.spawn(move || {
                    let outcome = Worker::connect(load, thread, server.port())
                        .and_then(|mut worker| worker.work(phase, completed).map(|()| worker.latencies));
                    // A worker that failed must not leave the others running to the end.
                    if outcome.is_err() {
                        phase.store(STOPPING, Ordering::Relaxed);
                    }
                    outcome
                })
            })
            .collect();
        std::thread::sleep(load.warm_up);
        let before = sample()?;
        let _ = phase.compare_exchange(WARMING, MEASURING, Ordering::Relaxed, Ordering::Relaxed);
        std::thread::sleep(load.duration);
        let after = sample()?;
        phase.store(STOPPING, Ordering::Relaxed);
        let mut latencies = new_histogram();
        for worker in workers {
            let worker_latencies = worker.join().map_err(|_| io::Error::other("a worker panicked"))??;
            latencies.add(worker_latencies).map_err(|error| io::Error::other(error.to_string()))?;
        }
        let commands = (after.1 - before.1) as f64;
        Ok(Measurement {
            throughput: commands / (after.0 - before.0).as_secs_f64(),
            cpu_microseconds: (after.2 - before.2) as f64 / commands,
            p50_microseconds: latencies.value_at_quantile(0.50) as f64 / 1e3,
            p99_microseconds: latencies.value_at_quantile(0.99) as f64 / 1e3,
            device_bytes: before.3.zip(after.3).map(|(before, after)| (after - before) as f64 / commands),
        })
    })
}

/// Creates sessions 0 to `count` with the given value size and an hour to live.
///
/// # Errors
///
/// When the connection breaks or a reply is not `+OK`.
pub fn fill(server: &Server, count: u64, value_bytes: usize) -> io::Result<()> {
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))?;
    let mut number = 0;
    while number < count {
        let end = (number + 500).min(count);
        let mut request = Vec::new();
        for session in number..end {
            set_with_expiry(&mut request, session, &sessions::value(session, value_bytes));
        }
        stream.write_all(&request)?;
        let mut replies = vec![0; 5 * (end - number) as usize];
        stream.read_exact(&mut replies)?;
        if let Some(wrong) = replies.chunks(5).find(|reply| *reply != b"+OK\r\n") {
            return Err(io::Error::other(format!("SET answered {}", wrong.escape_ascii())));
        }
        number = end;
    }
    Ok(())
}

/// Creates conversations 0 to `count`, each with as many messages as it keeps and an hour to live.
///
/// # Errors
///
/// When the connection breaks or a reply is an error.
pub fn fill_chats(server: &Server, count: u64, message_bytes: usize) -> io::Result<()> {
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))?;
    let mut buffer = vec![0; 64 << 10];
    for chat in 0..count {
        let (key, message) = (sessions::key(chat), sessions::value(chat, message_bytes));
        let mut push: Vec<&[u8]> = vec![b"RPUSH", &key];
        push.resize(2 + CHAT_MESSAGES, &message);
        let mut request = Vec::new();
        push_command(&mut request, &push);
        push_command(&mut request, &[b"EXPIRE", &key, b"3600"]);
        stream.write_all(&request)?;
        let (mut replies, mut counter) = (0, ReplyCounter { any_integer: true, ..ReplyCounter::default() });
        while replies < 2 {
            match stream.read(&mut buffer)? {
                0 => return Err(io::Error::other("the server closed the connection")),
                count => replies += counter.count(&buffer[..count])?,
            }
        }
    }
    Ok(())
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 120_000_000_000, 3).expect("the bounds are in order")
}

/// One thread and its connections.
struct Worker {
    poll: Poll,
    connections: Vec<Connection>,
    latencies: Histogram<u64>,
    depth: u64,
    buffer: Vec<u8>,
}

impl Worker {
    fn connect(load: &Load, thread: usize, port: u16) -> io::Result<Worker> {
        let poll = Poll::new()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut connections = Vec::new();
        for number in (thread..load.connections).step_by(load.threads) {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let token = Token(connections.len());
            poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Connection::new(stream, load, number as u64));
        }
        let depth = load.depth as u64;
        Ok(Worker { poll, connections, latencies: new_histogram(), depth, buffer: vec![0; 64 * 1024] })
    }

    fn work(&mut self, phase: &AtomicU8, completed: &AtomicU64) -> io::Result<()> {
        if self.connections.is_empty() {
            return Ok(());
        }
        let mut events = Events::with_capacity(1024);
        for connection in &mut self.connections {
            connection.next_batch(Instant::now())?;
        }
        let mut busy = self.connections.len();
        while busy > 0 {
            self.poll.poll(&mut events, Some(Duration::from_secs(30)))?;
            if events.is_empty() {
                return Err(io::Error::other("no reply for 30 seconds"));
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if event.is_writable() {
                    connection.write_rest()?;
                }
                if !event.is_readable() || connection.outstanding == 0 {
                    continue;
                }
                connection.read_replies(&mut self.buffer)?;
                if connection.outstanding > 0 {
                    continue;
                }
                completed.fetch_add(self.depth, Ordering::Relaxed);
                let now = Instant::now();
                let phase = phase.load(Ordering::Relaxed);
                if phase == MEASURING {
                    self.latencies.saturating_record((now - connection.sent).as_nanos() as u64);
                }
                if phase == STOPPING {
                    busy -= 1;
                } else {
                    connection.next_batch(now)?;
                }
            }
        }
        Ok(())
    }
}

/// One connection with at most one batch under way.
struct Connection {
    stream: TcpStream,
    workload: Workload,
    depth: usize,
    random: Random,
    next_new: u64,
    /// The session or conversation that the commands are about, and how many of them were sent.
    current: u64,
    turn: usize,
    value: Vec<u8>,
    request: Vec<u8>,
    written: usize,
    outstanding: usize,
    sent: Instant,
    replies: ReplyCounter,
}

impl Connection {
    fn new(stream: TcpStream, load: &Load, number: u64) -> Connection {
        let value_bytes = match load.workload {
            Workload::Web { .. } => 0,
            Workload::Create { value_bytes }
            | Workload::Set { value_bytes, .. }
            | Workload::Hash { value_bytes, .. }
            | Workload::Chat { message_bytes: value_bytes, .. } => value_bytes,
        };
        Connection {
            stream,
            workload: load.workload,
            depth: load.depth,
            random: Random::new(number ^ (load.run << 32)),
            // New sessions of a run and connection: a range that no other one touches.
            next_new: (1 << 60) | (load.run << 44) | (number << 32),
            current: 0,
            turn: usize::MAX,
            value: sessions::value(number, value_bytes.max(120)),
            request: Vec::new(),
            written: 0,
            outstanding: 0,
            sent: Instant::now(),
            replies: ReplyCounter {
                any_integer: matches!(load.workload, Workload::Hash { .. } | Workload::Chat { .. }),
                ..ReplyCounter::default()
            },
        }
    }

    fn next_batch(&mut self, now: Instant) -> io::Result<()> {
        self.request.clear();
        self.written = 0;
        for _ in 0..self.depth {
            self.push_command();
        }
        self.outstanding = self.depth;
        self.sent = now;
        self.write_rest()
    }

    fn push_command(&mut self) {
        match self.workload {
            Workload::Web { sessions } => {
                let key = self.next_turn(sessions, 2);
                match self.turn {
                    0 => push_command(&mut self.request, &[b"GET", &key]),
                    _ => push_command(&mut self.request, &[b"EXPIRE", &key, b"1800"]),
                }
            }
            Workload::Hash { sessions, .. } => {
                let key = self.next_turn(sessions, 3);
                match self.turn {
                    0 => {
                        let fields = [b"HSET", &key[..], b"user", &self.value, b"cart", &self.value];
                        push_command(&mut self.request, &fields);
                    }
                    1 => push_command(&mut self.request, &[b"HGETALL", &key]),
                    _ => push_command(&mut self.request, &[b"EXPIRE", &key, b"1800"]),
                }
            }
            Workload::Chat { chats, .. } => {
                let key = self.next_turn(chats, 4);
                match self.turn {
                    0 => push_command(&mut self.request, &[b"RPUSH", &key, &self.value]),
                    1 => push_command(&mut self.request, &[b"LTRIM", &key, b"-50", b"-1"]),
                    2 => push_command(&mut self.request, &[b"LRANGE", &key, b"-50", b"-1"]),
                    _ => push_command(&mut self.request, &[b"EXPIRE", &key, b"1800"]),
                }
            }
            Workload::Create { .. } => {
                self.next_new += 1;
                set_with_expiry(&mut self.request, self.next_new, &self.value);
            }
            Workload::Set { keys, .. } => {
                let session = self.random.below(keys);
                push_set(&mut self.request, b"*3", session, &self.value);
            }
        }
    }

    /// Goes on to the next of the `turns` commands about a key, or to another of `keys` of them; the key.
    fn next_turn(&mut self, keys: u64, turns: usize) -> [u8; sessions::KEY_BYTES] {
        self.turn = self.turn.wrapping_add(1) % turns;
        if self.turn == 0 {
            self.current = self.random.below(keys);
        }
        sessions::key(self.current)
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until nothing more is there; a read that does not fill the buffer has emptied the socket.
    fn read_replies(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(count) => {
                    let replies = self.replies.count(&buffer[..count])?;
                    self.outstanding = self
                        .outstanding
                        .checked_sub(replies)
                        .ok_or_else(|| io::Error::other("more replies than commands"))?;
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn set_with_expiry(request: &mut Vec<u8>, session: u64, value: &[u8]) {
    push_set(request, b"*5", session, value);
    request.extend_from_slice(b"$2\r\nEX\r\n$4\r\n3600\r\n");
}

fn push_set(request: &mut Vec<u8>, count: &[u8], session: u64, value: &[u8]) {
    request.extend_from_slice(count);
    request.extend_from_slice(b"\r\n$3\r\nSET\r\n$37\r\n");
    request.extend_from_slice(&sessions::key(session));
    request.extend_from_slice(b"\r\n");
    write!(request, "${}\r\n", value.len()).expect("a vector takes everything");
    request.extend_from_slice(value);
    request.extend_from_slice(b"\r\n");
}

/// Counts replies in a stream of bytes, in pieces as they come.
#[derive(Debug, Default)]
struct ReplyCounter {
    /// The head line of a reply whose end has not come yet.
    line: Vec<u8>,
    /// Bytes of a bulk body, with its CRLF, still to come.
    body: usize,
    /// Elements of an array still to come.
    elements: usize,
    /// Any integer is a good answer, and not only what `EXPIRE` says of a session that exists.
    any_integer: bool,
}

impl ReplyCounter {
    /// The replies that end with a value that is no array: none within one.
    fn end_of_one(&mut self) -> usize {
        match self.elements {
            0 => 1,
            left => {
                self.elements = left - 1;
                usize::from(left == 1)
            }
        }
    }

    fn count(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let mut replies = 0;
        while !bytes.is_empty() {
            if self.body > 0 {
                let taken = self.body.min(bytes.len());
                self.body -= taken;
                bytes = &bytes[taken..];
                if self.body == 0 {
                    replies += self.end_of_one();
                }
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(bytes);
                break;
            };
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let wrong =
                |line: &[u8]| io::Error::other(format!("the server answered {}", line.escape_ascii()));
            match self.line.first() {
                Some(b'+') => replies += self.end_of_one(),
                Some(b':') if self.any_integer || self.line.starts_with(b":1") => {
                    replies += self.end_of_one();
                }
                Some(kind @ (b'$' | b'*')) => {
                    let is_array = *kind == b'*';
                    let length =
                        std::str::from_utf8(&self.line[1..]).ok().and_then(|text| text.trim().parse().ok());
                    let length: usize = length.ok_or_else(|| wrong(&self.line))?;
                    match is_array {
                        false => self.body = length + 2,
                        // There is something in every hash and list.
                        true if length > 0 && self.elements == 0 => self.elements = length,
                        true => return Err(wrong(&self.line)),
                    }
                }
                _ => return Err(wrong(&self.line)),
            }
            self.line.clear();
        }
        Ok(replies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let stream = b"$5\r\nhello\r\n:1\r\n$0\r\n\r\n+OK\r\n$3\r\na\nb\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n";
        for first in 0..stream.len() {
            let mut counter = ReplyCounter::default();
            let count = counter.count(&stream[..first]).expect("valid")
                + counter.count(&stream[first..]).expect("valid");
            assert_eq!(count, 7, "cut at {first}");
        }
    }

    #[test]
    fn errors_and_missing_sessions_end_the_run() {
        for reply in [&b"-ERR no\r\n"[..], b"$-1\r\n", b":0\r\n", b"_\r\n", b"*0\r\n"] {
            assert!(ReplyCounter::default().count(reply).is_err(), "{}", reply.escape_ascii());
        }
    }
}
