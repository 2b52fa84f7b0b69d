//! Sessions on the disk: what touches cost, a disk that is full, that fails for a moment or is damaged, a check and a repair, the digest key's file,
//! and that no file holds a token.

use super::sessions::{START_MS, World, kinds, lives, new, policy};
use super::support::DIR;
use sessile::check::{check, repair};
use sessile::sessions::{EventKind, NewSession, Policy, Token};
use sessile::{Clock, Db, Error, Expiry, Fs};
use sessile_wal::OpenMode;
use sessile_wal::sim::{Fault, FaultPlan, Lasts, SimFs};
use std::path::Path;
use std::sync::Arc;

fn touch(db: &Db, token: &Token) {
    assert_eq!(db.touch_sessions(&[token.as_str().as_bytes()]).expect("touched"), 1);
}

fn deadline_ms(db: &Db, token: &Token) -> u64 {
    let look = db.with_session(token.as_str().as_bytes(), false, |session| session.deadline_ms());
    look.expect("readable").expect("lives").expect("has one")
}

/// The log is told of a touch when the deadline leaves its step of the grid; after a crash the end of the step holds.
#[test]
fn touches_cost_the_log_little_and_a_crash_makes_a_deadline_late_by_5_percent_at_most() {
    for (idle_s, every_ms) in [(10, 100), (61, 250), (900, 1_000), (3_600, 1_000), (30 * 86_400, 600_000)] {
        let (world, idle_ms) = (World::new(), idle_s * 1_000);
        let db = world.open();
        db.set_session_policy("web", policy(idle_s, 0)).expect("set");
        let (token, _) = db.create_session(&new("web", b"ann")).expect("made");
        let before_bytes = db.stats().log.appended_bytes;
        let touches = 3 * idle_ms / every_ms;
        for _ in 0..touches {
            world.pass(every_ms);
            touch(&db, &token);
        }
        let bytes = db.stats().log.appended_bytes - before_bytes;
        println!("idle {idle_s} s: {touches} touches, {bytes} bytes of log");
        // A step is more than a 40th of the idle limit; with its framing a record of a deadline has less than 64 bytes.
        assert!(bytes <= 3 * 40 * 64, "{bytes} bytes for {touches} touches");
        let exact_ms = deadline_ms(&db, &token);
        assert_eq!(exact_ms, START_MS + touches * every_ms + idle_ms);
        db.flush().expect("flushed");
        drop(db);
        world.fs.crash();
        let db = world.open();
        let after_ms = deadline_ms(&db, &token);
        assert!((exact_ms..=exact_ms + idle_ms / 20).contains(&after_ms), "{after_ms} for {exact_ms}");
        // It dies then, and not before.
        world.pass(after_ms - 1 - db.now_ms());
        assert!(lives(&db, &token));
        world.pass(1);
        assert!(!lives(&db, &token));
        db.reap_sessions().expect("reaped");
        assert_eq!(kinds(&db), [EventKind::Created, EventKind::Expired]);
    }
}

/// Where the absolute limit decides, or there is no idle limit, the deadline does not move: the log is told once a minute that the session was seen.
#[test]
fn touches_of_a_session_without_an_idle_limit_are_logged_once_a_minute() {
    let world = World::new();
    let db = world.open();
    let (token, made) = db.create_session(&new("aal1", b"ann")).expect("made");
    let before = db.stats().log;
    for _ in 0..3_600 {
        world.pass(1_000);
        touch(&db, &token);
    }
    let after = db.stats().log;
    assert!(after.records - before.records <= 62, "{} records", after.records - before.records);
    println!("an hour: {} bytes of log", after.appended_bytes - before.appended_bytes);
    assert_eq!(Some(deadline_ms(&db, &token)), made.deadline_ms);
    let seen_ms = |db: &Db| {
        let look = db.with_session(token.as_str().as_bytes(), false, |session| session.seen_ms());
        look.expect("readable").expect("lives")
    };
    let exact_ms = seen_ms(&db);
    assert_eq!(exact_ms, START_MS + 3_600_000);
    db.flush().expect("flushed");
    drop(db);
    world.fs.crash();
    let db = world.open();
    assert!((exact_ms - 60_000..=exact_ms).contains(&seen_ms(&db)));
    assert_eq!(Some(deadline_ms(&db, &token)), made.deadline_ms);
}

