//! Streams: adding, reading, removing and trimming entries of one stream. Reading several, and waiting for entries, is in `stream_read`; groups of
//! consumers are in `stream_group`.

use super::args::{integer, is, wrong_arity};
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::stream_id::{self, GivenId};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::STREAM;
use crate::resp::Reply;
use sessile::{StreamBound, StreamEntry, StreamId, StreamState, StreamView};
use std::ops::{ControlFlow, RangeInclusive};

/// A row of this group.
pub(super) const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["stream"],
    group: "stream",
    since: "5.0.0",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "xadd",
        arity: -5,
        flags: WRITE | DENYOOM | FAST,
        summary: "Adds an entry to the end of a stream, and trims it if asked to",
        complexity: "O(1) for the new entry, O(N) with trimming where N is the number of entries removed",
        run: Run::Data(xadd),
        ..ROW
    },
    Command {
        name: "xlen",
        arity: 2,
        flags: READONLY | FAST,
        summary: "The number of entries of a stream",
        run: Run::Data(xlen),
        ..ROW
    },
    Command {
        name: "xrange",
        arity: -4,
        flags: READONLY,
        summary: "The entries of a stream whose ids are in a range",
        complexity: "O(log(C)+N) where C is the number of chunks of the stream and N the number of entries returned",
        run: Run::Data(xrange),
        ..ROW
    },
    Command {
        name: "xrevrange",
        arity: -4,
        flags: READONLY,
        summary: "The entries of a stream whose ids are in a range, from the last one back",
        complexity: "O(log(C)+N) where C is the number of chunks of the stream and N the number of entries returned",
        run: Run::Data(xrevrange),
        ..ROW
    },
    Command {
        name: "xtrim",
        arity: -4,
        flags: WRITE,
        summary: "Removes the oldest entries of a stream down to a length or an id",
        complexity: "O(N) where N is the number of entries removed",
        run: Run::Data(xtrim),
        ..ROW
    },
    Command {
        name: "xdel",
        arity: -3,
        flags: WRITE | FAST,
        summary: "Removes entries of a stream by their ids",
        complexity: "O(log(C)) for each entry, where C is the number of chunks of the stream",
        run: Run::Data(xdel),
        ..ROW
    },
    Command {
        name: "xsetid",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        summary: "Sets the last id of a stream, which later entries are greater than",
        run: Run::Data(xsetid),
        ..ROW
    },
];

/// Up to so many entries are trimmed with `~` unless `LIMIT` says otherwise.
const TRIMMED_MAX: usize = 10_000;

/// How a stream is to be trimmed.
struct Trim {
    bound: StreamBound,
    approximately: bool,
    most: Option<usize>,
}

impl Trim {
    /// Trims; how many entries are gone.
    fn run(&self, call: &mut Call<'_, '_>) -> Result<usize, CommandError> {
        let key = &call.keys[0];
        let Some(stream) = call.txn.stream(key)? else { return Ok(0) };
        let count = stream.beyond(self.bound, self.approximately, self.most);
        call.txn.stream_trim(key, count)?;
        if count > 0 {
            call.notify(STREAM, "xtrim", 0);
        }
        Ok(count)
    }
}

/// The options of `XADD` and `XTRIM`.
struct Options {
    trim: Option<Trim>,
    make: bool,
    /// The id of a new entry, unless the server is to choose.
    id: Option<GivenId>,
    /// Where the options end: at the id.
    end: usize,
}

