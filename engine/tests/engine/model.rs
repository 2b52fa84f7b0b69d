//! What a database should hold: a sequential model of the operations, and the sequence of commits of which a crash may keep a prefix.

use super::support::{Content, Id, NEVER, Seen};
use sessile::{Expiry, Touch};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A key in the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) content: Rc<Content>,
    /// In ms since the epoch, or [`NEVER`].
    pub(crate) deadline_ms: u64,
    /// How much later the deadline may be after a crash: touches are logged sparsely.
    pub(crate) slack_ms: u64,
    /// 0 for none.
    pub(crate) idle_ms: u64,
    /// [`NEVER`] for none.
    pub(crate) absolute_ms: u64,
    /// When it was reclaimed; 0 if it was not. A later deadline is not in the log then; an earlier one may be, and counts if a crash sets
    /// time back within the second that its mark may take.
    pub(crate) reclaimed_ms: u64,
}

/// Keys and what they hold, the dead ones included that nobody has replaced.
pub(crate) type World = BTreeMap<Id, Item>;

/// What an operation answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Bool(bool),
    Length(usize),
    Value(Option<Vec<u8>>),
    WrongKind,
    Many(Vec<Answer>),
}

/// An operation, on the model and on the database alike.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Set(Id, Vec<u8>, Expiry),
    SetNew(Id, Vec<u8>, Expiry),
    GetAndTouch(Id, Touch),
    Touch(Id, Touch),
    Delete(Id),
    ExpireAt(Id, Option<u64>),
    HashSet(Id, Vec<u8>, Vec<u8>),
    HashRemove(Id, Vec<u8>),
    WriteAt(Id, usize, Vec<u8>),
    Rename(Id, Id),
    Copy(Id, Id),
    Clear(Option<u8>),
    /// All of it, or none.
    Transaction(Vec<Operation>),
    /// The same, whose keys are locked one by one as it goes.
    Extended(Vec<Operation>),
    /// The same, on copies.
    Overlay(Vec<Operation>),
    /// Done and taken back: nothing.
    Revoked(Vec<Operation>),
    /// Two databases change places.
    Swap(u8, u8),
}

fn ms(duration: Duration) -> u64 {
    duration.as_nanos().div_ceil(1_000_000) as u64
}

impl Operation {
    /// The keys concerned.
    pub(crate) fn ids(&self) -> Vec<Id> {
        use Operation::*;
        match self {
            Set(id, ..)
            | SetNew(id, ..)
            | GetAndTouch(id, _)
            | Touch(id, _)
            | Delete(id)
            | ExpireAt(id, _) => {
                vec![id.clone()]
            }
            HashSet(id, ..) | HashRemove(id, _) | WriteAt(id, ..) => vec![id.clone()],
            Rename(from, to) | Copy(from, to) => vec![from.clone(), to.clone()],
            Clear(_) | Swap(..) => Vec::new(),
            Transaction(all) | Extended(all) | Overlay(all) | Revoked(all) => {
                all.iter().flat_map(Operation::ids).collect()
            }
        }
    }

