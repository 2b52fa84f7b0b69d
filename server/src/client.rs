//! What is known of a client: the part that its connection works with, and the part that others may look at.
//!
//! A [`Client`] belongs to one connection on one event loop. Its [`ClientCard`] is shared, so that `CLIENT LIST` and `CLIENT KILL` work
//! across loops; the connection brings the card up to date once per read, with plain stores, never with a lock.

use crate::acl::{Acl, User};
use crate::blocked::Place;
use crate::command::session::Missed;
use crate::pubsub::Subscriptions;
use crate::push::Inbox;
use crate::server::Server;
use crate::tracking::{Tracked, modes};
use crate::transaction::Transaction;
use crate::worker::Worker;
use sessile::Lsn;
use sessile_wal::sync::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// Whether replies are sent (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// They are.
    #[default]
    On,
    /// Not until `CLIENT REPLY ON`.
    Off,
    /// Not the one of the command that follows `CLIENT REPLY SKIP`.
    SkipNext,
}

/// What a connection knows of its client.
#[derive(Debug)]
pub struct Client {
    /// What others see of it.
    pub card: Arc<ClientCard>,
    /// The database that keys without one belong to.
    pub database: u8,
    /// Whether it may run commands.
    pub authenticated: bool,
    /// Who it is; the default user until it has said otherwise.
    pub user: Arc<User>,
    /// Whether it gets replies.
    pub reply_mode: ReplyMode,
    /// Nothing further is read from it; it is closed once it has its replies.
    pub closing: bool,
    /// Nothing further is sent to it either: it is closed now.
    pub dropped: bool,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: bool,
    /// What it has begun with `MULTI` and `WATCH`.
    pub transaction: Transaction,
    /// The command it last ran (its number in the table).
    pub last_command: u16,
    /// What it runs must not wait: it is part of a transaction.
    pub may_not_wait: bool,
    /// Its place among those who wait, while it tries again.
    pub place: Option<Place>,
    /// The arguments that the command has then, if they are not what the client sent.
    pub settled: Option<Vec<Box<[u8]>>>,
    /// Whether the reply of the command being executed waits until its write survives a power cut, whatever is configured.
    pub must_be_durable: Durable,
    /// What the command being executed, or the transaction, has presented that no session has.
    pub missed: Missed,
    /// Up to where the log holds what it has written.
    pub last_lsn: Lsn,
    /// How many bytes it was told before the reply of the command being executed, and up to where the log must hold what they tell of.
    pub told_first: (usize, Lsn),
    /// How many bytes of what the command being executed wrote are no reply but something to be told in any case.
    pub told_bytes: usize,
    /// Whether it is told things other than messages without having asked (`MONITOR`, invalidations), and so must take them.
    pub listens: bool,
    subscriptions: Option<Box<Subscriptions>>,
    /// Prefixes of the keys that it tracks, in order, if it does so by prefix.
    pub prefixes: Vec<Box<[u8]>>,
}

/// What must survive a power cut before a reply leaves, whatever is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Durable {
    /// What its command has written.
    pub written: bool,
    /// The log up to there: what it tells of.
    pub at: Lsn,
}

impl Durable {
    /// Both this and that.
    pub fn add(&mut self, other: Durable) {
        self.written |= other.written;
        self.at = self.at.max(other.at);
    }

    /// What the reply of a command waits for whose own write ends at `lsn`, and whether that must survive a power cut.
    pub fn position(self, lsn: Lsn) -> (Lsn, bool) {
        (lsn.max(self.at), self.written || self.at > Lsn::ZERO)
    }
}

/// What who listens to nothing listens to.
static NOTHING: LazyLock<Subscriptions> = LazyLock::new(Subscriptions::default);

impl Client {
    /// A client that has just connected.
    pub fn new(card: Arc<ClientCard>, acl: &Acl) -> Client {
        let user = acl.default_user();
        card.names.lock().user.clone_from(&user.name);
        Client {
            card,
            database: 0,
            authenticated: acl.lets_anybody_in(),
            user,
            reply_mode: ReplyMode::On,
            closing: false,
            dropped: false,
            no_evict: false,
            no_touch: false,
            transaction: Transaction::default(),
            last_command: ClientCard::NO_COMMAND,
            may_not_wait: false,
            place: None,
            settled: None,
            last_lsn: Lsn::ZERO,
            must_be_durable: Durable::default(),
            missed: Missed::default(),
            told_first: (0, Lsn::ZERO),
            told_bytes: 0,
            listens: false,
            subscriptions: None,
            prefixes: Vec::new(),
        }
    }

    /// The client as a script has it that it runs: what the script selects is the script's own.
    pub fn in_script(card: Arc<ClientCard>, user: Arc<User>, database: u8) -> Client {
        Client {
            card,
            database,
            authenticated: true,
            user,
            reply_mode: ReplyMode::On,
            closing: false,
            dropped: false,
            no_evict: false,
            no_touch: false,
            transaction: Transaction::default(),
            last_command: ClientCard::NO_COMMAND,
            may_not_wait: true,
            place: None,
            settled: None,
            last_lsn: Lsn::ZERO,
            must_be_durable: Durable::default(),
            missed: Missed::default(),
            told_first: (0, Lsn::ZERO),
            told_bytes: 0,
            listens: false,
            subscriptions: None,
            prefixes: Vec::new(),
        }
    }

