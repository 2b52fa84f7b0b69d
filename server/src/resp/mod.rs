//! The Redis serialisation protocol: requests in, replies out. Knows bytes; knows nothing of commands, keys or sockets.

mod reply;

pub use reply::{Protocol, Reply};
