//! From arguments to a reply: finds the command, checks what all commands have in common, runs it in a transaction over its keys.
//!
//! Never blocks and never fails: what goes wrong is an error reply. A command that errs leaves nothing in the reply but its error. One that
//! needs what may wait for a disk is not executed at all but answers an [`Errand`].

use super::cost;
use super::long::Long;
use super::reach::Learned;
use super::run::{Effects, Parts, after_keyspace, note_read, run_at_once};
use super::table::{Entry, table};
use super::timing::Stopwatch;
use super::transaction::{IMMEDIATE, aborted};
use super::{
    Blocking, Call, Command, CommandError, CommandResult, KeySpec, KeyspaceCall, Lookups, Run, Served,
    Timeout, flags, permission, session,
};
use crate::acl::Context;
use crate::blocked::{Awaited, Blocked, Place, Request, Wait};
use crate::client::{Client, ClientCard, Durable};
use crate::errand::{Checkpoint, Errand, LargeReply, Walk};
use crate::monitor::Source;
use crate::notify::Events;
use crate::resp::{Protocol, Reply};
use crate::server::Server;
use crate::transaction::Queue;
use crate::worker::Worker;
use sessile::{Access, Begun, Extent, Fetch, Key, Lsn, Txn};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of arguments that an unknown command's error repeats.
const PREVIEW_BYTES_MAX: usize = 128;
/// How often a command reads values that are in the page cache and finds that it needs others by then, before it goes the long way.
pub(super) const CACHE_READS_MAX: usize = 8;
/// What a subscriber may do that speaks RESP2, in which it could not tell replies from messages.
const SUBSCRIBERS_COMMANDS: [&str; 9] = [
    "ping",
    "psubscribe",
    "punsubscribe",
    "quit",
    "reset",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
];
/// How often a command is begun that finds each time that it needs keys which it did not know of.
const BEGINNINGS_MAX: usize = 100;
/// A collection of more elements than this that is shared is not copied on an event loop, if that can be helped.
const SHARED_ELEMENTS_COPIED: usize = 10_000;
/// Commands over larger values wait while clients have too much to take.
const ELEMENTS_WHEN_OVER: usize = 1000;
/// The same of strings.
const BYTES_WHEN_OVER: usize = 32 << 10;
/// What a record costs beyond the arguments, for admission.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// A connection or server command's surroundings.
pub struct ServerCall<'a> {
    /// All arguments, the command's name first. Arity has been checked.
    pub args: &'a [&'a [u8]],
    /// Who asks.
    pub client: &'a mut Client,
    /// The loop it runs on, and through it the server.
    pub worker: &'a mut Worker,
    /// Where the reply goes.
    pub reply: &'a mut Reply,
    /// Set by a command that wrote: what must be acknowledged before the reply is sent.
    pub lsn: Lsn,
    /// Set by a command that has done nothing, since the log's buffer is full.
    pub busy: bool,
    /// Of a script in a transaction: what runs it there.
    #[cfg(feature = "scripting")]
    pub block: Option<&'a mut dyn crate::scripting::block::RunScript>,
    /// What was brought for this command, which then is executed for the second time.
    brought: Option<Box<Errand>>,
    /// What it needs first; then nothing that it has written counts.
    wanted: Option<Box<Errand>>,
    /// What it waits for; then nothing that it has written counts either.
    wait: Option<Wait>,
}

impl<'a> ServerCall<'a> {
    /// A call for the first time.
    pub fn new(
        args: &'a [&'a [u8]],
        client: &'a mut Client,
        worker: &'a mut Worker,
        reply: &'a mut Reply,
    ) -> ServerCall<'a> {
        ServerCall {
            args,
            client,
            worker,
            reply,
            lsn: Lsn::ZERO,
            busy: false,
            #[cfg(feature = "scripting")]
            block: None,
            brought: None,
            wanted: None,
            wait: None,
        }
    }
}

