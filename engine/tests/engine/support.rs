//! What the tests share.

use super::chat_model;
use sessile::{Access, ChatLimits, ChatTurn, Db, Error, Kind, NewTurn, Options, StreamId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The directory of simulated databases.
pub(crate) const DIR: &str = "/data/db";

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// A key: database number and bytes.
pub(crate) type Id = (u8, Vec<u8>);

/// What a key holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Content {
    String(Vec<u8>),
    /// Fields with their values and deadlines, in ms since the epoch, or [`NEVER`].
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, u64)>),
    Set(BTreeSet<Vec<u8>>),
    /// Members, and the bits of their scores.
    SortedSet(BTreeMap<Vec<u8>, u64>),
    List(VecDeque<Vec<u8>>),
    /// Ids, each with its fields and values.
    Stream(Vec<(StreamId, Vec<Vec<u8>>)>),
    /// With those of the [ids](chat_id) that it remembers.
    Chat(chat_model::Model),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum =
            |bytes: &[u8]| bytes.iter().fold(0u32, |sum, &b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
        match self {
            Content::String(bytes) => write!(f, "string of {} ({:08x})", bytes.len(), sum(bytes)),
            Content::Hash(fields) => write!(f, "hash of {} fields", fields.len()),
            Content::Set(members) => write!(f, "set of {} members", members.len()),
            Content::SortedSet(members) => write!(f, "sorted set of {} members", members.len()),
            Content::Stream(entries) => write!(f, "stream of {} entries", entries.len()),
            Content::Chat(chat) => {
                let indexes: Vec<u64> = chat.turns.iter().map(|turn| turn.index).collect();
                let sums = chat.turns.iter().flat_map(|turn| sum(&turn.content).to_le_bytes());
                let sum = sum(&sums.collect::<Vec<_>>());
                let (next, epoch, ids) = (chat.next_index, chat.epoch, &chat.ids);
                write!(f, "chat of turns {indexes:?} ({sum:08x}), next {next}, epoch {epoch}, ids {ids:?}")
            }
            Content::List(elements) => {
                let sums = elements.iter().flat_map(|element| sum(element).to_le_bytes());
                write!(f, "list of {} ({:08x})", elements.len(), sum(&sums.collect::<Vec<_>>()))
            }
        }
    }
}

/// What is seen of a key from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) content: Content,
    /// In ms since the epoch, or [`NEVER`].
    pub(crate) deadline_ms: u64,
    pub(crate) absolute_ms: u64,
}

/// The ids that turns of chats get in the simulation.
pub(crate) fn chat_id(number: u64) -> Vec<u8> {
    format!("id {number}").into_bytes()
}

/// How many [ids](chat_id) there are.
pub(crate) const CHAT_IDS: u64 = 6;

/// Ids of turns with the indexes that these got.
type Known = Vec<(u64, Vec<u8>)>;

/// What of a chat only an append tells: the index of the next turn, and which ids are known. It is done to a copy.
fn look_at_indexes(db: &Db, id: &Id) -> Result<(u64, Known), Error> {
    let key = db.key(id.0, &id.1);
    let mut overlay = db.overlay(db.now_ms());
    let mut txn = overlay.begin(&[key], Access::Write)?;
    let mut append = |id: Option<&[u8]>| {
        let turn = NewTurn { role: b"user", id, ..NewTurn::default() };
        txn.chat_append(&key, &turn).expect("a chat")
    };
    let next = append(None).index;
    // A new one would push out the oldest: those that are known come first.
    let mut known = Known::new();
    for id in (0..CHAT_IDS).map(chat_id) {
        let done = append(Some(&id));
        known.extend((!done.is_new).then_some((done.index, id)));
    }
    known.sort();
    Ok((next, known))
}

