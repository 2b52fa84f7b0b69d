//! The same stream of commands to a real redis-server and to Sessile: the replies are the same, byte for byte.
//!
//! Commands are drawn over the command table (`differential/grammar.rs` has a line for each row) with boundary and broken arguments,
//! in rounds that start from nothing. The excuses are in `differential/excuses.rs`. A difference is shrunk to the shortest stream
//! that still shows it. `SESSILE_SEED` replays, `SESSILE_DIFF_COMMANDS` says how many commands.

#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod differential {
    pub mod events;
    pub mod excuses;
    pub mod grammar;
    pub mod process;
    pub mod stream;
    pub mod values;
}
mod support;

use differential::events::{Listening, Noting};
use differential::excuses::excuse;
use differential::process::Process;
use differential::stream::{OTHER, Round, Stream, What};
use sessile_server::resp::Protocol;
use std::collections::BTreeMap;
use std::time::Duration;
use support::in_process::InProcess;
use support::resp::{Reply, show, show_command};

/// Of each test; there are five that draw as many, so that every run compares more than a million.
const COMMANDS_DEFAULT: usize = 250_000;

type Args = Vec<Vec<u8>>;

/// Something that commands can be sent to.
trait Server {
    /// Starts a round: no keys, database 0, this protocol.
    fn reset(&mut self, protocol: Protocol);
    /// Runs commands that were sent at once.
    fn run(&mut self, commands: &[Args]) -> Vec<Vec<u8>>;
    /// Has it make a checkpoint.
    fn checkpoint(&mut self) {
        assert_eq!(self.run(&[words(&["DEBUG", "RELOAD"])]), [b"+OK\r\n"]);
    }
}

