//! Seeds of the simulator: 200 of them, or as many as `SESSILE_SEEDS` says, from `SESSILE_SEED_FROM` on. Longer campaigns: `just sim --help`.

use sessile_sim::disk::Lie;
use sessile_sim::run::{Violation, run, run_traced};
use sessile_sim::simulation::{End, Plan};
use sessile_sim::tally::Tally;
use sessile_wal::Durability;

/// What some hundred seeds may not meet.
const SELDOM: [&str; 4] = ["end of the log", "dictionaries", "writes went on", "single values"];

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn replay(violation: &Violation) -> String {
    format!("seed {}: {}\nreplay it with: just sim --seed {0} --trace", violation.seed, violation.what)
}

#[test]
fn what_was_promised_is_there() {
    let (from, seeds) =
        (variable("SESSILE_SEED_FROM").unwrap_or(0), variable("SESSILE_SEEDS").unwrap_or(200));
    let mut tally = Tally::default();
    for seed in from..from + seeds {
        match run(seed, Plan::default()) {
            Ok(met) => tally.join(&met),
            Err(violation) => panic!("{}", replay(&violation)),
        }
    }
    for (what, figure) in tally.rows() {
        println!("{figure:>9}  {what}");
        let seeds_needed = if SELDOM.iter().any(|seldom| what.contains(seldom)) { 5_000 } else { 200 };
        assert!(
            figure > 0 || seeds < seeds_needed,
            "the simulator has met no {what}: it tries less than it says"
        );
    }
}

#[test]
fn a_seed_is_the_same_story_each_time() {
    for seed in (0..25).chain([u64::MAX]) {
        let (first, second) = (run_traced(seed, Plan::default()), run_traced(seed, Plan::default()));
        assert!(first.0.is_ok(), "seed {seed}");
        assert!(first.1.len() > 20, "seed {seed} is a story");
        for (number, (one, other)) in first.1.iter().zip(&second.1).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {number}");
        }
        assert_eq!(first.1.len(), second.1.len(), "seed {seed}");
    }
}

#[test]
fn power_cuts_lose_nothing_promised_and_refuse_no_start_at_any_level() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::No] {
        let mut tally = Tally::default();
        let mut seed = 1_000_000;
        while tally.power_cuts < 200 {
            let plan = Plan { durability: Some(durability), end: End::PowerCut, ..Plan::default() };
            match run(seed, plan) {
                Ok(met) => tally.join(&met),
                Err(violation) => panic!("{durability:?}: {}", replay(&violation)),
            }
            seed += 1;
        }
        println!(
            "{durability:?}: {} power cuts, {} commits acknowledged, {} that were not promised lost",
            tally.power_cuts, tally.acknowledged, tally.lost_allowed
        );
    }
}

/// After how many seeds a disk that breaks its word so is found out.
fn found_after(lie: Lie, plan: Plan, most: u64) -> u64 {
    let plan = Plan { lie, faults: false, end: End::PowerCut, ..plan };
    let (found, what) = (0..most)
        .find_map(|seed| run(seed, plan).err().map(|violation| (violation.seed + 1, violation.what)))
        .unwrap_or_else(|| panic!("{lie:?} is not noticed in {most} seeds"));
    println!("{lie:?}: found by seed {}: {}", found - 1, what.lines().next().unwrap_or_default());
    found
}

/// The simulator can find something: each lie of the disk breaks a promise, and is noticed as that.
#[test]
fn a_disk_that_lies_is_found_out() {
    for lie in [Lie::Sync, Lie::SyncDirectory, Lie::DurableWrite] {
        let plan = Plan { durability: Some(Durability::Always), ..Plan::default() };
        found_after(lie, plan, 300);
    }
}
