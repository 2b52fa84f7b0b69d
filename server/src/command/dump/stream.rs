//! Streams in Redis's own form: entries in listpacks, each behind a first one that names the fields which most of them have; then the groups.
//!
//! Written is the form of Redis 7.0 (type 19). That of 5.0 (15) and 7.2 (21) are read as well.

use super::listpack::{self, Builder, Element};
use super::reader::{Reader, Texts};
use super::writer::{put_length, put_string, types};
use crate::command::CommandError;
use sessile::{Key, StreamEntry, StreamId, StreamState, StreamView, Txn};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

/// Entries of a listpack, and about its bytes, as Redis has them by default.
const ENTRIES_MAX: usize = 100;
const LISTPACK_BYTES_MAX: usize = 4096;
/// Of an entry's flags: it is deleted; its fields are the listpack's.
const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// How many entries a group has read, when that is not known.
const UNKNOWN: u64 = u64::MAX;

/// A stream as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamValue {
    /// Ids, ascending, and how many fields and values each has.
    pub entries: Vec<(StreamId, usize)>,
    /// Fields and values of all entries, by turns.
    pub texts: Texts,
    /// What it is beside them.
    pub state: StreamState,
    /// Its groups, with distinct names.
    pub groups: Vec<GroupValue>,
}

/// A group of a stream as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupValue {
    /// Its name.
    pub name: Vec<u8>,
    /// The last entry that was delivered to anyone.
    pub last_id: StreamId,
    /// How many were; `None` if that is not known.
    pub entries_read: Option<u64>,
    /// Its consumers, with distinct names.
    pub consumers: Vec<ConsumerValue>,
}

/// A consumer of a group as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerValue {
    /// Its name.
    pub name: Vec<u8>,
    /// When it was heard of last, ms since the epoch.
    pub seen_ms: u64,
    /// What it has not acknowledged: id, when it was delivered (ms since the epoch), how often.
    pub pending: Vec<(StreamId, u64, u64)>,
}

/// Appends a stream.
pub(super) fn put(out: &mut Vec<u8>, stream: &StreamView<'_>) {
    let mut packs: Vec<(StreamId, Vec<u8>)> = Vec::new();
    let mut open: Option<Pack> = None;
    stream.visit(StreamId::MIN..=StreamId::MAX, false, &mut |entry| {
        let full = open.as_ref().is_none_or(Pack::is_full);
        if full && let Some(pack) = open.replace(Pack::new(&entry)) {
            packs.push(pack.finish());
        }
        if let Some(pack) = &mut open {
            pack.push(&entry);
        }
        ControlFlow::Continue(())
    });
    packs.extend(open.map(Pack::finish));
    put_length(out, packs.len() as u64);
    for (first, pack) in &packs {
        let mut id = Vec::with_capacity(16);
        put_raw_id(&mut id, *first);
        put_length(out, id.len() as u64);
        out.extend_from_slice(&id);
        put_length(out, pack.len() as u64);
        out.extend_from_slice(pack);
    }
    let state = stream.state();
    put_length(out, stream.len() as u64);
    put_id(out, state.last_id);
    put_id(out, stream.first_id().unwrap_or(StreamId::MIN));
    put_id(out, state.max_deleted_id);
    put_length(out, state.entries_added);
    put_length(out, stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        put_string(out, name);
        put_id(out, group.last_id());
        put_length(out, group.entries_read().unwrap_or(UNKNOWN));
        put_length(out, group.pending_len() as u64);
        for pending in group.pending_from(StreamId::MIN, None) {
            put_raw_id(out, pending.id);
            out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
            put_length(out, pending.count);
        }
        put_length(out, group.consumers().len() as u64);
        for consumer in group.consumers() {
            put_string(out, consumer.name);
            out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
            put_length(out, consumer.pending as u64);
            for pending in group.pending_from(StreamId::MIN, Some(consumer.name)) {
                put_raw_id(out, pending.id);
            }
        }
    }
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

/// As radix trees have ids for keys: their order is that of the bytes.
fn put_raw_id(out: &mut Vec<u8>, id: StreamId) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}

