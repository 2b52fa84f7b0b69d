//! A large list: a deque of chunks, each a [run](super::packed_list) of elements.
//!
//! Both ends take and give elements in constant time; one in the middle is found by adding up the chunks before it, from the nearer end, and
//! changed by making its chunk anew. A chunk holds up to [`LIST_CHUNK_BYTES`] or [`LIST_CHUNK_ELEMENTS`]; a longer element has one of its own.
//! No chunk is empty. Positions that are not there change nothing.

use super::packed_list::{self, Elements};
use crate::limits::{LIST_CHUNK_BYTES, LIST_CHUNK_ELEMENTS};
use crate::{prefetch, varint};
use std::collections::VecDeque;
use std::ops::Range;

/// Lines of a chunk that are asked for ahead.
const PREFETCHED_LINES: usize = 4;
/// The buffer that the first element of a new chunk gets, at least: a list in chunks has more than [`PACKED_BYTES_MAX`](crate::limits).
const CHUNK_BYTES_MIN: usize = 1 << 10;

/// See the module's page.
#[derive(Default)]
pub(crate) struct List {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Bytes of all runs.
    bytes: usize,
    /// Bytes that the chunks' buffers have.
    capacity: usize,
}

/// Some elements.
struct Chunk {
    /// The run, behind bytes that are free.
    buffer: Vec<u8>,
    begin: u32,
    len: u32,
}

impl Chunk {
    fn of(run: &[u8], len: usize) -> Chunk {
        // A run of more than one element is far below 4 GiB, and so is an element.
        Chunk { buffer: run.to_vec(), begin: 0, len: len as u32 }
    }

    fn run(&self) -> &[u8] {
        &self.buffer[self.begin as usize..]
    }

    fn elements(&self) -> Elements<'_> {
        Elements(self.run())
    }

    /// Asks for the first lines of the run; the processor sees the rest coming.
    fn prefetch(&self) {
        self.run().chunks(64).take(PREFETCHED_LINES).for_each(|line| prefetch::line(line.as_ptr()));
    }

    fn len(&self) -> usize {
        self.len as usize
    }

    fn bytes(&self) -> usize {
        self.buffer.len() - self.begin as usize
    }

    /// Whether there is room for one more that takes so many bytes.
    fn takes(&self, encoded_bytes: usize) -> bool {
        self.len() < LIST_CHUNK_ELEMENTS && self.bytes() + encoded_bytes <= LIST_CHUNK_BYTES
    }

    fn push_back(&mut self, element: &[u8], encoded_bytes: usize) {
        let begin = self.begin as usize;
        if self.buffer.capacity() - self.buffer.len() < encoded_bytes && begin * 2 >= self.buffer.len() {
            self.buffer.drain(..begin);
            self.begin = 0;
        }
        packed_list::put(&mut self.buffer, element);
        self.len += 1;
    }

    fn push_front(&mut self, element: &[u8], encoded_bytes: usize) {
        if (self.begin as usize) < encoded_bytes {
            // As much room as there is content, so that many pushes move each byte a few times only.
            let room = encoded_bytes.max((self.bytes() + encoded_bytes).min(LIST_CHUNK_BYTES - self.bytes()));
            let mut buffer = Vec::with_capacity(room + self.bytes());
            buffer.resize(room, 0);
            buffer.extend_from_slice(self.run());
            // At most the limit of a chunk.
            self.begin = room as u32;
            self.buffer = buffer;
        }
        let at = self.begin as usize - encoded_bytes;
        let length = varint::Bytes::of(element.len());
        let (front, back) = (at + length.len(), at + length.len() + element.len());
        self.buffer[at..front].copy_from_slice(&length);
        self.buffer[front..back].copy_from_slice(element);
        for (to, from) in self.buffer[back..].iter_mut().zip(length.iter().rev()) {
            *to = *from;
        }
        self.begin = at as u32;
        self.len += 1;
    }

    /// Removes the first elements, not all of them.
    fn drop_front(&mut self, count: usize) {
        let bytes = packed_list::offset(self.run(), self.len(), count);
        // Within the buffer, whose length fits.
        self.begin += bytes as u32;
        self.len -= count as u32;
    }

    /// Removes the last elements, not all of them.
    fn drop_back(&mut self, count: usize) {
        let bytes = packed_list::offset(self.run(), self.len(), self.len() - count);
        self.buffer.truncate(self.begin as usize + bytes);
        self.len -= count as u32;
    }

    /// Gives back what it has no use for when elements go to another.
    fn seal(&mut self) {
        if self.buffer.capacity() - self.bytes() > self.bytes() / 8 {
            *self = Chunk::of(self.run(), self.len());
        }
    }
}

