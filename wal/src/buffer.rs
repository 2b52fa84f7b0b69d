//! The open batch: where appended records wait to be written.
//!
//! It decides the position of every record at the moment it is appended, and with it where batches and files end. It
//! never does I/O, never fails, and knows nothing of checksums: the writer completes the batch headers when it takes
//! the buffer away.
//!
//! ```text
//! part (one file)   | copy of page start | header | records … | pad | header | records … | pad
//!                   ^ page-aligned       ^ where the log went on
//! ```
//!
//! A part begins on a page boundary; its first bytes (what the file already holds of that page) are filled in by the
//! writer. Invariant: behind any position there is room in the file for a seal.

use crate::{
    format::{align_batch, framed_bytes, push_record},
    limits::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES, FILE_HEADER_BYTES, PAGE_BYTES},
    options::WalOptions,
};

/// A closed batch in a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// Offset of its header in the part's buffer.
    pub(crate) at: usize,
    pub(crate) payload_bytes: u32,
    pub(crate) records: u32,
    pub(crate) seal: bool,
}

/// Consecutive batches of one file.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Where the file begins in the log.
    pub(crate) base: u64,
    /// The file's size.
    pub(crate) size: u64,
    /// The position of `buf[0]`, page-aligned.
    pub(crate) start: u64,
    /// How much of `buf` precedes the first batch.
    pub(crate) prefix: usize,
    pub(crate) buf: Vec<u8>,
    pub(crate) batches: Vec<Batch>,
    /// Whether the headers are complete and the last page is padded; set by the writer.
    pub(crate) encoded: bool,
    /// End of the last batch; set when the part is closed.
    pub(crate) end: u64,
    /// Whether it has anything but idle marks, which nobody waits for.
    pub(crate) counts: bool,
}

impl Part {
    fn position(&self) -> u64 {
        self.start + self.buf.len() as u64
    }
}

/// What appenders share, under one lock.
#[derive(Debug)]
pub(crate) struct Buffer {
    part: Part,
    /// Parts in earlier files, complete.
    closed: Vec<Part>,
    /// The batch being filled: offset of its header and number of records.
    batch: Option<(usize, u32)>,
    /// Where the file of `part` ends.
    pub(crate) file_end: u64,
    /// Size of the file that begins at `file_end`.
    pub(crate) next_size: u64,
    /// Whether that file is on disk, written through.
    pub(crate) next_ready: bool,
    /// Records appended, ever.
    pub(crate) records: u64,
    /// Their bytes, without framing.
    pub(crate) record_bytes: u64,
}

/// The smallest file that holds a record of that length.
pub(crate) fn file_bytes_for(record_bytes: usize) -> u64 {
    let batch = align_batch((BATCH_HEADER_BYTES + framed_bytes(record_bytes)) as u64);
    let bytes = FILE_HEADER_BYTES as u64 + batch + BATCH_HEADER_BYTES as u64;
    bytes.next_multiple_of(PAGE_BYTES as u64)
}

impl Buffer {
    /// Goes on at `position` in the file of `size` bytes at `base`.
    pub(crate) fn new(base: u64, size: u64, position: u64, options: &WalOptions) -> Buffer {
        let mut part = Part::default();
        begin(&mut part, base, size, position);
        let next_size = options.size_after(size);
        Buffer {
            part,
            closed: Vec::new(),
            batch: None,
            file_end: base + size,
            next_size,
            next_ready: false,
            records: 0,
            record_bytes: 0,
        }
    }

    /// The position of the next byte.
    pub(crate) fn position(&self) -> u64 {
        self.part.position()
    }

    /// Adds a record and returns its end.
    #[inline]
    pub(crate) fn append(&mut self, record: &[u8], options: &WalOptions) -> u64 {
        let framed = framed_bytes(record.len());
        if let Some((at, _)) = self.batch
            && self.part.buf.len() - at - BATCH_HEADER_BYTES + framed > BATCH_BYTES_MAX
        {
            self.close_batch();
        }
        if !self.fits_current(record.len(), 0) {
            self.roll(file_bytes_for(record.len()), options);
        }
        let (_, records) = match &mut self.batch {
            Some(batch) => batch,
            None => {
                let at = self.part.buf.len();
                self.part.buf.resize(at + BATCH_HEADER_BYTES, 0);
                self.part.counts = true;
                self.batch.insert((at, 0))
            }
        };
        *records += 1;
        self.records += 1;
        self.record_bytes += record.len() as u64;
        push_record(&mut self.part.buf, record);
        self.position()
    }

    /// Adds an empty batch and returns its end. An idle one does not count as something to sync.
    pub(crate) fn push_mark(&mut self, idle: bool, options: &WalOptions) -> u64 {
        self.close_batch();
        if self.position() + 2 * BATCH_HEADER_BYTES as u64 > self.file_end {
            self.roll(0, options);
        }
        self.part.counts |= !idle;
        self.push_empty(false);
        self.position()
    }

    /// Whether a record of that length fits into the current file with `spare_bytes` left.
    #[inline]
    pub(crate) fn fits_current(&self, record_bytes: usize, spare_bytes: u64) -> bool {
        let header = if self.batch.is_none() { BATCH_HEADER_BYTES } else { 0 };
        let end = align_batch(self.position() + (header + framed_bytes(record_bytes)) as u64);
        end + BATCH_HEADER_BYTES as u64 + spare_bytes <= self.file_end
    }

    /// Whether a record of that length fits into the next file, and that is on disk.
    pub(crate) fn fits_next(&self, record_bytes: usize) -> bool {
        self.next_ready && file_bytes_for(record_bytes) <= self.next_size
    }

