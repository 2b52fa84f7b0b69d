//! The `cmsgpack` library: MessagePack as lua-cmsgpack writes and reads it.

use super::library_functions::{Failure, Outcome, begin_long, number_at, string_at};
use super::vm::Shared;
use mlua::{Lua, MultiValue, Table, Value};

/// Tables nested deeper than this are packed as nil.
const PACK_DEPTH_MAX: usize = 16;
/// Deeper than this nothing is unpacked.
const UNPACK_DEPTH_MAX: usize = 100;

/// `cmsgpack.pack(…)`
pub(super) fn pack(lua: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    if args.is_empty() {
        return Err("bad argument #0 to 'pack' (MessagePack pack needs input.)".into());
    }
    let mut packer = Packer { shared, out: Vec::new(), values: 0 };
    for value in args {
        packer.value(value, 0)?;
    }
    Ok(MultiValue::from_iter([Value::String(lua.create_string(packer.out)?)]))
}

struct Packer<'a> {
    shared: &'a Shared,
    out: Vec<u8>,
    values: u32,
}

impl Packer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Failure> {
        self.values = self.values.wrapping_add(1);
        if self.values.is_multiple_of(256) {
            self.shared.step()?;
        }
        if self.out.len() > self.shared.bytes_max {
            return Err("not enough memory".into());
        }
        match value {
            Value::String(text) => {
                let text = text.as_bytes();
                begin_long(self.shared, text.len())?;
                self.head(&text);
                self.out.extend_from_slice(&text);
            }
            Value::Boolean(true) => self.out.push(0xc3),
            Value::Boolean(false) => self.out.push(0xc2),
            Value::Integer(number) => self.integer(*number),
            Value::Number(number) => self.number(*number),
            Value::Table(table) if depth < PACK_DEPTH_MAX => self.table(table, depth)?,
            _ => self.out.push(0xc0),
        }
        Ok(())
    }

    fn head(&mut self, text: &[u8]) {
        let length = text.len();
        match length {
            0..32 => self.out.push(0xa0 | length as u8),
            32..=0xff => self.out.extend_from_slice(&[0xd9, length as u8]),
            0x100..=0xffff => self.sized(0xda, &(length as u16).to_be_bytes()),
            _ => self.sized(0xdb, &(length as u32).to_be_bytes()),
        }
    }

    fn sized(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(bytes);
    }

    fn integer(&mut self, number: i64) {
        match number {
            0..=127 => self.out.push(number as u8),
            128..=0xff => self.sized(0xcc, &[number as u8]),
            0x100..=0xffff => self.sized(0xcd, &(number as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.sized(0xce, &(number as u32).to_be_bytes()),
            0x1_0000_0000.. => self.sized(0xcf, &(number as u64).to_be_bytes()),
            -32..0 => self.out.push(number as i8 as u8),
            -128..-32 => self.sized(0xd0, &(number as i8).to_be_bytes()),
            -32768..-128 => self.sized(0xd1, &(number as i16).to_be_bytes()),
            -2_147_483_648..-32768 => self.sized(0xd2, &(number as i32).to_be_bytes()),
            _ => self.sized(0xd3, &number.to_be_bytes()),
        }
    }

    fn number(&mut self, number: f64) {
        let whole = number as i64;
        if number.is_finite() && whole as f64 == number && number.abs() < 9.2e18 {
            self.integer(whole);
        } else if f64::from(number as f32) == number {
            self.sized(0xca, &(number as f32).to_be_bytes());
        } else {
            self.sized(0xcb, &number.to_be_bytes());
        }
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Failure> {
        let (mut count, mut largest, mut array) = (0_u32, 0_i64, true);
        for pair in table.pairs::<Value, Value>() {
            match pair?.0 {
                Value::Integer(index) if index > 0 => largest = largest.max(index),
                _ => array = false,
            }
            count += 1;
            if count.is_multiple_of(1024) {
                self.shared.step()?;
            }
        }
        if array && largest == i64::from(count) {
            match count {
                0..16 => self.out.push(0x90 | count as u8),
                16..=0xffff => self.sized(0xdc, &(count as u16).to_be_bytes()),
                _ => self.sized(0xdd, &count.to_be_bytes()),
            }
            for index in 1..=largest {
                self.value(&table.raw_get::<Value>(index)?, depth + 1)?;
            }
        } else {
            match count {
                0..16 => self.out.push(0x80 | count as u8),
                16..=0xffff => self.sized(0xde, &(count as u16).to_be_bytes()),
                _ => self.sized(0xdf, &count.to_be_bytes()),
            }
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair?;
                self.value(&key, depth + 1)?;
                self.value(&value, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// `cmsgpack.unpack(text)`
pub(super) fn unpack(lua: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let text = string_at(lua, args, 0, "unpack")?;
    unpack_some(lua, shared, &text.as_bytes(), 0, 0)
}

/// `cmsgpack.unpack_one(text, offset)`
pub(super) fn unpack_one(lua: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let text = string_at(lua, args, 0, "unpack_one")?;
    let offset = whole(args, 1, "unpack_one")?;
    unpack_some(lua, shared, &text.as_bytes(), 1, offset)
}

/// `cmsgpack.unpack_limit(text, limit, offset)`
pub(super) fn unpack_limit(lua: &Lua, shared: &Shared, args: &MultiValue) -> Outcome {
    let text = string_at(lua, args, 0, "unpack_limit")?;
    let limit = number_at(args, 1, "unpack_limit")? as i64;
    let offset = whole(args, 2, "unpack_limit")?;
    unpack_some(lua, shared, &text.as_bytes(), limit, offset)
}

fn whole(args: &MultiValue, at: usize, function: &str) -> Result<i64, Failure> {
    match args.get(at) {
        None | Some(Value::Nil) => Ok(0),
        Some(_) => Ok(number_at(args, at, function)? as i64),
    }
}

fn unpack_some(lua: &Lua, shared: &Shared, text: &[u8], limit: i64, offset: i64) -> Outcome {
    if offset < 0 || limit < 0 {
        return Err(format!(
            "Invalid request to unpack with offset of {offset} and limit of {}.",
            text.len()
        )
        .into());
    }
    if offset > text.len() as i64 {
        return Err(format!("Start offset {offset} greater than input length {}.", text.len()).into());
    }
    begin_long(shared, text.len())?;
    let mut unpacker = Unpacker { lua, shared, text, at: offset as usize, values: 0 };
    let mut results = MultiValue::new();
    let all = limit == 0 && offset == 0;
    let mut left = if all { i64::MAX } else { limit };
    while unpacker.at < text.len() && left > 0 {
        if results.len() >= 8000 {
            return Err("too many values to unpack".into());
        }
        results.push_back(unpacker.value(0)?);
        left -= 1;
    }
    if !all {
        let next = if unpacker.at < text.len() { unpacker.at as f64 } else { -1.0 };
        results.push_front(Value::Number(next));
    }
    Ok(results)
}

struct Unpacker<'a> {
    lua: &'a Lua,
    shared: &'a Shared,
    text: &'a [u8],
    at: usize,
    values: u32,
}

impl Unpacker<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let bytes = self.text.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let bytes = *bytes.ok_or("Missing bytes in input.")?;
        self.at += N;
        Ok(bytes)
    }

    fn string(&mut self, length: usize) -> Result<Value, Failure> {
        let end = self.at.checked_add(length).ok_or("Missing bytes in input.")?;
        let bytes = self.text.get(self.at..end).ok_or("Missing bytes in input.")?;
        self.at = end;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Failure> {
        self.values = self.values.wrapping_add(1);
        if self.values.is_multiple_of(256) {
            self.shared.step()?;
        }
        if depth > UNPACK_DEPTH_MAX {
            return Err("Bad data format in input.".into());
        }
        let [tag] = self.take()?;
        let number = match tag {
            0..0x80 => f64::from(tag),
            0xe0.. => f64::from(tag as i8),
            0xcc => f64::from(u8::from_be_bytes(self.take()?)),
            0xcd => f64::from(u16::from_be_bytes(self.take()?)),
            0xce => f64::from(u32::from_be_bytes(self.take()?)),
            // As signed, like lua-cmsgpack.
            0xcf => i64::from_be_bytes(self.take()?) as f64,
            0xd0 => f64::from(i8::from_be_bytes(self.take()?)),
            0xd1 => f64::from(i16::from_be_bytes(self.take()?)),
            0xd2 => f64::from(i32::from_be_bytes(self.take()?)),
            0xd3 => i64::from_be_bytes(self.take()?) as f64,
            0xca => f64::from(f32::from_be_bytes(self.take()?)),
            0xcb => f64::from_be_bytes(self.take()?),
            0xc0 => return Ok(Value::Nil),
            0xc2 => return Ok(Value::Boolean(false)),
            0xc3 => return Ok(Value::Boolean(true)),
            0xa0..0xc0 => return self.string(usize::from(tag & 31)),
            0xd9 => {
                let length = usize::from(u8::from_be_bytes(self.take()?));
                return self.string(length);
            }
            0xda => {
                let length = usize::from(u16::from_be_bytes(self.take()?));
                return self.string(length);
            }
            0xdb => {
                let length = u32::from_be_bytes(self.take()?) as usize;
                return self.string(length);
            }
            0x90..0xa0 => return self.array(usize::from(tag & 15), depth),
            0xdc => {
                let count = usize::from(u16::from_be_bytes(self.take()?));
                return self.array(count, depth);
            }
            0xdd => {
                let count = u32::from_be_bytes(self.take()?) as usize;
                return self.array(count, depth);
            }
            0x80..0x90 => return self.map(usize::from(tag & 15), depth),
            0xde => {
                let count = usize::from(u16::from_be_bytes(self.take()?));
                return self.map(count, depth);
            }
            0xdf => {
                let count = u32::from_be_bytes(self.take()?) as usize;
                return self.map(count, depth);
            }
            _ => return Err("Bad data format in input.".into()),
        };
        Ok(Value::Number(number))
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Value, Failure> {
        // No more room than there are bytes that could fill it.
        let room = count.min(self.text.len().saturating_sub(self.at));
        let table = self.lua.create_table_with_capacity(room, 0)?;
        for index in 1..=count {
            table.raw_seti(index, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, Failure> {
        let table = self.lua.create_table()?;
        for _ in 0..count {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match &key {
                Value::Nil => return Err("table index is nil".into()),
                Value::Number(number) if number.is_nan() => return Err("table index is NaN".into()),
                _ => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}
