//! A wall clock that jumps by an hour, forwards and back, under a running server and between two runs (`libfaketime`; monotonic
//! time is the real one throughout). Under a running server it kills nothing and prolongs nothing. Between two runs, time goes on
//! from the later of the clock and what the log knows, so that nothing dead comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::report::Row;
use crate::support::{Client, Server, ServerOptions, Value, oracles};
use crate::{PATIENCE, ledger, rounds};

const HOUR_MS: i64 = 3_600_000;
/// By how much two readings of a deadline may differ: the time between them on a loaded machine.
const TOLERANCE_MS: i64 = 10_000;
/// Documented is two seconds.
const MARKED_WITHIN: Duration = Duration::from_millis(3500);
const LONG_MS: i64 = 1_800_000;
const SHORT_MS: i64 = 1500;

fn library() -> Option<PathBuf> {
    let candidates = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
    ];
    candidates
        .iter()
        .map(|dir| Path::new(dir).join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.is_file())
}

/// The wall clock, as the server sees it.
struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// Steps it to so many seconds from the true time.
    fn step(&self, seconds: i64) {
        // As a whole: the library reads the file at any moment.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}s\n")).expect("write the offset");
        fs::rename(&new, &self.file).expect("put it in place");
    }
}

fn integer(client: &mut Client, words: &str) -> i64 {
    match client.command(words) {
        Value::Integer(integer) => integer,
        other => panic!("{words}: {other:?}"),
    }
}

/// What the server says the time is, in ms since the epoch.
fn server_time_ms(client: &mut Client) -> i64 {
    let time = client.command("TIME");
    let parts: Vec<i64> = time.items().iter().map(|part| part.text().parse().expect("an integer")).collect();
    parts[0] * 1000 + parts[1] / 1000
}

fn check(row: &mut Row, what: &str, holds: bool, found: &str) {
    row.round(if holds { Ok(()) } else { Err(format!("{what}: {found}")) });
}

