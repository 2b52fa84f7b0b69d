//! What the commands mean, in the plainest form: a map of keys, changed by one request after the other.
//!
//! It knows nothing of disks, of logs, or of what is in memory. Nothing is ever taken out of it because its time is up: a dead key or field
//! stays until somebody writes over it, since after a power cut with a clock set back it may be alive once more; whoever looks, looks with a
//! time. A state is cheap to keep: keys are shared between it and those before it.

mod collections;
mod hash;
mod stream;
mod string;

pub use stream::{Group, Pending, Stream, StreamKey};

use crate::wire::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// The deadline of what never dies.
pub const NEVER: u64 = u64::MAX;

/// A key: number of the database, and bytes.
pub type Id = (u8, Vec<u8>);

/// The fields of a hash: value and deadline.
pub type Fields = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A string.
    String(Vec<u8>),
    /// A hash.
    Hash(Fields),
    /// A list.
    List(VecDeque<Vec<u8>>),
    /// A set.
    Set(BTreeSet<Vec<u8>>),
    /// A sorted set; its scores are whole numbers.
    SortedSet(BTreeMap<Vec<u8>, i64>),
    /// A stream.
    Stream(Stream),
}

/// A key's content and deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it holds.
    pub content: Content,
    /// When it dies, ms since the epoch, or [`NEVER`].
    pub deadline_ms: u64,
}

impl Item {
    /// When all of it is dead: a hash dies with its last field.
    pub fn dies_ms(&self) -> u64 {
        match &self.content {
            Content::Hash(fields) => {
                self.deadline_ms.min(fields.values().map(|field| field.1).max().unwrap_or(0))
            }
            _ => self.deadline_ms,
        }
    }
}

/// All keys of all databases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// By database and key.
    pub keys: BTreeMap<Id, Rc<Item>>,
}

impl World {
    /// A key that is alive.
    pub fn live(&self, id: &Id, now_ms: u64) -> Option<&Rc<Item>> {
        self.keys.get(id).filter(|item| item.dies_ms() > now_ms)
    }
}

/// The reply to a command on a key of another kind.
struct WrongKind;

type Answer = Result<Value, WrongKind>;

/// One request being applied.
pub struct Turn<'a> {
    /// What it changes.
    pub world: &'a mut World,
    /// The client's database.
    pub database: u8,
    /// When it is executed, ms since the epoch.
    pub now_ms: u64,
    /// What the server has answered: where it may choose (`SPOP`, `XADD *`), that is what it chose.
    pub hint: &'a Value,
}

