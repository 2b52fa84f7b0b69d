//! A large list against a `VecDeque`, and what its chunks promise.

use super::*;
use crate::limits::{LIST_CHUNK_BYTES, LIST_CHUNK_ELEMENTS};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    DropFront(usize),
    DropBack(usize),
    Set(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    /// The same position many times.
    InsertMany(usize, usize),
    Remove(usize),
    RemoveEqual(Vec<u8>, usize, bool),
    Append(Vec<Vec<u8>>),
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u8..4).prop_map(|n| vec![n]),
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (0usize..9000).prop_map(|n| vec![1; n]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => element().prop_map(Step::PushBack),
        4 => element().prop_map(Step::PushFront),
        1 => (0usize..300).prop_map(Step::DropFront),
        1 => (0usize..300).prop_map(Step::DropBack),
        2 => (any::<usize>(), element()).prop_map(|(at, element)| Step::Set(at, element)),
        2 => (any::<usize>(), element()).prop_map(|(at, element)| Step::Insert(at, element)),
        1 => (any::<usize>(), 0usize..300).prop_map(|(at, count)| Step::InsertMany(at, count)),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => (element(), 0usize..40, any::<bool>()).prop_map(|(element, n, last)| Step::RemoveEqual(element, n, last)),
        2 => proptest::collection::vec(element(), 0..400).prop_map(Step::Append),
    ]
}

fn run_of(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut run = Vec::new();
    elements.iter().for_each(|element| packed_list::put(&mut run, element));
    run
}

fn remove_equal(model: &mut VecDeque<Vec<u8>>, element: &[u8], count: usize, last: bool) {
    let mut left = count;
    let mut keep = |other: &Vec<u8>| {
        let gone = left > 0 && other == element;
        left -= usize::from(gone);
        !gone
    };
    if last {
        let mut kept: VecDeque<_> = model.drain(..).rev().filter(|other| keep(other)).collect();
        kept.make_contiguous().reverse();
        *model = kept;
    } else {
        model.retain(keep);
    }
}

fn apply(step: Step, list: &mut List, model: &mut VecDeque<Vec<u8>>) {
    match step {
        Step::PushBack(element) => {
            list.push_back(&element);
            model.push_back(element);
        }
        Step::PushFront(element) => {
            list.push_front(&element);
            model.push_front(element);
        }
        Step::DropFront(count) if count < model.len() => {
            let gone = list.drop_front(count);
            assert!(gone.len() <= count);
            model.drain(..count);
        }
        Step::DropBack(count) if count < model.len() => {
            list.drop_back(count);
            model.truncate(model.len() - count);
        }
        Step::Set(at, element) if !model.is_empty() => {
            let at = at % model.len();
            list.set(at, &element);
            model[at] = element;
        }
        Step::Insert(at, element) => {
            let at = at % (model.len() + 1);
            list.insert(at, &element);
            model.insert(at, element);
        }
        Step::InsertMany(at, count) => {
            let at = at % (model.len() + 1);
            for _ in 0..count {
                list.insert(at, b"again");
                model.insert(at, b"again".to_vec());
            }
        }
        Step::Remove(at) if !model.is_empty() => {
            let at = at % model.len();
            list.remove(at);
            model.remove(at);
        }
        Step::RemoveEqual(element, count, last) => {
            list.remove_equal(&element, count, last);
            remove_equal(model, &element, count, last);
        }
        Step::Append(elements) => {
            list.append(&run_of(&elements));
            model.extend(elements);
        }
        Step::DropFront(_) | Step::DropBack(_) | Step::Set(..) | Step::Remove(_) => {}
    }
}

fn check(list: &List, model: &VecDeque<Vec<u8>>) {
    assert_eq!(list.len(), model.len());
    assert!(list.from(0).eq(model.iter().map(Vec::as_slice)));
    assert!(list.back_from(list.len()).eq(model.iter().rev().map(Vec::as_slice)));
    let sum = |of: fn(&Chunk) -> usize| list.chunks.iter().map(of).sum::<usize>();
    assert_eq!(list.len, sum(Chunk::len));
    assert_eq!(list.bytes, sum(Chunk::bytes));
    assert_eq!(list.capacity, sum(|chunk| chunk.buffer.capacity()));
    for chunk in &list.chunks {
        assert_eq!(packed_list::check(chunk.run()), Some(chunk.len()));
        assert!(chunk.len() > 0 && chunk.len() <= LIST_CHUNK_ELEMENTS);
        assert!(chunk.bytes() <= LIST_CHUNK_BYTES || chunk.len() == 1);
    }
    let mut payload = Vec::new();
    list.encode(&mut payload);
    assert_eq!(payload.len(), list.payload_bytes());
    if list.len() > 0 {
        assert!(packed_list::check_payload(&payload));
        assert!(List::of(&payload).from(0).eq(list.from(0)));
        assert!(list.copy().from(0).eq(list.from(0)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_is_a_deque(steps in proptest::collection::vec(step(), 1..80), at: usize) {
        let (mut list, mut model) = (List::default(), VecDeque::new());
        for step in steps {
            apply(step, &mut list, &mut model);
            check(&list, &model);
            let at = at % (model.len() + 2);
            prop_assert_eq!(list.get(at), model.get(at).map(Vec::as_slice));
            prop_assert!(list.from(at).eq(model.iter().skip(at).map(Vec::as_slice)));
            let mut some = Vec::new();
            list.for_each(at, 150, &mut |element| some.push(element.to_vec()));
            prop_assert!(some.iter().eq(model.iter().skip(at).take(150)));
            let before = model.iter().take(at).rev().map(Vec::as_slice);
            prop_assert!(list.back_from(at.min(model.len())).eq(before));
        }
    }
}

#[test]
fn it_costs_little_more_than_its_bytes() {
    for length in [3, 30, 300] {
        for front in [false, true] {
            let mut list = List::default();
            for _ in 0..20_000 {
                if front { list.push_front(&vec![7; length]) } else { list.push_back(&vec![7; length]) }
            }
            let (memory, bytes) = (list.memory_bytes(), list.bytes);
            // A chunk of 128 elements of five bytes has 32 bytes of its own; the deque of chunks may be half empty.
            assert!(memory <= bytes * 5 / 4, "{length} {front}: {memory} for {bytes}");
        }
    }
}

#[test]
fn a_queue_keeps_its_size() {
    for (length, backwards) in [(10, false), (10, true), (900, false), (900, true), (5000, false)] {
        let mut list = List::default();
        let element = vec![1; length];
        for turn in 0..10_000 {
            if backwards {
                list.push_front(&element);
            } else {
                list.push_back(&element);
            }
            if turn >= 20 {
                drop(if backwards { list.drop_back(1) } else { list.drop_front(1) });
            }
        }
        assert_eq!(list.len(), 20);
        assert!(list.memory_bytes() < 40_000 + 2 * list.bytes, "{length}: {}", list.memory_bytes());
    }
}

#[test]
fn insertions_in_one_place_share_chunks() {
    for at in [0usize, 128, 127, 129, 64] {
        let mut list = List::default();
        (0..512).for_each(|_| list.push_back(b"element"));
        // Always before the same element, and always behind it.
        for turn in 0..1000 {
            list.insert(if turn % 2 == 0 { at } else { at + turn }, b"x");
        }
        assert!(list.chunks.len() < 60, "{at}: {} chunks", list.chunks.len());
    }
}
