//! Many threads, with the database's own threads running, on the real disk.

use super::support::open_free;
use sessile::{Db, Durability, Expiry, Options, Touch};
use sessile_wal::sim::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::time::Duration;

const ACCOUNTS: u64 = 20;
const THREADS: u64 = 8;

fn account(number: u64) -> Vec<u8> {
    format!("account {number}").into_bytes()
}

fn amount(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(0, |bytes| std::str::from_utf8(bytes).expect("text").parse().expect("a number"))
}

/// Runs the threads to their end; a deadlock is a failure, not a test that hangs.
fn run(threads: Vec<Box<dyn FnOnce() + Send>>) {
    let (done, wait) = channel();
    let count = threads.len();
    let handles: Vec<_> = threads
        .into_iter()
        .map(|thread| {
            let done = done.clone();
            std::thread::spawn(move || {
                thread();
                // The receiver lives until all have said so, or the test has failed.
                let _ = done.send(());
            })
        })
        .collect();
    drop(done);
    for finished in 0..count {
        if let Err(error) = wait.recv_timeout(Duration::from_secs(60)) {
            let stuck = handles.iter().filter(|handle| !handle.is_finished()).count();
            assert!(stuck < count - finished, "{stuck} threads hang: {error}");
            break;
        }
    }
    handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
}

fn contents(db: &Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    db.keys()
        .map(|key| key.expect("readable"))
        .map(|key| (key.clone(), db.get(&key).expect("a string").expect("there").to_vec()))
        .collect()
}

/// Money moves between accounts, several at once; nobody ever sees any of it missing, and it is all there after a restart.
#[test]
fn transfers_keep_the_sum_whoever_looks_and_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Options::new().durability(Durability::No).open(dir.path()).expect("opens");
    for number in 0..ACCOUNTS {
        db.set(&account(number), b"100", Expiry::Never).expect("set");
    }
    let (transfers, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut threads: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for seed in 0..THREADS {
        let (db, transfers, stop) = (db.clone(), Arc::clone(&transfers), Arc::clone(&stop));
        threads.push(Box::new(move || {
            let mut rng = Rng::new(seed);
            for _ in 0..3_000 {
                let parties: Vec<Vec<u8>> =
                    (0..2 + rng.below(4)).map(|_| account(rng.below(ACCOUNTS))).collect();
                let keys: Vec<&[u8]> = parties.iter().map(Vec::as_slice).collect();
                db.transaction(&keys, |txn, keys| {
                    for pair in keys.windows(2) {
                        // One after the other, so that an account may be on both sides.
                        let from = amount(txn.string(&pair[0]).expect("a string")) - 7;
                        txn.set(&pair[0], from.to_string().as_bytes(), Expiry::Keep);
                        let to = amount(txn.string(&pair[1]).expect("a string")) + 7;
                        txn.set(&pair[1], to.to_string().as_bytes(), Expiry::Keep);
                    }
                })
                .expect("committed");
                transfers.fetch_add(1, Relaxed);
            }
            stop.store(true, Relaxed);
        }));
    }
    for _ in 0..2 {
        let (db, stop) = (db.clone(), Arc::clone(&stop));
        threads.push(Box::new(move || {
            let names: Vec<Vec<u8>> = (0..ACCOUNTS).map(account).collect();
            let keys: Vec<_> = names.iter().map(|name| db.key(0, name)).collect();
            let mut looks = 0;
            while !stop.load(Relaxed) || looks == 0 {
                let txn = db.begin(&keys, sessile::Access::Read, db.now_ms()).expect("readable");
                let sum: i64 = keys.iter().map(|key| amount(txn.string(key).expect("a string"))).sum();
                assert_eq!(sum, 100 * ACCOUNTS as i64);
                looks += 1;
            }
        }));
    }
    run(threads);
    assert_eq!(transfers.load(Relaxed), THREADS * 3_000);
    let before = contents(&db);
    drop(db);
    assert_eq!(contents(&open_free(&Options::new(), dir.path())), before);
}

