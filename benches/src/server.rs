//! A server child on a free port with a fresh directory, and the CPU time it has used.
#![expect(clippy::disallowed_methods, reason = "real processes on a real disk")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which program serves.
#[derive(Clone, Debug)]
pub enum Program {
    /// `redis-server`, with an append-only file that is never rewritten while we measure (which spares it work).
    Redis(PathBuf),
    /// `sessile serve`, with any further directives.
    Sessile(PathBuf, Vec<(String, String)>),
}

/// A running server; dropping it kills the process and removes its files.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Server {
    /// Starts `program` with its data in a fresh directory under `parent`, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When the program can't be started or does not answer within 30 seconds.
    pub fn start(program: &Program, parent: &Path, appendfsync: &str) -> io::Result<Server> {
        let directory = tempfile::Builder::new().prefix("sessile-bench-").tempdir_in(parent)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = match program {
            Program::Redis(path) => {
                let mut command = Command::new(path);
                command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
                command.args(["--auto-aof-rewrite-percentage", "0"]);
                command
            }
            Program::Sessile(path, directives) => {
                let mut command = Command::new(path);
                command.arg("serve");
                for (name, value) in directives {
                    command.arg(format!("--{name}")).arg(value);
                }
                command
            }
        };
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(directory.path());
        command.args(["--appendfsync", appendfsync]);
        let output = std::fs::File::create(directory.path().with_extension("output"))?;
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        let child = command.spawn().map_err(|error| io::Error::other(format!("{command:?}: {error}")))?;
        let mut server = Server { child, port, directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !server.answers() {
            if let Some(status) = server.child.try_wait()? {
                let said = std::fs::read_to_string(server.directory.path().with_extension("output"))?;
                return Err(io::Error::other(format!("{command:?} ended with {status}:\n{said}")));
            }
            if Instant::now() >= deadline {
                return Err(io::Error::other(format!("{command:?} does not answer")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
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
