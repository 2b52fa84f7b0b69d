//! Between replies and Luau's values, both ways, as Redis converts them.
//!
//! What a command replied is ours and is well-formed; it is read without trust all the same. What a script returns is bounded in depth and
//! in bytes.

use super::number::{general, parse_prefix};
use super::vm::Shared;
use crate::resp::Reply;
use mlua::{BorrowedBytes, Lua, MultiValue, Table, Value};
use smallvec::SmallVec;

/// How deep tables may be nested in what a script returns.
const DEPTH_MAX: usize = 200;

/// What a command replied, as a script has it.
pub(super) struct Returned {
    /// The value.
    pub(super) value: Value,
    /// Whether it is an error, which `redis.call` raises.
    pub(super) is_error: bool,
}

/// The arguments of `redis.call`, as bytes.
pub(super) struct Arguments(SmallVec<[Argument; 8]>);

enum Argument {
    String(BorrowedBytes),
    Number(String),
}

impl Arguments {
    /// Nothing if one of them is neither a string nor a number.
    pub(super) fn of(values: &MultiValue) -> Option<Arguments> {
        values
            .iter()
            .map(|value| match value {
                Value::String(text) => Some(Argument::String(text.as_bytes())),
                Value::Integer(number) => Some(Argument::Number(general(*number as f64, 17))),
                Value::Number(number) => Some(Argument::Number(general(*number, 17))),
                _ => None,
            })
            .collect::<Option<_>>()
            .map(Arguments)
    }

    pub(super) fn slices(&self) -> SmallVec<[&[u8]; 8]> {
        self.0
            .iter()
            .map(|argument| match argument {
                Argument::String(bytes) => &bytes[..],
                Argument::Number(text) => text.as_bytes(),
            })
            .collect()
    }
}

/// `{err = text}`
pub(super) fn error_table(lua: &Lua, text: &[u8]) -> Result<Value, mlua::Error> {
    let table = single(lua, "err", Value::String(lua.create_string(text)?))?;
    if let Value::Table(table) = &table {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

fn single(lua: &Lua, name: &str, value: Value) -> Result<Value, mlua::Error> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

/// Reads one reply.
pub(super) fn read(lua: &Lua, bytes: &[u8]) -> Result<Returned, mlua::Error> {
    let mut reader = Reader { lua, rest: bytes };
    let is_error = bytes.first() == Some(&b'-');
    let value = reader.value(0)?;
    Ok(Returned { value, is_error })
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

fn malformed() -> mlua::Error {
    mlua::Error::runtime("a reply is not well-formed")
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Result<&'a [u8], mlua::Error> {
        let end = memchr::memchr(b'\n', self.rest).ok_or_else(malformed)?;
        let line = self.rest.get(..end.saturating_sub(1)).ok_or_else(malformed)?;
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Ok(line)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], mlua::Error> {
        let bytes = self.rest.get(..count).ok_or_else(malformed)?;
        self.rest = self.rest.get(count + 2..).unwrap_or_default();
        Ok(bytes)
    }

    fn string(&self, bytes: &[u8]) -> Result<Value, mlua::Error> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn value(&mut self, depth: usize) -> Result<Value, mlua::Error> {
        if depth > DEPTH_MAX {
            return Err(malformed());
        }
        let line = self.line()?;
        let (kind, text) = line.split_first().ok_or_else(malformed)?;
        let number =
            || std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()).ok_or_else(malformed);
        Ok(match kind {
            b'+' => single(self.lua, "ok", self.string(text)?)?,
            b'-' => error_table(self.lua, text)?,
            b':' => Value::Number(number()? as f64),
            b'$' => match usize::try_from(number()?) {
                Ok(count) => {
                    let bytes = self.bytes(count)?;
                    self.string(bytes)?
                }
                Err(_) => Value::Boolean(false),
            },
            b'*' | b'>' => match usize::try_from(number()?) {
                Ok(count) => {
                    let table = self.lua.create_table_with_capacity(count.min(self.rest.len()), 0)?;
                    for index in 1..=count {
                        table.raw_seti(index, self.value(depth + 1)?)?;
                    }
                    Value::Table(table)
                }
                Err(_) => Value::Boolean(false),
            },
            b'%' => {
                let count = usize::try_from(number()?).map_err(|_| malformed())?;
                let table = self.lua.create_table_with_capacity(0, count.min(self.rest.len()))?;
                for _ in 0..count {
                    let key = self.value(depth + 1)?;
                    let value = self.value(depth + 1)?;
                    if !key.is_nil() {
                        table.raw_set(key, value)?;
                    }
                }
                single(self.lua, "map", Value::Table(table))?
            }
            b'~' => {
                let count = usize::try_from(number()?).map_err(|_| malformed())?;
                let table = self.lua.create_table_with_capacity(0, count.min(self.rest.len()))?;
                for _ in 0..count {
                    let member = self.value(depth + 1)?;
                    if !member.is_nil() {
                        table.raw_set(member, true)?;
                    }
                }
                single(self.lua, "set", Value::Table(table))?
            }
            b'_' => Value::Nil,
            b'#' => Value::Boolean(text == b"t"),
            b',' => {
                let (number, _) = parse_prefix(text).ok_or_else(malformed)?;
                single(self.lua, "double", Value::Number(number))?
            }
            b'(' => single(self.lua, "big_number", self.string(text)?)?,
            b'=' => {
                let count = usize::try_from(number()?).map_err(|_| malformed())?;
                let bytes = self.bytes(count)?;
                let (format, string) =
                    (bytes.get(..3).ok_or_else(malformed)?, bytes.get(4..).unwrap_or_default());
                let table = self.lua.create_table()?;
                table.raw_set("format", self.string(format)?)?;
                table.raw_set("string", self.string(string)?)?;
                single(self.lua, "verbatim_string", Value::Table(table))?
            }
            _ => return Err(malformed()),
        })
    }
}

/// Writes what a script returned.
pub(super) fn write(value: &Value, shared: &Shared, reply: &mut Reply) -> Result<(), mlua::Error> {
    let limit = reply.bytes().len().saturating_add(shared.bytes_max);
    Writer { shared, limit, values: 0 }.value(value, reply, 0)
}

struct Writer<'a> {
    shared: &'a Shared,
    limit: usize,
    values: u32,
}

