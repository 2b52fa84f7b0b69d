//! `docs/commands.md`, written from the table.

use super::table::{Entry, table};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The command reference, as Markdown.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         Written from the command table by `sessile commands --markdown`; a test fails when this page is stale.\n\
         Arity counts the command's name; negative means *at least*. Syntax, replies and errors are Redis's.\n",
    );
    let mut groups: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in table().entries() {
        groups.entry(entry.command.group).or_default().push(entry);
    }
    for (group, entries) in groups {
        // Writing into a String can't fail.
        let _ = write!(
            text,
            "\n## {group}\n\n| command | what it does | arity | cost | since |\n| --- | --- | --- | --- | --- |\n"
        );
        for entry in entries {
            if !entry.is_container() {
                row(&mut text, entry);
            }
            entry.subcommands.iter().for_each(|entry| row(&mut text, entry));
        }
    }
    text
}

fn row(text: &mut String, entry: &Entry) {
    let command = entry.command;
    let name = entry.full_name.replace('|', " ").to_ascii_uppercase();
    let _ = writeln!(
        text,
        "| `{name}` | {} | {} | {} | {} |",
        command.summary.replace('|', "\\|"),
        command.arity,
        command.complexity.replace('|', "\\|"),
        command.since
    );
}
