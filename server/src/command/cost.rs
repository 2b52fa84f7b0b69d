//! About how long a command on data will take, before it begins: one that takes long runs where nobody waits for it (see
//! [`long`](super::long)).
//!
//! The figures are rough, from `just abuse` on one machine: they need only tell milliseconds from microseconds. What is missing here costs
//! what its arguments cost.

use super::Command;
use super::args::is;
use super::flags::FAST;
use super::number::parse_integer;
use sessile::Extent;

/// What takes longer than this, in nanoseconds, is long.
pub const LONG_NS: u64 = 5_000_000;
/// More keys than this are not copied: all their shards would be held while they are.
pub const KEYS_MAX: usize = 1000;

/// For each argument, whatever is done with it.
const ARGUMENT_NS: u64 = 100;
/// For each element that is looked at or taken.
const ELEMENT_NS: u64 = 100;
/// For each member that is looked up in another collection, or put into a new one.
const MEMBER_NS: u64 = 500;
/// For each element that is sorted.
const SORTED_NS: u64 = 1000;
/// For each byte of a string that is copied or looked at.
const BYTES_A_NS: u64 = 4;

/// Whether it is worth a look at the values whether a command that was called like this is long: most are not, and are done in the time that the
/// look would take.
#[inline]
pub fn may_be_long(command: &Command, args: &[&[u8]]) -> bool {
    if command.flags & FAST == 0 {
        return command.name != "set";
    }
    match args.len() {
        0..=2 => false,
        3 => matches!(command.name, "lpop" | "rpop" | "spop" | "zpopmin" | "zpopmax"),
        4..=8 => false,
        _ => true,
    }
}

/// Whether a command that was called like this is long, over keys whose values are so large.
pub fn is_long(command: &Command, args: &[&[u8]], extents: &[Extent]) -> bool {
    extents.len() <= KEYS_MAX && estimate_ns(command, args, extents) > LONG_NS
}

/// About how long it takes, in nanoseconds.
fn estimate_ns(command: &Command, args: &[&[u8]], extents: &[Extent]) -> u64 {
    let sum = |of: fn(&Extent) -> usize| extents.iter().map(|extent| of(extent) as u64).sum::<u64>();
    let elements = sum(|extent| extent.elements);
    let bytes = sum(|extent| extent.bytes);
    let first = extents.first().copied().unwrap_or_default();
    let own = first.elements as u64;
    let of_arguments = args.len() as u64 * ARGUMENT_NS;
    let count_at = |index: usize| number(args, index).map_or(0, i64::unsigned_abs);
    let of_values = match command.name {
        // One that looks at other keys would have to copy as many of them.
        "sort" | "sort_ro" if args.iter().any(|arg| arg.contains(&b'*')) => 0,
        "sort" | "sort_ro" => own * SORTED_NS,
        "smembers" | "hgetall" | "hkeys" | "hvals" | "sdiff" | "sinter" | "sunion" | "sintercard" => {
            elements * ELEMENT_NS * (1 + (extents.len() as u64).min(4))
        }
        "zinter" | "zintercard" | "zunion" | "zdiff" | "sdiffstore" | "sinterstore" | "sunionstore"
        | "zdiffstore" | "zinterstore" | "zunionstore" => elements * MEMBER_NS,
        "lrange" => ranged(args, own) * ELEMENT_NS / 2,
        "ltrim" => own.saturating_sub(ranged(args, own)) * ELEMENT_NS / 2,
        "lrem" | "lpos" | "linsert" => own * ELEMENT_NS / 4,
        // Chunks are passed over.
        "lindex" | "lset" => own / 32,
        "lpop" | "rpop" | "zpopmin" | "zpopmax" => count_at(2).min(own) * MEMBER_NS,
        "lmpop" | "zmpop" | "blmpop" | "bzmpop" => {
            after(args, b"count").unwrap_or(1).min(elements) * MEMBER_NS
        }
        "spop" => count_at(2).min(own) * MEMBER_NS,
        "srandmember" | "hrandfield" | "zrandmember" => match number(args, 2) {
            // The same one may come again, so that it is not bounded by what there is.
            Some(count @ ..=-1) => count.unsigned_abs().saturating_mul(ELEMENT_NS),
            Some(count) => count.unsigned_abs().min(own) * MEMBER_NS,
            None => 0,
        },
        "hscan" | "sscan" | "zscan" => after(args, b"count").unwrap_or(10).min(own) * ELEMENT_NS,
        "zrange" | "zrangebyscore" | "zrangebylex" | "zrevrange" | "zrevrangebyscore" | "zrevrangebylex"
        | "zrangestore" => ordered(command.name, args, elements) * ELEMENT_NS * 2,
        "zremrangebyrank" | "zremrangebyscore" | "zremrangebylex" => own * ELEMENT_NS,
        "xrange" | "xrevrange" | "xread" | "xreadgroup" | "xclaim" | "xautoclaim" | "xpending" => {
            let most = if command.name == "xpending" {
                count_at(5)
            } else {
                after(args, b"count").unwrap_or(u64::MAX)
            };
            most.min(elements) * MEMBER_NS
        }
        "xtrim" | "xgroup" | "stream" | "destroy" => own * ELEMENT_NS,
        "copy" | "rename" | "renamenx" | "dump" | "move" => own * MEMBER_NS + bytes / BYTES_A_NS,
        // The structure of what is replaced is freed in the background.
        "restore" => args.get(3).map_or(0, |payload| payload.len() as u64 * 20),
        "digest-value" | "usage" => elements * ELEMENT_NS,
        "object" => own * ELEMENT_NS,
        "bitcount" | "bitpos" => bytes / BYTES_A_NS,
        "bitop" => bytes,
        "get" | "getex" | "getdel" | "getset" | "mget" => bytes / BYTES_A_NS / 2,
        "getrange" | "substr" => ranged(args, bytes) / BYTES_A_NS / 2,
        "lcs" => {
            let [one, other] = extents else { return of_arguments };
            (one.bytes as u64).saturating_mul(other.bytes as u64)
        }
        // What is in the flat form is copied to grow, and zeros may have to be made.
        "setrange" => (bytes + number(args, 2).unwrap_or(0).unsigned_abs()) / BYTES_A_NS,
        "setbit" => (bytes + number(args, 2).unwrap_or(0).unsigned_abs() / 8) / BYTES_A_NS,
        "append" | "bitfield" => bytes / BYTES_A_NS,
        "pfcount" | "pfmerge" if extents.len() > 1 => bytes * 4,
        "hset" | "hmset" | "sadd" | "srem" | "zadd" | "zrem" | "rpush" | "lpush" | "hdel" | "smismember"
        | "hmget" | "zmscore" | "hpexpire" | "hexpire" | "pfadd" => args.len() as u64 * MEMBER_NS / 2,
        _ => 0,
    };
    of_arguments.saturating_add(of_values)
}

