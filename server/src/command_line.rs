//! The command line: `sessile serve`, and what explains it. Everything about directives comes from their table.

use crate::config::{Config, ConfigError, DIRECTIVES, Directive, Kind, Role, parse_file};
use crate::inspect::{self, Verdict};
use lexopt::Arg;
use sessile_wal::{Clock, RealFs, SystemClock};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// The exit code if the arguments make no sense.
const USAGE_CODE: u8 = 2;

const USAGE: &str = "\
Sessile, a session database that speaks the Redis protocol.

Usage:
  sessile serve [--config FILE] [--NAME VALUE ...]   serve; NAME is a directive of redis.conf
  sessile help serve                                 what the directives are
  sessile check DIR [--repair NEW_DIR]               verify a data directory that no server has open
  sessile stats DIR                                  what is in it: segments, index, log
  sessile commands --markdown                        the command reference
  sessile --version
  sessile --help

Exit codes: 0 if all went well, 1 if something failed or is damaged, 2 if the arguments make no sense.
";

const CHECK_HELP: &str = "\
Usage: sessile check DIR [--repair NEW_DIR]

Reads every byte that a start from the data directory DIR would believe, now or later: manifest, dictionaries, every record
of every segment, every entry of the index and that it leads to a record of its key, every batch of the log. Changes nothing.
Says of each file what was found, with the offset of every damaged place. No server may have the directory open.

With --repair it saves what can be saved into NEW_DIR, which must be empty or not there: every key whose newest record can be
read, and what the log says of them. It lists what could not be saved. DIR is not changed; start from NEW_DIR when you have
seen what is missing. Where the index is damaged, a key can come back that was deleted since its record was written: the
report counts those it can't vouch for.

Exit codes: 0 sound, or all saved; 1 damaged, or something could not be saved; 2 the arguments make no sense.
";

const STATS_HELP: &str = "\
Usage: sessile stats DIR

Says what the data directory DIR holds as of its last checkpoint: segments by when they die, with what is live and dead in
them, how far each dictionary compresses, the index files, the log. It reads the index, not the data. Changes nothing. No
server may have the directory open.
";

/// What the arguments ask for.
#[derive(Debug)]
pub enum Request {
    /// Serve with this configuration, read from this file if any.
    Serve(Box<Config>, Option<String>),
    /// Verify the data directory.
    Check(PathBuf),
    /// Save what can be saved of the data directory into another one.
    Repair(PathBuf, PathBuf),
    /// Say what is in the data directory.
    Stats(PathBuf),
    /// Print this.
    Print(String),
}

/// Why the arguments make no sense.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Not understood.
    #[error("{0}")]
    Arguments(String),
    /// A directive.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> UsageError {
        UsageError::Arguments(error.to_string())
    }
}

/// The program: does what the process's arguments ask for.
#[expect(
    clippy::disallowed_methods,
    reason = "a configuration file is read once, before there is a database to simulate"
)]
pub fn main() -> ExitCode {
    let failed = |error: &dyn std::fmt::Display| {
        eprintln!("sessile: {error}");
        ExitCode::FAILURE
    };
    let verdict = |outcome| match outcome {
        Ok(Verdict::Sound) => ExitCode::SUCCESS,
        Ok(Verdict::Damaged) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    };
    match parse(std::env::args_os().skip(1), &mut |path| std::fs::read_to_string(path)) {
        Ok(Request::Print(text)) => {
            use std::io::Write as _;
            // Whoever reads it may have had enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Request::Serve(config, file)) => {
            let json = config.get("log-format") == "json";
            match crate::serve::serve(*config, file) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    if json {
                        // What collects the log must learn why it ends.
                        tracing::error!("{error}");
                    }
                    failed(&error)
                }
            }
        }
        Ok(Request::Check(dir)) => {
            verdict(inspect::check(Arc::new(RealFs), &dir, &mut std::io::stdout().lock()))
        }
        Ok(Request::Repair(dir, into)) => {
            let (fs, clock) = (Arc::new(RealFs), Arc::new(SystemClock));
            verdict(inspect::repair(fs, clock, &dir, &into, &mut std::io::stdout().lock()))
        }
        Ok(Request::Stats(dir)) => {
            let now_ms = SystemClock.wall_ms();
            match inspect::stats(Arc::new(RealFs), &dir, now_ms, &mut std::io::stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error),
            }
        }
        Err(error @ UsageError::Arguments(_)) => {
            eprintln!("sessile: {error}; see sessile --help");
            ExitCode::from(USAGE_CODE)
        }
        Err(error) => failed(&error),
    }
}

