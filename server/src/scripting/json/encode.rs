//! Writing JSON as lua-cjson writes it. Tables that are under way are kept here and not on the thread's stack, however deep they are.

use super::{Invalid, Settings};
use crate::scripting::library_functions::{Failure, begin_long, type_name};
use crate::scripting::number::general;
use crate::scripting::vm::Shared;
use mlua::{Table, Value};

/// How deep this goes whatever it is told.
const DEPTH_MAX: usize = 10_000;

/// A table that is being written.
enum Open {
    Array { table: Table, next: i64, length: i64 },
    Object { pairs: std::vec::IntoIter<(Value, Value)>, first: bool },
}

/// See the module's page.
pub(super) struct Encoder<'a> {
    settings: &'a Settings,
    shared: &'a Shared,
    out: Vec<u8>,
    open: Vec<Open>,
    values: u32,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(settings: &'a Settings, shared: &'a Shared) -> Encoder<'a> {
        Encoder { settings, shared, out: Vec::new(), open: Vec::new(), values: 0 }
    }

    /// The text of a value.
    pub(super) fn text(mut self, value: &Value) -> Result<Vec<u8>, Failure> {
        self.value(value)?;
        while let Some(open) = self.open.last_mut() {
            let value = match open {
                Open::Array { next, length, .. } if *next > *length => {
                    self.out.push(b']');
                    None
                }
                Open::Array { table, next, .. } => {
                    if *next > 1 {
                        self.out.push(b',');
                    }
                    *next += 1;
                    Some(table.raw_get::<Value>(*next - 1)?)
                }
                Open::Object { pairs, first } => match pairs.next() {
                    Some((key, value)) => {
                        if !std::mem::take(first) {
                            self.out.push(b',');
                        }
                        self.key(&key)?;
                        self.out.push(b':');
                        Some(value)
                    }
                    None => {
                        self.out.push(b'}');
                        None
                    }
                },
            };
            match value {
                Some(value) => self.value(&value)?,
                None => drop(self.open.pop()),
            }
        }
        Ok(self.out)
    }

    /// Writes a value; of a table only what opens it.
    fn value(&mut self, value: &Value) -> Result<(), Failure> {
        self.values = self.values.wrapping_add(1);
        if self.values.is_multiple_of(256) {
            self.shared.step()?;
            if self.out.len() > self.shared.bytes_max {
                return Err("not enough memory".into());
            }
        }
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => {
                begin_long(self.shared, text.as_bytes().len())?;
                self.string(&text.as_bytes());
            }
            Value::Table(table) => self.table(table)?,
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            other => {
                let found = type_name(Some(other));
                return Err(format!("Cannot serialise {found}: type not supported").into());
            }
        }
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), Failure> {
        if !number.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refused => return Err("Cannot serialise number: must not be NaN or Inf".into()),
                Invalid::Null => self.out.extend_from_slice(b"null"),
                Invalid::Written if number.is_nan() => self.out.extend_from_slice(b"nan"),
                Invalid::Written => {
                    self.out.extend_from_slice(if number < 0.0 { b"-inf" } else { b"inf" });
                }
            }
            return Ok(());
        }
        self.out.extend_from_slice(general(number, self.settings.precision).as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        for &byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                8 => self.out.extend_from_slice(b"\\b"),
                9 => self.out.extend_from_slice(b"\\t"),
                10 => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                13 => self.out.extend_from_slice(b"\\r"),
                0..32 | 127 => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    fn key(&mut self, key: &Value) -> Result<(), Failure> {
        match key {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                let number = key.as_number().or(key.as_integer().map(|number| number as f64));
                self.out.push(b'"');
                self.number(number.unwrap_or_default())?;
                self.out.push(b'"');
            }
            other => {
                let found = type_name(Some(other));
                return Err(format!("Cannot serialise {found}: table key must be a number or string").into());
            }
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let depth = self.open.len() + 1;
        if depth > DEPTH_MAX.min(self.settings.encode_depth_max as usize) {
            return Err(format!("Cannot serialise, excessive nesting ({depth})").into());
        }
        if let Some(length) = self.array_length(table)? {
            self.out.push(b'[');
            self.open.push(Open::Array { table: table.clone(), next: 1, length });
        } else {
            self.out.push(b'{');
            let pairs = table.pairs().collect::<Result<Vec<(Value, Value)>, _>>()?;
            self.open.push(Open::Object { pairs: pairs.into_iter(), first: true });
        }
        Ok(())
    }

    /// The largest index of a table that is an array; nothing if it is an object, as an empty one is.
    fn array_length(&self, table: &Table) -> Result<Option<i64>, Failure> {
        let (mut largest, mut count) = (0_i64, 0_i64);
        for pair in table.pairs::<Value, Value>() {
            match pair?.0 {
                Value::Integer(index) if index >= 1 => largest = largest.max(index),
                _ => return Ok(None),
            }
            count += 1;
            if count % 1024 == 0 {
                self.shared.step()?;
            }
        }
        let settings = self.settings;
        let (ratio, safe) = (i64::from(settings.sparse_ratio), i64::from(settings.sparse_safe));
        if ratio > 0 && largest > count.saturating_mul(ratio) && largest > safe {
            if !settings.sparse_convert {
                return Err("Cannot serialise table: excessively sparse array".into());
            }
            return Ok(None);
        }
        Ok((largest > 0).then_some(largest))
    }
}
