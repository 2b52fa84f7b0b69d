//! How keys are stored, in Redis's terms: `OBJECT` and `DEBUG OBJECT`.
//!
//! The engine has its own encodings. What is said here is what Redis would have chosen for the same value under the same directives,
//! because test suites and dashboards ask for it.

use super::flags::{LOADING, READONLY, STALE};
use super::number::parse_integer;
use super::{Call, Command, CommandResult, KeySpec, KeyspaceCall, Run};
use crate::resp::Reply;
use sessile::Kind;

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::Range { first: 2, last: 2, step: 1 },
    categories: &["keyspace"],
    group: "generic",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "object",
    arity: -2,
    keys: KeySpec::None,
    categories: &[],
    since: "2.2.3",
    summary: "Looks at how a key is stored",
    complexity: "Depends on subcommand",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "encoding",
        arity: 3,
        flags: READONLY,
        since: "2.2.3",
        summary: "How the value at a key is encoded",
        run: Run::Data(encoding),
        ..ROW
    },
    Command {
        name: "freq",
        arity: 3,
        flags: READONLY,
        since: "4.0.0",
        summary: "How often a key is accessed",
        run: Run::Data(freq),
        ..ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: LOADING | STALE,
        keys: KeySpec::None,
        since: "6.2.0",
        summary: "Lists the subcommands",
        run: Run::Keyspace(help),
        ..ROW
    },
    Command {
        name: "idletime",
        arity: 3,
        flags: READONLY,
        since: "2.2.3",
        summary: "Seconds since the last access to a key",
        run: Run::Data(idletime),
        ..ROW
    },
    Command {
        name: "refcount",
        arity: 3,
        flags: READONLY,
        since: "2.2.3",
        summary: "How many references the value at a key has",
        run: Run::Data(refcount),
        ..ROW
    },
];

/// `DEBUG OBJECT`, a row for the container.
pub const DEBUG_OBJECT: Command = Command {
    name: "object",
    arity: 3,
    flags: READONLY,
    categories: &[],
    group: "server",
    since: "1.0.0",
    summary: "How the value at a key is stored, on one line",
    complexity: "O(N) where N is the size of the value",
    run: Run::Data(debug_object),
    ..ROW
};

/// Redis's longest string that shares one allocation with its header.
const EMBSTR_BYTES_MAX: usize = 44;

/// The encoding that Redis would have chosen; `None` if there is no such key.
fn encoding_of(call: &Call<'_, '_>) -> Option<&'static str> {
    let key = &call.keys[0];
    Some(match call.txn.kind(key)? {
        Kind::String => match call.txn.string(key) {
            Ok(Some(bytes)) if parse_integer(bytes).is_some() => "int",
            Ok(Some(bytes)) if bytes.len() <= EMBSTR_BYTES_MAX => "embstr",
            _ => "raw",
        },
        Kind::Hash => {
            let settings = call.settings;
            let mut small =
                call.txn.hash_len(key).is_ok_and(|length| length <= settings.hash_max_listpack_entries);
            if small {
                // The key holds a hash, as was just seen, so there is no error to hide.
                let _ = call.txn.hash_for_each(key, &mut |field, value| {
                    small &= field.len().max(value.len()) <= settings.hash_max_listpack_value;
                });
            }
            if small { "listpack" } else { "hashtable" }
        }
        Kind::List => "quicklist",
        Kind::Stream => "stream",
        Kind::Chat if call.txn.is_packed(key) => "packed",
        Kind::Chat => "chunks",
        Kind::Set => match call.txn.set_members(key) {
            Ok(Some(members))
                if members.len() <= call.settings.set_max_intset_entries
                    && members.iter().all(|member| parse_integer(member).is_some()) =>
            {
                "intset"
            }
            _ => "hashtable",
        },
        Kind::SortedSet => {
            let settings = call.settings;
            let members = call.txn.sorted_set(key).ok().flatten();
            let small = members.is_some_and(|members| {
                let mut small = members.len() <= settings.zset_max_listpack_entries;
                if small {
                    members.for_each(0..members.len(), false, &mut |member, _| {
                        small &= member.len() <= settings.zset_max_listpack_value;
                    });
                }
                small
            });
            if small { "listpack" } else { "skiplist" }
        }
    })
}

fn encoding(call: &mut Call<'_, '_>) -> CommandResult {
    let encoding = encoding_of(call);
    call.lookups.count(encoding.is_some());
    call.reply.bulk_or_null(encoding.map(str::as_bytes));
    Ok(())
}

/// A number that is the same for every key; null if there is no such key.
fn constant(call: &mut Call<'_, '_>, number: i64) -> CommandResult {
    let found = call.txn.exists(&call.keys[0]);
    // No `keymiss`, here alone among all that read.
    call.lookups.count(found);
    if found {
        call.reply.integer(number);
    } else {
        call.reply.null();
    }
    Ok(())
}

/// Values are not shared.
fn refcount(call: &mut Call<'_, '_>) -> CommandResult {
    constant(call, 1)
}

/// The engine keeps one bit of access per key, not a time.
fn idletime(call: &mut Call<'_, '_>) -> CommandResult {
    constant(call, 0)
}

fn freq(call: &mut Call<'_, '_>) -> CommandResult {
    let found = call.txn.exists(&call.keys[0]);
    call.lookups.count(found);
    if found {
        return Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.".into());
    }
    call.reply.null();
    Ok(())
}

fn debug_object(call: &mut Call<'_, '_>) -> CommandResult {
    let key = &call.keys[0];
    let Some(encoding) = encoding_of(call) else { return Err("ERR no such key".into()) };
    let mut length = call.txn.string(key).ok().flatten().map_or(0, <[u8]>::len);
    let _ = call.txn.hash_for_each(key, &mut |field, value| length += field.len() + value.len());
    if let Ok(Some(members)) = call.txn.set_members(key) {
        length += members.iter().map(<[u8]>::len).sum::<usize>();
    }
    let _ = call.txn.list_range(key, 0, usize::MAX, &mut |element| length += element.len());
    call.reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{length} lru:0 lru_seconds_idle:0"
    ));
    Ok(())
}

/// Writes the lines of a `HELP`.
pub(super) fn write_help(reply: &mut Reply, lines: &[&str]) {
    reply.array(lines.len());
    for line in lines {
        reply.simple(line);
    }
}

fn help(call: &mut KeyspaceCall<'_>) -> CommandResult {
    write_help(call.reply, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];
