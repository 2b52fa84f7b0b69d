//! `SLOWLOG`: which commands took long, newest first.
//!
//! A command that is fast enough costs nothing here; one that is not is copied in part, with its passwords left out, and its lock is held for as
//! long as that takes. It must never hold more than `slowlog-max-len` entries, nor an entry more than `ARGUMENTS_MAX` arguments of
//! `ARGUMENT_BYTES_MAX` bytes and a few words.

use crate::redaction::{REDACTED, is_secret};
use sessile_wal::sync::Mutex;
use std::collections::VecDeque;

/// Arguments of a command that are kept; of more, the last one kept says how many there were.
const ARGUMENTS_MAX: usize = 32;
/// Bytes of an argument that are kept.
const ARGUMENT_BYTES_MAX: usize = 128;
/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, never given twice.
    pub id: u64,
    /// When it ended, in seconds since the epoch.
    pub at_seconds: u64,
    /// How long it took.
    pub microseconds: u64,
    /// Its arguments, as far as they are kept.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub name: Vec<u8>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Newest first.
    entries: VecDeque<Entry>,
    next_id: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct SlowLog(Mutex<Inner>);

impl SlowLog {
    /// Adds an entry, whose number is set here; `entries_max` is `slowlog-max-len`.
    pub fn add(&self, new: Entry, entries_max: usize) {
        let mut log = self.0.lock();
        let id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(Entry { id, ..new });
        log.entries.truncate(entries_max);
    }

    /// Up to `count` entries, newest first.
    pub fn latest(&self, count: usize) -> Vec<Entry> {
        self.0.lock().entries.iter().take(count).cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.0.lock().entries.clear();
    }
}

/// What is kept of a command's arguments.
pub fn kept_arguments(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = args.len().min(ARGUMENTS_MAX);
    let mut shown = Vec::with_capacity(kept);
    for (index, arg) in args.iter().take(kept).enumerate() {
        if index + 1 == ARGUMENTS_MAX && args.len() > ARGUMENTS_MAX {
            shown.push(format!("... ({} more arguments)", args.len() - index).into_bytes());
        } else if is_secret(args, index) {
            shown.push(REDACTED.to_vec());
        } else if let Some((head, tail)) = arg.split_at_checked(ARGUMENT_BYTES_MAX)
            && !tail.is_empty()
        {
            let mut cut = head.to_vec();
            cut.extend_from_slice(format!("... ({} more bytes)", tail.len()).as_bytes());
            shown.push(cut);
        } else {
            shown.push(arg.to_vec());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(args: &[&str]) -> Vec<String> {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let kept = kept_arguments(&args);
        kept.into_iter().map(|arg| String::from_utf8(arg).expect("text")).collect()
    }

    #[test]
    fn long_commands_are_cut() {
        let long = "x".repeat(129);
        assert_eq!(kept(&["get", &long])[1], format!("{}... (1 more bytes)", "x".repeat(128)));
        assert_eq!(kept(&["get", &long[..128]])[1], &long[..128]);
        let args: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let shown = kept(&args);
        assert_eq!((shown.len(), &*shown[30], &*shown[31]), (32, "30", "... (9 more arguments)"));
        assert_eq!(kept(&args[..32])[31], "31");
    }

    #[test]
    fn secrets_are_not_kept() {
        for (args, shown) in [
            (&["AUTH", "secret"][..], &["AUTH", "(redacted)"][..]),
            (&["auth", "secret", "secret"], &["auth", "(redacted)", "(redacted)"]),
            (
                &["HELLO", "3", "setname", "auth", "AUTH", "secret", "secret"],
                &["HELLO", "3", "setname", "auth", "AUTH", "(redacted)", "(redacted)"],
            ),
            (&["acl", "SETUSER", "secret", ">secret"], &["acl", "SETUSER", "(redacted)", "(redacted)"]),
            (&["acl", "getuser", "bob"], &["acl", "getuser", "bob"]),
            (
                &["CONFIG", "SET", "maxmemory", "1", "RequirePass", "secret"],
                &["CONFIG", "SET", "maxmemory", "1", "RequirePass", "(redacted)"],
            ),
        ] {
            assert_eq!(kept(args), shown);
        }
    }

    #[test]
    fn the_newest_entries_stay() {
        let log = SlowLog::default();
        for at_seconds in 0..5 {
            let entry = Entry {
                id: 0,
                at_seconds,
                microseconds: 1,
                args: Vec::new(),
                address: String::new(),
                name: Vec::new(),
            };
            log.add(entry, 3);
        }
        let ids: Vec<(u64, u64)> = log.latest(9).iter().map(|entry| (entry.id, entry.at_seconds)).collect();
        assert_eq!(ids, [(4, 4), (3, 3), (2, 2)]);
        log.reset();
        assert_eq!(log.count(), 0);
    }
}
