//! `docs/commands.md` is what the command table says. `SESSILE_UPDATE_DOCS=1` writes it.
#![expect(clippy::disallowed_methods, reason = "a test of a file in the repository")]

#[test]
fn the_command_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");
    let expected = sessile_server::command::reference::markdown();
    if std::env::var_os("SESSILE_UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).expect("write docs/commands.md");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/commands.md is stale: run `cargo run -- commands --markdown > docs/commands.md`"
    );
}
