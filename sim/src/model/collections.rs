//! Lists, sets and sorted sets.

use super::{Answer, Content, Turn, WrongKind, in_any_order, number};
use crate::wire::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

fn bulk(bytes: &[u8]) -> Value {
    Value::Bulk(bytes.to_vec())
}

/// Positions that may count from the end, as a range of what is there.
fn range(start: &[u8], end: &[u8], length: usize) -> std::ops::Range<usize> {
    let place = |text: &[u8]| {
        let at = number(text);
        if at < 0 { at + length as i64 } else { at }
    };
    let (start, end) = (place(start).max(0), (place(end) + 1).clamp(0, length as i64));
    start.min(end) as usize..end as usize
}

impl Turn<'_> {
    pub(super) fn collection(&mut self, name: &str, args: &[Vec<u8>]) -> Option<Answer> {
        Some(match (name, args) {
            ("RPUSH" | "LPUSH", [_, key, elements @ ..]) => self.push(name == "LPUSH", key, elements),
            ("LPOP" | "RPOP", [_, key]) => self.pop(name == "LPOP", key),
            ("LMOVE", [_, from, to, out, into]) => self.lmove(from, to, out == b"LEFT", into == b"LEFT"),
            ("LRANGE", [_, key, start, end]) => self.list(key).map(|list| {
                let list = list.cloned().unwrap_or_default();
                Value::Array(list.range(range(start, end, list.len())).map(|element| bulk(element)).collect())
            }),
            ("LTRIM", [_, key, start, end]) => self.ltrim(key, start, end),
            ("LSET", [_, key, index, element]) => self.lset(key, number(index), element),
            ("LREM", [_, key, _zero, element]) => self.lrem(key, element),
            ("SADD", [_, key, members @ ..]) => self.set_mut(key).map(|set| {
                Value::count(members.iter().filter(|member| set.insert((*member).clone())).count())
            }),
            ("SREM", [_, key, members @ ..]) => self.srem(key, members),
            ("SMEMBERS", [_, key]) => self.members(key).map(|set| {
                in_any_order(set.into_iter().flatten().map(|member| bulk(member)).collect(), self.hint)
            }),
            ("SPOP", [_, key]) => self.spop(key),
            ("SMOVE", [_, from, to, member]) => self.smove(from, to, member),
            ("SUNIONSTORE", [_, to, one, other]) => self.sunionstore(to, one, other),
            ("ZADD", [_, key, pairs @ ..]) => self.zadd(key, pairs),
            ("ZINCRBY", [_, key, by, member]) => self.scores_mut(key).map(|scores| {
                let score = scores.entry(member.clone()).or_insert(0);
                *score += number(by);
                Value::Bulk(score.to_string().into_bytes())
            }),
            ("ZREM", [_, key, members @ ..]) => self.zrem(key, members),
            ("ZRANGE", [_, key, start, end, _withscores]) => self.zrange(key, start, end),
            ("ZPOPMIN", [_, key]) => self.zpopmin(key),
            ("ZREMRANGEBYRANK", [_, key, start, end]) => self.zremrangebyrank(key, start, end),
            _ => return None,
        })
    }

    fn list(&self, key: &[u8]) -> Result<Option<&VecDeque<Vec<u8>>>, WrongKind> {
        match self.item(key).map(|item| &item.content) {
            None => Ok(None),
            Some(Content::List(list)) => Ok(Some(list)),
            Some(_) => Err(WrongKind),
        }
    }

    fn list_mut(&mut self, key: &[u8]) -> Result<&mut VecDeque<Vec<u8>>, WrongKind> {
        match &mut self.item_mut(key, Content::List(VecDeque::new())).content {
            Content::List(list) => Ok(list),
            _ => Err(WrongKind),
        }
    }

    fn push(&mut self, front: bool, key: &[u8], elements: &[Vec<u8>]) -> Answer {
        let list = self.list_mut(key)?;
        for element in elements {
            if front {
                list.push_front(element.clone());
            } else {
                list.push_back(element.clone());
            }
        }
        Ok(Value::count(list.len()))
    }

    fn pop(&mut self, front: bool, key: &[u8]) -> Answer {
        if self.list(key)?.is_none() {
            return Ok(Value::Nil);
        }
        let list = self.list_mut(key)?;
        let element = if front { list.pop_front() } else { list.pop_back() };
        self.sweep(key);
        Ok(element.map_or(Value::Nil, Value::Bulk))
    }

    fn lmove(&mut self, from: &[u8], to: &[u8], out_front: bool, in_front: bool) -> Answer {
        if self.list(from)?.is_none() {
            return Ok(Value::Nil);
        }
        self.list(to)?;
        if from == to {
            // Never empty in between: it keeps its deadline.
            let list = self.list_mut(from)?;
            let element = if out_front { list.pop_front() } else { list.pop_back() };
            let Some(element) = element else { return Ok(Value::Nil) };
            self.push(in_front, to, std::slice::from_ref(&element))?;
            return Ok(Value::Bulk(element));
        }
        let Value::Bulk(element) = self.pop(out_front, from)? else { return Ok(Value::Nil) };
        self.push(in_front, to, std::slice::from_ref(&element))?;
        Ok(Value::Bulk(element))
    }

    fn ltrim(&mut self, key: &[u8], start: &[u8], end: &[u8]) -> Answer {
        if let Some(list) = self.list(key)? {
            let kept: VecDeque<Vec<u8>> = list.range(range(start, end, list.len())).cloned().collect();
            *self.list_mut(key)? = kept;
            self.sweep(key);
        }
        Ok(Value::ok())
    }

    fn lset(&mut self, key: &[u8], index: i64, element: &[u8]) -> Answer {
        let Some(length) = self.list(key)?.map(VecDeque::len) else {
            return Ok(Value::error("ERR no such key"));
        };
        let at = if index < 0 { index + length as i64 } else { index };
        if at < 0 || at >= length as i64 {
            return Ok(Value::error("ERR index out of range"));
        }
        self.list_mut(key)?[at as usize] = element.to_vec();
        Ok(Value::ok())
    }

    fn lrem(&mut self, key: &[u8], element: &[u8]) -> Answer {
        let Some(before) = self.list(key)?.map(VecDeque::len) else { return Ok(Value::Integer(0)) };
        let list = self.list_mut(key)?;
        list.retain(|other| other != element);
        let gone = before - list.len();
        self.sweep(key);
        Ok(Value::count(gone))
    }

    fn members(&self, key: &[u8]) -> Result<Option<&BTreeSet<Vec<u8>>>, WrongKind> {
        match self.item(key).map(|item| &item.content) {
            None => Ok(None),
            Some(Content::Set(members)) => Ok(Some(members)),
            Some(_) => Err(WrongKind),
        }
    }

    fn set_mut(&mut self, key: &[u8]) -> Result<&mut BTreeSet<Vec<u8>>, WrongKind> {
        match &mut self.item_mut(key, Content::Set(BTreeSet::new())).content {
            Content::Set(members) => Ok(members),
            _ => Err(WrongKind),
        }
    }

    fn srem(&mut self, key: &[u8], members: &[Vec<u8>]) -> Answer {
        if self.members(key)?.is_none() {
            return Ok(Value::Integer(0));
        }
        let set = self.set_mut(key)?;
        let gone = members.iter().filter(|member| set.remove(*member)).count();
        self.sweep(key);
        Ok(Value::count(gone))
    }

    fn spop(&mut self, key: &[u8]) -> Answer {
        let Some(set) = self.members(key)? else { return Ok(Value::Nil) };
        let Value::Bulk(chosen) = self.hint else { return Ok(Value::error("(a member)")) };
        if !set.contains(chosen) {
            return Ok(Value::error("(a member)"));
        }
        let chosen = chosen.clone();
        self.srem(key, std::slice::from_ref(&chosen))?;
        Ok(Value::Bulk(chosen))
    }

    fn smove(&mut self, from: &[u8], to: &[u8], member: &Vec<u8>) -> Answer {
        let Some(set) = self.members(from)? else { return Ok(Value::Integer(0)) };
        let there = set.contains(member);
        self.members(to)?;
        if there && from != to {
            self.srem(from, std::slice::from_ref(member))?;
            self.set_mut(to)?.insert(member.clone());
        }
        Ok(Value::Integer(i64::from(there)))
    }

    fn sunionstore(&mut self, to: &[u8], one: &[u8], other: &[u8]) -> Answer {
        let mut all: BTreeSet<Vec<u8>> = self.members(one)?.cloned().unwrap_or_default();
        all.extend(self.members(other)?.into_iter().flatten().cloned());
        let count = all.len();
        self.remove(to);
        if count > 0 {
            self.put(to, Content::Set(all), super::NEVER);
        }
        Ok(Value::count(count))
    }

    fn scores(&self, key: &[u8]) -> Result<Option<&BTreeMap<Vec<u8>, i64>>, WrongKind> {
        match self.item(key).map(|item| &item.content) {
            None => Ok(None),
            Some(Content::SortedSet(scores)) => Ok(Some(scores)),
            Some(_) => Err(WrongKind),
        }
    }

    fn scores_mut(&mut self, key: &[u8]) -> Result<&mut BTreeMap<Vec<u8>, i64>, WrongKind> {
        match &mut self.item_mut(key, Content::SortedSet(BTreeMap::new())).content {
            Content::SortedSet(scores) => Ok(scores),
            _ => Err(WrongKind),
        }
    }

    /// Members by rank.
    fn ranked(&self, key: &[u8]) -> Result<Vec<(i64, Vec<u8>)>, WrongKind> {
        let mut all: Vec<(i64, Vec<u8>)> =
            self.scores(key)?.into_iter().flatten().map(|(member, score)| (*score, member.clone())).collect();
        all.sort();
        Ok(all)
    }

    fn zadd(&mut self, key: &[u8], pairs: &[Vec<u8>]) -> Answer {
        let scores = self.scores_mut(key)?;
        let new = pairs
            .chunks_exact(2)
            .filter(|pair| scores.insert(pair[1].clone(), number(&pair[0])).is_none())
            .count();
        Ok(Value::count(new))
    }

    fn zrem(&mut self, key: &[u8], members: &[Vec<u8>]) -> Answer {
        if self.scores(key)?.is_none() {
            return Ok(Value::Integer(0));
        }
        let scores = self.scores_mut(key)?;
        let gone = members.iter().filter(|member| scores.remove(*member).is_some()).count();
        self.sweep(key);
        Ok(Value::count(gone))
    }

    fn zrange(&mut self, key: &[u8], start: &[u8], end: &[u8]) -> Answer {
        let all = self.ranked(key)?;
        let part = &all[range(start, end, all.len())];
        let pairs =
            part.iter().flat_map(|(score, member)| [bulk(member), bulk(score.to_string().as_bytes())]);
        Ok(Value::Array(pairs.collect()))
    }

    fn zpopmin(&mut self, key: &[u8]) -> Answer {
        let Some((score, member)) = self.ranked(key)?.into_iter().next() else {
            return Ok(Value::Array(vec![]));
        };
        self.zrem(key, std::slice::from_ref(&member))?;
        Ok(Value::Array(vec![Value::Bulk(member), bulk(score.to_string().as_bytes())]))
    }

    fn zremrangebyrank(&mut self, key: &[u8], start: &[u8], end: &[u8]) -> Answer {
        let all = self.ranked(key)?;
        let gone: Vec<Vec<u8>> =
            all[range(start, end, all.len())].iter().map(|(_, member)| member.clone()).collect();
        if gone.is_empty() { Ok(Value::Integer(0)) } else { self.zrem(key, &gone) }
    }
}
