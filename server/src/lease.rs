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
use std::collections::{HashMap, HashSet, VecDeque};
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

    fn concerns(&self, client: u64) -> bool {
        self.holder.is_some_and(|holder| holder.client == client)
            || self.queue.iter().any(|waiting| waiting.client.id == client)
    }
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<Handle, Lease>,
    /// What each client holds or waits for, and no more: a connection that lives for months locks millions of sessions.
    clients: HashMap<u64, HashSet<Handle>>,
    sweep_at: usize,
}

impl Table {
    fn note(&mut self, client: u64, session: Handle) {
        self.clients.entry(client).or_default().insert(session);
    }

    /// A client holds a session's lease no longer, or waits for it no longer, or neither. Forgets the session, too, if nobody does any more.
    fn unnote(&mut self, client: u64, session: Handle) {
        if self.sessions.get(&session).is_some_and(|lease| lease.concerns(client)) {
            return;
        }
        if let Some(handles) = self.clients.get_mut(&client) {
            handles.remove(&session);
            if handles.is_empty() {
                self.clients.remove(&client);
            }
        }
        if self.sessions.get(&session).is_some_and(Lease::is_idle) {
            self.sessions.remove(&session);
        }
    }

    /// Ends a lease whose time is up.
    fn look_at_time(&mut self, session: Handle, now_ms: u64) {
        if let Some(lease) = self.sessions.get_mut(&session)
            && let Some(holder) = lease.holder.take_if(|holder| holder.until_ms <= now_ms)
        {
            self.unnote(holder.client, session);
        }
    }

    /// Takes those out of a queue for whom this holds.
    fn stop_waiting(&mut self, session: Handle, stops: impl Fn(&Waiting) -> bool) {
        let Some(lease) = self.sessions.get_mut(&session) else { return };
        let mut gone = Vec::new();
        lease.queue.retain(|waiting| {
            let stops = stops(waiting);
            if stops {
                gone.push(waiting.client.id);
            }
            !stops
        });
        gone.into_iter().for_each(|client| self.unnote(client, session));
    }