impl ServerCall<'_> {
    /// What was brought for this command.
    pub fn take_brought(&mut self) -> Option<Errand> {
        self.brought.take().map(|errand| *errand)
    }

    /// Puts back what is of no use to whoever took it.
    pub fn put_brought(&mut self, errand: Errand) {
        self.brought = Some(Box::new(errand));
    }

    /// Says what the command needs before it is executed again; it must have done nothing.
    pub fn want(&mut self, errand: Errand) {
        self.wanted = Some(Box::new(errand));
    }

    /// Whether it needs something first.
    pub fn wants_errand(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether this is the second time, and what the command had to wait for is there.
    pub fn is_second(&self) -> bool {
        self.brought.is_some()
    }

    /// Has a checkpoint made before the command goes on: nothing the first time, when the command must return without having done anything,
    /// and what came of it the second time.
    pub fn checkpoint(&mut self) -> Option<Result<(), sessile::Error>> {
        if let Some(Errand::Checkpoint(made)) = self.brought.take().map(|errand| *errand)
            && let Some(result) = made.result()
        {
            return Some(result);
        }
        self.wanted = Some(Box::new(Errand::Checkpoint(Checkpoint::new(&self.worker.server.db))));
        None
    }

    /// Has the client wait, and nothing that the command has written count; false if it may not wait here.
    pub fn wait_for(&mut self, awaited: Awaited, timeout: Timeout) -> bool {
        if self.client.may_not_wait {
            return false;
        }
        let deadline_ms = timeout.deadline_ms(self.worker.now_ms);
        self.wait = Some(self.worker.server.blocked.wait(&self.client.card, awaited, deadline_ms, None));
        true
    }
}

/// What became of a command.
#[derive(Debug)]
pub enum Outcome {
    /// It has its reply, to be sent once this position is acknowledged.
    Done(Lsn),
    /// The log's buffer is full: nothing was done; try again in the next turn.
    Busy,
    /// It needs this first: nothing was done; run it, and execute the same request again with it.
    Away(Box<Errand>),
    /// It waits: nothing was done. The wait says what its reply is.
    Waits(Wait),
    /// Clients are paused: nothing was done; try again when they are not.
    Postponed,
}

