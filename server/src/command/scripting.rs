//! Scripts: `EVAL` and its kin, `SCRIPT`. What runs them is in [`scripting`](crate::scripting).

use super::args::integer;
use super::flags::{MOVABLEKEYS, NO_MANDATORY_KEYS, NOSCRIPT, READONLY, SKIP_MONITOR, STALE};
use super::reach::Learned;
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall, keys};
use crate::errand::Errand;
use crate::scripting::compiling::{COMPILED_AT_ONCE_BYTES_MAX, Compiling};
use crate::scripting::run::{self, Code, Fast, Finished, Job, Slow};
use crate::scripting::script::flags as script_flags;
use crate::scripting::sha1;
use crate::scripting::store::Script;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::None,
    categories: &["scripting"],
    group: "scripting",
    since: "",
    summary: "",
    complexity: "Depends on the script that is executed.",
    subcommands: &[],
    run: Run::Container,
};

/// What all that run scripts have in common.
const SCRIPT_FLAGS: u32 = NOSCRIPT | SKIP_MONITOR | STALE | NO_MANDATORY_KEYS | MOVABLEKEYS;

/// Where the keys of `EVAL` and its kin are.
const KEYS: KeySpec = KeySpec::Across { first: 0, last: 0, step: 0, find: keys::counted_from_2 };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "eval",
        arity: -3,
        flags: SCRIPT_FLAGS,
        keys: KEYS,
        since: "2.6.0",
        summary: "Runs a script",
        run: Run::Server(|call| eval(call, false)),
        ..ROW
    },
    Command {
        name: "evalsha",
        arity: -3,
        flags: SCRIPT_FLAGS,
        keys: KEYS,
        since: "2.6.0",
        summary: "Runs a script that the server has, by its SHA-1",
        run: Run::Server(|call| evalsha(call, false)),
        ..ROW
    },
    Command {
        name: "eval_ro",
        arity: -3,
        flags: SCRIPT_FLAGS | READONLY,
        keys: KEYS,
        since: "7.0.0",
        summary: "Runs a script that only reads",
        run: Run::Server(|call| eval(call, true)),
        ..ROW
    },
    Command {
        name: "evalsha_ro",
        arity: -3,
        flags: SCRIPT_FLAGS | READONLY,
        keys: KEYS,
        since: "7.0.0",
        summary: "Runs a script that the server has and that only reads, by its SHA-1",
        run: Run::Server(|call| evalsha(call, true)),
        ..ROW
    },
    Command {
        name: "script",
        arity: -2,
        since: "2.6.0",
        summary: "A container for commands about scripts",
        complexity: "Depends on subcommand.",
        categories: &[],
        subcommands: SCRIPT,
        ..ROW
    },
];

const SCRIPT: &[Command] = &[
    Command {
        name: "debug",
        arity: 3,
        flags: NOSCRIPT,
        since: "3.2.0",
        summary: "The debugger of scripts, which is not here",
        complexity: "O(1)",
        run: Run::Server(debug),
        ..ROW
    },
    Command {
        name: "exists",
        arity: -3,
        flags: NOSCRIPT,
        since: "2.6.0",
        summary: "Whether the server has scripts, by their SHA-1",
        complexity: "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).",
        run: Run::Server(exists),
        ..ROW
    },
    Command {
        name: "flush",
        arity: -2,
        flags: NOSCRIPT,
        since: "2.6.0",
        summary: "Forgets all scripts",
        complexity: "O(N) with N being the number of scripts in cache",
        run: Run::Server(flush),
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: super::flags::LOADING | STALE,
        since: "5.0.0",
        summary: "What the subcommands do",
        complexity: "O(1)",
        run: Run::Server(help),
        ..ROW
    },
    Command {
        name: "kill",
        arity: 2,
        flags: NOSCRIPT | super::flags::ALLOW_BUSY,
        since: "2.6.0",
        summary: "Ends the scripts that are running; nothing of what they did has happened",
        complexity: "O(1)",
        run: Run::Server(kill),
        ..ROW
    },
    Command {
        name: "load",
        arity: 3,
        flags: NOSCRIPT | STALE,
        since: "2.6.0",
        summary: "Keeps a script on the server",
        complexity: "O(N) with N being the length in bytes of the script body.",
        run: Run::Server(load),
        ..ROW
    },
];

