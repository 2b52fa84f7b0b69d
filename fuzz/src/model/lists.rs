//! Commands on lists.

use super::{
    Data, Entry, Expected, Model, Step, WRONG_KIND, array, bulk, index, integer, key, maybe, null, ok, range,
    signed,
};
use crate::args;
use sessile::fuzzing::Input;
use std::collections::VecDeque;

/// Lists are cut down to this.
const ELEMENTS_MAX: usize = 1200;

impl Model {
    fn list(&mut self, key: &[u8]) -> Result<Option<&mut VecDeque<Vec<u8>>>, Expected> {
        match self.keys.get_mut(key).map(|entry| &mut entry.data) {
            None => Ok(None),
            Some(Data::List(elements)) => Ok(Some(elements)),
            Some(_) => Err(WRONG_KIND),
        }
    }

    pub(super) fn lists_step(&mut self, input: &mut Input<'_>) -> Step {
        let key = key(input, b'l');
        let (args, expected) = match input.byte() % 14 {
            0..=1 => {
                let elements = vec![input.value(), input.name()];
                self.push(input, key, elements)
            }
            2 => {
                let elements =
                    (0..=input.below(200)).map(|at| at.to_string().repeat(at % 40).into_bytes()).collect();
                self.push(input, key, elements)
            }
            3 => {
                let (front, count) = (input.byte().is_multiple_of(2), input.byte() % 9);
                let name = if front { "LPOP" } else { "RPOP" };
                let pop = |elements: &mut VecDeque<Vec<u8>>| {
                    if front { elements.pop_front() } else { elements.pop_back() }
                };
                if count == 8 {
                    let expected =
                        self.list(&key).map(|list| Expected::Exactly(maybe(list.and_then(pop).as_ref())));
                    (args![name, key], expected)
                } else {
                    let expected = self.list(&key).map(|list| match list {
                        None => null(),
                        Some(list) => array(&(0..count).map_while(|_| pop(list)).collect::<Vec<_>>()),
                    });
                    (args![name, key, count.to_string()], expected)
                }
            }
            4 => (args!["LLEN", key], self.list(&key).map(|list| integer(list.map_or(0, |list| list.len())))),
            5..=6 => {
                let (start, end) = (index(input), index(input));
                let expected = self.list(&key).map(|list| match list {
                    None => array([]),
                    Some(list) => array(list.range(range(start, end, list.len()))),
                });
                (args!["LRANGE", key, start.to_string(), end.to_string()], expected)
            }
            7 => {
                let at = index(input);
                let expected = self.list(&key).map(|list| {
                    Expected::Exactly(maybe(
                        list.and_then(|list| list.get(position(at, list.len())?).cloned()).as_ref(),
                    ))
                });
                (args!["LINDEX", key, at.to_string()], expected)
            }
            8 => {
                let (at, element) = (index(input), input.value());
                let expected = match self.list(&key) {
                    Err(error) => Err(error),
                    Ok(None) => Err(Expected::Error("ERR no such key")),
                    Ok(Some(list)) => match position(at, list.len()) {
                        None => Err(Expected::Error("ERR index out of range")),
                        Some(at) => {
                            list[at] = element.clone();
                            Ok(ok())
                        }
                    },
                };
                (args!["LSET", key, at.to_string(), element], expected)
            }
            9 => {
                let (pivot, element, before) = (input.name(), input.value(), input.byte().is_multiple_of(2));
                let expected = self.list(&key).map(|list| match list {
                    None => integer(0),
                    Some(list) => match list.iter().position(|other| *other == pivot) {
                        None => signed(-1),
                        Some(at) => {
                            list.insert(if before { at } else { at + 1 }, element.clone());
                            integer(list.len())
                        }
                    },
                });
                (args!["LINSERT", key, if before { "BEFORE" } else { "AFTER" }, pivot, element], expected)
            }
            10 => {
                let (count, element) = (i64::from(input.byte() % 7) - 3, input.name());
                let expected =
                    self.list(&key).map(|list| integer(list.map_or(0, |list| remove(list, count, &element))));
                (args!["LREM", key, count.to_string(), element], expected)
            }
            11 => {
                let (start, end) = (index(input), index(input) + 30);
                let expected = self.list(&key).map(|list| {
                    if let Some(list) = list {
                        let kept = range(start, end, list.len());
                        *list = list.range(kept).cloned().collect();
                    }
                    ok()
                });
                (args!["LTRIM", key, start.to_string(), end.to_string()], expected)
            }
            12 => self.move_one(input, key),
            _ => {
                let start = index(input);
                let element = self
                    .list(&key)
                    .ok()
                    .flatten()
                    .and_then(|list| list.get(position(start, list.len())?).cloned());
                let expected = self.list(&key).map(|list| match (list, &element) {
                    (Some(list), Some(element)) => {
                        signed(list.iter().position(|other| other == element).map_or(-1, |at| at as i64))
                    }
                    _ => null(),
                });
                let element = element.unwrap_or_else(|| b"nowhere to be found".to_vec());
                (args!["LPOS", key, element], expected)
            }
        };
        let expected = expected.unwrap_or_else(|error| error);
        (args, expected)
    }

