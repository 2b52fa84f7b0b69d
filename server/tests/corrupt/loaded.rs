//! A data directory that has everything: values of all kinds in segments with a dictionary, a snapshot and deltas, log files behind the last
//! checkpoint, a library of functions; what it holds; what each of its keys held at any time; and older and foreign files to confuse it with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{Client, Random, Server, ServerOptions, Value};

/// Database and key.
pub(crate) type Id = (u8, Vec<u8>);

/// What is read of a key: its deadline (ms since the epoch, -1 for none) and its content, in an order of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) deadline_ms: i64,
    pub(crate) content: Vec<Vec<u8>>,
}

/// What reading a key came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Seen(Seen),
    /// It is not there.
    Nothing,
    /// The server's error.
    Refused(String),
}

/// All keys with what they hold.
pub(crate) type World = BTreeMap<Id, Seen>;

/// The files of a directory, without its lock.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What the drill damages, and what it knows of it.
pub(crate) struct Loaded {
    pub(crate) files: Files,
    /// What it holds.
    pub(crate) world: World,
    /// Everything that a key ever held; `None` where there was a time without it.
    pub(crate) history: BTreeMap<Id, BTreeSet<Option<Seen>>>,
    /// The names of the libraries of functions, with their texts.
    pub(crate) libraries: String,
    /// The files as they were before the last checkpoint.
    pub(crate) stale: Files,
    /// Files of the same database that a restored backup has grown instead: the same names, other contents.
    pub(crate) forked: Files,
    /// Files of another database.
    pub(crate) foreign: Files,
}

/// Many connections would not make the directory any richer.
fn options() -> ServerOptions {
    ServerOptions::new("everysec").with("io-threads", "1").with("checkpoint-interval", "86400")
}

fn session(random: &mut Random, number: u64, version: &str) -> String {
    format!(
        "{{\"user\":{number},\"version\":\"{version}\",\"roles\":[\"reader\",\"writer\"],\"theme\":\"dark\",\"token\":\"{:016x}{:016x}\",\"cart\":[{},{}]}}",
        random.next(),
        random.next(),
        random.within(0..9_999),
        random.within(0..9_999)
    )
}

/// Sends commands and wants no error.
struct Writer {
    client: Client,
    random: Random,
}

impl Writer {
    fn call(&mut self, arguments: &[&str]) {
        let answer = self.client.call(arguments).expect("answered");
        assert!(!matches!(answer, Value::Error(_)), "{arguments:?}: {answer:?}");
    }

    fn sessions(&mut self, numbers: std::ops::Range<u64>, version: &str) {
        for number in numbers {
            let value = session(&mut self.random, number, version);
            let key = format!("session:{number:05}");
            // In groups that die at different times, so that there are several segments.
            match number % 4 {
                0 => self.call(&["SET", &key, &value]),
                group => {
                    let seconds = (group * group * 40_000 + number).to_string();
                    self.call(&["SET", &key, &value, "EX", &seconds]);
                }
            }
        }
    }

    /// Something of each kind, and what changes what is there.
    fn every_kind(&mut self, version: &str) {
        self.kinds(0..16, version);
        self.call(&["MULTI"]);
        self.call(&["SET", "pair:a", version]);
        self.call(&["SET", "pair:b", version]);
        self.call(&["EXEC"]);
        self.call(&["EXPIRE", "session:00003", "777777"]);
        self.call(&["PERSIST", "session:00005"]);
        self.call(&["SELECT", "3"]);
        self.call(&["SET", "elsewhere", version, "EX", "90000"]);
        self.call(&["SELECT", "0"]);
        self.call(&["FUNCTION", "LOAD", "REPLACE", &library(version)]);
    }

    fn kinds(&mut self, numbers: std::ops::Range<u64>, version: &str) {
        for number in numbers {
            let of = |kind: &str| format!("{kind}:{number}");
            let text = session(&mut self.random, number, version);
            self.call(&["HSET", &of("hash"), "id", &number.to_string(), version, &text, "same", version]);
            self.call(&["RPUSH", &of("list"), version, &text]);
            self.call(&["SADD", &of("set"), version, &text]);
            let integer = self.random.within(0..9_999).to_string();
            self.call(&["SADD", &of("integers"), &number.to_string(), &integer]);
            self.call(&["ZADD", &of("sorted"), &number.to_string(), version, "0.5", &text]);
            self.call(&["XADD", &of("stream"), "*", "version", version, "text", &text]);
            self.call(&["APPEND", &of("string"), &text]);
            self.call(&["HSET", &of("fields"), version, &text, "lasting", version]);
            self.call(&["HEXPIRE", &of("fields"), "500000", "FIELDS", "1", version]);
        }
    }
}

fn library(version: &str) -> String {
    format!("#!lua name=drill\nredis.register_function('version', function() return '{version}' end)")
}

