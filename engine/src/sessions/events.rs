//! What happens to sessions, in order: a log within the log, in chunks.
//!
//! ```text
//! system "state"     "e" ─▶ first chunk u64 │ last chunk u64 │ last one's opening ms u64 │ end of what was deleted u64
//!                    "c" chunk ─▶ bytes u64 │ closing ms u64        of each chunk but the last
//! system "e" chunk   a string: version u8 │ events, each a slice
//! cursor             chunk << 26 │ where in it the event ends
//! ```
//!
//! An event is appended by the transaction that it is of, so that either both are there after a crash or neither. Chunks take events until
//! they have had 64 KiB; the oldest are deleted whole when they are too old or too many. A cursor is the position behind an event; it only rises.
//!
//! What it must never do: show an event that a crash could take back. Whoever reads events must wait for
//! [`EventPage::durable_at`] before passing any of them on: otherwise the positions of what was lost would be given to other events.

use super::plan::Plan;
use super::record::Numbers;
use super::token::{Handle, ID_BYTES};
use super::{SessionError, SessionKey};
use crate::key::Key;
use crate::txn::Txn;
use crate::varint;
use sessile_wal::Lsn;

/// The key of counts and of what is known of chunks.
pub(super) const STATE: &[u8] = b"state";
/// In it: first and last chunk.
const CHUNKS: &[u8] = b"e";
/// Before a chunk's number, in the name of its field, and of its key.
const CLOSED: u8 = b'c';
const CHUNK: u8 = b'e';
const CHUNK_VERSION: u8 = 1;
/// Bytes of a chunk before its events.
const HEADER_BYTES: usize = 1;
/// What one transaction can append at most, and a chunk hold, in bytes: positions in it have 26 bits.
const CHUNK_BYTES_MAX: usize = 1 << OFFSET_BITS;
const OFFSET_BITS: u32 = 26;
/// Cursors stay below 2^53, JavaScript's exact integers.
const CHUNK_NUMBER_MAX: u64 = (1 << (53 - OFFSET_BITS)) - 1;
/// An event without its user, class and reason, at most, in bytes.
const EVENT_BYTES: usize = 64;

/// What has happened to a session, or to many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// It was made.
    Created,
    /// It got another token.
    Rotated,
    /// Its holder has ended it.
    Ended,
    /// It was revoked; with a count, all of its class were.
    Revoked,
    /// Its deadline came.
    Expired,
    /// It made room for another of its user's.
    Evicted,
    /// A token was used that had been rotated away.
    Reuse,
    /// All sessions were ended.
    Flushed,
    /// Tokens were used that no session has.
    Unknown,
}

const KINDS: [(EventKind, &str); 9] = [
    (EventKind::Created, "created"),
    (EventKind::Rotated, "rotated"),
    (EventKind::Ended, "ended"),
    (EventKind::Revoked, "revoked"),
    (EventKind::Expired, "expired"),
    (EventKind::Evicted, "evicted"),
    (EventKind::Reuse, "reuse"),
    (EventKind::Flushed, "flushed"),
    (EventKind::Unknown, "unknown"),
];

impl EventKind {
    /// Its name, as replies have it.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    fn number(self) -> u8 {
        // There are nine.
        KINDS.iter().position(|(kind, _)| *kind == self).unwrap_or_default() as u8
    }
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When, in ms since the epoch: of an expired session its deadline.
    pub at_ms: u64,
    /// To which session, if to one.
    pub handle: Option<Handle>,
    /// The session's user, if it has one.
    pub user: Option<Vec<u8>>,
    /// The session's class, or the one that was revoked.
    pub class: Option<String>,
    /// How many, if it sums up.
    pub count: Option<u64>,
    /// What else is known.
    pub reason: Option<Vec<u8>>,
}

/// An event with its place in the order of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// Reading after it goes on with the next one.
    pub cursor: u64,
    /// What has happened.
    pub event: Event,
}

/// Events from a cursor on.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// To go on with.
    pub cursor: u64,
    /// In order; none if nothing is new.
    pub events: Vec<NumberedEvent>,
    /// Whether something that followed the cursor is no longer kept.
    pub lost: bool,
    /// Everything shown is durable once the log is ([`Db::durable`](crate::Db::durable)): it must not be passed on before.
    pub durable_at: Lsn,
}

const HAS_HANDLE: u8 = 1;
const HAS_USER: u8 = 2;
const HAS_CLASS: u8 = 4;
const HAS_COUNT: u8 = 8;
const HAS_REASON: u8 = 16;

