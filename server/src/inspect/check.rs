//! `sessile check DIR`: one line for each file as it is checked, then what it comes to.

use super::Verdict;
use super::text::{bytes, count, counted};
use sessile::Fs;
use sessile::check::{CheckReport, FileFinding, FileKind};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Why there was no check, or no telling of it.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] sessile::Error),
    /// Where the findings are written.
    #[error("cannot write what was found: {0}")]
    Output(#[from] io::Error),
}

/// Checks a directory and writes what is found to `out`.
///
/// # Errors
///
/// If there is nothing to check, or it is in use, or `out` fails.
pub fn check(fs: Arc<dyn Fs>, dir: &Path, out: &mut dyn Write) -> Result<Verdict, InspectError> {
    writeln!(out, "checking {}", dir.display())?;
    let mut written = Ok(());
    let report = sessile::check::check(fs, dir, &mut |finding| {
        if written.is_ok() {
            written = tell_file(out, finding);
        }
    })?;
    written?;
    writeln!(out)?;
    tell_report(out, dir, &report)?;
    Ok(if report.is_sound() { Verdict::Sound } else { Verdict::Damaged })
}

/// What a file's items are called.
fn noun(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Segment | FileKind::Log => "records",
        FileKind::Index => "entries",
        _ => "",
    }
}

fn tell_file(out: &mut dyn Write, finding: &FileFinding) -> io::Result<()> {
    let name = finding.path.file_name().unwrap_or_default().to_string_lossy();
    let done = match finding.bytes_total {
        0 => 100,
        total => finding.bytes_done.min(total) as u128 * 100 / u128::from(total),
    };
    let items = match noun(finding.kind) {
        "" => String::new(),
        noun => format!("{} {noun}", count(finding.items)),
    };
    let verdict = match finding.kind {
        _ if !finding.is_sound() => "DAMAGED",
        FileKind::Leftover => "unused",
        FileKind::Foreign => "not looked at",
        _ => "sound",
    };
    writeln!(
        out,
        "{done:>3} %  {:<10}  {name:<26}  {:>10}  {items:>20}  {verdict}",
        finding.kind,
        bytes(finding.bytes)
    )?;
    for damage in &finding.damage {
        writeln!(out, "       {name}: at offset {}: {}", damage.offset, damage.reason)?;
    }
    let untold = finding.damage_count - finding.damage.len() as u64;
    if untold > 0 {
        writeln!(out, "       {name}: and {}", counted(untold, "more damaged place"))?;
    }
    out.flush()
}

fn tell_report(out: &mut dyn Write, dir: &Path, report: &CheckReport) -> io::Result<()> {
    let size = bytes(report.bytes);
    let files = counted(report.files, "file");
    let keys = counted(report.keys, "key");
    let log = counted(report.log_records, "record");
    if report.torn_bytes > 0 {
        writeln!(
            out,
            "The log ends with an unfinished write ({}), which the next start cuts off: it was never acknowledged as durable.",
            bytes(report.torn_bytes)
        )?;
    }
    if report.is_sound() {
        return writeln!(out, "Sound: {files}, {size}; {keys} in the index, {log} in the log since.");
    }
    writeln!(
        out,
        "DAMAGED: {} of {files}, in {}; {} of {keys} in the index can't be read.",
        count(report.damaged_files),
        counted(report.damage_count, "place"),
        count(report.keys_lost)
    )?;
    writeln!(
        out,
        "`sessile check {} --repair NEW_DIR` saves what can be saved into a new directory, and lists what can't.",
        dir.display()
    )
}
