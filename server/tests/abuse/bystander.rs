//! Bystanders: clients that do nothing unusual, and note how long they wait.
//!
//! Three hold a connection and ask one thing after the other (`GET`, `SET`, `EXPIRE`, of a thousand keys each, so that every
//! shard is met); one comes anew each time. Beside them one thread only sleeps: by how much it is late says how busy
//! the machine is, without which a wait proves nothing. One reads the server's memory every few milliseconds.

use super::arena::PASSWORD;
use super::support::{Client, Random, Value};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const RESIDENTS: u64 = 3;
const KEYS: u64 = 1000;

/// A wait, for what, and how long after the attack's beginning it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wait {
    pub(crate) length: Duration,
    pub(crate) of: String,
    pub(crate) after: Duration,
}

/// What they have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) wait: Wait,
    pub(crate) noise: Duration,
    pub(crate) peak_kib: u64,
}

#[derive(Default)]
struct Shared {
    counting: AtomicBool,
    stop: AtomicBool,
    begun: Mutex<Option<Instant>>,
    wait: Mutex<Wait>,
    noise_us: AtomicU64,
    peak_kib: AtomicU64,
}

impl Shared {
    fn waited(&self, from: Instant, of: &str) {
        let length = from.elapsed();
        let Some(begun) = *self.begun.lock().expect("nobody panics with it") else { return };
        let mut wait = self.wait.lock().expect("nobody panics with it");
        if length > wait.length {
            *wait = Wait { length, of: of.to_owned(), after: from.saturating_duration_since(begun) };
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// See the module's page.
pub(crate) struct Bystanders {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Bystanders {
    /// They come and go about their business; nothing counts yet.
    pub(crate) fn start(port: u16, process: u32, password: bool) -> Bystanders {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for number in 0..RESIDENTS {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || reside(number, port, password, &shared)));
        }
        let shares: [fn(&Shared, u16, u32); 3] = [
            |shared, port, _| come_and_go(port, shared),
            |shared, _, _| sleep_only(shared),
            |shared, _, process| weigh(process, shared),
        ];
        for share in shares {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || share(&shared, port, process)));
        }
        Bystanders { shared, threads }
    }

    /// From now on it counts.
    pub(crate) fn begin(&self) {
        *self.shared.begun.lock().expect("nobody panics with it") = Some(Instant::now());
        self.shared.counting.store(true, Ordering::SeqCst);
    }

    /// What they have seen, once each has had what it asked for last.
    pub(crate) fn end(mut self) -> Figures {
        self.stop();
        Figures {
            wait: self.shared.wait.lock().expect("nobody panics with it").clone(),
            noise: Duration::from_micros(self.shared.noise_us.load(Ordering::Relaxed)),
            peak_kib: self.shared.peak_kib.load(Ordering::Relaxed),
        }
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join()
                && !std::thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        self.stop();
    }
}

fn enter(port: u16, password: bool) -> Client {
    let mut client = Client::connect(port).expect("a bystander is let in");
    if password {
        assert_eq!(client.command(&format!("AUTH {PASSWORD}")), Value::ok());
    }
    client
}

fn reside(number: u64, port: u16, password: bool, shared: &Shared) {
    let mut client = enter(port, password);
    let mut random = Random::new(number);
    while shared.goes_on() {
        let key = format!("bystander:{number}:{}", random.within(0..KEYS));
        let (command, arguments) = match random.within(0..3) {
            0 => ("GET", vec!["GET", &key]),
            1 => ("SET", vec!["SET", &key, "a session of a bystander"]),
            _ => ("EXPIRE", vec!["EXPIRE", &key, "1000"]),
        };
        let asked = Instant::now();
        let reply =
            client.call(&arguments).unwrap_or_else(|error| panic!("a bystander's {command}: {error}"));
        shared.waited(asked, command);
        let answered = matches!(reply, Value::Simple(_) | Value::Integer(_) | Value::Bulk(_) | Value::Null);
        // What fills the memory that an operator has allowed is refused, to anybody.
        assert!(answered || reply.is_error("OOM"), "a bystander's {command}: {reply:?}");
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn come_and_go(port: u16, shared: &Shared) {
    while shared.goes_on() {
        let asked = Instant::now();
        let answer = Client::connect(port).and_then(|mut client| client.call(&["PING"]));
        shared.waited(asked, "connect, PING");
        // Attacks that take all places are about that.
        drop(answer);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn sleep_only(shared: &Shared) {
    const NAP: Duration = Duration::from_millis(1);
    while shared.goes_on() {
        let begun = Instant::now();
        std::thread::sleep(NAP);
        if shared.counting.load(Ordering::Relaxed) {
            let late = begun.elapsed().saturating_sub(NAP);
            shared.noise_us.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
        }
    }
}

fn weigh(process: u32, shared: &Shared) {
    let path = format!("/proc/{process}/statm");
    while shared.goes_on() {
        let pages =
            fs::read_to_string(&path).ok().and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
        if let Some(pages) = pages
            && shared.counting.load(Ordering::Relaxed)
        {
            shared.peak_kib.fetch_max(pages * 4, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}
