//! Scripts and functions: as on Redis ([`against_redis`]), harmless ([`sandbox`]), and run so that nobody waits for them ([`execution`]).
#![cfg(feature = "scripting")]
#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod scripts {
    pub(crate) mod against_redis;
    pub(crate) mod execution;
    pub(crate) mod sandbox;
    use super::support;
}
mod support;
