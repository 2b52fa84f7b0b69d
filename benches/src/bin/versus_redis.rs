//! This server beside `redis-server`: the same load from the same generator, in turns (A B A B …), medians over
//! rounds, with the aim beside each ratio.
//!
//! ```sh
//! cargo run --release -p sessile-benches --bin versus_redis -- [--quick] [--only NAME] [--rounds N] [--seconds S]
//!     [--threads N] [--with DIRECTIVE=VALUE] [--directory DIR]
//! ```
//!
//! `SESSILE_BIN` names the server's binary (else it is built and taken from beside this one), `REDIS_BIN` Redis's.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use sessile_benches::load::{self, Load, Measurement, Workload};
use sessile_benches::server::{self, Program, Server};
use sessile_benches::statistics::median;
use sessile_benches::table::{Table, figure};

/// Sessions that exist when the web mix starts.
const SESSIONS: u64 = 200_000;

/// Bytes of a session.
const VALUE_BYTES: usize = 300;

/// One row of the comparison.
struct Case {
    name: &'static str,
    says: &'static str,
    workload: Workload,
    connections: usize,
    depth: usize,
    appendfsync: &'static str,
    /// At most this much of Redis's CPU per command.
    cpu_aim: Option<f64>,
    /// At least this many times Redis's throughput.
    throughput_aim: Option<f64>,
}

const fn always(
    name: &'static str,
    says: &'static str,
    connections: usize,
    throughput_aim: Option<f64>,
) -> Case {
    let workload = Workload::Set { keys: SESSIONS, value_bytes: VALUE_BYTES };
    Case { name, says, workload, connections, depth: 1, appendfsync: "always", cpu_aim: None, throughput_aim }
}

/// Sessions that are kept in hashes, and bytes of each field.
const HASHES: u64 = 50_000;
const FIELD_BYTES: usize = 120;

/// Conversations that exist when the chat mix starts, and bytes of a message.
const CHATS: u64 = 4_000;
const MESSAGE_BYTES: usize = 200;

const HASH: Workload = Workload::Hash { sessions: HASHES, value_bytes: FIELD_BYTES };
const CHAT: Workload = Workload::Chat { chats: CHATS, message_bytes: MESSAGE_BYTES };

const fn mix(name: &'static str, says: &'static str, workload: Workload, depth: usize, cpu_aim: f64) -> Case {
    Case {
        name,
        says,
        workload,
        connections: 64,
        depth,
        appendfsync: "everysec",
        cpu_aim: Some(cpu_aim),
        throughput_aim: None,
    }
}

const CASES: [Case; 11] = [
    Case {
        name: "web",
        says: "GET+EXPIRE, 64 connections",
        workload: Workload::Web { sessions: SESSIONS },
        connections: 64,
        depth: 1,
        appendfsync: "everysec",
        cpu_aim: Some(0.85),
        throughput_aim: Some(2.0),
    },
    Case {
        name: "web16",
        says: "GET+EXPIRE 16 deep, 64 connections",
        workload: Workload::Web { sessions: SESSIONS },
        connections: 64,
        depth: 16,
        appendfsync: "everysec",
        cpu_aim: Some(0.4),
        throughput_aim: Some(2.0),
    },
    Case {
        name: "create",
        says: "SET EX of new keys, 64 connections",
        workload: Workload::Create { value_bytes: VALUE_BYTES },
        connections: 64,
        depth: 1,
        appendfsync: "everysec",
        cpu_aim: Some(0.6),
        throughput_aim: Some(2.0),
    },
    mix("hash", "HSET 2+HGETALL+EXPIRE, 64 connections", HASH, 1, 0.85),
    mix("hash16", "HSET 2+HGETALL+EXPIRE 16 deep, 64 connections", HASH, 16, 0.5),
    mix("chat", "RPUSH+LTRIM+LRANGE 50+EXPIRE, 64 connections", CHAT, 1, 0.85),
    mix("chat16", "RPUSH+LTRIM+LRANGE 50+EXPIRE 16 deep, 64 connections", CHAT, 16, 0.5),
    always("always1", "durable SET, 1 connection", 1, Some(1.6)),
    always("always16", "durable SET, 16 connections", 16, None),
    always("always64", "durable SET, 64 connections", 64, Some(2.0)),
    always("always256", "durable SET, 256 connections", 256, Some(2.0)),
];

