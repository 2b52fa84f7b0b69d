//! Groups of consumers that share the entries of a stream: making and removing them, and reading as part of one. What was delivered and not
//! acknowledged is in `stream_pending`.

use super::args::{c_string, integer, is};
use super::flags::{BLOCKING, DENYOOM, LOADING, MOVABLEKEYS, STALE, WRITE};
use super::object::write_help;
use super::stream::{ROW, write_entry, write_range};
use super::stream_read::{Options, keys_of_streams, timeout, write_name, write_streams};
use super::{
    Blocking, Call, Command, CommandError, CommandResult, KeySpec, KeyspaceCall, Run, Served, stream_id,
};
use crate::notify::STREAM;
use crate::resp::Reply;
use sessile::{StreamGroup, StreamId, StreamView};

const ON_SECOND: Command =
    Command { keys: KeySpec::Range { first: 2, last: 2, step: 1 }, flags: WRITE, ..ROW };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "xgroup",
        arity: -2,
        keys: KeySpec::None,
        categories: &[],
        summary: "Makes, changes and removes groups of consumers",
        complexity: "Depends on subcommand",
        subcommands: &[
            Command {
                name: "create",
                arity: -5,
                flags: WRITE | DENYOOM,
                summary: "Makes a group of consumers",
                run: Run::Data(create),
                ..ON_SECOND
            },
            Command {
                name: "createconsumer",
                arity: 5,
                flags: WRITE | DENYOOM,
                since: "6.2.0",
                summary: "Makes a consumer of a group",
                run: Run::Data(create_consumer),
                ..ON_SECOND
            },
            Command {
                name: "delconsumer",
                arity: 5,
                summary: "Removes a consumer of a group, and what it has not acknowledged",
                complexity: "O(N log(M)) where N is the number of entries the consumer has not acknowledged, and M that of the group",
                run: Run::Data(delete_consumer),
                ..ON_SECOND
            },
            Command {
                name: "destroy",
                arity: 4,
                summary: "Removes a group of consumers",
                complexity: "O(N) where N is the number of entries that are not acknowledged",
                run: Run::Data(destroy),
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
                name: "setid",
                arity: -5,
                summary: "Sets the last id that a group was delivered",
                run: Run::Data(set_id),
                ..ON_SECOND
            },
        ],
        ..ROW
    },
    Command {
        name: "xreadgroup",
        arity: -7,
        flags: WRITE | BLOCKING | MOVABLEKEYS,
        keys: KeySpec::Across { first: 0, last: 0, step: 0, find: keys_of_streams },
        summary: "Reads entries of several streams as a consumer of a group, or waits for some",
        complexity: "O(log(C)) for each stream, where C is the number of its chunks, and O(N log(M)) for the N entries returned, where M is the number of entries not acknowledged",
        run: Run::Blocking(Blocking {
            attempt: xreadgroup,
            timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
];

/// An error that quotes the arguments of which Redis quotes what C's string functions see.
pub(super) fn no_group(before: &str, one: &[u8], between: &str, other: &[u8], after: &str) -> CommandError {
    let parts: [&[u8]; 5] =
        [before.as_bytes(), c_string(one), between.as_bytes(), c_string(other), after.as_bytes()];
    CommandError::Bytes(parts.concat())
}

/// The error of a command that needs a group.
pub(super) fn no_key_or_group(key: &[u8], group: &[u8]) -> CommandError {
    no_group("NOGROUP No such key '", key, "' or consumer group '", group, "'")
}

/// The error of a subcommand whose options make no sense.
pub(super) fn subcommand_syntax(args: &[&[u8]], command: &str) -> CommandError {
    let name = c_string(args[1]);
    let name = &name[..name.len().min(128)];
    let before: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
    CommandError::Bytes([before, name, b"'. Try ", command.as_bytes(), b" HELP."].concat())
}

/// Whether a deleted entry may be among those from `start` on.
fn has_gaps(stream: StreamView<'_>, start: StreamId) -> bool {
    let deleted = stream.state().max_deleted_id;
    // What was deleted before the first entry leaves no gap any more.
    stream.first_id().is_some_and(|first| first <= deleted) && start <= deleted
}

/// How many entries were added up to an id, if that can be told.
fn entries_up_to(stream: StreamView<'_>, id: StreamId) -> Option<u64> {
    let state = stream.state();
    if state.entries_added == 0 {
        return Some(0);
    }
    if stream.is_empty() && id <= state.last_id {
        return Some(state.entries_added);
    }
    if id == state.last_id {
        return Some(state.entries_added);
    }
    if id > state.last_id {
        return None;
    }
    // Nothing has been deleted but at the front.
    let first = stream.first_id().unwrap_or_default();
    if state.max_deleted_id == StreamId::MIN || state.max_deleted_id < first {
        let before = state.entries_added.saturating_sub(stream.len() as u64);
        if id < first {
            return Some(before);
        }
        if id == first {
            return Some(before + 1);
        }
    }
    None
}

/// How many entries a group has not been delivered yet, if that can be told.
pub(super) fn lag(stream: StreamView<'_>, group: StreamGroup<'_>) -> Option<i64> {
    let added = stream.state().entries_added;
    if added == 0 {
        return Some(0);
    }
    let read = match group.entries_read() {
        Some(read) if !has_gaps(stream, group.last_id()) => read,
        _ => entries_up_to(stream, group.last_id())?,
    };
    Some(added.wrapping_sub(read) as i64)
}

/// The options behind the id: whether to make the stream, and how many entries were read.
fn options(call: &Call<'_, '_>, makes: bool) -> Result<(bool, Option<u64>), CommandError> {
    let (mut make, mut read, mut at) = (false, None, 5);
    while let Some(option) = call.args.get(at) {
        if makes && is(option, "mkstream") {
            make = true;
        } else if is(option, "entriesread")
            && let Some(value) = call.args.get(at + 1)
        {
            read =
                match integer(value)? {
                    -1 => None,
                    number => Some(u64::try_from(number).map_err(|_| {
                        CommandError::from("ERR value for ENTRIESREAD must be positive or -1")
                    })?),
                };
            at += 1;
        } else {
            return Err(subcommand_syntax(call.args, "XGROUP"));
        }
        at += 1;
    }
    Ok((make, read))
}

/// The stream, which must be there.
fn stream<'t>(call: &'t Call<'_, '_>) -> Result<StreamView<'t>, CommandError> {
    call.txn.stream(&call.keys[0])?.ok_or_else(|| {
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.".into()
    })
}

