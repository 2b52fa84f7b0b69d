//! Commands on keys of any kind.

use super::{Data, Expected, Model, Step, WRONG_KIND, integer, key, ok, signed};
use crate::args;
use crate::resp::Value;
use sessile::fuzzing::Input;

/// A key of any family.
fn any(input: &mut Input<'_>) -> Vec<u8> {
    let family = b"shtlz"[input.below(5)];
    key(input, family)
}

impl Model {
    pub(super) fn keys_step(&mut self, input: &mut Input<'_>) -> Step {
        let key = any(input);
        let there = self.keys.contains_key(&key);
        match input.byte() % 12 {
            0 => {
                let other = any(input);
                let gone = usize::from(self.keys.remove(&key).is_some())
                    + usize::from(self.keys.remove(&other).is_some());
                let name = if input.byte().is_multiple_of(2) { "DEL" } else { "UNLINK" };
                (args![name, key, other], integer(gone))
            }
            1 => {
                let other = any(input);
                let count = usize::from(there) + usize::from(self.keys.contains_key(&other));
                let name = if input.byte().is_multiple_of(2) { "EXISTS" } else { "TOUCH" };
                (args![name, key, other], integer(count))
            }
            2 => {
                let kind = match self.keys.get(&key).map(|entry| &entry.data) {
                    None => "none",
                    Some(Data::String(_)) => "string",
                    Some(Data::Hash(_)) => "hash",
                    Some(Data::List(_)) => "list",
                    Some(Data::Set(_)) => "set",
                    Some(Data::SortedSet(_)) => "zset",
                };
                (args!["TYPE", key], Expected::Exactly(Value::Simple(kind.into())))
            }
            3..=5 => self.expire(input, key),
            6 => {
                let had = self.keys.get_mut(&key).is_some_and(|entry| entry.deadline_ms.take().is_some());
                (args!["PERSIST", key], integer(usize::from(had)))
            }
            7 => {
                let left = self.keys.get(&key).map_or(-2, |entry| self.time_to_live(entry.deadline_ms));
                (args!["PTTL", key], signed(left))
            }
            8 => {
                let other = any(input);
                let (name, keep) =
                    if input.byte().is_multiple_of(2) { ("RENAME", false) } else { ("RENAMENX", true) };
                let expected = if !there {
                    Expected::Error("ERR no such key")
                } else if keep && self.keys.contains_key(&other) {
                    integer(0)
                } else {
                    let entry = self.keys.remove(&key).expect("there");
                    self.keys.insert(other.clone(), entry);
                    if keep { integer(1) } else { ok() }
                };
                (args![name, key, other], expected)
            }
            9 => {
                let (other, replace) = (any(input), input.byte().is_multiple_of(2));
                let expected = if key == other {
                    Expected::Error("ERR source and destination objects are the same")
                } else if !there || (self.keys.contains_key(&other) && !replace) {
                    integer(0)
                } else {
                    let entry = self.keys[&key].clone();
                    self.keys.insert(other.clone(), entry);
                    integer(1)
                };
                let mut args = args!["COPY", key, other];
                if replace {
                    args.extend(args!["REPLACE"]);
                }
                (args, expected)
            }
            10 => (args!["DBSIZE"], Expected::AtLeast(self.keys.len())),
            _ => {
                // What another kind of command says of it.
                let expected = match self.keys.get(&key).map(|entry| &entry.data) {
                    None => integer(0),
                    Some(Data::List(elements)) => integer(elements.len()),
                    Some(_) => WRONG_KIND,
                };
                (args!["LLEN", key], expected)
            }
        }
    }

    fn expire(&mut self, input: &mut Input<'_>, key: Vec<u8>) -> Step {
        let after_ms = i64::from(input.short() & 0x3FFF) - 20;
        let condition = ["", "NX", "XX", "GT", "LT"][input.below(5)];
        let absolute = input.byte().is_multiple_of(3);
        let deadline_ms = self.now_ms.saturating_add_signed(after_ms);
        let applies = |old: Option<u64>| match condition {
            "NX" => old.is_none(),
            "XX" => old.is_some(),
            "GT" => old.is_some_and(|old| deadline_ms > old),
            "LT" => old.is_none_or(|old| deadline_ms < old),
            _ => true,
        };
        let expected = match self.keys.get_mut(&key) {
            Some(entry) if applies(entry.deadline_ms) => {
                entry.deadline_ms = Some(deadline_ms);
                integer(1)
            }
            _ => integer(0),
        };
        let (name, number) =
            if absolute { ("PEXPIREAT", deadline_ms.to_string()) } else { ("PEXPIRE", after_ms.to_string()) };
        let mut args = args![name, key, number];
        if !condition.is_empty() {
            args.extend(args![condition]);
        }
        (args, expected)
    }
}
