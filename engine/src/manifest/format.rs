//! The bytes of a manifest. It encodes and decodes; it never does I/O, and no bytes make it panic or allocate more than their length.

use super::{Checkpoint, DictionaryInfo, IndexFileInfo, Manifest, SIDE_FILES, SegmentInfo, SideFileInfo};
use crate::Error;
use crate::databases::DatabaseMap;
use crate::index_file::IndexKind;
use crate::limits::MANIFEST_BODY_BYTES_MAX;
use std::path::Path;

const MAGIC: [u8; 8] = *b"SESSMANI";
/// The version this build writes.
pub(super) const VERSION: u32 = 4;
/// The one before: it knows files by their names alone, and nothing of side files.
const VERSION_UNSTAMPED: u32 = 3;
/// The one before that: its body has no map of databases either.
const VERSION_UNMAPPED: u32 = 2;
/// The first: no checkpoint, so no body.
const VERSION_BARE: u32 = 1;

/// Magic 8, version 4, encryption key id 4, database id 16, hash key 16, made at (ms) 8.
const HEADER_BYTES: usize = 56;
const CHECKSUM_BYTES: usize = 4;
const BARE_BYTES: usize = HEADER_BYTES + CHECKSUM_BYTES;
/// Behind the header: the body's length.
const BODY_AT: usize = HEADER_BYTES + 4;
/// What a body has before its lists.
const BODY_BYTES_MIN: usize = 7 * 8 + STAMPS_BYTES + (4 + 8 + 4) + 3 * 4;
/// What the map of databases takes of that …
const MAP_BYTES: usize = 2 * 8;
/// … and the log's checksum, whether side files are known, and the stamps of each.
const STAMPS_BYTES: usize = (2 + 2 * SIDE_FILES) * 4;
/// The last field of each file that is listed.
const STAMP_BYTES: usize = 4;
const DICTIONARY_BYTES: usize = 4 + 4 + STAMP_BYTES;
const SEGMENT_BYTES: usize = 4 + 4 + 8 + 4 + 8 + STAMP_BYTES;
const INDEX_FILE_BYTES: usize = 8 + 4 + 8 + 8 + STAMP_BYTES;

/// Length of a manifest with a body of that length.
pub(super) const fn bytes_of_body(body: usize) -> usize {
    BODY_AT + body + CHECKSUM_BYTES
}

impl Manifest {
    /// `None` if it is too long for a manifest.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let it = &self.checkpoint;
        let body = BODY_BYTES_MIN
            + it.dictionaries.len() * DICTIONARY_BYTES
            + it.segments.len() * SEGMENT_BYTES
            + it.index_files.len() * INDEX_FILE_BYTES;
        if body > MANIFEST_BODY_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(bytes_of_body(body));
        let mut put = |field: &[u8]| bytes.extend_from_slice(field);
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&0u32.to_le_bytes());
        put(&self.database_id);
        put(&self.hash_key);
        put(&self.created_ms.to_le_bytes());
        // No cast loses anything: a body has at most 64 MiB.
        put(&(body as u32).to_le_bytes());
        let map = [it.databases.word(), it.databases_at];
        for number in [it.number, it.log_from, it.log_reached, it.time_ms, it.wall_ms].into_iter().chain(map)
        {
            put(&number.to_le_bytes());
        }
        let side_files = self.side_files.unwrap_or_default();
        let stamps = side_files.iter().flat_map(|file| [file.stamp, file.next]);
        for number in [it.log_checksum, u32::from(self.side_files.is_some())].into_iter().chain(stamps) {
            put(&number.to_le_bytes());
        }
        put(&it.next_segment.to_le_bytes());
        put(&it.next_index.to_le_bytes());
        put(&it.next_dictionary.to_le_bytes());
        for count in [it.dictionaries.len(), it.segments.len(), it.index_files.len()] {
            put(&(count as u32).to_le_bytes());
        }
        for dictionary in &it.dictionaries {
            put(&dictionary.id.to_le_bytes());
            put(&dictionary.bytes.to_le_bytes());
            put(&dictionary.stamp.to_le_bytes());
        }
        for segment in &it.segments {
            put(&segment.id.to_le_bytes());
            put(&segment.dictionary.to_le_bytes());
            put(&segment.bytes.to_le_bytes());
            put(&segment.records.to_le_bytes());
            put(&segment.dies_ms.to_le_bytes());
            put(&segment.stamp.to_le_bytes());
        }
        for file in &it.index_files {
            put(&file.number.to_le_bytes());
            put(&file.kind.code().to_le_bytes());
            put(&file.bytes.to_le_bytes());
            put(&file.entries.to_le_bytes());
            put(&file.stamp.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Some(bytes)
    }

    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Manifest, Error> {
        let damaged = |offset: usize, reason| Error::DamagedManifest {
            path: path.into(),
            offset: offset as u64,
            reason,
        };
        if !bytes.starts_with(&MAGIC) {
            return Err(damaged(0, "the magic number is not a manifest's"));
        }
        let at = |offset: usize| Fields { rest: bytes.get(offset..).unwrap_or_default() };
        let version = at(8).short();
        let length = match version {
            Some(VERSION_BARE) => BARE_BYTES,
            Some(VERSION | VERSION_UNSTAMPED | VERSION_UNMAPPED) => {
                const BODY_BYTES_EVER: usize = BODY_BYTES_MIN - MAP_BYTES - STAMPS_BYTES;
                match at(HEADER_BYTES).short().map(|body| body as usize) {
                    Some(body) if (BODY_BYTES_EVER..=MANIFEST_BODY_BYTES_MAX).contains(&body) => {
                        bytes_of_body(body)
                    }
                    Some(_) => return Err(damaged(HEADER_BYTES, "the length of the body is none")),
                    None => return Err(damaged(bytes.len(), "the length is not a manifest's")),
                }
            }
            Some(found) if found != 0 && found < 1000 => {
                return Err(Error::UnsupportedVersion { path: path.into(), found, supported: VERSION });
            }
            _ => return Err(damaged(8, "the version is none")),
        };
        if bytes.len() != length {
            return Err(damaged(bytes.len().min(length), "the length is not a manifest's"));
        }
        let (content, checksum) = bytes.split_at(length - CHECKSUM_BYTES);
        if (Fields { rest: checksum }).short() != Some(crc32fast::hash(content)) {
            return Err(damaged(content.len(), "the checksum does not match"));
        }
        if at(12).short() != Some(0) {
            return Err(damaged(12, "the directory is encrypted, which this build can't read"));
        }
        // From here on a checksum vouches for the bytes.
        let mut fields = at(16);
        let (database_id, hash_key, created_ms) =
            (|| Some((fields.array()?, fields.array()?, fields.long()?)))()
                .ok_or_else(|| damaged(content.len(), "the length is not a manifest's"))?;
        let (side_files, checkpoint) = if length == BARE_BYTES {
            (None, Checkpoint::none())
        } else {
            let mut body = Fields { rest: content.get(BODY_AT..).unwrap_or_default() };
            let read = body.body(version.unwrap_or(VERSION)).map_err(|reason| damaged(BODY_AT, reason))?;
            if let Some(reason) = read.1.contradiction() {
                return Err(damaged(BODY_AT, reason));
            }
            read
        };
        Ok(Manifest { database_id, hash_key, created_ms, side_files, checkpoint })
    }
}

