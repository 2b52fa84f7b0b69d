//! Sessions on a server: made, read back and compared, touched and changed. Session `n` has the key [`sessions::key`]`(n)` and always the
//! value [`sessions::document`]`(n)`, so that whoever reads it knows whether it is right.

use std::io;
use std::ops::Range;

use crate::client::{Client, Reply};
use crate::sessions::{self, DOCUMENT_BYTES, KEY_BYTES, Random};

/// What the user has stored of each session.
pub const USER_BYTES: u64 = (KEY_BYTES + DOCUMENT_BYTES) as u64;

/// Commands sent at once.
const DEPTH: u64 = 200;

/// Connections used at once.
const CONNECTIONS: u64 = 3;

/// What reading back has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Sessions with the right value.
    pub right: u64,
    /// With another.
    pub wrong: u64,
    /// Not there.
    pub missing: u64,
}

impl Found {
    /// Fails unless all are right.
    ///
    /// # Errors
    ///
    /// If so.
    pub fn all_right(self) -> io::Result<Found> {
        if self.wrong == 0 && self.missing == 0 {
            return Ok(self);
        }
        Err(io::Error::other(format!("WRONG DATA: {self:?}")))
    }

    fn plus(self, other: Found) -> Found {
        Found {
            right: self.right + other.right,
            wrong: self.wrong + other.wrong,
            missing: self.missing + other.missing,
        }
    }
}

/// Splits a range among connections and runs `work` for each part on a thread of its own.
fn in_parallel<R: Send>(
    port: u16,
    numbers: &Range<u64>,
    work: impl Fn(&mut Client, Range<u64>) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    let count = numbers.end - numbers.start;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..CONNECTIONS)
            .map(|part| {
                let from = numbers.start + count * part / CONNECTIONS;
                let to = numbers.start + count * (part + 1) / CONNECTIONS;
                let work = &work;
                scope.spawn(move || work(&mut Client::connect(port)?, from..to))
            })
            .collect();
        parts
            .into_iter()
            .map(|part| part.join().map_err(|_| io::Error::other("a worker panicked"))?)
            .collect()
    })
}

fn in_batches(numbers: Range<u64>, mut batch: impl FnMut(Range<u64>) -> io::Result<()>) -> io::Result<()> {
    let mut from = numbers.start;
    while from < numbers.end {
        let to = (from + DEPTH).min(numbers.end);
        batch(from..to)?;
        from = to;
    }
    Ok(())
}

fn expect_ok(reply: &Reply) -> io::Result<()> {
    match reply {
        Reply::Simple(text) if text == "OK" => Ok(()),
        other => Err(io::Error::other(format!("SET answered {other:?}"))),
    }
}

/// When sessions die.
#[derive(Clone, Copy, Debug)]
pub enum Dying {
    /// So many seconds after they were made.
    After(u64),
    /// Evenly within a second from this moment, in ms since the epoch.
    Within(u64),
}

/// Makes sessions.
///
/// # Errors
///
/// When a connection breaks or a reply is not `+OK`.
pub fn fill(port: u16, numbers: Range<u64>, dying: Dying) -> io::Result<()> {
    in_parallel(port, &numbers, |client, part| {
        in_batches(part, |batch| {
            for number in batch {
                let (option, when) = match dying {
                    Dying::After(seconds) => ("EX", seconds),
                    Dying::Within(from_ms) => ("PXAT", from_ms + sessions::mix(number) % 1000),
                };
                let (key, value) = (sessions::key(number), sessions::document(number));
                client.push(&[b"SET", &key, &value, option.as_bytes(), when.to_string().as_bytes()]);
            }
            client.exchange(|_, reply| expect_ok(&reply))
        })
    })?;
    Ok(())
}

/// Reads sessions back and compares: all of a range if it is no larger than `sample`, else so many drawn from it (some twice).
///
/// # Errors
///
/// When a connection breaks or a reply is an error.
pub fn read_back(port: u16, numbers: Range<u64>, sample: u64, seed: u64) -> io::Result<Found> {
    let (start, count) = (numbers.start, numbers.end - numbers.start);
    let parts = in_parallel(port, &(0..sample.min(count)), |client, part| {
        let mut random = Random::new(seed ^ part.start);
        let mut found = Found::default();
        in_batches(part, |batch| {
            let numbers: Vec<u64> = batch
                .map(|number| start + if sample >= count { number } else { random.below(count) })
                .collect();
            for number in &numbers {
                client.push(&[b"GET", &sessions::key(*number)]);
            }
            client.exchange(|place, reply| {
                match reply {
                    Reply::Bulk(value) if value == sessions::document(numbers[place]) => found.right += 1,
                    Reply::Bulk(_) => found.wrong += 1,
                    Reply::Nil => found.missing += 1,
                    other => return Err(io::Error::other(format!("GET answered {other:?}"))),
                }
                Ok(())
            })
        })?;
        Ok(found)
    })?;
    Ok(parts.into_iter().fold(Found::default(), Found::plus))
}

/// What [`change`] does to a session.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    /// How many commands in all.
    pub commands: u64,
    /// So many in a hundred write the value anew; the others move the deadline.
    pub writes_percent: u64,
}

/// Touches and writes sessions drawn from a range, all of which exist.
///
/// # Errors
///
/// When a connection breaks, a session is not there, or a reply is an error.
pub fn change(port: u16, numbers: Range<u64>, changes: Changes, seed: u64) -> io::Result<()> {
    let count = numbers.end - numbers.start;
    in_parallel(port, &(0..changes.commands), |client, part| {
        let mut random = Random::new(seed ^ part.start);
        in_batches(part, |batch| {
            for _ in batch {
                let number = numbers.start + random.below(count);
                let key = sessions::key(number);
                if random.below(100) < changes.writes_percent {
                    client.push(&[b"SET", &key, &sessions::document(number), b"EX", b"7200"]);
                } else {
                    client.push(&[b"EXPIRE", &key, b"7200"]);
                }
            }
            client.exchange(|_, reply| match reply {
                Reply::Integer(1) => Ok(()),
                other => expect_ok(&other),
            })
        })
    })?;
    Ok(())
}
