//! What well-formed commands look like: one line per row of the command table, and how to draw from a line.
//!
//! A line has words (sent as they are, in either case), `<places>` filled by [`super::values`], `{a|b c}` for one of several, and `?`,
//! `*`, `+` behind a group for none or one, any number, at least one.

pub mod fields;
pub mod keys;
pub mod lists;
pub mod sets;
pub mod sorted_sets;
pub mod streams;

use crate::support::draw::Draw;

/// All lines. A test fails when a row of the table has none.
pub fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    [LINES, lists::LINES, sets::LINES, sorted_sets::LINES, streams::LINES, fields::LINES, keys::LINES]
        .into_iter()
        .flatten()
        .copied()
}

/// The lines of strings, hashes and keys in general.
pub const LINES: &[(&str, &str)] = &[
    ("get", "<key>"),
    (
        "set",
        "<key> <value> {nx|xx|get|keepttl|ex <seconds>|px <milliseconds>|exat <at-seconds>|pxat <at-milliseconds>}*",
    ),
    ("setnx", "<key> <value>"),
    ("setex", "<key> <seconds> <value>"),
    ("psetex", "<key> <milliseconds> <value>"),
    ("getset", "<key> <value>"),
    ("getdel", "<key>"),
    ("getex", "<key> {persist|ex <seconds>|px <milliseconds>|exat <at-seconds>|pxat <at-milliseconds>}*"),
    ("mget", "{<key>}+"),
    ("mset", "{<key> <value>}+"),
    ("msetnx", "{<key> <value>}+"),
    ("incr", "<key>"),
    ("decr", "<key>"),
    ("incrby", "<key> <integer>"),
    ("decrby", "<key> <integer>"),
    ("incrbyfloat", "<key> <float>"),
    ("append", "<key> <value>"),
    ("strlen", "<key>"),
    ("getrange", "<key> <index> <index>"),
    ("substr", "<key> <index> <index>"),
    ("setrange", "<key> <position> <value>"),
    ("lcs", "<key> <key> {idx|len|withmatchlen|minmatchlen <index>}*"),
    ("setbit", "<key> <bit-position> <bit>"),
    ("getbit", "<key> <bit-position>"),
    ("bitcount", "<key> {<index> <index> {bit|byte}?}?"),
    ("bitpos", "<key> <bit> {<index> {<index> {bit|byte}?}?}?"),
    ("bitop", "{and|or|xor|not} <key> <key> {<key>}*"),
    (
        "bitfield",
        "<key> {get <width> <bit-position>|set <width> <bit-position> <integer>|incrby <width> <bit-position> <integer>|overflow {wrap|sat|fail|<word>}}*",
    ),
    ("bitfield_ro", "<key> {get <width> <bit-position>}*"),
    ("expire", "<key> <seconds> {nx|xx|gt|lt|<word>}*"),
    ("pexpire", "<key> <milliseconds> {nx|xx|gt|lt}*"),
    ("expireat", "<key> <at-seconds> {nx|xx|gt|lt}*"),
    ("pexpireat", "<key> <at-milliseconds> {nx|xx|gt|lt}*"),
    ("ttl", "<key>"),
    ("pttl", "<key>"),
    ("expiretime", "<key>"),
    ("pexpiretime", "<key>"),
    ("persist", "<key>"),
    ("del", "{<key>}+"),
    ("unlink", "{<key>}+"),
    ("exists", "{<key>}+"),
    ("type", "<key>"),
    ("touch", "{<key>}+"),
    ("rename", "<key> <key>"),
    ("renamenx", "<key> <key>"),
    ("copy", "<key> <key> {db <database>|replace}*"),
    ("move", "<key> <database>"),
    ("scan", "{0|<cursor>} {match <pattern>|count <count>|type <type>}*"),
    ("keys", "<pattern>"),
    ("randomkey", ""),
    ("dbsize", ""),
    ("flushdb", "{sync|async|<word>}?"),
    ("flushall", "{sync|async|<word>}?"),
    ("hset", "<key> {<field> <value>}+"),
    ("hmset", "<key> {<field> <value>}+"),
    ("hsetnx", "<key> <field> <value>"),
    ("hget", "<key> <field>"),
    ("hmget", "<key> {<field>}+"),
    ("hgetall", "<key>"),
    ("hkeys", "<key>"),
    ("hvals", "<key>"),
    ("hlen", "<key>"),
    ("hexists", "<key> <field>"),
    ("hdel", "<key> {<field>}+"),
    ("hstrlen", "<key> <field>"),
    ("hincrby", "<key> <field> <integer>"),
    ("hincrbyfloat", "<key> <field> <float>"),
    ("hrandfield", "<key> {<sample> {withvalues|<word>}?}?"),
    ("hscan", "<key> {0|<cursor>} {match <pattern>|count <count>}*"),
    ("object", "{encoding <key>|refcount <key>|idletime <key>|freq <key>|help|<word>}"),
    ("memory", "{usage <key> {samples <index>}*|doctor|help|<word>}"),
];

