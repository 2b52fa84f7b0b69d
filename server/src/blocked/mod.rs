//! Clients that wait: for an element (`BLPOP`), for the log (`WAITAOF`), or for time alone (`WAIT`).
//!
//! A command that finds nothing registers its client under its keys *while its transaction holds their shards*. A command that changes a
//! key looks here *while its own transaction holds that key's shard*. So one of the two sees the other, whatever the threads do: there is no
//! moment between a vain attempt and the registration in which an element could come unseen.
//!
//! ```text
//! waiter:  lock shards ─ attempt: nothing ─ register ─ unlock
//! pusher:                                               lock shards ─ push ─ serve those registered ─ unlock
//! ```
//!
//! A waiter is removed from the registry exactly once, and whoever removes it decides how its wait [`Ended`]: the one who served it, the
//! clock of its loop, `CLIENT UNBLOCK`, or its own connection that goes away. Its loop is then told to look.
//!
//! **Lock order**: shards of the engine, then the registry, then nothing. While nobody waits for a key, a writer pays one load for all this.

mod serve;

pub use serve::{Leftover, Service};

use crate::client::ClientCard;
use crate::command::dispatch::for_each_key;
use crate::command::{Blocking, Command};
use crate::lease::Leases;
use crate::resp::{Protocol, Reply};
use sessile::sessions::Handle;
use sessile::{Access, Db, Key, Lsn};
use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

/// Counters by which a writer knows that nobody waits for its key; a power of two.
const FILTER_SLOTS: usize = 4096;

/// Clients that wait for one key whose other keys a transaction takes along, and how many such keys.
const COMPANY_WAITERS_MAX: usize = 4;
const COMPANY_KEYS_MAX: usize = 16;

/// What `WAITAOF` answers when there will be no sync.
const LOG_FAILED: &[u8] =
    b"IOERR The log failed before everything was synced. Writes are refused until the server is restarted.";

/// How a wait came to its end.
#[derive(Debug)]
pub enum Ended {
    /// It has its reply, to be sent once this position is acknowledged.
    Served {
        /// The reply.
        reply: Vec<u8>,
        /// The position.
        lsn: Lsn,
    },
    /// Its time is up, or somebody says that it is.
    TimedOut,
    /// `CLIENT UNBLOCK … ERROR`.
    Unblocked,
    /// There may be something for it, but it must look for itself: it keeps its place among those who wait.
    Retry,
}

/// What a client waits for.
pub enum Awaited {
    /// An element at one of its keys.
    Element(Request),
    /// The log to be synced.
    Synced {
        /// Up to there.
        lsn: Lsn,
        /// And for replicas, so that it will wait until its time is up.
        replicas: bool,
    },
    /// Nothing but its time.
    Time,
    /// As that; then its command is executed.
    Turn,
    /// The lease of a session, until its time is up or whoever has it may have lost it, whichever is first.
    Lease {
        /// Of which one.
        session: Handle,
        /// Where its place is kept.
        leases: Arc<Leases>,
        /// When its own time is up, ms since the epoch.
        give_up_ms: u64,
    },
    /// Something to happen to any session.
    SessionEvent,
}

/// A blocking command as its client sent it.
pub struct Request {
    command: &'static Command,
    blocking: Blocking,
    args: Vec<Box<[u8]>>,
    protocol: Protocol,
    /// Database and argument of each key, as its row finds them.
    keys: SmallVec<[(u8, usize); 2]>,
    /// It waits for the first so many of them.
    waits_for: usize,
}

impl Request {
    /// Of a client that works in `database` and speaks `protocol`.
    pub fn new(
        command: &'static Command,
        blocking: Blocking,
        args: &[&[u8]],
        database: u8,
        protocol: Protocol,
    ) -> Request {
        let mut keys = SmallVec::new();
        for_each_key(command.keys, args, database, &mut |database, index| {
            if index < args.len() {
                keys.push((database, index));
            }
        });
        let waits_for = match command.name {
            // Their second key is where the element goes.
            "blmove" | "brpoplpush" => 1,
            _ => keys.len(),
        };
        let args = args.iter().map(|&arg| arg.into()).collect();
        Request { command, blocking, args, protocol, keys, waits_for }
    }

