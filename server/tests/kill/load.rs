//! One connection's work until its server dies: single commands and pipelines over keys of its own, every reply
//! checked against the model; and the reading back of what a server holds.
#![expect(clippy::disallowed_methods, reason = "deadlines are wall-clock moments of a real server")]

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{Content, Deadline, Entry, Model, Operation, Span};
use crate::support::{Client, Random, Value, encode};

/// Keys of one connection that live long: few, so that every kind of command meets every kind of value.
const LONG_KEYS: u64 = 24;

/// Keys of one connection that die within seconds.
const SHORT_KEYS: u64 = 12;

/// Of many differences the first few tell the story.
const DIFFERENCES_SHOWN_MAX: usize = 12;

/// No text grows beyond this.
const TEXT_BYTES_MAX: usize = 60_000;

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as u64
}

/// One connection: what it was promised, what it asked without an answer, and whether a reply broke a promise.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) random: Random,
    pub(crate) model: Model,
    pub(crate) unanswered: Vec<Operation>,
    pub(crate) unanswered_span: Span,
    pub(crate) acknowledged: u64,
    pub(crate) violation: Option<String>,
    serial: u64,
}

impl Session {
    pub(crate) fn new(number: u64, seed: u64) -> Session {
        Session {
            number,
            random: Random::new(seed ^ (number + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93)),
            model: Model::default(),
            unanswered: Vec::new(),
            unanswered_span: Span { sent_ms: 0, received_ms: 0 },
            acknowledged: 0,
            violation: None,
            serial: 0,
        }
    }

    /// Works until the connection breaks, a promise does, or `stop` is set.
    pub(crate) fn work(&mut self, port: u16, stop: &AtomicBool) {
        let Ok(mut client) = Client::connect(port) else { return };
        while !stop.load(Ordering::Relaxed) {
            let depth = if self.random.chance(50) { 1 } else { self.random.within(2..17) };
            let operations = self.operations(depth);
            if self.exchange(&mut client, operations).is_err() || self.violation.is_some() {
                return;
            }
        }
    }

    /// Sends the operations in one write and takes their replies; on an error the rest are unanswered.
    fn exchange(&mut self, client: &mut Client, operations: Vec<Operation>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for operation in &operations {
            operation.requests().iter().for_each(|request| encode(&mut bytes, request));
        }
        let sent_ms = now_ms();
        let mut remaining = operations.into_iter();
        let mut outcome = client.send(&bytes);
        while outcome.is_ok() {
            let Some(operation) = remaining.as_slice().first() else { return Ok(()) };
            match receive(client, operation) {
                Ok(reply) => {
                    let span = Span { sent_ms, received_ms: now_ms() };
                    let verdict = self.model.acknowledge(operation, span, &reply);
                    self.acknowledged += 1;
                    remaining.next();
                    if let Err(violation) = verdict {
                        self.violation = Some(violation);
                        return Ok(());
                    }
                }
                Err(error) => outcome = Err(error),
            }
        }
        self.unanswered = remaining.collect();
        self.unanswered_span = Span { sent_ms, received_ms: now_ms() };
        outcome
    }

    /// The next commands. A short-lived key appears at most once, so that no command depends on whether an
    /// unanswered one found it alive.
    fn operations(&mut self, count: u64) -> Vec<Operation> {
        let mut short_used = Vec::new();
        (0..count)
            .map(|_| {
                if self.random.chance(15) {
                    let length = self.random.within(1..8);
                    let operations = (0..length).map(|_| self.long_operation()).collect();
                    return Operation::Transaction { operations };
                }
                let number = self.random.within(0..SHORT_KEYS);
                if self.random.chance(20) && !short_used.contains(&number) {
                    short_used.push(number);
                    self.short_operation(number)
                } else {
                    self.long_operation()
                }
            })
            .collect()
    }

    fn short_operation(&mut self, number: u64) -> Operation {
        let key = format!("c{}:s{number}", self.number).into_bytes();
        let deadline_ms = now_ms() + self.random.within(30..2500);
        match self.random.within(0..100) {
            0..45 => Operation::SetUntil { key, value: self.value(), deadline_ms },
            45..70 => Operation::Get { key },
            70..90 => Operation::ExpireAt { key, deadline_ms },
            _ => Operation::Delete { keys: vec![key] },
        }
    }

