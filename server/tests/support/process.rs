//! A server as a child process: started on a free port with a directory of its own, killed, signalled, restarted.
//!
//! `SESSILE_BIN` names another server's binary. One whose file name begins with `redis-server` is started as Redis
//! is, with an append-only file, so that every test here can be tried against the original.
#![expect(
    clippy::disallowed_methods,
    reason = "tests of a real process use the real disk and the real clock"
)]

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, Value};

/// How long a server may take to answer its first PING, on a loaded machine and after a long log.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to end once it was asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct ServerOptions {
    binary: PathBuf,
    appendfsync: String,
    directives: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl ServerOptions {
    /// The server under test with one of Redis's three durability levels.
    pub(crate) fn new(appendfsync: &str) -> ServerOptions {
        let binary = std::env::var_os("SESSILE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_sessile").into());
        ServerOptions {
            binary: binary.into(),
            appendfsync: appendfsync.to_owned(),
            directives: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The same of another binary.
    pub(crate) fn of(mut self, binary: &str) -> ServerOptions {
        self.binary = binary.into();
        self
    }

    /// Adds a redis.conf directive.
    pub(crate) fn with(mut self, name: &str, value: &str) -> ServerOptions {
        self.directives.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of the server's environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> ServerOptions {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether the server is Redis itself (see the module's comment).
    pub(crate) fn is_redis(&self) -> bool {
        self.binary.file_name().is_some_and(|name| name.to_string_lossy().starts_with("redis-server"))
    }

    /// The command that starts the server on `port` with its files in `directory`.
    pub(crate) fn command(&self, port: u16, directory: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        if self.is_redis() {
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        } else {
            command.arg("serve");
        }
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(directory);
        command.args(["--appendfsync", &self.appendfsync]);
        for (name, value) in &self.directives {
            command.arg(format!("--{name}")).arg(value);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A server child. Dropping it kills the process and removes its files; a panicking test prints its output first.
#[derive(Debug)]
pub(crate) struct Server {
    options: ServerOptions,
    home: tempfile::TempDir,
    directory: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on a free port with an empty directory and waits until it answers.
    pub(crate) fn start(options: ServerOptions) -> Server {
        let home = tempfile::Builder::new().prefix("sessile-test-").tempdir().expect("a temporary directory");
        let directory = home.path().join("data");
        fs::create_dir(&directory).expect("a data directory");
        let mut server = Server { options, home, directory, port: free_port(), child: None };
        server.restart();
        server
    }

    /// The same in a directory of the test's, which stays when the server goes.
    pub(crate) fn start_in(options: ServerOptions, directory: &Path) -> Server {
        let home = tempfile::Builder::new().prefix("sessile-test-").tempdir().expect("a temporary directory");
        let directory = directory.to_owned();
        let mut server = Server { options, home, directory, port: free_port(), child: None };
        server.restart();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// What the next process is started with.
    pub(crate) fn set_options(&mut self, options: ServerOptions) {
        self.options = options;
    }

    /// Starts another process on this server's directory, which must refuse to serve; what it says.
    pub(crate) fn refused_start(&self) -> String {
        let path = self.scratch("refused");
        let output = File::create(&path).expect("a file for its output");
        let mut command = self.options.command(free_port(), &self.directory());
        command.stdin(Stdio::null()).stderr(output.try_clone().expect("a second handle")).stdout(output);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let deadline = Instant::now() + STOP_TIMEOUT;
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill().and_then(|()| child.wait()).expect("kill");
                panic!("{command:?} should have refused to start");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let said = String::from_utf8_lossy(&fs::read(&path).expect("its output")).into_owned();
        assert!(!status.success(), "{command:?} should have refused to start: {said}");
        said
    }

    /// The data directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    /// A directory beside the data directory, gone with the server.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The process id of the running child.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// All that the server has written to its standard output and error, over all its lives.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.path().join("output")).unwrap_or_default()).into_owned()
    }

    /// Starts the process and returns at once, whether or not it is ready.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "the server already runs");
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join("output"))
            .expect("the server's output file");
        let mut command = self.options.command(self.port, &self.directory());
        command.stdin(Stdio::null()).stderr(output.try_clone().expect("a second handle")).stdout(output);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    /// Waits until the server answers commands.
    pub(crate) fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let answer = Client::connect(self.port).and_then(|mut client| client.call(&["PING"]));
            match answer {
                Ok(Value::Simple(pong)) if pong == "PONG" => return,
                Ok(value) if value.is_error("NOAUTH") => return,
                _ => {}
            }
            if let Some(status) = self.child.as_mut().expect("the server runs").try_wait().expect("wait") {
                self.child = None;
                panic!("the server ended with {status} instead of serving");
            }
            assert!(Instant::now() < deadline, "the server did not answer within {START_TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts the process on its directory and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.spawn();
        self.wait_until_ready();
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port).expect("connect to the server")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().expect("wait").is_some())
    }

    /// Sends a signal and goes on.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process_id() as i32).expect("a process id");
        kill_process(pid, signal).expect("signal the server");
    }

    /// Sends a signal and waits for the process to end.
    pub(crate) fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the process to end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait().expect("wait") {
                return status;
            }
            if Instant::now() >= deadline {
                self.child = Some(child);
                panic!("the server did not end within {STOP_TIMEOUT:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the process holds in memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process_id());
        let status = fs::read_to_string(&path).expect("/proc of the server");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        line.split_whitespace().nth(1).and_then(|figure| figure.parse().ok()).expect("a figure in KiB")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let start = output.len().saturating_sub(8000);
            println!("--- the server's output ---\n{}---", output.get(start..).unwrap_or(&output));
        }
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    listener.local_addr().expect("its address").port()
}
