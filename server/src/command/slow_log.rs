//! `SLOWLOG`: shows the [slow log](crate::slow_log).

use super::flags::{ADMIN, LOADING, STALE};
use super::object::write_help;
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall, dispatch};
use crate::resp::parse_integer;

/// Entries that are shown where nothing is said.
const ENTRIES_SHOWN: usize = 10;

const ROW: Command = Command {
    name: "",
    arity: 2,
    flags: ADMIN | LOADING | STALE,
    keys: KeySpec::None,
    categories: &[],
    group: "server",
    since: "2.2.12",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "slowlog",
    arity: -2,
    flags: 0,
    summary: "Which commands took long",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        Command {
            name: "get",
            arity: -2,
            summary: "The latest entries",
            complexity: "O(N) where N is the number of entries returned",
            run: Run::Server(get),
            ..ROW
        },
        Command {
            name: "help",
            flags: LOADING | STALE,
            since: "6.2.0",
            summary: "Lists the subcommands",
            run: Run::Server(help),
            ..ROW
        },
        Command { name: "len", summary: "How many entries there are", run: Run::Server(len), ..ROW },
        Command {
            name: "reset",
            summary: "Forgets all entries",
            complexity: "O(N) where N is the number of entries in the slowlog",
            run: Run::Server(reset),
            ..ROW
        },
    ],
    ..ROW
}];

fn get(call: &mut ServerCall<'_>) -> CommandResult {
    let count = match call.args {
        [_, _] => ENTRIES_SHOWN,
        [_, _, count] => {
            let count = parse_integer(count).filter(|count| *count >= -1);
            let count = count.ok_or("ERR count should be greater than or equal to -1")?;
            // -1 is all.
            usize::try_from(count).unwrap_or(usize::MAX)
        }
        args => return Err(CommandError::of(dispatch::unknown_subcommand_or_arguments(args))),
    };
    let entries = call.worker.server.slow_log.latest(count);
    call.reply.array(entries.len());
    for entry in entries {
        call.reply.array(6);
        for number in [entry.id, entry.at_seconds, entry.microseconds] {
            call.reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
        call.reply.array(entry.args.len());
        for arg in &entry.args {
            call.reply.bulk(arg);
        }
        call.reply.bulk(entry.address.as_bytes());
        call.reply.bulk(&entry.name);
    }
    Ok(())
}

fn len(call: &mut ServerCall<'_>) -> CommandResult {
    // A count of what is in memory fits.
    call.reply.integer(call.worker.server.slow_log.count() as i64);
    Ok(())
}

fn reset(call: &mut ServerCall<'_>) -> CommandResult {
    call.worker.server.slow_log.reset();
    call.reply.ok();
    Ok(())
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    write_help(
        call.reply,
        &[
            "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "GET [<count>]",
            "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
            "    Entries are made of:",
            "    id, timestamp, time in microseconds, arguments array, client IP and port,",
            "    client name",
            "LEN",
            "    Return the length of the slowlog.",
            "RESET",
            "    Reset the slowlog.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}
