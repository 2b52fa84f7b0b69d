//! Publish and subscribe: `SUBSCRIBE` and its kin, `PUBLISH`, `PUBSUB`.
//!
//! What they answer to a subscriber is no reply to a request but a push, one for each name: it comes also to who wants no replies
//! (`CLIENT REPLY OFF`).

use super::dispatch::unknown_subcommand_or_arguments;
use super::flags::{FAST, LOADING, NOSCRIPT, PUBSUB, STALE};
use super::object::write_help;
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::pubsub::Kind;
use std::sync::Arc;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: PUBSUB | NOSCRIPT | LOADING | STALE,
    keys: KeySpec::None,
    categories: &[],
    group: "pubsub",
    since: "2.0.0",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "psubscribe",
        arity: -2,
        summary: "Listens to the channels whose names match patterns",
        complexity: "O(N) where N is the number of patterns given",
        run: Run::Server(|call| subscribe(call, Kind::Pattern, "psubscribe")),
        ..ROW
    },
    Command {
        name: "publish",
        arity: 3,
        flags: PUBSUB | LOADING | STALE | FAST,
        summary: "Sends a message to whoever listens to a channel",
        complexity: "O(N+M) where N is the number of clients that listen to the channel and M the number of patterns that anybody listens to",
        run: Run::Server(publish),
        ..ROW
    },
    Command {
        name: "pubsub",
        arity: -2,
        flags: 0,
        since: "2.8.0",
        summary: "Commands about who listens to what",
        complexity: "Depends on the subcommand",
        subcommands: SUBCOMMANDS,
        ..ROW
    },
    Command {
        name: "punsubscribe",
        arity: -1,
        summary: "Listens no more to patterns, all of them if none is given",
        complexity: "O(N) where N is the number of patterns given",
        run: Run::Server(|call| unsubscribe(call, Kind::Pattern, "punsubscribe")),
        ..ROW
    },
    Command {
        name: "spublish",
        arity: 3,
        flags: PUBSUB | LOADING | STALE | FAST,
        keys: KeySpec::Channels { first: 1, last: 1, step: 1 },
        since: "7.0.0",
        summary: "Sends a message to whoever listens to a shard channel",
        complexity: "O(N) where N is the number of clients that listen to the shard channel",
        run: Run::Server(spublish),
        ..ROW
    },
    Command {
        name: "ssubscribe",
        arity: -2,
        keys: KeySpec::Channels { first: 1, last: -1, step: 1 },
        since: "7.0.0",
        summary: "Listens to shard channels",
        complexity: "O(N) where N is the number of shard channels given",
        run: Run::Server(|call| subscribe(call, Kind::Shard, "ssubscribe")),
        ..ROW
    },
    Command {
        name: "subscribe",
        arity: -2,
        summary: "Listens to channels",
        complexity: "O(N) where N is the number of channels given",
        run: Run::Server(|call| subscribe(call, Kind::Channel, "subscribe")),
        ..ROW
    },
    Command {
        name: "sunsubscribe",
        arity: -1,
        keys: KeySpec::Channels { first: 1, last: -1, step: 1 },
        since: "7.0.0",
        summary: "Listens no more to shard channels, all of them if none is given",
        complexity: "O(N) where N is the number of shard channels given",
        run: Run::Server(|call| unsubscribe(call, Kind::Shard, "sunsubscribe")),
        ..ROW
    },
    Command {
        name: "unsubscribe",
        arity: -1,
        summary: "Listens no more to channels, all of them if none is given",
        complexity: "O(N) where N is the number of channels given",
        run: Run::Server(|call| unsubscribe(call, Kind::Channel, "unsubscribe")),
        ..ROW
    },
];

const SUBROW: Command = Command { flags: PUBSUB | LOADING | STALE, since: "2.8.0", ..ROW };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "channels",
        arity: -2,
        summary: "The channels that anybody listens to",
        complexity: "O(N) where N is the number of channels that anybody listens to",
        run: Run::Server(|call| channels(call, Kind::Channel)),
        ..SUBROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: LOADING | STALE,
        since: "6.2.0",
        summary: "Lists the subcommands",
        run: Run::Server(help),
        ..SUBROW
    },
    Command {
        name: "numpat",
        arity: 2,
        summary: "How many patterns anybody listens to",
        run: Run::Server(numpat),
        ..SUBROW
    },
    Command {
        name: "numsub",
        arity: -2,
        summary: "How many clients listen to channels",
        complexity: "O(N) where N is the number of channels given",
        run: Run::Server(|call| numsub(call, Kind::Channel)),
        ..SUBROW
    },
    Command {
        name: "shardchannels",
        arity: -2,
        since: "7.0.0",
        summary: "The shard channels that anybody listens to",
        complexity: "O(N) where N is the number of shard channels that anybody listens to",
        run: Run::Server(|call| channels(call, Kind::Shard)),
        ..SUBROW
    },
    Command {
        name: "shardnumsub",
        arity: -2,
        since: "7.0.0",
        summary: "How many clients listen to shard channels",
        complexity: "O(N) where N is the number of shard channels given",
        run: Run::Server(|call| numsub(call, Kind::Shard)),
        ..SUBROW
    },
];

