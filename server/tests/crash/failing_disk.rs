//! A disk that fails or stalls under the real binary. A failed sync closes the log: no write is acknowledged any more, reads go
//! on, and a restart has all that was acknowledged. A disk that is full refuses writes until it is not. A sync that takes three
//! seconds stops no reader, and in `everysec` no writer.

use std::time::{Duration, Instant};

use crate::ledger::{self, Longest, Pressure, compare_all, ledgers, under_load};
use crate::report::Row;
use crate::strace::{self, Injection};
use crate::support::{Server, ServerOptions, Value, encode, random};
use crate::{PATIENCE, rounds};

const WRITERS: u64 = 4;
const VALUE_BYTES: u64 = 300;
/// Log written before the disk is slowed.
const GROWN_BYTES: usize = 40_000_000;
/// How long an injected sync takes.
const SLOW_SYNC: Duration = Duration::from_secs(3);
/// The same for strace, in µs.
const SLOW_SYNCS: [&str; 2] = ["fdatasync:delay_enter=3000000", "fsync:delay_enter=3000000"];

/// In `always` the log is written by `pwritev2`, durably; in the other modes by `pwrite64`, and synced by `fdatasync`.
const SYNC_FAILS: [&str; 3] = ["fdatasync:error=EIO", "fsync:error=EIO", "pwritev2:error=EIO"];
const WRITE_FAILS: [&str; 2] = ["pwrite64:error=EIO", "pwritev2:error=EIO"];
const NO_SPACE: [&str; 3] = ["pwrite64:error=ENOSPC", "pwritev2:error=ENOSPC", "fallocate:error=ENOSPC"];

fn waited(row: &mut Row, shown: &ledger::Shown, longest: Longest) -> Result<(), String> {
    row.reader_waited(longest.read);
    shown.verdict()?;
    if shown.reads == 0 {
        return Err("nothing was read".to_owned());
    }
    longest.verdict()
}

/// Rounds of: load, the fault, the documented error, reads; then `kill -9`, a restart, and everything that was promised.
fn fails_for_good(case: &'static str, appendfsync: &str, injections: &[&str]) {
    let seed = random::seed(case);
    let mut row = Row::begin(case);
    if let Some(why) = strace::impossible(case) {
        return row.skip(why);
    }
    let mut server = Server::start(ServerOptions::new(appendfsync));
    ledger::prepare(&mut server.client());
    let mut ledgers = ledgers(WRITERS, seed, VALUE_BYTES);
    for _ in 0..rounds() {
        let (injected, shown) = under_load(server.port(), &mut ledgers, &["IOERR"], |pressure| {
            if !Pressure::grows(&pressure.acknowledged, 100, PATIENCE) {
                return Err("nothing was acknowledged on a sound disk".to_owned());
            }
            pressure.slow_down();
            let _injection = Injection::into(&server, injections);
            if !pressure.refuses_all(WRITERS, PATIENCE) {
                return Err("not every writer was refused on a failing disk".to_owned());
            }
            let before = pressure.acknowledged.load(std::sync::atomic::Ordering::Relaxed);
            // Writes must not be taken up again, whatever the disk says later.
            if Pressure::grows(&pressure.acknowledged, 1, Duration::from_millis(300)) {
                return Err(format!("a write was acknowledged by a log that had failed, after {before}"));
            }
            Ok(())
        });
        let outcome = waited(&mut row, &shown, shown.longest).and(injected);
        row.round(outcome);
        let failed = server.client().command("INFO sessile").text().contains("log_failed:1");
        server.kill();
        server.restart();
        let mut outcome = compare_all(&mut ledgers, &mut server.client());
        if !failed {
            outcome = outcome.and(Err("INFO says nothing of the failed log".to_owned()));
        }
        row.round(outcome);
    }
    row.finish();
}

#[test]
fn a_failed_sync_in_always() {
    fails_for_good("EIO from fsync, always", "always", &SYNC_FAILS);
}

#[test]
fn a_failed_sync_in_everysec() {
    fails_for_good("EIO from fsync, everysec", "everysec", &SYNC_FAILS);
}

