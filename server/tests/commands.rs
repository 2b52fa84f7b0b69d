//! What commands answer, byte for byte, without a server and without an oracle. `differential.rs` covers more of them; what is here
//! holds on machines that have no redis-server, and says what is meant.

#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod support;

use sessile_server::command::Random;
use sessile_server::resp::Protocol;
use support::in_process::{InProcess, own_rows, rows};

fn converse(protocol: Protocol, lines: &str) {
    let mut server = InProcess::new();
    server.set_protocol(protocol);
    server.converse(lines);
}

/// As Redis 8.4 and Valkey 8.1 have it, which agree on this and on no other comparison.
#[test]
fn a_string_is_set_if_it_is_what_the_client_takes_it_for() {
    converse(
        Protocol::Resp2,
        "SET k new IFEQ old => $-1
        EXISTS k => :0
        SET k old => +OK
        SET k new IFEQ other => $-1
        SET k new IFEQ other GET => $3|old
        SET k new IFEQ old EX 100 => +OK
        TTL k => :100
        SET k newer GET KEEPTTL IFEQ new => $3|new
        TTL k => :100
        SET k 10 IFEQ newer => +OK
        TTL k => :-1
        SET k 11 IFEQ 10 GET => $2|10
        SET k 12 IFEQ 011 => $-1
        SET missing v IFEQ v GET => $-1
        EXISTS missing => :0
        SET k v IFEQ => -ERR syntax error
        SET k v NX IFEQ 11 => -ERR syntax error
        SET k v IFEQ 11 XX => -ERR syntax error
        SET k v IFEQ 11 IFEQ 11 => -ERR syntax error
        SET k v IFEQ 11 EX 0 => -ERR invalid expire time in 'set' command
        HSET h f v => :1
        SET h v IFEQ v => -WRONGTYPE Operation against a key holding the wrong kind of value
        SET h v IFEQ v GET => -WRONGTYPE Operation against a key holding the wrong kind of value
        GETEX k IFEQ 11 => -ERR syntax error
        GET k => $2|11",
    );
}

#[test]
fn strings() {
    converse(
        Protocol::Resp2,
        "GET k => $-1
        SET k v => +OK
        GET k => $1|v
        GET => -ERR wrong number of arguments for 'get' command
        SET k w NX => $-1
        SET k w XX GET => $1|v
        SET k x NX GET => $1|w
        SET k v EX 10 PX 10 => -ERR syntax error
        SET k v EX 10 KEEPTTL => -ERR syntax error
        SET k v NX XX => -ERR syntax error
        SET k v EX => -ERR syntax error
        SET k v EX 0 => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775807 => -ERR invalid expire time in 'set' command
        SET k v EX ten => -ERR value is not an integer or out of range
        SETEX k -1 v => -ERR invalid expire time in 'setex' command
        GETEX k EX 0 => -ERR invalid expire time in 'getex' command
        GETEX missing EX 0 => $-1
        SET k v EXAT 1 => +OK
        EXISTS k => :0
        SET k v EX 100 => +OK
        TTL k => :100
        SET k w KEEPTTL => +OK
        TTL k => :100
        APPEND k w => :2
        TTL k => :100
        GETEX k PERSIST => $2|ww
        TTL k => :-1
        GETSET k v => $2|ww
        GETDEL k => $1|v
        GETDEL k => $-1
        MSET a 1 b 2 c => -ERR wrong number of arguments for 'mset' command
        MSET a 1 b 2 => +OK
        MSETNX b 3 c 4 => :0
        MSETNX c 4 d 5 => :1
        HSET h f v => :1
        MGET a missing h b => *4|$1|1|$-1|$-1|$1|2
        GET h => -WRONGTYPE Operation against a key holding the wrong kind of value
        SET h v => +OK
        STRLEN h => :1
        SETRANGE k 3 x => :4
        GETRANGE k -2 -1 => $2|\0x
        SETRANGE k -1 x => -ERR offset is out of range
        SETRANGE k 536870912 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE missing 5 '' => :0
        EXISTS missing => :0"
            .replace("\\0", "\0")
            .as_str(),
    );
}

