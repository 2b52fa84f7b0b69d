//! A stream: entries in the order of their ids, in chunks, and its consumer groups. In memory it has this form whatever its size.
//!
//! Entries come in behind the last and go at the front in constant time; one is found by a search among the chunks and a walk through one. No chunk
//! is empty. A stream may be. What a change asks for that is not there changes nothing.

mod chunk;
mod group;
#[cfg(test)]
mod tests;

use crate::varint;
use chunk::Chunk;
pub(crate) use group::{Group, put_read, take_group, take_read};
use std::collections::{BTreeMap, VecDeque};
use std::ops::{ControlFlow, RangeInclusive};

/// The id of a stream's entry: a time in ms, and a number among those of the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// In ms since the epoch, as a rule.
    pub ms: u64,
    /// The number.
    pub seq: u64,
}

impl StreamId {
    /// The least one, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The greatest one.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// The one after it.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The one before it.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }
}

/// Appends an id.
pub(crate) fn put_id(out: &mut Vec<u8>, id: StreamId) {
    varint::put(out, id.ms);
    varint::put(out, id.seq);
}

/// Takes an id off the front of bytes from outside.
pub(crate) fn take_id(rest: &mut &[u8]) -> Option<StreamId> {
    Some(StreamId { ms: varint::take(rest)?, seq: varint::take(rest)? })
}

/// Appends an entry: its id, and its fields and values as one slice of slices.
pub(crate) fn put_entry(out: &mut Vec<u8>, id: StreamId, body: &[u8]) {
    put_id(out, id);
    varint::put_slice(out, body);
}

/// Takes an entry off the front of bytes from outside.
pub(crate) fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<(StreamId, &'a [u8])> {
    Some((take_id(rest)?, varint::take_slice(rest)?))
}

/// Whether bytes from outside are the fields and values of an entry.
pub(crate) fn check_body(mut body: &[u8]) -> bool {
    let mut slices = 0;
    while !body.is_empty() {
        if varint::take_slice(&mut body).is_none() {
            return false;
        }
        slices += 1;
    }
    slices % 2 == 0
}

/// What a stream is beside its entries and groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// No later entry has an id that is not greater than this.
    pub last_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
    /// The greatest id that was deleted one by one; [`StreamId::MIN`] if none was.
    pub max_deleted_id: StreamId,
}

impl StreamState {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_id(out, self.last_id);
        varint::put(out, self.entries_added);
        put_id(out, self.max_deleted_id);
    }

    pub(crate) fn take(rest: &mut &[u8]) -> Option<StreamState> {
        Some(StreamState {
            last_id: take_id(rest)?,
            entries_added: varint::take(rest)?,
            max_deleted_id: take_id(rest)?,
        })
    }
}

/// Up to where a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamBound {
    /// So many of the last entries stay.
    Length(u64),
    /// Entries with this id and greater ones stay.
    Id(StreamId),
}

/// See the module's page.
#[derive(Clone, Default)]
pub(crate) struct Stream {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Bytes of all entries.
    bytes: usize,
    pub(crate) state: StreamState,
    pub(crate) groups: BTreeMap<Box<[u8]>, Group>,
}

impl Stream {
    /// The stream of a checked payload; `None` if the bytes are none.
    pub(crate) fn decode(mut payload: &[u8]) -> Option<Stream> {
        let rest = &mut payload;
        let mut stream = Stream { state: StreamState::take(rest)?, ..Stream::default() };
        let mut before = None;
        for _ in 0..varint::take(rest)? {
            let (id, body) = take_entry(rest)?;
            if before >= Some(id) || !check_body(body) {
                return None;
            }
            before = Some(id);
            stream.push(id, body);
        }
        for _ in 0..varint::take(rest)? {
            let (name, group) = take_group(rest)?;
            if stream.groups.insert(name.into(), group).is_some() {
                return None;
            }
        }
        (rest.is_empty() && before <= Some(stream.state.last_id)).then_some(stream)
    }