fn run(world: &World, db: &Db, ms: u64) {
    for _ in 0..ms / 20 {
        world.pass(20);
        for _ in 0..8 {
            db.step().expect("steps");
        }
    }
}

/// Nobody can log in on a full disk, but out, and whoever is due is taken away and told of.
#[test]
fn on_a_full_disk_sessions_end_and_expire() {
    const MIB: u64 = 1 << 20;
    let world = World::new();
    world.fs.create_dir_all(DIR.as_ref()).expect("made");
    world.fs.set_space_bytes(Some(16 * MIB));
    let options = world.options().log_file_bytes_max(MIB).checkpoint_log_bytes(2 * MIB);
    let db = options.open(DIR).expect("opens");
    db.set_session_policy("web", policy(3_600, 0)).expect("set");
    let mut tokens = Vec::new();
    for number in 0..2_000u16 {
        tokens.push(db.create_session(&new("web", &[(number % 100) as u8])).expect("made").0);
    }
    let refused = |error: &Error| matches!(error, Error::DiskFull(_) | Error::DiskLimit { .. });
    let mut number = 0u64;
    while let Ok(()) = db.set(&number.to_le_bytes(), [7; 1_000], Expiry::Never) {
        number += 1;
        assert!(number < 1_000_000, "it is never full");
        if number.is_multiple_of(20) {
            run(&world, &db, 20);
        }
    }
    let full = db.create_session(&new("web", b"late")).expect_err("the disk is full");
    assert!(matches!(&full, sessile::sessions::SessionError::Db(error) if refused(error)), "{full}");
    let text = |at: usize| tokens[at].as_str().as_bytes();
    assert_eq!(db.end_sessions(&[text(0), text(1)]).expect("a full disk does not refuse the end"), 2);
    assert_eq!(db.revoke_user_sessions(&[7], None).expect("nor a revocation"), 20);
    assert!(!lives(&db, &tokens[0]) && lives(&db, &tokens[2]));
    touch(&db, &tokens[2]);
    world.pass(3_600_000);
    run(&world, &db, 2_000);
    assert_eq!(db.sessions_expired(), 2_000 - 22);
    assert_eq!(db.count_sessions(None, None).expect("counted"), 0);
    let (mut told, mut cursor) = (Vec::new(), None);
    loop {
        // A page may have fewer events than were asked for, and has some if there are any.
        let page = db.session_events(cursor, usize::MAX).expect("readable");
        if page.events.is_empty() {
            break;
        }
        told.extend(page.events.iter().map(|one| one.event.kind));
        cursor = Some(page.cursor);
    }
    let expired = told.iter().filter(|kind| **kind == EventKind::Expired).count();
    assert_eq!((told.len(), expired), (4_000, 1_978));
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
}

/// Sessions that are on disk, and in memory no more.
fn cold(world: &World, count: usize) -> (Db, Vec<Token>) {
    let db = world.options().memory_bytes_max(20_000).open(DIR).expect("opens");
    db.set_session_policy("web", policy(600, 0)).expect("set");
    let fields: [[&[u8]; 2]; 1] = [[b"cart", &[9; 500]]];
    let one = NewSession { fields: &fields, ..new("web", b"ann") };
    let tokens = (0..count).map(|_| db.create_session(&one).expect("made").0).collect();
    db.checkpoint().expect("made");
    run(world, &db, 1_000);
    (db, tokens)
}

/// What could not be read is due still, and goes when it can.
#[test]
fn a_session_that_could_not_be_read_is_reaped_later() {
    let world = World::new();
    let (db, tokens) = cold(&world, 200);
    world.pass(600_000);
    world.fs.fail(FaultPlan { call: 1, fault: Fault::Io, lasts: Lasts::Once });
    assert!(db.reap_sessions().is_err(), "none was on disk");
    assert_eq!(world.fs.failures(), 1);
    assert!(!db.sessions_are_reaped());
    db.reap_sessions().expect("reaped");
    assert_eq!(db.sessions_expired(), 200);
    assert_eq!(db.count_sessions(None, None).expect("counted"), 0);
    assert!(db.sessions_are_reaped() && !lives(&db, &tokens[0]));
    let expired = kinds(&db).into_iter().filter(|kind| *kind == EventKind::Expired).count();
    assert_eq!(expired, 200);
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
}

