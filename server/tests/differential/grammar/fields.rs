//! Fields of hashes that die, and what else the oracle may not know.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[];