    fn long_operation(&mut self) -> Operation {
        let key = self.key();
        // Far beyond the longest campaign, and never twice the same.
        let seconds = self.random.within(100_000..10_000_000);
        match self.random.within(0..115) {
            100..107 => {
                // Now and then more than a small set has.
                let count = if self.random.chance(10) { 200 } else { self.random.within(1..5) };
                Operation::MembersAdd { key, members: (0..count).map(|_| self.member()).collect() }
            }
            107..111 => {
                let count = self.random.within(1..8);
                Operation::MembersRemove { key, members: (0..count).map(|_| self.member()).collect() }
            }
            111..115 => Operation::MembersUnite { to: key, from: [self.key(), self.key()] },
            0..12 => Operation::Set { key, value: self.value(), seconds: Some(seconds) },
            12..20 => Operation::Set { key, value: self.value(), seconds: None },
            20..30 => Operation::Get { key },
            30..40 => {
                let mut keys = vec![key];
                if self.random.chance(30) {
                    let other = self.key();
                    if !keys.contains(&other) {
                        keys.push(other);
                    }
                }
                Operation::Delete { keys }
            }
            40..50 => Operation::Expire { key, seconds },
            50..53 => Operation::Persist { key },
            53..67 => {
                let count = self.random.within(1..4);
                let pairs = (0..count).map(|field| (self.field(field), self.value())).collect();
                Operation::HashSet { key, pairs }
            }
            67..73 => {
                let count = self.random.within(1..4);
                Operation::HashDelete { key, fields: (0..count).map(|field| self.field(field)).collect() }
            }
            73..81 => Operation::Increment { key },
            81..88 => {
                let length = match self.model.entries.get(&key).map(|entry| &entry.content) {
                    Some(Content::Text(text)) => text.len(),
                    _ => 0,
                };
                // A pipeline may append to one key 16 times before the model knows.
                if length > TEXT_BYTES_MAX {
                    Operation::Delete { keys: vec![key] }
                } else {
                    Operation::Append { key, value: self.value() }
                }
            }
            88..94 => {
                let to = self.key();
                Operation::Rename { from: key, to }
            }
            _ => {
                let count = self.random.within(2..6);
                Operation::SetMany { pairs: (0..count).map(|_| (self.key(), self.value())).collect() }
            }
        }
    }

    fn key(&mut self) -> Vec<u8> {
        format!("c{}:k{}", self.number, self.random.within(0..LONG_KEYS)).into_bytes()
    }

    fn member(&mut self) -> Vec<u8> {
        let number = self.random.within(0..300);
        if self.random.chance(70) {
            number.to_string().into_bytes()
        } else {
            format!("m{number}").into_bytes()
        }
    }

    /// One of six fields; `group` keeps the fields of one command apart.
    fn field(&mut self, group: u64) -> Vec<u8> {
        format!("f{}", group * 2 + self.random.within(0..2)).into_bytes()
    }

    /// Never the same twice, except small numbers, which INCR needs.
    fn value(&mut self) -> Vec<u8> {
        if self.random.chance(15) {
            return self.random.within(0..1000).to_string().into_bytes();
        }
        self.serial += 1;
        let mut value = format!("c{}#{}:", self.number, self.serial).into_bytes();
        let length = match self.random.within(0..100) {
            0..80 => self.random.within(0..400),
            80..98 => self.random.within(400..4000),
            _ => self.random.within(4000..30_000),
        };
        for _ in 0..length / 8 {
            value.extend_from_slice(&self.random.next().to_le_bytes());
        }
        value
    }