/// One key, as it is read.
pub(crate) fn look(db: &Db, id: &Id) -> Result<Option<Seen>, Error> {
    let key = db.key(id.0, &id.1);
    let txn = db.begin(&[key], Access::Read, db.now_ms())?;
    let Some(kind) = txn.kind(&key) else { return Ok(None) };
    let deadline_ms = txn.deadline(&key).expect("there").unwrap_or(NEVER);
    let absolute_ms = txn.absolute_limit(&key).unwrap_or(NEVER);
    let content = match kind {
        Kind::String => Content::String(txn.string(&key).expect("a string").expect("there").to_vec()),
        Kind::Hash => {
            let mut fields = BTreeMap::new();
            txn.hash_for_each_field(&key, &mut |field| {
                let deadline_ms = field.deadline_ms.unwrap_or(NEVER);
                let twice = fields.insert(field.name.to_vec(), (field.value.to_vec(), deadline_ms));
                assert!(twice.is_none(), "a field is there twice");
            })
            .expect("a hash");
            assert_eq!(txn.hash_len(&key).expect("a hash"), fields.len());
            for (field, (value, deadline_ms)) in &fields {
                assert_eq!(txn.hash_get(&key, field), Ok(Some(&value[..])));
                let deadline_ms = Some(Some(*deadline_ms).filter(|&deadline| deadline != NEVER));
                assert_eq!(txn.hash_field_deadline(&key, field), Ok(deadline_ms));
            }
            Content::Hash(fields)
        }
        Kind::Set => {
            let members = txn.set_members(&key).expect("a set").expect("there");
            let all: BTreeSet<_> = members.iter().map(<[u8]>::to_vec).collect();
            assert_eq!((members.len(), members.iter().count()), (all.len(), all.len()));
            assert!(all.iter().all(|member| members.contains(member)));
            Content::Set(all)
        }
        Kind::List => {
            let mut elements = VecDeque::new();
            txn.list_range(&key, 0, usize::MAX, &mut |element| elements.push_back(element.to_vec()))
                .expect("a list");
            assert_eq!(txn.list_len(&key).expect("a list"), elements.len());
            Content::List(elements)
        }
        Kind::Stream => {
            let stream = txn.stream(&key).expect("a stream").expect("there");
            let mut entries = Vec::new();
            stream.visit(StreamId::MIN..=StreamId::MAX, false, &mut |entry| {
                entries.push((entry.id, entry.fields().map(<[u8]>::to_vec).collect()));
                ControlFlow::Continue(())
            });
            assert_eq!(stream.len(), entries.len());
            assert!(entries.is_sorted_by(|left, right| left.0 < right.0), "a stream is in order");
            Content::Stream(entries)
        }
        Kind::Chat => {
            let window = txn.chat_window(&key, &ChatLimits::default()).expect("a chat").expect("there");
            let totals = txn.chat_totals(&key).expect("a chat");
            let turn = |turn: &ChatTurn<'_>| chat_model::Turn {
                index: turn.index,
                role: turn.role.to_vec(),
                content: turn.content.to_vec(),
                tokens: turn.tokens,
            };
            let turns: Vec<_> = window.turns.iter().map(turn).collect();
            let mut chat = chat_model::Model { turns, epoch: window.epoch, ..Default::default() };
            assert_eq!((totals, window.tokens), (chat.totals(), chat.totals().tokens));
            drop(txn);
            (chat.next_index, chat.ids) = look_at_indexes(db, id)?;
            Content::Chat(chat)
        }
        Kind::SortedSet => {
            let all = txn.sorted_set(&key).expect("a sorted set").expect("there");
            let mut members = Vec::new();
            all.for_each(0..usize::MAX, false, &mut |member, score| members.push((score, member.to_vec())));
            assert!(members.is_sorted_by(|left, right| left < right), "a sorted set is in order");
            assert_eq!(all.len(), members.len());
            for (rank, (score, member)) in members.iter().enumerate().step_by(7) {
                assert_eq!(all.rank(member), Some((rank, *score)));
            }
            Content::SortedSet(members.into_iter().map(|(score, member)| (member, score.to_bits())).collect())
        }
    };
    Ok(Some(Seen { content, deadline_ms, absolute_ms }))
}

/// All keys of all databases, found by scanning.
pub(crate) fn look_at_all(db: &Db) -> BTreeMap<Id, Seen> {
    try_look_at_all(db).expect("readable")
}

/// As [`look_at_all`], where the disk may refuse.
pub(crate) fn try_look_at_all(db: &Db) -> Result<BTreeMap<Id, Seen>, Error> {
    let mut all = BTreeMap::new();
    for number in 0..sessile::DATABASES {
        for key in db.database(number).keys() {
            let id = (number, key?);
            let seen = look(db, &id)?.expect("a key that a scan has found is there");
            let twice = all.insert(id, seen);
            assert!(twice.is_none(), "a scan of what does not change shows a key once");
        }
    }
    Ok(all)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Whether whoever runs the tests has asked for more of them than usual.
pub(crate) fn is_thorough() -> bool {
    variable("SESSILE_SEEDS").is_some()
}

/// How many cases proptest tries: as many as `PROPTEST_CASES` says, or `default`.
pub(crate) fn cases(default: u32) -> u32 {
    variable("PROPTEST_CASES").map_or(default, |cases| cases as u32)
}

/// Says what happens if `SESSILE_TRACE` is set.
pub(crate) fn trace(what: impl FnOnce() -> String) {
    static ON: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    if *ON.get_or_init(|| std::env::var_os("SESSILE_TRACE").is_some()) {
        eprintln!("{}", what());
    }
}

/// Runs `test` with each seed and says which one failed: that of `SESSILE_SEED`, or as many as `SESSILE_SEEDS` says (from
/// `SESSILE_SEED_FROM` on), or `default`.
pub(crate) fn for_each_seed(default: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let from = variable("SESSILE_SEED_FROM").unwrap_or(0);
    let seeds = match variable("SESSILE_SEED") {
        Some(seed) => seed..seed + 1,
        None => from..from + variable("SESSILE_SEEDS").unwrap_or(default),
    };
    for seed in seeds {
        trace(|| format!("seed {seed}"));
        if let Err(panic) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("failed with seed {seed}: replay it with SESSILE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// The bytes of a manifest with fixed random parts, so that a simulation is the same on each run of a seed. Format version 1.
pub(crate) fn fixed_manifest() -> Vec<u8> {
    let mut bytes = b"SESSMANI".to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(b"sixteen bytes idsixteen byte key");
    bytes.extend_from_slice(&1_700_000_000_000u64.to_le_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Where the manifest of a simulated database is.
pub(crate) fn manifest_path() -> PathBuf {
    PathBuf::from(DIR).join("MANIFEST")
}

/// Lets the database's own threads work for a moment.
#[expect(clippy::disallowed_methods, reason = "for tests of real threads in real time")]
pub(crate) fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// Opens a real directory. A test that starts a child holds, between fork and exec, the locks of all others: then it takes a moment.
pub(crate) fn open_free(options: &Options, dir: &Path) -> Db {
    for _ in 0..200 {
        match options.clone().open(dir) {
            Err(sessile::Error::InUse { .. }) => pause(std::time::Duration::from_millis(10)),
            other => return other.expect("opens"),
        }
    }
    panic!("{} stays in use", dir.display());
}
