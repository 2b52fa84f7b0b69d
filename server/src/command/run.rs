//! Running a command on keys inside a transaction that is open, and ending that: the same for a single command, for `EXEC` and for scripts.
//!
//! Who opens the transaction has locked the shards of the command's keys and sees to it that their values are in memory. What the commands
//! leave to be told ([`Effects`]) is told when the transaction ends, under its locks, so that it is heard in the order in which it happened.

use super::session::Tokens;
use super::{Call, Command, CommandError, CommandResult, Lookups, Random, Run, Served, flags};
use crate::blocked::{Leftover, Service};
use crate::client::Client;
use crate::config::Live;
use crate::notify::{self, Events};
use crate::push::Signals;
use crate::server::Server;
use crate::tracking::{Broadcasts, Outlet};
use crate::worker::{Figures, Worker};
use sessile::{ChangedKey, Committed, Key, Lsn, Overlay, Txn};
use std::sync::Arc;

/// A worker taken apart, so that what it has can be used while a transaction borrows the database from its server.
pub struct Parts<'a> {
    /// See [`Worker::server`].
    pub server: &'a Arc<Server>,
    /// See [`Worker::live`].
    pub live: &'a Live,
    /// See [`Worker::random`].
    pub random: &'a mut Random,
    /// See [`Worker::figures`].
    pub figures: &'a Figures,
    /// See [`Worker::now_ms`].
    pub now_ms: u64,
    /// See [`Worker::tokens`].
    pub tokens: &'a mut Tokens,
    signals: &'a mut Signals,
    broadcasts: &'a mut Broadcasts,
}

impl<'a> Parts<'a> {
    /// The parts of a worker.
    #[inline]
    pub fn of(worker: &'a mut Worker) -> Parts<'a> {
        let Worker { server, live, random, figures, now_ms, tokens, signals, broadcasts, .. } = worker;
        Parts { server, live, random, figures, now_ms: *now_ms, tokens, signals, broadcasts }
    }

    fn outlet(&mut self) -> Outlet<'_> {
        Outlet { signals: self.signals, broadcasts: self.broadcasts, bytes_max: self.live.pushed_bytes_max() }
    }
}

/// What commands leave to be told when their transaction ends.
#[derive(Default)]
pub struct Effects {
    /// What happened to keys.
    pub events: Events,
    /// Keys that reads found, or did not find.
    pub lookups: Lookups,
    /// The transaction notes what it changes, since somebody waits for it or has copies.
    pub concerns: bool,
    /// What scripts among them leave beside.
    #[cfg(feature = "scripting")]
    pub told: Option<Box<crate::scripting::block::Told>>,
    /// When the scripts among them have held the keys long enough; nothing before the first.
    #[cfg(feature = "scripting")]
    scripts_until: Option<crate::scripting::vm::Until>,
}