/// A listpack of entries that is being written.
struct Pack {
    first: StreamId,
    fields: Vec<Vec<u8>>,
    entries: usize,
    body: Builder,
}

impl Pack {
    fn new(entry: &StreamEntry<'_>) -> Pack {
        let fields = entry.fields().step_by(2).map(<[u8]>::to_vec).collect();
        Pack { first: entry.id, fields, entries: 0, body: Builder::default() }
    }

    fn is_full(&self) -> bool {
        self.entries >= ENTRIES_MAX || self.body.bytes() >= LISTPACK_BYTES_MAX
    }

    fn push(&mut self, entry: &StreamEntry<'_>) {
        let same = entry.fields().step_by(2).eq(self.fields.iter().map(Vec::as_slice));
        let count = entry.fields().count() / 2;
        self.entries += 1;
        self.body.integer(if same { SAME_FIELDS } else { 0 });
        // Differences wrap, as in Redis.
        self.body.integer(entry.id.ms.wrapping_sub(self.first.ms).cast_signed());
        self.body.integer(entry.id.seq.wrapping_sub(self.first.seq).cast_signed());
        if same {
            entry.fields().skip(1).step_by(2).for_each(|value| self.body.text(value));
        } else {
            self.body.integer(count as i64);
            entry.fields().for_each(|text| self.body.text(text));
        }
        // Elements of the entry before this one, for who walks backwards.
        self.body.integer(if same { 3 + count } else { 4 + 2 * count } as i64);
    }

    fn finish(self) -> (StreamId, Vec<u8>) {
        let mut whole = Builder::default();
        whole.integer(self.entries as i64);
        whole.integer(0);
        whole.integer(self.fields.len() as i64);
        self.fields.iter().for_each(|field| whole.text(field));
        whole.integer(0);
        whole.append(self.body);
        (self.first, whole.finish())
    }
}

