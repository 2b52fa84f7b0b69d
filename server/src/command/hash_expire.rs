//! Deadlines of a hash's fields: setting them, reading them, taking them off. As of Redis 7.4 and 8.
//!
//! One reply for each field. The arguments are checked before anybody looks whether there is such a key, but after its type.

use super::args::{integer, is};
use super::deadline::{Form, invalid};
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{GENERIC, HASH};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["hash"],
    group: "hash",
    since: "7.4.0",
    summary: "",
    complexity: "O(N) where N is the number of specified fields",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "hexpire",
        arity: -6,
        flags: WRITE | DENYOOM | FAST,
        summary: "Sets deadlines of fields of a hash, in seconds from now",
        run: Run::Data(hexpire),
        ..ROW
    },
    Command {
        name: "hpexpire",
        arity: -6,
        flags: WRITE | DENYOOM | FAST,
        summary: "Sets deadlines of fields of a hash, in milliseconds from now",
        run: Run::Data(hpexpire),
        ..ROW
    },
    Command {
        name: "hexpireat",
        arity: -6,
        flags: WRITE | DENYOOM | FAST,
        summary: "Sets deadlines of fields of a hash, in seconds since the epoch",
        run: Run::Data(hexpireat),
        ..ROW
    },
    Command {
        name: "hpexpireat",
        arity: -6,
        flags: WRITE | DENYOOM | FAST,
        summary: "Sets deadlines of fields of a hash, in milliseconds since the epoch",
        run: Run::Data(hpexpireat),
        ..ROW
    },
    Command {
        name: "httl",
        arity: -5,
        flags: READONLY | FAST,
        summary: "Seconds until fields of a hash die",
        run: Run::Data(httl),
        ..ROW
    },
    Command {
        name: "hpttl",
        arity: -5,
        flags: READONLY | FAST,
        summary: "Milliseconds until fields of a hash die",
        run: Run::Data(hpttl),
        ..ROW
    },
    Command {
        name: "hexpiretime",
        arity: -5,
        flags: READONLY | FAST,
        summary: "When fields of a hash die, in seconds since the epoch",
        run: Run::Data(hexpiretime),
        ..ROW
    },
    Command {
        name: "hpexpiretime",
        arity: -5,
        flags: READONLY | FAST,
        summary: "When fields of a hash die, in milliseconds since the epoch",
        run: Run::Data(hpexpiretime),
        ..ROW
    },
    Command {
        name: "hpersist",
        arity: -5,
        flags: WRITE | FAST,
        summary: "Takes the deadlines off fields of a hash",
        run: Run::Data(hpersist),
        ..ROW
    },
];

/// There is no such field.
const NO_FIELD: i64 = -2;
/// The field has no deadline.
const NO_DEADLINE: i64 = -1;
/// The latest deadline that Redis lets a field have, in ms since the epoch: 46 bits.
const DEADLINE_MS_MAX: u64 = (1 << 46) - 1;

/// The deadline of a field as an argument states it, in ms since the epoch; it may be past.
pub(super) fn field_deadline(
    argument: &[u8],
    form: Form,
    now_ms: u64,
    command: &str,
) -> Result<u64, CommandError> {
    let number = u64::try_from(integer(argument)?)
        .map_err(|_| CommandError::from("ERR invalid expire time, must be >= 0"))?;
    let number = if form.seconds { number.checked_mul(1000) } else { Some(number) };
    let base = if form.from_now { now_ms } else { 0 };
    number
        .and_then(|number| number.checked_add(base))
        .filter(|&at_ms| at_ms <= DEADLINE_MS_MAX)
        .ok_or_else(|| invalid(command))
}

/// The fields of `… FIELDS numfields field [field …]`, the end of a command; `at` is where the word is to be. `count` is what is said of a
/// number that is none.
pub(super) fn fields<'a>(
    args: &'a [&'a [u8]],
    at: usize,
    count: &'static str,
) -> Result<&'a [&'a [u8]], CommandError> {
    if !args.get(at).is_some_and(|word| is(word, "fields")) {
        return Err("ERR Mandatory argument FIELDS is missing or not at the right position".into());
    }
    let number = args.get(at + 1).and_then(|number| integer(number).ok());
    let number = number.and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0);
    let number = number.ok_or(CommandError::from(count))?;
    match args.get(at + 2..) {
        Some(fields) if fields.len() == number => Ok(fields),
        _ => Err("ERR The `numfields` parameter must match the number of arguments".into()),
    }
}

/// What is said of a number of fields that is none.
pub(super) const BAD_COUNT: &str = "ERR Number of fields must be a positive integer";

/// On what a new deadline depends.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    IfNone,
    IfSome,
    IfLater,
    IfEarlier,
}

impl Condition {
    fn parse(word: &[u8]) -> Condition {
        match word {
            word if is(word, "nx") => Condition::IfNone,
            word if is(word, "xx") => Condition::IfSome,
            word if is(word, "gt") => Condition::IfLater,
            word if is(word, "lt") => Condition::IfEarlier,
            _ => Condition::Always,
        }
    }

