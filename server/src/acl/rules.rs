//! Rules: the words of `ACL SETUSER` and of an ACL file.

use super::commands::CommandSet;
use super::selector::{KeyPattern, Selector};
use super::{Rights, password_hash};
use crate::command::command_command::{CATEGORIES, is_in_category};
use crate::command::table::{Entry, table};

/// Why a rule is none, in Redis's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A rule that makes no sense.
    #[error("Error in ACL SETUSER modifier '{rule}': {reason}")]
    Rule {
        /// As given.
        rule: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A selector that does not end.
    #[error("Unmatched parenthesis in acl selector starting at '{0}'.")]
    Unmatched(String),
}

const SYNTAX: &str = "Syntax error";
const UNKNOWN: &str = "Unknown command or category name in ACL";
const SUBCOMMAND_ARGUMENT: &str = "Allowing first-arg of a subcommand is not supported";
const ALL_KEYS: &str = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns";
const ALL_CHANNELS: &str = "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels";
const NO_SUCH_PASSWORD: &str = "The password you are trying to remove from the user does not exist";
const BAD_HASH: &str =
    "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";

/// Applies rules in order.
///
/// # Errors
/// The first that is none; `rights` then holds those before it.
pub(super) fn apply_all(rights: &mut Rights, rules: &[&[u8]], all_channels: bool) -> Result<(), RuleError> {
    for rule in join_selectors(rules)? {
        apply(rights, &rule, all_channels).map_err(|reason| RuleError::Rule {
            rule: String::from_utf8_lossy(&rule).into_owned(),
            reason,
        })?;
    }
    Ok(())
}

/// Selectors may be given in several words: `(+get`, `~a*)`.
fn join_selectors(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, RuleError> {
    let mut joined: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for rule in rules {
        match &mut open {
            Some(selector) => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
            }
            None if rule.starts_with(b"(") => open = Some(rule.to_vec()),
            None => {
                joined.push(rule.to_vec());
                continue;
            }
        }
        if rule.ends_with(b")") {
            joined.extend(open.take());
        }
    }
    match open {
        Some(selector) => {
            let first = selector.split(|&byte| byte == b' ').next().unwrap_or_default();
            Err(RuleError::Unmatched(String::from_utf8_lossy(first).into_owned()))
        }
        None => Ok(joined),
    }
}

fn apply(rights: &mut Rights, rule: &[u8], all_channels: bool) -> Result<(), &'static str> {
    let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
    match rule {
        _ if is("on") => rights.enabled = true,
        _ if is("off") => rights.enabled = false,
        _ if is("nopass") => {
            rights.no_password = true;
            rights.passwords.clear();
        }
        _ if is("resetpass") => {
            rights.no_password = false;
            rights.passwords.clear();
        }
        _ if is("skip-sanitize-payload") => rights.skip_sanitize = true,
        _ if is("sanitize-payload") => rights.skip_sanitize = false,
        _ if is("clearselectors") => rights.selectors.truncate(1),
        _ if is("reset") => *rights = Rights::none(all_channels),
        [b'>', password @ ..] => add_password(rights, password_hash(password)),
        [b'#', hash @ ..] => add_password(rights, checked_hash(hash)?),
        [b'<', password @ ..] => remove_password(rights, &password_hash(password))?,
        [b'!', hash @ ..] => remove_password(rights, &checked_hash(hash)?)?,
        [b'(', inner @ .., b')'] => {
            let mut selector = Selector::none(all_channels);
            for word in inner.split(|&byte| byte == b' ').filter(|word| !word.is_empty()) {
                // Written into a file, it would end the selector when it is read.
                if word.ends_with(b")") {
                    return Err(SYNTAX);
                }
                apply_to_selector(&mut selector, word)?;
            }
            rights.selectors.push(selector);
        }
        _ => match rights.selectors.first_mut() {
            Some(root) => apply_to_selector(root, rule)?,
            None => return Err(SYNTAX),
        },
    }
    Ok(())
}

fn checked_hash(hash: &[u8]) -> Result<String, &'static str> {
    let sound = hash.len() == 64 && hash.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if sound { Ok(String::from_utf8_lossy(hash).into_owned()) } else { Err(BAD_HASH) }
}

fn add_password(rights: &mut Rights, hash: String) {
    if !rights.passwords.contains(&hash) {
        rights.passwords.push(hash);
    }
    rights.no_password = false;
}

fn remove_password(rights: &mut Rights, hash: &str) -> Result<(), &'static str> {
    let at = rights.passwords.iter().position(|held| held == hash).ok_or(NO_SUCH_PASSWORD)?;
    rights.passwords.remove(at);
    Ok(())
}

