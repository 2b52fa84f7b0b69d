//! Commands: what each one means. Knows nothing of sockets; a connection hands in arguments and a place for the reply.
//!
//! Each family is a file with its rows of the table ([`Command`]) beside the functions that the rows name. Dispatch, arity errors,
//! `COMMAND` and `docs/commands.md` come from the rows. A data command never locks anything itself: the dispatcher finds the keys
//! by the row's key positions, begins one transaction over them and commits it, so the same functions serve a single command, a
//! `MULTI` block and a script.

pub mod acl;
pub mod admin;
mod args;
pub mod bit;
pub mod bitfield;
pub mod chat;
pub mod client;
mod client_tracking;
pub mod command_command;
pub mod config_command;
pub mod connection;
pub mod cost;
pub mod counter;
mod deadline;
pub mod debug;
pub mod dispatch;
mod double;
pub mod dump;
mod error;
pub mod examples;
pub mod exec;
pub mod expire;
mod extended;
#[cfg(feature = "scripting")]
pub mod function;
pub mod generic;
pub(crate) mod glob;
pub mod hash;
pub mod hash_expire;
pub mod hash_pick;
pub mod hash_until;
pub mod hyperloglog;
pub mod info;
pub mod keys;
mod keyspace;
pub mod latency;
pub mod lcs;
pub mod list;
pub mod list_move;
pub mod long;
pub mod memory;
mod number;
pub mod object;
pub mod permission;
pub mod persistence;
pub mod pubsub;
pub mod range;
pub mod reach;
pub mod reference;
pub mod run;
pub mod scan;
#[cfg(feature = "scripting")]
pub mod scripting;
pub mod session;
pub mod set;
pub mod set_algebra;
pub mod set_pick;
pub mod slow_log;
pub mod sort;
pub mod sorted_set;
pub mod sorted_set_algebra;
pub mod sorted_set_pop;
pub mod sorted_set_range;
pub mod stream;
pub mod stream_group;
mod stream_id;
pub mod stream_info;
pub mod stream_pending;
pub mod stream_read;
pub mod string;
pub mod table;
pub mod throttle;
pub mod timing;
pub mod transaction;
pub mod waiting;

pub use dispatch::ServerCall;
pub use error::CommandError;
pub use keyspace::Keyspace;

/// Whether a name matches a pattern, as `PSUBSCRIBE` has them.
pub(crate) fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    glob::matches(pattern, name, glob::Case::Sensitive)
}

use crate::notify::{self, Events};
use crate::resp::Reply;
use sessile::{Db, Key, Txn};

/// The result of a command: whatever was written to the reply, or the error that replaces it.
pub type CommandResult = Result<(), CommandError>;

/// One row of the command table.
#[derive(Debug)]
pub struct Command {
    /// Lower-case name; `parent|name` is spelled `name` in a container's `subcommands`.
    pub name: &'static str,
    /// Number of arguments with the name, or minus the least number, as Redis counts.
    pub arity: i32,
    /// [`flags`] bits.
    pub flags: u32,
    /// Where the keys are.
    pub keys: KeySpec,
    /// ACL categories beside those that follow from the flags (`@string`, `@dangerous`, …), without the `@`.
    pub categories: &'static [&'static str],
    /// Group in the documentation: `string`, `generic`, `hash`, `connection`, `server`.
    pub group: &'static str,
    /// The Redis version that brought the command (or `sessile x.y`).
    pub since: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Cost, as Redis's documentation states it (ours where it differs).
    pub complexity: &'static str,
    /// Subcommands of a container (`CLIENT`, `OBJECT`).
    pub subcommands: &'static [Command],
    /// What runs it.
    pub run: Run,
}

/// Where a command's keys are among its arguments.
#[derive(Clone, Copy, Debug)]
pub enum KeySpec {
    /// No keys.
    None,
    /// From argument `first` to `last` (negative: from the end), every `step`-th. As in `COMMAND`'s reply.
    Range {
        /// Index of the first key.
        first: i32,
        /// Index of the last, negative from the end.
        last: i32,
        /// Distance.
        step: i32,
    },
    /// As `Range`, but some of the keys are in another database than the connection's (`COPY … DB`, `MOVE`).
    Across {
        /// As `COMMAND` says it.
        first: i32,
        /// As `COMMAND` says it.
        last: i32,
        /// As `COMMAND` says it.
        step: i32,
        /// Reports each key in the order that the handler knows.
        find: FindKeys,
    },
    /// No keys that a client could name; but those that sessions are kept under.
    Sessions(FindSessions),
    /// No keys; but shard channels, whose places `COMMAND` tells as if they were keys, since they decide on the node of a cluster.
    Channels {
        /// Index of the first.
        first: i32,
        /// Index of the last, negative from the end.
        last: i32,
        /// Distance.
        step: i32,
    },
}

