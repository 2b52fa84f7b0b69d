use super::*;
use proptest::prelude::*;

fn id(ms: u64) -> StreamId {
    StreamId { ms, seq: ms % 3 }
}

fn body(ms: u64) -> Vec<u8> {
    let mut body = Vec::new();
    varint::put_slice(&mut body, b"field");
    varint::put_slice(&mut body, &vec![b'x'; (ms % 300) as usize]);
    body
}

fn contents(stream: &Stream, reverse: bool) -> Vec<(StreamId, Vec<u8>)> {
    let mut all = Vec::new();
    stream.visit(StreamId::MIN..=StreamId::MAX, reverse, &mut |id, body| {
        all.push((id, body.to_vec()));
        ControlFlow::Continue(())
    });
    all
}

proptest! {
    #[test]
    fn a_stream_is_what_a_map_is(steps in prop::collection::vec((0u8..5, 1u64..400), 1..600)) {
        let (mut stream, mut model) = (Stream::default(), BTreeMap::new());
        let mut last = 0;
        for (step, number) in steps {
            match step {
                0 | 1 => {
                    last += number % 7 + 1;
                    stream.append(id(last), &body(last));
                    model.insert(id(last), body(last));
                }
                2 => {
                    let there = stream.discard(id(number));
                    prop_assert_eq!(there, model.remove(&id(number)).is_some());
                }
                3 => {
                    let count = number as usize % 9;
                    stream.drop_front(count);
                    for _ in 0..count { model.pop_first(); }
                }
                _ => {
                    let number = number.min(last);
                    stream.restore(id(number), &body(number));
                    model.insert(id(number), body(number));
                }
            }
            prop_assert_eq!(stream.len(), model.len());
            prop_assert_eq!(stream.first_id(), model.keys().next().copied());
            prop_assert_eq!(stream.last_entry_id(), model.keys().next_back().copied());
        }
        let mut wanted: Vec<_> = model.into_iter().collect();
        prop_assert_eq!(&contents(&stream, false), &wanted);
        let bytes: usize = stream.chunks.iter().map(|chunk| chunk.bytes().len()).sum();
        prop_assert_eq!(bytes, stream.bytes);
        let exact = stream.beyond(StreamBound::Id(id(200)), false, None);
        prop_assert_eq!(exact, wanted.iter().filter(|entry| entry.0 < id(200)).count());
        prop_assert_eq!(stream.beyond(StreamBound::Length(5), false, None), wanted.len().saturating_sub(5));
        prop_assert!(stream.beyond(StreamBound::Length(5), true, None) <= wanted.len().saturating_sub(5));
        stream.state.last_id = id(last.max(400));
        let mut flat = Vec::new();
        stream.encode(&mut flat);
        let again = Stream::decode(&flat).expect("made here");
        prop_assert_eq!(&contents(&again, false), &wanted);
        wanted.reverse();
        prop_assert_eq!(&contents(&stream, true), &wanted);
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(bytes: Vec<u8>) {
        let _ = Stream::decode(&bytes);
    }
}

#[test]
fn a_group_comes_back() {
    let mut group = Group { last_id: id(9), entries_read: Some(4), ..Group::default() };
    group.see(b"one", 100);
    group.see(b"two", 200);
    assert!(group.assign(b"one", id(1), 5, 1));
    assert!(group.assign(b"one", id(2), 6, 2));
    assert!(group.assign(b"two", id(1), 7, 3), "it moves");
    assert!(!group.assign(b"three", id(1), 7, 3), "there is nobody");
    assert_eq!(group.consumers[&b"one"[..]].pending.len(), 1);
    let mut bytes = Vec::new();
    group.put(&mut bytes, b"name");
    let mut rest = &bytes[..];
    assert_eq!(take_group(&mut rest), Some((&b"name"[..], group.clone())));
    assert!(rest.is_empty());
    group.forget(b"two");
    assert!(!group.release(id(1)));
    assert!(group.release(id(2)));
    assert_eq!(group.memory_bytes(), size_of::<Group>() + CONSUMER_BYTES_OF_ONE);
}

const CONSUMER_BYTES_OF_ONE: usize = 192;
