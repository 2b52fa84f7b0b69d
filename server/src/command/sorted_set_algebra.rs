//! Unions, intersections and differences of sorted sets, and of sets, whose members count as scored 1.
//!
//! Sums of floats depend on their order, so inputs are combined in Redis's: from the smallest to the largest, equally large ones as they were given.

use super::args::{integer, is, positive_or};
use super::double::parse_double;
use super::flags::{DENYOOM, MOVABLEKEYS, READONLY, WRITE};
use super::keys::{counted_from_1, destination_and_counted};
use super::sorted_set::ROW;
use super::sorted_set_range::store;
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::resp::Protocol;
use sessile::{Key, Kind, SortedMembers, Txn};
use std::cmp::Ordering;
use std::collections::HashMap;

const UNITED: &str = "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.";
const INTERSECTED: &str = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.";
const SUBTRACTED: &str = "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.";

const READ: Command = Command {
    arity: -3,
    flags: READONLY | MOVABLEKEYS,
    keys: KeySpec::Across { first: 0, last: 0, step: 0, find: counted_from_1 },
    ..ROW
};
const STORE: Command = Command {
    arity: -4,
    flags: WRITE | DENYOOM | MOVABLEKEYS,
    keys: KeySpec::Across { first: 1, last: 1, step: 1, find: destination_and_counted },
    ..ROW
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "zunion",
        since: "6.2.0",
        summary: "The union of sorted sets",
        complexity: UNITED,
        run: Run::Data(zunion),
        ..READ
    },
    Command {
        name: "zunionstore",
        since: "2.0.0",
        summary: "Stores the union of sorted sets in a key",
        complexity: UNITED,
        run: Run::Data(zunionstore),
        ..STORE
    },
    Command {
        name: "zinter",
        since: "6.2.0",
        summary: "The intersection of sorted sets",
        complexity: INTERSECTED,
        run: Run::Data(zinter),
        ..READ
    },
    Command {
        name: "zinterstore",
        since: "2.0.0",
        summary: "Stores the intersection of sorted sets in a key",
        complexity: INTERSECTED,
        run: Run::Data(zinterstore),
        ..STORE
    },
    Command {
        name: "zintercard",
        since: "7.0.0",
        summary: "The size of the intersection of sorted sets",
        complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
        run: Run::Data(zintercard),
        ..READ
    },
    Command {
        name: "zdiff",
        since: "6.2.0",
        summary: "The members of the first of several sorted sets that no other one has",
        complexity: SUBTRACTED,
        run: Run::Data(zdiff),
        ..READ
    },
    Command {
        name: "zdiffstore",
        since: "6.2.0",
        summary: "Stores the members of the first of several sorted sets that no other one has in a key",
        complexity: SUBTRACTED,
        run: Run::Data(zdiffstore),
        ..STORE
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the scores of a member that several inputs have.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Least,
    Greatest,
}

impl Aggregate {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            // Infinities of both signs are nothing.
            Aggregate::Sum => number_or_zero(left + right),
            Aggregate::Least if right < left => right,
            Aggregate::Greatest if right > left => right,
            Aggregate::Least | Aggregate::Greatest => left,
        }
    }
}

/// An infinite score with a weight of zero is nothing.
fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// An input: where its key is among the call's, and what its scores are multiplied with.
#[derive(Clone, Copy)]
struct Input {
    key: usize,
    weight: f64,
    length: usize,
}

/// What was asked for, read from the number of keys on.
struct Query {
    inputs: Vec<Input>,
    aggregate: Aggregate,
    scores: bool,
    /// Of the size of an intersection; 0 is none.
    limit: u64,
}

/// What is done with the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Returned,
    Stored,
    Counted,
}

type Members = Vec<(f64, Vec<u8>)>;

