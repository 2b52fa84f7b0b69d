//! Checking the index files: every block of each, and that every key they know has a sound record.

use super::directory::Directory;
use super::report::{FileFinding, FileKind, Tally};
use super::segments::{Place, Records};
use crate::index_file::{IndexEntry, IndexFile, Merge, name};

/// Checks all index files that are listed; `records` are those of the segments.
pub(super) fn check(directory: &Directory, records: &Records, tally: &mut Tally<'_>) {
    let checkpoint = directory.checkpoint();
    let mut findings: Vec<FileFinding> = Vec::new();
    // With the place of its finding.
    let mut files: Vec<(usize, IndexFile)> = Vec::new();
    for info in &checkpoint.index_files {
        let mut finding = directory.finding(FileKind::Index, &name(info.number));
        match directory.index_file(info) {
            Ok(file) => {
                finding.items = file.entries();
                if file.entries() != info.entries {
                    let reason =
                        format!("it has {} entries, the manifest says {}", file.entries(), info.entries);
                    finding.damaged(0, reason);
                }
                files.push((findings.len(), file));
            }
            Err(error) => finding.damaged_by(&error),
        }
        findings.push(finding);
    }

    let mut merge = Merge::new(files.iter().map(|(_, file)| file));
    let mut contradictions: Vec<(usize, u64, String)> = Vec::new();
    let mut damaged = |file: usize, info: &crate::index_file::BlockInfo, error: crate::Error| {
        let Some((finding, _)) = files.get(file) else { return };
        let Some(finding) = findings.get_mut(*finding) else { return };
        finding.damaged_by(&error);
        finding.items = finding.items.saturating_sub(u64::from(info.entries));
    };
    while let Some(mention) = merge.next(&mut damaged) {
        for entry in mention.entries {
            // What was dead at the checkpoint may have lost its segment since.
            if entry.deadline_ms <= checkpoint.time_ms {
                continue;
            }
            tally.report.keys += 1;
            let place = records.look(entry.segment, entry.offset, entry.hash);
            tally.report.keys_lost += u64::from(place != Place::Sound);
            if let (Some(reason), Some((finding, file))) =
                (contradiction(place, entry), files.get(mention.file))
            {
                contradictions.push((*finding, file.offset_of(entry.hash), reason));
            }
        }
    }
    // Where a block is lost, an older entry may come to light that refers to what is gone since: that is no more damage.
    if findings.iter().all(FileFinding::is_sound) {
        for (finding, offset, reason) in contradictions {
            if let Some(finding) = findings.get_mut(finding) {
                finding.damaged(offset, reason);
            }
        }
    }
    for finding in findings {
        tally.finding(finding);
    }
}

/// What is wrong with an entry that damage elsewhere doesn't explain.
fn contradiction(place: Place, entry: &IndexEntry) -> Option<String> {
    let IndexEntry { segment, offset, .. } = entry;
    match place {
        Place::Sound | Place::Damaged => None,
        Place::Absent => Some(format!(
            "a key of this block should be at offset {offset} of segment {segment:08x}, and isn't"
        )),
        Place::Unlisted => Some(format!(
            "a key of this block should be in segment {segment:08x}, which the manifest doesn't know"
        )),
    }
}
