//! What a segment must hold to: what was written comes back, and nothing else ever does.

use super::format::{ALIGNMENT, RECORDS_AT};
use super::writer::Finished;
use super::*;
use crate::Error;
use crate::compression::Compressor;
use crate::dictionary::Dictionary;
use crate::expiry::NEVER;
use proptest::prelude::*;
use samples::{flat, noise, session, sessions, slices};
use sessile_wal::sim::{Fault, Rng, SimFs};
use sessile_wal::{File, Fs, OpenMode, RealFs};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

const DIR: &str = "/d";
const DATABASE_ID: [u8; 16] = *b"0123456789abcdef";
const ID: u32 = 0x2A;

fn disk(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    fs.create_dir_all(Path::new(DIR)).expect("creates");
    fs
}

/// Trained once: it takes a while.
fn dictionary() -> Arc<Dictionary> {
    static DICTIONARY: OnceLock<Arc<Dictionary>> = OnceLock::new();
    let train = || {
        let sessions = sessions(0..2000);
        Arc::new(Dictionary::train(7, &slices(&sessions), 4 << 10).expect("alike").0)
    };
    DICTIONARY.get_or_init(train).clone()
}

fn writer(fs: &SimFs, dictionary: Option<Arc<Dictionary>>) -> SegmentWriter {
    SegmentWriter::create(fs, Path::new(DIR), &DATABASE_ID, ID, dictionary, 5).expect("creates")
}

fn open(fs: &dyn Fs, bytes: u64, dictionary: Option<Arc<Dictionary>>) -> Result<SegmentFile, Error> {
    SegmentFile::open(fs, Path::new(DIR), &DATABASE_ID, ID, bytes, |id| dictionary.filter(|d| d.id() == id))
}

/// A segment file on the disk, with the bytes given.
fn put_file(fs: &SimFs, bytes: &[u8]) {
    let file = fs.open(&path(), OpenMode::Create).expect("opens");
    file.set_len(0).expect("empties");
    file.write_at(bytes, 0).expect("writes");
}

fn path() -> std::path::PathBuf {
    Path::new(DIR).join(file_name(ID))
}

fn file_bytes(fs: &SimFs) -> Vec<u8> {
    let file = fs.open(&path(), OpenMode::Read).expect("opens");
    let mut bytes = vec![0; file.len().expect("has a length") as usize];
    assert_eq!(file.read_at(&mut bytes, 0).expect("reads"), bytes.len());
    bytes
}

fn record(number: u64, object: &[u8]) -> Record<'_> {
    let deadline_ms = if number.is_multiple_of(3) { NEVER } else { 1_800_000_000_000 + number };
    Record { lsn: 1_000 + number * 300, deadline_ms, grid: (number % 16) as u16, object }
}

/// Objects of all sizes that a read treats differently.
fn objects() -> Vec<Vec<u8>> {
    let sizes = [0, 1, 300, 900, 1000, 1100, 5000, 100_000];
    let raw = sizes.iter().map(|&bytes| flat("key", &noise(bytes as u64, bytes), None));
    let alike = sizes.iter().map(|&bytes| flat("alike", &session(9).repeat(1 + bytes / 300), None));
    raw.chain(alike).chain(sessions(5000..5010)).collect()
}

/// A finished segment and where its records are.
fn written(fs: &SimFs, dictionary: Option<Arc<Dictionary>>, objects: &[Vec<u8>]) -> (Finished, Vec<u64>) {
    let (mut writer, mut compressor) = (writer(fs, dictionary), Compressor::new());
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(writer.push(&record(number as u64, object), Some(&mut compressor)));
        if number % 3 == 0 {
            writer.write().expect("writes");
        }
    }
    (writer.finish().expect("finishes"), offsets)
}

