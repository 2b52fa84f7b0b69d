//! A Luau VM that runs scripts of anybody, one at a time, on one thread.
//!
//! A script sees the tables that `prelude.luau` builds and nothing else: no file, no socket, no module, no clock but the server's `TIME`,
//! and nothing that it could change and another script could see, since all of it is read-only. Memory is bounded by the VM, time by an
//! interrupt that Luau calls at loops, calls and in pattern matching; a script that is told to stop can't catch it, as every further
//! step raises again.
//!
//! The VM knows nothing of the engine: what `redis.call` does is its [`Host`]'s business.

use super::json;
use super::library_functions::{self, begin_long};
use super::random::Generator;
use super::reply::{self, Returned};
use super::syntax;
use crate::resp::{Protocol, Reply};
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use sessile_wal::Clock;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many interrupts pass between looks at the clock; Luau interrupts at each turn of a loop.
const INTERRUPTS_A_LOOK: u32 = 64;
/// Compiled scripts that a VM keeps.
const COMPILED_MAX: usize = 1024;
/// A longer text is not compiled: that would take seconds, which nothing interrupts, and memory by the hundred megabytes.
const SOURCE_BYTES_MAX: usize = 1 << 20;
/// What is taken of the text of a chunk that has no name, for its name.
const NAME_BYTES_MAX: usize = 1024;
/// How many times as long as other work on a byte it takes to compile it.
const COMPILING_A_BYTE: usize = 64;
/// After a script that leaves more than this behind, the garbage is collected at once.
const KEPT_BYTES: usize = 4 << 20;

/// Why a script was ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It has used up its time.
    TimeUp,
    /// Somebody has asked for its end.
    Killed,
    /// The host can't do what the script asks for, where it is run now.
    Host,
}

/// What a script works on.
pub trait Host {
    /// Runs a command; its reply, or its error, is written to `reply` in that version of the protocol.
    ///
    /// # Errors
    ///
    /// When the script can't go on: then nothing that it has done counts.
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, reply: &mut Vec<u8>) -> Result<(), Stop>;

    /// `redis.acl_check_cmd`: whether the command exists, and if so whether the user may run it.
    fn may_run(&mut self, args: &[&[u8]]) -> Option<bool>;
}

/// A moment on the monotonic clock that the database was opened with, which a simulation moves.
#[derive(Clone)]
pub struct Until {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// When, in ns.
    pub at_ns: u64,
}

impl Until {
    /// So long from now.
    pub fn after(clock: &Arc<dyn Clock>, ns: u64) -> Until {
        Until { at_ns: clock.monotonic_ns().saturating_add(ns), clock: Arc::clone(clock) }
    }

    fn has_come(&self) -> bool {
        self.clock.monotonic_ns() >= self.at_ns
    }
}

impl std::fmt::Debug for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Until").field("at_ns", &self.at_ns).finish_non_exhaustive()
    }
}

/// What a script may use up.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// When its time is up; `None`: never.
    pub until: Option<Until>,
    /// It runs where others wait for it: it is not to begin anything long.
    pub hurried: bool,
    /// Set by whoever wants its end.
    pub killed: Arc<AtomicBool>,
}

/// What the interrupt and the libraries share with the VM.
pub(super) struct Shared {
    interrupts: Cell<u32>,
    limits: RefCell<Limits>,
    /// Once it is set, each step of the script raises.
    stop: Cell<Option<Stop>>,
    pub(super) random: Cell<Generator>,
    pub(super) protocol: Cell<Protocol>,
    /// A panic of the host passed through the VM, which can't be told from an error there.
    panicked: Cell<bool>,
    /// What the host's output may come to.
    pub(super) bytes_max: usize,
    /// Functions that are being registered.
    pub(super) registering: RefCell<Option<Vec<super::library::Registered>>>,
}

/// Marks an error that means: stop.
#[derive(Debug, thiserror::Error)]
#[error("the script is stopped")]
pub(super) struct Stopped;

impl Shared {
    /// Ends the script.
    pub(super) fn stop(&self, why: Stop) -> mlua::Error {
        if self.stop.get().is_none() {
            self.stop.set(Some(why));
        }
        mlua::Error::external(Stopped)
    }

