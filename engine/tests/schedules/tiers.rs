//! Reads beside all that moves values: writes, eviction, idle compression, checkpoints, compaction, expiry. A read returns what the key held
//! at some moment while it was under way: never an older value that was fetched from disk meanwhile, never another key's.

use super::support::{Machine, number};
use sessile::{Db, Expiry};
use sessile_wal::sync::{explore, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const WRITERS: usize = 2;
const KEYS_EACH: usize = 2;
const KEYS: usize = WRITERS * KEYS_EACH;
const VERSIONS: u64 = 6;

/// What the key holds at a version; `None` at those that delete it.
fn content(key: usize, version: u64) -> Option<Vec<u8>> {
    if version % 4 == 0 {
        return None;
    }
    let mut bytes = format!("{key}:{version}:").into_bytes();
    bytes.resize(100 + 150 * ((key + version as usize) % 3), b'a' + version as u8);
    Some(bytes)
}

/// What is known of the keys without asking. (These atomics are no steps of a schedule.)
#[derive(Default)]
struct Known {
    begun: [AtomicU64; KEYS],
    done: [AtomicU64; KEYS],
    cold_reads: AtomicU64,
    evicted: AtomicU64,
    compacted: AtomicU64,
}

fn name(key: usize) -> [u8; 1] {
    [b'A' + key as u8]
}

fn write(db: &Db, known: &Known, key: usize, version: u64) {
    known.begun[key].store(version, SeqCst);
    match content(key, version) {
        Some(bytes) => db.set(&name(key), bytes, Expiry::Never).expect("is set"),
        None => drop(db.delete(&name(key)).expect("is deleted")),
    }
    known.done[key].store(version, SeqCst);
}

fn read(db: &Db, known: &Known, key: usize) {
    let from = known.done[key].load(SeqCst);
    let found = if number() % 2 == 0 {
        db.get(&name(key))
    } else {
        db.get_and_touch(&name(key), Duration::from_secs(1000))
    };
    let found = found.expect("reads").map(|value| value.to_vec());
    let to = known.begun[key].load(SeqCst);
    let possible = (from..=to).any(|version| content(key, version) == found);
    let found = found.map(|bytes| String::from_utf8_lossy(&bytes[..4]).into_owned());
    assert!(possible, "key {key}: {found:?}, between versions {from} and {to}");
}

fn step(db: &Db, machine: &Machine) {
    machine.clock.advance_ms(20);
    db.step().expect("steps");
}

fn reads_beside_what_moves_values(known: &Arc<Known>) {
    let machine = Arc::new(Machine::new());
    let db = machine.open();
    let known = {
        // What was met is added up over all schedules.
        let known_here = Known::default();
        let all = Arc::clone(known);
        Arc::new((known_here, all))
    };
    for key in 0..KEYS {
        write(&db, &known.0, key, 1);
    }
    for _ in 0..number() % 40 {
        step(&db, &machine);
    }
    let mut threads = Vec::new();
    for writer in 0..WRITERS {
        let (db, known) = (db.clone(), Arc::clone(&known));
        threads.push(thread::spawn(move || {
            for version in 2..=VERSIONS {
                (0..KEYS_EACH).for_each(|key| write(&db, &known.0, writer * KEYS_EACH + key, version));
            }
        }));
    }
    for _ in 0..2 {
        let (db, known) = (db.clone(), Arc::clone(&known));
        threads.push(thread::spawn(move || {
            for _ in 0..8 {
                read(&db, &known.0, number() as usize % KEYS);
            }
        }));
    }
    {
        let (db, machine) = (db.clone(), Arc::clone(&machine));
        threads.push(thread::spawn(move || (0..30).for_each(|_| step(&db, &machine))));
    }
    threads.into_iter().for_each(|thread| thread.join().expect("does not panic"));
    assert_eq!(db.verify(), Ok(()));
    let stats = db.stats().storage;
    known.1.cold_reads.fetch_add(stats.cold_reads, SeqCst);
    known.1.evicted.fetch_add(stats.values_evicted, SeqCst);
    known.1.compacted.fetch_add(stats.segments_compacted, SeqCst);
    drop(db);
    machine.fs.kill();
    let db = machine.open();
    for key in 0..KEYS {
        let found = db.get(&name(key)).expect("reads").map(|value| value.to_vec());
        assert_eq!(found, content(key, VERSIONS), "key {key} after the process has died");
    }
}

#[test]
fn schedules_of_eviction_beside_reads() {
    let known = Arc::new(Known::default());
    let of_model = Arc::clone(&known);
    explore("eviction beside reads", 200, move || reads_beside_what_moves_values(&of_model));
    let met = [&known.cold_reads, &known.evicted, &known.compacted].map(|count| count.load(SeqCst));
    println!("met: {} reads from disk, {} values evicted, {} segments compacted", met[0], met[1], met[2]);
    if std::env::var_os("SESSILE_SCHEDULE").is_none() {
        assert!(met.iter().all(|&count| count > 0), "the schedules try what they are for");
    }
}
