//! The acknowledgements of chunks.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::super::lock::{lock, wait};

/// The number of chunks that may still be sent.
pub(super) struct Acks {
    slots: Mutex<usize>,
    most: usize,
    changed: Condvar,
}

impl Acks {
    /// Allows that many chunks at once.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Mutex::new(most), most, changed: Condvar::new() }
    }

    /// Notes an acknowledgement.
    pub(super) fn acknowledged(&self) {
        let mut slots = lock(&self.slots);
        *slots = (*slots + 1).min(self.most);
        self.changed.notify_one();
    }

    /// Takes the right to send a chunk, which is waited for. Returns false if there is none yet.
    pub(super) fn take(&self, most: Duration) -> bool {
        let mut slots = lock(&self.slots);
        if *slots == 0 {
            slots = wait(&self.changed, slots, Some(most));
        }
        match slots.checked_sub(1) {
            Some(left) => *slots = left,
            None => return false,
        }
        true
    }
}
