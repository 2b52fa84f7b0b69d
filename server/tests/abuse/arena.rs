//! Where an attack takes place: a server of its own, bystanders who must not notice, and the figures of both.
//!
//! ```text
//! start a server ─▶ prepare (data) ─▶ bystanders, memory ─▶ attack ─▶ a moment more ─▶ figures
//! ```
//!
//! What the preparation stores is part of the baseline, and so costs the attack nothing; what an attack itself stores it
//! declares ([`Arena::data`]). A server that ends, panics or stops answering fails the drill whatever the figures.

use super::bystander::{Bystanders, Wait};
use super::skim::Skim;
use super::support::{Client, Random, Server, ServerOptions, Value, encode};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The password where an attack comes before it.
pub(crate) const PASSWORD: &str = "a-password-that-nobody-guesses";

/// How long a single request may take before the drill calls the server hung.
const PATIENCE: Duration = Duration::from_secs(180);

/// One way to do harm.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// Whether the server asks for a password, which the attackers do not have.
    pub(crate) before_auth: bool,
    /// Whether only this server can be asked for it.
    pub(crate) only_sessile: bool,
    directives: &'static [(&'static str, &'static str)],
    prepare: fn(&Arena),
    run: Run,
}

#[derive(Clone, Copy)]
enum Run {
    Attack(fn(&Arena)),
    /// Of what it is named for.
    Script(fn(&Arena, &str)),
}

impl Attack {
    pub(crate) const fn new(name: &'static str, run: fn(&Arena)) -> Attack {
        let run = Run::Attack(run);
        Attack { name, before_auth: false, only_sessile: false, directives: &[], prepare: |_| {}, run }
    }

    /// A script, by whose text the attack is known.
    pub(crate) const fn script(script: &'static str, run: fn(&Arena, &str)) -> Attack {
        Attack { run: Run::Script(run), ..Attack::new(script, |_| {}) }
    }

    /// With data made beforehand.
    pub(crate) const fn on(name: &'static str, prepare: fn(&Arena), run: fn(&Arena)) -> Attack {
        Attack { prepare, ..Attack::new(name, run) }
    }

    /// The same by those who have no password.
    pub(crate) const fn strangers(self) -> Attack {
        Attack { before_auth: true, ..self }
    }

    /// With directives of its own.
    pub(crate) const fn with(self, directives: &'static [(&'static str, &'static str)]) -> Attack {
        Attack { directives, ..self }
    }

    /// Nothing that Redis 7.0 has.
    pub(crate) const fn only_sessile(self) -> Attack {
        Attack { only_sessile: true, ..self }
    }
}

fn spell(scale: u64) -> Duration {
    Duration::from_millis((30 * scale).clamp(300, 3000))
}

/// What came of an attack.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// The longest that a bystander waited, and for what.
    pub(crate) wait: Wait,
    /// The longest that a thread of this process was late by itself: how busy the machine was.
    pub(crate) noise: Duration,
    /// By how much memory grew at most, over the baseline and what the data takes.
    pub(crate) growth_kib: u64,
    pub(crate) took: Duration,
}

/// See the module's page.
pub(crate) struct Arena {
    server: Server,
    before_auth: bool,
    scale: u64,
    seed: u64,
    requests: AtomicU64,
    data_bytes: AtomicU64,
}

