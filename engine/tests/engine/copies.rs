//! Bad backups and restores: files of the same database that another copy of its directory has written, older ones that were put back, ones that were
//! left out, and ones under names of their own. Every checksum in them is right. What the manifest names is refused unless it is the very file that
//! it was written with; and nothing that it doesn't name does any harm.

use super::damage::{Files, disk, files, names_a_file};
use super::support::{DIR, fixed_manifest};
use sessile::check::{check, repair};
use sessile::{Clock, Db, Durability, Error, Expiry, Options, StorageTuning};
use sessile_wal::sim::{SimClock, SimFs};
use std::path::Path;
use std::sync::Arc;

fn open_at(fs: &SimFs, ms: u64) -> Result<Db, Error> {
    let clock = SimClock::default();
    clock.advance_ms(ms);
    let tuning = StorageTuning {
        shards: Some(2),
        small_segment_bytes: 0,
        dictionary_samples_min: 8,
        dictionary_bytes_max: 400,
        reserve_bytes: 0,
        ..StorageTuning::default()
    };
    Options::new()
        .durability(Durability::EverySecond)
        .file_system(Arc::new(fs.clone()))
        .clock(Arc::new(clock))
        .manual_background()
        .log_file_bytes_max(64 << 10)
        .checkpoint_log_bytes(u64::MAX)
        .storage_tuning(tuning)
        .open(DIR)
}

fn set(db: &Db, numbers: std::ops::Range<u32>, version: &str) {
    for number in numbers {
        let value =
            format!("{{\"user\":{number},\"version\":\"{version}\",\"roles\":[\"reader\",\"writer\"]}}");
        db.set(format!("session {number}").as_bytes(), value, Expiry::Never).expect("set");
    }
}

/// A directory; and what became of two copies of it, that did as much, but not the same, at different times. The second is 5 s later.
fn copies() -> (Files, Files, Files) {
    let fs = disk(&[("MANIFEST".to_owned(), fixed_manifest())].into_iter().collect());
    let db = open_at(&fs, 0).expect("opens");
    set(&db, 0..40, "both");
    db.replace_side_file("functions", b"both").expect("replaced");
    db.checkpoint().expect("made");
    db.close().expect("closed");
    drop(db);
    let both = files(&fs);
    let one = goes_on(&both, 10_000, "this");
    let other = goes_on(&both, 15_000, "that");
    (both, one, other)
}

fn goes_on(from: &Files, ms: u64, version: &str) -> Files {
    let fs = disk(from);
    let db = open_at(&fs, ms).expect("opens");
    set(&db, 0..30, version);
    db.set(format!("only {version}").as_bytes(), version, Expiry::Never).expect("set");
    db.replace_side_file("functions", version.as_bytes()).expect("replaced");
    db.checkpoint().expect("made");
    set(&db, 30..35, version);
    db.close().expect("closed");
    drop(db);
    files(&fs)
}

fn is_sound(fs: &SimFs) -> bool {
    check(Arc::new(fs.clone()), DIR.as_ref(), &mut |_| {}).expect("checks").is_sound()
}

fn expect_refused(what: &str, damaged: &Files) {
    let fs = disk(damaged);
    let error = open_at(&fs, 20_000).err().unwrap_or_else(|| panic!("{what}: accepted"));
    assert!(names_a_file(&error), "{what}: {error}");
    assert_eq!(&files(&fs), damaged, "{what}: refused, and changed on disk");
    assert!(!is_sound(&fs), "{what}: a check finds nothing");
    let clock: Arc<dyn Clock> = Arc::new(SimClock::default());
    let mut told = Vec::new();
    let report = repair(Arc::new(fs), clock, DIR.as_ref(), Path::new("/repaired"), &mut |loss| {
        told.push(loss.clone());
    });
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!report.is_complete() && !told.is_empty(), "{what}: the repair says that nothing was lost");
}

#[test]
fn a_file_that_another_copy_of_the_database_has_written_is_refused() {
    let (both, one, other) = copies();
    let mut refused = Vec::new();
    for (name, bytes) in &one {
        let Some(theirs) = other.get(name).filter(|theirs| *theirs != bytes) else { continue };
        // The note beside the log is one that the log of this copy doesn't bear out.
        let mut mixed = one.clone();
        mixed.insert(name.clone(), theirs.clone());
        expect_refused(&format!("{name} of the other copy"), &mixed);
        refused.push(name.clone());
    }
    for kind in ["MANIFEST", "functions", "seg-", "index-", "wal-0"] {
        assert!(refused.iter().any(|name| name.starts_with(kind)), "no {kind} differs: {refused:?}");
    }
    // The log together with the note: the manifest still knows better.
    let mut mixed = one.clone();
    for name in other.keys().filter(|name| name.starts_with("wal-") || *name == "log-synced") {
        mixed.insert(name.clone(), other[name].clone());
    }
    expect_refused("the log of the other copy", &mixed);
    // What is older than the checkpoint, put back.
    for name in ["functions", "wal-0000000000000000.log"] {
        let mut mixed = one.clone();
        assert_ne!(mixed.insert(name.into(), both[name].clone()), Some(both[name].clone()), "{name}");
        expect_refused(&format!("{name} as it was"), &mixed);
    }
}

