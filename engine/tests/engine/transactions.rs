//! Transactions that are watched for, taken back, extended, or made on copies; databases that change places; all of it on many threads.

use super::support::{look_at_all, open_free, pause};
use sessile::{
    Access, Begun, Committed, Db, Durability, Error, Expiry, Extended, Key, Lsn, Options, Txn, Watch,
};
use sessile_wal::sim::Rng;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const ACCOUNTS: u64 = 24;
const TRANSFERS: u64 = 1_500;

fn account(number: u64) -> Vec<u8> {
    format!("account {number}").into_bytes()
}

fn amount(txn: &Txn<'_>, key: &Key<'_>) -> i64 {
    let text = txn.string(key).expect("a string").expect("there");
    std::str::from_utf8(text).expect("digits").parse().expect("a number")
}

fn transfer(txn: &mut Txn<'_>, from: &Key<'_>, to: &Key<'_>) {
    let left = amount(txn, from) - 3;
    txn.set(from, left.to_string().as_bytes(), Expiry::Keep);
    let right = amount(txn, to) + 3;
    txn.set(to, right.to_string().as_bytes(), Expiry::Keep);
}

fn unchanged(db: &Db, watches: &[Watch]) -> bool {
    match db.try_begin_watching(&[], watches.iter(), Access::Read, db.now_ms(), None).expect("begins") {
        Begun::Ready(mut txn) => watches.iter().all(|watch| txn.is_unchanged(watch)),
        Begun::Cold(_) => unreachable!("no keys, no values"),
    }
}

/// As [`Db::begin`], where others swap databases.
fn begin<'db>(db: &'db Db, database: u8, names: &[Vec<u8>], then: impl FnOnce(&mut Txn<'db>, &[Key<'_>])) {
    loop {
        let keys: Vec<Key<'_>> = names.iter().map(|name| db.key(database, name)).collect();
        match db.begin(&keys, Access::Write, db.now_ms()) {
            Err(Error::DatabasesSwapped) => {}
            begun => {
                let mut txn = begun.expect("begins");
                then(&mut txn, &keys);
                txn.commit();
                return;
            }
        }
    }
}

/// Learns of the second account when it has the first.
fn extended(db: &Db, [from, to]: [&[u8]; 2]) {
    let mut known = vec![from];
    loop {
        let keys: Vec<Key<'_>> = known.iter().map(|name| db.key(0, name)).collect();
        let mut txn = db.begin(&keys, Access::Write, db.now_ms()).expect("begins");
        txn.make_revocable();
        let (first, second) = (db.key(0, from), db.key(0, to));
        // Something to be taken back.
        let wrong = amount(&txn, &first) - 1_000;
        txn.set(&first, wrong.to_string().as_bytes(), Expiry::Keep);
        match txn.extend(&[second]).expect("extends") {
            Extended::Ready => {
                let right = (wrong + 1_000).to_string();
                txn.set(&first, right.as_bytes(), Expiry::Keep);
                transfer(&mut txn, &first, &second);
                txn.commit();
                return;
            }
            Extended::Contended => {
                txn.roll_back();
                known = vec![from, to];
            }
            Extended::Cold(_) => unreachable!("all is in memory"),
        }
    }
}

fn on_copies(db: &Db, [from, to]: [&[u8]; 2]) -> u64 {
    for conflicts in 0.. {
        let mut overlay = db.overlay(db.now_ms());
        let (first, second) = (db.key(0, from), db.key(0, to));
        // One after the other, so that others come in between.
        drop(overlay.begin(&[first], Access::Read).expect("begins"));
        std::thread::yield_now();
        let mut txn = overlay.begin(&[first, second], Access::Write).expect("begins");
        transfer(&mut txn, &first, &second);
        txn.commit();
        match overlay.commit().expect("commits") {
            Committed::At(lsn) => {
                assert!(lsn > Lsn::ZERO);
                return conflicts;
            }
            Committed::Conflict => {}
        }
    }
    unreachable!()
}

fn watched(db: &Db, names: [&[u8]; 2]) -> u64 {
    for conflicts in 0.. {
        let now_ms = db.now_ms();
        let watches: Vec<Watch> =
            names.iter().map(|name| db.watch(0, name, now_ms).expect("watches")).collect();
        let amounts = names.map(|name| {
            let text = db.get(name).expect("a string").expect("there");
            std::str::from_utf8(&text).expect("digits").parse::<i64>().expect("a number")
        });
        std::thread::yield_now();
        let keys = names.map(|name| db.key(0, name));
        let begun = db.try_begin_watching(&keys, watches.iter(), Access::Write, now_ms, None);
        let Begun::Ready(mut txn) = begun.expect("begins") else { unreachable!("all is in memory") };
        if !watches.iter().all(|watch| txn.is_unchanged(watch)) {
            continue;
        }
        for (key, amount) in keys.iter().zip([amounts[0] - 3, amounts[1] + 3]) {
            txn.set(key, amount.to_string().as_bytes(), Expiry::Keep);
        }
        txn.commit();
        return conflicts;
    }
    unreachable!()
}

