//! Changes of sets.

use super::{Applied, Change, Inverse};
use crate::key::KeyHasher;
use crate::limits::{PACKED_BYTES_MAX, PACKED_FIELDS_MAX};
use crate::object::{Body, MemberTable, Object, Packed, Structured, View, layout, packed_set};
use crate::shard::Shard;
use crate::table::Place;
use std::borrow::Cow;
use std::sync::Arc;

/// Adds members.
pub(super) fn apply_add(shard: &mut Shard, place: Place, hasher: &KeyHasher, members: &[u8]) -> Applied {
    let View::Packed(flat) = shard.entry(place).view() else {
        let new = change_members(shard, place, |table| {
            let mut new = false;
            packed_set::iter(members).for_each(|member| new |= table.insert(hasher.field(member), member));
            new
        });
        return Applied { new, garbage: None };
    };
    match add_flat(flat, hasher, members) {
        Some(object) => Applied { new: true, garbage: Some(shard.replace(place, object)) },
        None => Applied { new: false, garbage: None },
    }
}

/// Removes members, which are not all.
pub(super) fn apply_remove(shard: &mut Shard, place: Place, hasher: &KeyHasher, members: &[u8]) -> Applied {
    let View::Packed(flat) = shard.entry(place).view() else {
        change_members(shard, place, |table| {
            packed_set::iter(members).for_each(|member| {
                table.remove(hasher.field(member), member);
            });
            false
        });
        return Applied { new: false, garbage: None };
    };
    let head = layout::head_bytes(flat);
    let mut payload = Cow::Borrowed(&flat[head..]);
    for member in packed_set::iter(members) {
        if let Some(found) = packed_set::find(&payload, member) {
            payload.to_mut().drain(found);
        }
    }
    let Cow::Owned(payload) = payload else { return Applied { new: false, garbage: None } };
    let object = Object::Packed(Packed::concat(&[&flat[..head], &payload]));
    Applied { new: false, garbage: Some(shard.replace(place, object)) }
}

fn change_members(shard: &mut Shard, place: Place, change: impl FnOnce(&mut MemberTable) -> bool) -> bool {
    shard.change(place, |handle| match handle.structured_mut() {
        Some(Structured { body: Body::Set(members), .. }) => change(members),
        _ => false,
    })
}

/// The object that a flat set becomes when members are added; `None` if all are there.
fn add_flat(flat: &[u8], hasher: &KeyHasher, members: &[u8]) -> Option<Object> {
    let head = layout::head_bytes(flat);
    let mut payload = Cow::Borrowed(&flat[head..]);
    let mut count = packed_set::len(&payload);
    let mut rest = packed_set::iter(members);
    while let Some(member) = rest.next() {
        let Some(at) = packed_set::place(&payload, member) else { continue };
        count += 1;
        let element = Element::of(member);
        if count > PACKED_FIELDS_MAX || head + payload.len() + element.len() > PACKED_BYTES_MAX {
            let mut table = MemberTable::of(&payload, hasher);
            for member in std::iter::once(member).chain(rest) {
                table.insert(hasher.field(member), member);
            }
            let parts = layout::parts(flat);
            let grown = Structured::new(layout::database(flat), parts.key, parts.policy, Body::Set(table));
            return Some(Object::Structured(Arc::new(grown)));
        }
        match &mut payload {
            // The usual case, one member: no copy but that into the new object.
            Cow::Borrowed(old) if rest.clone().next().is_none() => {
                let parts = [&flat[..head], &old[..at], &element.length, member, &old[at..]];
                return Some(Object::Packed(Packed::concat(&parts)));
            }
            payload => {
                let bytes = element.length.iter().chain(member).copied();
                payload.to_mut().splice(at..at, bytes);
            }
        }
    }
    match payload {
        Cow::Borrowed(_) => None,
        Cow::Owned(payload) => Some(Object::Packed(Packed::concat(&[&flat[..head], &payload]))),
    }
}

/// A member as it is in a payload.
struct Element<'a> {
    length: crate::varint::Bytes,
    member: &'a [u8],
}

impl Element<'_> {
    fn of(member: &[u8]) -> Element<'_> {
        Element { length: crate::varint::Bytes::of(member.len()), member }
    }

    fn len(&self) -> usize {
        self.length.len() + self.member.len()
    }
}

/// What undoes adding members: those that were not there go.
pub(super) fn invert_add(object: &Structured, hasher: &KeyHasher, members: &[u8], inverse: &mut Inverse) {
    let gone = those(object, hasher, members, false);
    if !gone.is_empty() {
        inverse.push(&Change::RemoveMembers { members: &gone });
    }
}

/// What undoes removing members: those that were there come back.
pub(super) fn invert_remove(object: &Structured, hasher: &KeyHasher, members: &[u8], inverse: &mut Inverse) {
    let back = those(object, hasher, members, true);
    if !back.is_empty() {
        inverse.push(&Change::AddMembers { members: &back });
    }
}

