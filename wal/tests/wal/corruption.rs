//! Damaged files: every single flipped bit of a small log, truncations, missing and foreign files. Whatever the damage, a
//! wrong record is never replayed, and damage to something synced is an error that changes nothing and names the place.

use std::{path::PathBuf, sync::Arc};

use sessile_wal::{
    Admit, File, Fs, Lsn, OpenMode, WalError,
    sim::{SimClock, SimFs},
};

use crate::support::{Records, dir, open, open_sim, options};

fn file_path(base: u64) -> PathBuf {
    dir().join(format!("wal-{base:016x}.log"))
}

fn append_some(fs: &SimFs, count: u8, bytes: usize) -> (Records, Lsn) {
    let (wal, _, _) = open_sim(fs, Lsn::ZERO).expect("opens");
    let mut records = Vec::new();
    for number in 0..count {
        wal.admit(bytes, Admit::Write).expect("admits");
        let record = vec![number; bytes];
        let end = wal.append(&record);
        if number % 3 == 2 {
            wal.sync(end).expect("syncs");
        }
        records.push((end, record));
    }
    wal.flush().expect("syncs");
    let durable = wal.durable();
    wal.close().expect("closes");
    (records, durable)
}

fn content(fs: &SimFs, base: u64) -> Vec<u8> {
    let file = fs.open(&file_path(base), OpenMode::Read).expect("is there");
    let mut bytes = vec![0; file.len().expect("has a length") as usize];
    file.read_at(&mut bytes, 0).expect("reads");
    bytes
}

#[test]
fn every_flipped_bit_is_found_or_harmless() {
    let fs = SimFs::new(1);
    let (records, durable) = append_some(&fs, 12, 40);
    let used = durable.get() + 200;
    let mut refused = 0;
    for offset in 0..used {
        for bit in [0, 3, 7] {
            let fs = fs.fork(offset);
            assert!(fs.flip_bit(&file_path(0), offset, bit));
            let damaged = content(&fs, 0);
            match open_sim(&fs, Lsn::ZERO) {
                // Padding, or behind the end.
                Ok((_, _, seen)) => assert_eq!(seen, records, "flip at {offset}"),
                Err(WalError::Corrupt { path, offset: at, lsn, .. }) => {
                    refused += 1;
                    assert_eq!(path, file_path(0));
                    assert!(at <= offset && lsn.get() == at, "damage at {offset} was reported at {at}");
                    assert!(content(&fs, 0) == damaged, "a damaged file was changed");
                    let again = open_sim(&fs, Lsn::ZERO).expect_err("the same answer");
                    assert!(matches!(again, WalError::Corrupt { offset, .. } if offset == at));
                }
                Err(error) => panic!("flip at {offset}: {error}"),
            }
        }
    }
    // All of the header block and of the batches but padding and the last mark.
    assert!(refused > 3 * 4096 + 12 * 40, "{refused}");
}

