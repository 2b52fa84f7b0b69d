//! `SORT` and `SORT_RO`: the elements of a list, a set or a sorted set in order, and what other keys hold for them.
//!
//! Everything is read before anything is written: the elements, then the keys that they are sorted by, then the keys that are asked for. Each of
//! the latter two is reached first, and so the command may be begun anew up to there.

use super::args::{c_string, integer, is};
use super::double::parse_weight;
use super::flags::{DENYOOM, MOVABLEKEYS, OTHER_KEYS, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{GENERIC, LIST};
use sessile::{Kind, VALUE_BYTES_MAX};
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

const ROW: Command = Command {
    name: "",
    arity: -2,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["set", "sortedset", "list", "dangerous"],
    group: "generic",
    since: "",
    summary: "",
    complexity: "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        flags: WRITE | DENYOOM | MOVABLEKEYS | OTHER_KEYS,
        keys: KeySpec::Across { first: 1, last: 1, step: 1, find: keys_of_sort },
        since: "1.0.0",
        summary: "Sorts the elements of a list, a set or a sorted set",
        run: Run::Data(sort),
        ..ROW
    },
    Command {
        name: "sort_ro",
        flags: READONLY | MOVABLEKEYS | OTHER_KEYS,
        since: "7.0.0",
        summary: "Sorts the elements of a list, a set or a sorted set, and stores nothing",
        run: Run::Data(sort_ro),
        ..ROW
    },
];

const BY_DENIED: &str = "ERR BY option of SORT denied due to insufficient ACL permissions.";
const GET_DENIED: &str = "ERR GET option of SORT denied due to insufficient ACL permissions.";

/// What is asked for.
#[derive(Default)]
struct Options<'a> {
    descending: bool,
    alphabetic: bool,
    limit: Option<(i64, i64)>,
    by: Option<&'a [u8]>,
    /// Whether a `BY` was the same for all elements: then they are not sorted, even if another one is not.
    unsorted: bool,
    get: Vec<&'a [u8]>,
    /// The argument that names the key to store to.
    store: Option<usize>,
}

