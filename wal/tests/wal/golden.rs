//! The format holds still: a log written today is, byte for byte, the one in `tests/golden`, and that one is still read.
//! `SESSILE_GOLDEN=write` makes it anew, which only a new format version may do.

use std::sync::Arc;

use sessile_wal::{
    Fs, Lsn, OpenMode,
    sim::{SimClock, SimFs},
};

use crate::support::{Records, dir, open_sim, options};

const GOLDEN: &[u8] = include_bytes!("../golden/version-1.log");
const NAME: &str = "wal-0000000000000000.log";

/// What the golden file holds.
fn write_log(fs: &SimFs) -> Records {
    let clock = SimClock::default();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let options = options().segment_bytes_max(8 << 10);
    let (wal, _, _) = crate::support::open(&shared, &clock, options, Lsn::ZERO).expect("opens");
    let mut records = Vec::new();
    for record in [&b"first"[..], b"", &[0xa5; 200], b"fourth"] {
        records.push((wal.append(record), record.to_vec()));
        clock.advance_ms(7);
        if record.len() != 5 {
            wal.sync(wal.appended()).expect("syncs");
        }
    }
    wal.close().expect("closes");
    records
}

/// Up to the last byte that is not zero, to a multiple of 8.
fn trimmed(fs: &SimFs) -> Vec<u8> {
    let file = fs.open(&dir().join(NAME), OpenMode::Read).expect("is there");
    let mut bytes = vec![0; 8 << 10];
    file.read_at(&mut bytes, 0).expect("reads");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used.next_multiple_of(8));
    bytes
}

#[test]
fn the_bytes_are_those_of_version_1() {
    let fs = SimFs::new(0);
    write_log(&fs);
    let bytes = trimmed(&fs);
    if std::env::var("SESSILE_GOLDEN").is_ok_and(|value| value == "write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/version-1.log");
        let real = sessile_wal::RealFs;
        let file = real.open(path.as_ref(), OpenMode::Create).expect("creates");
        file.set_len(0).expect("empties");
        file.write_at(&bytes, 0).expect("writes");
        return;
    }
    assert!(bytes == GOLDEN, "the log's format has changed: that needs a new version");
}

#[test]
fn version_1_is_read() {
    let expected = write_log(&SimFs::new(0));
    let fs = SimFs::new(1);
    fs.create_dir_all(dir()).expect("creates");
    let file = fs.open(&dir().join(NAME), OpenMode::CreateNew).expect("creates");
    file.set_len(8 << 10).expect("grows");
    file.write_at(GOLDEN, 0).expect("writes");
    let (_, recovery, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
    assert_eq!(seen, expected);
    assert_eq!(recovery.clock_high_water_ms, 1_700_000_000_000 + 28);
}
