//! `SESSION.END` and `SESSION.REVOKE`: logout. Its reply says that no crash brings the session back, unless `LAZY` is said.

use super::super::args::is;
use super::super::flags::{NOSCRIPT, WRITE};
use super::super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use super::options::{Options, once};
use super::policy::class;
use super::{ROW, Wanted, find_tokens, find_usual, shown};
use sessile::Db;
use sessile::sessions::{self, Handle, SessionError};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "session.end",
        arity: -2,
        flags: WRITE | NOSCRIPT,
        keys: KeySpec::Sessions(find_end),
        summary: "Ends sessions; how many of them lived",
        complexity: "O(N), N being the number of tokens",
        run: Run::Data(end),
        ..ROW
    },
    Command {
        name: "session.revoke",
        arity: -3,
        flags: WRITE | NOSCRIPT,
        keys: KeySpec::Sessions(find_revoke),
        summary: "Ends the sessions of a user, of a handle or of a class; how many",
        complexity: "O(N), N being the number of the user's sessions; O(1) for a handle or a class",
        run: Run::Data(revoke),
        ..ROW
    },
];

fn find_end(db: &Db, args: &[&[u8]], wanted: &mut Wanted<'_>) -> Result<(), sessile::Error> {
    find_usual(db, args, wanted)?;
    find_tokens(db, args, wanted)
}

fn find_revoke(db: &Db, args: &[&[u8]], wanted: &mut Wanted<'_>) -> Result<(), sessile::Error> {
    find_usual(db, args, wanted)?;
    let except = args.get(4).filter(|_| is(args[3], "except")).and_then(|token| db.session_digest(token));
    wanted.keys.extend(except.map(|digest| digest.key()));
    Ok(())
}

fn end(call: &mut Call<'_, '_>) -> CommandResult {
    let lazy = call.args.len() > 2 && call.args.last().is_some_and(|last| is(last, "lazy"));
    let tokens = &call.args[1..call.args.len() - usize::from(lazy)];
    let db = call.session_db()?;
    let digests: Vec<_> = tokens.iter().filter_map(|token| db.session_digest(token)).collect();
    let ended = call.on_sessions(|call| sessions::end(call.txn, &digests))?;
    call.session_missed((tokens.len() as u64).saturating_sub(ended))?;
    if !lazy {
        call.must_be_durable(ended > 0)?;
    }
    call.reply.integer(shown(ended));
    Ok(())
}

fn revoke(call: &mut Call<'_, '_>) -> CommandResult {
    let (what, of) = (call.args[1], call.args[2]);
    let (mut except, mut lazy) = (None, None);
    let mut options = Options::new(call.args, 3);
    while let Some(word) = options.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"except" if is(what, "user") => once(&mut except, "EXCEPT", options.value("EXCEPT")?)?,
            b"lazy" => {
                once(&mut lazy, "LAZY", ())?;
                options.end()?;
            }
            word => return Err(options.unknown(word)),
        }
    }
    let ended = if is(what, "user") {
        let except = match except {
            None => None,
            Some(token) => {
                let digest = call.session_digest(token)?;
                Some(digest.ok_or_else(|| super::refusal(&SessionError::NotOfUser))?)
            }
        };
        call.on_sessions(|call| sessions::revoke_user(call.txn, of, except.as_ref()))?
    } else if is(what, "handle") {
        let handle = Handle::parse(of).ok_or(CommandError::from("ERR HANDLE must be a session's handle"))?;
        u64::from(call.on_sessions(|call| sessions::revoke_handle(call.txn, handle))?)
    } else if is(what, "class") {
        let class = class(of)?;
        let ended = call.on_sessions(|call| sessions::revoke_class(call.txn, class))?;
        ended.ok_or_else(|| super::refusal(&SessionError::UnknownClass))?
    } else {
        return Err("ERR SESSION.REVOKE is followed by USER, HANDLE or CLASS".into());
    };
    if lazy.is_none() {
        call.must_be_durable(ended > 0)?;
    }
    call.reply.integer(shown(ended));
    Ok(())
}