/// The group, which must be there.
fn group<'t>(call: &'t Call<'_, '_>) -> Result<StreamGroup<'t>, CommandError> {
    let (key, name) = (call.args[2], call.args[3]);
    let found = stream(call)?.group(name);
    found.ok_or_else(|| no_group("NOGROUP No such consumer group '", name, "' for key name '", key, "'"))
}

/// The argument that says up to where a group was delivered.
fn delivered_id(call: &Call<'_, '_>) -> Result<StreamId, CommandError> {
    match call.args[4] {
        b"$" => Ok(call.txn.stream(&call.keys[0])?.map_or(StreamId::MIN, |stream| stream.state().last_id)),
        argument => stream_id::id(argument),
    }
}

fn create(call: &mut Call<'_, '_>) -> CommandResult {
    let (make, read) = options(call, true)?;
    let (key, name) = (&call.keys[0], call.args[3]);
    let found = call.txn.stream(key)?.map(|stream| stream.group(name).is_some());
    if !make {
        stream(call)?;
    }
    if call.args.len() > 8 {
        return Err(subcommand_syntax(call.args, "XGROUP"));
    }
    let id = delivered_id(call)?;
    match found {
        Some(true) => return Err("BUSYGROUP Consumer Group name already exists".into()),
        Some(false) => {}
        None => call.txn.stream_create(key),
    }
    call.txn.stream_put_group(key, name, id, read)?;
    call.reply.ok();
    call.notify(STREAM, "xgroup-create", 0);
    Ok(())
}

fn set_id(call: &mut Call<'_, '_>) -> CommandResult {
    let (_, read) = options(call, false)?;
    group(call)?;
    if !matches!(call.args.len(), 5 | 7) {
        return Err(subcommand_syntax(call.args, "XGROUP"));
    }
    let id = delivered_id(call)?;
    call.txn.stream_set_group(&call.keys[0], call.args[3], id, read)?;
    call.reply.ok();
    call.notify(STREAM, "xgroup-setid", 0);
    Ok(())
}

fn destroy(call: &mut Call<'_, '_>) -> CommandResult {
    let there = stream(call)?.group(call.args[3]).is_some();
    if there {
        call.txn.stream_drop_group(&call.keys[0], call.args[3])?;
        call.notify(STREAM, "xgroup-destroy", 0);
    }
    call.reply.integer(i64::from(there));
    Ok(())
}

fn create_consumer(call: &mut Call<'_, '_>) -> CommandResult {
    let new = group(call)?.consumer(call.args[4]).is_none();
    if new {
        see_consumer(call, 0, call.args[3], call.args[4])?;
    }
    call.reply.integer(i64::from(new));
    Ok(())
}

fn delete_consumer(call: &mut Call<'_, '_>) -> CommandResult {
    let pending = group(call)?.consumer(call.args[4]).map(|consumer| consumer.pending);
    if pending.is_some() {
        call.txn.stream_drop_consumer(&call.keys[0], call.args[3], call.args[4])?;
        call.notify(STREAM, "xgroup-delconsumer", 0);
    }
    call.reply.integer(pending.unwrap_or(0) as i64);
    Ok(())
}

/// Notes that a consumer was heard of, and makes it one if it is none. The group is there.
pub(super) fn see_consumer(
    call: &mut Call<'_, '_>,
    index: usize,
    group: &[u8],
    consumer: &[u8],
) -> CommandResult {
    let key = &call.keys[index];
    let found = call.txn.stream(key)?.and_then(|stream| stream.group(group));
    let new = found.is_some_and(|found| found.consumer(consumer).is_none());
    call.txn.stream_see_consumer(key, group, consumer)?;
    if new {
        call.notify(STREAM, "xgroup-createconsumer", index);
    }
    Ok(())
}

