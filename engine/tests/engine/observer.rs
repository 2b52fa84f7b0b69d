//! What an observer hears of keys that expire or are evicted, on a simulated disk with limits so small that keys are on disk, compressed,
//! and share their hashes: of each key once, in order with what transactions do to it.

use super::storage::Profile;
use super::support::{for_each_seed, pause};
use sessile::{Access, Db, Durability, Expiry, Observer, Occurrence, Options};
use sessile_wal::sim::{Rng, SimClock, SimFs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const START_MS: u64 = 1_700_000_000_000;

type Id = (u8, Vec<u8>);

/// Writes down what it hears.
#[derive(Default)]
struct Listener {
    heard: Mutex<Vec<(Occurrence, Id)>>,
    ended: AtomicU64,
}

impl Observer for Listener {
    fn happened(&self, what: Occurrence, database: u8, key: &[u8]) {
        self.heard.lock().expect("nobody panicked").push((what, (database, key.to_vec())));
    }

    fn done(&self) {
        self.ended.fetch_add(1, Relaxed);
    }
}

/// A database, and what is known of its keys.
struct Observed {
    db: Db,
    clock: SimClock,
    listener: Arc<Listener>,
    /// The deadlines of keys that are there, as far as was heard.
    deadlines: BTreeMap<Id, u64>,
    evicts_keys: bool,
    evicted: BTreeSet<Id>,
    /// How many expired.
    expired: usize,
}

impl Observed {
    fn open(rng: &mut Rng, profile: &Profile) -> Observed {
        let (fs, clock) = (SimFs::new(0), SimClock::new(START_MS));
        let db = profile.open(rng, Durability::No, &fs, &clock).expect("opens");
        let listener = Arc::new(Listener::default());
        db.set_observer(Arc::clone(&listener) as _);
        db.set_observing(true);
        let evicts_keys = profile.evicts_keys;
        Observed {
            db,
            clock,
            listener,
            deadlines: BTreeMap::new(),
            evicts_keys,
            evicted: BTreeSet::new(),
            expired: 0,
        }
    }

    /// Takes what was heard into account.
    fn hear(&mut self) {
        let now_ms = self.db.now_ms();
        for (what, id) in std::mem::take(&mut *self.listener.heard.lock().expect("nobody panicked")) {
            match what {
                Occurrence::Expired => {
                    let deadline_ms = self.deadlines.remove(&id);
                    assert!(
                        deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms),
                        "{id:?} expired at {now_ms}, and its deadline was {deadline_ms:?}"
                    );
                    self.expired += 1;
                }
                Occurrence::Evicted => {
                    // One that was on disk is told of later, when it may be there again.
                    self.evicted.insert(id);
                }
                other => panic!("{other:?} of {id:?}"),
            }
        }
    }

    /// A transaction over one key.
    fn change(&mut self, id: &Id, set: bool, deadline_ms: u64) {
        let db = self.db.clone();
        let key = db.key(id.0, &id.1);
        let mut txn = db.begin(&[key], Access::Write, db.now_ms()).expect("readable");
        // Whoever was there and is dead has been told of by now.
        self.hear();
        let known = self.deadlines.get(id).is_some_and(|&deadline_ms| deadline_ms > db.now_ms());
        let told = known || self.evicts_keys || !self.deadlines.contains_key(id);
        assert!(told, "nobody was told of the end of {id:?}");
        if !self.evicts_keys {
            assert_eq!(txn.exists(&key), known, "{id:?}");
        }
        if set {
            txn.set(&key, &[7; 200], Expiry::AtMs(deadline_ms));
        } else {
            txn.delete(&key);
        }
        let mut told = 0;
        txn.commit_then(|_| told += 1);
        assert_eq!(told, 1);
        if set {
            self.deadlines.insert(id.clone(), deadline_ms);
        } else {
            self.deadlines.remove(id);
        }
    }

    fn step(&mut self) {
        // With limits as small as these there may always be more to do.
        for _ in 0..100 {
            if !self.db.step().expect("steps").is_zero() {
                break;
            }
        }
        self.hear();
    }
}

