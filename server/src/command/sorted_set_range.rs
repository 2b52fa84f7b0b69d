//! Sorted sets: members in a range of ranks, scores or bytes; how many they are, and removing them.

use super::args::{integer, is};
use super::double::parse_end;
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::sorted_set::{ROW, notify_removed};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify;
use crate::resp::Protocol;
use sessile::{RankRange, SortedMembers};
use std::ops::{Bound, Range};

const LIMITED: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).";
const RETURNED: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.";
const REMOVED: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.";
const COUNTED: &str = "O(log(N)) with N being the number of elements in the sorted set.";

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "zrange",
        arity: -4,
        flags: READONLY,
        since: "1.2.0",
        summary: "Members of a sorted set in a range of ranks, scores or bytes",
        complexity: RETURNED,
        run: Run::Data(zrange),
        ..ROW
    },
    Command {
        name: "zrangestore",
        arity: -5,
        flags: WRITE | DENYOOM,
        keys: KeySpec::Range { first: 1, last: 2, step: 1 },
        since: "6.2.0",
        summary: "Stores a range of a sorted set in a key",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.",
        run: Run::Data(zrangestore),
        ..ROW
    },
    Command {
        name: "zrevrange",
        arity: -4,
        flags: READONLY,
        since: "1.2.0",
        summary: "Members of a sorted set in a range of ranks, from the greatest score down",
        complexity: RETURNED,
        run: Run::Data(zrevrange),
        ..ROW
    },
    Command {
        name: "zrangebyscore",
        arity: -4,
        flags: READONLY,
        since: "1.0.5",
        summary: "Members of a sorted set in a range of scores",
        complexity: LIMITED,
        run: Run::Data(zrangebyscore),
        ..ROW
    },
    Command {
        name: "zrevrangebyscore",
        arity: -4,
        flags: READONLY,
        since: "2.2.0",
        summary: "Members of a sorted set in a range of scores, from the greatest down",
        complexity: LIMITED,
        run: Run::Data(zrevrangebyscore),
        ..ROW
    },
    Command {
        name: "zrangebylex",
        arity: -4,
        flags: READONLY,
        since: "2.8.9",
        summary: "Members of a sorted set of equal scores in a range of bytes",
        complexity: LIMITED,
        run: Run::Data(zrangebylex),
        ..ROW
    },
    Command {
        name: "zrevrangebylex",
        arity: -4,
        flags: READONLY,
        since: "2.8.9",
        summary: "Members of a sorted set of equal scores in a range of bytes, from the last on",
        complexity: LIMITED,
        run: Run::Data(zrevrangebylex),
        ..ROW
    },
    Command {
        name: "zcount",
        arity: 4,
        flags: READONLY | FAST,
        since: "2.0.0",
        summary: "The number of members of a sorted set in a range of scores",
        complexity: COUNTED,
        run: Run::Data(zcount),
        ..ROW
    },
    Command {
        name: "zlexcount",
        arity: 4,
        flags: READONLY | FAST,
        since: "2.8.9",
        summary: "The number of members of a sorted set of equal scores in a range of bytes",
        complexity: COUNTED,
        run: Run::Data(zlexcount),
        ..ROW
    },
    Command {
        name: "zremrangebyrank",
        arity: 4,
        flags: WRITE,
        since: "2.0.0",
        summary: "Removes the members of a sorted set in a range of ranks",
        complexity: REMOVED,
        run: Run::Data(zremrangebyrank),
        ..ROW
    },
    Command {
        name: "zremrangebyscore",
        arity: 4,
        flags: WRITE,
        since: "1.2.0",
        summary: "Removes the members of a sorted set in a range of scores",
        complexity: REMOVED,
        run: Run::Data(zremrangebyscore),
        ..ROW
    },
    Command {
        name: "zremrangebylex",
        arity: 4,
        flags: WRITE,
        since: "2.8.9",
        summary: "Removes the members of a sorted set of equal scores in a range of bytes",
        complexity: REMOVED,
        run: Run::Data(zremrangebylex),
        ..ROW
    },
];

/// What a range is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range as asked for.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// The first and the last, from the end if negative.
    Ranks(i64, i64),
    /// Of scores or members.
    Of(RankRange<'a>),
    /// Nothing is in it, whatever the set.
    Nothing,
}

