//! Fields of hashes that die by deadlines of their own: the key goes with the last one, memory comes back in time, wherever the value is, and
//! whatever became of the process meanwhile. (That contents are exact is for the simulation, which has them too.)

use super::support::{DIR, Id, Seen, look};
use sessile::{Access, Db, Durability, Expiry, Observer, Occurrence, Options};
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::{Arc, Mutex};

const START_MS: u64 = 1_700_000_000_000;
/// Steps come at least this often, in ms.
const STEP_MS: u64 = 20;
/// What is dead is out of memory after this, in ms.
const KEPT_MS_MAX: u64 = 100;

struct World {
    sim: SimFs,
    clock: SimClock,
    memory_bytes_max: Option<u64>,
}

impl World {
    fn new() -> World {
        World { sim: SimFs::new(1), clock: SimClock::new(START_MS), memory_bytes_max: None }
    }

    fn open(&self) -> Db {
        let options = Options::new()
            .durability(Durability::No)
            .manual_background()
            .file_system(Arc::new(self.sim.clone()))
            .clock(Arc::new(self.clock.clone()));
        match self.memory_bytes_max {
            Some(bytes) => options.memory_bytes_max(bytes),
            None => options,
        }
        .open(DIR)
        .expect("opens")
    }

    /// Lets time pass, with a step now and then.
    fn pass(&self, db: &Db, ms: u64) {
        for _ in 0..ms.div_ceil(STEP_MS) {
            self.clock.advance_ms(STEP_MS);
            db.step().expect("nothing fails");
        }
    }
}

fn id(key: &str) -> Id {
    (0, key.as_bytes().to_vec())
}

fn see(db: &Db, key: &str) -> Option<Seen> {
    look(db, &id(key)).expect("readable")
}

fn memory(db: &Db, key: &str) -> usize {
    let key = db.key(0, key.as_bytes());
    db.begin(&[key], Access::Read, db.now_ms()).expect("readable").memory_usage(&key).expect("there")
}

fn length(db: &Db, key: &str) -> usize {
    let key = db.key(0, key.as_bytes());
    db.begin(&[key], Access::Read, db.now_ms()).expect("readable").hash_len(&key).expect("a hash")
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
            assert_eq!(see(&db, "key").expect("there").deadline_ms, u64::MAX, "{large} {number}");
        }
        assert_eq!(length(&db, "key"), 202);
        world.pass(&db, 500);
        assert_eq!(length(&db, "key"), 201);
    }
}

#[test]
fn dead_fields_are_out_of_memory_in_time() {
    for fields in [10, 5_000u32] {
        let world = World::new();
        let db = world.open();
        let base = db.now_ms();
        db.hash_set(b"key", b"stays", b"v").expect("set");
        let before = memory(&db, "key");
        for number in 0..fields {
            // In waves, the last of them after ten seconds.
            let at = base + 1_000 * (1 + u64::from(number) % 10);
            db.hash_set_until(b"key", &number.to_le_bytes(), [7; 50], Some(at)).expect("set");
        }
        let full = memory(&db, "key") - before;
        for wave in 1..=10u64 {
            world.pass(&db, base + 1_000 * wave - 1 - db.now_ms());
            world.clock.advance_ms(base + 1_000 * wave - db.now_ms().min(base + 1_000 * wave));
            let alive = 1 + (fields as u64 * (10 - wave) / 10) as usize;
            assert_eq!(length(&db, "key"), alive, "of {fields} in wave {wave}");
            world.pass(&db, KEPT_MS_MAX);
            let left = memory(&db, "key").saturating_sub(before);
            assert!(
                left <= full * (10 - wave as usize) / 10 + full / 100 + 100,
                "{left} of {full} bytes in wave {wave}"
            );
        }
        assert_eq!(db.len(), 1);
        assert_eq!(db.len_with_deadline(0), 0);
    }
}

#[test]
fn a_key_goes_with_its_last_field_wherever_it_is() {
    let world = World { memory_bytes_max: Some(1), ..World::new() };
    let db = world.open();
    let at = db.now_ms() + 60_000;
    for number in 0..100u32 {
        let key = format!("key {number}").into_bytes();
        db.hash_set_until(&key, b"a", [7; 100], Some(at)).expect("set");
        db.hash_set_until(&key, b"b", b"v", Some(at - 30_000)).expect("set");
        if number % 2 == 0 {
            db.hash_set(&key, b"stays", b"v").expect("set");
        }
    }
    db.checkpoint().expect("made");
    world.pass(&db, 1_000);
    assert!(db.stats().storage.values_cold >= 100, "{:?}", db.stats().storage);
    world.pass(&db, 30_000);
    assert_eq!((db.len(), length(&db, "key 0"), length(&db, "key 1")), (100, 2, 1));
    let reads = db.stats().storage.cold_reads;
    world.pass(&db, 30_000);
    // The index alone knows that half of them are gone.
    assert_eq!((db.len(), db.stats().storage.cold_reads), (50, reads));
    assert_eq!(length(&db, "key 0"), 1);
    assert_eq!(see(&db, "key 1"), None);
}

