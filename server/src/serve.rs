//! `sessile serve`: from a configuration to a running server, and to its orderly end.

use crate::config::{Config, Live, Role};
use crate::log;
use crate::net::{DiskThreads, EventLoop, ListenError, end_process_on_panic, listen};
use crate::server::Server;
use sessile::{Db, Durability};
use sessile_wal::{Clock, SystemClock, WalError};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Descriptors that the server needs beside those of its clients, as in Redis.
const DESCRIPTORS_RESERVED: u64 = 32;

/// What a loop's stack may grow to: scripts that nest deeply need more than a thread has by default.
const LOOP_STACK_BYTES: usize = 8 << 20;
/// How long the checkpoint at the end may take, in ms: less than a service manager's patience, which is 90 s mostly.
const LAST_CHECKPOINT_MS_MAX: f64 = 60_000.0;
/// How often it is looked whether a signal has come meanwhile.
const SIGNAL_LOOK: Duration = Duration::from_millis(50);

/// Why the server could not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database.
    #[error("can't open the database in {dir}: {source}{}", remedy(source))]
    Open {
        /// The data directory.
        dir: String,
        /// Why.
        source: sessile::Error,
    },
    /// The libraries of functions.
    #[error("can't load the libraries of functions: {reason}; nothing was changed")]
    Functions {
        /// Why, with the file's path.
        reason: String,
    },
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The ACL file.
    #[error("the users can't be read: {0}")]
    Users(crate::acl::AclFileError),
    /// The users of the configuration.
    #[error("the configuration's users are wrong: {0}")]
    UserLines(String),
    /// Nowhere to listen.
    #[error("nothing to listen on: port is 0 and there is no unixsocket")]
    Deaf,
    /// The operating system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// What was acknowledged last may not be durable.
    #[error("closing the database failed: {0}")]
    Close(sessile::Error),
}

/// What to do about a database that does not open, where that is not plain from the error.
fn remedy(error: &sessile::Error) -> &'static str {
    use sessile::Error;
    match error {
        Error::InUse { .. } => "; stop that process, or give this one a --dir of its own",
        Error::UnsupportedVersion { .. } | Error::Log(WalError::UnsupportedVersion { .. }) => {
            "; start the version of Sessile that wrote it. Nothing was changed"
        }
        Error::DamagedManifest { .. }
        | Error::MissingManifest { .. }
        | Error::DamagedFile { .. }
        | Error::MissingFile { .. }
        | Error::Log(_) => "; nothing was changed. See 'A start that is refused' in docs/operations.md",
        Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "; the user that runs sessile must own the directory"
        }
        _ => "",
    }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::System { what, source }
}

/// Reads the users of `aclfile`, if there is one, or those of the configuration.
fn load_users(server: &Server) -> Result<(), ServeError> {
    let config = server.config();
    let path = config.get("aclfile");
    let all_channels = config.get("acl-pubsub-default") == "allchannels";
    if !config.users().is_empty() {
        if !path.is_empty() {
            return Err(ServeError::UserLines(
                "there are users both in it and in aclfile: keep them in one place".into(),
            ));
        }
        let mut users = crate::acl::defined(config.users(), all_channels).map_err(ServeError::UserLines)?;
        if !users.iter().any(|(name, _)| name == crate::acl::DEFAULT_USER) {
            // It is what `requirepass` makes of it.
            users.push((crate::acl::DEFAULT_USER.to_vec(), (*server.acl.default_user().rights()).clone()));
        }
        server.acl.replace(users);
        return Ok(());
    }
    if path.is_empty() {
        return Ok(());
    }
    let users = crate::acl::load(&sessile_wal::RealFs, std::path::Path::new(path), all_channels)
        .map_err(ServeError::Users)?;
    tracing::info!(path, users = users.len(), "users are those of the ACL file");
    server.acl.replace(users);
    Ok(())
}

