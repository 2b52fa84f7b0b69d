//! Keys as a whole: `DUMP`, `RESTORE`, transactions, scripts.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[
    ("dump", "<key>"),
    ("restore", "<key> {0|<milliseconds>} <payload> {replace|absttl|idletime <index>|freq <index>|<word>}*"),
];