#[test]
fn damage_to_what_was_not_synced_ends_the_log_there() {
    let fs = SimFs::new(2);
    let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
    let synced = wal.append(b"synced");
    wal.sync(synced).expect("syncs");
    let lost = wal.append(b"only written");
    wal.write(lost).expect("writes");
    drop(wal);
    fs.kill();
    assert!(fs.flip_bit(&file_path(0), lost.get() - 1, 0));
    let (wal, recovery, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
    assert_eq!(seen, [(synced, b"synced".to_vec())]);
    let torn = recovery.torn.expect("saw the remains");
    assert_eq!((torn.path, Lsn::new(torn.offset)), (file_path(0), torn.lsn));
    assert!(torn.lsn >= synced && torn.lsn < lost && torn.lsn == recovery.end);
    // And it goes on from there.
    let next = wal.append(b"next");
    wal.sync(next).expect("syncs");
    drop(wal);
    fs.crash();
    let (_, recovery, seen) = open_sim(&fs, Lsn::ZERO).expect("opens");
    assert_eq!(seen.last().expect("has records").1, b"next");
    assert_eq!(recovery.torn, None);
}

#[test]
fn damage_is_proved_by_a_later_file_even_if_its_header_is_damaged_too() {
    let fs = SimFs::new(9);
    let (_, durable) = append_some(&fs, 30, 1500);
    let first_of_last = durable.get() - durable.get() % (16 << 10);
    assert!(first_of_last >= 32 << 10);
    // The seal of the file before, and the header of the last.
    let sealed = content(&fs, first_of_last - (16 << 10));
    let seal = sealed.iter().rposition(|byte| *byte != 0).expect("is sealed") as u64;
    assert!(fs.flip_bit(&file_path(first_of_last - (16 << 10)), seal, 7));
    assert!(fs.flip_bit(&file_path(first_of_last), 3, 0));
    let error = open_sim(&fs, Lsn::ZERO).expect_err("is damaged");
    assert!(
        matches!(&error, WalError::Corrupt { path, .. } if *path == file_path(first_of_last - (16 << 10))),
        "{error}"
    );
}

#[test]
fn a_truncated_file_is_named() {
    let fs = SimFs::new(3);
    append_some(&fs, 3, 40);
    for length in [0, 100, 4095, 4096, 5000, 16383] {
        let fs = fs.fork(length);
        let file = fs.open(&file_path(0), OpenMode::ReadWrite).expect("is there");
        file.set_len(length).expect("truncates");
        match open_sim(&fs, Lsn::ZERO) {
            Err(WalError::Truncated { path, actual_bytes, .. }) => {
                assert_eq!((path, actual_bytes), (file_path(0), length));
            }
            other => panic!("{length}: {:?}", other.map(|(_, recovery, _)| recovery)),
        }
    }
}

#[test]
fn missing_files_are_named() {
    let fs = SimFs::new(4);
    // Files of 16 KiB, so some ten of them.
    let (records, _) = append_some(&fs, 100, 1500);
    let mut bases: Vec<String> = fs.list(dir()).expect("lists");
    bases.retain(|name| name.starts_with("wal-"));
    bases.sort_unstable();
    assert!(bases.len() > 5);
    for name in &bases {
        let fs = fs.fork(0);
        fs.remove(&dir().join(name)).expect("removes");
        match open_sim(&fs, Lsn::ZERO) {
            Err(WalError::MissingFile { path, .. }) => assert_eq!(path, dir().join(name)),
            Ok((_, _, seen)) => {
                // The file prepared for later is not needed.
                assert_eq!(Some(name), bases.last());
                assert_eq!(seen, records);
            }
            Err(error) => panic!("without {name}: {error}"),
        }
    }
    let empty = SimFs::new(5);
    assert!(matches!(open_sim(&empty, Lsn::new(5000)), Err(WalError::MissingFile { .. })));
}

#[test]
fn reading_begins_where_it_is_told_to() {
    let fs = SimFs::new(6);
    let (records, _) = append_some(&fs, 60, 1500);
    for (index, (end, _)) in records.iter().enumerate() {
        let fs = fs.fork(0);
        let (_, recovery, seen) = open_sim(&fs, *end).expect("opens");
        assert_eq!(seen, records[index + 1..]);
        assert!(index + 1 < records.len() || recovery.files <= 2);
    }
    let beyond = Lsn::new(records.last().expect("has records").0.get() + 5000);
    assert!(matches!(open_sim(&fs, beyond), Err(WalError::Corrupt { .. } | WalError::MissingFile { .. })));
}

#[test]
fn files_of_others_are_refused() {
    let fs = SimFs::new(7);
    append_some(&fs, 3, 40);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let other = options().database_id([9; 16]);
    match open(&shared, &SimClock::default(), other, Lsn::ZERO) {
        Err(WalError::WrongDatabase { path, expected, found }) => {
            assert_eq!((path, expected, found), (file_path(0), [9; 16], crate::support::ID));
        }
        other => panic!("{:?}", other.map(|(_, recovery, _)| recovery)),
    }
    // A later version and a key, with the right checksum.
    for (at, value) in [(8, 2_u32), (32, 77)] {
        let fs = fs.fork(0);
        let mut block = content(&fs, 0);
        block.truncate(4096);
        block[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&block[..12]);
        hasher.update(&block[16..]);
        block[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
        let file: Arc<dyn File> = fs.open(&file_path(0), OpenMode::ReadWrite).expect("is there");
        file.write_at(&block, 0).expect("writes");
        match open_sim(&fs, Lsn::ZERO) {
            Err(WalError::UnsupportedVersion { found, supported: 1, .. }) => assert_eq!(found, 2),
            Err(WalError::UnknownKey { key_id, .. }) => assert_eq!(key_id, 77),
            other => panic!("{:?}", other.map(|(_, recovery, _)| recovery)),
        }
    }
}

#[test]
fn a_refusing_caller_stops_the_replay() {
    let fs = SimFs::new(8);
    let (records, _) = append_some(&fs, 3, 40);
    let mut replay = |_, _: &[u8]| Err("no".into());
    let outcome = sessile_wal::Wal::open(
        Arc::new(fs),
        Arc::new(SimClock::default()),
        dir(),
        options(),
        Lsn::ZERO,
        &mut replay,
    );
    assert!(matches!(outcome, Err(WalError::Replay { lsn, .. }) if lsn == records[0].0));
}
