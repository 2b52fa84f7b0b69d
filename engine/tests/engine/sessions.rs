//! Sessions, one behaviour at a time, on the simulated clock.

use sessile::sessions::{Conditions, EventKind, NewSession, OnLimit, Policy, SessionError};
use sessile::{Db, Durability, Expiry, Options, StorageTuning};
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::Arc;
use std::time::Duration;

pub(super) const START_MS: u64 = 1_800_000_000_000;
const HOUR_S: u64 = 3600;

/// A database on a simulated disk and clock, which only the test moves on.
pub(super) struct World {
    pub(super) clock: Arc<SimClock>,
    pub(super) fs: SimFs,
}

impl World {
    pub(super) fn new() -> World {
        World { clock: Arc::new(SimClock::new(START_MS)), fs: SimFs::new(7) }
    }

    pub(super) fn open(&self) -> Db {
        self.options().open(super::support::DIR).expect("opens")
    }

    pub(super) fn options(&self) -> Options {
        let tuning = StorageTuning { shards: Some(4), ..StorageTuning::default() };
        Options::new()
            .file_system(Arc::new(self.fs.clone()))
            .clock(Arc::clone(&self.clock) as _)
            .durability(Durability::No)
            .manual_background()
            .storage_tuning(tuning)
    }

    pub(super) fn pass(&self, ms: u64) {
        self.clock.advance_ms(ms);
    }
}

pub(super) fn new<'a>(class: &'a str, user: &'a [u8]) -> NewSession<'a> {
    NewSession { class, user: Some(user), idle_s: None, max_s: None, meta: b"meta", fields: &[] }
}

pub(super) fn policy(idle_s: u64, max_s: u64) -> Policy {
    Policy { idle_s, max_s, ..Policy::default() }
}

pub(super) fn lives(db: &Db, token: &sessile::sessions::Token) -> bool {
    db.with_session(token.as_str().as_bytes(), false, |_| ()).expect("readable").is_some()
}

pub(super) fn kinds(db: &Db) -> Vec<EventKind> {
    db.session_events(None, 1000).expect("readable").events.iter().map(|one| one.event.kind).collect()
}

#[test]
fn a_session_lives_by_its_idle_and_its_absolute_limit_to_the_millisecond() {
    let world = World::new();
    let db = world.open();
    db.set_session_policy("web", policy(60, 150)).expect("set");
    let (token, made) = db.create_session(&new("web", b"ann")).expect("made");
    let text = token.as_str().as_bytes();
    assert_eq!((made.deadline_ms, made.absolute_ms), (Some(START_MS + 60_000), Some(START_MS + 150_000)));
    world.pass(59_999);
    let seen = |touch| {
        db.with_session(text, touch, |session| (session.deadline_ms(), session.seen_ms())).expect("readable")
    };
    assert_eq!(seen(false), Some((Some(START_MS + 60_000), START_MS)));
    assert_eq!(seen(true), Some((Some(START_MS + 119_999), START_MS + 59_999)));
    world.pass(59_999);
    // The absolute limit decides from here on.
    assert_eq!(seen(true), Some((Some(START_MS + 150_000), START_MS + 119_998)));
    world.pass(30_001);
    assert_eq!(seen(true), Some((Some(START_MS + 150_000), START_MS + 149_999)));
    world.pass(1);
    assert_eq!(seen(true), None);
    assert_eq!(db.count_sessions(None, None).expect("counted"), 0);
    let page = db.session_events(None, 10).expect("readable");
    let expired = &page.events[1].event;
    assert_eq!((expired.kind, expired.at_ms), (EventKind::Expired, START_MS + 150_000));
    assert_eq!(expired.handle, Some(made.handle));
}

