//! A large chat: turns in chunks, an index of the places of each role's turns, and the ids that are remembered.
//!
//! A turn is added, and the newest are read, in constant time each; the turns of a role are counted without looking at them, and found by a search
//! each. Turns go mostly at the front, and cost then what goes. No chunk is empty; a chat may be. What a change asks for that does not fit
//! changes nothing.
//!
//! ```text
//! chunks   [0 system][1 user][2 assistant] … │ … [61 user]     by place
//! roles    user → 2 turns, 30 tokens, places 1, 61 …           by place
//! moved    7 → 5: the turn with index 7 has the place 5        summaries only
//! ids      "a1" → 2 …                                          of the last indexes given out
//! ```

mod ids;
mod select;
#[cfg(test)]
mod tests;

use super::packed_chat::{self, Turn, put_figures, put_turn};
use crate::limits::CHAT_CHUNK_TURNS;
use crate::varint;
use ids::Ids;
pub(crate) use select::{Budget, Selected, excess_flat, select_flat};
use std::collections::{BTreeMap, VecDeque};

/// What a chat is beside its turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// The index of the next turn: none is used twice.
    pub(crate) next_index: u64,
    /// How often turns were removed or replaced.
    pub(crate) epoch: u64,
    pub(crate) turns: u64,
    /// Of all turns.
    pub(crate) tokens: u64,
}

/// A turn in memory.
#[derive(Clone)]
struct Stored {
    place: u64,
    index: u64,
    tokens: u32,
    /// Where its role is among those of the chat.
    role: u32,
    content: Box<[u8]>,
}

/// A role, or room for one: then without turns.
#[derive(Clone, Default)]
struct Role {
    name: Box<[u8]>,
    tokens: u64,
    /// Of its turns, ascending.
    places: VecDeque<u64>,
}

/// See the module's page.
#[derive(Clone, Default)]
pub(crate) struct Chat {
    figures: Figures,
    chunks: VecDeque<Vec<Stored>>,
    roles: Vec<Role>,
    moved: BTreeMap<u64, u64>,
    ids: Ids,
    /// Of all contents.
    content_bytes: usize,
}

impl Chat {
    /// The chat of a checked payload.
    pub(crate) fn of(payload: &[u8]) -> Chat {
        let parts = packed_chat::parts(payload);
        let mut chat = Chat::default();
        parts.turns().for_each(|turn| chat.insert(&turn));
        parts.ids().for_each(|(index, id)| chat.ids.push(index, id));
        // What the turns add up to is what was checked.
        (chat.figures.next_index, chat.figures.epoch) = (parts.figures.next_index, parts.figures.epoch);
        chat
    }

