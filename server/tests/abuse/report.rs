//! The bounds, and the table that says how near each attack came to them.

use super::arena::{Attack, Outcome};
use std::fmt;
use std::time::Duration;

/// What an attack may add to the memory of the server, for all who have not authenticated together.
const GROWTH_BEFORE_AUTH_KIB_MAX: u64 = 64 * 1024;

/// What an attack is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The longest that a bystander may wait.
    pub(crate) wait: Duration,
    /// What an attack may add to the memory of the server, over what the data takes.
    pub(crate) growth_kib: u64,
}

/// One attack's line.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: &'static str,
    before_auth: bool,
    tries: u64,
    outcome: Outcome,
    kept: bool,
    closeness: f64,
}

impl Row {
    /// Makes the attack, and again if its bystanders waited too long; the best counts for that, and the worst for memory.
    pub(crate) fn of(attack: &Attack, bounds: &Bounds, tries: u64, hold: impl Fn() -> Outcome) -> Row {
        let mut outcome = hold();
        let mut made = 1;
        while outcome.wait.length > bounds.wait && made < tries {
            let again = hold();
            made += 1;
            let growth_kib = outcome.growth_kib.max(again.growth_kib);
            if again.wait.length < outcome.wait.length {
                outcome = again;
            }
            outcome.growth_kib = growth_kib;
        }
        let growth_kib_max = if attack.before_auth { GROWTH_BEFORE_AUTH_KIB_MAX } else { bounds.growth_kib };
        let of_wait = outcome.wait.length.as_secs_f64() / bounds.wait.as_secs_f64();
        let of_growth = outcome.growth_kib as f64 / growth_kib_max as f64;
        let closeness = of_wait.max(of_growth);
        let (name, before_auth) = (attack.name, attack.before_auth);
        Row { name, before_auth, tries: made, outcome, kept: closeness <= 1.0, closeness }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { requests, wait, noise, growth_kib, took } = &self.outcome;
        let ms = |length: &Duration| length.as_secs_f64() * 1e3;
        write!(
            f,
            "{:<5} {:>8.1} ms {:>7.1} ms {:>7.1} MiB {:>9} {:>6.1} s  {}{}{}",
            if self.kept { "held" } else { "OVER" },
            ms(&wait.length),
            ms(noise),
            *growth_kib as f64 / 1024.0,
            requests,
            took.as_secs_f64(),
            if self.before_auth { "before AUTH: " } else { "" },
            self.name,
            if self.kept {
                String::new()
            } else {
                format!(" ({} after {:.0} ms, {} tries)", wait.of, ms(&wait.after), self.tries)
            },
        )
    }
}

/// Prints the table, the worst first; the lines that are beyond a bound.
pub(crate) fn print(rows: &mut [Row], bounds: &Bounds, scale: u64) -> Vec<String> {
    rows.sort_by(|left, right| right.closeness.total_cmp(&left.closeness));
    println!(
        "\n{} attacks at {scale} % of the campaign's sizes; bounds: {} ms, {} MiB, {} MiB before AUTH",
        rows.len(),
        bounds.wait.as_millis(),
        bounds.growth_kib / 1024,
        GROWTH_BEFORE_AUTH_KIB_MAX / 1024
    );
    println!(
        "{:<5} {:>11} {:>10} {:>11} {:>9} {:>8}  attack",
        "", "wait", "machine", "memory", "requests", "took"
    );
    for row in rows.iter() {
        println!("{row}");
    }
    rows.iter().filter(|row| !row.kept).map(Row::to_string).collect()
}
