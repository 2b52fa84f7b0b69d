//! Deadlines as commands state them: in seconds or milliseconds, from now or from the epoch.
//!
//! Here lives the arithmetic that must not wrap. `SET` and its kin refuse what is not in the future of the epoch; `EXPIRE` and its
//! kin accept the past, which means death at once.

use super::CommandError;
use super::args::integer;

/// How a deadline is stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Seconds; otherwise milliseconds.
    pub(crate) seconds: bool,
    /// Counted from now; otherwise from the epoch.
    pub(crate) from_now: bool,
}

impl Form {
    pub(crate) const EX: Form = Form { seconds: true, from_now: true };
    pub(crate) const PX: Form = Form { seconds: false, from_now: true };
    pub(crate) const EXAT: Form = Form { seconds: true, from_now: false };
    pub(crate) const PXAT: Form = Form { seconds: false, from_now: false };
}

/// The error of a deadline out of range, in the words of this command.
#[cold]
pub(crate) fn invalid(command: &str) -> CommandError {
    CommandError::Text(format!("ERR invalid expire time in '{command}' command").into())
}

/// The deadline of a `SET`, `SETEX`, `GETEX`: positive, and ms since the epoch.
pub(crate) fn positive(argument: &[u8], form: Form, now_ms: u64, command: &str) -> Result<u64, CommandError> {
    let number = integer(argument)?;
    if number <= 0 {
        return Err(invalid(command));
    }
    let number = if form.seconds { number.checked_mul(1000) } else { Some(number) };
    let number = if form.from_now { number.and_then(|n| n.checked_add_unsigned(now_ms)) } else { number };
    // Positive numbers only got larger, so the cast keeps the value.
    number.map(|n| n as u64).ok_or_else(|| invalid(command))
}

/// The deadline of an `EXPIRE` and its kin: any moment that fits, also one long past.
pub(crate) fn any(argument: &[u8], form: Form, now_ms: u64, command: &str) -> Result<i64, CommandError> {
    let number = integer(argument)?;
    let number = if form.seconds { number.checked_mul(1000) } else { Some(number) };
    let number = if form.from_now { number.and_then(|n| n.checked_add_unsigned(now_ms)) } else { number };
    number.ok_or_else(|| invalid(command))
}
