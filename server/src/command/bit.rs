//! Single bits of strings: setting, reading, counting, finding, combining. Bit 0 is the highest of the first byte.

use super::args::{integer, is};
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::number::parse_integer;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{GENERIC, STRING};
use sessile::VALUE_BYTES_MAX;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["bitmap"],
    group: "bitmap",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "setbit",
        arity: 4,
        flags: WRITE | DENYOOM,
        since: "2.2.0",
        summary: "Sets or clears a bit and gives its old value",
        run: Run::Data(setbit),
        ..ROW
    },
    Command {
        name: "getbit",
        arity: 3,
        flags: READONLY | FAST,
        since: "2.2.0",
        summary: "A bit of the string at a key",
        run: Run::Data(getbit),
        ..ROW
    },
    Command {
        name: "bitcount",
        arity: -2,
        flags: READONLY,
        since: "2.6.0",
        summary: "Counts the set bits of a string",
        complexity: "O(N)",
        run: Run::Data(bitcount),
        ..ROW
    },
    Command {
        name: "bitpos",
        arity: -3,
        flags: READONLY,
        since: "2.8.7",
        summary: "Finds the first set or clear bit of a string",
        complexity: "O(N)",
        run: Run::Data(bitpos),
        ..ROW
    },
    Command {
        name: "bitop",
        arity: -4,
        flags: WRITE | DENYOOM,
        keys: KeySpec::Range { first: 2, last: -1, step: 1 },
        since: "2.6.0",
        summary: "Combines strings bit by bit into a key",
        complexity: "O(N)",
        run: Run::Data(bitop),
        ..ROW
    },
];

/// The text of a bit's position that is none.
pub(super) const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";

/// A bit's position: not beyond the longest string.
pub(super) fn bit_offset(call: &Call<'_, '_>, offset: Option<i64>) -> Result<u64, CommandError> {
    let bytes_max = call.settings.proto_max_bulk_len.min(VALUE_BYTES_MAX) as u64;
    offset
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| offset >> 3 < bytes_max)
        .ok_or(CommandError::from(BAD_OFFSET))
}

fn mask(offset: u64) -> u8 {
    0x80 >> (offset & 7)
}

fn setbit(call: &mut Call<'_, '_>) -> CommandResult {
    const BAD_BIT: &str = "ERR bit is not an integer or out of range";
    let key = &call.keys[0];
    let offset = bit_offset(call, parse_integer(call.args[2]))?;
    let on = match parse_integer(call.args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(BAD_BIT.into()),
    };
    let index = (offset >> 3) as usize;
    let byte = call.txn.string(key)?.and_then(|bytes| bytes.get(index)).copied();
    let before = byte.unwrap_or(0);
    let after = if on { before | mask(offset) } else { before & !mask(offset) };
    // A string is as long as the highest bit ever set or cleared.
    if byte != Some(after) {
        if !call.txn.has_room_for(index + 1) {
            return Err(CommandError::OutOfMemory);
        }
        call.txn.write_string_at(key, index, &[after])?;
        call.notify(STRING, "setbit", 0);
    }
    call.reply.integer(i64::from(before & mask(offset) != 0));
    Ok(())
}

fn getbit(call: &mut Call<'_, '_>) -> CommandResult {
    let offset = bit_offset(call, parse_integer(call.args[2]))?;
    let bytes = call.txn.string(&call.keys[0])?;
    let (found, byte) = (bytes.is_some(), bytes.and_then(|bytes| bytes.get((offset >> 3) as usize).copied()));
    call.looked_up(0, found);
    call.reply.integer(i64::from(byte.unwrap_or(0) & mask(offset) != 0));
    Ok(())
}

