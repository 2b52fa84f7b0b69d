//! Fields of hashes with deadlines, which the Redis that other tests compare with does not have: from the specification of Redis 7.4 and 8.
#![expect(clippy::disallowed_methods, reason = "real fields die by real time")]
#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod support;

use sessile_server::notify;
use std::time::Duration;
use support::in_process::InProcess;

/// Runs a conversation: each line is a command, `=>` and the reply with its line ends shown as `|`.
fn converse(server: &mut InProcess, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, reply) = line.split_once(" => ").unwrap_or_else(|| panic!("{line}: no reply"));
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let answer = String::from_utf8_lossy(&server.run(&args)).replace("\r\n", "|");
        assert_eq!(answer, format!("{reply}|"), "{command}");
    }
}

#[test]
fn deadlines_are_set_read_and_taken_off() {
    converse(
        &mut InProcess::new(),
        "HSET h a 1 b 2 c 3 => :3
        HEXPIRE h 100 FIELDS 2 a nosuch => *2|:1|:-2
        HTTL h FIELDS 3 a b nosuch => *3|:100|:-1|:-2
        HTTL missing FIELDS 2 a b => *2|:-2|:-2
        HEXPIRE missing 100 FIELDS 1 a => *1|:-2
        HPERSIST missing FIELDS 1 a => *1|:-2
        TTL h => :-1
        HEXPIRE h 200 NX FIELDS 2 a b => *2|:0|:1
        HEXPIRE h 150 GT FIELDS 3 a b c => *3|:1|:0|:0
        HEXPIRE h 120 LT FIELDS 3 a b c => *3|:1|:1|:1
        HEXPIRE h 90 XX FIELDS 2 a c => *2|:1|:1
        HTTL h FIELDS 3 a b c => *3|:90|:120|:90
        HPERSIST h FIELDS 3 a a nosuch => *3|:1|:-1|:-2
        HEXPIREAT h 4102444800 FIELDS 1 a => *1|:1
        HEXPIRETIME h FIELDS 1 a => *1|:4102444800
        HPEXPIRETIME h FIELDS 1 a => *1|:4102444800000
        HPEXPIREAT h 4102444800001 FIELDS 1 a => *1|:1
        HEXPIRETIME h FIELDS 1 a => *1|:4102444801
        TTL h => :-1
        HPEXPIRE h 100000 FIELDS 1 a => *1|:1
        HSET h a 9 => :0
        HTTL h FIELDS 1 a => *1|:-1
        HINCRBY h b 5 => :7
        HINCRBYFLOAT h c 1.5 => $3|4.5
        HTTL h FIELDS 2 b c => *2|:120|:90
        HEXPIRE h 0 FIELDS 1 a => *1|:2
        HEXPIREAT h 1 FIELDS 2 a b => *2|:-2|:2
        HGETALL h => *2|$1|c|$3|4.5
        HEXPIREAT h 1 FIELDS 1 c => *1|:2
        EXISTS h => :0
        HEXPIRE h 10 FIELDS 1 c => *1|:-2",
    );
}

#[test]
fn a_key_keeps_its_own_deadline_beside_those_of_its_fields() {
    converse(
        &mut InProcess::new(),
        "HSETEX h EX 50 FIELDS 2 a 1 b 2 => :1
        TTL h => :-1
        PERSIST h => :0
        EXPIRE h 100 => :1
        TTL h => :100
        EXPIRE h 200 LT => :0
        EXPIRE h 300 GT => :1
        HTTL h FIELDS 1 a => *1|:50
        EXPIRE h 20 => :1
        TTL h => :20
        HSET h c 3 => :1
        TTL h => :20
        PERSIST h => :1
        TTL h => :-1
        HDEL h c => :1
        TTL h => :-1
        EXPIRE h 60 => :1
        RENAME h i => +OK
        TTL i => :60
        HTTL i FIELDS 2 a b => *2|:50|:50
        COPY i j => :1
        TTL j => :60
        HPERSIST j FIELDS 2 a b => *2|:1|:1
        TTL j => :60
        PERSIST j => :1
        HTTL j FIELDS 1 a => *1|:-1
        HTTL i FIELDS 1 a => *1|:50",
    );
}

