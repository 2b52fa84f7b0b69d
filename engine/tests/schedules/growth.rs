//! A scan beside growth, deletion and shrinking: a key that is there throughout is seen.

use super::support::Machine;
use sessile::{Db, Expiry};
use sessile_wal::sync::{explore, thread};
use std::collections::HashSet;

/// Segments of the index hold twenty keys under the model: each shard splits before the scan, and again during it.
const KEPT: usize = 50;
const COME: usize = 60;

fn set(db: &Db, key: &str) {
    db.set(key.as_bytes(), b"", Expiry::Never).expect("is set");
}

/// All keys, by a scan of small steps.
fn scan(db: &Db) -> HashSet<Vec<u8>> {
    let (mut seen, mut cursor) = (HashSet::new(), 0);
    loop {
        let mut each = |key: &[u8], _| {
            seen.insert(key.to_vec());
        };
        cursor = db.scan(0, cursor, 3, &mut each).expect("reads");
        if cursor == 0 {
            return seen;
        }
    }
}

#[test]
fn schedules_of_growth_beside_a_scan() {
    explore("growth beside a scan", 200, || {
        let db = Machine::large().open();
        (0..KEPT).for_each(|number| set(&db, &format!("kept {number}")));
        let come: Vec<_> = (0..2)
            .map(|part| {
                let db = db.clone();
                thread::spawn(move || {
                    let key = |number| format!("come {part} {number}");
                    (0..COME / 2).for_each(|number| set(&db, &key(number)));
                    for number in 0..COME / 2 {
                        assert!(db.delete(key(number).as_bytes()).expect("is deleted"));
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            let seen = scan(&db);
            for number in 0..KEPT {
                let key = format!("kept {number}");
                assert!(seen.contains(key.as_bytes()), "{key} was there throughout and was not seen");
            }
        }
        come.into_iter().for_each(|thread| thread.join().expect("does not panic"));
        assert_eq!(scan(&db).len(), KEPT);
        assert_eq!(db.len(), KEPT);
        assert_eq!(db.verify(), Ok(()));
    });
}
