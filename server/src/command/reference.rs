//! `docs/commands.md`, written from the table.

use super::examples;
use super::table::{Entry, table};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Where commands do otherwise than Redis's, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "`EXEC`",
        "Queued commands that look at the server rather than at keys (`INFO`, `CONFIG`, `MEMORY`, `PUBLISH`, …) run right after the \
         transaction, and their replies are put where they belong: while keys are held nothing else may look at the database.",
    ),
    (
        "`EXEC` with scripts",
        "Scripts hold the keys of the whole transaction, so they have 50 ms, and can't walk the keyspace, nor be queued beside `FLUSHALL`, \
         `FLUSHDB` or `SWAPDB`. Else the answer is `EXECABORT`, and nothing has happened.",
    ),
    (
        "`MULTI`",
        "What is queued and watched is bounded by `client-query-buffer-limit`: Redis lets a client queue as much as there is memory.",
    ),
    (
        "`SWAPDB`",
        "Every `WATCH` of a key in one of the two databases fails, also of a key that is in neither. A swap costs the same however many keys \
         are watched or there.",
    ),
    (
        "`CLIENT REPLY OFF` within `MULTI`",
        "Nothing of the reply to `EXEC` is sent; Redis sends what came before.",
    ),
];

/// The command reference, as Markdown.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         Written from the command table by `sessile commands --markdown`; a test fails when this page is stale.\n\
         Arity counts the command's name; negative means *at least*. Syntax, replies and errors are Redis's.\n\
         Examples are as `redis-cli -3` shows them, each begun with an empty database, and run by a test; `…` is a reply that is left out, `<name>` \
         something that is different each time.\n",
    );
    let mut groups: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in table().entries() {
        groups.entry(entry.command.group).or_default().push(entry);
    }
    for (group, entries) in &groups {
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
        entries.iter().for_each(|entry| show_examples(&mut text, entry));
    }
    text.push_str("\n## What differs from Redis\n\n| command | what, and why |\n| --- | --- |\n");
    for (command, what) in DIFFERENCES {
        let _ = writeln!(text, "| {command} | {what} |");
    }
    text
}

/// The examples of a command and of its subcommands.
fn show_examples(text: &mut String, entry: &Entry) {
    for example in examples::of(&shown(entry)) {
        let _ = write!(text, "\n### {}\n\n", example.command);
        example.syntax.iter().for_each(|line| {
            let _ = write!(text, "`{line}`\n\n");
        });
        let _ = write!(text, "```text\n{}\n```\n", example.text);
    }
    entry.subcommands.iter().for_each(|entry| show_examples(text, entry));
}

/// A command's name as it is written.
fn shown(entry: &Entry) -> String {
    entry.full_name.replace('|', " ").to_ascii_uppercase()
}

fn row(text: &mut String, entry: &Entry) {
    let command = entry.command;
    let name = shown(entry);
    let _ = writeln!(
        text,
        "| `{name}` | {} | {} | {} | {} |",
        command.summary.replace('|', "\\|"),
        command.arity,
        command.complexity.replace('|', "\\|"),
        command.since
    );
}
