//! Entries that were delivered to a consumer and not acknowledged: acknowledging them, looking at them, and giving them to another.

use super::args::{integer, is};
use super::flags::{FAST, READONLY, WRITE};
use super::stream::{ROW, write_entry};
use super::stream_group::{no_key_or_group, see_consumer};
use super::{Call, Command, CommandError, CommandResult, Run, stream_id};
use crate::resp::Reply;
use sessile::{StreamGroup, StreamId};
use std::ops::RangeInclusive;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "xack",
        arity: -4,
        flags: WRITE | FAST,
        summary: "Acknowledges entries that a consumer was delivered",
        complexity: "O(log(N)) for each entry, where N is the number of entries not acknowledged",
        run: Run::Data(xack),
        ..ROW
    },
    Command {
        name: "xpending",
        arity: -3,
        flags: READONLY,
        summary: "The entries of a group that are not acknowledged, or how many there are",
        complexity: "O(N) where N is the number of entries looked at; O(C) for the summary, where C is the number of consumers",
        run: Run::Data(xpending),
        ..ROW
    },
    Command {
        name: "xclaim",
        arity: -6,
        flags: WRITE | FAST,
        summary: "Gives entries that are not acknowledged to another consumer",
        complexity: "O(log(N)) for each entry, where N is the number of entries not acknowledged",
        run: Run::Data(xclaim),
        ..ROW
    },
    Command {
        name: "xautoclaim",
        arity: -6,
        flags: WRITE | FAST,
        since: "6.2.0",
        summary: "Gives entries that have not been acknowledged for long to another consumer",
        complexity: "O(log(N)) for each entry looked at, where N is the number of entries not acknowledged",
        run: Run::Data(xautoclaim),
        ..ROW
    },
];

/// How many entries `XAUTOCLAIM` looks at for each that it may claim.
const LOOKS_PER_CLAIM: u64 = 10;

fn ids(args: &[&[u8]]) -> Result<Vec<StreamId>, CommandError> {
    args.iter().map(|id| stream_id::id(id)).collect()
}

fn xack(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, name) = (&call.keys[0], call.args[2]);
    let stream = call.txn.stream(key)?;
    let found = stream.is_some();
    let mut pending = Vec::new();
    if let Some(group) = stream.and_then(|stream| stream.group(name)) {
        pending = ids(&call.args[3..])?;
        pending.retain(|&id| group.pending(id).is_some());
        pending.sort_unstable();
        pending.dedup();
    }
    call.txn.stream_release(key, name, &pending)?;
    call.looked_up(0, found);
    call.reply.integer(pending.len() as i64);
    Ok(())
}

/// What `XPENDING` lists.
struct Listed<'a> {
    least_idle_ms: i64,
    range: RangeInclusive<StreamId>,
    most: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Listed<'a> {
    /// None if only a summary is asked for.
    fn parse(args: &[&'a [u8]]) -> Result<Option<Listed<'a>>, CommandError> {
        if args.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&args.len()) {
            return Err(CommandError::Syntax);
        }
        let (mut least_idle_ms, mut at) = (0, 3);
        if is(args[3], "idle") {
            least_idle_ms = integer(args[4])?;
            if args.len() < 8 {
                return Err(CommandError::Syntax);
            }
            at = 5;
        }
        let most = usize::try_from(integer(args[at + 2])?).unwrap_or(0);
        let range = stream_id::range(args[at], args[at + 1])?;
        Ok(Some(Listed { least_idle_ms, range, most, consumer: args.get(at + 3).copied() }))
    }

    fn write(&self, reply: &mut Reply, group: StreamGroup<'_>, now_ms: u64) {
        let mut rows = Reply::new(reply.protocol());
        let mut count = 0;
        for pending in group.pending_from(*self.range.start(), self.consumer) {
            if count == self.most || pending.id > *self.range.end() {
                break;
            }
            let idle_ms = idle_ms(now_ms, pending.delivered_ms);
            if self.least_idle_ms != 0 && idle_ms < self.least_idle_ms {
                continue;
            }
            count += 1;
            rows.array(4);
            stream_id::write(&mut rows, pending.id);
            rows.bulk(pending.consumer);
            rows.integer(idle_ms.max(0));
            rows.integer(pending.count as i64);
        }
        reply.array(count);
        reply.bytes_mut().extend_from_slice(rows.bytes());
    }
}

