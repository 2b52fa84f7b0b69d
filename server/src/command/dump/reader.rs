//! Reads payloads of `RESTORE`: bytes from outside, of which nothing is certain.
//!
//! Nothing is allocated for a number that the bytes merely claim, and what they unfold to is bounded. What Redis would not have written (members
//! that are there twice, nothing at all, scores that are no numbers) is refused.

use super::crc64::crc64;
use super::listpack::{self, Element, take_array};
use super::stream::StreamValue;
use super::writer::types;
use super::{lzf, ziplist};
use crate::command::double::parse_double;
use std::borrow::Cow;
use std::collections::HashSet;

/// The newest version of Redis's files that is understood: that of Redis 7.4 and 8.
const VERSION_MAX: u16 = 12;
/// What an element costs beyond its bytes, in the account of what a payload unfolds to.
const ELEMENT_BYTES: usize = 32;

/// Texts, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }

    fn are_distinct(&self) -> bool {
        let mut seen = HashSet::with_capacity(self.len());
        self.iter().all(|text| seen.insert(text))
    }
}

/// What a payload stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    String(Vec<u8>),
    /// A list, first to last.
    List(Texts),
    /// A set of distinct members.
    Set(Texts),
    /// A sorted set of distinct members.
    SortedSet {
        /// The members.
        members: Texts,
        /// Their scores, none of them NaN.
        scores: Vec<f64>,
    },
    /// A hash.
    Hash {
        /// Distinct names of fields.
        names: Texts,
        /// Their values.
        values: Texts,
        /// When they die, in ms since the epoch; empty if none does.
        deadlines_ms: Vec<Option<u64>>,
    },
    /// A stream.
    Stream(Box<StreamValue>),
}

/// A payload without its version and checksum; `None` if one of them is wrong.
pub fn verify(payload: &[u8]) -> Option<&[u8]> {
    let (checked, crc) = payload.split_last_chunk::<8>()?;
    let (object, version) = checked.split_last_chunk::<2>()?;
    let sound = u16::from_le_bytes(*version) <= VERSION_MAX && crc64(checked) == u64::from_le_bytes(*crc);
    sound.then_some(object)
}

/// The string at the front of `rest`, which then begins behind it; `None` if there is none, or it is longer than `bytes_max`.
#[cfg(feature = "scripting")]
pub(crate) fn take_string(rest: &mut &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut reader = Reader { rest, left: bytes_max };
    let text = reader.string()?.into_owned();
    *rest = reader.rest;
    (text.len() <= bytes_max).then_some(text)
}

/// The value of a verified payload; `None` if it is none, or unfolds to more than about `bytes_max` bytes. What comes behind it is not looked
/// at, as in Redis.
pub fn read(object: &[u8], bytes_max: usize) -> Option<Value> {
    let mut reader = Reader { rest: object, left: bytes_max };
    let [kind] = take_array(&mut reader.rest)?;
    let value = reader.value(kind)?;
    let sound = match &value {
        Value::String(_) => true,
        Value::List(elements) => !elements.is_empty(),
        Value::Set(members) => !members.is_empty() && members.are_distinct(),
        Value::SortedSet { members, scores } => {
            !members.is_empty() && members.are_distinct() && !scores.iter().any(|score| score.is_nan())
        }
        Value::Hash { names, .. } => !names.is_empty() && names.are_distinct(),
        Value::Stream(_) => true,
    };
    sound.then_some(value)
}

