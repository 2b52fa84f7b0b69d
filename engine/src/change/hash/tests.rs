//! Several fields at once are what they are one after the other.

use super::*;
use crate::key::KeyHasher;
use crate::object::{Kind, layout};
use proptest::prelude::*;

fn fields_of(object: &Object) -> Vec<(Vec<u8>, Vec<u8>)> {
    match object {
        Object::Packed(packed) => {
            assert!(layout::check(packed.bytes()).is_some());
            let all = Fields::of(packed.bytes());
            all.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
        }
        Object::Structured(structured) => {
            let Body::Hash(table) = &structured.body else { panic!("a hash") };
            let mut all = Vec::new();
            table.for_each(&mut |field: Field<'_>| all.push((field.name.to_vec(), field.value.to_vec())));
            all.sort();
            all
        }
        Object::Idle(_) | Object::Cold { .. } => panic!("readable"),
    }
}

fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = prop_oneof![3 => (0u8..6).prop_map(|n| vec![n]), 1 => (0u8..200).prop_map(|n| vec![n, n])];
    let value = prop_oneof![
        6 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => (100usize..5000).prop_map(|length| vec![7; length]),
    ];
    (name, value)
}

proptest! {
    #[test]
    fn several_fields_at_once_are_what_they_are_one_after_the_other(
        start in proptest::collection::vec(pair(), 0..140),
        pairs in proptest::collection::vec(pair(), 1..20),
    ) {
        let hasher = KeyHasher::new([3; 16]);
        let mut flat = Vec::new();
        layout::put_head(&mut flat, Kind::Hash, 0, b"key", None);
        for (name, value) in &start {
            let field = Field { name, value, deadline_ms: NEVER };
            // As long as it stays flat.
            if let (Object::Packed(packed), _) = set_flat(&flat, &hasher, field, NEVER) {
                flat = packed.bytes().to_vec();
            }
        }
        let slices: Vec<[&[u8]; 2]> = pairs.iter().map(|(name, value)| [&name[..], value]).collect();
        let (together, new_together) = set_all_flat(&flat, &hasher, &slices);
        let (mut flat, mut new, mut table) = (flat, 0, None::<Object>);
        for [name, value] in slices {
            match &mut table {
                None => {
                    let field = Field { name, value, deadline_ms: NEVER };
                    let (object, is_new) = set_flat(&flat, &hasher, field, NEVER);
                    new += usize::from(is_new);
                    match object {
                        Object::Packed(packed) => flat = packed.bytes().to_vec(),
                        large => table = Some(large),
                    }
                }
                Some(Object::Structured(structured)) => {
                    let Body::Hash(fields) = &mut Arc::get_mut(structured).expect("the only one").body else { panic!("a hash") };
                    new += usize::from(fields.set(hasher.field(name), name, value, NEVER));
                }
                Some(_) => panic!("large"),
            }
        }
        prop_assert_eq!(new_together, new);
        let one_by_one = table.unwrap_or_else(|| Object::Packed(Packed::concat(&[&flat])));
        let (mut left, mut right) = (fields_of(&together), fields_of(&one_by_one));
        // A little earlier or later, one of them is a table.
        if matches!((&together, &one_by_one), (Object::Packed(_), Object::Packed(_))) {
            prop_assert_eq!(&left, &right);
        }
        left.sort();
        right.sort();
        prop_assert_eq!(left, right);
    }
}