    /// Takes all parts that have something to write, in order.
    pub(crate) fn take(&mut self, mut empty: Part, into: &mut std::collections::VecDeque<Part>) {
        self.close_batch();
        into.extend(self.closed.drain(..));
        if self.part.batches.is_empty() {
            return;
        }
        let position = self.position();
        begin(&mut empty, self.part.base, self.part.size, position);
        let mut full = std::mem::replace(&mut self.part, empty);
        full.end = position;
        into.push_back(full);
    }

    fn close_batch(&mut self) {
        let Some((at, records)) = self.batch.take() else { return };
        let payload_bytes = (self.part.buf.len() - at - BATCH_HEADER_BYTES) as u32;
        self.part.batches.push(Batch { at, payload_bytes, records, seal: false });
        let padded = align_batch(self.part.buf.len() as u64) as usize;
        self.part.buf.resize(padded, 0);
    }

    fn push_empty(&mut self, seal: bool) {
        let at = self.part.buf.len();
        self.part.buf.resize(at + BATCH_HEADER_BYTES, 0);
        self.part.batches.push(Batch { at, payload_bytes: 0, records: 0, seal });
    }

    /// Seals the file and goes on in the next, of at least `bytes`.
    fn roll(&mut self, bytes: u64, options: &WalOptions) {
        self.close_batch();
        self.push_empty(true);
        let size = self.next_size.max(bytes);
        let mut next = Part::default();
        begin(&mut next, self.file_end, size, self.file_end + FILE_HEADER_BYTES as u64);
        let mut full = std::mem::replace(&mut self.part, next);
        full.end = full.position();
        full.counts = true;
        self.closed.push(full);
        self.file_end += size;
        self.next_size = options.size_after(size);
        self.next_ready = false;
    }
}

/// Makes `part` an empty one that goes on at `position`.
fn begin(part: &mut Part, base: u64, size: u64, position: u64) {
    let prefix = (position % PAGE_BYTES as u64) as usize;
    part.base = base;
    part.size = size;
    part.start = position - prefix as u64;
    part.prefix = prefix;
    part.buf.clear();
    part.buf.resize(prefix, 0);
    part.batches.clear();
    part.encoded = false;
    part.end = position;
    part.counts = false;
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn buffer(options: &WalOptions) -> Buffer {
        Buffer::new(0, options.first_size(), FILE_HEADER_BYTES as u64, options)
    }

    #[test]
    fn positions_count_every_byte() {
        let options = WalOptions::default();
        let mut buffer = buffer(&options);
        // Header of the batch, one byte of length, the record.
        assert_eq!(buffer.append(b"abc", &options), 4096 + 40 + 4);
        assert_eq!(buffer.append(b"", &options), 4096 + 40 + 5);
        let mut parts = VecDeque::new();
        buffer.take(Part::default(), &mut parts);
        assert_eq!((parts.len(), parts[0].start, parts[0].end), (1, 4096, 4096 + 48));
        // The next batch goes on behind the padding.
        assert_eq!(buffer.append(b"d", &options), 4096 + 48 + 40 + 2);
        buffer.take(Part::default(), &mut parts);
        assert_eq!((parts[1].start, parts[1].prefix), (4096, 48));
        buffer.take(Part::default(), &mut parts);
        assert_eq!(parts.len(), 2, "nothing new, nothing taken");
    }

    #[test]
    fn there_is_always_room_for_a_seal() {
        let options = WalOptions::default().segment_bytes_max(8192);
        for length in 0..300 {
            let mut buffer = buffer(&options);
            for number in 0..200 {
                if number % 3 == 0 {
                    buffer.push_mark(false, &options);
                }
                buffer.append(&vec![1; length + number % 7], &options);
                assert!(align_batch(buffer.position()) + BATCH_HEADER_BYTES as u64 <= buffer.file_end);
            }
            let mut parts = VecDeque::new();
            buffer.take(Part::default(), &mut parts);
            for (index, part) in parts.iter().enumerate() {
                let sealed = part.batches.last().is_some_and(|batch| batch.seal);
                assert_eq!(sealed, index + 1 < parts.len());
                assert!(part.end <= part.base + part.size);
                if sealed {
                    assert_eq!(parts[index + 1].base, part.base + part.size);
                }
            }
        }
    }

    #[test]
    fn batches_stay_small_unless_a_record_is_large() {
        let options = WalOptions::default().segment_bytes_max(SEGMENT);
        const SEGMENT: u64 = 16 << 20;
        let mut buffer = Buffer::new(0, SEGMENT, FILE_HEADER_BYTES as u64, &options);
        for _ in 0..40 {
            buffer.append(&vec![1; 100_000], &options);
        }
        buffer.append(&vec![1; 3 << 20], &options);
        let mut parts = VecDeque::new();
        buffer.take(Part::default(), &mut parts);
        let sizes: Vec<_> =
            parts[0].batches.iter().map(|batch| (batch.payload_bytes as usize, batch.records)).collect();
        assert!(sizes[..4].iter().all(|(bytes, records)| *bytes <= BATCH_BYTES_MAX && *records == 10));
        assert_eq!(sizes[4].1, 1);
    }

    #[test]
    fn a_large_record_gets_a_file_it_fits_into() {
        let options = WalOptions::default().segment_bytes_max(8192);
        for length in [3000, 4040, 4048, 4056, 8000, 100_000] {
            let size = file_bytes_for(length);
            let buffer = Buffer::new(0, size, FILE_HEADER_BYTES as u64, &options);
            assert!(buffer.fits_current(length, 0), "{length} in {size}");
        }
    }
}