impl Options {
    fn parse(args: &[&[u8]], adds: bool) -> Result<Options, CommandError> {
        let (mut bound, mut approximately, mut limit) = (None, false, None);
        let (mut make, mut id, mut at) = (true, None, 2);
        while let Some(&option) = args.get(at) {
            let next = args.get(at + 1).copied();
            let star = adds && option.first() == Some(&b'*') && matches!(option.get(1), None | Some(0));
            if star {
                break;
            }
            match next {
                Some(next) if is(option, "maxlen") || is(option, "minid") => {
                    if bound.is_some() {
                        return Err(
                            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
                                .into(),
                        );
                    }
                    let mark = args.get(at + 2).and(Some(next)).filter(|&mark| mark == b"~" || mark == b"=");
                    approximately = mark == Some(b"~");
                    at += 1 + usize::from(mark.is_some());
                    bound = Some(if is(option, "maxlen") {
                        let length = integer(args[at])?;
                        let length = u64::try_from(length)
                            .map_err(|_| CommandError::from("ERR The MAXLEN argument must be >= 0."))?;
                        StreamBound::Length(length)
                    } else {
                        StreamBound::Id(stream_id::id(args[at])?)
                    });
                }
                Some(next) if is(option, "limit") => {
                    let most = integer(next)?;
                    limit = Some(
                        usize::try_from(most)
                            .map_err(|_| CommandError::from("ERR The LIMIT argument must be >= 0."))?,
                    );
                    at += 1;
                }
                _ if adds && is(option, "nomkstream") => make = false,
                _ if adds => {
                    id = Some(stream_id::given_id(option)?);
                    break;
                }
                _ => return Err(CommandError::Syntax),
            }
            at += 1;
        }
        let trim = match bound {
            None if limit.is_some_and(|limit| limit > 0) => {
                return Err(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy".into()
                );
            }
            None if !adds => {
                return Err("ERR syntax error, XTRIM must be called with a trimming strategy".into());
            }
            _ if limit.is_some() && !approximately => {
                return Err("ERR syntax error, LIMIT cannot be used without the special ~ option".into());
            }
            None => None,
            Some(bound) => {
                let most = match limit {
                    None => approximately.then_some(TRIMMED_MAX),
                    Some(limit) => Some(limit).filter(|&limit| limit > 0),
                };
                Some(Trim { bound, approximately, most })
            }
        };
        Ok(Options { trim, make, id, end: at })
    }
}

/// The id of an entry that comes after `last`.
fn next_id(given: Option<GivenId>, last: StreamId, now_ms: u64) -> Result<StreamId, CommandError> {
    const TOO_SMALL: &str =
        "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    let id = match given {
        None if now_ms > last.ms => Some(StreamId { ms: now_ms, seq: 0 }),
        None => last.next(),
        Some(GivenId::Whole(id)) => Some(id),
        Some(GivenId::Time(ms)) if ms == last.ms => match last.seq.checked_add(1) {
            Some(seq) => Some(StreamId { ms, seq }),
            None => return Err("ERR Elements are too large to be stored".into()),
        },
        Some(GivenId::Time(ms)) => Some(StreamId { ms, seq: 0 }),
    };
    id.filter(|&id| id > last).ok_or(TOO_SMALL.into())
}

fn xadd(call: &mut Call<'_, '_>) -> CommandResult {
    let options = Options::parse(call.args, true)?;
    let fields = call.args.get(options.end + 1..).unwrap_or_default();
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(wrong_arity("xadd"));
    }
    if options.id == Some(GivenId::Whole(StreamId::MIN)) {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    let key = &call.keys[0];
    let last = call.txn.stream(key)?.map(|stream| stream.state().last_id);
    if last.is_none() && !options.make {
        call.reply.null();
        return Ok(());
    }
    let last = last.unwrap_or_default();
    if last == StreamId::MAX {
        return Err("ERR The stream has exhausted the last possible ID, unable to add more items".into());
    }
    let id = next_id(options.id, last, call.txn.now_ms())?;
    call.txn.stream_append(key, id, fields)?;
    stream_id::write(call.reply, id);
    call.notify(STREAM, "xadd", 0);
    if let Some(trim) = options.trim {
        trim.run(call)?;
    }
    Ok(())
}

fn xtrim(call: &mut Call<'_, '_>) -> CommandResult {
    let options = Options::parse(call.args, false)?;
    let gone = match options.trim {
        Some(trim) => trim.run(call)?,
        None => 0,
    };
    call.reply.integer(gone as i64);
    Ok(())
}

fn xlen(call: &mut Call<'_, '_>) -> CommandResult {
    let length = call.txn.stream(&call.keys[0])?.map(|stream| stream.len());
    call.looked_up(0, length.is_some());
    call.reply.integer(length.unwrap_or(0) as i64);
    Ok(())
}

