//! What the fuzz targets of `fuzz/` need of the server that is nobody else's business. Built for fuzzing only (`--cfg fuzzing`).

use crate::command::glob::{Case, matches};

/// Whether a pattern matches a text, as `KEYS`, `PSUBSCRIBE`, ACL rules and, with letters of either case alike, `CONFIG GET` understand it.
pub fn glob(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    matches(pattern, text, if any_case { Case::Insensitive } else { Case::Sensitive })
}
