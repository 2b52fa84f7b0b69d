//! `SESSION.CREATE` and `SESSION.ROTATE`: tokens. The reply is the only place where one is ever written.

use super::super::flags::{DENYOOM, FAST, NOSCRIPT, WRITE};
use super::super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use super::options::{Options, SECONDS_MAX, once};
use super::policy::class;
use super::{ROW, Wanted, find_usual, put_handle, put_number, put_text, put_time};
use sessile::Db;
use sessile::sessions::{self, Made, NewSession, TokenDigest};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "session.create",
        arity: -2,
        flags: WRITE | DENYOOM | NOSCRIPT,
        keys: KeySpec::Sessions(find_create),
        summary: "Makes a session of a class, and its token, which is told once",
        complexity: "O(N+S), N being the number of fields and S that of the user's sessions",
        run: Run::Data(create),
        ..ROW
    },
    Command {
        name: "session.rotate",
        arity: -2,
        flags: WRITE | DENYOOM | FAST | NOSCRIPT,
        keys: KeySpec::Sessions(find_rotate),
        summary: "Gives a session another token; the old one may read, touch and end it for a while, and is noticed ever after",
        complexity: "O(1)",
        run: Run::Data(rotate),
        ..ROW
    },
];

fn find_create(db: &Db, args: &[&[u8]], wanted: &mut Wanted<'_>) -> Result<(), sessile::Error> {
    find_usual(db, args, wanted)?;
    wanted.keys.push(wanted.tokens.want(db)?.digest.key());
    Ok(())
}

fn find_rotate(db: &Db, args: &[&[u8]], wanted: &mut Wanted<'_>) -> Result<(), sessile::Error> {
    super::find_token(db, args, wanted)?;
    find_create(db, args, wanted)
}

fn create(call: &mut Call<'_, '_>) -> CommandResult {
    let class = class(call.args[1])?;
    let (mut user, mut idle_s, mut max_s, mut meta, mut fields) = (None, None, None, None, None);
    let mut options = Options::new(call.args, 2);
    while let Some(word) = options.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"user" => once(&mut user, "USER", options.value("USER")?)?,
            b"idle" => once(&mut idle_s, "IDLE", options.number("IDLE", 0, SECONDS_MAX)?)?,
            b"max" => once(&mut max_s, "MAX", options.number("MAX", 0, SECONDS_MAX)?)?,
            b"meta" => once(&mut meta, "META", options.value("META")?)?,
            b"fields" => once(&mut fields, "FIELDS", options.counted(2)?)?,
            word => return Err(options.unknown(word)),
        }
    }
    let fields: Vec<[&[u8]; 2]> = pairs(fields.unwrap_or_default());
    let new = NewSession { class, user, idle_s, max_s, meta: meta.unwrap_or_default(), fields: &fields };
    let digest = next_digest(call)?;
    let made = call.on_sessions(|call| sessions::create(call.txn, &new, &digest))?;
    tell(call, &made)
}

fn rotate(call: &mut Call<'_, '_>) -> CommandResult {
    let mut options = Options::new(call.args, 2);
    let grace_s = match options.take("grace") {
        true => Some(options.number("GRACE", 0, u64::from(u32::MAX))?),
        false => None,
    };
    options.end()?;
    let new = next_digest(call)?;
    let Some(digest) = call.session_digest(call.args[1])? else {
        call.session_missed(1)?;
        call.reply.null();
        return Ok(());
    };
    match call.on_sessions(|call| sessions::rotate(call.txn, &digest, grace_s, &new))? {
        None => {
            call.must_be_durable(false)?;
            call.session_missed(1)?;
            call.reply.null();
            Ok(())
        }
        Some(made) => {
            call.must_be_durable(true)?;
            tell(call, &made)
        }
    }
}

/// Fields and values, two by two.
pub(super) fn pairs<'a>(texts: &[&'a [u8]]) -> Vec<[&'a [u8]; 2]> {
    texts.as_chunks::<2>().0.to_vec()
}

/// The digest of the token that was drawn for this command.
fn next_digest(call: &mut Call<'_, '_>) -> Result<TokenDigest, CommandError> {
    let token = call.session_access()?.tokens.take();
    token.map(|token| token.digest).ok_or("ERR no token was drawn for it".into())
}

/// Tells of a session that was made, with the token that was drawn for it.
fn tell(call: &mut Call<'_, '_>, made: &Made) -> CommandResult {
    let access = call.sessions.as_ref().ok_or("ERR sessions can't be used from here")?;
    let token = access.tokens.last().ok_or("ERR no token was drawn for it")?;
    let reply = &mut *call.reply;
    reply.map(5);
    put_text(reply, "token", token.token.as_str().as_bytes());
    put_handle(reply, made.handle);
    put_number(reply, "version", made.version);
    put_time(reply, "deadline-ms", made.deadline_ms);
    put_time(reply, "absolute-ms", made.absolute_ms);
    Ok(())
}
