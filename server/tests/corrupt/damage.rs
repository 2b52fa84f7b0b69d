//! What is done to the files of a directory: one damage at a time, each with a name that says what it is.

use std::fmt;

use crate::loaded::{Files, Loaded};
use crate::support::Random;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Manifest,
    Log,
    /// The note beside the log.
    Note,
    Spare,
    Segment,
    Index,
    Dictionary,
    Functions,
}

impl Kind {
    pub(crate) fn of(name: &str) -> Option<Kind> {
        Some(match name {
            "MANIFEST" => Kind::Manifest,
            "functions" => Kind::Functions,
            "log-synced" => Kind::Note,
            _ if name.starts_with("wal-") => Kind::Log,
            _ if name.starts_with("spare-") || name.starts_with("new-") => Kind::Spare,
            _ if name.starts_with("seg-") => Kind::Segment,
            _ if name.starts_with("index-") => Kind::Index,
            _ if name.starts_with("dict-") => Kind::Dictionary,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// The sort of a damage, for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    Flipped,
    Zeroed,
    Cut,
    Longer,
    Deleted,
    Swapped,
    Duplicated,
    /// A copy from before the last checkpoint.
    Stale,
    /// One that a restored backup has grown instead.
    Forked,
    /// One of another database.
    Foreign,
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    pub(crate) kind: Kind,
    pub(crate) sort: Sort,
    /// The file that is damaged.
    pub(crate) file: String,
    pub(crate) what: String,
    /// Files that differ: their new bytes, or that they are gone.
    pub(crate) changes: Vec<(String, Change)>,
}

/// What becomes of a file.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Flip {
        at: usize,
        mask: u8,
    },
    Zero {
        from: usize,
        to: usize,
    },
    Cut(usize),
    Append(usize),
    Delete,
    /// These bytes.
    Become(std::sync::Arc<Vec<u8>>),
}

impl Change {
    /// The file's new bytes; `None` if it is gone.
    pub(crate) fn apply(&self, bytes: Option<&Vec<u8>>) -> Option<Vec<u8>> {
        let mut bytes = bytes.cloned().unwrap_or_default();
        match self {
            Change::Flip { at, mask } => bytes[*at] ^= mask,
            Change::Zero { from, to } => bytes[*from..*to].fill(0),
            Change::Cut(length) => bytes.truncate(*length),
            Change::Append(length) => bytes.extend(std::iter::repeat_n(0xA5, *length)),
            Change::Delete => return None,
            Change::Become(other) => bytes.clone_from(other),
        }
        Some(bytes)
    }
}

const PAGE: usize = 4096;

/// Every damage that the drill knows, in an order that the seed decides.
pub(crate) fn all(loaded: &Loaded, seed: u64) -> Vec<Damage> {
    let mut random = Random::new(seed);
    let mut all = Vec::new();
    for (name, bytes) in &loaded.files {
        let Some(kind) = Kind::of(name) else { continue };
        let mut add = |sort, what: String, change| {
            all.push(Damage { kind, sort, file: name.clone(), what, changes: vec![(name.clone(), change)] });
        };
        in_place(bytes, &mut random, &mut add);
        add(Sort::Deleted, "deleted".into(), Change::Delete);
        for (sort, from, others) in [
            (Sort::Stale, "its copy from before the last checkpoint", &loaded.stale),
            (Sort::Forked, "its namesake of a restored backup", &loaded.forked),
            (Sort::Foreign, "its namesake of another database", &loaded.foreign),
        ] {
            if let Some(other) = others.get(name).filter(|other| *other != bytes) {
                add(sort, format!("replaced by {from}"), Change::Become(other.clone().into()));
            }
        }
        swaps(loaded, name, kind, bytes, &mut all);
    }
    strays(loaded, &mut all);
    // Neighbours in the list are of different files.
    for at in (1..all.len()).rev() {
        let other = random.within(0..at as u64 + 1) as usize;
        all.swap(at, other);
    }
    all
}

fn in_place(bytes: &[u8], random: &mut Random, add: &mut dyn FnMut(Sort, String, Change)) {
    let length = bytes.len();
    // What is behind the last byte that is not zero means nothing, in a log file.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut places: Vec<usize> = (0..64.min(length)).step_by(3).collect();
    let pages = used.div_ceil(PAGE);
    let step = (pages / 40).max(1);
    for page in (0..pages).step_by(step) {
        let (from, to) = (page * PAGE, ((page + 1) * PAGE).min(length));
        places.push(random.within(from as u64..to as u64) as usize);
    }
    places.extend((1..=12).filter_map(|back| used.checked_sub(back * back)));
    places.extend(length.checked_sub(1));
    places.sort_unstable();
    places.dedup();
    for at in places {
        let bit = random.within(0..8);
        add(Sort::Flipped, format!("bit {bit} flipped at {at}"), Change::Flip { at, mask: 1 << bit });
    }
    let mut ranges = vec![(0, length, "all"), (0, PAGE.min(length), "the first page")];
    if used > PAGE {
        let last = (used - 1) / PAGE * PAGE;
        ranges.push((last, (last + PAGE).min(length), "the last page in use"));
        ranges.push((last.saturating_sub(PAGE), (last + PAGE).min(length), "the last two pages in use"));
        ranges.push((last, length, "from the last page on"));
    }
    let last_sector = used.saturating_sub(1) / 512 * 512;
    ranges.push((last_sector, (last_sector + 512).min(length), "the last sector in use"));
    for page in (0..pages).step_by((pages / 12).max(1)) {
        ranges.push((page * PAGE, ((page + 1) * PAGE).min(length), "a page"));
    }
    for sector in (0..used.div_ceil(512)).step_by((used / 512 / 8).max(1)) {
        ranges.push((sector * 512, ((sector + 1) * 512).min(length), "a sector"));
    }
    for (from, to, what) in ranges {
        if bytes[from..to].iter().any(|byte| *byte != 0) {
            add(Sort::Zeroed, format!("{what} zeroed, {from} to {to}"), Change::Zero { from, to });
        }
    }
    let mut cuts = vec![
        0,
        1,
        8,
        63,
        64,
        100,
        length / 4,
        length / 2,
        used / 2,
        used.saturating_sub(1),
        length.saturating_sub(1),
    ];
    cuts.extend([
        PAGE,
        used / PAGE * PAGE,
        length.saturating_sub(PAGE),
        random.within(0..length.max(1) as u64) as usize,
    ]);
    cuts.retain(|cut| *cut < length);
    cuts.sort_unstable();
    cuts.dedup();
    for cut in cuts {
        add(Sort::Cut, format!("cut to {cut} of {length}"), Change::Cut(cut));
    }
    for more in [1, 100, PAGE] {
        add(Sort::Longer, format!("longer by {more}"), Change::Append(more));
    }
}

/// Another one of its kind in its place, and the two of them in each other's.
fn swaps(loaded: &Loaded, name: &str, kind: Kind, bytes: &[u8], all: &mut Vec<Damage>) {
    let others = loaded.files.iter().filter(|(other, _)| *other != name && Kind::of(other) == Some(kind));
    for (other, content) in others {
        all.push(Damage {
            kind,
            sort: Sort::Duplicated,
            file: name.into(),
            what: format!("replaced by {other}"),
            changes: vec![(name.into(), Change::Become(content.clone().into()))],
        });
        if name < other.as_str() {
            all.push(Damage {
                kind,
                sort: Sort::Swapped,
                file: name.into(),
                what: format!("swapped with {other}"),
                changes: vec![
                    (name.into(), Change::Become(content.clone().into())),
                    (other.clone(), Change::Become(bytes.to_vec().into())),
                ],
            });
        }
    }
}

/// Files that are there and should not: copies under names to come, and what had been removed put back.
fn strays(loaded: &Loaded, all: &mut Vec<Damage>) {
    let mut add = |kind, sort, file: &str, what: String, content: &Vec<u8>| {
        let changes = vec![(file.to_owned(), Change::Become(content.clone().into()))];
        all.push(Damage { kind, sort, file: file.into(), what, changes });
    };
    for (name, bytes) in &loaded.files {
        let Some(kind) = Kind::of(name) else { continue };
        for stray in stray_names(&loaded.files, name) {
            add(kind, Sort::Duplicated, &stray, format!("a copy of {name}"), bytes);
        }
    }
    for (sort, from, files) in [
        (Sort::Stale, "from before the last checkpoint", &loaded.stale),
        (Sort::Forked, "of a restored backup", &loaded.forked),
        (Sort::Foreign, "of another database", &loaded.foreign),
    ] {
        for (name, bytes) in files.iter().filter(|(name, _)| !loaded.files.contains_key(*name)) {
            if let Some(kind) = Kind::of(name) {
                add(kind, sort, name, format!("put there, {from}"), bytes);
            }
        }
    }
}

/// Names of the same kind that no file has.
fn stray_names(files: &Files, name: &str) -> Vec<String> {
    let names: Vec<String> = match Kind::of(name) {
        Some(Kind::Manifest) => vec!["MANIFEST.new".into()],
        Some(Kind::Note) => Vec::new(),
        Some(Kind::Functions) => vec!["functions.new".into()],
        Some(Kind::Log | Kind::Spare) => [
            "wal-0000000000100000.log",
            "wal-0000000000300000.log",
            "wal-0000000000700000.log",
            "wal-00000000ffff0000.log",
        ]
        .map(str::to_owned)
        .into(),
        Some(Kind::Segment) => ["seg-00000001.seg", "seg-000000ff.seg"].map(str::to_owned).into(),
        Some(Kind::Index) => {
            ["index-0000000000000001.idx", "index-00000000000000ff.idx"].map(str::to_owned).into()
        }
        Some(Kind::Dictionary) => vec!["dict-000000ff.zdict".into()],
        None => Vec::new(),
    };
    names.into_iter().filter(|name| !files.contains_key(name)).collect()
}