/// Serves until a signal or `SHUTDOWN` ends it.
///
/// # Errors
///
/// What keeps it from starting, or from ending with everything on disk.
pub fn serve(config: Config, config_file: Option<String>) -> Result<(), ServeError> {
    let begun_ns = SystemClock.monotonic_ns();
    let mut live = Live::from_config(&config);
    let control = log::start(live.log_level, live.log_format);
    std::panic::set_hook(Box::new(|panic| tracing::error!("panic: {panic}; please report this")));
    tracing::info!("Sessile {} (process {})", env!("CARGO_PKG_VERSION"), std::process::id());
    for directive in config.ignored() {
        debug_assert_eq!(directive.role, Role::Ignored);
        tracing::info!("{} is accepted but has no effect: {}", directive.name, directive.summary);
    }
    let mut config = config;
    let clients_max = raise_descriptor_limit(live.clients_max);
    if clients_max < live.clients_max {
        tracing::warn!(
            "maxclients is {clients_max} instead of {}: the limit of open files allows no more (raise it with ulimit -n)",
            live.clients_max
        );
        // A number in the directive's range.
        let _ = config.set("maxclients", &[&clients_max.to_string()]);
        live = Live::from_config(&config);
    }

    // Before a recovery that may take long.
    if config.get("port") == "0" && config.get("unixsocket").is_empty() {
        return Err(ServeError::Deaf);
    }
    let dir = config.get("dir").to_owned();
    let db = live
        .storage
        .options()
        .durability(live.durability)
        .sync_thread()
        .open(&dir)
        .map_err(|source| ServeError::Open { dir: dir.clone(), source })?;
    tell_recovery(&dir, &db);

    let unix_path = config.get("unixsocket").to_owned();
    let unix_mode = u32::from_str_radix(config.get("unixsocketperm"), 8).unwrap_or(0);
    let port = config.get("port").parse().unwrap_or(0);
    let backlog = config.get("tcp-backlog").parse().unwrap_or(511);
    let unix = (!unix_path.is_empty()).then_some((unix_path.as_str(), unix_mode));
    let listeners = listen(config.get("bind"), port, backlog, unix)?;
    if listeners.is_empty() {
        return Err(ServeError::Deaf);
    }
    let addresses: Vec<String> = listeners.iter().map(crate::net::Listener::describe).collect();
    let server = Server::new(db, config, config_file, control);
    #[cfg(feature = "scripting")]
    server.scripting.libraries.open(&server).map_err(|reason| ServeError::Functions { reason })?;
    load_users(&server)?;
    let protection = match (live.protected_mode, server.acl.lets_anybody_in()) {
        (_, false) => "password required",
        (true, true) => "protected mode: clients on this machine only",
        (false, true) => "NO PASSWORD AND NO PROTECTED MODE: anybody who reaches the port can do anything",
    };

    let loop_count = match server.config().get("io-threads").parse().unwrap_or(0) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let disk = Arc::new(DiskThreads::start().map_err(system("starting the threads that wait for disks"))?);
    let mut loops = (0..loop_count)
        .map(|number| EventLoop::new(number, Arc::clone(&server), Arc::clone(&disk)))
        .collect::<io::Result<Vec<_>>>()
        .map_err(system("creating an event loop"))?;
    let handles: Vec<_> = loops.iter().map(EventLoop::handle).collect();
    let for_notifier = handles.clone();
    // Set once, here.
    let _ = server.loops.set(handles);
    server.db.set_notifier(Box::new(move || for_notifier.iter().for_each(|handle| handle.log_moved())));
    let signals = signals().map_err(system("listening for signals"))?;
    let mut signals_at_end = signals.try_clone().map_err(system("listening for signals"))?;
    if let Some(first) = loops.first_mut() {
        first.accept_from(listeners).map_err(system("watching the listening sockets"))?;
        first.hear_signals(signals).map_err(system("watching for signals"))?;
    }
    let durability = promise_of(live.durability);
    tracing::info!("{durability}; {protection}");
    tracing::info!(
        "listening on {} with up to {loop_count} event loops; started in {:.1} ms",
        addresses.join(", "),
        milliseconds_since(begun_ns)
    );

    let threads = loops
        .into_iter()
        .enumerate()
        .map(|(number, event_loop)| {
            let server = Arc::clone(&server);
            std::thread::Builder::new()
                .name(format!("loop-{number}"))
                .stack_size(LOOP_STACK_BYTES)
                .spawn(move || run(event_loop, &server))
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(system("starting an event loop"))?;
    let mut result = Ok(());
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(source)) => result = Err(ServeError::System { what: "an event loop", source }),
            Err(_) => unreachable!("a loop that panics ends the process"),
        }
    }
    #[cfg(feature = "scripting")]
    server.scripting.end();
    drop(disk);
    if !server.shutdown.no_save.load(Ordering::SeqCst) {
        last_checkpoint(&server.db, &mut signals_at_end);
    }
    server.db.flush().and_then(|()| server.db.close()).map_err(ServeError::Close)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the path of a socket, which is no data of ours: nothing to simulate"
    )]
    if !unix_path.is_empty() {
        let _ = std::fs::remove_file(&unix_path);
    }
    tracing::info!("everything is on disk; bye");
    result
}

