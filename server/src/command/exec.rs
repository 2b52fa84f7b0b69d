//! `EXEC`: the queued commands as one transaction.
//!
//! It is one transaction of the engine over the keys of all of them, which are known from their rows, and so one record in the log: after a crash
//! all of it is there, or none. Values that are on disk are brought before it begins, as for a single command. A watched key's change since
//! `WATCH`, its death included, is noticed under the locks. Where commands may come to need what nobody has named (scripts, `SORT … BY`, a walk
//! over keys on disk) the transaction is revocable, and begun again with that.
//!
//! What else may be queued: commands over the keyspace as a whole (`DBSIZE`, `SCAN`, `FLUSHALL`, `SWAPDB`) have every shard locked; commands of
//! the connection run where they stand; all other commands that are not on keys run right after the transaction, as they may look at the
//! engine, and their replies are put where they belong. What must never happen is that one of them uses the database while the locks are held.

use super::dispatch::{CACHE_READS_MAX, ServerCall, for_each_key, may_learn, refusal, write_error};
use super::flags::{DENYOOM, MAY_WRITE, OTHER_KEYS, PUBSUB, WRITE};
use super::reach::Learned;
use super::run::{Effects, Parts, after_keyspace, note_read, run_at_once};
use super::table::Entry;
use super::timing::Stopwatch;
use super::transaction::aborted;
use super::{
    Call, Command, CommandError, CommandResult, KeySpec, KeyspaceCall, Lookups, Random, Run, args,
    permission, scan, session,
};
use crate::acl::Context;
use crate::client::ReplyMode;
use crate::errand::Errand;
use crate::monitor::Source;
use crate::notify::Events;
use crate::pubsub::Kind;
use crate::resp::{Protocol, Reply};
#[cfg(feature = "scripting")]
use crate::scripting::block::{Block, Wanted};
use crate::transaction::{Queue, Transaction};
use sessile::{Access, Begun, DATABASES, Db, Error, Fetch, Key, Lsn, Txn};
use std::sync::Arc;

/// What a record costs beyond the arguments of each command, for admission.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Runs what was queued.
///
/// # Errors
/// Why it is not run.
pub(super) fn exec(call: &mut ServerCall<'_>) -> CommandResult {
    // Out of the client's hands: an `UNWATCH` among the commands must not give watches up under the locks.
    let mut transaction = std::mem::take(&mut call.client.transaction);
    let Some(queue) = transaction.queue.take() else {
        call.client.transaction = transaction;
        return Err("ERR EXEC without MULTI".into());
    };
    if queue.failed {
        return Err("EXECABORT Transaction discarded because of previous errors.".into());
    }
    let may_not_wait = std::mem::replace(&mut call.client.may_not_wait, true);
    let result = run_queue(call, &queue, &transaction);
    call.client.may_not_wait = may_not_wait;
    match result {
        Ok(()) => Ok(()),
        Err(Unfinished::Failed(error)) => Err(error),
        Err(Unfinished::Later) => {
            transaction.queue = Some(queue);
            call.client.transaction = transaction;
            Ok(())
        }
    }
}

/// Why the queue was not run.
enum Unfinished {
    /// It will be when what it wants is there, or the log has room.
    Later,
    /// It can't be.
    Failed(CommandError),
}

/// Where a queued command runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the transaction, on its keys.
    Keys,
    /// In the transaction, which is over all keys.
    Whole,
    /// Between the others, without the engine.
    Between,
    /// In the transaction, on its keys and on those that it comes to.
    Script,
    /// After the transaction.
    After,
}

/// Whether a command that is not on keys leaves the engine alone, so that it can be run while a transaction is open.
pub fn leaves_engine_alone(command: &Command) -> bool {
    place_of(command) == Place::Between
}

fn place_of(command: &Command) -> Place {
    match command.run {
        Run::Data(_) | Run::Blocking(_) => Place::Keys,
        Run::Keyspace(_) | Run::Walk(_) => match command.name {
            "dbsize" | "flushall" | "flushdb" | "keys" | "randomkey" | "scan" | "swapdb" => Place::Whole,
            _ => Place::After,
        },
        // They change what the commands behind them do or how they are answered, and leave the engine alone.
        Run::Server(_) if command.group == "connection" && command.name != "tracking" => Place::Between,
        Run::Server(_) => match command.name {
            "eval" | "evalsha" | "eval_ro" | "evalsha_ro" | "fcall" | "fcall_ro" => Place::Script,
            "time" | "unwatch" => Place::Between,
            _ => Place::After,
        },
        Run::Container => Place::After,
    }
}

