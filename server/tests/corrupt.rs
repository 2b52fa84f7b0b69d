//! The corruption drill (`just corrupt`): a loaded data directory, one file of which is flipped, zeroed, cut, lengthened, deleted, swapped, duplicated,
//! or replaced by an older one, by one that a restored backup has grown, or by another database's. The real server starts on it, the real
//! `sessile check` looks at it, the real `--repair` saves what can be saved.
//!
//! What must hold, each time:
//!
//! - The start is refused with file and offset, and nothing on disk is changed; or every key is served with its right value, but for those that answer
//!   an error with file and offset. Never a wrong value, never a key that is gone or older without a word; and a second start, after a checkpoint,
//!   finds the same.
//! - A check ends with 1 if the start is refused or a key is damaged; and changes nothing.
//! - What a repair has written is served. If it says that nothing was lost, nothing was; what it counts as lost is as much as is missing; and
//!   whatever it saved is something that the key once held.
//!
//! `SESSILE_CORRUPT_CASES` cases (0 is all; default 150), `SESSILE_CORRUPT_JOBS` at a time, `SESSILE_SEED` replays them, `SESSILE_CORRUPT_ONLY`
//! tries those whose line contains this text. A table says what came of them.
#![expect(clippy::disallowed_methods, reason = "real processes on real files")]

#[path = "corrupt/damage.rs"]
mod damage;
#[path = "corrupt/judge.rs"]
mod judge;
#[path = "corrupt/loaded.rs"]
mod loaded;
mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use damage::{Damage, Kind, Sort};
use judge::{End, Outcome};
use loaded::Loaded;
use support::random;

/// A row of the table.
#[derive(Default)]
struct Row {
    cases: u64,
    refused: u64,
    harmless: u64,
    reported: u64,
    keys_reported: usize,
    complete: u64,
    saved: usize,
    not_saved: usize,
    wrong: u64,
    silent: u64,
    other: u64,
}

impl Row {
    fn add(&mut self, outcome: &Outcome) {
        self.cases += 1;
        match outcome.end {
            End::Refused => self.refused += 1,
            End::Harmless => self.harmless += 1,
            End::Reported(keys) => {
                self.reported += 1;
                self.keys_reported += keys;
            }
        }
        self.complete += u64::from(outcome.repaired.complete);
        self.saved += outcome.repaired.as_they_were;
        self.not_saved += outcome.repaired.otherwise;
        let is = |word: &str| u64::from(outcome.faults.iter().any(|fault| fault.contains(word)));
        self.wrong += is("wrong: ");
        self.silent += is("silent: ");
        self.other += u64::from(!outcome.faults.is_empty() && is("wrong: ") + is("silent: ") == 0);
    }
}

fn table(rows: &BTreeMap<(Kind, Sort), Row>, keys: usize) {
    println!(
        "{:<11} {:<11} {:>5} {:>7} {:>8} {:>8} {:>6} {:>8} {:>9} {:>9} {:>5} {:>6} {:>5}",
        "file",
        "damage",
        "cases",
        "refused",
        "harmless",
        "reported",
        "(keys)",
        "complete",
        "saved",
        "not saved",
        "wrong",
        "silent",
        "other"
    );
    let mut all = Row::default();
    for ((kind, sort), row) in rows {
        print_row(&kind.to_string(), &sort.to_string(), row);
        all.cases += row.cases;
        all.refused += row.refused;
        all.harmless += row.harmless;
        all.reported += row.reported;
        all.keys_reported += row.keys_reported;
        all.complete += row.complete;
        all.saved += row.saved;
        all.not_saved += row.not_saved;
        all.wrong += row.wrong;
        all.silent += row.silent;
        all.other += row.other;
    }
    print_row("all", "", &all);
    println!(
        "{keys} keys; complete: repairs that say that nothing was lost; saved: keys of all repairs that are as they were"
    );
}

fn print_row(kind: &str, sort: &str, row: &Row) {
    println!(
        "{kind:<11} {sort:<11} {:>5} {:>7} {:>8} {:>8} {:>6} {:>8} {:>9} {:>9} {:>5} {:>6} {:>5}",
        row.cases,
        row.refused,
        row.harmless,
        row.reported,
        row.keys_reported,
        row.complete,
        row.saved,
        row.not_saved,
        row.wrong,
        row.silent,
        row.other
    );
}

