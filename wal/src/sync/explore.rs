//! Exploring schedules with shuttle: random ones, and those that put few preemptions where they hurt (PCT: Burckhardt et al., 2010).

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};

/// Preemptions that PCT places in an execution.
const PCT_DEPTH: usize = 4;
const STACK_BYTES: usize = 1 << 20;

/// Runs `model` under `SESSILE_SCHEDULES` random schedules (or so many as `schedules` says), and as many of PCT's. The seed, which
/// `SESSILE_SEED` sets, is printed; so is, if an execution fails, the schedule that `SESSILE_SCHEDULE` replays.
pub fn explore(name: &str, schedules: usize, model: impl Fn() + Send + Sync + Clone + 'static) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    if let Ok(schedule) = std::env::var("SESSILE_SCHEDULE") {
        let schedule: String = schedule.split_whitespace().collect();
        return run(ReplayScheduler::new_from_encoded(&schedule), model);
    }
    let seed = number("SESSILE_SEED").unwrap_or_else(random_seed);
    let schedules = number("SESSILE_SCHEDULES").map_or(schedules, |schedules| schedules as usize);
    println!("{name}: {schedules} random schedules and as many of PCT's, SESSILE_SEED={seed}");
    run(RandomScheduler::new_from_seed(seed, schedules), model.clone());
    run(PctScheduler::new_from_seed(seed, PCT_DEPTH, schedules), model);
}

fn run(scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::Print;
    Runner::new(scheduler, config).run(model);
}

fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
