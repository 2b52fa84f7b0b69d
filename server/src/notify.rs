//! Keyspace notifications: which events there are, and what a command has to tell.
//!
//! A command notes its events while its transaction is open ([`Call::notify`](crate::command::Call::notify)); they are published after it.
//! Nothing is noted unless `notify-keyspace-events` asks for the class.

use sessile::{ChangedKey, Key};

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
/// `n`: a key was created. Not part of `A`.
pub const NEW: u32 = 1 << 14;

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

/// Events of one command, in order.
#[derive(Clone, Debug, Default)]
pub struct Events(Vec<Event>);

impl Events {
    /// Adds one.
    pub fn push(&mut self, class: u32, name: &'static str, key: &Key<'_>) {
        self.0.push(Event { class, name, database: key.database(), key: key.bytes().to_vec() });
    }

    /// Adds that keys were created.
    pub fn push_created(&mut self, keys: Vec<ChangedKey>) {
        self.0.extend(keys.into_iter().map(|ChangedKey { database, key }| Event {
            class: NEW,
            name: "new",
            database,
            key: key.into_vec(),
        }));
    }

    /// In the order in which they happened.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.0.iter()
    }
}