#[test]
fn fields_are_merged_and_versions_and_fences_are_asked_for() {
    let world = World::new();
    let db = world.open();
    db.set_session_policy("web", policy(60, 0)).expect("set");
    let fields: [[&[u8]; 2]; 3] = [[b"a", b"1"], [b"\0v", b"mine"], [b"a", b"2"]];
    let (token, _) = db.create_session(&NewSession { fields: &fields, ..new("web", b"ann") }).expect("made");
    let text = token.as_str().as_bytes();
    let all = || {
        let mut all = Vec::new();
        db.with_session(text, false, |session| {
            session.for_each_field(&mut |name, value| all.push((name.to_vec(), value.to_vec())));
            assert_eq!(session.field(b"a"), all.iter().find(|(n, _)| n == b"a").map(|(_, v)| &v[..]));
        })
        .expect("readable")
        .expect("lives");
        all.sort();
        all
    };
    let pair = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
    assert_eq!(all(), [pair(b"\0v", b"mine"), pair(b"a", b"2")]);
    let none = Conditions::default();
    assert_eq!(db.set_session_fields(text, &none, &[[b"b", b"3"]]).expect("set"), Some(2));
    let stale = Conditions { version: Some(1), ..none };
    let conflict = db.set_session_fields(text, &stale, &[[b"b", b"4"]]);
    assert!(matches!(conflict, Err(SessionError::Conflict { version: 2 })));
    assert_eq!(db.fence_session(text).expect("counted").expect("lives").1, 1);
    let unfenced = Conditions { fence: Some(0), ..none };
    let fenced = db.unset_session_fields(text, &unfenced, &[b"b"]);
    assert!(matches!(fenced, Err(SessionError::Fenced { fence: 1 })));
    let right = Conditions { fence: Some(1), version: Some(2) };
    assert_eq!(db.unset_session_fields(text, &right, &[b"b", b"none"]).expect("unset"), Some(3));
    assert_eq!(db.unset_session_fields(text, &none, &[b"b"]).expect("unset"), Some(3));
    assert_eq!(all(), [pair(b"\0v", b"mine"), pair(b"a", b"2")]);
    // Large ones are kept otherwise.
    let names: Vec<String> = (0..300).map(|number| format!("field {number}")).collect();
    let many: Vec<[&[u8]; 2]> = names.iter().map(|name| [name.as_bytes(), &[7; 100][..]]).collect();
    assert_eq!(db.set_session_fields(text, &none, &many).expect("set"), Some(4));
    assert_eq!(all().len(), 302);
    drop(db);
    let db = world.open();
    assert_eq!(db.with_session(text, false, |session| session.version()).expect("readable"), Some(4));
}

#[test]
fn a_rotated_token_reads_in_its_grace_and_is_told_of_afterwards() {
    let world = World::new();
    let db = world.open();
    db.set_session_policy("web", Policy { grace_s: 10, ..policy(60, 0) }).expect("set");
    let (first, made) = db.create_session(&new("web", b"ann")).expect("made");
    let rotate = |token: &sessile::sessions::Token, grace_s| {
        db.rotate_session(token.as_str().as_bytes(), Some(Duration::from_secs(grace_s)))
    };
    let (second, rotated) = rotate(&first, 100).expect("rotates").expect("lives");
    assert_eq!((rotated.handle, rotated.version), (made.handle, 1));
    assert!(lives(&db, &first) && lives(&db, &second));
    assert!(matches!(rotate(&first, 1), Err(SessionError::StaleToken)));
    let none = Conditions::default();
    let set = db.set_session_fields(first.as_str().as_bytes(), &none, &[[b"a", b"b"]]);
    assert!(matches!(set, Err(SessionError::StaleToken)));
    let (third, _) = rotate(&second, 0).expect("rotates").expect("lives");
    assert!(lives(&db, &first) && !lives(&db, &second) && lives(&db, &third));
    world.pass(9_999);
    assert!(lives(&db, &first));
    world.pass(1);
    for _ in 0..3 {
        assert!(!lives(&db, &first) && !lives(&db, &second) && lives(&db, &third));
    }
    assert_eq!(
        kinds(&db),
        [EventKind::Created, EventKind::Rotated, EventKind::Rotated, EventKind::Reuse, EventKind::Reuse]
    );
    world.pass(49_000);
    assert_eq!(db.touch_sessions(&[third.as_str().as_bytes(), first.as_str().as_bytes()]).expect("ok"), 1);
    world.pass(11_000);
    assert!(!lives(&db, &first));
    assert_eq!(kinds(&db).len(), 6, "a minute later it is told of again");
    assert_eq!(db.list_sessions(b"ann", 0, 10).expect("listed").sessions[0].handle, made.handle);
    assert!(db.revoke_session(made.handle).expect("revoked"));
    assert!(!db.revoke_session(made.handle).expect("nothing is there"));
    assert!(!lives(&db, &third));
    assert_eq!(kinds(&db).last(), Some(&EventKind::Revoked));
    assert_eq!(db.list_sessions(b"ann", 0, 10).expect("listed").sessions, []);
}

