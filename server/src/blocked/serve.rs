//! Serving those who wait, by whoever changed their keys.
//!
//! A waiter's command is run on its behalf, its reply handed to its loop. Those whose keys the open transaction holds are served inside it,
//! so that nobody else ever sees the element; the others right after it, in transactions of their own, before the connection that pushed
//! goes on. In both cases in the order of their tickets, each at most once per change. What serving one changes (`BLMOVE`) may serve others.

use super::{Awaited, Ended, Request, Waiter};
use crate::command::dispatch::refusal;
use crate::command::reach::NOTHING;
use crate::command::{Call, Lookups, Random, Served, flags};
use crate::config::Live;
use crate::notify::{self, Events};
use crate::resp::Reply;
use crate::server::Server;
use crate::tracking::Outlet;
use sessile::{Begun, ChangedKey, Key, Kind, Lsn, Txn};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// How often values that are in the page cache are read for a waiter before it must look for itself.
const CACHE_READS_MAX: usize = 8;
/// What serving one adds to the log beside its arguments, for admission.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Changed keys whose waiters could not be served inside the transaction.
#[derive(Debug, Default)]
#[must_use = "their waiters must be served after the transaction"]
pub struct Leftover(VecDeque<ChangedKey>);

impl Leftover {
    /// Keys that may have become servable without a transaction that says so (`SWAPDB`).
    pub fn of(keys: impl IntoIterator<Item = (u8, Box<[u8]>)>) -> Leftover {
        Leftover(keys.into_iter().map(|(database, key)| ChangedKey { database, key }).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What serving needs, and what has come of it.
pub struct Service<'a> {
    server: &'a Server,
    live: &'a Live,
    random: &'a mut Random,
    outlet: Outlet<'a>,
    /// The number of the client whose command this comes after.
    changer: Option<u64>,
    /// What a waiter is told of must be acknowledged up to there, even if nothing was written on its behalf.
    after: Lsn,
    /// Replies whose position in the log is not known yet.
    pending: Vec<(Arc<Waiter>, Vec<u8>)>,
}

/// What a client hears that waits as part of a group, when the key holds no stream any more, or the group is gone.
const STREAM_GONE: &[u8] = b"UNBLOCKED the stream key no longer exists";
const GROUP_GONE: &[u8] = b"NOGROUP the consumer group this client was blocked on no longer exists";

/// The reply to a waiter's command that has failed.
fn error_reply(request: &Request, text: &[u8]) -> Vec<u8> {
    let mut reply = Reply::new(request.protocol);
    reply.error(text);
    std::mem::take(reply.bytes_mut())
}

/// What became of an attempt on a waiter's behalf.
enum Attempt {
    Served(Vec<u8>),
    Nothing,
}

impl<'a> Service<'a> {
    /// On any thread; what is in the `outlet` is to be sent afterwards. `changer` is the number of the client whose command this comes after.
    pub fn new(
        server: &'a Server,
        live: &'a Live,
        random: &'a mut Random,
        outlet: Outlet<'a>,
        changer: Option<u64>,
    ) -> Service<'a> {
        Service { server, live, random, outlet, changer, after: Lsn::ZERO, pending: Vec::new() }
    }

    /// Nobody is told of anything before this position is acknowledged.
    pub fn behind(mut self, lsn: Lsn) -> Service<'a> {
        self.after = self.after.max(lsn);
        self
    }

