//! Why a command failed, in Redis's words.

/// An error reply. [`Display`](std::fmt::Display) is the text on the wire, code first.
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
    /// Anything else; the text holds the code.
    #[error("{0}")]
    Text(std::borrow::Cow<'static, str>),
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
