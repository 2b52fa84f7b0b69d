//! Reading arguments: what several families share. Texts of errors are Redis's.

use super::extended::Extended;
use super::number::parse_integer;
use super::{CommandError, Timeout};

/// The error of a wrong number of arguments that the row's arity can't express (`HSET key field`).
#[cold]
pub(crate) fn wrong_arity(command: &str) -> CommandError {
    CommandError::Text(format!("ERR wrong number of arguments for '{command}' command").into())
}

/// Whether an argument is this option; `word` is in lower case.
#[inline]
pub(crate) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// An argument as a 64-bit integer.
#[inline]
pub(crate) fn integer(argument: &[u8]) -> Result<i64, CommandError> {
    parse_integer(argument).ok_or(CommandError::NotAnInteger)
}

/// An argument as an integer between `least` and `most`.
pub(crate) fn integer_between(argument: &[u8], least: i64, most: i64) -> Result<i64, CommandError> {
    let number = integer(argument)?;
    if number < least || number > most {
        let text = format!("ERR value is out of range, value must between {least} and {most}");
        return Err(CommandError::Text(text.into()));
    }
    Ok(number)
}

/// An argument as an integer that is not negative.
pub(crate) fn positive(argument: &[u8]) -> Result<u64, CommandError> {
    positive_or(argument, "ERR value is out of range, must be positive")
}

/// As [`positive`], with an error text of its own.
pub(crate) fn positive_or(argument: &[u8], error: &'static str) -> Result<u64, CommandError> {
    let number = parse_integer(argument).and_then(|number| u64::try_from(number).ok());
    number.ok_or(CommandError::from(error))
}

/// How long a blocking command waits: an argument in seconds, with a fraction or without.
pub(crate) fn timeout(argument: &[u8]) -> Result<Timeout, CommandError> {
    let seconds =
        Extended::parse(argument).ok_or(CommandError::from("ERR timeout is not a float or out of range"))?;
    // What does not fit 64 bits wraps round in Redis, and comes out negative.
    match seconds.thousandfold_rounded_up().and_then(|ms| u64::try_from(ms).ok()) {
        Some(0) => Ok(Timeout::Never),
        Some(ms) => Ok(Timeout::Ms(ms)),
        None => Err("ERR timeout is negative".into()),
    }
}

/// An argument as an integer within bounds; the error names it.
pub(crate) fn named_integer(name: &str, argument: &[u8], least: u64, most: u64) -> Result<u64, CommandError> {
    let number = parse_integer(argument).and_then(|number| u64::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| CommandError::of(format!("ERR {name} must be an integer between {least} and {most}")))
}

/// An argument as the number of a database.
pub(crate) fn database(argument: &[u8]) -> Result<u8, CommandError> {
    let number = integer_between(argument, i64::from(i32::MIN), i64::from(i32::MAX))?;
    u8::try_from(number)
        .ok()
        .filter(|&number| number < sessile::DATABASES)
        .ok_or_else(|| CommandError::from("ERR DB index is out of range"))
}

/// What of an argument C's string functions would see: up to the first zero byte.
pub(crate) fn c_string(argument: &[u8]) -> &[u8] {
    argument.split(|&b| b == 0).next().unwrap_or(argument)
}