/// Runs one request. `brought` is the errand that the same request has asked for before, done; it is taken if the request came as far as to
/// use it.
pub fn execute(
    worker: &mut Worker,
    client: &mut Client,
    reply: &mut Reply,
    args: &[&[u8]],
    brought: &mut Option<Box<Errand>>,
) -> Outcome {
    let Some(name) = args.first() else { return Outcome::Done(Lsn::ZERO) };
    let start = reply.bytes().len();
    client.told_bytes = 0;
    client.told_first = (0, Lsn::ZERO);
    let Some(mut entry) = table().find(name) else {
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            // A browser that was led to this port: what follows in its request must not be taken for commands.
            tracing::warn!(client = %client.card.origin.address, "closing a connection that speaks HTTP");
            client.closing = true;
            client.dropped = true;
            return Outcome::Done(Lsn::ZERO);
        }
        refuse(worker, client, reply, None, &unknown_command(name, args));
        return Outcome::Done(Lsn::ZERO);
    };
    if let Some(subcommand) = args.get(1)
        && !entry.subcommands.is_empty()
    {
        match entry.subcommand(subcommand) {
            Some(found) => {
                if entry.command.name == "debug"
                    && let Err(error) = super::debug::check_access(&worker.live, client)
                {
                    refuse(worker, client, reply, Some(entry), &error.text());
                    return Outcome::Done(Lsn::ZERO);
                }
                entry = found;
            }
            None if entry.is_container() => {
                refuse(worker, client, reply, Some(entry), &unknown_subcommand(entry.command, subcommand));
                return Outcome::Done(Lsn::ZERO);
            }
            None => {}
        }
    }
    client.last_command = entry.number;
    if !entry.takes(args.len()) || entry.is_container() {
        let text = format!("ERR wrong number of arguments for '{}' command", entry.full_name);
        refuse(worker, client, reply, Some(entry), text.as_bytes());
        return Outcome::Done(Lsn::ZERO);
    }
    if !client.authenticated && entry.command.flags & flags::NO_AUTH == 0 {
        refuse(worker, client, reply, Some(entry), b"NOAUTH Authentication required.");
        return Outcome::Done(Lsn::ZERO);
    }
    let in_transaction = client.transaction.is_open();
    if in_transaction && entry.command.flags & flags::NO_MULTI != 0 {
        let text = b"ERR Command not allowed inside a transaction";
        refuse(worker, client, reply, Some(entry), text);
        return Outcome::Done(Lsn::ZERO);
    }
    let context = if in_transaction { Context::Multi } else { Context::TopLevel };
    if let Err(denied) = permission::check(worker, client, entry, args, context) {
        refuse(worker, client, reply, Some(entry), denied.as_bytes());
        return Outcome::Done(Lsn::ZERO);
    }
    let mut access = access_of(entry.command);
    if access != Access::Read {
        let bytes = args.iter().map(|arg| arg.len()).sum::<usize>() + RECORD_OVERHEAD_BYTES;
        match worker.server.db.admit_now(bytes, access) {
            Ok(true) => worker.wrote = true,
            // It is only queued now.
            Ok(false) if in_transaction => {}
            // It answers all the same.
            Ok(false) | Err(_) if entry.command.flags & flags::MAY_WRITE != 0 => access = Access::Read,
            Ok(false) => return Outcome::Busy,
            Err(error) => {
                refuse(worker, client, reply, Some(entry), refusal(&error).as_bytes());
                return Outcome::Done(Lsn::ZERO);
            }
        }
    }
    if client.is_subscriber()
        && reply.protocol() == Protocol::Resp2
        && !SUBSCRIBERS_COMMANDS.contains(&entry.command.name)
    {
        let text = format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            entry.full_name
        );
        refuse(worker, client, reply, Some(entry), text.as_bytes());
        return Outcome::Done(Lsn::ZERO);
    }
    if client.listens && client.card.monitors.load(Ordering::Relaxed) && touches_keyspace(entry.command) {
        refuse(worker, client, reply, Some(entry), b"ERR Replica can't interact with the keyspace");
        return Outcome::Done(Lsn::ZERO);
    }
    let writes_queued = || client.transaction.queue.as_ref().is_some_and(|queue| queue.writes());
    let writes = in_transaction && entry.command.name == "exec" && writes_queued();
    if worker.server.pause.stops(entry.command, writes, worker.now_ms) {
        return Outcome::Postponed;
    }
    if in_transaction && !IMMEDIATE.contains(&entry.command.name) {
        queue(worker, client, reply, entry, args);
        return Outcome::Done(Lsn::ZERO);
    }
    if entry.command.flags & flags::NO_AUTH != 0 {
        match turn_to_authenticate(worker, client, args) {
            Turn::Now => {}
            Turn::Later(wait) => return Outcome::Waits(wait),
            Turn::Never => {
                let text = b"ERR too many passwords from this address wait to be checked";
                refuse(worker, client, reply, Some(entry), text);
                return Outcome::Done(Lsn::ZERO);
            }
        }
    }
    let elsewhere_ns = brought.as_ref().map_or(0, |errand| errand.spent_ns());
    let stopwatch = Stopwatch::start(worker, entry);
    // One that waited and tries again was counted, and shown, when it began.
    let again = client.place.is_some();
    let mut waits = None;
    let (result, lsn) = match entry.command.run {
        Run::Data(_) | Run::Blocking(_) => {
            match run_data(worker, client, reply, entry.command, access, args, brought) {
                Ran::Done(result, lsn) => (result, lsn),
                Ran::Waits(wait) => {
                    waits = Some(wait);
                    (Ok(()), Lsn::ZERO)
                }
                Ran::Cold(fetch, learned) => return Outcome::Away(Box::new(Errand::Values(fetch, learned))),
                Ran::Busy => return Outcome::Busy,
                Ran::Reaps => return Outcome::Away(Box::new(Errand::Reap(worker.server.db.clone()))),
                Ran::Long => {
                    let large = match access {
                        Access::Read => match LargeReply::begin(&worker.server) {
                            Some(large) => Some(large),
                            None => return Outcome::Busy,
                        },
                        _ => None,
                    };
                    let long = Long::new(&worker.server, client, entry.command, args, reply, large);
                    return Outcome::Away(Box::new(Errand::Long(Box::new(long))));
                }
            }
        }
        Run::Keyspace(run) | Run::Walk(run) => {
            let server = &worker.server;
            let mut keyspace = &server.db;
            let mut call = KeyspaceCall {
                args,
                keyspace: &mut keyspace,
                db: &server.db,
                database: client.database,
                now_ms: worker.now_ms,
                reply,
                random: &mut worker.random,
                settings: &worker.live.settings,
                lsn: Lsn::ZERO,
            };
            let walks = matches!(entry.command.run, Run::Walk(_));
            let done = match brought.take().map(|errand| *errand) {
                Some(Errand::Walk(walk)) => Some(walk),
                _ => None,
            };
            let mut large = None;
            let mut elsewhere = walks && server.db.has_cold();
            if done.is_none() && walks && super::scan::may_be_long(args) {
                // Before the keys are counted, which takes every lock, as it may have to be asked again and again.
                large = LargeReply::begin(server);
                if large.is_none() {
                    return Outcome::Busy;
                }
                elsewhere |= super::scan::is_long(&mut call);
            }
            if let Some(walk) = done {
                walk.finish(reply)
            } else if elsewhere {
                return Outcome::Away(Box::new(Errand::Walk(Walk::new(run, &mut call, &worker.live, large))));
            } else {
                let (result, lsn) = (run(&mut call), call.lsn);
                (result.and_then(|()| after_keyspace(worker, client, entry.command, args)), lsn)
            }
        }
        Run::Server(run) => {
            let mut call =
                ServerCall { brought: brought.take(), ..ServerCall::new(args, client, worker, reply) };
            let result = run(&mut call);
            let (wanted, wait, lsn, busy) = (call.wanted, call.wait, call.lsn, call.busy);
            if let Some(errand) = wanted {
                reply.truncate(start);
                return Outcome::Away(errand);
            }
            if busy {
                reply.truncate(start);
                return Outcome::Busy;
            }
            waits = wait;
            (result, lsn)
        }
        Run::Container => (Ok(()), Lsn::ZERO), // refused above
    };
    worker.figures.processed.add(u64::from(!again));
    let failed = result.is_err();
    if let Err(error) = result {
        reply.truncate(start);
        write_error(worker, reply, &error.text());
    }
    if let Some(figures) = worker.figures.commands.get(usize::from(entry.number)) {
        figures.calls.add(u64::from(!again));
        figures.failed.add(u64::from(failed));
    }
    if waits.is_none() {
        stopwatch.stop(worker, client, entry, args, elsewhere_ns);
    }
    client.place = None;
    client.missed = session::Missed::default();
    client.last_lsn = client.last_lsn.max(lsn);
    if waits.is_none() && client.card.inbox.is_filled() {
        tell_first(client, reply, start);
    }
    // What is posted from here on comes after the reply.
    if !worker.server.monitors.is_empty() && !again {
        worker.server.monitors.show(
            entry.command,
            args,
            Source::Client(client),
            worker.server.db.now_us(),
            &mut worker.signals,
            worker.live.pushed_bytes_max(),
        );
    }
    match waits {
        Some(wait) => {
            reply.truncate(start);
            Outcome::Waits(wait)
        }
        None => Outcome::Done(lsn),
    }
}

