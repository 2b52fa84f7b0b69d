//! The same stream of commands over several connections to a real redis-server and to Sessile: each connection gets the same.
//!
//! After every command each connection is asked for an echo; what comes before it, on any connection, is what the command has caused.
//! What Redis does in an order of its own (which of several channels is left first) is compared without its order.

use crate::support::draw::Draw;
use crate::support::resp::Reply;
use crate::support::{Client, Server, ServerOptions, Value, encode, oracles};

const CONNECTIONS: usize = 4;
const ROUND_COMMANDS: usize = 150;
const ROUNDS_DEFAULT: u64 = 12;

/// Connections to one server.
struct Side {
    server: Server,
    clients: Vec<Client>,
}

impl Side {
    fn new(options: ServerOptions) -> Side {
        Side { server: Server::start(options), clients: Vec::new() }
    }

    fn reset(&mut self, protocols: &[u8]) {
        self.clients.clear();
        let mut first = self.server.client();
        first.command("FLUSHALL");
        let silent = first.call(&["CONFIG", "SET", "notify-keyspace-events", ""]).expect("a reply");
        assert_eq!(silent, Value::ok());
        for protocol in protocols {
            let mut client = self.server.client();
            client.command(&format!("HELLO {protocol}"));
            self.clients.push(client);
        }
    }

    /// Sends a command on one connection; what each gets until it answers a PING.
    fn run(&mut self, at: usize, args: &[Vec<u8>], token: &str) -> Vec<Vec<Value>> {
        let mut bytes = Vec::new();
        encode(&mut bytes, args);
        self.clients[at].send(&bytes).expect("the server reads");
        let mut seen = vec![Vec::new(); self.clients.len()];
        // First the one that sent it: then what it has caused is with the others.
        let order = std::iter::once(at).chain((0..self.clients.len()).filter(|&other| other != at));
        for index in order {
            let client = &mut self.clients[index];
            let mut ping = Vec::new();
            encode(&mut ping, &["PING", token]);
            client.send(&ping).expect("the server reads");
            loop {
                let value = client.receive().unwrap_or_else(|error| panic!("{error} after {args:?}"));
                let pong = message_pong(token);
                if value == Value::bulk(token) || value == pong {
                    break;
                }
                seen[index].push(value);
            }
        }
        seen
    }
}

fn message_pong(token: &str) -> Value {
    Value::Array(vec![Value::bulk("pong"), Value::bulk(token)])
}

fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A command, and whether Redis does it in any order.
fn draw_command(draw: &mut Draw) -> (Vec<Vec<u8>>, bool) {
    const CHANNELS: [&str; 6] = ["a", "b", "ab", "", "news.1", "__keyevent@0__:del"];
    const PATTERNS: [&str; 6] = ["*", "a*", "?", "news.*", "__key*__:*", "[ab]"];
    let mut args = Vec::new();
    let several = |draw: &mut Draw, name: &str, names: &[&str], least: usize| {
        let mut args = vec![name.to_owned()];
        for _ in 0..(least + draw.below(3)) {
            args.push((*draw.of(names)).to_owned());
        }
        args
    };
    let words = match draw.below(24) {
        0..=2 => several(draw, "SUBSCRIBE", &CHANNELS, 1),
        3 | 4 => several(draw, "PSUBSCRIBE", &PATTERNS, 1),
        5 => several(draw, "SSUBSCRIBE", &CHANNELS, 1),
        6 => several(draw, "UNSUBSCRIBE", &CHANNELS, 0),
        7 => several(draw, "PUNSUBSCRIBE", &PATTERNS, 0),
        8 => several(draw, "SUNSUBSCRIBE", &CHANNELS, 0),
        9..=13 => vec!["PUBLISH".into(), (*draw.of(&CHANNELS)).to_owned(), draw.number().to_string()],
        14 => vec!["SPUBLISH".into(), (*draw.of(&CHANNELS)).to_owned(), draw.number().to_string()],
        15 => several(draw, "PUBSUB", &["CHANNELS", "SHARDCHANNELS", "NUMPAT", "nosuch", "*"], 1),
        16 => {
            let mut args = several(draw, "PUBSUB", &CHANNELS, 1);
            args.insert(1, (*draw.of(&["NUMSUB", "SHARDNUMSUB"])).to_owned());
            args
        }
        17 => vec!["SET".into(), (*draw.of(&["a", "b"])).to_owned(), "1".into()],
        18 => vec!["DEL".into(), (*draw.of(&["a", "b"])).to_owned()],
        19 => {
            // Not `A` with `n`: of that Redis forgets the `n` when the next value is refused.
            let letters = ["KEA", "K$", "E$g", "KEg", "", "q", "Em", "KE$gn"];
            vec![
                "CONFIG".into(),
                "SET".into(),
                "notify-keyspace-events".into(),
                (*draw.of(&letters)).to_owned(),
            ]
        }
        20 => several(draw, "PING", &["a"], 0),
        21 => vec![(*draw.of(&["RESET", "DBSIZE", "SUBSCRIBE", "PUBLISH"])).to_owned()],
        22 => vec!["HELLO".into(), (*draw.of(&["2", "3", "4"])).to_owned()],
        _ => vec!["RENAME".into(), "a".into(), "b".into()],
    };
    args.extend(words.iter().map(|word| word.clone().into_bytes()));
    let any_order = words[0].contains("UNSUBSCRIBE") && words.len() == 1 || words[0] == "PUBSUB";
    (args, any_order)
}

