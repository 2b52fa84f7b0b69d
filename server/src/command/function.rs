//! Functions: `FUNCTION` and `FCALL`. What runs them is in [`scripting`](crate::scripting).

use super::flags::{
    ALLOW_BUSY, DENYOOM, LOADING, MOVABLEKEYS, NO_MANDATORY_KEYS, NOSCRIPT, READONLY, SKIP_MONITOR, STALE,
    WRITE,
};
use super::glob::{self, Case};
use super::number::parse_integer;
use super::scripting::{end_running, finished, run_code};
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall, keys};
use crate::errand::Errand;
use crate::resp::Reply;
use crate::scripting::changing::Changing;
use crate::scripting::dump;
use crate::scripting::libraries::{Change, Library, Policy};
use crate::scripting::run::Code;
use crate::scripting::script::flags as script_flags;
use sessile_wal::{Clock, SystemClock};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::None,
    categories: &["scripting"],
    group: "scripting",
    since: "7.0.0",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// What all that run scripts have in common.
const SCRIPT_FLAGS: u32 = NOSCRIPT | SKIP_MONITOR | STALE | NO_MANDATORY_KEYS | MOVABLEKEYS;

/// Where the keys of `FCALL` are.
const KEYS: KeySpec = KeySpec::Across { first: 0, last: 0, step: 0, find: keys::counted_from_2 };

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "fcall",
        arity: -3,
        flags: SCRIPT_FLAGS,
        keys: KEYS,
        summary: "Calls a function",
        complexity: "Depends on the function that is executed.",
        run: Run::Server(|call| fcall(call, false)),
        ..ROW
    },
    Command {
        name: "fcall_ro",
        arity: -3,
        flags: SCRIPT_FLAGS | READONLY,
        keys: KEYS,
        summary: "Calls a function that only reads",
        complexity: "Depends on the function that is executed.",
        run: Run::Server(|call| fcall(call, true)),
        ..ROW
    },
    Command {
        name: "function",
        arity: -2,
        summary: "A container for commands about functions",
        complexity: "Depends on subcommand.",
        categories: &[],
        subcommands: FUNCTION,
        ..ROW
    },
];

const FUNCTION: &[Command] = &[
    Command {
        name: "delete",
        arity: 3,
        flags: WRITE | NOSCRIPT,
        summary: "Deletes a library and its functions",
        run: Run::Server(|call| {
            let name = String::from_utf8_lossy(call.args[2]).into_owned();
            change(call, || Ok(Change::Delete(name)))
        }),
        ..ROW
    },
    Command {
        name: "dump",
        arity: 2,
        flags: NOSCRIPT,
        summary: "All libraries, to be restored elsewhere",
        complexity: "O(N) where N is the number of functions",
        run: Run::Server(dump_all),
        ..ROW
    },
    Command {
        name: "flush",
        arity: -2,
        flags: WRITE | NOSCRIPT,
        summary: "Deletes all libraries",
        complexity: "O(N) where N is the number of functions deleted",
        run: Run::Server(flush),
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: LOADING | STALE,
        summary: "What the subcommands do",
        run: Run::Server(help),
        ..ROW
    },
    Command {
        name: "kill",
        arity: 2,
        flags: NOSCRIPT | ALLOW_BUSY,
        summary: "Ends the functions that are running; nothing of what they did has happened",
        run: Run::Server(kill),
        ..ROW
    },
    Command {
        name: "list",
        arity: -2,
        flags: NOSCRIPT,
        summary: "The libraries and their functions",
        complexity: "O(N) where N is the number of functions",
        run: Run::Server(list),
        ..ROW
    },
    Command {
        name: "load",
        arity: -3,
        flags: WRITE | DENYOOM | NOSCRIPT,
        summary: "Loads a library",
        complexity: "O(1) (considering compilation time is redundant)",
        run: Run::Server(load),
        ..ROW
    },
    Command {
        name: "restore",
        arity: -3,
        flags: WRITE | DENYOOM | NOSCRIPT,
        summary: "Loads the libraries that were dumped",
        complexity: "O(N) where N is the number of functions on the payload",
        run: Run::Server(restore),
        ..ROW
    },
    Command {
        name: "stats",
        arity: 2,
        flags: NOSCRIPT | ALLOW_BUSY,
        summary: "What is running, and how many libraries there are",
        run: Run::Server(stats),
        ..ROW
    },
];

