//! What all event loops share: the engine, the configuration, who is connected, and the way to wake a loop.

use crate::acl::Acl;
use crate::blocked::{Blocked, Ended};
use crate::budget::Budget;
use crate::client::{ClientCard, Clients};
use crate::config::{Config, Live};
use crate::latency::{FSYNC, LatencyMonitor, Sample};
use crate::lease::Leases;
use crate::monitor::Monitors;
use crate::net::{LoopHandle, Loops};
use crate::observer::KeyObserver;
use crate::pause::Pause;
use crate::pubsub::PubSub;
use crate::push::Signals;
use crate::slow_log::SlowLog;
use crate::strays::Strays;
use crate::tracking::Tracking;
use crate::worker::{Figures, Worker};
use sessile::{Db, Durability};
use sessile_wal::sync::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Different error codes that are counted; more are not told apart (a script can invent them).
const ERROR_CODES_MAX: usize = 128;

/// What is counted where loops meet, rarely enough for shared atomics.
#[derive(Debug, Default)]
pub struct SharedFigures {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused for `maxclients` or protected mode.
    pub rejected: AtomicU64,
    /// Most clients at a time.
    pub clients_peak: AtomicUsize,
    /// Wrong passwords.
    pub authentication_failures: AtomicU64,
}

/// The last sample of how much was done, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    at_ms: u64,
    commands: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// Commands a second.
    pub commands_per_second: u64,
    /// Bytes read a second.
    pub bytes_in_per_second: u64,
    /// Bytes written a second.
    pub bytes_out_per_second: u64,
}

/// Whether and how the process is to end.
#[derive(Debug, Default)]
pub struct Shutdown {
    /// Loops stop accepting and reading, and end when their clients have what is theirs.
    pub requested: AtomicBool,
    /// They don't wait for clients.
    pub now: AtomicBool,
    /// No checkpoint is made at the end (`SHUTDOWN NOSAVE`): the next start reads more of the log.
    pub no_save: AtomicBool,
}

/// What was asked for of checkpoints, and what the engine's figures don't say of them.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// One is to be made when the one under way is over.
    scheduled: AtomicBool,
    /// When the one under way was first seen, ms since the epoch; 0 while there is none.
    seen_ms: AtomicU64,
}

impl Checkpoints {
    /// Has one made when the one under way is over.
    pub fn schedule(&self) {
        self.scheduled.store(true, Ordering::Relaxed);
    }

    /// Whether one is to be made.
    pub fn is_scheduled(&self) -> bool {
        self.scheduled.load(Ordering::Relaxed)
    }

    /// Begins the one that is scheduled, if it can.
    pub fn begin_scheduled(&self, db: &Db) {
        if self.is_scheduled() && db.request_checkpoint() {
            self.scheduled.store(false, Ordering::Relaxed);
        }
    }

    /// Takes note of whether one is under way; if so, for how long, as far as was seen, in ms.
    pub fn observe(&self, running: bool, now_ms: u64) -> Option<u64> {
        if !running {
            self.seen_ms.store(0, Ordering::Relaxed);
            return None;
        }
        match self.seen_ms.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(0),
            Err(since_ms) => Some(now_ms.saturating_sub(since_ms)),
        }
    }
}

/// What all clients together leave untaken before some of them have to wait, or go.
const OUTPUT_BYTES_MAX: usize = 32 << 20;
/// Clients that leave less than this untaken don't count for that.
const OUTPUT_BYTES_COUNTED: usize = 32 << 10;
/// What all who have not authenticated may have sent of requests that are not whole.
const STRANGERS_BYTES_MAX: usize = 16 << 20;
/// One of them that has sent less does not count.
const STRANGERS_BYTES_COUNTED: usize = 4 << 10;

