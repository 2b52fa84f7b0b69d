//! A server child on a free port with a fresh directory, and the CPU time it has used.
#![expect(clippy::disallowed_methods, reason = "real processes on a real disk")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Which program serves.
#[derive(Clone, Debug)]
pub enum Program {
    /// `redis-server`, with an append-only file that is never rewritten while we measure (which spares it work), and any further directives.
    Redis(PathBuf, Vec<(String, String)>),
    /// `sessile serve`, with any further directives.
    Sessile(PathBuf, Vec<(String, String)>),
}

impl Program {
    /// The program with more directives; of two with one name, the later counts.
    #[must_use]
    pub fn with(&self, directives: &[(&str, &str)]) -> Program {
        let mut program = self.clone();
        let (Program::Redis(_, list) | Program::Sessile(_, list)) = &mut program;
        list.extend(directives.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        program
    }

    fn command(&self) -> Command {
        let (mut command, directives) = match self {
            Program::Redis(path, directives) => {
                let mut command = Command::new(path);
                command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
                command.args(["--auto-aof-rewrite-percentage", "0"]);
                (command, directives)
            }
            Program::Sessile(path, directives) => {
                let mut command = Command::new(path);
                command.arg("serve");
                (command, directives)
            }
        };
        for (name, value) in directives {
            command.arg(format!("--{name}")).arg(value);
        }
        command
    }
}

/// A fresh data directory under `parent`; it is removed with the last reference to it.
///
/// # Errors
///
/// When it can't be made.
pub fn data_directory(parent: &Path) -> io::Result<Arc<TempDir>> {
    tempfile::Builder::new().prefix("sessile-bench-").tempdir_in(parent).map(Arc::new)
}

/// A running server; dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    directory: Arc<TempDir>,
    launched: Instant,
}

impl Server {
    /// Starts `program` with its data in a fresh directory under `parent`, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When the program can't be started or does not answer within 30 seconds.
    pub fn start(program: &Program, parent: &Path, appendfsync: &str) -> io::Result<Server> {
        let mut server = Server::launch(program, data_directory(parent)?, appendfsync)?;
        server.wait_for_answer(Duration::from_secs(30))?;
        Ok(server)
    }

    /// Starts `program` on a directory that may hold data, and does not wait for it.
    ///
    /// # Errors
    ///
    /// When the program can't be started.
    pub fn launch(program: &Program, directory: Arc<TempDir>, appendfsync: &str) -> io::Result<Server> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = program.command();
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(directory.path());
        command.args(["--appendfsync", appendfsync]);
        let output = std::fs::File::create(directory.path().with_extension("output"))?;
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        let launched = Instant::now();
        let child = command.spawn().map_err(|error| io::Error::other(format!("{command:?}: {error}")))?;
        Ok(Server { child, port, directory, launched })
    }

    /// Waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends (with what it said), or does not answer in time.
    pub fn wait_for_answer(&mut self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        while !self.answers() {
            self.check_running()?;
            if Instant::now() >= deadline {
                return Err(io::Error::other("the server does not answer"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Fails if the process has ended, with what it said.
    ///
    /// # Errors
    ///
    /// If so.
    pub fn check_running(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let said = std::fs::read_to_string(self.directory.path().with_extension("output"))?;
                Err(io::Error::other(format!("the server has ended with {status}:\n{said}")))
            }
        }
    }

    /// When the process was started.
    pub fn launched(&self) -> Instant {
        self.launched
    }

    /// Kills it (`SIGKILL`); its data stays.
    pub fn kill(self) -> Arc<TempDir> {
        let directory = Arc::clone(&self.directory);
        drop(self);
        directory
    }

    /// Ends it in good order (`SIGTERM`); its data stays.
    ///
    /// # Errors
    ///
    /// When it fails at that, or takes longer than five minutes.
    pub fn terminate(mut self) -> io::Result<Arc<TempDir>> {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(self.kill()),
                Some(_) => self.check_running()?,
                None if Instant::now() >= deadline => {
                    return Err(io::Error::other("the server does not end"));
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn answers(&self) -> bool {
        let ping = || -> io::Result<bool> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.write_all(b"PING\r\n")?;
            let mut reply = [0; 7];
            stream.read_exact(&mut reply)?;
            Ok(&reply == b"+PONG\r\n")
        };
        ping().unwrap_or(false)
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// CPU time of all its threads, user and system, since it started, in microseconds (to 10 ms).
    ///
    /// # Errors
    ///
    /// When `/proc` has no such process any more.
    pub fn cpu_microseconds(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in parentheses, may hold anything; after it, utime and stime are the 12th and 13th words.
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: Vec<u64> =
            after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
        let [user, system] = ticks[..] else {
            return Err(io::Error::other("/proc/<pid>/stat has another form"));
        };
        Ok((user + system) * 1_000_000 / rustix::param::clock_ticks_per_second())
    }

    /// Bytes that it caused to be written to the disk, as the kernel counts them for a process: when pages become dirty. It misses what is
    /// written over again (see [`Disk`](crate::disk::Disk)).
    ///
    /// # Errors
    ///
    /// When `/proc` has no such process any more.
    pub fn written_bytes(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        line.and_then(|figure| figure.trim().parse().ok())
            .ok_or_else(|| io::Error::other("/proc/<pid>/io has no write_bytes"))
    }

    /// Bytes of memory it occupies.
    ///
    /// # Errors
    ///
    /// When `/proc` has no such process any more.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        Ok(self.resident_kib()? * 1024)
    }

    /// Kilobytes of memory it occupies.
    ///
    /// # Errors
    ///
    /// When `/proc` has no such process any more.
    pub fn resident_kib(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other("/proc/<pid>/status has no VmRSS"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(self.directory.path().with_extension("output"));
    }
}

/// Redis's binary: the one that `REDIS_BIN` names, or `redis-server`.
pub fn redis_binary() -> PathBuf {
    std::env::var_os("REDIS_BIN").unwrap_or_else(|| "redis-server".into()).into()
}

/// Sessile's binary: the one that `SESSILE_BIN` names, or built now, and beside the one that runs.
///
/// # Errors
///
/// When it can't be built.
pub fn sessile_binary() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("SESSILE_BIN") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status =
        Command::new(cargo).args(["build", "--release", "--quiet", "-p", "sessile-server"]).status()?;
    let path = std::env::current_exe()?.with_file_name("sessile");
    if !status.success() || !path.exists() {
        return Err(io::Error::other(format!(
            "{} can't be built; SESSILE_BIN can name another",
            path.display()
        )));
    }
    Ok(path)
}
