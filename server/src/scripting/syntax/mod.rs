//! Scripts are Lua 5.1; what compiles them is Luau, which is nearly a superset. This stands between: it takes what Lua 5.1 takes and refuses the
//! rest in Lua 5.1's words, and changes the text where the same text means something else in Luau:
//!
//! - `a .. b` prints numbers with all their digits in Luau and with 14 in Lua 5.1: operands that may be numbers are wrapped in a function;
//! - `"\x41"` is an escape in Luau; in Lua 5.1 an unknown escape stands for its letter.
//!
//! Lines stay where they are, so that errors name the right one. The nesting of a script is bounded here, for the recursion behind it as well.

mod lexer;
mod parser;

/// A change of the text: between two places, this instead.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    begin: usize,
    end: usize,
    text: Vec<u8>,
    /// Which of several at one place comes first: the least.
    rank: i64,
}

/// A place in a script and what is wrong there, as Lua 5.1 says it: `message near 'token'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The line, from 1.
    pub(super) line: usize,
    /// The message.
    pub(super) message: Vec<u8>,
}

/// The text for Luau. `text_function` is the name of a global there that makes numbers into text; no script can know it.
pub(super) fn translate(source: &[u8], text_function: &str) -> Result<Vec<u8>, SyntaxError> {
    let mut edits = parser::parse(source, text_function)?;
    edits.sort_by_key(|edit| (edit.begin, edit.rank));
    let mut out = Vec::with_capacity(source.len() + 64);
    if edits.iter().any(|edit| edit.text.starts_with(text_function.as_bytes())) {
        out.extend_from_slice(format!("local {text_function}={text_function};").as_bytes());
    }
    let mut at = 0;
    for edit in &edits {
        out.extend_from_slice(source.get(at..edit.begin).unwrap_or_default());
        out.extend_from_slice(&edit.text);
        at = edit.end.max(at);
    }
    out.extend_from_slice(source.get(at..).unwrap_or_default());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(source: &str) -> String {
        String::from_utf8(translate(source.as_bytes(), "T").unwrap()).unwrap()
    }

    fn error(source: &str) -> String {
        let error = translate(source.as_bytes(), "T").unwrap_err();
        format!("{}: {}", error.line, String::from_utf8_lossy(&error.message))
    }

    #[test]
    fn operands_that_may_be_numbers_are_wrapped() {
        assert_eq!(translated("return 'a' .. 'b'"), "return 'a' .. 'b'");
        assert_eq!(translated("return 'a' .. b"), "local T=T;return 'a' .. T(b)");
        assert_eq!(translated("return a+1 .. b(c)[d]"), "local T=T;return T(a+1) .. T(b(c)[d])");
        assert_eq!(translated("return a .. b .. c"), "local T=T;return T(a) .. T(b) .. T(c)");
        assert_eq!(translated("return (a .. b) .. c"), "local T=T;return T((T(a) .. T(b))) .. T(c)");
        assert_eq!(translated("return -a .. 1 == b"), "local T=T;return T(-a) .. T(1) == b");
    }

    #[test]
    fn unknown_escapes_stand_for_their_letters() {
        assert_eq!(translated(r#"return "\x41\z\u\n\065""#), r#"return "x41zu\n\065""#);
    }

    #[test]
    fn what_only_luau_has_is_refused_in_the_words_of_lua() {
        for (source, expected) in [
            ("return 1 +", "1: unexpected symbol near '<eof>'"),
            ("foo", "1: '=' expected near '<eof>'"),
            ("x += 1", "1: '=' expected near '+'"),
            ("return `a`", "1: unexpected symbol near '`'"),
            ("continue", "1: '=' expected near '<eof>'"),
            ("break", "1: no loop to break near '<eof>'"),
            ("if x then\ny()", "2: 'end' expected (to close 'if' at line 1) near '<eof>'"),
            ("return 'a", "1: unfinished string near '<eof>'"),
            ("return 'a\n'", "1: unfinished string near ''a'"),
            ("return 3..2", "1: malformed number near '3..2'"),
            ("f\n()", "2: ambiguous syntax (function call x new statement) near '('"),
            ("local a: number = 1", "1: unexpected symbol near ':'"),
            ("(a) = 1", "1: syntax error near '='"),
        ] {
            assert_eq!(error(source), expected, "{source}");
        }
        let deep = format!("return {}1{}", "(".repeat(300), ")".repeat(300));
        assert!(error(&deep).starts_with("1: chunk has too many syntax levels"));
    }
}
