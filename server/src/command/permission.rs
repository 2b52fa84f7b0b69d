//! Whether a client may run a command, and the record of what it may not.

use super::table::Entry;
use crate::acl::{Context, Denied, LogEntry, Reason};
use crate::client::Client;
use crate::worker::Worker;

/// Checks a command of a client; whoever may do everything costs a load.
///
/// # Errors
/// The error reply; the denial is logged.
#[inline]
pub fn check(
    worker: &Worker,
    client: &Client,
    entry: &Entry,
    args: &[&[u8]],
    context: Context,
) -> Result<(), String> {
    if client.user.is_unrestricted() {
        return Ok(());
    }
    check_rights(worker, client, entry, args, context).map_err(|denied| denied.text(&entry.full_name))
}

/// As [`check`], of a user who may not do everything.
///
/// # Errors
/// What is denied.
#[cold]
pub fn check_rights(
    worker: &Worker,
    client: &Client,
    entry: &Entry,
    args: &[&[u8]],
    context: Context,
) -> Result<(), Denied> {
    let denied = match client.user.rights().check(entry, args) {
        Ok(()) => return Ok(()),
        Err(denied) => denied,
    };
    let (reason, object) = match denied {
        Denied::Command => (Reason::Command, entry.full_name.as_bytes()),
        Denied::Key(index) => (Reason::Key, args.get(index).copied().unwrap_or_default()),
        Denied::Channel(index) => (Reason::Channel, args.get(index).copied().unwrap_or_default()),
    };
    log_denial(worker, client, reason, context, object, &client.user.name);
    Err(denied)
}

/// Adds to `ACL LOG`.
pub fn log_denial(
    worker: &Worker,
    client: &Client,
    reason: Reason,
    context: Context,
    object: &[u8],
    username: &[u8],
) {
    let mut description = Vec::new();
    client.card.describe(worker.now_ms, super::table::table().name(client.last_command), &mut description);
    let entry = LogEntry {
        count: 1,
        reason,
        context,
        object: object.to_vec(),
        username: username.to_vec(),
        at_ms: worker.now_ms,
        created_ms: worker.now_ms,
        id: 0,
        client: description,
    };
    worker.server.acl.log.add(entry, worker.now_ms, worker.live.acl_log_entries_max);
}