/// More lines, for a running server: what answers alike beside the commands on data.
pub const SERVER_LINES: &[(&str, &str)] = &[
    ("ping", "{<value>}?"),
    ("echo", "<value>"),
    ("select", "{0|1|2|<database>}"),
    ("nosuchcommand", "{<value>}*"),
    ("x\ny", "{<key>}*"),
    ("auth", "{<word>}+"),
    ("dbsize", "<word>"),
    ("client", "{getname|nosuch <word>|setname <word>|no-evict {on|off|<word>}}"),
    (
        "command",
        "{getkeys {get <key>|set <key> <value> {nx}?|mset {<key> <value>}+|del {<key>}+|copy <key> <key> {replace}?|bitop and {<key>}+|hset <key> {<field> <value>}+|lcs <key> <key>|object encoding <key>|memory usage <key>|rename <key> <key>|move <key> <database>|memory <word> <key>|client <word>|scan 0|ping <word>|nosuch <word>}|nosuch}",
    ),
];

/// A line, taken apart.
pub enum Part {
    Word(String),
    Place(String),
    Group { choices: Vec<Vec<Part>>, least: usize, most: usize },
}

/// Takes a line apart.
pub fn parse(line: &str) -> Vec<Part> {
    let mut rest = line;
    let parts = sequence(&mut rest);
    assert_eq!(rest, "", "in {line}");
    parts
}

fn sequence(rest: &mut &str) -> Vec<Part> {
    /// How often a starred group is drawn at most.
    const REPEATS: usize = 4;
    let mut parts = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(['|', '}']) {
            return parts;
        }
        if let Some(inner) = rest.strip_prefix('{') {
            *rest = inner;
            let mut choices = vec![sequence(rest)];
            while let Some(next) = rest.strip_prefix('|') {
                *rest = next;
                choices.push(sequence(rest));
            }
            *rest = rest.strip_prefix('}').expect("a group is closed");
            let (least, most) = match rest.chars().next() {
                Some('?') => (0, 1),
                Some('*') => (0, REPEATS),
                Some('+') => (1, REPEATS),
                _ => (1, 1),
            };
            *rest = rest.strip_prefix(['?', '*', '+']).unwrap_or(rest);
            parts.push(Part::Group { choices, least, most });
            continue;
        }
        let end = rest.find([' ', '|', '}']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        *rest = after;
        parts.push(match word.strip_prefix('<').and_then(|word| word.strip_suffix('>')) {
            Some(place) => Part::Place(place.to_owned()),
            None => Part::Word(word.to_owned()),
        });
    }
}

/// Draws a command's arguments; `fill` makes an argument for a place.
pub fn draw(
    parts: &[Part],
    draw_from: &mut Draw,
    fill: &mut dyn FnMut(&mut Draw, &str) -> Vec<u8>,
    args: &mut Vec<Vec<u8>>,
) {
    for part in parts {
        match part {
            Part::Word(word) => args.push(either_case(word, draw_from)),
            Part::Place(place) => args.push(fill(draw_from, place)),
            Part::Group { choices, least, most } => {
                let mut times = *least + draw_from.below(most - least + 1);
                if *most > 1 && draw_from.once_in(100) {
                    times += 150;
                } else if *most > 1 && times > 2 && draw_from.once_in(2) {
                    // Most combinations of many options are errors: fewer of them tell more.
                    times = (*least).max(1);
                }
                for _ in 0..times {
                    let choice = &choices[draw_from.below(choices.len())];
                    draw(choice, draw_from, fill, args);
                }
            }
        }
    }
}

fn either_case(word: &str, draw_from: &mut Draw) -> Vec<u8> {
    match draw_from.below(8) {
        0 => word.to_uppercase().into_bytes(),
        1 => word
            .bytes()
            .enumerate()
            .map(|(i, b)| if i % 2 == 0 { b.to_ascii_uppercase() } else { b })
            .collect(),
        _ => word.as_bytes().to_vec(),
    }
}