/// What a scan finds, owned: the records' offsets and LSNs, and the damaged ranges.
fn scanned(segment: SegmentFile) -> (Vec<(u64, u64)>, Vec<(u64, u64)>) {
    let (mut scan, mut records, mut damaged) = (Arc::new(segment).scan(), Vec::new(), Vec::new());
    while let Some(found) = scan.next().expect("reads") {
        match found {
            Found::Record { offset, stored, .. } => records.push((offset, stored.lsn)),
            Found::Damaged { offset, bytes, .. } => damaged.push((offset, offset + bytes)),
        }
    }
    (records, damaged)
}

#[test]
fn what_was_written_comes_back_with_and_without_a_dictionary() {
    for dictionary in [None, Some(dictionary())] {
        let (fs, objects) = (disk(1), objects());
        let (finished, offsets) = written(&fs, dictionary.clone(), &objects);
        assert_eq!(finished.records as usize, objects.len());
        let bytes = finished.segment.bytes();
        let mut scratch = Scratch::default();
        for segment in [finished.segment, open(&fs, bytes, dictionary).expect("opens")] {
            for (number, (&offset, object)) in offsets.iter().zip(&objects).enumerate() {
                let found = segment.read(offset, &mut scratch).expect("reads");
                assert_eq!(found, record(number as u64, object));
            }
            let (records, damaged) = scanned(segment);
            let lsns = (0..objects.len() as u64).map(|number| record(number, b"").lsn);
            assert!(records.into_iter().eq(offsets.iter().copied().zip(lsns)));
            assert!(damaged.is_empty());
        }
    }
}

#[test]
fn a_read_that_must_not_wait_gives_the_same_or_nothing() {
    let (fs, objects) = (disk(3), objects());
    let (finished, offsets) = written(&fs, Some(dictionary()), &objects);
    let (mut there, mut absent, mut scratch) = (0, 0, Scratch::default());
    for _ in 0..20 {
        for (number, (&offset, object)) in offsets.iter().zip(&objects).enumerate() {
            match finished.segment.read_now(offset, &mut scratch).expect("reads") {
                Some(found) => {
                    assert_eq!(found, record(number as u64, object));
                    there += 1;
                }
                None => absent += 1,
            }
        }
    }
    assert!(there > 100 && absent > 50, "{there} {absent}");
}

#[test]
fn the_real_disk_reads_what_is_in_the_page_cache_without_waiting() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = SegmentWriter::create(&RealFs, dir.path(), &DATABASE_ID, ID, None, 5).expect("creates");
    let object = session(1);
    let offset = writer.push(&record(1, &object), None);
    let finished = writer.finish().expect("finishes");
    let mut scratch = Scratch::default();
    // A file system may not know how: then it must say that it would wait.
    if let Some(found) = finished.segment.read_now(offset, &mut scratch).expect("reads") {
        assert_eq!(found, record(1, &object));
    }
    assert_eq!(finished.segment.read(offset, &mut scratch).expect("reads"), record(1, &object));
}

