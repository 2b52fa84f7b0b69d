//! Limits, where going past one must not cost the directory.

use super::support::{DIR, look_at_all};
use sessile::{Access, Db, Error, Expiry, KEY_BYTES_MAX, Options, VALUE_BYTES_MAX};
use sessile_wal::sim::SimFs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

fn open(fs: &SimFs) -> Db {
    Options::new().file_system(Arc::new(fs.clone())).manual_background().open(DIR).expect("opens")
}

/// A write far behind a string's end was logged, and recovery, which knows the limit, refused the log from then on.
#[test]
fn a_write_too_far_out_never_reaches_the_log() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.set(b"key", b"value", Expiry::Never).expect("set");
    let before = look_at_all(&db);
    for offset in [VALUE_BYTES_MAX, usize::MAX] {
        let key = db.key(0, b"key");
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut txn = db.begin(std::slice::from_ref(&key), Access::Write, db.now_ms()).expect("readable");
            txn.write_string_at(&key, offset, b"x").expect("a string");
        }));
        assert!(outcome.is_err());
    }
    assert_eq!(look_at_all(&db), before);
    drop(db);
    assert_eq!(look_at_all(&open(&fs)), before);
}

#[test]
fn what_is_too_long_is_refused_with_its_length_and_the_limit() {
    let db = open(&SimFs::new(1));
    let long = vec![0; VALUE_BYTES_MAX + 1];
    for (what, outcome) in [
        ("value", db.set(b"key", &long, Expiry::Never)),
        ("key", db.set(&long, b"", Expiry::Never)),
        ("field", db.hash_set(b"hash", &long, b"").map(drop)),
    ] {
        let error = outcome.expect_err("refused");
        assert!(matches!(error, Error::TooLarge { bytes, .. } if bytes == long.len()), "{error}");
        assert_eq!(
            error.to_string(),
            format!("a {what} of {} bytes is over the limit of {KEY_BYTES_MAX} bytes", long.len())
        );
    }
    assert!(db.is_empty());
}

#[test]
fn empty_keys_values_and_fields_are_as_good_as_others() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.set(b"", b"", Expiry::Never).expect("set");
    db.database(1).hash_set(b"", b"", b"").expect("set");
    let before = look_at_all(&db);
    assert_eq!(before.len(), 2);
    drop(db);
    let db = open(&fs);
    assert_eq!(look_at_all(&db), before);
    assert!(db.database(1).hash_remove(b"", b"").expect("a hash"));
    assert!(db.delete(b"").expect("deleted"));
    drop(db);
    assert!(look_at_all(&open(&fs)).is_empty());
}

#[test]
fn operations_on_the_wrong_kind_are_refused_and_change_nothing() {
    let db = open(&SimFs::new(1));
    db.set(b"string", b"value", Expiry::Never).expect("set");
    db.hash_set(b"hash", b"field", b"value").expect("set");
    let before = look_at_all(&db);
    assert!(matches!(db.get(b"hash"), Err(Error::WrongKind(_))));
    assert!(matches!(db.get_and_touch(b"hash", std::time::Duration::from_secs(1)), Err(Error::WrongKind(_))));
    assert!(matches!(db.hash_get(b"string", b"f"), Err(Error::WrongKind(_))));
    assert!(matches!(db.hash_set(b"string", b"f", b""), Err(Error::WrongKind(_))));
    assert!(matches!(db.hash_remove(b"string", b"f"), Err(Error::WrongKind(_))));
    assert!(matches!(db.hash_get_all(b"string"), Err(Error::WrongKind(_))));
    assert!(matches!(db.set_add(b"hash", &[b"m"]), Err(Error::WrongKind(_))));
    assert!(matches!(db.set_remove(b"string", &[b"m"]), Err(Error::WrongKind(_))));
    assert!(matches!(db.set_contains(b"string", b"m"), Err(Error::WrongKind(_))));
    assert!(matches!(db.set_members(b"hash"), Err(Error::WrongKind(_))));
    assert!(matches!(db.set_len(b"hash"), Err(Error::WrongKind(_))));
    assert!(matches!(db.sorted_set_add(b"hash", &[(1.0, b"m")]), Err(Error::WrongKind(_))));
    assert!(matches!(db.sorted_set_add(b"none", &[(f64::NAN, b"m")]), Err(Error::NotANumber)));
    assert!(matches!(db.sorted_set_remove(b"string", &[b"m"]), Err(Error::WrongKind(_))));
    assert!(matches!(db.sorted_set_score(b"string", b"m"), Err(Error::WrongKind(_))));
    assert!(matches!(db.sorted_set_range_by_score(b"hash", ..), Err(Error::WrongKind(_))));
    assert!(matches!(db.sorted_set_len(b"hash"), Err(Error::WrongKind(_))));
    assert_eq!(look_at_all(&db), before);
}
