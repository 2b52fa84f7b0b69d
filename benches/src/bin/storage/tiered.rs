//! More sessions than memory: `maxmemory` is a tenth of the data. Everything is served all the same.

use std::time::{Duration, Instant};

use sessile_benches::population::{self, Dying, USER_BYTES};
use sessile_benches::report::{Aim, Report};

use crate::{Failure, Setting, wait_for_quiet};

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let sessions = setting.sessions(1_000_000, 5_000_000);
    let limit = sessions * USER_BYTES / 10;
    let program = setting.sessile.with(&[("maxmemory", &limit.to_string())]);
    let (server, mut client) = setting.start(&program)?;
    let empty = server.resident_bytes()?;
    let begun = Instant::now();
    let mut peak = 0;
    // In portions, so that the most that was held on the way is seen.
    let portion = (sessions / 50).max(1);
    let mut from = 0;
    while from < sessions {
        let to = (from + portion).min(sessions);
        population::fill(server.port(), from..to, Dying::After(7200))?;
        peak = peak.max(server.resident_bytes()?);
        from = to;
    }
    let filled = begun.elapsed();
    client.save()?;
    wait_for_quiet(&mut client, Duration::from_secs(120))?;
    let storage = client.info("storage")?;
    let figure = |name: &str| storage.get(name).copied().unwrap_or(0) as f64;
    let resident = server.resident_bytes()?;
    let asked = client.figure("memory", "used_memory")?;

    let keys = client.number("DBSIZE")?;
    if keys != sessions {
        return Err(format!("WRONG DATA: {keys} keys instead of {sessions}").into());
    }
    let sample = if setting.scale == crate::Scale::Full { sessions } else { sessions.min(300_000) };
    let begun = Instant::now();
    let found = population::read_back(server.port(), 0..sessions, sample, 3)?.all_right()?;
    let read = begun.elapsed();
    let after = server.resident_bytes()?;
    let refused = client.figure("storage", "damaged_reads")?;

    let mut report = Report::new(format!(
        "{sessions} sessions of {USER_BYTES} B with maxmemory {} MiB, a tenth of the data",
        limit >> 20
    ));
    let cold = figure("values_cold").max(1.0);
    let beyond = |bytes: u64| bytes.saturating_sub(empty) as f64;
    report.row("RSS per non-resident session", "B", beyond(resident) / cold, None, Aim::AtMost(48.0));
    report.row("  the same after reading", "B", beyond(after) / cold, None, Aim::None);
    report.row("  asked of the allocator (used_memory)", "B", asked as f64 / cold, None, Aim::None);
    report.row(
        "RSS against maxmemory",
        "%",
        resident as f64 * 100.0 / limit as f64,
        None,
        Aim::AtMost(115.0),
    );
    report.row("  at most while loading", "%", peak as f64 * 100.0 / limit as f64, None, Aim::AtMost(115.0));
    report.row("values not resident", "%", cold * 100.0 / sessions as f64, None, Aim::None);
    report.row("right values", "%", found.right as f64 * 100.0 / sample as f64, None, Aim::AtLeast(100.0));
    report.row("loaded, sessions a second", "", sessions as f64 / filled.as_secs_f64(), None, Aim::None);
    report.row("read, sessions a second", "", sample as f64 / read.as_secs_f64(), None, Aim::None);
    report.note(format!(
        "RSS is the process's beyond that of an empty server ({} MiB), with what is resident: {} of {sessions} values. {sample} drawn at random were read; damaged: {refused}.",
        empty >> 20,
        figure("values_resident")
    ));
    if figure("values_resident") * 20.0 < sessions as f64 && resident > limit {
        report.note("Hardly a value is resident: what is held is the index.");
    }
    Ok(report)
}
