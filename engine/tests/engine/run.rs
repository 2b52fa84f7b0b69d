//! The operations of the [model](super::model), done to a database.

use super::model::{Answer, Operation};
use super::support::Id;
use sessile::{Access, Begun, Committed, Db, Durability, Error, Extended, Key, Txn};

/// Runs an operation through the typed API where there is one, else as a transaction.
pub(crate) fn run(db: &Db, operation: &Operation) -> Result<Answer, Error> {
    let own = |id: &Id| db.database(id.0);
    let answer = match operation {
        Operation::Set(id, bytes, expiry) => own(id).set(&id.1, bytes, *expiry).map(|()| Answer::Done),
        Operation::SetNew(id, bytes, expiry) => own(id).set_new(&id.1, bytes, *expiry).map(Answer::Bool),
        Operation::GetAndTouch(id, touch) => {
            own(id).get_and_touch(&id.1, *touch).map(|value| Answer::Value(value.map(|v| v.to_vec())))
        }
        Operation::Touch(id, touch) => own(id).touch(&id.1, *touch).map(Answer::Bool),
        Operation::Delete(id) => own(id).delete(&id.1).map(Answer::Bool),
        Operation::ExpireAt(id, at) => own(id).expire_at_ms(&id.1, *at).map(Answer::Bool),
        Operation::HashSet(id, field, value) => own(id).hash_set(&id.1, field, value).map(Answer::Bool),
        Operation::HashRemove(id, field) => own(id).hash_remove(&id.1, field).map(Answer::Bool),
        Operation::Clear(database) => {
            db.clear(*database).and_then(|_| acknowledge(db)).map(|()| Answer::Done)
        }
        Operation::Swap(one, other) => {
            db.swap_databases(*one, *other).and_then(|_| acknowledge(db)).map(|()| Answer::Done)
        }
        Operation::Extended(all) => extended(db, all),
        Operation::Overlay(all) => overlay(db, all),
        Operation::WriteAt(..)
        | Operation::Rename(..)
        | Operation::Copy(..)
        | Operation::Transaction(_)
        | Operation::Revoked(_) => {
            let ids = operation.ids();
            let keys: Vec<Key<'_>> = ids.iter().map(|id| db.key(id.0, &id.1)).collect();
            while !db.admit_now(64, Access::Write)? {
                db.step()?;
            }
            let mut txn = db.begin(&keys, Access::Write, db.now_ms())?;
            if let Operation::Revoked(all) = operation {
                txn.make_revocable();
                all.iter().for_each(|operation| drop(within(&mut txn, operation)));
                txn.roll_back();
                return Ok(Answer::Done);
            }
            let answer = within(&mut txn, operation);
            let lsn = txn.commit();
            if lsn == sessile::Lsn::ZERO { Ok(answer) } else { acknowledge(db).map(|()| answer) }
        }
    };
    match answer {
        Err(Error::WrongKind(_)) => Ok(Answer::WrongKind),
        other => other,
    }
}

/// A transaction that learns of its keys as it goes, and begins again with those that it knows of when it has to.
fn extended(db: &Db, all: &[Operation]) -> Result<Answer, Error> {
    while !db.admit_now(64, Access::Write)? {
        db.step()?;
    }
    let now_ms = db.now_ms();
    let (mut known, mut fetched): (Vec<Id>, _) = (Vec::new(), None);
    'again: loop {
        let keys: Vec<Key<'_>> = known.iter().map(|id| db.key(id.0, &id.1)).collect();
        let mut txn = match db.try_begin(&keys, Access::Write, now_ms, fetched.take())? {
            Begun::Ready(txn) => txn,
            Begun::Cold(mut fetch) => {
                fetch.wait();
                fetched = Some(fetch);
                continue;
            }
        };
        txn.make_revocable();
        let mut answers = Vec::new();
        for operation in all {
            let ids = operation.ids();
            let keys: Vec<Key<'_>> = ids.iter().map(|id| txn.key(id.0, &id.1)).collect();
            match txn.extend(&keys)? {
                Extended::Ready => answers.push(within(&mut txn, operation)),
                Extended::Contended => unreachable!("nobody else is there"),
                Extended::Cold(mut fetch) => {
                    txn.roll_back();
                    fetch.wait();
                    let operations = all.iter().take(answers.len() + 1);
                    known = operations.flat_map(Operation::ids).collect();
                    fetched = Some(fetch);
                    continue 'again;
                }
            }
        }
        let lsn = txn.commit();
        return if lsn == sessile::Lsn::ZERO {
            Ok(Answer::Many(answers))
        } else {
            acknowledge(db).map(|()| Answer::Many(answers))
        };
    }
}