    /// Ends a transaction whose changes were noted: serves those who wait for them, publishes its events and theirs, commits. `held` are the
    /// keys it was begun with. The position that must be acknowledged before anyone is told.
    pub fn conclude(mut self, mut txn: Txn<'_>, held: &[Key<'_>], mut events: Events) -> Lsn {
        let mut changed = txn.take_changes();
        let leftover = self.serve_within(&mut txn, held, &mut changed, &mut events);
        let lsn = self.commit(txn, &changed, &events);
        for (waiter, reply) in std::mem::take(&mut self.pending) {
            self.tell(&waiter, Ended::Served { reply, lsn });
        }
        self.behind(lsn).serve_after(leftover);
        lsn
    }

    fn commit(&mut self, txn: Txn<'_>, changed: &[ChangedKey], events: &Events) -> Lsn {
        txn.commit_then(|lsn| {
            self.server.tracking.invalidate(changed, self.changer, &mut self.outlet);
            if !events.is_empty() {
                events.publish_for(&self.server.pubsub, self.live, lsn, self.outlet.signals);
            }
        })
    }

    /// Serves those who wait for what `txn` has changed, as far as it holds their keys; what that changes is added. What is left is to be
    /// served after it.
    fn serve_within(
        &mut self,
        txn: &mut Txn<'_>,
        held: &[Key<'_>],
        changed: &mut Vec<ChangedKey>,
        events: &mut Events,
    ) -> Leftover {
        let (db, blocked) = (&self.server.db, &self.server.blocked);
        let mut leftover = Leftover::default();
        if !blocked.any_for_elements() {
            return leftover;
        }
        let held = Held::new(held);
        let mut registry = blocked.registry.lock();
        let last = registry.last_ticket;
        let mut place = 0;
        'keys: while let Some(changed_key) = changed.get(place).cloned() {
            place += 1;
            let mut after = 0;
            while let Some(waiter) = registry.next(changed_key.database, &changed_key.key, after, last) {
                after = waiter.ticket;
                let Awaited::Element(request) = &waiter.awaited else { continue };
                let keys = request.hashed(db);
                if !held.all(&keys) {
                    // Nor may those behind it be served before it.
                    leftover.0.push_back(changed_key);
                    continue 'keys;
                }
                let key = db.key(changed_key.database, &changed_key.key);
                match could_serve(txn.kind(&key), request) {
                    Could::Yes => {}
                    Could::NotThis => continue,
                    Could::Nobody => continue 'keys,
                    Could::NeverAgain => {
                        blocked.remove_from(&mut registry, &waiter);
                        let reply = error_reply(request, STREAM_GONE);
                        self.tell(&waiter, Ended::Served { reply, lsn: Lsn::ZERO });
                        continue;
                    }
                }
                if reads_for_itself(&waiter, request) {
                    blocked.remove_from(&mut registry, &waiter);
                    self.tell(&waiter, Ended::Retry);
                    continue;
                }
                if let Attempt::Served(reply) = self.attempt(txn, request, &keys, events) {
                    blocked.remove_from(&mut registry, &waiter);
                    self.pending.push((Arc::clone(&waiter), reply));
                    changed.extend(txn.take_changes());
                }
            }
        }
        leftover
    }

    /// Serves those who wait for changed keys, in transactions of their own. No transaction may be open on this thread.
    pub fn serve_after(&mut self, leftover: Leftover) {
        let mut changed = leftover.0;
        while let Some(changed_key) = changed.pop_front() {
            self.serve_key(&changed_key, &mut changed);
        }
    }

    fn serve_key(&mut self, changed_key: &ChangedKey, changed: &mut VecDeque<ChangedKey>) {
        let server = self.server;
        let (db, blocked) = (&server.db, &server.blocked);
        let (mut after, last) = (0, blocked.registry.lock().last_ticket);
        loop {
            let next = blocked.registry.lock().next(changed_key.database, &changed_key.key, after, last);
            let Some(waiter) = next else { return };
            after = waiter.ticket;
            let Awaited::Element(request) = &waiter.awaited else { continue };
            let keys = request.hashed(db);
            let Some(mut txn) = self.begin(&waiter, request, &keys) else { continue };
            txn.note_changes();
            if self.live.settings.notify_events & notify::NEW != 0 {
                txn.note_creations();
            }
            let key = db.key(changed_key.database, &changed_key.key);
            match could_serve(txn.kind(&key), request) {
                Could::Yes => {}
                Could::NotThis => continue,
                Could::Nobody => return,
                Could::NeverAgain => {
                    let reply = error_reply(request, STREAM_GONE);
                    self.end(&waiter, Ended::Served { reply, lsn: self.after });
                    continue;
                }
            }
            let mut registry = blocked.registry.lock();
            // It may have been served, or have left, since we looked.
            if !registry.holds(&waiter) {
                continue;
            }
            if reads_for_itself(&waiter, request) {
                blocked.remove_from(&mut registry, &waiter);
                self.tell(&waiter, Ended::Retry);
                continue;
            }
            let mut events = Events::default();
            let Attempt::Served(reply) = self.attempt(&mut txn, request, &keys, &mut events) else {
                continue;
            };
            blocked.remove_from(&mut registry, &waiter);
            drop(registry);
            let changes = txn.take_changes();
            let lsn = self.commit(txn, &changes, &events);
            changed.extend(changes);
            // What served it may not be acknowledged yet: an error tells of it, too.
            self.tell(&waiter, Ended::Served { reply, lsn: lsn.max(self.after) });
        }
    }

    /// Begins the transaction of a waiter's command. `None`: it can't be had here and now, and the waiter was told what to do.
    fn begin(&mut self, waiter: &Arc<Waiter>, request: &Request, keys: &[Key<'_>]) -> Option<Txn<'a>> {
        let db = &self.server.db;
        let bytes = request.args.iter().map(|arg| arg.len()).sum::<usize>() + RECORD_OVERHEAD_BYTES;
        let access = request.access();
        let mut fetched = None;
        match db.admit_now(bytes, access) {
            Ok(true) => {
                for _ in 0..CACHE_READS_MAX {
                    match db.try_begin(keys, access, db.now_ms(), fetched.take()) {
                        Ok(Begun::Ready(txn)) => return Some(txn),
                        Ok(Begun::Cold(mut fetch)) => {
                            if !fetch.try_now() {
                                break;
                            }
                            fetched = Some(fetch);
                        }
                        // Their keys are hashed anew then.
                        Err(sessile::Error::DatabasesSwapped) => break,
                        Err(error) => {
                            self.refuse(waiter, request, &error);
                            return None;
                        }
                    }
                }
            }
            // The log's buffer is full; its connection knows how to wait for that, as for a disk.
            Ok(false) => {}
            Err(error) => {
                self.refuse(waiter, request, &error);
                return None;
            }
        }
        self.end(waiter, Ended::Retry);
        None
    }

    /// Ends a wait, unless it has ended.
    fn end(&mut self, waiter: &Arc<Waiter>, ended: Ended) {
        if self.server.blocked.end(waiter, ended) {
            self.outlet.signals.tell(&waiter.client);
        }
    }

    fn refuse(&mut self, waiter: &Arc<Waiter>, request: &Request, error: &sessile::Error) {
        let reply = error_reply(request, refusal(error).as_bytes());
        self.end(waiter, Ended::Served { reply, lsn: Lsn::ZERO });
    }

    fn attempt(
        &mut self,
        txn: &mut Txn<'_>,
        request: &Request,
        keys: &[Key<'_>],
        events: &mut Events,
    ) -> Attempt {
        let args: smallvec::SmallVec<[&[u8]; 8]> = request.args.iter().map(|arg| &**arg).collect();
        let mut reply = Reply::new(request.protocol);
        // A command that waits names all of its keys.
        let mut call = Call {
            args: &args,
            keys,
            txn,
            reply: &mut reply,
            random: self.random,
            settings: &self.live.settings,
            lookups: Lookups::default(),
            events: Events::default(),
            learned: &NOTHING,
            damaged: 0,
            sessions: None,
        };
        let result = (request.blocking.attempt)(&mut call);
        call.note_creations();
        events.append(call.events);
        match result {
            Ok(Served::Yes) => {}
            Ok(Served::NotYet) => return Attempt::Nothing,
            Err(error) => {
                reply.truncate(0);
                match &error.text()[..] {
                    text if text.starts_with(b"NOGROUP") => reply.error(GROUP_GONE),
                    text => reply.error(text),
                }
            }
        }
        Attempt::Served(std::mem::take(reply.bytes_mut()))
    }

    /// Says how the wait of one who was removed has ended.
    fn tell(&mut self, waiter: &Arc<Waiter>, ended: Ended) {
        // Only who has removed it says so.
        let first = waiter.ended.set(ended).is_ok();
        debug_assert!(first, "a wait ends once");
        self.outlet.signals.tell(&waiter.client);
    }
}

/// The keys of the open transaction.
enum Held<'k> {
    Few(&'k [Key<'k>]),
    Many(HashSet<(u8, &'k [u8])>),
}

impl<'k> Held<'k> {
    /// Keys up to which it is quicker to look at one after the other.
    const FEW: usize = 32;

    fn new(keys: &'k [Key<'k>]) -> Held<'k> {
        if keys.len() <= Held::FEW {
            Held::Few(keys)
        } else {
            Held::Many(keys.iter().map(|key| (key.database(), key.bytes())).collect())
        }
    }

    /// Whether all of these are among them.
    fn all(&self, keys: &[Key<'_>]) -> bool {
        let held = |key: &Key<'_>| match self {
            Held::Few(few) => {
                few.iter().any(|held| (held.database(), held.bytes()) == (key.database(), key.bytes()))
            }
            Held::Many(many) => many.contains(&(key.database(), key.bytes())),
        };
        keys.iter().all(held)
    }
}

/// Whether the waiter has to look for itself. It keeps copies of what it reads, and its reply must be in its output before it is told that they
/// are no longer true.
fn reads_for_itself(waiter: &Waiter, request: &Request) -> bool {
    request.command.flags & flags::READONLY != 0 && waiter.client.tracked.is_on()
}

/// Whether a changed key can serve one who waits for it.
enum Could {
    Yes,
    /// Not this one, who waits for another type; perhaps the next one.
    NotThis,
    /// The key is gone.
    Nobody,
    /// What this one waits for is gone for good.
    NeverAgain,
}

fn could_serve(kind: Option<Kind>, request: &Request) -> Could {
    if request.command.name == "xreadgroup" && kind != Some(Kind::Stream) {
        return Could::NeverAgain;
    }
    let group = match kind {
        None => return Could::Nobody,
        Some(Kind::List) => "list",
        Some(Kind::SortedSet) => "sorted-set",
        Some(Kind::Stream) => "stream",
        Some(Kind::String | Kind::Set | Kind::Hash | Kind::Chat) => return Could::NotThis,
    };
    if request.command.group == group { Could::Yes } else { Could::NotThis }
}
