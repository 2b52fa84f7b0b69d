//! Client-side caching (`CLIENT TRACKING`): who holds copies of what, and telling them when it changes.
//!
//! A client that tracks is remembered under every key that it reads, or, if it broadcasts, gets the keys with its prefixes that anybody
//! changes. What it read is remembered *while the key's shard is locked*, and what changes is looked up while the shard of the key that
//! changed is: so whoever got an old value is told, whatever the threads do. In the client's output an invalidation comes behind all replies
//! that were written before; it may come for nothing, never too late.
//!
//! As in Redis, a key is its name alone, whatever database it is in.
//!
//! **Lock order**: shards of the engine, then who tracks, then the parts of the table, then inboxes. While nobody tracks, a writer pays one
//! load for all this.

mod broadcast;
mod table;

pub use broadcast::Broadcasts;

use crate::client::{Client, ClientCard, Clients};
use crate::push::{Push, Signals};
use crate::resp::{Protocol, Reply};
use broadcast::Prefixes;
use sessile::{ChangedKey, Lsn};
use sessile_wal::sync::RwLock;
use sessile_wal::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::collections::HashMap;
use std::sync::Arc;
use table::Table;

/// What a client asked of tracking; bits of [`Tracked`].
pub mod modes {
    #![allow(missing_docs)]
    pub const ON: u8 = 1;
    pub const BROADCAST: u8 = 1 << 1;
    pub const OPT_IN: u8 = 1 << 2;
    pub const OPT_OUT: u8 = 1 << 3;
    pub const NO_LOOP: u8 = 1 << 4;
    /// `CLIENT CACHING`, for the command that follows.
    pub const CACHING: u8 = 1 << 5;
    /// Whom it redirects to is gone.
    pub const BROKEN: u8 = 1 << 6;
}

/// What a client asked of tracking, for others to see. Only its own connection changes it, but for [`modes::BROKEN`].
#[derive(Debug, Default)]
pub struct Tracked {
    modes: AtomicU8,
    redirect: AtomicU64,
}

impl Tracked {
    /// Whether it tracks.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.has(modes::ON)
    }

    /// Whether it asked for any of these.
    #[inline]
    pub fn has(&self, modes: u8) -> bool {
        self.modes.load(Ordering::Relaxed) & modes != 0
    }

    /// The number of the client that is told instead; 0 if it is told itself.
    pub fn redirect(&self) -> u64 {
        self.redirect.load(Ordering::Relaxed)
    }

    /// `CLIENT CACHING`.
    pub fn set_caching(&self) {
        self.modes.fetch_or(modes::CACHING, Ordering::Relaxed);
    }

    /// The command that `CLIENT CACHING` was about is over.
    #[inline]
    pub fn end_caching(&self) {
        if self.has(modes::CACHING) {
            self.modes.fetch_and(!modes::CACHING, Ordering::Relaxed);
        }
    }

    /// Whether what it reads now is remembered.
    fn remembers(&self) -> bool {
        let modes = self.modes.load(Ordering::Relaxed);
        let caching = modes & modes::CACHING != 0;
        modes & modes::ON != 0
            && modes & modes::BROADCAST == 0
            && (modes & modes::OPT_IN == 0 || caching)
            && (modes & modes::OPT_OUT == 0 || !caching)
    }
}

/// Where invalidations go: the signals of whoever causes them, and how much a client's inbox may hold.
pub struct Outlet<'a> {
    /// The signals, to be sent afterwards.
    pub signals: &'a mut Signals,
    /// Keys to be broadcast at the end of the turn.
    pub broadcasts: &'a mut Broadcasts,
    /// See [`Signals::post`].
    pub bytes_max: usize,
}

/// Who tracks what; see the module's page.
#[derive(Debug)]
pub struct Tracking {
    /// How many clients track.
    count: AtomicUsize,
    /// Them, by number.
    trackers: RwLock<HashMap<u64, Arc<ClientCard>>>,
    table: Table,
    prefixes: Prefixes,
    /// Everybody, for redirection.
    clients: Arc<Clients>,
}

impl Tracking {
    /// Nobody tracks.
    pub fn new(clients: Arc<Clients>) -> Tracking {
        Tracking {
            count: AtomicUsize::new(0),
            trackers: RwLock::default(),
            table: Table::default(),
            prefixes: Prefixes::default(),
            clients,
        }
    }

    /// Whether anybody tracks.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// How many clients track.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Keys remembered; clients remembered for them; prefixes.
    pub fn figures(&self) -> (usize, usize, usize) {
        (self.table.keys(), self.table.items(), self.prefixes.len())
    }

    /// Has a client track, in these modes, and with these prefixes beside those it has if it broadcasts.
    pub fn begin(&self, client: &mut Client, modes: u8, redirect: u64, prefixes: &[&[u8]]) {
        let tracked = &client.card.tracked;
        let was_on = tracked.is_on();
        let caching = tracked.modes.load(Ordering::Relaxed) & modes::CACHING;
        tracked.redirect.store(redirect, Ordering::Relaxed);
        if modes & modes::BROADCAST != 0 {
            let everything: [&[u8]; 1] = [b""];
            for prefix in if prefixes.is_empty() { &everything[..] } else { prefixes } {
                if let Err(place) = client.prefixes.binary_search_by(|held| (**held).cmp(prefix)) {
                    client.prefixes.insert(place, (*prefix).into());
                    self.prefixes.add(prefix, &client.card);
                }
            }
        }
        if !was_on {
            let mut trackers = self.trackers.write();
            trackers.insert(client.card.id, Arc::clone(&client.card));
            self.count.store(trackers.len(), Ordering::Relaxed);
        }
        tracked.modes.store(modes | modes::ON | caching, Ordering::Relaxed);
    }

