//! `DUMP` and `RESTORE`: a value in the form in which Redis keeps it in its own files, with a checksum.
//!
//! What is written is the oldest form that every Redis since 4.0 reads, one element after the other; only a stream takes the form of Redis 7.0, and a
//! hash whose fields have deadlines that of Redis 7.4. What is read is all that Redis 4.0 to 8.0 write for these types, small encodings and compressed strings included.
//! The bytes come from clients: the [`reader`] takes nothing for granted.

pub mod crc64;
mod listpack;
mod lzf;
pub mod reader;
pub mod stream;
pub mod writer;
mod ziplist;

use super::args::{integer, is};
use super::flags::{DENYOOM, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::GENERIC;
use reader::Value;
use sessile::{HashField, ListEnd, VALUE_BYTES_MAX};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["keyspace"],
    group: "generic",
    since: "2.6.0",
    summary: "",
    complexity: "",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "dump",
        arity: 2,
        flags: READONLY,
        summary: "A value as bytes that RESTORE takes",
        complexity: "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
        run: Run::Data(dump),
        ..ROW
    },
    Command {
        name: "restore",
        arity: -4,
        flags: WRITE | DENYOOM,
        categories: &["keyspace", "dangerous"],
        summary: "Creates a key from what DUMP has said",
        complexity: "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).",
        run: Run::Data(restore),
        ..ROW
    },
];

fn dump(call: &mut Call<'_, '_>) -> CommandResult {
    let payload = writer::dump(call.txn, &call.keys[0])?;
    call.looked_up(0, payload.is_some());
    call.reply.bulk_or_null(payload.as_deref());
    Ok(())
}

/// What `RESTORE` can be told, in any order.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

impl Options {
    fn parse(args: &[&[u8]]) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let (mut idle, mut frequency) = (false, false);
        let mut index = 4;
        while let Some(word) = args.get(index) {
            let value = args.get(index + 1);
            if is(word, "replace") {
                options.replace = true;
            } else if is(word, "absttl") {
                options.absolute = true;
            } else if let Some(value) = value.filter(|_| is(word, "idletime") && !frequency) {
                // Times of access are not kept; what is said of them is checked all the same.
                if integer(value)? < 0 {
                    return Err("ERR Invalid IDLETIME value, must be >= 0".into());
                }
                idle = true;
                index += 1;
            } else if let Some(value) = value.filter(|_| is(word, "freq") && !idle) {
                if !(0..=255).contains(&integer(value)?) {
                    return Err("ERR Invalid FREQ value, must be >= 0 and <= 255".into());
                }
                frequency = true;
                index += 1;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }
}

fn restore(call: &mut Call<'_, '_>) -> CommandResult {
    let options = Options::parse(call.args)?;
    let key = &call.keys[0];
    let now_ms = call.txn.now_ms();
    if !options.replace && call.txn.exists(key) {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl = integer(call.args[2])?;
    if ttl < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    let payload = reader::verify(call.args[3]).ok_or("ERR DUMP payload version or checksum are wrong")?;
    // What it unfolds to has to fit a record of the log, with the key.
    let bytes_max = call.settings.proto_max_bulk_len.min(VALUE_BYTES_MAX).saturating_sub(key.bytes().len());
    let value = reader::read(payload, bytes_max).ok_or("ERR Bad data format")?;
    let deadline_ms = match ttl {
        0 => None,
        // As in Redis, a sum that is too large is in the past.
        ttl if options.absolute => Some(ttl as u64),
        ttl => Some(u64::try_from(ttl.wrapping_add_unsigned(now_ms)).unwrap_or(0)),
    };
    let replaced = call.txn.delete(key);
    if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
        if replaced {
            call.notify(GENERIC, "del", 0);
        }
    } else {
        put(call, &value, deadline_ms)?;
        call.notify(GENERIC, "restore", 0);
    }
    call.reply.ok();
    Ok(())
}

/// Makes the key, which is not there, hold a value.
fn put(call: &mut Call<'_, '_>, value: &Value, deadline_ms: Option<u64>) -> CommandResult {
    let (key, txn) = (&call.keys[0], &mut *call.txn);
    match value {
        Value::String(bytes) => txn.put_string(key, bytes, deadline_ms),
        Value::List(elements) => {
            let elements: Vec<&[u8]> = elements.iter().collect();
            txn.list_push(key, ListEnd::Back, &elements)?;
        }
        Value::Set(members) => {
            let mut set = txn.new_set();
            for member in members.iter() {
                set.insert(member);
            }
            txn.put_set(key, set, deadline_ms);
        }
        Value::SortedSet { members, scores } => {
            let mut entries: Vec<(f64, &[u8])> = scores.iter().copied().zip(members.iter()).collect();
            txn.sorted_set_put(key, &mut entries);
        }
        Value::Hash { names, values, deadlines_ms } => {
            let fields: Vec<HashField<'_>> = names
                .iter()
                .zip(values.iter())
                .zip(deadlines_ms.iter().copied().chain(std::iter::repeat(None)))
                .map(|((name, value), deadline_ms)| HashField { name, value, deadline_ms })
                .collect();
            txn.hash_put(key, &fields);
        }
        Value::Stream(stream) => stream::restore(txn, key, stream)?,
    }
    if deadline_ms.is_some() && !matches!(value, Value::String(_) | Value::Set(_)) {
        txn.set_deadline(key, deadline_ms);
    }
    Ok(())
}
