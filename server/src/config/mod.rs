//! Configuration: one table of directives, from which the command line, the file, `CONFIG GET`, `CONFIG SET` and `CONFIG REWRITE` come.
//!
//! A [`Config`] holds every directive's value in the form in which it is reported. What the server works with is [`Live`], derived from
//! it as a whole; a change makes a new `Live`, and the event loops take it up at their next turn. The hot path never looks anything up.

mod directive;
mod file;
mod live;
mod replace;
mod table;

pub use directive::{Directive, Kind, OUTPUT_CLASSES, Role, parse_bytes};
pub use file::{parse_file, rewrite, rewrite_users};
pub use live::{DebugAccess, Live, LogFormat, LogLevel, OutputLimit, StorageLimits};
pub use replace::{read_file, replace_file};
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
    /// The words of `user` lines, after that word.
    users: Vec<Vec<String>>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            values: DIRECTIVES.iter().map(|directive| directive.default.to_owned()).collect(),
            given: vec![false; DIRECTIVES.len()],
            users: Vec::new(),
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

    /// The users that files define: of each its name and its rules.
    pub fn users(&self) -> &[Vec<String>] {
        &self.users
    }

    /// Adds a user that a file defines.
    fn add_user(&mut self, words: &[&str]) {
        self.users.push(words.iter().map(|&word| word.to_owned()).collect());
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn parse(files: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let files: HashMap<&str, &str> = files.iter().copied().collect();
        let mut config = Config::default();
        let mut read = |path: &str| {
            files.get(path).map(|text| (*text).to_owned()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        parse_file(&mut config, "main.conf", &mut read)?;
        Ok(config)
    }

    #[test]
    fn every_default_is_in_canonical_form_and_no_name_is_used_twice() {
        let mut names: Vec<&str> = Vec::new();
        for directive in DIRECTIVES {
            let words: Vec<&str> = if directive.kind.takes_words() {
                directive.default.split_ascii_whitespace().collect()
            } else {
                vec![directive.default]
            };
            let canonical = directive.kind.canonical(&words, directive.default);
            assert_eq!(canonical.as_deref(), Ok(directive.default), "{}", directive.name);
            names.push(directive.name);
            names.extend(directive.alias);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_file_is_read_with_comments_quotes_includes_and_repeated_directives() {
        let config = parse(&[
            ("main.conf", "# a comment\n\n  PORT 7000\nrequirepass \"a \\x62\\\"\"\nsave 900 1\nsave 300 10\ninclude more.conf\n"),
            ("more.conf", "maxmemory 64mb\nmaxmemory-samples 7\nbind 127.0.0.1 ::1\nclient-output-buffer-limit normal 1mb 2mb 3\n"),
        ])
        .expect("a good file");
        assert_eq!(config.get("port"), "7000");
        assert_eq!(config.get("requirepass"), "a b\"");
        assert_eq!(config.get("save"), "900 1 300 10");
        assert_eq!(config.get("maxmemory"), "67108864");
        assert_eq!(config.get("bind"), "127.0.0.1 ::1");
        assert!(config.get("client-output-buffer-limit").starts_with("normal 1048576 2097152 3 slave "));
        let ignored: Vec<&str> = config.ignored().map(|directive| directive.name).collect();
        assert_eq!(ignored, ["maxmemory-samples", "save"]);
    }

    #[test]
    fn errors_name_the_directive_the_line_and_what_was_probably_meant() {
        let text = |file: &str| parse(&[("main.conf", file)]).expect_err("a bad file").to_string();
        let unknown = text("port 1\nappendfsinc always\n");
        assert!(unknown.contains("main.conf, line 2"), "{unknown}");
        assert!(
            unknown.contains("unknown directive 'appendfsinc' (did you mean 'appendfsync'?)"),
            "{unknown}"
        );
        assert!(text("zzzzzzz 1").contains("unknown directive 'zzzzzzz'\n"));
        assert!(text("port a").contains("port: argument couldn't be parsed into an integer"));
        assert!(text("port 1 2").contains("port: wrong number of arguments"));
        assert!(text("bind \"a").contains("Unbalanced quotes"));
        assert!(text("include main.conf").contains("includes are nested deeper than"));
        assert!(text("include absent.conf").contains("can't read absent.conf"));
        assert!(text("maxclients 0").contains("argument must be between 1 and 4294967295 inclusive"));
    }

    #[test]
    fn bytes_take_redis_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("2m", Some(2_000_000)),
            ("2mb", Some(2 << 20)),
            ("3Gb", Some(3 << 30)),
            ("3g", Some(3_000_000_000)),
            ("7b", Some(7)),
            ("", None),
            ("mb", None),
            ("1zb", None),
            ("-1", None),
            ("9223372036854775807gb", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn rewriting_keeps_comments_and_order_and_what_is_read_back_is_the_same() {
        let before = "# port of the service\nport 7000\n\ntimeout 10\nsave 900 1\nsave 300 10\n# the end\n";
        let mut config = parse(&[("main.conf", before)]).expect("a good file");
        assert_eq!(
            rewrite(before, &config),
            "# port of the service\nport 7000\n\ntimeout 10\nsave 900 1\nsave 300 10\n# the end\n"
        );
        config.set("timeout", &["20"]).expect("a value");
        config.set("requirepass", &["with space and \"quote\""]).expect("a value");
        config.set("client-output-buffer-limit", &["pubsub", "1", "2", "3"]).expect("a value");
        let after = rewrite(before, &config);
        assert!(after.starts_with("# port of the service\nport 7000\n\ntimeout 20\n"), "{after}");
        assert!(after.contains("# the end\n# Generated by CONFIG REWRITE\n"), "{after}");
        let again = parse(&[("main.conf", &after)]).expect("what was written can be read");
        assert_eq!(again.values, config.values);
        assert_eq!(rewrite(&after, &again), after);
    }

    #[test]
    fn one_wrong_letter_is_one_edit() {
        assert_eq!(edit_distance("port", "port"), 0);
        assert_eq!(edit_distance("prot", "port"), 2);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("timeoot", "timeout"), 1);
    }

    /// Found by `fuzz/fuzz_targets/text.rs`: what was written could not be read again, or was read as something else.
    #[test]
    fn rewriting_quotes_the_words_of_a_list_where_they_need_it() {
        for line in
            [r#"bind "a'b" c"#, r#"bind "" a"#, r#"bind "a " "b c""#, "bind \"a\\tb\" \"#c\"", r"bind a\b"]
        {
            let text = format!("{line}\n{line}\n");
            let config = parse(&[("main.conf", &text)]).expect("can be read");
            // Two lines for one directive, of which the second counts: the first is written anew.
            let changed = format!("bind 127.0.0.1\n{line}\n");
            let written = rewrite(&changed, &config);
            let again =
                parse(&[("main.conf", &written)]).unwrap_or_else(|error| panic!("{written:?}: {error}"));
            assert_eq!(again.get("bind"), config.get("bind"), "{written:?}");
        }
    }
}
