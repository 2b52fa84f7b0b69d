//! What one connection was promised: a map of its keys, moved forward by acknowledged commands and compared with
//! what a restarted server holds.
//!
//! A command's reply is checked as it arrives ([`Model::acknowledge`]). A command sent but not answered may or may
//! not have happened; [`Model::assume`] is the map if it did. Deadlines are ranges: `EX` counts from a moment
//! between sending and reply. Keys whose deadline is near may die at any time, so they see only commands whose
//! outcome tells which it was (names starting with `s`, see `load.rs`).

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Value;

/// By how much the server's clock may differ from ours: Redis reads its own once per turn of the event loop, and a
/// running process does not follow a step of the wall clock.
pub(crate) const CLOCK_TOLERANCE_MS: u64 = 60;

/// A write or a read of one connection. Keys and values are whole, as sent.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Set {
        key: Vec<u8>,
        value: Vec<u8>,
        seconds: Option<u64>,
    },
    SetUntil {
        key: Vec<u8>,
        value: Vec<u8>,
        deadline_ms: u64,
    },
    SetMany {
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Get {
        key: Vec<u8>,
    },
    Delete {
        keys: Vec<Vec<u8>>,
    },
    Expire {
        key: Vec<u8>,
        seconds: u64,
    },
    ExpireAt {
        key: Vec<u8>,
        deadline_ms: u64,
    },
    Persist {
        key: Vec<u8>,
    },
    HashSet {
        key: Vec<u8>,
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
    },
    HashDelete {
        key: Vec<u8>,
        fields: Vec<Vec<u8>>,
    },
    MembersAdd {
        key: Vec<u8>,
        members: Vec<Vec<u8>>,
    },
    MembersRemove {
        key: Vec<u8>,
        members: Vec<Vec<u8>>,
    },
    /// The union of two sets becomes a third.
    MembersUnite {
        to: Vec<u8>,
        from: [Vec<u8>; 2],
    },
    Increment {
        key: Vec<u8>,
    },
    Append {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    /// `MULTI` … `EXEC`: all of it happens, or nothing.
    Transaction {
        operations: Vec<Operation>,
    },
}

impl Operation {
    /// What is sent for it.
    pub(crate) fn requests(&self) -> Vec<Vec<Vec<u8>>> {
        match self {
            Operation::Transaction { operations } => {
                let word = |word: &str| vec![word.as_bytes().to_vec()];
                let queued = operations.iter().map(Operation::arguments);
                std::iter::once(word("MULTI")).chain(queued).chain([word("EXEC")]).collect()
            }
            one => vec![one.arguments()],
        }
    }

    pub(crate) fn arguments(&self) -> Vec<Vec<u8>> {
        fn words(name: &str, rest: &[&[u8]]) -> Vec<Vec<u8>> {
            std::iter::once(name.as_bytes()).chain(rest.iter().copied()).map(<[u8]>::to_vec).collect()
        }
        let figure = |figure: &u64| figure.to_string().into_bytes();
        match self {
            Operation::Set { key, value, seconds: None } => words("SET", &[key, value]),
            Operation::Set { key, value, seconds: Some(seconds) } => {
                words("SET", &[key, value, b"EX", &figure(seconds)])
            }
            Operation::SetUntil { key, value, deadline_ms } => {
                words("SET", &[key, value, b"PXAT", &figure(deadline_ms)])
            }
            Operation::SetMany { pairs } => {
                let rest: Vec<&[u8]> = pairs.iter().flat_map(|(key, value)| [&key[..], &value[..]]).collect();
                words("MSET", &rest)
            }
            Operation::Get { key } => words("GET", &[key]),
            Operation::Delete { keys } => words("DEL", &keys.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            Operation::Expire { key, seconds } => words("EXPIRE", &[key, &figure(seconds)]),
            Operation::ExpireAt { key, deadline_ms } => words("PEXPIREAT", &[key, &figure(deadline_ms)]),
            Operation::Persist { key } => words("PERSIST", &[key]),
            Operation::HashSet { key, pairs } => {
                let mut rest = vec![&key[..]];
                rest.extend(pairs.iter().flat_map(|(field, value)| [&field[..], &value[..]]));
                words("HSET", &rest)
            }
            Operation::HashDelete { key, fields } => {
                let mut rest = vec![&key[..]];
                rest.extend(fields.iter().map(Vec::as_slice));
                words("HDEL", &rest)
            }
            Operation::MembersAdd { key, members } => {
                words("SADD", &std::iter::once(key).chain(members).map(Vec::as_slice).collect::<Vec<_>>())
            }
            Operation::MembersRemove { key, members } => {
                words("SREM", &std::iter::once(key).chain(members).map(Vec::as_slice).collect::<Vec<_>>())
            }
            Operation::MembersUnite { to, from: [one, other] } => words("SUNIONSTORE", &[to, one, other]),
            Operation::Increment { key } => words("INCR", &[key]),
            Operation::Append { key, value } => words("APPEND", &[key, value]),
            Operation::Rename { from, to } => words("RENAME", &[from, to]),
            Operation::Transaction { .. } => unreachable!("it is several requests"),
        }
    }
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text(Vec<u8>),
    Fields(BTreeMap<Vec<u8>, Vec<u8>>),
    Members(BTreeSet<Vec<u8>>),
}

/// When a key dies: the earliest and the latest possible moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) earliest_ms: u64,
    pub(crate) latest_ms: u64,
}

impl Deadline {
    pub(crate) fn exactly(deadline_ms: u64) -> Deadline {
        Deadline { earliest_ms: deadline_ms, latest_ms: deadline_ms }
    }

    fn after(seconds: u64, span: Span) -> Deadline {
        Deadline {
            earliest_ms: span.sent_ms + seconds * 1000 - CLOCK_TOLERANCE_MS,
            latest_ms: span.received_ms + seconds * 1000 + CLOCK_TOLERANCE_MS,
        }
    }

    fn surely_passed(self, now_ms: u64) -> bool {
        now_ms > self.latest_ms + CLOCK_TOLERANCE_MS
    }

    fn maybe_passed(self, now_ms: u64) -> bool {
        now_ms + CLOCK_TOLERANCE_MS >= self.earliest_ms
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    pub(crate) deadline: Option<Deadline>,
}

/// When a command was sent, and when its reply (or the end of its connection) was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) sent_ms: u64,
    pub(crate) received_ms: u64,
}

/// Everything one connection owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) entries: BTreeMap<Vec<u8>, Entry>,
}