/// Those of the members that are in the set, or those that are not.
fn those(object: &Structured, hasher: &KeyHasher, members: &[u8], inside: bool) -> Vec<u8> {
    let mut some = Vec::new();
    if let Body::Set(table) = &object.body {
        packed_set::iter(members)
            .filter(|member| table.contains(hasher.field(member), member) == inside)
            .for_each(|member| packed_set::put(&mut some, member));
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn payload(members: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        members.iter().for_each(|member| packed_set::put(&mut payload, member));
        payload
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            (0u32..200).prop_map(|number| number.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..3),
            (0usize..3).prop_map(|n| vec![7; n * 3000]),
        ]
    }

    /// `docs/formats.md` says so.
    #[test]
    fn the_bytes_are_held_still() {
        let members = payload(&[b"a".to_vec(), b"10".to_vec()]);
        for (change, which) in
            [(Change::AddMembers { members: &members }, 0), (Change::RemoveMembers { members: &members }, 1)]
        {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            assert_eq!((change.code(), &bytes[..]), (10, &[which, 5, 1, b'a', 2, b'1', b'0'][..]));
        }
        let mut flat = Vec::new();
        layout::put_head(&mut flat, Kind::Set, 3, b"key", None);
        let Some(Object::Packed(packed)) = add_flat(&flat, &KeyHasher::new([0; 16]), &members) else {
            panic!("it stays flat")
        };
        assert_eq!(packed.bytes(), b"\x02\x03\x03key\x01a\x0210");
        let numbers = payload(&[b"10".to_vec(), b"-3".to_vec(), b"9".to_vec()]);
        let Some(Object::Packed(packed)) = add_flat(&flat, &KeyHasher::new([0; 16]), &numbers) else {
            panic!("it stays flat")
        };
        assert_eq!(packed.bytes(), b"\x02\x03\x03key\x02-3\x019\x0210");
    }

    proptest! {
        #[test]
        fn a_flat_set_grows_as_a_set_does(
            before in prop::collection::btree_set(member(), 1..120),
            added in prop::collection::vec(member(), 0..40),
        ) {
            let hasher = KeyHasher::new([3; 16]);
            let before: Vec<_> = before.into_iter().collect();
            let mut flat = Vec::new();
            layout::put_head(&mut flat, Kind::Set, 1, b"key", None);
            flat.extend_from_slice(&payload(&before));
            let mut model: BTreeSet<Vec<u8>> = before.iter().cloned().collect();
            let new = added.iter().filter(|member| model.insert((*member).clone())).count();
            let members = |object: &Object| match object {
                Object::Packed(packed) => {
                    let parts = layout::parts(packed.bytes());
                    assert!(layout::check(packed.bytes()).is_some() && parts.key == b"key");
                    let all: Vec<_> = packed_set::iter(parts.payload).map(<[u8]>::to_vec).collect();
                    assert!(all.len() <= PACKED_FIELDS_MAX && packed.bytes().len() <= PACKED_BYTES_MAX);
                    all
                }
                Object::Structured(grown) => {
                    let Body::Set(table) = &grown.body else { panic!("not a set") };
                    let mut encoded = Vec::new();
                    grown.encode(&mut encoded);
                    assert_eq!(packed_set::len(layout::parts(&encoded).payload), table.len());
                    table.iter().map(<[u8]>::to_vec).collect()
                }
                _ => panic!("neither"),
            };
            match add_flat(&flat, &hasher, &payload(&added)) {
                None => prop_assert_eq!(new, 0),
                Some(object) => {
                    prop_assert!(new > 0);
                    let all = members(&object);
                    prop_assert_eq!(all.len(), model.len());
                    prop_assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), model);
                }
            }
        }

        #[test]
        fn an_inverse_undoes(
            before in prop::collection::btree_set(member(), 2..60),
            named in prop::collection::vec(member(), 0..40),
        ) {
            let hasher = KeyHasher::new([3; 16]);
            let before: Vec<_> = before.into_iter().collect();
            let named = payload(&named);
            let table = MemberTable::of(&payload(&before), &hasher);
            let object = Structured::new(0, b"key", None, Body::Set(table));
            for change in [Change::AddMembers { members: &named }, Change::RemoveMembers { members: &named }] {
                let mut inverse = Inverse::default();
                super::super::invert(&object, &hasher, &change, &mut inverse);
                let mut set: BTreeSet<&[u8]> = before.iter().map(|member| &member[..]).collect();
                let inverse: Vec<_> = inverse.since(0).collect();
                for change in std::iter::once(change).chain(inverse.iter().copied()) {
                    match change {
                        Change::AddMembers { members } => set.extend(packed_set::iter(members)),
                        Change::RemoveMembers { members } => {
                            packed_set::iter(members).for_each(|member| {
                                set.remove(member);
                            });
                        }
                        other => panic!("{other:?}"),
                    }
                }
                prop_assert!(set.iter().eq(before.iter()));
            }
        }
    }
}