impl Arena {
    /// Starts a server, prepares it, and has it attacked. `scale` is in percent of the campaign's sizes.
    pub(crate) fn hold(attack: &Attack, scale: u64, seed: u64) -> Outcome {
        let mut options = ServerOptions::new("everysec").with("maxclients", "20000");
        if attack.before_auth {
            options = options.with("requirepass", PASSWORD);
        }
        if options.is_redis() {
            options = options.with("enable-debug-command", "local").with("auto-aof-rewrite-percentage", "0");
        }
        for (name, value) in attack.directives {
            options = options.with(name, value);
        }
        if !options.is_redis() {
            // What goes on for ever is ended after a spell.
            options = options.with("script-time-limit", &spell(scale).as_millis().to_string());
        }
        let mut arena = Arena {
            server: Server::start(options),
            before_auth: attack.before_auth,
            scale,
            seed,
            requests: AtomicU64::new(0),
            data_bytes: AtomicU64::new(0),
        };
        (attack.prepare)(&arena);
        arena.requests.store(0, Ordering::Relaxed);
        arena.data_bytes.store(0, Ordering::Relaxed);
        let bystanders = Bystanders::start(arena.server.port(), arena.server.process_id(), arena.before_auth);
        // The baseline holds what the bystanders themselves take.
        std::thread::sleep(Duration::from_millis(100));
        let before_kib = arena.server.resident_kib();
        bystanders.begin();
        let begun = Instant::now();
        match attack.run {
            Run::Attack(run) => run(&arena),
            Run::Script(run) => run(&arena, attack.name),
        }
        let took = begun.elapsed();
        std::thread::sleep(Duration::from_millis(100));
        let figures = bystanders.end();
        arena.check_health(attack.name);
        let data_kib = arena.data_bytes.load(Ordering::Relaxed) / 1024;
        Outcome {
            requests: arena.requests.load(Ordering::Relaxed),
            wait: figures.wait,
            noise: figures.noise,
            growth_kib: figures.peak_kib.saturating_sub(before_kib).saturating_sub(data_kib),
            took,
        }
    }

    fn check_health(&mut self, name: &str) {
        let pong = self.client().command("PING");
        assert_eq!(pong, Value::Simple("PONG".to_owned()), "after {name:?}");
        let output = self.server.output();
        assert!(!output.contains("panicked"), "{name:?} made it panic: {output}");
    }

    /// So much of the campaign's size.
    pub(crate) fn scaled(&self, full: u64) -> u64 {
        (full * self.scale / 100).max(1)
    }

    /// Percent of the campaign's sizes.
    pub(crate) fn scale(&self) -> u64 {
        self.scale
    }

    /// How long what could go on for ever does.
    pub(crate) fn spell(&self) -> Duration {
        spell(self.scale)
    }

    /// Random figures that are the same at each run with this seed.
    pub(crate) fn random(&self) -> Random {
        Random::new(self.seed)
    }

