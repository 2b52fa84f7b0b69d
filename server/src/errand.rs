//! What a command needs that may wait for a disk or takes long, in a form that can be carried to where that stops nobody.
//!
//! A command that meets such a need is not executed: its connection hands out the errand, executes nothing further meanwhile, and when the
//! errand is back executes the same request again, from the start, with what was brought. Nothing is held in between, neither a lock nor a
//! reply half written, so that a connection may be closed while its errand is out. Whoever drives the connection runs the errand: the event
//! loops on the threads of [`DiskThreads`](crate::net::DiskThreads), tests and fuzzers where they are.
//!
//! ```text
//! execute ─▶ needs a disk ─▶ errand ─▶ run, elsewhere ─▶ execute again with what it brought ─▶ reply
//! ```

use crate::command::long::Long;
use crate::command::reach::Learned;
use crate::command::{CommandResult, KeyspaceCall, Random};
use crate::config::Live;
use crate::resp::Reply;
use crate::server::Server;
use sessile::{Db, Fetch, Lsn};
use sessile_wal::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See the module's page.
#[derive(Debug)]
pub enum Errand {
    /// Values of the keys of one command, and which of these keys are beyond its arguments.
    Values(Fetch, Learned),
    /// A command over the keyspace as a whole, for whose keys the disk may be asked.
    Walk(Walk),
    /// A command on data that takes long.
    Long(Box<Long>),
    /// A checkpoint.
    Checkpoint(Checkpoint),
    /// The end of sessions whose deadline has come, so that those which live can be counted.
    Reap(Db),
    /// A script that takes long.
    #[cfg(feature = "scripting")]
    Script(Box<crate::scripting::run::Slow>),
    /// A script to be compiled.
    #[cfg(feature = "scripting")]
    Compiling(Box<crate::scripting::compiling::Compiling>),
    /// Libraries of functions to be changed.
    #[cfg(feature = "scripting")]
    Libraries(Box<crate::scripting::changing::Changing>),
}

impl Errand {
    /// Does it, waiting for the disk.
    pub fn run(&mut self) {
        match self {
            Errand::Values(fetch, _) => fetch.wait(),
            Errand::Walk(walk) => walk.run(),
            Errand::Long(long) => long.run(),
            Errand::Checkpoint(checkpoint) => checkpoint.result = Some(checkpoint.db.checkpoint()),
            // What is wrong then is found by who counts.
            Errand::Reap(db) => drop(db.reap_sessions()),
            #[cfg(feature = "scripting")]
            Errand::Script(script) => script.run(),
            #[cfg(feature = "scripting")]
            Errand::Compiling(compiling) => compiling.run(),
            #[cfg(feature = "scripting")]
            Errand::Libraries(changing) => changing.run(),
        }
    }

    /// How long it was executing its command.
    pub fn spent_ns(&self) -> u64 {
        match self {
            Errand::Walk(walk) => walk.spent_ns,
            Errand::Long(long) => long.spent_ns(),
            #[cfg(feature = "scripting")]
            Errand::Script(script) => script.spent_ns(),
            _ => 0,
        }
    }

    /// Whether it may never end, and so needs a thread of its own.
    pub fn is_endless(&self) -> bool {
        #[cfg(feature = "scripting")]
        if let Errand::Script(_) = self {
            return true;
        }
        false
    }

    /// Whether it may take much longer than a read of the disk.
    pub fn is_long(&self) -> bool {
        !matches!(self, Errand::Values(..))
    }
}

/// How many replies that may be large are made at a time.
const LARGE_REPLIES_MAX: usize = 2;

/// The right to make a reply that may be large: few have it at a time, and nobody while clients leave too much untaken.
pub struct LargeReply(Arc<Server>);

impl LargeReply {
    /// Takes it, if it is to be had.
    pub fn begin(server: &Arc<Server>) -> Option<LargeReply> {
        if server.outputs.is_over() {
            return None;
        }
        let one_more = |making| (making < LARGE_REPLIES_MAX).then_some(making + 1);
        server.large_replies.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(LargeReply(Arc::clone(server)))
    }
}

impl Drop for LargeReply {
    fn drop(&mut self) {
        self.0.large_replies.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A command over the keyspace with all it needs of its own, and then its reply.
pub struct Walk {
    run: fn(&mut KeyspaceCall<'_>) -> CommandResult,
    args: Vec<Vec<u8>>,
    db: Db,
    database: u8,
    random: Random,
    live: Arc<Live>,
    reply: Reply,
    result: CommandResult,
    lsn: Lsn,
    spent_ns: u64,
    _large: Option<LargeReply>,
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Walk {
    /// Of a command that was called like this.
    pub fn new(
        run: fn(&mut KeyspaceCall<'_>) -> CommandResult,
        call: &mut KeyspaceCall<'_>,
        live: &Arc<Live>,
        large: Option<LargeReply>,
    ) -> Walk {
        Walk {
            run,
            args: call.args.iter().map(|arg| arg.to_vec()).collect(),
            db: call.db.clone(),
            database: call.database,
            random: Random::new(call.random.next()),
            live: Arc::clone(live),
            reply: Reply::new(call.reply.protocol()),
            result: Ok(()),
            lsn: Lsn::ZERO,
            spent_ns: 0,
            _large: large,
        }
    }

    fn run(&mut self) {
        let begun_ns = SystemClock.monotonic_ns();
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let mut keyspace = &self.db;
        let mut call = KeyspaceCall {
            args: &args,
            keyspace: &mut keyspace,
            db: &self.db,
            database: self.database,
            now_ms: self.db.now_ms(),
            reply: &mut self.reply,
            random: &mut self.random,
            settings: &self.live.settings,
            lsn: Lsn::ZERO,
        };
        self.result = (self.run)(&mut call);
        self.lsn = call.lsn;
        self.spent_ns = SystemClock.monotonic_ns().saturating_sub(begun_ns);
    }

    /// Writes the reply that it has brought; its result, and what must be acknowledged first.
    pub fn finish(self, reply: &mut Reply) -> (CommandResult, Lsn) {
        debug_assert!(
            reply.protocol() == self.reply.protocol(),
            "the connection has executed nothing meanwhile"
        );
        reply.append(self.reply);
        (self.result, self.lsn)
    }
}

/// A checkpoint to be made, and then what came of it.
#[derive(Debug)]
pub struct Checkpoint {
    db: Db,
    result: Option<Result<(), sessile::Error>>,
}

impl Checkpoint {
    /// One that is still to be made.
    pub fn new(db: &Db) -> Checkpoint {
        Checkpoint { db: db.clone(), result: None }
    }

    /// What came of it; nothing yet if it has not been run.
    pub fn result(self) -> Option<Result<(), sessile::Error>> {
        self.result
    }
}
