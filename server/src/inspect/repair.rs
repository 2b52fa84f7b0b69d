//! `sessile check DIR --repair NEW_DIR`: what could not be saved, line by line, then what was; and a check of what came of it.

use super::Verdict;
use super::check::InspectError;
use super::text::{count, counted};
use sessile::check::{RepairReport, check, repair as save};
use sessile::{Clock, Fs};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Saves what can be saved of a directory into another one, and writes what can't be to `out`.
///
/// # Errors
///
/// If there is nothing to repair, or it is in use, or the new directory can't be written or is not empty, or `out` fails.
pub fn repair(
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    dir: &Path,
    into: &Path,
    out: &mut dyn Write,
) -> Result<Verdict, InspectError> {
    writeln!(out, "saving what can be read of {} into {}", dir.display(), into.display())?;
    let mut written = Ok(());
    let report = save(Arc::clone(&fs), clock, dir, into, &mut |loss| {
        if written.is_ok() {
            written = writeln!(out, "lost: {} at offset {}: {}", loss.path.display(), loss.offset, loss.what);
        }
    })?;
    written?;
    writeln!(out, "\nchecking what was saved")?;
    let checked = check(fs, into, &mut |_| {})?;
    tell(out, into, &report)?;
    if !checked.is_sound() {
        writeln!(
            out,
            "BUT what was written can't be read back: the disk of {} is damaged too.",
            into.display()
        )?;
        return Ok(Verdict::Damaged);
    }
    Ok(if report.is_complete() { Verdict::Sound } else { Verdict::Damaged })
}

fn tell(out: &mut dyn Write, into: &Path, report: &RepairReport) -> io::Result<()> {
    writeln!(
        out,
        "Saved {} and {} of the log; left out {} past their deadline.",
        counted(report.keys_saved, "key"),
        counted(report.operations_saved, "operation"),
        count(report.keys_expired)
    )?;
    if report.is_complete() {
        return writeln!(out, "Nothing was lost. Start from {}.", into.display());
    }
    writeln!(
        out,
        "LOST: {} whose record can't be read, {} of the log; {} that can't be read at all.",
        counted(report.keys_lost, "key"),
        counted(report.operations_lost, "operation"),
        counted(report.gaps, "place"),
    )?;
    if report.keys_uncertain > 0 {
        writeln!(
            out,
            "{} may be older than they were, or deleted since: the index that would tell is damaged. \
             Where that matters, end those sessions.",
            counted(report.keys_uncertain, "saved key")
        )?;
    }
    writeln!(out, "Start from {} once you have seen what is missing.", into.display())
}
