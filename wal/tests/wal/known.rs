//! What a caller knows of the log from elsewhere: how far it was durable, and from where it is needed. Anything less than that is damage,
//! however much it looks like a torn tail; and every position that can be written down can be begun at.

use std::{path::PathBuf, sync::Arc};

use sessile_wal::{
    Admit, FileReport, Fs, Lsn, OpenMode, Recovery, WalError,
    sim::{SimClock, SimFs},
};

use crate::support::{Records, dir, open, open_sim, options};

/// Appends records and syncs now and then; returns them and every position that the log ever named.
fn fill(fs: &SimFs, count: usize, bytes: usize) -> (Records, Vec<Lsn>) {
    let (wal, recovery, _) = open_sim(fs, Lsn::ZERO).expect("opens");
    let mut positions = vec![Lsn::ZERO, recovery.end, wal.durable()];
    let mut records = Vec::new();
    for number in 0..count {
        wal.admit(bytes, Admit::Write).expect("admits");
        let record = vec![number as u8; bytes];
        let end = wal.append(&record);
        records.push((end, record));
        if number % 3 == 0 {
            wal.sync(end).expect("syncs");
        }
        positions.extend([end, wal.written(), wal.durable()]);
    }
    wal.close().expect("closes");
    positions.push(wal.durable());
    (records, positions)
}

fn disk(fs: &SimFs) -> Vec<(String, Vec<u8>)> {
    let mut names = fs.list(dir()).expect("lists");
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let file = fs.open(&dir().join(&name), OpenMode::Read).expect("opens");
            let mut bytes = vec![0; file.len().expect("has a length") as usize];
            file.read_at(&mut bytes, 0).expect("reads");
            (name, bytes)
        })
        .collect()
}

fn bases(fs: &SimFs) -> Vec<u64> {
    let names = disk(fs).into_iter().map(|(name, _)| name);
    names
        .filter_map(|name| {
            let digits = name.strip_prefix("wal-")?.strip_suffix(".log")?.to_owned();
            u64::from_str_radix(&digits, 16).ok()
        })
        .collect()
}

fn path(base: u64) -> PathBuf {
    dir().join(format!("wal-{base:016x}.log"))
}

fn open_known(fs: &SimFs, from: Lsn, known: Lsn) -> Result<(Recovery, Records), WalError> {
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let (_, recovery, records) = open(&shared, &SimClock::default(), options().known_durable(known), from)?;
    Ok((recovery, records))
}

fn verify(fs: &SimFs, from: Lsn, known: Lsn) -> (Result<Recovery, WalError>, Records, Vec<FileReport>) {
    let (mut records, mut files) = (Vec::new(), Vec::new());
    let outcome = sessile_wal::verify(
        Arc::new(fs.clone()),
        dir(),
        &options().known_durable(known),
        from,
        &mut |file| files.push(file.clone()),
        &mut |end, record| {
            records.push((end, record.to_vec()));
            Ok(())
        },
    );
    (outcome, records, files)
}

#[test]
fn a_log_without_its_last_batches_is_damaged_if_they_are_known_to_have_been_durable() {
    let fs = SimFs::new(1);
    let (records, positions) = fill(&fs, 5, 100);
    let (durable, last) = (positions[positions.len() - 1], records[4].0);
    // Everything from the last record on becomes zeros: nothing that is left says that there was more.
    let file = fs.open(&path(0), OpenMode::ReadWrite).expect("is there");
    let length = file.len().expect("has a length");
    let from = last.get() - 120;
    file.write_at(&vec![0; (length - from) as usize], from).expect("writes");

    let damaged = disk(&fs);
    for known in [last, durable] {
        let error = open_known(&fs, Lsn::ZERO, known).expect_err("is damaged");
        assert!(
            matches!(&error, WalError::Corrupt { path: found, offset, .. } if *found == path(0) && *offset <= from),
            "{error}"
        );
        let (verified, _, files) = verify(&fs, Lsn::ZERO, known);
        assert_eq!(verified.expect_err("is damaged").to_string(), error.to_string());
        assert_eq!(files.len(), 1);
        assert!(disk(&fs) == damaged, "a damaged log was changed");
    }
    // The note beside the log knows it, too.
    assert!(matches!(open_known(&fs, Lsn::ZERO, Lsn::ZERO), Err(WalError::Corrupt { .. })));
    fs.remove(&dir().join(sessile_wal::SYNCED_NOTE_NAME)).expect("it was there");
    // What remains is all there was, for someone who knows no more.
    let (_, seen) = open_known(&fs, Lsn::ZERO, records[3].0).expect("opens");
    assert_eq!(seen, records[..4]);
}

