//! The compressed form that the value of an idle session has in memory: its key stays readable, its payload is a zstd frame.
//!
//! ```text
//! tag u8, with 0x20 │ database u8 │ key length varint │ key │ [idle ms u64 │ absolute ms u64]
//!   │ dictionary id varint │ raw payload length varint │ frame
//! ```
//!
//! Up to the payload it is the [flat form](crate::object::layout), so that finding a key needs no decompression. It never leaves memory:
//! [`layout::check`] refuses it.

use crate::Error;
use crate::compression::{Compressor, compressed_bytes_max};
use crate::dictionary::Dictionary;
use crate::object::{Packed, layout};
use crate::segment::Scratch;
use crate::varint;

/// In the tag: the payload is compressed.
pub(crate) const COMPRESSED: u8 = 0x20;

/// The compressed form of a flat object; `None` if it is not at least an eighth smaller.
pub(crate) fn pack(dictionary: &Dictionary, flat: &[u8], compressor: &mut Compressor) -> Option<Packed> {
    let (head, payload) = flat.split_at(layout::head_bytes(flat));
    let (tag, head) = head.split_first()?;
    let frame = compressor.compress(Some(dictionary), payload)?;
    let id = varint::Bytes::of(dictionary.id() as usize);
    let length = varint::Bytes::of(payload.len());
    let packed_bytes = 1 + head.len() + id.len() + length.len() + frame.len();
    let fits = packed_bytes <= compressed_bytes_max(flat.len());
    fits.then(|| Packed::concat(&[&[tag | COMPRESSED], head, &id, &length, frame]))
}

/// Whether an object in memory is in the compressed form.
#[cfg(test)]
pub(crate) fn is_packed(object: &[u8]) -> bool {
    object.first().is_some_and(|tag| tag & COMPRESSED != 0)
}

/// A compressed object, taken apart.
struct Parts<'a> {
    head: &'a [u8],
    dictionary_id: u32,
    payload_bytes: u64,
    frame: &'a [u8],
}

fn parts(packed: &[u8]) -> Option<Parts<'_>> {
    let (head, rest) = packed.split_at(layout::head_bytes(packed));
    let (id, used) = varint::get(rest)?;
    let rest = &rest[used..];
    let (payload_bytes, used) = varint::get(rest)?;
    Some(Parts { head, dictionary_id: u32::try_from(id).ok()?, payload_bytes, frame: &rest[used..] })
}

/// The dictionary that a compressed object needs.
pub(crate) fn dictionary_id(packed: &[u8]) -> Option<u32> {
    parts(packed).map(|parts| parts.dictionary_id)
}

/// Puts the payload of a compressed object in place of what `payload` holds: enough to answer a read.
///
/// # Errors
/// What is wrong: the dictionary is another one, or memory was damaged.
#[cfg(test)]
pub(crate) fn payload(
    dictionary: &Dictionary,
    packed: &[u8],
    compressor: &mut Compressor,
    payload: &mut Vec<u8>,
) -> Result<(), &'static str> {
    decompress(dictionary, packed, compressor, payload).map(drop)
}

fn decompress<'p>(
    dictionary: &Dictionary,
    packed: &'p [u8],
    compressor: &mut Compressor,
    payload: &mut Vec<u8>,
) -> Result<Parts<'p>, &'static str> {
    let parts = parts(packed).ok_or("the compressed object can't be taken apart")?;
    if parts.dictionary_id != dictionary.id() {
        return Err("it was compressed with another dictionary");
    }
    compressor.decompress(Some(dictionary), parts.frame, parts.payload_bytes, payload)?;
    Ok(parts)
}

/// The flat form of a compressed object. `working` is memory to work in.
///
/// # Errors
/// What is wrong: the dictionary is another one, or memory was damaged.
pub(crate) fn unpack(
    dictionary: &Dictionary,
    packed: &[u8],
    compressor: &mut Compressor,
    working: &mut Vec<u8>,
) -> Result<Packed, &'static str> {
    let parts = decompress(dictionary, packed, compressor, working)?;
    let (tag, head) = parts.head.split_first().ok_or("the compressed object has no head")?;
    Ok(Packed::concat(&[&[tag & !COMPRESSED], head, working]))
}

