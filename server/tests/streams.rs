//! Streams: what commands answer, byte for byte, and what the differential test can't see: large streams, and clients that wait.

#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]
#![expect(clippy::disallowed_methods, reason = "waiting takes real time")]

mod support;

use std::time::{Duration, Instant};
use support::in_process::InProcess;
use support::{Client, Server, ServerOptions, Value, encode};

#[test]
fn ids_are_given_or_chosen_and_only_grow() {
    InProcess::new().converse(
        "XADD s 5-1 a b => $3|5-1
        XADD s 5-1 a b => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 5-* a b => $3|5-2
        XADD s 0-0 a b => -ERR The ID specified in XADD must be greater than 0-0
        XADD s 6 a => -ERR wrong number of arguments for 'xadd' command
        XADD missing NOMKSTREAM * a b => $-1
        XLEN s => :2
        XADD s 18446744073709551615-18446744073709551615 a b => $41|18446744073709551615-18446744073709551615
        XADD s * a b => -ERR The stream has exhausted the last possible ID, unable to add more items
        XRANGE s - (5-2 => *1|*2|$3|5-1|*2|$1|a|$1|b
        TYPE s => +stream",
    );
}

#[test]
fn entries_go_and_the_stream_stays() {
    InProcess::new().converse(
        "XADD s 1-1 a b => $3|1-1
        XADD s 2-1 a b => $3|2-1
        XDEL s 1-1 9-9 => :1
        XTRIM s MAXLEN 0 => :1
        XLEN s => :0
        EXISTS s => :1
        XADD s 2-1 a b => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XREAD STREAMS s 0 => *-1
        XREAD STREAMS s => -ERR wrong number of arguments for 'xread' command",
    );
}

#[test]
fn a_group_shares_entries_and_keeps_what_is_not_acknowledged() {
    InProcess::new().converse(
        "XGROUP CREATE s g $ => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP CREATE s g $ MKSTREAM => +OK
        XGROUP CREATE s g 0 => -BUSYGROUP Consumer Group name already exists
        XADD s 1-1 a b => $3|1-1
        XADD s 2-1 c d => $3|2-1
        XREADGROUP GROUP g one COUNT 1 STREAMS s > => *1|*2|$1|s|*1|*2|$3|1-1|*2|$1|a|$1|b
        XREADGROUP GROUP g two STREAMS s > => *1|*2|$1|s|*1|*2|$3|2-1|*2|$1|c|$1|d
        XREADGROUP GROUP g one STREAMS s > => *-1
        XPENDING s g => *4|:2|$3|1-1|$3|2-1|*2|*2|$3|one|$1|1|*2|$3|two|$1|1
        XDEL s 2-1 => :1
        XREADGROUP GROUP g two STREAMS s 0 => *1|*2|$1|s|*1|*2|$3|2-1|*-1
        XAUTOCLAIM s g one 0 0 => *3|$3|0-0|*1|*2|$3|1-1|*2|$1|a|$1|b|*1|$3|2-1
        XACK s g 1-1 1-1 => :1
        XPENDING s g => *4|:0|$-1|$-1|*-1
        XGROUP DELCONSUMER s g two => :0
        XGROUP DESTROY s g => :1
        XREADGROUP GROUP g one STREAMS s > => -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
    );
}

#[test]
fn many_entries_are_trimmed_whole_chunks_at_a_time() {
    let mut server = InProcess::new();
    for number in 1..=1000 {
        server.run(&[b"XADD", b"s", format!("{number}-0").as_bytes(), b"field", b"value"]);
    }
    server.converse(
        "XTRIM s MAXLEN ~ 250 => :700
        XTRIM s MAXLEN ~ 250 LIMIT 10 => :0
        XTRIM s MINID 950 => :249
        XLEN s => :51
        XRANGE s - + COUNT 1 => *1|*2|$5|950-0|*2|$5|field|$5|value
        XREVRANGE s + - COUNT 1 => *1|*2|$6|1000-0|*2|$5|field|$5|value",
    );
}

fn send(client: &mut Client, words: &str) {
    let mut bytes = Vec::new();
    encode(&mut bytes, &words.split(' ').collect::<Vec<_>>());
    client.send(&bytes).expect("send");
}

/// A client that waits by this command.
fn waiter(server: &Server, observer: &mut Client, words: &str) -> Client {
    let mut client = server.client();
    send(&mut client, words);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !observer.command("INFO clients").text().contains("blocked_clients:1") {
        assert!(Instant::now() < deadline, "it does not wait");
        std::thread::sleep(Duration::from_millis(2));
    }
    client
}

#[test]
fn who_waits_gets_what_came_since() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut other = server.client();
    other.command("XADD s 1-1 a b");
    let mut client = waiter(&server, &mut other, "XREAD BLOCK 0 STREAMS s t $ 0");
    other.command("XADD s 2-1 c d");
    let expected = server.client().command("XREAD STREAMS s 1-1");
    assert_eq!(client.receive().expect("a reply"), expected);
}

#[test]
fn who_waits_in_a_group_hears_when_it_is_gone() {
    let server = Server::start(ServerOptions::new("everysec"));
    let mut other = server.client();
    for (end, error) in [
        ("XGROUP DESTROY s g", "NOGROUP the consumer group this client was blocked on no longer exists"),
        ("DEL s", "UNBLOCKED the stream key no longer exists"),
        ("SET s v", "UNBLOCKED the stream key no longer exists"),
    ] {
        other.command("DEL s");
        other.command("XGROUP CREATE s g $ MKSTREAM");
        let mut client = waiter(&server, &mut other, "XREADGROUP GROUP g me BLOCK 0 STREAMS s >");
        other.command(end);
        assert_eq!(client.receive().expect("a reply"), Value::Error(error.to_owned()), "{end}");
    }
}
