//! Connections without sockets: raw bytes in, raw bytes out, and when each reply may leave.

use sessile::{Lsn, Options};
use sessile_server::client::{Client, Origin};
use sessile_server::config::Config;
use sessile_server::connection::{Connection, OUTPUT_BYTES_HIGH};
use sessile_server::log::LogControl;
use sessile_server::server::Server;
use sessile_server::worker::Worker;

/// A server with one connection, and the directory it lives in.
struct Bench {
    worker: Worker,
    connection: Connection,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(directives: &[(&str, &str)]) -> Bench {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::default();
        for (name, value) in directives {
            config.set(name, &[value]).expect("a directive");
        }
        let durability = if config.get("appendfsync") == "always" {
            sessile::Durability::Always
        } else {
            sessile::Durability::EverySecond
        };
        let db =
            Options::new().durability(durability).manual_background().open(dir.path()).expect("a database");
        let server = Server::new(db, config, None, LogControl::default());
        let worker = Worker::new(server);
        let card = worker.server.clients.join(Origin::none(), worker.now_ms);
        let client = Client::new(card, &worker.server.acl);
        Bench { worker, connection: Connection::new(client), _dir: dir }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.connection.receive(&mut self.worker, bytes);
    }

    /// What may be sent now, and is.
    fn take(&mut self) -> Vec<u8> {
        let acknowledged = self.worker.server.db.acknowledged();
        self.connection.settle(acknowledged);
        let output = self.connection.output().to_vec();
        self.connection.sent(&mut self.worker, output.len());
        output
    }

    /// Feeds, pushes the log, and takes.
    fn ask(&mut self, bytes: &[u8]) -> String {
        self.feed(bytes);
        self.worker.server.db.push_log().expect("the log takes writes");
        String::from_utf8_lossy(&self.take()).into_owned()
    }
}

#[test]
fn all_requests_of_a_read_are_answered_in_order() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.ask(b"SET a 1\r\nGET a\r\n*1\r\n$4\r\nPING\r\nECHO"), "+OK\r\n$1\r\n1\r\n+PONG\r\n");
    assert_eq!(bench.ask(b" x\r\n"), "$1\r\nx\r\n");
    assert!(!bench.connection.has_output());
}

#[test]
fn a_reply_to_a_write_waits_for_the_log_and_what_follows_waits_behind_it() {
    let mut bench = Bench::new(&[]);
    bench.feed(b"PING\r\nSET a 1\r\nPING\r\n");
    assert_eq!(bench.take(), b"+PONG\r\n", "only what came before the write");
    assert!(bench.connection.is_parked());
    assert!(!bench.connection.is_finished(&bench.worker));
    bench.worker.server.db.push_log().expect("the log takes writes");
    assert_eq!(bench.take(), b"+OK\r\n+PONG\r\n");
    assert!(!bench.connection.is_parked());
}

#[test]
fn when_the_log_fails_each_unacknowledged_write_gets_an_error_of_its_own() {
    let mut bench = Bench::new(&[]);
    bench.feed(b"SET a 1\r\nGET a\r\nINCR n\r\nPING\r\n");
    bench.connection.settle_failed(Lsn::ZERO, b"IOERR lost");
    assert_eq!(bench.take(), b"-IOERR lost\r\n$1\r\n1\r\n-IOERR lost\r\n+PONG\r\n");
    assert!(!bench.connection.is_parked());
}

/// A second connection to the same server.
fn join(bench: &Bench) -> Connection {
    let card = bench.worker.server.clients.join(Origin::none(), bench.worker.now_ms);
    Connection::new(Client::new(card, &bench.worker.server.acl))
}

/// What a connection may send now, and does.
fn take_from(connection: &mut Connection, bench: &mut Bench) -> String {
    connection.take_pushes(&mut bench.worker);
    connection.settle(bench.worker.server.db.acknowledged());
    let output = connection.output().to_vec();
    connection.sent(&mut bench.worker, output.len());
    String::from_utf8_lossy(&output).into_owned()
}

