//! Much at once: deadlines, deletions, saves, settings, subscriptions, keys that are tracked, values made elsewhere.

use super::arena::{Arena, Attack};
use super::support::encode;
use std::time::Instant;

const LARGE: u64 = 1_000_000;

/// Asks the same again and again for a while.
fn again_and_again(arena: &Arena, commands: &[&str]) {
    let begun = Instant::now();
    while begun.elapsed() < arena.spell() {
        for command in commands {
            arena.ask(command);
        }
    }
}

fn keys(arena: &Arena) {
    arena.fill_keys("key:", arena.scaled(LARGE));
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::on(
        "a million keys expire in the same millisecond",
        |arena| {
            keys(arena);
            let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64;
            // Time enough to say so of all of them.
            let at_ms = (now_ms + 500 + 40 * arena.scale()).to_string();
            arena.fill(arena.scaled(LARGE), |number, requests| {
                encode(requests, &["PEXPIREAT", &format!("key:{number:09}"), &at_ms]);
            });
        },
        |arena| {
            let begun = Instant::now();
            while begun.elapsed() < arena.spell() * 3 {
                if arena.ask("DBSIZE").len() < 6 {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        },
    ),
    Attack::on("EXPIRE of a million keys, again and again", keys, |arena| {
        let count = arena.scaled(LARGE);
        let begun = Instant::now();
        let mut seconds = 1000;
        while begun.elapsed() < arena.spell() {
            seconds += 1;
            arena.fill(count.min(50_000), |number, requests| {
                encode(requests, &["EXPIRE", &format!("key:{number:09}"), &seconds.to_string()]);
            });
            arena.count(count.min(50_000));
        }
    }),
    Attack::on("FLUSHALL of a million keys", keys, |arena| {
        arena.ask("FLUSHALL");
    }),
    Attack::on(
        "FLUSHALL SYNC of a million keys and large collections",
        |arena| {
            keys(arena);
            arena.fill_list("list", arena.scaled(LARGE));
            arena.fill_hash("hash", arena.scaled(LARGE));
        },
        |arena| {
            arena.ask("FLUSHALL SYNC");
        },
    ),
    Attack::on("FLUSHALL within a transaction and a script, of a million keys", keys, |arena| {
        arena.exchange(b"MULTI\r\nFLUSHDB\r\nEXEC\r\n", 3);
        keys(arena);
        arena.ask_of(&["EVAL", "return redis.call('FLUSHALL')", "0"]);
    }),
    Attack::on(
        "FLUSHALL, again and again",
        |_| {},
        |arena| again_and_again(arena, &["SET a b", "FLUSHALL", "FLUSHDB"]),
    ),
    Attack::on("SWAPDB, MOVE, of a million keys", keys, |arena| {
        again_and_again(arena, &["SWAPDB 0 1", "SWAPDB 1 0"]);
    }),
    Attack::on("SAVE, BGSAVE, again and again, a million keys", keys, |arena| {
        again_and_again(arena, &["SET a b", "BGSAVE", "BGREWRITEAOF", "SAVE"]);
    }),
    Attack::on("DEBUG RELOAD, a million keys", keys, |arena| {
        arena.ask("DEBUG RELOAD");
    })
    .only_sessile(),
    Attack::new("CONFIG SET, again and again", |arena| {
        again_and_again(
            arena,
            &[
                "CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru",
                "CONFIG SET appendfsync always",
                "CONFIG SET appendfsync everysec",
                "CONFIG SET notify-keyspace-events KEA slowlog-log-slower-than 0",
                "CONFIG SET maxmemory 0 notify-keyspace-events .",
                "CONFIG RESETSTAT",
                "CONFIG GET *",
            ],
        );
    }),
    Attack::on("CONFIG SET maxmemory far below, a million keys, evicting", keys, |arena| {
        arena.ask("CONFIG SET maxmemory-policy allkeys-lru maxmemory 30mb");
        std::thread::sleep(arena.spell());
    }),
    Attack::new("SUBSCRIBE to 100,000 channels, by 5, and UNSUBSCRIBE", |arena| {
        let channels = arena.scaled(100_000);
        arena.data(channels * 5 * 400);
        let mut request = vec!["SUBSCRIBE".to_owned()];
        request.extend((0..channels).map(|number| format!("channel:{number}")));
        let mut bytes = Vec::new();
        encode(&mut bytes, &request);
        bytes.extend_from_slice(b"UNSUBSCRIBE\r\n");
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| arena.exchange(&bytes, channels as usize * 2));
            }
        });
    }),
    Attack::new("100,000 channels, by 5, who go without a word", |arena| {
        let channels = arena.scaled(100_000);
        arena.data(channels * 5 * 400);
        let mut request = vec!["SUBSCRIBE".to_owned()];
        request.extend((0..channels).map(|number| format!("channel:{number}")));
        let mut bytes = Vec::new();
        encode(&mut bytes, &request);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| drop(arena.exchange_held(&bytes, channels as usize)));
            }
        });
    }),
    Attack::new("PUBLISH to 5,000 subscribers, without end", |arena| {
        let count = arena.scaled(5000);
        let mut held: Vec<_> = (0..count).map(|_| arena.raw()).collect();
        for stream in &mut held {
            std::io::Write::write_all(stream, b"SUBSCRIBE c\r\n").expect("send");
        }
        let begun = Instant::now();
        // They hold what is posted to them, to the limit of subscribers.
        while begun.elapsed() < arena.spell() {
            arena.exchange(&b"PUBLISH c message\r\n".repeat(10), 10);
        }
        drop(held);
    }),
    Attack::on("CLIENT TRACKING of a million keys, then all change", keys, |arena| {
        let count = arena.scaled(LARGE);
        arena.data(count * 100);
        let mut requests = b"CLIENT TRACKING on REDIRECT 1\r\nHELLO 3\r\nCLIENT TRACKING on\r\n".to_vec();
        for number in 0..count {
            requests.extend_from_slice(format!("GET key:{number:09}\r\n").as_bytes());
        }
        let held = arena.exchange_held(&requests, count as usize + 3);
        arena.ask("FLUSHALL");
        drop(held);
    }),
    Attack::new("RESTORE of hostile payloads", restore),
    Attack::on(
        "RESTORE of a million elements",
        |arena| {
            arena.fill_hash("hash", arena.scaled(LARGE));
        },
        |arena| {
            let mut client = arena.client();
            let dump = client.call(&["DUMP", "hash"]).expect("a reply");
            let super::support::Value::Bulk(bytes) = dump else { panic!("no dump: {dump:?}") };
            arena.data(arena.scaled(LARGE) * 120 + 4 * bytes.len() as u64);
            arena.ask_of(&[b"RESTORE".as_slice(), b"copy", b"0", &bytes]);
        },
    ),
    Attack::new("SLOWLOG, LATENCY, MEMORY DOCTOR, again and again", |arena| {
        arena.ask("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 1000000");
        // Each of them is kept.
        arena.data(64 << 20);
        let count = arena.scaled(100_000);
        arena.fill(count, |number, requests| encode(requests, &["SET", "k", &number.to_string()]));
        arena.count(count);
        arena.ask("SLOWLOG GET -1");
        arena.ask("LATENCY HISTOGRAM");
        arena.ask("SLOWLOG RESET");
    }),
    Attack::new("CLIENT PAUSE, again and again, of writes", |arena| {
        // That is what it is for: for 50 ms at a time nobody writes.
        again_and_again(arena, &["CLIENT PAUSE 20 WRITE", "CLIENT UNPAUSE"]);
    }),
    Attack::on(
        "2,000 clients who all want the same shard",
        |arena| arena.fill_hash("hash", 1000),
        |arena| {
            let connections = arena.scaled(2000);
            let mut held: Vec<_> = (0..connections).map(|_| arena.raw()).collect();
            let begun = Instant::now();
            while begun.elapsed() < arena.spell() {
                for stream in &mut held {
                    let _ = std::io::Write::write_all(stream, b"HGETALL hash\r\n");
                    arena.count(1);
                }
                for stream in &mut held {
                    let mut skim = super::skim::Skim::new(stream.try_clone().expect("a second handle"));
                    let _ = skim.reply();
                }
            }
        },
    ),
];