/// Given the arguments and the current database, calls the last argument with each key's database and its index among the
/// arguments. Arguments that make no sense are the handler's business: report the keys in the current database then.
pub type FindKeys = fn(&[&[u8]], u8, &mut dyn FnMut(u8, usize));

/// Given the arguments, says what the command is going to ask the sessions for, before any lock is held: keys, and tokens to be drawn. Arguments that
/// make no sense are the handler's business.
pub type FindSessions = fn(&Db, &[&[u8]], &mut session::Wanted<'_>) -> Result<(), sessile::Error>;

impl KeySpec {
    /// One key, the first argument.
    pub const ONE: KeySpec = KeySpec::Range { first: 1, last: 1, step: 1 };
    /// All arguments are keys.
    pub const ALL: KeySpec = KeySpec::Range { first: 1, last: -1, step: 1 };
}

/// Command flags, as `COMMAND` names them.
pub mod flags {
    #![allow(missing_docs)]
    pub const WRITE: u32 = 1;
    pub const READONLY: u32 = 1 << 1;
    /// May make the data grow: refused when memory or disk is at its limit.
    pub const DENYOOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const NOSCRIPT: u32 = 1 << 4;
    pub const LOADING: u32 = 1 << 5;
    pub const STALE: u32 = 1 << 6;
    pub const FAST: u32 = 1 << 7;
    /// Allowed before authentication.
    pub const NO_AUTH: u32 = 1 << 8;
    pub const NO_MULTI: u32 = 1 << 9;
    pub const PUBSUB: u32 = 1 << 10;
    pub const BLOCKING: u32 = 1 << 11;
    pub const SKIP_MONITOR: u32 = 1 << 12;
    pub const SKIP_SLOWLOG: u32 = 1 << 13;
    pub const MOVABLEKEYS: u32 = 1 << 14;
    pub const ALLOW_BUSY: u32 = 1 << 15;
    /// Reads, but keeps what it has computed, where it may write (`PFCOUNT`). Not shown by `COMMAND`.
    pub const MAY_WRITE: u32 = 1 << 16;
    /// Reads keys that are not among its arguments (`SORT … BY`). Not shown by `COMMAND`.
    pub const OTHER_KEYS: u32 = 1 << 17;
    /// Its keys may be none (`EVAL`).
    pub const NO_MANDATORY_KEYS: u32 = 1 << 18;
}

/// What runs a command, and so what it may see.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Works on its keys only, inside a transaction that the dispatcher opened.
    Data(fn(&mut Call<'_, '_>) -> CommandResult),
    /// As `Data`, but may have to wait for an element to come.
    Blocking(Blocking),
    /// Works on the keyspace as a whole (`SCAN`, `DBSIZE`, `FLUSHALL`), with no transaction open.
    Keyspace(fn(&mut KeyspaceCall<'_>) -> CommandResult),
    /// As `Keyspace`, but looks at keys, which may be on disk (`SCAN`, `KEYS`, `RANDOMKEY`): then it runs where it may wait.
    Walk(fn(&mut KeyspaceCall<'_>) -> CommandResult),
    /// Only a container for subcommands.
    Container,
    /// Works on the connection or the server.
    Server(fn(&mut ServerCall<'_>) -> CommandResult),
}

/// Makes of a call the arguments that mean the same at any later time.
pub type Settle = fn(&Call<'_, '_>) -> Vec<Box<[u8]>>;

/// A command that waits for an element (`BLPOP`). In a transaction or a script it never waits, but answers as if its time were up.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// Takes an element and replies, or does neither.
    pub attempt: fn(&mut Call<'_, '_>) -> Result<Served, CommandError>,
    /// How long it waits, given its arguments.
    pub timeout: fn(&[&[u8]]) -> Result<Timeout, CommandError>,
    /// The reply when its time is up.
    pub expired: fn(&mut Reply),
    /// The arguments of later attempts, where those of the first mean something else then (`XREAD … $`).
    pub settle: Option<Settle>,
}

/// Whether a blocking command got what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It has its reply.
    Yes,
    /// There was nothing for it, and nothing was written.
    NotYet,
}

/// How long a blocking command waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Until there is something for it.
    Never,
    /// So many milliseconds at most; at least one.
    Ms(u64),
}

impl Timeout {
    /// When it is up for a command that runs at `now_ms`.
    pub fn deadline_ms(self, now_ms: u64) -> Option<u64> {
        match self {
            Timeout::Never => None,
            Timeout::Ms(ms) => Some(now_ms.saturating_add(ms)),
        }
    }
}

/// How often a read found its key, and how often not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookups {
    /// It was there.
    pub hits: u32,
    /// It was not.
    pub misses: u32,
}

impl Lookups {
    /// Counts one.
    #[inline]
    pub fn count(&mut self, found: bool) {
        self.hits += u32::from(found);
        self.misses += u32::from(!found);
    }
}

/// A data command's surroundings.
pub struct Call<'a, 'db> {
    /// All arguments, the command's name first. Arity has been checked.
    pub args: &'a [&'a [u8]],
    /// The keys, hashed, in the order of the row's key positions; their shards are locked.
    pub keys: &'a [Key<'a>],
    /// The transaction over the keys.
    pub txn: &'a mut Txn<'db>,
    /// Where the reply goes.
    pub reply: &'a mut Reply,
    /// For random choices.
    pub random: &'a mut Random,
    /// Limits that an operator can set.
    pub settings: &'a Settings,
    /// What commands that read report; see [`looked_up`](Self::looked_up).
    pub lookups: Lookups,
    /// What happened to keys, for keyspace notifications. Empty unless somebody wants to know.
    pub events: Events,
    /// Keys beyond the arguments that the transaction was begun with; see [`reach`].
    pub learned: &'a reach::Learned,
    /// Keys whose values were damaged, and which were deleted because the command deletes or replaces them anyway.
    pub damaged: usize,
    /// For commands on sessions, where those can run.
    pub sessions: Option<session::Access<'a>>,
}

