//! Segments: reading single records, and walking through one.

use super::{DATABASE_ID, DIR, Input, disk_with};
use crate::dictionary::Dictionary;
use crate::expiry::NEVER;
use crate::file_header::{self, Fields};
use crate::segment::{Found, Record, Scratch, SegmentFile, file_name};
use crate::varint;
use std::path::Path;
use std::sync::Arc;

const ID: u32 = 7;
const DICTIONARY_ID: u32 = 3;
const MAGIC: [u8; 8] = *b"SESSSEGM";
const ID_AT: usize = 36;
const DICTIONARY_ID_AT: usize = 40;
/// No object that is read is longer than this many times the segment: a block of a frame has four bytes or more, and 128 KiB come out of it.
const GROWTH_MAX: usize = 32 << 10;

/// A segment of any bytes behind a sound header, or of records of any content whose checksums match, some of which are damaged afterwards. What a
/// walk finds can be read, and nothing else; the walk comes to the end; damage hides no record behind it; memory is bounded.
pub fn segment(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mode = input.byte();
    let dictionary = (mode & 1 != 0).then(|| Arc::new(sessions_dictionary()));
    let mut file = header(dictionary.as_deref());
    let mut sound = Vec::new();
    if mode & 2 != 0 {
        file.extend_from_slice(input.rest());
    } else {
        while !input.is_empty() && file.len() < 64 << 10 {
            let offset = file.len() as u64;
            let (body, is_ours) = body(&mut input, dictionary.as_deref());
            put_record(&mut file, &body);
            if is_ours {
                sound.push(offset);
            }
        }
    }
    if mode & 4 != 0 && mode & 2 == 0 {
        damage(&mut file, &mut sound, mode >> 4);
    }
    check(&file, dictionary.as_ref(), &sound);
}

fn sessions_dictionary() -> Dictionary {
    let bytes =
        br#"{"user":,"name":"","cookie":{"originalMaxAge":1800000,"httpOnly":true,"path":"/"},"roles":["#;
    Dictionary::new(DICTIONARY_ID, bytes.to_vec()).expect("a dictionary")
}

fn header(dictionary: Option<&Dictionary>) -> Vec<u8> {
    let dictionary_id = dictionary.map_or(0, Dictionary::id);
    let fields =
        Fields::ZERO.with(ID_AT, ID.to_le_bytes()).with(DICTIONARY_ID_AT, dictionary_id.to_le_bytes());
    file_header::encode(MAGIC, &DATABASE_ID, &fields).to_vec()
}

/// A record's body: flags, numbers and an object of some kind, or any bytes; the frame of any object, or any bytes for one. And whether it is
/// like those that a writer writes: others need not be found behind damage.
fn body(input: &mut Input<'_>, dictionary: Option<&Dictionary>) -> (Vec<u8>, bool) {
    let shape = input.byte();
    if shape & 0xC0 == 0xC0 {
        let mut bytes = input.slice(300).to_vec();
        bytes.resize(bytes.len().max(3), 0);
        return (bytes, false);
    }
    let compressed = shape & 1 != 0;
    let deadline_ms = if shape & 2 != 0 { input.number() } else { NEVER };
    let mut body = vec![shape & 0xF3];
    varint::put(&mut body, input.number());
    if deadline_ms != NEVER {
        varint::put(&mut body, deadline_ms);
    } else {
        body[0] &= !2;
    }
    let mut object = super::layout::with_head(input.slice(600));
    if shape & 4 != 0 {
        let times = input.byte();
        (0..times).for_each(|_| object.extend_from_slice(b"the same over and over"));
    }
    body[0] &= !0x0C;
    if !compressed {
        body.extend_from_slice(&object);
        let is_ours = crate::object::layout::check(&object).is_some();
        return (body, is_ours);
    }
    let mut compressor = crate::compression::Compressor::new();
    let frame = compressor.compress(dictionary, &object).map(<[u8]>::to_vec);
    let is_ours = frame.is_some() && shape & 8 == 0 && crate::object::layout::check(&object).is_some();
    let (raw_bytes, frame) = match frame {
        Some(frame) if shape & 8 == 0 => (object.len() as u64, frame),
        _ => (input.number(), input.slice(300).to_vec()),
    };
    varint::put(&mut body, raw_bytes);
    body.extend_from_slice(&frame);
    (body, is_ours)
}

/// As `docs/formats.md` has it: the checksum covers database, segment, offset, length and body.
fn put_record(file: &mut Vec<u8>, body: &[u8]) {
    let offset = file.len() as u64;
    let mut covered = Vec::new();
    varint::put(&mut covered, body.len() as u64);
    covered.extend_from_slice(body);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&DATABASE_ID);
    crc.update(&ID.to_le_bytes());
    crc.update(&offset.to_le_bytes());
    crc.update(&covered);
    file.extend_from_slice(&crc.finalize().to_le_bytes());
    file.extend_from_slice(&covered);
    file.resize(file.len().next_multiple_of(4), 0);
}

/// Changes up to four bytes of one record, which its checksum is sure to notice.
fn damage(file: &mut [u8], sound: &mut Vec<u64>, which: u8) {
    if sound.is_empty() {
        return;
    }
    let victim = usize::from(which) % sound.len();
    // Its checksum: whatever becomes of it, the record no longer has it.
    let at = sound.remove(victim) as usize;
    file[at + usize::from(which & 3)] ^= which | 1;
}

fn check(file: &[u8], dictionary: Option<&Arc<Dictionary>>, sound: &[u64]) {
    let fs = disk_with(&file_name(ID), file);
    let length = file.len() as u64;
    let open = || SegmentFile::open(&fs, Path::new(DIR), &DATABASE_ID, ID, length, |_| dictionary.cloned());
    let segment = Arc::new(open().expect("the header is sound"));
    let (mut scratch, mut scan) = (Scratch::default(), segment.scan());
    let (mut found, mut covered) = (Vec::new(), file_header::BYTES as u64);
    loop {
        match scan.next().expect("a disk that reads") {
            None => break,
            Some(Found::Record { offset, bytes, stored }) => {
                assert_eq!(offset, covered);
                covered += bytes;
                let mut out = Vec::new();
                let record = stored.record(segment.dictionary(), &mut scratch.compressor, &mut out);
                found.push((offset, record.map(owned).ok()));
            }
            Some(Found::Damaged { offset, bytes, .. }) => {
                // Padding that is not zero is told of behind its record.
                if offset >= covered {
                    assert_eq!(offset, covered);
                    covered += bytes;
                }
            }
        }
    }
    assert_eq!((covered, scan.offset()), (length, length));
    for (offset, record) in &found {
        let read = segment.read(*offset, &mut scratch).map(owned).ok();
        assert_eq!(read, *record, "at {offset}");
    }
    for offset in sound {
        assert!(
            found.iter().any(|(at, _)| at == offset),
            "the record at {offset} is sound and was not found"
        );
    }
    // A place where no record is: an error, unless somebody who knows the database's id has forged one there, as a fuzzer does in time.
    for at in file_header::BYTES as u64..length.min(2000) {
        let _ = segment.read(at, &mut scratch).map(owned);
    }
    assert!(scratch.object.capacity() <= file.len().saturating_mul(GROWTH_MAX));
    let mut scan = segment.scan().over_unreadable();
    while scan.next().expect("a disk that reads").is_some() {}
}

fn owned(record: Record<'_>) -> (u64, u64, u16, Vec<u8>) {
    super::layout::layout(record.object);
    (record.lsn, record.deadline_ms, record.grid, record.object.to_vec())
}
