//! Opening a directory whose log holds any records, under checksums that match; or a sound log, some of whose bytes were
//! overwritten. A database or an error, never a panic, and the same answer twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::{Clock, Expiry, Fs, Lsn, Options};
use sessile_wal::sim::{SimClock, SimFs};
use sessile_wal::{OpenMode, Wal, WalOptions};
use std::path::Path;
use std::sync::Arc;

fuzz_target!(|input: (bool, u16, Vec<&[u8]>)| {
    let (overwrite, at, parts) = input;
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(1_795_000_000_000));
    let directory = Path::new("/data");
    let options = Options::new().file_system(Arc::clone(&fs)).clock(Arc::clone(&clock)).manual_background();
    {
        let db = options.clone().open(directory).expect("a new directory");
        db.set(b"key", b"value", Expiry::Never).expect("room");
        db.hash_set(b"hash", b"field", b"value").expect("room");
    }
    if overwrite {
        let log = directory.join("wal-0000000000000000.log");
        let file = fs.open(&log, OpenMode::ReadWrite).expect("there");
        for part in parts {
            file.write_at(part, u64::from(at)).expect("in memory");
        }
    } else {
        let manifest = fs.open(&directory.join("MANIFEST"), OpenMode::Read).expect("there");
        let mut id = [0; 16];
        manifest.read_at(&mut id, 16).expect("in memory");
        let wal_options = WalOptions::default().database_id(id);
        let (wal, _) = Wal::open(fs, clock, directory, wal_options, Lsn::ZERO, &mut |_, _| Ok(())).expect("sound");
        for part in parts {
            wal.append(part);
        }
        wal.flush().expect("room");
    }
    let answer = || {
        let db = options.clone().open(directory).map_err(|error| error.to_string())?;
        let mut keys: Vec<_> = (0..16).flat_map(|number| db.database(number).keys().flatten().collect::<Vec<_>>()).collect();
        keys.sort();
        Ok::<_, String>(keys)
    };
    let first = answer();
    assert_eq!(first, answer());
});
