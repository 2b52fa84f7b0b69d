//! Classes of sessions: a policy under a name, and the generation that decides which sessions of it live.
//!
//! Sessions hold a class's number and its generation when they were made. Raising the generation ends all of them at once, whatever their number:
//! what is left of them is swept away in the background. Numbers are never used again; a class that was deleted while sessions of it live is kept,
//! hidden, for as long.
//!
//! The classes are one object of the system's database. A table made of it is kept in memory for those who only look up a session's class, and is
//! made anew whenever a transaction that has changed the object ends, before it gives the locks back.

use super::events::STATE;
use super::plan::Plan;
use super::record::Numbers;
use super::{SessionError, SessionKey, counts};
use crate::db::Inner;
use crate::txn::Txn;
use crate::varint;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The key of the classes.
pub(super) const CLASSES: &[u8] = b"classes";
/// The field with the next number.
const NEXT: &[u8] = b"n";
/// The field that asks for a sweep: how often that was asked for.
const SWEEP: &[u8] = b"s";
/// Before a class's number, in the name of its field.
const CLASS: u8 = b'c';
const CLASS_VERSION: u8 = 1;
const DELETED: u8 = 1;
/// Numbers below are those of presets.
const FIRST_NUMBER: u32 = 16;
/// Classes that there may be at once.
pub const CLASSES_MAX: usize = 10_000;
/// Longest name of a class, in bytes.
pub const CLASS_NAME_BYTES_MAX: usize = 255;

/// What happens to a user who has as many sessions of a class as the policy allows, and begins another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// The least recently seen one ends.
    #[default]
    Evict,
    /// The new one is refused.
    Reject,
}

/// The limits of the sessions of a class, taken when one is made. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long a session lives without being touched, in seconds.
    pub idle_s: u64,
    /// How long a session lives at most, in seconds.
    pub max_s: u64,
    /// Sessions that a user may have of the class.
    pub per_user: u32,
    /// What happens beyond that.
    pub on_limit: OnLimit,
    /// How long a token that was rotated away may still be used to read, touch and end, in seconds.
    pub grace_s: u32,
}

/// A class.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) number: u32,
    pub(super) name: Arc<str>,
    pub(super) generation: u32,
    pub(super) policy: Policy,
    /// The policy was deleted: no session of it is made.
    pub(super) deleted: bool,
}

const HOUR_S: u64 = 3600;
/// The limits of NIST SP 800-63B-4 for its three assurance levels: reauthentication after this long, and after this long without activity.
const PRESETS: [(&str, u64, u64); 3] =
    [("aal1", 30 * 24 * HOUR_S, 0), ("aal2", 24 * HOUR_S, HOUR_S), ("aal3", 12 * HOUR_S, HOUR_S / 4)];

/// Whether a class of this name is always there and can't be changed.
pub(super) fn is_preset(name: &str) -> bool {
    PRESETS.iter().any(|preset| preset.0 == name)
}

fn presets() -> impl Iterator<Item = Class> {
    PRESETS.iter().zip(1..).map(|(&(name, max_s, idle_s), number)| {
        let policy = Policy { idle_s, max_s, ..Policy::default() };
        Class { number, name: name.into(), generation: 0, policy, deleted: false }
    })
}

