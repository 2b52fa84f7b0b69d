//! `COMMAND`: the command table, as clients ask for it.

use super::args::is;
use super::dispatch::{for_each_key, unknown_subcommand};
use super::flags::{self, LOADING, READONLY, STALE, WRITE};
use super::glob::{Case, matches};
use super::object::write_help;
use super::table::{Entry, table};
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::resp::Reply;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: LOADING | STALE,
    keys: KeySpec::None,
    categories: &["connection"],
    group: "server",
    since: "2.8.13",
    summary: "",
    complexity: "O(N) where N is the total number of commands",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "command",
    arity: -1,
    summary: "Everything about all commands",
    subcommands: SUBCOMMANDS,
    run: Run::Server(command),
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "count",
        arity: 2,
        summary: "How many commands there are",
        complexity: "O(1)",
        run: Run::Server(count),
        ..ROW
    },
    Command {
        name: "docs",
        arity: -2,
        since: "7.0.0",
        summary: "What commands do",
        run: Run::Server(docs),
        ..ROW
    },
    Command {
        name: "getkeys",
        arity: -3,
        summary: "Which arguments of a command are keys",
        complexity: "O(N) where N is the number of arguments",
        run: Run::Server(getkeys),
        ..ROW
    },
    Command {
        name: "getkeysandflags",
        arity: -3,
        since: "7.0.0",
        summary: "Which arguments of a command are keys, and what is done to them",
        complexity: "O(N) where N is the number of arguments",
        run: Run::Server(getkeysandflags),
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        since: "5.0.0",
        summary: "Lists the subcommands",
        complexity: "O(1)",
        run: Run::Server(help),
        ..ROW
    },
    Command {
        name: "info",
        arity: -2,
        summary: "Arity, flags and keys of commands",
        run: Run::Server(info),
        ..ROW
    },
    Command {
        name: "list",
        arity: -2,
        since: "7.0.0",
        summary: "The names of commands",
        run: Run::Server(list),
        ..ROW
    },
];

/// Flags by their names, in Redis's order.
const FLAG_NAMES: &[(u32, &str)] = &[
    (flags::WRITE, "write"),
    (flags::READONLY, "readonly"),
    (flags::DENYOOM, "denyoom"),
    (flags::ADMIN, "admin"),
    (flags::PUBSUB, "pubsub"),
    (flags::NOSCRIPT, "noscript"),
    (flags::BLOCKING, "blocking"),
    (flags::LOADING, "loading"),
    (flags::STALE, "stale"),
    (flags::SKIP_MONITOR, "skip_monitor"),
    (flags::SKIP_SLOWLOG, "skip_slowlog"),
    (flags::FAST, "fast"),
    (flags::NO_AUTH, "no_auth"),
    (flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (flags::NO_MULTI, "no_multi"),
    (flags::MOVABLEKEYS, "movablekeys"),
    (flags::ALLOW_BUSY, "allow_busy"),
];

/// ACL categories in Redis's order, and then our own.
pub(crate) const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
    "chat",
    "session",
];

/// Whether a command is in an ACL category: what its row says, and what its flags imply.
pub(crate) fn is_in_category(command: &Command, category: &str) -> bool {
    let has = |flag| command.flags & flag != 0;
    // A container is nothing by itself.
    let runs = !matches!(command.run, Run::Container);
    command.categories.contains(&category) && runs
        || match category {
            // Scripts that only read are no readers, in Redis.
            "read" => has(READONLY) && !command.categories.contains(&"scripting"),
            "write" => has(WRITE),
            "admin" => has(flags::ADMIN),
            "dangerous" => has(flags::ADMIN),
            "pubsub" => has(flags::PUBSUB),
            "blocking" => has(flags::BLOCKING),
            "fast" => has(flags::FAST),
            "slow" => !has(flags::FAST),
            _ => false,
        }
}

