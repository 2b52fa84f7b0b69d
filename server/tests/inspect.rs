//! `sessile check`, its `--repair` and `sessile stats` on directories that a real server has written: exit codes, and the file that is named.
#![expect(clippy::disallowed_methods, reason = "a real process on a real disk")]

mod support;

use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Server, ServerOptions, Value};

const SESSIONS: u64 = 3000;
/// Deleted after the first checkpoint.
const DELETED: u64 = 100;
/// Written after the last checkpoint.
const TAIL: u64 = 50;

/// What a run of the binary printed, errors included, and its exit code.
fn sessile(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sessile")).args(args).output().expect("runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("has a code"), String::from_utf8_lossy(&text).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("is text")
}

fn value(number: u64) -> String {
    format!(r#"{{"user":{number},"roles":["reader","writer"],"path":"/","note":"{}"}}"#, "n".repeat(100))
}

/// A server that was killed behind two checkpoints, with some log since.
fn killed_server() -> Server {
    let mut server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    let set = |client: &mut support::Client, number: u64| {
        let (key, value) = (format!("sess:{number:032}"), value(number));
        assert_eq!(client.call(&["SET", &key, &value, "EX", "86400"]).expect("answers"), Value::ok());
    };
    (0..SESSIONS).for_each(|number| set(&mut client, number));
    assert_eq!(client.command("SAVE"), Value::ok());
    for number in 0..DELETED {
        assert_eq!(client.command(&format!("DEL sess:{number:032}")), Value::Integer(1));
    }
    assert_eq!(client.command("SAVE"), Value::ok());
    (SESSIONS..SESSIONS + TAIL).for_each(|number| set(&mut client, number));
    server.kill();
    server
}

/// The first file of that kind.
fn file_of(directory: &Path, prefix: &str) -> PathBuf {
    let mut names: Vec<PathBuf> = fs::read_dir(directory)
        .expect("lists")
        .map(|entry| entry.expect("is there").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .collect();
    names.sort_unstable();
    names.first().unwrap_or_else(|| panic!("no {prefix} in {}", directory.display())).clone()
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).expect("reads");
    bytes[offset] ^= 0x10;
    fs::write(path, bytes).expect("writes");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("is there");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}

#[test]
fn a_directory_that_a_killed_server_left_is_sound_and_told_of() {
    let mut server = killed_server();
    let directory = server.directory();
    let (code, said) = sessile(&["check", text(&directory)]);
    assert_eq!(code, 0, "{said}");
    for expected in
        ["MANIFEST", "seg-", "index-", "wal-", "Sound: ", "2,900 keys in the index, 50 records in the log"]
    {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
    let (code, said) = sessile(&["stats", text(&directory)]);
    assert_eq!(code, 0, "{said}");
    for expected in ["checkpoint 2", "2,900 keys", "within a day", "snapshot", "Log: "] {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
    // Neither has changed anything.
    server.restart();
    let keys = i64::try_from(SESSIONS - DELETED + TAIL).expect("is small");
    assert_eq!(server.client().command("DBSIZE"), Value::Integer(keys));
}

#[test]
fn a_directory_in_use_is_refused() {
    let server = Server::start(ServerOptions::new("everysec"));
    for command in ["check", "stats"] {
        let (code, said) = sessile(&[command, text(&server.directory())]);
        assert_eq!(code, 1);
        assert!(
            said.contains(&format!("is in use: process {} holds the lock", server.process_id())),
            "{said}"
        );
    }
}

#[test]
fn damage_in_each_kind_of_file_is_named_with_exit_code_1() {
    let server = killed_server();
    for (prefix, offset) in [("MANIFEST", 70), ("seg-", 5000), ("index-", 500), ("wal-", 100)] {
        let directory = server.scratch(&format!("damaged-{prefix}"));
        copy(&server.directory(), &directory);
        let path = file_of(&directory, prefix);
        flip(&path, offset);
        let (code, said) = sessile(&["check", text(&directory)]);
        assert_eq!(code, 1, "{said}");
        let name = path.file_name().expect("is a file").to_string_lossy().into_owned();
        let line = said.lines().find(|line| line.contains("DAMAGED") && line.contains(&name));
        assert!(line.is_some(), "{prefix}: {said}");
        assert!(said.contains(&format!("{name}: at offset ")), "{prefix}: {said}");
        assert!(said.contains("--repair NEW_DIR"), "{prefix}: {said}");
    }
}

#[test]
fn a_repair_saves_all_but_what_is_damaged_and_a_server_starts_from_it() {
    let mut server = killed_server();
    let (damaged, repaired) = (server.scratch("damaged"), server.scratch("repaired"));
    copy(&server.directory(), &damaged);
    let segment = file_of(&damaged, "seg-");
    let bytes = fs::metadata(&segment).expect("is there").len() as usize;
    (1..=20).for_each(|part| flip(&segment, part * bytes / 21));
    let (code, said) = sessile(&["check", text(&damaged), "--repair", text(&repaired)]);
    assert_eq!(code, 1, "{said}");
    let lost = said.lines().filter(|line| line.starts_with("lost: ") && line.contains("seg-")).count();
    // Some may have been of sessions deleted since.
    assert!((10..=20).contains(&lost) && said.contains(&format!("LOST: {lost} keys ")), "{said}");
    let (code, said) = sessile(&["check", text(&repaired)]);
    assert_eq!(code, 0, "{said}");
    // Not over what is there.
    let (code, said) = sessile(&["check", text(&damaged), "--repair", text(&repaired)]);
    assert!(code == 1 && said.contains("there are files in it"), "{said}");

    let directory = server.directory();
    fs::remove_dir_all(&directory).expect("removes");
    fs::rename(&repaired, &directory).expect("moves");
    server.restart();
    let mut client = server.client();
    let keys = i64::try_from(SESSIONS - DELETED + TAIL - lost as u64).expect("is small");
    assert_eq!(client.command("DBSIZE"), Value::Integer(keys));
    let mut missing = 0;
    for number in DELETED..SESSIONS + TAIL {
        match client.command(&format!("GET sess:{number:032}")) {
            Value::Null => missing += 1,
            found => assert_eq!(found, Value::bulk(value(number)), "{number}"),
        }
    }
    assert_eq!(missing, lost);
    assert!(server.stop(Signal::TERM).success());
}

#[test]
fn a_repair_of_a_sound_directory_loses_nothing() {
    let server = killed_server();
    let repaired = server.scratch("repaired");
    let (code, said) = sessile(&["check", text(&server.directory()), "--repair", text(&repaired)]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("Saved 2,900 keys and 50 operations of the log") && said.contains("Nothing was lost"),
        "{said}"
    );
}

/// A session whose record is damaged answers an error; it can be deleted, and a login may replace it.
#[test]
fn a_damaged_session_answers_an_error_until_it_is_deleted_or_replaced() {
    let mut server = killed_server();
    let segment = file_of(&server.directory(), "seg-");
    let bytes = usize::try_from(fs::metadata(&segment).expect("is there").len()).expect("is small");
    (1..=20).for_each(|part| flip(&segment, part * bytes / 21));
    server.restart();
    let mut client = server.client();
    let key = |number: u64| format!("sess:{number:032}");
    let is_damaged = |value: &Value| matches!(value, Value::Error(text) if text.contains("damaged"));
    let mut damaged: Vec<u64> = (DELETED..SESSIONS + TAIL)
        .filter(|&number| is_damaged(&client.command(&format!("GET {}", key(number)))))
        .collect();
    assert!((10..=20).contains(&damaged.len()), "{damaged:?}");
    let keys = SESSIONS - DELETED + TAIL;
    let dbsize = |client: &mut support::Client| client.command("DBSIZE");
    assert_eq!(dbsize(&mut client), Value::Integer(keys.cast_signed()));
    for command in ["GETDEL", "TTL", "STRLEN", "EXISTS"] {
        assert!(is_damaged(&client.command(&format!("{command} {}", key(damaged[0])))), "{command}");
    }
    assert!(is_damaged(&client.command(&format!("SET {} x KEEPTTL", key(damaged[0])))));
    let [one, two, three, four] = std::array::from_fn(|_| damaged.pop().expect("there are ten"));
    assert_eq!(client.command(&format!("DEL {} {} nothing", key(one), key(two))), Value::Integer(2));
    assert_eq!(client.command(&format!("SETEX {} 100 again", key(three))), Value::ok());
    assert_eq!(client.command(&format!("SET {} again", key(four))), Value::ok());
    for _ in 0..2 {
        assert_eq!(client.command(&format!("EXISTS {} {}", key(one), key(two))), Value::Integer(0));
        assert_eq!(client.command(&format!("GET {}", key(three))).text(), "again");
        assert_eq!(client.command(&format!("GET {}", key(four))).text(), "again");
        assert_eq!(dbsize(&mut client), Value::Integer((keys - 2).cast_signed()));
        server.kill();
        server.restart();
        client = server.client();
    }
}
