//! What a reply means: each request that was executed is applied to the model, in the order of execution, and its reply must be the model's.
//!
//! A refusal (a disk that is full or has failed) means that nothing was done, and is accepted only while something is wrong with the disk.

use crate::client::{Args, Changed, Watched, line};
use crate::floor::Floor;
use crate::model::{Content, Id, Turn, World};
use crate::wire::Value;

/// A client that waits for an element of a list.
pub(crate) struct Waiter {
    pub(crate) place: usize,
    database: u8,
    args: Args,
    /// What it was served, and by which commit.
    served: Option<(Value, usize)>,
}

/// Requests that change nothing.
pub(crate) const READS: [&str; 12] = [
    "GET",
    "HGET",
    "HGETALL",
    "LRANGE",
    "SMEMBERS",
    "ZRANGE",
    "XRANGE",
    "XLEN",
    "EXISTS",
    "TYPE",
    "PEXPIRETIME",
    "SELECT",
];

fn is(args: &[Vec<u8>], name: &str) -> bool {
    args.first().is_some_and(|arg| arg.eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether a request was refused for the disk's sake.
fn is_refusal(value: &Value) -> bool {
    match value {
        Value::Error(text) => {
            [&b"MISCONF"[..], b"OOM", b"IOERR", b"EXECABORT", b"ERR cannot", b"ERR the checkpoint"]
                .iter()
                .any(|refusal| text.starts_with(refusal))
        }
        _ => false,
    }
}

impl Floor {
    /// Judges a request that a client's connection has executed; the commit that it made.
    pub(crate) fn judge(&mut self, place: usize, args: &Args, actual: &Value) -> Option<usize> {
        self.trace(|| format!("client {place}: {} => {actual:?}", line(args)));
        self.tally.requests += 1;
        let session = self.clients[place].as_mut().map(|client| &mut client.session)?;
        let queues = session.queue.is_some();
        if queues && !is(args, "EXEC") && !is(args, "DISCARD") {
            if *actual == Value::Simple(b"QUEUED".to_vec()) {
                session.queue.get_or_insert_default().push(args.clone());
            } else {
                session.failed = true;
                self.accept_refusal(place, args, actual, &Value::Simple(b"QUEUED".to_vec()));
            }
            return None;
        }
        match &args[..] {
            _ if is(args, "MULTI") => {
                session.queue = Some(Vec::new());
                self.expect(place, args, actual, &Value::ok());
                None
            }
            _ if is(args, "DISCARD") => {
                (session.queue, session.failed) = (None, false);
                session.watched.clear();
                self.expect(place, args, actual, &Value::ok());
                None
            }
            _ if is(args, "EXEC") => self.judge_exec(place, args, actual),
            _ if is(args, "WATCH") => {
                self.watch(place, &args[1..]);
                self.expect(place, args, actual, &Value::ok());
                None
            }
            [_, number] if is(args, "SELECT") => {
                session.database = number.first().map_or(0, |digit| digit - b'0');
                self.expect(place, args, actual, &Value::ok());
                None
            }
            _ if is(args, "EVAL") => self.judge_script(place, args, actual),
            _ if is(args, "BLPOP") || is(args, "BLMOVE") => self.judge_wait(place, args, actual),
            _ if is(args, "SAVE") => {
                let busy = Value::error("ERR Background save already in progress");
                if *actual != busy {
                    self.accept_refusal(place, args, actual, &Value::ok());
                }
                if let Some(last) = self.saved.take()
                    && *actual == Value::ok()
                {
                    self.oracle.durable(last);
                }
                None
            }
            _ if is(args, "PSUBSCRIBE") => None,
            _ => {
                let database = session.database;
                if is(args, "SWAPDB") {
                    // What is watched there counts as changed, be it in neither database.
                    let sessions = self.clients.iter_mut().flatten().map(|client| &mut client.session);
                    for watched in sessions.flat_map(|session| &mut session.watched) {
                        watched.changed = watched.changed.max(Changed::Perhaps);
                    }
                }
                let mut world = (**self.oracle.world()).clone();
                if self.apply(&mut world, (place, database), args, actual) {
                    self.commit(world)
                } else {
                    None
                }
            }
        }
    }

    /// Applies one request to a state; whether it was done.
    fn apply(
        &mut self,
        world: &mut World,
        (place, database): (usize, u8),
        args: &Args,
        actual: &Value,
    ) -> bool {
        let now_ms = self.worker.now_ms;
        let before = if is_refusal(actual) { Some(world.clone()) } else { None };
        let expected = Turn { world, database, now_ms, hint: actual }.apply(args);
        if let [_, key, _, word, _] = &args[..]
            && word == b"PXAT"
        {
            // Its time may be up at once.
            self.oracle.may_be_dead((database, key.clone()));
        }
        if actual.is_as(&expected) {
            return true;
        }
        self.accept_refusal(place, args, actual, &expected);
        if let Some(before) = before {
            *world = before;
        }
        self.tally.refused += 1;
        false
    }

    /// Whatever a process has in memory when it has died in a call of the disk may be wrong.
    fn expect(&self, place: usize, args: &Args, actual: &Value, expected: &Value) {
        assert!(
            actual.is_as(expected) || self.is_down(),
            "client {place}: {} was answered {actual:?} instead of {expected:?}",
            line(args)
        );
    }

    /// As [`expect`](Self::expect), unless it is a refusal that may be.
    fn accept_refusal(&self, place: usize, args: &Args, actual: &Value, expected: &Value) {
        if READS.iter().any(|name| is(args, name)) && !self.is_down() {
            // Reads are answered whatever is wrong with the log; only what must be read from a disk that fails can't be.
            let unread = matches!(actual, Value::Error(text) if text.starts_with(b"ERR cannot"));
            assert!(
                actual.is_as(expected) || unread && self.troubled,
                "client {place}: {} was answered {actual:?} instead of {expected:?}",
                line(args)
            );
        } else if !(is_refusal(actual) && (self.troubled || self.is_down())) {
            self.expect(place, args, actual, expected);
        }
    }

    /// Takes a state for the next one, if it is another; its number. Those who wait are served first.
    fn commit(&mut self, mut world: World) -> Option<usize> {
        let mut number = None;
        loop {
            let served = self.serve(&mut world);
            if let Some(next) = self.commit_one(world.clone()) {
                number.get_or_insert(next);
                for waiter in &mut self.waiters {
                    if let Some((_, commit @ usize::MAX)) = &mut waiter.served {
                        *commit = next;
                    }
                }
            }
            if !served {
                return number;
            }
        }
    }

    fn commit_one(&mut self, mut world: World) -> Option<usize> {
        let before = std::rc::Rc::clone(self.oracle.world());
        if *before == world {
            // Written to, perhaps, but as before.
            self.note_changes(&before, &world);
            return None;
        }
        self.note_changes(&before, &world);
        let now_ms = self.worker.now_ms;
        let mut ids = before.keys.keys().chain(world.keys.keys());
        let is_seen =
            ids.any(|id| Changed::by(before.keys.get(id), world.keys.get(id), now_ms) == Changed::Yes);
        if !is_seen {
            // What is dead as soon as it is made is not logged, and its reply waits for nothing. Nor is it what comes back if the wall clock is
            // set back before a restart: that is what was dead before.
            for (id, item) in before.keys.iter().filter(|(_, item)| item.dies_ms() <= now_ms) {
                if world.live(id, now_ms).is_none() {
                    world.keys.insert(id.clone(), std::rc::Rc::clone(item));
                }
            }
            self.oracle.amend(world);
            return None;
        }
        Some(self.oracle.commit(world, now_ms))
    }

    fn is_anything_watched(&self) -> bool {
        self.clients.iter().flatten().any(|client| !client.session.watched.is_empty())
    }

    fn note_changes(&mut self, before: &World, after: &World) {
        let now_ms = self.worker.now_ms;
        for watched in self.clients.iter_mut().flatten().flat_map(|client| &mut client.session.watched) {
            let changed = Changed::by(before.keys.get(&watched.id), after.keys.get(&watched.id), now_ms);
            watched.changed = watched.changed.max(changed);
        }
    }

    fn watch(&mut self, place: usize, keys: &[Vec<u8>]) {
        let now_ms = self.worker.now_ms;
        let Some(client) = self.clients[place].as_mut() else { return };
        let database = client.session.database;
        for key in keys {
            let id: Id = (database, key.clone());
            if client.session.watched.iter().all(|watched| watched.id != id) {
                let dies_ms = self.oracle.world().live(&id, now_ms).map(|item| item.dies_ms());
                client.session.watched.push(Watched { id, dies_ms, changed: Changed::No });
            }
        }
    }

    /// `EXEC`: the queued requests are applied one after the other, and make one commit.
    fn judge_exec(&mut self, place: usize, args: &Args, actual: &Value) -> Option<usize> {
        let now_ms = self.worker.now_ms;
        let session = &mut self.clients[place].as_mut()?.session;
        let (queue, failed) = (session.queue.take(), std::mem::take(&mut session.failed));
        let watched = std::mem::take(&mut session.watched);
        let database = session.database;
        let Some(queue) = queue else {
            self.expect(place, args, actual, &Value::error("ERR EXEC without MULTI"));
            return None;
        };
        if failed {
            self.expect(place, args, actual, &Value::error("EXECABORT"));
            return None;
        }
        let changed = watched.iter().map(|watched| match watched.dies_ms {
            Some(dies_ms) if dies_ms <= now_ms => Changed::Yes,
            _ => watched.changed,
        });
        let changed = changed.max().unwrap_or(Changed::No);
        // Keys that share a hash count as one.
        if *actual == Value::Nil && (changed != Changed::No || !self.profile.has_whole_hashes()) {
            self.tally.aborted += 1;
            return None;
        }
        if is_refusal(actual) {
            self.accept_refusal(place, args, actual, &Value::Array(Vec::new()));
            return None;
        }
        assert!(
            changed != Changed::Yes || self.is_down(),
            "client {place}: EXEC went on although a watched key has changed: {actual:?}"
        );
        self.tally.transactions += 1;
        self.judge_group(place, database, &queue, actual)
    }

    /// Requests that make one commit, with their replies in one.
    fn judge_group(
        &mut self,
        place: usize,
        mut database: u8,
        queue: &[Args],
        actual: &Value,
    ) -> Option<usize> {
        let replies = actual.elements();
        if self.is_down() && replies.len() != queue.len() {
            return None;
        }
        assert!(
            matches!(actual, Value::Array(_)) && replies.len() == queue.len(),
            "client {place}: {} commands were answered {actual:?}",
            queue.len()
        );
        let mut world = (**self.oracle.world()).clone();
        for (args, reply) in queue.iter().zip(replies) {
            if let [name, number] = &args[..]
                && name == b"SELECT"
            {
                database = number.first().map_or(0, |digit| digit - b'0');
                self.expect(place, args, reply, &Value::ok());
                continue;
            }
            let before = if self.is_anything_watched() { Some(world.clone()) } else { None };
            self.apply(&mut world, (place, database), args, reply);
            if let Some(before) = before {
                // Also what is taken back before the end.
                self.note_changes(&before, &world);
            }
        }
        if let Some(client) = self.clients[place].as_mut() {
            client.session.database = database;
        }
        self.commit(world)
    }

    /// `EVAL` of [the script](crate::work::SCRIPT) that runs the commands in its arguments.
    fn judge_script(&mut self, place: usize, args: &Args, actual: &Value) -> Option<usize> {
        let database = self.clients[place].as_ref()?.session.database;
        let keys: usize = args.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse().ok())?;
        let queue = crate::work::scripted(args.get(3 + keys..).unwrap_or_default());
        if is_refusal(actual) {
            self.accept_refusal(place, args, actual, &Value::Array(Vec::new()));
            return None;
        }
        self.tally.scripts += 1;
        self.judge_group(place, database, &queue, actual)
    }

    /// Does for a waiter what its command does; `None` if it has to wait.
    fn attempt(&self, world: &mut World, database: u8, args: &Args) -> Option<Value> {
        let now_ms = self.worker.now_ms;
        let mut turn = Turn { world, database, now_ms, hint: &Value::Nil };
        let key = args.get(1)?.clone();
        let (mut again, pops) = match is(args, "BLPOP") {
            true => (vec![b"LPOP".to_vec(), key.clone()], true),
            false => (args.get(..5)?.to_vec(), false),
        };
        again[0] = if pops { b"LPOP".to_vec() } else { b"LMOVE".to_vec() };
        match turn.apply(&again) {
            Value::Nil => None,
            Value::Bulk(element) if pops => Some(Value::Array(vec![Value::Bulk(key), Value::Bulk(element)])),
            value => Some(value),
        }
    }

    fn judge_wait(&mut self, place: usize, args: &Args, actual: &Value) -> Option<usize> {
        let database = self.clients[place].as_ref()?.session.database;
        if let Some(at) = self.waiters.iter().position(|waiter| waiter.place == place) {
            let waiter = self.waiters.remove(at);
            if waiter.served.is_none() && actual.error_code() == Some(b"WRONGTYPE") {
                // Databases were swapped, and what it waits for is of another kind now: it was begun again, as after any swap.
                let mut world = (**self.oracle.world()).clone();
                let expected = self.attempt(&mut world, database, args).unwrap_or(Value::Nil);
                self.expect(place, args, actual, &expected);
                return None;
            }
            let (expected, commit) = waiter.served.unwrap_or((Value::Nil, 0));
            self.expect(place, args, actual, &expected);
            self.tally.served += 1;
            return Some(commit).filter(|commit| *commit != usize::MAX && *commit != 0);
        }
        let mut world = (**self.oracle.world()).clone();
        match self.attempt(&mut world, database, args) {
            _ if is_refusal(actual) => {
                self.accept_refusal(place, args, actual, &Value::Nil);
                None
            }
            Some(expected) => {
                self.expect(place, args, actual, &expected);
                self.commit(world)
            }
            // It has waited, and its time was up.
            None => {
                self.expect(place, args, actual, &Value::Nil);
                None
            }
        }
    }

    /// Takes note of a client that has begun to wait.
    pub(crate) fn note_wait(&mut self, place: usize) {
        let Some(client) = self.clients[place].as_ref() else { return };
        if client.connection.wait().is_none() || self.waiters.iter().any(|waiter| waiter.place == place) {
            return;
        }
        let Some(args) = client.unfinished().cloned() else {
            panic!("client {place} waits without having asked for it");
        };
        let database = client.session.database;
        let mut world = (**self.oracle.world()).clone();
        if let Some(there) = self.attempt(&mut world, database, &args)
            && !self.is_down()
        {
            panic!("client {place}: {} waits although there is {there:?}", line(&args));
        }
        self.waiters.push(Waiter { place, database, args, served: None });
        self.tally.waits += 1;
    }

    /// A client's wait is over because its time is.
    pub(crate) fn waits_no_longer(&mut self, place: usize) {
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.place == place) {
            waiter.served.get_or_insert((Value::Nil, 0));
        }
    }

    /// Serves those who wait, longest first, as far as that is one with what was just done; whether there is more.
    fn serve(&mut self, world: &mut World) -> bool {
        let mut moved = false;
        while let Some((at, value)) = (0..self.waiters.len()).find_map(|at| {
            let waiter = &self.waiters[at];
            if waiter.served.is_some() {
                return None;
            }
            let mut tried = world.clone();
            // Whoever waits for a key that is no list goes on waiting.
            let id: Id = (waiter.database, waiter.args.get(1)?.clone());
            let item = world.live(&id, self.worker.now_ms)?;
            if !matches!(item.content, Content::List(_)) {
                return None;
            }
            Some((at, self.attempt(&mut tried, waiter.database, &waiter.args)?))
        }) {
            // What moves an element may need a transaction of its own: then there is a state between.
            if is(&self.waiters[at].args, "BLMOVE") && !moved {
                moved = true;
                if **self.oracle.world() != *world {
                    return true;
                }
            }
            let (database, args) = (self.waiters[at].database, self.waiters[at].args.clone());
            self.attempt(world, database, &args);
            // An element has come and gone: where it was is as before, but was changed.
            let sessions = self.clients.iter_mut().flatten().map(|client| &mut client.session);
            for watched in sessions.flat_map(|session| &mut session.watched) {
                if args.contains(&watched.id.1) {
                    watched.changed = watched.changed.max(Changed::Perhaps);
                }
            }
            self.waiters[at].served = Some((value, usize::MAX));
        }
        false
    }
}
