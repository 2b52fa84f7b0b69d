//! Keys as a whole: `DUMP`, `RESTORE`, transactions, scripts.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[];
