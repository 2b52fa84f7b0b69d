//! Reading JSON as lua-cjson reads it, with its errors. What is open is kept here and not on the thread's stack, however deep it is.

use super::Settings;
use crate::scripting::library_functions::{Failure, begin_long};
use crate::scripting::number::parse_prefix;
use crate::scripting::vm::Shared;
use mlua::{Lua, LuaString, Table, Value};

/// How deep this goes whatever it is told.
const DEPTH_MAX: usize = 10_000;

/// See the module's page.
pub(super) struct Decoder<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    shared: &'a Shared,
    text: &'a [u8],
    at: usize,
    tokens: u32,
}

/// An array or object that is being read.
struct Open {
    table: Table,
    /// Of an object: the key of the value that is next.
    key: Option<LuaString>,
    /// Of an array: the index of the value that is next.
    next: usize,
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    /// As errors call it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(text) => text,
        }
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn new(
        lua: &'a Lua,
        settings: &'a Settings,
        shared: &'a Shared,
        text: &'a [u8],
    ) -> Decoder<'a> {
        Decoder { lua, settings, shared, text, at: 0, tokens: 0 }
    }

    /// The value of the whole text.
    pub(super) fn text(mut self) -> Result<Value, Failure> {
        begin_long(self.shared, self.text.len())?;
        // UTF-16 and UTF-32 have zeros among the first two bytes of any JSON text.
        if self.text.len() >= 2 && (self.text.first() == Some(&0) || self.text.get(1) == Some(&0)) {
            return Err("JSON parser does not support UTF-16 or UTF-32".into());
        }
        let mut open: Vec<Open> = Vec::new();
        loop {
            // A value, or the end of what was just opened.
            let (token, start) = self.next()?;
            let mut value = match token {
                Token::String(text) => Value::String(self.lua.create_string(text)?),
                Token::Number(number) => Value::Number(number),
                Token::Boolean(value) => Value::Boolean(value),
                Token::Null => Value::NULL,
                Token::ObjectBegin => {
                    self.descend(open.len() + 1)?;
                    let table = self.lua.create_table()?;
                    match self.next()? {
                        (Token::ObjectEnd, _) => Value::Table(table),
                        (token, start) => {
                            let key = self.key(token, start)?;
                            open.push(Open { table, key: Some(key), next: 1 });
                            continue;
                        }
                    }
                }
                Token::ArrayBegin => {
                    self.descend(open.len() + 1)?;
                    open.push(Open { table: self.lua.create_table()?, key: None, next: 1 });
                    continue;
                }
                // Only of an array that has nothing in it yet.
                Token::ArrayEnd if open.last().is_some_and(|open| open.key.is_none() && open.next == 1) => {
                    open.pop().map_or(Value::Nil, |open| Value::Table(open.table))
                }
                other => return Err(Self::unexpected("value", &other, start)),
            };
            // What it belongs to, and what that belongs to if it ends here.
            loop {
                let Some(container) = open.last_mut() else {
                    return match self.next()? {
                        (Token::End, _) => Ok(value),
                        (other, start) => Err(Self::unexpected("the end", &other, start)),
                    };
                };
                let is_object = container.key.is_some();
                match container.key.take() {
                    Some(key) => container.table.raw_set(key, value)?,
                    None => {
                        container.table.raw_seti(container.next, value)?;
                        container.next += 1;
                    }
                }
                match self.next()? {
                    (Token::ObjectEnd, _) if is_object => {}
                    (Token::ArrayEnd, _) if !is_object => {}
                    (Token::Comma, _) if is_object => {
                        let (token, start) = self.next()?;
                        let key = self.key(token, start)?;
                        if let Some(container) = open.last_mut() {
                            container.key = Some(key);
                        }
                        break;
                    }
                    (Token::Comma, _) => break,
                    (other, start) => {
                        let expected = if is_object { "comma or object end" } else { "comma or array end" };
                        return Err(Self::unexpected(expected, &other, start));
                    }
                }
                value = open.pop().map_or(Value::Nil, |open| Value::Table(open.table));
            }
        }
    }

    /// A key, and its colon.
    fn key(&mut self, token: Token, start: usize) -> Result<LuaString, Failure> {
        let Token::String(key) = token else {
            return Err(Self::unexpected("object key string", &token, start));
        };
        match self.next()? {
            (Token::Colon, _) => Ok(self.lua.create_string(key)?),
            (other, start) => Err(Self::unexpected("colon", &other, start)),
        }
    }

    fn descend(&self, depth: usize) -> Result<(), Failure> {
        if depth > DEPTH_MAX.min(self.settings.decode_depth_max as usize) {
            return Err(
                format!("Found too many nested data structures ({depth}) at character {}", self.at).into()
            );
        }
        Ok(())
    }

    fn unexpected(expected: &str, found: &Token, start: usize) -> Failure {
        format!("Expected {expected} but found {} at character {}", found.name(), start + 1).into()
    }

    /// The next token, and where it begins.
    fn next(&mut self) -> Result<(Token, usize), Failure> {
        self.tokens = self.tokens.wrapping_add(1);
        if self.tokens.is_multiple_of(256) {
            self.shared.step()?;
        }
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let start = self.at;
        let Some(&byte) = self.text.get(start) else { return Ok((Token::End, start)) };
        let rest = self.text.get(start..).unwrap_or_default();
        let simple = match byte {
            b'{' => Some(Token::ObjectBegin),
            b'}' => Some(Token::ObjectEnd),
            b'[' => Some(Token::ArrayBegin),
            b']' => Some(Token::ArrayEnd),
            b':' => Some(Token::Colon),
            b',' => Some(Token::Comma),
            // A zero byte ends the text for lua-cjson, which then sees that it is not the end.
            0 if start + 1 >= self.text.len() => Some(Token::End),
            _ => None,
        };
        if let Some(token) = simple {
            self.at += 1;
            return Ok((token, start));
        }
        if byte == b'"' {
            return Ok(self.string(start));
        }
        if byte == b'-' || byte.is_ascii_digit() {
            if !self.settings.decode_invalid && is_invalid_number(rest) {
                return Ok((Token::Error("invalid number"), start));
            }
            return Ok((self.number(rest), start));
        }
        for (word, token) in
            [(&b"true"[..], Token::Boolean(true)), (b"false", Token::Boolean(false)), (b"null", Token::Null)]
        {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok((token, start));
            }
        }
        if self.settings.decode_invalid && is_invalid_number(rest) {
            return Ok((self.number(rest), start));
        }
        Ok((Token::Error("invalid token"), start))
    }

    fn number(&mut self, rest: &[u8]) -> Token {
        match parse_prefix(rest) {
            Some((number, length)) => {
                self.at += length;
                Token::Number(number)
            }
            None => Token::Error("invalid number"),
        }
    }

    fn string(&mut self, start: usize) -> (Token, usize) {
        let mut out = Vec::new();
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.text.get(self.at) {
                None => return (Token::Error("unexpected end of string"), self.at),
                Some(b'"') => {
                    self.at += 1;
                    return (Token::String(out), start);
                }
                Some(_) => {
                    let escape = self.at;
                    self.at += 2;
                    match self.text.get(escape + 1) {
                        Some(b'"') => out.push(b'"'),
                        Some(b'\\') => out.push(b'\\'),
                        Some(b'/') => out.push(b'/'),
                        Some(b'b') => out.push(8),
                        Some(b'f') => out.push(12),
                        Some(b'n') => out.push(10),
                        Some(b'r') => out.push(13),
                        Some(b't') => out.push(9),
                        Some(b'u') => match self.unicode(escape) {
                            Some(character) => {
                                let mut bytes = [0; 4];
                                out.extend_from_slice(encode_utf8(character, &mut bytes));
                            }
                            None => return (Token::Error("invalid unicode escape code"), escape),
                        },
                        _ => return (Token::Error("invalid escape code"), escape),
                    }
                }
            }
        }
    }

    /// The code point of the escape that begins there; stands behind it then.
    fn unicode(&mut self, escape: usize) -> Option<u32> {
        let unit = |at: usize| -> Option<u32> {
            let digits = self.text.get(at..at + 4)?;
            digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | (digit as char).to_digit(16)?))
        };
        let first = unit(escape + 2)?;
        self.at = escape + 6;
        match first {
            0xDC00..0xE000 => None,
            0xD800..0xDC00 => {
                if self.text.get(escape + 6..escape + 8)? != b"\\u" {
                    return None;
                }
                let second = unit(escape + 8)?;
                self.at = escape + 12;
                (0xDC00..0xE000)
                    .contains(&second)
                    .then(|| 0x10000 + ((first & 0x3FF) << 10) + (second & 0x3FF))
            }
            other => Some(other),
        }
    }
}

fn encode_utf8(character: u32, bytes: &mut [u8; 4]) -> &[u8] {
    // Surrogates were excluded.
    char::from_u32(character).unwrap_or('\u{FFFD}').encode_utf8(bytes).as_bytes()
}

/// Whether C reads a number there that JSON has not: hexadecimal, infinite, none, with a plus sign, or with a zero before its digits.
fn is_invalid_number(text: &[u8]) -> bool {
    let text = match text.first() {
        Some(b'+') => return true,
        Some(b'-') => text.get(1..).unwrap_or_default(),
        _ => text,
    };
    match text.first() {
        Some(b'0') => matches!(text.get(1).copied().unwrap_or(0) | 0x20, b'x' | b'0'..=b'9'),
        Some(b'0'..=b'9') => false,
        _ => ["inf", "nan"]
            .iter()
            .any(|word| text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))),
    }
}