fn overlay(db: &Db, all: &[Operation]) -> Result<Answer, Error> {
    while !db.admit_now(64, Access::Write)? {
        db.step()?;
    }
    let mut overlay = db.overlay(db.now_ms());
    let mut answers = Vec::new();
    for operation in all {
        let ids = operation.ids();
        let keys: Vec<Key<'_>> = ids.iter().map(|id| db.key(id.0, &id.1)).collect();
        let mut txn = overlay.begin(&keys, Access::Write)?;
        if answers.len() % 3 == 2 {
            txn.make_revocable();
            drop(within(&mut txn, operation));
            txn.roll_back();
            txn = overlay.begin(&keys, Access::Write)?;
        }
        answers.push(within(&mut txn, operation));
        txn.commit();
    }
    match overlay.commit()? {
        Committed::Conflict => unreachable!("nobody else is there"),
        Committed::At(lsn) if lsn == sessile::Lsn::ZERO => Ok(Answer::Many(answers)),
        Committed::At(_) => acknowledge(db).map(|()| Answer::Many(answers)),
    }
}

fn acknowledge(db: &Db) -> Result<(), Error> {
    if db.durability() == Durability::Always { db.flush() } else { db.push_log() }
}

fn within(txn: &mut Txn<'_>, operation: &Operation) -> Answer {
    let wrong = |_| Answer::WrongKind;
    let keys: Vec<Id> = operation.ids();
    let Some(first) = keys.first() else { return Answer::Many(Vec::new()) };
    let key = txn.key(first.0, &first.1);
    match operation {
        Operation::Set(_, bytes, expiry) => {
            txn.set(&key, bytes, *expiry);
            Answer::Done
        }
        Operation::SetNew(_, bytes, expiry) => {
            let new = !txn.exists(&key);
            if new {
                txn.set(&key, bytes, *expiry);
            }
            Answer::Bool(new)
        }
        Operation::GetAndTouch(_, touch) => match txn.value(&key) {
            Err(_) => Answer::WrongKind,
            Ok(value) => {
                txn.touch(&key, *touch);
                Answer::Value(value.map(|value| value.to_vec()))
            }
        },
        Operation::Touch(_, touch) => Answer::Bool(txn.touch(&key, *touch).is_some()),
        Operation::Delete(_) => Answer::Bool(txn.delete(&key)),
        Operation::ExpireAt(_, at) => Answer::Bool(txn.set_deadline(&key, *at)),
        Operation::HashSet(_, field, value) => {
            txn.hash_set(&key, field, value).map_or_else(wrong, Answer::Bool)
        }
        Operation::HashRemove(_, field) => txn.hash_remove(&key, field).map_or_else(wrong, Answer::Bool),
        Operation::WriteAt(_, offset, bytes) => {
            txn.write_string_at(&key, *offset, bytes).map_or_else(wrong, Answer::Length)
        }
        Operation::Rename(_, to) => Answer::Bool(txn.rename(&key, &txn.key(to.0, &to.1))),
        Operation::Copy(_, to) => Answer::Bool(txn.copy(&key, &txn.key(to.0, &to.1))),
        Operation::Transaction(all) => {
            Answer::Many(all.iter().map(|operation| within(txn, operation)).collect())
        }
        Operation::Clear(_)
        | Operation::Swap(..)
        | Operation::Extended(_)
        | Operation::Overlay(_)
        | Operation::Revoked(_) => unreachable!("no part of a transaction of keys"),
    }
}
