//! What happens to sessions without a command: those whose deadline has come are taken away and told of, what is left of those that have ended
//! with their class is swept up, events that are too old go.
//!
//! The timers of [shards](crate::shard) name the dead, which stay in the index: nobody sees them. Here each is taken away by one transaction, with
//! all that is known of it, and the record of that transaction is its death: it holds the `expired` event, or a crash has come before, and the
//! session is found dead, or alive for the rest of its step of the [grid](crate::expiry), after the next start. The steps are bounded, and
//! values that are on disk are read outside every lock.

use super::counts::Deltas;
use super::doom::{self, Ending};
use super::events::{self, EventKind};
use super::plan::Plan;
use super::record::Record;
use super::token::Id;
use super::{SessionError, SessionKey, class};
use crate::db::Inner;
use crate::key::{SESSIONS, is_held};
use crate::limits::{SESSIONS_REAPED_TOGETHER, SESSIONS_SWEPT_PER_STEP};
use crate::object::layout;
use crate::scan::scan_internal;
use crate::segment::Scratch;
use crate::{Access, Error};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The longest pause of a step, as long as nobody is due.
const PAUSE: Duration = Duration::from_secs(1);
/// How long after something has gone wrong the next step comes.
const RETRY: Duration = Duration::from_millis(200);
/// How often it is looked whether events are too old, in ms.
const TRIM_MS: u64 = 1_000;
/// Chunks of events that go in one step.
const TRIMMED_PER_STEP: usize = 16;
/// Bytes that the log is asked for, for each session that is taken away.
const REAPED_BYTES: usize = 512;
/// At this time every session lives whose deadline is ever to come, or has: the dead can be looked at.
const BEFORE_ALL_DEADLINES_MS: u64 = 0;

/// Where the sweep is.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    cursor: u64,
    /// How often a sweep had been asked for when it began; 0 if none is under way.
    asked: u64,
}

/// Who is due.
#[derive(Default)]
pub(super) struct Due {
    /// Hashes of sessions' keys.
    hashes: Mutex<VecDeque<u64>>,
    /// Held while some of them are being taken away: who finds no hash, and can have it, knows that nobody is left.
    reaping: Mutex<()>,
}

impl Due {
    pub(super) fn add(&self, hashes: &mut Vec<u64>) {
        self.hashes.lock().extend(hashes.drain(..));
    }

    fn take(&self, count: usize) -> Vec<u64> {
        let mut hashes = self.hashes.lock();
        let count = count.min(hashes.len());
        hashes.drain(..count).collect()
    }

    fn give_back(&self, hashes: Vec<u64>) {
        self.hashes.lock().extend(hashes);
    }

    /// Whether nobody is due, and nobody is just being taken away.
    pub(super) fn is_settled(&self) -> bool {
        match self.reaping.try_lock() {
            Some(_none) => self.hashes.lock().is_empty(),
            None => false,
        }
    }
}

/// A bounded step of all that; how long until the next.
pub(crate) fn step(inner: &Inner) -> Duration {
    if inner.check_open().is_err() {
        return PAUSE;
    }
    let mut pause = PAUSE;
    for step in [reap, sweep, trim] {
        match step(inner) {
            Ok(true) => pause = Duration::ZERO,
            Ok(false) => {}
            Err(error) => {
                if !matches!(error, SessionError::Db(Error::LogFailed(_) | Error::DiskFull(_))) {
                    tracing::error!(%error, "sessions can't be tidied up");
                }
                pause = pause.min(RETRY);
            }
        }
    }
    pause
}

/// Takes some of those away that are due; whether there are more.
fn reap(inner: &Inner) -> Result<bool, SessionError> {
    let due = &inner.sessions.due;
    let _one_at_a_time = due.reaping.lock();
    let hashes = due.take(SESSIONS_REAPED_TOGETHER);
    if hashes.is_empty() {
        return Ok(false);
    }
    let now_ms = inner.clock.now_ms();
    let mut ids = Vec::with_capacity(hashes.len());
    let found = hashes.iter().try_for_each(|&hash| ids_of(inner, hash, now_ms, &mut ids));
    ids.sort_unstable();
    ids.dedup();
    let reaped = found.map_err(SessionError::from).and_then(|()| {
        let what = "a session whose deadline has come can't be taken away";
        each_if_not_all(&ids, what, |ids| take_away(inner, ids, now_ms))
    });
    if let Err(error) = reaped {
        due.give_back(hashes);
        return Err(error);
    }
    Ok(!due.hashes.lock().is_empty())
}