impl<'a> Asked<'a> {
    fn read(by: By, least: &'a [u8], most: &'a [u8]) -> Result<Asked<'a>, CommandError> {
        match by {
            By::Rank => Ok(Asked::Ranks(integer(least)?, integer(most)?)),
            By::Score => match (score_end(least), score_end(most)) {
                (Some(least), Some(most)) => Ok(Asked::Of(RankRange::Scores(least, most))),
                _ => Err("ERR min or max is not a float".into()),
            },
            By::Lex => match (LexEnd::read(least), LexEnd::read(most)) {
                (Some(least), Some(most)) => Ok(LexEnd::range(least, most)),
                _ => Err("ERR min or max not valid string range item".into()),
            },
        }
    }
}

/// One end of a range of scores: a number, behind a parenthesis if it is not included.
fn score_end(text: &[u8]) -> Option<Bound<f64>> {
    match text {
        [b'(', number @ ..] => parse_end(number).map(Bound::Excluded),
        number => parse_end(number).map(Bound::Included),
    }
}

/// One end of a range of members.
#[derive(Clone, Copy)]
enum LexEnd<'a> {
    Least,
    Greatest,
    Member(Bound<&'a [u8]>),
}

impl<'a> LexEnd<'a> {
    fn read(text: &'a [u8]) -> Option<LexEnd<'a>> {
        match text {
            [b'-'] | [b'-', 0, ..] => Some(LexEnd::Least),
            [b'+'] | [b'+', 0, ..] => Some(LexEnd::Greatest),
            [b'(', member @ ..] => Some(LexEnd::Member(Bound::Excluded(member))),
            [b'[', member @ ..] => Some(LexEnd::Member(Bound::Included(member))),
            _ => None,
        }
    }

    fn range(least: LexEnd<'a>, most: LexEnd<'a>) -> Asked<'a> {
        let least = match least {
            LexEnd::Least => Bound::Unbounded,
            LexEnd::Member(bound) => bound,
            LexEnd::Greatest => return Asked::Nothing,
        };
        let most = match most {
            LexEnd::Greatest => Bound::Unbounded,
            LexEnd::Member(bound) => bound,
            LexEnd::Least => return Asked::Nothing,
        };
        Asked::Of(RankRange::Members(least, most))
    }
}

/// The ranks from the first to the last of so many members, the ends included, counted from the end if negative.
fn clamped(first: i64, last: i64, length: usize) -> Range<usize> {
    // There are fewer members than an i64 has numbers.
    let length = length as i64;
    let from_start = |rank: i64| if rank < 0 { rank.saturating_add(length) } else { rank };
    let (first, last) = (from_start(first).max(0), from_start(last).min(length - 1));
    if first > last { 0..0 } else { first as usize..last as usize + 1 }
}

/// A range of a sorted set, with what was asked to be done with it.
struct Query<'a> {
    asked: Asked<'a>,
    reverse: bool,
    scores: bool,
    offset: i64,
    limit: i64,
}

impl<'a> Query<'a> {
    /// Reads what follows the key: both ends and the options. `by` and `reverse` are fixed by the command's name, if it has them.
    fn read(
        args: &[&'a [u8]],
        by: Option<By>,
        reverse: Option<bool>,
        store: bool,
    ) -> Result<Query<'a>, CommandError> {
        let (mut by, mut reverse) = (by, reverse);
        let mut query = Query { asked: Asked::Nothing, reverse: false, scores: false, offset: 0, limit: -1 };
        let mut rest = &args[2..];
        while let [word, after @ ..] = rest {
            rest = after;
            if !store && is(word, "withscores") {
                query.scores = true;
            } else if is(word, "limit")
                && let [offset, limit, after @ ..] = after
            {
                (query.offset, query.limit) = (integer(offset)?, integer(limit)?);
                rest = after;
            } else if reverse.is_none() && is(word, "rev") {
                reverse = Some(true);
            } else if by.is_none() && is(word, "bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && is(word, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let by = by.unwrap_or(By::Rank);
        query.reverse = reverse.unwrap_or(false);
        if query.limit != -1 && by == By::Rank {
            return Err(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
                    .into(),
            );
        }
        if query.scores && by == By::Lex {
            return Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX".into());
        }
        let (least, most) =
            if query.reverse && by != By::Rank { (args[1], args[0]) } else { (args[0], args[1]) };
        query.asked = Asked::read(by, least, most)?;
        Ok(query)
    }

    /// The ranks asked for.
    fn ranks(&self, members: SortedMembers<'_>) -> Range<usize> {
        let ranks = match &self.asked {
            Asked::Ranks(first, last) => {
                let length = members.len();
                let ranks = clamped(*first, *last, length);
                return if self.reverse { length - ranks.end..length - ranks.start } else { ranks };
            }
            Asked::Of(range) => members.ranks(range),
            Asked::Nothing => 0..0,
        };
        let length = ranks.len();
        let skipped = usize::try_from(self.offset).map_or(length, |offset| offset.min(length));
        // Any negative limit is none.
        let taken = usize::try_from(self.limit).map_or(length, |limit| limit).min(length - skipped);
        if self.reverse {
            ranks.end - skipped - taken..ranks.end - skipped
        } else {
            ranks.start + skipped..ranks.start + skipped + taken
        }
    }
}

fn range(call: &mut Call<'_, '_>, by: Option<By>, reverse: Option<bool>) -> CommandResult {
    let query = Query::read(&call.args[2..], by, reverse, false)?;
    let (members, reply) = (call.txn.sorted_set(&call.keys[0])?, &mut *call.reply);
    let ranks = members.map_or(0..0, |members| query.ranks(members));
    let pairs = query.scores && reply.protocol() == Protocol::Resp3;
    reply.array(if query.scores && !pairs { ranks.len() * 2 } else { ranks.len() });
    if let Some(members) = members {
        members.for_each(ranks, query.reverse, &mut |member, score| {
            if pairs {
                reply.array(2);
            }
            reply.bulk(member);
            if query.scores {
                reply.double(score);
            }
        });
    }
    let there = members.is_some();
    call.looked_up(0, there);
    Ok(())
}

fn zrange(call: &mut Call<'_, '_>) -> CommandResult {
    range(call, None, None)
}

fn zrevrange(call: &mut Call<'_, '_>) -> CommandResult {
    range(call, Some(By::Rank), Some(true))
}

fn zrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    range(call, Some(By::Score), Some(false))
}

fn zrevrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    range(call, Some(By::Score), Some(true))
}

