//! Leases of sessions (`SESSION.LOCK`): who holds which, and who waits for it, first come, first served.
//!
//! They are in memory only. A lease ends when its time is up, when it is given back, or with the connection of its holder; a restart ends all of them.
//! What outlives it is the fence in the session's record, by which a writer who has lost its lease without knowing is refused.
//!
//! All who ask for the lease of one session do so under the lock of that session's shard, so that nobody comes between the answer that it is free
//! and its being granted. Leases end without that lock. Who is next then is *called*: it tries again in its place, which is kept for it meanwhile,
//! though not for ever.
//!
//! **Lock order**: shards of the engine, then the table here, then nothing.

use crate::client::ClientCard;
use sessile::sessions::Handle;
use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicUsize, Ordering};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How long a place is kept for one who was called and has not come.
const CALLED_MS_MAX: u64 = 1000;
/// Sessions in the table before it is looked through for such as nobody holds any more.
const SWEEP_AT_LEAST: usize = 1024;

/// Who holds a lease.
#[derive(Clone, Copy, Debug)]
struct Holder {
    client: u64,
    fence: u64,
    until_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    client: Arc<ClientCard>,
    called_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Lease {
    holder: Option<Holder>,
    queue: VecDeque<Waiting>,
}

impl Lease {
    /// Forgets a holder whose time is up.
    fn look_at_time(&mut self, now_ms: u64) {
        self.holder = self.holder.filter(|holder| holder.until_ms > now_ms);
    }

    /// Calls the first who waits, if nobody holds it; who is to be told.
    fn call(&mut self, now_ms: u64) -> Option<Arc<ClientCard>> {
        if self.holder.is_some() {
            return None;
        }
        let next = self.queue.front_mut()?;
        next.called_ms = Some(now_ms);
        Some(Arc::clone(&next.client))
    }

    fn is_idle(&self) -> bool {
        self.holder.is_none() && self.queue.is_empty()
    }
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<Handle, Lease>,
    /// What each client holds or waits for; with repetitions, and such as it has given up.
    clients: HashMap<u64, Vec<Handle>>,
    sweep_at: usize,
}

impl Table {
    fn sweep(&mut self, now_ms: u64) {
        if self.sessions.len() < self.sweep_at.max(SWEEP_AT_LEAST) {
            return;
        }
        self.sessions.retain(|_, lease| {
            lease.look_at_time(now_ms);
            !lease.is_idle()
        });
        let sessions = &self.sessions;
        self.clients.retain(|client, handles| {
            handles.sort_unstable();
            handles.dedup();
            handles.retain(|handle| {
                sessions.get(handle).is_some_and(|lease| {
                    lease.holder.is_some_and(|holder| holder.client == *client)
                        || lease.queue.iter().any(|waiting| waiting.client.id == *client)
                })
            });
            !handles.is_empty()
        });
        self.sweep_at = 2 * self.sessions.len();
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Leases {
    table: Mutex<Table>,
    /// How many clients are in the table.
    clients: AtomicUsize,
}

/// Whether a lease is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is for who has asked.
    Free,
    /// Somebody else has it, or comes before; not longer than this, in ms since the epoch, as things are.
    Taken {
        /// Then.
        until_ms: u64,
    },
}

impl Leases {
    /// Whether a client would get the lease of a session now. If not and if it `waits`, it has a place from now on, or keeps the one it has.
    pub fn ask(&self, session: Handle, client: &Arc<ClientCard>, waits: bool, now_ms: u64) -> Asked {
        let mut table = self.table.lock();
        let Some(lease) = table.sessions.get_mut(&session) else {
            return Asked::Free;
        };
        lease.look_at_time(now_ms);
        // Places of those who were called and did not come.
        let is_gone = |waiting: &Waiting| {
            waiting.client.id != client.id
                && waiting.called_ms.is_some_and(|called_ms| called_ms.saturating_add(CALLED_MS_MAX) < now_ms)
        };
        while lease.holder.is_none() && lease.queue.front().is_some_and(is_gone) {
            lease.queue.pop_front();
        }
        let until_ms = match lease.holder {
            Some(holder) => holder.until_ms,
            None if lease.queue.front().is_none_or(|first| first.client.id == client.id) => {
                return Asked::Free;
            }
            None => now_ms.saturating_add(CALLED_MS_MAX),
        };
        if waits {
            match lease.queue.iter_mut().find(|waiting| waiting.client.id == client.id) {
                Some(place) => place.called_ms = None,
                None => {
                    lease.queue.push_back(Waiting { client: Arc::clone(client), called_ms: None });
                    self.note(&mut table, client.id, session);
                }
            }
        }
        Asked::Taken { until_ms }
    }