fn words(words: &[&str]) -> Args {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

impl Server for Process {
    fn reset(&mut self, protocol: Protocol) {
        let version = if protocol == Protocol::Resp3 { "3" } else { "2" };
        self.exchange(&[words(&["HELLO", version]), words(&["FLUSHALL"]), words(&["SELECT", "0"])]);
    }

    fn run(&mut self, commands: &[Args]) -> Vec<Vec<u8>> {
        self.exchange(commands)
    }
}

impl Server for InProcess {
    fn reset(&mut self, protocol: Protocol) {
        self.settings.proto_max_bulk_len = 1 << 20;
        self.settings.hll_sparse_max_bytes = 400;
        self.set_protocol(protocol);
        self.database = 0;
        InProcess::run(self, &[b"FLUSHALL"]);
    }

    fn run(&mut self, commands: &[Args]) -> Vec<Vec<u8>> {
        let run = |args: &Args| {
            let args: Vec<&[u8]> = args.iter().map(|arg| &arg[..]).collect();
            InProcess::run(self, &args)
        };
        commands.iter().map(run).collect()
    }
}

/// Sessile's binary with less memory than it needs for nothing at all, so that every value leaves memory once a checkpoint has written it.
struct Chilled<S> {
    process: S,
    batches: usize,
}

impl<S> Chilled<S> {
    /// One batch in this many finds that whatever was there is on disk.
    const BATCHES_PER_CHILL: usize = 20;
    /// Time for values to leave memory.
    const LEAVE: Duration = Duration::from_millis(150);
}

impl<S: Server> Server for Chilled<S> {
    fn reset(&mut self, protocol: Protocol) {
        self.process.reset(protocol);
    }

    fn run(&mut self, commands: &[Args]) -> Vec<Vec<u8>> {
        self.batches += 1;
        if self.batches.is_multiple_of(Self::BATCHES_PER_CHILL) {
            self.process.checkpoint();
            differential::process::pause(Self::LEAVE);
        }
        self.process.run(commands)
    }
}

/// Two connections to one server; what has the mark of the other goes over it.
struct Pair {
    own: Process,
    other: Process,
}

impl Pair {
    fn of(own: Process) -> Pair {
        let other = own.another();
        Pair { own, other }
    }
}

impl Server for Pair {
    fn reset(&mut self, protocol: Protocol) {
        // Out of whatever transaction it was in.
        self.own.exchange(&[words(&["RESET"])]);
        self.own.reset(protocol);
        self.other.exchange(&[words(&["SELECT", "0"])]);
    }

    /// Over the connection that has no transaction open.
    fn checkpoint(&mut self) {
        self.other.checkpoint();
    }

    fn run(&mut self, commands: &[Args]) -> Vec<Vec<u8>> {
        let is_other = |args: &Args| args.first().is_some_and(|name| name == OTHER);
        let mut replies = Vec::with_capacity(commands.len());
        for run in commands.chunk_by(|one, next| is_other(one) == is_other(next)) {
            if run.first().is_some_and(is_other) {
                let unmarked: Vec<Args> = run.iter().map(|args| args[1..].to_vec()).collect();
                replies.extend(self.other.exchange(&unmarked));
            } else {
                replies.extend(self.own.exchange(run));
            }
        }
        replies
    }
}

/// A server that is sent each command as a script that runs it.
struct Scripted<S> {
    server: S,
    script: &'static str,
}

impl<S: Server> Server for Scripted<S> {
    fn reset(&mut self, protocol: Protocol) {
        self.server.reset(protocol);
    }

    fn run(&mut self, commands: &[Args]) -> Vec<Vec<u8>> {
        let scripted = |args: &Args| {
            words(&["EVAL", self.script, "0"]).into_iter().chain(args.iter().cloned()).collect()
        };
        let scripted: Vec<Args> = commands.iter().map(scripted).collect();
        self.server.run(&scripted)
    }
}

/// How often each command was answered otherwise than by an error, and how often by one; and the excuses.
#[derive(Default)]
struct Tally {
    answers: BTreeMap<String, (usize, usize)>,
    excused: BTreeMap<&'static str, usize>,
}

/// The first difference in a round: which command, and what each said.
struct Difference {
    index: usize,
    redis: Vec<u8>,
    sessile: Vec<u8>,
}

/// Plays a round to both; commands up to the first difference are compared.
fn play(
    round: &Round,
    redis: &mut dyn Server,
    sessile: &mut dyn Server,
    tally: &mut Tally,
) -> Option<Difference> {
    redis.reset(round.protocol);
    sessile.reset(round.protocol);
    let mut start = 0;
    let mut queued = Vec::new();
    for batch in &round.batches {
        let theirs = redis.run(&batch.commands);
        let ours = sessile.run(&batch.commands);
        for (offset, (theirs, ours)) in theirs.into_iter().zip(ours).enumerate() {
            let args = &batch.commands[offset];
            let own = args.first().is_some_and(|name| name != OTHER);
            let args = if own { &args[..] } else { &args[1..] };
            let name = String::from_utf8_lossy(&args[0]).into_owned();
            let (answered, failed) = tally.answers.entry(name.clone()).or_default();
            *if theirs[0] == b'-' { failed } else { answered } += 1;
            if own && theirs == b"+QUEUED\r\n" {
                queued.push(args.to_vec());
            } else if own && name == "multi" && theirs[0] == b'+' {
                queued.clear();
            }
            if theirs == ours {
                continue;
            }
            let excused = if own && name == "exec" {
                excuse_all(&queued, &theirs, &ours)
            } else {
                excuse(args, &theirs, &ours)
            };
            match excused {
                Some(reason) => *tally.excused.entry(reason).or_default() += 1,
                None => return Some(Difference { index: start + offset, redis: theirs, sessile: ours }),
            }
        }
        start += batch.commands.len();
        if batch.pause_ms > 0 {
            differential::process::pause(Duration::from_millis(batch.pause_ms));
        }
    }
    None
}

/// The replies of an `EXEC`, one by one.
fn excuse_all(queued: &[Args], redis: &[u8], sessile: &[u8]) -> Option<&'static str> {
    fn elements(reply: &[u8]) -> Option<Vec<&[u8]>> {
        let head = reply.iter().position(|&byte| byte == b'\n')? + 1;
        let (mut rest, mut all) = (reply.get(head..)?, Vec::new());
        while !rest.is_empty() {
            let (_, length) = Reply::parse(rest)?;
            let (element, after) = rest.split_at(length);
            all.push(element);
            rest = after;
        }
        Some(all)
    }
    let (redis, sessile) = (elements(redis)?, elements(sessile)?);
    if redis.len() != queued.len() || sessile.len() != queued.len() {
        return None;
    }
    let mut differing =
        queued.iter().zip(redis.into_iter().zip(sessile)).filter(|(_, (one, other))| one != other);
    differing.try_fold("in a transaction", |_, (args, (redis, sessile))| excuse(args, redis, sessile))
}

