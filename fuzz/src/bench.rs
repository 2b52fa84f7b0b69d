//! A server in memory: simulated disk and clock, connections without sockets, everything in one thread.

use crate::resp;
use sessile::{Db, Durability, Options, StorageTuning};
use sessile_server::blocked::Ended;
use sessile_server::client::{Client, Origin};
use sessile_server::config::Config;
use sessile_server::connection::Connection;
use sessile_server::log::LogControl;
use sessile_server::server::Server;
use sessile_server::worker::Worker;
use sessile_wal::Clock;
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// When each simulation begins, in ms since the epoch.
pub const BEGINNING_MS: u64 = 1_795_000_000_000;

/// A request that was put off so often is never executed.
const PAUSES_MAX: u32 = 10_000;

/// Options under which a few keys meet all that millions would; which of them, says `choice`.
pub fn small(choice: u8) -> Options {
    let tuning = StorageTuning {
        shards: Some(4),
        hash_mask: if choice & 1 == 0 { u64::MAX } else { 0xC000_0000_0010_0000 },
        segment_target_bytes: 2_000,
        small_segment_bytes: 1_000,
        small_segments: 2,
        dead_bytes_prompt: 500,
        objects_bytes_min: 0,
        compaction_soon_ms: 0,
        compaction_look_ms: 1,
        idle_pass_ms: 1,
        idle_bytes_min: 1,
        dictionary_samples_min: 8,
        dictionary_bytes_max: 512,
        reserve_bytes: 0,
        ..StorageTuning::default()
    };
    Options::new()
        .durability(if choice & 2 == 0 { Durability::EverySecond } else { Durability::Always })
        .manual_background()
        .log_file_bytes_max(64 << 10)
        .memory_bytes_max(if choice & 4 == 0 { u64::MAX } else { 1 })
        .idle_compression(choice & 8 != 0)
        .checkpoint_log_bytes(if choice & 16 == 0 { u64::MAX } else { 1_000 })
        .checkpoint_interval(Duration::from_secs(900))
        .storage_tuning(tuning)
}

/// How often a clock is looked at before it moves by itself: far oftener than any commands of an input do, but a script without end.
const LOOKS_MAX: u64 = 10_000;

/// A clock that stands, unless somebody waits for it to move.
struct WatchedClock {
    clock: SimClock,
    looks: Arc<AtomicU64>,
}

impl Clock for WatchedClock {
    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        if self.looks.fetch_add(1, Ordering::Relaxed) > LOOKS_MAX {
            self.clock.advance_ms(1);
        }
        self.clock.monotonic_ns()
    }
}

/// A server with its clients.
pub struct Bench {
    /// The disk.
    pub fs: SimFs,
    /// The clock.
    pub clock: SimClock,
    /// How often it was looked at since somebody sent something.
    looks: Arc<AtomicU64>,
    options: Options,
    /// The database.
    pub db: Db,
    /// The server.
    pub server: Arc<Server>,
    /// The loop.
    pub worker: Worker,
    /// The clients' connections.
    pub connections: Vec<Connection>,
}

impl Bench {
    /// Of an empty directory, with these directives.
    pub fn new(options: Options, directives: &[(&str, &str)]) -> Bench {
        let (fs, clock) = (SimFs::new(1), SimClock::new(BEGINNING_MS));
        crate::directory::fixed_manifest(&fs);
        let looks = Arc::new(AtomicU64::new(0));
        let watched = WatchedClock { clock: clock.clone(), looks: Arc::clone(&looks) };
        let options = options.file_system(Arc::new(fs.clone())).clock(Arc::new(watched));
        let db = options.clone().open("/data").expect("a new directory");
        let mut config = Config::default();
        for (name, value) in directives {
            config.set(name, &[value]).expect("a directive");
        }
        let server = Server::new(db.clone(), config, None, LogControl::default());
        let worker = Worker::new(Arc::clone(&server));
        Bench { fs, clock, looks, options, db, server, worker, connections: Vec::new() }
    }

    /// Another client.
    pub fn connect(&mut self) {
        let card = self.server.clients.join(Origin::none(), self.db.now_ms());
        self.connections.push(Connection::new(Client::new(card, &self.server.acl)));
    }

