//! One damaged directory: does the server refuse it and say why, or serve it and say what is missing; what does a check say; and what does a repair
//! save.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::damage::Damage;
use crate::loaded::{
    Files, Id, Loaded, Read, Seen, files_of, kind_of, libraries, read_keys, scan, write_files,
};
use crate::support::process::free_port;
use crate::support::{Client, ServerOptions};

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The start is refused, with a reason that names the file.
    Refused,
    /// Served, and nothing is missing.
    Harmless,
    /// Served, and so many keys answer that their value is damaged.
    Reported(usize),
}

/// What a repair came to: keys that are as they were, and keys that are not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Repaired {
    pub(crate) complete: bool,
    pub(crate) as_they_were: usize,
    pub(crate) otherwise: usize,
}

/// What came of a case, and what was wrong with it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    pub(crate) repaired: Repaired,
    /// Violations: of which the first words are `wrong`, `silent`, or something else.
    pub(crate) faults: Vec<String>,
    /// What the server said when it refused.
    pub(crate) said: String,
}

/// A server on a directory that may be refused.
struct Trial {
    child: std::process::Child,
    port: u16,
    output: PathBuf,
}

enum Started {
    Serves(Trial, Client),
    Refuses(String),
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const START_TIMEOUT: Duration = Duration::from_secs(60);

fn start(directory: &Path, output: &Path) -> Started {
    for _ in 0..5 {
        let port = free_port();
        let mut command = ServerOptions::new("everysec").with("io-threads", "1").command(port, directory);
        let file = File::create(output).expect("a file for its output");
        command.stdin(Stdio::null()).stderr(file.try_clone().expect("a second handle")).stdout(file);
        let mut trial = Trial { child: command.spawn().expect("starts"), port, output: output.into() };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = trial.child.try_wait().expect("wait") {
                let said = trial.said();
                if said.contains("Address already in use") {
                    break;
                }
                assert_eq!(status.code(), Some(1), "a refused start ends with {status}: {said}");
                return Started::Refuses(said);
            }
            if let Ok(mut client) = Client::connect(trial.port)
                && client.call(&["PING"]).is_ok()
            {
                return Started::Serves(trial, client);
            }
            assert!(Instant::now() < deadline, "neither served nor refused within {START_TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    panic!("no port is free");
}

impl Trial {
    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }
}

/// What reading everything came to.
#[derive(Default)]
struct Found {
    sound: usize,
    damaged: Vec<(Id, String)>,
    /// What is not as it was, with what it is.
    other: Vec<(Id, Option<Seen>)>,
    /// Keys that should not be there.
    risen: Vec<Id>,
    libraries_are_right: bool,
}

fn look(client: &mut Client, loaded: &Loaded) -> Found {
    let mut found = Found::default();
    let ids: Vec<(Id, String)> =
        loaded.world.keys().map(|id| (id.clone(), kind_of(&id.1).to_owned())).collect();
    let reads = read_keys(client, &ids);
    for ((id, _), read) in ids.into_iter().zip(reads) {
        match read {
            Read::Seen(seen) if seen == loaded.world[&id] => found.sound += 1,
            Read::Seen(seen) => found.other.push((id, Some(seen))),
            Read::Nothing => found.other.push((id, None)),
            Read::Refused(error) => found.damaged.push((id, error)),
        }
    }
    let scanned = scan(client);
    found.risen = scanned.iter().filter(|id| !loaded.world.contains_key(*id)).cloned().collect();
    let left_out: BTreeSet<&Id> = loaded.world.keys().filter(|id| !scanned.contains(*id)).collect();
    for id in left_out {
        let told = found.damaged.iter().any(|(damaged, _)| damaged == id);
        let counted = found.other.iter().any(|(other, _)| other == id);
        if !told && !counted {
            found.other.push((id.clone(), None));
        }
    }
    found.libraries_are_right = libraries(client) == loaded.libraries;
    found
}

fn name(id: &Id) -> String {
    format!("{}:{}", id.0, id.1.escape_ascii())
}

/// Tries one damage in a directory of its own.
pub(crate) fn judge(loaded: &Loaded, damage: &Damage, home: &Path) -> Outcome {
    let mut files = loaded.files.clone();
    for (name, change) in &damage.changes {
        match change.apply(files.get(name)) {
            Some(bytes) => drop(files.insert(name.clone(), bytes)),
            None => drop(files.remove(name)),
        }
    }
    let mut outcome = Outcome {
        end: End::Harmless,
        repaired: Repaired::default(),
        faults: Vec::new(),
        said: String::new(),
    };
    served(loaded, damage, &files, home, &mut outcome);
    checked(damage, &files, home, &mut outcome);
    repaired(loaded, &files, home, &mut outcome);
    outcome
}

fn served(loaded: &Loaded, damage: &Damage, files: &Files, home: &Path, outcome: &mut Outcome) {
    let directory = home.join("data");
    write_files(&directory, files);
    match start(&directory, &home.join("output")) {
        Started::Refuses(said) => {
            outcome.end = End::Refused;
            let names_it = said.contains(&format!("{}/", directory.to_string_lossy()));
            if !names_it {
                outcome.faults.push(format!("refused without a file's name: {said}"));
            }
            let missing = ["missing", "truncated", "belongs to", "has format version"];
            if !said.contains("offset ") && !missing.iter().any(|word| said.contains(word)) {
                outcome.faults.push(format!("refused without an offset: {said}"));
            }
            if files_of(&directory) != *files {
                outcome.faults.push("refused, and changed on disk".into());
            }
            outcome.said = said;
        }
        Started::Serves(mut trial, mut client) => {
            let found = look(&mut client, loaded);
            judge_served(loaded, damage, &found, outcome);
            // A second life, after a checkpoint, is the same: no damage is washed clean.
            let answer = client.call(&["SAVE"]);
            let _ = trial.child.kill();
            let _ = trial.child.wait();
            let said = trial.said();
            if !matches!(answer, Ok(ref value) if *value == crate::support::Value::ok()) {
                outcome.faults.push(format!("SAVE: {answer:?}"));
            }
            outcome.said = said;
            match start(&directory, &home.join("output")) {
                Started::Refuses(said) => outcome.faults.push(format!("served, then refused: {said}")),
                Started::Serves(_trial, mut client) => {
                    let again = look(&mut client, loaded);
                    if again.sound != found.sound || again.other.len() != found.other.len() {
                        outcome.faults.push(format!(
                            "wrong: a second start finds {} keys as they were instead of {}",
                            again.sound, found.sound
                        ));
                    }
                }
            }
        }
    }
    fs::remove_dir_all(&directory).expect("removed");
}

fn judge_served(loaded: &Loaded, damage: &Damage, found: &Found, outcome: &mut Outcome) {
    for (id, seen) in found.other.iter().take(3) {
        let what = match seen {
            Some(seen) if loaded.history[id].contains(&Some(seen.clone())) => "silent: an older value",
            Some(_) => "wrong: a value that it never had",
            None => "silent: missing",
        };
        outcome.faults.push(format!("{what}: {} (of {} such keys)", name(id), found.other.len()));
    }
    for id in found.risen.iter().take(3) {
        outcome.faults.push(format!("wrong: risen: {} (of {} such keys)", name(id), found.risen.len()));
    }
    for (id, error) in &found.damaged {
        let named = error.contains(&damage.file) && error.contains("at offset ");
        if !named {
            outcome.faults.push(format!("{}: an error without file and offset: {error}", name(id)));
            break;
        }
    }
    if !found.libraries_are_right {
        outcome.faults.push("silent: the libraries of functions are not what they were".into());
    }
    outcome.end = match found.damaged.len() {
        0 => End::Harmless,
        keys => End::Reported(keys),
    };
}

/// Runs `sessile check`; its exit code and what it printed.
fn run(arguments: &[&std::ffi::OsStr]) -> (Option<i32>, String) {
    let binary = std::env::var_os("SESSILE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_sessile").into());
    let output = Command::new(binary).arg("check").args(arguments).output().expect("runs");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

fn checked(damage: &Damage, files: &Files, home: &Path, outcome: &mut Outcome) {
    let directory = home.join("checked");
    write_files(&directory, files);
    let (code, text) = run(&[directory.as_os_str()]);
    let is_sound = match code {
        Some(0) => true,
        Some(1) => false,
        _ => {
            outcome.faults.push(format!("check ends with {code:?}: {text}"));
            false
        }
    };
    match outcome.end {
        End::Refused | End::Reported(_) if is_sound => {
            outcome.faults.push(format!("check calls it sound: {}", last_line(&outcome.said)));
        }
        _ => {}
    }
    // It may be another file that contradicts the damaged one.
    if !is_sound && !text.contains(&damage.file) && !text.contains("at offset ") {
        outcome.faults.push(format!("check names no file: {text}"));
    }
    if files_of(&directory) != *files {
        outcome.faults.push("check has changed the directory".into());
    }
    fs::remove_dir_all(&directory).expect("removed");
}

fn repaired(loaded: &Loaded, files: &Files, home: &Path, outcome: &mut Outcome) {
    let (directory, into) = (home.join("broken"), home.join("repaired"));
    write_files(&directory, files);
    let (code, text) = run(&[directory.as_os_str(), "--repair".as_ref(), into.as_os_str()]);
    if files_of(&directory) != *files {
        outcome.faults.push("repair has changed the directory".into());
    }
    fs::remove_dir_all(&directory).expect("removed");
    let complete = code == Some(0);
    if !matches!(code, Some(0 | 1)) || !text.contains("Saved ") {
        outcome.faults.push(format!("repair ends with {code:?}: {text}"));
        let _ = fs::remove_dir_all(&into);
        return;
    }
    let figures = Figures::of(&text);
    match start(&into, &home.join("output")) {
        Started::Refuses(said) => outcome.faults.push(format!("repaired, then refused: {said}")),
        Started::Serves(_trial, mut client) => {
            let found = look(&mut client, loaded);
            let lost = found.other.len() + found.damaged.len();
            outcome.repaired =
                Repaired { complete, as_they_were: found.sound, otherwise: lost + found.risen.len() };
            let mut fault = |what: String| outcome.faults.push(format!("repair: {what}"));
            if !found.damaged.is_empty() {
                fault(format!("wrong: it has written {} damaged keys", found.damaged.len()));
            }
            for (id, seen) in &found.other {
                let known = |seen: &Seen| {
                    loaded.history[id].iter().flatten().any(|held| held.content == seen.content)
                };
                if seen.as_ref().is_some_and(|seen| !known(seen)) {
                    fault(format!("wrong: {} has a value that it never had", name(id)));
                    break;
                }
            }
            for id in &found.risen {
                if !loaded.history.contains_key(id) {
                    fault(format!("wrong: {} has never been there", name(id)));
                    break;
                }
            }
            if complete && (lost > 0 || !found.risen.is_empty()) {
                let some = found.other.first().map(|(id, _)| name(id)).unwrap_or_default();
                fault(format!(
                    "silent: it says that all is saved, but {lost} keys are not ({some}), {} are risen",
                    found.risen.len()
                ));
            }
            // Of what is counted key by key, no more may be missing than was said.
            let told = figures.keys_lost + figures.operations_lost + figures.keys_uncertain;
            let untold = (lost + found.risen.len()) as u64;
            if figures.places == 0 && untold > told {
                fault(format!("silent: {untold} keys are not as they were, it speaks of {told}"));
            }
            if !found.libraries_are_right && (complete || !text.contains("functions")) {
                fault(
                    "silent: the libraries of functions are not what they were, and it doesn't say so".into(),
                );
            }
        }
    }
    fs::remove_dir_all(&into).expect("removed");
}

/// What a repair says that it has lost.
#[derive(Debug, Default)]
struct Figures {
    keys_lost: u64,
    operations_lost: u64,
    places: u64,
    keys_uncertain: u64,
}

impl Figures {
    fn of(text: &str) -> Figures {
        let mut figures = Figures::default();
        for line in text.lines() {
            let numbers: Vec<u64> = line
                .split(|c: char| !c.is_ascii_digit() && c != ',')
                .filter_map(|word| word.trim_matches(',').replace(',', "").parse().ok())
                .collect();
            if line.starts_with("LOST: ") {
                [figures.keys_lost, figures.operations_lost, figures.places] =
                    [0, 1, 2].map(|at| numbers.get(at).copied().unwrap_or(0));
            } else if line.contains("may be older than they were") {
                figures.keys_uncertain = numbers.first().copied().unwrap_or(0);
            }
        }
        figures
    }
}

/// The line that says why.
pub(crate) fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()
}
