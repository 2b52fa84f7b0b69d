//! Repairs of a directory made by hand: what is whole comes over whole, and each kind of damage costs what it must and no more.

use super::super::fixture::*;
use super::*;
use crate::expiry::NEVER;
use crate::object::layout;
use crate::segment;
use crate::{Db, Options};
use sessile_wal::OpenMode;
use sessile_wal::sim::{SimClock, SimFs};
use std::collections::BTreeMap;
use std::time::Duration;

type Content = BTreeMap<(u8, Vec<u8>), (Vec<u8>, u64)>;

fn into() -> &'static Path {
    Path::new("/new")
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SimClock::new(CHECKPOINT_MS))
}

fn repair_all(fs: &SimFs) -> (RepairReport, Vec<Loss>) {
    let before = disk(fs);
    let mut losses = Vec::new();
    let report = repair(Arc::new(fs.clone()), clock(), dir(), into(), &mut |loss| losses.push(loss.clone()))
        .expect("repairs");
    assert!(disk(fs) == before, "a repair changed the directory");
    (report, losses)
}

fn open(fs: &SimFs) -> Db {
    let options = Options::new().file_system(Arc::new(fs.clone())).clock(clock()).manual_background();
    options.open(into()).expect("what was repaired opens")
}

/// What the new directory holds, after a power cut, by way of opening it; and a check finds nothing.
fn content(fs: &SimFs) -> Content {
    fs.crash();
    let checked = super::super::check(Arc::new(fs.clone()), into(), &mut |finding| {
        assert!(finding.is_sound(), "{finding:?}");
    });
    assert!(checked.expect("checks").is_sound());
    let db = open(fs);
    let mut content = Content::new();
    for number in 0..16 {
        let database = db.database(number);
        for key in database.keys().map(|key| key.expect("reads")) {
            let value = database.get(&key).expect("reads").expect("is there").to_vec();
            let rest = database.time_to_live(&key).expect("reads").expect("is there");
            let deadline_ms = rest.map_or(NEVER, |rest: Duration| CHECKPOINT_MS + rest.as_millis() as u64);
            content.insert((number, key), (value, deadline_ms));
        }
    }
    content
}

fn expected(fixture: &Fixture) -> Content {
    let value = |flat: &[u8]| layout::parts(flat).payload.to_vec();
    fixture
        .expected
        .iter()
        .map(|(key, (flat, deadline_ms))| (key.clone(), (value(flat), *deadline_ms)))
        .collect()
}

fn id_of(number: u64) -> (u8, Vec<u8>) {
    key_of(&session(number, 0))
}

#[test]
fn a_sound_directory_comes_over_whole() {
    let fixture = fixture();
    let (report, losses) = repair_all(&fixture.fs);
    assert_eq!((&losses[..], report.is_complete()), (&[][..], true), "{report:?}");
    // Deleted in the log: it is copied, and deleted again.
    assert_eq!((report.keys_saved, report.keys_expired), (SESSIONS - 2, 1));
    assert_eq!(report.operations_saved, 5);
    assert_eq!(content(&fixture.fs), expected(&fixture));
}

#[test]
fn what_was_repaired_is_a_database_like_any_other() {
    let fixture = fixture();
    repair_all(&fixture.fs);
    let db = open(&fixture.fs);
    db.set(b"after", b"the repair", crate::Expiry::Never).expect("sets");
    db.checkpoint().expect("checkpoints");
    db.close().expect("closes");
    drop(db);
    let mut expected = expected(&fixture);
    expected.insert((0, b"after".to_vec()), (b"the repair".to_vec(), NEVER));
    assert_eq!(content(&fixture.fs), expected);
}

#[test]
fn a_damaged_record_costs_its_key_and_is_named() {
    let fixture = fixture();
    assert!(fixture.fs.flip_bit(&segment_path(2), 400, 3));
    let (report, losses) = repair_all(&fixture.fs);
    assert_eq!((report.keys_lost, report.keys_saved), (1, SESSIONS - 3));
    let [loss] = &losses[..] else { panic!("{losses:?}") };
    assert_eq!(loss.path, segment_path(2));
    assert!(loss.offset <= 400 && loss.what.contains("checksum"), "{loss:?}");
    let (content, mut expected) = (content(&fixture.fs), expected(&fixture));
    let lost: Vec<_> = expected.keys().filter(|key| !content.contains_key(*key)).cloned().collect();
    assert_eq!(lost.len(), 1);
    expected.remove(&lost[0]);
    assert_eq!(content, expected);
}

