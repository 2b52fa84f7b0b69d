//! `SESSION.EVENTS`: what has happened to sessions, in order, for consumers that go on where they were.

use super::super::flags::{BLOCKING, NOSCRIPT, READONLY};
use super::super::{Blocking, Call, Command, CommandError, Run, Served, Timeout};
use super::options::{Options, once};
use super::{ROW, put_handle, put_number, put_text};
use crate::blocked::Awaited;
use crate::resp::Reply;
use sessile::sessions::{self, NumberedEvent};

/// Events in a reply at most, unless `COUNT` says otherwise, and that it may say.
const EVENTS_DEFAULT: u64 = 100;
const EVENTS_MAX: u64 = 10_000;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "session.events",
    arity: -1,
    flags: READONLY | BLOCKING | NOSCRIPT,
    summary: "What has happened to sessions after a cursor, oldest first; none is told before it survives a power cut",
    complexity: "O(N), N being the number of events told",
    run: Run::Blocking(Blocking { attempt: events, timeout, expired: Reply::null, settle: None }),
    ..ROW
}];

/// What is asked for.
struct Asked {
    after: Option<u64>,
    count: usize,
    block_ms: Option<u64>,
}

fn asked(args: &[&[u8]]) -> Result<Asked, CommandError> {
    let (mut after, mut count, mut block_ms) = (None, None, None);
    let mut options = Options::new(args, 1);
    while let Some(word) = options.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"after" => once(&mut after, "AFTER", options.number("AFTER", 0, i64::MAX as u64)?)?,
            b"count" => once(&mut count, "COUNT", options.number("COUNT", 1, EVENTS_MAX)?)?,
            b"block" => once(&mut block_ms, "BLOCK", options.number("BLOCK", 0, i64::MAX as u64)?)?,
            word => return Err(options.unknown(word)),
        }
    }
    Ok(Asked { after, count: count.unwrap_or(EVENTS_DEFAULT) as usize, block_ms })
}

fn timeout(args: &[&[u8]]) -> Result<Timeout, CommandError> {
    Ok(match asked(args)?.block_ms {
        None | Some(0) => Timeout::Never,
        Some(ms) => Timeout::Ms(ms),
    })
}

fn events(call: &mut Call<'_, '_>) -> Result<Served, CommandError> {
    let Asked { after, count, block_ms } = asked(call.args)?;
    let page = call.on_sessions(|call| sessions::events(call.txn, after, count))?;
    let now_ms = call.txn.now_ms();
    if !page.events.is_empty() {
        call.must_be_durable_at(page.durable_at)?;
    } else if let Some(block_ms) = block_ms
        && !page.lost
    {
        let access = call.session_access()?;
        let deadline_ms = match access.place_deadline_ms {
            None if block_ms > 0 => Some(now_ms.saturating_add(block_ms)),
            before => before,
        };
        if access.may_wait && deadline_ms.is_none_or(|deadline_ms| deadline_ms > now_ms) {
            access.awaits = Some((Awaited::SessionEvent, deadline_ms));
            return Ok(Served::NotYet);
        }
    }
    let reply = &mut *call.reply;
    reply.map(3);
    put_number(reply, "cursor", page.cursor);
    reply.bulk(b"events");
    reply.array(page.events.len());
    page.events.iter().for_each(|event| put_event(reply, event));
    reply.bulk(b"lost");
    reply.boolean(page.lost);
    Ok(Served::Yes)
}

fn put_event(reply: &mut Reply, numbered: &NumberedEvent) {
    let event = &numbered.event;
    let optional = [event.count.is_some(), event.reason.is_some()];
    reply.map(6 + optional.iter().filter(|there| **there).count());
    put_number(reply, "cursor", numbered.cursor);
    put_text(reply, "type", event.kind.name().as_bytes());
    match event.handle {
        Some(handle) => put_handle(reply, handle),
        None => {
            reply.bulk(b"handle");
            reply.null();
        }
    }
    reply.bulk(b"user");
    reply.bulk_or_null(event.user.as_deref());
    reply.bulk(b"class");
    reply.bulk_or_null(event.class.as_deref().map(str::as_bytes));
    put_number(reply, "at-ms", event.at_ms);
    if let Some(count) = event.count {
        put_number(reply, "count", count);
    }
    if let Some(reason) = &event.reason {
        put_text(reply, "reason", reason);
    }
}
