//! Opening a log: reading it back, telling a torn tail from damage, cutting the tail.
//!
//! It reads batches forward to the first position `p` without an intact one. If an intact batch behind `p` says that the
//! log had been synced past `p`, something synced is damaged: an error, and not a byte on disk is changed. Otherwise the
//! log ends at `p`: what was replayed is synced, files behind are made spares, and a mark with a raised epoch is written
//! durably at `p`, so that nothing behind it can ever be taken for a continuation.

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Clock, DurableEnd, FileReport, Fs, Lsn, OpenMode, WalError, WalOptions,
    error::io_error,
    files::{Files, Spare},
    format::{
        BatchHeader, align_batch, batch_seed, is_new_name, log_name, next_record, parse_log_name,
        parse_spare_name,
    },
    limits::{BATCH_HEADER_BYTES, FILE_HEADER_BYTES, PAGE_BYTES, READ_WINDOW_BYTES},
    log::Log,
    reader::LogFile,
    synced::{self, SyncedNote},
    writer::Current,
};

/// What a caller does with each record read back.
pub type Replay<'a> = dyn FnMut(Lsn, &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> + 'a;

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Records replayed.
    pub records: u64,
    /// Their bytes, without framing.
    pub bytes: u64,
    /// Where the log ended.
    pub end: Lsn,
    /// The torn tail that was cut off, if one was seen.
    pub torn: Option<Torn>,
    /// The latest time in the log, in milliseconds since the epoch: the clock has been at least there.
    pub clock_high_water_ms: u64,
    /// Files read.
    pub files: u64,
    /// Whether the log was new.
    pub created: bool,
}

/// The remains of a write that had not been synced, cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub path: PathBuf,
    /// Where in the file the cut is, in bytes.
    pub offset: u64,
    /// The same position as an LSN.
    pub lsn: Lsn,
    /// How far behind the cut remains were seen, in bytes.
    pub bytes: u64,
}

/// Where reading stopped and what is known there.
pub(crate) struct End {
    file: LogFile,
    position: u64,
    epoch: u32,
    /// How far the log says that it was synced.
    synced: u64,
}

pub(crate) struct Opening<'a> {
    fs: Arc<dyn Fs>,
    dir: &'a Path,
    options: WalOptions,
    /// How far the log was durable, by whatever says so from outside: it must be found intact so far, with the batches that were there.
    known: Vec<DurableEnd>,
    mode: OpenMode,
    seed: crc32fast::Hasher,
    /// Log files in the directory, by base.
    bases: Vec<u64>,
    spares: Vec<Spare>,
    unfinished: Vec<String>,
    pub(crate) recovery: Recovery,
}

pub(crate) fn open(
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    dir: &Path,
    options: WalOptions,
    from: Lsn,
    replay: &mut Replay<'_>,
) -> Result<(Log, Recovery), WalError> {
    let options = options.checked()?;
    fs.create_dir_all(dir).map_err(|e| io_error("create", dir, e))?;
    let mut opening = Opening::new(fs, dir, options, OpenMode::ReadWrite);
    match opening.find_end(from, &mut |_| {}, replay)? {
        None => opening.create(clock),
        Some((end, mut before)) => opening.cut(clock, end, &mut before),
    }
}

impl<'a> Opening<'a> {
    /// Nothing is read yet; log files will be opened in `mode`.
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: &'a Path, options: WalOptions, mode: OpenMode) -> Opening<'a> {
        Opening {
            seed: batch_seed(&options.database_id),
            fs,
            dir,
            known: vec![DurableEnd { lsn: options.known_durable, checksum: options.known_checksum }],
            options,
            mode,
            bases: Vec::new(),
            spares: Vec::new(),
            unfinished: Vec::new(),
            recovery: Recovery::default(),
        }
    }

