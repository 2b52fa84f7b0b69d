//! What commands do, told a second time with the plain collections of the standard library: slow, short, and without any of the cleverness
//! that the engine has. Each step draws a command and says what must be answered.

mod hashes;
mod keys;
mod lists;
mod sets;
mod sorted_sets;
mod strings;

use crate::resp::Value;
use sessile::fuzzing::Input;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Bytes.
    String(Vec<u8>),
    /// Fields, their values, and when they die.
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>),
    /// Elements.
    List(VecDeque<Vec<u8>>),
    /// Members.
    Set(BTreeSet<Vec<u8>>),
    /// Members with their scores.
    SortedSet(BTreeMap<Vec<u8>, f64>),
}

/// A key's value and deadline.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The value.
    pub data: Data,
    /// When it dies, in ms since the epoch.
    pub deadline_ms: Option<u64>,
}

/// What must be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// This.
    Exactly(Value),
    /// An array of these, in any order.
    AnyOrder(Vec<Value>),
    /// An array of pairs, in any order.
    AnyOrderPairs(Vec<(Value, Value)>),
    /// This number or a greater one.
    AtLeast(usize),
    /// An error that begins so.
    Error(&'static str),
}

impl Expected {
    /// Whether that is it.
    pub fn is(&self, reply: &Value) -> bool {
        let sorted = |mut items: Vec<Vec<u8>>| {
            items.sort_unstable();
            items
        };
        let show =
            |items: &[Value]| items.iter().map(|item| format!("{item:?}").into_bytes()).collect::<Vec<_>>();
        match (self, reply) {
            (Expected::Exactly(value), reply) => value == reply,
            (Expected::AnyOrder(items), Value::Array(found)) => sorted(show(items)) == sorted(show(found)),
            (Expected::AnyOrderPairs(pairs), Value::Array(found)) => {
                let pairs =
                    pairs.iter().map(|pair| show(&[pair.0.clone(), pair.1.clone()]).concat()).collect();
                found.len().is_multiple_of(2)
                    && sorted(pairs) == sorted(found.chunks(2).map(|pair| show(pair).concat()).collect())
            }
            (Expected::AtLeast(number), Value::Integer(found)) => *found >= *number as i64,
            (Expected::Error(begin), Value::Error(text)) => text.starts_with(begin.as_bytes()),
            _ => false,
        }
    }
}

/// A command and what must come of it.
pub type Step = (Vec<Vec<u8>>, Expected);

/// The value of a key of another kind was asked for.
pub const WRONG_KIND: Expected = Expected::Error("WRONGTYPE");

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Model {
    keys: BTreeMap<Vec<u8>, Entry>,
    /// What time it is, in ms since the epoch.
    pub now_ms: u64,
}

/// Parts of a command.
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$(AsRef::<[u8]>::as_ref(&$arg).to_vec()),*] };
}

fn integer(number: usize) -> Expected {
    Expected::Exactly(Value::Integer(number as i64))
}

fn signed(number: i64) -> Expected {
    Expected::Exactly(Value::Integer(number))
}

fn ok() -> Expected {
    Expected::Exactly(Value::Simple(b"OK".to_vec()))
}

fn null() -> Expected {
    Expected::Exactly(Value::Null)
}

fn bulk(bytes: &[u8]) -> Value {
    Value::Bulk(bytes.to_vec())
}

fn maybe(bytes: Option<&Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, |bytes| bulk(bytes))
}

fn array<'a>(items: impl IntoIterator<Item = &'a Vec<u8>>) -> Expected {
    Expected::Exactly(Value::Array(items.into_iter().map(|item| bulk(item)).collect()))
}

/// The indices that a range of Redis means, where negative ones count from the end; empty if it is.
fn range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let from_start = |at: i64| if at < 0 { at + len } else { at };
    let (start, end) = (from_start(start).max(0), from_start(end).min(len - 1));
    if start > end || start >= len { 0..0 } else { start as usize..end as usize + 1 }
}

fn number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// An index near a collection's ends.
fn index(input: &mut Input<'_>) -> i64 {
    match input.byte() {
        near @ 0..=127 => i64::from(near as i8) - 20,
        far => (i64::from(far) - 190) * 7,
    }
}

/// A key, mostly one that such commands use.
fn key(input: &mut Input<'_>, family: u8) -> Vec<u8> {
    let choice = input.byte();
    let family = if choice & 0xF0 == 0xF0 { b"shzlz"[usize::from(choice) % 5] } else { family };
    vec![family, b'0' + choice % 3]
}

impl Model {
    /// Draws the next command.
    pub fn step(&mut self, input: &mut Input<'_>) -> Step {
        self.bury();
        let step = match input.byte() % 24 {
            0..=4 => self.keys_step(input),
            5..=8 => self.strings_step(input),
            9..=12 => self.hashes_step(input),
            13..=16 => self.lists_step(input),
            17..=19 => self.sets_step(input),
            _ => self.sorted_sets_step(input),
        };
        self.bury();
        step
    }

    /// Takes out what is dead or empty.
    fn bury(&mut self) {
        let now_ms = self.now_ms;
        let alive = |deadline_ms: Option<u64>| deadline_ms.is_none_or(|deadline_ms| deadline_ms > now_ms);
        self.keys.retain(|_, entry| {
            if let Data::Hash(fields) = &mut entry.data {
                fields.retain(|_, field| alive(field.1));
            }
            let empty = match &entry.data {
                Data::String(_) => false,
                Data::Hash(fields) => fields.is_empty(),
                Data::List(elements) => elements.is_empty(),
                Data::Set(members) => members.is_empty(),
                Data::SortedSet(members) => members.is_empty(),
            };
            alive(entry.deadline_ms) && !empty
        });
    }

    fn put(&mut self, key: &[u8], data: Data, deadline_ms: Option<u64>) {
        self.keys.insert(key.to_vec(), Entry { data, deadline_ms });
    }

    /// Commands that read everything there is.
    pub fn look(&mut self) -> Vec<Step> {
        self.bury();
        // What is dead counts until somebody takes it out, as in Redis.
        let mut all = vec![(args!["DBSIZE"], Expected::AtLeast(self.keys.len()))];
        for (key, entry) in &self.keys {
            all.push(match &entry.data {
                Data::String(value) => (args!["GET", key], Expected::Exactly(bulk(value))),
                Data::Hash(fields) => {
                    let pairs = fields.iter().map(|(name, field)| (bulk(name), bulk(&field.0))).collect();
                    (args!["HGETALL", key], Expected::AnyOrderPairs(pairs))
                }
                Data::List(elements) => (args!["LRANGE", key, "0", "-1"], array(elements)),
                Data::Set(members) => (
                    args!["SMEMBERS", key],
                    Expected::AnyOrder(members.iter().map(|member| bulk(member)).collect()),
                ),
                Data::SortedSet(members) => (
                    args!["ZRANGE", key, "0", "-1", "WITHSCORES"],
                    sorted_sets::with_scores(&sorted_sets::in_order(members)),
                ),
            });
            all.push((args!["PTTL", key], signed(self.time_to_live(entry.deadline_ms))));
        }
        all
    }

    fn time_to_live(&self, deadline_ms: Option<u64>) -> i64 {
        deadline_ms.map_or(-1, |deadline_ms| (deadline_ms - self.now_ms) as i64)
    }
}
