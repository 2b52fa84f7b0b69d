//! Which turns fit a budget: those that are always in it, and the newest of the others.
//!
//! Turns of some roles are *kept*: they are charged first, whatever comes of it. Of the others the newest are in, up to the first that does not fit.
//! So the others that are in are always the newest, and [`Chat::excess`], which looks from the oldest on, agrees with [`Chat::select`], which
//! looks from the newest on: each costs what it finds.

use super::{Chat, Figures, packed_chat};
use packed_chat::{Parts, Turn};
use smallvec::SmallVec;

/// What turns may cost, and which are in whatever they cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget<'a> {
    /// Of all that are in.
    pub(crate) tokens_max: u64,
    /// How many others may be in.
    pub(crate) turns_max: u64,
    /// Roles whose turns are kept.
    pub(crate) keep: &'a [&'a [u8]],
    /// One more of them.
    pub(crate) keep_too: &'a [u8],
}

impl Budget<'_> {
    /// Whether turns of this role are kept.
    pub(crate) fn keeps(&self, role: &[u8]) -> bool {
        role == self.keep_too || self.keep.contains(&role)
    }

    fn roles(&self) -> impl Iterator<Item = &[u8]> {
        self.keep.iter().copied().chain([self.keep_too])
    }
}

/// Turns that fit.
pub(crate) struct Selected<'a> {
    /// In their order.
    pub(crate) turns: Vec<Turn<'a>>,
    /// Their sum.
    pub(crate) tokens: u64,
}

/// What is charged so far.
struct Account<'a> {
    budget: &'a Budget<'a>,
    tokens: u64,
    others: u64,
}

impl Account<'_> {
    /// Charges one of the others, if it fits.
    fn charge(&mut self, tokens: u32) -> bool {
        let sum = self.tokens.saturating_add(u64::from(tokens));
        let fits = self.others < self.budget.turns_max && sum <= self.budget.tokens_max;
        if fits {
            self.tokens = sum;
            self.others += 1;
        }
        fits
    }

    /// Gives back what one of the others costs, if all of them together cost too much.
    fn give_back(&mut self, tokens: u32) -> bool {
        let excess = self.is_exceeded();
        if excess {
            self.tokens -= u64::from(tokens);
            self.others -= 1;
        }
        excess
    }

    fn is_exceeded(&self) -> bool {
        self.others > 0 && (self.others > self.budget.turns_max || self.tokens > self.budget.tokens_max)
    }
}

/// The turns of a flat chat that fit.
pub(crate) fn select_flat<'a>(parts: &Parts<'a>, budget: &Budget<'_>) -> Selected<'a> {
    let turns: SmallVec<[Turn<'a>; 32]> = parts.turns().collect();
    let kept = |turn: &&Turn<'_>| budget.keeps(turn.role);
    let tokens = turns.iter().filter(kept).map(|turn| u64::from(turn.tokens)).sum();
    let mut account = Account { budget, tokens, others: 0 };
    let mut is_open = true;
    let mut selected = Vec::with_capacity(turns.len());
    for turn in turns.iter().rev() {
        if kept(&turn) {
            selected.push(*turn);
        } else if is_open {
            is_open = account.charge(turn.tokens);
            if is_open {
                selected.push(*turn);
            }
        }
    }
    selected.reverse();
    Selected { turns: selected, tokens: account.tokens }
}

/// The place up to which a flat chat has turns that don't fit.
pub(crate) fn excess_flat(parts: &Parts<'_>, budget: &Budget<'_>) -> Option<u64> {
    let others = parts.turns().filter(|turn| !budget.keeps(turn.role)).count() as u64;
    excess(parts.figures, others, parts.turns(), budget)
}

fn excess<'a>(
    figures: Figures,
    others: u64,
    turns: impl Iterator<Item = Turn<'a>>,
    budget: &Budget<'_>,
) -> Option<u64> {
    let mut account = Account { budget, tokens: figures.tokens, others };
    if !account.is_exceeded() {
        return None;
    }
    let others = turns.filter(|turn| !budget.keeps(turn.role));
    others.take_while(|turn| account.give_back(turn.tokens)).last().map(|turn| turn.place)
}

impl Chat {
    /// How many turns of kept roles there are, and their tokens.
    fn kept(&self, budget: &Budget<'_>) -> (Vec<u32>, u64, u64) {
        let numbers = self.numbers(budget.roles());
        let (mut turns, mut tokens) = (0, 0);
        for role in numbers.iter().map(|&number| &self.roles[number as usize]) {
            turns += role.places.len() as u64;
            tokens += role.tokens;
        }
        (numbers, turns, tokens)
    }

    /// The turns that fit.
    pub(crate) fn select(&self, budget: &Budget<'_>) -> Selected<'_> {
        let (numbers, _, tokens) = self.kept(budget);
        let mut account = Account { budget, tokens, others: 0 };
        let mut selected = Vec::new();
        // Up to where others don't fit.
        let mut end = None;
        for stored in self.chunks.iter().flatten().rev() {
            if numbers.binary_search(&stored.role).is_err() && !account.charge(stored.tokens) {
                end = Some(stored.place);
                break;
            }
            selected.push(self.look(stored));
        }
        if let Some(end) = end {
            let mut places: Vec<u64> = Vec::new();
            for role in numbers.iter().map(|&number| &self.roles[number as usize]) {
                places.extend(role.places.iter().take_while(|&&place| place < end));
            }
            places.sort_unstable();
            selected.extend(places.into_iter().rev().filter_map(|place| self.at(place)));
        }
        selected.reverse();
        Selected { turns: selected, tokens: account.tokens }
    }

    /// The place up to which there are turns that don't fit.
    pub(crate) fn excess(&self, budget: &Budget<'_>) -> Option<u64> {
        let (_, kept, _) = self.kept(budget);
        excess(self.figures, self.figures.turns - kept, self.turns(), budget)
    }
}
