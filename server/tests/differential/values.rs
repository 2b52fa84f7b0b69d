//! What the places of a grammar's line are filled with: mostly what makes sense, often a boundary, now and then nonsense.

use crate::support::draw::Draw;

/// Which keys a command mostly works on, so that it mostly finds its type there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Taste {
    Strings,
    Hashes,
    Sets,
    Sketches,
    Lists,
    SortedSets,
    Collections,
    Anything,
}

const NO_INTEGERS: &[&str] = &[
    "",
    "+1",
    "01",
    "1.5",
    "abc",
    " 1",
    "1 ",
    "-0",
    "-",
    "0x10",
    "1e3",
    "--1",
    "1\0",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "99999999999999999999999",
];
const INTEGERS: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "-9223372036854775807",
    "4611686018427387904",
    "2147483647",
    "-2147483648",
    "2147483648",
    "4294967295",
    "4294967296",
    "10",
    "-10",
    "127",
    "255",
];
const FLOATS: &[&str] = &[
    "0.1",
    "1.5",
    "-2.25",
    "3.0",
    "1e3",
    "5.0e-3",
    "1e17",
    "1e18",
    "1e-17",
    "1e-18",
    "-1e-18",
    "0.5e-17",
    "1.00000000000000000001",
    "123456789012345678901234567890",
    "0.30000000000000004",
    "1e300",
    "-1e300",
    "1e4000",
    "1e4932",
    "1.18e4932",
    "-1.18e4932",
    "1e5000",
    "1e-4940",
    "3.6e-4951",
    "1e-5000",
    "inf",
    "-inf",
    "+inf",
    "infinity",
    "INF",
    "nan",
    "nan(1)",
    "0x1p3",
    "0x1.8p-2",
    "0X.8",
    "0x",
    "0xp3",
    "+7",
    "-0",
    "-0.0",
    ".5",
    "5.",
    ".",
    "e5",
    "1e",
    "1e+",
    "1e+3",
    " 1",
    "1 ",
    "1\0",
    "1,5",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "0.1e-16",
    "4.9999999999999999e-18",
    "1.00000000000000000500000000000000001",
];
const SORT_PATTERNS: &[&str] = &[
    "s*", "s*", "h*->f1", "h*->f0", "h*->f2", "nosort", "", "*", "#", "#\0", "h*->", "h1->f*", "h*->f*",
    "*->f1", "s*1", "s\0*", "s*\0->f1", "h*->\0f1", "**", "t*",
];
const PATTERNS: &[&str] = &[
    "*",
    "**",
    "?",
    "s*",
    "h*",
    "*1",
    "[sh]?",
    "[^s]*",
    "[s-h]1",
    "[a-",
    "[",
    "[]",
    "[^]",
    "\\s1",
    "s\\",
    "*s*1*",
    "[\\]]*",
    "?*?",
    "",
    "f*",
    "f[0-5]",
    "*\u{0}*",
    "[x-\u{7f}]*",
    "[\u{80}-\u{ff}]*",
    "f??",
    "S*",
    "[s-]*",
    "[-s]*",
];
const WORDS: &[&str] = &[
    "foo",
    "",
    "ex",
    "nx",
    "xx",
    "get",
    "keepttl",
    "persist",
    "withvalues",
    "sync",
    "bit",
    "byte",
    "db",
    "replace",
    "match",
    "count",
    "px",
    "x\ny",
];

/// Fills a place for a command of the given taste. `now_ms` is the time of the test's start, so that a seed can be replayed.
pub fn fill(draw: &mut Draw, place: &str, taste: Taste, now_ms: i64) -> Vec<u8> {
    // A wait without an end has none here. As many random fields as a large negative number asks for would take Redis an age; a short life may end between the servers' turns.
    if !matches!(place, "timeout" | "key-by-bytes" | "stream" | "sample" | "seconds" | "milliseconds")
        && draw.once_in(150)
    {
        let place = *draw.of(&["integer", "float", "value", "word", "pattern", "key", "index"]);
        return exactly(draw, place, taste, now_ms);
    }
    exactly(draw, place, taste, now_ms)
}