#[test]
fn every_flipped_bit_is_found_by_reading_and_by_scanning() {
    let (fs, dictionary) = (disk(4), dictionary());
    let objects = [session(1), flat("k", b"raw", None), session(2)];
    let (finished, offsets) = written(&fs, Some(dictionary.clone()), &objects);
    let (sound, bytes) = (file_bytes(&fs), finished.segment.bytes());
    let ends: Vec<u64> = offsets[1..].iter().copied().chain([bytes]).collect();
    let mut scratch = Scratch::default();
    for bit in 0..sound.len() * 8 {
        let at = (bit / 8) as u64;
        let mut flipped = sound.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        put_file(&fs, &flipped);
        let segment = match open(&fs, bytes, Some(dictionary.clone())) {
            Ok(segment) => segment,
            Err(error) => {
                assert!(at < RECORDS_AT, "bit {bit}: {error}");
                assert!(matches!(error, Error::DamagedFile { .. }), "bit {bit}: {error}");
                continue;
            }
        };
        assert!(at >= RECORDS_AT, "bit {bit} of the header goes unnoticed");
        for (number, (&offset, &end)) in offsets.iter().zip(&ends).enumerate() {
            match segment.read(offset, &mut scratch) {
                Ok(found) => {
                    assert_eq!(found, record(number as u64, &objects[number]), "bit {bit}");
                    // Of its own bytes only the padding may go unnoticed by who reads this record alone.
                    assert!(at < offset || at >= end - (ALIGNMENT - 1), "bit {bit} goes unnoticed");
                }
                Err(Error::DamagedValue { path: named, offset: named_at, .. }) => {
                    assert!(named == path() && named_at == offset);
                    assert!((offset..end).contains(&at), "bit {bit} hits another record");
                }
                Err(other) => panic!("bit {bit}: {other}"),
            }
        }
        let (records, damaged) = scanned(segment);
        assert!(damaged.iter().any(|&(from, to)| (from..to).contains(&at)), "bit {bit}: {damaged:?}");
        assert_eq!(damaged.len(), 1, "bit {bit}");
        assert!(records.len() >= objects.len() - 1, "bit {bit} costs more than its record");
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_by_name() {
    let fs = disk(5);
    let (finished, _) = written(&fs, None, &[session(1), session(2)]);
    let (sound, bytes) = (file_bytes(&fs), finished.segment.bytes());
    for end in 0..sound.len() {
        put_file(&fs, &sound[..end]);
        match open(&fs, bytes, None).map(|segment| segment.bytes()) {
            Err(Error::DamagedFile { path: named, offset, .. }) => {
                assert!(named == path() && offset == end as u64, "{end}");
            }
            other => panic!("{end}: {other:?}"),
        }
    }
    fs.remove(&path()).expect("removes");
    assert!(matches!(open(&fs, bytes, None), Err(Error::MissingFile { path: named }) if named == path()));
}

#[test]
fn bytes_behind_the_length_that_the_manifest_knows_are_not_part_of_it() {
    let fs = disk(6);
    let (finished, offsets) = written(&fs, None, &[session(1), session(2)]);
    let first_bytes = offsets[1];
    drop(finished);
    let segment = open(&fs, first_bytes, None).expect("opens");
    let mut scratch = Scratch::default();
    assert!(segment.read(offsets[0], &mut scratch).is_ok());
    assert!(matches!(segment.read(offsets[1], &mut scratch), Err(Error::DamagedValue { .. })));
    assert_eq!(scanned(segment).0.len(), 1);
}

#[test]
fn an_offset_where_no_record_begins_is_damage() {
    let fs = disk(7);
    let (finished, offsets) = written(&fs, None, &objects());
    let mut scratch = Scratch::default();
    for offset in (0..offsets[3] + 9).chain([u64::MAX, u64::MAX - 3, finished.segment.bytes()]) {
        let found = finished.segment.read(offset, &mut scratch);
        assert_eq!(found.is_ok(), offsets.contains(&offset), "{offset}");
    }
}

#[test]
fn a_record_of_another_segment_database_or_offset_is_damage() {
    let fs = disk(8);
    let (finished, offsets) = written(&fs, None, &[flat("a", b"1234", None), flat("b", b"5678", None)]);
    let (sound, bytes) = (file_bytes(&fs), finished.segment.bytes());
    let mut scratch = Scratch::default();
    // The second record in the place of the first.
    let mut moved = sound.clone();
    moved.copy_within(offsets[1] as usize.., offsets[0] as usize);
    put_file(&fs, &moved);
    let segment = open(&fs, bytes, None).expect("opens");
    assert!(segment.read(offsets[0], &mut scratch).is_err());
    // The same bytes under the name, and with the header, of another segment or database.
    for (id, database_id) in [(ID + 1, DATABASE_ID), (ID, [1; 16])] {
        let other = disk(9);
        let mut writer =
            SegmentWriter::create(&other, Path::new(DIR), &database_id, id, None, 5).expect("creates");
        writer.push(&record(0, b"\0\0\x01a1234"), None);
        let finished = writer.finish().expect("finishes");
        let file = other.open(finished.segment.path(), OpenMode::ReadWrite).expect("opens");
        file.write_at(&sound[RECORDS_AT as usize..], RECORDS_AT).expect("writes");
        let segment =
            SegmentFile::open(&other, Path::new(DIR), &database_id, id, bytes, |_| None).expect("opens");
        assert!(segment.read(offsets[0], &mut scratch).is_err());
        assert!(scanned(segment).0.is_empty());
    }
}

#[test]
fn behind_a_damaged_length_the_next_record_is_found() {
    for seed in 0..40 {
        let (mut rng, fs, dictionary) = (Rng::new(seed), disk(seed), dictionary());
        let objects = objects();
        let (finished, offsets) = written(&fs, Some(dictionary.clone()), &objects);
        let (sound, bytes) = (file_bytes(&fs), finished.segment.bytes());
        let hit = rng.below(offsets.len() as u64) as usize;
        let mut damaged_bytes = sound;
        // Checksum, length, flags: all that a record is found by.
        let at = offsets[hit] as usize + 4;
        damaged_bytes[at..at + 4].copy_from_slice(&(rng.next_u64() as u32 | 1).to_le_bytes());
        put_file(&fs, &damaged_bytes);
        let (records, damaged) = scanned(open(&fs, bytes, Some(dictionary)).expect("opens"));
        let end = offsets.get(hit + 1).copied().unwrap_or(bytes);
        assert_eq!(damaged, [(offsets[hit], end)], "seed {seed}");
        assert_eq!(records.len(), objects.len() - 1, "seed {seed}");
    }
}

/// A file of which some bytes can't be read, with whatever else is asked for along with them.
struct Unreadable {
    file: Arc<dyn File>,
    bytes: Range<u64>,
}

impl File for Unreadable {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.bytes.end && offset + buf.len() as u64 > self.bytes.start {
            return Err(io::Error::other("a bad sector"));
        }
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(buf, offset)
    }

    fn write_at_durable(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at_durable(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[test]
fn what_the_disk_will_not_read_is_an_error_or_damage_as_one_likes() {
    let fs = disk(16);
    let (finished, offsets) = written(&fs, None, &sessions(0..200));
    let bytes = finished.segment.bytes();
    let file = fs.open(&path(), OpenMode::Read).expect("opens");
    let bad = 8192..12_288;
    let file = Arc::new(Unreadable { file, bytes: bad.clone() });
    let checksum = finished.segment.checksum().clone();
    let segment = Arc::new(SegmentFile::of_written(ID, None, file, path(), bytes, checksum, 1));
    assert!(matches!(segment.scan().next().map(drop), Err(Error::Io { .. })));

    let ends = offsets[1..].iter().copied().chain([bytes]);
    let readable = offsets.iter().zip(ends).filter(|&(&offset, end)| end <= bad.start || offset >= bad.end);
    let mut expected: Vec<u64> = readable.map(|(&offset, _)| offset).collect();
    let mut scan = segment.scan().over_unreadable();
    let mut damaged = 0;
    while let Some(found) = scan.next().expect("reads") {
        match found {
            Found::Record { offset, .. } => assert_eq!(offset, expected.remove(0)),
            Found::Damaged { offset, bytes, .. } => {
                assert!(offset < bad.end && offset + bytes >= bad.end);
                damaged += 1;
            }
        }
    }
    assert!(expected.is_empty() && damaged == 1, "{expected:?} {damaged}");
}

#[test]
fn a_full_disk_can_be_waited_for() {
    let fs = disk(17);
    let (mut writer, object) = (writer(&fs, None), session(1));
    let first = writer.push(&record(0, &object), None);
    writer.write().expect("writes");
    let second = writer.push(&record(1, &object), None);
    fs.fail_after(1, Fault::Full);
    assert!(matches!(writer.write(), Err(Error::Io { .. })));
    let third = writer.push(&record(2, &object), None);
    let segment = writer.finish().expect("finishes").segment;
    let mut scratch = Scratch::default();
    for (number, offset) in [first, second, third].into_iter().enumerate() {
        assert_eq!(segment.read(offset, &mut scratch).expect("reads"), record(number as u64, &object));
    }
}

#[test]
fn a_segment_of_nothing_but_noise_is_scanned_in_reasonable_time() {
    let fs = disk(10);
    let (finished, _) = written(&fs, None, &[session(1)]);
    let mut bytes = file_bytes(&fs)[..RECORDS_AT as usize].to_vec();
    drop(finished);
    bytes.extend(noise(1, 1 << 20));
    put_file(&fs, &bytes);
    let (records, damaged) = scanned(open(&fs, bytes.len() as u64, None).expect("opens"));
    assert!(records.is_empty());
    assert_eq!(damaged, [(RECORDS_AT, bytes.len() as u64)]);
}

#[test]
fn records_are_copied_between_segments_without_being_decompressed() {
    let (fs, dictionary, objects) = (disk(11), dictionary(), objects());
    let (finished, _) = written(&fs, Some(dictionary.clone()), &objects);
    let from = Arc::new(finished.segment);
    let create = |id, dictionary| {
        SegmentWriter::create(&fs, Path::new(DIR), &DATABASE_ID, id, dictionary, 5).expect("creates")
    };
    assert!(!create(1, None).takes_frames_of(&from));
    let mut writer = create(ID + 1, Some(dictionary));
    assert!(writer.takes_frames_of(&from));
    let (mut scan, mut offsets) = (from.scan(), Vec::new());
    while let Some(found) = scan.next().expect("reads") {
        let Found::Record { stored, .. } = found else { panic!("{found:?}") };
        offsets.push(writer.push_stored(&Stored { deadline_ms: 77, ..stored }, &from));
    }
    let copy = writer.finish().expect("finishes").segment;
    let mut scratch = Scratch::default();
    for (number, (&offset, object)) in offsets.iter().zip(&objects).enumerate() {
        let expected = Record { deadline_ms: 77, ..record(number as u64, object) };
        assert_eq!(copy.read(offset, &mut scratch).expect("reads"), expected);
    }
}

#[test]
fn a_segment_ends_at_64_mib_but_for_one_larger_object() {
    let fs = disk(12);
    let mut first = writer(&fs, None);
    assert!(first.has_room(100 << 20), "an empty one takes anything");
    let large = flat("large", &noise(1, 70 << 20), None);
    let offset = first.push(&record(0, &large), None);
    assert!(!first.has_room(0));
    let segment = first.finish().expect("finishes").segment;
    assert!(segment.read(offset, &mut Scratch::default()).expect("reads").object == large);
    fs.remove(segment.path()).expect("removes");

    let (mut many, piece) = (writer(&fs, None), flat("piece", &noise(2, 1 << 20), None));
    while many.has_room(piece.len()) {
        many.push(&record(1, &piece), None);
    }
    assert_eq!(many.records(), 63);
    assert!(many.bytes() <= 64 << 20);
}

#[test]
fn a_segment_is_durable_once_it_is_finished() {
    for seed in 0..30 {
        let fs = disk(seed);
        let (finished, offsets) = written(&fs, None, &[session(1), session(2)]);
        fs.sync_dir(Path::new(DIR)).expect("syncs");
        let bytes = finished.segment.bytes();
        fs.crash();
        let segment = open(&fs, bytes, None).expect("opens");
        for &offset in &offsets {
            segment
                .read(offset, &mut Scratch::default())
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}

#[test]
fn a_segment_without_its_dictionary_is_refused() {
    let fs = disk(13);
    let (finished, _) = written(&fs, Some(dictionary()), &[session(1)]);
    let refused = open(&fs, finished.segment.bytes(), None).map(|segment| segment.id());
    assert!(matches!(refused, Err(Error::DamagedFile { offset: 40, .. })), "{refused:?}");
}

/// The format held still: made by another program from `docs/formats.md`. Every later version must read them as they were meant.
#[rustfmt::skip]
const GOLDEN: &[u8] = &[
    0x53, 0x45, 0x53, 0x53, 0x53, 0x45, 0x47, 0x4d, 0x01, 0x00, 0x00, 0x00, 0x74, 0xa6, 0xe8, 0x57,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66,
    0x00, 0x00, 0x00, 0x00, 0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x4f, 0xe7, 0xb7, 0x1b, 0x12, 0x52, 0xac, 0x02, 0x80, 0xa0, 0xf1, 0xc2, 0xb1, 0x34, 0x00, 0x03,
    0x01, 0x6b, 0x76, 0x61, 0x6c, 0x75, 0x65, 0x00, 0xc4, 0x3b, 0x41, 0x72, 0x06, 0x00, 0x01, 0x00,
    0x00, 0x01, 0x6b, 0x00, 0xd5, 0xc7, 0x07, 0xee, 0x10, 0x01, 0x02, 0x68, 0x00, 0x00, 0x20, 0x00,
    0x00, 0x00, 0x00, 0x01, 0x6b, 0x23, 0x03, 0x00, 0x61, 0x00, 0x00, 0x00,
];

#[test]
fn the_bytes_are_those_of_the_specification() {
    let first = Record { lsn: 300, deadline_ms: 1_800_000_000_000, grid: 5, object: b"\0\x03\x01kvalue" };
    let second = Record { lsn: 1, deadline_ms: NEVER, grid: 0, object: b"\0\0\x01k" };
    // "\0\0\x01k" and a hundred times "a", by hand: what zstd makes of them may differ from version to version.
    let frame = b"\0\0\x20\0\0\0\0\x01k\x23\x03\0a";
    let third = Stored { lsn: 2, deadline_ms: NEVER, grid: 0, raw_bytes: Some(104), bytes: frame };

    let (fs, from) = (disk(14), disk(15));
    let from = writer(&from, None).finish().expect("finishes").segment;
    let mut writer = writer(&fs, None);
    let offsets = [writer.push(&first, None), writer.push(&second, None), writer.push_stored(&third, &from)];
    let segment = writer.finish().expect("finishes").segment;
    assert_eq!(file_bytes(&fs), GOLDEN);

    let mut scratch = Scratch::default();
    assert_eq!(segment.read(offsets[0], &mut scratch).expect("reads"), first);
    assert_eq!(segment.read(offsets[1], &mut scratch).expect("reads"), second);
    let third = segment.read(offsets[2], &mut scratch).expect("reads");
    assert_eq!((third.lsn, third.deadline_ms, third.grid), (2, NEVER, 0));
    assert_eq!(third.object, [&b"\0\0\x01k"[..], &[b'a'; 100]].concat());
}

proptest! {
    #[test]
    fn any_record_comes_back(
        lsn: u64, deadline_ms: u64, grid in 0u16..16, value: Vec<u8>, repeated in 1usize..50, compressed: bool,
        with_dictionary: bool,
    ) {
        let (fs, object) = (disk(0), flat("key", &value.repeat(repeated), None));
        let mut writer = writer(&fs, with_dictionary.then(dictionary));
        let record = Record { lsn, deadline_ms, grid, object: &object };
        let mut compressor = Compressor::new();
        let offset = writer.push(&record, compressed.then_some(&mut compressor));
        let segment = writer.finish().expect("finishes").segment;
        prop_assert_eq!(segment.bytes() % ALIGNMENT, 0);
        let mut scratch = Scratch::default();
        prop_assert_eq!(segment.read(offset, &mut scratch).expect("reads"), record);
    }

    #[test]
    fn any_bytes_are_scanned_and_read_without_a_panic(bytes: Vec<u8>) {
        let (fs, sound) = (disk(0), disk(0));
        writer(&sound, None).finish().expect("finishes");
        let bytes = [&file_bytes(&sound)[..], &bytes].concat();
        put_file(&fs, &bytes);
        let segment = open(&fs, bytes.len() as u64, None).expect("opens");
        for offset in RECORDS_AT..bytes.len() as u64 {
            prop_assert!(segment.read(offset, &mut Scratch::default()).is_err());
        }
        let (records, damaged) = scanned(segment);
        prop_assert!(records.is_empty());
        prop_assert_eq!(damaged.len(), usize::from(bytes.len() as u64 > RECORDS_AT));
    }
}