/// Two copies of a log go on, as long, with other records: whoever knows which batch one of them had where it was durable is not given the other.
#[test]
fn the_log_of_another_copy_is_told_apart() {
    let fs = SimFs::new(4);
    fill(&fs, 5, 100);
    let go_on = |fs: &SimFs, byte: u8| {
        // They are not written in the same millisecond: a mark has nothing else of its own.
        let clock = SimClock::default();
        clock.advance_ms(byte.into());
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let (wal, _, _) = open(&shared, &clock, options(), Lsn::ZERO).expect("opens");
        wal.append(&[byte; 200]);
        wal.flush().expect("syncs");
        let end = wal.durable_end();
        wal.append(&[byte; 300]);
        wal.close().expect("closes");
        assert!(end.checksum != 0 && end.lsn < wal.durable());
        end
    };
    let (one, other) = (fs.fork(1), fs.fork(2));
    let (end, other_end) = (go_on(&one, 1), go_on(&other, 2));
    assert_eq!(end.lsn, other_end.lsn);
    // Which log is there, and whose note.
    let copies = [(&one, end), (&other, other_end)];
    for (log, note_of) in [(0, 0), (1, 1), (0, 1)] {
        let fs = copies[log].0.fork(3);
        let note_of_it = copies[note_of].0;
        let note = dir().join(sessile_wal::SYNCED_NOTE_NAME);
        let mut bytes = [0; 48];
        note_of_it.open(&note, OpenMode::Read).and_then(|file| file.read_at(&mut bytes, 0)).expect("reads");
        fs.open(&note, OpenMode::Create).and_then(|file| file.write_at(&bytes, 0)).expect("writes");
        for known in [end, other_end] {
            let shared: Arc<dyn Fs> = Arc::new(fs.fork(4));
            let options = options().known_durable(known.lsn).known_checksum(known.checksum);
            let opened = open(&shared, &SimClock::default(), options, Lsn::ZERO);
            if log == note_of && known == copies[log].1 {
                opened.expect("it is the one");
            } else {
                assert!(matches!(opened, Err(WalError::OtherCopy { .. })), "told apart");
            }
        }
    }
}

#[test]
fn a_log_whose_files_are_all_gone_is_missing_if_it_is_known_to_have_been_there() {
    let fs = SimFs::new(2);
    let error = open_known(&fs, Lsn::ZERO, Lsn::new(5000)).expect_err("is missing");
    assert!(matches!(&error, WalError::MissingFile { path: found, .. } if *found == path(0)), "{error}");
    let (verified, _, _) = verify(&fs, Lsn::ZERO, Lsn::new(5000));
    assert!(matches!(verified, Err(WalError::MissingFile { .. })));
    assert_eq!(disk(&fs), []);
    let (verified, _, files) = verify(&fs, Lsn::ZERO, Lsn::ZERO);
    assert!(verified.expect("there is no log").created);
    assert_eq!((files, disk(&fs)), (Vec::new(), Vec::new()));
}

