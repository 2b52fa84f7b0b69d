//! Reading a directory back: the manifest, then every record of the log into the index.
//!
//! Nothing dies while the log is replayed: an operation may refer to a key that has died since. What is dead by the time the database opens
//! is never served, and the wheel takes it away at once.

use crate::Error;
use crate::key::{DATABASES, Key, KeyHasher};
use crate::limits::SHARDS_MAX;
use crate::manifest::{self, Manifest};
use crate::object::{Kind, layout};
use crate::record::{self, Name, Operation};
use crate::shard::Shard;
use crate::table::Place;
use crate::txn::{hash, string};
use sessile_wal::Fs;
use std::path::Path;

/// A record of the log that its checksum vouches for and that is none all the same: it was written by another version, or by a mistake.
#[derive(Debug, thiserror::Error)]
#[error("operation {operation} of the record is not one: {reason}")]
pub(crate) struct BadRecord {
    operation: usize,
    reason: &'static str,
}

/// The directory's manifest, made if the directory is new.
pub(crate) fn manifest(fs: &dyn Fs, dir: &Path, now_ms: u64) -> Result<Manifest, Error> {
    if let Some(manifest) = Manifest::read(fs, dir)? {
        return Ok(manifest);
    }
    let names = fs.list(dir).map_err(Error::io("list", dir))?;
    if names.iter().any(|name| name.starts_with("wal-")) {
        return Err(Error::MissingManifest { path: dir.join(manifest::NAME) });
    }
    let manifest = Manifest::generate(now_ms)?;
    manifest.write(fs, dir)?;
    Ok(manifest)
}

/// The index while it is being filled, by one thread.
pub(crate) struct Replay<'a> {
    pub(crate) shards: Vec<Shard>,
    pub(crate) shard_bits: u32,
    pub(crate) hasher: &'a KeyHasher,
    pub(crate) now_ms: u64,
}

impl<'a> Replay<'a> {
    /// An empty index of `shards` shards, a power of two.
    pub(crate) fn new(shards: usize, hasher: &'a KeyHasher, now_ms: u64) -> Replay<'a> {
        assert!(shards.is_power_of_two() && shards <= SHARDS_MAX);
        let shard_bits = shards.trailing_zeros();
        let shards = (0..shards).map(|_| Shard::new(shard_bits, now_ms)).collect();
        Replay { shards, shard_bits, hasher, now_ms }
    }

    /// Applies one record.
    pub(crate) fn record(&mut self, mut bytes: &[u8]) -> Result<(), BadRecord> {
        let mut operation = 0;
        while !bytes.is_empty() {
            let bad = |reason| BadRecord { operation, reason };
            let next = record::take(&mut bytes).ok_or(bad("it can't be read"))?;
            self.apply(next).map_err(bad)?;
            operation += 1;
        }
        Ok(())
    }

    fn shard(&mut self, hash: u64) -> &mut Shard {
        &mut self.shards[shard_number(hash, self.shard_bits)]
    }

    /// The entry that an operation names. A name without an entry is a mistake: operations are written for keys that are there, and nothing
    /// dies while the log is replayed.
    fn find(&mut self, name: Name<'_>) -> Result<(&mut Shard, Place), &'static str> {
        let hash = match name {
            Name::Hash(hash) => hash,
            Name::Key { database, key } => self.key(database, key)?.hash,
        };
        let hasher = self.hasher;
        let shard = self.shard(hash);
        let place = match name {
            Name::Hash(hash) => shard.by_hash(hash),
            Name::Key { database, key } => shard.find(&hasher.key(database, key)),
        };
        place.map(|place| (shard, place)).ok_or("its key isn't there")
    }

    /// As [`find`](Self::find), and the key holds that kind.
    fn find_of(&mut self, name: Name<'_>, kind: Kind) -> Result<(&mut Shard, Place), &'static str> {
        let (shard, place) = self.find(name)?;
        if shard.entry(place).view().kind() == kind {
            Ok((shard, place))
        } else {
            Err("its key holds another kind")
        }
    }

    fn key<'k>(&self, database: u8, key: &'k [u8]) -> Result<Key<'k>, &'static str> {
        if database >= DATABASES {
            return Err("its database isn't there");
        }
        Ok(self.hasher.key(database, key))
    }

    fn apply(&mut self, operation: Operation<'_>) -> Result<(), &'static str> {
        let hasher = self.hasher;
        match operation {
            Operation::Put { deadline_ms, grid, object } => {
                let (kind, database, parts) = layout::check(object).ok_or("its object is none")?;
                let key = self.key(database, parts.key)?;
                let object = crate::object::from_flat(kind, object, hasher);
                self.shard(key.hash).put(&key, object, deadline_ms, grid);
            }
            Operation::Delete { name } => {
                let (shard, place) = self.find(name)?;
                shard.remove(place);
            }
            Operation::Deadline { name, deadline_ms, grid } => {
                let (shard, place) = self.find(name)?;
                shard.set_deadline(place, deadline_ms, grid);
            }
            Operation::SetField { name, field, value } => {
                let (shard, place) = self.find_of(name, Kind::Hash)?;
                hash::apply_set(shard, place, hasher, field, value);
            }
            Operation::RemoveField { name, field } => {
                let (shard, place) = self.find_of(name, Kind::Hash)?;
                hash::apply_remove(shard, place, hasher, field);
            }
            Operation::WriteAt { name, offset, bytes } => {
                let (shard, place) = self.find_of(name, Kind::String)?;
                let offset = usize::try_from(offset).map_err(|_| "its offset is too large")?;
                if offset.saturating_add(bytes.len()) > crate::limits::VALUE_BYTES_MAX {
                    return Err("its offset is too large");
                }
                string::apply_write_at(shard, place, offset, bytes);
            }
            Operation::Copy { name, database, key } => {
                let to = self.key(database, key)?;
                let (shard, place) = self.find(name)?;
                let entry = shard.entry(place);
                let (deadline_ms, grid) = (entry.deadline_ms(), entry.handle().grid());
                let copy = crate::object::copy_as(entry.view(), database, key);
                self.shard(to.hash).put(&to, copy, deadline_ms, grid);
            }
            Operation::Clear { database } => {
                let (bits, now_ms) = (self.shard_bits, self.now_ms);
                self.shards.iter_mut().for_each(|shard| drop(shard.clear(database, bits, now_ms)));
            }
        }
        Ok(())
    }
}

/// The shard of a hash: its top bits, so that a scan walks the shards in the order of hashes.
#[inline]
pub(crate) fn shard_number(hash: u64, shard_bits: u32) -> usize {
    // At least one bit, so the shift is below 64.
    (hash >> (64 - shard_bits)) as usize
}