#[test]
fn nobody_hears_of_a_write_before_the_log_has_it() {
    let mut bench = Bench::new(&[("appendfsync", "always"), ("notify-keyspace-events", "E$")]);
    let mut listener = join(&bench);
    listener.receive(&mut bench.worker, b"SUBSCRIBE __keyevent@0__:set a\r\n");
    assert!(take_from(&mut listener, &mut bench).ends_with("$1\r\na\r\n:2\r\n"));
    bench.feed(b"PUBLISH a first\r\nSET k 1\r\nPUBLISH a second\r\n");
    let first = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nfirst\r\n";
    assert_eq!(take_from(&mut listener, &mut bench), first, "nothing was written before it");
    assert_eq!(take_from(&mut listener, &mut bench), "");
    assert!(listener.is_parked() && listener.has_output());
    // What comes later waits behind it.
    listener.receive(&mut bench.worker, b"PING\r\n");
    assert_eq!(take_from(&mut listener, &mut bench), "");
    bench.worker.server.db.flush().expect("the log is synced");
    assert_eq!(
        take_from(&mut listener, &mut bench),
        "*3\r\n$7\r\nmessage\r\n$18\r\n__keyevent@0__:set\r\n$1\r\nk\r\n\
         *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$6\r\nsecond\r\n\
         *2\r\n$4\r\npong\r\n$0\r\n\r\n"
    );
    assert!(!listener.is_parked());
}

#[test]
fn who_was_told_of_a_write_that_the_log_has_lost_hears_nothing_of_it() {
    let mut bench = Bench::new(&[("notify-keyspace-events", "E$")]);
    let mut listener = join(&bench);
    listener.receive(&mut bench.worker, b"HELLO 3\r\nSUBSCRIBE __keyevent@0__:set\r\n");
    take_from(&mut listener, &mut bench);
    bench.feed(b"SET k 1\r\n");
    listener.receive(&mut bench.worker, b"ECHO x\r\nSET n 1\r\n");
    listener.take_pushes(&mut bench.worker);
    listener.settle_failed(Lsn::ZERO, b"IOERR lost");
    assert_eq!(take_from(&mut listener, &mut bench), "$1\r\nx\r\n-IOERR lost\r\n");
}

#[test]
fn an_unknown_command_is_an_error_in_order_and_nothing_worse() {
    let mut bench = Bench::new(&[]);
    assert_eq!(
        bench.ask(
            b"*3\r\n$3\r\nfoo\r\n$1\r\na\r\n$1\r\nb\r\nPING\r\nclient maint_notifications on\r\nPING\r\n"
        ),
        "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n+PONG\r\n\
         -ERR unknown subcommand 'maint_notifications'. Try CLIENT HELP.\r\n+PONG\r\n"
    );
    assert_eq!(
        bench.ask(b"get\r\nclient setname\r\n"),
        "-ERR wrong number of arguments for 'get' command\r\n-ERR wrong number of arguments for 'client|setname' command\r\n"
    );
}

#[test]
fn a_malformed_request_is_answered_and_ends_the_connection() {
    let mut bench = Bench::new(&[]);
    assert_eq!(
        bench.ask(b"PING\r\n*1\r\n!\r\nPING\r\n"),
        "+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n"
    );
    assert!(bench.connection.is_finished(&bench.worker));
    assert_eq!(bench.ask(b"PING\r\n"), "");
}

#[test]
fn quit_answers_and_ends_and_what_follows_is_not_executed() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.ask(b"QUIT\r\nSET a 1\r\n"), "+OK\r\n");
    assert!(bench.connection.is_finished(&bench.worker));
    assert_eq!(bench.worker.server.db.len_of(0), 0);
}

#[test]
fn a_half_closed_connection_gets_its_replies_before_it_ends() {
    let mut bench = Bench::new(&[]);
    bench.feed(b"SET a 1\r\n");
    bench.connection.end_of_input();
    assert!(!bench.connection.is_finished(&bench.worker), "the reply waits for the log");
    bench.worker.server.db.push_log().expect("the log takes writes");
    assert_eq!(bench.take(), b"+OK\r\n");
    assert!(bench.connection.is_finished(&bench.worker));
}

#[test]
fn http_is_not_taken_for_commands() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.ask(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1\r\n"), "");
    assert!(bench.connection.is_finished(&bench.worker));
    assert_eq!(bench.worker.server.db.len_of(0), 0);
}

