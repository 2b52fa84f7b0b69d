//! Opening a directory whose log holds any records, under checksums that match; or a sound log, some of whose bytes were overwritten. A database
//! or an error, never a panic, and the same twice. What was read can be changed by everybody, is written to disk, and comes back from there as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::{Clock, Expiry, Fs, Kind, Lsn};
use sessile_fuzz::bench::{BEGINNING_MS, small};
use sessile_fuzz::directory::{Content, DIR, Id, content, fixed_manifest, stir};
use sessile_wal::sim::{SimClock, SimFs};
use sessile_wal::{OpenMode, Wal, WalOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fuzz_target!(|input: (u8, u16, Vec<&[u8]>)| {
    let (shape, at, parts) = input;
    let sim = SimFs::new(1);
    fixed_manifest(&sim);
    let fs: Arc<dyn Fs> = Arc::new(sim);
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(BEGINNING_MS));
    let directory = Path::new(DIR);
    let options = small(shape >> 3).file_system(Arc::clone(&fs)).clock(Arc::clone(&clock));
    {
        let db = options.clone().open(directory).expect("a new directory");
        db.set(b"key", b"value", Expiry::Never).expect("room");
        db.hash_set(b"hash", b"field", b"value").expect("room");
        if shape & 2 != 0 {
            db.checkpoint().expect("the disk is sound");
        }
    }
    if shape & 1 == 0 {
        let log = directory.join("wal-0000000000000000.log");
        let file = fs.open(&log, OpenMode::ReadWrite).expect("there");
        for part in parts {
            file.write_at(part, u64::from(at)).expect("in memory");
        }
    } else {
        let manifest = fs.open(&directory.join("MANIFEST"), OpenMode::Read).expect("there");
        let mut numbers = [0; 84];
        manifest.read_at(&mut numbers, 0).expect("in memory");
        let id = std::array::from_fn(|byte| numbers[16 + byte]);
        // Where a checkpoint says that the log is needed from: behind the body's length and the checkpoint's number.
        let from = if shape & 2 == 0 {
            0
        } else {
            u64::from_le_bytes(std::array::from_fn(|byte| numbers[68 + byte]))
        };
        let wal_options = WalOptions::default().database_id(id);
        let (wal, _) =
            Wal::open(fs, clock, directory, wal_options, Lsn::from(from), &mut |_, _| Ok(())).expect("sound");
        for part in parts {
            wal.append(part);
        }
        wal.flush().expect("room");
    }
    let answer = || {
        options
            .clone()
            .open(directory)
            .map(|db| content(&db).expect("nothing is on disk only"))
            .map_err(|error| error.to_string())
    };
    let first = answer();
    assert_eq!(first, answer());
    let Ok(before) = first else { return };
    {
        let db = options.clone().open(directory).expect("it did before");
        db.verify().expect("what is counted is there");
        for (id, (kind, _)) in &before {
            stir(&db, id, *kind).expect("the disk is sound");
        }
        db.checkpoint().expect("the disk is sound");
        db.verify().expect("what is counted is there");
        db.close().expect("the disk is sound");
    }
    let db = options.open(directory).expect("what was written is sound");
    // A forged record may give a hash another deadline than its own and its fields' come to, which a change puts right.
    let is_timed = |parts: &[Vec<u8>]| parts.iter().any(|part| !part.ends_with(&[0; 8]));
    let compared = |all: BTreeMap<Id, Content>| -> BTreeMap<Id, Content> {
        all.into_iter().filter(|(_, (kind, parts))| *kind != Kind::Hash || !is_timed(parts)).collect()
    };
    assert_eq!(compared(content(&db).expect("sound")), compared(before));
});
