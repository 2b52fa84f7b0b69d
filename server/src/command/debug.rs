//! `DEBUG`: what test suites lean on. Who may use it says `enable-debug-command`.

use super::args::is;
use super::dispatch::refusal;
use super::flags::{ADMIN, LOADING, NOSCRIPT, STALE};
use super::object::{DEBUG_OBJECT, write_help};
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::client::Client;
use crate::config::{DebugAccess, Live};
use crate::resp::Protocol;
use sessile_wal::sync::{Condvar, Mutex};
use std::time::Duration;

/// Longest `DEBUG SLEEP`, in seconds: a day.
const SLEEP_SECONDS_MAX: f64 = 86_400.0;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "debug",
    arity: -2,
    flags: ADMIN | NOSCRIPT | LOADING | STALE,
    keys: KeySpec::None,
    categories: &[],
    group: "server",
    since: "1.0.0",
    summary: "SLEEP, SET-ACTIVE-EXPIRE, RELOAD, PROTOCOL, JMAP, ERROR, LOG and OBJECT, for test suites",
    complexity: "Depends on the subcommand",
    subcommands: &[DEBUG_OBJECT],
    run: Run::Server(debug),
}];

/// Whether this client may use `DEBUG`.
///
/// # Errors
///
/// The reply if it may not.
pub(super) fn check_access(live: &Live, client: &Client) -> Result<(), CommandError> {
    match live.debug_access {
        DebugAccess::Yes => Ok(()),
        DebugAccess::Local if client.card.origin.local => Ok(()),
        _ => Err("ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.".into()),
    }
}

fn debug(call: &mut ServerCall<'_>) -> CommandResult {
    check_access(&call.worker.live, call.client)?;
    match call.args {
        [_, name] if is(name, "help") => write_help(call.reply, HELP),
        [_, name, seconds] if is(name, "sleep") => {
            let seconds =
                std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            sleep(Duration::from_secs_f64(if seconds > 0.0 { seconds.min(SLEEP_SECONDS_MAX) } else { 0.0 }));
            call.worker.begin_batch();
            call.reply.ok();
        }
        [_, name, on] if is(name, "set-active-expire") => {
            call.worker.server.db.set_active_expiry(*on != b"0");
            call.reply.ok();
        }
        [_, name, ..] if is(name, "reload") => {
            // What Redis checks with it is that the data survives being written out.
            let Some(result) = call.checkpoint() else { return Ok(()) };
            result.map_err(|error| CommandError::of(refusal(&error)))?;
            call.reply.ok();
        }
        [_, name, kind] if is(name, "protocol") => protocol(call, kind)?,
        [_, name] if is(name, "jmap") => {
            let stats = call.worker.server.db.stats();
            tracing::info!(data_bytes = stats.memory_bytes, "memory");
            call.reply.ok();
        }
        [_, name, text] if is(name, "error") => {
            return Err(CommandError::of(String::from_utf8_lossy(text).into_owned()));
        }
        [_, name, text] if is(name, "log") => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(text));
            call.reply.ok();
        }
        [_, name, ..] => {
            return Err(CommandError::of(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
                String::from_utf8_lossy(name)
            )));
        }
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}

/// Stops this loop, and nobody else's.
fn sleep(duration: Duration) {
    // Nobody notifies it: it wakes when the time is over.
    let mutex = Mutex::new(());
    let mut guard = mutex.lock();
    let _ = Condvar::new().wait_for(&mut guard, duration);
}

fn protocol(call: &mut ServerCall<'_>, kind: &[u8]) -> CommandResult {
    let reply = &mut *call.reply;
    if is(kind, "string") {
        reply.bulk(b"Hello World");
    } else if is(kind, "integer") {
        reply.integer(12345);
    } else if is(kind, "double") {
        reply.double_text("3.141");
    } else if is(kind, "null") {
        reply.null();
    } else if is(kind, "array") {
        reply.array(3);
        (0..3).for_each(|number| reply.integer(number));
    } else if is(kind, "set") {
        reply.set(3);
        (0..3).for_each(|number| reply.integer(number));
    } else if is(kind, "map") {
        reply.map(3);
        for number in 0..3 {
            reply.integer(number);
            reply.boolean(number == 1);
        }
    } else if is(kind, "attrib") {
        if reply.protocol() == Protocol::Resp3 {
            reply.attribute(1);
            reply.bulk(b"key-popularity");
            reply.array(2);
            reply.bulk(b"key:123");
            reply.integer(90);
        }
        reply.bulk(b"Some real reply following the attribute");
    } else if is(kind, "push") {
        if reply.protocol() == Protocol::Resp2 {
            return Err("ERR RESP2 is not supported by this command".into());
        }
        reply.push(2);
        reply.bulk(b"server-cpu-usage");
        reply.integer(42);
        reply.bulk(b"Some real reply following the push reply");
    } else if is(kind, "bignum") {
        reply.big_number("1234567999999999999999999999999999999");
    } else if is(kind, "true") {
        reply.boolean(true);
    } else if is(kind, "false") {
        reply.boolean(false);
    } else if is(kind, "verbatim") {
        reply.verbatim("txt", b"This is a verbatim\nstring");
    } else {
        return Err("ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false".into());
    }
    Ok(())
}

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "JMAP",
    "    Write figures of memory to the server log.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "RELOAD [option ...]",
    "    Make a checkpoint. What is in memory stays there.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SLEEP <seconds>",
    "    Stop the event loop of this connection for <seconds>. Decimals allowed.",
    "HELP",
    "    Prints this help.",
];