    /// Gives bytes to a connection, if it takes any.
    pub fn receive(&mut self, number: usize, bytes: &[u8]) {
        self.looks.store(0, Ordering::Relaxed);
        let connection = &mut self.connections[number];
        if connection.wants_input(&self.worker) {
            connection.receive(&mut self.worker, bytes);
        }
    }

    /// Runs what a connection has asked others to do, and lets it go on; whether it waits for something that will not come by itself.
    pub fn run_errands(&mut self, number: usize) -> bool {
        let connection = &mut self.connections[number];
        let mut pauses = 0;
        loop {
            if let Some(mut errand) = connection.take_errand() {
                errand.run();
                connection.errand_done(errand);
            } else if connection.is_blocked() {
                return true;
            } else if connection.is_paused() {
                // For room in the log's buffer, or for values to leave memory.
                pauses += 1;
                assert!(pauses < PAUSES_MAX, "what it waits for does not come");
                self.db.push_log().expect("the disk is sound");
                self.db.step().expect("the disk is sound");
            } else {
                return false;
            }
            connection.resume(&mut self.worker);
        }
    }

    /// Ends the wait of a connection as if its time were up.
    pub fn end_wait(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if connection.is_postponed() {
            self.server.end_pause();
            connection.end_pause();
        } else if let Some(wait) = connection.wait() {
            wait.end(Ended::TimedOut);
        }
        connection.resume(&mut self.worker);
    }

    /// Acknowledges what was written, and takes what a connection has to say.
    pub fn take(&mut self, number: usize) -> Vec<u8> {
        self.db.push_log().expect("the disk is sound");
        if self.db.durability() == Durability::Always {
            self.db.flush().expect("the disk is sound");
        }
        let acknowledged = self.db.acknowledged();
        let connection = &mut self.connections[number];
        connection.take_pushes(&mut self.worker);
        connection.settle(acknowledged);
        if connection.is_parked() {
            // The end of a session waits for the disk whatever is configured.
            self.db.flush().expect("the disk is sound");
            connection.note_durable(self.db.durable());
            connection.settle(acknowledged);
        }
        assert!(!connection.is_parked(), "everything was acknowledged");
        let mut all = Vec::new();
        while !connection.output().is_empty() {
            all.extend_from_slice(connection.output());
            let count = connection.output().len();
            connection.sent(&mut self.worker, count);
        }
        all
    }

    /// The reply to a request of the first connection.
    pub fn ask(&mut self, args: &[impl AsRef<[u8]>]) -> resp::Value {
        if self.connections.is_empty() {
            self.connect();
        }
        self.receive(0, &resp::request(args));
        while self.run_errands(0) {
            self.end_wait(0);
        }
        let bytes = self.take(0);
        let mut replies = resp::parse_all(&bytes);
        assert_eq!(replies.len(), 1, "{}", String::from_utf8_lossy(&bytes));
        replies.remove(0)
    }

    /// Ends the process, in good order or not, and opens the directory again. Clients are gone.
    pub fn reopen(&mut self, how: Ending) {
        for mut connection in self.connections.drain(..) {
            connection.leave(&self.server);
        }
        self.db.push_log().expect("the disk is sound");
        match how {
            Ending::Closed => self.db.close().expect("the disk is sound"),
            Ending::Killed => {}
            Ending::PowerCut => self.db.flush().expect("the disk is sound"),
        }
        // Whoever still has the old one can do no harm to the new one's disk.
        let kept = self.fs.fork(7);
        if how == Ending::PowerCut {
            kept.crash();
        } else {
            kept.kill();
        }
        self.fs = kept;
        self.options = self.options.clone().file_system(Arc::new(self.fs.clone()));
        self.db = self.options.clone().open("/data").expect("what was written is sound");
        let config = self.server.config();
        self.server = Server::new(self.db.clone(), config, None, LogControl::default());
        self.worker = Worker::new(Arc::clone(&self.server));
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In good order.
    Closed,
    /// With all that it has written left to the system.
    Killed,
    /// With all that was synced, which was all.
    PowerCut,
}
