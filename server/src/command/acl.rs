//! `ACL`: users and what they may do.

use super::args::{integer, is};
use super::command_command::{CATEGORIES, is_in_category};
use super::flags::{ADMIN, LOADING, NOSCRIPT, STALE};
use super::object::write_help;
use super::table::{Entry, table};
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::acl::{self, Rights, RuleError, Selector};
use crate::resp::Reply;
use sessile_wal::RealFs;
use std::path::PathBuf;

/// Bits of `ACL GENPASS` where nothing is said.
const PASSWORD_BITS: i64 = 256;
/// Its most.
const PASSWORD_BITS_MAX: i64 = 4096;
/// Entries that `ACL LOG` shows where nothing is said.
const LOG_ENTRIES_SHOWN: usize = 10;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: NOSCRIPT | LOADING | STALE,
    keys: KeySpec::None,
    categories: &[],
    group: "server",
    since: "6.0.0",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "acl",
    arity: -2,
    flags: 0,
    summary: "Users, and what they may do",
    complexity: "Depends on subcommand.",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "cat",
        arity: -2,
        summary: "The categories of commands, or the commands of one",
        complexity: "O(1) since the categories and commands are a fixed set.",
        run: Run::Server(cat),
        ..ROW
    },
    Command {
        name: "deluser",
        arity: -3,
        flags: ROW.flags | ADMIN,
        summary: "Removes users and closes their connections",
        complexity: "O(1) amortized time considering the typical user.",
        run: Run::Server(deluser),
        ..ROW
    },
    Command {
        name: "dryrun",
        arity: -4,
        flags: ROW.flags | ADMIN,
        since: "7.0.0",
        summary: "Whether a user may run a command, without running it",
        run: Run::Server(dryrun),
        ..ROW
    },
    Command {
        name: "genpass",
        arity: -2,
        summary: "A password that nobody can guess",
        run: Run::Server(genpass),
        ..ROW
    },
    Command {
        name: "getuser",
        arity: 3,
        flags: ROW.flags | ADMIN,
        summary: "The rules of a user",
        complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
        run: Run::Server(getuser),
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: LOADING | STALE,
        summary: "Lists the subcommands",
        run: Run::Server(help),
        ..ROW
    },
    Command {
        name: "list",
        arity: 2,
        flags: ROW.flags | ADMIN,
        summary: "All users with their rules, as in an ACL file",
        complexity: "O(N). Where N is the number of configured users.",
        run: Run::Server(list),
        ..ROW
    },
    Command {
        name: "load",
        arity: 2,
        flags: ROW.flags | ADMIN,
        summary: "Reads the users from the ACL file again",
        complexity: "O(N). Where N is the number of configured users.",
        run: Run::Server(load),
        ..ROW
    },
    Command {
        name: "log",
        arity: -2,
        flags: ROW.flags | ADMIN,
        summary: "What was denied lately",
        complexity: "O(N) with N being the number of entries shown.",
        run: Run::Server(log),
        ..ROW
    },
    Command {
        name: "save",
        arity: 2,
        flags: ROW.flags | ADMIN,
        summary: "Writes the users to the ACL file",
        complexity: "O(N). Where N is the number of configured users.",
        run: Run::Server(save),
        ..ROW
    },
    Command {
        name: "setuser",
        arity: -3,
        flags: ROW.flags | ADMIN,
        summary: "Makes a user, or changes what it may do",
        complexity: "O(N). Where N is the number of rules provided.",
        run: Run::Server(setuser),
        ..ROW
    },
    Command {
        name: "users",
        arity: 2,
        flags: ROW.flags | ADMIN,
        summary: "The names of all users",
        complexity: "O(N). Where N is the number of configured users.",
        run: Run::Server(users),
        ..ROW
    },
    Command {
        name: "whoami",
        arity: 2,
        summary: "The user of this connection",
        run: Run::Server(whoami),
        ..ROW
    },
];

fn whoami(call: &mut ServerCall<'_>) -> CommandResult {
    call.reply.bulk(&call.client.user.name);
    Ok(())
}

fn users(call: &mut ServerCall<'_>) -> CommandResult {
    let users = call.worker.server.acl.users();
    call.reply.array(users.len());
    users.iter().for_each(|user| call.reply.bulk(&user.name));
    Ok(())
}

fn list(call: &mut ServerCall<'_>) -> CommandResult {
    let users = call.worker.server.acl.users();
    call.reply.array(users.len());
    for user in users {
        let line = [b"user ", &user.name[..], b" ", &user.rights().describe()].concat();
        call.reply.bulk(&line);
    }
    Ok(())
}

/// The flags of a user, as `ACL GETUSER` names them.
fn flags_of(rights: &Rights) -> Vec<&'static str> {
    let mut flags = vec![if rights.enabled { "on" } else { "off" }];
    if rights.no_password {
        flags.push("nopass");
    }
    if rights.skip_sanitize {
        flags.push("skip-sanitize-payload");
    }
    flags
}

