//! The format held still: directories made once, by hand of [`make`], that every later version must read as they were meant.

use super::support::{Content, Id, NEVER, Seen, fixed_manifest, look_at_all, open_free};
use proptest::prelude::*;
use sessile::sessions::{self, Conditions, EventKind, NewSession, Policy, SessionError, TokenDigest};
use sessile::{Access, Db, Durability, Expiry, Fs, Options, StorageTuning, Touch, Txn};
use sessile_wal::sim::SimClock;
use sessile_wal::{OpenMode, RealFs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const START_MS: u64 = 1_800_000_000_000;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn open(dir: &Path, after_ms: u64) -> Db {
    let tuning = StorageTuning {
        dictionary_samples_min: 16,
        dictionary_bytes_max: 512,
        session_digest_key: Some([7; 32]),
        ..StorageTuning::default()
    };
    let options = Options::new()
        .storage_tuning(tuning)
        .clock(Arc::new(SimClock::new(START_MS + after_ms)))
        .durability(Durability::No)
        .manual_background()
        .log_file_bytes_max(8 << 10);
    open_free(&options, dir)
}

/// Every kind of operation that the log has.
fn fill(db: &Db) {
    let seconds = Duration::from_secs;
    db.set(b"forever", b"value", Expiry::Never).expect("set");
    db.set(b"minute", b"", Expiry::After(seconds(60))).expect("set");
    db.set(b"idle", [0, 255, 10], Expiry::Idle { idle: seconds(1800), absolute: Some(seconds(86_400)) })
        .expect("set");
    db.set(b"touched", b"value", Expiry::After(seconds(10))).expect("set");
    db.touch(b"touched", Touch::For(seconds(1_800))).expect("touched");
    db.set(b"deleted", b"value", Expiry::Never).expect("set");
    db.delete(b"deleted").expect("deleted");
    db.set(b"exact", b"value", Expiry::Never).expect("set");
    db.expire_at_ms(b"exact", Some(START_MS + 123_457)).expect("moved");
    db.set(b"old name", b"moved", Expiry::AtMs(START_MS + 1_000_000)).expect("set");
    db.transaction(&[b"old name", b"new name"], |txn, keys| txn.rename(&keys[0], &keys[1])).expect("renamed");
    db.set(b"written", b"0123456789", Expiry::Never).expect("set");
    db.transaction(&[b"written"], |txn, keys| txn.write_string_at(&keys[0], 12, b"XY").expect("a string"))
        .expect("ok");
    let other = db.database(15);
    for number in 0..3u8 {
        other.hash_set(b"hash", &[number], [number; 3]).expect("set");
    }
    other.hash_set(b"hash", &[1], b"changed").expect("set");
    other.hash_remove(b"hash", &[0]).expect("removed");
    for number in 0..130u8 {
        other.hash_set(b"large hash", &[number], [number]).expect("set");
    }
    db.database(2).set(b"cleared", b"", Expiry::Never).expect("set");
    db.clear(Some(2)).expect("cleared");
}

/// What [`fill`] leaves, as the log holds it: a touched deadline rounded up to its grid of 65,536 ms.
fn expected() -> BTreeMap<Id, Seen> {
    let string = |key: &str, bytes: &[u8], deadline_ms, absolute_ms| {
        let content = Content::String(bytes.to_vec());
        ((0, key.as_bytes().to_vec()), Seen { content, deadline_ms, absolute_ms })
    };
    let hash = |key: &str, fields: Vec<(u8, Vec<u8>)>| {
        let content =
            Content::Hash(fields.into_iter().map(|(field, value)| (vec![field], (value, NEVER))).collect());
        ((15, key.as_bytes().to_vec()), Seen { content, deadline_ms: NEVER, absolute_ms: NEVER })
    };
    let rounded_ms = (START_MS + 1_800_000).next_multiple_of(65_536);
    [
        string("forever", b"value", NEVER, NEVER),
        string("minute", b"", START_MS + 60_000, NEVER),
        string("idle", &[0, 255, 10], rounded_ms, START_MS + 86_400_000),
        string("touched", b"value", rounded_ms, NEVER),
        string("exact", b"value", START_MS + 123_457, NEVER),
        string("new name", b"moved", START_MS + 1_000_000, NEVER),
        string("written", b"0123456789\0\0XY", NEVER, NEVER),
        hash("hash", vec![(1, b"changed".to_vec()), (2, vec![2; 3])]),
        hash("large hash", (0..130).map(|number| (number, vec![number])).collect()),
    ]
    .into_iter()
    .collect()
}

fn session(number: u64, version: u64) -> Vec<u8> {
    format!(
        "{{\"user\":{number},\"version\":{version},\"roles\":[\"reader\",\"writer\"],\"theme\":\"dark\"}}"
    )
    .into_bytes()
}

/// What the files of checkpoints hold: a snapshot, a delta, segments with a dictionary and without; and a log behind them.
fn fill_checkpoints(db: &Db) {
    fill(db);
    let third = db.database(3);
    for number in 0..100 {
        third.set(&session(number, 0), session(number, 1), Expiry::Never).expect("set");
    }
    db.checkpoint().expect("made");
    for number in 0..10 {
        third.set(&session(number, 0), session(number, 2), Expiry::Never).expect("set");
    }
    assert!(third.delete(&session(50, 0)).expect("deleted"));
    db.expire_at_ms(b"forever", Some(START_MS + 2_000_000)).expect("moved");
    db.checkpoint().expect("made");
    assert!(third.delete(&session(51, 0)).expect("deleted"));
    db.expire_at_ms(b"forever", None).expect("moved");
    db.transaction(&[b"written"], |txn, keys| txn.write_string_at(&keys[0], 0, b"abc").expect("a string"))
        .expect("ok");
}

/// What [`fill_checkpoints`] leaves.
fn expected_of_checkpoints() -> BTreeMap<Id, Seen> {
    let mut all = expected();
    let string = |content: &[u8]| Content::String(content.to_vec());
    for number in (0..100).filter(|number| ![50, 51].contains(number)) {
        let content = string(&session(number, if number < 10 { 2 } else { 1 }));
        all.insert((3, session(number, 0)), Seen { content, deadline_ms: NEVER, absolute_ms: NEVER });
    }
    all.get_mut(&(0, b"written".to_vec())).expect("there").content = string(b"abc3456789\0\0XY");
    all
}

/// A manifest with a map of databases, and a log that changes it.
fn fill_swapped(db: &Db) {
    fill_checkpoints(db);
    db.swap_databases(3, 5).expect("swapped");
    db.checkpoint().expect("made");
    db.swap_databases(5, 15).expect("swapped");
    db.database(5).set(b"after", b"the swap", Expiry::Never).expect("set");
}

/// What [`fill_swapped`] leaves.
fn expected_of_swapped() -> BTreeMap<Id, Seen> {
    let all = expected_of_checkpoints().into_iter().map(|((database, key), seen)| {
        let database = match database {
            3 => 15,
            15 => 5,
            database => database,
        };
        ((database, key), seen)
    });
    let content = Content::String(b"the swap".to_vec());
    let after = ((5, b"after".to_vec()), Seen { content, deadline_ms: NEVER, absolute_ms: NEVER });
    all.chain([after]).collect()
}

fn copy(from: &Path, to: &Path) {
    for name in RealFs.list(from).expect("a directory") {
        std::fs::copy(from.join(&name), to.join(&name)).expect("copied");
    }
}

#[test]
fn a_directory_of_version_1_holds_what_was_put_into_it() {
    let dir = tempfile::tempdir().expect("a directory");
    copy(&golden("version-1"), dir.path());
    for _ in 0..2 {
        let db = open(dir.path(), 0);
        assert_eq!(look_at_all(&db), expected());
        assert!(db.recovery().torn.is_none() && !db.recovery().created);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever it is opened, the living are there, and it can be written.
    #[test]
    fn a_directory_of_version_1_opens_at_any_time(after_ms in 0u64..3_000_000, value: Vec<u8>) {
        let dir = tempfile::tempdir().expect("a directory");
        copy(&golden("version-1"), dir.path());
        let mut expected = expected();
        expected.retain(|_, seen| seen.deadline_ms > START_MS + after_ms);
        let db = open(dir.path(), after_ms);
        prop_assert_eq!(look_at_all(&db), expected.clone());
        db.set(b"new", &value, Expiry::Never).expect("set");
        drop(db);
        let seen = Seen { content: Content::String(value), deadline_ms: NEVER, absolute_ms: NEVER };
        expected.insert((0, b"new".to_vec()), seen);
        prop_assert_eq!(look_at_all(&open(dir.path(), after_ms)), expected);
    }
}

#[test]
fn a_directory_with_checkpoints_holds_what_was_put_into_it() {
    let dir = tempfile::tempdir().expect("a directory");
    copy(&golden("checkpoint-1"), dir.path());
    for _ in 0..2 {
        let db = open(dir.path(), 0);
        assert_eq!(look_at_all(&db), expected_of_checkpoints());
        let recovery = db.recovery();
        assert!(recovery.index_files == 2 && recovery.segments >= 2 && recovery.orphans == 0, "{recovery:?}");
        assert_eq!(db.verify(), Ok(()));
    }
    let db = open(dir.path(), 0);
    db.checkpoint().expect("made");
    assert_eq!(look_at_all(&db), expected_of_checkpoints());
}

#[test]
fn a_directory_with_a_map_of_databases_holds_what_was_put_into_it() {
    let dir = tempfile::tempdir().expect("a directory");
    copy(&golden("databases-1"), dir.path());
    for _ in 0..2 {
        let db = open(dir.path(), 0);
        assert_eq!(look_at_all(&db), expected_of_swapped());
        assert_eq!(db.verify(), Ok(()));
    }
    let db = open(dir.path(), 0);
    db.checkpoint().expect("made");
    drop(db);
    assert_eq!(look_at_all(&open(dir.path(), 0)), expected_of_swapped());
}

/// A token that is the same each time, and its digest.
fn token(db: &Db, number: u8) -> TokenDigest {
    // In base64url as any other.
    let text: Vec<u8> = (0..43u8).map(|at| if at == 42 { b'A' } else { b'a' + (number + at) % 26 }).collect();
    db.session_digest(&text).expect("the digest key is there")
}

/// Runs an operation on sessions with all keys that it needs.
fn on_sessions<R>(
    db: &Db,
    access: Access,
    mut run: impl FnMut(&mut Txn<'_>) -> Result<R, SessionError>,
) -> R {
    let mut keys = sessions::usual_keys().to_vec();
    loop {
        let hashed: Vec<_> = keys.iter().map(|key| key.hashed(db)).collect();
        let mut txn = db.begin(&hashed, access, db.now_ms()).expect("open");
        match run(&mut txn) {
            Ok(answer) => {
                txn.commit();
                return answer;
            }
            Err(SessionError::Needs(more)) => keys.extend(more),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Every kind of key, field and event that sessions have: in a checkpoint, and in the log behind it.
fn fill_sessions(db: &Db) {
    let policy = Policy { idle_s: 1_800, max_s: 86_400, per_user: 3, grace_s: 600, ..Policy::default() };
    db.set_session_policy("web", policy).expect("set");
    db.set_session_policy("gone", Policy { idle_s: 60, ..policy }).expect("set");
    // The first one makes the digest key.
    db.new_session_token().expect("drawn");
    let fields: [[&[u8]; 2]; 2] = [[b"cart", b"3 apples"], [b"\0", b"zero"]];
    let make = |number: u8, class: &str, user: Option<&[u8]>| {
        let one = NewSession { class, user, idle_s: None, max_s: None, meta: b"Firefox", fields: &fields };
        let digest = token(db, number);
        on_sessions(db, Access::Write, |txn| sessions::create(txn, &one, &digest));
    };
    for number in 0..4 {
        // One makes room for the last: of those that were seen at the same time that with the least id, which is the first's.
        make(number, "web", Some(b"ann"));
    }
    make(4, "aal1", None);
    make(5, "gone", Some(b"bob"));
    let (first, second, third) = (token(db, 1), token(db, 6), token(db, 7));
    on_sessions(db, Access::Write, |txn| sessions::rotate(txn, &first, None, &second));
    db.checkpoint().expect("made");
    on_sessions(db, Access::Write, |txn| sessions::rotate(txn, &second, None, &third));
    on_sessions(db, Access::Write, |txn| {
        sessions::set(txn, &third, &Conditions::default(), &[[b"cart", b"4 apples"]])
    });
    on_sessions(db, Access::Write, |txn| sessions::fence(txn, &third));
    let ended = token(db, 2);
    on_sessions(db, Access::Write, |txn| sessions::end(txn, &[ended]));
    assert_eq!(db.revoke_session_class("gone").expect("revoked"), Some(1));
    on_sessions(db, Access::Write, |txn| sessions::tell_of_unknown(txn, 100, b"192.0.2.1"));
}

#[test]
fn a_directory_with_sessions_holds_what_was_put_into_it() {
    let dir = tempfile::tempdir().expect("a directory");
    copy(&golden("sessions-1"), dir.path());
    let seen = |db: &Db, number: u8| {
        let digest = token(db, number);
        on_sessions(db, Access::Read, |txn| {
            Ok(sessions::get(txn, &digest, false)?.map(|session| {
                let user = session.user().map(<[u8]>::to_vec);
                assert_eq!((session.meta(), session.field(b"\0")), (&b"Firefox"[..], Some(&b"zero"[..])));
                assert_eq!(session.created_ms(), START_MS);
                let cart = session.field(b"cart").expect("there").to_vec();
                (session.class().to_string(), user, session.version(), session.fence(), cart)
            }))
        })
    };
    let told = [
        EventKind::Created,
        EventKind::Created,
        EventKind::Created,
        EventKind::Evicted,
        EventKind::Created,
        EventKind::Created,
        EventKind::Created,
        EventKind::Rotated,
        EventKind::Rotated,
        EventKind::Ended,
        EventKind::Revoked,
        EventKind::Unknown,
    ];
    for _ in 0..2 {
        let db = open(dir.path(), 0);
        let web = ("web".to_owned(), Some(b"ann".to_vec()), 2, 1, b"4 apples".to_vec());
        // By its token, and by the two that it had before, in their grace.
        for number in [1, 6, 7] {
            assert_eq!(seen(&db, number).as_ref(), Some(&web));
        }
        assert_eq!(seen(&db, 3).expect("lives"), (web.0, web.1, 1, 0, b"3 apples".to_vec()));
        assert_eq!(seen(&db, 4).expect("lives"), ("aal1".to_owned(), None, 1, 0, b"3 apples".to_vec()));
        assert!([0, 2, 5, 8].iter().all(|&number| seen(&db, number).is_none()));
        let mut events = db.session_events(None, 100).expect("readable").events;
        let kinds: Vec<_> = events.iter().map(|one| one.event.kind).collect();
        assert_eq!(kinds, told);
        let last = events.pop().expect("there are some").event;
        assert_eq!((last.count, last.reason.as_deref()), (Some(100), Some(&b"192.0.2.1"[..])));
        assert_eq!(db.session_policies(), ["aal1", "aal2", "aal3", "gone", "web"]);
        assert_eq!(db.session_policy("web").expect("there").per_user, 3);
        assert_eq!(db.list_sessions(b"ann", 0, 10).expect("listed").sessions.len(), 2);
        assert_eq!(db.count_sessions(None, None).expect("counted"), 3);
        assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
    }
    // When all have died, that was told of.
    let db = open(dir.path(), 40 * 86_400_000);
    assert_eq!(db.count_sessions(None, None).expect("counted"), 0);
    let events = db.session_events(None, 100).expect("readable").events;
    assert_eq!(events.iter().filter(|one| one.event.kind == EventKind::Expired).count(), 3);
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
}

/// Writes the directories anew: for a new format version, into directories of their own names.
#[test]
#[ignore = "makes the golden directories"]
fn make() {
    make_one("version-1", fill);
    make_one("checkpoint-1", fill_checkpoints);
    make_one("databases-1", fill_swapped);
    make_one("sessions-1", fill_sessions);
}

/// Makes a directory, unless it is there.
fn make_one(name: &str, fill: fn(&Db)) {
    let dir = golden(name);
    if RealFs.exists(&dir).expect("a path") {
        return;
    }
    RealFs.create_dir_all(&dir).expect("made");
    let manifest = RealFs.open(&dir.join("MANIFEST"), OpenMode::CreateNew).expect("new");
    manifest.write_at(&fixed_manifest(), 0).expect("written");
    let db = open(&dir, 0);
    fill(&db);
    drop(db);
    for name in RealFs.list(&dir).expect("a directory") {
        if name == "LOCK" || name.starts_with("spare") {
            RealFs.remove(&dir.join(name)).expect("removed");
        }
    }
}
