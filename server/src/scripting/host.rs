//! What `redis.call` does: a command, run in the script's transaction.
//!
//! A script runs in one of two ways, and [`Data`] says which: over *held* keys, in a transaction that holds the locks of the shards of the keys
//! that it was declared with and of those that it has come to, or over *copies*, with nothing locked. Either way none of what it does has happened
//! before it is committed, so that a script can be stopped at any moment.

use super::effects::{Effects, Shown};
use super::vm::{Host, Stop};
use crate::acl::{Context, Denied};
use crate::client::Client;
use crate::command::dispatch::{ServerCall, access_of, for_each_key, may_learn, refusal, resolve};
use crate::command::exec::leaves_engine_alone;
use crate::command::reach::Learned;
use crate::command::run::run_at_once;
use crate::command::{
    Call, Command, CommandError, CommandResult, KeyspaceCall, Lookups, Run, cost, flags, permission,
};
use crate::notify::Events;
use crate::pubsub;
use crate::resp::{Protocol, Reply};
use crate::tracking::Outlet;
use crate::worker::Worker;
use sessile::{Access, Extended, Extent, Fetch, Key, Lsn, Overlay, Txn};
use smallvec::SmallVec;

/// A key by its database and bytes.
pub(super) type OwnedKey = (u8, Vec<u8>);

/// What a script over held keys needs before it can be run again.
#[derive(Debug)]
pub(super) enum Want {
    /// These keys from the start, as somebody holds their locks now.
    Keys(Vec<OwnedKey>),
    /// These keys from the start, and what is to be read of them.
    Cold(Vec<OwnedKey>, Fetch),
    /// It can't be run so at all.
    Copies,
}

/// What a script works on.
pub(super) enum Data<'r, 'db> {
    /// Keys whose shards are locked.
    Held(&'r mut Txn<'db>),
    /// Copies.
    Copies(&'r mut Overlay),
}

/// A host over the engine; see the module's page.
pub(super) struct EngineHost<'r, 'db> {
    pub(super) data: Data<'r, 'db>,
    pub(super) worker: &'r mut Worker,
    /// The client as the script has it: what it selects is its own.
    pub(super) client: Client,
    /// Writes are refused.
    pub(super) read_only: bool,
    /// What may make the data grow is refused, in these words.
    pub(super) growth_refused: Option<String>,
    /// What may change anything at all is refused, in these words.
    pub(super) writes_refused: Option<String>,
    /// Others wait while it runs: no command is to be begun that takes long.
    pub(super) hurried: bool,
    /// Why it was stopped, if the host did that.
    pub(super) want: Option<Want>,
    pub(super) effects: Effects,
}

/// A script that has put so much into its record goes on over copies: what it writes is bounded there.
const HELD_BYTES_MAX: usize = 8 << 20;

impl Host for EngineHost<'_, '_> {
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, out: &mut Vec<u8>) -> Result<(), Stop> {
        let mut reply = Reply::new(protocol);
        match self.command(args, &mut reply)? {
            Ok(()) => {}
            Err(error) => {
                reply.truncate(0);
                reply.error(&error.text());
            }
        }
        *out = std::mem::take(reply.bytes_mut());
        Ok(())
    }

    fn may_run(&mut self, args: &[&[u8]]) -> Option<bool> {
        let entry = resolve(args)?;
        let rights =
            self.client.user.is_unrestricted() || self.client.user.rights().check(entry, args).is_ok();
        Some(rights)
    }
}