#[test]
fn nothing_but_hello_and_auth_works_before_authentication() {
    let mut bench = Bench::new(&[("requirepass", "sesame")]);
    assert_eq!(bench.ask(b"GET a\r\nPING\r\n"), "-NOAUTH Authentication required.\r\n".repeat(2));
    assert_eq!(
        bench.ask(b"AUTH wrong\r\n"),
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    );
    assert_eq!(
        bench.ask(b"AUTH other sesame\r\n"),
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    );
    assert!(bench.ask(b"HELLO 3\r\n").starts_with("-NOAUTH HELLO must be called"));
    assert!(bench.ask(b"HELLO 3 AUTH default sesame SETNAME me\r\n").starts_with("%7\r\n"));
    assert_eq!(bench.ask(b"CLIENT GETNAME\r\nGET a\r\n"), "$2\r\nme\r\n_\r\n");
    assert_eq!(bench.ask(b"RESET\r\nGET a\r\n"), "+RESET\r\n-NOAUTH Authentication required.\r\n");
    assert_eq!(bench.ask(b"AUTH default sesame\r\nGET a\r\n"), "+OK\r\n$-1\r\n");
}

#[test]
fn before_authentication_requests_are_small() {
    let mut bench = Bench::new(&[("requirepass", "sesame")]);
    assert_eq!(bench.ask(b"*11\r\n"), "-ERR Protocol error: unauthenticated multibulk length\r\n");
    assert!(bench.connection.is_finished(&bench.worker));
}

#[test]
fn replies_can_be_turned_off_and_skipped() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.ask(b"CLIENT REPLY SKIP\r\nSET a 1\r\nGET a\r\n"), "$1\r\n1\r\n");
    assert_eq!(bench.ask(b"CLIENT REPLY OFF\r\nGET a\r\nfoo\r\nCLIENT REPLY SKIP\r\nGET a\r\n"), "");
    assert_eq!(bench.ask(b"CLIENT REPLY ON\r\nGET a\r\n"), "+OK\r\n$1\r\n1\r\n");
}

#[test]
fn a_client_that_takes_no_replies_is_given_no_more_than_it_can_take() {
    let mut bench = Bench::new(&[]);
    let value = vec![b'x'; 100_000];
    bench.feed(format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", value.len()).as_bytes());
    bench.feed(&value);
    bench.feed(b"\r\n");
    bench.worker.server.db.push_log().expect("the log takes writes");
    assert_eq!(bench.take(), b"+OK\r\n");
    let requests = 200;
    bench.feed("GET a\r\n".repeat(requests).as_bytes());
    assert!(!bench.connection.wants_input(&bench.worker));
    let mut received = 0;
    loop {
        let output = bench.take();
        assert!(output.len() < OUTPUT_BYTES_HIGH + 2 * value.len(), "{} bytes at once", output.len());
        received += output.len();
        if bench.connection.can_resume(&bench.worker) {
            bench.connection.resume(&mut bench.worker);
        } else {
            break;
        }
    }
    assert_eq!(received, requests * (value.len() + "$100000\r\n\r\n".len()));
    assert!(bench.connection.wants_input(&bench.worker));
}

#[test]
fn too_many_bytes_of_replies_end_the_connection() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.ask(b"CONFIG SET client-output-buffer-limit \"normal 1000 0 0\"\r\n"), "+OK\r\n");
    bench.feed(format!("ECHO {}\r\n", "x".repeat(2000)).as_bytes());
    bench.connection.check_output_limit(&mut bench.worker);
    assert!(bench.connection.is_finished(&bench.worker));
}

#[test]
fn a_request_over_the_query_limit_ends_the_connection() {
    let mut bench = Bench::new(&[("client-query-buffer-limit", "1mb")]);
    bench.feed(b"*2\r\n$4\r\nECHO\r\n$3000000\r\n");
    for _ in 0..3 {
        bench.feed(&vec![b'x'; 400_000]);
    }
    assert!(bench.connection.is_finished(&bench.worker));
}

#[test]
fn any_split_of_the_bytes_gives_the_same_replies() {
    let stream = b"SET a 1\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\nGET a\r\nHELLO 3\r\nGET nothing\r\nfoo 'x y'\r\nSELECT 3\r\nDBSIZE\r\nPING\r\n";
    let whole = Bench::new(&[]).ask(stream);
    for piece in 1..stream.len() {
        let mut bench = Bench::new(&[]);
        let replies: String = stream.chunks(piece).map(|bytes| bench.ask(bytes)).collect();
        assert_eq!(replies, whole, "in pieces of {piece}");
    }
}

