//! The binary: its command line, its start, its administration over a socket, its end.
#![expect(clippy::disallowed_methods, reason = "a real process on a real disk")]

mod support;

use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use support::{Client, Server, ServerOptions, Value};

fn sessile(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sessile")).args(args).output().expect("run the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `condition` holds; a test that waits for long has failed.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn field(info: &Value, name: &str) -> String {
    let info = info.text();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {info}")).to_owned()
}

#[test]
fn the_command_line_explains_itself_and_its_errors() {
    assert!(text(&sessile(&["--version"]).stdout).starts_with("sessile "));
    assert!(text(&sessile(&["--help"]).stdout).contains("sessile serve"));
    let help = text(&sessile(&["help", "serve"]).stdout);
    for directive in sessile_server::config::DIRECTIVES {
        assert!(help.contains(&format!("--{} ", directive.name)), "{}", directive.name);
    }
    for (args, expected, code) in [
        (&["serve", "--prot", "1"][..], "unknown directive 'prot'", 1),
        (&["serve", "--port", "x"], "port: argument couldn't be parsed into an integer", 1),
        (&["serve", "--port"], "port: wrong number of arguments", 1),
        (&["serve", "--config", "/nowhere/x.conf"], "can't read /nowhere/x.conf", 1),
        (&["servee"], "no command 'servee'", 2),
        (&["serve", "extra"], "unexpected argument", 2),
        (&["check"], "check needs a data directory", 2),
        (&["stats", "a", "b"], "unexpected argument", 2),
        (&["check", "--force", "a"], "invalid option", 2),
        (&["check", "/nowhere"], "/nowhere", 1),
        (&["stats", "/nowhere"], "/nowhere", 1),
    ] {
        let output = sessile(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let message = text(&output.stderr);
        assert!(message.starts_with("sessile: ") && message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn the_start_says_what_there_is_and_unneeded_directives_get_a_word() {
    let mut server =
        Server::start(ServerOptions::new("everysec").with("appendonly", "no").with("save", "900 1"));
    assert_eq!(server.client().command("SET a 1"), Value::ok());
    assert!(server.stop(Signal::TERM).success());
    server.restart();
    assert_eq!(server.client().command("GET a"), Value::bulk("1"));
    let output = server.output();
    for expected in [
        "Sessile ",
        "new database in ",
        "recovered 1 keys in ",
        "listening on 127.0.0.1:",
        "save is accepted but has no effect",
        "appendonly is accepted but has no effect",
        "protected mode",
        "everything is on disk",
    ] {
        assert!(output.contains(expected), "no {expected:?} in {output}");
    }
}

#[test]
fn the_log_can_be_json() {
    let server = Server::start(ServerOptions::new("everysec").with("log-format", "json"));
    for line in server.output().lines() {
        assert!(line.starts_with('{') && line.ends_with('}') && line.contains("\"message\""), "{line}");
    }
}

#[test]
fn every_directive_is_reported_and_changes_are_all_or_none() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    let all = client.command("CONFIG GET *");
    let names = sessile_server::config::DIRECTIVES
        .iter()
        .map(|directive| 1 + usize::from(directive.alias.is_some()))
        .sum::<usize>();
    assert_eq!(all.items().len(), names * 2);
    assert_eq!(client.command("CONFIG SET timeout 5 maxclients x"), Value::Error("ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't be parsed into an integer".into()));
    assert_eq!(
        client.command("CONFIG GET timeout"),
        Value::Array(vec![Value::bulk("timeout"), Value::bulk("0")])
    );
    assert_eq!(client.command("CONFIG SET timeout 1000 hash-max-ziplist-entries 7"), Value::ok());
    assert_eq!(client.command("CONFIG GET hash-max-*-entries timeout").items().len(), 6);
    client.command("HSET h a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8");
    assert_eq!(client.command("OBJECT ENCODING h"), Value::bulk("hashtable"));
}

#[test]
fn a_password_set_at_run_time_is_asked_for_from_then_on() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    assert_eq!(client.command("CONFIG SET requirepass sesame"), Value::ok());
    assert_eq!(client.command("PING"), Value::Simple("PONG".into()));
    let mut other = server.client();
    assert!(other.command("PING").is_error("NOAUTH"));
    assert_eq!(other.command("AUTH sesame"), Value::ok());
    assert_eq!(other.command("PING"), Value::Simple("PONG".into()));
}

#[test]
fn the_configuration_is_written_back_to_its_file() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("sessile.conf");
    fs::write(&file, "# mine\ntimeout 7\n").expect("write the file");
    let server = Server::start(ServerOptions::new("everysec").with("config", file.to_str().expect("a path")));
    let mut client = server.client();
    assert_eq!(client.command("CONFIG GET timeout").items()[1], Value::bulk("7"));
    assert_eq!(client.command("CONFIG SET timeout 8 tcp-keepalive 77"), Value::ok());
    assert_eq!(client.command("CONFIG REWRITE"), Value::ok());
    let written = fs::read_to_string(&file).expect("read the file");
    assert!(written.starts_with("# mine\ntimeout 8\n# Generated by CONFIG REWRITE\n"), "{written}");
    assert!(written.contains("tcp-keepalive 77\n"), "{written}");
    assert_eq!(fs::read_dir(home.path()).expect("list").count(), 1, "nothing is left beside it");
}

#[test]
fn clients_see_and_end_each_other_whatever_loop_they_are_on() {
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "3"));
    let mut clients: Vec<Client> = (0..9).map(|_| server.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.command(&format!("CLIENT SETNAME c{number}")), Value::ok());
        assert_eq!(client.command("CLIENT SETINFO lib-name tests"), Value::ok());
    }
    let list = clients[0].command("CLIENT LIST").text();
    assert_eq!(list.lines().count(), 9, "{list}");
    for number in 0..9 {
        assert!(list.contains(&format!(" name=c{number} ")), "{list}");
    }
    assert!(list.lines().all(|line| line.contains(" lib-name=tests ")), "{list}");
    let Value::Integer(id) = clients[3].command("CLIENT ID") else { panic!("no id") };
    assert_eq!(clients[0].command(&format!("CLIENT KILL ID {id}")), Value::Integer(1));
    wait_until("the killed client is closed", || clients[3].call(&["PING"]).is_err());
    assert_eq!(clients[0].command("CLIENT KILL TYPE normal"), Value::Integer(7));
    wait_until("all others are gone", || clients[0].command("CLIENT LIST").text().lines().count() == 1);
    assert_eq!(clients[0].command("CLIENT KILL SKIPME no TYPE normal"), Value::Integer(1));
    assert!(clients[0].call(&["PING"]).is_err());
}