fn command(call: &mut ServerCall<'_>) -> CommandResult {
    if let Some(subcommand) = call.args.get(1) {
        let text = unknown_subcommand(&COMMANDS[0], subcommand);
        return Err(CommandError::of(String::from_utf8_lossy(&text).into_owned()));
    }
    let entries = table().entries();
    call.reply.array(entries.len());
    entries.iter().for_each(|entry| write_info(call.reply, entry));
    Ok(())
}

fn count(call: &mut ServerCall<'_>) -> CommandResult {
    call.reply.integer(table().entries().len() as i64);
    Ok(())
}

fn info(call: &mut ServerCall<'_>) -> CommandResult {
    let names = &call.args[2..];
    if names.is_empty() {
        let entries = table().entries();
        call.reply.array(entries.len());
        entries.iter().for_each(|entry| write_info(call.reply, entry));
        return Ok(());
    }
    call.reply.array(names.len());
    for name in names {
        match table().find_full(name) {
            Some(entry) => write_info(call.reply, entry),
            None => call.reply.null_array(),
        }
    }
    Ok(())
}

/// First key, last key and step, as the old form of the reply has them.
fn positions(keys: KeySpec) -> (i32, i32, i32) {
    match keys {
        KeySpec::None | KeySpec::Sessions(_) => (0, 0, 0),
        KeySpec::Range { first, last, step }
        | KeySpec::Channels { first, last, step }
        | KeySpec::Across { first, last, step, .. } => (first, last, step),
    }
}

/// What a command does to its keys. Rows say no more than whether it reads or writes: a write may do anything.
fn key_flags(command: &Command) -> &'static [&'static str] {
    if matches!(command.keys, KeySpec::Channels { .. }) {
        return &["not_key"];
    }
    if command.flags & WRITE == 0 { &["RO", "access"] } else { &["RW", "access", "update"] }
}

fn write_status_set<'a>(reply: &mut Reply, names: impl Iterator<Item = &'a str>) {
    let names: Vec<&str> = names.collect();
    reply.set(names.len());
    names.into_iter().for_each(|name| reply.simple(name));
}

fn write_info(reply: &mut Reply, entry: &Entry) {
    let command = entry.command;
    let (first, last, step) = positions(command.keys);
    reply.array(10);
    reply.bulk(entry.full_name.as_bytes());
    reply.integer(i64::from(command.arity));
    write_status_set(
        reply,
        FLAG_NAMES.iter().filter(|(flag, _)| command.flags & flag != 0).map(|(_, name)| *name),
    );
    for number in [first, last, step] {
        reply.integer(i64::from(number));
    }
    let categories: Vec<String> = CATEGORIES
        .iter()
        .filter(|category| is_in_category(command, category))
        .map(|category| format!("@{category}"))
        .collect();
    write_status_set(reply, categories.iter().map(String::as_str));
    reply.set(0); // tips
    if first == 0 {
        reply.set(0);
    } else {
        reply.set(1);
        write_key_spec(reply, command, first, last, step);
    }
    reply.set(entry.subcommands.len());
    entry.subcommands.iter().for_each(|subcommand| write_info(reply, subcommand));
}

fn write_key_spec(reply: &mut Reply, command: &Command, first: i32, last: i32, step: i32) {
    let name = |reply: &mut Reply, name: &str| reply.bulk(name.as_bytes());
    reply.map(3);
    name(reply, "flags");
    write_status_set(reply, key_flags(command).iter().copied());
    name(reply, "begin_search");
    reply.map(2);
    name(reply, "type");
    name(reply, "index");
    name(reply, "spec");
    reply.map(1);
    name(reply, "index");
    reply.integer(i64::from(first));
    name(reply, "find_keys");
    reply.map(2);
    name(reply, "type");
    name(reply, "range");
    name(reply, "spec");
    reply.map(3);
    name(reply, "lastkey");
    reply.integer(i64::from(if last < 0 { last } else { last - first }));
    name(reply, "keystep");
    reply.integer(i64::from(step));
    name(reply, "limit");
    reply.integer(0);
}

fn docs(call: &mut ServerCall<'_>) -> CommandResult {
    let names = &call.args[2..];
    let entries: Vec<&Entry> = if names.is_empty() {
        table().entries().iter().collect()
    } else {
        names.iter().filter_map(|name| table().find_full(name)).collect()
    };
    call.reply.map(entries.len());
    entries.into_iter().for_each(|entry| write_docs(call.reply, entry));
    Ok(())
}

