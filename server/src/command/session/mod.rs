//! `SESSION.*`: native sessions. What they mean is in the engine ([`sessile::sessions`]); here are arguments and replies.
//!
//! A command says before it begins which keys and tokens it is going to need ([`find`]), runs in a transaction as any command on data does, and begins
//! again if the engine needs further keys. What must never happen here: a token is written anywhere but into the reply to whoever made it.

mod access;
mod create;
mod end;
mod events;
mod list;
mod lock;
mod options;
mod policy;

use super::reach::Learned;
use super::{Call, Command, CommandError, CommandResult, FindSessions, KeySpec, Run};
use crate::blocked::Awaited;
use crate::client::{ClientCard, Durable};
use crate::resp::Reply;
use crate::server::Server;
use crate::strays;
use sessile::sessions::{self, Handle, NewToken, SessionError, SessionKey, TokenDigest};
use sessile::{Db, Extended, Key, Lsn};
use std::sync::Arc;

/// What the rows of all of them have in common.
const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::Sessions(find_usual),
    categories: &["session"],
    group: "session",
    since: "sessile 0.1",
    summary: "",
    complexity: "",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of each of its files.
pub const FAMILIES: [&[Command]; 7] = [
    policy::COMMANDS,
    create::COMMANDS,
    access::COMMANDS,
    end::COMMANDS,
    list::COMMANDS,
    events::COMMANDS,
    lock::COMMANDS,
];

/// Tokens that were drawn for a command, or for several in a transaction: the same however often it begins anew.
#[derive(Debug, Default)]
pub struct Tokens {
    drawn: Vec<NewToken>,
    /// How many of them the commands have asked for.
    wanted: usize,
    /// How many of them have been taken since the transaction began.
    taken: usize,
}

impl Tokens {
    /// For the next command, or transaction: what was drawn for the last one may be somebody's, and is never used again.
    pub fn begin(&mut self) {
        self.drawn.clear();
        (self.wanted, self.taken) = (0, 0);
    }

    /// The transaction begins, or begins again: the first is the next.
    pub fn rewind(&mut self) {
        self.taken = 0;
    }

    /// Sees to it that there is one more.
    fn want(&mut self, db: &Db) -> Result<&NewToken, sessile::Error> {
        if self.wanted == self.drawn.len() {
            self.drawn.push(db.new_session_token()?);
        }
        self.wanted += 1;
        Ok(&self.drawn[self.wanted - 1])
    }

    fn take(&mut self) -> Option<&NewToken> {
        self.taken += 1;
        self.last()
    }

    /// The one that was taken last.
    fn last(&self) -> Option<&NewToken> {
        self.drawn.get(self.taken.checked_sub(1)?)
    }
}

/// Tokens that no session has, which one command has presented, or those of one transaction: counted once, and told of once, however often it begins
/// anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missed {
    /// So many are counted with their address.
    counted: u64,
    /// So many were seen since it began anew.
    seen: u64,
    /// What is to be told, of all that were counted there.
    many: Option<u64>,
    told: bool,
}

impl Missed {
    /// It begins, or begins again.
    pub fn rewind(&mut self) {
        (self.seen, self.told) = (0, false);
    }

    /// So many more; what is to be told now.
    fn note(&mut self, count: u64, count_more: impl FnOnce(u64) -> Option<u64>) -> Option<u64> {
        self.seen += count;
        if self.seen > self.counted {
            let more = self.seen - self.counted;
            self.counted = self.seen;
            self.many = count_more(more).or(self.many);
        }
        self.many.filter(|_| !self.told)
    }

    fn told(&mut self) {
        self.told = true;
    }
}

/// What a command asks for before it begins.
pub struct Wanted<'a> {
    tokens: &'a mut Tokens,
    keys: &'a mut Vec<SessionKey>,
}

/// What commands on sessions have besides the transaction.
pub struct Access<'a> {
    /// The server.
    pub server: &'a Server,
    /// See [`Tokens`].
    pub tokens: &'a mut Tokens,
    /// Who has sent the command.
    pub client: &'a Arc<ClientCard>,
    /// To be set by one whose reply must wait until what it has written, or tells of, survives a power cut.
    pub must_be_durable: &'a mut Durable,
    /// See [`Missed`].
    pub missed: &'a mut Missed,
    /// To be set by one that has found nothing: what it waits for, and till when in ms since the epoch (`None`: for ever).
    pub awaits: Option<(Awaited, Option<u64>)>,
    /// Whether it may wait: not in a transaction.
    pub may_wait: bool,
    /// If it has waited before: till when it is to, ms since the epoch.
    pub place_deadline_ms: Option<u64>,
}

/// Whether a command counts sessions by class, so that those whose deadline has come are to end first.
pub fn counts_all(command: &Command, args: &[&[u8]]) -> bool {
    match command.name {
        "session.count" => true,
        "session.revoke" => args.get(1).is_some_and(|what| super::args::is(what, "class")),
        _ => false,
    }
}

/// Adds what a command on sessions is going to need to what is known of it.
///
/// # Errors
/// As [`Db::new_session_token`].
pub fn find(
    db: &Db,
    tokens: &mut Tokens,
    find: FindSessions,
    args: &[&[u8]],
    learned: &mut Learned,
) -> Result<(), sessile::Error> {
    let mut keys = Vec::new();
    find(db, args, &mut Wanted { tokens, keys: &mut keys })?;
    learned.add_sessions(keys);
    Ok(())
}

/// The keys that most commands need.
fn find_usual(_: &Db, _: &[&[u8]], wanted: &mut Wanted<'_>) -> Result<(), sessile::Error> {
    wanted.keys.extend(sessions::usual_keys());
    Ok(())
}

