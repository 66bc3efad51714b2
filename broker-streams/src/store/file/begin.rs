//! The beginning and the end of a job: its input, and the effect of its result.

use super::format::{name_of, seal};
use super::job::{Erasure, Failure, Job};
use super::journal::split;
use super::rewrite::{Outcome, Rewrite};
use super::scan::records_of;
use super::segment::{Segment, Version};
use super::{FileStorage, Health, Kind, LEFT_BYTES};
use crate::store::record::erase;
use crate::store::{Record, StorageError};

/// The segments whose files are looked at within one call: each may have to be opened.
const SETTLED_AT_ONCE: usize = 8;

/// A segment of which this part or more is journal keeps it. Entries that are moved one by one, each with the record of its batch, are half
/// of what is written then, or more.
const DENSE: usize = 3;

impl FileStorage {
    /// Returns a job, if there is something to do and none is out.
    pub(super) fn begin(&mut self) -> Option<Job> {
        let is_failed = matches!(self.health, Health::Failed(_));
        if is_failed || self.is_job_out {
            return None;
        }
        if let Err(error) = self.prepare() {
            self.health = Health::Failed(error.to_string());
            return None;
        }
        let deletions = self.unneeded();
        let is_unsettled = self.settle_segments();
        let rewrite = self.begin_rewrite();
        let erasures = self.begin_erasures();
        let summary = self.begin_summary();
        let is_full = matches!(self.health, Health::Full);
        let nothing =
            deletions.is_empty() && rewrite.is_none() && erasures.is_empty() && summary.is_none();
        if self.tail.is_written() && nothing && !is_full && !is_unsettled {
            // A change that changed nothing.
            self.durable = self.position;
            return None;
        }
        self.is_job_out = true;
        Some(Job {
            disk: self.disk.clone(),
            pieces: self.tail.take(),
            written: 0,
            active: self.active.take(),
            segment_bytes: self.options.segment_bytes,
            erasures,
            deletions,
            rewrite,
            summary,
            until: self.position,
            has_room: !is_full,
            result: None,
        })
    }

    /// Adds the records that are due.
    fn prepare(&mut self) -> Result<(), StorageError> {
        let is_left = |last: &Segment| match self.health {
            Health::Good => last.messages == 0 && last.end > LEFT_BYTES,
            // The room may be in it.
            Health::Full => last.is_mostly_free() && last.written == last.end,
            Health::Failed(_) => false,
        };
        if self.segments.back().is_some_and(is_left) {
            self.begin_segment();
        }
        if self.floor > self.recorded_floor {
            self.write(Kind::RemoveBefore, &Record { sequence: self.floor, ..Record::default() })?;
            self.recorded_floor = self.floor;
        }
        self.move_journal()
    }

    /// Moves the journal out of a segment that has nothing else, and of which it is a small part. One that is full of it stays: what is
    /// moved fills segments as well, and a journal that is longer than a segment would be moved without end.
    fn move_journal(&mut self) -> Result<(), StorageError> {
        let closed = self.segments.len().saturating_sub(1);
        let only_journal = |segment: &&Segment| {
            segment.entries > 0
                && segment.written == segment.end
                && segment.messages == 0
                && segment.removals.is_empty()
                && segment.entry_bytes < segment.end / DENSE
                && !segment.damaged
        };
        let Some(segment) = self.segments.range(..closed).find(only_journal) else { return Ok(()) };
        let number = segment.number;
        // Tried again later.
        let Ok(records) = records_of(&mut self.reader.borrow_mut(), &*self.disk, segment) else {
            return Ok(());
        };
        for (header, bytes) in records {
            if matches!(header.kind, Kind::Entry | Kind::Replaced)
                && self.journal.is_in(header.sequence, number)
            {
                let payload = header.record(&bytes).payload;
                let bytes = match header.kind {
                    Kind::Replaced => split(payload).iter().map(|entry| entry.len() as u64).sum(),
                    _ => payload.len() as u64,
                };
                self.write_entry(header.kind, header.sequence, payload, bytes)?;
            }
        }
        if let Some(segment) = self.segment_mut(number) {
            // A record of the journal that could not be read stays where it is.
            segment.damaged = segment.entries > 0;
        }
        Ok(())
    }

    /// Returns the segments in which nothing is needed.
    fn unneeded(&self) -> Vec<Version> {
        let closed = self.segments.len().saturating_sub(1);
        let unneeded = self.segments.range(..closed).filter(|segment| segment.is_unneeded());
        unneeded.map(Segment::version).collect()
    }

    /// Chooses a segment to rewrite.
    fn begin_rewrite(&mut self) -> Option<Rewrite> {
        if !self.tail.is_written() && self.tail.unwritten_bytes() > LEFT_BYTES {
            // Messages wait.
            return None;
        }
        let closed = self.segments.len().saturating_sub(1);
        let wasteful = |segment: &Segment| {
            let is_loose = segment.is_loose && !segment.damaged && segment.written == segment.end;
            (segment.is_mostly_free() || is_loose) && !segment.is_unneeded()
        };
        let at = self.segments.range(..closed).position(wasteful)?;
        let segment = &self.segments[at];
        let messages = self.messages_until(segment.first, segment.last).collect();
        // Not yet written, if the file cannot be opened.
        let file = self.reader.borrow_mut().file(&*self.disk, segment).ok()?;
        let removals = segment.removals.keys().filter_map(|(of, _)| self.span(*of)).collect();
        let entries = self.journal.in_segment(segment.number);
        let segment = &mut self.segments[at];
        segment.pinned = Some(file);
        // Removals from now on concern the copy.
        segment.rewrites += 1;
        segment.is_loose = false;
        let (number, end) = (segment.number, segment.end);
        Some(Rewrite { number, end, messages, entries, removals, result: Outcome::Unchanged })
    }