/// What a key holds, as far as it can be combined.
#[derive(Clone, Copy)]
enum Source<'a> {
    Nothing,
    Set(sessile::Members<'a>),
    SortedSet(SortedMembers<'a>),
}

impl<'a> Source<'a> {
    fn of(txn: &'a Txn<'_>, key: &Key<'_>) -> Result<Source<'a>, CommandError> {
        Ok(match txn.kind(key) {
            Some(Kind::Set) => txn.set_members(key)?.map_or(Source::Nothing, Source::Set),
            _ => txn.sorted_set(key)?.map_or(Source::Nothing, Source::SortedSet),
        })
    }

    fn len(&self) -> usize {
        match self {
            Source::Nothing => 0,
            Source::Set(members) => members.len(),
            Source::SortedSet(members) => members.len(),
        }
    }

    /// A member's score.
    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Nothing => None,
            Source::Set(members) => members.contains(member).then_some(1.0),
            Source::SortedSet(members) => members.score(member),
        }
    }

    fn for_each(&self, each: &mut dyn FnMut(&[u8], f64)) {
        match self {
            Source::Nothing => {}
            Source::Set(members) => members.iter().for_each(|member| each(member, 1.0)),
            Source::SortedSet(members) => members.for_each(0..members.len(), false, each),
        }
    }
}