#[test]
fn what_dies_when_survives_a_restart() {
    let world = World::new();
    let base = START_MS;
    for checkpoint in [false, true] {
        let db = world.open();
        db.clear(None).expect("cleared");
        db.hash_set_until(b"key", b"a", b"1", Some(base + 10_000)).expect("set");
        db.hash_set_until(b"key", b"b", b"2", Some(base + 20_000)).expect("set");
        assert!(db.expire_at_ms(b"key", Some(base + 50_000)).expect("there"));
        if checkpoint {
            db.checkpoint().expect("made");
        }
        assert!(db.hash_expire_at_ms(b"key", b"a", Some(base + 30_000)).expect("there"));
        db.push_log().expect("written");
        drop(db);
        world.sim.kill();
        let db = world.open();
        let seen = see(&db, "key").expect("there");
        assert_eq!(seen.deadline_ms, base + 50_000, "the key's own");
        assert_eq!(length(&db, "key"), 2);
        // Back to a key that its own deadline ends, and forth.
        assert!(db.expire_at_ms(b"key", Some(base + 25_000)).expect("there"));
        assert_eq!(see(&db, "key").expect("there").deadline_ms, base + 25_000);
        assert!(db.expire_at_ms(b"key", None).expect("there"));
        assert_eq!(see(&db, "key").expect("there").deadline_ms, u64::MAX);
        assert!(db.hash_remove(b"key", b"a").expect("there"));
        db.push_log().expect("written");
        drop(db);
        let db = world.open();
        assert_eq!(see(&db, "key").expect("there").deadline_ms, u64::MAX);
        assert_eq!(db.hash_get(b"key", b"b").expect("read").as_deref(), Some(&b"2"[..]));
    }
    world.clock.advance_ms(30_000);
    let db = world.open();
    world.pass(&db, KEPT_MS_MAX);
    assert_eq!(db.len(), 0, "it died while nobody was there");
}

#[derive(Default)]
struct Listener(Mutex<Vec<(Occurrence, String)>>);

impl Observer for Listener {
    fn happened(&self, what: Occurrence, _: u8, key: &[u8]) {
        let key = String::from_utf8_lossy(key).into_owned();
        self.0.lock().expect("nobody panicked").push((what, key));
    }

    fn done(&self) {}
}

#[test]
fn an_observer_hears_of_what_died() {
    for memory_bytes_max in [None, Some(1)] {
        let world = World { memory_bytes_max, ..World::new() };
        let db = world.open();
        let listener = Arc::new(Listener::default());
        db.set_observer(Arc::clone(&listener) as _);
        db.set_observing(true);
        let at = db.now_ms() + 5_000;
        db.hash_set_until(b"some", b"a", b"1", Some(at)).expect("set");
        db.hash_set(b"some", b"b", b"2").expect("set");
        db.hash_set_until(b"all", b"a", b"1", Some(at)).expect("set");
        db.hash_set_until(b"key first", b"a", b"1", Some(at)).expect("set");
        assert!(db.expire_at_ms(b"key first", Some(at - 1)).expect("there"));
        db.set(b"string", b"v", Expiry::AtMs(at)).expect("set");
        if memory_bytes_max.is_some() {
            db.checkpoint().expect("made");
            world.pass(&db, 1_000);
            assert_eq!(db.stats().storage.values_cold, 4);
        }
        world.pass(&db, 6_000);
        let mut heard = std::mem::take(&mut *listener.0.lock().expect("nobody panicked"));
        let of =
            |key: &str| heard.iter().filter(|(_, of)| of == key).map(|(what, _)| *what).collect::<Vec<_>>();
        assert_eq!(of("all"), [Occurrence::FieldsExpired, Occurrence::Emptied]);
        assert_eq!(of("key first"), [Occurrence::Expired]);
        assert_eq!(of("string"), [Occurrence::Expired]);
        // One on disk is told of when it is brought in and found wanting.
        assert_eq!(of("some").len(), usize::from(memory_bytes_max.is_none()));
        heard.clear();
        assert_eq!(db.len(), 1);
    }
}
