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
];
