//! What an event loop carries from command to command: the server, the configuration as of this turn, the time, figures of its own.
//!
//! Everything here belongs to one thread, so that executing a command takes no lock but the engine's. Figures are atomics that only
//! their own loop writes (plain stores); whoever asks for `INFO` adds the loops up.

use crate::command::Random;
use crate::command::session::Tokens;
use crate::command::table::table;
use crate::config::Live;
use crate::latency::Histogram;
use crate::push::Signals;
use crate::server::Server;
use crate::tracking::Broadcasts;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Output buffers kept for reuse, and the largest that is kept.
const SPARE_BUFFERS_MAX: usize = 256;
const SPARE_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// A figure that one thread writes and any may read.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Adds. Only the owning thread may.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to zero (`CONFIG RESETSTAT`); an addition at the same moment may be lost.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What is counted for each command.
#[derive(Debug, Default)]
pub struct CommandFigures {
    /// Runs.
    pub calls: Figure,
    /// Runs that were [timed](crate::command::timing).
    pub timed: Figure,
    /// Time in those.
    pub nanoseconds: Figure,
    /// How long each of them took; there once one was.
    pub histogram: OnceLock<Box<Histogram>>,
    /// Refused before it ran.
    pub rejected: Figure,
    /// Ran and answered an error.
    pub failed: Figure,
}

/// What an event loop counts.
#[derive(Debug)]
pub struct Figures {
    /// By command number.
    pub commands: Box<[CommandFigures]>,
    /// Commands in all.
    pub processed: Figure,
    /// Keys that reads found.
    pub hits: Figure,
    /// Keys that reads did not find.
    pub misses: Figure,
    /// Bytes read from clients.
    pub bytes_in: Figure,
    /// Bytes written to them.
    pub bytes_out: Figure,
    /// Replies that were errors.
    pub errors: Figure,
    /// Connections closed because they held too many bytes of replies.
    pub output_overruns: Figure,
    /// Connections closed because their request was too long.
    pub query_overruns: Figure,
    /// Turns of the loop.
    pub turns: Figure,
}

impl Figures {
    fn new() -> Figures {
        Figures {
            commands: (0..table().numbers()).map(|_| CommandFigures::default()).collect(),
            processed: Figure::default(),
            hits: Figure::default(),
            misses: Figure::default(),
            bytes_in: Figure::default(),
            bytes_out: Figure::default(),
            errors: Figure::default(),
            output_overruns: Figure::default(),
            query_overruns: Figure::default(),
            turns: Figure::default(),
        }
    }

    /// Everything back to zero.
    pub fn reset(&self) {
        for command in &self.commands {
            for figure in
                [&command.calls, &command.timed, &command.nanoseconds, &command.rejected, &command.failed]
            {
                figure.reset();
            }
            if let Some(histogram) = command.histogram.get() {
                histogram.reset();
            }
        }
        for figure in [
            &self.processed,
            &self.hits,
            &self.misses,
            &self.bytes_in,
            &self.bytes_out,
            &self.errors,
            &self.output_overruns,
            &self.query_overruns,
            &self.turns,
        ] {
            figure.reset();
        }
    }
}

/// See the module's page.
pub struct Worker {
    /// What all loops share.
    pub server: Arc<Server>,
    /// The configuration as of this turn.
    pub live: Arc<Live>,
    live_version: u64,
    /// For random choices.
    pub random: Random,
    /// This loop's figures.
    pub figures: Arc<Figures>,
    /// The time of the read being executed, ms since the epoch.
    pub now_ms: u64,
    /// Whether something was appended to the log since it was last pushed.
    pub wrote: bool,
    /// For sessions to be made.
    pub tokens: Tokens,
    /// Clients that were told something in this turn.
    pub signals: Signals,
    /// Keys changed in this turn that are to be broadcast to those who track them.
    pub broadcasts: Broadcasts,
    /// When whoever is executing lets the others have their turn, on the monotonic clock.
    pub slice_until_ns: u64,
    /// The latest time that was seen of the monotonic clock, as commands were timed.
    pub seen_ns: u64,
    /// A connection was found over its soft limit of output: time may end it.
    pub over_soft_limit: bool,
    spare_buffers: Vec<Vec<u8>>,
}

impl Worker {
    /// A worker for one thread, known to the server so that its figures count.
    pub fn new(server: Arc<Server>) -> Worker {
        let figures = Arc::new(Figures::new());
        server.figures.lock().push(Arc::clone(&figures));
        Worker::with_figures(server, figures)
    }

    /// A worker that counts in figures which the server knows, and which no other worker counts in meanwhile.
    pub fn with_figures(server: Arc<Server>, figures: Arc<Figures>) -> Worker {
        let (live, live_version) = server.live();
        let now_ms = server.db.now_ms();
        let random = Random::new(getrandom::u64().unwrap_or(now_ms));
        Worker {
            server,
            live,
            live_version,
            random,
            figures,
            now_ms,
            wrote: false,
            tokens: Tokens::default(),
            signals: Signals::default(),
            broadcasts: Broadcasts::default(),
            slice_until_ns: u64::MAX,
            seen_ns: 0,
            over_soft_limit: false,
            spare_buffers: Vec::new(),
        }
    }

    /// Begins the execution of what one read brought: one look at the clock, and at the configuration if it has changed.
    pub fn begin_batch(&mut self) {
        self.now_ms = self.server.db.now_ms();
        if self.server.live_version() != self.live_version {
            (self.live, self.live_version) = self.server.live();
        }
    }

    /// Tells the loops of what was posted, from a thread that is none.
    pub fn send_signals(&mut self) {
        if !self.broadcasts.is_empty() {
            let bytes_max = self.live.pushed_bytes_max();
            self.server.tracking.broadcast(&mut self.broadcasts, &mut self.signals, bytes_max);
        }
        self.signals.send(&self.server.loops);
    }

    /// A buffer for replies.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        self.spare_buffers.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub fn give_buffer(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() != 0
            && buffer.capacity() <= SPARE_BUFFER_BYTES_MAX
            && self.spare_buffers.len() < SPARE_BUFFERS_MAX
        {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }
}