/// The queued commands, and what is known of them before they run.
struct Plan<'q> {
    commands: Vec<(&'static Entry, Vec<&'q [u8]>)>,
    access: Access,
    /// Every shard is locked.
    whole: bool,
    /// Keys may have to be read from disk that nobody has named.
    walks: bool,
    /// There are scripts among them.
    scripts: bool,
    /// Commands may come to need keys that nobody has named.
    reaches: bool,
    /// Databases are emptied or swapped, which can't be taken back.
    clears: bool,
    /// Keys mean something else behind a swap than before it.
    swaps: bool,
    /// What the client listens to changes on the way.
    listens: bool,
}

impl<'q> Plan<'q> {
    fn of(queue: &'q Queue) -> Plan<'q> {
        let commands: Vec<_> = queue.iter().collect();
        let any = |is: &dyn Fn(&Command) -> bool| commands.iter().any(|(entry, _)| is(entry.command));
        let scripts = any(&|command| place_of(command) == Place::Script);
        let access = match (queue.has(DENYOOM) || scripts, queue.has(WRITE | MAY_WRITE)) {
            (true, _) => Access::Write,
            (false, true) => Access::Delete,
            (false, false) => Access::Read,
        };
        Plan {
            access,
            whole: any(&|command| place_of(command) == Place::Whole),
            walks: any(&|command| matches!(command.run, Run::Walk(_))),
            scripts,
            reaches: scripts
                || queue.has(OTHER_KEYS)
                || any(&|command| matches!(command.keys, KeySpec::Sessions(_))),
            clears: any(&|command| matches!(command.name, "flushall" | "flushdb" | "swapdb")),
            swaps: any(&|command| command.name == "swapdb"),
            listens: any(&|command| command.flags & PUBSUB != 0 && command.name.ends_with("subscribe")),
            commands,
        }
    }

    /// The keys of all commands, and where those of each command end.
    fn keys(&self, db: &Db, mut database: u8) -> (Vec<Key<'q>>, Vec<usize>) {
        let (mut keys, mut ends) = (Vec::new(), Vec::new());
        // Which database each number means by then.
        let mut meant: [u8; DATABASES as usize] = std::array::from_fn(|number| number as u8);
        for (entry, args) in &self.commands {
            match place_of(entry.command) {
                Place::Keys | Place::Script => {
                    for_each_key(entry.command.keys, args, database, &mut |database, index| {
                        if let (Some(bytes), Some(&own)) = (args.get(index), meant.get(usize::from(database)))
                        {
                            keys.push(db.key(own, bytes));
                        }
                    });
                }
                _ if entry.command.name == "select" => {
                    database = args.get(1).and_then(|arg| args::database(arg).ok()).unwrap_or(database);
                }
                _ if entry.command.name == "swapdb" => {
                    if let Ok((one, other)) = scan::swapped(args) {
                        meant.swap(usize::from(one), usize::from(other));
                    }
                }
                _ => {}
            }
            ends.push(keys.len());
        }
        (keys, ends)
    }
}

/// What must be put back if the commands have to be run again.
struct Before {
    reply_bytes: usize,
    protocol: Protocol,
    database: u8,
    random: Random,
}

fn run_queue(call: &mut ServerCall<'_>, queue: &Queue, transaction: &Transaction) -> Result<(), Unfinished> {
    let mut plan = Plan::of(queue);
    let server = Arc::clone(&call.worker.server);
    let db = &server.db;
    if plan.access != Access::Read {
        let bytes = queue.argument_bytes() + queue.len() * RECORD_OVERHEAD_BYTES;
        match db.admit_now(bytes, plan.access) {
            Ok(true) => call.worker.wrote = true,
            // They answer all the same.
            Ok(false) | Err(_) if !queue.writes() && !plan.scripts => plan.access = Access::Read,
            Ok(false) => {
                call.busy = true;
                return Err(Unfinished::Later);
            }
            Err(error) => {
                let text = aborted(refusal(&error).as_bytes());
                return Err(Unfinished::Failed(CommandError::Bytes(text)));
            }
        }
    }
    let brought = call.take_brought();
    if !matches!(brought, Some(Errand::Reap(_)))
        && plan.commands.iter().any(|(entry, args)| session::counts_all(entry.command, args))
        && !db.sessions_are_reaped()
    {
        call.want(Errand::Reap(db.clone()));
        return Err(Unfinished::Later);
    }
    // Keys beyond their arguments that commands have learned of.
    let (mut fetched, mut learned) = match brought {
        Some(Errand::Values(fetch, learned)) => (Some(fetch), learned),
        _ => (None, Learned::new(true)),
    };
    call.worker.tokens.begin();
    for (entry, args) in &plan.commands {
        if let KeySpec::Sessions(find) = entry.command.keys
            && let Err(error) = session::find(db, &mut call.worker.tokens, find, args, &mut learned)
        {
            return Err(Unfinished::Failed(CommandError::of(refusal(&error))));
        }
    }
    let before = Before {
        reply_bytes: call.reply.bytes().len(),
        protocol: call.reply.protocol(),
        database: call.client.database,
        random: call.worker.random.clone(),
    };
    let mut reads = 0;
    // What has to be read first: now if it is in the page cache, else elsewhere.
    let mut bring = |call: &mut ServerCall<'_>, mut fetch: Fetch, learned: &Learned| {
        reads += 1;
        if reads > CACHE_READS_MAX || !fetch.try_now() {
            call.want(Errand::Values(fetch, learned.clone()));
            return Err(Unfinished::Later);
        }
        Ok(Some(fetch))
    };
    loop {
        call.worker.tokens.rewind();
        call.client.missed.rewind();
        let (mut keys, ends) = plan.keys(db, before.database);
        keys.extend(learned.keys(db));
        let now_ms = call.worker.now_ms;
        let begun = if plan.whole {
            db.try_begin_all(&keys, plan.access, now_ms, fetched.take())
        } else {
            let watches = transaction.watches();
            db.try_begin_watching(&keys, watches, plan.access, now_ms, fetched.take())
        };
        let mut txn = match begun {
            Ok(Begun::Ready(txn)) => txn,
            Ok(Begun::Cold(fetch)) => {
                fetched = bring(call, fetch, &learned)?;
                continue;
            }
            Err(Error::DatabasesSwapped) => continue,
            Err(error) => return Err(Unfinished::Failed(CommandError::of(refusal(&error)))),
        };
        if !transaction.watches().all(|watch| txn.is_unchanged(watch)) {
            drop(txn);
            call.reply.null_array();
            return Ok(());
        }
        if plan.scripts && plan.clears {
            let text =
                aborted(b"ERR scripts don't go together with FLUSHALL, FLUSHDB or SWAPDB in MULTI here");
            return Err(Unfinished::Failed(CommandError::Bytes(text)));
        }
        if plan.reaches && !plan.clears {
            txn.make_revocable();
        }
        if plan.walks && db.has_cold() {
            if plan.clears {
                if let Some(fetch) = unread_keys(&mut txn) {
                    drop(txn);
                    fetched = bring(call, fetch, &learned)?;
                    continue;
                }
            } else {
                txn.make_revocable();
            }
        }
        let writes = plan.access != Access::Read;
        let mut effects = Effects::begin(&Parts::of(call.worker), &mut txn, &keys, writes);
        if plan.scripts {
            effects.concern_all(&Parts::of(call.worker), &mut txn);
        }
        let given = Given { plan: &plan, db, learned: &learned, keys: &keys, ends: &ends };
        let ran = run_all(call, &given, &mut txn, &mut effects);
        let deferred = match ran {
            Ok(deferred) => deferred,
            Err(wants) => {
                let wanted = txn.take_wanted();
                txn.roll_back();
                call.reply.truncate(before.reply_bytes);
                call.reply.set_protocol(before.protocol);
                call.client.database = before.database;
                call.worker.random = before.random.clone();
                let wanted = match wants {
                    Wants::Keys(more) => {
                        learned = *more;
                        wanted
                    }
                    #[cfg(feature = "scripting")]
                    Wants::MoreKeys(keys, fetch) => {
                        learned.add(keys);
                        fetch.map(|fetch| *fetch)
                    }
                    Wants::Values => wanted,
                    #[cfg(feature = "scripting")]
                    Wants::Other(error) => return Err(Unfinished::Failed(error)),
                };
                if let Some(fetch) = wanted {
                    fetched = bring(call, fetch, &learned)?;
                }
                continue;
            }
        };
        #[cfg(feature = "scripting")]
        let told = effects.told.take();
        call.lsn = effects.conclude(Parts::of(call.worker), call.client, txn, &keys);
        #[cfg(feature = "scripting")]
        if let Some(told) = told {
            told.tell(call.worker);
        }
        finish(call, &plan, &deferred, before.reply_bytes);
        return Ok(());
    }
}

