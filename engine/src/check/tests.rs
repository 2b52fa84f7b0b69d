//! Checking a directory made by hand: sound as it is, and with damage of every kind in every file.

use super::fixture::*;
use super::*;
use sessile_wal::OpenMode;
use sessile_wal::sim::SimFs;

fn check_all(fs: &SimFs) -> (CheckReport, Vec<FileFinding>) {
    let mut findings = Vec::new();
    let before = disk(fs);
    let report =
        check(Arc::new(fs.clone()), dir(), &mut |finding| findings.push(finding.clone())).expect("checks");
    assert!(disk(fs) == before, "checking changed something");
    assert_eq!(report.damaged_files, findings.iter().filter(|finding| !finding.is_sound()).count() as u64);
    (report, findings)
}

fn damaged(findings: &[FileFinding]) -> Vec<String> {
    let name =
        |finding: &FileFinding| finding.path.file_name().expect("is a file").to_string_lossy().into_owned();
    findings.iter().filter(|finding| !finding.is_sound()).map(name).collect()
}

#[test]
fn a_sound_directory_is_sound_and_everything_in_it_is_counted() {
    let fixture = fixture();
    let (report, findings) = check_all(&fixture.fs);
    assert!(report.is_sound(), "{findings:#?}");
    // All but the dead one, one of them twice.
    assert_eq!(report.segment_records, SESSIONS - 1 + 1);
    assert_eq!((report.keys, report.keys_lost), (SESSIONS - 2, 0));
    assert_eq!(report.log_records, 3);
    assert_eq!(report.torn_bytes, 0);
    let of_kind = |kind| findings.iter().filter(move |finding| finding.kind == kind);
    let items = |kind| of_kind(kind).map(|finding| finding.items).collect::<Vec<_>>();
    assert_eq!(items(FileKind::Manifest), [1]);
    assert_eq!(items(FileKind::Dictionary), [1]);
    let mut segments = items(FileKind::Segment);
    segments.sort_unstable();
    assert_eq!(segments, [1, 39, 60]);
    assert_eq!(items(FileKind::Index), [SESSIONS, 2]);
    let names = |kind| of_kind(kind).map(|finding| finding.path.clone()).collect::<Vec<_>>();
    assert!(names(FileKind::Leftover).contains(&segment_path(9)));
    assert_eq!(names(FileKind::Foreign), [dir().join("note.txt")]);
    let last = findings.iter().rfind(|finding| finding.kind == FileKind::Log).expect("has a log");
    assert!(last.bytes_done > 0 && last.bytes_done <= last.bytes_total);
    assert!(findings.is_sorted_by_key(|finding| finding.bytes_done));
}

/// How far each file matters: behind it a log file has only zeros.
fn content_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

#[test]
fn a_flipped_bit_in_any_file_is_found_in_that_file() {
    let fixture = fixture();
    let listed: Vec<String> = disk(&fixture.fs).into_keys().collect();
    let mut seen = std::collections::BTreeMap::new();
    for (name, content) in disk(&fixture.fs) {
        if name == sessile_wal::SYNCED_NOTE_NAME {
            // One that can't be read says nothing, and nothing is lost by it.
            continue;
        }
        let log_base = u64::from_str_radix(name.trim_start_matches("wal-").trim_end_matches(".log"), 16);
        let read_from = match log_base {
            // Behind the checkpoint, and no leftover.
            Ok(base) if base + content.len() as u64 <= fixture.manifest.checkpoint.log_from => continue,
            _ if name.starts_with("note") || name.starts_with("spare") || name.contains("00000009") => {
                continue;
            }
            // One that is not whole says nothing.
            _ if name == "log-synced" => continue,
            _ => 0,
        };
        let used = content_bytes(&content);
        let step = if used > 2000 { 41 } else { 7 };
        for offset in (read_from..used).step_by(step) {
            let fs = fixture.fs.fork(offset);
            assert!(fs.flip_bit(&dir().join(&name), offset, (offset % 8) as u8));
            let (report, findings) = check_all(&fs);
            if name.starts_with("wal-") && report.is_sound() {
                // Padding, or the last mark.
                continue;
            }
            assert!(!report.is_sound(), "{name}: a flip at {offset} was not found");
            assert!(
                damaged(&findings).contains(&name),
                "{name}: a flip at {offset}: {:?}",
                damaged(&findings)
            );
            *seen.entry(name.clone()).or_insert(0) += 1;
        }
    }
    let kinds = |prefix: &str| seen.keys().filter(|name| name.starts_with(prefix)).count();
    let counts = ["MANIFEST", "dict-", "seg-", "index-", "wal-"].map(kinds);
    assert_eq!(counts[..4], [1, 1, 3, 2], "{listed:?}");
    assert!(counts[4] >= 1, "{listed:?}");
}

