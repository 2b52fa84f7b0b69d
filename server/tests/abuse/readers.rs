//! Those who ask for much and read nothing, or slowly.

use super::arena::{Arena, Attack};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new("gigabytes of PING, unread, by 4", |arena| arena.floods(4, b"PING\r\n", 4 << 30)),
    Attack::new("gigabytes of PING, unread, by 4", |arena| arena.floods(4, b"PING\r\n", 4 << 30)).strangers(),
    Attack::new("gigabytes of ECHO, unread, by 50", |arena| {
        let request = [b"*2\r\n$4\r\nECHO\r\n$16000\r\n", &[b'x'; 16_000][..], b"\r\n"].concat();
        arena.floods(50, &request, 1 << 30);
    }),
    Attack::new("AUTH with wrong passwords, without end, unread, by 50", |arena| {
        arena.floods(50, b"*2\r\n$4\r\nAUTH\r\n$5\r\nwrong\r\n", 1 << 30);
    })
    .strangers(),
    Attack::new("HELLO without end, unread, by 50", |arena| {
        arena.floods(50, b"HELLO 3 AUTH default wrong SETNAME x\r\n", 1 << 30);
    })
    .strangers(),
    Attack::on("a megabyte again and again, unread, by 100", a_megabyte, |arena| {
        unread(arena, 100, &b"GET large\r\n".repeat(1000));
    }),
    Attack::on(
        "LRANGE of a million, unread, by 20",
        |arena| arena.fill_list("list", arena.scaled(1_000_000)),
        |arena| {
            unread(arena, 20, &b"LRANGE list 0 -1\r\n".repeat(20));
        },
    ),
    Attack::on(
        "LRANGE of a million in a pipeline, read",
        |arena| arena.fill_list("list", arena.scaled(1_000_000)),
        |arena| {
            arena.exchange(&b"LRANGE list 0 -1\r\n".repeat(10), 10);
        },
    ),
    Attack::on(
        "HGETALL of a million, unread, by 20",
        |arena| arena.fill_hash("hash", arena.scaled(1_000_000)),
        |arena| {
            unread(arena, 20, b"HGETALL hash\r\n");
        },
    ),
    Attack::on(
        "SMEMBERS of a million, unread, by 20",
        |arena| arena.fill_set("set", arena.scaled(1_000_000)),
        |arena| {
            unread(arena, 20, b"SMEMBERS set\r\n");
        },
    ),
    Attack::on(
        "ZRANGE WITHSCORES of a million, unread, by 20",
        |arena| arena.fill_sorted_set("sorted", arena.scaled(1_000_000)),
        |arena| {
            unread(arena, 20, b"ZRANGE sorted 0 -1 WITHSCORES\r\n");
        },
    ),
    Attack::on(
        "SORT of a million, unread, by 5",
        |arena| arena.fill_list("list", arena.scaled(1_000_000)),
        |arena| {
            unread(arena, 5, b"SORT list ALPHA\r\n");
        },
    ),
    Attack::on(
        "KEYS * of a million, unread, by 20",
        |arena| arena.fill_keys("key:", arena.scaled(1_000_000)),
        |arena| {
            unread(arena, 20, b"KEYS *\r\n");
        },
    ),
    Attack::on("MGET of the same megabyte 1,000 times in one command, unread", a_megabyte, |arena| {
        let mut request = format!("*{}\r\n$4\r\nMGET\r\n", arena.scaled(1000) + 1).into_bytes();
        request.extend_from_slice(&b"$5\r\nlarge\r\n".repeat(arena.scaled(1000) as usize));
        unread(arena, 1, &request);
    }),
    Attack::on("a transaction of 1,000 reads of a megabyte, unread", a_megabyte, |arena| {
        let mut request = b"MULTI\r\n".to_vec();
        request.extend_from_slice(&b"GET large\r\n".repeat(arena.scaled(1000) as usize));
        request.extend_from_slice(b"EXEC\r\n");
        unread(arena, 1, &request);
    }),
    Attack::new("SRANDMEMBER with a count of a billion", |arena| {
        arena.ask("SADD few a b c");
        arena.ask("HSET fields a 1 b 2");
        arena.ask("ZADD scores 1 a 2 b");
        let count = format!("-{}", arena.scaled(1_000_000_000));
        unread(arena, 1, format!("SRANDMEMBER few {count}\r\n").as_bytes());
        unread(arena, 1, format!("HRANDFIELD fields {count} WITHVALUES\r\n").as_bytes());
        unread(arena, 1, format!("ZRANDMEMBER scores {count} WITHSCORES\r\n").as_bytes());
    }),
    Attack::new("MONITOR, unread, by 20, under load", |arena| {
        listeners(arena, 20, b"MONITOR\r\n", |arena, client| {
            client.write_all(&b"SET k a-value-of-some-length\r\n".repeat(1000)).expect("send");
            arena.count(1000);
        });
    }),
    Attack::new("SUBSCRIBE, unread, by 100, under a flood of messages", |arena| {
        let message =
            [b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$10000\r\n", &[b'x'; 10_000][..], b"\r\n"].concat();
        listeners(arena, 100, b"SUBSCRIBE c\r\n", move |arena, client| {
            client.write_all(&message.repeat(20)).expect("send");
            arena.count(20);
        });
    }),
    Attack::new("keyspace notifications, unread, by 50", |arena| {
        arena.ask("CONFIG SET notify-keyspace-events KEA");
        listeners(arena, 50, b"PSUBSCRIBE *\r\n", |arena, client| {
            client.write_all(&b"SET k a-value-of-some-length\r\n".repeat(1000)).expect("send");
            arena.count(1000);
        });
    }),
    Attack::new("CLIENT TRACKING BCAST, unread, by 50", |arena| {
        listeners(arena, 50, b"HELLO 3\r\nCLIENT TRACKING on BCAST\r\n", |arena, client| {
            let mut requests = Vec::new();
            for number in 0..1000 {
                requests.extend_from_slice(format!("SET key:{number} value\r\n").as_bytes());
            }
            client.write_all(&requests).expect("send");
            arena.count(1000);
        });
    }),
    Attack::on("a large reply, a byte at a time, by 50", a_megabyte, |arena| {
        let mut streams: Vec<_> = (0..50).map(|_| arena.raw()).collect();
        for stream in &mut streams {
            stream.write_all(&b"GET large\r\n".repeat(100)).expect("send");
        }
        let begun = Instant::now();
        while begun.elapsed() < arena.spell() {
            for stream in &mut streams {
                let mut byte = [0];
                let _ = stream.read(&mut byte);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        arena.count(5000);
    }),
];

fn a_megabyte(arena: &Arena) {
    arena.fill_string("large", 1 << 20);
}

/// Sends requests on several connections, reads nothing, and goes after a while.
fn unread(arena: &Arena, connections: u64, requests: &[u8]) {
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut stream = arena.raw();
        stream.write_all(requests).expect("send");
        held.push(stream);
        arena.count(1);
    }
    // The last command was executed when the server has the time for another.
    arena.ask("PING");
    std::thread::sleep(arena.spell());
    drop(held);
}

/// Clients that asked to be told things and read nothing, while another makes things happen, whose replies are read.
fn listeners(
    arena: &Arena,
    connections: u64,
    listen: &[u8],
    happen: impl Fn(&Arena, &mut std::net::TcpStream),
) {
    let held: Vec<_> = (0..connections)
        .map(|_| {
            let mut stream = arena.raw();
            stream.write_all(listen).expect("send");
            stream
        })
        .collect();
    let mut client = arena.raw();
    let mut reader = client.try_clone().expect("a second handle");
    let reading = std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    let begun = Instant::now();
    while begun.elapsed() < arena.spell() {
        happen(arena, &mut client);
    }
    client.shutdown(std::net::Shutdown::Both).expect("close");
    reading.join().expect("the reader");
    drop(held);
}