    /// Reads the log and judges where it ends: the file it ends in, and the files read before that one; `None` if there is no log. It
    /// changes nothing on disk.
    pub(crate) fn find_end(
        &mut self,
        from: Lsn,
        each_file: &mut dyn FnMut(&FileReport),
        replay: &mut Replay<'_>,
    ) -> Result<Option<(End, Vec<LogFile>)>, WalError> {
        self.list()?;
        self.known.extend(synced::read(&*self.fs, self.dir, &self.options.database_id)?);
        if self.bases.is_empty() {
            if from.max(self.known_durable()) > Lsn::ZERO {
                return Err(WalError::MissingFile { path: self.path(0), lsn: from });
            }
            self.recovery.created = true;
            return Ok(None);
        }
        let (end, before) = self.read(from, each_file, replay)?;
        self.judge(&end, from)?;
        Ok(Some((end, before)))
    }

    fn list(&mut self) -> Result<(), WalError> {
        for name in self.fs.list(self.dir).map_err(|e| io_error("list", self.dir, e))? {
            if let Some(base) = parse_log_name(&name) {
                self.bases.push(base);
            } else if let Some(number) = parse_spare_name(&name) {
                let path = self.dir.join(&name);
                let file = self.fs.open(&path, OpenMode::Read).map_err(|e| io_error("open", &path, e))?;
                let bytes = file.len().map_err(|e| io_error("ask for the length of", &path, e))?;
                self.spares.push(Spare { number, bytes });
            } else if is_new_name(&name) {
                self.unfinished.push(name);
            }
        }
        self.bases.sort_unstable();
        self.spares.sort_unstable_by_key(|spare| spare.number);
        Ok(())
    }

    fn known_durable(&self) -> Lsn {
        self.known.iter().map(|known| known.lsn).max().unwrap_or(Lsn::ZERO)
    }

    fn length_of(&self, base: u64) -> Result<u64, WalError> {
        let path = self.path(base);
        let file = self.fs.open(&path, OpenMode::Read).map_err(|e| io_error("open", &path, e))?;
        file.len().map_err(|e| io_error("ask for the length of", &path, e))
    }

    fn path(&self, base: u64) -> PathBuf {
        self.dir.join(log_name(base))
    }

    fn files(&mut self) -> Result<Files, WalError> {
        for name in std::mem::take(&mut self.unfinished) {
            let path = self.dir.join(name);
            self.fs.remove(&path).map_err(|e| io_error("remove", &path, e))?;
        }
        let spares = std::mem::take(&mut self.spares);
        let kept = self.options.spare_bytes_max;
        Ok(Files::new(self.fs.clone(), self.dir, self.options.database_id, kept, spares))
    }

    fn create(mut self, clock: Arc<dyn Clock>) -> Result<(Log, Recovery), WalError> {
        let mut files = self.files()?;
        let synced_note = SyncedNote::open(&*self.fs, self.dir, self.options.database_id)?;
        let size = self.options.first_size();
        let file = files.take(0, size)?;
        if let Some(parent) = self.dir.parent() {
            self.fs.sync_dir(parent).map_err(|e| io_error("sync", parent, e))?;
        }
        self.recovery.end = Lsn::new(FILE_HEADER_BYTES as u64);
        let current = Current { base: 0, file };
        let log = Log::new(
            clock,
            self.dir,
            self.options,
            files,
            current,
            size,
            &self.recovery,
            Vec::new(),
            1,
            synced_note,
        );
        log.append_mark(false);
        log.sync(log.appended())?;
        Ok((log, self.recovery))
    }

