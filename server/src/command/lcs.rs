//! `LCS`: the longest common subsequence of two strings, by the table of all pairs of prefixes.
//!
//! The table takes 4 bytes per pair; it may take as much as the longest string may.

use super::args::{integer, is};
use super::flags::READONLY;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::resp::Reply;

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
pub const COMMANDS: &[Command] = &[Command {
    name: "lcs",
    arity: -3,
    flags: READONLY,
    keys: KeySpec::Range { first: 1, last: 2, step: 1 },
    since: "7.0.0",
    summary: "The longest common subsequence of two strings",
    complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
    run: Run::Data(lcs),
    ..ROW
}];

#[derive(Default)]
struct Options {
    length: bool,
    ranges: bool,
    range_lengths: bool,
    range_least: i64,
}

impl Options {
    fn parse(args: &[&[u8]]) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut rest = args;
        loop {
            rest = match rest {
                [] => break,
                [word, rest @ ..] if is(word, "idx") => {
                    options.ranges = true;
                    rest
                }
                [word, rest @ ..] if is(word, "len") => {
                    options.length = true;
                    rest
                }
                [word, rest @ ..] if is(word, "withmatchlen") => {
                    options.range_lengths = true;
                    rest
                }
                [word, least, rest @ ..] if is(word, "minmatchlen") => {
                    options.range_least = integer(least)?;
                    rest
                }
                _ => return Err(CommandError::Syntax),
            };
        }
        if options.ranges && options.length {
            return Err("ERR If you want both the length and indexes, please just use IDX.".into());
        }
        Ok(options)
    }
}

fn lcs(call: &mut Call<'_, '_>) -> CommandResult {
    for (index, key) in call.keys.iter().enumerate() {
        let found = call.txn.exists(key);
        call.looked_up(index, found);
    }
    let (Ok(left), Ok(right)) = (call.txn.string(&call.keys[0]), call.txn.string(&call.keys[1])) else {
        return Err("ERR The specified keys must contain string values".into());
    };
    let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
    let options = Options::parse(&call.args[3..])?;
    let table = Table::new(left, right, call.settings.proto_max_bulk_len)?;
    if options.length {
        call.reply.integer(i64::from(table.length()));
    } else if options.ranges {
        table.write_ranges(&options, call.reply);
    } else {
        call.reply.bulk(&table.subsequence());
    }
    Ok(())
}

/// `cells[i][j]` is the length of the answer for the first `i` and `j` bytes.
struct Table<'a> {
    left: &'a [u8],
    right: &'a [u8],
    cells: Vec<u32>,
}

/// A match that goes on for `length` bytes.
#[derive(Clone, Copy)]
struct Range {
    left: usize,
    right: usize,
    length: usize,
}

impl<'a> Table<'a> {
    fn new(left: &'a [u8], right: &'a [u8], bytes_max: usize) -> Result<Table<'a>, CommandError> {
        let width = right.len() + 1;
        let cell_count = (left.len() + 1)
            .checked_mul(width)
            .filter(|count| count.checked_mul(size_of::<u32>()).is_some_and(|bytes| bytes <= bytes_max))
            .ok_or(CommandError::from(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ))?;
        let mut cells = vec![0u32; cell_count];
        for (i, left_byte) in left.iter().enumerate() {
            let (above, row) = cells[i * width..].split_at_mut(width);
            for (j, right_byte) in right.iter().enumerate() {
                row[j + 1] = if left_byte == right_byte { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Ok(Table { left, right, cells })
    }

    fn length(&self) -> u32 {
        self.cells.last().copied().unwrap_or(0)
    }

    fn cell(&self, i: usize, j: usize) -> u32 {
        self.cells[i * (self.right.len() + 1) + j]
    }

    /// Calls `each` with every matched pair of positions, from the end to the start.
    fn for_each_pair(&self, mut each: impl FnMut(usize, usize)) {
        let (mut i, mut j) = (self.left.len(), self.right.len());
        while i > 0 && j > 0 {
            if self.left[i - 1] == self.right[j - 1] {
                (i, j) = (i - 1, j - 1);
                each(i, j);
            } else if self.cell(i - 1, j) > self.cell(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }

    fn subsequence(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length() as usize);
        self.for_each_pair(|i, _| bytes.push(self.left[i]));
        bytes.reverse();
        bytes
    }

    fn write_ranges(&self, options: &Options, reply: &mut Reply) {
        let mut ranges: Vec<Range> = Vec::new();
        self.for_each_pair(|left, right| match ranges.last_mut() {
            Some(range) if range.left == left + 1 && range.right == right + 1 => {
                *range = Range { left, right, length: range.length + 1 };
            }
            _ => ranges.push(Range { left, right, length: 1 }),
        });
        ranges.retain(|range| range.length as i64 >= options.range_least);
        reply.map(2);
        reply.bulk(b"matches");
        reply.array(ranges.len());
        for range in ranges {
            reply.array(if options.range_lengths { 3 } else { 2 });
            for start in [range.left, range.right] {
                reply.array(2);
                reply.integer(start as i64);
                reply.integer((start + range.length - 1) as i64);
            }
            if options.range_lengths {
                reply.integer(range.length as i64);
            }
        }
        reply.bulk(b"len");
        reply.integer(i64::from(self.length()));
    }
}