#[test]
fn no_more_clients_than_allowed_are_let_in() {
    let server = Server::start(ServerOptions::new("everysec").with("maxclients", "3"));
    let mut first = server.client();
    first.command("PING");
    // The client that waited for the start may still be leaving.
    wait_until("the others are gone", || first.command("CLIENT LIST").text().lines().count() == 1);
    let mut others = [server.client(), server.client()];
    others.iter_mut().for_each(|other| assert_eq!(other.command("PING"), Value::Simple("PONG".into())));
    let refused = server.client().receive().expect("a word before the end");
    assert_eq!(refused, Value::Error("ERR max number of clients reached".into()));
    assert_eq!(first.command("PING"), Value::Simple("PONG".into()));
    assert_eq!(field(&first.command("INFO stats"), "rejected_connections"), "1");
}

#[test]
fn idle_clients_are_disconnected_after_the_timeout() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut idle = server.client();
    idle.command("PING");
    assert_eq!(server.client().command("CONFIG SET timeout 1"), Value::ok());
    let mut rest = Vec::new();
    idle.stream().read_to_end(&mut rest).expect("the server closes it");
    assert_eq!(rest, b"");
}

#[test]
fn a_unix_socket_serves_too() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().join("socket");
    let options = ServerOptions::new("everysec")
        .with("unixsocket", path.to_str().expect("a path"))
        .with("unixsocketperm", "700");
    let mut server = Server::start(options);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("the socket").permissions());
    assert_eq!(mode & 0o777, 0o700);
    let mut stream = UnixStream::connect(&path).expect("connect");
    stream.write_all(b"SET a 1\r\nGET a\r\nQUIT\r\n").expect("send");
    let mut replies = String::new();
    stream.read_to_string(&mut replies).expect("replies");
    assert_eq!(replies, "+OK\r\n$1\r\n1\r\n+OK\r\n");
    assert!(server.stop(Signal::INT).success());
    assert!(!path.exists());
}

