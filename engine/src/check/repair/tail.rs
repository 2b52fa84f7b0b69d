//! The operations of the log behind the checkpoint: which of them still make sense, with the keys that could be saved.

use super::Losses;
use crate::Error;
use crate::Lsn;
use crate::check::directory::Directory;
use crate::key::{INDEX_DATABASES, KeyHasher, is_cleared_by};
use crate::object::{Kind, layout};
use crate::record::{self, Name, Operation};
use sessile_wal::{WalError, WalOptions};
use std::collections::HashMap;
use std::sync::Arc;

/// A key that is there, as far as the log has been copied.
struct Present {
    database: u8,
    key: Box<[u8]>,
    kind: Kind,
    /// Whether the log itself wrote it; else it is in a segment.
    from_log: bool,
}

/// What is known of a hash that the log's tail mentions.
#[derive(Default)]
struct Mentioned {
    present: Vec<Present>,
    /// What the log says of it up to here is in the index, or in the record that was saved.
    cut: u64,
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Tail {
    mentioned: HashMap<u64, Mentioned>,
    /// Without the manifest nobody knows which key a hash is of.
    hashes_unknown: bool,
    /// Where databases were cleared: the position, and which.
    clears: Vec<(u64, Option<u8>)>,
    /// The log is of another copy of the database: nothing of it is of use.
    is_other: bool,
    /// The latest time in the log, in ms since the epoch.
    pub(super) clock_high_water_ms: u64,
}

/// Reads the log as far as it is intact. `each` gets the records that the checkpoint doesn't have.
fn read(directory: &Directory, each: &mut dyn FnMut(Lsn, &[u8]) -> Result<(), Error>) -> Result<u64, Error> {
    let checkpoint = directory.checkpoint();
    let options = WalOptions::default()
        .database_id(*directory.database_id())
        .known_durable(Lsn::new(checkpoint.log_reached))
        .known_checksum(checkpoint.log_checksum);
    let from = if directory.has_manifest() { Lsn::new(checkpoint.log_from) } else { directory.log_from() };
    let mut failed = Ok(());
    let found = sessile_wal::verify(
        Arc::clone(&directory.fs),
        &directory.path,
        &options,
        from,
        &mut |_| {},
        &mut |lsn, record| {
            if failed.is_ok() {
                failed = each(lsn, record);
            }
            Ok(())
        },
    );
    failed?;
    found.map(|found| found.clock_high_water_ms).map_err(Error::Log)
}

impl Tail {
    /// Finds out which keys the log mentions.
    pub(super) fn mentions(
        directory: &Directory,
        hasher: &KeyHasher,
        losses: &mut Losses<'_>,
    ) -> Result<Tail, Error> {
        let mut tail = Tail { hashes_unknown: directory.hash_key().is_none(), ..Tail::default() };
        let outcome = read(directory, &mut |lsn, mut record| {
            while let Some(operation) = take(&mut record) {
                if let Operation::Clear { database } = operation {
                    tail.clears.push((lsn.get(), database));
                }
                for hash in hashes(hasher, &operation).into_iter().flatten() {
                    tail.mentioned.entry(hash).or_default();
                }
            }
            Ok(())
        });
        match outcome {
            Ok(time_ms) => tail.clock_high_water_ms = time_ms,
            Err(error) => {
                losses.gap(&error, &directory.path);
                // What the manifest says is of this copy; what the note beside the log says may be of another.
                if let Error::Log(WalError::OtherCopy { known, .. }) = error
                    && known.get() == directory.checkpoint().log_reached
                {
                    tail = Tail { is_other: true, ..Tail::default() };
                }
            }
        }
        Ok(tail)
    }

    /// Whether the log says something of a key with this hash.
    pub(super) fn mentions_hash(&self, hash: u64) -> bool {
        self.mentioned.contains_key(&hash)
    }

    /// Whether the log clears the database behind that position.
    pub(super) fn is_cleared(&self, database: u8, cut: u64) -> bool {
        self.clears.iter().any(|(lsn, which)| *lsn > cut && is_cleared_by(*which, database))
    }

    /// Notes up to where what the log says of each hash is in the index.
    pub(super) fn note_cuts(&mut self, cut_of: &dyn Fn(u64) -> u64) {
        for (hash, mentioned) in &mut self.mentioned {
            mentioned.cut = cut_of(*hash);
        }
    }

    /// Notes that a key was saved from a segment.
    pub(super) fn note_saved(&mut self, hash: u64, flat: &[u8], cut: u64) {
        if let Some(mentioned) = self.mentioned.get_mut(&hash) {
            mentioned.cut = cut;
            mentioned.present.push(Present {
                database: layout::database(flat),
                key: layout::parts(flat).key.into(),
                kind: layout::kind(flat),
                from_log: false,
            });
        }
    }

