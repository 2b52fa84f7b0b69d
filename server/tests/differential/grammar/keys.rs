//! Keys as a whole: `DUMP`, `RESTORE`, transactions, scripts.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[
    ("swapdb", "{0|1|2|<database>} {0|1|2|<database>}"),
    ("dump", "<key>"),
    ("restore", "<key> {0|<milliseconds>} <payload> {replace|absttl|idletime <index>|freq <index>|<word>}*"),
];