#[test]
fn a_side_file_that_is_missing_is_missed() {
    let (_, mut files, _) = copies();
    files.remove("functions");
    expect_refused("without functions", &files);
    let error = open_at(&disk(&files), 0).expect_err("refused");
    assert!(matches!(&error, Error::MissingFile { path } if path.ends_with("functions")), "{error}");
}

/// The log's last pages, or all of it behind the checkpoint, lost: the note beside it knows that there was more.
#[test]
fn the_end_of_a_synced_log_is_not_lost_unnoticed() {
    let (_, sound, _) = copies();
    let name = "wal-0000000000000000.log";
    let used = sound[name].iter().rposition(|byte| *byte != 0).expect("it is used");
    for from in [used - 40, used / 512 * 512, used / 4096 * 4096, used / 4096 * 4096 - 4096] {
        let mut damaged = sound.clone();
        damaged.get_mut(name).expect("it is there")[from..].fill(0);
        expect_refused(&format!("the log without what is behind {from}"), &damaged);
    }
    // Without the note, nobody is the wiser, and nothing is wrong with that.
    let mut without = sound.clone();
    without.remove("log-synced").expect("it was there");
    let fs = disk(&without);
    assert!(is_sound(&fs));
    let db = open_at(&fs, 20_000).expect("opens");
    assert_eq!(db.len(), 41);
}

#[test]
fn a_repair_saves_the_side_file() {
    let (_, sound, _) = copies();
    let fs = disk(&sound);
    let clock: Arc<dyn Clock> = Arc::new(SimClock::default());
    let into = Path::new("/data/db2");
    let report = repair(Arc::new(fs.clone()), clock, DIR.as_ref(), into, &mut |loss| panic!("{loss:?}"))
        .expect("repairs");
    assert!(report.is_complete());
    let db = Options::new().file_system(Arc::new(fs)).manual_background().open(into).expect("opens");
    assert_eq!(db.read_side_file("functions").expect("read").as_deref(), Some(&b"this"[..]));
}

/// Somebody's copies under names of their own: the numbers of the database's own files go on.
#[test]
fn strays_with_the_greatest_numbers_take_no_numbers_away() {
    let (_, sound, _) = copies();
    let mut with_strays = sound;
    for stray in ["seg-ffffffff.seg", "seg-fffffffe.seg", "dict-ffffffff.zdict", "index-ffffffffffffffff.idx"]
    {
        with_strays.insert(stray.into(), b"anything".to_vec());
    }
    let fs = disk(&with_strays);
    for round in 0..3 {
        let db = open_at(&fs, 20_000 + round).expect("opens");
        set(&db, 0..40, "again");
        db.checkpoint().expect("made");
        db.close().expect("closed");
    }
}

/// A log file from long ago, put back: it is no part of the log, and does it no harm.
#[test]
fn an_old_log_file_that_was_put_back_does_no_harm() {
    let fs = disk(&[("MANIFEST".to_owned(), fixed_manifest())].into_iter().collect());
    let db = open_at(&fs, 0).expect("opens");
    set(&db, 0..40, "first");
    db.close().expect("closed");
    drop(db);
    let old = files(&fs)["wal-0000000000000000.log"].clone();
    let db = open_at(&fs, 1).expect("opens");
    for round in 0..20 {
        set(&db, 0..40, &format!("round {round} {}", "x".repeat(200)));
        db.checkpoint().expect("made");
    }
    db.close().expect("closed");
    drop(db);
    let mut mixed = files(&fs);
    assert!(
        mixed.insert("wal-0000000000000000.log".into(), old[..20_480].to_vec()).is_none(),
        "it was released"
    );
    let fs = disk(&mixed);
    for round in 0..20 {
        let db = open_at(&fs, 2 + round).expect("opens");
        assert_eq!(db.len(), 40);
        set(&db, 0..40, &format!("later {round} {}", "x".repeat(300)));
        db.checkpoint().expect("made");
        db.close().expect("closed");
    }
}