#[test]
fn jumps_by_an_hour() {
    const CASE: &str = "the wall clock jumps by 1 h";
    let mut row = Row::begin(CASE);
    let Some(library) = library() else {
        oracles::skip::<()>(CASE, "no libfaketime (apt-get install faketime)");
        return row.skip("no libfaketime");
    };
    let home = tempfile::tempdir().expect("a temporary directory");
    let clock = WallClock { file: home.path().join("offset") };
    clock.step(0);
    let options = ServerOptions::new("always")
        .environment("LD_PRELOAD", &library.to_string_lossy())
        .environment("FAKETIME_TIMESTAMP_FILE", &clock.file.to_string_lossy())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .environment("DONT_FAKE_MONOTONIC", "1");
    let mut server = Server::start(options);
    for _ in 0..rounds() {
        for seconds in [3600, -3600] {
            let mut client = server.client();
            let begun_ms = server_time_ms(&mut client);
            assert_eq!(client.command(&format!("SET long value PX {LONG_MS}")), Value::ok());
            assert_eq!(client.command(&format!("SET short value PX {SHORT_MS}")), Value::ok());
            clock.step(seconds);
            // The log of the process is written by the wall clock: its stamps tell that the step has come about.
            assert_eq!(client.command("SAVE"), Value::ok());
            let left_ms = integer(&mut client, "PTTL long");
            let what = format!("a step of {seconds} s");
            check(
                &mut row,
                &what,
                (LONG_MS - TOLERANCE_MS..=LONG_MS).contains(&left_ms),
                &format!("{left_ms} ms are left of {LONG_MS}"),
            );
            let moved_ms = server_time_ms(&mut client) - begun_ms;
            check(
                &mut row,
                &what,
                (0..TOLERANCE_MS).contains(&moved_ms),
                &format!("time moved by {moved_ms} ms"),
            );
            let died = ledger::wait_until(PATIENCE, || client.command("GET short") == Value::Null);
            let dead_after_ms = server_time_ms(&mut client) - begun_ms;
            check(
                &mut row,
                &what,
                died && dead_after_ms >= SHORT_MS,
                &format!("short: {died} after {dead_after_ms} ms"),
            );
            // New deadlines are by the same clock.
            assert_eq!(client.command(&format!("SET new value PX {LONG_MS}")), Value::ok());
            let deadline_ms = integer(&mut client, "PEXPIRETIME new");
            check(
                &mut row,
                &what,
                (deadline_ms - begun_ms - LONG_MS).abs() < TOLERANCE_MS,
                &format!("a deadline at {deadline_ms}, begun at {begun_ms}"),
            );
            // A clock that was wrong for a while leaves nothing behind.
            clock.step(0);
            server.kill();
            server.restart();
            let mut client = server.client();
            let left_ms = integer(&mut client, "PTTL long");
            check(
                &mut row,
                &format!("{what}, and back, and a restart"),
                (LONG_MS - 6 * TOLERANCE_MS..=LONG_MS).contains(&left_ms),
                &format!("{left_ms} ms are left of {LONG_MS}"),
            );
            check(&mut row, &what, client.command("GET short") == Value::Null, "a dead key rose");
        }
    }
    // Started an hour behind: time goes on from the log's.
    let mut client = server.client();
    assert_eq!(client.command(&format!("SET long value PX {LONG_MS}")), Value::ok());
    assert_eq!(client.command("SET short value PX 50"), Value::ok());
    // As long as it takes until the log knows the time of that death.
    std::thread::sleep(MARKED_WITHIN);
    assert_eq!(client.command("GET short"), Value::Null);
    let before_ms = server_time_ms(&mut client);
    server.kill();
    clock.step(-3600);
    server.restart();
    let mut client = server.client();
    let moved_ms = server_time_ms(&mut client) - before_ms;
    check(
        &mut row,
        "started an hour behind",
        (-TOLERANCE_MS..6 * TOLERANCE_MS).contains(&moved_ms),
        &format!("time moved by {moved_ms} ms"),
    );
    check(&mut row, "started an hour behind", client.command("GET short") == Value::Null, "a dead key rose");
    let left_ms = integer(&mut client, "PTTL long");
    check(
        &mut row,
        "started an hour behind",
        (0..=LONG_MS + TOLERANCE_MS).contains(&left_ms),
        &format!("{left_ms} ms are left of {LONG_MS}"),
    );
    check(
        &mut row,
        "started an hour behind",
        server.output().contains("the wall clock is behind"),
        "the log says nothing",
    );
    // Started an hour ahead: half an hour has passed for all that anybody knows.
    server.kill();
    clock.step(3600);
    server.restart();
    let mut client = server.client();
    let moved_ms = server_time_ms(&mut client) - before_ms;
    check(
        &mut row,
        "started an hour ahead",
        (moved_ms - HOUR_MS).abs() < 6 * TOLERANCE_MS,
        &format!("time moved by {moved_ms} ms"),
    );
    check(
        &mut row,
        "started an hour ahead",
        client.command("GET long") == Value::Null,
        "it should have died",
    );
    // And the true time again: nothing comes back.
    server.kill();
    clock.step(0);
    server.restart();
    let mut client = server.client();
    check(&mut row, "an hour ahead, and back", client.command("GET long") == Value::Null, "a dead key rose");
    check_steps_were_seen(&mut row, &server.output());
    row.finish();
}

/// The stamps of the log's lines, which are the wall clock's, must have jumped by an hour, both ways: else this test tests nothing.
fn check_steps_were_seen(row: &mut Row, output: &str) {
    let minutes: Vec<i64> = output
        .lines()
        .filter_map(|line| {
            let time = line.split_once('T')?.1;
            let hours: i64 = time.get(0..2)?.parse().ok()?;
            Some(hours * 60 + time.get(3..5)?.parse::<i64>().ok()?)
        })
        .collect();
    let steps: Vec<i64> =
        minutes.windows(2).map(|pair| (pair[1] - pair[0] + 720).rem_euclid(1440) - 720).collect();
    let seen = steps.iter().any(|step| *step >= 59) && steps.iter().any(|step| *step <= -59);
    check(row, "the steps", seen, "the server's wall clock did not jump");
}
