//! Configuration: one table of directives, from which the command line, the file, `CONFIG GET`, `CONFIG SET` and `CONFIG REWRITE` come.
//!
//! A [`Config`] holds every directive's value in the form in which it is reported. What the server works with is [`Live`], derived from
//! it as a whole; a change makes a new `Live`, and the event loops take it up at their next turn. The hot path never looks anything up.

mod directive;
mod file;
mod live;
mod table;

pub use directive::{Directive, Kind, OUTPUT_CLASSES, Role, parse_bytes};
pub use file::{parse_file, rewrite};
pub use live::{DebugAccess, Live, LogFormat, LogLevel, OutputLimit};
pub use table::DIRECTIVES;

use std::borrow::Cow;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No directive has this name.
    #[error("unknown directive '{name}'{}", nearest(name))]
    Unknown {
        /// What was given.
        name: String,
    },
    /// The value doesn't fit the directive.
    #[error("{name}: {reason}")]
    Value {
        /// The directive.
        name: String,
        /// What is wrong with the value.
        reason: Cow<'static, str>,
    },
    /// A line of a file.
    #[error("{path}, line {line}: {source}\n>>> {text}")]
    Line {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// The line itself.
        text: String,
        /// What is wrong with it.
        source: Box<ConfigError>,
    },
    /// Quotes that don't close.
    #[error("Unbalanced quotes in configuration line")]
    Quotes,
    /// Files that include each other.
    #[error("includes are nested deeper than {0}")]
    Nesting(usize),
    /// The file can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

fn nearest(name: &str) -> String {
    let distance_max = (name.len() / 3).max(1);
    DIRECTIVES
        .iter()
        .map(|directive| (edit_distance(name, directive.name), directive.name))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map_or_else(String::new, |(_, near)| format!(" (did you mean '{near}'?)"))
}

/// How many letters must be put in, taken out or replaced to get from one word to the other.
pub(crate) fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// The index of a directive in [`DIRECTIVES`], by name or alias in any case.
pub fn find(name: &str) -> Option<usize> {
    DIRECTIVES.iter().position(|directive| {
        directive.name.eq_ignore_ascii_case(name)
            || directive.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name))
    })
}

/// The value of each directive, in canonical form.
#[derive(Clone, Debug)]
pub struct Config {
    values: Vec<String>,
    /// Which were given, as opposed to left at their default.
    given: Vec<bool>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            values: DIRECTIVES.iter().map(|directive| directive.default.to_owned()).collect(),
            given: vec![false; DIRECTIVES.len()],
        }
    }
}

impl Config {
    /// The value of the directive at `index` in the table.
    pub fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }

    /// The value of a directive by name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        find(name).map_or("", |index| self.value(index))
    }

    /// Sets a directive as a file or the command line does: `words` are its arguments.
    ///
    /// # Errors
    ///
    /// An unknown name, or a value that does not fit.
    pub fn set(&mut self, name: &str, words: &[&str]) -> Result<(), ConfigError> {
        let index = find(name).ok_or_else(|| ConfigError::Unknown { name: name.to_owned() })?;
        let directive = &DIRECTIVES[index];
        let value = directive
            .kind
            .canonical(words, &self.values[index])
            .map_err(|reason| ConfigError::Value { name: directive.name.to_owned(), reason })?;
        // Repeated save points add up; an empty one starts over.
        if directive.kind == Kind::SavePoints
            && self.given[index]
            && !value.is_empty()
            && !self.values[index].is_empty()
        {
            self.values[index].push(' ');
            self.values[index].push_str(&value);
        } else {
            self.values[index] = value;
        }
        self.given[index] = true;
        Ok(())
    }

    /// Replaces the value of the directive at `index` by one that was checked.
    pub fn replace(&mut self, index: usize, value: String) {
        if let (Some(place), Some(given)) = (self.values.get_mut(index), self.given.get_mut(index)) {
            *place = value;
            *given = true;
        }
    }

    /// Directives that were given a value other than their default but do nothing here, for a word in the log.
    pub fn ignored(&self) -> impl Iterator<Item = &'static Directive> + '_ {
        DIRECTIVES.iter().enumerate().filter_map(|(index, directive)| {
            (directive.role == Role::Ignored && self.given[index] && self.values[index] != directive.default)
                .then_some(directive)
        })
    }
}