/// How long ago an entry was delivered; less than nothing if it is to be.
fn idle_ms(now_ms: u64, delivered_ms: u64) -> i64 {
    now_ms.wrapping_sub(delivered_ms) as i64
}

fn write_summary(reply: &mut Reply, group: StreamGroup<'_>) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let mut all = group.pending_from(StreamId::MIN, None).map(|pending| pending.id);
    let Some(first) = all.next() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    stream_id::write(reply, first);
    stream_id::write(reply, all.last().unwrap_or(first));
    let consumers: Vec<_> = group.consumers().filter(|consumer| consumer.pending > 0).collect();
    reply.array(consumers.len());
    for consumer in consumers {
        reply.array(2);
        reply.bulk(consumer.name);
        reply.bulk(consumer.pending.to_string().as_bytes());
    }
}

fn xpending(call: &mut Call<'_, '_>) -> CommandResult {
    let listed = Listed::parse(call.args)?;
    let stream = call.txn.stream(&call.keys[0])?;
    let found = stream.is_some();
    let group = stream.and_then(|stream| stream.group(call.args[2]));
    match (group, listed) {
        (None, _) => {
            call.looked_up(0, found);
            return Err(no_key_or_group(call.args[1], call.args[2]));
        }
        (Some(group), None) => write_summary(call.reply, group),
        (Some(group), Some(listed)) => listed.write(call.reply, group, call.txn.now_ms()),
    }
    call.looked_up(0, found);
    Ok(())
}

/// The group that `XCLAIM` and `XAUTOCLAIM` need.
fn check_group(call: &Call<'_, '_>) -> CommandResult {
    let stream = call.txn.stream(&call.keys[0])?;
    let group = stream.and_then(|stream| stream.group(call.args[2])).is_some();
    if group { Ok(()) } else { Err(no_key_or_group(call.args[1], call.args[2])) }
}

/// The options of `XCLAIM`.
struct Claim {
    least_idle_ms: i64,
    ids: Vec<StreamId>,
    delivered_ms: u64,
    count: Option<u64>,
    force: bool,
    only_ids: bool,
    last_id: StreamId,
}

