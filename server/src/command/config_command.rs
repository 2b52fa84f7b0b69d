//! `CONFIG`: looking at directives and changing them while the server runs.

use super::args::is;
use super::flags::{ADMIN, LOADING, NOSCRIPT, STALE};
use super::glob::{Case, matches};
use super::object::write_help;
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::acl::line_of;
use crate::config::{DIRECTIVES, find, read_file, replace_file, rewrite, rewrite_users};
use sessile_wal::RealFs;
use std::borrow::Cow;
use std::path::Path;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: ADMIN | NOSCRIPT | LOADING | STALE,
    keys: KeySpec::None,
    categories: &[],
    group: "server",
    since: "2.0.0",
    summary: "",
    complexity: "O(N) where N is the number of directives",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "config",
    arity: -2,
    flags: 0,
    summary: "Commands about the configuration",
    complexity: "Depends on the subcommand",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: -3,
        summary: "The values of directives, by patterns",
        run: Run::Server(get),
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: LOADING | STALE,
        since: "5.0.0",
        summary: "Lists the subcommands",
        complexity: "O(1)",
        run: Run::Server(help),
        ..ROW
    },
    Command {
        name: "resetstat",
        arity: 2,
        summary: "Puts the figures of INFO back to zero",
        complexity: "O(1)",
        run: Run::Server(resetstat),
        ..ROW
    },
    Command {
        name: "rewrite",
        arity: 2,
        since: "2.8.0",
        summary: "Writes the configuration back to its file",
        run: Run::Server(write_back),
        ..ROW
    },
    Command {
        name: "set",
        arity: -4,
        summary: "Changes directives, all or none",
        run: Run::Server(set),
        ..ROW
    },
];

fn get(call: &mut ServerCall<'_>) -> CommandResult {
    let config = call.worker.server.config();
    let patterns = &call.args[2..];
    let wanted =
        |name: &str| patterns.iter().any(|pattern| matches(pattern, name.as_bytes(), Case::Insensitive));
    let found: Vec<(&str, Cow<'_, str>)> = DIRECTIVES
        .iter()
        .enumerate()
        .flat_map(|(index, directive)| {
            std::iter::once(directive.name).chain(directive.alias).map(move |name| (index, name))
        })
        .filter(|(_, name)| wanted(name))
        .map(|(index, name)| (name, DIRECTIVES[index].kind.shown(config.value(index))))
        .collect();
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn set(call: &mut ServerCall<'_>) -> CommandResult {
    let pairs = &call.args[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let failed = |name: &str, reason: &str| {
        CommandError::of(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
    };
    call.worker.server.change_config(|config| {
        let mut changes: Vec<(usize, &[u8])> = Vec::new();
        for pair in pairs.chunks_exact(2) {
            let name = String::from_utf8_lossy(pair[0]);
            let index = find(&name).ok_or_else(|| {
                CommandError::of(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"))
            })?;
            if !DIRECTIVES[index].mutable {
                return Err(failed(&name, "can't set immutable config"));
            }
            if changes.iter().any(|(other, _)| *other == index) {
                return Err(failed(&name, "duplicate parameter"));
            }
            changes.push((index, pair[1]));
        }
        for (index, value) in changes {
            let directive = &DIRECTIVES[index];
            // Values are text: what is not can't be written back to a file either.
            let value = std::str::from_utf8(value).map_err(|_| failed(directive.name, "argument must be valid UTF-8"))?;
            let words: Vec<&str> =
                if directive.kind.takes_words() { value.split_ascii_whitespace().collect() } else { vec![value] };
            let canonical = directive
                .kind
                .canonical(&words, config.value(index))
                .map_err(|reason| failed(directive.name, &reason))?;
            if is(directive.name.as_bytes(), "maxclients") {
                let wanted = canonical.parse().unwrap_or(usize::MAX);
                let possible = crate::serve::raise_descriptor_limit(wanted);
                if possible < wanted {
                    let reason = format!(
                        "The operating system is not able to handle the specified number of clients, try with {possible}"
                    );
                    return Err(failed(directive.name, &reason));
                }
            }
            config.replace(index, canonical);
        }
        Ok(())
    })?;
    call.worker.begin_batch();
    call.reply.ok();
    Ok(())
}

fn resetstat(call: &mut ServerCall<'_>) -> CommandResult {
    call.worker.server.reset_figures();
    call.reply.ok();
    Ok(())
}

fn write_back(call: &mut ServerCall<'_>) -> CommandResult {
    let server = &call.worker.server;
    let path = server.config_file.as_deref().ok_or("ERR The server is running without a config file")?;
    let path_of = Path::new(path);
    let config = server.config();
    let users: Vec<String> = if config.get("aclfile").is_empty() {
        server.acl.users().iter().map(|user| String::from_utf8_lossy(&line_of(user)).into_owned()).collect()
    } else {
        Vec::new()
    };
    read_file(&RealFs, path_of)
        .and_then(|text| {
            let text = rewrite_users(&rewrite(&text, &config), &users);
            replace_file(&RealFs, path_of, text.as_bytes())
        })
        .map_err(|error| {
            tracing::warn!(%error, path, "CONFIG REWRITE failed");
            CommandError::of(format!("ERR Rewriting config file: {error}"))
        })?;
    tracing::info!(path, "CONFIG REWRITE done");
    call.reply.ok();
    Ok(())
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    write_help(
        call.reply,
        &[
            "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "GET <pattern>",
            "    Return parameters matching the glob-like <pattern> and their values.",
            "SET <directive> <value>",
            "    Set the configuration <directive> to <value>.",
            "RESETSTAT",
            "    Reset statistics reported by the INFO command.",
            "REWRITE",
            "    Rewrite the configuration file.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}
