//! The bytes of an index file: header, block headers, entries. No bytes make decoding panic.

use crate::Error;
use crate::file_header::{self, Fields};
use crate::key::INDEX_DATABASES;
use crate::limits::SEGMENT_IDS_END;
use sessile_wal::File;
use std::path::Path;

/// First bytes of each index file.
const MAGIC: [u8; 8] = *b"SESSINDX";
/// Where in the header the kind is …
pub(crate) const KIND_AT: usize = 36;
/// … and the number.
pub(crate) const NUMBER_AT: usize = 40;
/// Length of a block's header, and of the end block, in bytes.
pub(crate) const BLOCK_HEADER_BYTES: usize = 48;
/// Length of an entry, in bytes.
pub(crate) const ENTRY_BYTES: usize = 24;
/// Length of a removed hash, in bytes.
pub(crate) const REMOVED_BYTES: usize = 8;

/// Both counts of the end block.
const END: u32 = u32::MAX;
/// Where the database's fifth bit is, above the segment's id; the other four are behind the offset.
const INTERNAL_BIT: u32 = 31;
/// Positions in a segment are multiples of this, and below `OFFSET_END`.
const OFFSET_UNIT: u64 = 4;
const OFFSET_BITS: u32 = 24;
/// Where the last record of a segment must begin before.
const OFFSET_END: u64 = OFFSET_UNIT << OFFSET_BITS;

const _: () = {
    assert!(OFFSET_END == 64 << 20);
    assert!(32 + OFFSET_BITS + 4 + 4 == u64::BITS);
    assert!(INDEX_DATABASES <= 32 && SEGMENT_IDS_END == 1 << INTERNAL_BIT);
};

/// Name of the index file of that number.
pub(crate) fn name(number: u64) -> String {
    format!("index-{number:016x}.idx")
}

/// The number of the index file of that name, if it is one's name.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("index-")?.strip_suffix(".idx")?;
    let lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() == 16 && lower { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// What an index file says about the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexKind {
    /// Nothing: it stands alone.
    Snapshot,
    /// It changes what they say of the hashes it mentions.
    Delta,
}

impl IndexKind {
    /// As it is in files.
    pub(crate) fn code(self) -> u32 {
        match self {
            IndexKind::Snapshot => 0,
            IndexKind::Delta => 1,
        }
    }

    /// The kind of that code.
    pub(crate) fn of_code(code: u32) -> Option<IndexKind> {
        match code {
            0 => Some(IndexKind::Snapshot),
            1 => Some(IndexKind::Delta),
            _ => None,
        }
    }
}

/// One key, as the index on disk knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// The hash of the key.
    pub(crate) hash: u64,
    /// When the key dies, in ms since the epoch; `u64::MAX` for never.
    pub(crate) deadline_ms: u64,
    /// The segment that holds its record, below 2^31.
    pub(crate) segment: u32,
    /// Where in the segment the record begins, in bytes: a multiple of 4 below 64 MiB.
    pub(crate) offset: u64,
    /// The key's database.
    pub(crate) database: u8,
    /// The grid that logged deadlines of the key are rounded up to, 0 to 15; 0 for exact.
    pub(crate) grid: u16,
}

impl IndexEntry {
    #[inline]
    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        debug_assert!(self.offset.is_multiple_of(OFFSET_UNIT) && self.offset < OFFSET_END);
        debug_assert!(self.segment < SEGMENT_IDS_END && self.database < INDEX_DATABASES && self.grid < 16);
        let place = u64::from(self.segment)
            | u64::from(self.database >> 4 & 1) << INTERNAL_BIT
            | ((self.offset / OFFSET_UNIT) & ((1 << OFFSET_BITS) - 1)) << 32
            | u64::from(self.database & 0xF) << (32 + OFFSET_BITS)
            | u64::from(self.grid & 0xF) << (36 + OFFSET_BITS);
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0..8].copy_from_slice(&self.hash.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.deadline_ms.to_le_bytes());
        bytes[16..24].copy_from_slice(&place.to_le_bytes());
        bytes
    }

    /// Every value of the bytes is an entry; whether its segment is there is for the reader to know.
    #[inline]
    pub(crate) fn decode(bytes: &[u8; ENTRY_BYTES]) -> IndexEntry {
        let place = number_at(bytes, 16);
        IndexEntry {
            hash: number_at(bytes, 0),
            deadline_ms: number_at(bytes, 8),
            segment: place as u32 & (SEGMENT_IDS_END - 1),
            offset: (place >> 32 & ((1 << OFFSET_BITS) - 1)) * OFFSET_UNIT,
            database: ((place >> (32 + OFFSET_BITS) & 0xF) | (place >> INTERNAL_BIT & 1) << 4) as u8,
            grid: (place >> (36 + OFFSET_BITS)) as u16,
        }
    }
}

