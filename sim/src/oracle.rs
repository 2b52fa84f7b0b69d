//! Knows every state that the database has been in since it was opened, in the order of its commits, and how far it was promised.
//!
//! Two floors rise while a process lives: up to which commit a *kill* may not lose anything (a reply has left for it, or the log says that it
//! was written), and up to which a *power cut* may not (a reply has left while `appendfsync` was `always`, the log says that it was synced, a
//! checkpoint has ended). What is read back after a crash must be one of the states from the floor to the last; then that is the first state
//! of the next life. So nothing promised is lost, nothing comes in another order or in part, and nothing is there that nobody wrote.
//!
//! What is not asked for: *which* state it is beyond the floor. An operation that was sent and not answered may be there or not.

use crate::model::{Content, Id, Item, NEVER, World};
use crate::wire::shown;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// See the module's page.
pub struct Oracle {
    /// The first one is the state at open.
    commits: Vec<Commit>,
    kill_floor: usize,
    power_floor: usize,
    /// Replies for commits up to this one do not say that they are durable: they were made under another promise.
    promised_before: usize,
    /// The power was cut since the database was last open.
    power_cut: bool,
    /// The latest time that was seen before.
    latest_ms: u64,
    /// Keys that were there before this life, and had died when it began: the log still knows them.
    dead_at_open: BTreeSet<Id>,
    /// Everything that any key ever held, if that is asked for.
    known: Option<HashSet<u64>>,
    /// States of earlier lives, if that is asked for.
    older: Vec<Rc<World>>,
}

struct Commit {
    world: Rc<World>,
    /// Where the log ended when it was first looked at after this.
    lsn: u64,
    at_ms: u64,
}

impl Oracle {
    /// Of a database that does not exist yet.
    pub fn new() -> Oracle {
        let first = Commit { world: Rc::default(), lsn: 0, at_ms: 0 };
        Oracle {
            commits: vec![first],
            kill_floor: 0,
            power_floor: 0,
            promised_before: 0,
            power_cut: false,
            latest_ms: 0,
            dead_at_open: BTreeSet::new(),
            known: None,
            older: Vec::new(),
        }
    }

    /// The state as it is now.
    pub fn world(&self) -> &Rc<World> {
        &self.commits.last().expect("there is always the state at open").world
    }

    /// The number of the last commit.
    pub fn last(&self) -> usize {
        self.commits.len() - 1
    }

    /// A next state; its number.
    pub fn commit(&mut self, world: World, now_ms: u64) -> usize {
        if let Some(known) = &mut self.known {
            let before = self.commits.last().map(|commit| &commit.world.keys);
            for (id, item) in &world.keys {
                if !before.and_then(|keys| keys.get(id)).is_some_and(|other| Rc::ptr_eq(other, item)) {
                    known.extend(facts(id, item));
                }
            }
        }
        self.commits.push(Commit { world: Rc::new(world), lsn: u64::MAX, at_ms: now_ms });
        self.last()
    }

    /// The last state is this one, for nobody can tell them apart.
    pub fn amend(&mut self, world: World) {
        if let Some(last) = self.commits.last_mut() {
            last.world = Rc::new(world);
        }
    }

    /// The log ends here now: so do the commits that were not looked at before.
    pub fn log_is_at(&mut self, appended: u64) {
        for commit in self.commits.iter_mut().rev().take_while(|commit| commit.lsn == u64::MAX) {
            commit.lsn = appended;
        }
    }

    /// How far the log says that it is written and synced.
    pub fn log_says(&mut self, written: u64, durable: u64) {
        let upto = |floor: usize, lsn: u64| {
            let more = self.commits[floor..].iter().take_while(|commit| commit.lsn <= lsn).count();
            (floor + more.max(1)) - 1
        };
        let (kill, power) = (upto(self.kill_floor, written), upto(self.power_floor, durable));
        self.kill_floor = self.kill_floor.max(kill).max(power);
        self.power_floor = self.power_floor.max(power);
    }

    /// A reply for this commit has left.
    pub fn acknowledged(&mut self, number: usize, always: bool) {
        self.kill_floor = self.kill_floor.max(number);
        if always && number > self.promised_before {
            self.power_floor = self.power_floor.max(number);
        }
    }

    /// Everything up to this commit is on disk, for good.
    pub fn durable(&mut self, number: usize) {
        self.kill_floor = self.kill_floor.max(number);
        self.power_floor = self.power_floor.max(number);
    }

    /// From here on a reply means something else.
    pub fn promise_changed(&mut self) {
        self.promised_before = self.last();
    }

    /// Whether all that was committed before this time is promised against a power cut; or that can't be asked for, as another promise was
    /// made meanwhile.
    pub fn is_durable_before(&self, ms: u64) -> bool {
        let next = self.commits.get(self.power_floor + 1);
        self.promised_before > 0 || next.is_none_or(|commit| commit.at_ms >= ms)
    }

