//! No descriptors left: whoever is connected is served, also in writing; whoever comes waits to be accepted, and is, once there
//! are descriptors again; the log of the process says so without flooding.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::ledger::{self, Pressure, compare_all, ledgers, under_load};
use crate::report::Row;
use crate::support::{Client, Server, ServerOptions, Value, random};
use crate::{PATIENCE, READER_WAIT_MAX, rounds};

/// Lines about it that the log may have for each round: one for ten seconds, and a slow machine may take a minute.
const LINES_PER_ROUND_MAX: usize = 6;

/// More than the server can have free below its highest descriptor, segments that it closes meanwhile included.
const CROWD: usize = 400;

/// The highest descriptor that the server has open.
fn highest_descriptor(server: &Server) -> u64 {
    let list = std::fs::read_dir(format!("/proc/{}/fd", server.process_id())).expect("its descriptors");
    list.filter_map(|fd| fd.ok()?.file_name().to_str()?.parse().ok()).max().unwrap_or(0)
}

fn limit(server: &Server, descriptors: u64) -> Rlimit {
    let pid = Pid::from_raw(server.process_id() as i32).expect("a process id");
    let before = rustix::process::getrlimit(Resource::Nofile);
    let new = Rlimit { current: Some(descriptors), maximum: before.maximum };
    prlimit(Some(pid), Resource::Nofile, new).expect("a lower limit of open files")
}

#[test]
fn none_left() {
    const CASE: &str = "no descriptors left";
    let mut row = Row::begin(CASE);
    let seed = random::seed(CASE);
    // Small steps of the log and checkpoints now and then: both want files while there are none to be had.
    let options = ServerOptions::new("everysec").with("maxmemory", "1mb").with("checkpoint-log-size", "1mb");
    let mut server = Server::start(options);
    ledger::prepare(&mut server.client());
    let mut ledgers = ledgers(4, seed, 2000);
    let (mut longest_write, mut lines_max) = (Duration::ZERO, 0);
    for _ in 0..rounds() {
        let lines_before = server.output().matches("accepting a connection failed").count();
        let (directed, shown) = under_load(server.port(), &mut ledgers, &[], |pressure| {
            if !Pressure::grows(&pressure.acknowledged, 500, PATIENCE) {
                return Err("nothing was acknowledged before".to_owned());
            }
            let usual = limit(&server, highest_descriptor(&server) + 1);
            let restore = || limit(&server, usual.current.unwrap_or(4096));
            // They fill what is free below the limit; the rest wait in the kernel's queue.
            let crowd: Vec<TcpStream> = (0..CROWD)
                .map(|_| {
                    TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("the kernel's queue")
                })
                .collect();
            let served = Pressure::grows(&pressure.acknowledged, 500, PATIENCE);
            // Churn at the limit: each end of one lets another in, and the next fails again.
            let mut crowd: VecDeque<TcpStream> = crowd.into();
            for _ in 0..40 {
                crowd.pop_front();
                let newcomer = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()));
                crowd.push_back(newcomer.expect("the kernel's queue"));
                std::thread::sleep(Duration::from_millis(50));
            }
            let waiting = crowd.len();
            restore();
            if !served {
                return Err("writers that were connected were not served".to_owned());
            }
            // Those who waited are accepted, and newcomers served.
            let accepted = ledger::wait_until(PATIENCE, || {
                Client::connect(server.port()).is_ok_and(|mut client| {
                    client.stream().set_read_timeout(Some(Duration::from_secs(3))).is_ok()
                        && client.call(&["PING"]).is_ok_and(|pong| pong == Value::Simple("PONG".to_owned()))
                })
            });
            drop(crowd);
            if !accepted {
                return Err(format!("nobody was accepted again, {waiting} waited"));
            }
            if !Pressure::grows(&pressure.acknowledged, 500, PATIENCE) {
                return Err("writes did not go on after descriptors were there again".to_owned());
            }
            Ok(())
        });
        row.reader_waited(shown.longest.read);
        let mut outcome = directed.and_then(|()| shown.verdict());
        let lines = server.output().matches("accepting a connection failed").count() - lines_before;
        longest_write = longest_write.max(shown.longest.write);
        lines_max = lines_max.max(lines);
        if lines == 0 || lines > LINES_PER_ROUND_MAX {
            outcome = outcome.and(Err(format!("{lines} lines in the log")));
        }
        if shown.longest.read > READER_WAIT_MAX {
            outcome = outcome.and(Err(format!("a reader waited {:?}", shown.longest.read)));
        }
        row.round(outcome);
        server.kill();
        server.restart();
        row.round(compare_all(&mut ledgers, &mut server.client()));
    }
    row.note(format!(
        "writers waited {:.0} ms at most, {lines_max} lines in the log at most",
        longest_write.as_secs_f64() * 1e3
    ));
    row.finish();
}
