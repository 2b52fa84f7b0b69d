//! Real clients against a running server: web frameworks whose sessions must outlive a `kill -9`, the libraries'
//! own ways through the commands, the examples that are no Rust, and Redis's own tools. Programs that a machine lacks are skipped with a word, or
//! fail with `SESSILE_REQUIRE_ORACLES=1` (see `support/oracles.rs`); `server/tests/clients/prepare` installs the
//! packages.
#![expect(clippy::disallowed_methods, reason = "real processes die at real moments")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use support::{Random, Server, ServerOptions, Value, oracles, random};

/// Times that the server dies under a framework's load.
const KILLS: u64 = 3;

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What an example of the repository's has at this path.
fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(path)
}

/// Node and a script for it, where both and the packages are there.
fn node(test: &str, script: &str) -> Option<Command> {
    let node = oracles::program(test, "node")?;
    oracles::prepared(test, &clients().join("node/node_modules"), "server/tests/clients/prepare")?;
    let mut command = Command::new(node);
    command.arg(clients().join("node").join(script));
    Some(command)
}

/// Python and a script for it, where the environment with the packages is there.
fn python(test: &str, script: &str) -> Option<Command> {
    let python = clients().join("python/.venv/bin/python");
    let mut command = Command::new(oracles::prepared(test, &python, "server/tests/clients/prepare")?);
    command.arg(clients().join("python").join(script));
    Some(command)
}

/// PHP with its Redis extension, and a script for it.
fn php(test: &str, script: &str) -> Option<Command> {
    let php = oracles::program(test, "php")?;
    let modules = Command::new(&php).arg("-m").output().expect("php -m");
    if !String::from_utf8_lossy(&modules.stdout).lines().any(|line| line == "redis") {
        return oracles::skip(test, "PHP has no redis extension");
    }
    let mut command = Command::new(php);
    command.arg(clients().join("php").join(script));
    Some(command)
}

/// An application under load, driven over its standard input and output.
struct Application {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Application {
    fn start(mut command: Command, server: &Server) -> Application {
        command.env("REDIS_PORT", server.port().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Application { child, input, output }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.input, "{word}").unwrap_or_else(|error| panic!("the application is gone: {error}"));
    }

    /// The next line it prints; a broken promise is one too.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read from the application");
        assert!(!line.is_empty() && !line.starts_with("BROKEN"), "the application says {line:?} and ends");
        line.trim().to_owned()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills the server under the application's load, several times, and lets the application check all its sessions.
fn survives_kills(test: &str, command: Command) {
    let seed = random::seed(test);
    let mut random = Random::new(seed);
    let mut server = Server::start(ServerOptions::new("everysec"));
    let mut application = Application::start(command, &server);
    assert_eq!(application.hear(), "loaded");
    for kill in 1..=KILLS {
        std::thread::sleep(Duration::from_millis(random.within(20..500)));
        server.kill();
        server.restart();
        application.say("verify");
        let heard = application.hear();
        let checked: u64 =
            heard.strip_prefix("verified ").and_then(|count| count.parse().ok()).unwrap_or_else(|| {
                panic!("{test}, SESSILE_SEED={seed}: the application says {heard:?}");
            });
        assert!(checked >= 10, "after kill {kill} only {checked} sessions were there to check");
        println!("{test}: kill {kill}, {checked} sessions checked");
    }
    application.say("end");
    let status = application.child.wait().expect("wait");
    assert!(status.success(), "the application ended with {status}");
}

#[test]
fn express_sessions_survive_kills() {
    let test = "express_sessions_survive_kills";
    if let Some(command) = node(test, "express_sessions.mjs") {
        survives_kills(test, command);
    }
}

#[test]
fn django_sessions_survive_kills() {
    let test = "django_sessions_survive_kills";
    if let Some(command) = python(test, "django_sessions.py") {
        survives_kills(test, command);
    }
}

fn runs_to_its_end(mut command: Command) {
    let server = Server::start(ServerOptions::new("everysec"));
    command.env("REDIS_PORT", server.port().to_string());
    let output = succeeds(&mut command);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().last(), Some("done"));
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}\n{complained}", output.status);
    output
}

/// `examples/express`: concurrent requests, logins, logout everywhere; through node-redis and ioredis.
#[test]
fn the_express_example_loses_no_update_and_revives_no_session() {
    let test = "the_express_example_loses_no_update_and_revives_no_session";
    let modules = example("express/node_modules");
    if oracles::prepared(test, &modules, "server/tests/clients/prepare").is_none() {
        return;
    }
    if let Some(command) = node(test, "express_example.mjs") {
        runs_to_its_end(command);
    }
}

/// `examples/python`: a history that outlives programs, and turns appended while summaries are made.
#[test]
fn the_python_example_remembers_and_loses_no_turn() {
    if let Some(command) = python("the_python_example_remembers_and_loses_no_turn", "chat_example.py") {
        runs_to_its_end(command);
    }
}

#[test]
fn ioredis_and_node_redis_find_every_command() {
    if let Some(command) = node("ioredis_and_node_redis_find_every_command", "commands.mjs") {
        runs_to_its_end(command);
    }
}

#[test]
fn node_clients_hold_conversations() {
    if let Some(command) = node("node_clients_hold_conversations", "conversations.mjs") {
        runs_to_its_end(command);
    }
}