/// Everything at once: sets, touches, hashes, deletes, deaths, clears, scans, flushes. What is left is what a restart finds.
#[test]
fn what_many_threads_leave_is_what_a_restart_finds() {
    let dir = tempfile::tempdir().expect("a directory");
    let db =
        Options::new().durability(Durability::EverySecond).sync_thread().open(dir.path()).expect("opens");
    let mut threads: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for seed in 0..THREADS {
        let db = db.clone();
        threads.push(Box::new(move || {
            let mut rng = Rng::new(seed);
            for round in 0..4_000u64 {
                let key = format!("key {}", rng.below(300)).into_bytes();
                let value = vec![seed as u8; rng.below(600) as usize];
                let brief = Duration::from_millis(1 + rng.below(60));
                let long = Duration::from_secs(3_600);
                match rng.below(24) {
                    0..=5 => db.set(&key, &value, Expiry::After(long)).expect("set"),
                    6..=8 => db.set(&key, &value, Expiry::After(brief)).expect("set"),
                    9 => {
                        db.set(&key, &value, Expiry::Idle { idle: brief, absolute: Some(long) })
                            .expect("set");
                    }
                    10..=13 => drop(db.get_and_touch(&key, Touch::For(long)).expect("a string")),
                    14 => drop(db.get_and_touch(&key, Touch::Policy).expect("a string")),
                    15 => drop(db.expire_at_ms(&key, None).expect("expired")),
                    16 => drop(db.delete(&key).expect("deleted")),
                    17..=19 => {
                        let hash = format!("hash {}", rng.below(5)).into_bytes();
                        db.database(3).hash_set(&hash, &key, &value).expect("a hash");
                        drop(db.database(3).hash_remove(&hash, format!("key {}", rng.below(300)).as_bytes()));
                    }
                    20 => {
                        let other = format!("key {}", rng.below(300)).into_bytes();
                        db.transaction(&[&key, &other], |txn, keys| txn.rename(&keys[0], &keys[1]))
                            .expect("committed");
                    }
                    21 => drop(db.keys().take(50).count()),
                    22 if round % 500 == 0 => drop(db.clear(Some(1)).expect("cleared")),
                    23 if round % 100 == 0 => db.flush().expect("flushed"),
                    _ => drop(db.random_key(0, rng.next_u64())),
                }
            }
        }));
    }
    run(threads);
    // What dies meanwhile would make a difference that is none.
    for key in db.keys().map(|key| key.expect("readable")).collect::<Vec<_>>() {
        let left = db.time_to_live(&key).expect("readable").flatten();
        if left.is_some_and(|left| left < Duration::from_secs(600)) {
            db.delete(&key).expect("deleted");
        }
    }
    super::support::pause(Duration::from_millis(200));
    let before = super::support::look_at_all(&db);
    assert_eq!(db.len() + db.len_of(3), before.len());
    drop(db);
    let db = open_free(&Options::new(), dir.path());
    let after = super::support::look_at_all(&db);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (id, seen) in &before {
        assert!(after[id].content == seen.content, "{id:?}");
        let (exact, found) = (seen.deadline_ms, after[id].deadline_ms);
        assert!(found >= exact && found - exact.min(found) <= 3_600_000 / 20, "{found} for {exact}");
    }
}

/// A value that was read stays as it was, whatever happens to its key.
#[test]
fn a_value_in_hand_does_not_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = open_free(&Options::new(), dir.path());
    db.set(b"key", [1; 1_000], Expiry::Never).expect("set");
    let value = db.get(b"key").expect("a string").expect("there");
    db.set(b"key", [2; 1_000], Expiry::Never).expect("set");
    db.delete(b"key").expect("deleted");
    db.close().expect("closed");
    drop(db);
    assert_eq!(value, [1; 1_000]);
}
