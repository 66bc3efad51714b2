//! The schedules of a stream, by subject and by time.

use std::collections::{BTreeSet, HashMap};

use broker_core::sort::sort_by_key;

use crate::config::Time;

/// The schedules of a stream: at most one for each subject.
#[derive(Debug, Default)]
pub(in crate::stream) struct Timetable {
    by_subject: HashMap<Vec<u8>, (u64, Time)>,
    subjects: HashMap<u64, Vec<u8>>,
    due: BTreeSet<(Time, u64)>,
}

impl Timetable {
    /// Adds the schedule of a message, in place of the one that its subject has.
    pub(super) fn insert(&mut self, subject: &[u8], sequence: u64, time: Time) {
        self.remove_subject(subject);
        self.by_subject.insert(subject.to_vec(), (sequence, time));
        self.subjects.insert(sequence, subject.to_vec());
        self.due.insert((time, sequence));
    }

    /// Changes when a schedule is due.
    pub(super) fn set_time(&mut self, subject: &[u8], time: Time) {
        if let Some((sequence, known)) = self.by_subject.get_mut(subject) {
            self.due.remove(&(*known, *sequence));
            self.due.insert((time, *sequence));
            *known = time;
        }
    }

    /// Forgets the schedule of a subject.
    pub(super) fn remove_subject(&mut self, subject: &[u8]) {
        if let Some((sequence, time)) = self.by_subject.remove(subject) {
            self.subjects.remove(&sequence);
            self.due.remove(&(time, sequence));
        }
    }

    /// Forgets the schedule of a message.
    pub(in crate::stream) fn remove(&mut self, sequence: u64) {
        if let Some(subject) = self.subjects.get(&sequence) {
            self.remove_subject(&subject.clone());
        }
    }

    /// Forgets the schedules of all messages before a sequence.
    pub(in crate::stream) fn remove_before(&mut self, sequence: u64) {
        let gone = self.subjects.keys().filter(|other| **other < sequence);
        for sequence in gone.copied().collect::<Vec<_>>() {
            self.remove(sequence);
        }
    }

    /// Returns true without schedules.
    pub(in crate::stream) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Returns when the next schedule is due.
    pub(in crate::stream) fn first(&self) -> Option<Time> {
        self.due.first().map(|(time, _)| *time)
    }

    /// Returns at most `max` schedules that are due, by sequence: subject, sequence and time.
    pub(super) fn due(&self, now: Time, max: usize) -> Vec<(Vec<u8>, u64, Time)> {
        let due = self.due.iter().take_while(|(time, _)| *time <= now).take(max);
        let mut due: Vec<_> = due
            .filter_map(|(time, sequence)| {
                Some((self.subjects.get(sequence)?.clone(), *sequence, *time))
            })
            .collect();
        sort_by_key(&mut due, |(_, sequence, _)| *sequence);
        due
    }
}