/// Puts what a client was told before the reply that begins at `start`: who listens to a channel that it publishes to hears of the message
/// before the reply.
fn tell_first(client: &mut Client, reply: &mut Reply, start: usize) {
    let mut last = Lsn::ZERO;
    let written = reply.bytes_mut().split_off(start);
    for posted in client.card.inbox.take_ahead() {
        posted.push.write(reply);
        last = last.max(posted.lsn);
    }
    let told = reply.bytes().len() - start;
    client.told_bytes += told;
    client.told_first = (told, last);
    reply.bytes_mut().extend_from_slice(&written);
}

/// Has a client wait that tries a password, and comes from where wrong ones came from; not one that has waited. See [`acl::Throttle`](crate::acl::Throttle).
fn turn_to_authenticate(worker: &Worker, client: &mut Client, args: &[&[u8]]) -> Turn {
    if client.place.take().is_some() || client.card.origin.local {
        return Turn::Now;
    }
    // As an option of `HELLO`, or the command itself. A name that reads so costs its owner the same delay.
    if !args.iter().any(|arg| arg.eq_ignore_ascii_case(b"auth")) {
        return Turn::Now;
    }
    let server = &worker.server;
    match server.acl.throttle.take_turn(&client.card.origin.address, worker.now_ms) {
        None => Turn::Never,
        Some(0) => Turn::Now,
        Some(wait_ms) => {
            let deadline_ms = Some(worker.now_ms.saturating_add(wait_ms));
            Turn::Later(server.blocked.wait(&client.card, Awaited::Turn, deadline_ms, None))
        }
    }
}

/// When a client may try a password.
enum Turn {
    Now,
    Later(Wait),
    Never,
}

/// What became of a data command.
enum Ran {
    /// It ran; what must be acknowledged before its reply is sent.
    Done(CommandResult, Lsn),
    /// There is nothing for it yet.
    Waits(Wait),
    /// It needs these values, some perhaps of keys beyond its arguments.
    Cold(Fetch, Learned),
    /// It would take long: it is to be run elsewhere.
    Long,
    /// It counts sessions, of which some are to end first.
    Reaps,
    /// It may have much to reply, and clients have too much to take already.
    Busy,
}

