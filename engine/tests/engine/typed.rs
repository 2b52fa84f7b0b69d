//! The typed sessions: what a Rust application sees, on the simulated clock, and with threads on a real disk.

use serde::{Deserialize, Serialize};
use sessile::sessions::{EventKind, SessionError};
use sessile::typed::{ClassPolicy, Opening, PayloadError, Sessions, StoreError};
use sessile::{Db, Durability, Options, StorageTuning};
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::Arc;
use std::time::Duration;

const START_MS: u64 = 1_800_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Login {
    name: String,
    cart: Vec<u32>,
}

fn ann() -> Login {
    Login { name: "Ann".into(), cart: vec![] }
}

struct World {
    clock: Arc<SimClock>,
    fs: SimFs,
}

impl World {
    fn new() -> World {
        World { clock: Arc::new(SimClock::new(START_MS)), fs: SimFs::new(7) }
    }

    fn open(&self) -> Db {
        Options::new()
            .file_system(Arc::new(self.fs.clone()))
            .clock(Arc::clone(&self.clock) as _)
            .durability(Durability::No)
            .manual_background()
            .storage_tuning(StorageTuning { shards: Some(4), ..StorageTuning::default() })
            .open(super::support::DIR)
            .expect("opens")
    }
}

fn web(db: &Db) -> Sessions<Login> {
    let class = ClassPolicy::new("web", MINUTE, 10 * MINUTE).per_user(3).grace(Duration::from_secs(5));
    db.sessions(&class).expect("opened")
}

#[test]
fn a_session_is_made_loaded_changed_and_ended() {
    let world = World::new();
    let db = world.open();
    let sessions = web(&db);
    let (token, made) = sessions.create(Opening::of("ann").meta("Firefox"), &ann()).expect("made");
    assert_eq!(made.deadline_ms, Some(START_MS + 60_000));
    let token = token.as_str();
    world.clock.advance_ms(30_000);
    let peeked = sessions.peek(token).expect("readable").expect("lives");
    assert_eq!((peeked.deadline_ms, peeked.seen_ms), (Some(START_MS + 60_000), START_MS));
    let loaded = sessions.load(token).expect("readable").expect("lives");
    assert_eq!(loaded.payload, ann());
    assert_eq!((loaded.user.as_deref(), &loaded.meta[..]), (Some(&b"ann"[..]), &b"Firefox"[..]));
    assert_eq!((loaded.version, loaded.handle), (1, made.handle));
    assert_eq!((loaded.deadline_ms, loaded.seen_ms), (Some(START_MS + 90_000), START_MS + 30_000));
    assert_eq!(loaded.absolute_ms, Some(START_MS + 600_000));

    assert_eq!(sessions.update(token, |login| login.cart.len()).expect("read"), Some(0));
    assert_eq!(sessions.peek(token).expect("readable").expect("lives").version, 1, "nothing was changed");
    let changed = sessions.update(token, |login| {
        login.cart.push(7);
        login.cart.len()
    });
    assert_eq!(changed.expect("changed"), Some(1));
    let replaced = sessions.replace(token, 1, &ann());
    assert!(matches!(replaced, Err(StoreError::Sessions(SessionError::Conflict { version: 2 }))));
    assert_eq!(sessions.replace(token, 2, &ann()).expect("replaced"), Some(3));

    world.clock.advance_ms(59_999);
    assert!(sessions.touch(token).expect("touched"));
    assert_eq!(sessions.count(Some(b"ann")).expect("counted"), 1);
    assert!(sessions.end(token).expect("ended"));
    assert!(!sessions.end(token).expect("ended"));
    assert!(!sessions.touch(token).expect("touched"));
    // Whatever comes late revives nothing.
    assert_eq!(sessions.update(token, |login| login.cart.push(8)).expect("read"), None);
    assert_eq!(sessions.replace(token, 3, &ann()).expect("read"), None);
    assert!(sessions.rotate(token, None).expect("read").is_none());
    assert_eq!(sessions.count(None).expect("counted"), 0);
}

