//! Up to where the log was synced, noted in a small file of its own beside it.
//!
//! The log says so itself, in every batch, but only behind what it speaks of: when the last pages of the log are lost, or its last file, what is left
//! looks like a torn tail. The note is somewhere else on the disk. It is overwritten in place, a sector that is written whole or not at all, now and
//! then and without a sync: one that is old, missing or unreadable says less, or nothing. It must never say more than is true, for a log that
//! ends before it is refused.

use std::{io, path::Path, sync::Arc};

use crate::{DurableEnd, File, Fs, OpenMode, WalError, error::io_error};

/// The name, in the log's directory, of the note up to where the log was synced.
pub const NAME: &str = "log-synced";

const MAGIC: [u8; 8] = *b"SESSSYNC";
const VERSION: u32 = 1;
const BYTES: usize = 48;
const CHECKSUM_AT: usize = 12;

/// The file, open for being overwritten.
pub(crate) struct SyncedNote {
    file: Arc<dyn File>,
    database_id: [u8; 16],
    /// What it says.
    said: Option<DurableEnd>,
}

impl SyncedNote {
    /// Opens the file, and makes it if it isn't there. It needn't be there after a power cut.
    pub(crate) fn open(fs: &dyn Fs, dir: &Path, database_id: [u8; 16]) -> Result<SyncedNote, WalError> {
        let path = dir.join(NAME);
        let file = fs.open(&path, OpenMode::Create).map_err(|e| io_error("open", &path, e))?;
        Ok(SyncedNote { file, database_id, said: None })
    }

    /// Notes that the log is durable to there. A failure means that the file goes on saying what it said, or nothing.
    pub(crate) fn note(&mut self, end: DurableEnd) -> io::Result<()> {
        if self.said == Some(end) || end.checksum == 0 {
            return Ok(());
        }
        self.said = None;
        self.file.write_at(&encode(&self.database_id, end), 0)?;
        self.said = Some(end);
        Ok(())
    }
}

/// What the file in `dir` says of the log of this database; nothing if there is none that can be read.
pub(crate) fn read(fs: &dyn Fs, dir: &Path, database_id: &[u8; 16]) -> Result<Option<DurableEnd>, WalError> {
    let path = dir.join(NAME);
    if !fs.exists(&path).map_err(|e| io_error("look for", &path, e))? {
        return Ok(None);
    }
    let file = fs.open(&path, OpenMode::Read).map_err(|e| io_error("open", &path, e))?;
    let mut bytes = [0; BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(|e| io_error("read", &path, e))?;
    Ok(if read == BYTES { decode(&bytes, database_id) } else { None })
}

fn encode(database_id: &[u8; 16], end: DurableEnd) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..32].copy_from_slice(database_id);
    bytes[32..40].copy_from_slice(&end.lsn.get().to_le_bytes());
    bytes[40..44].copy_from_slice(&end.checksum.to_le_bytes());
    let checksum = checksum(&bytes);
    bytes[CHECKSUM_AT..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES], database_id: &[u8; 16]) -> Option<DurableEnd> {
    let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let sound = bytes[0..8] == MAGIC && short(8) == VERSION && short(CHECKSUM_AT) == checksum(bytes);
    let lsn = u64::from_le_bytes(std::array::from_fn(|byte| bytes[32 + byte]));
    (sound && bytes[16..32] == *database_id).then(|| DurableEnd { lsn: lsn.into(), checksum: short(40) })
}

fn checksum(bytes: &[u8; BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CHECKSUM_AT]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_any_other_bit_says_nothing() {
        let end = DurableEnd { lsn: 77_777.into(), checksum: 5 };
        let bytes = encode(&[7; 16], end);
        assert_eq!(decode(&bytes, &[7; 16]), Some(end));
        assert_eq!(decode(&bytes, &[8; 16]), None, "of another database");
        for bit in 0..BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped, &[7; 16]), None, "bit {bit}");
        }
    }
}