/// Takes fields off the front of bytes.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
    }

    fn short(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn body(
        &mut self,
        version: u32,
    ) -> Result<(Option<[SideFileInfo; SIDE_FILES]>, Checkpoint), &'static str> {
        const SHORT: &str = "the body ends too early";
        let mut it = Checkpoint::none();
        for number in
            [&mut it.number, &mut it.log_from, &mut it.log_reached, &mut it.time_ms, &mut it.wall_ms]
        {
            *number = self.long().ok_or(SHORT)?;
        }
        if version > VERSION_UNMAPPED {
            let map = DatabaseMap::of_word(self.long().ok_or(SHORT)?);
            it.databases = map.ok_or("the map of databases has one of them twice")?;
            it.databases_at = self.long().ok_or(SHORT)?;
        }
        let stamped = version > VERSION_UNSTAMPED;
        let mut side_files = None;
        if stamped {
            it.log_checksum = self.short().ok_or(SHORT)?;
            let is_known = self.short().ok_or(SHORT)?;
            let mut infos = [SideFileInfo::default(); SIDE_FILES];
            for info in &mut infos {
                *info = SideFileInfo { stamp: self.short().ok_or(SHORT)?, next: self.short().ok_or(SHORT)? };
            }
            side_files = match is_known {
                0 if infos == [SideFileInfo::default(); SIDE_FILES] => None,
                1 => Some(infos),
                _ => return Err("what is known of the side files contradicts itself"),
            };
        }
        it.next_segment = self.short().ok_or(SHORT)?;
        it.next_index = self.long().ok_or(SHORT)?;
        it.next_dictionary = self.short().ok_or(SHORT)?;
        let mut counts = [0; 3];
        for count in &mut counts {
            *count = self.short().ok_or(SHORT)? as usize;
        }
        let [dictionaries, segments, index_files] = counts;
        let unstamped = if stamped { 0 } else { STAMP_BYTES };
        let bytes = dictionaries as u64 * (DICTIONARY_BYTES - unstamped) as u64
            + segments as u64 * (SEGMENT_BYTES - unstamped) as u64
            + index_files as u64 * (INDEX_FILE_BYTES - unstamped) as u64;
        // Which also bounds what is allocated below.
        if bytes != self.rest.len() as u64 {
            return Err("the body has another length than its lists");
        }
        it.dictionaries =
            (0..dictionaries).map(|_| self.dictionary(stamped)).collect::<Option<_>>().ok_or(SHORT)?;
        it.segments = (0..segments).map(|_| self.segment(stamped)).collect::<Option<_>>().ok_or(SHORT)?;
        it.index_files = (0..index_files)
            .map(|_| self.index_file(stamped))
            .collect::<Option<_>>()
            .ok_or("an index file is of no kind")?;
        Ok((side_files, it))
    }

    /// 0 where there is none.
    fn stamp(&mut self, stamped: bool) -> Option<u32> {
        if stamped { self.short() } else { Some(0) }
    }

    fn dictionary(&mut self, stamped: bool) -> Option<DictionaryInfo> {
        Some(DictionaryInfo { id: self.short()?, bytes: self.short()?, stamp: self.stamp(stamped)? })
    }

    fn segment(&mut self, stamped: bool) -> Option<SegmentInfo> {
        Some(SegmentInfo {
            id: self.short()?,
            dictionary: self.short()?,
            bytes: self.long()?,
            records: self.short()?,
            dies_ms: self.long()?,
            stamp: self.stamp(stamped)?,
        })
    }

    fn index_file(&mut self, stamped: bool) -> Option<IndexFileInfo> {
        Some(IndexFileInfo {
            number: self.long()?,
            kind: IndexKind::of_code(self.short()?)?,
            bytes: self.long()?,
            entries: self.long()?,
            stamp: self.stamp(stamped)?,
        })
    }
}
