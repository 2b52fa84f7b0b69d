//! A directory with one of everything, in which something is changed: a few bytes, so that a checksum is sure to notice, or anything, with
//! checksums that match again. Opening, reading all of it, checking and saving what can be saved never panic; and of what is only damaged nothing wrong
//! is ever read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::Error;
use sessile::check::{check, repair};
use sessile::fuzzing::{Input, sealed};
use sessile_fuzz::directory::{
    Content, DIR, Id, content, keys, look, made, names, options, read, stir, write,
};
use sessile_wal::Fs;
use sessile_wal::sim::{SimClock, SimFs};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// The directory, and for each key all contents that it ever had, with whether the last one is in a checkpoint.
type Made = (SimFs, BTreeMap<Id, (Vec<Content>, bool)>);

static MADE: LazyLock<Made> = LazyLock::new(made);
const SAVED: &str = "/saved";

fuzz_target!(|bytes: &[u8]| {
    let (base, history) = &*MADE;
    let mut input = Input::new(bytes);
    let fs = base.fork(1);
    let shape = input.byte();
    let damaged = if shape & 1 == 0 { Some(damage(&fs, &mut input)) } else { forge(&fs, &mut input) };
    // A look first, since opening may cut a torn tail.
    let saved = if shape & 2 != 0 { save(&fs) } else { None };
    let mut lost = 0;
    match options(&fs).open(DIR) {
        Err(error) => drop(error.to_string()),
        Ok(db) => {
            let found = keys(&db);
            let broken = found.iter().filter(|id| id.is_err()).count();
            for id in found.into_iter().flatten() {
                match look(&db, &id) {
                    Ok(Some(content)) => {
                        if damaged.is_some() {
                            right(history, &id, &content, false);
                        }
                        if let Err(error) = stir(&db, &id, content.0) {
                            assert!(is_damage(&error) || damaged.is_none(), "{error}");
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        lost += 1;
                        assert!(is_damage(&error) || damaged.is_none(), "{error}");
                    }
                }
            }
            if let Some(name) = &damaged {
                whole(&db, history, name);
            }
            let _ = (broken, lost);
            for _ in 0..20 {
                let _ = db.step();
            }
            let _ = db.checkpoint();
            if damaged.is_some() {
                db.verify().expect("what is counted is there");
            }
        }
    }
    if let (Some(saved), Some(_)) = (saved, &damaged) {
        for (id, content) in saved {
            right(history, &id, &content, true);
        }
    }
});

/// Changes up to four bytes in one place of one file, cuts it, or makes it longer; its name.
fn damage(fs: &SimFs, input: &mut Input<'_>) -> String {
    let names = names(fs, DIR);
    let name = names[input.below(names.len())].clone();
    let mut bytes = read(fs, DIR, &name);
    let at = (usize::from(input.short()) | usize::from(input.byte()) << 16) % bytes.len().max(1);
    match input.byte() % 8 {
        0 => bytes.truncate(at),
        1 => bytes.extend_from_slice(&[0; 40]),
        2 => {
            let other = names[input.below(names.len())].clone();
            bytes = read(fs, DIR, &other);
        }
        _ => {
            for (byte, change) in bytes.iter_mut().skip(at).zip(input.slice(4)) {
                *byte ^= change;
            }
        }
    }
    write(fs, DIR, &name, &bytes);
    name
}

/// Changes anything, and puts checksums right.
fn forge(fs: &SimFs, input: &mut Input<'_>) -> Option<String> {
    let names = names(fs, DIR);
    for _ in 0..=input.below(4) {
        let name = &names[input.below(names.len())];
        let mut bytes = read(fs, DIR, name);
        for _ in 0..=input.below(6) {
            let at = (usize::from(input.short()) | usize::from(input.byte()) << 16) % (bytes.len() + 1);
            let new = input.slice(40);
            let end = if input.byte().is_multiple_of(3) { at } else { (at + new.len()).min(bytes.len()) };
            bytes.splice(at..end, new.iter().copied());
        }
        write(fs, DIR, name, &sealed(name, &bytes));
    }
    None
}

/// Checks the directory, saves it to another, and reads that; `None` if there is nothing to be saved.
fn save(fs: &SimFs) -> Option<BTreeMap<Id, Content>> {
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let _ = check(Arc::clone(&shared), Path::new(DIR), &mut |finding| drop(format!("{finding:?}")));
    let clock = Arc::new(SimClock::new(sessile_fuzz::bench::BEGINNING_MS));
    repair(Arc::clone(&shared), clock, Path::new(DIR), Path::new(SAVED), &mut |_| {}).ok()?;
    let report = check(shared, Path::new(SAVED), &mut |_| {}).expect("readable");
    assert!(report.is_sound(), "what a repair writes is sound: {report:?}");
    let db = options(fs).open(SAVED).expect("what a repair writes is sound");
    Some(content(&db).expect("what a repair writes is sound"))
}

/// Whether a value is one that the key has had: the last one, unless that was in the log only, or an index file may be lost.
fn right(history: &BTreeMap<Id, (Vec<Content>, bool)>, id: &Id, found: &Content, saved: bool) {
    let (contents, durable) = history.get(id).unwrap_or_else(|| panic!("{id:?} was never written"));
    let last = contents.last() == Some(found);
    // In the log a key changes piece by piece.
    assert!(last || !durable || saved, "{id:?} holds what it held before");
}

/// Of what was in a checkpoint nothing is missing without an error.
fn whole(db: &sessile::Db, history: &BTreeMap<Id, (Vec<Content>, bool)>, damaged: &str) {
    for (id, (_, durable)) in history {
        if *durable && !is_deleted(id) {
            let there = !matches!(look(db, id), Ok(None));
            assert!(there, "{id:?} is gone without a word after damage to {damaged}");
        }
    }
}

/// Keys that were deleted again.
fn is_deleted(id: &Id) -> bool {
    [&b"sess:1"[..], b"sess:7", b"sess:13"].contains(&&id.1[..])
}

fn is_damage(error: &Error) -> bool {
    matches!(error, Error::DamagedValue { .. } | Error::DamagedFile { .. } | Error::MissingFile { .. })
}
