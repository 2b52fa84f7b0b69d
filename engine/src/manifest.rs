//! The manifest: what the rest of the directory means. `docs/formats.md` specifies the bytes.
//!
//! Written once when the directory is made, and replaced atomically: write beside it, fsync, rename, fsync the directory. It must
//! never be guessed: without it, or with a damaged one, a directory that holds a log is refused.

use crate::Error;
use sessile_wal::{Fs, OpenMode};
use std::path::Path;

/// The manifest's name in the data directory.
pub(crate) const NAME: &str = "MANIFEST";
const TEMPORARY_NAME: &str = "MANIFEST.new";
const MAGIC: [u8; 8] = *b"SESSMANI";
const VERSION: u32 = 1;

/// Magic 8, version 4, encryption key id 4, database id 16, hash key 16, made at (ms) 8, CRC-32 4.
const BYTES: usize = 60;
const CHECKSUM_AT: usize = BYTES - 4;

/// What a data directory says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Random; in every file of the directory.
    pub(crate) database_id: [u8; 16],
    /// Random and secret: the key of the hash that the log names keys by.
    pub(crate) hash_key: [u8; 16],
    /// When the directory was made, in ms since the epoch.
    pub(crate) created_ms: u64,
}

impl Manifest {
    /// That of a new directory.
    pub(crate) fn generate(now_ms: u64) -> Result<Manifest, Error> {
        let mut random = [[0; 16]; 2];
        for part in &mut random {
            getrandom::fill(part).map_err(|error| Error::Random(error.to_string()))?;
        }
        let [database_id, hash_key] = random;
        Ok(Manifest { database_id, hash_key, created_ms: now_ms })
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        // 12..16: encryption key id, 0 for none.
        bytes[16..32].copy_from_slice(&self.database_id);
        bytes[32..48].copy_from_slice(&self.hash_key);
        bytes[48..56].copy_from_slice(&self.created_ms.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Manifest, Error> {
        let damaged = |offset, reason| Error::DamagedManifest { path: path.into(), offset, reason };
        let number =
            |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes(std::array::from_fn(|i| b[i])));
        if !bytes.starts_with(&MAGIC) {
            return Err(damaged(0, "the magic number is not a manifest's"));
        }
        match number(8) {
            Some(VERSION) => {}
            Some(found) if found != 0 && found < 1000 => {
                return Err(Error::UnsupportedVersion { path: path.into(), found, supported: VERSION });
            }
            _ => return Err(damaged(8, "the version is none")),
        }
        if bytes.len() != BYTES {
            return Err(damaged(bytes.len().min(BYTES) as u64, "the length is not a manifest's"));
        }
        if number(CHECKSUM_AT) != Some(crc32fast::hash(&bytes[..CHECKSUM_AT])) {
            return Err(damaged(CHECKSUM_AT as u64, "the checksum does not match"));
        }
        if number(12) != Some(0) {
            return Err(damaged(12, "the directory is encrypted, which this build can't read"));
        }
        Ok(Manifest {
            database_id: std::array::from_fn(|i| bytes[16 + i]),
            hash_key: std::array::from_fn(|i| bytes[32 + i]),
            created_ms: u64::from_le_bytes(std::array::from_fn(|i| bytes[48 + i])),
        })
    }

    /// Reads the directory's manifest; `None` if it has none.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Manifest>, Error> {
        let path = dir.join(NAME);
        if !fs.exists(&path).map_err(Error::io("look for", &path))? {
            return Ok(None);
        }
        let file = fs.open(&path, OpenMode::Read).map_err(Error::io("open", &path))?;
        // One byte more than there should be, so that a longer file is noticed.
        let mut bytes = [0; BYTES + 1];
        let length = file.read_at(&mut bytes, 0).map_err(Error::io("read", &path))?;
        Manifest::decode(&bytes[..length], &path).map(Some)
    }

    /// Makes this the directory's manifest, durably.
    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let (path, temporary) = (dir.join(NAME), dir.join(TEMPORARY_NAME));
        let file = fs.open(&temporary, OpenMode::Create).map_err(Error::io("create", &temporary))?;
        file.set_len(0).map_err(Error::io("empty", &temporary))?;
        file.write_at(&self.encode(), 0).map_err(Error::io("write", &temporary))?;
        file.sync_data().map_err(Error::io("sync", &temporary))?;
        fs.rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
        fs.sync_dir(dir).map_err(Error::io("sync", dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: Manifest = Manifest {
        database_id: *b"0123456789abcdef",
        hash_key: *b"ghijklmnopqrstuv",
        created_ms: 1_795_000_000_000,
    };

    #[test]
    fn comes_back() {
        let bytes = MANIFEST.encode();
        assert_eq!(Manifest::decode(&bytes, Path::new("M")).expect("sound"), MANIFEST);
    }

    #[test]
    fn any_flipped_bit_or_missing_byte_is_an_error_that_names_the_file() {
        let bytes = MANIFEST.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Manifest::decode(&flipped, Path::new("dir/M")).expect_err("damaged");
            assert!(error.to_string().starts_with("dir/M "), "{error}");
        }
        for end in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..end], Path::new("M")).is_err());
        }
        assert!(Manifest::decode(&[&bytes[..], &[0]].concat(), Path::new("M")).is_err());
    }
}