    /// What it does to the model at `now_ms`.
    pub(crate) fn apply(&self, world: &mut World, now_ms: u64) -> Answer {
        use Operation::*;
        match self {
            Set(id, bytes, expiry) => {
                set(world, id, bytes, *expiry, now_ms);
                Answer::Done
            }
            SetNew(id, bytes, expiry) => {
                let new = live(world, id, now_ms).is_none();
                if new {
                    set(world, id, bytes, *expiry, now_ms);
                }
                Answer::Bool(new)
            }
            GetAndTouch(id, by) => match live(world, id, now_ms).map(|item| Rc::clone(&item.content)) {
                None => Answer::Value(None),
                Some(content) => match &*content {
                    Content::Hash(_) => Answer::WrongKind,
                    Content::String(bytes) => {
                        touch(world, id, *by, now_ms);
                        Answer::Value(Some(bytes.clone()))
                    }
                },
            },
            Touch(id, by) => Answer::Bool(touch(world, id, *by, now_ms)),
            Delete(id) => {
                let there = live(world, id, now_ms).is_some();
                if there {
                    world.remove(id);
                }
                Answer::Bool(there)
            }
            ExpireAt(id, at) => {
                let there = live(world, id, now_ms).is_some();
                if there {
                    move_deadline(world, id, at.unwrap_or(NEVER), 0, now_ms);
                }
                Answer::Bool(there)
            }
            HashSet(id, field, value) => {
                let item = live_or(world, id, now_ms, || Content::Hash(BTreeMap::new()));
                match Rc::make_mut(&mut item.content) {
                    Content::Hash(fields) => {
                        Answer::Bool(fields.insert(field.clone(), value.clone()).is_none())
                    }
                    Content::String(_) => Answer::WrongKind,
                }
            }
            HashRemove(id, field) => {
                if live(world, id, now_ms).is_none() {
                    return Answer::Bool(false);
                }
                let item = live_or(world, id, now_ms, || unreachable!("it lives"));
                match Rc::make_mut(&mut item.content) {
                    Content::Hash(fields) => {
                        let there = fields.remove(field).is_some();
                        if fields.is_empty() {
                            world.remove(id);
                        }
                        Answer::Bool(there)
                    }
                    Content::String(_) => Answer::WrongKind,
                }
            }
            WriteAt(id, offset, bytes) => {
                let item = live_or(world, id, now_ms, || Content::String(Vec::new()));
                match Rc::make_mut(&mut item.content) {
                    Content::String(value) => {
                        let end = offset + bytes.len();
                        value.resize(value.len().max(end), 0);
                        value[*offset..end].copy_from_slice(bytes);
                        Answer::Length(value.len())
                    }
                    Content::Hash(_) => Answer::WrongKind,
                }
            }
            Rename(from, to) => {
                let there = copy(world, from, to, now_ms);
                if there && from != to {
                    world.remove(from);
                }
                Answer::Bool(there)
            }
            Copy(from, to) => Answer::Bool(copy(world, from, to, now_ms)),
            Clear(database) => {
                world.retain(|id, _| database.is_some_and(|database| database != id.0));
                Answer::Done
            }
            Revoked(_) => Answer::Done,
            Swap(one, other) => {
                let old = std::mem::take(world);
                world.extend(old.into_iter().map(|((database, key), item)| {
                    let database = match database {
                        database if database == *one => *other,
                        database if database == *other => *one,
                        database => database,
                    };
                    ((database, key), item)
                }));
                Answer::Done
            }
            Transaction(all) | Extended(all) | Overlay(all) => {
                Answer::Many(all.iter().map(|operation| operation.apply(world, now_ms)).collect())
            }
        }
    }
}

/// The item, if it lives.
pub(crate) fn live<'a>(world: &'a World, id: &Id, now_ms: u64) -> Option<&'a Item> {
    world.get(id).filter(|item| item.deadline_ms > now_ms)
}

fn live_or<'a>(
    world: &'a mut World,
    id: &Id,
    now_ms: u64,
    content: impl FnOnce() -> Content,
) -> &'a mut Item {
    if live(world, id, now_ms).is_none() {
        let item = Item {
            content: Rc::new(content()),
            deadline_ms: NEVER,
            slack_ms: 0,
            idle_ms: 0,
            absolute_ms: NEVER,
            reclaimed_ms: 0,
        };
        world.insert(id.clone(), item);
    }
    world.get_mut(id).expect("just looked or inserted")
}

fn set(world: &mut World, id: &Id, bytes: &[u8], expiry: Expiry, now_ms: u64) {
    let mut item = Item {
        content: Rc::new(Content::String(bytes.to_vec())),
        deadline_ms: NEVER,
        slack_ms: 0,
        idle_ms: 0,
        absolute_ms: NEVER,
        reclaimed_ms: 0,
    };
    match expiry {
        Expiry::After(after) => item.deadline_ms = now_ms + ms(after),
        Expiry::AtMs(at) => item.deadline_ms = at,
        Expiry::Keep => {
            if let Some(old) = live(world, id, now_ms) {
                item = Item { content: item.content, ..old.clone() };
            }
        }
        Expiry::Idle { idle, absolute } => {
            item.idle_ms = ms(idle);
            item.absolute_ms = absolute.map_or(NEVER, |absolute| now_ms + ms(absolute));
            item.deadline_ms = item.absolute_ms.min(now_ms + item.idle_ms);
            item.slack_ms = item.idle_ms / 20;
        }
        _ => {}
    }
    if item.deadline_ms > now_ms {
        world.insert(id.clone(), item);
    } else if live(world, id, now_ms).is_some() {
        world.remove(id);
    }
}

