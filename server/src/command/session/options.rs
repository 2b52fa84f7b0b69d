//! Reading the options of `SESSION.*`: each error names the argument.

use super::super::CommandError;
use super::super::args::{is, named_integer};

/// Longest limit, in seconds: some ten thousand years.
pub(super) const SECONDS_MAX: u64 = 1 << 38;

/// Longest word that is repeated in an error.
const SHOWN_CHARACTERS_MAX: usize = 16;

/// What is left of the arguments.
pub(super) struct Options<'a> {
    args: &'a [&'a [u8]],
    at: usize,
}

impl<'a> Options<'a> {
    /// From an argument on.
    pub(super) fn new(args: &'a [&'a [u8]], at: usize) -> Options<'a> {
        Options { args, at }
    }

    /// The next argument, if there is one.
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let next = self.args.get(self.at).copied();
        self.at += usize::from(next.is_some());
        next
    }

    /// Whether the next argument is this word, which is taken then.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.args.get(self.at).is_some_and(|next| is(next, word));
        self.at += usize::from(found);
        found
    }

    /// What belongs to an option.
    pub(super) fn value(&mut self, name: &str) -> Result<&'a [u8], CommandError> {
        self.next().ok_or_else(|| CommandError::of(format!("ERR {name} needs a value")))
    }

    /// A number that belongs to an option.
    pub(super) fn number(&mut self, name: &str, least: u64, most: u64) -> Result<u64, CommandError> {
        named_integer(name, self.value(name)?, least, most)
    }

    /// `n` values of `FIELDS n …`, `parts` for each.
    pub(super) fn counted(&mut self, parts: usize) -> Result<&'a [&'a [u8]], CommandError> {
        let left = self.args.len() - self.at.min(self.args.len());
        let count = self.number("FIELDS", 1, i64::MAX as u64)?;
        let count = usize::try_from(count).ok().and_then(|count| count.checked_mul(parts));
        match count.filter(|&count| count < left) {
            Some(count) => {
                let from = self.at;
                self.at += count;
                Ok(&self.args[from..self.at])
            }
            None => Err("ERR FIELDS says another number than there are".into()),
        }
    }

    /// That nothing is left.
    pub(super) fn end(&mut self) -> Result<(), CommandError> {
        self.next().map_or(Ok(()), |word| Err(self.unknown(word)))
    }

    /// The error of an option that there is not, which was the last that was taken. What may be a secret in the wrong place is not repeated.
    pub(super) fn unknown(&self, word: &[u8]) -> CommandError {
        let at = self.at.saturating_sub(1);
        let is_harmless = !word.is_empty()
            && word.len() <= SHOWN_CHARACTERS_MAX
            && word.iter().all(|byte| byte.is_ascii_alphabetic());
        CommandError::of(match std::str::from_utf8(word) {
            Ok(word) if is_harmless => {
                format!("ERR syntax error, argument {at}, {}, is no option here", word.to_ascii_uppercase())
            }
            _ => format!("ERR syntax error, argument {at} is no option here"),
        })
    }
}

/// The error of an option that is given twice.
pub(super) fn twice(name: &str) -> CommandError {
    CommandError::of(format!("ERR {name} is given twice"))
}

/// Sets an option that may be given once.
pub(super) fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), CommandError> {
    if slot.is_some() {
        return Err(twice(name));
    }
    *slot = Some(value);
    Ok(())
}
