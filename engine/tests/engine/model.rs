//! What a database should hold: a sequential model of the operations, and the sequence of commits of which a crash may keep a prefix.

use super::chat_model;
use super::support::{Content, Id, NEVER, Seen, chat_id};
use sessile::{ChatAppended, ChatError, ChatLimits, ChatSummary, Expiry, ListEnd, NewTurn, Touch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    Chat(Result<ChatAppended, ChatError>),
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
    HashSetUntil(Id, Vec<u8>, Vec<u8>, u64),
    /// A new value, and the deadline that the field had.
    HashUpdate(Id, Vec<u8>, Vec<u8>),
    FieldDeadline(Id, Vec<u8>, Option<u64>),
    HashRemove(Id, Vec<u8>),
    SetAdd(Id, Vec<Vec<u8>>),
    SetRemove(Id, Vec<Vec<u8>>),
    SortedSetAdd(Id, Vec<(f64, Vec<u8>)>),
    SortedSetRemove(Id, Vec<Vec<u8>>),
    /// The members with these ranks.
    SortedSetRemoveRanks(Id, usize, usize),
    WriteAt(Id, usize, Vec<u8>),
    ListPush(Id, ListEnd, Vec<Vec<u8>>),
    ListPop(Id, ListEnd, usize),
    ListSet(Id, usize, Vec<u8>),
    ListInsert(Id, usize, Vec<u8>),
    ListRemove(Id, Vec<u8>, usize, ListEnd),
    /// What is kept: from where on, and how many.
    ListTrim(Id, usize, usize),
    ListMove(Id, ListEnd, Id, ListEnd),
    /// The number of the role, the content, the tokens if given, the number of an id.
    ChatAppend(Id, usize, Vec<u8>, Option<u64>, Option<u64>),
    /// The index, the summary, the numbers of roles that are kept.
    ChatCompact(Id, u64, Vec<u8>, Vec<usize>),
    /// Most tokens, most turns, the numbers of roles that are kept.
    ChatTrim(Id, Option<u64>, Option<u64>, Vec<usize>),
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
            HashSet(id, ..)
            | HashSetUntil(id, ..)
            | HashUpdate(id, ..)
            | FieldDeadline(id, ..)
            | HashRemove(id, _)
            | WriteAt(id, ..) => vec![id.clone()],
            SetAdd(id, _) | SetRemove(id, _) => vec![id.clone()],
            SortedSetAdd(id, _) | SortedSetRemove(id, _) | SortedSetRemoveRanks(id, ..) => vec![id.clone()],
            ListPush(id, ..) | ListPop(id, ..) | ListSet(id, ..) | ListInsert(id, ..) => vec![id.clone()],
            ListRemove(id, ..) | ListTrim(id, ..) => vec![id.clone()],
            ChatAppend(id, ..) | ChatCompact(id, ..) | ChatTrim(id, ..) => vec![id.clone()],
            Rename(from, to) | Copy(from, to) | ListMove(from, _, to, _) => vec![from.clone(), to.clone()],
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
                    Content::String(bytes) => {
                        touch(world, id, *by, now_ms);
                        Answer::Value(Some(bytes.clone()))
                    }
                    _ => Answer::WrongKind,
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
            HashSet(id, field, value) => hash_set(world, id, field, value, NEVER, now_ms),
            HashSetUntil(id, field, value, until_ms) => hash_set(world, id, field, value, *until_ms, now_ms),
            HashUpdate(id, field, value) => {
                let until_ms = live_field(world, id, field, now_ms).unwrap_or(NEVER);
                hash_set(world, id, field, value, until_ms, now_ms)
            }
            FieldDeadline(id, field, until_ms) => {
                if live(world, id, now_ms).is_some_and(|item| !matches!(*item.content, Content::Hash(_))) {
                    return Answer::WrongKind;
                }
                let there = live_field(world, id, field, now_ms).is_some();
                let until_ms = until_ms.unwrap_or(NEVER);
                if there && until_ms <= now_ms {
                    return HashRemove(id.clone(), field.clone()).apply(world, now_ms);
                }
                if there
                    && let Content::Hash(fields) =
                        Rc::make_mut(&mut world.get_mut(id).expect("it lives").content)
                {
                    fields.get_mut(field).expect("it lives").1 = until_ms;
                }
                Answer::Bool(there)
            }
            HashRemove(id, field) => {
                if live(world, id, now_ms).is_none() {
                    return Answer::Bool(false);
                }
                let item = live_or(world, id, now_ms, || unreachable!("it lives"));
                match Rc::make_mut(&mut item.content) {
                    Content::Hash(fields) => {
                        // A dead one stays: a crash may set time back by a little.
                        let there = fields.get(field).is_some_and(|(_, until_ms)| *until_ms > now_ms);
                        if there {
                            fields.remove(field);
                        }
                        if !fields.values().any(|(_, until_ms)| *until_ms > now_ms) {
                            world.remove(id);
                        }
                        Answer::Bool(there)
                    }
                    _ => Answer::WrongKind,
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
                    _ => Answer::WrongKind,
                }
            }
            SetAdd(id, members) => {
                let item = live_or(world, id, now_ms, || Content::Set(BTreeSet::new()));
                match Rc::make_mut(&mut item.content) {
                    Content::Set(all) => {
                        let before = all.len();
                        all.extend(members.iter().cloned());
                        Answer::Length(all.len() - before)
                    }
                    _ => Answer::WrongKind,
                }
            }
            SetRemove(id, members) => {
                if live(world, id, now_ms).is_none() {
                    return Answer::Length(0);
                }
                let item = live_or(world, id, now_ms, || unreachable!("it lives"));
                match Rc::make_mut(&mut item.content) {
                    Content::Set(all) => {
                        let before = all.len();
                        all.retain(|member| !members.contains(member));
                        let removed = before - all.len();
                        if all.is_empty() {
                            world.remove(id);
                        }
                        Answer::Length(removed)
                    }
                    _ => Answer::WrongKind,
                }
            }
            ListPush(id, end, elements) => {
                let item = live_or(world, id, now_ms, || Content::List(VecDeque::new()));
                match Rc::make_mut(&mut item.content) {
                    Content::List(list) => {
                        push(list, *end, elements);
                        Answer::Length(list.len())
                    }
                    _ => Answer::WrongKind,
                }
            }
            ListPop(id, end, count) => change_list(world, id, now_ms, |list| {
                (0..*count).for_each(|_| drop(pop(list, *end)));
                list.len()
            }),
            ListSet(id, index, element) => change_list(world, id, now_ms, |list| {
                let place = list.get_mut(*index);
                usize::from(place.map(|old| *old = element.clone()).is_some())
            }),
            ListInsert(id, index, element) => change_list(world, id, now_ms, |list| {
                let there = *index <= list.len();
                if there {
                    list.insert(*index, element.clone());
                }
                usize::from(there)
            }),
            ListRemove(id, element, count, from) => change_list(world, id, now_ms, |list| {
                let (before, mut left) = (list.len(), *count);
                let mut kept = VecDeque::new();
                while let Some(other) = pop(list, *from) {
                    if left > 0 && other == *element {
                        left -= 1;
                    } else if *from == ListEnd::Front {
                        kept.push_back(other);
                    } else {
                        kept.push_front(other);
                    }
                }
                *list = kept;
                before - list.len()
            }),
            ListTrim(id, start, count) => change_list(world, id, now_ms, |list| {
                *list = list.iter().skip(*start).take(*count).cloned().collect();
                list.len()
            }),
            ListMove(from, take, to, put) => {
                let is_list =
                    |id: &Id| live(world, id, now_ms).map(|item| matches!(&*item.content, Content::List(_)));
                match (is_list(from), is_list(to)) {
                    (None, _) => return Answer::Bool(false),
                    (Some(true), None | Some(true)) => {}
                    _ => return Answer::WrongKind,
                }
                let mut moved = None;
                change_list(world, from, now_ms, |list| {
                    moved = pop(list, *take);
                    // Another deadline for a list that moves its only element onto itself would be another key.
                    if from == to {
                        push(list, *put, &moved.take().into_iter().collect::<Vec<_>>());
                    }
                    0
                });
                if let Some(element) = moved {
                    ListPush(to.clone(), *put, vec![element]).apply(world, now_ms);
                }
                Answer::Bool(true)
            }
            ChatAppend(id, role, content, tokens, name) => {
                let item = live_or(world, id, now_ms, || Content::Chat(chat_model::Model::default()));
                let Content::Chat(chat) = Rc::make_mut(&mut item.content) else { return Answer::WrongKind };
                let name = name.map(chat_id);
                let role = chat_model::ROLES[*role];
                Answer::Chat(Ok(chat.append(&NewTurn {
                    role,
                    content,
                    tokens: *tokens,
                    id: name.as_deref(),
                })))
            }
            ChatCompact(id, upto, content, keep) => {
                let keep = chat_model::roles(keep);
                let summary = ChatSummary { upto: *upto, content, keep: &keep, ..ChatSummary::default() };
                if live(world, id, now_ms).is_none() {
                    return Answer::Chat(chat_model::Model::default().compact(&summary));
                }
                let item = live_or(world, id, now_ms, || unreachable!("it lives"));
                let Content::Chat(chat) = Rc::make_mut(&mut item.content) else { return Answer::WrongKind };
                Answer::Chat(chat.compact(&summary))
            }
            ChatTrim(id, max_tokens, max_turns, keep) => {
                if live(world, id, now_ms).is_none() {
                    return Answer::Length(0);
                }
                let item = live_or(world, id, now_ms, || unreachable!("it lives"));
                let Content::Chat(chat) = Rc::make_mut(&mut item.content) else { return Answer::WrongKind };
                let keep = chat_model::roles(keep);
                let limits = ChatLimits { max_tokens: *max_tokens, max_turns: *max_turns, keep: &keep };
                Answer::Length(chat.trim(&limits).0 as usize)
            }
            SortedSetAdd(id, entries) => {
                let item = live_or(world, id, now_ms, || Content::SortedSet(BTreeMap::new()));
                match Rc::make_mut(&mut item.content) {
                    Content::SortedSet(all) => {
                        let before = all.len();
                        all.extend(entries.iter().map(|(score, member)| (member.clone(), score.to_bits())));
                        Answer::Length(all.len() - before)
                    }
                    _ => Answer::WrongKind,
                }
            }
            SortedSetRemove(id, members) => {
                remove_scored(world, id, now_ms, |_, member| members.iter().any(|other| other == member))
            }
            SortedSetRemoveRanks(id, start, end) => {
                remove_scored(world, id, now_ms, |rank, _| (*start..*end).contains(&rank))
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

/// Removes the members of a sorted set that are `gone`, given their rank; how many.
fn remove_scored(world: &mut World, id: &Id, now_ms: u64, gone: impl Fn(usize, &[u8]) -> bool) -> Answer {
    if live(world, id, now_ms).is_none() {
        return Answer::Length(0);
    }
    let item = live_or(world, id, now_ms, || unreachable!("it lives"));
    let Content::SortedSet(all) = Rc::make_mut(&mut item.content) else { return Answer::WrongKind };
    let mut order: Vec<_> =
        all.iter().map(|(member, score)| (f64::from_bits(*score), member.clone())).collect();
    order.sort_by(|left, right| left.partial_cmp(right).expect("no score is NaN"));
    let order = order.into_iter().enumerate().filter(|(rank, (_, member))| gone(*rank, member));
    let removed = order.filter(|(_, (_, member))| all.remove(member).is_some()).count();
    if all.is_empty() {
        world.remove(id);
    }
    Answer::Length(removed)
}

/// The item, if it lives.
pub(crate) fn live<'a>(world: &'a World, id: &Id, now_ms: u64) -> Option<&'a Item> {
    world.get(id).filter(|item| item.dies_ms() > now_ms)
}

