//! Random schedules of threads that share a database: the index grows under a scan, values are evicted, compressed, compacted and fetched
//! under their readers, transactions are watched. `just shuttle`; nothing here without `--cfg shuttle`.
#![cfg(shuttle)]

mod growth;
mod support;
mod tiers;
mod watches;