impl Turn<'_> {
    /// Applies a request; what must be answered. Where the order of a reply is not promised, it is that of the hint.
    pub fn apply(&mut self, args: &[Vec<u8>]) -> Value {
        self.run(args).unwrap_or_else(|WrongKind| Value::error("WRONGTYPE"))
    }

    fn run(&mut self, args: &[Vec<u8>]) -> Answer {
        let name = args.first().map(|name| String::from_utf8_lossy(name).to_uppercase()).unwrap_or_default();
        let done = self
            .string(&name, args)
            .or_else(|| self.hash(&name, args))
            .or_else(|| self.collection(&name, args))
            .or_else(|| self.stream(&name, args))
            .or_else(|| self.generic(&name, args));
        done.unwrap_or_else(|| panic!("the model knows no {name}: a mistake of the simulator"))
    }

    fn id(&self, key: &[u8]) -> Id {
        (self.database, key.to_vec())
    }

    fn item(&self, key: &[u8]) -> Option<&Rc<Item>> {
        self.world.live(&self.id(key), self.now_ms)
    }

    fn put(&mut self, key: &[u8], content: Content, deadline_ms: u64) {
        let id = self.id(key);
        self.world.keys.insert(id, Rc::new(Item { content, deadline_ms }));
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        let there = self.item(key).is_some();
        if there {
            let id = self.id(key);
            self.world.keys.remove(&id);
        }
        there
    }

    /// A key's item to be changed, made of `new` if there is none.
    fn item_mut(&mut self, key: &[u8], new: Content) -> &mut Item {
        let id = self.id(key);
        if self.item(key).is_none() {
            self.put(key, new, NEVER);
        }
        let item = self.world.keys.get_mut(&id).expect("it is there, or was just put there");
        Rc::make_mut(item)
    }

    /// Takes a key away that has nothing left.
    fn sweep(&mut self, key: &[u8]) {
        let id = self.id(key);
        let is_empty = self.world.keys.get(&id).is_some_and(|item| match &item.content {
            Content::Hash(fields) => fields.is_empty(),
            Content::List(elements) => elements.is_empty(),
            Content::Set(members) => members.is_empty(),
            Content::SortedSet(members) => members.is_empty(),
            Content::String(_) | Content::Stream(_) => false,
        });
        if is_empty {
            self.world.keys.remove(&id);
        }
    }

    fn set_deadline(&mut self, key: &[u8], deadline_ms: u64) -> bool {
        if self.item(key).is_none() {
            return false;
        }
        if deadline_ms <= self.now_ms {
            return self.remove(key);
        }
        self.item_mut(key, Content::String(Vec::new())).deadline_ms = deadline_ms;
        true
    }

    fn generic(&mut self, name: &str, args: &[Vec<u8>]) -> Option<Answer> {
        let count = |is: bool| Value::Integer(i64::from(is));
        let value = match (name, args) {
            ("DEL" | "UNLINK", [_, keys @ ..]) => {
                Value::count(keys.iter().filter(|key| self.remove(key)).count())
            }
            ("EXISTS", [_, key]) => count(self.item(key).is_some()),
            ("TYPE", [_, key]) => Value::Simple(
                match self.item(key).map(|item| &item.content) {
                    None => "none",
                    Some(Content::String(_)) => "string",
                    Some(Content::Hash(_)) => "hash",
                    Some(Content::List(_)) => "list",
                    Some(Content::Set(_)) => "set",
                    Some(Content::SortedSet(_)) => "zset",
                    Some(Content::Stream(_)) => "stream",
                }
                .into(),
            ),
            ("PEXPIRE", [_, key, ms]) => count(self.set_deadline(key, after(self.now_ms, ms))),
            ("PEXPIREAT", [_, key, at]) => count(self.set_deadline(key, number(at).max(0) as u64)),
            ("PERSIST", [_, key]) => {
                let timed = self.item(key).is_some_and(|item| item.deadline_ms != NEVER);
                count(timed && self.set_deadline(key, NEVER))
            }
            ("PEXPIRETIME", [_, key]) => Value::Integer(match self.item(key) {
                None => -2,
                Some(item) if item.deadline_ms == NEVER => -1,
                Some(item) => item.deadline_ms as i64,
            }),
            ("RENAME", [_, from, to]) => match self.item(from).cloned() {
                None => Value::error("ERR no such key"),
                Some(item) => {
                    let (from, to) = (self.id(from), self.id(to));
                    self.world.keys.remove(&from);
                    self.world.keys.insert(to, item);
                    Value::ok()
                }
            },
            ("COPY", [_, from, to]) => match self.item(from).cloned() {
                _ if from == to => Value::error("ERR"),
                Some(item) if self.item(to).is_none() => {
                    let to = self.id(to);
                    self.world.keys.insert(to, item);
                    count(true)
                }
                _ => count(false),
            },
            ("FLUSHDB", _) => {
                let database = self.database;
                self.world.keys.retain(|id, _| id.0 != database);
                Value::ok()
            }
            ("FLUSHALL", _) => {
                self.world.keys.clear();
                Value::ok()
            }
            ("SWAPDB", [_, one, other]) => {
                let (one, other) = (number(one) as u8, number(other) as u8);
                let swapped = |database: u8| match database {
                    database if database == one => other,
                    database if database == other => one,
                    database => database,
                };
                let keys = std::mem::take(&mut self.world.keys);
                self.world.keys = keys
                    .into_iter()
                    .map(|((database, key), item)| ((swapped(database), key), item))
                    .collect();
                Value::ok()
            }
            _ => return None,
        };
        Some(Ok(value))
    }
}

/// A number that the simulator wrote itself.
fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The moment so many ms from now.
fn after(now_ms: u64, ms: &[u8]) -> u64 {
    now_ms.saturating_add_signed(number(ms))
}

/// A reply whose order is free: as it was given if it is the same otherwise.
fn in_any_order(mut expected: Vec<Value>, hint: &Value) -> Value {
    let mut given = hint.elements().to_vec();
    given.sort();
    expected.sort();
    if given == expected { hint.clone() } else { Value::Array(expected) }
}
