//! HyperLogLog sketches in strings. What their bytes mean is in [`hyperloglog`](crate::hyperloglog).
//!
//! A sketch is changed where it has to be: a dense one a few bytes at a time, so that the log does not hold 12 KiB for each element.

use super::args::{c_string, is};
use super::flags::{ADMIN, DENYOOM, FAST, MAY_WRITE, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::hyperloglog::{self as sketch, Encoding, REGISTERS, SketchError, dense, sparse};
use crate::notify::STRING;
use sessile::Expiry;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["hyperloglog"],
    group: "hyperloglog",
    since: "2.8.9",
    summary: "",
    complexity: "",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family that work on data.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        arity: -2,
        flags: WRITE | DENYOOM | FAST,
        summary: "Adds elements to a HyperLogLog",
        complexity: "O(1) to add every element.",
        run: Run::Data(pfadd),
        ..ROW
    },
    Command {
        name: "pfcount",
        arity: -2,
        flags: READONLY | MAY_WRITE,
        keys: KeySpec::ALL,
        summary: "About how many distinct elements were added to a HyperLogLog, or to several in all",
        complexity: "O(1) with a very small average constant time when called with a single key. O(N) with N being the number of keys, and much bigger constant times, when called with multiple keys.",
        run: Run::Data(pfcount),
        ..ROW
    },
    Command {
        name: "pfmerge",
        arity: -2,
        flags: WRITE | DENYOOM,
        keys: KeySpec::ALL,
        summary: "Merges HyperLogLogs into one",
        complexity: "O(N) to merge N HyperLogLogs, but with high constant times.",
        run: Run::Data(pfmerge),
        ..ROW
    },
    Command {
        name: "pfdebug",
        arity: 3,
        flags: WRITE | DENYOOM | ADMIN,
        keys: KeySpec::Range { first: 2, last: 2, step: 1 },
        summary: "Looks into a HyperLogLog",
        complexity: "N/A",
        run: Run::Data(pfdebug),
        ..ROW
    },
];

/// The rows of this family that work on no data.
pub const SERVER_COMMANDS: &[Command] = &[Command {
    name: "pfselftest",
    arity: 1,
    flags: ADMIN,
    keys: KeySpec::None,
    summary: "Tests that HyperLogLogs count",
    complexity: "N/A",
    run: Run::Server(pfselftest),
    ..ROW
}];

impl From<SketchError> for CommandError {
    fn from(error: SketchError) -> CommandError {
        CommandError::of(error.to_string())
    }
}

/// The sketch at a key, if there is one.
fn sketch_at<'a>(call: &'a Call<'_, '_>, key: usize) -> Result<Option<(&'a [u8], Encoding)>, CommandError> {
    let Some(bytes) = call.txn.string(&call.keys[key])? else { return Ok(None) };
    Ok(Some((bytes, sketch::encoding(bytes)?)))
}

/// Writes what a sketch has become, as far as it differs from what is there. Keeps the key's deadline.
fn write_sketch(call: &mut Call<'_, '_>, after: &[u8]) -> CommandResult {
    let key = &call.keys[0];
    let Some(before) = call.txn.string(key)? else {
        call.txn.put_string(key, after, None);
        return Ok(());
    };
    if before.len() > after.len() || before.len() * 2 < after.len() {
        call.txn.set(key, after, Expiry::Keep);
        return Ok(());
    }
    let differ = |(before, after): (&u8, &u8)| before != after;
    let start = before.iter().zip(after).position(differ).unwrap_or(before.len());
    let end = if before.len() == after.len() {
        before.iter().zip(after).rposition(differ).map_or(start, |last| last + 1)
    } else {
        after.len()
    };
    if start < end {
        call.txn.write_string_at(key, start, &after[start..end])?;
    }
    Ok(())
}

