//! The load of the drill: connections that write and keep a ledger of what they were promised, and a bystander that only
//! reads and measures how long it waits.
//!
//! A write that was acknowledged must be there ever after. One that was answered with an error, or not at all, may be
//! there or not, but whole. Every write is of a key of its own, so that one unknown outcome makes nothing else unknown;
//! one counter per connection says whether a write happened twice.
#![expect(clippy::disallowed_methods, reason = "real waiting times of a real server")]

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::READER_WAIT_MAX;
use crate::support::{Client, Random, Server, ServerOptions, Value, encode};

/// Requests of one pipeline while a ledger is compared.
const COMPARED_AT_ONCE: usize = 500;
/// The key that the bystander reads.
const WATCHED_KEY: &str = "bystander";
const WATCHED_VALUE: &str = "is never changed";
/// Between two reads of the bystander.
const WATCH_PAUSE: Duration = Duration::from_millis(1);
/// No reply for so long is none at all, whatever the disk does: the longest stall that a case makes takes a third of it.
const REPLY_WITHIN: Duration = Duration::from_secs(20);
/// See [`Pressure::slow_down`].
const TRACED_PAUSE_US: u64 = 1000;
/// After an error, so that refusals are not all that a round does.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    Gone,
    Unknown,
}

/// What one connection was promised.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    owner: String,
    random: Random,
    value_bytes: u64,
    next: u64,
    fates: BTreeMap<u64, Fate>,
    counted: u64,
    maybe_counted: u64,
}

/// What the connections of a round tell each other and the case that directs it.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    stop: AtomicBool,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// A bit for each writer that was refused at least once.
    refused_writers: AtomicU64,
    /// Between two writes of one writer, in µs.
    pause_us: AtomicU64,
    /// The longest that a thread of this process which only sleeps was late, in µs: how much of the waiting is the machine's.
    longest_late_us: AtomicU64,
    /// The longest that the bystander, and a writer, waited for a reply, in µs.
    longest_read_us: AtomicU64,
    longest_write_us: AtomicU64,
}

/// How long someone waited for a reply at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Longest {
    pub(crate) read: Duration,
    pub(crate) write: Duration,
    /// How late a thread was that only slept.
    pub(crate) machine: Duration,
}

impl Longest {
    pub(crate) fn max(self, other: Longest) -> Longest {
        Longest {
            read: self.read.max(other.read),
            write: self.write.max(other.write),
            machine: self.machine.max(other.machine),
        }
    }

    /// What a wait may be: documented in `READER_WAIT_MAX`, and on top of it what the machine makes everybody wait. A read takes some
    /// wake-ups, each of which may be late.
    pub(crate) fn allowed(&self) -> Duration {
        READER_WAIT_MAX + 3 * self.machine
    }

    /// An error if the bystander waited too long.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        if self.read <= self.allowed() {
            return Ok(());
        }
        Err(format!("a reader waited {:?}, and {:?} would be the machine's", self.read, self.machine))
    }
}

/// What a round under load showed.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Since the case last took it.
    pub(crate) longest: Longest,
    pub(crate) reads: u64,
    /// Replies that nothing allows.
    pub(crate) wrong: Vec<String>,
}

/// Tells the connections to stop, also when the case fails.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Pressure {
    /// Waits until `figure` has grown by `more`; false if that takes longer than `at_most`.
    pub(crate) fn grows(figure: &AtomicU64, more: u64, at_most: Duration) -> bool {
        let before = figure.load(Ordering::Relaxed);
        wait_until(at_most, || figure.load(Ordering::Relaxed) >= before + more)
    }

    /// Waits until each of `writers` has been refused.
    pub(crate) fn refuses_all(&self, writers: u64, at_most: Duration) -> bool {
        wait_until(at_most, || self.refused_writers.load(Ordering::Relaxed) == (1 << writers) - 1)
    }

    /// Makes writers pause after each write: a tracer stops the server at every system call, and must keep up.
    pub(crate) fn slow_down(&self) {
        self.pause_us.store(TRACED_PAUSE_US, Ordering::Relaxed);
    }

    /// The longest waits of the bystander and of a writer since the last call.
    pub(crate) fn take_longest(&self) -> Longest {
        Longest {
            machine: Duration::from_micros(self.longest_late_us.swap(0, Ordering::Relaxed)),
            read: Duration::from_micros(self.longest_read_us.swap(0, Ordering::Relaxed)),
            write: Duration::from_micros(self.longest_write_us.swap(0, Ordering::Relaxed)),
        }
    }
}