/// Does something with all of these sessions; if one of them is damaged, with each for itself, and leaves that one out.
fn each_if_not_all(
    ids: &[Id],
    what: &'static str,
    mut run: impl FnMut(&[Id]) -> Result<(), SessionError>,
) -> Result<(), SessionError> {
    match run(ids) {
        Err(error) if error.is_damage() => {}
        done => return done,
    }
    for id in ids {
        match run(std::slice::from_ref(id)) {
            Err(error) if error.is_damage() => tracing::error!(%error, "{what}"),
            done => done?,
        }
    }
    Ok(())
}

/// Reaps until nobody is due.
pub(super) fn reap_all(inner: &Inner) -> Result<(), SessionError> {
    while reap(inner)? {}
    Ok(())
}

/// The ids of dead sessions with this hash; keys on disk are read.
fn ids_of(inner: &Inner, hash: u64, now_ms: u64, ids: &mut Vec<Id>) -> Result<(), Error> {
    let mut cold = Vec::new();
    let shard = inner.shards[inner.shard_number(hash)].lock();
    let mut add = |key: &[u8]| ids.extend(Id::try_from(key).ok());
    let _ = shard.find_hash(hash, |entry| {
        if is_held(entry.handle().database()) && entry.deadline_ms() <= now_ms {
            match (entry.handle().view(), entry.handle().idle()) {
                (Some(view), _) => add(view.key()),
                (None, Some(flat)) => add(layout::parts(flat).key),
                (None, None) => {
                    let location = entry.handle().location();
                    cold.extend(location.and_then(|at| Some((at, inner.segments.at(at)?))));
                }
            }
        }
        false
    });
    drop(shard);
    for (location, segment) in cold {
        Scratch::of_thread(|scratch| match segment.file.read(location.offset(), scratch) {
            Ok(record) => {
                add(layout::parts(record.object).key);
                Ok(())
            }
            Err(error @ Error::DamagedValue { .. }) => {
                tracing::error!(%error, "a session whose deadline has come can't be read");
                Ok(())
            }
            Err(error) => Err(error),
        })?;
    }
    Ok(())
}

/// Takes those of these sessions away that are dead at `now_ms`.
fn take_away(inner: &Inner, ids: &[Id], now_ms: u64) -> Result<(), SessionError> {
    if ids.is_empty() {
        return Ok(());
    }
    let keys = ids.iter().map(SessionKey::session).collect();
    let bytes = ids.len() * REAPED_BYTES;
    let access = Access::Delete;
    let (reaped, _) = inner.with_sessions(keys, (access, bytes), BEFORE_ALL_DEADLINES_MS, |txn| {
        let (mut plan, mut ending) = (Plan::default(), Ending::default());
        let classes = class::table(txn, &mut plan)?;
        for id in ids {
            // One that was touched meanwhile, by a transaction that had begun before, has its timer again.
            if let Some(doomed) =
                doom::plan(txn, &classes, id, &mut plan)?.filter(|one| one.deadline_ms <= now_ms)
            {
                let at_ms = doomed.deadline_ms;
                ending.add(doomed, EventKind::Expired, at_ms);
            }
        }
        ending.plan(txn, &mut plan, 0)?;
        plan.check()?;
        let reaped = ending.len();
        ending.carry_out(txn, Vec::new(), Deltas::default(), now_ms)?;
        Ok(reaped)
    })?;
    inner.sessions.expired.fetch_add(reaped, Ordering::Relaxed);
    // As where keys are found dead: time must not go back behind this.
    inner.wal.note_time();
    Ok(())
}

