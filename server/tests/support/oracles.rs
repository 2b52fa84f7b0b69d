//! Programs that a test needs but a user's machine may lack: Redis's own tools, Node, Python and their packages.
//! Absent, the test is skipped with a clear word; with `SESSILE_REQUIRE_ORACLES=1`, as in CI, it fails instead.

use std::path::{Path, PathBuf};

/// The program's path, or `None` after saying that `test` is skipped.
pub(crate) fn program(test: &str, name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file());
    found.or_else(|| skip(test, &format!("no `{name}` on the PATH")))
}

/// `path` if it exists, or `None` after saying that `test` is skipped and what would have made it.
pub(crate) fn prepared(test: &str, path: &Path, made_by: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path.to_owned());
    }
    skip(test, &format!("{} is absent; `{made_by}` makes it", path.display()))
}

/// `None`, after saying that `test` is skipped and why.
pub(crate) fn skip<T>(test: &str, why: &str) -> Option<T> {
    let required = std::env::var("SESSILE_REQUIRE_ORACLES").is_ok_and(|value| value == "1");
    assert!(!required, "{test}: {why}, and SESSILE_REQUIRE_ORACLES=1 forbids skipping");
    // Written past the harness's capture, so that a plain `cargo test` shows it.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("SKIPPED {test}: {why}\n").as_bytes());
    None
}
