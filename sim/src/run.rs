//! Runs a seed, and says how it went.

use crate::simulation::{Plan, Simulation};
use crate::tally::Tally;
use crate::trace;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a seed has found.
#[derive(Debug)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
}

/// Tells a seed's story. A violation is what it panicked with, be it the simulator that said so or the product.
///
/// # Errors
/// What is wrong.
pub fn run(seed: u64, plan: Plan) -> Result<Tally, Violation> {
    let mut simulation = Simulation::new(seed, plan);
    let outcome = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    crate::disk::meanwhile(None);
    match outcome {
        Ok(()) => Ok(simulation.tally),
        Err(panic) => Err(Violation { seed, what: text_of(&*panic) }),
    }
}

/// As [`run`], with all that happened.
pub fn run_traced(seed: u64, plan: Plan) -> (Result<Tally, Violation>, Vec<String>) {
    trace::begin();
    let outcome = run(seed, plan);
    (outcome, trace::end())
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (_, Some(text)) => (*text).to_owned(),
        _ => "a panic without words".to_owned(),
    }
}