#[test]
fn a_failed_write() {
    fails_for_good("EIO from write, no", "no", &WRITE_FAILS);
}

/// A turn of an event loop was under way when another loop's sync closed the log: its replies were parked after everybody had been
/// told of the failure, nobody told them again, and their client waited for ever.
#[test]
fn a_reply_parked_as_the_log_fails_becomes_an_error() {
    const CASE: &str = "a turn under way as the log fails";
    /// Enough for a turn that is still under way when the other connection's sync has failed.
    const COMMANDS: usize = 30_000;
    let mut row = Row::begin(CASE);
    if let Some(why) = strace::impossible(CASE) {
        return row.skip(why);
    }
    for _ in 0..rounds() {
        let server = Server::start(ServerOptions::new("always"));
        let (mut long, mut short) = (server.client(), server.client());
        // On loops of their own: they know each other's work by the log only.
        long.command("PING");
        short.command("PING");
        let mut bytes = Vec::new();
        encode(&mut bytes, &["MULTI"]);
        (0..COMMANDS).for_each(|number| encode(&mut bytes, &["SET", &format!("key:{number}"), "value"]));
        long.send(&bytes).expect("the server takes them");
        for _ in 0..=COMMANDS {
            long.receive().expect("OK and QUEUED");
        }
        let _injection = Injection::into(&server, &SYNC_FAILS);
        bytes.clear();
        encode(&mut bytes, &["EXEC"]);
        long.send(&bytes).expect("the server takes it");
        bytes.clear();
        encode(&mut bytes, &["SET", "short", "value"]);
        short.send(&bytes).expect("the server takes it");
        let mut outcome = Ok(());
        for (name, client) in [("short", &mut short), ("long", &mut long)] {
            client.stream().set_read_timeout(Some(PATIENCE)).expect("a timeout");
            match client.receive() {
                // What had not begun when the log failed is refused as a whole.
                Ok(reply) if reply.is_error("IOERR") || reply.is_error("EXECABORT") => {}
                other => outcome = outcome.and(Err(format!("{name}: {other:?}"))),
            }
        }
        row.round(outcome);
    }
    row.finish();
}

/// Values that are on disk only cannot be read for a while: an error for those who ask for them, never another value; what is in memory
/// is served and writes go on, and all is as before once the disk is well.
#[test]
fn failed_reads() {
    const CASE: &str = "EIO from reads of values on disk";
    const KEYS: u64 = 3000;
    let mut row = Row::begin(CASE);
    if let Some(why) = strace::impossible(CASE) {
        return row.skip(why);
    }
    let value = |number: u64| format!("{number}:").repeat(200);
    let server = Server::start(ServerOptions::new("everysec").with("maxmemory", "1mb"));
    let mut client = server.client();
    for number in 0..KEYS {
        assert_eq!(
            client.call(&["SET", &format!("cold:{number}"), &value(number)]).expect("a reply"),
            Value::ok()
        );
    }
    let mut ledgers = ledgers(1, random::seed(CASE), VALUE_BYTES);
    for _ in 0..rounds() {
        assert_eq!(client.command("SAVE"), Value::ok());
        let cold = |client: &mut crate::support::Client| {
            let info = client.command("INFO storage").text();
            let line =
                info.lines().find(|line| line.starts_with("values_cold:")).unwrap_or_default().to_owned();
            line.trim_start_matches("values_cold:").trim().parse().unwrap_or(0)
        };
        let evicted = ledger::wait_until(PATIENCE, || cold(&mut client) > KEYS / 2);
        ledger::prepare(&mut client);
        // What a writer wants to change may itself be on disk only.
        let (directed, shown) = under_load(server.port(), &mut ledgers, &["ERR cannot read"], |pressure| {
            if !evicted {
                return Err(format!("only {} of {KEYS} values left memory", cold(&mut client)));
            }
            pressure.slow_down();
            let injection = Injection::into(&server, &["pread64:error=EIO", "preadv2:error=EIO"]);
            let mut failed = 0;
            for number in (0..KEYS).step_by(7) {
                match client.call(&["GET", &format!("cold:{number}")]) {
                    Ok(found) if found == Value::bulk(value(number)) => {}
                    Ok(error) if error.is_error("ERR cannot read") => failed += 1,
                    other => return Err(format!("GET cold:{number}: {other:?}")),
                }
            }
            if !Pressure::grows(&pressure.acknowledged, 50, PATIENCE) {
                return Err("writes do not go on".to_owned());
            }
            injection.end();
            if failed == 0 {
                return Err("no read failed".to_owned());
            }
            Ok(())
        });
        let mut outcome = waited(&mut row, &shown, shown.longest).and(directed);
        for number in (0..KEYS).step_by(7) {
            let found = client.call(&["GET", &format!("cold:{number}")]).expect("a reply");
            if found != Value::bulk(value(number)) {
                outcome = outcome.and(Err(format!("GET cold:{number} on a sound disk: {found:?}")));
            }
        }
        row.round(outcome);
    }
    row.finish();
}

