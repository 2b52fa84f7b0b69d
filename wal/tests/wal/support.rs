//! What the tests share.

use std::{path::Path, sync::Arc};

use sessile_wal::{
    Fs, Lsn, Recovery, Wal, WalError, WalOptions,
    sim::{SimClock, SimFs},
};

pub(crate) const DIR: &str = "/db/wal";
pub(crate) const ID: [u8; 16] = *b"sixteen bytes id";

/// Records with their ends, as replayed.
pub(crate) type Records = Vec<(Lsn, Vec<u8>)>;

pub(crate) fn dir() -> &'static Path {
    Path::new(DIR)
}

/// Small files, so that everything about files happens often.
pub(crate) fn options() -> WalOptions {
    WalOptions::default().database_id(ID).segment_bytes_max(16 << 10).spare_bytes_max(64 << 10)
}

pub(crate) fn open(
    fs: &Arc<dyn Fs>,
    clock: &SimClock,
    options: WalOptions,
    from: Lsn,
) -> Result<(Wal, Recovery, Records), WalError> {
    let mut records = Vec::new();
    let mut replay = |end, record: &[u8]| {
        records.push((end, record.to_vec()));
        Ok(())
    };
    let (wal, recovery) = Wal::open(fs.clone(), Arc::new(clock.clone()), dir(), options, from, &mut replay)?;
    Ok((wal, recovery, records))
}

pub(crate) fn open_sim(fs: &SimFs, from: Lsn) -> Result<(Wal, Recovery, Records), WalError> {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    open(&fs, &SimClock::default(), options(), from)
}

/// Seeds to run: the one of `SESSILE_SEED`, or as many as `SESSILE_SEEDS` says, or `default`.
pub(crate) fn seeds(default: u64) -> std::ops::Range<u64> {
    let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match variable("SESSILE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SESSILE_SEEDS").unwrap_or(default),
    }
}

/// Runs `test` with each seed, and says which one failed.
pub(crate) fn for_each_seed(default: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds(default) {
        if let Err(panic) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("failed with seed {seed}: replay it with SESSILE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
