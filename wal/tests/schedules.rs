//! Random schedules of threads that share a log: group commit, syncs on demand, replies parked for them, the background's steps, and a disk that
//! dies in the midst. `just shuttle`; nothing here without `--cfg shuttle`.
#![cfg(shuttle)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use sessile_wal::{
    Admit, Durability, Interest, Lsn, Wal, WalOptions,
    sim::{SimClock, SimFs},
    sync::{Condvar, Mutex, explore, rand::Rng, thread},
};

const DIR: &str = "/db/wal";

fn options(durability: Durability) -> WalOptions {
    WalOptions::default()
        .database_id(*b"sixteen bytes id")
        .segment_bytes_max(8 << 10)
        .spare_bytes_max(16 << 10)
        .durability(durability)
}

fn open(fs: &SimFs, durability: Durability) -> (Wal, Vec<(Lsn, Vec<u8>)>) {
    let mut records = Vec::new();
    let mut replay = |end, record: &[u8]| {
        records.push((end, record.to_vec()));
        Ok(())
    };
    let clock = Arc::new(SimClock::default());
    let fs = Arc::new(fs.clone());
    let (wal, _) = Wal::open(fs, clock, Path::new(DIR), options(durability), Lsn::ZERO, &mut replay)
        .expect("what was synced is whole");
    (wal, records)
}

/// An event loop: what it appends it doesn't wait for, and it sleeps until the log's notifier wakes it.
#[derive(Default)]
struct Loop {
    parked: Interest,
    woken: Mutex<bool>,
    wakes: Condvar,
}

impl Loop {
    fn wake(&self) {
        *self.woken.lock() = true;
        self.wakes.notify_one();
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock();
        while !*woken {
            self.wakes.wait(&mut woken);
        }
        *woken = false;
    }

    /// The record's end once the log has acknowledged it; `None` if that will never be.
    fn write(&self, wal: &Wal, record: &[u8]) -> Option<Lsn> {
        if !wal.admit_now(record.len(), Admit::Write).is_ok_and(|admitted| admitted) {
            return None;
        }
        let lsn = wal.append(record);
        match wal.durability() {
            Durability::Always => wal.request_sync(wal.appended()),
            _ => wal.write(wal.appended()).ok()?,
        }
        loop {
            let acknowledged = wal.acknowledged();
            if acknowledged >= lsn {
                return Some(lsn);
            }
            if wal.is_poisoned() {
                return None;
            }
            self.parked.register();
            if wal.acknowledged() != acknowledged || wal.is_poisoned() {
                self.wake();
            }
            self.sleep();
            self.parked.withdraw();
        }
    }
}

/// What each thread knows to be acknowledged is there after the power is cut or the process dies, in its order; and nobody waits for ever.
fn threads_share_a_log(durability: Durability, dies: bool) {
    let fs = SimFs::new(shuttle_number());
    let (wal, _) = open(&fs, durability);
    let event_loop = Arc::new(Loop::default());
    let ended = Arc::new(AtomicBool::new(false));
    {
        let event_loop = Arc::clone(&event_loop);
        wal.set_notifier(Box::new(move || {
            if event_loop.parked.is_on() {
                event_loop.wake();
            }
        }));
    }
    if dies {
        fs.crash_after(1 + shuttle_number() % 12);
    }
    let committers: Vec<_> = (0..3_u8)
        .map(|number| {
            let wal = wal.clone();
            thread::spawn(move || {
                let mut known = Vec::new();
                for count in 0..3 {
                    if wal.admit(100, Admit::Write).is_err() {
                        break;
                    }
                    let lsn = wal.append(&[number, count]);
                    if wal.commit(lsn).is_err() {
                        break;
                    }
                    assert!(wal.acknowledged() >= lsn);
                    known.push((lsn, vec![number, count]));
                }
                known
            })
        })
        .collect();
    let parked = {
        let (wal, event_loop) = (wal.clone(), Arc::clone(&event_loop));
        thread::spawn(move || {
            let mut known = Vec::new();
            for count in 0..3 {
                let Some(lsn) = event_loop.write(&wal, &[9, count]) else { break };
                known.push((lsn, vec![9, count]));
            }
            known
        })
    };
    let syncer = {
        let (wal, ended) = (wal.clone(), Arc::clone(&ended));
        thread::spawn(move || while !ended.load(SeqCst) && wal.sync_on_demand(Duration::MAX).is_ok() {})
    };
    let stepper = {
        let wal = wal.clone();
        thread::spawn(move || {
            for _ in 0..3 {
                if wal.step().is_err() {
                    break;
                }
            }
        })
    };
    let mut known: Vec<_> =
        committers.into_iter().flat_map(|thread| thread.join().expect("does not panic")).collect();
    known.extend(parked.join().expect("does not panic"));
    ended.store(true, SeqCst);
    wal.wake();
    syncer.join().expect("does not panic");
    stepper.join().expect("does not panic");
    drop(wal);
    if durability == Durability::Always {
        fs.crash();
    } else {
        fs.kill();
    }
    let (_, found) = open(&fs, durability);
    for record in &known {
        assert!(found.contains(record), "{record:?} was acknowledged, and is not in {found:?}");
    }
    for number in [0, 1, 2, 9] {
        let counts: Vec<u8> =
            found.iter().filter(|(_, record)| record[0] == number).map(|(_, record)| record[1]).collect();
        assert!(counts.iter().copied().eq(0..counts.len() as u8), "{counts:?} of thread {number}");
    }
}

fn shuttle_number() -> u64 {
    sessile_wal::sync::rand::thread_rng().r#gen()
}

#[test]
fn schedules_of_group_commit() {
    explore("group commit, always", 500, || threads_share_a_log(Durability::Always, false));
    explore("group commit, everysec", 500, || threads_share_a_log(Durability::EverySecond, false));
}

#[test]
fn schedules_of_group_commit_on_a_disk_that_dies() {
    explore("dying disk, always", 500, || threads_share_a_log(Durability::Always, true));
    explore("dying disk, everysec", 500, || threads_share_a_log(Durability::EverySecond, true));
}
