//! Bytes that are no requests, or announce more than they bring, or never end.

use super::arena::{Arena, Attack};
use super::support::{Random, encode};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new("malformed requests, each of the table", malformed),
    Attack::new("malformed requests, each of the table", malformed).strangers(),
    Attack::new("valid requests, mutated", mutated),
    Attack::new("valid requests, mutated", mutated).strangers(),
    Attack::new("half a gigabyte announced by each of 500, nothing sent", announced),
    Attack::new("half a gigabyte announced by each of 500, nothing sent", announced).strangers(),
    Attack::new("an inline request that never ends, by 200", endless_inline),
    Attack::new("an inline request that never ends, by 200", endless_inline).strangers(),
    Attack::new("a length that never ends, by 200", endless_length),
    Attack::new("a length that never ends, by 200", endless_length).strangers(),
    Attack::new("requests just within what strangers may send, unfinished, by 2,000", unfinished).strangers(),
    Attack::new("an argument of 512 MiB", |arena| large_argument(arena, 512 << 20)),
    Attack::new("a million arguments", million_arguments),
    Attack::new("a byte at a time, by 1,000", byte_by_byte),
    Attack::new("a byte at a time, by 1,000", byte_by_byte).strangers(),
    Attack::new("empty lines and empty requests, without end", |arena| {
        arena.floods(4, b"\r\n*0\r\n*-1\r\n   \r\n", 1 << 30);
    }),
    Attack::new("empty lines and empty requests, without end", |arena| {
        arena.floods(4, b"\r\n*0\r\n*-1\r\n   \r\n", 1 << 30);
    })
    .strangers(),
    Attack::new("errors without end, unread", |arena| arena.floods(4, b"NOSUCH command here\r\n", 1 << 30)),
    Attack::new("errors without end, unread", |arena| arena.floods(4, b"NOSUCH command here\r\n", 1 << 30))
        .strangers(),
    Attack::new("HTTP", |arena| {
        let request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nSET a b\r\n";
        each_is_closed(arena, arena.scaled(2000), |_| request.to_vec());
    }),
];

/// Numbers where a length belongs.
const LENGTHS: [&str; 30] = [
    "",
    "-",
    "+",
    "+1",
    "-0",
    "-1",
    "-2",
    "-2147483648",
    "-2147483649",
    "-9223372036854775808",
    "-9223372036854775809",
    "00",
    "01",
    "1.5",
    "1e3",
    "0x10",
    " 1",
    "1 ",
    "1\0",
    "\0",
    "abc",
    "1048577",
    "536870913",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999",
];

/// The table: hundreds of requests that are none.
pub(crate) fn table() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = Vec::new();
    for length in LENGTHS {
        for end in ["\r\n", "\n", "\r", "\r\r\n", ""] {
            cases.push(format!("*{length}{end}").into_bytes());
            cases.push(format!("*2\r\n${length}{end}").into_bytes());
            cases.push(format!("*2\r\n$3\r\nGET\r\n${length}{end}").into_bytes());
        }
    }
    for kind in 0..=255u8 {
        cases.push([b"*1\r\n", &[kind][..], b"4\r\nPING\r\n"].concat());
        cases.push([&[kind][..], b"1\r\n$4\r\nPING\r\n"].concat());
    }
    for inline in [
        "\"",
        "'",
        "GET \"a",
        "GET 'a",
        "GET \"a\"b",
        "GET 'a'b",
        "GET \"\\x",
        "GET \"\\xzz\"",
        "GET '\\''",
        "\0",
        "\0\0\0",
        "GET \0",
        "\t",
        "\x0b\x0c",
    ] {
        for end in ["\r\n", "\n", ""] {
            cases.push(format!("{inline}{end}").into_bytes());
        }
    }
    for wrong_end in [&b"xx"[..], b"\n\n", b"\r\r", b"\n\r", b"", b"\0\0", b"*1"] {
        cases.push([b"*1\r\n$4\r\nPING", wrong_end].concat());
        cases.push([b"*2\r\n$3\r\nGET", wrong_end, b"$1\r\nk\r\n"].concat());
    }
    for nested in [
        "*1\r\n*1\r\n$4\r\nPING\r\n",
        "*2\r\n*1\r\n",
        "*1\r\n:1\r\n",
        "%1\r\n$4\r\nPING\r\n$1\r\na\r\n",
        ">1\r\n",
    ] {
        cases.push(nested.as_bytes().to_vec());
    }
    cases.push(b"*".repeat(70_000));
    cases.push(b"$".repeat(70_000));
    cases.push(vec![b'x'; 70_000]);
    cases.push(vec![0; 70_000]);
    cases.push([&b"*1\r\n$"[..], &[b'1'; 70_000]].concat());
    cases.push([&b"*"[..], &[b'0'; 70_000], b"1\r\n$4\r\nPING\r\n"].concat());
    cases
}

