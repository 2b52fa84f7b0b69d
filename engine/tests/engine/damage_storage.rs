//! Damaged checkpoints: every file of a directory that has everything (manifest, index snapshot, deltas, segments, a dictionary, a log) flipped,
//! zeroed, cut, deleted, replaced. The database either is refused, with an error that names a file, the same each time and with nothing changed
//! on disk; or it is open, and each key is there with its right value, or answers that its value is damaged. Never fewer keys in silence.

use super::damage::{Files, disk, files, names_a_file};
use super::support::{DIR, fixed_manifest};
use sessile::{Db, Durability, Error, Expiry, Fs, Options, StorageTuning};
use sessile_wal::sim::{SimClock, SimFs};
use std::collections::BTreeMap;
use std::sync::Arc;

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(fs: &SimFs) -> Options {
    let tuning = StorageTuning {
        shards: Some(2),
        segment_target_bytes: 1_500,
        small_segment_bytes: 0,
        objects_bytes_min: 0,
        compaction_look_ms: 1,
        compaction_soon_ms: 0,
        dictionary_samples_min: 8,
        dictionary_bytes_max: 400,
        reserve_bytes: 0,
        ..StorageTuning::default()
    };
    Options::new()
        .durability(Durability::EverySecond)
        .file_system(Arc::new(fs.clone()))
        .clock(Arc::new(SimClock::default()))
        .manual_background()
        .memory_bytes_max(1)
        .log_file_bytes_max(8 << 10)
        .checkpoint_log_bytes(u64::MAX)
        .storage_tuning(tuning)
}

fn open(fs: &SimFs) -> Result<Db, Error> {
    options(fs).open(DIR)
}

fn session(number: u64, version: u64) -> Vec<u8> {
    format!(
        "{{\"user\":{},\"version\":{version},\"roles\":[\"reader\",\"writer\"],\"theme\":\"dark\",\"cart\":[{}]}}",
        number * 7_919 % 1_000,
        number * 104_729 % 10_007
    )
    .into_bytes()
}

/// A directory that has everything, and what it holds.
fn make() -> (Files, Values) {
    let fs = disk(&[("MANIFEST".to_owned(), fixed_manifest())].into_iter().collect());
    let db = open(&fs).expect("opens");
    let mut values = Values::new();
    let mut set = |number: u64, version: u64| {
        let (key, value) = (format!("session {number}").into_bytes(), session(number, version));
        db.set(&key, &value, Expiry::Never).expect("set");
        values.insert(key, value);
    };
    (0..60).for_each(|number| set(number, 1));
    db.checkpoint().expect("made");
    // Two deltas, with new values, moved ones and removed ones.
    (0..6).for_each(|number| set(number, 2));
    db.checkpoint().expect("made");
    (50..55).for_each(|number| set(number, 3));
    db.checkpoint().expect("made");
    (10..14).for_each(|number| set(number, 4));
    for number in 58..60 {
        let key = format!("session {number}").into_bytes();
        assert!(db.delete(&key).expect("deleted"));
        values.remove(&key);
    }
    // The log changes a value that is on disk.
    let key = b"session 20";
    let hashed = db.key(0, key);
    let mut txn = db.begin(&[hashed], sessile::Access::Write, db.now_ms()).expect("readable");
    txn.write_string_at(&hashed, 3, b"USER").expect("a string");
    txn.commit();
    values.get_mut(&key[..]).expect("set")[3..7].copy_from_slice(b"USER");
    db.close().expect("closed");
    let files = files(&fs);
    fs.kill();
    drop(db);
    (files, values)
}

