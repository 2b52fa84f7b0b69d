//! Intersections, unions and differences of sets, to be answered, counted or kept.
//!
//! Members are not copied on the way to the reply. What remembers members that were seen already borrows them, and is bounded by the result.

use super::flags::{DENYOOM, MOVABLEKEYS, READONLY, WRITE};
use super::number::parse_integer;
use super::scan::Gathered;
use super::set::length_to_read;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run, args::is, keys};
use crate::notify::{GENERIC, SET};
use sessile::{Members, NewSet, VALUE_BYTES_MAX};
use std::collections::HashSet;
use std::ops::ControlFlow;

const ROW: Command = Command {
    name: "",
    arity: -2,
    flags: READONLY,
    keys: KeySpec::ALL,
    categories: &["set"],
    group: "set",
    since: "1.0.0",
    summary: "",
    complexity: "O(N) where N is the total number of elements in all given sets.",
    subcommands: &[],
    run: Run::Container,
};

const INTERSECTION_COMPLEXITY: &str =
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.";

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "sinter",
        summary: "The members that all of several sets have",
        complexity: INTERSECTION_COMPLEXITY,
        run: Run::Data(sinter),
        ..ROW
    },
    Command {
        name: "sinterstore",
        arity: -3,
        flags: WRITE | DENYOOM,
        summary: "Stores the members that all of several sets have",
        complexity: INTERSECTION_COMPLEXITY,
        run: Run::Data(sinterstore),
        ..ROW
    },
    Command {
        name: "sintercard",
        arity: -3,
        flags: READONLY | MOVABLEKEYS,
        keys: KeySpec::Across { first: 0, last: 0, step: 0, find: keys::counted_from_1 },
        since: "7.0.0",
        summary: "The number of members that all of several sets have",
        complexity: INTERSECTION_COMPLEXITY,
        run: Run::Data(sintercard),
        ..ROW
    },
    Command {
        name: "sunion",
        summary: "The members that any of several sets has",
        run: Run::Data(sunion),
        ..ROW
    },
    Command {
        name: "sunionstore",
        arity: -3,
        flags: WRITE | DENYOOM,
        summary: "Stores the members that any of several sets has",
        run: Run::Data(sunionstore),
        ..ROW
    },
    Command {
        name: "sdiff",
        summary: "The members of the first set that no other has",
        run: Run::Data(sdiff),
        ..ROW
    },
    Command {
        name: "sdiffstore",
        arity: -3,
        flags: WRITE | DENYOOM,
        summary: "Stores the members of the first set that no other has",
        run: Run::Data(sdiffstore),
        ..ROW
    },
];

/// What is done with each member of a result.
type Each<'a, 'e> = &'e mut dyn FnMut(&'a [u8]) -> ControlFlow<()>;

/// How sets are combined: calls the last argument with each member of the result, once, until it has enough.
type Combine = for<'a> fn(&[Option<Members<'a>>], Each<'a, '_>);

/// Looks at the keys from `first` on, in order, as what they are: sets.
fn look_up(call: &mut Call<'_, '_>, first: usize) -> Result<(), CommandError> {
    (first..call.keys.len()).try_for_each(|key| length_to_read(call, key).map(drop))
}

/// The sets at the keys from `first` on; `None` for a key that is not there.
fn sets<'a>(call: &'a Call<'_, '_>, first: usize) -> Result<Vec<Option<Members<'a>>>, CommandError> {
    call.keys[first..].iter().map(|key| Ok(call.txn.set_members(key)?)).collect()
}

fn intersection<'a>(sets: &[Option<Members<'a>>], each: Each<'a, '_>) {
    // A set that is not there is empty, and so is the result.
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<_>>>() else { return };
    sets.sort_by_cached_key(Members::len);
    let Some((smallest, others)) = sets.split_first() else { return };
    for member in smallest.iter() {
        if others.iter().all(|other| other.contains(member)) && each(member).is_break() {
            return;
        }
    }
}

