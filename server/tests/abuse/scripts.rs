//! Scripts that never end, take all memory, or take long where nobody looks.

use super::arena::{Arena, Attack};
use super::support::encode;

/// Runs a script and waits for its end: an error, mostly.
fn eval(arena: &Arena, script: &str) {
    arena.ask_of(&["EVAL", script, "0"]);
}

pub(crate) const ATTACKS: &[Attack] = &[
    endless("while true do end"),
    endless("local t = {} while true do t[#t + 1] = #t end"),
    endless("while true do redis.call('PING') end"),
    endless("while true do redis.call('SET', 'k', 'v') end"),
    endless("while true do pcall(error, {}) end"),
    endless("local s = 'x' while true do s = s .. s end"),
    endless("local function f() return f() end f()"),
    endless("local function f() return 1 + f() end f()"),
    endless("local t = {} while true do t[#t + 1] = string.rep('x', 1000000) end"),
    endless("return string.rep('x', 2000000000)"),
    endless("return (string.rep('a', 100000000)):rep(100)"),
    endless("return string.find(string.rep('a', 100000), string.rep('.-', 100) .. 'b')"),
    endless("return string.find(string.rep('a', 30000), string.rep('a*', 30000) .. 'b')"),
    endless("return string.gsub(string.rep('a', 100000), '.-b', 'x')"),
    endless("return (string.gsub(string.rep('a', 1000000), 'a', string.rep('b', 10000)))"),
    endless("return #string.format('%99999999d', 1)"),
    endless("local f = string.rep('%99d', 200000) return #string.format(f, unpack({}, 1, 200000))"),
    endless("local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) end"),
    endless("local function f() return coroutine.wrap(f)() end return f()"),
    endless("local t = {} for i = 1, 1000000 do t[i] = i end table.sort(t, function(a, b) return true end)"),
    endless("local t = {} for i = 1, 1e7 do t[i] = i end return #table.concat(t, string.rep('x', 100))"),
    endless("return {unpack({}, 1, 10000000)}"),
    endless("return table.concat({}, 'x', 1, 1000000000)"),
    endless(
        "local s = 'return ' .. string.rep('(', 100000) .. '1' .. string.rep(')', 100000) return loadstring(s)",
    ),
    endless("local s = string.rep('x = 1 ', 5000000) return loadstring(s)"),
    endless("local s = string.rep('a.', 1000000) .. 'b = 1' return loadstring(s)"),
    endless("return cjson.decode(string.rep('[', 10000000))"),
    endless("return cjson.decode(string.rep('[1,', 5000000))"),
    endless("local t = {} t[1] = t return cjson.encode(t)"),
    endless("local t = {} for i = 1, 200000 do t = {t} end return cjson.encode(t)"),
    endless("local t = {} for i = 1, 200000 do t = {t} end return t"),
    endless("return cmsgpack.unpack(string.rep('\\220\\255\\255', 3000000))"),
    endless("return cmsgpack.unpack('\\221\\255\\255\\255\\255')"),
    endless("local t = {} for i = 1, 200000 do t = {t} end return cmsgpack.pack(t)"),
    endless("return #struct.pack('c100000000', 'x')"),
    endless("return #struct.pack(string.rep('i8', 100000), unpack({}, 1, 100000))"),
    endless("return struct.pack(string.rep('>I2147483647', 1000), 1)"),
    endless("return bit.tohex(1, -2147483648)"),
    endless("local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]"),
    endless(
        "local t = setmetatable({}, {__tostring = function(t) return tostring(t) end}) return tostring(t)",
    ),
    endless("local t = {} for i = 1, 5000000 do t[i] = 'an element of a huge reply' end return t"),
    endless("for i = 1, 1e9 do redis.call('RPUSH', 'list', string.rep('x', 10000)) end"),
    endless("for i = 1, 1e9 do redis.call('SET', 'k' .. i, 'v') end"),
    endless("redis.log(redis.LOG_WARNING, string.rep('x', 100000000))"),
    endless("for i = 1, 1e9 do redis.sha1hex(string.rep('x', 1000000)) end"),
    endless("error({err = string.rep('x', 100000000)})"),
    endless("return redis.error_reply(string.rep('x', 100000000))"),
    Attack::new("16 endless scripts at once", |arena| {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| eval(arena, "while true do end"));
            }
        });
    })
    .only_sessile(),
    Attack::new("100 endless scripts at once, whose clients go", |arena| {
        let mut request = Vec::new();
        encode(&mut request, &["EVAL", "while true do redis.call('GET', 'k') end", "1", "k"]);
        let held: Vec<_> = (0..100)
            .map(|_| {
                let mut stream = arena.raw();
                std::io::Write::write_all(&mut stream, &request).expect("send");
                stream
            })
            .collect();
        arena.count(100);
        std::thread::sleep(arena.spell());
        drop(held);
        std::thread::sleep(arena.spell());
    })
    .only_sessile(),
    Attack::new("a memory bomb in each of 20 scripts", |arena| {
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    eval(arena, "local t = {} while true do t[#t + 1] = string.rep('x', 100000) end");
                });
            }
        });
    })
    .only_sessile(),
    Attack::new("scripts just below what is moved to a thread, in a pipeline", |arena| {
        let mut request = Vec::new();
        encode(&mut request, &["EVAL", "for i = 1, 20000 do local a = i * i end return 1", "0"]);
        arena.exchange(&request.repeat(arena.scaled(2000) as usize), arena.scaled(2000) as usize);
    }),
    Attack::new("100,000 different scripts", |arena| {
        let count = arena.scaled(100_000);
        arena.fill(count, |number, requests| encode(requests, &["EVAL", &format!("return {number}"), "0"]));
        arena.count(count);
    }),
    Attack::new("SCRIPT LOAD of 20,000 scripts of 1 KB, and FLUSH", |arena| {
        let count = arena.scaled(20_000);
        // They stay until the flush.
        arena.data(count * 4096);
        let text = "-".repeat(1000);
        arena.fill(count, |number, requests| {
            encode(requests, &["SCRIPT", "LOAD", &format!("return {number} --{text}")]);
        });
        arena.count(count);
        arena.ask("SCRIPT FLUSH");
    }),
    Attack::new("a script of 10 MB", |arena| {
        let script =
            format!("local x = 1 {} return x", "x = x + 1 ".repeat(arena.scaled(1_000_000) as usize));
        arena.data(script.len() as u64 * 2);
        arena.ask_of(&["EVAL", &script, "0"]);
        arena.ask_of(&[
            "SCRIPT",
            "LOAD",
            &format!("return (1{}", "+1".repeat(arena.scaled(5_000_000) as usize)),
        ]);
    }),
    Attack::new("EVAL of deep nesting", |arena| {
        let deep = arena.scaled(1_000_000) as usize;
        for (open, close) in [
            ("(", ")"),
            ("{", "}"),
            ("not ", ""),
            ("-", ""),
            ("do ", "end "),
            ("function() return ", " end"),
            ("a..", "a"),
            ("if true then ", "end "),
        ] {
            let script = format!("return {}1{}", open.repeat(deep), close.repeat(deep));
            arena.data(script.len() as u64 / 4);
            arena.ask_of(&["EVAL", &script, "0"]);
        }
    }),
    Attack::new("FUNCTION LOAD of a huge library, and of many", |arena| {
        let functions = arena.scaled(5000);
        let body: String = (0..functions)
            .map(|number| format!("redis.register_function('f{number}', function() return {number} end)\n"))
            .collect();
        arena.ask_of(&["FUNCTION", "LOAD", &format!("#!lua name=huge\n{body}")]);
        arena.ask_of(&["FUNCTION", "LOAD", "#!lua name=endless\nwhile true do end"]);
        for number in 0..arena.scaled(200) {
            let text = format!(
                "#!lua name=l{number}\nredis.register_function('g{number}', function() return 1 end)"
            );
            arena.ask_of(&["FUNCTION", "LOAD", &text]);
        }
        arena.ask("FUNCTION LIST WITHCODE");
        arena.ask("FUNCTION DUMP");
        arena.ask("FUNCTION FLUSH");
    }),
    Attack::new("EVAL with a million arguments", |arena| {
        let mut request = vec!["EVAL".to_owned(), "return #ARGV".to_owned(), "0".to_owned()];
        request.extend((0..arena.scaled(1_000_000)).map(|number| number.to_string()));
        arena.data(arena.scaled(1_000_000) * 150);
        arena.ask_of(&request);
    }),
    Attack::on(
        "a script that calls what is slow, in a loop",
        |arena| arena.fill_list("list", arena.scaled(1_000_000)),
        |arena| {
            arena.ask_of(&[
                "EVAL",
                "for i = 1, 100 do redis.call('LPOS', KEYS[1], 'nothing') end",
                "1",
                "list",
            ]);
            arena.ask_of(&["EVAL", "return redis.call('LRANGE', KEYS[1], 0, -1)", "1", "list"]);
            arena.ask_of(&["EVAL", "return redis.call('SORT', KEYS[1], 'ALPHA')", "1", "list"]);
        },
    ),
    Attack::on(
        "a script over a million keys",
        |arena| arena.fill_keys("key:", arena.scaled(1_000_000)),
        |arena| {
            arena.ask_of(&["EVAL", "return #redis.call('KEYS', '*')", "0"]);
            arena.ask_of(&[
                "EVAL",
                "local c = '0' repeat c = redis.call('SCAN', c, 'COUNT', 10000)[1] until c == '0' return 1",
                "0",
            ]);
        },
    ),
    Attack::new("scripts in a transaction", |arena| {
        let mut requests = b"MULTI\r\n".to_vec();
        for _ in 0..20 {
            encode(
                &mut requests,
                &["EVAL", "local t = 0 for i = 1, 10000000 do t = t + i end return t", "0"],
            );
        }
        requests.extend_from_slice(b"EXEC\r\n");
        arena.exchange(&requests, 22);
    }),
];

/// One script, named by itself, which ends by the time limit at latest.
const fn endless(script: &'static str) -> Attack {
    Attack::script(script, eval).only_sessile()
}
