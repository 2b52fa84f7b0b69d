//! Changes of sorted sets.

use super::{Applied, Change, Inverse};
use crate::key::KeyHasher;
use crate::object::{
    Body, Object, Packed, SortedSet, Structured, View, layout, packed_sorted_set, sorted_run,
};
use crate::shard::Shard;
use crate::table::Place;
use crate::varint;
use std::cell::Cell;
use std::sync::Arc;

/// A change of a sorted set; it leaves at least one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortedSetChange<'a> {
    /// Members get these scores, whether they were there or not: a [run](sorted_run) in any order. Of a member that is in it twice the last one counts.
    SetScores { run: &'a [u8] },
    /// Members are gone: each a slice.
    Remove { members: &'a [u8] },
    /// So many members from this rank on are gone.
    RemoveRanks { start: u64, count: u64 },
}

const SET_SCORES: u8 = 0;
const REMOVE: u8 = 1;
const REMOVE_RANKS: u8 = 2;

/// A buffer that has grown beyond this is not kept.
const SCRATCH_BYTES_KEPT: usize = 32 << 10;

thread_local! {
    /// Where the next flat sorted set of this thread is put together.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The members of a checked [`SortedSetChange::Remove`].
fn slices(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || varint::take_slice(&mut rest))
}

impl<'a> SortedSetChange<'a> {
    /// Appends it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            SortedSetChange::SetScores { run } => {
                out.push(SET_SCORES);
                varint::put_slice(out, run);
            }
            SortedSetChange::Remove { members } => {
                out.push(REMOVE);
                varint::put_slice(out, members);
            }
            SortedSetChange::RemoveRanks { start, count } => {
                out.push(REMOVE_RANKS);
                varint::put(out, start);
                varint::put(out, count);
            }
        }
    }

    /// Takes one off the front of bytes from outside.
    pub(super) fn take(rest: &mut &'a [u8]) -> Option<SortedSetChange<'a>> {
        let (&code, after) = rest.split_first()?;
        *rest = after;
        Some(match code {
            SET_SCORES => {
                let run = varint::take_slice(rest)?;
                sorted_run::check(run)?;
                SortedSetChange::SetScores { run }
            }
            REMOVE => {
                let members = varint::take_slice(rest)?;
                let whole =
                    slices(members).map(|member| varint::Bytes::of(member.len()).len() + member.len());
                // A length in more bytes than it needs is not ours.
                if whole.sum::<usize>() != members.len() {
                    return None;
                }
                SortedSetChange::Remove { members }
            }
            REMOVE_RANKS => {
                SortedSetChange::RemoveRanks { start: varint::take(rest)?, count: varint::take(rest)? }
            }
            _ => return None,
        })
    }
}

/// The ranks to remove of so many members; empty if they don't fit, or are all.
fn ranks(start: u64, count: u64, members: usize) -> std::ops::Range<usize> {
    match (usize::try_from(start), usize::try_from(count)) {
        (Ok(start), Ok(count)) if count < members && start <= members - count => start..start + count,
        _ => 0..0,
    }
}

/// Applies it; whether any member is new.
pub(super) fn apply(
    shard: &mut Shard,
    place: Place,
    hasher: &KeyHasher,
    change: SortedSetChange<'_>,
) -> Applied {
    let View::Packed(flat) = shard.entry(place).view() else {
        let new = shard.change(place, |handle| match handle.structured_mut() {
            Some(Structured { body: Body::SortedSet(set), .. }) => apply_structured(set, hasher, change),
            _ => false,
        });
        return Applied { new, garbage: None };
    };
    match change_flat(flat, hasher, change) {
        Some((object, new)) => Applied { new, garbage: Some(shard.replace(place, object)) },
        None => Applied { new: false, garbage: None },
    }
}

fn apply_structured(set: &mut SortedSet, hasher: &KeyHasher, change: SortedSetChange<'_>) -> bool {
    match change {
        SortedSetChange::SetScores { run } => sorted_run::iter(run)
            .fold(false, |new, (score, member)| set.set(hasher, member, score).is_none() || new),
        SortedSetChange::Remove { members } => {
            for member in slices(members) {
                if set.len() > 1 {
                    set.remove(hasher, member);
                }
            }
            false
        }
        SortedSetChange::RemoveRanks { start, count } => {
            set.remove_ranks(hasher, ranks(start, count, set.len()));
            false
        }
    }
}

