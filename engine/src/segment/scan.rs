//! Reading all records of a segment in order: for compaction, for `sessile check`, and for saving what a damaged segment still has.
//!
//! A record's length may itself be what is damaged, and a wrong one could lead past good records. So behind damage every possible place is
//! tried: a checksum that covers its own offset says where the next record is.

use super::SegmentFile;
use super::format::{ALIGNMENT, RECORD_HEAD_BYTES_MAX, RECORDS_AT, Stored, body};
use crate::Error;
use crate::limits::SEGMENT_IO_BYTES;
use std::ops::Range;
use std::sync::Arc;

/// What a disk fails to read at a time.
const PAGE_BYTES: u64 = 4096;

/// A walk through a segment. It may rest between any two records for as long as one likes.
pub(crate) struct Scan {
    segment: Arc<SegmentFile>,
    /// Where the next record should be.
    at: u64,
    /// Between the last record and `at`: must be zero.
    padding: Range<u64>,
    window: Vec<u8>,
    /// Where in the file the window begins.
    window_at: u64,
    /// What the disk won't read is taken for zeros.
    over_unreadable: bool,
}

/// What a scan has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A record whose checksum matches.
    Record {
        /// Where it begins.
        offset: u64,
        /// Bytes of the segment that it takes, with its padding.
        bytes: u64,
        /// The record.
        stored: Stored<'a>,
    },
    /// Bytes that are none.
    Damaged {
        /// Where they begin.
        offset: u64,
        /// How many they are: up to the next record, or the end.
        bytes: u64,
        /// What is wrong with them.
        reason: &'static str,
    },
}

impl SegmentFile {
    /// A walk through all its records.
    pub(crate) fn scan(self: &Arc<Self>) -> Scan {
        let segment = self.clone();
        Scan {
            segment,
            at: RECORDS_AT,
            padding: RECORDS_AT..RECORDS_AT,
            window: Vec::new(),
            window_at: 0,
            over_unreadable: false,
        }
    }
}

impl Scan {
    /// The same, but what the disk refuses to read is damage, and no error: to save what can be saved.
    pub(crate) fn over_unreadable(self) -> Scan {
        Scan { over_unreadable: true, ..self }
    }

    /// How far it has come, in bytes from the segment's beginning.
    pub(crate) fn offset(&self) -> u64 {
        self.at
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// Those of reading. Damage is not an error, but found.
    pub(crate) fn next(&mut self) -> Result<Option<Found<'_>>, Error> {
        let padding = std::mem::replace(&mut self.padding, self.at..self.at);
        let padding_bytes = (padding.end - padding.start) as usize;
        if self.load(padding.start, padding_bytes)?.iter().any(|&byte| byte != 0) {
            let reason = "the padding behind a record is not zero";
            return Ok(Some(Found::Damaged { offset: padding.start, bytes: padding_bytes as u64, reason }));
        }
        let offset = self.at;
        if offset >= self.segment.bytes() {
            return Ok(None);
        }
        match self.probe(offset)? {
            Ok(record) => {
                let end = offset + record.end as u64;
                self.at = end.next_multiple_of(ALIGNMENT).min(self.segment.bytes());
                self.padding = end..self.at;
                let bytes = self.at - offset;
                let body = &self.load(offset, record.end)?[record];
                match Stored::decode(body) {
                    Ok(stored) => Ok(Some(Found::Record { offset, bytes, stored })),
                    // Its checksum matches all the same: another version has written it.
                    Err(reason) => Ok(Some(Found::Damaged { offset, bytes, reason })),
                }
            }
            Err(reason) => {
                self.at = self.next_record(offset)?;
                self.padding = self.at..self.at;
                Ok(Some(Found::Damaged { offset, bytes: self.at - offset, reason }))
            }
        }
    }

    /// Where the body of the record at `offset` is, from there, if a record is there.
    fn probe(&mut self, offset: u64) -> Result<Result<Range<usize>, &'static str>, Error> {
        let available = self.segment.bytes() - offset;
        let body = match body(self.load(offset, RECORD_HEAD_BYTES_MAX)?, available) {
            Ok(body) => body,
            Err(reason) => return Ok(Err(reason)),
        };
        let checksum = self.segment.checksum().clone();
        let record = self.load(offset, body.end)?;
        if record.len() < body.end {
            return Ok(Err("the file ends within the record"));
        }
        Ok(if checksum.matches(offset, record) {
            Ok(body)
        } else {
            Err("the checksum of the record does not match")
        })
    }

    /// The first place behind `damaged` where a record is, or the end.
    fn next_record(&mut self, damaged: u64) -> Result<u64, Error> {
        let end = self.segment.bytes();
        let mut offset = damaged + ALIGNMENT;
        while offset < end {
            // Lengths that the damage invents may be long: a look at what they are said to hold spares most checksums.
            let head = self.load(offset, RECORD_HEAD_BYTES_MAX)?;
            let plausible = body(head, end - offset)
                .is_ok_and(|body| Stored::is_plausible(&head[body.start..body.end.min(head.len())]));
            if plausible && self.probe(offset)?.is_ok() {
                return Ok(offset);
            }
            offset += ALIGNMENT;
        }
        Ok(end)
    }

    /// `bytes` bytes of the segment from `offset`; fewer only at its end.
    fn load(&mut self, offset: u64, bytes: usize) -> Result<&[u8], Error> {
        let bytes = (self.segment.bytes().saturating_sub(offset)).min(bytes as u64) as usize;
        let loaded = self.window_at..self.window_at + self.window.len() as u64;
        if offset < loaded.start || offset + bytes as u64 > loaded.end {
            let rest = self.segment.bytes() - offset.min(self.segment.bytes());
            let wanted = rest.min(bytes.max(SEGMENT_IO_BYTES) as u64) as usize;
            // Until it is read, the window holds nothing.
            self.window.clear();
            self.window_at = offset;
            match self.segment.read_chunk(offset, wanted, &mut self.window) {
                Err(_) if self.over_unreadable => self.read_pages(offset, wanted),
                read => read?,
            }
        }
        let start = (offset - self.window_at) as usize;
        let end = (start + bytes).min(self.window.len());
        Ok(&self.window[start..end])
    }

    /// Reads page by page into the window, and zeros in place of pages that can't be read: no record begins with them.
    fn read_pages(&mut self, offset: u64, bytes: usize) {
        self.window.clear();
        let (mut page, mut from) = (Vec::new(), offset);
        let end = offset + bytes as u64;
        while from < end {
            let to = (from + 1).next_multiple_of(PAGE_BYTES).min(end);
            let page_bytes = (to - from) as usize;
            if self.segment.read_chunk(from, page_bytes, &mut page).is_err() {
                page.clear();
            }
            page.resize(page_bytes, 0);
            self.window.extend_from_slice(&page);
            from = to;
        }
    }
}