    fn hashed<'a>(&'a self, db: &Db) -> SmallVec<[Key<'a>; 4]> {
        self.keys.iter().map(|&(database, index)| db.key(database, &self.args[index])).collect()
    }

    fn awaited_keys(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.keys.iter().take(self.waits_for).map(|&(database, index)| (database, &*self.args[index]))
    }

    fn access(&self) -> Access {
        crate::command::dispatch::access_of(self.command)
    }
}

/// One client's wait.
pub struct Waiter {
    /// Earlier ones are served first.
    ticket: u64,
    client: Arc<ClientCard>,
    awaited: Awaited,
    /// When its time is up, ms since the epoch.
    deadline_ms: Option<u64>,
    ended: OnceLock<Ended>,
}

impl Waiter {
    /// When it waits no longer, ms since the epoch.
    fn gives_up_ms(&self) -> Option<u64> {
        match self.awaited {
            Awaited::Lease { give_up_ms, .. } => Some(give_up_ms),
            _ => self.deadline_ms,
        }
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter")
            .field("ticket", &self.ticket)
            .field("client", &self.client.id)
            .field("deadline_ms", &self.deadline_ms)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// A place among those who wait, kept by one who has to try again.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    ticket: u64,
    /// When its time is up, as at the first time.
    pub deadline_ms: Option<u64>,
}

/// How a command that has waited is executed again.
#[derive(Debug)]
pub struct Again {
    /// In this place.
    pub place: Place,
    /// With these arguments, if they are not what its client sent.
    pub settled: Option<Vec<Box<[u8]>>>,
}

/// A connection's end of its client's wait. Dropping it ends the wait.
#[derive(Debug)]
pub struct Wait {
    blocked: Arc<Blocked>,
    waiter: Arc<Waiter>,
}

impl Wait {
    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        self.waiter.ended.get().is_some()
    }

    /// When its time is up, ms since the epoch.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.waiter.deadline_ms
    }

    /// The position up to which the log must be synced, if that is what it waits for.
    pub fn awaited_sync(&self) -> Option<Lsn> {
        match self.waiter.awaited {
            Awaited::Synced { lsn, .. } => Some(lsn),
            _ => None,
        }
    }

    /// Ends it if its time is up; whether this did.
    pub fn look_at_time(&self, now_ms: u64) -> bool {
        let ended = match self.waiter.awaited {
            Awaited::Lease { give_up_ms, .. } if give_up_ms > now_ms => Ended::Retry,
            _ => Ended::TimedOut,
        };
        self.waiter.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) && self.end(ended)
    }

    /// Ends it, unless it is over; whether this did.
    pub fn end(&self, ended: Ended) -> bool {
        self.blocked.end(&self.waiter, ended)
    }

    /// The log is synced up to there, or has failed: ends the wait if that is what it is for; whether this did.
    pub fn look_at_log(&self, durable: Lsn, failed: bool) -> bool {
        let Awaited::Synced { lsn, replicas } = self.waiter.awaited else { return false };
        let mut reply = Reply::new(Protocol::Resp2);
        if failed && durable < lsn {
            reply.error(LOG_FAILED);
        } else if durable >= lsn && !replicas {
            write_synced(&mut reply, true);
        } else {
            return false;
        }
        self.end(Ended::Served { reply: std::mem::take(reply.bytes_mut()), lsn: Lsn::ZERO })
    }

    /// Before its [answer](Self::answer): who is to look again in its stead, if it is over for good and may have been called meanwhile.
    pub fn give_up(&self, now_ms: u64) -> Vec<Arc<ClientCard>> {
        match (&self.waiter.awaited, self.waiter.ended.get()) {
            (Awaited::Lease { leases, .. }, Some(Ended::TimedOut | Ended::Unblocked)) => {
                leases.give_up(self.waiter.client.id, now_ms)
            }
            _ => Vec::new(),
        }
    }

    /// Writes what came of a wait that is over; what must be acknowledged before it is sent. `Err`: nothing yet, the command is to be executed
    /// again, in its old place. `durable` is up to where the log is synced.
    ///
    /// # Errors
    /// As said.
    pub fn answer(self, reply: &mut Reply, durable: Lsn) -> Result<Lsn, Again> {
        let waiter = &self.waiter;
        let place = Place { ticket: waiter.ticket, deadline_ms: waiter.gives_up_ms() };
        match waiter.ended.get() {
            Some(Ended::Served { reply: bytes, lsn }) => {
                reply.bytes_mut().extend_from_slice(bytes);
                return Ok(*lsn);
            }
            Some(Ended::TimedOut) => match &waiter.awaited {
                Awaited::Turn => return Err(Again { place, settled: None }),
                Awaited::Element(request) => (request.blocking.expired)(reply),
                Awaited::Synced { lsn, .. } => write_synced(reply, durable >= *lsn),
                Awaited::Time => reply.integer(0),
                Awaited::Lease { .. } => reply.null(),
                // It answers for itself that there is nothing.
                Awaited::SessionEvent => {
                    return Err(Again { place: Place { deadline_ms: Some(0), ..place }, settled: None });
                }
            },
            Some(Ended::Unblocked) => reply.error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            // One that is not over is given up, and begins anew.
            Some(Ended::Retry) | None => {
                let settled = match &waiter.awaited {
                    Awaited::Element(request) if request.blocking.settle.is_some() => {
                        Some(request.args.clone())
                    }
                    _ => None,
                };
                return Err(Again { place, settled });
            }
        }
        Ok(Lsn::ZERO)
    }
}

