//! Sorted sets: setting scores, removing members, and asking for one of them. Ranges, pops, random members and combinations are in files of their own.

use super::args::is;
use super::double::parse_double;
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify;
use crate::resp::Reply;
use sessile::{ScoreError, ScoreRule};
use smallvec::SmallVec;

/// What the rows of sorted sets have in common.
pub(super) const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["sortedset"],
    group: "sorted-set",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "zadd",
        arity: -4,
        flags: WRITE | DENYOOM | FAST,
        since: "1.2.0",
        summary: "Sets the scores of members of a sorted set",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        run: Run::Data(zadd),
        ..ROW
    },
    Command {
        name: "zincrby",
        arity: 4,
        flags: WRITE | DENYOOM | FAST,
        since: "1.2.0",
        summary: "Adds to the score of a member of a sorted set",
        complexity: "O(log(N)) where N is the number of elements in the sorted set.",
        run: Run::Data(zincrby),
        ..ROW
    },
    Command {
        name: "zrem",
        arity: -3,
        flags: WRITE | FAST,
        since: "1.2.0",
        summary: "Removes members of a sorted set",
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
        run: Run::Data(zrem),
        ..ROW
    },
    Command {
        name: "zcard",
        arity: 2,
        flags: READONLY | FAST,
        since: "1.2.0",
        summary: "The number of members of a sorted set",
        run: Run::Data(zcard),
        ..ROW
    },
    Command {
        name: "zscore",
        arity: 3,
        flags: READONLY | FAST,
        since: "1.2.0",
        summary: "The score of a member of a sorted set",
        run: Run::Data(zscore),
        ..ROW
    },
    Command {
        name: "zmscore",
        arity: -3,
        flags: READONLY | FAST,
        since: "6.2.0",
        summary: "The scores of members of a sorted set",
        complexity: "O(N) where N is the number of members being requested.",
        run: Run::Data(zmscore),
        ..ROW
    },
    Command {
        name: "zrank",
        arity: -3,
        flags: READONLY | FAST,
        since: "2.0.0",
        summary: "How many members of a sorted set come before a member",
        complexity: "O(log(N))",
        run: Run::Data(zrank),
        ..ROW
    },
    Command {
        name: "zrevrank",
        arity: -3,
        flags: READONLY | FAST,
        since: "2.0.0",
        summary: "How many members of a sorted set come after a member",
        complexity: "O(log(N))",
        run: Run::Data(zrevrank),
        ..ROW
    },
];

/// `ZADD` and `ZINCRBY`, which takes the same options.
fn set_scores(call: &mut Call<'_, '_>, mut rule: ScoreRule) -> CommandResult {
    let (mut at, mut changed) = (2, false);
    for argument in &call.args[2..] {
        match argument {
            word if is(word, "nx") => rule.only_new = true,
            word if is(word, "xx") => rule.only_existing = true,
            word if is(word, "gt") => rule.only_greater = true,
            word if is(word, "lt") => rule.only_less = true,
            word if is(word, "ch") => changed = true,
            word if is(word, "incr") => rule.increment = true,
            _ => break,
        }
        at += 1;
    }
    let (pairs, []) = call.args[at..].as_chunks::<2>() else { return Err(CommandError::Syntax) };
    if pairs.is_empty() {
        return Err(CommandError::Syntax);
    }
    if rule.only_new && rule.only_existing {
        return Err("ERR XX and NX options at the same time are not compatible".into());
    }
    if (rule.only_greater || rule.only_less) && rule.only_new || rule.only_greater && rule.only_less {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
    }
    if rule.increment && pairs.len() > 1 {
        return Err("ERR INCR option supports a single increment-element pair".into());
    }
    let mut entries: SmallVec<[(f64, &[u8]); 4]> = SmallVec::with_capacity(pairs.len());
    for [score, member] in pairs {
        entries.push((parse_double(score).ok_or(CommandError::NotAFloat)?, member));
    }
    let done = call.txn.sorted_set_add(&call.keys[0], &entries, rule).map_err(|error| match error {
        ScoreError::WrongKind(_) => CommandError::WrongType,
        ScoreError::NotANumber => CommandError::from("ERR resulting score is not a number (NaN)"),
    })?;
    if done.added + done.updated > 0 {
        call.notify(notify::SORTED_SET, if rule.increment { "zincr" } else { "zadd" }, 0);
    }
    match done.score {
        Some(score) if rule.increment => call.reply.double(score),
        None if rule.increment => call.reply.null(),
        _ => call.reply.integer((done.added + if changed { done.updated } else { 0 }) as i64),
    }
    Ok(())
}

fn zadd(call: &mut Call<'_, '_>) -> CommandResult {
    set_scores(call, ScoreRule::default())
}

fn zincrby(call: &mut Call<'_, '_>) -> CommandResult {
    set_scores(call, ScoreRule { increment: true, ..ScoreRule::default() })
}

/// What there is to tell of members that were removed from the key with this index, which may be gone with them.
pub(super) fn notify_removed(call: &mut Call<'_, '_>, event: &'static str, key: usize) {
    call.notify(notify::SORTED_SET, event, key);
    if !call.txn.exists(&call.keys[key]) {
        call.notify(notify::GENERIC, "del", key);
    }
}

fn zrem(call: &mut Call<'_, '_>) -> CommandResult {
    let removed = call.txn.sorted_set_remove(&call.keys[0], &call.args[2..])?;
    if removed > 0 {
        notify_removed(call, "zrem", 0);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

fn zcard(call: &mut Call<'_, '_>) -> CommandResult {
    let members = call.txn.sorted_set_len(&call.keys[0])?;
    // There is no empty sorted set.
    call.looked_up(0, members > 0);
    call.reply.integer(members as i64);
    Ok(())
}

fn double_or_null(reply: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zscore(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let members = call.txn.sorted_set(key)?;
    let score = members.and_then(|members| members.score(call.args[2]));
    let there = members.is_some();
    call.looked_up(0, there);
    double_or_null(call.reply, score);
    Ok(())
}

fn zmscore(call: &mut Call<'_, '_>) -> CommandResult {
    let there = call.txn.exists(&call.keys[0]);
    call.looked_up(0, there);
    let (members, reply) = (call.txn.sorted_set(&call.keys[0])?, &mut *call.reply);
    reply.array(call.args.len() - 2);
    for member in &call.args[2..] {
        double_or_null(reply, members.and_then(|members| members.score(member)));
    }
    Ok(())
}

fn rank(call: &mut Call<'_, '_>, reverse: bool) -> CommandResult {
    let with_score = match call.args[3..] {
        [] => false,
        [word] if is(word, "withscore") => true,
        [_] => return Err(CommandError::Syntax),
        _ => return Err(super::args::wrong_arity(if reverse { "zrevrank" } else { "zrank" })),
    };
    let key = &call.keys[0];
    let members = call.txn.sorted_set(key)?;
    let found = members.and_then(|members| members.rank(call.args[2]));
    let length = members.map_or(0, |members| members.len());
    call.looked_up(0, length > 0);
    match found {
        Some((rank, score)) => {
            let rank = if reverse { length - 1 - rank } else { rank };
            if with_score {
                call.reply.array(2);
            }
            call.reply.integer(rank as i64);
            if with_score {
                call.reply.double(score);
            }
        }
        None if with_score => call.reply.null_array(),
        None => call.reply.null(),
    }
    Ok(())
}

fn zrank(call: &mut Call<'_, '_>) -> CommandResult {
    rank(call, false)
}

fn zrevrank(call: &mut Call<'_, '_>) -> CommandResult {
    rank(call, true)
}