/// Whether positions count bits; otherwise bytes.
fn counts_bits(word: &[u8]) -> Result<bool, CommandError> {
    if is(word, "bit") {
        Ok(true)
    } else if is(word, "byte") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

/// Bits `first..end` of a string: positions are clamped to it, negative ones count from its end.
fn bit_range(start: i64, end: i64, bits: bool, length: usize) -> std::ops::Range<u64> {
    let unit = if bits { 1 } else { 8 };
    let total = length as i64 * 8 / unit;
    let from_end = |position: i64| if position < 0 { (total + position).max(0) } else { position };
    let (start, end) = (from_end(start), from_end(end).min(total - 1));
    if start > end { 0..0 } else { (start * unit) as u64..((end + 1) * unit) as u64 }
}

/// The byte at `index` with the bits outside of `range` replaced by `outside`.
fn byte_within(bytes: &[u8], index: u64, range: &std::ops::Range<u64>, outside: bool) -> u8 {
    let mut inside = 0xFFu8;
    if range.start > index * 8 {
        inside &= 0xFF >> (range.start - index * 8).min(7);
    }
    if range.end < index * 8 + 8 {
        inside &= 0xFFu8.checked_shl((index * 8 + 8 - range.end) as u32).unwrap_or(0);
    }
    let byte = bytes[index as usize];
    if outside { byte | !inside } else { byte & inside }
}

fn bitcount(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(bytes) = call.txn.string(&call.keys[0])? else {
        call.looked_up(0, false);
        call.reply.integer(0);
        return Ok(());
    };
    call.lookups.count(true);
    let range = match &call.args[2..] {
        [] => 0..bytes.len() as u64 * 8,
        [start, end, unit @ ..] if unit.len() <= 1 => {
            let (start, end) = (integer(start)?, integer(end)?);
            if start < 0 && end < 0 && start > end {
                0..0
            } else {
                let bits = unit.first().map_or(Ok(false), |word| counts_bits(word))?;
                bit_range(start, end, bits, bytes.len())
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    let mut count = 0;
    if !range.is_empty() {
        let (first, last) = (range.start / 8, (range.end - 1) / 8);
        count += byte_within(bytes, first, &range, false).count_ones() as usize;
        if last > first {
            count += byte_within(bytes, last, &range, false).count_ones() as usize;
            count += count_ones(&bytes[first as usize + 1..last as usize]);
        }
    }
    call.reply.integer(count as i64);
    Ok(())
}

fn count_ones(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word).count_ones() as usize).sum::<usize>()
        + tail.iter().map(|byte| byte.count_ones() as usize).sum::<usize>()
}

fn bitpos(call: &mut Call<'_, '_>) -> CommandResult {
    let wanted = match integer(call.args[2])? {
        0 => false,
        1 => true,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let Some(bytes) = call.txn.string(&call.keys[0])? else {
        call.looked_up(0, false);
        call.reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    call.lookups.count(true);
    let (range, end_given) = match &call.args[3..] {
        [] => (0..bytes.len() as u64 * 8, false),
        [start] => (bit_range(integer(start)?, -1, false, bytes.len()), false),
        [start, end, unit @ ..] if unit.len() <= 1 => {
            let start = integer(start)?;
            let bits = unit.first().map_or(Ok(false), |word| counts_bits(word))?;
            (bit_range(start, integer(end)?, bits, bytes.len()), true)
        }
        _ => return Err(CommandError::Syntax),
    };
    let position = if range.is_empty() {
        None
    } else {
        // Looking for zeros, a string without a stated end goes on with zeros.
        let past_end = (!wanted && !end_given).then_some(range.end);
        first_bit(bytes, &range, wanted).or(past_end)
    };
    call.reply.integer(position.map_or(-1, |position| position as i64));
    Ok(())
}

/// The first bit of a range, which is not empty, that is as wanted.
fn first_bit(bytes: &[u8], range: &std::ops::Range<u64>, wanted: bool) -> Option<u64> {
    let (first, last) = (range.start / 8, (range.end - 1) / 8);
    let nothing = if wanted { 0 } else { 0xFF };
    let in_byte = |index: u64| {
        let byte = byte_within(bytes, index, range, !wanted);
        let found = if wanted { byte } else { !byte };
        (found != 0).then(|| index * 8 + u64::from(found.leading_zeros()))
    };
    in_byte(first).or_else(|| {
        let middle = bytes.get(first as usize + 1..last as usize).unwrap_or_default();
        match middle.iter().position(|&byte| byte != nothing) {
            Some(offset) => in_byte(first + 1 + offset as u64),
            None => in_byte(last),
        }
    })
}

fn bitop(call: &mut Call<'_, '_>) -> CommandResult {
    let combine: fn(u8, u8) -> u8 = match call.args[1] {
        word if is(word, "and") => |left, right| left & right,
        word if is(word, "or") => |left, right| left | right,
        word if is(word, "xor") => |left, right| left ^ right,
        word if is(word, "not") => |_, right| !right,
        _ => return Err(CommandError::Syntax),
    };
    let Some((target, sources)) = call.keys.split_first() else { return Err(CommandError::Syntax) };
    let not = is(call.args[1], "not");
    if not && sources.len() != 1 {
        return Err("ERR BITOP NOT must be called with a single source key.".into());
    }
    let mut length = 0;
    for (index, source) in sources.iter().enumerate() {
        let bytes = call.txn.string(source)?.map(<[u8]>::len);
        call.looked_up(index + 1, bytes.is_some());
        length = length.max(bytes.unwrap_or(0));
    }
    let mut result: Vec<u8> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let bytes = call.txn.string(source)?.unwrap_or_default();
        if index == 0 && !not {
            result.extend_from_slice(bytes);
            result.resize(length, 0);
            continue;
        }
        result.resize(length, 0);
        // A shorter string goes on with zeros.
        let padded = bytes.iter().copied().chain(std::iter::repeat(0));
        result.iter_mut().zip(padded).for_each(|(left, right)| *left = combine(*left, right));
    }
    if result.is_empty() {
        if call.txn.delete(target) {
            call.notify(GENERIC, "del", 0);
        }
    } else {
        call.txn.put_string(target, &result, None);
        call.notify(STRING, "set", 0);
    }
    call.reply.integer(result.len() as i64);
    Ok(())
}
