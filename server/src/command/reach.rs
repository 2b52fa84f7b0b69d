//! Keys that a command learns of only as it goes: `SORT … BY weight_*` reads keys that are named by what it sorts.
//!
//! A transaction begins with all of its keys, in one order, and so waits for nobody who waits for it. Further ones can be taken in if nobody holds
//! their locks and they need not be read from disk. If that can't be, the command, which has changed nothing yet, fails with
//! [`CommandError::NeedsKeys`]: that is no reply, and whoever runs it begins again with those keys too. What it sorts may have changed by then,
//! so that it needs still others: then once more. Keys that were learned are kept.

use super::dispatch::refusal;
use super::{Call, CommandError};
use sessile::sessions::SessionKey;
use sessile::{Extended, Key, Txn};
use std::collections::BTreeSet;

/// Keys beyond a command's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The number of the database, and the key.
    keys: BTreeSet<(u8, Box<[u8]>)>,
    /// Those that sessions are kept under.
    sessions: BTreeSet<SessionKey>,
    may_learn: bool,
    in_script: bool,
}

/// What most commands have learned.
pub static NOTHING: Learned = Learned::new(true);

impl Learned {
    /// None yet; `may_learn` says whether whoever runs the command may read any key.
    pub const fn new(may_learn: bool) -> Learned {
        Learned { keys: BTreeSet::new(), sessions: BTreeSet::new(), may_learn, in_script: false }
    }

    /// The same, for a command that a script calls: no order that it sees may be left to chance.
    pub fn in_script(self) -> Learned {
        Learned { in_script: true, ..self }
    }

    /// Whether a script calls the command.
    pub fn is_in_script(&self) -> bool {
        self.in_script
    }

    /// Whether the command may read keys that are not among its arguments.
    pub fn may_learn(&self) -> bool {
        self.may_learn
    }

    /// The keys, hashed.
    pub fn keys<'a>(&'a self, db: &sessile::Db) -> impl Iterator<Item = Key<'a>> {
        let named = self.keys.iter().map(|(database, bytes)| db.key(*database, bytes));
        named.chain(self.sessions.iter().map(|key| key.hashed(db)))
    }

    /// Adds keys that sessions are kept under.
    pub fn add_sessions(&mut self, keys: impl IntoIterator<Item = SessionKey>) {
        self.sessions.extend(keys);
    }

    /// The keys, as number and bytes.
    pub fn owned(&self) -> impl Iterator<Item = (u8, Vec<u8>)> {
        self.keys.iter().map(|(database, bytes)| (*database, bytes.to_vec()))
    }

    /// Adds keys.
    pub fn add(&mut self, keys: impl IntoIterator<Item = (u8, Vec<u8>)>) {
        self.keys.extend(keys.into_iter().map(|(database, bytes)| (database, bytes.into_boxed_slice())));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.sessions.is_empty()
    }
}

impl<'db> Call<'_, 'db> {
    /// Takes further keys into the transaction, all in the database of the first key of the command. Before anything was changed.
    ///
    /// # Errors
    /// [`CommandError::NeedsKeys`], to be passed on: somebody is at one of them, or it has to be read from disk.
    pub(super) fn reach(&mut self, keys: &[Vec<u8>]) -> Result<(), CommandError> {
        if keys.is_empty() {
            return Ok(());
        }
        let database = self.keys[0].database();
        let hashed: Vec<Key<'_>> = keys.iter().map(|key| self.txn.key(database, key)).collect();
        match self.txn.extend(&hashed) {
            Ok(Extended::Ready) => Ok(()),
            Ok(Extended::Contended | Extended::Cold(_)) => {
                let mut learned = self.learned.clone();
                learned.keys.extend(keys.iter().map(|key| (database, key.as_slice().into())));
                Err(CommandError::NeedsKeys(Box::new(learned)))
            }
            Err(error) => Err(CommandError::of(refusal(&error))),
        }
    }

    /// A key that was [reached](Self::reach).
    pub(super) fn reached<'k>(txn: &Txn<'db>, like: &Key<'_>, bytes: &'k [u8]) -> Key<'k> {
        txn.key(like.database(), bytes)
    }
}
