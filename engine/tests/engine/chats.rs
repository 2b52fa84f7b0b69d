//! Chats against the plainest model there is: a `Vec` of turns. Small ones and large ones, taken back, copied, closed, killed and checkpointed.
//!
//! `SESSILE_SEEDS=n` runs more conversations, `SESSILE_SEED=s` replays one.

use super::chat_model::{IDS_REMEMBERED, Model, ROLES, Turn, roles};
use super::support::{DIR, for_each_seed};
use sessile::{Access, ChatLimits, ChatSummary, ChatTurn, Db, Durability, Key, Kind, NewTurn, Options, Txn};
use sessile_wal::sim::{Rng, SimClock, SimFs};
use std::sync::Arc;

/// One thing done to a chat, and to its model.
#[derive(Clone, Debug)]
enum Act {
    Append { role: usize, content: Vec<u8>, tokens: Option<u64>, id: Option<Vec<u8>> },
    Trim { max_tokens: Option<u64>, max_turns: Option<u64>, keep: Vec<usize> },
    Compact { upto: u64, content: Vec<u8>, role: Option<usize>, if_epoch: Option<u64>, keep: Vec<usize> },
}

impl Act {
    fn draw(rng: &mut Rng, model: &Model, size: u64) -> Act {
        let some = |rng: &mut Rng, bound: u64| rng.chance(50).then(|| rng.below(bound));
        let keep = |rng: &mut Rng| (0..rng.below(3)).map(|_| rng.below(5) as usize).collect();
        let content = |rng: &mut Rng, size: u64| vec![rng.next_u64() as u8; rng.below(size) as usize];
        match rng.below(100) {
            0..3 => {
                let by_tokens = rng.chance(50);
                let totals = model.totals();
                let keep = keep(rng);
                let mut limit = |most: u64| rng.below(most * 5 / 4 + 2);
                let (tokens, turns) = (limit(totals.tokens), limit(totals.turns));
                let (max_tokens, max_turns) =
                    if by_tokens { (Some(tokens), None) } else { (None, Some(turns)) };
                Act::Trim { max_tokens, max_turns, keep }
            }
            3..6 => {
                let any = rng.below(model.turns.len() as u64 + 1) as usize;
                let there = model.turns.get(any / 2).map_or(0, |turn| turn.index);
                Act::Compact {
                    upto: if rng.chance(80) { there } else { rng.below(model.next_index + 2) },
                    content: content(rng, size),
                    role: rng.chance(20).then(|| rng.below(5) as usize),
                    if_epoch: rng.chance(50).then(|| model.epoch + u64::from(rng.chance(20))),
                    keep: keep(rng),
                }
            }
            _ => Act::Append {
                role: if rng.chance(95) { 1 + rng.below(2) as usize } else { rng.below(5) as usize },
                content: content(rng, size),
                tokens: some(rng, 50),
                id: some(rng, 3 * IDS_REMEMBERED).map(|id| format!("id {id}").into_bytes()),
            },
        }
    }

    /// Does it to both, and compares the answers.
    fn run(&self, txn: &mut Txn<'_>, key: &Key<'_>, model: &mut Model) {
        match self {
            Act::Append { role, content, tokens, id } => {
                let turn = NewTurn { role: ROLES[*role], content, tokens: *tokens, id: id.as_deref() };
                assert_eq!(txn.chat_append(key, &turn), Ok(model.append(&turn)), "{self:?}");
            }
            Act::Trim { max_tokens, max_turns, keep } => {
                let keep = roles(keep);
                let limits = ChatLimits { max_tokens: *max_tokens, max_turns: *max_turns, keep: &keep };
                assert_eq!(txn.chat_trim(key, &limits), Ok(model.trim(&limits)), "{self:?}");
            }
            Act::Compact { upto, content, role, if_epoch, keep } => {
                let keep = roles(keep);
                let summary = ChatSummary {
                    upto: *upto,
                    content,
                    tokens: None,
                    role: role.map(|role| ROLES[role]),
                    if_epoch: *if_epoch,
                    keep: &keep,
                };
                assert_eq!(txn.chat_compact(key, &summary), model.compact(&summary), "{self:?}");
            }
        }
    }
}

/// Compares all that can be seen of a chat, with limits drawn at random, too.
fn compare(txn: &Txn<'_>, key: &Key<'_>, model: &Model, rng: &mut Rng) {
    let is_there = model.next_index > 0;
    let kind = is_there.then_some(Kind::Chat);
    assert_eq!(txn.kind(key), kind);
    assert_eq!(txn.chat_totals(key), Ok(model.totals()));
    let totals = model.totals();
    for all in [true, false, false] {
        let keep = roles(&(0..rng.below(3)).map(|_| rng.below(5) as usize).collect::<Vec<_>>());
        let mut limit = |most: u64| rng.chance(60).then(|| rng.below(most * 5 / 4 + 2));
        let (max_tokens, max_turns) =
            if all { (None, None) } else { (limit(totals.tokens), limit(totals.turns.min(20))) };
        let limits = ChatLimits { max_tokens, max_turns, keep: &keep };
        let seen = txn.chat_window(key, &limits).expect("a chat");
        assert_eq!(seen.is_some(), is_there);
        let Some(seen) = seen else { continue };
        let expected: Vec<&Turn> =
            model.window(&limits).into_iter().map(|position| &model.turns[position]).collect();
        let turns: Vec<Turn> = seen
            .turns
            .iter()
            .map(|&ChatTurn { index, role, content, tokens }| Turn {
                index,
                role: role.to_vec(),
                content: content.to_vec(),
                tokens,
            })
            .collect();
        assert_eq!(turns.iter().collect::<Vec<_>>(), expected, "{limits:?}");
        assert_eq!((seen.tokens, seen.epoch), (turns.iter().map(|turn| turn.tokens).sum(), model.epoch));
    }
}