/// One that is damaged stays where it is, and stops nobody else's end.
#[test]
fn a_damaged_session_keeps_no_other_from_being_reaped() {
    let world = World::new();
    let (db, tokens) = cold(&world, 200);
    let mut segments = world.fs.list(DIR.as_ref()).expect("listed");
    segments.retain(|name| name.starts_with("seg-"));
    let paths = segments.iter().map(|name| Path::new(DIR).join(name));
    let largest = paths.max_by_key(|path| content_of(&world.fs, path).len()).expect("there is one");
    let middle = content_of(&world.fs, &largest).len() as u64 / 2;
    // More than there is between two.
    assert!((middle..middle + 16).all(|at| world.fs.flip_bit(&largest, at, 1)));
    world.pass(600_000);
    db.reap_sessions().expect("the others are reaped");
    assert!((150..200).contains(&db.sessions_expired()), "{}", db.sessions_expired());
    assert!(db.sessions_are_reaped());
    assert!(tokens.iter().all(|token| {
        let look = db.with_session(token.as_str().as_bytes(), false, |_| ());
        matches!(look, Ok(None) | Err(_))
    }));
}

/// Every kind of thing that sessions leave, some of it in the log only; two living tokens, one in its grace, and one that is dead and not told of.
fn lived_in(world: &World) -> (Db, [Token; 4]) {
    let db = world.open();
    db.set_session_policy("web", Policy { grace_s: 500, ..policy(600, 0) }).expect("set");
    db.set_session_policy("brief", policy(5, 0)).expect("set");
    let made = |class| db.create_session(&new(class, b"ann")).expect("made").0;
    let (first, dead) = (made("web"), made("brief"));
    let ended = made("web");
    db.checkpoint().expect("made");
    let other = db.create_session(&new("aal2", b"bob")).expect("made").0;
    let (second, _) = db.rotate_session(first.as_str().as_bytes(), None).expect("rotated").expect("lives");
    assert_eq!(db.end_sessions(&[ended.as_str().as_bytes()]).expect("ended"), 1);
    db.flush().expect("flushed");
    (db, [first, second, other, dead])
}

fn repair_into(fs: &SimFs, clock: &Arc<dyn Clock>, into: &Path) {
    let report = repair(Arc::new(fs.clone()), Arc::clone(clock), DIR.as_ref(), into, &mut |loss| {
        panic!("{loss:?}");
    });
    assert!(report.expect("repairs").is_complete());
}

#[test]
fn a_repair_saves_sessions_and_the_key_of_their_tokens() {
    let world = World::new();
    let (db, [first, second, other, dead]) = lived_in(&world);
    let before = db.session_events(None, 100).expect("readable");
    drop(db);
    world.pass(6_000);
    let report = check(Arc::new(world.fs.clone()), DIR.as_ref(), &mut |finding| {
        assert!(finding.is_sound(), "{finding:?}");
    });
    assert!(report.expect("checks").is_sound());
    let into = Path::new("/repaired");
    let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as _;
    repair_into(&world.fs, &clock, into);
    let db = world.options().open(into).expect("opens");
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
    assert!(lives(&db, &first) && lives(&db, &second) && lives(&db, &other) && !lives(&db, &dead));
    db.reap_sessions().expect("reaped");
    let after = db.session_events(Some(before.cursor), 100).expect("readable");
    let told: Vec<EventKind> = after.events.iter().map(|one| one.event.kind).collect();
    assert_eq!((after.lost, &told[..]), (false, &[EventKind::Expired][..]));
    assert_eq!(db.count_sessions(None, None).expect("counted"), 2);
    assert_eq!(db.list_sessions(b"ann", 0, 10).expect("listed").sessions.len(), 1);
    assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
}

fn content_of(fs: &SimFs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Read).expect("opens");
    let mut bytes = vec![0; file.len().expect("known") as usize];
    file.read_at(&mut bytes, 0).expect("read");
    bytes
}

