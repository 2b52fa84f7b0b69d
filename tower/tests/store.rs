//! The store by its trait: what a save may do, and what it never does.

use serde_json::json;
use sessile::sessions::EventKind;
use sessile::typed::ClassPolicy;
use sessile::{Db, Durability, Options};
use sessile_tower::SessileStore;
use std::time::Duration as StdDuration;
use time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::{SessionStore, session_store};

const HOUR: StdDuration = StdDuration::from_secs(3600);

fn class() -> ClassPolicy {
    ClassPolicy::new("web", HOUR, 12 * HOUR).per_user(3)
}

struct World {
    _dir: tempfile::TempDir,
    db: Db,
    store: SessileStore,
}

fn world() -> World {
    let dir = tempfile::tempdir().expect("made");
    let db = Db::open(dir.path().join("data")).expect("opens");
    let store = SessileStore::new(db.clone(), &class()).expect("made");
    let store = store.with_user_key("user").with_meta_key("device");
    World { _dir: dir, db, store }
}

fn record(left: Duration) -> Record {
    let data = [("cart".to_owned(), json!([1, 2, 3]))].into();
    Record { id: Id(0), data, expiry_date: OffsetDateTime::now_utc() + left }
}

async fn created(store: &SessileStore, mut record: Record) -> Record {
    store.create(&mut record).await.expect("made");
    record
}

async fn load(store: &SessileStore, id: &Id) -> Option<Record> {
    store.load(id).await.expect("readable")
}

#[expect(clippy::disallowed_methods, reason = "the test looks at what is on the real disk")]
fn files(directory: &std::path::Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(directory).expect("readable").flatten();
    entries.map(|entry| std::fs::read(entry.path()).expect("readable")).collect()
}

#[tokio::test]
async fn what_was_created_is_loaded_and_what_was_deleted_is_not() {
    let world = world();
    let made = created(&world.store, record(Duration::minutes(30))).await;
    let other = created(&world.store, record(Duration::minutes(30))).await;
    assert_ne!(made.id, other.id);
    let loaded = load(&world.store, &made.id).await.expect("lives");
    assert_eq!((loaded.id, &loaded.data), (made.id, &made.data));
    assert!((loaded.expiry_date - made.expiry_date).abs() <= Duration::seconds(1));
    world.store.delete(&made.id).await.expect("deleted");
    world.store.delete(&made.id).await.expect("deleted again");
    assert!(load(&world.store, &made.id).await.is_none());
    assert!(load(&world.store, &other.id).await.is_some());
    assert!(load(&world.store, &Id(7)).await.is_none());
    // It is a directory as any: what is acknowledged is there after it was opened again.
    let World { _dir, db, store } = world;
    drop((db, store));
    let db = Db::open(_dir.path().join("data")).expect("opens");
    let store = SessileStore::new(db, &class()).expect("made");
    assert_eq!(load(&store, &other.id).await.expect("lives").data, other.data);
}

#[tokio::test]
async fn the_first_session_of_a_directory_needs_no_other_before_it() {
    let world = world();
    assert!(load(&world.store, &Id(7)).await.is_none());
    world.store.save(&Record { id: Id(7), ..record(Duration::hours(1)) }).await.expect("no error");
    world.store.delete(&Id(7)).await.expect("no error");
    let made = created(&world.store, record(Duration::hours(1))).await;
    assert!(load(&world.store, &made.id).await.is_some());
}

#[tokio::test]
async fn a_save_of_the_same_data_is_a_touch() {
    let world = world();
    let mut own = record(Duration::minutes(30));
    own.data.insert("user".into(), json!("ann"));
    let mut own = created(&world.store, own).await;
    let versions = || world.store.list("ann").expect("listed");
    let before = versions()[0].clone();
    let looked = |id: &Id| {
        let handle = world.store.handle(id).expect("readable").expect("lives");
        assert_eq!(handle, before.handle);
    };
    tokio::time::sleep(StdDuration::from_millis(20)).await;
    own.expiry_date = OffsetDateTime::now_utc() + Duration::minutes(30);
    let written = world.db.stats().storage.log_bytes_since_checkpoint;
    world.store.save(&own).await.expect("saved");
    let touched = world.db.stats().storage.log_bytes_since_checkpoint - written;
    assert!(touched <= 64, "a touch wrote {touched} bytes to the log");
    looked(&own.id);
    let after = versions()[0].clone();
    assert!(after.seen_ms > before.seen_ms && after.deadline_ms > before.deadline_ms, "{before:?} {after:?}");
    own.data.insert("cart".into(), json!([4]));
    world.store.save(&own).await.expect("saved");
    assert_eq!(load(&world.store, &own.id).await.expect("lives").data, own.data);
    assert!(world.db.stats().storage.log_bytes_since_checkpoint - written > touched + 10);
}