impl Model {
    /// Checks `reply` against what the acknowledged past demands, and moves on.
    pub(crate) fn acknowledge(
        &mut self,
        operation: &Operation,
        span: Span,
        reply: &Value,
    ) -> Result<(), String> {
        self.bury_if_reply_says_dead(operation, span, reply);
        let expected = self.assume(operation, span);
        if is_same(&expected, reply) {
            return Ok(());
        }
        Err(format!("{operation:?} answered {reply:?} where the model has {expected:?}"))
    }

    /// A key near its deadline may die before the command arrives; the reply tells. Where it can not have been alive
    /// the key goes whatever the reply says, so that a late survivor is reported.
    fn bury_if_reply_says_dead(&mut self, operation: &Operation, span: Span, reply: &Value) {
        let (Operation::Get { key } | Operation::ExpireAt { key, .. }) = operation else {
            if let Operation::Delete { keys } = operation {
                for key in keys {
                    self.bury(key, span, matches!(reply, Value::Integer(0)));
                }
            }
            return;
        };
        self.bury(key, span, matches!(reply, Value::Null | Value::Integer(0)));
    }

    fn bury(&mut self, key: &[u8], span: Span, said_dead: bool) {
        let Some(deadline) = self.entries.get(key).and_then(|entry| entry.deadline) else { return };
        if deadline.surely_passed(span.sent_ms) || (said_dead && deadline.maybe_passed(span.received_ms)) {
            self.entries.remove(key);
        }
    }