/// Takes commands away while the last one still differs.
fn shrink(round: &Round, difference: &Difference, redis: &mut dyn Server, sessile: &mut dyn Server) -> Round {
    let mut shortest = round.up_to(difference.index);
    let mut chunk = shortest.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        // The last command is the one that differs.
        while at + 1 < shortest.len() {
            let candidate = shortest.without(at, chunk.min(shortest.len() - 1 - at));
            let last = candidate.len() - 1;
            match play(&candidate, redis, sessile, &mut Tally::default()) {
                Some(found) if found.index == last => shortest = candidate,
                _ => at += chunk,
            }
        }
        chunk /= 2;
    }
    shortest
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text}: not a number")))
}

fn compare(sessile: &mut dyn Server, what: What) {
    compare_over(sessile, what, COMMANDS_DEFAULT);
}

fn compare_over(sessile: &mut dyn Server, what: What, commands: usize) {
    if support::oracles::program("differential", "redis-server").is_none() {
        return;
    }
    let Some(mut redis) = Process::redis() else { return };
    compare_with(&mut redis, sessile, what, commands);
}

fn compare_with(redis: &mut dyn Server, sessile: &mut dyn Server, what: What, commands: usize) {
    let (played, tally) = compare_streams(redis, sessile, what, commands);
    // A command that only ever fails, or never does, is not being tested.
    const ENOUGH: usize = 100_000;
    let never_fail = ["randomkey", "dbsize", "SELECT", "PEXPIRE", "SCAN", "echo", "ping"];
    let always_fail = ["nosuchcommand", "x\ny", "auth"];
    // (In a transaction most are only queued.)
    let judged = played >= ENOUGH && what != What::Transactions;
    for (name, (answered, failed)) in tally.answers.iter().filter(|_| judged) {
        assert!(*answered > 0 || always_fail.contains(&&name[..]), "{name} always failed");
        assert!(*failed > 0 || never_fail.contains(&&name[..]), "{name} never failed");
    }
}

/// Plays a stream to both; how many commands that were, and how they were answered.
fn compare_streams(
    redis: &mut dyn Server,
    sessile: &mut dyn Server,
    what: What,
    commands: usize,
) -> (usize, Tally) {
    let seed = from_environment("SESSILE_SEED").unwrap_or_else(|| {
        // A hasher's keys are the only randomness that std hands out.
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    });
    let commands = from_environment("SESSILE_DIFF_COMMANDS").unwrap_or(commands);
    eprintln!("SESSILE_SEED={seed} SESSILE_DIFF_COMMANDS={commands}");
    let mut stream = Stream::new(seed, what);
    let mut tally = Tally::default();
    let mut played = 0;
    while played < commands {
        let round = stream.round();
        if let Some(difference) = play(&round, redis, sessile, &mut tally) {
            let shortest = shrink(&round, &difference, redis, sessile);
            let difference = play(&shortest, redis, sessile, &mut Tally::default()).unwrap_or(difference);
            let stream: Vec<String> = shortest.commands().map(|args| show_command(args)).collect();
            panic!(
                "SESSILE_SEED={seed}, {:?}, after about {played} commands. Shrunk to:\n{}\nredis:   {}\nsessile: {}",
                shortest.protocol,
                stream.join("\n"),
                show(&difference.redis),
                show(&difference.sessile),
            );
        }
        played += round.len();
    }
    eprintln!("{played} commands alike; excused: {:?}", tally.excused);
    eprintln!("answers and errors: {:?}", tally.answers);
    (played, tally)
}

#[test]
fn in_process_answers_as_redis_does() {
    compare(&mut InProcess::new(), What::Data);
}

#[test]
fn the_binary_answers_as_redis_does() {
    compare(&mut Process::sessile(&[]), What::Everything);
}

