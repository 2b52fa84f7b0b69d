//! Index files on the simulated disk: what was written comes back, and damage is named.

use super::writer::Finished;
use super::*;
use crate::Error;
use proptest::prelude::*;
use sessile_wal::sim::SimFs;
use sessile_wal::{Fs, OpenMode};
use std::path::{Path, PathBuf};

const ID: [u8; 16] = *b"0123456789abcdef";
const NUMBER: u64 = 7;

fn dir() -> &'static Path {
    Path::new("/db")
}

fn path() -> PathBuf {
    dir().join(name(NUMBER))
}

fn new_fs() -> SimFs {
    let fs = SimFs::new(1);
    fs.create_dir_all(dir()).expect("creates");
    fs
}

fn entry(hash: u64) -> IndexEntry {
    let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    IndexEntry {
        hash,
        deadline_ms: if mixed & 1 == 0 { u64::MAX } else { mixed >> 20 },
        segment: mixed as u32 & 0x7FFF_FFFF,
        offset: mixed % (64 << 20) / 4 * 4,
        database: (mixed >> 7 & 31) as u8 % 20,
        grid: (mixed >> 11 & 15) as u16,
    }
}

/// A range with its entries' and removed hashes, and its cut.
#[derive(Clone, Debug)]
struct Content {
    from: u64,
    to: u64,
    cut: u64,
    entries: Vec<IndexEntry>,
    removed: Vec<u64>,
}

fn write(fs: &SimFs, kind: IndexKind, contents: &[Content]) -> Result<Finished, Error> {
    let mut writer = IndexWriter::create(fs, dir(), ID, NUMBER, kind)?;
    for content in contents {
        let Content { from, to, cut, entries, removed } = content;
        writer.block(*from, *to, *cut, &mut entries.clone(), &mut removed.clone());
        if writer.wants_write() {
            writer.write()?;
        }
    }
    writer.finish()
}

fn open(fs: &SimFs, kind: IndexKind, bytes: u64) -> Result<IndexFile, Error> {
    IndexFile::open(fs, dir(), &ID, NUMBER, kind, bytes)
}

fn read(fs: &SimFs, kind: IndexKind, bytes: u64) -> Result<Vec<Content>, Error> {
    let file = open(fs, kind, bytes)?;
    let mut buffer = Vec::new();
    let mut contents = Vec::new();
    for info in file.blocks() {
        let block = file.read_block(info, &mut buffer)?;
        contents.push(Content {
            from: info.from,
            to: info.to,
            cut: info.cut,
            entries: block.entries().collect(),
            removed: block.removed().collect(),
        });
    }
    Ok(contents)
}

fn assert_same(mut written: Vec<Content>, read: &[Content]) {
    assert_eq!(written.len(), read.len());
    for (written, read) in written.iter_mut().zip(read) {
        written.entries.sort_by_key(|entry| entry.hash);
        written.removed.sort_unstable();
        assert_eq!((written.from, written.to, written.cut), (read.from, read.to, read.cut));
        assert_eq!(written.removed, read.removed);
        let sort = |entries: &[IndexEntry]| {
            let mut entries = entries.to_vec();
            entries.sort_by_key(|entry| (entry.hash, entry.encode()));
            entries
        };
        assert!(read.entries.is_sorted_by_key(|entry| entry.hash));
        assert_eq!(sort(&written.entries), sort(&read.entries));
    }
}

