//! Runs rows of the command table over an engine, without sockets: what a connection does, in its plainest form.

use sessile::{Access, Db, Key};
use sessile_server::command::dispatch::for_each_key;
use sessile_server::command::reach::Learned;
use sessile_server::command::{
    self, Call, Command, CommandError, CommandResult, KeyspaceCall, Random, Run, Settings, flags,
};
use sessile_server::notify::{self, Event};
use sessile_server::resp::{Protocol, Reply};
use std::collections::HashMap;

/// All rows that work on data, and that Redis 7.0 has.
pub fn rows() -> impl Iterator<Item = &'static Command> {
    [
        command::string::COMMANDS,
        command::stream::COMMANDS,
        command::stream_group::COMMANDS,
        command::stream_info::COMMANDS,
        command::stream_pending::COMMANDS,
        command::stream_read::COMMANDS,
        command::counter::COMMANDS,
        command::range::COMMANDS,
        command::lcs::COMMANDS,
        command::bit::COMMANDS,
        command::bitfield::COMMANDS,
        command::dump::COMMANDS,
        command::expire::COMMANDS,
        command::generic::COMMANDS,
        command::scan::COMMANDS,
        command::sort::COMMANDS,
        command::set::COMMANDS,
        command::set_algebra::COMMANDS,
        command::set_pick::COMMANDS,
        command::hash::COMMANDS,
        command::hash_pick::COMMANDS,
        command::hyperloglog::COMMANDS,
        command::list::COMMANDS,
        command::list_move::COMMANDS,
        command::sorted_set::COMMANDS,
        command::sorted_set_algebra::COMMANDS,
        command::sorted_set_pop::COMMANDS,
        command::sorted_set_range::COMMANDS,
        command::object::COMMANDS,
        command::memory::COMMANDS,
    ]
    .into_iter()
    .flatten()
}

/// Rows that came with later versions than the one that tests compare with.
pub fn newer_rows() -> impl Iterator<Item = &'static Command> {
    [command::hash_expire::COMMANDS, command::hash_until::COMMANDS].into_iter().flatten()
}

/// Rows that no version of Redis has.
pub fn own_rows() -> impl Iterator<Item = &'static Command> {
    [command::chat::COMMANDS, command::throttle::COMMANDS].into_iter().flatten()
}

/// An engine, and what a connection knows.
pub struct InProcess {
    db: Db,
    rows: HashMap<&'static str, &'static Command>,
    pub settings: Settings,
    pub database: u8,
    reply: Reply,
    random: Random,
    /// What the commands have noted, if the settings ask for it.
    pub events: Vec<Event>,
    _directory: tempfile::TempDir,
}

