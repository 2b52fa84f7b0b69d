//! What a client has begun with `MULTI` and `WATCH`: commands that wait for `EXEC`, and keys that must not change before it.
//!
//! A queue is one buffer with the arguments of all its commands; what it may hold is bounded by `client-query-buffer-limit`, beside what the
//! client has sent and not finished. It is freed at once with `DISCARD`, and so are watches. Nothing here runs a command:
//! [`command::transaction`](crate::command::transaction) does.

use crate::command::flags;
use crate::command::table::Entry;
use sessile::Watch;
use std::collections::BTreeMap;

/// What a queued command costs beside its arguments, and an argument beside its bytes.
const COMMAND_BYTES: usize = size_of::<Queued>();
const ARGUMENT_BYTES: usize = size_of::<usize>();
/// What a watched key costs, with its place in the engine.
const WATCH_BYTES: usize = 128;

/// The state of one client; see the module's page.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The commands since `MULTI`.
    pub queue: Option<Box<Queue>>,
    watches: BTreeMap<u64, Watch>,
}

/// Commands that wait for `EXEC`.
#[derive(Debug, Default)]
pub struct Queue {
    commands: Vec<Queued>,
    /// Where each argument ends in `bytes`; it begins where the one before ends.
    ends: Vec<usize>,
    bytes: Vec<u8>,
    /// The flags of all commands.
    flags: u32,
    /// A command was refused: `EXEC` will be, too.
    pub failed: bool,
}

#[derive(Debug)]
struct Queued {
    entry: &'static Entry,
    /// How many arguments there are up to its last.
    arguments_end: usize,
}

impl Transaction {
    /// Whether commands are queued.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// A command was refused.
    #[inline]
    pub fn fail(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.failed = true;
        }
    }

    /// Forgets everything.
    pub fn discard(&mut self) {
        *self = Transaction::default();
    }

    /// Adds a watched key; the same key counts once, from the first time on.
    pub fn watch(&mut self, watch: Watch) {
        self.watches.entry(watch.hash()).or_insert(watch);
    }

    /// Watches nothing any more.
    pub fn unwatch(&mut self) {
        self.watches.clear();
    }

    /// What is watched.
    pub fn watches(&self) -> impl Iterator<Item = &Watch> + Clone {
        self.watches.values()
    }

    /// How many keys are watched.
    pub fn watched(&self) -> usize {
        self.watches.len()
    }

    /// Bytes of memory that all of it takes, about.
    pub fn bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.memory_bytes()) + self.watched() * WATCH_BYTES
    }
}

impl Queue {
    /// Adds a command.
    pub fn push(&mut self, entry: &'static Entry, args: &[&[u8]]) {
        for arg in args {
            self.bytes.extend_from_slice(arg);
            self.ends.push(self.bytes.len());
        }
        self.flags |= entry.command.flags;
        self.commands.push(Queued { entry, arguments_end: self.ends.len() });
    }

    /// What adding a command would cost.
    pub fn cost(args: &[&[u8]]) -> usize {
        COMMAND_BYTES + args.iter().map(|arg| arg.len() + ARGUMENT_BYTES).sum::<usize>()
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes of all arguments.
    pub fn argument_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it takes, about.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * ARGUMENT_BYTES + self.commands.len() * COMMAND_BYTES
    }

    /// Whether a command has one of these flags.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// Whether a command writes.
    pub fn writes(&self) -> bool {
        self.has(flags::WRITE)
    }

    /// The commands with their arguments, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Entry, Vec<&[u8]>)> {
        let mut first = 0;
        self.commands.iter().map(move |queued| {
            let arguments = (first..queued.arguments_end).map(|index| self.argument(index)).collect();
            first = queued.arguments_end;
            (queued.entry, arguments)
        })
    }

    fn argument(&self, index: usize) -> &[u8] {
        let begin = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(begin);
        self.bytes.get(begin..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::table;

    #[test]
    fn what_is_queued_comes_back() {
        let (set, get) = (table().find(b"set").expect("a command"), table().find(b"get").expect("a command"));
        let mut queue = Queue::default();
        assert!(queue.is_empty());
        queue.push(set, &[b"set", b"key", b""]);
        assert!(queue.writes());
        queue.push(get, &[b"GET", b"key"]);
        let back: Vec<_> = queue.iter().map(|(entry, args)| (entry.number, args.concat())).collect();
        assert_eq!(back, [(set.number, b"setkey".to_vec()), (get.number, b"GETkey".to_vec())]);
        assert_eq!(queue.iter().map(|(_, args)| args.len()).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(queue.argument_bytes(), 12);
    }
}
