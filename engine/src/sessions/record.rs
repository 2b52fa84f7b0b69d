//! What a session's hash holds beside the caller's fields. `docs/formats.md` specifies the bytes.
//!
//! ```text
//! "\0"    made once: version u8 │ flags u8 │ verifier 16 │ class u32 │ generation u32 │ created ms u64 │ grace s u32
//!           │ [handle 16, if rotated] │ [user: slice] │ meta: the rest
//! "\0v"   changes: version u64 │ fence u64 │ seen ms u64
//! ```
//!
//! Idle and absolute limits are the object's own policy, its deadline is the entry's. The caller's fields are under their names; in front of
//! one that begins with a zero byte there is another, so that none is taken for one of these.

use super::token::{Handle, ID_BYTES, Id};
use crate::object::packed_hash::Fields;
use crate::object::{Body, Structured, View};
use crate::varint;
use smallvec::SmallVec;

/// The field that is made once.
pub(super) const HEADER: &[u8] = b"\0";
/// The field of what changes.
pub(super) const VARYING: &[u8] = b"\0v";
const RECORD_VERSION: u8 = 1;
const ROTATED: u8 = 1;
const HAS_USER: u8 = 2;
const FIXED_BYTES: usize = 2 + ID_BYTES + 4 + 4 + 8 + 4;
pub(super) const VARYING_BYTES: usize = 24;

/// The field that is made once, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Header<'a> {
    pub(super) verifier: [u8; ID_BYTES],
    pub(super) class: u32,
    pub(super) generation: u32,
    pub(super) created_ms: u64,
    pub(super) grace_s: u32,
    /// `None`: the key.
    pub(super) handle: Option<Id>,
    pub(super) user: Option<&'a [u8]>,
    pub(super) meta: &'a [u8],
}

impl<'a> Header<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let user = self.user.unwrap_or_default();
        let mut out = Vec::with_capacity(FIXED_BYTES + ID_BYTES + 10 + user.len() + self.meta.len());
        let rotated = if self.handle.is_some() { ROTATED } else { 0 };
        out.extend_from_slice(&[RECORD_VERSION, rotated | if self.user.is_some() { HAS_USER } else { 0 }]);
        out.extend_from_slice(&self.verifier);
        out.extend_from_slice(&self.class.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.grace_s.to_le_bytes());
        out.extend(self.handle.iter().flatten());
        if let Some(user) = self.user {
            varint::put_slice(&mut out, user);
        }
        out.extend_from_slice(self.meta);
        out
    }

    /// `None` if the bytes are of another version, or damaged.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Header<'a>> {
        let (fixed, mut rest) = bytes.split_first_chunk::<FIXED_BYTES>()?;
        let (&[version, flags], fixed) = fixed.split_first_chunk::<2>()?;
        if version != RECORD_VERSION || flags & !(ROTATED | HAS_USER) != 0 {
            return None;
        }
        let mut fixed = Numbers(fixed);
        let verifier = fixed.array()?;
        let (class, generation) = (u32::from_le_bytes(fixed.array()?), u32::from_le_bytes(fixed.array()?));
        let (created_ms, grace_s) = (u64::from_le_bytes(fixed.array()?), u32::from_le_bytes(fixed.array()?));
        let mut handle = None;
        if flags & ROTATED != 0 {
            let (id, after) = rest.split_first_chunk::<ID_BYTES>()?;
            (handle, rest) = (Some(*id), after);
        }
        let user = if flags & HAS_USER != 0 { Some(varint::take_slice(&mut rest)?) } else { None };
        Some(Header { verifier, class, generation, created_ms, grace_s, handle, user, meta: rest })
    }

    /// The handle of the session that is under this key.
    pub(super) fn handle_of(&self, key: &Id) -> Handle {
        Handle(self.handle.unwrap_or(*key))
    }
}

/// Takes numbers off the front of bytes.
pub(super) struct Numbers<'a>(pub(super) &'a [u8]);

