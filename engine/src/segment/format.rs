//! The bytes of a segment. It encodes and decodes; it never does I/O, and decoding never panics, whatever the bytes.

use crate::Error;
use crate::compression::Compressor;
use crate::dictionary::Dictionary;
use crate::expiry::NEVER;
use crate::file_header::{self, Fields};
use crate::object::layout;
use crate::varint;
use sessile_wal::File;
use smallvec::SmallVec;
use std::ops::Range;
use std::path::Path;

/// Where the first record is.
pub(super) const RECORDS_AT: u64 = file_header::BYTES as u64;
/// Records begin on multiples of this.
pub(super) const ALIGNMENT: u64 = 4;
/// Flags, LSN and one byte.
const BODY_BYTES_MIN: u64 = 3;
const CHECKSUM_BYTES: usize = 4;
/// Bytes from a record's beginning that hold its checksum and length, and of its body all but the object.
pub(super) const RECORD_HEAD_BYTES_MAX: usize = CHECKSUM_BYTES + 10 + HEAD_BYTES_MAX;
/// Flags and three numbers.
const HEAD_BYTES_MAX: usize = 1 + 3 * 10;

const MAGIC: [u8; 8] = *b"SESSSEGM";
const ID_AT: usize = 36;
const DICTIONARY_ID_AT: usize = 40;
const CREATED_MS_AT: usize = 48;

/// The object is compressed, with the header's dictionary if it names one.
const COMPRESSED: u8 = 0x01;
/// A deadline follows the LSN.
const HAS_DEADLINE: u8 = 0x02;
/// Bits that mean nothing yet, and are zero.
const RESERVED: u8 = 0x0C;
const GRID_SHIFT: u32 = 4;

/// The name of a segment's file.
pub(crate) fn file_name(id: u32) -> String {
    format!("seg-{id:08x}.seg")
}

/// The id in a file name, if it is one of a segment.
pub(crate) fn id_of_name(name: &str) -> Option<u32> {
    let id = u32::from_str_radix(name.strip_prefix("seg-")?.strip_suffix(".seg")?, 16).ok()?;
    // Exactly the name that we give: no sign, no capitals.
    (file_name(id) == name).then_some(id)
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) id: u32,
    /// 0 for none.
    pub(super) dictionary_id: u32,
    pub(super) created_ms: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self, database_id: &[u8; 16]) -> [u8; file_header::BYTES] {
        let fields = Fields::ZERO
            .with(ID_AT, self.id.to_le_bytes())
            .with(DICTIONARY_ID_AT, self.dictionary_id.to_le_bytes())
            .with(CREATED_MS_AT, self.created_ms.to_le_bytes());
        file_header::encode(MAGIC, database_id, &fields)
    }

    /// Reads the header of the segment `id`.
    pub(super) fn read(
        file: &dyn File,
        database_id: &[u8; 16],
        id: u32,
        path: &Path,
    ) -> Result<SegmentHeader, Error> {
        let fields = file_header::read(file, MAGIC, database_id, path)?;
        if fields.u32(ID_AT) != id {
            let reason = "the file has another id than its name";
            return Err(Error::DamagedFile { path: path.into(), offset: ID_AT as u64, reason });
        }
        let (dictionary_id, created_ms) = (fields.u32(DICTIONARY_ID_AT), fields.u64(CREATED_MS_AT));
        Ok(SegmentHeader { id, dictionary_id, created_ms })
    }

    /// An error about the dictionary it names.
    pub(super) fn unknown_dictionary(path: &Path) -> Error {
        let reason = "the manifest doesn't know the dictionary that the segment was compressed with";
        Error::DamagedFile { path: path.into(), offset: DICTIONARY_ID_AT as u64, reason }
    }
}

/// An object and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The position of the log up to which the object holds what was written.
    pub(crate) lsn: u64,
    /// In ms since the epoch; [`NEVER`] for none.
    pub(crate) deadline_ms: u64,
    /// Below 16; see [`grid`](crate::expiry).
    pub(crate) grid: u16,
    /// In its flat form.
    pub(crate) object: &'a [u8],
}

