//! Compaction: live records of segments that are mostly dead are copied, so that the rest can be unlinked.
//!
//! Victims are those that give back the most bytes for the least copying. Survivors are grouped anew by when they die, and compressed with the
//! dictionary in use. It reads segments, never values in memory, and moves an entry only if it still refers to the record that was copied. The
//! old segments go with the next checkpoint: until then the index files on disk may still refer to them.

use crate::Error;
use crate::checkpoint::Progress;
use crate::compression::Compressor;
use crate::db::Inner;
use crate::expiry::NEVER;
use crate::limits::{COMPACTION_BYTES_MAX, COMPACTION_LEISURE_MS};
use crate::location::Location;
use crate::object::layout;
use crate::segment::{Found, Record, Scan};
use crate::segment_set::{Content, Group, SegmentSet};
use crate::segments::Segment;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is known of a record that was copied.
pub(crate) struct Copied {
    hash: u64,
    from: Location,
}

/// See the module's page.
pub(crate) struct Compaction {
    victims: Vec<Arc<Segment>>,
    current: Option<(Arc<Segment>, Scan)>,
    set: SegmentSet<Copied>,
    compressor: Compressor,
    object: Vec<u8>,
}

/// Which segments are worth it.
fn victims(inner: &Inner, now_ms: u64, at_leisure: bool) -> Vec<Arc<Segment>> {
    let tuning = &inner.storage.tuning;
    let tight = inner.storage.is_tight();
    let segments = inner.segments.all();
    let serial = inner.storage.dictionary().map(|dictionary| dictionary.serial());
    let mut worth: Vec<(f64, Arc<Segment>)> = Vec::new();
    let mut small: BTreeMap<Group, Vec<Arc<Segment>>> = BTreeMap::new();
    for segment in segments {
        let live = inner.segments.live_bytes(&segment);
        // One without a live record is unlinked as it is.
        if live == 0 || segment.is_damaged() {
            continue;
        }
        let dead = segment.bytes.saturating_sub(live);
        let dies_soon = segment.dies_ms != NEVER
            && segment.dies_ms < now_ms + tuning.compaction_soon_ms
            && segment.dies_ms > now_ms;
        let old_form =
            serial.is_some() && segment.file.dictionary().map(|dictionary| dictionary.serial()) != serial;
        // Otherwise half of it has to be dead; where space is short or time is plenty, a sixth.
        let at_leisure = at_leisure && segment.dies_ms > now_ms + COMPACTION_LEISURE_MS;
        let worth_it = if tight || at_leisure { dead * 5 >= live } else { dead >= live };
        let worth_it = worth_it && (tight || !dies_soon);
        if worth_it || (old_form && !dies_soon) {
            worth.push((dead as f64 / live as f64, segment));
        } else if segment.bytes < tuning.small_segment_bytes {
            small.entry(Group::of(segment.dies_ms, now_ms)).or_default().push(segment);
        }
    }
    worth.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut victims: Vec<Arc<Segment>> = worth.into_iter().map(|(_, segment)| segment).collect();
    victims.extend(small.into_values().filter(|group| group.len() >= tuning.small_segments).flatten());
    // The copies need room before the victims give any back.
    let room = inner.storage.available_bytes() / 4 * 3;
    let mut bytes = 0;
    victims.retain(|segment| {
        let live = inner.segments.live_bytes(segment);
        let fits = bytes < COMPACTION_BYTES_MAX && bytes + live <= room;
        bytes += if fits { live } else { 0 };
        fits
    });
    victims
}

impl Compaction {
    /// Begins one, if any segment is worth it.
    ///
    /// `at_leisure`: nothing is being written, so that less gain is worth the copying.
    pub(crate) fn begin(inner: &Inner, now_ms: u64, at_leisure: bool) -> Option<Compaction> {
        let mut victims = victims(inner, now_ms, at_leisure);
        if victims.is_empty() {
            return None;
        }
        // They are taken from the end.
        victims.reverse();
        Some(Compaction {
            victims,
            current: None,
            set: SegmentSet::new(inner.storage.dictionary(), now_ms),
            compressor: Compressor::new(),
            object: Vec::new(),
        })
    }