impl Numbers<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn short(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Varying {
    /// Counts changes of fields, from 1.
    pub(super) version: u64,
    /// Counts leases.
    pub(super) fence: u64,
    /// When it was last touched, at the latest when this was written: where the deadline does not say it.
    pub(super) seen_ms: u64,
}

impl Varying {
    pub(super) fn encode(&self) -> [u8; VARYING_BYTES] {
        let mut bytes = [0; VARYING_BYTES];
        for (part, number) in bytes.chunks_exact_mut(8).zip([self.version, self.fence, self.seen_ms]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Varying> {
        let mut numbers = Numbers(bytes);
        let varying = Varying { version: numbers.long()?, fence: numbers.long()?, seen_ms: numbers.long()? };
        numbers.0.is_empty().then_some(varying)
    }
}

/// A session's hash, taken apart; the caller's fields are looked at where they are.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) header: Header<'a>,
    pub(super) varying: Varying,
    pub(super) idle_ms: u64,
    /// `u64::MAX` for none.
    pub(super) absolute_ms: u64,
    view: View<'a>,
    hash_of: &'a crate::key::KeyHasher,
}

impl<'a> Record<'a> {
    /// `None` if it is no session that this build knows.
    pub(super) fn of(view: View<'a>, hasher: &'a crate::key::KeyHasher) -> Option<Record<'a>> {
        let (header, varying) = match view {
            View::Packed(flat) => {
                // They are the first two, in this order, as they were put.
                let mut fields = Fields::of(flat).iter();
                let (first, second) = (fields.next()?, fields.next()?);
                if first.name == HEADER && second.name == VARYING {
                    (first.value, second.value)
                } else {
                    let fields = Fields::of(flat);
                    (fields.find(HEADER)?.value, fields.find(VARYING)?.value)
                }
            }
            View::Structured(Structured { body: Body::Hash(fields), .. }) => {
                let value = |name| fields.get(hasher.field(name), name).map(|field| field.value);
                (value(HEADER)?, value(VARYING)?)
            }
            View::Structured(_) => return None,
        };
        let policy = view.policy();
        Some(Record {
            header: Header::decode(header)?,
            varying: Varying::decode(varying)?,
            idle_ms: policy.map_or(0, |policy| policy.idle_ms),
            absolute_ms: policy.map_or(u64::MAX, |policy| policy.absolute_ms),
            view,
            hash_of: hasher,
        })
    }

    /// Whether the deadline is that of the idle limit, so that it says when the session was seen.
    pub(super) fn idle_decides(&self, deadline_ms: u64) -> bool {
        self.idle_ms != 0 && deadline_ms < self.absolute_ms
    }

    /// When the session was last touched. (After a crash the deadline may be a little late, but nobody was seen in the future.)
    pub(super) fn seen_ms(&self, deadline_ms: u64, now_ms: u64) -> u64 {
        let seen_ms = if self.idle_decides(deadline_ms) {
            deadline_ms - self.idle_ms.min(deadline_ms)
        } else {
            self.varying.seen_ms
        };
        seen_ms.min(now_ms)
    }

    /// A field of the caller's.
    pub(super) fn field(&self, name: &[u8]) -> Option<&'a [u8]> {
        let name = stored_name(name);
        match self.view {
            View::Packed(flat) => Fields::of(flat).find(&name).map(|found| found.value),
            View::Structured(Structured { body: Body::Hash(fields), .. }) => {
                fields.get(self.hash_of.field(&name), &name).map(|field| field.value)
            }
            View::Structured(_) => None,
        }
    }

    /// Calls `each` with the caller's fields.
    pub(super) fn for_each_field(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let mut show = |name: &[u8], value: &[u8]| {
            if let Some(name) = callers_name(name) {
                each(name, value);
            }
        };
        match self.view {
            View::Packed(flat) => Fields::of(flat).iter().for_each(|field| show(field.name, field.value)),
            View::Structured(Structured { body: Body::Hash(fields), .. }) => {
                fields.for_each(&mut |field| show(field.name, field.value));
            }
            View::Structured(_) => {}
        }
    }
}

/// The name that a field of the caller's is kept under.
pub(super) fn stored_name(name: &[u8]) -> SmallVec<[u8; 32]> {
    let mut stored = SmallVec::new();
    if name.first() == Some(&0) {
        stored.push(0);
    }
    stored.extend_from_slice(name);
    stored
}

/// The name that the caller knows a field by; `None` for one that is not the caller's.
fn callers_name(stored: &[u8]) -> Option<&[u8]> {
    match stored {
        [0, 0, ..] => stored.get(1..),
        [0, ..] => None,
        name => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_comes_back(
            verifier: [u8; 16], class: u32, generation: u32, created_ms: u64, grace_s: u32, handle: Option<[u8; 16]>,
            user: Option<Vec<u8>>, meta: Vec<u8>, version: u64, fence: u64, seen_ms: u64,
        ) {
            let user = user.as_deref();
            let header =
                Header { verifier, class, generation, created_ms, grace_s, handle, user, meta: &meta };
            let bytes = header.encode();
            let back = Header::decode(&bytes).expect("made here");
            prop_assert_eq!(
                (back.verifier, back.class, back.generation, back.created_ms, back.grace_s),
                (verifier, class, generation, created_ms, grace_s)
            );
            prop_assert_eq!((back.handle, back.user, back.meta), (handle, user, &meta[..]));
            let varying = Varying { version, fence, seen_ms };
            prop_assert_eq!(Varying::decode(&varying.encode()), Some(varying));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = (Header::decode(&bytes), Varying::decode(&bytes));
        }

        #[test]
        fn no_name_is_taken_for_another(name: Vec<u8>) {
            let stored = stored_name(&name);
            prop_assert_eq!(callers_name(&stored), Some(&name[..]));
            prop_assert!(&stored[..] != HEADER && &stored[..] != VARYING);
        }
    }
}
