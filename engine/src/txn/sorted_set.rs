//! Sorted sets: flat up to a size, then a table of members and a tree of them in order.
//!
//! Members are in the order of their scores, and of their bytes where scores are equal. Minus zero is stored as zero. A score is never NaN.

mod members;

use super::{Txn, WrongKind};
use crate::change::sorted_set::object;
use crate::change::{Change, SortedSetChange};
use crate::expiry::NEVER;
use crate::key::Key;
use crate::limits::SCORES_PER_CHANGE;
use crate::object::{Kind, layout, sorted_run};
use crate::varint;
pub use members::{RankRange, SortedMembers};
use smallvec::SmallVec;
use std::ops::Range;

/// Which members [`Txn::sorted_set_add`] touches, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScoreRule {
    /// Members that are there stay as they are.
    pub only_new: bool,
    /// Members that are not there stay out.
    pub only_existing: bool,
    /// A score only ever becomes greater.
    pub only_greater: bool,
    /// A score only ever becomes less.
    pub only_less: bool,
    /// What is given is added to a member's score.
    pub increment: bool,
}

/// What [`Txn::sorted_set_add`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScoresSet {
    /// Members that were not there.
    pub added: usize,
    /// Members that were there, and whose scores have changed.
    pub updated: usize,
    /// The score of the last member for which the rule had no objection, if there was any.
    pub score: Option<f64>,
}

/// Why scores were not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// The key holds another kind of value.
    #[error(transparent)]
    WrongKind(#[from] WrongKind),
    /// A score, or a sum, is not a number.
    #[error("a score is not a number")]
    NotANumber,
}

/// What a rule makes of a member that had, or had not, a score; `None` if it is not to be touched.
fn ruled(rule: ScoreRule, old: Option<f64>, given: f64) -> Result<Option<f64>, ScoreError> {
    let Some(old) = old else { return Ok((!rule.only_existing).then_some(given)) };
    if rule.only_new {
        return Ok(None);
    }
    let score = if rule.increment { old + given } else { given };
    if score.is_nan() {
        return Err(ScoreError::NotANumber);
    }
    let refused = rule.only_less && score >= old || rule.only_greater && score <= old;
    Ok((!refused).then_some(score))
}

