//! The segments that a checkpoint or a compaction is writing: one for each group of records that die at about the same time.
//!
//! Data that dies together is stored together: a segment whose records are all dead is unlinked unread. Groups are a quarter of the remaining
//! life wide, rounded to a power of two, so that few are open at once: sessions of half an hour are grouped by about eight minutes, those of a
//! month by about a week.

use crate::Error;
use crate::compression::Compressor;
use crate::db::Inner;
use crate::dictionary::Dictionary;
use crate::expiry::NEVER;
use crate::limits::SEGMENT_IDS_END;
use crate::location::Location;
use crate::segment::{Record, SegmentFile, SegmentWriter, Stored};
use crate::segments::Segment;
use sessile_wal::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which records belong together: log2 of the group's width in ms, and the group's number at that width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group(u32, u64);

/// Groups are at least this wide: 2^16 ms, about a minute.
const WIDTH_BITS_MIN: u32 = 16;

impl Group {
    /// The group of what dies by `dies_ms` at the latest.
    pub(crate) fn of(dies_ms: u64, now_ms: u64) -> Group {
        if dies_ms == NEVER {
            return Group(u64::BITS, 0);
        }
        let remaining = dies_ms.saturating_sub(now_ms);
        let width = (remaining / 4).max(1).ilog2().max(WIDTH_BITS_MIN);
        Group(width, dies_ms >> width)
    }
}

/// A segment that is being written.
struct Open<T> {
    writer: SegmentWriter,
    slot: u32,
    dies_ms: u64,
    /// What was pushed, and where to.
    pushed: Vec<(T, Location)>,
    used_at: u64,
}

/// A segment that is written and synced, with what is in it.
pub(crate) struct Done<T> {
    pub(crate) pushed: Vec<(T, Location)>,
}

/// See the module's page. `T` is what the caller wants to know of each record when its segment is done.
pub(crate) struct SegmentSet<T> {
    open: BTreeMap<Group, Open<T>>,
    dictionary: Option<Arc<Dictionary>>,
    compressor: Compressor,
    now_ms: u64,
    clock: u64,
    /// Segments that are to be finished for others to be begun.
    full: Vec<Open<T>>,
}

/// Either an object as it is, or a record that another segment holds, to be copied.
pub(crate) enum Content<'a> {
    Flat(Record<'a>),
    Stored(Stored<'a>, &'a SegmentFile),
}

impl<T> SegmentSet<T> {
    pub(crate) fn new(dictionary: Option<Arc<Dictionary>>, now_ms: u64) -> SegmentSet<T> {
        SegmentSet {
            open: BTreeMap::new(),
            dictionary,
            compressor: Compressor::new(),
            now_ms,
            clock: 0,
            full: Vec::new(),
        }
    }

    /// Whether records of that segment can be copied as they are.
    pub(crate) fn takes_frames_of(&self, from: &SegmentFile) -> bool {
        self.dictionary.as_deref().map(Dictionary::serial) == from.dictionary().map(Dictionary::serial)
    }

    /// Adds a record to the segment of its group; the segment's id and the record's place. It writes nothing but, sometimes, a new
    /// segment's empty file.
    ///
    /// # Errors
    /// [`Error::Io`] if a file can't be made, with the tag.
    pub(crate) fn push(
        &mut self,
        inner: &Inner,
        dies_ms: u64,
        content: &Content<'_>,
        tag: T,
    ) -> Result<(u32, Location), (Error, T)> {
        self.clock += 1;
        let tuning = &inner.storage.tuning;
        let bytes = match content {
            Content::Flat(record) => record.object.len(),
            Content::Stored(stored, _) => stored.bytes.len(),
        };
        let group = Group::of(dies_ms, self.now_ms);
        if let Some(open) = self.open.get(&group)
            && (open.writer.bytes() + bytes as u64 > tuning.segment_target_bytes
                || !open.writer.has_room(bytes))
            && open.writer.records() > 0
        {
            self.full.extend(self.open.remove(&group));
        }
        if !self.open.contains_key(&group) {
            if self.open.len() >= tuning.segments_open_max {
                let oldest = self.open.iter().min_by_key(|(_, open)| open.used_at).map(|(&group, _)| group);
                self.full.extend(oldest.and_then(|group| self.open.remove(&group)));
            }
            match self.create(inner) {
                Ok(open) => drop(self.open.insert(group, open)),
                Err(error) => return Err((error, tag)),
            }
        }
        let Some(open) = self.open.get_mut(&group) else { unreachable!("it was put there") };
        open.used_at = self.clock;
        let offset = match content {
            Content::Flat(record) => open.writer.push(record, Some(&mut self.compressor)),
            Content::Stored(stored, from) => open.writer.push_stored(stored, from),
        };
        let location = Location::new(open.slot, offset);
        open.dies_ms = open.dies_ms.max(dies_ms);
        open.pushed.push((tag, location));
        Ok((open.writer.id(), location))
    }