#[test]
fn limits_hold_and_policies_are_those_that_were_asked_for() {
    let world = World::new();
    let db = world.open();
    let sessions = web(&db);
    let (token, made) =
        sessions.create(Opening::anonymous().idle(Duration::from_millis(1)), &ann()).expect("made");
    assert_eq!(made.deadline_ms, Some(START_MS + 1000), "rounded upwards");
    world.clock.advance_ms(1000);
    assert!(sessions.load(token.as_str()).expect("readable").is_none());

    for _ in 0..4 {
        sessions.create(Opening::of("ann"), &ann()).expect("made");
        world.clock.advance_ms(1);
    }
    assert_eq!(sessions.list("ann").expect("listed").len(), 3);
    let strict: Sessions<Login> =
        db.sessions(&ClassPolicy::new("strict", MINUTE, MINUTE).per_user(1).reject_beyond()).expect("opened");
    strict.create(Opening::of("ben"), &ann()).expect("made");
    let second = strict.create(Opening::of("ben"), &ann());
    assert!(matches!(second, Err(StoreError::Sessions(SessionError::Limit { limit: 1 }))));

    assert!(matches!(db.sessions::<Login>(&ClassPolicy::existing("none")), Err(SessionError::UnknownClass)));
    let aal2: Sessions<()> = db.sessions(&ClassPolicy::aal2()).expect("opened");
    let (_, made) = aal2.create(Opening::anonymous(), &()).expect("made");
    assert_eq!(made.deadline_ms.map(|deadline_ms| deadline_ms - db.now_ms()), Some(3_600_000));
}

#[test]
fn a_token_of_another_class_is_none_and_nothing_happens_to_its_session() {
    let world = World::new();
    let db = world.open();
    let sessions = web(&db);
    // Of the same type even.
    let other: Sessions<Login> = db.sessions(&ClassPolicy::new("api", MINUTE, 10 * MINUTE)).expect("opened");
    let (token, made) = other.create(Opening::of("ann"), &ann()).expect("made");
    let token = token.as_str();
    world.clock.advance_ms(10_000);
    assert!(sessions.load(token).expect("readable").is_none());
    assert!(!sessions.touch(token).expect("touched"));
    assert!(sessions.update(token, |login| login.cart.push(1)).expect("read").is_none());
    assert!(sessions.rotate(token, None).expect("read").is_none());
    assert!(!sessions.end(token).expect("ended"));
    let untouched = other.peek(token).expect("readable").expect("lives");
    assert_eq!((untouched.deadline_ms, untouched.version), (made.deadline_ms, 1));
    assert_eq!(sessions.revoke_class().expect("revoked"), 0);
    assert_eq!(other.revoke_class().expect("revoked"), 1);
    assert!(other.load(token).expect("readable").is_none());
}

#[test]
fn a_rotated_token_reads_in_its_grace_and_changes_nothing() {
    let world = World::new();
    let db = world.open();
    let sessions = web(&db);
    let (old, made) = sessions.create(Opening::of("ann"), &ann()).expect("made");
    let (new, rotated) = sessions.rotate(old.as_str(), None).expect("rotated").expect("lives");
    assert_eq!(rotated.handle, made.handle);
    assert_eq!(sessions.load(old.as_str()).expect("readable").expect("in grace").payload, ann());
    let stale = sessions.update(old.as_str(), |login| login.cart.push(1));
    assert!(matches!(stale, Err(StoreError::Sessions(SessionError::StaleToken))));
    world.clock.advance_ms(5_001);
    assert!(sessions.load(old.as_str()).expect("readable").is_none());
    assert!(sessions.load(new.as_str()).expect("readable").is_some());
    let kinds: Vec<_> = std::iter::from_fn({
        let mut events = sessions.events();
        move || events.try_next().expect("readable")
    })
    .map(|one| one.event.kind)
    .collect();
    assert_eq!(kinds, [EventKind::Created, EventKind::Rotated, EventKind::Reuse]);
}

