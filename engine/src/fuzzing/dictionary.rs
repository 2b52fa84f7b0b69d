//! Dictionaries, and frames that were compressed with them.

use super::{DATABASE_ID, DIR, Input, disk_with};
use crate::compression::Compressor;
use crate::dictionary::{Dictionary, file_name};
use crate::file_header::{self, Fields};
use std::path::Path;

const ID: u32 = 3;
const MAGIC: [u8; 8] = *b"SESSDICT";
/// Where the header has id, length and checksum.
const FIELDS_AT: [usize; 3] = [36, 40, 44];

/// A dictionary's file of any bytes, or with any content behind a sound header; any bytes as a frame; and any content compressed and read back,
/// which is the same.
pub fn dictionary(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mode = input.byte();
    let content = input.slice(4096);
    let file = if mode & 1 == 0 {
        let numbers = [ID, content.len() as u32, crc32fast::hash(content)];
        let fields = FIELDS_AT
            .into_iter()
            .zip(numbers)
            .fold(Fields::ZERO, |fields, (at, number)| fields.with(at, number.to_le_bytes()));
        [&file_header::encode(MAGIC, &DATABASE_ID, &fields)[..], content].concat()
    } else {
        content.to_vec()
    };
    let fs = disk_with(&file_name(ID), &file);
    let dictionary = Dictionary::read(&fs, Path::new(DIR), &DATABASE_ID, ID).ok();
    if let Some(dictionary) = &dictionary {
        assert_eq!((dictionary.id(), dictionary.bytes()), (ID, content));
    }
    let dictionary = dictionary.as_ref();
    let raw_bytes = input.number();
    let (mut compressor, mut out) = (Compressor::new(), Vec::new());
    let frame = input.slice(2000);
    if compressor.decompress(dictionary, frame, raw_bytes, &mut out).is_ok() {
        assert_eq!(out.len() as u64, raw_bytes);
    }
    assert!(out.capacity() <= frame.len() * (32 << 10) + 64);
    let times = usize::from(input.byte()) + 1;
    let object = input.rest().repeat(times.min(40));
    let Some(frame) = compressor.compress(dictionary, &object).map(<[u8]>::to_vec) else { return };
    assert!(frame.len() < object.len());
    compressor.decompress(dictionary, &frame, object.len() as u64, &mut out).expect("made here");
    assert_eq!(out, object);
    assert!(compressor.decompress(dictionary, &frame, object.len() as u64 + 1, &mut out).is_err());
    assert!(compressor.decompress(dictionary, &frame, object.len() as u64 - 1, &mut out).is_err());
}
