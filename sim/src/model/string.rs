//! Strings.

use super::{Answer, Content, NEVER, Turn, WrongKind, after, number};
use crate::wire::Value;

impl Turn<'_> {
    fn bytes(&self, key: &[u8]) -> Result<Option<&Vec<u8>>, WrongKind> {
        match self.item(key).map(|item| &item.content) {
            None => Ok(None),
            Some(Content::String(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(WrongKind),
        }
    }

    fn bytes_mut(&mut self, key: &[u8]) -> Result<&mut Vec<u8>, WrongKind> {
        match &mut self.item_mut(key, Content::String(Vec::new())).content {
            Content::String(bytes) => Ok(bytes),
            _ => Err(WrongKind),
        }
    }

    pub(super) fn string(&mut self, name: &str, args: &[Vec<u8>]) -> Option<Answer> {
        let bulk = |bytes: Option<&Vec<u8>>| bytes.map_or(Value::Nil, |bytes| Value::Bulk(bytes.clone()));
        Some(match (name, args) {
            ("GET", [_, key]) => self.bytes(key).map(bulk),
            ("SET", [_, key, value, options @ ..]) => Ok(self.set(key, value, options)),
            ("MSET", [_, pairs @ ..]) => {
                for pair in pairs.chunks_exact(2) {
                    self.put(&pair[0], Content::String(pair[1].clone()), NEVER);
                }
                Ok(Value::ok())
            }
            ("GETDEL", [_, key]) => self.bytes(key).map(bulk).inspect(|_| {
                self.remove(key);
            }),
            ("GETEX", [_, key, how @ ..]) => {
                let value = self.bytes(key).map(bulk);
                if let Ok(Value::Bulk(_)) = value {
                    match how {
                        [word, ms] if word == b"PX" => drop(self.set_deadline(key, after(self.now_ms, ms))),
                        _ => drop(self.set_deadline(key, NEVER)),
                    }
                }
                value
            }
            ("APPEND", [_, key, more]) => self.bytes_mut(key).map(|bytes| {
                bytes.extend_from_slice(more);
                Value::count(bytes.len())
            }),
            ("SETRANGE", [_, key, offset, value]) => {
                let (offset, value) = (number(offset) as usize, value.clone());
                self.bytes_mut(key).map(|bytes| {
                    bytes.resize(bytes.len().max(offset + value.len()), 0);
                    bytes[offset..offset + value.len()].copy_from_slice(&value);
                    Value::count(bytes.len())
                })
            }
            ("INCRBY", [_, key, by]) => self.bytes(key).map(|bytes| bytes.cloned()).map(|before| {
                let text = before.unwrap_or_else(|| b"0".to_vec());
                let is_number = std::str::from_utf8(&text).is_ok_and(|text| text.parse::<i64>().is_ok());
                if !is_number {
                    return Value::error("ERR value is not an integer");
                }
                let sum = number(&text) + number(by);
                if let Ok(bytes) = self.bytes_mut(key) {
                    *bytes = sum.to_string().into_bytes();
                }
                Value::Integer(sum)
            }),
            _ => return None,
        })
    }

    /// `SET key value [NX | XX] [PX ms | PXAT at | KEEPTTL]`
    fn set(&mut self, key: &[u8], value: &[u8], options: &[Vec<u8>]) -> Value {
        let (there, mut deadline_ms) = (self.item(key).map(|item| item.deadline_ms), NEVER);
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            match &option[..] {
                b"NX" if there.is_some() => return Value::Nil,
                b"XX" if there.is_none() => return Value::Nil,
                b"KEEPTTL" => deadline_ms = there.unwrap_or(NEVER),
                b"PX" => deadline_ms = rest.next().map_or(NEVER, |ms| after(self.now_ms, ms)),
                b"PXAT" => deadline_ms = rest.next().map_or(NEVER, |at| number(at).max(0) as u64),
                _ => {}
            }
        }
        self.put(key, Content::String(value.to_vec()), deadline_ms);
        Value::ok()
    }
}
