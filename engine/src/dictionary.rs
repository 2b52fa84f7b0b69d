//! Dictionaries: what sessions have in common, so that each is stored without it. `docs/formats.md` specifies the file.
//!
//! ```text
//! dict-<id, 8 hex digits>.zdict    header 64: magic `SESSDICT` … │ id u32 │ length u32 │ CRC-32 of what follows u32 │ zeros
//!                                  the dictionary, as zstd trains it
//! ```
//!
//! A dictionary never changes and its id is never used again: segments and compressed values in memory name it by that. Losing one loses
//! all that was compressed with it, so it is synced before anything refers to it.

use crate::Error;
use crate::compression::Compressor;
use crate::file_header::{self, Fields};
use crate::limits::DICTIONARY_BYTES_MAX;
use sessile_wal::{Fs, OpenMode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use zstd::zstd_safe::DDict;

const MAGIC: [u8; 8] = *b"SESSDICT";
const ID_AT: usize = 36;
const LENGTH_AT: usize = 40;
const CHECKSUM_AT: usize = 44;

/// Fewer samples than this say little of what is to come.
pub(crate) const SAMPLES_MIN: usize = 512;
/// A dictionary helps the beginning of a value; behind it the value is its own dictionary.
const SAMPLE_BYTES_MAX: usize = 4 << 10;
/// zstd advises a hundred times the dictionary's length to train on; what is much more takes longer and gains nothing.
const TRAINING_PER_DICTIONARY: usize = 256;
/// One sample of so many is kept back from training, to see whether the dictionary helps on what it hasn't seen.
const HELD_OUT_ONE_IN: usize = 8;

/// A dictionary, digested for reading.
pub(crate) struct Dictionary {
    id: u32,
    bytes: Box<[u8]>,
    decoder: DDict<'static>,
    serial: u64,
}

/// What a dictionary did for samples that it wasn't trained on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gain {
    /// Their length.
    pub(crate) raw_bytes: u64,
    /// As they would be stored without a dictionary, compressed where that helps.
    pub(crate) without_bytes: u64,
    /// As they would be stored with it.
    pub(crate) with_bytes: u64,
}

/// The name of a dictionary's file.
pub(crate) fn file_name(id: u32) -> String {
    format!("dict-{id:08x}.zdict")
}

/// The id in a file name, if it is one of a dictionary.
pub(crate) fn id_of_name(name: &str) -> Option<u32> {
    let id = u32::from_str_radix(name.strip_prefix("dict-")?.strip_suffix(".zdict")?, 16).ok()?;
    // Exactly the name that we give: no sign, no capitals.
    (file_name(id) == name).then_some(id)
}

impl Dictionary {
    /// Of bytes that zstd has trained, or of any that values may have in common; `None` if zstd won't have them.
    pub(crate) fn new(id: u32, bytes: Vec<u8>) -> Option<Dictionary> {
        /// Of all dictionaries of the process: those of two databases may have the same id.
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        if bytes.is_empty() || bytes.len() > DICTIONARY_BYTES_MAX {
            return None;
        }
        let decoder = DDict::try_create(&bytes)?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Some(Dictionary { id, bytes: bytes.into(), decoder, serial })
    }

