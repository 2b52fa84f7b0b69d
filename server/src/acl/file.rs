//! ACL files: one `user <name> <rule> …` a line.

use super::rules::{RuleError, apply_all};
use super::{Acl, Rights, User};
use sessile_wal::{Fs, OpenMode};
use std::io;
use std::path::Path;

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why an ACL file was refused.
#[derive(Debug, thiserror::Error)]
pub enum AclFileError {
    /// It can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A line is none.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The users of a file; nothing of it if one line is wrong.
///
/// # Errors
/// What can't be read, and each line that is wrong: the first of them.
pub fn load(fs: &dyn Fs, path: &Path, all_channels: bool) -> Result<Vec<(Vec<u8>, Rights)>, AclFileError> {
    let text =
        read(fs, path).map_err(|source| AclFileError::Io { path: path.display().to_string(), source })?;
    let mut users: Vec<(Vec<u8>, Rights)> = Vec::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let words: Vec<&[u8]> =
            line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|word| !word.is_empty()).collect();
        let wrong = |reason: String| AclFileError::Line {
            path: path.display().to_string(),
            line: number + 1,
            reason,
        };
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with(b"#") => {}
            [b"user", name, rules @ ..] => define(&mut users, name, rules, all_channels).map_err(wrong)?,
            _ => {
                return Err(wrong(
                    "should start with user keyword. ACL files contain 'user <username> <rules>' lines"
                        .into(),
                ));
            }
        }
    }
    Ok(users)
}

/// Adds a user with these rules, or says what is wrong.
fn define(
    users: &mut Vec<(Vec<u8>, Rights)>,
    name: &[u8],
    rules: &[&[u8]],
    all_channels: bool,
) -> Result<(), String> {
    if users.iter().any(|(other, _)| other == name) {
        return Err(format!("Duplicate user '{}' found", String::from_utf8_lossy(name)));
    }
    let mut rights = Rights::none(all_channels);
    apply_all(&mut rights, rules, all_channels).map_err(|error| match error {
        RuleError::Rule { reason, .. } => reason.to_owned(),
        unmatched => unmatched.to_string(),
    })?;
    users.push((name.to_vec(), rights));
    Ok(())
}

/// The users of a configuration's `user` lines, each given as its name and its rules.
///
/// # Errors
/// The first line that is wrong, in a sentence.
pub fn defined(lines: &[Vec<String>], all_channels: bool) -> Result<Vec<(Vec<u8>, Rights)>, String> {
    let mut users = Vec::new();
    for line in lines {
        let Some((name, rules)) = line.split_first() else { return Err("a user line needs a name".into()) };
        let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
        define(&mut users, name.as_bytes(), &rules, all_channels)
            .map_err(|reason| format!("user {name}: {reason}"))?;
    }
    Ok(users)
}

/// The line that defines a user as it is now.
pub fn line_of(user: &User) -> Vec<u8> {
    [b"user ", &user.name[..], b" ", &user.rights().describe()].concat()
}

fn read(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open(path, OpenMode::Read)?;
    let length = file.len()?;
    if length > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{length} bytes are more than an ACL file may have")));
    }
    // Bounded just above.
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Replaces the file by the users as they are: all of it or, whatever happens, none.
///
/// # Errors
/// What could not be written.
pub fn save(fs: &dyn Fs, path: &Path, acl: &Acl) -> Result<(), AclFileError> {
    let mut text = Vec::new();
    for user in acl.users() {
        text.extend_from_slice(&line_of(&user));
        text.push(b'\n');
    }
    crate::config::replace_file(fs, path, &text)
        .map_err(|source| AclFileError::Io { path: path.display().to_string(), source })
}