    /// Compares a restarted server with the promise: the acknowledged map, or that after any prefix of what was
    /// unanswered. Takes over what is there.
    pub(crate) fn compare(&mut self, client: &mut Client) -> Result<(), String> {
        if let Some(violation) = &self.violation {
            return Err(format!("connection {}: {violation}", self.number));
        }
        let (observed, span) = self.observe(client);
        let mut candidate = self.model.clone();
        let mut best: Option<(usize, Vec<String>)> = None;
        for applied in 0..=self.unanswered.len() {
            if applied > 0 {
                candidate.assume(&self.unanswered[applied - 1], self.unanswered_span);
            }
            let differences = candidate.differences(&observed, span);
            if differences.is_empty() {
                self.model = observed;
                self.unanswered.clear();
                return Ok(());
            }
            if best.as_ref().is_none_or(|(_, fewest)| differences.len() < fewest.len()) {
                best = Some((applied, differences));
            }
        }
        let (applied, differences) = best.expect("at least the acknowledged map was compared");
        Err(format!(
            "connection {}: after {} acknowledged commands no prefix of the {} unanswered ones explains what is \
             there; the nearest, {applied}, leaves:\n  {}",
            self.number,
            self.acknowledged,
            self.unanswered.len(),
            differences
                .iter()
                .take(DIFFERENCES_SHOWN_MAX)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join("\n  ")
        ))
    }

    /// Reads all of this connection's keys with their exact deadlines.
    fn observe(&self, client: &mut Client) -> (Model, Span) {
        let long = (0..LONG_KEYS).map(|number| format!("c{}:k{number}", self.number));
        let short = (0..SHORT_KEYS).map(|number| format!("c{}:s{number}", self.number));
        let sent_ms = now_ms();
        let mut entries = BTreeMap::new();
        for key in long.chain(short) {
            let call = |client: &mut Client, name: &str| {
                client.call(&[name, &key]).unwrap_or_else(|error| panic!("{name} {key}: {error}"))
            };
            let kind = call(client, "TYPE").text();
            let deadline = match call(client, "PEXPIRETIME") {
                Value::Integer(-1) => None,
                Value::Integer(-2) => continue,
                Value::Integer(deadline_ms) => Some(Deadline::exactly(deadline_ms as u64)),
                other => panic!("PEXPIRETIME {key}: {other:?}"),
            };
            let content = match kind.as_str() {
                "string" => match call(client, "GET") {
                    Value::Bulk(text) => Content::Text(text),
                    Value::Null if deadline.is_some() => continue,
                    other => panic!("GET {key}: {other:?}"),
                },
                "hash" => {
                    let reply = call(client, "HGETALL");
                    let bytes = |value: &Value| match value {
                        Value::Bulk(bytes) => bytes.clone(),
                        other => panic!("HGETALL {key}: {other:?}"),
                    };
                    Content::Fields(
                        reply.items().chunks(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect(),
                    )
                }
                "set" => {
                    let reply = call(client, "SMEMBERS");
                    let bytes = |value: &Value| match value {
                        Value::Bulk(bytes) => bytes.clone(),
                        other => panic!("SMEMBERS {key}: {other:?}"),
                    };
                    Content::Members(reply.items().iter().map(bytes).collect())
                }
                "none" => continue,
                other => panic!("TYPE {key}: {other:?}"),
            };
            entries.insert(key.into_bytes(), Entry { content, deadline });
        }
        (Model { entries }, Span { sent_ms, received_ms: now_ms() })
    }
}

/// The reply of an operation; of a transaction that of its `EXEC`.
fn receive(client: &mut Client, operation: &Operation) -> io::Result<Value> {
    if let Operation::Transaction { operations } = operation {
        for expected in std::iter::once("OK").chain(operations.iter().map(|_| "QUEUED")) {
            let reply = client.receive()?;
            if reply != Value::Simple(expected.to_owned()) {
                return Ok(reply);
            }
        }
    }
    client.receive()
}

/// Every key that SCAN returns: to find what no connection's own names would show.
pub(crate) fn scan_all(client: &mut Client) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.command(&format!("SCAN {cursor} COUNT 100"));
        let [next, found] = reply.items() else { panic!("SCAN answered {reply:?}") };
        keys.extend(found.items().iter().map(|key| key.text().into_bytes()));
        cursor = next.text();
        if cursor == "0" {
            return keys;
        }
    }
}
