//! `XINFO`: what there is to know of a stream, its groups and their consumers.

use super::args::{integer, is};
use super::flags::{LOADING, READONLY, STALE};
use super::object::write_help;
use super::stream::{ROW, write_entry, write_range};
use super::stream_group::{lag, no_group, subcommand_syntax};
use super::{Call, Command, CommandError, CommandResult, KeySpec, KeyspaceCall, Run, stream_id};
use crate::resp::Reply;
use sessile::{StreamGroup, StreamId, StreamView};
use std::ops::ControlFlow;

const ON_SECOND: Command =
    Command { keys: KeySpec::Range { first: 2, last: 2, step: 1 }, flags: READONLY, ..ROW };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "xinfo",
    arity: -2,
    keys: KeySpec::None,
    categories: &[],
    summary: "What there is to know of a stream",
    complexity: "Depends on subcommand",
    subcommands: &[
        Command {
            name: "consumers",
            arity: 4,
            summary: "The consumers of a group",
            complexity: "O(N) where N is the number of consumers",
            run: Run::Data(consumers),
            ..ON_SECOND
        },
        Command {
            name: "groups",
            arity: 3,
            summary: "The groups of a stream",
            complexity: "O(N) where N is the number of groups",
            run: Run::Data(groups),
            ..ON_SECOND
        },
        Command {
            name: "help",
            arity: 2,
            flags: LOADING | STALE,
            keys: KeySpec::None,
            summary: "Tells what the subcommands do",
            run: Run::Keyspace(help),
            ..ROW
        },
        Command {
            name: "stream",
            arity: -3,
            summary: "Figures of a stream, and on request its entries and groups",
            complexity: "O(N) where N is the number of entries, groups and consumers returned",
            run: Run::Data(stream),
            ..ON_SECOND
        },
    ],
    ..ROW
}];

/// How many entries the long form shows unless it is told.
const SHOWN: usize = 10;

/// The stream, which must be there.
fn existing<'t>(call: &'t Call<'_, '_>) -> Result<StreamView<'t>, CommandError> {
    call.txn.stream(&call.keys[0])?.ok_or("ERR no such key".into())
}

/// Counts the look at the key.
fn look(call: &mut Call<'_, '_>) -> CommandResult {
    let found = call.txn.exists(&call.keys[0]);
    call.looked_up(0, found);
    existing(call).map(|_| ())
}

fn write_id(reply: &mut Reply, name: &str, id: StreamId) {
    reply.bulk(name.as_bytes());
    stream_id::write(reply, id);
}

fn write_number(reply: &mut Reply, name: &str, number: u64) {
    reply.bulk(name.as_bytes());
    reply.integer(number as i64);
}

fn write_number_or_null(reply: &mut Reply, name: &str, number: Option<i64>) {
    reply.bulk(name.as_bytes());
    match number {
        Some(number) => reply.integer(number),
        None => reply.null(),
    }
}

/// The figures that the short and the long form have in common.
fn write_figures(reply: &mut Reply, stream: StreamView<'_>) {
    let state = stream.state();
    write_number(reply, "length", stream.len() as u64);
    // What Redis keeps in a radix tree are the chunks here.
    write_number(reply, "radix-tree-keys", stream.chunks() as u64);
    write_number(reply, "radix-tree-nodes", stream.chunks() as u64 + 1);
    write_id(reply, "last-generated-id", state.last_id);
    write_id(reply, "max-deleted-entry-id", state.max_deleted_id);
    write_number(reply, "entries-added", state.entries_added);
    write_id(reply, "recorded-first-entry-id", stream.first_id().unwrap_or_default());
}

fn write_end(reply: &mut Reply, stream: StreamView<'_>, name: &str, last: bool) {
    reply.bulk(name.as_bytes());
    if stream.is_empty() {
        reply.null();
    }
    stream.visit(StreamId::MIN..=StreamId::MAX, last, &mut |entry| {
        write_entry(reply, &entry);
        ControlFlow::Break(())
    });
}

