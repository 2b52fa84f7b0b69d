//! Numbers in strings: `INCR` and its like. The number is the string; the key keeps its deadline.

use super::args::integer;
use super::extended::Extended;
use super::flags::{DENYOOM, FAST, WRITE};
use super::number::parse_integer;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::STRING;
use sessile::Expiry;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["string"],
    group: "string",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "incr",
        arity: 2,
        flags: WRITE | DENYOOM | FAST,
        since: "1.0.0",
        summary: "Adds one to the integer at a key",
        run: Run::Data(incr),
        ..ROW
    },
    Command {
        name: "decr",
        arity: 2,
        flags: WRITE | DENYOOM | FAST,
        since: "1.0.0",
        summary: "Subtracts one from the integer at a key",
        run: Run::Data(decr),
        ..ROW
    },
    Command {
        name: "incrby",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        since: "1.0.0",
        summary: "Adds to the integer at a key",
        run: Run::Data(incrby),
        ..ROW
    },
    Command {
        name: "decrby",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        since: "1.0.0",
        summary: "Subtracts from the integer at a key",
        run: Run::Data(decrby),
        ..ROW
    },
    Command {
        name: "incrbyfloat",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        since: "2.6.0",
        summary: "Adds to the float at a key",
        run: Run::Data(incrbyfloat),
        ..ROW
    },
];

/// The text of an increment that leaves the range.
pub(super) const OVERFLOW: CommandError =
    CommandError::Text(std::borrow::Cow::Borrowed("ERR increment or decrement would overflow"));

/// The text of a float that is none any more.
pub(super) const NOT_FINITE: CommandError =
    CommandError::Text(std::borrow::Cow::Borrowed("ERR increment would produce NaN or Infinity"));

fn add(call: &mut Call<'_, '_>, increment: i64) -> CommandResult {
    let key = &call.keys[0];
    let before = match call.txn.string(key)? {
        None => 0,
        Some(bytes) => parse_integer(bytes).ok_or(CommandError::NotAnInteger)?,
    };
    let number = before.checked_add(increment).ok_or(OVERFLOW)?;
    call.txn.set(key, itoa::Buffer::new().format(number).as_bytes(), Expiry::Keep);
    call.notify(STRING, "incrby", 0);
    call.reply.integer(number);
    Ok(())
}

fn incr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, 1)
}

fn decr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, -1)
}

fn incrby(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, integer(call.args[2])?)
}

fn decrby(call: &mut Call<'_, '_>) -> CommandResult {
    let increment =
        integer(call.args[2])?.checked_neg().ok_or(CommandError::from("ERR decrement would overflow"))?;
    add(call, increment)
}

fn incrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let before = match call.txn.string(key)? {
        None => Extended::ZERO,
        Some(bytes) => Extended::parse(bytes).ok_or(CommandError::NotAFloat)?,
    };
    let increment = Extended::parse(call.args[2]).ok_or(CommandError::NotAFloat)?;
    let text = before.add(increment).ok_or(NOT_FINITE)?.to_string();
    call.txn.set(key, text.as_bytes(), Expiry::Keep);
    call.notify(STRING, "incrbyfloat", 0);
    call.reply.bulk(text.as_bytes());
    Ok(())
}