#[test]
fn everywhere_else_is_logged_out_and_one_handle_alone() {
    let world = World::new();
    let db = world.open();
    let sessions = web(&db);
    let make = || sessions.create(Opening::of("ann"), &ann()).expect("made");
    let ((here, _), (there, there_made), (third, _)) = (make(), make(), make());
    let (stranger, _) = sessions.create(Opening::of("ben"), &ann()).expect("made");
    assert!(sessions.revoke(there_made.handle).expect("revoked"));
    assert!(!sessions.revoke(there_made.handle).expect("revoked"));
    assert!(sessions.load(there.as_str()).expect("readable").is_none());
    let not_hers = sessions.revoke_user("ann", Some(stranger.as_str()));
    assert!(matches!(not_hers, Err(StoreError::Sessions(SessionError::NotOfUser))));
    assert_eq!(sessions.revoke_user("ann", Some(here.as_str())).expect("revoked"), 1);
    assert!(sessions.load(third.as_str()).expect("readable").is_none());
    assert!(sessions.load(here.as_str()).expect("readable").is_some());
    assert_eq!(sessions.revoke_user("ann", None).expect("revoked"), 1);
    assert!(sessions.load(stranger.as_str()).expect("readable").is_some());
}

#[test]
fn a_payload_that_is_not_one_is_told_of_and_left_alone() {
    let world = World::new();
    let db = world.open();
    let sessions = web(&db);
    let bare = sessile::sessions::NewSession {
        class: "web",
        user: None,
        idle_s: None,
        max_s: None,
        meta: b"",
        fields: &[],
    };
    let (token, _) = db.create_session(&bare).expect("made");
    let token = token.as_str();
    assert!(matches!(sessions.load(token), Err(StoreError::Payload(PayloadError::Missing))));
    let garbage: [[&[u8]; 2]; 1] = [[sessile::typed::PAYLOAD_FIELD, b"\x01\x00\xff\xff\xff"]];
    db.set_session_fields(token.as_bytes(), &Default::default(), &garbage).expect("set");
    let changed = sessions.update(token, |login| login.cart.clear());
    assert!(matches!(changed, Err(StoreError::Payload(PayloadError::Decode(_)))));
    let newer = web(&db).schema(2);
    let (token, _) = newer.create(Opening::anonymous(), &ann()).expect("made");
    let newer = sessions.load(token.as_str());
    assert!(matches!(newer, Err(StoreError::Payload(PayloadError::Schema { found: 2, expected: 0 }))));
}

/// What applications do on Redis, and what they lose by it; then the same load on versioned updates.
#[test]
fn get_and_set_loses_updates_and_update_loses_none() {
    const THREADS: u32 = 4;
    const CHANGES: u32 = 200;
    let dir = tempfile::tempdir().expect("made");
    let db = Db::open(dir.path()).expect("opens");
    let sessions = web(&db);
    let (token, _) = sessions.create(Opening::of("ann"), &ann()).expect("made");
    let token = token.as_str();
    db.set(b"cart", b"", sessile::Expiry::Never).expect("set");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, sessions) = (&db, &sessions);
            scope.spawn(move || {
                for change in 0..CHANGES {
                    let number = thread * CHANGES + change;
                    sessions
                        .update(token, |login| login.cart.push(number))
                        .expect("no conflict reaches the caller")
                        .expect("lives");
                    let before = db.get(b"cart").expect("readable").expect("set");
                    let after = [&before[..], &number.to_le_bytes()].concat();
                    std::thread::yield_now();
                    db.set(b"cart", &after, sessile::Expiry::Never).expect("set");
                }
            });
        }
    });
    let session = sessions.load(token).expect("readable").expect("lives");
    assert_eq!(session.version, 1 + u64::from(THREADS * CHANGES));
    let mut cart = session.payload.cart;
    cart.sort_unstable();
    assert_eq!(cart, (0..THREADS * CHANGES).collect::<Vec<_>>(), "an update was lost, or done twice");
    let kept = db.get(b"cart").expect("readable").expect("set").len() / 4;
    println!("GET and SET kept {kept} of {}", THREADS * CHANGES);
    assert!(kept < (THREADS * CHANGES) as usize, "the race shows nothing: no update was lost by GET and SET");
}

