//! Changes of chats.
//!
//! What a removal takes is not listed but said: up to which place, and of which roles not. The chat is the same wherever it is applied, and so is
//! what goes.

use super::{Applied, Change, Inverse};
use crate::limits::{FREE_LATER_BYTES, PACKED_BYTES_MAX, PACKED_FIELDS_MAX};
use crate::object::packed_chat::{self, each, is_role, put_turn, take_id, take_turn};
use crate::object::{Body, Chat, ChatFigures, Object, Packed, Structured, View, layout};
use crate::shard::Shard;
use crate::table::Place;
use crate::varint;
use std::sync::Arc;

/// A change of a chat. `keep` is a run of roles, each a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChatChange<'a> {
    /// A turn behind the last, with the next index.
    Append { role: &'a [u8], content: &'a [u8], tokens: u32, id: Option<&'a [u8]> },
    /// All turns up to a place, but those of some roles, are gone, and one is in the place of the last of them. Nothing, if there are none.
    Replace { upto: u64, keep: &'a [u8], role: &'a [u8], content: &'a [u8], tokens: u32 },
    /// All turns up to a place, but those of some roles, are gone.
    Remove { upto: u64, keep: &'a [u8] },
    /// It is as it was before other changes: turns at some places (a run) are gone, others (a run) are back, and so are ids (a run), and figures.
    Restore { next_index: u64, epoch: u64, places: &'a [u8], turns: &'a [u8], ids: &'a [u8] },
}

const APPEND: u8 = 1;
const APPEND_WITH_ID: u8 = 2;
const REPLACE: u8 = 3;
const REMOVE: u8 = 4;
const RESTORE: u8 = 5;

/// Takes a run off the front of bytes from outside.
fn take_run<'a, T>(rest: &mut &'a [u8], take: impl Fn(&mut &'a [u8]) -> Option<T>) -> Option<&'a [u8]> {
    let run = varint::take_slice(rest)?;
    let mut left = run;
    while !left.is_empty() {
        take(&mut left)?;
    }
    Some(run)
}

fn take_tokens(rest: &mut &[u8]) -> Option<u32> {
    u32::try_from(varint::take(rest)?).ok()
}

fn take_role<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    varint::take_slice(rest).filter(|role| is_role(role))
}

impl<'a> ChatChange<'a> {
    /// Appends it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            ChatChange::Append { role, content, tokens, id } => {
                out.push(if id.is_some() { APPEND_WITH_ID } else { APPEND });
                varint::put(out, u64::from(tokens));
                varint::put_slice(out, role);
                varint::put_slice(out, content);
                if let Some(id) = id {
                    varint::put_slice(out, id);
                }
            }
            ChatChange::Replace { upto, keep, role, content, tokens } => {
                out.push(REPLACE);
                varint::put(out, upto);
                varint::put_slice(out, keep);
                varint::put(out, u64::from(tokens));
                varint::put_slice(out, role);
                varint::put_slice(out, content);
            }
            ChatChange::Remove { upto, keep } => {
                out.push(REMOVE);
                varint::put(out, upto);
                varint::put_slice(out, keep);
            }
            ChatChange::Restore { next_index, epoch, places, turns, ids } => {
                out.push(RESTORE);
                varint::put(out, next_index);
                varint::put(out, epoch);
                [places, turns, ids].iter().for_each(|run| varint::put_slice(out, run));
            }
        }
    }

    /// Takes one off the front of bytes from outside.
    pub(super) fn take(rest: &mut &'a [u8]) -> Option<ChatChange<'a>> {
        let (&code, after) = rest.split_first()?;
        *rest = after;
        Some(match code {
            APPEND | APPEND_WITH_ID => ChatChange::Append {
                tokens: take_tokens(rest)?,
                role: take_role(rest)?,
                content: varint::take_slice(rest)?,
                id: match code {
                    APPEND => None,
                    _ => Some(varint::take_slice(rest).filter(|id| packed_chat::is_id(id))?),
                },
            },
            REPLACE => ChatChange::Replace {
                upto: varint::take(rest)?,
                keep: take_run(rest, take_role)?,
                tokens: take_tokens(rest)?,
                role: take_role(rest)?,
                content: varint::take_slice(rest)?,
            },
            REMOVE => ChatChange::Remove { upto: varint::take(rest)?, keep: take_run(rest, take_role)? },
            RESTORE => ChatChange::Restore {
                next_index: varint::take(rest)?,
                epoch: varint::take(rest)?,
                places: take_run(rest, varint::take)?,
                turns: take_run(rest, take_turn)?,
                ids: take_run(rest, take_id)?,
            },
            _ => return None,
        })
    }
}

/// Applies a change to a chat.
pub(super) fn apply(shard: &mut Shard, place: Place, change: ChatChange<'_>) -> Applied {
    let garbage = match shard.entry(place).view() {
        View::Packed(flat) => change_flat(flat, change).map(|object| shard.replace(place, object)),
        View::Structured(_) => shard.change(place, |handle| match handle.structured_mut() {
            Some(Structured { body: Body::Chat(chat), .. }) => change_chat(chat, change),
            _ => None,
        }),
    };
    Applied { new: false, garbage }
}

/// The object that a flat chat becomes; `None` if the change does not fit.
fn change_flat(flat: &[u8], change: ChatChange<'_>) -> Option<Object> {
    let head = layout::head_bytes(flat);
    if let ChatChange::Append { role, content, tokens, id } = change {
        return append_flat(&flat[..head], &flat[head..], (role, content, tokens, id));
    }
    let mut chat = Chat::of(&flat[head..]);
    let before = chat.figures();
    change_chat(&mut chat, change);
    // What of a chat changes otherwise leaves a trace here.
    if chat.figures() == before && !matches!(change, ChatChange::Restore { .. }) {
        return None;
    }
    let mut bytes = flat[..head].to_vec();
    chat.encode(&mut bytes);
    if bytes.len() <= PACKED_BYTES_MAX && chat.figures().turns <= PACKED_FIELDS_MAX as u64 {
        return Some(Object::Packed(Packed::concat(&[&bytes])));
    }
    Some(structured(&flat[..head], chat))
}

/// A flat chat with one more turn, without a look at the others.
fn append_flat(
    head: &[u8],
    payload: &[u8],
    (role, content, tokens, id): (&[u8], &[u8], u32, Option<&[u8]>),
) -> Option<Object> {
    let parts = packed_chat::parts(payload);
    let index = parts.figures.next_index;
    let figures = ChatFigures {
        next_index: index.checked_add(1)?,
        epoch: parts.figures.epoch,
        turns: parts.figures.turns + 1,
        tokens: parts.figures.tokens.saturating_add(u64::from(tokens)),
    };
    let ids = packed_chat::remembered(parts.ids, figures.next_index);
    let (mut start, mut id_bytes) = (Vec::with_capacity(48), Vec::new());
    // An id that is there stands for its first turn, as in a large chat.
    if let Some(id) = id.filter(|id| each(ids, take_id).all(|(_, other)| other != *id)) {
        packed_chat::put_id(&mut id_bytes, index, id);
    }
    packed_chat::put_figures(&mut start, &figures);
    varint::put(&mut start, (ids.len() + id_bytes.len()) as u64);
    let mut turn_head = Vec::with_capacity(role.len() + 32);
    put_turn(&mut turn_head, &packed_chat::Turn { place: index, index, tokens, role, content: b"" });
    // The length of an empty content, in place of which goes that of this one.
    turn_head.pop();
    varint::put(&mut turn_head, content.len() as u64);
    let bytes = [head, &start, ids, &id_bytes, parts.turns, &turn_head, content];
    let length: usize = bytes.iter().map(|part| part.len()).sum();
    if length <= PACKED_BYTES_MAX && figures.turns <= PACKED_FIELDS_MAX as u64 {
        return Some(Object::Packed(Packed::concat(&bytes)));
    }
    let mut chat = Chat::of(payload);
    chat.append(role, content, tokens, id);
    Some(structured(head, chat))
}

/// A large chat under the key of a flat one.
fn structured(flat: &[u8], chat: Chat) -> Object {
    let parts = layout::parts(flat);
    let body = Body::Chat(Box::new(chat));
    Object::Structured(Arc::new(Structured::new(layout::database(flat), parts.key, parts.policy, body)))
}

/// Changes a large chat; what is gone of it, if that is worth freeing later.
fn change_chat(chat: &mut Chat, change: ChatChange<'_>) -> Option<Object> {
    let gone = match change {
        ChatChange::Append { role, content, tokens, id } => {
            chat.append(role, content, tokens, id);
            None
        }
        ChatChange::Replace { upto, keep, role, content, tokens } => {
            chat.replace_upto(upto, keep, (role, content, tokens))
        }
        ChatChange::Remove { upto, keep } => chat.remove_upto(upto, keep),
        ChatChange::Restore { next_index, epoch, places, turns, ids } => {
            let (places, turns) = (each(places, varint::take), each(turns, take_turn));
            chat.restore((next_index, epoch), places, turns, ids);
            None
        }
    };
    let gone = gone.filter(|gone| gone.memory_bytes() > FREE_LATER_BYTES)?;
    Some(Object::Structured(Arc::new(Structured::new(0, b"", None, Body::Chat(Box::new(gone))))))
}

/// What undoes a change.
pub(super) fn invert(object: &Structured, change: ChatChange<'_>, inverse: &mut Inverse) {
    let Body::Chat(chat) = &object.body else { return };
    let ChatFigures { next_index, epoch, .. } = chat.figures();
    let (mut places, mut turns) = (Vec::new(), Vec::new());
    let mut ids = chat.ids_about_to_be_forgotten();
    match change {
        ChatChange::Append { .. } => varint::put(&mut places, next_index),
        ChatChange::Replace { upto, keep, .. } | ChatChange::Remove { upto, keep } => {
            let Some(last) = chat.last_of_others(upto, keep) else { return };
            if matches!(change, ChatChange::Replace { .. }) {
                varint::put(&mut places, last);
            } else {
                ids.clear();
            }
            let kept = |role: &[u8]| each(keep, varint::take_slice).any(|other| other == role);
            let gone = chat.turns().take_while(|turn| turn.place <= upto).filter(|turn| !kept(turn.role));
            gone.for_each(|turn| put_turn(&mut turns, &turn));
        }
        // It is what undoes, and is not undone itself.
        ChatChange::Restore { .. } => return,
    }
    let change = ChatChange::Restore { next_index, epoch, places: &places, turns: &turns, ids: &ids };
    inverse.push(&Change::Chat(change));
}
