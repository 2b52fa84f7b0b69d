//! Many threads at once: group commit, writes beside syncs, and death in the middle.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use sessile_wal::{
    Admit, Durability, Fs, Lsn, Wal,
    sim::{SimClock, SimFs},
};

use crate::support::{open, open_sim, options};

fn run(wal: &Wal, threads: u8, records: u32) -> HashMap<u8, Vec<(Lsn, u32)>> {
    let stop = Arc::new(AtomicBool::new(false));
    let background = thread::spawn({
        let (wal, stop) = (wal.clone(), stop.clone());
        move || {
            while !stop.load(Relaxed) && wal.step().is_ok() {
                thread::yield_now();
            }
        }
    });
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let wal = wal.clone();
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for count in 0..records {
                    let mut record = vec![number; 5 + (count as usize * 7) % 900];
                    record[1..5].copy_from_slice(&count.to_le_bytes());
                    if wal.admit(record.len(), Admit::Write).is_err() {
                        break;
                    }
                    let end = wal.append(&record);
                    if count % 10 == 9 {
                        let _ = wal.sync(end);
                    }
                    if wal.commit(end).is_err() {
                        break;
                    }
                    assert!(wal.acknowledged() >= end);
                    acknowledged.push((end, count));
                }
                (number, acknowledged)
            })
        })
        .collect();
    let done = workers.into_iter().map(|worker| worker.join().expect("does not panic")).collect();
    stop.store(true, Relaxed);
    background.join().expect("does not panic");
    done
}

#[test]
fn every_thread_finds_its_records_in_its_order() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::No] {
        let fs = SimFs::new(1);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let clock = SimClock::default();
        let (wal, _, _) = open(&shared, &clock, options().durability(durability), Lsn::ZERO).expect("opens");
        let done = run(&wal, 8, 400);
        drop(wal);
        fs.kill();
        let (_, recovery, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
        assert_eq!(recovery.records, 8 * 400);
        let mut found: HashMap<u8, Vec<(Lsn, u32)>> = HashMap::new();
        for (end, record) in seen {
            let count = u32::from_le_bytes(record[1..5].try_into().expect("has four bytes"));
            found.entry(record[0]).or_default().push((end, count));
        }
        assert_eq!(found, done);
    }
}

#[test]
fn death_among_threads_loses_nothing_acknowledged() {
    for seed in 0..40 {
        let fs = SimFs::new(seed);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let options = options().durability(Durability::Always);
        let (wal, _, _) = open(&shared, &SimClock::default(), options, Lsn::ZERO).expect("opens");
        fs.crash_after(20 + seed * 13);
        let done = run(&wal, 4, 200);
        drop(wal);
        fs.crash();
        let (_, _, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
        let ends: std::collections::HashSet<Lsn> = seen.iter().map(|(end, _)| *end).collect();
        for (end, _) in done.values().flatten() {
            assert!(ends.contains(end), "seed {seed} lost {end}");
        }
    }
}

#[test]
fn syncs_are_shared() {
    let root = tempfile::tempdir().expect("has a directory");
    let options = options().durability(Durability::Always).segment_bytes_max(8 << 20);
    let real = Arc::new(sessile_wal::RealFs);
    let clock = Arc::new(sessile_wal::SystemClock);
    let (wal, _) =
        Wal::open(real, clock, root.path(), options, Lsn::ZERO, &mut |_, _| Ok(())).expect("opens");
    run(&wal, 16, 200);
    let stats = wal.stats();
    assert_eq!(stats.records, 16 * 200);
    assert!(stats.syncs < stats.records, "{} syncs", stats.syncs);
}
