//! The flat form of a chat: its figures, the ids that are remembered, and the turns in their order.
//!
//! ```text
//! next index │ epoch │ turns │ tokens of all │ ids (slice): (index │ id (slice)) … │ turn …
//!   turn: place │ index − place │ tokens │ role (slice) │ content (slice)
//! ```
//!
//! All numbers are varints. [`check`] is for bytes from outside and never panics; everything else is for bytes that were checked once or made here.

use super::ChatFigures as Figures;
use crate::limits::{CHAT_ID_BYTES_MAX, CHAT_IDS_REMEMBERED, CHAT_ROLE_BYTES_MAX};
use crate::varint;

/// A turn of a chat, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn<'a> {
    /// What it is ordered by: its index, or, of a summary, the place of the last turn that it stands for.
    pub(crate) place: u64,
    pub(crate) index: u64,
    pub(crate) tokens: u32,
    pub(crate) role: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// Appends a turn.
pub(crate) fn put_turn(out: &mut Vec<u8>, turn: &Turn<'_>) {
    varint::put(out, turn.place);
    varint::put(out, turn.index.saturating_sub(turn.place));
    varint::put(out, u64::from(turn.tokens));
    varint::put_slice(out, turn.role);
    varint::put_slice(out, turn.content);
}

/// Whether this may be a role.
pub(crate) fn is_role(role: &[u8]) -> bool {
    !role.is_empty() && role.len() <= CHAT_ROLE_BYTES_MAX
}

/// Whether this may be an id.
pub(crate) fn is_id(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= CHAT_ID_BYTES_MAX
}

/// Takes a turn off the front of bytes from outside.
pub(crate) fn take_turn<'a>(rest: &mut &'a [u8]) -> Option<Turn<'a>> {
    let place = varint::take(rest)?;
    Some(Turn {
        place,
        index: place.checked_add(varint::take(rest)?)?,
        tokens: u32::try_from(varint::take(rest)?).ok()?,
        role: varint::take_slice(rest).filter(|role| is_role(role))?,
        content: varint::take_slice(rest)?,
    })
}

/// Appends an id that is remembered, and the index that its turn got.
pub(crate) fn put_id(out: &mut Vec<u8>, index: u64, id: &[u8]) {
    varint::put(out, index);
    varint::put_slice(out, id);
}

/// Takes an id and its index off the front of bytes from outside.
pub(crate) fn take_id<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let index = varint::take(rest)?;
    Some((index, varint::take_slice(rest).filter(|id| is_id(id))?))
}

/// The elements of a run, until one is none.
pub(crate) fn each<'a, T>(
    run: &'a [u8],
    take: impl Fn(&mut &'a [u8]) -> Option<T>,
) -> impl Iterator<Item = T> {
    let mut rest = run;
    std::iter::from_fn(move || take(&mut rest))
}

/// A payload, taken apart.
pub(crate) struct Parts<'a> {
    pub(crate) figures: Figures,
    /// A run of ids, by ascending indexes.
    pub(crate) ids: &'a [u8],
    /// A run of turns, by ascending places.
    pub(crate) turns: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn turns(&self) -> impl Iterator<Item = Turn<'a>> + use<'a> {
        each(self.turns, take_turn)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        each(self.ids, take_id)
    }
}

/// Takes a payload apart, down to its runs.
pub(crate) fn split(mut payload: &[u8]) -> Option<Parts<'_>> {
    let rest = &mut payload;
    let figures = Figures {
        next_index: varint::take(rest)?,
        epoch: varint::take(rest)?,
        turns: varint::take(rest)?,
        tokens: varint::take(rest)?,
    };
    let ids = varint::take_slice(rest)?;
    Some(Parts { figures, ids, turns: rest })
}

/// Takes apart a payload that was made here or checked.
pub(crate) fn parts(payload: &[u8]) -> Parts<'_> {
    match split(payload) {
        Some(parts) => parts,
        None => unreachable!("objects are checked when they come in"),
    }
}

/// How many turns a payload has.
pub(crate) fn len(payload: &[u8]) -> usize {
    // They are in memory.
    parts(payload).figures.turns as usize
}

/// Whether bytes from outside are a payload.
pub(crate) fn check(payload: &[u8]) -> bool {
    let Some(Parts { figures, mut ids, mut turns }) = split(payload) else { return false };
    let (mut count, mut tokens, mut before) = (0u64, 0u64, None);
    while !turns.is_empty() {
        let Some(turn) = take_turn(&mut turns) else { return false };
        if before >= Some(turn.place) || turn.index >= figures.next_index {
            return false;
        }
        before = Some(turn.place);
        count += 1;
        tokens = tokens.saturating_add(u64::from(turn.tokens));
    }
    let (mut remembered, mut before) = (0, None);
    while !ids.is_empty() {
        let Some((index, _)) = take_id(&mut ids) else { return false };
        if before >= Some(index) || index >= figures.next_index {
            return false;
        }
        before = Some(index);
        remembered += 1;
    }
    count == figures.turns && tokens == figures.tokens && remembered <= CHAT_IDS_REMEMBERED
}

/// Appends what comes before the ids.
pub(crate) fn put_figures(out: &mut Vec<u8>, figures: &Figures) {
    varint::put(out, figures.next_index);
    varint::put(out, figures.epoch);
    varint::put(out, figures.turns);
    varint::put(out, figures.tokens);
}

/// The ids of a run that are still remembered when the next index is this.
pub(crate) fn remembered(mut ids: &[u8], next_index: u64) -> &[u8] {
    let mut rest = ids;
    while let Some((index, _)) = take_id(&mut rest) {
        if is_remembered(index, next_index) {
            break;
        }
        ids = rest;
    }
    ids
}

/// Whether the id of a turn with this index is still remembered when the next index is that one.
pub(crate) fn is_remembered(index: u64, next_index: u64) -> bool {
    index.saturating_add(CHAT_IDS_REMEMBERED) >= next_index
}