impl List {
    /// The elements of a flat list's payload.
    pub(crate) fn of(payload: &[u8]) -> List {
        let mut list = List::default();
        list.append(packed_list::parts(payload).1);
        list
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory beside the structure itself, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.capacity + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Bytes of the flat form's payload.
    pub(crate) fn payload_bytes(&self) -> usize {
        varint::Bytes::of(self.len).len() + self.bytes
    }

    /// Appends the flat form's payload.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.payload_bytes());
        varint::put(out, self.len as u64);
        self.chunks.iter().for_each(|chunk| out.extend_from_slice(chunk.run()));
    }

    /// A copy, with nothing to spare.
    pub(crate) fn copy(&self) -> List {
        let chunks: VecDeque<Chunk> =
            self.chunks.iter().map(|chunk| Chunk::of(chunk.run(), chunk.len())).collect();
        let capacity = chunks.iter().map(|chunk| chunk.buffer.capacity()).sum();
        List { chunks, len: self.len, bytes: self.bytes, capacity }
    }

    /// Puts a chunk in the place of some others, whatever is in it.
    fn add(&mut self, at: usize, chunk: Chunk) {
        self.len += chunk.len();
        self.bytes += chunk.bytes();
        self.capacity += chunk.buffer.capacity();
        self.chunks.insert(at, chunk);
    }

    fn take(&mut self, at: usize) -> Option<Chunk> {
        let chunk = self.chunks.remove(at)?;
        self.len -= chunk.len();
        self.bytes -= chunk.bytes();
        self.capacity -= chunk.buffer.capacity();
        Some(chunk)
    }

    /// Changes a chunk, and what all of them add up to.
    fn alter(&mut self, at: usize, change: impl FnOnce(&mut Chunk)) {
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let (len, bytes, capacity) = (chunk.len(), chunk.bytes(), chunk.buffer.capacity());
        change(chunk);
        self.len = self.len - len + chunk.len();
        self.bytes = self.bytes - bytes + chunk.bytes();
        self.capacity = self.capacity - capacity + chunk.buffer.capacity();
    }

    pub(crate) fn push_back(&mut self, element: &[u8]) {
        let encoded_bytes = packed_list::encoded_bytes(element.len());
        let last = self.chunks.len().wrapping_sub(1);
        if self.chunks.back().is_some_and(|chunk| chunk.takes(encoded_bytes)) {
            self.alter(last, |chunk| chunk.push_back(element, encoded_bytes));
            return;
        }
        self.alter(last, Chunk::seal);
        self.add(self.chunks.len(), of_one(element, encoded_bytes));
    }

    pub(crate) fn push_front(&mut self, element: &[u8]) {
        let encoded_bytes = packed_list::encoded_bytes(element.len());
        if self.chunks.front().is_some_and(|chunk| chunk.takes(encoded_bytes)) {
            self.alter(0, |chunk| chunk.push_front(element, encoded_bytes));
            return;
        }
        self.alter(0, Chunk::seal);
        self.add(0, of_one(element, encoded_bytes));
    }

    /// Appends another list's chunks as they are.
    pub(crate) fn extend(&mut self, mut other: List) {
        while let Some(chunk) = other.take(0) {
            self.add(self.chunks.len(), chunk);
        }
    }

    /// Appends the elements of a run, in chunks as full as they may be.
    pub(crate) fn append(&mut self, run: &[u8]) {
        let mut rest = run;
        while !rest.is_empty() {
            let (from, mut count) = (rest, 0);
            let mut bytes = 0;
            while count < LIST_CHUNK_ELEMENTS {
                let before = rest;
                if packed_list::take_first(&mut rest).is_none() {
                    break;
                }
                let end = from.len() - rest.len();
                if count > 0 && end > LIST_CHUNK_BYTES {
                    rest = before;
                    break;
                }
                (bytes, count) = (end, count + 1);
            }
            self.add(self.chunks.len(), Chunk::of(&from[..bytes], count));
        }
    }

