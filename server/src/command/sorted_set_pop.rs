//! Sorted sets: taking out the members with the lowest or highest scores, waiting for one if need be; members that the server picks.

use super::args::{integer_between, is, positive, positive_or, timeout};
use super::flags::{BLOCKING, FAST, MOVABLEKEYS, NOSCRIPT, READONLY, WRITE};
use super::keys::{counted_from_1, counted_from_2};
use super::scan::{Gathered, ScanOf, ScanOptions, cursor};
use super::set_pick::REPEATED_BYTES_MAX;
use super::sorted_set::{ROW, notify_removed};
use super::{Blocking, Call, Command, CommandError, CommandResult, KeySpec, Run, Served, Timeout};
use crate::resp::{Protocol, Reply};
use std::collections::HashSet;

const POPPED: &str = "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.";
const POPPED_OF_KEYS: &str = "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.";
const POPPED_ONE: &str = "O(log(N)) with N being the number of elements in the sorted set.";

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "zpopmin",
        arity: -2,
        flags: WRITE | FAST,
        since: "5.0.0",
        summary: "Removes and returns the members of a sorted set with the lowest scores",
        complexity: POPPED,
        run: Run::Data(zpopmin),
        ..ROW
    },
    Command {
        name: "zpopmax",
        arity: -2,
        flags: WRITE | FAST,
        since: "5.0.0",
        summary: "Removes and returns the members of a sorted set with the highest scores",
        complexity: POPPED,
        run: Run::Data(zpopmax),
        ..ROW
    },
    Command {
        name: "zmpop",
        arity: -4,
        flags: WRITE | MOVABLEKEYS,
        keys: KeySpec::Across { first: 0, last: 0, step: 0, find: counted_from_1 },
        since: "7.0.0",
        summary: "Removes and returns members of the first of several sorted sets that has any",
        complexity: POPPED_OF_KEYS,
        run: Run::Data(zmpop),
        ..ROW
    },
    Command {
        name: "bzpopmin",
        arity: -3,
        flags: WRITE | NOSCRIPT | BLOCKING | FAST,
        keys: KeySpec::Range { first: 1, last: -2, step: 1 },
        since: "5.0.0",
        summary: "Removes and returns the member with the lowest score of the first of several sorted sets that has any; waits for one",
        complexity: POPPED_ONE,
        run: Run::Blocking(Blocking {
            attempt: bzpopmin,
            timeout: last_timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
    Command {
        name: "bzpopmax",
        arity: -3,
        flags: WRITE | NOSCRIPT | BLOCKING | FAST,
        keys: KeySpec::Range { first: 1, last: -2, step: 1 },
        since: "5.0.0",
        summary: "Removes and returns the member with the highest score of the first of several sorted sets that has any; waits for one",
        complexity: POPPED_ONE,
        run: Run::Blocking(Blocking {
            attempt: bzpopmax,
            timeout: last_timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
    Command {
        name: "bzmpop",
        arity: -5,
        flags: WRITE | BLOCKING | MOVABLEKEYS,
        keys: KeySpec::Across { first: 0, last: 0, step: 0, find: counted_from_2 },
        since: "7.0.0",
        summary: "Removes and returns members of the first of several sorted sets that has any; waits for one",
        complexity: POPPED_OF_KEYS,
        run: Run::Blocking(Blocking {
            attempt: bzmpop,
            timeout: first_timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
    Command {
        name: "zrandmember",
        arity: -2,
        flags: READONLY,
        since: "6.2.0",
        summary: "Members of a sorted set drawn at random",
        complexity: "O(N) where N is the number of elements returned",
        run: Run::Data(zrandmember),
        ..ROW
    },
    Command {
        name: "zscan",
        arity: -3,
        flags: READONLY,
        since: "2.8.0",
        summary: "Walks through the members of a sorted set, some at a time",
        complexity: "O(1) for every call",
        run: Run::Data(zscan),
        ..ROW
    },
];

/// Which end of a sorted set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Least,
    Greatest,
}

/// How popped members are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One flat array.
    Flat,
    /// An array of pairs.
    Pairs,
    /// One flat array that begins with the key.
    KeyAndFlat,
    /// The key, and an array of pairs.
    KeyAndPairs,
}

/// Takes at most `count` members, at least one, from that end of the first key that has any, and writes them; whether one has.
fn pop(call: &mut Call<'_, '_>, end: End, count: usize, form: Form) -> Result<bool, CommandError> {
    let mut found = None;
    for (index, key) in call.keys.iter().enumerate() {
        if let Some(members) = call.txn.sorted_set(key)? {
            found = Some((index, key, members));
            break;
        }
    }
    let Some((index, key, members)) = found else { return Ok(false) };
    let (length, reply) = (members.len(), &mut *call.reply);
    let count = count.min(length);
    match form {
        Form::Flat => reply.array(count * 2),
        Form::Pairs => reply.array(count),
        Form::KeyAndFlat => {
            reply.array(count * 2 + 1);
            reply.bulk(key.bytes());
        }
        Form::KeyAndPairs => {
            reply.array(2);
            reply.bulk(key.bytes());
            reply.array(count);
        }
    }
    let ranks = match end {
        End::Least => 0..count,
        End::Greatest => length - count..length,
    };
    members.for_each(ranks.clone(), end == End::Greatest, &mut |member, score| {
        if matches!(form, Form::Pairs | Form::KeyAndPairs) {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(score);
    });
    if count > 0 {
        call.txn.sorted_set_remove_ranks(key, ranks)?;
        notify_removed(call, if end == End::Least { "zpopmin" } else { "zpopmax" }, index);
    }
    Ok(true)
}

fn pop_of_one(call: &mut Call<'_, '_>, end: End) -> CommandResult {
    let count = match call.args[2..] {
        [] => None,
        [count] => Some(usize::try_from(positive(count)?).unwrap_or(usize::MAX)),
        _ => return Err(CommandError::Syntax),
    };
    let form = match count {
        Some(_) if call.reply.protocol() == Protocol::Resp3 => Form::Pairs,
        _ => Form::Flat,
    };
    if !pop(call, end, count.unwrap_or(1), form)? {
        call.reply.array(0);
    }
    Ok(())
}

fn zpopmin(call: &mut Call<'_, '_>) -> CommandResult {
    pop_of_one(call, End::Least)
}

fn zpopmax(call: &mut Call<'_, '_>) -> CommandResult {
    pop_of_one(call, End::Greatest)
}

/// Reads `numkeys key … MIN|MAX [COUNT count]`, what follows the name of `ZMPOP`: the end and the count.
fn read_many(args: &[&[u8]]) -> Result<(End, usize), CommandError> {
    let at_least_one = |argument: &[u8], error: &'static str| match positive_or(argument, error)? {
        0 => Err(CommandError::from(error)),
        number => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
    };
    let keys = at_least_one(args[0], "ERR numkeys should be greater than 0")?;
    let rest = keys.checked_add(1).and_then(|end| args.get(end..)).unwrap_or_default();
    let (end, mut rest) = match rest {
        [word, rest @ ..] if is(word, "min") => (End::Least, rest),
        [word, rest @ ..] if is(word, "max") => (End::Greatest, rest),
        _ => return Err(CommandError::Syntax),
    };
    let mut count = None;
    while !rest.is_empty() {
        match rest {
            [word, number, after @ ..] if count.is_none() && is(word, "count") => {
                count = Some(at_least_one(number, "ERR count should be greater than 0")?);
                rest = after;
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok((end, count.unwrap_or(1)))
}

fn zmpop(call: &mut Call<'_, '_>) -> CommandResult {
    let (end, count) = read_many(&call.args[1..])?;
    if !pop(call, end, count, Form::KeyAndPairs)? {
        call.reply.null_array();
    }
    Ok(())
}

fn last_timeout(args: &[&[u8]]) -> Result<Timeout, CommandError> {
    timeout(args.last().copied().unwrap_or_default())
}

fn first_timeout(args: &[&[u8]]) -> Result<Timeout, CommandError> {
    timeout(args.get(1).copied().unwrap_or_default())
}

fn wait_for_one(call: &mut Call<'_, '_>, end: End) -> Result<Served, CommandError> {
    last_timeout(call.args)?;
    Ok(if pop(call, end, 1, Form::KeyAndFlat)? { Served::Yes } else { Served::NotYet })
}

fn bzpopmin(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    wait_for_one(call, End::Least)
}

fn bzpopmax(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    wait_for_one(call, End::Greatest)
}

fn bzmpop(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    let (end, count) = read_many(&call.args[2..])?;
    first_timeout(call.args)?;
    Ok(if pop(call, end, count, Form::KeyAndPairs)? { Served::Yes } else { Served::NotYet })
}

/// A set this many times larger than the sample is not walked through to draw it.
const WALK_FACTOR: usize = 3;

fn below(random: &mut super::Random, bound: usize) -> usize {
    // The high half of the product is below the bound.
    ((u128::from(random.next()) * bound as u128) >> 64) as usize
}

fn zrandmember(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    if call.args.len() == 2 {
        let length = call.txn.sorted_set_len(key)?;
        call.looked_up(0, length > 0);
        if length == 0 {
            call.reply.null();
            return Ok(());
        }
        let index = below(call.random, length);
        let reply = &mut *call.reply;
        call.txn.sorted_set_for_each(key, index..index + 1, false, &mut |member, _| reply.bulk(member))?;
        return Ok(());
    }
    let count = integer_between(call.args[2], -i64::MAX, i64::MAX)?;
    let scores = match call.args[3..] {
        [] => false,
        [word] if is(word, "withscores") => true,
        _ => return Err(CommandError::Syntax),
    };
    if scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err("ERR value is out of range".into());
    }
    let length = call.txn.sorted_set_len(key)?;
    call.looked_up(0, length > 0);
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if length == 0 || wanted == 0 {
        call.reply.array(0);
        Ok(())
    } else if count < 0 {
        draw_with_repeats(call, length, wanted, scores)
    } else {
        draw(call, length, wanted.min(length), scores)
    }
}

/// The head of the reply: RESP3 has pairs, RESP2 a flat array.
fn head(reply: &mut Reply, count: usize, scores: bool) {
    let flat = scores && reply.protocol() == Protocol::Resp2;
    reply.array(if flat { count.saturating_mul(2) } else { count });
}

fn write(reply: &mut Reply, member: &[u8], score: f64, scores: bool) {
    if scores && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    if scores {
        reply.double(score);
    }
}

/// As many as asked for, however few there are: so the reply is bounded here.
fn draw_with_repeats(call: &mut Call<'_, '_>, length: usize, count: usize, scores: bool) -> CommandResult {
    head(call.reply, count, scores);
    let reply_bytes_max =
        call.reply.bytes().len().saturating_add(call.settings.proto_max_bulk_len.min(REPEATED_BYTES_MAX));
    for _ in 0..count {
        let index = below(call.random, length);
        let reply = &mut *call.reply;
        call.txn.sorted_set_for_each(&call.keys[0], index..index + 1, false, &mut |member, score| {
            write(reply, member, score, scores);
        })?;
        if call.reply.bytes().len() > reply_bytes_max {
            return Err("ERR value is out of range".into());
        }
    }
    Ok(())
}

/// Each member at most once; `count` is at most `length`.
fn draw(call: &mut Call<'_, '_>, length: usize, count: usize, scores: bool) -> CommandResult {
    head(call.reply, count, scores);
    let (key, txn, reply, random) = (&call.keys[0], &*call.txn, &mut *call.reply, &mut *call.random);
    if count.saturating_mul(WALK_FACTOR) < length && !txn.is_packed(key) {
        // Floyd's: of the ranks up to `last`, one that was not drawn yet.
        let mut drawn = HashSet::with_capacity(count);
        for last in length - count..length {
            let index = below(random, last + 1);
            let index = if drawn.insert(index) { index } else { last };
            drawn.insert(index);
            txn.sorted_set_for_each(key, index..index + 1, false, &mut |member, score| {
                write(reply, member, score, scores);
            })?;
        }
        return Ok(());
    }
    let (mut remaining, mut wanted) = (length, count);
    txn.sorted_set_for_each(key, 0..length, false, &mut |member, score| {
        let drawn = below(random, remaining);
        remaining -= 1;
        if drawn < wanted {
            wanted -= 1;
            write(reply, member, score, scores);
        }
    })?;
    Ok(())
}

/// A score as the whole number that Redis keeps in a small sorted set: a scan shows it as it is kept, digit by digit.
fn whole(score: f64) -> Option<i64> {
    /// 2^62.
    const WHOLE_MAX: f64 = 4_611_686_018_427_387_904.0;
    (score.abs() <= WHOLE_MAX && score.fract() == 0.0).then_some(score as i64)
}

fn zscan(call: &mut Call<'_, '_>) -> CommandResult {
    let start = cursor(call.args[2])?;
    let key = &call.keys[0];
    let mut found = Gathered::default();
    let members = call.txn.sorted_set(key)?;
    let next = match members {
        // The options are not looked at, as in Redis.
        None => 0,
        Some(members) => {
            let options = ScanOptions::parse(&call.args[3..], ScanOf::Members)?;
            let mut text = Vec::new();
            members.scan(start, options.count, &mut |member, score| {
                if options.wants(member) {
                    text.clear();
                    match whole(score) {
                        Some(number) if members.is_packed() => {
                            text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
                        }
                        _ => crate::resp::write_double(&mut text, score),
                    }
                    found.push(member);
                    found.push(&text);
                }
            })
        }
    };
    let there = members.is_some();
    call.looked_up(0, there);
    found.write_scan(next, call.reply);
    Ok(())
}