fn write_selector(reply: &mut Reply, selector: &Selector) {
    reply.bulk(b"commands");
    reply.bulk(selector.describe_commands().as_bytes());
    reply.bulk(b"keys");
    reply.bulk(&selector.describe_keys());
    reply.bulk(b"channels");
    reply.bulk(&selector.describe_channels());
}

fn getuser(call: &mut ServerCall<'_>) -> CommandResult {
    let Some(user) = call.worker.server.acl.user(call.args[2]) else {
        call.reply.null();
        return Ok(());
    };
    let (rights, reply) = (user.rights(), &mut *call.reply);
    reply.map(6);
    reply.bulk(b"flags");
    let flags = flags_of(&rights);
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(rights.passwords.len());
    rights.passwords.iter().for_each(|hash| reply.bulk(hash.as_bytes()));
    let Some((root, others)) = rights.selectors.split_first() else { return Ok(()) };
    write_selector(reply, root);
    reply.bulk(b"selectors");
    reply.array(others.len());
    for selector in others {
        reply.map(3);
        write_selector(reply, selector);
    }
    Ok(())
}

fn rule_error(error: &RuleError) -> CommandError {
    CommandError::of(format!("ERR {error}"))
}

fn setuser(call: &mut ServerCall<'_>) -> CommandResult {
    let name = call.args[2];
    if name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return Err("ERR Usernames can't contain spaces or null characters".into());
    }
    let server = &call.worker.server;
    let all_channels = call.worker.live.acl_all_channels;
    server.acl.set_user(name, &call.args[3..], all_channels).map_err(|error| rule_error(&error))?;
    // Who listens to what it may no longer hear is closed.
    let Some(user) = server.acl.user(name) else { return Ok(()) };
    if !user.rights().selectors.iter().any(|selector| selector.all_channels) {
        close_clients(call, |card, its| card.is_subscriber() && its == name);
    }
    call.reply.ok();
    Ok(())
}

/// Closes the connections for which `which` holds, given their card and the name of their user; the own one once it has its reply.
fn close_clients(call: &mut ServerCall<'_>, which: impl Fn(&crate::client::ClientCard, &[u8]) -> bool) {
    let server = &call.worker.server;
    for card in server.clients.all() {
        let user = card.names.lock().user.clone();
        if !which(&card, &user) {
            continue;
        }
        if card.id == call.client.card.id {
            call.client.closing = true;
        } else {
            server.kill(&card);
        }
    }
}

fn deluser(call: &mut ServerCall<'_>) -> CommandResult {
    let names = &call.args[2..];
    if names.contains(&acl::DEFAULT_USER) {
        return Err("ERR The 'default' user cannot be removed".into());
    }
    let mut removed = 0;
    for name in names {
        if call.worker.server.acl.remove_user(name) {
            removed += 1;
            close_clients(call, |_, its| its == *name);
        }
    }
    call.reply.integer(removed);
    Ok(())
}

fn cat(call: &mut ServerCall<'_>) -> CommandResult {
    match call.args {
        [_, _] => {
            call.reply.array(CATEGORIES.len());
            CATEGORIES.iter().for_each(|category| call.reply.bulk(category.as_bytes()));
        }
        [_, _, category] => {
            let lower = String::from_utf8_lossy(category).to_ascii_lowercase();
            if !CATEGORIES.contains(&lower.as_str()) {
                return Err(CommandError::Bytes([b"ERR Unknown category '", *category, b"'"].concat()));
            }
            let mut names = Vec::new();
            fn collect<'e>(entry: &'e Entry, category: &str, names: &mut Vec<&'e str>) {
                if !entry.is_container() && is_in_category(entry.command, category) {
                    names.push(&entry.full_name);
                }
                entry.subcommands.iter().for_each(|subcommand| collect(subcommand, category, names));
            }
            table().entries().iter().for_each(|entry| collect(entry, &lower, &mut names));
            call.reply.array(names.len());
            names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
        }
        _ => return Err(super::args::wrong_arity("acl|cat")),
    }
    Ok(())
}

fn genpass(call: &mut ServerCall<'_>) -> CommandResult {
    let bits = match call.args {
        [_, _] => PASSWORD_BITS,
        [_, _, bits] => integer(bits)?,
        _ => return Err(super::args::wrong_arity("acl|genpass")),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096".into());
    }
    // Between 1 and 1024.
    let digits = bits.unsigned_abs().div_ceil(4) as usize;
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes)
        .map_err(|error| CommandError::of(format!("ERR no random numbers to be had: {error}")))?;
    let mut password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    call.reply.bulk(password.as_bytes());
    Ok(())
}

