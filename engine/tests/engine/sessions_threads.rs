//! Sessions under many threads, with the database's own threads running, on the real disk.

use super::support::open_free;
use sessile::sessions::{Conditions, EventKind, Handle, NewSession, OnLimit, Policy, SessionError, Token};
use sessile::{Db, Durability, Options};
use sessile_wal::sim::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const THREADS: u64 = 8;
const LIMIT: u32 = 3;
const USERS: [&[u8]; 3] = [b"ann", b"bob", b"eve"];

fn policy(on_limit: OnLimit) -> Policy {
    Policy { idle_s: 3_600, per_user: LIMIT, on_limit, grace_s: 60, ..Policy::default() }
}

fn new<'a>(class: &'a str, user: &'a [u8]) -> NewSession<'a> {
    NewSession { class, user: Some(user), idle_s: None, max_s: None, meta: b"", fields: &[] }
}

fn is_end(kind: EventKind) -> bool {
    matches!(kind, EventKind::Ended | EventKind::Revoked | EventKind::Expired | EventKind::Evicted)
}

/// Follows the events by a saved cursor, until told to stop and nothing is new; what began and what ended, each once.
fn follow(db: &Db, stop: &AtomicBool) -> (BTreeSet<Handle>, BTreeSet<Handle>) {
    let (mut made, mut ended, mut cursor) = (BTreeSet::new(), BTreeSet::new(), None);
    loop {
        let last_look = stop.load(Relaxed);
        let page = db.session_events(cursor, 50).expect("readable");
        assert!(!page.lost);
        assert!(page.events.is_sorted_by(|a, b| a.cursor < b.cursor));
        if page.events.is_empty() && last_look {
            return (made, ended);
        }
        for event in page.events.into_iter().map(|one| one.event) {
            let Some(handle) = event.handle else { panic!("nobody ends a class: {event:?}") };
            if event.kind == EventKind::Created {
                assert!(made.insert(handle), "{handle} begins twice");
            } else if is_end(event.kind) {
                assert!(made.contains(&handle), "{handle} ends before it begins");
                assert!(ended.insert(handle), "{handle} ends twice");
            } else {
                assert!(made.contains(&handle) && !ended.contains(&handle), "{event:?}");
            }
        }
        cursor = Some(page.cursor);
    }
}