#[test]
fn numbers() {
    converse(
        Protocol::Resp2,
        "INCR n => :1
        INCRBY n 9223372036854775806 => :9223372036854775807
        INCR n => -ERR increment or decrement would overflow
        DECRBY n -9223372036854775808 => -ERR decrement would overflow
        INCRBY n 01 => -ERR value is not an integer or out of range
        SET n 10 EX 100 => +OK
        DECR n => :9
        TTL n => :100
        INCRBYFLOAT n 0.1 => $3|9.1
        INCR n => -ERR value is not an integer or out of range
        INCRBYFLOAT n 5.0e3 => $22|5009.10000000000000009
        INCRBYFLOAT n inf => -ERR increment would produce NaN or Infinity
        INCRBYFLOAT n nan => -ERR value is not a valid float
        INCRBYFLOAT z -1e-30 => $1|0
        INCRBYFLOAT big 1e20 => $21|100000000000000000000
        HINCRBY h f 5 => :5
        HINCRBY h f 9223372036854775807 => -ERR increment or decrement would overflow
        HINCRBYFLOAT h f 0.25 => $4|5.25
        HINCRBY h f 1 => -ERR hash value is not an integer
        HSET h g x => :1
        HINCRBYFLOAT h g 1 => -ERR hash value is not a float
        HINCRBYFLOAT h g inf => -ERR value is NaN or Infinity",
    );
}

#[test]
fn deadlines() {
    converse(
        Protocol::Resp2,
        "EXPIRE k 100 => :0
        TTL k => :-2
        SET k v => +OK
        TTL k => :-1
        EXPIRE k 100 XX => :0
        EXPIRE k 100 GT => :0
        EXPIRE k 100 LT => :1
        EXPIRE k 200 NX => :0
        EXPIRE k 50 GT => :0
        EXPIRE k 200 GT => :1
        TTL k => :200
        EXPIRE k 10 NX GT => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 10 GT LT => -ERR GT and LT options at the same time are not compatible
        EXPIRE k 10 SOON => -ERR Unsupported option SOON
        EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
        PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
        EXPIREAT k 4102444800 => :1
        EXPIRETIME k => :4102444800
        PEXPIRETIME k => :4102444800000
        PERSIST k => :1
        PERSIST k => :0
        PEXPIREAT k 9223372036854775807 => :1
        PEXPIRETIME k => :9223372036854775807
        EXPIRE k -1 => :1
        EXISTS k => :0",
    );
}

#[test]
fn keys() {
    converse(
        Protocol::Resp2,
        "SET a 1 EX 100 => +OK
        RENAME missing b => -ERR no such key
        RENAME a a => +OK
        RENAMENX a a => :0
        RENAME a b => +OK
        TTL b => :100
        COPY b b => -ERR source and destination objects are the same
        COPY b c => :1
        COPY b c => :0
        COPY b c REPLACE => :1
        COPY b b DB 1 => :1
        COPY b x DB 16 => -ERR DB index is out of range
        MOVE c 0 => -ERR source and destination objects are the same
        MOVE b 1 => :0
        MOVE c 1 => :1
        EXISTS b c b => :2
        SELECT 1 => +OK
        DBSIZE => :2
        TTL c => :100
        TYPE c => +string
        TYPE missing => +none
        DEL b c c => :2
        HSET h f v => :1
        TYPE h => +hash
        TOUCH h missing => :1
        KEYS ? => *1|$1|h
        SCAN 0 MATCH h* COUNT 100 TYPE hash => *2|$1|0|*1|$1|h
        SCAN 0 TYPE string => *2|$1|0|*0
        SCAN x => -ERR invalid cursor
        SCAN 0 COUNT 0 => -ERR syntax error
        RANDOMKEY => $1|h
        FLUSHDB NOW => -ERR syntax error
        FLUSHDB ASYNC => +OK
        RANDOMKEY => $-1
        SELECT 0 => +OK
        DBSIZE => :1
        FLUSHALL => +OK
        DBSIZE => :0",
    );
}

const HASH: &str = "HSET h a 1 b 2 => :2
    HSET h a 1 b => -ERR wrong number of arguments for 'hset' command
    HMSET h c 3 => +OK
    HSETNX h c 4 => :0
    HLEN h => :3
    HSTRLEN h c => :1
    HEXISTS h x => :0
    HKEYS h => *3|$1|a|$1|b|$1|c
    HVALS h => *3|$1|1|$1|2|$1|3
    HDEL h c x c => :1
    HRANDFIELD h 5 => *2|$1|a|$1|b
    HRANDFIELD h 0 => *0
    HRANDFIELD h 1 NOVALUES => -ERR syntax error
    HSCAN h 0 => *2|$1|0|*4|$1|a|$1|1|$1|b|$1|2
    HSCAN h 0 MATCH b NOVALUES => *2|$1|0|*1|$1|b
    HSCAN missing 0 => *2|$1|0|*0";

#[test]
fn hashes_in_resp2() {
    converse(Protocol::Resp2, HASH);
    converse(
        Protocol::Resp2,
        "HGETALL h => *0
        HSET h a 1 => :1
        HGETALL h => *2|$1|a|$1|1
        HGET h b => $-1
        HMGET h a b => *2|$1|1|$-1
        HRANDFIELD h 1 WITHVALUES => *2|$1|a|$1|1
        HRANDFIELD h -2 WITHVALUES => *4|$1|a|$1|1|$1|a|$1|1
        HDEL h a => :1
        EXISTS h => :0",
    );
}

