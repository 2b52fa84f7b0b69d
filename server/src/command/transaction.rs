//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
//!
//! Between `MULTI` and `EXEC` commands are only looked at and [queued](crate::transaction); [`exec`](super::exec) runs them.

use super::dispatch::{ServerCall, refusal};
use super::exec::exec;
use super::flags::{ALLOW_BUSY, FAST, LOADING, NOSCRIPT, SKIP_SLOWLOG, STALE};
use super::{Command, CommandError, CommandResult, KeySpec, Run};

const ROW: Command = Command {
    name: "",
    arity: 1,
    flags: NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
    keys: KeySpec::None,
    categories: &["transaction"],
    group: "transactions",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "multi",
        since: "1.2.0",
        summary: "Begins a transaction: the commands that follow are queued",
        run: Run::Server(multi),
        ..ROW
    },
    Command {
        name: "exec",
        flags: NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG,
        since: "1.2.0",
        summary: "Runs the queued commands as one",
        complexity: "Depends on commands in the transaction",
        run: Run::Server(exec),
        ..ROW
    },
    Command {
        name: "discard",
        since: "2.0.0",
        summary: "Forgets the queued commands",
        complexity: "O(N), when N is the number of queued commands",
        run: Run::Server(discard),
        ..ROW
    },
    Command {
        name: "watch",
        arity: -2,
        keys: KeySpec::ALL,
        since: "2.2.0",
        summary: "Has EXEC do nothing if one of these keys changes before it",
        complexity: "O(1) for every key.",
        run: Run::Server(watch),
        ..ROW
    },
    Command {
        name: "unwatch",
        since: "2.2.0",
        summary: "Forgets what was watched",
        run: Run::Server(unwatch),
        ..ROW
    },
];

/// Commands that are executed where they stand in spite of `MULTI`.
pub const IMMEDIATE: [&str; 6] = ["exec", "discard", "multi", "watch", "quit", "reset"];
fn multi(call: &mut ServerCall<'_>) -> CommandResult {
    let transaction = &mut call.client.transaction;
    if transaction.is_open() {
        return Err("ERR MULTI calls can not be nested".into());
    }
    transaction.queue = Some(Box::default());
    call.reply.ok();
    Ok(())
}

fn discard(call: &mut ServerCall<'_>) -> CommandResult {
    if !call.client.transaction.is_open() {
        return Err("ERR DISCARD without MULTI".into());
    }
    call.client.transaction.discard();
    call.reply.ok();
    Ok(())
}

fn watch(call: &mut ServerCall<'_>) -> CommandResult {
    if call.client.transaction.is_open() {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    let (db, now_ms) = (&call.worker.server.db, call.worker.now_ms);
    for key in &call.args[1..] {
        let watch = db.watch(call.client.database, key, now_ms);
        call.client.transaction.watch(watch.map_err(|error| CommandError::of(refusal(&error)))?);
        if call.client.transaction.bytes() > call.worker.live.query_bytes_max {
            call.client.overrun(call.worker);
            return Ok(());
        }
    }
    call.reply.ok();
    Ok(())
}

fn unwatch(call: &mut ServerCall<'_>) -> CommandResult {
    call.client.transaction.unwatch();
    call.reply.ok();
    Ok(())
}

/// The error for a transaction that is not begun, for this reason.
pub fn aborted(text: &[u8]) -> Vec<u8> {
    let mut aborted = b"EXECABORT Transaction discarded because of: ".to_vec();
    aborted.extend_from_slice(text);
    aborted
}
