//! Appends the arguments to a log, one record each, and prints what the log holds.
//!
//! `cargo run -p sessile-wal --example append -- /tmp/log first second`

use std::{env, error::Error, path::PathBuf, sync::Arc};

use sessile_wal::{Admit, Fs, Lsn, RealFs, SystemClock, Wal, WalOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: append DIRECTORY [RECORD…]")?);
    let fs = Arc::new(RealFs);
    fs.create_dir_all(&dir)?;
    let _lock = fs.lock(&dir.join("LOCK"))?;

    let mut print = |end: Lsn, record: &[u8]| {
        println!("{end:>10}  {}", String::from_utf8_lossy(record));
        Ok(())
    };
    let (wal, recovery) =
        Wal::open(fs, Arc::new(SystemClock), &dir, WalOptions::default(), Lsn::ZERO, &mut print)?;
    println!("{} records before; the log ends at {}", recovery.records, recovery.end);

    for record in arguments {
        wal.admit(record.len(), Admit::Write)?;
        let lsn = wal.append(record.as_bytes());
        wal.sync(lsn)?;
        println!("{lsn:>10}  {record}  (durable)");
    }
    wal.close()?;
    Ok(())
}
