//! Fields of hashes read or written together with their deadlines: `HGETEX`, `HSETEX`, `HGETDEL`. As of Redis 8.

use super::args::{c_string, is, wrong_arity};
use super::deadline::Form;
use super::flags::{DENYOOM, FAST, WRITE};
use super::hash_expire::{BAD_COUNT, field_deadline, fields, notify_if_gone};
use super::number::parse_integer;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{HASH, NEW};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["hash"],
    group: "hash",
    since: "8.0.0",
    summary: "",
    complexity: "O(N) where N is the number of specified fields",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "hgetdel",
        arity: -5,
        flags: WRITE | FAST,
        summary: "Fields of a hash, which are removed",
        run: Run::Data(hgetdel),
        ..ROW
    },
    Command {
        name: "hgetex",
        arity: -5,
        flags: WRITE | FAST,
        summary: "Fields of a hash; sets or takes off their deadlines",
        run: Run::Data(hgetex),
        ..ROW
    },
    Command {
        name: "hsetex",
        arity: -6,
        flags: WRITE | DENYOOM | FAST,
        summary: "Sets fields of a hash and their deadlines",
        complexity: "O(N) where N is the number of fields being set",
        run: Run::Data(hsetex),
        ..ROW
    },
];

/// The form of deadline that a word announces.
fn form_of(word: &[u8]) -> Option<Form> {
    match word {
        word if is(word, "ex") => Some(Form::EX),
        word if is(word, "px") => Some(Form::PX),
        word if is(word, "exat") => Some(Form::EXAT),
        word if is(word, "pxat") => Some(Form::PXAT),
        _ => None,
    }
}

fn hgetdel(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    call.txn.hash_len(key)?;
    let fields = fields(call.args, 2, BAD_COUNT)?;
    let mut removed = false;
    call.reply.array(fields.len());
    for field in fields {
        call.reply.bulk_or_null(call.txn.hash_get(key, field)?);
        removed |= call.txn.hash_remove(key, field)?;
    }
    if removed {
        call.notify(HASH, "hdel", 0);
        notify_if_gone(call);
    }
    Ok(())
}

fn hgetex(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let now_ms = call.txn.now_ms();
    call.txn.hash_len(key)?;
    let option = call.args[2];
    // Nothing, no deadline, or one.
    let (deadline_ms, at) = match form_of(option) {
        Some(form) => (Some(Some(field_deadline(call.args[3], form, now_ms, "hgetex")?)), 4),
        None if is(option, "persist") => (Some(None), 3),
        None => (None, 2),
    };
    let fields = fields(call.args, at, BAD_COUNT)?;
    let removes = deadline_ms.flatten().is_some_and(|deadline_ms| deadline_ms <= now_ms);
    let mut changed = false;
    call.reply.array(fields.len());
    for field in fields {
        call.reply.bulk_or_null(call.txn.hash_get(key, field)?);
        let before_ms = call.txn.hash_field_deadline(key, field)?;
        if let (Some(before_ms), Some(deadline_ms)) = (before_ms, deadline_ms) {
            call.txn.hash_set_field_deadline(key, field, deadline_ms)?;
            changed |= deadline_ms.is_some() || before_ms.is_some();
        }
    }
    if changed {
        let set = if deadline_ms.flatten().is_some() { "hexpire" } else { "hpersist" };
        call.notify(HASH, if removes { "hdel" } else { set }, 0);
        notify_if_gone(call);
    }
    Ok(())
}

/// What `HSETEX` does with the deadlines of the fields that it sets.
#[derive(Clone, Copy)]
enum Deadline {
    Clear,
    Keep,
    At(u64),
}

struct Options<'a> {
    deadline: Deadline,
    if_none: bool,
    if_all: bool,
    pairs: &'a [[&'a [u8]; 2]],
}

impl<'a> Options<'a> {
    fn parse(args: &'a [&'a [u8]], now_ms: u64) -> Result<Options<'a>, CommandError> {
        let mut options = Options { deadline: Deadline::Clear, if_none: false, if_all: false, pairs: &[] };
        let mut index = 2;
        while let Some(&word) = args.get(index) {
            index += 1;
            let form = form_of(word);
            if is(word, "fields") {
                let Some(rest) = args.get(index + 1..).filter(|rest| rest.len() >= 2) else {
                    return Err(wrong_arity("hsetex"));
                };
                let count =
                    parse_integer(args[index]).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
                let count = count.ok_or(CommandError::from("ERR invalid number of fields"))?;
                let (pairs, []) = rest.as_chunks::<2>() else { return Err(wrong_arity("hsetex")) };
                if pairs.len() as i64 != count {
                    return Err(wrong_arity("hsetex"));
                }
                options.pairs = pairs;
                return Ok(options);
            } else if form.is_some() || is(word, "keepttl") {
                if !matches!(options.deadline, Deadline::Clear) {
                    return Err(
                        "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified".into()
                    );
                }
                options.deadline = match form {
                    None => Deadline::Keep,
                    Some(form) => {
                        let Some(moment) = args.get(index) else {
                            return Err("ERR missing expire time".into());
                        };
                        index += 1;
                        Deadline::At(field_deadline(moment, form, now_ms, "hsetex")?)
                    }
                };
            } else if is(word, "fxx") || is(word, "fnx") {
                if options.if_all || options.if_none {
                    return Err("ERR Only one of FXX or FNX arguments can be specified".into());
                }
                (options.if_all, options.if_none) = (is(word, "fxx"), is(word, "fnx"));
            } else {
                return Err(CommandError::Bytes([b"ERR unknown argument: ", c_string(word)].concat()));
            }
        }
        Err(CommandError::Syntax)
    }
}

fn hsetex(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let now_ms = call.txn.now_ms();
    let options = Options::parse(call.args, now_ms)?;
    let created = call.txn.hash_len(key)? == 0;
    for [field, _] in options.pairs.iter().filter(|_| options.if_all || options.if_none) {
        if call.txn.hash_get(key, field)?.is_some() != options.if_all {
            call.reply.integer(0);
            return Ok(());
        }
    }
    let deadline_ms = match options.deadline {
        Deadline::At(deadline_ms) => Some(deadline_ms),
        Deadline::Clear | Deadline::Keep => None,
    };
    let removes = deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms);
    for [field, value] in options.pairs {
        match options.deadline {
            Deadline::Keep => call.txn.hash_update(key, field, value)?,
            _ => call.txn.hash_set_until(key, field, value, deadline_ms)?,
        };
    }
    call.reply.integer(1);
    if removes && created {
        // In Redis they are there for a moment.
        call.notify(NEW, "new", 0);
    }
    call.notify(HASH, "hset", 0);
    if deadline_ms.is_some() {
        call.notify(HASH, if removes { "hdel" } else { "hexpire" }, 0);
    }
    notify_if_gone(call);
    Ok(())
}