    /// Reads forward from the file that holds `from`; returns where the log ends, and the files before that one.
    fn read(
        &mut self,
        from: Lsn,
        each_file: &mut dyn FnMut(&FileReport),
        replay: &mut Replay<'_>,
    ) -> Result<(End, Vec<LogFile>), WalError> {
        let Some(base) = self.bases.iter().rev().find(|base| **base <= from.get()).copied() else {
            return Err(WalError::MissingFile { path: self.path(from.get()), lsn: from });
        };
        let mut file =
            LogFile::open(&*self.fs, &self.path(base), base, &self.options.database_id, self.mode)?;
        self.recovery.files = 1;
        let mut report = FileReport::of(&file);
        let mut before = Vec::new();
        let mut position = base + FILE_HEADER_BYTES as u64;
        let mut epoch = 0;
        let mut synced = 0;
        loop {
            let path = file.path.clone();
            let checksum = file.checksum(position)?;
            let Some((header, payload)) =
                file.batch(position, &self.seed)?.filter(|(header, _)| header.epoch >= epoch)
            else {
                self.recovery.end = Lsn::new(position);
                each_file(&report.ends_at(position, false));
                return Ok((End { file, position, epoch, synced }, before));
            };
            epoch = header.epoch;
            synced = synced.max(header.synced_lsn);
            self.recovery.clock_high_water_ms = self.recovery.clock_high_water_ms.max(header.time_ms);
            let malformed = |reason| WalError::Corrupt {
                path: path.clone(),
                offset: position - base_of(&path),
                lsn: Lsn::new(position),
                reason,
            };
            let mut at = 0;
            let mut records = 0;
            while at < payload.len() {
                let record =
                    next_record(payload, at).ok_or_else(|| malformed("a record is longer than its batch"))?;
                at = record.end;
                records += 1;
                let end = Lsn::new(position + (BATCH_HEADER_BYTES + at) as u64);
                report.record_bytes += record.len() as u64;
                if end > from {
                    self.recovery.records += 1;
                    self.recovery.bytes += record.len() as u64;
                    replay(end, &payload[record]).map_err(|source| WalError::Replay { lsn: end, source })?;
                }
            }
            report.batches += 1;
            report.records += u64::from(records);
            if records != header.records {
                return Err(malformed("a batch states another number of records than it holds"));
            }
            let begin = position;
            position = align_batch(position + BATCH_HEADER_BYTES as u64 + u64::from(header.payload_bytes));
            let is_other = |known: &DurableEnd| {
                let lsn = known.lsn.get();
                let is_here = known.checksum != 0 && begin < lsn && lsn <= position;
                is_here && (position != lsn || checksum != Some(known.checksum))
            };
            if let Some(known) = self.known.iter().find(|known| is_other(known)) {
                let offset = begin - file.base;
                return Err(WalError::OtherCopy { path, offset, lsn: Lsn::new(begin), known: known.lsn });
            }
            if header.seal {
                let next = file.end();
                each_file(&report.ends_at(position, true));
                let path = self.path(next);
                if self.bases.binary_search(&next).is_err() {
                    return Err(WalError::MissingFile { path, lsn: Lsn::new(next) });
                }
                let opened = LogFile::open(&*self.fs, &path, next, &self.options.database_id, self.mode)?;
                report = FileReport::of(&opened);
                before.push(std::mem::replace(&mut file, opened));
                self.recovery.files += 1;
                position = next + FILE_HEADER_BYTES as u64;
            }
        }
    }

    /// Is what follows the end a torn tail, or is the end damage to something synced?
    fn judge(&mut self, end: &End, from: Lsn) -> Result<(), WalError> {
        let corrupt = |reason| WalError::Corrupt {
            path: end.file.path.clone(),
            offset: end.position - end.file.base,
            lsn: Lsn::new(end.position),
            reason,
        };
        if end.position < from.get() {
            return Err(corrupt("the log ends before the position from which it is needed"));
        }
        if end.position < self.known_durable().get() {
            return Err(corrupt(
                "the log ends before the position to which it is known to have been durable: its end is lost, or an older copy was put back",
            ));
        }
        let mut damaged = false;
        let mut remains = end.position;
        let mut see = |lsn: u64, header: &BatchHeader| {
            remains = remains.max(lsn + BATCH_HEADER_BYTES as u64 + u64::from(header.payload_bytes));
            damaged = header.synced_lsn > end.position;
            damaged
        };
        let later = self.bases.iter().copied().filter(|base| *base >= end.file.base);
        for base in later.collect::<Vec<_>>() {
            // Whatever its header looks like: a batch in it that proves the damage proves it.
            let mut file = LogFile::open_unchecked(&*self.fs, &self.path(base), base)?;
            let scan_from = end.position.max(base + FILE_HEADER_BYTES as u64);
            file.scan(scan_from, end.epoch, &self.seed, &mut see)?;
        }
        if damaged {
            return Err(corrupt("an intact batch behind this position says that the log was synced past it"));
        }
        let mut file = LogFile::open_unchecked(&*self.fs, &end.file.path, end.file.base)?;
        if let Some(header) = file.header(end.position)?
            && header.lsn == end.position
            && header.epoch >= end.epoch
        {
            let length = BATCH_HEADER_BYTES as u64 + u64::from(header.payload_bytes);
            remains = remains.max((end.position + length).min(end.file.end()));
        }
        if remains > end.position {
            let torn = Torn {
                path: end.file.path.clone(),
                offset: end.position - end.file.base,
                lsn: Lsn::new(end.position),
                bytes: remains - end.position,
            };
            self.recovery.torn = Some(torn);
        }
        Ok(())
    }

