//! Commands on keys whatever they hold: deleting, counting, renaming, copying.

use super::args::{database, is};
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{GENERIC, HASH, NEW};
use sessile::{Key, Kind, Txn};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["keyspace"],
    group: "generic",
    since: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "del",
        arity: -2,
        flags: WRITE,
        keys: KeySpec::ALL,
        since: "1.0.0",
        summary: "Deletes keys",
        complexity: "O(N) where N is the number of keys that will be removed",
        run: Run::Data(del),
        ..ROW
    },
    Command {
        name: "unlink",
        arity: -2,
        flags: WRITE | FAST,
        keys: KeySpec::ALL,
        since: "4.0.0",
        summary: "Deletes keys",
        complexity: "O(1) for each key removed regardless of its size",
        run: Run::Data(del),
        ..ROW
    },
    Command {
        name: "exists",
        arity: -2,
        flags: READONLY | FAST,
        keys: KeySpec::ALL,
        since: "1.0.0",
        summary: "Counts which of the keys exist",
        complexity: "O(N) where N is the number of keys to check",
        run: Run::Data(exists),
        ..ROW
    },
    Command {
        name: "type",
        arity: 2,
        flags: READONLY | FAST,
        since: "1.0.0",
        summary: "The type of the value at a key",
        run: Run::Data(type_),
        ..ROW
    },
    Command {
        name: "touch",
        arity: -2,
        flags: READONLY | FAST,
        keys: KeySpec::ALL,
        since: "3.2.1",
        summary: "Counts an access to keys",
        complexity: "O(N) where N is the number of keys that will be touched",
        run: Run::Data(touch),
        ..ROW
    },
    Command {
        name: "rename",
        arity: 3,
        flags: WRITE,
        keys: KeySpec::Range { first: 1, last: 2, step: 1 },
        since: "1.0.0",
        summary: "Renames a key, replacing what the new name held",
        run: Run::Data(rename),
        ..ROW
    },
    Command {
        name: "renamenx",
        arity: 3,
        flags: WRITE | FAST,
        keys: KeySpec::Range { first: 1, last: 2, step: 1 },
        since: "1.0.0",
        summary: "Renames a key unless the new name exists",
        run: Run::Data(renamenx),
        ..ROW
    },
    Command {
        name: "copy",
        arity: -3,
        flags: WRITE | DENYOOM,
        keys: KeySpec::Across { first: 1, last: 2, step: 1, find: keys_of_copy },
        since: "6.2.0",
        summary: "Copies a value to another key",
        complexity: "O(N) worst case for collections, where N is the number of nested items",
        run: Run::Data(copy),
        ..ROW
    },
    Command {
        name: "move",
        arity: 3,
        flags: WRITE | FAST,
        keys: KeySpec::Across { first: 1, last: 1, step: 1, find: keys_of_move },
        since: "1.0.0",
        summary: "Moves a key to another database",
        run: Run::Data(move_),
        ..ROW
    },
];

const SAME_OBJECT: &str = "ERR source and destination objects are the same";
const NO_SUCH_KEY: &str = "ERR no such key";

fn del(call: &mut Call<'_, '_>) -> CommandResult {
    let mut deleted = 0;
    for (index, key) in call.keys.iter().enumerate() {
        if call.txn.delete(key) {
            deleted += 1;
            call.notify(GENERIC, "del", index);
        }
    }
    call.reply.integer((deleted + call.damaged) as i64);
    Ok(())
}

fn exists(call: &mut Call<'_, '_>) -> CommandResult {
    let mut there = 0;
    for (index, key) in call.keys.iter().enumerate() {
        let found = call.txn.exists(key);
        there += usize::from(found);
        call.looked_up(index, found);
    }
    call.reply.integer(there as i64);
    Ok(())
}

fn touch(call: &mut Call<'_, '_>) -> CommandResult {
    let mut there = 0;
    for (index, key) in call.keys.iter().enumerate() {
        let found = call.txn.note_access(key);
        there += usize::from(found);
        call.looked_up(index, found);
    }
    call.reply.integer(there as i64);
    Ok(())
}

/// The name of a type, as `TYPE` says it and `SCAN … TYPE` reads it.
pub(super) fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::SortedSet => "zset",
        Kind::Hash => "hash",
        Kind::Stream => "stream",
        Kind::Chat => "chat",
    }
}

fn type_(call: &mut Call<'_, '_>) -> CommandResult {
    let kind = call.txn.kind(&call.keys[0]);
    call.looked_up(0, kind.is_some());
    call.reply.simple(kind.map_or("none", type_name));
    Ok(())
}