/// A record as it is stored: its object may be compressed, and is not yet checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    /// As in [`Record`].
    pub(crate) lsn: u64,
    /// As in [`Record`].
    pub(crate) deadline_ms: u64,
    /// As in [`Record`].
    pub(crate) grid: u16,
    /// The length of the flat form, in bytes, if `bytes` is a frame of it.
    pub(crate) raw_bytes: Option<u64>,
    /// The flat form or its frame.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Appends the record at the end of `out`, which is at `offset` of the segment.
    pub(super) fn put(&self, out: &mut Vec<u8>, checksum: &Checksum, offset: u64) {
        let mut head = SmallVec::<[u8; HEAD_BYTES_MAX]>::new();
        let compressed = if self.raw_bytes.is_some() { COMPRESSED } else { 0 };
        let deadline = if self.deadline_ms == NEVER { 0 } else { HAS_DEADLINE };
        // A grid has four bits in the index too.
        head.push(compressed | deadline | ((self.grid as u8) << GRID_SHIFT));
        head.extend_from_slice(&varint::Bytes::of_number(self.lsn));
        if self.deadline_ms != NEVER {
            head.extend_from_slice(&varint::Bytes::of_number(self.deadline_ms));
        }
        if let Some(raw_bytes) = self.raw_bytes {
            head.extend_from_slice(&varint::Bytes::of_number(raw_bytes));
        }
        let start = out.len();
        out.extend_from_slice(&[0; CHECKSUM_BYTES]);
        out.extend_from_slice(&varint::Bytes::of(head.len() + self.bytes.len()));
        out.extend_from_slice(&head);
        out.extend_from_slice(self.bytes);
        let (crc, covered) = out[start..].split_at_mut(CHECKSUM_BYTES);
        crc.copy_from_slice(&checksum.of(offset, covered).to_le_bytes());
        let padded = (out.len() - start).next_multiple_of(ALIGNMENT as usize);
        out.resize(start + padded, 0);
    }

    /// Reads a body.
    pub(super) fn decode(body: &'a [u8]) -> Result<Stored<'a>, &'static str> {
        const CUT: &str = "the record ends within its head";
        let (&flags, mut rest) = body.split_first().ok_or(CUT)?;
        if flags & RESERVED != 0 {
            return Err("the record has flags that this build doesn't know");
        }
        let mut number = || {
            let (number, used) = varint::get(rest)?;
            rest = &rest[used..];
            Some(number)
        };
        let lsn = number().ok_or(CUT)?;
        let deadline_ms = if flags & HAS_DEADLINE != 0 { number().ok_or(CUT)? } else { NEVER };
        let raw_bytes = if flags & COMPRESSED != 0 { Some(number().ok_or(CUT)?) } else { None };
        Ok(Stored { lsn, deadline_ms, grid: u16::from(flags >> GRID_SHIFT), raw_bytes, bytes: rest })
    }

    /// The record with its object decompressed and checked; `out` is used if it must be decompressed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn record<'o>(
        &self,
        dictionary: Option<&Dictionary>,
        compressor: &mut Compressor,
        out: &'o mut Vec<u8>,
    ) -> Result<Record<'o>, &'static str>
    where
        'a: 'o,
    {
        let object = match self.raw_bytes {
            Some(raw_bytes) => {
                compressor.decompress(dictionary, self.bytes, raw_bytes, out)?;
                &out[..]
            }
            None => self.bytes,
        };
        layout::check(object).ok_or("what the record holds is no object")?;
        Ok(Record { lsn: self.lsn, deadline_ms: self.deadline_ms, grid: self.grid, object })
    }

    /// Whether a record may begin with these bytes of its body: a cheap look, for who tries many places.
    pub(super) fn is_plausible(body: &'a [u8]) -> bool {
        match Stored::decode(body) {
            Ok(Stored { raw_bytes: Some(_), bytes, .. }) => bytes.first() == Some(&FRAME_DESCRIPTOR),
            Ok(Stored { raw_bytes: None, bytes, .. }) => layout::may_begin_with(bytes),
            Err(_) => false,
        }
    }
}

/// The first byte of each frame: without content size, checksum and dictionary id, and not in a single segment.
const FRAME_DESCRIPTOR: u8 = 0;

/// Where a record's body is, from its first byte, and whether it fits the `available` bytes of the segment from there. `bytes` are the first
/// ones, enough to hold a checksum and a length.
pub(super) fn body(bytes: &[u8], available: u64) -> Result<Range<usize>, &'static str> {
    const PAST_END: &str = "the record's length is more than the rest of the segment";
    let after_checksum = bytes.get(CHECKSUM_BYTES..).ok_or("the segment ends within a record's checksum")?;
    let (length, used) = varint::get(after_checksum).ok_or("the record's length can't be read")?;
    if length < BODY_BYTES_MIN {
        return Err("the record's length is less than that of any record");
    }
    let start = CHECKSUM_BYTES + used;
    if length > available.saturating_sub(start as u64) {
        return Err(PAST_END);
    }
    let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length)).ok_or(PAST_END)?;
    Ok(start..end)
}

/// The checksum of the records of one segment.
#[derive(Clone)]
pub(super) struct Checksum(crc32fast::Hasher);

impl Checksum {
    pub(super) fn new(database_id: &[u8; 16], segment_id: u32) -> Checksum {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(database_id);
        hasher.update(&segment_id.to_le_bytes());
        Checksum(hasher)
    }

    /// That of a record at `offset`, of which `covered` is what follows the checksum.
    fn of(&self, offset: u64, covered: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&offset.to_le_bytes());
        hasher.update(covered);
        hasher.finalize()
    }

    /// Whether a record at `offset` is whole: from its checksum to the end of its body.
    pub(super) fn matches(&self, offset: u64, record: &[u8]) -> bool {
        record
            .split_first_chunk::<CHECKSUM_BYTES>()
            .is_some_and(|(crc, covered)| u32::from_le_bytes(*crc) == self.of(offset, covered))
    }
}