/// Understands the arguments (without the program's name); `read` reads a file.
///
/// # Errors
///
/// What is not understood.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    read: &mut dyn FnMut(&str) -> std::io::Result<String>,
) -> Result<Request, UsageError> {
    let mut parser = lexopt::Parser::from_args(args);
    let command = match parser.next()? {
        None | Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Request::Print(USAGE.to_owned())),
        Some(Arg::Short('V') | Arg::Long("version")) => {
            return Ok(Request::Print(format!("sessile {}\n", env!("CARGO_PKG_VERSION"))));
        }
        Some(Arg::Value(command)) => command.to_string_lossy().into_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "serve" => parse_serve(&mut parser, read),
        "check" => parse_directory(&mut parser, "check", CHECK_HELP, |dir, into| match into {
            Some(into) => Request::Repair(dir, into),
            None => Request::Check(dir),
        }),
        "stats" => parse_directory(&mut parser, "stats", STATS_HELP, |dir, _| Request::Stats(dir)),
        "help" => match parser.next()? {
            Some(Arg::Value(topic)) if topic == "check" => Ok(Request::Print(CHECK_HELP.to_owned())),
            Some(Arg::Value(topic)) if topic == "stats" => Ok(Request::Print(STATS_HELP.to_owned())),
            Some(Arg::Value(topic)) if topic == "serve" => Ok(Request::Print(serve_help())),
            None => Ok(Request::Print(USAGE.to_owned())),
            Some(other) => Err(other.unexpected().into()),
        },
        "commands" => match parser.next()? {
            Some(Arg::Long("markdown")) => Ok(Request::Print(crate::command::reference::markdown())),
            None => Err(UsageError::Arguments("commands needs --markdown".to_owned())),
            Some(other) => Err(other.unexpected().into()),
        },
        other => Err(UsageError::Arguments(format!("no command '{other}'"))),
    }
}

/// Of a command that takes one directory, and `check` another one to repair into.
fn parse_directory(
    parser: &mut lexopt::Parser,
    command: &str,
    help: &str,
    request: impl FnOnce(PathBuf, Option<PathBuf>) -> Request,
) -> Result<Request, UsageError> {
    let (mut dir, mut into) = (None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Request::Print(help.to_owned())),
            Arg::Long("repair") if command == "check" && into.is_none() => {
                into = Some(PathBuf::from(parser.value()?));
            }
            Arg::Value(value) if dir.is_none() => dir = Some(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    match dir {
        Some(dir) => Ok(request(dir, into)),
        None => Err(UsageError::Arguments(format!("{command} needs a data directory"))),
    }
}

fn parse_serve(
    parser: &mut lexopt::Parser,
    read: &mut dyn FnMut(&str) -> std::io::Result<String>,
) -> Result<Request, UsageError> {
    let mut file = None;
    let mut given: Vec<(String, Vec<String>)> = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Request::Print(serve_help())),
            Arg::Long("config") => file = Some(parser.value()?.to_string_lossy().into_owned()),
            Arg::Long(name) => {
                let name = name.to_owned();
                // Everything up to the next option, as redis-server takes it: `--save 900 1`, `--bind 127.0.0.1 ::1`.
                let mut words = Vec::new();
                match parser.optional_value() {
                    Some(word) => words.push(word.to_string_lossy().into_owned()),
                    None => {
                        if let Some(mut raw) = parser.try_raw_args() {
                            while let Some(word) =
                                raw.next_if(|word| !word.to_string_lossy().starts_with("--"))
                            {
                                words.push(word.to_string_lossy().into_owned());
                            }
                        }
                    }
                }
                given.push((name, words));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut config = Config::default();
    if let Some(path) = &file {
        parse_file(&mut config, path, read)?;
    }
    for (name, words) in &given {
        // One argument may hold several words, as in `--save "900 1"`.
        let words: Vec<&str> =
            match crate::config::find(name).map(|index| DIRECTIVES[index].kind.takes_words()) {
                Some(true) => words.iter().flat_map(|word| word.split_ascii_whitespace()).collect(),
                _ => words.iter().map(String::as_str).collect(),
            };
        config.set(name, &words)?;
    }
    Ok(Request::Serve(Box::new(config), file))
}

fn serve_help() -> String {
    let mut text = String::from(
        "Usage: sessile serve [--config FILE] [--NAME VALUE ...]\n\n\
         FILE is in the form of redis.conf; arguments win over it. Directives:\n\n",
    );
    let rows = |text: &mut String, role: Role| {
        for directive in DIRECTIVES.iter().filter(|directive| directive.role == role) {
            let default = if directive.default.is_empty() { "\"\"" } else { directive.default };
            // Writing into a String can't fail.
            let _ = writeln!(
                text,
                "  --{} {}\n      {} (default {default})",
                directive.name,
                placeholder(directive),
                directive.summary
            );
        }
    };
    rows(&mut text, Role::Used);
    text.push_str("\nAccepted and reported, without effect:\n\n");
    rows(&mut text, Role::Ignored);
    text
}

fn placeholder(directive: &Directive) -> String {
    match directive.kind {
        Kind::Flag => "yes|no".to_owned(),
        Kind::Integer { .. } => "NUMBER".to_owned(),
        Kind::Bytes { .. } => "BYTES".to_owned(),
        Kind::Octal => "MODE".to_owned(),
        Kind::Choice(choices) => choices.join("|"),
        Kind::Text | Kind::EventClasses => "TEXT".to_owned(),
        Kind::Percentiles => "PERCENT ...".to_owned(),
        Kind::Words => "WORD ...".to_owned(),
        Kind::SavePoints => "SECONDS CHANGES ...".to_owned(),
        Kind::OutputLimits => "CLASS HARD SOFT SECONDS ...".to_owned(),
    }
}
