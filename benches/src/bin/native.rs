//! Native sessions and chats beside what an application does on `redis-server` for the same result: CPU of the server and round trips for each
//! turn of the application, in turns (A B A B …), medians over rounds, with the aims beside the ratios.
//!
//! ```sh
//! cargo run --release -p sessile-benches --bin native -- [--quick] [--only NAME] [--rounds N] [--seconds S] [--threads N]
//! ```
//!
//! `SESSILE_BIN` names the server's binary (else it is built and taken from beside this one), `REDIS_BIN` Redis's. Each thread has one
//! connection and waits for every reply, as an application does; commands that it sends together (`MULTI … EXEC`) are one round trip.
#![expect(clippy::disallowed_methods, reason = "measures real time")]

use sessile_benches::client::{Client, Reply};
use sessile_benches::server::{self, Program, Server};
use sessile_benches::statistics::median;
use sessile_benches::table::{Table, figure};
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// At most this much of Redis's CPU and of its round trips.
const CPU_AIM: f64 = 0.6;
const TRIPS_AIM: f64 = 0.5;
/// Bytes of a session's payload, in one field or spread over [`FIELDS`].
const PAYLOAD_BYTES: usize = 300;
const FIELDS: usize = 5;
/// Sessions of a user who is logged out everywhere.
const SESSIONS_REVOKED: u64 = 10;
/// Sessions that a user may have when logging in.
const SESSIONS_MAX: u64 = 5;
const USERS: u64 = 20_000;
const CHATS: u64 = 2_000;
const TURNS: u64 = 60;
const MESSAGE_BYTES: usize = 200;
/// What 50 messages of that size come to, by the estimate that is used where nobody says.
const WINDOW_TOKENS: u64 = 50 * (MESSAGE_BYTES as u64).div_ceil(4);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Fields,
    Login,
    Revoke,
    Chat,
    ChatExpire,
}

struct Case {
    name: &'static str,
    says: &'static str,
    kind: Kind,
}

const CASES: [Case; 6] = [
    Case { name: "request", says: "SESSION.GET / GET, EXPIRE", kind: Kind::Request },
    Case { name: "fields", says: "SESSION.GET of 5 fields / HGETALL, EXPIRE", kind: Kind::Fields },
    Case {
        name: "login",
        says: "SESSION.CREATE, 5 a user at most / ZRANGE, MULTI SET ZADD EXPIRE [ZREM DEL] EXEC",
        kind: Kind::Login,
    },
    Case {
        name: "revoke",
        says: "SESSION.REVOKE USER of 10 LAZY / SMEMBERS, MULTI DEL (10) DEL EXEC",
        kind: Kind::Revoke,
    },
    Case {
        name: "chat",
        says: "CHAT.APPEND, CHAT.WINDOW / RPUSH, LTRIM, LRANGE 50, EXPIRE",
        kind: Kind::Chat,
    },
    Case { name: "chat-ttl", says: "the same, and EXPIRE for each turn here too", kind: Kind::ChatExpire },
];

/// Whose turn is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Redis,
    Sessile,
}

/// Numbers that are the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// Text that is not all the same, as a session's is not.
fn text(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..bytes).map(|_| b"abcdefghijklmnopqrstuvwxyz0123456789\":,{} "[random.below(42) as usize]).collect()
}

fn wrong(reply: &Reply) -> io::Error {
    io::Error::other(format!("an unexpected reply: {reply:?}"))
}

/// The token in the reply of `SESSION.CREATE`.
fn token(reply: Reply) -> io::Result<Vec<u8>> {
    match reply {
        Reply::Array(items) => match items.into_iter().nth(1) {
            Some(Reply::Bulk(token)) => Ok(token),
            other => Err(io::Error::other(format!("no token: {other:?}"))),
        },
        other => Err(wrong(&other)),
    }
}

/// What exists before anything is measured.
struct Stock {
    /// Tokens, or the keys of Redis's sessions.
    names: Vec<Vec<u8>>,
}

fn fields(seed: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..FIELDS as u64)
        .map(|n| (format!("field{n}").into_bytes(), text(seed + n, PAYLOAD_BYTES / FIELDS)))
        .collect()
}

