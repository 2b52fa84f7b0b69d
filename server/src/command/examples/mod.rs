//! Examples of commands, for the reference and for a test that runs them: each is what somebody would see who types it into `redis-cli -3`.
//!
//! A file for each family, of examples like this one:
//!
//! ```text
//! # CL.THROTTLE
//! = CL.THROTTLE key max-burst count period [quantity]
//! > CL.THROTTLE login:eve 2 3 60
//! 1) (integer) 0
//! …
//! ```
//!
//! A line that begins with `#` names the command, one with `=` says how it is written, one with `>` is a request, with redis-cli's quotes, and what follows up to the next of these or an
//! empty line is the reply; `…` stands for any that is no error. `<name>` is something that is never the same twice (a token, a time): in a reply it stands
//! for anything within its line, and for the same thing wherever the name is in the same example. Each example begins with an empty database.

/// The files.
const FILES: &[&str] = &[include_str!("chat.txt"), include_str!("session.txt"), include_str!("throttle.txt")];

/// What somebody would see.
#[derive(Clone, Debug)]
pub struct Example {
    /// The command's name, as in the reference.
    pub command: &'static str,
    /// How it is written, in one line or several.
    pub syntax: Vec<&'static str>,
    /// Requests and replies.
    pub text: &'static str,
}

/// All examples.
pub fn all() -> impl Iterator<Item = Example> {
    FILES.iter().flat_map(|file| {
        file.split("\n# ").filter_map(|example| {
            let (command, mut text) = example.trim_start_matches("# ").split_once('\n')?;
            let mut syntax = Vec::new();
            while let Some((line, after)) = text.strip_prefix("= ").and_then(|text| text.split_once('\n')) {
                syntax.push(line.trim());
                text = after;
            }
            Some(Example { command: command.trim(), syntax, text: text.trim() })
        })
    })
}

/// The examples of the command with this name.
pub fn of(command: &str) -> impl Iterator<Item = Example> {
    all().filter(move |example| example.command == command)
}
