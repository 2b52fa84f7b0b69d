//! The real file system, in temporary directories.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sessile_wal::{
    Admit, Durability, Fs, LockHeld, Lsn, OpenMode, RealFs, Recovery, SystemClock, Wal, WalError, WalOptions,
};

fn open(dir: &Path, durability: Durability, from: Lsn) -> Result<(Wal, Recovery, Vec<Vec<u8>>), WalError> {
    let mut seen = Vec::new();
    let options =
        WalOptions::default().durability(durability).segment_bytes_max(256 << 10).database_id([3; 16]);
    let mut replay = |_, record: &[u8]| {
        seen.push(record.to_vec());
        Ok(())
    };
    let (wal, recovery) =
        Wal::open(Arc::new(RealFs), Arc::new(SystemClock), dir, options, from, &mut replay)?;
    Ok((wal, recovery, seen))
}

#[test]
fn every_durability_reads_back_what_it_wrote() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::No] {
        let root = tempfile::tempdir().expect("has a directory");
        let dir = root.path().join("wal");
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for round in 0..4_usize {
            let (wal, recovery, seen) = open(&dir, durability, Lsn::ZERO).expect("opens");
            assert_eq!(seen, expected);
            assert_eq!((recovery.created, recovery.torn), (round == 0, None));
            for number in 0..300_usize {
                let record = vec![(round * 50 + number) as u8; (number * 37) % 3000];
                wal.admit(record.len(), Admit::Write).expect("admits");
                let end = wal.append(&record);
                if number % 5 == 0 {
                    wal.commit(end).expect("commits");
                    assert!(wal.acknowledged() >= end);
                }
                expected.push(record);
                wal.step().expect("steps");
                // Changing one's mind must keep the file coherent.
                if number == 150 && round == 2 {
                    wal.set_durability(Durability::Always);
                } else if number == 250 && round == 2 {
                    wal.set_durability(Durability::EverySecond);
                }
            }
            if round % 2 == 0 {
                wal.close().expect("closes");
            } else {
                wal.write(wal.appended()).expect("writes");
            }
        }
        let (_, _, seen) = open(&dir, durability, Lsn::ZERO).expect("opens");
        assert!(seen == expected);
    }
}

#[test]
fn released_files_are_recycled() {
    let root = tempfile::tempdir().expect("has a directory");
    let (wal, _, _) = open(root.path(), Durability::EverySecond, Lsn::ZERO).expect("opens");
    let mut last = Lsn::ZERO;
    for _ in 0..1500 {
        wal.admit(1000, Admit::Write).expect("admits");
        last = wal.append(&[5; 1000]);
        wal.write(last).expect("writes");
        if last.get().is_multiple_of(97) {
            wal.sync(last).expect("syncs");
            wal.release(last).expect("releases");
        }
        wal.step().expect("steps");
    }
    wal.flush().expect("syncs");
    wal.release(last).expect("releases");
    assert_eq!(wal.stats().files, 2, "the current file and the next");
    drop(wal);
    let (_, recovery, seen) = open(root.path(), Durability::EverySecond, last).expect("opens");
    assert_eq!((seen.len(), recovery.torn), (0, None));
}

#[test]
fn a_directory_is_locked_once() {
    let root = tempfile::tempdir().expect("has a directory");
    let path = root.path().join("LOCK");
    let held = RealFs.lock(&path).expect("locks");
    let refused = RealFs.lock(&path).err().expect("is held");
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(LockHeld::of(&refused), Some(LockHeld { pid: Some(std::process::id()) }));
    drop(held);
    RealFs.lock(&path).expect("is free again");
}

#[test]
fn the_real_files_keep_the_contract() {
    let root = tempfile::tempdir().expect("has a directory");
    let path = root.path().join("file");
    assert!(RealFs.open(&path, OpenMode::Read).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound));
    let file = RealFs.open(&path, OpenMode::CreateNew).expect("creates");
    assert!(
        RealFs.open(&path, OpenMode::CreateNew).is_err_and(|e| e.kind() == std::io::ErrorKind::AlreadyExists)
    );
    // Whole pages durably, then a part of one, then past the cache again: all of it reads back.
    let mut expected = vec![1; 8192];
    file.write_at_durable(&expected, 0).expect("writes");
    file.write_at(&[2; 100], 4000).expect("writes");
    expected[4000..4100].fill(2);
    file.write_at_durable(&[3; 4096], 4096).expect("writes");
    expected[4096..].fill(3);
    file.write_at_durable(&[4; 10], 5).expect("writes");
    expected[5..15].fill(4);
    file.sync_data().expect("syncs");
    let mut read = vec![0; 9000];
    assert_eq!(file.read_at(&mut read, 0).expect("reads"), 8192);
    assert!(read[..8192] == expected);
    let moved = root.path().join("moved");
    RealFs.rename(&path, &moved).expect("renames");
    // Its second descriptor follows the file, not the name.
    file.write_at_durable(&[6; 4096], 0).expect("writes");
    RealFs.sync_dir(root.path()).expect("syncs");
    assert_eq!(RealFs.list(root.path()).expect("lists"), ["moved"]);
    assert!(RealFs.exists(&moved).expect("looks") && !RealFs.exists(&path).expect("looks"));
    assert!(RealFs.available_bytes(root.path()).expect("asks") > 0);
    RealFs.remove(&moved).expect("removes");
}

