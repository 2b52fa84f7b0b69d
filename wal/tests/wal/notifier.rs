//! The notifier: whoever holds replies back for the log, and does not wait, is told when it has come as far.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use sessile_wal::{
    Durability, Fs, Lsn, Wal,
    sim::{Fault, SimClock, SimFs},
};

use crate::support::{open, options};

/// A log, its disk, and how often the notifier was called.
fn log(durability: Durability) -> (Wal, SimFs, Arc<AtomicU64>) {
    let fs = SimFs::new(1);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let options = options().durability(durability);
    let (wal, _, _) = open(&shared, &SimClock::default(), options, Lsn::ZERO).expect("opens");
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    wal.set_notifier(Box::new(move || {
        count.fetch_add(1, SeqCst);
    }));
    (wal, fs, told)
}

/// With `always` a loop asks for a sync and goes on. A checkpoint that synced the log for itself met the request, so that the thread that
/// syncs on demand found nothing to do, and nobody told the loop: its client waited until somebody else wrote.
#[test]
fn whoever_syncs_tells_those_who_have_asked() {
    let (wal, _fs, told) = log(Durability::Always);
    let lsn = wal.append(b"a record");
    wal.request_sync(lsn);
    wal.sync(lsn).expect("as a checkpoint does");
    assert!(wal.acknowledged() >= lsn);
    assert_ne!(told.load(SeqCst), 0);
}

/// A write that failed for want of space leaves its records in the buffer. The next one, by another loop, takes them along.
#[test]
fn whoever_writes_what_another_could_not_tells_him() {
    for sync in [false, true] {
        let (wal, fs, told) = log(Durability::EverySecond);
        let lsn = wal.append(b"a record");
        fs.fail_after(1, Fault::Full);
        assert!(wal.write(lsn).is_err_and(|error| error.is_disk_full()));
        assert_eq!(told.load(SeqCst), 0);
        let next = wal.append(b"another's");
        if sync { wal.sync(next) } else { wal.write(next) }.expect("there is space again");
        assert!(wal.acknowledged() >= lsn);
        assert_ne!(told.load(SeqCst), 0);
        let before = told.load(SeqCst);
        wal.write(wal.append(b"a third")).expect("writes");
        assert_eq!(told.load(SeqCst), before, "who waits for a write need not be told");
    }
}
