//! The bytes of the log: file headers, batch headers, record lengths (`docs/formats.md`, "Write-ahead log").
//! It encodes and decodes; it never does I/O, and decoding never panics, whatever the bytes.

use std::ops::Range;

use crate::limits::{BATCH_ALIGN, BATCH_HEADER_BYTES, FILE_HEADER_BYTES};

/// First bytes of each log file.
pub(crate) const MAGIC: [u8; 8] = *b"SESSWAL\0";
/// The version this build writes and reads.
pub(crate) const VERSION: u32 = 1;

/// Flag: the log continues in the next file.
pub(crate) const FLAG_SEAL: u32 = 1 << 31;
const RECORDS_MASK: u32 = (1 << 28) - 1;

/// The header block of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) version: u32,
    pub(crate) database_id: [u8; 16],
    pub(crate) key_id: u32,
    pub(crate) base: u64,
    pub(crate) size: u64,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> Box<[u8; FILE_HEADER_BYTES]> {
        let mut block = Box::new([0; FILE_HEADER_BYTES]);
        block[0..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&self.version.to_le_bytes());
        block[16..32].copy_from_slice(&self.database_id);
        block[32..36].copy_from_slice(&self.key_id.to_le_bytes());
        block[40..48].copy_from_slice(&self.base.to_le_bytes());
        block[48..56].copy_from_slice(&self.size.to_le_bytes());
        let crc = file_header_crc(&block);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// What is wrong with the block, if it is not a header.
    pub(crate) fn decode(block: &[u8; FILE_HEADER_BYTES]) -> Result<FileHeader, &'static str> {
        if block[0..8] != MAGIC {
            return Err("the file does not begin with the magic of a log file");
        }
        if read_u32(block, 12) != file_header_crc(block) {
            return Err("the checksum of the file header does not match");
        }
        let mut database_id = [0; 16];
        database_id.copy_from_slice(&block[16..32]);
        Ok(FileHeader {
            version: read_u32(block, 8),
            database_id,
            key_id: read_u32(block, 32),
            base: read_u64(block, 40),
            size: read_u64(block, 48),
        })
    }
}

fn file_header_crc(block: &[u8; FILE_HEADER_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[0..12]);
    hasher.update(&block[16..]);
    hasher.finalize()
}

/// The header of a batch, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) lsn: u64,
    pub(crate) synced_lsn: u64,
    pub(crate) time_ms: u64,
    pub(crate) epoch: u32,
    pub(crate) records: u32,
    pub(crate) seal: bool,
}

const _: () = assert!(BATCH_HEADER_BYTES == 4 + 4 + 8 + 8 + 8 + 4 + 4);

impl BatchHeader {
    /// Writes the header and its checksum at the front of `batch`, which holds the payload behind it.
    pub(crate) fn encode(&self, seed: &crc32fast::Hasher, batch: &mut [u8]) {
        let flags = if self.seal { FLAG_SEAL } else { 0 };
        batch[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        batch[8..16].copy_from_slice(&self.lsn.to_le_bytes());
        batch[16..24].copy_from_slice(&self.synced_lsn.to_le_bytes());
        batch[24..32].copy_from_slice(&self.time_ms.to_le_bytes());
        batch[32..36].copy_from_slice(&self.epoch.to_le_bytes());
        batch[36..40].copy_from_slice(&(self.records | flags).to_le_bytes());
        let mut hasher = seed.clone();
        hasher.update(&batch[4..BATCH_HEADER_BYTES + self.payload_bytes as usize]);
        let crc = hasher.finalize();
        batch[0..4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the fields, unverified.
    pub(crate) fn decode(header: &[u8; BATCH_HEADER_BYTES]) -> BatchHeader {
        let word = read_u32(header, 36);
        BatchHeader {
            payload_bytes: read_u32(header, 4),
            lsn: read_u64(header, 8),
            synced_lsn: read_u64(header, 16),
            time_ms: read_u64(header, 24),
            epoch: read_u32(header, 32),
            records: word & RECORDS_MASK,
            seal: word & FLAG_SEAL != 0,
        }
    }

    /// Whether the checksum of a whole batch (header and payload, no padding) matches.
    pub(crate) fn verify(seed: &crc32fast::Hasher, batch: &[u8]) -> bool {
        let Some((crc, rest)) = batch.split_first_chunk::<4>() else { return false };
        let mut hasher = seed.clone();
        hasher.update(rest);
        hasher.finalize() == u32::from_le_bytes(*crc)
    }
}

/// The state every batch checksum starts from.
pub(crate) fn batch_seed(database_id: &[u8; 16]) -> crc32fast::Hasher {
    let mut seed = crc32fast::Hasher::new();
    seed.update(database_id);
    seed
}

/// Name of the log file that begins at `base`.
pub(crate) fn log_name(base: u64) -> String {
    format!("wal-{base:016x}.log")
}

/// Where the log file of that name begins, if it is one's name.
pub(crate) fn parse_log_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("wal-")?.strip_suffix(".log")?;
    let lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() == 16 && lower { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// Name of a written-through file that waits to be used again.
pub(crate) fn spare_name(number: u64) -> String {
    format!("spare-{number:016x}.wal")
}

/// The number of the spare file of that name, if it is one's name.
pub(crate) fn parse_spare_name(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("spare-")?.strip_suffix(".wal")?, 16).ok()
}

/// Name of a file that is being written through.
pub(crate) fn new_name(base: u64) -> String {
    format!("new-{base:016x}.wal")
}

/// Whether that is the name of a file that was being written through.
pub(crate) fn is_new_name(name: &str) -> bool {
    name.starts_with("new-") && name.ends_with(".wal")
}

/// Appends a record: its length as LEB128, then its bytes.
#[inline]
pub(crate) fn push_record(buf: &mut Vec<u8>, record: &[u8]) {
    let mut length = [0; 5];
    let mut rest = record.len() as u32;
    let mut used = 0;
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        // Five groups of seven bits hold any u32.
        length[used] = if rest == 0 { low } else { low | 0x80 };
        used += 1;
        if rest == 0 {
            break;
        }
    }
    buf.extend_from_slice(&length[..used]);
    buf.extend_from_slice(record);
}

/// How many bytes [`push_record`] adds.
#[inline]
pub(crate) const fn framed_bytes(record_bytes: usize) -> usize {
    let bits = usize::BITS - (record_bytes | 1).leading_zeros();
    record_bytes + bits.div_ceil(7) as usize
}

/// Where in `payload` the record that begins at `at` lies; `None` if it is not well-formed.
pub(crate) fn next_record(payload: &[u8], at: usize) -> Option<Range<usize>> {
    let mut length: u64 = 0;
    let mut cursor = at;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *payload.get(cursor)?;
        cursor += 1;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let end = cursor.checked_add(usize::try_from(length).ok()?)?;
            return (end <= payload.len()).then_some(cursor..end);
        }
    }
    None
}

