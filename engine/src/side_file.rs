//! Small files of whoever uses the engine, in its directory: what belongs to the database and is in no key (libraries of functions).
//! `docs/formats.md` specifies the bytes.
//!
//! Such a file is replaced as a whole: written beside, made durable, renamed over the old one. The manifest knows it by a stamp, its header's
//! checksum: that of the one in force, and, while it is being replaced, that of the one to come. So a file that is missing, or an older one that
//! was put back, is noticed at the next start, and refused as damage is.

use crate::Error;
use crate::db::Db;
use crate::file_header::{self, Fields};
use crate::manifest::{Manifest, SIDE_FILES, SideFileInfo};
use sessile_wal::{Fs, OpenMode};
use std::path::Path;

const MAGIC: [u8; 8] = *b"SESSSIDE";
const LENGTH_AT: usize = 40;
const CHECKSUM_AT: usize = 48;
/// Longest content, in bytes.
pub const SIDE_FILE_BYTES_MAX: usize = 256 << 20;

/// The names that such files have.
pub(crate) const NAMES: [&str; 2] = ["functions", crate::sessions::DIGEST_KEY_FILE];

/// The name under which a file is written before it takes its place.
fn temporary(name: &str) -> String {
    format!("{name}.new")
}

/// Whether a file of this name is one of these, or one on its way.
pub(crate) fn is_name(name: &str) -> bool {
    NAMES.iter().any(|known| name == *known || name == temporary(known))
}

impl Db {
    /// The content of a side file; nothing if there is none.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::DamagedFile`], with the file's name and where in it.
    pub fn read_side_file(&self, name: &'static str) -> Result<Option<Vec<u8>>, Error> {
        read(&*self.inner.storage.fs, self.directory(), name, &self.inner.storage.database_id)
    }

    /// Makes this the content of a side file, durably: all of it, or none. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::TooLarge`] beyond [`SIDE_FILE_BYTES_MAX`]. After [`Error::Io`] the next start finds the old
    /// content or the new one, whole.
    pub fn replace_side_file(&self, name: &'static str, content: &[u8]) -> Result<(), Error> {
        debug_assert!(NAMES.contains(&name));
        let (bytes, limit_bytes) = (content.len(), SIDE_FILE_BYTES_MAX);
        if bytes > limit_bytes {
            return Err(Error::TooLarge { what: "side file", bytes, limit_bytes });
        }
        let header = header(&self.inner.storage.database_id, content);
        let storage = &self.inner.storage;
        let (fs, dir) = (&*storage.fs, self.directory());
        let _alone = storage.manifest_writing.lock();
        let mut manifest = storage.manifest.lock().clone();
        // An attempt that failed may have replaced it all the same: the manifest is to know the one that is there.
        let stamp = stamp_of(fs, dir, name)?;
        *known_of(&mut manifest, name) = SideFileInfo { stamp, next: file_header::stamp(&header) };
        manifest.write(fs, dir)?;
        *storage.manifest.lock() = manifest.clone();
        let (path, new_path) = (dir.join(name), dir.join(temporary(name)));
        if fs.exists(&new_path).map_err(Error::io("look for", &new_path))? {
            fs.remove(&new_path).map_err(Error::io("remove", &new_path))?;
        }
        let file = fs.open(&new_path, OpenMode::CreateNew).map_err(Error::io("create", &new_path))?;
        let whole = [&header[..], content].concat();
        file.write_at(&whole, 0).map_err(Error::io("write", &new_path))?;
        file.sync_data().map_err(Error::io("sync", &new_path))?;
        fs.rename(&new_path, &path).map_err(Error::io("rename", &new_path))?;
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        *known_of(&mut manifest, name) = SideFileInfo { stamp: file_header::stamp(&header), next: 0 };
        manifest.write(fs, dir)?;
        *storage.manifest.lock() = manifest;
        Ok(())
    }
}

/// The stamp of a side file; 0 if there is none.
fn stamp_of(fs: &dyn Fs, dir: &Path, name: &str) -> Result<u32, Error> {
    let path = dir.join(name);
    if !fs.exists(&path).map_err(Error::io("look for", &path))? {
        return Ok(0);
    }
    let file = fs.open(&path, OpenMode::Read).map_err(Error::io("open", &path))?;
    file_header::read_stamp(&*file, &path)
}

/// Where among what a manifest knows a side file is.
fn number_of(name: &str) -> usize {
    NAMES
        .iter()
        .position(|known| *known == name)
        .unwrap_or_else(|| unreachable!("callers name one of the names"))
}

/// What a manifest knows of a side file, to be changed.
pub(crate) fn known_of<'a>(manifest: &'a mut Manifest, name: &str) -> &'a mut SideFileInfo {
    &mut manifest.side_files.get_or_insert_default()[number_of(name)]
}

/// Reads all side files, and sees whether they are those that the manifest knows; what is known of them then.
///
/// # Errors
/// As [`verify`].
pub(crate) fn verify_all(
    fs: &dyn Fs,
    dir: &Path,
    manifest: &Manifest,
) -> Result<[SideFileInfo; SIDE_FILES], Error> {
    let mut all = [SideFileInfo::default(); SIDE_FILES];
    for (info, name) in all.iter_mut().zip(NAMES) {
        *info = verify(fs, dir, name, manifest)?;
    }
    Ok(all)
}