    /// The chunk that the element with this index is in, and its index there; found from the nearer end.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index < self.len / 2 {
            let mut rest = index;
            for (at, chunk) in self.chunks.iter().enumerate() {
                match rest.checked_sub(chunk.len()) {
                    Some(after) => rest = after,
                    None => return Some((at, rest)),
                }
            }
        } else {
            let mut before = self.len;
            for (at, chunk) in self.chunks.iter().enumerate().rev() {
                before -= chunk.len();
                if index >= before {
                    return Some((at, index - before));
                }
            }
        }
        None
    }

    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let (at, within) = self.locate(index)?;
        let chunk = &self.chunks[at];
        let mut rest = &chunk.run()[packed_list::offset(chunk.run(), chunk.len(), within)..];
        packed_list::take_first(&mut rest)
    }

    /// The elements from an index on.
    pub(crate) fn from(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let (at, within) = self.locate(index).unwrap_or((self.chunks.len(), 0));
        let first = self
            .chunks
            .get(at)
            .map_or(&[][..], |chunk| &chunk.run()[packed_list::offset(chunk.run(), chunk.len(), within)..]);
        let others = (at + 1).min(self.chunks.len());
        Elements(first).chain(self.chunks.range(others..).flat_map(Chunk::elements))
    }

    /// Calls `each` with up to `count` elements from an index on: what [`from`](Self::from) gives, without asking after each element whether
    /// that is enough.
    pub(crate) fn for_each(&self, from: usize, count: usize, each: &mut dyn FnMut(&[u8])) {
        let Some((first, within)) = self.locate(from) else { return };
        let (mut left, mut skipped) = (count, within);
        for (at, chunk) in self.chunks.range(first..).enumerate() {
            if left == 0 {
                return;
            }
            // Each chunk is somewhere else in memory: the next one is on its way while the elements of this one are looked at.
            if let Some(next) = self.chunks.get(first + at + 1) {
                next.prefetch();
            }
            let start = packed_list::offset(chunk.run(), chunk.len(), skipped);
            let here = left.min(chunk.len() - skipped);
            packed_list::Elements(&chunk.run()[start..]).take(here).for_each(&mut *each);
            (left, skipped) = (left - here, 0);
        }
    }

    /// The elements up to an index, exclusive, backwards.
    pub(crate) fn back_from(&self, end: usize) -> impl Iterator<Item = &[u8]> {
        let (at, within) = self.locate(end).unwrap_or((self.chunks.len(), 0));
        let last = self
            .chunks
            .get(at)
            .map_or(&[][..], |chunk| &chunk.run()[..packed_list::offset(chunk.run(), chunk.len(), within)]);
        Elements(last).rev().chain(self.chunks.range(..at).rev().flat_map(|chunk| chunk.elements().rev()))
    }

    /// Removes the first elements, not all of them. Whole chunks are returned, as they may take long to free.
    pub(crate) fn drop_front(&mut self, count: usize) -> List {
        let mut gone = List::default();
        let mut rest = count;
        while let Some(len) = self.chunks.front().map(Chunk::len).filter(|&len| len <= rest) {
            rest -= len;
            if let Some(chunk) = self.take(0) {
                gone.add(gone.chunks.len(), chunk);
            }
        }
        if rest > 0 {
            self.alter(0, |chunk| chunk.drop_front(rest));
        }
        gone
    }

    /// Removes the last elements, not all of them, as [`drop_front`](Self::drop_front).
    pub(crate) fn drop_back(&mut self, count: usize) -> List {
        let mut gone = List::default();
        let mut rest = count;
        while let Some(len) = self.chunks.back().map(Chunk::len).filter(|&len| len <= rest) {
            rest -= len;
            if let Some(chunk) = self.take(self.chunks.len() - 1) {
                gone.add(0, chunk);
            }
        }
        if rest > 0 {
            self.alter(self.chunks.len().saturating_sub(1), |chunk| chunk.drop_back(rest));
        }
        gone
    }

    /// Replaces an element.
    pub(crate) fn set(&mut self, index: usize, element: &[u8]) {
        if let Some((at, within)) = self.locate(index) {
            self.splice(at, within, 1, Some(element));
        }
    }

    /// Inserts an element before the one with this index, or at the end.
    pub(crate) fn insert(&mut self, index: usize, element: &[u8]) {
        if index == self.len {
            self.push_back(element);
        } else if index == 0 {
            self.push_front(element);
        } else if let Some((at, within)) = self.locate(index) {
            self.splice(at, within, 0, Some(element));
        }
    }

    /// Removes an element.
    pub(crate) fn remove(&mut self, index: usize) {
        if let Some((at, within)) = self.locate(index) {
            self.splice(at, within, 1, None);
            self.join(at);
        }
    }

    /// Replaces `removed` elements of a chunk from `within` on, whose chunk is split if it would become too large.
    fn splice(&mut self, at: usize, within: usize, removed: usize, element: Option<&[u8]>) {
        let Some(chunk) = self.take(at) else { return };
        let (run, len) = (chunk.run(), chunk.len());
        let start = packed_list::offset(run, len, within);
        let end = start + packed_list::offset(&run[start..], len - within, removed);
        let (before, behind) = (&run[..start], &run[end..]);
        let mut encoded = Vec::new();
        if let Some(element) = element {
            encoded.reserve_exact(packed_list::encoded_bytes(element.len()));
            packed_list::put(&mut encoded, element);
        }
        let added = usize::from(element.is_some());
        let new_len = len - removed + added;
        if new_len == 0 {
            return;
        }
        let parts = [(before, within), (&encoded[..], added), (behind, len - within - removed)];
        let fits = new_len <= LIST_CHUNK_ELEMENTS
            && before.len() + encoded.len() + behind.len() <= LIST_CHUNK_BYTES.max(run.len());
        if fits {
            let buffer = parts.map(|(run, _)| run).concat();
            self.add(at, Chunk { buffer, begin: 0, len: new_len as u32 });
            return;
        }
        for (run, len) in parts.into_iter().rev().filter(|(_, len)| *len > 0) {
            self.add(at, Chunk::of(run, len));
        }
        // What is left small goes to a neighbour, so that many insertions in one place don't make as many chunks.
        self.join(at + 1);
        self.join(at);
        if at > 0 {
            self.join(at - 1);
        }
    }

    /// Makes one of a chunk and the next, if that leaves room for more.
    fn join(&mut self, at: usize) -> bool {
        let (Some(this), Some(next)) = (self.chunks.get(at), self.chunks.get(at + 1)) else { return false };
        let (len, bytes) = (this.len() + next.len(), this.bytes() + next.bytes());
        if len > LIST_CHUNK_ELEMENTS * 3 / 4 || bytes > LIST_CHUNK_BYTES * 3 / 4 {
            return false;
        }
        let joined = Chunk { buffer: [this.run(), next.run()].concat(), begin: 0, len: len as u32 };
        let _ = (self.take(at), self.take(at));
        self.add(at, joined);
        true
    }

    /// Removes up to `count` elements that are equal to this one, the first or the last ones.
    pub(crate) fn remove_equal(&mut self, element: &[u8], count: usize, last: bool) {
        let mut left = count;
        let mut at = if last { self.chunks.len() } else { 0 };
        let mut joins = false;
        while left > 0 {
            let here = if last { at.wrapping_sub(1) } else { at };
            let Some(chunk) = self.chunks.get(here) else { break };
            let kept = without(chunk, element, &mut left, last);
            match kept {
                None => at = if last { here } else { here + 1 },
                Some((run, len)) => {
                    joins = true;
                    drop(self.take(here));
                    if len > 0 {
                        self.add(here, Chunk { buffer: run, begin: 0, len: len as u32 });
                    }
                    // Backwards, the next one is before this place, whether or not anything is left here.
                    at = if last || len == 0 { here } else { here + 1 };
                }
            }
        }
        if joins {
            // In one pass, as each removal may have left little behind anywhere.
            let mut at = 0;
            while at + 1 < self.chunks.len() {
                if !self.join(at) {
                    at += 1;
                }
            }
        }
    }
}