/// The checksum that a batch states.
pub(crate) fn checksum_of(batch: &[u8]) -> u32 {
    read_u32(batch, 0)
}

/// Rounds up to where a batch may begin.
#[inline]
pub(crate) const fn align_batch(at: u64) -> u64 {
    at.next_multiple_of(BATCH_ALIGN as u64)
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_lengths_are_as_announced() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let record = vec![7; length];
            let mut buf = vec![1, 2, 3];
            push_record(&mut buf, &record);
            assert_eq!(buf.len() - 3, framed_bytes(length));
            let range = next_record(&buf, 3).expect("is well-formed");
            assert_eq!(range.end, buf.len());
            assert_eq!(buf[range], record);
        }
    }

    #[test]
    fn malformed_lengths_are_refused() {
        assert_eq!(next_record(&[], 0), None);
        assert_eq!(next_record(&[0x80], 0), None);
        assert_eq!(next_record(&[2, 1], 0), None);
        assert_eq!(next_record(&[0x80; 16], 0), None);
        assert_eq!(next_record(&[0xff, 0xff, 0xff, 0xff, 0xff], 0), None);
        assert_eq!(next_record(&[0], 0), Some(1..1));
    }

    #[test]
    fn names_go_both_ways() {
        for base in [0, 1 << 20, u64::MAX] {
            assert_eq!(parse_log_name(&log_name(base)), Some(base));
            assert_eq!(parse_spare_name(&spare_name(base)), Some(base));
            assert!(is_new_name(&new_name(base)));
        }
        for name in ["wal-.log", "wal-0.log", "wal-000000000000000G.log", "wal-00000000000000AB.log", "LOCK"]
        {
            assert_eq!(parse_log_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_batch_is_bound_to_its_database_and_position() {
        let seed = batch_seed(&[1; 16]);
        let header = BatchHeader {
            payload_bytes: 3,
            lsn: 4096,
            synced_lsn: 77,
            time_ms: 88,
            epoch: 9,
            records: 1,
            seal: true,
        };
        let mut batch = vec![0; BATCH_HEADER_BYTES];
        push_record(&mut batch, b"ab");
        header.encode(&seed, &mut batch);
        assert!(BatchHeader::verify(&seed, &batch));
        assert_eq!(BatchHeader::decode(batch.first_chunk().expect("is long enough")), header);
        assert!(!BatchHeader::verify(&batch_seed(&[2; 16]), &batch));
        for at in 0..batch.len() {
            batch[at] ^= 1;
            assert!(!BatchHeader::verify(&seed, &batch), "byte {at}");
            batch[at] ^= 1;
        }
        assert!(!BatchHeader::verify(&seed, &[]));
    }

    #[test]
    fn a_file_header_is_checked_to_its_last_byte() {
        let header = FileHeader { version: 1, database_id: [4; 16], key_id: 0, base: 1 << 20, size: 2 << 20 };
        let mut block = header.encode();
        assert_eq!(FileHeader::decode(&block), Ok(header));
        for at in 0..block.len() {
            block[at] ^= 0x10;
            assert!(FileHeader::decode(&block).is_err(), "byte {at}");
            block[at] ^= 0x10;
        }
    }
}
