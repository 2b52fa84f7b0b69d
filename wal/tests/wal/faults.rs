//! Failing calls and full disks: what a failed write or sync does, and how a full disk passes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use sessile_wal::{
    Admit, Durability, Fs, Lsn, WalError,
    sim::{Fault, FaultPlan, Lasts, SimClock, SimFs},
};

use crate::support::{dir, open, open_sim, options};

/// A fixed piece of work; what it got acknowledged is returned, whatever happened.
fn work(fs: &SimFs, clock: &SimClock, durability: Durability) -> Vec<(Lsn, Vec<u8>)> {
    let mut acknowledged = Vec::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let Ok((wal, _, _)) = open(&shared, clock, options().durability(durability), Lsn::ZERO) else {
        return acknowledged;
    };
    let mut waiting = Vec::new();
    for number in 0..30_u8 {
        let record = vec![number; 100 + 90 * usize::from(number)];
        if wal.admit(record.len(), Admit::Write).is_err() {
            continue;
        }
        waiting.push((wal.append(&record), record));
        if number % 4 == 3 {
            let _ = wal.sync(wal.appended());
        }
        let _ = wal.step();
        clock.advance_ms(300);
        let done = waiting.iter().take_while(|(end, _)| *end <= wal.durable()).count();
        acknowledged.extend(waiting.drain(..done));
    }
    let _ = wal.close();
    let done = waiting.iter().take_while(|(end, _)| *end <= wal.durable()).count();
    acknowledged.extend(waiting.drain(..done));
    acknowledged
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost() {
    for durability in [Durability::Always, Durability::EverySecond] {
        let fs = SimFs::new(0);
        let all = work(&fs, &SimClock::default(), durability);
        assert_eq!(all.len(), 30);
        let calls = fs.calls();
        assert!(calls > 50);
        for fault in [Fault::Io, Fault::Full, Fault::Short] {
            for call in 1..=calls {
                let fs = SimFs::new(call);
                fs.fail_after(call, fault);
                let acknowledged = work(&fs, &SimClock::default(), durability);
                fs.crash();
                let (_, _, seen) =
                    open_sim(&fs, Lsn::ZERO).unwrap_or_else(|e| panic!("{fault:?} at {call}: {e}"));
                assert!(seen.len() >= acknowledged.len(), "{fault:?} at call {call}");
                assert_eq!(seen[..acknowledged.len()], acknowledged, "{fault:?} at call {call}");
            }
        }
        for call in 1..=calls {
            let fs = SimFs::new(call);
            fs.crash_after(call);
            let acknowledged = work(&fs, &SimClock::default(), durability);
            fs.crash();
            let (_, _, seen) = open_sim(&fs, Lsn::ZERO).unwrap_or_else(|e| panic!("death at {call}: {e}"));
            assert_eq!(seen[..acknowledged.len()], acknowledged, "death at call {call}");
        }
    }
}

#[test]
fn a_failed_sync_poisons_for_good() {
    let fs = SimFs::new(1);
    let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    wal.set_notifier(Box::new(move || {
        counted.fetch_add(1, SeqCst);
    }));
    let kept = wal.append(b"kept");
    wal.sync(kept).expect("syncs");
    let lost = wal.append(b"lost");
    wal.write(lost).expect("writes");
    fs.fail_after(1, Fault::Io);
    let error = wal.sync(lost).expect_err("the sync fails");
    let WalError::Poisoned(poison) = &error else { panic!("{error}") };
    assert_eq!(poison.operation, "sync");
    assert_eq!(poison.path, dir().join("wal-0000000000000000.log"));
    assert!(wal.stats().poisoned && calls.load(SeqCst) > 0);
    assert!(wal.durable() < lost && wal.acknowledged() >= lost, "written stays written");

    let later = wal.append(b"later");
    assert_eq!(later, Lsn::MAX);
    assert!(wal.durable() < later && wal.written() < later);
    assert!(wal.admit(1, Admit::Write).is_err_and(|e| e.is_poisoned()));
    assert!(wal.admit_now(1, Admit::Delete).is_err_and(|e| e.is_poisoned()));
    assert!(wal.commit(later).is_err_and(|e| e.is_poisoned()));
    assert!(wal.sync(lost).is_err_and(|e| e.is_poisoned()));
    assert!(wal.flush().is_err() && wal.step().is_err() && wal.close().is_err());
    drop(wal);
    fs.crash();
    let (_, _, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
    assert_eq!(seen[0], (kept, b"kept".to_vec()));
}

#[test]
fn a_failed_write_poisons_for_good() {
    for durability in [Durability::Always, Durability::No] {
        let fs = SimFs::new(2);
        let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
        wal.set_durability(durability);
        let lost = wal.append(b"lost");
        fs.fail_after(1, Fault::Io);
        let error = wal.commit(lost).expect_err("the write fails");
        assert!(matches!(&error, WalError::Poisoned(poison) if poison.operation == "write"), "{error}");
        assert!(wal.acknowledged() < lost);
        assert!(wal.commit(lost).is_err());
    }
}

#[test]
fn a_full_disk_is_noticed_before_acceptance_and_passes() {
    let fs = SimFs::new(3);
    let clock = SimClock::default();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let (wal, _, _) = open(&shared, &clock, options(), Lsn::ZERO).expect("opens");
    fs.set_space_bytes(Some(fs.used_bytes() + 20_000));
    let mut appended = Vec::new();
    let refused = loop {
        assert!(appended.len() < 1000);
        match wal.admit(500, Admit::Write) {
            Ok(()) => appended.push(wal.append(&[7; 500])),
            Err(error) => break error,
        }
        // Everything admitted can be written.
        wal.commit(wal.appended()).expect("fits");
    };
    assert!(refused.is_disk_full(), "{refused}");
    assert!(wal.stats().disk_full);
    assert!(wal.admit_now(500, Admit::Write).is_err_and(|e| e.is_disk_full()));
    // The reserve is for deletes.
    let mut deletes = 0;
    while wal.admit(20, Admit::Delete).is_ok() {
        appended.push(wal.append(&[8; 20]));
        wal.commit(wal.appended()).expect("fits");
        deletes += 1;
        assert!(deletes < 1000);
    }
    assert!(deletes > 10, "{deletes}");
    assert!(wal.admit(20, Admit::Delete).is_err_and(|e| e.is_disk_full()));
    let step = wal.step().expect("a full disk is no error here");
    assert!(!step.pause.is_zero());

    fs.set_space_bytes(None);
    clock.advance_ms(step.pause.as_millis() as u64);
    while wal.step().expect("steps").pause.is_zero() {}
    assert!(!wal.stats().disk_full);
    wal.admit(500, Admit::Write).expect("there is space again");
    appended.push(wal.append(&[9; 500]));
    wal.close().expect("closes");
    fs.crash();
    let (_, _, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
    assert_eq!(seen.iter().map(|(end, _)| *end).collect::<Vec<_>>(), appended);
}

#[test]
fn a_write_that_finds_no_space_after_all_is_kept_and_tried_again() {
    for durability in [Durability::Always, Durability::EverySecond] {
        let fs = SimFs::new(4);
        let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
        wal.set_durability(durability);
        let end = wal.append(&[1; 3000]);
        fs.fail_after(1, Fault::Full);
        assert!(wal.commit(end).is_err_and(|e| e.is_disk_full()));
        assert!(wal.acknowledged() < end && !wal.stats().poisoned);
        let next = wal.append(&[2; 3000]);
        wal.commit(next).expect("there is space again");
        wal.flush().expect("syncs");
        fs.crash();
        let (_, _, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
        assert_eq!(seen, [(end, vec![1; 3000]), (next, vec![2; 3000])]);
    }
}

/// The next file can't be made, for another reason than a full disk (no more descriptors, a directory that may not be written): nobody waits
/// until that is over, everybody is told why; and once it is over, all goes on.
#[test]
fn a_next_file_that_can_not_be_made_is_an_error_and_not_a_wait() {
    let fs = SimFs::new(6);
    let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
    fs.fail(FaultPlan { call: 1, fault: Fault::Io, lasts: Lasts::SameKind });
    assert!(fs.list(dir()).is_err(), "which makes names the kind that fails");
    let mut appended = Vec::new();
    let refused = loop {
        assert!(appended.len() < 1000);
        match wal.admit_now(500, Admit::Write) {
            Ok(true) => appended.push(wal.append(&[7; 500])),
            Ok(false) => drop(wal.step()),
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, WalError::Io { .. }), "{refused}");
    assert!(refused.to_string().contains(&dir().display().to_string()), "{refused}");
    assert!(!wal.stats().disk_full && !wal.is_poisoned());
    assert!(wal.admit_now(500, Admit::Write).is_err(), "it is said again");
    fs.clear_faults();
    wal.step().expect("steps");
    while !wal.admit_now(500, Admit::Write).expect("the file can be made again") {
        wal.step().expect("steps");
    }
    appended.push(wal.append(&[8; 500]));
    wal.close().expect("closes");
    fs.crash();
    let (_, _, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
    assert_eq!(seen.iter().map(|(end, _)| *end).collect::<Vec<_>>(), appended);
}

#[test]
fn a_record_over_the_limit_is_refused() {
    let fs = SimFs::new(5);
    let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
    let over = sessile_wal::limits::RECORD_BYTES_MAX + 1;
    assert!(matches!(wal.admit(over, Admit::Write), Err(WalError::RecordTooLarge { .. })));
    assert!(matches!(wal.admit_now(over, Admit::Write), Err(WalError::RecordTooLarge { .. })));
}