fn pfadd(call: &mut Call<'_, '_>) -> CommandResult {
    let elements = &call.args[2..];
    let updated = match sketch_at(call, 0)? {
        Some((_, Encoding::Dense)) => add_to_dense(call, elements)?,
        Some((bytes, Encoding::Sparse)) => {
            let before = bytes.to_vec();
            add_to_sparse(call, before, elements)?
        }
        None => {
            add_to_sparse(call, sketch::empty(), elements)?;
            true
        }
    };
    if updated {
        call.notify(STRING, "pfadd", 0);
    }
    call.reply.integer(i64::from(updated));
    Ok(())
}

fn add_to_sparse(
    call: &mut Call<'_, '_>,
    mut bytes: Vec<u8>,
    elements: &[&[u8]],
) -> Result<bool, CommandError> {
    let bytes_max = call.settings.hll_sparse_max_bytes;
    let new = !call.txn.exists(&call.keys[0]);
    let (mut updated, mut failed) = (new, None);
    for element in elements {
        let (index, value) = sketch::place(element);
        let raised = match sketch::encoding(&bytes)? {
            Encoding::Dense => Ok(dense::raise(&mut bytes, index, value)),
            Encoding::Sparse => sparse::raise(&mut bytes, index, value, bytes_max),
        };
        match raised {
            Ok(raised) => updated |= raised,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if updated {
        // Redis leaves in place what it has added before it saw that the rest makes no sense.
        if failed.is_none() {
            sketch::forget_cardinality(&mut bytes);
        }
        write_sketch(call, &bytes)?;
    }
    failed.map_or(Ok(updated), |error| Err(error.into()))
}

fn add_to_dense(call: &mut Call<'_, '_>, elements: &[&[u8]]) -> Result<bool, CommandError> {
    /// From so many registers on, writing the sketch as a whole is less.
    const REGISTERS_BY_THEMSELVES_MAX: usize = 256;
    let key = &call.keys[0];
    let Some(bytes) = call.txn.string(key)? else { return Ok(false) };
    let mut raised: Vec<(usize, u8)> = elements.iter().map(|element| sketch::place(element)).collect();
    raised.retain(|&(index, value)| dense::get(bytes, index) < value);
    if raised.is_empty() {
        return Ok(false);
    }
    if raised.len() > REGISTERS_BY_THEMSELVES_MAX {
        let mut bytes = bytes.to_vec();
        for (index, value) in raised {
            dense::raise(&mut bytes, index, value);
        }
        sketch::forget_cardinality(&mut bytes);
        write_sketch(call, &bytes)?;
        return Ok(true);
    }
    let (at, byte) = sketch::out_of_date(bytes);
    if bytes.get(at) != Some(&byte) {
        call.txn.write_string_at(key, at, &[byte])?;
    }
    for (index, value) in raised {
        // Registers share bytes, and an element may be there twice: each is asked for what is there now.
        if let Some(bytes) = call.txn.string(key)?
            && dense::get(bytes, index) < value
        {
            let (at, patch, length) = dense::patch(bytes, index, value);
            call.txn.write_string_at(key, at, &patch[..length])?;
        }
    }
    Ok(true)
}

fn pfcount(call: &mut Call<'_, '_>) -> CommandResult {
    if call.keys.len() > 1 {
        let mut registers = Box::new([0; REGISTERS]);
        merge_all(call, &mut registers)?;
        call.reply.integer(sketch::count_registers(&registers) as i64);
        return Ok(());
    }
    let found = sketch_at(call, 0);
    let (cardinality, cached) = match &found {
        Ok(Some((bytes, _))) => match sketch::cached(bytes) {
            Some(cardinality) => (cardinality, true),
            None => (sketch::count(bytes)?, false),
        },
        _ => (0, true),
    };
    let there = found?.is_some();
    call.looked_up(0, there);
    if !cached && call.txn.may_write() {
        let (at, bytes) = sketch::cache(cardinality);
        call.txn.write_string_at(&call.keys[0], at, &bytes)?;
    }
    call.reply.integer(cardinality as i64);
    Ok(())
}

/// Raises registers to those of all keys, as far as they are there; whether one is dense.
fn merge_all(call: &mut Call<'_, '_>, registers: &mut [u8; REGISTERS]) -> Result<bool, CommandError> {
    let mut dense = false;
    for key in 0..call.keys.len() {
        let found = sketch_at(call, key)?;
        if let Some((bytes, encoding)) = found {
            dense |= encoding == Encoding::Dense;
            sketch::merge(registers, bytes)?;
        }
        let there = found.is_some();
        call.looked_up(key, there);
    }
    Ok(dense)
}

fn pfmerge(call: &mut Call<'_, '_>) -> CommandResult {
    let mut registers = Box::new([0; REGISTERS]);
    let to_dense = merge_all(call, &mut registers)?;
    let before = sketch_at(call, 0)?;
    let mut bytes = before.map_or_else(sketch::empty, |(bytes, _)| bytes.to_vec());
    if to_dense && sketch::encoding(&bytes)? == Encoding::Sparse {
        sparse::to_dense(&mut bytes)?;
    }
    for (index, &value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
        match sketch::encoding(&bytes)? {
            Encoding::Dense => {
                dense::raise(&mut bytes, index, value);
            }
            Encoding::Sparse => {
                sparse::raise(&mut bytes, index, value, call.settings.hll_sparse_max_bytes)?;
            }
        }
    }
    sketch::forget_cardinality(&mut bytes);
    write_sketch(call, &bytes)?;
    call.txn.count_as_changed(&call.keys[0]);
    call.notify(STRING, "pfadd", 0);
    call.reply.ok();
    Ok(())
}

fn pfdebug(call: &mut Call<'_, '_>) -> CommandResult {
    let what = call.args[1];
    let Some((bytes, encoding)) = sketch_at(call, 0)? else {
        return Err("ERR The specified key does not exist".into());
    };
    if is(what, "getreg") || is(what, "todense") {
        let mut bytes = bytes.to_vec();
        if encoding == Encoding::Sparse {
            sparse::to_dense(&mut bytes)?;
            write_sketch(call, &bytes)?;
        }
        if is(what, "todense") {
            call.reply.integer(i64::from(encoding == Encoding::Sparse));
            return Ok(());
        }
        call.reply.array(REGISTERS);
        (0..REGISTERS).for_each(|index| call.reply.integer(i64::from(dense::get(&bytes, index))));
    } else if is(what, "encoding") {
        call.reply.simple(if encoding == Encoding::Dense { "dense" } else { "sparse" });
    } else if is(what, "decode") {
        if encoding == Encoding::Dense {
            return Err("ERR HLL encoding is not sparse".into());
        }
        call.reply.bulk(sparse::describe(bytes).as_bytes());
    } else {
        let text = [b"ERR Unknown PFDEBUG subcommand '", c_string(what), b"'"].concat();
        return Err(CommandError::Bytes(text));
    }
    Ok(())
}

/// Both encodings count the same, and about right.
fn pfselftest(call: &mut ServerCall<'_>) -> CommandResult {
    const ELEMENTS: u64 = 100_000;
    let (mut sparse, mut dense) = (sketch::empty(), sketch::empty());
    sparse::to_dense(&mut dense)?;
    let mut next = 1;
    for number in 1..=ELEMENTS {
        let (index, value) = sketch::place(&number.to_le_bytes());
        dense::raise(&mut dense, index, value);
        match sketch::encoding(&sparse)? {
            Encoding::Dense => {
                dense::raise(&mut sparse, index, value);
            }
            Encoding::Sparse => {
                sparse::raise(&mut sparse, index, value, call.worker.live.settings.hll_sparse_max_bytes)?;
            }
        }
        if number == next {
            let counted = sketch::count(&dense)?;
            if counted != sketch::count(&sparse)? {
                return Err("ERR TESTFAILED dense/sparse disagree".into());
            }
            // Six standard errors.
            if counted.abs_diff(number) > 1 + number / 20 {
                return Err(CommandError::of(format!("ERR TESTFAILED Too big error. card:{number}")));
            }
            next *= 10;
        }
    }
    call.reply.ok();
    Ok(())
}