    /// Whether a key was in any state of this life whose time is up by now.
    pub fn has_died(&self, id: &Id, now_ms: u64) -> bool {
        // In whichever database: they may have been swapped since.
        (0..sessile::DATABASES).map(|database| (database, id.1.clone())).any(|id| {
            let died =
                |commit: &Commit| commit.world.keys.get(&id).is_some_and(|item| item.dies_ms() <= now_ms);
            self.dead_at_open.contains(&id) || self.commits.iter().any(died)
        })
    }

    /// A key was given a deadline that may have come already.
    pub fn may_be_dead(&mut self, id: Id) {
        self.dead_at_open.insert(id);
    }

    /// Takes note of the time.
    pub fn time_is(&mut self, now_ms: u64) {
        self.latest_ms = self.latest_ms.max(now_ms);
    }

    /// The power was cut.
    pub fn power_was_cut(&mut self) {
        self.power_cut = true;
    }

    /// The database was opened and holds this: a state that it may be in, from which the next life begins. How many commits were lost.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn reopened(&mut self, seen: World, now_ms: u64) -> Result<usize, String> {
        let floor = if self.power_cut { self.power_floor } else { self.kill_floor };
        let promised_ms = self.commits[..=floor].iter().map(|commit| commit.at_ms).max().unwrap_or(0);
        if now_ms < promised_ms {
            return Err(format!(
                "time went back to {now_ms}, {} ms before what the log has seen",
                promised_ms - now_ms
            ));
        }
        let latest_ms = self.latest_ms.max(now_ms);
        let found = (floor..self.commits.len())
            .rev()
            .find(|&number| difference(&self.commits[number].world, &seen, now_ms, latest_ms).is_none());
        let Some(found) = found else {
            let differs = |number: usize| {
                let all = differences(&self.commits[number].world, &seen, now_ms, latest_ms);
                all.take(6).collect::<Vec<_>>().join("\n    ")
            };
            return Err(format!(
                "what was read back at {now_ms} is no state that it may be in\n  {} commits, of which {floor} were promised against {}\n  \
                 the first of them differs: {}\n  the last of them differs: {}",
                self.last(),
                if self.power_cut { "this power cut" } else { "this kill" },
                differs(floor),
                differs(self.last()),
            ));
        };
        let lost = self.last() - found;
        let before = self.commits.iter().flat_map(|commit| commit.world.keys.keys());
        let mut older = std::mem::take(&mut self.older);
        if self.known.is_some() {
            older.extend(self.commits.iter().map(|commit| Rc::clone(&commit.world)));
        }
        let mut dead_at_open = std::mem::take(&mut self.dead_at_open);
        dead_at_open.extend(before.filter(|id| !seen.keys.contains_key(*id)).cloned());
        *self = Oracle {
            commits: vec![Commit { world: Rc::new(seen), lsn: 0, at_ms: now_ms }],
            kill_floor: 0,
            power_floor: 0,
            promised_before: 0,
            power_cut: false,
            latest_ms: now_ms,
            dead_at_open,
            known: self.known.take(),
            older,
        };
        Ok(lost)
    }

    /// Remembers from now on everything that any key ever held, and every state.
    pub fn remember(&mut self) {
        self.known = Some(HashSet::new());
    }

    /// Whether a key once held this: all of it, or each field of a hash by itself.
    pub fn has_held(&self, id: &Id, item: &Item) -> bool {
        self.known.as_ref().is_none_or(|known| facts(id, item).iter().all(|fact| known.contains(fact)))
    }

    /// Whether these keys, as far as they are given, are as in some state.
    ///
    /// # Errors
    /// How they differ from the last one.
    pub fn was(&self, keys: &BTreeMap<Id, Option<Item>>, now_ms: u64) -> Result<(), String> {
        let latest_ms = self.latest_ms.max(now_ms);
        let differs = |world: &World| {
            keys.iter().find_map(|(id, seen)| {
                let expected = world.keys.get(id);
                let same = match (expected, seen) {
                    (None, None) => true,
                    (Some(item), None) => item.dies_ms() <= latest_ms,
                    (Some(item), Some(seen)) => **item == *seen || alike(item, seen, now_ms, latest_ms),
                    (None, Some(_)) => false,
                };
                let expected = || expected.map_or("nothing".to_owned(), |item| describe(item));
                let seen = || seen.as_ref().map_or("nothing".to_owned(), describe);
                (!same).then(|| format!("{} should be {}, is {}", shown(&id.1), expected(), seen()))
            })
        };
        let last = differs(self.world());
        match last {
            // The end of the log that nothing says to be synced may be older than this life.
            Some(why) => {
                let mut all = self.commits.iter().map(|commit| &commit.world).chain(&self.older);
                if all.any(|world| differs(world).is_none()) { Ok(()) } else { Err(why) }
            }
            None => Ok(()),
        }
    }

    /// Every key that was there since open.
    pub fn ids(&self) -> BTreeSet<Id> {
        self.commits.iter().flat_map(|commit| commit.world.keys.keys().cloned()).collect()
    }

    /// The running database holds this: exactly the last state.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compare(&self, seen: &World, now_ms: u64) -> Result<(), String> {
        difference(self.world(), seen, now_ms, now_ms).map_or(Ok(()), Err)
    }
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle::new()
    }
}