/// The flat form of a compressed object, with whichever dictionary it needs.
///
/// # Errors
/// [`Error::DamagedMemory`]: not what was put there.
pub(crate) fn read(dictionary: Option<&Dictionary>, packed: &[u8]) -> Result<Packed, Error> {
    let damaged = |reason| Error::DamagedMemory { reason };
    let dictionary = dictionary.ok_or(damaged("its dictionary is not known"))?;
    Scratch::of_thread(|scratch| {
        unpack(dictionary, packed, &mut scratch.compressor, &mut scratch.object).map_err(damaged)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Policy;
    use crate::segment::samples::{flat, noise, session, sessions, slices};
    use proptest::prelude::*;
    use std::sync::OnceLock;

    fn dictionary() -> &'static Dictionary {
        static DICTIONARY: OnceLock<Dictionary> = OnceLock::new();
        DICTIONARY.get_or_init(|| {
            let sessions = sessions(0..2000);
            Dictionary::train(300, &slices(&sessions), 4 << 10).expect("alike").0
        })
    }

    fn unpacked(packed: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (mut compressor, mut working) = (Compressor::new(), vec![1, 2, 3]);
        let flat = unpack(dictionary(), packed, &mut compressor, &mut working)?.bytes().to_vec();
        payload(dictionary(), packed, &mut compressor, &mut working)?;
        assert_eq!(working, flat[layout::head_bytes(&flat)..]);
        Ok(flat)
    }

    #[test]
    fn a_session_takes_half_as_much_and_its_key_stays_readable() {
        let flat = session(9000);
        let packed = pack(dictionary(), &flat, &mut Compressor::new()).expect("compresses");
        let packed = packed.bytes();
        assert!(packed.len() * 2 < flat.len(), "{} of {}", packed.len(), flat.len());
        assert!(is_packed(packed) && !is_packed(&flat));
        assert!(layout::is_of(packed, layout::database(&flat), layout::parts(&flat).key));
        assert_eq!(layout::kind(packed), layout::kind(&flat));
        assert_eq!(dictionary_id(packed), Some(300));
        assert!(layout::check(packed).is_none(), "it must not leave memory");
        assert_eq!(unpacked(packed), Ok(flat));
    }

    #[test]
    fn what_does_not_compress_stays_as_it_is() {
        assert!(pack(dictionary(), &flat("key", &noise(1, 300), None), &mut Compressor::new()).is_none());
        assert!(pack(dictionary(), &flat("key", b"", None), &mut Compressor::new()).is_none());
        // The payload alone would be smaller by an eighth, the whole is not.
        let long_key = "k".repeat(5000);
        assert!(pack(dictionary(), &flat(&long_key, &[7; 300], None), &mut Compressor::new()).is_none());
    }

    #[test]
    fn another_dictionary_is_an_error() {
        let packed = pack(dictionary(), &session(1), &mut Compressor::new()).expect("compresses");
        let other = Dictionary::new(301, b"another".to_vec()).expect("a dictionary");
        let (mut compressor, mut working) = (Compressor::new(), Vec::new());
        assert!(unpack(&other, packed.bytes(), &mut compressor, &mut working).is_err());
        assert!(payload(&other, packed.bytes(), &mut compressor, &mut working).is_err());
    }

    proptest! {
        #[test]
        fn any_object_comes_back(
            policy: Option<(u64, u64)>, key in "[a-z]{0,40}", value: Vec<u8>, repeated in 1usize..20,
        ) {
            let policy = policy.map(|(idle_ms, absolute_ms)| Policy { idle_ms, absolute_ms });
            let flat = flat(&key, &value.repeat(repeated), policy);
            if let Some(packed) = pack(dictionary(), &flat, &mut Compressor::new()) {
                let packed = packed.bytes();
                prop_assert!(packed.len() <= compressed_bytes_max(flat.len()));
                prop_assert_eq!(layout::parts(packed).policy, policy);
                prop_assert_eq!(unpacked(packed), Ok(flat));
            }
        }

        #[test]
        fn damaged_memory_is_no_panic(session_number in 0u64..100, at in 40usize..200, byte: u8) {
            let packed = pack(dictionary(), &session(session_number), &mut Compressor::new());
            let mut packed = packed.expect("compresses").bytes().to_vec();
            let at = at.min(packed.len() - 1);
            packed[at] = byte;
            let _ = unpacked(&packed);
        }
    }
}
