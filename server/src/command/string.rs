//! Strings as wholes: `GET`, `SET` and their like. Numbers in strings are in `counter`, parts of strings in `range`.
//!
//! A string's deadline dies with it: `SET` without `KEEPTTL` clears it, and `GETEX` is the one reader that changes it.

use super::args::{is, wrong_arity};
use super::deadline::{self, Form};
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{EXPIRED, GENERIC, KEY_MISS, NEW, STRING};
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
        name: "get",
        arity: 2,
        flags: READONLY | FAST,
        since: "1.0.0",
        summary: "The string at a key",
        run: Run::Data(get),
        ..ROW
    },
    Command {
        name: "set",
        arity: -3,
        flags: WRITE | DENYOOM,
        since: "1.0.0",
        summary: "Sets a key to a string, with conditions and a deadline",
        run: Run::Data(set),
        ..ROW
    },
    Command {
        name: "setnx",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        since: "1.0.0",
        summary: "Sets a key to a string unless it exists",
        run: Run::Data(setnx),
        ..ROW
    },
    Command {
        name: "setex",
        arity: 4,
        flags: WRITE | DENYOOM,
        since: "2.0.0",
        summary: "Sets a key to a string that lives for some seconds",
        run: Run::Data(setex),
        ..ROW
    },
    Command {
        name: "psetex",
        arity: 4,
        flags: WRITE | DENYOOM,
        since: "2.6.0",
        summary: "Sets a key to a string that lives for some milliseconds",
        run: Run::Data(psetex),
        ..ROW
    },
    Command {
        name: "getset",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        since: "1.0.0",
        summary: "Sets a key to a string and gives the old one",
        run: Run::Data(getset),
        ..ROW
    },
    Command {
        name: "getdel",
        arity: 2,
        flags: WRITE | FAST,
        since: "6.2.0",
        summary: "Gives the string at a key and deletes the key",
        run: Run::Data(getdel),
        ..ROW
    },
    Command {
        name: "getex",
        arity: -2,
        flags: WRITE | FAST,
        since: "6.2.0",
        summary: "Gives the string at a key and changes its deadline",
        run: Run::Data(getex),
        ..ROW
    },
    Command {
        name: "mget",
        arity: -2,
        flags: READONLY | FAST,
        keys: KeySpec::ALL,
        since: "1.0.0",
        summary: "The strings at several keys",
        complexity: "O(N) where N is the number of keys to retrieve",
        run: Run::Data(mget),
        ..ROW
    },
    Command {
        name: "mset",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: KeySpec::Range { first: 1, last: -1, step: 2 },
        since: "1.0.1",
        summary: "Sets several keys to strings, atomically",
        complexity: "O(N) where N is the number of keys to set",
        run: Run::Data(mset),
        ..ROW
    },
    Command {
        name: "msetnx",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: KeySpec::Range { first: 1, last: -1, step: 2 },
        since: "1.0.1",
        summary: "Sets several keys to strings, atomically, unless one of them exists",
        complexity: "O(N) where N is the number of keys to set",
        run: Run::Data(msetnx),
        ..ROW
    },
];

fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let value = call.txn.string(&call.keys[0])?;
    let found = value.is_some();
    call.reply.bulk_or_null(value);
    call.looked_up(0, found);
    Ok(())
}

/// What `SET` and `GETEX` can be told, in any order.
#[derive(Default)]
struct Options<'a> {
    if_absent: bool,
    if_present: bool,
    /// As of Redis 8.4 and Valkey 8.1: only if the key holds this string.
    if_equal: Option<&'a [u8]>,
    get: bool,
    keep_deadline: bool,
    persist: bool,
    deadline: Option<(Form, &'a [u8])>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OptionsOf {
    Set,
    Getex,
}