/// The header of an index file.
pub(crate) fn encode_header(
    database_id: &[u8; 16],
    kind: IndexKind,
    number: u64,
) -> [u8; file_header::BYTES] {
    let fields = Fields::ZERO.with(KIND_AT, kind.code().to_le_bytes()).with(NUMBER_AT, number.to_le_bytes());
    file_header::encode(MAGIC, database_id, &fields)
}

/// Reads the header of an index file: its kind's code and its number.
pub(crate) fn read_header(file: &dyn File, database_id: &[u8; 16], path: &Path) -> Result<(u32, u64), Error> {
    let fields = file_header::read(file, MAGIC, database_id, path)?;
    Ok((fields.u32(KIND_AT), fields.u64(NUMBER_AT)))
}

/// What the manifest knows an index file by: a checksum over that of its header and those of its blocks, so that no other content has it. Never
/// 0, which says that nothing is known.
#[derive(Clone)]
pub(crate) struct Stamp(crc32fast::Hasher);

impl Stamp {
    /// That of a file with this [header](file_header::stamp).
    pub(crate) fn new(header: u32) -> Stamp {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header.to_le_bytes());
        Stamp(hasher)
    }

    /// Adds the next block, which begins with its checksum.
    pub(crate) fn block(&mut self, block: &[u8]) {
        self.0.update(block.get(..4).unwrap_or_default());
    }

    /// The stamp, when all blocks are in it.
    pub(crate) fn finish(&self) -> u32 {
        self.0.clone().finalize().max(1)
    }
}

/// The header of a block, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) entries: u32,
    pub(crate) removed: u32,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) cut: u64,
}

impl BlockHeader {
    /// That of the end block of a file with so many blocks and entries.
    pub(crate) fn end(blocks: u64, entries: u64) -> BlockHeader {
        BlockHeader { entries: END, removed: END, from: blocks, to: entries, cut: 0 }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.entries == END && self.removed == END
    }

    /// Length of the whole block, in bytes. Of any bytes; it never overflows.
    pub(crate) fn block_bytes(&self) -> u64 {
        if self.is_end() {
            return BLOCK_HEADER_BYTES as u64;
        }
        BLOCK_HEADER_BYTES as u64
            + u64::from(self.entries) * ENTRY_BYTES as u64
            + u64::from(self.removed) * REMOVED_BYTES as u64
    }

    /// The header with a checksum of zero, to be [sealed](seal_block) when the rest of the block is behind it.
    pub(crate) fn encode(&self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[4..8].copy_from_slice(&self.entries.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.removed.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.from.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.to.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.cut.to_le_bytes());
        bytes
    }

    /// The fields, unverified.
    pub(crate) fn decode(bytes: &[u8; BLOCK_HEADER_BYTES]) -> BlockHeader {
        BlockHeader {
            entries: short_at(bytes, 4),
            removed: short_at(bytes, 8),
            from: number_at(bytes, 16),
            to: number_at(bytes, 24),
            cut: number_at(bytes, 32),
        }
    }
}

/// What the checksum of every block of a file begins with.
pub(crate) fn block_seed(database_id: &[u8; 16], number: u64) -> crc32fast::Hasher {
    let mut seed = crc32fast::Hasher::new();
    seed.update(database_id);
    seed.update(&number.to_le_bytes());
    seed
}

/// Writes the checksum of a whole block, which begins at `offset` of its file.
pub(crate) fn seal_block(seed: &crc32fast::Hasher, offset: u64, block: &mut [u8]) {
    let checksum = block_checksum(seed, offset, &block[4..]);
    block[0..4].copy_from_slice(&checksum.to_le_bytes());
}

/// Whether the checksum of a whole block, which begins at `offset` of its file, matches.
pub(crate) fn verify_block(seed: &crc32fast::Hasher, offset: u64, block: &[u8]) -> bool {
    block
        .split_first_chunk::<4>()
        .is_some_and(|(stored, rest)| u32::from_le_bytes(*stored) == block_checksum(seed, offset, rest))
}

fn block_checksum(seed: &crc32fast::Hasher, offset: u64, rest: &[u8]) -> u32 {
    let mut hasher = seed.clone();
    hasher.update(&offset.to_le_bytes());
    hasher.update(rest);
    hasher.finalize()
}

#[inline]
fn short_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

#[inline]
fn number_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}
