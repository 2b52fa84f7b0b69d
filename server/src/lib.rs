//! The Sessile server: RESP, connections, commands.
//!
//! The binary is a thin shell over this library, so that tests, fuzzers and the simulator drive the same code without sockets.

#![forbid(unsafe_code)]

pub mod acl;
pub mod blocked;
pub mod budget;
pub mod client;
pub mod command;
pub mod command_line;
pub mod config;
pub mod connection;
pub mod errand;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod hyperloglog;
pub mod inspect;
pub mod latency;
pub mod lease;
pub mod log;
pub mod monitor;
pub mod net;
pub mod notify;
pub mod observer;
pub mod pause;
pub mod process;
pub mod pubsub;
pub mod push;
pub mod redaction;
pub mod resp;
#[cfg(feature = "scripting")]
pub mod scripting;
pub mod serve;
pub mod server;
pub mod slow_log;
pub mod strays;
pub mod tracking;
pub mod transaction;
pub mod worker;