    /// A step that takes a while; called by whatever loops outside the VM.
    pub(super) fn step(&self) -> Result<(), mlua::Error> {
        if self.stop.get().is_some() {
            return Err(mlua::Error::external(Stopped));
        }
        let limits = self.limits.borrow();
        if limits.killed.load(Ordering::Relaxed) {
            return Err(self.stop(Stop::Killed));
        }
        if limits.until.as_ref().is_some_and(Until::has_come) {
            return Err(self.stop(Stop::TimeUp));
        }
        Ok(())
    }

    /// Whether it is not to begin anything long.
    pub(super) fn is_hurried(&self) -> bool {
        self.limits.borrow().hurried
    }

    fn interrupt(&self) -> Result<VmState, mlua::Error> {
        let count = self.interrupts.get().wrapping_add(1);
        self.interrupts.set(count);
        if count.is_multiple_of(INTERRUPTS_A_LOOK) || self.stop.get().is_some() {
            self.step()?;
        }
        Ok(VmState::Continue)
    }
}

/// Why a VM does not come about, or is not to be used any more.
#[derive(Debug, thiserror::Error)]
#[error("the script engine failed: {0}")]
pub struct VmError(#[from] mlua::Error);

/// See the module's page.
pub struct Vm {
    lua: Lua,
    pub(super) shared: Rc<Shared>,
    env: Table,
    run: Function,
    /// Where the host's `call` is found while a script runs.
    slot: Table,
    /// `redis` while functions are loaded.
    loading: Table,
    reworded: Function,
    /// The global of the VM that makes numbers into text.
    text_function: String,
    compiled: HashMap<[u8; 20], Function>,
    json: Rc<RefCell<json::Settings>>,
    /// The functions of libraries, of this version of them.
    pub(super) functions: HashMap<String, Function>,
    pub(super) functions_version: u64,
}

/// What is to be run.
pub struct Invocation<'a> {
    /// The compiled script.
    pub function: Function,
    /// What it is called in errors: a script's digest or a function's name.
    pub name: &'a str,
    /// `KEYS`.
    pub keys: &'a [&'a [u8]],
    /// `ARGV`.
    pub arguments: &'a [&'a [u8]],
    /// Where its random numbers begin.
    pub seed: u64,
    /// Whether these are passed as arguments, to a function, and not as globals, to a script.
    pub passed: bool,
}

