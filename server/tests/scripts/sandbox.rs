//! What scripts of anybody can't do: reach anything outside, leave anything behind for others, use up the machine, or go on when they are told
//! to stop.

#![expect(clippy::disallowed_methods, reason = "tests of a real process use the real clock")]

use super::support::{Client, Server, ServerOptions, Value};
use std::time::Duration;

fn eval(client: &mut Client, script: &str) -> Value {
    client.call(&["EVAL", script, "0"]).unwrap_or_else(|error| panic!("{script}: {error}"))
}

/// Runs each of these; all must be errors, and the server must be there afterwards.
fn refused(scripts: &[&str]) {
    let server = Server::start(ServerOptions::new("no").with("script-time-limit", "4000"));
    let mut client = server.client();
    for script in scripts {
        let answer = eval(&mut client, script);
        assert!(matches!(answer, Value::Error(_)), "{script}: {answer:?}");
        assert_eq!(client.command("PING"), Value::Simple("PONG".to_owned()), "after {script}");
        assert_eq!(eval(&mut client, "return #'abc' .. tostring(1)"), Value::bulk("31"), "after {script}");
    }
}

#[test]
fn nothing_outside_is_reached() {
    refused(&[
        "return io.open('/etc/passwd')",
        "return os.execute('id')",
        "return os.getenv('PATH')",
        "return require('os')",
        "return package.loaded",
        "return dofile('/etc/passwd')",
        "return loadfile('/etc/passwd')",
        "return debug.getinfo(1)",
        "return debug.info(1, 's')",
        "return getfenv(0)",
        "return setfenv(1, {})",
        "return newproxy(true)",
        "return buffer.create(10)",
        "return vector.create(1, 2, 3)",
        "return utf8.char(65)",
        "return bit32.band(1, 2)",
        "return typeof(1)",
        "return rawlen({})",
        "return table.create(10)",
        "return string.split('a,b', ',')",
        "return table.freeze({})",
        "return coroutine.close(coroutine.create(function() end))",
        "return collectgarbage('stop').x",
        "return getmetatable('').__index.format.x",
        "return _G.debug.x",
        "return loadstring('return debug.info(1)')()",
        "return load(function() return nil end)().x",
        "return string.dump(function() end)",
        "return redis.register_function('f', function() end)",
    ]);
}

#[test]
fn nothing_is_left_behind() {
    refused(&[
        "x = 1",
        "_G.x = 1",
        "rawset(_G, 'x', 1)",
        "_G._G.x = 1",
        "setmetatable(_G, {})",
        "setmetatable(_G, nil)",
        "getmetatable(_G).__index = nil",
        "rawset(getmetatable(_G), '__index', nil)",
        "getmetatable('').__index = function() end",
        "rawset(getmetatable(''), '__index', {})",
        "getmetatable('').__add = function() return 1 end",
        "setmetatable(getmetatable(''), {})",
        "string.format = nil",
        "rawset(string, 'format', nil)",
        "table.insert(string, 'x')",
        "table.sort(redis)",
        "setmetatable(string, {__index = {}})",
        "redis.call = nil",
        "cjson.encode = nil",
        "cjson.null = nil",
        "bit.band = nil",
        "math.pi = 3",
        "coroutine.wrap = nil",
        "KEYS = 1",
        "ARGV = nil",
        "function string.x() end",
        "function x() end",
        "loadstring('x = 1')()",
        "table.foreach(_G, function(k) _G[k] = nil end)",
        "for k in pairs(redis) do redis[k] = nil end",
        "next, x = 1, 2",
    ]);
    let server = Server::start(ServerOptions::new("no"));
    let mut client = server.client();
    // What a script sets for itself is its own.
    for (first, second, expected) in [
        ("cjson.encode_number_precision(3) return 1", "return cjson.encode(1/3)", "0.33333333333333"),
        (
            "cjson.encode_sparse_array(true) return 1",
            "return tostring((cjson.encode_sparse_array()))",
            "false",
        ),
        (
            "redis.setresp(3) return 1",
            "redis.call('HSET', 'h', 'f', 'v') return type(redis.call('HGETALL', 'h')[1])",
            "string",
        ),
        ("redis.call('SELECT', 3) return 1", "return redis.call('DBSIZE') .. ''", "1"),
        ("KEYS[1] = 'x' ARGV[1] = 'y' return 1", "return #KEYS .. #ARGV", "00"),
        (
            "coroutine.wrap(function() coroutine.yield() end)() return 1",
            "return coroutine.running() and 'in' or 'out'",
            "out",
        ),
    ] {
        assert_eq!(eval(&mut client, first), Value::Integer(1), "{first}");
        assert_eq!(eval(&mut client, second), Value::bulk(expected), "{first}, then {second}");
    }
    assert_eq!(client.command("GET x"), Value::Null, "the connection's database is its own too");
}

