//! What storage costs and holds up: memory, disk, restart, and the latency of those who are served while the background works. One table each,
//! with the aim beside and `redis-server` where it has the thing.
//!
//! ```sh
//! cargo run --release -p sessile-benches --bin storage -- [memory|tiered|disk|writes|restart|checkpoint|wave|cold|growth|all]…
//!     [--quick | --full] [--sessions N] [--rounds N] [--no-redis] [--with DIRECTIVE=VALUE] [--directory DIR]
//! ```
//!
//! `SESSILE_BIN` names the server's binary (else it is built and taken from beside this one), `REDIS_BIN` Redis's. A wrong value, a missing
//! session or an error ends a benchmark with an error, and the run with exit code 1; a missed aim does not.
#![expect(clippy::disallowed_methods, reason = "real servers, real disks, real time")]

mod files;

mod checkpoint;
mod cold;
mod disk;
mod growth;
mod memory;
mod restart;
mod tiered;
mod wave;
mod writes;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sessile_benches::client::Client;
use sessile_benches::report::Report;
use sessile_benches::server::{self, Program, Server};

type Failure = Box<dyn Error + Send + Sync>;

/// How much is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// A tenth of the usual: to see that it works.
    Quick,
    /// All of it in some ten minutes.
    Usual,
    /// As the aims are stated.
    Full,
}

/// What all benchmarks are given.
struct Setting {
    sessile: Program,
    /// `None` if it is not to be measured.
    redis: Option<Program>,
    directory: PathBuf,
    scale: Scale,
    sessions: Option<u64>,
    rounds: usize,
}

impl Setting {
    /// How many sessions: as asked for, or by scale.
    fn sessions(&self, usual: u64, full: u64) -> u64 {
        self.sessions.unwrap_or(match self.scale {
            Scale::Quick => usual / 10,
            Scale::Usual => usual,
            Scale::Full => full,
        })
    }

    /// A server with no data, and a client.
    fn start(&self, program: &Program) -> Result<(Server, Client), Failure> {
        let server = Server::start(program, &self.directory, "everysec")?;
        let client = Client::connect(server.port())?;
        Ok((server, client))
    }
}

/// What a benchmark is called, what it measures, and how.
struct Benchmark {
    name: &'static str,
    says: &'static str,
    run: fn(&Setting) -> Result<Report, Failure>,
}

const BENCHMARKS: [Benchmark; 9] = [
    Benchmark { name: "memory", says: "RSS per session, all resident, raw and compressed", run: memory::run },
    Benchmark { name: "tiered", says: "RSS per session, more sessions than memory", run: tiered::run },
    Benchmark { name: "disk", says: "bytes on disk per user byte after compaction", run: disk::run },
    Benchmark {
        name: "writes",
        says: "device bytes written per user byte, an hour in fast time",
        run: writes::run,
    },
    Benchmark { name: "restart", says: "first right answer after a clean end and a kill", run: restart::run },
    Benchmark { name: "checkpoint", says: "p99.9 during checkpoint and compaction", run: checkpoint::run },
    Benchmark { name: "wave", says: "sessions that die within one second", run: wave::run },
    Benchmark { name: "cold", says: "reads of what is not resident", run: cold::run },
    Benchmark { name: "growth", says: "longest operation while the index grows", run: growth::run },
];

fn arguments() -> Result<(Setting, Vec<&'static Benchmark>), Failure> {
    use lexopt::prelude::*;
    let mut wanted: Vec<&'static Benchmark> = Vec::new();
    let (mut scale, mut sessions, mut rounds, mut redis) = (Scale::Usual, None, 3, true);
    let mut directory = std::env::temp_dir();
    let mut directives = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => scale = Scale::Quick,
            Long("full") => scale = Scale::Full,
            Long("sessions") => sessions = Some(parser.value()?.parse()?),
            Long("rounds") => rounds = parser.value()?.parse::<usize>()?.max(1),
            Long("no-redis") => redis = false,
            Long("directory") => directory = parser.value()?.into(),
            Long("with") => {
                let text = parser.value()?.string()?;
                let (name, value) = text.split_once('=').ok_or("--with takes DIRECTIVE=VALUE")?;
                directives.push((name.to_owned(), value.to_owned()));
            }
            Value(name) if name == "all" => wanted.extend(&BENCHMARKS),
            Value(name) => {
                let named = BENCHMARKS.iter().find(|benchmark| name == benchmark.name);
                wanted.push(named.ok_or_else(|| usage(&format!("no benchmark {}", name.display())))?);
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    if wanted.is_empty() {
        return Err(usage("which benchmark?").into());
    }
    let needs_server = wanted.iter().any(|benchmark| !matches!(benchmark.name, "writes" | "growth"));
    let binary = if needs_server { server::sessile_binary()? } else { PathBuf::new() };
    let setting = Setting {
        sessile: Program::Sessile(binary, directives),
        redis: redis.then(|| Program::Redis(server::redis_binary(), Vec::new())),
        directory,
        scale,
        sessions,
        rounds,
    };
    Ok((setting, wanted))
}

fn usage(problem: &str) -> String {
    let list: String =
        BENCHMARKS.iter().map(|benchmark| format!("\n  {:10} {}", benchmark.name, benchmark.says)).collect();
    format!("{problem}; there are{list}\n  all        every one of them")
}

fn main() -> ExitCode {
    let (setting, wanted) = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut failed, mut met, mut aims) = (Vec::new(), 0, 0);
    for benchmark in &wanted {
        eprintln!("{}: {} …", benchmark.name, benchmark.says);
        let begun = Instant::now();
        match (benchmark.run)(&setting) {
            Ok(report) => {
                let of = report.met();
                (met, aims) = (met + of.0, aims + of.1);
                println!("{}: {}", benchmark.name, report.text());
            }
            Err(error) => {
                println!("{}: FAILED: {error}\n", benchmark.name);
                failed.push(benchmark.name);
            }
        }
        eprintln!("{}: {:.0} s", benchmark.name, begun.elapsed().as_secs_f64());
    }
    println!("{met} of {aims} aims met");
    if setting.scale == Scale::Quick {
        println!("(--quick: with so few sessions, what a process and a log cost anyway weighs most)");
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Waits until `done`, which is asked every 50 ms, or for `patience`; whether it came true.
fn wait_until(patience: Duration, mut done: impl FnMut() -> Result<bool, Failure>) -> Result<bool, Failure> {
    let begun = Instant::now();
    loop {
        if done()? {
            return Ok(true);
        }
        if begun.elapsed() >= patience {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the background has nothing to do: no checkpoint runs and nothing was written or compacted for three seconds.
fn wait_for_quiet(client: &mut Client, patience: Duration) -> Result<(), Failure> {
    let mut last = (Vec::new(), Instant::now());
    let quiet = wait_until(patience, || {
        let storage = client.info("storage")?;
        let figure = |name: &str| storage.get(name).copied().unwrap_or(0);
        let now: Vec<u64> = ["bytes_written", "compacted_bytes", "checkpoints", "segments_dropped"]
            .map(figure)
            .into_iter()
            .collect();
        if now != last.0 || figure("checkpoint_in_progress") != 0 {
            last = (now, Instant::now());
        }
        Ok(last.1.elapsed() >= Duration::from_secs(3))
    })?;
    if quiet {
        Ok(())
    } else {
        Err(format!("the background does not come to rest within {patience:?}").into())
    }
}
