//! Descriptors run out. When clients take them, the last ones are kept for the files of the data: whoever is connected is served, also
//! in writing, checkpoints go on, and newcomers are refused in Redis's words. When there are none at all, newcomers wait to be accepted,
//! writes may be refused for want of a log file, and everything goes on by itself once there are some. The log of the process says so
//! without flooding.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::ledger::{self, Pressure, compare_all, ledgers, under_load};
use crate::report::Row;
use crate::support::{Client, Server, ServerOptions, Value, random};
use crate::{PATIENCE, rounds};

/// What is free below the limit when the crowd comes: more than is kept for files.
const FREE: u64 = 80;
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

/// A server; with `busy_files`, one whose checkpoints want files all the time, and whose data takes more of them.
fn start(busy_files: bool) -> Server {
    let options = ServerOptions::new("everysec");
    let server = Server::start(if busy_files {
        options.with("maxmemory", "1mb").with("checkpoint-log-size", "1mb")
    } else {
        options
    });
    ledger::prepare(&mut server.client());
    server
}

/// Whether a newcomer is served.
fn welcomes(server: &Server) -> bool {
    Client::connect(server.port()).is_ok_and(|mut client| {
        client.stream().set_read_timeout(Some(Duration::from_secs(3))).is_ok()
            && client.call(&["PING"]).is_ok_and(|pong| pong == Value::Simple("PONG".to_owned()))
    })
}

/// Connections that ask for nothing.
fn crowd(server: &Server) -> VecDeque<TcpStream> {
    let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("the kernel's queue");
    (0..CROWD).map(connect).collect()
}

/// Churn at the limit: each end of one lets another in, and the next is turned away again.
fn churn(server: &Server, crowd: &mut VecDeque<TcpStream>) {
    for _ in 0..40 {
        crowd.pop_front();
        let newcomer = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()));
        crowd.push_back(newcomer.expect("the kernel's queue"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Rounds in which `free` descriptors are left when a crowd comes (none: not one may be opened), and error replies may begin with
/// `refusals`.
fn run_out(case: &'static str, free: Option<u64>, line: &str, refusals: &[&str]) {
    let mut row = Row::begin(case);
    let mut server = start(free.is_none());
    let mut ledgers = ledgers(4, random::seed(case), 2000);
    let (mut longest_write, mut lines_max) = (Duration::ZERO, 0);
    for _ in 0..rounds() {
        let lines_before = server.output().matches(line).count();
        let (directed, shown) = under_load(server.port(), &mut ledgers, refusals, |pressure| {
            if !Pressure::grows(&pressure.acknowledged, 500, PATIENCE) {
                return Err("nothing was acknowledged before".to_owned());
            }
            let mut saver = server.client();
            // Accepted, and not only in the kernel's queue.
            saver.command("PING");
            // What is open above a limit stays open.
            let usual = limit(&server, free.map_or(1, |free| highest_descriptor(&server) + 1 + free));
            let mut crowd = crowd(&server);
            let writes_go_on = Pressure::grows(&pressure.acknowledged, 1000, Duration::from_secs(5));
            let saved = free.map(|_| saver.call(&["SAVE"]));
            let welcome = welcomes(&server);
            churn(&server, &mut crowd);
            limit(&server, usual.current.unwrap_or(4096));
            if refusals.is_empty() && !writes_go_on {
                return Err("writers that were connected were not served".to_owned());
            }
            if !saved.as_ref().is_none_or(|saved| saved.as_ref().is_ok_and(|saved| *saved == Value::ok())) {
                return Err(format!("a checkpoint had no descriptors: {saved:?}"));
            }
            // Where some are left, files that are closed may make room for a client.
            if welcome && free.is_none() {
                return Err("there was room for a newcomer: the case tests nothing".to_owned());
            }
            if !ledger::wait_until(PATIENCE, || welcomes(&server)) {
                return Err("nobody was accepted again".to_owned());
            }
            if !Pressure::grows(&pressure.acknowledged, 1000, PATIENCE) {
                return Err("writes did not go on after descriptors were there again".to_owned());
            }
            Ok(())
        });
        row.reader_waited(shown.longest.read);
        let mut outcome = shown.verdict().and(directed);
        let lines = server.output().matches(line).count() - lines_before;
        longest_write = longest_write.max(shown.longest.write);
        lines_max = lines_max.max(lines);
        if lines == 0 || lines > LINES_PER_ROUND_MAX {
            outcome = outcome.and(Err(format!("{lines} lines in the log")));
        }
        outcome = outcome.and(shown.longest.verdict());
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

/// Clients that came in great numbers took the log its next file: writes were refused for want of a descriptor.
#[test]
fn clients_take_them_and_writes_go_on() {
    run_out("descriptors taken by clients", Some(FREE), "descriptors run short", &[]);
}

#[test]
fn none_left() {
    run_out("no descriptors left", None, "accepting a connection failed", &["IOERR"]);
}