    /// Appends the payload.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_figures(out, &self.figures);
        let mut ids = Vec::new();
        self.ids.iter().for_each(|(index, id)| packed_chat::put_id(&mut ids, index, id));
        varint::put_slice(out, &ids);
        self.turns().for_each(|turn| put_turn(out, &turn));
    }

    pub(crate) fn figures(&self) -> Figures {
        self.figures
    }

    /// Bytes of memory it asks for, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        // The allocator's share of each content, and the turn's place in the index of its role.
        const TURN_BYTES: usize = size_of::<Stored>() + 16 + size_of::<u64>();
        self.content_bytes
            + self.figures.turns as usize * TURN_BYTES
            + self.chunks.len() * size_of::<Vec<Stored>>()
            + self.roles.len() * size_of::<Role>()
            + self.moved.len() * 2 * size_of::<u64>()
            + self.ids.memory_bytes()
    }

    /// How many roles have turns.
    pub(crate) fn roles(&self) -> usize {
        self.roles.iter().filter(|role| !role.places.is_empty()).count()
    }

    /// The number of a role that has turns.
    fn role(&self, name: &[u8]) -> Option<u32> {
        let at = self.roles.iter().position(|role| *role.name == *name && !role.places.is_empty())?;
        Some(at as u32)
    }

    /// Whether a role has turns.
    pub(crate) fn has_role(&self, name: &[u8]) -> bool {
        self.role(name).is_some()
    }

    /// The numbers of those of some roles that have turns, each once.
    fn numbers<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> Vec<u32> {
        let mut numbers: Vec<u32> = names.filter_map(|name| self.role(name)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// The number of a role, which gets one if it has none.
    fn enrol(&mut self, name: &[u8]) -> u32 {
        if let Some(number) = self.role(name) {
            return number;
        }
        let role = Role { name: name.into(), ..Role::default() };
        let number = match self.roles.iter().position(|role| role.places.is_empty()) {
            Some(free) => {
                self.roles[free] = role;
                free
            }
            None => {
                self.roles.push(role);
                self.roles.len() - 1
            }
        };
        // There are no more roles than turns in memory.
        number as u32
    }

    fn look<'a>(&'a self, turn: &'a Stored) -> Turn<'a> {
        let Stored { place, index, tokens, role, ref content } = *turn;
        Turn { place, index, tokens, role: &self.roles[role as usize].name, content }
    }

    /// All turns in their order.
    pub(crate) fn turns(&self) -> impl DoubleEndedIterator<Item = Turn<'_>> {
        self.chunks.iter().flatten().map(|turn| self.look(turn))
    }

    /// The chunk that has a place, or would have it, if it is not behind all.
    fn chunk_of(&self, place: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_none_or(|turn| turn.place < place))
    }

    /// The turn at a place.
    pub(crate) fn at(&self, place: u64) -> Option<Turn<'_>> {
        let chunk = self.chunks.get(self.chunk_of(place))?;
        let at = chunk.binary_search_by_key(&place, |turn| turn.place).ok()?;
        Some(self.look(&chunk[at]))
    }

    /// The place of the turn with this index.
    pub(crate) fn place_of(&self, index: u64) -> Option<u64> {
        match self.moved.get(&index) {
            Some(&place) => Some(place),
            None => self.at(index).filter(|turn| turn.index == index).map(|turn| turn.place),
        }
    }

    /// The index that the turn with this id got, if that is remembered.
    pub(crate) fn index_of(&self, id: &[u8]) -> Option<u64> {
        self.ids.get(id)
    }

    /// Puts a turn where it belongs, unless its place is taken.
    pub(super) fn insert(&mut self, turn: &Turn<'_>) {
        let at = self.chunk_of(turn.place);
        if self.at(turn.place).is_some() {
            return;
        }
        let role = self.enrol(turn.role);
        let entry = &mut self.roles[role as usize];
        entry.tokens += u64::from(turn.tokens);
        match entry.places.back() {
            Some(&last) if last > turn.place => {
                let before = entry.places.partition_point(|&place| place < turn.place);
                entry.places.insert(before, turn.place);
            }
            _ => entry.places.push_back(turn.place),
        }
        if turn.index != turn.place {
            self.moved.insert(turn.index, turn.place);
        }
        self.figures.turns += 1;
        self.figures.tokens += u64::from(turn.tokens);
        self.content_bytes += turn.content.len();
        let stored = Stored {
            place: turn.place,
            index: turn.index,
            tokens: turn.tokens,
            role,
            content: turn.content.into(),
        };
        if at < self.chunks.len() {
            self.insert_at(at, stored);
        } else {
            match self.chunks.back_mut().filter(|chunk| chunk.len() < CHAT_CHUNK_TURNS) {
                Some(chunk) => chunk.push(stored),
                None => self.chunks.push_back(vec![stored]),
            }
        }
    }

    /// Puts a turn into a chunk, or into the one before it, if it goes to the end of that.
    fn insert_at(&mut self, mut at: usize, turn: Stored) {
        let before = self.chunks[at].partition_point(|other| other.place < turn.place);
        let room = |chunk: &Vec<Stored>| chunk.len() < CHAT_CHUNK_TURNS;
        if before == 0 && at > 0 && room(&self.chunks[at - 1]) {
            self.chunks[at - 1].push(turn);
            return;
        }
        if !room(&self.chunks[at]) {
            let tail = self.chunks[at].split_off(before);
            if before == 0 {
                self.chunks[at] = tail;
                self.chunks.insert(at, vec![turn]);
                return;
            }
            self.chunks.insert(at + 1, tail);
            if !room(&self.chunks[at]) {
                at += 1;
            }
        }
        let before = self.chunks[at].partition_point(|other| other.place < turn.place);
        self.chunks[at].insert(before, turn);
    }

    /// A turn has left its chunk: it counts no more.
    fn forget(&mut self, turn: &Stored) {
        let role = &mut self.roles[turn.role as usize];
        role.tokens -= u64::from(turn.tokens);
        if role.places.front() == Some(&turn.place) {
            role.places.pop_front();
        } else if let Ok(at) = role.places.binary_search(&turn.place) {
            role.places.remove(at);
        }
        if turn.index != turn.place {
            self.moved.remove(&turn.index);
        }
        self.figures.turns -= 1;
        self.figures.tokens -= u64::from(turn.tokens);
        self.content_bytes -= turn.content.len();
    }

    /// Removes the turn at a place.
    pub(super) fn remove_at(&mut self, place: u64) {
        let at = self.chunk_of(place);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let Ok(found) = chunk.binary_search_by_key(&place, |turn| turn.place) else { return };
        let turn = chunk.remove(found);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        self.forget(&turn);
    }

    /// Adds a turn behind the last.
    pub(crate) fn append(&mut self, role: &[u8], content: &[u8], tokens: u32, id: Option<&[u8]>) {
        let index = self.figures.next_index;
        let Some(next) = index.checked_add(1) else { return };
        self.insert(&Turn { place: index, index, tokens, role, content });
        if let Some(id) = id {
            self.ids.push(index, id);
        }
        self.figures.next_index = next;
        self.ids.forget_before(next);
    }

    /// The place of the last turn up to a place that is of none of some roles.
    pub(crate) fn last_of_others(&self, upto: u64, keep: &[u8]) -> Option<u64> {
        let kept = self.numbers(packed_chat::each(keep, varint::take_slice));
        let others = self.roles.iter().enumerate().filter(|(number, _)| !kept.contains(&(*number as u32)));
        let last = |role: &Role| {
            let count = role.places.partition_point(|&place| place <= upto);
            count.checked_sub(1).and_then(|at| role.places.get(at).copied())
        };
        others.filter_map(|(_, role)| last(role)).max()
    }

    /// Removes all turns up to a place but those of some roles (a run of slices), and returns them as a chat of their own, for whoever frees it;
    /// `None` if there are none.
    pub(crate) fn remove_upto(&mut self, upto: u64, keep: &[u8]) -> Option<Chat> {
        self.last_of_others(upto, keep)?;
        let kept = self.numbers(packed_chat::each(keep, varint::take_slice));
        let (mut gone, mut stay) = (Chat::default(), Vec::new());
        while let Some(mut chunk) =
            self.chunks.pop_front_if(|chunk| chunk.first().is_some_and(|turn| turn.place <= upto))
        {
            let is_gone = |turn: &Stored| turn.place <= upto && kept.binary_search(&turn.role).is_err();
            if chunk.iter().all(is_gone) {
                chunk.iter().for_each(|turn| self.forget(turn));
            } else {
                let removed: Vec<Stored> = chunk.extract_if(.., |turn| is_gone(turn)).collect();
                removed.iter().for_each(|turn| self.forget(turn));
                stay.append(&mut chunk);
                chunk = removed;
            }
            if !chunk.is_empty() {
                gone.figures.turns += chunk.len() as u64;
                gone.content_bytes += chunk.iter().map(|turn| turn.content.len()).sum::<usize>();
                gone.chunks.push_back(chunk);
            }
        }
        while !stay.is_empty() {
            let tail = stay.split_off(stay.len().saturating_sub(CHAT_CHUNK_TURNS));
            self.chunks.push_front(tail);
        }
        self.figures.epoch = self.figures.epoch.saturating_add(1);
        Some(gone)
    }

    /// Replaces the turns that [`remove_upto`](Self::remove_upto) removes by one, in the place of the last of them.
    pub(crate) fn replace_upto(
        &mut self,
        upto: u64,
        keep: &[u8],
        (role, content, tokens): (&[u8], &[u8], u32),
    ) -> Option<Chat> {
        let index = self.figures.next_index;
        let next = index.checked_add(1)?;
        let place = self.last_of_others(upto, keep)?;
        let gone = self.remove_upto(upto, keep);
        self.insert(&Turn { place, index, tokens, role, content });
        self.figures.next_index = next;
        self.ids.forget_before(next);
        gone
    }

    /// Puts the chat back to what it was: turns and ids that have come are gone, and those that have gone are back.
    pub(crate) fn restore<'t>(
        &mut self,
        (next_index, epoch): (u64, u64),
        places: impl Iterator<Item = u64>,
        turns: impl Iterator<Item = Turn<'t>>,
        ids: &[u8],
    ) {
        places.for_each(|place| self.remove_at(place));
        turns.for_each(|turn| self.insert(&turn));
        self.ids.forget_from(next_index);
        let ids: Vec<(u64, &[u8])> = packed_chat::each(ids, packed_chat::take_id).collect();
        ids.into_iter().rev().for_each(|(index, id)| self.ids.push_front(index, id));
        (self.figures.next_index, self.figures.epoch) = (next_index, epoch);
    }

    /// The ids that are forgotten once the next index is one more, as a run.
    pub(crate) fn ids_about_to_be_forgotten(&self) -> Vec<u8> {
        let next = self.figures.next_index.saturating_add(1);
        let mut run = Vec::new();
        let gone = self.ids.iter().take_while(|(index, _)| !packed_chat::is_remembered(*index, next));
        gone.for_each(|(index, id)| packed_chat::put_id(&mut run, index, id));
        run
    }
}