/// See the module's page.
pub struct Server {
    /// The engine.
    pub db: Db,
    config: RwLock<Config>,
    live: RwLock<Arc<Live>>,
    live_version: AtomicU64,
    /// Where the configuration was read from; `None` if from nowhere.
    pub config_file: Option<String>,
    /// Who may connect, and do what.
    pub acl: Acl,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// Who waits.
    pub blocked: Arc<Blocked>,
    /// Who has the lease of which session.
    pub leases: Arc<Leases>,
    /// Who asks for sessions that there are not.
    pub strays: Strays,
    /// Who holds copies of what.
    pub tracking: Arc<Tracking>,
    /// Whether clients are paused.
    pub pause: Pause,
    /// Connections accepted and on their way to a loop.
    pub arriving: AtomicUsize,
    /// Commands a second, as last sampled.
    rate: Mutex<Rate>,
    /// The loops, once they run.
    pub loops: Arc<Loops>,
    /// How many of them carry connections.
    active_loops: AtomicUsize,
    /// The figures of each loop.
    pub figures: Mutex<Vec<Arc<Figures>>>,
    /// Replies, and what clients are told besides, that they have not taken.
    pub outputs: Budget,
    /// Replies that may be large and are being made; see [`LargeReply`](crate::errand::LargeReply).
    pub large_replies: AtomicUsize,
    /// Unfinished requests of those who have not authenticated.
    pub strangers: Budget,
    /// Those of threads that run what takes long, that none of them counts in now.
    spare_figures: Mutex<Vec<Arc<Figures>>>,
    /// Figures common to all.
    pub shared: SharedFigures,
    /// Errors by code.
    pub errors: Mutex<BTreeMap<String, u64>>,
    /// How the process is to end.
    pub shutdown: Shutdown,
    /// Who listens to which channel.
    pub pubsub: Arc<PubSub>,
    /// Who tells them of keys that go without a command.
    observer: Arc<KeyObserver>,
    /// Held while it is switched on or off, by what is wanted at that moment.
    observing: Mutex<()>,
    /// Who is shown every command.
    pub monitors: Monitors,
    /// What took long.
    pub latency: LatencyMonitor,
    /// Syncs of the log when latency was last looked at.
    syncs_seen: AtomicU64,
    /// Which commands took long.
    pub slow_log: SlowLog,
    /// What was asked for of checkpoints.
    pub checkpoints: Checkpoints,
    /// 40 hexadecimal digits that no other run has.
    pub run_id: String,
    /// When the server started, ms since the epoch.
    pub started_ms: u64,
    /// What is known of scripts.
    #[cfg(feature = "scripting")]
    pub scripting: crate::scripting::Scripting,
    /// What the log's level is changed by.
    pub log: crate::log::LogControl,
}

impl Server {
    /// A server over an open database.
    pub fn new(
        db: Db,
        config: Config,
        config_file: Option<String>,
        log: crate::log::LogControl,
    ) -> Arc<Server> {
        let live = Arc::new(Live::from_config(&config));
        let acl = Acl::default();
        if !config.get("requirepass").is_empty() {
            acl.set_default_password(config.get("requirepass"));
        }
        live.storage.apply(&db);
        let started_ms = db.now_ms();
        let mut id = [0; 20];
        if getrandom::fill(&mut id).is_err() {
            id[..8].copy_from_slice(&started_ms.to_le_bytes());
        }
        let run_id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let (pubsub, loops) = (Arc::new(PubSub::default()), Arc::new(Loops::new()));
        let clients: Arc<Clients> = Arc::default();
        let tracking = Arc::new(Tracking::new(Arc::clone(&clients)));
        let observer =
            Arc::new(KeyObserver::new(Arc::clone(&pubsub), Arc::clone(&tracking), Arc::clone(&loops)));
        db.set_observer(Arc::clone(&observer) as _);
        db.set_observing(observer.follow(&live));
        let blocked: Arc<Blocked> = Arc::default();
        let (for_notifier, loops_to_tell) = (Arc::clone(&blocked), Arc::clone(&loops));
        db.set_session_event_notifier(Box::new(move || {
            let mut signals = Signals::default();
            for_notifier.call_for_events().iter().for_each(|client| signals.tell(client));
            signals.send(&loops_to_tell);
        }));
        Arc::new(Server {
            db,
            config: RwLock::new(config),
            live: RwLock::new(live),
            live_version: AtomicU64::new(0),
            config_file,
            clients,
            tracking,
            blocked,
            leases: Arc::default(),
            strays: Strays::default(),
            pause: Pause::default(),
            acl,
            arriving: AtomicUsize::new(0),
            rate: Mutex::default(),
            loops,
            active_loops: AtomicUsize::new(1),
            figures: Mutex::default(),
            outputs: Budget::new(OUTPUT_BYTES_MAX, OUTPUT_BYTES_COUNTED),
            large_replies: AtomicUsize::new(0),
            strangers: Budget::new(STRANGERS_BYTES_MAX, STRANGERS_BYTES_COUNTED),
            spare_figures: Mutex::default(),
            shared: SharedFigures::default(),
            errors: Mutex::default(),
            shutdown: Shutdown::default(),
            pubsub,
            observer,
            observing: Mutex::default(),
            monitors: Monitors::default(),
            latency: LatencyMonitor::default(),
            syncs_seen: AtomicU64::new(0),
            slow_log: SlowLog::default(),
            checkpoints: Checkpoints::default(),
            run_id,
            started_ms,
            #[cfg(feature = "scripting")]
            scripting: crate::scripting::Scripting::default(),
            log,
        })
    }