impl Txn<'_> {
    /// The members of a sorted set, to be looked at; `None` if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    #[inline]
    pub fn sorted_set(&self, key: &Key<'_>) -> Result<Option<SortedMembers<'_>>, WrongKind> {
        let entry = self.entry_of(key, Kind::SortedSet)?;
        Ok(entry.map(|entry| SortedMembers::of(entry.view(), &self.inner.hasher)))
    }

    /// How many members a sorted set has; 0 if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn sorted_set_len(&self, key: &Key<'_>) -> Result<usize, WrongKind> {
        Ok(self.sorted_set(key)?.map_or(0, |members| members.len()))
    }

    /// A member's score; `None` if there is no such member or key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn sorted_set_score(&self, key: &Key<'_>, member: &[u8]) -> Result<Option<f64>, WrongKind> {
        Ok(self.sorted_set(key)?.and_then(|members| members.score(member)))
    }

    /// Calls `each` for the members with these ranks, in order, or in reverse.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn sorted_set_for_each(
        &self,
        key: &Key<'_>,
        ranks: Range<usize>,
        reverse: bool,
        each: &mut dyn FnMut(&[u8], f64),
    ) -> Result<(), WrongKind> {
        if let Some(members) = self.sorted_set(key)? {
            members.for_each(ranks, reverse, each);
        }
        Ok(())
    }

    /// Sets members' scores as `rule` says, creating the sorted set; keeps the key's deadline. Of a member that is given twice the second
    /// score meets what the first has made of it.
    ///
    /// # Errors
    /// [`ScoreError::WrongKind`] if the key holds something else. [`ScoreError::NotANumber`] if a score is not a number, or would become none:
    /// of the entries, those before it are set.
    pub fn sorted_set_add(
        &mut self,
        key: &Key<'_>,
        entries: &[(f64, &[u8])],
        rule: ScoreRule,
    ) -> Result<ScoresSet, ScoreError> {
        let mut done = ScoresSet::default();
        for batch in entries.chunks(SCORES_PER_CHANGE) {
            // What is to be set, and of which members: one may come again.
            let mut run: SmallVec<[u8; 128]> = SmallVec::new();
            let mut pending: SmallVec<[(f64, &[u8]); 4]> = SmallVec::new();
            let members = self.sorted_set(key)?;
            let mut result = Ok(());
            for &(given, member) in batch {
                let old = match pending.iter().rfind(|(_, other)| *other == member) {
                    Some(&(score, _)) => Some(score),
                    None => members.and_then(|members| members.score(member)),
                };
                let score = match ruled(rule, old, given) {
                    _ if given.is_nan() => Err(ScoreError::NotANumber),
                    ruled => ruled,
                };
                match score {
                    Ok(None) => continue,
                    Ok(Some(score)) => {
                        done.score = Some(score);
                        match old {
                            Some(old) if old == score => continue,
                            Some(_) => done.updated += 1,
                            None => done.added += 1,
                        }
                        // Minus zero is zero from here on.
                        sorted_run::put(&mut run, score + 0.0, member);
                        pending.push((score, member));
                    }
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
            let exists = members.is_some();
            if !run.is_empty() {
                if exists {
                    self.change(key, &Change::SortedSet(SortedSetChange::SetScores { run: &run }));
                } else {
                    self.put_sorted_set(key, &run);
                }
            }
            result?;
        }
        Ok(done)
    }

    /// Makes the key hold the members of a run, in any order, and no deadline.
    fn put_sorted_set(&mut self, key: &Key<'_>, run: &[u8]) {
        let mut head: SmallVec<[u8; 96]> = SmallVec::new();
        layout::put_head(&mut head, Kind::SortedSet, key.database, key.bytes, None);
        let (mut sorted, mut count) = (Vec::with_capacity(run.len()), 0);
        for (score, member) in sorted_run::iter(run) {
            count += usize::from(sorted_run::set(&mut sorted, score, member));
        }
        self.put(key, object(&head, count, &sorted, &self.inner.hasher), NEVER, 0);
    }

    /// Replaces whatever the key held by a sorted set of these members without a deadline, each of them once, no score NaN; without any the key is
    /// deleted.
    pub fn sorted_set_put(&mut self, key: &Key<'_>, entries: &mut [(f64, &[u8])]) {
        if entries.is_empty() {
            self.delete(key);
            return;
        }
        entries.iter_mut().for_each(|(score, _)| *score += 0.0);
        entries.sort_unstable_by(|left, right| sorted_run::compare(*left, *right));
        let mut head: SmallVec<[u8; 96]> = SmallVec::new();
        layout::put_head(&mut head, Kind::SortedSet, key.database, key.bytes, None);
        let mut run = Vec::new();
        entries.iter().for_each(|(score, member)| sorted_run::put(&mut run, *score, member));
        self.put(key, object(&head, entries.len(), &run, &self.inner.hasher), NEVER, 0);
    }

    /// Removes members, and the key with the last one; how many were there.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn sorted_set_remove(&mut self, key: &Key<'_>, members: &[&[u8]]) -> Result<usize, WrongKind> {
        let mut removed = 0;
        for batch in members.chunks(SCORES_PER_CHANGE) {
            let Some(all) = self.sorted_set(key)? else { break };
            let mut found: SmallVec<[&[u8]; 4]> = SmallVec::new();
            for &member in batch {
                if !found.contains(&member) && all.score(member).is_some() {
                    found.push(member);
                }
            }
            removed += found.len();
            if found.len() == all.len() {
                self.delete(key);
            } else if !found.is_empty() {
                let mut slices: SmallVec<[u8; 128]> = SmallVec::new();
                for member in found {
                    slices.extend_from_slice(&varint::Bytes::of(member.len()));
                    slices.extend_from_slice(member);
                }
                self.change(key, &Change::SortedSet(SortedSetChange::Remove { members: &slices }));
            }
        }
        Ok(removed)
    }

    /// Removes the members with these ranks, and the key with the last one; how many there were.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn sorted_set_remove_ranks(
        &mut self,
        key: &Key<'_>,
        ranks: Range<usize>,
    ) -> Result<usize, WrongKind> {
        let length = self.sorted_set_len(key)?;
        let end = ranks.end.min(length);
        let count = end.saturating_sub(ranks.start);
        if count == 0 {
            return Ok(0);
        }
        if count == length {
            self.delete(key);
        } else {
            let (start, count) = (ranks.start as u64, count as u64);
            self.change(key, &Change::SortedSet(SortedSetChange::RemoveRanks { start, count }));
        }
        Ok(count)
    }
}
