//! Streams: entries in the order of their ids, and groups of consumers that share them.
//!
//! A stream is not gone when it has no entries. Reading is done with a [`StreamView`]; the rules for ids are the caller's, as far as they are not
//! those of order: an entry is only ever added behind the last.

use super::{Txn, WrongKind};
use crate::change::stream::put_delivery;
use crate::change::{Change, StreamChange};
use crate::expiry::NEVER;
use crate::key::Key;
use crate::object::stream::{Group, StreamBound, StreamState, put_id};
use crate::object::{Body, Kind, Object, Stream, StreamId, Structured, View};
use crate::varint;
use std::ops::{Bound, ControlFlow, RangeInclusive};
use std::sync::Arc;

/// An entry of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamEntry<'a> {
    /// Its id.
    pub id: StreamId,
    body: &'a [u8],
}

impl<'a> StreamEntry<'a> {
    /// Fields and values by turns.
    pub fn fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || varint::take_slice(&mut rest))
    }
}

/// A stream, to be read.
#[derive(Clone, Copy)]
pub struct StreamView<'a>(&'a Stream);

impl std::fmt::Debug for StreamView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamView").field("len", &self.0.len()).finish_non_exhaustive()
    }
}

impl<'a> StreamView<'a> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// What it is beside its entries and groups.
    pub fn state(&self) -> StreamState {
        self.0.state
    }

    /// The first entry's id.
    pub fn first_id(&self) -> Option<StreamId> {
        self.0.first_id()
    }

    /// The last entry's id, which may be less than the last id of the [state](Self::state).
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.0.last_entry_id()
    }

    /// In how many chunks its entries are.
    pub fn chunks(&self) -> usize {
        self.0.chunks()
    }

    /// Calls `visit` with the entries of a range, from the last one back if `reverse`, until it breaks.
    pub fn visit(
        &self,
        range: RangeInclusive<StreamId>,
        reverse: bool,
        visit: &mut dyn FnMut(StreamEntry<'_>) -> ControlFlow<()>,
    ) {
        self.0.visit(range, reverse, &mut |id, body| visit(StreamEntry { id, body }));
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'a>> {
        self.0.get(id).map(|body| StreamEntry { id, body })
    }

    /// How many entries at the front are beyond a bound; with `whole_chunks` only those of chunks that are so as a whole, and no more than `most`.
    pub fn beyond(&self, bound: StreamBound, whole_chunks: bool, most: Option<usize>) -> usize {
        self.0.beyond(bound, whole_chunks, most)
    }

    /// Its groups, by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&'a [u8], StreamGroup<'a>)> + use<'a> {
        self.0.groups.iter().map(|(name, group)| (&**name, StreamGroup(group)))
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<StreamGroup<'a>> {
        self.0.groups.get(name).map(StreamGroup)
    }
}

/// A group of consumers, to be read.
#[derive(Clone, Copy, Debug)]
pub struct StreamGroup<'a>(&'a Group);

/// One who reads as part of a group.
#[derive(Clone, Copy, Debug)]
pub struct StreamConsumer<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// When it was heard of last, ms since the epoch.
    pub seen_ms: u64,
    /// How many entries it has not acknowledged.
    pub pending: usize,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct StreamPending<'a> {
    /// Its id. It may not be in the stream any more.
    pub id: StreamId,
    /// To whom.
    pub consumer: &'a [u8],
    /// When, the last time, ms since the epoch.
    pub delivered_ms: u64,
    /// How often.
    pub count: u64,
}

impl<'a> StreamGroup<'a> {
    /// The last entry that was delivered to anyone.
    pub fn last_id(&self) -> StreamId {
        self.0.last_id
    }

    /// How many entries of the stream were delivered; `None` if that can't be known.
    pub fn entries_read(&self) -> Option<u64> {
        self.0.entries_read
    }

    /// How many entries are not acknowledged.
    pub fn pending_len(&self) -> usize {
        self.0.pending.len()
    }