    /// Has the engine tell of keys that expire or are evicted, if anybody wants to know. To be called after whatever may change that.
    pub fn update_observing(&self) {
        // Of several at a time the last one to look is the last one to switch.
        let _alone = self.observing.lock();
        self.db.set_observing(self.observer.follow(&self.live.read()));
    }

    /// The configuration as it is now, and its version.
    pub fn live(&self) -> (Arc<Live>, u64) {
        let live = self.live.read();
        (Arc::clone(&live), self.live_version.load(Ordering::Acquire))
    }

    /// Changes whenever the configuration does.
    pub fn live_version(&self) -> u64 {
        self.live_version.load(Ordering::Acquire)
    }

    /// A copy of every directive's value.
    pub fn config(&self) -> Config {
        self.config.read().clone()
    }

    /// Changes directives by `change`, all of them or, on an error, none, and tells whoever must know.
    ///
    /// # Errors
    ///
    /// Whatever `change` says.
    pub fn change_config<E>(&self, change: impl FnOnce(&mut Config) -> Result<(), E>) -> Result<(), E> {
        let mut config = self.config.write();
        let mut changed = config.clone();
        change(&mut changed)?;
        let live = Arc::new(Live::from_config(&changed));
        if config.get("requirepass") != changed.get("requirepass") {
            self.acl.set_default_password(changed.get("requirepass"));
        }
        *config = changed;
        let mut current = self.live.write();
        if current.durability != live.durability {
            self.db.set_durability(live.durability);
        }
        if current.log_level != live.log_level {
            self.log.set_level(live.log_level);
        }
        if current.storage != live.storage {
            live.storage.apply(&self.db);
        }
        *current = live;
        self.live_version.fetch_add(1, Ordering::Release);
        drop(current);
        self.update_observing();
        // A loop that sleeps without a limit may have to look at the time from now on.
        for handle in self.loops.get().into_iter().flatten() {
            handle.wake();
        }
        Ok(())
    }

    /// Counts an error reply by its code.
    pub fn count_error(&self, text: &[u8]) {
        let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        let code = String::from_utf8_lossy(code);
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(&*code) {
            *count += 1;
        } else if errors.len() < ERROR_CODES_MAX {
            errors.insert(code.into_owned(), 1);
        }
    }

    /// The loops that carry connections.
    pub fn active_loops(&self) -> &[Arc<LoopHandle>] {
        let loops = self.loops.get().map_or(&[][..], Vec::as_slice);
        loops.get(..self.active_loops.load(Ordering::Relaxed)).unwrap_or(loops)
    }

    /// Says how many loops carry connections from now on.
    pub fn set_active_loops(&self, count: usize) {
        self.active_loops.store(count, Ordering::Relaxed);
    }

