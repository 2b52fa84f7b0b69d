//! Scripts (`EVAL`) and functions (`FCALL`), on Luau.
//!
//! [`vm`] runs them and knows nothing of the engine; [`store`] keeps their texts.

mod bit;
mod json;
pub mod library;
mod library_functions;
mod msgpack;
mod number;
mod pack;
mod random;
mod reply;
pub mod script;
pub mod sha1;
pub mod store;
pub mod vm;

/// The version of Redis that scripts are told.
pub const REDIS_VERSION: &str = "7.0.15";
/// The same as a number.
pub const REDIS_VERSION_NUMBER: u32 = 7 << 16 | 15;
