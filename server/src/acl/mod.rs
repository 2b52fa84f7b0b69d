//! Access control: users, and what each may do.
//!
//! Users and their rules are Redis's (`ACL SETUSER`): a [`User`] has [`Rights`], passwords and one or more selectors, each a set of commands
//! with patterns of keys and channels; a command is allowed if one selector allows all of it. A connection holds its user; a change of the user
//! holds from the next command on. Who may do everything costs a load per command.
//!
//! Passwords are kept as SHA-256 digests, as in Redis: files and `ACL LIST` hold no password. What this module must never do: let anybody in
//! without a user that is enabled, or fail open where a rule does not parse.

mod check;
mod commands;
mod file;
mod key_access;
mod log;
mod rules;
mod selector;
mod throttle;

pub use check::Denied;
pub use commands::CommandSet;
pub use file::{AclFileError, defined, line_of, load, save};
pub use log::{AclLog, Context, Entry as LogEntry, Reason};
pub use rules::RuleError;
pub use selector::{KeyPattern, Selector};
pub use throttle::Throttle;

use sessile_wal::sync::RwLock;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The user of who has not said otherwise.
pub const DEFAULT_USER: &[u8] = b"default";

/// A password's digest, in lower-case hexadecimal.
pub type PasswordHash = String;

/// The digest that stands for a password.
pub fn password_hash(password: &[u8]) -> PasswordHash {
    Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a user may do.
#[derive(Clone, Debug)]
pub struct Rights {
    /// Whether anybody may authenticate as it.
    pub enabled: bool,
    /// Whether any password is right.
    pub no_password: bool,
    /// `skip-sanitize-payload`: kept and shown; every payload is checked here.
    pub skip_sanitize: bool,
    /// Digests of its passwords, in the order in which they were added.
    pub passwords: Vec<PasswordHash>,
    /// At least one: the root, then those in parentheses.
    pub selectors: Vec<Selector>,
}

impl Rights {
    /// Of a new user: off, without a password, may do nothing. `all_channels` is `acl-pubsub-default`.
    pub fn none(all_channels: bool) -> Rights {
        Rights {
            enabled: false,
            no_password: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            selectors: vec![Selector::none(all_channels)],
        }
    }

    /// Everything, without a password.
    pub fn all() -> Rights {
        let mut selector = Selector::none(true);
        selector.allow_everything();
        Rights {
            enabled: true,
            no_password: true,
            skip_sanitize: false,
            passwords: Vec::new(),
            selectors: vec![selector],
        }
    }

    /// Whether nothing need be checked.
    fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_everything)
    }

    /// Whether a password is right. Takes as long for a wrong one as for a right one.
    fn accepts(&self, password: &[u8]) -> bool {
        let given = password_hash(password);
        let mut right = false;
        for expected in &self.passwords {
            let difference =
                expected.bytes().zip(given.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b));
            right |= std::hint::black_box(difference) == 0;
        }
        right || self.no_password
    }

    /// The words of the user's line in an ACL file, after its name.
    pub fn describe(&self) -> Vec<u8> {
        let mut words = vec![if self.enabled { b"on".to_vec() } else { b"off".to_vec() }];
        if self.no_password {
            words.push(b"nopass".to_vec());
        }
        if self.skip_sanitize {
            words.push(b"skip-sanitize-payload".to_vec());
        }
        words.extend(self.passwords.iter().map(|hash| format!("#{hash}").into_bytes()));
        for (index, selector) in self.selectors.iter().enumerate() {
            let described = selector.describe();
            words.push(if index == 0 { described } else { [b"(", &described[..], b")"].concat() });
        }
        words.join(&b' ')
    }
}

/// A user; connections hold it, and see its changes.
#[derive(Debug)]
pub struct User {
    /// Its name.
    pub name: Vec<u8>,
    rights: RwLock<Arc<Rights>>,
    unrestricted: AtomicBool,
}

impl User {
    fn new(name: &[u8], rights: Rights) -> Arc<User> {
        let unrestricted = AtomicBool::new(rights.is_unrestricted());
        Arc::new(User { name: name.to_vec(), rights: RwLock::new(Arc::new(rights)), unrestricted })
    }