#[test]
fn fields_are_read_and_written_with_their_deadlines() {
    converse(
        &mut InProcess::new(),
        "HSETEX h FIELDS 2 a 1 b 2 => :1
        HTTL h FIELDS 2 a b => *2|:-1|:-1
        HGETEX h EX 100 FIELDS 3 a b nosuch => *3|$1|1|$1|2|$-1
        HTTL h FIELDS 2 a b => *2|:100|:100
        HGETEX h FIELDS 1 a => *1|$1|1
        HGETEX h PERSIST FIELDS 2 a nosuch => *2|$1|1|$-1
        HTTL h FIELDS 2 a b => *2|:-1|:100
        HSETEX h KEEPTTL FIELDS 2 b 3 c 4 => :1
        HTTL h FIELDS 2 b c => *2|:100|:-1
        HSETEX h FNX FIELDS 2 x 1 a 1 => :0
        HSETEX h FXX FIELDS 2 x 1 a 1 => :0
        HSETEX h FXX PX 50000 FIELDS 2 a 5 c 6 => :1
        HTTL h FIELDS 2 a c => *2|:50|:50
        HSETEX h FNX EXAT 4102444800 FIELDS 1 x 1 => :1
        HSETEX h FIELDS 1 x 1 => :1
        HTTL h FIELDS 1 x => *1|:-1
        HSETEX missing FXX FIELDS 1 a 1 => :0
        EXISTS missing => :0
        HGETDEL h FIELDS 3 x a x => *3|$1|1|$1|5|$-1
        HGETDEL h FIELDS 2 b c => *2|$1|3|$1|6
        EXISTS h => :0
        HGETDEL h FIELDS 1 a => *1|$-1
        HGETEX h EX 10 FIELDS 1 a => *1|$-1
        HSETEX h EX 0 FIELDS 1 a 1 => :1
        EXISTS h => :0
        HSET h a 1 => :1
        HGETEX h PXAT 0 FIELDS 1 a => *1|$1|1
        EXISTS h => :0",
    );
}

#[test]
fn wrong_arguments_are_told_in_the_order_in_which_redis_looks() {
    converse(
        &mut InProcess::new(),
        "SET s v => +OK
        HSET h a 1 => :1
        HEXPIRE s x FIELDS 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HTTL s x 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HSETEX s EX x FIELDS 1 a 1 => -ERR value is not an integer or out of range
        HSETEX s FIELDS 1 a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        HEXPIRE h x FIELDS 1 a => -ERR value is not an integer or out of range
        HEXPIRE h -1 FIELDS 1 a => -ERR invalid expire time, must be >= 0
        HEXPIRE h 70368744178 FIELDS 1 a => -ERR invalid expire time in 'hexpire' command
        HPEXPIREAT h 70368744177664 FIELDS 1 a => -ERR invalid expire time in 'hpexpireat' command
        HPEXPIREAT h 70368744177663 FIELDS 1 a => *1|:1
        HEXPIRE h 10 NX XX FIELDS 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        HEXPIRE h 10 FIELDS 0 a => -ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 10 FIELDS a a => -ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 10 FIELDS 2 a => -ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 10 FIELDS 1 a b => -ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 10 FIELDS 1 => -ERR wrong number of arguments for 'hexpire' command
        HTTL h FIELDS 0 a => -ERR Number of fields must be a positive integer
        HTTL h FIELD 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        HTTL missing FIELDS 3 a => -ERR The `numfields` parameter must match the number of arguments
        HPERSIST h FIELDS -1 a => -ERR Number of fields must be a positive integer
        HGETDEL h FIELDS 2 a => -ERR The `numfields` parameter must match the number of arguments
        HGETEX h EX 10 PERSIST FIELDS 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        HSETEX h EX 10 PX 10 FIELDS 1 a 1 => -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
        HSETEX h FNX FXX FIELDS 1 a 1 => -ERR Only one of FXX or FNX arguments can be specified
        HSETEX h XX FIELDS 1 a 1 => -ERR unknown argument: XX
        HSETEX h FIELDS 2 a 1 => -ERR wrong number of arguments for 'hsetex' command
        HSETEX h FIELDS 1 a 1 b => -ERR wrong number of arguments for 'hsetex' command
        HSETEX h FIELDS 0 a 1 => -ERR invalid number of fields",
    );
}