/// What a server says to these bytes, and nothing more, until it closes.
pub(crate) fn answer(port: u16, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set a timeout");
    // It may be closed before all of it is taken.
    let _ = stream.write_all(request).and_then(|()| stream.shutdown(Shutdown::Write));
    super::skim::Skim::new(stream).read_to_end().expect("it closes")
}

/// Each request on a connection of its own, which says no more after it; each connection must come to its end.
fn each_is_closed(arena: &Arena, count: u64, request: impl Fn(u64) -> Vec<u8> + Sync) {
    const WORKERS: u64 = 4;
    arena.count(count);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let request = &request;
            scope.spawn(move || {
                for number in (worker..count).step_by(WORKERS as usize) {
                    let bytes = request(number);
                    let mut stream = arena.raw();
                    // It may be closed before all of it is taken.
                    let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
                    let said = arena.closes(stream).unwrap_or_else(|error| {
                        panic!(
                            "not closed: {error}, after {:?}",
                            bytes[..bytes.len().min(300)].escape_ascii().to_string()
                        )
                    });
                    let first = said.first().copied();
                    assert!(
                        first.is_none_or(|first| b"+-:$*_,#(=!~>%|".contains(&first)),
                        "{:?} to {:?}",
                        said.escape_ascii().to_string(),
                        bytes.escape_ascii().to_string()
                    );
                }
            });
        }
    });
}

fn malformed(arena: &Arena) {
    let table = table();
    let rounds = arena.scaled(5);
    each_is_closed(arena, rounds * table.len() as u64, |number| table[number as usize % table.len()].clone());
}

const VALID: [&[&str]; 32] = [
    &["SET", "k", "v", "EX", "100", "NX", "GET"],
    &["GET", "k"],
    &["MSET", "a", "1", "b", "2"],
    &["SETRANGE", "k", "100", "value"],
    &["SETBIT", "bits", "4000", "1"],
    &["BITFIELD", "bits", "SET", "u8", "#3", "200", "OVERFLOW", "SAT", "INCRBY", "i5", "100", "1"],
    &["INCRBYFLOAT", "f", "1.5e3"],
    &["HSET", "h", "f", "v", "g", "w"],
    &["HRANDFIELD", "h", "-5", "WITHVALUES"],
    &["LPUSH", "l", "a", "b", "c"],
    &["LPOS", "l", "a", "RANK", "-1", "COUNT", "0", "MAXLEN", "10"],
    &["LINSERT", "l", "BEFORE", "a", "b"],
    &["LRANGE", "l", "0", "-1"],
    &["SADD", "s", "a", "b"],
    &["SRANDMEMBER", "s", "-10"],
    &["SINTERCARD", "2", "s", "t", "LIMIT", "3"],
    &["ZADD", "z", "GT", "CH", "1.5", "a", "inf", "b"],
    &["ZRANGE", "z", "(1", "+inf", "BYSCORE", "LIMIT", "0", "-1", "WITHSCORES"],
    &["ZUNIONSTORE", "d", "2", "z", "s", "WEIGHTS", "1", "2", "AGGREGATE", "MAX"],
    &["XADD", "x", "MAXLEN", "~", "10", "*", "f", "v"],
    &["XRANGE", "x", "-", "+", "COUNT", "5"],
    &["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "x", ">"],
    &["SCAN", "0", "MATCH", "a*[b-c]?\\d", "COUNT", "10"],
    &["SORT", "l", "BY", "w_*", "GET", "#", "LIMIT", "0", "5", "ALPHA", "DESC"],
    &["GEOADD", "geo", "13.361389", "38.115556", "Palermo"],
    &["EVAL", "return redis.call('GET', KEYS[1])", "1", "k"],
    &["CLIENT", "LIST", "ID", "1", "2"],
    &["OBJECT", "ENCODING", "k"],
    &["COMMAND", "GETKEYS", "EVAL", "x", "1", "k"],
    &["SUBSCRIBE", "a", "b"],
    &["RESTORE", "r", "0", "\x00\x01a\x0a\x00", "REPLACE"],
    &["PFADD", "p", "a", "b", "c"],
];

/// One to ten valid requests, of which bytes were changed, taken out, put in, doubled, or whose lengths lie.
fn mutation(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.within(1..10) {
        encode(&mut bytes, random.pick::<&[&str]>(&VALID));
    }
    for _ in 0..random.within(1..8) {
        if bytes.is_empty() {
            break;
        }
        let at = random.within(0..bytes.len() as u64) as usize;
        match random.within(0..6) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.within(0..8),
            2 => {
                bytes.remove(at);
            }
            3 => bytes.insert(at, random.next() as u8),
            4 => {
                let end = (at + random.within(1..64) as usize).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = random.within(0..bytes.len() as u64) as usize;
                bytes.splice(to..to, part);
            }
            _ => {
                // The next length becomes another.
                let Some(found) = bytes[at..].iter().position(|byte| b"*$".contains(byte)) else { continue };
                let begin = at + found + 1;
                let end =
                    bytes[begin..].iter().position(|byte| *byte == b'\r').map_or(begin, |end| begin + end);
                let length = *random.pick(&LENGTHS);
                bytes.splice(begin..end, length.bytes());
            }
        }
    }
    bytes
}

