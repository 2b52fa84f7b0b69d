//! One event loop: a turn is *wait, read and execute, push the log once, write*.
//!
//! Sockets are registered once, edge-triggered, for reading and writing; the loop remembers which are ready. A read that does not fill
//! the buffer has emptied the socket, so that a request costs one read, one write and its share of a wait. Replies are written directly;
//! only a full socket makes a client wait to be writable. A loop sleeps when there is nothing to do, and never waits for a disk.

mod accepting;
mod errands;
mod inboxes;
mod moving;
mod waiting;

use super::balance::Balance;
use super::disk_threads::DiskThreads;
use super::stream::Stream;
use super::{Listener, LoopHandle, Message};
use crate::connection::Connection;
use crate::process;
use crate::server::Server;
use crate::worker::Worker;
use mio::{Events, Interest, Poll, Token};
use sessile_wal::sync::Mutex;
use sessile_wal::{Clock, SystemClock};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use waiting::set_timer;

/// Bytes that one read takes at most. A client that sends more has its turn again after the others.
const READ_BYTES: usize = 64 * 1024;
/// How long a connection executes in one turn, beyond a command that it has begun.
const SLICE_NS: u64 = 1_000_000;
/// How long a turn reads and executes; then those that were read from are answered, and the others come first in the next.
const TURN_NS: u64 = 4_000_000;
/// Bytes that one connection is sent in one turn: one that takes them as fast as they come has its turn again after the others.
const WRITE_BYTES: usize = 256 << 10;
/// How many are written to between looks at the clock.
const WRITES_A_LOOK: usize = 8;
/// Events taken up in one turn.
const EVENTS_MAX: usize = 1024;
/// How often a loop looks at what only time changes, when there is anything of the kind.
const TICK_MS: u64 = 1000;
/// How often the first loop tells the engine how much memory the process holds, if that is limited.
const BEAT_MS: u64 = 100;
/// How soon a connection that found the log's buffer full tries again.
const PAUSE_MS: u64 = 1;

const WAKE: Token = Token(usize::MAX);
const SIGNAL: Token = Token(usize::MAX - 1);
/// Listeners count down from here.
const LISTENERS: usize = usize::MAX - 2;
/// More addresses than anybody binds.
const LISTENERS_MAX: usize = 1024;

/// A connection and its socket.
pub struct Slot {
    stream: Stream,
    connection: Connection,
    /// The socket may have something to read.
    readable: bool,
    /// The socket may take something.
    writable: bool,
    /// The other side has closed: reads go on until they say so, whatever their length.
    read_closed: bool,
    /// In the list of what this turn reads.
    queued: bool,
    /// In the list of what this turn writes.
    to_flush: bool,
    /// In the list of what waits for the log.
    in_parked: bool,
    /// What the loop's list of waits has it down for, ms since the epoch.
    timer_ms: Option<u64>,
    /// In the list of what waits for the end of a pause.
    in_postponed: bool,
    /// In the list of what waits for the log to be synced.
    in_syncing: bool,
}

/// See the module's page.
pub struct EventLoop {
    number: usize,
    poll: Poll,
    handle: Arc<LoopHandle>,
    worker: Worker,
    /// Who waits for disks.
    disk: Arc<DiskThreads>,
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<usize>,
    buffer: Box<[u8]>,
    /// Connections to read from in this turn.
    ready: Vec<usize>,
    /// Connections to read from in the next turn although the kernel won't mention them again.
    again: Vec<usize>,
    /// Connections that have more to execute than their share of a turn, or whose clients have gone: to be read from when all others were.
    heavy: VecDeque<usize>,
    /// Connections to write to in this turn.
    flush: Vec<usize>,
    /// Connections to write more to in the next turn, although the kernel won't mention them again.
    unsent: Vec<usize>,
    /// Connections with replies that wait for the log.
    parked: Vec<usize>,
    /// Connections whose clients wait for a limited time, by when it is up.
    timers: BTreeSet<(u64, usize)>,
    /// Connections that a pause has stopped.
    postponed: Vec<usize>,
    /// Connections whose clients wait for the log to be synced.
    syncing: Vec<usize>,
    listeners: Vec<Listener>,
    /// Somebody waits to be accepted.
    accept_again: bool,
    /// Accepting failed, and what the log was told of it; the next tick tries again.
    accept_failed: bool,
    /// When the log was last told of it, in ms since the epoch.
    accept_complained_ms: Option<u64>,
    signals: Option<mio::net::UnixStream>,
    last_tick_ms: u64,
    last_beat_ms: u64,
    ending_since_ms: Option<u64>,
    push_complained: bool,
    /// Decides how many loops carry connections; the first loop's is the one that counts.
    balance: Balance,
}

