//! The first 64 bytes of a file that the manifest knows: segment, dictionary or index. `docs/formats.md` specifies them.
//!
//! ```text
//! magic 8 │ version u32 │ CRC-32 u32 │ database id 16 │ encryption key id u32 │ fields of the kind of file 28
//! ```
//!
//! A file of another directory, of another kind or of another version is never taken for one of ours.

use crate::Error;
use sessile_wal::File;
use std::path::Path;

/// Length of the header, in bytes.
pub(crate) const BYTES: usize = 64;
/// Bytes that each kind of file has for itself.
pub(crate) const FIELDS_BYTES: usize = BYTES - FIELDS_AT;

const VERSION: u32 = 1;
const CHECKSUM_AT: usize = 12;
const DATABASE_ID_AT: usize = 16;
const KEY_ID_AT: usize = 32;
const FIELDS_AT: usize = 36;

/// What a kind of file has for itself: numbers at offsets of the whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields([u8; FIELDS_BYTES]);

impl Fields {
    /// All zero.
    pub(crate) const ZERO: Fields = Fields([0; FIELDS_BYTES]);

    /// With a number at an offset of the header.
    pub(crate) fn with<const N: usize>(mut self, at: usize, bytes: [u8; N]) -> Fields {
        self.0[at - FIELDS_AT..][..N].copy_from_slice(&bytes);
        self
    }

    /// The bytes at an offset of the header.
    pub(crate) fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|byte| self.0[at - FIELDS_AT + byte])
    }

    /// The number at an offset of the header.
    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.get(at))
    }

    /// The number at an offset of the header.
    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.get(at))
    }
}

/// The header's bytes.
pub(crate) fn encode(magic: [u8; 8], database_id: &[u8; 16], fields: &Fields) -> [u8; BYTES] {
    let mut block = [0; BYTES];
    block[..8].copy_from_slice(&magic);
    block[8..CHECKSUM_AT].copy_from_slice(&VERSION.to_le_bytes());
    block[DATABASE_ID_AT..KEY_ID_AT].copy_from_slice(database_id);
    // The encryption key id stays 0, for none.
    block[FIELDS_AT..].copy_from_slice(&fields.0);
    let checksum = checksum(&block);
    block[CHECKSUM_AT..DATABASE_ID_AT].copy_from_slice(&checksum.to_le_bytes());
    block
}

fn checksum(block: &[u8; BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[..CHECKSUM_AT]);
    hasher.update(&block[DATABASE_ID_AT..]);
    hasher.finalize()
}

/// Checks the header at the front of a file; `path` is for the error.
pub(crate) fn decode(
    bytes: &[u8],
    magic: [u8; 8],
    database_id: &[u8; 16],
    path: &Path,
) -> Result<Fields, Error> {
    let damaged = |offset, reason| Error::DamagedFile { path: path.into(), offset, reason };
    let Some(block) = bytes.first_chunk::<BYTES>() else {
        return Err(damaged(bytes.len() as u64, "the file ends within its header"));
    };
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| block[at + byte]));
    if block[..8] != magic {
        return Err(damaged(0, "the magic number is not that of this kind of file"));
    }
    if number(CHECKSUM_AT) != checksum(block) {
        return Err(damaged(CHECKSUM_AT as u64, "the checksum of the header does not match"));
    }
    if number(8) != VERSION {
        return Err(Error::UnsupportedVersion { path: path.into(), found: number(8), supported: VERSION });
    }
    if block[DATABASE_ID_AT..KEY_ID_AT] != *database_id {
        return Err(damaged(DATABASE_ID_AT as u64, "the file belongs to another database"));
    }
    if number(KEY_ID_AT) != 0 {
        return Err(damaged(KEY_ID_AT as u64, "the file is encrypted, which this build can't read"));
    }
    Ok(Fields(std::array::from_fn(|byte| block[FIELDS_AT + byte])))
}

/// Reads and checks the header of a file.
pub(crate) fn read(
    file: &dyn File,
    magic: [u8; 8],
    database_id: &[u8; 16],
    path: &Path,
) -> Result<Fields, Error> {
    let mut block = [0; BYTES];
    let length = file.read_at(&mut block, 0).map_err(Error::io("read", path))?;
    decode(&block[..length], magic, database_id, path)
}

/// What the manifest knows a file by, beside its name: the checksum of its header, and never 0, which says that nothing is known. Two files
/// of one name have different ones, as when they were made, or their content, is in their headers.
pub(crate) fn stamp(header: &[u8; BYTES]) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| header[CHECKSUM_AT + byte])).max(1)
}

/// The stamp of a file.
pub(crate) fn read_stamp(file: &dyn File, path: &Path) -> Result<u32, Error> {
    let mut block = [0; BYTES];
    file.read_at(&mut block, 0).map_err(Error::io("read", path))?;
    Ok(stamp(&block))
}

/// Refuses a file that is not the one that the manifest knows under its name: one that another copy of the directory has grown, or one that a
/// crash had cut short before the number was used again.
pub(crate) fn check_stamp(found: u32, listed: u32, path: &Path) -> Result<(), Error> {
    if listed == 0 || found == listed {
        return Ok(());
    }
    let reason =
        "the file is not the one that the manifest knows by this name: it is of another copy of the database";
    Err(Error::DamagedFile { path: path.into(), offset: CHECKSUM_AT as u64, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"SESSTEST";
    const DATABASE_ID: [u8; 16] = *b"0123456789abcdef";

    fn decoded(bytes: &[u8]) -> Result<Fields, Error> {
        decode(bytes, MAGIC, &DATABASE_ID, Path::new("dir/file"))
    }

    #[test]
    fn what_is_put_comes_back() {
        let fields = Fields::ZERO.with(36, 7u32.to_le_bytes()).with(56, u64::MAX.to_le_bytes());
        let back = decoded(&encode(MAGIC, &DATABASE_ID, &fields)).expect("sound");
        assert_eq!((back.u32(36), back.u32(40), back.u64(56)), (7, 0, u64::MAX));
    }

    #[test]
    fn any_flipped_bit_or_missing_byte_is_an_error_that_names_the_file() {
        let block = encode(MAGIC, &DATABASE_ID, &Fields::ZERO);
        for bit in 0..BYTES * 8 {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = decoded(&flipped).expect_err("damaged").to_string();
            assert!(error.starts_with("dir/file is damaged"), "{error}");
        }
        assert!((0..BYTES).all(|end| decoded(&block[..end]).is_err()));
    }

    /// A block with one change and a sound checksum.
    fn with(at: usize, byte: u8) -> [u8; BYTES] {
        let mut block = encode(MAGIC, &DATABASE_ID, &Fields::ZERO);
        block[at] = byte;
        let checksum = checksum(&block);
        block[CHECKSUM_AT..DATABASE_ID_AT].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    #[test]
    fn another_version_database_or_key_is_refused() {
        assert!(matches!(
            decoded(&with(8, 2)),
            Err(Error::UnsupportedVersion { found: 2, supported: 1, .. })
        ));
        assert!(matches!(decoded(&with(16, b'x')), Err(Error::DamagedFile { offset: 16, .. })));
        assert!(matches!(decoded(&with(32, 1)), Err(Error::DamagedFile { offset: 32, .. })));
    }
}
