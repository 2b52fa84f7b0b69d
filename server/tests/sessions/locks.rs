//! Leases: first come, first served, and nobody waits for one that is free.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

fn lock(client: &mut Client, token: &str, rest: &str) -> Value {
    client.command(&format!("SESSION.LOCK {token} {rest}"))
}

/// A client that waits, as the `count`th.
fn waiter(server: &Server, observer: &mut Client, words: &str, count: u64) -> Client {
    let mut client = server.client();
    send(&mut client, words);
    until("it waits", || info(observer, "clients", "blocked_clients") == count);
    client
}

fn next(client: &mut Client) -> Value {
    client.receive().expect("a reply")
}

#[test]
fn first_come_first_served() {
    let server = start();
    let client = &mut server.client();
    let token = create(client, "aal2");
    let mut fence = integer(&lock(client, &token, "600000"));
    let words = format!("SESSION.LOCK {token} 600000 WAIT 600000");
    let mut waiters: Vec<Client> = (1..=24).map(|count| waiter(&server, client, &words, count)).collect();
    assert_eq!(lock(client, &token, "1000 WAIT 20"), Value::Null);
    let stop = &AtomicBool::new(false);
    // Those who come later and try again and again never come first.
    let pushy = |mut client: Client| {
        let mut tried = 0;
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(lock(&mut client, &token, "600000"), Value::Null, "before those who wait");
            tried += 1;
        }
        tried
    };
    let tried: u64 = std::thread::scope(|scope| {
        let pushy: Vec<_> = (0..3).map(|_| scope.spawn(|| pushy(server.client()))).collect();
        fence = serve_in_turn(client, &token, &mut waiters, fence);
        stop.store(true, Ordering::Relaxed);
        pushy.into_iter().map(|one| one.join().expect("a pushy client")).sum()
    });
    assert!(tried > 100, "only {tried} attempts");
    assert_eq!(info(client, "sessions", "session_leases"), 1);
    assert_eq!(client.command(&format!("SESSION.UNLOCK {token} {fence}")), Value::Integer(1));
    assert_eq!(info(client, "sessions", "session_leases"), 0);
}

/// Gives the lease back time after time: it goes to those who wait, in turn; the fence that the last of them has.
fn serve_in_turn(client: &mut Client, token: &str, waiters: &mut [Client], mut fence: i64) -> i64 {
    let count = waiters.len() as u64;
    for (place, waiter) in waiters.iter_mut().enumerate() {
        assert_eq!(client.command(&format!("SESSION.UNLOCK {token} {fence}")), Value::Integer(1));
        let next = integer(&next(waiter));
        assert!(next > fence, "{place}: {next} after {fence}");
        fence = next;
        assert_eq!(info(client, "clients", "blocked_clients"), count - 1 - place as u64);
        assert_eq!(lock(client, token, "1000"), Value::Null, "it is held");
    }
    fence
}

#[test]
fn a_lease_ends_in_time_with_its_holder_and_with_its_session() {
    let server = start();
    let client = &mut server.client();
    let token = create(client, "aal2 USER alice");
    let words = format!("SESSION.LOCK {token} 600000 WAIT 600000");
    // In time.
    lock(client, &token, "300");
    let mut second = waiter(&server, client, &words, 1);
    let began = Instant::now();
    let fence = integer(&next(&mut second));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(fence, 2);
    // With its holder.
    let mut third = waiter(&server, client, &words, 1);
    drop(second);
    assert_eq!(next(&mut third), Value::Integer(3));
    // Not with a waiter, and not for one that has gone.
    let fourth = waiter(&server, client, &words, 1);
    let mut fifth = waiter(&server, client, &words, 2);
    drop(fourth);
    until("it has gone", || info(client, "clients", "blocked_clients") == 1);
    assert_eq!(third.command(&format!("SESSION.UNLOCK {token} 3")), Value::Integer(1));
    assert_eq!(next(&mut fifth), Value::Integer(4));
    // With its session: whoever waits is told that there is none.
    let mut sixth = waiter(&server, client, &words, 1);
    let mut seventh = waiter(&server, client, &words, 2);
    assert_eq!(client.command("SESSION.REVOKE USER alice"), Value::Integer(1));
    let began = Instant::now();
    assert_eq!([next(&mut sixth), next(&mut seventh)], [Value::Null, Value::Null]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(count_of(client, "unknown"), 0);
}

#[test]
fn a_wait_ends_when_it_was_said_to() {
    let server = start();
    let client = &mut server.client();
    let token = create(client, "aal2");
    lock(client, &token, "600000");
    for rest in ["1000", "1000 WAIT 0", "1000 WAIT 50"] {
        assert_eq!(lock(client, &token, rest), Value::Null, "{rest}");
    }
    let began = Instant::now();
    assert_eq!(lock(client, &token, "1000 WAIT 1500"), Value::Null);
    assert!(began.elapsed() >= Duration::from_millis(1450), "{:?}", began.elapsed());
    for (how, is_right) in [
        ("TIMEOUT", (|reply| *reply == Value::Null) as fn(&Value) -> bool),
        ("ERROR", |reply| reply.is_error("UNBLOCKED ")),
    ] {
        let mut other = server.client();
        let id = integer(&other.command("CLIENT ID"));
        send(&mut other, &format!("SESSION.LOCK {token} 1000 WAIT 600000"));
        until("it waits", || info(client, "clients", "blocked_clients") == 1);
        assert_eq!(client.command(&format!("CLIENT UNBLOCK {id} {how}")), Value::Integer(1));
        assert!(is_right(&next(&mut other)), "{how}");
        assert_eq!(other.command("PING"), Value::Simple("PONG".into()));
    }
    client.command("MULTI");
    for words in [format!("SESSION.LOCK {token} 1000"), format!("SESSION.UNLOCK {token} 1")] {
        assert!(client.command(&words).is_error("ERR Command not allowed inside a transaction"));
    }
    assert!(client.command("EXEC").is_error("EXECABORT"));
    // Nobody of them is in the way.
    assert_eq!(client.command(&format!("SESSION.UNLOCK {token} 1")), Value::Integer(1));
    assert_eq!(lock(client, &token, "1000"), Value::Integer(2));
}

#[test]
fn a_waiter_whose_token_goes_stale_is_in_nobodys_way() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 1000 GRACE 600");
    let old = create(client, "web");
    let fence = integer(&lock(client, &old, "600000"));
    let mut stale = waiter(&server, client, &format!("SESSION.LOCK {old} 600000 WAIT 600000"), 1);
    let new = text(&client.command(&format!("SESSION.ROTATE {old}")), "token");
    let mut good = waiter(&server, client, &format!("SESSION.LOCK {new} 600000 WAIT 600000"), 2);
    assert_eq!(client.command(&format!("SESSION.UNLOCK {new} {fence}")), Value::Integer(1));
    assert!(next(&mut stale).is_error("STALETOKEN"));
    assert_eq!(next(&mut good), Value::Integer(fence + 1));
}