/// Reads `numkeys key … [options]`, which begins at this argument, and looks at the keys, as Redis does in between.
fn read(
    call: &mut Call<'_, '_>,
    at: usize,
    operation: Operation,
    outcome: Outcome,
) -> Result<Query, CommandError> {
    let args = &call.args[at..];
    let count = integer(args[0])?;
    let Ok(count @ 1..) = usize::try_from(count) else {
        let name = String::from_utf8_lossy(call.args[0]).to_ascii_lowercase();
        return Err(CommandError::of(format!("ERR at least 1 input key is needed for '{name}' command")));
    };
    if count >= args.len() {
        return Err(CommandError::Syntax);
    }
    let first = usize::from(outcome == Outcome::Stored);
    let mut inputs = Vec::with_capacity(count);
    for key in first..first + count {
        let length = Source::of(call.txn, &call.keys[key])?.len();
        call.looked_up(key, length > 0);
        inputs.push(Input { key, weight: 1.0, length });
    }
    let mut query = Query { inputs, aggregate: Aggregate::Sum, scores: false, limit: 0 };
    let mut rest = &args[1 + count..];
    let aggregates = operation != Operation::Difference && outcome != Outcome::Counted;
    while let [word, after @ ..] = rest {
        rest = match after {
            _ if aggregates && after.len() >= count && is(word, "weights") => {
                for (input, weight) in query.inputs.iter_mut().zip(after) {
                    input.weight =
                        parse_double(weight).ok_or(CommandError::from("ERR weight value is not a float"))?;
                }
                &after[count..]
            }
            [how, after @ ..] if aggregates && is(word, "aggregate") => {
                query.aggregate = match how {
                    how if is(how, "sum") => Aggregate::Sum,
                    how if is(how, "min") => Aggregate::Least,
                    how if is(how, "max") => Aggregate::Greatest,
                    _ => return Err(CommandError::Syntax),
                };
                after
            }
            _ if outcome == Outcome::Returned && is(word, "withscores") => {
                query.scores = true;
                after
            }
            [limit, after @ ..] if outcome == Outcome::Counted && is(word, "limit") => {
                query.limit = positive_or(limit, "ERR LIMIT can't be negative")?;
                after
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    if operation != Operation::Difference {
        query.inputs.sort_by_key(|input| input.length);
    }
    Ok(query)
}

/// Inputs with their weights.
type Sources<'a> = [(Source<'a>, f64)];

fn union(sources: &Sources<'_>, aggregate: Aggregate) -> Members {
    let mut scores: HashMap<Vec<u8>, f64> = HashMap::new();
    for (source, weight) in sources {
        source.for_each(&mut |member, score| {
            let score = number_or_zero(weight * score);
            match scores.get_mut(member) {
                Some(sum) => *sum = aggregate.of(*sum, score),
                None => {
                    scores.insert(member.to_vec(), score);
                }
            }
        });
    }
    scores.into_iter().map(|(member, score)| (score, member)).collect()
}

/// What the first, smallest input has in common with all others: at most so many members.
fn intersection(sources: &Sources<'_>, aggregate: Aggregate, most: usize) -> Members {
    let [(smallest, weight), others @ ..] = sources else { return Vec::new() };
    let mut found = Vec::new();
    smallest.for_each(&mut |member, score| {
        if found.len() >= most {
            return;
        }
        let mut sum = number_or_zero(weight * score);
        for (other, weight) in others {
            let Some(score) = other.score(member) else { return };
            sum = aggregate.of(sum, score * weight);
        }
        found.push((sum, member.to_vec()));
    });
    found
}

fn difference(sources: &Sources<'_>) -> Members {
    let [(first, _), others @ ..] = sources else { return Vec::new() };
    let mut found = Vec::new();
    first.for_each(&mut |member, score| {
        if others.iter().all(|(other, _)| other.score(member).is_none()) {
            found.push((score, member.to_vec()));
        }
    });
    found
}

fn combine(call: &mut Call<'_, '_>, operation: Operation, outcome: Outcome) -> CommandResult {
    let at = if outcome == Outcome::Stored { 2 } else { 1 };
    let query = read(call, at, operation, outcome)?;
    let most = match usize::try_from(query.limit) {
        Ok(limit @ 1..) => limit,
        _ => usize::MAX,
    };
    let mut sources = Vec::with_capacity(query.inputs.len());
    for input in &query.inputs {
        sources.push((Source::of(call.txn, &call.keys[input.key])?, input.weight));
    }
    let mut members = match operation {
        Operation::Union => union(&sources, query.aggregate),
        Operation::Intersection => intersection(&sources, query.aggregate, most),
        Operation::Difference => difference(&sources),
    };
    match (outcome, operation) {
        (Outcome::Counted, _) => call.reply.integer(members.len() as i64),
        (Outcome::Stored, Operation::Union) => store(call, &members, "zunionstore"),
        (Outcome::Stored, Operation::Intersection) => store(call, &members, "zinterstore"),
        (Outcome::Stored, Operation::Difference) => store(call, &members, "zdiffstore"),
        (Outcome::Returned, _) => {
            // Scores are numbers, so they compare.
            members.sort_unstable_by(|left, right| {
                left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal).then_with(|| left.1.cmp(&right.1))
            });
            let reply = &mut *call.reply;
            let pairs = query.scores && reply.protocol() == Protocol::Resp3;
            reply.array(if query.scores && !pairs { members.len() * 2 } else { members.len() });
            for (score, member) in &members {
                if pairs {
                    reply.array(2);
                }
                reply.bulk(member);
                if query.scores {
                    reply.double(*score);
                }
            }
        }
    }
    Ok(())
}

fn zunion(call: &mut Call<'_, '_>) -> CommandResult {
    combine(call, Operation::Union, Outcome::Returned)
}

fn zunionstore(call: &mut Call<'_, '_>) -> CommandResult {
    combine(call, Operation::Union, Outcome::Stored)
}

fn zinter(call: &mut Call<'_, '_>) -> CommandResult {
    combine(call, Operation::Intersection, Outcome::Returned)
}

fn zinterstore(call: &mut Call<'_, '_>) -> CommandResult {
    combine(call, Operation::Intersection, Outcome::Stored)
}

fn zintercard(call: &mut Call<'_, '_>) -> CommandResult {
    combine(call, Operation::Intersection, Outcome::Counted)
}

fn zdiff(call: &mut Call<'_, '_>) -> CommandResult {
    combine(call, Operation::Difference, Outcome::Returned)
}

fn zdiffstore(call: &mut Call<'_, '_>) -> CommandResult {
    combine(call, Operation::Difference, Outcome::Stored)
}
