//! A state machine over engine and wheel with the simulated clock: nothing is served late, nothing kept longer than 100 ms past its
//! deadline while steps run at least every 20 ms, nothing dropped early; also across restarts.

use super::support::{DIR, NEVER};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use sessile::{Db, Durability, Expiry, Options, Touch};
use sessile_wal::sim::{SimClock, SimFs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Steps come at least this often, in ms, except in a [`Transition::Sleep`].
const STEP_MS: u64 = 20;
/// A dead key's memory is back after this, in ms.
const KEPT_MS_MAX: u64 = 100;
const VALUE_BYTES: usize = 2_000;
const START_MS: u64 = 1_700_000_000_000;

/// A key's life.
#[derive(Clone, Debug)]
struct Life {
    deadline_ms: u64,
    /// How much later it may have become by a restart.
    late_ms: u64,
    /// How much later a restart may make it.
    slack_ms: u64,
}

#[derive(Clone, Debug)]
struct Keys {
    now_ms: u64,
    lives: BTreeMap<u8, Life>,
    /// When steps began to come regularly: at the last open, or the last time that passed without.
    calm_since_ms: u64,
    /// Whether time has passed without steps since the last open.
    slept: bool,
}

impl Keys {
    fn alive(&self, key: u8) -> bool {
        self.lives.get(&key).is_some_and(|life| life.deadline_ms > self.now_ms)
    }

    /// Whether it can't be known if the key lives.
    fn unsure(&self, key: u8) -> bool {
        self.lives.get(&key).is_some_and(|life| {
            life.deadline_ms <= self.now_ms && life.deadline_ms + life.late_ms > self.now_ms
        })
    }
}

#[derive(Clone, Debug)]
enum Transition {
    Set {
        key: u8,
        after_ms: u64,
    },
    SetIdle {
        key: u8,
        idle_ms: u64,
    },
    SetForever {
        key: u8,
    },
    Touch {
        key: u8,
        idle_ms: u64,
    },
    Expire {
        key: u8,
        after_ms: u64,
    },
    Persist {
        key: u8,
    },
    Delete {
        key: u8,
    },
    /// Time passes, with steps.
    Advance {
        ms: u64,
    },
    /// Time passes without a step, and then there are steps.
    Sleep {
        ms: u64,
    },
    Step,
    Reopen,
}

/// From a millisecond to years, each magnitude as likely.
fn span_ms() -> impl Strategy<Value = u64> {
    (0u32..36, any::<u64>()).prop_map(|(shift, random)| 1 + (random >> 28 >> shift))
}

impl ReferenceStateMachine for Keys {
    type State = Keys;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Keys> {
        let at = |now_ms| Keys { now_ms, lives: BTreeMap::new(), calm_since_ms: now_ms, slept: false };
        (0u64..100).prop_map(move |ms| at(START_MS + ms)).boxed()
    }

    fn transitions(_: &Keys) -> BoxedStrategy<Transition> {
        let key = 0u8..8;
        prop_oneof![
            4 => (key.clone(), span_ms()).prop_map(|(key, after_ms)| Transition::Set { key, after_ms }),
            2 => (key.clone(), span_ms()).prop_map(|(key, idle_ms)| Transition::SetIdle { key, idle_ms }),
            1 => key.clone().prop_map(|key| Transition::SetForever { key }),
            4 => (key.clone(), span_ms()).prop_map(|(key, idle_ms)| Transition::Touch { key, idle_ms }),
            3 => (key.clone(), span_ms()).prop_map(|(key, after_ms)| Transition::Expire { key, after_ms }),
            1 => key.clone().prop_map(|key| Transition::Persist { key }),
            1 => key.prop_map(|key| Transition::Delete { key }),
            6 => (0u64..3_000).prop_map(|ms| Transition::Advance { ms }),
            1 => (0u64..100_000).prop_map(|ms| Transition::Advance { ms }),
            1 => span_ms().prop_map(|ms| Transition::Sleep { ms }),
            1 => Just(Transition::Step),
            1 => Just(Transition::Reopen),
        ]
        .boxed()
    }

    fn preconditions(state: &Keys, transition: &Transition) -> bool {
        match transition {
            Transition::Touch { key, .. } | Transition::Expire { key, .. } | Transition::Persist { key } => {
                !state.unsure(*key)
            }
            Transition::Delete { key } => !state.unsure(*key),
            _ => true,
        }
    }

    fn apply(mut state: Keys, transition: &Transition) -> Keys {
        let now_ms = state.now_ms;
        let life = |after_ms: u64, slack_ms| Life { deadline_ms: now_ms + after_ms, late_ms: 0, slack_ms };
        match *transition {
            Transition::Set { key, after_ms } => {
                state.lives.insert(key, life(after_ms, 0));
            }
            Transition::SetIdle { key, idle_ms } => {
                state.lives.insert(key, life(idle_ms, idle_ms / 20));
            }
            Transition::SetForever { key } => {
                state.lives.insert(key, Life { deadline_ms: NEVER, late_ms: 0, slack_ms: 0 });
            }
            Transition::Touch { key, idle_ms } if state.alive(key) => {
                state.lives.insert(key, life(idle_ms, idle_ms / 20));
            }
            Transition::Expire { key, after_ms } if state.alive(key) => {
                state.lives.insert(key, life(after_ms, 0));
            }
            Transition::Persist { key } if state.alive(key) => {
                state.lives.insert(key, Life { deadline_ms: NEVER, late_ms: 0, slack_ms: 0 });
            }
            Transition::Delete { key } if state.alive(key) => {
                state.lives.remove(&key);
            }
            Transition::Advance { ms } => state.now_ms += ms,
            Transition::Sleep { ms } => {
                state.now_ms += ms;
                state.calm_since_ms = state.now_ms;
                state.slept = true;
            }
            Transition::Reopen => {
                for life in state.lives.values_mut() {
                    life.late_ms = life.late_ms.max(life.slack_ms);
                }
                state.calm_since_ms = state.now_ms;
                state.slept = false;
            }
            _ => {}
        }
        state
    }
}

struct Engine {
    fs: SimFs,
    clock: SimClock,
    db: Option<Db>,
    empty_bytes: u64,
}

impl Engine {
    fn db(&self) -> &Db {
        self.db.as_ref().expect("open between transitions")
    }

    fn reopen(&mut self) {
        self.db = None;
        let db = Options::new()
            .durability(Durability::No)
            .file_system(Arc::new(self.fs.clone()))
            .clock(Arc::new(self.clock.clone()))
            .manual_background()
            .open(DIR)
            .expect("opens");
        self.db = Some(db);
    }

    fn step(&self) {
        while self.db().step().expect("steps").is_zero() {}
    }

    fn advance(&self, mut ms: u64) {
        while ms > 0 {
            let by = ms.min(STEP_MS);
            self.clock.advance_ms(by);
            self.step();
            ms -= by;
        }
    }
}

fn name(key: u8) -> Vec<u8> {
    format!("key {key}").into_bytes()
}

struct Expiring;

impl StateMachineTest for Expiring {
    type SystemUnderTest = Engine;
    type Reference = Keys;

    fn init_test(state: &Keys) -> Engine {
        let clock = SimClock::new(state.now_ms);
        let mut engine = Engine { fs: SimFs::new(0), clock, db: None, empty_bytes: 0 };
        engine.reopen();
        engine.empty_bytes = engine.db().stats().memory_bytes;
        engine
    }

    fn apply(mut engine: Engine, state: &Keys, transition: Transition) -> Engine {
        let after = Duration::from_millis;
        let value = [7; VALUE_BYTES];
        match transition {
            Transition::Set { key, after_ms } => {
                engine.db().set(&name(key), value, Expiry::After(after(after_ms))).expect("set");
            }
            Transition::SetIdle { key, idle_ms } => {
                let idle = Expiry::Idle { idle: after(idle_ms), absolute: None };
                engine.db().set(&name(key), value, idle).expect("set");
            }
            Transition::SetForever { key } => {
                engine.db().set(&name(key), value, Expiry::Never).expect("set");
            }
            Transition::Touch { key, idle_ms } => {
                let there = engine.db().touch(&name(key), Touch::For(after(idle_ms))).expect("touch");
                assert_eq!(there, state.alive(key));
            }
            Transition::Expire { key, after_ms } => {
                let at = engine.db().now_ms() + after_ms;
                assert_eq!(engine.db().expire_at_ms(&name(key), Some(at)).expect("expire"), state.alive(key));
            }
            Transition::Persist { key } => {
                assert_eq!(engine.db().expire_at_ms(&name(key), None).expect("persist"), state.alive(key));
            }
            Transition::Delete { key } => drop(engine.db().delete(&name(key)).expect("delete")),
            Transition::Advance { ms } => engine.advance(ms),
            Transition::Sleep { ms } => {
                engine.clock.advance_ms(ms);
                engine.step();
            }
            Transition::Step => engine.step(),
            Transition::Reopen => engine.reopen(),
        }
        engine
    }

    fn check_invariants(engine: &Engine, state: &Keys) {
        let db = engine.db();
        let now_ms = db.now_ms();
        assert_eq!(now_ms, state.now_ms);
        for (&key, life) in &state.lives {
            let value = db.get(&name(key)).expect("a string");
            if life.deadline_ms > now_ms {
                assert!(value.is_some(), "key {key} is gone {} ms early", life.deadline_ms - now_ms);
                let left = db.time_to_live(&name(key)).expect("readable").expect("there");
                match left {
                    None => assert_eq!(life.deadline_ms, NEVER),
                    Some(left) => {
                        let late_ms = now_ms + left.as_millis() as u64 - life.deadline_ms;
                        assert!(late_ms <= life.late_ms, "key {key} dies {late_ms} ms late");
                    }
                }
            } else if life.deadline_ms.saturating_add(life.late_ms) <= now_ms {
                assert!(value.is_none(), "key {key} is served late");
            }
        }
        let kept = |life: &&Life| {
            let latest_ms = life.deadline_ms.saturating_add(life.late_ms);
            latest_ms.saturating_add(KEPT_MS_MAX) > now_ms
        };
        let most = state.lives.values().filter(kept).count();
        if now_ms < state.calm_since_ms + KEPT_MS_MAX {
            return;
        }
        assert!(db.len() <= most, "{} keys are kept, {most} may be", db.len());
        let bytes = db.stats().memory_bytes - engine.empty_bytes;
        let each = VALUE_BYTES as u64 + 400;
        assert!(bytes <= most as u64 * each + (16 << 10), "{bytes} bytes for {most} keys");
        if !state.slept {
            let lag_ms = db.stats().expiry_lag_max_ms;
            assert!(lag_ms <= KEPT_MS_MAX, "a key was kept {lag_ms} ms past its deadline");
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_late_nothing_is_kept_nothing_is_early(sequential 1..120 => Expiring);
}