#[test]
fn a_thread_syncs_on_demand() {
    let root = tempfile::tempdir().expect("has a directory");
    let (wal, _, _) = open(root.path(), Durability::Always, Lsn::ZERO).expect("opens");
    let (sender, receiver) = std::sync::mpsc::channel();
    wal.set_notifier(Box::new(move || {
        let _ = sender.send(());
    }));
    let stop = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let (wal, stop) = (wal.clone(), stop.clone());
        move || {
            while !stop.load(Relaxed) {
                wal.sync_on_demand(Duration::from_secs(10)).expect("syncs");
            }
        }
    });
    for _ in 0..50 {
        let end = wal.append(b"record");
        wal.request_sync(end);
        while wal.acknowledged() < end {
            receiver.recv_timeout(Duration::from_secs(5)).expect("is told");
        }
    }
    stop.store(true, Relaxed);
    wal.wake();
    thread.join().expect("ends");
}

const CHILD_DIR: &str = "SESSILE_WAL_CHILD_DIR";

/// Not a test by itself: the process that `a_killed_process_loses_nothing_acknowledged` starts and kills. It says on its
/// standard output, a line each, how many records are acknowledged.
#[test]
fn child_that_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let (wal, _, seen) = open(Path::new(&dir), Durability::EverySecond, Lsn::ZERO).expect("opens");
    for number in seen.len() as u64.. {
        let mut record = vec![number as u8; 8 + number as usize % 700];
        record[..8].copy_from_slice(&number.to_le_bytes());
        wal.admit(record.len(), Admit::Write).expect("admits");
        wal.commit(wal.append(&record)).expect("writes");
        println!("acknowledged {}", number + 1);
    }
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let root = tempfile::tempdir().expect("has a directory");
    let mut before = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().expect("has a path"))
            .args(["--exact", "real_disk::child_that_is_killed", "--nocapture"])
            .env(CHILD_DIR, root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut acknowledged = before;
        let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        // Kill it in the middle of its work, then read what it still said.
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(count) = line.strip_prefix("acknowledged ") {
                acknowledged = count.parse().expect("is a number");
            }
            if acknowledged >= before + 500 + 300 * round {
                break;
            }
        }
        child.kill().expect("kills");
        child.wait().expect("ends");
        // The last line may be cut short by the kill.
        let mut said: Vec<String> = lines.map_while(Result::ok).collect();
        said.pop();
        if let Some(count) = said.last().and_then(|line| line.strip_prefix("acknowledged ")) {
            acknowledged = count.parse().expect("is a number");
        }
        let (wal, _, seen) = open(root.path(), Durability::EverySecond, Lsn::ZERO).expect("opens");
        assert!(seen.len() as u64 >= acknowledged, "{} of {acknowledged}", seen.len());
        for (number, record) in seen.iter().enumerate() {
            assert_eq!(record[..8], (number as u64).to_le_bytes());
            assert_eq!(record.len(), 8 + number % 700);
        }
        before = seen.len() as u64;
        drop(wal);
    }
}

#[test]
fn a_read_that_must_not_wait_gives_what_a_read_gives_or_says_that_it_would() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("file");
    let file = RealFs.open(&path, OpenMode::CreateNew).expect("creates");
    let bytes: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
    file.write_at(&bytes, 0).expect("writes");
    // Just written, so in the page cache; a file system that doesn't know how always says that it would wait.
    for (offset, asked) in [(0, 100), (5000, 5000), (9990, 100), (10_000, 100), (1 << 40, 100), (0, 0)] {
        let mut buf = vec![0; asked];
        let Some(read) = file.read_at_nowait(&mut buf, offset).expect("reads") else { continue };
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        assert_eq!(read, asked.min(rest.len()), "{offset}");
        assert_eq!(buf[..read], rest[..read], "{offset}");
    }
}
