//! Load at a fixed rate, whatever the server does: each request has a moment at which it is due, and its latency counts from then. A server that
//! stalls finds all that came due meanwhile waiting, and each of it is late; a closed loop would have waited with it and seen one late reply
//! (coordinated omission). One thread, which never sleeps, so that no timer's slack is measured. Every value is compared.
#![expect(clippy::disallowed_methods, reason = "measures real time")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client::push_command;
use crate::sessions::{self, Random};

/// What to send, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Requests per second.
    pub rate: u64,
    /// Connections that take turns.
    pub connections: usize,
    /// Sessions, all of which exist and stay.
    pub sessions: Range<u64>,
    /// Of a hundred requests, so many are `EXPIRE`.
    pub touches_percent: u64,
    /// Of a hundred requests, so many are `SET` (with the value that the session has). The others are `GET`.
    pub writes_percent: u64,
}

/// How many phases latencies can be told apart by.
pub const PHASES: usize = 4;

/// A load under way; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    phase: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Vec<Histogram<u64>>>>>,
}

impl Running {
    /// Requests that come due from now on count to phase `phase`.
    pub fn enter(&self, phase: usize) {
        self.phase.store(phase.min(PHASES - 1), Ordering::Relaxed);
    }

    /// Whether it goes on: an error ends it early.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops it and waits for the last replies. The latencies of each phase, in ns.
    ///
    /// # Errors
    ///
    /// When a connection broke, a reply was an error or a value wrong.
    pub fn finish(mut self) -> io::Result<Vec<Histogram<u64>>> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(io::Error::other("the generator panicked")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Begins to load the server at `port`, in phase 0.
///
/// # Errors
///
/// When it can't be connected to.
pub fn start(port: u16, plan: Plan) -> io::Result<Running> {
    let phase = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let generator = Generator::connect(port, plan)?;
    let thread = {
        let (phase, stop) = (Arc::clone(&phase), Arc::clone(&stop));
        std::thread::Builder::new()
            .name("generator".to_owned())
            .spawn(move || generator.work(&phase, &stop))?
    };
    Ok(Running { phase, stop, thread: Some(thread) })
}

/// A percentile of a histogram of ns, in µs.
pub fn microseconds(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}

#[derive(Clone, Copy)]
enum Expected {
    Value,
    Ok,
    One,
}

/// A request whose reply has not come.
struct Outstanding {
    due_ns: u64,
    phase: usize,
    session: u64,
    expected: Expected,
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    outstanding: VecDeque<Outstanding>,
}

struct Generator {
    plan: Plan,
    poll: Poll,
    connections: Vec<Connection>,
    random: Random,
    latencies: Vec<Histogram<u64>>,
    buffer: Vec<u8>,
}

/// How long the last replies may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Generator {
    fn connect(port: u16, plan: Plan) -> io::Result<Generator> {
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for number in 0..plan.connections.max(1) {
            let stream = std::net::TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            connections.push(Connection {
                stream,
                out: Vec::new(),
                written: 0,
                input: Vec::new(),
                outstanding: VecDeque::new(),
            });
        }
        let new = || Histogram::new_with_bounds(1_000, 120_000_000_000, 3);
        let latencies: Result<Vec<_>, _> = (0..PHASES).map(|_| new()).collect();
        Ok(Generator {
            random: Random::new(plan.sessions.start ^ 0x0be1),
            plan,
            poll,
            connections,
            latencies: latencies.map_err(|error| io::Error::other(error.to_string()))?,
            buffer: vec![0; 256 << 10],
        })
    }

    fn work(mut self, phase: &AtomicUsize, stop: &AtomicBool) -> io::Result<Vec<Histogram<u64>>> {
        let mut events = Events::with_capacity(256);
        let begun = Instant::now();
        let (mut sent, mut turn) = (0u64, 0);
        let due_ns = |sent: u64| sent * 1_000_000_000 / self.plan.rate.max(1);
        let mut stopped: Option<Instant> = None;
        loop {
            let now_ns = begun.elapsed().as_nanos() as u64;
            if stop.load(Ordering::Relaxed) {
                let since = *stopped.get_or_insert_with(Instant::now);
                if self.connections.iter().all(|connection| connection.outstanding.is_empty()) {
                    return Ok(self.latencies);
                }
                if since.elapsed() > PATIENCE {
                    return Err(io::Error::other("replies did not come within 30 s"));
                }
            } else {
                let phase = phase.load(Ordering::Relaxed);
                while due_ns(sent) <= now_ns {
                    turn = (turn + 1) % self.connections.len();
                    push_request(
                        &mut self.connections[turn],
                        &self.plan,
                        &mut self.random,
                        due_ns(sent),
                        phase,
                    );
                    sent += 1;
                }
            }
            for connection in &mut self.connections {
                connection.write_rest()?;
            }
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                connection.read_all(&mut self.buffer)?;
                let now_ns = begun.elapsed().as_nanos() as u64;
                connection.take_replies(|request| {
                    self.latencies[request.phase].saturating_record(now_ns.saturating_sub(request.due_ns));
                })?;
            }
        }
    }
}