#[test]
fn a_user_has_as_many_sessions_as_the_policy_allows() {
    let world = World::new();
    let db = world.open();
    let limited = Policy { per_user: 2, ..policy(60, 0) };
    db.set_session_policy("evicting", limited).expect("set");
    db.set_session_policy("rejecting", Policy { on_limit: OnLimit::Reject, ..limited }).expect("set");
    let mut tokens = Vec::new();
    for class in ["evicting", "evicting", "rejecting", "rejecting"] {
        tokens.push(db.create_session(&new(class, b"ann")).expect("made").0);
        world.pass(10);
    }
    let refused = db.create_session(&new("rejecting", b"ann"));
    assert!(matches!(refused, Err(SessionError::Limit { limit: 2 })));
    db.create_session(&new("rejecting", b"bob")).expect("made");
    // The first was seen more recently than the second.
    assert_eq!(db.touch_sessions(&[tokens[0].as_str().as_bytes()]).expect("ok"), 1);
    db.create_session(&new("evicting", b"ann")).expect("made");
    assert!(lives(&db, &tokens[0]) && !lives(&db, &tokens[1]));
    assert_eq!(db.count_sessions(Some("evicting"), Some(b"ann")).expect("counted"), 2);
    assert_eq!(db.count_sessions(Some("evicting"), None).expect("counted"), 2);
    assert_eq!(db.count_sessions(None, None).expect("counted"), 5);
    assert_eq!(kinds(&db)[5..], [EventKind::Evicted, EventKind::Created]);
    // Who is dead makes room, whether it was taken away or not.
    world.pass(60_000);
    db.create_session(&new("rejecting", b"ann")).expect("made");
    assert_eq!(db.count_sessions(None, None).expect("counted"), 1);
}

#[test]
fn a_class_and_all_classes_end_at_once_and_are_swept_up() {
    let world = World::new();
    let db = world.open();
    db.set_session_policy("web", policy(HOUR_S, 0)).expect("set");
    let mut tokens = Vec::new();
    for number in 0..100u8 {
        let class = if number % 2 == 0 { "web" } else { "aal2" };
        tokens.push(db.create_session(&new(class, &[number % 7])).expect("made").0);
    }
    assert_eq!(db.revoke_session_class("web").expect("revoked"), Some(50));
    assert_eq!(db.revoke_session_class("none").expect("nothing"), None);
    assert!(!lives(&db, &tokens[0]) && lives(&db, &tokens[1]));
    let (after, _) = db.create_session(&new("web", b"ann")).expect("the policy stays");
    assert_eq!(db.count_sessions(None, None).expect("counted"), 51);
    let listed: usize =
        (0..7).map(|user| db.list_sessions(&[user], 0, 100).expect("listed").sessions.len()).sum();
    assert_eq!(listed, 50);
    while db.step().expect("steps") == Duration::ZERO {}
    assert!(lives(&db, &after) && lives(&db, &tokens[1]));
    db.clear(None).expect("cleared");
    assert!(lives(&db, &after), "clearing the databases ends no session");
    assert_eq!(db.flush_sessions().expect("flushed"), 51);
    assert!(!lives(&db, &after) && !lives(&db, &tokens[1]));
    let events = db.session_events(None, 1000).expect("readable").events;
    let last = &events.last().expect("there are some").event;
    assert_eq!((last.kind, last.count), (EventKind::Flushed, Some(51)));
    assert_eq!(events.len(), 103, "100 and one were made, a class was revoked, all were ended");
    assert_eq!(db.session_policies(), ["aal1", "aal2", "aal3", "web"]);
    assert!(db.delete_session_policy("web").expect("deleted"));
    assert!(matches!(db.create_session(&new("web", b"ann")), Err(SessionError::UnknownClass)));
    assert!(matches!(db.delete_session_policy("aal1"), Err(SessionError::Preset)));
}