/// Asks for all keys that are on disk, of all databases; `None` if none is, or all were read.
fn unread_keys(txn: &mut Txn<'_>) -> Option<Fetch> {
    (0..DATABASES).find_map(|database| match txn.scan(database, 0, usize::MAX, &mut |_, _| {}) {
        Err(Error::KeysOnDisk) => txn.take_wanted(),
        _ => None,
    })
}

/// What a run of the commands needs first; then nothing of it counts.
enum Wants {
    /// These keys, too.
    Keys(Box<Learned>),
    /// These keys too, and what is to be read of them.
    #[cfg(feature = "scripting")]
    MoreKeys(Vec<(u8, Vec<u8>)>, Option<Box<Fetch>>),
    /// What the transaction says.
    Values,
    /// It can't be run, for this reason.
    #[cfg(feature = "scripting")]
    Other(CommandError),
}

/// What the commands are run with.
struct Given<'a, 'q> {
    plan: &'a Plan<'q>,
    db: &'a Db,
    learned: &'a Learned,
    keys: &'a [Key<'a>],
    /// Where the keys of each command end.
    ends: &'a [usize],
}

/// Runs the commands in the open transaction, as far as they are run there; the others, with the places of their replies.
fn run_all(
    call: &mut ServerCall<'_>,
    given: &Given<'_, '_>,
    txn: &mut Txn<'_>,
    effects: &mut Effects,
) -> Result<Vec<Deferred>, Wants> {
    let plan = given.plan;
    let mut deferred = Vec::new();
    call.reply.array(plan.commands.len());
    let mut first = 0;
    for (index, ((entry, args), &end)) in plan.commands.iter().zip(given.ends).enumerate() {
        let own = given.keys.get(first..end).unwrap_or_default();
        first = end;
        let start = call.reply.bytes().len();
        let command = entry.command;
        let stopwatch = Stopwatch::start(call.worker, entry);
        let checked = permission::check(call.worker, call.client, entry, args, Context::Multi);
        let result = match place_of(command) {
            _ if checked.is_err() => checked.map_err(CommandError::of),
            Place::After if !plan.listens && matches!(command.name, "publish" | "spublish") => {
                publish_within(call, effects, args, command.name == "spublish")
            }
            Place::After => {
                deferred.push(Deferred { index, reply_at: start });
                continue;
            }
            Place::Between => {
                let mut inner = ServerCall::new(args, call.client, call.worker, call.reply);
                match command.run {
                    Run::Server(run) => run(&mut inner),
                    _ => unreachable!("only they have this place"),
                }
            }
            Place::Script => run_script(call, txn, effects, command, args)?,
            Place::Whole => run_whole(call, txn, given.db, command, args),
            Place::Keys if plan.swaps => {
                let own = hashed_now(txn, command, args, call.client.database);
                run_on_keys(call, given, txn, effects, (command, args, &own))
            }
            Place::Keys => run_on_keys(call, given, txn, effects, (command, args, own)),
        };
        match result {
            Err(CommandError::NeedsKeys(more)) if !plan.clears => return Err(Wants::Keys(more)),
            _ if txn.is_wanting() => return Err(Wants::Values),
            result => {
                answer(call, entry, start, result);
                stopwatch.stop(call.worker, call.client, entry, args, 0);
            }
        }
    }
    Ok(deferred)
}

