//! Two connections to one server, given any bytes in any pieces, or requests of the command table with arguments of all sorts: they never panic,
//! what they answer is RESP, everything answered is acknowledged, and nothing is left when they are gone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::Options;
use sessile::fuzzing::Input;
use sessile_fuzz::bench::{Bench, small};
use sessile_fuzz::resp;
use sessile_server::command::table::table;

/// Words that commands take.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "100",
    "k",
    "list",
    "hash",
    "set",
    "z",
    "stream",
    "chan",
    "p*",
    "*",
    "$",
    ">",
    "-",
    "+",
    "0-1",
    "1-0",
    "(1",
    "[a",
    "inf",
    "-inf",
    "1.5",
    "nan",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "EX",
    "PX",
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "GET",
    "KEEPTTL",
    "PERSIST",
    "COUNT",
    "MATCH",
    "TYPE",
    "string",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "AFTER",
    "WITHSCORES",
    "LIMIT",
    "BYSCORE",
    "BYLEX",
    "REV",
    "STORE",
    "BY",
    "ALPHA",
    "DESC",
    "FIELDS",
    "BLOCK",
    "STREAMS",
    "GROUP",
    "CREATE",
    "MKSTREAM",
    "MAXLEN",
    "~",
    "ASYNC",
    "REPLACE",
    "ABSTTL",
    "u8",
    "i5",
    "SET",
    "INCRBY",
    "OVERFLOW",
    "SAT",
    "AND",
    "NOT",
    "WEIGHTS",
    "AGGREGATE",
    "MAX",
    "ON",
    "OFF",
    "BCAST",
    "OPTIN",
    "NOLOOP",
    "PREFIX",
    "SKIP",
    "ID",
    "USER",
    "default",
    "HELP",
    "LIST",
    "INFO",
    "3",
    "AUTH",
    "SETNAME",
    "NOVALUES",
    "return redis.call('get', KEYS[1])",
    "#!lua name=l\nredis.register_function('f', function() return 1 end)",
];