    /// Whether a deadline may replace another. No deadline is later than any.
    fn allows(self, before_ms: Option<u64>, after_ms: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::IfNone => before_ms.is_none(),
            Condition::IfSome => before_ms.is_some(),
            Condition::IfLater => before_ms.is_some_and(|before_ms| before_ms < after_ms),
            Condition::IfEarlier => before_ms.is_none_or(|before_ms| before_ms > after_ms),
        }
    }
}

fn set_deadlines(call: &mut Call<'_, '_>, form: Form, command: &str) -> CommandResult {
    const REFUSED: i64 = 0;
    const SET: i64 = 1;
    const REMOVED: i64 = 2;
    let key = &call.keys[0];
    let now_ms = call.txn.now_ms();
    call.txn.hash_len(key)?;
    let deadline_ms = field_deadline(call.args[2], form, now_ms, command)?;
    let condition = Condition::parse(call.args[3]);
    let at = if matches!(condition, Condition::Always) { 3 } else { 4 };
    let fields = fields(call.args, at, "ERR Parameter `numFields` should be greater than 0")?;
    let (mut changed, mut removed) = (false, false);
    call.reply.array(fields.len());
    for field in fields {
        let done = match call.txn.hash_field_deadline(key, field)? {
            None => NO_FIELD,
            Some(before_ms) if !condition.allows(before_ms, deadline_ms) => REFUSED,
            Some(_) => {
                call.txn.hash_set_field_deadline(key, field, Some(deadline_ms))?;
                if deadline_ms <= now_ms { REMOVED } else { SET }
            }
        };
        changed |= done == SET || done == REMOVED;
        removed |= done == REMOVED;
        call.reply.integer(done);
    }
    if changed {
        call.notify(HASH, if removed { "hdel" } else { "hexpire" }, 0);
        notify_if_gone(call);
    }
    Ok(())
}

/// Notes that the hash has lost its last field, if it has.
pub(super) fn notify_if_gone(call: &mut Call<'_, '_>) {
    if !call.txn.exists(&call.keys[0]) {
        call.notify(GENERIC, "del", 0);
    }
}

fn hexpire(call: &mut Call<'_, '_>) -> CommandResult {
    set_deadlines(call, Form::EX, "hexpire")
}

fn hpexpire(call: &mut Call<'_, '_>) -> CommandResult {
    set_deadlines(call, Form::PX, "hpexpire")
}

fn hexpireat(call: &mut Call<'_, '_>) -> CommandResult {
    set_deadlines(call, Form::EXAT, "hexpireat")
}

fn hpexpireat(call: &mut Call<'_, '_>) -> CommandResult {
    set_deadlines(call, Form::PXAT, "hpexpireat")
}

/// Replies what `show` makes of the deadlines.
fn show_deadlines(call: &mut Call<'_, '_>, show: impl Fn(u64, u64) -> u64) -> CommandResult {
    let key = &call.keys[0];
    let found = call.txn.hash_len(key)? > 0;
    call.looked_up(0, found);
    let fields = fields(call.args, 2, BAD_COUNT)?;
    call.reply.array(fields.len());
    for field in fields {
        call.reply.integer(match call.txn.hash_field_deadline(key, field)? {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            // An embedded program may have set one of any length.
            Some(Some(deadline_ms)) => show(deadline_ms, call.txn.now_ms()).min(i64::MAX as u64) as i64,
        });
    }
    Ok(())
}

fn httl(call: &mut Call<'_, '_>) -> CommandResult {
    show_deadlines(call, |deadline_ms, now_ms| deadline_ms.saturating_sub(now_ms).div_ceil(1000))
}

fn hpttl(call: &mut Call<'_, '_>) -> CommandResult {
    show_deadlines(call, u64::saturating_sub)
}

fn hexpiretime(call: &mut Call<'_, '_>) -> CommandResult {
    show_deadlines(call, |deadline_ms, _| deadline_ms.div_ceil(1000))
}

fn hpexpiretime(call: &mut Call<'_, '_>) -> CommandResult {
    show_deadlines(call, |deadline_ms, _| deadline_ms)
}

fn hpersist(call: &mut Call<'_, '_>) -> CommandResult {
    const PERSISTED: i64 = 1;
    let key = &call.keys[0];
    call.txn.hash_len(key)?;
    let fields = fields(call.args, 2, BAD_COUNT)?;
    let mut changed = false;
    call.reply.array(fields.len());
    for field in fields {
        call.reply.integer(match call.txn.hash_field_deadline(key, field)? {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(_)) => {
                changed |= call.txn.hash_set_field_deadline(key, field, None)?;
                PERSISTED
            }
        });
    }
    if changed {
        call.notify(HASH, "hpersist", 0);
    }
    Ok(())
}
