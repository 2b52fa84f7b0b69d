//! Commands on strings.

use super::{
    Data, Expected, Model, Step, WRONG_KIND, bulk, index, integer, key, maybe, null, number, ok, range,
    signed,
};
use crate::args;
use crate::resp::Value;
use sessile::fuzzing::Input;

/// Strings are not made longer than this.
const BYTES_MAX: usize = 20_000;

impl Model {
    /// The string of a key; an error if it holds something else.
    fn string(&mut self, key: &[u8]) -> Result<Option<&mut Vec<u8>>, Expected> {
        match self.keys.get_mut(key).map(|entry| &mut entry.data) {
            None => Ok(None),
            Some(Data::String(value)) => Ok(Some(value)),
            Some(_) => Err(WRONG_KIND),
        }
    }

    /// The same, made if it was not there.
    fn string_or_new(&mut self, key: &[u8]) -> Result<&mut Vec<u8>, Expected> {
        self.string(key)?;
        let entry = self
            .keys
            .entry(key.to_vec())
            .or_insert(super::Entry { data: Data::String(Vec::new()), deadline_ms: None });
        match &mut entry.data {
            Data::String(value) => Ok(value),
            _ => Err(WRONG_KIND),
        }
    }

    pub(super) fn strings_step(&mut self, input: &mut Input<'_>) -> Step {
        let key = key(input, b's');
        let (mut args, expected) = match input.byte() % 14 {
            0..=2 => return self.set(input, key),
            3 => {
                (args!["GET", key], self.string(&key).map(|value| Expected::Exactly(maybe(value.as_deref()))))
            }
            4 => {
                let expected = self.string(&key).map(|value| Expected::Exactly(maybe(value.as_deref())));
                if expected.is_ok() {
                    self.keys.remove(&key);
                }
                (args!["GETDEL", key], expected)
            }
            5 => {
                let (after_ms, persist) = (u64::from(input.short()) + 1, input.byte().is_multiple_of(2));
                let expected = self.string(&key).map(|value| Expected::Exactly(maybe(value.as_deref())));
                let deadline_ms = if persist { None } else { Some(self.now_ms + after_ms) };
                if let (Ok(_), Some(entry)) = (&expected, self.keys.get_mut(&key)) {
                    entry.deadline_ms = deadline_ms;
                }
                let args = if persist {
                    args!["GETEX", key, "PERSIST"]
                } else {
                    args!["GETEX", key, "PX", after_ms.to_string()]
                };
                (args, expected)
            }
            6 => (
                args!["STRLEN", key],
                self.string(&key).map(|value| integer(value.map_or(0, |value| value.len()))),
            ),
            7 => {
                let tail = input.value();
                let expected = self.string_or_new(&key).map(|value| {
                    value.extend_from_slice(&tail);
                    integer(value.len())
                });
                (args!["APPEND", key, tail], expected)
            }
            8 => {
                let (at, part) = (usize::from(input.short()) % BYTES_MAX, input.value());
                let expected = if part.is_empty() {
                    self.string(&key).map(|value| integer(value.map_or(0, |value| value.len())))
                } else {
                    self.string_or_new(&key).map(|value| {
                        value.resize(value.len().max(at + part.len()), 0);
                        value[at..at + part.len()].copy_from_slice(&part);
                        integer(value.len())
                    })
                };
                (args!["SETRANGE", key, at.to_string(), part], expected)
            }
            9 => {
                let (start, end) = (index(input), index(input));
                let expected = self.string(&key).map(|value| {
                    let value = value.map_or(&[][..], |value| value);
                    let empty = start < 0 && end < 0 && start > end;
                    // Unlike that of a list, a range that ends before the beginning ends at it.
                    let end = if end < 0 { (end + value.len() as i64).max(0) } else { end };
                    let part = if empty { 0..0 } else { range(start, end, value.len()) };
                    Expected::Exactly(bulk(&value[part]))
                });
                (args!["GETRANGE", key, start.to_string(), end.to_string()], expected)
            }
            10 => {
                let by = if input.byte().is_multiple_of(4) {
                    input.long() as i64
                } else {
                    i64::from(input.byte() as i8)
                };
                let expected =
                    match self.string(&key).map(|value| value.map_or(Some(0), |value| number(value))) {
                        Err(error) => Err(error),
                        Ok(None) => Err(Expected::Error("ERR value is not an integer")),
                        Ok(Some(old)) => match old.checked_add(by) {
                            None => Err(Expected::Error("ERR increment or decrement would overflow")),
                            Some(new) => self.string_or_new(&key).map(|value| {
                                *value = new.to_string().into_bytes();
                                signed(new)
                            }),
                        },
                    };
                (args!["INCRBY", key, by.to_string()], expected)
            }
            11 => {
                let (at, bit) = (usize::from(input.short()), input.byte() & 1);
                let expected = self.string_or_new(&key).map(|value| {
                    value.resize(value.len().max(at / 8 + 1), 0);
                    let mask = 0x80 >> (at % 8);
                    let old = usize::from(value[at / 8] & mask != 0);
                    value[at / 8] = value[at / 8] & !mask | if bit == 1 { mask } else { 0 };
                    integer(old)
                });
                (args!["SETBIT", key, at.to_string(), bit.to_string()], expected)
            }
            12 => {
                let expected = self.string(&key).map(|value| {
                    integer(
                        value.map_or(0, |value| value.iter().map(|byte| byte.count_ones() as usize).sum()),
                    )
                });
                (args!["BITCOUNT", key], expected)
            }
            _ => {
                let (other, one, two) = (super::key(input, b's'), input.value(), input.value());
                if input.byte().is_multiple_of(2) {
                    self.put(&key, Data::String(one.clone()), None);
                    self.put(&other, Data::String(two.clone()), None);
                    (args!["MSET", key, one, other, two], Ok(ok()))
                } else {
                    // Of another kind counts as none.
                    let values = [&key, &other].map(|key| self.string(key).ok().flatten().cloned());
                    let values = values.iter().map(|value| maybe(value.as_ref())).collect();
                    (args!["MGET", key, other], Ok(Expected::Exactly(Value::Array(values))))
                }
            }
        };
        if args[0] == b"GET" && input.byte().is_multiple_of(7) {
            // A range is the same in either way.
            if let Some(Data::String(value)) = self.keys.get(&args[1]).map(|entry| &entry.data) {
                let expected = Expected::Exactly(bulk(value));
                args[0] = b"GETRANGE".to_vec();
                args.extend(args!["0", "-1"]);
                return (args, expected);
            }
        }
        (args, expected.unwrap_or_else(|error| error))
    }