impl<'a> Options<'a> {
    /// Reads what follows the key, as far as it makes sense; what is wrong with it otherwise.
    fn parse(args: &[&'a [u8]], may_store: bool, may_learn: bool) -> (Options<'a>, CommandResult) {
        let mut options = Options::default();
        let mut at = 2;
        while let Some(word) = args.get(at) {
            match args[at + 1..] {
                _ if is(c_string(word), "asc") => options.descending = false,
                _ if is(c_string(word), "desc") => options.descending = true,
                _ if is(c_string(word), "alpha") => options.alphabetic = true,
                [start, count, ..] if is(c_string(word), "limit") => {
                    match (integer(start), integer(count)) {
                        (Ok(start), Ok(count)) => options.limit = Some((start, count)),
                        (Err(error), _) | (_, Err(error)) => return (options, Err(error)),
                    }
                    at += 2;
                }
                [_, ..] if may_store && is(c_string(word), "store") => {
                    options.store = Some(at + 1);
                    at += 1;
                }
                [pattern, ..] if is(c_string(word), "by") => {
                    options.by = Some(pattern);
                    options.unsorted |= Pattern::parse(pattern).is_none();
                    if !may_learn && Pattern::parse(pattern).is_some() {
                        return (options, Err(BY_DENIED.into()));
                    }
                    at += 1;
                }
                [_, ..] if is(c_string(word), "get") && !may_learn => {
                    return (options, Err(GET_DENIED.into()));
                }
                [pattern, ..] if is(c_string(word), "get") => {
                    options.get.push(pattern);
                    at += 1;
                }
                _ => return (options, Err(CommandError::Syntax)),
            }
            at += 1;
        }
        (options, Ok(()))
    }

    /// Of so many elements, those that are wanted.
    fn range(&self, length: usize) -> Range<usize> {
        let (start, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(start).unwrap_or(0).min(length);
        let count = usize::try_from(count).unwrap_or(length);
        start..start.saturating_add(count).min(length)
    }
}

/// The key to sort, and the one to store to.
fn keys_of_sort(args: &[&[u8]], database: u8, each: &mut dyn FnMut(u8, usize)) {
    each(database, 1);
    if let Some(store) = Options::parse(args, true, true).0.store {
        each(database, store);
    }
}

fn sort(call: &mut Call<'_, '_>) -> CommandResult {
    run(call, true)
}

fn sort_ro(call: &mut Call<'_, '_>) -> CommandResult {
    run(call, false)
}

/// A pattern of `BY` or `GET`, taken apart: what comes before and behind the element in the key, and perhaps a field of a hash.
struct Pattern<'a> {
    before: &'a [u8],
    behind: &'a [u8],
    field: Option<&'a [u8]>,
}

impl<'a> Pattern<'a> {
    /// `None` if it has no place for an element. Like Redis, it looks for star and arrow no further than the first zero byte.
    fn parse(pattern: &'a [u8]) -> Option<Pattern<'a>> {
        let visible = c_string(pattern);
        let star = memchr::memchr(b'*', visible)?;
        let arrow = memchr::memmem::find(&visible[star + 1..], b"->").map(|arrow| star + 1 + arrow);
        // An arrow at the end is part of the key.
        let arrow = arrow.filter(|arrow| arrow + 2 < visible.len());
        Some(Pattern {
            before: &pattern[..star],
            behind: &pattern[star + 1..arrow.unwrap_or(pattern.len())],
            field: arrow.map(|arrow| &pattern[arrow + 2..]),
        })
    }

    fn key(&self, element: &[u8]) -> Vec<u8> {
        [self.before, element, self.behind].concat()
    }
}

/// Byte strings in one buffer.
#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

/// The elements; of those of a list or a sorted set that stay in their order only the wanted ones, in the direction that is asked for.
fn elements(
    call: &Call<'_, '_>,
    options: &Options<'_>,
    in_place: bool,
) -> Result<(Strings, Range<usize>), CommandError> {
    let (key, txn) = (&call.keys[0], &*call.txn);
    let mut all = Strings::default();
    let length = match txn.kind(key) {
        None => 0,
        Some(Kind::List) => txn.list_len(key)?,
        Some(Kind::Set) => txn.set_len(key)?,
        Some(Kind::SortedSet) => txn.sorted_set_len(key)?,
        Some(Kind::String | Kind::Hash | Kind::Stream | Kind::Chat) => return Err(CommandError::WrongType),
    };
    let wanted = options.range(length);
    let part = if in_place { wanted.clone() } else { 0..length };
    let mut whole = false;
    match txn.kind(key) {
        Some(Kind::List) if in_place && options.descending => {
            let mut left = part.len();
            txn.list_visit_back(key, length - part.start, &mut |element| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                left -= 1;
                all.push(element);
                ControlFlow::Continue(())
            })?;
        }
        Some(Kind::List) => txn.list_range(key, part.start, part.len(), &mut |element| all.push(element))?,
        Some(Kind::SortedSet) => {
            let reverse = in_place && options.descending;
            let ranks = if reverse { length - part.end..length - part.start } else { part };
            txn.sorted_set_for_each(key, ranks, reverse, &mut |member, _| all.push(member))?;
        }
        Some(Kind::Set) => {
            whole = true;
            if let Some(members) = txn.set_members(key)? {
                members.iter().for_each(|member| all.push(member));
            }
        }
        _ => {}
    }
    let left = if in_place && !whole { 0..all.len() } else { wanted };
    Ok((all, left))
}

/// What a key holds that a pattern has made of an element, if that is what the pattern asks for.
fn value<'a>(call: &'a Call<'_, '_>, pattern: &Pattern<'_>, element: &[u8]) -> Option<&'a [u8]> {
    let bytes = pattern.key(element);
    let key = Call::reached(call.txn, &call.keys[0], &bytes);
    // What holds something else holds nothing that is asked for.
    match pattern.field {
        Some(field) => call.txn.hash_get(&key, field).ok().flatten(),
        None => call.txn.string(&key).ok().flatten(),
    }
}

/// Looks a key up for its value: hits, misses and `keymiss`.
fn look_up(call: &mut Call<'_, '_>, pattern: &Pattern<'_>, element: &[u8]) {
    let bytes = pattern.key(element);
    let key = Call::reached(call.txn, &call.keys[0], &bytes);
    let found = call.txn.exists(&key);
    call.looked_up_key(&key, found);
}

/// The order of the elements: their indexes.
fn order(
    call: &mut Call<'_, '_>,
    options: &Options<'_>,
    by: Option<&Pattern<'_>>,
    all: &Strings,
) -> Result<Vec<u32>, CommandError> {
    let mut order: Vec<u32> = (0..all.len() as u32).collect();
    if let Some(by) = by {
        let keys: Vec<Vec<u8>> = (0..all.len()).map(|index| by.key(all.get(index))).collect();
        call.reach(&keys)?;
        (0..all.len()).for_each(|index| look_up(call, by, all.get(index)));
    }
    let element = |index: u32| all.get(index as usize);
    let directed = |order: Ordering| if options.descending { order.reverse() } else { order };
    if !options.alphabetic {
        let mut scores = Vec::with_capacity(all.len());
        for index in 0..all.len() {
            let text = match by {
                None => Some(all.get(index)),
                Some(by) => value(call, by, all.get(index)),
            };
            // Nothing to be sorted by is zero.
            let score = text.map_or(Some(0.0), parse_weight);
            scores.push(
                score.ok_or(CommandError::from("ERR One or more scores can't be converted into double"))?,
            );
        }
        order.sort_by(|&left, &right| {
            let (left_score, right_score) = (scores[left as usize], scores[right as usize]);
            let by_score = left_score.partial_cmp(&right_score).unwrap_or(Ordering::Equal);
            directed(by_score.then_with(|| element(left).cmp(element(right))))
        });
        return Ok(order);
    }
    let storing = options.store.is_some();
    // As C compares strings, unless it is kept.
    let seen = |text: &'_ [u8]| if storing { text.len() } else { c_string(text).len() };
    match by {
        None => order.sort_by(|&left, &right| {
            let (left, right) = (element(left), element(right));
            directed(left[..seen(left)].cmp(&right[..seen(right)]).then_with(|| left.cmp(right)))
        }),
        Some(by) => {
            let texts: Vec<Option<&[u8]>> = (0..all.len())
                .map(|index| value(call, by, all.get(index)).map(|text| &text[..seen(text)]))
                .collect();
            order.sort_by(|&left, &right| {
                // Nothing to be sorted by comes first. What is alike stays in its order.
                directed(texts[left as usize].cmp(&texts[right as usize]))
            });
        }
    }
    Ok(order)
}

fn run(call: &mut Call<'_, '_>, may_store: bool) -> CommandResult {
    let (mut options, parsed) = Options::parse(call.args, may_store, call.learned.may_learn());
    parsed?;
    let mut sorts = !options.unsorted;
    let kind = call.txn.kind(&call.keys[0]);
    call.looked_up(0, kind.is_some());
    if !sorts && kind == Some(Kind::Set) && (options.store.is_some() || call.learned.is_in_script()) {
        // What is kept, or what a script does, must not depend on how a set is kept.
        (sorts, options.alphabetic, options.by) = (true, true, None);
    }
    let by = options.by.and_then(Pattern::parse);
    let (all, wanted) = elements(call, &options, !sorts)?;
    let order =
        if sorts { order(call, &options, by.as_ref(), &all)? } else { (0..all.len() as u32).collect() };
    let order = &order[wanted];
    let get: Vec<Get<'_>> = options.get.iter().map(|pattern| Get::of(pattern)).collect();
    let keys: Vec<Vec<u8>> = order
        .iter()
        .flat_map(|&index| {
            let all = &all;
            get.iter().filter_map(move |get| match get {
                Get::Value(pattern) => Some(pattern.key(all.get(index as usize))),
                _ => None,
            })
        })
        .collect();
    call.reach(&keys)?;
    if options.store.is_some() {
        return store(call, &all, order, &get);
    }
    call.reply.array(order.len() * get.len().max(1));
    for &index in order {
        let element = all.get(index as usize);
        if get.is_empty() {
            call.reply.bulk(element);
        }
        for get in &get {
            match get {
                Get::Element => call.reply.bulk(element),
                Get::Nothing => call.reply.null(),
                Get::Value(pattern) => {
                    look_up(call, pattern, element);
                    // Written where it is read, without a copy.
                    let bytes = pattern.key(element);
                    let key = Call::reached(call.txn, &call.keys[0], &bytes);
                    let value = match pattern.field {
                        Some(field) => call.txn.hash_get(&key, field).ok().flatten(),
                        None => call.txn.string(&key).ok().flatten(),
                    };
                    call.reply.bulk_or_null(value);
                }
            }
        }
    }
    Ok(())
}

/// What a `GET` asks for.
enum Get<'a> {
    Element,
    Value(Pattern<'a>),
    /// A key that does not depend on the element.
    Nothing,
}

impl<'a> Get<'a> {
    fn of(pattern: &'a [u8]) -> Get<'a> {
        match Pattern::parse(pattern) {
            _ if c_string(pattern) == b"#" => Get::Element,
            Some(pattern) => Get::Value(pattern),
            None => Get::Nothing,
        }
    }
}

/// Makes the second key a list of the result, or nothing if it is empty.
fn store(call: &mut Call<'_, '_>, all: &Strings, order: &[u32], get: &[Get<'_>]) -> CommandResult {
    let mut result = Strings::default();
    for &index in order {
        let element = all.get(index as usize);
        if get.is_empty() {
            result.push(element);
        }
        for get in get {
            match get {
                Get::Element => result.push(element),
                Get::Nothing => result.push(b""),
                Get::Value(pattern) => {
                    look_up(call, pattern, element);
                    result.push(value(call, pattern, element).unwrap_or_default());
                }
            }
        }
        if result.bytes.len() + 5 * result.len() > VALUE_BYTES_MAX {
            return Err("ERR the resulting list is larger than what a key can hold (512MB)".into());
        }
    }
    let key = &call.keys[1];
    if result.len() > 0 {
        let elements: Vec<&[u8]> = (0..result.len()).map(|index| result.get(index)).collect();
        call.txn.list_put(key, &elements);
        call.notify(LIST, "sortstore", 1);
    } else if call.txn.delete(key) {
        call.notify(GENERIC, "del", 1);
    }
    call.reply.integer(result.len() as i64);
    Ok(())
}