/// Whether both keys are one and the same: then a rename changes nothing.
fn same_key(call: &Call<'_, '_>) -> bool {
    call.keys[0].bytes() == call.keys[1].bytes() && call.keys[0].database() == call.keys[1].database()
}

/// Renames or copies the first key over the second.
fn transfer<'db>(call: &mut Call<'_, 'db>, by: fn(&mut Txn<'db>, &Key<'_>, &Key<'_>) -> bool) -> bool {
    // Dead fields don't come along.
    if call.txn.hash_prune(&call.keys[0]) > 0 {
        call.notify(HASH, "hexpired", 0);
    }
    // What is in the way is removed first, so that the key counts as new.
    let replaces = call.txn.exists(&call.keys[1]);
    let done = by(call.txn, &call.keys[0], &call.keys[1]);
    if done && replaces {
        call.notify(NEW, "new", 1);
    }
    done
}

fn rename(call: &mut Call<'_, '_>) -> CommandResult {
    if !call.txn.exists(&call.keys[0]) {
        return Err(NO_SUCH_KEY.into());
    }
    if !same_key(call) {
        check_size(call)?;
        transfer(call, Txn::rename);
        call.notify(GENERIC, "rename_from", 0);
        call.notify(GENERIC, "rename_to", 1);
    }
    call.reply.ok();
    Ok(())
}

fn renamenx(call: &mut Call<'_, '_>) -> CommandResult {
    if !call.txn.exists(&call.keys[0]) {
        return Err(NO_SUCH_KEY.into());
    }
    // A key in its own way counts as being there.
    let free = !call.txn.exists(&call.keys[1]);
    if free {
        check_size(call)?;
        transfer(call, Txn::rename);
        call.notify(GENERIC, "rename_from", 0);
        call.notify(GENERIC, "rename_to", 1);
    }
    call.reply.integer(i64::from(free));
    Ok(())
}

/// Refuses to move a value that one record of the log can't hold.
fn check_size(call: &Call<'_, '_>) -> CommandResult {
    if call.txn.fits_a_record(&call.keys[0]) {
        return Ok(());
    }
    Err("ERR the value is too large to be copied or renamed: one record of the log holds 512mb".into())
}

/// The options of `COPY`: the target's database, if one is named, and whether to replace.
fn copy_options(args: &[&[u8]]) -> Result<(Option<u8>, bool), CommandError> {
    let (mut target, mut replace) = (None, false);
    let mut index = 3;
    while let Some(word) = args.get(index) {
        if is(word, "replace") {
            replace = true;
        } else if let Some(number) = args.get(index + 1).filter(|_| is(word, "db")) {
            target = Some(database(number)?);
            index += 1;
        } else {
            return Err(CommandError::Syntax);
        }
        index += 1;
    }
    Ok((target, replace))
}

fn keys_of_copy(args: &[&[u8]], current: u8, each: &mut dyn FnMut(u8, usize)) {
    let target = copy_options(args).ok().and_then(|(target, _)| target);
    each(current, 1);
    each(target.unwrap_or(current), 2);
}

fn copy(call: &mut Call<'_, '_>) -> CommandResult {
    let (_, replace) = copy_options(call.args)?;
    if same_key(call) {
        return Err(SAME_OBJECT.into());
    }
    let (from, to) = (&call.keys[0], &call.keys[1]);
    let found = call.txn.exists(from);
    call.looked_up(0, found);
    check_size(call)?;
    let done = found && (replace || !call.txn.exists(to)) && transfer(call, Txn::copy);
    if done {
        call.notify(GENERIC, "copy_to", 1);
    }
    call.reply.integer(i64::from(done));
    Ok(())
}

/// The key here, and the key there: the same argument in two databases.
fn keys_of_move(args: &[&[u8]], current: u8, each: &mut dyn FnMut(u8, usize)) {
    each(current, 1);
    each(database(args[2]).unwrap_or(current), 1);
}

fn move_(call: &mut Call<'_, '_>) -> CommandResult {
    database(call.args[2])?;
    if same_key(call) {
        return Err(SAME_OBJECT.into());
    }
    let (from, to) = (&call.keys[0], &call.keys[1]);
    check_size(call)?;
    let done = call.txn.exists(from) && !call.txn.exists(to) && transfer(call, Txn::rename);
    if done {
        call.notify(GENERIC, "move_from", 0);
        call.notify(GENERIC, "move_to", 1);
    }
    call.reply.integer(i64::from(done));
    Ok(())
}