/// The key of one token.
fn find_token(db: &Db, args: &[&[u8]], wanted: &mut Wanted<'_>) -> Result<(), sessile::Error> {
    let digest = args.get(1).and_then(|token| db.session_digest(token));
    wanted.keys.extend(digest.map(|digest| digest.key()));
    Ok(())
}

/// The keys of any number of tokens.
fn find_tokens(db: &Db, args: &[&[u8]], wanted: &mut Wanted<'_>) -> Result<(), sessile::Error> {
    let digests = args.iter().skip(1).filter_map(|token| db.session_digest(token));
    wanted.keys.extend(digests.map(|digest| digest.key()));
    Ok(())
}

impl<'a> Call<'a, '_> {
    fn session_access(&mut self) -> Result<&mut Access<'a>, CommandError> {
        self.sessions.as_mut().ok_or(CommandError::from("ERR sessions can't be used from here"))
    }

    fn session_db(&self) -> Result<&'a Db, CommandError> {
        let access =
            self.sessions.as_ref().ok_or(CommandError::from("ERR sessions can't be used from here"))?;
        Ok(&access.server.db)
    }

    /// The digest of a token; `None` if it is none. One that no session has is told of, if there are many such.
    fn session_digest(&self, token: &[u8]) -> Result<Option<TokenDigest>, CommandError> {
        Ok(self.session_db()?.session_digest(token))
    }

    /// Has the reply wait until what was written survives a power cut, and if nothing was, all that was before: somebody who heard no reply may say it
    /// again, and hear that there is nothing left to do.
    fn must_be_durable(&mut self, changed: bool) -> CommandResult {
        let db = self.session_db()?;
        let before = if changed { Lsn::ZERO } else { db.appended() };
        // There is nothing to wait for, mostly.
        self.must_be_durable_at(if before > db.durable() { before } else { Lsn::ZERO })
    }

    /// Has the reply wait until the log survives a power cut up to there, and what was written with it.
    fn must_be_durable_at(&mut self, at: Lsn) -> Result<(), CommandError> {
        let access = self.session_access()?;
        access.must_be_durable.add(Durable { written: true, at });
        if at > access.server.db.durable() {
            access.server.db.request_sync(at);
        }
        Ok(())
    }

    /// So many tokens were presented that no session has: tells of them if they are many.
    fn session_missed(&mut self, count: u64) -> CommandResult {
        if count == 0 || !self.txn.may_write() {
            return Ok(());
        }
        let now_ms = self.txn.now_ms();
        let access = self.session_access()?;
        let host = strays::host(&access.client.origin.address);
        let Some(many) = access.missed.note(count, |more| access.server.strays.count(host, more, now_ms))
        else {
            return Ok(());
        };
        self.on_sessions(|call| sessions::tell_of_unknown(call.txn, many, host.as_bytes()))?;
        self.session_access()?.missed.told();
        Ok(())
    }

    /// Runs an operation on sessions, again for further keys if they can be had at once.
    fn on_sessions<R>(
        &mut self,
        mut run: impl FnMut(&mut Self) -> Result<R, SessionError>,
    ) -> Result<R, CommandError> {
        loop {
            match run(self) {
                Ok(answer) => return Ok(answer),
                Err(SessionError::Needs(keys)) => self.reach_sessions(keys)?,
                Err(error) => return Err(refusal(&error)),
            }
        }
    }

    fn reach_sessions(&mut self, keys: Vec<SessionKey>) -> Result<(), CommandError> {
        let db = self.session_db()?;
        let hashed: Vec<Key<'_>> = keys.iter().map(|key| key.hashed(db)).collect();
        match self.txn.extend(&hashed) {
            Ok(Extended::Ready) => Ok(()),
            Ok(Extended::Contended | Extended::Cold(_)) => {
                drop(hashed);
                let mut learned = self.learned.clone();
                learned.add_sessions(keys);
                Err(CommandError::NeedsKeys(Box::new(learned)))
            }
            Err(error) => Err(CommandError::of(super::dispatch::refusal(&error))),
        }
    }
}

/// The error reply for what the engine refuses.
fn refusal(error: &SessionError) -> CommandError {
    CommandError::of(match error {
        SessionError::Limit { limit } => {
            format!("LIMIT the user has {limit} sessions of this class, as many as its policy allows")
        }
        SessionError::Conflict { version } => format!("CONFLICT {version} is the session's version"),
        SessionError::Fenced { fence } => format!("FENCED {fence} is the fence of the session's last lock"),
        SessionError::StaleToken => {
            "STALETOKEN the token was rotated away: only GET, TOUCH and END are for it".to_owned()
        }
        SessionError::Db(error) => super::dispatch::refusal(error),
        // Each names its argument.
        SessionError::Preset => format!("ERR class: {error}"),
        SessionError::NotOfUser => format!("ERR EXCEPT: {error}"),
        error => format!("ERR {error}"),
    })
}

/// The error of a name that can't be a class's.
fn wrong_name() -> CommandError {
    refusal(&SessionError::ClassName)
}

/// Writes a name and a time, or the null of one that is not set.
fn put_time(reply: &mut Reply, name: &str, at_ms: Option<u64>) {
    reply.bulk(name.as_bytes());
    match at_ms {
        Some(at_ms) => reply.integer(shown(at_ms)),
        None => reply.null(),
    }
}

fn put_number(reply: &mut Reply, name: &str, number: u64) {
    reply.bulk(name.as_bytes());
    reply.integer(shown(number));
}

fn put_text(reply: &mut Reply, name: &str, text: &[u8]) {
    reply.bulk(name.as_bytes());
    reply.bulk(text);
}

fn put_handle(reply: &mut Reply, handle: Handle) {
    put_text(reply, "handle", &handle.text());
}

/// A number for a reply; those that don't fit are beyond any clock.
fn shown(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
