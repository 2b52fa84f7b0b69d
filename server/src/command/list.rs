//! Lists: pushing, popping, reading and changing elements of one list. Moves between lists, and waiting for elements, are in `list_move`.

use super::args::{integer, is, positive, positive_or, wrong_arity};
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{GENERIC, LIST};
use sessile::ListEnd;
use std::ops::ControlFlow;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["list"],
    group: "list",
    since: "1.0.0",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The cost of each push.
const PUSH: &str = "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments";

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "lpush",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        summary: "Adds elements at the front of a list, one after the other",
        complexity: PUSH,
        run: Run::Data(lpush),
        ..ROW
    },
    Command {
        name: "rpush",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        summary: "Adds elements at the end of a list",
        complexity: PUSH,
        run: Run::Data(rpush),
        ..ROW
    },
    Command {
        name: "lpushx",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        since: "2.2.0",
        summary: "Adds elements at the front of a list if there is one",
        complexity: PUSH,
        run: Run::Data(lpushx),
        ..ROW
    },
    Command {
        name: "rpushx",
        arity: -3,
        flags: WRITE | DENYOOM | FAST,
        since: "2.2.0",
        summary: "Adds elements at the end of a list if there is one",
        complexity: PUSH,
        run: Run::Data(rpushx),
        ..ROW
    },
    Command {
        name: "lpop",
        arity: -2,
        flags: WRITE | FAST,
        summary: "Takes the first elements off a list",
        complexity: "O(N) where N is the number of elements returned",
        run: Run::Data(lpop),
        ..ROW
    },
    Command {
        name: "rpop",
        arity: -2,
        flags: WRITE | FAST,
        summary: "Takes the last elements off a list",
        complexity: "O(N) where N is the number of elements returned",
        run: Run::Data(rpop),
        ..ROW
    },
    Command {
        name: "llen",
        arity: 2,
        flags: READONLY | FAST,
        summary: "The number of elements of a list",
        run: Run::Data(llen),
        ..ROW
    },
    Command {
        name: "lindex",
        arity: 3,
        flags: READONLY,
        summary: "The element of a list at a position",
        complexity: "O(N) where N is the number of chunks between the element and the nearer end, plus at most 128; O(1) for the first and the last one",
        run: Run::Data(lindex),
        ..ROW
    },
    Command {
        name: "lset",
        arity: 4,
        flags: WRITE | DENYOOM,
        summary: "Replaces the element of a list at a position",
        complexity: "O(N) where N is the number of chunks between the element and the nearer end, plus at most 128; O(1) for the first and the last one",
        run: Run::Data(lset),
        ..ROW
    },
    Command {
        name: "lrange",
        arity: 4,
        flags: READONLY,
        summary: "A range of elements of a list",
        complexity: "O(S+N) where S is the number of chunks between the range and the nearer end, and N the number of elements returned",
        run: Run::Data(lrange),
        ..ROW
    },
    Command {
        name: "ltrim",
        arity: 4,
        flags: WRITE,
        summary: "Removes all elements of a list but a range",
        complexity: "O(N) where N is the number of chunks removed, plus at most 128",
        run: Run::Data(ltrim),
        ..ROW
    },
    Command {
        name: "lrem",
        arity: 4,
        flags: WRITE,
        summary: "Removes elements of a list that are equal to one",
        complexity: "O(N+M) where N is the length of the list and M is the number of elements removed",
        run: Run::Data(lrem),
        ..ROW
    },
    Command {
        name: "linsert",
        arity: 5,
        flags: WRITE | DENYOOM,
        since: "2.2.0",
        summary: "Inserts an element before or after another one",
        complexity: "O(N) where N is the number of elements before the one that is looked for",
        run: Run::Data(linsert),
        ..ROW
    },
    Command {
        name: "lpos",
        arity: -3,
        flags: READONLY,
        since: "6.0.6",
        summary: "Where in a list elements are that are equal to one",
        complexity: "O(N) where N is the number of elements that are looked at",
        run: Run::Data(lpos),
        ..ROW
    },
];

fn lpush(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, ListEnd::Front)
}

fn rpush(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, ListEnd::Back)
}

/// The event of a push.
pub(super) fn pushed(end: ListEnd) -> &'static str {
    if end == ListEnd::Front { "lpush" } else { "rpush" }
}

/// The event of a pop.
pub(super) fn popped(end: ListEnd) -> &'static str {
    if end == ListEnd::Front { "lpop" } else { "rpop" }
}