/// A sound payload, and what a mutator makes of it, with the check sum put right where the server would look at what is within.
fn restore(arena: &Arena) {
    let mut client = arena.client();
    client.command("RPUSH list a b c 1 2 3 70000 a-longer-element");
    client.command("SADD integers 1 2 3 70000");
    client.command("SADD set a b c");
    client.command("HSET hash a 1 b 2 c 3");
    client.command("ZADD sorted 1 a 2.5 b");
    client.command("XADD stream 1-1 a b");
    client.command("XGROUP CREATE stream g 0");
    client.command("XREADGROUP GROUP g c STREAMS stream >");
    client.command("SET string value");
    client.command("SET number 12345");
    let mut sound = Vec::new();
    for key in ["list", "integers", "set", "hash", "sorted", "stream", "string", "number"] {
        if let super::support::Value::Bulk(bytes) = client.call(&["DUMP", key]).expect("a reply") {
            sound.push(bytes);
        }
    }
    let mut random = arena.random();
    let count = arena.scaled(100_000);
    let mut requests = Vec::new();
    let mut pending = 0;
    for number in 0..count {
        let mut payload = random.pick(&sound).clone();
        let body = payload.len() - 10;
        for _ in 0..random.within(1..6) {
            let at = random.within(0..body as u64) as usize;
            payload[at] = match random.within(0..4) {
                0 => 0xFF,
                1 => 0x81,
                2 => payload[at] ^ (1 << random.within(0..8)),
                _ => random.next() as u8,
            };
        }
        let sum = crc64(&payload[..body + 2]);
        payload[body + 2..].copy_from_slice(&sum.to_le_bytes());
        encode(&mut requests, &[b"RESTORE".as_slice(), b"restored", b"0", &payload, b"REPLACE"]);
        pending += 1;
        if pending == 500 || number + 1 == count {
            arena.exchange(&requests, pending);
            requests.clear();
            pending = 0;
        }
    }
}

/// The check sum of `DUMP`: CRC-64 of Jones.
fn crc64(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0x95AC_9329_AC4B_C9B5;
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 })
    })
}
