//! Sets: adding, removing and asking for members. What combines sets is in `set_algebra`, what picks members in `set_pick`.

use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{GENERIC, SET};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
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
        name: "sadd",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        summary: "Adds members to a set",
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        run: Run::Data(sadd),
        ..ROW
    },
    Command {
        name: "srem",
        arity: -3,
        flags: WRITE | FAST,
        summary: "Removes members of a set",
        complexity: "O(N) where N is the number of members to be removed.",
        run: Run::Data(srem),
        ..ROW
    },
    Command {
        name: "smove",
        arity: 4,
        flags: WRITE | FAST,
        keys: KeySpec::Range { first: 1, last: 2, step: 1 },
        summary: "Moves a member from one set to another",
        run: Run::Data(smove),
        ..ROW
    },
    Command {
        name: "sismember",
        arity: 3,
        flags: READONLY | FAST,
        summary: "Whether a set has a member",
        run: Run::Data(sismember),
        ..ROW
    },
    Command {
        name: "smismember",
        arity: -3,
        flags: READONLY | FAST,
        since: "6.2.0",
        summary: "Which of several members a set has",
        complexity: "O(N) where N is the number of elements being checked for membership",
        run: Run::Data(smismember),
        ..ROW
    },
    Command {
        name: "scard",
        arity: 2,
        flags: READONLY | FAST,
        summary: "The number of members of a set",
        run: Run::Data(scard),
        ..ROW
    },
    Command {
        name: "smembers",
        arity: 2,
        flags: READONLY,
        summary: "All members of a set",
        complexity: "O(N) where N is the set cardinality.",
        run: Run::Data(smembers),
        ..ROW
    },
];

fn sadd(call: &mut Call<'_, '_>) -> CommandResult {
    let added = call.txn.set_add(&call.keys[0], &call.args[2..])?;
    if added > 0 {
        call.notify(SET, "sadd", 0);
    }
    call.reply.integer(added as i64);
    Ok(())
}

/// Tells that members of a set are gone by `event`, and perhaps the key with them.
pub(super) fn notify_removed(call: &mut Call<'_, '_>, event: &'static str, key: usize) {
    call.notify(SET, event, key);
    if !call.txn.exists(&call.keys[key]) {
        call.notify(GENERIC, "del", key);
    }
}

fn srem(call: &mut Call<'_, '_>) -> CommandResult {
    let removed = call.txn.set_remove(&call.keys[0], &call.args[2..])?;
    if removed > 0 {
        notify_removed(call, "srem", 0);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

fn smove(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to, member) = (&call.keys[0], &call.keys[1], call.args[3]);
    // A key that is not there to be moved from is all that Redis looks at then.
    let there = match call.txn.set_members(from)? {
        None => {
            call.reply.integer(0);
            return Ok(());
        }
        Some(members) => members.contains(member),
    };
    call.txn.set_members(to)?;
    if there && from.bytes() != to.bytes() {
        call.txn.set_remove(from, &[member])?;
        notify_removed(call, "srem", 0);
        if call.txn.set_add(to, &[member])? > 0 {
            call.notify(SET, "sadd", 1);
        }
    }
    call.reply.integer(i64::from(there));
    Ok(())
}

fn sismember(call: &mut Call<'_, '_>) -> CommandResult {
    let member = call.txn.set_members(&call.keys[0])?.map(|members| members.contains(call.args[2]));
    call.looked_up(0, member.is_some());
    call.reply.integer(i64::from(member.unwrap_or(false)));
    Ok(())
}

fn smismember(call: &mut Call<'_, '_>) -> CommandResult {
    let members = call.txn.set_members(&call.keys[0])?;
    call.reply.array(call.args.len() - 2);
    for member in &call.args[2..] {
        call.reply.integer(i64::from(members.is_some_and(|members| members.contains(member))));
    }
    let found = members.is_some();
    call.looked_up(0, found);
    Ok(())
}

/// How many members the set has that is about to be read.
pub(super) fn length_to_read(call: &mut Call<'_, '_>, key: usize) -> Result<usize, CommandError> {
    let length = call.txn.set_len(&call.keys[key])?;
    // There is no empty set.
    call.looked_up(key, length > 0);
    Ok(length)
}

fn scard(call: &mut Call<'_, '_>) -> CommandResult {
    let length = length_to_read(call, 0)?;
    call.reply.integer(length as i64);
    Ok(())
}

fn smembers(call: &mut Call<'_, '_>) -> CommandResult {
    let length = length_to_read(call, 0)?;
    call.reply.set(length);
    if let Some(members) = call.txn.set_members(&call.keys[0])? {
        members.iter().for_each(|member| call.reply.bulk(member));
    }
    Ok(())
}