impl Event {
    /// One of a session.
    pub(super) fn of(kind: EventKind, at_ms: u64) -> Event {
        Event { kind, at_ms, handle: None, user: None, class: None, count: None, reason: None }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(self.handle.is_some(), HAS_HANDLE)
            | flag(self.user.is_some(), HAS_USER)
            | flag(self.class.is_some(), HAS_CLASS)
            | flag(self.count.is_some(), HAS_COUNT)
            | flag(self.reason.is_some(), HAS_REASON);
        out.extend_from_slice(&[self.kind.number(), flags]);
        varint::put(out, self.at_ms);
        if let Some(Handle(id)) = &self.handle {
            out.extend_from_slice(id);
        }
        let class = self.class.as_ref().map(String::as_bytes);
        for slice in [self.user.as_deref(), class].into_iter().flatten() {
            varint::put_slice(out, slice);
        }
        if let Some(count) = self.count {
            varint::put(out, count);
        }
        if let Some(reason) = &self.reason {
            varint::put_slice(out, reason);
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Event> {
        let (&[kind, flags], rest) = bytes.split_first_chunk::<2>()?;
        bytes = rest;
        let mut event = Event::of(KINDS.get(usize::from(kind))?.0, varint::take(&mut bytes)?);
        if flags & HAS_HANDLE != 0 {
            let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
            (event.handle, bytes) = (Some(Handle(*id)), rest);
        }
        if flags & HAS_USER != 0 {
            event.user = Some(varint::take_slice(&mut bytes)?.to_vec());
        }
        if flags & HAS_CLASS != 0 {
            event.class = Some(String::from_utf8(varint::take_slice(&mut bytes)?.to_vec()).ok()?);
        }
        if flags & HAS_COUNT != 0 {
            event.count = Some(varint::take(&mut bytes)?);
        }
        if flags & HAS_REASON != 0 {
            event.reason = Some(varint::take_slice(&mut bytes)?.to_vec());
        }
        bytes.is_empty().then_some(event)
    }

    /// Bytes that it takes at most.
    fn bytes_max(&self) -> usize {
        let length = |part: Option<usize>| part.map_or(0, |length| length + 5);
        EVENT_BYTES
            + length(self.user.as_ref().map(Vec::len))
            + length(self.class.as_ref().map(String::len))
            + length(self.reason.as_ref().map(Vec::len))
    }
}

/// The key of a chunk.
fn chunk_key(number: u64) -> SessionKey {
    let mut key = [CHUNK; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    SessionKey::system(&key)
}

fn closed_field(number: u64) -> [u8; 9] {
    let mut field = [CLOSED; 9];
    field[1..].copy_from_slice(&number.to_be_bytes());
    field
}

/// Which chunks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    first: u64,
    /// Never 0.
    last: u64,
    /// When the last one was begun, in ms since the epoch.
    opened_ms: u64,
    /// The cursor behind the last event of those that were deleted.
    gone: u64,
}

impl Chunks {
    /// As a transaction that holds the state sees them.
    fn read(txn: &Txn<'_>) -> Result<Chunks, SessionError> {
        let damaged = SessionError::Damaged { what: "the state of events" };
        let state = SessionKey::system(STATE);
        match txn.hash_get(&state.hashed_by(txn.hasher()), CHUNKS) {
            // The first chunk is made with the first event.
            Ok(None) => Ok(Chunks { first: 1, last: 1, opened_ms: txn.now_ms(), gone: 0 }),
            Ok(Some(bytes)) => {
                let mut numbers = Numbers(bytes);
                let mut read = || Some([numbers.long()?, numbers.long()?, numbers.long()?, numbers.long()?]);
                let Some([first, last, opened_ms, gone]) = read() else { return Err(damaged) };
                if first == 0 || first > last || last > CHUNK_NUMBER_MAX {
                    return Err(damaged);
                }
                Ok(Chunks { first, last, opened_ms, gone })
            }
            Err(_) => Err(damaged),
        }
    }

    fn write(self, txn: &mut Txn<'_>) {
        let mut bytes = [0; 32];
        let numbers = [self.first, self.last, self.opened_ms, self.gone];
        for (part, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        let state = SessionKey::system(STATE);
        let state = state.hashed_by(txn.hasher());
        // Its kind was looked at when it was read.
        let _ = txn.hash_set(&state, CHUNKS, &bytes);
    }
}

fn length_of(txn: &Txn<'_>, chunk: &Key<'_>) -> usize {
    txn.string(chunk).ok().flatten().map_or(0, <[u8]>::len)
}

/// Where a transaction appends its events, once it holds all it needs.
#[derive(Debug)]
pub(super) struct Tail {
    chunks: Chunks,
    chunk: SessionKey,
    /// The chunk is to be made.
    new: Option<Closing>,
}

/// What is noted of a chunk that takes no more.
#[derive(Debug)]
struct Closing {
    /// `None`: there was none.
    closed: Option<(u64, u64)>,
}

/// Plans the appending of events that take about so many bytes: the state and the chunk must be held.
///
/// # Errors
/// [`SessionError::TooManyEvents`].
pub(super) fn plan(txn: &Txn<'_>, plan: &mut Plan, bytes: usize) -> Result<Option<Tail>, SessionError> {
    let hint = txn.inner().sessions.last_chunk();
    if plan.wants(txn, SessionKey::system(STATE)) {
        plan.wants(txn, chunk_key(hint));
        return Ok(None);
    }
    let mut chunks = Chunks::read(txn)?;
    let chunk = chunk_key(chunks.last);
    if plan.wants(txn, chunk.clone()) {
        return Ok(None);
    }
    let length = length_of(txn, &chunk.hashed_by(txn.hasher()));
    let chunk_bytes = txn.inner().storage.tuning.session_events_chunk_bytes;
    if bytes > CHUNK_BYTES_MAX - chunk_bytes {
        return Err(SessionError::TooManyEvents);
    }
    if length == 0 {
        return Ok(Some(Tail { chunks, chunk, new: Some(Closing { closed: None }) }));
    }
    if length < chunk_bytes || chunks.last == CHUNK_NUMBER_MAX {
        return Ok(Some(Tail { chunks, chunk, new: None }));
    }
    let closed = Some((chunks.last, length as u64));
    (chunks.last, chunks.opened_ms) = (chunks.last + 1, txn.now_ms());
    let chunk = chunk_key(chunks.last);
    if plan.wants(txn, chunk.clone()) {
        return Ok(None);
    }
    Ok(Some(Tail { chunks, chunk, new: Some(Closing { closed }) }))
}

/// Bytes that events take at most.
pub(super) fn bytes_of(events: &[Event]) -> usize {
    events.iter().map(Event::bytes_max).sum()
}

/// Appends events.
pub(super) fn append(txn: &mut Txn<'_>, tail: &Tail, events: &[Event], now_ms: u64) {
    if events.is_empty() {
        return;
    }
    let mut bytes = Vec::with_capacity(bytes_of(events));
    let mut one = Vec::new();
    for event in events {
        one.clear();
        event.encode(&mut one);
        varint::put_slice(&mut bytes, &one);
    }
    let hasher = txn.hasher();
    let key = tail.chunk.hashed_by(hasher);
    let at = length_of(txn, &key);
    match &tail.new {
        None => drop(txn.write_string_at(&key, at, &bytes)),
        Some(Closing { closed }) => {
            if let Some((number, length)) = *closed {
                close(txn, number, length, now_ms);
            }
            let chunks = Chunks { opened_ms: now_ms, ..tail.chunks };
            chunks.write(txn);
            bytes.insert(0, CHUNK_VERSION);
            txn.put_string(&key, &bytes, None);
        }
    }
    txn.note_events(tail.chunks.last);
}

fn close(txn: &mut Txn<'_>, number: u64, length: u64, now_ms: u64) {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..].copy_from_slice(&now_ms.to_le_bytes());
    let state = SessionKey::system(STATE);
    let state = state.hashed_by(txn.hasher());
    let _ = txn.hash_set(&state, &closed_field(number), &bytes);
}

/// Reads at most `count` events after a cursor; from the oldest kept without one.
pub(super) fn read(txn: &Txn<'_>, after: Option<u64>, count: usize) -> Result<EventPage, SessionError> {
    let mut plan = Plan::default();
    plan.wants(txn, SessionKey::system(STATE));
    plan.check()?;
    let chunks = Chunks::read(txn)?;
    let durable_at = txn.inner().wal_appended();
    let after = after.unwrap_or(chunks.first << OFFSET_BITS);
    let (mut number, mut offset) = (after >> OFFSET_BITS, (after & ((1 << OFFSET_BITS) - 1)) as usize);
    let mut page = EventPage { cursor: after, events: Vec::new(), lost: false, durable_at };
    if number > chunks.last {
        // It was never given out: of another directory, or of what a disk has lost.
        page.lost = true;
        (number, offset) = (chunks.first, 0);
    }
    if number < chunks.first {
        page.lost |= after < chunks.gone;
        (number, offset) = (chunks.first, 0);
    }
    while page.events.len() < count && number <= chunks.last {
        let key = chunk_key(number);
        if plan.wants(txn, key.clone()) {
            // What there is so far is an answer, too.
            if page.events.is_empty() {
                plan.check()?;
            }
            break;
        }
        let hashed = key.hashed_by(txn.hasher());
        let Ok(chunk) = txn.string(&hashed) else {
            return Err(SessionError::Damaged { what: "a chunk of events" });
        };
        let chunk = chunk.unwrap_or_default();
        if offset > chunk.len() {
            page.lost = true;
            offset = 0;
        }
        let mut rest = chunk.get(HEADER_BYTES..).unwrap_or_default();
        while !rest.is_empty() && page.events.len() < count {
            let bytes = varint::take_slice(&mut rest);
            let end = chunk.len() - rest.len();
            if bytes.is_some() && end <= offset {
                continue;
            }
            let Some(event) = bytes.and_then(Event::decode) else {
                return Err(SessionError::Damaged { what: "an event" });
            };
            let cursor = number << OFFSET_BITS | end as u64;
            page.events.push(NumberedEvent { cursor, event });
            page.cursor = cursor;
        }
        (number, offset) = (number + 1, 0);
    }
    if page.lost && page.events.is_empty() {
        // Else it would be lost again and again.
        page.cursor = end(txn, chunks)?;
    }
    Ok(page)
}

/// The position behind the last event.
fn end(txn: &Txn<'_>, chunks: Chunks) -> Result<u64, SessionError> {
    let mut plan = Plan::default();
    let key = chunk_key(chunks.last);
    plan.wants(txn, key.clone());
    plan.check()?;
    Ok(chunks.last << OFFSET_BITS | length_of(txn, &key.hashed_by(txn.hasher())) as u64)
}

/// Deletes the oldest chunk if it is too old, or if the chunks have too many bytes; closes the last one early if it has been open for long. Whether
/// there may be more to do.
pub(super) fn trim(
    txn: &mut Txn<'_>,
    max_age_ms: u64,
    max_bytes: u64,
    now_ms: u64,
) -> Result<bool, SessionError> {
    let mut plan = Plan::default();
    plan.wants(txn, SessionKey::system(STATE));
    plan.check()?;
    let mut chunks = Chunks::read(txn)?;
    let state = SessionKey::system(STATE);
    let state = state.hashed_by(txn.hasher());
    let last = chunk_key(chunks.last);
    let open_for_ms = now_ms.saturating_sub(chunks.opened_ms);
    if open_for_ms > max_age_ms / 8 && chunks.last < CHUNK_NUMBER_MAX {
        let next = chunk_key(chunks.last + 1);
        plan.wants(txn, last.clone());
        plan.wants(txn, next.clone());
        plan.check()?;
        let length = length_of(txn, &last.hashed_by(txn.hasher()));
        if length > HEADER_BYTES {
            close(txn, chunks.last, length as u64, now_ms);
            (chunks.last, chunks.opened_ms) = (chunks.last + 1, now_ms);
            chunks.write(txn);
            txn.put_string(&next.hashed_by(txn.hasher()), &[CHUNK_VERSION], None);
            txn.note_events(chunks.last);
            return Ok(true);
        }
    }
    let (mut bytes, mut oldest) = (0, None);
    let read = txn.hash_for_each(&state, &mut |field, value| {
        let mut numbers = Numbers(value);
        if let ([CLOSED, number @ ..], Some(length), Some(closed_ms)) =
            (field, numbers.long(), numbers.long())
            && number == chunks.first.to_be_bytes()
        {
            oldest = Some(closed_ms);
            bytes += length;
        } else if let ([CLOSED, ..], Some(length)) = (field, Numbers(value).long()) {
            bytes += length;
        }
    });
    if read.is_err() {
        return Err(SessionError::Damaged { what: "the state of events" });
    }
    let Some(closed_ms) = oldest.filter(|_| chunks.first < chunks.last) else { return Ok(false) };
    if closed_ms.saturating_add(max_age_ms) > now_ms && bytes <= max_bytes {
        return Ok(false);
    }
    let first = chunk_key(chunks.first);
    plan.wants(txn, first.clone());
    plan.check()?;
    let first = first.hashed_by(txn.hasher());
    chunks.gone = chunks.first << OFFSET_BITS | length_of(txn, &first) as u64;
    txn.delete(&first);
    let _ = txn.hash_remove(&state, &closed_field(chunks.first));
    chunks.first += 1;
    chunks.write(txn);
    Ok(true)
}

/// The number of the last chunk, of a transaction that holds the state.
pub(super) fn last_chunk(txn: &Txn<'_>) -> Result<u64, SessionError> {
    Chunks::read(txn).map(|chunks| chunks.last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_event_comes_back(
            kind in 0usize..KINDS.len(), at_ms: u64, id: Option<[u8; 16]>, user: Option<Vec<u8>>,
            class: Option<String>, count: Option<u64>, reason: Option<Vec<u8>>,
        ) {
            let handle = id.map(Handle);
            let event = Event { kind: KINDS[kind].0, at_ms, handle, user, class, count, reason };
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            prop_assert!(bytes.len() <= event.bytes_max());
            prop_assert_eq!(Event::decode(&bytes), Some(event));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = Event::decode(&bytes);
        }
    }
}
