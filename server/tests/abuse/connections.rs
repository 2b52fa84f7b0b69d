//! Connections without number, without end, without a word, and without a farewell.

use super::arena::{Arena, Attack};
use super::support::encode;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new("10,000 idle connections", idle),
    Attack::new("10,000 idle connections", idle).strangers(),
    Attack::new("10,000 idle connections, each after some requests", idle_after_requests),
    Attack::new("50,000 connections, each for one request", churn),
    Attack::new("50,000 connections, each for one request", churn).strangers(),
    Attack::new("5,000 half-closed connections with a pipeline", half_closed),
    Attack::new("5,000 half-closed connections with a pipeline", half_closed).strangers(),
    Attack::new("20,000 connections reset in the midst of a request", reset_within),
    Attack::new("20,000 connections reset in the midst of a request", reset_within).strangers(),
    Attack::new("5,000 connections reset in the midst of large replies", reset_reading),
    Attack::new("connections beyond maxclients, again and again", beyond_the_maximum)
        .with(&[("maxclients", "200")]),
    Attack::new("CLIENT LIST with 10,000 clients", |arena| {
        let held = connect(arena, 10_000);
        for _ in 0..arena.scaled(20) {
            arena.ask("CLIENT LIST");
        }
        drop(held);
    }),
    Attack::new("CLIENT KILL of 10,000 at once", |arena| {
        let mut held = connect(arena, 10_000);
        arena.client().command("CLIENT SETNAME here");
        for stream in &mut held {
            let _ = stream.write_all(b"SUBSCRIBE victims\r\n");
        }
        std::thread::sleep(Duration::from_millis(300));
        arena.ask("CLIENT KILL TYPE pubsub");
        drop(held);
    }),
    Attack::new("10,000 clients that wait for one list, served at once", |arena| {
        let mut held = connect(arena, 10_000);
        for stream in &mut held {
            let _ = stream.write_all(b"BLPOP awaited 0\r\n");
        }
        let mut push = vec!["RPUSH".to_owned(), "awaited".to_owned()];
        push.extend((0..arena.scaled(10_000)).map(|number| number.to_string()));
        arena.ask_of(&push);
        drop(held);
    }),
];

/// So many connections that say nothing.
fn connect(arena: &Arena, full: u64) -> Vec<TcpStream> {
    let count = arena.scaled(full);
    arena.count(count);
    (0..count).map(|_| arena.raw()).collect()
}

fn idle(arena: &Arena) {
    let held = connect(arena, 10_000);
    std::thread::sleep(arena.spell());
    drop(held);
}

fn idle_after_requests(arena: &Arena) {
    let mut held = connect(arena, 10_000);
    let mut reply = [0; 7];
    for stream in &mut held {
        stream.write_all(b"PING\r\n").expect("send");
        stream.read_exact(&mut reply).expect("a reply");
    }
    std::thread::sleep(arena.spell());
    drop(held);
}

/// Has four threads do something so often, each time with a connection of its own.
fn by_four(arena: &Arena, full: u64, with: impl Fn(TcpStream) + Sync) {
    let each = arena.scaled(full) / 4;
    arena.count(each * 4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..each {
                    with(arena.raw());
                }
            });
        }
    });
}

/// Whoever drops it now resets the connection.
fn without_farewell(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("set an option");
}

fn churn(arena: &Arena) {
    by_four(arena, 50_000, |mut stream| {
        without_farewell(&stream);
        let mut reply = [0; 1];
        stream.write_all(b"PING\r\n").expect("send");
        stream.read_exact(&mut reply).expect("a reply");
    });
}

fn half_closed(arena: &Arena) {
    let mut pipeline = Vec::new();
    for number in 0..100 {
        encode(&mut pipeline, &["SET", &format!("key:{number}"), "value"]);
    }
    by_four(arena, 5000, |mut stream| {
        stream.write_all(&pipeline).expect("send");
        stream.shutdown(Shutdown::Write).expect("half-close");
        let said = arena.closes(stream).expect("its end");
        assert_eq!(
            said.iter().filter(|byte| **byte == b'\n').count(),
            100,
            "replies of a half-closed connection"
        );
    });
}

fn reset_within(arena: &Arena) {
    by_four(arena, 20_000, |mut stream| {
        without_farewell(&stream);
        let _ = stream.write_all(b"PING\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\nxxxxxx");
    });
}

fn reset_reading(arena: &Arena) {
    arena.ask_of(&["SET", "large", &"x".repeat(1_000_000)]);
    by_four(arena, 5000, |mut stream| {
        without_farewell(&stream);
        let _ = stream.write_all(&b"GET large\r\n".repeat(20));
        let mut some = [0; 1000];
        let _ = stream.read(&mut some);
    });
}

fn beyond_the_maximum(arena: &Arena) {
    for _ in 0..arena.scaled(20) {
        let held: Vec<_> = (0..500).map(|_| arena.raw()).collect();
        arena.count(500);
        drop(held);
    }
    // Those that are going make room in a moment.
    std::thread::sleep(Duration::from_millis(300));
}
