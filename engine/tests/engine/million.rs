//! A million keys that are due within one second.

use sessile::{Clock, Durability, Expiry, Options};
use sessile_wal::SystemClock;
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Fewer in a build without optimisation, unless `SESSILE_KEYS` says otherwise.
fn keys() -> u64 {
    let asked = std::env::var("SESSILE_KEYS").ok().and_then(|value| value.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 200_000 } else { 1_000_000 })
}

/// Timers that one hold of a shard's lock may handle: the limit and what is left of the last link of a chain.
const TIMERS_PER_HOLD: u64 = 256 + 30;
/// The least number of shards.
const SHARDS: u64 = 64;

/// In simulated time, one thread: counts what is done in one hold, and times it. Deterministic but for the time.
#[test]
fn each_hold_of_a_lock_takes_few_of_a_million_and_they_are_gone_in_time() {
    let clock = SimClock::default();
    let db = Options::new()
        .durability(Durability::No)
        .file_system(Arc::new(SimFs::new(0)))
        .clock(Arc::new(clock.clone()))
        .manual_background()
        .open("/data")
        .expect("opens");
    // Far enough that they come down from the coarser levels of the wheel.
    let first_ms = db.now_ms() + 100_000;
    for number in 0..keys() {
        let key = number.to_le_bytes();
        let key = db.key(0, &key);
        let mut txn =
            db.begin(std::slice::from_ref(&key), sessile::Access::Write, db.now_ms()).expect("readable");
        txn.put_string(&key, b"x", Some(first_ms + number % 1_000));
        txn.commit();
        if number % 10_000 == 0 {
            db.push_log().expect("pushed");
        }
    }
    let shards = (std::thread::available_parallelism().map_or(1, |n| n.get() as u64) * 16)
        .next_power_of_two()
        .clamp(SHARDS, 1024);
    let (mut steps, mut longest_ns, mut step_of_a_tick) = (0u64, 0, 0u64);
    while db.now_ms() < first_ms + 1_000 + 100 {
        clock.advance_ms(10);
        let mut in_this_tick = 0;
        loop {
            let before = db.stats().expired_keys;
            let begun_ns = SystemClock.monotonic_ns();
            let pause = db.step().expect("steps");
            longest_ns = longest_ns.max(SystemClock.monotonic_ns() - begun_ns);
            steps += 1;
            in_this_tick += 1;
            let taken = db.stats().expired_keys - before;
            assert!(taken <= shards * TIMERS_PER_HOLD, "{taken} keys in one step of {shards} holds");
            if !pause.is_zero() || in_this_tick > 1_000_000 {
                break;
            }
        }
        step_of_a_tick = step_of_a_tick.max(in_this_tick);
    }
    assert_eq!((db.len(), db.stats().expired_keys), (0, keys()));
    let lag_ms = db.stats().expiry_lag_max_ms;
    assert!(lag_ms <= 100, "{lag_ms} ms");
    println!(
        "{} keys in one second: {steps} steps, longest step of {shards} holds {} µs ({} µs a hold on average), lag at most {lag_ms} ms",
        keys(),
        longest_ns / 1000,
        longest_ns / 1000 / shards,
    );
}

/// In real time, with the database's own threads and a reader, whose waiting tells how long locks are held.
#[test]
fn a_million_keys_that_die_in_one_second_are_gone_within_the_next_and_readers_do_not_notice() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Options::new().durability(Durability::No).open(dir.path()).expect("opens");
    for number in 0..1_000u32 {
        db.set(format!("stays {number}").as_bytes(), [1; 300], Expiry::Never).expect("set");
    }
    let total = keys();
    // Loading must be over when they begin to die.
    let first_ms = db.now_ms() + 3_000 + total / 50;
    let load = |from: u64| {
        let db = db.clone();
        std::thread::spawn(move || {
            for number in (from..total).step_by(2) {
                let at = Expiry::AtMs(first_ms + number % 1_000);
                db.set(&number.to_le_bytes(), b"0123456789abcdef", at).expect("set");
            }
        })
    };
    for loader in [load(0), load(1)] {
        loader.join().expect("loads");
    }
    assert!(db.now_ms() < first_ms, "loading took longer than planned");
    assert_eq!(db.len() as u64, total + 1_000);
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (db, stop) = (db.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            // Buckets of a power of two nanoseconds.
            let (mut buckets, mut worst_ns, mut number) = ([0u64; 40], 0, 0u32);
            let mut last_ns = SystemClock.monotonic_ns();
            while !stop.load(Relaxed) {
                number = (number + 7) % 1_000;
                assert!(db.contains(format!("stays {number}").as_bytes()).expect("readable"));
                let now_ns = SystemClock.monotonic_ns();
                buckets[(now_ns - last_ns).ilog2() as usize] += 1;
                worst_ns = worst_ns.max(now_ns - last_ns);
                last_ns = now_ns;
            }
            (buckets, worst_ns)
        })
    };
    let gone_ms = loop {
        let now_ms = db.now_ms();
        let left = (db.len() - 1_000) as u64;
        // Those that died more than 100 ms ago; at most 1 % may be left of them.
        let dead_long = now_ms.saturating_sub(first_ms + 100).min(1_000) * total / 1_000;
        let may_be_left = total - dead_long + total / 100;
        assert!(left <= may_be_left, "{left} are left {} ms after the first died", now_ms - first_ms);
        if left == 0 {
            break now_ms;
        }
        super::support::pause(std::time::Duration::from_millis(2));
    };
    stop.store(true, Relaxed);
    let (buckets, worst_ns) = reader.join().expect("reads");
    let reads: u64 = buckets.iter().sum();
    let over_1_ms: u64 = buckets[20..].iter().sum();
    println!(
        "{total} keys gone {} ms after the last died; lag at most {} ms; {reads} reads, {over_1_ms} over 1 ms, the longest {} µs",
        gone_ms as i64 - (first_ms + 999) as i64,
        db.stats().expiry_lag_max_ms,
        worst_ns / 1000
    );
    assert!(gone_ms <= first_ms + 2_000, "the last is gone {} ms late", gone_ms - first_ms - 1_000);
    // A thread may lose its core for longer than any lock is held; but not often.
    assert!(over_1_ms * 10_000 <= reads, "{over_1_ms} of {reads} reads took longer than 1 ms");
}
