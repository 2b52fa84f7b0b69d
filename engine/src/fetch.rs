//! Reading values that are not in memory, or not in readable form, outside every lock.
//!
//! A transaction needs the objects of its keys in readable form. [`Db::try_begin`](crate::Db::try_begin) says which are not, as a [`Fetch`];
//! its owner reads them, at once if they are in the page cache, else wherever waiting for a disk stops nobody, and begins again with what was
//! read. A transaction that finds an entry changed meanwhile asks for another fetch: nothing that was read is ever installed over something newer.

use crate::Error;
use crate::db::Inner;
use crate::dictionary::Dictionary;
use crate::idle;
use crate::location::Location;
use crate::object::{Packed, layout};
use crate::segment::Scratch;
use crate::segments::Segment;
use crate::txn::Txn;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What [`Db::try_begin`](crate::Db::try_begin) answers.
#[derive(Debug)]
pub enum Begun<'db> {
    /// The transaction: everything it needs is in memory.
    Ready(Txn<'db>),
    /// What must be read first.
    Cold(Fetch),
}

/// Counts of cold reads, since open.
#[derive(Debug, Default)]
pub(crate) struct ReadCounts {
    pub(crate) reads: AtomicU64,
    pub(crate) waited: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

/// Objects that a transaction needs and that are not in memory in readable form.
#[derive(Debug)]
pub struct Fetch {
    items: SmallVec<[Item; 1]>,
    counts: Arc<ReadCounts>,
}

/// Where an object is that can't be read as it is.
pub(crate) enum Source {
    Idle { packed: Packed, dictionary: Option<Arc<Dictionary>> },
    Cold { location: Location, segment: Arc<Segment> },
}

impl Source {
    /// Whether both mean the same bytes.
    fn is_same(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Idle { packed, .. }, Source::Idle { packed: other, .. }) => packed.is_same(other),
            (
                Source::Cold { location, segment },
                Source::Cold { location: other_location, segment: other_segment },
            ) => location == other_location && Arc::ptr_eq(segment, other_segment),
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Item {
    source: Source,
    /// Only what comes before the payload is wanted: kind and key.
    head_only: bool,
    state: State,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Idle { .. } => f.write_str("Idle"),
            Source::Cold { location, segment } => f
                .debug_struct("Cold")
                .field("segment", &segment.id())
                .field("offset", &location.offset())
                .finish(),
        }
    }
}

#[derive(Debug)]
enum State {
    Wanted,
    /// The flat object, checked.
    Read(Packed),
    Failed(Error),
}

impl Fetch {
    pub(crate) fn new(inner: &Inner) -> Fetch {
        Fetch { items: SmallVec::new(), counts: Arc::clone(&inner.reads) }
    }

    pub(crate) fn want(&mut self, source: Source) {
        if !self.items.iter().any(|item| !item.head_only && item.source.is_same(&source)) {
            self.items.push(Item { source, head_only: false, state: State::Wanted });
        }
    }

    /// Asks for kind and key of an object that is on disk; for walks, which do not ask for the same one twice.
    pub(crate) fn want_head(&mut self, source: Source) {
        self.items.push(Item { source, head_only: true, state: State::Wanted });
    }

    /// The head that was read from there, up to the payload; `None` if it was not asked for, not read, or is damaged.
    pub(crate) fn head(&self, source: &Source) -> Option<Result<&[u8], ()>> {
        let is_it = |item: &&Item| item.head_only && item.source.is_same(source);
        match &self.items.iter().find(is_it)?.state {
            State::Read(flat) => Some(Ok(flat.bytes())),
            State::Failed(_) => Some(Err(())),
            State::Wanted => None,
        }
    }

    /// Adds what was read already.
    pub(crate) fn has_read(&mut self, source: Source, flat: Packed) {
        self.items.push(Item { source, head_only: false, state: State::Read(flat) });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What was read from there; `None` if it was not asked for, or not read. An object stays: should the transaction need still others, it is seen
    /// off when that ends, and asked for again.
    pub(crate) fn take(&mut self, source: &Source) -> Option<Result<Packed, Error>> {
        let at = self.items.iter().position(|item| {
            !item.head_only && !matches!(item.state, State::Wanted) && item.source.is_same(source)
        })?;
        if let State::Read(flat) = &self.items.get(at)?.state {
            return Some(Ok(flat.clone()));
        }
        match self.items.swap_remove(at).state {
            State::Read(flat) => Some(Ok(flat)),
            State::Failed(error) => Some(Err(error)),
            State::Wanted => None,
        }
    }

    /// Takes over what another one has read.
    pub(crate) fn join(&mut self, other: Fetch) {
        self.items.extend(other.items);
    }

    /// Reads what can be had without waiting for a disk; whether that was everything.
    pub fn try_now(&mut self) -> bool {
        self.read(false)
    }

    /// Reads everything that has not been read yet, waiting for the disk. What can't be read is an error of the next
    /// [`Db::try_begin`](crate::Db::try_begin).
    pub fn wait(&mut self) {
        self.read(true);
    }

    fn read(&mut self, may_wait: bool) -> bool {
        let mut all = true;
        for item in &mut self.items {
            if !matches!(item.state, State::Wanted) {
                continue;
            }
            let read = match &item.source {
                Source::Idle { packed, dictionary } => {
                    idle::read(dictionary.as_deref(), packed.bytes()).map(Some)
                }
                Source::Cold { location, segment } => Scratch::of_thread(|scratch| {
                    let offset = location.offset();
                    let record = if may_wait {
                        self.counts.waited.fetch_add(1, Ordering::Relaxed);
                        Some(segment.file.read(offset, scratch)?)
                    } else {
                        segment.file.read_now(offset, scratch)?
                    };
                    Ok(record.map(|record| {
                        let all = record.object;
                        let end = if item.head_only { layout::head_bytes(all) } else { all.len() };
                        Packed::concat(&[&all[..end]])
                    }))
                }),
            };
            item.state = match read {
                Ok(Some(flat)) => {
                    if matches!(item.source, Source::Cold { .. }) {
                        self.counts.reads.fetch_add(1, Ordering::Relaxed);
                    }
                    State::Read(flat)
                }
                Ok(None) => {
                    all = false;
                    continue;
                }
                Err(error) => {
                    self.counts.damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "a value can't be read");
                    State::Failed(error)
                }
            };
        }
        all
    }
}
