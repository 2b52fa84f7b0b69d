//! Damaged directories: every file of a small one flipped, zeroed, cut, deleted, duplicated. The database either is refused, with an error
//! that names a file, the same each time and with nothing changed on disk, or holds exactly what was promised; never anything wrong.

use super::support::{Content, DIR, fixed_manifest, look_at_all, manifest_path};
use sessile::{Db, Durability, Error, Expiry, Fs, Options};
use sessile_wal::OpenMode;
use sessile_wal::sim::{SimClock, SimFs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

fn open(fs: &SimFs) -> Result<Db, Error> {
    Options::new()
        .durability(Durability::EverySecond)
        .file_system(Arc::new(fs.clone()))
        .clock(Arc::new(SimClock::default()))
        .manual_background()
        .log_file_bytes_max(8 << 10)
        .open(DIR)
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// All files but the lock.
pub(crate) fn files(fs: &SimFs) -> Files {
    let names = fs.list(DIR.as_ref()).expect("a directory");
    let read = |name: &String| {
        let file = fs.open(&path(name), OpenMode::Read).expect("listed");
        let mut bytes = vec![0; file.len().expect("a length") as usize];
        file.read_at(&mut bytes, 0).expect("read");
        bytes
    };
    names.into_iter().filter(|name| name != "LOCK").map(|name| (name.clone(), read(&name))).collect()
}

/// A disk with just these files.
pub(crate) fn disk(files: &Files) -> SimFs {
    let fs = SimFs::new(7);
    fs.create_dir_all(DIR.as_ref()).expect("made");
    for (name, bytes) in files {
        let file = fs.open(&path(name), OpenMode::CreateNew).expect("new");
        file.write_at_durable(bytes, 0).expect("written");
    }
    fs.sync_dir(DIR.as_ref()).expect("synced");
    fs
}

/// Values by key.
type Values = BTreeMap<Vec<u8>, Vec<u8>>;

fn values(db: &Db) -> Values {
    let all = look_at_all(db).into_iter();
    all.map(|(id, seen)| match seen.content {
        Content::String(bytes) => (id.1, bytes),
        other => panic!("there are only strings, not {other:?}"),
    })
    .collect()
}

/// Some keys over several log files, and what was there after each of them. If `closed`, all of it is synced and marked; else the last ones
/// were only written.
fn make(closed: bool) -> (Files, Vec<Values>) {
    let fs = disk(&[("MANIFEST".to_owned(), fixed_manifest())].into_iter().collect());
    let db = open(&fs).expect("opens");
    let mut history = vec![Values::new()];
    for number in 0..12u32 {
        if number == 8 && !closed {
            db.flush().expect("flushed");
        }
        let (key, value) =
            (format!("key {}", number % 7), vec![number as u8 + 1; 300 * (number as usize % 5)]);
        db.set(key.as_bytes(), &value, Expiry::Never).expect("set");
        let mut next = history.last().expect("never empty").clone();
        next.insert(key.into_bytes(), value);
        history.push(next);
    }
    if closed {
        db.close().expect("closed");
    }
    // The page cache as a kill leaves it.
    let files = files(&fs);
    fs.kill();
    drop(db);
    (files, history)
}

/// Whether the error says which file it is about.
pub(crate) fn names_a_file(error: &Error) -> bool {
    error.to_string().contains(DIR)
}

/// Opens a damaged directory; `kept` of its states are allowed.
fn judge(what: &str, damaged: &Files, allowed: &[Values]) -> bool {
    let fs = disk(damaged);
    match open(&fs) {
        Ok(db) => {
            let found = values(&db);
            assert!(allowed.contains(&found), "{what}: served {:?}", found.keys());
            db.set(b"new", b"write", Expiry::Never).expect("usable");
            drop(db);
            let again = open(&fs).unwrap_or_else(|error| panic!("{what}: accepted, then refused: {error}"));
            let mut expected = found;
            expected.insert(b"new".to_vec(), b"write".to_vec());
            assert_eq!(values(&again), expected, "{what}: second start");
            true
        }
        Err(error) => {
            assert!(names_a_file(&error), "{what}: {error} names no file");
            assert_eq!(&files(&fs), damaged, "{what}: refused, and changed on disk");
            let again = open(&fs).err().unwrap_or_else(|| panic!("{what}: refused, then accepted"));
            assert_eq!(error.to_string(), again.to_string(), "{what}: two answers");
            false
        }
    }
}

/// Bytes to damage: all of the small and the used ones, some of the zeros.
fn places(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    (0..bytes.len())
        .filter(|&at| bytes[at.saturating_sub(1)..(at + 2).min(bytes.len())] != [0; 3] || at % 509 == 0)
}

fn every_damage(closed: bool) {
    let (sound, history) = make(closed);
    // What was flushed must be there in any case, and all of it if the log was closed.
    let allowed = if closed { &history[12..] } else { &history[8..] };
    assert!(judge("nothing", &sound, &history[12..]));
    assert!(sound.len() >= 4, "several log files: {:?}", sound.keys());
    let (mut tried, mut accepted) = (0, 0);
    // A log is known to have been synced up to its end by the mark behind that. If the very sector of the mark is lost, and the end of the
    // last record with it, what is left looks like a torn tail: nothing of an earlier sector may be missing then.
    let (last_log, end) = sound
        .iter()
        .filter(|(name, _)| name.starts_with("wal-"))
        .filter_map(|(name, bytes)| {
            Some((name.clone(), bytes[4096..].iter().rposition(|&byte| byte != 0)? + 4096))
        })
        .next_back()
        .expect("a log");
    for (name, bytes) in &sound {
        let mut damages: Vec<(String, Option<Vec<u8>>)> = vec![
            ("deleted".into(), None),
            ("empty".into(), Some(Vec::new())),
            ("zeroed".into(), Some(vec![0; bytes.len()])),
            ("longer".into(), Some([&bytes[..], &[0xA5; 100]].concat())),
        ];
        for cut in
            [1, 8, 100, bytes.len() / 2, bytes.len().saturating_sub(4096), bytes.len().saturating_sub(1)]
        {
            damages.push((format!("cut to {cut}"), Some(bytes[..cut.min(bytes.len())].to_vec())));
        }
        for at in places(bytes).step_by(if closed { 1 } else { 3 }) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            damages.push((format!("flipped at {at}"), Some(flipped)));
        }
        for page in (0..bytes.len()).step_by(512) {
            let mut zeroed = bytes.clone();
            zeroed[page..(page + 512).min(bytes.len())].fill(0);
            damages.push((format!("zeroed at {page}"), Some(zeroed)));
        }
        for (other, foreign) in &sound {
            if other != name {
                damages.push((format!("replaced by {other}"), Some(foreign.clone())));
            }
        }
        for (damage, content) in damages {
            let mut damaged = sound.clone();
            match content {
                Some(content) if content == *bytes => continue,
                Some(content) => drop(damaged.insert(name.clone(), content)),
                None => drop(damaged.remove(name)),
            }
            tried += 1;
            let mark_lost = *name == last_log && damage == format!("zeroed at {}", end / 512 * 512);
            let allowed = if mark_lost { &history[8..] } else { allowed };
            accepted += u32::from(judge(&format!("{name} {damage}"), &damaged, allowed));
        }
        // A copy under the name of a file to come, a stray file, a half-made one.
        for stray in
            ["wal-0000000000100000.log", "wal-ffffffffffff0000.log", "wal-new", "note.txt", "MANIFEST.new"]
        {
            let mut damaged = sound.clone();
            damaged.insert(stray.into(), bytes.clone());
            tried += 1;
            accepted += u32::from(judge(&format!("{name} copied to {stray}"), &damaged, allowed));
        }
    }
    println!("{tried} damages, {accepted} without effect on what was promised, the others refused");
}

#[test]
fn no_damage_to_a_closed_directory_gives_a_wrong_value() {
    every_damage(true);
}

#[test]
fn damage_to_a_killed_directory_costs_at_most_what_was_never_synced() {
    every_damage(false);
}

#[test]
fn a_log_without_its_manifest_is_refused() {
    let (mut files, _) = make(true);
    files.remove("MANIFEST");
    let fs = disk(&files);
    for _ in 0..2 {
        let error = open(&fs).expect_err("refused");
        assert!(matches!(&error, Error::MissingManifest { path } if *path == manifest_path()), "{error}");
    }
}

/// A log of another database, all its checksums sound.
#[test]
fn a_log_of_another_database_is_refused() {
    let (ours, _) = make(true);
    let other = SimFs::new(3);
    drop(open(&other).expect("makes its own manifest"));
    let mut mixed = ours.clone();
    mixed.insert("MANIFEST".into(), files(&other)["MANIFEST"].clone());
    let error = open(&disk(&mixed)).expect_err("refused");
    assert!(error.to_string().contains("belongs to database"), "{error}");
}

#[test]
fn a_second_open_in_the_process_is_refused_with_the_pid() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Db::open(dir.path()).expect("opens");
    let error = Db::open(dir.path()).expect_err("refused");
    let own = std::process::id();
    assert!(matches!(&error, Error::InUse { pid: Some(pid), path } if *pid == own && path.ends_with("LOCK")));
    assert!(error.to_string().contains(&format!("process {own}")), "{error}");
    let clone = db.clone();
    drop(db);
    assert!(matches!(Db::open(dir.path()), Err(Error::InUse { .. })), "a clone keeps it open");
    drop(clone);
    // Another test that starts a child at this moment holds the lock's descriptor between fork and exec.
    let free = (0..100).any(|_| {
        super::support::pause(std::time::Duration::from_millis(10));
        Db::open(dir.path()).is_ok()
    });
    assert!(free, "free again");
}

