//! Commands on sorted sets.

use super::{Data, Entry, Expected, Model, Step, WRONG_KIND, array, bulk, index, integer, key, null, range};
use crate::args;
use crate::resp::Value;
use sessile::fuzzing::Input;
use std::collections::BTreeMap;

type Members = BTreeMap<Vec<u8>, f64>;

/// Scores are numbers whose text is the same in all languages.
fn score(input: &mut Input<'_>) -> f64 {
    match input.byte() {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        number => (f64::from(number) - 100.0) / 4.0,
    }
}

fn text(score: f64) -> String {
    score.to_string()
}

/// The members, in order.
pub(super) fn in_order(members: &Members) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = members.iter().map(|(name, score)| (name.clone(), *score)).collect();
    all.sort_by(|left, right| left.1.total_cmp(&right.1).then_with(|| left.0.cmp(&right.0)));
    all
}

pub(super) fn with_scores(members: &[(Vec<u8>, f64)]) -> Expected {
    let items = members.iter().flat_map(|(name, score)| [bulk(name), bulk(text(*score).as_bytes())]);
    Expected::Exactly(Value::Array(items.collect()))
}

impl Model {
    fn sorted(&mut self, key: &[u8]) -> Result<Option<&mut Members>, Expected> {
        match self.keys.get_mut(key).map(|entry| &mut entry.data) {
            None => Ok(None),
            Some(Data::SortedSet(members)) => Ok(Some(members)),
            Some(_) => Err(WRONG_KIND),
        }
    }

    fn sorted_or_new(&mut self, key: &[u8]) -> Result<&mut Members, Expected> {
        self.sorted(key)?;
        let entry = self
            .keys
            .entry(key.to_vec())
            .or_insert(Entry { data: Data::SortedSet(Members::new()), deadline_ms: None });
        match &mut entry.data {
            Data::SortedSet(members) => Ok(members),
            _ => Err(WRONG_KIND),
        }
    }

    fn ordered(&mut self, key: &[u8]) -> Result<Vec<(Vec<u8>, f64)>, Expected> {
        Ok(self.sorted(key)?.map(|members| in_order(members)).unwrap_or_default())
    }

