//! Checking the log: by the rules of opening it, from where the manifest says that it is needed.

use super::directory::Directory;
use super::report::{FileFinding, FileKind, Tally};
use crate::object::layout;
use crate::record::{self, Operation};
use crate::{Error, Lsn};
use sessile_wal::{FileReport, WalError, WalOptions};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Checks every batch and record that the next start would read.
pub(super) fn check(directory: &Directory, tally: &mut Tally<'_>) -> Result<(), Error> {
    let checkpoint = directory.checkpoint();
    let options = WalOptions::default()
        .database_id(*directory.database_id())
        .known_durable(Lsn::new(checkpoint.log_reached))
        .known_checksum(checkpoint.log_checksum);
    let from = if directory.has_manifest() { Lsn::new(checkpoint.log_from) } else { directory.log_from() };
    // Both callbacks have them.
    let bad: RefCell<Vec<(u64, &'static str)>> = RefCell::default();
    let records = RefCell::new(0);
    let mut findings: Vec<FileFinding> = Vec::new();
    let outcome = sessile_wal::verify(
        Arc::clone(&directory.fs),
        &directory.path,
        &options,
        from,
        &mut |file| findings.push(finding_of(directory, file, &mut bad.borrow_mut())),
        &mut |lsn, record| {
            *records.borrow_mut() += 1;
            if let Some(reason) = wrong_with(record) {
                bad.borrow_mut().push((lsn.get(), reason));
            }
            Ok(())
        },
    );
    tally.report.log_records = records.into_inner();
    match outcome {
        Ok(found) => tally.report.torn_bytes = found.torn.map_or(0, |torn| torn.bytes),
        Err(error) => {
            let path = path_of(&error).map(Path::to_path_buf);
            let name = path.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
            let Some(name) = name else { return Err(Error::Log(error)) };
            let error = Error::Log(error);
            // A file whose damage was found at its end was told of before.
            let known =
                findings.iter().position(|finding| finding.path.file_name() == Some(OsStr::new(name)));
            let place = known.unwrap_or_else(|| {
                let mut finding = directory.finding(FileKind::Log, name);
                for (lsn, reason) in bad.take() {
                    finding.damaged(lsn, reason);
                }
                findings.push(finding);
                findings.len() - 1
            });
            if let Some(finding) = findings.get_mut(place) {
                finding.damaged_by(&error);
            }
        }
    }
    let last = findings.pop();
    findings.into_iter().for_each(|finding| tally.finding(finding));
    // The log may have files that are not needed, before and behind what was read.
    tally.all_read();
    last.into_iter().for_each(|finding| tally.finding(finding));
    Ok(())
}

fn finding_of(directory: &Directory, file: &FileReport, bad: &mut Vec<(u64, &'static str)>) -> FileFinding {
    let name = file.path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let mut finding = directory.finding(FileKind::Log, name);
    finding.items = file.records;
    for (lsn, reason) in bad.drain(..) {
        finding.items = finding.items.saturating_sub(1);
        finding.damaged(lsn.saturating_sub(file.base.get()), reason);
    }
    finding
}

/// What is wrong with a record that its batch's checksum vouches for.
fn wrong_with(mut record: &[u8]) -> Option<&'static str> {
    while !record.is_empty() {
        match record::take(&mut record) {
            None => return Some("the record that ends here holds something that is no operation"),
            Some(Operation::Put { object, .. }) if layout::check(object).is_none() => {
                return Some("the record that ends here writes something that is no object");
            }
            Some(_) => {}
        }
    }
    None
}

/// The file that an error is about, if it is about one.
pub(super) fn path_of_error(error: &Error) -> Option<PathBuf> {
    match error {
        Error::Log(error) => path_of(error).map(Path::to_path_buf),
        Error::DamagedFile { path, .. }
        | Error::DamagedValue { path, .. }
        | Error::DamagedManifest { path, .. }
        | Error::MissingManifest { path }
        | Error::MissingFile { path }
        | Error::UnsupportedVersion { path, .. }
        | Error::Io { path, .. } => Some(path.clone()),
        _ => None,
    }
}

/// The file that an error of the log is about.
fn path_of(error: &WalError) -> Option<&Path> {
    match error {
        WalError::Io { path, .. }
        | WalError::Corrupt { path, .. }
        | WalError::OtherCopy { path, .. }
        | WalError::Truncated { path, .. }
        | WalError::MissingFile { path, .. }
        | WalError::WrongDatabase { path, .. }
        | WalError::UnsupportedVersion { path, .. }
        | WalError::UnknownKey { path, .. } => Some(path),
        _ => None,
    }
}
