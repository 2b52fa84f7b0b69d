//! Bytes for a client that it has not asked for: messages of channels, keyspace events, lines of `MONITOR`, invalidations.
//!
//! Whoever has something to tell encodes it once ([`Push`], shared) and posts it into the [`Inbox`] of each client concerned, from any
//! thread; the loop that the client lives on takes it out and appends it to the client's output ([`Connection::take_pushes`]):
//!
//! ```text
//! post(card, push) ─▶ Inbox ──(the first one since the loop looked)──▶ Signals ──(once a turn, after the log is pushed)──▶ loop ─▶ output
//! ```
//!
//! The inbox belongs to the client's card, not to a loop: what is posted to a client that is changing loops is found where it arrives, in
//! order. Posting never waits for the receiver. What an inbox holds is bounded by the hard limit of `client-output-buffer-limit`; whoever
//! exceeds it is ended.
//!
//! One lock guards an inbox. It is held for a push into a vector or for taking the vector out; nothing else is locked meanwhile.
//!
//! [`Connection::take_pushes`]: crate::connection::Connection::take_pushes

use crate::client::ClientCard;
use crate::net::{Loops, Message};
use crate::resp::{Protocol, Reply};
use sessile::Lsn;
use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// What a posted push costs in an inbox beside its bytes.
const POSTED_OVERHEAD_BYTES: usize = size_of::<Posted>();

/// Something to tell a client, encoded, and shared by all who are told.
#[derive(Clone, Debug)]
pub enum Push {
    /// An array as RESP2 has it, whose elements read the same in both protocols. RESP3 has it as a push.
    Array(Arc<[u8]>),
    /// The same bytes in both protocols, for whoever wants replies (`CLIENT REPLY`).
    Plain(Arc<[u8]>),
    /// Different bytes in each; none at all where they are empty.
    Each {
        /// For clients that speak RESP2.
        resp2: Arc<[u8]>,
        /// For clients that speak RESP3.
        resp3: Arc<[u8]>,
    },
}

impl Push {
    /// An array of bulk strings.
    pub fn array(elements: &[&[u8]]) -> Push {
        let bytes = elements.iter().map(|element| element.len() + 16).sum::<usize>() + 16;
        let mut reply = Reply::new(Protocol::Resp2);
        reply.bytes_mut().reserve_exact(bytes);
        reply.array(elements.len());
        elements.iter().for_each(|element| reply.bulk(element));
        Push::Array(reply.bytes().into())
    }

    /// Appends it in the protocol that is spoken.
    pub fn write(&self, reply: &mut Reply) {
        let resp3 = reply.protocol() == Protocol::Resp3;
        match self {
            Push::Array(bytes) => {
                let out = reply.bytes_mut();
                out.push(if resp3 { b'>' } else { b'*' });
                out.extend_from_slice(bytes.get(1..).unwrap_or_default());
            }
            Push::Plain(bytes) => reply.bytes_mut().extend_from_slice(bytes),
            Push::Each { resp2, resp3: newer } => {
                reply.bytes_mut().extend_from_slice(if resp3 { newer } else { resp2 });
            }
        }
    }

    /// Its length, about.
    fn bytes(&self) -> usize {
        match self {
            Push::Array(bytes) | Push::Plain(bytes) => bytes.len(),
            Push::Each { resp2, resp3 } => resp2.len().max(resp3.len()),
        }
    }
}

/// A push in an inbox.
#[derive(Clone, Debug)]
pub struct Posted {
    /// What to tell.
    pub push: Push,
    /// It is told once this position of the log is acknowledged: nobody hears of a write that a crash can take back.
    pub lsn: Lsn,
    /// It must not come before the reply to a command that was being executed when it was posted.
    pub behind: bool,
}

#[derive(Debug, Default)]
struct State {
    posted: Vec<Posted>,
    bytes: usize,
}

/// What was posted to a client and not taken; see the module's page.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    /// Whether it holds anything; changed under the lock, and read without.
    filled: AtomicBool,
}

impl Inbox {
    /// Whether it may hold something.
    pub fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// Takes out what it holds, in the order in which it came.
    pub fn take(&self) -> Vec<Posted> {
        let mut state = self.state.lock();
        self.filled.store(false, Ordering::Relaxed);
        state.bytes = 0;
        std::mem::take(&mut state.posted)
    }

    /// As [`take`](Self::take), but leaves what must come behind a reply.
    pub fn take_ahead(&self) -> Vec<Posted> {
        let mut state = self.state.lock();
        let (behind, ahead) = std::mem::take(&mut state.posted).into_iter().partition(|posted| posted.behind);
        state.posted = behind;
        state.bytes = state.posted.iter().map(|posted| posted.push.bytes() + POSTED_OVERHEAD_BYTES).sum();
        self.filled.store(!state.posted.is_empty(), Ordering::Relaxed);
        ahead
    }

