//! What the targets of `fuzz/` do with parts of the engine that nobody outside is to see: each function takes any bytes and panics if what must
//! hold doesn't. `fuzz/README.md` says what that is.
//!
//! Built for fuzzing (`--cfg fuzzing`), and for the tests, which give each function its seeds. Never part of a release.

mod chat;
mod dictionary;
mod hash;
mod index_file;
mod input;
mod layout;
mod list;
mod manifest;
mod operation;
mod seal;
mod segment;
mod set;
mod sorted_set;
mod stream;
#[cfg(test)]
mod tests;
mod wheel;

pub use chat::chat;
pub use dictionary::dictionary;
pub use hash::hash;
pub use index_file::index_file;
pub use input::Input;
pub use layout::layout;
pub use list::list;
pub use manifest::{manifest, sealed_manifest};
pub use operation::operation;
pub use seal::{sealed, unstamped};
pub use segment::segment;
pub use set::set;
pub use sorted_set::sorted_set;
pub use stream::stream;
pub use wheel::wheel;

use crate::key::KeyHasher;
use sessile_wal::sim::SimFs;
use sessile_wal::{Fs, OpenMode};
use std::path::Path;

/// The directory of files that are read.
const DIR: &str = "/d";
/// The database that they belong to.
const DATABASE_ID: [u8; 16] = *b"0123456789abcdef";

fn hasher() -> KeyHasher {
    KeyHasher::new(DATABASE_ID)
}

/// A disk with one file of these bytes.
fn disk_with(name: &str, bytes: &[u8]) -> SimFs {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new(DIR)).expect("in memory");
    let file = fs.open(&Path::new(DIR).join(name), OpenMode::Create).expect("in memory");
    file.write_at(bytes, 0).expect("in memory");
    fs
}