#[test]
fn a_consumer_that_saves_its_cursor_sees_each_event_of_its_class_once() {
    let world = World::new();
    let db = world.open();
    let sessions = web(&db);
    let other: Sessions<()> = db.sessions(&ClassPolicy::new("api", MINUTE, MINUTE)).expect("opened");
    let mut handles = Vec::new();
    let mut seen = Vec::new();
    let mut cursor = None;
    for round in 0..20 {
        other.create(Opening::of("ann"), &()).expect("made");
        handles.push(sessions.create(Opening::anonymous(), &ann()).expect("made").1.handle);
        if round % 3 == 0 {
            // It begins anew, as after a crash of the consumer.
            let mut events = sessions.events_after(cursor);
            // It may have read more than it was given.
            for _ in 0..2 {
                let event = events.try_next().expect("readable");
                seen.extend(event.map(|event| event.event.handle.expect("of one")));
            }
            cursor = events.cursor();
        }
    }
    let mut events = sessions.events_after(cursor);
    while let Some(event) = events.next_within(Duration::from_millis(1)).expect("readable") {
        seen.push(event.event.handle.expect("of one"));
    }
    assert_eq!(seen, handles);
    let all = db.session_events_after(None);
    assert_eq!(all.map_while(|event| event.ok()).take(40).count(), 40, "those of all classes");
}

#[test]
fn a_consumer_that_was_away_too_long_is_told_so() {
    let world = World::new();
    let db = world.open();
    let sessions = web(&db);
    db.set_session_events_kept(Duration::from_secs(8), 1 << 20);
    sessions.create(Opening::anonymous(), &ann()).expect("made");
    let mut events = sessions.events();
    assert!(events.try_next().expect("readable").is_some());
    let cursor = events.cursor();
    sessions.create(Opening::anonymous(), &ann()).expect("made");
    for _ in 0..30 {
        world.clock.advance_ms(1_000);
        db.step().expect("stepped");
    }
    let mut events = sessions.events_after(cursor);
    let lost = events.try_next();
    assert!(matches!(lost, Err(StoreError::EventsLost { cursor: at }) if Some(at) == cursor), "{lost:?}");
    sessions.create(Opening::anonymous(), &ann()).expect("made");
    let kind = events.try_next().expect("readable").expect("one").event.kind;
    assert_eq!(kind, EventKind::Created);
    assert!(events.try_next().expect("readable").is_none(), "the loss is told of once");
}

#[test]
fn a_consumer_wakes_for_an_event_and_ends_with_the_database() {
    let dir = tempfile::tempdir().expect("made");
    let db = Db::open(dir.path()).expect("opens");
    let sessions = web(&db);
    let mut events = sessions.events();
    let (told, hear) = std::sync::mpsc::channel();
    let consumer = std::thread::spawn(move || {
        for event in &mut events {
            told.send(event.expect("readable").event.kind).expect("heard");
        }
        events.next().is_none()
    });
    for _ in 0..50 {
        sessions.create(Opening::anonymous(), &ann()).expect("made");
        let heard = hear.recv_timeout(Duration::from_secs(30)).expect("it woke up");
        assert_eq!(heard, EventKind::Created);
    }
    // The background finds those whose time has come, and that is an event, too.
    sessions.create(Opening::anonymous().idle(Duration::from_secs(1)), &ann()).expect("made");
    assert_eq!(hear.recv_timeout(Duration::from_secs(30)), Ok(EventKind::Created));
    assert_eq!(hear.recv_timeout(Duration::from_secs(30)), Ok(EventKind::Expired));
    db.close().expect("closed");
    assert!(consumer.join().expect("it ended"));
}

#[cfg(feature = "async")]
#[test]
fn a_stream_gives_the_same_events_and_ends_with_the_database() {
    use futures_core::Stream;
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let dir = tempfile::tempdir().expect("made");
    let db = Db::open(dir.path()).expect("opens");
    let sessions = web(&db);
    drop(sessions.events().into_stream().expect("begun"));
    let mut stream = pin!(sessions.events().into_stream().expect("begun"));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut next = || {
        // A wake-up that never comes is a failure, not a test without an end.
        for _ in 0..4 {
            match stream.as_mut().poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(next) => return next.map(|event| event.expect("readable").event.handle),
                Poll::Pending => std::thread::park_timeout(Duration::from_secs(15)),
            }
        }
        panic!("nobody woke the stream's reader");
    };
    let make = || sessions.create(Opening::anonymous(), &ann()).expect("made").1.handle;
    let first = make();
    assert_eq!(next(), Some(Some(first)));
    let many: Vec<_> = (0..200).map(|_| Some(make())).collect();
    let heard: Vec<_> = many.iter().map(|_| next().expect("one")).collect();
    assert_eq!(heard, many);
    db.close().expect("closed");
    assert_eq!(next(), None);
}