/// Requests that come up often: most of what can go wrong needs some of them before.
const OFTEN: &[&[&str]] = &[
    &["MULTI"],
    &["EXEC"],
    &["DISCARD"],
    &["WATCH", "k"],
    &["HELLO", "3"],
    &["HELLO", "2"],
    &["SUBSCRIBE", "chan"],
    &["PSUBSCRIBE", "*"],
    &["UNSUBSCRIBE"],
    &["PUNSUBSCRIBE"],
    &["PUBLISH", "chan", "message"],
    &["CLIENT", "TRACKING", "ON"],
    &["CLIENT", "TRACKING", "ON", "BCAST"],
    &["CLIENT", "REPLY", "SKIP"],
    &["CLIENT", "REPLY", "OFF"],
    &["CLIENT", "REPLY", "ON"],
    &["BLPOP", "list", "0"],
    &["RPUSH", "list", "a"],
    &["BLMOVE", "list", "list", "LEFT", "RIGHT", "0"],
    &["XREAD", "BLOCK", "0", "STREAMS", "stream", "$"],
    &["XADD", "stream", "*", "f", "v"],
    &["SET", "k", "v"],
    &["GET", "k"],
    &["MONITOR"],
    &["RESET"],
    &["CONFIG", "SET", "notify-keyspace-events", "KEA"],
    &["CLIENT", "PAUSE", "50"],
    &["CLIENT", "UNBLOCK", "1"],
    &["CLIENT", "KILL", "ID", "1"],
    &["BZPOPMIN", "z", "0"],
    &["ZADD", "z", "1", "m"],
    &["SELECT", "1"],
    &["XGROUP", "CREATE", "stream", "g", "0", "MKSTREAM"],
    &["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "stream", ">"],
];

/// Commands that would end the process, or wait for something that is not there.
const LEFT_OUT: &[&str] = &["shutdown", "debug"];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let shape = input.byte();
    let options = if shape & 1 == 0 { Options::new().manual_background() } else { small(shape >> 3) };
    let directives: &[(&str, &str)] = if shape & 2 == 0 { &[] } else { &[("requirepass", "secret")] };
    let limits = [&[("script-time-limit", "20"), ("script-memory-limit", "4mb")], directives].concat();
    let mut bench = Bench::new(options, &limits);
    (0..2).for_each(|_| bench.connect());
    let mut said = [Vec::new(), Vec::new()];
    let mut gone = [false; 2];
    for _ in 0..400 {
        if input.is_empty() {
            break;
        }
        let action = input.byte();
        let number = usize::from(action & 1);
        match action >> 1 & 7 {
            0 => give(&mut bench, number, input.slice(200)),
            1..=3 => {
                let request = drawn(&mut input);
                give(&mut bench, number, &request);
            }
            4..=5 => {
                let request = OFTEN[input.below(OFTEN.len())];
                give(&mut bench, number, &resp::request(request));
            }
            6 => {
                // In two pieces, the other one's in between.
                let (request, other) = (drawn(&mut input), drawn(&mut input));
                let at = usize::from(input.byte()) % (request.len() + 1);
                give(&mut bench, number, &request[..at]);
                give(&mut bench, 1 - number, &other);
                give(&mut bench, number, &request[at..]);
            }
            _ => match action >> 4 & 3 {
                0 => bench.clock.advance_ms(u64::from(input.short())),
                1 => bench.connections[number].end_of_input(),
                2 => {
                    if bench.run_errands(number) {
                        bench.end_wait(number);
                    }
                }
                _ => {
                    bench.db.step().expect("the disk is sound");
                }
            },
        }
        for number in 0..2 {
            bench.run_errands(number);
            let now_ms = bench.db.now_ms();
            if bench.connections[number].look_at_time(now_ms) {
                bench.connections[number].resume(&mut bench.worker);
            }
            let output = bench.take(number);
            said[number].extend_from_slice(&output);
            if bench.connections[number].is_finished(&bench.worker) && !gone[number] {
                gone[number] = true;
                let server = std::sync::Arc::clone(&bench.server);
                bench.connections[number].leave(&server);
            }
        }
    }
    for (number, said) in said.iter().enumerate() {
        resp::parse_all(said);
        if !gone[number] {
            let server = std::sync::Arc::clone(&bench.server);
            bench.connections[number].leave(&server);
        }
    }
    assert_eq!(bench.server.clients.count(), 0);
    bench.connections.clear();
    assert_eq!(
        (bench.server.blocked.count(), bench.server.blocked.count_keys()),
        (0, 0),
        "nobody waits who is gone"
    );
    bench.db.verify().expect("what is counted is there");
});

fn give(bench: &mut Bench, number: usize, bytes: &[u8]) {
    if !bench.connections[number].is_finished(&bench.worker) {
        bench.receive(number, bytes);
    }
}

/// A command of the table, with as many arguments as it takes, or not.
fn drawn(input: &mut Input<'_>) -> Vec<u8> {
    let entries = table().entries();
    let entry = &entries[usize::from(input.short()) % entries.len()];
    if LEFT_OUT.contains(&entry.command.name) {
        return resp::request(&["PING"]);
    }
    let mut args = vec![entry.command.name.as_bytes().to_vec()];
    if !entry.subcommands.is_empty() {
        args.push(entry.subcommands[input.below(entry.subcommands.len())].command.name.as_bytes().to_vec());
    }
    let least = entry.command.arity.unsigned_abs() as usize;
    let count = (least + input.below(5)).saturating_sub(args.len() + usize::from(input.byte() == 0));
    for _ in 0..count {
        args.push(match input.byte() {
            word @ 0..=239 => WORDS[usize::from(word) % WORDS.len()].as_bytes().to_vec(),
            240..=250 => input.name(),
            _ => input.value(),
        });
    }
    resp::request(&args)
}
