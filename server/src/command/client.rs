//! `CLIENT`: who is connected, and what each connection asks for itself.

use super::CommandError;

/// Refuses names that would break the lines of `CLIENT LIST`.
pub fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(())
    } else {
        Err("ERR Client names cannot contain spaces, newlines or special characters.".into())
    }
}
