//! Commands over the keyspace as a whole in a script: on its copies, with what it has changed so far.

use crate::command::dispatch::refusal;
use crate::command::scan::{
    Gathered, KEYS_A_STEP, ScanOf, ScanOptions, cursor, everything_or_matches, is_of_type,
};
use crate::command::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::worker::Worker;
use sessile::Overlay;

fn failed(error: &sessile::Error) -> CommandError {
    CommandError::of(refusal(error))
}

/// Runs the command of this name.
pub(super) fn run(
    overlay: &mut Overlay,
    name: &str,
    args: &[&[u8]],
    database: u8,
    worker: &mut Worker,
    reply: &mut Reply,
) -> CommandResult {
    match name {
        "dbsize" => reply.integer(overlay.len_of(database) as i64),
        "randomkey" => {
            let key = overlay.random_key(database, worker.random.next()).map_err(|error| failed(&error))?;
            reply.bulk_or_null(key.as_deref());
        }
        "flushdb" | "flushall" => {
            match args {
                [_] => {}
                [_, how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
                _ => return Err(CommandError::Syntax),
            }
            overlay.clear((name == "flushdb").then_some(database));
            reply.ok();
        }
        "keys" => {
            let pattern = args.get(1).copied().unwrap_or_default();
            let mut keys = Gathered::default();
            let mut at = 0;
            loop {
                at = overlay
                    .scan(database, at, KEYS_A_STEP, &mut |key, _| {
                        if everything_or_matches(pattern, key) {
                            keys.push(key);
                        }
                    })
                    .map_err(|error| failed(&error))?;
                if at == 0 {
                    break;
                }
            }
            keys.write(reply);
        }
        "scan" => {
            let start = cursor(args.get(1).copied().unwrap_or_default())?;
            let options = ScanOptions::parse(args.get(2..).unwrap_or_default(), ScanOf::Keys)?;
            let mut keys = Gathered::default();
            let next = overlay
                .scan(database, start, options.count, &mut |key, kind| {
                    if is_of_type(&options, kind) && options.wants(key) {
                        keys.push(key);
                    }
                })
                .map_err(|error| failed(&error))?;
            keys.write_scan(next, reply);
        }
        _ => return Err("ERR This Redis command is not allowed from script".into()),
    }
    Ok(())
}