impl Reader<'_> {
    /// A stream, whose type has been read.
    pub(super) fn stream(&mut self, kind: u8) -> Option<StreamValue> {
        let mut value = StreamValue::default();
        for _ in 0..self.length()? {
            let key = self.string()?;
            let (id, rest) = key.split_first_chunk::<16>()?;
            let pack = self.string()?;
            if !rest.is_empty() || self.entries(raw_id(*id), &pack, &mut value)? == 0 {
                return None;
            }
        }
        let length = self.length()?;
        value.state.last_id = self.stream_id()?;
        value.state.entries_added = length;
        if kind != types::STREAM {
            let _first = self.stream_id()?;
            value.state.max_deleted_id = self.stream_id()?;
            value.state.entries_added = self.length()?;
        }
        let ascending = value.entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let last = value.entries.last().map_or(StreamId::MIN, |entry| entry.0);
        if length != value.entries.len() as u64 || !ascending || last > value.state.last_id {
            return None;
        }
        let mut names = HashSet::new();
        for _ in 0..self.length()? {
            let group = self.group(kind)?;
            if !names.insert(group.name.clone()) {
                return None;
            }
            value.groups.push(group);
        }
        Some(value)
    }

    /// The entries of a listpack; how many there are, those that are deleted included.
    fn entries(&mut self, first: StreamId, pack: &[u8], value: &mut StreamValue) -> Option<usize> {
        let mut elements = Vec::new();
        listpack::for_each(pack, &mut |element| {
            self.pay(size_of::<Element<'_>>())?;
            elements.push(element);
            Some(())
        })?;
        let mut rest = &elements[..];
        let (alive, deleted) = (integer(&mut rest)?, integer(&mut rest)?);
        let field_count = usize::try_from(integer(&mut rest)?).ok()?;
        let (fields, after) = rest.split_at_checked(field_count)?;
        rest = after;
        if integer(&mut rest)? != 0 {
            return None;
        }
        let (mut found_alive, mut found_deleted) = (0, 0);
        while !rest.is_empty() {
            let flags = integer(&mut rest)?;
            let id = StreamId {
                ms: first.ms.wrapping_add(integer(&mut rest)?.cast_unsigned()),
                seq: first.seq.wrapping_add(integer(&mut rest)?.cast_unsigned()),
            };
            let same = flags & SAME_FIELDS != 0;
            let count = if same { field_count } else { usize::try_from(integer(&mut rest)?).ok()? };
            let (texts, after) = rest.split_at_checked(if same { count } else { count.checked_mul(2)? })?;
            rest = after;
            let _elements = integer(&mut rest)?;
            if flags & DELETED != 0 {
                found_deleted += 1;
                continue;
            }
            found_alive += 1;
            value.entries.push((id, 2 * count));
            for at in 0..count {
                let (field, text) =
                    if same { (&fields[at], &texts[at]) } else { (&texts[2 * at], &texts[2 * at + 1]) };
                self.push_element(&mut value.texts, field)?;
                self.push_element(&mut value.texts, text)?;
            }
        }
        ((found_alive, found_deleted) == (alive, deleted)).then_some(elements.len())
    }

    fn group(&mut self, kind: u8) -> Option<GroupValue> {
        let mut group = GroupValue { name: self.string()?.into_owned(), ..GroupValue::default() };
        self.pay(size_of::<GroupValue>())?;
        group.last_id = self.stream_id()?;
        if kind != types::STREAM {
            group.entries_read = Some(self.length()?).filter(|&read| read != UNKNOWN);
        }
        let mut pending = BTreeMap::new();
        for _ in 0..self.length()? {
            self.pay(size_of::<(StreamId, u64, u64)>())?;
            let id = raw_id(self.array()?);
            let delivered_ms = self.time()?;
            if pending.insert(id, (delivered_ms, self.length()?)).is_some() {
                return None;
            }
        }
        let mut names = HashSet::new();
        for _ in 0..self.length()? {
            self.pay(size_of::<ConsumerValue>())?;
            let name = self.string()?.into_owned();
            let mut consumer = ConsumerValue { name, seen_ms: self.time()?, pending: Vec::new() };
            if kind == types::STREAM_3 {
                let _active_ms = self.time()?;
            }
            for _ in 0..self.length()? {
                let id = raw_id(self.array()?);
                // Everything pending is one consumer's.
                let (delivered_ms, count) = pending.remove(&id)?;
                consumer.pending.push((id, delivered_ms, count));
            }
            if !names.insert(consumer.name.clone()) {
                return None;
            }
            group.consumers.push(consumer);
        }
        pending.is_empty().then_some(group)
    }

    fn stream_id(&mut self) -> Option<StreamId> {
        Some(StreamId { ms: self.length()?, seq: self.length()? })
    }

    /// A time in ms; one before the epoch is none.
    fn time(&mut self) -> Option<u64> {
        Some(u64::try_from(i64::from_le_bytes(self.array()?)).unwrap_or(0))
    }
}

fn raw_id(bytes: [u8; 16]) -> StreamId {
    let [ms, seq] = [0, 8].map(|at| u64::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte])));
    StreamId { ms, seq }
}

fn integer(rest: &mut &[Element<'_>]) -> Option<i64> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    match first {
        Element::Integer(integer) => Some(*integer),
        Element::Text(_) => None,
    }
}

/// Makes a key, which is not there, hold a stream.
pub(super) fn restore(txn: &mut Txn<'_>, key: &Key<'_>, value: &StreamValue) -> Result<(), CommandError> {
    txn.stream_create(key);
    let mut texts = value.texts.iter();
    let mut fields: Vec<&[u8]> = Vec::new();
    for &(id, count) in &value.entries {
        fields.clear();
        fields.extend(texts.by_ref().take(count));
        txn.stream_append(key, id, &fields)?;
    }
    txn.stream_set_state(key, value.state)?;
    for group in &value.groups {
        txn.stream_put_group(key, &group.name, group.last_id, group.entries_read)?;
        for consumer in &group.consumers {
            txn.stream_see_consumer_at(key, &group.name, &consumer.name, consumer.seen_ms)?;
            txn.stream_assign(key, &group.name, &consumer.name, &consumer.pending)?;
        }
    }
    Ok(())
}
