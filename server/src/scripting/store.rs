//! The texts of scripts, by digest.
//!
//! Scripts that were `SCRIPT LOAD`ed stay until `SCRIPT FLUSH`. Of those that came with an `EVAL` only so many are kept, the ones used last,
//! as a client that makes up a new text for each call would otherwise fill the memory.
//!
//! One lock guards all of it: shared to find a script, exclusive to add one. It is never held while a script runs.

use super::script;
use super::sha1::{self, DIGEST_BYTES};
use sessile_wal::sync::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Scripts of `EVAL` that are kept.
const EVALUATED_MAX: usize = 500;

/// A script.
#[derive(Debug)]
pub struct Script {
    /// Its name for `EVALSHA`.
    pub digest: [u8; DIGEST_BYTES],
    /// The same, as it is printed.
    pub name: String,
    /// Its text.
    pub source: Vec<u8>,
    /// What its first line says.
    pub header: script::Header,
    /// How it has fared.
    pub pace: super::run::Pace,
    /// When it was last used, in uses of any script.
    used: AtomicU64,
}

impl Script {
    /// A script that nobody keeps.
    ///
    /// # Errors
    ///
    /// What is wrong with its first line.
    pub fn new(source: &[u8]) -> Result<Script, String> {
        let digest = sha1::digest(source);
        Ok(Script {
            digest,
            name: sha1::text(&digest),
            source: source.to_vec(),
            header: script::header(source)?,
            pace: super::run::Pace::default(),
            used: AtomicU64::new(0),
        })
    }

    /// What is compiled of it.
    pub fn body(&self) -> &[u8] {
        self.source.get(self.header.body..).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Kept {
    scripts: HashMap<[u8; DIGEST_BYTES], (Arc<Script>, bool)>,
    /// How many of them came with an `EVAL`.
    evaluated: usize,
    bytes: usize,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Store {
    kept: RwLock<Kept>,
    uses: AtomicU64,
    /// Counts `SCRIPT FLUSH`es.
    version: AtomicU64,
}

impl Store {
    /// The script with this digest.
    pub fn find(&self, digest: &[u8; DIGEST_BYTES]) -> Option<Arc<Script>> {
        let kept = self.kept.read();
        let (script, _) = kept.scripts.get(digest)?;
        script.used.store(self.uses.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(Arc::clone(script))
    }

    /// Keeps a script; for good if it was `loaded`.
    pub fn keep(&self, script: Arc<Script>, loaded: bool) {
        script.used.store(self.uses.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let mut kept = self.kept.write();
        if let Some((_, for_good)) = kept.scripts.get_mut(&script.digest) {
            if loaded && !std::mem::replace(for_good, true) {
                kept.evaluated -= 1;
            }
            return;
        }
        if !loaded {
            if kept.evaluated >= EVALUATED_MAX {
                let oldest = kept
                    .scripts
                    .values()
                    .filter(|(_, for_good)| !for_good)
                    .min_by_key(|(script, _)| script.used.load(Ordering::Relaxed))
                    .map(|(script, _)| script.digest);
                if let Some((old, _)) = oldest.and_then(|digest| kept.scripts.remove(&digest)) {
                    kept.evaluated -= 1;
                    kept.bytes -= old.source.len();
                }
            }
            kept.evaluated += 1;
        }
        kept.bytes += script.source.len();
        kept.scripts.insert(script.digest, (script, loaded));
    }

    /// Forgets all of them.
    pub fn flush(&self) {
        *self.kept.write() = Kept::default();
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Changes when all were forgotten.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// How many there are, and how long their texts are together.
    pub fn size(&self) -> (usize, usize) {
        let kept = self.kept.read();
        (kept.scripts.len(), kept.bytes)
    }
}
