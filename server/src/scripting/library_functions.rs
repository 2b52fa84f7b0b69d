//! The functions of the host that `prelude.luau` makes into libraries.
//!
//! Each answers a message first, `nil` if all went well, and then its results: raising the message where the script can see it is the
//! prelude's business. An `Err` from here ends the script; it is for want of memory, and for [`Stop`](super::vm::Stop).

use super::vm::Shared;
use super::{bit, json, msgpack, pack, random, reply, sha1};
use crate::resp::Protocol;
use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// What a library function comes to: its results, or a message for the script.
pub(super) type Outcome = Result<MultiValue, Failure>;

/// Why a library function has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The script is told, and may go on.
    Message(String),
    /// The script ends.
    Fatal(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Failure {
        Failure::Fatal(error)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Message(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Failure {
        Failure::Message(message.to_owned())
    }
}

/// Work of so many bytes or steps is not begun by a script that others wait for: it is run where it stops nobody.
const LONG: usize = 256 << 10;
/// Pattern matching that might take so many steps between two looks at the clock is refused.
const STEPS_MAX: f64 = 2e9;

/// One value as results.
pub(super) fn one(value: Value) -> MultiValue {
    MultiValue::from_iter([value])
}

/// Makes every function of the host, but for those that need what a run brings.
pub(super) fn install(
    lua: &Lua,
    host: &Table,
    shared: &Rc<Shared>,
    json_settings: &Rc<RefCell<json::Settings>>,
) -> Result<(), mlua::Error> {
    let add = |name: &str, function: fn(&Lua, &Shared, &MultiValue) -> Outcome| -> Result<(), mlua::Error> {
        let shared = Rc::clone(shared);
        host.raw_set(name, answered(lua, move |lua, args| function(lua, &shared, &args))?)
    };
    host.raw_set("null", Value::NULL)?;
    host.raw_set("redis_version", super::REDIS_VERSION)?;
    host.raw_set("redis_version_num", super::REDIS_VERSION_NUMBER)?;
    host.raw_set(
        "number_text",
        lua.create_function(|lua, number: f64| lua.create_string(super::number::lua_text(number)))?,
    )?;
    host.raw_set(
        "status_reply",
        lua.create_function(|lua, args: MultiValue| single_field(lua, &args, "ok"))?,
    )?;
    host.raw_set(
        "error_reply",
        lua.create_function(|lua, args: MultiValue| single_field(lua, &args, "err"))?,
    )?;
    add("find", find)?;
    add("weigh", weigh)?;
    add("random", draw)?;
    add("randomseed", seed)?;
    add("sha1hex", sha1hex)?;
    add("log", log)?;
    add("setresp", set_protocol)?;
    add("set_repl", set_repl)?;
    add("register_function", register_function)?;
    add("bit_tobit", |_, _, args| unary(args, "tobit", |value| value))?;
    add("bit_bnot", |_, _, args| unary(args, "bnot", |value| !value))?;
    add("bit_bswap", |_, _, args| unary(args, "bswap", i32::swap_bytes))?;
    add("bit_tohex", tohex)?;
    add("bit_band", |_, _, args| folded(args, "band", |left, right| left & right))?;
    add("bit_bor", |_, _, args| folded(args, "bor", |left, right| left | right))?;
    add("bit_bxor", |_, _, args| folded(args, "bxor", |left, right| left ^ right))?;
    for name in ["lshift", "rshift", "arshift", "rol", "ror"] {
        host.raw_set(
            format!("bit_{name}"),
            answered(lua, move |_, args| {
                let (value, by) = (bits_at(&args, 0, name)?, bits_at(&args, 1, name)?);
                Ok(one(Value::Number(f64::from(bit::shift(name, value, by)))))
            })?,
        )?;
    }
    add("struct_pack", pack::pack)?;
    add("struct_unpack", pack::unpack)?;
    add("struct_size", pack::size)?;
    add("msgpack_pack", msgpack::pack)?;
    add("msgpack_unpack", msgpack::unpack)?;
    add("msgpack_unpack_one", msgpack::unpack_one)?;
    add("msgpack_unpack_limit", msgpack::unpack_limit)?;
    json::install(lua, host, shared, json_settings)
}

/// A function for the prelude: a message first.
pub(super) fn answered(
    lua: &Lua,
    function: impl Fn(&Lua, MultiValue) -> Outcome + 'static,
) -> Result<Function, mlua::Error> {
    lua.create_function(move |lua, args: MultiValue| match function(lua, args) {
        Ok(mut results) => {
            results.push_front(Value::Nil);
            Ok(results)
        }
        Err(Failure::Message(message)) => Ok(one(Value::String(lua.create_string(message)?))),
        Err(Failure::Fatal(error)) => Err(error),
    })
}

/// What Lua calls the type of an argument in its errors.
pub(super) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Nil) => "nil",
        Some(Value::Boolean(_)) => "boolean",
        Some(Value::Integer(_) | Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Table(_)) => "table",
        Some(Value::Function(_)) => "function",
        Some(Value::Thread(_)) => "thread",
        Some(_) => "userdata",
    }
}