/// How long something is, or another way in which a string is written.
enum Length {
    Of(u64),
    Special(u8),
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes that the payload may still unfold to.
    left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, kind: u8) -> Option<Value> {
        Some(match kind {
            types::STRING => Value::String(self.string()?.into_owned()),
            types::LIST => Value::List(self.strings()?),
            types::LIST_ZIPLIST | types::LIST_QUICKLIST | types::LIST_QUICKLIST_2 => {
                Value::List(self.list(kind)?)
            }
            types::SET => Value::Set(self.strings()?),
            types::SET_INTSET | types::SET_LISTPACK => {
                let blob = self.string()?;
                Value::Set(if kind == types::SET_INTSET {
                    self.intset(&blob)?
                } else {
                    self.texts(&blob, false)?
                })
            }
            types::ZSET | types::ZSET_2 => {
                let (mut members, mut scores) = (Texts::default(), Vec::new());
                for _ in 0..self.length()? {
                    let member = self.string()?;
                    self.push(&mut members, &member)?;
                    scores.push(if kind == types::ZSET {
                        self.score()?
                    } else {
                        f64::from_le_bytes(take_array(&mut self.rest)?)
                    });
                }
                Value::SortedSet { members, scores }
            }
            types::ZSET_ZIPLIST | types::ZSET_LISTPACK => {
                let blob = self.string()?;
                let pairs = self.texts(&blob, kind == types::ZSET_ZIPLIST)?;
                let [members, scores] = Self::deal(&pairs)?;
                let scores = scores.iter().map(parse_double).collect::<Option<_>>()?;
                Value::SortedSet { members, scores }
            }
            types::HASH | types::HASH_METADATA => self.hash(kind == types::HASH_METADATA)?,
            types::HASH_ZIPLIST | types::HASH_LISTPACK => {
                let blob = self.string()?;
                let pairs = self.texts(&blob, kind == types::HASH_ZIPLIST)?;
                let [names, values] = Self::deal(&pairs)?;
                Value::Hash { names, values, deadlines_ms: Vec::new() }
            }
            types::HASH_LISTPACK_EX => {
                let _first_ms: [u8; 8] = take_array(&mut self.rest)?;
                let blob = self.string()?;
                let triples = self.texts(&blob, false)?;
                let [names, values, deadlines] = Self::deal(&triples)?;
                let deadline = |text: &[u8]| {
                    let number = crate::command::number::parse_integer(text)?;
                    Some(Some(u64::try_from(number).ok()?).filter(|&deadline_ms| deadline_ms != 0))
                };
                let deadlines_ms = deadlines.iter().map(deadline).collect::<Option<_>>()?;
                Value::Hash { names, values, deadlines_ms }
            }
            types::STREAM | types::STREAM_2 | types::STREAM_3 => Value::Stream(Box::new(self.stream(kind)?)),
            _ => return None,
        })
    }

    /// Takes so many bytes off the front.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        take_array(&mut self.rest)
    }

    /// Adds an element of a listpack.
    pub(super) fn push_element(&mut self, texts: &mut Texts, element: &Element<'_>) -> Option<()> {
        match element {
            Element::Text(text) => self.push(texts, text),
            Element::Integer(integer) => self.push(texts, integer.to_string().as_bytes()),
        }
    }

    /// Takes bytes off what the payload may unfold to.
    pub(super) fn pay(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }

    fn push(&mut self, texts: &mut Texts, text: &[u8]) -> Option<()> {
        self.pay(text.len() + ELEMENT_BYTES)?;
        texts.push(text);
        Some(())
    }

    fn length_or_special(&mut self) -> Option<Length> {
        let [first] = take_array(&mut self.rest)?;
        Some(match first {
            0x00..=0x3F => Length::Of(u64::from(first)),
            0x40..=0x7F => {
                let [low] = take_array(&mut self.rest)?;
                Length::Of(u64::from(first & 0x3F) << 8 | u64::from(low))
            }
            0x80 => Length::Of(u64::from(u32::from_be_bytes(take_array(&mut self.rest)?))),
            0x81 => Length::Of(u64::from_be_bytes(take_array(&mut self.rest)?)),
            0x82..=0xBF => return None,
            0xC0..=0xFF => Length::Special(first & 0x3F),
        })
    }

    pub(super) fn length(&mut self) -> Option<u64> {
        match self.length_or_special()? {
            Length::Of(length) => Some(length),
            Length::Special(_) => None,
        }
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, after) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = after;
        Some(bytes)
    }

    pub(super) fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        let integer = |integer: i64| Some(Cow::Owned(integer.to_string().into_bytes()));
        match self.length_or_special()? {
            Length::Of(length) => {
                let bytes = self.bytes(length)?;
                self.pay(bytes.len())?;
                Some(Cow::Borrowed(bytes))
            }
            Length::Special(0) => integer(i64::from(i8::from_le_bytes(take_array(&mut self.rest)?))),
            Length::Special(1) => integer(i64::from(i16::from_le_bytes(take_array(&mut self.rest)?))),
            Length::Special(2) => integer(i64::from(i32::from_le_bytes(take_array(&mut self.rest)?))),
            Length::Special(3) => {
                let (compressed, length) = (self.length()?, self.length()?);
                let length = usize::try_from(length).ok()?;
                let compressed = self.bytes(compressed)?;
                self.pay(length)?;
                Some(Cow::Owned(lzf::decompress(compressed, length)?))
            }
            Length::Special(_) => None,
        }
    }

    /// Strings, as many as a length says.
    fn strings(&mut self) -> Option<Texts> {
        let mut texts = Texts::default();
        for _ in 0..self.length()? {
            let text = self.string()?;
            self.push(&mut texts, &text)?;
        }
        Some(texts)
    }

    /// The elements of a listpack or a ziplist.
    fn texts(&mut self, blob: &[u8], is_ziplist: bool) -> Option<Texts> {
        let mut texts = Texts::default();
        self.add_texts(&mut texts, blob, is_ziplist)?;
        Some(texts)
    }

    fn add_texts(&mut self, texts: &mut Texts, blob: &[u8], is_ziplist: bool) -> Option<()> {
        let mut digits = itoa::Buffer::new();
        let mut push = |element: Element<'_>| match element {
            Element::Text(text) => self.push(texts, text),
            Element::Integer(integer) => self.push(texts, digits.format(integer).as_bytes()),
        };
        if is_ziplist { ziplist::for_each(blob, &mut push) } else { listpack::for_each(blob, &mut push) }
    }

    /// Texts dealt to so many hands in turn, all of them the same number.
    fn deal<const N: usize>(texts: &Texts) -> Option<[Texts; N]> {
        let mut hands = std::array::from_fn(|_| Texts::default());
        texts.iter().enumerate().for_each(|(index, text)| hands[index % N].push(text));
        texts.len().is_multiple_of(N).then_some(hands)
    }

    fn list(&mut self, kind: u8) -> Option<Texts> {
        /// A node that is one element.
        const PLAIN: u64 = 1;
        /// A node that is a listpack.
        const PACKED: u64 = 2;
        let mut texts = Texts::default();
        if kind == types::LIST_ZIPLIST {
            let blob = self.string()?;
            return self.texts(&blob, true);
        }
        for _ in 0..self.length()? {
            let container = if kind == types::LIST_QUICKLIST_2 { self.length()? } else { PACKED };
            let node = self.string()?;
            match container {
                PLAIN if !node.is_empty() => self.push(&mut texts, &node)?,
                PACKED => self.add_texts(&mut texts, &node, kind == types::LIST_QUICKLIST)?,
                _ => return None,
            }
        }
        Some(texts)
    }

    fn intset(&mut self, blob: &[u8]) -> Option<Texts> {
        let mut rest = blob;
        let width = u32::from_le_bytes(take_array(&mut rest)?) as usize;
        let count = u32::from_le_bytes(take_array(&mut rest)?) as usize;
        if !matches!(width, 2 | 4 | 8) || count.checked_mul(width)? != rest.len() {
            return None;
        }
        let mut texts = Texts::default();
        let mut digits = itoa::Buffer::new();
        for number in rest.chunks_exact(width) {
            let integer = match *number {
                [a, b] => i64::from(i16::from_le_bytes([a, b])),
                [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
                _ => i64::from_le_bytes(number.try_into().ok()?),
            };
            self.push(&mut texts, digits.format(integer).as_bytes())?;
        }
        Some(texts)
    }

    /// A score as text, as Redis before 4.0 wrote it.
    fn score(&mut self) -> Option<f64> {
        match take_array(&mut self.rest)? {
            [253] => Some(f64::NAN),
            [254] => Some(f64::INFINITY),
            [255] => Some(f64::NEG_INFINITY),
            [length] => parse_double(self.bytes(u64::from(length))?),
        }
    }

    fn hash(&mut self, timed: bool) -> Option<Value> {
        let first_ms = if timed { u64::from_le_bytes(take_array(&mut self.rest)?) } else { 0 };
        let (mut names, mut values, mut deadlines_ms) = (Texts::default(), Texts::default(), Vec::new());
        for _ in 0..self.length()? {
            if timed {
                deadlines_ms.push(match self.length()? {
                    0 => None,
                    // From the first one on, plus one.
                    more => Some(first_ms.checked_add(more - 1)?),
                });
            }
            let name = self.string()?;
            self.push(&mut names, &name)?;
            let value = self.string()?;
            self.push(&mut values, &value)?;
        }
        Some(Value::Hash { names, values, deadlines_ms })
    }
}
