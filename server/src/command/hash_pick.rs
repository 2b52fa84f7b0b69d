//! Fields of hashes that the server picks: at random, or step by step.

use super::args::{integer_between, is};
use super::flags::READONLY;
use super::hash::length_to_read;
use super::scan::{Gathered, ScanOf, ScanOptions, cursor};
use super::set_pick::REPEATED_BYTES_MAX;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::HASH;
use crate::resp::Protocol;
use std::collections::HashSet;

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
        name: "hrandfield",
        arity: -2,
        flags: READONLY,
        since: "6.2.0",
        summary: "Fields of a hash drawn at random",
        complexity: "O(N) where N is the number of fields returned",
        run: Run::Data(hrandfield),
        ..ROW
    },
    Command {
        name: "hscan",
        arity: -3,
        flags: READONLY,
        since: "2.8.0",
        summary: "Walks through the fields of a hash, some at a time",
        complexity: "O(1) for every call",
        run: Run::Data(hscan),
        ..ROW
    },
];

/// A hash this many times larger than the sample is not walked through to draw it.
const WALK_FACTOR: usize = 3;

fn below(call: &mut Call<'_, '_>, bound: usize) -> usize {
    // The high half of the product is below the bound.
    ((u128::from(call.random.next()) * bound as u128) >> 64) as usize
}

fn hrandfield(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    // Positions are counted among what lives.
    if call.txn.hash_prune(key) > 0 {
        call.notify(HASH, "hexpired", 0);
    }
    if call.args.len() == 2 {
        let length = length_to_read(call)?;
        if length == 0 {
            call.reply.null();
        } else {
            let index = below(call, length);
            call.reply.bulk_or_null(call.txn.hash_nth(key, index)?.map(|(field, _)| field));
        }
        return Ok(());
    }
    let count = integer_between(call.args[2], -i64::MAX, i64::MAX)?;
    let values = match call.args[3..] {
        [] => false,
        [word] if is(word, "withvalues") => true,
        _ => return Err(CommandError::Syntax),
    };
    if values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err("ERR value is out of range".into());
    }
    let length = length_to_read(call)?;
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if length == 0 || wanted == 0 {
        call.reply.array(0);
        Ok(())
    } else if count < 0 {
        draw_with_repeats(call, length, wanted, values)
    } else {
        draw(call, length, wanted.min(length), values)
    }
}

/// The head of the reply: RESP3 has pairs, RESP2 a flat array.
fn head(call: &mut Call<'_, '_>, count: usize, values: bool) {
    let flat = values && call.reply.protocol() == Protocol::Resp2;
    call.reply.array(if flat { count.saturating_mul(2) } else { count });
}

fn write(reply: &mut crate::resp::Reply, field: &[u8], value: &[u8], values: bool) {
    if values && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(field);
    if values {
        reply.bulk(value);
    }
}

/// As many as asked for, however few there are: so the reply is bounded here.
fn draw_with_repeats(call: &mut Call<'_, '_>, length: usize, count: usize, values: bool) -> CommandResult {
    head(call, count, values);
    let reply_bytes_max =
        call.reply.bytes().len().saturating_add(call.settings.proto_max_bulk_len.min(REPEATED_BYTES_MAX));
    for _ in 0..count {
        let index = below(call, length);
        if let Some((field, value)) = call.txn.hash_nth(&call.keys[0], index)? {
            write(call.reply, field, value, values);
        }
        if call.reply.bytes().len() > reply_bytes_max {
            return Err("ERR value is out of range".into());
        }
    }
    Ok(())
}

/// Each field at most once; `count` is at most `length`.
fn draw(call: &mut Call<'_, '_>, length: usize, count: usize, values: bool) -> CommandResult {
    head(call, count, values);
    let key = &call.keys[0];
    if count.saturating_mul(WALK_FACTOR) < length && !call.txn.is_packed(key) {
        // Floyd's: of the positions up to `last`, one that was not drawn yet.
        let mut drawn = HashSet::with_capacity(count);
        for last in length - count..length {
            let index = below(call, last + 1);
            let index = if drawn.insert(index) { index } else { last };
            drawn.insert(index);
            if let Some((field, value)) = call.txn.hash_nth(key, index)? {
                write(call.reply, field, value, values);
            }
        }
        return Ok(());
    }
    let (mut remaining, mut wanted) = (length, count);
    let (txn, reply, random) = (&*call.txn, &mut *call.reply, &mut *call.random);
    txn.hash_for_each(key, &mut |field, value| {
        let drawn = ((u128::from(random.next()) * remaining as u128) >> 64) as usize;
        remaining -= 1;
        if drawn < wanted {
            wanted -= 1;
            write(reply, field, value, values);
        }
    })?;
    Ok(())
}

fn hscan(call: &mut Call<'_, '_>) -> CommandResult {
    let start = cursor(call.args[2])?;
    let key = &call.keys[0];
    let mut found = Gathered::default();
    // No such key: the options are not looked at, as in Redis.
    let next = if length_to_read(call)? == 0 {
        0
    } else {
        let options = ScanOptions::parse(&call.args[3..], ScanOf::Fields)?;
        call.txn.hash_scan(key, start, options.count, &mut |field, value| {
            if options.wants(field) {
                found.push(field);
                if !options.no_values {
                    found.push(value);
                }
            }
        })?
    };
    found.write_scan(next, call.reply);
    Ok(())
}