fn some() -> Vec<Content> {
    vec![
        Content {
            from: 0,
            to: 999,
            cut: 5000,
            entries: [400, 3, 3, 999].map(entry).to_vec(),
            removed: vec![8, 0],
        },
        Content { from: 1000, to: 1999, cut: 6000, entries: Vec::new(), removed: Vec::new() },
        Content {
            from: 5000,
            to: u64::MAX,
            cut: 7000,
            entries: vec![entry(u64::MAX), entry(5000)],
            removed: vec![u64::MAX - 1],
        },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_written_comes_back_after_a_power_cut(
        mut bounds in prop::collection::vec(any::<u64>(), 0..24),
        hashes in prop::collection::vec(any::<u64>(), 0..400),
        removed in prop::collection::vec(any::<u64>(), 0..50),
        delta: bool,
    ) {
        bounds.sort_unstable();
        bounds.dedup();
        bounds.truncate(bounds.len() / 2 * 2);
        let contents: Vec<Content> = bounds
            .chunks_exact(2)
            .map(|range| {
                let (from, to) = (range[0], range[1]);
                let within = |hash: &&u64| (from..=to).contains(*hash);
                Content {
                    from,
                    to,
                    cut: from ^ to,
                    entries: hashes.iter().filter(within).map(|hash| entry(*hash)).collect(),
                    removed: removed.iter().filter(within).copied().collect(),
                }
            })
            .collect();
        let fs = new_fs();
        let kind = if delta { IndexKind::Delta } else { IndexKind::Snapshot };
        let finished = write(&fs, kind, &contents).expect("writes");
        fs.sync_dir(dir()).expect("syncs");
        fs.crash();
        let entries: usize = contents.iter().map(|content| content.entries.len()).sum();
        prop_assert_eq!(finished.entries, entries as u64);
        let file = open(&fs, kind, finished.bytes).expect("opens");
        prop_assert_eq!(file.entries(), finished.entries);
        let cuts = Cuts::of(&file);
        for content in &contents {
            for hash in [content.from, content.to, content.from + (content.to - content.from) / 2] {
                prop_assert_eq!(cuts.cut_of(hash), Some(content.cut));
            }
        }
        for hash in hashes {
            let expected = contents.iter().find(|c| c.from <= hash && hash <= c.to).map(|c| c.cut);
            prop_assert_eq!(cuts.cut_of(hash), expected);
        }
        assert_same(contents, &read(&fs, kind, finished.bytes).expect("is sound"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn together_files_say_what_the_newest_one_says_of_each_hash(
        files in prop::collection::vec(
            (prop::collection::vec(0u64..60, 0..40), prop::collection::vec(0u64..60, 0..10), 1u64..30),
            1..5,
        ),
    ) {
        let fs = new_fs();
        let mut expected = std::collections::BTreeMap::new();
        let mut opened = Vec::new();
        for (number, (hashes, removed, step)) in files.into_iter().enumerate() {
            let mut writer =
                IndexWriter::create(&fs, dir(), ID, number as u64, IndexKind::Delta).expect("creates");
            for from in (0..60).step_by(step as usize) {
                let to = (from + step).min(60) - 1;
                let own = |hash: &u64| (from..=to).contains(hash);
                let mut entries: Vec<IndexEntry> = hashes.iter().filter(|hash| own(hash)).map(|hash| entry(*hash)).collect();
                entries.iter_mut().for_each(|entry| entry.segment = number as u32);
                let mut removed: Vec<u64> = removed.iter().copied().filter(own).collect();
                writer.block(from, to, 1, &mut entries, &mut removed);
            }
            let finished = writer.finish().expect("writes");
            expected.extend(removed.iter().map(|hash| (*hash, (number, 0))));
            for hash in &hashes {
                expected.insert(*hash, (number, hashes.iter().filter(|other| *other == hash).count()));
            }
            opened.push(
                IndexFile::open(&fs, dir(), &ID, number as u64, IndexKind::Delta, finished.bytes).expect("opens"),
            );
        }
        let mut merge = Merge::new(&opened);
        let mut seen = Vec::new();
        while let Some(mention) = merge.next(&mut |_, _, error| panic!("{error}")) {
            for entry in mention.entries {
                assert_eq!((entry.hash, entry.segment), (mention.hash, mention.file as u32));
            }
            seen.push((mention.hash, (mention.file, mention.entries.len())));
        }
        prop_assert_eq!(seen, expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_damaged_block_is_told_of_and_left_out() {
    let fs = new_fs();
    let finished = write(&fs, IndexKind::Snapshot, &some()).expect("writes");
    let file = open(&fs, IndexKind::Snapshot, finished.bytes).expect("opens");
    assert!(fs.flip_bit(&path(), 64 + 48 + 3, 0));
    let mut damaged = Vec::new();
    let mut merge = Merge::new([&file]);
    let mut seen = Vec::new();
    while let Some(mention) =
        merge.next(&mut |file, info, error| damaged.push((file, info.from, error.to_string())))
    {
        seen.push((mention.hash, mention.entries.len()));
    }
    assert_eq!(seen, [(5000, 1), (u64::MAX - 1, 0), (u64::MAX, 1)]);
    assert_eq!(damaged.len(), 1);
    assert!(damaged[0].0 == 0 && damaged[0].1 == 0 && damaged[0].2.contains("idx is damaged at offset 64"));
}

#[test]
fn a_block_larger_than_the_buffer_comes_back() {
    let fs = new_fs();
    let entries: Vec<IndexEntry> = (0..60_000).rev().map(entry).collect();
    let contents = [
        Content { from: 0, to: 1 << 20, cut: 1, entries: entries.clone(), removed: Vec::new() },
        Content { from: 1 << 21, to: 1 << 22, cut: 2, entries: Vec::new(), removed: vec![1 << 21] },
    ];
    let finished = write(&fs, IndexKind::Snapshot, &contents).expect("writes");
    assert_eq!(finished.bytes, 64 + 48 + 60_000 * 24 + 48 + 8 + 48);
    assert_same(contents.to_vec(), &read(&fs, IndexKind::Snapshot, finished.bytes).expect("is sound"));
}

#[test]
fn any_flipped_bit_is_an_error_that_names_the_file() {
    let fs = new_fs();
    let finished = write(&fs, IndexKind::Delta, &some()).expect("writes");
    for bit in 0..finished.bytes * 8 {
        let fs = fs.fork(bit);
        assert!(fs.flip_bit(&path(), bit / 8, (bit % 8) as u8));
        match read(&fs, IndexKind::Delta, finished.bytes) {
            Err(Error::DamagedFile { path: found, offset, .. }) => {
                assert_eq!(found, path());
                assert!(offset <= finished.bytes, "bit {bit}: offset {offset}");
            }
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn a_file_of_another_length_kind_number_or_database_is_refused() {
    let fs = new_fs();
    let finished = write(&fs, IndexKind::Delta, &some()).expect("writes");
    for length in (0..finished.bytes).chain([finished.bytes + 1, finished.bytes + 48]) {
        let fs = fs.fork(length);
        let file = fs.open(&path(), OpenMode::ReadWrite).expect("is there");
        file.set_len(length).expect("sets");
        let error = open(&fs, IndexKind::Delta, finished.bytes).err().expect("is refused");
        assert!(matches!(&error, Error::DamagedFile { path: found, .. } if *found == path()), "{error}");
        // Even if the manifest agreed.
        assert!(open(&fs, IndexKind::Delta, length).is_err(), "{length}");
    }
    assert!(matches!(
        open(&fs, IndexKind::Snapshot, finished.bytes),
        Err(Error::DamagedFile { offset: 36, .. })
    ));
    let other = IndexFile::open(&fs, dir(), &[9; 16], NUMBER, IndexKind::Delta, finished.bytes);
    assert!(matches!(other, Err(Error::DamagedFile { offset: 16, .. })));
    fs.rename(&path(), &dir().join(name(8))).expect("renames");
    let other = IndexFile::open(&fs, dir(), &ID, 8, IndexKind::Delta, finished.bytes);
    assert!(matches!(other, Err(Error::DamagedFile { offset: 40, .. })));
    let missing = open(&fs, IndexKind::Delta, finished.bytes);
    assert!(matches!(missing, Err(Error::MissingFile { path: found }) if found == path()));
}

#[test]
fn a_leftover_of_the_same_name_is_replaced() {
    let fs = new_fs();
    write(&fs, IndexKind::Snapshot, &some()).expect("writes");
    let finished = write(&fs, IndexKind::Delta, &some()[1..2]).expect("writes");
    assert_eq!((finished.bytes, finished.entries), (64 + 48 + 48, 0));
    assert_same(some()[1..2].to_vec(), &read(&fs, IndexKind::Delta, finished.bytes).expect("is sound"));
}

#[test]
fn a_file_without_an_end_block_is_refused() {
    let fs = new_fs();
    let mut writer = IndexWriter::create(&fs, dir(), ID, NUMBER, IndexKind::Snapshot).expect("creates");
    writer.block(0, 9, 1, &mut [entry(1)], &mut []);
    writer.write().expect("writes");
    drop(writer);
    assert!(matches!(open(&fs, IndexKind::Snapshot, 64 + 48 + 24), Err(Error::DamagedFile { .. })));
}

#[test]
fn names_go_both_ways() {
    for number in [0, 77, u64::MAX] {
        assert_eq!(parse_name(&name(number)), Some(number));
    }
    for other in ["index-7.idx", "index-00000000000000AB.idx", "index-.idx", "seg-00000001.seg"] {
        assert_eq!(parse_name(other), None, "{other}");
    }
}

#[test]
fn the_format_holds_still() {
    let fs = new_fs();
    let entry = IndexEntry {
        hash: 0x0102_0304_0506_0708,
        deadline_ms: 0x1112_1314_1516_1718,
        segment: 0x2122_2324,
        offset: 0x31_3233 * 4,
        database: 0xA,
        grid: 0xB,
    };
    let content = Content {
        from: 1,
        to: u64::MAX,
        cut: 0x4142_4344_4546_4748,
        entries: vec![entry],
        removed: vec![0x5152_5354_5556_5758],
    };
    let finished = write(&fs, IndexKind::Delta, &[content]).expect("writes");
    let mut bytes = vec![0; finished.bytes as usize];
    fs.open(&path(), OpenMode::Read).expect("is there").read_at(&mut bytes, 0).expect("reads");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<&str> =
        hex.as_bytes().chunks(32).map(|line| std::str::from_utf8(line).expect("hex")).collect();
    assert_eq!(
        lines,
        [
            "53455353494e4458010000006659c781", // SESSINDX, version, checksum
            "30313233343536373839616263646566", // database
            "00000000010000000700000000000000", // key, kind, number
            "00000000000000000000000000000000",
            "ab82ead6010000000100000000000000", // block: checksum, entries, removed, zero
            "0100000000000000ffffffffffffffff", // from, to
            "48474645444342410000000000000000", // cut, zero
            "08070605040302011817161514131211", // hash, deadline
            "24232221333231ba5857565554535251", // place; removed
            "24a45c2bffffffffffffffff00000000", // end block: checksum, END, END, zero
            "01000000000000000100000000000000", // blocks, entries
            "00000000000000000000000000000000",
        ]
    );
}

/// `cargo test --release -p sessile --lib index_file -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, on the real disk"]
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn how_long_five_million_entries_take() {
    const ENTRIES: u64 = 5_000_000;
    const BLOCK: u64 = 1280;
    const THREADS: usize = 4;
    let directory = tempfile::tempdir().expect("makes");
    let fs = sessile_wal::RealFs;
    let mut writer =
        IndexWriter::create(&fs, directory.path(), ID, NUMBER, IndexKind::Snapshot).expect("creates");
    let step = u64::MAX / ENTRIES;
    let begun = std::time::Instant::now();
    for block in 0..ENTRIES / BLOCK {
        let first = block * BLOCK;
        let mut entries: Vec<IndexEntry> =
            (first..first + BLOCK).map(|number| entry(number * step)).collect();
        writer.block(first * step, (first + BLOCK) * step - 1, 1, &mut entries, &mut []);
        if writer.wants_write() {
            writer.write().expect("writes");
        }
    }
    let finished = writer.finish().expect("finishes");
    println!("written in {:?}, synced", begun.elapsed());
    let begun = std::time::Instant::now();
    let file = IndexFile::open(&fs, directory.path(), &ID, NUMBER, IndexKind::Snapshot, finished.bytes);
    let file = file.expect("opens");
    let opened = begun.elapsed();
    let share = file.blocks().len().div_ceil(THREADS);
    let sum: u64 = std::thread::scope(|scope| {
        let read = |blocks: &[BlockInfo]| {
            let (mut buffer, mut sum) = (Vec::new(), 0u64);
            for info in blocks {
                let block = file.read_block(info, &mut buffer).expect("is sound");
                sum = block
                    .entries()
                    .fold(sum, |sum, entry| sum.wrapping_add(entry.deadline_ms ^ entry.offset));
            }
            sum
        };
        let threads: Vec<_> =
            file.blocks().chunks(share).map(|blocks| scope.spawn(move || read(blocks))).collect();
        threads.into_iter().map(|thread| thread.join().expect("ends")).fold(0, u64::wrapping_add)
    });
    println!(
        "opened in {opened:?}, {} entries read in {:?} ({sum:x})",
        finished.entries,
        begun.elapsed() - opened
    );
}

#[test]
fn an_entry_of_an_internal_database_has_its_fifth_bit_above_the_segment() {
    let entry = IndexEntry {
        hash: 1,
        deadline_ms: 2,
        segment: 0x7FFF_FFFE,
        offset: 0x31_3233 * 4,
        database: 0x13,
        grid: 0xB,
    };
    let bytes = entry.encode();
    assert_eq!(bytes[16..], [0xFE, 0xFF, 0xFF, 0xFF, 0x33, 0x32, 0x31, 0xB3]);
    assert_eq!(IndexEntry::decode(&bytes), entry);
}
