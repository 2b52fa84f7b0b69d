//! Streams, with ids that the test chooses: those of the servers have their clocks in them.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[
    (
        "xadd",
        "{<stream> {nomkstream|maxlen <count>|maxlen = <index>|maxlen ~ <index>|minid <stream-id>|minid = <stream-id>|minid ~ <stream-id>|limit <index>}? <stream-id> {<field> <value>}+|<stream> <stream-id> {<field> <member>}+|<key> {maxlen|minid|limit|nomkstream|~|=|<index>}* <stream-id> {<field> <value>}*}",
    ),
    ("xlen", "{<stream>|<key>}"),
    ("xrange", "{<stream>|<key>} {-|<stream-end>} {+|<stream-end>} {count <index>}*"),
    ("xrevrange", "{<stream>|<key>} {+|<stream-end>} {-|<stream-end>} {count <index>}*"),
    (
        "xtrim",
        "{<stream>|<key>} {{maxlen|minid} {~|=}? {<index>|<stream-id>} {limit <index>}?|{maxlen|minid|limit|~|=|<index>|<stream-id>}*}",
    ),
    ("xdel", "{<stream>|<key>} {<stream-id>}+"),
    ("xsetid", "{<stream>|<key>} <stream-id> {entriesadded <index>|maxdeletedid <stream-id>|<word>}*"),
    (
        "xread",
        "{count <index>}? {streams <stream> <stream-end>|streams <stream> <stream> <stream-end> {$|<stream-end>}|streams {<key>|<stream>} {<stream-end>|>|$}}",
    ),
    (
        "xgroup",
        "{create {<stream>|<key>} <group> {$|0|<stream-id>} {mkstream|entriesread <index>|<word>}*|create <stream> <group> 0 mkstream|createconsumer {<stream>|<key>} <group> <consumer>|delconsumer {<stream>|<key>} <group> <consumer>|destroy {<stream>|<key>} <group>|setid {<stream>|<key>} <group> {$|0|<stream-id>} {entriesread <index>}*|help|<word>}",
    ),
    (
        "xreadgroup",
        "group <group> <consumer> {count <index>}? {noack}? {streams <stream> {>|0|<stream-end>}|streams <stream> <stream> > >|streams {<key>|<stream>} {<stream-end>|>|$}}",
    ),
    ("xack", "{<stream>|<key>} <group> {<stream-id>}+"),
    (
        "xpending",
        "{<stream>|<key>} <group> {{idle {0|<index>}}? {-|<stream-end>} {+|<stream-end>} <index> {<consumer>}?}?",
    ),
    (
        "xclaim",
        "{<stream>|<key>} <group> <consumer> {0|0|<index>} {<stream-id>}+ {force|justid|idle <index>|retrycount <index>|lastid <stream-id>|time <at-milliseconds>|<word>}*",
    ),
    (
        "xautoclaim",
        "{<stream>|<key>} <group> <consumer> {0|0|<index>} <stream-end> {count <index>|justid|<word>}*",
    ),
    (
        "xinfo",
        "{stream {<stream>|<key>} {full|full count <index>|<word>}?|groups {<stream>|<key>}|consumers {<stream>|<key>} <group>|help|<word>}",
    ),
];