#[test]
fn of_each_key_that_dies_an_observer_hears_once_and_before_the_next_life() {
    for_each_seed(100, |seed| {
        let mut rng = Rng::new(seed);
        let profile = Profile::new(&mut rng);
        let mut observed = Observed::open(&mut rng, &profile);
        for _ in 0..400 {
            let id = (rng.below(2) as u8, format!("key {}", rng.below(profile.keys)).into_bytes());
            match rng.below(10) {
                0..=4 => {
                    let deadline_ms = observed.db.now_ms() + 1 + rng.below(500);
                    observed.change(&id, true, deadline_ms);
                }
                5 => observed.change(&id, false, 0),
                6 => {
                    let key = observed.db.key(id.0, &id.1);
                    let txn =
                        observed.db.begin(&[key], Access::Read, observed.db.now_ms()).expect("readable");
                    let there = txn.exists(&key);
                    drop(txn);
                    observed.hear();
                    let now_ms = observed.db.now_ms();
                    let known = observed.deadlines.get(&id).is_some_and(|&deadline_ms| deadline_ms > now_ms);
                    assert!(there == known || observed.evicts_keys, "{id:?}");
                }
                7 => {
                    observed.db.checkpoint().expect("a checkpoint");
                    observed.step();
                }
                8 => {
                    observed.clock.advance_ms(rng.below(300));
                }
                _ => {
                    observed.clock.advance_ms(rng.below(30));
                    observed.step();
                }
            }
        }
        for _ in 0..100 {
            observed.clock.advance_ms(20);
            observed.step();
        }
        if observed.evicts_keys {
            let silent = observed.deadlines.keys().find(|id| !observed.evicted.contains(*id));
            assert_eq!(silent, None, "gone without a word");
        } else {
            assert_eq!(observed.deadlines, BTreeMap::new(), "gone without a word");
            assert!(observed.evicted.is_empty());
        }
        assert_eq!(observed.db.database(0).len() + observed.db.database(1).len(), 0);
        assert!(observed.expired > 0 && observed.listener.ended.load(Relaxed) > 0);
        if !observed.evicts_keys {
            assert_eq!(observed.db.stats().expired_keys, observed.expired as u64);
        }
    });
}

#[test]
fn nothing_is_told_while_nobody_observes() {
    let clock = SimClock::new(START_MS);
    let db = Options::new()
        .file_system(Arc::new(SimFs::new(0)))
        .clock(Arc::new(clock.clone()))
        .manual_background()
        .open(super::support::DIR)
        .expect("opens");
    let listener = Arc::new(Listener::default());
    db.set_observer(Arc::clone(&listener) as _);
    for (on, told) in [(false, 0), (true, 1), (false, 1)] {
        db.set_observing(on);
        db.set(b"key", "value", Duration::from_millis(5)).expect("set");
        clock.advance_ms(100);
        while db.step().expect("steps").is_zero() {}
        assert_eq!(db.len(), 0);
        assert_eq!(listener.heard.lock().expect("nobody panicked").len(), told);
    }
}

#[test]
fn the_database_s_own_threads_tell_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Db::open(dir.path()).expect("opens");
    let listener = Arc::new(Listener::default());
    db.set_observer(Arc::clone(&listener) as _);
    db.set_observing(true);
    for number in 0..1_000 {
        db.set(format!("key {number}").as_bytes(), "value", Duration::from_millis(1 + number % 50))
            .expect("set");
    }
    for _ in 0..1_000 {
        if listener.heard.lock().expect("nobody panicked").len() == 1_000 {
            return;
        }
        pause(Duration::from_millis(10));
    }
    panic!("{} of 1000 keys", listener.heard.lock().expect("nobody panicked").len());
}
