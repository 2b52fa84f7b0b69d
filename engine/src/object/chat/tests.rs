//! What the tests from outside can't reach: bytes that were damaged, and chats in chunks that are changed in any order.

use super::select::Budget;
use super::*;
use crate::limits::CHAT_IDS_REMEMBERED;
use proptest::prelude::*;

const ROLES: [&[u8]; 4] = [b"system", b"user", b"assistant", b"summary"];

fn payload(chat: &Chat) -> Vec<u8> {
    let mut bytes = Vec::new();
    chat.encode(&mut bytes);
    bytes
}

/// A chat of so many turns, some with ids, and one that stands for others.
fn chat(turns: u64) -> Chat {
    let mut chat = Chat::default();
    for number in 0..turns {
        let id = format!("id {number}");
        let id = (number % 3 == 0).then_some(id.as_bytes());
        chat.append(ROLES[number as usize % 3], &[b'x'; 40], number as u32, id);
    }
    chat.replace_upto(turns / 3, b"\x06system", (b"summary", b"so far", 5));
    chat
}

/// Looks at all that a chat has.
fn look(chat: &Chat) -> usize {
    let budget = Budget { tokens_max: 500, turns_max: 20, keep: &[b"user"], keep_too: b"summary" };
    let found = chat.turns().filter(|turn| chat.place_of(turn.index) == Some(turn.place)).count();
    assert_eq!(found, chat.turns().count(), "each turn is found by its index");
    assert!(chat.turns().is_sorted_by(|left, right| left.place < right.place));
    let _ = (chat.excess(&budget), chat.memory_bytes());
    found + chat.select(&budget).turns.len()
}

/// What the parts of a chat say of one another.
fn verify(chat: &Chat) {
    let mut places: Vec<u64> = chat.roles.iter().flat_map(|role| role.places.iter().copied()).collect();
    places.sort_unstable();
    assert_eq!(places, chat.turns().map(|turn| turn.place).collect::<Vec<_>>());
    assert!(chat.roles.iter().all(|role| role.places.iter().is_sorted()));
    for role in &chat.roles {
        let sum: u64 =
            role.places.iter().filter_map(|&at| chat.at(at)).map(|turn| u64::from(turn.tokens)).sum();
        assert_eq!(sum, role.tokens);
    }
    assert!(chat.chunks.iter().all(|chunk| (1..=CHAT_CHUNK_TURNS).contains(&chunk.len())));
    assert_eq!(chat.figures.turns, places.len() as u64);
    assert_eq!(chat.figures.tokens, chat.turns().map(|turn| u64::from(turn.tokens)).sum::<u64>());
    assert_eq!(chat.content_bytes, chat.turns().map(|turn| turn.content.len()).sum::<usize>());
    assert_eq!(chat.moved.len(), chat.turns().filter(|turn| turn.index != turn.place).count());
    assert!(chat.ids.iter().all(|(index, id)| chat.index_of(id) == Some(index)));
    assert!(packed_chat::check(&payload(chat)));
}

#[test]
fn a_payload_comes_back() {
    for turns in [0, 1, 2, 63, 64, 65, 1000] {
        let chat = chat(turns);
        verify(&chat);
        let bytes = payload(&chat);
        let again = Chat::of(&bytes);
        verify(&again);
        assert_eq!((payload(&again), again.figures()), (bytes, chat.figures()));
    }
}

#[test]
fn turns_come_and_go_in_any_order() {
    let mut chat = Chat::default();
    // A permutation of 0..997.
    let places: Vec<u64> = (0..997u64).map(|number| number * 331 % 997).collect();
    for &place in &places {
        chat.insert(&Turn { place, index: place, tokens: 1, role: ROLES[place as usize % 4], content: b"x" });
        if place % 50 == 0 {
            verify_turns(&chat);
        }
    }
    assert_eq!(chat.figures.turns, 997);
    for &place in places.iter().rev() {
        chat.remove_at(place);
        chat.remove_at(place);
        if place % 50 == 0 {
            verify_turns(&chat);
        }
    }
    assert!(chat.chunks.is_empty() && chat.figures.turns == 0 && chat.roles() == 0);
}

/// As [`verify`], of a chat whose next index nobody has set.
fn verify_turns(chat: &Chat) {
    let mut chat = chat.clone();
    chat.figures.next_index = u64::MAX;
    verify(&chat);
    look(&chat);
}

#[test]
fn what_is_restored_is_what_was() {
    let before = chat(200);
    let mut after = before.clone();
    let gone: Vec<u8> = {
        let mut run = Vec::new();
        let kept = |turn: &Turn<'_>| turn.role == b"system";
        before
            .turns()
            .filter(|turn| turn.place <= 150 && !kept(turn))
            .for_each(|turn| put_turn(&mut run, &turn));
        run
    };
    let last = after.last_of_others(150, b"\x06system").expect("there are some");
    after.replace_upto(150, b"\x06system", (b"user", b"", 0));
    verify(&after);
    assert_ne!(payload(&after), payload(&before));
    let figures = before.figures();
    let turns = packed_chat::each(&gone, packed_chat::take_turn);
    after.restore((figures.next_index, figures.epoch), [last].into_iter(), turns, &[]);
    verify(&after);
    assert_eq!(payload(&after), payload(&before));
}

#[test]
fn ids_are_forgotten_and_come_back() {
    let mut chat = Chat::default();
    for number in 0..CHAT_IDS_REMEMBERED {
        chat.append(b"user", b"", 0, Some(format!("{number}").as_bytes()));
    }
    let run = chat.ids_about_to_be_forgotten();
    let before = payload(&chat);
    assert_eq!(chat.index_of(b"0"), Some(0));
    chat.append(b"user", b"", 0, Some(b"new"));
    assert_eq!((chat.index_of(b"0"), chat.index_of(b"1")), (None, Some(1)));
    chat.restore((CHAT_IDS_REMEMBERED, 0), [CHAT_IDS_REMEMBERED].into_iter(), std::iter::empty(), &run);
    assert_eq!((chat.index_of(b"0"), chat.index_of(b"new")), (Some(0), None));
    assert_eq!(payload(&chat), before);
}

proptest! {
    #[test]
    fn bytes_that_pass_the_check_can_be_used(
        turns in 0u64..200, at: prop::sample::Index, byte: u8, then: bool, upto in 0u64..300,
    ) {
        let mut bytes = payload(&chat(turns));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if packed_chat::check(&bytes) {
            let mut chat = Chat::of(&bytes);
            let _ = select_flat(&packed_chat::parts(&bytes), &Budget {
                tokens_max: 100, turns_max: 100, keep: &[], keep_too: b"summary",
            });
            if then {
                chat.append(b"user", b"more", 1, Some(b"id"));
                chat.replace_upto(upto, b"\x04user", (b"summary", b"", 0));
            } else {
                chat.remove_upto(upto, b"\x04user");
            }
            let _ = chat.turns().count();
            payload(&chat);
        }
    }
}
