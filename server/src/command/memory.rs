//! What memory goes where: `MEMORY`. The figures are the engine's own estimates.

use super::args::{integer, is};
use super::flags::{LOADING, READONLY, STALE};
use super::object::write_help;
use super::{Call, Command, CommandError, CommandResult, KeySpec, KeyspaceCall, Run};
use crate::resp::{Protocol, Reply};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::Range { first: 2, last: 2, step: 1 },
    categories: &[],
    group: "server",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "memory",
    arity: -2,
    keys: KeySpec::None,
    since: "4.0.0",
    summary: "Looks at memory",
    complexity: "Depends on subcommand",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "doctor",
        arity: 2,
        flags: 0,
        keys: KeySpec::None,
        since: "4.0.0",
        summary: "Says what is wrong with memory",
        run: Run::Keyspace(doctor),
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: LOADING | STALE,
        keys: KeySpec::None,
        since: "4.0.0",
        summary: "Lists the subcommands",
        run: Run::Keyspace(help),
        ..ROW
    },
    Command {
        name: "malloc-stats",
        arity: 2,
        flags: 0,
        keys: KeySpec::None,
        since: "4.0.0",
        summary: "Figures of the allocator",
        complexity: "Depends on how much memory is allocated, could be slow",
        run: Run::Keyspace(malloc_stats),
        ..ROW
    },
    Command {
        name: "purge",
        arity: 2,
        flags: 0,
        keys: KeySpec::None,
        since: "4.0.0",
        summary: "Asks the allocator to release memory",
        complexity: "Depends on how much memory is allocated, could be slow",
        run: Run::Keyspace(purge),
        ..ROW
    },
    Command {
        name: "stats",
        arity: 2,
        flags: 0,
        keys: KeySpec::None,
        since: "4.0.0",
        summary: "Figures of memory",
        run: Run::Keyspace(stats),
        ..ROW
    },
    Command {
        name: "usage",
        arity: -3,
        flags: READONLY,
        since: "4.0.0",
        summary: "Estimates what a key costs in memory",
        complexity: "O(N) where N is the number of samples",
        run: Run::Data(usage),
        ..ROW
    },
];

fn usage(call: &mut Call<'_, '_>) -> CommandResult {
    let mut rest = &call.args[3..];
    while let [word, samples, after @ ..] = rest {
        // Nothing is sampled here; the number is read because it may be wrong.
        if !is(word, "samples") || integer(samples)? < 0 {
            return Err(CommandError::Syntax);
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(CommandError::Syntax);
    }
    match call.txn.memory_usage(&call.keys[0]) {
        Some(bytes) => call.reply.integer(bytes as i64),
        None => call.reply.null(),
    }
    Ok(())
}

/// A text for humans: a verbatim string in RESP3.
fn text(reply: &mut Reply, text: &str) {
    if reply.protocol() == Protocol::Resp2 {
        return reply.bulk(text.as_bytes());
    }
    let verbatim = format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
    reply.bytes_mut().extend_from_slice(verbatim.as_bytes());
}

fn doctor(call: &mut KeyspaceCall<'_>) -> CommandResult {
    let bytes = call.db.stats().memory_bytes;
    text(
        call.reply,
        &format!("Keys, values and index take {bytes} bytes. Nothing is known to be wrong with them."),
    );
    Ok(())
}

fn malloc_stats(call: &mut KeyspaceCall<'_>) -> CommandResult {
    text(call.reply, "Stats not supported for the current allocator");
    Ok(())
}

/// The allocator releases memory by itself.
fn purge(call: &mut KeyspaceCall<'_>) -> CommandResult {
    call.reply.ok();
    Ok(())
}

fn stats(call: &mut KeyspaceCall<'_>) -> CommandResult {
    let bytes = call.db.stats().memory_bytes;
    let keys: usize = (0..sessile::DATABASES).map(|database| call.db.len_of(database)).sum();
    let figures = [
        ("keys.count", keys as u64),
        ("keys.bytes-per-key", bytes / (keys as u64).max(1)),
        ("dataset.bytes", bytes),
    ];
    call.reply.map(figures.len());
    for (name, figure) in figures {
        call.reply.bulk(name.as_bytes());
        call.reply.integer(figure.min(i64::MAX as u64) as i64);
    }
    Ok(())
}

fn help(call: &mut KeyspaceCall<'_>) -> CommandResult {
    write_help(call.reply, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
    "HELP",
    "    Prints this help.",
];