impl Pressure {
    /// Sleeps, and looks how late it was.
    fn watch_machine(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            std::thread::sleep(WATCH_PAUSE);
            let late = begun.elapsed().saturating_sub(WATCH_PAUSE);
            self.longest_late_us.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
        }
    }
}

/// Looks every few milliseconds; whether it became true in time.
pub(crate) fn wait_until(at_most: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + at_most;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// The ledgers of a case.
pub(crate) fn ledgers(count: u64, seed: u64, value_bytes: u64) -> Vec<Ledger> {
    (0..count)
        .map(|number| Ledger {
            owner: format!("w{number}"),
            random: Random::new(seed ^ (number + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93)),
            value_bytes,
            next: 0,
            fates: BTreeMap::new(),
            counted: 0,
            maybe_counted: 0,
        })
        .collect()
}

/// Writes on every ledger's connection, reads on the bystander's, while `case` does what it is for. `refusals` are what an
/// error reply may begin with.
pub(crate) fn under_load<R>(
    port: u16,
    ledgers: &mut [Ledger],
    refusals: &[&str],
    case: impl FnOnce(&Pressure) -> R,
) -> (R, Shown) {
    let pressure = Pressure::default();
    std::thread::scope(|scope| {
        let pressure = &pressure;
        let guard = StopWhenDropped(&pressure.stop);
        let bystander = scope.spawn(move || watch(port, pressure));
        scope.spawn(move || pressure.watch_machine());
        let writers: Vec<_> = ledgers
            .iter_mut()
            .enumerate()
            .map(|(number, ledger)| scope.spawn(move || ledger.write(port, refusals, pressure, number)))
            .collect();
        let result = case(pressure);
        drop(guard);
        let (reads, wrong_read) = bystander.join().expect("the bystander does not panic");
        let mut wrong: Vec<String> = wrong_read.into_iter().collect();
        wrong
            .extend(writers.into_iter().filter_map(|writer| writer.join().expect("a writer does not panic")));
        let shown = Shown { longest: pressure.take_longest(), reads, wrong };
        (result, shown)
    })
}

/// Writes what the bystander reads; before the load begins.
pub(crate) fn prepare(client: &mut Client) {
    assert_eq!(client.call(&["SET", WATCHED_KEY, WATCHED_VALUE]).expect("a reply"), Value::ok());
}

/// Reads until it is told to stop or the server is gone; how many reads, and a wrong reply.
fn watch(port: u16, pressure: &Pressure) -> (u64, Option<String>) {
    let mut reads = 0;
    let Ok(mut client) = Client::connect(port) else { return (reads, None) };
    if client.stream().set_read_timeout(Some(REPLY_WITHIN)).is_err() {
        return (reads, None);
    }
    while !pressure.stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        match client.call(&["GET", WATCHED_KEY]) {
            Ok(value) if value == Value::bulk(WATCHED_VALUE) => {}
            Ok(other) => return (reads, Some(format!("a bystander read {other:?}"))),
            Err(error) if is_timeout(&error) => {
                return (reads, Some(format!("a bystander had no reply for {REPLY_WITHIN:?}")));
            }
            Err(_) => break,
        }
        pressure.longest_read_us.fetch_max(sent.elapsed().as_micros() as u64, Ordering::Relaxed);
        reads += 1;
        std::thread::sleep(WATCH_PAUSE);
    }
    (reads, None)
}

/// The value of a key: its name, then bytes drawn from it.
fn value(key: &str, bytes: u64) -> Vec<u8> {
    let mut value = key.as_bytes().to_vec();
    let mut random =
        Random::new(key.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(byte)));
    while (value.len() as u64) < bytes {
        value.extend_from_slice(&random.next().to_le_bytes());
    }
    value
}

impl Ledger {
    fn key(&self, number: u64) -> String {
        format!("{}:{number}", self.owner)
    }