const NOSCRIPT_TEXT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// `numkeys` and what follows it, apart: keys and arguments.
pub(super) fn split<'a>(args: &'a [&'a [u8]]) -> Result<(&'a [&'a [u8]], &'a [&'a [u8]]), CommandError> {
    let count = integer(args.get(2).copied().unwrap_or_default())?;
    let rest = args.get(3..).unwrap_or_default();
    if count > rest.len() as i64 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    match usize::try_from(count) {
        Ok(count) => Ok(rest.split_at(count)),
        Err(_) => Err("ERR Number of keys can't be negative".into()),
    }
}

/// A script that is seen for the first time, if it can be compiled; nothing if a large one is to be compiled elsewhere first.
fn checked(call: &mut ServerCall<'_>, source: &[u8]) -> Result<Option<Arc<Script>>, CommandError> {
    let wrong = |text: Vec<u8>| CommandError::Bytes([&b"ERR "[..], &text].concat());
    match call.take_brought() {
        Some(Errand::Compiling(compiling)) => return compiling.result().map(Some).map_err(wrong),
        Some(other) => call.put_brought(other),
        None => {}
    }
    let script = Script::new(source).map_err(|text| CommandError::of(format!("ERR {text}")))?;
    let server = &call.worker.server;
    if source.len() > COMPILED_AT_ONCE_BYTES_MAX && !call.client.may_not_wait {
        let compiling = Compiling::new(server, script);
        call.want(Errand::Compiling(Box::new(compiling)));
        return Ok(None);
    }
    run::check(server, &script).map_err(wrong)?;
    Ok(Some(Arc::new(script)))
}

fn eval(call: &mut ServerCall<'_>, read_only: bool) -> CommandResult {
    if let Some(result) = finished(call) {
        return result;
    }
    let args = call.args;
    split(args)?;
    let source = args[1];
    let scripting = &call.worker.server.scripting;
    let digest = sha1::digest(source);
    let script = match scripting.store.find(&digest) {
        Some(script) => script,
        None => {
            let Some(script) = checked(call, source)? else { return Ok(()) };
            call.worker.server.scripting.store.keep(Arc::clone(&script), false);
            script
        }
    };
    run_script(call, script, read_only)
}

fn evalsha(call: &mut ServerCall<'_>, read_only: bool) -> CommandResult {
    if let Some(result) = finished(call) {
        return result;
    }
    let args = call.args;
    let scripting = &call.worker.server.scripting;
    if args[1].len() != 2 * sha1::DIGEST_BYTES {
        return Err(NOSCRIPT_TEXT.into());
    }
    split(args)?;
    let Some(script) = sha1::parse(args[1]).and_then(|digest| scripting.store.find(&digest)) else {
        return Err(NOSCRIPT_TEXT.into());
    };
    run_script(call, script, read_only)
}

fn run_script(call: &mut ServerCall<'_>, script: Arc<Script>, read_only: bool) -> CommandResult {
    let declared = script.header.flags;
    let no_writes = declared.is_some_and(|flags| flags & script_flags::NO_WRITES != 0);
    if read_only && declared.is_some() && !no_writes {
        return Err("ERR Can not execute a script with write flag using *_ro command.".into());
    }
    let allow_growth = declared.is_none_or(|flags| flags & script_flags::ALLOW_OOM != 0);
    run_code(call, &Code::Script(script), read_only || no_writes, allow_growth)
}

/// Runs a script or function with the keys and arguments of this call, here or elsewhere.
pub(super) fn run_code(
    call: &mut ServerCall<'_>,
    code: &Code,
    read_only: bool,
    allow_growth: bool,
) -> CommandResult {
    let args = call.args;
    let (keys, arguments) = split(args)?;
    let (card, user) = (Arc::clone(&call.client.card), Arc::clone(&call.client.user));
    let job = Job {
        code,
        keys,
        arguments,
        read_only,
        allow_growth,
        database: call.client.database,
        card: &card,
        user: &user,
        protocol: call.reply.protocol(),
    };
    if let Some(block) = call.block.take() {
        return block.run(call.worker, &job, call.reply);
    }
    let fetched = match call.take_brought() {
        Some(Errand::Values(fetch, _)) => Some(fetch),
        _ => None,
    };
    match run::fast(call.worker, &job, fetched) {
        Fast::Finished(finished) => finish(call, &finished),
        Fast::Cold(fetch) => {
            call.want(Errand::Values(fetch, Learned::new(true)));
            Ok(())
        }
        Fast::Busy => {
            call.busy = true;
            Ok(())
        }
        Fast::Slow => {
            let slow = Slow::new(&call.worker.server, &job, args);
            call.want(Errand::Script(Box::new(slow)));
            Ok(())
        }
    }
}

/// The result of a script that was run elsewhere for this call; nothing if there was none.
pub(super) fn finished(call: &mut ServerCall<'_>) -> Option<CommandResult> {
    match call.take_brought()? {
        Errand::Script(slow) => Some(finish(call, &slow.finish().unwrap_or_default())),
        other => {
            call.put_brought(other);
            None
        }
    }
}

fn finish(call: &mut ServerCall<'_>, finished: &Finished) -> CommandResult {
    call.lsn = finished.lsn;
    if let Some(text) = finished.reply.strip_prefix(b"-") {
        // Counted as every error, and with what was written before it in the log.
        let text = text.strip_suffix(b"\r\n").unwrap_or(text);
        return Err(CommandError::Bytes(text.to_vec()));
    }
    call.reply.bytes_mut().extend_from_slice(&finished.reply);
    Ok(())
}

fn load(call: &mut ServerCall<'_>) -> CommandResult {
    let source = call.args[2];
    let scripting = &call.worker.server.scripting;
    let script = match scripting.store.find(&sha1::digest(source)) {
        Some(script) => script,
        None => {
            let Some(script) = checked(call, source)? else { return Ok(()) };
            script
        }
    };
    call.reply.bulk(script.name.as_bytes());
    call.worker.server.scripting.store.keep(script, true);
    Ok(())
}

fn exists(call: &mut ServerCall<'_>) -> CommandResult {
    let digests = &call.args[2..];
    call.reply.array(digests.len());
    for digest in digests {
        let found = sha1::parse(digest)
            .is_some_and(|digest| call.worker.server.scripting.store.find(&digest).is_some());
        call.reply.integer(i64::from(found));
    }
    Ok(())
}

fn flush(call: &mut ServerCall<'_>) -> CommandResult {
    match call.args {
        [_, _] => {}
        [_, _, how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
        _ => return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".into()),
    }
    call.worker.server.scripting.store.flush();
    call.reply.ok();
    Ok(())
}

/// Ends what runs on threads of its own and is of that sort; whether anything did.
pub(super) fn end_running(call: &ServerCall<'_>, functions: bool) -> bool {
    let mut any = false;
    for running in call.worker.server.scripting.running.lock().iter() {
        if matches!(running.code, Code::Function(_)) == functions {
            running.killed.store(true, Ordering::Relaxed);
            any = true;
        }
    }
    any
}

fn kill(call: &mut ServerCall<'_>) -> CommandResult {
    if !end_running(call, false) {
        return Err("NOTBUSY No scripts in execution right now.".into());
    }
    call.reply.ok();
    Ok(())
}

fn debug(call: &mut ServerCall<'_>) -> CommandResult {
    let mode = call.args[2];
    if mode.eq_ignore_ascii_case(b"no") {
        call.reply.ok();
        return Ok(());
    }
    if mode.eq_ignore_ascii_case(b"yes") || mode.eq_ignore_ascii_case(b"sync") {
        return Err("ERR SCRIPT DEBUG is not supported".into());
    }
    Err("ERR Use SCRIPT DEBUG YES/SYNC/NO".into())
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    const LINES: [&str; 17] = [
        "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on replicas.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the scripts cache.",
        "    * SYNC: Synchronously flush the scripts cache.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
        "HELP",
        "    Prints this help.",
    ];
    call.reply.array(LINES.len());
    for line in LINES {
        call.reply.simple(line);
    }
    Ok(())
}
