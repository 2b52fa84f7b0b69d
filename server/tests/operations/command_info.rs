//! `COMMAND` says of every command what Redis says of it: clients route and pipeline by that.

use crate::support::{Server, ServerOptions, Value, oracles};
use std::collections::{BTreeMap, BTreeSet};

/// Where we say something else, and why.
const EXCUSES: &[(&str, &str, &str)] = &[
    ("bgrewriteaof", "flags", NO_REPLICA),
    ("bgsave", "flags", NO_REPLICA),
    ("save", "flags", NO_REPLICA),
    ("command|getkeys", "arity", NEWER),
    ("command|getkeysandflags", "arity", NEWER),
    ("zrank", "arity", NEWER),
    ("zrevrank", "arity", NEWER),
];
const NO_REPLICA: &str = "no_async_loading is about replicas that load, and there are none";
const NEWER: &str = "as in Redis 7.2, where more arguments are allowed, or fewer needed";

/// What is said of each command and subcommand: by name, then by what it is about.
fn described(server: &Server) -> BTreeMap<String, BTreeMap<&'static str, String>> {
    let mut all = BTreeMap::new();
    let commands = server.client().command("COMMAND");
    let mut rest: Vec<&Value> = commands.items().iter().collect();
    while let Some(command) = rest.pop() {
        let items = command.items();
        let set = |value: &Value| {
            let words: BTreeSet<String> = value.items().iter().map(Value::text).collect();
            words.into_iter().collect::<Vec<_>>().join(" ")
        };
        let about = BTreeMap::from([
            ("arity", format!("{:?}", items[1])),
            ("flags", set(&items[2])),
            ("keys", format!("{:?}", &items[3..6])),
            ("categories", set(&items[6])),
        ]);
        all.insert(items[0].text(), about);
        rest.extend(items[9].items());
    }
    all
}

#[test]
fn commands_are_described_as_by_redis() {
    let Some(redis) = oracles::program("commands_are_described_as_by_redis", "redis-server") else { return };
    let theirs = described(&Server::start(ServerOptions::new("everysec").of(&redis.to_string_lossy())));
    let ours = described(&Server::start(ServerOptions::new("everysec")));
    let mut different = Vec::new();
    let mut compared = 0;
    for (name, about) in &ours {
        let Some(expected) = theirs.get(name) else { continue };
        compared += 1;
        for (what, said) in about {
            let excused =
                EXCUSES.iter().any(|(command, part, why)| command == name && part == what && !why.is_empty());
            if *said != expected[what] && !excused {
                different.push(format!("{name} {what}\n  redis   {}\n  sessile {said}", expected[what]));
            }
        }
    }
    assert!(compared > 250, "only {compared} commands are in both");
    assert!(different.is_empty(), "{} of {compared}:\n{}", different.len(), different.join("\n"));
}
