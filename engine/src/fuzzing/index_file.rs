//! Index files: snapshots and deltas.

use super::{DATABASE_ID, DIR, Input, disk_with};
use crate::file_header::{self, Fields};
use crate::index_file::{Cuts, IndexEntry, IndexFile, IndexKind, Merge, name};
use sessile_wal::sim::SimFs;
use sessile_wal::{Fs, OpenMode};
use std::collections::BTreeMap;
use std::path::Path;

const MAGIC: [u8; 8] = *b"SESSINDX";
const KIND_AT: usize = 36;
const NUMBER_AT: usize = 40;

/// What a file says of a hash: its entries; none if it is removed.
type Said = BTreeMap<u64, Vec<IndexEntry>>;

/// A snapshot and a delta, of any bytes or of blocks of any content whose checksums match. What is read is in order and within its range, and
/// what the two say together is what the newer one says, else the older one.
pub fn index_file(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let fs = disk_with("nothing", b"");
    let mut files = Vec::new();
    for (number, kind) in [(4, IndexKind::Snapshot), (5, IndexKind::Delta)] {
        let content = match input.byte() {
            0 => {
                let bytes = input.slice(usize::MAX);
                [&header(number, kind), bytes].concat()
            }
            shape => blocks(&mut input, number, kind, shape),
        };
        let path = Path::new(DIR).join(name(number));
        let file = fs.open(&path, OpenMode::Create).expect("in memory");
        file.write_at(&content, 0).expect("in memory");
        match IndexFile::open(&fs, Path::new(DIR), &DATABASE_ID, number, kind, content.len() as u64) {
            Ok(file) => files.push(read(file)),
            Err(_) => refused_otherwise(&fs, number, kind, content.len() as u64),
        }
    }
    merge(&files);
}

fn header(number: u64, kind: IndexKind) -> Vec<u8> {
    let fields = Fields::ZERO.with(KIND_AT, kind.code().to_le_bytes()).with(NUMBER_AT, number.to_le_bytes());
    file_header::encode(MAGIC, &DATABASE_ID, &fields).to_vec()
}

/// A file of another kind or length is refused in any case.
fn refused_otherwise(fs: &SimFs, number: u64, kind: IndexKind, bytes: u64) {
    let other = if kind == IndexKind::Delta { IndexKind::Snapshot } else { IndexKind::Delta };
    assert!(IndexFile::open(fs, Path::new(DIR), &DATABASE_ID, number, other, bytes).is_err());
    assert!(IndexFile::open(fs, Path::new(DIR), &DATABASE_ID, number, kind, bytes + 1).is_err());
}

/// Blocks with checksums as `docs/formats.md` has them: over database, number, offset and what follows.
fn blocks(input: &mut Input<'_>, number: u64, kind: IndexKind, shape: u8) -> Vec<u8> {
    let mut file = header(number, kind);
    let (mut blocks, mut all, mut from) = (0u64, 0u64, 0u64);
    for _ in 0..shape % 6 {
        let odd = input.byte();
        let to = from.saturating_add(input.number());
        let mut hashes: Vec<u64> =
            (0..input.below(20)).map(|_| from.saturating_add(input.number()).min(to)).collect();
        let mut removed: Vec<u64> =
            (0..input.below(5)).map(|_| from.saturating_add(input.number()).min(to)).collect();
        // Some are as no writer has them.
        if odd & 1 == 0 {
            hashes.sort_unstable();
            removed.sort_unstable();
        }
        let mut block = vec![0; 4];
        let claimed = if odd & 0x3E == 0x3E { input.number() as u32 } else { hashes.len() as u32 };
        block.extend_from_slice(&claimed.to_le_bytes());
        block.extend_from_slice(&(removed.len() as u32).to_le_bytes());
        block.extend_from_slice(&[0; 4]);
        block.extend_from_slice(&from.to_le_bytes());
        block.extend_from_slice(&(if odd & 0x7C == 0x7C { input.number() } else { to }).to_le_bytes());
        block.extend_from_slice(&input.number().to_le_bytes());
        block.extend_from_slice(&[0; 8]);
        for hash in &hashes {
            block.extend_from_slice(&hash.to_le_bytes());
            block.extend_from_slice(&input.number().to_le_bytes());
            block.extend_from_slice(&input.long().to_le_bytes());
        }
        removed.iter().for_each(|hash| block.extend_from_slice(&hash.to_le_bytes()));
        seal(&mut file, number, block);
        (blocks, all) = (blocks + 1, all + u64::from(claimed));
        let Some(next) = to.checked_add(1) else { break };
        from = next;
    }
    let mut end = vec![0; 4];
    end.extend_from_slice(&[0xFF; 8]);
    end.extend_from_slice(&[0; 4]);
    end.extend_from_slice(&blocks.to_le_bytes());
    end.extend_from_slice(&all.to_le_bytes());
    end.extend_from_slice(&[0; 16]);
    seal(&mut file, number, end);
    file
}

fn seal(file: &mut Vec<u8>, number: u64, mut block: Vec<u8>) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&DATABASE_ID);
    crc.update(&number.to_le_bytes());
    crc.update(&(file.len() as u64).to_le_bytes());
    crc.update(&block[4..]);
    block[..4].copy_from_slice(&crc.finalize().to_le_bytes());
    file.extend_from_slice(&block);
}

/// Reads every block; `true` if all of them could be.
fn read(file: IndexFile) -> (IndexFile, Said, bool) {
    let (mut said, mut buffer, mut whole) = (Said::new(), Vec::new(), true);
    let cuts = Cuts::of(&file);
    for info in file.blocks() {
        assert_eq!(cuts.cut_of(info.from), Some(info.cut));
        assert_eq!(cuts.cut_of(info.to), Some(info.cut));
        assert_eq!(file.offset_of(info.from), info.offset);
        let Ok(block) = file.read_block(info, &mut buffer) else {
            whole = false;
            continue;
        };
        assert_eq!(block.entries().len(), info.entries as usize);
        let mut last = info.from;
        for entry in block.entries() {
            assert!(last <= entry.hash && entry.hash <= info.to);
            last = entry.hash;
            assert!(
                entry.offset.is_multiple_of(4)
                    && entry.offset < 64 << 20
                    && entry.database < crate::key::INDEX_DATABASES
                    && entry.grid < 16
            );
            assert_eq!(IndexEntry::decode(&entry.encode()), entry);
            said.entry(entry.hash).or_default().push(entry);
        }
        for hash in block.removed() {
            said.entry(hash).or_default();
        }
    }
    (file, said, whole)
}

fn merge(files: &[(IndexFile, Said, bool)]) {
    let mut damaged = 0;
    let mut merged = Said::new();
    let mut merge = Merge::new(files.iter().map(|(file, ..)| file));
    let mut last = None;
    let mut on_damage = |_: usize, _: &_, _| damaged += 1;
    while let Some(mention) = merge.next(&mut on_damage) {
        assert!(last < Some(mention.hash), "hashes come in order, each once");
        last = Some(mention.hash);
        merged.insert(mention.hash, mention.entries.to_vec());
    }
    let mut expected = Said::new();
    for (_, said, _) in files {
        expected.extend(said.clone());
    }
    assert_eq!(merged, expected);
    assert_eq!(damaged > 0, files.iter().any(|(.., whole)| !whole));
}
