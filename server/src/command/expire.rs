//! Deadlines of keys: setting them, reading them, taking them off.

use super::args::{c_string, is};
use super::deadline::{self, Form};
use super::flags::{FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};

use crate::notify::GENERIC;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["keyspace"],
    group: "generic",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "expire",
        arity: -3,
        flags: WRITE | FAST,
        since: "1.0.0",
        summary: "Sets the time to live of a key, in seconds",
        run: Run::Data(expire),
        ..ROW
    },
    Command {
        name: "pexpire",
        arity: -3,
        flags: WRITE | FAST,
        since: "2.6.0",
        summary: "Sets the time to live of a key, in milliseconds",
        run: Run::Data(pexpire),
        ..ROW
    },
    Command {
        name: "expireat",
        arity: -3,
        flags: WRITE | FAST,
        since: "1.2.0",
        summary: "Sets the deadline of a key, in seconds since the epoch",
        run: Run::Data(expireat),
        ..ROW
    },
    Command {
        name: "pexpireat",
        arity: -3,
        flags: WRITE | FAST,
        since: "2.6.0",
        summary: "Sets the deadline of a key, in milliseconds since the epoch",
        run: Run::Data(pexpireat),
        ..ROW
    },
    Command {
        name: "ttl",
        arity: 2,
        flags: READONLY | FAST,
        since: "1.0.0",
        summary: "The time to live of a key, in seconds",
        run: Run::Data(ttl),
        ..ROW
    },
    Command {
        name: "pttl",
        arity: 2,
        flags: READONLY | FAST,
        since: "2.6.0",
        summary: "The time to live of a key, in milliseconds",
        run: Run::Data(pttl),
        ..ROW
    },
    Command {
        name: "expiretime",
        arity: 2,
        flags: READONLY | FAST,
        since: "7.0.0",
        summary: "The deadline of a key, in seconds since the epoch",
        run: Run::Data(expiretime),
        ..ROW
    },
    Command {
        name: "pexpiretime",
        arity: 2,
        flags: READONLY | FAST,
        since: "7.0.0",
        summary: "The deadline of a key, in milliseconds since the epoch",
        run: Run::Data(pexpiretime),
        ..ROW
    },
    Command {
        name: "persist",
        arity: 2,
        flags: WRITE | FAST,
        since: "2.2.0",
        summary: "Takes the deadline off a key",
        run: Run::Data(persist),
        ..ROW
    },
];

/// On what an `EXPIRE` depends.
#[derive(Default)]
struct Conditions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_earlier: bool,
}

impl Conditions {
    fn parse(args: &[&[u8]]) -> Result<Conditions, CommandError> {
        let mut conditions = Conditions::default();
        for word in args {
            if is(word, "nx") {
                conditions.if_none = true;
            } else if is(word, "xx") {
                conditions.if_some = true;
            } else if is(word, "gt") {
                conditions.if_later = true;
            } else if is(word, "lt") {
                conditions.if_earlier = true;
            } else {
                return Err(CommandError::Bytes([b"ERR Unsupported option ", c_string(word)].concat()));
            }
        }
        if conditions.if_none && (conditions.if_some || conditions.if_later || conditions.if_earlier) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if conditions.if_later && conditions.if_earlier {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(conditions)
    }

    /// Whether a deadline may replace another. No deadline is later than any.
    fn allow(&self, before_ms: Option<u64>, after_ms: i64) -> bool {
        let later = |before_ms: u64| i128::from(after_ms) > i128::from(before_ms);
        let earlier = |before_ms: u64| i128::from(after_ms) < i128::from(before_ms);
        !(self.if_none && before_ms.is_some()
            || self.if_some && before_ms.is_none()
            || self.if_later && !before_ms.is_some_and(later)
            || self.if_earlier && !before_ms.is_none_or(earlier))
    }
}

fn set_deadline(call: &mut Call<'_, '_>, form: Form, command: &str) -> CommandResult {
    let conditions = Conditions::parse(&call.args[3..])?;
    let deadline_ms = deadline::any(call.args[2], form, call.txn.now_ms(), command)?;
    let key = &call.keys[0];
    let done = if call.args.len() > 3 {
        let before = call.txn.deadline(key);
        before.is_some_and(|before_ms| conditions.allow(before_ms, deadline_ms))
    } else {
        true
    };
    // A deadline in the past deletes the key, and one before the epoch is in the past.
    let deadline_ms = u64::try_from(deadline_ms).unwrap_or(0);
    let done = done && call.txn.set_deadline(key, Some(deadline_ms));
    if done {
        let past = deadline_ms <= call.txn.now_ms();
        call.notify(GENERIC, if past { "del" } else { "expire" }, 0);
    }
    call.reply.integer(i64::from(done));
    Ok(())
}

fn expire(call: &mut Call<'_, '_>) -> CommandResult {
    set_deadline(call, Form::EX, "expire")
}

fn pexpire(call: &mut Call<'_, '_>) -> CommandResult {
    set_deadline(call, Form::PX, "pexpire")
}

fn expireat(call: &mut Call<'_, '_>) -> CommandResult {
    set_deadline(call, Form::EXAT, "expireat")
}

fn pexpireat(call: &mut Call<'_, '_>) -> CommandResult {
    set_deadline(call, Form::PXAT, "pexpireat")
}

/// Replies -2 for no key, -1 for no deadline, or what `show` makes of the deadline.
fn show_deadline(call: &mut Call<'_, '_>, show: impl Fn(u64, u64) -> u64) -> CommandResult {
    let deadline = call.txn.deadline(&call.keys[0]);
    call.looked_up(0, deadline.is_some());
    call.reply.integer(match deadline {
        None => -2,
        Some(None) => -1,
        // Deadlines come from 64-bit signed integers.
        Some(Some(deadline_ms)) => show(deadline_ms, call.txn.now_ms()).min(i64::MAX as u64) as i64,
    });
    Ok(())
}

fn ttl(call: &mut Call<'_, '_>) -> CommandResult {
    show_deadline(call, |deadline_ms, now_ms| deadline_ms.saturating_sub(now_ms).saturating_add(500) / 1000)
}

fn pttl(call: &mut Call<'_, '_>) -> CommandResult {
    show_deadline(call, u64::saturating_sub)
}

fn expiretime(call: &mut Call<'_, '_>) -> CommandResult {
    show_deadline(call, |deadline_ms, _| deadline_ms.saturating_add(500) / 1000)
}

fn pexpiretime(call: &mut Call<'_, '_>) -> CommandResult {
    show_deadline(call, |deadline_ms, _| deadline_ms)
}

fn persist(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let done = call.txn.deadline(key).flatten().is_some() && call.txn.set_deadline(key, None);
    if done {
        call.notify(GENERIC, "persist", 0);
    }
    call.reply.integer(i64::from(done));
    Ok(())
}
