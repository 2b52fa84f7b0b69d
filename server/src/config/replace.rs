//! Replacing a file that a person may have written: all of it or, whatever happens, none.

use sessile_wal::{Fs, OpenMode};
use std::io;
use std::path::Path;

/// The text of a file; none if there is no such file.
///
/// # Errors
/// When it can't be read, or is no UTF-8.
pub fn read_file(fs: &dyn Fs, path: &Path) -> io::Result<String> {
    if !fs.exists(path)? {
        return Ok(String::new());
    }
    let file = fs.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Replaces a file's content: written beside it, made durable, and renamed over it.
///
/// # Errors
/// What failed first; the old file is then as it was.
pub fn replace_file(fs: &dyn Fs, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = Path::new(&temporary);
    if fs.exists(temporary)? {
        fs.remove(temporary)?;
    }
    let file = fs.open(temporary, OpenMode::CreateNew)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let replaced = file
        .write_at(content, 0)
        .and_then(|()| file.sync_data())
        .and_then(|()| fs.rename(temporary, path))
        .and_then(|()| fs.sync_dir(dir));
    if replaced.is_err() {
        // The error that matters is the first one.
        let _ = fs.remove(temporary);
    }
    replaced
}
