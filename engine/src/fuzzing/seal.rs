//! Files whose checksums are put right again after somebody has changed them, so that what is behind the checksums is looked at. Written from
//! `docs/formats.md`, not from the code that it is to test.

use super::sealed_manifest;

const HEADER_BYTES: usize = 64;
const BLOCK_HEADER_BYTES: usize = 48;

/// The file of that name with the checksums that it should have, as far as its lengths lead.
pub fn sealed(name: &str, bytes: &[u8]) -> Vec<u8> {
    if name == "MANIFEST" {
        return sealed_manifest(bytes);
    }
    let mut bytes = bytes.to_vec();
    if bytes.len() < HEADER_BYTES || name.ends_with(".log") {
        return bytes;
    }
    let id: [u8; 16] = std::array::from_fn(|at| bytes[16 + at]);
    if name.ends_with(".zdict") {
        let checksum = crc32fast::hash(&bytes[HEADER_BYTES..]).to_le_bytes();
        bytes[44..48].copy_from_slice(&checksum);
    }
    let header = crc(&[&bytes[..12], &bytes[16..HEADER_BYTES]]);
    bytes[12..16].copy_from_slice(&header);
    if name.ends_with(".seg") {
        records(&mut bytes, &id);
    } else if name.ends_with(".idx") {
        blocks(&mut bytes, &id);
    }
    bytes
}

fn crc(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}

fn records(bytes: &mut [u8], id: &[u8; 16]) {
    let segment: [u8; 4] = std::array::from_fn(|at| bytes[36 + at]);
    let mut at = HEADER_BYTES;
    while let Some((length, used)) = bytes.get(at + 4..).and_then(crate::varint::get) {
        let Some(end) = usize::try_from(length).ok().and_then(|length| (at + 4 + used).checked_add(length))
        else {
            return;
        };
        if end > bytes.len() || length == 0 {
            return;
        }
        let checksum = crc(&[id, &segment, &(at as u64).to_le_bytes(), &bytes[at + 4..end]]);
        bytes[at..at + 4].copy_from_slice(&checksum);
        at = end.next_multiple_of(4);
    }
}

fn blocks(bytes: &mut [u8], id: &[u8; 16]) {
    let number: [u8; 8] = std::array::from_fn(|at| bytes[40 + at]);
    let mut at = HEADER_BYTES;
    while at + BLOCK_HEADER_BYTES <= bytes.len() {
        let count = |from: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + from + byte]));
        let is_end = count(4) == u32::MAX && count(8) == u32::MAX;
        let elements = if is_end { 0 } else { u64::from(count(4)) * 24 + u64::from(count(8)) * 8 };
        let Some(end) = usize::try_from(elements)
            .ok()
            .and_then(|elements| (at + BLOCK_HEADER_BYTES).checked_add(elements))
        else {
            return;
        };
        if end > bytes.len() {
            return;
        }
        let checksum = crc(&[id, &number, &(at as u64).to_le_bytes(), &bytes[at + 4..end]]);
        bytes[at..at + 4].copy_from_slice(&checksum);
        at = end;
    }
}

/// The manifest of version 4 without the stamps by which files are known: then any file of the right name and length is taken for the one that is
/// listed, as it was before there were stamps.
pub fn unstamped(manifest: &[u8]) -> Vec<u8> {
    let mut bytes = manifest.to_vec();
    if bytes.len() < 104 || bytes[8] != 4 {
        return bytes;
    }
    let count =
        |from: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[60 + from + byte])) as usize;
    let counts = [count(88), count(92), count(96)];
    // The checksum of the log's batch, and whether anything is known of the side file.
    let mut stamps = vec![60 + 56, 60 + 60];
    let mut at = 60 + 100;
    for (number, bytes_each) in counts.into_iter().zip([12, 32, 32]) {
        for _ in 0..number.min(10_000) {
            at += bytes_each;
            stamps.push(at - 4);
        }
    }
    for stamp in stamps {
        if let Some(stamp) = bytes.get_mut(stamp..stamp + 4) {
            stamp.fill(0);
        }
    }
    sealed_manifest(&bytes)
}