fn write_docs(reply: &mut Reply, entry: &Entry) {
    let command = entry.command;
    reply.bulk(entry.full_name.as_bytes());
    reply.map(if entry.subcommands.is_empty() { 4 } else { 5 });
    for (field, value) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group),
        ("complexity", command.complexity),
    ] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !entry.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(entry.subcommands.len());
        entry.subcommands.iter().for_each(|subcommand| write_docs(reply, subcommand));
    }
}

fn list(call: &mut ServerCall<'_>) -> CommandResult {
    let chosen: Box<dyn Fn(&Entry) -> bool + '_> = match &call.args[2..] {
        [] => Box::new(|_| true),
        [filter, kind, value] if is(filter, "filterby") => {
            let value: &[u8] = value;
            if is(kind, "module") {
                Box::new(|_| false)
            } else if is(kind, "aclcat") {
                let category = String::from_utf8_lossy(value).to_ascii_lowercase();
                Box::new(move |entry| is_in_category(entry.command, &category))
            } else if is(kind, "pattern") {
                Box::new(move |entry| matches(value, entry.full_name.as_bytes(), Case::Insensitive))
            } else {
                return Err(CommandError::Syntax);
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    let all = table().entries().iter().flat_map(|entry| std::iter::once(entry).chain(&entry.subcommands));
    let names: Vec<&str> = all.filter(|entry| chosen(entry)).map(|entry| entry.full_name.as_str()).collect();
    call.reply.array(names.len());
    names.into_iter().for_each(|name| call.reply.bulk(name.as_bytes()));
    Ok(())
}

/// The command that the arguments from the third on make, and the indexes of its keys.
fn find_keys<'a>(call: &ServerCall<'a>) -> Result<(&'static Command, Vec<&'a [u8]>), CommandError> {
    let args = &call.args[2..];
    let entry = table().find(args[0]).ok_or("ERR Invalid command specified")?;
    let entry = match args.get(1) {
        Some(name) if entry.is_container() => {
            entry.subcommand(name).ok_or("ERR Invalid command specified")?
        }
        Some(name) => entry.subcommand(name).unwrap_or(entry),
        None => entry,
    };
    if matches!(entry.command.keys, KeySpec::None | KeySpec::Channels { .. } | KeySpec::Sessions(_)) {
        return Err("ERR The command has no key arguments".into());
    }
    if !entry.takes(args.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    let mut indexes = Vec::new();
    for_each_key(entry.command.keys, args, 0, &mut |_, index| {
        // One argument may name keys in two databases (`MOVE`).
        if indexes.last() != Some(&index) {
            indexes.push(index);
        }
    });
    let keys = indexes.into_iter().filter_map(|index| args.get(index).copied()).collect();
    Ok((entry.command, keys))
}

fn getkeys(call: &mut ServerCall<'_>) -> CommandResult {
    let (_, keys) = find_keys(call)?;
    call.reply.array(keys.len());
    keys.into_iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

fn getkeysandflags(call: &mut ServerCall<'_>) -> CommandResult {
    let (command, keys) = find_keys(call)?;
    call.reply.array(keys.len());
    for key in keys {
        call.reply.array(2);
        call.reply.bulk(key);
        write_status_set(call.reply, key_flags(command).iter().copied());
    }
    Ok(())
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    write_help(
        call.reply,
        &[
            "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "(no subcommand)",
            "    Return details about all Redis commands.",
            "COUNT",
            "    Return the total number of commands in this Redis server.",
            "LIST",
            "    Return a list of all commands in this Redis server.",
            "INFO [<command-name> ...]",
            "    Return details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "DOCS [<command-name> ...]",
            "    Return documentation details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "GETKEYS <full-command>",
            "    Return the keys from a full Redis command.",
            "GETKEYSANDFLAGS <full-command>",
            "    Return the keys and the access flags from a full Redis command.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}
