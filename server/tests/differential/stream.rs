//! Rounds of commands drawn from a seed.

use super::grammar::{self, Part, SERVER_LINES};
use super::values::{self, Taste};
use crate::support::draw::Draw;
use crate::support::in_process::rows;
use sessile_server::command::{Command, flags};
use sessile_server::resp::Protocol;

/// Commands sent at once, and how long to wait after them.
#[derive(Clone)]
pub struct Batch {
    pub commands: Vec<Vec<Vec<u8>>>,
    pub pause_ms: u64,
}

/// Commands over a keyspace that starts empty.
#[derive(Clone)]
pub struct Round {
    pub protocol: Protocol,
    pub batches: Vec<Batch>,
}

impl Round {
    pub fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.commands.len()).sum()
    }

    pub fn commands(&self) -> impl Iterator<Item = &Vec<Vec<u8>>> {
        self.batches.iter().flat_map(|batch| &batch.commands)
    }

    /// The round until the command at `index`, inclusive.
    pub fn up_to(&self, index: usize) -> Round {
        self.without(index + 1, self.len() - index - 1)
    }

    /// The round without `count` commands from `start` on.
    pub fn without(&self, start: usize, count: usize) -> Round {
        let mut round = Round { protocol: self.protocol, batches: Vec::new() };
        let mut index = 0;
        for batch in &self.batches {
            let kept = |_: &&Vec<Vec<u8>>| {
                index += 1;
                !(start..start + count).contains(&(index - 1))
            };
            let commands: Vec<_> = batch.commands.iter().filter(kept).cloned().collect();
            if !commands.is_empty() {
                round.batches.push(Batch { commands, pause_ms: batch.pause_ms });
            }
        }
        round
    }
}

struct Entry {
    name: &'static str,
    taste: Taste,
    line: Vec<Part>,
    blocking: bool,
    weight: usize,
}

/// What a stream is drawn from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Commands on data.
    Data,
    /// Those of a server, too.
    Everything,
    /// Commands on data, many of them in transactions, and some on another connection.
    Transactions,
}

/// Before the name of a command that goes over another connection.
pub const OTHER: &[u8] = b"@other";

/// Whether a command writes so far out that a small `maxmemory` refuses it.
fn is_far_write(name: &str, args: &[Vec<u8>]) -> bool {
    const FAR: std::ops::RangeInclusive<u64> = 1_000_000..=1 << 33;
    let number = |arg: &Vec<u8>| std::str::from_utf8(arg).ok()?.trim_start_matches('#').parse().ok();
    ["setbit", "setrange", "bitfield"].contains(&name)
        && args.iter().skip(2).filter_map(number).any(|number: u64| FAR.contains(&number))
}

fn taste(row: &Command) -> Taste {
    if row.name.starts_with("sort") {
        return Taste::Collections;
    }
    match row.group {
        "string" | "bitmap" => Taste::Strings,
        "hash" => Taste::Hashes,
        "set" => Taste::Sets,
        "hyperloglog" => Taste::Sketches,
        "list" => Taste::Lists,
        "sorted-set" => Taste::SortedSets,
        _ => Taste::Anything,
    }
}

/// An endless stream of rounds.
pub struct Stream {
    draw: Draw,
    entries: Vec<Entry>,
    weight: usize,
    now_ms: i64,
    transactions: bool,
    /// Half of the servers compared here have next to no memory, and refuse what would make many zeros.
    without_far_writes: bool,
}

/// Commands in a round, about.
const ROUND_COMMANDS: usize = 1500;
/// Commands sent at once, at most.
const BATCH_COMMANDS: usize = 60;
/// One batch in this many ends with keys that die, and a pause in which they do.
const BATCHES_PER_DEATH: usize = 400;
/// Times to live of those, at most, and the pause.
const DEATH_MS: i64 = 20;
const PAUSE_MS: u64 = 60;

