//! A file system that may not be written to: at the start a clear refusal that changes nothing; under way (a disk whose kernel
//! gave it up, as `errors=remount-ro` does) reads go on, and after the repair everything acknowledged is there.

use crate::ledger::{self, Pressure, compare_all, ledgers, under_load};
use crate::mount::{self, Mount};
use crate::report::Row;
use crate::support::{Server, ServerOptions, random};
use crate::{PATIENCE, rounds};

const DISK_MIB: u64 = 192;

#[test]
fn at_the_start() {
    const CASE: &str = "read-only at the start";
    let mut row = Row::begin(CASE);
    if let Some(why) = mount::impossible() {
        return row.skip(why);
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    let disk = match Mount::tmpfs(home.path(), 64) {
        Ok(disk) => disk,
        Err(why) => return row.skip(why),
    };
    let mut server = Server::start_in(ServerOptions::new("everysec"), &disk.path().join("data"));
    let mut ledgers = ledgers(1, random::seed(CASE), 300);
    ledger::prepare(&mut server.client());
    let ((), shown) = under_load(server.port(), &mut ledgers, &[], |pressure| {
        Pressure::grows(&pressure.acknowledged, 100, PATIENCE);
    });
    server.kill();
    disk.remount("ro").expect("remount");
    let said = server.refused_start();
    disk.remount("rw").expect("remount");
    server.restart();
    let mut outcome = shown.verdict().and_then(|()| compare_all(&mut ledgers, &mut server.client()));
    let clear = said.contains("Read-only file system") && said.contains(&*disk.path().to_string_lossy());
    if !clear {
        outcome = outcome.and(Err(format!("not clear enough: {said}")));
    }
    row.round(outcome);
    row.finish();
}

/// In `always`: what the page cache held, and no sync had written, is gone with the file system.
#[test]
fn under_way() {
    const CASE: &str = "read-only under way, ext4, always";
    let mut row = Row::begin(CASE);
    if let Some(why) = mount::impossible() {
        return row.skip(why);
    }
    let seed = random::seed(CASE);
    for round in 0..rounds() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let disk = match Mount::ext4(home.path(), DISK_MIB) {
            Ok(disk) => disk,
            Err(why) => return row.skip(why),
        };
        let mut server = Server::start_in(ServerOptions::new("always"), &disk.path().join("data"));
        ledger::prepare(&mut server.client());
        let mut ledgers = ledgers(4, seed + round, 300);
        let (directed, shown) = under_load(server.port(), &mut ledgers, &["IOERR"], |pressure| {
            if !Pressure::grows(&pressure.acknowledged, 100, PATIENCE) {
                return Err("nothing was acknowledged before".to_owned());
            }
            disk.remount("abort")?;
            if !Pressure::grows(&pressure.refused, 20, PATIENCE) {
                return Err("no write was refused by a disk that is read-only".to_owned());
            }
            Ok(())
        });
        row.reader_waited(shown.longest.read);
        let outcome = shown.verdict().and(shown.longest.verdict()).and(directed);
        server.kill();
        let outcome = outcome.and_then(|()| disk.mount_again()).and_then(|()| {
            server.restart();
            compare_all(&mut ledgers, &mut server.client())
        });
        row.round(outcome);
        server.kill();
    }
    row.finish();
}
