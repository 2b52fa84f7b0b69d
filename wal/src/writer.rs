//! The writer: takes the buffer away, completes the batches, and writes them, for everyone at once.
//!
//! One thread at a time holds this role. Each write covers whole pages from a page boundary, so that no page has to be
//! read first: the file's last, partly filled page is kept in memory. A failed write poisons the log, except when the
//! disk is full: then the parts stay here, complete, and are written again as they are.

use std::{collections::VecDeque, io, sync::Arc};

use crate::{
    Clock,
    buffer::{Buffer, Part},
    format::{BatchHeader, checksum_of},
    fs::File,
    limits::{BUFFER_KEPT_BYTES, PAGE_BYTES},
};

/// The file being written.
pub(crate) struct Current {
    pub(crate) base: u64,
    pub(crate) file: Arc<dyn File>,
}

/// What belongs to whoever is the writer.
pub(crate) struct Writer {
    pub(crate) current: Current,
    /// What the file holds of the page that `written` lies in, up to there.
    pub(crate) tail: Vec<u8>,
    /// Taken from the buffer, not yet written.
    pub(crate) pending: VecDeque<Part>,
    /// Files written to since they were last synced.
    pub(crate) dirty: Vec<(u64, Arc<dyn File>)>,
    pub(crate) epoch: u32,
    /// Time of the last batch; it never goes back.
    pub(crate) time_ms: u64,
    pub(crate) seed: crc32fast::Hasher,
    /// The checksum of the last batch of the first pending part, once that is encoded …
    encoded_checksum: u32,
    /// … and of the batch that ends where the log was written to; 0 before the first.
    written_checksum: u32,
    /// A used part whose memory serves again.
    pool: Part,
}

impl Writer {
    pub(crate) fn new(
        current: Current,
        tail: Vec<u8>,
        epoch: u32,
        time_ms: u64,
        seed: crc32fast::Hasher,
    ) -> Writer {
        Writer {
            current,
            tail,
            pending: VecDeque::new(),
            dirty: Vec::new(),
            epoch,
            time_ms,
            seed,
            encoded_checksum: 0,
            written_checksum: 0,
            pool: Part::default(),
        }
    }

    /// Moves everything appended so far into `pending`. The caller holds the buffer's lock.
    pub(crate) fn take_from(&mut self, buffer: &mut Buffer) {
        buffer.take(std::mem::take(&mut self.pool), &mut self.pending);
    }

    /// Completes the first pending part: page start, headers, checksums, padding.
    pub(crate) fn encode_first(&mut self, clock: &dyn Clock, synced_lsn: u64) {
        let Some(part) = self.pending.front_mut() else { return };
        if part.encoded {
            return;
        }
        self.time_ms = self.time_ms.max(clock.wall_ms());
        // A part that begins inside a page continues the one written before it.
        debug_assert!(part.prefix == 0 || part.prefix == self.tail.len());
        let prefix = part.prefix;
        part.buf[..prefix].copy_from_slice(&self.tail[..prefix]);
        for batch in &part.batches {
            let header = BatchHeader {
                payload_bytes: batch.payload_bytes,
                lsn: part.start + batch.at as u64,
                synced_lsn,
                time_ms: self.time_ms,
                epoch: self.epoch,
                records: batch.records,
                seal: batch.seal,
            };
            header.encode(&self.seed, &mut part.buf[batch.at..]);
            self.encoded_checksum = checksum_of(&part.buf[batch.at..]);
        }
        part.buf.resize(part.buf.len().next_multiple_of(PAGE_BYTES), 0);
        part.encoded = true;
    }

    /// Writes the first pending part, which is encoded and belongs to the current file.
    pub(crate) fn write_first(&mut self, durably: bool) -> io::Result<()> {
        let Some(part) = self.pending.front() else { return Ok(()) };
        let offset = part.start - self.current.base;
        if durably {
            return self.current.file.write_at_durable(&part.buf, offset);
        }
        let dirty = &mut self.dirty;
        // Dirty from the first byte, even if the write then fails.
        if dirty.last().is_none_or(|(base, _)| *base != self.current.base) {
            dirty.push((self.current.base, self.current.file.clone()));
        }
        self.current.file.write_at(&part.buf, offset)
    }

    /// The checksum of the batch that ends where the log was written to.
    pub(crate) fn written_checksum(&self) -> u32 {
        self.written_checksum
    }

    /// The first pending part is written: remembers its last page and drops it. Returns its end and whether it counts.
    pub(crate) fn first_written(&mut self) -> Option<(u64, bool)> {
        let mut part = self.pending.pop_front()?;
        self.written_checksum = self.encoded_checksum;
        let used = (part.end - part.start) as usize;
        let page = used - used % PAGE_BYTES;
        self.tail.clear();
        self.tail.extend_from_slice(&part.buf[page..used]);
        let done = (part.end, part.counts);
        if part.buf.capacity() <= BUFFER_KEPT_BYTES {
            part.buf.clear();
            self.pool = part;
        }
        Some(done)
    }
}