    /// Gives `each` the records of a log that does what this one did to the keys that could be saved.
    pub(super) fn copy(
        &mut self,
        directory: &Directory,
        hasher: &KeyHasher,
        losses: &mut Losses<'_>,
        each: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.is_other {
            return Ok(());
        }
        let mut out = Vec::new();
        let outcome = read(directory, &mut |lsn, mut record| {
            out.clear();
            while !record.is_empty() {
                let Some(operation) = take(&mut record) else {
                    losses.report.operations_lost += 1;
                    break;
                };
                match self.apply(hasher, lsn.get(), &operation, &mut out) {
                    Applied::Copied => losses.report.operations_saved += 1,
                    Applied::Known => {}
                    Applied::Lost => losses.report.operations_lost += 1,
                }
            }
            if out.is_empty() { Ok(()) } else { each(&out) }
        });
        match outcome {
            // Where it ends early was told of when it was read for the first time.
            Ok(_) | Err(Error::Log(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn apply(
        &mut self,
        hasher: &KeyHasher,
        lsn: u64,
        operation: &Operation<'_>,
        out: &mut Vec<u8>,
    ) -> Applied {
        let [hash, to] = hashes(hasher, operation);
        if let Operation::Clear { database } = operation {
            return self.clear(lsn, *database, out);
        }
        if let Operation::Databases { .. } = operation {
            // All of them are copied, older ones too: each says everything, and the last is the one that counts.
            operation.encode(out);
            return Applied::Copied;
        }
        // Everything else is of a key.
        let Some(mentioned) = hash.and_then(|hash| self.mentioned.get_mut(&hash)) else {
            return Applied::Lost;
        };
        if lsn <= mentioned.cut {
            return Applied::Known;
        }
        let applied = match *operation {
            Operation::Put { object, .. } => match layout::check(object) {
                Some((kind, database, parts)) if database < INDEX_DATABASES => {
                    mentioned.put(database, parts.key, kind);
                    Applied::Copied
                }
                _ => Applied::Lost,
            },
            Operation::Delete { name } => match mentioned.find(name) {
                Some(at) => {
                    mentioned.present.swap_remove(at);
                    Applied::Copied
                }
                // It may have been saved, and nobody knows: then what was deleted is there again.
                None if self.hashes_unknown && matches!(name, Name::Hash(_)) => Applied::Lost,
                // It could not be saved, and now it needn't be.
                None => Applied::Known,
            },
            Operation::Deadline { name, .. } => mentioned.needs(name, None),
            Operation::Change { name, change } => match change.refusal() {
                Some(_) => Applied::Lost,
                None => mentioned.needs(name, Some(change.kind())),
            },
            Operation::Copy { name, database, key } => {
                let from = mentioned.find(name).and_then(|at| mentioned.present.get(at));
                // A key in a segment can't be copied by the log.
                let kind = from.filter(|from| from.from_log).map(|from| from.kind);
                let Some(to) = to.and_then(|to| self.mentioned.get_mut(&to)) else { return Applied::Lost };
                match kind {
                    Some(kind) => {
                        to.put(database, key, kind);
                        Applied::Copied
                    }
                    None => {
                        // What was there before the copy is gone in any case.
                        let name = Name::Key { database, key };
                        if let Some(at) = to.find(name) {
                            to.present.swap_remove(at);
                            Operation::Delete { name }.encode(out);
                        }
                        Applied::Lost
                    }
                }
            }
            Operation::Clear { .. } | Operation::Databases { .. } => Applied::Lost,
        };
        if applied == Applied::Copied {
            operation.encode(out);
        }
        applied
    }

    /// What is there, of the keys that the log mentions, and older than the clearing, is deleted one by one: what is newer stays.
    fn clear(&mut self, lsn: u64, which: Option<u8>, out: &mut Vec<u8>) -> Applied {
        for mentioned in self.mentioned.values_mut().filter(|mentioned| mentioned.cut < lsn) {
            mentioned.present.retain(|present| {
                let cleared = is_cleared_by(which, present.database);
                if cleared {
                    let name = Name::Key { database: present.database, key: &present.key };
                    Operation::Delete { name }.encode(out);
                }
                !cleared
            });
        }
        Applied::Copied
    }
}

/// What became of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    /// It is in the new log.
    Copied,
    /// What it does is in what was saved.
    Known,
    /// It makes no sense without a key that could not be saved.
    Lost,
}

impl Mentioned {
    fn find(&self, name: Name<'_>) -> Option<usize> {
        self.present.iter().position(|present| match name {
            Name::Hash(_) => true,
            Name::Key { database, key } => present.database == database && *present.key == *key,
        })
    }

    fn put(&mut self, database: u8, key: &[u8], kind: Kind) {
        if let Some(at) = self.find(Name::Key { database, key }) {
            self.present.swap_remove(at);
        }
        self.present.push(Present { database, key: key.into(), kind, from_log: true });
    }

    /// What becomes of an operation that needs the key, of that kind if one is given.
    fn needs(&self, name: Name<'_>, kind: Option<Kind>) -> Applied {
        let present = self.find(name).and_then(|at| self.present.get(at));
        match present {
            Some(present) if kind.is_none_or(|kind| kind == present.kind) => Applied::Copied,
            _ => Applied::Lost,
        }
    }
}

/// Takes an operation off a record; `None` at its end, and of one that is none.
fn take<'r>(record: &mut &'r [u8]) -> Option<Operation<'r>> {
    if record.is_empty() { None } else { record::take(record) }
}

/// The hash of the key that an operation is of, and of the one it writes besides.
fn hashes(hasher: &KeyHasher, operation: &Operation<'_>) -> [Option<u64>; 2] {
    let of_key =
        |database: u8, key: &[u8]| (database < INDEX_DATABASES).then(|| hasher.key(database, key).hash);
    let of = |name: Name<'_>| match name {
        Name::Hash(hash) => Some(hash),
        Name::Key { database, key } => of_key(database, key),
    };
    match *operation {
        Operation::Put { object, .. } => {
            let key = layout::check(object).and_then(|(_, database, parts)| of_key(database, parts.key));
            [key, None]
        }
        Operation::Delete { name } | Operation::Deadline { name, .. } | Operation::Change { name, .. } => {
            [of(name), None]
        }
        Operation::Copy { name, database, key } => [of(name), of_key(database, key)],
        Operation::Clear { .. } | Operation::Databases { .. } => [None, None],
    }
}