    /// Applies the command as if it had happened and says what it would have answered.
    pub(crate) fn assume(&mut self, operation: &Operation, span: Span) -> Value {
        let wrong_type = || Value::Error("WRONGTYPE".to_owned());
        match operation {
            Operation::Set { key, value, seconds } => {
                let deadline = seconds.map(|seconds| Deadline::after(seconds, span));
                self.entries.insert(key.clone(), Entry { content: Content::Text(value.clone()), deadline });
                Value::ok()
            }
            Operation::SetUntil { key, value, deadline_ms } => {
                let deadline = Some(Deadline::exactly(*deadline_ms));
                self.entries.insert(key.clone(), Entry { content: Content::Text(value.clone()), deadline });
                Value::ok()
            }
            Operation::SetMany { pairs } => {
                for (key, value) in pairs {
                    let entry = Entry { content: Content::Text(value.clone()), deadline: None };
                    self.entries.insert(key.clone(), entry);
                }
                Value::ok()
            }
            Operation::Get { key } => match self.entries.get(key).map(|entry| &entry.content) {
                None => Value::Null,
                Some(Content::Text(value)) => Value::Bulk(value.clone()),
                Some(_) => wrong_type(),
            },
            Operation::Delete { keys } => {
                Value::Integer(keys.iter().filter(|key| self.entries.remove(*key).is_some()).count() as i64)
            }
            Operation::Expire { key, seconds } => {
                self.set_deadline(key, |_| Some(Deadline::after(*seconds, span)))
            }
            Operation::ExpireAt { key, deadline_ms } => self.set_deadline(key, |before| {
                let mut deadline = Deadline::exactly(*deadline_ms);
                // If the key may have died first, the command may have done nothing.
                if let Some(before) = before.filter(|before| before.maybe_passed(span.received_ms)) {
                    deadline.earliest_ms = deadline.earliest_ms.min(before.earliest_ms);
                    deadline.latest_ms = deadline.latest_ms.max(before.latest_ms);
                }
                Some(deadline)
            }),
            Operation::Persist { key } => match self.entries.get_mut(key) {
                Some(entry) => Value::Integer(i64::from(entry.deadline.take().is_some())),
                None => Value::Integer(0),
            },
            Operation::HashSet { key, pairs } => {
                let entry = self
                    .entries
                    .entry(key.clone())
                    .or_insert_with(|| Entry { content: Content::Fields(BTreeMap::new()), deadline: None });
                let Content::Fields(fields) = &mut entry.content else { return wrong_type() };
                let new = pairs
                    .iter()
                    .filter(|(field, value)| fields.insert(field.clone(), value.clone()).is_none());
                Value::Integer(new.count() as i64)
            }
            Operation::HashDelete { key, fields: doomed } => {
                let Some(entry) = self.entries.get_mut(key) else { return Value::Integer(0) };
                let Content::Fields(fields) = &mut entry.content else { return wrong_type() };
                let gone = doomed.iter().filter(|field| fields.remove(*field).is_some()).count();
                if fields.is_empty() {
                    self.entries.remove(key);
                }
                Value::Integer(gone as i64)
            }
            Operation::MembersAdd { key, members: added } => {
                let entry = self
                    .entries
                    .entry(key.clone())
                    .or_insert_with(|| Entry { content: Content::Members(BTreeSet::new()), deadline: None });
                let Content::Members(members) = &mut entry.content else { return wrong_type() };
                Value::Integer(added.iter().filter(|member| members.insert((*member).clone())).count() as i64)
            }
            Operation::MembersRemove { key, members: doomed } => {
                let Some(entry) = self.entries.get_mut(key) else { return Value::Integer(0) };
                let Content::Members(members) = &mut entry.content else { return wrong_type() };
                let gone = doomed.iter().filter(|member| members.remove(*member)).count();
                if members.is_empty() {
                    self.entries.remove(key);
                }
                Value::Integer(gone as i64)
            }
            Operation::MembersUnite { to, from } => {
                let mut all = BTreeSet::new();
                for key in from {
                    match self.entries.get(key).map(|entry| &entry.content) {
                        None => {}
                        Some(Content::Members(members)) => all.extend(members.iter().cloned()),
                        Some(_) => return wrong_type(),
                    }
                }
                let count = all.len() as i64;
                self.entries.remove(to);
                if count > 0 {
                    self.entries.insert(to.clone(), Entry { content: Content::Members(all), deadline: None });
                }
                Value::Integer(count)
            }
            Operation::Increment { key } => {
                let entry = self
                    .entries
                    .entry(key.clone())
                    .or_insert_with(|| Entry { content: Content::Text(b"0".to_vec()), deadline: None });
                let Content::Text(text) = &mut entry.content else { return wrong_type() };
                // Only in canonical form: `0` with `980` appended is no integer to INCR.
                let figure = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
                let Some(figure) = figure.filter(|figure| figure.to_string().as_bytes() == text.as_slice())
                else {
                    return Value::Error("ERR value is not an integer or out of range".to_owned());
                };
                *text = (figure + 1).to_string().into_bytes();
                Value::Integer(figure + 1)
            }
            Operation::Append { key, value } => {
                let entry = self
                    .entries
                    .entry(key.clone())
                    .or_insert_with(|| Entry { content: Content::Text(Vec::new()), deadline: None });
                let Content::Text(text) = &mut entry.content else { return wrong_type() };
                text.extend_from_slice(value);
                Value::Integer(text.len() as i64)
            }
            Operation::Rename { from, to } => match self.entries.remove(from) {
                Some(entry) => {
                    self.entries.insert(to.clone(), entry);
                    Value::ok()
                }
                None => Value::Error("ERR no such key".to_owned()),
            },
            Operation::Transaction { operations } => {
                Value::Array(operations.iter().map(|operation| self.assume(operation, span)).collect())
            }
        }
    }