/// However a transfer is made, nothing is lost and nothing is made of nothing; and each of them meets the others.
#[test]
fn transfers_of_every_kind_keep_the_sum() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Options::new().durability(Durability::No).open(dir.path()).expect("opens");
    for number in 0..ACCOUNTS {
        db.set(&account(number), b"1000", Expiry::Never).expect("set");
    }
    let (copies, watches) = (AtomicU64::new(0), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let transfers: Vec<_> = (0..4)
            .map(|seed| {
                let (db, copies, watches) = (&db, &copies, &watches);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    for _ in 0..TRANSFERS {
                        let from = rng.below(ACCOUNTS);
                        let to = (from + 1 + rng.below(ACCOUNTS - 1)) % ACCOUNTS;
                        let names = [account(from), account(to)];
                        let pair = [&names[0][..], &names[1][..]];
                        match rng.below(4) {
                            0 => begin(db, 0, &names, |txn, keys| transfer(txn, &keys[0], &keys[1])),
                            1 => extended(db, pair),
                            2 => drop(copies.fetch_add(on_copies(db, pair), Relaxed)),
                            _ => drop(watches.fetch_add(watched(db, pair), Relaxed)),
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let names: Vec<Vec<u8>> = (0..ACCOUNTS).map(account).collect();
            while !over.load(Relaxed) {
                let keys: Vec<Key<'_>> = names.iter().map(|name| db.key(0, name)).collect();
                let txn = db.begin(&keys, Access::Read, db.now_ms()).expect("begins");
                let sum: i64 = keys.iter().map(|key| amount(&txn, key)).sum();
                drop(txn);
                assert_eq!(sum, 1_000 * ACCOUNTS as i64);
                // The same through copies, which must be of one moment to be committed.
                let mut overlay = db.overlay(db.now_ms());
                let sums: i64 = keys
                    .iter()
                    .map(|key| amount(&overlay.begin(&[*key], Access::Read).expect("begins"), key))
                    .sum();
                if overlay.commit().expect("commits") != Committed::Conflict {
                    assert_eq!(sums, 1_000 * ACCOUNTS as i64);
                }
            }
        });
        transfers.into_iter().for_each(|thread| thread.join().expect("no panic"));
        over.store(true, Relaxed);
    });
    assert!(copies.load(Relaxed) > 0 && watches.load(Relaxed) > 0, "nobody met anybody");
    let before = look_at_all(&db);
    assert_eq!(db.verify(), Ok(()));
    drop(db);
    assert_eq!(look_at_all(&open_free(&Options::new(), dir.path())), before);
}