#[test]
fn any_missing_file_is_found_if_the_log_is_known_to_have_reached_it() {
    let fs = SimFs::new(3);
    let (records, positions) = fill(&fs, 60, 1500);
    let durable = positions[positions.len() - 1];
    let used: Vec<u64> = bases(&fs).into_iter().filter(|base| *base < durable.get()).collect();
    assert!(used.len() > 4);
    for from in [Lsn::ZERO, records[30].0] {
        let needed = used.iter().rposition(|base| *base <= from.get()).expect("one begins at 0");
        for base in &used[needed..] {
            let fs = fs.fork(*base);
            fs.remove(&path(*base)).expect("removes");
            let damaged = disk(&fs);
            let error = open_known(&fs, from, durable).expect_err("is not whole");
            assert!(matches!(error, WalError::MissingFile { .. } | WalError::Corrupt { .. }), "{error}");
            assert!(disk(&fs) == damaged, "a damaged log was changed");
        }
    }
}

#[test]
fn reading_begins_at_any_position_the_log_has_named_with_older_files_there_or_released() {
    let fs = SimFs::new(4);
    let (records, mut positions) = fill(&fs, 60, 1500);
    let durable = positions[positions.len() - 1];
    let all = bases(&fs);
    // Ends of files are starts of the next; and behind the header, where the first batch is.
    positions.extend(all.iter().filter(|base| **base < durable.get()).map(|base| Lsn::new(*base)));
    positions.extend(all.iter().map(|base| Lsn::new(base + 4096)).filter(|at| *at <= durable));
    positions.sort_unstable();
    positions.dedup();
    assert!(positions.len() > 70);
    for from in positions {
        let expected: Records = records.iter().filter(|(end, _)| *end > from).cloned().collect();
        for released in [false, true] {
            let fs = fs.fork(from.get());
            if released {
                let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
                wal.release(from).expect("releases");
                wal.close().expect("closes");
            }
            let (verified, seen, files) = verify(&fs, from, durable);
            let verified = verified.unwrap_or_else(|error| panic!("from {from}: {error}"));
            assert!(seen == expected, "from {from}, released: {released}");
            assert_eq!(verified.files, files.len() as u64);
            assert_eq!(files.last().map(|file| file.end), Some(verified.end));
            assert!(files.iter().rev().skip(1).all(|file| file.sealed));
            let (recovery, seen) =
                open_known(&fs, from, durable).unwrap_or_else(|error| panic!("from {from}: {error}"));
            assert!(seen == expected, "from {from}, released: {released}");
            assert_eq!(recovery, verified);
        }
    }
}

#[test]
fn verifying_changes_nothing_and_names_the_torn_tail_that_opening_would_cut() {
    let fs = SimFs::new(5);
    let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
    let synced = wal.append(b"synced");
    wal.sync(synced).expect("syncs");
    let lost = wal.append(b"only written");
    wal.write(lost).expect("writes");
    drop(wal);
    fs.kill();
    assert!(fs.flip_bit(&path(0), lost.get() - 1, 0));
    let before = disk(&fs);
    let (verified, seen, _) = verify(&fs, Lsn::ZERO, synced);
    let verified = verified.expect("is sound");
    assert!(verified.torn.is_some());
    assert_eq!(seen, [(synced, b"synced".to_vec())]);
    assert!(disk(&fs) == before, "verifying changed something");
    let (recovery, _) = open_known(&fs, Lsn::ZERO, synced).expect("opens");
    assert_eq!(recovery, verified);
}

#[test]
fn a_file_is_released_only_once_the_next_one_can_be_begun_at() {
    let fs = SimFs::new(6);
    let (wal, _, _) = open_sim(&fs, Lsn::ZERO).expect("opens");
    let mut first_in_next = Lsn::ZERO;
    while first_in_next < Lsn::new(16 << 10) {
        wal.admit(1500, Admit::Write).expect("admits");
        first_in_next = wal.append(&[1; 1500]);
        wal.sync(first_in_next).expect("syncs");
    }
    assert_eq!(wal.release(Lsn::new(16 << 10)).expect("releases"), 0);
    assert_eq!(wal.release(Lsn::new((16 << 10) + 4096)).expect("releases"), 0);
    assert_eq!(wal.release(first_in_next).expect("releases"), 1);
}
