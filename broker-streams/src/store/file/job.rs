//! The work on the disk that is done without the lock of the stream.

use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, is_full};
use super::format::name_of;
use super::piece::Piece;
use super::rewrite::Rewrite;
use super::segment::Version;
use super::summary;
use crate::store::{Position, SyncJob, Written};

/// The room at the end of the log that messages leave to removals, so that a full disk can be emptied.
const RESERVE_BYTES: usize = 16 * 1024;

/// The room that is allocated ahead: as much as the segment has, within these bounds, so that small streams stay small and fast ones are
/// rarely extended.
const AHEAD_BYTES: std::ops::RangeInclusive<usize> = 16 * 1024..=1024 * 1024;

/// The bytes of a job up to which the room ahead is filled with zeros, which are written twice then. In room that is only allocated, each block
/// is marked as written by the journal of the file system: of 1,000 syncs of 200 bytes on ext4, 196 needed a second flush.
const FILLED_BELOW: usize = 8 * 1024;

/// The file that is written.
#[derive(Clone)]
pub(super) struct ActiveFile {
    pub(super) segment: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// The place behind its last record.
    pub(super) end: usize,
    /// The length for which the disk has room.
    pub(super) allocated: usize,
    /// The length up to which zeros are written behind the end.
    pub(super) filled: usize,
}

/// A message to overwrite.
pub(super) struct Erasure {
    pub(super) sequence: u64,
    pub(super) segment: u64,
    pub(super) at: usize,
    pub(super) bytes: Vec<u8>,
}

/// The reason why a job ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// The disk is full. What was written before is durable, and the rest can be written later.
    Full(io::Error),
    /// It is unknown which records are durable.
    Fatal(io::Error),
}

impl Failure {
    /// Returns the failure of a write.
    fn of_write(error: io::Error) -> Self {
        if is_full(&error) { Self::Full(error) } else { Self::Fatal(error) }
    }
}

/// Writes, syncs, and then deletes and rewrites segments.
pub(super) struct Job {
    pub(super) disk: Arc<dyn Disk>,
    /// Written in order, each synced before the next, those that continue another one together with it.
    pub(super) pieces: Vec<Arc<Piece>>,
    /// The number of pieces that are durable.
    pub(super) written: usize,
    pub(super) active: Option<ActiveFile>,
    /// The length of a full segment.
    pub(super) segment_bytes: usize,
    pub(super) erasures: Vec<Erasure>,
    pub(super) deletions: Vec<Version>,
    pub(super) rewrite: Option<Rewrite>,
    /// A segment to summarise, and its end.
    pub(super) summary: Option<(u64, usize)>,
    /// The position that is durable when all pieces are.
    pub(super) until: Position,
    /// True if there is room for further messages.
    pub(super) has_room: bool,
    /// `None` before the job was run.
    pub(super) result: Option<Result<(), Failure>>,
}

impl SyncJob for Job {
    fn run(&mut self) {
        self.result = Some(self.work());
    }

    fn written(&self) -> Written {
        let done = self.pieces.iter().take(self.written);
        let bytes = done.clone().map(|piece| piece.bytes.len() as u64).sum();
        Written { bytes, syncs: done.filter(|piece| !piece.continues).count() as u64 }
    }
}