    fn set_deadline(
        &mut self,
        key: &[u8],
        change: impl FnOnce(Option<Deadline>) -> Option<Deadline>,
    ) -> Value {
        match self.entries.get_mut(key) {
            Some(entry) => {
                entry.deadline = change(entry.deadline);
                Value::Integer(1)
            }
            None => Value::Integer(0),
        }
    }

    /// Where `observed`, read between the two moments of `span` with exact deadlines, contradicts this map.
    pub(crate) fn differences(&self, observed: &Model, span: Span) -> Vec<String> {
        let mut differences = Vec::new();
        for (key, entry) in &self.entries {
            let name = String::from_utf8_lossy(key);
            let Some(seen) = observed.entries.get(key) else {
                if !entry.deadline.is_some_and(|deadline| deadline.maybe_passed(span.received_ms)) {
                    differences.push(format!("{name} is lost: it held {}", brief(entry)));
                }
                continue;
            };
            if seen.content != entry.content {
                differences.push(format!("{name} holds {} where {} was promised", brief(seen), brief(entry)));
            }
            let deadline_fits = match (entry.deadline, seen.deadline) {
                (None, None) => true,
                (Some(promised), Some(seen)) => {
                    promised.earliest_ms <= seen.earliest_ms && seen.latest_ms <= promised.latest_ms
                }
                _ => false,
            };
            if !deadline_fits {
                differences.push(format!("{name} dies at {:?}, not {:?}", seen.deadline, entry.deadline));
            }
            if entry.deadline.is_some_and(|deadline| deadline.surely_passed(span.sent_ms)) {
                differences.push(format!("{name} is served after its deadline {:?}", entry.deadline));
            }
        }
        for (key, seen) in &observed.entries {
            if !self.entries.contains_key(key) {
                differences.push(format!("{} has risen: {}", String::from_utf8_lossy(key), brief(seen)));
            }
        }
        differences
    }
}

fn is_same(expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::Error(expected), Value::Error(seen)) => same_code(expected, seen),
        (Value::Array(expected), Value::Array(seen)) => {
            expected.len() == seen.len() && expected.iter().zip(seen).all(|(one, other)| is_same(one, other))
        }
        _ => expected == seen,
    }
}

/// Errors are compared by their code, and by their text where the code is the general one.
fn same_code(expected: &str, seen: &str) -> bool {
    seen == expected || (expected != "ERR" && !expected.contains(' ') && seen.starts_with(expected))
}

fn brief(entry: &Entry) -> String {
    let text = match &entry.content {
        Content::Text(text) => format!("{} bytes {}", text.len(), text.escape_ascii()),
        Content::Fields(fields) => format!("{} fields {fields:?}", fields.len()),
        Content::Members(members) => format!("{} members {members:?}", members.len()),
    };
    let short: String = text.chars().take(160).collect();
    format!("{short} (until {:?})", entry.deadline)
}
