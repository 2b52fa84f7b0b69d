//! Walking through a keyspace, counting it, emptying it. No transaction is open here: the engine takes its own short locks.

use super::args::{c_string, integer, is};
use super::dispatch::refusal;
use super::flags::{FAST, READONLY, WRITE};
use super::generic::type_name;
use super::glob::{self, Case};
use super::number::{parse_cursor, parse_integer};
use super::{Command, CommandError, CommandResult, KeySpec, KeyspaceCall, Run};
use crate::resp::Reply;
use sessile::Kind;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::None,
    categories: &["keyspace"],
    group: "generic",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "scan",
        arity: -2,
        flags: READONLY,
        since: "2.8.0",
        summary: "Walks through the keys of a database, some at a time",
        complexity: "O(1) for every call",
        run: Run::Walk(scan),
        ..ROW
    },
    Command {
        name: "keys",
        arity: 2,
        flags: READONLY,
        categories: &["keyspace", "dangerous"],
        since: "1.0.0",
        summary: "All keys of a database that match a pattern",
        complexity: "O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length",
        run: Run::Walk(keys),
        ..ROW
    },
    Command {
        name: "randomkey",
        arity: 1,
        flags: READONLY,
        since: "1.0.0",
        summary: "A key drawn at random",
        run: Run::Walk(randomkey),
        ..ROW
    },
    Command {
        name: "dbsize",
        arity: 1,
        flags: READONLY | FAST,
        since: "1.0.0",
        summary: "The number of keys in a database",
        run: Run::Keyspace(dbsize),
        group: "server",
        ..ROW
    },
    Command {
        name: "flushdb",
        arity: -1,
        flags: WRITE,
        categories: &["keyspace", "dangerous"],
        since: "1.0.0",
        summary: "Removes all keys of a database",
        complexity: "O(N) where N is the number of keys in the selected database",
        run: Run::Keyspace(flushdb),
        group: "server",
        ..ROW
    },
    Command {
        name: "flushall",
        arity: -1,
        flags: WRITE,
        categories: &["keyspace", "dangerous"],
        since: "1.0.0",
        summary: "Removes all keys of all databases",
        complexity: "O(N) where N is the total number of keys in all databases",
        run: Run::Keyspace(flushall),
        group: "server",
        ..ROW
    },
    Command {
        name: "swapdb",
        arity: 3,
        flags: WRITE | FAST,
        categories: &["keyspace", "dangerous"],
        since: "4.0.0",
        summary: "Swaps two databases",
        complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        run: Run::Keyspace(swapdb),
        group: "server",
        ..ROW
    },
];

/// Keys that `KEYS` looks at in one go, so that no shard is held for long.
pub(crate) const KEYS_A_STEP: usize = 1000;
fn swapdb(call: &mut KeyspaceCall<'_>) -> CommandResult {
    let (one, other) = swapped(call.args)?;
    call.lsn = call.keyspace.swap(one, other).map_err(|error| CommandError::Text(refusal(&error).into()))?;
    call.reply.ok();
    Ok(())
}

/// The databases that a `SWAPDB` swaps.
///
/// # Errors
/// What is wrong with its arguments.
pub(super) fn swapped(args: &[&[u8]]) -> Result<(u8, u8), CommandError> {
    let number = |index: usize, error: &'static str| {
        let number = args.get(index).and_then(|number| parse_integer(number));
        number.and_then(|number| i32::try_from(number).ok()).ok_or(CommandError::from(error))
    };
    let one = number(1, "ERR invalid first DB index")?;
    let other = number(2, "ERR invalid second DB index")?;
    let database = |number: i32| u8::try_from(number).ok().filter(|&number| number < sessile::DATABASES);
    match (database(one), database(other)) {
        (Some(one), Some(other)) => Ok((one, other)),
        _ => Err("ERR DB index is out of range".into()),
    }
}

/// Keys that `SCAN` looks at unless told, and fields that `HSCAN` does.
const SCAN_COUNT: usize = 10;

/// The cursor of a `SCAN` and its kin.
pub(crate) fn cursor(argument: &[u8]) -> Result<u64, CommandError> {
    parse_cursor(argument).ok_or(CommandError::from("ERR invalid cursor"))
}

