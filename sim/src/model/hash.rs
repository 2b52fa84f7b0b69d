//! Hashes, whose fields may have deadlines of their own.

use super::{Answer, Content, Fields, NEVER, Turn, WrongKind, in_any_order, number};
use crate::wire::Value;

impl Turn<'_> {
    fn fields(&self, key: &[u8]) -> Result<Option<&Fields>, WrongKind> {
        match self.item(key).map(|item| &item.content) {
            None => Ok(None),
            Some(Content::Hash(fields)) => Ok(Some(fields)),
            Some(_) => Err(WrongKind),
        }
    }

    fn fields_mut(&mut self, key: &[u8]) -> Result<&mut Fields, WrongKind> {
        // One that is made here is dead until it has a field: the caller gives it one.
        match &mut self.item_mut(key, Content::Hash(Fields::new())).content {
            Content::Hash(fields) => Ok(fields),
            _ => Err(WrongKind),
        }
    }

    fn field(&self, key: &[u8], field: &[u8]) -> Result<Option<&(Vec<u8>, u64)>, WrongKind> {
        let alive = |field: &&(Vec<u8>, u64)| field.1 > self.now_ms;
        Ok(self.fields(key)?.and_then(|fields| fields.get(field)).filter(alive))
    }

    pub(super) fn hash(&mut self, name: &str, args: &[Vec<u8>]) -> Option<Answer> {
        Some(match (name, args) {
            ("HSET", [_, key, pairs @ ..]) => self.hset(key, pairs),
            ("HDEL", [_, key, fields @ ..]) => self.hdel(key, fields),
            ("HGET", [_, key, field]) => {
                self.field(key, field).map(|field| field.map_or(Value::Nil, |f| Value::Bulk(f.0.clone())))
            }
            ("HGETALL", [_, key]) => self.hgetall(key),
            ("HINCRBY", [_, key, field, by]) => self.hincrby(key, field, by),
            // HPEXPIREAT key at FIELDS 1 field
            ("HPEXPIREAT", [_, key, at, _, _, field]) => {
                self.hpexpireat(key, number(at).max(0) as u64, field)
            }
            // HPERSIST key FIELDS 1 field
            ("HPERSIST", [_, key, _, _, field]) => self.hpersist(key, field),
            _ => return None,
        })
    }

    fn hset(&mut self, key: &[u8], pairs: &[Vec<u8>]) -> Answer {
        let now_ms = self.now_ms;
        let fields = self.fields_mut(key)?;
        let mut new = 0;
        for pair in pairs.chunks_exact(2) {
            let before = fields.insert(pair[0].clone(), (pair[1].clone(), NEVER));
            new += usize::from(before.is_none_or(|before| before.1 <= now_ms));
        }
        Ok(Value::count(new))
    }

    fn hdel(&mut self, key: &[u8], names: &[Vec<u8>]) -> Answer {
        let mut gone = 0;
        for name in names {
            if self.field(key, name)?.is_some() {
                self.fields_mut(key)?.remove(name);
                gone += 1;
            }
        }
        self.sweep(key);
        Ok(Value::count(gone))
    }

    fn hgetall(&mut self, key: &[u8]) -> Answer {
        let now_ms = self.now_ms;
        let fields = self.fields(key)?.into_iter().flatten().filter(|(_, field)| field.1 > now_ms);
        let pairs = fields
            .map(|(name, field)| Value::Array(vec![Value::Bulk(name.clone()), Value::Bulk(field.0.clone())]))
            .collect();
        let given = self.hint.elements().chunks(2).map(|pair| Value::Array(pair.to_vec())).collect();
        let given = Value::Array(given);
        let expected = in_any_order(pairs, &given);
        if expected == given { Ok(self.hint.clone()) } else { Ok(expected) }
    }

    fn hincrby(&mut self, key: &[u8], name: &[u8], by: &[u8]) -> Answer {
        let (text, deadline_ms) = self.field(key, name)?.cloned().unwrap_or_else(|| (b"0".to_vec(), NEVER));
        if !std::str::from_utf8(&text).is_ok_and(|text| text.parse::<i64>().is_ok()) {
            return Ok(Value::error("ERR hash value is not an integer"));
        }
        let sum = number(&text) + number(by);
        self.fields_mut(key)?.insert(name.to_vec(), (sum.to_string().into_bytes(), deadline_ms));
        Ok(Value::Integer(sum))
    }

    fn hpexpireat(&mut self, key: &[u8], at_ms: u64, name: &[u8]) -> Answer {
        let one = |answer: i64| Ok(Value::Array(vec![Value::Integer(answer)]));
        if self.field(key, name)?.is_none() {
            return one(-2);
        }
        if at_ms <= self.now_ms {
            self.fields_mut(key)?.remove(name);
            self.sweep(key);
            return one(2);
        }
        if let Some(field) = self.fields_mut(key)?.get_mut(name) {
            field.1 = at_ms;
        }
        one(1)
    }

    fn hpersist(&mut self, key: &[u8], name: &[u8]) -> Answer {
        let one = |answer: i64| Ok(Value::Array(vec![Value::Integer(answer)]));
        match self.field(key, name)?.map(|field| field.1) {
            None => one(-2),
            Some(NEVER) => one(-1),
            Some(_) => {
                if let Some(field) = self.fields_mut(key)?.get_mut(name) {
                    field.1 = NEVER;
                }
                one(1)
            }
        }
    }
}