impl Stream {
    pub fn new(seed: u64, what: What) -> Stream {
        let line = |name: &str| grammar::lines().find(|(of, _)| *of == name).map(|(_, line)| line);
        let mut entries: Vec<Entry> = rows()
            .filter_map(|row| {
                let weight = match row.name {
                    // A swap fails watches here that Redis lets be, of keys in neither database.
                    "swapdb" if what == What::Transactions => return None,
                    "flushall" | "flushdb" => 1,
                    "swapdb" => 5,
                    "blpop" | "brpop" | "blmove" | "brpoplpush" | "blmpop" => 10,
                    "scan" | "memory" | "object" => 20,
                    "set" | "hset" | "expire" | "bitfield" => 100,
                    "sadd" | "pfadd" => 200,
                    "pfdebug" => 10,
                    "zadd" => 400,
                    "bzpopmin" | "bzpopmax" | "bzmpop" => 10,
                    _ => 50,
                };
                Some(Entry {
                    name: row.name,
                    taste: taste(row),
                    line: grammar::parse(line(row.name)?),
                    blocking: row.flags & flags::BLOCKING != 0,
                    weight,
                })
            })
            .collect();
        if what == What::Everything {
            entries.extend(SERVER_LINES.iter().map(|(name, line)| Entry {
                name,
                taste: Taste::Anything,
                line: grammar::parse(line),
                blocking: false,
                weight: 20,
            }));
        }
        let weight = entries.iter().map(|entry| entry.weight).sum();
        // Deadlines are drawn around a fixed moment in 2100, so that a seed gives the same stream on any day.
        Stream {
            draw: Draw::new(seed),
            entries,
            weight,
            now_ms: 4_102_444_800_000,
            transactions: what == What::Transactions,
            without_far_writes: what != What::Everything,
        }
    }

    /// The next round.
    pub fn round(&mut self) -> Round {
        let protocol = *self.draw.of(&[Protocol::Resp2, Protocol::Resp3]);
        let mut round = Round { protocol, batches: Vec::new() };
        let mut length = 0;
        while length < ROUND_COMMANDS {
            let count = if self.draw.once_in(3) { 1 } else { 1 + self.draw.below(BATCH_COMMANDS) };
            let mut commands = Vec::new();
            for _ in 0..count {
                match self.draw.below(12) {
                    0..=2 if self.transactions => self.transaction(&mut commands),
                    3 if self.transactions => self.elsewhere(&mut commands),
                    _ => self.command(&mut commands),
                }
            }
            let mut pause_ms = 0;
            if self.draw.once_in(BATCHES_PER_DEATH) {
                for _ in 0..self.draw.below(6) {
                    let milliseconds = self.draw.between(1, DEATH_MS).to_string().into_bytes();
                    let key = values::fill(&mut self.draw, "key", Taste::Anything, self.now_ms);
                    commands.push(vec![b"PEXPIRE".to_vec(), key, milliseconds]);
                }
                pause_ms = PAUSE_MS;
            }
            length += commands.len();
            round.batches.push(Batch { commands, pause_ms });
        }
        round
    }

    /// Commands for another connection.
    fn elsewhere(&mut self, commands: &mut Vec<Vec<Vec<u8>>>) {
        let first = commands.len();
        self.command(commands);
        commands[first..].iter_mut().for_each(|args| args.insert(0, OTHER.to_vec()));
    }

    /// A transaction, watched or not, with what others do meanwhile.
    fn transaction(&mut self, commands: &mut Vec<Vec<Vec<u8>>>) {
        let word = |word: &str| vec![word.as_bytes().to_vec()];
        // Watches fail with a swap of their databases here also where the key is in neither.
        let watched = self.draw.once_in(2);
        if watched {
            for _ in 0..1 + self.draw.below(2) {
                let mut args = word("watch");
                for _ in 0..self.draw.below(4) {
                    args.push(values::fill(&mut self.draw, "key", Taste::Anything, self.now_ms));
                }
                commands.push(args);
            }
        } else if self.draw.once_in(10) {
            self.swap(commands);
        }
        for _ in 0..self.draw.below(3) {
            match self.draw.below(6) {
                0 if watched => self.elsewhere(commands),
                1 => self.command(commands),
                2 if self.draw.once_in(6) => commands.push(word("unwatch")),
                _ => {}
            }
        }
        commands.push(word("multi"));
        for _ in 0..self.draw.below(8) {
            match self.draw.below(60) {
                0 => commands.push(word("multi")),
                1 => commands.push(vec![b"watch".to_vec(), b"k".to_vec()]),
                2 => commands.push(word("nosuchcommand")),
                3 => self.swap(commands),
                4 => commands.push(word("unwatch")),
                5 => commands.push(vec![b"ping".to_vec()]),
                6..=8 => self.elsewhere(commands),
                _ => self.command(commands),
            }
        }
        commands.push(match self.draw.below(30) {
            0 | 1 => word("discard"),
            2 => vec![b"exec".to_vec(), b"x".to_vec()],
            _ => word("exec"),
        });
        if self.draw.once_in(20) {
            let name = *self.draw.of(&["exec", "discard", "unwatch"]);
            commands.push(word(name));
        }
    }

