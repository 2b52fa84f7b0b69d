//! The `cjson` library: what it can be told, and its functions. Texts are written in [`encode`] and read in [`decode`].

mod decode;
mod encode;

use super::library_functions::{Failure, Outcome, answered, number_at, one, string_at, type_name};
use super::vm::Shared;
use mlua::{Lua, MultiValue, Table, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// What a script can set; every script begins with the defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Whether a table with too many holes becomes an object, instead of an error.
    pub(super) sparse_convert: bool,
    /// A table has too many holes if its largest index is more than so many times the number of its elements…
    pub(super) sparse_ratio: u32,
    /// … and more than this.
    pub(super) sparse_safe: u32,
    pub(super) encode_depth_max: u32,
    pub(super) decode_depth_max: u32,
    /// Digits of a number.
    pub(super) precision: usize,
    pub(super) keep_buffer: bool,
    pub(super) encode_invalid: Invalid,
    pub(super) decode_invalid: bool,
}

/// What becomes of numbers that JSON has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

/// Settings as a value of the VM, one for each `cjson.new()`.
struct Handle(Rc<RefCell<Settings>>);

impl mlua::UserData for Handle {}

/// A function of the library, with the settings that it goes by.
type Function = fn(&Lua, &Shared, &RefCell<Settings>, &MultiValue) -> Outcome;

/// Makes the functions, which take the settings before their arguments.
pub(super) fn install(
    lua: &Lua,
    host: &Table,
    shared: &Rc<Shared>,
    settings: &Rc<RefCell<Settings>>,
) -> Result<(), mlua::Error> {
    host.raw_set("json_shared", lua.create_userdata(Handle(Rc::clone(settings)))?)?;
    host.raw_set(
        "json_settings",
        lua.create_function(|lua, ()| lua.create_userdata(Handle(Rc::default())))?,
    )?;
    let functions: [(&str, Function); 9] = [
        ("encode", encode),
        ("decode", decode),
        ("encode_sparse_array", sparse_array),
        ("encode_max_depth", |_, _, settings, args| {
            depth(args, "encode_max_depth", &mut settings.borrow_mut().encode_depth_max)
        }),
        ("decode_max_depth", |_, _, settings, args| {
            depth(args, "decode_max_depth", &mut settings.borrow_mut().decode_depth_max)
        }),
        ("encode_number_precision", |_, _, settings, args| {
            let mut settings = settings.borrow_mut();
            if let Some(digits) = option(args, 0, 1, 14, "encode_number_precision")? {
                settings.precision = digits as usize;
            }
            Ok(one(Value::Integer(settings.precision as i64)))
        }),
        ("encode_keep_buffer", |_, _, settings, args| {
            let mut settings = settings.borrow_mut();
            if let Some(keep) = flag(args, 0, "encode_keep_buffer")? {
                settings.keep_buffer = keep;
            }
            Ok(one(Value::Boolean(settings.keep_buffer)))
        }),
        ("encode_invalid_numbers", |lua, _, settings, args| encode_invalid(lua, settings, args)),
        ("decode_invalid_numbers", |_, _, settings, args| {
            let mut settings = settings.borrow_mut();
            if let Some(allowed) = flag(args, 0, "decode_invalid_numbers")? {
                settings.decode_invalid = allowed;
            }
            Ok(one(Value::Boolean(settings.decode_invalid)))
        }),
    ];
    for (name, function) in functions {
        let shared = Rc::clone(shared);
        host.raw_set(
            format!("json_{name}"),
            answered(lua, move |lua, mut args| {
                let Some(Value::UserData(handle)) = args.pop_front() else {
                    return Err(Failure::Fatal(mlua::Error::runtime("cjson without its settings")));
                };
                let settings = Rc::clone(&handle.borrow::<Handle>()?.0);
                function(lua, &shared, &settings, &args)
            })?,
        )?;
    }
    Ok(())
}

fn encode(lua: &Lua, shared: &Shared, settings: &RefCell<Settings>, args: &MultiValue) -> Outcome {
    if args.len() != 1 {
        return Err("bad argument #1 to 'encode' (expected 1 argument)".into());
    }
    let settings = *settings.borrow();
    let text = encode::Encoder::new(&settings, shared).text(args.front().unwrap_or(&Value::Nil))?;
    Ok(one(Value::String(lua.create_string(text)?)))
}

