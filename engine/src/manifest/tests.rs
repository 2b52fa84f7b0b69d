//! Manifests: what was written comes back, damage and contradictions are refused.

use super::*;
use proptest::prelude::*;
use sessile_wal::sim::SimFs;
use sessile_wal::{OpenMode, RealFs};

fn some() -> Manifest {
    Manifest {
        database_id: *b"0123456789abcdef",
        hash_key: *b"ghijklmnopqrstuv",
        created_ms: 1_795_000_000_000,
        side_files: Some([SideFileInfo { stamp: 55, next: 44 }, SideFileInfo { stamp: 0, next: 33 }]),
        checkpoint: Checkpoint {
            number: 3,
            log_from: 70_000,
            log_reached: 80_000,
            log_checksum: 66,
            time_ms: 1_795_000_500_000,
            wall_ms: 1_795_000_500_001,
            databases: DatabaseMap::IDENTITY.swapped(0, 15),
            databases_at: 79_000,
            next_segment: 12,
            next_index: 9,
            next_dictionary: 6,
            dictionaries: vec![
                DictionaryInfo { id: 2, bytes: 16_384, stamp: 77 },
                DictionaryInfo { id: 5, bytes: 100, stamp: u32::MAX },
            ],
            segments: vec![
                SegmentInfo { id: 0, dictionary: 0, bytes: 64, records: 0, dies_ms: 0, stamp: 1 },
                SegmentInfo {
                    id: 11,
                    dictionary: 5,
                    bytes: 64 << 20,
                    records: 9,
                    dies_ms: u64::MAX,
                    stamp: 0,
                },
            ],
            index_files: vec![
                IndexFileInfo { number: 7, kind: IndexKind::Snapshot, bytes: 500, entries: 8, stamp: 88 },
                IndexFileInfo { number: 8, kind: IndexKind::Delta, bytes: 600, entries: 1, stamp: 99 },
            ],
        },
    }
}

fn decode(bytes: &[u8]) -> Result<Manifest, Error> {
    Manifest::decode(bytes, Path::new("dir/M"))
}

fn encode(manifest: &Manifest) -> Vec<u8> {
    manifest.encode().expect("is short enough")
}