/// Whoever looks never sees more sessions of a user than the policy allows, whoever makes, rotates and ends them meanwhile; every end is told of
/// once; and what is left is what a restart finds.
#[test]
fn limits_hold_and_every_end_is_told_of_once_whoever_works_at_the_same_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options::new().durability(Durability::No).checkpoint_log_bytes(100_000);
    let db = open_free(&options, dir.path());
    db.set_session_policy("evict", policy(OnLimit::Evict)).expect("set");
    db.set_session_policy("reject", policy(OnLimit::Reject)).expect("set");
    db.set_session_policy("brief", Policy { idle_s: 1, ..policy(OnLimit::Evict) }).expect("set");
    let tokens: Mutex<Vec<Token>> = Mutex::default();
    let (stop, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let any_token = |rng: &mut Rng| {
        let tokens = tokens.lock().expect("sound");
        let from = tokens.len().saturating_sub(12);
        tokens.get(from + rng.below(12) as usize).cloned()
    };
    let work = |seed: u64| {
        let mut rng = Rng::new(seed);
        for _ in 0..1_500 {
            let user = USERS[rng.below(3) as usize];
            let class = ["evict", "reject", "brief"][rng.below(3) as usize];
            let what = rng.below(10);
            if what < 4 {
                match db.create_session(&new(class, user)) {
                    Ok((token, _)) => tokens.lock().expect("sound").push(token),
                    Err(SessionError::Limit { limit: LIMIT }) if class == "reject" => {
                        refused.fetch_add(1, Relaxed);
                    }
                    Err(error) => panic!("{error}"),
                }
                continue;
            }
            let Some(token) = any_token(&mut rng) else { continue };
            let text = token.as_str().as_bytes();
            match what {
                4 => drop(db.touch_sessions(&[text]).expect("works")),
                5 => drop(db.with_session(text, true, |session| session.version()).expect("readable")),
                6 => match db.set_session_fields(text, &Conditions::default(), &[[b"a", b"b"]]) {
                    Ok(_) | Err(SessionError::StaleToken) => {}
                    Err(error) => panic!("{error}"),
                },
                7 => match db.rotate_session(text, None) {
                    Ok(Some((token, _))) => tokens.lock().expect("sound").push(token),
                    Ok(None) | Err(SessionError::StaleToken) => {}
                    Err(error) => panic!("{error}"),
                },
                8 => drop(db.end_sessions(&[text]).expect("works")),
                _ if rng.below(10) == 0 => drop(db.revoke_user_sessions(user, None).expect("works")),
                _ => {}
            }
        }
    };
    let look = || {
        let mut looks = 0u64;
        while !stop.load(Relaxed) || looks == 0 {
            for user in USERS {
                let listed = db.list_sessions(user, 0, 100).expect("listed").sessions;
                let mut classes: BTreeMap<&str, u32> = BTreeMap::new();
                for session in &listed {
                    *classes.entry(&session.class).or_default() += 1;
                }
                assert!(classes.values().all(|&count| count <= LIMIT), "{classes:?}");
                for class in ["evict", "reject", "brief"] {
                    let count = db.count_sessions(Some(class), Some(user)).expect("counted");
                    assert!(count <= u64::from(LIMIT), "{count}");
                }
            }
            let most = u64::from(LIMIT) * 3;
            assert!(db.count_sessions(Some("evict"), None).expect("counted") <= most);
            looks += 1;
        }
        looks
    };
    let (made, ended) = thread::scope(|scope| {
        let (work, look) = (&work, &look);
        let looking = scope.spawn(look);
        let following = scope.spawn(|| follow(&db, &stop));
        let working: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || work(seed))).collect();
        let worked: Vec<_> = working.into_iter().map(|thread| thread.join()).collect();
        // Those with the brief limit die at their deadlines.
        super::support::pause(Duration::from_millis(1_500));
        stop.store(true, Relaxed);
        worked.into_iter().for_each(|done| done.expect("no panic"));
        assert!(looking.join().expect("no panic") > 0);
        following.join().expect("no panic")
    });
    assert!(refused.load(Relaxed) > 0 && db.sessions_expired() > 0);
    let alive = |db: &Db| {
        let listed = USERS.map(|user| db.list_sessions(user, 0, 100).expect("listed").sessions);
        listed.iter().flatten().map(|session| session.handle).collect::<BTreeSet<_>>()
    };
    let left: BTreeSet<Handle> = made.difference(&ended).copied().collect();
    assert_eq!(alive(&db), left);
    assert_eq!(db.count_sessions(None, None).expect("counted"), left.len() as u64);
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
    db.close().expect("closed");
    drop(db);
    let db = open_free(&options, dir.path());
    assert_eq!(alive(&db), left);
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
}

/// However many rotate a session at once, one of them does, and the others are told that theirs is stale, or are too late.
#[test]
fn of_many_rotations_of_one_token_one_succeeds() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = open_free(&Options::new().durability(Durability::No), dir.path());
    db.set_session_policy("web", policy(OnLimit::Evict)).expect("set");
    let (mut token, made) = db.create_session(&new("web", b"ann")).expect("made");
    for _ in 0..50 {
        let rotated = thread::scope(|scope| {
            let rotating: Vec<_> =
                (0..4).map(|_| scope.spawn(|| db.rotate_session(token.as_str().as_bytes(), None))).collect();
            let answers = rotating.into_iter().map(|thread| thread.join().expect("no panic"));
            let mut rotated = Vec::new();
            for answer in answers {
                match answer {
                    Ok(Some(new)) => rotated.push(new),
                    Err(SessionError::StaleToken) => {}
                    other => panic!("{other:?}"),
                }
            }
            rotated
        });
        let [(new, same)] = &rotated[..] else { panic!("{} rotations of one token", rotated.len()) };
        assert_eq!(same.handle, made.handle);
        token = new.clone();
    }
    assert_eq!(db.list_sessions(b"ann", 0, 10).expect("listed").sessions.len(), 1);
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
}