fn touch(world: &mut World, id: &Id, touch: Touch, now_ms: u64) -> bool {
    let Some(item) = live(world, id, now_ms) else { return false };
    let idle_ms = match touch {
        Touch::For(idle) => ms(idle),
        _ if item.idle_ms != 0 => item.idle_ms,
        _ => return true,
    };
    move_deadline(world, id, now_ms + idle_ms, idle_ms / 20, now_ms);
    true
}

fn move_deadline(world: &mut World, id: &Id, deadline_ms: u64, slack_ms: u64, now_ms: u64) {
    let item = world.get_mut(id).expect("callers have looked");
    item.deadline_ms = deadline_ms.min(item.absolute_ms);
    item.slack_ms = slack_ms;
    if item.deadline_ms <= now_ms {
        world.remove(id);
    }
}

fn copy(world: &mut World, from: &Id, to: &Id, now_ms: u64) -> bool {
    let Some(item) = live(world, from, now_ms).cloned() else { return false };
    world.insert(to.clone(), item);
    true
}

/// One commit: what it changed, and what is known about how safe it is.
struct Commit {
    changes: Vec<(Id, Option<Item>)>,
    /// Where the log ended after it.
    lsn: u64,
    /// The engine's time of it if it went into the log, else 0.
    logged_at_ms: u64,
    acknowledged: bool,
    /// When the log was first seen to have written it, on the engine's clock.
    written_at_ms: u64,
    durable: bool,
    /// It was several records, each of which takes a key away.
    in_parts: bool,
}

/// The model with its commits since the last time it was read back.
#[derive(Default)]
pub(crate) struct Model {
    /// As the program sees it.
    pub(crate) world: World,
    /// As it was read back last; durable.
    base: World,
    commits: Vec<Commit>,
    /// The engine's time when it was read back last.
    pub(crate) opened_ms: u64,
    /// Once the power was cut while nothing had been read back again, the weaker promise counts.
    power_cut: bool,
}

impl Model {
    /// Makes `after` the world, as one commit.
    pub(crate) fn commit(&mut self, after: World, lsn: u64, logged_at_ms: u64, acknowledged: bool) {
        let gone = self.world.keys().filter(|id| !after.contains_key(*id)).map(|id| (id.clone(), None));
        let mut changes: Vec<_> = gone.collect();
        for (id, item) in &after {
            if self.world.get(id) != Some(item) {
                changes.push((id.clone(), Some(item.clone())));
            }
        }
        self.world = after;
        self.commits.push(Commit {
            changes,
            lsn,
            logged_at_ms,
            acknowledged,
            written_at_ms: u64::MAX,
            durable: false,
            in_parts: false,
        });
    }

    /// The database has deleted keys because memory was full, each by itself.
    pub(crate) fn evict(&mut self, gone: &[Id], lsn: u64, now_ms: u64) {
        let mut after = self.world.clone();
        after.retain(|id, _| !gone.contains(id));
        self.commit(after, lsn, now_ms, false);
        self.commits.last_mut().expect("just made").in_parts = true;
    }

    /// Notes what the log says about itself.
    pub(crate) fn note(&mut self, written: u64, durable: u64, now_ms: u64) {
        for commit in &mut self.commits {
            if commit.lsn <= written {
                commit.written_at_ms = commit.written_at_ms.min(now_ms);
            }
            commit.acknowledged |= commit.lsn <= written;
            commit.durable |= commit.lsn <= durable;
        }
    }

    /// A flush, or durability `Always`: everything so far is promised to survive a power cut.
    pub(crate) fn all_durable(&mut self) {
        for commit in &mut self.commits {
            commit.acknowledged = true;
            commit.durable = true;
        }
    }

    /// The end of the last commit that was written at `before_ms` of the engine's time.
    pub(crate) fn written_lsn_at(&self, before_ms: u64) -> u64 {
        let old = self.commits.iter().filter(|commit| {
            let logged = commit.logged_at_ms > 0 && !commit.changes.is_empty();
            logged && commit.written_at_ms <= before_ms
        });
        old.map(|commit| commit.lsn).max().unwrap_or(0)
    }

    pub(crate) fn power_was_cut(&mut self) {
        self.power_cut = true;
    }

    /// How many commits must survive.
    fn promised(&self) -> usize {
        let safe = |commit: &Commit| if self.power_cut { commit.durable } else { commit.acknowledged };
        self.commits.iter().rposition(safe).map_or(0, |last| last + 1)
    }

