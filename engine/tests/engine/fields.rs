//! Fields of hashes that die by deadlines of their own.

use super::support::{DIR, look};
use sessile::{Db, Durability, Options};
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::Arc;

struct World {
    sim: SimFs,
    clock: SimClock,
}

impl World {
    fn new() -> World {
        World { sim: SimFs::new(1), clock: SimClock::default() }
    }

    fn open(&self) -> Db {
        Options::new()
            .durability(Durability::No)
            .manual_background()
            .file_system(Arc::new(self.sim.clone()))
            .clock(Arc::new(self.clock.clone()))
            .open(DIR)
            .expect("opens")
    }
}

#[test]
fn a_hash_that_grows_keeps_what_dies_when() {
    for large in [10, 20_000] {
        let world = World::new();
        let db = world.open();
        let at = db.now_ms() + 500;
        db.hash_set(b"key", b"a", vec![7; large]).expect("set");
        db.hash_set_until(b"key", b"b", b"v", Some(at)).expect("set");
        for number in 0..200u32 {
            db.hash_set(b"key", &number.to_le_bytes(), b"v").expect("set");
            let seen = look(&db, &(0, b"key".to_vec())).expect("reads").expect("there");
            assert_eq!(seen.deadline_ms, u64::MAX, "{large} {number}");
        }
    }
}
