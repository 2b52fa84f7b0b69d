//! Sorted sets, as a run and as a tree, against a map and a set of the standard library.

use super::{Input, hasher};
use crate::object::{SortedSet, layout, packed_sorted_set, sorted_run};
use crate::varint;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The run costs its length for each step; beyond so many members only the tree goes on.
const RUN_MEMBERS_MAX: usize = 400;
/// Scores come from a few, which is where members decide the order, or from anywhere.
const SCORES: [f64; 8] = [0.0, -0.0, 1.0, -1.5, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 1e300];

fn score(input: &mut Input<'_>) -> f64 {
    match input.byte() {
        number @ 0..=7 => SCORES[usize::from(number)],
        number @ 8..=199 => f64::from(number) / 4.0,
        _ => Some(f64::from_bits(input.long())).filter(|score| !score.is_nan()).unwrap_or(0.5),
    }
}

/// Scores that are set, moved and taken away: run, tree and map have the same members, in the same order and with the same ranks.
pub fn sorted_set(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let hasher = hasher();
    let (mut model, mut run, mut set) = (BTreeMap::<Vec<u8>, f64>::new(), Some(Vec::new()), SortedSet::new());
    while !input.is_empty() {
        match input.byte() % 8 {
            0..=2 => {
                let (name, score) = (input.name(), score(&mut input));
                give(&mut model, &mut run, &mut set, name, score);
            }
            3 => {
                let (many, first, score, apart) =
                    (input.byte(), input.short(), score(&mut input), f64::from(input.byte() % 3));
                for number in 0..u16::from(many) {
                    let name = format!("m{:05}", first.wrapping_add(number)).into_bytes();
                    give(&mut model, &mut run, &mut set, name, score + f64::from(number) * apart);
                }
            }
            4..=5 => {
                let name = input.name();
                let old = model.remove(&name);
                assert_eq!(set.remove(&hasher, &name), old);
                if let Some(run) = &mut run {
                    let found = sorted_run::find(run, &name);
                    assert_eq!(found.as_ref().map(|found| found.score), old);
                    if let Some(found) = found {
                        run.drain(found.bytes);
                    }
                }
            }
            6 => {
                let len = model.len();
                let start = usize::from(input.short()) % (len + 1);
                let end = start + usize::from(input.short()) % (len - start + 1);
                for (_, name) in in_order(&model).drain(start..end) {
                    model.remove(&name);
                }
                set.remove_ranks(&hasher, start..end);
                if let Some(run) = &mut run {
                    let bytes = sorted_run::bytes_of(run, start..end);
                    run.drain(bytes);
                }
            }
            _ => set = set.copy(),
        }
        assert_eq!(set.len(), model.len());
    }
    compare(&model, run.as_deref(), &set);
}

fn give(
    model: &mut BTreeMap<Vec<u8>, f64>,
    run: &mut Option<Vec<u8>>,
    set: &mut SortedSet,
    name: Vec<u8>,
    score: f64,
) {
    let hasher = hasher();
    if model.len() > 4000 {
        return;
    }
    assert_eq!(set.score(&hasher, &name), model.get(&name).copied());
    assert_eq!(set.set(&hasher, &name, score), model.get(&name).copied());
    if model.len() >= RUN_MEMBERS_MAX {
        *run = None;
    }
    // The zeros are equal: which of them is kept is not compared.
    if model.get(&name) != Some(&score)
        && let Some(run) = run
    {
        assert_eq!(sorted_run::set(run, score, &name), !model.contains_key(&name));
    }
    model.insert(name, score);
}

fn in_order(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(f64, Vec<u8>)> {
    let mut all: Vec<(f64, Vec<u8>)> = model.iter().map(|(name, score)| (*score, name.clone())).collect();
    all.sort_by(|left, right| {
        left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal).then_with(|| left.1.cmp(&right.1))
    });
    all
}

fn compare(model: &BTreeMap<Vec<u8>, f64>, run: Option<&[u8]>, set: &SortedSet) {
    let (all, hasher) = (in_order(model), hasher());
    let mut seen = Vec::new();
    set.for_each(0..usize::MAX, false, &mut |name, score| seen.push((score, name.to_vec())));
    assert_eq!(seen, all);
    seen.clear();
    set.for_each(0..usize::MAX, true, &mut |name, score| seen.push((score, name.to_vec())));
    assert!(seen.iter().eq(all.iter().rev()));
    for (rank, (score, name)) in all.iter().enumerate().step_by(all.len() / 50 + 1) {
        assert_eq!((set.score(&hasher, name), set.rank_of(*score, name)), (Some(*score), rank));
    }
    let mut payload = Vec::new();
    set.encode(&mut payload);
    if !all.is_empty() {
        assert!(packed_sorted_set::check(&payload));
        assert_eq!(packed_sorted_set::len(&payload), all.len());
        let mut flat = Vec::new();
        layout::put_head(&mut flat, crate::Kind::SortedSet, 0, b"key", None);
        flat.extend_from_slice(&payload);
        assert!(layout::check(&flat).is_some());
    }
    let again = SortedSet::of(packed_sorted_set::run(&payload), &hasher);
    let mut encoded = Vec::new();
    again.encode(&mut encoded);
    assert_eq!(encoded, payload);
    let mut scanned = BTreeMap::new();
    let (mut from, mut more) = (0, true);
    while more {
        let next = set.scan(&hasher, (from, 9, 12), &mut |name, score| {
            scanned.insert(name.to_vec(), score);
        });
        (from, more) = (next.unwrap_or(0), next.is_some());
    }
    assert_eq!(scanned, *model);
    let Some(run) = run else { return };
    assert_eq!(sorted_run::check(run), Some(all.len()));
    assert!(sorted_run::is_sorted(run));
    assert!(sorted_run::iter(run).map(|(score, name)| (score, name.to_vec())).eq(all.iter().cloned()));
    let mut with_count = Vec::new();
    varint::put(&mut with_count, all.len() as u64);
    let middle = all.len() / 2;
    let (count, bytes) = sorted_run::cut(run, &mut |(score, name)| {
        all.get(middle)
            .is_some_and(|other| sorted_run::compare((score, name), (other.0, &other.1)) == Ordering::Less)
    });
    assert_eq!((count, sorted_run::bytes_of(run, 0..middle)), (middle, 0..bytes));
}
