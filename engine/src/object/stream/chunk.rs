//! Some entries of a stream that follow one another.

use super::{StreamId, put_entry, take_entry};
use crate::limits::{STREAM_CHUNK_BYTES, STREAM_CHUNK_ENTRIES};

/// Entries as [`put_entry`] lays them out.
#[derive(Clone, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    first: StreamId,
    last: StreamId,
    len: u32,
    /// How many were put into it, whether they are still there or not: as in Redis, where `~` trims as many then.
    taken: u32,
}

impl Chunk {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn first(&self) -> StreamId {
        self.first
    }

    pub(super) fn last(&self) -> StreamId {
        self.last
    }

    /// Whether the next entry goes to another.
    pub(super) fn is_full(&self) -> bool {
        self.taken as usize >= STREAM_CHUNK_ENTRIES || self.bytes.len() >= STREAM_CHUNK_BYTES
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || take_entry(&mut rest))
    }

    /// Adds one behind the last; the bytes it takes.
    pub(super) fn push(&mut self, id: StreamId, body: &[u8]) -> usize {
        let before = self.bytes.len();
        put_entry(&mut self.bytes, id, body);
        if self.len == 0 {
            self.first = id;
        }
        self.last = id;
        self.len += 1;
        self.taken += 1;
        self.bytes.len() - before
    }

    /// Where the first entry begins that is not before this id, and where it ends.
    fn find(&self, id: StreamId) -> Option<(StreamId, usize, usize)> {
        let mut rest = &self.bytes[..];
        loop {
            let begin = self.bytes.len() - rest.len();
            let (found, _) = take_entry(&mut rest)?;
            if found >= id {
                return Some((found, begin, self.bytes.len() - rest.len()));
            }
        }
    }

    /// Where the ids begin and end, after something has gone or come.
    fn measure(&mut self) {
        let mut ids = self.entries().map(|entry| entry.0);
        let first = ids.next();
        let last = ids.last().or(first);
        if let (Some(first), Some(last)) = (first, last) {
            (self.first, self.last) = (first, last);
        }
    }

    /// Removes one; the bytes it took.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<usize> {
        let (_, begin, end) = self.find(id).filter(|found| found.0 == id)?;
        self.bytes.drain(begin..end);
        self.len -= 1;
        self.measure();
        Some(end - begin)
    }

    /// Adds one where it belongs, unless it is there; the bytes it takes.
    pub(super) fn insert(&mut self, id: StreamId, body: &[u8]) -> Option<usize> {
        let at = match self.find(id) {
            Some((found, ..)) if found == id => return None,
            Some((_, begin, _)) => begin,
            None => self.bytes.len(),
        };
        let mut entry = Vec::with_capacity(body.len() + 32);
        put_entry(&mut entry, id, body);
        let bytes = entry.len();
        self.bytes.splice(at..at, entry);
        self.len += 1;
        self.measure();
        Some(bytes)
    }

    /// Removes the first ones, not all; the bytes they took.
    pub(super) fn drop_front(&mut self, count: usize) -> usize {
        let mut rest = &self.bytes[..];
        for _ in 0..count {
            let _ = take_entry(&mut rest);
        }
        let bytes = self.bytes.len() - rest.len();
        let first = take_entry(&mut rest).map(|entry| entry.0);
        self.bytes.drain(..bytes);
        // Less than there are.
        self.len -= count as u32;
        self.first = first.unwrap_or(self.first);
        bytes
    }
}
