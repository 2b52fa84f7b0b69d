//! Commands about the process: its clock, its role, its end. `CONFIG`, `INFO` and `DEBUG` have files of their own.

use super::args::is;
use super::flags::{ADMIN, ALLOW_BUSY, FAST, LOADING, NO_MULTI, NOSCRIPT, STALE};
use super::object::write_help;
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::None,
    categories: &[],
    group: "server",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "module",
        arity: -2,
        since: "4.0.0",
        summary: "Commands about modules, of which there are none",
        complexity: "Depends on the subcommand",
        subcommands: &[
            Command {
                name: "help",
                arity: 2,
                flags: LOADING | STALE,
                since: "5.0.0",
                summary: "Lists the subcommands",
                run: Run::Server(module_help),
                ..ROW
            },
            Command {
                name: "list",
                arity: 2,
                flags: ADMIN | NOSCRIPT,
                since: "4.0.0",
                summary: "No modules",
                run: Run::Server(module_list),
                ..ROW
            },
        ],
        ..ROW
    },
    Command {
        name: "monitor",
        arity: 1,
        flags: ADMIN | NOSCRIPT | LOADING | STALE,
        since: "1.0.0",
        summary: "Shows every command that the server executes, until the connection ends or RESET",
        run: Run::Server(monitor),
        ..ROW
    },
    Command {
        name: "role",
        arity: 1,
        flags: NOSCRIPT | LOADING | STALE | FAST,
        categories: &["admin", "dangerous"],
        since: "2.8.12",
        summary: "That this is a master without replicas",
        run: Run::Server(role),
        ..ROW
    },
    Command {
        name: "shutdown",
        arity: -1,
        flags: ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY,
        since: "1.0.0",
        summary: "Makes everything durable, and a checkpoint unless told not to, and ends the server",
        complexity: "O(N) where N is what was written since the last checkpoint",
        run: Run::Server(shutdown),
        ..ROW
    },
    Command {
        name: "time",
        arity: 1,
        flags: LOADING | STALE | FAST,
        since: "2.6.0",
        summary: "The server's time",
        run: Run::Server(time),
        ..ROW
    },
];

fn time(call: &mut ServerCall<'_>) -> CommandResult {
    let now_us = call.worker.server.db.now_us();
    call.reply.array(2);
    for number in [now_us / 1_000_000, now_us % 1_000_000] {
        call.reply.bulk(itoa::Buffer::new().format(number).as_bytes());
    }
    Ok(())
}

/// A client that is shown every command already gets no second answer, as in Redis.
fn monitor(call: &mut ServerCall<'_>) -> CommandResult {
    if call.client.may_not_wait {
        return Err("ERR MONITOR isn't allowed for DENY BLOCKING client".into());
    }
    let server = Arc::clone(&call.worker.server);
    if server.monitors.join(call.client) {
        call.reply.ok();
    }
    Ok(())
}

fn role(call: &mut ServerCall<'_>) -> CommandResult {
    call.reply.array(3);
    call.reply.bulk(b"master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(())
}

fn module_list(call: &mut ServerCall<'_>) -> CommandResult {
    call.reply.array(0);
    Ok(())
}

fn module_help(call: &mut ServerCall<'_>) -> CommandResult {
    write_help(
        call.reply,
        &[
            "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "LIST",
            "    Return a list of loaded modules.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}

const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";

/// What was acknowledged is kept in any case. A checkpoint makes the next start fast: one is made unless `NOSAVE` says not to, and, since
/// the clients may go on writing meanwhile, a small one when they have left.
fn shutdown(call: &mut ServerCall<'_>) -> CommandResult {
    let (mut save, mut no_save, mut now, mut force, mut abort) = (false, false, false, false, false);
    for option in &call.args[1..] {
        let flag = if is(option, "save") {
            &mut save
        } else if is(option, "nosave") {
            &mut no_save
        } else if is(option, "now") {
            &mut now
        } else if is(option, "force") {
            &mut force
        } else if is(option, "abort") {
            &mut abort
        } else {
            return Err(CommandError::Syntax);
        };
        *flag = true;
    }
    if (abort && (save || no_save || now || force)) || (save && no_save) {
        return Err(CommandError::Syntax);
    }
    if abort {
        return Err("ERR No shutdown in progress.".into());
    }
    if !no_save {
        let Some(result) = call.checkpoint() else { return Ok(()) };
        if let Err(error) = result {
            tracing::error!(%error, "SHUTDOWN: the checkpoint failed");
            if !force {
                return Err(FAILED.into());
            }
        }
    }
    if let Err(error) = call.worker.server.db.flush() {
        tracing::error!(%error, "SHUTDOWN: what was written last can't be made durable");
        if !force {
            return Err(FAILED.into());
        }
    }
    call.worker.server.shutdown.no_save.store(no_save, Ordering::SeqCst);
    tracing::info!(client = %call.client.card.origin.address, "SHUTDOWN");
    call.worker.server.request_shutdown(now);
    call.client.closing = true;
    Ok(())
}
