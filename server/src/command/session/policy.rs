//! `SESSION.POLICY`: the limits of classes of sessions.

use super::super::flags::{DENYOOM, LOADING, NOSCRIPT, READONLY, STALE, WRITE};
use super::super::object::write_help;
use super::super::{Call, Command, CommandError, CommandResult, KeySpec, KeyspaceCall, Run};
use super::options::{Options, SECONDS_MAX, once};
use super::{ROW, put_number, put_text, wrong_name};
use sessile::sessions::{self, OnLimit, Policy};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "session.policy",
    arity: -2,
    keys: KeySpec::None,
    categories: &[],
    summary: "The limits of classes of sessions. aal1, aal2 and aal3 are those of NIST SP 800-63B-4",
    complexity: "Depends on subcommand",
    subcommands: &[
        Command {
            name: "del",
            arity: 3,
            flags: WRITE | NOSCRIPT,
            summary: "Deletes the policy of a class: no more sessions of it can be made, and those there are live on",
            complexity: "O(C), C being the number of classes",
            run: Run::Data(delete),
            ..ROW
        },
        Command {
            name: "get",
            arity: 3,
            flags: READONLY | NOSCRIPT,
            summary: "Tells the limits of a class",
            complexity: "O(C), C being the number of classes",
            run: Run::Data(get),
            ..ROW
        },
        Command {
            name: "help",
            arity: 2,
            flags: LOADING | STALE,
            keys: KeySpec::None,
            summary: "Tells what the subcommands do",
            complexity: "O(1)",
            run: Run::Keyspace(help),
            ..ROW
        },
        Command {
            name: "list",
            arity: 2,
            flags: READONLY | NOSCRIPT,
            summary: "The names of the classes that have a policy",
            complexity: "O(C), C being the number of classes",
            run: Run::Data(list),
            ..ROW
        },
        Command {
            name: "set",
            arity: -3,
            flags: WRITE | DENYOOM | NOSCRIPT,
            summary: "Sets the limits of a class, in place of those it had, for sessions that are made from then on",
            complexity: "O(C), C being the number of classes",
            run: Run::Data(set),
            ..ROW
        },
    ],
    ..ROW
}];

const HELP: &[&str] = &[
    "SESSION.POLICY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEL <class>",
    "    Delete the policy of a class.",
    "GET <class>",
    "    Return the limits of a class.",
    "LIST",
    "    Return the names of the classes.",
    "SET <class> [IDLE <s>] [MAX <s>] [PERUSER <n>] [ONLIMIT EVICT|REJECT] [GRACE <s>]",
    "    Set the limits of a class; 0 is no limit.",
    "HELP",
    "    Print this help.",
];

fn help(call: &mut KeyspaceCall<'_>) -> CommandResult {
    write_help(call.reply, HELP);
    Ok(())
}

fn set(call: &mut Call<'_, '_>) -> CommandResult {
    let class = class(call.args[2])?;
    let policy = limits(&mut Options::new(call.args, 3))?;
    call.on_sessions(|call| sessions::set_policy(call.txn, class, policy))?;
    call.must_be_durable(true)?;
    call.reply.ok();
    Ok(())
}

fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let class = class(call.args[2])?;
    let policy = call.on_sessions(|call| sessions::policy(call.txn, class))?;
    let reply = &mut *call.reply;
    let Some(policy) = policy else {
        reply.null();
        return Ok(());
    };
    reply.map(5);
    put_number(reply, "idle", policy.idle_s);
    put_number(reply, "max", policy.max_s);
    put_number(reply, "peruser", u64::from(policy.per_user));
    let on_limit = match policy.on_limit {
        OnLimit::Evict => "evict",
        OnLimit::Reject => "reject",
    };
    put_text(reply, "onlimit", on_limit.as_bytes());
    put_number(reply, "grace", u64::from(policy.grace_s));
    Ok(())
}

fn list(call: &mut Call<'_, '_>) -> CommandResult {
    let names = call.on_sessions(|call| sessions::policies(call.txn))?;
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
    Ok(())
}

fn delete(call: &mut Call<'_, '_>) -> CommandResult {
    let class = class(call.args[2])?;
    let there = call.on_sessions(|call| sessions::delete_policy(call.txn, class))?;
    call.must_be_durable(there)?;
    call.reply.integer(i64::from(there));
    Ok(())
}

/// The name of a class.
pub(super) fn class(name: &[u8]) -> Result<&str, CommandError> {
    std::str::from_utf8(name).map_err(|_| wrong_name())
}

fn limits(options: &mut Options<'_>) -> Result<Policy, CommandError> {
    let (mut idle, mut max, mut per_user, mut on_limit, mut grace) = (None, None, None, None, None);
    while let Some(word) = options.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"idle" => once(&mut idle, "IDLE", options.number("IDLE", 0, SECONDS_MAX)?)?,
            b"max" => once(&mut max, "MAX", options.number("MAX", 0, SECONDS_MAX)?)?,
            b"peruser" => {
                let number = options.number("PERUSER", 0, u64::from(u32::MAX))?;
                once(&mut per_user, "PERUSER", number as u32)?;
            }
            b"onlimit" => {
                let what = if options.take("evict") {
                    OnLimit::Evict
                } else if options.take("reject") {
                    OnLimit::Reject
                } else {
                    return Err("ERR ONLIMIT must be EVICT or REJECT".into());
                };
                once(&mut on_limit, "ONLIMIT", what)?;
            }
            b"grace" => {
                let seconds = options.number("GRACE", 0, u64::from(u32::MAX))?;
                once(&mut grace, "GRACE", seconds as u32)?;
            }
            word => return Err(options.unknown(word)),
        }
    }
    Ok(Policy {
        idle_s: idle.unwrap_or(0),
        max_s: max.unwrap_or(0),
        per_user: per_user.unwrap_or(0),
        on_limit: on_limit.unwrap_or_default(),
        grace_s: grace.unwrap_or(0),
    })
}
