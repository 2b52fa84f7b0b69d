//! Changes of streams.
//!
//! A stream is structured whatever its size, so that there is but one form to change.

use super::{Applied, Change, Inverse};
use crate::object::stream::{
    StreamState, check_body, put_entry, put_id, put_read, take_entry, take_group, take_id, take_read,
};
use crate::object::{Body, Stream, StreamId, Structured};
use crate::shard::Shard;
use crate::table::Place;
use crate::varint;
use std::ops::ControlFlow;

/// A change of a stream. Names are those of groups and consumers; runs are entries, ids, or what was delivered, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamChange<'a> {
    /// An entry behind the last; it counts as added.
    Append { id: StreamId, body: &'a [u8] },
    /// Entries are back where they were.
    Restore { run: &'a [u8] },
    /// Entries are gone.
    Discard { ids: &'a [u8] },
    /// So many entries are gone from the front.
    TrimFront { count: u64 },
    /// What the stream is beside its entries.
    SetState(StreamState),
    /// A group, with all that is in it.
    PutGroup { group: &'a [u8] },
    /// A group is gone.
    DropGroup { group: &'a [u8] },
    /// A group has got so far.
    SetGroup { group: &'a [u8], last_id: StreamId, entries_read: Option<u64> },
    /// A consumer was heard of.
    SeeConsumer { group: &'a [u8], consumer: &'a [u8], seen_ms: u64 },
    /// A consumer is gone, and what it had not acknowledged.
    DropConsumer { group: &'a [u8], consumer: &'a [u8] },
    /// Entries are a consumer's: each an id, when it was delivered, and how often.
    Assign { group: &'a [u8], consumer: &'a [u8], run: &'a [u8] },
    /// Entries are nobody's.
    Release { group: &'a [u8], ids: &'a [u8] },
}

const APPEND: u8 = 0;
const RESTORE: u8 = 1;
const DISCARD: u8 = 2;
const TRIM_FRONT: u8 = 3;
const SET_STATE: u8 = 4;
const PUT_GROUP: u8 = 5;
const DROP_GROUP: u8 = 6;
const SET_GROUP: u8 = 7;
const SEE_CONSUMER: u8 = 8;
const DROP_CONSUMER: u8 = 9;
const ASSIGN: u8 = 10;
const RELEASE: u8 = 11;

/// The elements of a run, until one is none.
fn each<'a, T>(run: &'a [u8], take: impl Fn(&mut &'a [u8]) -> Option<T>) -> impl Iterator<Item = T> {
    let mut rest = run;
    std::iter::from_fn(move || take(&mut rest))
}

/// Takes a run off the front of bytes from outside.
fn take_run<'a, T>(rest: &mut &'a [u8], take: impl Fn(&mut &'a [u8]) -> Option<T>) -> Option<&'a [u8]> {
    let run = varint::take_slice(rest)?;
    let mut left = run;
    while !left.is_empty() {
        take(&mut left)?;
    }
    Some(run)
}

/// What was delivered: id, when, how often.
fn take_delivery(rest: &mut &[u8]) -> Option<(StreamId, u64, u64)> {
    Some((take_id(rest)?, varint::take(rest)?, varint::take(rest)?))
}

/// Appends what was delivered.
pub(crate) fn put_delivery(out: &mut Vec<u8>, id: StreamId, delivered_ms: u64, count: u64) {
    put_id(out, id);
    varint::put(out, delivered_ms);
    varint::put(out, count);
}

fn take_sound_entry<'a>(rest: &mut &'a [u8]) -> Option<(StreamId, &'a [u8])> {
    take_entry(rest).filter(|(_, body)| check_body(body))
}

impl<'a> StreamChange<'a> {
    /// Appends it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut slices = |code: u8, slices: &[&[u8]]| {
            out.push(code);
            slices.iter().for_each(|slice| varint::put_slice(out, slice));
        };
        match *self {
            StreamChange::Append { id, body } => {
                slices(APPEND, &[]);
                put_entry(out, id, body);
            }
            StreamChange::Restore { run } => slices(RESTORE, &[run]),
            StreamChange::Discard { ids } => slices(DISCARD, &[ids]),
            StreamChange::TrimFront { count } => {
                slices(TRIM_FRONT, &[]);
                varint::put(out, count);
            }
            StreamChange::SetState(state) => {
                slices(SET_STATE, &[]);
                state.put(out);
            }
            StreamChange::PutGroup { group } => slices(PUT_GROUP, &[group]),
            StreamChange::DropGroup { group } => slices(DROP_GROUP, &[group]),
            StreamChange::SetGroup { group, last_id, entries_read } => {
                slices(SET_GROUP, &[group]);
                put_id(out, last_id);
                put_read(out, entries_read);
            }
            StreamChange::SeeConsumer { group, consumer, seen_ms } => {
                slices(SEE_CONSUMER, &[group, consumer]);
                varint::put(out, seen_ms);
            }
            StreamChange::DropConsumer { group, consumer } => slices(DROP_CONSUMER, &[group, consumer]),
            StreamChange::Assign { group, consumer, run } => slices(ASSIGN, &[group, consumer, run]),
            StreamChange::Release { group, ids } => slices(RELEASE, &[group, ids]),
        }
    }

    /// Takes one off the front of bytes from outside.
    pub(super) fn take(rest: &mut &'a [u8]) -> Option<StreamChange<'a>> {
        let (&code, after) = rest.split_first()?;
        *rest = after;
        Some(match code {
            APPEND => {
                let (id, body) = take_sound_entry(rest)?;
                StreamChange::Append { id, body }
            }
            RESTORE => StreamChange::Restore { run: take_run(rest, take_sound_entry)? },
            DISCARD => StreamChange::Discard { ids: take_run(rest, take_id)? },
            TRIM_FRONT => StreamChange::TrimFront { count: varint::take(rest)? },
            SET_STATE => StreamChange::SetState(StreamState::take(rest)?),
            PUT_GROUP => StreamChange::PutGroup { group: take_run(rest, take_group)? },
            DROP_GROUP => StreamChange::DropGroup { group: varint::take_slice(rest)? },
            SET_GROUP => StreamChange::SetGroup {
                group: varint::take_slice(rest)?,
                last_id: take_id(rest)?,
                entries_read: take_read(rest)?,
            },
            SEE_CONSUMER => StreamChange::SeeConsumer {
                group: varint::take_slice(rest)?,
                consumer: varint::take_slice(rest)?,
                seen_ms: varint::take(rest)?,
            },
            DROP_CONSUMER => StreamChange::DropConsumer {
                group: varint::take_slice(rest)?,
                consumer: varint::take_slice(rest)?,
            },
            ASSIGN => StreamChange::Assign {
                group: varint::take_slice(rest)?,
                consumer: varint::take_slice(rest)?,
                run: take_run(rest, take_delivery)?,
            },
            RELEASE => {
                StreamChange::Release { group: varint::take_slice(rest)?, ids: take_run(rest, take_id)? }
            }
            _ => return None,
        })
    }

    /// The group that it is about.
    fn group(&self) -> Option<&'a [u8]> {
        match *self {
            StreamChange::Append { .. }
            | StreamChange::Restore { .. }
            | StreamChange::Discard { .. }
            | StreamChange::TrimFront { .. }
            | StreamChange::SetState(_) => None,
            StreamChange::PutGroup { mut group } => varint::take_slice(&mut group),
            StreamChange::DropGroup { group }
            | StreamChange::SetGroup { group, .. }
            | StreamChange::SeeConsumer { group, .. }
            | StreamChange::DropConsumer { group, .. }
            | StreamChange::Assign { group, .. }
            | StreamChange::Release { group, .. } => Some(group),
        }
    }
}

/// Applies a change to a stream.
pub(super) fn apply(shard: &mut Shard, place: Place, change: StreamChange<'_>) -> Applied {
    shard.change(place, |handle| {
        if let Some(Structured { body: Body::Stream(stream), .. }) = handle.structured_mut() {
            change_stream(stream, change);
        }
    });
    Applied { new: false, garbage: None }
}

fn change_stream(stream: &mut Stream, change: StreamChange<'_>) {
    match change {
        StreamChange::Append { id, body } => stream.append(id, body),
        StreamChange::Restore { run } => {
            each(run, take_entry).for_each(|(id, body)| stream.restore(id, body));
        }
        StreamChange::Discard { ids } => each(ids, take_id).for_each(|id| {
            stream.discard(id);
        }),
        StreamChange::TrimFront { count } => {
            stream.drop_front(usize::try_from(count).unwrap_or(usize::MAX));
        }
        StreamChange::SetState(state) => {
            // What comes next must be behind the last entry, whatever somebody says.
            let last_id = state.last_id.max(stream.last_entry_id().unwrap_or_default());
            stream.state = StreamState { last_id, ..state };
        }
        StreamChange::PutGroup { group: mut bytes } => {
            if let Some((name, group)) = take_group(&mut bytes) {
                stream.groups.insert(name.into(), group);
            }
        }
        StreamChange::DropGroup { group } => {
            stream.groups.remove(group);
        }
        StreamChange::SetGroup { group, last_id, entries_read } => {
            if let Some(group) = stream.groups.get_mut(group) {
                (group.last_id, group.entries_read) = (last_id, entries_read);
            }
        }
        StreamChange::SeeConsumer { group, consumer, seen_ms } => {
            if let Some(group) = stream.groups.get_mut(group) {
                group.see(consumer, seen_ms);
            }
        }
        StreamChange::DropConsumer { group, consumer } => {
            if let Some(group) = stream.groups.get_mut(group) {
                group.forget(consumer);
            }
        }
        StreamChange::Assign { group, consumer, run } => {
            if let Some(group) = stream.groups.get_mut(group) {
                each(run, take_delivery).for_each(|(id, delivered_ms, count)| {
                    group.assign(consumer, id, delivered_ms, count);
                });
            }
        }
        StreamChange::Release { group, ids } => {
            if let Some(group) = stream.groups.get_mut(group) {
                each(ids, take_id).for_each(|id| {
                    group.release(id);
                });
            }
        }
    }
}

/// What undoes a change. Of a group, all that it was.
pub(super) fn invert(object: &Structured, change: StreamChange<'_>, inverse: &mut Inverse) {
    let Body::Stream(stream) = &object.body else { return };
    let mut push = |change: StreamChange<'_>| inverse.push(&Change::Stream(change));
    let mut bytes = Vec::new();
    if let Some(name) = change.group() {
        match stream.groups.get(name) {
            Some(group) => {
                group.put(&mut bytes, name);
                push(StreamChange::PutGroup { group: &bytes });
            }
            None => push(StreamChange::DropGroup { group: name }),
        }
        return;
    }
    match change {
        StreamChange::Append { id, .. } if id > stream.state.last_id => {
            put_id(&mut bytes, id);
            push(StreamChange::SetState(stream.state));
            push(StreamChange::Discard { ids: &bytes });
        }
        StreamChange::Restore { run } => {
            let new = each(run, take_entry).filter(|(id, _)| stream.get(*id).is_none());
            new.for_each(|(id, _)| put_id(&mut bytes, id));
            push(StreamChange::Discard { ids: &bytes });
        }
        StreamChange::Discard { ids } => {
            for id in each(ids, take_id) {
                if let Some(body) = stream.get(id) {
                    put_entry(&mut bytes, id, body);
                }
            }
            push(StreamChange::Restore { run: &bytes });
        }
        StreamChange::TrimFront { count } => {
            let mut left = count;
            stream.visit(StreamId::MIN..=StreamId::MAX, false, &mut |id, body| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                left -= 1;
                put_entry(&mut bytes, id, body);
                ControlFlow::Continue(())
            });
            push(StreamChange::Restore { run: &bytes });
        }
        StreamChange::SetState(_) => push(StreamChange::SetState(stream.state)),
        _ => {}
    }
}