    /// Takes a sample of how much was done; once a second.
    pub fn sample(&self, now_ms: u64) {
        let stats = self.db.stats();
        self.checkpoints.observe(stats.storage.checkpoint_running, now_ms);
        let live = self.live().0;
        let synced = self.syncs_seen.swap(stats.log.syncs, Ordering::Relaxed) != stats.log.syncs;
        let milliseconds = stats.log.last_sync_us / 1000;
        if synced && live.durability == Durability::Always && milliseconds >= live.latency_ms_min {
            self.latency.add(FSYNC, Sample { at_seconds: now_ms / 1000, milliseconds });
        }
        let sum = |figure: fn(&Figures) -> u64| {
            self.figures.lock().iter().map(|figures| figure(figures)).sum::<u64>()
        };
        let commands = sum(|figures| figures.processed.get());
        let bytes_in = sum(|figures| figures.bytes_in.get());
        let bytes_out = sum(|figures| figures.bytes_out.get());
        let mut rate = self.rate.lock();
        let elapsed_ms = now_ms.saturating_sub(rate.at_ms).max(1);
        let per_second = |now: u64, before: u64| now.saturating_sub(before) * 1000 / elapsed_ms;
        *rate = Rate {
            at_ms: now_ms,
            commands,
            bytes_in,
            bytes_out,
            commands_per_second: per_second(commands, rate.commands),
            bytes_in_per_second: per_second(bytes_in, rate.bytes_in),
            bytes_out_per_second: per_second(bytes_out, rate.bytes_out),
        };
    }

    /// When the last checkpoint ended, in ms since the epoch; the start where there was none, as in Redis.
    pub fn last_checkpoint_ms(&self) -> u64 {
        match self.db.stats().storage.last_checkpoint_ms {
            0 => self.started_ms,
            ended_ms => ended_ms,
        }
    }

    /// The last sample.
    pub fn rate(&self) -> Rate {
        *self.rate.lock()
    }

    /// A worker for a thread that runs what takes long.
    pub fn take_worker(self: &Arc<Server>) -> Worker {
        // Not within the condition: a worker that is new has its figures listed.
        let spare = self.spare_figures.lock().pop();
        match spare {
            Some(figures) => Worker::with_figures(Arc::clone(self), figures),
            None => Worker::new(Arc::clone(self)),
        }
    }

    /// Takes it back.
    pub fn give_worker(&self, worker: &Worker) {
        self.spare_figures.lock().push(Arc::clone(&worker.figures));
    }

    /// Puts every figure back to zero.
    pub fn reset_figures(&self) {
        self.figures.lock().iter().for_each(|figures| figures.reset());
        self.errors.lock().clear();
        for figure in [&self.shared.connections, &self.shared.rejected, &self.shared.authentication_failures]
        {
            figure.store(0, Ordering::Relaxed);
        }
        *self.rate.lock() = Rate::default();
    }

    /// Asks every loop to end.
    pub fn request_shutdown(&self, now: bool) {
        self.shutdown.now.fetch_or(now, Ordering::SeqCst);
        self.shutdown.requested.store(true, Ordering::SeqCst);
        for handle in self.loops.get().into_iter().flatten() {
            handle.wake();
        }
    }

    /// Whether the process is about to end.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.requested.load(Ordering::Relaxed)
    }

    /// Has clients try again that wait for something which may be there now.
    pub fn wake_waiters(&self, clients: impl IntoIterator<Item = Arc<ClientCard>>) {
        let mut signals = Signals::default();
        for client in clients {
            if self.blocked.unblock(client.id, Ended::Retry).is_some() {
                signals.tell(&client);
            }
        }
        signals.send(&self.loops);
    }

    /// Ends a pause: clients go on.
    pub fn end_pause(&self) {
        self.pause.end();
        for handle in self.loops.get().into_iter().flatten() {
            handle.wake();
        }
    }

    /// Ends a client, on whichever loop it lives.
    pub fn kill(&self, card: &crate::client::ClientCard) {
        card.killed.store(true, Ordering::SeqCst);
        let place = *card.place.lock();
        if let (Some((number, token)), Some(loops)) = (place, self.loops.get())
            && let Some(handle) = loops.get(number)
        {
            handle.send(crate::net::Message::Kill { token, id: card.id });
        }
    }
}