#[test]
fn nobody_is_beside_whoever_holds_it() {
    let server = start();
    let client = &mut server.client();
    let token = &create(client, "aal2 FIELDS 1 n 0");
    let (threads, each) = (8, 40);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let mut client = server.client();
            scope.spawn(move || {
                for _ in 0..each {
                    let fence = integer(&lock(&mut client, token, "60000 WAIT 60000"));
                    let looked = client.command(&format!("SESSION.GET {token} NOTOUCH"));
                    let n: u64 = text(&get(&looked, "fields"), "n").parse().expect("a number");
                    let words = format!("SESSION.SET {token} FENCE {fence} FIELDS 1 n {}", n + 1);
                    assert!(matches!(client.command(&words), Value::Integer(_)));
                    assert_eq!(client.command(&format!("SESSION.UNLOCK {token} {fence}")), Value::Integer(1));
                }
            });
        }
    });
    let looked = client.command(&format!("SESSION.GET {token}"));
    assert_eq!(text(&get(&looked, "fields"), "n"), (threads * each).to_string());
    assert_eq!(lock(client, token, "10"), Value::Integer(threads * each + 1));
}

#[test]
fn updates_that_get_and_set_loses_are_not_lost_with_versions() {
    let server = start();
    let client = &mut server.client();
    let token = &create(client, "aal2 FIELDS 1 n 0");
    client.command("SET n 0");
    let (threads, rounds) = (4_u64, 50_u64);
    let barrier = &Barrier::new(threads as usize);
    let conflicts: u64 = std::thread::scope(|scope| {
        let updaters: Vec<_> = (0..threads)
            .map(|_| {
                let mut client = server.client();
                scope.spawn(move || {
                    let mut conflicts = 0;
                    for _ in 0..rounds {
                        // All have read before any writes.
                        let n: u64 = client.command("GET n").text().parse().expect("a number");
                        barrier.wait();
                        client.command(&format!("SET n {}", n + 1));
                        let mut waited = false;
                        loop {
                            let looked = client.command(&format!("SESSION.GET {token}"));
                            if !waited {
                                barrier.wait();
                                waited = true;
                            }
                            let n: u64 = text(&get(&looked, "fields"), "n").parse().expect("a number");
                            let version = number(&looked, "version");
                            let words =
                                format!("SESSION.SET {token} IFVERSION {version} FIELDS 1 n {}", n + 1);
                            match client.command(&words) {
                                Value::Integer(_) => break,
                                error => assert!(error.is_error("CONFLICT "), "{error:?}"),
                            }
                            conflicts += 1;
                        }
                        barrier.wait();
                    }
                    conflicts
                })
            })
            .collect();
        updaters.into_iter().map(|updater| updater.join().expect("an updater")).sum()
    });
    let kept: u64 = client.command("GET n").text().parse().expect("a number");
    assert!(kept < threads * rounds, "the race that this is about does not happen");
    assert!(conflicts > 0, "nobody has met another");
    let looked = client.command(&format!("SESSION.GET {token}"));
    assert_eq!(text(&get(&looked, "fields"), "n"), (threads * rounds).to_string());
    println!("{kept} of {} updates kept by GET and SET; {conflicts} conflicts", threads * rounds);
}