/// Runs a command on data, as often as it takes until it has all the keys that it needs.
fn run_data(
    worker: &mut Worker,
    client: &mut Client,
    reply: &mut Reply,
    command: &'static Command,
    access: Access,
    args: &[&[u8]],
    brought: &mut Option<Box<Errand>>,
) -> Ran {
    let reaped = matches!(brought.as_deref(), Some(Errand::Reap(_)));
    let changes_copied = access != Access::Read && worker.server.db.has_overlays();
    let mut may_leave = !client.may_not_wait && (changes_copied || cost::may_be_long(command, args));
    let (mut fetched, mut learned) = match brought.take().map(|errand| *errand) {
        Some(Errand::Values(fetch, learned)) => (Some(fetch), learned),
        Some(Errand::Long(long)) => match long.finish(reply) {
            Some((result, lsn)) => return Ran::Done(result, lsn),
            None => {
                // Others kept changing what it is about.
                may_leave = false;
                (None, Learned::new(may_learn(client, command, args)))
            }
        },
        _ => (None, Learned::new(may_learn(client, command, args))),
    };
    if let KeySpec::Sessions(find) = command.keys {
        if !reaped && session::counts_all(command, args) && !worker.server.db.sessions_are_reaped() {
            return Ran::Reaps;
        }
        worker.tokens.begin();
        if let Err(error) = session::find(&worker.server.db, &mut worker.tokens, find, args, &mut learned) {
            return Ran::Done(Err(CommandError::of(refusal(&error))), Lsn::ZERO);
        }
    }
    let start = reply.bytes().len();
    for _ in 0..BEGINNINGS_MAX {
        if let KeySpec::Sessions(_) = command.keys {
            worker.tokens.rewind();
            client.missed.rewind();
        }
        let known = Known { fetched: fetched.take(), learned: &learned, may_leave };
        match run_over(worker, client, reply, command, access, args, known) {
            Ran::Done(Err(CommandError::NeedsKeys(more)), _) => {
                reply.truncate(start);
                learned = *more;
            }
            Ran::Cold(fetch, _) => return Ran::Cold(fetch, learned),
            done => return done,
        }
    }
    Ran::Done(Err(CommandError::NeedsKeys(Box::new(learned))), Lsn::ZERO)
}

/// Whether a client may have a command read keys that are not among its arguments.
pub(crate) fn may_learn(client: &Client, command: &Command, args: &[&[u8]]) -> bool {
    command.flags & flags::OTHER_KEYS == 0
        || client.user.is_unrestricted()
        || table()
            .find(command.name.as_bytes())
            .is_some_and(|entry| client.user.rights().reads_any_key(entry, args))
}

/// What is known of a command on data before it begins.
struct Known<'a> {
    /// What was brought for it.
    fetched: Option<Fetch>,
    /// Keys beyond its arguments.
    learned: &'a Learned,
    /// Whether it may be run elsewhere.
    may_leave: bool,
}

/// Whether a command is better run elsewhere: it takes long, or it changes something large that such a one is looking at, which then is copied.
fn is_long(command: &Command, args: &[&[u8]], txn: &Txn<'_>, keys: &[Key<'_>]) -> bool {
    if keys.len() > cost::KEYS_MAX {
        return false;
    }
    let extents: SmallVec<[Extent; 4]> = keys.iter().map(|key| txn.extent(key)).collect();
    let copies = || extents.iter().any(|extent| extent.is_shared && extent.elements > SHARED_ELEMENTS_COPIED);
    cost::is_long(command, args, &extents) || (txn.may_write() && copies())
}

