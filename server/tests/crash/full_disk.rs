//! A file system that is really full. Writes are refused in the documented words, reads go on, and writes go on by themselves when
//! there is space again, with no restart; a restart on the full disk serves what was acknowledged.

use std::time::{Duration, Instant};

use crate::ledger::{self, Pressure, compare_all, ledgers, under_load};
use crate::mount::{self, Mount};
use crate::report::Row;
use crate::support::{Server, ServerOptions, Value, random};
use crate::{PATIENCE, rounds};

const DISK_MIB: u64 = 192;
/// What the ballast leaves: less than the reserve that checkpoints are kept.
const LEFT_BYTES: u64 = 2 << 20;
/// Documented is a second; ten times that is a defect on any machine.
const RESUMED_WITHIN: Duration = Duration::from_secs(10);

fn fills_up(case: &'static str, appendfsync: &str, make: impl Fn(&std::path::Path) -> Result<Mount, String>) {
    let seed = random::seed(case);
    let mut row = Row::begin(case);
    if let Some(why) = mount::impossible() {
        return row.skip(why);
    }
    let mut resumed_after = Duration::ZERO;
    for round in 0..rounds() {
        // A disk of its own: what is written fills it.
        let home = tempfile::tempdir().expect("a temporary directory");
        let disk = match make(home.path()) {
            Ok(disk) => disk,
            Err(why) => return row.skip(why),
        };
        let mut server = Server::start_in(ServerOptions::new(appendfsync), &disk.path().join("data"));
        ledger::prepare(&mut server.client());
        let mut ledgers = ledgers(4, seed + round, 2000);
        let (directed, shown) = under_load(server.port(), &mut ledgers, &["MISCONF"], |pressure| {
            if !Pressure::grows(&pressure.acknowledged, 100, PATIENCE) {
                return Err("nothing was acknowledged before".to_owned());
            }
            disk.fill_but(LEFT_BYTES);
            if !Pressure::grows(&pressure.refused, 50, PATIENCE) {
                return Err("no write was refused on a full disk".to_owned());
            }
            if !server.client().command("INFO sessile").text().contains("disk_full:1") {
                return Err("INFO does not say disk_full:1".to_owned());
            }
            std::thread::sleep(Duration::from_millis(500));
            disk.make_room();
            let freed = Instant::now();
            let before = pressure.refused.load(std::sync::atomic::Ordering::Relaxed);
            if !Pressure::grows(&pressure.acknowledged, 200, RESUMED_WITHIN) {
                return Err(format!(
                    "writes did not resume within {RESUMED_WITHIN:?} of space, {before} were refused"
                ));
            }
            resumed_after = resumed_after.max(freed.elapsed());
            Ok(())
        });
        row.reader_waited(shown.longest.read);
        let outcome = shown.verdict().and(shown.longest.verdict()).and(directed);
        row.round(outcome.and_then(|()| compare_all(&mut ledgers, &mut server.client())));
        // Killed and started while there is no space at all.
        disk.fill_but(0);
        server.kill();
        server.restart();
        let compared = compare_all(&mut ledgers, &mut server.client());
        disk.make_room();
        let resumed = ledger::wait_until(RESUMED_WITHIN, || {
            server.client().command("SET after-the-restart value") == Value::ok()
        });
        row.round(compared.and_then(|()| {
            resumed
                .then_some(())
                .ok_or_else(|| "writes did not resume after a start on a full disk".to_owned())
        }));
    }
    row.note(format!("writes resumed after {:.0} ms at most", resumed_after.as_secs_f64() * 1e3));
    row.finish();
}

