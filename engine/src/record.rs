//! What a transaction writes to the log: one record, a sequence of operations. `docs/formats.md` specifies the bytes.
//!
//! Operations are logical and deterministic: absolute times, chosen members, results instead of inputs where the input could be
//! read differently later. Reading them back never panics, whatever the bytes.
//!
//! A key is named by its 64-bit hash (8 bytes) where the index held no other key with that hash, else by database and bytes.

use crate::change::Change;
use crate::databases::DatabaseMap;
use crate::expiry::NEVER;
use crate::varint;

/// How an operation names its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    Hash(u64),
    Key { database: u8, key: &'a [u8] },
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    /// A whole object in its flat form, with its deadline and the grid that it is rounded to; `twin` if the index holds another key with its
    /// hash.
    Put { deadline_ms: u64, grid: u16, twin: bool, object: &'a [u8] },
    /// The key is gone.
    Delete { name: Name<'a> },
    /// A new deadline.
    Deadline { name: Name<'a>, deadline_ms: u64, grid: u16 },
    /// The value of a key that exists is changed.
    Change { name: Name<'a>, change: Change<'a> },
    /// The object and deadline of a key that exists, under another key.
    Copy { name: Name<'a>, database: u8, key: &'a [u8] },
    /// All keys of a database are gone, or of all.
    Clear { database: Option<u8> },
    /// Which database of the index each numbered database is from here on.
    Databases { map: DatabaseMap },
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DEADLINE: u8 = 3;
const CLEAR: u8 = 7;
const COPY: u8 = 8;
const DATABASES: u8 = 15;
const CODE_MASK: u8 = 0x0F;
/// The key is named by its bytes: of a put, whose object has it anyway, the index holds another key with its hash.
const BY_KEY: u8 = 0x10;
/// A deadline follows (else: never).
const HAS_DEADLINE: u8 = 0x20;
/// A grid follows the deadline (else: exact).
const HAS_GRID: u8 = 0x40;
/// The database number that means all.
const ALL: u8 = 0xFF;

fn name_flag(name: Name<'_>) -> u8 {
    match name {
        Name::Hash(_) => 0,
        Name::Key { .. } => BY_KEY,
    }
}

fn put_name(out: &mut Vec<u8>, name: Name<'_>) {
    match name {
        Name::Hash(hash) => out.extend_from_slice(&hash.to_le_bytes()),
        Name::Key { database, key } => {
            out.push(database);
            varint::put_slice(out, key);
        }
    }
}

fn deadline_flags(deadline_ms: u64, grid: u16) -> u8 {
    match (deadline_ms, grid) {
        (NEVER, _) => 0,
        (_, 0) => HAS_DEADLINE,
        _ => HAS_DEADLINE | HAS_GRID,
    }
}

fn put_deadline(out: &mut Vec<u8>, deadline_ms: u64, grid: u16) {
    if deadline_ms != NEVER {
        varint::put(out, deadline_ms);
        if grid != 0 {
            out.push(grid as u8);
        }
    }
}

impl Operation<'_> {
    /// Appends the operation. `Put` is written by [`put_object`] where the object need not be flattened first.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Operation::Put { deadline_ms, grid, twin, object } => {
                put_object(out, (deadline_ms, grid, twin), object.len(), |out| out.extend_from_slice(object));
            }
            Operation::Delete { name } => {
                out.push(DELETE | name_flag(name));
                put_name(out, name);
            }
            Operation::Deadline { name, deadline_ms, grid } => {
                out.push(DEADLINE | name_flag(name) | deadline_flags(deadline_ms, grid));
                put_name(out, name);
                put_deadline(out, deadline_ms, grid);
            }
            Operation::Change { name, change } => {
                out.push(change.code() | name_flag(name));
                put_name(out, name);
                change.encode(out);
            }
            Operation::Copy { name, database, key } => {
                out.push(COPY | name_flag(name));
                put_name(out, name);
                out.push(database);
                varint::put_slice(out, key);
            }
            Operation::Clear { database } => out.extend_from_slice(&[CLEAR, database.unwrap_or(ALL)]),
            Operation::Databases { map } => {
                out.push(DATABASES);
                out.extend_from_slice(&map.word().to_le_bytes());
            }
        }
    }
}