impl Effects {
    /// Has `txn` note what somebody wants to know of it; to be called when its keys are locked, and before anything is changed.
    #[inline]
    pub fn begin(parts: &Parts<'_>, txn: &mut Txn<'_>, keys: &[Key<'_>], writes: bool) -> Effects {
        if parts.live.settings.notify_events & notify::NEW != 0 {
            txn.note_creations();
        }
        let server = parts.server;
        let concerns = writes && (server.blocked.may_await(keys) || server.tracking.is_on());
        if concerns {
            txn.note_changes();
        }
        Effects { concerns, ..Effects::default() }
    }

    /// As [`begin`](Self::begin) does for the keys that are known: for those that scripts will come to.
    pub fn concern_all(&mut self, parts: &Parts<'_>, txn: &mut Txn<'_>) {
        if parts.server.blocked.any_for_elements() {
            self.concerns = true;
            txn.note_changes();
        }
    }

    /// When the scripts of the transaction have held its keys long enough.
    #[cfg(feature = "scripting")]
    pub fn scripts_until(&mut self, clock: &Arc<dyn sessile_wal::Clock>) -> crate::scripting::vm::Until {
        let until = || crate::scripting::vm::Until::after(clock, crate::scripting::block::HELD_NS);
        self.scripts_until.get_or_insert_with(until).clone()
    }

    /// Takes over what a call has to tell.
    #[inline]
    pub fn take(&mut self, call: &mut Call<'_, '_>) {
        call.note_creations();
        self.lookups.hits += call.lookups.hits;
        self.lookups.misses += call.lookups.misses;
        if !call.events.is_empty() {
            self.events.append(std::mem::take(&mut call.events));
        }
    }

    /// Commits, and tells everybody: what must be acknowledged before the reply is sent. `held` are the keys of the transaction.
    pub fn conclude(self, parts: Parts<'_>, client: &Client, txn: Txn<'_>, held: &[Key<'_>]) -> Lsn {
        let Effects { events, lookups: Lookups { hits, misses }, concerns, .. } = self;
        if hits > 0 {
            parts.figures.hits.add(u64::from(hits));
        }
        if misses > 0 {
            parts.figures.misses.add(u64::from(misses));
        }
        let Parts { server, live, random, signals, broadcasts, .. } = parts;
        if !concerns {
            return txn.commit_then(|lsn| {
                if !events.is_empty() {
                    events.publish_for(&server.pubsub, live, lsn, signals);
                }
            });
        }
        let outlet = Outlet { signals, broadcasts, bytes_max: live.pushed_bytes_max() };
        Service::new(server, live, random, outlet, Some(client.card.id)).conclude(txn, held, events)
    }
}

/// Commits copies that one command, or several, have worked on, and tells everybody. `changer` is the client that they are of.
///
/// # Errors
/// As [`Overlay::commit`]: nothing has happened.
pub fn conclude_copies(
    worker: &mut Worker,
    changer: u64,
    mut overlay: Overlay,
    events: &Events,
) -> Result<Committed, sessile::Error> {
    let changed: Vec<ChangedKey> = overlay.take_changes();
    let Parts { server, live, random, signals, broadcasts, .. } = Parts::of(worker);
    let committed = overlay.commit_then(|lsn| {
        if !events.is_empty() {
            events.publish_for(&server.pubsub, live, lsn, signals);
        }
    })?;
    let Committed::At(lsn) = committed else { return Ok(committed) };
    let bytes_max = live.pushed_bytes_max();
    server.tracking.invalidate(&changed, Some(changer), &mut Outlet { signals, broadcasts, bytes_max });
    if server.blocked.any_for_elements() {
        let outlet = Outlet { signals, broadcasts, bytes_max };
        let keys = changed.into_iter().map(|changed| (changed.database, changed.key));
        let service = Service::new(server, live, random, outlet, Some(changer));
        service.behind(lsn).serve_after(Leftover::of(keys));
    }
    Ok(committed)
}

/// Has it remembered that a client has read keys of which it may keep copies.
#[inline]
pub fn note_read(parts: &mut Parts<'_>, client: &Client, command: &Command, keys: &[Key<'_>]) {
    if client.card.tracked.is_on() && command.flags & flags::READONLY != 0 {
        let (server, keys_max) = (parts.server, parts.live.tracking_keys_max);
        let read = keys.iter().map(Key::bytes);
        server.tracking.remember(&client.card, read, keys_max, &mut parts.outlet());
    }
}

/// What is to be done after a command over the keyspace as a whole, when no transaction is open.
///
/// # Errors
/// It has done a part of what it should.
pub fn after_keyspace(
    worker: &mut Worker,
    client: &Client,
    command: &Command,
    args: &[&[u8]],
) -> CommandResult {
    tell_of_keyspace(worker, client, command, args);
    // Where there are none, a disk that is full of keys is no reason to refuse.
    if command.name == "flushall" && worker.server.db.sessions_kept() > 0 {
        worker.server.db.flush_sessions().map_err(|error| {
            tracing::error!("FLUSHALL could not end the sessions: {error}");
            CommandError::of(format!("ERR the keys are gone, but the sessions could not be ended: {error}"))
        })?;
    }
    Ok(())
}

fn tell_of_keyspace(worker: &mut Worker, client: &Client, command: &Command, args: &[&[u8]]) {
    match command.name {
        "flushall" | "flushdb" if worker.server.tracking.is_on() => {
            let bytes_max = worker.live.pushed_bytes_max();
            worker.server.tracking.flush(&mut worker.signals, bytes_max);
        }
        "swapdb" => {
            let Ok((one, other)) = super::scan::swapped(args) else { return };
            // Redis tells nobody here, and copies go stale.
            let bytes_max = worker.live.pushed_bytes_max();
            worker.server.tracking.flush(&mut worker.signals, bytes_max);
            let awaited = worker.server.blocked.awaited_in(&[one, other]);
            if awaited.is_empty() {
                return;
            }
            let Parts { server, live, random, signals, broadcasts, .. } = Parts::of(worker);
            let outlet = Outlet { signals, broadcasts, bytes_max: live.pushed_bytes_max() };
            Service::new(server, live, random, outlet, Some(client.card.id))
                .serve_after(Leftover::of(awaited));
        }
        _ => {}
    }
}

/// Runs a command on keys where it may not wait: one that would, answers as if its time were up.
pub fn run_at_once(command: &Command, call: &mut Call<'_, '_>) -> CommandResult {
    match command.run {
        Run::Data(run) => run(call),
        Run::Blocking(blocking) => match (blocking.attempt)(call)? {
            Served::Yes => Ok(()),
            Served::NotYet => {
                match command.name {
                    // Where their time is up they answer another null.
                    "blmove" | "brpoplpush" => call.reply.null(),
                    _ => (blocking.expired)(call.reply),
                }
                Ok(())
            }
        },
        Run::Keyspace(_) | Run::Walk(_) | Run::Server(_) | Run::Container => {
            unreachable!("only commands on keys come here")
        }
    }
}
