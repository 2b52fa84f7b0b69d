//! What a look at a session costs, beside a read of a key that touches it.
//!
//! `cargo test --release -p sessile --test main -- --ignored --nocapture what_a_session_costs`

use super::sessions::policy;
use super::support::open_free;
use sessile::sessions::{NewSession, TOKEN_CHARACTERS};
use sessile::{Durability, Expiry, Options, Touch};
use sessile_wal::sim::Rng;
use std::hint::black_box;
use std::time::{Duration, Instant};

const SESSIONS: usize = 500_000;
const LOOKS: usize = 2_000_000;

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn timed(what: &str, times: usize, mut each: impl FnMut(usize)) {
    let begun = Instant::now();
    (0..times).for_each(&mut each);
    println!("{what}: {:.0} ns", begun.elapsed().as_nanos() as f64 / times as f64);
}

#[test]
#[ignore = "a measurement: run it alone, with --release"]
fn what_a_session_costs() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = open_free(&Options::new().durability(Durability::No), dir.path());
    db.set_session_policy("web", policy(1_800, 86_400)).expect("set");
    let cart = [7; 200];
    let fields: [[&[u8]; 2]; 2] = [[b"cart", &cart], [b"roles", b"reader,writer"]];
    let mut tokens = Vec::new();
    timed("create", SESSIONS, |number| {
        let user = (number / 2).to_le_bytes();
        let one = NewSession {
            class: "web",
            user: Some(&user),
            idle_s: None,
            max_s: None,
            meta: b"Firefox",
            fields: &fields,
        };
        tokens.push(db.create_session(&one).expect("made").0);
    });
    let limits =
        Expiry::Idle { idle: Duration::from_secs(1_800), absolute: Some(Duration::from_secs(86_400)) };
    for token in &tokens {
        db.set(token.as_str().as_bytes(), [7; 250], limits).expect("set");
    }
    // In no order, but one behind the other in memory, as in what a client has sent.
    let mut rng = Rng::new(1);
    let any = |_| tokens[rng.below(SESSIONS as u64) as usize].as_str().as_bytes().to_vec();
    let texts: Vec<u8> = (0..LOOKS).flat_map(any).collect();
    let texts = texts.as_chunks::<TOKEN_CHARACTERS>().0;
    let text = |number: usize| &texts[number][..];
    for _ in 0..2 {
        timed("get and touch of a key", LOOKS, |number| {
            black_box(db.get_and_touch(text(number), Touch::Policy).expect("a string"));
        });
        timed("get and touch of a key, in place", LOOKS, |number| {
            let look = db.transaction(&[text(number)], |txn, keys| {
                let length = txn.string(&keys[0]).expect("a string").map(<[u8]>::len);
                txn.touch(&keys[0], Touch::Policy);
                length
            });
            black_box(look.expect("readable"));
        });
        timed("get of a session, with a touch", LOOKS, |number| {
            let look = db.with_session(text(number), true, |session| session.field(b"cart").map(<[u8]>::len));
            assert!(black_box(look.expect("readable")).is_some());
        });
        timed("get of a session, without", LOOKS, |number| {
            let look =
                db.with_session(text(number), false, |session| session.field(b"cart").map(<[u8]>::len));
            assert!(black_box(look.expect("readable")).is_some());
        });
        timed("digest of a token", LOOKS, |number| {
            black_box(db.session_digest(text(number)));
        });
    }
}
