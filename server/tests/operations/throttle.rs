//! Wrong passwords slow down whoever sends them, and nobody else; without sockets, in simulated time.

use sessile_server::client::{Client, Origin};
use sessile_server::config::Config;
use sessile_server::connection::Connection;
use sessile_server::log::LogControl;
use sessile_server::server::Server;
use sessile_server::worker::Worker;

/// More than any delay, ms.
const LONG_MS: u64 = 60_000;

fn worker(directory: &std::path::Path) -> Worker {
    let mut config = Config::default();
    config.set("requirepass", &["right"]).expect("a directive");
    let db = sessile::Options::new().manual_background().open(directory).expect("a database");
    Worker::new(Server::new(db, config, None, LogControl::default()))
}

fn join(worker: &Worker, address: &str, local: bool) -> Connection {
    let origin = Origin { address: address.to_owned(), local, ..Origin::none() };
    let card = worker.server.clients.join(origin, worker.now_ms);
    Connection::new(Client::new(card, &worker.server.acl))
}

fn ask(worker: &mut Worker, connection: &mut Connection, bytes: &[u8]) -> String {
    connection.receive(worker, bytes);
    take(worker, connection)
}

fn take(worker: &mut Worker, connection: &mut Connection) -> String {
    let output = connection.output().to_vec();
    connection.sent(worker, output.len());
    String::from_utf8_lossy(&output).into_owned()
}

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

#[test]
fn who_guesses_waits_for_each_answer_and_nothing_behind_it_is_executed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut worker = worker(directory.path());
    let mut guesser = join(&worker, "203.0.113.7:4000", false);
    for attempt in 0..6 {
        assert_eq!(ask(&mut worker, &mut guesser, b"AUTH wrong\r\n"), WRONG, "attempt {attempt}");
    }
    // From here on even another connection waits, and even the right password.
    let mut guesser = join(&worker, "203.0.113.7:4001", false);
    assert_eq!(ask(&mut worker, &mut guesser, b"AUTH right\r\nPING\r\n"), "");
    assert!(guesser.is_blocked() && guesser.wait().is_some_and(|wait| wait.deadline_ms().is_some()));
    let now_ms = worker.now_ms;
    assert!(!guesser.look_at_time(now_ms), "its time has not come");
    guesser.resume(&mut worker);
    assert_eq!(take(&mut worker, &mut guesser), "");

    // Others are not held up, and who is on this machine is never.
    let mut other = join(&worker, "203.0.113.8:4000", false);
    assert_eq!(ask(&mut worker, &mut other, b"AUTH right\r\n"), "+OK\r\n");
    let mut local = join(&worker, "203.0.113.7:4002", true);
    assert_eq!(ask(&mut worker, &mut local, b"AUTH right\r\nRESET\r\n"), "+OK\r\n+RESET\r\n");

    let mut guesser = join(&worker, "203.0.113.9:1", false);
    for _ in 0..6 {
        assert_eq!(ask(&mut worker, &mut guesser, b"HELLO 2 AUTH default wrong\r\n"), WRONG);
    }
    assert_eq!(ask(&mut worker, &mut guesser, b"HELLO 2 AUTH default wrong\r\nHELLO\r\n"), "");
    assert!(guesser.look_at_time(now_ms + LONG_MS), "its time has come");
    guesser.resume(&mut worker);
    let answer = take(&mut worker, &mut guesser);
    assert!(answer.starts_with(WRONG) && answer[WRONG.len()..].starts_with("-NOAUTH"), "{answer}");
    assert_eq!(ask(&mut worker, &mut guesser, b"AUTH right\r\n"), "");
    assert!(guesser.look_at_time(now_ms + LONG_MS));
    guesser.resume(&mut worker);
    assert_eq!(take(&mut worker, &mut guesser), "+OK\r\n");
    // The right password makes up for the wrong ones.
    assert_eq!(ask(&mut worker, &mut guesser, b"AUTH right\r\n"), "+OK\r\n");
}

#[test]
fn a_transaction_is_no_way_around_the_delay() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut worker = worker(directory.path());
    let mut guesser = join(&worker, "203.0.113.7:4000", false);
    assert_eq!(ask(&mut worker, &mut guesser, b"AUTH right\r\nMULTI\r\n"), "+OK\r\n+OK\r\n");
    for _ in 0..20 {
        assert_eq!(ask(&mut worker, &mut guesser, b"AUTH wrong\r\n"), "+QUEUED\r\n");
    }
    let answers = ask(&mut worker, &mut guesser, b"EXEC\r\n");
    assert_eq!(answers.matches("-WRONGPASS").count(), 6, "{answers}");
    assert_eq!(answers.matches("-ERR too many wrong passwords").count(), 14, "{answers}");
}
