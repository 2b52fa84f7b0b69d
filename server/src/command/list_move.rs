//! Lists: moving elements from one to another, taking them off the first list that has any, and waiting for one.
//!
//! A command that waits checks all its arguments on each attempt, in Redis's order, so that a mistake is answered whether or not there is
//! an element.

use super::args::{is, positive_or, timeout};
use super::flags::{BLOCKING, DENYOOM, MOVABLEKEYS, NOSCRIPT, WRITE};
use super::keys::{counted_from_1, counted_from_2};
use super::list::{notify_removed, popped, pushed};
use super::{Blocking, Call, Command, CommandError, CommandResult, KeySpec, Run, Served, Timeout};
use crate::notify::LIST;
use crate::resp::Reply;
use sessile::ListEnd;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::Range { first: 1, last: 2, step: 1 },
    categories: &["list"],
    group: "list",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// All arguments between the name and the timeout.
const BEFORE_TIMEOUT: KeySpec = KeySpec::Range { first: 1, last: -2, step: 1 };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "lmove",
        arity: 5,
        flags: WRITE | DENYOOM,
        since: "6.2.0",
        summary: "Moves an element from an end of a list to an end of another",
        run: Run::Data(lmove),
        ..ROW
    },
    Command {
        name: "rpoplpush",
        arity: 3,
        flags: WRITE | DENYOOM,
        since: "1.2.0",
        summary: "Moves the last element of a list to the front of another",
        run: Run::Data(rpoplpush),
        ..ROW
    },
    Command {
        name: "lmpop",
        arity: -4,
        flags: WRITE | MOVABLEKEYS,
        keys: KeySpec::Across { first: 0, last: 0, step: 0, find: counted_from_1 },
        since: "7.0.0",
        summary: "Takes elements off the first of several lists that has any",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned",
        run: Run::Data(lmpop),
        ..ROW
    },
    Command {
        name: "blpop",
        arity: -3,
        flags: WRITE | NOSCRIPT | BLOCKING,
        keys: BEFORE_TIMEOUT,
        since: "2.0.0",
        summary: "Takes the first element off the first of several lists that has one, or waits for it",
        complexity: "O(N) where N is the number of provided keys",
        run: Run::Blocking(Blocking {
            attempt: blpop,
            timeout: last_timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
    Command {
        name: "brpop",
        arity: -3,
        flags: WRITE | NOSCRIPT | BLOCKING,
        keys: BEFORE_TIMEOUT,
        since: "2.0.0",
        summary: "Takes the last element off the first of several lists that has one, or waits for it",
        complexity: "O(N) where N is the number of provided keys",
        run: Run::Blocking(Blocking {
            attempt: brpop,
            timeout: last_timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
    Command {
        name: "blmove",
        arity: 6,
        flags: WRITE | DENYOOM | NOSCRIPT | BLOCKING,
        since: "6.2.0",
        summary: "Moves an element from an end of a list to an end of another, or waits for one",
        run: Run::Blocking(Blocking {
            attempt: blmove,
            timeout: last_timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
    Command {
        name: "brpoplpush",
        arity: 4,
        flags: WRITE | DENYOOM | NOSCRIPT | BLOCKING,
        since: "2.2.0",
        summary: "Moves the last element of a list to the front of another, or waits for one",
        run: Run::Blocking(Blocking {
            attempt: brpoplpush,
            timeout: last_timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
    Command {
        name: "blmpop",
        arity: -5,
        flags: WRITE | BLOCKING | MOVABLEKEYS,
        keys: KeySpec::Across { first: 0, last: 0, step: 0, find: counted_from_2 },
        since: "7.0.0",
        summary: "Takes elements off the first of several lists that has any, or waits for some",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned",
        run: Run::Blocking(Blocking {
            attempt: blmpop,
            timeout: first_timeout,
            expired: Reply::null_array,
            settle: None,
        }),
        ..ROW
    },
];

fn last_timeout(args: &[&[u8]]) -> Result<Timeout, CommandError> {
    timeout(args.last().copied().unwrap_or_default())
}

fn first_timeout(args: &[&[u8]]) -> Result<Timeout, CommandError> {
    timeout(args.get(1).copied().unwrap_or_default())
}

/// An argument that names an end.
fn end(argument: &[u8]) -> Result<ListEnd, CommandError> {
    if is(argument, "right") {
        Ok(ListEnd::Back)
    } else if is(argument, "left") {
        Ok(ListEnd::Front)
    } else {
        Err(CommandError::Syntax)
    }
}

/// Moves an element from the first key's list to the second's; whether there was one.
fn move_element(call: &mut Call<'_, '_>, take: ListEnd, put: ListEnd) -> Result<bool, CommandError> {
    let (from, to, reply) = (&call.keys[0], &call.keys[1], &mut *call.reply);
    let moved = call.txn.list_move(from, take, to, put, &mut |element| reply.bulk(element))?;
    if moved {
        call.notify(LIST, pushed(put), 1);
        let left = call.txn.list_len(from)?;
        notify_removed(call, popped(take), 0, left);
    }
    Ok(moved)
}

fn move_or_null(call: &mut Call<'_, '_>, take: ListEnd, put: ListEnd) -> CommandResult {
    if !move_element(call, take, put)? {
        call.reply.null();
    }
    Ok(())
}

fn served(yes: bool) -> Served {
    if yes { Served::Yes } else { Served::NotYet }
}

fn lmove(call: &mut Call<'_, '_>) -> CommandResult {
    let (take, put) = (end(call.args[3])?, end(call.args[4])?);
    move_or_null(call, take, put)
}

fn rpoplpush(call: &mut Call<'_, '_>) -> CommandResult {
    move_or_null(call, ListEnd::Back, ListEnd::Front)
}

fn blmove(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    let (take, put) = (end(call.args[3])?, end(call.args[4])?);
    last_timeout(call.args)?;
    move_element(call, take, put).map(served)
}

fn brpoplpush(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    last_timeout(call.args)?;
    move_element(call, ListEnd::Back, ListEnd::Front).map(served)
}

fn blpop(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    pop_first(call, ListEnd::Front)
}

fn brpop(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    pop_first(call, ListEnd::Back)
}

/// The first of the keys that holds elements, and how many. One that holds something else before it is an error.
fn first_filled(call: &Call<'_, '_>) -> Result<Option<(usize, usize)>, CommandError> {
    for (index, key) in call.keys.iter().enumerate() {
        let length = call.txn.list_len(key)?;
        if length > 0 {
            return Ok(Some((index, length)));
        }
    }
    Ok(None)
}

fn pop_first(call: &mut Call<'_, '_>, end: ListEnd) -> Result<Served, CommandError> {
    last_timeout(call.args)?;
    let Some((index, _)) = first_filled(call)? else { return Ok(Served::NotYet) };
    let (key, reply) = (&call.keys[index], &mut *call.reply);
    reply.array(2);
    reply.bulk(key.bytes());
    let left = call.txn.list_pop(key, end, 1, &mut |element| reply.bulk(element))?;
    notify_removed(call, popped(end), index, left);
    Ok(Served::Yes)
}

fn at_least_one(argument: &[u8], error: &'static str) -> Result<u64, CommandError> {
    match positive_or(argument, error)? {
        0 => Err(error.into()),
        number => Ok(number),
    }
}

/// `numkeys key [key …] LEFT|RIGHT [COUNT count]`, with the number at `at`: takes elements off the first list that has any; whether one has.
/// `check` is what is checked after these arguments.
fn pop_several(
    call: &mut Call<'_, '_>,
    at: usize,
    check: impl FnOnce() -> CommandResult,
) -> Result<bool, CommandError> {
    let keys = at_least_one(call.args[at], "ERR numkeys should be greater than 0")?;
    let place = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(at + 1));
    let place = place.filter(|&place| place < call.args.len()).ok_or(CommandError::Syntax)?;
    let end = end(call.args[place])?;
    let most = match &call.args[place + 1..] {
        [] => 1,
        [option, count, rest @ ..] if is(option, "count") => {
            // A wrong count is found before what is too many.
            let count = at_least_one(count, "ERR count should be greater than 0")?;
            if !rest.is_empty() {
                return Err(CommandError::Syntax);
            }
            usize::try_from(count).unwrap_or(usize::MAX)
        }
        _ => return Err(CommandError::Syntax),
    };
    check()?;
    let Some((index, length)) = first_filled(call)? else { return Ok(false) };
    let (key, reply, taken) = (&call.keys[index], &mut *call.reply, most.min(length));
    reply.array(2);
    reply.bulk(key.bytes());
    reply.array(taken);
    let left = call.txn.list_pop(key, end, taken, &mut |element| reply.bulk(element))?;
    notify_removed(call, popped(end), index, left);
    Ok(true)
}

fn lmpop(call: &mut Call<'_, '_>) -> CommandResult {
    if !pop_several(call, 1, || Ok(()))? {
        call.reply.null_array();
    }
    Ok(())
}

fn blmpop(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    let args = call.args;
    pop_several(call, 2, || first_timeout(args).map(drop)).map(served)
}
