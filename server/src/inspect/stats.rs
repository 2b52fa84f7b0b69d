//! `sessile stats DIR`: what is in a directory, as tables.

use super::check::InspectError;
use super::text::{Table, bytes, count, counted, duration, percent};
use sessile::Fs;
use sessile::check::{Inventory, SegmentUse, inventory};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Segments that die within the same span of time are one row.
const SPANS_MS: [(u64, &str); 8] = [
    (60_000, "within a minute"),
    (10 * 60_000, "within 10 minutes"),
    (3_600_000, "within an hour"),
    (6 * 3_600_000, "within 6 hours"),
    (24 * 3_600_000, "within a day"),
    (7 * 24 * 3_600_000, "within a week"),
    (30 * 24 * 3_600_000, "within 30 days"),
    (u64::MAX - 1, "later"),
];

/// Above so many segments only the spans of time are told, not each one.
const SEGMENTS_TOLD_MAX: usize = 64;

/// Takes stock of a directory as of `now_ms` and writes it to `out`.
///
/// # Errors
///
/// If the directory can't be read, or is in use, or `out` fails.
pub fn stats(fs: Arc<dyn Fs>, dir: &Path, now_ms: u64, out: &mut dyn Write) -> Result<(), InspectError> {
    let found = inventory(fs, dir, now_ms)?;
    tell(out, dir, &found)?;
    Ok(())
}

fn tell(out: &mut dyn Write, dir: &Path, found: &Inventory) -> io::Result<()> {
    match found.checkpoint {
        0 => writeln!(out, "{}: no checkpoint yet, everything is in the log", dir.display())?,
        number => {
            let age = duration(found.now_ms.saturating_sub(found.checkpoint_ms));
            writeln!(
                out,
                "{}: checkpoint {number}, {age} ago; {} live then and now, {} of them without a deadline",
                dir.display(),
                counted(found.live_keys, "key"),
                count(found.lasting_keys)
            )?;
        }
    }
    section(out, "Segments, by when the last of their live records dies", &spans(found))?;
    if found.segments.len() <= SEGMENTS_TOLD_MAX {
        section(out, "Segments, one by one", &one_by_one(found))?;
    }
    section(out, "Compression", &dictionaries(found))?;
    section(out, "Index", &index(found))?;
    let (files, length) = found.log;
    writeln!(out, "\nLog: {}, {}", counted(files, "file"), bytes(length))?;
    let (files, length) = found.leftovers;
    writeln!(out, "Unused: {}, {}", counted(files, "file"), bytes(length))
}

fn section(out: &mut dyn Write, title: &str, table: &Table) -> io::Result<()> {
    if table.is_empty() {
        return Ok(());
    }
    write!(out, "\n{title}\n{}", table.text())
}

/// What a segment's row begins with; [`SPANS_MS`] and what is not in time.
fn span_of(segment: &SegmentUse, now_ms: u64) -> (usize, &'static str) {
    let rest_ms = segment.dies_ms.saturating_sub(now_ms);
    match segment.dies_ms {
        _ if segment.live_records == 0 => (0, "dead already"),
        u64::MAX => (SPANS_MS.len() + 1, "never"),
        _ => SPANS_MS
            .iter()
            .position(|(span_ms, _)| rest_ms <= *span_ms)
            .map_or((SPANS_MS.len(), "later"), |place| (place + 1, SPANS_MS[place].1)),
    }
}

#[derive(Clone, Copy, Default)]
struct Sum {
    segments: u64,
    records: u64,
    live_records: u64,
    bytes: u64,
    live_bytes: u64,
}

impl Sum {
    fn add(&mut self, segment: &SegmentUse) {
        self.segments += 1;
        self.records += segment.records;
        self.live_records += segment.live_records;
        self.bytes += segment.bytes;
        self.live_bytes += segment.live_bytes();
    }

    fn row(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            count(self.segments),
            count(self.records),
            count(self.live_records),
            bytes(self.bytes),
            bytes(self.live_bytes),
            bytes(self.bytes - self.live_bytes),
            percent(self.live_bytes, self.bytes),
        ]
    }
}

fn spans(found: &Inventory) -> Table {
    let mut table =
        Table::new(&["dies", "segments", "records", "live", "bytes", "live, about", "dead, about", "live"]);
    let mut sums = [(Sum::default(), ""); SPANS_MS.len() + 2];
    let mut total = Sum::default();
    for segment in &found.segments {
        let (place, name) = span_of(segment, found.now_ms);
        sums[place].0.add(segment);
        sums[place].1 = name;
        total.add(segment);
    }
    for (sum, name) in sums.iter().filter(|(sum, _)| sum.segments > 0) {
        table.row(sum.row(name));
    }
    if total.segments > 0 {
        table.row(total.row("all"));
    }
    table
}

fn one_by_one(found: &Inventory) -> Table {
    let heads =
        ["file", "dies in", "dictionary", "records", "live", "bytes", "live, about", "dead, about", "live"];
    let mut table = Table::new(&heads);
    for segment in &found.segments {
        let dies = match segment.dies_ms {
            _ if segment.live_records == 0 => "-".to_owned(),
            u64::MAX => "never".to_owned(),
            dies_ms => duration(dies_ms.saturating_sub(found.now_ms)),
        };
        let live_bytes = segment.live_bytes();
        table.row(vec![
            format!("seg-{:08x}.seg", segment.id),
            dies,
            dictionary_name(segment.dictionary),
            count(segment.records),
            count(segment.live_records),
            bytes(segment.bytes),
            bytes(live_bytes),
            bytes(segment.bytes - live_bytes),
            percent(live_bytes, segment.bytes),
        ]);
    }
    table
}

fn dictionary_name(id: u32) -> String {
    if id == 0 { "none".to_owned() } else { format!("{id:08x}") }
}

fn dictionaries(found: &Inventory) -> Table {
    let mut table = Table::new(&["dictionary", "bytes", "segments", "their bytes", "stored per byte"]);
    for dictionary in &found.dictionaries {
        table.row(vec![
            dictionary_name(dictionary.id),
            if dictionary.id == 0 { "-".to_owned() } else { bytes(dictionary.bytes) },
            count(dictionary.segments),
            bytes(dictionary.segment_bytes),
            dictionary.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    table
}

fn index(found: &Inventory) -> Table {
    let mut table = Table::new(&["file", "kind", "entries", "bytes"]);
    for file in &found.index_files {
        table.row(vec![
            format!("index-{:016x}.idx", file.number),
            if file.snapshot { "snapshot" } else { "delta" }.to_owned(),
            count(file.entries),
            bytes(file.bytes),
        ]);
    }
    table
}