    fn cut(
        mut self,
        clock: Arc<dyn Clock>,
        mut end: End,
        before: &mut [LogFile],
    ) -> Result<(Log, Recovery), WalError> {
        if let Some(torn) = &self.recovery.torn {
            tracing::warn!(
                path = %torn.path.display(), offset = torn.offset, lsn = torn.lsn.get(), bytes = torn.bytes,
                "cut off a torn tail of the log: a write that had not been synced"
            );
        }
        for file in before.iter_mut().chain([&mut end.file]) {
            harden(file, end.synced, end.position)?;
        }
        let synced_note = SyncedNote::open(&*self.fs, self.dir, self.options.database_id)?;
        let mut files = self.files()?;
        let mut live = BTreeMap::new();
        for base in self.bases.iter().copied() {
            if base <= end.file.base {
                // One that is from long ago, and was put back, needn't reach to the next.
                let bytes = if base == end.file.base { end.file.size } else { self.length_of(base)? };
                live.insert(base, bytes);
                continue;
            }
            files.retire(&log_name(base), self.length_of(base)?)?;
        }
        live.insert(end.file.base, end.file.size);
        files.set_live(live);
        files.sync_names()?;
        let page = end.position - end.position % PAGE_BYTES as u64;
        let tail = end.file.bytes(page, (end.position - page) as usize)?.to_vec();
        let epoch = end.epoch + 1;
        let current = Current { base: end.file.base, file: end.file.file.clone() };
        let size = end.file.size;
        let log = Log::new(
            clock,
            self.dir,
            self.options,
            files,
            current,
            size,
            &self.recovery,
            tail,
            epoch,
            synced_note,
        );
        log.append_mark(false);
        log.sync(log.appended())?;
        Ok((log, self.recovery))
    }
}

/// Makes durable what was replayed of a file between `synced` and `end`. Syncing is not enough: if a sync failed before
/// the restart, the page cache may hold as clean what never reached the disk. So it is written again as it is.
fn harden(file: &mut LogFile, synced: u64, end: u64) -> Result<(), WalError> {
    let page = PAGE_BYTES as u64;
    let mut at = synced.clamp(file.base + FILE_HEADER_BYTES as u64, file.end());
    at -= at % page;
    // The page of the end is written with the mark behind it.
    let end = end.min(file.end());
    let end = end - end % page;
    while at < end {
        let bytes = (end - at).min(READ_WINDOW_BYTES as u64);
        let (target, path, offset) = (file.file.clone(), file.path.clone(), at - file.base);
        let content = file.bytes(at, bytes as usize)?;
        target.write_at(content, offset).map_err(|e| io_error("write", &path, e))?;
        at += bytes;
    }
    file.file.sync_data().map_err(|e| io_error("sync", &file.path, e))
}

fn base_of(path: &Path) -> u64 {
    path.file_name().and_then(|name| parse_log_name(name.to_str()?)).unwrap_or(0)
}