/// The options of `SCAN` and its kin.
pub(crate) struct ScanOptions<'a> {
    pub(crate) count: usize,
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
    pub(super) no_values: bool,
}

/// Which command the options are for: the type is `SCAN`'s own, leaving values out is `HSCAN`'s.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanOf {
    Keys,
    Fields,
    Members,
}

impl<'a> ScanOptions<'a> {
    /// Reads what follows the cursor.
    pub(crate) fn parse(args: &[&'a [u8]], of: ScanOf) -> Result<ScanOptions<'a>, CommandError> {
        let mut options = ScanOptions { count: SCAN_COUNT, pattern: None, type_name: None, no_values: false };
        let mut rest = args;
        loop {
            rest = match rest {
                [] => return Ok(options),
                [word, count, rest @ ..] if is(word, "count") => {
                    let count = integer(count)?;
                    options.count = match usize::try_from(count) {
                        Ok(count @ 1..) => count,
                        _ => return Err(CommandError::Syntax),
                    };
                    rest
                }
                [word, pattern, rest @ ..] if is(word, "match") => {
                    options.pattern = Some(pattern);
                    rest
                }
                [word, name, rest @ ..] if of == ScanOf::Keys && is(word, "type") => {
                    options.type_name = Some(c_string(name));
                    rest
                }
                [word, rest @ ..] if of == ScanOf::Fields && is(word, "novalues") => {
                    options.no_values = true;
                    rest
                }
                _ => return Err(CommandError::Syntax),
            }
        }
    }

    /// Whether a key or field is wanted.
    pub(crate) fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| everything_or_matches(pattern, name))
    }
}

/// Whether a key of this kind is wanted.
pub(crate) fn is_of_type(options: &ScanOptions<'_>, kind: Kind) -> bool {
    options.type_name.is_none_or(|name| name.eq_ignore_ascii_case(type_name(kind).as_bytes()))
}

/// A lone star matches the empty name too, for which other patterns of stars don't stand in Redis.
pub(crate) fn everything_or_matches(pattern: &[u8], name: &[u8]) -> bool {
    pattern == b"*" || glob::matches(pattern, name, Case::Sensitive)
}

/// Bulk strings gathered before it is known how many there will be.
#[derive(Default)]
pub(crate) struct Gathered {
    body: Reply,
    count: usize,
}

impl Gathered {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.body.bulk(bytes);
        self.count += 1;
    }

    /// Writes them as an array.
    pub(crate) fn write(&self, reply: &mut Reply) {
        reply.array(self.count);
        reply.bytes_mut().extend_from_slice(self.body.bytes());
    }

    /// Writes them as a set.
    pub(super) fn write_set(&self, reply: &mut Reply) {
        reply.set(self.count);
        reply.bytes_mut().extend_from_slice(self.body.bytes());
    }

    /// Writes them as the answer of a scan.
    pub(crate) fn write_scan(&self, next_cursor: u64, reply: &mut Reply) {
        reply.array(2);
        reply.bulk(itoa::Buffer::new().format(next_cursor).as_bytes());
        self.write(reply);
    }
}

/// A step through the keys; what can't be read from disk is an error.
fn step(
    call: &mut KeyspaceCall<'_>,
    cursor: u64,
    count: usize,
    each: &mut dyn FnMut(&[u8], Kind),
) -> Result<u64, CommandError> {
    call.keyspace
        .scan(call.database, cursor, count, each)
        .map_err(|error| CommandError::Text(refusal(&error).into()))
}

/// A key drawn at random.
fn draw(call: &mut KeyspaceCall<'_>) -> Result<Option<Vec<u8>>, CommandError> {
    let drawn = call.keyspace.random_key(call.database, call.random.next());
    drawn.map_err(|error| CommandError::Text(refusal(&error).into()))
}

/// Keys that a walk may look at on an event loop.
const KEYS_AT_ONCE: usize = 10_000;
/// A pattern longer than this takes its time for each key.
const PATTERN_BYTES_SHORT: usize = 256;

