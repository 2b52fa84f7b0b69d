//! RSS per session while all are resident: what the process holds beyond an empty server, shared out among the sessions.

use std::time::Duration;

use sessile_benches::population::{self, Dying, USER_BYTES};
use sessile_benches::report::{Aim, Report};
use sessile_benches::server::Program;

use crate::{Failure, Setting, wait_until};

pub(crate) fn run(setting: &Setting) -> Result<Report, Failure> {
    let sessions = setting.sessions(500_000, 1_000_000);
    let mut report = Report::new(format!(
        "RSS per session, {sessions} sessions of {USER_BYTES} B (key and value), all resident"
    ));
    let redis = setting.redis.as_ref().map(|program| raw(setting, program, sessions)).transpose()?;
    let sessile = raw(setting, &setting.sessile, sessions)?;
    let of_redis = |pick: fn(&Raw) -> f64| redis.as_ref().map(pick);
    report.row("raw", "B", sessile.made, of_redis(|redis| redis.made), Aim::AtMost(420.0));
    report.row(
        "  asked of the allocator (used_memory)",
        "B",
        sessile.asked,
        of_redis(|redis| redis.asked),
        Aim::None,
    );
    report.row("  a checkpoint later", "B", sessile.saved, None, Aim::None);
    let idle = compressed(setting, sessions)?;
    report.row("idle values compressed", "B", idle.bytes, None, Aim::AtMost(250.0));
    report.row("  of the values, compressed", "%", idle.compressed_percent, None, Aim::None);
    report.note(format!("{} values of each were read back and were right.", sessions.min(SAMPLE)));
    Ok(report)
}

const SAMPLE: u64 = 200_000;

/// Bytes per session.
struct Raw {
    /// Once made.
    made: f64,
    /// Of these, asked of the allocator.
    asked: f64,
    /// After a checkpoint.
    saved: f64,
}

fn raw(setting: &Setting, program: &Program, sessions: u64) -> Result<Raw, Failure> {
    let (server, mut client) = setting.start(program)?;
    let empty = server.resident_bytes()?;
    let asked_empty = client.figure("memory", "used_memory")?;
    population::fill(server.port(), 0..sessions, Dying::After(7200))?;
    population::read_back(server.port(), 0..sessions, SAMPLE, 1)?.all_right()?;
    std::thread::sleep(Duration::from_secs(2));
    let each = |now: u64, empty: u64| now.saturating_sub(empty) as f64 / sessions as f64;
    let made = each(server.resident_bytes()?, empty);
    let asked = each(client.figure("memory", "used_memory")?, asked_empty);
    if matches!(program, Program::Sessile(..)) {
        client.save()?;
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(Raw { made, asked, saved: each(server.resident_bytes()?, empty) })
}

struct Compressed {
    bytes: f64,
    compressed_percent: f64,
}

/// Bytes per session once the values have been idle for long enough.
fn compressed(setting: &Setting, sessions: u64) -> Result<Compressed, Failure> {
    let program = setting.sessile.with(&[("idle-compression", "yes")]);
    let (server, mut client) = setting.start(&program)?;
    let empty = server.resident_bytes()?;
    population::fill(server.port(), 0..sessions, Dying::After(7200))?;
    // It trains the dictionary.
    client.save()?;
    let mut last = (0, std::time::Instant::now());
    wait_until(Duration::from_secs(180), || {
        let compressed = client.figure("storage", "values_compressed")?;
        if compressed > last.0 {
            last = (compressed, std::time::Instant::now());
        }
        // All, or nothing more comes.
        Ok(compressed >= sessions / 100 * 99 || last.1.elapsed() > Duration::from_secs(40))
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let compressed = client.figure("storage", "values_compressed")?;
    let bytes = server.resident_bytes()?.saturating_sub(empty) as f64 / sessions as f64;
    population::read_back(server.port(), 0..sessions, SAMPLE, 2)?.all_right()?;
    Ok(Compressed { bytes, compressed_percent: compressed as f64 * 100.0 / sessions as f64 })
}