/// The files of a directory, without its lock.
pub(crate) fn files_of(directory: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("our names are text");
        if name != "LOCK" {
            files.insert(name, fs::read(entry.path()).expect("readable"));
        }
    }
    files
}

/// Makes a directory with these files.
pub(crate) fn write_files(directory: &Path, files: &Files) {
    fs::create_dir_all(directory).expect("made");
    for (name, bytes) in files {
        fs::write(directory.join(name), bytes).expect("written");
    }
}

/// Reads keys, many in one go.
pub(crate) fn read_keys(client: &mut Client, ids: &[(Id, String)]) -> Vec<Read> {
    let mut reads = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(100) {
        let mut bytes = Vec::new();
        for ((database, key), kind) in chunk {
            crate::support::encode(&mut bytes, &[b"SELECT", database.to_string().as_bytes()]);
            crate::support::encode(&mut bytes, &[b"PEXPIRETIME", &key[..]]);
            let arguments: &[&[u8]] = match kind.as_str() {
                "string" => &[b"GET", key],
                "hash" => &[b"HGETALL", key],
                "list" => &[b"LRANGE", key, b"0", b"-1"],
                "set" => &[b"SMEMBERS", key],
                "zset" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
                _ => &[b"XRANGE", key, b"-", b"+"],
            };
            crate::support::encode(&mut bytes, arguments);
        }
        client.send(&bytes).expect("sent");
        for (_, kind) in chunk {
            let mut next = || client.receive().expect("answered");
            let (_, deadline, content) = (next(), next(), next());
            reads.push(match (deadline, content) {
                (Value::Error(error), _) | (_, Value::Error(error)) => Read::Refused(error),
                (Value::Integer(-2), _) | (_, Value::Null) => Read::Nothing,
                (Value::Integer(deadline_ms), content) => {
                    let mut parts = Vec::new();
                    flatten(&content, &mut parts);
                    if parts.is_empty() && kind != "string" {
                        reads.push(Read::Nothing);
                        continue;
                    }
                    match kind.as_str() {
                        "set" => parts.sort_unstable(),
                        "hash" => {
                            let mut pairs: Vec<Vec<Vec<u8>>> = parts.chunks(2).map(<[_]>::to_vec).collect();
                            pairs.sort_unstable();
                            parts = pairs.concat();
                        }
                        _ => {}
                    }
                    Read::Seen(Seen { deadline_ms, content: parts })
                }
                other => Read::Refused(format!("{other:?}")),
            });
        }
    }
    assert_eq!(client.command("SELECT 0"), Value::ok());
    reads
}

fn flatten(value: &Value, into: &mut Vec<Vec<u8>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, into)),
        Value::Bulk(bytes) => into.push(bytes.clone()),
        other => into.push(format!("{other:?}").into_bytes()),
    }
}

/// The kind of a key, by its name: a damaged value can't be asked for it.
pub(crate) fn kind_of(key: &[u8]) -> &'static str {
    let name = String::from_utf8_lossy(key);
    match name.split(':').next().unwrap_or_default() {
        "hash" | "fields" => "hash",
        "list" => "list",
        "set" | "integers" => "set",
        "sorted" => "zset",
        "stream" => "stream",
        _ => "string",
    }
}

/// All keys that a scan of all databases finds.
pub(crate) fn scan(client: &mut Client) -> BTreeSet<Id> {
    let mut found = BTreeSet::new();
    for database in [0u8, 3] {
        assert_eq!(client.command(&format!("SELECT {database}")), Value::ok());
        let mut cursor = "0".to_owned();
        loop {
            let answer = client.call(&["SCAN", &cursor, "COUNT", "1000"]).expect("answered");
            let Value::Array(parts) = answer else { panic!("SCAN: {answer:?}") };
            found.extend(parts[1].items().iter().map(|key| match key {
                Value::Bulk(key) => (database, key.clone()),
                other => panic!("SCAN: {other:?}"),
            }));
            cursor = parts[0].text();
            if cursor == "0" {
                break;
            }
        }
    }
    assert_eq!(client.command("SELECT 0"), Value::ok());
    found
}

/// The libraries, as text to compare.
pub(crate) fn libraries(client: &mut Client) -> String {
    format!("{:?}", client.command("FUNCTION LIST WITHCODE"))
}

fn world(client: &mut Client) -> World {
    let ids: Vec<(Id, String)> =
        scan(client).into_iter().map(|id| (id.clone(), kind_of(&id.1).to_owned())).collect();
    let reads = read_keys(client, &ids);
    let seen = |((id, _), read): ((Id, String), Read)| match read {
        Read::Seen(seen) => (id, seen),
        other => panic!("{:?}: {other:?}", id.1.escape_ascii().to_string()),
    };
    ids.into_iter().zip(reads).map(seen).collect()
}