/// Injected, so that it needs no right to mount: every write says that there is no space, then none does any more.
fn has_no_space_for_a_while(case: &'static str, appendfsync: &str) {
    let seed = random::seed(case);
    let mut row = Row::begin(case);
    if let Some(why) = strace::impossible(case) {
        return row.skip(why);
    }
    let mut server = Server::start(ServerOptions::new(appendfsync));
    ledger::prepare(&mut server.client());
    let mut ledgers = ledgers(WRITERS, seed, VALUE_BYTES);
    for _ in 0..rounds() {
        let (directed, shown) = under_load(server.port(), &mut ledgers, &["MISCONF"], |pressure| {
            if !Pressure::grows(&pressure.acknowledged, 100, PATIENCE) {
                return Err("nothing was acknowledged before".to_owned());
            }
            pressure.slow_down();
            let injection = Injection::into(&server, &NO_SPACE);
            std::thread::sleep(Duration::from_millis(1500));
            injection.end();
            if !Pressure::grows(&pressure.acknowledged, 100, PATIENCE) {
                return Err("writes did not resume when there was space again".to_owned());
            }
            Ok(())
        });
        let mut outcome = waited(&mut row, &shown, shown.longest).and(directed);
        outcome = outcome.and_then(|()| compare_all(&mut ledgers, &mut server.client()));
        row.round(outcome);
        server.kill();
        server.restart();
        row.round(compare_all(&mut ledgers, &mut server.client()));
    }
    row.finish();
}

#[test]
fn no_space_for_a_while_in_always() {
    has_no_space_for_a_while("ENOSPC from write, always", "always");
}

#[test]
fn no_space_for_a_while_in_everysec() {
    has_no_space_for_a_while("ENOSPC from write, everysec", "everysec");
}

/// Writes until the log's files are large, as they are in a server that has been writing for a minute. What is written while the disk
/// stalls goes to the file that is ready, and a new log begins with small ones (1 MiB, then twice as much each time).
fn grow_the_log(server: &mut Server) {
    let mut client = server.client();
    let value = "x".repeat(10_000);
    for _ in 0..GROWN_BYTES / 1_000_000 {
        let mut bytes = Vec::new();
        (0..100).for_each(|number| encode(&mut bytes, &["SET", &format!("filler:{number}"), &value]));
        client.send(&bytes).expect("the server takes them");
        for _ in 0..100 {
            assert_eq!(client.receive().expect("a reply"), Value::ok());
        }
    }
    // The file after the one in use is made in the background.
    let mut files = String::new();
    let settled = ledger::wait_until(PATIENCE, || {
        std::thread::sleep(Duration::from_millis(200));
        let info = client.command("INFO sessile").text();
        let now =
            info.lines().find(|line| line.starts_with("log_file_bytes:")).unwrap_or_default().to_owned();
        std::mem::replace(&mut files, now) == files
    });
    assert!(settled, "the log goes on making files: {files}");
}