    /// Compares with what was read back, and goes on from there.
    pub(crate) fn read_back(&mut self, seen: &BTreeMap<Id, Seen>, now_ms: u64) {
        let promised = self.promised();
        let latest = self.commits[..promised].iter().map(|commit| commit.logged_at_ms).max();
        let latest = latest.unwrap_or(0).max(self.opened_ms);
        assert!(
            now_ms >= latest,
            "time went back to {now_ms}, {} ms before what the log has seen",
            latest - now_ms
        );
        let mut world = self.base.clone();
        let mut last = None;
        let mut found = false;
        for number in 0..=self.commits.len() {
            if number > 0 {
                for (id, item) in &self.commits[number - 1].changes {
                    match item {
                        Some(item) => drop(world.insert(id.clone(), item.clone())),
                        None => drop(world.remove(id)),
                    }
                }
            }
            if number < promised {
                continue;
            }
            // Some of the keys that the next commit takes away.
            let next = self.commits.get(number).filter(|commit| commit.in_parts);
            let world = match next {
                Some(next) => {
                    let gone = |id: &Id| next.changes.iter().any(|(changed, _)| changed == id);
                    let there = |id: &Id| !gone(id) || seen.contains_key(id);
                    world
                        .iter()
                        .filter(|(id, _)| there(id))
                        .map(|(id, item)| (id.clone(), item.clone()))
                        .collect()
                }
                None => world.clone(),
            };
            match matches(&world, seen, now_ms) {
                Ok(()) => {
                    found = true;
                    break;
                }
                Err(why) => {
                    last = Some(format!("{}\n  after {number} commits: {why}", last.unwrap_or_default()));
                }
            }
        }
        assert!(
            found,
            "what was read back at {now_ms} is no state that it may be ({promised} of {} commits were promised, power cut: {}):{}",
            self.commits.len(),
            self.power_cut,
            last.unwrap_or_default()
        );
        let mut next = World::new();
        for (id, seen) in seen {
            let idle_ms = world[id].idle_ms;
            next.insert(
                id.clone(),
                Item {
                    content: Rc::new(seen.content.clone()),
                    deadline_ms: seen.deadline_ms,
                    slack_ms: 0,
                    idle_ms,
                    absolute_ms: seen.absolute_ms,
                    reclaimed_ms: 0,
                },
            );
        }
        *self = Model { base: next.clone(), world: next, opened_ms: now_ms, ..Model::default() };
    }

    /// Compares with what the running database shows: exactly.
    pub(crate) fn compare(&self, seen: &BTreeMap<Id, Seen>, now_ms: u64) {
        let exact: World =
            self.world.iter().map(|(id, item)| (id.clone(), Item { slack_ms: 0, ..item.clone() })).collect();
        if let Err(why) = matches(&exact, seen, now_ms) {
            panic!("the running database differs from the model: {why}");
        }
    }
}

/// Whether `seen` is the world at `now_ms`, up to what touches may be late by.
pub(crate) fn matches(world: &World, seen: &BTreeMap<Id, Seen>, now_ms: u64) -> Result<(), String> {
    for (id, item) in world {
        let name = || format!("{}:{}", id.0, id.1.escape_ascii());
        let Some(seen) = seen.get(id) else {
            if item.deadline_ms > now_ms {
                return Err(format!("{} is lost: {item:?}", name()));
            }
            continue;
        };
        let mut latest_ms =
            item.deadline_ms.saturating_add(item.slack_ms).min(item.absolute_ms.max(item.deadline_ms));
        if item.reclaimed_ms != 0 {
            latest_ms = latest_ms.min(item.reclaimed_ms);
        }
        if *item.content != seen.content {
            return Err(format!("{} holds {:?} instead of {:?}", name(), seen.content, item.content));
        }
        if seen.deadline_ms < item.deadline_ms || seen.deadline_ms > latest_ms {
            return Err(format!(
                "{} dies at {} instead of from {} to {latest_ms}",
                name(),
                seen.deadline_ms,
                item.deadline_ms
            ));
        }
        if item.absolute_ms != seen.absolute_ms {
            return Err(format!(
                "{} has the limit {} instead of {}",
                name(),
                seen.absolute_ms,
                item.absolute_ms
            ));
        }
    }
    match seen.keys().find(|id| !world.contains_key(*id)) {
        Some(id) => Err(format!("{}:{} is there: {:?}", id.0, id.1.escape_ascii(), seen[id])),
        None => Ok(()),
    }
}
