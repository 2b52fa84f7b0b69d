//! Opening a directory whose manifest is any bytes, or any behind a checksum that matches: an error or a database, never a panic, and the same
//! answer twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::fuzzing::{manifest, sealed_manifest};
use sessile::{Fs, Options};
use sessile_wal::OpenMode;
use sessile_wal::sim::{SimClock, SimFs};
use std::path::Path;
use std::sync::Arc;

fuzz_target!(|input: (bool, &[u8])| {
    let (seal, bytes) = input;
    let bytes = if seal { sealed_manifest(bytes) } else { bytes.to_vec() };
    manifest(&bytes);
    let (fs, clock) = (SimFs::new(1), SimClock::new(1_795_000_000_000));
    let directory = Path::new("/data");
    fs.create_dir_all(directory).expect("in memory");
    let file = fs.open(&directory.join("MANIFEST"), OpenMode::Create).expect("in memory");
    file.write_at(&bytes, 0).expect("in memory");
    let options = Options::new().file_system(Arc::new(fs)).clock(Arc::new(clock)).manual_background();
    let answer = || options.clone().open(directory).map(drop).map_err(|error| error.to_string());
    let first = answer();
    assert_eq!(first, answer());
});
