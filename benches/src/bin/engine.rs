//! The engine in-process: reads, reads that extend the deadline, new sessions, a 95/5 mix, and durable writes, on 1
//! and more threads, with the aims beside the figures. `benches/peers` prints the same table for other databases.
//!
//! ```sh
//! cargo run --release -p sessile-benches --bin engine -- [--quick] [--sessions N] [--seconds S] [--only PREFIX]
//!     [--directory DIR]
//! ```

use std::path::Path;

use sessile::{Db, Durability, Options};
use sessile_benches::embedded::{self, Durable, Failure, LIFETIME, Store};

struct Sessile(Db);

impl Sessile {
    fn open(directory: &Path, durable: Durable) -> Result<Sessile, Failure> {
        let durability = match durable {
            Durable::EverySecond => Durability::EverySecond,
            Durable::Always => Durability::Always,
        };
        Ok(Sessile(Options::new().durability(durability).open(directory)?))
    }
}

impl Store for Sessile {
    fn get(&self, key: &[u8]) -> Result<Option<usize>, Failure> {
        Ok(self.0.get(key)?.map(|value| value.len()))
    }

    fn get_and_touch(&self, key: &[u8]) -> Result<Option<usize>, Failure> {
        Ok(self.0.get_and_touch(key, LIFETIME)?.map(|value| value.len()))
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        Ok(self.0.set(key, value, LIFETIME)?)
    }

    fn flush(&self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

fn main() -> Result<(), Failure> {
    let (plan, directory) = embedded::arguments(|_| false)?;
    embedded::measure("sessile", &plan, &directory, Sessile::open)
}
