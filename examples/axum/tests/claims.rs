//! The page for security engineers names tests; they exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where tests with a prefix are.
fn file_of(prefix: &str) -> Option<PathBuf> {
    let at = |path: String| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    Some(match prefix {
        "sessions" | "sessions_model" | "sessions_storage" | "sessions_threads" | "typed" => {
            at(format!("engine/tests/engine/{prefix}.rs"))
        }
        "rows" | "durability" | "secrecy" | "events" | "keyspace" | "locks" | "malformed" => {
            at(format!("server/tests/sessions/{prefix}.rs"))
        }
        "store" | "requests" => at(format!("tower/tests/{prefix}.rs")),
        "browser" | "claims" => at(format!("examples/axum/tests/{prefix}.rs")),
        "token" => at("engine/src/sessions/token.rs".into()),
        "codec" | "policy" => at(format!("engine/src/typed/{prefix}.rs")),
        _ => return None,
    })
}

#[expect(clippy::disallowed_methods, reason = "the test reads sources, not a database")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sessions.md"));
    let mut named = BTreeSet::new();
    for quoted in page.split('`').skip(1).step_by(2) {
        let Some((prefix, name)) = quoted.split_once("::") else { continue };
        let is_name = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !is_name(prefix) || !is_name(name) {
            continue;
        }
        let file = file_of(prefix).unwrap_or_else(|| panic!("where is {quoted}?"));
        let source = read(&file);
        let at = source.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("there is no {quoted}"));
        // A test, or a property.
        let before = source[..at].trim_end().trim_end_matches("async").trim_end();
        assert!(before.ends_with("#[test]") || before.ends_with("#[tokio::test]"), "{quoted} is no test");
        named.insert(quoted);
    }
    assert!(named.len() > 30, "{named:?}");
}