#[test]
fn a_write_that_the_log_has_no_room_for_waits_for_the_next_turn() {
    let mut bench = Bench::new(&[("appendfsync", "always")]);
    // Nobody drives the log here, so that its buffer fills.
    let value = "x".repeat(900_000);
    let mut sent = 0;
    while !bench.connection.is_paused() {
        bench.feed(format!("SET k{sent} {}\r\n", &value[..60_000]).as_bytes());
        sent += 1;
        assert!(sent < 10_000, "the buffer takes {} bytes", sent * 60_000);
    }
    assert!(!bench.connection.wants_input(&bench.worker));
    assert!(bench.connection.can_resume(&bench.worker), "the request is kept");
    let before = bench.worker.server.db.len_of(0);
    let mut turns = 0;
    while bench.connection.is_paused() {
        bench.worker.server.db.flush().expect("the log takes writes");
        // Room may also be a file that is being prepared, in bounded steps.
        bench.worker.server.db.step().expect("the log takes writes");
        bench.connection.resume(&mut bench.worker);
        turns += 1;
        assert!(turns < 1000, "no room after {turns} turns");
    }
    assert_eq!(bench.worker.server.db.len_of(0), before + 1);
    bench.worker.server.db.flush().expect("the log takes writes");
    assert_eq!(bench.take(), "+OK\r\n".repeat(sent).as_bytes());
}

#[test]
fn a_request_that_needs_a_disk_waits_for_its_errand_and_what_follows_waits_behind_it() {
    let mut bench = Bench::new(&[]);
    bench.feed(b"PING\r\nSAVE\r\nSET a 1\r\nGET");
    assert_eq!(bench.take(), b"+PONG\r\n");
    assert!(bench.connection.is_waiting() && bench.connection.has_errand());
    assert!(!bench.connection.wants_input(&bench.worker));
    assert!(!bench.connection.can_resume(&bench.worker));
    // Whatever the driver does meanwhile, nothing is executed.
    bench.feed(b" a\r\n");
    bench.connection.resume(&mut bench.worker);
    assert_eq!(bench.worker.server.db.len_of(0), 0);

    let mut errand = bench.connection.take_errand().expect("a checkpoint to be made");
    assert!(errand.is_long());
    assert!(bench.connection.take_errand().is_none() && bench.connection.is_waiting());
    bench.connection.errand_refused(errand);
    errand = bench.connection.take_errand().expect("the same again");
    errand.run();
    bench.connection.errand_done(errand);
    assert!(!bench.connection.is_waiting() && bench.connection.can_resume(&bench.worker));
    bench.connection.resume(&mut bench.worker);
    bench.worker.server.db.push_log().expect("the log takes writes");
    assert_eq!(bench.take(), b"+OK\r\n+OK\r\n$1\r\n1\r\n");
    assert!(bench.connection.wants_input(&bench.worker));
}

#[test]
fn a_client_that_closes_its_side_while_it_waits_is_answered_and_one_that_is_killed_is_not() {
    let mut bench = Bench::new(&[]);
    bench.feed(b"CLIENT REPLY SKIP\r\nSAVE\r\nPING\r\n");
    bench.connection.end_of_input();
    assert!(!bench.connection.is_finished(&bench.worker), "there is something to answer");
    let mut errand = bench.connection.take_errand().expect("a checkpoint to be made");
    errand.run();
    bench.connection.errand_done(errand);
    bench.connection.resume(&mut bench.worker);
    assert_eq!(bench.take(), b"+PONG\r\n", "the skipped reply is that of SAVE");
    assert!(bench.connection.is_finished(&bench.worker));

    let mut bench = Bench::new(&[]);
    bench.feed(b"SAVE\r\nPING\r\n");
    let errand = bench.connection.take_errand().expect("a checkpoint to be made");
    bench.connection.drop_now();
    assert!(bench.connection.is_finished(&bench.worker));
    bench.connection.errand_done(errand);
    assert!(!bench.connection.can_resume(&bench.worker));
}