#[test]
fn operations_on_a_lost_key_are_left_out_and_counted() {
    let fixture = fixture();
    fixture.fs.remove(&segment_path(2)).expect("removes");
    let (report, losses) = repair_all(&fixture.fs);
    // All of it but the dead one, the removed and the rewritten one.
    assert_eq!((report.keys_lost, losses.len()), (37, 37));
    // The touch and the change; the deletion needs no key.
    assert_eq!(report.operations_lost, 2);
    let mut expected = expected(&fixture);
    for number in (0..40).filter(|number| *number != REWRITTEN) {
        expected.remove(&id_of(number));
    }
    assert_eq!(content(&fixture.fs), expected);
}

#[test]
fn a_lost_dictionary_costs_what_was_compressed_with_it() {
    let fixture = fixture();
    fixture.fs.remove(&dir().join("dict-00000001.zdict")).expect("removes");
    let (report, _) = repair_all(&fixture.fs);
    assert_eq!((report.keys_lost, report.keys_saved), (60, SESSIONS - 62));
    let mut expected = expected(&fixture);
    (40..SESSIONS).for_each(|number| drop(expected.remove(&id_of(number))));
    assert_eq!(content(&fixture.fs), expected);
}

#[test]
fn without_the_snapshot_the_records_tell() {
    for damage in ["missing", "block", "header"] {
        let fixture = fixture();
        match damage {
            "missing" => fixture.fs.remove(&index_path(1)).expect("removes"),
            "block" => assert!(fixture.fs.flip_bit(&index_path(1), 64 + 48 + 20, 0)),
            _ => assert!(fixture.fs.flip_bit(&index_path(1), 3, 0)),
        }
        let (report, losses) = repair_all(&fixture.fs);
        assert_eq!((report.keys_lost, report.gaps), (0, 1), "{damage}: {losses:?}");
        assert_eq!(losses[0].path, index_path(1));
        assert!(report.keys_uncertain > 0 && !report.is_complete());
        // The delta says what was removed, rewritten and touched; the records say the rest.
        assert_eq!(content(&fixture.fs), expected(&fixture), "{damage}");
    }
}

#[test]
fn without_a_delta_what_it_said_is_lost_and_counted_as_uncertain() {
    let fixture = fixture();
    fixture.fs.remove(&index_path(2)).expect("removes");
    let (report, losses) = repair_all(&fixture.fs);
    assert_eq!(losses.len(), 1);
    assert_eq!(report.keys_lost, 0);
    assert!(report.keys_uncertain >= SESSIONS - 2, "{report:?}");
    let mut expected = expected(&fixture);
    // Who was removed since the snapshot is back, and a touch is forgotten; the newer record is the one that counts.
    let removed = session(REMOVED, 0);
    let payload = layout::parts(&removed).payload.to_vec();
    expected.insert(id_of(REMOVED), (payload, deadline_ms(REMOVED)));
    expected.get_mut(&id_of(TOUCHED)).expect("is there").1 = deadline_ms(TOUCHED);
    assert_eq!(content(&fixture.fs), expected);
}

#[test]
fn without_a_manifest_records_and_log_tell_what_they_can() {
    for damage in ["missing", "flipped"] {
        let fixture = fixture();
        match damage {
            "missing" => fixture.fs.remove(&dir().join("MANIFEST")).expect("removes"),
            _ => assert!(fixture.fs.flip_bit(&dir().join("MANIFEST"), 70, 0)),
        }
        fixture.fs.remove(&segment_path(9)).expect("removes");
        let (report, losses) = repair_all(&fixture.fs);
        assert_eq!(losses[0].path, dir().join("MANIFEST"), "{damage}");
        assert!(!report.is_complete() && report.operations_lost > 0);
        let content = content(&fixture.fs);
        // Everyone who should be there is, with the value that was written last as a whole.
        for (number, version) in (0..SESSIONS).map(|number| (number, u8::from(number == REWRITTEN))) {
            if [DEAD, REMOVED, TAIL_REMOVED, TAIL_CHANGED].contains(&number) {
                continue;
            }
            let flat = session(number, version);
            let (value, _) = content.get(&id_of(number)).unwrap_or_else(|| panic!("{damage}: no {number}"));
            assert_eq!(value, layout::parts(&flat).payload, "{damage}: {number}");
        }
        assert!(content.contains_key(&id_of(TAIL_NEW)));
        assert!(!content.contains_key(&id_of(DEAD)));
    }
}