    /// Its consumers, by name.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = StreamConsumer<'a>> + use<'a> {
        self.0.consumers.iter().map(|(name, consumer)| StreamConsumer {
            name,
            seen_ms: consumer.seen_ms,
            pending: consumer.pending.len(),
        })
    }

    /// The consumer of this name.
    pub fn consumer(&self, name: &[u8]) -> Option<StreamConsumer<'a>> {
        self.0.consumers.get_key_value(name).map(|(name, consumer)| StreamConsumer {
            name,
            seen_ms: consumer.seen_ms,
            pending: consumer.pending.len(),
        })
    }

    /// The entry with this id, if it is not acknowledged.
    pub fn pending(&self, id: StreamId) -> Option<StreamPending<'a>> {
        let pending = self.0.pending.get(&id)?;
        Some(StreamPending {
            id,
            consumer: &pending.consumer,
            delivered_ms: pending.delivered_ms,
            count: pending.count,
        })
    }

    /// What is not acknowledged, from an id on, of one consumer or of all.
    pub fn pending_from(
        &self,
        start: StreamId,
        consumer: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = StreamPending<'a>> + 'a> {
        let group = *self;
        match consumer {
            None => Box::new(group.0.pending.range(start..).map(|(&id, pending)| StreamPending {
                id,
                consumer: &pending.consumer,
                delivered_ms: pending.delivered_ms,
                count: pending.count,
            })),
            Some(name) => match group.0.consumers.get(name) {
                Some(consumer) => Box::new(
                    consumer
                        .pending
                        .range((Bound::Included(start), Bound::Unbounded))
                        .filter_map(move |&id| group.pending(id)),
                ),
                None => Box::new(std::iter::empty()),
            },
        }
    }
}

