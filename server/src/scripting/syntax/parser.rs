//! The grammar of Lua 5.1. Builds nothing: it says whether a text is a script, and what to change in it.

use super::lexer::{Lexer, Token, Word, reserved};
use super::{Edit, SyntaxError};

/// How deep statements and expressions may be nested, as in Lua 5.1.
const LEVELS_MAX: usize = 200;
/// Binds tighter than any two-operand operator but `^`.
const UNARY_PRIORITY: u8 = 8;
/// What the right operand of `..` must bind tighter than: so that it leans to the right.
const CONCAT_PRIORITIES: (u8, u8) = (5, 4);

const AND: Token = reserved("and");
const BREAK: Token = reserved("break");
const DO: Token = reserved("do");
const ELSE: Token = reserved("else");
const ELSEIF: Token = reserved("elseif");
const END: Token = reserved("end");
const FALSE: Token = reserved("false");
const FOR: Token = reserved("for");
const FUNCTION: Token = reserved("function");
const IF: Token = reserved("if");
const IN: Token = reserved("in");
const LOCAL: Token = reserved("local");
const NIL: Token = reserved("nil");
const NOT: Token = reserved("not");
const OR: Token = reserved("or");
const REPEAT: Token = reserved("repeat");
const RETURN: Token = reserved("return");
const THEN: Token = reserved("then");
const TRUE: Token = reserved("true");
const UNTIL: Token = reserved("until");
const WHILE: Token = reserved("while");

/// What an expression is, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A name or an element of a table: can be assigned to.
    Variable,
    Call,
    /// A string, or a concatenation: no number.
    Text,
    Other,
}

/// A function that is being read.
struct Function {
    /// Whether `...` may be used.
    vararg: bool,
    /// Loops that a `break` would leave.
    loops: usize,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    word: Word,
    ahead: Option<Word>,
    /// The line of the word before.
    last_line: usize,
    /// Where the word before ends.
    last_end: usize,
    levels: usize,
    functions: Vec<Function>,
    edits: Vec<Edit>,
    text_function: &'a str,
}

type Parsed<T = ()> = Result<T, SyntaxError>;

/// The changes that make a script of Lua 5.1 one of Luau.
pub(super) fn parse(source: &[u8], text_function: &str) -> Parsed<Vec<Edit>> {
    let mut lexer = Lexer::new(source);
    let word = lexer.next()?;
    let mut parser = Parser {
        lexer,
        word,
        ahead: None,
        last_line: 1,
        last_end: 0,
        levels: 0,
        functions: vec![Function { vararg: true, loops: 0 }],
        edits: Vec::new(),
        text_function,
    };
    parser.block()?;
    parser.check(Token::End)?;
    let mut edits = parser.edits;
    edits.append(&mut parser.lexer.edits);
    Ok(edits)
}

