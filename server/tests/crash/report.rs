//! What the drill says at its end: a row for each case, and a verdict.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use crate::CASE_NAMES;

/// One case's row while it is made. Dropping it files it, with what was found; a case that panics files itself as failed.
pub(crate) struct Row {
    case: &'static str,
    rounds: u64,
    violations: Vec<String>,
    reader_wait: Option<Duration>,
    note: String,
    skipped: Option<String>,
}

struct Filed {
    case: &'static str,
    line: String,
}

static FILED: Mutex<Vec<Filed>> = Mutex::new(Vec::new());

impl Row {
    pub(crate) fn begin(case: &'static str) -> Row {
        assert!(CASE_NAMES.contains(&case), "{case} is not listed");
        Row { case, rounds: 0, violations: Vec::new(), reader_wait: None, note: String::new(), skipped: None }
    }

    /// A round is over; what it broke.
    pub(crate) fn round(&mut self, outcome: Result<(), String>) {
        self.rounds += 1;
        if let Err(violation) = outcome {
            println!("{}, round {}: {violation}", self.case, self.rounds);
            self.violations.push(violation);
        }
    }

    /// How long a bystander waited for one reply at most.
    pub(crate) fn reader_waited(&mut self, longest: Duration) {
        self.reader_wait = Some(self.reader_wait.map_or(longest, |before| before.max(longest)));
    }

    /// A figure worth a place in the table.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(text.as_ref());
    }

    /// What is missing on this machine for the case to run.
    pub(crate) fn skip(mut self, why: impl Into<String>) {
        self.skipped = Some(why.into());
    }

    /// Files the row; the test fails here if anything was found.
    pub(crate) fn finish(self) {
        let (case, violations) = (self.case, self.violations.clone());
        drop(self);
        assert!(violations.is_empty(), "{case}: {}", violations.join("\n"));
    }

    fn line(&self) -> String {
        let verdict = match &self.skipped {
            Some(why) => format!("SKIPPED: {why}"),
            None if std::thread::panicking() || !self.violations.is_empty() => "FAILED".to_owned(),
            None => "holds".to_owned(),
        };
        let waited = self
            .reader_wait
            .map_or_else(|| "-".to_owned(), |longest| format!("{:.1} ms", longest.as_secs_f64() * 1e3));
        let violations = self.violations.len() + usize::from(std::thread::panicking());
        let mut line =
            format!("| {:<38} | {:>6} | {violations:>10} | {waited:>12} | {verdict}", self.case, self.rounds);
        if !self.note.is_empty() {
            let _ = write!(line, " ({})", self.note);
        }
        line.push_str(" |");
        line
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let line = self.line();
        println!("{line}");
        let mut filed = FILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        filed.push(Filed { case: self.case, line });
        if filed.len() == CASE_NAMES.len() {
            filed.sort_by_key(|row| CASE_NAMES.iter().position(|case| *case == row.case));
            let mut table = format!(
                "| {:<38} | {:>6} | {:>10} | {:>12} | verdict |\n|---|---:|---:|---:|---|\n",
                "case", "rounds", "violations", "reader waits"
            );
            for row in filed.iter() {
                let _ = writeln!(table, "{}", row.line);
            }
            // Past the harness's capture, so that a plain `cargo test` shows it.
            let _ = std::io::stderr().write_all(table.as_bytes());
        }
    }
}
