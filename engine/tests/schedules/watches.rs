//! Increments of two counters by every kind of transaction, with their values moving between tiers: none is lost, none counts twice.

use super::support::{Machine, number};
use sessile::{Access, Begun, Committed, Db, Expiry, Extended, Key, Txn, Watch};
use sessile_wal::sync::{explore, thread};
use std::sync::Arc;

const THREADS: usize = 3;
const EACH: u64 = 3;
const NAMES: [&[u8]; 2] = [b"one counter", b"another"];

fn count(txn: &Txn<'_>, key: &Key<'_>) -> u64 {
    let text = txn.string(key).expect("a string").expect("there");
    std::str::from_utf8(&text[..8]).expect("digits").parse().expect("a number")
}

/// Long enough to be worth a compression.
fn text(count: u64) -> Vec<u8> {
    format!("{count:08}{}", "and much that is always the same ".repeat(8)).into_bytes()
}

fn increment(txn: &mut Txn<'_>, keys: &[Key<'_>]) {
    for key in keys {
        let text = text(count(txn, key) + 1);
        txn.set(key, &text, Expiry::Keep);
    }
}

fn plainly(db: &Db) {
    let keys = NAMES.map(|name| db.key(0, name));
    let mut txn = db.begin(&keys, Access::Write, db.now_ms()).expect("begins");
    increment(&mut txn, &keys);
    txn.commit();
}

fn watched(db: &Db) {
    loop {
        let now_ms = db.now_ms();
        let watches: Vec<Watch> =
            NAMES.iter().map(|name| db.watch(0, name, now_ms).expect("watches")).collect();
        let keys = NAMES.map(|name| db.key(0, name));
        let read = |key: &Key<'_>| {
            let txn = db.begin(&[*key], Access::Read, now_ms).expect("begins");
            count(&txn, key)
        };
        let counts = [read(&keys[0]), read(&keys[1])];
        let mut fetched = None;
        let mut txn = loop {
            let begun = db.try_begin_watching(&keys, watches.iter(), Access::Write, now_ms, fetched);
            match begun.expect("begins") {
                Begun::Ready(txn) => break txn,
                Begun::Cold(mut fetch) => {
                    fetch.wait();
                    fetched = Some(fetch);
                }
            }
        };
        if !watches.iter().all(|watch| txn.is_unchanged(watch)) {
            continue;
        }
        for (key, count) in keys.iter().zip(counts) {
            txn.set(key, &text(count + 1), Expiry::Keep);
        }
        txn.commit();
        return;
    }
}

fn on_copies(db: &Db) {
    loop {
        let mut overlay = db.overlay(db.now_ms());
        let keys = NAMES.map(|name| db.key(0, name));
        for key in keys {
            let mut txn = overlay.begin(&[key], Access::Write).expect("begins");
            increment(&mut txn, &[key]);
            txn.commit();
        }
        if let Committed::At(_) = overlay.commit().expect("commits") {
            return;
        }
    }
}

/// Learns of the second counter when it has the first.
fn extended(db: &Db) {
    let keys = NAMES.map(|name| db.key(0, name));
    loop {
        let mut txn = db.begin(&keys[..1], Access::Write, db.now_ms()).expect("begins");
        txn.make_revocable();
        increment(&mut txn, &keys[..1]);
        match txn.extend(&keys[1..]).expect("extends") {
            Extended::Ready => {
                increment(&mut txn, &keys[1..]);
                txn.commit();
                return;
            }
            Extended::Contended => txn.roll_back(),
            Extended::Cold(mut fetch) => {
                txn.roll_back();
                fetch.wait();
            }
        }
        return plainly(db);
    }
}

fn counters(db: &Db) -> [u64; 2] {
    let keys = NAMES.map(|name| db.key(0, name));
    let txn = db.begin(&keys, Access::Read, db.now_ms()).expect("begins");
    keys.map(|key| count(&txn, &key))
}

#[test]
fn schedules_of_transactions() {
    explore("transactions", 300, || {
        let machine = Arc::new(Machine::new());
        let db = machine.open();
        NAMES.iter().for_each(|name| db.set(name, text(0), Expiry::Never).expect("is set"));
        let mut threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let db = db.clone();
                thread::spawn(move || {
                    for _ in 0..EACH {
                        [plainly, watched, on_copies, extended][number() as usize % 4](&db);
                    }
                })
            })
            .collect();
        threads.push({
            let (db, machine) = (db.clone(), Arc::clone(&machine));
            thread::spawn(move || {
                for _ in 0..15 {
                    machine.clock.advance_ms(20);
                    db.step().expect("steps");
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().expect("does not panic"));
        assert_eq!(counters(&db), [THREADS as u64 * EACH; 2]);
        assert_eq!(db.verify(), Ok(()));
        db.push_log().expect("is written");
        drop(db);
        machine.fs.kill();
        assert_eq!(counters(&machine.open()), [THREADS as u64 * EACH; 2]);
    });
}
