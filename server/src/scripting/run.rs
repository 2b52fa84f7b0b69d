//! Runs scripts on the engine.
//!
//! ```text
//! EVAL ─▶ fast: on the event loop, keys held ─▶ committed ─▶ reply
//!              │ takes too long, or walks the keyspace: nothing has happened
//!              └▶ slow: an errand, on a thread of its own, on copies, nothing locked ─▶ committed ─▶ reply
//!                       └ somebody has changed a key meanwhile: again; after some tries with its keys held
//! ```
//!
//! So a script that loops stops nobody else, and can be killed at any time. A script that errs keeps what it has written before, as in Redis;
//! all of it is one record in the log.

use super::Scripting;
use super::compiling::COMPILED_AT_ONCE_BYTES_MAX;
use super::effects::Effects;
use super::host::{Data, EngineHost, OwnedKey, Want};
use super::libraries::StoredFunction;
use super::store::Script;
use super::vm::{Invocation, Limits, Stop, Until, Vm};
use crate::acl::User;
use crate::client::{Client, ClientCard};
use crate::command::dispatch::refusal;
use crate::notify;
use crate::resp::{Protocol, Reply};
use crate::server::Server;
use crate::worker::Worker;
use mlua::Function;
use sessile::{Access, Begun, Committed, Fetch, Key, Lsn};
use sessile_wal::{Clock, SystemClock};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How long a script may run on an event loop.
const FAST_NS: u64 = 2_000_000;
/// How often it is begun anew there before it goes the slow way.
const FAST_TRIES: usize = 8;
/// How often a script is run on copies before it is run with its keys held.
const COPY_TRIES: usize = 4;
/// How long it may then hold them.
const HELD_NS: u64 = 1_000_000_000;
/// What a record costs beyond the arguments, for admission.
const RECORD_OVERHEAD_BYTES: usize = 64;

thread_local! {
    static VM: RefCell<Option<ThreadVm>> = const { RefCell::new(None) };
}

/// A thread's VM, and what it was made for.
struct ThreadVm {
    vm: Vm,
    server: u64,
    memory_bytes_max: usize,
    scripts_version: u64,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub enum Code {
    /// A script.
    Script(Arc<Script>),
    /// A function of a library.
    Function(Arc<StoredFunction>),
}

impl Code {
    /// What it is called: a script's digest, or a function's name.
    pub fn name(&self) -> &str {
        match self {
            Code::Script(script) => &script.name,
            Code::Function(function) => &function.name,
        }
    }

    /// How it has fared.
    fn pace(&self) -> &Pace {
        match self {
            Code::Script(script) => &script.pace,
            Code::Function(function) => &function.pace,
        }
    }
}

/// Whether a script is known to take too long for an event loop.
#[derive(Debug, Default)]
pub struct Pace {
    /// How many more runs go the slow way without a try.
    untried: AtomicU32,
    /// How often it was slow of late; so many runs go untried after it was slow once more, as a power of two.
    slowness: AtomicU32,
}

impl Pace {
    /// Runs go untried for at most this power of two.
    const SLOWNESS_MAX: u32 = 6;

    /// Whether to try it on the event loop: one that was slow is tried there ever more rarely, as it may have had more to do than usual.
    fn is_worth_a_try(&self) -> bool {
        let less = |untried: u32| untried.checked_sub(1);
        self.untried.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err()
    }

    fn was_slow(&self) {
        let slowness = (self.slowness.load(Ordering::Relaxed) + 1).min(Self::SLOWNESS_MAX);
        self.slowness.store(slowness, Ordering::Relaxed);
        self.untried.store(1 << (slowness - 1), Ordering::Relaxed);
    }