impl<'a> Options<'a> {
    /// The same form of deadline may be given twice (the last one counts), two forms may not: as Redis has it.
    fn parse(args: &[&'a [u8]], of: OptionsOf) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        let mut index = 0;
        while let Some(&word) = args.get(index) {
            let set = of == OptionsOf::Set;
            if set && is(word, "nx") && !options.if_present && options.if_equal.is_none() {
                options.if_absent = true;
            } else if set && is(word, "xx") && !options.if_absent && options.if_equal.is_none() {
                options.if_present = true;
            } else if set
                && is(word, "ifeq")
                && !(options.if_absent || options.if_present || options.if_equal.is_some())
            {
                index += 1;
                options.if_equal = Some(args.get(index).ok_or(CommandError::Syntax)?);
            } else if set && is(word, "get") {
                options.get = true;
            } else if set && is(word, "keepttl") && options.deadline.is_none() {
                options.keep_deadline = true;
            } else if !set && is(word, "persist") && options.deadline.is_none() {
                options.persist = true;
            } else {
                let form = match word.len() {
                    2 if is(word, "ex") => Form::EX,
                    2 if is(word, "px") => Form::PX,
                    4 if is(word, "exat") => Form::EXAT,
                    4 if is(word, "pxat") => Form::PXAT,
                    _ => return Err(CommandError::Syntax),
                };
                index += 1;
                let Some(&moment) = args.get(index) else { return Err(CommandError::Syntax) };
                let other_form = options.deadline.is_some_and(|(before, _)| before != form);
                if other_form || options.keep_deadline || options.persist {
                    return Err(CommandError::Syntax);
                }
                options.deadline = Some((form, moment));
            }
            index += 1;
        }
        Ok(options)
    }
}

fn set(call: &mut Call<'_, '_>) -> CommandResult {
    if call.args.len() == 3 {
        call.txn.put_string(&call.keys[0], call.args[2], None);
        call.notify(STRING, "set", 0);
        call.reply.ok();
        return Ok(());
    }
    let options = Options::parse(&call.args[3..], OptionsOf::Set)?;
    let now_ms = call.txn.now_ms();
    let deadline_ms = match options.deadline {
        Some((form, moment)) => Some(deadline::positive(moment, form, now_ms, "set")?),
        None => None,
    };
    let key = &call.keys[0];
    if options.get {
        get(call)?;
    }
    let refused = match options.if_equal {
        Some(expected) => call.txn.string(key)? != Some(expected),
        None => (options.if_absent || options.if_present) && call.txn.exists(key) != options.if_present,
    };
    if refused {
        if !options.get {
            call.reply.null();
        }
        return Ok(());
    }
    if options.keep_deadline {
        call.txn.set(key, call.args[2], Expiry::Keep);
        call.notify(STRING, "set", 0);
    } else {
        put(call, call.args[2], deadline_ms);
    }
    if !options.get {
        call.reply.ok();
    }
    Ok(())
}

/// Makes the first key hold a string, and says so.
fn put(call: &mut Call<'_, '_>, value: &[u8], deadline_ms: Option<u64>) {
    let key = &call.keys[0];
    // Redis has a key that is born dead for a moment.
    let stillborn = deadline_ms.is_some_and(|deadline_ms| deadline_ms <= call.txn.now_ms());
    if stillborn && !call.txn.exists(key) {
        call.notify(NEW, "new", 0);
    }
    call.txn.put_string(key, value, deadline_ms);
    call.notify(STRING, "set", 0);
    if deadline_ms.is_some() {
        call.notify(GENERIC, "expire", 0);
    }
    if stillborn {
        call.notify(EXPIRED, "expired", 0);
    }
}

fn setnx(call: &mut Call<'_, '_>) -> CommandResult {
    let absent = !call.txn.exists(&call.keys[0]);
    if absent {
        put(call, call.args[2], None);
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

fn setex(call: &mut Call<'_, '_>) -> CommandResult {
    let deadline_ms = deadline::positive(call.args[2], Form::EX, call.txn.now_ms(), "setex")?;
    put(call, call.args[3], Some(deadline_ms));
    call.reply.ok();
    Ok(())
}

fn psetex(call: &mut Call<'_, '_>) -> CommandResult {
    let deadline_ms = deadline::positive(call.args[2], Form::PX, call.txn.now_ms(), "psetex")?;
    put(call, call.args[3], Some(deadline_ms));
    call.reply.ok();
    Ok(())
}

fn getset(call: &mut Call<'_, '_>) -> CommandResult {
    get(call)?;
    put(call, call.args[2], None);
    Ok(())
}

fn getdel(call: &mut Call<'_, '_>) -> CommandResult {
    get(call)?;
    if call.txn.delete(&call.keys[0]) {
        call.notify(GENERIC, "del", 0);
    }
    Ok(())
}

fn getex(call: &mut Call<'_, '_>) -> CommandResult {
    let options = Options::parse(&call.args[2..], OptionsOf::Getex)?;
    let key = &call.keys[0];
    let now_ms = call.txn.now_ms();
    // A missing key or another type answers before the deadline is looked at.
    let value = call.txn.string(key)?;
    call.lookups.count(value.is_some());
    let Some(value) = value else {
        call.reply.null();
        call.notify(KEY_MISS, "keymiss", 0);
        return Ok(());
    };
    let deadline_ms = match options.deadline {
        Some((form, moment)) => Some(deadline::positive(moment, form, now_ms, "getex")?),
        None => None,
    };
    call.reply.bulk(value);
    if deadline_ms.is_some() {
        call.txn.set_deadline(key, deadline_ms);
        let past = deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms);
        call.notify(GENERIC, if past { "del" } else { "expire" }, 0);
    } else if options.persist && call.txn.deadline(key).flatten().is_some() {
        call.txn.set_deadline(key, None);
        call.notify(GENERIC, "persist", 0);
    }
    Ok(())
}

fn mget(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.array(call.keys.len());
    for (index, key) in call.keys.iter().enumerate() {
        // Another type is null here, not an error.
        let value = call.txn.string(key);
        let found = !matches!(value, Ok(None));
        call.reply.bulk_or_null(value.unwrap_or(None));
        call.looked_up(index, found);
    }
    Ok(())
}

fn put_pairs(call: &mut Call<'_, '_>) {
    for (index, value) in call.args[2..].iter().step_by(2).enumerate() {
        call.txn.put_string(&call.keys[index], value, None);
        call.notify(STRING, "set", index);
    }
}

fn mset(call: &mut Call<'_, '_>) -> CommandResult {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity("mset"));
    }
    put_pairs(call);
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Call<'_, '_>) -> CommandResult {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity("msetnx"));
    }
    let absent = !call.keys.iter().any(|key| call.txn.exists(key));
    if absent {
        put_pairs(call);
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}