    /// Adds one; whether it was empty. `None` if that would make it hold more than so many bytes: then it holds nothing any more.
    fn add(&self, posted: Posted, bytes_max: usize) -> Option<bool> {
        let mut state = self.state.lock();
        let bytes = state.bytes + posted.push.bytes() + POSTED_OVERHEAD_BYTES;
        if bytes > bytes_max {
            *state = State::default();
            return None;
        }
        state.bytes = bytes;
        state.posted.push(posted);
        Some(!self.filled.swap(true, Ordering::Relaxed))
    }
}

/// Which clients' inboxes have become filled, by loop, until the loops are told.
#[derive(Debug, Default)]
pub struct Signals {
    by_loop: Vec<Vec<(usize, u64)>>,
    any: bool,
}

impl Signals {
    /// Posts `push` to a client, to be told once `lsn` is acknowledged. An inbox holds `bytes_max` at most (0: any number): a client
    /// that is told more than it takes is ended.
    pub fn post(&mut self, card: &ClientCard, push: &Push, lsn: Lsn, bytes_max: usize) {
        self.add(card, Posted { push: push.clone(), lsn, behind: false }, bytes_max);
    }

    /// As [`post`](Self::post), but what is posted to a client whose command is just being executed comes behind its reply.
    pub fn post_behind(&mut self, card: &ClientCard, push: &Push, lsn: Lsn, bytes_max: usize) {
        self.add(card, Posted { push: push.clone(), lsn, behind: true }, bytes_max);
    }

    fn add(&mut self, card: &ClientCard, posted: Posted, bytes_max: usize) {
        let room = match bytes_max {
            0 => usize::MAX,
            bytes => bytes.saturating_sub(card.reply_bytes.load(Ordering::Relaxed)),
        };
        if card.killed.load(Ordering::Relaxed) {
            return;
        }
        match card.inbox.add(posted, room) {
            Some(false) => {}
            Some(true) => self.tell(card),
            None => self.overrun(card),
        }
    }

    /// Ends a client that is told more than it takes.
    pub fn overrun(&mut self, card: &ClientCard) {
        card.overrun.store(true, Ordering::Relaxed);
        card.killed.store(true, Ordering::SeqCst);
        self.tell(card);
    }

    /// Has the client's loop look at it: it takes what is in the inbox, and goes on if its wait is over.
    pub fn tell(&mut self, card: &ClientCard) {
        // One that is on its way between loops, or gone, is looked at when it arrives, or never.
        let Some((number, token)) = *card.place.lock() else { return };
        if self.by_loop.len() <= number {
            self.by_loop.resize_with(number + 1, Vec::new);
        }
        self.by_loop[number].push((token, card.id));
        self.any = true;
    }

    /// Whether anybody is to be told.
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// Takes those that live on this loop, as place and client's number.
    pub fn take_own(&mut self, number: usize) -> Vec<(usize, u64)> {
        self.by_loop.get_mut(number).map(std::mem::take).unwrap_or_default()
    }

    /// Tells the loops: one message and one wake each.
    pub fn send(&mut self, loops: &Loops) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        let Some(loops) = loops.get() else { return };
        for (handle, tokens) in loops.iter().zip(&mut self.by_loop) {
            if !tokens.is_empty() {
                handle.send(Message::Inboxes(std::mem::take(tokens)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(text: &[u8]) -> Posted {
        Posted { push: Push::Plain(text.into()), lsn: Lsn::ZERO, behind: false }
    }

    #[test]
    fn an_inbox_keeps_the_order_and_says_when_it_becomes_filled() {
        let inbox = Inbox::default();
        assert_eq!(inbox.add(posted(b"a"), usize::MAX), Some(true));
        assert_eq!(inbox.add(posted(b"b"), usize::MAX), Some(false));
        assert!(inbox.is_filled());
        let taken: Vec<usize> = inbox.take().iter().map(|posted| posted.push.bytes()).collect();
        assert_eq!(taken, [1, 1]);
        assert!(!inbox.is_filled());
        assert_eq!(inbox.add(posted(b"c"), usize::MAX), Some(true));
    }

    #[test]
    fn an_inbox_holds_no_more_than_its_limit() {
        let inbox = Inbox::default();
        let room = 10 * (100 + POSTED_OVERHEAD_BYTES);
        for _ in 0..10 {
            assert!(inbox.add(posted(&[0; 100]), room).is_some());
        }
        assert_eq!(inbox.add(posted(&[0; 100]), room), None);
        assert_eq!(inbox.take().len(), 0);
    }

    #[test]
    fn a_push_is_written_as_its_protocol_has_it() {
        let push = Push::array(&[b"message", b"a"]);
        let mut reply = Reply::new(Protocol::Resp2);
        push.write(&mut reply);
        assert_eq!(reply.bytes(), b"*2\r\n$7\r\nmessage\r\n$1\r\na\r\n");
        let mut reply = Reply::new(Protocol::Resp3);
        push.write(&mut reply);
        assert_eq!(reply.bytes(), b">2\r\n$7\r\nmessage\r\n$1\r\na\r\n");
        let each = Push::Each { resp2: b""[..].into(), resp3: b">0\r\n"[..].into() };
        let mut reply = Reply::new(Protocol::Resp2);
        each.write(&mut reply);
        assert!(reply.bytes().is_empty());
    }
}
