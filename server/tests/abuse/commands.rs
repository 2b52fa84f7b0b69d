//! Commands whose cost is large, or grows faster than what they are given.

use super::arena::{Arena, Attack};
use super::support::encode;

/// Asks each of these, one after the other.
fn ask_all(arena: &Arena, commands: &[&str]) {
    for command in commands {
        arena.ask(command);
    }
}

/// The name of the collection, of so many elements at full size, that an attack is made on.
const LARGE: u64 = 1_000_000;

fn keys(arena: &Arena) {
    arena.fill_keys("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", arena.scaled(LARGE));
}

fn list(arena: &Arena) {
    arena.fill_list("list", arena.scaled(LARGE));
}

fn set(arena: &Arena) {
    arena.fill_set("set", arena.scaled(LARGE));
}

fn hash(arena: &Arena) {
    arena.fill_hash("hash", arena.scaled(LARGE));
}

fn sorted_set(arena: &Arena) {
    arena.fill_sorted_set("sorted", arena.scaled(LARGE));
}

fn stream(arena: &Arena) {
    let count = arena.scaled(LARGE);
    arena.fill(count, |number, requests| {
        encode(requests, &["XADD", "stream", &format!("{}-1", number + 1), "field", "a value"]);
    });
}

fn sets(arena: &Arena) {
    for name in ["one", "two", "three"] {
        arena.fill_set(name, arena.scaled(LARGE));
    }
}

fn sorted_sets(arena: &Arena) {
    for name in ["one", "two"] {
        arena.fill_sorted_set(name, arena.scaled(LARGE));
    }
}

/// What a collection that a command makes of another of the campaign's size takes.
fn data_of_a_copy(arena: &Arena) {
    arena.data(arena.scaled(LARGE) * 120);
}