#[tokio::test]
async fn no_save_revives_a_session() {
    let world = world();
    let own = created(&world.store, record(Duration::minutes(30))).await;
    let in_flight = load(&world.store, &own.id).await.expect("lives");
    world.store.delete(&own.id).await.expect("deleted");
    world.store.save(&in_flight).await.expect("no error");
    assert!(load(&world.store, &own.id).await.is_none(), "a logout was undone");
    assert_eq!(world.db.count_sessions(None, None).expect("counted"), 0);
}

#[tokio::test]
async fn what_the_application_wants_and_the_class_allows_decides() {
    let world = world();
    let near = |record: &Record, left: Duration| {
        let differs = (record.expiry_date - OffsetDateTime::now_utc() - left).abs();
        assert!(differs <= Duration::seconds(2), "differs by {differs}");
    };
    // Longer than the class's: its idle limit holds.
    let long = created(&world.store, record(Duration::weeks(2))).await;
    near(&load(&world.store, &long.id).await.expect("lives"), Duration::hours(1));
    world.store.save(&long).await.expect("saved");
    near(&load(&world.store, &long.id).await.expect("lives"), Duration::hours(1));
    // A moment that stays where it is, however often the session is saved.
    let mut fixed = created(&world.store, record(Duration::minutes(10))).await;
    tokio::time::sleep(StdDuration::from_millis(1_500)).await;
    for round in 0..3 {
        fixed.data.insert("round".into(), json!(round));
        world.store.save(&fixed).await.expect("saved");
        let left = fixed.expiry_date - OffsetDateTime::now_utc();
        near(&load(&world.store, &fixed.id).await.expect("lives"), left);
        world.store.save(&fixed).await.expect("saved");
    }
    // And back to inactivity.
    fixed.expiry_date = OffsetDateTime::now_utc() + Duration::minutes(10);
    world.store.save(&fixed).await.expect("saved");
    near(&load(&world.store, &fixed.id).await.expect("lives"), Duration::minutes(10));
    // One that is over, of a session that was and of one that begins.
    fixed.expiry_date = OffsetDateTime::now_utc() - Duration::seconds(1);
    world.store.save(&fixed).await.expect("saved");
    assert!(load(&world.store, &fixed.id).await.is_none());
    let never = created(&world.store, record(Duration::ZERO)).await;
    assert!(load(&world.store, &never.id).await.is_none());
}

#[tokio::test]
async fn it_ends_when_the_application_wanted_it_to() {
    let world = world();
    let mut own = created(&world.store, record(Duration::minutes(10))).await;
    own.expiry_date = OffsetDateTime::now_utc() + Duration::milliseconds(300);
    world.store.save(&own).await.expect("saved");
    assert!(load(&world.store, &own.id).await.is_some());
    tokio::time::sleep(StdDuration::from_millis(400)).await;
    assert!(load(&world.store, &own.id).await.is_none());
    own.expiry_date = OffsetDateTime::now_utc() + Duration::minutes(10);
    world.store.save(&own).await.expect("no error");
    assert!(load(&world.store, &own.id).await.is_none(), "a session was revived");
    // By the idle limit, which the engine keeps.
    let idle = created(&world.store, record(Duration::seconds(1))).await;
    tokio::time::sleep(StdDuration::from_millis(1_100)).await;
    assert!(load(&world.store, &idle.id).await.is_none());
}

#[tokio::test]
async fn a_user_has_a_list_a_limit_and_a_way_to_log_out_everywhere() {
    let world = world();
    let of = |user: &str, device: &str| {
        let mut own = record(Duration::hours(1));
        own.data.insert("user".into(), json!(user));
        own.data.insert("device".into(), json!(device));
        own
    };
    let phone = created(&world.store, of("ann", "phone")).await;
    let laptop = created(&world.store, of("ann", "laptop")).await;
    let other = created(&world.store, of("ben", "phone")).await;
    let listed = world.store.list("ann").expect("listed");
    let mut devices: Vec<_> = listed.iter().map(|one| &one.meta[..]).collect();
    devices.sort_unstable();
    assert_eq!(devices, [&b"laptop"[..], b"phone"]);
    let of_phone = world.store.handle(&phone.id).expect("readable").expect("lives");
    assert!(!world.store.revoke("ben", of_phone).await.expect("revoked"), "it is not his");
    assert!(world.store.revoke("ann", of_phone).await.expect("revoked"));
    assert!(load(&world.store, &phone.id).await.is_none());
    let refused = world.store.revoke_user("ann", Some(other.id)).await;
    assert!(refused.is_err() && load(&world.store, &laptop.id).await.is_some());
    created(&world.store, of("ann", "tablet")).await;
    assert_eq!(world.store.revoke_user("ann", Some(laptop.id)).await.expect("revoked"), 1);
    assert_eq!(world.store.revoke_user("ann", None).await.expect("revoked"), 1);
    assert!(load(&world.store, &laptop.id).await.is_none());
    assert!(load(&world.store, &other.id).await.is_some());
    for _ in 0..5 {
        created(&world.store, of("ann", "phone")).await;
    }
    assert_eq!(world.store.list("ann").expect("listed").len(), 3, "the least recently seen made room");
}

