//! Libraries of functions (`FUNCTION LOAD`).

use super::library_functions::Failure;
use mlua::{Function, MultiValue, Value};

/// A function as its library registers it.
pub struct Registered {
    /// Its name, unique among all libraries.
    pub name: String,
    /// What it is called in `FUNCTION LIST`.
    pub description: Option<Vec<u8>>,
    /// [`flags`](super::script::flags) bits.
    pub flags: u32,
    /// What runs.
    pub function: Function,
}

/// The name of a library, from the first line of its text, and what is compiled: from the end of that line on, so that lines keep their
/// numbers.
///
/// # Errors
///
/// What is wrong with the line.
pub fn metadata(code: &[u8]) -> Result<(String, &[u8]), String> {
    if !code.starts_with(b"#!") {
        return Err("Missing library metadata".to_owned());
    }
    let Some(end) = memchr::memchr(b'\n', code) else {
        return Err("Invalid library metadata".to_owned());
    };
    let (line, body) = code.split_at(end);
    let line = String::from_utf8_lossy(line).into_owned();
    let mut parts = line.split_ascii_whitespace();
    let engine = parts.next().unwrap_or_default().trim_start_matches("#!").to_owned();
    let mut name = None;
    for part in parts {
        match part.strip_prefix("name=") {
            Some(_) if name.is_some() => {
                return Err("Invalid metadata value, name argument was given multiple times".to_owned());
            }
            Some(given) => name = Some(given.to_owned()),
            None => return Err(format!("Invalid metadata value given: {part}")),
        }
    }
    let name = name.ok_or("Library name was not given")?;
    if !super::script::is_name(name.as_bytes()) {
        return Err(NAME_RULE.to_owned());
    }
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("Engine '{engine}' not found"));
    }
    Ok((name, body))
}

/// What a name must look like.
const NAME_RULE: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

impl Registered {
    /// Reads the arguments of `redis.register_function`.
    pub(super) fn of(args: &MultiValue) -> Result<Registered, Failure> {
        let registered = match (args.len(), args.front(), args.get(1)) {
            (1, Some(Value::Table(table)), _) => return Registered::of_table(table),
            (1, _, _) => {
                return Err(
                    "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments)."
                        .into(),
                );
            }
            (2, Some(name), Some(Value::Function(function))) => {
                let name =
                    text_of(name).ok_or("first argument to redis.register_function must be a string")?;
                let name = String::from_utf8_lossy(&name).into_owned();
                Registered { name, description: None, flags: 0, function: function.clone() }
            }
            (2, Some(name), _) if text_of(name).is_some() => {
                return Err("second argument to redis.register_function must be a function".into());
            }
            (2, _, _) => return Err("first argument to redis.register_function must be a string".into()),
            _ => return Err("wrong number of arguments to redis.register_function".into()),
        };
        registered.check()?;
        Ok(registered)
    }

    fn of_table(table: &mlua::Table) -> Result<Registered, Failure> {
        let (mut name, mut description, mut function, mut flags) = (None, None, None, 0);
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let Value::String(key) = key else {
                return Err("named argument key given to redis.register_function is not a string".into());
            };
            match (&*key.as_bytes(), value) {
                (b"function_name", Value::String(text)) => name = Some(text.to_string_lossy()),
                (b"function_name", _) => {
                    return Err(
                        "function_name argument given to redis.register_function must be a string".into()
                    );
                }
                (b"description", Value::String(text)) => description = Some(text.as_bytes().to_vec()),
                (b"description", _) => {
                    return Err(
                        "description argument given to redis.register_function must be a string".into()
                    );
                }
                (b"callback", Value::Function(callback)) => function = Some(callback),
                (b"callback", _) => {
                    return Err(
                        "callback argument given to redis.register_function must be a function".into()
                    );
                }
                (b"flags", Value::Table(names)) => flags = flags_of(&names)?,
                (b"flags", _) => {
                    return Err(
                        "flags argument to redis.register_function must be a table representing function flags"
                            .into(),
                    );
                }
                _ => return Err("unknown argument given to redis.register_function".into()),
            }
        }
        let name = name.ok_or("redis.register_function must get a function name argument")?;
        let function = function.ok_or("redis.register_function must get a callback argument")?;
        let registered = Registered { name, description, flags, function };
        registered.check()?;
        Ok(registered)
    }

    fn check(&self) -> Result<(), Failure> {
        if super::script::is_name(self.name.as_bytes()) { Ok(()) } else { Err(NAME_RULE.into()) }
    }
}

/// A string, or a number as one.
fn text_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(super::number::lua_text(*number as f64).into_bytes()),
        Value::Number(number) => Some(super::number::lua_text(*number).into_bytes()),
        _ => None,
    }
}

fn flags_of(names: &mlua::Table) -> Result<u32, Failure> {
    let mut flags = 0;
    for index in 1_i64.. {
        match names.raw_get::<Value>(index)? {
            Value::Nil => break,
            Value::String(name) => {
                flags |= super::script::flags::by_name(&name.as_bytes()).ok_or("unknown flag given")?;
            }
            _ => return Err("unknown flag given".into()),
        }
    }
    Ok(flags)
}