/// Appends a `Put` whose object of `object_bytes` bytes is written by `object`.
pub(crate) fn put_object(
    out: &mut Vec<u8>,
    (deadline_ms, grid, twin): (u64, u16, bool),
    object_bytes: usize,
    object: impl FnOnce(&mut Vec<u8>),
) {
    out.push(PUT | deadline_flags(deadline_ms, grid) | if twin { BY_KEY } else { 0 });
    put_deadline(out, deadline_ms, grid);
    varint::put(out, object_bytes as u64);
    let before = out.len();
    object(out);
    debug_assert_eq!(out.len() - before, object_bytes);
}

/// Takes the next operation off the front of a record; `None` if the bytes are none.
pub(crate) fn take<'a>(record: &mut &'a [u8]) -> Option<Operation<'a>> {
    let (&first, mut rest) = record.split_first()?;
    let rest = &mut rest;
    let (code, flags) = (first & CODE_MASK, first & !CODE_MASK);
    let allowed = match code {
        PUT => BY_KEY | HAS_DEADLINE | HAS_GRID,
        DEADLINE => BY_KEY | HAS_DEADLINE | HAS_GRID,
        CLEAR | DATABASES => 0,
        _ => BY_KEY,
    };
    if flags & !allowed != 0 || flags & (HAS_DEADLINE | HAS_GRID) == HAS_GRID {
        return None;
    }
    let operation = match code {
        PUT => {
            let (deadline_ms, grid) = take_deadline(rest, flags)?;
            Operation::Put { deadline_ms, grid, twin: flags & BY_KEY != 0, object: varint::take_slice(rest)? }
        }
        DELETE => Operation::Delete { name: take_name(rest, flags)? },
        DEADLINE => {
            let name = take_name(rest, flags)?;
            let (deadline_ms, grid) = take_deadline(rest, flags)?;
            Operation::Deadline { name, deadline_ms, grid }
        }
        COPY => Operation::Copy {
            name: take_name(rest, flags)?,
            database: take_byte(rest)?,
            key: varint::take_slice(rest)?,
        },
        CLEAR => {
            let database = take_byte(rest)?;
            Operation::Clear { database: (database != ALL).then_some(database) }
        }
        DATABASES => {
            let (word, after) = rest.split_first_chunk::<8>()?;
            *rest = after;
            Operation::Databases { map: DatabaseMap::of_word(u64::from_le_bytes(*word))? }
        }
        code => {
            let name = take_name(rest, flags)?;
            Operation::Change { name, change: Change::take(code, rest)? }
        }
    };
    *record = rest;
    Some(operation)
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

fn take_name<'a>(rest: &mut &'a [u8], flags: u8) -> Option<Name<'a>> {
    if flags & BY_KEY != 0 {
        return Some(Name::Key { database: take_byte(rest)?, key: varint::take_slice(rest)? });
    }
    let (hash, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(Name::Hash(u64::from_le_bytes(*hash)))
}

