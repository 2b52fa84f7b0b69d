//! Commands on sets.

use super::{Data, Entry, Expected, Model, Step, WRONG_KIND, bulk, integer, key};
use crate::args;
use crate::resp::Value;
use sessile::fuzzing::Input;
use std::collections::BTreeSet;

type Members = BTreeSet<Vec<u8>>;

impl Model {
    fn members(&mut self, key: &[u8]) -> Result<Option<&mut Members>, Expected> {
        match self.keys.get_mut(key).map(|entry| &mut entry.data) {
            None => Ok(None),
            Some(Data::Set(members)) => Ok(Some(members)),
            Some(_) => Err(WRONG_KIND),
        }
    }

    pub(super) fn sets_step(&mut self, input: &mut Input<'_>) -> Step {
        let key = key(input, b't');
        let (args, expected) = match input.byte() % 11 {
            0..=1 => {
                let members = vec![input.name(), input.name()];
                self.add(key, members)
            }
            2 => {
                let first = i64::from(input.byte() as i8) * 3;
                let members =
                    (0..=input.below(200)).map(|at| (first + at as i64).to_string().into_bytes()).collect();
                self.add(key, members)
            }
            3 => {
                let value = input.value();
                self.add(key, vec![value])
            }
            4 => {
                let (one, two) = (input.name(), input.name());
                let expected = self.members(&key).map(|members| {
                    integer(members.map_or(0, |members| {
                        usize::from(members.remove(&one)) + usize::from(members.remove(&two))
                    }))
                });
                (args!["SREM", key, one, two], expected)
            }
            5 => {
                let (one, two) = (input.name(), input.name());
                let expected = self.members(&key).map(|members| {
                    let has =
                        |member| i64::from(members.as_ref().is_some_and(|members| members.contains(member)));
                    Expected::Exactly(Value::Array(vec![
                        Value::Integer(has(&one)),
                        Value::Integer(has(&two)),
                    ]))
                });
                (args!["SMISMEMBER", key, one, two], expected)
            }
            6 => (
                args!["SCARD", key],
                self.members(&key).map(|members| integer(members.map_or(0, |members| members.len()))),
            ),
            7 => {
                let expected =
                    self.members(&key).map(|members| any_order(&members.cloned().unwrap_or_default()));
                (args!["SMEMBERS", key], expected)
            }
            8 => {
                let (to, member) = (super::key(input, b't'), input.name());
                let args = args!["SMOVE", key, to, member];
                let expected = (|| {
                    let Some(from) = self.members(&key)? else { return Ok(integer(0)) };
                    let there = from.contains(&member);
                    self.members(&to)?;
                    if there && key != to {
                        if let Some(from) = self.members(&key)? {
                            from.remove(&member);
                        }
                        self.add(to, vec![member.clone()]).1?;
                    }
                    Ok(integer(usize::from(there)))
                })();
                (args, expected)
            }
            9 => {
                let (other, which) = (super::key(input, b't'), input.below(3));
                let args = args![["SINTER", "SUNION", "SDIFF"][which], key, other];
                let expected = self.combined(&key, &other, which).map(|all| any_order(&all));
                (args, expected)
            }
            _ => {
                let (other, to, which) = (super::key(input, b't'), super::key(input, b't'), input.below(3));
                let args = args![["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"][which], to, key, other];
                let expected = self.combined(&key, &other, which).map(|all| {
                    let count = all.len();
                    self.put(&to, Data::Set(all), None);
                    integer(count)
                });
                (args, expected)
            }
        };
        (args, expected.unwrap_or_else(|error| error))
    }

    fn combined(&mut self, one: &[u8], other: &[u8], which: usize) -> Result<Members, Expected> {
        let first = self.members(one)?.cloned().unwrap_or_default();
        let second = self.members(other)?.cloned().unwrap_or_default();
        Ok(match which {
            0 => &first & &second,
            1 => &first | &second,
            _ => &first - &second,
        })
    }

    fn add(&mut self, key: Vec<u8>, members: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, Result<Expected, Expected>) {
        let mut args = args!["SADD", key];
        args.extend(members.iter().cloned());
        let expected = self.members(&key).map(drop).map(|()| {
            let entry =
                self.keys.entry(key).or_insert(Entry { data: Data::Set(Members::new()), deadline_ms: None });
            let Data::Set(set) = &mut entry.data else { return WRONG_KIND };
            let before = set.len();
            set.extend(members);
            integer(set.len() - before)
        });
        (args, expected)
    }
}

fn any_order(members: &Members) -> Expected {
    Expected::AnyOrder(members.iter().map(|member| bulk(member)).collect())
}