fn of_one(element: &[u8], encoded_bytes: usize) -> Chunk {
    let mut buffer = Vec::with_capacity(encoded_bytes.max(CHUNK_BYTES_MIN));
    packed_list::put(&mut buffer, element);
    Chunk { buffer, begin: 0, len: 1 }
}

/// A chunk's run and number of elements without up to `left` that are equal to `element`; `None` if it has none.
fn without(chunk: &Chunk, element: &[u8], left: &mut usize, last: bool) -> Option<(Vec<u8>, usize)> {
    let mut gone: Vec<Range<usize>> = Vec::new();
    let (mut rest, all) = (chunk.run(), chunk.run().len());
    while *left > gone.len() && !rest.is_empty() {
        let before = rest.len();
        let found = if last { packed_list::take_last(&mut rest) } else { packed_list::take_first(&mut rest) };
        if found == Some(element) {
            gone.push(if last { rest.len()..before } else { all - before..all - rest.len() });
        }
    }
    if gone.is_empty() {
        return None;
    }
    *left -= gone.len();
    if last {
        gone.reverse();
    }
    let mut run = Vec::with_capacity(all - gone.iter().map(Range::len).sum::<usize>());
    let mut from = 0;
    for range in &gone {
        run.extend_from_slice(&chunk.run()[from..range.start]);
        from = range.end;
    }
    run.extend_from_slice(&chunk.run()[from..]);
    Some((run, chunk.len() - gone.len()))
}

#[cfg(test)]
mod tests;