impl Claim {
    fn parse(args: &[&[u8]], now_ms: u64) -> Result<Claim, CommandError> {
        let number =
            |argument: &[u8], error: &'static str| integer(argument).map_err(|_| CommandError::from(error));
        let least_idle_ms =
            number(args[4], "ERR Invalid min-idle-time argument for XCLAIM").map(|idle: i64| idle.max(0))?;
        let ids: Vec<_> = args[5..].iter().map_while(|id| stream_id::id(id).ok()).collect();
        let mut claim = Claim {
            least_idle_ms,
            delivered_ms: now_ms,
            count: None,
            force: false,
            only_ids: false,
            last_id: StreamId::MIN,
            ids,
        };
        let mut at = 5 + claim.ids.len();
        let mut delivered: i64 = -1;
        while let Some(&option) = args.get(at) {
            let next = args.get(at + 1).copied();
            match next {
                _ if is(option, "force") => claim.force = true,
                _ if is(option, "justid") => claim.only_ids = true,
                Some(next) if is(option, "idle") => {
                    let idle = number(next, "ERR Invalid IDLE option argument for XCLAIM")?;
                    delivered = (now_ms as i64).wrapping_sub(idle);
                    at += 1;
                }
                Some(next) if is(option, "time") => {
                    delivered = number(next, "ERR Invalid TIME option argument for XCLAIM")?;
                    at += 1;
                }
                Some(next) if is(option, "retrycount") => {
                    let count = number(next, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                    claim.count = u64::try_from(count).ok();
                    at += 1;
                }
                Some(next) if is(option, "lastid") => {
                    claim.last_id = stream_id::id(next)?;
                    at += 1;
                }
                _ => {
                    let text: [&[u8]; 3] =
                        [b"ERR Unrecognized XCLAIM option '", super::args::c_string(option), b"'"];
                    return Err(CommandError::Bytes(text.concat()));
                }
            }
            at += 1;
        }
        if let Ok(delivered) = u64::try_from(delivered) {
            claim.delivered_ms = delivered.min(now_ms);
        }
        Ok(claim)
    }
}

fn xclaim(call: &mut Call<'_, '_>) -> CommandResult {
    let found = call.txn.exists(&call.keys[0]);
    call.looked_up(0, found);
    check_group(call)?;
    let (name, consumer, now_ms) = (call.args[2], call.args[3], call.txn.now_ms());
    let claim = Claim::parse(call.args, now_ms)?;
    let key = &call.keys[0];
    let group = call.txn.stream(key)?.and_then(|stream| stream.group(name));
    if let Some(group) = group
        && claim.last_id > group.last_id()
    {
        let read = group.entries_read();
        call.txn.stream_set_group(key, name, claim.last_id, read)?;
    }
    let mut entries = Reply::new(call.reply.protocol());
    let mut count = 0;
    for &id in &claim.ids {
        let Some(stream) = call.txn.stream(key)? else { break };
        let pending = stream.group(name).and_then(|group| group.pending(id));
        let Some(entry) = stream.get(id) else {
            if pending.is_some() {
                call.txn.stream_release(key, name, &[id])?;
            }
            continue;
        };
        let had = match pending {
            Some(pending) => {
                if claim.least_idle_ms != 0 && idle_ms(now_ms, pending.delivered_ms) < claim.least_idle_ms {
                    continue;
                }
                pending.count
            }
            None if claim.force => 1,
            None => continue,
        };
        if claim.only_ids {
            stream_id::write(&mut entries, id);
        } else {
            write_entry(&mut entries, &entry);
        }
        count += 1;
        if count == 1 {
            // One who claims nothing is not heard of.
            see_consumer(call, 0, name, consumer)?;
        }
        let times = claim.count.unwrap_or(if claim.only_ids { had } else { had.saturating_add(1) });
        call.txn.stream_assign(key, name, consumer, &[(id, claim.delivered_ms, times)])?;
    }
    call.reply.array(count);
    call.reply.bytes_mut().extend_from_slice(entries.bytes());
    Ok(())
}

fn xautoclaim(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    // Redis looks the key up first, and at what it holds last.
    let found = call.txn.exists(&call.keys[0]);
    call.looked_up(0, found);
    let least_idle_ms = integer(args[4])
        .map_err(|_| CommandError::from("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?
        .max(0);
    let start = *stream_id::range(args[5], b"+")?.start();
    let (mut most, mut only_ids, mut at) = (100u64, false, 6);
    while let Some(option) = args.get(at) {
        match args.get(at + 1) {
            Some(count) if is(option, "count") => {
                // As many as fit the memory that Redis takes for them.
                most = integer(count)
                    .ok()
                    .and_then(|count| u64::try_from(count).ok())
                    .filter(|count| (1..=i64::MAX as u64 / 16).contains(count))
                    .ok_or(CommandError::from("ERR COUNT must be > 0"))?;
                at += 1;
            }
            _ if is(option, "justid") => only_ids = true,
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    check_group(call)?;
    let (name, consumer, now_ms) = (args[2], args[3], call.txn.now_ms());
    let key = &call.keys[0];
    let Some(stream) = call.txn.stream(key)? else { return Ok(()) };
    let Some(group) = stream.group(name) else { return Ok(()) };
    let mut entries = Reply::new(call.reply.protocol());
    let (mut claimed, mut gone) = (Vec::new(), Vec::new());
    let mut looks = most.saturating_mul(LOOKS_PER_CLAIM);
    let mut all = group.pending_from(start, None);
    let next = loop {
        let Some(pending) = all.next() else { break None };
        if looks == 0 || (claimed.len() + gone.len()) as u64 == most {
            break Some(pending.id);
        }
        looks -= 1;
        let Some(entry) = stream.get(pending.id) else {
            gone.push(pending.id);
            continue;
        };
        if least_idle_ms != 0 && idle_ms(now_ms, pending.delivered_ms) < least_idle_ms {
            continue;
        }
        if only_ids {
            stream_id::write(&mut entries, pending.id);
        } else {
            write_entry(&mut entries, &entry);
        }
        let times = if only_ids { pending.count } else { pending.count.saturating_add(1) };
        claimed.push((pending.id, now_ms, times));
    };
    drop(all);
    let reply = &mut *call.reply;
    reply.array(3);
    stream_id::write(reply, next.unwrap_or(StreamId::MIN));
    reply.array(claimed.len());
    reply.bytes_mut().extend_from_slice(entries.bytes());
    reply.array(gone.len());
    gone.iter().for_each(|&id| stream_id::write(reply, id));
    call.txn.stream_release(key, name, &gone)?;
    if !claimed.is_empty() {
        see_consumer(call, 0, name, consumer)?;
    }
    call.txn.stream_assign(key, name, consumer, &claimed)?;
    Ok(())
}