    fn counter(&self) -> String {
        format!("{}:counter", self.owner)
    }

    /// Writes until it is told to stop or the server is gone; a reply that nothing allows.
    fn write(&mut self, port: u16, refusals: &[&str], pressure: &Pressure, number: usize) -> Option<String> {
        let mut client = Client::connect(port).ok()?;
        client.stream().set_read_timeout(Some(REPLY_WITHIN)).ok()?;
        while !pressure.stop.load(Ordering::Relaxed) {
            let sent = Instant::now();
            let reply = match self.random.within(0..10) {
                0..2 => self.delete_one(&mut client),
                2..4 => self.count(&mut client),
                _ => self.set_one(&mut client),
            };
            pressure.longest_write_us.fetch_max(sent.elapsed().as_micros() as u64, Ordering::Relaxed);
            match reply {
                Ok(Ok(())) => {
                    pressure.acknowledged.fetch_add(1, Ordering::Relaxed);
                    match pressure.pause_us.load(Ordering::Relaxed) {
                        0 => {}
                        pause_us => std::thread::sleep(Duration::from_micros(pause_us)),
                    }
                }
                Ok(Err(error)) => {
                    pressure.refused.fetch_add(1, Ordering::Relaxed);
                    pressure.refused_writers.fetch_or(1 << number, Ordering::Relaxed);
                    if !refusals.iter().any(|prefix| error.starts_with(prefix)) {
                        return Some(format!("{} was answered {error:?}", self.owner));
                    }
                    std::thread::sleep(REFUSED_PAUSE);
                }
                Err(error) if is_timeout(&error) => {
                    return Some(format!("{} had no reply for {REPLY_WITHIN:?}", self.owner));
                }
                Err(_) => return None,
            }
        }
        None
    }

    fn set_one(&mut self, client: &mut Client) -> io::Result<Result<(), String>> {
        let number = self.next;
        self.next += 1;
        let key = self.key(number);
        self.fates.insert(number, Fate::Unknown);
        let value = value(&key, self.value_bytes);
        // A deadline that no drill lives to see, for every other one.
        let reply = if number.is_multiple_of(2) {
            client.call(&["SET".as_bytes(), key.as_bytes(), &value])?
        } else {
            client.call(&["SET".as_bytes(), key.as_bytes(), &value, b"EX", b"1000000"])?
        };
        if reply == Value::ok() {
            self.fates.insert(number, Fate::There);
            return Ok(Ok(()));
        }
        Ok(Err(format_error(&reply)))
    }

    fn delete_one(&mut self, client: &mut Client) -> io::Result<Result<(), String>> {
        let from = self.random.within(0..self.next.max(1));
        let found =
            self.fates.range(from..).find(|(_, fate)| **fate == Fate::There).map(|(number, _)| *number);
        let Some(number) = found else { return self.set_one(client) };
        self.fates.insert(number, Fate::Unknown);
        let reply = client.call(&["DEL", &self.key(number)])?;
        if reply == Value::Integer(1) {
            self.fates.insert(number, Fate::Gone);
            return Ok(Ok(()));
        }
        Ok(Err(format_error(&reply)))
    }

    fn count(&mut self, client: &mut Client) -> io::Result<Result<(), String>> {
        self.maybe_counted += 1;
        let reply = client.call(&["INCR", &self.counter()])?;
        if let Value::Integer(count) = reply {
            // What may have been counted before is settled by this.
            let count = count as u64;
            if count <= self.counted || count > self.counted + self.maybe_counted {
                return Ok(Err(format!("{count} after {} and {}", self.counted, self.maybe_counted)));
            }
            (self.counted, self.maybe_counted) = (count, 0);
            return Ok(Ok(()));
        }
        Ok(Err(format_error(&reply)))
    }

