//! A set of commands with the keys and channels that they may be about.

use super::commands::CommandSet;
use crate::command::matches_name;

/// A pattern of keys, and what may be done to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    /// Glob-style.
    pub pattern: Vec<u8>,
    /// Whether their values may be read.
    pub read: bool,
    /// Whether they may be changed.
    pub write: bool,
}

impl KeyPattern {
    fn describe(&self) -> Vec<u8> {
        let prefix: &[u8] = match (self.read, self.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        };
        [prefix, &self.pattern].concat()
    }
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The commands.
    pub commands: CommandSet,
    /// Whether commands that are to come are allowed as well (`+@all`).
    pub all_commands: bool,
    /// The rules that made `commands`, without the first one (`+@all` or `-@all`).
    pub command_rules: Vec<String>,
    /// Whether any key is allowed.
    pub all_keys: bool,
    /// The keys, unless all are.
    pub keys: Vec<KeyPattern>,
    /// Whether any channel is allowed.
    pub all_channels: bool,
    /// The channels, unless all are.
    pub channels: Vec<Vec<u8>>,
}

impl Selector {
    /// Nothing but, perhaps, all channels.
    pub fn none(all_channels: bool) -> Selector {
        Selector {
            commands: CommandSet::none(),
            all_commands: false,
            command_rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    pub(super) fn allow_everything(&mut self) {
        self.allow_all_commands();
        (self.all_keys, self.all_channels) = (true, true);
    }

    pub(super) fn allow_all_commands(&mut self) {
        self.commands = CommandSet::all();
        self.all_commands = true;
        self.command_rules.clear();
    }

    pub(super) fn allow_no_commands(&mut self) {
        self.commands = CommandSet::none();
        self.all_commands = false;
        self.command_rules.clear();
    }

    pub(super) fn is_everything(&self) -> bool {
        self.all_commands && self.command_rules.is_empty() && self.all_keys && self.all_channels
    }

    /// Whether a key may be read (if `read`) and changed (if `write`).
    pub fn allows_key(&self, key: &[u8], read: bool, write: bool) -> bool {
        self.all_keys
            || self.keys.iter().any(|allowed| {
                (!read || allowed.read) && (!write || allowed.write) && matches_name(&allowed.pattern, key)
            })
    }

    /// Whether any key may be read.
    pub fn reads_any_key(&self) -> bool {
        self.all_keys || self.keys.iter().any(|allowed| allowed.read && allowed.pattern == b"*")
    }

    /// Whether a channel is allowed; a pattern of channels only if it is literally one of the patterns.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self
                .channels
                .iter()
                .any(|allowed| if is_pattern { allowed == channel } else { matches_name(allowed, channel) })
    }

    /// The rules for commands, as `ACL GETUSER` shows them.
    pub fn describe_commands(&self) -> String {
        let first = if self.all_commands { "+@all" } else { "-@all" };
        std::iter::once(first)
            .chain(self.command_rules.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The patterns of keys.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        self.keys.iter().map(KeyPattern::describe).collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|channel| [b"&", &channel[..]].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// All of it, as in `ACL LIST`.
    pub fn describe(&self) -> Vec<u8> {
        let mut words = vec![self.describe_keys()];
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.push(self.describe_channels());
        words.push(self.describe_commands().into_bytes());
        words.retain(|word| !word.is_empty());
        words.join(&b' ')
    }
}