impl Parser<'_> {
    fn next(&mut self) -> Parsed {
        self.last_line = self.word.line;
        self.last_end = self.word.end;
        self.word = match self.ahead.take() {
            Some(word) => word,
            None => self.lexer.next()?,
        };
        Ok(())
    }

    fn look_ahead(&mut self) -> Parsed<Token> {
        let word = match self.ahead {
            Some(word) => word,
            None => self.lexer.next()?,
        };
        self.ahead = Some(word);
        Ok(word.token)
    }

    fn error<T>(&self, message: &str) -> Parsed<T> {
        let text = match self.word.token {
            Token::Name | Token::String | Token::Number => {
                let text = self.lexer.source.get(self.word.begin..self.word.end).unwrap_or_default();
                text.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
            }
            other => other.name(),
        };
        Err(SyntaxError {
            line: self.word.line,
            message: [message.as_bytes(), b" near '", &text, b"'"].concat(),
        })
    }

    fn is(&self, token: Token) -> bool {
        self.word.token == token
    }

    fn expected<T>(&self, token: Token) -> Parsed<T> {
        self.error(&format!("'{}' expected", String::from_utf8_lossy(&token.name())))
    }

    fn check(&self, token: Token) -> Parsed {
        if self.is(token) { Ok(()) } else { self.expected(token) }
    }

    fn take(&mut self, token: Token) -> Parsed {
        self.check(token)?;
        self.next()
    }

    fn take_if(&mut self, token: Token) -> Parsed<bool> {
        let is = self.is(token);
        if is {
            self.next()?;
        }
        Ok(is)
    }

    /// The word that closes what another one opened.
    fn close(&mut self, closing: Token, opening: Token, line: usize) -> Parsed {
        if self.is(closing) {
            return self.next();
        }
        if line == self.word.line {
            return self.expected(closing);
        }
        let (closing, opening) = (closing.name(), opening.name());
        self.error(&format!(
            "'{}' expected (to close '{}' at line {line})",
            String::from_utf8_lossy(&closing),
            String::from_utf8_lossy(&opening)
        ))
    }

    fn enter(&mut self) -> Parsed {
        self.levels += 1;
        if self.levels > LEVELS_MAX {
            return self.error("chunk has too many syntax levels");
        }
        Ok(())
    }

    fn ends_block(&self) -> bool {
        [ELSE, ELSEIF, END, UNTIL, Token::End].contains(&self.word.token)
    }

    fn block(&mut self) -> Parsed {
        self.enter()?;
        let mut last = false;
        while !last && !self.ends_block() {
            last = self.statement()?;
            self.take_if(Token::Char(b';'))?;
        }
        self.levels -= 1;
        Ok(())
    }

    /// The body of a loop.
    fn loop_block(&mut self) -> Parsed {
        self.loops(1);
        self.block()?;
        self.loops(-1);
        Ok(())
    }

    fn loops(&mut self, change: isize) {
        if let Some(function) = self.functions.last_mut() {
            function.loops = function.loops.saturating_add_signed(change);
        }
    }

    /// Reads a statement; whether it must be the last one of its block.
    fn statement(&mut self) -> Parsed<bool> {
        let line = self.word.line;
        match self.word.token {
            IF => self.if_statement(line)?,
            WHILE => {
                self.next()?;
                self.expression()?;
                self.take(DO)?;
                self.loop_block()?;
                self.close(END, WHILE, line)?;
            }
            DO => {
                self.next()?;
                self.block()?;
                self.close(END, DO, line)?;
            }
            FOR => self.for_statement(line)?,
            REPEAT => {
                self.next()?;
                self.loop_block()?;
                self.close(UNTIL, REPEAT, line)?;
                self.expression()?;
            }
            FUNCTION => {
                self.next()?;
                self.take(Token::Name)?;
                while self.is(Token::Char(b'.')) {
                    self.next()?;
                    self.take(Token::Name)?;
                }
                if self.take_if(Token::Char(b':'))? {
                    self.take(Token::Name)?;
                }
                self.body(line)?;
            }
            LOCAL => {
                self.next()?;
                if self.take_if(FUNCTION)? {
                    self.take(Token::Name)?;
                    self.body(self.word.line)?;
                } else {
                    self.local_statement()?;
                }
            }
            RETURN => {
                self.next()?;
                if !self.ends_block() && !self.is(Token::Char(b';')) {
                    self.expressions()?;
                }
                return Ok(true);
            }
            BREAK => {
                self.next()?;
                if self.functions.last().is_none_or(|function| function.loops == 0) {
                    return self.error("no loop to break");
                }
                return Ok(true);
            }
            _ => self.expression_statement()?,
        }
        Ok(false)
    }

    fn if_statement(&mut self, line: usize) -> Parsed {
        loop {
            self.next()?;
            self.expression()?;
            self.take(THEN)?;
            self.block()?;
            if !self.is(ELSEIF) {
                break;
            }
        }
        if self.take_if(ELSE)? {
            self.block()?;
        }
        self.close(END, IF, line)
    }

    fn for_statement(&mut self, line: usize) -> Parsed {
        self.next()?;
        self.take(Token::Name)?;
        match self.word.token {
            Token::Char(b'=') => {
                self.next()?;
                self.expression()?;
                self.take(Token::Char(b','))?;
                self.expression()?;
                if self.take_if(Token::Char(b','))? {
                    self.expression()?;
                }
            }
            Token::Char(b',') | IN => {
                while self.take_if(Token::Char(b','))? {
                    self.take(Token::Name)?;
                }
                self.take(IN)?;
                self.expressions()?;
            }
            _ => return self.error("'=' or 'in' expected"),
        }
        self.take(DO)?;
        self.loop_block()?;
        self.close(END, FOR, line)
    }

    fn local_statement(&mut self) -> Parsed {
        loop {
            self.take(Token::Name)?;
            if !self.take_if(Token::Char(b','))? {
                break;
            }
        }
        if self.take_if(Token::Char(b'='))? {
            self.expressions()?;
        }
        Ok(())
    }

    /// A call, or an assignment.
    fn expression_statement(&mut self) -> Parsed {
        let mut shape = self.primary()?;
        if shape == Shape::Call {
            return Ok(());
        }
        loop {
            if shape != Shape::Variable {
                return self.error("syntax error");
            }
            if !self.take_if(Token::Char(b','))? {
                break;
            }
            shape = self.primary()?;
        }
        self.take(Token::Char(b'='))?;
        self.expressions()
    }

    /// Parameters and statements of a function.
    fn body(&mut self, line: usize) -> Parsed {
        let mut function = Function { vararg: false, loops: 0 };
        self.take(Token::Char(b'('))?;
        if !self.is(Token::Char(b')')) {
            loop {
                match self.word.token {
                    Token::Name => self.next()?,
                    Token::Dots => {
                        self.next()?;
                        function.vararg = true;
                    }
                    _ => return self.error("<name> or '...' expected"),
                }
                if function.vararg || !self.take_if(Token::Char(b','))? {
                    break;
                }
            }
        }
        self.take(Token::Char(b')'))?;
        self.functions.push(function);
        self.block()?;
        self.functions.pop();
        self.close(END, FUNCTION, line)
    }

    fn expressions(&mut self) -> Parsed {
        self.expression()?;
        while self.take_if(Token::Char(b','))? {
            self.expression()?;
        }
        Ok(())
    }

    fn expression(&mut self) -> Parsed {
        self.operation(0).map(drop)
    }

    /// Operands and operators that bind tighter than `limit`.
    fn operation(&mut self, limit: u8) -> Parsed<Shape> {
        self.enter()?;
        let begin = self.word.begin;
        let mut shape = match self.word.token {
            NOT | Token::Char(b'-' | b'#') => {
                self.next()?;
                self.operation(UNARY_PRIORITY)?;
                Shape::Other
            }
            _ => self.simple()?,
        };
        while let Some((left, right)) = priorities(self.word.token)
            && left > limit
        {
            let is_concat = self.is(Token::Concat);
            if is_concat {
                self.wrap(shape, begin, self.last_end);
            }
            self.next()?;
            let right_begin = self.word.begin;
            let right_shape = self.operation(right)?;
            shape = Shape::Other;
            if is_concat {
                self.wrap(right_shape, right_begin, self.last_end);
                shape = Shape::Text;
            }
        }
        self.levels -= 1;
        Ok(shape)
    }

    /// Has an operand of `..` made into text, if it may be a number.
    fn wrap(&mut self, shape: Shape, begin: usize, end: usize) {
        if shape == Shape::Text {
            return;
        }
        let open = format!("{}(", self.text_function).into_bytes();
        // An operand that begins where one inside of it does opens first, and closes last.
        let rank = self.edits.len() as i64;
        self.edits.push(Edit { begin, end: begin, text: open, rank: -rank });
        self.edits.push(Edit { begin: end, end, text: b")".to_vec(), rank });
    }

    fn simple(&mut self) -> Parsed<Shape> {
        let shape = match self.word.token {
            Token::Number | NIL | TRUE | FALSE => Shape::Other,
            Token::String => Shape::Text,
            Token::Dots => {
                if self.functions.last().is_none_or(|function| !function.vararg) {
                    return self.error("cannot use '...' outside a vararg function");
                }
                Shape::Other
            }
            Token::Char(b'{') => {
                self.constructor()?;
                return Ok(Shape::Other);
            }
            FUNCTION => {
                let line = self.word.line;
                self.next()?;
                self.body(line)?;
                return Ok(Shape::Other);
            }
            _ => return self.primary(),
        };
        self.next()?;
        Ok(shape)
    }

    fn primary(&mut self) -> Parsed<Shape> {
        let mut shape = match self.word.token {
            Token::Name => {
                self.next()?;
                Shape::Variable
            }
            Token::Char(b'(') => {
                let line = self.word.line;
                self.next()?;
                self.expression()?;
                self.close(Token::Char(b')'), Token::Char(b'('), line)?;
                Shape::Other
            }
            _ => return self.error("unexpected symbol"),
        };
        loop {
            match self.word.token {
                Token::Char(b'.') => {
                    self.next()?;
                    self.take(Token::Name)?;
                    shape = Shape::Variable;
                }
                Token::Char(b'[') => {
                    self.index()?;
                    shape = Shape::Variable;
                }
                Token::Char(b':') => {
                    self.next()?;
                    self.take(Token::Name)?;
                    self.arguments()?;
                    shape = Shape::Call;
                }
                Token::Char(b'(' | b'{') | Token::String => {
                    self.arguments()?;
                    shape = Shape::Call;
                }
                _ => return Ok(shape),
            }
        }
    }

    fn index(&mut self) -> Parsed {
        self.next()?;
        self.expression()?;
        self.take(Token::Char(b']'))
    }

    fn arguments(&mut self) -> Parsed {
        let line = self.word.line;
        match self.word.token {
            Token::Char(b'(') => {
                if line != self.last_line {
                    return self.error("ambiguous syntax (function call x new statement)");
                }
                self.next()?;
                if !self.is(Token::Char(b')')) {
                    self.expressions()?;
                }
                self.close(Token::Char(b')'), Token::Char(b'('), line)
            }
            Token::Char(b'{') => self.constructor(),
            Token::String => self.next(),
            _ => self.error("function arguments expected"),
        }
    }

    fn constructor(&mut self) -> Parsed {
        let line = self.word.line;
        self.take(Token::Char(b'{'))?;
        while !self.is(Token::Char(b'}')) {
            let is_named = self.is(Token::Name) && self.look_ahead()? == Token::Char(b'=');
            match self.word.token {
                Token::Name if is_named => {
                    self.next()?;
                    self.next()?;
                    self.expression()?;
                }
                Token::Char(b'[') => {
                    self.index()?;
                    self.take(Token::Char(b'='))?;
                    self.expression()?;
                }
                _ => self.expression()?,
            }
            if !self.take_if(Token::Char(b','))? && !self.take_if(Token::Char(b';'))? {
                break;
            }
        }
        self.close(Token::Char(b'}'), Token::Char(b'{'), line)
    }
}

/// How tightly a two-operand operator binds to the left and to the right; `None` if the token is none.
fn priorities(token: Token) -> Option<(u8, u8)> {
    Some(match token {
        OR => (1, 1),
        AND => (2, 2),
        Token::NotEqual
        | Token::Equal
        | Token::LessOrEqual
        | Token::GreaterOrEqual
        | Token::Char(b'<' | b'>') => (3, 3),
        Token::Concat => CONCAT_PRIORITIES,
        Token::Char(b'+' | b'-') => (6, 6),
        Token::Char(b'*' | b'/' | b'%') => (7, 7),
        Token::Char(b'^') => (10, 9),
        _ => return None,
    })
}
