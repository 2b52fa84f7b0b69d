//! No memory left, as `ulimit -v` has it: the process may refuse or die, at the start and under load, but what it acknowledged is
//! there when it is started with more.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::ledger::{self, Pressure, compare_all, ledgers, under_load};
use crate::report::Row;
use crate::support::process::free_port;
use crate::support::{Server, ServerOptions, random};
use crate::{PATIENCE, rounds};

/// What the server may still map when the limit comes down on it.
const LEFT_KIB: [u64; 3] = [0, 4 << 10, 48 << 10];

/// The address space of the process, in KiB.
fn mapped_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id()))
        .expect("/proc of the server");
    let line = status.lines().find(|line| line.starts_with("VmSize:")).expect("a VmSize line");
    line.split_whitespace().nth(1).and_then(|figure| figure.parse().ok()).expect("a figure in KiB")
}

#[test]
fn none_left_under_load() {
    const CASE: &str = "no memory left under load";
    let mut row = Row::begin(CASE);
    let mut server = Server::start(ServerOptions::new("everysec"));
    let mut ledgers = ledgers(4, random::seed(CASE), 60_000);
    let mut died = 0;
    for round in 0..rounds() {
        for left in LEFT_KIB {
            ledger::prepare(&mut server.client());
            let (ended, shown) =
                under_load(server.port(), &mut ledgers, &["OOM", "ERR", "IOERR"], |pressure| {
                    if !Pressure::grows(&pressure.acknowledged, 50, PATIENCE) {
                        return Err("nothing was acknowledged before".to_owned());
                    }
                    let limit = Some((mapped_kib(&server) + left) << 10);
                    let pid = Pid::from_raw(server.process_id() as i32).expect("a process id");
                    prlimit(Some(pid), Resource::As, Rlimit { current: limit, maximum: None })
                        .expect("a limit of memory");
                    Ok(ledger::wait_until(Duration::from_secs(3), || server.has_ended()))
                });
            died += u64::from(ended == Ok(true));
            let outcome = ended.map(|_| ()).and_then(|()| shown.verdict());
            row.round(outcome);
            server.kill();
            server.restart();
            row.round(compare_all(&mut ledgers, &mut server.client()));
        }
        // From time to time back to few keys, so that the comparison stays short.
        if round % 5 == 4 {
            server.client().command("FLUSHALL");
            ledgers = ledger::ledgers(4, random::seed(CASE), 60_000);
        }
    }
    row.note(format!("the process ended {died} times"));
    row.finish();
}

/// A start with too little memory refuses or dies, and what it does of the recovery until then harms nothing.
#[test]
fn too_little_to_start() {
    const CASE: &str = "too little memory to start";
    /// From less than the binary maps to more than it needs, in KiB.
    const LIMITS_KIB: [u64; 6] = [10_000, 60_000, 100_000, 200_000, 400_000, 800_000];
    let mut row = Row::begin(CASE);
    let mut server = Server::start(ServerOptions::new("everysec"));
    let mut ledgers = ledgers(4, random::seed(CASE), 30_000);
    let mut ended = 0;
    for _ in 0..rounds() {
        ledger::prepare(&mut server.client());
        let ((), shown) = under_load(server.port(), &mut ledgers, &[], |pressure| {
            Pressure::grows(&pressure.acknowledged, 500, PATIENCE);
        });
        server.kill();
        for kib in LIMITS_KIB {
            let whole = server.options().command(free_port(), &server.directory());
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -v \"$0\"; exec \"$@\"", &kib.to_string()]).arg(whole.get_program());
            command.args(whole.get_args()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().expect("sh runs");
            let gone = || child.try_wait().expect("wait").is_some();
            ended += u64::from(ledger::wait_until(Duration::from_millis(500), gone));
            child.kill().and_then(|()| child.wait()).expect("kill");
        }
        server.restart();
        row.round(shown.verdict().and(compare_all(&mut ledgers, &mut server.client())));
    }
    row.note(format!("{ended} of {} starts ended by themselves", rounds() * LIMITS_KIB.len() as u64));
    if ended == 0 {
        row.round(Err("no start had too little memory".to_owned()));
    }
    row.finish();
}