fn exactly(draw: &mut Draw, place: &str, taste: Taste, now_ms: i64) -> Vec<u8> {
    let bad_integer = match place {
        "key" | "payload" | "value" | "field" | "member" | "element" | "float" | "pattern" | "word"
        | "type" | "width" | "timeout" | "score" | "weight" | "score-end" | "byte-end" | "key-by-bytes"
        | "stream" | "group" | "consumer" | "stream-id" | "stream-end" => false,
        _ => draw.once_in(25),
    };
    if bad_integer {
        return draw.of(NO_INTEGERS).as_bytes().to_vec();
    }
    match place {
        "key" => key(draw, taste),
        "value" => value(draw),
        "field" => field(draw),
        "member" => member(draw),
        "payload" => payload(draw),
        "sort-pattern" => draw.of(SORT_PATTERNS).as_bytes().to_vec(),
        "element" => element(draw),
        "timeout" => timeout(draw),
        "rank" => boundary(draw, 5, &["-1", "-2", "-3", "9223372036854775807", "-9223372036854775808"], 3),
        "score" => score(draw),
        "weight" => weight(draw),
        "score-end" => score_end(draw),
        "byte-end" => byte_end(draw),
        "stream" => format!("x{}", draw.below(5)).into_bytes(),
        "group" => format!("g{}", draw.below(3)).into_bytes(),
        "consumer" => format!("c{}", draw.below(4)).into_bytes(),
        "stream-id" => stream_id(draw),
        "stream-end" if draw.once_in(8) => [&b"("[..], &stream_id(draw)].concat(),
        "stream-end" => stream_id(draw),
        "key-by-bytes" => format!("by-bytes{}", draw.below(4)).into_bytes(),
        "integer" => integer(draw),
        "float" => float(draw),
        "index" => number(draw, -12, 60),
        "position" => {
            boundary(draw, 40, &["1048570", "1048576", "1048577", "-1", "9223372036854775807"], 200)
        }
        "bit-position" => match draw.below(6) {
            0 => format!("#{}", draw.below(10)).into_bytes(),
            _ => boundary(draw, 200, &["8388607", "8388608", "-1", "#-1", "#", "##1", "4294967296"], 200),
        },
        "bit" => boundary(draw, 2, &["2", "-1", "01", "a"], 20),
        "width" => match draw.below(12) {
            0 => draw
                .of(&["i64", "u63", "u64", "i65", "i0", "u0", "x8", "i", "", "I8", "i08", "u1", "i1"])
                .as_bytes()
                .to_vec(),
            _ => format!("{}{}", draw.of(&["i", "u"]), draw.between(1, 63)).into_bytes(),
        },
        // Times to live are far from each other and from now: both servers' clocks then give the same answers.
        "seconds" if draw.once_in(20) => {
            decimal(draw.between(1, 9_221_000) * 1_000_000_000 + draw.below(1_000_000_000) as i64)
        }
        "milliseconds" if draw.once_in(20) => {
            decimal(draw.between(1, 9_221_000) * 1_000_000_000_000 + draw.below(1_000_000_000) as i64)
        }
        "seconds" => boundary_or(
            draw,
            1000,
            100_000_000,
            &[
                "0",
                "-1",
                "9223372036854775807",
                "9223372036854775",
                "9223372036854776",
                "-9223372036854775808",
                "-9223372036854776",
            ],
        ),
        "milliseconds" => boundary_or(
            draw,
            1_000_000,
            100_000_000_000,
            &["0", "-1", "9223372036854775807", "9223372036854775", "-9223372036854775808"],
        ),
        "at-seconds" => boundary_or(
            draw,
            now_ms / 1000 + 1000,
            now_ms / 1000 + 100_000_000,
            &[
                "0",
                "1",
                "-1",
                "9223372036854775807",
                "9223372036854775",
                "9223372036854776",
                "-9223372036854775808",
            ],
        ),
        "at-milliseconds" => boundary_or(
            draw,
            now_ms + 1_000_000,
            now_ms + 100_000_000_000,
            &["0", "1", "-1", "1000", "9223372036854775807", "-9223372036854775808"],
        ),
        "database" => boundary(draw, 4, &["15", "16", "-1", "2147483648", "-2147483649"], 12),
        "cursor" => boundary(
            draw,
            64,
            &["", "+1", "-1", "007", "18446744073709551615", "18446744073709551616", "a", " 0"],
            3,
        ),
        "count" => boundary(draw, 1000, &["0", "-1", "1000000", "9223372036854775807"], 8),
        "sample" => match draw.below(25) {
            0 => draw
                .of(&["9223372036854775807", "-9223372036854775808", "4611686018427387904"])
                .as_bytes()
                .to_vec(),
            _ => decimal(draw.between(-20, 40)),
        },
        // Not "none": a key that is dead and not reclaimed yet has that type in Redis.
        "type" => {
            draw.of(&["string", "hash", "list", "set", "zset", "STRING", "stream", ""]).as_bytes().to_vec()
        }
        "pattern" if draw.once_in(2) => {
            const ALPHABET: &[u8] = b"**??[[]]^-\\shfk0123\xff\x81\xfe\0";
            (0..draw.below(9)).map(|_| *draw.of(ALPHABET)).collect()
        }
        "pattern" => draw.of(PATTERNS).chars().map(|c| c as u8).collect(),
        "word" => draw.of(WORDS).as_bytes().to_vec(),
        _ => panic!("no place is called {place}"),
    }
}