    fn was_fast(&self) {
        let slowness = self.slowness.load(Ordering::Relaxed);
        if slowness > 0 {
            self.slowness.store(slowness - 1, Ordering::Relaxed);
        }
    }
}

/// A call of a script or function.
pub struct Job<'a> {
    /// What is run.
    pub code: &'a Code,
    /// `KEYS`.
    pub keys: &'a [&'a [u8]],
    /// `ARGV`.
    pub arguments: &'a [&'a [u8]],
    /// Whether it may not write.
    pub read_only: bool,
    /// Whether it may be run although memory is at its limit, and then write.
    pub allow_growth: bool,
    /// The database that it begins in.
    pub database: u8,
    /// Who asks.
    pub card: &'a Arc<ClientCard>,
    /// Whose rights it has.
    pub user: &'a Arc<User>,
    /// The protocol of the reply.
    pub protocol: Protocol,
}

/// More keys and arguments are not made into tables of a script on an event loop.
const ARGUMENTS_FAST_MAX: usize = 1000;
/// Nor are more bytes of them.
const ARGUMENT_BYTES_FAST_MAX: usize = 1 << 20;

impl Job<'_> {
    /// Whether it takes long before it begins: it has many arguments, or perhaps has to be compiled.
    fn is_large(&self) -> bool {
        let arguments = || self.keys.iter().chain(self.arguments);
        let is_long = match self.code {
            Code::Script(script) => script.body().len() > COMPILED_AT_ONCE_BYTES_MAX,
            Code::Function(_) => false,
        };
        is_long
            || self.keys.len() + self.arguments.len() > ARGUMENTS_FAST_MAX
            || arguments().map(|argument| argument.len()).sum::<usize>() > ARGUMENT_BYTES_FAST_MAX
    }
}

/// What a finished script leaves.
#[derive(Debug, Default)]
pub struct Finished {
    /// Its reply.
    pub reply: Vec<u8>,
    /// What must be acknowledged before the reply is sent.
    pub lsn: Lsn,
}

/// What became of a script on the event loop.
pub enum Fast {
    /// It is finished.
    Finished(Finished),
    /// Its declared keys need these values first.
    Cold(Fetch),
    /// The log's buffer is full.
    Busy,
    /// It has to be run elsewhere.
    Slow,
}

/// What the log admits.
struct Admission {
    access: Access,
    growth_refused: Option<String>,
    writes_refused: Option<String>,
}

/// Runs `f` with the thread's VM.
pub(super) fn with_vm<R>(
    server: &Server,
    memory_bytes_max: usize,
    f: impl FnOnce(&mut Vm) -> R,
) -> Result<R, String> {
    let scripting: &Scripting = &server.scripting;
    VM.with_borrow_mut(|slot| {
        let fits = slot
            .as_ref()
            .is_some_and(|own| own.server == scripting.number && own.memory_bytes_max == memory_bytes_max);
        if !fits {
            *slot = None;
            let vm = Vm::new(memory_bytes_max).map_err(|error| error.to_string())?;
            *slot = Some(ThreadVm {
                vm,
                server: scripting.number,
                memory_bytes_max,
                scripts_version: scripting.store.version(),
            });
        }
        let Some(own) = slot else { return Err("no script engine".to_owned()) };
        if own.scripts_version != scripting.store.version() {
            own.vm.forget_scripts();
            own.scripts_version = scripting.store.version();
        }
        Ok(f(&mut own.vm))
    })
}

/// Compiles a script, for its errors.
///
/// # Errors
///
/// As it is replied, without its code.
pub fn check(server: &Server, script: &Script) -> Result<(), Vec<u8>> {
    with_vm(server, server.live().0.script_memory_bytes_max, |vm| {
        vm.script(&script.digest, script.body()).map(drop)
    })
    .map_err(String::into_bytes)?
    .map_err(|text| [b"Error compiling script (new function): ".to_vec(), text].concat())
}

/// How long a library may take to register its functions.
const LOADING_NS: u64 = 500_000_000;

/// Name, description and flags of a function.
pub(super) type Described = (String, Option<Vec<u8>>, u32);

