//! Chats, flat and in chunks, against a vector of turns.

use super::Input;
use crate::limits::CHAT_IDS_REMEMBERED;
use crate::object::chat::{Budget, Chat, excess_flat, select_flat};
use crate::object::{layout, packed_chat};
use crate::varint;

const ROLES: [&[u8]; 4] = [b"system", b"user", b"assistant", b"summary"];
/// So many turns and the chat is begun anew: the target is not to measure how fast it is.
const TURNS_MAX: usize = 1500;

#[derive(Clone, Debug, PartialEq)]
struct Turn {
    place: u64,
    index: u64,
    tokens: u32,
    role: &'static [u8],
    content: Vec<u8>,
}

#[derive(Default)]
struct Model {
    turns: Vec<Turn>,
    /// Index and id, as they came.
    ids: Vec<(u64, Vec<u8>)>,
    next_index: u64,
    epoch: u64,
}

/// Turns that are added, removed and summarised: chat and vector have the same ones, in the same order, under the same indexes and ids; what fits a
/// budget is the same of the flat form, of the grown one, and added up by hand.
pub fn chat(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut model, mut chat) = (Model::default(), Chat::default());
    while !input.is_empty() {
        match input.byte() % 8 {
            0..=2 => {
                let (role, tokens, content) = (ROLES[input.below(4)], u32::from(input.byte()), input.value());
                let id = if input.byte().is_multiple_of(3) { input.name() } else { Vec::new() };
                let id = Some(&id[..]).filter(|id| !id.is_empty() && chat.index_of(id).is_none());
                append(&mut model, &mut chat, role, tokens, &content, id);
            }
            3 => {
                let (role, many) = (input.below(4), input.byte());
                for number in 0..u32::from(many) {
                    let id = format!("id {}", model.next_index);
                    append(&mut model, &mut chat, ROLES[role], number, b"again", Some(id.as_bytes()));
                }
            }
            4 => {
                let (upto, keep) = upto(&mut input, &model);
                let gone = model.remove(upto, &keep);
                let removed = chat.remove_upto(upto, &run(&keep));
                assert_eq!(removed.map(|gone| gone.figures().turns), gone.last().map(|_| gone.len() as u64));
            }
            5 => {
                let (upto, keep) = upto(&mut input, &model);
                let (tokens, content) = (u32::from(input.byte()), input.value());
                let gone = model.remove(upto, &keep);
                let replaced = chat.replace_upto(upto, &run(&keep), (b"summary", &content, tokens));
                assert_eq!(replaced.is_some(), !gone.is_empty());
                if let Some(last) = gone.last() {
                    let turn = Turn {
                        place: last.place,
                        index: model.next_index,
                        tokens,
                        role: b"summary",
                        content,
                    };
                    let at = model.turns.partition_point(|other| other.place < turn.place);
                    model.turns.insert(at, turn);
                    model.next_index += 1;
                }
            }
            6 => {
                let mut payload = Vec::new();
                chat.encode(&mut payload);
                chat = Chat::of(&payload);
            }
            _ => select(&mut input, &model, &chat),
        }
        let figures = chat.figures();
        assert_eq!((figures.next_index, figures.epoch), (model.next_index, model.epoch));
        assert_eq!(figures.turns, model.turns.len() as u64);
        if model.turns.len() > TURNS_MAX {
            (model, chat) = (Model::default(), Chat::default());
        }
    }
    compare(&model, &chat);
}

fn append(
    model: &mut Model,
    chat: &mut Chat,
    role: &'static [u8],
    tokens: u32,
    content: &[u8],
    id: Option<&[u8]>,
) {
    chat.append(role, content, tokens, id);
    let index = model.next_index;
    model.turns.push(Turn { place: index, index, tokens, role, content: content.to_vec() });
    model.ids.extend(id.map(|id| (index, id.to_vec())));
    model.next_index += 1;
}

