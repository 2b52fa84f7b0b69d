//! What a script leaves to be told when it is committed, and to nobody before: it may be run again, or never have happened.

use super::host::remember;
use crate::blocked::Service;
use crate::client::Client;
use crate::command::run::{after_keyspace, conclude_copies};
use crate::command::{Command, Lookups};
use crate::monitor::Source;
use crate::notify::Events;
use crate::tracking::Outlet;
use crate::worker::Worker;
use sessile::{Committed, Error, Key, Lsn, Overlay, Txn};

/// A command that the script has run, for those who are shown every command.
pub(super) struct Shown {
    pub(super) command: &'static Command,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) database: u8,
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Effects {
    /// What happened to keys, and what it has published.
    pub(super) events: Events,
    /// Keys that reads found, or did not find.
    pub(super) lookups: Lookups,
    /// What it has run, if anybody is shown that.
    pub(super) shown: Vec<Shown>,
    /// What it has read on copies, if its client may keep copies of its own.
    pub(super) read: Vec<Vec<u8>>,
    /// What it has run over the keyspace as a whole.
    pub(super) walked: Vec<(&'static Command, Vec<Vec<u8>>)>,
}

fn outlet<'a>(
    signals: &'a mut crate::push::Signals,
    broadcasts: &'a mut crate::tracking::Broadcasts,
    bytes_max: usize,
) -> Outlet<'a> {
    Outlet { signals, broadcasts, bytes_max }
}

impl Effects {
    /// Whether anybody waits for what a script may change, or has copies of it: then its transaction is to note its changes.
    pub(super) fn concern_anybody(worker: &Worker) -> bool {
        worker.server.blocked.any_for_elements() || worker.server.tracking.is_on()
    }

    /// Commits a transaction, and tells everybody. `held` are the keys that it was begun with; `noted` says whether it has noted its changes.
    pub(super) fn conclude(
        mut self,
        worker: &mut Worker,
        changer: u64,
        txn: Txn<'_>,
        held: &[Key<'_>],
        noted: bool,
    ) -> Lsn {
        let events = std::mem::take(&mut self.events);
        let bytes_max = worker.live.pushed_bytes_max();
        let lsn = if noted {
            let outlet = outlet(&mut worker.signals, &mut worker.broadcasts, bytes_max);
            Service::new(&worker.server, &worker.live, &mut worker.random, outlet, Some(changer))
                .conclude(txn, held, events)
        } else {
            txn.commit_then(|lsn| {
                if !events.is_empty() {
                    events.publish_for(&worker.server.pubsub, &worker.live, lsn, &mut worker.signals);
                }
            })
        };
        self.tell(worker);
        lsn
    }

    /// Commits copies, and tells everybody.
    pub(super) fn conclude_copies(
        mut self,
        worker: &mut Worker,
        client: &Client,
        overlay: Overlay,
    ) -> Result<Committed, Error> {
        // Before the commit, so that a change that comes after it is told of.
        if !self.read.is_empty() {
            remember(worker, client, self.read.iter().map(Vec::as_slice));
        }
        let events = std::mem::take(&mut self.events);
        let committed = conclude_copies(worker, client.card.id, overlay, &events)?;
        if let Committed::Conflict = committed {
            return Ok(committed);
        }
        for (command, args) in std::mem::take(&mut self.walked) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            // What fails is in the server's log; the script has seen its reply.
            let _ = after_keyspace(worker, client, command, &args);
        }
        self.tell(worker);
        Ok(committed)
    }

    pub(super) fn tell(self, worker: &mut Worker) {
        let bytes_max = worker.live.pushed_bytes_max();
        for Shown { command, args, database } in self.shown {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            worker.server.monitors.show(
                command,
                &args,
                Source::Script(database),
                worker.server.db.now_us(),
                &mut worker.signals,
                bytes_max,
            );
        }
        worker.figures.hits.add(u64::from(self.lookups.hits));
        worker.figures.misses.add(u64::from(self.lookups.misses));
    }
}