#[test]
fn no_damage_to_a_file_gives_a_wrong_value_or_a_silent_loss() {
    let seed = random::seed("corrupt");
    let wanted = random::count("SESSILE_CORRUPT_CASES", 150) as usize;
    let jobs = random::count("SESSILE_CORRUPT_JOBS", 2).max(1);
    let only = std::env::var("SESSILE_CORRUPT_ONLY").ok();
    let loaded = Loaded::make(seed);
    for (name, bytes) in &loaded.files {
        println!("{name}: {} bytes", bytes.len());
    }
    for (kind, least) in
        [(Kind::Segment, 4), (Kind::Index, 2), (Kind::Dictionary, 1), (Kind::Log, 2), (Kind::Functions, 1)]
    {
        let there = loaded.files.keys().filter(|name| Kind::of(name) == Some(kind)).count();
        assert!(there >= least, "{there} files of {kind}: {:?}", loaded.files.keys());
    }
    let nothing = Damage {
        kind: Kind::Spare,
        sort: Sort::Flipped,
        file: "nothing".into(),
        what: "nothing".into(),
        changes: Vec::new(),
    };
    let home = tempfile::Builder::new().prefix("sessile-corrupt-").tempdir().expect("a directory");
    let sound = judge::judge(&loaded, &nothing, home.path());
    assert!(
        sound.faults.is_empty() && sound.end == End::Harmless && sound.repaired.complete,
        "without damage: {sound:?}"
    );
    let line = |damage: &Damage| format!("{} {}", damage.file, damage.what);
    let mut cases: Vec<Damage> = damage::all(&loaded, seed);
    let known = cases.len();
    match &only {
        Some(only) => cases.retain(|damage| line(damage).contains(only.as_str())),
        None if wanted > 0 => cases = share(cases, wanted),
        None => {}
    }
    println!("{} of {known} damages", cases.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let (next, done, cases, loaded) = (&next, &done, &cases, &loaded);
            let home = home.path().join(job.to_string());
            scope.spawn(move || {
                while let Some(damage) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let attempt = std::panic::AssertUnwindSafe(|| judge::judge(loaded, damage, &home));
                    let outcome = std::panic::catch_unwind(attempt).unwrap_or_else(|panic| {
                        println!("{}: the drill ends", line(damage));
                        std::panic::resume_unwind(panic)
                    });
                    if !outcome.faults.is_empty() {
                        println!("{}: {:?}: {:?}", line(damage), outcome.end, outcome.faults);
                    }
                    let mut done = done.lock().expect("no panic holds it");
                    done.push((damage, outcome));
                    if done.len().is_multiple_of(200) {
                        println!("{} of {} cases", done.len(), cases.len());
                    }
                }
            });
        }
    });
    let done = done.into_inner().expect("no panic holds it");
    let mut rows: BTreeMap<(Kind, Sort), Row> = BTreeMap::new();
    let mut failed = 0;
    for (damage, outcome) in &done {
        rows.entry((damage.kind, damage.sort)).or_default().add(outcome);
        failed += u32::from(!outcome.faults.is_empty());
    }
    table(&rows, loaded.world.len());
    assert_eq!(
        failed, 0,
        "cases failed: replay them with SESSILE_SEED={seed} SESSILE_CORRUPT_CASES={wanted} (or SESSILE_CORRUPT_ONLY)"
    );
}

/// So many of the cases, about as many of each file kind and sort as of any other.
fn share(cases: Vec<Damage>, wanted: usize) -> Vec<Damage> {
    let mut piles: BTreeMap<(Kind, Sort), Vec<Damage>> = BTreeMap::new();
    for damage in cases {
        piles.entry((damage.kind, damage.sort)).or_default().push(damage);
    }
    let mut shared = Vec::new();
    while shared.len() < wanted && piles.values().any(|pile| !pile.is_empty()) {
        for pile in piles.values_mut() {
            if shared.len() < wanted {
                shared.extend(pile.pop());
            }
        }
    }
    shared
}
