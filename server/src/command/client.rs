//! `CLIENT`: who is connected, and what each connection asks for itself.

use super::args::{integer, is};
use super::client_tracking;
use super::flags::{ADMIN, LOADING, NOSCRIPT, STALE};
use super::object::write_help;
use super::table::table;
use super::waiting::timeout_ms;
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::blocked::Ended;
use crate::client::{ClientCard, ReplyMode};
use crate::pause::Paused;
use crate::resp::Protocol;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: NOSCRIPT | LOADING | STALE,
    keys: KeySpec::None,
    categories: &["connection"],
    group: "connection",
    since: "2.4.0",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "client",
    arity: -2,
    flags: 0,
    summary: "Commands about client connections",
    complexity: "Depends on the subcommand",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "caching",
        arity: 3,
        since: "6.0.0",
        summary: "Whether the next command's keys are tracked",
        run: Run::Server(client_tracking::caching),
        ..ROW
    },
    Command {
        name: "getname",
        arity: 2,
        since: "2.6.9",
        summary: "The name of this connection",
        run: Run::Server(getname),
        ..ROW
    },
    Command {
        name: "getredir",
        arity: 2,
        since: "6.0.0",
        summary: "The client that gets this one's invalidations",
        run: Run::Server(client_tracking::getredir),
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: LOADING | STALE,
        since: "5.0.0",
        summary: "Lists the subcommands",
        run: Run::Server(help),
        ..ROW
    },
    Command {
        name: "id",
        arity: 2,
        since: "5.0.0",
        summary: "The number of this connection",
        run: Run::Server(id),
        ..ROW
    },
    Command {
        name: "info",
        arity: 2,
        since: "6.2.0",
        summary: "What is known of this connection",
        run: Run::Server(info),
        ..ROW
    },
    Command {
        name: "kill",
        arity: -3,
        flags: ROW.flags | ADMIN,
        summary: "Closes connections, by address or by filters",
        complexity: "O(N) where N is the number of client connections",
        run: Run::Server(kill),
        ..ROW
    },
    Command {
        name: "list",
        arity: -2,
        flags: ROW.flags | ADMIN,
        summary: "What is known of all connections, one a line",
        complexity: "O(N) where N is the number of client connections",
        run: Run::Server(list),
        ..ROW
    },
    Command {
        name: "no-evict",
        arity: 3,
        flags: ROW.flags | ADMIN,
        since: "7.0.0",
        summary: "Protects this connection from eviction",
        run: Run::Server(no_evict),
        ..ROW
    },
    Command {
        name: "no-touch",
        arity: 3,
        since: "7.2.0",
        summary: "Whether this connection's commands count as accesses to keys",
        run: Run::Server(no_touch),
        ..ROW
    },
    Command {
        name: "pause",
        arity: -3,
        flags: ROW.flags | ADMIN,
        since: "3.0.0",
        summary: "Has the commands of all clients wait for a while",
        run: Run::Server(pause),
        ..ROW
    },
    Command {
        name: "reply",
        arity: 3,
        since: "3.2.0",
        summary: "Whether this connection gets replies",
        run: Run::Server(reply),
        ..ROW
    },
    Command {
        name: "setinfo",
        arity: 4,
        since: "7.2.0",
        summary: "Tells the client library and its version",
        run: Run::Server(setinfo),
        ..ROW
    },
    Command {
        name: "setname",
        arity: 3,
        since: "2.6.9",
        summary: "Names this connection",
        run: Run::Server(setname),
        ..ROW
    },
    Command {
        name: "tracking",
        arity: -3,
        since: "6.0.0",
        summary: "Whether this connection is told when keys change that it has read",
        complexity: "O(1). Some options may introduce additional complexity.",
        run: Run::Server(client_tracking::tracking),
        ..ROW
    },
    Command {
        name: "trackinginfo",
        arity: 2,
        since: "6.2.0",
        summary: "What this connection tracks",
        run: Run::Server(client_tracking::trackinginfo),
        ..ROW
    },
    Command {
        name: "unblock",
        arity: -3,
        flags: ROW.flags | ADMIN,
        since: "5.0.0",
        summary: "Ends the wait of a client in a blocking command",
        complexity: "O(log N) where N is the number of client connections",
        run: Run::Server(unblock),
        ..ROW
    },
    Command {
        name: "unpause",
        arity: 2,
        flags: ROW.flags | ADMIN,
        since: "6.2.0",
        summary: "Ends a pause",
        complexity: "O(N) where N is the number of paused clients",
        run: Run::Server(unpause),
        ..ROW
    },
];

