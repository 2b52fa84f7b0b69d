//! Real servers, Redis as the oracle and Sessile's binary, each in its own process on a Unix socket, gone with the value.

use crate::support::resp::{Reply, request, show_command};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

/// A connection to a server that this test started.
pub struct Process {
    child: Option<Child>,
    stream: UnixStream,
    unread: Vec<u8>,
    _directory: Rc<tempfile::TempDir>,
}

impl Process {
    /// Starts Redis; `None` if there is none on this machine.
    pub fn redis() -> Option<Process> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("redis-server");
        // The least longest string that Redis accepts: boundaries are cheap to reach.
        command.args(["--port", "0", "--save", "", "--proto-max-bulk-len", "1mb"]);
        command.args(["--enable-debug-command", "yes", "--hll-sparse-max-bytes", "400"]);
        // As often it looks whose time to wait is up.
        command.args(["--hz", "500"]);
        command.arg("--unixsocket").arg(directory.path().join("socket"));
        Process::start(command, directory)
    }

    /// Starts Sessile's binary, with these directives too.
    pub fn sessile(directives: &[&str]) -> Process {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile"));
        command.args(["serve", "--port", "0", "--proto-max-bulk-len", "1mb", "--appendfsync", "no"]);
        command.args(["--hll-sparse-max-bytes", "400"]);
        command.args(directives);
        command.arg("--dir").arg(directory.path().join("data"));
        command.arg("--unixsocket").arg(directory.path().join("socket"));
        Process::start(command, directory).expect("the binary was built with this test")
    }

    fn start(mut command: Command, directory: tempfile::TempDir) -> Option<Process> {
        let socket = directory.path().join("socket");
        command.current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("{command:?}: {error}"),
        };
        let stream = (0..500).find_map(|_| {
            pause(Duration::from_millis(10));
            UnixStream::connect(&socket).ok()
        });
        let stream = stream.expect("the server listens within five seconds");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
        let child = Some(child);
        Some(Process { child, stream, unread: Vec::new(), _directory: Rc::new(directory) })
    }

    /// Another connection to the same server, which is gone with the first.
    pub fn another(&self) -> Process {
        let stream = UnixStream::connect(self._directory.path().join("socket")).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
        Process { child: None, stream, unread: Vec::new(), _directory: Rc::clone(&self._directory) }
    }

    /// What comes next that was not asked for.
    pub fn receive(&mut self) -> Vec<u8> {
        let mut chunk = vec![0; 1 << 16];
        loop {
            if let Some((_, length)) = Reply::parse(&self.unread) {
                return self.unread.drain(..length).collect();
            }
            let length = self.stream.read(&mut chunk).expect("something comes");
            assert_ne!(length, 0, "the server closed the connection");
            self.unread.extend_from_slice(&chunk[..length]);
        }
    }

    /// Sends commands in one write; the bytes of their replies.
    pub fn exchange(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
        let requests: Vec<u8> = commands.iter().flat_map(|args| request(args)).collect();
        self.stream.write_all(&requests).expect("the server reads");
        let mut replies = Vec::with_capacity(commands.len());
        let (mut taken, mut chunk) = (0, vec![0; 1 << 16]);
        while replies.len() < commands.len() {
            match Reply::parse(&self.unread[taken..]) {
                Some((_, length)) => {
                    replies.push(self.unread[taken..taken + length].to_vec());
                    taken += length;
                }
                None => {
                    let length = self.stream.read(&mut chunk).unwrap_or_else(|error| {
                        panic!("no answer to {}: {error}", show_command(&commands[replies.len()]))
                    });
                    let unanswered = || show_command(&commands[replies.len()]);
                    assert_ne!(length, 0, "the server closed the connection at {}", unanswered());
                    self.unread.extend_from_slice(&chunk[..length]);
                }
            }
        }
        self.unread.drain(..taken);
        replies
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Lets real time pass: real processes start and real keys die by it.
#[expect(clippy::disallowed_methods, reason = "the other side of this test is a real process")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