/// All keys of a database always say the same, though databases change places under those who write and read them.
#[test]
fn nobody_sees_half_a_swap() {
    const KEYS: u64 = 12;
    let dir = tempfile::tempdir().expect("a directory");
    let db = Options::new().durability(Durability::No).open(dir.path()).expect("opens");
    let names: Vec<Vec<u8>> = (0..KEYS).map(account).collect();
    for database in 0..3 {
        begin(&db, database, &names, |txn, keys| {
            keys.iter().for_each(|key| txn.set(key, format!("start {database}").as_bytes(), Expiry::Never));
        });
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (db, names, over) = (&db, &names, &over);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                let mut round = 0;
                while !over.load(Relaxed) {
                    let database = rng.below(3) as u8;
                    begin(db, database, names, |txn, keys| {
                        let first = txn.string(&keys[0]).expect("a string").expect("there").to_vec();
                        for key in keys {
                            let here = txn.string(key).expect("a string").expect("there");
                            assert_eq!(here, first, "half a swap");
                        }
                        round += 1;
                        let text = format!("thread {seed} round {round}");
                        keys.iter().for_each(|key| txn.set(key, text.as_bytes(), Expiry::Never));
                    });
                    let mut overlay = db.overlay(db.now_ms());
                    let keys: Vec<Key<'_>> = names.iter().map(|name| overlay.key(database, name)).collect();
                    let Ok(mut txn) = overlay.begin(&keys, Access::Write) else { continue };
                    keys.iter().for_each(|key| txn.set(key, b"by an overlay", Expiry::Never));
                    txn.commit();
                    match overlay.commit() {
                        Ok(_) | Err(Error::DatabasesSwapped) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let mut rng = Rng::new(99);
        for _ in 0..400 {
            db.swap_databases(rng.below(3) as u8, rng.below(3) as u8).expect("swaps");
            pause(Duration::from_micros(200));
        }
        over.store(true, Relaxed);
    });
    let before = look_at_all(&db);
    drop(db);
    assert_eq!(look_at_all(&open_free(&Options::new(), dir.path())), before);
}

/// What changes a key and what does not, as those see it who watch it.
#[test]
fn a_watch_sees_every_change_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = open_free(&Options::new(), dir.path());
    let watch = |name: &[u8]| db.watch(0, name, db.now_ms()).expect("watches");
    let long = Duration::from_secs(1_000);
    let changes: [(&str, &dyn Fn()); 8] = [
        ("set", &|| db.set(b"key", b"new", Expiry::Never).expect("set")),
        ("deleted", &|| assert!(db.delete(b"key").expect("deleted"))),
        ("touched", &|| assert!(db.touch(b"key", long).expect("touched"))),
        ("deadline", &|| assert!(db.expire_at_ms(b"key", Some(db.now_ms() + 99_999)).expect("moved"))),
        ("there and back", &|| {
            db.delete(b"key").expect("deleted");
            db.set(b"key", b"old", Expiry::Never).expect("set");
        }),
        ("renamed over", &|| {
            db.set(b"other", b"1", Expiry::Never).expect("set");
            db.transaction(&[b"other", b"key"], |txn, keys| txn.rename(&keys[0], &keys[1])).expect("ok");
        }),
        ("cleared", &|| assert!(db.clear(None).is_ok())),
        ("its database cleared", &|| {
            db.database(1).set(b"key", b"", Expiry::Never).expect("set");
            db.clear(Some(0)).expect("cleared");
        }),
    ];
    for (name, change) in changes {
        db.set(b"key", b"old", Expiry::Never).expect("set");
        let watches = [watch(b"key")];
        assert!(unchanged(&db, &watches));
        change();
        assert!(!unchanged(&db, &watches), "{name}");
        assert!(unchanged(&db, &[watch(b"key")]), "{name}: a new watch starts from here");
    }
    // No changes.
    db.set(b"key", b"old", Expiry::Never).expect("set");
    let watches = [watch(b"key"), watch(b"not there")];
    db.set(b"another", b"1", Expiry::Never).expect("set");
    db.database(1).set(b"key", b"1", Expiry::Never).expect("set");
    db.get(b"key").expect("a string");
    db.checkpoint().expect("made");
    let key = db.key(0, b"key");
    let mut txn = db.begin(&[key], Access::Write, db.now_ms()).expect("begins");
    txn.make_revocable();
    txn.delete(&key);
    txn.set(&key, b"never", Expiry::After(long));
    txn.roll_back();
    drop(db.begin(&[key], Access::Write, db.now_ms()).map(|mut txn| {
        txn.make_revocable();
        txn.delete(&key);
    }));
    assert!(unchanged(&db, &watches));
    db.clear(None).expect("cleared");
    assert!(unchanged(&db, &watches[1..]), "what is not there is not cleared");
    db.set(b"not there", b"", Expiry::Never).expect("set");
    assert!(!unchanged(&db, &watches[1..]));
}

/// A key that dies has changed for those who saw it alive, and for no others.
#[test]
fn a_death_is_a_change_for_who_saw_the_key_alive() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = open_free(&Options::new(), dir.path());
    db.set(b"key", b"1", Expiry::After(Duration::from_millis(30))).expect("set");
    let alive = [db.watch(0, b"key", db.now_ms()).expect("watches")];
    assert!(unchanged(&db, &alive));
    db.set_active_expiry(false);
    pause(Duration::from_millis(40));
    assert!(!unchanged(&db, &alive), "dead, and still in its place");
    let dead = [db.watch(0, b"key", db.now_ms()).expect("watches")];
    db.set_active_expiry(true);
    pause(Duration::from_millis(150));
    assert_eq!(db.len(), 0);
    assert!(!unchanged(&db, &alive), "dead, and gone");
    assert!(unchanged(&db, &dead), "it was dead before");
    db.set(b"key", b"2", Expiry::Never).expect("set");
    assert!(!unchanged(&db, &dead));
}

/// A transaction that finds somebody at its key does not wait, and neither do two that come from either end.
#[test]
fn an_extension_never_waits() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = open_free(&Options::new(), dir.path());
    let names: Vec<Vec<u8>> = (0..200).map(account).collect();
    let (one, other) =
        (db.key(0, &names[0]), names.iter().map(|name| db.key(0, name)).next_back().expect("some"));
    std::thread::scope(|scope| {
        let held = db.begin(&[one], Access::Write, db.now_ms()).expect("begins");
        let found = scope.spawn(|| {
            let mut txn = db.begin(&[other], Access::Write, db.now_ms()).expect("begins");
            txn.make_revocable();
            let found = matches!(txn.extend(&[one]).expect("extends"), Extended::Contended);
            txn.roll_back();
            found
        });
        assert!(found.join().expect("no panic"), "its lock is held, unless both are in one shard");
        drop(held);
    });
}

