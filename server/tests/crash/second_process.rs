//! Two processes on one directory: the second is refused, names the first, and does no harm; also when several start at the same
//! moment. A killed process leaves nothing behind that would keep the next from starting.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::ledger::{self, Pressure, compare_all, ledgers, under_load, wait_until};
use crate::report::Row;
use crate::support::process::free_port;
use crate::support::{Client, Server, ServerOptions, Value, random};
use crate::{PATIENCE, rounds};

const RACERS: usize = 4;

#[test]
fn is_refused() {
    const CASE: &str = "a second process";
    let mut row = Row::begin(CASE);
    let mut server = Server::start(ServerOptions::new("everysec"));
    ledger::prepare(&mut server.client());
    let mut ledgers = ledgers(2, random::seed(CASE), 300);
    for _ in 0..rounds() {
        let (said, shown) = under_load(server.port(), &mut ledgers, &[], |pressure| {
            Pressure::grows(&pressure.acknowledged, 100, PATIENCE);
            let said = server.refused_start();
            Pressure::grows(&pressure.acknowledged, 100, PATIENCE);
            said
        });
        row.reader_waited(shown.longest.read);
        let named = said.contains(&format!("is in use: process {} holds the lock", server.process_id()));
        let outcome = shown.verdict().and_then(|()| {
            named
                .then_some(())
                .ok_or_else(|| format!("it does not name process {}: {said}", server.process_id()))
        });
        server.kill();
        row.round(outcome);
        row.round(one_of_many_wins(&server));
        server.restart();
        row.round(compare_all(&mut ledgers, &mut server.client()));
    }
    row.finish();
}

/// Several start at the same moment on the directory of a killed one: exactly one serves.
fn one_of_many_wins(server: &Server) -> Result<(), String> {
    let mut racers: Vec<(u16, Child)> = (0..RACERS)
        .map(|_| {
            let port = free_port();
            let mut command = server.options().command(port, &server.directory());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            (port, command.spawn().expect("start a server"))
        })
        .collect();
    // The port may be somebody else's by now: who answers must be the process that was started for it.
    let serves = |port: u16, child: &Child| {
        let info = Client::connect(port).and_then(|mut client| client.call(&["INFO", "server"]));
        info.is_ok_and(|info| {
            matches!(&info, Value::Bulk(_)) && info.text().contains(&format!("process_id:{}\r", child.id()))
        })
    };
    let settled = wait_until(PATIENCE, || {
        let ended = racers.iter_mut().filter_map(|(_, child)| child.try_wait().expect("wait")).count();
        ended >= RACERS - 1 && racers.iter().any(|(port, child)| serves(*port, child))
    });
    std::thread::sleep(Duration::from_millis(50));
    let serving = racers.iter().filter(|(port, child)| serves(*port, child)).count();
    for (_, child) in &mut racers {
        child.kill().and_then(|()| child.wait()).expect("kill");
    }
    if settled && serving == 1 { Ok(()) } else { Err(format!("{serving} of {RACERS} serve")) }
}
