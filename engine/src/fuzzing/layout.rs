//! Flat objects from outside: what passes the check can be read by everybody.

use super::{Input, hasher};
use crate::Kind;
use crate::object::{
    Body, Chat, FieldTable, List, MemberTable, Object, SortedSet, Stream, Structured, View, copy_as,
    from_flat, layout, packed_chat, packed_hash, packed_list, packed_set, packed_sorted_set, sorted_run,
};
use std::collections::BTreeSet;

/// Any bytes as a flat object. If they pass the check, every reader of a flat object takes them, and what they become when they outgrow that
/// has the same content.
pub fn layout(bytes: &[u8]) {
    let Some((kind, database, parts)) = layout::check(bytes) else { return };
    assert!(layout::may_begin_with(bytes));
    assert!(database < crate::key::INDEX_DATABASES);
    assert_eq!((layout::kind(bytes), layout::database(bytes)), (kind, database));
    assert!(layout::is_of(bytes, database, parts.key));
    assert_eq!(layout::head_bytes(bytes) + parts.payload.len(), bytes.len());
    let view = View::Packed(bytes);
    assert_eq!(
        (view.key(), view.database(), view.kind(), view.policy()),
        (parts.key, database, kind, parts.policy)
    );
    let _ = (view.deaths(), view.memory_bytes());
    let grown = read(bytes, kind, parts.payload);
    same_again(&encoded(&from_flat(kind, bytes, &hasher())), bytes);
    let mut flat = Vec::new();
    if let Some(body) = grown {
        let structured = Structured::new(database, parts.key, parts.policy, body);
        let _ = (structured.memory_bytes(), structured.deaths());
        structured.encode(&mut flat);
        same_again(&flat, bytes);
        same_again(&encoded(&copy_as(View::Structured(&structured), database, parts.key)), bytes);
    }
    let copy = encoded(&copy_as(view, 3, b"another key"));
    let (_, _, copied) = layout::check(&copy).expect("a copy is an object");
    assert_eq!(
        (copied.key, copied.policy, copied.payload),
        (&b"another key"[..], parts.policy, parts.payload)
    );
}

fn encoded(object: &Object) -> Vec<u8> {
    match object {
        Object::Packed(packed) => packed.bytes().to_vec(),
        Object::Structured(structured) => {
            let mut out = Vec::new();
            structured.encode(&mut out);
            out
        }
        Object::Idle(_) | Object::Cold { .. } => panic!("nobody made such an object"),
    }
}

/// Reads all there is; the growable body with the same content.
fn read(flat: &[u8], kind: Kind, payload: &[u8]) -> Option<Body> {
    let hasher = hasher();
    Some(match kind {
        Kind::String => Body::String(payload.to_vec()),
        Kind::List => {
            let (count, run) = packed_list::parts(payload);
            assert_eq!(
                (packed_list::Elements(run).count(), packed_list::Elements(run).rev().count()),
                (count, count)
            );
            for index in [0, count / 3, count - 1] {
                let at = packed_list::offset(run, count, index);
                assert!(packed_list::take_first(&mut &run[at..]).is_some());
            }
            Body::List(List::of(payload))
        }
        Kind::Set => {
            for member in packed_set::iter(payload) {
                assert!(packed_set::contains(payload, member) && packed_set::find(payload, member).is_some());
                assert_eq!(packed_set::place(payload, member), None);
            }
            let _ = packed_set::place(payload, b"17");
            Body::Set(MemberTable::of(payload, &hasher))
        }
        Kind::SortedSet => {
            let (count, run) = packed_sorted_set::split(payload);
            assert_eq!(sorted_run::iter(run).count(), count);
            assert!(sorted_run::iter(run).all(|(_, member)| sorted_run::find(run, member).is_some()));
            Body::SortedSet(SortedSet::of(run, &hasher))
        }
        Kind::Hash => {
            let fields = packed_hash::Fields::of(flat);
            assert!(fields.iter().all(|field| fields.find(field.name).is_some()));
            assert!(fields.live(1 << 40).count() <= fields.len());
            let key_deadline_ms =
                fields.deaths().map_or(crate::expiry::NEVER, |deaths| deaths.key_deadline_ms);
            Body::Hash(FieldTable::of(fields.iter(), key_deadline_ms, &hasher))
        }
        Kind::Stream => Body::Stream(Stream::decode(payload)?),
        Kind::Chat => {
            let parts = packed_chat::parts(payload);
            assert_eq!(
                (parts.turns().count(), packed_chat::len(payload)),
                (parts.figures.turns as usize, parts.figures.turns as usize)
            );
            let chat = Chat::of(payload);
            assert_eq!(chat.figures(), parts.figures);
            assert!(parts.turns().all(|turn| chat.at(turn.place) == Some(turn)));
            Body::Chat(Box::new(chat))
        }
    })
}