impl Vm {
    /// A VM that may use so much memory.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn new(memory_bytes_max: usize) -> Result<Vm, VmError> {
        let libraries = StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::DEBUG;
        // Luau's own pcall, which coroutines can yield across; panics are minded in `guarded`.
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        let shared = Rc::new(Shared {
            interrupts: Cell::new(0),
            limits: RefCell::default(),
            stop: Cell::new(None),
            random: Cell::default(),
            protocol: Cell::default(),
            panicked: Cell::new(false),
            bytes_max: memory_bytes_max,
            registering: RefCell::new(None),
        });
        let json = Rc::new(RefCell::new(json::Settings::default()));
        let host = lua.create_table()?;
        let slot = lua.create_table()?;
        library_functions::install(&lua, &host, &shared, &json)?;
        // Filled for each run with the functions that reach its host.
        host.raw_set("run", &slot)?;
        let env_slot = lua.create_table()?;
        let of_compile = env_slot.clone();
        let text_function = secret_name();
        host.raw_set("text_function", text_function.as_str())?;
        let of_dynamic = text_function.clone();
        let of_loadstring = Rc::clone(&shared);
        host.raw_set(
            "compile",
            lua.create_function(move |lua, (source, name): (mlua::LuaString, Option<mlua::LuaString>)| {
                let env: Table = of_compile.raw_get("env")?;
                let name = name.map(|name| name.to_string_lossy());
                begin_long(&of_loadstring, source.as_bytes().len() * COMPILING_A_BYTE)?;
                compile_dynamic(lua, &source.as_bytes(), name, &of_dynamic, env)
            })?,
        )?;
        let (env, run, meta, loading, reworded): (Table, Function, Table, Table, Function) =
            lua.load(include_str!("prelude.luau")).set_name("=[redis]").call(&host)?;
        env.set_metatable(Some(meta))?;
        env_slot.raw_set("env", &env)?;
        if let Some(strings) = lua.type_metatable::<mlua::LuaString>() {
            strings.set_readonly(false);
            strings.raw_set("__index", env.raw_get::<Table>("string")?)?;
        }
        let mut names = Vec::new();
        env.for_each(|name: Value, value: Value| {
            if let Value::Table(table) = value {
                names.push(table);
            }
            drop(name);
            Ok(())
        })?;
        for table in names {
            table.set_readonly(true);
        }
        loading.set_readonly(true);
        if let Some(meta) = env.metatable() {
            meta.set_readonly(true);
        }
        env.set_readonly(true);
        lua.sandbox(true)?;
        let of_interrupt = Rc::clone(&shared);
        lua.set_interrupt(move |_| of_interrupt.interrupt());
        let used = lua.used_memory();
        lua.set_memory_limit(used.saturating_add(memory_bytes_max))?;
        Ok(Vm {
            lua,
            shared,
            env,
            run,
            slot,
            loading,
            reworded,
            text_function,
            compiled: HashMap::new(),
            json,
            functions: HashMap::new(),
            functions_version: 0,
        })
    }

    /// Compiles a script under the name by which errors know it (`user_script`).
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one line.
    pub fn compile(&self, source: &[u8], name: &str) -> Result<Function, Vec<u8>> {
        compile(&self.lua, source, named(name), &self.text_function, self.env.clone())
    }

    /// The script with this digest, compiled now if it was not before.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one line.
    pub fn script(&mut self, digest: &[u8; 20], source: &[u8]) -> Result<Function, Vec<u8>> {
        if let Some(function) = self.compiled.get(digest) {
            return Ok(function.clone());
        }
        let function = self.compile(source, "user_script")?;
        if self.compiled.len() >= COMPILED_MAX {
            self.compiled.clear();
        }
        self.compiled.insert(*digest, function.clone());
        Ok(function)
    }

    /// Forgets every script.
    pub fn forget_scripts(&mut self) {
        self.compiled.clear();
    }

    /// What the VM holds, in bytes.
    pub fn used_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// Runs a script and writes its reply.
    ///
    /// # Errors
    ///
    /// Why it was stopped; nothing is written then.
    pub fn run(
        &mut self,
        invocation: &Invocation<'_>,
        host: &mut dyn Host,
        limits: Limits,
        reply: &mut Reply,
    ) -> Result<(), Stop> {
        self.begin(limits, invocation.seed);
        let start = reply.bytes().len();
        let outcome = self.run_in(invocation, host, reply);
        if self.shared.panicked.replace(false) {
            panic!("a command panicked inside a script");
        }
        *self.shared.limits.borrow_mut() = Limits::default();
        self.after();
        if let Some(stop) = self.shared.stop.take() {
            reply.truncate(start);
            return Err(stop);
        }
        if let Err(error) = outcome {
            reply.truncate(start);
            let text = first_line(&error.to_string());
            reply.error(format!("ERR {text}").as_bytes());
        }
        Ok(())
    }

    /// Puts back what a script can change, and sets its limits.
    pub(super) fn begin(&self, limits: Limits, seed: u64) {
        *self.shared.limits.borrow_mut() = limits;
        self.shared.stop.set(None);
        self.shared.random.set(Generator::seeded(seed as i32));
        self.shared.protocol.set(Protocol::Resp2);
        *self.json.borrow_mut() = json::Settings::default();
    }

    /// Takes the limits away; why it was stopped, if it was.
    pub(super) fn end(&self) -> Option<Stop> {
        *self.shared.limits.borrow_mut() = Limits::default();
        self.shared.stop.take()
    }

    fn after(&self) {
        if self.lua.used_memory() > KEPT_BYTES {
            // What a script has left behind counts against the next one's memory. Fails only for want of memory, which it makes room for.
            let _ = self.lua.gc_collect();
        }
    }

    fn run_in(
        &self,
        invocation: &Invocation<'_>,
        host: &mut dyn Host,
        reply: &mut Reply,
    ) -> Result<(), mlua::Error> {
        let host = RefCell::new(host);
        let (lua, shared) = (&self.lua, &self.shared);
        let (ok, value) = lua.scope(|scope| {
            let call = scope.create_function(|lua, args: MultiValue| {
                guarded(shared, || call_host(lua, shared, &mut **host.borrow_mut(), &args))
            })?;
            let may_run = scope.create_function(|lua, args: MultiValue| {
                guarded(shared, || check_host(lua, &mut **host.borrow_mut(), &args))
            })?;
            self.slot.raw_set("call", call)?;
            self.slot.raw_set("may_run", may_run)?;
            let keys = list(lua, invocation.keys)?;
            let arguments = list(lua, invocation.arguments)?;
            if invocation.passed {
                self.run.call::<(bool, Value)>((&invocation.function, keys, arguments))
            } else {
                self.env.set_readonly(false);
                let set = self.env.raw_set("KEYS", keys).and_then(|()| self.env.raw_set("ARGV", arguments));
                self.env.set_readonly(true);
                set?;
                self.run.call::<(bool, Value)>(&invocation.function)
            }
        })?;
        if shared.stop.get().is_some() {
            return Ok(());
        }
        if ok {
            reply::write(&value, shared, reply)
        } else {
            reply.error(&self.error_text(&value, Some(invocation.name)));
            Ok(())
        }
    }

    /// An error that reached the top, as it is replied; with where it happened, if the script has a name.
    pub(super) fn error_text(&self, error: &Value, name: Option<&str>) -> Vec<u8> {
        let Value::Table(table) = error else {
            return [b"ERR ".to_vec(), self.message(error)].concat();
        };
        let mut text = match table.raw_get::<Value>("err") {
            Ok(Value::String(text)) => text.as_bytes().to_vec(),
            _ => b"ERR unknown error".to_vec(),
        };
        if let Some(name) = name
            && let Ok(Value::String(source)) = table.raw_get::<Value>("source")
        {
            let line = match table.raw_get::<Value>("line") {
                Ok(Value::Integer(line)) => line,
                Ok(Value::Number(line)) => line as i64,
                _ => -1,
            };
            // A script by its name; a text that it has compiled itself as it is.
            let source = source.to_string_lossy();
            let source = match source.strip_prefix("[string \"").and_then(|text| text.strip_suffix("\"]")) {
                Some(text) => text.to_owned(),
                None => format!("@{source}"),
            };
            text.extend_from_slice(format!(" script: {name}, on {source}:{line}.").as_bytes());
        }
        text
    }

    /// The text of an error that is no table.
    fn message(&self, error: &Value) -> Vec<u8> {
        match self.reworded.call::<Value>(error) {
            Ok(Value::String(text)) => text.as_bytes().to_vec(),
            Ok(Value::Error(error)) => first_line(&error.to_string()).into_bytes(),
            _ => b"unknown error".to_vec(),
        }
    }

    /// Runs the body of a library, whose `redis` can register functions and do nothing else.
    pub(super) fn load_library(&self, source: &[u8]) -> Result<Vec<super::library::Registered>, String> {
        let env = self.lua.create_table().map_err(|error| error.to_string())?;
        let build = || -> Result<(), mlua::Error> {
            env.raw_set("redis", &self.loading)?;
            env.set_metatable(self.env.metatable())
        };
        build().map_err(|error| first_line(&error.to_string()))?;
        env.set_readonly(true);
        let function =
            compile(&self.lua, source, named("user_function"), &self.text_function, env.clone())
                .map_err(|text| format!("Error compiling function: {}", String::from_utf8_lossy(&text)))?;
        *self.shared.registering.borrow_mut() = Some(Vec::new());
        let outcome = self.run.call::<(bool, Value)>(&function);
        let registered = self.shared.registering.borrow_mut().take().unwrap_or_default();
        // Once it is loaded its functions have all that scripts have.
        env.set_readonly(false);
        let whole = self
            .env
            .for_each(|name: Value, value: Value| env.raw_set(name, value))
            .and_then(|()| env.raw_set("_G", &env))
            .and_then(|()| env.raw_set("KEYS", Value::Nil))
            .and_then(|()| env.raw_set("ARGV", Value::Nil));
        env.set_readonly(true);
        match outcome {
            Ok((true, _)) => whole.map(|()| registered).map_err(|error| first_line(&error.to_string())),
            Ok((false, error)) => {
                let text = self.error_text(&error, None);
                let text = String::from_utf8_lossy(&text).into_owned();
                Err(format!("Error registering functions: {text}"))
            }
            Err(error) => Err(format!("Error registering functions: {}", first_line(&error.to_string()))),
        }
    }
}