struct World {
    sim: SimFs,
    clock: SimClock,
}

impl World {
    fn open(&self) -> Db {
        let options = Options::new()
            .durability(Durability::Always)
            .manual_background()
            .file_system(Arc::new(self.sim.clone()))
            .clock(Arc::new(self.clock.clone()));
        options.open(DIR).expect("opens")
    }
}

/// A conversation of so many acts, with contents of up to so many bytes.
fn converse(seed: u64, acts: usize, size: u64) {
    let mut rng = Rng::new(seed);
    let world = World { sim: SimFs::new(seed), clock: SimClock::default() };
    let mut db = world.open();
    let (mut model, mut was_large) = (Model::default(), false);
    for act in 0..acts {
        let key = db.key(0, b"chat");
        let mut txn = db.begin(&[key], Access::Write, db.now_ms()).expect("begins");
        if rng.chance(15) {
            // What is taken back leaves no trace, not even of the ids that it had pushed out.
            txn.make_revocable();
            let mut scratch = model.clone();
            for _ in 0..1 + rng.below(6) {
                Act::draw(&mut rng, &scratch, size).run(&mut txn, &key, &mut scratch);
            }
            compare(&txn, &key, &scratch, &mut rng);
            txn.roll_back();
            txn = db.begin(&[key], Access::Write, db.now_ms()).expect("begins");
        }
        for _ in 0..1 + rng.below(3) {
            Act::draw(&mut rng, &model, size).run(&mut txn, &key, &mut model);
        }
        compare(&txn, &key, &model, &mut rng);
        was_large |= !txn.is_packed(&key);
        let lsn = txn.commit();
        if rng.chance(5) {
            let copy = db.key(3, b"copy");
            let mut txn = db.begin(&[key, copy], Access::Write, db.now_ms()).expect("begins");
            assert_eq!(txn.copy(&key, &copy), model.next_index > 0);
            compare(&txn, &copy, &model, &mut rng);
            let mut fork = model.clone();
            (0..3).for_each(|_| Act::draw(&mut rng, &fork.clone(), size).run(&mut txn, &copy, &mut fork));
            compare(&txn, &key, &model, &mut rng);
            txn.commit();
        }
        if act % 40 == 20 || rng.chance(1) {
            assert!(lsn <= db.acknowledged() || db.flush().is_ok());
            if rng.chance(40) {
                db.checkpoint().expect("a checkpoint");
            }
            let is_killed = rng.chance(50);
            if !is_killed {
                db.close().expect("closes");
            }
            drop(db);
            if is_killed {
                world.sim.kill();
            }
            db = world.open();
            assert_eq!(db.verify(), Ok(()));
            let key = db.key(0, b"chat");
            let txn = db.begin(&[key], Access::Read, db.now_ms()).expect("begins");
            compare(&txn, &key, &model, &mut rng);
        }
    }
    assert!(was_large || size < 100, "small and large chats were meant to be seen");
}

#[test]
fn a_chat_is_a_list_of_turns_whatever_is_done_to_it() {
    for_each_seed(24, |seed| {
        let (acts, size) = [(150, 60), (300, 300), (120, 4000), (2500, 40)][seed as usize % 4];
        converse(seed, acts, size);
    });
}

#[test]
fn an_id_that_was_pushed_out_is_back_when_that_is_taken_back() {
    let world = World { sim: SimFs::new(1), clock: SimClock::default() };
    let db = world.open();
    let key = db.key(0, b"chat");
    let ids: Vec<Vec<u8>> = (0..=IDS_REMEMBERED).map(|id| format!("id {id}").into_bytes()).collect();
    let append = |txn: &mut Txn<'_>, id: &[u8]| {
        let turn = NewTurn { role: b"user", id: Some(id), ..NewTurn::default() };
        txn.chat_append(&key, &turn).expect("a chat")
    };
    let begin = || db.begin(&[key], Access::Write, db.now_ms()).expect("begins");
    let mut txn = begin();
    ids[..1024].iter().for_each(|id| assert!(append(&mut txn, id).is_new));
    txn.commit();
    let summary = ChatSummary { upto: 9, ..ChatSummary::default() };
    let push_out: [&dyn Fn(&mut Txn<'_>); 2] = [&|txn| assert!(append(txn, &ids[1024]).is_new), &|txn| {
        assert!(txn.chat_compact(&key, &summary).is_ok());
    }];
    for push_out in push_out {
        let mut txn = begin();
        txn.make_revocable();
        push_out(&mut txn);
        assert!(append(&mut txn, &ids[0]).is_new, "the oldest was forgotten");
        txn.roll_back();
        let mut txn = begin();
        for (index, id) in ids[..1024].iter().enumerate() {
            let done = append(&mut txn, id);
            assert_eq!((done.is_new, done.index), (false, index as u64));
        }
    }
}
