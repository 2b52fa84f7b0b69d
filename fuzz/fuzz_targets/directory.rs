//! A directory with one of everything, in which something is changed: a few bytes, so that a checksum is sure to notice, or anything, with
//! checksums that match again. Opening, reading all of it, checking and saving what can be saved never panic; and of what is only damaged nothing wrong
//! is ever read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::check::{check, repair};
use sessile::fuzzing::{Input, sealed, unstamped};
use sessile::{Error, Kind};
use sessile_fuzz::directory::{
    Content, DIR, Id, Past, content, keys, look, made, names, options, read, stir, write,
};
use sessile_wal::Fs;
use sessile_wal::sim::{SimClock, SimFs};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

static MADE: LazyLock<(SimFs, BTreeMap<Id, Past>)> = LazyLock::new(made);
const SAVED: &str = "/saved";

fuzz_target!(|bytes: &[u8]| {
    let (base, pasts) = &*MADE;
    let mut input = Input::new(bytes);
    let fs = base.fork(1);
    let shape = input.byte();
    let damaged = if shape & 1 == 0 { Some(damage(&fs, &mut input)) } else { forge(&fs, &mut input) };
    // A look first, since opening may cut a torn tail.
    let saved = if shape & 2 != 0 { save(&fs) } else { None };
    match options(&fs).open(DIR) {
        Err(error) => drop(error.to_string()),
        Ok(db) => read_all(&db, pasts, damaged.as_deref()),
    }
    if let (Some(saved), Some(_)) = (saved, &damaged) {
        for (id, content) in saved {
            assert!(
                pasts.get(&id).is_some_and(|past| has_held(past, Some(&content))),
                "{id:?} never held what was saved: {content:?}"
            );
        }
    }
});

fn read_all(db: &sessile::Db, pasts: &BTreeMap<Id, Past>, damaged: Option<&str>) {
    let walked: Vec<Id> = keys(db).into_iter().flatten().collect();
    for id in pasts.keys().chain(&walked) {
        match look(db, id) {
            Ok(content) => {
                if let Some(damaged) = damaged {
                    let past = pasts.get(id).unwrap_or_else(|| panic!("{id:?} was never written"));
                    let right = if past.durable {
                        past.held.last() == Some(&content)
                    } else {
                        has_held(past, content.as_ref())
                    };
                    assert!(right, "after damage to {damaged} {id:?} silently holds {content:?}");
                }
                if let Some((kind, _)) = content
                    && let Err(error) = stir(db, id, kind)
                {
                    assert!(is_damage(&error) || damaged.is_none(), "{error}");
                }
            }
            Err(error) => assert!(is_damage(&error) || damaged.is_none(), "{error}"),
        }
    }
    for _ in 0..20 {
        let _ = db.step();
    }
    let _ = db.checkpoint();
    if damaged.is_some() {
        db.verify().expect("what is counted is there");
    }
}

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
    write(fs, DIR, "MANIFEST", &unstamped(&read(fs, DIR, "MANIFEST")));
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

/// Whether a key has ever held that. What is made of many elements changes with each record of the log: of it only the ends of each round are
/// known.
fn has_held(past: &Past, content: Option<&Content>) -> bool {
    past.held.iter().any(|held| held.as_ref() == content)
        || content.is_none()
        || content.is_some_and(|content| content.0 != Kind::String)
}

fn is_damage(error: &Error) -> bool {
    matches!(error, Error::DamagedValue { .. } | Error::DamagedFile { .. } | Error::MissingFile { .. })
}
