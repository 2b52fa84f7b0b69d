//! `SESSION.GET`, `SET`, `UNSET` and `TOUCH`: what a request does with its session.

use super::super::flags::{DENYOOM, FAST, MAY_WRITE, NOSCRIPT, WRITE};
use super::super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use super::options::{Options, once};
use super::{ROW, find_token, find_tokens, put_handle, put_number, put_text, put_time};
use sessile::sessions::{self, Conditions, SessionError};

const TOKEN: Command = Command { keys: KeySpec::Sessions(find_token), ..ROW };

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "session.get",
        arity: -2,
        // One that can't be logged is answered all the same.
        flags: WRITE | MAY_WRITE | FAST | NOSCRIPT,
        summary: "What is known of a session, which is touched unless NOTOUCH is said",
        complexity: "O(N), N being the number of fields",
        run: Run::Data(get),
        ..TOKEN
    },
    Command {
        name: "session.set",
        arity: -5,
        flags: WRITE | DENYOOM | FAST | NOSCRIPT,
        summary: "Sets fields of a session, if it has the version and the fence that are asked for",
        complexity: "O(N), N being the number of fields",
        run: Run::Data(set),
        ..TOKEN
    },
    Command {
        name: "session.unset",
        arity: -4,
        flags: WRITE | FAST | NOSCRIPT,
        summary: "Removes fields of a session, if it has the version and the fence that are asked for",
        complexity: "O(N), N being the number of fields",
        run: Run::Data(unset),
        ..TOKEN
    },
    Command {
        name: "session.touch",
        arity: -2,
        flags: WRITE | MAY_WRITE | FAST | NOSCRIPT,
        keys: KeySpec::Sessions(find_tokens),
        summary: "Moves the deadlines of sessions; how many of them live",
        complexity: "O(N), N being the number of tokens",
        run: Run::Data(touch),
        ..ROW
    },
];

fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let (mut untouched, mut asked) = (None, None);
    let mut options = Options::new(call.args, 2);
    while let Some(word) = options.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"notouch" => once(&mut untouched, "NOTOUCH", ())?,
            b"fields" => once(&mut asked, "FIELDS", options.counted(1)?)?,
            word => return Err(options.unknown(word)),
        }
    }
    let touch = untouched.is_none() && call.txn.may_write();
    let Some(digest) = call.session_digest(call.args[1])? else { return tell(call, None) };
    let written = call.on_sessions(|call| {
        let Some(session) = sessions::get(call.txn, &digest, touch)? else { return Ok(false) };
        let reply = &mut *call.reply;
        reply.map(10);
        put_handle(reply, session.handle());
        put_text(reply, "class", session.class().as_bytes());
        reply.bulk(b"user");
        reply.bulk_or_null(session.user());
        put_text(reply, "meta", session.meta());
        put_number(reply, "version", session.version());
        put_number(reply, "created-ms", session.created_ms());
        put_number(reply, "seen-ms", session.seen_ms());
        put_time(reply, "deadline-ms", session.deadline_ms());
        put_time(reply, "absolute-ms", session.absolute_ms());
        reply.bulk(b"fields");
        match asked {
            Some(names) => {
                let found: Vec<(&[u8], &[u8])> =
                    names.iter().filter_map(|name| Some((*name, session.field(name)?))).collect();
                reply.map(found.len());
                for (name, value) in found {
                    reply.bulk(name);
                    reply.bulk(value);
                }
            }
            None => {
                let mut count = 0;
                session.for_each_field(&mut |_, _| count += 1);
                reply.map(count);
                session.for_each_field(&mut |name, value| {
                    reply.bulk(name);
                    reply.bulk(value);
                });
            }
        }
        Ok(true)
    })?;
    if written { Ok(()) } else { tell(call, None) }
}

/// `[IFVERSION v] [FENCE n] FIELDS n …`
fn change<'a>(args: &'a [&'a [u8]], parts: usize) -> Result<(Conditions, &'a [&'a [u8]]), CommandError> {
    let (mut version, mut fence, mut fields) = (None, None, None);
    let mut options = Options::new(args, 2);
    while let Some(word) = options.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"ifversion" => {
                once(&mut version, "IFVERSION", options.number("IFVERSION", 0, i64::MAX as u64)?)?;
            }
            b"fence" => once(&mut fence, "FENCE", options.number("FENCE", 0, i64::MAX as u64)?)?,
            b"fields" => once(&mut fields, "FIELDS", options.counted(parts)?)?,
            word => return Err(options.unknown(word)),
        }
    }
    let fields = fields.ok_or(CommandError::from("ERR FIELDS is missing"))?;
    Ok((Conditions { version, fence }, fields))
}

/// Replies the version after a change, or that there is no such session.
fn tell(call: &mut Call<'_, '_>, version: Option<u64>) -> CommandResult {
    match version {
        Some(version) => call.reply.integer(super::shown(version)),
        None => {
            call.session_missed(1)?;
            call.reply.null();
        }
    }
    Ok(())
}

fn set(call: &mut Call<'_, '_>) -> CommandResult {
    let (conditions, fields) = change(call.args, 2)?;
    let fields = super::create::pairs(fields);
    let Some(digest) = call.session_digest(call.args[1])? else { return tell(call, None) };
    let version = call.on_sessions(|call| sessions::set(call.txn, &digest, &conditions, &fields))?;
    tell(call, version)
}

fn unset(call: &mut Call<'_, '_>) -> CommandResult {
    let (conditions, fields) = change(call.args, 1)?;
    let Some(digest) = call.session_digest(call.args[1])? else { return tell(call, None) };
    let version = call.on_sessions(|call| sessions::unset(call.txn, &digest, &conditions, fields))?;
    tell(call, version)
}

fn touch(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session_db()?;
    let digests: Vec<_> = call.args[1..].iter().filter_map(|token| db.session_digest(token)).collect();
    let alive = if call.txn.may_write() {
        call.on_sessions(|call| sessions::touch(call.txn, &digests))?
    } else {
        call.on_sessions(|call| {
            let mut alive = 0;
            for digest in &digests {
                alive += u64::from(sessions::get(call.txn, digest, false)?.is_some());
            }
            Ok::<u64, SessionError>(alive)
        })?
    };
    call.session_missed((call.args.len() as u64 - 1).saturating_sub(alive))?;
    call.reply.integer(super::shown(alive));
    Ok(())
}