/// The reply of `WAITAOF`.
fn write_synced(reply: &mut Reply, synced: bool) {
    reply.array(2);
    reply.integer(i64::from(synced));
    reply.integer(0);
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.blocked.remove(&self.waiter);
        self.waiter.client.blocked.store(false, Ordering::Relaxed);
    }
}

/// A client whose command was stopped by a pause, while it is.
#[derive(Debug)]
pub struct Postponed {
    blocked: Arc<Blocked>,
    client: Arc<ClientCard>,
}

impl Drop for Postponed {
    fn drop(&mut self) {
        self.blocked.count.fetch_sub(1, Ordering::Relaxed);
        self.client.blocked.store(false, Ordering::Relaxed);
    }
}

/// Who waits for one key, by ticket.
type Queue = BTreeMap<u64, Arc<Waiter>>;

#[derive(Default)]
struct Registry {
    last_ticket: u64,
    /// Who waits for a key, by database.
    keys: [HashMap<Box<[u8]>, Queue>; sessile::DATABASES as usize],
    /// Who waits for something to happen to sessions.
    for_events: Queue,
    /// Everybody, by the client's number.
    clients: HashMap<u64, Arc<Waiter>>,
}

impl Registry {
    /// Whether that very wait is still going on.
    fn holds(&self, waiter: &Waiter) -> bool {
        self.clients.get(&waiter.client.id).is_some_and(|held| std::ptr::eq(&**held, waiter))
    }

    /// The first who waits for the key, with a ticket above `after` and not above `last`.
    fn next(&self, database: u8, key: &[u8], after: u64, last: u64) -> Option<Arc<Waiter>> {
        let (_, waiter) = self.keys[usize::from(database)].get(key)?.range(after + 1..).next()?;
        (waiter.ticket <= last).then(|| Arc::clone(waiter))
    }
}

/// Everybody who waits; see the module's page.
pub struct Blocked {
    count: AtomicUsize,
    with_deadline: AtomicUsize,
    /// How many wait for elements.
    for_elements: AtomicUsize,
    /// How many wait for something to happen to sessions.
    for_events: AtomicUsize,
    /// How many wait for a key with this hash.
    filter: Box<[AtomicU32]>,
    seed: u64,
    registry: Mutex<Registry>,
}

impl std::fmt::Debug for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocked").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Default for Blocked {
    fn default() -> Blocked {
        Blocked {
            count: AtomicUsize::new(0),
            with_deadline: AtomicUsize::new(0),
            for_elements: AtomicUsize::new(0),
            for_events: AtomicUsize::new(0),
            filter: (0..FILTER_SLOTS).map(|_| AtomicU32::new(0)).collect(),
            seed: RandomState::new().hash_one(0),
            registry: Mutex::default(),
        }
    }
}

