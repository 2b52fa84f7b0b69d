//! Commands about the connection: who it is, which protocol and database it uses. `CLIENT` is in `client`.

use super::flags::{ALLOW_BUSY, FAST, LOADING, NO_AUTH, NOSCRIPT, STALE};
use super::{Command, CommandError, CommandResult, KeySpec, Run, ServerCall};
use crate::acl::{Context, Reason};
use crate::resp::{Protocol, parse_integer};

/// The version of Redis whose commands these are: clients switch features on by it.
pub const REDIS_VERSION: &str = "7.4.0";

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: FAST | LOADING | STALE | NOSCRIPT | ALLOW_BUSY,
    keys: KeySpec::None,
    categories: &["connection"],
    group: "connection",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "auth",
        arity: -2,
        flags: ROW.flags | NO_AUTH,
        since: "1.0.0",
        summary: "Authenticates the connection",
        complexity: "O(N) where N is the length of the password",
        run: Run::Server(auth),
        ..ROW
    },
    Command {
        name: "echo",
        arity: 2,
        flags: LOADING | STALE | FAST,
        since: "1.0.0",
        summary: "Returns its argument",
        run: Run::Server(echo),
        ..ROW
    },
    Command {
        name: "hello",
        arity: -1,
        flags: ROW.flags | NO_AUTH,
        since: "6.0.0",
        summary: "Chooses the protocol version, and may authenticate and name the connection",
        run: Run::Server(hello),
        ..ROW
    },
    Command {
        name: "ping",
        arity: -1,
        flags: FAST,
        since: "1.0.0",
        summary: "Answers PONG, or its argument",
        run: Run::Server(ping),
        ..ROW
    },
    Command {
        name: "quit",
        arity: -1,
        flags: ROW.flags | NO_AUTH,
        since: "1.0.0",
        summary: "Closes the connection",
        run: Run::Server(quit),
        ..ROW
    },
    Command {
        name: "reset",
        arity: 1,
        flags: ROW.flags | NO_AUTH,
        since: "6.2.0",
        summary: "Puts the connection back to how it started",
        run: Run::Server(reset),
        ..ROW
    },
    Command {
        name: "select",
        arity: 2,
        flags: FAST | LOADING | STALE,
        since: "1.0.0",
        summary: "Chooses the database",
        run: Run::Server(select),
        ..ROW
    },
];

fn ping(call: &mut ServerCall<'_>) -> CommandResult {
    let subscriber = call.client.is_subscriber() && call.reply.protocol() == Protocol::Resp2;
    match call.args {
        [_] | [_, _] if subscriber => {
            call.reply.array(2);
            call.reply.bulk(b"pong");
            call.reply.bulk(call.args.get(1).copied().unwrap_or_default());
        }
        [_] => call.reply.simple("PONG"),
        [_, text] => call.reply.bulk(text),
        _ => return Err("ERR wrong number of arguments for 'ping' command".into()),
    }
    Ok(())
}

fn echo(call: &mut ServerCall<'_>) -> CommandResult {
    call.reply.bulk(call.args[1]);
    Ok(())
}

fn quit(call: &mut ServerCall<'_>) -> CommandResult {
    call.client.closing = true;
    call.reply.ok();
    Ok(())
}

fn reset(call: &mut ServerCall<'_>) -> CommandResult {
    call.client.reset(&call.worker.server);
    call.reply.set_protocol(Protocol::Resp2);
    call.reply.simple("RESET");
    Ok(())
}

fn select(call: &mut ServerCall<'_>) -> CommandResult {
    call.client.database = super::args::database(call.args[1])?;
    call.reply.ok();
    Ok(())
}

fn auth(call: &mut ServerCall<'_>) -> CommandResult {
    match call.args {
        [_, password] => {
            if call.worker.server.acl.default_user().rights().no_password {
                return Err("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?".into());
            }
            authenticate(call, b"default", password)?;
        }
        [_, user, password] => authenticate(call, user, password)?,
        _ => return Err(CommandError::Syntax),
    }
    call.reply.ok();
    Ok(())
}

/// Lets the connection in if user and password are right.
fn authenticate(call: &mut ServerCall<'_>, name: &[u8], password: &[u8]) -> CommandResult {
    let (worker, client) = (&*call.worker, &mut *call.client);
    let acl = &worker.server.acl;
    let address = &client.card.origin.address;
    if client.may_not_wait && !client.card.origin.local && acl.throttle.delay_ms(address, worker.now_ms) > 0 {
        return Err("ERR too many wrong passwords came from this address: authenticate where a command may wait, not in a transaction".into());
    }
    if let Some(user) = acl.authenticate(name, password) {
        acl.throttle.note_success(address);
        client.become_user(user);
        return Ok(());
    }
    worker.server.shared.authentication_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if !client.card.origin.local {
        acl.throttle.note_failure(address, worker.now_ms);
    }
    super::permission::log_denial(worker, client, Reason::Auth, Context::TopLevel, b"AUTH", name);
    Err("WRONGPASS invalid username-password pair or user is disabled.".into())
}

fn hello(call: &mut ServerCall<'_>) -> CommandResult {
    let mut protocol = None;
    let mut rest = call.args.get(1..).unwrap_or_default();
    if let [version, others @ ..] = rest {
        let number =
            parse_integer(version).ok_or("ERR Protocol version is not an integer or out of range")?;
        protocol = Some(match number {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err("NOPROTO unsupported protocol version".into()),
        });
        rest = others;
    }
    let (mut credentials, mut name) = (None, None);
    while let [option, others @ ..] = rest {
        rest = match others {
            [user, password, others @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                credentials = Some((*user, *password));
                others
            }
            [given, others @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                super::client::check_name(given)?;
                name = Some(*given);
                others
            }
            _ => {
                return Err(CommandError::Text(
                    format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(option)).into(),
                ));
            }
        };
    }
    if let Some((user, password)) = credentials {
        authenticate(call, user, password)?;
    }
    if !call.client.authenticated {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time".into());
    }
    if let Some(name) = name {
        call.client.card.names.lock().name = name.to_vec();
    }
    if let Some(protocol) = protocol {
        call.reply.set_protocol(protocol);
    }
    let reply = &mut *call.reply;
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if reply.protocol() == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    // Numbers of connections fit.
    reply.integer(call.client.card.id as i64);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}
