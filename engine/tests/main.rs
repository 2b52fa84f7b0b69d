//! The engine, from outside: crashed on a simulated disk, driven against models, filled with a million keys, shared by threads, damaged.
//!
//! `SESSILE_SEEDS=n` runs more seeds where a test has any, `SESSILE_SEED=s` replays one.

mod engine {
    mod chat_model;
    mod chats;
    mod clock;
    mod concurrency;
    mod copies;
    mod crash_threads;
    mod damage;
    mod damage_storage;
    mod expiry;
    mod fields;
    mod full_disk;
    mod golden;
    mod inspection;
    mod limits;
    mod million;
    mod model;
    mod nth;
    mod observer;
    mod run;
    mod scan;
    mod sessions;
    mod sessions_cost;
    mod sessions_model;
    mod sessions_storage;
    mod sessions_threads;
    mod simulation;
    mod storage;
    mod stories;
    mod support;
    mod throttle;
    mod tiers;
    mod transactions;
    #[cfg(feature = "typed")]
    mod typed;
}