impl Blocked {
    /// How many clients wait.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many of them do so for a limited time.
    pub fn count_with_deadline(&self) -> usize {
        self.with_deadline.load(Ordering::Relaxed)
    }

    /// Whether anybody waits for an element.
    #[inline]
    pub fn any_for_elements(&self) -> bool {
        self.for_elements.load(Ordering::Relaxed) != 0
    }

    /// Whether somebody may wait for one of these keys: to be asked while their shards are locked. False is certain.
    #[inline]
    pub fn may_await(&self, keys: &[Key<'_>]) -> bool {
        self.any_for_elements()
            && keys
                .iter()
                .any(|key| self.filter[self.slot(key.database(), key.bytes())].load(Ordering::Relaxed) != 0)
    }

    /// What those who wait for these keys need besides, as far as it is little: other keys that they wait for, or move elements to, and what
    /// those need who wait for that.
    pub fn company(&self, keys: &[Key<'_>]) -> Vec<(u8, Box<[u8]>)> {
        let registry = self.registry.lock();
        let mut all: Vec<(u8, &[u8])> = keys.iter().map(|key| (key.database(), key.bytes())).collect();
        let mut place = 0;
        let own = all.len();
        while let Some(&(database, key)) = all.get(place) {
            place += 1;
            // None waits for a key that sessions are kept under.
            let Some(waiters) = registry.keys.get(usize::from(database)) else { continue };
            let Some(queue) = waiters.get(key) else { continue };
            for waiter in queue.values().take(COMPANY_WAITERS_MAX) {
                let Awaited::Element(request) = &waiter.awaited else { continue };
                for &(database, index) in &request.keys {
                    let key = (database, &*request.args[index]);
                    if !all.contains(&key) && all.len() < own + COMPANY_KEYS_MAX {
                        all.push(key);
                    }
                }
            }
        }
        all.iter().skip(own).map(|&(database, key)| (database, key.into())).collect()
    }

    /// A glance at the key: two that share a slot cost a look into the registry, no more.
    fn slot(&self, database: u8, key: &[u8]) -> usize {
        let word = |from: usize| {
            let mut bytes = [0; 8];
            let part = key.get(from..).unwrap_or_default();
            let length = part.len().min(8);
            bytes[..length].copy_from_slice(&part[..length]);
            u64::from_le_bytes(bytes)
        };
        let glance = word(0) ^ word(key.len().saturating_sub(8)).rotate_left(29) ^ (key.len() as u64) << 8;
        let mixed = (glance ^ u64::from(database) ^ self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 40) as usize & (FILTER_SLOTS - 1)
    }

    /// Has a client wait. With [`Awaited::Element`] its keys' shards must be locked, since before it looked for one. `place` is the one it
    /// had before it had to try again.
    pub fn wait(
        self: &Arc<Blocked>,
        client: &Arc<ClientCard>,
        awaited: Awaited,
        deadline_ms: Option<u64>,
        place: Option<Place>,
    ) -> Wait {
        let mut registry = self.registry.lock();
        let ticket = place.map_or(registry.last_ticket + 1, |place| place.ticket);
        registry.last_ticket = registry.last_ticket.max(ticket);
        let client = Arc::clone(client);
        client.blocked.store(true, Ordering::Relaxed);
        let waiter = Arc::new(Waiter { ticket, client, awaited, deadline_ms, ended: OnceLock::new() });
        if let Awaited::Element(request) = &waiter.awaited {
            self.for_elements.fetch_add(1, Ordering::Relaxed);
            for (database, key) in request.awaited_keys() {
                let waiters = &mut registry.keys[usize::from(database)];
                let waiters = match waiters.get_mut(key) {
                    Some(waiters) => waiters,
                    None => waiters.entry(key.into()).or_default(),
                };
                if waiters.insert(ticket, Arc::clone(&waiter)).is_none() {
                    self.filter[self.slot(database, key)].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if let Awaited::SessionEvent = waiter.awaited {
            registry.for_events.insert(ticket, Arc::clone(&waiter));
            self.for_events.store(registry.for_events.len(), Ordering::SeqCst);
        }
        registry.clients.insert(waiter.client.id, Arc::clone(&waiter));
        self.count.fetch_add(1, Ordering::Relaxed);
        self.with_deadline.fetch_add(usize::from(deadline_ms.is_some()), Ordering::Relaxed);
        Wait { blocked: Arc::clone(self), waiter }
    }

    /// Counts a client that waits for the end of a pause, as long as what this returns is kept.
    pub fn postpone(self: &Arc<Blocked>, client: &Arc<ClientCard>) -> Postponed {
        self.count.fetch_add(1, Ordering::Relaxed);
        client.blocked.store(true, Ordering::Relaxed);
        Postponed { blocked: Arc::clone(self), client: Arc::clone(client) }
    }

    /// Takes one out; false if somebody else has.
    fn remove(&self, waiter: &Waiter) -> bool {
        self.remove_from(&mut self.registry.lock(), waiter)
    }

    fn remove_from(&self, registry: &mut Registry, waiter: &Waiter) -> bool {
        if !registry.holds(waiter) {
            return false;
        }
        registry.clients.remove(&waiter.client.id);
        if let Awaited::Element(request) = &waiter.awaited {
            self.for_elements.fetch_sub(1, Ordering::Relaxed);
            for (database, key) in request.awaited_keys() {
                let keys = &mut registry.keys[usize::from(database)];
                let Some(waiters) = keys.get_mut(key) else { continue };
                if waiters.remove(&waiter.ticket).is_some() {
                    self.filter[self.slot(database, key)].fetch_sub(1, Ordering::Relaxed);
                }
                if waiters.is_empty() {
                    keys.remove(key);
                }
            }
            for keys in &mut registry.keys {
                if keys.is_empty() && keys.capacity() > FILTER_SLOTS {
                    keys.shrink_to_fit();
                }
            }
        }
        if let Awaited::SessionEvent = waiter.awaited {
            registry.for_events.remove(&waiter.ticket);
            self.for_events.store(registry.for_events.len(), Ordering::SeqCst);
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.with_deadline.fetch_sub(usize::from(waiter.deadline_ms.is_some()), Ordering::Relaxed);
        true
    }

    fn end(&self, waiter: &Waiter, ended: Ended) -> bool {
        // Whoever removes it is the only one to say how it ended.
        self.remove(waiter) && waiter.ended.set(ended).is_ok()
    }

    /// Something has happened to sessions: has those who wait for that look; who is to be told.
    ///
    /// Who finds no event registers under the locks of the keys that events are kept under, and this is called after a commit to them: so either the
    /// one sees the event, or this the other.
    pub fn call_for_events(&self) -> Vec<Arc<ClientCard>> {
        if self.for_events.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let waiting: Vec<Arc<Waiter>> = self.registry.lock().for_events.values().cloned().collect();
        waiting
            .iter()
            .filter(|waiter| self.end(waiter, Ended::Retry))
            .map(|waiter| Arc::clone(&waiter.client))
            .collect()
    }

    /// `CLIENT UNBLOCK`: ends the wait of the client with that number; who is to be told, if it did wait.
    pub fn unblock(&self, client: u64, ended: Ended) -> Option<Arc<ClientCard>> {
        let waiter = self.registry.lock().clients.get(&client).map(Arc::clone)?;
        self.end(&waiter, ended).then(|| Arc::clone(&waiter.client))
    }

    /// How many keys somebody waits for.
    pub fn count_keys(&self) -> usize {
        self.registry.lock().keys.iter().map(HashMap::len).sum()
    }

    /// The keys in these databases that somebody waits for.
    pub fn awaited_in(&self, databases: &[u8]) -> Vec<(u8, Box<[u8]>)> {
        if !self.any_for_elements() {
            return Vec::new();
        }
        let registry = self.registry.lock();
        let keys_of = |&database: &u8| {
            registry.keys[usize::from(database)].keys().map(move |key| (database, key.clone()))
        };
        databases.iter().flat_map(keys_of).collect()
    }
}
