//! The operations of the [model](super::model), done to a database.

use super::chat_model;
use super::model::{Answer, Operation};
use super::support::{Id, chat_id};
use sessile::{
    Access, Begun, ChatAppended, ChatError, ChatLimits, ChatSummary, Committed, Db, Durability, Error,
    Extended, Key, NewTurn, ScoreRule, Txn,
};

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
        Operation::HashSetUntil(id, field, value, until_ms) => {
            own(id).hash_set_until(&id.1, field, value, Some(*until_ms)).map(Answer::Bool)
        }
        Operation::FieldDeadline(id, field, until_ms) => {
            own(id).hash_expire_at_ms(&id.1, field, *until_ms).map(Answer::Bool)
        }
        Operation::HashRemove(id, field) => own(id).hash_remove(&id.1, field).map(Answer::Bool),
        Operation::SetAdd(id, members) => own(id).set_add(&id.1, &slices(members)).map(Answer::Length),
        Operation::SetRemove(id, members) => own(id).set_remove(&id.1, &slices(members)).map(Answer::Length),
        Operation::SortedSetAdd(id, entries) => {
            own(id).sorted_set_add(&id.1, &scored(entries)).map(Answer::Length)
        }
        Operation::SortedSetRemove(id, members) => {
            own(id).sorted_set_remove(&id.1, &slices(members)).map(Answer::Length)
        }
        Operation::Clear(database) => {
            db.clear(*database).and_then(|_| acknowledge(db)).map(|()| Answer::Done)
        }
        Operation::ListPush(id, end, elements) => {
            own(id).list_push(&id.1, *end, elements).map(Answer::Length)
        }
        Operation::Swap(one, other) => {
            db.swap_databases(*one, *other).and_then(|_| acknowledge(db)).map(|()| Answer::Done)
        }
        Operation::Extended(all) => extended(db, all),
        Operation::Overlay(all) => overlay(db, all),
        Operation::WriteAt(..)
        | Operation::SortedSetRemoveRanks(..)
        | Operation::ListPop(..)
        | Operation::ListSet(..)
        | Operation::ListInsert(..)
        | Operation::ListRemove(..)
        | Operation::ListTrim(..)
        | Operation::ListMove(..)
        | Operation::ChatAppend(..)
        | Operation::ChatCompact(..)
        | Operation::ChatTrim(..)
        | Operation::HashUpdate(..)
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

fn slices(all: &[Vec<u8>]) -> Vec<&[u8]> {
    all.iter().map(Vec::as_slice).collect()
}

fn scored(all: &[(f64, Vec<u8>)]) -> Vec<(f64, &[u8])> {
    all.iter().map(|(score, member)| (*score, &member[..])).collect()
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

fn chat(done: Result<ChatAppended, ChatError>) -> Answer {
    match done {
        Err(ChatError::WrongKind(_)) => Answer::WrongKind,
        done => Answer::Chat(done),
    }
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
        Operation::HashSetUntil(_, field, value, until_ms) => {
            txn.hash_set_until(&key, field, value, Some(*until_ms)).map_or_else(wrong, Answer::Bool)
        }
        Operation::HashUpdate(_, field, value) => {
            txn.hash_update(&key, field, value).map_or_else(wrong, Answer::Bool)
        }
        Operation::FieldDeadline(_, field, until_ms) => {
            txn.hash_set_field_deadline(&key, field, *until_ms).map_or_else(wrong, Answer::Bool)
        }
        Operation::HashRemove(_, field) => txn.hash_remove(&key, field).map_or_else(wrong, Answer::Bool),
        Operation::SetAdd(_, members) => {
            txn.set_add(&key, &slices(members)).map_or_else(wrong, Answer::Length)
        }
        Operation::SetRemove(_, members) => {
            txn.set_remove(&key, &slices(members)).map_or_else(wrong, Answer::Length)
        }
        Operation::SortedSetAdd(_, entries) => {
            match txn.sorted_set_add(&key, &scored(entries), ScoreRule::default()) {
                Ok(set) => Answer::Length(set.added),
                Err(_) => Answer::WrongKind,
            }
        }
        Operation::SortedSetRemove(_, members) => {
            txn.sorted_set_remove(&key, &slices(members)).map_or_else(wrong, Answer::Length)
        }
        Operation::SortedSetRemoveRanks(_, start, end) => {
            txn.sorted_set_remove_ranks(&key, *start..*end).map_or_else(wrong, Answer::Length)
        }
        Operation::WriteAt(_, offset, bytes) => {
            txn.write_string_at(&key, *offset, bytes).map_or_else(wrong, Answer::Length)
        }
        Operation::ListPush(_, end, elements) => {
            let elements: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
            txn.list_push(&key, *end, &elements).map_or_else(wrong, Answer::Length)
        }
        Operation::ListPop(_, end, count) => {
            txn.list_pop(&key, *end, *count, &mut |_| {}).map_or_else(wrong, Answer::Length)
        }
        Operation::ListSet(_, index, element) => {
            txn.list_set(&key, *index, element).map_or_else(wrong, |there| Answer::Length(usize::from(there)))
        }
        Operation::ListInsert(_, index, element) => txn
            .list_insert(&key, *index, element)
            .map_or_else(wrong, |there| Answer::Length(usize::from(there))),
        Operation::ListRemove(_, element, count, from) => {
            txn.list_remove(&key, element, *count, *from).map_or_else(wrong, Answer::Length)
        }
        Operation::ListTrim(_, start, count) => {
            txn.list_trim(&key, *start, *count).map_or_else(wrong, Answer::Length)
        }
        Operation::ListMove(_, take, to, put) => txn
            .list_move(&key, *take, &txn.key(to.0, &to.1), *put, &mut |_| {})
            .map_or_else(wrong, Answer::Bool),
        Operation::ChatAppend(_, role, content, tokens, name) => {
            let name = name.map(chat_id);
            let role = chat_model::ROLES[*role];
            let turn = NewTurn { role, content, tokens: *tokens, id: name.as_deref() };
            chat(txn.chat_append(&key, &turn))
        }
        Operation::ChatCompact(_, upto, content, keep) => {
            let keep = chat_model::roles(keep);
            let summary = ChatSummary { upto: *upto, content, keep: &keep, ..ChatSummary::default() };
            chat(txn.chat_compact(&key, &summary))
        }
        Operation::ChatTrim(_, max_tokens, max_turns, keep) => {
            let keep = chat_model::roles(keep);
            let limits = ChatLimits { max_tokens: *max_tokens, max_turns: *max_turns, keep: &keep };
            txn.chat_trim(&key, &limits).map_or_else(wrong, |done| Answer::Length(done.0 as usize))
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
