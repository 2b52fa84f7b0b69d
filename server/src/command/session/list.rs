//! `SESSION.LIST` and `SESSION.COUNT`: which sessions there are.

use super::super::flags::{NOSCRIPT, READONLY};
use super::super::{Call, Command, CommandResult, Run};
use super::options::{Options, once};
use super::policy::class;
use super::{ROW, put_handle, put_number, put_text, put_time, shown};
use sessile::sessions;

/// Sessions that a list shows at most, unless `COUNT` says otherwise, and that it may say.
const LISTED_DEFAULT: u64 = 100;
const LISTED_MAX: u64 = 10_000;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "session.list",
        arity: -3,
        flags: READONLY | NOSCRIPT,
        summary: "The sessions of a user, most recently seen first",
        complexity: "O(N log(N)), N being the number of the user's sessions",
        run: Run::Data(list),
        ..ROW
    },
    Command {
        name: "session.count",
        arity: -1,
        flags: READONLY | NOSCRIPT,
        summary: "How many sessions live, of a class or all, of a user or all",
        complexity: "O(1), or O(N) of a user with N sessions",
        run: Run::Data(count),
        ..ROW
    },
];

fn list(call: &mut Call<'_, '_>) -> CommandResult {
    let mut options = Options::new(call.args, 1);
    if !options.take("user") {
        return Err("ERR SESSION.LIST is followed by USER".into());
    }
    let user = options.value("USER")?;
    let (mut cursor, mut count) = (None, None);
    while let Some(word) = options.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"cursor" => once(&mut cursor, "CURSOR", options.number("CURSOR", 0, i64::MAX as u64)?)?,
            b"count" => once(&mut count, "COUNT", options.number("COUNT", 1, LISTED_MAX)?)?,
            word => return Err(options.unknown(word)),
        }
    }
    let count = count.unwrap_or(LISTED_DEFAULT) as usize;
    let page = call.on_sessions(|call| sessions::list(call.txn, user, cursor.unwrap_or(0), count))?;
    let reply = &mut *call.reply;
    reply.map(2);
    put_number(reply, "cursor", page.cursor);
    reply.bulk(b"sessions");
    reply.array(page.sessions.len());
    for session in &page.sessions {
        reply.map(7);
        put_handle(reply, session.handle);
        put_text(reply, "class", session.class.as_bytes());
        put_number(reply, "created-ms", session.created_ms);
        put_number(reply, "seen-ms", session.seen_ms);
        put_time(reply, "deadline-ms", session.deadline_ms);
        put_time(reply, "absolute-ms", session.absolute_ms);
        put_text(reply, "meta", &session.meta);
    }
    Ok(())
}

fn count(call: &mut Call<'_, '_>) -> CommandResult {
    let (mut of_class, mut of_user) = (None, None);
    let mut options = Options::new(call.args, 1);
    while let Some(word) = options.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"class" => once(&mut of_class, "CLASS", class(options.value("CLASS")?)?)?,
            b"user" => once(&mut of_user, "USER", options.value("USER")?)?,
            word => return Err(options.unknown(word)),
        }
    }
    let count = call.on_sessions(|call| sessions::count(call.txn, of_class, of_user))?;
    call.reply.integer(shown(count));
    Ok(())
}
