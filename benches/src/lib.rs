//! What the benchmarks share: a closed-loop load generator ([`load`]), server children with their CPU time
//! ([`server`]), the workloads of an embedded store ([`embedded`]), what a disk really wrote ([`disk`]), sessions as applications store them ([`sessions`]), and
//! tables a person can read ([`table`]).
//!
//! Binaries: `versus_redis` (this server and `redis-server` side by side), `engine` (the engine in-process).

pub mod disk;
pub mod embedded;
pub mod load;
pub mod server;
pub mod sessions;
pub mod statistics;
pub mod table;
