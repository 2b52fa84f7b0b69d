//! Allocation limits. A size that comes from a file is not believed before it was compared with the file: whatever is damaged, opening, checking and
//! repairing allocate little more than the files are long. And when the system has no memory left, the process dies as by a kill: nothing
//! acknowledged is lost.
//!
//! `SESSILE_SEEDS` (any number) tries every place of the files, and every large allocation.
#![expect(
    unsafe_code,
    reason = "a global allocator can only be made so; it passes everything on to the system's"
)]

use sessile::check::{check, repair};
use sessile::{Clock, Db, Durability, Expiry, Fs, Options, StorageTuning};
use sessile_wal::OpenMode;
use sessile_wal::sim::{SimClock, SimFs};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

/// The system's allocator, which counts, and fails when told to.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Large allocations until one fails; negative for never.
static UNTIL_FAILURE: AtomicI64 = AtomicI64::new(-1);

/// What counts as large, in bytes. Small ones fail for nobody: the system kills somebody before.
const LARGE_BYTES: usize = 2 << 10;

fn fails(bytes: usize) -> bool {
    bytes >= LARGE_BYTES && UNTIL_FAILURE.load(Relaxed) >= 0 && UNTIL_FAILURE.fetch_sub(1, Relaxed) == 0
}

fn took(bytes: usize) {
    let held = HELD.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(held, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator with the arguments it came with, and its answer returned; or null, which means
// that there is no memory, as the trait allows.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return std::ptr::null_mut();
        }
        took(layout.size());
        // SAFETY: the caller's promises are those that it asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return std::ptr::null_mut();
        }
        took(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if bytes > layout.size() && fails(bytes) {
            return std::ptr::null_mut();
        }
        took(bytes);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How much more is held at some moment of `work` than before it, in bytes.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed).saturating_sub(before)
}

const DIR: &str = "/data/db";

type Files = BTreeMap<String, Vec<u8>>;

fn options(fs: &SimFs) -> Options {
    let tuning = StorageTuning {
        shards: Some(2),
        segment_target_bytes: 4_000,
        small_segment_bytes: 0,
        dictionary_samples_min: 8,
        dictionary_bytes_max: 400,
        reserve_bytes: 0,
        ..StorageTuning::default()
    };
    Options::new()
        .durability(Durability::EverySecond)
        .file_system(Arc::new(fs.clone()))
        .clock(Arc::new(SimClock::default()))
        .manual_background()
        .memory_bytes_max(1)
        .log_file_bytes_max(16 << 10)
        .checkpoint_log_bytes(u64::MAX)
        .storage_tuning(tuning)
}

fn files(fs: &SimFs) -> Files {
    let read = |name: String| {
        let file = fs.open(&Path::new(DIR).join(&name), OpenMode::Read).expect("listed");
        let mut bytes = vec![0; file.len().expect("a length") as usize];
        file.read_at(&mut bytes, 0).expect("read");
        (name, bytes)
    };
    fs.list(DIR.as_ref()).expect("a directory").into_iter().filter(|name| name != "LOCK").map(read).collect()
}

fn disk(files: &Files) -> SimFs {
    let fs = SimFs::new(7);
    fs.create_dir_all(DIR.as_ref()).expect("made");
    for (name, bytes) in files {
        let file = fs.open(&Path::new(DIR).join(name), OpenMode::CreateNew).expect("new");
        file.write_at_durable(bytes, 0).expect("written");
    }
    fs
}

fn value(number: u32) -> String {
    format!(
        "{{\"user\":{number},\"roles\":[\"reader\",\"writer\"],\"theme\":\"dark\",\"cart\":[{}]}}",
        number * 7
    )
}

fn make() -> Files {
    let fs = SimFs::new(1);
    fs.create_dir_all(DIR.as_ref()).expect("made");
    let db = options(&fs).open(DIR).expect("opens");
    for number in 0..60 {
        db.set(format!("session {number}").as_bytes(), value(number), Expiry::Never).expect("set");
        db.hash_set(b"hash", format!("field {number}").as_bytes(), value(number).as_bytes()).expect("set");
    }
    db.replace_side_file("functions", b"some libraries").expect("replaced");
    db.checkpoint().expect("made");
    for number in 0..20 {
        db.set(format!("session {number}").as_bytes(), value(number + 1), Expiry::Never).expect("set");
        db.set_add(b"set", &[format!("member {number}").as_bytes()]).expect("added");
    }
    db.checkpoint().expect("made");
    for number in 20..40 {
        db.set(format!("session {number}").as_bytes(), value(number + 1), Expiry::Never).expect("set");
        db.hash_set(b"hash", format!("field {number}").as_bytes(), b"short").expect("set");
    }
    db.close().expect("closed");
    drop(db);
    files(&fs)
}