fn push(call: &mut Call<'_, '_>, end: ListEnd) -> CommandResult {
    let length = call.txn.list_push(&call.keys[0], end, &call.args[2..])?;
    call.notify(LIST, pushed(end), 0);
    call.reply.integer(length as i64);
    Ok(())
}

fn lpushx(call: &mut Call<'_, '_>) -> CommandResult {
    push_existing(call, ListEnd::Front)
}

fn rpushx(call: &mut Call<'_, '_>) -> CommandResult {
    push_existing(call, ListEnd::Back)
}

fn push_existing(call: &mut Call<'_, '_>, end: ListEnd) -> CommandResult {
    if call.txn.list_len(&call.keys[0])? == 0 {
        call.reply.integer(0);
        return Ok(());
    }
    push(call, end)
}

/// Tells that elements were removed from the list with this index among the keys, and whether none are left.
pub(super) fn notify_removed(call: &mut Call<'_, '_>, event: &'static str, key: usize, left: usize) {
    call.notify(LIST, event, key);
    if left == 0 {
        call.notify(GENERIC, "del", key);
    }
}

fn lpop(call: &mut Call<'_, '_>) -> CommandResult {
    pop(call, ListEnd::Front, "lpop")
}

fn rpop(call: &mut Call<'_, '_>) -> CommandResult {
    pop(call, ListEnd::Back, "rpop")
}

fn pop(call: &mut Call<'_, '_>, end: ListEnd, name: &str) -> CommandResult {
    let count = match call.args {
        [_, _] => None,
        [_, _, count] => Some(positive(count)?),
        _ => return Err(wrong_arity(name)),
    };
    let key = &call.keys[0];
    let length = call.txn.list_len(key)?;
    if length == 0 {
        match count {
            Some(_) => call.reply.null_array(),
            None => call.reply.null(),
        }
        return Ok(());
    }
    let taken = count.map_or(1, |count| usize::try_from(count).unwrap_or(usize::MAX)).min(length);
    if count.is_some() {
        call.reply.array(taken);
    }
    if taken > 0 {
        let reply = &mut *call.reply;
        let left = call.txn.list_pop(key, end, taken, &mut |element| reply.bulk(element))?;
        notify_removed(call, popped(end), 0, left);
    }
    Ok(())
}

fn llen(call: &mut Call<'_, '_>) -> CommandResult {
    let length = call.txn.list_len(&call.keys[0])?;
    call.looked_up(0, length > 0);
    call.reply.integer(length as i64);
    Ok(())
}

/// A position that may count from the end; `None` if it is outside.
fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok().filter(|&index| index < length)
}

/// The first element and the number of elements of a range whose bounds may count from the end; both of them are in it.
fn range(start: i64, stop: i64, length: usize) -> (usize, usize) {
    let from_end = |index: i64| if index < 0 { index.saturating_add(length as i64) } else { index };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(length as i64 - 1);
    // Neither is negative if the range is not empty.
    if start > stop { (0, 0) } else { (start as usize, (stop - start) as usize + 1) }
}

fn lindex(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let length = call.txn.list_len(key)?;
    call.looked_up(0, length > 0);
    if length == 0 {
        call.reply.null();
        return Ok(());
    }
    let element = match position(integer(call.args[2])?, length) {
        Some(index) => call.txn.list_get(key, index)?,
        None => None,
    };
    call.reply.bulk_or_null(element);
    Ok(())
}

fn lset(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let length = call.txn.list_len(key)?;
    if length == 0 {
        return Err("ERR no such key".into());
    }
    let index =
        position(integer(call.args[2])?, length).ok_or(CommandError::from("ERR index out of range"))?;
    call.txn.list_set(key, index, call.args[3])?;
    call.notify(LIST, "lset", 0);
    call.reply.ok();
    Ok(())
}

fn lrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    let key = &call.keys[0];
    let length = call.txn.list_len(key)?;
    call.looked_up(0, length > 0);
    let (first, count) = range(start, stop, length);
    let reply = &mut *call.reply;
    reply.array(count);
    call.txn.list_range(key, first, count, &mut |element| reply.bulk(element))?;
    Ok(())
}

fn ltrim(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    let key = &call.keys[0];
    let length = call.txn.list_len(key)?;
    if length > 0 {
        let (first, count) = range(start, stop, length);
        let left = call.txn.list_trim(key, first, count)?;
        notify_removed(call, "ltrim", 0, left);
    }
    call.reply.ok();
    Ok(())
}

