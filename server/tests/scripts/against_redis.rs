//! The same scripts, and the same conversations about scripts and functions, with a real Redis: the same answers, byte for byte.

use super::support::oracles;
use super::support::{Client, Server, ServerOptions, Value};

/// Scripts, apart by a line of dashes. One that begins with a line `--!` is excused from being answered alike, for the reason that stands
/// there, and still must be answered with the same kind of reply.
const CORPUS: &str = include_str!("corpus.lua");

/// What is said about scripts and functions, in this order.
const CONVERSATION: &[&[&str]] = &[
    &["FUNCTION"],
    &["FUNCTION", "LOAD"],
    &["FUNCTION", "LOAD", "x"],
    &["FUNCTION", "LOAD", "#!lua\n"],
    &["FUNCTION", "LOAD", "#!lua name=a"],
    &["FUNCTION", "LOAD", "#!lua name=a\n"],
    &["FUNCTION", "LOAD", "#!lua name=a b=c\nreturn 1"],
    &["FUNCTION", "LOAD", "#!lua name=a name=b\nreturn 1"],
    &["FUNCTION", "LOAD", "#!lua name=a-b\nreturn 1"],
    &["FUNCTION", "LOAD", "#!js name=a\nreturn 1"],
    &["FUNCTION", "LOAD", "#! name=a\nreturn 1"],
    &["FUNCTION", "LOAD", "#!lua name=a\nreturn ("],
    &["FUNCTION", "LOAD", "#!lua name=a\nerror(\"x\")"],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.call(\"get\",\"x\")"],
    &["FUNCTION", "LOAD", "#!lua name=a\nx=1"],
    &["FUNCTION", "LOAD", "#!lua name=a\nreturn y"],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function(\"f\")"],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function(\"f\",1)"],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function(1,2)"],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function(\"f-g\",function() end)"],
    &[
        "FUNCTION",
        "LOAD",
        "#!lua name=a\nredis.register_function(\"f\",function() end) redis.register_function(\"f\",function() end)",
    ],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function{function_name=\"f\"}"],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function{callback=function() end}"],
    &[
        "FUNCTION",
        "LOAD",
        "#!lua name=a\nredis.register_function{function_name=\"f\",callback=function() end,flags={\"nope\"}}",
    ],
    &[
        "FUNCTION",
        "LOAD",
        "#!lua name=a\nredis.register_function{function_name=\"f\",callback=function() end,foo=1}",
    ],
    &[
        "FUNCTION",
        "LOAD",
        "#!lua name=a\nredis.register_function{function_name=\"f\",callback=function() end,flags=1}",
    ],
    &[
        "FUNCTION",
        "LOAD",
        "#!lua name=a\nredis.register_function{function_name=\"f\",callback=function() end,description={}}",
    ],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function(1,2,3)"],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function()"],
    &[
        "FUNCTION",
        "LOAD",
        "#!lua name=a\nredis.register_function(\"f\",function(keys,args) return {keys,args} end)\nredis.register_function{function_name=\"ro\",callback=function(k,a) return redis.call(\"get\",k[1]) end,flags={\"no-writes\"},description=\"read only\"}\nredis.register_function(\"w\",function(k,a) return redis.call(\"set\",k[1],a[1]) end)\nredis.register_function(\"err\",function() error(\"boo\") end)\nredis.register_function(\"g\",function() return KEYS end)\nredis.register_function(\"reg\",function() return redis.register_function end)",
    ],
    &["FUNCTION", "LOAD", "#!lua name=a\nredis.register_function(\"f\",function() end)"],
    &["FUNCTION", "LOAD", "#!lua name=b\nredis.register_function(\"f\",function() end)"],
    &["FUNCTION", "LOAD", "REPLACE", "X", "#!lua name=a\nredis.register_function(\"f\",function() end)"],
    &["FUNCTION", "LOAD", "NOPE", "#!lua name=a\nredis.register_function(\"f\",function() end)"],
    &["FCALL", "f", "1", "k", "a"],
    &["FCALL", "f", "x"],
    &["FCALL", "f", "2", "k"],
    &["FCALL", "f", "-1", "k"],
    &["FCALL", "nope", "0"],
    &["FCALL_RO", "w", "1", "k", "v"],
    &["FCALL", "w", "1", "k", "v"],
    &["FCALL", "ro", "1", "k"],
    &["FCALL_RO", "ro", "1", "k"],
    &["FCALL", "err", "0"],
    &["FCALL", "g", "0"],
    &["FCALL", "reg", "0"],
    &["FCALL", "F", "0"],
    &["FUNCTION", "LIST"],
    &["FUNCTION", "LIST", "WITHCODE"],
    &["FUNCTION", "LIST", "LIBRARYNAME", "a*"],
    &["FUNCTION", "LIST", "LIBRARYNAME", "z*"],
    &["FUNCTION", "LIST", "LIBRARYNAME"],
    &["FUNCTION", "LIST", "NOPE"],
    &["FUNCTION", "LIST", "WITHCODE", "WITHCODE"],
    &["FUNCTION", "LIST", "LIBRARYNAME", "a", "LIBRARYNAME", "b"],
    &["FUNCTION", "STATS"],
    &["FUNCTION", "KILL"],
    &["FUNCTION", "HELP"],
    &["FUNCTION", "NOPE"],
    &["FUNCTION", "DELETE", "nope"],
    &["FUNCTION", "DELETE", "a"],
    &["FUNCTION", "LIST"],
    &["FUNCTION", "FLUSH", "x"],
    &["FUNCTION", "FLUSH", "async"],
    &["FUNCTION", "FLUSH", "a", "b"],
    &["FUNCTION", "RESTORE", "x"],
    &["FUNCTION", "RESTORE", "x", "NOPE"],
    &["SCRIPT", "HELP"],
    &["SCRIPT", "NOPE"],
    &["SCRIPT", "EXISTS"],
    &["SCRIPT", "LOAD", "return 1"],
    &["SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "x"],
    &["EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"],
    &["EVALSHA", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "0"],
    &["EVALSHA", "x", "0"],
    &["EVALSHA", "x", "y"],
    &["EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "2", "x"],
    &["EVAL", "return 1", "x"],
    &["EVAL", "return 1", "-1"],
    &["EVAL", "return 1", "5", "a"],
    &["EVAL", "return 1"],
    &["EVAL_RO", "return redis.call(\"set\",\"a\",\"b\")", "0"],
    &["EVAL_RO", "#!lua\nreturn 1", "0"],
    &["EVAL_RO", "#!lua flags=no-writes\nreturn 1", "0"],
    &["EVALSHA_RO", "x", "0"],
    &["SCRIPT", "FLUSH", "x"],
    &["SCRIPT", "FLUSH", "sync", "x"],
    &["SCRIPT", "DEBUG", "x"],
    &["SCRIPT", "DEBUG", "no"],
    &["SCRIPT", "KILL"],
    &["SCRIPT", "LOAD", "return ("],
    &["SCRIPT", "LOAD", "#!lua foo\nreturn 1"],
    &["SCRIPT", "FLUSH"],
    &[
        "FUNCTION",
        "LOAD",
        "#!lua name=c\nlocal n=0 redis.register_function(\"count\",function() n=n+1 return n end)",
    ],
    &["FCALL", "count", "0"],
    &["FCALL", "count", "0"],
    &["FUNCTION", "FLUSH"],
    &["FCALL", "count", "0"],
];

fn both(test: &str) -> Option<(Server, Server)> {
    let redis = oracles::program(test, "redis-server")?;
    let redis = Server::start(ServerOptions::new("no").of(&redis.to_string_lossy()));
    Some((redis, Server::start(ServerOptions::new("no"))))
}

/// Functions of a library come in no order: by name here.
fn sorted(value: Value) -> Value {
    let all = |items: Vec<Value>| items.into_iter().map(sorted).collect::<Vec<_>>();
    let is_function = |item: &Value| match item {
        Value::Array(fields) => fields.first() == Some(&Value::bulk("name")),
        Value::Map(fields) => fields.first().is_some_and(|(name, _)| *name == Value::bulk("name")),
        _ => false,
    };
    match value {
        Value::Array(items) => {
            let mut items = all(items);
            if items.iter().all(is_function) {
                items.sort_by_key(|item| format!("{item:?}"));
            }
            Value::Array(items)
        }
        Value::Map(pairs) => Value::Map(pairs.into_iter().map(|(key, value)| (key, sorted(value))).collect()),
        other => other,
    }
}

#[test]
fn scripts_answer_as_on_redis() {
    let Some((redis, sessile)) = both("scripts_answer_as_on_redis") else { return };
    let (mut scripts, mut excused) = (0, 0);
    for protocol in ["HELLO 2", "HELLO 3"] {
        let (mut theirs, mut ours) = (redis.client(), sessile.client());
        theirs.command(protocol);
        ours.command(protocol);
        for block in CORPUS.trim_end().split("\n----\n") {
            let (excuse, script) = match block.strip_prefix("--! ") {
                Some(rest) => {
                    rest.split_once('\n').map(|(why, script)| (Some(why), script)).expect("a script")
                }
                None => (None, block),
            };
            let run = |client: &mut Client| {
                client.command("FLUSHALL");
                // What a script has told `cjson` holds for the next ones in Redis, until its engine is made anew.
                client.command("SCRIPT FLUSH");
                let arguments = ["EVAL", script, "2", "{k}1", "{k}2", "a", "b", "10", "3.5"];
                client.call(&arguments).unwrap_or_else(|error| panic!("{script}: {error}"))
            };
            let (expected, answer) = (run(&mut theirs), run(&mut ours));
            scripts += 1;
            if let Some(why) = excuse {
                excused += 1;
                assert_eq!(
                    std::mem::discriminant(&answer),
                    std::mem::discriminant(&expected),
                    "{script}: excused only as {why}"
                );
            } else {
                assert_eq!(answer, expected, "{protocol}: {script}");
            }
        }
    }
    assert!(scripts > 1000 && excused < 30, "{scripts} scripts, {excused} excused");
}

#[test]
fn commands_about_scripts_and_functions_answer_as_on_redis() {
    let test = "commands_about_scripts_and_functions_answer_as_on_redis";
    let Some((redis, sessile)) = both(test) else { return };
    for protocol in ["HELLO 2", "HELLO 3"] {
        let (mut theirs, mut ours) = (redis.client(), sessile.client());
        for client in [&mut theirs, &mut ours] {
            client.command("FUNCTION FLUSH");
            client.command("SCRIPT FLUSH");
            client.command("FLUSHALL");
            client.command(protocol);
        }
        for command in CONVERSATION {
            let expected = theirs.call(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
            let answer = ours.call(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
            assert_eq!(sorted(answer), sorted(expected), "{protocol}: {command:?}");
        }
    }
}

#[test]
fn libraries_move_between_redis_and_here() {
    let Some((redis, sessile)) = both("libraries_move_between_redis_and_here") else { return };
    let (mut theirs, mut ours) = (redis.client(), sessile.client());
    let long = format!("--{}\n", "x".repeat(20_000));
    for (name, text) in [("one", ""), ("two", "-- short\n"), ("three", &long)] {
        let code = format!(
            "#!lua name={name}\n{text}redis.register_function('f_{name}', function(keys, args) return '{name}' .. #args end)"
        );
        assert_eq!(theirs.call(&["FUNCTION", "LOAD", &code]).unwrap(), Value::bulk(name));
    }
    let Value::Bulk(dumped) = theirs.command("FUNCTION DUMP") else { panic!("no dump") };
    assert_eq!(ours.call(&[&b"FUNCTION"[..], b"RESTORE", &dumped]).unwrap(), Value::ok());
    assert_eq!(ours.command("FCALL f_three 0 a b"), Value::bulk("three2"));
    assert!(ours.call(&[&b"FUNCTION"[..], b"RESTORE", &dumped]).unwrap().is_error("ERR Library "));
    assert_eq!(ours.call(&[&b"FUNCTION"[..], b"RESTORE", &dumped, b"REPLACE"]).unwrap(), Value::ok());
    let Value::Bulk(dumped) = ours.command("FUNCTION DUMP") else { panic!("no dump") };
    assert_eq!(theirs.call(&[&b"FUNCTION"[..], b"RESTORE", &dumped, b"FLUSH"]).unwrap(), Value::ok());
    assert_eq!(theirs.command("FCALL f_two 0 a"), Value::bulk("two1"));
}