fn fcall(call: &mut ServerCall<'_>, read_only: bool) -> CommandResult {
    if let Some(result) = finished(call) {
        return result;
    }
    let Some(function) = call.worker.server.scripting.libraries.find(call.args[1]) else {
        return Err("ERR Function not found".into());
    };
    if parse_integer(call.args[2]).is_none() {
        return Err("ERR Bad number of keys provided".into());
    }
    super::scripting::split(call.args)?;
    let no_writes = function.flags & script_flags::NO_WRITES != 0;
    if read_only && !no_writes {
        return Err("ERR Can not execute a script with write flag using *_ro command.".into());
    }
    let allow_growth = no_writes || function.flags & script_flags::ALLOW_OOM != 0;
    run_code(call, &Code::Function(function), no_writes, allow_growth)
}

/// Has the libraries changed, where waiting for the disk stops nobody, and replies what came of it.
fn change(call: &mut ServerCall<'_>, what: impl FnOnce() -> Result<Change, CommandError>) -> CommandResult {
    match call.take_brought() {
        Some(Errand::Libraries(changing)) => match changing.result() {
            Ok(Some(name)) => {
                call.reply.bulk(name.as_bytes());
                Ok(())
            }
            Ok(None) => {
                call.reply.ok();
                Ok(())
            }
            Err(text) => Err(CommandError::of(text)),
        },
        _ => {
            let changing = Changing::new(&call.worker.server, what()?);
            call.want(Errand::Libraries(Box::new(changing)));
            Ok(())
        }
    }
}

fn load(call: &mut ServerCall<'_>) -> CommandResult {
    let (options, code) = match &call.args[2..] {
        [options @ .., code] => (options, code.to_vec()),
        [] => return Err(CommandError::Syntax),
    };
    let mut replace = false;
    for option in options {
        if option.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else {
            return Err(CommandError::Bytes([b"ERR Unknown option given: ", *option].concat()));
        }
    }
    change(call, || Ok(Change::Load { code, replace }))
}

fn flush(call: &mut ServerCall<'_>) -> CommandResult {
    match call.args {
        [_, _] => {}
        [_, _, how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
        [_, _, _] => return Err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".into()),
        _ => {
            let word = String::from_utf8_lossy(call.args[1]);
            return Err(CommandError::of(format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try FUNCTION HELP."
            )));
        }
    }
    change(call, || Ok(Change::Flush))
}

fn restore(call: &mut ServerCall<'_>) -> CommandResult {
    let policy = match call.args {
        [_, _, _] => Policy::Append,
        [_, _, _, word] if word.eq_ignore_ascii_case(b"append") => Policy::Append,
        [_, _, _, word] if word.eq_ignore_ascii_case(b"replace") => Policy::Replace,
        [_, _, _, word] if word.eq_ignore_ascii_case(b"flush") => Policy::Flush,
        [_, _, _, _] => {
            return Err(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.".into()
            );
        }
        _ => {
            let word = String::from_utf8_lossy(call.args[1]);
            return Err(CommandError::of(format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try FUNCTION HELP."
            )));
        }
    };
    let payload = call.args[2];
    change(call, || {
        let codes = dump::decode(payload).map_err(|text| CommandError::of(format!("ERR {text}")))?;
        Ok(Change::Restore { codes, policy })
    })
}

fn dump_all(call: &mut ServerCall<'_>) -> CommandResult {
    let loaded = call.worker.server.scripting.libraries.loaded();
    let codes = loaded.libraries.values().map(|library| &library.code[..]);
    call.reply.bulk(&dump::encode(codes));
    Ok(())
}

fn kill(call: &mut ServerCall<'_>) -> CommandResult {
    if !end_running(call, true) {
        return Err("NOTBUSY No scripts in execution right now.".into());
    }
    call.reply.ok();
    Ok(())
}