impl Loaded {
    /// Makes all of it.
    pub(crate) fn make(seed: u64) -> Loaded {
        let mut server = Server::start(options());
        let mut writer = Writer { client: server.client(), random: Random::new(seed) };
        let mut history: BTreeMap<Id, BTreeSet<Option<Seen>>> = BTreeMap::new();
        let mut note = |world: &World| {
            for (id, seen) in world {
                let fresh = !history.contains_key(id);
                let held = history.entry(id.clone()).or_default();
                held.insert(Some(seen.clone()));
                if fresh {
                    held.insert(None);
                }
            }
            for (id, held) in &mut history {
                if !world.contains_key(id) {
                    held.insert(None);
                }
            }
        };
        // A snapshot.
        writer.sessions(0..1_300, "one");
        writer.every_kind("one");
        writer.call(&["SAVE"]);
        note(&world(&mut writer.client));
        // Deltas, with new values, changed and deleted ones.
        for (round, version) in ["two", "three"].into_iter().enumerate() {
            let from = 100 * round as u64;
            writer.sessions(from..from + 60, version);
            writer.every_kind(version);
            for number in 60..66 {
                writer.call(&["DEL", &format!("session:{:05}", from + number)]);
            }
            writer.call(&["SAVE"]);
            note(&world(&mut writer.client));
        }
        std::thread::sleep(Duration::from_millis(1_300));
        let stale = files_of(&server.directory());
        writer.sessions(300..360, "four");
        writer.every_kind("four");
        note(&world(&mut writer.client));
        writer.call(&["SAVE"]);
        // Compaction has done what it wants to: the tail shall not be collected by a checkpoint of its own.
        settle(&mut writer.client);
        // The log's tail, over more than one file.
        writer.sessions(400..420, "five");
        for number in 0..110 {
            let text: String = (0..60).map(|_| session(&mut writer.random, number, "large")).collect();
            writer.call(&["SET", &format!("large:{number}"), &text, "EX", "500000"]);
        }
        // Not so much of what is there that compaction would begin.
        writer.kinds(0..2, "five");
        for key in ["pair:a", "new:a"] {
            writer.call(&["SETRANGE", key, "1", "FIVE"]);
        }
        writer.call(&["EXPIRE", "session:00003", "888888"]);
        writer.call(&["FUNCTION", "LOAD", "REPLACE", &library("five")]);
        for number in 700..710 {
            writer.call(&["DEL", &format!("session:{number:05}")]);
        }
        let world = world(&mut writer.client);
        note(&world);
        let libraries = libraries(&mut writer.client);
        // Synced, and marked as synced: all of it is promised.
        std::thread::sleep(Duration::from_millis(1_500));
        let tail = field(&mut writer.client, "changes_since_checkpoint");
        server.kill();
        assert!(tail > 100, "a checkpoint has taken the tail: {tail} changes are left");
        let files = files_of(&server.directory());
        let forked = fork(&stale, seed);
        let foreign = foreign(seed);
        Loaded { files, world, history, libraries, stale, forked, foreign }
    }
}

/// What a server makes of an older copy of the directory, beside the one that goes on.
fn fork(stale: &Files, seed: u64) -> Files {
    let mut server = Server::start(options());
    server.kill();
    let directory = server.directory();
    empty(&directory);
    write_files(&directory, stale);
    server.restart();
    let mut writer = Writer { client: server.client(), random: Random::new(seed ^ 0xF0) };
    writer.sessions(300..360, "fork");
    writer.every_kind("fork");
    writer.call(&["SAVE"]);
    writer.sessions(400..700, "knof");
    writer.every_kind("knof");
    std::thread::sleep(Duration::from_millis(2_500));
    server.kill();
    files_of(&directory)
}

/// Another database, with the same history.
fn foreign(seed: u64) -> Files {
    let mut server = Server::start(options());
    let mut writer = Writer { client: server.client(), random: Random::new(seed ^ 0xFE) };
    writer.sessions(0..1_300, "strange");
    writer.every_kind("strange");
    for _ in 0..3 {
        writer.call(&["SAVE"]);
        writer.every_kind("stranger");
    }
    std::thread::sleep(Duration::from_millis(2_500));
    server.kill();
    files_of(&server.directory())
}

/// A figure of `INFO storage`.
fn field(client: &mut Client, name: &str) -> u64 {
    let text = client.command("INFO storage").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("INFO has no {name}"))
}

/// Waits until no checkpoint has been made for a while.
fn settle(client: &mut Client) {
    let mut last = (u64::MAX, 0);
    while last.1 < 4 {
        std::thread::sleep(Duration::from_millis(700));
        let now = field(client, "checkpoints") + field(client, "segments_compacted");
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
    }
}

fn empty(directory: &Path) {
    fs::remove_dir_all(directory).expect("removed");
    fs::create_dir_all(directory).expect("made");
}