/// Runs a command on data in a transaction over the keys that its arguments name, and those that it has learned of.
fn run_over(
    worker: &mut Worker,
    client: &mut Client,
    reply: &mut Reply,
    command: &'static Command,
    access: Access,
    args: &[&[u8]],
    Known { mut fetched, learned, may_leave }: Known<'_>,
) -> Ran {
    let mut parts = Parts::of(worker);
    let (server, now_ms) = (parts.server, parts.now_ms);
    let db = &server.db;
    let (mut must_be_durable, mut missed) = (Durable::default(), client.missed);
    let card = matches!(command.keys, KeySpec::Sessions(_)).then(|| Arc::clone(&client.card));
    let may_wait = !client.may_not_wait;
    let place_deadline_ms = client.place.and_then(|place| place.deadline_ms);
    let company: Vec<(u8, Box<[u8]>)>;
    let mut keys: SmallVec<[Key<'_>; 4]> = SmallVec::new();
    hash_keys(db, command, args, client.database, &mut keys);
    let named = keys.len();
    if !learned.is_empty() {
        keys.extend(learned.keys(db));
    }
    let own = keys.len();
    if access != Access::Read && server.blocked.may_await(&keys) {
        // With them, those who wait can be served in the same transaction.
        company = server.blocked.company(&keys);
        keys.extend(company.iter().map(|(database, key)| db.key(*database, key)));
    }
    let mut cache_reads = 0;
    let mut deleted = None;
    let mut txn = loop {
        if keys.is_empty() {
            for_each_key(command.keys, args, client.database, &mut |database, index| {
                if let Some(bytes) = args.get(index) {
                    keys.push(db.key(database, bytes));
                }
            });
        }
        match db.try_begin(&keys, access, now_ms, fetched.take()) {
            Ok(Begun::Ready(txn)) => break txn,
            Ok(Begun::Cold(mut fetch)) => {
                cache_reads += 1;
                if cache_reads > CACHE_READS_MAX || !fetch.try_now() {
                    return Ran::Cold(fetch, Learned::new(true));
                }
                fetched = Some(fetch);
            }
            Err(sessile::Error::DatabasesSwapped) => {
                keys.clear();
                hash_keys(db, command, args, client.database, &mut keys);
                keys.extend(learned.keys(db));
            }
            // What others wait for besides is no business of this command.
            Err(_) if keys.len() > own => keys.truncate(own),
            // Once: each key is damaged no more then.
            Err(sessile::Error::DamagedValue { .. }) if deleted.is_none() && replaces_keys(command, args) => {
                match delete_damaged(db, &keys) {
                    Ok(done) => deleted = Some(done),
                    Err(error) => return Ran::Done(Err(CommandError::of(refusal(&error))), Lsn::ZERO),
                }
            }
            Err(error) => return Ran::Done(Err(CommandError::of(refusal(&error))), Lsn::ZERO),
        }
    };
    if access == Access::Read && server.outputs.is_over() && !client.may_not_wait {
        let replies_much =
            |extent: &Extent| extent.elements > ELEMENTS_WHEN_OVER || extent.bytes > BYTES_WHEN_OVER;
        if keys[..named].iter().any(|key| replies_much(&txn.extent(key))) {
            return Ran::Busy;
        }
    }
    if may_leave && is_long(command, args, &txn, &keys[..named]) {
        return Ran::Long;
    }
    let (damaged, deleted) = deleted.unwrap_or((0, Lsn::ZERO));
    // Asked while the shards are locked; see `blocked` and `tracking`.
    let mut effects = Effects::begin(&parts, &mut txn, &keys, access != Access::Read);
    let mut call = Call {
        args,
        keys: &keys[..named],
        txn: &mut txn,
        reply,
        random: parts.random,
        settings: &parts.live.settings,
        lookups: Lookups::default(),
        events: Events::default(),
        learned,
        damaged,
        sessions: card.as_ref().map(|card| session::Access {
            server,
            tokens: parts.tokens,
            client: card,
            must_be_durable: &mut must_be_durable,
            missed: &mut missed,
            awaits: None,
            may_wait,
            place_deadline_ms,
        }),
    };
    let result = match command.run {
        Run::Blocking(blocking) if !client.may_not_wait => match (blocking.attempt)(&mut call) {
            Ok(Served::Yes) => Ok(()),
            // Under the locks; see `blocked`.
            Ok(Served::NotYet) => {
                if let Some((awaited, deadline_ms)) =
                    call.sessions.as_mut().and_then(|access| access.awaits.take())
                {
                    let place = client.place.take();
                    return Ran::Waits(wait_for_session(server, &client.card, awaited, deadline_ms, place));
                }
                let settled = blocking.settle.map(|settle| settle(&call));
                let settled: Option<SmallVec<[&[u8]; 8]>> =
                    settled.as_ref().map(|args| args.iter().map(|arg| &**arg).collect());
                let args = settled.as_deref().unwrap_or(args);
                let protocol = call.reply.protocol();
                match wait_for_element(&server.blocked, now_ms, client, command, blocking, args, protocol) {
                    Ok(wait) => return Ran::Waits(wait),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        },
        _ => run_at_once(command, &mut call),
    };
    if matches!(result, Err(CommandError::NeedsKeys(_))) {
        client.missed = missed;
        return Ran::Done(result, txn.commit());
    }
    effects.take(&mut call);
    client.missed = missed;
    client.must_be_durable.add(must_be_durable);
    note_read(&mut parts, client, command, &keys[..named]);
    // Also when it failed: what it changed before that is in memory and must be in the log.
    Ran::Done(result, effects.conclude(parts, client, txn, &keys).max(deleted))
}

/// Adds the keys that a command's arguments name.
#[inline]
fn hash_keys<'a>(
    db: &sessile::Db,
    command: &Command,
    args: &[&'a [u8]],
    database: u8,
    keys: &mut SmallVec<[Key<'a>; 4]>,
) {
    for_each_key(command.keys, args, database, &mut |database, index| {
        if let Some(bytes) = args.get(index) {
            keys.push(db.key(database, bytes));
        }
    });
}

/// Has a client wait whose command has found nothing.
fn wait_for_element(
    blocked: &Arc<Blocked>,
    now_ms: u64,
    client: &mut Client,
    command: &'static Command,
    blocking: Blocking,
    args: &[&[u8]],
    protocol: Protocol,
) -> Result<Wait, CommandError> {
    let timeout = (blocking.timeout)(args)?;
    let place = client.place.take();
    let deadline_ms = place.map_or_else(|| timeout.deadline_ms(now_ms), |place| place.deadline_ms);
    let request = Request::new(command, blocking, args, client.database, protocol);
    Ok(blocked.wait(&client.card, Awaited::Element(request), deadline_ms, place))
}

/// Has a client wait for something of sessions. It is registered while their keys are locked, or looks again at what ends without these locks.
fn wait_for_session(
    server: &Server,
    client: &Arc<ClientCard>,
    awaited: Awaited,
    deadline_ms: Option<u64>,
    place: Option<Place>,
) -> Wait {
    let session = match awaited {
        Awaited::Lease { session, .. } => Some(session),
        _ => None,
    };
    let wait = server.blocked.wait(client, awaited, deadline_ms, place);
    // The lease may have ended between the question and the registration.
    if session.is_some_and(|session| server.leases.is_called(session, client.id)) {
        server.wake_waiters([Arc::clone(client)]);
    }
    wait
}

/// Whether a command does away with what its keys held, whatever that was: then it need not be readable.
fn replaces_keys(command: &Command, args: &[&[u8]]) -> bool {
    let looks: [&[u8]; 5] = [b"get", b"nx", b"xx", b"keepttl", b"ifeq"];
    match command.name {
        "del" | "unlink" | "setex" | "psetex" | "mset" => true,
        "set" => !args.iter().skip(3).any(|arg| looks.iter().any(|look| arg.eq_ignore_ascii_case(look))),
        _ => false,
    }
}

/// Deletes those keys whose values are damaged; how many, and up to where that must be acknowledged.
fn delete_damaged(db: &sessile::Db, keys: &[Key<'_>]) -> Result<(usize, Lsn), sessile::Error> {
    let (mut count, mut last) = (0, Lsn::ZERO);
    for key in keys {
        if let Some(lsn) = db.delete_damaged(key)? {
            (count, last) = (count + 1, last.max(lsn));
        }
    }
    Ok((count, last))
}

/// The command or subcommand that these arguments name.
#[cfg(feature = "scripting")]
pub(crate) fn resolve(args: &[&[u8]]) -> Option<&'static Entry> {
    let entry = table().find(args.first()?)?;
    match args.get(1) {
        Some(name) if !entry.subcommands.is_empty() => {
            entry.subcommand(name).or_else(|| (!entry.is_container()).then_some(entry))
        }
        _ => Some(entry),
    }
}

/// Calls `each` with the database and the argument's index of every key of a command.
pub fn for_each_key(keys: KeySpec, args: &[&[u8]], database: u8, each: &mut dyn FnMut(u8, usize)) {
    match keys {
        KeySpec::None | KeySpec::Channels { .. } | KeySpec::Sessions(_) => {}
        KeySpec::Range { first, last, step } => {
            let count = args.len() as i64;
            let last = if last < 0 { count + i64::from(last) } else { i64::from(last) }.min(count - 1);
            let mut index = i64::from(first);
            while index <= last {
                each(database, index as usize);
                index += i64::from(step.max(1));
            }
        }
        KeySpec::Across { find, .. } => find(args, database, each),
    }
}

/// Whether a command reads or writes keys, or may do so, or tells others something: what Redis refuses to replicas, which are what it takes
/// the clients for that are shown every command.
fn touches_keyspace(command: &Command) -> bool {
    command.flags & (flags::WRITE | flags::READONLY) != 0
        || matches!(
            command.name,
            "publish" | "spublish" | "eval" | "evalsha" | "eval_ro" | "evalsha_ro" | "fcall" | "fcall_ro"
        )
}

/// What a command does to the data.
pub(crate) fn access_of(command: &Command) -> Access {
    if command.flags & (flags::WRITE | flags::MAY_WRITE) == 0 {
        Access::Read
    } else if command.flags & flags::DENYOOM == 0 {
        Access::Delete
    } else {
        Access::Write
    }
}

/// The error reply for what the engine refuses or fails at.
pub fn refusal(error: &sessile::Error) -> String {
    match error {
        sessile::Error::DiskFull(_) => format!(
            "MISCONF {error}. Reads go on, and so does what only deletes; writes go on when there is space"
        ),
        sessile::Error::LogFailed(cause) if !cause.is_poisoned() => {
            format!("IOERR {error}. Reads go on; writes go on when that works again")
        }
        sessile::Error::LogFailed(_) => {
            format!("IOERR {error}. Reads go on; restart the server once the disk is well")
        }
        sessile::Error::MemoryLimit { .. } => {
            "OOM command not allowed when used memory > 'maxmemory'.".to_owned()
        }
        sessile::Error::DiskLimit { .. } => "OOM command not allowed when used disk > 'maxdisk'.".to_owned(),
        _ => format!("ERR {error}"),
    }
}

/// Queues a command of a transaction; or ends a client whose queue would be larger than anything that it may send.
fn queue(worker: &Worker, client: &mut Client, reply: &mut Reply, entry: &'static Entry, args: &[&[u8]]) {
    if client.transaction.bytes() + Queue::cost(args) > worker.live.query_bytes_max {
        client.overrun(worker);
    } else if let Some(queue) = &mut client.transaction.queue {
        queue.push(entry, args);
        reply.simple("QUEUED");
    }
}

/// Answers an error for a command that is not run. A transaction that it was to be part of will not be run either.
fn refuse(
    worker: &Worker,
    client: &mut Client,
    reply: &mut Reply,
    entry: Option<&'static Entry>,
    text: &[u8],
) {
    if let Some(figures) = entry.and_then(|entry| worker.figures.commands.get(usize::from(entry.number))) {
        figures.rejected.add(1);
    }
    client.transaction.fail();
    if entry.is_some_and(|entry| entry.command.name == "exec") {
        client.transaction.discard();
        write_error(worker, reply, &aborted(text.strip_prefix(b"ERR ").unwrap_or(text)));
        return;
    }
    write_error(worker, reply, text);
}

pub(super) fn write_error(worker: &Worker, reply: &mut Reply, text: &[u8]) {
    worker.figures.errors.add(1);
    worker.server.count_error(text);
    reply.error(text);
}

fn unknown_command(name: &[u8], args: &[&[u8]]) -> Vec<u8> {
    let mut text = b"ERR unknown command '".to_vec();
    let shown = if crate::redaction::may_be_token(name) { crate::redaction::REDACTED } else { name };
    text.extend_from_slice(cut(shown, PREVIEW_BYTES_MAX));
    text.extend_from_slice(b"', with args beginning with: ");
    let begin = text.len();
    // Nearly one of those whose arguments are secrets.
    let is_of_sessions = name.get(..7).is_some_and(|family| family.eq_ignore_ascii_case(b"session"));
    for arg in &args[1..] {
        let Some(room) = PREVIEW_BYTES_MAX.checked_sub(text.len() - begin).filter(|room| *room > 0) else {
            break;
        };
        text.push(b'\'');
        let is_secret = is_of_sessions || crate::redaction::may_be_token(arg);
        let arg = if is_secret { crate::redaction::REDACTED } else { arg };
        text.extend_from_slice(cut(arg, room));
        text.extend_from_slice(b"' ");
    }
    text
}

/// The error text for a subcommand that a container doesn't have.
pub(super) fn unknown_subcommand(parent: &Command, name: &[u8]) -> Vec<u8> {
    let mut text = b"ERR unknown subcommand '".to_vec();
    let name = if crate::redaction::may_be_token(name) { crate::redaction::REDACTED } else { name };
    text.extend_from_slice(cut(name, PREVIEW_BYTES_MAX));
    text.extend_from_slice(format!("'. Try {} HELP.", parent.name.to_ascii_uppercase()).as_bytes());
    text
}

/// The error text for arguments that a subcommand does not take, where Redis does not tell that from a subcommand it doesn't know.
pub(super) fn unknown_subcommand_or_arguments(args: &[&[u8]]) -> String {
    let word =
        |index: usize| String::from_utf8_lossy(args.get(index).copied().unwrap_or_default()).into_owned();
    format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        word(1),
        word(0).to_ascii_uppercase()
    )
}

/// At most `room` bytes, and none from a zero byte on, as C prints strings.
fn cut(text: &[u8], room: usize) -> &[u8] {
    let end = memchr::memchr(0, text).unwrap_or(text.len()).min(room);
    &text[..end]
}