/// What a flat sorted set becomes, and whether any member is new; `None` if it stays as it is.
fn change_flat(flat: &[u8], hasher: &KeyHasher, change: SortedSetChange<'_>) -> Option<(Object, bool)> {
    let head = layout::head_bytes(flat);
    let (mut count, old) = packed_sorted_set::split(&flat[head..]);
    if let SortedSetChange::RemoveRanks { start, count: removed } = change {
        let ranks = ranks(start, removed, count);
        if ranks.is_empty() {
            return None;
        }
        count -= ranks.len();
        let gone = sorted_run::bytes_of(old, ranks);
        let parts = [&flat[..head], &varint::Bytes::of(count), &old[..gone.start], &old[gone.end..]];
        return Some((Object::Packed(Packed::concat(&parts)), false));
    }
    let mut run = SCRATCH.take();
    run.clear();
    run.extend_from_slice(old);
    let before = count;
    match change {
        SortedSetChange::SetScores { run: scores } => {
            for (score, member) in sorted_run::iter(scores) {
                count += usize::from(sorted_run::set(&mut run, score, member));
            }
        }
        SortedSetChange::Remove { members } => {
            for member in slices(members) {
                if count > 1
                    && let Some(found) = sorted_run::find(&run, member)
                {
                    run.drain(found.bytes);
                    count -= 1;
                }
            }
        }
        SortedSetChange::RemoveRanks { .. } => {}
    }
    let object = object(&flat[..head], count, &run, hasher);
    if run.capacity() <= SCRATCH_BYTES_KEPT {
        SCRATCH.set(run);
    }
    Some((object, count > before))
}

/// The object with this head and these members, a sorted run: structured if it is large.
pub(crate) fn object(head: &[u8], count: usize, run: &[u8], hasher: &KeyHasher) -> Object {
    let count_bytes = varint::Bytes::of(count);
    if packed_sorted_set::is_small(count, head.len() + count_bytes.len() + run.len()) {
        return Object::Packed(Packed::concat(&[head, &count_bytes, run]));
    }
    let parts = layout::parts(head);
    let body = Body::SortedSet(SortedSet::of(run, hasher));
    Object::Structured(Arc::new(Structured::new(layout::database(head), parts.key, parts.policy, body)))
}

