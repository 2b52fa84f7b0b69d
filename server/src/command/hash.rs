//! Hashes: setting, reading and counting fields. Random fields and walks are in `hash_pick`.

use super::args::{integer, wrong_arity};
use super::counter::{NOT_FINITE, OVERFLOW};
use super::extended::Extended;
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::number::parse_integer;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};

use crate::notify::{GENERIC, HASH};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["hash"],
    group: "hash",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "hset",
        arity: -4,
        flags: WRITE | DENYOOM | FAST,
        since: "2.0.0",
        summary: "Sets fields of a hash",
        complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs",
        run: Run::Data(hset),
        ..ROW
    },
    Command {
        name: "hsetnx",
        arity: 4,
        flags: WRITE | DENYOOM | FAST,
        since: "2.0.0",
        summary: "Sets a field of a hash unless it exists",
        run: Run::Data(hsetnx),
        ..ROW
    },
    Command {
        name: "hmset",
        arity: -4,
        flags: WRITE | DENYOOM | FAST,
        since: "2.0.0",
        summary: "Sets fields of a hash",
        complexity: "O(N) where N is the number of fields being set",
        run: Run::Data(hmset),
        ..ROW
    },
    Command {
        name: "hget",
        arity: 3,
        flags: READONLY | FAST,
        since: "2.0.0",
        summary: "A field of a hash",
        run: Run::Data(hget),
        ..ROW
    },
    Command {
        name: "hmget",
        arity: -3,
        flags: READONLY | FAST,
        since: "2.0.0",
        summary: "Several fields of a hash",
        complexity: "O(N) where N is the number of fields being requested",
        run: Run::Data(hmget),
        ..ROW
    },
    Command {
        name: "hgetall",
        arity: 2,
        flags: READONLY,
        since: "2.0.0",
        summary: "All fields and values of a hash",
        complexity: "O(N) where N is the size of the hash",
        run: Run::Data(hgetall),
        ..ROW
    },
    Command {
        name: "hkeys",
        arity: 2,
        flags: READONLY,
        since: "2.0.0",
        summary: "All fields of a hash",
        complexity: "O(N) where N is the size of the hash",
        run: Run::Data(hkeys),
        ..ROW
    },
    Command {
        name: "hvals",
        arity: 2,
        flags: READONLY,
        since: "2.0.0",
        summary: "All values of a hash",
        complexity: "O(N) where N is the size of the hash",
        run: Run::Data(hvals),
        ..ROW
    },
    Command {
        name: "hlen",
        arity: 2,
        flags: READONLY | FAST,
        since: "2.0.0",
        summary: "The number of fields of a hash",
        run: Run::Data(hlen),
        ..ROW
    },
    Command {
        name: "hexists",
        arity: 3,
        flags: READONLY | FAST,
        since: "2.0.0",
        summary: "Whether a hash has a field",
        run: Run::Data(hexists),
        ..ROW
    },
    Command {
        name: "hdel",
        arity: -3,
        flags: WRITE | FAST,
        since: "2.0.0",
        summary: "Removes fields of a hash",
        complexity: "O(N) where N is the number of fields to be removed",
        run: Run::Data(hdel),
        ..ROW
    },
    Command {
        name: "hstrlen",
        arity: 3,
        flags: READONLY | FAST,
        since: "3.2.0",
        summary: "The length of the value of a field",
        run: Run::Data(hstrlen),
        ..ROW
    },
    Command {
        name: "hincrby",
        arity: 4,
        flags: WRITE | DENYOOM | FAST,
        since: "2.0.0",
        summary: "Adds to the integer in a field of a hash",
        run: Run::Data(hincrby),
        ..ROW
    },
    Command {
        name: "hincrbyfloat",
        arity: 4,
        flags: WRITE | DENYOOM | FAST,
        since: "2.6.0",
        summary: "Adds to the float in a field of a hash",
        run: Run::Data(hincrbyfloat),
        ..ROW
    },
];

/// Sets all pairs from argument 2 on; how many fields are new.
fn set_pairs(call: &mut Call<'_, '_>, command: &str) -> Result<i64, CommandError> {
    let (pairs, []) = call.args[2..].as_chunks::<2>() else { return Err(wrong_arity(command)) };
    Ok(call.txn.hash_set_all(&call.keys[0], pairs)? as i64)
}

/// How many fields the hash has that is about to be read.
pub(super) fn length_to_read(call: &mut Call<'_, '_>) -> Result<usize, CommandError> {
    let fields = call.txn.hash_len(&call.keys[0])?;
    // There is no empty hash.
    call.looked_up(0, fields > 0);
    Ok(fields)
}

