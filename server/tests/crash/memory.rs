//! No memory left, as `ulimit -v` has it: the process may refuse or die, at the start and under load, but what it acknowledged is
//! there when it is started with more.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::ledger::{self, Pressure, compare_all, ledgers, under_load};
use crate::report::Row;
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
                    Ok(ledger::wait_until(std::time::Duration::from_secs(3), || server.has_ended()))
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
