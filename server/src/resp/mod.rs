//! The Redis serialisation protocol: requests in, replies out. Knows bytes; knows nothing of commands, keys or sockets.

mod double;
pub mod lookahead;
mod reply;
mod request;

pub use double::write as write_double;
pub use reply::{Protocol, Reply};
pub use request::{
    ARGUMENTS_MAX, Arguments, INLINE_BYTES_MAX, ProtocolError, RequestLimits, RequestParser,
    UNAUTHENTICATED_ARGUMENTS_MAX, UNAUTHENTICATED_BULK_BYTES_MAX, UnbalancedQuotes, parse_integer,
    split_words,
};
