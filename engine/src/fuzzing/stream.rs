//! Streams with their groups against maps of the standard library.

use super::Input;
use crate::object::layout;
use crate::object::stream::{Group, Stream, StreamBound, StreamId};
use crate::varint;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

type Model = BTreeMap<StreamId, Vec<u8>>;
/// Of a group: whose entry, when delivered last, how often.
type Pending = BTreeMap<StreamId, (Vec<u8>, u64, u64)>;

/// So many entries and no more come.
const ENTRIES_MAX: usize = 2000;

fn id(input: &mut Input<'_>) -> StreamId {
    let number = input.short();
    StreamId { ms: u64::from(number >> 2) % 700, seq: u64::from(number & 3) }
}

fn body(input: &mut Input<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..input.below(4) {
        varint::put_slice(&mut body, &input.name());
        varint::put_slice(&mut body, &input.value());
    }
    body
}

/// Entries that come at the end and go anywhere, and who has which in a group: the stream and the maps agree, and what it writes is read back.
pub fn stream(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut stream, mut model) = (Stream::default(), Model::new());
    let (mut pending, mut consumers) = (Pending::new(), std::collections::BTreeSet::<Vec<u8>>::new());
    let name: Box<[u8]> = b"group"[..].into();
    stream.groups.insert(name.clone(), Group::default());
    while !input.is_empty() {
        match input.byte() % 10 {
            0..=1 => {
                let (id, body) = (id(&mut input), body(&mut input));
                if model.len() < ENTRIES_MAX {
                    if id > stream.state.last_id {
                        model.insert(id, body.clone());
                    }
                    stream.append(id, &body);
                }
            }
            2 => {
                let (many, apart) = (u64::from(input.byte()), u64::from(input.byte() % 3));
                for number in 0..many {
                    let last = stream.state.last_id;
                    let id = StreamId { ms: last.ms + apart, seq: last.seq + 1 + number % 2 };
                    if model.len() < ENTRIES_MAX {
                        stream.append(id, b"");
                        model.insert(id, Vec::new());
                    }
                }
            }
            3 => {
                let id = id(&mut input);
                assert_eq!(stream.discard(id), model.remove(&id).is_some());
            }
            4 => {
                let count = input.below(120);
                stream.drop_front(count);
                (0..count).for_each(|_| drop(model.pop_first()));
            }
            5 => {
                let (id, body) = (id(&mut input), body(&mut input));
                if id <= stream.state.last_id {
                    stream.restore(id, &body);
                    model.entry(id).or_insert(body);
                }
            }
            6 => {
                let bound = id(&mut input);
                let exact = model.range(..bound).count();
                assert_eq!(stream.beyond(StreamBound::Id(bound), false, None), exact);
                assert!(stream.beyond(StreamBound::Id(bound), true, Some(50)) <= exact.min(50));
                let length = u64::from(input.byte());
                assert_eq!(
                    stream.beyond(StreamBound::Length(length), false, None),
                    model.len().saturating_sub(length as usize)
                );
            }
            7 => {
                let (start, end) = (id(&mut input), id(&mut input));
                visit(&stream, &model, start, end);
            }
            8 => {
                let (consumer, id) = (input.name(), id(&mut input));
                let (at_ms, count) = (input.number(), input.number());
                let Some(group) = stream.groups.get_mut(&name) else { unreachable!("never removed") };
                match input.byte() % 4 {
                    0 => {
                        group.see(&consumer, at_ms);
                        consumers.insert(consumer);
                    }
                    1 => {
                        let there = consumers.contains(&consumer);
                        assert_eq!(group.assign(&consumer, id, at_ms, count), there);
                        if there {
                            pending.insert(id, (consumer, at_ms, count));
                        }
                    }
                    2 => assert_eq!(group.release(id), pending.remove(&id).is_some()),
                    _ => {
                        group.forget(&consumer);
                        consumers.remove(&consumer);
                        pending.retain(|_, entry| entry.0 != consumer);
                    }
                }
            }
            _ => {
                let id = id(&mut input);
                assert_eq!(stream.get(id), model.get(&id).map(Vec::as_slice));
            }
        }
        assert_eq!(stream.len(), model.len());
        assert_eq!(stream.first_id(), model.keys().next().copied());
        assert_eq!(stream.last_entry_id(), model.keys().next_back().copied());
    }
    compare(&stream, &model, &pending);
    let mut flat = Vec::new();
    layout::put_head(&mut flat, crate::Kind::Stream, 0, b"key", None);
    let head = flat.len();
    stream.encode(&mut flat);
    assert!(layout::check(&flat).is_some());
    let again = Stream::decode(&flat[head..]).expect("made here");
    assert_eq!(again.state, stream.state);
    compare(&again, &model, &pending);
}

fn visit(stream: &Stream, model: &Model, start: StreamId, end: StreamId) {
    for reverse in [false, true] {
        let mut seen = Vec::new();
        stream.visit(start..=end, reverse, &mut |id, body| {
            seen.push((id, body.to_vec()));
            if seen.len() < 300 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if start > end {
            assert!(seen.is_empty());
            continue;
        }
        let range = model.range(start..=end).map(|(id, body)| (*id, body.clone()));
        let wanted: Vec<_> =
            if reverse { range.rev().take(300).collect() } else { range.take(300).collect() };
        assert_eq!(seen, wanted);
    }
}

fn compare(stream: &Stream, model: &Model, pending: &Pending) {
    let mut seen = Model::new();
    stream.visit(StreamId::MIN..=StreamId::MAX, false, &mut |id, body| {
        seen.insert(id, body.to_vec());
        ControlFlow::Continue(())
    });
    assert_eq!(seen, *model);
    let group = &stream.groups[&b"group"[..]];
    let found: Pending = group
        .pending
        .iter()
        .map(|(id, entry)| (*id, (entry.consumer.to_vec(), entry.delivered_ms, entry.count)))
        .collect();
    assert_eq!(found, *pending);
    for (name, consumer) in &group.consumers {
        let ids: Vec<_> =
            pending.iter().filter(|(_, entry)| entry.0 == name[..]).map(|(id, _)| *id).collect();
        assert!(consumer.pending.iter().copied().eq(ids));
    }
}