#[test]
fn memory_is_bounded() {
    let options =
        ServerOptions::new("no").with("script-memory-limit", "16mb").with("script-time-limit", "5000");
    let server = Server::start(options);
    let mut client = server.client();
    let before_kib = server.resident_kib();
    for script in [
        "return string.rep('x', 1e9)",
        "return string.rep('x', -1e9):rep(1e9):rep(1e9) .. string.rep('x', 1e8)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} for i = 1, 1e9 do t[i] = {} end",
        "local t = {} for i = 1, 1e9 do t['k' .. i] = i end",
        "local s = string.rep('x', 1000000) local t = {} for i = 1, 1000 do t[i] = s end return table.concat(t)",
        "local t = {} for i = 1, 30 do t = {t, t} end return cjson.encode(t)",
        "local s = string.rep('x', 100000) local t = {} for i = 1, 1000 do t[i] = s end return cjson.encode(t)",
        "local s = string.rep('x', 100000) local t = {} for i = 1, 1000 do t[i] = s end return cmsgpack.pack(t)",
        "local s = string.rep('x', 100000) local t = {} for i = 1, 1000 do t[i] = s end return t",
        "local t = {} for i = 1, 30 do t = {t, t} end return t",
        "return struct.pack(string.rep('c0', 1000), unpack((function() local s, t = string.rep('x', 100000), {} for i = 1, 1000 do t[i] = s end return t end)()))",
        "return string.gsub(string.rep('x', 1000000), 'x', string.rep('y', 1000))",
        "return string.format(string.rep('%s', 100), string.rep('x', 1000000))",
        "local s = string.rep('x', 4000000) local f = coroutine.wrap(function() return s .. s .. s .. s .. s end) return f()",
        "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
        "return cmsgpack.unpack('\\219\\255\\255\\255\\255')",
        "return cjson.decode(string.rep('[', 20000))",
    ] {
        let answer = eval(&mut client, script);
        assert!(matches!(answer, Value::Error(_)), "{script}");
        assert_eq!(eval(&mut client, "return 'well'"), Value::bulk("well"), "after {script}");
    }
    // One that has caught the error goes on, within its bounds.
    let caught =
        "local n = 0 for i = 1, 20 do if not pcall(string.rep, 'x', 1e9) then n = n + 1 end end return n";
    assert_eq!(eval(&mut client, caught), Value::Integer(20));
    let grown_kib = server.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 400 * 1024, "{grown_kib} KiB more");
}

#[test]
fn depth_is_bounded() {
    refused(&[
        "local function f(n) return f(n + 1) + 1 end return f(1)",
        "local function f() return pcall(f) end f() error('x')",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
        "local f f = coroutine.wrap(function() return coroutine.wrap(f)() end) return f()",
        "local function f() return coroutine.wrap(f)() end return f()",
        "return string.rep('(', 100000):find(string.rep('(', 1000))",
        "return loadstring('return ' .. string.rep('(', 100000) .. string.rep(')', 100000))()",
        "return loadstring('return ' .. string.rep('{', 100000) .. string.rep('}', 100000))()",
        "return loadstring('return ' .. string.rep('-', 0) .. string.rep('not ', 100000) .. '1')()",
        "return loadstring(string.rep('do ', 100000) .. string.rep('end ', 100000))()",
        "return loadstring('return ' .. string.rep('a.', 100000) .. 'b')()",
        "return loadstring('return ' .. string.rep('f{', 1000) .. string.rep('}', 1000))()",
        "return loadstring('return ' .. string.rep('function() return ', 10000) .. string.rep('end ', 10000))()",
        "return loadstring('return 1 ' .. string.rep('..1', 100000))()",
        "return loadstring('return 2 ' .. string.rep('^2', 100000))()",
        "local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)",
        "return cjson.decode(string.rep('[', 100000) .. string.rep(']', 100000))",
        "return cjson.decode(string.rep('{\"a\":', 100000) .. '1' .. string.rep('}', 100000))",
        "return cmsgpack.unpack(string.rep('\\145', 100000) .. '\\1')",
        "return unpack({}, 1, 1e7)",
        "return string.rep('x', 1e5):gsub('.', function() error('x') end)",
        "table.sort({3, 2, 1}, function() error({err = 'x y'}) end)",
        "error(setmetatable({}, {__tostring = function() error('again') end}))",
        "error(setmetatable({}, {__index = function() error('again') end}))",
    ]);
    let server = Server::start(ServerOptions::new("no"));
    let mut client = server.client();
    // A table in itself is cut where its depth ends.
    let answer = client.call(&["EVAL", "local t = {} t[1] = t return t", "0"]).expect("a reply");
    let mut inner = &answer;
    while let Value::Array(items) = inner {
        inner = &items[0];
    }
    assert!(inner.is_error("ERR reached lua stack limit"), "{inner:?}");
}

