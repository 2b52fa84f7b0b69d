//! What `redis.call` does: a command, run in the script's transaction.
//!
//! A script runs in one of two ways, and [`Data`] says which: over *held* keys, in a transaction that holds the locks of the shards of the keys
//! that it was declared with and of those that it has come to, or over *copies*, with nothing locked. Either way none of what it does has happened
//! before it is committed, so that a script can be stopped at any moment.

use super::keyspace;
use super::vm::{Host, Stop};
use crate::client::Client;
use crate::command::dispatch::{ServerCall, for_each_key, refusal, resolve};
use crate::command::{Call, Command, CommandError, CommandResult, Lookups, Run, Served, flags};
use crate::notify::Events;
use crate::resp::{Protocol, Reply};
use crate::worker::Worker;
use sessile::{Access, Extended, Fetch, Key, Overlay, Txn};
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
    Held(Txn<'db>),
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
    /// Why it was stopped, if the host did that.
    pub(super) want: Option<Want>,
    pub(super) lookups: Lookups,
    pub(super) events: Vec<Events>,
}

/// A script that has put so much into its record goes on over copies: what it writes is bounded there.
const HELD_BYTES_MAX: usize = 64 << 20;

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
        resolve(args).map(|_| true)
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
        match command.run {
            Run::Data(_) | Run::Blocking(_) => self.data_command(command, args, reply),
            Run::Keyspace(_) | Run::Walk(_) => match &mut self.data {
                Data::Copies(overlay) => {
                    Ok(keyspace::run(overlay, command.name, args, self.client.database, self.worker, reply))
                }
                Data::Held(_) => self.stop(Want::Copies),
            },
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

    fn data_command(
        &mut self,
        command: &Command,
        args: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<CommandResult, Stop> {
        let mut places: SmallVec<[(u8, usize); 4]> = SmallVec::new();
        for_each_key(command.keys, args, self.client.database, &mut |database, index| {
            if index < args.len() {
                places.push((database, index));
            }
        });
        let owned = |places: &[(u8, usize)]| {
            places.iter().map(|&(database, index)| (database, args[index].to_vec())).collect()
        };
        let access = if command.flags & flags::WRITE == 0 { Access::Read } else { Access::Write };
        match &mut self.data {
            Data::Held(txn) => {
                let keys: SmallVec<[Key<'_>; 4]> =
                    places.iter().map(|&(database, index)| txn.key(database, args[index])).collect();
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
                let result = run_in(
                    txn,
                    command,
                    args,
                    &keys,
                    self.worker,
                    reply,
                    &mut self.lookups,
                    &mut self.events,
                );
                if txn.record_bytes() > HELD_BYTES_MAX {
                    return self.stop(Want::Copies);
                }
                Ok(result)
            }
            Data::Copies(overlay) => {
                if overlay.record_bytes() > crate::scripting::WRITTEN_BYTES_MAX {
                    return Ok(Err("ERR The script has changed more than one transaction can hold".into()));
                }
                let keys: SmallVec<[Key<'_>; 4]> =
                    places.iter().map(|&(database, index)| overlay.key(database, args[index])).collect();
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
                    &keys,
                    self.worker,
                    reply,
                    &mut self.lookups,
                    &mut self.events,
                );
                // Its position means nothing before the whole is committed.
                let _ = txn.commit();
                Ok(result)
            }
        }
    }
}

/// Runs one command on keys in an open transaction.
#[expect(clippy::too_many_arguments, reason = "they are parts of the host, apart from its data")]
fn run_in(
    txn: &mut Txn<'_>,
    command: &Command,
    args: &[&[u8]],
    keys: &[Key<'_>],
    worker: &mut Worker,
    reply: &mut Reply,
    lookups: &mut Lookups,
    events: &mut Vec<Events>,
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
        damaged: 0,
    };
    let result = match command.run {
        Run::Data(run) => run(&mut call),
        Run::Blocking(blocking) => match (blocking.attempt)(&mut call) {
            Ok(Served::Yes) => Ok(()),
            Ok(Served::NotYet) => {
                (blocking.expired)(call.reply);
                Ok(())
            }
            Err(error) => Err(error),
        },
        Run::Keyspace(_) | Run::Walk(_) | Run::Server(_) | Run::Container => Ok(()),
    };
    lookups.hits += call.lookups.hits;
    lookups.misses += call.lookups.misses;
    if call.events.iter().next().is_some() {
        events.push(std::mem::take(&mut call.events));
    }
    result
}
