//! The libraries of functions that are loaded, and the file that they are kept in.
//!
//! A change (a library loaded, deleted, all of them replaced) is made on a thread that may wait for a disk: it is compiled, written to the file
//! `functions` of the data directory, durably, and only then seen by anybody. One lock is held over all of that, so that changes come one after
//! another; another guards what is loaded, and is held for a look or for putting the next state in place.
//!
//! Each thread's VM compiles a library when one of its functions is first called there.

use super::library::{self, Registered};
use super::run::Pace;
use super::vm::Vm;
use crate::server::Server;
use mlua::Function;
use sessile_wal::sync::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name of the file.
const FILE: &str = "functions";
/// The version of its content.
const FORMAT: u8 = 1;

/// A function of a loaded library.
#[derive(Debug, Default)]
pub struct StoredFunction {
    /// Its name.
    pub name: String,
    /// Its library.
    pub library: String,
    /// What it is called in `FUNCTION LIST`.
    pub description: Option<Vec<u8>>,
    /// [`flags`](super::script::flags) bits.
    pub flags: u32,
    /// How it has fared.
    pub pace: Pace,
}

/// A loaded library.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its text, first line included.
    pub code: Vec<u8>,
    /// What it has registered, by name.
    pub functions: Vec<Arc<StoredFunction>>,
}

/// What is loaded at a time.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// By name.
    pub libraries: BTreeMap<String, Arc<Library>>,
    /// By name in lower case: functions are called in any.
    functions: HashMap<String, Arc<StoredFunction>>,
}

impl Loaded {
    /// How many functions there are.
    pub fn functions_count(&self) -> usize {
        self.functions.len()
    }

    fn remove(&mut self, name: &str) -> bool {
        let Some(library) = self.libraries.remove(name) else { return false };
        for function in &library.functions {
            self.functions.remove(&function.name.to_ascii_lowercase());
        }
        true
    }

    /// Adds a library whose name is free.
    fn add(&mut self, library: Library) -> Result<(), String> {
        let lower = |function: &StoredFunction| function.name.to_ascii_lowercase();
        if let Some(taken) =
            library.functions.iter().find(|function| self.functions.contains_key(&lower(function)))
        {
            return Err(format!("ERR Function {} already exists", taken.name));
        }
        for function in &library.functions {
            self.functions.insert(lower(function), Arc::clone(function));
        }
        self.libraries.insert(library.name.clone(), Arc::new(library));
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&(self.libraries.len() as u32).to_le_bytes());
        for library in self.libraries.values() {
            // A library came as one argument, whose length fits.
            out.extend_from_slice(&(library.code.len() as u32).to_le_bytes());
            out.extend_from_slice(&library.code);
        }
        out
    }
}

