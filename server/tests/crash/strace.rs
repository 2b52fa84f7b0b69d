//! A failing or slow disk under the real binary: `strace` attaches to the running server and answers some of its system calls
//! itself, or delays them, until it is told to let go.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::ledger::wait_until;
use crate::support::Server;
use crate::support::oracles;

/// How long attaching to all threads, or letting go of them, may take.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(20);

/// The server's system calls are being tampered with. Dropping it lets go of the server.
#[derive(Debug)]
pub(crate) struct Injection {
    strace: Child,
    server: u32,
}

/// Whether this machine lets us: `None` if so, else what to say.
pub(crate) fn impossible(case: &str) -> Option<String> {
    if oracles::program(case, "strace").is_none() {
        return Some("no strace".to_owned());
    }
    let mut sleeper = Command::new("sleep").arg("10").spawn().expect("a child that sleeps");
    let tried = Command::new("timeout")
        .args(["-s", "INT", "0.3", "strace", "-q", "-o", "/dev/null", "-p", &sleeper.id().to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("strace runs");
    sleeper.kill().and_then(|()| sleeper.wait()).expect("end the child");
    let said = String::from_utf8_lossy(&tried.stderr);
    said.contains("attach:").then(|| format!("strace may not attach here: {}", said.trim()))
}

impl Injection {
    /// Attaches to all threads; `injections` as strace's `-e inject=` takes them.
    pub(crate) fn into(server: &Server, injections: &[&str]) -> Injection {
        Injection::into_files(server, injections, None)
    }

    /// The same for the calls only that concern `path`.
    pub(crate) fn into_files(server: &Server, injections: &[&str], path: Option<&Path>) -> Injection {
        let calls: Vec<&str> =
            injections.iter().map(|one| one.split(':').next().expect("split gives one at least")).collect();
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-o"]).arg(server.scratch("strace"));
        command.arg("-e").arg(format!("trace={}", calls.join(",")));
        for injection in injections {
            command.arg("-e").arg(format!("inject={injection}"));
        }
        if let Some(path) = path {
            command.arg("-P").arg(path);
        }
        command.arg("-p").arg(server.process_id().to_string()).stdin(Stdio::null());
        let strace = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut injection = Injection { strace, server: server.process_id() };
        let attached = wait_until(ATTACH_TIMEOUT, || injection.tracers().iter().all(|traced| *traced));
        if !attached {
            let ended = injection.strace.try_wait().expect("wait");
            panic!("{command:?} did not attach: {ended:?}");
        }
        injection
    }

    /// For each thread of the server, whether it is being traced.
    fn tracers(&self) -> Vec<bool> {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.server)) else { return Vec::new() };
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
            .map(|status| status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")))
            .collect()
    }

    /// Lets go: from here on the disk is well again.
    pub(crate) fn end(self) {}
}

impl Drop for Injection {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.strace.id() as i32) {
            // It detaches from all threads and ends; a server that died has ended it already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = wait_until(ATTACH_TIMEOUT, || !matches!(self.strace.try_wait(), Ok(None)));
        if !ended {
            let _ = self.strace.kill().and_then(|()| self.strace.wait());
        }
    }
}
