//! Checking segments: every record of each, several segments at a time.

use super::directory::Directory;
use super::report::{FileFinding, FileKind, Tally};
use crate::Error;
use crate::compression::Compressor;
use crate::dictionary::Dictionary;
use crate::key::{INDEX_DATABASES, KeyHasher};
use crate::limits::CHECK_THREADS_MAX;
use crate::manifest::SegmentInfo;
use crate::object::layout;
use crate::segment::{Found, file_name};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

/// Which sound records there are, in eight bytes each.
#[derive(Default)]
pub(super) struct Records {
    segments: BTreeMap<u32, SegmentRecords>,
}

/// Those of one segment.
#[derive(Default)]
struct SegmentRecords {
    /// [`packed`], in order.
    records: Vec<u64>,
    sound: bool,
}

/// What is known of a place that the index refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A sound record of a key of that hash.
    Sound,
    /// The segment is damaged, and there is no such record in what is left.
    Damaged,
    /// The segment is sound, and there is no such record in it.
    Absent,
    /// There is no such segment.
    Unlisted,
}

/// The offset in units of 4 in the high 24 bits, the high 40 bits of the hash below.
fn packed(offset: u64, hash: u64) -> u64 {
    (offset / 4) << 40 | hash >> 24
}

impl Records {
    /// What is at a place where the index has a key of that hash.
    pub(super) fn look(&self, segment: u32, offset: u64, hash: u64) -> Place {
        match self.segments.get(&segment) {
            None => Place::Unlisted,
            Some(it) if it.records.binary_search(&packed(offset, hash)).is_ok() => Place::Sound,
            Some(it) if it.sound => Place::Absent,
            Some(_) => Place::Damaged,
        }
    }
}

/// Checks all segments that are listed. Without a hasher nobody can ask for the records by hash.
pub(super) fn check(
    directory: &Directory,
    dictionaries: &BTreeMap<u32, Arc<Dictionary>>,
    hasher: Option<&KeyHasher>,
    tally: &mut Tally<'_>,
) -> Result<Records, Error> {
    let segments = &directory.checkpoint().segments;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(CHECK_THREADS_MAX).min(segments.len());
    let next = AtomicUsize::new(0);
    let mut all = Records::default();
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(threads);
        for number in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            let work = move || {
                let mut compressor = Compressor::new();
                while let Some(info) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = check_segment(directory, info, dictionaries, hasher, &mut compressor);
                    if sender.send((info.id, outcome)).is_err() {
                        return;
                    }
                }
            };
            std::thread::Builder::new()
                .name(format!("sessile-check-{number}"))
                .spawn_scoped(scope, work)
                .map_err(Error::io("start a thread to check", &directory.path))?;
        }
        drop(sender);
        for (id, (finding, records)) in receiver {
            let sound = finding.is_sound();
            tally.report.segment_records += finding.items;
            tally.finding(finding);
            all.segments.insert(id, SegmentRecords { records, sound });
        }
        Ok(all)
    })
}

fn check_segment(
    directory: &Directory,
    info: &SegmentInfo,
    dictionaries: &BTreeMap<u32, Arc<Dictionary>>,
    hasher: Option<&KeyHasher>,
    compressor: &mut Compressor,
) -> (FileFinding, Vec<u64>) {
    let mut finding = directory.finding(FileKind::Segment, &file_name(info.id));
    let mut records = Vec::new();
    let segment = match directory.segment(info, dictionaries) {
        Ok(segment) => segment,
        Err(error) => {
            finding.damaged_by(&error);
            return (finding, records);
        }
    };
    let mut scan = segment.scan().over_unreadable();
    let mut flat = Vec::new();
    loop {
        match scan.next() {
            Ok(None) => break,
            Ok(Some(Found::Damaged { offset, bytes, reason })) => {
                finding.damaged(offset, format!("{reason} ({bytes} bytes)"));
            }
            Ok(Some(Found::Record { offset, stored, .. })) => {
                match stored.record(segment.dictionary(), compressor, &mut flat) {
                    Ok(record) => {
                        finding.items += 1;
                        // `record` has checked it.
                        let (database, key) =
                            (layout::database(record.object), layout::parts(record.object).key);
                        if database >= INDEX_DATABASES {
                            finding.damaged(offset, "the record's database isn't there");
                        } else if let Some(hasher) = hasher {
                            records.push(packed(offset, hasher.key(database, key).hash));
                        }
                    }
                    Err(reason) => finding.damaged(offset, reason),
                }
            }
            Err(error) => {
                finding.damaged(scan.offset(), error.to_string());
                break;
            }
        }
    }
    if directory.has_manifest() && finding.is_sound() {
        let dictionary = segment.dictionary().map_or(0, Dictionary::id);
        if dictionary != info.dictionary {
            let reason = format!("it needs dictionary {dictionary}, the manifest says {}", info.dictionary);
            finding.damaged(0, reason);
        }
        if finding.items != u64::from(info.records) {
            let reason = format!("it has {} records, the manifest says {}", finding.items, info.records);
            finding.damaged(0, reason);
        }
    }
    (finding, records)
}