impl InProcess {
    pub fn new() -> InProcess {
        let directory = tempfile::tempdir().expect("a temporary directory");
        InProcess {
            db: Db::open(directory.path()).expect("an empty directory opens"),
            rows: rows().chain(newer_rows()).chain(own_rows()).map(|row| (row.name, row)).collect(),
            settings: Settings::default(),
            database: 0,
            reply: Reply::new(Protocol::Resp2),
            random: Random::new(1),
            events: Vec::new(),
            _directory: directory,
        }
    }

    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.reply.set_protocol(protocol);
    }

    /// Runs a conversation: each line is a command, `=>` and the reply with its line ends shown as `|`.
    pub fn converse(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (command, reply) = line.split_once(" => ").unwrap_or_else(|| panic!("{line}: no reply"));
            let unquoted = |word: &str| if word == "''" { Vec::new() } else { word.as_bytes().to_vec() };
            let args: Vec<Vec<u8>> = command.split(' ').map(unquoted).collect();
            let args: Vec<&[u8]> = args.iter().map(|arg| &arg[..]).collect();
            let answer = String::from_utf8_lossy(&self.run(&args)).replace("\r\n", "|");
            assert_eq!(answer, format!("{reply}|"), "{command}");
        }
    }

    /// Runs a command; the bytes of its reply.
    pub fn run(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.reply.bytes_mut().clear();
        if let Err(text) = self.execute(args) {
            self.reply.truncate(0);
            self.reply.error(&text);
        }
        self.reply.bytes().to_vec()
    }

    fn execute(&mut self, args: &[&[u8]]) -> Result<(), Vec<u8>> {
        let mut learned = Learned::new(true);
        loop {
            let events = self.events.len();
            match self.execute_over(args, &learned) {
                Ok(Err(CommandError::NeedsKeys(more))) => {
                    self.reply.truncate(0);
                    self.events.truncate(events);
                    learned = *more;
                }
                Ok(result) => return result.map_err(|error| error.text().into_owned()),
                Err(text) => return Err(text),
            }
        }
    }

    /// The outer error is that of a request which is none.
    fn execute_over(&mut self, args: &[&[u8]], learned: &Learned) -> Result<CommandResult, Vec<u8>> {
        let name = String::from_utf8_lossy(args[0]).to_lowercase();
        if name == "select" {
            self.database = super::resp::number(args[1]) as u8;
            self.reply.ok();
            return Ok(Ok(()));
        }
        let mut row = *self.rows.get(&name[..]).ok_or(b"ERR unknown command".to_vec())?;
        let mut full_name = name.clone();
        if !row.subcommands.is_empty() && args.len() > 1 {
            let sub = args[1].to_ascii_lowercase();
            let unknown = || {
                let start = args[1].split(|&byte| byte == 0).next().unwrap_or_default();
                let tried =
                    [b"ERR unknown subcommand '", &start[..start.len().min(128)], b"'. Try "].concat();
                [&tried[..], name.to_uppercase().as_bytes(), b" HELP."].concat()
            };
            row = row.subcommands.iter().find(|row| row.name.as_bytes() == sub).ok_or_else(unknown)?;
            full_name = format!("{name}|{}", row.name);
        }
        let count = args.len() as i32;
        if (row.arity > 0 && count != row.arity) || count < row.arity.abs() {
            return Err(format!("ERR wrong number of arguments for '{full_name}' command").into_bytes());
        }
        let now_ms = self.db.now_ms();
        match row.run {
            Run::Data(_) | Run::Blocking(_) => {
                let mut keys: Vec<Key<'_>> = Vec::new();
                for_each_key(row.keys, args, self.database, &mut |database, index| {
                    keys.push(self.db.key(database, args[index]));
                });
                let named = keys.len();
                keys.extend(learned.keys(&self.db));
                let write = row.flags & (flags::WRITE | flags::MAY_WRITE) != 0;
                let access = if write { Access::Write } else { Access::Read };
                let mut txn = self.db.begin(&keys, access, now_ms).expect("readable");
                if self.settings.notify_events & notify::NEW != 0 {
                    txn.note_creations();
                }
                let mut call = Call {
                    args,
                    keys: &keys[..named],
                    txn: &mut txn,
                    reply: &mut self.reply,
                    random: &mut self.random,
                    settings: &self.settings,
                    lookups: Default::default(),
                    events: Default::default(),
                    learned,
                    damaged: 0,
                    sessions: None,
                };
                let result = match row.run {
                    Run::Blocking(blocking) => (blocking.attempt)(&mut call).map(|served| {
                        if served == command::Served::NotYet {
                            (blocking.expired)(call.reply);
                        }
                    }),
                    Run::Data(run) => run(&mut call),
                    _ => unreachable!("matched above"),
                };
                call.note_creations();
                self.events.extend(call.events.iter().cloned());
                if result.is_err() {
                    return Ok(result);
                }
                assert!(write || !txn.changed(), "{full_name} has no write flag and wrote");
                txn.commit();
            }
            Run::Keyspace(run) | Run::Walk(run) => {
                return Ok(run(&mut KeyspaceCall {
                    args,
                    keyspace: &mut &self.db,
                    db: &self.db,
                    database: self.database,
                    now_ms,
                    reply: &mut self.reply,
                    random: &mut self.random,
                    settings: &self.settings,
                    lsn: sessile::Lsn::ZERO,
                }));
            }
            _ => return Err(b"ERR not a data command".to_vec()),
        }
        Ok(Ok(()))
    }
}