#[test]
fn no_generic_operation_sees_a_session() {
    let world = World::new();
    let db = world.open();
    db.set(b"key", b"value", Expiry::Never).expect("set");
    let (token, _) = db.create_session(&new("aal1", b"ann")).expect("made");
    for number in 0..sessile::DATABASES {
        let keys = db.database(number).keys().count();
        assert_eq!(keys, usize::from(number == 0));
        assert_eq!(db.len_of(number), keys);
        assert_eq!(db.random_key(number, 77).expect("readable").is_some(), number == 0);
    }
    db.swap_databases(0, 3).expect("swapped");
    db.clear(Some(3)).expect("cleared");
    db.checkpoint().expect("made");
    drop(db);
    let db = world.open();
    assert_eq!(db.recovery().keys, 0);
    assert!(lives(&db, &token));
    db.clear(None).expect("cleared");
    assert!(lives(&db, &token));
    drop(db);
    let db = world.open();
    assert!(lives(&db, &token));
    assert_eq!(db.end_sessions(&[token.as_str().as_bytes()]).expect("ended"), 1);
    assert_eq!(kinds(&db), [EventKind::Created, EventKind::Ended]);
}

#[test]
fn lists_come_in_parts_most_recently_seen_first() {
    let world = World::new();
    let db = world.open();
    db.set_session_policy("web", policy(60, 0)).expect("set");
    let mut handles = Vec::new();
    for number in 0..10 {
        handles.push(db.create_session(&new("web", b"ann")).expect("made").1.handle);
        world.pass(if number % 3 == 0 { 0 } else { 5 });
    }
    let mut listed = Vec::new();
    let mut cursor = 0;
    loop {
        let page = db.list_sessions(b"ann", cursor, 3).expect("listed");
        assert!(page.sessions.is_sorted_by(|a, b| a.seen_ms >= b.seen_ms));
        listed.extend(page.sessions.iter().map(|session| session.handle));
        cursor = page.cursor;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(listed.len(), 10);
    listed.sort();
    handles.sort();
    assert_eq!(listed, handles);
}

/// Whoever reads too late is told that something is gone, once, and goes on with what is there; nobody else is.
#[test]
fn events_are_kept_as_long_as_said_and_a_late_reader_is_told_of_what_is_lost() {
    let world = World::new();
    let tuning = StorageTuning { session_events_chunk_bytes: 200, ..StorageTuning::default() };
    let open = || world.options().storage_tuning(tuning.clone()).open(super::support::DIR).expect("opens");
    let db = open();
    let steps = |db: &Db| while db.step().expect("steps") == Duration::ZERO {};
    db.set_session_policy("web", policy(0, 0)).expect("set");
    db.set_session_events_kept(Duration::from_secs(8_000), 1 << 20);
    let read_on = |db: &Db, mut cursor| {
        let (mut count, mut lost) = (0, 0);
        loop {
            let page = db.session_events(cursor, 7).expect("readable");
            lost += u32::from(page.lost);
            if page.events.is_empty() {
                return (count, lost, page.cursor);
            }
            count += page.events.len();
            cursor = Some(page.cursor);
        }
    };
    let make = |db: &Db, count: usize| {
        for _ in 0..count {
            db.create_session(&new("web", b"ann")).expect("made");
            world.pass(1_000);
        }
    };
    make(&db, 100);
    let (count, lost, early) = read_on(&db, None);
    assert_eq!((count, lost), (100, 0));
    world.pass(3_000_000);
    make(&db, 50);
    steps(&db);
    let (count, lost, cursor) = read_on(&db, Some(early));
    assert_eq!((count, lost), (50, 0), "nothing is too old");
    // The first are, and the others are not.
    world.pass(5_050_000);
    steps(&db);
    assert_eq!(read_on(&db, Some(early)).1, 0, "all that is gone was before it");
    let (count, lost, _) = read_on(&db, None);
    assert!((50..100).contains(&count) && lost == 0, "{count}");
    let (kept, lost, _) = read_on(&db, Some(0));
    assert_eq!((kept, lost), (count, 1));
    world.pass(8_000_000);
    steps(&db);
    assert_eq!(read_on(&db, None).0, 0, "all are too old");
    let (count, lost, end) = read_on(&db, Some(early));
    assert_eq!((count, lost), (0, 1));
    assert_eq!(read_on(&db, Some(end)), (0, 0, end));
    assert_eq!(read_on(&db, Some(cursor)).1, 0);
    drop(db);
    let db = open();
    // Bounded by their bytes, too.
    db.set_session_events_kept(Duration::from_secs(1 << 40), 2_000);
    make(&db, 1_000);
    steps(&db);
    let (count, lost, _) = read_on(&db, Some(end));
    assert!(lost == 1 && (30..100).contains(&count), "{count}");
    // What is no cursor of this directory's.
    let (again, lost, _) = read_on(&db, Some(u64::MAX));
    assert_eq!((again, lost), (count, 1));
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
}