impl Item {
    /// When it is gone: at its deadline, or with its last field.
    pub(crate) fn dies_ms(&self) -> u64 {
        let last_ms = match &*self.content {
            Content::Hash(fields) => fields.values().map(|(_, until_ms)| *until_ms).max().unwrap_or(NEVER),
            _ => NEVER,
        };
        self.deadline_ms.min(last_ms)
    }
}

/// A field's deadline, if it lives.
fn live_field(world: &World, id: &Id, field: &[u8], now_ms: u64) -> Option<u64> {
    match &*live(world, id, now_ms)?.content {
        Content::Hash(fields) => fields.get(field).map(|(_, until_ms)| *until_ms).filter(|&at| at > now_ms),
        _ => None,
    }
}

fn hash_set(world: &mut World, id: &Id, field: &[u8], value: &[u8], until_ms: u64, now_ms: u64) -> Answer {
    if until_ms <= now_ms {
        return match Operation::HashRemove(id.clone(), field.to_vec()).apply(world, now_ms) {
            Answer::Bool(_) => Answer::Bool(false),
            other => other,
        };
    }
    let new = live_field(world, id, field, now_ms).is_none();
    let item = live_or(world, id, now_ms, || Content::Hash(BTreeMap::new()));
    match Rc::make_mut(&mut item.content) {
        Content::Hash(fields) => {
            fields.insert(field.to_vec(), (value.to_vec(), until_ms));
            Answer::Bool(new)
        }
        _ => Answer::WrongKind,
    }
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

fn push(list: &mut VecDeque<Vec<u8>>, end: ListEnd, elements: &[Vec<u8>]) {
    for element in elements {
        match end {
            ListEnd::Front => list.push_front(element.clone()),
            ListEnd::Back => list.push_back(element.clone()),
        }
    }
}

fn pop(list: &mut VecDeque<Vec<u8>>, end: ListEnd) -> Option<Vec<u8>> {
    match end {
        ListEnd::Front => list.pop_front(),
        ListEnd::Back => list.pop_back(),
    }
}

/// Changes a list; what that answers, or 0 if there is none. A list without elements is no key.
fn change_list(
    world: &mut World,
    id: &Id,
    now_ms: u64,
    change: impl FnOnce(&mut VecDeque<Vec<u8>>) -> usize,
) -> Answer {
    if live(world, id, now_ms).is_none() {
        return Answer::Length(0);
    }
    let item = live_or(world, id, now_ms, || unreachable!("it lives"));
    let Content::List(list) = Rc::make_mut(&mut item.content) else { return Answer::WrongKind };
    let answer = change(list);
    if list.is_empty() {
        world.remove(id);
    }
    Answer::Length(answer)
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
    let Some(mut item) = live(world, from, now_ms).cloned() else { return false };
    if from != to
        && let Content::Hash(fields) = Rc::make_mut(&mut item.content)
    {
        fields.retain(|_, (_, until_ms)| *until_ms > now_ms);
    }
    world.insert(to.clone(), item);
    true
}

/// One commit: what it changed, and what is known about how safe it is.
#[derive(Clone)]
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
#[derive(Clone, Default)]
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
            if item.dies_ms() > now_ms {
                return Err(format!("{} is lost: {item:?}", name()));
            }
            continue;
        };
        let mut latest_ms =
            item.deadline_ms.saturating_add(item.slack_ms).min(item.absolute_ms.max(item.deadline_ms));
        // (What was reclaimed with its last field has the deadline that it had.)
        if item.reclaimed_ms >= item.deadline_ms {
            latest_ms = latest_ms.min(item.reclaimed_ms);
        }
        let alive = match &*item.content {
            Content::Hash(fields) => {
                let alive = fields.iter().filter(|(_, (_, until_ms))| *until_ms > now_ms);
                &Content::Hash(alive.map(|(field, value)| (field.clone(), value.clone())).collect())
            }
            other => other,
        };
        if *alive != seen.content {
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