/// Runs the body of a library: names, descriptions and flags of what it registers.
///
/// # Errors
///
/// As it is replied, without its code.
pub(super) fn load_library(server: &Server, body: &[u8]) -> Result<Vec<Described>, String> {
    with_vm(server, server.live().0.script_memory_bytes_max, |vm| {
        let until = Some(Until::after(server.db.clock(), LOADING_NS));
        vm.begin(Limits { until, ..Limits::default() }, 0);
        let loaded = vm.load_library(body);
        if vm.end().is_some() {
            return Err("FUNCTION LOAD timeout".to_owned());
        }
        let registered = loaded?.into_iter();
        Ok(registered.map(|function| (function.name, function.description, function.flags)).collect())
    })?
}

pub(super) fn compiled(server: &Server, vm: &mut Vm, code: &Code) -> Result<Function, Vec<u8>> {
    match code {
        Code::Script(script) => vm
            .script(&script.digest, script.body())
            .map_err(|text| [b"ERR Error compiling script (new function): ".to_vec(), text].concat()),
        Code::Function(function) => {
            server.scripting.libraries.function(vm, function).map_err(String::into_bytes)
        }
    }
}

fn admission(server: &Server, job: &Job<'_>) -> Result<Option<Admission>, ()> {
    if job.read_only {
        return Ok(Some(Admission { access: Access::Read, growth_refused: None, writes_refused: None }));
    }
    let bytes: usize =
        job.arguments.iter().chain(job.keys).map(|arg| arg.len() + RECORD_OVERHEAD_BYTES).sum::<usize>();
    match server.db.admit_now(bytes, Access::Write) {
        Ok(true) => Ok(Some(Admission { access: Access::Write, growth_refused: None, writes_refused: None })),
        Ok(false) => Err(()),
        Err(error) => {
            let refused = refusal(&error);
            let admission = match server.db.admit_now(bytes, Access::Delete) {
                Ok(true) => {
                    Admission { access: Access::Delete, growth_refused: Some(refused), writes_refused: None }
                }
                Ok(false) => return Err(()),
                Err(error) => Admission {
                    access: Access::Read,
                    growth_refused: None,
                    writes_refused: Some(refusal(&error)),
                },
            };
            Ok(Some(admission))
        }
    }
}

fn error_reply(protocol: Protocol, text: &str) -> Finished {
    let mut reply = Reply::new(protocol);
    reply.error(text.as_bytes());
    Finished { reply: std::mem::take(reply.bytes_mut()), ..Finished::default() }
}

pub(super) fn client_of(job: &Job<'_>) -> Client {
    Client::in_script(Arc::clone(job.card), Arc::clone(job.user), job.database)
}

/// Runs it on the event loop, if it is short.
pub fn fast(worker: &mut Worker, job: &Job<'_>, fetched: Option<Fetch>) -> Fast {
    if job.is_large() || !job.code.pace().is_worth_a_try() {
        return Fast::Slow;
    }
    let clock = Arc::clone(worker.server.db.clock());
    let limits =
        || Limits { until: Some(Until::after(&clock, FAST_NS)), hurried: true, killed: Arc::default() };
    let outcome = held(worker, job, fetched, FAST_TRIES, limits);
    if let Fast::Finished(_) = outcome {
        job.code.pace().was_fast();
    } else if let Fast::Slow = outcome {
        job.code.pace().was_slow();
    }
    outcome
}