fn take_deadline(rest: &mut &[u8], flags: u8) -> Option<(u64, u16)> {
    // One that never comes is not said, so that an operation has one form.
    let deadline_ms = if flags & HAS_DEADLINE != 0 {
        varint::take(rest).filter(|deadline_ms| *deadline_ms != NEVER)?
    } else {
        NEVER
    };
    let grid = if flags & HAS_GRID != 0 { u16::from(take_byte(rest)?) } else { 0 };
    (grid <= crate::expiry::GRID_MAX).then_some((deadline_ms, grid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{ListChange, TimedChange};
    use proptest::prelude::*;

    fn comes_back(operations: &[Operation<'_>]) {
        let mut bytes = Vec::new();
        operations.iter().for_each(|operation| operation.encode(&mut bytes));
        let mut rest = &bytes[..];
        for operation in operations {
            assert_eq!(take(&mut rest).as_ref(), Some(operation));
        }
        assert!(rest.is_empty());
        for end in 0..bytes.len() {
            let mut rest = &bytes[..end];
            while take(&mut rest).is_some() {}
        }
    }

    #[test]
    fn operations_come_back() {
        let by_key = Name::Key { database: 15, key: b"key" };
        comes_back(&[
            Operation::Put { deadline_ms: NEVER, grid: 0, twin: false, object: b"object" },
            Operation::Put { deadline_ms: 1 << 41, grid: 0, twin: true, object: b"" },
            Operation::Put { deadline_ms: 1 << 41, grid: 8, twin: false, object: &[1; 300] },
            Operation::Delete { name: Name::Hash(7) },
            Operation::Delete { name: by_key },
            Operation::Deadline { name: Name::Hash(u64::MAX), deadline_ms: 5, grid: 0 },
            Operation::Deadline { name: by_key, deadline_ms: NEVER, grid: 0 },
            Operation::Change { name: by_key, change: Change::SetField { field: b"f", value: b"" } },
            Operation::Change { name: Name::Hash(1), change: Change::RemoveField { field: b"" } },
            Operation::Change {
                name: by_key,
                change: Change::Timed(TimedChange::SetUntil {
                    field: b"f",
                    value: b"v",
                    deadline_ms: 1 << 41,
                }),
            },
            Operation::Change {
                name: Name::Hash(1),
                change: Change::Timed(TimedChange::FieldDeadline { field: b"", deadline_ms: NEVER }),
            },
            Operation::Change {
                name: Name::Hash(1),
                change: Change::Timed(TimedChange::KeyDeadline { deadline_ms: 1 << 41 }),
            },
            Operation::Change { name: by_key, change: Change::AddMembers { members: b"\x01a\0" } },
            Operation::Change { name: Name::Hash(1), change: Change::RemoveMembers { members: b"\x02ab" } },
            Operation::Change { name: by_key, change: Change::WriteAt { offset: 1 << 29, bytes: b"tail" } },
            Operation::Change { name: by_key, change: Change::Truncate { length: 1 << 29 } },
            Operation::Change { name: by_key, change: Change::List(ListChange::Trim { front: 1, back: 0 }) },
            Operation::Copy { name: Name::Hash(1), database: 3, key: b"" },
            Operation::Copy { name: by_key, database: 3, key: b"copy" },
            Operation::Clear { database: Some(3) },
            Operation::Clear { database: None },
            Operation::Databases { map: DatabaseMap::IDENTITY.swapped(0, 9) },
        ]);
    }

    #[test]
    fn a_touch_takes_at_most_16_bytes() {
        let mut bytes = Vec::new();
        let name = Name::Hash(u64::MAX);
        // The year 2500; the design allows 32 bytes.
        Operation::Deadline { name, deadline_ms: 16_725_225_600_000, grid: 0 }.encode(&mut bytes);
        assert!(bytes.len() <= 16, "{}", bytes.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while take(&mut rest).is_some() {}
        }
    }

    /// Found by `fuzz/fuzz_targets/operation.rs`: it was read with a grid that nobody can write.
    #[test]
    fn a_deadline_that_never_comes_is_not_said() {
        let mut bytes = vec![DEADLINE | HAS_DEADLINE | HAS_GRID];
        bytes.extend_from_slice(&7u64.to_le_bytes());
        let head = bytes.len();
        varint::put(&mut bytes, NEVER - 1);
        bytes.push(3);
        assert!(take(&mut &bytes[..]).is_some());
        bytes.truncate(head);
        varint::put(&mut bytes, NEVER);
        bytes.push(3);
        assert_eq!(take(&mut &bytes[..]), None);
    }
}