fn push_request(connection: &mut Connection, plan: &Plan, random: &mut Random, due_ns: u64, phase: usize) {
    let session = plan.sessions.start + random.below(plan.sessions.end - plan.sessions.start);
    let key = sessions::key(session);
    let draw = random.below(100);
    let expected = if draw < plan.touches_percent {
        push_command(&mut connection.out, &[b"EXPIRE", &key, b"7200"]);
        Expected::One
    } else if draw < plan.touches_percent + plan.writes_percent {
        push_command(&mut connection.out, &[b"SET", &key, &sessions::document(session), b"EX", b"7200"]);
        Expected::Ok
    } else {
        push_command(&mut connection.out, &[b"GET", &key]);
        Expected::Value
    };
    connection.outstanding.push_back(Outstanding { due_ns, phase, session, expected });
}

impl Connection {
    fn write_rest(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn read_all(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(count) => {
                    self.input.extend_from_slice(&buffer[..count]);
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

    /// Takes the whole replies that have come, each with its request.
    fn take_replies(&mut self, mut take: impl FnMut(&Outstanding)) -> io::Result<()> {
        let mut at = 0;
        while let Some((reply, value, end)) = next_reply(&self.input[at..])? {
            let request = self.outstanding.pop_front();
            let request = request.ok_or_else(|| io::Error::other("more replies than requests"))?;
            let right = match request.expected {
                Expected::Ok => reply == b"+OK",
                Expected::One => reply == b":1",
                Expected::Value => value.is_some_and(|value| value == sessions::document(request.session)),
            };
            if !right {
                let said = value.unwrap_or(reply).escape_ascii().to_string();
                return Err(io::Error::other(format!("WRONG REPLY for session {}: {said}", request.session)));
            }
            take(&request);
            at += end;
        }
        self.input.drain(..at);
        Ok(())
    }
}

/// The first reply of a stream, if it is whole: its line without the end, its value if it has one, and its length.
#[expect(clippy::type_complexity, reason = "a line, a value and a length")]
fn next_reply(input: &[u8]) -> io::Result<Option<(&[u8], Option<&[u8]>, usize)>> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = input[..end].trim_ascii_end();
    let Some(length) = line.strip_prefix(b"$").filter(|length| *length != b"-1") else {
        return Ok(Some((line, None, end + 1)));
    };
    let length = std::str::from_utf8(length).ok().and_then(|text| text.parse::<usize>().ok());
    let length = length.ok_or_else(|| io::Error::other("a length is no number"))?;
    let whole = end + 1 + length + 2;
    Ok((input.len() >= whole).then(|| (line, Some(&input[end + 1..end + 1 + length]), whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_once_they_are_whole() {
        let stream = b"$5\r\nhe\nlo\r\n:1\r\n";
        for end in 0..11 {
            assert!(next_reply(&stream[..end]).expect("valid").is_none(), "{end}");
        }
        let (line, value, length) = next_reply(stream).expect("valid").expect("whole");
        assert_eq!((line, value, length), (&b"$5"[..], Some(&b"he\nlo"[..]), 11));
        assert_eq!(next_reply(&stream[11..]).expect("valid").expect("whole"), (&b":1"[..], None, 4));
    }
}