/// Runs it with its keys held, some times if it needs more than it had.
fn held(
    worker: &mut Worker,
    job: &Job<'_>,
    mut fetched: Option<Fetch>,
    tries: usize,
    limits: impl Fn() -> Limits,
) -> Fast {
    let server = Arc::clone(&worker.server);
    let db = &server.db;
    let Ok(Some(admission)) = admission(&server, job) else { return Fast::Busy };
    if !job.allow_growth
        && let Some(refused) = &admission.growth_refused
    {
        return Fast::Finished(error_reply(job.protocol, refused));
    }
    let mut more: Vec<OwnedKey> = Vec::new();
    for _ in 0..tries {
        let keys: Vec<Key<'_>> = job
            .keys
            .iter()
            .map(|bytes| db.key(job.database, bytes))
            .chain(more.iter().map(|(database, bytes)| db.key(*database, bytes)))
            .collect();
        let mut txn = match db.try_begin(&keys, admission.access, worker.now_ms, fetched.take()) {
            Ok(Begun::Ready(txn)) => txn,
            Ok(Begun::Cold(mut fetch)) => {
                if fetch.try_now() {
                    fetched = Some(fetch);
                    continue;
                }
                return if more.is_empty() { Fast::Cold(fetch) } else { Fast::Slow };
            }
            Err(sessile::Error::DatabasesSwapped) => continue,
            Err(error) => return Fast::Finished(error_reply(job.protocol, &refusal(&error))),
        };
        txn.make_revocable();
        if worker.live.settings.notify_events & notify::NEW != 0 {
            txn.note_creations();
        }
        let noted = admission.access != Access::Read && Effects::concern_anybody(worker);
        if noted {
            txn.note_changes();
        }
        let seed = worker.random.next();
        let memory_bytes_max = worker.live.script_memory_bytes_max;
        let mut host = EngineHost {
            data: Data::Held(&mut txn),
            worker: &mut *worker,
            client: client_of(job),
            read_only: job.read_only,
            growth_refused: admission.growth_refused.clone(),
            writes_refused: admission.writes_refused.clone(),
            hurried: limits().hurried,
            want: None,
            effects: Effects::default(),
        };
        let mut reply = Reply::new(job.protocol);
        let ran = with_vm(&server, memory_bytes_max, |vm| match compiled(&server, vm, job.code) {
            Ok(function) => vm.run(&invocation(job, function, seed), &mut host, limits(), &mut reply),
            Err(text) => {
                reply.error(&text);
                Ok(())
            }
        });
        let EngineHost { want, effects, .. } = host;
        match ran {
            Ok(Ok(())) => {
                let wrote = txn.changed();
                let lsn = effects.conclude(worker, job.card.id, txn, &keys, noted);
                worker.wrote |= wrote;
                return Fast::Finished(Finished { reply: std::mem::take(reply.bytes_mut()), lsn });
            }
            Ok(Err(Stop::Host)) => {
                txn.roll_back();
                match want {
                    Some(Want::Keys(keys)) => more.extend(keys),
                    Some(Want::Cold(keys, mut fetch)) => {
                        more.extend(keys);
                        if !fetch.try_now() {
                            return Fast::Slow;
                        }
                        fetched = Some(fetch);
                    }
                    Some(Want::Copies) | None => return Fast::Slow,
                }
            }
            Ok(Err(Stop::TimeUp)) => {
                txn.roll_back();
                return Fast::Slow;
            }
            Ok(Err(Stop::Killed)) => {
                txn.roll_back();
                return Fast::Finished(error_reply(job.protocol, &killed_text(job)));
            }
            Err(text) => {
                txn.roll_back();
                return Fast::Finished(error_reply(job.protocol, &format!("ERR {text}")));
            }
        }
    }
    Fast::Slow
}

pub(super) fn invocation<'a>(job: &Job<'a>, function: Function, seed: u64) -> Invocation<'a> {
    Invocation {
        function,
        name: job.code.name(),
        keys: job.keys,
        arguments: job.arguments,
        seed,
        passed: matches!(job.code, Code::Function(_)),
    }
}

fn killed_text(job: &Job<'_>) -> String {
    let (what, source) = match job.code {
        Code::Script(_) => ("SCRIPT", "user_script"),
        Code::Function(_) => ("FUNCTION", "user_function"),
    };
    format!("ERR Script killed by user with {what} KILL. script: {}, on @{source}:1.", job.code.name())
}

