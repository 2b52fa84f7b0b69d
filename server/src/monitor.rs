//! `MONITOR`: every command that is executed, as a line for those who want to see them.
//!
//! While nobody does, this costs a command one load. Commands for administrators are never shown, nor are passwords.

use crate::client::{Client, ClientCard};
use crate::command::{Command, flags};
use crate::push::{Push, Signals};
use crate::redaction::{REDACTED, is_secret};
use sessile::Lsn;
use sessile_wal::sync::Mutex;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Who wants to see every command; see the module's page.
#[derive(Debug, Default)]
pub struct Monitors {
    cards: Mutex<BTreeMap<u64, Arc<ClientCard>>>,
    count: AtomicUsize,
}

impl Monitors {
    /// Shows a client every command from now on; whether it was shown none before.
    pub fn join(&self, client: &mut Client) -> bool {
        if client.card.monitors.swap(true, Ordering::Relaxed) {
            return false;
        }
        client.listens = true;
        self.cards.lock().insert(client.card.id, Arc::clone(&client.card));
        self.count.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Shows a client nothing more.
    pub fn leave(&self, card: &ClientCard) {
        if card.monitors.swap(false, Ordering::Relaxed) && self.cards.lock().remove(&card.id).is_some() {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether nobody looks.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Shows a command that was executed, at a time in microseconds since the epoch, by whoever `source` says.
    #[cold]
    pub fn show(
        &self,
        command: &Command,
        args: &[&[u8]],
        source: Source<'_>,
        now_us: u64,
        signals: &mut Signals,
        bytes_max: usize,
    ) {
        if command.flags & (flags::SKIP_MONITOR | flags::ADMIN) != 0 {
            return;
        }
        let cards = self.cards.lock();
        // What nobody could take is not written down in the first place: escaped, it is up to four times as long.
        if bytes_max != 0 && args.iter().map(|arg| arg.len()).sum::<usize>() > bytes_max {
            cards.values().for_each(|card| signals.overrun(card));
            return;
        }
        let line = Push::Plain(line(args, source, now_us).into());
        for card in cards.values() {
            signals.post(card, &line, Lsn::ZERO, bytes_max);
        }
    }
}

/// Who executed a command.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A client, on the database that is current after the command.
    Client(&'a Client),
    /// A script, on a database.
    Script(u8),
}

fn line(args: &[&[u8]], source: Source<'_>, now_us: u64) -> Vec<u8> {
    let mut line = Vec::with_capacity(args.iter().map(|arg| arg.len() + 3).sum::<usize>() + 64);
    // Writing into a Vec can't fail.
    let _ = write!(line, "+{}.{:06} [", now_us / 1_000_000, now_us % 1_000_000);
    let _ = match source {
        Source::Script(database) => write!(line, "{database} lua]"),
        Source::Client(client) => {
            let origin = &client.card.origin;
            let (kind, address) = match origin.address.strip_suffix(":0") {
                Some(path) if origin.unix => ("unix:", path),
                _ => ("", &origin.address[..]),
            };
            write!(line, "{} {kind}{address}]", client.database)
        }
    };
    for (index, arg) in args.iter().enumerate() {
        line.push(b' ');
        quote(&mut line, if is_secret(args, index) { REDACTED } else { arg });
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// Appends an argument in quotes, with what can't be printed escaped.
fn quote(line: &mut Vec<u8>, arg: &[u8]) {
    line.push(b'"');
    for &byte in arg {
        match byte {
            b'\\' | b'"' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0x07 => line.extend_from_slice(b"\\a"),
            0x08 => line.extend_from_slice(b"\\b"),
            b' '..=b'~' => line.push(byte),
            // Writing into a Vec can't fail.
            _ => drop(write!(line, "\\x{byte:02x}")),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(args: &[&[u8]]) -> String {
        String::from_utf8(line(args, Source::Script(3), 1_795_413_373_000_041)).expect("printable")
    }

    #[test]
    fn a_line_is_what_redis_writes() {
        assert_eq!(
            shown(&[b"SET", b"k", b"\x00\x01\"\\\n\r\t\x07\x08\xff v"]),
            "+1795413373.000041 [3 lua] \"SET\" \"k\" \"\\x00\\x01\\\"\\\\\\n\\r\\t\\a\\b\\xff v\"\r\n"
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        for args in [
            &[&b"AUTH"[..], b"secret"][..],
            &[b"auth", b"secret", b"secret"],
            &[b"auth", b"secret", b"secret", b"secret"],
            &[b"HELLO", b"3", b"AUTH", b"secret", b"secret"],
            &[b"hello", b"3", b"setname", b"x", b"auth", b"secret", b"secret"],
            &[b"hello", b"3", b"auth", b"secret"],
        ] {
            let line = shown(args);
            assert!(!line.contains("secret") && line.contains("(redacted)"), "{line}");
        }
        assert!(shown(&[b"HELLO", b"3", b"SETNAME", b"auth", b"seen"]).contains("\"seen\""));
    }
}