#[test]
fn rate_limiters_and_locks_of_node() {
    if let Some(command) = node("rate_limiters_and_locks_of_node", "rate_limits_and_locks.mjs") {
        runs_to_its_end(command);
    }
}

#[test]
fn bullmq_runs_its_jobs() {
    if let Some(command) = node("bullmq_runs_its_jobs", "queues.mjs") {
        runs_to_its_end(command);
    }
}

#[test]
fn redis_py_with_collections_and_scripts() {
    if let Some(command) = python("redis_py_with_collections_and_scripts", "redis_py_collections.py") {
        runs_to_its_end(command);
    }
}

#[test]
fn session_and_history_stores_of_python() {
    if let Some(mut command) = python("session_and_history_stores_of_python", "sessions_and_histories.py") {
        command.env("PYTHONWARNINGS", "ignore");
        runs_to_its_end(command);
    }
}

#[test]
fn php_locks_its_sessions() {
    if let Some(command) = php("php_locks_its_sessions", "sessions.php") {
        runs_to_its_end(command);
    }
}

#[test]
fn redis_rs_and_tower_sessions() {
    let program = clients().join("rust/target/debug/sessile-client-tests");
    let prepared = oracles::prepared("redis_rs_and_tower_sessions", &program, "server/tests/clients/prepare");
    if let Some(program) = prepared {
        runs_to_its_end(Command::new(program));
    }
}

#[test]
fn redis_py_finds_every_command() {
    if let Some(command) = python("redis_py_finds_every_command", "redis_py_commands.py") {
        runs_to_its_end(command);
    }
}

#[test]
fn redis_benchmark_runs_without_an_error() {
    let Some(program) = oracles::program("redis_benchmark_runs_without_an_error", "redis-benchmark") else {
        return;
    };
    let server = Server::start(ServerOptions::new("everysec"));
    for extra in
        [&["-n", "5000"][..], &["-n", "20000", "-P", "16"], &["-n", "5000", "-c", "1"], &["-n", "5000", "-3"]]
    {
        let mut command = Command::new(&program);
        command.args(["-p", &server.port().to_string(), "-q", "--csv", "-r", "1000"]);
        let output = succeeds(command.args(["-t", "ping,set,get,incr,hset,mset"]).args(extra));
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(
            !said.contains("rror") && !said.contains("WARN") && complained.is_empty(),
            "{said}\n{complained}"
        );
        for name in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "HSET", "MSET (10 keys)"] {
            assert!(said.contains(&format!("\"{name}\"")), "{name} is missing from\n{said}");
        }
    }
}

/// `redis-cli` with these words, and perhaps commands on its standard input; its output.
fn redis_cli(program: &Path, server: &Server, words: &[&str], input: &[u8]) -> String {
    let mut command = Command::new(program);
    command.args(["-p", &server.port().to_string()]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().expect("a pipe").write_all(input).expect("write to redis-cli");
    let output = child.wait_with_output().expect("wait for redis-cli");
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complained.is_empty(), "{command:?}: {}: {complained}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn redis_cli_works_in_each_of_its_ways() {
    let Some(program) = oracles::program("redis_cli_works_in_each_of_its_ways", "redis-cli") else { return };
    let server = Server::start(ServerOptions::new("everysec"));
    let cli = |words: &[&str]| redis_cli(&program, &server, words, b"");

    assert_eq!(cli(&["SET", "greeting", "hello world", "EX", "1000"]), "OK\n");
    assert_eq!(cli(&["GET", "greeting"]), "hello world\n");
    assert_eq!(cli(&["-n", "4", "GET", "greeting"]), "\n");
    assert_eq!(cli(&["-3", "HSET", "hash", "field", "value"]), "1\n");
    assert_eq!(cli(&["-3", "--json", "HGETALL", "hash"]), "{\"field\":\"value\"}\n");
    assert!(cli(&["INFO"]).contains("redis_version:7"));
    assert!(cli(&["COMMAND", "DOCS", "get"]).contains("summary"));
    assert!(cli(&["CLIENT", "LIST"]).contains("cmd=client|list"));
    assert!(cli(&["--no-auth-warning", "-r", "3", "PING"]).contains("PONG\nPONG\nPONG"));

    // Commands on standard input, one in error, and mass insertion as RESP.
    let said = redis_cli(&program, &server, &[], b"SET a 1\nINCR a\nNOSUCH x\nGET a\n");
    assert!(said.starts_with("OK\n2\nERR unknown command 'NOSUCH'") && said.ends_with("\n2\n"), "{said}");
    let mut mass = Vec::new();
    for number in 0..5000 {
        support::encode(&mut mass, &["SET".to_owned(), format!("mass:{number}"), "x".repeat(number % 300)]);
    }
    let said = redis_cli(&program, &server, &["--pipe"], &mass);
    assert!(said.contains("errors: 0, replies: 5000"), "{said}");

    let mut scanned: Vec<String> =
        cli(&["--scan", "--pattern", "mass:*"]).lines().map(str::to_owned).collect();
    scanned.sort_unstable();
    scanned.dedup();
    assert_eq!(scanned.len(), 5000);
    let biggest = cli(&["--bigkeys"]);
    assert!(biggest.contains("Sampled 5003 keys") && biggest.contains("299 bytes"), "{biggest}");
    let biggest = cli(&["--memkeys"]);
    assert!(biggest.contains("Sampled 5003 keys"), "{biggest}");
    assert_eq!(server.client().command("DBSIZE"), Value::Integer(5003));
}