/// What a connection got, made comparable: who listens to several patterns that match gets the messages in any order, and a list of names
/// comes in any order with any name beside any count.
fn comparable(values: &[Value], any_order: bool) -> Vec<String> {
    let mut shown: Vec<String> = if any_order {
        values.iter().flat_map(tokens).collect()
    } else {
        values.iter().map(|value| format!("{value:?}")).collect()
    };
    if any_order {
        shown.sort();
        return shown;
    }
    // Runs of messages by pattern.
    let is_pattern = |text: &String| text.contains(&format!("{:?}", Value::bulk("pmessage")));
    let mut at = 0;
    while at < shown.len() {
        let end = at + shown[at..].iter().take_while(|text| is_pattern(text)).count();
        shown[at..end].sort();
        at = end.max(at + 1);
    }
    shown
}

fn tokens(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) | Value::Push(items) => items.iter().flat_map(tokens).collect(),
        other => vec![format!("{other:?}")],
    }
}

/// What `HELLO` answers names the server's version and the client's number.
fn is_hello(value: &Value) -> bool {
    match value {
        Value::Map(_) => true,
        Value::Array(items) => items.first() == Some(&Value::bulk("server")),
        _ => false,
    }
}

#[test]
fn every_connection_gets_what_redis_sends() {
    if oracles::program("pubsub", "redis-server").is_none() {
        return;
    }
    let seed = crate::support::random::seed("pubsub");
    let rounds = crate::support::random::count("SESSILE_PUBSUB_ROUNDS", ROUNDS_DEFAULT);
    let mut redis = Side::new(ServerOptions::new("everysec").of("redis-server"));
    let mut sessile = Side::new(ServerOptions::new("everysec").with("io-threads", "4"));
    for round in 0..rounds {
        let mut draw = Draw::new(seed.wrapping_add(round));
        let protocols: Vec<u8> = (0..CONNECTIONS).map(|_| *draw.of(&[2, 3])).collect();
        redis.reset(&protocols);
        sessile.reset(&protocols);
        let mut log = Vec::new();
        for number in 0..ROUND_COMMANDS {
            let at = draw.below(CONNECTIONS);
            let (args, any_order) = draw_command(&mut draw);
            let shown = args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect::<Vec<_>>();
            log.push(format!("{at}: {}", shown.join(" ")));
            let token = format!("token-{number}");
            let (theirs, ours) = (redis.run(at, &args, &token), sessile.run(at, &args, &token));
            for (connection, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
                if theirs.iter().any(is_hello) && ours.iter().any(is_hello) {
                    continue;
                }
                // Redis tells a client that listens to itself also of events in an order of the patterns.
                assert_eq!(
                    comparable(ours, any_order),
                    comparable(theirs, any_order),
                    "left Sessile, right Redis, on connection {connection} of {protocols:?}; seed {seed}, round {round}:\n{}",
                    log.join("\n")
                );
            }
        }
    }
}

#[test]
fn a_raw_reader_agrees_on_a_push() {
    // The bytes themselves once, apart from the client of these tests.
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    client.command("HELLO 3");
    let mut request = Vec::new();
    for args in [bytes(&["SUBSCRIBE", "a"]), bytes(&["PUBLISH", "a", "x"]), bytes(&["QUIT"])] {
        encode(&mut request, &args);
    }
    client.send(&request).expect("send");
    let mut got = Vec::new();
    std::io::Read::read_to_end(client.stream(), &mut got).expect("until the end");
    assert_eq!(
        String::from_utf8_lossy(&got),
        ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n:1\r\n+OK\r\n"
    );
    assert_eq!(Reply::parse(&got).expect("a whole push").0.kind, b'>');
}

#[test]
fn the_rows_say_what_redis_says() {
    if oracles::program("pubsub", "redis-server").is_none() {
        return;
    }
    let redis = Server::start(ServerOptions::new("everysec").of("redis-server"));
    let sessile = Server::start(ServerOptions::new("everysec"));
    let (mut theirs, mut ours) = (redis.client(), sessile.client());
    // Name, arity, flags, places of keys, categories; then tips, which are not compared, and what the places mean.
    let info = |client: &mut Client, name: &str| {
        let reply = client.command(&format!("COMMAND INFO {name}"));
        let row = reply.items()[0].items().to_vec();
        let sorted = |value: &Value| {
            let mut names: Vec<String> = value.items().iter().map(Value::text).collect();
            names.sort();
            names
        };
        (row[..2].to_vec(), sorted(&row[2]), row[3..6].to_vec(), sorted(&row[6]), row[8].clone())
    };
    for name in [
        "subscribe",
        "unsubscribe",
        "psubscribe",
        "punsubscribe",
        "ssubscribe",
        "sunsubscribe",
        "publish",
        "spublish",
        "pubsub",
        "pubsub|channels",
        "pubsub|numsub",
        "pubsub|numpat",
        "pubsub|shardchannels",
        "pubsub|shardnumsub",
        "pubsub|help",
        "monitor",
    ] {
        assert_eq!(info(&mut ours, name), info(&mut theirs, name), "left Sessile, right Redis: {name}");
    }
    for command in
        ["COMMAND GETKEYS ssubscribe a", "COMMAND GETKEYS spublish a b", "PUBSUB HELP", "PUBSUB CHANNELS a b"]
    {
        assert_eq!(ours.command(command), theirs.command(command), "left Sessile, right Redis: {command}");
    }
}