/// What a child of this test opens.
const CHILD: &str = "SESSILE_TEST_CHILD_OPENS";

fn child(dir: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", "engine::damage::the_child_opens", "--nocapture"]).env(CHILD, dir);
    child
}

/// Does nothing unless one of the tests below runs it as a child.
#[test]
fn the_child_opens() {
    if let Some(dir) = std::env::var_os(CHILD) {
        match Db::open(dir) {
            Ok(_) => println!("child: opened"),
            Err(error) => println!("child: {error}"),
        }
    }
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Db::open(dir.path()).expect("opens");
    let said = || String::from_utf8(child(dir.path()).output().expect("runs").stdout).expect("text");
    let refused = said();
    assert!(
        refused.contains(&format!("LOCK is in use: process {} holds the lock", std::process::id())),
        "{refused}"
    );
    drop(db);
    assert!(said().contains("child: opened"));
}

#[test]
#[cfg(unix)]
fn a_directory_that_can_not_be_written_is_a_clear_error() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().expect("a directory");
    let inside = dir.path().join("data");
    drop(Db::open(&inside).expect("opens"));
    for (path, mode) in [(dir.path(), 0o755), (&inside, 0o555), (&inside.join("LOCK"), 0o444)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    }
    // The superuser may write anywhere, so somebody else must try.
    let mut child = child(&inside);
    child.uid(65_534).gid(65_534);
    let output = match child.output() {
        Ok(output) => String::from_utf8(output.stdout).expect("text"),
        // Not the superuser: then this process will do.
        Err(_) => Db::open(&inside).expect_err("refused").to_string(),
    };
    std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o755)).expect("ours");
    assert!(
        output.contains(&format!("cannot lock {}: Permission denied", inside.join("LOCK").display())),
        "{output}"
    );
}