/// Tells the client what it listens to by now: `event` of a name, and how many there are.
fn confirm(call: &mut ServerCall<'_>, kind: Kind, event: &str, name: Option<&[u8]>) {
    let own = call.client.subscriptions();
    let count = match kind {
        Kind::Shard => own.count(Kind::Shard),
        Kind::Channel | Kind::Pattern => own.count(Kind::Channel) + own.count(Kind::Pattern),
    };
    let begin = call.reply.bytes().len();
    call.reply.push(3);
    call.reply.bulk(event.as_bytes());
    call.reply.bulk_or_null(name);
    // Counts of what is in memory fit.
    call.reply.integer(count as i64);
    call.client.told_bytes += call.reply.bytes().len() - begin;
}

fn subscribe(call: &mut ServerCall<'_>, kind: Kind, event: &str) -> CommandResult {
    let server = Arc::clone(&call.worker.server);
    let args = call.args;
    for &name in args.get(1..).unwrap_or_default() {
        let card = Arc::clone(&call.client.card);
        server.pubsub.subscribe(call.client.subscriptions_mut(), &card, kind, name);
        confirm(call, kind, event, Some(name));
    }
    Ok(())
}

fn unsubscribe(call: &mut ServerCall<'_>, kind: Kind, event: &str) -> CommandResult {
    let server = Arc::clone(&call.worker.server);
    let args = call.args;
    let card = Arc::clone(&call.client.card);
    if let Some(given @ [_, ..]) = args.get(1..) {
        for &name in given {
            if !call.client.subscriptions().is_empty() {
                server.pubsub.unsubscribe(call.client.subscriptions_mut(), &card, kind, name);
            }
            confirm(call, kind, event, Some(name));
        }
        return Ok(());
    }
    let all: Vec<Arc<[u8]>> = call.client.subscriptions().names(kind).cloned().collect();
    for name in &all {
        server.pubsub.unsubscribe(call.client.subscriptions_mut(), &card, kind, name);
        confirm(call, kind, event, Some(name));
    }
    if all.is_empty() {
        confirm(call, kind, event, None);
    }
    Ok(())
}

fn publish(call: &mut ServerCall<'_>) -> CommandResult {
    let worker = &mut *call.worker;
    let count = worker.server.pubsub.publish(
        call.args[1],
        call.args[2],
        call.client.last_lsn,
        &mut worker.signals,
        worker.live.pushed_bytes_max(),
    );
    // Counts of what is in memory fit.
    call.reply.integer(count as i64);
    Ok(())
}

fn spublish(call: &mut ServerCall<'_>) -> CommandResult {
    let worker = &mut *call.worker;
    let count = worker.server.pubsub.publish_shard(
        call.args[1],
        call.args[2],
        call.client.last_lsn,
        &mut worker.signals,
        worker.live.pushed_bytes_max(),
    );
    // Counts of what is in memory fit.
    call.reply.integer(count as i64);
    Ok(())
}

fn channels(call: &mut ServerCall<'_>, kind: Kind) -> CommandResult {
    let pattern = match call.args {
        [_, _] => None,
        [_, _, pattern] => Some(*pattern),
        _ => return Err(CommandError::of(unknown_subcommand_or_arguments(call.args))),
    };
    let names = call.worker.server.pubsub.list(kind, pattern);
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name));
    Ok(())
}

fn numsub(call: &mut ServerCall<'_>, kind: Kind) -> CommandResult {
    let names = &call.args[2..];
    call.reply.array(names.len() * 2);
    for name in names {
        call.reply.bulk(name);
        // Counts of what is in memory fit.
        call.reply.integer(call.worker.server.pubsub.listeners(kind, name) as i64);
    }
    Ok(())
}

fn numpat(call: &mut ServerCall<'_>) -> CommandResult {
    // Counts of what is in memory fit.
    call.reply.integer(call.worker.server.pubsub.names_count(Kind::Pattern) as i64);
    Ok(())
}

fn help(call: &mut ServerCall<'_>) -> CommandResult {
    write_help(
        call.reply,
        &[
            "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "CHANNELS [<pattern>]",
            "    Return the currently active channels matching a <pattern> (default: '*').",
            "NUMPAT",
            "    Return number of subscriptions to patterns.",
            "NUMSUB [<channel> ...]",
            "    Return the number of subscribers for the specified channels, excluding",
            "    pattern subscriptions(default: no channels).",
            "SHARDCHANNELS [<pattern>]",
            "    Return the currently active shard level channels matching a <pattern> (default: '*').",
            "SHARDNUMSUB [<shardchannel> ...]",
            "    Return the number of subscribers for the specified shard level channel(s)",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}
