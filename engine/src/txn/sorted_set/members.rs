//! Looking at a sorted set: one lookup of the key for as many questions as there are.

use crate::key::KeyHasher;
use crate::limits::SCAN_IGNORED_BITS;
use crate::object::sorted_run::{self, Scored};
use crate::object::{Body, SortedSet, Structured, View, layout, packed_sorted_set};
use std::ops::{Bound, Range};

/// Members that follow each other in a sorted set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RankRange<'a> {
    /// By score.
    Scores(Bound<f64>, Bound<f64>),
    /// By their bytes; it means something only where all scores are equal.
    Members(Bound<&'a [u8]>, Bound<&'a [u8]>),
}

/// The members of a sorted set, in the order of their scores, and of their bytes where scores are equal. A member's rank is how many come before it.
#[derive(Clone, Copy)]
pub struct SortedMembers<'a> {
    form: Form<'a>,
    hasher: &'a KeyHasher,
}

#[derive(Clone, Copy)]
enum Form<'a> {
    /// How many members there are, and the run of them.
    Flat(usize, &'a [u8]),
    Large(&'a SortedSet),
}

impl std::fmt::Debug for SortedMembers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SortedMembers").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Whether something comes before a range with this lower end.
fn below<T: Copy + PartialOrd>(value: T, least: Bound<T>) -> bool {
    match least {
        Bound::Included(least) => value < least,
        Bound::Excluded(least) => value <= least,
        Bound::Unbounded => false,
    }
}

/// Whether something does not come behind a range with this upper end.
fn within<T: Copy + PartialOrd>(value: T, most: Bound<T>) -> bool {
    match most {
        Bound::Included(most) => value <= most,
        Bound::Excluded(most) => value < most,
        Bound::Unbounded => true,
    }
}

impl<'a> SortedMembers<'a> {
    /// Those of an object, which is a sorted set.
    pub(super) fn of(view: View<'a>, hasher: &'a KeyHasher) -> SortedMembers<'a> {
        let form = match view {
            View::Packed(flat) => {
                let (count, run) = packed_sorted_set::split(layout::parts(flat).payload);
                Form::Flat(count, run)
            }
            View::Structured(Structured { body: Body::SortedSet(set), .. }) => Form::Large(set),
            View::Structured(_) => Form::Flat(0, &[]),
        };
        SortedMembers { form, hasher }
    }

    /// How many there are: at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty sorted set")]
    pub fn len(&self) -> usize {
        match self.form {
            Form::Flat(count, _) => count,
            Form::Large(set) => set.len(),
        }
    }

    /// Whether they are in their flat form (what Redis calls a listpack).
    pub fn is_packed(&self) -> bool {
        matches!(self.form, Form::Flat(..))
    }

    /// A member's score; `None` if it is not there.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.form {
            Form::Flat(_, run) => sorted_run::find(run, member).map(|found| found.score),
            Form::Large(set) => set.score(self.hasher, member),
        }
    }

    /// A member's rank and score; `None` if it is not there.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.form {
            Form::Flat(_, run) => sorted_run::find(run, member).map(|found| (found.index, found.score)),
            Form::Large(set) => {
                let score = set.score(self.hasher, member)?;
                Some((set.rank_of(score, member), score))
            }
        }
    }

    /// The ranks of the members in a range; an empty one if there are none.
    pub fn ranks(&self, range: &RankRange<'_>) -> Range<usize> {
        match *range {
            RankRange::Scores(least, most) => {
                self.between(&mut |(score, _)| below(score, least), &mut |(score, _)| within(score, most))
            }
            RankRange::Members(least, most) => {
                self.between(&mut |(_, member)| below(member, least), &mut |(_, member)| within(member, most))
            }
        }
    }

    /// The ranks from where `below` ends to where `within` does.
    fn between(
        &self,
        below: &mut dyn FnMut(Scored<'_>) -> bool,
        within: &mut dyn FnMut(Scored<'_>) -> bool,
    ) -> Range<usize> {
        match self.form {
            Form::Flat(_, run) => {
                let (start, at) = sorted_run::cut(run, below);
                start..start + sorted_run::cut(&run[at..], within).0
            }
            Form::Large(set) => {
                let start = set.rank(below);
                start..set.rank(within).max(start)
            }
        }
    }

    /// Calls `each` for the members with these ranks, in order, or in reverse.
    pub fn for_each(&self, ranks: Range<usize>, reverse: bool, each: &mut dyn FnMut(&[u8], f64)) {
        match self.form {
            Form::Flat(_, run) if reverse => sorted_run::for_each_back(run, ranks, each),
            Form::Flat(_, run) => sorted_run::iter(run)
                .take(ranks.end)
                .skip(ranks.start)
                .for_each(|(score, member)| each(member, score)),
            Form::Large(set) => set.for_each(ranks, reverse, each),
        }
    }

    /// A step of a scan: calls `each` for at least `count` members from `cursor` on (all if they are flat), if there are as many. The next cursor, 0
    /// at the end. A member that is there throughout is seen at least once, whatever becomes of its score.
    pub fn scan(&self, cursor: u64, count: usize, each: &mut dyn FnMut(&[u8], f64)) -> u64 {
        match self.form {
            Form::Flat(_, run) => {
                sorted_run::iter(run).for_each(|(score, member)| each(member, score));
                0
            }
            Form::Large(set) => {
                let step = (cursor << SCAN_IGNORED_BITS, count, SCAN_IGNORED_BITS);
                set.scan(self.hasher, step, each).map_or(0, |next| next >> SCAN_IGNORED_BITS)
            }
        }
    }
}