impl Class {
    fn encode(&self) -> Vec<u8> {
        let Policy { idle_s, max_s, per_user, on_limit, grace_s } = self.policy;
        let flags = if self.deleted { DELETED } else { 0 };
        let mut out = vec![CLASS_VERSION, flags, u8::from(on_limit == OnLimit::Reject)];
        for number in [u64::from(self.generation), idle_s, max_s, u64::from(per_user), u64::from(grace_s)] {
            varint::put(&mut out, number);
        }
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    fn decode(number: u32, bytes: &[u8]) -> Option<Class> {
        let (&[version, flags, on_limit], mut rest) = bytes.split_first_chunk::<3>()?;
        let mut next = || varint::take(&mut rest);
        let (generation, idle_s, max_s, per_user, grace_s) = (next()?, next()?, next()?, next()?, next()?);
        let name = std::str::from_utf8(rest).ok()?;
        if version != CLASS_VERSION || flags & !DELETED != 0 || on_limit > 1 {
            return None;
        }
        Some(Class {
            number,
            name: name.into(),
            generation: u32::try_from(generation).ok()?,
            policy: Policy {
                idle_s,
                max_s,
                per_user: u32::try_from(per_user).ok()?,
                on_limit: if on_limit == 1 { OnLimit::Reject } else { OnLimit::Evict },
                grace_s: u32::try_from(grace_s).ok()?,
            },
            deleted: flags & DELETED != 0,
        })
    }
}

fn field_of(number: u32) -> [u8; 5] {
    let mut field = [CLASS; 5];
    field[1..].copy_from_slice(&number.to_be_bytes());
    field
}

/// All classes, as they were at one moment.
#[derive(Clone, Debug)]
pub(super) struct ClassTable {
    by_number: HashMap<u32, Class>,
    by_name: BTreeMap<Arc<str>, u32>,
    next: u32,
    /// Sessions that have ended with their class are to be swept away, if it is not 0.
    pub(super) sweep: u64,
}

impl ClassTable {
    /// The presets alone.
    pub(super) fn new() -> ClassTable {
        let mut table =
            ClassTable { by_number: HashMap::new(), by_name: BTreeMap::new(), next: FIRST_NUMBER, sweep: 0 };
        presets().for_each(|class| table.add(class));
        table
    }

    fn add(&mut self, class: Class) {
        self.next = self.next.max(class.number.saturating_add(1));
        self.by_name.insert(Arc::clone(&class.name), class.number);
        self.by_number.insert(class.number, class);
    }

    /// A copy that shares nothing, so that threads do not count references to the same names.
    fn own_copy(&self) -> ClassTable {
        let (next, sweep) = (self.next, self.sweep);
        let mut copy = ClassTable { by_number: HashMap::new(), by_name: BTreeMap::new(), next, sweep };
        for class in self.by_number.values() {
            copy.add(Class { name: Arc::from(&*class.name), ..class.clone() });
        }
        copy
    }

    /// As the system's object says, in a transaction that holds its key.
    fn read(txn: &Txn<'_>) -> Result<ClassTable, SessionError> {
        let mut table = ClassTable::new();
        let mut sound = true;
        let key = SessionKey::system(CLASSES);
        let read = txn.hash_for_each(&key.hashed_by(txn.hasher()), &mut |field, value| match field {
            [CLASS, number @ ..] => {
                let number = number.try_into().ok().map(u32::from_be_bytes);
                match number.and_then(|number| Class::decode(number, value)) {
                    Some(class) => table.add(class),
                    None => sound = false,
                }
            }
            NEXT => match Numbers(value).short() {
                Some(next) => table.next = table.next.max(next),
                None => sound = false,
            },
            SWEEP => match Numbers(value).long() {
                Some(sweep) => table.sweep = sweep,
                None => sound = false,
            },
            _ => sound = false,
        });
        if read.is_err() || !sound {
            return Err(SessionError::Damaged { what: "the classes" });
        }
        Ok(table)
    }

    pub(super) fn numbered(&self, number: u32) -> Option<&Class> {
        self.by_number.get(&number)
    }