fn seal(bytes: &mut [u8], at: usize, parts: &[&[u8]]) {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    bytes[at..at + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// Makes the checksums right again that vouch for lengths: of the manifest, of a file's header, of a log's first batch.
fn reseal(name: &str, bytes: &mut [u8]) {
    let copy = bytes.to_vec();
    if name == "MANIFEST" {
        let end = bytes.len() - 4;
        seal(bytes, end, &[&copy[..end]]);
    } else if name.starts_with("wal-0") {
        seal(bytes, 12, &[&copy[..12], &copy[16..4096]]);
        let length = u32::from_le_bytes(copy[4100..4104].try_into().expect("four bytes")) as usize;
        let end = (4096 + 40 + length).min(copy.len());
        seal(bytes, 4096, &[&copy[16..32], &copy[4100..end]]);
    } else if bytes.len() >= 64 {
        seal(bytes, 12, &[&copy[..12], &copy[16..64]]);
    }
}

/// Beside what the files hold, which the simulated disk keeps several times: windows and buffers of a mebibyte, one for each of a few.
const ALLOWED_BYTES: usize = 24 << 20;

#[test]
fn no_damaged_length_makes_opening_checking_or_repairing_allocate_much() {
    let sound = make();
    let (stride, head_stride) = if std::env::var_os("SESSILE_SEEDS").is_some() { (1, 1) } else { (97, 4) };
    let (mut tried, mut most) = (0, (0, String::new()));
    for (name, bytes) in &sound {
        let is_log = name.starts_with("wal-0") || name.starts_with("spare-");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // Headers wholly, the rest in part.
        let head = if is_log { 4096..4200 } else { 36..140 };
        let head = head.step_by(head_stride).filter(|at| *at < used);
        let places = head.chain((0..used).step_by(stride));
        for at in places {
            for (huge, sealed) in [([0xFF; 8], false), ([0xF0, 0xFF, 0xFF, 0x7F, 0, 0, 0, 0], true)] {
                let mut damaged = sound.clone();
                let target = damaged.get_mut(name).expect("it is there");
                let end = (at + if sealed { 4 } else { 8 }).min(target.len());
                target[at..end].copy_from_slice(&huge[..end - at]);
                if sealed {
                    reseal(name, target);
                }
                let fs = disk(&damaged);
                let shared: Arc<dyn Fs> = Arc::new(fs.clone());
                let clock: Arc<dyn Clock> = Arc::new(SimClock::default());
                let peak = peak_of(|| {
                    drop(check(Arc::clone(&shared), DIR.as_ref(), &mut |_| {}));
                    drop(repair(Arc::clone(&shared), clock, DIR.as_ref(), Path::new("/new"), &mut |_| {}));
                    if let Ok(db) = options(&fs).open(DIR) {
                        for number in 0..60 {
                            let _ = db.get(format!("session {number}").as_bytes());
                        }
                        let _ = db.hash_get_all(b"hash");
                    }
                });
                let what = format!("{name} at {at}{}", if sealed { ", checksum made right" } else { "" });
                assert!(peak < ALLOWED_BYTES, "{what}: {peak} bytes were allocated");
                tried += 1;
                if peak > most.0 {
                    most = (peak, what);
                }
            }
        }
    }
    println!("{tried} damages; at most {} KiB were allocated: {}", most.0 >> 10, most.1);
}

/// Tells the child below which large allocation is to fail, and where it works.
const CHILD: &str = "SESSILE_TEST_CHILD_ALLOCATES";

/// Does nothing unless it is run as a child: writes, and says what was acknowledged, until an allocation fails.
#[test]
fn the_child_runs_out_of_memory() {
    let Some(order) = std::env::var_os(CHILD) else { return };
    let order = order.into_string().expect("text");
    let (nth, dir) = order.split_once(' ').expect("a number and a directory");
    let db = Options::new().checkpoint_log_bytes(64 << 10).open(dir).expect("opens");
    UNTIL_FAILURE.store(nth.parse().expect("a number"), Relaxed);
    for number in 0..150u32 {
        let value = value(number).repeat(1 + 40 * (number as usize % 5));
        db.set(format!("session {number}").as_bytes(), value, Expiry::Never).expect("set");
        println!("acknowledged {number}");
        if number % 50 == 49 {
            db.checkpoint().expect("made");
        }
    }
    db.close().expect("closed");
    UNTIL_FAILURE.store(-1, Relaxed);
    println!("done");
}

#[test]
fn whichever_large_allocation_fails_nothing_acknowledged_is_lost() {
    let most = if std::env::var_os("SESSILE_SEEDS").is_some() { 1_000 } else { 12 };
    let (mut died, mut tried) = (0, 0);
    for step in 0..most {
        // Few of them, but over all of the life.
        let nth = if most == 12 { step * step } else { step };
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("data");
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "the_child_runs_out_of_memory", "--nocapture"])
            .env(CHILD, format!("{nth} {}", dir.display()))
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let acknowledged: Vec<u32> =
            said.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).collect();
        let done = said.lines().any(|line| line == "done");
        assert!(done || !output.status.success(), "{said}");
        died += u32::from(!done);
        tried += 1;
        let db = Db::open(&dir).unwrap_or_else(|error| panic!("allocation {nth} failed: {error}"));
        for number in &acknowledged {
            let expected = value(*number).repeat(1 + 40 * (*number as usize % 5));
            let found = db.get(format!("session {number}").as_bytes()).expect("readable");
            assert!(
                found.is_some_and(|found| found == *expected.as_bytes()),
                "allocation {nth} failed: {number} is lost"
            );
        }
        if done {
            break;
        }
    }
    println!("{tried} children, {died} of which died of it");
    assert!(died > 0);
}