/// What a login needs may be refused; who is logged in is not logged out, and a logout is done.
fn sessions_live_and_end(row: &mut Row, disk: &Mount, appendfsync: &str) -> Result<(), String> {
    let options = ServerOptions::new(appendfsync);
    let mut server = Server::start_in(options, &disk.path().join("data"));
    let mut client = server.client();
    let mut tokens = Vec::new();
    for _ in 0..50 {
        let made = client.command("SESSION.CREATE aal2 USER alice FIELDS 1 a 1");
        tokens.push(made.items()[1].text());
    }
    disk.fill_but(LEFT_BYTES);
    let value = "x".repeat(60_000);
    let began = Instant::now();
    let (mut key, mut refused) = (0, 0);
    // What a checkpoint gives back is taken, too, until even the smallest write is refused again and again.
    while refused < 100 {
        let size = if refused > 0 { 1 } else { value.len() };
        if client.command(&format!("SET key:{key} {}", &value[..size])).is_error("MISCONF") {
            refused += 1;
        } else {
            (key, refused) = (key + 1, 0);
        }
        if refused == 1 {
            disk.fill_but(0);
        }
        if began.elapsed() > PATIENCE {
            return Err("not every write was refused on a full disk".to_owned());
        }
    }
    let mut check = |words: &str, is_right: &dyn Fn(&Value) -> bool| {
        let reply = client.command(words);
        if is_right(&reply) { Ok(()) } else { Err(format!("{words} on a full disk: {reply:?}")) }
    };
    let is_map = |reply: &Value| matches!(reply, Value::Array(items) if items.len() == 20);
    for token in &tokens {
        check(&format!("SESSION.GET {token}"), &is_map)?;
        check(&format!("SESSION.GET {token} NOTOUCH FIELDS 1 a"), &is_map)?;
        check(&format!("SESSION.TOUCH {token}"), &|reply| *reply == Value::Integer(1))?;
    }
    check("SESSION.LIST USER alice", &|reply| reply.items()[3].items().len() == 50)?;
    check("SESSION.COUNT", &|reply| *reply == Value::Integer(50))?;
    check("SESSION.POLICY GET aal2", &|reply| reply.items().len() == 10)?;
    check("SESSION.EVENTS", &|reply| reply.items()[3].items().len() == 50)?;
    check("SESSION.CREATE aal2", &|reply| reply.is_error("MISCONF"))?;
    check(&format!("SESSION.SET {} FIELDS 1 a 2", tokens[0]), &|reply| reply.is_error("MISCONF"))?;
    check("SESSION.GET AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &|reply| *reply == Value::Null)?;
    for token in &tokens[..20] {
        check(&format!("SESSION.END {token}"), &|reply| *reply == Value::Integer(1))?;
        check(&format!("SESSION.GET {token}"), &|reply| *reply == Value::Null)?;
    }
    check("SESSION.REVOKE USER alice", &|reply| *reply == Value::Integer(30))?;
    server.kill();
    server.restart();
    let mut client = server.client();
    let alive = client.command(&format!("SESSION.TOUCH {}", tokens.join(" ")));
    disk.make_room();
    row.note(format!("{key} writes before the first that was refused"));
    if alive == Value::Integer(0) { Ok(()) } else { Err(format!("{alive:?} were logged out and came back")) }
}

fn sessions(case: &'static str, appendfsync: &str) {
    let mut row = Row::begin(case);
    if let Some(why) = mount::impossible() {
        return row.skip(why);
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    match Mount::tmpfs(home.path(), DISK_MIB) {
        Ok(disk) => {
            let outcome = sessions_live_and_end(&mut row, &disk, appendfsync);
            row.round(outcome);
            row.finish();
        }
        Err(why) => row.skip(why),
    }
}

#[test]
fn sessions_in_everysec() {
    sessions("sessions on a full file system, everysec", "everysec");
}

#[test]
fn sessions_in_always() {
    sessions("sessions on a full file system, always", "always");
}

#[test]
fn tmpfs_in_everysec() {
    fills_up("full file system, tmpfs, everysec", "everysec", |home| Mount::tmpfs(home, DISK_MIB));
}

#[test]
fn ext4_in_always() {
    fills_up("full file system, ext4, always", "always", |home| Mount::ext4(home, DISK_MIB));
}