impl EventLoop {
    /// A loop that is not running yet.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a poller.
    pub fn new(number: usize, server: Arc<Server>, disk: Arc<DiskThreads>) -> io::Result<EventLoop> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let handle = Arc::new(LoopHandle {
            waker,
            mail: Mutex::default(),
            has_mail: AtomicBool::new(false),
            parked: sessile_wal::Interest::default(),
            connections: AtomicUsize::new(0),
            busy_ns: AtomicU64::new(0),
        });
        Ok(EventLoop {
            number,
            poll,
            handle,
            worker: Worker::new(server),
            disk,
            slots: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            ready: Vec::new(),
            again: Vec::new(),
            heavy: VecDeque::new(),
            flush: Vec::new(),
            unsent: Vec::new(),
            parked: Vec::new(),
            timers: BTreeSet::new(),
            postponed: Vec::new(),
            syncing: Vec::new(),
            listeners: Vec::new(),
            accept_again: false,
            accept_failed: false,
            accept_complained_ms: None,
            signals: None,
            last_tick_ms: 0,
            last_beat_ms: 0,
            ending_since_ms: None,
            push_complained: false,
            balance: Balance::default(),
        })
    }

    /// How others reach it.
    pub fn handle(&self) -> Arc<LoopHandle> {
        Arc::clone(&self.handle)
    }

    /// Makes it the loop that accepts.
    ///
    /// # Errors
    ///
    /// When the poller refuses a socket.
    pub fn accept_from(&mut self, mut listeners: Vec<Listener>) -> io::Result<()> {
        for (index, listener) in listeners.iter_mut().enumerate().take(LISTENERS_MAX) {
            self.poll.registry().register(listener, Token(LISTENERS - index), Interest::READABLE)?;
        }
        self.listeners = listeners;
        Ok(())
    }

    /// Makes it the loop that hears of signals: a byte for each comes through `signals`.
    ///
    /// # Errors
    ///
    /// When the poller refuses the socket.
    pub fn hear_signals(&mut self, signals: std::os::unix::net::UnixStream) -> io::Result<()> {
        signals.set_nonblocking(true)?;
        let mut signals = mio::net::UnixStream::from_std(signals);
        self.poll.registry().register(&mut signals, SIGNAL, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Runs until the server shuts down and the clients have what is theirs.
    ///
    /// # Errors
    ///
    /// When the poller fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let awake_ns = SystemClock.monotonic_ns();
            self.worker.figures.turns.add(1);
            std::mem::swap(&mut self.ready, &mut self.again);
            for event in &events {
                match event.token() {
                    WAKE => self.read_mail(),
                    SIGNAL => self.read_signals(),
                    Token(token) if token > LISTENERS - LISTENERS_MAX => self.accept_again = true,
                    Token(token) => {
                        let Some(Some(slot)) = self.slots.get_mut(token) else { continue };
                        slot.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                        slot.read_closed |= event.is_read_closed() || event.is_error();
                        slot.writable |= event.is_writable();
                        if !slot.queued {
                            slot.queued = true;
                            if slot.read_closed {
                                // Those who go may be many at once, and none of them waits.
                                self.heavy.push_back(token);
                            } else {
                                self.ready.push(token);
                            }
                        }
                    }
                }
            }
            self.look_at_waits();
            self.read_ready(awake_ns);
            self.push_log();
            self.tell_others();
            for token in std::mem::take(&mut self.unsent) {
                self.queue_flush(token);
            }
            self.write_all();
            // After the rest, so that who has left in this turn makes room for who comes.
            if self.accept_again {
                self.accept();
            }
            self.tick();
            let now_ns = SystemClock.monotonic_ns();
            self.handle.busy_ns.fetch_add(now_ns.saturating_sub(awake_ns), Ordering::Relaxed);
            if self.number == 0 && self.balance.is_due(now_ns) {
                self.rebalance(now_ns);
            }
            if self.is_over() {
                return Ok(());
            }
        }
    }

    /// Reads from whoever is ready, as long as a turn takes; those last who have more to execute than their share.
    fn read_ready(&mut self, awake_ns: u64) {
        let until_ns = awake_ns.saturating_add(TURN_NS);
        let mut taken = 0;
        while let Some(&token) = self.ready.get(taken) {
            taken += 1;
            if self.read(token) > until_ns {
                break;
            }
        }
        // They are in the list that the next turn begins with, whose order is theirs.
        let left = self.ready.split_off(taken);
        self.again.splice(0..0, left);
        self.ready.clear();
        while let Some(token) = self.heavy.pop_front() {
            // Whatever the others need, one of these has its slice.
            if self.read(token) > until_ns {
                break;
            }
        }
    }

    /// Writes to whoever is to be written to, as long as a turn takes; the others have theirs in the next.
    fn write_all(&mut self) {
        let until_ns = SystemClock.monotonic_ns().saturating_add(TURN_NS);
        let mut written = 0;
        while let Some(&token) = self.flush.get(written) {
            self.write(token);
            written += 1;
            if written.is_multiple_of(WRITES_A_LOOK) && SystemClock.monotonic_ns() > until_ns {
                break;
            }
        }
        for token in self.flush.drain(..).skip(written) {
            if let Some(Some(slot)) = self.slots.get_mut(token) {
                slot.to_flush = false;
                self.unsent.push(token);
            }
        }
    }

    /// How long to sleep at most.
    fn patience(&self) -> Option<Duration> {
        if !self.heavy.is_empty() || !self.unsent.is_empty() {
            return Some(Duration::ZERO);
        }
        if !self.again.is_empty() {
            let all_paused = self.again.iter().all(
                |&token| matches!(self.slots.get(token), Some(Some(slot)) if slot.connection.is_paused()),
            );
            return Some(Duration::from_millis(if all_paused { PAUSE_MS } else { 0 }));
        }
        let beat = self.patience_between_beats();
        match self.until_next_timer() {
            Some(until) => Some(beat.map_or(until, |beat| beat.min(until))),
            None => beat,
        }
    }

    /// How long to sleep at most between looks at what only time changes.
    fn patience_between_beats(&self) -> Option<Duration> {
        let live = &self.worker.live;
        let timed = self.number == 0
            || self.ending_since_ms.is_some()
            || live.idle_ms_max > 0
            || self.worker.over_soft_limit;
        let patience_ms = if self.ending_since_ms.is_some() {
            50
        } else if self.number == 0 && self.has_beat() {
            BEAT_MS
        } else {
            TICK_MS
        };
        timed.then(|| Duration::from_millis(patience_ms))
    }

    /// Whether the first loop has something to do ten times a second.
    fn has_beat(&self) -> bool {
        self.worker.live.storage.memory_bytes_max != u64::MAX || self.worker.server.checkpoints.is_scheduled()
    }

    /// What the first loop does ten times a second.
    fn beat(&mut self, now_ms: u64) {
        if now_ms.wrapping_sub(self.last_beat_ms) < BEAT_MS {
            return;
        }
        self.last_beat_ms = now_ms;
        let server = &self.worker.server;
        server.db.note_resident_bytes(process::resident_bytes());
        server.checkpoints.begin_scheduled(&server.db);
    }

    fn read_mail(&mut self) {
        if self.handle.has_mail.swap(false, Ordering::SeqCst) {
            let mail = std::mem::take(&mut *self.handle.mail.lock());
            for message in mail {
                match message {
                    Message::Connection(stream, origin) => self.adopt(stream, origin),
                    Message::Moved(slot) => self.take_over(slot),
                    Message::GiveAway { one_in, busy_only, to } => self.give_away(one_in, busy_only, to),
                    Message::Done { token, id, errand } => self.errand_done(token, id, errand),
                    Message::Inboxes(clients) => self.look_into_inboxes(&clients),
                    Message::Kill { token, id } => {
                        if let Some(Some(slot)) = self.slots.get_mut(token)
                            && slot.connection.client().card.id == id
                        {
                            slot.connection.drop_now();
                            self.queue_flush(token);
                        }
                    }
                }
            }
        }
        self.worker.begin_batch();
        if !self.parked.is_empty() {
            self.unpark();
        }
        if !self.syncing.is_empty() {
            self.look_at_syncs();
        }
    }

    /// The log has moved, or failed: those who wait for it get a look.
    fn unpark(&mut self) {
        let acknowledged = self.worker.server.db.acknowledged();
        let failed = self.worker.server.db.log_failed();
        for token in std::mem::take(&mut self.parked) {
            if let Some(Some(slot)) = self.slots.get_mut(token) {
                slot.in_parked = false;
                if failed {
                    slot.connection.settle_failed(acknowledged, LOG_FAILED);
                }
                self.queue_flush(token);
            }
        }
        self.handle.parked.withdraw();
    }

    fn read_signals(&mut self) {
        let mut signals = [0; 16];
        while let Some(stream) = &mut self.signals {
            match stream.read(&mut signals) {
                Ok(count) if count > 0 => {
                    let again = self.worker.server.is_shutting_down();
                    tracing::info!(
                        "{}",
                        if again {
                            "second signal: not waiting for clients"
                        } else {
                            "signal: shutting down"
                        }
                    );
                    self.worker.server.request_shutdown(again || count > 1);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }

    fn free_token(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    /// Reads once, and executes what came. The time at which it began.
    fn read(&mut self, token: usize) -> u64 {
        let begun_ns = SystemClock.monotonic_ns();
        let Some(Some(slot)) = self.slots.get_mut(token) else { return begun_ns };
        self.worker.slice_until_ns = begun_ns.saturating_add(SLICE_NS);
        slot.queued = false;
        if slot.connection.can_resume(&self.worker) {
            slot.connection.resume(&mut self.worker);
        }
        if slot.readable && slot.connection.wants_input(&self.worker) {
            match slot.stream.read(&mut self.buffer) {
                Ok(0) => {
                    slot.readable = false;
                    slot.connection.end_of_input();
                }
                Ok(count) => {
                    slot.readable = count == self.buffer.len() || slot.read_closed;
                    self.worker.figures.bytes_in.add(count as u64);
                    slot.connection.receive(&mut self.worker, &self.buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => slot.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => slot.connection.drop_now(),
            }
        }
        if slot.read_closed && slot.connection.is_blocked() && !slot.connection.wants_input(&self.worker) {
            // It is read no further; that it has gone is known anyway.
            slot.connection.drop_now();
        }
        self.send_errand(token);
        self.queue_flush(token);
        begun_ns
    }

    fn queue_flush(&mut self, token: usize) {
        if let Some(Some(slot)) = self.slots.get_mut(token)
            && !slot.to_flush
        {
            slot.to_flush = true;
            self.flush.push(token);
        }
    }

    /// Hands what this turn's commands appended to the operating system.
    fn push_log(&mut self) {
        if !std::mem::take(&mut self.worker.wrote) {
            return;
        }
        match self.worker.server.db.push_log() {
            Ok(()) => self.push_complained = false,
            Err(error) => {
                if !std::mem::replace(&mut self.push_complained, true) {
                    tracing::error!(%error, "the log does not take writes");
                }
                if matches!(error, sessile::Error::LogFailed(_)) {
                    let acknowledged = self.worker.server.db.acknowledged();
                    for &token in &self.flush {
                        if let Some(Some(slot)) = self.slots.get_mut(token) {
                            slot.connection.settle_failed(acknowledged, LOG_FAILED);
                        }
                    }
                }
            }
        }
    }

    /// Sends what may be sent, and decides what comes next for the connection.
    fn write(&mut self, token: usize) {
        let Some(Some(slot)) = self.slots.get_mut(token) else { return };
        slot.to_flush = false;
        let acknowledged = self.worker.server.db.acknowledged();
        let durable = self.worker.server.db.durable();
        slot.connection.note_durable(durable);
        slot.connection.settle(acknowledged);
        let mut left = WRITE_BYTES;
        while slot.writable && !slot.connection.client().dropped {
            let output = slot.connection.output();
            if output.is_empty() {
                break;
            }
            if left == 0 {
                self.unsent.push(token);
                break;
            }
            match slot.stream.write(&output[..output.len().min(left)]) {
                Ok(count) => {
                    left -= count;
                    self.worker.figures.bytes_out.add(count as u64);
                    slot.connection.sent(&mut self.worker, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => slot.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => slot.connection.drop_now(),
            }
        }
        if slot.connection.has_output() {
            slot.connection.check_output_limit(&mut self.worker);
        }
        slot.connection.count_output(&mut self.worker);
        if slot.connection.is_finished(&self.worker) {
            self.close(token);
            return;
        }
        let goes_on = slot.connection.can_resume(&self.worker)
            || slot.connection.has_errand()
            || (slot.readable && slot.connection.wants_input(&self.worker));
        if goes_on && !slot.queued {
            slot.queued = true;
            if slot.connection.is_cut_short() {
                self.heavy.push_back(token);
            } else {
                self.again.push(token);
            }
        }
        if slot.connection.is_parked() && !slot.in_parked {
            slot.in_parked = true;
            self.parked.push(token);
            self.handle.parked.register();
            // The log may have moved, or failed, after we looked and before we said that we wait for it.
            let db = &self.worker.server.db;
            if db.acknowledged() != acknowledged || db.durable() != durable || db.log_failed() {
                self.handle.wake();
            }
        }
        self.enter_waits(token);
    }

    fn close(&mut self, token: usize) {
        let Some(mut slot) = self.slots.get_mut(token).and_then(Option::take) else { return };
        set_timer(&mut self.timers, token, &mut slot.timer_ms, None);
        // The socket is closed in a moment; the kernel forgets it then anyway.
        let _ = self.poll.registry().deregister(&mut slot.stream);
        slot.connection.leave(&self.worker.server);
        self.handle.connections.fetch_sub(1, Ordering::Relaxed);
        self.free.push(token);
    }

    /// What only time changes.
    fn tick(&mut self) {
        if self.patience_between_beats().is_none() && !self.worker.server.is_shutting_down() {
            return;
        }
        let now_ms = self.worker.server.db.now_ms();
        if self.worker.server.is_shutting_down() && self.ending_since_ms.is_none() {
            self.ending_since_ms = Some(now_ms);
            self.listeners.clear();
            for token in 0..self.slots.len() {
                if let Some(Some(slot)) = self.slots.get_mut(token) {
                    slot.connection.close_after_replies();
                    self.queue_flush(token);
                }
            }
            self.handle.wake();
        }
        if self.number == 0 && self.has_beat() {
            self.beat(now_ms);
        }
        if now_ms.wrapping_sub(self.last_tick_ms) < TICK_MS {
            return;
        }
        self.last_tick_ms = now_ms;
        self.worker.begin_batch();
        if self.number == 0 {
            self.worker.server.sample(now_ms);
            if std::mem::take(&mut self.accept_failed) {
                self.accept_again = true;
                self.handle.wake();
            }
        }
        let idle_ms_max = self.worker.live.idle_ms_max;
        if idle_ms_max > 0 || std::mem::take(&mut self.worker.over_soft_limit) {
            for token in 0..self.slots.len() {
                if let Some(Some(slot)) = self.slots.get_mut(token) {
                    let active_ms = slot.connection.client().card.active_ms.load(Ordering::Relaxed);
                    let idle =
                        idle_ms_max > 0 && !slot.connection.is_waiting() && !slot.connection.is_listening();
                    if idle && now_ms.saturating_sub(active_ms) > idle_ms_max {
                        tracing::debug!(client = %slot.connection.client().card.origin.address, "closing an idle client");
                        slot.connection.drop_now();
                    }
                    self.queue_flush(token);
                }
            }
            for token in std::mem::take(&mut self.flush) {
                self.write(token);
            }
        }
    }

    /// Whether the loop has nothing left to do in a server that shuts down.
    fn is_over(&self) -> bool {
        let Some(since_ms) = self.ending_since_ms else { return false };
        let server = &self.worker.server;
        let waited_ms = server.db.now_ms().saturating_sub(since_ms);
        self.handle.connections.load(Ordering::Relaxed) == 0
            || server.shutdown.now.load(Ordering::SeqCst)
            || waited_ms > self.worker.live.shutdown_ms
    }
}

const LOG_FAILED: &[u8] =
    b"IOERR This write may be lost: the log failed before it was acknowledged. Writes are refused until the server is restarted.";