/// Takes about 15 s, most of which it waits.
#[test]
fn values_on_disk_make_no_difference() {
    const COMMANDS: usize = 40_000;
    let process = Process::sessile(&["--maxmemory", "1"]);
    let mut sessile = Chilled { process, batches: 0 };
    compare_over(&mut sessile, What::Data, COMMANDS);
    if sessile.batches > 0 {
        let info = String::from_utf8_lossy(&sessile.process.exchange(&[words(&["INFO", "storage"])])[0])
            .into_owned();
        let reads = info.lines().find_map(|line| line.strip_prefix("cold_reads:")?.parse::<u64>().ok());
        assert!(reads.is_some_and(|reads| reads > 100), "hardly anything was on disk: {info}");
    }
}

/// Transactions, with a second connection that changes what is watched.
#[test]
fn transactions_make_no_difference() {
    if support::oracles::program("differential", "redis-server").is_none() {
        return;
    }
    let Some(redis) = Process::redis() else { return };
    let sessile = Pair::of(Process::sessile(&[]));
    compare_with(&mut Pair::of(redis), &mut { sessile }, What::Transactions, COMMANDS_DEFAULT);
}

/// The same with values on disk.
#[test]
fn transactions_over_values_on_disk_make_no_difference() {
    const COMMANDS: usize = 20_000;
    if support::oracles::program("differential", "redis-server").is_none() {
        return;
    }
    let Some(redis) = Process::redis() else { return };
    let mut sessile = Chilled { process: Pair::of(Process::sessile(&["--maxmemory", "1"])), batches: 0 };
    compare_with(&mut Pair::of(redis), &mut sessile, What::Transactions, COMMANDS);
}

fn compare_in_scripts(script: &'static str, commands: usize) {
    if support::oracles::program("differential", "redis-server").is_none() {
        return;
    }
    let Some(redis) = Process::redis() else { return };
    let mut redis = Scripted { server: redis, script };
    let mut sessile = Scripted { server: Process::sessile(&[]), script };
    compare_streams(&mut redis, &mut sessile, What::Data, commands);
}

/// Every command run by a script, where its keys are held.
#[test]
fn commands_in_scripts_make_no_difference() {
    compare_in_scripts("return redis.call(unpack(ARGV))", 60_000);
}

/// The same where it works on copies, as a script does that counts the keys.
#[test]
fn commands_on_copies_make_no_difference() {
    compare_in_scripts("redis.setresp(3) redis.call('dbsize') return redis.call(unpack(ARGV))", 20_000);
}

/// Keyspace notifications, event by event.
#[test]
fn the_same_events_are_told() {
    const COMMANDS: usize = 60_000;
    if support::oracles::program("differential", "redis-server").is_none() {
        return;
    }
    let Some(mut redis) = Listening::redis() else { return };
    compare_with(&mut redis, &mut Noting::new(), What::Data, COMMANDS);
}

/// `COMMAND INFO` of every command on data: name, arity, flags, key positions, categories.
#[test]
fn the_table_says_what_redis_says() {
    if support::oracles::program("differential", "redis-server").is_none() {
        return;
    }
    let Some(mut redis) = Process::redis() else { return };
    let mut sessile = Process::sessile(&[]);
    let names = support::in_process::rows().flat_map(|row| {
        let subcommands = row.subcommands.iter().map(|sub| format!("{}|{}", row.name, sub.name));
        std::iter::once(row.name.to_owned()).chain(subcommands)
    });
    for name in names {
        let info = |server: &mut Process| {
            let reply = &server.exchange(&[words(&["COMMAND", "INFO", &name])])[0];
            let (reply, _) = Reply::parse(reply).expect("a whole reply");
            let mut row = reply.elements[0].elements[..7].to_vec();
            row.iter_mut().for_each(|part| part.elements.sort());
            if ["zrank", "zrevrank"].contains(&&name[..]) {
                // Since Redis 7.2 with an option more.
                row.remove(1);
            }
            row
        };
        assert_eq!(info(&mut sessile), info(&mut redis), "left: Sessile's {name}, right: Redis's");
    }
}

#[test]
fn every_row_of_the_table_is_drawn() {
    for row in support::in_process::rows() {
        let lines = differential::grammar::lines().filter(|(name, _)| *name == row.name).count();
        assert_eq!(lines, 1, "differential/grammar.rs has no line for {}", row.name);
    }
}
