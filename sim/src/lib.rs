//! Sessile on a simulated machine: the whole engine and the server's connections in one thread, with simulated disk, clock and clients, all
//! from one seed.
//!
//! ```text
//!            seed ─▶ rng
//!  work ─▶ clients ─▶ connections ─▶ engine ─▶ disk (torn, reordered, lost, full, failing, slow) ─▶ crash ─▶ open ─▶ compare
//!             │           │                                                                                      ▲
//!             │           └─▶ judge: each request applied to the model, in the order of execution ─▶ oracle ─────┘
//!             └─ replies that have left: acknowledged ───────────────────────────────────────────────▲
//! ```
//!
//! # The oracle
//!
//! It is a plain [model] of the commands that clients use, not a second engine: a few hundred lines of maps that know nothing of disks,
//! so that what the engine gets wrong in memory is noticed as well as what it loses. Every request that was executed is applied to it in the
//! order of execution, which one thread makes known, and its reply must be the model's; so no reply is another client's, and no request is
//! executed twice or in part. States are kept one after the other and share their keys, which costs microseconds.
//!
//! After a crash the database must be in one of these states: no earlier than the last that was promised. [`Oracle`](oracle::Oracle) says
//! what that means for kills and power cuts at each durability level.
//!
//! # What is simulated
//!
//! The disk's faults are those of [`sessile_wal::sim`]; syncs that take seconds while clients go on are [`disk`]'s. [`Floor`](floor::Floor)
//! drives connections as the event loop does; [`Simulation`](simulation::Simulation) lives, crashes, and opens again with other options.
//!
//! What it must never do: read a clock, a file or random numbers of the system. The same seed is the same story.

#![forbid(unsafe_code)]

pub mod client;
pub mod disk;
pub mod floor;
mod judge;
pub mod model;
pub mod oracle;
pub mod profile;
mod rot;
pub mod run;
pub mod seen;
pub mod simulation;
pub mod tally;
pub mod trace;
pub mod wire;
pub mod work;