    /// Its number in the data directory; never 0.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The dictionary itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Different for any two dictionaries of the process, and never 0.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn decoder(&self) -> &DDict<'static> {
        &self.decoder
    }

    /// Bytes of memory it takes: the bytes twice and zstd's tables.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Dictionary>() + self.bytes.len() + self.decoder.sizeof()
    }

    /// Trains one of at most `bytes_max` bytes on flat objects; `None` if they are too few, or have too little in common for it to help.
    ///
    /// Of long objects it looks at the first 4 KiB, and of many at the first so many that 256 times the dictionary's length is full. The time
    /// it takes is bounded by that: some 0.2 s for 16 KiB and a megabyte or two of samples, half a second for twice or more that.
    #[cfg(test)]
    pub(crate) fn train(id: u32, samples: &[&[u8]], bytes_max: usize) -> Option<(Dictionary, Gain)> {
        if samples.len() < SAMPLES_MIN { None } else { Dictionary::train_on_few(id, samples, bytes_max) }
    }

    /// As [`train`](Self::train), on however few.
    pub(crate) fn train_on_few(id: u32, samples: &[&[u8]], bytes_max: usize) -> Option<(Dictionary, Gain)> {
        let samples = samples.iter().map(|sample| &sample[..sample.len().min(SAMPLE_BYTES_MAX)]);
        let (mut training, mut lengths, mut held_out) = (Vec::new(), Vec::new(), Vec::new());
        for (number, sample) in samples.enumerate() {
            if number % HELD_OUT_ONE_IN == 0 {
                held_out.push(sample);
            } else {
                training.extend_from_slice(sample);
                lengths.push(sample.len());
            }
            if training.len() > bytes_max.saturating_mul(TRAINING_PER_DICTIONARY) {
                break;
            }
        }
        let bytes =
            zstd::dict::from_continuous(&training, &lengths, bytes_max.min(DICTIONARY_BYTES_MAX)).ok()?;
        let dictionary = Dictionary::new(id, bytes)?;
        let gain = dictionary.gain(&held_out);
        // A twentieth: less would not pay for another file and its memory.
        (gain.with_bytes < gain.without_bytes - gain.without_bytes / 20).then_some((dictionary, gain))
    }

    /// What it does for those samples.
    pub(crate) fn gain(&self, samples: &[&[u8]]) -> Gain {
        // One each: a compressor digests a dictionary anew whenever it changes.
        let (mut with, mut without) = (Compressor::new(), Compressor::new());
        let stored = |frame: Option<&[u8]>, raw: &[u8]| frame.map_or(raw.len(), <[u8]>::len) as u64;
        let mut gain = Gain { raw_bytes: 0, without_bytes: 0, with_bytes: 0 };
        for sample in samples {
            gain.raw_bytes += sample.len() as u64;
            gain.without_bytes += stored(without.compress(None, sample), sample);
            gain.with_bytes += stored(with.compress(Some(self), sample), sample);
        }
        gain
    }

    /// Writes its file, durably but for its name: the caller syncs the directory.
    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path, database_id: &[u8; 16]) -> Result<(), Error> {
        let path = dir.join(file_name(self.id));
        let file = fs.open(&path, OpenMode::CreateNew).map_err(Error::io("create", &path))?;
        file.write_at(&self.encode(database_id), 0).map_err(Error::io("write", &path))?;
        file.sync_data().map_err(Error::io("sync", &path))
    }

    /// Bytes of its file.
    #[cfg(test)]
    pub(crate) fn file_bytes(&self) -> u64 {
        (file_header::BYTES + self.bytes.len()) as u64
    }

    /// What the manifest knows its file by.
    pub(crate) fn stamp(&self, database_id: &[u8; 16]) -> u32 {
        file_header::stamp(&self.header(database_id))
    }

    fn encode(&self, database_id: &[u8; 16]) -> Vec<u8> {
        [&self.header(database_id)[..], &self.bytes].concat()
    }

    fn header(&self, database_id: &[u8; 16]) -> [u8; file_header::BYTES] {
        let length = self.bytes.len() as u32; // At most `DICTIONARY_BYTES_MAX`.
        let fields = Fields::ZERO
            .with(ID_AT, self.id.to_le_bytes())
            .with(LENGTH_AT, length.to_le_bytes())
            .with(CHECKSUM_AT, crc32fast::hash(&self.bytes).to_le_bytes());
        file_header::encode(MAGIC, database_id, &fields)
    }

    /// Reads the file of a dictionary that the manifest knows.
    pub(crate) fn read(
        fs: &dyn Fs,
        dir: &Path,
        database_id: &[u8; 16],
        id: u32,
    ) -> Result<Dictionary, Error> {
        let path = dir.join(file_name(id));
        let file = fs.open(&path, OpenMode::Read).map_err(missing(&path))?;
        let fields = file_header::read(&*file, MAGIC, database_id, &path)?;
        let damaged =
            |offset: usize, reason| Error::DamagedFile { path: path.clone(), offset: offset as u64, reason };
        if fields.u32(ID_AT) != id {
            return Err(damaged(ID_AT, "the file has another id than its name"));
        }
        let length = fields.u32(LENGTH_AT) as usize;
        if length > DICTIONARY_BYTES_MAX {
            return Err(damaged(LENGTH_AT, "a dictionary can't be as long as the header says"));
        }
        // One more than there should be, so that a longer file is noticed.
        let mut bytes = vec![0; length + 1];
        let found = file.read_at(&mut bytes, file_header::BYTES as u64).map_err(Error::io("read", &path))?;
        if found != length {
            return Err(damaged(
                file_header::BYTES + found.min(length),
                "the file has another length than its header says",
            ));
        }
        bytes.truncate(length);
        if fields.u32(CHECKSUM_AT) != crc32fast::hash(&bytes) {
            return Err(damaged(file_header::BYTES, "the checksum of the dictionary does not match"));
        }
        Dictionary::new(id, bytes)
            .ok_or_else(|| damaged(file_header::BYTES, "zstd does not take it for a dictionary"))
    }
}

