//! Parts of strings: appending, cutting out, overwriting. They keep the key's deadline.

use super::args::integer;
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::STRING;
use sessile::VALUE_BYTES_MAX;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["string"],
    group: "string",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "append",
        arity: 3,
        flags: WRITE | DENYOOM | FAST,
        since: "2.0.0",
        summary: "Appends to the string at a key",
        run: Run::Data(append),
        ..ROW
    },
    Command {
        name: "strlen",
        arity: 2,
        flags: READONLY | FAST,
        since: "2.2.0",
        summary: "The length of the string at a key",
        run: Run::Data(strlen),
        ..ROW
    },
    Command {
        name: "getrange",
        arity: 4,
        flags: READONLY,
        since: "2.4.0",
        summary: "Part of the string at a key",
        complexity: "O(N) where N is the length of the returned string",
        run: Run::Data(getrange),
        ..ROW
    },
    Command {
        name: "substr",
        arity: 4,
        flags: READONLY,
        since: "1.0.0",
        summary: "Part of the string at a key",
        complexity: "O(N) where N is the length of the returned string",
        run: Run::Data(getrange),
        ..ROW
    },
    Command {
        name: "setrange",
        arity: 4,
        flags: WRITE | DENYOOM,
        since: "2.2.0",
        summary: "Overwrites part of the string at a key",
        complexity: "O(1), not counting the time taken to copy the new string in place",
        run: Run::Data(setrange),
        ..ROW
    },
];

/// Whether a string may grow to `offset + bytes`: the directive's limit, and the engine's, which no directive lifts.
pub(super) fn check_length(call: &Call<'_, '_>, offset: usize, bytes: usize) -> CommandResult {
    match offset.checked_add(bytes) {
        Some(length) if length <= call.settings.proto_max_bulk_len.min(VALUE_BYTES_MAX) => Ok(()),
        _ => Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into()),
    }
}

fn append(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, tail) = (&call.keys[0], call.args[2]);
    let length = match call.txn.string(key)? {
        Some(bytes) => {
            let length = bytes.len();
            check_length(call, length, tail.len())?;
            call.txn.write_string_at(key, length, tail)?
        }
        None => {
            call.txn.put_string(key, tail, None);
            tail.len()
        }
    };
    call.notify(STRING, "append", 0);
    call.reply.integer(length as i64);
    Ok(())
}

fn strlen(call: &mut Call<'_, '_>) -> CommandResult {
    let length = call.txn.string(&call.keys[0])?.map(<[u8]>::len);
    call.looked_up(0, length.is_some());
    call.reply.integer(length.unwrap_or(0) as i64);
    Ok(())
}

/// Positions `start` to `end`, inclusive, negative ones from the end, as a range within `0..length`; empty if nothing is in it.
pub(super) fn clamp(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    // Lengths of anything in memory fit an i64.
    let length = length as i64;
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |position: i64| if position < 0 { (length + position).max(0) } else { position };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

fn getrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, end) = (integer(call.args[2])?, integer(call.args[3])?);
    let bytes = call.txn.string(&call.keys[0])?;
    let found = bytes.is_some();
    let bytes = bytes.unwrap_or_default();
    call.reply.bulk(&bytes[clamp(start, end, bytes.len())]);
    call.looked_up(0, found);
    Ok(())
}

fn setrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, bytes) = (&call.keys[0], call.args[3]);
    let offset = usize::try_from(integer(call.args[2])?)
        .map_err(|_| CommandError::from("ERR offset is out of range"))?;
    let length = call.txn.string(key)?.map_or(0, <[u8]>::len);
    let length = if bytes.is_empty() {
        length
    } else {
        check_length(call, offset, bytes.len())?;
        if !call.txn.has_room_for(offset.saturating_add(bytes.len())) {
            return Err(CommandError::OutOfMemory);
        }
        let length = call.txn.write_string_at(key, offset, bytes)?;
        call.notify(STRING, "setrange", 0);
        length
    };
    call.reply.integer(length as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_clamped() {
        for (start, end, range) in [
            (0, -1, 0..5),
            (0, 0, 0..1),
            (-3, -1, 2..5),
            (-100, 100, 0..5),
            (i64::MIN, i64::MAX, 0..5),
            (3, 1, 0..0),
            (-1, -3, 0..0),
            (5, 9, 0..0),
            (-100, -50, 0..1),
        ] {
            assert_eq!(clamp(start, end, 5), range, "{start} {end}");
        }
        assert_eq!(clamp(0, -1, 0), 0..0);
    }
}