    /// Counts requests.
    pub(crate) fn count(&self, requests: u64) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }

    /// Declares that the attack stores so much.
    pub(crate) fn data(&self, bytes: u64) {
        self.data_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A client that may do anything.
    pub(crate) fn client(&self) -> Client {
        let mut client = self.server.client();
        if self.before_auth {
            assert_eq!(client.command(&format!("AUTH {PASSWORD}")), Value::ok());
        }
        client
    }

    /// A connection that has said nothing yet; of an attacker without the password, if there is one.
    pub(crate) fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server.port())).expect("connect");
        stream.set_nodelay(true).expect("set an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
        stream
    }

    /// Sends a command in words and reads its reply, whatever and however large it is; its first line.
    pub(crate) fn ask(&self, words: &str) -> Vec<u8> {
        self.ask_of(&words.split(' ').collect::<Vec<_>>())
    }

    /// As [`ask`](Self::ask), of arguments.
    pub(crate) fn ask_of<Argument: AsRef<[u8]>>(&self, arguments: &[Argument]) -> Vec<u8> {
        let mut request = Vec::new();
        encode(&mut request, arguments);
        self.exchange(&request, 1).pop().unwrap_or_default()
    }

    /// Sends requests and reads so many replies; the first line of the last, unless the connection ended before.
    pub(crate) fn exchange(&self, requests: &[u8], replies: usize) -> Vec<Vec<u8>> {
        self.count(replies as u64);
        let stream = self.raw();
        let mut writer = stream.try_clone().expect("a second handle");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // It may be closed in the midst.
                let _ = writer.write_all(requests);
            });
            let mut skim = Skim::new(stream);
            (0..replies).map_while(|_| skim.reply().ok()).collect()
        })
    }

    /// As [`exchange`](Self::exchange); the connection, still open.
    pub(crate) fn exchange_held(&self, requests: &[u8], replies: usize) -> TcpStream {
        self.count(replies as u64);
        let stream = self.raw();
        let mut writer = stream.try_clone().expect("a second handle");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // It may be closed in the midst.
                let _ = writer.write_all(requests);
            });
            let mut skim = Skim::new(stream.try_clone().expect("a second handle"));
            (0..replies).take_while(|_| skim.reply().is_ok()).count();
        });
        stream
    }

    /// Executes requests made one by one, pipelined, and waits for their replies, none of which may be an error.
    pub(crate) fn fill(&self, count: u64, mut request: impl FnMut(u64, &mut Vec<u8>)) {
        let mut skim = Skim::new(self.client().stream().try_clone().expect("a second handle"));
        let mut requests = Vec::new();
        let (mut made, mut pending) = (0, 0);
        while made < count {
            request(made, &mut requests);
            (made, pending) = (made + 1, pending + 1);
            if requests.len() > 256 * 1024 || pending == 1000 || made == count {
                skim.stream().write_all(&requests).expect("send");
                for _ in 0..pending {
                    let reply = skim.reply().expect("a reply");
                    assert!(reply.first() != Some(&b'-'), "{}", String::from_utf8_lossy(&reply));
                }
                requests.clear();
                pending = 0;
            }
        }
    }

    /// A collection of `count` elements: `command key`, and then what `each` adds for each.
    pub(crate) fn fill_collection(
        &self,
        command: &str,
        key: &str,
        count: u64,
        each: impl Fn(u64, &mut Vec<String>),
    ) {
        const BATCH: u64 = 500;
        self.fill(count.div_ceil(BATCH), |batch, requests| {
            let mut arguments = vec![command.to_owned(), key.to_owned()];
            for number in batch * BATCH..((batch + 1) * BATCH).min(count) {
                each(number, &mut arguments);
            }
            encode(requests, &arguments);
        });
    }

    pub(crate) fn fill_list(&self, key: &str, count: u64) {
        self.fill_collection("RPUSH", key, count, |number, to| to.push(format!("element-{number:09}")));
    }

    pub(crate) fn fill_set(&self, key: &str, count: u64) {
        self.fill_collection("SADD", key, count, |number, to| to.push(format!("member-{number:09}")));
    }

    pub(crate) fn fill_hash(&self, key: &str, count: u64) {
        self.fill_collection("HSET", key, count, |number, to| {
            to.extend([format!("field-{number:09}"), format!("value-{number}")]);
        });
    }

    pub(crate) fn fill_sorted_set(&self, key: &str, count: u64) {
        self.fill_collection("ZADD", key, count, |number, to| {
            to.extend([format!("{}", number % 1000), format!("member-{number:09}")]);
        });
    }

    pub(crate) fn fill_keys(&self, prefix: &str, count: u64) {
        self.fill(count, |number, requests| {
            encode(requests, &["SET", &format!("{prefix}{number:09}"), "a value of some length"]);
        });
    }

    /// A string of so many bytes.
    pub(crate) fn fill_string(&self, key: &str, bytes: u64) {
        const PART: u64 = 1 << 20;
        self.fill(bytes.div_ceil(PART), |_, requests| {
            encode(requests, &[b"APPEND", key.as_bytes(), &vec![b'a'; PART.min(bytes) as usize]]);
        });
    }

    /// Sends `request` again and again and never reads, for a [`spell`](Self::spell) or until `bytes` are sent; the
    /// connection, which is still held.
    pub(crate) fn flood(&self, request: &[u8], bytes: u64) -> TcpStream {
        let mut stream = self.raw();
        stream.set_write_timeout(Some(self.spell())).expect("set a timeout");
        let chunk = request.repeat((256 * 1024 / request.len()).clamp(1, 10_000));
        let (begun, mut sent) = (Instant::now(), 0);
        while sent < bytes && begun.elapsed() < self.spell() {
            let from = (sent % chunk.len() as u64) as usize;
            match stream.write(&chunk[from..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => sent += count as u64,
            }
        }
        self.count(sent / request.len() as u64);
        stream
    }

    /// The same by several at once, all held until a while later.
    pub(crate) fn floods(&self, connections: usize, request: &[u8], bytes: u64) {
        std::thread::scope(|scope| {
            let floods: Vec<_> =
                (0..connections).map(|_| scope.spawn(|| self.flood(request, bytes))).collect();
            let held: Vec<_> = floods.into_iter().map(|flood| flood.join().expect("a flood")).collect();
            std::thread::sleep(self.spell() / 2);
            drop(held);
        });
    }

    /// Whether a connection is at its end, or has something to say within a moment: it is never just forgotten.
    pub(crate) fn closes(&self, stream: TcpStream) -> io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Skim::new(stream).read_to_end()
    }
}
