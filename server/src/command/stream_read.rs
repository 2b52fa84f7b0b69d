//! `XREAD`: reading the entries of several streams behind certain ids, and waiting for some.

use super::args::{integer, is};
use super::flags::{BLOCKING, MOVABLEKEYS, READONLY};
use super::stream::{ROW, write_range};
use super::waiting::timeout_ms;
use super::{Blocking, Call, Command, CommandError, KeySpec, Run, Served, Timeout, stream_id};
use crate::resp::{Protocol, Reply};
use sessile::StreamId;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "xread",
    arity: -4,
    flags: READONLY | BLOCKING | MOVABLEKEYS,
    keys: KeySpec::Across { first: 0, last: 0, step: 0, find: keys_of_streams },
    summary: "Reads the entries of several streams that are behind certain ids, or waits for some",
    complexity: "O(log(C)) for each stream, where C is the number of its chunks, and O(N) for the N entries returned",
    run: Run::Blocking(Blocking {
        attempt: xread,
        timeout,
        expired: Reply::null_array,
        settle: Some(settle),
    }),
    ..ROW
}];

/// Reports the keys behind the word `STREAMS`: the first half of what follows.
pub(super) fn keys_of_streams(args: &[&[u8]], database: u8, each: &mut dyn FnMut(u8, usize)) {
    let mut at = 1;
    while let Some(word) = args.get(at) {
        if is(word, "block") || is(word, "count") {
            at += 1;
        } else if is(word, "group") {
            at += 2;
        } else if is(word, "streams") {
            let count = args.len() - at - 1;
            if count.is_multiple_of(2) {
                (at + 1..at + 1 + count / 2).for_each(|index| each(database, index));
            }
            return;
        } else if !is(word, "noack") {
            return;
        }
        at += 1;
    }
}

/// What `XREAD` and `XREADGROUP` are asked for.
pub(super) struct Options<'a> {
    pub(super) wait: Option<Timeout>,
    pub(super) most: Option<usize>,
    /// Group and consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) no_ack: bool,
    /// Where the ids begin, one for each key.
    pub(super) ids: usize,
}

impl<'a> Options<'a> {
    pub(super) fn parse(args: &[&'a [u8]], in_group: bool) -> Result<Options<'a>, CommandError> {
        let mut options = Options { wait: None, most: None, group: None, no_ack: false, ids: 0 };
        let mut at = 1;
        while let Some(&word) = args.get(at) {
            let more = args.len() - at - 1;
            if is(word, "block") && more > 0 {
                at += 1;
                options.wait = Some(timeout_ms(args[at])?);
            } else if is(word, "count") && more > 0 {
                at += 1;
                let count = integer(args[at])?;
                options.most = usize::try_from(count).ok().filter(|&count| count > 0);
            } else if is(word, "streams") && more > 0 {
                if !more.is_multiple_of(2) {
                    return Err("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.".into());
                }
                options.ids = at + 1 + more / 2;
                break;
            } else if is(word, "group") && more >= 2 {
                if !in_group {
                    return Err(
                        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."
                            .into(),
                    );
                }
                options.group = Some((args[at + 1], args[at + 2]));
                at += 2;
            } else if is(word, "noack") {
                if !in_group {
                    return Err(
                        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."
                            .into(),
                    );
                }
                options.no_ack = true;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        if options.ids == 0 {
            return Err(CommandError::Syntax);
        }
        if in_group && options.group.is_none() {
            return Err("ERR Missing GROUP option for XREADGROUP".into());
        }
        Ok(options)
    }
}

/// How long it waits.
pub(super) fn timeout(args: &[&[u8]]) -> Result<Timeout, CommandError> {
    let in_group = args.first().is_some_and(|name| is(name, "xreadgroup"));
    // Only one that waits is asked.
    Ok(Options::parse(args, in_group)?.wait.unwrap_or(Timeout::Never))
}

/// Writes how many streams the reply has, a map from their names to their entries.
pub(super) fn write_streams(reply: &mut Reply, streams: &Reply, count: usize) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(count),
        Protocol::Resp3 => reply.map(count),
    }
    reply.bytes_mut().extend_from_slice(streams.bytes());
}

/// Writes a stream's name, before its entries.
pub(super) fn write_name(reply: &mut Reply, name: &[u8]) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(name);
}

/// The id behind which a stream is read: an id, or `$` for its last one.
fn read_from(call: &mut Call<'_, '_>, index: usize, argument: &[u8]) -> Result<StreamId, CommandError> {
    let last = call.txn.stream(&call.keys[index])?.map(|stream| stream.state().last_id);
    call.looked_up(index, last.is_some());
    match argument {
        b"$" => Ok(last.unwrap_or_default()),
        b">" => Err("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.".into()),
        _ => stream_id::id(argument),
    }
}

fn xread(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    let options = Options::parse(call.args, false)?;
    let args = call.args;
    let mut from = Vec::with_capacity(call.keys.len());
    for (index, argument) in args[options.ids..].iter().enumerate() {
        from.push(read_from(call, index, argument)?);
    }
    let mut streams = Reply::new(call.reply.protocol());
    let mut count = 0;
    for (index, after) in from.into_iter().enumerate() {
        let stream = call.txn.stream(&call.keys[index])?;
        let found = stream.is_some();
        if let Some(stream) = stream
            && stream.last_entry_id() > Some(after)
            && let Some(start) = after.next()
        {
            count += 1;
            write_name(&mut streams, call.keys[index].bytes());
            write_range(&mut streams, stream, start..=StreamId::MAX, false, options.most, &mut |_| {});
        }
        call.looked_up(index, found);
    }
    match count {
        0 if options.wait.is_some() => return Ok(Served::NotYet),
        0 => call.reply.null_array(),
        _ => write_streams(call.reply, &streams, count),
    }
    Ok(Served::Yes)
}

/// The arguments of an `XREAD` that begins to wait: `$` is the last id of then.
fn settle(call: &Call<'_, '_>) -> Vec<Box<[u8]>> {
    let mut args: Vec<Box<[u8]>> = call.args.iter().map(|&arg| arg.into()).collect();
    let ids = args.len() - call.keys.len();
    for (key, argument) in call.keys.iter().zip(&mut args[ids..]) {
        if **argument == *b"$" {
            let last = call.txn.stream(key).ok().flatten().map(|stream| stream.state().last_id);
            *argument = stream_id::text(last.unwrap_or_default()).into();
        }
    }
    args
}
