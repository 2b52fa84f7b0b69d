//! A disk that fills up: writes are refused with a clear error, reads and deletes go on; and once something was deleted or has expired, space
//! comes back, and writes with it, without anybody's help.

use super::support::DIR;
use sessile::{Db, Durability, Error, Expiry, Fs, Options};
use sessile_wal::sim::{Rng, SimClock, SimFs};
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;

struct Machine {
    fs: SimFs,
    clock: SimClock,
}

impl Machine {
    fn new(space_bytes: Option<u64>) -> Machine {
        let fs = SimFs::new(1);
        fs.create_dir_all(DIR.as_ref()).expect("made");
        fs.set_space_bytes(space_bytes);
        Machine { fs, clock: SimClock::default() }
    }

    fn options(&self) -> Options {
        Options::new()
            .durability(Durability::EverySecond)
            .file_system(Arc::new(self.fs.clone()))
            .clock(Arc::new(self.clock.clone()))
            .manual_background()
            .log_file_bytes_max(MIB)
            .checkpoint_log_bytes(4 * MIB)
    }

    /// Lets time pass, and the database work.
    fn run(&self, db: &Db, ms: u64) {
        for _ in 0..ms / 20 {
            self.clock.advance_ms(20);
            for _ in 0..8 {
                db.step().expect("steps");
            }
        }
    }

    /// Sets keys until one is refused; how many there are then.
    fn fill(&self, db: &Db, expiry: Expiry) -> u64 {
        let mut values = Rng::new(1);
        for number in 0..100_000u64 {
            let value: Vec<u8> = (0..1_000).map(|_| values.next_u64() as u8).collect();
            match db.set(&number.to_le_bytes(), value, expiry) {
                Ok(()) => {}
                Err(Error::DiskFull(_) | Error::DiskLimit { .. }) => return number,
                Err(error) => panic!("{number}: {error}"),
            }
            if number % 20 == 0 {
                self.run(db, 20);
            }
        }
        panic!("it is never full");
    }

    /// Sets a key, within so much time.
    fn set_within(&self, db: &Db, ms: u64) -> u64 {
        for waited in (0..ms).step_by(100) {
            match db.set(b"again", [7; 500], Expiry::Never) {
                Ok(()) => return waited,
                Err(Error::DiskFull(_) | Error::DiskLimit { .. }) => self.run(db, 100),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("writes are refused for ever: {:?} {:?}", db.stats().storage, db.stats().log);
    }
}

fn check_all(db: &Db, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        assert_eq!(db.get(&number.to_le_bytes()).expect("readable").expect("there").len(), 1_000);
    }
}

fn comes_back(machine: &Machine, options: Options, lives_of: &dyn Fn(u64) -> bool) {
    let db = options.clone().open(DIR).expect("opens");
    let count = machine.fill(&db, Expiry::Never);
    check_all(&db, 0..count);
    for number in (0..count).filter(|&number| !lives_of(number)) {
        assert!(db.delete(&number.to_le_bytes()).expect("a full disk does not refuse a delete"));
    }
    let waited_ms = machine.set_within(&db, 60_000);
    println!("full after {count} keys; written again after {waited_ms} ms");
    // And not only one.
    for number in 0..count / 4 {
        let key = (1_000_000 + number).to_le_bytes();
        while let Err(error) = db.set(&key, [7; 500], Expiry::Never) {
            assert!(matches!(error, Error::DiskFull(_) | Error::DiskLimit { .. }), "{error}");
            machine.run(&db, 100);
            machine.set_within(&db, 60_000);
        }
        if number % 20 == 0 {
            machine.run(&db, 20);
        }
    }
    check_all(&db, (0..count).filter(|&number| lives_of(number)));
    machine.fs.kill();
    drop(db);
    let db = options.open(DIR).expect("opens");
    check_all(&db, (0..count).filter(|&number| lives_of(number)));
}

#[test]
fn a_full_disk_takes_writes_again_when_keys_were_deleted() {
    let machine = Machine::new(Some(24 * MIB));
    comes_back(&machine, machine.options(), &|number| number % 4 == 0);
}

#[test]
fn a_full_disk_can_be_compacted_out_of() {
    // Of every few neighbours one stays: no segment dies whole.
    let machine = Machine::new(Some(24 * MIB));
    comes_back(&machine, machine.options().memory_bytes_max(2 * MIB), &|number| number % 3 == 0);
}

#[test]
fn a_directory_at_its_limit_takes_writes_again_when_keys_were_deleted() {
    let machine = Machine::new(None);
    comes_back(&machine, machine.options().disk_bytes_max(24 * MIB), &|number| number % 3 == 0);
}

#[test]
fn a_full_disk_takes_writes_again_when_keys_have_expired() {
    let machine = Machine::new(Some(24 * MIB));
    let db = machine.options().open(DIR).expect("opens");
    let count = machine.fill(&db, Expiry::After(Duration::from_secs(600)));
    machine.clock.advance_ms(601_000);
    machine.run(&db, 200);
    assert_eq!(db.len(), 0);
    let waited_ms = machine.set_within(&db, 60_000);
    println!("full after {count} keys; written again after {waited_ms} ms");
}

/// Compaction looked keys up by the number that clients call their database by, and took what had been swapped for dead: it was never moved, and
/// its segments stayed.
#[test]
fn what_was_swapped_is_compacted_too() {
    let machine = Machine::new(None);
    let db = machine.options().open(DIR).expect("opens");
    let mut values = Rng::new(1);
    for number in 0..4_000u64 {
        let value: Vec<u8> = (0..1_000).map(|_| values.next_u64() as u8).collect();
        db.set(&number.to_le_bytes(), value, Expiry::Never).expect("set");
    }
    db.checkpoint().expect("made");
    db.swap_databases(0, 5).expect("swapped");
    let swapped = db.database(5);
    for number in (0..4_000u64).filter(|number| number % 8 != 0) {
        assert!(swapped.delete(&number.to_le_bytes()).expect("deleted"));
    }
    db.checkpoint().expect("made");
    machine.run(&db, 20_000);
    db.checkpoint().expect("made");
    db.checkpoint().expect("made");
    let storage = db.stats().storage;
    assert_eq!(swapped.len(), 500);
    assert!(storage.segment_bytes < 1_000_000, "{} bytes of segments for 500 KB", storage.segment_bytes);
}