    fn create(&self, inner: &Inner) -> Result<Open<T>, Error> {
        let storage = &inner.storage;
        let slot =
            inner.segments.reserve().ok_or_else(|| Error::TooManySegments { path: storage.dir.clone() })?;
        let id = storage.next_segment_id();
        if id >= SEGMENT_IDS_END {
            inner.segments.give_back(slot);
            return Err(Error::TooManySegments { path: storage.dir.clone() });
        }
        let writer = SegmentWriter::create(
            &*storage.fs,
            &storage.dir,
            &storage.database_id,
            id,
            self.dictionary.clone(),
            self.now_ms,
        );
        match writer {
            Ok(writer) => Ok(Open { writer, slot, dies_ms: 0, pushed: Vec::new(), used_at: self.clock }),
            Err(error) => {
                inner.segments.give_back(slot);
                Err(error)
            }
        }
    }

    /// Writes what has gathered in buffers, if it is much. Bytes written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn write(&mut self, inner: &Inner) -> Result<u64, Error> {
        let io_bytes = inner.storage.tuning.segment_io_bytes as u64;
        let mut written = 0;
        for open in self.open.values_mut().filter(|open| open.writer.unwritten_bytes() >= io_bytes) {
            let before = open.writer.unwritten_bytes();
            open.writer.write()?;
            written += before;
        }
        inner.storage.figures.bytes_written.fetch_add(written, Ordering::Relaxed);
        Ok(written)
    }

    /// Whether a segment is full and waits to be [finished](Self::finish_one).
    pub(crate) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Makes one more segment durable, a full one or, if `all`, any; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Io`], with what was pushed to the segment, which is given up.
    #[expect(
        clippy::type_complexity,
        reason = "the records of a segment that failed go back to who pushed them"
    )]
    pub(crate) fn finish_one(
        &mut self,
        inner: &Inner,
        all: bool,
    ) -> Result<Option<Done<T>>, (Error, Vec<(T, Location)>)> {
        let open =
            self.full.pop().or_else(|| if all { self.open.pop_first().map(|(_, open)| open) } else { None });
        let Some(Open { writer, slot, dies_ms, pushed, .. }) = open else { return Ok(None) };
        let figures = &inner.storage.figures;
        figures.bytes_written.fetch_add(writer.unwritten_bytes(), Ordering::Relaxed);
        figures.compressed_from_bytes.fetch_add(writer.flat_bytes(), Ordering::Relaxed);
        figures.compressed_to_bytes.fetch_add(writer.object_bytes(), Ordering::Relaxed);
        let path = writer.path().to_path_buf();
        match writer.finish() {
            Ok(finished) => {
                let bytes = finished.segment.bytes();
                inner.segments.open(Segment {
                    file: Arc::new(finished.segment),
                    slot,
                    records: finished.records,
                    bytes,
                    dies_ms,
                    damaged: AtomicBool::new(false),
                });
                Ok(Some(Done { pushed }))
            }
            Err(error) => {
                inner.segments.give_back(slot);
                // What is left of it is an orphan, removed at the next open at the latest.
                let _ = inner.storage.fs.remove(&path);
                Err((error, pushed))
            }
        }
    }

    /// Gives everything up that is not done: what was pushed.
    pub(crate) fn abandon(&mut self, inner: &Inner) -> Vec<(T, Location)> {
        let open = std::mem::take(&mut self.open).into_values().chain(std::mem::take(&mut self.full));
        let mut pushed = Vec::new();
        for open in open {
            inner.segments.give_back(open.slot);
            let _ = inner.storage.fs.remove(open.writer.path());
            pushed.extend(open.pushed);
        }
        pushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dies_together_is_together() {
        let now = 1_800_000_000_000;
        let half_an_hour = 1_800_000;
        let group = |after| Group::of(now + after, now);
        let groups: std::collections::BTreeSet<_> = (0..half_an_hour).step_by(1000).map(group).collect();
        assert!(groups.len() < 30, "{}", groups.len());
        // Everything in a group dies within the group's width, a quarter of its life.
        for group in groups {
            let width = 1u64 << group.0;
            assert!(width <= 1 << WIDTH_BITS_MIN || width <= half_an_hour / 4);
        }
        assert_eq!(Group::of(NEVER, now), Group::of(NEVER, now + 1));
        assert_ne!(Group::of(NEVER - 1, now), Group::of(NEVER, now));
    }
}