impl Txn<'_> {
    /// The stream at a key; `None` if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream(&self, key: &Key<'_>) -> Result<Option<StreamView<'_>>, WrongKind> {
        Ok(self.entry_of(key, Kind::Stream)?.and_then(|entry| match entry.view() {
            View::Structured(Structured { body: Body::Stream(stream), .. }) => Some(StreamView(stream)),
            _ => None,
        }))
    }

    /// Makes the key hold an empty stream, and no deadline.
    pub fn stream_create(&mut self, key: &Key<'_>) {
        self.put_stream(key, Stream::default());
    }

    fn put_stream(&mut self, key: &Key<'_>, stream: Stream) {
        let body = Body::Stream(stream);
        let object = Structured::new(key.database, key.bytes, None, body);
        self.put(key, Object::Structured(Arc::new(object)), NEVER, 0);
    }

    fn change_stream(&mut self, key: &Key<'_>, change: StreamChange<'_>) -> Result<(), WrongKind> {
        if let Some(place) = self.place_of(key, Kind::Stream)? {
            self.change_at(key, place, &Change::Stream(change));
        }
        Ok(())
    }

    /// Adds an entry behind the last, to a new stream if there is none; `fields` are fields and values by turns. One whose id is not greater than the
    /// stream's last is not added.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_append(&mut self, key: &Key<'_>, id: StreamId, fields: &[&[u8]]) -> Result<(), WrongKind> {
        let mut body = Vec::with_capacity(fields.iter().map(|field| field.len() + 5).sum());
        fields.iter().for_each(|field| varint::put_slice(&mut body, field));
        match self.stream(key)? {
            Some(stream) if id <= stream.state().last_id => Ok(()),
            Some(_) => self.change_stream(key, StreamChange::Append { id, body: &body }),
            None => {
                let mut stream = Stream::default();
                stream.append(id, &body);
                self.put_stream(key, stream);
                Ok(())
            }
        }
    }

    /// Removes the first entries.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_trim(&mut self, key: &Key<'_>, count: usize) -> Result<(), WrongKind> {
        match count {
            0 => Ok(()),
            _ => self.change_stream(key, StreamChange::TrimFront { count: count as u64 }),
        }
    }

    /// Removes entries by their ids; how many were there.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_remove(&mut self, key: &Key<'_>, ids: &[StreamId]) -> Result<usize, WrongKind> {
        let Some(stream) = self.stream(key)? else { return Ok(0) };
        let mut found: Vec<StreamId> = ids.iter().copied().filter(|id| stream.get(*id).is_some()).collect();
        found.sort_unstable();
        found.dedup();
        let Some(&greatest) = found.last() else { return Ok(0) };
        let state = stream.state();
        let mut bytes = Vec::new();
        found.iter().for_each(|id| put_id(&mut bytes, *id));
        self.change_stream(key, StreamChange::Discard { ids: &bytes })?;
        if greatest > state.max_deleted_id {
            self.stream_set_state(key, StreamState { max_deleted_id: greatest, ..state })?;
        }
        Ok(found.len())
    }

    /// Sets what a stream is beside its entries and groups. Its last id is never less than that of its last entry.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_set_state(&mut self, key: &Key<'_>, state: StreamState) -> Result<(), WrongKind> {
        self.change_stream(key, StreamChange::SetState(state))
    }

    /// Makes a group, in the place of one of the same name.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_put_group(
        &mut self,
        key: &Key<'_>,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Result<(), WrongKind> {
        let mut bytes = Vec::new();
        Group { last_id, entries_read, ..Group::default() }.put(&mut bytes, name);
        self.change_stream(key, StreamChange::PutGroup { group: &bytes })
    }

    /// Removes a group.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_drop_group(&mut self, key: &Key<'_>, group: &[u8]) -> Result<(), WrongKind> {
        self.change_stream(key, StreamChange::DropGroup { group })
    }

    /// Sets how far a group has got.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_set_group(
        &mut self,
        key: &Key<'_>,
        group: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Result<(), WrongKind> {
        self.change_stream(key, StreamChange::SetGroup { group, last_id, entries_read })
    }

    /// Notes that a consumer was heard of now, and makes it one of the group if it is not.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_see_consumer(
        &mut self,
        key: &Key<'_>,
        group: &[u8],
        consumer: &[u8],
    ) -> Result<(), WrongKind> {
        let seen_ms = self.now_ms;
        self.stream_see_consumer_at(key, group, consumer, seen_ms)
    }

    /// As [`stream_see_consumer`](Self::stream_see_consumer), at another time, in ms since the epoch.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_see_consumer_at(
        &mut self,
        key: &Key<'_>,
        group: &[u8],
        consumer: &[u8],
        seen_ms: u64,
    ) -> Result<(), WrongKind> {
        self.change_stream(key, StreamChange::SeeConsumer { group, consumer, seen_ms })
    }

    /// Removes a consumer, and what it has not acknowledged.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_drop_consumer(
        &mut self,
        key: &Key<'_>,
        group: &[u8],
        consumer: &[u8],
    ) -> Result<(), WrongKind> {
        self.change_stream(key, StreamChange::DropConsumer { group, consumer })
    }

    /// Makes entries a consumer's, whosever they were: each an id, when it was delivered in ms since the epoch, and how often. The consumer must be
    /// there.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_assign(
        &mut self,
        key: &Key<'_>,
        group: &[u8],
        consumer: &[u8],
        entries: &[(StreamId, u64, u64)],
    ) -> Result<(), WrongKind> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut run = Vec::new();
        for &(id, delivered_ms, count) in entries {
            put_delivery(&mut run, id, delivered_ms, count);
        }
        self.change_stream(key, StreamChange::Assign { group, consumer, run: &run })
    }

    /// Makes entries nobody's: they are acknowledged.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn stream_release(&mut self, key: &Key<'_>, group: &[u8], ids: &[StreamId]) -> Result<(), WrongKind> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        ids.iter().for_each(|id| put_id(&mut bytes, *id));
        self.change_stream(key, StreamChange::Release { group, ids: &bytes })
    }
}