fn union<'a>(sets: &[Option<Members<'a>>], each: Each<'a, '_>) {
    let mut sets: Vec<Members<'a>> = sets.iter().copied().flatten().collect();
    sets.sort_by_cached_key(|set| std::cmp::Reverse(set.len()));
    let Some((largest, others)) = sets.split_first() else { return };
    for member in largest.iter() {
        if each(member).is_break() {
            return;
        }
    }
    // Two sets need no memory of what was seen: one is asked about the members of the other.
    let mut seen = (others.len() > 1).then(HashSet::new);
    for other in others {
        for member in other.iter() {
            if !largest.contains(member)
                && seen.as_mut().is_none_or(|seen| seen.insert(member))
                && each(member).is_break()
            {
                return;
            }
        }
    }
}

fn difference<'a>(sets: &[Option<Members<'a>>], each: Each<'a, '_>) {
    let Some((Some(first), others)) = sets.split_first() else { return };
    let mut others: Vec<Members<'a>> = others.iter().copied().flatten().collect();
    let (length, all) = (first.len(), others.iter().map(Members::len).sum::<usize>());
    // Asking each of the others about each member, or taking each member of the others away: whichever looks at less. A lookup that finds
    // something is the last one of its member: half of them, say.
    if length * others.len() / 2 <= length + all {
        // The larger one is the likelier one to have a member.
        others.sort_by_cached_key(|set| std::cmp::Reverse(set.len()));
        for member in first.iter() {
            if !others.iter().any(|other| other.contains(member)) && each(member).is_break() {
                return;
            }
        }
        return;
    }
    let mut left: HashSet<&[u8]> = first.iter().collect();
    for member in others.iter().flat_map(Members::iter) {
        left.remove(member);
    }
    for member in first.iter() {
        if left.contains(member) && each(member).is_break() {
            return;
        }
    }
}

fn answer(call: &mut Call<'_, '_>, combine: Combine) -> CommandResult {
    look_up(call, 0)?;
    let mut result = Gathered::default();
    combine(&sets(call, 0)?, &mut |member| {
        result.push(member);
        ControlFlow::Continue(())
    });
    result.write_set(call.reply);
    Ok(())
}

fn store(call: &mut Call<'_, '_>, combine: Combine, event: &'static str) -> CommandResult {
    look_up(call, 1)?;
    let mut result = call.txn.new_set();
    combine(&sets(call, 1)?, &mut |member| {
        result.insert(member);
        if result.bytes() > VALUE_BYTES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    keep(call, result, event)
}

/// Makes the first key hold a result, or nothing if it is empty.
fn keep<'db>(call: &mut Call<'_, 'db>, result: NewSet<'db>, event: &'static str) -> CommandResult {
    if result.bytes() > VALUE_BYTES_MAX {
        return Err("ERR the resulting set is larger than what a key can hold (512MB)".into());
    }
    let (key, length) = (&call.keys[0], result.len());
    if length > 0 {
        call.txn.put_set(key, result, None);
        call.notify(SET, event, 0);
    } else if call.txn.delete(key) {
        call.notify(GENERIC, "del", 0);
    }
    call.reply.integer(length as i64);
    Ok(())
}

fn sinter(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, intersection)
}

fn sinterstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, intersection, "sinterstore")
}

fn sunion(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, union)
}

fn sunionstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, union, "sunionstore")
}

fn sdiff(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, difference)
}

fn sdiffstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, difference, "sdiffstore")
}

/// `SINTERCARD numkeys key [key …] [LIMIT limit]`
fn sintercard(call: &mut Call<'_, '_>) -> CommandResult {
    let number = |argument: &[u8], least: i64, error: &'static str| {
        parse_integer(argument).filter(|&number| number >= least).ok_or(CommandError::from(error))
    };
    let count = number(call.args[1], 1, "ERR numkeys should be greater than 0")?;
    let rest = usize::try_from(count)
        .ok()
        .and_then(|count| call.args[2..].get(count..))
        .ok_or(CommandError::from("ERR Number of keys can't be greater than number of args"))?;
    let (mut limit, mut options) = (0, rest);
    while let [word, argument, after @ ..] = options {
        if !is(word, "limit") {
            break;
        }
        limit = number(argument, 0, "ERR LIMIT can't be negative")?;
        options = after;
    }
    if !options.is_empty() {
        return Err(CommandError::Syntax);
    }
    look_up(call, 0)?;
    let mut found = 0;
    intersection(&sets(call, 0)?, &mut |_| {
        found += 1;
        if found == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    call.reply.integer(found);
    Ok(())
}
