//! What a command does to each of its keys, where the flags of its row don't say it: as the key specifications of Redis 7.0 have it.

use crate::command::{Command, flags};

/// Whether the value of a command's key number `nth` is read, and whether it is changed. `EXISTS` and the like do neither: any pattern that matches
/// the key allows them.
pub(super) fn of(command: &Command, full_name: &str, nth: usize, args: &[&[u8]]) -> (bool, bool) {
    const READ: (bool, bool) = (true, false);
    const WRITE: (bool, bool) = (false, true);
    const BOTH: (bool, bool) = (true, true);
    match full_name {
        "append"
        | "del"
        | "expire"
        | "expireat"
        | "hdel"
        | "hmset"
        | "hset"
        | "hsetnx"
        | "linsert"
        | "lpush"
        | "lpushx"
        | "lrem"
        | "lset"
        | "ltrim"
        | "mset"
        | "msetnx"
        | "persist"
        | "pexpire"
        | "pexpireat"
        | "pfadd"
        | "psetex"
        | "restore"
        | "restore-asking"
        | "rpush"
        | "rpushx"
        | "sadd"
        | "setex"
        | "setnx"
        | "setrange"
        | "srem"
        | "unlink"
        | "xack"
        | "xadd"
        | "xautoclaim"
        | "xclaim"
        | "xdel"
        | "xgroup|create"
        | "xgroup|createconsumer"
        | "xgroup|delconsumer"
        | "xgroup|destroy"
        | "xgroup|setid"
        | "xsetid"
        | "xtrim"
        | "zadd"
        | "zrem"
        | "zremrangebylex"
        | "zremrangebyrank"
        | "zremrangebyscore" => WRITE,
        "exists" | "hexists" | "hlen" | "hstrlen" | "llen" | "memory|usage" | "object|encoding"
        | "object|freq" | "object|idletime" | "object|refcount" | "scard" | "sismember" | "strlen"
        | "touch" | "type" | "watch" | "xlen" | "zcard" => (false, false),
        "blmove" | "brpoplpush" | "lmove" | "rename" | "renamenx" | "rpoplpush" | "smove" => {
            if nth == 0 {
                BOTH
            } else {
                WRITE
            }
        }
        "bitop" | "sdiffstore" | "sinterstore" | "sunionstore" | "zdiffstore" | "zinterstore"
        | "zrangestore" | "zunionstore" => {
            if nth == 0 {
                WRITE
            } else {
                READ
            }
        }
        "copy" | "sort" => {
            if nth == 0 {
                READ
            } else {
                WRITE
            }
        }
        "pfmerge" => {
            if nth == 0 {
                BOTH
            } else {
                READ
            }
        }
        "xreadgroup" | "pfdebug" => READ,
        "set" => (args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(b"get")), true),
        "bitfield" => {
            let writes =
                |arg: &&[u8]| [&b"set"[..], b"incrby"].iter().any(|word| arg.eq_ignore_ascii_case(word));
            (true, args.iter().skip(2).any(writes))
        }
        _ if command.flags & flags::WRITE != 0 => BOTH,
        // Scripts say nothing of what they do to their keys.
        "eval" | "evalsha" | "fcall" => BOTH,
        _ => READ,
    }
}
