//! Rate limits: `CL.THROTTLE`, with the arguments and the reply of redis-cell.

use super::args::named_integer;
use super::flags::{DENYOOM, FAST, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::{GENERIC, STRING};
use sessile::{THROTTLE_NUMBER_MAX, Throttle, ThrottleError};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "cl.throttle",
    arity: -5,
    flags: WRITE | DENYOOM | FAST,
    keys: KeySpec::ONE,
    categories: &["string"],
    group: "throttle",
    since: "sessile 0.1",
    summary: "Whether so many more may come now, by the generic cell rate algorithm, and counts them if so. A quantity of 0 only asks",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Data(throttle),
}];

/// A number for a reply; those that don't fit are beyond what anyone waits for.
fn shown(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn throttle(call: &mut Call<'_, '_>) -> CommandResult {
    let number = |name, at: usize, least| match call.args.get(at) {
        Some(argument) => named_integer(name, argument, least, THROTTLE_NUMBER_MAX),
        // The quantity.
        None => Ok(1),
    };
    if call.args.len() > 6 {
        return Err(CommandError::Syntax);
    }
    let throttle = Throttle {
        max_burst: number("max-burst", 2, 0)?,
        count: number("count", 3, 1)?,
        period_s: number("period", 4, 1)?,
    };
    let quantity = number("quantity", 5, 0)?;
    let throttled = call.txn.throttle(&call.keys[0], throttle, quantity).map_err(|error| match error {
        ThrottleError::WrongKind(_) => CommandError::WrongType,
        ThrottleError::NoThrottle => "ERR the key holds a string that is not a throttle's".into(),
        ThrottleError::OutOfRange { .. } => CommandError::of(format!("ERR {error}")),
    })?;
    call.reply.array(5);
    call.reply.integer(i64::from(throttled.limited));
    call.reply.integer(shown(throttled.limit));
    call.reply.integer(shown(throttled.remaining));
    call.reply.integer(throttled.retry_after_s.map_or(-1, shown));
    call.reply.integer(shown(throttled.reset_after_s));
    if !throttled.limited && quantity > 0 {
        // What `SET … PX` tells.
        call.notify(STRING, "set", 0);
        call.notify(GENERIC, "expire", 0);
    }
    Ok(())
}