    /// The class of this name, deleted ones too.
    pub(super) fn named_at_all(&self, name: &str) -> Option<&Class> {
        self.by_number.get(self.by_name.get(name)?)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Class> {
        self.named_at_all(name).filter(|class| !class.deleted)
    }

    /// Names of those that are not deleted, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let is_there = |number: &u32| self.numbered(*number).is_some_and(|class| !class.deleted);
        self.by_name.iter().filter(move |(_, number)| is_there(number)).map(|(name, _)| name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Class> {
        self.by_number.values()
    }

    /// The class of a session, if its generation is the one that lives.
    pub(super) fn live(&self, number: u32, generation: u32) -> Option<&Class> {
        self.numbered(number).filter(|class| class.generation == generation)
    }
}

/// The table in force. Readers keep one each, and look at one number to know whether it is still that.
pub(super) struct Classes {
    /// Tells databases of a process apart.
    instance: u64,
    changes: AtomicU64,
    table: parking_lot::RwLock<Arc<ClassTable>>,
}

/// What a thread has: of which database, as of which change.
struct Kept {
    instance: u64,
    changes: u64,
    table: Arc<ClassTable>,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

impl Classes {
    pub(super) fn new() -> Classes {
        static INSTANCES: AtomicU64 = AtomicU64::new(0);
        Classes {
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            changes: AtomicU64::new(0),
            table: parking_lot::RwLock::new(Arc::new(ClassTable::new())),
        }
    }

    /// The table, for a moment.
    pub(super) fn with<R>(&self, look: impl FnOnce(&Arc<ClassTable>) -> R) -> R {
        KEPT.with_borrow_mut(|kept| {
            let changes = self.changes.load(Ordering::Acquire);
            match kept {
                Some(one) if one.instance == self.instance && one.changes == changes => look(&one.table),
                _ => {
                    // What is read now is of that change or a later one.
                    let table = Arc::new(self.table.read().own_copy());
                    let one = kept.insert(Kept { instance: self.instance, changes, table });
                    look(&one.table)
                }
            }
        })
    }

    pub(super) fn get(&self) -> Arc<ClassTable> {
        self.with(Arc::clone)
    }

    fn set(&self, table: ClassTable) {
        *self.table.write() = Arc::new(table);
        self.changes.fetch_add(1, Ordering::Release);
    }
}

impl Inner {
    /// Makes the table anew from a transaction that holds the classes.
    pub(super) fn refresh_classes(&self, txn: &Txn<'_>) -> Result<(), SessionError> {
        self.sessions.classes.set(ClassTable::read(txn)?);
        Ok(())
    }
}

/// The classes as a transaction sees them: the table in force, or its own if it has changed them, or may have.
pub(super) fn table(txn: &Txn<'_>, plan: &mut Plan) -> Result<Arc<ClassTable>, SessionError> {
    if !txn.has_own_classes() {
        return Ok(txn.inner().sessions.classes.get());
    }
    if !plan.wants(txn, SessionKey::system(CLASSES)) {
        return Ok(Arc::new(ClassTable::read(txn)?));
    }
    plan.check()?;
    unreachable!("what is wanted is asked for")
}

/// As [`table`], of a transaction that is about to change it.
pub(super) fn table_to_change(txn: &Txn<'_>, plan: &mut Plan) -> Result<ClassTable, SessionError> {
    plan.wants(txn, SessionKey::system(CLASSES));
    plan.check()?;
    ClassTable::read(txn)
}

/// Writes a class; the transaction holds the classes.
pub(super) fn put(txn: &mut Txn<'_>, class: &Class) {
    let key = SessionKey::system(CLASSES);
    let hashed = key.hashed_by(txn.hasher());
    // The kind was looked at when the table was read.
    let _ = txn.hash_set(&hashed, &field_of(class.number), &class.encode());
    txn.note_classes();
}

fn set_next(txn: &mut Txn<'_>, next: u32) {
    let key = SessionKey::system(CLASSES);
    let hashed = key.hashed_by(txn.hasher());
    let _ = txn.hash_set(&hashed, NEXT, &next.to_le_bytes());
}

/// Sets a policy, making its class.
pub(super) fn set_policy(txn: &mut Txn<'_>, name: &str, policy: Policy) -> Result<(), SessionError> {
    if is_preset(name) {
        return Err(SessionError::Preset);
    }
    if name.is_empty() || name.len() > CLASS_NAME_BYTES_MAX {
        return Err(SessionError::ClassName);
    }
    let table = table_to_change(txn, &mut Plan::default())?;
    let class = match table.named_at_all(name) {
        Some(class) => Class { policy, deleted: false, ..class.clone() },
        None if table.by_number.len() >= CLASSES_MAX && !forget_deleted(txn, &table)?
            || table.next == u32::MAX =>
        {
            return Err(SessionError::TooManyClasses);
        }
        None => {
            set_next(txn, table.next + 1);
            Class { number: table.next, name: name.into(), generation: 0, policy, deleted: false }
        }
    };
    put(txn, &class);
    Ok(())
}

/// Deletes a policy; whether it was there. The class stays while sessions of it may be there.
pub(super) fn delete_policy(txn: &mut Txn<'_>, name: &str) -> Result<bool, SessionError> {
    if is_preset(name) {
        return Err(SessionError::Preset);
    }
    let mut plan = Plan::default();
    plan.wants(txn, SessionKey::system(STATE));
    let table = table_to_change(txn, &mut plan)?;
    let Some(class) = table.named(name) else { return Ok(false) };
    if counts::get(txn, class.number)? == 0 {
        forget(txn, class.number);
    } else {
        put(txn, &Class { deleted: true, ..class.clone() });
    }
    Ok(true)
}

/// Forgets the classes that were deleted and have no living session any more; whether there was one.
fn forget_deleted(txn: &mut Txn<'_>, table: &ClassTable) -> Result<bool, SessionError> {
    let mut plan = Plan::default();
    plan.wants(txn, SessionKey::system(STATE));
    plan.check()?;
    let mut forgotten = false;
    for class in table.all().filter(|class| class.deleted) {
        if counts::get(txn, class.number)? == 0 {
            forget(txn, class.number);
            forgotten = true;
        }
    }
    Ok(forgotten)
}

/// Asks for a sweep: sessions of this transaction's classes have ended with them.
pub(super) fn ask_for_sweep(txn: &mut Txn<'_>, table: &ClassTable) {
    let key = SessionKey::system(CLASSES);
    let hashed = key.hashed_by(txn.hasher());
    let _ = txn.hash_set(&hashed, SWEEP, &(table.sweep + 1).to_le_bytes());
    txn.note_classes();
}

/// Says that everything was swept that had ended when the sweep was asked for the `asked`th time; whether nobody has asked again.
pub(super) fn end_sweep(txn: &mut Txn<'_>, asked: u64) -> Result<bool, SessionError> {
    let table = table_to_change(txn, &mut Plan::default())?;
    if table.sweep != asked {
        return Ok(false);
    }
    let key = SessionKey::system(CLASSES);
    let hashed = key.hashed_by(txn.hasher());
    let _ = txn.hash_remove(&hashed, SWEEP);
    txn.note_classes();
    Ok(true)
}

/// Forgets a class that was deleted: none of its sessions lives, and without a class none of what is left of them does.
fn forget(txn: &mut Txn<'_>, number: u32) {
    let key = SessionKey::system(CLASSES);
    let hashed = key.hashed_by(txn.hasher());
    let _ = txn.hash_remove(&hashed, &field_of(number));
    txn.note_classes();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_comes_back_and_presets_are_those_of_nist() {
        let policy =
            Policy { idle_s: 1 << 40, max_s: 7, per_user: 3, on_limit: OnLimit::Reject, grace_s: 90 };
        let class = Class { number: 99, name: "wéb".into(), generation: 12, policy, deleted: true };
        let back = Class::decode(99, &class.encode()).expect("made here");
        assert_eq!((back.policy, back.generation, back.deleted, &*back.name), (policy, 12, true, "wéb"));
        let table = ClassTable::new();
        let limits = |name: &str| table.named(name).map(|class| (class.policy.max_s, class.policy.idle_s));
        assert_eq!(limits("aal1"), Some((2_592_000, 0)));
        assert_eq!(limits("aal2"), Some((86_400, 3_600)));
        assert_eq!(limits("aal3"), Some((43_200, 900)));
    }
}
