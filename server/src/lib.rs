//! The Sessile server: RESP, connections, commands.
//!
//! The binary is a thin shell over this library, so that tests, fuzzers and the simulator drive the same code without sockets.

pub mod command;
pub mod resp;