    /// What it listens to.
    pub fn subscriptions(&self) -> &Subscriptions {
        self.subscriptions.as_deref().unwrap_or(&NOTHING)
    }

    /// What it listens to, for [`PubSub`](crate::pubsub::PubSub) to change.
    pub fn subscriptions_mut(&mut self) -> &mut Subscriptions {
        self.subscriptions.get_or_insert_default()
    }

    /// Whether it listens to channels.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions.as_ref().is_some_and(|subscriptions| !subscriptions.is_empty())
    }

    /// Has it listen to nothing more: it leaves, or starts anew.
    pub fn stop_listening(&mut self, server: &Server) {
        if let Some(mut subscriptions) = self.subscriptions.take() {
            server.pubsub.unsubscribe_all(&mut subscriptions, &self.card);
        }
        server.monitors.leave(&self.card);
        if self.card.tracked.is_on() {
            server.tracking.end(self);
            server.update_observing();
        }
    }

    /// Ends it, as what it has sent is over `client-query-buffer-limit`.
    pub fn overrun(&mut self, worker: &Worker) {
        tracing::warn!(client = %self.card.origin.address, "closing a client: what it has sent is over client-query-buffer-limit");
        worker.figures.query_overruns.add(1);
        self.closing = true;
        self.dropped = true;
    }

    /// Makes it another user.
    pub fn become_user(&mut self, user: Arc<User>) {
        self.card.names.lock().user.clone_from(&user.name);
        self.user = user;
        self.authenticated = true;
    }

    /// Puts everything back to how a new connection starts (`RESET`), with its name gone too.
    pub fn reset(&mut self, server: &Server) {
        self.stop_listening(server);
        let mut fresh = Client::new(Arc::clone(&self.card), &server.acl);
        fresh.last_lsn = self.last_lsn;
        self.card.names.lock().name.clear();
        *self = fresh;
    }
}

/// How a client reached us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its address, as `CLIENT LIST` writes it.
    pub address: String,
    /// Our address on that connection.
    pub local_address: String,
    /// The socket's number, or -1 where there is none.
    pub descriptor: i32,
    /// Whether it is on this machine (loopback or a Unix socket).
    pub local: bool,
    /// Whether it came by a Unix socket.
    pub unix: bool,
}

impl Origin {
    /// For connections without a socket: tests, fuzzers, the simulator.
    pub fn none() -> Origin {
        Origin {
            address: "127.0.0.1:0".to_owned(),
            local_address: "127.0.0.1:0".to_owned(),
            descriptor: -1,
            local: true,
            unix: false,
        }
    }
}

/// What a client calls itself.
#[derive(Clone, Debug, Default)]
pub struct ClientNames {
    /// The user that it authenticated as.
    pub user: Vec<u8>,
    /// `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: Vec<u8>,
}

/// What others may see of a client; see the module's page.
#[derive(Debug)]
pub struct ClientCard {
    /// Its number, never given twice.
    pub id: u64,
    /// Where it came from.
    pub origin: Origin,
    /// When it connected, ms since the epoch.
    pub connected_ms: u64,
    /// What it calls itself. Held for a copy only.
    pub names: Mutex<ClientNames>,
    /// Which loop it lives on, and its place there.
    pub place: Mutex<Option<(usize, usize)>>,
    /// When it last sent something.
    pub active_ms: AtomicU64,
    /// The number of the command it last ran.
    pub last_command: AtomicU16,
    /// Its current database.
    pub database: AtomicU8,
    /// Whether it speaks RESP3.
    pub resp3: AtomicBool,
    /// Whether it is about to be closed.
    pub closing: AtomicBool,
    /// `CLIENT NO-EVICT`.
    pub no_evict: AtomicBool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: AtomicBool,
    /// Whether it waits: for an element, for time, for the end of a pause.
    pub blocked: AtomicBool,
    /// Commands queued since `MULTI`; -1 outside of one.
    pub queued: AtomicI64,
    /// Keys watched.
    pub watched: AtomicUsize,
    /// Bytes that both take.
    pub transaction_bytes: AtomicUsize,
    /// Bytes of unfinished requests held.
    pub query_bytes: AtomicUsize,
    /// Bytes of replies held.
    pub reply_bytes: AtomicUsize,
    /// Channels it listens to.
    pub channels: AtomicUsize,
    /// Patterns of channels.
    pub patterns: AtomicUsize,
    /// Shard channels.
    pub shard_channels: AtomicUsize,
    /// Whether it is shown every command (`MONITOR`).
    pub monitors: AtomicBool,
    /// Commands run.
    pub commands: AtomicU64,
    /// Somebody asked for its end; its loop sees to it.
    pub killed: AtomicBool,
    /// It is ended because it was told more than it took.
    pub overrun: AtomicBool,
    /// What it is told without having asked.
    pub inbox: Inbox,
    /// What it tracks.
    pub tracked: Tracked,
}

