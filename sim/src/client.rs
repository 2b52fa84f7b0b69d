//! A simulated client: what it has sent, what of that was executed, and what it has been answered.
//!
//! A reply exists twice: when the server writes it, the simulator looks at it and at once knows what was executed, in which order; when it
//! leaves the connection, it is acknowledged, and must be what was written.

use crate::model::{Id, Item};
use crate::wire::{Value, encode, parse, shown};
use sessile_server::client::{Client, ClientCard};
use sessile_server::connection::Connection;
use sessile_server::errand::Errand;
use sessile_server::server::Server;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The arguments of a request.
pub type Args = Vec<Vec<u8>>;

/// A request on its way.
#[derive(Debug)]
struct Request {
    args: Args,
    /// Where it ends among all bytes that the client ever sends.
    end: u64,
}

/// A reply that was written and has not left.
#[derive(Debug)]
struct Written {
    bytes: Vec<u8>,
    /// The commit that it acknowledges.
    commit: Option<usize>,
}

/// A key that is watched, as it was seen.
#[derive(Debug)]
pub struct Watched {
    /// The key.
    pub id: Id,
    /// When the item that was there dies; `None` if there was none alive.
    pub dies_ms: Option<u64>,
    /// Whether it has changed.
    pub changed: Changed,
}

/// Whether a watched key has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// Nobody wrote to it.
    No,
    /// It was written to, and is as before.
    Perhaps,
    /// It is not as it was.
    Yes,
}

impl Changed {
    /// What a write made of a key.
    pub fn by(before: Option<&Rc<Item>>, after: Option<&Rc<Item>>, now_ms: u64) -> Changed {
        let is_dead = |item: Option<&Rc<Item>>| item.is_none_or(|item| item.dies_ms() <= now_ms);
        match (before, after) {
            (None, None) => Changed::No,
            (Some(before), Some(after)) if Rc::ptr_eq(before, after) => Changed::No,
            (Some(before), Some(after)) if before == after => Changed::Perhaps,
            // Made, and dead at once.
            (before, after) if is_dead(before) && is_dead(after) => Changed::Perhaps,
            _ => Changed::Yes,
        }
    }
}

/// What the server knows of a client between its requests.
#[derive(Debug, Default)]
pub struct Session {
    /// The database it has selected.
    pub database: u8,
    /// The commands since `MULTI`.
    pub queue: Option<Vec<Args>>,
    /// One of them was refused.
    pub failed: bool,
    /// What it watches.
    pub watched: Vec<Watched>,
}

/// See the module's page.
pub struct SimClient {
    /// The server's side of it.
    pub connection: Connection,
    card: Arc<ClientCard>,
    /// What the server knows of it.
    pub session: Session,
    /// It listens to what expires, and sends nothing else.
    pub listens: bool,
    /// An errand that is out.
    pub errand: Option<Box<Errand>>,
    requests: VecDeque<Request>,
    /// Encoded and not fed.
    outbox: Vec<u8>,
    sent: u64,
    fed: u64,
    /// Bytes of replies seen as they were written, and bytes that have left.
    seen: u64,
    left: u64,
    written: VecDeque<Written>,
    received: Vec<u8>,
}

impl SimClient {
    /// One that has just arrived, at a place of the only loop.
    pub fn new(server: &Server, place: usize) -> SimClient {
        let card = server.clients.join(sessile_server::client::Origin::none(), server.db.now_ms());
        *card.place.lock() = Some((0, place));
        SimClient {
            connection: Connection::new(Client::new(Arc::clone(&card), &server.acl)),
            card,
            session: Session::default(),
            listens: false,
            errand: None,
            requests: VecDeque::new(),
            outbox: Vec::new(),
            sent: 0,
            fed: 0,
            seen: 0,
            left: 0,
            written: VecDeque::new(),
            received: Vec::new(),
        }
    }

    /// Writes a request, to be fed.
    pub fn send(&mut self, args: Args) {
        let before = self.outbox.len();
        encode(&args, &mut self.outbox);
        self.sent += (self.outbox.len() - before) as u64;
        self.requests.push_back(Request { args, end: self.sent });
    }

    /// Whether everything it has written was executed.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many bytes wait to be fed.
    pub fn unfed(&self) -> usize {
        self.outbox.len()
    }

    /// Takes so many bytes to feed them.
    pub fn feed(&mut self, count: usize) -> Vec<u8> {
        let rest = self.outbox.split_off(count);
        self.fed += count as u64;
        std::mem::replace(&mut self.outbox, rest)
    }

    /// The first request that was not executed, if all of it was fed.
    pub fn unfinished(&self) -> Option<&Args> {
        self.requests.front().filter(|request| request.end <= self.fed).map(|request| &request.args)
    }

    /// Whether it has been told something.
    pub fn is_told(&self) -> bool {
        self.card.inbox.is_filled()
    }