fn apply_to_selector(selector: &mut Selector, rule: &[u8]) -> Result<(), &'static str> {
    let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
    match rule {
        _ if is("allkeys") || is("~*") => {
            selector.all_keys = true;
            selector.keys.clear();
        }
        _ if is("resetkeys") => {
            selector.all_keys = false;
            selector.keys.clear();
        }
        _ if is("allchannels") || is("&*") => {
            selector.all_channels = true;
            selector.channels.clear();
        }
        _ if is("resetchannels") => {
            selector.all_channels = false;
            selector.channels.clear();
        }
        _ if is("allcommands") || is("+@all") => selector.allow_all_commands(),
        _ if is("nocommands") || is("-@all") => selector.allow_no_commands(),
        [b'~', pattern @ ..] => add_keys(selector, pattern, true, true)?,
        [b'%', rest @ ..] => {
            let tilde = rest.iter().position(|&byte| byte == b'~');
            let (access, pattern) = match tilde {
                // The rules of Redis 7.0: what is behind the all-keys flag comes first.
                None => return Err(if selector.all_keys { ALL_KEYS } else { SYNTAX }),
                Some(at) => (&rest[..at], &rest[at + 1..]),
            };
            if selector.all_keys {
                return Err(ALL_KEYS);
            }
            let has = |letter: u8| access.iter().any(|byte| byte.eq_ignore_ascii_case(&letter));
            let known = access.iter().all(|byte| matches!(byte.to_ascii_uppercase(), b'R' | b'W'));
            if access.is_empty() || !known {
                return Err(SYNTAX);
            }
            add_keys(selector, pattern, has(b'R'), has(b'W'))?;
        }
        [b'&', pattern @ ..] => {
            if selector.all_channels {
                return Err(ALL_CHANNELS);
            }
            if has_space(pattern) {
                return Err(SYNTAX);
            }
            if !selector.channels.iter().any(|held| held == pattern) {
                selector.channels.push(pattern.to_vec());
            }
        }
        [sign @ (b'+' | b'-'), b'@', category @ ..] => set_category(selector, *sign == b'+', category)?,
        [sign @ (b'+' | b'-'), name @ ..] => set_command(selector, *sign == b'+', name)?,
        _ => return Err(SYNTAX),
    }
    Ok(())
}

fn has_space(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0)
}

fn add_keys(selector: &mut Selector, pattern: &[u8], read: bool, write: bool) -> Result<(), &'static str> {
    if selector.all_keys {
        return Err(ALL_KEYS);
    }
    if has_space(pattern) {
        return Err(SYNTAX);
    }
    match selector.keys.iter_mut().find(|held| held.pattern == pattern) {
        Some(held) => (held.read, held.write) = (held.read || read, held.write || write),
        None => selector.keys.push(KeyPattern { pattern: pattern.to_vec(), read, write }),
    }
    if selector.keys.iter().any(|held| held.pattern == b"*" && held.read && held.write) {
        // It is shown as `~*`, which must mean the same when it is read.
        selector.all_keys = true;
        selector.keys.clear();
    }
    Ok(())
}

fn set_category(selector: &mut Selector, allowed: bool, category: &[u8]) -> Result<(), &'static str> {
    let category = String::from_utf8_lossy(category).to_ascii_lowercase();
    if !CATEGORIES.contains(&category.as_str()) {
        return Err(UNKNOWN);
    }
    for entry in table().entries() {
        set_if_in(&mut selector.commands, entry, &category, allowed);
    }
    note(selector, allowed, &format!("@{category}"));
    Ok(())
}

fn set_if_in(commands: &mut CommandSet, entry: &Entry, category: &str, allowed: bool) {
    if is_in_category(entry.command, category) {
        commands.set(entry, allowed);
    }
    entry.subcommands.iter().for_each(|subcommand| set_if_in(commands, subcommand, category, allowed));
}

fn set_command(selector: &mut Selector, allowed: bool, name: &[u8]) -> Result<(), &'static str> {
    let lower = name.to_ascii_lowercase();
    let text = String::from_utf8_lossy(&lower).into_owned();
    let mut words = name.split(|&byte| byte == b'|');
    let parent = table().find(words.next().unwrap_or_default()).ok_or(UNKNOWN)?;
    let (second, third) = (words.next(), words.next());
    match second {
        None => selector.commands.set(parent, allowed),
        Some(word) => match parent.subcommand(word) {
            Some(_) if third.is_some() => return Err(SUBCOMMAND_ARGUMENT),
            Some(subcommand) => selector.commands.set(subcommand, allowed),
            None if third.is_some() => return Err(SUBCOMMAND_ARGUMENT),
            // A first argument can be allowed only of a command without subcommands.
            None if allowed && parent.subcommands.is_empty() && !word.is_empty() => {
                selector.commands.allow_first_argument(parent, word);
            }
            None if word.is_empty() => return Err(SYNTAX),
            None => return Err(UNKNOWN),
        },
    }
    note(selector, allowed, &text);
    Ok(())
}

/// Remembers a rule; what was said of the same command or category before, or of its subcommands, is said no more.
fn note(selector: &mut Selector, allowed: bool, what: &str) {
    let inside = format!("{what}|");
    selector.command_rules.retain(|rule| {
        let said_of = &rule[1..];
        said_of != what && !said_of.starts_with(&inside)
    });
    selector.command_rules.push(format!("{}{what}", if allowed { '+' } else { '-' }));
}
