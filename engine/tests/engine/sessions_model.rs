//! Sessions against a model, on a simulated disk and clock: crashed, killed, reopened and checkpointed at any point.
//!
//! Each operation is a transaction whose result is known when it commits; the model is kept as it was after each. After a crash the database must
//! be what one of these says that is not older than what had been made durable: the log is a prefix. Deadlines may be late by 5 % of the idle limit
//! then, and never early. A consumer of events saves its cursor: what it has seen must stay, and nothing may come twice.
//!
//! `SESSILE_SEEDS=n` runs more seeds, `SESSILE_SEED=s` replays one, `SESSILE_TRACE=1` says what happens.

use super::support::{DIR, for_each_seed, manifest_path, trace};
use sessile::sessions::{
    self, Conditions, Event, EventKind, Handle, NewSession, OnLimit, Policy, SessionError, SessionKey,
    TokenDigest,
};
use sessile::{Access, Db, Durability, Expiry, Options, StorageTuning, Txn};
use sessile_wal::sim::{Rng, SimClock, SimFs};
use sessile_wal::{Fs, OpenMode};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const NEVER: u64 = u64::MAX;
const USERS: [&[u8]; 3] = [b"ann", b"bob", b"\0"];
const CLASSES: [&str; 4] = ["web", "api", "aal2", "aal3"];
const FIELDS: [&[u8]; 4] = [b"cart", b"", b"\0", b"\0v"];

/// A token that a session has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Had {
    /// Its number among all tokens.
    token: usize,
    grace_until_ms: u64,
    told_ms: u64,
}

#[derive(Clone, Debug)]
struct ModelSession {
    token: usize,
    old: Vec<Had>,
    handle: Handle,
    class: usize,
    user: Option<usize>,
    meta: Vec<u8>,
    fields: BTreeMap<Vec<u8>, Vec<u8>>,
    version: u64,
    fence: u64,
    created_ms: u64,
    /// To be within a minute once it was on disk only.
    seen_ms: u64,
    idle_ms: u64,
    absolute_ms: u64,
    grace_s: u64,
    /// The deadline is not before this, and, after a crash, not after the other.
    deadline_ms: (u64, u64),
    /// It has ended, and that was told of.
    ended: bool,
}

impl ModelSession {
    fn touch(&mut self, now_ms: u64) {
        self.seen_ms = now_ms;
        let idle_at_ms = if self.idle_ms == 0 { NEVER } else { now_ms + self.idle_ms };
        let deadline_ms = idle_at_ms.min(self.absolute_ms);
        self.deadline_ms = (deadline_ms, deadline_ms);
    }

