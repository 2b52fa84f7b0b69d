//! Writes payloads of `DUMP`.

use super::crc64::crc64;
use super::stream;
use crate::command::CommandError;
use crate::command::number::parse_integer;
use sessile::{Key, Kind, Txn};

/// The version of Redis's files that a payload claims, in which all its forms were known: Redis 5 to 6.
const VERSION: u16 = 9;
/// That of Redis 7.0, whose streams know more of themselves.
const VERSION_OF_STREAMS: u16 = 10;
/// That of Redis 7.4, where fields have deadlines.
const VERSION_OF_FIELD_DEADLINES: u16 = 12;

/// Types of objects in Redis's files.
pub(super) mod types {
    pub(crate) const STRING: u8 = 0;
    pub(crate) const LIST: u8 = 1;
    pub(crate) const SET: u8 = 2;
    /// Scores as text.
    pub(crate) const ZSET: u8 = 3;
    pub(crate) const HASH: u8 = 4;
    /// Scores as eight bytes.
    pub(crate) const ZSET_2: u8 = 5;
    pub(crate) const LIST_ZIPLIST: u8 = 10;
    pub(crate) const SET_INTSET: u8 = 11;
    pub(crate) const ZSET_ZIPLIST: u8 = 12;
    pub(crate) const HASH_ZIPLIST: u8 = 13;
    pub(crate) const LIST_QUICKLIST: u8 = 14;
    pub(crate) const STREAM: u8 = 15;
    pub(crate) const HASH_LISTPACK: u8 = 16;
    pub(crate) const ZSET_LISTPACK: u8 = 17;
    pub(crate) const LIST_QUICKLIST_2: u8 = 18;
    pub(crate) const STREAM_2: u8 = 19;
    pub(crate) const SET_LISTPACK: u8 = 20;
    pub(crate) const STREAM_3: u8 = 21;
    pub(crate) const HASH_METADATA: u8 = 24;
    pub(crate) const HASH_LISTPACK_EX: u8 = 25;
}

/// What a key holds, as a payload; `None` if there is no such key.
///
/// # Errors
/// None that the key's kind, which is looked up first, would not have shown.
pub fn dump(txn: &Txn<'_>, key: &Key<'_>) -> Result<Option<Vec<u8>>, CommandError> {
    let Some(kind) = txn.kind(key) else { return Ok(None) };
    let mut out = Vec::new();
    let mut version = VERSION;
    match kind {
        Kind::String => {
            out.push(types::STRING);
            put_string(&mut out, txn.string(key)?.unwrap_or_default());
        }
        Kind::List => {
            let length = txn.list_len(key)?;
            out.push(types::LIST);
            put_length(&mut out, length as u64);
            txn.list_range(key, 0, length, &mut |element| put_string(&mut out, element))?;
        }
        Kind::Set => {
            out.push(types::SET);
            if let Some(members) = txn.set_members(key)? {
                put_length(&mut out, members.len() as u64);
                members.iter().for_each(|member| put_string(&mut out, member));
            }
        }
        Kind::SortedSet => {
            let length = txn.sorted_set_len(key)?;
            out.push(types::ZSET_2);
            put_length(&mut out, length as u64);
            // From the greatest score down, as Redis does: each then goes to the front of its list.
            txn.sorted_set_for_each(key, 0..length, true, &mut |member, score| {
                put_string(&mut out, member);
                out.extend_from_slice(&score.to_le_bytes());
            })?;
        }
        Kind::Stream => {
            out.push(types::STREAM_2);
            version = VERSION_OF_STREAMS;
            if let Some(view) = txn.stream(key)? {
                stream::put(&mut out, &view);
            }
        }
        // No other server could read it.
        Kind::Chat => return Err("ERR Bad data format".into()),
        Kind::Hash => {
            if put_hash(&mut out, txn, key)? {
                version = VERSION_OF_FIELD_DEADLINES;
            }
        }
    }
    seal(&mut out, version);
    Ok(Some(out))
}

/// Appends a hash; whether fields have deadlines.
fn put_hash(out: &mut Vec<u8>, txn: &Txn<'_>, key: &Key<'_>) -> Result<bool, CommandError> {
    let mut first_ms = None;
    txn.hash_for_each_field(key, &mut |field| {
        first_ms = first_ms.into_iter().chain(field.deadline_ms).min();
    })?;
    out.push(if first_ms.is_some() { types::HASH_METADATA } else { types::HASH });
    if let Some(first_ms) = first_ms {
        out.extend_from_slice(&first_ms.to_le_bytes());
    }
    put_length(out, txn.hash_len(key)? as u64);
    txn.hash_for_each_field(key, &mut |field| {
        if let Some(first_ms) = first_ms {
            // From the first one on, plus one; 0 for none.
            put_length(out, field.deadline_ms.map_or(0, |deadline_ms| deadline_ms - first_ms + 1));
        }
        put_string(out, field.name);
        put_string(out, field.value);
    })?;
    Ok(first_ms.is_some())
}

/// Appends version and checksum.
pub(crate) fn seal(out: &mut Vec<u8>, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    let crc = crc64(out);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Appends a length: the two highest bits say how long it is itself.
pub(super) fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..=0x3F => out.push(length as u8),
        0x40..=0x3FFF => out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        0x4000..=0xFFFF_FFFF => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Appends a string: an integer of at most 32 bits as such.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    /// The longest text of such an integer.
    const INTEGER_BYTES_MAX: usize = 11;
    let integer = if text.len() <= INTEGER_BYTES_MAX { parse_integer(text) } else { None };
    if let Some(integer) = integer.and_then(|integer| i32::try_from(integer).ok()) {
        if let Ok(byte) = i8::try_from(integer) {
            out.extend_from_slice(&[0xC0, byte as u8]);
        } else if let Ok(short) = i16::try_from(integer) {
            out.push(0xC1);
            out.extend_from_slice(&short.to_le_bytes());
        } else {
            out.push(0xC2);
            out.extend_from_slice(&integer.to_le_bytes());
        }
        return;
    }
    put_length(out, text.len() as u64);
    out.extend_from_slice(text);
}