#[tokio::test]
async fn a_login_without_another_id_is_refused() {
    let world = world();
    let mut own = created(&world.store, record(Duration::hours(1))).await;
    own.data.insert("user".into(), json!("ann"));
    let saved = world.store.save(&own).await;
    assert!(matches!(saved, Err(session_store::Error::Backend(_))), "{saved:?}");
    assert!(!load(&world.store, &own.id).await.expect("lives").data.contains_key("user"));
    // As `Session::cycle_id` does.
    world.store.delete(&own.id).await.expect("deleted");
    let own = created(&world.store, own).await;
    assert_eq!(world.store.list("ann").expect("listed").len(), 1);
    // Neither can it become another's.
    let mut other = own.clone();
    other.data.insert("user".into(), json!("ben"));
    assert!(world.store.save(&other).await.is_err());
}

#[tokio::test]
async fn an_id_of_another_class_or_a_token_of_another_kind_is_none() {
    let world = world();
    let admin = SessileStore::new(world.db.clone(), &ClassPolicy::new("admin", HOUR, HOUR)).expect("made");
    let own = created(&world.store, record(Duration::hours(1))).await;
    assert!(load(&admin, &own.id).await.is_none());
    assert!(admin.handle(&own.id).expect("readable").is_none());
    admin.save(&own).await.expect("no error");
    admin.delete(&own.id).await.expect("no error");
    assert_eq!(load(&world.store, &own.id).await.expect("lives").data, own.data);
}

#[tokio::test]
async fn ids_are_in_no_file() {
    let world = world();
    let own = created(&world.store, record(Duration::hours(1))).await;
    world.store.save(&Record { data: [("a".into(), json!(1))].into(), ..own.clone() }).await.expect("saved");
    world.db.flush().expect("flushed");
    let World { _dir: dir, db, store } = world;
    drop((db, store));
    let (text, bytes) = (own.id.to_string(), own.id.0.to_le_bytes());
    let mut looked_at = 0;
    for content in files(&dir.path().join("data")) {
        looked_at += content.len();
        let contains = |part: &[u8]| content.windows(part.len()).any(|window| window == part);
        assert!(!contains(text.as_bytes()) && !contains(&bytes));
    }
    assert!(looked_at > 100);
}

#[tokio::test]
async fn writes_that_wait_for_the_disk_wait_where_that_stops_nobody() {
    let dir = tempfile::tempdir().expect("made");
    let db = Options::new().durability(Durability::Always).open(dir.path().join("data")).expect("opens");
    let store = SessileStore::new(db, &class()).expect("made");
    // One thread: were it blocked, the other task would not run meanwhile.
    let work = async {
        let mut own = created(&store, record(Duration::hours(1))).await;
        for round in 0..20 {
            own.data.insert("round".into(), json!(round));
            store.save(&own).await.expect("saved");
        }
        store.delete(&own.id).await.expect("deleted");
    };
    let mut turns = 0;
    let count = async {
        loop {
            turns += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { () = work => {}, () = count => {} }
    assert!(turns > 22, "the runtime had {turns} turns in 22 waits");
}

#[tokio::test]
async fn too_much_data_is_refused() {
    let world = world();
    let mut own = created(&world.store, record(Duration::hours(1))).await;
    own.data.insert("note".into(), json!("a".repeat(2 << 20)));
    assert!(matches!(world.store.save(&own).await, Err(session_store::Error::Encode(_))));
    assert!(load(&world.store, &own.id).await.is_some());
}

#[test]
fn it_works_without_a_runtime() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    let world = world();
    let mut own = record(Duration::hours(1));
    let mut work = pin!(async {
        world.store.create(&mut own).await.expect("made");
        world.store.delete(&own.id).await.expect("deleted");
    });
    assert_eq!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}

#[tokio::test]
async fn every_end_is_an_event() {
    let world = world();
    let own = created(&world.store, record(Duration::hours(1))).await;
    let handle = world.store.handle(&own.id).expect("readable");
    world.store.delete(&own.id).await.expect("deleted");
    let page = world.db.session_events(None, 10).expect("readable");
    let told: Vec<_> = page.events.iter().map(|one| (one.event.kind, one.event.handle)).collect();
    assert_eq!(told, [(EventKind::Created, handle), (EventKind::Ended, handle)]);
}
