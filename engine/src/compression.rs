//! Compression of objects: zstd with a dictionary trained on live sessions.
//!
//! Frames are as short as zstd allows: no magic number, no content size, no checksum, no dictionary id. Who stores one keeps the raw length
//! and the dictionary's id beside it, and a checksum over it. What it must never do: trust a length from a disk with more memory than the
//! frame can fill.

use crate::dictionary::Dictionary;
use crate::limits::{BUFFER_BYTES_KEPT, OBJECT_BYTES_MAX};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, FrameFormat, ResetDirective, SafeResult};

/// What a compressed form may take at most of a raw one: it must be an eighth smaller, or reading it isn't worth the decoding.
pub(crate) fn compressed_bytes_max(raw_bytes: usize) -> usize {
    raw_bytes - raw_bytes.div_ceil(8)
}

/// With a 16 KiB dictionary level 3 stores a session of 340 bytes in 102 and a chat of 2 KB in 822, in 1.3 and 10 µs; level 1 in 103 and 867, in
/// 1.0 and 8 µs. Higher ones gain nothing on either. All decode at the same speed.
const LEVEL: i32 = 3;

/// A block of zstd has at least three bytes of header and one of content, and at most 128 KiB come out of it.
const BLOCK_BYTES_MIN: u64 = 4;
const BLOCK_RAW_BYTES_MAX: u64 = 128 << 10;

/// Compresses and decompresses, for one thread at a time. It keeps zstd's working memory: 94 KiB once it has decompressed, 53 KiB and a dictionary
/// once it has compressed sessions, and 1.3 MiB for as long as zstd thinks that more large objects may come.
#[derive(Default)]
pub(crate) struct Compressor {
    encoder: Option<Encoder>,
    decoder: Option<DCtx<'static>>,
    frame: Vec<u8>,
}

struct Encoder {
    context: CCtx<'static>,
    /// The [serial](Dictionary::serial) of the dictionary it has digested, if it has none 0; `None` if that is unknown.
    loaded: Option<u64>,
}

impl Encoder {
    fn new(level: i32) -> Option<Encoder> {
        let mut context = CCtx::try_create()?;
        let parameters = [
            CParameter::CompressionLevel(level),
            CParameter::Format(FrameFormat::Magicless),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ];
        for parameter in parameters {
            context.set_parameter(parameter).ok()?;
        }
        Some(Encoder { context, loaded: Some(0) })
    }

    fn compress(&mut self, dictionary: Option<&Dictionary>, raw: &[u8], frame: &mut Vec<u8>) -> SafeResult {
        let wanted = dictionary.map_or(0, Dictionary::serial);
        if self.loaded != Some(wanted) {
            // Digesting takes as long as compressing a hundred sessions; a thread that writes stays with one dictionary.
            self.loaded = None;
            // A frame that didn't fit its buffer leaves the context in the middle of it, where it takes no dictionary.
            self.context.reset(ResetDirective::SessionOnly)?;
            self.context.load_dictionary(dictionary.map_or(&[][..], Dictionary::bytes))?;
            self.loaded = Some(wanted);
        }
        self.context.compress2(frame, raw)
    }
}

impl Compressor {
    /// One without any working memory yet.
    pub(crate) fn new() -> Compressor {
        Compressor::default()
    }

    #[cfg(test)]
    pub(crate) fn with_level(level: i32) -> Compressor {
        Compressor { encoder: Encoder::new(level), ..Compressor::default() }
    }

    /// The frame of some bytes; `None` if it isn't at least an eighth smaller than they are.
    pub(crate) fn compress(&mut self, dictionary: Option<&Dictionary>, raw: &[u8]) -> Option<&[u8]> {
        let frame_bytes_max = compressed_bytes_max(raw.len());
        if self.encoder.is_none() {
            self.encoder = Encoder::new(LEVEL);
        }
        let encoder = self.encoder.as_mut()?;
        reserve(&mut self.frame, frame_bytes_max).ok()?;
        // An error is that of a frame too long for the buffer, or a lack of memory: the bytes stay raw either way.
        encoder.compress(dictionary, raw, &mut self.frame).ok()?;
        (self.frame.len() <= frame_bytes_max).then_some(&self.frame[..])
    }

    /// Puts the content of a frame of `raw_bytes` bytes in place of what `out` holds.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub(crate) fn decompress(
        &mut self,
        dictionary: Option<&Dictionary>,
        frame: &[u8],
        raw_bytes: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let possible = (frame.len() as u64 / BLOCK_BYTES_MIN).saturating_mul(BLOCK_RAW_BYTES_MAX);
        if raw_bytes > OBJECT_BYTES_MAX.min(possible) {
            return Err("the raw length is more than the compressed bytes can hold");
        }
        let raw_bytes = usize::try_from(raw_bytes).map_err(|_| "the raw length is too large")?;
        const NO_MEMORY: &str = "there is no memory to decompress it";
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            empty => empty.insert(decoder().ok_or(NO_MEMORY)?),
        };
        reserve(out, raw_bytes).map_err(|_| NO_MEMORY)?;
        let done = match dictionary {
            Some(dictionary) => decoder.decompress_using_ddict(out, frame, dictionary.decoder()),
            None => decoder.decompress(out, frame),
        };
        match done {
            Ok(length) if length == raw_bytes => Ok(()),
            Ok(_) => Err("the raw length is not that of the compressed bytes"),
            Err(_) => Err("the compressed bytes can't be read"),
        }
    }
}