    /// Finds out which files should be written anew, of some segments that were not looked at. Returns true if there are more.
    fn settle_segments(&mut self) -> bool {
        let closed = self.segments.len().saturating_sub(1);
        let closed = self.segments.range_mut(..closed);
        let mut unsettled =
            closed.filter(|segment| !segment.is_settled && segment.written == segment.end);
        for segment in unsettled.by_ref().take(SETTLED_AT_ONCE) {
            segment.is_settled = true;
            segment.is_loose = self.disk.should_rewrite(&name_of(segment.number));
        }
        unsettled.next().is_some()
    }

    /// Returns the sequences of a segment.
    fn span(&self, number: u64) -> Option<std::ops::RangeInclusive<u64>> {
        let at = self.segments.binary_search_by_key(&number, |segment| segment.number).ok()?;
        Some(self.segments[at].first..=self.segments[at].last)
    }

    /// Returns the messages to overwrite.
    fn begin_erasures(&mut self) -> Vec<Erasure> {
        let erasures = std::mem::take(&mut self.erasures);
        self.is_erasing = !erasures.is_empty();
        self.erasures_begun += u64::from(self.is_erasing);
        let erasure = |sequence: u64| {
            let (at, header) = self.locate(sequence).ok().flatten()?;
            let segment = self.segments.get(self.segment_of(sequence))?.number;
            let mut bytes = vec![0; header.length];
            erase(&mut bytes, &header);
            seal(&mut bytes, segment, at);
            Some(Erasure { sequence, segment, at, bytes })
        };
        let erasures: Vec<_> = erasures.into_iter().filter_map(erasure).collect();
        for erasure in &erasures {
            if let Some(segment) = self.segment_mut(erasure.segment) {
                segment.has_summary = false;
            }
        }
        erasures
    }

    /// Chooses a segment to summarise.
    fn begin_summary(&self) -> Option<(u64, usize)> {
        let closed = self.segments.len().saturating_sub(1);
        let lacks = |segment: &&Segment| {
            let is_stable = segment.written == segment.end && segment.pinned.is_none();
            let is_due = segment.is_settled && !segment.is_loose && is_stable;
            !segment.has_summary && !segment.damaged && segment.messages > 0 && is_due
        };
        self.segments.range(..closed).find(lacks).map(|segment| (segment.number, segment.end))
    }

    fn finish_rewrite(&mut self, rewrite: Rewrite) {
        let Some(segment) = self.segment_mut(rewrite.number) else { return };
        segment.pinned = None;
        segment.damaged |= matches!(rewrite.result, Outcome::Damaged);
        if let Outcome::Done { end, marks } = rewrite.result {
            (segment.end, segment.written, segment.marks) = (end, end, marks);
            segment.has_summary = false;
            let former = (rewrite.number, segment.rewrites - 1);
            self.forget_removals(former);
            self.tail.forget(rewrite.number);
        }
        self.reader.borrow_mut().close(rewrite.number);
    }

    fn forget_removals(&mut self, of: Version) {
        for segment in &mut self.segments {
            segment.forget_removals(of);
        }
    }

    fn finish_deletions(&mut self, deletions: &[Version]) {
        for version in deletions {
            self.segments.retain(|segment| segment.number != version.0);
            self.reader.borrow_mut().close(version.0);
            self.forget_removals(*version);
        }
    }
}

/// Takes the results of a job.
pub(super) fn finish(store: &mut FileStorage, job: Job) -> Result<(), StorageError> {
    store.is_job_out = false;
    store.active = job.active;
    for piece in &job.pieces[..job.written] {
        if let Some(segment) = store.segment_mut(piece.segment) {
            segment.written = piece.end();
        }
    }
    store.tail.finish(job.written);
    let failure = match job.result {
        Some(Ok(())) => None,
        Some(Err(failure)) => Some(failure),
        None => Some(Failure::Fatal(std::io::Error::other("the job was not run"))),
    };
    if let Some(segment) = job.summary.and_then(|(number, _)| store.segment_mut(number)) {
        segment.has_summary = true;
    }
    if let Some(rewrite) = job.rewrite {
        store.finish_rewrite(rewrite);
    }
    match failure {
        None => {
            store.finish_deletions(&job.deletions);
            store.durable = job.until;
            store.health = if job.has_room { Health::Good } else { Health::Full };
            Ok(())
        }
        Some(Failure::Full(error)) => {
            store.erasures.extend(job.erasures.iter().map(|erasure| erasure.sequence));
            store.health = Health::Full;
            Err(error.into())
        }
        Some(Failure::Fatal(error)) => {
            store.health = Health::Failed(error.to_string());
            Err(error.into())
        }
    }
}
