//! The examples of the command reference are what a server answers, and every command that Redis does not have has one.

#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod support;

use sessile_server::command::examples::{self, Example};
use sessile_server::command::table::{Entry, table};
use std::collections::BTreeMap;
use support::{Client, Server, ServerOptions, Value};

/// What stands for any reply.
const LEFT_OUT: &str = "…";

/// A text in quotes, as redis-cli shows it.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x20..0x7F => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text + "\""
}

/// A reply as `redis-cli -3` shows it, without spaces at the ends of lines.
fn shown(reply: &Value, prefix: &str) -> String {
    match reply {
        Value::Simple(text) => text.clone(),
        Value::Error(text) => format!("(error) {text}"),
        Value::Integer(number) => format!("(integer) {number}"),
        Value::Bulk(bytes) => quoted(bytes),
        Value::Verbatim(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Null => "(nil)".into(),
        Value::Double(text) => format!("(double) {text}"),
        Value::Boolean(value) => format!("({value})"),
        Value::BigNumber(digits) => digits.clone(),
        Value::Array(items) if items.is_empty() => "(empty array)".into(),
        Value::Set(items) if items.is_empty() => "(empty set)".into(),
        Value::Push(items) if items.is_empty() => "(empty push)".into(),
        Value::Map(pairs) if pairs.is_empty() => "(empty hash)".into(),
        Value::Array(items) | Value::Push(items) => {
            listed(items.len(), ')', prefix, |at, inner| shown(&items[at], inner))
        }
        Value::Set(items) => listed(items.len(), '~', prefix, |at, inner| shown(&items[at], inner)),
        Value::Map(pairs) => listed(pairs.len(), '#', prefix, |at, inner| {
            let (key, value) = &pairs[at];
            let breaks = match value {
                Value::Array(items) | Value::Push(items) | Value::Set(items) => !items.is_empty(),
                Value::Map(pairs) => !pairs.is_empty(),
                _ => false,
            };
            let between = if breaks { format!("\n{inner}") } else { " ".into() };
            format!("{} =>{between}{}", shown(key, inner), shown(value, inner))
        }),
    }
}

fn listed(count: usize, separator: char, prefix: &str, show: impl Fn(usize, &str) -> String) -> String {
    let width = count.to_string().len();
    let inner = format!("{prefix}{:1$}", "", width + 2);
    let lines: Vec<String> =
        (0..count).map(|at| format!("{:>width$}{separator} {}", at + 1, show(at, &inner))).collect();
    lines.join(&format!("\n{prefix}"))
}

/// The arguments of a request: words, or texts in quotes.
fn arguments(request: &str) -> Vec<String> {
    let (mut all, mut rest) = (Vec::new(), request.trim());
    while !rest.is_empty() {
        let mut argument = String::new();
        if let Some(text) = rest.strip_prefix('"') {
            let mut characters = text.char_indices();
            let end = loop {
                match characters.next().unwrap_or_else(|| panic!("{request}: a quote is missing")) {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next() {
                        Some((_, 'n')) => argument.push('\n'),
                        Some((_, other)) => argument.push(other),
                        None => {}
                    },
                    (_, other) => argument.push(other),
                }
            };
            rest = &text[end + 1..];
        } else {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            argument.push_str(word);
            rest = after;
        }
        all.push(argument);
        rest = rest.trim_start();
    }
    all
}

/// Texts that placeholders stand for.
type Bound = BTreeMap<String, String>;

/// The next placeholder of a text: what comes before it, its name, and what comes after.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let mut from = 0;
    while let Some(open) = text[from..].find('<').map(|at| at + from) {
        let close = text[open..].find('>').map(|at| at + open)?;
        let name = &text[open + 1..close];
        if is_name(name) {
            return Some((&text[..open], name, &text[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// The text with what is bound in the place of placeholders.
fn filled(text: &str, bound: &Bound) -> String {
    bound.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("<{name}>"), value))
}

/// Whether a line is as it is expected, and what its placeholders stand for then.
fn matches(expected: &str, line: &str, bound: &mut Bound) -> bool {
    let expected = filled(expected, bound);
    let Some((before, name, after)) = placeholder(&expected) else { return expected == line };
    let Some(rest) = line.strip_prefix(before) else { return false };
    let literal = placeholder(after).map_or(after, |next| next.0);
    let length = if literal.is_empty() && after.is_empty() { Some(rest.len()) } else { rest.find(literal) };
    let Some(length) = length.filter(|&length| length > 0) else { return false };
    bound.insert(name.to_owned(), rest[..length].to_owned());
    matches(after, &rest[length..], bound)
}

/// Requests of an example with their replies.
fn exchanges(example: &Example) -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for line in example.text.lines() {
        match (line.strip_prefix("> "), all.last_mut()) {
            (Some(request), _) => all.push((request, String::new())),
            (None, None) => panic!("{}: a reply before any request", example.command),
            (None, Some((_, reply))) => {
                if !reply.is_empty() {
                    reply.push('\n');
                }
                reply.push_str(line.trim_end());
            }
        }
    }
    all
}

fn run(example: &Example, client: &mut Client) {
    let mut bound = Bound::new();
    for (request, expected) in exchanges(example) {
        let reply = client.call(&arguments(&filled(request, &bound))).expect("a reply");
        let shown = shown(&reply, "");
        let about = || {
            format!(
                "the example of {}, {request}\nexpected:\n{expected}\n\nanswered:\n{shown}",
                example.command
            )
        };
        if expected == LEFT_OUT {
            assert!(!matches!(reply, Value::Error(_)), "{}", about());
            continue;
        }
        assert_eq!(shown.lines().count(), expected.lines().count(), "{}", about());
        let fits =
            shown.lines().zip(expected.lines()).all(|(line, expected)| matches(expected, line, &mut bound));
        assert!(fits, "{}", about());
    }
}

#[test]
fn examples_are_what_a_server_answers() {
    let mut run_so_far = 0;
    for example in examples::all() {
        let server = Server::start(ServerOptions::new("everysec"));
        let mut client = server.client();
        client.command("HELLO 3");
        run(&example, &mut client);
        run_so_far += 1;
    }
    assert!(run_so_far >= 6, "only {run_so_far} examples were found");
}

/// Every command, subcommands too.
fn commands(entries: &[Entry]) -> Vec<&Entry> {
    entries.iter().flat_map(|entry| std::iter::once(entry).chain(&entry.subcommands)).collect()
}

#[test]
fn every_command_that_redis_does_not_have_has_an_example() {
    let all = commands(table().entries());
    let names: Vec<String> =
        all.iter().map(|entry| entry.full_name.replace('|', " ").to_ascii_uppercase()).collect();
    for example in examples::all() {
        assert!(names.iter().any(|name| name == example.command), "{}: no such command", example.command);
        let is_shown = exchanges(&example).iter().any(|(request, _)| request.starts_with(example.command));
        assert!(is_shown, "the example of {} does without it", example.command);
        let is_told =
            !example.syntax.is_empty() && example.syntax.iter().all(|line| line.starts_with(example.command));
        assert!(is_told, "how {} is written is not said", example.command);
    }
    for (entry, name) in all.iter().zip(&names) {
        let is_own = entry.command.since.starts_with("sessile") && !entry.is_container();
        assert!(!is_own || examples::of(name).next().is_some(), "{name} has no example");
    }
}

#[test]
fn placeholders_stand_for_the_same_thing_everywhere() {
    let mut bound = Bound::new();
    assert!(matches("1# \"token\" => \"<token>\"", "1# \"token\" => \"a-b\"", &mut bound));
    assert!(matches("2# \"at\" => (integer) <at>", "2# \"at\" => (integer) 12", &mut bound));
    assert!(matches("\"<token>\" <at> <other>.", "\"a-b\" 12 x.", &mut bound));
    assert!(!matches("\"<token>\"", "\"a-c\"", &mut bound));
    assert!(!matches("<new>", "", &mut bound));
    assert!(!matches("a <newer>", "b c", &mut bound));
    assert_eq!(filled("GET <token> <nothing>", &bound), "GET a-b <nothing>");
    assert_eq!(arguments(r#"A "b c" d "" "e\"f\n""#), ["A", "b c", "d", "", "e\"f\n"]);
}