/// Runs the host's part of a call; notes a panic, which the script could otherwise swallow.
fn guarded<R>(shared: &Shared, run: impl FnOnce() -> R) -> R {
    struct Guard<'a>(&'a Shared);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.panicked.set(true);
                self.0.stop.set(Some(Stop::Host));
            }
        }
    }
    let _guard = Guard(shared);
    run()
}

/// `redis.call` and `redis.pcall`: whether it failed, and the reply.
fn call_host(
    lua: &Lua,
    shared: &Shared,
    host: &mut dyn Host,
    args: &MultiValue,
) -> Result<(bool, Value), mlua::Error> {
    let failed = |text: &str| Ok((true, reply::error_table(lua, text.as_bytes())?));
    if args.is_empty() {
        return failed("ERR Please specify at least one argument for this redis lib call");
    }
    let Some(arguments) = reply::Arguments::of(args) else {
        return failed("ERR Lua redis lib command arguments must be strings or integers");
    };
    shared.step()?;
    let mut bytes = Vec::new();
    host.call(&arguments.slices(), shared.protocol.get(), &mut bytes).map_err(|stop| shared.stop(stop))?;
    let Returned { value, is_error } = reply::read(lua, &bytes)?;
    Ok((is_error, value))
}

/// `redis.acl_check_cmd`: the message of an error, and whether the command may be run.
fn check_host(lua: &Lua, host: &mut dyn Host, args: &MultiValue) -> Result<(Value, Value), mlua::Error> {
    let failed = |text: &str| Ok((Value::String(lua.create_string(text)?), Value::Nil));
    if args.is_empty() {
        return failed("Please specify at least one argument for this redis lib call");
    }
    let Some(arguments) = reply::Arguments::of(args) else {
        return failed("redis.acl_check_cmd() command arguments must be strings or integers");
    };
    match host.may_run(&arguments.slices()) {
        Some(may) => Ok((Value::Nil, Value::Boolean(may))),
        None => failed("Invalid command passed to redis.acl_check_cmd()"),
    }
}