fn decode(lua: &Lua, shared: &Shared, settings: &RefCell<Settings>, args: &MultiValue) -> Outcome {
    if args.len() != 1 {
        return Err("bad argument #1 to 'decode' (expected 1 argument)".into());
    }
    let text = string_at(lua, args, 0, "decode")?;
    let settings = *settings.borrow();
    Ok(one(decode::Decoder::new(lua, &settings, shared, &text.as_bytes()).text()?))
}

fn sparse_array(_: &Lua, _: &Shared, settings: &RefCell<Settings>, args: &MultiValue) -> Outcome {
    let mut settings = settings.borrow_mut();
    if let Some(convert) = flag(args, 0, "encode_sparse_array")? {
        settings.sparse_convert = convert;
    }
    if let Some(ratio) = option(args, 1, 0, i32::MAX, "encode_sparse_array")? {
        settings.sparse_ratio = ratio;
    }
    if let Some(safe) = option(args, 2, 0, i32::MAX, "encode_sparse_array")? {
        settings.sparse_safe = safe;
    }
    Ok(MultiValue::from_iter([
        Value::Boolean(settings.sparse_convert),
        Value::Integer(i64::from(settings.sparse_ratio)),
        Value::Integer(i64::from(settings.sparse_safe)),
    ]))
}

fn depth(args: &MultiValue, name: &str, depth: &mut u32) -> Outcome {
    if let Some(new) = option(args, 0, 1, i32::MAX, name)? {
        // Deeper than this neither Redis nor this goes: the one for its stack, the other for its time.
        *depth = new;
    }
    Ok(one(Value::Integer(i64::from(*depth))))
}

fn encode_invalid(lua: &Lua, settings: &RefCell<Settings>, args: &MultiValue) -> Outcome {
    let mut settings = settings.borrow_mut();
    match args.front() {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(allowed)) => {
            settings.encode_invalid = if *allowed { Invalid::Written } else { Invalid::Refused };
        }
        Some(Value::String(text)) => {
            settings.encode_invalid = match &*text.as_bytes() {
                b"on" => Invalid::Written,
                b"off" => Invalid::Refused,
                b"null" => Invalid::Null,
                other => {
                    let other = String::from_utf8_lossy(other);
                    return Err(format!(
                        "bad argument #1 to 'encode_invalid_numbers' (invalid option '{other}')"
                    )
                    .into());
                }
            };
        }
        other => {
            let found = type_name(other);
            return Err(format!(
                "bad argument #1 to 'encode_invalid_numbers' (string expected, got {found})"
            )
            .into());
        }
    }
    Ok(one(match settings.encode_invalid {
        Invalid::Refused => Value::Boolean(false),
        Invalid::Written => Value::Boolean(true),
        Invalid::Null => Value::String(lua.create_string("null")?),
    }))
}

/// An argument that is a number in a range; nothing if it is left out.
fn option(args: &MultiValue, at: usize, least: i32, most: i32, name: &str) -> Result<Option<u32>, Failure> {
    if matches!(args.get(at), None | Some(Value::Nil)) {
        return Ok(None);
    }
    let number = number_at(args, at, name)? as i64;
    if number < i64::from(least) || number > i64::from(most) {
        return Err(format!(
            "bad argument #{} to '{name}' (expected integer between {least} and {most})",
            at + 1
        )
        .into());
    }
    Ok(Some(number as u32))
}

/// An argument that is `true`, `false`, `"on"` or `"off"`.
fn flag(args: &MultiValue, at: usize, name: &str) -> Result<Option<bool>, Failure> {
    match args.get(at) {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Boolean(flag)) => Ok(Some(*flag)),
        Some(Value::String(text)) if *text.as_bytes() == b"on"[..] => Ok(Some(true)),
        Some(Value::String(text)) if *text.as_bytes() == b"off"[..] => Ok(Some(false)),
        Some(Value::String(text)) => {
            Err(format!("bad argument #{} to '{name}' (invalid option '{}')", at + 1, text.to_string_lossy())
                .into())
        }
        other => {
            Err(format!("bad argument #{} to '{name}' (string expected, got {})", at + 1, type_name(other))
                .into())
        }
    }
}