    /// Has a client track nothing more. What is remembered of it is forgotten as it changes.
    pub fn end(&self, client: &mut Client) {
        let tracked = &client.card.tracked;
        if !tracked.is_on() {
            return;
        }
        tracked.modes.store(0, Ordering::Relaxed);
        tracked.redirect.store(0, Ordering::Relaxed);
        for prefix in std::mem::take(&mut client.prefixes) {
            self.prefixes.remove(&prefix, client.card.id);
        }
        let mut trackers = self.trackers.write();
        trackers.remove(&client.card.id);
        self.count.store(trackers.len(), Ordering::Relaxed);
        // Under the lock, so that nobody has begun and read something meanwhile.
        if trackers.is_empty() {
            self.table.clear();
        }
    }

    /// Remembers that a client has read these keys, whose shards are locked. Beyond `keys_max` (0: any number) others are forgotten, and those
    /// who hold them told.
    pub fn remember<'k>(
        &self,
        card: &ClientCard,
        keys: impl Iterator<Item = &'k [u8]>,
        keys_max: usize,
        outlet: &mut Outlet<'_>,
    ) {
        if !card.tracked.remembers() {
            return;
        }
        for key in keys {
            self.table.remember(key, card.id);
        }
        while let Some((key, holders)) = self.table.forget_beyond(keys_max) {
            self.tell_holders(&key, &holders, None, outlet);
        }
    }

    /// Tells those who hold copies of changed keys, whose shards are locked. `changer` is the number of the client that changed them.
    pub fn invalidate(&self, changed: &[ChangedKey], changer: Option<u64>, outlet: &mut Outlet<'_>) {
        if !self.is_on() {
            return;
        }
        for ChangedKey { key, .. } in changed {
            self.invalidate_key(key, changer, outlet);
        }
    }

    /// As [`invalidate`](Self::invalidate), of one key.
    pub fn invalidate_key(&self, key: &[u8], changer: Option<u64>, outlet: &mut Outlet<'_>) {
        if self.prefixes.len() > 0 {
            outlet.broadcasts.add(key, changer);
        }
        if let Some(holders) = self.table.forget(key) {
            self.tell_holders(key, &holders, changer, outlet);
        }
    }

    fn tell_holders(&self, key: &[u8], holders: &[u64], changer: Option<u64>, outlet: &mut Outlet<'_>) {
        let mut value = Reply::new(Protocol::Resp2);
        value.array(1);
        value.bulk(key);
        for &id in holders {
            let Some(card) = self.trackers.read().get(&id).map(Arc::clone) else { continue };
            let tracked = &card.tracked;
            // It may have begun to broadcast since.
            let silent = !tracked.is_on()
                || tracked.has(modes::BROADCAST)
                || (tracked.has(modes::NO_LOOP) && changer == Some(id));
            if !silent {
                self.tell(&card, value.bytes(), outlet.signals, outlet.bytes_max);
            }
        }
    }

    /// All keys of one database or of all were removed at once: everybody who tracks is told to forget everything.
    pub fn flush(&self, signals: &mut Signals, bytes_max: usize) {
        if !self.is_on() {
            return;
        }
        self.table.clear();
        let mut trackers: Vec<Arc<ClientCard>> = self.trackers.read().values().map(Arc::clone).collect();
        trackers.sort_unstable_by_key(|card| card.id);
        for card in trackers {
            let null: &[u8] = if card.resp3.load(Ordering::Relaxed) { b"_\r\n" } else { b"$-1\r\n" };
            self.tell(&card, null, signals, bytes_max);
        }
    }

    /// Tells those whose prefixes they have of the keys that were changed in this turn.
    pub fn broadcast(&self, broadcasts: &mut Broadcasts, signals: &mut Signals, bytes_max: usize) {
        self.prefixes.each_told(&broadcasts.take(), |card, value| self.tell(card, value, signals, bytes_max));
    }

    /// Sends an invalidation to a client, or to whom it has named instead.
    fn tell(&self, card: &Arc<ClientCard>, value: &[u8], signals: &mut Signals, bytes_max: usize) {
        let redirect = card.tracked.redirect();
        let told = match redirect {
            0 => Some(Arc::clone(card)),
            id => self.clients.get(id),
        };
        let Some(told) = told else {
            card.tracked.modes.fetch_or(modes::BROKEN, Ordering::Relaxed);
            let mut broken = Reply::new(Protocol::Resp3);
            broken.push(2);
            broken.bulk(b"tracking-redir-broken");
            // Numbers of connections fit.
            broken.integer(redirect as i64);
            let push = Push::Each { resp2: [].into(), resp3: broken.bytes().into() };
            signals.post_behind(card, &push, Lsn::ZERO, bytes_max);
            return;
        };
        // In RESP2 only a message of a channel can be told apart from a reply.
        let resp2 = match redirect != 0 && told.is_subscriber() {
            true => [b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n", value].concat(),
            false => Vec::new(),
        };
        let resp3 = [b">2\r\n$10\r\ninvalidate\r\n", value].concat();
        signals.post_behind(
            &told,
            &Push::Each { resp2: resp2.into(), resp3: resp3.into() },
            Lsn::ZERO,
            bytes_max,
        );
    }
}