/// Refuses names that would break the lines of `CLIENT LIST`.
pub(super) fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if is_clean(name) {
        Ok(())
    } else {
        Err("ERR Client names cannot contain spaces, newlines or special characters.".into())
    }
}

fn is_clean(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn id(call: &mut ServerCall<'_>) -> CommandResult {
    // Numbers of connections fit.
    call.reply.integer(call.client.card.id as i64);
    Ok(())
}

fn getname(call: &mut ServerCall<'_>) -> CommandResult {
    let names = call.client.card.names.lock();
    call.reply.bulk_or_null((!names.name.is_empty()).then_some(&names.name[..]));
    Ok(())
}

fn setname(call: &mut ServerCall<'_>) -> CommandResult {
    check_name(call.args[2])?;
    call.client.card.names.lock().name = call.args[2].to_vec();
    call.reply.ok();
    Ok(())
}

fn setinfo(call: &mut ServerCall<'_>) -> CommandResult {
    let (attribute, value) = (call.args[2], call.args[3]);
    let quoted = String::from_utf8_lossy(attribute);
    let mut names = call.client.card.names.lock();
    let place = if is(attribute, "lib-name") {
        &mut names.library
    } else if is(attribute, "lib-ver") {
        &mut names.library_version
    } else {
        return Err(CommandError::of(format!("ERR Unrecognized option '{quoted}'")));
    };
    if !is_clean(value) {
        return Err(CommandError::of(format!(
            "ERR {quoted} cannot contain spaces, newlines or special characters."
        )));
    }
    *place = value.to_vec();
    call.reply.ok();
    Ok(())
}

/// `ON` or `OFF`.
fn switch(argument: &[u8]) -> Result<bool, CommandError> {
    if is(argument, "on") {
        Ok(true)
    } else if is(argument, "off") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn no_evict(call: &mut ServerCall<'_>) -> CommandResult {
    call.client.no_evict = switch(call.args[2])?;
    call.client.card.no_evict.store(call.client.no_evict, Ordering::Relaxed);
    call.reply.ok();
    Ok(())
}

fn no_touch(call: &mut ServerCall<'_>) -> CommandResult {
    call.client.no_touch = switch(call.args[2])?;
    call.client.card.no_touch.store(call.client.no_touch, Ordering::Relaxed);
    call.reply.ok();
    Ok(())
}

fn reply(call: &mut ServerCall<'_>) -> CommandResult {
    let mode = call.args[2];
    if is(mode, "on") {
        call.client.reply_mode = ReplyMode::On;
        call.reply.ok();
    } else if is(mode, "off") {
        call.client.reply_mode = ReplyMode::Off;
    } else if is(mode, "skip") {
        if call.client.reply_mode == ReplyMode::On {
            call.client.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

/// Brings the caller's own card up to date, which otherwise happens at the end of a read.
fn refresh(call: &ServerCall<'_>) {
    let card = &call.client.card;
    card.last_command.store(call.client.last_command, Ordering::Relaxed);
    card.database.store(call.client.database, Ordering::Relaxed);
    card.resp3.store(call.reply.protocol() == Protocol::Resp3, Ordering::Relaxed);
    card.reply_bytes.store(call.reply.bytes().len(), Ordering::Relaxed);
}

fn describe(card: &ClientCard, now_ms: u64, lines: &mut Vec<u8>) {
    card.describe(now_ms, table().name(card.last_command.load(Ordering::Relaxed)), lines);
    lines.push(b'\n');
}

fn info(call: &mut ServerCall<'_>) -> CommandResult {
    refresh(call);
    let mut line = Vec::new();
    describe(&call.client.card, call.worker.now_ms, &mut line);
    call.reply.verbatim("txt", &line);
    Ok(())
}

/// Types of clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    /// Those of no other type; also who is shown every command.
    Normal,
    /// Those that listen to channels.
    Subscriber,
    /// Types that exist elsewhere only.
    Replication,
}

impl Type {
    fn has(self, card: &ClientCard) -> bool {
        match self {
            Type::Normal => !card.is_subscriber(),
            Type::Subscriber => card.is_subscriber(),
            Type::Replication => false,
        }
    }
}

fn type_of(name: &[u8]) -> Result<Type, CommandError> {
    if is(name, "normal") {
        Ok(Type::Normal)
    } else if is(name, "pubsub") {
        Ok(Type::Subscriber)
    } else if ["master", "replica", "slave"].iter().any(|known| is(name, known)) {
        Ok(Type::Replication)
    } else {
        Err(CommandError::of(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name))))
    }
}

fn list(call: &mut ServerCall<'_>) -> CommandResult {
    refresh(call);
    let cards = call.worker.server.clients.all();
    let chosen: Vec<Arc<ClientCard>> = match &call.args[2..] {
        [] => cards,
        [option, name] if is(option, "type") => {
            let wanted = type_of(name)?;
            cards.into_iter().filter(|card| wanted.has(card)).collect()
        }
        [option, ids @ ..] if is(option, "id") && !ids.is_empty() => {
            let mut wanted = Vec::with_capacity(ids.len());
            for id in ids {
                wanted.push(integer(id).map_err(|_| "ERR Invalid client ID")?);
            }
            wanted
                .into_iter()
                .filter_map(|id| cards.iter().find(|card| card.id as i64 == id).cloned())
                .collect()
        }
        _ => return Err(CommandError::Syntax),
    };
    let mut lines = Vec::new();
    for card in chosen {
        describe(&card, call.worker.now_ms, &mut lines);
    }
    call.reply.verbatim("txt", &lines);
    Ok(())
}

/// What `CLIENT KILL` looks for.
#[derive(Default)]
struct Filter<'a> {
    id: Option<i64>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    kind: Option<Type>,
    user: Option<&'a [u8]>,
    age_seconds_min: Option<u64>,
    spares_caller: bool,
}

impl Filter<'_> {
    fn matches(&self, card: &ClientCard, caller: u64, now_ms: u64) -> bool {
        let spared = self.spares_caller && card.id == caller;
        !spared
            && self.kind.is_none_or(|kind| kind.has(card))
            && self.user.is_none_or(|user| card.names.lock().user == user)
            && self.id.is_none_or(|id| card.id as i64 == id)
            && self.address.is_none_or(|address| card.origin.address.as_bytes() == address)
            && self.local_address.is_none_or(|address| card.origin.local_address.as_bytes() == address)
            && self.age_seconds_min.is_none_or(|age| now_ms.saturating_sub(card.connected_ms) / 1000 >= age)
    }
}

