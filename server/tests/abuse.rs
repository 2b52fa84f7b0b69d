//! The abuse drill: a real server is attacked in every way that we could think of, while bystanders go about their
//! business. None of them waits above a bound, memory does not grow beyond another over what the data itself takes, and
//! the process stays.
//!
//! In its short form, as in CI, sizes are a few percent of the campaign's and several attacks run at once, so the bound
//! of a wait is generous. `just abuse` runs the campaign, one attack after the other, at the bounds of docs/safety.md.
//!
//! | variable | |
//! | --- | --- |
//! | `SESSILE_ABUSE_SCALE` | sizes in percent of the campaign's (2) |
//! | `SESSILE_ABUSE_JOBS` | attacks at a time (3) |
//! | `SESSILE_ABUSE_WAIT_MS` | the longest that a bystander may wait (1500) |
//! | `SESSILE_ABUSE_MEMORY_MIB` | what an attack may add to the server's memory, over what the data takes (256; the campaign's bound is 128) |
//! | `SESSILE_ABUSE_TRIES` | how often an attack is made whose bystanders waited too long, the best counts: the machine may have been busy (3) |
//! | `SESSILE_ABUSE_ONLY` | attacks whose names hold one of these, separated by `\|` |
//! | `SESSILE_SEED` | of what is random |
//! | `SESSILE_BIN` | another server; if it is `redis-server`, the table is for comparison and fails nothing |
#![expect(clippy::disallowed_methods, reason = "a real process, real sockets, and real time")]

#[path = "abuse/arena.rs"]
mod arena;
#[path = "abuse/bystander.rs"]
mod bystander;
#[path = "abuse/commands.rs"]
mod commands;
#[path = "abuse/connections.rs"]
mod connections;
#[path = "abuse/protocol.rs"]
mod protocol;
#[path = "abuse/readers.rs"]
mod readers;
#[path = "abuse/report.rs"]
mod report;
#[path = "abuse/scripts.rs"]
mod scripts;
#[path = "abuse/skim.rs"]
mod skim;
#[path = "abuse/storms.rs"]
mod storms;
mod support;

use arena::{Arena, Attack};
use report::{Bounds, Row};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::random;

/// All files that the drill may have open, if the system allows it: ten thousand connections have two ends.
fn raise_the_limit_of_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What can't be raised shows in the attacks that need it.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn chosen() -> Vec<&'static Attack> {
    let only = std::env::var("SESSILE_ABUSE_ONLY").unwrap_or_default();
    let named = |attack: &Attack| only.split('|').any(|part| attack.name.contains(part));
    let on_redis = support::ServerOptions::new("everysec").is_redis();
    let families = [
        protocol::ATTACKS,
        connections::ATTACKS,
        readers::ATTACKS,
        commands::ATTACKS,
        scripts::ATTACKS,
        storms::ATTACKS,
    ];
    let all = families.into_iter().flatten();
    all.filter(|attack| named(attack) && !(on_redis && attack.only_sessile)).collect()
}

#[test]
fn nobody_is_kept_waiting_by_abuse_and_memory_stays_bounded() {
    let seed = random::seed("nobody_is_kept_waiting_by_abuse_and_memory_stays_bounded");
    let scale = random::count("SESSILE_ABUSE_SCALE", 2);
    let tries = random::count("SESSILE_ABUSE_TRIES", 3).max(1);
    let jobs = random::count("SESSILE_ABUSE_JOBS", 3).max(1);
    let bounds = Bounds {
        wait: Duration::from_millis(random::count("SESSILE_ABUSE_WAIT_MS", 1500)),
        growth_kib: random::count("SESSILE_ABUSE_MEMORY_MIB", 256) << 10,
    };
    raise_the_limit_of_files();
    let attacks = chosen();
    assert!(!attacks.is_empty(), "SESSILE_ABUSE_ONLY names no attack");
    let (next, rows, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // One that fails outright must not keep the others from being made.
                    let row = std::panic::catch_unwind(|| {
                        Row::of(attack, &bounds, tries, || Arena::hold(attack, scale, seed))
                    });
                    match row {
                        Ok(row) => {
                            println!("{row}");
                            rows.lock().expect("nobody panics with it").push(row);
                        }
                        Err(_) => {
                            println!("FAILED {}", attack.name);
                            broken.lock().expect("nobody panics with it").push(attack.name);
                        }
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("nobody panics with it");
    let failures = report::print(&mut rows, &bounds, scale);
    let broken = broken.into_inner().expect("nobody panics with it");
    let compared = support::ServerOptions::new("everysec").is_redis();
    assert!(compared || failures.is_empty(), "beyond the bounds: {failures:#?}");
    assert!(compared || broken.is_empty(), "failed outright, see above: {broken:#?}");
}

/// Every request of the table that is none: what Redis answers, and whether it closes.
#[test]
fn malformed_requests_are_answered_as_by_redis() {
    let test = "malformed_requests_are_answered_as_by_redis";
    let Some(redis) = support::oracles::program(test, "redis-server") else { return };
    let original =
        support::Server::start(support::ServerOptions::new("everysec").of(&redis.to_string_lossy()));
    let ours = support::Server::start(support::ServerOptions::new("everysec"));
    if ours.options().is_redis() {
        return;
    }
    let mut different = Vec::new();
    // Redis takes a zero byte for the end of what it has received, and waits; and up to 2^31 arguments, of which we take a million.
    let odd = |request: &[u8]| {
        request.contains(&0)
            || ["*1048577", "*536870913", "*2147483647"]
                .iter()
                .any(|large| request.starts_with(large.as_bytes()))
    };
    for request in protocol::table().into_iter().filter(|request| !odd(request)) {
        let [expected, answered] = [&original, &ours].map(|server| protocol::answer(server.port(), &request));
        if expected != answered {
            let show = |bytes: &[u8]| bytes[..bytes.len().min(120)].escape_ascii().to_string();
            different.push(format!("{}: {} instead of {}", show(&request), show(&answered), show(&expected)));
        }
    }
    assert!(different.is_empty(), "{} of the table: {different:#?}", different.len());
}
