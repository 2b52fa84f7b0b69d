//! `WAIT` and `WAITAOF`: waiting for what was written to be safe. There are no replicas, so that none ever acknowledges anything.

use super::args::{integer, integer_between};
use super::flags::{BLOCKING, NOSCRIPT};
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall, Timeout};
use crate::blocked::Awaited;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: NOSCRIPT,
    keys: KeySpec::None,
    categories: &["connection"],
    group: "generic",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "wait",
        arity: 3,
        since: "3.0.0",
        summary: "Waits for replicas, of which there are none",
        run: Run::Server(wait),
        ..ROW
    },
    Command {
        name: "waitaof",
        arity: 4,
        flags: NOSCRIPT | BLOCKING,
        since: "7.2.0",
        summary: "Waits until what this connection has written is synced to disk",
        run: Run::Server(waitaof),
        ..ROW
    },
];

/// A timeout in whole milliseconds, where 0 is for ever; Redis's texts.
pub(super) fn timeout_ms(argument: &[u8]) -> Result<Timeout, CommandError> {
    let number = integer(argument).map_err(|_| "ERR timeout is not an integer or out of range")?;
    match u64::try_from(number) {
        Ok(0) => Ok(Timeout::Never),
        Ok(ms) => Ok(Timeout::Ms(ms)),
        Err(_) => Err("ERR timeout is negative".into()),
    }
}

fn wait(call: &mut ServerCall<'_>) -> CommandResult {
    let replicas = integer(call.args[1])?;
    let timeout = timeout_ms(call.args[2])?;
    if replicas <= 0 || !call.wait_for(Awaited::Time, timeout) {
        call.reply.integer(0);
    }
    Ok(())
}

fn waitaof(call: &mut ServerCall<'_>) -> CommandResult {
    let local = integer_between(call.args[1], 0, 1)?;
    let replicas = integer(call.args[2])
        .ok()
        .filter(|&count| count >= 0)
        .ok_or("ERR value is out of range, must be positive")?;
    let timeout = timeout_ms(call.args[3])?;
    let lsn = call.client.last_lsn;
    let db = &call.worker.server.db;
    let synced = db.durable() >= lsn;
    if !synced && local > 0 {
        db.request_sync(lsn);
    }
    let met = replicas == 0 && (local == 0 || synced);
    let awaited = Awaited::Synced { lsn, replicas: replicas > 0 };
    if met || !call.wait_for(awaited, timeout) {
        call.reply.array(2);
        call.reply.integer(i64::from(synced));
        call.reply.integer(0);
    }
    Ok(())
}