fn bad_argument(args: &MultiValue, at: usize, function: &str, expected: &str) -> Failure {
    let found = type_name(args.get(at));
    format!("bad argument #{} to '{function}' ({expected} expected, got {found})", at + 1).into()
}

/// An argument that must be a number, or a string that is one.
pub(super) fn number_at(args: &MultiValue, at: usize, function: &str) -> Result<f64, Failure> {
    let number = match args.get(at) {
        Some(Value::Integer(number)) => Some(*number as f64),
        Some(Value::Number(number)) => Some(*number),
        Some(Value::String(text)) => parse_number(&text.as_bytes()),
        _ => None,
    };
    number.ok_or_else(|| bad_argument(args, at, function, "number"))
}

/// As `tonumber` reads a string.
fn parse_number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let (number, length) = super::number::parse_prefix(text)?;
    (length == text.len()).then_some(number)
}

/// An argument that must be a string, or a number.
pub(super) fn string_at(
    lua: &Lua,
    args: &MultiValue,
    at: usize,
    function: &str,
) -> Result<LuaString, Failure> {
    match args.get(at) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Integer(number)) => Ok(lua.create_string(super::number::lua_text(*number as f64))?),
        Some(Value::Number(number)) => Ok(lua.create_string(super::number::lua_text(*number))?),
        _ => Err(bad_argument(args, at, function, "string")),
    }
}

/// Whether work of this size may be begun now.
pub(super) fn begin_long(shared: &Shared, size: usize) -> Result<(), mlua::Error> {
    shared.step()?;
    if size > LONG && shared.is_hurried() {
        return Err(shared.stop(super::vm::Stop::TimeUp));
    }
    Ok(())
}

fn single_field(lua: &Lua, args: &MultiValue, name: &str) -> Result<Value, mlua::Error> {
    match (args.len(), args.front()) {
        (1, Some(Value::String(text))) => {
            let text = text.as_bytes();
            if name == "ok" {
                let table = lua.create_table_with_capacity(0, 1)?;
                table.raw_set(name, lua.create_string(&*text)?)?;
                return Ok(Value::Table(table));
            }
            // A code of its own, `-CODE message`, or the message alone.
            let text = match text.strip_prefix(b"-") {
                Some(coded) => match memchr::memchr(b' ', coded) {
                    Some(_) => coded.to_vec(),
                    None => [b"ERR ", coded].concat(),
                },
                None => match memchr::memchr(b' ', &text) {
                    Some(_) => text.to_vec(),
                    None => [b"ERR ", &text[..]].concat(),
                },
            };
            reply::error_table(lua, &text)
        }
        _ => reply::error_table(lua, b"ERR wrong number or type of arguments"),
    }
}

/// `string.find` of a plain text, in time that grows with the longer of the two alone.
fn find(lua: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let (subject, pattern) = (string_at(lua, args, 0, "find")?, string_at(lua, args, 1, "find")?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let start = match args.get(2) {
        None | Some(Value::Nil) => 1,
        Some(_) => number_at(args, 2, "find")? as i64,
    };
    let length = subject.len() as i64;
    let start = (if start < 0 { (length + start + 1).max(1) } else { start.max(1) } - 1).min(length) as usize;
    begin_long(shared, subject.len())?;
    let found = memchr::memmem::find(subject.get(start..).unwrap_or_default(), &pattern);
    Ok(match found {
        Some(at) => {
            let first = (start + at + 1) as f64;
            MultiValue::from_iter([Value::Number(first), Value::Number(first + pattern.len() as f64 - 1.0)])
        }
        None => one(Value::Nil),
    })
}

/// Asks whether so many steps of pattern matching may be begun.
fn weigh(_: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let steps = number_at(args, 0, "match")?;
    if steps > STEPS_MAX {
        return Err("pattern too complex".into());
    }
    begin_long(shared, steps as usize)?;
    Ok(MultiValue::new())
}

fn draw(_: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let mut generator = shared.random.get();
    let fraction = generator.next_fraction();
    shared.random.set(generator);
    let whole = |at| Ok::<f64, Failure>(f64::from(number_at(args, at, "random")? as i64 as i32));
    let number = match args.len() {
        0 => fraction,
        1 => {
            let upper = whole(0)?;
            if upper < 1.0 {
                return Err("bad argument #1 to 'random' (interval is empty)".into());
            }
            (fraction * upper).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (whole(0)?, whole(1)?);
            if lower > upper {
                return Err("bad argument #2 to 'random' (interval is empty)".into());
            }
            (fraction * (upper - lower + 1.0)).floor() + lower
        }
        _ => return Err("wrong number of arguments".into()),
    };
    Ok(one(Value::Number(number)))
}

fn seed(_: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let seed = number_at(args, 0, "randomseed")? as i64 as i32;
    shared.random.set(random::Generator::seeded(seed));
    Ok(MultiValue::new())
}

fn sha1hex(lua: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    if args.len() != 1 {
        return Err("wrong number of arguments".into());
    }
    let digest = match args.front() {
        Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
            let text = string_at(lua, args, 0, "sha1hex")?;
            begin_long(shared, text.as_bytes().len())?;
            sha1::hexadecimal(&text.as_bytes())
        }
        _ => sha1::hexadecimal(b""),
    };
    Ok(one(Value::String(lua.create_string(digest)?)))
}

