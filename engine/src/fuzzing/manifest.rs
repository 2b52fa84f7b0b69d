//! The manifest.

use super::{DIR, disk_with};
use crate::manifest::{Manifest, NAME};
use std::path::Path;

/// Where `docs/formats.md` has the magic number's end, the body's length, and the body.
const MAGIC: &[u8; 8] = b"SESSMANI";
const LENGTH_AT: usize = 56;
const BODY_AT: usize = 60;
const CHECKSUM_BYTES: usize = 4;

/// Any bytes as a manifest: what is read is written so that the same is read.
pub fn manifest(bytes: &[u8]) {
    let fs = disk_with(NAME, bytes);
    let Ok(Some(manifest)) = Manifest::read(&fs, Path::new(DIR)) else { return };
    manifest.write(&fs, Path::new(DIR)).expect("in memory");
    let again = Manifest::read(&fs, Path::new(DIR)).expect("just written");
    assert_eq!(again, Some(manifest));
}

/// The bytes with the magic number, length and checksum that they should have, so that the rest is looked at.
pub fn sealed_manifest(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().max(BODY_AT + CHECKSUM_BYTES), 0);
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    let end = bytes.len() - CHECKSUM_BYTES;
    bytes[LENGTH_AT..BODY_AT].copy_from_slice(&((end - BODY_AT) as u32).to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}