    /// Takes no more victims.
    pub(crate) fn end_early(&mut self) {
        self.victims.clear();
    }

    /// Does a bounded amount of it.
    ///
    /// # Errors
    /// [`Error::Io`]: the compaction is to be [given up](Self::abandon).
    pub(crate) fn step(&mut self, inner: &Inner) -> Result<Progress, Error> {
        if self.set.has_full() || (self.current.is_none() && self.victims.is_empty()) {
            return Ok(if self.finish_segment(inner)? { Progress::More(0) } else { Progress::Done });
        }
        let (victim, mut scan) = match self.current.take() {
            Some(current) => current,
            None => match self.victims.pop() {
                Some(victim) => {
                    let scan = victim.file.scan();
                    (victim, scan)
                }
                None => return Ok(Progress::More(0)),
            },
        };
        let until = scan.offset() + inner.storage.tuning.compacted_bytes_per_step;
        let mut ended = false;
        while scan.offset() < until && !self.set.has_full() {
            if !self.copy_next(inner, &victim, &mut scan)? {
                ended = true;
                break;
            }
        }
        if ended {
            inner.storage.figures.segments_compacted.fetch_add(1, Ordering::Relaxed);
        } else {
            self.current = Some((victim, scan));
        }
        Ok(Progress::More(self.set.write(inner)?))
    }

    /// Copies the next record if it is alive; false at the end.
    fn copy_next(&mut self, inner: &Inner, victim: &Segment, scan: &mut Scan) -> Result<bool, Error> {
        let (offset, stored) = match scan.next()? {
            None => return Ok(false),
            Some(Found::Damaged { offset, bytes, reason }) => {
                tracing::error!(segment = %victim.file.path().display(), offset, bytes, reason, "compaction has found damage");
                victim.damaged.store(true, Ordering::Relaxed);
                return Ok(true);
            }
            Some(Found::Record { offset, stored, .. }) => (offset, stored),
        };
        let from = Location::new(victim.slot, offset);
        let dictionary = victim.file.dictionary();
        let Ok(record) = stored.record(dictionary, &mut self.compressor, &mut self.object) else {
            victim.damaged.store(true, Ordering::Relaxed);
            return Ok(true);
        };
        let key = inner.hasher.key(layout::database(record.object), layout::parts(record.object).key);
        let (deadline_ms, grid) = {
            let shard = inner.shards[inner.shard_number(key.hash)].lock();
            let place = shard.find_hash(key.hash, |entry| entry.handle().location() == Some(from));
            let Some(place) = place else { return Ok(true) };
            let entry = shard.entry(place);
            (entry.logged_deadline_ms(), entry.handle().grid())
        };
        let limit = layout::parts(record.object).policy.map_or(NEVER, |policy| policy.absolute_ms);
        let dies_ms = if limit == NEVER { deadline_ms } else { limit };
        inner.storage.figures.compacted_bytes.fetch_add(stored.bytes.len() as u64, Ordering::Relaxed);
        let copied = Copied { hash: key.hash, from };
        let content = if self.set.takes_frames_of(&victim.file) {
            Content::Stored(crate::segment::Stored { deadline_ms, grid, ..stored }, &victim.file)
        } else {
            Content::Flat(Record { lsn: record.lsn, deadline_ms, grid, object: record.object })
        };
        self.set.push(inner, dies_ms, &content, copied).map_err(|(error, _)| error)?;
        Ok(true)
    }

    fn finish_segment(&mut self, inner: &Inner) -> Result<bool, Error> {
        let Some(done) = self.set.finish_one(inner, true).map_err(|(error, _)| error)? else {
            return Ok(false);
        };
        let storage = &inner.storage;
        storage.fs.sync_dir(&storage.dir).map_err(Error::io("sync", &storage.dir))?;
        for (Copied { hash, from }, to) in done.pushed {
            inner.shards[inner.shard_number(hash)].lock().relocate(hash, from, to);
        }
        Ok(true)
    }

    /// Gives it up: what was not moved stays where it is.
    pub(crate) fn abandon(mut self, inner: &Inner) {
        self.set.abandon(inner);
    }
}