/// A place near the beginning, and roles that stay.
fn upto(input: &mut Input<'_>, model: &Model) -> (u64, Vec<&'static [u8]>) {
    let first = model.turns.first().map_or(0, |turn| turn.place);
    let keep = input.byte();
    let keep = ROLES
        .into_iter()
        .enumerate()
        .filter(|(at, _)| keep >> at & 1 == 1 && keep & 0x30 != 0)
        .map(|(_, role)| role);
    (first + u64::from(input.short() % 300), keep.collect())
}

fn run(roles: &[&[u8]]) -> Vec<u8> {
    let mut run = Vec::new();
    roles.iter().for_each(|role| varint::put_slice(&mut run, role));
    run
}

impl Model {
    /// What goes.
    fn remove(&mut self, upto: u64, keep: &[&[u8]]) -> Vec<Turn> {
        let gone: Vec<Turn> =
            self.turns.extract_if(.., |turn| turn.place <= upto && !keep.contains(&turn.role)).collect();
        self.epoch += u64::from(!gone.is_empty());
        gone
    }
}

fn owned(turn: packed_chat::Turn<'_>) -> Turn {
    let role = ROLES.into_iter().find(|role| *role == turn.role).expect("one of them");
    Turn { place: turn.place, index: turn.index, tokens: turn.tokens, role, content: turn.content.to_vec() }
}

fn select(input: &mut Input<'_>, model: &Model, chat: &Chat) {
    let keep = [ROLES[input.below(4)]];
    let (tokens_max, turns_max) = (u64::from(input.short() % 2000), u64::from(input.byte()));
    let budget = Budget { tokens_max, turns_max, keep: &keep[..input.below(2)], keep_too: b"summary" };
    let mut tokens: u64 =
        model.turns.iter().filter(|turn| budget.keeps(turn.role)).map(|turn| u64::from(turn.tokens)).sum();
    let (mut others, mut open, mut expected) = (0, true, Vec::new());
    for turn in model.turns.iter().rev() {
        let kept = budget.keeps(turn.role);
        if !kept && open {
            open = others < turns_max && tokens + u64::from(turn.tokens) <= tokens_max;
            others += u64::from(open);
            tokens += if open { u64::from(turn.tokens) } else { 0 };
        }
        if kept || open {
            expected.push(turn.clone());
        }
    }
    expected.reverse();
    let found = chat.select(&budget);
    assert_eq!(found.tokens, tokens);
    assert_eq!(found.turns.into_iter().map(owned).collect::<Vec<_>>(), expected);
    let mut payload = Vec::new();
    chat.encode(&mut payload);
    let parts = packed_chat::parts(&payload);
    let flat = select_flat(&parts, &budget);
    assert_eq!(
        (flat.tokens, flat.turns.into_iter().map(owned).collect::<Vec<_>>()),
        (tokens, expected.clone())
    );
    // What does not fit is what is not selected.
    let outside = model.turns.iter().filter(|turn| !expected.contains(turn)).map(|turn| turn.place).max();
    assert_eq!((chat.excess(&budget), excess_flat(&parts, &budget)), (outside, outside));
}

fn compare(model: &Model, chat: &Chat) {
    assert_eq!(chat.turns().map(owned).collect::<Vec<_>>(), model.turns);
    for turn in &model.turns {
        assert_eq!(chat.place_of(turn.index), Some(turn.place));
        assert_eq!(chat.at(turn.place).map(|turn| turn.index), Some(turn.index));
    }
    for role in ROLES {
        assert_eq!(chat.has_role(role), model.turns.iter().any(|turn| turn.role == role));
    }
    for (index, id) in &model.ids {
        if index + CHAT_IDS_REMEMBERED >= model.next_index {
            assert_eq!(chat.index_of(id), Some(*index));
        }
    }
    let mut flat = Vec::new();
    layout::put_head(&mut flat, crate::Kind::Chat, 0, b"key", None);
    let head = flat.len();
    chat.encode(&mut flat);
    assert!(layout::check(&flat).is_some());
    let (again, mut encoded) = (Chat::of(&flat[head..]), Vec::new());
    again.encode(&mut encoded);
    assert_eq!((&encoded[..], again.figures()), (&flat[head..], chat.figures()));
}
