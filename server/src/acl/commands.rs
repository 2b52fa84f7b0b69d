//! Sets of commands, by their numbers in the table.

use crate::command::table::{Entry, table};

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSet {
    bits: Vec<u64>,
    /// First arguments with which a command is allowed that otherwise is not (`+select|0`).
    first_arguments: Vec<(u16, Vec<u8>)>,
}

impl CommandSet {
    /// No command.
    pub fn none() -> CommandSet {
        CommandSet { bits: vec![0; table().numbers().div_ceil(64)], first_arguments: Vec::new() }
    }

    /// Every command.
    pub fn all() -> CommandSet {
        CommandSet { bits: vec![u64::MAX; table().numbers().div_ceil(64)], first_arguments: Vec::new() }
    }

    /// Whether it holds the command.
    pub fn contains(&self, number: u16) -> bool {
        self.bits.get(usize::from(number) / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Whether a command may run with that first argument.
    pub fn allows(&self, entry: &Entry, first_argument: Option<&[u8]>) -> bool {
        self.contains(entry.number)
            || first_argument.is_some_and(|argument| {
                self.first_arguments.iter().any(|(number, allowed)| {
                    *number == entry.number && allowed.eq_ignore_ascii_case(argument)
                })
            })
    }

    /// Adds or removes a command with its subcommands.
    pub fn set(&mut self, entry: &Entry, allowed: bool) {
        if let Some(word) = self.bits.get_mut(usize::from(entry.number) / 64) {
            let bit = 1 << (entry.number % 64);
            *word = if allowed { *word | bit } else { *word & !bit };
        }
        self.first_arguments.retain(|(number, _)| *number != entry.number);
        entry.subcommands.iter().for_each(|subcommand| self.set(subcommand, allowed));
    }

    /// Allows a command with this first argument.
    pub fn allow_first_argument(&mut self, entry: &Entry, argument: &[u8]) {
        if !self.allows(entry, Some(argument)) {
            self.first_arguments.push((entry.number, argument.to_vec()));
        }
    }
}
