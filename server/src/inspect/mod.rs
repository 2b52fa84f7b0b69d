//! `sessile check` and `sessile stats`: what is in a data directory that no server has open, for people.
//!
//! What is found is the engine's business (`sessile::check`); here it becomes lines, tables and exit codes.

mod check;
mod repair;
mod stats;
mod text;

pub use check::{InspectError, check};
pub use repair::repair;
pub use stats::stats;

/// How an inspection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it should be.
    Sound,
    /// Something is damaged, missing, or could not be saved.
    Damaged,
}
