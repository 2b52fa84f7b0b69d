//! Why a command failed, in Redis's words.

use super::reach::Learned;
use std::borrow::Cow;

/// An error reply, code first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Options that don't fit together, or an unknown one.
    #[error("ERR syntax error")]
    Syntax,
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// An argument or value that should be a 64-bit signed integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// An argument or value that should be a float.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// No reply at all: the command has to be begun anew, with these keys too. See [`reach`](super::reach).
    #[error("ERR the keys that the command needs kept changing")]
    NeedsKeys(Box<Learned>),
    /// More than `maxmemory` can ever hold.
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// Anything else; the text holds the code.
    #[error("{0}")]
    Text(Cow<'static, str>),
    /// A text that quotes an argument, which may be any bytes; the text holds the code.
    #[error("{}", String::from_utf8_lossy(.0))]
    Bytes(Vec<u8>),
}

impl CommandError {
    /// An error whose text is put together at run time, code first.
    pub fn of(text: String) -> CommandError {
        CommandError::Text(text.into())
    }

    /// The text for the wire. [`Display`](std::fmt::Display) is for people: it can't show bytes that are no UTF-8.
    pub fn text(&self) -> Cow<'_, [u8]> {
        match self {
            CommandError::Text(text) => Cow::Borrowed(text.as_bytes()),
            CommandError::Bytes(bytes) => Cow::Borrowed(bytes),
            fixed => Cow::Owned(fixed.to_string().into_bytes()),
        }
    }
}

impl From<sessile::WrongKind> for CommandError {
    fn from(_: sessile::WrongKind) -> CommandError {
        CommandError::WrongType
    }
}

impl From<&'static str> for CommandError {
    fn from(text: &'static str) -> CommandError {
        CommandError::Text(text.into())
    }
}