impl Job {
    fn work(&mut self) -> Result<(), Failure> {
        let pieces = self.pieces.clone();
        for together in pieces.chunk_by(|_, next| next.continues) {
            self.write(together)?;
            self.written += together.len();
        }
        self.erase().map_err(Failure::Fatal)?;
        self.delete().map_err(Failure::Fatal)?;
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.run(&*self.disk).map_err(Failure::Fatal)?;
        }
        self.summarise();
        self.has_room = self.allocate_ahead()?;
        Ok(())
    }

    fn write(&mut self, pieces: &[Arc<Piece>]) -> Result<(), Failure> {
        let [first, ..] = pieces else { return Ok(()) };
        let is_new = first.offset == 0;
        let parts: Vec<_> = pieces.iter().map(|piece| &piece.bytes[..]).collect();
        let end = first.offset + parts.iter().map(|part| part.len()).sum::<usize>();
        let active = self.active(first.segment, is_new)?;
        if end > active.allocated {
            active.file.allocate(end as u64).map_err(Failure::of_write)?;
            active.allocated = end;
        }
        active.file.write_parts_at(&parts, first.offset as u64).map_err(Failure::of_write)?;
        active.file.sync().map_err(Failure::Fatal)?;
        active.end = end;
        if is_new {
            self.disk.sync().map_err(Failure::Fatal)?;
        }
        Ok(())
    }

    fn active(&mut self, segment: u64, is_new: bool) -> Result<&mut ActiveFile, Failure> {
        let active = match self.active.take() {
            Some(active) if active.segment == segment && !is_new => active,
            former => {
                // Gives back the room that was allocated ahead; nothing is lost if that fails.
                former.map(|former| former.file.truncate(former.end as u64).ok());
                let name = name_of(segment);
                let file = if is_new { self.disk.create(&name) } else { self.disk.open(&name) };
                let file = file.map_err(Failure::of_write)?;
                ActiveFile { segment, file, end: 0, allocated: 0, filled: 0 }
            }
        };
        Ok(self.active.insert(active))
    }

    fn erase(&self) -> io::Result<()> {
        if self.erasures.is_empty() {
            return Ok(());
        }
        for erasure in &self.erasures {
            // It lists the message.
            let _ = self.disk.remove(&summary::name_of(erasure.segment));
        }
        self.disk.sync()?;
        for erasure in &self.erasures {
            let name = name_of(erasure.segment);
            self.disk.overwrite(&name, &erasure.bytes, erasure.at as u64)?;
        }
        Ok(())
    }

    fn delete(&self) -> io::Result<()> {
        if self.deletions.is_empty() {
            return Ok(());
        }
        for (segment, _) in &self.deletions {
            // One that stays is removed when the store is opened.
            let _ = self.disk.remove(&summary::name_of(*segment));
            match self.disk.remove(&name_of(*segment)) {
                // An earlier job has removed it, and failed later.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        // Removals of its messages are needed until then.
        self.disk.sync()
    }

    /// Writes a summary. Without it, the segment is read when the store is opened.
    fn summarise(&self) {
        if let Some((segment, end)) = self.summary
            && write_summary(&*self.disk, segment, end).is_err()
        {
            let _ = self.disk.remove(summary::TEMPORARY);
        }
    }

    /// Returns true if there is room for further messages.
    fn allocate_ahead(&mut self) -> Result<bool, Failure> {
        let Some(active) = &mut self.active else { return Ok(self.has_room) };
        let needed = active.end + RESERVE_BYTES;
        // A stream with few writes waits for each sync, one with many for the bytes.
        let bytes = self.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>();
        let fills = bytes > 0 && bytes <= FILLED_BELOW;
        let covered = if fills { active.filled } else { active.allocated };
        if self.has_room && needed <= covered {
            return Ok(true);
        }
        let ahead = active.end.clamp(*AHEAD_BYTES.start(), *AHEAD_BYTES.end());
        let most = needed.max(self.segment_bytes + RESERVE_BYTES);
        let mut length = (needed + ahead).min(most);
        if length <= covered {
            return Ok(true);
        }
        let from = active.end.max(active.filled) as u64;
        let reserve = |length: usize| match fills {
            true => active.file.fill(from, length as u64),
            false => active.file.allocate(length as u64),
        };
        let mut room = reserve(length);
        if needed > active.allocated && room.as_ref().is_err_and(is_full) {
            // There may be room for less.
            length = needed;
            room = reserve(length);
        }
        match room {
            Ok(()) => {
                active.allocated = active.allocated.max(length);
                active.filled = if fills { length } else { active.filled };
            }
            Err(error) if is_full(&error) => return Ok(needed <= active.allocated),
            Err(error) => return Err(Failure::Fatal(error)),
        }
        Ok(true)
    }
}

fn write_summary(disk: &dyn Disk, segment: u64, end: usize) -> io::Result<()> {
    let log = disk.open(&name_of(segment))?;
    let Some(summary) = summary::of_file(&*log, segment, end)? else { return Ok(()) };
    let file = disk.create(summary::TEMPORARY)?;
    file.write_at(&summary, 0)?;
    file.sync()?;
    disk.rename(summary::TEMPORARY, &summary::name_of(segment))
}
