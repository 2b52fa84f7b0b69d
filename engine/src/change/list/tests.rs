//! Every change of a list, on both forms, against a `VecDeque`; and what the log and the inverse make of it.

use super::*;
use crate::key::KeyHasher;
use crate::live::LiveCounts;
use crate::object::{Kind, View};
use proptest::prelude::*;
use std::collections::VecDeque;

type Model = VecDeque<Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    PushFront(Vec<Vec<u8>>),
    PushBack(Vec<Vec<u8>>),
    Trim(u64, u64),
    Set(u64, Vec<u8>),
    Insert(u64, Vec<u8>),
    Remove(u64),
    RemoveEqual(Vec<u8>, u64, bool),
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u8..4).prop_map(|n| vec![n]),
        2 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (4000usize..9000).prop_map(|n| vec![1; n]),
    ]
}

/// Positions that are mostly there, and some that can't be.
fn position() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0u64..8, 3 => 0u64..200, 1 => any::<u64>()]
}

fn step() -> impl Strategy<Value = Step> {
    let elements = || proptest::collection::vec(element(), 0..60);
    prop_oneof![
        3 => elements().prop_map(Step::PushFront),
        3 => elements().prop_map(Step::PushBack),
        2 => (position(), position()).prop_map(|(front, back)| Step::Trim(front, back)),
        2 => (position(), element()).prop_map(|(index, element)| Step::Set(index, element)),
        2 => (position(), element()).prop_map(|(index, element)| Step::Insert(index, element)),
        2 => position().prop_map(Step::Remove),
        2 => (element(), position(), any::<bool>()).prop_map(|(element, n, last)| Step::RemoveEqual(element, n, last)),
    ]
}

fn run_of(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut run = Vec::new();
    elements.iter().for_each(|element| packed_list::put(&mut run, element));
    run
}

/// What the model makes of a step; nothing if it does not fit.
fn expect(step: &Step, model: &mut Model) {
    let len = model.len() as u64;
    match step {
        Step::PushFront(elements) => elements.iter().rev().for_each(|e| model.push_front(e.clone())),
        Step::PushBack(elements) => model.extend(elements.iter().cloned()),
        Step::Trim(front, back) if front.saturating_add(*back) < len => {
            model.truncate((len - back) as usize);
            model.drain(..*front as usize);
        }
        Step::Set(index, element) if *index < len => model[*index as usize] = element.clone(),
        Step::Insert(index, element) if *index <= len => model.insert(*index as usize, element.clone()),
        Step::Remove(index) if *index < len && len > 1 => drop(model.remove(*index as usize)),
        Step::RemoveEqual(element, count, last) if *count < len => {
            let mut left = *count;
            let mut kept = Model::new();
            while let Some(other) = if *last { model.pop_back() } else { model.pop_front() } {
                if left > 0 && other == *element {
                    left -= 1;
                } else if *last {
                    kept.push_front(other);
                } else {
                    kept.push_back(other);
                }
            }
            *model = kept;
        }
        _ => {}
    }
}

/// Hands the step's change to `with`, as it comes back from the log.
fn as_logged(step: &Step, with: impl FnOnce(Change<'_>)) {
    let run;
    let change = match step {
        Step::PushFront(elements) => {
            run = run_of(elements);
            ListChange::PushFront { run: &run, count: elements.len() }
        }
        Step::PushBack(elements) => {
            run = run_of(elements);
            ListChange::PushBack { run: &run, count: elements.len() }
        }
        Step::Trim(front, back) => ListChange::Trim { front: *front, back: *back },
        Step::Set(index, element) => ListChange::Set { index: *index, element },
        Step::Insert(index, element) => ListChange::Insert { index: *index, element },
        Step::Remove(index) => ListChange::Remove { index: *index },
        Step::RemoveEqual(element, count, last) => {
            ListChange::RemoveEqual { element, count: *count, last: *last }
        }
    };
    let change = Change::List(change);
    let mut logged = Vec::new();
    change.encode(&mut logged);
    let mut rest = &logged[..];
    let taken = Change::take(change.code(), &mut rest).expect("made here");
    assert_eq!((taken, rest), (change, &[][..]));
    for end in 0..logged.len() {
        let _ = Change::take(change.code(), &mut &logged[..end]);
    }
    with(taken);
}

/// A list in a shard of its own, flat as long as it may be unless it is made large.
struct Held {
    shard: Shard,
    hasher: KeyHasher,
    place: Place,
}

impl Held {
    fn new(elements: &[Vec<u8>], large: bool) -> Held {
        let hasher = KeyHasher::new([7; 16]);
        let mut shard = Shard::new(0, 0, std::sync::Arc::new(LiveCounts::new()));
        let key = hasher.key(0, b"key");
        let mut head = Vec::new();
        layout::put_head(&mut head, Kind::List, 0, b"key", None);
        let run = run_of(elements);
        let mut object = flat_list(&head, elements.len(), [&run, &[], &[]]);
        if large {
            let mut list = List::default();
            list.append(&run);
            object = Object::Structured(Arc::new(Structured::new(0, b"key", None, Body::List(list))));
        }
        shard.put(&key, object, u64::MAX, 0);
        let place = shard.find(&key).expect("just put");
        Held { shard, hasher, place }
    }

    fn elements(&self) -> Model {
        let collect = |elements: &mut dyn Iterator<Item = &[u8]>| elements.map(<[u8]>::to_vec).collect();
        match self.shard.entry(self.place).view() {
            View::Packed(flat) => {
                assert!(layout::check(flat).is_some());
                let (len, run) = packed_list::parts(layout::parts(flat).payload);
                assert!(flat.len() <= PACKED_BYTES_MAX && len <= PACKED_FIELDS_MAX);
                collect(&mut packed_list::Elements(run))
            }
            View::Structured(Structured { body: Body::List(list), .. }) => collect(&mut list.from(0)),
            View::Structured(_) => panic!("a list"),
        }
    }

    fn apply(&mut self, change: &Change<'_>) {
        super::super::apply(&mut self.shard, self.place, &self.hasher, change);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_change_does_the_same_to_both_forms_and_can_be_undone(
        start in proptest::collection::vec(element(), 1..40),
        steps in proptest::collection::vec(step(), 1..30),
    ) {
        let mut model: Model = start.iter().cloned().collect();
        let (mut small, mut large) = (Held::new(&start, false), Held::new(&start, true));
        for step in &steps {
            let before = model.clone();
            expect(step, &mut model);
            as_logged(step, |change| {
                small.apply(&change);
                let mut inverse = Inverse::default();
                let View::Structured(object) = large.shard.entry(large.place).view() else { panic!("large") };
                super::super::invert(object, &large.hasher, &change, &mut inverse);
                large.apply(&change);
                assert_eq!(large.elements(), model);
                inverse.since(0).for_each(|change| large.apply(&change));
                assert_eq!(large.elements(), before, "undone");
                large.apply(&change);
            });
            prop_assert_eq!(&small.elements(), &model);
            prop_assert_eq!(&large.elements(), &model);
        }
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes: Vec<u8>) {
        let _ = ListChange::take(&mut &bytes[..]);
    }
}