    fn crash(&mut self) {
        if self.idle_ms != 0 {
            self.deadline_ms.1 = (self.deadline_ms.1 + self.idle_ms / 20).min(self.absolute_ms);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Model {
    sessions: Vec<ModelSession>,
    policies: BTreeMap<usize, Policy>,
    /// Those that are not told of by the clock.
    events: Vec<Event>,
}

impl Model {
    fn new() -> Model {
        let hours = |max_h: u64, idle_s| Policy { max_s: max_h * 3600, idle_s, ..Policy::default() };
        Model { policies: BTreeMap::from([(2, hours(24, 3600)), (3, hours(12, 900))]), ..Model::default() }
    }

    fn tell(&mut self, kind: EventKind, at_ms: u64, session: usize) {
        let one = &self.sessions[session];
        self.events.push(Event {
            kind,
            at_ms,
            handle: Some(one.handle),
            user: one.user.map(|user| USERS[user].to_vec()),
            class: Some(CLASSES[one.class].to_owned()),
            count: None,
            reason: None,
        });
    }

    fn alive(&self, now_ms: u64) -> impl Iterator<Item = usize> {
        let is_alive = move |one: &ModelSession| !one.ended && one.deadline_ms.0 > now_ms;
        let all: Vec<usize> =
            self.sessions.iter().enumerate().filter(|(_, one)| is_alive(one)).map(|(at, _)| at).collect();
        all.into_iter()
    }

    /// What a token stands for: the session, and `None` for its current token or which old one.
    fn resolve(&self, token: usize, now_ms: u64) -> Option<(usize, Option<usize>)> {
        self.alive(now_ms).find_map(|at| {
            let one = &self.sessions[at];
            if one.token == token {
                return Some((at, None));
            }
            one.old.iter().position(|had| had.token == token).map(|old| (at, Some(old)))
        })
    }

    /// The session that an old token in its grace, or the current one, may read; tells of reuse.
    fn in_grace(&mut self, token: usize, now_ms: u64) -> Option<(usize, bool)> {
        let (at, old) = self.resolve(token, now_ms)?;
        let Some(old) = old else { return Some((at, true)) };
        let had = &mut self.sessions[at].old[old];
        if now_ms < had.grace_until_ms {
            return Some((at, false));
        }
        if had.told_ms == 0 || now_ms >= had.told_ms + 60_000 {
            had.told_ms = now_ms;
            self.tell(EventKind::Reuse, now_ms, at);
        }
        None
    }

    fn end(&mut self, at: usize, kind: EventKind, now_ms: u64) {
        self.sessions[at].ended = true;
        self.tell(kind, now_ms, at);
    }
}

/// The database, the model as it was after each operation, and who reads events.
struct World {
    rng: Rng,
    sim: SimFs,
    clock: SimClock,
    db: Option<Db>,
    tokens: Vec<Drawn>,
    model: Model,
    /// The last is `model`; none is older than what is durable.
    history: Vec<Model>,
    /// Events that were read, and the cursor behind them.
    read: Vec<Event>,
    cursor: Option<u64>,
    crashed: bool,
    bounded: bool,
    /// Of some directories few bits of each hash are kept, so that keys share them.
    hash_mask: u64,
    ordinary: u64,
}

type Outcome<R> = Result<R, ()>;

/// A token that the seed has drawn, so that it is the same each time.
struct Drawn {
    raw: [u8; 32],
    text: String,
    digest: TokenDigest,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let sim = SimFs::new(rng.next_u64());
        let clock = SimClock::new(1_800_000_000_000);
        // What is random of a directory is fixed, so that a seed is the same each time.
        let dir = Path::new(DIR);
        sim.create_dir_all(dir).expect("made");
        let manifest = sim.open(&manifest_path(), OpenMode::CreateNew).expect("made");
        manifest.write_at(&super::support::fixed_manifest(), 0).expect("written");
        manifest.sync_data().expect("synced");
        sim.sync_dir(dir).expect("synced");
        let bounded = rng.below(2) == 0;
        let hash_mask = if rng.below(3) == 0 { 0xFF00_0000_0000_0000 } else { u64::MAX };
        let mut world = World {
            rng,
            sim,
            clock,
            db: None,
            tokens: Vec::new(),
            model: Model::new(),
            history: vec![Model::new()],
            read: Vec::new(),
            cursor: None,
            crashed: false,
            bounded,
            hash_mask,
            ordinary: 0,
        };
        world.open();
        world
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.below(end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn open(&mut self) {
        let rng = &mut self.rng;
        let mut pick = |of: &[u64]| of[rng.below(of.len() as u64) as usize];
        let tuning = StorageTuning {
            shards: Some(pick(&[2, 4, 64]) as usize),
            hash_mask: self.hash_mask,
            segment_target_bytes: pick(&[200, 4_000, 100_000]),
            objects_bytes_min: pick(&[0, 1_000]) as usize as u64,
            compaction_soon_ms: pick(&[0, 60_000]),
            compaction_look_ms: pick(&[1, 2_000]),
            dead_bytes_prompt: pick(&[1, 1_000]),
            idle_pass_ms: pick(&[1, 10_000]),
            idle_bytes_min: 1,
            dictionary_samples_min: 8,
            dictionary_bytes_max: 512,
            reserve_bytes: 0,
            session_digest_key: Some([7; 32]),
            session_events_chunk_bytes: pick(&[1, 500, 64 << 10]) as usize,
            ..StorageTuning::default()
        };
        let mut options = Options::new()
            .file_system(Arc::new(self.sim.clone()))
            .clock(Arc::new(self.clock.clone()))
            .durability(Durability::No)
            .manual_background()
            .storage_tuning(tuning)
            .log_file_bytes_max(pick(&[8 << 10, 64 << 10]))
            .checkpoint_log_bytes(pick(&[4 << 10, 64 << 10]))
            .idle_compression(pick(&[0, 1]) == 1);
        if self.bounded {
            options = options.memory_bytes_max(pick(&[20_000, 100_000]));
        }
        self.db = Some(options.open(DIR).expect("opens"));
    }

    fn now_ms(&self) -> u64 {
        self.db.as_ref().expect("open").now_ms()
    }

    /// Runs an operation until it holds its keys, and commits it. `Err` if the disk was gone.
    fn run<R>(
        &mut self,
        access: Access,
        mut run: impl FnMut(&mut Txn<'_>) -> Result<R, SessionError>,
    ) -> Outcome<Result<R, SessionError>> {
        let db = self.db.clone().expect("open");
        let now_ms = db.now_ms();
        let mut keys: Vec<SessionKey> =
            if self.one_in(2) { sessions::usual_keys().to_vec() } else { Vec::new() };
        loop {
            let hashed: Vec<_> = keys.iter().map(|key| key.hashed(&db)).collect();
            let mut txn = match db.begin(&hashed, access, now_ms) {
                Ok(txn) => txn,
                Err(error) => {
                    assert!(self.sim.is_down(), "{error}");
                    return Err(());
                }
            };
            match run(&mut txn) {
                Ok(answer) => {
                    txn.commit();
                    return Ok(Ok(answer));
                }
                Err(SessionError::Needs(more)) => {
                    assert!(!txn.changed(), "it has changed something, and asks for keys");
                    drop(txn);
                    assert!(!more.is_empty() && more.iter().all(|key| !keys.contains(key)));
                    keys.extend(more);
                }
                Err(error) => {
                    assert!(!txn.changed(), "it has changed something, and failed: {error}");
                    return Ok(Err(error));
                }
            }
        }
    }

    /// The model is what the database is, after an operation.
    fn keep(&mut self) {
        self.history.push(self.model.clone());
    }

    fn flush(&mut self) -> Outcome<()> {
        let db = self.db.clone().expect("open");
        if db.flush().is_err() {
            assert!(self.sim.is_down());
            return Err(());
        }
        self.settle();
        Ok(())
    }

    /// Everything so far is durable.
    fn settle(&mut self) {
        self.history.drain(..self.history.len() - 1);
    }

    fn any_token(&mut self) -> Option<usize> {
        let count = self.tokens.len();
        if count == 0 {
            return None;
        }
        // The latest more often than others.
        let far = self.one_in(3);
        let back = self.below(if far { count } else { count.min(12) });
        Some(count - 1 - back)
    }

    fn draw(&mut self) -> Outcome<Drawn> {
        let raw: [u8; 32] = std::array::from_fn(|_| self.rng.next_u64() as u8);
        let text = encoded(&raw);
        let db = self.db.as_ref().expect("open");
        if db.session_digest(text.as_bytes()).is_none() && db.new_session_token().is_err() {
            // There is no digest key yet, and none can be made.
            assert!(self.sim.is_down());
            return Err(());
        }
        let digest = db.session_digest(text.as_bytes()).expect("a token");
        Ok(Drawn { raw, text, digest })
    }

    fn create(&mut self) -> Outcome<()> {
        let new = self.draw()?;
        let class = self.below(CLASSES.len());
        let user = if self.one_in(5) { None } else { Some(self.below(USERS.len())) };
        let idle_s = if self.one_in(3) { Some(self.rng.below(400) + 1) } else { None };
        let max_s = if self.one_in(3) { Some(self.rng.below(2000) + 1) } else { None };
        let long = [7; 200];
        let fields: Vec<[&[u8]; 2]> =
            (0..self.below(4)).map(|_| [FIELDS[self.below(4)], &long[..]]).collect();
        let asked = NewSession {
            class: CLASSES[class],
            user: user.map(|user| USERS[user]),
            idle_s,
            max_s,
            meta: b"meta",
            fields: &fields,
        };
        let digest = new.digest;
        let made = self.run(Access::Write, |txn| sessions::create(txn, &asked, &digest))?;
        let (now_ms, token) = (self.now_ms(), self.tokens.len());
        trace(|| format!("{now_ms} create token {token} of {class} for {user:?}: {made:?}"));
        self.tokens.push(new);
        let Some(&policy) = self.model.policies.get(&class) else {
            assert!(matches!(made, Err(SessionError::UnknownClass)));
            return Ok(());
        };
        if let (Some(user), true) = (user, policy.per_user > 0) {
            let mut room: Vec<usize> = self.model.alive(now_ms).collect();
            room.retain(|&at| {
                let one = &self.model.sessions[at];
                one.user == Some(user) && one.class == class
            });
            let excess = (room.len() + 1).saturating_sub(policy.per_user as usize);
            if excess > 0 && policy.on_limit == OnLimit::Reject {
                assert!(matches!(made, Err(SessionError::Limit { limit }) if limit == policy.per_user));
                return Ok(());
            }
            self.evict(&room, excess)?;
        }
        let made = made.expect("made");
        let limit = |policy_s: u64, asked_s: Option<u64>| {
            let all = [policy_s, asked_s.unwrap_or(0)];
            all.into_iter().filter(|&limit_s| limit_s != 0).min().unwrap_or(0) * 1000
        };
        let (idle_ms, max_ms) = (limit(policy.idle_s, idle_s), limit(policy.max_s, max_s));
        let mut one = ModelSession {
            token,
            old: Vec::new(),
            handle: made.handle,
            class,
            user,
            meta: b"meta".to_vec(),
            fields: fields.iter().map(|[name, value]| (name.to_vec(), value.to_vec())).collect(),
            version: 1,
            fence: 0,
            created_ms: now_ms,
            seen_ms: now_ms,
            idle_ms,
            absolute_ms: if max_ms == 0 { NEVER } else { now_ms + max_ms },
            grace_s: u64::from(policy.grace_s),
            deadline_ms: (0, 0),
            ended: false,
        };
        one.touch(now_ms);
        assert_eq!(made.deadline_ms.unwrap_or(NEVER), one.deadline_ms.0);
        assert_eq!(made.absolute_ms.unwrap_or(NEVER), one.absolute_ms);
        self.model.sessions.push(one);
        self.model.tell(EventKind::Created, now_ms, self.model.sessions.len() - 1);
        self.keep();
        Ok(())
    }

    /// Those that were evicted, as many as had to be: which of them is found out, and must not have been seen later than one that stays by more
    /// than what may be forgotten of when a session was seen.
    fn evict(&mut self, room: &[usize], count: usize) -> Outcome<()> {
        let now_ms = self.now_ms();
        let mut gone = Vec::new();
        for &at in room {
            if !self.lives(at)? {
                gone.push(at);
            }
        }
        assert!(gone.len() >= count, "{} of {count} were evicted", gone.len());
        // After a crash some may have been dead: the model can't know that they were not evicted.
        let unsure = gone.iter().filter(|&&at| self.model.sessions[at].deadline_ms.0 <= now_ms).count();
        assert!(gone.len() <= count + unsure);
        let seen = |at: &usize| self.model.sessions[*at].seen_ms;
        let latest = gone.iter().map(seen).max();
        let earliest = room.iter().filter(|at| !gone.contains(at)).map(seen).min();
        if let (Some(latest), Some(earliest)) = (latest, earliest) {
            assert!(latest <= earliest + 60_000, "one that was seen at {latest} made room for {earliest}");
        }
        // In the order in which they were evicted: as their events say, which come before that of the new one.
        gone.sort_by_key(|&at| (self.model.sessions[at].seen_ms, self.model.sessions[at].created_ms));
        for at in gone {
            self.model.end(at, EventKind::Evicted, now_ms);
        }
        Ok(())
    }

    fn lives(&mut self, at: usize) -> Outcome<bool> {
        let digest = self.tokens[self.model.sessions[at].token].digest;
        let found = self.run(Access::Read, |txn| Ok(sessions::get(txn, &digest, false)?.is_some()))?;
        Ok(found.expect("readable"))
    }

    fn change(&mut self) -> Outcome<()> {
        let Some(token) = self.any_token() else { return Ok(()) };
        let digest = self.tokens[token].digest;
        let now_ms = self.now_ms();
        let which = self.below(7);
        let found = self.model.in_grace(token, now_ms);
        let (found, is_current) = (found.map(|(at, _)| at), found.is_some_and(|(_, current)| current));
        trace(|| {
            format!("{now_ms} change {which} by token {token}: session {found:?}, current: {is_current}")
        });
        let model = |world: &World, at: usize| world.model.sessions[at].clone();
        match which {
            0 | 1 => {
                let touch = which == 1;
                let seen = self.run(Access::Write, |txn| {
                    Ok(sessions::get(txn, &digest, touch)?.map(|session| {
                        let mut fields = BTreeMap::new();
                        session.for_each_field(&mut |name, value| {
                            fields.insert(name.to_vec(), value.to_vec());
                        });
                        let user = session.user().map(<[u8]>::to_vec);
                        (session.handle(), user, session.version(), session.deadline_ms(), fields)
                    }))
                })?;
                let seen = seen.expect("readable");
                assert_eq!(seen.is_some(), found.is_some());
                if let (Some((handle, user, version, deadline_ms, fields)), Some(at)) = (seen, found) {
                    if touch {
                        self.model.sessions[at].touch(now_ms);
                    }
                    let one = model(self, at);
                    assert_eq!((handle, version, &fields), (one.handle, one.version, &one.fields));
                    assert_eq!(user.as_deref(), one.user.map(|user| USERS[user]));
                    let deadline_ms = deadline_ms.unwrap_or(NEVER);
                    assert!((one.deadline_ms.0..=one.deadline_ms.1).contains(&deadline_ms));
                }
            }
            2 => {
                let touched = self.run(Access::Write, |txn| sessions::touch(txn, &[digest, digest]))?;
                assert_eq!(touched.expect("works"), if found.is_some() { 2 } else { 0 });
                if let Some(at) = found {
                    self.model.sessions[at].touch(now_ms);
                }
            }
            _ => {
                let known = found.map(|at| (self.model.sessions[at].version, self.model.sessions[at].fence));
                let (version, fence) = known.unwrap_or((1, 0));
                let conditions = Conditions {
                    version: [None, Some(version), Some(version + 1)][self.below(3)],
                    fence: [None, None, Some(fence), Some(fence + 1)][self.below(4)],
                };
                let name = FIELDS[self.below(4)];
                let value = vec![self.below(256) as u8; [3, 300, 9_000][self.below(3)]];
                let answer = match which {
                    3 | 4 => {
                        let fields: [[&[u8]; 2]; 2] = [[name, b"first"], [name, &value]];
                        self.run(Access::Write, |txn| sessions::set(txn, &digest, &conditions, &fields))?
                    }
                    5 => {
                        self.run(Access::Write, |txn| sessions::unset(txn, &digest, &conditions, &[name]))?
                    }
                    _ => self.run(Access::Write, |txn| {
                        Ok(sessions::fence(txn, &digest)?.map(|(_, fence)| fence))
                    })?,
                };
                let Some(at) = found else {
                    assert!(matches!(answer, Ok(None)), "{answer:?}");
                    self.keep();
                    return Ok(());
                };
                if !is_current {
                    assert!(matches!(answer, Err(SessionError::StaleToken)), "{answer:?}");
                    return Ok(());
                }
                if which == 6 {
                    self.model.sessions[at].fence += 1;
                    assert_eq!(answer.expect("counted"), Some(fence + 1));
                    self.keep();
                    return Ok(());
                }
                if conditions.fence.is_some_and(|asked| asked != fence) {
                    assert!(matches!(answer, Err(SessionError::Fenced { fence: is }) if is == fence));
                    return Ok(());
                }
                if conditions.version.is_some_and(|asked| asked != version) {
                    assert!(matches!(answer, Err(SessionError::Conflict { version: is }) if is == version));
                    return Ok(());
                }
                let one = &mut self.model.sessions[at];
                let changed = match which {
                    5 => one.fields.remove(name).is_some(),
                    _ => {
                        one.fields.insert(name.to_vec(), value);
                        true
                    }
                };
                one.version += u64::from(changed);
                one.touch(now_ms);
                assert_eq!(answer.expect("changed"), Some(one.version));
            }
        }
        self.keep();
        Ok(())
    }

    fn rotate(&mut self) -> Outcome<()> {
        let Some(token) = self.any_token() else { return Ok(()) };
        let new = self.draw()?;
        let (digest, other) = (self.tokens[token].digest, new.digest);
        let grace_s = [None, Some(0), Some(5), Some(1000)][self.below(4)];
        let now_ms = self.now_ms();
        let number = self.tokens.len();
        self.tokens.push(new);
        let found = self.model.in_grace(token, now_ms);
        trace(|| format!("{now_ms} rotate token {token} to {number}: session {found:?}"));
        let answer = self.run(Access::Write, |txn| sessions::rotate(txn, &digest, grace_s, &other))?;
        match found {
            None => assert!(matches!(answer, Ok(None)), "{answer:?}"),
            Some((_, false)) => {
                assert!(matches!(answer, Err(SessionError::StaleToken)), "{answer:?}");
                return Ok(());
            }
            Some((at, true)) => {
                let made = answer.expect("rotates").expect("lives");
                let one = &mut self.model.sessions[at];
                let grace_s = grace_s.unwrap_or(NEVER).min(one.grace_s);
                let had = Had { token: one.token, grace_until_ms: now_ms + grace_s * 1000, told_ms: 0 };
                one.old.push(had);
                one.token = number;
                one.touch(now_ms);
                assert_eq!((made.handle, made.version), (one.handle, one.version));
                assert_eq!(made.deadline_ms.unwrap_or(NEVER), one.deadline_ms.0);
                self.model.tell(EventKind::Rotated, now_ms, at);
            }
        }
        self.keep();
        Ok(())
    }

    fn end(&mut self) -> Outcome<()> {
        let now_ms = self.now_ms();
        match self.below(10) {
            0..4 => {
                let tokens: Vec<usize> = (0..3).filter_map(|_| self.any_token()).collect();
                let digests: Vec<_> = tokens.iter().map(|&token| self.tokens[token].digest).collect();
                let mut ended: Vec<usize> = Vec::new();
                let before = self.model.events.len();
                for &token in &tokens {
                    ended.extend(self.model.in_grace(token, now_ms).map(|(at, _)| at));
                }
                ended.sort_unstable();
                ended.dedup();
                trace(|| format!("{now_ms} end by tokens {tokens:?}: sessions {ended:?}"));
                let count = self.run(Access::Delete, |txn| sessions::end(txn, &digests))?;
                assert_eq!(count.expect("works"), ended.len() as u64);
                // Their order is that of their ids, before what is told of old tokens.
                let reuse = self.model.events.split_off(before);
                self.end_all(ended, EventKind::Ended);
                self.model.events.extend(reuse);
            }
            4..7 => {
                let user = self.below(USERS.len());
                let except = if self.one_in(2) { self.any_token() } else { None };
                let kept = except.map(|token| {
                    let found = self.model.resolve(token, now_ms);
                    let found = found.filter(|&(at, old)| {
                        let one = &self.model.sessions[at];
                        one.user == Some(user) && old.is_none_or(|old| now_ms < one.old[old].grace_until_ms)
                    });
                    found.map(|(at, _)| at)
                });
                let digest = except.map(|token| self.tokens[token].digest);
                let count =
                    self.run(Access::Delete, |txn| sessions::revoke_user(txn, USERS[user], digest.as_ref()))?;
                trace(|| format!("{now_ms} revoke user {user} but {kept:?}: {count:?}"));
                if kept == Some(None) {
                    assert!(matches!(count, Err(SessionError::NotOfUser)), "{count:?}");
                    return Ok(());
                }
                let mut all: Vec<usize> = self.model.alive(now_ms).collect();
                all.retain(|&at| self.model.sessions[at].user == Some(user) && kept != Some(Some(at)));
                assert_eq!(count.expect("works"), all.len() as u64);
                self.end_all(all, EventKind::Revoked);
            }
            7..9 => {
                if self.model.sessions.is_empty() {
                    return Ok(());
                }
                let at = self.below(self.model.sessions.len());
                let handle = self.model.sessions[at].handle;
                let is_alive = self.model.alive(now_ms).any(|one| one == at);
                trace(|| format!("{now_ms} revoke session {at}: {is_alive}"));
                let revoked = self.run(Access::Delete, |txn| sessions::revoke_handle(txn, handle))?;
                assert_eq!(revoked.expect("works"), is_alive);
                if is_alive {
                    self.model.end(at, EventKind::Revoked, now_ms);
                }
            }
            _ => {
                let class = if self.one_in(3) { None } else { Some(self.below(CLASSES.len())) };
                // So that the number is that of those which live.
                self.reap()?;
                let count = self.run(Access::Delete, |txn| match class {
                    Some(class) => sessions::revoke_class(txn, CLASSES[class]),
                    None => sessions::flush(txn).map(Some),
                })?;
                let count = count.expect("works");
                trace(|| format!("{now_ms} end class {class:?}: {count:?}"));
                let mut all: Vec<usize> = self.model.alive(now_ms).collect();
                all.retain(|&at| class.is_none_or(|class| self.model.sessions[at].class == class));
                assert_eq!(count.unwrap_or(0), all.len() as u64);
                for &at in &all {
                    self.model.sessions[at].ended = true;
                }
                if !all.is_empty() {
                    self.model.events.push(Event {
                        kind: if class.is_some() { EventKind::Revoked } else { EventKind::Flushed },
                        at_ms: now_ms,
                        handle: None,
                        user: None,
                        class: class.map(|class| CLASSES[class].to_owned()),
                        count,
                        reason: None,
                    });
                }
            }
        }
        self.keep();
        Ok(())
    }

    fn end_all(&mut self, mut all: Vec<usize>, kind: EventKind) {
        let now_ms = self.now_ms();
        all.sort_by_key(|&at| self.model.sessions[at].handle);
        for at in all {
            self.model.end(at, kind, now_ms);
        }
    }

    fn policy(&mut self) -> Outcome<()> {
        let class = self.below(CLASSES.len());
        let name = CLASSES[class];
        let policy = Policy {
            idle_s: [0, 2, 300, 3000][self.below(4)],
            max_s: [0, 10, 600, 7000][self.below(4)],
            per_user: [0, 0, 1, 3][self.below(4)],
            on_limit: [OnLimit::Evict, OnLimit::Reject][self.below(2)],
            grace_s: [0, 30][self.below(2)],
        };
        let delete = self.one_in(4);
        let answer = self.run(Access::Write, |txn| match delete {
            true => sessions::delete_policy(txn, name),
            false => sessions::set_policy(txn, name, policy).map(|()| true),
        })?;
        trace(|| format!("policy of {name}: {policy:?}, delete {delete}: {answer:?}"));
        if class >= 2 {
            assert!(matches!(answer, Err(SessionError::Preset)));
            return Ok(());
        }
        let before = if delete {
            self.model.policies.remove(&class)
        } else {
            self.model.policies.insert(class, policy);
            Some(policy)
        };
        assert_eq!(answer.expect("works"), before.is_some());
        self.keep();
        Ok(())
    }

    fn reap(&mut self) -> Outcome<()> {
        let db = self.db.clone().expect("open");
        match db.reap_sessions() {
            Ok(()) if !self.sim.is_down() => Ok(()),
            Ok(()) => Err(()),
            Err(error) => {
                assert!(self.sim.is_down(), "{error}");
                Err(())
            }
        }
    }

    /// Lists and counts are those of the sessions that live.
    fn look(&mut self) -> Outcome<()> {
        let now_ms = self.now_ms();
        let alive: Vec<usize> = self.model.alive(now_ms).collect();
        for (number, user) in USERS.into_iter().enumerate() {
            let mut listed = Vec::new();
            let mut cursor = 0;
            loop {
                let page = self.run(Access::Read, |txn| sessions::list(txn, user, cursor, 2))?;
                let page = page.expect("listed");
                listed.extend(page.sessions);
                cursor = page.cursor;
                if cursor == 0 {
                    break;
                }
            }
            assert!(listed.is_sorted_by(|a, b| a.seen_ms >= b.seen_ms));
            let mut own: Vec<&ModelSession> = alive.iter().map(|&at| &self.model.sessions[at]).collect();
            own.retain(|one| one.user == Some(number));
            own.sort_by_key(|one| one.handle);
            listed.sort_by_key(|one| one.handle);
            assert_eq!(listed.len(), own.len(), "user {number} at {now_ms}");
            for (listed, own) in listed.iter().zip(&own) {
                assert_eq!(
                    (listed.handle, &listed.class[..], listed.created_ms, &listed.meta),
                    (own.handle, CLASSES[own.class], own.created_ms, &own.meta)
                );
                assert_eq!(listed.absolute_ms.unwrap_or(NEVER), own.absolute_ms);
                let apart_ms = listed.seen_ms.abs_diff(own.seen_ms);
                assert!(apart_ms <= 60_000.max(own.idle_ms / 20), "{} {}", listed.seen_ms, own.seen_ms);
            }
            let own = own.len() as u64;
            let counted = self.run(Access::Read, |txn| sessions::count(txn, None, Some(user)))?;
            assert_eq!(counted.expect("counted"), own);
        }
        self.reap()?;
        for (number, class) in CLASSES.into_iter().enumerate() {
            let counted = self.run(Access::Read, |txn| sessions::count(txn, Some(class), None))?;
            let own = alive.iter().filter(|&&at| self.model.sessions[at].class == number).count();
            assert_eq!(counted.expect("counted"), own as u64, "class {class} at {now_ms}");
        }
        let names = self.run(Access::Read, |txn| sessions::policies(txn))?.expect("listed");
        let mut there: Vec<&str> = self.model.policies.keys().map(|&class| CLASSES[class]).collect();
        there.push("aal1");
        there.sort_unstable();
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), there);
        Ok(())
    }

    /// Reads on behind the cursor. Everything so far is durable then.
    fn consume(&mut self) -> Outcome<()> {
        let db = self.db.clone().expect("open");
        loop {
            let count = 1 + self.below(20);
            let page = match db.session_events(self.cursor, count) {
                Ok(page) => page,
                Err(error) => {
                    assert!(self.sim.is_down(), "{error}");
                    return Err(());
                }
            };
            assert!(!page.lost, "an event was lost");
            if page.events.is_empty() {
                return Ok(());
            }
            assert_eq!(page.events.last().map(|one| one.cursor), Some(page.cursor));
            self.cursor = Some(page.cursor);
            self.settle();
            for one in page.events {
                trace(|| format!("event {} {:?} {:?}", one.cursor, one.event.kind, one.event.handle));
                self.note_event(one.event);
            }
            self.settle_model();
        }
    }

    /// Compares an event with the model's next one; one of the clock's is for a session whose deadline has come.
    fn note_event(&mut self, event: Event) {
        let now_ms = self.now_ms();
        if event.kind == EventKind::Expired {
            let handle = event.handle.expect("of a session");
            let one = self.model.sessions.iter_mut().find(|one| one.handle == handle);
            let one = one.expect("a session of the model has expired");
            assert!(!one.ended, "a session ends twice");
            assert!((one.deadline_ms.0..=one.deadline_ms.1).contains(&event.at_ms), "{event:?} {one:?}");
            assert!(event.at_ms <= now_ms);
            assert_eq!(event.user.as_deref(), one.user.map(|user| USERS[user]));
            one.ended = true;
            self.read.push(event);
            return;
        }
        let number = self.read.iter().filter(|read| read.kind != EventKind::Expired).count();
        let expected = &self.model.events[number];
        if event.kind == EventKind::Evicted && *expected != event {
            // Which of several that were seen at about the same time goes first is not for the model to say.
            assert_eq!((expected.kind, expected.at_ms), (event.kind, event.at_ms));
        } else if matches!(event.kind, EventKind::Ended | EventKind::Revoked) && *expected != event {
            // As is the order of those that end together.
            assert_eq!((expected.kind, expected.at_ms), (event.kind, event.at_ms));
            let together = self.model.events[number..]
                .iter()
                .take_while(|other| (other.kind, other.at_ms) == (event.kind, event.at_ms))
                .position(|other| *other == event);
            let other = together.unwrap_or_else(|| panic!("{event:?} is not among those to come"));
            self.model.events.swap(number, number + other);
        } else {
            assert_eq!(*expected, event);
        }
        self.read.push(event);
    }

    /// What was learned of the model from events holds for all that is kept of it.
    fn settle_model(&mut self) {
        self.history = vec![self.model.clone()];
    }

    fn step(&mut self) -> Outcome<()> {
        let db = self.db.clone().expect("open");
        for _ in 0..1 + self.below(4) {
            if db.step().is_err() || self.sim.is_down() {
                return Err(());
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Outcome<()> {
        let db = self.db.clone().expect("open");
        trace(|| "checkpoint".into());
        match db.checkpoint() {
            Ok(()) => {
                self.settle();
                Ok(())
            }
            Err(error) => {
                assert!(self.sim.is_down(), "{error}");
                Err(())
            }
        }
    }

    /// What nobody who asks for keys may see, or take away.
    fn ordinary(&mut self) -> Outcome<()> {
        let db = self.db.clone().expect("open");
        let key = self.below(50).to_string();
        let done = match self.below(6) {
            0 => db.clear(None).map(drop),
            1 => db.clear(Some(0)).map(drop),
            2 => db.swap_databases(0, 1).map(drop),
            _ => db.set(key.as_bytes(), [1; 100], Expiry::Never),
        };
        self.ordinary += 1;
        if done.is_err() {
            assert!(self.sim.is_down());
            return Err(());
        }
        let keys = |number| db.database(number).keys().map_while(Result::ok).count();
        let scanned: usize = (0..sessile::DATABASES).map(keys).sum();
        let counted: usize = (0..sessile::DATABASES).map(|number| db.len_of(number)).sum();
        if !self.sim.is_down() {
            assert!(scanned <= 100 && scanned == counted, "{scanned} {counted}");
        }
        Ok(())
    }

    /// The disk is gone, or the process: opens again, and finds out which of the states that there may be it is.
    fn reopen(&mut self, crash: bool) {
        trace(|| format!("reopen, crash: {crash}"));
        self.db = None;
        if crash {
            self.sim.crash();
        } else {
            self.sim.kill();
        }
        self.sim.clear_faults();
        self.crashed = true;
        self.open();
        let wrong = self.db.as_ref().expect("open").audit_sessions().expect("readable");
        assert_eq!(wrong, Vec::<String>::new());
        for one in self.history.iter_mut().flat_map(|model| &mut model.sessions) {
            one.crash();
        }
        let seen = self.observe();
        let now_ms = self.now_ms();
        let mut reasons = Vec::new();
        let db = self.db.clone().expect("open");
        let policies: Vec<_> = CLASSES.iter().map(|class| db.session_policy(class)).collect();
        let (mut told, mut cursor) = (Vec::new(), self.cursor);
        loop {
            let page = db.session_events(cursor, usize::MAX).expect("readable");
            if page.events.is_empty() {
                break;
            }
            told.extend(page.events.iter().map(|one| (one.event.kind, one.event.at_ms)));
            cursor = Some(page.cursor);
        }
        told.retain(|(kind, _)| *kind != EventKind::Expired);
        let number = self.read.iter().filter(|read| read.kind != EventKind::Expired).count();
        let there = There { seen: &seen, policies: &policies, told: &told, read: number };
        let mut fitting = Vec::new();
        for (at, model) in self.history.iter().enumerate().rev() {
            match fits(model, &there, now_ms) {
                Ok(()) => fitting.push(at),
                Err(reason) => reasons.push(reason),
            }
        }
        let Some(&at) = fitting.first() else {
            panic!("what is there after a crash was never there before; from the latest on: {reasons:#?}")
        };
        trace(|| format!("it is state {at} of {}", self.history.len()));
        self.model = self.history[at].clone();
        // States that differ only in sessions that are dead by now can't be told apart: such a one has the deadline that it had in one of them.
        for model in fitting.iter().map(|&at| &self.history[at]) {
            for (one, other) in self.model.sessions.iter_mut().zip(&model.sessions) {
                if seen[one.token].is_none() && one.handle == other.handle {
                    one.deadline_ms.0 = one.deadline_ms.0.min(other.deadline_ms.0);
                    one.deadline_ms.1 = one.deadline_ms.1.max(other.deadline_ms.1);
                }
            }
        }
        // From here on the deadlines are known.
        for one in &mut self.model.sessions {
            if let Some(seen) = &seen[one.token] {
                one.deadline_ms = (seen.deadline_ms, seen.deadline_ms);
                one.seen_ms = seen.seen_ms;
            } else if !one.ended {
                // Dead, and not yet told of.
                one.deadline_ms.1 = one.deadline_ms.1.min(now_ms);
            }
        }
        self.history = vec![self.model.clone()];
    }

    /// What each token stands for.
    fn observe(&mut self) -> Vec<Option<Seen>> {
        let digests: Vec<_> = self.tokens.iter().map(|token| token.digest).collect();
        let mut all = Vec::new();
        for digest in digests {
            let seen = self.run(Access::Read, |txn| {
                Ok(sessions::get(txn, &digest, false)?.map(|session| {
                    let mut fields = BTreeMap::new();
                    session.for_each_field(&mut |name, value| {
                        fields.insert(name.to_vec(), value.to_vec());
                    });
                    Seen {
                        handle: session.handle(),
                        class: session.class().to_string(),
                        version: session.version(),
                        fence: session.fence(),
                        seen_ms: session.seen_ms(),
                        deadline_ms: session.deadline_ms().unwrap_or(NEVER),
                        fields,
                    }
                }))
            });
            all.push(seen.expect("the disk is there").expect("readable"));
        }
        all
    }

    fn do_something(&mut self) -> Outcome<()> {
        match self.below(100) {
            0..18 => self.create(),
            18..45 => self.change(),
            45..53 => self.rotate(),
            53..60 => self.end(),
            60..65 => self.policy(),
            65..70 => self.look(),
            70..76 => self.consume(),
            76..84 => self.step(),
            84..87 => self.checkpoint(),
            87..91 => self.ordinary(),
            91..93 => self.flush(),
            _ => {
                let ms = [1, 500, 2_000, 10_000, 60_000, 299_000, 1_000_000][self.below(7)];
                self.clock.advance_ms(ms);
                Ok(())
            }
        }
    }
}

/// What is seen of a session.
#[derive(Clone, Debug)]
struct Seen {
    handle: Handle,
    class: String,
    version: u64,
    fence: u64,
    seen_ms: u64,
    deadline_ms: u64,
    fields: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What is there after a crash.
#[derive(Clone, Copy)]
struct There<'a> {
    seen: &'a [Option<Seen>],
    policies: &'a [Option<Policy>],
    /// What was told of behind the cursor, but for deaths.
    told: &'a [(EventKind, u64)],
    /// How many of that were read before.
    read: usize,
}

/// Whether what is there is what a model says.
fn fits(model: &Model, there: &There<'_>, now_ms: u64) -> Result<(), String> {
    let There { seen, policies, told, read } = *there;
    for (number, policy) in policies.iter().enumerate() {
        if *policy != model.policies.get(&number).copied() {
            return Err(format!("the policy of {} is {policy:?}", CLASSES[number]));
        }
    }
    let expected: Option<Vec<_>> =
        model.events.get(read..).map(|events| events.iter().map(|one| (one.kind, one.at_ms)).collect());
    if expected.as_deref() != Some(told) {
        return Err(format!("the events are {told:?}, not {expected:?}"));
    }
    let mut known = vec![false; seen.len()];
    for (at, one) in model.sessions.iter().enumerate() {
        let must_live = !one.ended && one.deadline_ms.0 > now_ms;
        let may_live = !one.ended && one.deadline_ms.1 > now_ms;
        known[one.token] = true;
        match &seen[one.token] {
            None if must_live => return Err(format!("session {at} is gone")),
            None => {}
            Some(_) if !may_live => return Err(format!("session {at} has come back")),
            Some(seen) => {
                if (seen.handle, seen.version, seen.fence) != (one.handle, one.version, one.fence)
                    || seen.fields != one.fields
                    || seen.class != CLASSES[one.class]
                {
                    return Err(format!("session {at} is another"));
                }
                if !(one.deadline_ms.0..=one.deadline_ms.1).contains(&seen.deadline_ms) {
                    return Err(format!(
                        "session {at} dies at {}, not {:?}",
                        seen.deadline_ms, one.deadline_ms
                    ));
                }
            }
        }
        for had in &one.old {
            known[had.token] = true;
            let in_grace = now_ms < had.grace_until_ms;
            match &seen[had.token] {
                None if must_live && in_grace => {
                    return Err(format!("an old token of session {at} is unknown"));
                }
                Some(_) if !may_live || !in_grace => {
                    return Err(format!("an old token of session {at} is good"));
                }
                _ => {}
            }
        }
    }
    match seen.iter().zip(&known).position(|(seen, known)| seen.is_some() && !known) {
        Some(token) => Err(format!("token {token} is of a session that was not made")),
        None => Ok(()),
    }
}

#[test]
fn sessions_are_what_the_model_says_whatever_crashes() {
    for_each_seed(60, |seed| {
        let mut world = World::new(seed);
        let operations = 150 + world.below(250);
        for _ in 0..operations {
            if world.one_in(60) {
                let calls = world.rng.below(60);
                trace(|| format!("the disk fails after {calls} calls"));
                world.sim.crash_after(calls);
            }
            let done = world.do_something();
            if done.is_err() || world.sim.is_down() {
                world.reopen(true);
            } else if world.one_in(40) {
                let crash = world.one_in(2);
                world.reopen(crash);
            }
        }
        // Everything dies at last, and is told of, but for what has no limit.
        world.sim.clear_faults();
        if world.sim.is_down() {
            world.reopen(true);
        }
        world.consume().expect("the disk is there");
        world.look().expect("the disk is there");
        world.clock.advance_ms(40 * 24 * 3_600_000);
        world.reap().expect("the disk is there");
        world.consume().expect("the disk is there");
        let now_ms = world.now_ms();
        assert!(world.model.sessions.iter().all(|one| one.ended || one.deadline_ms.0 > now_ms));
        let told = world.read.iter().filter(|read| read.kind != EventKind::Expired).count();
        assert_eq!(told, world.model.events.len(), "everything was told of");
        while world.db.as_ref().expect("open").step().expect("steps") == Duration::ZERO {}
        assert_eq!(
            world.db.as_ref().expect("open").audit_sessions().expect("readable"),
            Vec::<String>::new()
        );
        search_for_tokens(&world);
    });
}

/// No file of the directory holds a token, in bytes or in characters.
fn search_for_tokens(world: &World) {
    let db = world.db.as_ref().expect("open");
    db.flush().expect("flushed");
    let dir = Path::new(DIR);
    let mut files = 0;
    let mut secrets: HashSet<[u8; 16]> = HashSet::new();
    for token in &world.tokens {
        let (text, raw) = (token.text.as_bytes(), &token.raw[..]);
        for part in [text, raw, &text[16..], &raw[16..]] {
            secrets.extend(part.first_chunk::<16>());
        }
    }
    for name in world.sim.list(dir).expect("listed") {
        let path = dir.join(&name);
        let Ok(file) = world.sim.open(&path, OpenMode::Read) else { continue };
        let length = file.len().expect("known") as usize;
        let mut bytes = vec![0; length];
        file.read_at(&mut bytes, 0).expect("read");
        files += 1;
        let found = bytes.array_windows::<16>().any(|window| secrets.contains(window));
        assert!(!found, "a token is in {}", path.display());
    }
    assert!(files > 2);
}

/// A token in base64url.
fn encoded(raw: &[u8; 32]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |at: usize| raw.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let character = |at: usize| (0..6).fold(0, |value, of| value << 1 | usize::from(bit(at * 6 + of)));
    (0..43).map(|at| char::from(alphabet[character(at)])).collect()
}
