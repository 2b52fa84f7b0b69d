//! What the server's tests share: a server child on a free port with its own directory ([`process`]), a tiny blocking
//! client for both protocols ([`client`]), the commands run without a server ([`in_process`]) with a reader of their
//! replies ([`resp`]), reproducible randomness ([`random`], [`draw`]), and the rule for programs that may be absent
//! ([`oracles`]).
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test binary uses its own part of this module"
)]

pub(crate) mod client;
pub(crate) mod draw;
pub(crate) mod in_process;
pub(crate) mod oracles;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod resp;

pub(crate) use client::{Client, Value, encode};
pub(crate) use process::{Server, ServerOptions};
pub(crate) use random::Random;