/// A script under way on a thread of its own.
#[derive(Debug)]
pub struct Running {
    /// What is run.
    pub code: Code,
    /// Set to end it.
    pub killed: Arc<AtomicBool>,
    /// When it began, on the monotonic clock.
    pub began_ns: u64,
    /// The command that it came with.
    pub command: Vec<Vec<u8>>,
}

/// A call that is carried to where it may take long, and then what came of it.
pub struct Slow {
    server: Arc<Server>,
    code: Code,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
    read_only: bool,
    allow_growth: bool,
    database: u8,
    card: Arc<ClientCard>,
    user: Arc<User>,
    protocol: Protocol,
    running: Arc<Running>,
    finished: Option<Finished>,
    spent_ns: u64,
}

impl std::fmt::Debug for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slow").field("code", &self.code.name()).finish_non_exhaustive()
    }
}

impl Slow {
    /// Of this call.
    pub fn new(server: &Arc<Server>, job: &Job<'_>, command: &[&[u8]]) -> Slow {
        let running = Arc::new(Running {
            code: job.code.clone(),
            killed: Arc::default(),
            began_ns: SystemClock.monotonic_ns(),
            command: command.iter().map(|arg| arg.to_vec()).collect(),
        });
        server.scripting.running.lock().push(Arc::clone(&running));
        Slow {
            server: Arc::clone(server),
            code: job.code.clone(),
            keys: job.keys.iter().map(|key| key.to_vec()).collect(),
            arguments: job.arguments.iter().map(|arg| arg.to_vec()).collect(),
            read_only: job.read_only,
            allow_growth: job.allow_growth,
            database: job.database,
            card: Arc::clone(job.card),
            user: Arc::clone(job.user),
            protocol: job.protocol,
            running,
            finished: None,
            spent_ns: 0,
        }
    }

    /// What came of it.
    pub fn finish(mut self) -> Option<Finished> {
        self.finished.take()
    }

    /// How long it ran.
    pub fn spent_ns(&self) -> u64 {
        self.spent_ns
    }

    /// Runs it to its end, however long that takes.
    pub fn run(&mut self) {
        let mut worker = self.server.take_worker();
        let keys: Vec<&[u8]> = self.keys.iter().map(Vec::as_slice).collect();
        let arguments: Vec<&[u8]> = self.arguments.iter().map(Vec::as_slice).collect();
        let job = Job {
            code: &self.code,
            keys: &keys,
            arguments: &arguments,
            read_only: self.read_only,
            allow_growth: self.allow_growth,
            database: self.database,
            card: &self.card,
            user: &self.user,
            protocol: self.protocol,
        };
        let clock = self.server.db.clock();
        let begun_ns = clock.monotonic_ns();
        let finished = slow(&mut worker, &job, &self.running.killed, begun_ns);
        worker.send_signals();
        self.server.give_worker(&worker);
        self.finished = Some(finished);
        self.spent_ns = clock.monotonic_ns().saturating_sub(begun_ns);
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let mut running = self.server.scripting.running.lock();
        running.retain(|other| !Arc::ptr_eq(other, &self.running));
    }
}

/// Runs it on copies until nobody has changed a key under it.
fn slow(worker: &mut Worker, job: &Job<'_>, killed: &Arc<AtomicBool>, began_ns: u64) -> Finished {
    let mut tries = 0;
    loop {
        worker.begin_batch();
        tries += 1;
        if tries > COPY_TRIES {
            let clock = Arc::clone(worker.server.db.clock());
            let limits = || Limits {
                until: Some(Until::after(&clock, HELD_NS)),
                hurried: false,
                killed: Arc::clone(killed),
            };
            match held(worker, job, None, FAST_TRIES, limits) {
                Fast::Finished(finished) => {
                    if std::mem::take(&mut worker.wrote) {
                        // What goes wrong with the log is said to whoever waits for its acknowledgement.
                        let _ = worker.server.db.push_log();
                    }
                    return finished;
                }
                Fast::Cold(_) | Fast::Busy | Fast::Slow => tries = 0,
            }
            continue;
        }
        match on_copies(worker, job, killed, began_ns) {
            Some(finished) => return finished,
            None if killed.load(Ordering::Relaxed) => return error_reply(job.protocol, &killed_text(job)),
            None => {}
        }
    }
}

