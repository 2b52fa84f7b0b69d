//! The bytes of payloads.
//!
//! ```text
//! format u8 = 1 │ schema version varint │ payload: bincode 2, its standard configuration (little-endian, numbers of variable length)
//! ```
//!
//! All of bincode that there is: its format is frozen and documented, and another crate could take its place behind this file.
//! What it must never do: allocate more than the limit because bytes say so; give a payload of another schema as one of this.

use crate::varint;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Longest payload, in bytes; what reading one may allocate is bounded by it, too.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
const FORMAT: u8 = 1;

fn configuration() -> bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<PAYLOAD_BYTES_MAX>,
> {
    bincode::config::standard().with_limit::<PAYLOAD_BYTES_MAX>()
}

/// Why a payload can't be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// It would have more than [`PAYLOAD_BYTES_MAX`] bytes.
    #[error("the payload is over the limit of {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge,
    /// Its type can't be written: it uses something of serde that needs a self-describing format (`flatten`, `untagged`, …), or its own code refused.
    #[error("the payload can't be written: {0}")]
    Encode(String),
    /// The session has no payload: a client that does not use this API has made it.
    #[error("the session has no payload")]
    Missing,
    /// It was written with another schema, and nothing says how to read that.
    #[error("the payload has schema version {found}, which nothing reads; it is {expected} now")]
    Schema {
        /// The version that it has.
        found: u32,
        /// The version that is written now.
        expected: u32,
    },
    /// It is not what was written: the type has changed without its version, or somebody else wrote the field.
    #[error("the payload can't be read: {0}")]
    Decode(String),
}

/// Reads a payload of an older schema as one of this.
type Upgrade<T> = Arc<dyn Fn(&[u8]) -> Result<T, PayloadError> + Send + Sync>;

/// How payloads of a type are written and read.
pub(super) struct Codec<T> {
    pub(super) version: u32,
    upgrades: Vec<(u32, Upgrade<T>)>,
}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Codec<T> {
        Codec { version: self.version, upgrades: self.upgrades.clone() }
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PayloadError> {
    let unreadable = |reason: String| PayloadError::Decode(reason);
    let (payload, read) = bincode::serde::decode_from_slice(bytes, configuration())
        .map_err(|error| unreadable(error.to_string()))?;
    if read != bytes.len() {
        return Err(unreadable(format!("{} bytes are left over", bytes.len() - read)));
    }
    Ok(payload)
}

impl<T: Serialize + DeserializeOwned> Codec<T> {
    pub(super) fn new() -> Codec<T> {
        Codec { version: 0, upgrades: Vec::new() }
    }

    /// From now on payloads of an older version can be read, too.
    pub(super) fn upgrade<Old: DeserializeOwned>(
        &mut self,
        version: u32,
        upgrade: impl Fn(Old) -> T + Send + Sync + 'static,
    ) {
        self.upgrades.retain(|(other, _)| *other != version);
        self.upgrades.push((version, Arc::new(move |bytes| decode::<Old>(bytes).map(&upgrade))));
    }

    pub(super) fn encode(&self, payload: &T) -> Result<Vec<u8>, PayloadError> {
        let mut bytes = vec![FORMAT];
        varint::put(&mut bytes, u64::from(self.version));
        // bincode's own limit is for reading only.
        let mut limited = Limited { bytes, full: false };
        let written = bincode::serde::encode_into_writer(payload, &mut limited, configuration());
        if limited.full {
            return Err(PayloadError::TooLarge);
        }
        written.map_err(|error| PayloadError::Encode(error.to_string()))?;
        Ok(limited.bytes)
    }

    pub(super) fn decode(&self, bytes: &[u8]) -> Result<T, PayloadError> {
        let header = || {
            let (&format, mut rest) = bytes.split_first()?;
            let version = u32::try_from(varint::take(&mut rest)?).ok()?;
            (format == FORMAT).then_some((version, rest))
        };
        let Some((version, rest)) = header() else {
            return Err(PayloadError::Decode("it does not begin as payloads do".into()));
        };
        if version == self.version {
            return decode(rest);
        }
        match self.upgrades.iter().find(|(other, _)| *other == version) {
            Some((_, upgrade)) => upgrade(rest),
            None => Err(PayloadError::Schema { found: version, expected: self.version }),
        }
    }
}

/// Bytes that stop growing at the limit.
struct Limited {
    bytes: Vec<u8>,
    full: bool,
}

impl bincode::enc::write::Writer for &mut Limited {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        if self.bytes.len() + bytes.len() > PAYLOAD_BYTES_MAX {
            self.full = true;
            return Err(bincode::error::EncodeError::UnexpectedEnd);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Payload {
        name: String,
        numbers: Vec<u64>,
        nested: Option<(i32, bool)>,
    }

    proptest! {
        #[test]
        fn a_payload_comes_back(name: String, numbers: Vec<u64>, nested: Option<(i32, bool)>, version: u32) {
            let codec = Codec { version, ..Codec::new() };
            let payload = Payload { name, numbers, nested };
            let bytes = codec.encode(&payload).unwrap();
            prop_assert_eq!(codec.decode(&bytes).unwrap(), payload);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = Codec::<Payload>::new().decode(&bytes);
            let _ = decode::<Payload>(&bytes);
        }

        #[test]
        fn what_was_cut_or_grew_is_refused(numbers: Vec<u64>, extra: u8) {
            let codec = Codec::new();
            let mut bytes = codec.encode(&Payload { name: "Ann".into(), numbers, nested: None }).unwrap();
            bytes.push(extra);
            prop_assert!(codec.decode(&bytes).is_err());
            bytes.truncate(bytes.len() - 2);
            prop_assert!(codec.decode(&bytes).is_err());
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_formats_page() {
        let mut codec = Codec::<(u32, String)>::new();
        codec.version = 300;
        let bytes = codec.encode(&(7, "Ann".into())).unwrap();
        assert_eq!(bytes, [1, 0xAC, 0x02, 7, 3, b'A', b'n', b'n']);
    }

    #[test]
    fn neither_a_length_that_lies_nor_a_long_payload_takes_memory() {
        // A string that says it has 2^60 bytes.
        let lie = [&[1, 0, 253][..], &(1u64 << 60).to_le_bytes()].concat();
        assert!(matches!(Codec::<String>::new().decode(&lie), Err(PayloadError::Decode(_))));
        let long = "a".repeat(PAYLOAD_BYTES_MAX);
        assert!(matches!(Codec::<String>::new().encode(&long), Err(PayloadError::TooLarge)));
        let fits = "a".repeat(PAYLOAD_BYTES_MAX - 16);
        let bytes = Codec::new().encode(&fits).unwrap();
        assert_eq!(Codec::<String>::new().decode(&bytes).unwrap(), fits);
    }

    #[test]
    fn an_older_schema_is_read_by_its_upgrade_only() {
        #[derive(Serialize, Deserialize)]
        struct Old {
            name: String,
        }
        let old = Codec::<Old>::new().encode(&Old { name: "Ann".into() }).unwrap();
        let mut codec = Codec::<Payload>::new();
        codec.version = 1;
        assert!(matches!(codec.decode(&old), Err(PayloadError::Schema { found: 0, expected: 1 })));
        codec.upgrade(0, |old: Old| Payload { name: old.name, numbers: vec![], nested: None });
        assert_eq!(codec.decode(&old).unwrap().name, "Ann");
    }
}