    /// Appends the payload.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.state.put(out);
        varint::put(out, self.len as u64);
        self.chunks.iter().for_each(|chunk| out.extend_from_slice(chunk.bytes()));
        varint::put(out, self.groups.len() as u64);
        self.groups.iter().for_each(|(name, group)| group.put(out, name));
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory it asks for, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        // Chunks are allocated by doubling. Of groups there are few.
        let groups: usize = self.groups.iter().map(|(name, group)| name.len() + group.memory_bytes()).sum();
        self.bytes / 4 * 5 + self.chunks.len() * size_of::<Chunk>() + groups
    }

    fn push(&mut self, id: StreamId, body: &[u8]) {
        let full = self.chunks.back().is_none_or(Chunk::is_full);
        if full {
            self.chunks.push_back(Chunk::default());
        }
        if let Some(chunk) = self.chunks.back_mut() {
            self.bytes += chunk.push(id, body);
            self.len += 1;
        }
    }

    /// Adds an entry behind the last.
    pub(crate) fn append(&mut self, id: StreamId, body: &[u8]) {
        if id > self.state.last_id {
            self.push(id, body);
            self.state.last_id = id;
            self.state.entries_added = self.state.entries_added.saturating_add(1);
        }
    }

    /// The first chunk that has ids not less than this.
    fn chunk_of(&self, id: StreamId) -> usize {
        self.chunks.partition_point(|chunk| chunk.last() < id)
    }

    /// Removes an entry, without a trace in the state; whether it was there.
    pub(crate) fn discard(&mut self, id: StreamId) -> bool {
        let at = self.chunk_of(id);
        let Some(bytes) = self.chunks.get_mut(at).and_then(|chunk| chunk.remove(id)) else { return false };
        if self.chunks[at].len() == 0 {
            self.chunks.remove(at);
        }
        self.bytes -= bytes;
        self.len -= 1;
        true
    }

    /// Puts an entry back, without a trace in the state.
    pub(crate) fn restore(&mut self, id: StreamId, body: &[u8]) {
        let at = self.chunk_of(id).min(self.chunks.len().saturating_sub(1));
        match self.chunks.get_mut(at) {
            None => self.push(id, body),
            Some(chunk) => {
                if let Some(bytes) = chunk.insert(id, body) {
                    self.bytes += bytes;
                    self.len += 1;
                }
            }
        }
    }

    /// Removes the first entries.
    pub(crate) fn drop_front(&mut self, mut count: usize) {
        while count > 0 {
            let Some(chunk) = self.chunks.front_mut() else { return };
            if chunk.len() <= count {
                count -= chunk.len();
                self.len -= chunk.len();
                self.bytes -= chunk.bytes().len();
                self.chunks.pop_front();
            } else {
                self.bytes -= chunk.drop_front(count);
                self.len -= count;
                count = 0;
            }
        }
    }

    /// How many entries at the front are beyond the bound; with `whole_chunks` only those of chunks that are so as a whole, and no more than
    /// `most` of them.
    pub(crate) fn beyond(&self, bound: StreamBound, whole_chunks: bool, most: Option<usize>) -> usize {
        let mut count = 0;
        for chunk in &self.chunks {
            let left = (self.len - count) as u64;
            if matches!(bound, StreamBound::Length(length) if left <= length)
                || most.is_some_and(|most| count + chunk.len() > most)
            {
                break;
            }
            let whole = match bound {
                StreamBound::Length(length) => left - chunk.len() as u64 >= length,
                StreamBound::Id(id) => chunk.last() < id,
            };
            if whole {
                count += chunk.len();
                continue;
            }
            if !whole_chunks {
                count += match bound {
                    StreamBound::Length(length) => (left - length) as usize,
                    StreamBound::Id(id) => chunk.entries().take_while(|entry| entry.0 < id).count(),
                };
            }
            break;
        }
        count
    }

    /// Calls `visit` with the entries of a range, from the last one back if `reverse`.
    pub(crate) fn visit(
        &self,
        range: RangeInclusive<StreamId>,
        reverse: bool,
        visit: &mut dyn FnMut(StreamId, &[u8]) -> ControlFlow<()>,
    ) {
        let (start, end) = range.into_inner();
        let (from, to) = (self.chunk_of(start), self.chunk_of(end).saturating_add(1).min(self.chunks.len()));
        let within = |entry: &(StreamId, &[u8])| entry.0 >= start && entry.0 <= end;
        if from >= to {
            return;
        }
        let mut each = |(id, body)| visit(id, body);
        let chunks = self.chunks.range(from..to);
        let _ = if reverse {
            chunks.rev().try_for_each(|chunk| {
                let entries: Vec<_> = chunk.entries().filter(within).collect();
                entries.into_iter().rev().try_for_each(&mut each)
            })
        } else {
            let mut chunks = chunks;
            chunks.try_for_each(|chunk| chunk.entries().filter(within).try_for_each(&mut each))
        };
    }

    /// The entry with this id.
    pub(crate) fn get(&self, id: StreamId) -> Option<&[u8]> {
        let chunk = self.chunks.get(self.chunk_of(id))?;
        chunk.entries().find(|entry| entry.0 == id).map(|entry| entry.1)
    }

    /// The first entry's id.
    pub(crate) fn first_id(&self) -> Option<StreamId> {
        self.chunks.front().map(Chunk::first)
    }

    /// The last entry's id.
    pub(crate) fn last_entry_id(&self) -> Option<StreamId> {
        self.chunks.back().map(Chunk::last)
    }

    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }
}