    /// Grants a lease that was [free](Asked::Free), under the lock that its session was asked under.
    pub fn grant(&self, session: Handle, client: u64, fence: u64, until_ms: u64, now_ms: u64) {
        let mut table = self.table.lock();
        table.sweep(now_ms);
        let lease = table.sessions.entry(session).or_default();
        lease.queue.retain(|waiting| waiting.client.id != client);
        lease.holder = Some(Holder { client, fence, until_ms });
        self.note(&mut table, client, session);
        self.clients.store(table.clients.len(), Ordering::Relaxed);
    }

    fn note(&self, table: &mut Table, client: u64, session: Handle) {
        let handles = table.clients.entry(client).or_default();
        if handles.last() != Some(&session) {
            handles.push(session);
        }
        if handles.len() > SWEEP_AT_LEAST {
            handles.sort_unstable();
            handles.dedup();
        }
        self.clients.store(table.clients.len(), Ordering::Relaxed);
    }

    /// Ends the lease of a session that has this fence, whoever holds it; whether there was one, and who is to be told to try again.
    pub fn release(&self, session: Handle, fence: u64, now_ms: u64) -> (bool, Option<Arc<ClientCard>>) {
        let mut table = self.table.lock();
        let Some(lease) = table.sessions.get_mut(&session) else { return (false, None) };
        lease.look_at_time(now_ms);
        if lease.holder.is_none_or(|holder| holder.fence != fence) {
            return (false, None);
        }
        lease.holder = None;
        let next = lease.call(now_ms);
        if lease.is_idle() {
            table.sessions.remove(&session);
        }
        (true, next)
    }

    /// A client waits no longer. It was not called, or would not have.
    pub fn give_up(&self, session: Handle, client: u64) {
        if let Some(lease) = self.table.lock().sessions.get_mut(&session) {
            lease.queue.retain(|waiting| waiting.client.id != client);
        }
    }

    /// Whether a client that has a place was called meanwhile.
    pub fn is_called(&self, session: Handle, client: u64) -> bool {
        let table = self.table.lock();
        table.sessions.get(&session).is_some_and(|lease| {
            lease.queue.iter().any(|waiting| waiting.client.id == client && waiting.called_ms.is_some())
        })
    }

    /// A client has gone: ends what it holds and waits for; who is to be told to try again.
    pub fn leave(&self, client: u64, now_ms: u64) -> Vec<Arc<ClientCard>> {
        if self.clients.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut table = self.table.lock();
        let mut told = Vec::new();
        for session in table.clients.remove(&client).unwrap_or_default() {
            let Some(lease) = table.sessions.get_mut(&session) else { continue };
            let was_called =
                lease.queue.iter().any(|waiting| waiting.client.id == client && waiting.called_ms.is_some());
            lease.queue.retain(|waiting| waiting.client.id != client);
            let held = lease.holder.is_some_and(|holder| holder.client == client);
            if held {
                lease.holder = None;
            }
            if held || was_called {
                told.extend(lease.call(now_ms));
            }
            if lease.is_idle() {
                table.sessions.remove(&session);
            }
        }
        self.clients.store(table.clients.len(), Ordering::Relaxed);
        told
    }

    /// How many leases are held now.
    pub fn held(&self, now_ms: u64) -> usize {
        let table = self.table.lock();
        let is_held = |lease: &&Lease| lease.holder.is_some_and(|holder| holder.until_ms > now_ms);
        table.sessions.values().filter(is_held).count()
    }
}