#[test]
fn shutdown_ends_the_process_and_keeps_what_was_written() {
    for durability in ["always", "everysec", "no"] {
        let mut server = Server::start(ServerOptions::new(durability));
        let mut client = server.client();
        assert_eq!(client.command("SET a 1"), Value::ok());
        assert_eq!(client.command("SHUTDOWN ABORT"), Value::Error("ERR No shutdown in progress.".into()));
        assert!(client.call(&["SHUTDOWN"]).is_err(), "no reply, and the connection ends");
        assert!(server.wait().success());
        server.restart();
        assert_eq!(server.client().command("GET a"), Value::bulk("1"));
    }
}

#[test]
fn figures_add_up_over_the_loops() {
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "2"));
    let mut clients = [server.client(), server.client()];
    assert_eq!(clients[0].command("CONFIG RESETSTAT"), Value::ok());
    for client in &mut clients {
        client.command("SET a 1");
        client.command("HGET a x");
        client.command("GET");
    }
    let info = clients[0].command("INFO everything");
    assert!(field(&info, "cmdstat_set").starts_with("calls=2,"));
    assert!(field(&info, "cmdstat_hget").ends_with("rejected_calls=0,failed_calls=2"));
    assert!(
        field(&info, "cmdstat_get").starts_with("calls=0,")
            && field(&info, "cmdstat_get").contains("rejected_calls=2")
    );
    assert_eq!(field(&info, "errorstat_WRONGTYPE"), "count=2");
    assert_eq!(field(&info, "errorstat_ERR"), "count=2");
    assert_eq!(field(&info, "db0"), "keys=1,expires=0,avg_ttl=0");
    assert_eq!(field(&info, "connected_clients"), "2");
    assert_eq!(field(&info, "redis_version"), "7.4.0");
    assert_eq!(field(&info, "loading"), "0");
    assert_eq!(field(&info, "cluster_enabled"), "0");
    for section in [
        "server",
        "clients",
        "memory",
        "persistence",
        "stats",
        "replication",
        "cpu",
        "keyspace",
        "sessile",
        "storage",
    ] {
        assert!(clients[1].command(&format!("INFO {section}")).text().starts_with("# "), "{section}");
    }
}

#[test]
fn a_memory_limit_does_not_refuse_writes() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    assert_eq!(client.command("CONFIG SET maxmemory 20mb maxmemory-policy noeviction"), Value::ok());
    let info = client.command("INFO memory");
    assert_eq!(field(&info, "maxmemory"), (20 << 20).to_string());
    assert_eq!(field(&info, "maxmemory_policy"), "noeviction");
    let value = "v".repeat(100_000);
    for number in 0..400 {
        assert_eq!(client.call(&["SET", &format!("key:{number}"), &value]).expect("a reply"), Value::ok());
    }
    assert_eq!(client.command("DBSIZE"), Value::Integer(400));
    assert_eq!(client.command("STRLEN key:0"), Value::Integer(100_000));
}

#[test]
fn checkpoints_are_asked_for_in_redis_s_words() {
    let server = Server::start(ServerOptions::new("everysec"));
    let (mut client, mut other) = (server.client(), server.client());
    let started: Value = client.command("LASTSAVE");
    let Value::Integer(seconds) = started else { panic!("{started:?}") };
    assert!(seconds > 1_700_000_000, "{seconds}");
    assert_eq!(client.command("SET a 1"), Value::ok());
    assert_eq!(client.command("SAVE"), Value::ok());
    assert!(matches!(client.command("LASTSAVE"), Value::Integer(later) if later >= seconds));
    for (command, replies) in [
        ("BGSAVE", &["Background saving started", "ERR Background save already in progress"][..]),
        ("BGSAVE schedule", &["Background saving started", "ERR Background save already in progress"]),
        (
            "BGREWRITEAOF",
            &[
                "Background append only file rewriting started",
                "Background append only file rewriting scheduled",
            ],
        ),
    ] {
        let (Value::Simple(text) | Value::Error(text)) = client.command(command) else { panic!("{command}") };
        assert!(replies.contains(&&*text), "{command}: {text}");
    }
    let syntax = Value::Error("ERR syntax error".into());
    assert_eq!(client.command("BGSAVE now"), syntax);
    assert_eq!(client.command("BGSAVE schedule x"), syntax);
    assert!(client.command("SAVE x").is_error("ERR wrong number of arguments for 'save' command"));
    wait_until("what was asked for is done", || {
        let info = other.command("INFO persistence");
        field(&info, "rdb_bgsave_in_progress") == "0" && field(&info, "aof_rewrite_scheduled") == "0"
    });
    assert_eq!(client.command("DEBUG RELOAD"), Value::ok());
    let info = client.command("INFO persistence");
    assert_eq!(field(&info, "rdb_last_bgsave_status"), "ok");
    assert_eq!(field(&info, "rdb_changes_since_last_save"), "0");
    assert_eq!(field(&info, "aof_enabled"), "1");
    assert!(client.command("INFO").text().contains("# Storage\r\n"));
    assert_eq!(client.command("GET a"), Value::bulk("1"));
}

