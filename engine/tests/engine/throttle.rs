//! Throttles against the algorithm in its plainest form, and against what redis-cell answers.

use super::support::{DIR, for_each_seed};
use sessile::{Access, Db, Error, Expiry, Options, THROTTLE_NUMBER_MAX, Throttle, ThrottleError, Throttled};
use sessile_wal::sim::{Rng, SimClock, SimFs};
use std::sync::Arc;

const START_MS: u64 = 1_700_000_000_000;

fn open(sim: &SimFs, clock: &SimClock) -> Db {
    let (fs, clock) = (Arc::new(sim.clone()), Arc::new(clock.clone()));
    Options::new().manual_background().file_system(fs).clock(clock).open(DIR).expect("opens")
}

fn ask(db: &Db, now_ms: u64, throttle: Throttle, quantity: u64) -> Throttled {
    let key = db.key(0, b"t");
    let mut txn = db.begin(&[key], Access::Write, now_ms).expect("begins");
    let throttled = txn.throttle(&key, throttle, quantity).expect("in range");
    assert_eq!(
        txn.changed(),
        !throttled.limited && quantity > 0,
        "what is refused or only asked writes nothing"
    );
    if txn.changed() {
        assert!(txn.record_bytes() <= 48, "a record of {} bytes", txn.record_bytes());
    }
    txn.commit();
    throttled
}

/// The cases of redis-cell's own tests: five at once, one each second.
#[test]
fn answers_are_those_of_redis_cell() {
    let (sim, clock) = (SimFs::new(1), SimClock::new(START_MS));
    let db = open(&sim, &clock);
    let throttle = Throttle { max_burst: 4, count: 1, period_s: 1 };
    // At, quantity; limited, remaining, reset after, retry after (-1: none), in seconds rounded up.
    for (at_ms, quantity, limited, remaining, reset, retry) in [
        (0, 6, true, 5, 0, -1),
        (0, 1, false, 4, 1, -1),
        (0, 1, false, 3, 2, -1),
        (0, 1, false, 2, 3, -1),
        (0, 1, false, 1, 4, -1),
        (0, 1, false, 0, 5, -1),
        (0, 1, true, 0, 5, 1),
        (3000, 1, false, 2, 3, -1),
        (3100, 1, false, 1, 4, -1),
        (4000, 1, false, 1, 4, -1),
        (8000, 1, false, 4, 1, -1),
        (9500, 1, false, 4, 1, -1),
        (9500, 0, false, 4, 1, -1),
        (9500, 2, false, 2, 3, -1),
        (9500, 5, true, 2, 3, 3),
    ] {
        let expected = Throttled {
            limited,
            limit: 5,
            remaining,
            retry_after_s: u64::try_from(retry).ok(),
            reset_after_s: reset,
        };
        assert_eq!(ask(&db, START_MS + at_ms, throttle, quantity), expected, "{quantity} at {at_ms} ms");
    }
}

/// The algorithm, as it is told: when the next one is due, and how far ahead of that is tolerated.
#[derive(Default)]
struct Reference {
    due_ns: i128,
}

impl Reference {
    fn ask(&mut self, now_ms: u64, throttle: Throttle, quantity: u64) -> Throttled {
        const SECOND: i128 = 1_000_000_000;
        let now = i128::from(now_ms) * 1_000_000;
        let interval = i128::from(throttle.period_s) * SECOND / i128::from(throttle.count);
        let limit = i128::from(throttle.max_burst) + 1;
        let due = self.due_ns.max(now);
        let after = due + interval * i128::from(quantity);
        let earliest = after - interval * limit;
        let limited = now < earliest;
        if !limited && quantity > 0 {
            self.due_ns = after;
        }
        let ahead = if limited { due } else { after } - now;
        let ceil = |ns: i128| ((ns + SECOND - 1) / SECOND) as u64;
        Throttled {
            limited,
            limit: limit as u64,
            remaining: ((interval * limit - ahead).max(0) / interval) as u64,
            retry_after_s: (limited && i128::from(quantity) <= limit).then(|| ceil(earliest - now)),
            reset_after_s: ceil(ahead),
        }
    }
}