impl ClientCard {
    /// Stands for "no command yet".
    pub const NO_COMMAND: u16 = u16::MAX;

    fn new(id: u64, origin: Origin, now_ms: u64) -> ClientCard {
        ClientCard {
            id,
            origin,
            connected_ms: now_ms,
            names: Mutex::default(),
            place: Mutex::new(None),
            active_ms: AtomicU64::new(now_ms),
            last_command: AtomicU16::new(Self::NO_COMMAND),
            database: AtomicU8::new(0),
            resp3: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            queued: AtomicI64::new(-1),
            watched: AtomicUsize::new(0),
            transaction_bytes: AtomicUsize::new(0),
            query_bytes: AtomicUsize::new(0),
            reply_bytes: AtomicUsize::new(0),
            channels: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            shard_channels: AtomicUsize::new(0),
            monitors: AtomicBool::new(false),
            commands: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            overrun: AtomicBool::new(false),
            inbox: Inbox::default(),
            tracked: Tracked::default(),
        }
    }

    /// Whether it listens to channels: what `CLIENT LIST TYPE pubsub` lists.
    pub fn is_subscriber(&self) -> bool {
        [&self.channels, &self.patterns, &self.shard_channels]
            .iter()
            .any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// The line of `CLIENT LIST` and `CLIENT INFO`, without its line break.
    pub fn describe(&self, now_ms: u64, command_name: &str, line: &mut Vec<u8>) {
        use std::io::Write;
        let names = self.names.lock().clone();
        let mut flags = String::new();
        for (set, letter) in [
            (self.monitors.load(Ordering::Relaxed), 'O'),
            (self.is_subscriber(), 'P'),
            (self.queued.load(Ordering::Relaxed) >= 0, 'x'),
            (self.blocked.load(Ordering::Relaxed), 'b'),
            (self.tracked.is_on(), 't'),
            (self.tracked.has(modes::BROKEN), 'R'),
            (self.tracked.has(modes::BROADCAST), 'B'),
            (self.closing.load(Ordering::Relaxed), 'c'),
            (self.origin.unix, 'U'),
            (self.no_evict.load(Ordering::Relaxed), 'e'),
            (self.no_touch.load(Ordering::Relaxed), 'T'),
        ] {
            if set {
                flags.push(letter);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let (query, reply) =
            (self.query_bytes.load(Ordering::Relaxed), self.reply_bytes.load(Ordering::Relaxed));
        let transaction = self.transaction_bytes.load(Ordering::Relaxed);
        // Writing into a Vec can't fail.
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd={} name=",
            self.id, self.origin.address, self.origin.local_address, self.origin.descriptor
        );
        line.extend_from_slice(&names.name);
        let _ = write!(
            line,
            " age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi={} watch={} qbuf={query} qbuf-free=0 argv-mem=0 multi-mem={transaction} rbs=0 rbp=0 obl={reply} oll=0 omem={reply} tot-mem={} events={} cmd={command_name} user={} redir={} resp={} lib-name=",
            now_ms.saturating_sub(self.connected_ms) / 1000,
            now_ms.saturating_sub(self.active_ms.load(Ordering::Relaxed)) / 1000,
            self.database.load(Ordering::Relaxed),
            self.channels.load(Ordering::Relaxed),
            self.patterns.load(Ordering::Relaxed),
            self.shard_channels.load(Ordering::Relaxed),
            self.queued.load(Ordering::Relaxed),
            self.watched.load(Ordering::Relaxed),
            query + reply + transaction + size_of::<ClientCard>() + size_of::<Client>(),
            if reply > 0 { "rw" } else { "r" },
            String::from_utf8_lossy(&names.user),
            if self.tracked.is_on() { self.tracked.redirect() as i64 } else { -1 },
            if self.resp3.load(Ordering::Relaxed) { 3 } else { 2 },
        );
        line.extend_from_slice(&names.library);
        line.extend_from_slice(b" lib-ver=");
        line.extend_from_slice(&names.library_version);
    }
}

/// Everybody who is connected.
#[derive(Debug, Default)]
pub struct Clients {
    cards: Mutex<BTreeMap<u64, Arc<ClientCard>>>,
    last_id: AtomicU64,
    count: AtomicUsize,
}

impl Clients {
    /// Notes a client that has just connected.
    pub fn join(&self, origin: Origin, now_ms: u64) -> Arc<ClientCard> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let card = Arc::new(ClientCard::new(id, origin, now_ms));
        self.cards.lock().insert(id, Arc::clone(&card));
        self.count.fetch_add(1, Ordering::Relaxed);
        card
    }

    /// Forgets one that has left.
    pub fn leave(&self, id: u64) {
        if self.cards.lock().remove(&id).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The one with this number.
    pub fn get(&self, id: u64) -> Option<Arc<ClientCard>> {
        self.cards.lock().get(&id).map(Arc::clone)
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<ClientCard>> {
        self.cards.lock().values().cloned().collect()
    }
}
