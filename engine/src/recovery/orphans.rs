//! Files that the manifest doesn't know: what a checkpoint or a compaction left that a crash interrupted.

use crate::Error;
use crate::manifest::Manifest;
use crate::{dictionary, index_file, segment};
use sessile_wal::Fs;
use std::path::Path;

/// Whether a name is of a segment, an index file or a dictionary.
pub(super) fn is_ours(name: &str) -> bool {
    segment::id_of_name(name).is_some()
        || dictionary::id_of_name(name).is_some()
        || index_file::parse_name(name).is_some()
}

/// How far ahead of the next number an orphan of ours may be: a checkpoint or a compaction makes no more files than that.
const ORPHANS_AHEAD_MAX: u64 = 1 << 20;

/// The next number, so that an orphan's is not used again. One that is far ahead is none of ours, but somebody's copy under a name of his own: it
/// must not take all numbers away that there are.
fn behind(next: u64, orphan: u64) -> u64 {
    if orphan >= next && orphan - next < ORPHANS_AHEAD_MAX { orphan.saturating_add(1) } else { next }
}

/// Removes the orphans, with a line in the log for each; how many there were. Numbers of files that could not be removed are not used again.
pub(crate) fn remove_orphans(fs: &dyn Fs, dir: &Path, manifest: &mut Manifest) -> Result<usize, Error> {
    let state = &mut manifest.checkpoint;
    let mut orphans = 0;
    for name in fs.list(dir).map_err(Error::io("list", dir))? {
        let listed = if let Some(id) = segment::id_of_name(&name) {
            state.next_segment = behind(state.next_segment.into(), id.into()) as u32;
            state.segments.iter().any(|segment| segment.id == id)
        } else if let Some(id) = dictionary::id_of_name(&name) {
            state.next_dictionary = behind(state.next_dictionary.into(), id.into()) as u32;
            state.dictionaries.iter().any(|dictionary| dictionary.id == id)
        } else if let Some(number) = index_file::parse_name(&name) {
            state.next_index = behind(state.next_index, number);
            state.index_files.iter().any(|index| index.number == number)
        } else {
            true
        };
        if listed {
            continue;
        }
        orphans += 1;
        match fs.remove(&dir.join(&name)) {
            Ok(()) => {
                tracing::info!(file = name, "removed what an interrupted checkpoint or compaction had left");
            }
            Err(error) => tracing::warn!(file = name, %error, "an orphan can't be removed"),
        }
    }
    Ok(orphans)
}