#[test]
fn answers_are_those_of_the_algorithm_whatever_the_numbers() {
    for_each_seed(200, |seed| {
        let mut rng = Rng::new(seed);
        let (sim, clock) = (SimFs::new(seed), SimClock::new(START_MS));
        let mut db = open(&sim, &clock);
        let number = |rng: &mut Rng, least: u64| {
            let most = [1, 3, 10, 1000, THROTTLE_NUMBER_MAX][rng.below(5) as usize];
            least + rng.below(most - least + 1)
        };
        let throttle = Throttle {
            max_burst: number(&mut rng, 0),
            count: number(&mut rng, 1),
            period_s: number(&mut rng, 1),
        };
        let (mut reference, mut now_ms) = (Reference::default(), START_MS);
        let interval_ms = throttle.period_s * 1000 / throttle.count;
        for step in 0..60 {
            // Also with what has died, and on both sides of a restart.
            now_ms += rng.below(interval_ms.saturating_mul(3) + 2);
            let quantity = [0, 1, 1, 1, 2, number(&mut rng, 0)][rng.below(6) as usize];
            let expected = reference.ask(now_ms, throttle, quantity);
            assert_eq!(
                ask(&db, now_ms, throttle, quantity),
                expected,
                "{throttle:?} {quantity} at step {step}"
            );
            let key = db.key(0, b"t");
            let txn = db.begin(&[key], Access::Read, now_ms).expect("begins");
            if let Some(deadline) = txn.deadline(&key) {
                let due_ms = (reference.due_ns + 999_999) / 1_000_000;
                assert_eq!(
                    i128::from(deadline.expect("it dies")),
                    due_ms,
                    "it dies when it says nothing more"
                );
            }
            drop(txn);
            if rng.chance(5) && now_ms < START_MS * 2 {
                db.flush().expect("written");
                drop(db);
                sim.kill();
                clock.set_wall_ms(now_ms);
                db = open(&sim, &clock);
            }
        }
    });
}

#[test]
fn numbers_out_of_range_are_named_and_change_nothing() {
    let (sim, clock) = (SimFs::new(1), SimClock::new(START_MS));
    let db = open(&sim, &clock);
    let good = Throttle { max_burst: 1, count: 1, period_s: 1 };
    let over = THROTTLE_NUMBER_MAX + 1;
    for (argument, throttle, quantity) in [
        ("max-burst", Throttle { max_burst: over, ..good }, 1),
        ("count", Throttle { count: 0, ..good }, 1),
        ("count", Throttle { count: over, ..good }, 1),
        ("period", Throttle { period_s: 0, ..good }, 1),
        ("period", Throttle { period_s: u64::MAX, ..good }, 1),
        ("quantity", good, over),
    ] {
        match db.throttle(b"t", throttle, quantity) {
            Err(Error::Throttle(ThrottleError::OutOfRange { argument: named, .. })) => {
                assert_eq!(named, argument);
            }
            other => panic!("{argument}: {other:?}"),
        }
    }
    assert!(db.is_empty());
    let most = THROTTLE_NUMBER_MAX;
    let extreme = Throttle { max_burst: most, count: 1, period_s: most };
    let throttled = db.throttle(b"t", extreme, most).expect("in range");
    assert_eq!((throttled.limited, throttled.remaining), (false, 1));
    assert_eq!(throttled.reset_after_s, most * most);
    for value in [&b""[..], b"x", b"-1", b"+1", b"1.5", &[b'1'; 39]] {
        db.set(b"t", value, Expiry::Never).expect("set");
        let refused = db.throttle(b"t", good, 1);
        assert!(matches!(refused, Err(Error::Throttle(ThrottleError::NoThrottle))), "{refused:?}");
        assert_eq!(db.get(b"t").expect("a string").expect("there"), value);
    }
    // A time that is over, of a key that somebody has kept alive, is as good as none.
    db.set(b"t", b"1000000000", Expiry::Never).expect("set");
    let throttled = db.throttle(b"t", good, 1).expect("in range");
    assert_eq!((throttled.limited, throttled.remaining, throttled.reset_after_s), (false, 1, 1));
    // As far out as digits go: refused, with as long a wait as there is.
    db.set(b"t", [b'9'; 38], Expiry::Never).expect("set");
    let throttled = db.throttle(b"t", good, 1).expect("in range");
    assert_eq!((throttled.limited, throttled.retry_after_s), (true, Some(u64::MAX)));
}