fn log(lua: &Lua, _: &Shared, args: &MultiValue) -> Outcome {
    if args.len() < 2 {
        return Err("redis.log() requires two arguments or more.".into());
    }
    if !matches!(args.front(), Some(Value::Integer(_) | Value::Number(_))) {
        return Err("First argument must be a number (log level).".into());
    }
    let level = number_at(args, 0, "log")?;
    if !(0.0..4.0).contains(&level) {
        return Err("Invalid debug level.".into());
    }
    let mut parts = Vec::new();
    for at in 1..args.len() {
        if let Ok(text) = string_at(lua, args, at, "log") {
            parts.push(text.to_string_lossy());
        }
    }
    let text = parts.join(" ");
    match level as u8 {
        0 => tracing::trace!(target: "script", "{text}"),
        1 => tracing::debug!(target: "script", "{text}"),
        2 => tracing::info!(target: "script", "{text}"),
        _ => tracing::warn!(target: "script", "{text}"),
    }
    Ok(MultiValue::new())
}

fn set_protocol(_: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    if args.len() != 1 {
        return Err("redis.setresp() requires one argument.".into());
    }
    let version = number_at(args, 0, "setresp").unwrap_or(0.0);
    shared.protocol.set(match version as i64 {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err("RESP version must be 2 or 3.".into()),
    });
    Ok(MultiValue::new())
}

/// What is replicated is what was done, whatever a script says.
fn set_repl(_: &Lua, _: &Shared, args: &MultiValue) -> Outcome {
    if args.len() != 1 {
        return Err("redis.set_repl() requires two arguments.".into());
    }
    let flags = number_at(args, 0, "set_repl").unwrap_or(0.0) as i64;
    if flags & !3 != 0 {
        return Err("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.".into());
    }
    Ok(MultiValue::new())
}

fn register_function(_: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let mut registering = shared.registering.borrow_mut();
    let Some(functions) = registering.as_mut() else {
        return Err("redis.register_function can only be called on FUNCTION LOAD command".into());
    };
    let registered = super::library::Registered::of(args)?;
    if functions.iter().any(|function| function.name.eq_ignore_ascii_case(&registered.name)) {
        return Err("Function already exists in the library".into());
    }
    functions.push(registered);
    Ok(MultiValue::new())
}

fn bits_at(args: &MultiValue, at: usize, function: &str) -> Result<i32, Failure> {
    Ok(bit::bits(number_at(args, at, function)?))
}

fn unary(args: &MultiValue, name: &str, operation: fn(i32) -> i32) -> Outcome {
    Ok(one(Value::Number(f64::from(operation(bits_at(args, 0, name)?)))))
}

fn folded(args: &MultiValue, name: &str, operation: fn(i32, i32) -> i32) -> Outcome {
    let mut value = bits_at(args, 0, name)?;
    for at in 1..args.len() {
        value = operation(value, bits_at(args, at, name)?);
    }
    Ok(one(Value::Number(f64::from(value))))
}

fn tohex(lua: &Lua, _: &Shared, args: &MultiValue) -> Outcome {
    let value = bits_at(args, 0, "tohex")?;
    let digits = match args.get(1) {
        None => 8,
        Some(_) => bits_at(args, 1, "tohex")?,
    };
    Ok(one(Value::String(lua.create_string(bit::hexadecimal(value, digits))?)))
}