    fn push(
        &mut self,
        input: &mut Input<'_>,
        key: Vec<u8>,
        elements: Vec<Vec<u8>>,
    ) -> (Vec<Vec<u8>>, Result<Expected, Expected>) {
        let kind = input.byte();
        let (front, only_if_there) = (kind & 1 == 0, kind & 6 == 6);
        let name =
            ["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"][usize::from(!front) + if only_if_there { 2 } else { 0 }];
        let mut args = args![name, key];
        args.extend(elements.iter().cloned());
        let expected = match self.list(&key).map(|list| list.map(|list| list.len())) {
            Err(error) => Err(error),
            Ok(None) if only_if_there => Ok(integer(0)),
            Ok(Some(len)) if len > ELEMENTS_MAX => return (args!["LLEN", key], Ok(integer(len))),
            Ok(_) => {
                let entry = self
                    .keys
                    .entry(key)
                    .or_insert(Entry { data: Data::List(VecDeque::new()), deadline_ms: None });
                let Data::List(list) = &mut entry.data else { return (args, Err(WRONG_KIND)) };
                for element in elements {
                    if front { list.push_front(element) } else { list.push_back(element) }
                }
                Ok(integer(list.len()))
            }
        };
        (args, expected)
    }

    fn move_one(
        &mut self,
        input: &mut Input<'_>,
        from: Vec<u8>,
    ) -> (Vec<Vec<u8>>, Result<Expected, Expected>) {
        let (to, ends) = (key(input, b'l'), input.byte());
        let (first, second) = (ends & 1 == 0, ends & 2 == 0);
        let word = |left: bool| if left { "LEFT" } else { "RIGHT" };
        let args = args!["LMOVE", from, to, word(first), word(second)];
        match self.list(&from) {
            Err(error) => return (args, Err(error)),
            Ok(None) => return (args, Ok(null())),
            Ok(Some(_)) => {}
        }
        if let Err(error) = self.list(&to) {
            return (args, Err(error));
        }
        let Ok(Some(list)) = self.list(&from) else { return (args, Err(WRONG_KIND)) };
        let element = if first { list.pop_front() } else { list.pop_back() }.unwrap_or_default();
        // The key of an empty list is gone, and with it its deadline, before the element comes to another.
        if from != to {
            self.bury();
        }
        let entry =
            self.keys.entry(to).or_insert(Entry { data: Data::List(VecDeque::new()), deadline_ms: None });
        if let Data::List(list) = &mut entry.data {
            if second { list.push_front(element.clone()) } else { list.push_back(element.clone()) }
        }
        (args, Ok(Expected::Exactly(bulk(&element))))
    }
}

/// The index that a possibly negative one means.
fn position(at: i64, len: usize) -> Option<usize> {
    let at = if at < 0 { at + len as i64 } else { at };
    usize::try_from(at).ok().filter(|at| *at < len)
}

fn remove(list: &mut VecDeque<Vec<u8>>, count: i64, element: &[u8]) -> usize {
    let before = list.len();
    let mut left = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let mut stays = |other: &Vec<u8>| {
        let goes = left > 0 && other == element;
        left -= usize::from(goes);
        !goes
    };
    let mut all: Vec<Vec<u8>> = list.drain(..).collect();
    if count < 0 {
        all.reverse();
        all.retain(&mut stays);
        all.reverse();
    } else {
        all.retain(&mut stays);
    }
    list.extend(all);
    before - list.len()
}