fn decoder() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    context.set_parameter(DParameter::Format(FrameFormat::Magicless)).ok()?;
    Some(context)
}

/// Empties a buffer and makes sure that `bytes` fit.
fn reserve(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), std::collections::TryReserveError> {
    buffer.clear();
    if buffer.capacity() > bytes.max(BUFFER_BYTES_KEPT) {
        buffer.shrink_to(bytes.max(BUFFER_BYTES_KEPT));
    }
    buffer.try_reserve_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dictionary() -> Dictionary {
        Dictionary::new(1, b"{\"user\":{\"id\":,\"name\":\"\",\"email\":\"@example.com\"}}".to_vec())
            .expect("a dictionary")
    }

    #[test]
    fn a_frame_is_only_kept_if_it_is_an_eighth_smaller() {
        let mut compressor = Compressor::new();
        let noise: Vec<u8> = (0..400u32).flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
        assert!(compressor.compress(None, &noise).is_none());
        assert!(compressor.compress(None, b"").is_none());
        assert!(compressor.compress(None, b"short").is_none());
        let zeros = [0; 10_000];
        assert!(compressor.compress(None, &zeros).expect("compresses").len() < 30);
    }

    #[test]
    fn a_wrong_dictionary_or_length_is_an_error_and_not_other_bytes() {
        let (mut compressor, dictionary) = (Compressor::new(), dictionary());
        let raw = b"{\"user\":{\"id\":7,\"name\":\"x\",\"email\":\"x@example.com\"}}";
        let frame = compressor.compress(Some(&dictionary), raw).expect("compresses").to_vec();
        let mut out = Vec::new();
        compressor.decompress(Some(&dictionary), &frame, raw.len() as u64, &mut out).expect("decompresses");
        assert_eq!(out, raw);
        for wrong in [0, 1, raw.len() as u64 - 1, raw.len() as u64 + 1, u64::MAX] {
            assert!(compressor.decompress(Some(&dictionary), &frame, wrong, &mut out).is_err(), "{wrong}");
        }
        assert!(compressor.decompress(None, &frame, raw.len() as u64, &mut out).is_err());
        // And it works on after errors.
        compressor.decompress(Some(&dictionary), &frame, raw.len() as u64, &mut out).expect("decompresses");
        assert_eq!(out, raw);
    }

    #[test]
    fn a_frame_that_did_not_fit_does_not_keep_a_compressor_from_another_dictionary() {
        let (mut compressor, dictionary) = (Compressor::new(), dictionary());
        let noise: Vec<u8> = (0..400u32).flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
        let like = b"{\"user\":{\"id\":7,\"name\":\"x\",\"email\":\"x@example.com\"}}";
        for _ in 0..3 {
            assert!(compressor.compress(None, &noise).is_none());
            assert!(compressor.compress(Some(&dictionary), like).is_some());
            assert!(compressor.compress(Some(&dictionary), &noise).is_none());
            assert!(compressor.compress(None, like).is_none());
        }
    }

    #[test]
    fn a_buffer_does_not_stay_as_large_as_the_largest_value_was() {
        let mut compressor = Compressor::new();
        let large = vec![1; 16 << 20];
        let frame = compressor.compress(None, &large).expect("compresses").to_vec();
        let mut out = Vec::new();
        compressor.decompress(None, &frame, large.len() as u64, &mut out).expect("decompresses");
        assert!(out == large);
        let frame = compressor.compress(None, &[7; 1000]).expect("compresses").to_vec();
        assert!(compressor.frame.capacity() <= BUFFER_BYTES_KEPT);
        compressor.decompress(None, &frame, 1000, &mut out).expect("decompresses");
        assert!(out.capacity() <= BUFFER_BYTES_KEPT);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(raw: Vec<u8>, repeated in 1usize..9, with_dictionary: bool) {
            let (mut compressor, dictionary) = (Compressor::new(), dictionary());
            let dictionary = with_dictionary.then_some(&dictionary);
            let raw = raw.repeat(repeated);
            if let Some(frame) = compressor.compress(dictionary, &raw).map(<[u8]>::to_vec) {
                prop_assert!(frame.len() <= compressed_bytes_max(raw.len()));
                let mut out = vec![1, 2, 3];
                prop_assert_eq!(compressor.decompress(dictionary, &frame, raw.len() as u64, &mut out), Ok(()));
                prop_assert_eq!(out, raw);
            }
        }

        #[test]
        fn any_frame_is_decompressed_without_a_panic(frame: Vec<u8>, raw_bytes in 0u64..1_000_000, header: bool) {
            let frame = if header { [&[0, 0x50][..], &frame].concat() } else { frame };
            let (mut compressor, mut out) = (Compressor::new(), Vec::new());
            if compressor.decompress(None, &frame, raw_bytes, &mut out).is_ok() {
                prop_assert_eq!(out.len() as u64, raw_bytes);
            }
        }
    }
}