    fn sweep(&mut self, now_ms: u64) {
        if self.sessions.len() < self.sweep_at.max(SWEEP_AT_LEAST) {
            return;
        }
        let sessions: Vec<Handle> = self.sessions.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.look_at_time(session, now_ms));
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
        let mut guard = self.table.lock();
        let table = &mut *guard;
        table.look_at_time(session, now_ms);
        // Places of those who were called and did not come.
        let is_gone = |waiting: &Waiting| {
            waiting.client.id != client.id
                && waiting.called_ms.is_some_and(|called_ms| called_ms.saturating_add(CALLED_MS_MAX) < now_ms)
        };
        if table.sessions.get(&session).is_some_and(|lease| lease.holder.is_none()) {
            table.stop_waiting(session, is_gone);
        }
        let asked = match table.sessions.get_mut(&session) {
            None => Asked::Free,
            Some(lease) => match lease.holder {
                Some(holder) => Asked::Taken { until_ms: holder.until_ms },
                None if lease.queue.front().is_none_or(|first| first.client.id == client.id) => Asked::Free,
                None => Asked::Taken { until_ms: now_ms.saturating_add(CALLED_MS_MAX) },
            },
        };
        if waits
            && asked != Asked::Free
            && let Some(lease) = table.sessions.get_mut(&session)
        {
            match lease.queue.iter_mut().find(|waiting| waiting.client.id == client.id) {
                Some(place) => place.called_ms = None,
                None => {
                    lease.queue.push_back(Waiting { client: Arc::clone(client), called_ms: None });
                    table.note(client.id, session);
                }
            }
        }
        self.count_clients(table);
        asked
    }

    /// Grants a lease that was [free](Asked::Free), under the lock that its session was asked under.
    pub fn grant(&self, session: Handle, client: u64, fence: u64, until_ms: u64, now_ms: u64) {
        let mut table = self.table.lock();
        table.sweep(now_ms);
        let lease = table.sessions.entry(session).or_default();
        lease.queue.retain(|waiting| waiting.client.id != client);
        lease.holder = Some(Holder { client, fence, until_ms });
        table.note(client, session);
        self.count_clients(&table);
    }

    fn count_clients(&self, table: &Table) {
        self.clients.store(table.clients.len(), Ordering::Relaxed);
    }

    /// Ends the lease of a session that has this fence, whoever holds it; whether there was one, and who is to be told to try again.
    pub fn release(&self, session: Handle, fence: u64, now_ms: u64) -> (bool, Option<Arc<ClientCard>>) {
        let mut table = self.table.lock();
        table.look_at_time(session, now_ms);
        let Some(lease) = table.sessions.get_mut(&session) else { return (false, None) };
        let Some(holder) = lease.holder.take_if(|holder| holder.fence == fence) else {
            return (false, None);
        };
        let next = lease.call(now_ms);
        table.unnote(holder.client, session);
        self.count_clients(&table);
        (true, next)
    }

    /// A client waits no longer, for whatever it was; who is to be told to try again, in its stead.
    pub fn give_up(&self, client: u64, now_ms: u64) -> Vec<Arc<ClientCard>> {
        self.withdraw(client, now_ms, false)
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
        self.withdraw(client, now_ms, true)
    }

    fn withdraw(&self, client: u64, now_ms: u64, leaves: bool) -> Vec<Arc<ClientCard>> {
        if self.clients.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut table = self.table.lock();
        let sessions: Vec<Handle> = table.clients.get(&client).into_iter().flatten().copied().collect();
        let mut told = Vec::new();
        for session in sessions {
            table.look_at_time(session, now_ms);
            let Some(lease) = table.sessions.get_mut(&session) else { continue };
            let is_own = |waiting: &Waiting| waiting.client.id == client;
            let was_called = lease.queue.iter().any(|waiting| is_own(waiting) && waiting.called_ms.is_some());
            lease.queue.retain(|waiting| !is_own(waiting));
            let held = leaves && lease.holder.take_if(|holder| holder.client == client).is_some();
            if held || was_called {
                told.extend(lease.call(now_ms));
            }
            table.unnote(client, session);
        }
        self.count_clients(&table);
        told
    }

    /// How many leases are held now.
    pub fn held(&self, now_ms: u64) -> usize {
        let table = self.table.lock();
        let is_held = |lease: &&Lease| lease.holder.is_some_and(|holder| holder.until_ms > now_ms);
        table.sessions.values().filter(is_held).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Clients, Origin};

    fn session(number: u8) -> Handle {
        Handle::parse(format!("AAAAAAAAAAAAAAAAAAA{:02}A", number % 100).as_bytes()).expect("a handle")
    }

    fn clients<const N: usize>() -> [Arc<ClientCard>; N] {
        let clients = Arc::<Clients>::default();
        std::array::from_fn(|_| clients.join(Origin::none(), 0))
    }

    fn ids(told: impl IntoIterator<Item = Arc<ClientCard>>) -> Vec<u64> {
        told.into_iter().map(|client| client.id).collect()
    }

    #[test]
    fn first_come_first_served() {
        let (leases, one, [a, b, c]) = (Leases::default(), session(1), clients());
        assert_eq!(leases.ask(one, &a, false, 0), Asked::Free);
        leases.grant(one, a.id, 1, 100, 0);
        assert_eq!(leases.ask(one, &b, true, 1), Asked::Taken { until_ms: 100 });
        assert_eq!(leases.ask(one, &c, true, 2), Asked::Taken { until_ms: 100 });
        assert!(!leases.release(one, 2, 3).0, "another's fence");
        let (released, next) = leases.release(one, 1, 3);
        assert!(released);
        assert_eq!(ids(next), [b.id]);
        // It is kept for the one that was called, whoever asks.
        assert_ne!(leases.ask(one, &c, true, 4), Asked::Free);
        assert_ne!(leases.ask(one, &a, false, 4), Asked::Free);
        assert_eq!(leases.ask(one, &b, true, 5), Asked::Free);
        leases.grant(one, b.id, 2, 50, 5);
        assert_eq!(leases.ask(one, &c, true, 49), Asked::Taken { until_ms: 50 });
        // Its time is up, and nobody had to be told.
        assert_eq!(leases.ask(one, &c, true, 50), Asked::Free);
    }

    #[test]
    fn who_was_called_and_gives_up_calls_the_next() {
        let (leases, one, [a, b, c]) = (Leases::default(), session(1), clients());
        leases.grant(one, a.id, 1, 100, 0);
        leases.ask(one, &b, true, 1);
        leases.ask(one, &c, true, 2);
        assert_eq!(ids(leases.release(one, 1, 3).1), [b.id]);
        assert_eq!(ids(leases.give_up(b.id, 3)), [c.id]);
        assert!(leases.is_called(one, c.id));
        assert_eq!(leases.ask(one, &c, true, 4), Asked::Free);
        assert!(leases.give_up(a.id, 4).is_empty());
    }

    #[test]
    fn who_goes_leaves_nothing_behind() {
        let (leases, one, [a, b, c]) = (Leases::default(), session(1), clients());
        leases.grant(one, a.id, 1, 100, 0);
        leases.ask(one, &b, true, 1);
        leases.ask(one, &c, true, 2);
        assert!(leases.leave(b.id, 3).is_empty(), "it was nobody's turn");
        assert_eq!(ids(leases.leave(a.id, 3)), [c.id]);
        assert!(leases.leave(c.id, 3).is_empty());
        let table = leases.table.lock();
        assert!(table.sessions.is_empty() && table.clients.is_empty());
    }

    #[test]
    fn who_does_not_come_when_called_loses_its_place() {
        let (leases, one, [a, b, c]) = (Leases::default(), session(1), clients());
        leases.grant(one, a.id, 1, 100, 0);
        leases.ask(one, &b, true, 1);
        leases.release(one, 1, 3);
        assert_ne!(leases.ask(one, &c, true, 3 + CALLED_MS_MAX), Asked::Free);
        assert_eq!(leases.ask(one, &c, true, 4 + CALLED_MS_MAX), Asked::Free);
    }

    #[test]
    fn a_connection_that_locks_many_sessions_keeps_none_in_mind() {
        let (leases, [a]) = (Leases::default(), clients());
        for number in 0..100 {
            leases.grant(session(number), a.id, 1, 100, 0);
            leases.release(session(number), 1, 1);
            leases.grant(session(number), a.id, 2, 1, 0);
            assert_eq!(leases.ask(session(number), &a, false, 2), Asked::Free);
        }
        assert!(leases.table.lock().clients.is_empty());
        assert!(leases.table.lock().sessions.is_empty());
    }
}
