//! What a session costs in memory, all in: the resident memory of this process before and after filling a database, by key.
//!
//! ```console
//! $ cargo run --release -p sessile --example memory -- 1000000 300
//! ```

use sessile::{Access, Db, Durability, Fs, Options, Touch};
use sessile_wal::{OpenMode, RealFs};
use std::error::Error;
use std::path::Path;
use std::time::Duration;

/// Resident memory of this process, in bytes.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let file = RealFs.open(Path::new("/proc/self/status"), OpenMode::Read)?;
    let mut bytes = vec![0; 8 << 10];
    let length = file.read_at(&mut bytes, 0)?;
    let text = std::str::from_utf8(&bytes[..length])?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no number in VmRSS")?.parse()?;
    Ok(kib * 1024)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let keys: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let value_bytes: usize = arguments.next().map_or(Ok(300), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let db: Db = Options::new().durability(Durability::No).open(dir.path())?;
    let before = resident_bytes()?;
    let value = vec![b'x'; value_bytes];
    let idle = Duration::from_secs(1_800);
    let mut key_bytes = 0;
    for number in 0..keys {
        // As long as the keys of session libraries.
        let key = format!("sess:{number:0>32x}");
        key_bytes = key.len();
        let key = db.key(0, key.as_bytes());
        while !db.admit_now(value_bytes + 100, Access::Write)? {
            db.push_log()?;
        }
        let mut txn = db.begin(std::slice::from_ref(&key), Access::Write, db.now_ms())?;
        txn.put_string(&key, &value, Some(db.now_ms() + 3_600_000 + number % 1_800_000));
        txn.touch(&key, Touch::For(idle));
        txn.commit();
        if number % 256 == 0 {
            db.push_log()?;
        }
    }
    db.flush()?;
    let each = (resident_bytes()? - before) as f64 / keys as f64;
    let data = (key_bytes + value_bytes) as f64;
    let counted = db.stats().memory_bytes as f64 / keys as f64;
    println!("{keys} keys of {key_bytes} bytes with values of {value_bytes}: {each:.1} bytes each");
    println!("  {:.1} beside key and value; the engine counts {counted:.1} in all", each - data);
    Ok(())
}
