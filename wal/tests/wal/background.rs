//! The background beat, one behaviour per test.

use std::{sync::Arc, time::Duration};

use sessile_wal::{
    Admit, Clock, Durability, Fs, Lsn, Wal,
    sim::{SimClock, SimFs},
};

use crate::support::{open, open_sim, options};

fn start(durability: Durability) -> (SimFs, SimClock, Wal) {
    let fs = SimFs::new(1);
    let clock = SimClock::default();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let (wal, _, _) = open(&shared, &clock, options().durability(durability), Lsn::ZERO).expect("opens");
    while wal.step().expect("steps").pause.is_zero() {}
    (fs, clock, wal)
}

#[test]
fn what_was_written_is_synced_within_a_second() {
    let (_, clock, wal) = start(Durability::EverySecond);
    let end = wal.append(b"record");
    wal.commit(end).expect("writes");
    assert!(wal.acknowledged() >= end && wal.durable() < end);
    let mut waited = Duration::ZERO;
    loop {
        let step = wal.step().expect("steps");
        if wal.durable() >= end {
            break;
        }
        waited += step.pause;
        clock.advance_ms(step.pause.as_millis() as u64);
        assert!(waited <= Duration::from_secs(1));
    }
}

#[test]
fn what_nobody_wrote_is_written() {
    let (_, _, wal) = start(Durability::No);
    let end = wal.append(b"record");
    assert!(wal.written() < end);
    assert!(wal.step().expect("steps").advanced);
    assert!(wal.written() >= end && wal.durable() < end);
}

#[test]
fn an_idle_log_is_marked_once() {
    let (_, clock, wal) = start(Durability::Always);
    let end = wal.append(b"record");
    wal.commit(end).expect("syncs");
    for _ in 0..5 {
        clock.advance_ms(60);
        wal.step().expect("steps");
    }
    let marked = wal.appended();
    assert!(marked > end);
    for _ in 0..50 {
        clock.advance_ms(1000);
        wal.step().expect("steps");
    }
    assert_eq!(wal.appended(), marked);
}

#[test]
fn the_time_is_marked_at_most_once_a_second_and_found_again() {
    let (fs, clock, wal) = start(Durability::EverySecond);
    clock.advance_ms(50_000);
    wal.step().expect("steps");
    let before = wal.stats().batches;
    for _ in 0..30 {
        wal.note_time();
        clock.advance_ms(100);
        wal.step().expect("steps");
    }
    let marks = wal.stats().batches - before;
    assert!((3..=5).contains(&marks), "{marks}");
    for _ in 0..15 {
        clock.advance_ms(100);
        wal.step().expect("steps");
    }
    let noted_ms = clock.wall_ms() - 3000;
    fs.crash();
    clock.set_wall_ms(0);
    let shared: Arc<dyn Fs> = Arc::new(fs);
    let (_, recovery, _) = open(&shared, &clock, options(), Lsn::ZERO).expect("opens");
    assert!(recovery.clock_high_water_ms >= noted_ms);
}

#[test]
fn released_files_are_used_again() {
    let (fs, _, wal) = start(Durability::EverySecond);
    let mut peak = 0;
    for round in 0..400 {
        wal.admit(1000, Admit::Write).expect("admits");
        let end = wal.append(&[round as u8; 1000]);
        wal.sync(end).expect("syncs");
        wal.release(end).expect("releases");
        wal.step().expect("steps");
        peak = peak.max(fs.used_bytes());
    }
    assert!(peak <= 4 * (16 << 10), "{peak}");
    assert!(wal.stats().files <= 3);
    let upto = wal.durable();
    drop(wal);
    let (_, recovery, seen) = open_sim(&fs, upto).expect("opens");
    assert!(seen.is_empty() && recovery.torn.is_none());
}

#[test]
fn the_next_file_is_ready_before_it_is_needed() {
    let (_, _, wal) = start(Durability::EverySecond);
    for _ in 0..100 {
        assert!(wal.admit_now(1000, Admit::Write).expect("is healthy"));
        let end = wal.append(&[1; 1000]);
        wal.write(end).expect("writes");
        while wal.step().expect("steps").pause.is_zero() {}
    }
}

#[test]
fn a_full_buffer_holds_back() {
    let fs = SimFs::new(1);
    let shared: Arc<dyn Fs> = Arc::new(fs);
    let options = options().buffer_bytes_max(4096);
    let (wal, _, _) = open(&shared, &SimClock::default(), options, Lsn::ZERO).expect("opens");
    while wal.step().expect("steps").pause.is_zero() {}
    assert!(wal.admit_now(3000, Admit::Write).expect("is healthy"));
    wal.append(&[1; 3000]);
    assert!(!wal.admit_now(3000, Admit::Write).expect("is healthy"));
    // One that may wait makes room itself.
    wal.admit(3000, Admit::Write).expect("admits");
    assert!(wal.written() >= wal.appended());
    assert!(wal.admit_now(3000, Admit::Write).expect("is healthy"));
}

#[test]
fn a_record_larger_than_a_file_gets_its_own() {
    let (fs, _, wal) = start(Durability::EverySecond);
    let large: Vec<u8> = (0..300_000).map(|at| (at % 251) as u8).collect();
    let mut ends = vec![wal.append(b"before")];
    wal.admit(large.len(), Admit::Write).expect("admits");
    ends.push(wal.append(&large));
    ends.push(wal.append(b"after"));
    // And without asking.
    ends.push(wal.append(&large));
    wal.flush().expect("syncs");
    drop(wal);
    fs.crash();
    let (_, _, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
    assert_eq!(seen.iter().map(|(end, _)| *end).collect::<Vec<_>>(), ends);
    assert!(seen[1].1 == large && seen[3].1 == large);
}