/// The texts in the file's content; nothing if they can't be told apart.
fn decode(content: &[u8]) -> Option<Vec<&[u8]>> {
    let (&format, rest) = content.split_first()?;
    if format != FORMAT {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut codes = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (code, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        codes.push(code);
        rest = behind;
    }
    rest.is_empty().then_some(codes)
}

/// Which libraries are to be loaded or not any more.
#[derive(Clone, Debug)]
pub enum Change {
    /// Loads this text.
    Load {
        /// The library.
        code: Vec<u8>,
        /// Whether it may take the place of one with its name.
        replace: bool,
    },
    /// Deletes the library of this name.
    Delete(String),
    /// Deletes all.
    Flush,
    /// Loads all of these.
    Restore {
        /// The libraries.
        codes: Vec<Vec<u8>>,
        /// What becomes of those that are there.
        policy: Policy,
    },
}

/// What becomes of libraries that are there when others are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They are deleted.
    Flush,
    /// They stay, and one of the same name is an error.
    Append,
    /// One of the same name is replaced.
    Replace,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Libraries {
    loaded: RwLock<Arc<Loaded>>,
    version: AtomicU64,
    changing: Mutex<()>,
}

impl Libraries {
    /// What is loaded.
    pub fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read())
    }

    /// The function of this name.
    pub fn find(&self, name: &[u8]) -> Option<Arc<StoredFunction>> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.loaded.read().functions.get(&name).cloned()
    }

    /// The function in a VM, compiled now if it was not before.
    ///
    /// # Errors
    ///
    /// As it is replied.
    pub(super) fn function(&self, vm: &mut Vm, function: &StoredFunction) -> Result<Function, String> {
        let version = self.version.load(Ordering::Acquire);
        if vm.functions_version != version {
            vm.functions.clear();
            vm.functions_version = version;
        }
        if let Some(compiled) = vm.functions.get(&function.name) {
            return Ok(compiled.clone());
        }
        let missing = || "ERR Function not found".to_owned();
        let library = self.loaded.read().libraries.get(&function.library).cloned().ok_or_else(missing)?;
        let (_, body) = library::metadata(&library.code).map_err(|text| format!("ERR {text}"))?;
        for Registered { name, function, .. } in
            vm.load_library(body).map_err(|text| format!("ERR {text}"))?
        {
            vm.functions.insert(name, function);
        }
        vm.functions.get(&function.name).cloned().ok_or_else(missing)
    }

    /// Loads what the file holds; at the start, before anybody is served.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with its path.
    pub fn open(&self, server: &Server) -> Result<(), String> {
        let path = server.db.directory().join(FILE);
        let Some(content) = server.db.read_side_file(FILE).map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let bad = |what: String| format!("{}: {what}", path.display());
        let codes =
            decode(&content).ok_or_else(|| bad("its content is not a list of libraries".to_owned()))?;
        let mut loaded = Loaded::default();
        for code in codes {
            let library = compile(server, code).map_err(bad)?;
            loaded.add(library).map_err(bad)?;
        }
        self.publish(loaded);
        Ok(())
    }

    fn publish(&self, loaded: Loaded) {
        *self.loaded.write() = Arc::new(loaded);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Makes a change, durably; the name of the library that was loaded, if one was. Waits for the disk.
    ///
    /// # Errors
    ///
    /// As it is replied; nothing has changed then.
    pub fn change(&self, server: &Server, change: Change) -> Result<Option<String>, String> {
        let _changing = self.changing.lock();
        let mut next = Loaded::clone(&self.loaded());
        let mut loaded = None;
        match change {
            Change::Load { code, replace } => {
                let (name, _) = library::metadata(&code).map_err(|text| format!("ERR {text}"))?;
                if next.libraries.contains_key(&name) && !replace {
                    return Err(format!("ERR Library '{name}' already exists"));
                }
                let library = compile(server, &code).map_err(|text| format!("ERR {text}"))?;
                next.remove(&name);
                next.add(library)?;
                loaded = Some(name);
            }
            Change::Delete(name) => {
                if !next.remove(&name) {
                    return Err("ERR Library not found".to_owned());
                }
            }
            Change::Flush => next = Loaded::default(),
            Change::Restore { codes, policy } => {
                if policy == Policy::Flush {
                    next = Loaded::default();
                }
                for code in codes {
                    let library = compile(server, &code).map_err(|text| format!("ERR {text}"))?;
                    if next.libraries.contains_key(&library.name) {
                        if policy == Policy::Append {
                            return Err(format!("ERR Library {} already exists", library.name));
                        }
                        next.remove(&library.name);
                    }
                    next.add(library)?;
                }
            }
        }
        server
            .db
            .replace_side_file(FILE, &next.encode())
            .map_err(|error| format!("ERR the libraries could not be saved: {error}"))?;
        self.publish(next);
        Ok(loaded)
    }
}

/// A library as its text makes it.
fn compile(server: &Server, code: &[u8]) -> Result<Library, String> {
    let (name, body) = library::metadata(code)?;
    let registered = super::run::load_library(server, body)?;
    if registered.is_empty() {
        return Err("No functions registered".to_owned());
    }
    let mut functions: Vec<Arc<StoredFunction>> = registered
        .into_iter()
        .map(|(function, description, flags)| {
            let library = name.clone();
            Arc::new(StoredFunction { name: function, library, description, flags, pace: Pace::default() })
        })
        .collect();
    functions.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Library { name, code: code.to_vec(), functions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_cut_or_too_long_is_refused() {
        let library = |name: &str| {
            let code = format!("#!lua name={name}\nreturn").into_bytes();
            Library { name: name.to_owned(), code, functions: Vec::new() }
        };
        let mut loaded = Loaded::default();
        loaded.add(library("one")).unwrap();
        loaded.add(library("two")).unwrap();
        let content = loaded.encode();
        let codes = decode(&content).unwrap();
        assert_eq!(codes, [&b"#!lua name=one\nreturn"[..], b"#!lua name=two\nreturn"]);
        for length in 0..content.len() {
            assert!(decode(&content[..length]).is_none(), "{length}");
        }
        assert!(decode(&[&content[..], b"x"].concat()).is_none());
        assert!(decode(&[&[2], &content[1..]].concat()).is_none());
    }
}