    pub(super) fn sorted_sets_step(&mut self, input: &mut Input<'_>) -> Step {
        let key = key(input, b'z');
        let (args, expected) = match input.byte() % 15 {
            0..=2 => self.add_scored(input, key),
            3 => {
                let (apart, first) = (f64::from(input.byte() % 3), score(input));
                let pairs: Vec<_> = (0..=input.below(200))
                    .map(|at| (format!("m{at}").into_bytes(), first + at as f64 * apart))
                    .collect();
                let mut args = args!["ZADD", key];
                pairs.iter().for_each(|(name, score)| args.extend(args![text(*score), name]));
                let expected = self.sorted_or_new(&key).map(|members| {
                    let before = members.len();
                    members.extend(pairs);
                    integer(members.len() - before)
                });
                (args, expected)
            }
            4 => {
                let (name, by) = (input.name(), (f64::from(input.byte()) - 128.0) / 4.0);
                let expected = self.sorted_or_new(&key).map(|members| {
                    let score = members.entry(name.clone()).or_insert(0.0);
                    *score += by;
                    Expected::Exactly(bulk(text(*score).as_bytes()))
                });
                (args!["ZINCRBY", key, text(by), name], expected)
            }
            5 => {
                let (one, two) = (input.name(), input.name());
                let expected = self.sorted(&key).map(|members| {
                    integer(members.map_or(0, |members| {
                        usize::from(members.remove(&one).is_some())
                            + usize::from(members.remove(&two).is_some())
                    }))
                });
                (args!["ZREM", key, one, two], expected)
            }
            6 => {
                let name = input.name();
                let expected =
                    self.sorted(&key).map(|members| match members.and_then(|members| members.get(&name)) {
                        None => null(),
                        Some(score) => Expected::Exactly(bulk(text(*score).as_bytes())),
                    });
                (args!["ZSCORE", key, name], expected)
            }
            7 => (
                args!["ZCARD", key],
                self.sorted(&key).map(|members| integer(members.map_or(0, |members| members.len()))),
            ),
            8 => {
                let (name, reverse) = (input.name(), input.byte().is_multiple_of(2));
                let expected = self.ordered(&key).map(|mut all| {
                    if reverse {
                        all.reverse();
                    }
                    all.iter().position(|(other, _)| *other == name).map_or(null(), integer)
                });
                (args![if reverse { "ZREVRANK" } else { "ZRANK" }, key, name], expected)
            }
            9..=10 => {
                let (start, end, reverse) = (index(input), index(input), input.byte().is_multiple_of(2));
                let expected = self.ordered(&key).map(|mut all| {
                    if reverse {
                        all.reverse();
                    }
                    with_scores(&all[range(start, end, all.len())])
                });
                let mut args = args!["ZRANGE", key, start.to_string(), end.to_string(), "WITHSCORES"];
                if reverse {
                    args.extend(args!["REV"]);
                }
                (args, expected)
            }
            11 => {
                let (low, high, open) = (score(input), score(input), input.byte());
                let within = move |score: f64| {
                    let above = if open & 1 == 0 { score >= low } else { score > low };
                    above && if open & 2 == 0 { score <= high } else { score < high }
                };
                let low = format!("{}{}", if open & 1 == 0 { "" } else { "(" }, text(low));
                let high = format!("{}{}", if open & 2 == 0 { "" } else { "(" }, text(high));
                let found = self
                    .ordered(&key)
                    .map(|all| all.into_iter().filter(|(_, score)| within(*score)).collect::<Vec<_>>());
                match open >> 2 & 3 {
                    0 => (args!["ZCOUNT", key, low, high], found.map(|found| integer(found.len()))),
                    1 => {
                        let expected = found.map(|found| {
                            if let Ok(Some(members)) = self.sorted(&key) {
                                members.retain(|name, _| !found.iter().any(|(gone, _)| gone == name));
                            }
                            integer(found.len())
                        });
                        (args!["ZREMRANGEBYSCORE", key, low, high], expected)
                    }
                    _ => {
                        let (skip, count) = (input.below(6), input.below(40));
                        let expected = found
                            .map(|found| array(found.iter().skip(skip).take(count).map(|(name, _)| name)));
                        (
                            args![
                                "ZRANGEBYSCORE",
                                key,
                                low,
                                high,
                                "LIMIT",
                                skip.to_string(),
                                count.to_string()
                            ],
                            expected,
                        )
                    }
                }
            }
            12 => {
                let (start, end) = (index(input), index(input));
                let expected = self.ordered(&key).map(|all| {
                    let gone = &all[range(start, end, all.len())];
                    if let Ok(Some(members)) = self.sorted(&key) {
                        members.retain(|name, _| !gone.iter().any(|(gone, _)| gone == name));
                    }
                    integer(gone.len())
                });
                (args!["ZREMRANGEBYRANK", key, start.to_string(), end.to_string()], expected)
            }
            13 => {
                let (count, greatest) = (input.below(9), input.byte().is_multiple_of(2));
                let expected = self.ordered(&key).map(|mut all| {
                    if greatest {
                        all.reverse();
                    }
                    all.truncate(count);
                    if let Ok(Some(members)) = self.sorted(&key) {
                        members.retain(|name, _| !all.iter().any(|(gone, _)| gone == name));
                    }
                    with_scores(&all)
                });
                (args![if greatest { "ZPOPMAX" } else { "ZPOPMIN" }, key, count.to_string()], expected)
            }
            _ => {
                let (other, to) = (super::key(input, b'z'), super::key(input, b'z'));
                let union = input.byte().is_multiple_of(2);
                let args = args![if union { "ZUNIONSTORE" } else { "ZINTERSTORE" }, to, "2", key, other];
                let expected = (|| {
                    let (first, second) = (self.scored(&key)?, self.scored(&other)?);
                    let mut all = first.clone();
                    for (name, score) in &second {
                        // Infinities of either sign add up to nothing.
                        let sum = all.get(name).map_or(*score, |first| first + score);
                        all.insert(name.clone(), if sum.is_nan() { 0.0 } else { sum });
                    }
                    if !union {
                        all.retain(|name, _| first.contains_key(name) && second.contains_key(name));
                    }
                    let count = all.len();
                    self.put(&to, Data::SortedSet(all), None);
                    Ok(integer(count))
                })();
                (args, expected)
            }
        };
        (args, expected.unwrap_or_else(|error| error))
    }

    /// What a set operation takes for a sorted set: a set's members have the score 1.
    fn scored(&mut self, key: &[u8]) -> Result<Members, Expected> {
        match self.keys.get(key).map(|entry| &entry.data) {
            Some(Data::Set(members)) => Ok(members.iter().map(|name| (name.clone(), 1.0)).collect()),
            _ => Ok(self.sorted(key)?.cloned().unwrap_or_default()),
        }
    }

    fn add_scored(
        &mut self,
        input: &mut Input<'_>,
        key: Vec<u8>,
    ) -> (Vec<Vec<u8>>, Result<Expected, Expected>) {
        let (name, score, flags) = (input.name(), score(input), input.byte());
        let (only_new, only_there) = (flags & 7 == 1, flags & 7 == 2);
        let (greater, less) = (!only_new && flags & 0x38 == 8, !only_new && flags & 0x38 == 16);
        let changed_too = flags & 0x40 != 0;
        let mut args = args!["ZADD", key];
        for (word, on) in
            [("NX", only_new), ("XX", only_there), ("GT", greater), ("LT", less), ("CH", changed_too)]
        {
            if on {
                args.extend(args![word]);
            }
        }
        args.extend(args![text(score), name]);
        let expected = self.sorted_or_new(&key).map(|members| {
            let old = members.get(&name).copied();
            let applies = match old {
                None => !only_there,
                Some(old) => !only_new && (!greater || score > old) && (!less || score < old),
            };
            if applies {
                members.insert(name, score);
            }
            integer(usize::from(applies && (old.is_none() || (changed_too && old != Some(score)))))
        });
        (args, expected)
    }
}
