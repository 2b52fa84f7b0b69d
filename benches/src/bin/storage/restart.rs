//! From the start of the process to the first right answer, after an orderly end and after a kill.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sessile_benches::client::{Client, Reply};
use sessile_benches::population::{self, Changes, Dying, USER_BYTES};
use sessile_benches::report::{Aim, Report};
use sessile_benches::server::{Program, Server};
use sessile_benches::sessions;
use sessile_benches::statistics::median;
use tempfile::TempDir;

use crate::files::forget_pages;
use crate::{Failure, Setting};

/// The log that a kill leaves behind.
const LOG_TAIL_BYTES: u64 = 256 << 20;

/// No checkpoint comes of itself.
const NO_CHECKPOINT: [(&str, &str); 2] =
    [("checkpoint-log-size", "1099511627776"), ("checkpoint-interval", "1000000")];

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let sessions = setting.sessions(1_000_000, 5_000_000);
    let mut report =
        Report::new(format!("seconds to the first right GET, {sessions} sessions of {USER_BYTES} B"));
    let (aof, rdb) = match &setting.redis {
        None => (None, None),
        Some(program) => {
            let rdb = program.with(&[("appendonly", "no")]);
            (Some(redis(setting, program, sessions, "AOF")?), Some(redis(setting, &rdb, sessions, "RDB")?))
        }
    };
    let quick = setting.scale == crate::Scale::Quick;
    let tail_bytes = if quick { LOG_TAIL_BYTES / 10 } else { LOG_TAIL_BYTES };

    let busy = setting.sessile.with(&NO_CHECKPOINT);
    let (server, mut client) = setting.start(&busy)?;
    population::fill(server.port(), 0..sessions, Dying::After(7200))?;
    client.save()?;
    let directory = server.terminate()?;
    let clean = measure(setting, &setting.sessile, &directory, sessions)?;
    let clean_from_disk = from_disk(&setting.sessile, &directory, sessions)?;

    let mut server = Server::launch(&busy, Arc::clone(&directory), "everysec")?;
    server.wait_for_answer(Duration::from_secs(120))?;
    let mut client = Client::connect(server.port())?;
    let mut tail = 0;
    let mut commands = 0;
    while tail < tail_bytes {
        let changes = Changes { commands: 100_000, writes_percent: 10 };
        population::change(server.port(), 0..sessions, changes, commands)?;
        commands += changes.commands;
        tail = client.figure("storage", "log_bytes_since_checkpoint")?;
    }
    let directory = server.kill();
    // Each start must find the tail, so no checkpoint may be made, nor an orderly end.
    let killed = measure(setting, &busy, &directory, sessions)?;
    let killed_from_disk = from_disk(&busy, &directory, sessions)?;

    let of_redis = |start: &Option<Start>| start.as_ref().map(|start| (start.seconds, start.cpu_seconds));
    let mut rows = |what: &str, start: &Start, cold: &Start, redis: Option<(f64, f64)>, aim: f64| {
        report.row(what, "s", start.seconds, redis.map(|redis| redis.0), Aim::AtMost(aim));
        report.row("  CPU time until then", "s", start.cpu_seconds, redis.map(|redis| redis.1), Aim::None);
        report.row("  files not in the page cache", "s", cold.seconds, None, Aim::None);
    };
    rows("after an orderly end", &clean, &clean_from_disk, of_redis(&rdb), 0.5);
    let tail_mib = tail >> 20;
    let what = format!("after kill -9, {tail_mib} MiB of log");
    rows(&what, &killed, &killed_from_disk, of_redis(&aof), 1.5);
    if let (Some(aof), Some(rdb)) = (&aof, &rdb) {
        report.row(
            "faster than Redis, orderly (RDB)",
            "×",
            rdb.seconds / clean.seconds,
            None,
            Aim::AtLeast(20.0),
        );
        report.row(
            "faster than Redis, killed (AOF)",
            "×",
            aof.seconds / killed.seconds,
            None,
            Aim::AtLeast(20.0),
        );
    }
    report.note(format!(
        "From exec to a GET answered with the right value, median of {}. The tail: {commands} commands, one in ten a SET, the others EXPIRE.",
        setting.rounds
    ));
    report.note("After each start the keys were counted and 50000 values compared. Redis: RDB by SAVE; AOF as a rewrite leaves it (in RDB form).");
    Ok(report)
}

/// What a start took.
struct Start {
    /// Until the first right answer.
    seconds: f64,
    /// CPU time of all threads until then: other programs that want the cores change it less.
    cpu_seconds: f64,
}

/// The median over rounds; the data stays as it is.
fn measure(
    setting: &Setting,
    program: &Program,
    directory: &Arc<TempDir>,
    sessions: u64,
) -> Result<Start, Failure> {
    let mut starts = Vec::new();
    for _ in 0..setting.rounds {
        starts.push(start_and_check(program, directory, sessions)?);
    }
    Ok(Start {
        seconds: median(starts.iter().map(|start| start.seconds)),
        cpu_seconds: median(starts.iter().map(|start| start.cpu_seconds)),
    })
}

fn from_disk(program: &Program, directory: &Arc<TempDir>, sessions: u64) -> Result<Start, Failure> {
    forget_pages(directory.path())?;
    start_and_check(program, directory, sessions)
}

/// Starts on a directory, and kills it again, so that the next start finds what this one did.
fn start_and_check(program: &Program, directory: &Arc<TempDir>, sessions: u64) -> Result<Start, Failure> {
    let mut server = Server::launch(program, Arc::clone(directory), "everysec")?;
    let seconds = first_answer(&mut server)?.as_secs_f64();
    let cpu_seconds = server.cpu_microseconds()? as f64 / 1e6;
    let mut client = Client::connect(server.port())?;
    let keys = client.number("DBSIZE")?;
    if keys != sessions {
        return Err(format!("WRONG DATA: {keys} keys instead of {sessions}").into());
    }
    population::read_back(server.port(), 0..sessions, 50_000, 7)?.all_right()?;
    drop(server.kill());
    Ok(Start { seconds, cpu_seconds })
}

/// Time from the start of the process to a right answer.
fn first_answer(server: &mut Server) -> io::Result<Duration> {
    let session = 4711;
    let key = sessions::key(session);
    let asked = |port: u16| Client::connect(port).and_then(|mut client| client.call(&[b"GET", &key]));
    while server.launched().elapsed() < Duration::from_secs(300) {
        match asked(server.port()) {
            Ok(Reply::Bulk(value)) if value == sessions::document(session) => {
                return Ok(server.launched().elapsed());
            }
            // Redis says so while it loads.
            Ok(Reply::Error(error)) if error.starts_with("LOADING") => {}
            Ok(other) => return Err(io::Error::other(format!("WRONG DATA: GET answered {other:?}"))),
            Err(_) => server.check_running()?,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::other("no answer within five minutes"))
}

fn redis(setting: &Setting, program: &Program, sessions: u64, form: &str) -> Result<Start, Failure> {
    let begun = Instant::now();
    let (server, mut client) = setting.start(program)?;
    population::fill(server.port(), 0..sessions, Dying::After(7200))?;
    if form == "RDB" {
        client.save()?;
    } else {
        client.command("BGREWRITEAOF")?;
        crate::wait_until(Duration::from_secs(300), || {
            std::thread::sleep(Duration::from_millis(200));
            Ok(client.figure("persistence", "aof_rewrite_in_progress")? == 0)
        })?;
    }
    let directory = server.kill();
    eprintln!("redis {form}: data made in {:.0} s", begun.elapsed().as_secs_f64());
    measure(setting, program, &directory, sessions)
}
