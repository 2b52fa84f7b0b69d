//! What the benchmarks share: closed-loop and fixed-rate load generators ([`load`], [`open_loop`]), server children with their CPU time and
//! memory ([`server`]) and what a client says to them ([`client`], [`population`]), the workloads of an embedded store ([`embedded`]), what a
//! disk really wrote ([`disk`], [`counting_fs`]), sessions as applications store them ([`sessions`]), and tables a person can read ([`table`], [`report`]).
//!
//! Binaries: `versus_redis` (this server and `redis-server` side by side), `engine` (the engine in-process), `storage` (memory, disk, restart
//! and whatever happens in the background).

pub mod client;
pub mod counting_fs;
pub mod disk;
pub mod embedded;
pub mod load;
pub mod open_loop;
pub mod population;
pub mod report;
pub mod server;
pub mod sessions;
pub mod statistics;
pub mod table;
