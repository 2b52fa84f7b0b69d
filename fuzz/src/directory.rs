//! A data directory with one of everything, the same on each run, and all that can be read of one.

use crate::bench::{BEGINNING_MS, small};
use sessile::{Access, Db, Error, Expiry, Fs, Kind, ListEnd, Options, StreamId};
use sessile_wal::OpenMode;
use sessile_wal::sim::{SimClock, SimFs};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Where it is.
pub const DIR: &str = "/data";

/// What a key holds, in one form for all kinds: the bytes of everything in it, in order where there is one.
pub type Content = (Kind, Vec<Vec<u8>>);
/// A key: database and bytes.
pub type Id = (u8, Vec<u8>);

/// A manifest whose random parts are not random, so that a database is the same on each run. Format version 1.
pub fn fixed_manifest(fs: &SimFs) {
    let mut bytes = b"SESSMANI".to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(b"sixteen bytes idsixteen byte key");
    bytes.extend_from_slice(&1_700_000_000_000u64.to_le_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    fs.create_dir_all(Path::new(DIR)).expect("in memory");
    let file = fs.open(&Path::new(DIR).join("MANIFEST"), OpenMode::CreateNew).expect("in memory");
    file.write_at_durable(&bytes, 0).expect("in memory");
    fs.sync_dir(Path::new(DIR)).expect("in memory");
}

/// Options over this disk.
pub fn options(fs: &SimFs) -> Options {
    small(0).file_system(Arc::new(fs.clone())).clock(Arc::new(SimClock::new(BEGINNING_MS)))
}

/// What a key has held, oldest first (`None`: it was not there), and whether the last of it is in a checkpoint.
pub struct Past {
    /// See above.
    pub held: Vec<Option<Content>>,
    /// See above.
    pub durable: bool,
}

/// The directory as a process leaves it that is killed: segments with and without a dictionary, an index snapshot and deltas, and a log behind
/// them. And the past of each key that was ever there.
pub fn made() -> (SimFs, BTreeMap<Id, Past>) {
    let fs = SimFs::new(1);
    fixed_manifest(&fs);
    let mut pasts: BTreeMap<Id, Past> = BTreeMap::new();
    let mut note = |db: &Db, durable: bool| {
        let mut now = content(db).expect("sound");
        for (id, past) in &mut pasts {
            let content = now.remove(id);
            if past.held.last() != Some(&content) {
                past.held.push(content);
                past.durable = false;
            }
            past.durable |= durable;
        }
        pasts.extend(now.into_iter().map(|(id, content)| (id, Past { held: vec![Some(content)], durable })));
    };
    let db = options(&fs).open(DIR).expect("a directory");
    for round in 0..3u64 {
        for number in round * 6..round * 6 + 14 {
            let value = format!(
                "{{\"user\":{number},\"round\":{round},\"roles\":[\"reader\"],\"cookie\":{{\"path\":\"/\",\"httpOnly\":true}}}}"
            );
            let after = std::time::Duration::from_secs(1000 + 700 * number);
            db.set(format!("sess:{number}").as_bytes(), value, Expiry::After(after)).expect("room");
        }
        for at in 0..30 + 90 * round {
            db.hash_set(b"hash", format!("field{at}").as_bytes(), vec![b'v'; 20]).expect("room");
            db.list_push(b"list", ListEnd::Back, &[format!("element {at} of round {round}")]).expect("room");
            db.set_add(b"set", &[format!("{at}").as_bytes()]).expect("room");
            db.sorted_set_add(b"scores", &[(at as f64, format!("member{at}").as_bytes())]).expect("room");
        }
        let dies_ms = Some(BEGINNING_MS + 50_000);
        db.hash_set_until(b"timed", format!("f{round}").as_bytes(), b"value", dies_ms).expect("room");
        db.expire_at_ms(b"set", Some(BEGINNING_MS + 900_000 + round)).expect("room");
        note(&db, false);
        db.delete(format!("sess:{}", round * 6 + 1).as_bytes()).expect("room");
        if round < 2 {
            db.checkpoint().expect("the disk is sound");
            for _ in 0..10 {
                db.step().expect("the disk is sound");
            }
            db.checkpoint().expect("the disk is sound");
        }
        db.flush().expect("the disk is sound");
        note(&db, round < 2);
    }
    drop(db);
    let fs = fs.fork(1);
    fs.kill();
    (fs, pasts)
}

/// The names of the files, in order, but for the lock.
pub fn names(fs: &SimFs, dir: &str) -> Vec<String> {
    let mut names = fs.list(Path::new(dir)).expect("in memory");
    names.retain(|name| name != "LOCK");
    names.sort_unstable();
    names
}

/// A file's bytes.
pub fn read(fs: &SimFs, dir: &str, name: &str) -> Vec<u8> {
    let file = fs.open(&Path::new(dir).join(name), OpenMode::Read).expect("there");
    let mut bytes = vec![0; file.len().expect("in memory") as usize];
    file.read_at(&mut bytes, 0).expect("in memory");
    bytes
}

/// Puts these bytes in place of a file's.
pub fn write(fs: &SimFs, dir: &str, name: &str, bytes: &[u8]) {
    let file = fs.open(&Path::new(dir).join(name), OpenMode::Create).expect("in memory");
    file.set_len(0).expect("in memory");
    file.write_at(bytes, 0).expect("in memory");
}

/// What a key holds; `None` if it is not there.
pub fn look(db: &Db, id: &Id) -> Result<Option<Content>, Error> {
    let key = db.key(id.0, &id.1);
    let txn = db.begin(&[key], Access::Read, db.now_ms())?;
    let Some(kind) = txn.kind(&key) else { return Ok(None) };
    let mut all = Vec::new();
    match kind {
        Kind::String => all.push(txn.string(&key)?.expect("there").to_vec()),
        Kind::Hash => {
            txn.hash_for_each_field(&key, &mut |field| {
                all.push(
                    [field.name, b"=", field.value, b"@", &field.deadline_ms.unwrap_or(0).to_le_bytes()]
                        .concat(),
                );
            })?;
            all.sort_unstable();
            let len = txn.hash_len(&key)?;
            assert!(len == all.len(), "a hash of {len} fields has {}", all.len());
        }
        Kind::Set => {
            let members = txn.set_members(&key)?.expect("there");
            all.extend(members.iter().map(<[u8]>::to_vec));
            assert!(all.iter().all(|member| members.contains(member)));
            all.sort_unstable();
        }
        Kind::List => {
            txn.list_range(&key, 0, usize::MAX, &mut |element| all.push(element.to_vec()))?;
            assert_eq!(txn.list_len(&key)?, all.len());
        }
        Kind::SortedSet => {
            let members = txn.sorted_set(&key)?.expect("there");
            members.for_each(0..usize::MAX, false, &mut |member, score| {
                all.push([&score.to_le_bytes(), member].concat())
            });
            assert_eq!(members.len(), all.len());
        }
        Kind::Chat => all.push(format!("{:?}", txn.chat_totals(&key)?).into_bytes()),
        Kind::Stream => {
            let stream = txn.stream(&key)?.expect("there");
            stream.visit(StreamId::MIN..=StreamId::MAX, false, &mut |entry| {
                all.push([&entry.id.ms.to_le_bytes()[..], &entry.id.seq.to_le_bytes()].concat());
                all.extend(entry.fields().map(<[u8]>::to_vec));
                ControlFlow::Continue(())
            });
        }
    }
    Ok(Some((kind, all)))
}

/// The keys that a walk finds; those whose value can't be read are left out if `damaged` is asked for.
pub fn keys(db: &Db) -> Vec<Result<Id, Error>> {
    (0..sessile::DATABASES)
        .flat_map(|number| {
            db.database(number).keys().map(move |key| key.map(|key| (number, key))).collect::<Vec<_>>()
        })
        .collect()
}

/// Everything there is, but hashes whose fields are all dead: only a forged record can make one whose own deadline is later than theirs, and it is
/// gone once somebody changes it.
pub fn content(db: &Db) -> Result<BTreeMap<Id, Content>, Error> {
    let mut all = BTreeMap::new();
    for id in keys(db) {
        let id = id?;
        if let Some(content) = look(db, &id)?
            && !(content.0 == Kind::Hash && content.1.is_empty())
        {
            all.insert(id, content);
        }
    }
    Ok(all)
}

/// Changes a key in the way of its kind, and takes the change back: whoever changes must read first.
pub fn stir(db: &Db, id: &Id, kind: Kind) -> Result<(), Error> {
    let (db, key) = (db.database(id.0), &id.1[..]);
    match kind {
        Kind::String => drop(db.get(key)?),
        Kind::Hash => {
            db.hash_set(key, b"stirred", b"value")?;
            db.hash_set_until(key, b"stirred", b"value", Some(u64::MAX - 1))?;
            db.hash_remove(key, b"stirred")?;
        }
        Kind::Set => {
            db.set_add(key, &[b"stirred"])?;
            db.set_remove(key, &[b"stirred"])?;
        }
        Kind::List => {
            for end in [ListEnd::Front, ListEnd::Back] {
                db.list_push(key, end, &[b"stirred"])?;
                db.list_pop(key, end)?;
            }
        }
        Kind::SortedSet => {
            db.sorted_set_add(key, &[(7.5, b"stirred")])?;
            db.sorted_set_remove(key, &[b"stirred"])?;
        }
        Kind::Stream | Kind::Chat => {}
    }
    Ok(())
}