    fn swap(&mut self, commands: &mut Vec<Vec<Vec<u8>>>) {
        let mut number = || self.draw.of(&["0", "1", "2", "0", "1", "15", "16", "x"]).as_bytes().to_vec();
        commands.push(vec![b"swapdb".to_vec(), number(), number()]);
    }

    fn command(&mut self, commands: &mut Vec<Vec<Vec<u8>>>) {
        if self.draw.once_in(80) {
            let database = self.draw.below(3).to_string().into_bytes();
            commands.push(vec![b"SELECT".to_vec(), database]);
            return;
        }
        let mut at = self.draw.below(self.weight);
        let entry = self.entries.iter().find(|entry| {
            let found = at < entry.weight;
            at = at.wrapping_sub(entry.weight);
            found
        });
        let Some(&Entry { name, taste, ref line, blocking, .. }) = entry else { return };
        let now_ms = self.now_ms;
        let mut args = vec![name.as_bytes().to_vec()];
        let mut fill = |draw: &mut Draw, place: &str| values::fill(draw, place, taste, now_ms);
        grammar::draw(line, &mut self.draw, &mut fill, &mut args);
        // A word may turn out a number, and that be too long a time to wait.
        let other = if blocking { "timeout" } else { "word" };
        match self.draw.below(100) {
            // So may another argument than the last.
            0 if args.len() > 1 && !blocking => {
                args.pop();
            }
            1 => args.push(values::fill(&mut self.draw, other, taste, now_ms)),
            2 if args.len() > 1 => {
                // Bytes are in no order where scores differ.
                let first = if values::is_ordered_by_bytes(&args[1]) && args.len() > 2 { 2 } else { 1 };
                let at = first + self.draw.below(args.len() - first);
                args[at] = values::fill(&mut self.draw, other, taste, now_ms);
            }
            _ => {}
        }
        if self.without_far_writes && is_far_write(name, &args) {
            return;
        }
        if name == "dbsize" {
            // Redis counts keys that are dead and not yet looked at; a scan looks at all of them.
            commands.push([&b"SCAN"[..], b"0", b"COUNT", b"100000"].map(<[u8]>::to_vec).to_vec());
        }
        let broken = name == "pfadd" && args.len() > 1 && self.draw.once_in(10);
        if broken {
            // A sketch that is none, or not quite. Redis reads past the end of some, and what it finds there after the first element is chance.
            args.truncate(3);
            let offset = self.draw.below(40).to_string().into_bytes();
            let length = 1 + self.draw.below(3);
            let bytes = (0..length).map(|_| *self.draw.of(b"\x00\x01\x3f\x40\x7f\x80\x84\xff")).collect();
            commands.push(vec![b"setrange".to_vec(), args[1].clone(), offset, bytes]);
        }
        let get = (name == "pfadd" && args.len() > 1 && (broken || self.draw.once_in(3)))
            .then(|| vec![b"get".to_vec(), args[1].clone()]);
        if self.transactions && ["zrank", "zrevrank"].contains(&name) {
            // Since Redis 7.2 with an option more: a count of arguments that fails a transaction, or does not.
            args.truncate(3);
        }
        let del = (name == "spop" && args.len() > 1).then(|| vec![b"del".to_vec(), args[1].clone()]);
        let has = |word: &str| args.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        let del = if name == "sort" && has("by") && has("alpha") {
            // What is alike is stored in any order.
            let stores = args.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case(b"store"));
            let keys: Vec<Vec<u8>> = stores.map(|pair| pair[1].clone()).collect();
            (!keys.is_empty()).then(|| [vec![b"del".to_vec()], keys].concat())
        } else {
            del
        };
        if name.starts_with("sort") {
            // Redis takes what an earlier command has left in errno for its own: this one leaves nothing there.
            commands.push(["sscan", "never", "0"].map(|word| word.as_bytes().to_vec()).to_vec());
        }
        commands.push(args);
        // What is left of it is up to chance.
        commands.extend(del);
        if broken && let Some(get) = &get {
            // Not for long, for the same reason.
            let more = [&b"pfcount"[..], b"get", b"del"].map(|word| vec![word.to_vec(), get[1].clone()]);
            commands.extend(more);
        } else {
            commands.extend(get);
        }
    }
}
