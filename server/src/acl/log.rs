//! `ACL LOG`: what was denied lately, the same denial counted rather than repeated.

use sessile_wal::sync::Mutex;
use std::collections::VecDeque;

/// Denials of the same kind within this time are one entry.
const SAME_MS: u64 = 60_000;
/// Bytes of a denied object that are kept.
const OBJECT_BYTES_MAX: usize = 1 << 10;

/// Why something was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// The password.
    Auth,
}

impl Reason {
    /// As in the reply.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// Where it was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A command by itself.
    TopLevel,
    /// In `MULTI`.
    Multi,
    /// In a script.
    Lua,
}

impl Context {
    /// As in the reply.
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How often.
    pub count: u64,
    /// Why.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// Who.
    pub username: Vec<u8>,
    /// When it was last denied, ms since the epoch.
    pub at_ms: u64,
    /// When it was first denied, ms since the epoch.
    pub created_ms: u64,
    /// Its number, never given twice.
    pub id: u64,
    /// The client, as in `CLIENT INFO`.
    pub client: Vec<u8>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Newest first.
    entries: VecDeque<Entry>,
    next_id: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct AclLog(Mutex<Inner>);

impl AclLog {
    /// Adds a denial; `entries_max` is `acllog-max-len`. `new` has its count, number and times set here.
    pub fn add(&self, mut new: Entry, now_ms: u64, entries_max: usize) {
        new.object.truncate(OBJECT_BYTES_MAX);
        let mut log = self.0.lock();
        let same = log.entries.iter().position(|old| {
            old.reason == new.reason
                && old.context == new.context
                && now_ms.saturating_sub(old.at_ms) <= SAME_MS
                && old.object == new.object
                && old.username == new.username
        });
        match same.and_then(|at| log.entries.remove(at)) {
            Some(old) => {
                log.entries.push_front(Entry {
                    count: old.count + 1,
                    at_ms: now_ms,
                    client: new.client,
                    ..old
                });
            }
            None => {
                let id = log.next_id;
                log.next_id += 1;
                log.entries.push_front(Entry { count: 1, id, at_ms: now_ms, created_ms: now_ms, ..new });
            }
        }
        log.entries.truncate(entries_max);
    }

    /// Up to `count` entries, newest first.
    pub fn latest(&self, count: usize) -> Vec<Entry> {
        self.0.lock().entries.iter().take(count).cloned().collect()
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.0.lock().entries.clear();
    }
}
