//! Commands that take long, on a thread where nobody waits for them, on copies.
//!
//! ```text
//! execute ─▶ about to take long (see cost) ─▶ errand ─▶ on copies of its keys, nothing locked ─▶ committed ─▶ reply
//!                                                       └ somebody has changed one of them meanwhile: again; after some tries on the event loop
//! ```
//!
//! What only reads has seen all its keys as they were at one moment, and so is right whatever has happened since. What writes is committed only if
//! nobody has changed one of its keys meanwhile. Copies cost nothing as long as neither side changes them: see [`sessile::Overlay`].
//!
//! It must never change anything but by committing.

use super::dispatch::{access_of, for_each_key, may_learn, refusal};
use super::reach::Learned;
use super::run::{Parts, conclude_copies, note_read, run_at_once};
use super::{Call, Command, CommandError, CommandResult, Lookups};
use crate::acl::User;
use crate::client::{Client, ClientCard};
use crate::errand::LargeReply;
use crate::notify::{self, Events};
use crate::resp::Reply;
use crate::server::Server;
use crate::worker::Worker;
use sessile::{Access, Committed, Key, Lsn};
use sessile_wal::{Clock, SystemClock};
use smallvec::SmallVec;
use std::sync::Arc;

/// How often it is run on copies before it is run with its keys locked.
const TRIES: usize = 4;

/// Arguments, which may be a million: taken and given back at once.
struct Kept {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Kept {
    fn of(args: &[&[u8]]) -> Kept {
        let mut bytes = Vec::with_capacity(args.iter().map(|arg| arg.len()).sum());
        let mut ends = Vec::with_capacity(args.len());
        for arg in args {
            bytes.extend_from_slice(arg);
            ends.push(bytes.len());
        }
        Kept { bytes, ends }
    }

    fn slices(&self) -> Vec<&[u8]> {
        let mut begin = 0;
        let slice = |&end: &usize| {
            let slice = self.bytes.get(begin..end).unwrap_or_default();
            begin = end;
            slice
        };
        self.ends.iter().map(slice).collect()
    }
}

/// A command with all it needs, and then what came of it.
pub struct Long {
    server: Arc<Server>,
    command: &'static Command,
    args: Kept,
    database: u8,
    card: Arc<ClientCard>,
    user: Arc<User>,
    reply: Reply,
    done: Option<(CommandResult, Lsn)>,
    spent_ns: u64,
    _large: Option<LargeReply>,
}

impl std::fmt::Debug for Long {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Long").field("command", &self.command.name).finish_non_exhaustive()
    }
}

impl Long {
    /// Of a command that was called like this. Whether it may be run, and whether the log takes what it writes, was asked.
    pub fn new(
        server: &Arc<Server>,
        client: &Client,
        command: &'static Command,
        args: &[&[u8]],
        reply: &Reply,
        large: Option<LargeReply>,
    ) -> Long {
        Long {
            server: Arc::clone(server),
            command,
            args: Kept::of(args),
            database: client.database,
            card: Arc::clone(&client.card),
            user: Arc::clone(&client.user),
            reply: Reply::new(reply.protocol()),
            done: None,
            spent_ns: 0,
            _large: large,
        }
    }

    /// How long it ran.
    pub fn spent_ns(&self) -> u64 {
        self.spent_ns
    }

    /// Writes the reply that it has brought; its result, and what must be acknowledged first. Nothing if others kept changing its keys.
    pub fn finish(self, reply: &mut Reply) -> Option<(CommandResult, Lsn)> {
        let (result, lsn) = self.done?;
        reply.append(self.reply);
        Some((result, lsn))
    }

    /// Runs it.
    pub fn run(&mut self) {
        let begun_ns = SystemClock.monotonic_ns();
        let mut worker = self.server.take_worker();
        for _ in 0..TRIES {
            worker.begin_batch();
            self.done = self.run_once(&mut worker);
            if self.done.is_some() {
                break;
            }
            self.reply.truncate(0);
        }
        worker.send_signals();
        self.server.give_worker(&worker);
        self.spent_ns = SystemClock.monotonic_ns().saturating_sub(begun_ns);
    }

    /// Runs it on copies as they are now; nothing if they were no more when it was done.
    fn run_once(&mut self, worker: &mut Worker) -> Option<(CommandResult, Lsn)> {
        let server = Arc::clone(&self.server);
        let client = Client::in_script(Arc::clone(&self.card), Arc::clone(&self.user), self.database);
        let args = self.args.slices();
        let (command, reply) = (self.command, &mut self.reply);
        let access = access_of(command);
        let mut overlay = server.db.overlay(worker.now_ms);
        let mut learned = Learned::new(may_learn(&client, command, &args));
        let (result, events) = loop {
            let mut keys: SmallVec<[Key<'_>; 4]> = SmallVec::new();
            for_each_key(command.keys, &args, client.database, &mut |database, index| {
                if let Some(bytes) = args.get(index) {
                    keys.push(overlay.key(database, bytes));
                }
            });
            let named = keys.len();
            keys.extend(learned.keys(&server.db));
            let mut parts = Parts::of(worker);
            // Before they are copied, so that whatever changes them from then on is told.
            note_read(&mut parts, &client, command, &keys[..named]);
            let mut txn = match overlay.begin(&keys, access) {
                Ok(txn) => txn,
                Err(sessile::Error::DatabasesSwapped) => return None,
                Err(error) => return Some((Err(CommandError::of(refusal(&error))), Lsn::ZERO)),
            };
            if parts.live.settings.notify_events & notify::NEW != 0 {
                txn.note_creations();
            }
            let mut call = Call {
                args: &args,
                keys: &keys[..named],
                txn: &mut txn,
                reply: &mut *reply,
                random: parts.random,
                settings: &parts.live.settings,
                lookups: Lookups::default(),
                events: Events::default(),
                learned: &learned,
                damaged: 0,
                sessions: None,
            };
            let result = run_at_once(command, &mut call);
            call.note_creations();
            let (Lookups { hits, misses }, events) = (call.lookups, call.events);
            // Its position means nothing before the whole is committed.
            let _ = txn.commit();
            drop(keys);
            if let Err(CommandError::NeedsKeys(more)) = result {
                reply.truncate(0);
                learned = *more;
                continue;
            }
            worker.figures.hits.add(u64::from(hits));
            worker.figures.misses.add(u64::from(misses));
            break (result, events);
        };
        if access == Access::Read {
            // It was run on what was there at one moment: that is when it happened.
            return Some((result, Lsn::ZERO));
        }
        match conclude_copies(worker, client.card.id, overlay, &events) {
            Ok(Committed::At(lsn)) => {
                if lsn != Lsn::ZERO {
                    // What goes wrong with the log is said to whoever waits for its acknowledgement.
                    let _ = server.db.push_log();
                }
                Some((result, lsn))
            }
            Ok(Committed::Conflict) | Err(sessile::Error::DatabasesSwapped) => None,
            Err(error) => Some((Err(CommandError::of(refusal(&error))), Lsn::ZERO)),
        }
    }
}
