//! A connection without its socket: bytes of requests in, bytes of replies out, each reply held until its write is acknowledged.
//!
//! The event loop, the tests, the fuzzers and the simulator drive the same state machine:
//!
//! ```text
//! receive(bytes) ─▶ execute every complete request ─▶ replies ─▶ [ parked until the log has acknowledged ] ─▶ output() … sent(n)
//! ```
//!
//! A request that needs what may wait for a disk stays where it is: the connection hands out an [`Errand`]
//! ([`take_errand`](Connection::take_errand)), *waits*, which means that it executes nothing, and goes on when it gets it back, done
//! ([`errand_done`](Connection::errand_done)).
//!
//! A command that waits for something to happen (`BLPOP`, `WAIT`) also stays where it is: the connection executes nothing until its
//! [`Wait`] is over, and then gives the command the reply that came of it; so does a command that a pause stops. What its client sends meanwhile is kept, up to a limit, so
//! that its end is noticed.
//!
//! It never blocks, reads no clock but through its [`Worker`], and keeps no buffer while it has nothing unfinished. Replies leave in the
//! order of the requests. What it holds is bounded: unfinished requests by `client-query-buffer-limit`; replies by
//! [`OUTPUT_BYTES_HIGH`] plus one reply, since it then executes nothing more until the client has taken some. Where an operator has set
//! `client-output-buffer-limit`, that bounds them instead, and who exceeds it is disconnected, as by Redis.

use crate::blocked::{Postponed, Wait};
use crate::client::{Client, ReplyMode};
use crate::command::dispatch::{Outcome, execute};
use crate::config::OutputLimit;
use crate::errand::Errand;
use crate::push::{Posted, Push};
use crate::resp::lookahead::first_arguments;
use crate::resp::{Protocol, Reply, RequestLimits, RequestParser};
use crate::server::Server;
use crate::tracking::modes;
use crate::worker::Worker;
use sessile::{Key, Lsn};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// With this many bytes of replies waiting, a connection executes nothing more until its client has taken them (unless
/// `client-output-buffer-limit` says to disconnect it).
pub const OUTPUT_BYTES_HIGH: usize = 1024 * 1024;
/// The same for one that has not authenticated, and for all while they together have too much waiting.
const OUTPUT_BYTES_LOW: usize = 16 * 1024;
/// How long a client may take nothing of its replies while all together have too much waiting, and it has more than its share.
const STALLED_MS_MAX: u64 = 5000;
/// Requests of a pipeline whose keys are fetched together.
const PREFETCHED_REQUESTS: usize = 16;
/// Bytes of requests that are kept for a client that waits; with more it is read no further until its wait is over.
pub const BLOCKED_BYTES_MAX: usize = 1024 * 1024;
/// Sent bytes are dropped from the front of the output once there are this many.
const SENT_BYTES_KEPT: usize = 64 * 1024;

/// A reply that waits for the log. Offsets count from the first byte that the connection ever wrote.
#[derive(Clone, Copy, Debug)]
struct Parked {
    begin: u64,
    end: u64,
    lsn: Lsn,
    /// It waits until the log is synced up to there, whatever else is acknowledged before.
    durable: bool,
    /// It is no reply but something that the client was told: if the log fails, there is nobody to answer an error to.
    push: bool,
}

/// Where the errand of the first unfinished request is.
#[derive(Debug, Default)]
enum Errands {
    /// It needs none.
    #[default]
    None,
    /// Here, to be taken and run.
    Wanted(Box<Errand>),
    /// Elsewhere.
    Out,
    /// Here again, done.
    Done(Box<Errand>),
}

