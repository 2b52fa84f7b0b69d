//! What the data directory occupies per byte that the user stored, once compaction has come to rest.

use std::time::Duration;

use sessile_benches::population::{self, Changes, Dying, USER_BYTES};
use sessile_benches::report::{Aim, Report};

use crate::files::Occupied;
use crate::{Failure, Setting, wait_for_quiet};

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let sessions = setting.sessions(500_000, 5_000_000);
    let user_bytes = (sessions * USER_BYTES) as f64;
    let changes = Changes { commands: sessions / 2, writes_percent: 40 };

    let (server, mut client) = setting.start(&setting.sessile)?;
    population::fill(server.port(), 0..sessions, Dying::After(7200))?;
    let loaded = Occupied::of(server.directory())?;
    client.save()?;
    wait_for_quiet(&mut client, Duration::from_secs(300))?;
    let first = Occupied::of(server.directory())?;
    // A fifth is written anew, so that there is something to compact.
    population::change(server.port(), 0..sessions, changes, 5)?;
    client.save()?;
    wait_for_quiet(&mut client, Duration::from_secs(300))?;
    client.save()?;
    wait_for_quiet(&mut client, Duration::from_secs(300))?;
    let last = Occupied::of(server.directory())?;
    let storage = client.info("storage")?;
    let figure = |name: &str| storage.get(name).copied().unwrap_or(0) as f64;
    let found = population::read_back(server.port(), 0..sessions, 100_000, 5)?.all_right()?;
    drop(server);

    let redis = match &setting.redis {
        None => None,
        Some(program) => {
            let (server, mut client) = setting.start(program)?;
            population::fill(server.port(), 0..sessions, Dying::After(7200))?;
            population::change(server.port(), 0..sessions, changes, 5)?;
            client.command("BGREWRITEAOF")?;
            crate::wait_until(Duration::from_secs(300), || {
                std::thread::sleep(Duration::from_millis(100));
                Ok(client.figure("persistence", "aof_rewrite_in_progress")? == 0)
            })?;
            Some(Occupied::of(server.directory())?.total() as f64 / user_bytes)
        }
    };

    let mut report =
        Report::new(format!("bytes on disk per user byte, {sessions} sessions of {USER_BYTES} B"));
    let per = |bytes: u64| bytes as f64 / user_bytes;
    report.row("after compaction, without the log", "", per(last.without_log()), redis, Aim::AtMost(0.5));
    report.row("  segments", "", per(last.segments), None, Aim::None);
    report.row("  index", "", per(last.index), None, Aim::None);
    report.row("  manifest, dictionaries", "", per(last.other), None, Aim::None);
    report.row("  log and its spare files, beside that", "", per(last.log), None, Aim::None);
    report.row("after the first checkpoint, without the log", "", per(first.without_log()), None, Aim::None);
    report.row("loaded, with the log", "", per(loaded.total()), None, Aim::None);
    let ratio = figure("compressed_from_bytes") / figure("compressed_to_bytes").max(1.0);
    report.row("raw to compressed", ":1", ratio, None, Aim::None);
    report.note(format!(
        "As du counts. A fifth of the sessions was written anew in between. {} segments of which {:.0} % is alive; {} values read back right. Redis: the append-only file just after a rewrite.",
        figure("segments"),
        figure("segment_live_bytes") * 100.0 / figure("segment_bytes").max(1.0),
        found.right
    ));
    Ok(report)
}
