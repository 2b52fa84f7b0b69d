//! A table of what was measured, what another server does, and what was aimed at.

use crate::table::{Table, figure};

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// None: told for what it explains.
    None,
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// The results of one benchmark.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    rows: Vec<[String; 5]>,
    notes: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(title: impl Into<String>) -> Report {
        Report { title: title.into(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a figure, Redis's beside it if it has the thing, and the aim.
    pub fn row(&mut self, what: impl Into<String>, unit: &str, sessile: f64, redis: Option<f64>, aim: Aim) {
        let with_unit = |value: f64| format!("{} {unit}", figure(value)).trim_end().to_owned();
        let (aimed, met) = match aim {
            Aim::None => (String::new(), true),
            Aim::AtMost(most) => (format!("≤ {}", with_unit(most)), sessile <= most),
            Aim::AtLeast(least) => (format!("≥ {}", with_unit(least)), sessile >= least),
        };
        let verdict = match (aim, met) {
            (Aim::None, _) => "",
            (_, true) => "met",
            (_, false) => "MISSED",
        };
        self.rows.push([
            what.into(),
            with_unit(sessile),
            redis.map_or_else(|| "–".to_owned(), with_unit),
            aimed,
            verdict.to_owned(),
        ]);
    }

    /// Adds a sentence below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// How many aims were met, and how many there are.
    pub fn met(&self) -> (usize, usize) {
        let with = |verdict: &str| self.rows.iter().filter(|row| row[4] == verdict).count();
        (with("met"), with("met") + with("MISSED"))
    }

    /// The report as text.
    pub fn text(&self) -> String {
        let mut table = Table::new(&["what", "sessile", "redis", "aim", ""]);
        for row in &self.rows {
            table.row(row.to_vec());
        }
        let mut text = format!("{}\n\n{}", self.title, table.text());
        for note in &self.notes {
            text.push_str(&format!("  {note}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_aim_is_told() {
        let mut report = Report::new("memory");
        report.row("raw", "B", 421.0, Some(460.0), Aim::AtMost(420.0));
        report.row("faster", "×", 20.0, None, Aim::AtLeast(20.0));
        report.row("load", "s", 1.0, None, Aim::None);
        assert_eq!(report.met(), (1, 2));
        assert!(report.text().contains("MISSED"), "{}", report.text());
    }
}