fn dryrun(call: &mut ServerCall<'_>) -> CommandResult {
    let [_, _, name, args @ ..] = call.args else { return Err(CommandError::Syntax) };
    let user = call
        .worker
        .server
        .acl
        .user(name)
        .ok_or_else(|| CommandError::Bytes([b"ERR User '", *name, b"' not found"].concat()))?;
    let not_found = || {
        CommandError::Bytes(
            [b"ERR Command '", args.first().copied().unwrap_or_default(), b"' not found"].concat(),
        )
    };
    let mut entry = args.first().and_then(|name| table().find(name)).ok_or_else(not_found)?;
    if let Some(subcommand) = args.get(1)
        && !entry.subcommands.is_empty()
    {
        entry = match entry.subcommand(subcommand) {
            Some(found) => found,
            None if entry.is_container() => return Err(not_found()),
            None => entry,
        };
    }
    if !entry.takes(args.len()) {
        return Err(super::args::wrong_arity(&entry.full_name));
    }
    match user.rights().check(entry, args) {
        Ok(()) => call.reply.ok(),
        Err(denied) => call.reply.bulk(&denied.verbose(&entry.full_name, args)),
    }
    Ok(())
}

fn log(call: &mut ServerCall<'_>) -> CommandResult {
    let acl = &call.worker.server.acl;
    let count = match call.args {
        [_, _] => LOG_ENTRIES_SHOWN,
        [_, _, word] if is(word, "reset") => {
            acl.log.reset();
            call.reply.ok();
            return Ok(());
        }
        [_, _, count] => usize::try_from(integer(count)?.max(0)).unwrap_or(usize::MAX),
        _ => return Err(super::args::wrong_arity("acl|log")),
    };
    let entries = acl.log.latest(count);
    let (now_ms, reply) = (call.worker.now_ms, &mut *call.reply);
    reply.array(entries.len());
    for entry in entries {
        reply.map(10);
        reply.bulk(b"count");
        reply.integer(i64::try_from(entry.count).unwrap_or(i64::MAX));
        for (field, value) in [
            ("reason", entry.reason.name().as_bytes()),
            ("context", entry.context.name().as_bytes()),
            ("object", &entry.object),
            ("username", &entry.username),
        ] {
            reply.bulk(field.as_bytes());
            reply.bulk(value);
        }
        reply.bulk(b"age-seconds");
        let age_ms = now_ms.saturating_sub(entry.at_ms);
        reply.double_text(&format!("{}.{:03}", age_ms / 1000, age_ms % 1000));
        reply.bulk(b"client-info");
        reply.bulk(&entry.client);
        for (field, value) in [
            ("entry-id", entry.id),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.at_ms),
        ] {
            reply.bulk(field.as_bytes());
            reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    Ok(())
}

const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.";

fn file_of(call: &ServerCall<'_>) -> Result<PathBuf, CommandError> {
    let path = call.worker.server.config().get("aclfile").to_owned();
    if path.is_empty() { Err(NO_FILE.into()) } else { Ok(path.into()) }
}

fn load(call: &mut ServerCall<'_>) -> CommandResult {
    let path = file_of(call)?;
    let loaded = acl::load(&RealFs, &path, call.worker.live.acl_all_channels).map_err(|error| {
        tracing::warn!(%error, "ACL LOAD: nothing was changed");
        CommandError::of(format!(
            "ERR {error}. WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        ))
    })?;
    let changed = call.worker.server.acl.replace(loaded);
    close_clients(call, |_, its| changed.iter().any(|name| name == its));
    call.reply.ok();
    Ok(())
}

fn save(call: &mut ServerCall<'_>) -> CommandResult {
    let path = file_of(call)?;
    acl::save(&RealFs, &path, &call.worker.server.acl).map_err(|error| {
        tracing::warn!(%error, "ACL SAVE failed");
        CommandError::from(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
        )
    })?;
    call.reply.ok();
    Ok(())
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    write_help(
        call.reply,
        &[
            "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "CAT [<category>]",
            "    List all commands that belong to <category>, or all command categories",
            "    when no category is specified.",
            "DELUSER <username> [<username> ...]",
            "    Delete a list of users.",
            "DRYRUN <username> <command> [<arg> ...]",
            "    Returns whether the user can execute the given command without executing the command.",
            "GETUSER <username>",
            "    Get the user's details.",
            "GENPASS [<bits>]",
            "    Generate a secure 256-bit user password. The optional `bits` argument can",
            "    be used to specify a different size.",
            "LIST",
            "    Show users details in config file format.",
            "LOAD",
            "    Reload users from the ACL file.",
            "LOG [<count> | RESET]",
            "    Show the ACL log entries.",
            "SAVE",
            "    Save the current config to the ACL file.",
            "SETUSER <username> <attribute> [<attribute> ...]",
            "    Create or modify a user with the specified attributes.",
            "USERS",
            "    List all the registered usernames.",
            "WHOAMI",
            "    Return the current connection username.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}
