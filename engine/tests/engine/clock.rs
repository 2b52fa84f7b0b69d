//! Time: the engine's own, the wall clock's, and what the log knows of either. Each test opens with its story.

use super::support::DIR;
use sessile::{Db, Expiry, Options, Touch};
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::Arc;
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;
const START_MS: u64 = 1_700_000_000_000;

fn open(fs: &SimFs, clock: &SimClock) -> Db {
    Options::new()
        .file_system(Arc::new(fs.clone()))
        .clock(Arc::new(clock.clone()))
        .manual_background()
        .open(DIR)
        .expect("opens")
}

fn pass(db: &Db, clock: &SimClock, ms: u64) {
    for _ in 0..ms / 20 {
        clock.advance_ms(20);
        db.step().expect("steps");
    }
}

/// The log's batches carried the wall clock's time, not the engine's: a clock that was an hour fast for a moment left its time in the log,
/// and after the next start every session was an hour older.
#[test]
fn a_wall_clock_that_was_wrong_for_a_moment_kills_nothing_at_the_next_start() {
    let (fs, clock) = (SimFs::new(1), SimClock::new(START_MS));
    let db = open(&fs, &clock);
    db.set(b"session", b"user 7", Expiry::After(Duration::from_secs(1800))).expect("set");
    clock.set_wall_ms(START_MS + HOUR_MS);
    db.set(b"other", b"", Expiry::Never).expect("set");
    pass(&db, &clock, 2_000);
    clock.set_wall_ms(START_MS + 2_000);
    assert!(db.get(b"session").expect("get").is_some());
    drop(db);
    let db = open(&fs, &clock);
    assert!(db.get(b"session").expect("get").is_some());
    assert_eq!(db.now_ms(), START_MS + 2_000);
}

/// The other way round: the wall clock was set back while the database ran. Sessions died by the engine's time, of which the log knew
/// nothing, and the next start, an hour earlier, brought them back.
#[test]
fn what_died_while_the_wall_clock_was_behind_stays_dead() {
    let (fs, clock) = (SimFs::new(1), SimClock::new(START_MS));
    let db = open(&fs, &clock);
    db.set(b"session", b"user 7", Expiry::After(Duration::from_secs(10))).expect("set");
    clock.set_wall_ms(START_MS - HOUR_MS);
    pass(&db, &clock, 12_000);
    assert_eq!(db.len(), 0);
    fs.kill();
    drop(db);
    let db = open(&fs, &clock);
    assert!(db.get(b"session").expect("get").is_none());
    assert!(db.now_ms() > START_MS + 10_000);
    assert!(db.recovery().clock_ahead_ms > HOUR_MS - 2_000);
    // And once more: time goes on from there in this life too, and is in the log.
    db.set(b"session", b"user 8", Expiry::After(Duration::from_secs(10))).expect("set");
    pass(&db, &clock, 12_000);
    assert_eq!(db.len(), 0);
    fs.kill();
    drop(db);
    assert!(open(&fs, &clock).get(b"session").expect("get").is_none());
}

/// A touch is logged rounded up. A session that had died of its exact deadline, and been reclaimed, was alive again after a restart until
/// the rounded one.
#[test]
fn a_session_that_died_of_its_exact_deadline_does_not_rise_from_the_rounded_one() {
    let (fs, clock) = (SimFs::new(1), SimClock::new(START_MS));
    let db = open(&fs, &clock);
    let idle = Duration::from_secs(1800);
    db.set(b"policy", b"user 7", Expiry::Idle { idle, absolute: None }).expect("set");
    db.set(b"touched", b"user 8", Expiry::After(Duration::from_secs(1))).expect("set");
    assert!(db.touch(b"touched", Touch::For(idle)).expect("touch"));
    clock.advance_ms(1_800_000 - 1);
    assert!(db.get(b"policy").expect("get").is_some() && db.get(b"touched").expect("get").is_some());
    pass(&db, &clock, 40);
    assert_eq!(db.len(), 0);
    fs.kill();
    drop(db);
    let db = open(&fs, &clock);
    assert!(db.get(b"policy").expect("get").is_none());
    assert!(db.get(b"touched").expect("get").is_none());
    // The names are free for others.
    db.set(b"policy", b"user 9", Expiry::Never).expect("set");
    drop(db);
    assert!(open(&fs, &clock).get(b"policy").expect("get").is_some_and(|value| value == b"user 9"));
}

/// The report of a start said "keys found alive" and counted the dead ones of the log.
#[test]
fn the_report_of_a_start_counts_the_living() {
    let (fs, clock) = (SimFs::new(1), SimClock::new(START_MS));
    let db = open(&fs, &clock);
    db.set(b"short", b"", Expiry::After(Duration::from_secs(1))).expect("set");
    db.set(b"long", b"", Expiry::After(Duration::from_secs(100))).expect("set");
    drop(db);
    clock.advance_ms(2_000);
    assert_eq!(open(&fs, &clock).recovery().keys, 1);
}

/// The lag of expiry counted from the deadline of keys that had died while the database was closed: hours, after a night.
#[test]
fn the_lag_of_expiry_counts_no_time_before_the_start() {
    let (fs, clock) = (SimFs::new(1), SimClock::new(START_MS));
    let db = open(&fs, &clock);
    db.set(b"session", b"", Expiry::After(Duration::from_secs(1))).expect("set");
    drop(db);
    clock.advance_ms(8 * HOUR_MS);
    let db = open(&fs, &clock);
    pass(&db, &clock, 100);
    let stats = db.stats();
    assert_eq!((db.len(), stats.expired_keys), (0, 1));
    assert!(stats.expiry_lag_max_ms <= 40, "{} ms", stats.expiry_lag_max_ms);
}

/// A key whose absolute limit was no later than now was stored, and logged whole, only to be reclaimed.
#[test]
fn a_key_whose_absolute_limit_has_come_is_not_stored() {
    let (fs, clock) = (SimFs::new(1), SimClock::new(START_MS));
    let db = open(&fs, &clock);
    db.set(b"session", b"old", Expiry::Never).expect("set");
    let limit = Expiry::Idle { idle: Duration::from_secs(60), absolute: Some(Duration::ZERO) };
    db.set(b"session", b"new", limit).expect("set");
    assert_eq!(db.len(), 0);
}
