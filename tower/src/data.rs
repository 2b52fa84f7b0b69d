//! What a session holds for tower-sessions, as fields.
//!
//! ```text
//! data     a JSON object, its keys in order: the same data are the same bytes
//! idle     the idle limit that the session was made with, in ms, in decimal digits
//! expires  when the application wants it to end, in ms since the epoch of the database's clock, in decimal digits; nothing if that is what
//!          the idle limit says
//! ```

use serde_json::Value;
use sessile::sessions::Session;
use std::collections::{BTreeMap, HashMap};
use tower_sessions_core::session_store::Error;

pub(crate) const DATA: &[u8] = b"data";
pub(crate) const IDLE: &[u8] = b"idle";
pub(crate) const EXPIRES: &[u8] = b"expires";

/// Longest data, in bytes: what comes from a visitor should not fill the disk.
pub(crate) const DATA_BYTES_MAX: usize = sessile::typed::PAYLOAD_BYTES_MAX;

pub(crate) fn encode(data: &HashMap<String, Value>) -> Result<Vec<u8>, Error> {
    let ordered: BTreeMap<&str, &Value> = data.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let bytes = serde_json::to_vec(&ordered).map_err(|error| Error::Encode(error.to_string()))?;
    if bytes.len() > DATA_BYTES_MAX {
        return Err(Error::Encode(format!("{} bytes are over the limit of {DATA_BYTES_MAX}", bytes.len())));
    }
    Ok(bytes)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<HashMap<String, Value>, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Decode(error.to_string()))
}

/// The text that stands for a scalar in the index of users, or in a list; `None` if there is nothing to stand for.
pub(crate) fn text(data: &HashMap<String, Value>, key: Option<&str>) -> Option<String> {
    match data.get(key?)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// What is copied of a session while it is held.
pub(crate) struct Stored {
    pub(crate) class: String,
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) data: Vec<u8>,
    pub(crate) idle_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
}

impl Stored {
    pub(crate) fn of(session: &Session<'_>) -> Stored {
        let number = |name| std::str::from_utf8(session.field(name)?).ok()?.parse().ok();
        Stored {
            class: session.class().to_string(),
            user: session.user().map(<[u8]>::to_vec),
            data: session.field(DATA).unwrap_or_default().to_vec(),
            idle_ms: number(IDLE).unwrap_or(0),
            expires_ms: number(EXPIRES),
            deadline_ms: session.deadline_ms(),
        }
    }

    /// When it ends if it is not used, in ms since the epoch of the database's clock.
    pub(crate) fn ends_ms(&self) -> u64 {
        self.expires_ms.unwrap_or(u64::MAX).min(self.deadline_ms.unwrap_or(u64::MAX))
    }
}