/// Where two states differ for whoever looks now. What has died since by the latest time known may be there or not, should time have gone back.
fn difference(world: &World, seen: &World, now_ms: u64, latest_ms: u64) -> Option<String> {
    differences(world, seen, now_ms, latest_ms).next()
}

fn differences<'a>(
    world: &'a World,
    seen: &'a World,
    now_ms: u64,
    latest_ms: u64,
) -> impl Iterator<Item = String> + 'a {
    let key = |id: &Id| format!("database {} key {}", id.0, shown(&id.1));
    let missing_or_other = world.keys.iter().filter_map(move |(id, item)| match seen.keys.get(id) {
        None if item.dies_ms() <= latest_ms => None,
        None => Some(format!("{}: should be {}", key(id), describe(item))),
        Some(there) if there == item || alike(item, there, now_ms, latest_ms) => None,
        Some(there) => Some(format!("{}: should be {}, is {}", key(id), describe(item), describe(there))),
    });
    let unknown = seen.keys.iter().filter(move |(id, _)| world.live(id, now_ms).is_none());
    let unknown =
        unknown.map(move |(id, there)| format!("{}: should not be there, is {}", key(id), describe(there)));
    missing_or_other.chain(unknown)
}

fn alike(item: &Item, seen: &Item, now_ms: u64, latest_ms: u64) -> bool {
    let (Content::Hash(fields), Content::Hash(there)) = (&item.content, &seen.content) else { return false };
    item.deadline_ms == seen.deadline_ms
        && there.iter().all(|(name, field)| fields.get(name) == Some(field) && field.1 > now_ms)
        && fields.iter().all(|(name, field)| field.1 <= latest_ms || there.contains_key(name))
}

/// What a key holds, as numbers: one for all of it, or one for each field of a hash. Which database it is in doesn't count.
fn facts(id: &Id, item: &Item) -> Vec<u64> {
    let hash = |parts: &[&[u8]]| {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        hasher.finish()
    };
    match &item.content {
        Content::Hash(fields) => {
            fields.iter().map(|(name, field)| hash(&[&id.1, b"field", name, &field.0])).collect()
        }
        other => vec![hash(&[&id.1, format!("{other:?}").as_bytes()])],
    }
}

fn describe(item: &Item) -> String {
    let deadline = match item.deadline_ms {
        NEVER => String::new(),
        at => format!(" until {at}"),
    };
    let content = match &item.content {
        Content::String(bytes) => format!("\"{}\"", shown(bytes)),
        other => {
            let text = format!("{other:?}");
            // Byte strings of whatever length, and then some: enough to see which it is.
            text.chars().take(600).collect()
        }
    };
    format!("{content}{deadline}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(keys: &[(&str, &str, u64)]) -> World {
        let item =
            |value: &str, deadline_ms| Rc::new(Item { content: Content::String(value.into()), deadline_ms });
        let keys = keys.iter().map(|(key, value, dies)| ((0, key.as_bytes().to_vec()), item(value, *dies)));
        World { keys: keys.collect() }
    }

    fn history() -> Oracle {
        let mut oracle = Oracle::new();
        for state in [&[("a", "1", NEVER)][..], &[("a", "1", NEVER), ("b", "2", 500)], &[("b", "2", 500)]] {
            oracle.commit(world(state), 100);
        }
        oracle
    }

    #[test]
    fn a_promised_write_that_is_lost_is_noticed() {
        let lost = world(&[]);
        assert_eq!(history().reopened(lost.clone(), 200), Ok(3), "nothing was promised");
        let mut oracle = history();
        oracle.acknowledged(1, false);
        assert!(oracle.reopened(lost.clone(), 200).is_err());
        let mut oracle = history();
        oracle.acknowledged(1, false);
        oracle.power_was_cut();
        assert_eq!(oracle.reopened(lost.clone(), 200), Ok(3), "everysec, and the power was cut");
        let mut oracle = history();
        oracle.acknowledged(1, true);
        oracle.power_was_cut();
        assert!(oracle.reopened(lost, 200).is_err());
    }

    #[test]
    fn what_nobody_wrote_and_what_was_deleted_is_noticed() {
        assert!(history().reopened(world(&[("c", "3", NEVER)]), 200).is_err());
        assert!(history().reopened(world(&[("a", "2", NEVER)]), 200).is_err());
        let mut oracle = history();
        oracle.acknowledged(3, false);
        assert!(
            oracle.reopened(world(&[("a", "1", NEVER), ("b", "2", 500)]), 200).is_err(),
            "a had been deleted"
        );
    }

    #[test]
    fn time_that_goes_back_behind_a_promise_is_noticed() {
        let mut oracle = history();
        oracle.acknowledged(3, false);
        assert!(oracle.reopened(world(&[("b", "2", 500)]), 99).is_err());
    }

    #[test]
    fn the_dead_stay_dead() {
        let mut oracle = history();
        oracle.acknowledged(3, false);
        assert!(oracle.reopened(world(&[("b", "2", 500)]), 500).is_err());
        assert_eq!(history().reopened(world(&[]), 500), Ok(0));
    }
}