/// Runs it once on copies; nothing if somebody has changed a key under it.
fn on_copies(
    worker: &mut Worker,
    job: &Job<'_>,
    killed: &Arc<AtomicBool>,
    began_ns: u64,
) -> Option<Finished> {
    let server = Arc::clone(&worker.server);
    let Ok(Some(admission)) = admission(&server, job) else {
        // The log's buffer is full: committing waits for room.
        return on_copies_with(
            worker,
            job,
            (killed, began_ns),
            Admission { access: Access::Write, growth_refused: None, writes_refused: None },
        );
    };
    if !job.allow_growth
        && let Some(refused) = &admission.growth_refused
    {
        return Some(error_reply(job.protocol, refused));
    }
    on_copies_with(worker, job, (killed, began_ns), admission)
}

fn on_copies_with(
    worker: &mut Worker,
    job: &Job<'_>,
    (killed, began_ns): (&Arc<AtomicBool>, u64),
    admission: Admission,
) -> Option<Finished> {
    let server = Arc::clone(&worker.server);
    let until = match worker.live.script_ms_max {
        0 => None,
        limit_ms => Some(Until {
            clock: Arc::clone(server.db.clock()),
            at_ns: began_ns.saturating_add(limit_ms.saturating_mul(1_000_000)),
        }),
    };
    let mut overlay = server.db.overlay(worker.now_ms);
    let seed = worker.random.next();
    let memory_bytes_max = worker.live.script_memory_bytes_max;
    let mut host = EngineHost {
        data: Data::Copies(&mut overlay),
        worker: &mut *worker,
        client: client_of(job),
        read_only: job.read_only,
        growth_refused: admission.growth_refused,
        writes_refused: admission.writes_refused,
        hurried: false,
        want: None,
        effects: Effects::default(),
    };
    let mut reply = Reply::new(job.protocol);
    let limits = Limits { until, hurried: false, killed: Arc::clone(killed) };
    let ran = with_vm(&server, memory_bytes_max, |vm| match compiled(&server, vm, job.code) {
        Ok(function) => vm.run(&invocation(job, function, seed), &mut host, limits, &mut reply),
        Err(text) => {
            reply.error(&text);
            Ok(())
        }
    });
    let EngineHost { effects, client, .. } = host;
    match ran {
        Ok(Ok(())) => match effects.conclude_copies(worker, &client, overlay) {
            Ok(Committed::At(lsn)) => {
                if lsn != Lsn::ZERO {
                    // What goes wrong with the log is said to whoever waits for its acknowledgement.
                    let _ = server.db.push_log();
                }
                Some(Finished { reply: std::mem::take(reply.bytes_mut()), lsn })
            }
            Ok(Committed::Conflict) | Err(sessile::Error::DatabasesSwapped) => None,
            Err(error) => Some(error_reply(job.protocol, &refusal(&error))),
        },
        Ok(Err(Stop::Killed)) => Some(error_reply(job.protocol, &killed_text(job))),
        // The databases were swapped under it.
        Ok(Err(Stop::Host)) => None,
        Ok(Err(Stop::TimeUp)) => Some(error_reply(
            job.protocol,
            "ERR Script took longer than script-time-limit allows; nothing of what it did has happened",
        )),
        Err(text) => Some(error_reply(job.protocol, &format!("ERR {text}"))),
    }
}