/// Makes sessions in both servers alike; `users`: each has an index.
fn make(client: &mut Client, side: Side, kind: Kind, from: u64, count: u64) -> io::Result<Vec<Vec<u8>>> {
    const BATCH: u64 = 200;
    let mut names = Vec::with_capacity(count as usize);
    for begin in (from..from + count).step_by(BATCH as usize) {
        let batch = begin..(begin + BATCH).min(from + count);
        for number in batch {
            let (key, payload) = (format!("sess:{number:043}").into_bytes(), text(number, PAYLOAD_BYTES));
            let user = format!("user:{}", number / SESSIONS_REVOKED).into_bytes();
            let all = fields(number);
            match (side, kind) {
                (Side::Sessile, _) => {
                    let mut words: Vec<&[u8]> = vec![b"SESSION.CREATE", b"web"];
                    if kind == Kind::Revoke {
                        words.extend([&b"USER"[..], &user]);
                    }
                    if kind == Kind::Fields {
                        words.extend([&b"FIELDS"[..], b"5"]);
                        all.iter().for_each(|(name, value)| words.extend([&name[..], value]));
                    } else {
                        words.extend([&b"FIELDS"[..], b"1", b"data", &payload]);
                    }
                    client.push(&words);
                }
                (Side::Redis, Kind::Fields) => {
                    let mut words: Vec<&[u8]> = vec![b"HSET", &key];
                    all.iter().for_each(|(name, value)| words.extend([&name[..], value]));
                    client.push(&words);
                    client.push(&[b"EXPIRE", &key, b"1800"]);
                    names.push(key);
                }
                (Side::Redis, _) => {
                    client.push(&[b"SET", &key, &payload, b"EX", b"1800"]);
                    if kind == Kind::Revoke {
                        client.push(&[b"SADD", &user, &key]);
                    }
                    names.push(key);
                }
            }
        }
        client.exchange(|_, reply| {
            if side == Side::Sessile {
                names.push(token(reply)?);
            } else if let Reply::Error(_) = reply {
                return Err(wrong(&reply));
            }
            Ok(())
        })?;
    }
    Ok(names)
}

fn fill(server: &Server, side: Side, kind: Kind, sessions: u64) -> io::Result<Stock> {
    let mut client = Client::connect(server.port())?;
    if side == Side::Sessile {
        let limit = if kind == Kind::Login { SESSIONS_MAX } else { 0 };
        client.command(&format!("SESSION.POLICY SET web IDLE 1800 MAX 86400 PERUSER {limit}"))?;
    }
    let names = match kind {
        Kind::Request | Kind::Fields | Kind::Revoke => make(&mut client, side, kind, 0, sessions)?,
        Kind::Login => Vec::new(),
        Kind::Chat | Kind::ChatExpire => {
            let message = text(1, MESSAGE_BYTES);
            for chat in 0..CHATS {
                let key = format!("chat:{chat}").into_bytes();
                for _ in 0..TURNS {
                    match side {
                        Side::Sessile => client.push(&[b"CHAT.APPEND", &key, b"user", &message]),
                        Side::Redis => client.push(&[b"RPUSH", &key, &message]),
                    }
                }
                client.push(&[b"EXPIRE", &key, b"3600"]);
                client.exchange(|_, _| Ok(()))?;
            }
            Vec::new()
        }
    };
    // What is left to do of the filling is no part of a turn.
    client.save()?;
    Ok(Stock { names })
}

/// One connection that takes turns.
struct Player<'a> {
    client: Client,
    side: Side,
    kind: Kind,
    stock: &'a Stock,
    random: Random,
    trips: u64,
    payload: Vec<u8>,
}

