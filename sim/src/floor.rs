//! The server's side of a life: connections in one loop, driven as the event loop drives them, but at random.
//!
//! A turn is a client's: some of its bytes are received, what it asks for is executed, the log is pushed, others that wait are looked at, and
//! replies leave, all or in part. What each reply means is judged elsewhere (`judge`). Nothing here syncs, steps or
//! checkpoints: that is done from outside, while nobody holds the floor, so that a sync that takes its time can give clients their turns
//! ([`meanwhile`](Floor::meanwhile)).

use crate::client::{Args, SimClient};
use crate::judge::Waiter;
use crate::oracle::Oracle;
use crate::profile::Profile;
use crate::tally::Tally;
use crate::work::Work;
use sessile::{Db, Error};
use sessile_server::errand::Errand;
use sessile_server::server::Server;
use sessile_server::worker::Worker;
use sessile_wal::Durability;
use sessile_wal::sim::{Rng, SimClock, SimFs};
use std::sync::Arc;

const LOG_FAILED: &[u8] = b"IOERR The log failed before this was acknowledged.";

/// See the module's page.
pub struct Floor {
    /// The engine.
    pub db: Db,
    /// The server over it.
    pub server: Arc<Server>,
    pub(crate) worker: Worker,
    /// By place.
    pub clients: Vec<Option<SimClient>>,
    pub(crate) waiters: Vec<Waiter>,
    /// What is known.
    pub oracle: Oracle,
    pub(crate) rng: Rng,
    pub(crate) profile: Profile,
    pub(crate) work: Work,
    /// What acknowledgements mean.
    pub durability: Durability,
    /// Calls of the disk may fail in this life, or space end.
    pub troubled: bool,
    /// What was met.
    pub tally: Tally,
    pub(crate) clock: SimClock,
    sim: SimFs,
    /// Whether everything that happens is told.
    pub traces: bool,
    /// A sync is under way.
    syncing: bool,
    /// The log's positions as they were told last.
    log_was: (u64, u64, u64),
    /// As `troubled`, whether that is over or not.
    pub was_troubled: bool,
    /// The last commit before the checkpoint that a client is about to be told of.
    pub(crate) saved: Option<usize>,
}

/// What a simulation takes from one life into the next.
pub struct Carried {
    /// Decides everything.
    pub rng: Rng,
    /// What was promised.
    pub oracle: Oracle,
    /// What was met.
    pub tally: Tally,
    /// What clients ask for.
    pub work: Work,
}

impl Floor {
    /// Opens it to clients.
    pub fn new(
        server: Arc<Server>,
        carried: Carried,
        profile: Profile,
        durability: Durability,
        (sim, clock): (SimFs, SimClock),
        traces: bool,
    ) -> Floor {
        let Carried { mut rng, oracle, tally, work } = carried;
        let mut worker = Worker::new(Arc::clone(&server));
        worker.random = sessile_server::command::Random::new(rng.next_u64());
        Floor {
            db: server.db.clone(),
            server,
            worker,
            clients: Vec::new(),
            waiters: Vec::new(),
            oracle,
            rng,
            profile,
            work,
            durability,
            troubled: false,
            tally,
            clock,
            sim,
            traces,
            syncing: false,
            was_troubled: false,
            log_was: (0, 0, 0),
            saved: None,
        }
    }

    /// Closes it.
    pub fn leave(self) -> Carried {
        Carried { rng: self.rng, oracle: self.oracle, tally: self.tally, work: self.work }
    }