fn decimal(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn number(draw: &mut Draw, least: i64, most: i64) -> Vec<u8> {
    if draw.once_in(25) {
        draw.of(&INTEGERS[..4]).as_bytes().to_vec()
    } else {
        decimal(draw.between(least, most))
    }
}

fn boundary(draw: &mut Draw, below: usize, boundaries: &[&str], rarely: usize) -> Vec<u8> {
    if draw.once_in(rarely) {
        draw.of(boundaries).as_bytes().to_vec()
    } else {
        decimal(draw.below(below) as i64)
    }
}

fn boundary_or(draw: &mut Draw, least: i64, most: i64, boundaries: &[&str]) -> Vec<u8> {
    if draw.once_in(5) { draw.of(boundaries).as_bytes().to_vec() } else { decimal(draw.between(least, most)) }
}

fn key(draw: &mut Draw, taste: Taste) -> Vec<u8> {
    let own = !draw.once_in(10);
    match taste {
        Taste::Strings if own => format!("s{}", draw.below(8)).into_bytes(),
        Taste::Hashes if own => format!("h{}", draw.below(6)).into_bytes(),
        Taste::Sketches if own => format!("p{}", draw.below(4)).into_bytes(),
        Taste::Sets if own => format!("t{}", draw.below(6)).into_bytes(),
        Taste::Collections if own => {
            let kind = *draw.of(&['l', 't', 'z']);
            format!("{kind}{}", draw.below(5)).into_bytes()
        }
        Taste::Lists if own => format!("l{}", draw.below(6)).into_bytes(),
        Taste::SortedSets if own => {
            format!("{}{}", if draw.once_in(6) { 't' } else { 'z' }, draw.below(5)).into_bytes()
        }
        _ => match draw.below(24) {
            0 => Vec::new(),
            1 => b"\0\xff\r\n".to_vec(),
            2 => vec![b'k'; 300],
            3 => b"\x81\xfe".to_vec(),
            4..8 => format!("h{}", draw.below(6)).into_bytes(),
            8..11 => format!("z{}", draw.below(5)).into_bytes(),
            11..14 => format!("t{}", draw.below(6)).into_bytes(),
            14..16 => format!("l{}", draw.below(6)).into_bytes(),
            16 => format!("p{}", draw.below(4)).into_bytes(),
            _ => format!("s{}", draw.below(8)).into_bytes(),
        },
    }
}

fn field(draw: &mut Draw) -> Vec<u8> {
    match draw.below(16) {
        0 => Vec::new(),
        1 => b"f\0\xff\r\n".to_vec(),
        2 => decimal(draw.between(-3, 3)),
        3 => vec![b'f'; draw.of(&[63, 64, 65, 300]).to_owned()],
        4..8 => format!("f{}", draw.below(400)).into_bytes(),
        _ => format!("f{}", draw.below(10)).into_bytes(),
    }
}

/// Mostly integers, of which some sets consist.
fn member(draw: &mut Draw) -> Vec<u8> {
    match draw.below(40) {
        0 => Vec::new(),
        1 => b"m\0\xff\r\n".to_vec(),
        2 => vec![b'm'; draw.of(&[63, 64, 65, 300, 5000]).to_owned()],
        3 => draw.of(NO_INTEGERS).as_bytes().to_vec(),
        4 => draw.of(INTEGERS).as_bytes().to_vec(),
        5..10 => format!("m{}", draw.below(10)).into_bytes(),
        10..18 => decimal(draw.between(-400, 400)),
        _ => decimal(draw.between(-5, 15)),
    }
}

/// Of a list: few different ones, so that some are equal.
fn element(draw: &mut Draw) -> Vec<u8> {
    if draw.once_in(6) { value(draw) } else { format!("e{}", draw.below(8)).into_bytes() }
}

/// Of a blocking command: so short that both servers give up at once.
fn timeout(draw: &mut Draw) -> Vec<u8> {
    const WRONG: &[&str] = &["-1", "-0.5", "x", "", "inf", "-inf", "nan", "9223372036854776", "1e4000", " 1"];
    if draw.once_in(6) {
        draw.of(WRONG).as_bytes().to_vec()
    } else {
        draw.of(&["0.001", "1e-3", "0x1p-10"]).as_bytes().to_vec()
    }
}

/// Few different times, so that ids meet.
fn stream_id(draw: &mut Draw) -> Vec<u8> {
    const ODD: &[&str] = &[
        "-",
        "+",
        "0",
        "0-0",
        "0-1",
        "0-*",
        "5-",
        "-5",
        "1-2-3",
        "+7",
        "7-+1",
        " 7",
        "7 ",
        "007-01",
        "a",
        "",
        "18446744073709551615",
        "18446744073709551616-1",
        "18446744073709551615-18446744073709551615",
        "5--3",
        "40-18446744073709551615",
        "(7",
        "7-\0",
        "7--03",
    ];
    match draw.below(60) {
        0 => draw.of(ODD).as_bytes().to_vec(),
        1..20 => format!("{}", draw.below(60)).into_bytes(),
        20..30 => format!("{}-*", draw.below(60)).into_bytes(),
        30..33 => format!("{}", draw.below(3000)).into_bytes(),
        _ => format!("{}-{}", draw.below(60), draw.below(6)).into_bytes(),
    }
}

/// Few different ones mostly, so that many are equal.
fn score(draw: &mut Draw) -> Vec<u8> {
    match draw.below(30) {
        0 => float(draw),
        1 => integer(draw),
        2 => draw.of(&["inf", "-inf", "+inf", "4503599627370497", "9007199254740993"]).as_bytes().to_vec(),
        3..6 => format!("{}.{}", draw.between(-9, 9), draw.below(100)).into_bytes(),
        _ => decimal(draw.between(-5, 20)),
    }
}

fn weight(draw: &mut Draw) -> Vec<u8> {
    if draw.once_in(4) {
        score(draw)
    } else {
        draw.of(&["1", "2", "0.5", "3", "0", "-1"]).as_bytes().to_vec()
    }
}

fn score_end(draw: &mut Draw) -> Vec<u8> {
    match draw.below(12) {
        0 => b"-inf".to_vec(),
        1 => b"+inf".to_vec(),
        2 => draw
            .of(&["", "(", " 1", "1 ", "((1", "nan", "(inf", "(-inf", "1e400", "(x", "1\0x", "0x1p2"])
            .as_bytes()
            .to_vec(),
        3..7 => [b"(", &score(draw)[..]].concat(),
        _ => score(draw),
    }
}

fn byte_end(draw: &mut Draw) -> Vec<u8> {
    match draw.below(12) {
        0 | 1 => b"-".to_vec(),
        2 | 3 => b"+".to_vec(),
        4 => draw.of(&["", "(", "[", "1", "-1", "++", "+\0x", "-\0"]).as_bytes().to_vec(),
        5..8 => [b"(", &member(draw)[..]].concat(),
        _ => [b"[", &member(draw)[..]].concat(),
    }
}

/// Whether a key, if it holds a sorted set, holds one whose members all have the score 0.
pub fn is_ordered_by_bytes(key: &[u8]) -> bool {
    key.starts_with(b"by-bytes")
}

fn value(draw: &mut Draw) -> Vec<u8> {
    match draw.below(16) {
        0 => Vec::new(),
        1..5 => integer(draw),
        5..7 => float(draw),
        7 => vec![b'x'; *draw.of(&[44, 45, 63, 64, 65, 5000])],
        8..11 => {
            let alphabet = *draw.of(&[&b"ab"[..], b"abc", b"\0\xff", b"\x0f\xf0\r\n"]);
            let length = draw.below(60);
            (0..length).map(|_| *draw.of(alphabet)).collect()
        }
        _ => (0..draw.below(20)).map(|_| draw.number() as u8).collect(),
    }
}

fn integer(draw: &mut Draw) -> Vec<u8> {
    match draw.below(10) {
        0 => draw.of(INTEGERS).as_bytes().to_vec(),
        1 if draw.once_in(3) => draw.of(NO_INTEGERS).as_bytes().to_vec(),
        2 => decimal(draw.number() as i64),
        _ => decimal(draw.between(-200, 200)),
    }
}

fn float(draw: &mut Draw) -> Vec<u8> {
    match draw.below(6) {
        0 | 1 => draw.of(FLOATS).as_bytes().to_vec(),
        2 => decimal(draw.between(-1000, 1000)),
        3 => format!("{}.{}", draw.between(-1000, 1000), draw.number() % 1000).into_bytes(),
        4 => format!("{}.{}e{}", draw.number() % 1000, draw.number(), draw.between(-30, 30)).into_bytes(),
        _ => format!("{}", f64::from_bits(draw.number() & !(0x7 << 60) | 0x3 << 60)).into_bytes(),
    }
}

/// What `RESTORE` takes, of all types; now and then with a wrong checksum, or with a right one over what is nothing.
fn payload(draw: &mut Draw) -> Vec<u8> {
    let objects: [&[u8]; 10] = [
        b"\x00\x05value",
        b"\x00\xC0\x85",
        b"\x01\x02\x01a\xC1\x00\x7F",
        b"\x02\x02\x01a\x01b",
        b"\x04\x02\x02f1\x01v\x02f2\xC0\x07",
        b"\x05\x02\x02m1\0\0\0\0\0\0\xF0\x3F\x02m2\0\0\0\0\0\0\0\xC0",
        b"\x0B\x0C\x02\0\0\0\x02\0\0\0\x01\0\x02\0",
        b"\x02\x02\x01a\x01a",
        b"\x01\x00",
        b"\x00\xC3\x06\x05\x00a\x20\x00\x00b",
    ];
    let mut payload = draw.of(&objects).to_vec();
    payload.extend_from_slice(&[9, 0]);
    let crc = sessile_server::command::dump::crc64::crc64(&payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    if draw.once_in(10) {
        let at = draw.below(payload.len());
        payload[at] ^= 1;
    }
    payload
}
