//! Many clients at once: event loops join and retire, connections move between them, and every subscriber hears everything, in one order.

use super::super::{confirmed, field};
use crate::support::{Client, Server, ServerOptions, Value, encode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const PUBLISHERS: usize = 6;
const SUBSCRIBERS: usize = 6;
const MESSAGES_EACH: usize = 30_000;
/// Messages that a publisher sends at once.
const AT_ONCE: usize = 50;

/// Receives until each publisher has said that it is through.
fn listen(client: &mut Client) -> Vec<String> {
    let (mut heard, mut ended) = (Vec::with_capacity(PUBLISHERS * MESSAGES_EACH), 0);
    while ended < PUBLISHERS {
        let value = client.receive().expect("a message");
        let text = value.items().last().expect("a message has parts").text();
        if text == "end" {
            ended += 1;
        } else {
            heard.push(text);
        }
    }
    heard
}

#[test]
fn all_subscribers_hear_all_messages_in_one_order_while_loops_come_and_go() {
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "4"));
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| server.client()).collect();
    for (number, client) in subscribers.iter_mut().enumerate() {
        // By name and by pattern, in both protocols.
        match number % 3 {
            0 => assert_eq!(client.command("SUBSCRIBE news"), confirmed("subscribe", "news", 1)),
            1 => assert_eq!(client.command("PSUBSCRIBE n?ws"), confirmed("psubscribe", "n?ws", 1)),
            _ => {
                client.command("HELLO 3");
                let confirmed = client.command("SUBSCRIBE news");
                assert!(matches!(confirmed, Value::Push(_)), "{confirmed:?}");
            }
        }
    }
    let over = AtomicBool::new(false);
    let heard: Vec<Vec<String>> = thread::scope(|scope| {
        // Idle or not, they may be moved; these make the loops busy.
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                let mut batch = Vec::new();
                (0..200).for_each(|_| encode(&mut batch, &["GET", "nothing"]));
                while !over.load(Ordering::Relaxed) {
                    client.send(&batch).expect("send");
                    (0..200).for_each(|_| drop(client.receive().expect("a reply")));
                }
            });
        }
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client();
                    for first in (0..MESSAGES_EACH).step_by(AT_ONCE) {
                        let mut batch = Vec::new();
                        for number in first..first + AT_ONCE {
                            encode(&mut batch, &["PUBLISH", "news", &format!("{publisher}:{number}")]);
                        }
                        client.send(&batch).expect("send");
                        for _ in 0..AT_ONCE {
                            let count = client.receive().expect("a reply");
                            assert_eq!(count, Value::Integer(SUBSCRIBERS as i64));
                        }
                    }
                    client.call(&["PUBLISH", "news", "end"]).expect("a reply");
                })
            })
            .collect();
        let listeners: Vec<_> =
            subscribers.iter_mut().map(|client| scope.spawn(move || listen(client))).collect();
        let heard = listeners.into_iter().map(|thread| thread.join().expect("heard all")).collect();
        publishers.into_iter().for_each(|thread| thread.join().expect("published all"));
        over.store(true, Ordering::Relaxed);
        heard
    });
    assert_eq!(heard[0].len(), PUBLISHERS * MESSAGES_EACH);
    for publisher in 0..PUBLISHERS {
        let mine = heard[0].iter().filter(|text| text.starts_with(&format!("{publisher}:")));
        let wanted = (0..MESSAGES_EACH).map(|number| format!("{publisher}:{number}"));
        assert!(mine.eq(wanted.collect::<Vec<_>>().iter()), "what one says is heard in order");
    }
    for other in &heard[1..] {
        assert!(*other == heard[0], "all hear the same in the same order");
    }
    assert_eq!(field(&mut server.client(), "pubsub_channels"), "1");
}

#[test]
fn who_leaves_is_forgotten() {
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "2"));
    let mut watcher = server.client();
    for round in 0..50 {
        let mut client = server.client();
        client.command("SUBSCRIBE a");
        client.command(&format!("PSUBSCRIBE p{round}*"));
        client.command("SSUBSCRIBE s");
        assert_eq!(watcher.command("PUBLISH a x"), Value::Integer(1));
        match round % 4 {
            0 => assert_eq!(
                client.command("RESET"),
                Value::Array(vec![Value::bulk("message"), Value::bulk("a"), Value::bulk("x"),])
            ),
            1 => drop(client),
            2 => drop(client.send(b"QUIT\r\n")),
            _ => assert_eq!(watcher.command("CLIENT KILL TYPE pubsub"), Value::Integer(1)),
        }
        super::super::wait_until("the subscriptions go", || {
            watcher.command("PUBLISH a x") == Value::Integer(0)
                && watcher.command("PUBSUB NUMPAT") == Value::Integer(0)
                && watcher.command("SPUBLISH s x") == Value::Integer(0)
        });
    }
}