/// Makes a checkpoint, so that the next start has little of the log to read. All is in the log: it is given up without loss when it takes too
/// long, or when a signal comes once more.
fn last_checkpoint(db: &Db, signals: &mut UnixStream) {
    let begun_ns = SystemClock.monotonic_ns();
    let (done, ended) = std::sync::mpsc::channel();
    let db = db.clone();
    tracing::info!("making a checkpoint");
    let started = std::thread::Builder::new().name("last-checkpoint".to_owned()).spawn(move || {
        // Nobody listens any more once it was given up.
        let _ = done.send(db.checkpoint());
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for a checkpoint: the next start reads the log instead");
        return;
    }
    loop {
        match ended.recv_timeout(SIGNAL_LOOK) {
            Ok(Ok(())) => {
                tracing::info!("checkpoint made in {:.1} ms", milliseconds_since(begun_ns));
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the checkpoint failed: the next start reads the log instead");
                return;
            }
            // Its thread has panicked, and told of it.
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let milliseconds = milliseconds_since(begun_ns);
        // The loop that listened to the signals has made this socket non-blocking.
        let signalled = matches!(signals.read(&mut [0; 16]), Ok(count) if count > 0);
        if signalled || milliseconds > LAST_CHECKPOINT_MS_MAX {
            let why = if signalled { " by another signal" } else { "" };
            tracing::warn!(
                "the checkpoint is given up after {milliseconds:.0} ms{why}: the next start reads the log instead"
            );
            return;
        }
    }
}

fn run(event_loop: EventLoop, server: &Server) -> io::Result<()> {
    let result = end_process_on_panic("an event loop", || event_loop.run());
    if let Err(error) = &result {
        tracing::error!(%error, "an event loop failed: shutting down");
        server.request_shutdown(false);
    }
    result
}

/// What the durability level promises.
fn promise_of(durability: Durability) -> &'static str {
    match durability {
        Durability::Always => "appendfsync always: an acknowledged write survives a power cut",
        Durability::EverySecond => {
            "appendfsync everysec: an acknowledged write survives any crash of the process, a power cut costs a second at most"
        }
        Durability::No => {
            "appendfsync no: an acknowledged write survives any crash of the process, but no power cut"
        }
    }
}

/// Says what was found in the data directory. Of a torn tail and of a clock set back the log and the engine have told already.
fn tell_recovery(dir: &str, db: &Db) {
    let found = db.recovery();
    if found.created {
        tracing::info!("new database in {dir}");
        return;
    }
    let storage = db.stats().storage;
    let mebibytes = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    let milliseconds = found.elapsed.as_secs_f64() * 1e3;
    let checkpoint = match storage.last_checkpoint_ms {
        0 => String::new(),
        made_ms => format!(
            "a checkpoint made {} s ago (index of {:.1} MiB, {} segments of {:.1} MiB, not read) and ",
            db.now_ms().saturating_sub(made_ms) / 1000,
            mebibytes(storage.index_bytes),
            storage.segments,
            mebibytes(storage.segment_bytes),
        ),
    };
    tracing::info!(
        "recovered {} keys in {dir} from {checkpoint}{} log records ({:.1} MiB) in {milliseconds:.1} ms",
        found.keys,
        found.log_records,
        mebibytes(found.log_bytes),
    );
}

fn milliseconds_since(begun_ns: u64) -> f64 {
    (SystemClock.monotonic_ns() - begun_ns) as f64 / 1e6
}

/// A byte comes through it for each SIGTERM or SIGINT.
fn signals() -> io::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, sender.try_clone()?)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGINT, sender)?;
    Ok(receiver)
}

/// Raises the limit of open files for this many clients, as far as the system lets us; how many clients that is.
pub(crate) fn raise_descriptor_limit(clients_max: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = clients_max as u64 + DESCRIPTORS_RESERVED;
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return clients_max;
    }
    let reachable = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    let raised =
        match setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum: limit.maximum }) {
            Ok(()) => reachable,
            Err(_) => current,
        };
    usize::try_from(raised.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(usize::MAX).clamp(1, clients_max)
}