/// Databases keep their places over a crash and over checkpoints.
#[test]
fn a_swap_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = || open_free(&Options::new(), dir.path());
    let db = open();
    db.database(0).set(b"key", b"from 0", Expiry::Never).expect("set");
    db.database(1).set(b"key", b"from 1", Expiry::Never).expect("set");
    db.swap_databases(0, 1).expect("swapped");
    db.swap_databases(1, 7).expect("swapped");
    db.set(b"later", b"in 0", Expiry::Never).expect("set");
    let look = |db: &Db| {
        let value =
            |database: u8| db.database(database).get(b"key").expect("a string").map(|value| value.to_vec());
        assert_eq!(value(0).as_deref(), Some(&b"from 1"[..]));
        assert_eq!(value(7).as_deref(), Some(&b"from 0"[..]));
        assert_eq!(value(1), None);
        assert_eq!(db.get(b"later").expect("a string").as_deref(), Some(&b"in 0"[..]));
        assert_eq!((db.len_of(0), db.len_of(1), db.len_of(7)), (2, 0, 1));
        let mut keys = Vec::new();
        db.scan(7, 0, 100, &mut |key, _| keys.push(key.to_vec())).expect("scans");
        assert_eq!(keys, [b"key"]);
    };
    look(&db);
    drop(db);
    let db = open();
    look(&db);
    db.checkpoint().expect("made");
    drop(db);
    let db = open();
    look(&db);
    db.clear(Some(7)).expect("cleared");
    assert_eq!((db.len_of(0), db.len_of(7)), (2, 0));
}

/// A large value is not copied when a transaction on copies begins, but by whoever changes it first; neither sees what the other does.
#[test]
fn an_overlay_shares_large_values_and_each_side_changes_its_own() {
    const MEMBERS: u32 = 20_000;
    let dir = tempfile::tempdir().expect("a directory");
    let db = Options::new().open(dir.path()).expect("opens");
    let key = db.key(0, b"large");
    let members: Vec<Vec<u8>> = (0..MEMBERS).map(|number| format!("member {number}").into_bytes()).collect();
    let members: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
    let write = |change: &dyn Fn(&mut sessile::Txn<'_>)| {
        let mut txn = db.begin(&[key], Access::Write, db.now_ms()).expect("begins");
        change(&mut txn);
        txn.commit();
    };
    let len = || {
        let txn = db.begin(&[key], Access::Read, db.now_ms()).expect("begins");
        (txn.set_len(&key).expect("a set"), txn.extent(&key).is_shared)
    };
    write(&|txn| _ = txn.set_add(&key, &members));
    assert_eq!(len(), (MEMBERS as usize, false));
    assert!(!db.has_overlays());

    // What reads sees what was there, whatever happens.
    let mut overlay = db.overlay(db.now_ms());
    drop(overlay.begin(&[key], Access::Read).expect("begins"));
    assert!(db.has_overlays());
    assert_eq!(len(), (MEMBERS as usize, true));
    write(&|txn| _ = txn.set_remove(&key, &members[..10]));
    assert_eq!(len(), (MEMBERS as usize - 10, false), "whoever changes it has its own from then on");
    let txn = overlay.begin(&[key], Access::Read).expect("begins");
    assert_eq!(txn.set_len(&key).expect("a set"), MEMBERS as usize);
    drop(txn);
    drop(overlay);

    // What writes is a conflict then, and happens as a whole if nobody else has written.
    for conflict in [true, false] {
        let mut overlay = db.overlay(db.now_ms());
        let mut txn = overlay.begin(&[key], Access::Write).expect("begins");
        txn.set_remove(&key, &members[10..1000]).expect("a set");
        txn.commit();
        assert_eq!(len().0, MEMBERS as usize - 10, "nothing has happened yet");
        if conflict {
            write(&|txn| _ = txn.set_add(&key, &[b"another"]));
            write(&|txn| _ = txn.set_remove(&key, &[b"another"]));
        }
        let committed = overlay.commit().expect("commits");
        assert_eq!(committed == Committed::Conflict, conflict);
    }
    assert_eq!(len(), (MEMBERS as usize - 1000, false));
    assert!(!db.has_overlays());
    drop(db);
    // And is in the log.
    let db = Options::new().open(dir.path()).expect("opens");
    let key = db.key(0, b"large");
    let txn = db.begin(&[key], Access::Read, db.now_ms()).expect("begins");
    assert_eq!(txn.set_len(&key).expect("a set"), MEMBERS as usize - 1000);
}
