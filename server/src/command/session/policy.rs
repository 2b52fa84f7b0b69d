//! `SESSION.POLICY`: the limits of classes of sessions.

use super::super::flags::{NOSCRIPT, WRITE};
use super::super::{Call, Command, CommandError, CommandResult, Run};
use super::options::{Options, SECONDS_MAX, once, unknown};
use super::{ROW, put_number, put_text, wrong_name};
use sessile::sessions::{self, OnLimit, Policy};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "session.policy",
    arity: -2,
    flags: WRITE | NOSCRIPT,
    summary: "SET, GET, LIST and DEL: the limits of a class of sessions. aal1, aal2 and aal3 are those of NIST SP 800-63B-4",
    complexity: "O(C), C being the number of classes",
    run: Run::Data(policy),
    ..ROW
}];

fn policy(call: &mut Call<'_, '_>) -> CommandResult {
    let mut options = Options::new(call.args, 1);
    if options.take("set") {
        let class = class(options.value("class")?)?;
        let policy = limits(&mut options)?;
        call.on_sessions(|call| sessions::set_policy(call.txn, class, policy))?;
        call.must_be_durable()?;
        call.reply.ok();
    } else if options.take("get") {
        let class = class(options.value("class")?)?;
        options.end()?;
        match call.on_sessions(|call| sessions::policy(call.txn, class))? {
            None => call.reply.null(),
            Some(policy) => {
                let reply = &mut *call.reply;
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
            }
        }
    } else if options.take("list") {
        options.end()?;
        let names = call.on_sessions(|call| sessions::policies(call.txn))?;
        call.reply.array(names.len());
        names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
    } else if options.take("del") {
        let class = class(options.value("class")?)?;
        options.end()?;
        let there = call.on_sessions(|call| sessions::delete_policy(call.txn, class))?;
        call.must_be_durable()?;
        call.reply.integer(i64::from(there));
    } else {
        return Err("ERR SESSION.POLICY is followed by SET, GET, LIST or DEL".into());
    }
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
            word => return Err(unknown(word)),
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
