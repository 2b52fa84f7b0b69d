//! Commands on hashes.

use super::{Data, Entry, Expected, Model, Step, WRONG_KIND, bulk, integer, key, maybe, number, ok, signed};
use crate::args;
use crate::resp::Value;
use sessile::fuzzing::Input;
use std::collections::BTreeMap;

type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

impl Model {
    fn hash(&mut self, key: &[u8]) -> Result<Option<&mut Fields>, Expected> {
        match self.keys.get_mut(key).map(|entry| &mut entry.data) {
            None => Ok(None),
            Some(Data::Hash(fields)) => Ok(Some(fields)),
            Some(_) => Err(WRONG_KIND),
        }
    }

    fn hash_or_new(&mut self, key: &[u8]) -> Result<&mut Fields, Expected> {
        self.hash(key)?;
        let entry = self
            .keys
            .entry(key.to_vec())
            .or_insert(Entry { data: Data::Hash(Fields::new()), deadline_ms: None });
        match &mut entry.data {
            Data::Hash(fields) => Ok(fields),
            _ => Err(WRONG_KIND),
        }
    }

    pub(super) fn hashes_step(&mut self, input: &mut Input<'_>) -> Step {
        let key = key(input, b'h');
        let (args, expected) = match input.byte() % 15 {
            0..=1 => {
                let (name, value) = (input.name(), input.value());
                let pairs = vec![(name, value)];
                self.set_fields(&key, pairs)
            }
            2 => {
                let pairs = (0..=input.below(180))
                    .map(|at| (format!("f{at}").into_bytes(), vec![b'v'; at % 90]))
                    .collect();
                self.set_fields(&key, pairs)
            }
            3 => {
                let (one, two, same) = (input.name(), input.name(), input.value());
                self.set_fields(&key, vec![(one.clone(), same.clone()), (two, same), (one, b"last".to_vec())])
            }
            4 => {
                let name = input.name();
                let expected = self.hash(&key).map(|fields| {
                    let value = fields.and_then(|fields| fields.get(&name)).map(|field| &field.0);
                    Expected::Exactly(maybe(value))
                });
                (args!["HGET", key, name], expected)
            }
            5 => {
                let (one, two) = (input.name(), input.name());
                let expected = self.hash(&key).map(|fields| {
                    integer(fields.map_or(0, |fields| {
                        usize::from(fields.remove(&one).is_some())
                            + usize::from(fields.remove(&two).is_some())
                    }))
                });
                (args!["HDEL", key, one, two], expected)
            }
            6 => (
                args!["HLEN", key],
                self.hash(&key).map(|fields| integer(fields.map_or(0, |fields| fields.len()))),
            ),
            7 => {
                let expected = self.hash(&key).map(|fields| {
                    let fields = fields.map(|fields| fields.clone()).unwrap_or_default();
                    Expected::AnyOrderPairs(
                        fields.iter().map(|(name, field)| (bulk(name), bulk(&field.0))).collect(),
                    )
                });
                (args!["HGETALL", key], expected)
            }
            8 => {
                let (name, by) = (input.name(), i64::from(input.byte() as i8));
                let expected = match self.hash(&key).map(|fields| {
                    fields.and_then(|fields| fields.get(&name)).map_or(Some(0), |field| number(&field.0))
                }) {
                    Err(error) => Err(error),
                    Ok(None) => Err(Expected::Error("ERR hash value is not an integer")),
                    Ok(Some(old)) => match old.checked_add(by) {
                        None => Err(Expected::Error("ERR increment or decrement would overflow")),
                        Some(new) => self.hash_or_new(&key).map(|fields| {
                            // The field's deadline stays.
                            fields.entry(name.clone()).or_default().0 = new.to_string().into_bytes();
                            signed(new)
                        }),
                    },
                };
                (args!["HINCRBY", key, name, by.to_string()], expected)
            }
            9 => {
                let (name, value) = (input.name(), input.value());
                let expected = self.hash_or_new(&key).map(|fields| {
                    let new = !fields.contains_key(&name);
                    if new {
                        fields.insert(name.clone(), (value.clone(), None));
                    }
                    integer(usize::from(new))
                });
                (args!["HSETNX", key, name, value], expected)
            }
            10 => {
                let (one, two) = (input.name(), input.name());
                let expected = self.hash(&key).map(|fields| {
                    let value = |name| {
                        fields
                            .as_ref()
                            .and_then(|fields| fields.get(name))
                            .map(|field: &(Vec<u8>, _)| &field.0)
                    };
                    Expected::Exactly(Value::Array(vec![maybe(value(&one)), maybe(value(&two))]))
                });
                (args!["HMGET", key, one, two], expected)
            }
            11..=12 => {
                let (one, two, after_ms) = (input.name(), input.name(), u64::from(input.short() & 0x1FFF));
                let deadline_ms = self.now_ms + after_ms;
                let expected = self.hash(&key).map(|fields| {
                    each(fields, &[&one, &two], |fields, name| match fields.get_mut(name) {
                        None => -2,
                        Some(_) if after_ms == 0 => {
                            fields.remove(name);
                            2
                        }
                        Some(field) => {
                            field.1 = Some(deadline_ms);
                            1
                        }
                    })
                });
                (args!["HPEXPIRE", key, after_ms.to_string(), "FIELDS", "2", one, two], expected)
            }
            13 => {
                let (name, now_ms) = (input.name(), self.now_ms);
                let expected = self.hash(&key).map(|fields| {
                    each(fields, &[&name], |fields, name| match fields.get(name) {
                        None => -2,
                        Some((_, None)) => -1,
                        Some((_, Some(deadline_ms))) => (deadline_ms - now_ms) as i64,
                    })
                });
                (args!["HPTTL", key, "FIELDS", "1", name], expected)
            }
            _ => {
                let name = input.name();
                let expected = self.hash(&key).map(|fields| {
                    each(fields, &[&name], |fields, name| match fields.get_mut(name) {
                        None => -2,
                        Some(field) => {
                            if field.1.take().is_some() {
                                1
                            } else {
                                -1
                            }
                        }
                    })
                });
                (args!["HPERSIST", key, "FIELDS", "1", name], expected)
            }
        };
        (args, expected.unwrap_or_else(|error| error))
    }

    fn set_fields(
        &mut self,
        key: &[u8],
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> (Vec<Vec<u8>>, Result<Expected, Expected>) {
        let expected = self.hash_or_new(key).map(|fields| {
            let before = fields.len();
            // A field that is set lives as long as its key.
            fields.extend(pairs.iter().map(|(name, value)| (name.clone(), (value.clone(), None))));
            integer(fields.len() - before)
        });
        let name = if pairs.len().is_multiple_of(5) { "HMSET" } else { "HSET" };
        let expected = if name == "HMSET" { expected.map(|_| ok()) } else { expected };
        let mut args = args![name, key];
        args.extend(pairs.into_iter().flat_map(|(name, value)| [name, value]));
        (args, expected)
    }
}

/// What comes of each of the fields, one after the other.
fn each(
    fields: Option<&mut Fields>,
    names: &[&Vec<u8>],
    mut of: impl FnMut(&mut Fields, &Vec<u8>) -> i64,
) -> Expected {
    let mut none = Fields::new();
    let fields = fields.unwrap_or(&mut none);
    Expected::Exactly(Value::Array(names.iter().map(|name| Value::Integer(of(fields, name))).collect()))
}