fn list(lua: &Lua, items: &[&[u8]]) -> Result<Table, mlua::Error> {
    let table = lua.create_table_with_capacity(items.len(), 0)?;
    for (index, item) in items.iter().enumerate() {
        table.raw_seti(index + 1, lua.create_string(item)?)?;
    }
    Ok(table)
}

/// Compiles a chunk; errors know it by `name`, which Luau is given as `chunk`.
fn compile(
    lua: &Lua,
    source: &[u8],
    (name, chunk): (&str, String),
    text_function: &str,
    env: Table,
) -> Result<Function, Vec<u8>> {
    if source.len() > SOURCE_BYTES_MAX {
        let text =
            format!("{name}:1: {} bytes are too long for a script: {SOURCE_BYTES_MAX} at most", source.len());
        return Err(text.into_bytes());
    }
    let translated = syntax::translate(source, text_function)
        .map_err(|error| [format!("{name}:{}: ", error.line).as_bytes(), &error.message].concat())?;
    lua.load(translated)
        .set_name(chunk)
        .set_mode(ChunkMode::Text)
        .set_environment(env)
        .into_function()
        .map_err(|error| syntax_error(&error).into_bytes())
}

/// A chunk that is known by a name of ours.
fn named(name: &str) -> (&str, String) {
    (name, format!("@{name}"))
}

/// A name that no script can know.
fn secret_name() -> String {
    // Without a random source the name may be guessed; all that is gained by it is a function that makes numbers into text.
    format!("__text_{:016x}", getrandom::u64().unwrap_or_default())
}

/// For `loadstring`: the message of an error, and the function.
fn compile_dynamic(
    lua: &Lua,
    source: &[u8],
    name: Option<String>,
    text_function: &str,
    env: Table,
) -> Result<(Value, Value), mlua::Error> {
    let (name, chunk) = match name {
        Some(name) => match name.strip_prefix(['@', '=']) {
            Some(plain) => (plain.to_owned(), name),
            None => (format!("[string \"{name}\"]"), name),
        },
        None => {
            let text = String::from_utf8_lossy(&source[..source.len().min(NAME_BYTES_MAX)]).into_owned();
            (format!("[string \"{text}\"]"), text)
        }
    };
    match compile(lua, source, (&name, chunk), text_function, env) {
        Ok(function) => Ok((Value::Nil, Value::Function(function))),
        Err(message) => Ok((Value::String(lua.create_string(message)?), Value::Nil)),
    }
}

fn syntax_error(error: &mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. } => first_line(message),
        other => first_line(&other.to_string()),
    }
}

pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
