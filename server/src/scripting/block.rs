//! Scripts in `MULTI`: run in the transaction of its `EXEC`, between the other commands, and so part of what happens at once or not at all.
//!
//! The keys of all commands are held meanwhile. A script that comes to further keys has the whole begun anew with them; one that takes long,
//! or needs what a transaction with held keys can't have (a walk through the keyspace), ends the transaction with an error, before anything
//! of it has happened.

use super::effects::Effects;
use super::host::{Data, EngineHost, OwnedKey, Want};
use super::run::{Job, client_of, compiled, invocation, with_vm};
use super::vm::{Limits, Stop, Until};
use crate::command::{CommandError, CommandResult};
use crate::notify::Events;
use crate::resp::Reply;
use crate::worker::Worker;
use sessile::{Fetch, Txn};
use std::sync::Arc;

/// How long the scripts of one transaction may hold its keys, in all.
pub const HELD_NS: u64 = 50_000_000;

/// What a script in a transaction needs before all of it can be run again.
#[derive(Debug)]
pub enum Wanted {
    /// These keys from the start, and what is to be read of them, if anything.
    Keys(Vec<OwnedKey>, Option<Box<Fetch>>),
    /// It can't be run so.
    Never,
}

/// What the scripts of a transaction leave to be told when it is committed.
#[derive(Default)]
pub struct Told(Effects);

impl Told {
    /// What has happened to keys since the last call.
    pub fn take_events(&mut self) -> Events {
        std::mem::take(&mut self.0.events)
    }

    /// Tells the rest, once the transaction is committed.
    pub fn tell(self, worker: &mut Worker) {
        self.0.tell(worker);
    }
}

/// A transaction that scripts are run in.
pub struct Block<'t, 'db> {
    /// The transaction; it is revocable.
    pub txn: &'t mut Txn<'db>,
    /// When the scripts have held its keys long enough.
    pub until: Until,
    /// What they leave.
    pub told: &'t mut Told,
    /// Set when it has to be run again: then nothing that was written counts.
    pub wanted: &'t mut Option<Wanted>,
}

/// Runs scripts in whatever it is that has a transaction open.
pub trait RunScript {
    /// Runs one.
    ///
    /// # Errors
    /// What it answers, if that is an error.
    fn run(&mut self, worker: &mut Worker, job: &Job<'_>, reply: &mut Reply) -> CommandResult;
}

impl RunScript for Block<'_, '_> {
    fn run(&mut self, worker: &mut Worker, job: &Job<'_>, reply: &mut Reply) -> CommandResult {
        let server = Arc::clone(&worker.server);
        let seed = worker.random.next();
        let memory_bytes_max = worker.live.script_memory_bytes_max;
        let mut host = EngineHost {
            data: Data::Held(&mut *self.txn),
            worker,
            client: client_of(job),
            read_only: job.read_only,
            growth_refused: None,
            writes_refused: None,
            hurried: false,
            want: None,
            effects: std::mem::take(&mut self.told.0),
        };
        let limits = Limits { until: Some(self.until.clone()), hurried: false, ..Limits::default() };
        let start = reply.bytes().len();
        let ran = with_vm(&server, memory_bytes_max, |vm| match compiled(&server, vm, job.code) {
            Ok(function) => vm.run(&invocation(job, function, seed), &mut host, limits, reply),
            Err(text) => {
                reply.error(&text);
                Ok(())
            }
        });
        let EngineHost { want, effects, .. } = host;
        self.told.0 = effects;
        match ran {
            Ok(Ok(())) => {}
            Ok(Err(Stop::Host)) => {
                *self.wanted = Some(match want {
                    Some(Want::Keys(keys)) => Wanted::Keys(keys, None),
                    Some(Want::Cold(keys, fetch)) => Wanted::Keys(keys, Some(Box::new(fetch))),
                    Some(Want::Copies) | None => Wanted::Never,
                });
                return Ok(());
            }
            Ok(Err(Stop::TimeUp | Stop::Killed)) => {
                *self.wanted = Some(Wanted::Never);
                return Ok(());
            }
            Err(text) => return Err(CommandError::of(format!("ERR {text}"))),
        }
        let written = reply.bytes().get(start..).unwrap_or_default();
        if let Some(text) = written.strip_prefix(b"-") {
            // Counted as every error.
            let text = text.strip_suffix(b"\r\n").unwrap_or(text).to_vec();
            return Err(CommandError::Bytes(text));
        }
        Ok(())
    }
}