#[test]
fn what_is_dead_is_nowhere_to_be_seen() {
    let mut server = InProcess::new();
    let mut large: Vec<String> =
        vec!["HSETEX".into(), "large".into(), "PX".into(), "30".into(), "FIELDS".into(), "300".into()];
    large.extend((0..300).flat_map(|number| [format!("f{number}"), "v".into()]));
    let large: Vec<&[u8]> = large.iter().map(|word| word.as_bytes()).collect();
    assert_eq!(server.run(&large), b":1\r\n");
    converse(
        &mut server,
        "HSET large stays 1 => :1
        HSETEX gone PX 30 FIELDS 2 a 1 b 2 => :1
        HSETEX small PX 30 FIELDS 1 a 1 => :1
        HSET small stays 1 => :1
        DBSIZE => :3",
    );
    std::thread::sleep(Duration::from_millis(31));
    for key in ["large", "small"] {
        converse(
            &mut server,
            &"HLEN KEY => :1
            HGETALL KEY => *2|$5|stays|$1|1
            HKEYS KEY => *1|$5|stays
            HMGET KEY a f7 stays => *3|$-1|$-1|$1|1
            HEXISTS KEY a => :0
            HSTRLEN KEY a => :0
            HRANDFIELD KEY => $5|stays
            HRANDFIELD KEY -3 => *3|$5|stays|$5|stays|$5|stays
            HSCAN KEY 0 COUNT 1000 => *2|$1|0|*2|$5|stays|$1|1
            HTTL KEY FIELDS 2 a stays => *2|:-2|:-1
            HSETNX KEY a 2 => :1
            HDEL KEY f7 => :0
            HINCRBY KEY f7 1 => :1
            HLEN KEY => :3"
                .replace(" KEY", &format!(" {key}")),
        );
    }
}

#[test]
fn events_are_told_as_redis_tells_them() {
    let mut server = InProcess::new();
    server.settings.notify_events = notify::KEYSPACE | notify::GENERIC | notify::HASH | notify::NEW;
    let conversation = [
        ("HSETEX h FIELDS 2 a 1 b 2", "new hset"),
        ("HSETEX h EX 10 FIELDS 2 a 1 c 2", "hset hexpire"),
        ("HSETEX h FNX FIELDS 1 a 1", ""),
        ("HEXPIRE h 10 FIELDS 2 a b", "hexpire"),
        ("HEXPIRE h 10 FIELDS 1 nosuch", ""),
        ("HEXPIRE h 10 NX FIELDS 1 a", ""),
        ("HPERSIST h FIELDS 3 a b c", "hpersist"),
        ("HPERSIST h FIELDS 3 a b c", ""),
        ("HGETEX h FIELDS 1 a", ""),
        ("HGETEX h PX 10000 FIELDS 1 a", "hexpire"),
        ("HGETEX h PERSIST FIELDS 2 a b", "hpersist"),
        ("HGETDEL h FIELDS 2 a nosuch", "hdel"),
        ("HEXPIRE h 0 FIELDS 1 b", "hdel"),
        ("HGETEX h PX 0 FIELDS 1 c", "hdel del"),
        ("HSETEX h PX 0 FIELDS 1 c 1", "new hset hdel del"),
        ("HGETDEL h FIELDS 1 c", ""),
        ("HSET h a 1", "new hset"),
        ("HGETDEL h FIELDS 1 a", "hdel del"),
    ];
    for (command, events) in conversation {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        server.run(&args);
        let told: Vec<&str> = std::mem::take(&mut server.events).iter().map(|event| event.name).collect();
        assert_eq!(told.join(" "), events, "{command}");
    }
}