/// What undoes a change: what members had for scores, or that they were not there.
pub(super) fn invert(
    object: &Structured,
    hasher: &KeyHasher,
    change: SortedSetChange<'_>,
    inverse: &mut Inverse,
) {
    let Body::SortedSet(set) = &object.body else { return };
    let (mut had, mut had_not) = (Vec::new(), Vec::new());
    let mut look = |member: &[u8]| match set.score(hasher, member) {
        Some(score) => sorted_run::put(&mut had, score, member),
        None => varint::put_slice(&mut had_not, member),
    };
    match change {
        SortedSetChange::SetScores { run } => sorted_run::iter(run).for_each(|(_, member)| look(member)),
        // That a member was not there needs no undoing.
        SortedSetChange::Remove { members } => {
            slices(members).filter(|member| set.score(hasher, member).is_some()).for_each(look);
        }
        SortedSetChange::RemoveRanks { start, count } => {
            let ranks = ranks(start, count, set.len());
            set.for_each(ranks, false, &mut |member, score| sorted_run::put(&mut had, score, member));
        }
    }
    // Members come back before others go: so there is always one left.
    if !had_not.is_empty() {
        inverse.push(&Change::SortedSet(SortedSetChange::Remove { members: &had_not }));
    }
    if !had.is_empty() {
        inverse.push(&Change::SortedSet(SortedSetChange::SetScores { run: &had }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;
    use proptest::prelude::*;

    fn hasher() -> KeyHasher {
        KeyHasher::new(*b"0123456789abcdef")
    }

    fn payload(set: &SortedSet) -> Vec<u8> {
        let mut payload = Vec::new();
        set.encode(&mut payload);
        payload
    }

    fn flat_of(set: &SortedSet) -> Vec<u8> {
        let mut flat = Vec::new();
        layout::put_head(&mut flat, Kind::SortedSet, 3, b"key", None);
        set.encode(&mut flat);
        flat
    }

    fn structured(set: &SortedSet) -> Structured {
        Structured::new(3, b"key", None, Body::SortedSet(set.copy()))
    }

    /// The flat form of an object.
    fn flattened(object: &Object) -> Vec<u8> {
        match object {
            Object::Packed(packed) => packed.bytes().to_vec(),
            Object::Structured(structured) => {
                let mut flat = Vec::new();
                structured.encode(&mut flat);
                flat
            }
            Object::Idle(_) | Object::Cold { .. } => unreachable!("made here"),
        }
    }

    /// A change as the log has it, without its code.
    fn change() -> impl Strategy<Value = Vec<u8>> {
        let member = (0u8..30, 0usize..3).prop_map(|(byte, length)| vec![byte; length]);
        let score = (-4i32..4).prop_map(f64::from);
        prop_oneof![
            3 => proptest::collection::vec((score, member.clone()), 1..12).prop_map(|entries| {
                let mut run = Vec::new();
                entries.iter().for_each(|(score, member)| sorted_run::put(&mut run, *score, member));
                encoded(SortedSetChange::SetScores { run: &run })
            }),
            1 => proptest::collection::vec(member, 0..20).prop_map(|members| {
                let mut slices = Vec::new();
                members.iter().for_each(|member| varint::put_slice(&mut slices, member));
                encoded(SortedSetChange::Remove { members: &slices })
            }),
            1 => (0u64..20, 0u64..20)
                .prop_map(|(start, count)| encoded(SortedSetChange::RemoveRanks { start, count })),
        ]
    }

    fn encoded(change: SortedSetChange<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        change.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn both_forms_become_the_same_and_what_was_done_is_undone(
            changes in proptest::collection::vec(change(), 1..20),
        ) {
            let hasher = hasher();
            let mut first = Vec::new();
            sorted_run::put(&mut first, 0.5, b"first");
            let mut set = SortedSet::of(&first, &hasher);
            for bytes in changes {
                let mut rest = &bytes[..];
                let change = SortedSetChange::take(&mut rest).expect("made here");
                prop_assert!(rest.is_empty());
                let (before, flat, object) = (payload(&set), flat_of(&set), structured(&set));
                let mut inverse = Inverse::default();
                invert(&object, &hasher, change, &mut inverse);

                let expected = change_flat(&flat, &hasher, change);
                let new = apply_structured(&mut set, &hasher, change);
                let (expected, flat_new) = match &expected {
                    Some((object, new)) => (flattened(object), *new),
                    None => (flat.clone(), false),
                };
                prop_assert_eq!(flat_of(&set), expected);
                prop_assert_eq!(new, flat_new);
                prop_assert!(layout::check(&flat_of(&set)).is_some());

                let mut back = set.copy();
                for undo in inverse.since(0) {
                    let Change::SortedSet(undo) = undo else { panic!("another kind: {undo:?}") };
                    apply_structured(&mut back, &hasher, undo);
                }
                prop_assert_eq!(payload(&back), before);
            }
        }

        #[test]
        fn any_bytes_are_taken_and_applied_without_a_panic(
            code in 0u8..4, mut bytes: Vec<u8>, members in 1usize..200,
        ) {
            let hasher = hasher();
            let mut run = Vec::new();
            (0..members).for_each(|n| sorted_run::put(&mut run, n as f64, &n.to_le_bytes()));
            let mut set = SortedSet::of(&run, &hasher);
            bytes.insert(0, code);
            if let Some(change) = SortedSetChange::take(&mut &bytes[..]) {
                change_flat(&flat_of(&set), &hasher, change);
                apply_structured(&mut set, &hasher, change);
                prop_assert!(set.len() > 0);
            }
        }

        #[test]
        fn any_payload_is_checked_without_a_panic(bytes: Vec<u8>, count in 0u8..4) {
            let mut flat = Vec::new();
            layout::put_head(&mut flat, Kind::SortedSet, 0, b"", None);
            flat.push(count);
            flat.extend_from_slice(&bytes);
            if layout::check(&flat).is_some() {
                SortedSet::of(&bytes, &hasher());
            }
        }
    }

    #[test]
    fn a_score_that_is_no_number_is_refused() {
        let mut run = Vec::new();
        sorted_run::put(&mut run, f64::NAN, b"member");
        assert!(SortedSetChange::take(&mut &encoded(SortedSetChange::SetScores { run: &run })[..]).is_none());
        let mut flat = Vec::new();
        layout::put_head(&mut flat, Kind::SortedSet, 0, b"", None);
        flat.push(1);
        flat.extend_from_slice(&run);
        assert!(layout::check(&flat).is_none());
    }
}