    /// Says what happens, if anybody wants to know.
    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            crate::trace::line(&format!("{} {}", self.db.now_ms(), what()));
        }
    }

    /// Whether the machine has died.
    pub fn is_down(&self) -> bool {
        self.sim.is_down()
    }

    /// A new client, if there is room; it may be one that listens.
    pub fn arrive(&mut self) {
        let place = self.clients.iter().position(Option::is_none).unwrap_or(self.clients.len());
        if place as u64 >= self.profile.clients {
            return;
        }
        let mut client = SimClient::new(&self.server, place);
        if self.profile.listener && !self.clients.iter().flatten().any(|client| client.listens) {
            client.listens = true;
            client.send(vec![b"PSUBSCRIBE".to_vec(), b"__key*__:*".to_vec()]);
        }
        self.trace(|| format!("client {place} arrives{}", if client.listens { " and listens" } else { "" }));
        if place == self.clients.len() {
            self.clients.push(None);
        }
        self.clients[place] = Some(client);
        self.tally.clients += 1;
    }

    /// A client goes away in the midst of whatever it does.
    pub fn depart(&mut self) {
        let place = self.rng.below(self.clients.len() as u64 + 1) as usize;
        let Some(mut client) = self.clients.get_mut(place).and_then(Option::take) else { return };
        self.trace(|| format!("client {place} leaves"));
        client.connection.leave(&self.server);
        drop(client);
        self.waiters.retain(|waiter| waiter.place != place);
    }

    /// A client's turn.
    pub fn turn(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let place = self.rng.below(self.clients.len() as u64) as usize;
        let Some(client) = self.clients[place].as_mut() else { return };
        if client.is_idle() && !client.listens {
            let now_ms = self.db.now_ms();
            for args in self.work.next(&mut self.rng, &self.profile, &client.session, now_ms) {
                client.send(args);
            }
        }
        let settled_read = self.syncing && client.unfed() > 0 && self.is_plain_read(place);
        self.feed(place);
        self.errand(place, false);
        self.after_execution();
        if self.is_down() {
            return;
        }
        self.deliver(place);
        if settled_read
            && let Some(client) = &self.clients[place]
            && client.is_idle()
            && !self.is_down()
        {
            assert!(client.is_settled(), "a read waits for a sync");
            self.tally.reads_while_syncing += 1;
        }
    }

    /// Whether what a client asks for next is one read, and nothing before it waits.
    fn is_plain_read(&self, place: usize) -> bool {
        self.clients[place].as_ref().is_some_and(|client| client.asks_one(&crate::judge::READS))
    }

    /// Has the connection receive some of what its client has sent.
    fn feed(&mut self, place: usize) {
        let Some(client) = self.clients[place].as_mut() else { return };
        if client.unfed() == 0 || !client.connection.wants_input(&self.worker) {
            return;
        }
        let all = client.unfed();
        let count = if self.rng.chance(75) { all } else { 1 + self.rng.below(all as u64) as usize };
        let bytes = client.feed(count);
        client.connection.receive(&mut self.worker, &bytes);
        self.observe(place);
    }

    /// Looks at what a connection has executed.
    pub(crate) fn observe(&mut self, place: usize) {
        let Some(client) = self.clients[place].as_mut() else { return };
        let executed = client.executed().unwrap_or_else(|why| panic!("client {place}: {why}"));
        let mut commits = Vec::with_capacity(executed.len());
        for (args, value) in executed {
            commits.push(self.judge(place, &args, &value));
        }
        if let Some(client) = self.clients[place].as_mut() {
            client.acknowledges(&commits);
        }
        self.note_wait(place);
    }

    /// Runs a connection's errand where it stands, if it has one and that may be done here.
    fn errand(&mut self, place: usize, now: bool) {
        loop {
            let Some(client) = self.clients[place].as_mut() else { return };
            if client.errand.is_none() {
                client.errand = client.connection.take_errand();
            }
            let Some(errand) = &client.errand else { return };
            let here = match **errand {
                Errand::Values(..) => now || self.syncing || self.rng.chance(60),
                // It syncs: from outside.
                Errand::Checkpoint(_) => false,
                _ => true,
            };
            if !here {
                return;
            }
            self.run_errand(place);
        }
    }

    /// Runs a connection's errand, and goes on.
    fn run_errand(&mut self, place: usize) {
        let Some(client) = self.clients[place].as_mut() else { return };
        let Some(mut errand) = client.errand.take() else { return };
        errand.run();
        self.tally.errands += 1;
        client.connection.errand_done(errand);
        client.connection.resume(&mut self.worker);
        self.observe(place);
    }

    /// Takes an errand that must be run from outside, with its place.
    pub fn take_errand(&mut self) -> Option<(usize, Box<Errand>)> {
        (0..self.clients.len()).find_map(|place| {
            let errand = self.clients[place].as_mut()?.errand.take()?;
            Some((place, errand))
        })
    }

    /// Gives it back, done; unless its client has left.
    pub fn give_errand(&mut self, place: usize, errand: Box<Errand>) {
        if let Some(Some(client)) = self.clients.get_mut(place)
            && client.connection.is_waiting()
        {
            client.connection.errand_done(errand);
            client.connection.resume(&mut self.worker);
            self.observe(place);
            self.after_execution();
        }
    }

    /// What a loop does once everybody was executed: the log is handed over, and those who wait for others go on.
    pub(crate) fn after_execution(&mut self) {
        for _ in 0..20 {
            self.push_log();
            let mut any = false;
            for place in 0..self.clients.len() {
                let Some(client) = self.clients[place].as_mut() else { continue };
                if client.is_told() {
                    client.connection.take_pushes(&mut self.worker);
                    self.observe(place);
                }
                let Some(client) = self.clients[place].as_mut() else { continue };
                if !client.connection.is_paused() && client.connection.can_resume(&self.worker) {
                    client.connection.resume(&mut self.worker);
                    any = true;
                    self.observe(place);
                }
            }
            if !any {
                return;
            }
        }
    }

    /// Hands the log over, as a loop does once a turn.
    fn push_log(&mut self) {
        // Also what others have written: a script that takes long pushes by itself, and says nothing of it.
        self.worker.wrote = false;
        let pushed = self.db.push_log();
        if self.syncing {
            // Other figures of the log are behind locks that whoever syncs may hold. All that was appended is written now.
            if pushed.is_ok() && self.durability != Durability::Always {
                self.oracle.log_is_at(self.db.acknowledged().get());
            }
        }
        self.was_troubled |= self.troubled;
        if let Err(error) = pushed {
            self.trace(|| format!("the log: {error}"));
            assert!(self.troubled || self.is_down(), "the log fails on a sound disk: {error}");
            assert!(
                matches!(error, Error::DiskFull(_) | Error::LogFailed(_) | Error::Io { .. } | Error::Log(_)),
                "{error:?}"
            );
        }
        if !self.syncing {
            let log = self.db.stats().log;
            let upto = if log.poisoned { u64::MAX - 1 } else { log.appended.get() };
            self.oracle.log_is_at(upto);
            self.oracle.log_says(log.written.get(), log.durable.get());
            if self.traces {
                let at = (log.appended.get(), log.written.get(), log.durable.get());
                if std::mem::replace(&mut self.log_was, at) != at {
                    let last = self.oracle.last();
                    self.trace(|| {
                        format!("the log is at {at:?} (appended, written, durable), {last} commits")
                    });
                }
            }
        }
    }

    /// Connections whose next request found the log's buffer full, or memory, try again.
    pub fn try_again(&mut self) {
        for place in 0..self.clients.len() {
            let Some(client) = self.clients[place].as_mut() else { continue };
            if client.connection.is_paused() && client.connection.can_resume(&self.worker) {
                client.connection.resume(&mut self.worker);
                self.observe(place);
            }
            self.errand(place, true);
        }
        self.after_execution();
    }

    /// Ends the waits whose time is up.
    pub fn look_at_time(&mut self) {
        let now_ms = self.db.now_ms();
        for place in 0..self.clients.len() {
            let Some(client) = self.clients[place].as_mut() else { continue };
            if client.connection.look_at_time(now_ms) {
                self.waits_no_longer(place);
            }
        }
        self.after_execution();
    }

    /// What may leave a connection does, all of it or a part.
    pub fn deliver(&mut self, place: usize) {
        if self.is_down() {
            return;
        }
        let failed = self.db.log_failed();
        let some = !failed && !self.syncing && self.rng.chance(15);
        let acknowledged = self.db.acknowledged();
        let Some(client) = self.clients[place].as_mut() else { return };
        if failed {
            client.connection.settle_failed(acknowledged, LOG_FAILED);
        } else {
            client.connection.settle(acknowledged);
        }
        loop {
            let output = client.connection.output();
            if output.is_empty() {
                return;
            }
            let count = if some { 1 + self.rng.below(output.len() as u64) as usize } else { output.len() };
            let bytes = output.get(..count).unwrap_or(output).to_vec();
            client.connection.sent(&mut self.worker, count);
            if client.listens {
                let told = client.listen(&bytes).unwrap_or_else(|why| panic!("client {place}: {why}"));
                self.told(told);
                return;
            }
            let received =
                client.receive(&bytes, failed).unwrap_or_else(|why| panic!("client {place}: {why}"));
            for commit in received {
                self.tally.acknowledged += 1;
                self.oracle.acknowledged(commit, self.durability == Durability::Always);
            }
            if some {
                return;
            }
        }
    }

    /// A client was told of keys that have expired: they had a deadline, and it has come.
    fn told(&mut self, expired: Vec<crate::model::Id>) {
        let now_ms = self.db.now_ms();
        for id in expired {
            self.tally.told += 1;
            assert!(
                self.oracle.has_died(&id, now_ms),
                "{id:?} is told to have expired, and had no such deadline"
            );
        }
    }

    /// As [`deliver`](Self::deliver), for everybody.
    pub fn deliver_all(&mut self) {
        (0..self.clients.len()).for_each(|place| self.deliver(place));
    }

    /// A sync is under way: time passes, and clients have their turns.
    pub fn meanwhile(&mut self) {
        if self.is_down() || !self.rng.chance(40) {
            return;
        }
        self.syncing = true;
        let ms = crate::profile::pick(&mut self.rng, &[0, 1, 20, 3_000]);
        self.clock.advance_ms(ms);
        self.tally.slow_syncs += 1;
        self.trace(|| format!("a sync takes {ms} ms"));
        for _ in 0..self.rng.below(5) {
            self.turn();
        }
        self.syncing = false;
    }

    /// Sends a request for a client that has nothing to do, as a test would.
    pub fn ask(&mut self, place: usize, args: Args) {
        if let Some(Some(client)) = self.clients.get_mut(place) {
            client.send(args);
        }
    }
}
