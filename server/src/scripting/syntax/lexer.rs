//! The words of Lua 5.1.

use super::{Edit, SyntaxError};
use crate::scripting::number::parse_prefix;

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A reserved word, by its place in [`RESERVED`].
    Reserved(u8),
    Name,
    String,
    Number,
    /// `..`
    Concat,
    /// `...`
    Dots,
    Equal,
    GreaterOrEqual,
    LessOrEqual,
    NotEqual,
    End,
    /// Any other character.
    Char(u8),
}

/// The reserved words.
pub(super) const RESERVED: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// The token of a reserved word.
pub(super) const fn reserved(word: &str) -> Token {
    let word = word.as_bytes();
    let mut at = 0;
    while at < RESERVED.len() {
        let known = RESERVED[at].as_bytes();
        let mut same = known.len() == word.len();
        let mut index = 0;
        while same && index < word.len() {
            same = known[index] == word[index];
            index += 1;
        }
        if same {
            return Token::Reserved(at as u8);
        }
        at += 1;
    }
    panic!("no reserved word");
}

impl Token {
    /// As errors print it, where its text is not printed.
    pub(super) fn name(self) -> Vec<u8> {
        match self {
            Token::Reserved(at) => RESERVED[usize::from(at)].as_bytes().to_vec(),
            Token::Name => b"<name>".to_vec(),
            Token::String => b"<string>".to_vec(),
            Token::Number => b"<number>".to_vec(),
            Token::Concat => b"..".to_vec(),
            Token::Dots => b"...".to_vec(),
            Token::Equal => b"==".to_vec(),
            Token::GreaterOrEqual => b">=".to_vec(),
            Token::LessOrEqual => b"<=".to_vec(),
            Token::NotEqual => b"~=".to_vec(),
            Token::End => b"<eof>".to_vec(),
            Token::Char(byte) if byte.is_ascii_control() => format!("char({byte})").into_bytes(),
            Token::Char(byte) => vec![byte],
        }
    }
}

/// A word where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) token: Token,
    pub(super) begin: usize,
    pub(super) end: usize,
    /// The line that it ends in.
    pub(super) line: usize,
}