/// A number as an integer reply: its fraction is dropped, and what is no integer becomes the least one, as on the machines that Redis runs on.
fn integer(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, reply: &mut Reply, depth: usize) -> Result<(), mlua::Error> {
        self.values = self.values.wrapping_add(1);
        if self.values.is_multiple_of(1024) {
            self.shared.step()?;
        }
        if reply.bytes().len() > self.limit {
            return Err(mlua::Error::runtime("what the script returns is over the memory limit of scripts"));
        }
        match value {
            Value::Integer(number) => reply.integer(*number),
            Value::Number(number) => reply.integer(integer(*number)),
            Value::String(text) => reply.bulk(&text.as_bytes()),
            Value::Boolean(value) => {
                if self.shared.protocol.get() == crate::resp::Protocol::Resp3 {
                    reply.boolean(*value);
                } else if *value {
                    reply.integer(1);
                } else {
                    reply.null();
                }
            }
            Value::Table(_) if depth >= DEPTH_MAX => reply.error(b"ERR reached lua stack limit"),
            Value::Table(table) => self.table(table, reply, depth)?,
            _ => reply.null(),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, reply: &mut Reply, depth: usize) -> Result<(), mlua::Error> {
        if let Value::String(text) = table.raw_get("err")? {
            let text = text.as_bytes();
            reply.error(text.strip_prefix(b"-").unwrap_or(&text));
            return Ok(());
        }
        if let Value::String(text) = table.raw_get("ok")? {
            let text: Vec<u8> = text
                .as_bytes()
                .iter()
                .map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte })
                .collect();
            let out = reply.bytes_mut();
            out.push(b'+');
            out.extend_from_slice(&text);
            out.extend_from_slice(b"\r\n");
            return Ok(());
        }
        match table.raw_get("double")? {
            Value::Number(number) => {
                reply.double_text(&general(number, 17));
                return Ok(());
            }
            Value::Integer(number) => {
                reply.double_text(&number.to_string());
                return Ok(());
            }
            _ => {}
        }
        if let Value::Table(map) = table.raw_get("map")? {
            let pairs: Vec<(Value, Value)> = map.pairs().collect::<Result<_, _>>()?;
            reply.map(pairs.len());
            for (key, value) in &pairs {
                self.value(key, reply, depth + 1)?;
                self.value(value, reply, depth + 1)?;
            }
            return Ok(());
        }
        if let Value::Table(set) = table.raw_get("set")? {
            let members: Vec<(Value, Value)> = set.pairs().collect::<Result<_, _>>()?;
            reply.set(members.len());
            for (member, _) in &members {
                self.value(member, reply, depth + 1)?;
            }
            return Ok(());
        }
        if let Value::String(digits) = table.raw_get("big_number")? {
            let digits: String = digits.to_string_lossy().replace(['\r', '\n'], " ");
            reply.big_number(&digits);
            return Ok(());
        }
        if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
            && let (Value::String(format), Value::String(string)) =
                (verbatim.raw_get("format")?, verbatim.raw_get("string")?)
        {
            let mut format = format.to_string_lossy();
            while format.len() < 3 {
                format.push(' ');
            }
            reply.verbatim(format.get(..3).unwrap_or("txt"), &string.as_bytes());
            return Ok(());
        }
        let mut items = Vec::new();
        for index in 1_i64.. {
            match table.raw_get::<Value>(index)? {
                Value::Nil => break,
                item => items.push(item),
            }
        }
        reply.array(items.len());
        for item in &items {
            self.value(item, reply, depth + 1)?;
        }
        Ok(())
    }
}
