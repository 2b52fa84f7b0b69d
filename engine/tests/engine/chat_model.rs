//! What a chat is, as plainly as can be said.

use sessile::{ChatAppended, ChatError, ChatLimits, ChatSummary, ChatTotals, NewTurn};

pub(crate) const IDS_REMEMBERED: u64 = 1024;
pub(crate) const ROLES: [&[u8]; 5] = [b"system", b"user", b"assistant", b"tool", b"summary"];

/// Roles by their numbers.
pub(crate) fn roles(numbers: &[usize]) -> Vec<&'static [u8]> {
    numbers.iter().map(|&number| ROLES[number]).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) index: u64,
    pub(crate) role: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) tokens: u64,
}

/// What a chat is, as plainly as can be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) turns: Vec<Turn>,
    pub(crate) next_index: u64,
    pub(crate) epoch: u64,
    pub(crate) ids: Vec<(u64, Vec<u8>)>,
}

impl Model {
    pub(crate) fn totals(&self) -> ChatTotals {
        let tokens = self.turns.iter().map(|turn| turn.tokens).sum();
        ChatTotals { turns: self.turns.len() as u64, tokens, epoch: self.epoch }
    }

    fn done(&self, index: u64, is_new: bool) -> ChatAppended {
        ChatAppended { index, is_new, totals: self.totals() }
    }

    fn take_index(&mut self) -> u64 {
        self.next_index += 1;
        let next = self.next_index;
        self.ids.retain(|(index, _)| index + IDS_REMEMBERED >= next);
        next - 1
    }

    pub(crate) fn append(&mut self, turn: &NewTurn<'_>) -> ChatAppended {
        if let Some((index, _)) = self.ids.iter().find(|(_, id)| Some(&id[..]) == turn.id) {
            return self.done(*index, false);
        }
        let index = self.take_index();
        self.ids.extend(turn.id.map(|id| (index, id.to_vec())));
        let tokens = turn.tokens.unwrap_or(turn.content.len().div_ceil(4) as u64);
        self.turns.push(Turn { index, role: turn.role.to_vec(), content: turn.content.to_vec(), tokens });
        self.done(index, true)
    }

    /// The positions of what a window shows.
    pub(crate) fn window(&self, limits: &ChatLimits<'_>) -> Vec<usize> {
        let kept = |turn: &Turn| turn.role == b"summary" || limits.keep.contains(&&turn.role[..]);
        let mut tokens: u64 = self.turns.iter().filter(|turn| kept(turn)).map(|turn| turn.tokens).sum();
        let mut positions: Vec<usize> =
            (0..self.turns.len()).filter(|&position| kept(&self.turns[position])).collect();
        let others = self.turns.iter().enumerate().rev().filter(|(_, turn)| !kept(turn));
        for (before, (position, turn)) in others.enumerate() {
            tokens += turn.tokens;
            let over = limits.max_tokens.is_some_and(|max| tokens > max)
                || limits.max_turns.is_some_and(|max| before as u64 >= max);
            if over {
                break;
            }
            positions.push(position);
        }
        positions.sort_unstable();
        positions
    }

    pub(crate) fn trim(&mut self, limits: &ChatLimits<'_>) -> (u64, ChatTotals) {
        let stay = self.window(limits);
        let removed = self.turns.len() - stay.len();
        if removed > 0 {
            self.turns = stay.into_iter().map(|position| self.turns[position].clone()).collect();
            self.epoch += 1;
        }
        (removed as u64, self.totals())
    }

    pub(crate) fn compact(&mut self, summary: &ChatSummary<'_>) -> Result<ChatAppended, ChatError> {
        if summary.if_epoch.is_some_and(|epoch| epoch != self.epoch) {
            return Err(ChatError::Epoch { epoch: self.epoch });
        }
        let index = summary.upto;
        let Some(last) = self.turns.iter().position(|turn| turn.index == index) else {
            return Err(match summary.if_epoch {
                Some(_) => ChatError::NoTurn { index },
                None => ChatError::Gone { index, epoch: self.epoch },
            });
        };
        let goes = |position: usize| !summary.keep.contains(&&self.turns[position].role[..]);
        let gone: Vec<usize> = (0..=last).filter(|&position| goes(position)).collect();
        let Some(&place) = gone.last() else { return Err(ChatError::NothingToReplace { index }) };
        let index = self.take_index();
        self.turns[place] = Turn {
            index,
            role: summary.role.unwrap_or(b"summary").to_vec(),
            content: summary.content.to_vec(),
            tokens: summary.tokens.unwrap_or(summary.content.len().div_ceil(4) as u64),
        };
        for &position in gone[..gone.len() - 1].iter().rev() {
            self.turns.remove(position);
        }
        self.epoch += 1;
        Ok(self.done(index, true))
    }
}