/// The integer at this place.
fn number(args: &[&[u8]], index: usize) -> Option<i64> {
    args.get(index).and_then(|text| parse_integer(text))
}

/// The number that follows this word.
fn after(args: &[&[u8]], word: &[u8]) -> Option<u64> {
    let at = args.iter().position(|arg| is(arg, std::str::from_utf8(word).unwrap_or_default()))?;
    number(args, at + 1).map(i64::unsigned_abs)
}

/// How many of `len` the arguments at 2 and 3 span, as `LRANGE` has them.
fn ranged(args: &[&[u8]], len: u64) -> u64 {
    let place = |index: usize| {
        let at = number(args, index).unwrap_or(0);
        if at < 0 { len.saturating_sub(at.unsigned_abs()) } else { at.unsigned_abs().min(len) }
    };
    (place(3) + 1).saturating_sub(place(2)).min(len)
}

/// How many of `len` members a range of a sorted set may have.
fn ordered(name: &str, args: &[&[u8]], len: u64) -> u64 {
    let limit = args.iter().position(|arg| is(arg, "limit")).and_then(|at| number(args, at + 2));
    match limit {
        Some(count @ 0..) => len.min(count.unsigned_abs()),
        Some(_) => len,
        None if name == "zrange" || name == "zrevrange" => {
            let by_rank = !args.iter().any(|arg| is(arg, "byscore") || is(arg, "bylex"));
            if by_rank { ranged(args, len) } else { len }
        }
        None => len,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::table;

    fn long(words: &str, extents: &[Extent]) -> bool {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let entry = table().find(args[0]).expect("a command");
        is_long(entry.command, &args, extents)
    }

    fn elements(elements: usize) -> Extent {
        Extent { elements, ..Extent::default() }
    }

    fn bytes(bytes: usize) -> Extent {
        Extent { bytes, ..Extent::default() }
    }

    #[test]
    fn what_looks_at_much_is_long() {
        let million = [elements(1_000_000)];
        for words in [
            "SORT k ALPHA LIMIT 0 1",
            "HGETALL k",
            "SMEMBERS k",
            "LRANGE k 0 -1",
            "LRANGE k -500000 -1",
            "LREM k 0 x",
            "ZRANGE k 0 -1",
            "ZRANGE k -inf +inf BYSCORE",
            "XRANGE k - +",
            "SPOP k 900000",
            "HSCAN k 0 COUNT 1000000000",
            "SRANDMEMBER k -1000000000",
        ] {
            assert!(long(words, &million), "{words}");
        }
        assert!(long("SRANDMEMBER k -1000000000", &[elements(0)]));
        assert!(long("LCS a b", &[bytes(100_000), bytes(100_000)]));
        assert!(long("BITCOUNT k", &[bytes(100 << 20)]));
        assert!(long("SETRANGE k 536870000 x", &[bytes(0)]));
        assert!(long("SUNIONSTORE d a b", &[elements(0), elements(500_000), elements(500_000)]));
    }

    #[test]
    fn what_looks_at_little_of_much_is_not() {
        let million = [elements(1_000_000)];
        for words in [
            "LRANGE k 0 10",
            "LRANGE k -10 -1",
            "LPUSH k a b c",
            "LPOP k",
            "LINDEX k -1",
            "HGET k f",
            "HSET k f v",
            "HSCAN k 0 COUNT 100",
            "SRANDMEMBER k 10",
            "ZRANGE k 0 10",
            "ZRANGE k -inf +inf BYSCORE LIMIT 900000 10",
            "ZADD k 1 a",
            "XRANGE k - + COUNT 10",
            "DEL k",
            "EXPIRE k 10",
            "SETBIT k 1000 1",
        ] {
            assert!(!long(words, &million), "{words}");
        }
        assert!(!long("SORT k", &[elements(1000)]));
        assert!(!long("GET k", &[bytes(1 << 20)]));
    }
}