#[cfg(feature = "scripting")]
fn run_script(
    call: &mut ServerCall<'_>,
    txn: &mut Txn<'_>,
    effects: &mut Effects,
    command: &Command,
    args: &[&[u8]],
) -> Result<CommandResult, Wants> {
    let Run::Server(run) = command.run else { unreachable!("only they have this place") };
    let mut wanted = None;
    let until = effects.scripts_until(call.worker.server.db.clock());
    let mut block = Block { txn, until, told: effects.told.get_or_insert_default(), wanted: &mut wanted };
    let mut inner = ServerCall::new(args, call.client, call.worker, call.reply);
    inner.block = Some(&mut block);
    let result = run(&mut inner);
    if let Some(told) = &mut effects.told {
        effects.events.append(told.take_events());
    }
    match wanted {
        None => Ok(result),
        Some(Wanted::Keys(keys, fetch)) => Err(Wants::MoreKeys(keys, fetch)),
        Some(Wanted::Never) => {
            let text = aborted(
                b"ERR a script in it takes long, or walks through the keyspace: run it outside of MULTI",
            );
            Err(Wants::Other(CommandError::Bytes(text)))
        }
    }
}

#[cfg(not(feature = "scripting"))]
fn run_script(
    _: &mut ServerCall<'_>,
    _: &mut Txn<'_>,
    _: &mut Effects,
    _: &Command,
    _: &[&[u8]],
) -> Result<CommandResult, Wants> {
    unreachable!("there are no scripts")
}

