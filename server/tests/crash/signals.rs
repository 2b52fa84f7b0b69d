//! The orderly end under load: SIGTERM loses nothing, ends with code 0, and within the documented time, also while a client takes
//! none of its replies; SIGTERM once more ends it at once, and loses nothing either.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::ledger::{self, Pressure, compare_all, ledgers, under_load};
use crate::report::Row;
use crate::support::{Server, ServerOptions, encode, random};
use crate::{PATIENCE, rounds};

/// `shutdown-timeout` of these servers, in seconds.
const SHUTDOWN_SECONDS: u64 = 2;
/// On top of it, for the last checkpoint of a small database on a loaded machine; documented is a minute at most.
const CHECKPOINT_ALLOWANCE: Duration = Duration::from_secs(10);

/// A client that asks for much and takes nothing of it.
fn deaf_client(server: &Server) -> crate::support::Client {
    let mut client = server.client();
    let value = "x".repeat(1 << 20);
    client.call(&["SET", "large", &value]).expect("a reply");
    let mut bytes = Vec::new();
    (0..64).for_each(|_| encode(&mut bytes, &["GET", "large"]));
    client.send(&bytes).expect("the requests fit the socket's buffer");
    client
}

fn ends(case: &'static str, twice: bool) {
    let mut row = Row::begin(case);
    let seed = random::seed(case);
    let mut longest = Duration::ZERO;
    for appendfsync in ["always", "everysec", "no"] {
        let options = ServerOptions::new(appendfsync).with("shutdown-timeout", &SHUTDOWN_SECONDS.to_string());
        let mut server = Server::start(options);
        let mut ledgers = ledgers(4, seed, 300);
        for round in 0..rounds() {
            ledger::prepare(&mut server.client());
            let deaf = (twice || round % 2 == 0).then(|| deaf_client(&server));
            let (ended, shown) = under_load(server.port(), &mut ledgers, &[], |pressure| {
                Pressure::grows(&pressure.acknowledged, 200, PATIENCE);
                let asked = Instant::now();
                server.signal(Signal::TERM);
                if twice {
                    std::thread::sleep(Duration::from_millis(100));
                    if !server.has_ended() {
                        server.signal(Signal::TERM);
                    }
                }
                let status = server.wait();
                (status, asked.elapsed())
            });
            drop(deaf);
            let (status, took) = ended;
            longest = longest.max(took);
            let allowed = if twice {
                CHECKPOINT_ALLOWANCE
            } else {
                Duration::from_secs(SHUTDOWN_SECONDS) + CHECKPOINT_ALLOWANCE
            };
            let mut outcome = shown.verdict();
            if status.code() != Some(0) {
                outcome = outcome.and(Err(format!("{appendfsync}: it ended with {status}")));
            }
            if took > allowed {
                outcome = outcome.and(Err(format!("{appendfsync}: it took {took:?} to end")));
            }
            row.round(outcome);
            server.restart();
            row.round(compare_all(&mut ledgers, &mut server.client()));
        }
    }
    row.note(format!("ended after {:.0} ms at most", longest.as_secs_f64() * 1e3));
    row.finish();
}

#[test]
fn once() {
    ends("SIGTERM under load", false);
}

#[test]
fn twice() {
    ends("SIGTERM twice under load", true);
}