impl EngineHost<'_, '_> {
    fn command(&mut self, args: &[&[u8]], reply: &mut Reply) -> Result<CommandResult, Stop> {
        let Some(entry) = resolve(args) else {
            return Ok(Err("ERR Unknown Redis command called from script".into()));
        };
        if !entry.takes(args.len()) {
            return Ok(Err("ERR Wrong number of args calling Redis command from script".into()));
        }
        let command = entry.command;
        if command.flags & flags::NOSCRIPT != 0 {
            return Ok(Err("ERR This Redis command is not allowed from script".into()));
        }
        if !self.client.user.is_unrestricted()
            && let Err(denied) =
                permission::check_rights(self.worker, &self.client, entry, args, Context::Lua)
        {
            return Ok(Err(denial(denied).into()));
        }
        if command.flags & flags::WRITE != 0 {
            if self.read_only {
                return Ok(Err("ERR Write commands are not allowed from read-only scripts.".into()));
            }
            if let Some(refused) = &self.writes_refused {
                return Ok(Err(CommandError::of(refused.clone())));
            }
        }
        if command.flags & flags::DENYOOM != 0
            && let Some(refused) = &self.growth_refused
        {
            return Ok(Err(CommandError::of(refused.clone())));
        }
        if let Some(figures) = self.worker.figures.commands.get(usize::from(entry.number)) {
            figures.calls.add(1);
        }
        if !self.worker.server.monitors.is_empty() {
            let (args, database) = (args.iter().map(|arg| arg.to_vec()).collect(), self.client.database);
            self.effects.shown.push(Shown { command, args, database });
        }
        match command.run {
            Run::Data(_) | Run::Blocking(_) => self.data_command(command, args, reply),
            Run::Keyspace(run) | Run::Walk(run) => match &mut self.data {
                Data::Copies(overlay) => {
                    self.effects.walked.push((command, args.iter().map(|arg| arg.to_vec()).collect()));
                    let worker = &mut *self.worker;
                    Ok(run(&mut KeyspaceCall {
                        args,
                        keyspace: &mut **overlay,
                        db: &worker.server.db,
                        database: self.client.database,
                        now_ms: worker.now_ms,
                        reply,
                        random: &mut worker.random,
                        settings: &worker.live.settings,
                        lsn: Lsn::ZERO,
                    }))
                }
                Data::Held(_) => self.stop(Want::Copies),
            },
            Run::Server(_) if matches!(command.name, "publish" | "spublish") => {
                self.publish(args, command.name == "spublish", reply);
                Ok(Ok(()))
            }
            // It may look at the database, which has locks that this thread holds.
            Run::Server(_) if matches!(self.data, Data::Held(_)) && !leaves_engine_alone(command) => {
                self.stop(Want::Copies)
            }
            Run::Server(run) => {
                let mut call = ServerCall::new(args, &mut self.client, self.worker, reply);
                let result = run(&mut call);
                if call.wants_errand() {
                    return Ok(Err("ERR This Redis command is not allowed from script".into()));
                }
                Ok(result)
            }
            Run::Container => Ok(Err("ERR Unknown Redis command called from script".into())),
        }
    }

    fn stop<R>(&mut self, want: Want) -> Result<R, Stop> {
        self.want = Some(want);
        Err(Stop::Host)
    }

    /// Publishes when the script is committed; the reply is how many would hear of it now.
    fn publish(&mut self, args: &[&[u8]], shard: bool, reply: &mut Reply) {
        let [_, channel, text, ..] = args else { return };
        let channels = &self.worker.server.pubsub;
        let count = match shard {
            true => channels.listeners(pubsub::Kind::Shard, channel),
            false => channels.receivers(channel),
        };
        self.effects.events.push_message(channel, text, shard);
        // Counts of what is in memory fit.
        reply.integer(count as i64);
    }