    /// What it may do, as of now.
    pub fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.rights.read())
    }

    /// Whether it may do everything.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.unrestricted.load(Ordering::Relaxed)
    }

    fn set(&self, rights: Rights) {
        let mut held = self.rights.write();
        self.unrestricted.store(rights.is_unrestricted(), Ordering::Relaxed);
        *held = Arc::new(rights);
    }
}

/// All users.
#[derive(Debug)]
pub struct Acl {
    users: RwLock<BTreeMap<Vec<u8>, Arc<User>>>,
    default: Arc<User>,
    /// What was denied.
    pub log: AclLog,
    /// Who guesses passwords.
    pub throttle: Throttle,
}

impl Default for Acl {
    fn default() -> Acl {
        let default = User::new(DEFAULT_USER, Rights::all());
        Acl {
            users: RwLock::new(BTreeMap::from([(DEFAULT_USER.to_vec(), Arc::clone(&default))])),
            default,
            log: AclLog::default(),
            throttle: Throttle::default(),
        }
    }
}

impl Acl {
    /// The user of who has not authenticated.
    pub fn default_user(&self) -> Arc<User> {
        Arc::clone(&self.default)
    }

    /// Whether new connections are authenticated without a word.
    pub fn lets_anybody_in(&self) -> bool {
        let rights = self.default.rights();
        rights.enabled && rights.no_password
    }

    /// The user of this name.
    pub fn user(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    /// The user, if name and password are right and it is enabled. An unknown name takes as long as a wrong password.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let Some(user) = self.user(name) else {
            std::hint::black_box(password_hash(password));
            return None;
        };
        let rights = user.rights();
        let accepted = rights.accepts(password);
        (accepted && rights.enabled).then_some(user)
    }

    /// Applies rules to a user, which is made if there is none: all of them or, on an error, none.
    ///
    /// # Errors
    /// The first rule that is none, and what is wrong with it.
    pub fn set_user(&self, name: &[u8], rules: &[&[u8]], all_channels: bool) -> Result<(), RuleError> {
        let mut users = self.users.write();
        let mut rights = match users.get(name) {
            Some(user) => (*user.rights()).clone(),
            None => Rights::none(all_channels),
        };
        rules::apply_all(&mut rights, rules, all_channels)?;
        match users.get(name) {
            Some(user) => user.set(rights),
            None => {
                users.insert(name.to_vec(), User::new(name, rights));
            }
        }
        Ok(())
    }

    /// Makes `requirepass` the default user's only password; an empty one lets anybody in.
    pub fn set_default_password(&self, password: &str) {
        let mut rights = (*self.default.rights()).clone();
        rights.passwords.clear();
        rights.no_password = password.is_empty();
        if !password.is_empty() {
            rights.passwords.push(password_hash(password.as_bytes()));
        }
        self.default.set(rights);
    }

    /// Removes a user; whether it was there. Its connections have to be closed by the caller. The default user stays.
    pub fn remove_user(&self, name: &[u8]) -> bool {
        name != DEFAULT_USER && self.users.write().remove(name).is_some()
    }

    /// Replaces all users by `loaded`; the default user is as new if it is not among them. The names of those who are no more, or may do
    /// something else than before: their connections are to be closed.
    pub fn replace(&self, loaded: Vec<(Vec<u8>, Rights)>) -> Vec<Vec<u8>> {
        let mut users = self.users.write();
        let mut loaded: BTreeMap<Vec<u8>, Rights> = loaded.into_iter().collect();
        loaded.entry(DEFAULT_USER.to_vec()).or_insert_with(Rights::all);
        let mut changed = Vec::new();
        users.retain(|name, _| {
            let stays = loaded.contains_key(name);
            if !stays {
                changed.push(name.clone());
            }
            stays
        });
        for (name, rights) in loaded {
            match users.get(&name) {
                Some(user) => {
                    if user.rights().describe() != rights.describe() && name != DEFAULT_USER {
                        changed.push(name.clone());
                    }
                    user.set(rights);
                }
                None => {
                    users.insert(name.clone(), User::new(&name, rights));
                }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests;
