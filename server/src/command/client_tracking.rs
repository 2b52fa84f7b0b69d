//! `CLIENT TRACKING`, `CACHING`, `GETREDIR`, `TRACKINGINFO`: what a client asks for that keeps copies of what it reads.

use super::args::{c_string, integer, is};
use super::{CommandError, CommandResult, ServerCall};
use crate::tracking::modes::{BROADCAST, BROKEN, CACHING, NO_LOOP, OPT_IN, OPT_OUT};

pub(super) fn tracking(call: &mut ServerCall<'_>) -> CommandResult {
    let (mut modes, mut redirect, mut prefixes) = (0, 0, Vec::new());
    let mut rest = &call.args[3..];
    while let [option, others @ ..] = rest {
        rest = others;
        match others {
            [id, others @ ..] if is(option, "redirect") => {
                if redirect != 0 {
                    return Err("ERR A client can only redirect to a single other client".into());
                }
                redirect = integer(id)?;
                let exists =
                    u64::try_from(redirect).is_ok_and(|id| call.worker.server.clients.get(id).is_some());
                if !exists {
                    return Err("ERR The client ID you want redirect to does not exist".into());
                }
                rest = others;
            }
            [prefix, others @ ..] if is(option, "prefix") => {
                prefixes.push(*prefix);
                rest = others;
            }
            _ if is(option, "bcast") => modes |= BROADCAST,
            _ if is(option, "optin") => modes |= OPT_IN,
            _ if is(option, "optout") => modes |= OPT_OUT,
            _ if is(option, "noloop") => modes |= NO_LOOP,
            _ => return Err(CommandError::Syntax),
        }
    }
    let server = std::sync::Arc::clone(&call.worker.server);
    if is(call.args[2], "on") {
        check_modes(call, modes, &prefixes)?;
        // It exists, so that its number is none below zero.
        server.tracking.begin(call.client, modes, redirect.unsigned_abs(), &prefixes);
    } else if is(call.args[2], "off") {
        server.tracking.end(call.client);
    } else {
        return Err(CommandError::Syntax);
    }
    server.update_observing();
    call.reply.ok();
    Ok(())
}

/// Whether the modes go with each other, and with those that the client has.
fn check_modes(call: &ServerCall<'_>, modes: u8, prefixes: &[&[u8]]) -> CommandResult {
    let has = |mode| modes & mode != 0;
    let tracked = &call.client.card.tracked;
    if !has(BROADCAST) && !prefixes.is_empty() {
        return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
    }
    if tracked.is_on() && tracked.has(BROADCAST) != has(BROADCAST) {
        return Err("ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.".into());
    }
    if has(BROADCAST) && has(OPT_IN | OPT_OUT) {
        return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
    }
    if has(OPT_IN) && has(OPT_OUT) {
        return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
    }
    if (has(OPT_IN) && tracked.has(OPT_OUT)) || (has(OPT_OUT) && tracked.has(OPT_IN)) {
        return Err("ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.".into());
    }
    for (index, prefix) in prefixes.iter().enumerate() {
        if let Some(held) = call.client.prefixes.iter().find(|held| overlap(held, prefix)) {
            return Err(overlaps(prefix, "an existing", held));
        }
        if let Some(other) = prefixes[index + 1..].iter().find(|other| overlap(other, prefix)) {
            return Err(overlaps(prefix, "another provided", other));
        }
    }
    Ok(())
}

/// Whether one begins with the other.
fn overlap(a: &[u8], b: &[u8]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn overlaps(prefix: &[u8], which: &str, other: &[u8]) -> CommandError {
    let (prefix, other) = (c_string(prefix), c_string(other));
    let mut text = b"ERR Prefix '".to_vec();
    text.extend_from_slice(prefix);
    text.extend_from_slice(format!("' overlaps with {which} prefix '").as_bytes());
    text.extend_from_slice(other);
    text.extend_from_slice(b"'. Prefixes for a single client must not overlap.");
    CommandError::Bytes(text)
}

pub(super) fn caching(call: &mut ServerCall<'_>) -> CommandResult {
    let tracked = &call.client.card.tracked;
    if !tracked.is_on() {
        return Err("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled".into());
    }
    if is(call.args[2], "yes") {
        if !tracked.has(OPT_IN) {
            return Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.".into());
        }
    } else if is(call.args[2], "no") {
        if !tracked.has(OPT_OUT) {
            return Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.".into());
        }
    } else {
        return Err(CommandError::Syntax);
    }
    tracked.set_caching();
    call.reply.ok();
    Ok(())
}

/// Whom the client redirects to: its number, 0 for nobody, -1 if it doesn't track.
fn redirected(call: &ServerCall<'_>) -> i64 {
    let tracked = &call.client.card.tracked;
    // Numbers of connections fit.
    if tracked.is_on() { tracked.redirect() as i64 } else { -1 }
}

pub(super) fn getredir(call: &mut ServerCall<'_>) -> CommandResult {
    let redirected = redirected(call);
    call.reply.integer(redirected);
    Ok(())
}

pub(super) fn trackinginfo(call: &mut ServerCall<'_>) -> CommandResult {
    let redirected = redirected(call);
    let tracked = &call.client.card.tracked;
    let mut words = vec![if tracked.is_on() { "on" } else { "off" }];
    for (modes, word) in [
        (BROADCAST, "bcast"),
        (OPT_IN, "optin"),
        (OPT_OUT, "optout"),
        (NO_LOOP, "noloop"),
        (BROKEN, "broken_redirect"),
    ] {
        if tracked.has(modes) {
            words.push(word);
            match modes {
                OPT_IN if tracked.has(CACHING) => words.push("caching-yes"),
                OPT_OUT if tracked.has(CACHING) => words.push("caching-no"),
                _ => {}
            }
        }
    }
    let reply = &mut *call.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(words.len());
    words.iter().for_each(|word| reply.bulk(word.as_bytes()));
    reply.bulk(b"redirect");
    reply.integer(redirected);
    reply.bulk(b"prefixes");
    reply.array(call.client.prefixes.len());
    call.client.prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}