#[test]
fn a_missing_or_shorter_file_is_found_and_named() {
    let fixture = fixture();
    for name in names(&fixture.fs) {
        if !["MANIFEST", "dict-", "seg-", "index-"].iter().any(|prefix| name.starts_with(prefix))
            || name.contains("00000009")
        {
            continue;
        }
        let fs = fixture.fs.fork(1);
        fs.remove(&dir().join(&name)).expect("removes");
        let (_, findings) = check_all(&fs);
        let finding = findings.iter().find(|finding| finding.path == dir().join(&name)).expect("is told of");
        assert_eq!(finding.damage[0].reason, "it is missing", "{name}");
        for left in [0, 10, 64, 100] {
            let fs = fixture.fs.fork(left);
            fs.open(&dir().join(&name), OpenMode::ReadWrite).expect("opens").set_len(left).expect("cuts");
            let (_, findings) = check_all(&fs);
            assert!(damaged(&findings).contains(&name), "{name} of {left} bytes");
        }
    }
}

#[test]
fn the_keys_of_a_damaged_segment_are_counted_as_lost() {
    let fixture = fixture();
    fixture.fs.remove(&segment_path(3)).expect("removes");
    let (report, findings) = check_all(&fixture.fs);
    assert_eq!(report.keys_lost, 60);
    assert_eq!(damaged(&findings), ["seg-00000003.seg"]);

    // One record of one that is compressed, in a segment that is otherwise good.
    let fixture = super::fixture::fixture();
    assert!(fixture.fs.flip_bit(&segment_path(3), 300, 3));
    let (report, findings) = check_all(&fixture.fs);
    assert_eq!((report.keys_lost, report.damage_count), (1, 1), "{findings:#?}");

    // A dictionary takes with it all that was compressed with it.
    let fixture = super::fixture::fixture();
    fixture.fs.remove(&dir().join("dict-00000001.zdict")).expect("removes");
    let (report, findings) = check_all(&fixture.fs);
    assert_eq!(report.keys_lost, 60);
    assert_eq!(damaged(&findings), ["dict-00000001.zdict", "seg-00000003.seg"]);
}

#[test]
fn an_entry_that_refers_to_no_record_of_its_key_is_found_though_every_checksum_matches() {
    let fixture = fixture();
    // The manifest no longer knows a segment.
    let mut manifest = fixture.manifest.clone();
    manifest.checkpoint.segments.retain(|segment| segment.id != 4);
    manifest.write(&fixture.fs, dir()).expect("writes");
    let (report, findings) = check_all(&fixture.fs);
    assert_eq!(report.keys_lost, 1);
    assert_eq!(damaged(&findings), ["index-0000000000000002.idx"]);
    // It counts other records than there are.
    let mut manifest = fixture.manifest.clone();
    manifest.checkpoint.segments[0].records += 1;
    manifest.write(&fixture.fs, dir()).expect("writes");
    let (_, findings) = check_all(&fixture.fs);
    assert_eq!(damaged(&findings), ["seg-00000002.seg"]);
    // Its clock is so far back that the dead one would be alive.
    let mut manifest = fixture.manifest.clone();
    manifest.checkpoint.time_ms -= 1000;
    manifest.write(&fixture.fs, dir()).expect("writes");
    let (report, findings) = check_all(&fixture.fs);
    assert_eq!((report.keys, report.keys_lost), (SESSIONS - 1, 1));
    assert_eq!(damaged(&findings), ["index-0000000000000001.idx"]);
}

#[test]
fn without_a_manifest_the_files_speak_for_themselves() {
    let fixture = fixture();
    fixture.fs.remove(&dir().join("MANIFEST")).expect("removes");
    let (report, findings) = check_all(&fixture.fs);
    // The orphan is one of those then.
    assert_eq!(damaged(&findings), ["MANIFEST", "seg-00000009.seg"]);
    assert_eq!(report.segment_records, SESSIONS);
    assert_eq!(report.log_records, SESSIONS + 6);
}

#[test]
fn a_directory_in_use_or_not_ours_is_refused() {
    let fixture = fixture();
    let lock = fixture.fs.lock(&dir().join("LOCK")).expect("is free");
    let fs: Arc<dyn Fs> = Arc::new(fixture.fs.clone());
    assert!(matches!(check(fs.clone(), dir(), &mut |_| {}), Err(Error::InUse { .. })));
    drop(lock);
    let other = Path::new("/other");
    fs.create_dir_all(other).expect("creates");
    for dir in [other, Path::new("/nowhere")] {
        assert!(matches!(check(fs.clone(), dir, &mut |_| {}), Err(Error::Io { .. })));
    }
    assert_eq!(fs.list(other).expect("lists"), Vec::<String>::new());
}