#[test]
fn replies_keep_their_order_when_one_waits_for_a_checkpoint() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    client.send(b"SET a 1\r\nSAVE\r\nGET a\r\nSAVE x\r\nDEBUG RELOAD\r\nINCR a\r\n").expect("sent");
    let replies: Vec<Value> = (0..6).map(|_| client.receive().expect("a reply")).collect();
    assert_eq!(replies[..3], [Value::ok(), Value::ok(), Value::bulk("1")]);
    assert!(replies[3].is_error("ERR wrong number"), "{:?}", replies[3]);
    assert_eq!(replies[4..], [Value::ok(), Value::Integer(2)]);
    // A client that has said all and closed its side gets its replies.
    client.send(b"SAVE\r\nPING\r\n").expect("sent");
    client.stream().shutdown(std::net::Shutdown::Write).expect("half closed");
    assert_eq!(client.receive().expect("a reply"), Value::ok());
    assert_eq!(client.receive().expect("a reply"), Value::Simple("PONG".into()));
    assert!(client.receive().is_err(), "the server closes it too");
}

#[test]
fn the_end_makes_a_checkpoint_unless_told_not_to() {
    for (command, makes_one) in
        [("SHUTDOWN", true), ("SHUTDOWN SAVE", true), ("SHUTDOWN NOW", true), ("SHUTDOWN NOSAVE", false)]
    {
        let mut server = Server::start(ServerOptions::new("everysec"));
        let mut client = server.client();
        assert_eq!(client.command("SET a 1"), Value::ok());
        assert!(client.call(&command.split(' ').collect::<Vec<_>>()).is_err(), "{command} has no reply");
        assert!(server.wait().success(), "{command}");
        assert_eq!(server.output().contains("checkpoint made in"), makes_one, "{command}");
        server.restart();
        assert_eq!(server.client().command("GET a"), Value::bulk("1"), "{command}");
    }
}

#[test]
fn reads_that_find_and_miss_are_counted_and_time_has_microseconds() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    for command in
        ["SET a 1", "HSET h f v", "GET a", "GET b", "MGET a b c", "HGET h x", "HMGET b x y", "EXISTS a b"]
    {
        client.command(command);
    }
    let info = client.command("INFO stats");
    assert_eq!(field(&info, "keyspace_hits"), "4");
    assert_eq!(field(&info, "keyspace_misses"), "5");
    let microseconds = (0..50).map(|_| client.command("TIME").items()[1].text());
    assert!(microseconds.filter(|figure| !figure.ends_with("000")).count() > 25, "whole milliseconds only");
}

#[test]
fn a_bulk_length_beyond_the_engine_s_limit_is_refused() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    assert_eq!(client.command("CONFIG SET proto-max-bulk-len 512mb"), Value::ok());
    assert!(client.command("CONFIG SET proto-max-bulk-len 513mb").is_error("ERR CONFIG SET failed"));
}

#[test]
fn the_same_directory_opens_in_process_and_with_the_server() {
    let mut server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    assert_eq!(client.call(&["SET", "by:server", "one", "EX", "1000"]).expect("a reply"), Value::ok());
    assert_eq!(client.call(&["HSET", "fields", "a", "1"]).expect("a reply"), Value::Integer(1));
    assert!(server.stop(Signal::TERM).success());
    {
        let db = sessile::Db::open(server.directory()).expect("the server has let go of it");
        assert_eq!(db.get(b"by:server").expect("a string").expect("there"), b"one");
        assert_eq!(db.hash_get(b"fields", b"a").expect("a hash").as_deref(), Some(&b"1"[..]));
        let left = db.time_to_live(b"by:server").expect("readable").flatten().expect("a deadline");
        assert!(left > Duration::from_secs(900) && left <= Duration::from_secs(1000), "{left:?}");
        db.set(b"in:process", b"two", Duration::from_secs(1000)).expect("room");
    }
    server.restart();
    let mut client = server.client();
    assert_eq!(client.call(&["GET", "in:process"]).expect("a reply"), Value::bulk("two"));
    assert_eq!(client.call(&["GET", "by:server"]).expect("a reply"), Value::bulk("one"));
}
