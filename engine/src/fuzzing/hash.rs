//! Hashes whose fields may die, flat and in a table, against a map of the standard library.

use super::{Input, hasher};
use crate::change::hash::set_flat;
use crate::expiry::NEVER;
use crate::key::KeyHasher;
use crate::object::packed_hash::{self, Field, Fields, Head};
use crate::object::{Deaths, FieldTable, Object, Packed, layout};
use smallvec::SmallVec;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// Deadlines are below this, in ms.
const TIME_MS: u64 = 1000;

/// Fields that are set, moved, removed and pruned: flat, in a table and in a map there are the same ones, and they die at the same times.
pub fn hash(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let hasher = hasher();
    let (mut model, mut table) = (Model::new(), FieldTable::new());
    let mut flat = Some(empty());
    while !input.is_empty() {
        let action = input.byte();
        let name = input.name();
        let deadline_ms = if action & 0x80 == 0 { NEVER } else { u64::from(input.short()) % TIME_MS + 1 };
        match action % 6 {
            0..=2 => {
                let value = input.value();
                let field = Field { name: &name, value: &value, deadline_ms };
                let new = model.insert(name.clone(), (value.clone(), deadline_ms)).is_none();
                assert_eq!(table.set(hasher.field(&name), &name, &value, deadline_ms), new);
                flat = flat.and_then(|flat| {
                    let (object, was_new) = set_flat(flat.bytes(), &hasher, field, NEVER);
                    assert_eq!(was_new, new);
                    grown(object, &model, &hasher)
                });
            }
            3 => {
                let there = model.remove(&name).is_some();
                assert_eq!(table.remove(hasher.field(&name), &name), there);
                flat = flat.map(|flat| without(&flat, &name, there));
            }
            4 => {
                let there = model.get_mut(&name).map(|field| field.1 = deadline_ms).is_some();
                assert_eq!(table.set_deadline(hasher.field(&name), &name, deadline_ms), there);
                flat = flat.and_then(|flat| match Fields::of(flat.bytes()).find(&name) {
                    None => {
                        assert!(!there);
                        Some(flat)
                    }
                    Some(found) => {
                        let field = Field { name: &name, value: found.value, deadline_ms };
                        grown(set_flat(flat.bytes(), &hasher, field, NEVER).0, &model, &hasher)
                    }
                });
            }
            _ => {
                let now_ms = u64::from(input.short()) % TIME_MS;
                let dead = model.values().filter(|field| field.1 <= now_ms).count();
                let limit = input.below(60);
                assert_eq!(table.live_len(now_ms), model.len() - dead);
                assert_eq!(table.nth_live(model.len() - dead, now_ms), None);
                if let Some(last) = (model.len() - dead).checked_sub(1) {
                    assert!(table.nth_live(last, now_ms).is_some_and(|field| field.deadline_ms > now_ms));
                }
                // The flat form is pruned as a whole.
                if dead <= limit {
                    assert_eq!(table.prune(now_ms, limit), dead);
                    let names: Vec<_> = model.extract_if(.., |_, field| field.1 <= now_ms).collect();
                    for (name, _) in names {
                        flat = flat.map(|flat| without(&flat, &name, true));
                    }
                }
            }
        }
        assert_eq!(table.len(), model.len());
        assert_eq!(times(table.deaths()), expected_times(&model));
        let field =
            table.get(hasher.field(&name), &name).map(|field| (field.value.to_vec(), field.deadline_ms));
        assert_eq!(field.as_ref(), model.get(&name));
    }
    assert_eq!(content(&table), model);
    assert_eq!(content(&table.clone()), model);
    if let Some(flat) = flat {
        assert_flat_is(flat.bytes(), &model);
    }
    // What the table writes is a flat hash again.
    let mut encoded = empty().bytes().to_vec();
    table.encode(0, &mut encoded);
    assert_flat_is(&encoded, &model);
    assert_eq!(content(&FieldTable::of(Fields::of(&encoded).iter(), NEVER, &hasher)), model);
}

fn empty() -> Packed {
    let mut flat = Vec::new();
    layout::put_head(&mut flat, crate::Kind::Hash, 0, b"key", None);
    Packed::concat(&[&flat])
}

/// The flat object; `None` once it is none any more, after it was compared.
fn grown(object: Object, model: &Model, hasher: &KeyHasher) -> Option<Packed> {
    match object {
        Object::Packed(flat) => Some(flat),
        Object::Structured(structured) => {
            let mut encoded = Vec::new();
            structured.encode(&mut encoded);
            assert_flat_is(&encoded, model);
            assert_eq!(content(&FieldTable::of(Fields::of(&encoded).iter(), NEVER, hasher)), *model);
            None
        }
        Object::Idle(_) | Object::Cold { .. } => panic!("a change makes no such object"),
    }
}

fn without(flat: &Packed, name: &[u8], there: bool) -> Packed {
    let flat = flat.bytes();
    let fields = Fields::of(flat);
    let Some(found) = fields.find(name) else {
        assert!(!there);
        return Packed::concat(&[flat]);
    };
    assert!(there);
    if !fields.are_timed() {
        return Packed::concat(&[&flat[..found.start], &flat[found.end..]]);
    }
    let rest: SmallVec<[Field<'_>; 16]> = fields.iter().filter(|field| field.name != name).collect();
    let timed = rest.iter().any(|field| field.deadline_ms != NEVER);
    let mut out = Vec::new();
    packed_hash::put_all(&mut out, Head::of(flat, NEVER), timed, rest.into_iter());
    Packed::concat(&[&out])
}

fn assert_flat_is(flat: &[u8], model: &Model) {
    assert_eq!(layout::check(flat).is_some(), !model.is_empty(), "there is no hash without fields");
    let fields = Fields::of(flat);
    assert_eq!(fields.len(), model.len());
    let all: Model =
        fields.iter().map(|field| (field.name.to_vec(), (field.value.to_vec(), field.deadline_ms))).collect();
    assert_eq!(all, *model);
    if !model.is_empty() {
        assert_eq!(times(fields.deaths().filter(|deaths| deaths.first_ms != NEVER)), expected_times(model));
    }
    for name in model.keys() {
        let found = fields.find(name).expect("there");
        assert_eq!((found.value, found.deadline_ms), (&model[name].0[..], model[name].1));
    }
    let live = fields.live(TIME_MS / 2).count();
    assert_eq!(live, model.values().filter(|field| field.1 > TIME_MS / 2).count());
}

fn content(table: &FieldTable) -> Model {
    let mut all = Model::new();
    table.for_each(&mut |field| {
        let twice = all.insert(field.name.to_vec(), (field.value.to_vec(), field.deadline_ms));
        assert!(twice.is_none(), "a field is there twice");
    });
    all
}

fn times(deaths: Option<Deaths>) -> Option<(u64, u64)> {
    deaths.map(|deaths| (deaths.first_ms, deaths.last_ms))
}

fn expected_times(model: &Model) -> Option<(u64, u64)> {
    let deadlines = || model.values().map(|field| field.1);
    let first_ms = deadlines().min().filter(|&first_ms| first_ms != NEVER)?;
    Some((first_ms, deadlines().max().unwrap_or(NEVER)))
}