/// For opening a file that the manifest knows.
pub(crate) fn missing(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path: PathBuf = path.into();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => Error::MissingFile { path },
        _ => Error::Io { operation: "open", path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::samples::{noise, sessions, slices};
    use sessile_wal::sim::SimFs;

    const DIR: &str = "/d";
    const DATABASE_ID: [u8; 16] = *b"0123456789abcdef";

    /// Made by another program from `docs/formats.md`.
    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        0x53, 0x45, 0x53, 0x53, 0x44, 0x49, 0x43, 0x54, 0x01, 0x00, 0x00, 0x00, 0x41, 0x73, 0xe7, 0x72,
        0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66,
        0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00, 0xac, 0x08, 0x80, 0x17,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x67, 0x6f, 0x6c, 0x64, 0x65, 0x6e, 0x20, 0x64, 0x69, 0x63, 0x74, 0x69, 0x6f, 0x6e, 0x61, 0x72,
        0x79,
    ];

    fn disk() -> SimFs {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new(DIR)).expect("creates");
        fs
    }

    fn golden() -> Dictionary {
        Dictionary::new(3, b"golden dictionary".to_vec()).expect("a dictionary")
    }

    fn read(fs: &SimFs) -> Result<Dictionary, Error> {
        Dictionary::read(fs, Path::new(DIR), &DATABASE_ID, 3)
    }

    fn put_file(fs: &SimFs, bytes: &[u8]) {
        let file = fs.open(&Path::new(DIR).join(file_name(3)), OpenMode::Create).expect("opens");
        file.set_len(0).expect("empties");
        file.write_at(bytes, 0).expect("writes");
    }

    #[test]
    fn its_file_has_the_bytes_of_the_specification_and_survives_a_power_cut() {
        let fs = disk();
        golden().write(&fs, Path::new(DIR), &DATABASE_ID).expect("writes");
        fs.sync_dir(Path::new(DIR)).expect("syncs");
        fs.crash();
        let back = read(&fs).expect("reads");
        assert_eq!((back.id(), back.bytes()), (3, &b"golden dictionary"[..]));
        assert_eq!(back.encode(&DATABASE_ID), GOLDEN);
        assert_eq!(back.file_bytes(), GOLDEN.len() as u64);
        assert_ne!(back.serial(), golden().serial());
    }

    #[test]
    fn any_flipped_bit_missing_byte_or_byte_too_many_is_an_error_that_names_the_file() {
        let fs = disk();
        let expect_damage = |bytes: &[u8]| {
            put_file(&fs, bytes);
            let error = read(&fs).map(|found| found.id()).expect_err("damaged").to_string();
            assert!(error.starts_with("/d/dict-00000003.zdict is damaged"), "{error}");
        };
        for bit in 0..GOLDEN.len() * 8 {
            let mut flipped = GOLDEN.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            expect_damage(&flipped);
        }
        (0..GOLDEN.len()).for_each(|end| expect_damage(&GOLDEN[..end]));
        expect_damage(&[GOLDEN, &[0]].concat());
        fs.remove(&Path::new(DIR).join(file_name(3))).expect("removes");
        assert!(matches!(read(&fs).map(|found| found.id()), Err(Error::MissingFile { .. })));
    }

    #[test]
    fn training_helps_on_sessions_that_it_has_not_seen() {
        let sessions = sessions(0..4000);
        let (dictionary, gain) = Dictionary::train(1, &slices(&sessions), 16 << 10).expect("alike");
        assert!(dictionary.bytes().len() <= 16 << 10);
        assert!(gain.with_bytes * 5 < gain.raw_bytes * 2, "{gain:?}");
        assert!(gain.with_bytes < gain.without_bytes, "{gain:?}");
    }

    #[test]
    fn there_is_no_dictionary_of_too_few_samples_or_of_noise() {
        let few = sessions(0..SAMPLES_MIN as u64 - 1);
        assert!(Dictionary::train(1, &slices(&few), 16 << 10).is_none());
        let unalike: Vec<Vec<u8>> = (0..2000).map(|seed| noise(seed, 300)).collect();
        assert!(Dictionary::train(1, &slices(&unalike), 16 << 10).is_none());
        let empty = vec![Vec::new(); 2000];
        assert!(Dictionary::train(1, &slices(&empty), 16 << 10).is_none());
        let same = vec![b"x".to_vec(); 2000];
        assert!(Dictionary::train(1, &slices(&same), 16 << 10).is_none());
    }

    #[test]
    fn only_its_own_names_are_its_names() {
        assert_eq!(id_of_name(&file_name(0xABCD)), Some(0xABCD));
        for other in [
            "dict-0000abcd.seg",
            "dict-abcd.zdict",
            "dict-0000ABCD.zdict",
            "dict-+000abcd.zdict",
            "dict-.zdict",
        ] {
            assert_eq!(id_of_name(other), None, "{other}");
        }
    }
}
