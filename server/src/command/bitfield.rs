//! `BITFIELD`: integers of 1 to 64 bits at any bit of a string.
//!
//! All operations are read before the first one runs, so a bad one changes nothing. If any of them writes, the string grows to hold
//! the highest bit that any of them names, also when the write is refused by `OVERFLOW FAIL`.

use super::args::{integer, is};
use super::bit::{BAD_OFFSET, bit_offset};
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::number::parse_integer;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::STRING;
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
        name: "bitfield",
        arity: -2,
        flags: WRITE | DENYOOM,
        since: "3.2.0",
        summary: "Reads and writes integers of any width inside a string",
        complexity: "O(1) for each subcommand specified",
        run: Run::Data(bitfield),
        ..ROW
    },
    Command {
        name: "bitfield_ro",
        arity: -2,
        flags: READONLY | FAST,
        since: "6.0.0",
        summary: "Reads integers of any width inside a string",
        complexity: "O(1) for each subcommand specified",
        run: Run::Data(bitfield_ro),
        ..ROW
    },
];

/// A width and whether there is a sign: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy)]
struct IntegerType {
    signed: bool,
    bits: u32,
}

impl IntegerType {
    fn parse(argument: &[u8]) -> Result<IntegerType, CommandError> {
        const BAD_TYPE: &str = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
        let (signed, digits, most) = match argument {
            [b'i', digits @ ..] => (true, digits, 64),
            [b'u', digits @ ..] => (false, digits, 63),
            _ => return Err(BAD_TYPE.into()),
        };
        match parse_integer(digits).and_then(|bits| u32::try_from(bits).ok()) {
            Some(bits) if (1..=most).contains(&bits) => Ok(IntegerType { signed, bits }),
            _ => Err(BAD_TYPE.into()),
        }
    }

    fn least(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    fn most(self) -> i128 {
        if self.signed { (1 << (self.bits - 1)) - 1 } else { (1 << self.bits) - 1 }
    }

    /// The number that the lowest bits of `number` mean.
    fn wrap(self, number: i128) -> i128 {
        let unsigned = number & ((1 << self.bits) - 1);
        if unsigned > self.most() { unsigned - (1 << self.bits) } else { unsigned }
    }
}

/// What happens to a number that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy)]
struct Operation {
    of: IntegerType,
    offset: u64,
    overflow: Overflow,
    action: Action,
}

fn parse(call: &Call<'_, '_>) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = &call.args[2..];
    loop {
        let (of, offset, value, set, after) = match rest {
            [] => return Ok(operations),
            [word, of, offset, after @ ..] if is(word, "get") => (of, offset, None, false, after),
            [word, of, offset, value, after @ ..] if is(word, "set") => {
                (of, offset, Some(value), true, after)
            }
            [word, of, offset, value, after @ ..] if is(word, "incrby") => {
                (of, offset, Some(value), false, after)
            }
            [word, how, after @ ..] if is(word, "overflow") => {
                overflow = match how {
                    how if is(how, "wrap") => Overflow::Wrap,
                    how if is(how, "sat") => Overflow::Saturate,
                    how if is(how, "fail") => Overflow::Fail,
                    _ => return Err("ERR Invalid OVERFLOW type specified".into()),
                };
                rest = after;
                continue;
            }
            _ => return Err(CommandError::Syntax),
        };
        let of = IntegerType::parse(of)?;
        let offset = match offset {
            [b'#', digits @ ..] => parse_integer(digits).and_then(|n| n.checked_mul(i64::from(of.bits))),
            digits => parse_integer(digits),
        };
        let offset = bit_offset(call, offset)?;
        let action = match value {
            None => Action::Get,
            Some(value) if set => Action::Set(integer(value)?),
            Some(value) => Action::Add(integer(value)?),
        };
        operations.push(Operation { of, offset, overflow, action });
        rest = after;
    }
}

fn bitfield(call: &mut Call<'_, '_>) -> CommandResult {
    let operations = parse(call)?;
    run(call, &operations)
}

fn bitfield_ro(call: &mut Call<'_, '_>) -> CommandResult {
    let operations = parse(call)?;
    if operations.iter().any(|operation| !matches!(operation.action, Action::Get)) {
        return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
    }
    run(call, &operations)
}

/// The bytes that hold any integer of 64 bits at any bit.
const WINDOW_BYTES: usize = 9;

/// The bytes from the one that holds `offset`, in the highest bytes of a number; beyond the string there are zeros.
fn window(bytes: &[u8], offset: u64) -> u128 {
    let mut window = [0; 16];
    let bytes = bytes.get((offset >> 3) as usize..).unwrap_or_default();
    let length = bytes.len().min(WINDOW_BYTES);
    window[..length].copy_from_slice(&bytes[..length]);
    u128::from_be_bytes(window)
}

fn run(call: &mut Call<'_, '_>, operations: &[Operation]) -> CommandResult {
    let key = &call.keys[0];
    let length = call.txn.string(key)?.map(<[u8]>::len);
    if operations.iter().all(|operation| matches!(operation.action, Action::Get)) {
        call.looked_up(0, length.is_some());
    }
    let length = length.unwrap_or(0);
    let writes = operations.iter().filter(|operation| !matches!(operation.action, Action::Get));
    let needed = writes.map(|write| ((write.offset + u64::from(write.of.bits) - 1) >> 3) as usize + 1).max();
    // An integer may begin in the last byte that a string may have and end behind it.
    if needed.is_some_and(|needed| needed > VALUE_BYTES_MAX) {
        return Err(BAD_OFFSET.into());
    }
    // Whether anything was made otherwise than it was: a string that has only grown is new, but was not "set".
    let (mut grown, mut written) = (false, false);
    if let Some(needed) = needed.filter(|&needed| needed > length) {
        if !call.txn.has_room_for(needed) {
            return Err(CommandError::OutOfMemory);
        }
        call.txn.write_string_at(key, needed - 1, &[0])?;
        grown = true;
    }
    call.reply.array(operations.len());
    for &Operation { of, offset, overflow, action } in operations {
        let window = window(call.txn.string(key)?.unwrap_or_default(), offset);
        let shift = 128 - (offset & 7) as u32 - of.bits;
        let before = of.wrap((window >> shift) as i128);
        let exact = match action {
            Action::Get => {
                call.reply.integer(before as i64);
                continue;
            }
            // A negative number for an unsigned field is a large one.
            Action::Set(number) if !of.signed => i128::from(number as u64),
            Action::Set(number) => i128::from(number),
            Action::Add(number) => before + i128::from(number),
        };
        let after = match overflow {
            _ if (of.least()..=of.most()).contains(&exact) => exact,
            Overflow::Wrap => of.wrap(exact),
            // Redis's check wraps around: what is further below the most than an i64 reaches, it takes for too large.
            Overflow::Saturate
                if matches!(action, Action::Set(_)) && of.most() - exact > i128::from(i64::MAX) =>
            {
                of.most()
            }
            Overflow::Saturate => exact.clamp(of.least(), of.most()),
            Overflow::Fail => {
                call.reply.null();
                continue;
            }
        };
        let field = ((1u128 << of.bits) - 1) << shift;
        let changed = (window & !field | (after as u128) << shift & field).to_be_bytes();
        let used = ((offset & 7) + u64::from(of.bits)).div_ceil(8) as usize;
        if after != before {
            call.txn.write_string_at(key, (offset >> 3) as usize, &changed[..used])?;
        }
        written |= grown || after != before;
        call.reply.integer(if matches!(action, Action::Set(_)) { before } else { after } as i64);
    }
    if written {
        call.notify(STRING, "setbit", 0);
    }
    Ok(())
}