/// Writes an entry: its id, and its fields and values.
pub(super) fn write_entry(reply: &mut Reply, entry: &StreamEntry<'_>) {
    reply.array(2);
    stream_id::write(reply, entry.id);
    reply.array(entry.fields().count());
    entry.fields().for_each(|field| reply.bulk(field));
}

/// Writes the entries of a range, no more than `most`, and calls `each` with their ids; how many there are.
pub(super) fn write_range(
    reply: &mut Reply,
    stream: StreamView<'_>,
    range: RangeInclusive<StreamId>,
    reverse: bool,
    most: Option<usize>,
    each: &mut dyn FnMut(StreamId),
) -> usize {
    // How many there are is known only then.
    let mut entries = Reply::new(reply.protocol());
    let mut count = 0;
    stream.visit(range, reverse, &mut |entry| {
        if Some(count) == most {
            return ControlFlow::Break(());
        }
        count += 1;
        each(entry.id);
        write_entry(&mut entries, &entry);
        ControlFlow::Continue(())
    });
    reply.array(count);
    reply.bytes_mut().extend_from_slice(entries.bytes());
    count
}

fn xrange(call: &mut Call<'_, '_>) -> CommandResult {
    let range = stream_id::range(call.args[2], call.args[3])?;
    range_reply(call, range, false)
}

fn xrevrange(call: &mut Call<'_, '_>) -> CommandResult {
    let range = stream_id::range(call.args[3], call.args[2])?;
    range_reply(call, range, true)
}

fn range_reply(call: &mut Call<'_, '_>, range: RangeInclusive<StreamId>, reverse: bool) -> CommandResult {
    let mut most = None;
    let (pairs, rest) = call.args[4..].as_chunks::<2>();
    for [option, count] in pairs {
        if !is(option, "count") {
            return Err(CommandError::Syntax);
        }
        most = Some(usize::try_from(integer(count)?).unwrap_or(0));
    }
    if !rest.is_empty() {
        return Err(CommandError::Syntax);
    }
    let stream = call.txn.stream(&call.keys[0])?;
    match stream {
        None => call.reply.array(0),
        Some(_) if most == Some(0) => call.reply.null_array(),
        Some(stream) => {
            write_range(call.reply, stream, range, reverse, most, &mut |_| {});
        }
    }
    let found = stream.is_some();
    call.looked_up(0, found);
    Ok(())
}

fn xdel(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let mut removed = 0;
    if call.txn.stream(key)?.is_some() {
        let ids = call.args[2..].iter().map(|id| stream_id::id(id)).collect::<Result<Vec<_>, _>>()?;
        removed = call.txn.stream_remove(key, &ids)?;
        if removed > 0 {
            call.notify(STREAM, "xdel", 0);
        }
    }
    call.reply.integer(removed as i64);
    Ok(())
}

fn xsetid(call: &mut Call<'_, '_>) -> CommandResult {
    let last_id = stream_id::id(call.args[2])?;
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    let (pairs, rest) = call.args[3..].as_chunks::<2>();
    for [option, value] in pairs {
        if is(option, "entriesadded") {
            let number = u64::try_from(integer(value)?)
                .map_err(|_| CommandError::from("ERR entries_added must be positive"))?;
            added = Some(number);
        } else if is(option, "maxdeletedid") {
            max_deleted = stream_id::id(value)?;
            if last_id < max_deleted {
                return Err(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id".into(),
                );
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if !rest.is_empty() {
        return Err(CommandError::Syntax);
    }
    let key = &call.keys[0];
    let Some(stream) = call.txn.stream(key)? else { return Err("ERR no such key".into()) };
    let state = stream.state();
    if stream.last_entry_id().is_some_and(|last| last_id < last) {
        return Err("ERR The ID specified in XSETID is smaller than the target stream top item".into());
    }
    if added.is_some_and(|added| added < stream.len() as u64) {
        return Err(
            "ERR The entries_added specified in XSETID is smaller than the target stream length".into()
        );
    }
    let state = StreamState {
        last_id,
        entries_added: added.unwrap_or(state.entries_added),
        max_deleted_id: if max_deleted == StreamId::MIN { state.max_deleted_id } else { max_deleted },
    };
    call.txn.stream_set_state(key, state)?;
    call.reply.ok();
    call.notify(STREAM, "xsetid", 0);
    Ok(())
}
