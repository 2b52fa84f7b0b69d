//! The same disks under `redis-server`, for the comparison in `docs/safety.md`: with `SESSILE_CRASH_REDIS=1` only, and nothing here
//! fails because of what Redis does. Each prints a line: what a reader and a writer waited, what writes were answered.

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::ledger::{self, Pressure, ledgers, under_load};
use crate::strace::{self, Injection};
use crate::support::process::free_port;
use crate::support::{Server, ServerOptions, oracles, random};
use crate::{PATIENCE, rounds};

/// How long each fault lasts.
const FAULT: Duration = Duration::from_millis(6500);

fn redis(case: &str, appendfsync: &str) -> Option<ServerOptions> {
    if std::env::var("SESSILE_CRASH_REDIS").is_ok_and(|value| value == "1") {
        let binary = oracles::program(case, "redis-server")?;
        return strace::impossible(case)
            .is_none()
            .then(|| ServerOptions::new(appendfsync).of(&binary.to_string_lossy()));
    }
    None
}

/// Any refusal is Redis's to make.
const ANY: &[&str] = &[""];

fn under_fault(case: &str, appendfsync: &str, injections: &[&str]) {
    let Some(options) = redis(case, appendfsync) else { return };
    for _ in 0..rounds() {
        let mut server = Server::start(options.clone());
        ledger::prepare(&mut server.client());
        let mut ledgers = ledgers(4, random::seed(case), 300);
        let ((longest, refused), _) = under_load(server.port(), &mut ledgers, ANY, |pressure| {
            Pressure::grows(&pressure.acknowledged, 100, PATIENCE);
            let injection = Injection::into(&server, injections);
            pressure.take_longest();
            std::thread::sleep(FAULT);
            let longest = pressure.take_longest();
            injection.end();
            (longest, pressure.refused.load(Ordering::Relaxed))
        });
        let end = if server.has_ended() { "the process ended" } else { "the process went on" };
        println!(
            "| redis-server: {case}, {appendfsync} | a reader waited {:.1} ms, a writer {:.1} ms | {refused} writes refused | {end} |",
            longest.read.as_secs_f64() * 1e3,
            longest.write.as_secs_f64() * 1e3,
        );
    }
}

#[test]
fn slow_sync() {
    for appendfsync in ["always", "everysec"] {
        let slow = ["fdatasync:delay_enter=3000000", "fsync:delay_enter=3000000"];
        under_fault("a sync of 3 s", appendfsync, &slow);
    }
}

#[test]
fn failed_sync() {
    for appendfsync in ["always", "everysec"] {
        under_fault("EIO from fsync", appendfsync, &["fdatasync:error=EIO", "fsync:error=EIO"]);
    }
}

/// Its sockets are written to by the same call: only its log must fail.
#[test]
fn no_space() {
    const CASE: &str = "ENOSPC from write";
    for appendfsync in ["always", "everysec"] {
        let Some(options) = redis(CASE, appendfsync) else { return };
        let mut server = Server::start(options);
        ledger::prepare(&mut server.client());
        let log = server.directory().join("appendonlydir/appendonly.aof.1.incr.aof");
        let mut ledgers = ledgers(4, random::seed(CASE), 300);
        let (refused, _) = under_load(server.port(), &mut ledgers, ANY, |pressure| {
            Pressure::grows(&pressure.acknowledged, 100, PATIENCE);
            let injection = Injection::into_files(&server, &["write:error=ENOSPC"], Some(&log));
            std::thread::sleep(Duration::from_millis(1500));
            injection.end();
            pressure.refused.load(Ordering::Relaxed)
        });
        let end = if server.has_ended() { "the process ended" } else { "the process went on" };
        println!("| redis-server: {CASE}, {appendfsync} | {refused} writes refused | {end} |");
    }
}

#[test]
fn second_process() {
    const CASE: &str = "a second process";
    let Some(options) = redis(CASE, "everysec") else { return };
    let server = Server::start(options);
    let port = free_port();
    let mut command = server.options().command(port, &server.directory());
    let mut second = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start the second");
    let serves = ledger::wait_until(Duration::from_secs(5), || crate::support::Client::connect(port).is_ok());
    second.kill().and_then(|()| second.wait()).expect("kill");
    println!("| redis-server: {CASE} | {} |", if serves { "it starts" } else { "it is refused" });
}
