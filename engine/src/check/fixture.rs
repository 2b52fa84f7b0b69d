//! A data directory made by hand, with one of everything: for the tests of check, inventory and repair.

use crate::change::Change;
use crate::compression::Compressor;
use crate::databases::DatabaseMap;
use crate::dictionary::Dictionary;
use crate::expiry::NEVER;
use crate::index_file::{self, IndexEntry, IndexKind, IndexWriter};
use crate::key::KeyHasher;
use crate::manifest::{Checkpoint, DictionaryInfo, IndexFileInfo, Manifest, SegmentInfo};
use crate::object::layout;
use crate::record::{Name, Operation};
use crate::segment::{self, Record, SegmentWriter, samples};
use sessile_wal::sim::{SimClock, SimFs};
use sessile_wal::{Fs, Lsn, OpenMode, Wal, WalOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const DATABASE_ID: [u8; 16] = *b"0123456789abcdef";
pub(super) const HASH_KEY: [u8; 16] = *b"ghijklmnopqrstuv";
/// The clock of the last checkpoint.
pub(super) const CHECKPOINT_MS: u64 = 1_800_000_000_000;
/// Sessions 0 to 99 have been written.
pub(super) const SESSIONS: u64 = 100;

/// Deleted before the checkpoint; written again before it; touched before it.
pub(super) const REMOVED: u64 = 5;
pub(super) const REWRITTEN: u64 = 6;
pub(super) const TOUCHED: u64 = 7;
/// Died before the checkpoint, in a segment that is gone.
pub(super) const DEAD: u64 = 10;
/// Of the log behind it: touched, deleted, written for the first time and copied, changed in place.
pub(super) const TAIL_TOUCHED: u64 = 8;
pub(super) const TAIL_REMOVED: u64 = 9;
pub(super) const TAIL_NEW: u64 = 1000;
pub(super) const TAIL_CHANGED: u64 = 11;
/// Never dies.
pub(super) const LASTING: u64 = 13;

pub(super) fn dir() -> &'static Path {
    Path::new("/db")
}

/// A directory and what it means.
pub(super) struct Fixture {
    pub(super) fs: SimFs,
    /// Flat objects with their deadlines, by database and key, after the log's tail.
    pub(super) expected: BTreeMap<(u8, Vec<u8>), (Vec<u8>, u64)>,
    pub(super) manifest: Manifest,
}

pub(super) fn deadline_ms(session: u64) -> u64 {
    match session {
        LASTING => NEVER,
        DEAD => CHECKPOINT_MS - 1,
        _ => CHECKPOINT_MS + 1_000_000 + session * 1000,
    }
}

/// The flat form of a session, or of its next version.
pub(super) fn session(number: u64, version: u8) -> Vec<u8> {
    let mut flat = samples::session(number);
    if version > 0 {
        flat.extend_from_slice(&[b'v', version]);
    }
    flat
}

pub(super) fn key_of(flat: &[u8]) -> (u8, Vec<u8>) {
    (layout::database(flat), layout::parts(flat).key.to_vec())
}

pub(super) fn hash_of(number: u64) -> u64 {
    let (database, key) = key_of(&session(number, 0));
    KeyHasher::new(HASH_KEY).key(database, &key).hash
}

/// The path of a file.
pub(super) fn segment_path(id: u32) -> PathBuf {
    dir().join(segment::file_name(id))
}

/// The path of a file.
pub(super) fn index_path(number: u64) -> PathBuf {
    dir().join(index_file::name(number))
}

/// The names of all files.
pub(super) fn names(fs: &SimFs) -> Vec<String> {
    let mut names = fs.list(dir()).expect("lists");
    names.sort_unstable();
    names
}

/// Every file with its bytes, but for the lock.
pub(super) fn disk(fs: &SimFs) -> BTreeMap<String, Vec<u8>> {
    let content = |name: &str| {
        let file = fs.open(&dir().join(name), OpenMode::Read).expect("opens");
        let mut bytes = vec![0; file.len().expect("has a length") as usize];
        file.read_at(&mut bytes, 0).expect("reads");
        bytes
    };
    names(fs).into_iter().filter(|name| name != "LOCK").map(|name| (name.clone(), content(&name))).collect()
}

struct Making<'a> {
    fs: &'a SimFs,
    compressor: Compressor,
    entries: Vec<IndexEntry>,
    segments: Vec<SegmentInfo>,
}