#[test]
fn hashes_in_resp3() {
    converse(Protocol::Resp3, HASH);
    converse(
        Protocol::Resp3,
        "HGETALL h => %0
        HSET h a 1 => :1
        HGETALL h => %1|$1|a|$1|1
        HGET h b => _
        HMGET h a b => *2|$1|1|_
        HRANDFIELD h 1 WITHVALUES => *1|*2|$1|a|$1|1
        HRANDFIELD missing => _
        GET missing => _",
    );
}

#[test]
fn bits() {
    converse(
        Protocol::Resp2,
        "SETBIT b 7 1 => :0
        SETBIT b 7 1 => :1
        GETBIT b 7 => :1
        GETBIT b 100 => :0
        SETBIT b 4294967296 1 => -ERR bit offset is not an integer or out of range
        SETBIT b 1 2 => -ERR bit is not an integer or out of range
        SET s foobar => +OK
        BITCOUNT s => :26
        BITCOUNT s 1 1 => :6
        BITCOUNT s 5 30 BIT => :17
        BITPOS s 0 => :0
        BITPOS s 1 2 => :17
        BITPOS missing 1 => :-1
        SET s abcdef => +OK
        BITOP AND r s b => :6
        BITOP NOT r s b => -ERR BITOP NOT must be called with a single source key.
        BITFIELD f INCRBY i5 100 1 GET u4 0 => *2|:1|:0
        BITFIELD f OVERFLOW FAIL SET u2 100 9 => *1|$-1
        BITFIELD f SET u64 0 1 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD f SET u8 4294967295 1 => -ERR bit offset is not an integer or out of range
        BITFIELD_RO f SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand",
    );
}

#[test]
fn longest_common_subsequences() {
    converse(
        Protocol::Resp3,
        "MSET a ohmytext b mynewtext => +OK
        LCS a b => $6|mytext
        LCS a b LEN => :6
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN => %2|$7|matches|*1|*3|*2|:4|:7|*2|:5|:8|:4|$3|len|:6
        LCS a b LEN IDX => -ERR If you want both the length and indexes, please just use IDX.
        LCS a missing => $0|",
    );
}

#[test]
fn encodings_are_what_redis_would_choose() {
    converse(
        Protocol::Resp2,
        "SET s 12 => +OK
        OBJECT ENCODING s => $3|int
        SET s 012 => +OK
        OBJECT ENCODING s => $6|embstr
        HSET h f v => :1
        OBJECT ENCODING h => $8|listpack
        HSET h f xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx => :0
        OBJECT ENCODING h => $9|hashtable
        OBJECT ENCODING missing => $-1
        OBJECT FOO => -ERR unknown subcommand 'FOO'. Try OBJECT HELP.
        MEMORY USAGE missing => $-1",
    );
}

/// A reply as long as a client likes to ask for would be all of the memory.
#[test]
fn random_fields_are_bounded() {
    let mut server = InProcess::new();
    server.settings.proto_max_bulk_len = 1 << 20;
    server.run(&[b"HSET", b"h", b"f", b"v"]);
    let reply = server.run(&[b"HRANDFIELD", b"h", b"-9223372036854775807"]);
    assert_eq!(reply, b"-ERR value is out of range\r\n");
}

/// Each field at most once, and over many draws each of them: from a hash much larger than the sample, too.
#[test]
fn random_fields_are_distinct_and_all_possible() {
    let mut server = InProcess::new();
    let mut random = Random::new(7);
    for fields in [5u64, 400] {
        let key = format!("h{fields}");
        for field in 0..fields {
            server.run(&[
                b"HSET",
                key.as_bytes(),
                format!("{field}").as_bytes(),
                &random.next().to_le_bytes(),
            ]);
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..fields * 20 {
            let reply = server.run(&[b"HRANDFIELD", key.as_bytes(), b"3"]);
            let (reply, _) = support::resp::Reply::parse(&reply).expect("a whole reply");
            let drawn: std::collections::BTreeSet<_> =
                reply.elements.iter().map(|field| field.text.clone()).collect();
            assert_eq!(drawn.len(), 3);
            seen.extend(drawn);
        }
        assert_eq!(seen.len() as u64, fields);
    }
}

#[test]
fn rows_are_filled_in() {
    for row in rows().chain(own_rows()).flat_map(|row| std::iter::once(row).chain(row.subcommands)) {
        assert!(!row.summary.is_empty() && !row.since.is_empty() && !row.complexity.is_empty(), "{row:?}");
        assert!(row.arity != 0 && row.name == row.name.to_lowercase(), "{row:?}");
    }
}
