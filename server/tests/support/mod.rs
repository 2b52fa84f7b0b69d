//! What the tests of the running server share: a server child on a free port with its own directory ([`process`]),
//! a tiny blocking client for both protocols ([`client`]), reproducible randomness ([`random`]), and the rule for
//! programs that may be absent ([`oracles`]).
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this module")]

pub(crate) mod client;
pub(crate) mod oracles;
pub(crate) mod process;
pub(crate) mod random;

pub(crate) use client::{Client, Value, encode};
pub(crate) use process::{Server, ServerOptions};
pub(crate) use random::Random;
