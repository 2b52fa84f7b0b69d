//! Lists.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[
    ("lpush", "<key> {<element>}+"),
    ("rpush", "<key> {<element>}+"),
    ("lpushx", "<key> {<element>}+"),
    ("rpushx", "<key> {<element>}+"),
    ("lpop", "<key> {<index>}?"),
    ("rpop", "<key> {<index>}?"),
    ("llen", "<key>"),
    ("lindex", "<key> <index>"),
    ("lset", "<key> <index> <element>"),
    ("lrange", "<key> <index> <index>"),
    ("ltrim", "<key> {0|-60|<index>} {-1|60|<index>}"),
    ("lrem", "<key> {0|<index>} <element>"),
    ("linsert", "<key> {before|after|<word>} <element> <element>"),
    ("lpos", "<key> <element> {rank <rank>|count <index>|maxlen <index>}*"),
    ("lmove", "<key> <key> {left|right|<word>} {left|right}"),
    ("rpoplpush", "<key> <key>"),
    (
        "lmpop",
        "{1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {left|right|<word>} {count <index>}*",
    ),
    ("blpop", "{<key>}+ <timeout>"),
    ("brpop", "{<key>}+ <timeout>"),
    ("blmove", "<key> <key> {left|right|<word>} {left|right} <timeout>"),
    ("brpoplpush", "<key> <key> <timeout>"),
    ("blmpop", "<timeout> {1 <key>|2 <key> <key>|<index> <key> <key>} {left|right|<word>} {count <index>}*"),
];
