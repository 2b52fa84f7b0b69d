//! Keyspace notifications: which events there are, and what a command has to tell.
//!
//! A command notes its events while its transaction is open ([`Call::notify`](crate::command::Call::notify)); they are published after it.
//! Nothing is noted unless `notify-keyspace-events` asks for the class.

use crate::config::Live;
use crate::pubsub::PubSub;
use crate::push::Signals;
use sessile::{ChangedKey, Key, Lsn};
use std::io::Write;

/// `K`: publish to `__keyspace@<db>__:<key>`.
pub const KEYSPACE: u32 = 1;
/// `E`: publish to `__keyevent@<db>__:<event>`.
pub const KEYEVENT: u32 = 1 << 1;
/// `g`: events of keys of any type (`del`, `expire`, `rename_from`, …).
pub const GENERIC: u32 = 1 << 2;
/// `$`: strings.
pub const STRING: u32 = 1 << 3;
/// `l`: lists.
pub const LIST: u32 = 1 << 4;
/// `s`: sets.
pub const SET: u32 = 1 << 5;
/// `h`: hashes.
pub const HASH: u32 = 1 << 6;
/// `z`: sorted sets.
pub const SORTED_SET: u32 = 1 << 7;
/// `x`: a key has expired.
pub const EXPIRED: u32 = 1 << 8;
/// `e`: a key was evicted.
pub const EVICTED: u32 = 1 << 9;
/// `t`: streams.
pub const STREAM: u32 = 1 << 10;
/// `m`: a key that is not there was read. Not part of `A`.
pub const KEY_MISS: u32 = 1 << 11;
/// `d`: what in Redis are events of modules: here those of chats.
pub const MODULE: u32 = 1 << 13;
/// `n`: a key was created. Not part of `A`.
pub const NEW: u32 = 1 << 14;

/// `A`: every class but `m` and `n`.
pub const ALL: u32 = GENERIC | STRING | LIST | SET | HASH | SORTED_SET | EXPIRED | EVICTED | STREAM | MODULE;

/// The classes by their letters, in the order in which Redis writes them; those of `A` first.
const LETTERS: [(char, u32); 14] = [
    ('g', GENERIC),
    ('$', STRING),
    ('l', LIST),
    ('s', SET),
    ('h', HASH),
    ('z', SORTED_SET),
    ('x', EXPIRED),
    ('e', EVICTED),
    ('t', STREAM),
    ('d', MODULE),
    ('n', NEW),
    ('K', KEYSPACE),
    ('E', KEYEVENT),
    ('m', KEY_MISS),
];

/// The classes that letters stand for; `None` if one of them is none.
pub fn parse(letters: &str) -> Option<u32> {
    letters.chars().try_fold(0, |flags, letter| match letter {
        'A' => Some(flags | ALL),
        _ => LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, class)| flags | class),
    })
}

/// The letters for classes.
pub fn letters(flags: u32) -> String {
    let all = flags & ALL == ALL;
    let mut letters = String::from(if all { "A" } else { "" });
    let named = LETTERS.iter().filter(|(_, class)| flags & class != 0 && !(all && ALL & class != 0));
    letters.extend(named.map(|(letter, _)| letter));
    letters
}

/// The same as `CONFIG GET` has them: Redis leaves `n` out beside `A`.
pub fn letters_shown(letters: &str) -> String {
    letters.replace("An", "A")
}

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// One of the classes.
    pub class: u32,
    /// Its name, as subscribers see it.
    pub name: &'static str,
    /// The database of the key.
    pub database: u8,
    /// The key.
    pub key: Vec<u8>,
}

/// What a command, a transaction or a script has to tell.
#[derive(Clone, Debug)]
enum Told {
    /// Something happened to a key.
    Event(Event),
    /// It has published a message.
    Message { channel: Vec<u8>, text: Vec<u8>, shard: bool },
}

