//! Sorted sets.

/// See [`super::LINES`].
pub const LINES: &[(&str, &str)] = &[];