/// What the build before this one wrote.
fn bare() -> Vec<u8> {
    let mut bytes = b"SESSMANI\x01\0\0\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(b"0123456789abcdefghijklmnopqrstuv");
    bytes.extend_from_slice(&1_795_000_000_000u64.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

#[test]
fn comes_back() {
    let fs = SimFs::new(1);
    let dir = Path::new("/db");
    fs.create_dir_all(dir).expect("creates");
    assert_eq!(Manifest::read(&fs, dir).expect("reads"), None);
    let mut large = some();
    large.checkpoint.next_segment = 40_000;
    large.checkpoint.segments = (0..30_000)
        .map(|id| SegmentInfo { id, dictionary: 2, bytes: 1, records: 1, dies_ms: 7, stamp: 3 })
        .collect();
    let new = Manifest::generate(5).expect("has random bytes");
    for manifest in [new, some(), large, some()] {
        manifest.write(&fs, dir).expect("writes");
        fs.crash();
        assert_eq!(Manifest::read(&fs, dir).expect("is sound"), Some(manifest));
    }
}

#[test]
fn one_of_the_version_before_has_no_checkpoint() {
    let expected = Manifest { checkpoint: Checkpoint::none(), side_files: None, ..some() };
    assert_eq!(decode(&bare()).expect("is sound"), expected);
}

/// The bytes that a build of version 2 or 3 has written for a manifest.
fn without_stamps(manifest: &Manifest, version: u8) -> Vec<u8> {
    let new = encode(manifest);
    let count = |at: usize| u32::from_le_bytes(new[at..at + 4].try_into().expect("four bytes")) as usize;
    // Behind the length of the body, five numbers and the map, there are six numbers of the stamps, and behind the counts the lists.
    let (map, stamps, counts, lists) = (60 + 40, 60 + 56, 60 + 96, 60 + 108);
    let mut old = new[..if version == 2 { map } else { stamps }].to_vec();
    old.extend_from_slice(&new[stamps + 24..lists]);
    let mut at = lists;
    for (number, bytes) in [(count(counts), 12), (count(counts + 4), 32), (count(counts + 8), 32)] {
        for _ in 0..number {
            old.extend_from_slice(&new[at..at + bytes - 4]);
            at += bytes;
        }
    }
    old[8] = version;
    let body = (old.len() - 60) as u32;
    old[56..60].copy_from_slice(&body.to_le_bytes());
    old.extend_from_slice(&crc32fast::hash(&old).to_le_bytes());
    old
}

/// What is left of a manifest in such bytes.
fn unstamped(mut manifest: Manifest) -> Manifest {
    manifest.side_files = None;
    let it = &mut manifest.checkpoint;
    it.log_checksum = 0;
    it.dictionaries.iter_mut().for_each(|dictionary| dictionary.stamp = 0);
    it.segments.iter_mut().for_each(|segment| segment.stamp = 0);
    it.index_files.iter_mut().for_each(|file| file.stamp = 0);
    manifest
}

#[test]
fn one_of_the_version_before_that_had_no_stamps() {
    assert_eq!(decode(&without_stamps(&some(), 3)).expect("is sound"), unstamped(some()));
}

#[test]
fn one_of_the_version_before_that_had_no_map_of_databases_has_each_its_own() {
    let bytes = without_stamps(&some(), 2);
    let mut expected = unstamped(some());
    expected.checkpoint.databases = DatabaseMap::IDENTITY;
    expected.checkpoint.databases_at = 0;
    assert_eq!(decode(&bytes).expect("is sound"), expected);
}

#[test]
fn any_flipped_bit_or_missing_byte_is_an_error_that_names_the_file() {
    for bytes in [bare(), without_stamps(&some(), 2), without_stamps(&some(), 3), encode(&some())] {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = decode(&flipped).expect_err("damaged");
            assert!(error.to_string().starts_with("dir/M "), "{error}");
        }
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn contradictions_are_refused_though_the_checksum_matches() {
    type Change = fn(&mut Checkpoint);
    let changes: [Change; 12] = [
        |it| it.log_from = it.log_reached + 1,
        |it| it.next_segment = 11,
        |it| it.next_index = 8,
        |it| it.next_dictionary = 5,
        |it| it.dictionaries.swap(0, 1),
        |it| it.dictionaries[0].id = 0,
        |it| it.dictionaries.truncate(1),
        |it| it.segments.swap(0, 1),
        |it| it.segments[0] = it.segments[1],
        |it| it.index_files.swap(0, 1),
        |it| it.index_files[1].kind = IndexKind::Snapshot,
        |it| it.index_files[0].kind = IndexKind::Delta,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut manifest = some();
        change(&mut manifest.checkpoint);
        let error = decode(&encode(&manifest)).expect_err("contradicts itself");
        assert!(matches!(error, Error::DamagedManifest { offset: 60, .. }), "change {index}: {error}");
    }
}

#[test]
fn a_length_beyond_the_limit_is_neither_written_nor_read() {
    let mut manifest = some();
    manifest.checkpoint.next_segment = u32::MAX;
    manifest.checkpoint.segments = (0..(64 << 20) / 28)
        .map(|id| SegmentInfo { id, dictionary: 0, bytes: 1, records: 1, dies_ms: 7, stamp: 3 })
        .collect();
    assert!(manifest.encode().is_none());
    let fs = SimFs::new(1);
    let dir = Path::new("/db");
    fs.create_dir_all(dir).expect("creates");
    let file = fs.open(&dir.join(NAME), OpenMode::Create).expect("creates");
    file.set_len((64 << 20) + 65).expect("grows");
    assert!(matches!(Manifest::read(&fs, dir), Err(Error::DamagedManifest { .. })));
}

proptest! {
    #[test]
    fn any_body_that_its_checksum_vouches_for_is_taken_without_a_panic(
        body in prop::collection::vec(any::<u8>(), 100..260),
        counts in prop::array::uniform3(0u8..4),
    ) {
        let mut body = body;
        for (index, count) in counts.into_iter().enumerate() {
            body[88 + index * 4..92 + index * 4].copy_from_slice(&[count, 0, 0, 0]);
        }
        // Whether the side file is known.
        body[60..64].copy_from_slice(&[1, 0, 0, 0]);
        let mut bytes = encode(&some())[..56].to_vec();
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        if let Ok(manifest) = decode(&bytes) {
            prop_assert_eq!(encode(&manifest), bytes);
        }
    }
}

/// Found by the simulation (seeds 7026033, 7016716 at 9efffca): where a directory's sync has failed in part, the new name of a manifest may have
/// come to the disk before the old one was gone. The next manifest was written over both.
#[test]
fn a_manifest_that_has_its_temporary_name_still_is_not_written_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let (first, second) = (some(), Manifest::generate(5).expect("has random bytes"));
    first.write(&RealFs, dir).expect("writes");
    std::fs::hard_link(dir.join(NAME), dir.join(TEMPORARY_NAME)).expect("links");
    let in_force = RealFs.open(&dir.join(NAME), OpenMode::Read).expect("opens");
    second.write(&RealFs, dir).expect("writes");
    let mut bytes = vec![0; in_force.len().expect("has a length") as usize];
    in_force.read_at(&mut bytes, 0).expect("reads");
    assert_eq!(decode(&bytes).expect("is sound"), first);
    assert_eq!(Manifest::read(&RealFs, dir).expect("reads"), Some(second));
}