impl Player<'_> {
    fn call(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        self.trips += 1;
        match self.client.call(words)? {
            Reply::Error(error) => Err(io::Error::other(error)),
            reply => Ok(reply),
        }
    }

    fn together(&mut self) -> io::Result<()> {
        self.trips += 1;
        self.client.exchange(|_, reply| match reply {
            Reply::Error(error) => Err(io::Error::other(error)),
            _ => Ok(()),
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        match self.kind {
            Kind::Request | Kind::Fields => self.request(),
            Kind::Login => self.login(),
            Kind::Chat | Kind::ChatExpire => self.chat(),
            Kind::Revoke => Ok(()),
        }
    }

    fn request(&mut self) -> io::Result<()> {
        let name = &self.stock.names[self.random.below(self.stock.names.len() as u64) as usize];
        let found = match (self.side, self.kind) {
            (Side::Sessile, _) => self.call(&[b"SESSION.GET", name])?,
            (Side::Redis, Kind::Fields) => self.call(&[b"HGETALL", name])?,
            (Side::Redis, _) => self.call(&[b"GET", name])?,
        };
        if found == Reply::Nil {
            return Err(io::Error::other("a session is gone"));
        }
        if self.side == Side::Redis {
            self.call(&[b"EXPIRE", name, b"1800"])?;
        }
        Ok(())
    }

    fn login(&mut self) -> io::Result<()> {
        let user = format!("user:{}", self.random.below(USERS)).into_bytes();
        let payload = std::mem::take(&mut self.payload);
        if self.side == Side::Sessile {
            let reply =
                self.call(&[b"SESSION.CREATE", b"web", b"USER", &user, b"FIELDS", b"1", b"data", &payload])?;
            token(reply)?;
        } else {
            let Reply::Array(own) = self.call(&[b"ZRANGE", &user, b"0", b"-1"])? else {
                return Err(io::Error::other("no array"));
            };
            let key = format!("sess:{:022}{:021}", self.random.next(), self.random.next()).into_bytes();
            let now = self.random.next().to_string().into_bytes();
            self.client.push(&[b"MULTI"]);
            self.client.push(&[b"SET", &key, &payload, b"EX", b"1800"]);
            self.client.push(&[b"ZADD", &user, &now, &key]);
            self.client.push(&[b"EXPIRE", &user, b"86400"]);
            if own.len() as u64 >= SESSIONS_MAX
                && let Some(Reply::Bulk(oldest)) = own.first()
            {
                self.client.push(&[b"ZREM", &user, oldest]);
                self.client.push(&[b"DEL", oldest]);
            }
            self.client.push(&[b"EXEC"]);
            self.together()?;
        }
        self.payload = payload;
        Ok(())
    }

    fn chat(&mut self) -> io::Result<()> {
        let key = format!("chat:{}", self.random.below(CHATS)).into_bytes();
        let message = std::mem::take(&mut self.payload);
        match self.side {
            Side::Sessile => {
                self.call(&[b"CHAT.APPEND", &key, b"user", &message])?;
                let tokens = WINDOW_TOKENS.to_string().into_bytes();
                self.call(&[b"CHAT.WINDOW", &key, b"MAXTOKENS", &tokens])?;
                if self.kind == Kind::ChatExpire {
                    self.call(&[b"EXPIRE", &key, b"3600"])?;
                }
            }
            Side::Redis => {
                self.call(&[b"RPUSH", &key, &message])?;
                self.call(&[b"LTRIM", &key, b"-1000", b"-1"])?;
                self.call(&[b"LRANGE", &key, b"-50", b"-1"])?;
                self.call(&[b"EXPIRE", &key, b"3600"])?;
            }
        }
        self.payload = message;
        Ok(())
    }

    /// Logs a user out everywhere.
    fn revoke(&mut self, user: u64) -> io::Result<()> {
        let user = format!("user:{user}").into_bytes();
        if self.side == Side::Sessile {
            let revoked = self.call(&[b"SESSION.REVOKE", b"USER", &user, b"LAZY"])?;
            return if revoked == Reply::Integer(SESSIONS_REVOKED as i64) {
                Ok(())
            } else {
                Err(wrong(&revoked))
            };
        }
        let Reply::Array(own) = self.call(&[b"SMEMBERS", &user])? else {
            return Err(io::Error::other("no array"));
        };
        let mut words: Vec<&[u8]> = vec![b"DEL"];
        words.extend(
            own.iter().filter_map(|key| if let Reply::Bulk(key) = key { Some(&key[..]) } else { None }),
        );
        self.client.push(&[b"MULTI"]);
        self.client.push(&words);
        self.client.push(&[b"DEL", &user]);
        self.client.push(&[b"EXEC"]);
        self.together()
    }
}

/// What one round came to, for each turn.
struct Measured {
    cpu_us: f64,
    trips: f64,
    turns_per_second: f64,
}

fn measure(
    server: &Server,
    side: Side,
    kind: Kind,
    stock: &Stock,
    arguments: &Arguments,
    round: u64,
) -> Result<Measured, Box<dyn Error>> {
    let stop = AtomicBool::new(false);
    let (turns, trips) = (AtomicU64::new(0), AtomicU64::new(0));
    // A tenth of those who are there: the others' sessions stay.
    let users = (arguments.sessions / SESSIONS_REVOKED / 10 / arguments.rounds as u64).max(1);
    let next_user = AtomicU64::new(round * users);
    let begun = Instant::now();
    let cpu_before = server.cpu_microseconds()?;
    std::thread::scope(|scope| -> io::Result<()> {
        let workers: Vec<_> = (0..arguments.threads as u64)
            .map(|number| {
                let (stop, turns, trips, next_user) = (&stop, &turns, &trips, &next_user);
                scope.spawn(move || -> io::Result<()> {
                    let mut player = Player {
                        client: Client::connect(server.port())?,
                        side,
                        kind,
                        stock,
                        random: Random(round << 32 | number),
                        trips: 0,
                        payload: text(
                            number,
                            if matches!(kind, Kind::Chat | Kind::ChatExpire) {
                                MESSAGE_BYTES
                            } else {
                                PAYLOAD_BYTES
                            },
                        ),
                    };
                    let mut taken = 0;
                    while !stop.load(Ordering::Relaxed) {
                        if kind == Kind::Revoke {
                            let user = next_user.fetch_add(1, Ordering::Relaxed);
                            if user >= (round + 1) * users {
                                break;
                            }
                            player.revoke(user)?;
                        } else {
                            player.turn()?;
                        }
                        taken += 1;
                    }
                    turns.fetch_add(taken, Ordering::Relaxed);
                    trips.fetch_add(player.trips, Ordering::Relaxed);
                    Ok(())
                })
            })
            .collect();
        if kind != Kind::Revoke {
            std::thread::sleep(Duration::from_secs_f64(arguments.seconds));
            stop.store(true, Ordering::Relaxed);
        }
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))
        })
    })?;
    let cpu = server.cpu_microseconds()? - cpu_before;
    let turns = turns.load(Ordering::Relaxed) as f64;
    Ok(Measured {
        cpu_us: cpu as f64 / turns,
        trips: trips.load(Ordering::Relaxed) as f64 / turns,
        turns_per_second: turns / begun.elapsed().as_secs_f64(),
    })
}