/// Whether a walk that is called like this may look at many keys, or long at each.
pub(super) fn may_be_long(args: &[&[u8]]) -> bool {
    match args {
        [name, _, ..] if is(name, "keys") => true,
        [_, _, options @ ..] => {
            let count = ScanOptions::parse(options, ScanOf::Keys).map_or(0, |options| options.count);
            count > KEYS_AT_ONCE || options.iter().any(|option| option.len() > PATTERN_BYTES_SHORT)
        }
        _ => false,
    }
}

/// Whether a walk looks at many keys, or long at each.
pub(super) fn is_long(call: &mut KeyspaceCall<'_>) -> bool {
    let len = call.keyspace.len_of(call.database);
    let is_keys = call.args.first().is_some_and(|name| is(name, "keys"));
    let looked_at = match call.args {
        [_] => 0,
        _ if is_keys => len,
        [_, _, options @ ..] => {
            ScanOptions::parse(options, ScanOf::Keys).map_or(0, |options| options.count.min(len))
        }
        _ => 0,
    };
    let pattern_bytes = call.args.iter().map(|arg| arg.len()).max().unwrap_or(0).max(PATTERN_BYTES_SHORT);
    looked_at.saturating_mul(pattern_bytes) > KEYS_AT_ONCE * PATTERN_BYTES_SHORT
}

fn scan(call: &mut KeyspaceCall<'_>) -> CommandResult {
    let start = cursor(call.args[1])?;
    let options = ScanOptions::parse(&call.args[2..], ScanOf::Keys)?;
    let mut keys = Gathered::default();
    // A shard is locked while its keys are shown.
    let later = options.pattern.is_some_and(|pattern| pattern.len() > PATTERN_BYTES_SHORT);
    let mut unmatched = Vec::new();
    let next = step(call, start, options.count, &mut |key, kind| {
        if is_of_type(&options, kind) {
            if later {
                unmatched.push(key.to_vec());
            } else if options.wants(key) {
                keys.push(key);
            }
        }
    })?;
    unmatched.iter().filter(|key| options.wants(key)).for_each(|key| keys.push(key));
    keys.write_scan(next, call.reply);
    Ok(())
}

fn keys(call: &mut KeyspaceCall<'_>) -> CommandResult {
    let pattern = call.args[1];
    let mut keys = Gathered::default();
    let mut cursor = 0;
    // A shard is locked while its keys are shown.
    let later = pattern.len() > PATTERN_BYTES_SHORT;
    let mut unmatched = Vec::new();
    loop {
        cursor = step(call, cursor, KEYS_A_STEP, &mut |key, _| {
            if later {
                unmatched.push(key.to_vec());
            } else if everything_or_matches(pattern, key) {
                keys.push(key);
            }
        })?;
        let wanted = |key: &Vec<u8>| everything_or_matches(pattern, key);
        unmatched.drain(..).filter(wanted).for_each(|key| keys.push(&key));
        if cursor == 0 {
            break;
        }
    }
    keys.write(call.reply);
    Ok(())
}

fn randomkey(call: &mut KeyspaceCall<'_>) -> CommandResult {
    let key = draw(call)?;
    call.reply.bulk_or_null(key.as_deref());
    Ok(())
}

fn dbsize(call: &mut KeyspaceCall<'_>) -> CommandResult {
    call.reply.integer(call.keyspace.len_of(call.database) as i64);
    Ok(())
}

/// Memory is always freed in steps behind the reply, so both words mean the same here.
fn clear(call: &mut KeyspaceCall<'_>, database: Option<u8>) -> CommandResult {
    match call.args {
        [_] => {}
        [_, how] if is(how, "sync") || is(how, "async") => {}
        _ => return Err(CommandError::Syntax),
    }
    call.lsn = call.keyspace.clear(database).map_err(|error| CommandError::Text(refusal(&error).into()))?;
    call.reply.ok();
    Ok(())
}

fn flushdb(call: &mut KeyspaceCall<'_>) -> CommandResult {
    clear(call, Some(call.database))
}

fn flushall(call: &mut KeyspaceCall<'_>) -> CommandResult {
    clear(call, None)
}