fn stream(call: &mut Call<'_, '_>) -> CommandResult {
    look(call)?;
    let most = match call.args[3..] {
        [] => None,
        [full] if is(full, "full") => Some(SHOWN),
        [full, count, number] if is(full, "full") && is(count, "count") => {
            Some(usize::try_from(integer(number)?).unwrap_or(SHOWN))
        }
        _ => return Err(subcommand_syntax(call.args, "XINFO")),
    };
    let stream = call.txn.stream(&call.keys[0])?.ok_or(CommandError::from("ERR no such key"))?;
    let reply = &mut *call.reply;
    let Some(most) = most else {
        reply.map(10);
        write_figures(reply, stream);
        write_number(reply, "groups", stream.groups().len() as u64);
        write_end(reply, stream, "first-entry", false);
        write_end(reply, stream, "last-entry", true);
        return Ok(());
    };
    let most = Some(most).filter(|&most| most > 0);
    reply.map(9);
    write_figures(reply, stream);
    reply.bulk(b"entries");
    write_range(reply, stream, StreamId::MIN..=StreamId::MAX, false, most, &mut |_| {});
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        write_group(reply, stream, name, group, most.unwrap_or(usize::MAX));
    }
    Ok(())
}

/// A group in the long form.
fn write_group(reply: &mut Reply, stream: StreamView<'_>, name: &[u8], group: StreamGroup<'_>, most: usize) {
    reply.map(7);
    reply.bulk(b"name");
    reply.bulk(name);
    write_id(reply, "last-delivered-id", group.last_id());
    write_number_or_null(reply, "entries-read", group.entries_read().map(|read| read as i64));
    write_number_or_null(reply, "lag", lag(stream, group));
    write_number(reply, "pel-count", group.pending_len() as u64);
    reply.bulk(b"pending");
    reply.array(group.pending_len().min(most));
    for pending in group.pending_from(StreamId::MIN, None).take(most) {
        reply.array(4);
        stream_id::write(reply, pending.id);
        reply.bulk(pending.consumer);
        reply.integer(pending.delivered_ms as i64);
        reply.integer(pending.count as i64);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumers().len());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name);
        write_number(reply, "seen-time", consumer.seen_ms);
        write_number(reply, "pel-count", consumer.pending as u64);
        reply.bulk(b"pending");
        reply.array(consumer.pending.min(most));
        for pending in group.pending_from(StreamId::MIN, Some(consumer.name)).take(most) {
            reply.array(3);
            stream_id::write(reply, pending.id);
            reply.integer(pending.delivered_ms as i64);
            reply.integer(pending.count as i64);
        }
    }
}

fn groups(call: &mut Call<'_, '_>) -> CommandResult {
    look(call)?;
    let stream = call.txn.stream(&call.keys[0])?.ok_or(CommandError::from("ERR no such key"))?;
    let reply = &mut *call.reply;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        write_number(reply, "consumers", group.consumers().len() as u64);
        write_number(reply, "pending", group.pending_len() as u64);
        write_id(reply, "last-delivered-id", group.last_id());
        write_number_or_null(reply, "entries-read", group.entries_read().map(|read| read as i64));
        write_number_or_null(reply, "lag", lag(stream, group));
    }
    Ok(())
}

fn consumers(call: &mut Call<'_, '_>) -> CommandResult {
    look(call)?;
    let (key, name) = (call.args[2], call.args[3]);
    let stream = call.txn.stream(&call.keys[0])?.ok_or(CommandError::from("ERR no such key"))?;
    let group = stream.group(name);
    let group = group
        .ok_or_else(|| no_group("NOGROUP No such consumer group '", name, "' for key name '", key, "'"))?;
    let reply = &mut *call.reply;
    reply.array(group.consumers().len());
    for consumer in group.consumers() {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(consumer.name);
        write_number(reply, "pending", consumer.pending as u64);
        write_number(reply, "idle", call.txn.now_ms().saturating_sub(consumer.seen_ms));
    }
    Ok(())
}

fn help(call: &mut KeyspaceCall<'_>) -> CommandResult {
    write_help(call.reply, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
    "HELP",
    "    Prints this help.",
];
