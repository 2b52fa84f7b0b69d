//! Commands that ask for a checkpoint in Redis's words. All of them mean the same here: what was written is put into segments and index, and
//! the log is released. No data is ever safer for it (the log holds it before); the next start is faster.

use super::args::is;
use super::dispatch::refusal;
use super::flags::{ADMIN, FAST, LOADING, NO_MULTI, NOSCRIPT, STALE};
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::None,
    categories: &[],
    group: "server",
    since: "1.0.0",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "bgrewriteaof",
        arity: 1,
        flags: ADMIN | NOSCRIPT,
        summary: "Begins a checkpoint, which releases the log",
        run: Run::Server(bgrewriteaof),
        ..ROW
    },
    Command {
        name: "bgsave",
        arity: -1,
        flags: ADMIN | NOSCRIPT,
        summary: "Begins a checkpoint",
        run: Run::Server(bgsave),
        ..ROW
    },
    Command {
        name: "lastsave",
        arity: 1,
        flags: LOADING | STALE | FAST,
        categories: &["admin", "dangerous"],
        summary: "When the last checkpoint ended, in seconds since the epoch",
        run: Run::Server(lastsave),
        ..ROW
    },
    Command {
        name: "save",
        arity: 1,
        flags: ADMIN | NOSCRIPT | NO_MULTI,
        summary: "Makes a checkpoint, and answers when it is made; other clients don't wait for it",
        complexity: "O(N) where N is what was written since the last checkpoint",
        run: Run::Server(save),
        ..ROW
    },
];

const UNDER_WAY: &str = "ERR Background save already in progress";

fn save(call: &mut ServerCall<'_>) -> CommandResult {
    if !call.is_second() && call.worker.server.db.stats().storage.checkpoint_requested {
        return Err(UNDER_WAY.into());
    }
    // Without a result it is to be made first.
    if let Some(result) = call.checkpoint() {
        result.map_err(|error| {
            tracing::error!(%error, "SAVE: the checkpoint failed; nothing is lost");
            CommandError::of(refusal(&error))
        })?;
        call.reply.ok();
    }
    Ok(())
}

/// What to schedule it behind does not exist here: a checkpoint waits for nothing.
fn bgsave(call: &mut ServerCall<'_>) -> CommandResult {
    match call.args {
        [_] => {}
        [_, option] if is(option, "schedule") => {}
        _ => return Err(CommandError::Syntax),
    }
    if !call.worker.server.db.request_checkpoint() {
        return Err(UNDER_WAY.into());
    }
    call.reply.simple("Background saving started");
    Ok(())
}

/// The one under way may have begun before what is in the log now: another is made behind it.
fn bgrewriteaof(call: &mut ServerCall<'_>) -> CommandResult {
    let server = &call.worker.server;
    if server.db.request_checkpoint() {
        call.reply.simple("Background append only file rewriting started");
    } else {
        server.checkpoints.schedule();
        // The first loop sees to it, and may be asleep for a second.
        if let Some(first) = server.loops.get().and_then(|loops| loops.first()) {
            first.wake();
        }
        call.reply.simple("Background append only file rewriting scheduled");
    }
    Ok(())
}

fn lastsave(call: &mut ServerCall<'_>) -> CommandResult {
    call.reply.integer((call.worker.server.last_checkpoint_ms() / 1000) as i64);
    Ok(())
}