/// A session that was ended and comes back must be counted: found by the simulator (`sim/src/rot.rs`).
#[test]
fn without_a_manifest_deletions_that_name_their_key_by_its_hash_count_as_lost() {
    let fixture = fixture();
    assert!(fixture.fs.flip_bit(&dir().join("MANIFEST"), 70, 0));
    let (report, _) = repair_all(&fixture.fs);
    let content = content(&fixture.fs);
    assert!(content.contains_key(&id_of(REMOVED)) && content.contains_key(&id_of(TAIL_REMOVED)));
    // Two deletions, two deadlines, a change and a copy.
    assert_eq!(report.operations_lost, 6);
}

#[test]
fn a_damaged_log_is_saved_up_to_the_damage() {
    let fixture = fixture();
    let from = fixture.manifest.checkpoint.log_from;
    let name = names(&fixture.fs)
        .into_iter()
        .filter_map(|name| {
            Some((u64::from_str_radix(name.strip_prefix("wal-")?.strip_suffix(".log")?, 16).ok()?, name))
        })
        .rfind(|(base, _)| *base <= from)
        .expect("is there");
    // In the first record of the tail, the touch.
    assert!(fixture.fs.flip_bit(&dir().join(&name.1), from + 30 - name.0, 0));
    let (report, losses) = repair_all(&fixture.fs);
    assert_eq!(report.gaps, 1, "{losses:?}");
    assert_eq!(losses[0].path, dir().join(&name.1));
    let content = content(&fixture.fs);
    assert_eq!(content[&id_of(TAIL_TOUCHED)].1, deadline_ms(TAIL_TOUCHED));
    assert_eq!(report.keys_saved, SESSIONS - 2);
}

#[test]
fn a_directory_with_files_in_it_is_not_repaired_into() {
    let fixture = fixture();
    fixture.fs.create_dir_all(into()).expect("creates");
    fixture.fs.open(&into().join("note"), OpenMode::Create).expect("creates");
    let error =
        repair(Arc::new(fixture.fs.clone()), clock(), dir(), into(), &mut |_| {}).expect_err("refuses");
    assert!(error.to_string().contains("there are files in it"), "{error}");
    assert_eq!(fixture.fs.list(into()).expect("lists"), ["note"]);
}

#[test]
fn whichever_call_fails_an_interrupted_repair_is_no_database() {
    for calls in (1..2000).step_by(7) {
        let fixture = fixture();
        fixture.fs.crash_after(calls);
        let outcome = repair(Arc::new(fixture.fs.clone()), clock(), dir(), into(), &mut |_| {});
        let done = !fixture.fs.is_down();
        fixture.fs.clear_faults();
        fixture.fs.crash();
        if done {
            assert_eq!(outcome.expect("nothing failed").keys_lost, 0);
            assert_eq!(content(&fixture.fs), expected(&fixture));
            return;
        }
        let there = fixture.fs.exists(&into().join("MANIFEST")).expect("asks");
        if there {
            // Only its very end failed.
            assert_eq!(content(&fixture.fs), expected(&fixture), "call {calls}");
        }
    }
    panic!("a repair of 2000 calls");
}

#[test]
fn any_flipped_bit_costs_little_and_the_rest_is_right() {
    let fixture = fixture();
    let expected = expected(&fixture);
    let all = disk(&fixture.fs);
    for (name, bytes) in all
        .iter()
        .filter(|(name, _)| segment::id_of_name(name).is_some_and(|id| id != 9) || name.starts_with("index-"))
    {
        for offset in (0..bytes.len() as u64).step_by(97) {
            let fs = fixture.fs.fork(offset);
            assert!(fs.flip_bit(&dir().join(name), offset, (offset % 8) as u8));
            let (report, losses) = repair_all(&fs);
            let content = content(&fs);
            if losses.is_empty() {
                // In the record of a session that was removed or rewritten since.
                assert!(name.starts_with("seg-") && report.is_complete(), "{name} at {offset}");
                assert_eq!(content, expected);
                continue;
            }
            assert!(!report.is_complete(), "{name} at {offset}");
            if name.starts_with("index-") {
                assert_eq!(report.keys_lost, 0);
                assert!(expected.keys().all(|key| content.contains_key(key)), "{name} at {offset}");
            } else {
                for (key, value) in &content {
                    assert_eq!(expected.get(key), Some(value), "{name} at {offset}");
                }
                let header = offset < 64;
                assert!(header || content.len() + 1 >= expected.len(), "{name} at {offset}: {losses:?}");
            }
        }
    }
}