/// Events of one command, or of several, in order, and among them the messages that a transaction or a script has published: whoever listens
/// to both hears them as they came.
#[derive(Clone, Debug, Default)]
pub struct Events(Vec<Told>);

impl Events {
    /// Adds one.
    pub fn push(&mut self, class: u32, name: &'static str, key: &Key<'_>) {
        let key = (key.database(), key.bytes().to_vec());
        self.0.push(Told::Event(Event { class, name, database: key.0, key: key.1 }));
    }

    /// Adds a message for a channel, or a shard channel.
    pub fn push_message(&mut self, channel: &[u8], text: &[u8], shard: bool) {
        self.0.push(Told::Message { channel: channel.to_vec(), text: text.to_vec(), shard });
    }

    /// Adds what happened after them.
    pub fn append(&mut self, mut events: Events) {
        self.0.append(&mut events.0);
    }

    /// Publishes them to whoever listens to the channels of keys or of events, as `flags` asks for, once `lsn` is acknowledged.
    pub fn publish(&self, pubsub: &PubSub, flags: u32, lsn: Lsn, signals: &mut Signals, bytes_max: usize) {
        if pubsub.is_silent() {
            return;
        }
        let mut channel = Vec::new();
        for told in &self.0 {
            match told {
                Told::Event(Event { name, database, key, .. }) => {
                    publish(pubsub, flags, name, (*database, key), lsn, (signals, bytes_max), &mut channel);
                }
                Told::Message { channel, text, shard: true } => {
                    pubsub.publish_shard(channel, text, lsn, signals, bytes_max);
                }
                Told::Message { channel, text, shard: false } => {
                    pubsub.publish(channel, text, lsn, signals, bytes_max);
                }
            }
        }
    }

    /// As [`publish`](Self::publish), as the configuration has it.
    pub fn publish_for(&self, pubsub: &PubSub, live: &Live, lsn: Lsn, signals: &mut Signals) {
        self.publish(pubsub, live.settings.notify_events, lsn, signals, live.pushed_bytes_max());
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds that keys were created.
    pub fn push_created(&mut self, keys: Vec<ChangedKey>) {
        self.0.extend(keys.into_iter().map(|ChangedKey { database, key }| {
            Told::Event(Event { class: NEW, name: "new", database, key: key.into_vec() })
        }));
    }

    /// What happened to keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().filter_map(|told| match told {
            Told::Event(event) => Some(event),
            Told::Message { .. } => None,
        })
    }
}

/// Publishes one event of a key in a database. `channel` is scratch.
pub fn publish(
    pubsub: &PubSub,
    flags: u32,
    event: &str,
    (database, key): (u8, &[u8]),
    lsn: Lsn,
    (signals, bytes_max): (&mut Signals, usize),
    channel: &mut Vec<u8>,
) {
    // Writing into a Vec can't fail.
    if flags & KEYSPACE != 0 {
        channel.clear();
        let _ = write!(channel, "__keyspace@{database}__:");
        channel.extend_from_slice(key);
        pubsub.publish(channel, event.as_bytes(), lsn, signals, bytes_max);
    }
    if flags & KEYEVENT != 0 {
        channel.clear();
        let _ = write!(channel, "__keyevent@{database}__:{event}");
        pubsub.publish(channel, key, lsn, signals, bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_written_as_redis_writes_them() {
        for (given, written) in [
            ("KEA", "AKE"),
            ("AKEn", "AKE"),
            ("AKEnm", "AKEm"),
            ("Kn", "nK"),
            ("g$lshzxetd", "A"),
            ("g$lshzxetKE", "g$lshzxetKE"),
            ("Ex", "xE"),
            ("mnKE", "nKEm"),
            ("AA", "A"),
            ("", ""),
        ] {
            let kept = letters(parse(given).expect("letters"));
            assert_eq!(letters_shown(&kept), written, "{given}");
            assert_eq!(parse(&kept), parse(given), "{given}");
        }
        assert_eq!(parse("K q"), None);
    }
}
