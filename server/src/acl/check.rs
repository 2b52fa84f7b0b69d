//! Whether a user may run a command with its arguments.

use super::selector::Selector;
use super::{Rights, key_access};
use crate::command::dispatch::for_each_key;
use crate::command::table::Entry;

/// What a user may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// Run the command.
    Command,
    /// Use the key that is the argument of this index.
    Key(usize),
    /// Use the channel that is the argument of this index.
    Channel(usize),
}

impl Denied {
    /// The error reply, for a command by its full name.
    pub fn text(self, full_name: &str) -> String {
        match self {
            Denied::Command => {
                format!("NOPERM this user has no permissions to run the '{full_name}' command")
            }
            Denied::Key(_) => {
                "NOPERM this user has no permissions to access one of the keys used as arguments".into()
            }
            Denied::Channel(_) => {
                "NOPERM this user has no permissions to access one of the channels used as arguments".into()
            }
        }
    }

    /// What `ACL DRYRUN` says.
    pub fn verbose(self, full_name: &str, args: &[&[u8]]) -> Vec<u8> {
        let quoted = |before: &str, index: usize, after: &str| {
            [before.as_bytes(), args.get(index).copied().unwrap_or_default(), after.as_bytes()].concat()
        };
        match self {
            Denied::Command => {
                format!("This user has no permissions to run the '{full_name}' command").into_bytes()
            }
            Denied::Key(index) => quoted("This user has no permissions to access the '", index, "' key"),
            Denied::Channel(index) => {
                quoted("This user has no permissions to access the '", index, "' channel")
            }
        }
    }
}

impl Rights {
    /// Whether the command is allowed by one of the selectors; if not, the denial that came furthest.
    ///
    /// # Errors
    /// What is denied.
    pub fn check(&self, entry: &Entry, args: &[&[u8]]) -> Result<(), Denied> {
        let mut furthest = Denied::Command;
        for selector in &self.selectors {
            match selector.check(entry, args) {
                Ok(()) => return Ok(()),
                Err(denied) => furthest = furthest.max(denied),
            }
        }
        Err(furthest)
    }

    /// Whether a selector that allows the command allows any key to be read.
    pub fn reads_any_key(&self, entry: &Entry, args: &[&[u8]]) -> bool {
        self.selectors.iter().any(|selector| selector.reads_any_key() && selector.check(entry, args).is_ok())
    }

    /// Whether some selector allows a channel, for a subscription that was made before.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.allows_channel(channel, is_pattern))
    }
}

impl Selector {
    fn check(&self, entry: &Entry, args: &[&[u8]]) -> Result<(), Denied> {
        // Whoever is connected may leave, and say who it is.
        let always = matches!(entry.full_name.as_str(), "auth" | "hello" | "reset" | "quit");
        if !always && !self.commands.allows(entry, args.get(1).copied()) {
            return Err(Denied::Command);
        }
        if !self.all_keys {
            let (mut nth, mut denied) = (0, None);
            for_each_key(entry.command.keys, args, 0, &mut |_, index| {
                let (read, write) = key_access::of(entry.command, &entry.full_name, nth, args);
                nth += 1;
                if let Some(key) = args.get(index)
                    && denied.is_none()
                    && !self.allows_key(key, read, write)
                {
                    denied = Some(index);
                }
            });
            if let Some(index) = denied {
                return Err(Denied::Key(index));
            }
        }
        if !self.all_channels {
            let (channels, is_pattern) = match entry.full_name.as_str() {
                "publish" | "spublish" => (1..2, false),
                "subscribe" | "ssubscribe" => (1..args.len(), false),
                "psubscribe" => (1..args.len(), true),
                _ => (0..0, false),
            };
            for index in channels {
                if args.get(index).is_some_and(|channel| !self.allows_channel(channel, is_pattern)) {
                    return Err(Denied::Channel(index));
                }
            }
        }
        Ok(())
    }
}
