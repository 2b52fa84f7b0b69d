//! Sets, sorting, HyperLogLog.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[
    ("sadd", "<key> {<member>}+"),
    ("srem", "<key> {<member>}+"),
    ("smove", "<key> <key> <member>"),
    ("sismember", "<key> <member>"),
    ("smismember", "<key> {<member>}+"),
    ("scard", "<key>"),
    ("smembers", "<key>"),
    ("spop", "<key> {<sample>}?"),
    ("srandmember", "<key> {<sample>}?"),
    ("sscan", "<key> {0|<cursor>} {match <pattern>|count <count>|novalues}*"),
    ("sinter", "{<key>}+"),
    ("sinterstore", "<key> {<key>}+"),
    ("sintercard", "{1 <key>|2 <key> <key>|3 <key> <key> <key>|<integer> {<key>}+} {limit <index>|<word>}?"),
    ("sunion", "{<key>}+"),
    ("sunionstore", "<key> {<key>}+"),
    ("sdiff", "{<key>}+"),
    ("sdiffstore", "<key> {<key>}+"),
    (
        "sort",
        "<key> {by <sort-pattern>|get <sort-pattern>|get {#}|limit <index> <index>|asc|desc|alpha|alpha|alpha|alpha|store <key>|<word>}*",
    ),
    (
        "sort_ro",
        "<key> {by <sort-pattern>|get <sort-pattern>|limit <index> <index>|asc|desc|alpha|alpha|alpha|store <key>}*",
    ),
    ("pfadd", "<key> {<member>|<value>}*"),
    ("pfcount", "{<key>}+"),
    ("pfmerge", "<key> {<key>}*"),
    ("pfdebug", "{getreg|decode|encoding|todense|<word>} <key>"),
];