impl Making<'_> {
    /// Writes sessions to a segment.
    fn segment(&mut self, id: u32, dictionary: Option<&Arc<Dictionary>>, content: &[(u64, u8)], lsn: u64) {
        let mut writer =
            SegmentWriter::create(self.fs, dir(), &DATABASE_ID, id, dictionary.cloned(), CHECKPOINT_MS)
                .expect("creates");
        for (number, version) in content {
            let object = session(*number, *version);
            let deadline_ms = deadline_ms(*number);
            let record = Record { lsn, deadline_ms, grid: 0, object: &object };
            let offset = writer.push(&record, dictionary.is_some().then_some(&mut self.compressor));
            let hash = hash_of(*number);
            let database = layout::database(&object);
            self.entries.push(IndexEntry { hash, deadline_ms, segment: id, offset, database, grid: 0 });
        }
        let bytes = writer.bytes();
        let finished = writer.finish().expect("writes");
        let stamp = finished.segment.stamp();
        let dictionary = dictionary.map_or(0, |dictionary| dictionary.id());
        let records = finished.records;
        self.segments.push(SegmentInfo { id, dictionary, bytes, records, dies_ms: NEVER, stamp });
    }
}

/// Makes the directory, on a new disk.
pub(super) fn fixture() -> Fixture {
    let fs = SimFs::new(7);
    fs.create_dir_all(dir()).expect("creates");
    let options = WalOptions::default().database_id(DATABASE_ID).segment_bytes_max(16 << 10);
    let clock = Arc::new(SimClock::new(CHECKPOINT_MS));
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let (wal, _) = Wal::open(shared, clock, dir(), options, Lsn::ZERO, &mut |_, _| Ok(())).expect("opens");
    let log = |operations: &[Operation<'_>]| {
        let mut record = Vec::new();
        operations.iter().for_each(|operation| operation.encode(&mut record));
        wal.admit(record.len(), sessile_wal::Admit::Write).expect("admits");
        let lsn = wal.append(&record);
        wal.sync(lsn).expect("syncs");
        lsn.get()
    };
    for number in 0..SESSIONS {
        let object = session(number, 0);
        log(&[Operation::Put { deadline_ms: deadline_ms(number), grid: 0, twin: false, object: &object }]);
    }
    let lsn = wal.appended().get();

    let dictionary = Arc::new(Dictionary::new(1, samples::session(5000)).expect("any bytes are one"));
    dictionary.write(&fs, dir(), &DATABASE_ID).expect("writes");
    let mut making =
        Making { fs: &fs, compressor: Compressor::new(), entries: Vec::new(), segments: Vec::new() };
    let but = |range: std::ops::Range<u64>| -> Vec<(u64, u8)> {
        range.filter(|number| *number != DEAD).map(|number| (number, 0)).collect()
    };
    making.segment(2, None, &but(0..40), lsn);
    making.segment(3, Some(&dictionary), &but(40..SESSIONS), lsn);
    let mut entries = std::mem::take(&mut making.entries);
    let gone = IndexEntry {
        hash: hash_of(DEAD),
        deadline_ms: deadline_ms(DEAD),
        segment: 1,
        offset: 64,
        ..entries[0]
    };
    entries.push(gone);
    let mut writer = IndexWriter::create(&fs, dir(), DATABASE_ID, 1, IndexKind::Snapshot).expect("creates");
    let quarter = 1 << 62;
    for from in [0, 1, 2, 3].map(|part| part * quarter) {
        let to = from + (quarter - 1);
        let mut own: Vec<IndexEntry> =
            entries.iter().copied().filter(|entry| (from..=to).contains(&entry.hash)).collect();
        writer.block(from, to, lsn, &mut own, &mut []);
    }
    let snapshot = writer.finish().expect("writes");

    log(&[Operation::Delete { name: Name::Hash(hash_of(REMOVED)) }]);
    let object = session(REWRITTEN, 1);
    log(&[Operation::Put { deadline_ms: deadline_ms(REWRITTEN), grid: 0, twin: false, object: &object }]);
    let touched_ms = deadline_ms(TOUCHED) + 77_000;
    log(&[Operation::Deadline { name: Name::Hash(hash_of(TOUCHED)), deadline_ms: touched_ms, grid: 0 }]);
    let cut = wal.appended().get();
    making.segment(4, None, &[(REWRITTEN, 1)], cut);
    let mut changed = std::mem::take(&mut making.entries);
    let touched = entries.iter().find(|entry| entry.hash == hash_of(TOUCHED)).expect("is there");
    changed.push(IndexEntry { deadline_ms: touched_ms, ..*touched });
    let mut writer = IndexWriter::create(&fs, dir(), DATABASE_ID, 2, IndexKind::Delta).expect("creates");
    writer.block(0, u64::MAX, cut, &mut changed, &mut [hash_of(REMOVED)]);
    let delta = writer.finish().expect("writes");

    let log_from = cut;
    wal.sync(wal.appended()).expect("syncs");
    let log_end = wal.durable_end();
    // An orphan and a stranger.
    fs.open(&segment_path(9), OpenMode::Create).expect("creates").write_at(b"SESSSEGM", 0).expect("writes");
    fs.open(&dir().join("note.txt"), OpenMode::Create)
        .expect("creates")
        .write_at(b"hello", 0)
        .expect("writes");
    let segments = making.segments;
    let manifest = Manifest {
        database_id: DATABASE_ID,
        hash_key: HASH_KEY,
        created_ms: CHECKPOINT_MS - 5000,
        side_files: Some(Default::default()),
        checkpoint: Checkpoint {
            number: 2,
            log_from,
            log_reached: log_end.lsn.get(),
            log_checksum: log_end.checksum,
            time_ms: CHECKPOINT_MS,
            wall_ms: CHECKPOINT_MS,
            databases: DatabaseMap::IDENTITY,
            databases_at: 0,
            next_segment: 9,
            next_index: 3,
            next_dictionary: 2,
            dictionaries: vec![DictionaryInfo {
                id: 1,
                bytes: dictionary.bytes().len() as u32,
                stamp: dictionary.stamp(&DATABASE_ID),
            }],
            segments,
            index_files: [(1, IndexKind::Snapshot, snapshot), (2, IndexKind::Delta, delta)]
                .map(|(number, kind, it)| IndexFileInfo {
                    number,
                    kind,
                    bytes: it.bytes,
                    entries: it.entries,
                    stamp: it.stamp,
                })
                .to_vec(),
        },
    };
    manifest.write(&fs, dir()).expect("writes");

    // The tail.
    let moved_ms = deadline_ms(TAIL_TOUCHED) + 99_000;
    log(&[Operation::Deadline { name: Name::Hash(hash_of(TAIL_TOUCHED)), deadline_ms: moved_ms, grid: 0 }]);
    log(&[Operation::Delete { name: Name::Hash(hash_of(TAIL_REMOVED)) }]);
    let new = session(TAIL_NEW, 0);
    let copy_name = Name::Hash(hash_of(TAIL_NEW));
    log(&[
        Operation::Put { deadline_ms: deadline_ms(TAIL_NEW), grid: 0, twin: false, object: &new },
        Operation::Change {
            name: Name::Hash(hash_of(TAIL_CHANGED)),
            change: Change::WriteAt { offset: 0, bytes: b"<changed>" },
        },
        Operation::Copy { name: copy_name, database: 1, key: b"copy" },
    ]);
    wal.close().expect("closes");

    let mut expected = BTreeMap::new();
    let mut expect = |object: Vec<u8>, deadline_ms: u64| {
        expected.insert(key_of(&object), (object, deadline_ms));
    };
    let gone = [REMOVED, TAIL_REMOVED, DEAD];
    for number in (0..SESSIONS).filter(|number| !gone.contains(number)).chain([TAIL_NEW]) {
        let mut object = session(number, u8::from(number == REWRITTEN));
        if number == TAIL_CHANGED {
            let head = object.len() - layout::parts(&object).payload.len();
            object[head..head + 9].copy_from_slice(b"<changed>");
        }
        let deadline_ms = match number {
            TOUCHED => touched_ms,
            TAIL_TOUCHED => moved_ms,
            _ => deadline_ms(number),
        };
        expect(object, deadline_ms);
    }
    let original = session(TAIL_NEW, 0);
    let mut copy = Vec::new();
    layout::put_head(&mut copy, layout::kind(&original), 1, b"copy", None);
    copy.extend_from_slice(layout::parts(&original).payload);
    expect(copy, deadline_ms(TAIL_NEW));
    Fixture { fs, expected, manifest }
}