/// Starts a script that does not end, has it killed, and says what it was answered.
fn killed(server: &Server, script: &str) -> Value {
    let mut client = server.client();
    let mut bytes = Vec::new();
    super::support::encode(&mut bytes, &["EVAL", script, "0"]);
    client.send(&bytes).expect("it is sent");
    let mut other = server.client();
    for _ in 0..200 {
        if other.command("SCRIPT KILL") == Value::ok() {
            return client.receive().unwrap_or_else(|error| panic!("{script}: {error}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{script}: was never found running");
}

#[test]
fn whatever_it_does_a_script_can_be_killed() {
    let server = Server::start(ServerOptions::new("no"));
    for script in [
        "while true do end",
        "repeat until false",
        "for i = 1, math.huge do end",
        "local function f() return f() end while true do pcall(f) end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error, 'x') end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "while true do local c = coroutine.create(function() while true do end end) coroutine.resume(c) end",
        "local t = setmetatable({}, {__index = function() while true do end end}) while true do pcall(function() return t.x end) end",
        "local t = setmetatable({}, {__tostring = function() while true do end end}) while true do pcall(tostring, t) end",
        "table.sort({1, 2, 3}, function() while true do end end)",
        "string.gsub('x', 'x', function() while true do end end)",
        "return string.find(string.rep('a', 30000), string.rep('a?', 30) .. string.rep('a', 30) .. 'b')",
        "return string.find(string.rep('a', 30000), '.-.-.-.-.-.-.-b')",
        "return string.match(string.rep('a', 3000000), '(.-)(.-)(.-)b')",
        "return string.gsub(string.rep('(', 300000), '%b()', 'x')",
        "while true do redis.call('GET', 'x') end",
        "while true do redis.pcall('NOPE') end",
        "while true do redis.call('SET', 'x', 'y') end",
        "while true do redis.call('KEYS', '*') end",
        "while true do cjson.decode('[1,2,3]') end",
        "while true do math.random() end",
        "load(function() while true do end end)",
        "while true do loadstring('return 1') end",
    ] {
        let answer = killed(&server, script);
        assert!(answer.is_error("ERR Script killed by user with SCRIPT KILL."), "{script}: {answer:?}");
    }
    let mut client = server.client();
    assert_eq!(client.command("DBSIZE"), Value::Integer(0), "nothing of what they did has happened");
    assert_eq!(
        client.command("SCRIPT KILL"),
        Value::Error("NOTBUSY No scripts in execution right now.".to_owned())
    );
}

#[test]
fn searching_takes_time_that_grows_with_the_text_alone() {
    let server = Server::start(ServerOptions::new("no").with("script-time-limit", "10000"));
    let mut client = server.client();
    for (script, expected) in [
        (
            "return string.find(string.rep('a', 4000000), string.rep('a', 2000000) .. 'b', 1, true)",
            Value::Null,
        ),
        ("return string.find(string.rep('a', 4000000), string.rep('a', 2000000) .. 'b')", Value::Null),
        (
            "local s = string.rep('a', 100000) .. 'needle-in-a-haystack' return {string.find(s, 'needle-in-a-haystack', 1, true)}",
            Value::Array(vec![Value::Integer(100_001), Value::Integer(100_020)]),
        ),
        (
            "local s = string.rep('a', 100000) return {string.find(s, string.rep('a', 20), -30, true)}",
            Value::Array(vec![Value::Integer(99_971), Value::Integer(99_990)]),
        ),
    ] {
        assert_eq!(eval(&mut client, script), expected, "{script}");
    }
    let answer = eval(
        &mut client,
        "return string.find(string.rep('a', 4000000), '[' .. string.rep('b', 1000000) .. 'a]*')",
    );
    assert!(answer.is_error("ERR "), "{answer:?}");
}