/// Sweeps up some of what is left of sessions that have ended with their class; whether there may be more.
fn sweep(inner: &Inner) -> Result<bool, SessionError> {
    let mut sweep = inner.sessions.sweep.lock();
    if sweep.asked == 0 {
        let asked = inner.sessions.classes.with(|table| table.sweep);
        if asked == 0 {
            return Ok(false);
        }
        *sweep = Sweep { cursor: 0, asked };
    }
    let mut keys: Vec<SessionKey> = Vec::new();
    let next = scan_internal(inner, SESSIONS, sweep.cursor, SESSIONS_SWEPT_PER_STEP, &mut |key| {
        keys.extend(Id::try_from(key).ok().map(|id| SessionKey::session(&id)));
    })?;
    // A look at them alone first: most live.
    let mut dead: Vec<Id> = Vec::new();
    for some in keys.chunks(SESSIONS_REAPED_TOGETHER) {
        let looked = inner.with_sessions(some.to_vec(), (Access::Read, 0), BEFORE_ALL_DEADLINES_MS, |txn| {
            let classes = class::table(txn, &mut Plan::default())?;
            let mut found = Vec::new();
            for key in some {
                let hashed = key.hashed_by(txn.hasher());
                let record = txn.living(&hashed).and_then(|(view, _)| Record::of(view, txn.hasher()));
                if let Some(Record { header, .. }) = record
                    && classes.live(header.class, header.generation).is_none()
                {
                    found.extend(Id::try_from(hashed.bytes()).ok());
                }
            }
            Ok(found)
        });
        match looked {
            Ok((found, _)) => dead.extend(found),
            Err(error) if error.is_damage() => tracing::error!(%error, "sessions can't be looked at"),
            Err(error) => return Err(error),
        }
    }
    for ids in dead.chunks(SESSIONS_REAPED_TOGETHER) {
        let what = "a session that has ended with its class can't be swept away";
        each_if_not_all(ids, what, |ids| sweep_away(inner, ids))?;
    }
    sweep.cursor = next;
    if next != 0 {
        return Ok(true);
    }
    let asked = std::mem::take(&mut sweep.asked);
    let keys = vec![SessionKey::system(class::CLASSES)];
    inner.with_sessions(keys, (Access::Delete, 64), inner.clock.now_ms(), |txn| {
        class::end_sweep(txn, asked)
    })?;
    Ok(true)
}

/// Takes those of these sessions away that have ended with their class.
fn sweep_away(inner: &Inner, ids: &[Id]) -> Result<(), SessionError> {
    let keys = ids.iter().map(SessionKey::session).collect();
    let access = (Access::Delete, ids.len() * REAPED_BYTES);
    inner.with_sessions(keys, access, BEFORE_ALL_DEADLINES_MS, |txn| {
        let (mut plan, mut ending) = (Plan::default(), Ending::default());
        let classes = class::table(txn, &mut plan)?;
        for id in ids {
            if let Some(doomed) =
                doom::plan(txn, &classes, id, &mut plan)?.filter(|one| one.has_ended_with_class())
            {
                ending.add(doomed, EventKind::Revoked, 0);
            }
        }
        plan.check()?;
        ending.carry_out(txn, Vec::new(), Deltas::default(), BEFORE_ALL_DEADLINES_MS)
    })?;
    Ok(())
}

/// Lets events go that are too old, or too many; whether there may be more.
fn trim(inner: &Inner) -> Result<bool, SessionError> {
    let sessions = &inner.sessions;
    let now_ms = inner.clock.now_ms();
    if sessions.last_chunk.load(Ordering::Relaxed) == 0
        || now_ms < sessions.trim_due_ms.load(Ordering::Relaxed)
    {
        return Ok(false);
    }
    let max_age_ms = sessions.events_max_age_ms.load(Ordering::Relaxed);
    let max_bytes = sessions.events_max_bytes.load(Ordering::Relaxed);
    for _ in 0..TRIMMED_PER_STEP {
        let keys = vec![SessionKey::system(events::STATE)];
        let (more, _) = inner.with_sessions(keys, (Access::Delete, 256), now_ms, |txn| {
            events::trim(txn, max_age_ms, max_bytes, now_ms)
        })?;
        if !more {
            sessions.trim_due_ms.store(now_ms + TRIM_MS, Ordering::Relaxed);
            return Ok(false);
        }
    }
    Ok(true)
}
