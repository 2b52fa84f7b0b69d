//! Sets, flat and in a table, against a set of the standard library.

use super::{Input, hasher};
use crate::object::{MemberTable, layout, packed_set};
use std::collections::BTreeSet;

/// Members that come and go: flat, in a table and in the standard library's set there are the same ones.
pub fn set(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let hasher = hasher();
    // With few bits, members share their hash.
    let mask = if input.byte().is_multiple_of(2) { u64::MAX } else { 0xF000_0000_0000_0000 };
    let hash = |member: &[u8]| hasher.field(member) & mask;
    let (mut model, mut flat, mut table) = (BTreeSet::new(), Vec::new(), MemberTable::new());
    while !input.is_empty() {
        let action = input.byte();
        let member = if action & 0x40 == 0 { input.name() } else { input.long().to_string().into_bytes() };
        match action % 4 {
            0..=1 => {
                let place = packed_set::place(&flat, &member);
                let new = model.insert(member.clone());
                assert_eq!(place.is_some(), new);
                assert_eq!(table.insert(hash(&member), &member), new);
                if let Some(at) = place {
                    let mut encoded = Vec::new();
                    packed_set::put(&mut encoded, &member);
                    flat.splice(at..at, encoded);
                }
            }
            2 => {
                let there = model.remove(&member);
                assert_eq!(table.remove(hash(&member), &member), there);
                match packed_set::find(&flat, &member) {
                    Some(found) => {
                        assert!(there);
                        flat.drain(found);
                    }
                    None => assert!(!there),
                }
            }
            _ => {
                let there = model.contains(&member);
                assert_eq!(packed_set::contains(&flat, &member), there);
                assert_eq!(table.contains(hash(&member), &member), there);
                let mut number = input.long();
                let drawn = table.draw(&mut || {
                    number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    number
                });
                assert_eq!(drawn.is_some(), !model.is_empty());
                assert!(drawn.is_none_or(|drawn| model.contains(drawn)));
            }
        }
        assert_eq!(table.len(), model.len());
    }
    assert!(packed_set::check(&flat));
    assert_eq!(packed_set::len(&flat), model.len());
    let collected =
        |members: &mut dyn Iterator<Item = &[u8]>| members.map(<[u8]>::to_vec).collect::<BTreeSet<_>>();
    assert_eq!(collected(&mut packed_set::iter(&flat)), model);
    assert_eq!(collected(&mut table.iter()), model);
    assert_eq!(collected(&mut table.clone().iter()), model);
    assert_eq!(collected(&mut MemberTable::of(&flat, &hasher).iter()), model);
    let mut scanned = BTreeSet::new();
    let (mut from, mut more) = (0, true);
    while more {
        let next = table.scan(from, 7, 12, &mut |member| {
            scanned.insert(member.to_vec());
        });
        (from, more) = (next.unwrap_or(0), next.is_some());
    }
    assert_eq!(scanned, model);
    let mut object = Vec::new();
    layout::put_head(&mut object, crate::Kind::Set, 0, b"key", None);
    object.extend_from_slice(&flat);
    assert_eq!(layout::check(&object).is_some(), !model.is_empty(), "there is no set without members");
}