    /// The requests that were executed since the last look, with what was answered.
    ///
    /// # Errors
    /// When replies and requests don't match.
    pub fn executed(&mut self) -> Result<Vec<(Args, Value)>, String> {
        let upto = self.fed - self.card.query_bytes.load(Ordering::Relaxed) as u64;
        let unsent = self.connection.unsent();
        let mut new = unsent.get((self.seen - self.left) as usize..).unwrap_or_default();
        if self.listens {
            // It has sent one request, and is told whatever comes.
            self.requests.retain(|request| request.end > upto);
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        while self.requests.front().is_some_and(|request| request.end <= upto) {
            let Some(Request { args, .. }) = self.requests.pop_front() else { break };
            let Some((value, length)) = parse(new)? else {
                return Err(format!("no reply to {}: {}", line(&args), shown(new)));
            };
            self.written.push_back(Written { bytes: new[..length].to_vec(), commit: None });
            self.seen += length as u64;
            new = &new[length..];
            all.push((args, value));
        }
        if !new.is_empty() {
            return Err(format!("a reply that nobody asked for: {}", shown(new)));
        }
        Ok(all)
    }

    /// The last so many replies that were looked at acknowledge these commits.
    pub fn acknowledges(&mut self, commits: &[Option<usize>]) {
        let begin = self.written.len().saturating_sub(commits.len());
        for (written, commit) in self.written.iter_mut().skip(begin).zip(commits) {
            written.commit = *commit;
        }
    }

    /// Whether all it asks for is one of these, and nothing before that is open.
    pub fn asks_one(&self, names: &[&str]) -> bool {
        let one = self.requests.len() == 1 && self.written.is_empty() && self.session.queue.is_none();
        one && self.errand.is_none()
            && !self.connection.is_waiting()
            && self
                .requests
                .front()
                .and_then(|request| request.args.first())
                .is_some_and(|name| names.iter().any(|other| name == other.as_bytes()))
    }

    /// Whether it has sent everything, is owed nothing, and waits for nothing: what it asks for now is answered at once.
    pub fn is_settled(&self) -> bool {
        self.is_idle() && self.written.is_empty() && self.errand.is_none() && !self.connection.is_waiting()
    }

    /// Takes what has left the connection: the commits that are acknowledged by it.
    ///
    /// # Errors
    /// When that is not what was written.
    pub fn receive(&mut self, bytes: &[u8], log_failed: bool) -> Result<Vec<usize>, String> {
        self.left += bytes.len() as u64;
        self.received.extend_from_slice(bytes);
        let mut acknowledged = Vec::new();
        let mut at = 0;
        while let Some(next) = self.written.front() {
            let here = &self.received[at..];
            if here.is_empty() {
                break;
            }
            if here.len() >= next.bytes.len() && here.starts_with(&next.bytes) {
                at += next.bytes.len();
                acknowledged.extend(next.commit);
            } else if next.bytes.starts_with(here) {
                break;
            } else if let Some((value, length)) = parse(here)?
                && log_failed
                && value.error_code() == Some(b"IOERR")
            {
                // What was written instead of it when the log failed.
                at += length;
            } else if log_failed && here.starts_with(b"-IOERR") {
                break;
            } else {
                return Err(format!("answered {} where {} was written", shown(here), shown(&next.bytes)));
            }
            self.written.pop_front();
        }
        if self.written.is_empty() && at < self.received.len() {
            return Err(format!("answered {}, which was never written", shown(&self.received[at..])));
        }
        self.received.drain(..at);
        if log_failed && self.written.is_empty() {
            // Errors have other lengths than what was written before them.
            self.seen = self.left;
        }
        Ok(acknowledged)
    }
}

impl SimClient {
    /// Takes what has left the connection of one that listens: keys that are told to have expired.
    ///
    /// # Errors
    /// When that is no message.
    pub fn listen(&mut self, bytes: &[u8]) -> Result<Vec<Id>, String> {
        self.received.extend_from_slice(bytes);
        let (mut at, mut expired) = (0, Vec::new());
        while let Some((value, length)) = parse(&self.received[at..])? {
            at += length;
            let [Value::Bulk(kind), _, Value::Bulk(channel), Value::Bulk(key)] = value.elements() else {
                continue;
            };
            let database =
                channel.strip_prefix(b"__keyevent@").and_then(|rest| rest.strip_suffix(b"__:expired"));
            if let Some(database) = database
                && kind == b"pmessage"
            {
                expired.push((database.first().map_or(0, |digit| digit - b'0'), key.clone()));
            }
        }
        self.received.drain(..at);
        Ok(expired)
    }
}

/// A request for a person.
pub fn line(args: &[Vec<u8>]) -> String {
    args.iter().map(|arg| shown(arg)).collect::<Vec<_>>().join(" ")
}