/// Takes a text apart.
pub(super) struct Lexer<'a> {
    pub(super) source: &'a [u8],
    at: usize,
    pub(super) line: usize,
    pub(super) edits: Vec<Edit>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a [u8]) -> Lexer<'a> {
        Lexer { source, at: 0, line: 1, edits: Vec::new() }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn error(&self, message: &str, near: &[u8]) -> SyntaxError {
        // As C prints strings.
        let near = near.split(|&byte| byte == 0).next().unwrap_or_default();
        SyntaxError { line: self.line, message: [message.as_bytes(), b" near '", near, b"'"].concat() }
    }

    fn text_from(&self, begin: usize) -> &'a [u8] {
        self.source.get(begin..self.at.min(self.source.len())).unwrap_or_default()
    }

    /// Stands behind a line's end, which may be two characters.
    fn newline(&mut self) {
        let first = self.peek(0);
        self.at += 1;
        if matches!(self.peek(0), Some(b'\n' | b'\r')) && self.peek(0) != first {
            self.at += 1;
        }
        self.line += 1;
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Result<Word, SyntaxError> {
        loop {
            match self.peek(0) {
                Some(b'\n' | b'\r') => self.newline(),
                Some(b' ' | b'\t' | 11 | 12) => self.at += 1,
                Some(b'-') if self.peek(1) == Some(b'-') => self.comment()?,
                _ => break,
            }
        }
        let begin = self.at;
        let token = self.token()?;
        Ok(Word { token, begin, end: self.at, line: self.line })
    }

    fn comment(&mut self) -> Result<(), SyntaxError> {
        self.at += 2;
        if self.peek(0) == Some(b'[')
            && let Some(level) = self.long_bracket()
        {
            return self.long_text(level, "unfinished long comment");
        }
        while !matches!(self.peek(0), None | Some(b'\n' | b'\r')) {
            self.at += 1;
        }
        Ok(())
    }

    /// The level of the long bracket that opens here; stands behind it then.
    fn long_bracket(&mut self) -> Option<usize> {
        let level = self.source.get(self.at + 1..)?.iter().take_while(|&&byte| byte == b'=').count();
        (self.peek(level + 1) == Some(b'[')).then(|| {
            self.at += level + 2;
            level
        })
    }

    fn long_text(&mut self, level: usize, unfinished: &str) -> Result<(), SyntaxError> {
        let is_comment = unfinished.ends_with("comment");
        loop {
            match self.peek(0) {
                None => return Err(self.error(unfinished, b"<eof>")),
                Some(b'\n' | b'\r') => self.newline(),
                Some(b']') => {
                    let rest = self.source.get(self.at + 1..).unwrap_or_default();
                    let closing = rest.iter().take_while(|&&byte| byte == b'=').count();
                    if closing == level && rest.get(closing) == Some(&b']') {
                        self.at += level + 2;
                        return Ok(());
                    }
                    self.at += 1;
                }
                Some(b'[') if level == 0 && !is_comment && self.peek(1) == Some(b'[') => {
                    return Err(self.error("nesting of [[...]] is deprecated", b"["));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn token(&mut self) -> Result<Token, SyntaxError> {
        let Some(byte) = self.peek(0) else { return Ok(Token::End) };
        let next = self.peek(1);
        let (token, length) = match byte {
            b'=' if next == Some(b'=') => (Token::Equal, 2),
            b'<' if next == Some(b'=') => (Token::LessOrEqual, 2),
            b'>' if next == Some(b'=') => (Token::GreaterOrEqual, 2),
            b'~' if next == Some(b'=') => (Token::NotEqual, 2),
            b'.' if next == Some(b'.') && self.peek(2) == Some(b'.') => (Token::Dots, 3),
            b'.' if next == Some(b'.') => (Token::Concat, 2),
            b'.' if next.is_some_and(|next| next.is_ascii_digit()) => return self.number(),
            b'0'..=b'9' => return self.number(),
            b'"' | b'\'' => return self.string(byte),
            b'[' => {
                let begin = self.at;
                if let Some(level) = self.long_bracket() {
                    self.long_text(level, "unfinished long string")?;
                    return Ok(Token::String);
                }
                if next == Some(b'=') {
                    self.at += 1;
                    while self.peek(0) == Some(b'=') {
                        self.at += 1;
                    }
                    return Err(self.error("invalid long string delimiter", self.text_from(begin)));
                }
                (Token::Char(b'['), 1)
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let rest = self.source.get(self.at..).unwrap_or_default();
                let length =
                    rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                let word = rest.get(..length).unwrap_or_default();
                let token = RESERVED.iter().position(|known| known.as_bytes() == word);
                (token.map_or(Token::Name, |at| Token::Reserved(at as u8)), length)
            }
            other => (Token::Char(other), 1),
        };
        self.at += length;
        Ok(token)
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let begin = self.at;
        while matches!(self.peek(0), Some(b'0'..=b'9' | b'.')) {
            self.at += 1;
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(0), Some(b'+' | b'-')) {
                self.at += 1;
            }
        }
        while self.peek(0).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        let text = self.text_from(begin);
        match parse_prefix(text) {
            Some((number, length)) if length == text.len() => {
                let plain =
                    text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
                if !plain {
                    // Hexadecimal, which Luau reads otherwise in places.
                    let text = format!("{number:e}").into_bytes();
                    self.edits.push(Edit { begin, end: self.at, text, rank: 0 });
                }
                Ok(Token::Number)
            }
            _ => Err(self.error("malformed number", text)),
        }
    }

    fn string(&mut self, quote: u8) -> Result<Token, SyntaxError> {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(self.error("unfinished string", b"<eof>")),
                Some(b'\n' | b'\r') => {
                    return Err(self.error("unfinished string", self.text_from(begin)));
                }
                Some(b'\\') => self.escape(begin)?,
                Some(byte) => {
                    self.at += 1;
                    if byte == quote {
                        return Ok(Token::String);
                    }
                }
            }
        }
    }

    fn escape(&mut self, begin: usize) -> Result<(), SyntaxError> {
        let backslash = self.at;
        self.at += 1;
        match self.peek(0) {
            // The end of the text is found in the next round.
            None => {}
            Some(b'\n' | b'\r') => self.newline(),
            Some(b'0'..=b'9') => {
                let mut value = 0_u32;
                let mut count = 0;
                while count < 3
                    && let Some(digit @ b'0'..=b'9') = self.peek(0)
                {
                    value = value * 10 + u32::from(digit - b'0');
                    self.at += 1;
                    count += 1;
                }
                if value > 255 {
                    let near = self.source.get(begin..backslash).unwrap_or_default();
                    return Err(self.error("escape sequence too large", near));
                }
            }
            Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' | b'"' | b'\'') => self.at += 1,
            Some(_) => {
                self.edits.push(Edit { begin: backslash, end: backslash + 1, text: Vec::new(), rank: 0 });
                self.at += 1;
            }
        }
        Ok(())
    }
}