/// A command that runs after the transaction, and where its reply belongs.
struct Deferred {
    index: usize,
    reply_at: usize,
}

/// The keys of a command as they are hashed behind a swap of databases.
fn hashed_now<'k>(txn: &Txn<'_>, command: &Command, args: &[&'k [u8]], database: u8) -> Vec<Key<'k>> {
    let mut keys = Vec::new();
    for_each_key(command.keys, args, database, &mut |database, index| {
        if let Some(bytes) = args.get(index) {
            keys.push(txn.key(database, bytes));
        }
    });
    keys
}

fn run_on_keys(
    call: &mut ServerCall<'_>,
    given: &Given<'_, '_>,
    txn: &mut Txn<'_>,
    effects: &mut Effects,
    (command, args, keys): (&Command, &[&[u8]], &[Key<'_>]),
) -> CommandResult {
    let learned;
    // Those that sessions are kept under are nobody's to name, nor to be denied.
    let is_on_sessions = matches!(command.keys, KeySpec::Sessions(_));
    let learned = if is_on_sessions || may_learn(call.client, command, args) {
        given.learned
    } else {
        learned = Learned::new(false);
        &learned
    };
    let Parts { server, live, random, tokens, .. } = Parts::of(call.worker);
    let mut inner = Call {
        args,
        keys,
        txn,
        reply: call.reply,
        random,
        settings: &live.settings,
        lookups: Lookups::default(),
        events: Events::default(),
        learned,
        damaged: 0,
        sessions: Some(session::Access {
            server,
            tokens,
            client: &call.client.card,
            must_be_durable: &mut call.client.must_be_durable,
            missed: &mut call.client.missed,
            awaits: None,
            may_wait: false,
            place_deadline_ms: None,
        }),
    };
    let result = run_at_once(command, &mut inner);
    effects.take(&mut inner);
    note_read(&mut Parts::of(call.worker), call.client, command, keys);
    result
}

/// Publishes with the events of the transaction, in order with them; the reply is how many would hear of it now.
fn publish_within(
    call: &mut ServerCall<'_>,
    effects: &mut Effects,
    args: &[&[u8]],
    shard: bool,
) -> CommandResult {
    if let [_, channel, text] = args {
        let pubsub = &call.worker.server.pubsub;
        let count = if shard { pubsub.listeners(Kind::Shard, channel) } else { pubsub.receivers(channel) };
        effects.events.push_message(channel, text, shard);
        // Counts of what is in memory fit.
        call.reply.integer(count as i64);
    }
    Ok(())
}

fn run_whole(
    call: &mut ServerCall<'_>,
    txn: &mut Txn<'_>,
    db: &Db,
    command: &Command,
    args: &[&[u8]],
) -> CommandResult {
    let (Run::Keyspace(run) | Run::Walk(run)) = command.run else {
        unreachable!("only they have this place")
    };
    run(&mut KeyspaceCall {
        args,
        keyspace: txn,
        db,
        database: call.client.database,
        now_ms: call.worker.now_ms,
        reply: call.reply,
        random: &mut call.worker.random,
        settings: &call.worker.live.settings,
        lsn: Lsn::ZERO,
    })
}

/// Counts a command, and puts an error in place of what it has written if it failed.
fn answer(call: &mut ServerCall<'_>, entry: &Entry, start: usize, result: CommandResult) {
    let failed = result.is_err();
    if let Err(error) = result {
        call.reply.truncate(start);
        write_error(call.worker, call.reply, &error.text());
    } else if call.reply.bytes().len() == start {
        // `CLIENT REPLY SKIP` says nothing; but the array has a place for it.
        call.reply.null();
    }
    call.worker.figures.processed.add(1);
    if let Some(figures) = call.worker.figures.commands.get(usize::from(entry.number)) {
        figures.calls.add(1);
        figures.failed.add(u64::from(failed));
    }
}

/// What is left when the transaction is over, whose reply begins at `start`: commands that were put off, and telling others of all.
fn finish(call: &mut ServerCall<'_>, plan: &Plan<'_>, deferred: &[Deferred], start: usize) {
    let mut replies: Vec<(usize, Vec<u8>)> = Vec::new();
    // What the client is to be told even if it wants no replies: that it is subscribed.
    let mut told: Vec<u8> = Vec::new();
    let told_before = call.client.told_bytes;
    for &Deferred { index, reply_at } in deferred {
        let Some((entry, args)) = plan.commands.get(index) else { continue };
        let mut reply = Reply::new(call.reply.protocol());
        let stopwatch = Stopwatch::start(call.worker, entry);
        let result = run_after(call, entry.command, args, &mut reply);
        stopwatch.stop(call.worker, call.client, entry, args, 0);
        std::mem::swap(call.reply, &mut reply);
        answer(call, entry, 0, result);
        std::mem::swap(call.reply, &mut reply);
        if std::mem::replace(&mut call.client.told_bytes, told_before) > told_before {
            told.extend_from_slice(reply.bytes());
        }
        replies.push((reply_at, std::mem::take(reply.bytes_mut())));
    }
    let bytes = call.reply.bytes_mut();
    for (reply_at, reply) in replies.into_iter().rev() {
        bytes.splice(reply_at..reply_at, reply);
    }
    if call.client.reply_mode != ReplyMode::On {
        // All that it is told comes first; the rest is no reply that it wants.
        call.client.told_bytes += told.len();
        bytes.splice(start..start, told);
    }
    for (entry, args) in &plan.commands {
        // What fails is in the server's log; its reply is written.
        let _ = after_keyspace(call.worker, call.client, entry.command, args);
        if !call.worker.server.monitors.is_empty() {
            call.worker.server.monitors.show(
                entry.command,
                args,
                Source::Client(call.client),
                call.worker.server.db.now_us(),
                &mut call.worker.signals,
                call.worker.live.pushed_bytes_max(),
            );
        }
    }
}

fn run_after(
    call: &mut ServerCall<'_>,
    command: &Command,
    args: &[&[u8]],
    reply: &mut Reply,
) -> CommandResult {
    match command.run {
        Run::Server(run) => {
            let mut inner = ServerCall::new(args, call.client, call.worker, reply);
            let result = run(&mut inner);
            let (lsn, unfinished) = (inner.lsn, inner.wants_errand() || inner.busy);
            call.lsn = call.lsn.max(lsn);
            if unfinished { Err("ERR Command not allowed inside a transaction".into()) } else { result }
        }
        Run::Keyspace(run) | Run::Walk(run) => {
            let server = Arc::clone(&call.worker.server);
            let mut keyspace = &server.db;
            let mut inner = KeyspaceCall {
                args,
                keyspace: &mut keyspace,
                db: &server.db,
                database: call.client.database,
                now_ms: call.worker.now_ms,
                reply,
                random: &mut call.worker.random,
                settings: &call.worker.live.settings,
                lsn: Lsn::ZERO,
            };
            let result = run(&mut inner);
            call.lsn = call.lsn.max(inner.lsn);
            result
        }
        Run::Data(_) | Run::Blocking(_) | Run::Container => unreachable!("they run in the transaction"),
    }
}
