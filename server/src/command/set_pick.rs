//! Members of sets that the server picks: at random, or step by step.

use super::args::{integer, integer_between};
use super::flags::{FAST, READONLY, WRITE};
use super::scan::{Gathered, ScanOf, ScanOptions, cursor};
use super::set::{length_to_read, notify_removed};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Random, Run};
use crate::notify::{GENERIC, SET};
use sessile::Members;
use std::collections::HashSet;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: READONLY,
    keys: KeySpec::ONE,
    categories: &["set"],
    group: "set",
    since: "1.0.0",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "spop",
        arity: -2,
        flags: WRITE | FAST,
        summary: "Removes members of a set that are drawn at random",
        complexity: "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
        run: Run::Data(spop),
        ..ROW
    },
    Command {
        name: "srandmember",
        arity: -2,
        summary: "Members of a set drawn at random",
        complexity: "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
        run: Run::Data(srandmember),
        ..ROW
    },
    Command {
        name: "sscan",
        arity: -3,
        since: "2.8.0",
        summary: "Walks through the members of a set, some at a time",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..",
        run: Run::Data(sscan),
        ..ROW
    },
];

/// A set this many times larger than the sample is not walked through to draw it.
const WALK_FACTOR: usize = 3;

/// Draws `count` of the members, which are `length`, at least as many: each at most once, each as likely as the others.
fn draw<'a>(members: Members<'a>, length: usize, count: usize, random: &mut Random) -> Vec<&'a [u8]> {
    let mut drawn = Vec::with_capacity(count);
    if count.saturating_mul(WALK_FACTOR) < length {
        // At most every third try is in vain.
        let mut seen = HashSet::with_capacity(count);
        while drawn.len() < count
            && let Some(member) = members.draw(&mut || random.next())
        {
            if seen.insert(member) {
                drawn.push(member);
            }
        }
        return drawn;
    }
    let mut remaining = length;
    for member in members.iter() {
        let at = ((u128::from(random.next()) * remaining as u128) >> 64) as usize;
        remaining -= 1;
        if at < count - drawn.len() {
            drawn.push(member);
        }
    }
    drawn
}

fn spop(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    match call.args[2..] {
        [] => {
            let Some(members) = call.txn.set_members(key)? else {
                call.reply.null();
                return Ok(());
            };
            let random = &mut *call.random;
            let member = members.draw(&mut || random.next()).map(<[u8]>::to_vec);
            call.reply.bulk_or_null(member.as_deref());
            if let Some(member) = member {
                call.txn.set_remove(key, &[&member])?;
                notify_removed(call, "spop", 0);
            }
            Ok(())
        }
        [count] => spop_count(call, count),
        _ => Err(CommandError::Syntax),
    }
}

fn spop_count(call: &mut Call<'_, '_>, count: &[u8]) -> CommandResult {
    let key = &call.keys[0];
    let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(CommandError::from("ERR value is out of range, must be positive"))?;
    let members = match call.txn.set_members(key)? {
        Some(members) if count > 0 => members,
        _ => {
            call.reply.set(0);
            return Ok(());
        }
    };
    let length = members.len();
    if count >= length {
        call.reply.set(length);
        members.iter().for_each(|member| call.reply.bulk(member));
        call.txn.delete(key);
        call.notify(SET, "spop", 0);
        call.notify(GENERIC, "del", 0);
        return Ok(());
    }
    let drawn: Vec<Vec<u8>> =
        draw(members, length, count, call.random).into_iter().map(<[u8]>::to_vec).collect();
    call.reply.set(drawn.len());
    drawn.iter().for_each(|member| call.reply.bulk(member));
    let drawn: Vec<&[u8]> = drawn.iter().map(Vec::as_slice).collect();
    call.txn.set_remove(key, &drawn)?;
    call.notify(SET, "spop", 0);
    Ok(())
}

/// What elements that are drawn again and again may make of a reply, in bytes.
pub(super) const REPEATED_BYTES_MAX: usize = 64 << 20;

fn srandmember(call: &mut Call<'_, '_>) -> CommandResult {
    let count = match call.args[2..] {
        [] => None,
        [count] => Some(integer_between(count, -i64::MAX, i64::MAX)?),
        _ => return Err(CommandError::Syntax),
    };
    let length = length_to_read(call, 0)?;
    let (reply, random) = (&mut *call.reply, &mut *call.random);
    let members = call.txn.set_members(&call.keys[0])?;
    let (Some(members), Some(count)) = (members, count) else {
        match count {
            None => reply.bulk_or_null(members.and_then(|members| members.draw(&mut || random.next()))),
            Some(_) => reply.array(0),
        }
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count >= 0 {
        let drawn = draw(members, length, wanted.min(length), random);
        reply.array(drawn.len());
        drawn.into_iter().for_each(|member| reply.bulk(member));
        return Ok(());
    }
    // As many as asked for, however few there are: so the reply is bounded here.
    let reply_bytes_max =
        reply.bytes().len().saturating_add(call.settings.proto_max_bulk_len.min(REPEATED_BYTES_MAX));
    reply.array(wanted);
    for _ in 0..wanted {
        if let Some(member) = members.draw(&mut || random.next()) {
            reply.bulk(member);
        }
        if reply.bytes().len() > reply_bytes_max {
            return Err("ERR value is out of range".into());
        }
    }
    Ok(())
}

fn sscan(call: &mut Call<'_, '_>) -> CommandResult {
    let start = cursor(call.args[2])?;
    let mut found = Gathered::default();
    let mut next = 0;
    // No such key: the options are not looked at, as in Redis.
    if length_to_read(call, 0)? > 0 {
        let options = ScanOptions::parse(&call.args[3..], ScanOf::Members)?;
        if let Some(members) = call.txn.set_members(&call.keys[0])? {
            next = members.scan(start, options.count, &mut |member| {
                if options.wants(member) {
                    found.push(member);
                }
            });
        }
    }
    found.write_scan(next, call.reply);
    Ok(())
}