fn list(call: &mut ServerCall<'_>) -> CommandResult {
    let (mut pattern, mut with_code) = (None, false);
    let mut rest = &call.args[2..];
    while let [word, behind @ ..] = rest {
        rest = behind;
        if !with_code && word.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && word.eq_ignore_ascii_case(b"libraryname") {
            let [given, behind @ ..] = rest else {
                return Err("ERR library name argument was not given".into());
            };
            pattern = Some(*given);
            rest = behind;
        } else {
            return Err(CommandError::Bytes([b"ERR Unknown argument ", *word].concat()));
        }
    }
    let loaded = call.worker.server.scripting.libraries.loaded();
    let wanted = |library: &&std::sync::Arc<Library>| {
        pattern.is_none_or(|pattern| glob::matches(pattern, library.name.as_bytes(), Case::Insensitive))
    };
    let libraries: Vec<_> = loaded.libraries.values().filter(wanted).collect();
    call.reply.array(libraries.len());
    for library in libraries {
        write_library(library, with_code, call.reply);
    }
    Ok(())
}

fn write_library(library: &Library, with_code: bool, reply: &mut Reply) {
    reply.map(3 + usize::from(with_code));
    reply.bulk(b"library_name");
    reply.bulk(library.name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(function.name.as_bytes());
        reply.bulk(b"description");
        reply.bulk_or_null(function.description.as_deref());
        reply.bulk(b"flags");
        let flags = script_flags::NAMES.iter().filter(|(flag, _)| function.flags & flag != 0);
        reply.set(flags.clone().count());
        for (_, name) in flags {
            reply.simple(name);
        }
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

fn stats(call: &mut ServerCall<'_>) -> CommandResult {
    let scripting = &call.worker.server.scripting;
    let running = scripting.running.lock().first().cloned();
    let loaded = scripting.libraries.loaded();
    call.reply.map(2);
    call.reply.bulk(b"running_script");
    match running {
        None => call.reply.null(),
        Some(running) => {
            call.reply.map(3);
            call.reply.bulk(b"name");
            call.reply.bulk(running.code.name().as_bytes());
            call.reply.bulk(b"command");
            call.reply.array(running.command.len());
            for argument in &running.command {
                call.reply.bulk(argument);
            }
            call.reply.bulk(b"duration_ms");
            let elapsed_ns = SystemClock.monotonic_ns().saturating_sub(running.began_ns);
            // Not before the year 292 million.
            call.reply.integer((elapsed_ns / 1_000_000) as i64);
        }
    }
    call.reply.bulk(b"engines");
    call.reply.map(1);
    call.reply.bulk(b"LUA");
    call.reply.map(2);
    call.reply.bulk(b"libraries_count");
    call.reply.integer(loaded.libraries.len() as i64);
    call.reply.bulk(b"functions_count");
    call.reply.integer(loaded.functions_count() as i64);
    Ok(())
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    const LINES: [&str; 40] = [
        "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Create a new library with the given library name and code.",
        "DELETE <LIBRARY NAME>",
        "    Delete the given library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    Return general information on all the libraries:",
        "    * Library name",
        "    * The engine used to run the Library",
        "    * Library description",
        "    * Functions list",
        "    * Library code (if WITHCODE is given)",
        "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
        "STATS",
        "    Return information about the current function running:",
        "    * Function name",
        "    * Command used to run the function",
        "    * Duration in MS that the function is running",
        "    If no function is running, return nil",
        "    In addition, returns a list of available engines.",
        "KILL",
        "    Kill the current running function.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all the libraries.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the libraries.",
        "    * SYNC: Synchronously flush the libraries.",
        "DUMP",
        "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
        "    control how to handle existing libraries (default APPEND):",
        "    * FLUSH: delete all existing libraries.",
        "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
        "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
        "      libraries with the new libraries (notice that even on this option there is a chance of failure",
        "      in case of functions name collision with another library).",
        "HELP",
        "    Prints this help.",
    ];
    call.reply.array(LINES.len());
    for line in LINES {
        call.reply.simple(line);
    }
    Ok(())
}