fn syncs_slowly(case: &'static str, options: ServerOptions, writers_wait: bool) {
    let seed = random::seed(case);
    let mut row = Row::begin(case);
    if let Some(why) = strace::impossible(case) {
        return row.skip(why);
    }
    let mut server = Server::start(options);
    let mut ledgers = ledgers(WRITERS, seed, VALUE_BYTES);
    let mut longest = Longest::default();
    for _ in 0..rounds() {
        ledger::prepare(&mut server.client());
        grow_the_log(&mut server);
        let (directed, shown) = under_load(server.port(), &mut ledgers, &[], |pressure| {
            if !Pressure::grows(&pressure.acknowledged, 100, PATIENCE) {
                return Err("nothing was acknowledged before".to_owned());
            }
            pressure.slow_down();
            let injection = Injection::into(&server, &SLOW_SYNCS);
            pressure.take_longest();
            // A checkpoint syncs much, and under way nobody may wait for that either.
            server.client().command("BGSAVE");
            std::thread::sleep(SLOW_SYNC * 2 + Duration::from_millis(500));
            // Before strace lets go: doing so, it stops all threads until the one that it delays is done.
            longest = longest.max(pressure.take_longest());
            injection.end();
            Ok(())
        });
        let mut outcome = waited(&mut row, &shown, longest).and(directed);
        if !writers_wait && longest.write > longest.allowed() {
            outcome = outcome.and(Err(format!("a writer waited {:?}", longest.write)));
        }
        row.round(outcome);
        server.kill();
        server.restart();
        row.round(compare_all(&mut ledgers, &mut server.client()));
    }
    row.note(format!("writers waited {:.1} ms at most", longest.write.as_secs_f64() * 1e3));
    row.finish();
}

#[test]
fn a_slow_sync_in_everysec() {
    syncs_slowly("a sync of 3 s, everysec", ServerOptions::new("everysec"), false);
}

#[test]
fn a_slow_sync_in_always() {
    syncs_slowly("a sync of 3 s, always", ServerOptions::new("always"), true);
}

/// A logout is not said to be done before a sync that began after it is over; all else of sessions is.
#[test]
fn a_logout_waits_for_a_slow_sync_in_everysec() {
    let case = "a logout during syncs of 3 s, everysec";
    let mut row = Row::begin(case);
    if let Some(why) = strace::impossible(case) {
        return row.skip(why);
    }
    let server = Server::start(ServerOptions::new("everysec"));
    let mut client = server.client();
    let mut tokens: Vec<String> =
        (0..6).map(|_| client.command("SESSION.CREATE aal2 USER alice").items()[1].text()).collect();
    let mut next = || tokens.pop().expect("one more");
    let injection = Injection::into(&server, &SLOW_SYNCS);
    let mut took = |words: &[String]| {
        let began = Instant::now();
        for words in words {
            let reply = client.command(words);
            assert!(!matches!(reply, Value::Error(_)), "{words}: {reply:?}");
        }
        began.elapsed()
    };
    // The log is being synced for another's write when it comes, which is not enough.
    let quick = took(&[
        "SET key value".into(),
        format!("SESSION.END {} LAZY", next()),
        "SESSION.CREATE aal2 USER bob".into(),
        format!("SESSION.GET {}", next()),
    ]);
    std::thread::sleep(Duration::from_millis(1200));
    let ended = took(&[format!("SESSION.END {}", next())]);
    let within =
        took(&["MULTI".into(), "SET key other".into(), format!("SESSION.END {}", next()), "EXEC".into()]);
    let revoked = took(&["SESSION.REVOKE USER alice".into()]);
    injection.end();
    row.note(format!(
        "END {ended:.1?}, in MULTI {within:.1?}, REVOKE {revoked:.1?}; what is not durable {quick:.1?}"
    ));
    let slow = [ended, within, revoked].iter().all(|took| *took >= SLOW_SYNC - Duration::from_millis(200));
    row.round(if slow { Ok(()) } else { Err("a logout was answered before it was durable".into()) });
    row.round(if quick < SLOW_SYNC {
        Ok(())
    } else {
        Err("what need not be durable waited for a sync".into())
    });
    row.finish();
}