fn mutated(arena: &Arena) {
    let seed = arena.random().next();
    let count = arena.scaled(20_000);
    each_is_closed(arena, count, |number| mutation(&mut Random::new(seed.wrapping_add(number))));
}

/// Connections that each have said something and are held for a while.
fn hold(arena: &Arena, count: u64, said: impl Fn(u64) -> Vec<u8>) -> Vec<TcpStream> {
    arena.count(count);
    let mut held = Vec::new();
    for number in 0..count {
        let mut stream = arena.raw();
        let _ = stream.write_all(&said(number));
        held.push(stream);
    }
    std::thread::sleep(arena.spell() / 2);
    held
}

fn announced(arena: &Arena) {
    let announcements: [&[u8]; 4] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
        b"*1048576\r\n$4\r\nMGET\r\n",
        b"*3\r\n$536870912\r\n",
        b"*1048576\r\n$1\r\na\r\n$536870912\r\nx",
    ];
    drop(hold(arena, arena.scaled(500).max(8), |number| announcements[number as usize % 4].to_vec()));
}

fn unfinished(arena: &Arena) {
    // Nine whole arguments and nearly the tenth: 163 KB of each, 330 MB of all.
    let mut request = b"*10\r\n".to_vec();
    for _ in 0..9 {
        request.extend_from_slice(b"$16384\r\n");
        request.extend_from_slice(&[b'x'; 16_384]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"$16384\r\nxxxx");
    drop(hold(arena, arena.scaled(2000), |_| request.clone()));
}

/// Sends what never ends until the server has had enough of it, on several connections at once.
fn until_closed(arena: &Arena, connections: u64, begin: &[u8], forever: &[u8]) {
    const BYTES_MAX: usize = 8 << 20;
    arena.count(connections);
    let mut streams: Vec<_> = (0..connections).map(|_| arena.raw()).collect();
    let chunk = forever.repeat(4096 / forever.len());
    for stream in &mut streams {
        let _ = stream.write_all(begin);
        stream.set_write_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
    }
    let mut sent = 0;
    while !streams.is_empty() {
        assert!(sent < BYTES_MAX, "{} connections that never end a line are let go on", streams.len());
        sent += chunk.len();
        streams.retain_mut(|stream| stream.write_all(&chunk).is_ok());
    }
}

fn endless_inline(arena: &Arena) {
    until_closed(arena, arena.scaled(200), b"", b"GET a ");
}

fn endless_length(arena: &Arena) {
    until_closed(arena, arena.scaled(200), b"*1\r\n$", b"1");
}

fn large_argument(arena: &Arena, full: u64) {
    let bytes = arena.scaled(full);
    // It is held once while it is received, and once as a value.
    arena.data(2 * bytes);
    let mut stream = arena.raw();
    let header = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${bytes}\r\n");
    stream.write_all(header.as_bytes()).expect("send");
    let chunk = vec![b'x'; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(chunk.len() as u64);
        stream.write_all(&chunk[..part as usize]).expect("send");
        left -= part;
    }
    stream.write_all(b"\r\n").expect("send");
    arena.count(1);
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"+OK\r\n");
}

fn million_arguments(arena: &Arena) {
    let count = arena.scaled(1_048_575);
    let mut request = format!("*{}\r\n$3\r\nDEL\r\n", count + 1).into_bytes();
    for number in 0..count {
        request.extend_from_slice(format!("$8\r\n{number:08}\r\n").as_bytes());
    }
    // The request itself is data of its sender.
    arena.data(request.len() as u64);
    arena.exchange(&request, 1);
}

fn byte_by_byte(arena: &Arena) {
    let connections = arena.scaled(1000);
    let request = b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$100\r\n";
    let mut streams: Vec<_> = (0..connections).map(|_| arena.raw()).collect();
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < arena.spell() {
        let byte = request.get(sent).copied().unwrap_or(b'x');
        for stream in &mut streams {
            // Strangers are told that they must not.
            let _: io::Result<()> = stream.write_all(&[byte]);
        }
        sent += 1;
        arena.count(connections);
        std::thread::sleep(Duration::from_millis(20));
    }
}