    fn data_command(
        &mut self,
        command: &Command,
        args: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<CommandResult, Stop> {
        let mut learned = Learned::new(may_learn(&self.client, command, args)).in_script();
        loop {
            match self.data_command_over(command, args, reply, &learned)? {
                Err(CommandError::NeedsKeys(more)) => {
                    reply.truncate(0);
                    learned = *more;
                }
                result => return Ok(result),
            }
        }
    }

    fn data_command_over(
        &mut self,
        command: &Command,
        args: &[&[u8]],
        reply: &mut Reply,
        learned: &Learned,
    ) -> Result<CommandResult, Stop> {
        let mut places: SmallVec<[(u8, usize); 4]> = SmallVec::new();
        for_each_key(command.keys, args, self.client.database, &mut |database, index| {
            if index < args.len() {
                places.push((database, index));
            }
        });
        let owned = |places: &[(u8, usize)]| -> Vec<OwnedKey> {
            let named = places.iter().map(|&(database, index)| (database, args[index].to_vec()));
            named.chain(learned.owned()).collect()
        };
        let access = if self.read_only { Access::Read } else { access_of(command) };
        match &mut self.data {
            Data::Held(txn) => {
                let named = places.iter().map(|&(database, index)| txn.key(database, args[index]));
                let keys: SmallVec<[Key<'_>; 4]> =
                    named.chain(learned.keys(&self.worker.server.db)).collect();
                match txn.extend(&keys) {
                    Ok(Extended::Ready) => {}
                    Ok(Extended::Contended) => {
                        let wanted = owned(&places);
                        return self.stop(Want::Keys(wanted));
                    }
                    Ok(Extended::Cold(fetch)) => {
                        let wanted = owned(&places);
                        return self.stop(Want::Cold(wanted, fetch));
                    }
                    Err(error) => return Ok(Err(CommandError::of(refusal(&error)))),
                }
                if self.hurried && cost::may_be_long(command, args) {
                    let extents: SmallVec<[Extent; 4]> = keys.iter().map(|key| txn.extent(key)).collect();
                    if cost::is_long(command, args, &extents) {
                        return self.stop(Want::Copies);
                    }
                }
                note_read(self.worker, &self.client, command, args, &places);
                let result = run_in(
                    txn,
                    command,
                    args,
                    (&keys[..places.len()], learned),
                    self.worker,
                    reply,
                    &mut self.effects,
                );
                if txn.record_bytes() > HELD_BYTES_MAX {
                    return self.stop(Want::Copies);
                }
                Ok(result)
            }
            Data::Copies(overlay) => {
                // Before it is copied, so that a change from then on is told; and again when the script is committed, for one in between.
                if note_read(self.worker, &self.client, command, args, &places) {
                    self.effects.read.extend(places.iter().map(|&(_, index)| args[index].to_vec()));
                }
                if overlay.record_bytes() > crate::scripting::WRITTEN_BYTES_MAX {
                    return Ok(Err("ERR The script has changed more than one transaction can hold".into()));
                }
                let named = places.iter().map(|&(database, index)| overlay.key(database, args[index]));
                let keys: SmallVec<[Key<'_>; 4]> =
                    named.chain(learned.keys(&self.worker.server.db)).collect();
                match overlay.copy_in(&keys) {
                    Ok(()) => {}
                    Err(sessile::Error::DatabasesSwapped) => {
                        let wanted = owned(&places);
                        return self.stop(Want::Keys(wanted));
                    }
                    Err(error) => return Ok(Err(CommandError::of(refusal(&error)))),
                }
                let mut txn = match overlay.begin(&keys, access) {
                    Ok(txn) => txn,
                    Err(error) => return Ok(Err(CommandError::of(refusal(&error)))),
                };
                let result = run_in(
                    &mut txn,
                    command,
                    args,
                    (&keys[..places.len()], learned),
                    self.worker,
                    reply,
                    &mut self.effects,
                );
                // Its position means nothing before the whole is committed.
                let _ = txn.commit();
                Ok(result)
            }
        }
    }
}

/// Has it remembered that the client has read these keys, if it may keep copies of them; whether it may.
fn note_read(
    worker: &mut Worker,
    client: &Client,
    command: &Command,
    args: &[&[u8]],
    places: &[(u8, usize)],
) -> bool {
    let keeps = client.card.tracked.is_on() && command.flags & flags::READONLY != 0;
    if keeps {
        remember(worker, client, places.iter().map(|&(_, index)| args[index]));
    }
    keeps
}

/// Has it remembered that the client may have copies of these keys.
pub(super) fn remember<'k>(worker: &mut Worker, client: &Client, keys: impl Iterator<Item = &'k [u8]>) {
    let bytes_max = worker.live.pushed_bytes_max();
    let mut outlet = Outlet { signals: &mut worker.signals, broadcasts: &mut worker.broadcasts, bytes_max };
    worker.server.tracking.remember(&client.card, keys, worker.live.tracking_keys_max, &mut outlet);
}

/// Runs one command on keys in an open transaction.
fn run_in(
    txn: &mut Txn<'_>,
    command: &Command,
    args: &[&[u8]],
    (keys, learned): (&[Key<'_>], &Learned),
    worker: &mut Worker,
    reply: &mut Reply,
    effects: &mut Effects,
) -> CommandResult {
    let mut call = Call {
        args,
        keys,
        txn,
        reply,
        random: &mut worker.random,
        settings: &worker.live.settings,
        lookups: Lookups::default(),
        events: Events::default(),
        learned,
        damaged: 0,
        sessions: None,
    };
    let result = run_at_once(command, &mut call);
    call.note_creations();
    effects.lookups.hits += call.lookups.hits;
    effects.lookups.misses += call.lookups.misses;
    if !call.events.is_empty() {
        effects.events.append(std::mem::take(&mut call.events));
    }
    result
}

/// What a script is told that its user may not do.
fn denial(denied: Denied) -> &'static str {
    match denied {
        Denied::Command => "ERR The user executing the script can't run this command or subcommand",
        Denied::Key(_) => {
            "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
        }
        Denied::Channel(_) => {
            "ERR The user executing the script can't publish to the channel mentioned in the command"
        }
    }
}