/// Reads all that should be there; how many keys answered that their value is damaged.
fn served(what: &str, db: &Db, values: &Values) -> usize {
    let mut damaged = 0;
    for (key, value) in values {
        match db.get(key) {
            Ok(Some(found)) => assert!(found == *value, "{what}: {} is wrong", key.escape_ascii()),
            Ok(None) => panic!("{what}: {} is gone, and nobody said so", key.escape_ascii()),
            Err(Error::DamagedValue { path, .. }) => {
                assert!(path.starts_with(DIR), "{what}: {}", path.display());
                damaged += 1;
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
    let listed = db.keys().map(|key| key.expect("readable")).filter(|key| values.contains_key(key)).count();
    assert_eq!(listed + damaged, values.len(), "{what}: a scan leaves out what is damaged");
    assert!(db.get(b"session 59").expect("readable").is_none(), "{what}: risen");
    damaged
}

struct Judge {
    values: Values,
    tried: u32,
    refused: u32,
    with_errors: u32,
}

impl Judge {
    /// Opens a damaged directory; how many keys were lost to the damage, `None` if it is refused.
    fn judge(&mut self, what: &str, damaged: &Files) -> Option<usize> {
        self.tried += 1;
        let fs = disk(damaged);
        let db = match open(&fs) {
            Ok(db) => db,
            Err(error) => {
                self.refused += 1;
                assert!(names_a_file(&error), "{what}: {error} names no file");
                let again = open(&fs).err().unwrap_or_else(|| panic!("{what}: refused, then accepted"));
                assert_eq!(error.to_string(), again.to_string(), "{what}: two answers");
                assert_eq!(&files(&fs), damaged, "{what}: refused, and changed on disk");
                return None;
            }
        };
        let lost = served(what, &db, &self.values);
        let counted = db.stats().storage.damaged_reads;
        assert!(counted >= lost as u64, "{what}: {lost} keys are damaged, {counted} reads were counted");
        // Life goes on: new values, compaction that meets the damage, checkpoints, another start.
        db.set(b"new", b"write", Expiry::Never).expect("set");
        for _ in 0..60 {
            db.step().expect("steps");
        }
        db.checkpoint().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(db.verify(), Ok(()), "{what}");
        assert_eq!(served(what, &db, &self.values), lost, "{what}: after a checkpoint");
        drop(db);
        let db = open(&fs).unwrap_or_else(|error| panic!("{what}: accepted, then refused: {error}"));
        assert_eq!(served(what, &db, &self.values), lost, "{what}: second start");
        assert_eq!(db.get(b"new").expect("readable").expect("there"), *b"write");
        self.with_errors += u32::from(lost > 0);
        Some(lost)
    }
}

#[test]
fn damage_to_a_checkpoint_is_refused_or_costs_the_damaged_keys_and_no_other() {
    let (sound, values) = make();
    let kinds = |kind: &str| sound.keys().filter(|name| name.starts_with(kind)).count();
    for (kind, least) in [("MANIFEST", 1), ("index-", 3), ("seg-", 3), ("dict-", 1), ("wal-", 1)] {
        assert!(kinds(kind) >= least, "{kind}: {:?}", sound.keys());
    }
    let mut judge = Judge { values, tried: 0, refused: 0, with_errors: 0 };
    assert_eq!(judge.judge("nothing", &sound), Some(0));
    // Without optimisation, every few bytes will do.
    let stride = if cfg!(debug_assertions) && !super::support::is_thorough() { 7 } else { 1 };
    for (name, bytes) in &sound {
        let is_segment = name.starts_with("seg-");
        // The note beside the log is not needed: damaged, it says nothing.
        let is_note = name == "log-synced";
        let is_log = name.starts_with("wal-") || name.starts_with("spare-") || is_note;
        let mut damages: Vec<(String, Option<Vec<u8>>)> =
            vec![("deleted".into(), None), ("empty".into(), Some(Vec::new()))];
        for cut in [8, 63, 64, 100, bytes.len() / 2, bytes.len().saturating_sub(1)] {
            damages.push((format!("cut to {cut}"), Some(bytes[..cut.min(bytes.len())].to_vec())));
        }
        // The log has tests of its own.
        for at in (0..bytes.len()).step_by(if is_log { 997 } else { stride }) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            damages.push((format!("flipped at {at}"), Some(flipped)));
        }
        for page in (0..bytes.len()).step_by(512).filter(|_| !is_log) {
            let mut zeroed = bytes.clone();
            zeroed[page..(page + 512).min(bytes.len())].fill(0);
            damages.push((format!("zeroed at {page}"), Some(zeroed)));
        }
        for (other, foreign) in sound.iter().filter(|(other, _)| *other != name && !is_log) {
            damages.push((format!("replaced by {other}"), Some(foreign.clone())));
        }
        for (damage, content) in damages {
            let mut damaged = sound.clone();
            match content {
                Some(content) if content == *bytes => continue,
                Some(content) => drop(damaged.insert(name.clone(), content)),
                None => drop(damaged.remove(name)),
            }
            let lost = judge.judge(&format!("{name} {damage}"), &damaged);
            match lost {
                // One record at most.
                Some(lost) if damage.starts_with("flipped") => assert!(lost <= 1, "{name} {damage}: {lost}"),
                Some(lost) if lost > 0 => assert!(is_segment, "{name} {damage}: {lost}"),
                Some(_) => {}
                None if is_segment && damage.starts_with("flipped at ") => {
                    let at: usize = damage["flipped at ".len()..].parse().expect("a number");
                    assert!(at < 64, "{name} {damage}: a record was damaged, and nothing is served");
                }
                None => {}
            }
            let essential = !is_segment && !is_log;
            assert!(lost.is_none() || !essential, "{name} {damage}: nobody noticed");
        }
    }
    let Judge { tried, refused, with_errors, .. } = judge;
    println!(
        "{tried} damages: {refused} refused, {with_errors} with keys that answer an error, the others without effect"
    );
    assert!(with_errors > 100 && refused > 100);
}

/// What the manifest does not list is removed, whatever it holds, and named in the report.
#[test]
fn orphans_of_every_kind_are_removed() {
    let (sound, values) = make();
    let mut with_orphans = sound.clone();
    let orphans = ["seg-00ffffff.seg", "dict-00ffffff.zdict", "index-0000000000ffffff.idx"];
    for (number, orphan) in orphans.iter().enumerate() {
        let foreign = sound.values().nth(number).expect("there are as many").clone();
        with_orphans.insert((*orphan).into(), foreign);
    }
    with_orphans.insert("seg-00fffffe.seg".into(), Vec::new());
    with_orphans.insert("notes.txt".into(), b"not ours".to_vec());
    let fs = disk(&with_orphans);
    let db = open(&fs).expect("opens");
    assert_eq!(db.recovery().orphans, 4);
    assert_eq!(served("orphans", &db, &values), 0);
    let left = fs.list(DIR.as_ref()).expect("listed");
    assert!(left.iter().any(|name| name == "notes.txt"), "what is not ours stays");
    assert!(orphans.iter().all(|orphan| !left.iter().any(|name| name == orphan)), "{left:?}");
}

/// The log has changed a value whose record is damaged, so that the change is lost with it. When the record is sound again, the key must not be
/// there as it was before the change.
#[test]
fn a_record_that_is_sound_again_is_not_served_without_the_change_that_was_lost() {
    let (sound, values) = make();
    let key = b"session 20";
    let mut tried = 0;
    let segments: Vec<&String> = sound.keys().filter(|name| name.starts_with("seg-")).collect();
    for name in segments {
        for at in (70..sound[name].len()).step_by(16) {
            let mut damaged = sound.clone();
            damaged.get_mut(name).expect("it is there")[at] ^= 1;
            let fs = disk(&damaged);
            let db = open(&fs).expect("opens");
            if db.get(key).is_ok() {
                continue;
            }
            db.checkpoint().expect("made");
            drop(db);
            // The segment may have been compacted away, but for one that is damaged.
            let file = fs.open(&std::path::Path::new(DIR).join(name), sessile_wal::OpenMode::ReadWrite);
            file.expect("it is there").write_at_durable(&sound[name], 0).expect("mended");
            let db = open(&fs).expect("opens");
            match db.get(key) {
                Err(Error::DamagedValue { .. }) => {}
                other => panic!("{name} at {at}: {other:?} instead of {:?}", values[&key[..]]),
            }
            db.set(key, b"new", Expiry::Never).expect("set");
            assert_eq!(db.get(key).expect("readable").expect("there"), *b"new");
            tried += 1;
        }
    }
    assert!(tried > 0);
}

/// A key whose value is damaged answers an error, until it is deleted or set again.
#[test]
fn a_damaged_key_can_be_deleted_and_set_again() {
    let (sound, values) = make();
    for replace in [false, true] {
        let mut damaged = sound.clone();
        for (_, bytes) in damaged.iter_mut().filter(|(name, _)| name.starts_with("seg-")) {
            bytes[80] ^= 1;
        }
        let fs = disk(&damaged);
        let db = open(&fs).expect("opens");
        let key = values.keys().find(|key| db.get(key).is_err()).expect("one of them is damaged");
        assert!(matches!(db.touch(key, std::time::Duration::from_secs(9)), Err(Error::DamagedValue { .. })));
        assert!(matches!(db.set(key, b"new", Expiry::Keep), Err(Error::DamagedValue { .. })));
        let before = db.len();
        if replace {
            db.set(key, b"new", Expiry::Never).expect("set");
        } else {
            assert!(db.delete(key).expect("deleted"));
            assert!(!db.delete(key).expect("deleted"));
        }
        let expected = replace.then(|| b"new".to_vec());
        assert_eq!(db.len(), before - usize::from(!replace));
        assert_eq!(db.verify(), Ok(()));
        db.close().expect("closed");
        drop(db);
        let db = open(&fs).expect("opens");
        assert_eq!(db.get(key).expect("readable").map(|value| value.to_vec()), expected);
        db.checkpoint().expect("made");
        assert_eq!(db.get(key).expect("readable").map(|value| value.to_vec()), expected);
    }
}

/// All values of a directory are damaged: nothing hangs, and no key is made up.
#[test]
fn with_every_value_damaged_nothing_hangs() {
    let (sound, values) = make();
    let mut damaged = sound;
    for (_, bytes) in damaged.iter_mut().filter(|(name, _)| name.starts_with("seg-")) {
        bytes[64..].fill(0xA5);
    }
    let fs = disk(&damaged);
    let db = open(&fs).expect("opens");
    for random in 0..20 {
        match db.random_key(0, random << 59) {
            Err(Error::DamagedValue { .. }) => {}
            Ok(Some(key)) => assert!(values.contains_key(&key), "{}", key.escape_ascii()),
            other => panic!("{other:?}"),
        }
    }
    served("all damaged", &db, &values);
    db.clear(None).expect("cleared");
    db.checkpoint().expect("made");
    assert!(db.is_empty() && db.random_key(0, 7).expect("readable").is_none());
}
