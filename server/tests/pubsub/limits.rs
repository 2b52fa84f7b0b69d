//! Slow subscribers: cut at the limit that the configuration says, without slowing whoever publishes.

use super::super::{confirmed, field, wait_until};
use crate::support::{Client, Server, ServerOptions, Value, encode};

/// Publishes about so many bytes while somebody does not listen; how many heard the last message.
fn publish(client: &mut Client, bytes: usize) -> Value {
    const MESSAGE_BYTES: usize = 16 << 10;
    const AT_ONCE: usize = 8;
    let message = "m".repeat(MESSAGE_BYTES);
    let mut last = Value::Null;
    for _ in 0..bytes / (MESSAGE_BYTES * AT_ONCE) {
        let mut batch = Vec::new();
        (0..AT_ONCE).for_each(|_| encode(&mut batch, &["PUBLISH", "a", &message]));
        client.send(&batch).expect("send");
        (0..AT_ONCE).for_each(|_| last = client.receive().expect("a reply"));
    }
    last
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_at_the_hard_limit() {
    let options = ServerOptions::new("everysec").with("io-threads", "2");
    let server = Server::start(options);
    let (mut slow, mut other, mut publisher) = (server.client(), server.client(), server.client());
    let limits = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
    let get = publisher.call(&["CONFIG", "GET", "client-output-buffer-limit"]).expect("a reply");
    assert_eq!(get.items()[1], Value::bulk(limits), "Redis's own");
    let set = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 8mb 4mb 60"];
    assert_eq!(publisher.call(&set).expect("a reply"), Value::ok());
    assert_eq!(slow.command("SUBSCRIBE a"), confirmed("subscribe", "a", 1));
    assert_eq!(other.command("SUBSCRIBE b"), confirmed("subscribe", "b", 1));
    let before_kib = server.resident_kib();
    // What it is cut at, and what the kernel takes off our hands.
    assert_eq!(publish(&mut publisher, 48 << 20), Value::Integer(0));
    assert!(server.resident_kib() - before_kib < 64 << 10, "what it had not taken was freed");
    assert_eq!(field(&mut publisher, "client_output_buffer_limit_disconnections"), "1");
    assert_eq!(publisher.command("PUBSUB NUMSUB a"), Value::Array(vec![Value::bulk("a"), Value::Integer(0)]));
    // Who subscribed to something else, or reads, stays; also over a change of the configuration.
    assert_eq!(publisher.command("PUBLISH b x"), Value::Integer(1));
    assert_eq!(other.receive().expect("a message").items()[2], Value::bulk("x"));
    // What was sent before is still read, and then the end.
    let mut heard = 0;
    while slow.receive().is_ok() {
        heard += 1;
    }
    assert!(heard < 3 * 1024, "{heard} messages of 16 KiB");
}

#[test]
fn a_subscriber_over_the_soft_limit_is_cut_after_a_while() {
    let server = Server::start(ServerOptions::new("everysec").with("io-threads", "2"));
    let (mut slow, mut publisher) = (server.client(), server.client());
    let set = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 1mb 1"];
    assert_eq!(publisher.call(&set).expect("a reply"), Value::ok());
    slow.command("SUBSCRIBE a");
    assert_eq!(publish(&mut publisher, 32 << 20), Value::Integer(1), "not at once");
    wait_until("it is cut", || publisher.command("PUBLISH a x") == Value::Integer(0));
    assert_eq!(field(&mut publisher, "client_output_buffer_limit_disconnections"), "1");
}

#[test]
fn subscribers_do_not_time_out_and_others_do() {
    let server = Server::start(ServerOptions::new("everysec").with("timeout", "1"));
    let (mut subscriber, mut monitor, mut idle) = (server.client(), server.client(), server.client());
    subscriber.command("SUBSCRIBE a");
    assert_eq!(monitor.command("MONITOR"), Value::ok());
    assert!(idle.receive().is_err(), "an idle client is disconnected");
    assert_eq!(server.client().command("PUBLISH a x"), Value::Integer(1));
    assert_eq!(subscriber.receive().expect("a message").items()[2], Value::bulk("x"));
}

#[test]
fn whoever_is_shown_every_command_is_cut_where_subscribers_are() {
    let server = Server::start(ServerOptions::new("everysec"));
    let (mut slow, mut busy) = (server.client(), server.client());
    let set = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 0 0"];
    assert_eq!(busy.call(&set).expect("a reply"), Value::ok());
    assert_eq!(slow.command("MONITOR"), Value::ok());
    let argument = "m".repeat(16 << 10);
    wait_until("it is cut", || {
        assert_eq!(busy.call(&["ECHO", &argument]).expect("a reply"), Value::bulk(&argument));
        field(&mut busy, "client_output_buffer_limit_disconnections") == "1"
    });
}