/// Without its digest key a directory would take every token for unknown: it is not opened with none, nor with another's.
#[test]
fn a_directory_whose_digest_key_is_missing_or_anothers_is_refused() {
    let path = Path::new(DIR).join("session-key");
    let is_sound = |fs: &SimFs| {
        let mut named = false;
        let report = check(Arc::new(fs.clone()), DIR.as_ref(), &mut |finding| {
            named |= !finding.is_sound() && finding.path.ends_with("session-key");
        });
        let is_sound = report.expect("checks").is_sound();
        assert!(is_sound || named, "it is not the key that is wrong");
        is_sound
    };
    let world = World::new();
    let (db, tokens) = lived_in(&world);
    drop(db);
    assert!(is_sound(&world.fs));
    let key = content_of(&world.fs, &path);
    world.fs.remove(&path).expect("removed");
    assert!(!is_sound(&world.fs));
    let missing = world.options().open(DIR).expect_err("there is no key");
    assert!(missing.to_string().contains("session-key"), "{missing}");
    // Any bit of it.
    for at in (0..key.len()).step_by(7) {
        let mut wrong = key.clone();
        wrong[at] ^= 1 << (at % 8);
        let file = world.fs.open(&path, OpenMode::CreateNew).expect("new");
        file.write_at(&wrong, 0).expect("written");
        assert!(!is_sound(&world.fs), "{at}");
        let error = world.options().open(DIR).expect_err("another key");
        assert!(error.to_string().contains("session-key"), "{error}");
        drop(file);
        world.fs.remove(&path).expect("removed");
    }
    let file = world.fs.open(&path, OpenMode::CreateNew).expect("new");
    file.write_at(&key, 0).expect("written");
    drop(file);
    let db = world.open();
    assert!(lives(&db, &tokens[0]));
}

/// A power cut while the very first token is drawn: the key is there or not, and whatever session was acknowledged durably is found by its token.
#[test]
fn the_first_session_of_a_directory_survives_a_crash_at_any_call() {
    for calls in 1.. {
        let world = World::new();
        drop(world.open());
        let db = world.open();
        world.fs.crash_after(calls);
        let made = db.create_session(&new("aal1", b"ann")).and_then(|made| Ok((made, db.flush()?)));
        let went_through = !world.fs.is_down();
        drop(db);
        world.fs.crash();
        world.fs.clear_faults();
        let db = world.open();
        assert_eq!(db.audit_sessions().expect("readable"), Vec::<String>::new());
        if let Ok(((token, _), ())) = &made {
            assert!(lives(&db, token), "lost by a crash at call {calls}");
        }
        let (token, _) = db.create_session(&new("aal1", b"ann")).expect("made");
        assert!(lives(&db, &token));
        if went_through {
            assert!(calls > 5, "the crash never came");
            return;
        }
    }
}

/// In bytes or in characters, from the first on or in the middle.
#[test]
fn no_file_holds_a_token_that_was_given_out() {
    let world = World::new();
    let (db, tokens) = lived_in(&world);
    db.checkpoint().expect("made");
    let more: Vec<Token> = (0..40).map(|_| db.create_session(&new("web", b"eve")).expect("made").0).collect();
    db.flush().expect("flushed");
    let mut parts = Vec::new();
    for token in tokens.iter().chain(&more) {
        let text = token.as_str().as_bytes().to_vec();
        let raw = decoded(&text);
        for whole in [text, raw] {
            parts.push(whole[..12].to_vec());
            parts.push(whole[whole.len() - 12..].to_vec());
        }
    }
    let mut handles = 0;
    for name in world.fs.list(DIR.as_ref()).expect("listed") {
        let bytes = content_of(&world.fs, &Path::new(DIR).join(&name));
        for part in &parts {
            assert!(!bytes.windows(part.len()).any(|window| window == part), "a token is in {name}");
        }
        handles += usize::from(bytes.windows(3).any(|window| window == b"eve"));
    }
    assert!(handles > 0, "the search finds what is there");
}

/// The bytes of a token.
fn decoded(text: &[u8]) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = |character| alphabet.iter().position(|one| *one == character).expect("of the alphabet");
    let bits: Vec<usize> =
        text.iter().flat_map(|&one| (0..6).rev().map(move |bit| value(one) >> bit & 1)).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | *bit as u8)).collect()
}
