//! What a typed store is opened with, and a session.

use crate::sessions::{OnLimit, Policy};
use std::time::Duration;

/// Whole seconds that are not less; at least one, since 0 would be no limit.
fn whole_seconds(limit: Duration) -> u64 {
    limit.as_secs().saturating_add(u64::from(limit.subsec_nanos() > 0)).max(1)
}

/// A class of sessions by its name, and the limits that it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassPolicy {
    pub(super) name: String,
    /// `None`: as it is.
    pub(super) policy: Option<Policy>,
}

impl ClassPolicy {
    /// A class whose sessions live for `idle` without being used, and no longer than `max`; in whole seconds, upwards. As many a user as there are,
    /// and a token that was rotated away ends at once.
    pub fn new(name: impl Into<String>, idle: Duration, max: Duration) -> ClassPolicy {
        let policy = Policy { idle_s: whole_seconds(idle), max_s: whole_seconds(max), ..Policy::default() };
        ClassPolicy::of(name, policy)
    }

    /// A class with these limits, of which 0 is none.
    pub fn of(name: impl Into<String>, policy: Policy) -> ClassPolicy {
        ClassPolicy { name: name.into(), policy: Some(policy) }
    }

    /// A class that is there already (`SESSION.POLICY SET`, a preset), as it is.
    pub fn existing(name: impl Into<String>) -> ClassPolicy {
        ClassPolicy { name: name.into(), policy: None }
    }

    /// NIST SP 800-63B-4's limits for its first assurance level: 30 days.
    pub fn aal1() -> ClassPolicy {
        ClassPolicy::existing("aal1")
    }

    /// NIST SP 800-63B-4's limits for its second assurance level: 24 hours, 1 hour idle.
    pub fn aal2() -> ClassPolicy {
        ClassPolicy::existing("aal2")
    }

    /// NIST SP 800-63B-4's limits for its third assurance level: 12 hours, 15 minutes idle.
    pub fn aal3() -> ClassPolicy {
        ClassPolicy::existing("aal3")
    }

    fn change(mut self, change: impl FnOnce(&mut Policy)) -> ClassPolicy {
        if let Some(policy) = &mut self.policy {
            change(policy);
        }
        self
    }

    /// So many sessions a user; with one more the least recently seen ends. (Of a class that is taken as it is this changes nothing, nor do the others.)
    #[must_use]
    pub fn per_user(self, sessions: u32) -> ClassPolicy {
        self.change(|policy| policy.per_user = sessions)
    }

    /// One session more than the limit is refused, and none ends.
    #[must_use]
    pub fn reject_beyond(self) -> ClassPolicy {
        self.change(|policy| policy.on_limit = OnLimit::Reject)
    }

    /// A token that was rotated away may read, touch and end its session for so long: requests that were under way.
    #[must_use]
    pub fn grace(self, grace: Duration) -> ClassPolicy {
        let grace_s = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX);
        self.change(|policy| policy.grace_s = grace_s)
    }
}

/// Whose a new session is, and what is said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening<'a> {
    pub(super) user: Option<&'a [u8]>,
    pub(super) meta: &'a [u8],
    pub(super) idle_s: Option<u64>,
    pub(super) max_s: Option<u64>,
}

impl<'a> Opening<'a> {
    /// Nobody's: before a login.
    pub fn anonymous() -> Opening<'a> {
        Opening::default()
    }

    /// A user's. Use what never changes, not a name or an address that can.
    pub fn of(user: &'a (impl AsRef<[u8]> + ?Sized)) -> Opening<'a> {
        Opening { user: Some(user.as_ref()), ..Opening::default() }
    }

    /// What a list of the user's sessions says of this one: device, place, the way of authentication.
    #[must_use]
    pub fn meta(self, meta: &'a (impl AsRef<[u8]> + ?Sized)) -> Opening<'a> {
        Opening { meta: meta.as_ref(), ..self }
    }

    /// A shorter idle limit than the class's, in whole seconds, upwards.
    #[must_use]
    pub fn idle(self, idle: Duration) -> Opening<'a> {
        Opening { idle_s: Some(whole_seconds(idle)), ..self }
    }

    /// A shorter absolute limit than the class's, in whole seconds, upwards.
    #[must_use]
    pub fn max(self, max: Duration) -> Opening<'a> {
        Opening { max_s: Some(whole_seconds(max)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_ever_rounded_to_none() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