impl Call<'_, '_> {
    /// Notes for `notify-keyspace-events` what happened to the key with this index among [`keys`](Self::keys): `event` of a `class` of
    /// [`notify`].
    ///
    /// That keys were created on the way (`new`) is noted by itself, before this event.
    #[inline]
    pub fn notify(&mut self, class: u32, event: &'static str, key: usize) {
        if self.settings.notify_events & (class | notify::NEW) != 0 {
            self.note(class, event, key);
        }
    }

    #[cold]
    fn note(&mut self, class: u32, event: &'static str, key: usize) {
        self.note_creations();
        if self.settings.notify_events & class != 0 {
            self.events.push(class, event, &self.keys[key]);
        }
    }

    /// Notes which keys were created that no event has told of yet.
    pub fn note_creations(&mut self) {
        if self.settings.notify_events & notify::NEW != 0 {
            self.events.push_created(self.txn.take_creations());
        }
    }

    /// Says of the key with this index among [`keys`](Self::keys), which was looked up to read it, whether it was there: for the hits and misses
    /// of `INFO`, and for `keymiss`.
    #[inline]
    pub fn looked_up(&mut self, key: usize, found: bool) {
        self.lookups.count(found);
        if !found {
            self.notify(notify::KEY_MISS, "keymiss", key);
        }
    }

    /// As [`looked_up`](Self::looked_up), for a key that is not among the arguments.
    pub(crate) fn looked_up_key(&mut self, key: &Key<'_>, found: bool) {
        self.lookups.count(found);
        if !found && self.settings.notify_events & notify::KEY_MISS != 0 {
            self.events.push(notify::KEY_MISS, "keymiss", key);
        }
    }
}

/// A keyspace command's surroundings.
pub struct KeyspaceCall<'a> {
    /// All arguments, the command's name first. Arity has been checked.
    pub args: &'a [&'a [u8]],
    /// What it works on.
    pub keyspace: &'a mut dyn Keyspace,
    /// The engine, for its figures: while a transaction is open, not to be used.
    pub db: &'a Db,
    /// The connection's current database.
    pub database: u8,
    /// The time of this turn of the event loop, ms since the epoch.
    pub now_ms: u64,
    /// Where the reply goes.
    pub reply: &'a mut Reply,
    /// For random choices.
    pub random: &'a mut Random,
    /// Limits that an operator can set.
    pub settings: &'a Settings,
    /// Set by a command that wrote: what must be acknowledged before the reply is sent.
    pub lsn: sessile::Lsn,
}

/// Directives that change what data commands answer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `proto-max-bulk-len`: longest string value, bytes.
    pub proto_max_bulk_len: usize,
    /// `hash-max-listpack-entries` (for `OBJECT ENCODING`).
    pub hash_max_listpack_entries: usize,
    /// `hash-max-listpack-value`.
    pub hash_max_listpack_value: usize,
    /// `set-max-intset-entries`.
    pub set_max_intset_entries: usize,
    /// `hll-sparse-max-bytes`.
    pub hll_sparse_max_bytes: usize,
    /// `zset-max-listpack-entries`.
    pub zset_max_listpack_entries: usize,
    /// `zset-max-listpack-value`.
    pub zset_max_listpack_value: usize,
    /// `notify-keyspace-events`: bits of [`notify`].
    pub notify_events: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            proto_max_bulk_len: 512 << 20,
            hash_max_listpack_entries: 128,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            hll_sparse_max_bytes: 3000,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            notify_events: 0,
        }
    }
}

/// A small fast generator for random choices that carry no secret (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded; zero is replaced.
    pub fn new(seed: u64) -> Random {
        Random(if seed == 0 { 0x9E37_79B9_7F4A_7C15 } else { seed })
    }

    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends, or at least is asked whether it does"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