struct Arguments {
    rounds: usize,
    seconds: f64,
    threads: usize,
    only: Vec<String>,
    directives: Vec<(String, String)>,
    directory: PathBuf,
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    use lexopt::prelude::*;
    let mut arguments = Arguments {
        rounds: 5,
        seconds: 2.5,
        threads: 2,
        only: Vec::new(),
        directives: Vec::new(),
        directory: std::env::temp_dir(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => (arguments.rounds, arguments.seconds) = (3, 0.7),
            Long("rounds") => arguments.rounds = parser.value()?.parse()?,
            Long("seconds") => arguments.seconds = parser.value()?.parse()?,
            Long("threads") => arguments.threads = parser.value()?.parse()?,
            Long("directory") => arguments.directory = parser.value()?.into(),
            Long("only") => arguments.only.push(parser.value()?.string()?),
            Long("with") => {
                let text = parser.value()?.string()?;
                let (name, value) = text.split_once('=').ok_or("--with takes DIRECTIVE=VALUE")?;
                arguments.directives.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err(argument.unexpected()),
        }
    }
    if let Some(unknown) = arguments.only.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        return Err(format!("no case {unknown:?}; there are {}", names.join(", ")).into());
    }
    Ok(arguments)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let redis = Program::Redis(server::redis_binary(), Vec::new());
    let binary = server::sessile_binary()?;
    let is_redis = binary.file_name().is_some_and(|name| name.to_string_lossy().starts_with("redis-server"));
    // Redis against itself shows how much of a ratio is noise.
    let sessile = if is_redis {
        Program::Redis(binary, Vec::new())
    } else {
        Program::Sessile(binary, arguments.directives.clone())
    };

    let cores = std::thread::available_parallelism()?;
    println!(
        "{} rounds of {} s each in turns, {cores} cores shared with the generator's {} threads, data in {}\n",
        arguments.rounds,
        arguments.seconds,
        arguments.threads,
        arguments.directory.display()
    );
    let heads = ["case", "server", "commands/s", "CPU µs", "p50 µs", "p99 µs", "device B"];
    let mut table = Table::new(&heads);
    for case in CASES
        .iter()
        .filter(|case| arguments.only.is_empty() || arguments.only.iter().any(|name| name == case.name))
    {
        eprintln!("{} …", case.name);
        let programs = [&redis, &sessile];
        let mut servers = Vec::new();
        for program in programs {
            let server = Server::start(program, &arguments.directory, case.appendfsync)?;
            match case.workload {
                Workload::Web { .. } => load::fill(&server, SESSIONS, VALUE_BYTES)?,
                Workload::Chat { chats, message_bytes } => load::fill_chats(&server, chats, message_bytes)?,
                Workload::Hash { .. } | Workload::Create { .. } | Workload::Set { .. } => {}
            }
            servers.push(server);
        }
        let mut measured: [Vec<Measurement>; 2] = [Vec::new(), Vec::new()];
        for round in 0..arguments.rounds {
            for (server, measured) in servers.iter().zip(&mut measured) {
                let load = Load {
                    workload: case.workload,
                    connections: case.connections,
                    depth: case.depth,
                    threads: arguments.threads,
                    warm_up: Duration::from_millis(300),
                    duration: Duration::from_secs_f64(arguments.seconds),
                    run: round as u64,
                };
                measured.push(load::run(&load, server)?);
            }
        }
        add_rows(&mut table, case, &measured);
    }
    println!("{}", table.text());
    println!(
        "CPU: the server's, user and system, per command. p50, p99: from sending a command (16 deep: a batch) to"
    );
    println!("its (last) reply. device B: bytes the whole disk wrote per command, whoever wrote them.");
    Ok(())
}

fn add_rows(table: &mut Table, case: &Case, measured: &[Vec<Measurement>; 2]) {
    let column =
        |of: &dyn Fn(&Measurement) -> f64| measured.each_ref().map(|rounds| median(rounds.iter().map(of)));
    let throughput = column(&|measurement| measurement.throughput);
    let cpu = column(&|measurement| measurement.cpu_microseconds);
    let p50 = column(&|measurement| measurement.p50_microseconds);
    let p99 = column(&|measurement| measurement.p99_microseconds);
    let device = column(&|measurement| measurement.device_bytes.unwrap_or(f64::NAN));
    for (server, name) in ["redis", "sessile"].into_iter().enumerate() {
        let mut row = vec![if server == 0 { case.name.to_owned() } else { String::new() }, name.to_owned()];
        row.extend([throughput, cpu, p50, p99, device].map(|figures| figure(figures[server])));
        table.row(row);
    }
    let aim = |ratio: [f64; 2], aim: Option<f64>, at_most: bool| {
        let ratio = ratio[1] / ratio[0];
        match aim {
            None => format!("{}×", figure(ratio)),
            Some(aim) => {
                let met = if at_most { ratio <= aim } else { ratio >= aim };
                let (relation, mark) = (if at_most { "≤" } else { "≥" }, if met { "✓" } else { "✗" });
                format!("{}× {relation}{aim} {mark}", figure(ratio))
            }
        }
    };
    table.row(vec![
        format!("  {}", case.says),
        "ratio".to_owned(),
        aim(throughput, case.throughput_aim, false),
        aim(cpu, case.cpu_aim, true),
        aim(p50, None, true),
        aim(p99, None, true),
        aim(device, None, true),
    ]);
    table.row(Vec::new());
}