    /// Compares what a server holds with what it promised, and takes over what is there of the unknown.
    pub(crate) fn compare(&mut self, client: &mut Client) -> Result<(), String> {
        let mut failures = Vec::new();
        let numbers: Vec<u64> = self.fates.keys().copied().collect();
        for chunk in numbers.chunks(COMPARED_AT_ONCE) {
            let mut bytes = Vec::new();
            chunk.iter().for_each(|number| encode(&mut bytes, &["GET", &self.key(*number)]));
            client.send(&bytes).map_err(|error| format!("GET: {error}"))?;
            for number in chunk {
                let key = self.key(*number);
                let reply = client.receive().map_err(|error| format!("GET {key}: {error}"))?;
                let fate = self.fates[number];
                let found = match reply {
                    Value::Null => Fate::Gone,
                    Value::Bulk(bytes) if bytes == value(&key, self.value_bytes) => Fate::There,
                    Value::Bulk(bytes) => {
                        failures.push(format!("{key} holds {} wrong bytes", bytes.len()));
                        continue;
                    }
                    other => {
                        failures.push(format!("GET {key}: {other:?}"));
                        continue;
                    }
                };
                if fate != Fate::Unknown && fate != found {
                    let story = if found == Fate::Gone { "is lost" } else { "has risen from the dead" };
                    failures.push(format!("{key} {story}"));
                }
                self.fates.insert(*number, found);
            }
        }
        // What is gone stays gone; remembering the latest is enough to find a risen one, and keeps the comparison short.
        while self.fates.len() > 20_000 {
            let Some(number) = self.fates.iter().find(|(_, fate)| **fate == Fate::Gone).map(|(n, _)| *n)
            else {
                break;
            };
            self.fates.remove(&number);
        }
        let counter = client.call(&["GET", &self.counter()]).map_err(|error| format!("GET: {error}"))?;
        let count = match &counter {
            Value::Null => 0,
            Value::Bulk(_) => counter.text().parse().unwrap_or(u64::MAX),
            other => return Err(format!("GET {}: {other:?}", self.counter())),
        };
        if count < self.counted || count > self.counted + self.maybe_counted {
            failures.push(format!(
                "{} is {count} after {} acknowledged and {} unknown increments",
                self.counter(),
                self.counted,
                self.maybe_counted
            ));
        }
        (self.counted, self.maybe_counted) = (count, 0);
        if failures.is_empty() {
            return Ok(());
        }
        let total = failures.len();
        failures.truncate(8);
        Err(format!("{total} broken promises to {}: {}", self.owner, failures.join("; ")))
    }
}

/// Compares all ledgers with what the server holds.
pub(crate) fn compare_all(ledgers: &mut [Ledger], client: &mut Client) -> Result<(), String> {
    let failures: Vec<String> =
        ledgers.iter_mut().filter_map(|ledger| ledger.compare(client).err()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

impl Shown {
    /// An error if a reply was wrong.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong.join("; ")) }
    }
}

/// Whether the socket gave up waiting.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn format_error(reply: &Value) -> String {
    match reply {
        Value::Error(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The ledger must find each kind of broken promise, or the drill proves nothing.
#[test]
fn a_ledger_notices_what_is_lost_changed_or_risen() {
    let server = Server::start(ServerOptions::new("no"));
    let mut client = server.client();
    let mut ledgers = ledgers(1, 1, 100);
    prepare(&mut client);
    let (worked, _) = under_load(server.port(), &mut ledgers, &[], |pressure| {
        Pressure::grows(&pressure.acknowledged, 300, Duration::from_secs(20))
    });
    assert!(worked, "nothing was acknowledged");
    let ledger = &mut ledgers[0];
    assert_eq!(ledger.compare(&mut client), Ok(()));
    let of_fate =
        |fate| ledger.fates.iter().filter(move |(_, found)| **found == fate).map(|(number, _)| *number);
    let there: Vec<u64> = of_fate(Fate::There).take(2).collect();
    let gone = of_fate(Fate::Gone).next().expect("something was deleted");
    client.call(&["DEL", &ledger.key(there[0])]).expect("a reply");
    client.call(&["APPEND", &ledger.key(there[1]), "x"]).expect("a reply");
    let risen = ledger.key(gone);
    client.call(&["SET".as_bytes(), risen.as_bytes(), &value(&risen, 100)]).expect("a reply");
    client.call(&["INCR", &ledger.counter()]).expect("a reply");
    let failure = ledger.compare(&mut client).expect_err("four promises are broken");
    for story in ["is lost", "wrong bytes", "has risen", "counter is"] {
        assert!(failure.contains(story), "{story}: {failure}");
    }
}