/// Reads a side file to its last byte, and sees whether it is the one that the manifest knows; what is known of it then.
///
/// # Errors
/// [`Error::DamagedFile`], [`Error::MissingFile`], [`Error::Io`].
pub(crate) fn verify(
    fs: &dyn Fs,
    dir: &Path,
    name: &str,
    manifest: &Manifest,
) -> Result<SideFileInfo, Error> {
    let there = read(fs, dir, name, &manifest.database_id)?.is_some();
    let stamp = if there { stamp_of(fs, dir, name)? } else { 0 };
    let Some(known) = manifest.side_files else { return Ok(SideFileInfo { stamp, next: 0 }) };
    let known = known[number_of(name)];
    if stamp == known.stamp || stamp != 0 && stamp == known.next {
        return Ok(SideFileInfo { stamp, next: 0 });
    }
    let path = dir.join(name);
    if there {
        file_header::check_stamp(stamp, known.stamp.max(known.next), &path)?;
        let reason = "the manifest knows of no such file: it is of another copy of the database";
        return Err(Error::DamagedFile { path, offset: 0, reason });
    }
    Err(Error::MissingFile { path })
}

/// Writes a side file into a directory that nobody has open yet, durably but for its name.
pub(crate) fn write_new(
    fs: &dyn Fs,
    dir: &Path,
    name: &str,
    database_id: &[u8; 16],
    content: &[u8],
) -> Result<SideFileInfo, Error> {
    let header = header(database_id, content);
    let path = dir.join(name);
    let file = fs.open(&path, OpenMode::CreateNew).map_err(Error::io("create", &path))?;
    file.write_at(&[&header[..], content].concat(), 0).map_err(Error::io("write", &path))?;
    file.sync_data().map_err(Error::io("sync", &path))?;
    Ok(SideFileInfo { stamp: file_header::stamp(&header), next: 0 })
}

fn header(database_id: &[u8; 16], content: &[u8]) -> [u8; file_header::BYTES] {
    let fields = Fields::ZERO
        .with(LENGTH_AT, (content.len() as u64).to_le_bytes())
        .with(CHECKSUM_AT, crc32fast::hash(content).to_le_bytes());
    file_header::encode(MAGIC, database_id, &fields)
}

/// Reads a side file of a directory.
pub(crate) fn read(
    fs: &dyn Fs,
    dir: &Path,
    name: &str,
    database_id: &[u8; 16],
) -> Result<Option<Vec<u8>>, Error> {
    let path = dir.join(name);
    if !fs.exists(&path).map_err(Error::io("look for", &path))? {
        return Ok(None);
    }
    let file = fs.open(&path, OpenMode::Read).map_err(Error::io("open", &path))?;
    let fields = file_header::read(&*file, MAGIC, database_id, &path)?;
    let damaged =
        |offset: usize, reason| Error::DamagedFile { path: path.clone(), offset: offset as u64, reason };
    let length = fields.u64(LENGTH_AT);
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= SIDE_FILE_BYTES_MAX) else {
        return Err(damaged(LENGTH_AT, "the file can't be as long as its header says"));
    };
    let found = file.len().map_err(Error::io("ask for the length of", &path))?;
    if found != (file_header::BYTES + length) as u64 {
        return Err(damaged(LENGTH_AT, "the file has another length than its header says"));
    }
    let mut content = vec![0; length];
    let read = file.read_at(&mut content, file_header::BYTES as u64).map_err(Error::io("read", &path))?;
    if read != length || fields.u32(CHECKSUM_AT) != crc32fast::hash(&content) {
        return Err(damaged(file_header::BYTES, "the checksum of the content does not match"));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use sessile_wal::RealFs;

    #[test]
    fn a_side_file_is_there_again_and_damage_to_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().open(dir.path()).unwrap();
        assert_eq!(db.read_side_file("functions").unwrap(), None);
        db.replace_side_file("functions", b"one").unwrap();
        db.replace_side_file("functions", b"another").unwrap();
        drop(db);
        let db = Options::new().open(dir.path()).unwrap();
        assert_eq!(db.read_side_file("functions").unwrap().as_deref(), Some(&b"another"[..]));
        let path = dir.path().join("functions");
        let length = RealFs.open(&path, OpenMode::Read).unwrap().len().unwrap();
        for offset in 0..length {
            let file = RealFs.open(&path, OpenMode::ReadWrite).unwrap();
            let mut byte = [0];
            file.read_at(&mut byte, offset).unwrap();
            file.write_at(&[byte[0] ^ 4], offset).unwrap();
            let error = db.read_side_file("functions").expect_err("damaged");
            assert!(error.to_string().contains("functions"), "{error}");
            file.write_at(&byte, offset).unwrap();
        }
        let file = RealFs.open(&path, OpenMode::ReadWrite).unwrap();
        file.set_len(length - 1).unwrap();
        assert!(db.read_side_file("functions").is_err());
    }
}