fn zrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    range(call, Some(By::Lex), Some(false))
}

fn zrevrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    range(call, Some(By::Lex), Some(true))
}

fn zrangestore(call: &mut Call<'_, '_>) -> CommandResult {
    let query = Query::read(&call.args[3..], None, None, true)?;
    let mut members = Vec::new();
    let source = call.txn.sorted_set(&call.keys[1])?;
    if let Some(source) = source {
        let ranks = query.ranks(source);
        members.reserve(ranks.len());
        source.for_each(ranks, false, &mut |member, score| members.push((score, member.to_vec())));
    }
    let there = source.is_some();
    call.looked_up(1, there);
    store(call, &members, "zrangestore");
    Ok(())
}

/// Makes the first key hold these members, or deletes it if there are none, and answers how many.
pub(super) fn store(call: &mut Call<'_, '_>, members: &[(f64, Vec<u8>)], event: &'static str) {
    let mut entries: Vec<(f64, &[u8])> =
        members.iter().map(|(score, member)| (*score, &member[..])).collect();
    let was_there = call.txn.exists(&call.keys[0]);
    call.txn.sorted_set_put(&call.keys[0], &mut entries);
    if !entries.is_empty() {
        call.notify(notify::SORTED_SET, event, 0);
    } else if was_there {
        call.notify(notify::GENERIC, "del", 0);
    }
    call.reply.integer(entries.len() as i64);
}

fn count(call: &mut Call<'_, '_>, by: By) -> CommandResult {
    let query = Query::read(&call.args[2..], Some(by), Some(false), false)?;
    let members = call.txn.sorted_set(&call.keys[0])?;
    let count = members.map_or(0, |members| query.ranks(members).len());
    let there = members.is_some();
    call.looked_up(0, there);
    call.reply.integer(count as i64);
    Ok(())
}

fn zcount(call: &mut Call<'_, '_>) -> CommandResult {
    count(call, By::Score)
}

fn zlexcount(call: &mut Call<'_, '_>) -> CommandResult {
    count(call, By::Lex)
}

fn remove(call: &mut Call<'_, '_>, by: By, event: &'static str) -> CommandResult {
    let query = Query::read(&call.args[2..], Some(by), Some(false), false)?;
    let ranks = call.txn.sorted_set(&call.keys[0])?.map_or(0..0, |members| query.ranks(members));
    let removed = call.txn.sorted_set_remove_ranks(&call.keys[0], ranks)?;
    if removed > 0 {
        notify_removed(call, event, 0);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

fn zremrangebyrank(call: &mut Call<'_, '_>) -> CommandResult {
    remove(call, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    remove(call, By::Score, "zremrangebyscore")
}

fn zremrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    remove(call, By::Lex, "zremrangebylex")
}