/// The id behind which a consumer's own entries are read; none for those that nobody was delivered.
fn history_from(
    call: &mut Call<'_, '_>,
    index: usize,
    name: &[u8],
    argument: &[u8],
) -> Result<Option<StreamId>, CommandError> {
    let key = &call.keys[index];
    let stream = call.txn.stream(key)?;
    let (found, group) = (stream.is_some(), stream.and_then(|stream| stream.group(name)).is_some());
    call.looked_up(index, found);
    if !group {
        let key = call.keys[index].bytes();
        let after = "' in XREADGROUP with GROUP option";
        return Err(no_group("NOGROUP No such key '", key, "' or consumer group '", name, after));
    }
    match argument {
        b"$" => Err("ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.".into()),
        b">" => Ok(None),
        _ => stream_id::id(argument).map(|id| Some(id).filter(|&id| id != StreamId::MAX)),
    }
}

fn xreadgroup(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    let args = call.args;
    let options = Options::parse(args, true)?;
    let Some((group, consumer)) = options.group else { return Err(CommandError::Syntax) };
    let mut from = Vec::with_capacity(call.keys.len());
    for (index, argument) in args[options.ids..].iter().enumerate() {
        from.push(history_from(call, index, group, argument)?);
    }
    let mut streams = Reply::new(call.reply.protocol());
    let mut count = 0;
    for (index, history) in from.into_iter().enumerate() {
        let stream = call.txn.stream(&call.keys[index])?;
        let last = stream.and_then(|stream| stream.group(group)).map(|group| group.last_id());
        let new = stream.and_then(|stream| stream.last_entry_id()) > last;
        let found = stream.is_some();
        call.looked_up(index, found);
        if history.is_none() && !new {
            continue;
        }
        count += 1;
        write_name(&mut streams, call.keys[index].bytes());
        see_consumer(call, index, group, consumer)?;
        match history {
            Some(after) => read_history(call, index, &mut streams, &options, after)?,
            None => read_new(call, index, &mut streams, &options)?,
        }
    }
    match count {
        0 if options.wait.is_some() => return Ok(Served::NotYet),
        0 => call.reply.null_array(),
        _ => write_streams(call.reply, &streams, count),
    }
    Ok(Served::Yes)
}

/// Delivers entries that nobody was delivered.
fn read_new(
    call: &mut Call<'_, '_>,
    index: usize,
    reply: &mut Reply,
    options: &Options<'_>,
) -> CommandResult {
    let (key, now_ms) = (&call.keys[index], call.txn.now_ms());
    let Some((name, consumer)) = options.group else { return Ok(()) };
    let Some(stream) = call.txn.stream(key)? else { return Ok(()) };
    let Some(group) = stream.group(name) else { return Ok(()) };
    let (mut last, mut read) = (group.last_id(), group.entries_read());
    let Some(start) = last.next() else { return Ok(()) };
    let mut delivered = Vec::new();
    write_range(reply, stream, start..=StreamId::MAX, false, options.most, &mut |id| {
        read = match read {
            Some(read) if !has_gaps(stream, id) => Some(read + 1),
            _ => entries_up_to(stream, id),
        };
        last = id;
        delivered.push((id, now_ms, 1));
    });
    call.txn.stream_set_group(key, name, last, read)?;
    if !options.no_ack {
        call.txn.stream_assign(key, name, consumer, &delivered)?;
    }
    Ok(())
}

/// Delivers again what the consumer has not acknowledged.
fn read_history(
    call: &mut Call<'_, '_>,
    index: usize,
    reply: &mut Reply,
    options: &Options<'_>,
    after: StreamId,
) -> CommandResult {
    let (key, now_ms) = (&call.keys[index], call.txn.now_ms());
    let Some((name, consumer)) = options.group else { return Ok(()) };
    let Some(stream) = call.txn.stream(key)? else { return Ok(()) };
    let Some(group) = stream.group(name) else { return Ok(()) };
    let Some(start) = after.next() else { return Ok(()) };
    let most = options.most.unwrap_or(usize::MAX);
    let pending: Vec<_> = group.pending_from(start, Some(consumer)).take(most).collect();
    reply.array(pending.len());
    let mut delivered = Vec::new();
    for pending in pending {
        match stream.get(pending.id) {
            Some(entry) => {
                write_entry(reply, &entry);
                delivered.push((pending.id, now_ms, pending.count.saturating_add(1)));
            }
            None => {
                reply.array(2);
                stream_id::write(reply, pending.id);
                reply.null_array();
            }
        }
    }
    call.txn.stream_assign(key, name, consumer, &delivered)?;
    Ok(())
}

fn help(call: &mut KeyspaceCall<'_>) -> CommandResult {
    write_help(call.reply, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
    "HELP",
    "    Prints this help.",
];
