//! The command table as a whole: every family's rows, and finding one by name without allocating.

use super::{Command, Run};
use std::sync::LazyLock;

/// The rows of every family.
const FAMILIES: &[&[Command]] = &[
    super::acl::COMMANDS,
    super::admin::COMMANDS,
    super::bit::COMMANDS,
    super::bitfield::COMMANDS,
    super::chat::COMMANDS,
    super::client::COMMANDS,
    super::command_command::COMMANDS,
    super::config_command::COMMANDS,
    super::connection::COMMANDS,
    super::counter::COMMANDS,
    super::debug::COMMANDS,
    super::dump::COMMANDS,
    super::expire::COMMANDS,
    super::generic::COMMANDS,
    super::hash::COMMANDS,
    super::hash_expire::COMMANDS,
    super::hash_pick::COMMANDS,
    super::hyperloglog::COMMANDS,
    super::hyperloglog::SERVER_COMMANDS,
    super::hash_until::COMMANDS,
    super::info::COMMANDS,
    super::latency::COMMANDS,
    super::lcs::COMMANDS,
    super::list::COMMANDS,
    super::list_move::COMMANDS,
    super::memory::COMMANDS,
    super::object::COMMANDS,
    super::persistence::COMMANDS,
    super::pubsub::COMMANDS,
    super::range::COMMANDS,
    super::scan::COMMANDS,
    #[cfg(feature = "scripting")]
    super::function::COMMANDS,
    #[cfg(feature = "scripting")]
    super::scripting::COMMANDS,
    super::set::COMMANDS,
    super::set_algebra::COMMANDS,
    super::set_pick::COMMANDS,
    super::slow_log::COMMANDS,
    super::sorted_set::COMMANDS,
    super::sorted_set_algebra::COMMANDS,
    super::sorted_set_pop::COMMANDS,
    super::sorted_set_range::COMMANDS,
    super::sort::COMMANDS,
    super::stream::COMMANDS,
    super::stream_group::COMMANDS,
    super::stream_info::COMMANDS,
    super::stream_pending::COMMANDS,
    super::stream_read::COMMANDS,
    super::string::COMMANDS,
    super::throttle::COMMANDS,
    super::transaction::COMMANDS,
    super::waiting::COMMANDS,
];

/// Slots of the hash table; a power of two, several times the number of commands.
const SLOTS: usize = 1024;
/// No command's name is longer, subcommands included.
pub const NAME_BYTES_MAX: usize = 32;

/// A command with its number, by which its figures are kept.
#[derive(Debug)]
pub struct Entry {
    /// Its number; subcommands have their own.
    pub number: u16,
    /// Its full name, `client|list` for a subcommand.
    pub full_name: String,
    /// Its row.
    pub command: &'static Command,
    /// Entries of its subcommands.
    pub subcommands: Vec<Entry>,
}

/// All commands; see the module's page.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    /// Index into `entries` plus one; 0 is empty. Probed linearly.
    slots: Box<[u16; SLOTS]>,
    /// Full names by number.
    names: Vec<String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::build);

/// The table.
pub fn table() -> &'static Table {
    &TABLE
}

fn hash(lower: &[u8]) -> usize {
    // FNV-1a; the names are ours, but what is looked up is not: a probe is bounded by the longest run of our names.
    let hash = lower.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ hash >> 32) as usize & (SLOTS - 1)
}

impl Table {
    fn build() -> Table {
        let mut commands: Vec<&'static Command> =
            FAMILIES.iter().chain(&super::session::FAMILIES).flat_map(|family| family.iter()).collect();
        commands.sort_by_key(|command| command.name);
        let mut names = Vec::new();
        let entries: Vec<Entry> =
            commands.into_iter().map(|command| Entry::build(command, None, &mut names)).collect();
        let mut slots = Box::new([0; SLOTS]);
        for (index, entry) in entries.iter().enumerate() {
            let mut slot = hash(entry.command.name.as_bytes());
            while slots[slot] != 0 {
                slot = (slot + 1) & (SLOTS - 1);
            }
            slots[slot] = index as u16 + 1;
        }
        Table { entries, slots, names }
    }

    /// The command of this name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<&Entry> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let mut slot = hash(lower);
        loop {
            let index = self.slots[slot].checked_sub(1)?;
            let entry = self.entries.get(usize::from(index))?;
            if entry.command.name.as_bytes() == lower {
                return Some(entry);
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
    }

    /// The command or subcommand of this name (`client|list`).
    pub fn find_full(&self, name: &[u8]) -> Option<&Entry> {
        match memchr::memchr(b'|', name) {
            None => self.find(name),
            Some(bar) => self.find(&name[..bar])?.subcommand(&name[bar + 1..]),
        }
    }

    /// All commands, by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many numbers there are.
    pub fn numbers(&self) -> usize {
        self.names.len()
    }

    /// The full name of the command with this number; `NULL` if there is none, as `CLIENT LIST` says.
    pub fn name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or("NULL", String::as_str)
    }
}

impl Entry {
    fn build(command: &'static Command, parent: Option<&str>, names: &mut Vec<String>) -> Entry {
        let full_name =
            parent.map_or_else(|| command.name.to_owned(), |parent| format!("{parent}|{}", command.name));
        let number = names.len() as u16;
        names.push(full_name.clone());
        let subcommands =
            command.subcommands.iter().map(|sub| Entry::build(sub, Some(command.name), names)).collect();
        Entry { number, full_name, command, subcommands }
    }

    /// Its subcommand of this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Entry> {
        self.subcommands.iter().find(|entry| entry.command.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether it only holds subcommands.
    pub fn is_container(&self) -> bool {
        matches!(self.command.run, Run::Container)
    }

    /// Whether this many arguments, the name included, are right.
    pub fn takes(&self, count: usize) -> bool {
        let arity = self.command.arity;
        if arity >= 0 {
            count == arity.unsigned_abs() as usize
        } else {
            count >= arity.unsigned_abs() as usize
        }
    }
}
