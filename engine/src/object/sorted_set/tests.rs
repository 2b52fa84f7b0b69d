//! Large sorted sets against a model, and what a tree must be after any number of changes.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn hasher() -> KeyHasher {
    KeyHasher::new(*b"0123456789abcdef")
}

/// A member of the model's order.
#[derive(Clone, Debug, PartialEq)]
struct Entry(f64, Vec<u8>);

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        sorted_run::compare((self.0, &self.1), (other.0, &other.1))
    }
}

/// A sorted set beside what it should be.
struct Pair {
    hasher: KeyHasher,
    set: SortedSet,
    model: BTreeMap<Vec<u8>, f64>,
}

impl Pair {
    fn new() -> Pair {
        Pair { hasher: hasher(), set: SortedSet::new(), model: BTreeMap::new() }
    }

    fn set(&mut self, member: &[u8], score: f64) {
        let old = self.model.insert(member.to_vec(), score);
        assert_eq!(self.set.set(&self.hasher, member, score), old);
    }

    fn remove(&mut self, member: &[u8]) {
        assert_eq!(self.set.remove(&self.hasher, member), self.model.remove(member));
    }

    fn order(&self) -> Vec<Entry> {
        let mut order: Vec<Entry> =
            self.model.iter().map(|(member, score)| Entry(*score, member.clone())).collect();
        order.sort();
        order
    }

    fn remove_ranks(&mut self, ranks: Range<usize>) {
        for Entry(_, member) in &self.order()[ranks.clone()] {
            self.model.remove(member);
        }
        self.set.remove_ranks(&self.hasher, ranks);
    }

    fn seen(&self, ranks: Range<usize>, reverse: bool) -> Vec<Entry> {
        let mut seen = Vec::new();
        self.set.for_each(ranks, reverse, &mut |member, score| seen.push(Entry(score, member.to_vec())));
        seen
    }

    /// Everything that can be asked.
    fn check(&self) {
        let order = self.order();
        self.set.order.check();
        assert_eq!((self.set.len(), self.set.members.len()), (order.len(), order.len()));
        assert_eq!(self.seen(0..order.len(), false), order);
        let mut reversed = order.clone();
        reversed.reverse();
        assert_eq!(self.seen(0..usize::MAX, true), reversed);
        for (rank, Entry(score, member)) in order.iter().enumerate() {
            assert_eq!(self.set.score(&self.hasher, member), Some(*score));
            assert_eq!(self.set.rank_of(*score, member), rank);
        }
        for start in (0..=order.len()).step_by(order.len() / 7 + 1) {
            let end = (start + order.len() / 5).min(order.len());
            assert_eq!(self.seen(start..end, false), order[start..end]);
            let mut part = order[start..end].to_vec();
            part.reverse();
            assert_eq!(self.seen(start..end, true), part);
        }
        let mut payload = Vec::new();
        self.set.encode(&mut payload);
        assert!(order.is_empty() || crate::object::packed_sorted_set::check(&payload));
        let (mut cursor, mut scanned) = (Some(0), BTreeMap::new());
        while let Some(from) = cursor {
            cursor = self.set.scan(&self.hasher, (from, 10, 12), &mut |member, score| {
                scanned.insert(member.to_vec(), score);
            });
        }
        assert_eq!(scanned, self.model);
    }
}

/// How a member is made of a number: short and long ones, many alike at the beginning.
fn member(number: u32) -> Vec<u8> {
    match number % 50 {
        0 => vec![b'x'; (number % 3000) as usize],
        1 => number.to_le_bytes()[..2].to_vec(),
        _ => format!("{:0>20}{number}", "").into_bytes(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, f64),
    Remove(u32),
    RemoveRanks(usize, usize),
    /// Many at once, of scores that ascend, descend or are alike.
    Fill(u32, i8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let score = prop_oneof![
        Just(0.0),
        (-50i32..50).prop_map(f64::from),
        any::<i32>().prop_map(|n| f64::from(n) / 8.0)
    ];
    let step = prop_oneof![
        6 => (0u32..2000, score).prop_map(|(member, score)| Step::Set(member, score)),
        3 => (0u32..2000).prop_map(Step::Remove),
        1 => (any::<u16>(), 0usize..300).prop_map(|(start, count)| Step::RemoveRanks(start.into(), count)),
        1 => (0u32..2000, -1i8..=1).prop_map(|(first, way)| Step::Fill(first, way)),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_large_set_is_its_model(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            match step {
                Step::Set(number, score) => pair.set(&member(number), score),
                Step::Remove(number) => pair.remove(&member(number)),
                Step::RemoveRanks(start, count) => {
                    let start = start % (pair.set.len() + 1);
                    pair.remove_ranks(start..(start + count).min(pair.set.len()));
                }
                Step::Fill(first, way) => {
                    (0..400).for_each(|n| pair.set(&member(first + n), f64::from(n) * f64::from(way)));
                }
            }
        }
        pair.check();
        let copy = Pair { hasher: hasher(), set: pair.set.copy(), model: pair.model.clone() };
        copy.check();
        // Down to nothing, from a side or from anywhere.
        while pair.set.len() > 0 {
            let length = pair.set.len();
            pair.remove_ranks(length / 3..(length / 3 + 50).min(length));
        }
        pair.check();
        copy.check();
    }
}

#[test]
fn a_set_that_grows_at_its_end_has_full_leaves() {
    let mut pair = Pair::new();
    for number in 0..20_000 {
        pair.set(format!("{number:06}").as_bytes(), f64::from(number));
    }
    pair.check();
    assert!(pair.set.order.leaf_count() <= 20_000 / crate::limits::LEAF_MEMBERS_MAX + 1);
    // A window that slides: what is behind it costs nothing.
    for number in 20_000..60_000 {
        pair.set(format!("{number:06}").as_bytes(), f64::from(number));
        pair.set.remove_ranks(&pair.hasher, 0..1);
        pair.model.remove(format!("{:06}", number - 20_000).as_bytes());
    }
    pair.check();
    assert!(pair.set.order.leaf_count() <= 20_000 / crate::limits::LEAF_MEMBERS_MAX + 2);
}

#[test]
fn members_that_come_and_go_leave_no_trail() {
    let mut pair = Pair::new();
    let mut number = 1u32;
    for round in 0..40_000u32 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        pair.set(&member(number >> 16), f64::from(number % 1000));
        if round > 2000 {
            let rank = number as usize % pair.set.len();
            let Some(Entry(_, gone)) = pair.seen(rank..rank + 1, false).pop() else { panic!("it is there") };
            pair.remove(&gone);
        }
    }
    pair.check();
    assert!(pair.set.order.leaf_count() < 600, "{}", pair.set.order.leaf_count());
}
