//! The embedded workloads on other embedded databases, in the same table as `sessile-benches --bin engine` prints.
//! A session is its deadline (8 bytes) and its value, since none of them knows deadlines: a touch writes it anew.
//!
//! ```sh
//! cd benches/peers && cargo run --release -- [--fjall] [--redb] [--sled] [--quick] [--only PREFIX] …
//! ```

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::ReadableDatabase;
use sessile_benches::embedded::{self, Durable, Failure, LIFETIME, Store};

/// What a peer must be able to do.
trait Peer: Send + Sync + 'static {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure>;
    fn write(&self, key: &[u8], record: &[u8]) -> Result<(), Failure>;
    fn sync(&self) -> Result<(), Failure>;
}

/// Sessions on a peer, synced once a second by a thread where that is asked for.
struct Sessions<P> {
    peer: Arc<P>,
    ended: Arc<AtomicBool>,
}

impl<P: Peer> Sessions<P> {
    fn new(peer: P, durable: Durable) -> Sessions<P> {
        let sessions = Sessions { peer: Arc::new(peer), ended: Arc::new(AtomicBool::new(false)) };
        if durable == Durable::EverySecond {
            let (peer, ended) = (sessions.peer.clone(), sessions.ended.clone());
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_secs(1));
                    peer.sync().expect("sync");
                }
            });
        }
        sessions
    }
}

impl<P> Drop for Sessions<P> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

fn record(value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(8 + value.len());
    record.extend_from_slice(&(now_ms() + LIFETIME.as_millis() as u64).to_le_bytes());
    record.extend_from_slice(value);
    record
}

/// The value of a record that is still alive.
fn alive(record: &[u8]) -> Option<&[u8]> {
    let (deadline, value) = record.split_first_chunk()?;
    (u64::from_le_bytes(*deadline) > now_ms()).then_some(value)
}

impl<P: Peer> Store for Sessions<P> {
    fn get(&self, key: &[u8]) -> Result<Option<usize>, Failure> {
        Ok(self.peer.read(key)?.and_then(|record| alive(&record).map(<[u8]>::len)))
    }

    fn get_and_touch(&self, key: &[u8]) -> Result<Option<usize>, Failure> {
        let Some(found) = self.peer.read(key)? else { return Ok(None) };
        let Some(value) = alive(&found) else { return Ok(None) };
        self.peer.write(key, &record(value))?;
        Ok(Some(value.len()))
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.peer.write(key, &record(value))
    }

    fn flush(&self) -> Result<(), Failure> {
        self.peer.sync()
    }
}

struct Fjall {
    database: fjall::Database,
    keyspace: fjall::Keyspace,
    durability: Option<fjall::PersistMode>,
}

impl Fjall {
    fn open(directory: &Path, durable: Durable) -> Result<Sessions<Fjall>, Failure> {
        let database = fjall::Database::builder(directory).open()?;
        let keyspace = database.keyspace("sessions", fjall::KeyspaceCreateOptions::default)?;
        let durability = (durable == Durable::Always).then_some(fjall::PersistMode::SyncData);
        Ok(Sessions::new(Fjall { database, keyspace, durability }, durable))
    }
}

impl Peer for Fjall {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.keyspace.get(key)?.map(|record| record.to_vec()))
    }

    fn write(&self, key: &[u8], record: &[u8]) -> Result<(), Failure> {
        self.keyspace.insert(key, record)?;
        if let Some(mode) = self.durability {
            self.database.persist(mode)?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Failure> {
        Ok(self.database.persist(fjall::PersistMode::SyncData)?)
    }
}

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("sessions");

struct Redb {
    database: redb::Database,
    durability: redb::Durability,
}

impl Redb {
    fn open(directory: &Path, durable: Durable) -> Result<Sessions<Redb>, Failure> {
        let database = redb::Database::create(directory.join("sessions.redb"))?;
        let transaction = database.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
        let durability = match durable {
            Durable::EverySecond => redb::Durability::None,
            Durable::Always => redb::Durability::Immediate,
        };
        Ok(Sessions::new(Redb { database, durability }, durable))
    }
}

impl Peer for Redb {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(TABLE)?;
        Ok(table.get(key)?.map(|record| record.value().to_vec()))
    }

    fn write(&self, key: &[u8], record: &[u8]) -> Result<(), Failure> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(self.durability)?;
        transaction.open_table(TABLE)?.insert(key, record)?;
        Ok(transaction.commit()?)
    }

    fn sync(&self) -> Result<(), Failure> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(redb::Durability::Immediate)?;
        Ok(transaction.commit()?)
    }
}

struct Sled {
    database: sled::Db,
    always: bool,
}

impl Sled {
    fn open(directory: &Path, durable: Durable) -> Result<Sessions<Sled>, Failure> {
        let database = sled::Config::new().path(directory).flush_every_ms(None).open()?;
        Ok(Sessions::new(Sled { database, always: durable == Durable::Always }, durable))
    }
}

impl Peer for Sled {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.database.get(key)?.map(|record| record.to_vec()))
    }

    fn write(&self, key: &[u8], record: &[u8]) -> Result<(), Failure> {
        self.database.insert(key, record)?;
        if self.always {
            self.database.flush()?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Failure> {
        self.database.flush()?;
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let mut chosen = Vec::new();
    let (plan, directory) = embedded::arguments(|name| {
        let known = ["fjall", "redb", "sled"].contains(&name);
        if known {
            chosen.push(name.to_owned());
        }
        known
    })?;
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    if wanted("fjall") {
        embedded::measure("fjall", &plan, &directory, Fjall::open)?;
    }
    if wanted("redb") {
        embedded::measure("redb", &plan, &directory, Redb::open)?;
    }
    if wanted("sled") {
        embedded::measure("sled", &plan, &directory, Sled::open)?;
    }
    Ok(())
}