    fn set(&mut self, input: &mut Input<'_>, key: Vec<u8>) -> Step {
        let value = if input.byte().is_multiple_of(4) {
            (input.long() as i64).to_string().into_bytes()
        } else {
            input.value()
        };
        let flags = input.byte();
        let mut args = args!["SET", key, value];
        let old = self.string(&key).map(|old| old.cloned());
        let there = self.keys.contains_key(&key);
        let mut applies = true;
        if flags & 3 == 1 {
            args.extend(args!["NX"]);
            applies = !there;
        } else if flags & 3 == 2 {
            args.extend(args!["XX"]);
            applies = there;
        }
        let get = flags & 0x0C == 0x0C;
        if get {
            args.extend(args!["GET"]);
        }
        let mut deadline_ms = None;
        if flags & 0x30 == 0x10 {
            let after_ms = u64::from(input.short()) + 1;
            args.extend(args!["PX", after_ms.to_string()]);
            deadline_ms = Some(self.now_ms + after_ms);
        } else if flags & 0x30 == 0x20 {
            args.extend(args!["KEEPTTL"]);
            deadline_ms = self.keys.get(&key).and_then(|entry| entry.deadline_ms);
        }
        let expected = match (get, old) {
            (true, Err(error)) => return (args, error),
            (true, Ok(old)) => Expected::Exactly(maybe(old.as_ref())),
            (false, _) if applies => ok(),
            (false, _) => null(),
        };
        if applies {
            self.put(&key, Data::String(value), deadline_ms);
        }
        (args, expected)
    }
}