/// See the module's page.
#[derive(Debug)]
pub struct Connection {
    parser: RequestParser,
    /// Bytes received and not executed; begins with a request.
    unfinished: Vec<u8>,
    client: Client,
    reply: Reply,
    /// How much of `reply` has been sent.
    sent: usize,
    /// Offset of `reply`'s first byte.
    base: u64,
    parked: VecDeque<Parked>,
    /// Up to where the log was synced when it was last looked at.
    durable: Lsn,
    /// The log's buffer was full: the next request waits for the next turn.
    paused: bool,
    /// Its time in this turn was up before it had executed all that it could.
    cut_short: bool,
    errand: Errands,
    /// What the first unfinished request waits for, or has waited for.
    wait: Option<Wait>,
    /// The first unfinished request waits for the end of a pause.
    postponed: Option<Postponed>,
    /// The client sends nothing more.
    input_ended: bool,
    /// What counts of its output and of its unfinished request where all connections have a limit together.
    counted_output: usize,
    counted_input: usize,
    /// When its client last took something of its output.
    taken_ms: u64,
    /// Since when its output is over the soft limit.
    over_soft_limit_since_ms: Option<u64>,
}

impl Connection {
    /// A connection of a client that has just arrived.
    pub fn new(client: Client) -> Connection {
        Connection {
            parser: RequestParser::default(),
            unfinished: Vec::new(),
            client,
            reply: Reply::new(Protocol::Resp2),
            sent: 0,
            base: 0,
            parked: VecDeque::new(),
            durable: Lsn::ZERO,
            paused: false,
            cut_short: false,
            errand: Errands::None,
            wait: None,
            postponed: None,
            input_ended: false,
            counted_output: 0,
            counted_input: 0,
            taken_ms: 0,
            over_soft_limit_since_ms: None,
        }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Executes all complete requests in what was read, after what was left from before.
    pub fn receive(&mut self, worker: &mut Worker, bytes: &[u8]) {
        worker.begin_batch();
        self.client.card.active_ms.store(worker.now_ms, Ordering::Relaxed);
        if self.client.closing {
            return;
        }
        if self.unfinished.is_empty() {
            let used = self.execute_all(worker, bytes);
            self.unfinished.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            self.unfinished.extend_from_slice(bytes);
            // In the midst of a long argument there is nothing to look at until it is there.
            if self.parser.bytes_missing(self.unfinished.len()) == 0 {
                self.execute_unfinished(worker);
            }
        }
        if self.unfinished.len() > worker.live.query_bytes_max {
            tracing::warn!(client = %self.client.card.origin.address, "closing a client: its request is over client-query-buffer-limit");
            worker.figures.query_overruns.add(1);
            self.drop_now();
        }
        if !self.client.authenticated || self.counted_input > 0 {
            self.count_strange_input(worker);
        }
        self.note(worker);
    }

    /// Counts what a client that has not authenticated has sent of a request, and drops the connection if all of them have sent too much.
    fn count_strange_input(&mut self, worker: &Worker) {
        let strangers = &worker.server.strangers;
        let held = if self.client.authenticated || self.client.dropped { 0 } else { self.unfinished.len() };
        strangers.change(&mut self.counted_input, held);
        if self.counted_input > 0 && strangers.is_over() && self.counted_input > strangers.share() {
            tracing::warn!(client = %self.client.card.origin.address, "closing a client: requests before authentication take too much memory");
            worker.figures.query_overruns.add(1);
            self.drop_now();
            strangers.change(&mut self.counted_input, 0);
        }
    }

    /// Goes on with what was received, after a pause.
    pub fn resume(&mut self, worker: &mut Worker) {
        worker.begin_batch();
        self.execute_unfinished(worker);
        self.note(worker);
    }

    /// What its next request needs, to be run elsewhere; it waits until [`errand_done`](Self::errand_done).
    pub fn take_errand(&mut self) -> Option<Box<Errand>> {
        match std::mem::take(&mut self.errand) {
            Errands::Wanted(errand) => {
                self.errand = Errands::Out;
                Some(errand)
            }
            other => {
                self.errand = other;
                None
            }
        }
    }

    /// Whether it has an errand to be taken.
    pub fn has_errand(&self) -> bool {
        matches!(self.errand, Errands::Wanted(_))
    }

    /// Takes back an errand that could not be run now: it is to be taken again.
    pub fn errand_refused(&mut self, errand: Box<Errand>) {
        self.errand = Errands::Wanted(errand);
    }

    /// Takes back an errand that was run: [`resume`](Self::resume) goes on with it.
    pub fn errand_done(&mut self, errand: Box<Errand>) {
        if matches!(self.errand, Errands::Out) {
            self.errand = Errands::Done(errand);
        }
    }

    /// Whether it executes nothing because of an errand, or because its client waits.
    pub fn is_waiting(&self) -> bool {
        matches!(self.errand, Errands::Wanted(_) | Errands::Out) || self.is_blocked()
    }

    /// Whether its client waits, for an element or for time.
    pub fn is_blocked(&self) -> bool {
        self.postponed.is_some() || self.wait().is_some()
    }

    /// Whether it waits for the end of a pause.
    pub fn is_postponed(&self) -> bool {
        self.postponed.is_some()
    }

    /// The pause is over: [`resume`](Self::resume) goes on.
    pub fn end_pause(&mut self) {
        self.postponed = None;
    }

    /// What its client waits for, if it does.
    pub fn wait(&self) -> Option<&Wait> {
        self.wait.as_ref().filter(|wait| !wait.is_over())
    }

    /// The client has closed its sending side. What it has sent is still answered.
    pub fn end_of_input(&mut self) {
        self.input_ended = true;
    }

    /// Ends its client's wait if its time is up; whether it goes on.
    pub fn look_at_time(&mut self, now_ms: u64) -> bool {
        self.wait().is_some_and(|wait| wait.look_at_time(now_ms))
    }

    /// Notes up to where the log is synced; to be told before [`settle`](Self::settle).
    pub fn note_durable(&mut self, durable: Lsn) {
        self.durable = self.durable.max(durable);
    }

    /// Releases the replies whose writes are acknowledged.
    pub fn settle(&mut self, acknowledged: Lsn) {
        let durable = self.durable;
        let is_safe = |parked: &Parked| parked.lsn <= if parked.durable { durable } else { acknowledged };
        while self.parked.front().is_some_and(is_safe) {
            self.parked.pop_front();
        }
        if self.parked.is_empty() && self.parked.capacity() > 64 {
            self.parked = VecDeque::new();
        }
    }

    /// The log has failed: whatever is not acknowledged never will be. The replies of those writes become errors, one by one.
    pub fn settle_failed(&mut self, acknowledged: Lsn, error: &[u8]) {
        self.settle(acknowledged);
        if self.parked.is_empty() {
            return;
        }
        let mut old = std::mem::take(self.reply.bytes_mut());
        let mut copied = 0;
        for parked in std::mem::take(&mut self.parked) {
            let (begin, end) = ((parked.begin - self.base) as usize, (parked.end - self.base) as usize);
            self.reply.bytes_mut().extend_from_slice(old.get(copied..begin).unwrap_or_default());
            if !parked.push {
                self.reply.error(error);
            }
            copied = end;
        }
        self.reply.bytes_mut().extend_from_slice(old.get(copied..).unwrap_or_default());
        old.clear();
    }

    /// Appends something that its client has not asked for, to leave after all that was written before, and once `lsn` is acknowledged.
    pub fn push(&mut self, worker: &mut Worker, push: &Push, lsn: Lsn) {
        let unwanted = matches!(push, Push::Plain(_)) && self.client.reply_mode != ReplyMode::On;
        if self.client.closing || unwanted {
            return;
        }
        if self.reply.bytes_mut().capacity() == 0 {
            *self.reply.bytes_mut() = worker.take_buffer();
        }
        let begin = self.base + self.reply.bytes().len() as u64;
        push.write(&mut self.reply);
        let end = self.base + self.reply.bytes().len() as u64;
        if lsn > worker.server.db.acknowledged() && end > begin {
            self.parked.push_back(Parked { begin, end, lsn, durable: false, push: true });
        }
        self.client.card.reply_bytes.store(self.reply.bytes().len() - self.sent, Ordering::Relaxed);
    }

    /// Takes what was posted to its client's inbox.
    pub fn take_pushes(&mut self, worker: &mut Worker) {
        if !self.client.card.inbox.is_filled() {
            return;
        }
        // While a command is away (a script may be reading), what must not come before its reply stays.
        let inbox = &self.client.card.inbox;
        let posted = match self.errand {
            Errands::None => inbox.take(),
            _ => inbox.take_ahead(),
        };
        for Posted { push, lsn, .. } in posted {
            self.push(worker, &push, lsn);
        }
    }

    /// The bytes that may be sent now.
    pub fn output(&self) -> &[u8] {
        let end = match self.parked.front() {
            Some(parked) => (parked.begin - self.base) as usize,
            None => self.reply.bytes().len(),
        };
        self.reply.bytes().get(self.sent..end).unwrap_or_default()
    }

    /// All that was written and not sent, also what has to wait for the log: for the simulator, which knows by it what was executed.
    #[doc(hidden)]
    pub fn unsent(&self) -> &[u8] {
        self.reply.bytes().get(self.sent..).unwrap_or_default()
    }

    /// So many of them were sent.
    pub fn sent(&mut self, worker: &mut Worker, count: usize) {
        self.sent += count;
        self.taken_ms = worker.now_ms;
        self.client.card.reply_bytes.store(self.reply.bytes().len() - self.sent, Ordering::Relaxed);
        if self.sent == self.reply.bytes().len() {
            self.base += self.sent as u64;
            self.sent = 0;
            worker.give_buffer(std::mem::take(self.reply.bytes_mut()));
            self.over_soft_limit_since_ms = None;
        } else if self.sent >= SENT_BYTES_KEPT && self.sent >= self.reply.bytes().len() / 2 {
            self.base += self.sent as u64;
            self.reply.bytes_mut().drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether it should be given more to read.
    pub fn wants_input(&self, worker: &Worker) -> bool {
        !self.client.closing
            && !self.input_ended
            && !self.paused
            && !self.cut_short
            && match self.is_blocked() {
                true => self.unfinished.len() < BLOCKED_BYTES_MAX,
                false => !self.is_waiting(),
            }
            && !self.is_output_high(worker)
    }

    /// Whether it waits for the log's buffer to have room, or for whoever runs errands.
    pub fn is_paused(&self) -> bool {
        self.paused || self.has_errand()
    }

    /// Whether its time was up when it last executed: it goes on after those who ask for less.
    pub fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// Whether it holds requests that it could execute, had it not been for its output or the log.
    pub fn can_resume(&self, worker: &Worker) -> bool {
        !self.client.closing
            && !self.is_waiting()
            && !self.unfinished.is_empty()
            && self.parser.is_between_requests()
            && !self.is_output_high(worker)
    }

    /// Whether its client is told things without having asked, and so has nothing to say for as long as it likes.
    pub fn is_listening(&self) -> bool {
        self.client.is_subscriber() || self.client.listens
    }

    /// Whether a reply waits for the log.
    pub fn is_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Whether any reply has not been sent.
    pub fn has_output(&self) -> bool {
        self.sent < self.reply.bytes().len()
    }

    /// Whether it is at its end: the socket is to be closed.
    pub fn is_finished(&self, worker: &Worker) -> bool {
        self.client.dropped
            || (!self.has_output()
                && (self.client.closing
                    || (self.input_ended
                        && (self.is_blocked() || (!self.is_waiting() && !self.can_resume(worker))))))
    }

    /// Closes it once its client has the replies to what was executed.
    pub fn close_after_replies(&mut self) {
        self.client.closing = true;
    }

    /// Closes it at once.
    pub fn drop_now(&mut self) {
        self.client.closing = true;
        self.client.dropped = true;
    }

    /// Counts what its client has not taken, and drops the connection if all clients together leave too much and this one has its part in
    /// that: one that is told more and more, or one that has taken nothing for long.
    pub fn count_output(&mut self, worker: &mut Worker) {
        let held = if self.client.dropped { 0 } else { self.reply.bytes().len() };
        if held == 0 && self.counted_output == 0 {
            return;
        }
        let outputs = &worker.server.outputs;
        if self.counted_output == 0 {
            self.taken_ms = worker.now_ms;
        }
        outputs.change(&mut self.counted_output, held);
        if !outputs.is_over() || self.counted_output <= outputs.share() {
            return;
        }
        let stalled = worker.now_ms.saturating_sub(self.taken_ms) > STALLED_MS_MAX;
        if self.is_listening() || stalled {
            tracing::warn!(client = %self.client.card.origin.address, held, "closing a client: it takes nothing of its replies, and all clients together leave too much");
            worker.figures.output_overruns.add(1);
            self.drop_now();
            outputs.change(&mut self.counted_output, 0);
        } else {
            // Time may end it.
            worker.over_soft_limit = true;
        }
    }

    /// Drops the connection if it holds more replies than `client-output-buffer-limit` allows.
    pub fn check_output_limit(&mut self, worker: &mut Worker) {
        let held = self.reply.bytes().len() - self.sent;
        let limit = self.output_limit(worker);
        let over_soft = limit.soft_bytes != 0 && held > limit.soft_bytes;
        if !over_soft {
            self.over_soft_limit_since_ms = None;
        }
        worker.over_soft_limit |= over_soft;
        let since_ms = over_soft.then(|| *self.over_soft_limit_since_ms.get_or_insert(worker.now_ms));
        let too_long =
            since_ms.is_some_and(|since_ms| worker.now_ms.saturating_sub(since_ms) > limit.soft_ms);
        if too_long || (limit.hard_bytes != 0 && held > limit.hard_bytes) {
            tracing::warn!(client = %self.client.card.origin.address, held, "closing a client: its replies are over client-output-buffer-limit");
            worker.figures.output_overruns.add(1);
            self.drop_now();
        }
    }

    /// What `client-output-buffer-limit` says for its class. Who must take what it has not asked for is held to the limit of subscribers
    /// where others have none.
    fn output_limit(&self, worker: &Worker) -> OutputLimit {
        let limit = worker.live.output_limit;
        let unlimited = limit.hard_bytes == 0 && limit.soft_bytes == 0;
        if self.client.is_subscriber() || (self.client.listens && unlimited) {
            worker.live.pubsub_output_limit
        } else {
            limit
        }
    }

    fn is_output_high(&self, worker: &Worker) -> bool {
        let held = self.reply.bytes().len() - self.sent;
        if held < OUTPUT_BYTES_LOW {
            return false;
        }
        if !self.client.authenticated || (worker.server.outputs.is_over() && !self.is_listening()) {
            return true;
        }
        let limit = self.output_limit(worker);
        let high = match (limit.hard_bytes, limit.soft_bytes) {
            (0, 0) => OUTPUT_BYTES_HIGH,
            (0, soft) => OUTPUT_BYTES_HIGH.max(soft.saturating_add(1)),
            (hard, _) => hard.saturating_add(1),
        };
        held >= high
    }

    /// Takes its client off every list: the connection is at its end.
    pub fn leave(&mut self, server: &Server) {
        server.outputs.change(&mut self.counted_output, 0);
        server.strangers.change(&mut self.counted_input, 0);
        self.client.stop_listening(server);
        server.clients.leave(self.client.card.id);
        server.wake_waiters(server.leases.leave(self.client.card.id, server.db.now_ms()));
    }

    fn execute_unfinished(&mut self, worker: &mut Worker) {
        let mut bytes = std::mem::take(&mut self.unfinished);
        let used = self.execute_all(worker, &bytes);
        if used < bytes.len() {
            bytes.drain(..used);
            if bytes.len() < bytes.capacity() / 4 {
                bytes.shrink_to(bytes.len() * 2);
            }
            self.unfinished = bytes;
        }
    }

    /// Executes the complete requests at the start of `bytes`; how many bytes that were.
    fn execute_all(&mut self, worker: &mut Worker, bytes: &[u8]) -> usize {
        if self.is_waiting() {
            return 0;
        }
        let mut brought = match std::mem::take(&mut self.errand) {
            Errands::Done(errand) => Some(errand),
            _ => None,
        };
        let mut waited = self.wait.take();
        self.paused = false;
        self.cut_short = false;
        if self.reply.bytes_mut().capacity() == 0 {
            *self.reply.bytes_mut() = worker.take_buffer();
        }
        let (mut used, mut fetched) = (0, 0);
        while used < bytes.len() && !self.is_output_high(worker) {
            if used > 0 && worker.seen_ns > worker.slice_until_ns {
                self.cut_short = true;
                break;
            }
            // With more behind the first request this is a pipeline.
            if used > 0 && used >= fetched {
                fetched = used + prefetch(worker, &self.client, &bytes[used..]);
            }
            let limits = RequestLimits {
                bulk_bytes_max: worker.live.settings.proto_max_bulk_len,
                unauthenticated: !self.client.authenticated,
            };
            let rest = &bytes[used..];
            match self.parser.parse(rest, limits) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    let args = self.parser.arguments(rest);
                    let begin = self.reply.bytes().len();
                    let skip = self.client.reply_mode == ReplyMode::SkipNext;
                    if skip {
                        self.client.reply_mode = ReplyMode::On;
                    }
                    self.client.told_bytes = 0;
                    let outcome = match waited.take() {
                        Some(wait) => {
                            worker.server.wake_waiters(wait.give_up(worker.now_ms));
                            match wait.answer(&mut self.reply, worker.server.db.durable()) {
                                Ok(lsn) => {
                                    self.client.last_lsn = self.client.last_lsn.max(lsn);
                                    Some(Outcome::Done(lsn))
                                }
                                Err(again) => {
                                    self.client.place = Some(again.place);
                                    self.client.settled = again.settled;
                                    None
                                }
                            }
                        }
                        None => None,
                    };
                    let outcome = outcome.unwrap_or_else(|| {
                        let settled = self.client.settled.take();
                        let Some(settled) = settled else {
                            return execute(worker, &mut self.client, &mut self.reply, &args, &mut brought);
                        };
                        let args: Vec<&[u8]> = settled.iter().map(|arg| &**arg).collect();
                        let outcome = execute(worker, &mut self.client, &mut self.reply, &args, &mut brought);
                        // Who waits again has them with its wait; who is done is done with them.
                        if !matches!(outcome, Outcome::Done(_) | Outcome::Waits(_)) {
                            self.client.settled = Some(settled);
                        }
                        outcome
                    });
                    let lsn = match outcome {
                        Outcome::Done(lsn) => lsn,
                        not_done => {
                            match not_done {
                                Outcome::Away(errand) => self.errand = Errands::Wanted(errand),
                                Outcome::Waits(wait) => self.wait = Some(wait),
                                Outcome::Postponed => {
                                    self.postponed = Some(worker.server.blocked.postpone(&self.client.card));
                                }
                                _ => self.paused = true,
                            }
                            if skip {
                                self.client.reply_mode = ReplyMode::SkipNext;
                            }
                            break;
                        }
                    };
                    // What was brought was for this request, and none after it.
                    brought = None;
                    used += length;
                    if skip || self.client.reply_mode != ReplyMode::On {
                        // What it is told in any case comes first, or is all there is.
                        self.reply.truncate(begin + self.client.told_bytes);
                    }
                    let begin = self.base + begin as u64;
                    let (told, told_lsn) = std::mem::replace(&mut self.client.told_first, (0, Lsn::ZERO));
                    let told_end = begin + told as u64;
                    if told_lsn > worker.server.db.acknowledged() && told_end > begin {
                        self.parked.push_back(Parked {
                            begin,
                            end: told_end,
                            lsn: told_lsn,
                            durable: false,
                            push: true,
                        });
                    }
                    let end = self.base + self.reply.bytes().len() as u64;
                    let (lsn, durable) = std::mem::take(&mut self.client.must_be_durable).position(lsn);
                    if lsn != Lsn::ZERO && end > told_end {
                        if durable {
                            worker.server.db.request_sync(lsn);
                        }
                        self.parked.push_back(Parked { begin: told_end, end, lsn, durable, push: false });
                    }
                    // It holds for one command, but for those about the client, or for one transaction.
                    if self.client.card.tracked.has(modes::CACHING)
                        && !self.client.transaction.is_open()
                        && !args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"client"))
                    {
                        self.client.card.tracked.end_caching();
                    }
                    if self.client.card.inbox.is_filled() {
                        // What came of this command comes before what comes of the next.
                        drop(args);
                        self.take_pushes(worker);
                    }
                }
                Err(error) => {
                    worker.figures.errors.add(1);
                    let text = error.text();
                    worker.server.count_error(&text);
                    tracing::debug!(client = %self.client.card.origin.address, "closing a client: {error}");
                    self.reply.error(&text);
                    self.client.closing = true;
                }
            }
            if self.client.closing {
                self.parser.restart();
                return bytes.len();
            }
        }
        if let Some(errand) = brought {
            // It has not come as far as to use it.
            self.errand = Errands::Done(errand);
        }
        if waited.is_some() {
            self.wait = waited;
        }
        if self.paused || self.is_waiting() {
            self.parser.restart();
        }
        if used > 0 {
            self.parser.shrink();
        }
        used
    }

    /// Brings the card up to date.
    fn note(&mut self, worker: &mut Worker) {
        if self.reply.bytes().is_empty() {
            worker.give_buffer(std::mem::take(self.reply.bytes_mut()));
        }
        let card = &self.client.card;
        card.last_command.store(self.client.last_command, Ordering::Relaxed);
        card.database.store(self.client.database, Ordering::Relaxed);
        card.resp3.store(self.reply.protocol() == Protocol::Resp3, Ordering::Relaxed);
        card.closing.store(self.client.closing, Ordering::Relaxed);
        let transaction = &self.client.transaction;
        let queued = transaction.queue.as_ref().map_or(-1, |queue| queue.len() as i64);
        // Most connections never have one: their card stays in every cache.
        if queued >= 0 || card.transaction_bytes.load(Ordering::Relaxed) > 0 || transaction.watched() > 0 {
            card.queued.store(queued, Ordering::Relaxed);
            card.watched.store(transaction.watched(), Ordering::Relaxed);
            let bytes = if queued >= 0 { transaction.bytes().max(1) } else { transaction.bytes() };
            card.transaction_bytes.store(bytes, Ordering::Relaxed);
        }
        card.query_bytes.store(self.unfinished.len(), Ordering::Relaxed);
        card.reply_bytes.store(self.reply.bytes().len() - self.sent, Ordering::Relaxed);
        if self.counted_output == 0 {
            self.taken_ms = worker.now_ms;
        }
        worker.server.outputs.change(&mut self.counted_output, self.reply.bytes().len());
    }
}

/// Has the keys of the next requests fetched from memory together; how many bytes those requests span.
fn prefetch(worker: &Worker, client: &Client, bytes: &[u8]) -> usize {
    let db = &worker.server.db;
    let mut keys: SmallVec<[Key<'_>; PREFETCHED_REQUESTS]> = SmallVec::new();
    let span = first_arguments(bytes, PREFETCHED_REQUESTS, |key| keys.push(db.key(client.database, key)));
    if keys.len() > 1 {
        db.prefetch(&keys);
    }
    // A request that the glance can't take in is passed over, and what follows it is looked at again behind it.
    span.max(1)
}
