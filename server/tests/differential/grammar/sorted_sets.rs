//! Sorted sets. Ranges of bytes mean something only where all scores are equal: there are keys of their own for them.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[
    (
        "zadd",
        "{<key> {nx|xx|gt|lt|ch|incr}* {<score> <member>}+|<key> {<score> <member>}+|<key-by-bytes> {0 <member>}+}",
    ),
    ("zincrby", "<key> <score> <member>"),
    ("zrem", "{<key>|<key-by-bytes>} {<member>}+"),
    ("zcard", "<key>"),
    ("zscore", "<key> <member>"),
    ("zmscore", "<key> {<member>}+"),
    ("zrank", "<key> <member>"),
    ("zrevrank", "<key> <member>"),
    (
        "zrange",
        "{<key> {<index> <index>|<score-end> <score-end> byscore} {byscore|rev|limit <index> <index>|withscores}*|<key-by-bytes> <byte-end> <byte-end> {bylex|rev|limit <index> <index>|withscores}+}",
    ),
    (
        "zrangestore",
        "<key> {<key> {<index> <index>|<score-end> <score-end> byscore} {byscore|rev|limit <index> <index>|withscores}*|<key-by-bytes> <byte-end> <byte-end> {bylex|rev|limit <index> <index>}+}",
    ),
    ("zrevrange", "<key> <index> <index> {withscores|limit <index> <index>|rev}*"),
    ("zrangebyscore", "<key> <score-end> <score-end> {withscores|limit <index> <index>|rev}*"),
    ("zrevrangebyscore", "<key> <score-end> <score-end> {withscores|limit <index> <index>|bylex}*"),
    ("zrangebylex", "<key-by-bytes> <byte-end> <byte-end> {limit <index> <index>|withscores}*"),
    ("zrevrangebylex", "<key-by-bytes> <byte-end> <byte-end> {limit <index> <index>|rev}*"),
    ("zcount", "<key> <score-end> <score-end>"),
    ("zlexcount", "<key-by-bytes> <byte-end> <byte-end>"),
    ("zremrangebyrank", "<key> {<index>|<sample>} <index>"),
    ("zremrangebyscore", "<key> <score-end> <score-end>"),
    ("zremrangebylex", "<key-by-bytes> <byte-end> <byte-end>"),
    ("zpopmin", "<key> {<index>}?"),
    ("zpopmax", "<key> {<index>}?"),
    (
        "zmpop",
        "{1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {min|max|<word>} {count <index>}*",
    ),
    ("bzpopmin", "{<key>}+ <timeout>"),
    ("bzpopmax", "{<key>}+ <timeout>"),
    ("bzmpop", "<timeout> {1 <key>|2 <key> <key>|<index> <key> <key>} {min|max|<word>} {count <index>}*"),
    (
        "zunion",
        "{1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {withscores|weights <weight>|weights <weight> <weight>|weights <weight> <weight> <weight>|aggregate {sum|min|max|<word>}}*",
    ),
    (
        "zunionstore",
        "<key> {1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {weights <weight>|weights <weight> <weight>|weights <weight> <weight> <weight>|aggregate {sum|min|max|<word>}}*",
    ),
    (
        "zinter",
        "{1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {withscores|weights <weight>|weights <weight> <weight>|weights <weight> <weight> <weight>|aggregate {sum|min|max|<word>}}*",
    ),
    (
        "zinterstore",
        "<key> {1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {weights <weight>|weights <weight> <weight>|weights <weight> <weight> <weight>|aggregate {sum|min|max|<word>}}*",
    ),
    ("zintercard", "{1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {limit <index>|<word>}*"),
    ("zdiff", "{1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {withscores|<word>}*"),
    ("zdiffstore", "<key> {1 <key>|2 <key> <key>|3 <key> <key> <key>|<index> <key> <key>} {withscores}*"),
    ("zrandmember", "<key> {<sample> {withscores|<word>}?}?"),
    ("zscan", "<key> {0|<cursor>} {match <pattern>|count <count>}*"),
];
