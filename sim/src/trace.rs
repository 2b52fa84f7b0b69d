//! What happened, line by line, kept for whoever asks: the `--trace` of the binary, and tests that compare two runs of one seed.

use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Keeps what this thread tells from now on.
pub fn begin() {
    LINES.set(Some(Vec::new()));
}

/// What was told since; nothing is kept any more.
pub fn end() -> Vec<String> {
    LINES.take().unwrap_or_default()
}

/// Whether anybody asks.
pub fn is_on() -> bool {
    LINES.with_borrow(Option::is_some)
}

/// Tells something.
pub fn line(text: &str) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(text.to_owned());
        }
    });
}
