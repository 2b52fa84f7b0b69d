//! Sets, sorting, HyperLogLog.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[];