struct Arguments {
    rounds: usize,
    seconds: f64,
    threads: usize,
    sessions: u64,
    only: Vec<String>,
    directory: PathBuf,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut arguments = Arguments {
        rounds: 5,
        seconds: 3.0,
        threads: 16,
        sessions: 1_000_000,
        only: Vec::new(),
        directory: std::env::temp_dir(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => (arguments.rounds, arguments.seconds, arguments.sessions) = (3, 1.0, 100_000),
            Long("rounds") => arguments.rounds = parser.value()?.parse()?,
            Long("seconds") => arguments.seconds = parser.value()?.parse()?,
            Long("threads") => arguments.threads = parser.value()?.parse()?,
            Long("sessions") => arguments.sessions = parser.value()?.parse()?,
            Long("only") => arguments.only.push(parser.value()?.parse()?),
            Long("directory") => arguments.directory = parser.value()?.into(),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if let Some(unknown) = arguments.only.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        return Err(format!("no case {unknown:?}").into());
    }
    Ok(arguments)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let programs = [
        (Side::Redis, Program::Redis(server::redis_binary(), Vec::new())),
        (Side::Sessile, Program::Sessile(server::sessile_binary()?, Vec::new())),
    ];
    println!(
        "{} rounds of {} s each in turns, {} connections, {} sessions, {} cores shared with the clients\n",
        arguments.rounds,
        arguments.seconds,
        arguments.threads,
        arguments.sessions,
        std::thread::available_parallelism()?
    );
    let mut table = Table::new(&["case", "server", "CPU µs a turn", "round trips", "turns/s"]);
    for case in CASES
        .iter()
        .filter(|case| arguments.only.is_empty() || arguments.only.iter().any(|name| name == case.name))
    {
        eprintln!("{} …", case.name);
        let mut servers = Vec::new();
        for (side, program) in &programs {
            let server = Server::start(program, &arguments.directory, "everysec")?;
            let stock = fill(&server, *side, case.kind, arguments.sessions)?;
            servers.push((*side, server, stock));
        }
        let mut measured: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
        for round in 0..arguments.rounds as u64 {
            for ((side, server, stock), measured) in servers.iter().zip(&mut measured) {
                measured.push(measure(server, *side, case.kind, stock, &arguments, round)?);
            }
        }
        let column =
            |of: &dyn Fn(&Measured) -> f64| measured.each_ref().map(|rounds| median(rounds.iter().map(of)));
        let cpu = column(&|measured| measured.cpu_us);
        let trips = column(&|measured| measured.trips);
        let rate = column(&|measured| measured.turns_per_second);
        for (place, name) in ["redis", "sessile"].into_iter().enumerate() {
            let case = if place == 0 { case.name.to_owned() } else { String::new() };
            table.row(vec![
                case,
                name.to_owned(),
                figure(cpu[place]),
                figure(trips[place]),
                figure(rate[place]),
            ]);
        }
        let against = |ratio: f64, aim: f64| {
            format!("{}× ≤{aim} {}", figure(ratio), if ratio <= aim { "✓" } else { "✗" })
        };
        table.row(vec![
            format!("  {}", case.says),
            "ratio".to_owned(),
            against(cpu[1] / cpu[0], CPU_AIM),
            against(trips[1] / trips[0], TRIPS_AIM),
            format!("{}×", figure(rate[1] / rate[0])),
        ]);
        table.row(Vec::new());
    }
    println!("{}", table.text());
    println!(
        "CPU: the server's, user and system. A turn is what the application wants done: one request, one login, one logout, one exchange."
    );
    Ok(())
}