/// Whether no element that should be there once is there twice, which a check does not ask: it would cost more than it saves.
fn is_distinct(flat: &[u8]) -> bool {
    fn distinct<'a>(names: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut seen = BTreeSet::new();
        names.into_iter().all(|name| seen.insert(name))
    }
    let payload = layout::parts(flat).payload;
    match layout::kind(flat) {
        Kind::Hash => distinct(packed_hash::Fields::of(flat).iter().map(|field| field.name)),
        Kind::Set => distinct(packed_set::iter(payload)),
        Kind::SortedSet => distinct(sorted_run::iter(packed_sorted_set::run(payload)).map(|scored| scored.1)),
        Kind::Chat => distinct(packed_chat::parts(payload).ids().map(|id| id.1)),
        Kind::String | Kind::List | Kind::Stream => true,
    }
}

/// The content, whatever the order where none is promised.
fn content(flat: &[u8]) -> (Kind, Vec<Vec<u8>>) {
    let (kind, payload) = (layout::kind(flat), layout::parts(flat).payload);
    let mut all: Vec<Vec<u8>> = match kind {
        Kind::Hash => packed_hash::Fields::of(flat)
            .iter()
            .map(|field| [field.name, b"=", field.value, b"@", &field.deadline_ms.to_le_bytes()].concat())
            .collect(),
        Kind::Set => packed_set::iter(payload).map(<[u8]>::to_vec).collect(),
        // The zeros are equal.
        Kind::SortedSet => sorted_run::iter(packed_sorted_set::run(payload))
            .map(|(score, member)| [&(score + 0.0).to_le_bytes(), member].concat())
            .collect(),
        Kind::List => packed_list::Elements(packed_list::parts(payload).1).map(<[u8]>::to_vec).collect(),
        // Read and written again, consumers and groups are in their order, and numbers have their shortest form.
        Kind::Stream => {
            let mut again = Vec::new();
            Stream::decode(payload).expect("checked").encode(&mut again);
            vec![again]
        }
        // As of a stream.
        Kind::Chat => {
            let mut again = Vec::new();
            Chat::of(payload).encode(&mut again);
            vec![again]
        }
        Kind::String => vec![payload.to_vec()],
    };
    if matches!(kind, Kind::Hash | Kind::Set) {
        all.sort_unstable();
    }
    (kind, all)
}

fn same_again(flat: &[u8], original: &[u8]) {
    let (_, database, parts) = layout::check(flat).expect("what is written is an object");
    let before = layout::parts(original);
    assert_eq!((database, parts.key, parts.policy), (layout::database(original), before.key, before.policy));
    if is_distinct(original) {
        assert_eq!(content(flat), content(original));
    }
}

/// A head that passes, so that the rest is looked at.
pub(super) fn with_head(bytes: &[u8]) -> Vec<u8> {
    let mut input = Input::new(bytes);
    let kinds = [Kind::String, Kind::List, Kind::Set, Kind::SortedSet, Kind::Hash, Kind::Stream, Kind::Chat];
    let (kind, timed) = (kinds[input.below(7)], input.byte().is_multiple_of(2));
    let mut flat = Vec::new();
    layout::put_head(&mut flat, kind, 1, b"key", None);
    if kind == Kind::Hash && timed {
        flat[0] |= layout::FIELD_DEADLINES;
    }
    flat.extend_from_slice(input.rest());
    flat
}
