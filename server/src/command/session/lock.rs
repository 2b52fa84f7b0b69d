//! `SESSION.LOCK` and `SESSION.UNLOCK`: one after the other, for requests that must not run beside each other.

use super::super::flags::{BLOCKING, DENYOOM, FAST, NO_MULTI, NOSCRIPT, WRITE};
use super::super::{Blocking, Call, Command, CommandError, CommandResult, KeySpec, Run, Served, Timeout};
use super::options::{Options, SECONDS_MAX};
use super::{ROW, find_token, shown};
use crate::blocked::Awaited;
use crate::lease::Asked;
use crate::resp::Reply;
use sessile::sessions;
use std::sync::Arc;

const MILLISECONDS_MAX: u64 = SECONDS_MAX * 1000;

/// How often one who waits sees whether the session lives, ms: nobody is told of all the ways in which it may end.
const LOOK_MS: u64 = 1000;

const LOCK: Blocking = Blocking { attempt: lock, timeout, expired: Reply::null, settle: None };

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "session.lock",
        arity: -3,
        flags: WRITE | DENYOOM | BLOCKING | NO_MULTI | NOSCRIPT,
        keys: KeySpec::Sessions(find_token),
        summary: "Takes the lease of a session, or waits for it, first come, first served; its fence, which only rises",
        complexity: "O(N), N being the number of those who wait",
        run: Run::Blocking(LOCK),
        ..ROW
    },
    Command {
        name: "session.unlock",
        arity: 3,
        flags: WRITE | FAST | NO_MULTI | NOSCRIPT,
        keys: KeySpec::Sessions(find_token),
        summary: "Gives the lease of a session back that has this fence",
        complexity: "O(N), N being the number of those who wait",
        run: Run::Data(unlock),
        ..ROW
    },
];

/// How long the lease is, and how long to wait for it, ms.
fn times(args: &[&[u8]]) -> Result<(u64, Option<u64>), CommandError> {
    let mut options = Options::new(args, 2);
    let lease_ms = options.number("lease-ms", 1, MILLISECONDS_MAX)?;
    let wait_ms = match options.take("wait") {
        true => Some(options.number("WAIT", 0, MILLISECONDS_MAX)?),
        false => None,
    };
    options.end()?;
    Ok((lease_ms, wait_ms))
}

fn timeout(args: &[&[u8]]) -> Result<Timeout, CommandError> {
    Ok(Timeout::Ms(times(args)?.1.unwrap_or(0)))
}

fn lock(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    let asked = ask(call);
    // Whoever begins again, or waits, keeps its place; anybody else has none any more, whatever the answer is.
    if !matches!(asked, Ok(Served::NotYet) | Err(CommandError::NeedsKeys(_))) {
        let now_ms = call.txn.now_ms();
        let access = call.session_access()?;
        if access.place_deadline_ms.is_some() {
            access.server.wake_waiters(access.server.leases.give_up(access.client.id, now_ms));
        }
    }
    asked
}

fn ask(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    let (lease_ms, wait_ms) = times(call.args)?;
    let Some(digest) = call.session_digest(call.args[1])? else {
        call.session_missed(1)?;
        call.reply.null();
        return Ok(Served::Yes);
    };
    // The session's shard is locked from here on.
    let session = call.on_sessions(|call| {
        let session = sessions::get(call.txn, &digest, false)?;
        Ok(session.map(|session| session.handle()))
    })?;
    let Some(session) = session else {
        // One that has waited had a session.
        if call.session_access()?.place_deadline_ms.is_none() {
            call.session_missed(1)?;
        }
        call.reply.null();
        return Ok(Served::Yes);
    };
    let now_ms = call.txn.now_ms();
    let access = call.session_access()?;
    let (server, client, first) = (access.server, access.client, access.place_deadline_ms);
    let give_up_ms = first.unwrap_or_else(|| now_ms.saturating_add(wait_ms.unwrap_or(0)));
    let waits = give_up_ms > now_ms;
    if let Asked::Taken { until_ms } = server.leases.ask(session, client, waits, now_ms) {
        if !waits {
            call.reply.null();
            return Ok(Served::Yes);
        }
        let awaited = Awaited::Lease { session, leases: Arc::clone(&server.leases), give_up_ms };
        // Once it may be free, who is first in the queue takes it. The session may be dead before.
        let look_ms = until_ms.min(give_up_ms).min(now_ms.saturating_add(LOOK_MS));
        call.session_access()?.awaits = Some((awaited, Some(look_ms)));
        return Ok(Served::NotYet);
    }
    let fence = call.on_sessions(|call| sessions::fence(call.txn, &digest))?;
    match fence {
        Some((_, fence)) => {
            server.leases.grant(session, client.id, fence, now_ms.saturating_add(lease_ms), now_ms);
            call.reply.integer(shown(fence));
        }
        None => call.reply.null(),
    }
    Ok(Served::Yes)
}

fn unlock(call: &mut Call<'_, '_>) -> CommandResult {
    let fence = Options::new(call.args, 2).number("fence", 0, i64::MAX as u64)?;
    let Some(digest) = call.session_digest(call.args[1])? else {
        call.session_missed(1)?;
        call.reply.integer(0);
        return Ok(());
    };
    let session = call.on_sessions(|call| {
        let session = sessions::get(call.txn, &digest, false)?;
        Ok(session.map(|session| session.handle()))
    })?;
    let Some(session) = session else {
        call.session_missed(1)?;
        call.reply.integer(0);
        return Ok(());
    };
    let now_ms = call.txn.now_ms();
    let server = call.session_access()?.server;
    let (released, next) = server.leases.release(session, fence, now_ms);
    server.wake_waiters(next);
    call.reply.integer(i64::from(released));
    Ok(())
}