fn hset(call: &mut Call<'_, '_>) -> CommandResult {
    let new = set_pairs(call, "hset")?;
    call.notify(HASH, "hset", 0);
    call.reply.integer(new);
    Ok(())
}

fn hmset(call: &mut Call<'_, '_>) -> CommandResult {
    set_pairs(call, "hmset")?;
    call.notify(HASH, "hset", 0);
    call.reply.ok();
    Ok(())
}

fn hsetnx(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, field) = (&call.keys[0], call.args[2]);
    let absent = call.txn.hash_get(key, field)?.is_none();
    if absent {
        call.txn.hash_set(key, field, call.args[3])?;
        call.notify(HASH, "hset", 0);
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

fn hget(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let value = call.txn.hash_get(key, call.args[2])?;
    // A field that is not there says nothing of the key.
    let found = value.is_some() || call.txn.exists(key);
    call.reply.bulk_or_null(value);
    call.looked_up(0, found);
    Ok(())
}

fn hmget(call: &mut Call<'_, '_>) -> CommandResult {
    let (fields, reply) = (&call.args[2..], &mut *call.reply);
    reply.array(fields.len());
    let found = call.txn.hash_get_each(&call.keys[0], fields, &mut |value| reply.bulk_or_null(value))?;
    call.looked_up(0, found);
    Ok(())
}

fn hgetall(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let fields = length_to_read(call)?;
    let reply = &mut *call.reply;
    reply.map(fields);
    call.txn.hash_for_each(key, &mut |field, value| {
        reply.bulk(field);
        reply.bulk(value);
    })?;
    Ok(())
}

fn hkeys(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let fields = length_to_read(call)?;
    let reply = &mut *call.reply;
    reply.array(fields);
    call.txn.hash_for_each(key, &mut |field, _| reply.bulk(field))?;
    Ok(())
}

fn hvals(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let fields = length_to_read(call)?;
    let reply = &mut *call.reply;
    reply.array(fields);
    call.txn.hash_for_each(key, &mut |_, value| reply.bulk(value))?;
    Ok(())
}

fn hlen(call: &mut Call<'_, '_>) -> CommandResult {
    let fields = length_to_read(call)?;
    call.reply.integer(fields as i64);
    Ok(())
}

fn hexists(call: &mut Call<'_, '_>) -> CommandResult {
    let there = call.txn.hash_get(&call.keys[0], call.args[2])?.is_some();
    let found = there || call.txn.exists(&call.keys[0]);
    call.looked_up(0, found);
    call.reply.integer(i64::from(there));
    Ok(())
}

fn hdel(call: &mut Call<'_, '_>) -> CommandResult {
    let mut removed = 0;
    for field in &call.args[2..] {
        removed += i64::from(call.txn.hash_remove(&call.keys[0], field)?);
    }
    if removed > 0 {
        call.notify(HASH, "hdel", 0);
        if !call.txn.exists(&call.keys[0]) {
            call.notify(GENERIC, "del", 0);
        }
    }
    call.reply.integer(removed);
    Ok(())
}

fn hstrlen(call: &mut Call<'_, '_>) -> CommandResult {
    let length = call.txn.hash_get(&call.keys[0], call.args[2])?.map(<[u8]>::len);
    let found = length.is_some() || call.txn.exists(&call.keys[0]);
    call.looked_up(0, found);
    call.reply.integer(length.unwrap_or(0) as i64);
    Ok(())
}

fn hincrby(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, field) = (&call.keys[0], call.args[2]);
    let increment = integer(call.args[3])?;
    let before = match call.txn.hash_get(key, field)? {
        None => 0,
        Some(bytes) => parse_integer(bytes).ok_or(CommandError::from("ERR hash value is not an integer"))?,
    };
    let number = before.checked_add(increment).ok_or(OVERFLOW)?;
    call.txn.hash_update(key, field, itoa::Buffer::new().format(number).as_bytes())?;
    call.notify(HASH, "hincrby", 0);
    call.reply.integer(number);
    Ok(())
}

fn hincrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, field) = (&call.keys[0], call.args[2]);
    let increment = Extended::parse(call.args[3]).ok_or(CommandError::NotAFloat)?;
    if increment.is_infinite() {
        return Err("ERR value is NaN or Infinity".into());
    }
    let before = match call.txn.hash_get(key, field)? {
        None => Extended::ZERO,
        Some(bytes) => Extended::parse(bytes).ok_or(CommandError::from("ERR hash value is not a float"))?,
    };
    let text = before.add(increment).ok_or(NOT_FINITE)?.to_string();
    call.txn.hash_update(key, field, text.as_bytes())?;
    call.notify(HASH, "hincrbyfloat", 0);
    call.reply.bulk(text.as_bytes());
    Ok(())
}