fn large_strings(arena: &Arena) {
    arena.fill_string("one", arena.scaled(100 << 20));
    arena.fill_string("two", arena.scaled(100 << 20));
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::on("KEYS with a pattern of many stars, on a million keys", keys, |arena| {
        arena.ask(&format!("KEYS {}b", "a*".repeat(100)));
    }),
    Attack::on("KEYS * in a pipeline, on a million keys", keys, |arena| {
        arena.exchange(&b"KEYS *\r\n".repeat(5), 5);
    }),
    Attack::on("KEYS by 20 at once, on a million keys", keys, |arena| {
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| arena.ask("KEYS *nothing*"));
            }
        });
    }),
    Attack::on("SCAN COUNT 1000000000, on a million keys", keys, |arena| {
        arena.ask("SCAN 0 COUNT 1000000000 MATCH nothing");
        arena.ask("SCAN 0 COUNT 1000000000");
    }),
    Attack::on("DBSIZE, RANDOMKEY, on a million keys", keys, |arena| {
        arena.exchange(&b"DBSIZE\r\nRANDOMKEY\r\n".repeat(5000), 10_000);
    }),
    Attack::new("a pattern of 60,000 stars against a text of 60,000", |arena| {
        arena.ask_of(&["SET", &"a".repeat(arena.scaled(60_000) as usize), "v"]);
        arena.ask_of(&["KEYS", &format!("{}b", "a*".repeat(arena.scaled(30_000) as usize))]);
    }),
    Attack::new("a pattern of half a gigabyte's class", |arena| {
        arena.data(arena.scaled(64 << 20) * 2);
        arena.ask_of(&["SET", &"a".repeat(1000), "v"]);
        arena.ask_of(&["KEYS", &format!("*[{}]c", "b".repeat(arena.scaled(64 << 20) as usize))]);
    }),
    Attack::new("a million keys' pattern, a star before a long rest", |arena| {
        arena.ask_of(&["SET", &"a".repeat(arena.scaled(1 << 20) as usize), "v"]);
        arena.ask_of(&["KEYS", &format!("*{}b", "a".repeat(arena.scaled(1 << 19) as usize))]);
    }),
    Attack::new("PSUBSCRIBE to 10,000 patterns of many stars, PUBLISH to them", |arena| {
        arena.data(arena.scaled(10_000) * 600);
        let mut request = vec!["PSUBSCRIBE".to_owned()];
        let stars = "a*".repeat(100);
        request.extend((0..arena.scaled(10_000)).map(|number| format!("{stars}b{number}")));
        let mut bytes = Vec::new();
        encode(&mut bytes, &request);
        let held = arena.exchange_held(&bytes, request.len() - 1);
        for _ in 0..10 {
            arena.ask(&format!("PUBLISH {} message", "a".repeat(200)));
        }
        drop(held);
    }),
    Attack::new("CONFIG GET with patterns of many stars", |arena| {
        let pattern = format!("{}b", "*a".repeat(arena.scaled(30_000) as usize));
        let request = vec!["CONFIG".to_owned(), "GET".to_owned(), pattern.clone(), pattern];
        for _ in 0..10 {
            arena.ask_of(&request);
        }
    }),
    Attack::new("PUBSUB CHANNELS with a pattern of many stars, 100,000 channels", |arena| {
        arena.data(arena.scaled(100_000) * 500);
        let mut request = vec!["SUBSCRIBE".to_owned()];
        request.extend((0..arena.scaled(100_000)).map(|number| format!("{}{number}", "a".repeat(60))));
        let mut bytes = Vec::new();
        encode(&mut bytes, &request);
        let held = arena.exchange_held(&bytes, request.len() - 1);
        arena.ask(&format!("PUBSUB CHANNELS {}b", "a*".repeat(50)));
        drop(held);
    }),
    Attack::new("LCS of two strings of 16 KiB to 1 MiB", |arena| {
        for bytes in [16 << 10, 128 << 10, 1 << 20] {
            let bytes = arena.scaled(bytes);
            arena.fill_string(&format!("a{bytes}"), bytes);
            arena.ask_of(&["SET".to_owned(), format!("b{bytes}"), "b".repeat(bytes as usize)]);
            arena.ask(&format!("LCS a{bytes} b{bytes} LEN"));
            arena.ask(&format!("LCS a{bytes} b{bytes} IDX"));
            arena.ask(&format!("LCS a{bytes} b{bytes}"));
        }
    }),
    Attack::on("SORT of a million", list, |arena| {
        ask_all(arena, &["SORT list ALPHA LIMIT 0 1", "SORT list ALPHA DESC LIMIT 999990 5"]);
    }),
    Attack::on("SORT of a million BY and GET of other keys", list, |arena| {
        ask_all(
            arena,
            &["SORT list BY weight_* LIMIT 0 1", "SORT list ALPHA BY h_*->f GET g_* GET # LIMIT 0 10"],
        );
    }),
    Attack::on("SORT of a million, STORE", list, |arena| {
        data_of_a_copy(arena);
        arena.ask("SORT list ALPHA STORE sorted");
    }),
    Attack::on("ZUNIONSTORE of two of a million", sorted_sets, |arena| {
        arena.data(arena.scaled(LARGE) * 250);
        ask_all(arena, &["ZUNIONSTORE d 2 one two", "ZUNIONSTORE d 2 one two WEIGHTS 2 3 AGGREGATE MAX"]);
    }),
    Attack::on("ZINTER, ZDIFF, ZINTERCARD of a million", sorted_sets, |arena| {
        ask_all(arena, &["ZINTERCARD 2 one two", "ZINTER 2 one two", "ZDIFF 2 one two", "ZUNION 2 one two"]);
    }),
    Attack::on("SDIFF, SINTER, SUNION of three of a million", sets, |arena| {
        ask_all(
            arena,
            &[
                "SDIFF one two three",
                "SINTER one two three",
                "SUNION one two three",
                "SINTERCARD 3 one two three",
            ],
        );
    }),
    Attack::on("SUNIONSTORE, SDIFFSTORE of a million", sets, |arena| {
        arena.data(arena.scaled(LARGE) * 250);
        ask_all(arena, &["SUNIONSTORE d one two three", "SDIFFSTORE d one nothing", "SINTERSTORE d one two"]);
    }),
    Attack::on("the same set of a million 10,000 times in one SINTER", set, |arena| {
        let mut request = vec!["SINTERCARD".to_owned(), "100".to_owned()];
        request.extend(std::iter::repeat_n("set".to_owned(), 100));
        arena.ask_of(&request);
        let mut request = vec!["SUNION".to_owned()];
        request.extend(std::iter::repeat_n("set".to_owned(), 20));
        arena.ask_of(&request);
    }),
    Attack::on("LINSERT, LREM, LPOS, LSET, LINDEX in the midst of a million", list, |arena| {
        let middle = format!("element-{:09}", arena.scaled(LARGE) / 2);
        let mut requests = Vec::new();
        for _ in 0..20 {
            encode(&mut requests, &["LINSERT", "list", "BEFORE", &middle, "x"]);
            encode(&mut requests, &["LREM", "list", "1", "nothing"]);
            encode(&mut requests, &["LREM", "list", "-1", "x"]);
            encode(&mut requests, &["LPOS", "list", "nothing"]);
            encode(&mut requests, &["LINDEX", "list", "500000"]);
            encode(&mut requests, &["LSET", "list", "500000", "y"]);
        }
        arena.exchange(&requests, 120);
    }),
    Attack::on("LRANGE with far offsets in a pipeline of 10,000", list, |arena| {
        let middle = arena.scaled(LARGE) / 2;
        let request = format!("LRANGE list {middle} {}\r\n", middle + 5);
        arena.exchange(&request.as_bytes().repeat(10_000), 10_000);
    }),
    Attack::on("LTRIM of a million to few", list, |arena| {
        arena.ask("LTRIM list 5 10");
    }),
    Attack::on("LMOVE, RPOPLPUSH, LMPOP, RPOP of many", list, |arena| {
        arena.ask(&format!("RPOP list {}", arena.scaled(LARGE) / 2));
        arena.ask(&format!("LMPOP 1 list LEFT COUNT {}", arena.scaled(LARGE)));
    }),
    Attack::on("GETRANGE, BITCOUNT, BITPOS of 100 MiB, in a pipeline", large_strings, |arena| {
        let mut requests = Vec::new();
        for _ in 0..20 {
            encode(&mut requests, &["BITCOUNT", "one"]);
            encode(&mut requests, &["BITPOS", "one", "1", "0", "-1", "BIT"]);
            encode(&mut requests, &["BITCOUNT", "one", "1", "-2", "BIT"]);
            encode(&mut requests, &["STRLEN", "one"]);
        }
        arena.exchange(&requests, 80);
    }),
    Attack::on(
        "BITPOS for a bit that is nowhere, 100 MiB",
        |arena| {
            arena.ask(&format!("SETRANGE one {} x", arena.scaled(100 << 20)));
        },
        |arena| {
            arena.exchange(&b"BITPOS one 1\r\n".repeat(20), 20);
        },
    ),
    Attack::on("BITOP of 100 MiB", large_strings, |arena| {
        // The result, the log's record of it, and the value it replaces.
        arena.data(arena.scaled(100 << 20) * 2);
        ask_all(arena, &["BITOP AND d one two", "BITOP XOR d one two", "BITOP NOT d one"]);
    }),
    Attack::on("BITOP of the same 100 MiB fifty times", large_strings, |arena| {
        arena.data(arena.scaled(100 << 20) * 2);
        arena.ask(&format!("BITOP OR d{}", " one".repeat(50)));
    }),
    Attack::on("GETRANGE of all of 100 MiB", large_strings, |arena| {
        // A reply of that size.
        arena.data(arena.scaled(100 << 20));
        arena.ask("GETRANGE one 0 -1");
    }),
    Attack::on("APPEND of a byte to 100 MiB, 1,000 times", large_strings, |arena| {
        arena.data(arena.scaled(100 << 20));
        arena.exchange(&b"APPEND one x\r\n".repeat(1000), 1000);
    }),
    Attack::on("SETRANGE of a byte in 100 MiB, 1,000 times", large_strings, |arena| {
        arena.data(arena.scaled(100 << 20));
        arena.exchange(&b"SETRANGE one 1000 x\r\nSETBIT one 5 1\r\n".repeat(1000), 2000);
    }),
    Attack::new("SETRANGE at 512 MiB, beyond maxmemory", |arena| {
        arena.exchange(&b"SETRANGE k 536870900 x\r\nSETBIT b 4294967295 1\r\n".repeat(5), 10);
    })
    .with(&[("maxmemory", "100mb")])
    .only_sessile(),
    Attack::new("SETRANGE at 512 MiB", |arena| {
        arena.data(arena.scaled(512 << 20));
        arena.ask(&format!("SETRANGE k {} x", arena.scaled(536_870_900)));
    }),
    Attack::on(
        "ZRANGEBYLEX, ZLEXCOUNT of a million",
        |arena| {
            arena.fill_collection("ZADD", "lex", arena.scaled(LARGE), |number, to| {
                to.extend(["0".to_owned(), format!("member-{number:09}")]);
            });
        },
        |arena| {
            arena.exchange(&b"ZLEXCOUNT lex - +\r\n".repeat(1000), 1000);
            ask_all(
                arena,
                &[
                    "ZRANGEBYLEX lex - + LIMIT 900000 5",
                    "ZREVRANGEBYLEX lex + - LIMIT 900000 5",
                    "ZRANGEBYLEX lex - +",
                ],
            );
        },
    ),
    Attack::on("ZRANGE LIMIT at far offsets in a pipeline", sorted_set, |arena| {
        let far = arena.scaled(LARGE) * 9 / 10;
        let request = format!(
            "ZRANGE sorted -inf +inf BYSCORE LIMIT {far} 5\r\nZCOUNT sorted (5 +inf\r\nZRANK sorted member-000000500\r\n"
        );
        arena.exchange(&request.as_bytes().repeat(300), 900);
    }),
    Attack::on("ZREMRANGEBYSCORE, ZPOPMIN of all of a million", sorted_set, |arena| {
        arena.ask(&format!("ZPOPMIN sorted {}", arena.scaled(LARGE) / 2));
        arena.ask("ZREMRANGEBYSCORE sorted -inf +inf");
    }),
    Attack::on("ZRANGESTORE of a million", sorted_set, |arena| {
        arena.data(arena.scaled(LARGE) * 150);
        arena.ask("ZRANGESTORE d sorted 0 -1");
    }),
    Attack::on(
        "HSCAN, SSCAN, ZSCAN with a huge COUNT",
        |arena| {
            hash(arena);
            set(arena);
            sorted_set(arena);
        },
        |arena| {
            ask_all(
                arena,
                &[
                    "HSCAN hash 0 COUNT 1000000000",
                    "SSCAN set 0 COUNT 1000000000 MATCH x",
                    "ZSCAN sorted 0 COUNT 1000000000",
                ],
            );
        },
    ),
    Attack::on("HKEYS, HVALS, HGETALL of a million", hash, |arena| {
        ask_all(arena, &["HKEYS hash", "HVALS hash", "HGETALL hash"]);
    }),
    Attack::on(
        "HRANDFIELD, SRANDMEMBER, SPOP, ZRANDMEMBER of nearly all of a million",
        |arena| {
            hash(arena);
            set(arena);
            sorted_set(arena);
        },
        |arena| {
            let most = arena.scaled(LARGE) - 1;
            for command in ["HRANDFIELD hash", "SRANDMEMBER set", "ZRANDMEMBER sorted", "SPOP set"] {
                arena.ask(&format!("{command} {most}"));
            }
        },
    ),
    Attack::on("XRANGE, XREVRANGE, XREAD of a million", stream, |arena| {
        ask_all(
            arena,
            &[
                "XRANGE stream - +",
                "XREVRANGE stream + -",
                "XREAD STREAMS stream 0",
                "XINFO STREAM stream FULL COUNT 0",
            ],
        );
    }),
    Attack::on("XTRIM, XDEL, XSETID of a million", stream, |arena| {
        ask_all(arena, &["XTRIM stream MAXLEN 5"]);
    }),
    Attack::on("XREADGROUP, XPENDING, XAUTOCLAIM of a million", stream, |arena| {
        arena.data(arena.scaled(LARGE) * 250);
        ask_all(
            arena,
            &[
                "XGROUP CREATE stream g 0",
                "XREADGROUP GROUP g c STREAMS stream >",
                "XPENDING stream g - + 1000000",
                "XAUTOCLAIM stream g d 0 0 COUNT 1000000",
                "XGROUP DESTROY stream g",
            ],
        );
    }),
    Attack::new("HSET with a million fields in one command", |arena| {
        let mut request = vec!["HSET".to_owned(), "hash".to_owned()];
        let fields = arena.scaled(500_000);
        for number in 0..fields {
            request.extend([format!("field-{number}"), "value".to_owned()]);
        }
        // The request, and the hash.
        arena.data(fields * 250);
        arena.ask_of(&request);
    }),
    Attack::new("MSET of 500,000 keys in one command", |arena| {
        let mut request = vec!["MSET".to_owned()];
        let keys = arena.scaled(500_000);
        for number in 0..keys {
            request.extend([format!("key-{number}"), "value".to_owned()]);
        }
        arena.data(keys * 250);
        arena.ask_of(&request);
    }),
    Attack::on(
        "MGET, EXISTS, TOUCH, UNLINK of a million keys in one command",
        |arena| {
            arena.fill_keys("key:", arena.scaled(LARGE));
        },
        |arena| {
            let keys: Vec<_> = (0..arena.scaled(LARGE)).map(|number| format!("key:{number:09}")).collect();
            // The request itself.
            arena.data(arena.scaled(LARGE) * 50);
            for command in ["MGET", "EXISTS", "TOUCH", "UNLINK"] {
                let mut request = vec![command.to_owned()];
                request.extend_from_slice(&keys);
                arena.ask_of(&request);
            }
        },
    ),
    Attack::on(
        "DEL of collections of a million",
        |arena| {
            list(arena);
            set(arena);
            hash(arena);
            sorted_set(arena);
            stream(arena);
        },
        |arena| {
            ask_all(arena, &["DEL list", "DEL set", "DEL hash", "DEL sorted", "DEL stream"]);
        },
    ),
    Attack::on(
        "UNLINK, SET and EXPIRE over collections of a million",
        |arena| {
            list(arena);
            set(arena);
            hash(arena);
            sorted_set(arena);
        },
        |arena| {
            ask_all(arena, &["UNLINK list", "SET set x", "PEXPIRE hash 10", "RENAME sorted set"]);
            std::thread::sleep(arena.spell());
        },
    ),
    Attack::on(
        "COPY, RENAME, DUMP of collections of a million",
        |arena| {
            list(arena);
            set(arena);
            hash(arena);
            sorted_set(arena);
        },
        |arena| {
            arena.data(arena.scaled(LARGE) * 400);
            for kind in ["list", "set", "hash", "sorted"] {
                arena.ask(&format!("COPY {kind} {kind}2"));
                arena.ask(&format!("DUMP {kind}"));
            }
        },
    ),
    Attack::on(
        "OBJECT, DEBUG, MEMORY USAGE of collections of a million",
        |arena| {
            list(arena);
            set(arena);
            hash(arena);
            sorted_set(arena);
        },
        |arena| {
            for kind in ["list", "set", "hash", "sorted"] {
                for command in ["OBJECT FREQ", "OBJECT ENCODING", "DEBUG OBJECT", "MEMORY USAGE", "TYPE"] {
                    arena.ask(&format!("{command} {kind}"));
                }
                arena.ask(&format!("MEMORY USAGE {kind} SAMPLES 0"));
                arena.ask(&format!("DEBUG DIGEST-VALUE {kind}"));
            }
        },
    ),
    Attack::on("DEBUG DIGEST, JMAP, RELOAD of a million keys", keys, |arena| {
        ask_all(arena, &["DEBUG DIGEST", "DEBUG JMAP", "DEBUG STRINGMATCH-LEN 1000 *"]);
    }),
    Attack::new("COMMAND, COMMAND DOCS in a pipeline of 500", |arena| {
        arena.exchange(&b"COMMAND\r\nCOMMAND DOCS\r\nCOMMAND LIST\r\nINFO everything\r\n".repeat(500), 2000);
    }),
    Attack::new("COMMAND GETKEYS, INFO with a million arguments", |arena| {
        let mut request = vec!["COMMAND".to_owned(), "GETKEYS".to_owned(), "MSET".to_owned()];
        request.extend((0..arena.scaled(1_000_000)).map(|number| format!("k{}", number % 10)));
        arena.data(arena.scaled(1_000_000) * 60);
        arena.ask_of(&request);
        let mut request = vec!["INFO".to_owned()];
        request.extend(std::iter::repeat_n("everything".to_owned(), arena.scaled(100_000) as usize));
        arena.ask_of(&request);
        let mut request = vec!["COMMAND".to_owned(), "DOCS".to_owned()];
        request.extend(std::iter::repeat_n("client".to_owned(), arena.scaled(10_000) as usize));
        arena.ask_of(&request);
        let mut request = vec!["COMMAND".to_owned(), "INFO".to_owned()];
        request.extend(std::iter::repeat_n("client".to_owned(), arena.scaled(10_000) as usize));
        arena.ask_of(&request);
    }),
    Attack::new("an ACL user with 100,000 patterns, and what it may do", |arena| {
        let mut request = vec!["ACL".to_owned(), "SETUSER".to_owned(), "many".to_owned()];
        request.extend(["on".to_owned(), "nopass".to_owned(), "+@all".to_owned()]);
        let patterns = arena.scaled(100_000);
        request.extend((0..patterns).map(|number| format!("~{}b{number}", "a*".repeat(50))));
        arena.data(patterns * 800);
        arena.ask_of(&request);
        let mut requests = b"AUTH many x\r\n".to_vec();
        for _ in 0..20 {
            encode(&mut requests, &["GET", &"a".repeat(100)]);
        }
        arena.exchange(&requests, 21);
        ask_all(arena, &["ACL LIST", "ACL GETUSER many"]);
    }),
    Attack::new("10,000 ACL users", |arena| {
        let users = arena.scaled(10_000);
        arena.data(users * 3000);
        let mut requests = Vec::new();
        for number in 0..users {
            encode(
                &mut requests,
                &["ACL", "SETUSER", &format!("user{number}"), "on", ">password", "~a*", "+@read"],
            );
        }
        arena.exchange(&requests, users as usize);
        ask_all(arena, &["ACL LIST", "ACL USERS"]);
    }),
    Attack::new("a transaction of 100,000 commands", |arena| {
        let mut requests = b"MULTI\r\n".to_vec();
        let commands = arena.scaled(100_000);
        for number in 0..commands {
            encode(&mut requests, &["SET", &format!("key:{number}"), "value"]);
        }
        requests.extend_from_slice(b"EXEC\r\n");
        arena.data(commands * 400);
        arena.exchange(&requests, commands as usize + 2);
    }),
    Attack::on(
        "a transaction of 100 commands over a million elements",
        |arena| {
            list(arena);
            set(arena);
        },
        |arena| {
            let mut requests = b"MULTI\r\n".to_vec();
            requests.extend_from_slice(
                &b"LPOS list nothing\r\nSISMEMBER set x\r\nLREM list 0 nothing\r\n".repeat(30),
            );
            requests.extend_from_slice(b"EXEC\r\n");
            arena.exchange(&requests, 92);
        },
    ),
    Attack::new("a transaction that never ends", |arena| {
        // What is queued is the client's data, to the limit of the query buffer.
        arena.ask("CONFIG SET client-query-buffer-limit 16mb");
        arena.floods(
            4,
            b"MULTI\r\nSET k v\r\nSET a-key-of-some-length and-a-value-of-some-length\r\n",
            1 << 30,
        );
    }),
    Attack::new("WATCH of 60,000 keys, by 10", |arena| {
        let keys = arena.scaled(60_000);
        let mut request = vec!["WATCH".to_owned()];
        request.extend((0..keys).map(|number| format!("key:{number}")));
        arena.data(keys * 10 * 200);
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let mut requests = Vec::new();
                    encode(&mut requests, &request);
                    // The same keys again are remembered once.
                    encode(&mut requests, &request);
                    requests.extend_from_slice(b"MULTI\r\nPING\r\nEXEC\r\n");
                    arena.exchange(&requests, 5);
                });
            }
        });
    }),
    Attack::new("WATCH of one key 60,000 times, a command each", |arena| {
        let times = arena.scaled(60_000) as usize;
        let mut requests = Vec::new();
        for number in 0..times {
            encode(&mut requests, &["WATCH", &format!("key:{number}")]);
        }
        arena.exchange(&requests, times);
    }),
    Attack::new("PFADD, PFCOUNT, PFMERGE of many", |arena| {
        for number in 0..200 {
            arena.ask(&format!("PFADD hll:{number} a b c {number}"));
        }
        let all: String = (0..200).map(|number| format!(" hll:{number}")).collect();
        let request = format!("PFCOUNT{}\r\n", all.repeat(5));
        arena.exchange(&request.as_bytes().repeat(arena.scaled(100) as usize), arena.scaled(100) as usize);
        arena.ask(&format!("PFMERGE d{}", all.repeat(50)));
    }),
    Attack::new("BITFIELD of 100,000 operations", |arena| {
        let mut request = vec!["BITFIELD".to_owned(), "bits".to_owned()];
        for number in 0..arena.scaled(100_000) {
            request.extend([
                "INCRBY".to_owned(),
                "u8".to_owned(),
                format!("#{}", number % 1000),
                "1".to_owned(),
            ]);
        }
        arena.data(arena.scaled(100_000) * 120);
        arena.ask_of(&request);
    }),
    Attack::new("hash fields that all expire at once, a million", |arena| {
        hash(arena);
        let mut request =
            vec!["HPEXPIRE".to_owned(), "hash".to_owned(), "500".to_owned(), "FIELDS".to_owned()];
        let fields = arena.scaled(LARGE);
        request.push(fields.to_string());
        request.extend((0..fields).map(|number| format!("field-{number:09}")));
        arena.data(fields * 300);
        arena.ask_of(&request);
        std::thread::sleep(arena.spell());
    })
    .only_sessile(),
];