fn lrem(call: &mut Call<'_, '_>) -> CommandResult {
    let count = integer(call.args[2])?;
    let key = &call.keys[0];
    let length = call.txn.list_len(key)?;
    let from = if count < 0 { ListEnd::Back } else { ListEnd::Front };
    let most =
        if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let removed = call.txn.list_remove(key, call.args[3], most, from)?;
    if removed > 0 {
        notify_removed(call, "lrem", 0, length - removed);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

fn linsert(call: &mut Call<'_, '_>) -> CommandResult {
    let after = if is(call.args[2], "after") {
        true
    } else if is(call.args[2], "before") {
        false
    } else {
        return Err(CommandError::Syntax);
    };
    let (key, pivot) = (&call.keys[0], call.args[3]);
    let length = call.txn.list_len(key)?;
    if length == 0 {
        call.reply.integer(0);
        return Ok(());
    }
    let (mut index, mut found) = (0, false);
    call.txn.list_visit(key, 0, &mut |element| {
        if element == pivot {
            found = true;
            return ControlFlow::Break(());
        }
        index += 1;
        ControlFlow::Continue(())
    })?;
    if !found {
        call.reply.integer(-1);
        return Ok(());
    }
    call.txn.list_insert(key, index + usize::from(after), call.args[4])?;
    call.notify(LIST, "linsert", 0);
    call.reply.integer(length as i64 + 1);
    Ok(())
}

/// What `LPOS` is asked for.
struct Search {
    /// The first match that counts, from 1 on.
    rank: u64,
    from: ListEnd,
    /// How many, 0 for all; none for the first one alone.
    count: Option<u64>,
    /// How many elements are looked at, 0 for all.
    compared_max: u64,
}

impl Search {
    fn parse(options: &[&[u8]]) -> Result<Search, CommandError> {
        let mut search = Search { rank: 1, from: ListEnd::Front, count: None, compared_max: 0 };
        let (pairs, rest) = options.as_chunks::<2>();
        for [option, value] in pairs {
            if is(option, "rank") {
                let rank = integer(value)?;
                if rank == 0 {
                    return Err("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list".into());
                }
                search.from = if rank < 0 { ListEnd::Back } else { ListEnd::Front };
                // The least integer has no opposite, stays negative in Redis, and no match is before it.
                search.rank = if rank == i64::MIN { 1 } else { rank.unsigned_abs() };
            } else if is(option, "count") {
                search.count = Some(positive_or(value, "ERR COUNT can't be negative")?);
            } else if is(option, "maxlen") {
                search.compared_max = positive_or(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if rest.is_empty() { Ok(search) } else { Err(CommandError::Syntax) }
    }

    /// Calls `found` with how many elements were passed before each match.
    fn run(&self, call: &Call<'_, '_>, length: usize, mut found: impl FnMut(usize)) -> CommandResult {
        let most = self.count.map_or(1, |count| if count == 0 { u64::MAX } else { count });
        let (mut passed, mut matches) = (0, 0);
        let mut each = |element: &[u8]| {
            if element == call.args[2] {
                matches += 1;
                if matches >= self.rank {
                    found(passed);
                    if matches - self.rank + 1 >= most {
                        return ControlFlow::Break(());
                    }
                }
            }
            passed += 1;
            if passed as u64 == self.compared_max {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        match self.from {
            ListEnd::Front => call.txn.list_visit(&call.keys[0], 0, &mut each)?,
            ListEnd::Back => call.txn.list_visit_back(&call.keys[0], length, &mut each)?,
        }
        Ok(())
    }
}

fn lpos(call: &mut Call<'_, '_>) -> CommandResult {
    let search = Search::parse(&call.args[3..])?;
    let length = call.txn.list_len(&call.keys[0])?;
    call.looked_up(0, length > 0);
    let mut found = Vec::new();
    search.run(call, length, |passed| {
        found.push(if search.from == ListEnd::Front { passed } else { length - 1 - passed });
    })?;
    if search.count.is_some() {
        call.reply.array(found.len());
        found.iter().for_each(|&index| call.reply.integer(index as i64));
    } else {
        match found.first() {
            Some(&index) => call.reply.integer(index as i64),
            None => call.reply.null(),
        }
    }
    Ok(())
}