fn kill(call: &mut ServerCall<'_>) -> CommandResult {
    let mut filter = Filter { spares_caller: true, ..Filter::default() };
    let old_form = call.args.len() == 3;
    if old_form {
        filter.address = Some(call.args[2]);
        filter.spares_caller = false;
    } else {
        let mut options = call.args[2..].chunks_exact(2);
        for pair in &mut options {
            let (option, value) = (pair[0], pair[1]);
            if is(option, "id") {
                let id = integer(value).ok().filter(|id| *id > 0);
                filter.id = Some(id.ok_or("ERR client-id should be greater than 0")?);
            } else if is(option, "type") {
                filter.kind = Some(type_of(value)?);
            } else if is(option, "addr") {
                filter.address = Some(value);
            } else if is(option, "laddr") {
                filter.local_address = Some(value);
            } else if is(option, "user") {
                if call.worker.server.acl.user(value).is_none() {
                    return Err(CommandError::of(format!(
                        "ERR No such user '{}'",
                        String::from_utf8_lossy(value)
                    )));
                }
                filter.user = Some(value);
            } else if is(option, "skipme") {
                filter.spares_caller = if is(value, "yes") {
                    true
                } else if is(value, "no") {
                    false
                } else {
                    return Err(CommandError::Syntax);
                };
            } else if is(option, "maxage") {
                let age = integer(value).map_err(|_| "ERR maxage is not an integer or out of range")?;
                let age = u64::try_from(age)
                    .ok()
                    .filter(|age| *age > 0)
                    .ok_or("ERR maxage should be greater than 0")?;
                filter.age_seconds_min = Some(age);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if !options.remainder().is_empty() {
            return Err(CommandError::Syntax);
        }
    }
    let caller = call.client.card.id;
    let server = Arc::clone(&call.worker.server);
    let mut killed = 0;
    for card in server.clients.all() {
        if filter.matches(&card, caller, call.worker.now_ms) && !card.killed.load(Ordering::Relaxed) {
            killed += 1;
            if card.id == caller {
                // It still gets this reply.
                call.client.closing = true;
            } else {
                server.kill(&card);
            }
            if old_form {
                break;
            }
        }
    }
    match (old_form, killed) {
        (true, 0) => return Err("ERR No such client".into()),
        (true, _) => call.reply.ok(),
        (false, killed) => call.reply.integer(killed),
    }
    Ok(())
}

fn unblock(call: &mut ServerCall<'_>) -> CommandResult {
    let ended = match call.args[3..] {
        [] => Ended::TimedOut,
        [reason] if is(reason, "timeout") => Ended::TimedOut,
        [reason] if is(reason, "error") => Ended::Unblocked,
        [_] => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
        _ => return Err(wrong_use("unblock")),
    };
    let id = integer(call.args[2])?;
    let told = u64::try_from(id).ok().and_then(|id| call.worker.server.blocked.unblock(id, ended));
    call.reply.integer(i64::from(told.is_some()));
    if let Some(card) = told {
        call.worker.signals.tell(&card);
    }
    Ok(())
}

/// Of a known subcommand with arguments that its arity does not exclude.
fn wrong_use(subcommand: &str) -> CommandError {
    CommandError::of(format!(
        "ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try CLIENT HELP."
    ))
}

fn pause(call: &mut ServerCall<'_>) -> CommandResult {
    let paused = match call.args[3..] {
        [] => Paused::Everything,
        [mode] if is(mode, "all") => Paused::Everything,
        [mode] if is(mode, "write") => Paused::Writes,
        [_] => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
        _ => return Err(wrong_use("pause")),
    };
    let now_ms = call.worker.server.db.now_ms();
    let until_ms = timeout_ms(call.args[2])?.deadline_ms(now_ms).unwrap_or(now_ms);
    call.worker.server.pause.begin(paused, until_ms, now_ms);
    call.reply.ok();
    Ok(())
}

fn unpause(call: &mut ServerCall<'_>) -> CommandResult {
    call.worker.server.end_pause();
    call.reply.ok();
    Ok(())
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    write_help(
        call.reply,
        &[
            "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "CACHING (YES|NO)",
            "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
            "GETREDIR",
            "    Return the client ID we are redirecting to when tracking is enabled.",
            "GETNAME",
            "    Return the name of the current connection.",
            "ID",
            "    Return the ID of the current connection.",
            "INFO",
            "    Return information about the current client connection.",
            "KILL <ip:port>",
            "    Kill connection made from <ip:port>.",
            "KILL <option> <value> [<option> <value> [...]]",
            "    Kill connections. Options are:",
            "    * ADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made from the specified address",
            "    * LADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made to specified local address",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Kill connections by type.",
            "    * USER <username>",
            "      Kill connections authenticated by <username>.",
            "    * SKIPME (YES|NO)",
            "      Skip killing current connection (default: yes).",
            "    * ID <client-id>",
            "      Kill connections by client id.",
            "    * MAXAGE <maxage>",
            "      Kill connections older than the specified age.",
            "LIST [options ...]",
            "    Return information about client connections. Options:",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Return clients of specified type.",
            "    * ID <client-id> [<client-id> ...]",
            "      Return clients of specified IDs only.",
            "NO-EVICT (ON|OFF)",
            "    Protect current client connection from eviction.",
            "NO-TOUCH (ON|OFF)",
            "    Will not touch LRU/LFU stats when this mode is on.",
            "UNPAUSE",
            "    Stop the current client pause, resuming traffic.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Suspend all, or just write, clients for <timeout> milliseconds.",
            "REPLY (ON|OFF|SKIP)",
            "    Control the replies sent to the current connection.",
            "SETINFO <option> <value>",
            "    Set client meta attr. Options are:",
            "    * LIB-NAME: the client lib name.",
            "    * LIB-VER: the client lib version.",
            "SETNAME <name>",
            "    Assign the name <name> to the current connection.",
            "UNBLOCK <clientid> [TIMEOUT|ERROR]",
            "    Unblock the specified blocked client.",
            "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
            "         [OPTIN] [OPTOUT] [NOLOOP]",
            "    Control server assisted client side caching.",
            "TRACKINGINFO",
            "    Report tracking status for the current connection.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}
