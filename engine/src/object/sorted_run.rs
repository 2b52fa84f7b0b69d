//! Scored members back to back: the payload of a flat sorted set behind its count, a leaf of a large one, and what the log holds of new scores.
//!
//! ```text
//! (score f64 │ member length varint │ member) …
//! ```
//!
//! Where a run is said to be sorted, scores ascend, and members (as bytes) where scores are equal; the two zeros are equal. A score is never NaN:
//! [`check`] refuses it in bytes from outside, and callers never bring one.
//! Searches are linear: runs are short.

use super::layout::Sink;
use crate::varint;
use std::cmp::Ordering;
use std::ops::Range;

/// A member with its score.
pub(crate) type Scored<'a> = (f64, &'a [u8]);

/// The order of a sorted set.
#[inline]
pub(crate) fn compare(left: Scored<'_>, right: Scored<'_>) -> Ordering {
    // Scores are numbers, so they compare.
    left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal).then_with(|| left.1.cmp(right.1))
}

/// Takes one off the front of bytes from outside.
#[inline]
pub(crate) fn take<'a>(rest: &mut &'a [u8]) -> Option<Scored<'a>> {
    let (score, mut after) = rest.split_first_chunk::<8>()?;
    let member = varint::take_slice(&mut after)?;
    *rest = after;
    Some((f64::from_le_bytes(*score), member))
}

/// Whether bytes from outside are a run, sorted or not; how many members it has.
pub(crate) fn check(run: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (run, 0);
    while !rest.is_empty() {
        let (score, _) = take(&mut rest)?;
        if score.is_nan() {
            return None;
        }
        count += 1;
    }
    Some(count)
}

/// Whether a checked run is sorted, and no two of its neighbours are the same.
pub(crate) fn is_sorted(run: &[u8]) -> bool {
    iter(run).zip(iter(run).skip(1)).all(|(left, right)| compare(left, right) == Ordering::Less)
}

/// The members of a checked run.
pub(crate) fn iter(run: &[u8]) -> impl Iterator<Item = Scored<'_>> {
    let mut rest = run;
    std::iter::from_fn(move || take(&mut rest))
}

/// Appends one.
pub(crate) fn put(out: &mut impl Sink, score: f64, member: &[u8]) {
    out.put(&score.to_le_bytes());
    out.put(&varint::Bytes::of(member.len()));
    out.put(member);
}

/// A member's place in a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) index: usize,
    pub(crate) bytes: Range<usize>,
    pub(crate) score: f64,
}

/// Looks for a member.
pub(crate) fn find(run: &[u8], member: &[u8]) -> Option<Found> {
    let (mut rest, mut index) = (run, 0);
    loop {
        let start = run.len() - rest.len();
        let (score, name) = take(&mut rest)?;
        // Members tend to begin alike: their ends tell most of them apart at less cost than a comparison.
        if name.len() == member.len() && name.last() == member.last() && name == member {
            return Some(Found { index, bytes: start..run.len() - rest.len(), score });
        }
        index += 1;
    }
}

/// How many members of a sorted run `before` holds for, which are the first ones, and their bytes.
pub(crate) fn cut(run: &[u8], before: &mut dyn FnMut(Scored<'_>) -> bool) -> (usize, usize) {
    let (mut rest, mut index) = (run, 0);
    loop {
        let start = run.len() - rest.len();
        match take(&mut rest) {
            Some(scored) if before(scored) => index += 1,
            _ => return (index, start),
        }
    }
}

/// The bytes of the members with these indices.
pub(crate) fn bytes_of(run: &[u8], indices: Range<usize>) -> Range<usize> {
    let mut rest = run;
    let mut skip = |count: usize| {
        for _ in 0..count {
            take(&mut rest);
        }
        run.len() - rest.len()
    };
    let start = skip(indices.start);
    start..skip(indices.len())
}

/// Puts a member into a sorted run that does not have it.
pub(crate) fn insert(run: &mut Vec<u8>, score: f64, member: &[u8]) {
    let (_, at) = cut(run, &mut |other| compare(other, (score, member)) == Ordering::Less);
    insert_at(run, at, score, member);
}

/// Puts a member into a run, before the byte `at`, where one begins or the run ends.
pub(crate) fn insert_at(run: &mut Vec<u8>, at: usize, score: f64, member: &[u8]) {
    let length = varint::Bytes::of(member.len());
    let (old, bytes) = (run.len(), size_of::<f64>() + length.len() + member.len());
    run.resize(old + bytes, 0);
    run.copy_within(at..old, at + bytes);
    let (head, rest) = run[at..at + bytes].split_at_mut(size_of::<f64>());
    head.copy_from_slice(&score.to_le_bytes());
    rest[..length.len()].copy_from_slice(&length);
    rest[length.len()..].copy_from_slice(member);
}

/// Gives a member of a sorted run its score, whether it was there or not; whether it is new.
pub(crate) fn set(run: &mut Vec<u8>, score: f64, member: &[u8]) -> bool {
    let found = find(run, member);
    if let Some(found) = &found {
        run.drain(found.bytes.clone());
    }
    insert(run, score, member);
    found.is_none()
}

/// Calls `each` for the members with these indices, from the last to the first.
pub(crate) fn for_each_back(run: &[u8], indices: Range<usize>, each: &mut dyn FnMut(&[u8], f64)) {
    let mut starts: smallvec::SmallVec<[u32; 128]> = smallvec::SmallVec::new();
    let bytes = bytes_of(run, indices);
    let part = &run[bytes];
    let mut rest = part;
    while !rest.is_empty() {
        // A flat object is shorter than 4 GiB.
        starts.push((part.len() - rest.len()) as u32);
        if take(&mut rest).is_none() {
            break;
        }
    }
    for &start in starts.iter().rev() {
        if let Some((score, member)) = take(&mut &part[start as usize..]) {
            each(member, score);
        }
    }
}
